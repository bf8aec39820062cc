/* load.h: vehicles of the live world that work on a broker while something else is done with it: this program, started once more. */
#ifndef CLI_LOAD_H
#define CLI_LOAD_H

#include "sim/conform.h"

struct load {
    int pid; /* 0: none is running */
    uint32_t vehicles;
    char directory[600], progress[700];
    double at_s, since_s; /* of its own clock: last heard of; everybody was connected */
    /* what became of it */
    uint64_t connected_at_least, connected_at_most, publishes, lost;
    double publishes_per_s;
    char shortcoming[300]; /* why it says little about a broker under load; "": it was kept up */
};

/* Starts `vehicles` of them against the broker of `run`, files in `directory`/load, and returns once they are connected. false: *error. */
bool load_start(struct load *load, uint32_t vehicles, const struct conform_options *run, const char *directory,
                char *error, size_t error_capacity);
/* Ends them and reads what they did. NULL pid is nothing. */
void load_stop(struct load *load);

#endif
