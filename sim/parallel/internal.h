/* internal.h: what group.c, launch.c and exchange.c share. */
#ifndef PARALLEL_INTERNAL_H
#define PARALLEL_INTERNAL_H

#include "module.h"
#include "sim/group.h"

/* What launch.c tells the processes it starts, in the environment: its process id and its descriptor of one page of bytes in
 * memory: "3419:5". Rank 0 takes the user's standard output and error from there instead of mpirun's pipes, and says how far it got. */
#define PARALLEL_PARENT "CONVOY_PARENT"
enum { PARALLEL_STARTED = 'S', PARALLEL_JOINED = 'J', PARALLEL_LEFT = 'L' };

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
