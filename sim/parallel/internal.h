/* internal.h: what group.c, launch.c and exchange.c share. */
#ifndef PARALLEL_INTERNAL_H
#define PARALLEL_INTERNAL_H

#include "module.h"
#include "sim/group.h"

/* What launch.c tells the processes it starts, in the environment: its process id, a descriptor of its, and 1 if its streams may be
 * taken: "3419:5:1". Rank 0 takes the user's standard output and error there instead of mpirun's pipes, and writes to the descriptor how
 * far it got, a letter each time. */
#define PARALLEL_PARENT "CONVOY_PARENT"
enum { PARALLEL_STARTED = 'a', PARALLEL_JOINED, PARALLEL_LEFT };

/* Where a file beside the program is: in its folder, the one above (tests), or ../lib/convoy (installed). */
bool parallel_find(const char *name, char *path, size_t capacity);
int parallel_page(const char *name);
int parallel_reopen(const char *path);
/* NULL: one line in `error`. */
const struct parallel_module *parallel_load(char *error, size_t error_capacity);

struct sim_group {
    const struct parallel_module *mpi; /* NULL: a group of one */
    uint32_t rank, size;
    char library[128];
};

#endif
