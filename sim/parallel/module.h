/* module.h: what the loaded module (convoy-mpi.so) gives to sim/parallel. The program and its tests never link MPI themselves.
 * Sizes above 2 GiB are cut by the module; every call ends the whole job when MPI itself fails, as MPI does by default. */
#ifndef PARALLEL_MODULE_H
#define PARALLEL_MODULE_H

#include "base.h"

#define PARALLEL_MODULE_VERSION 1
#define PARALLEL_MODULE_SYMBOL  "convoy_mpi_module"

enum { PARALLEL_TAG_GATHER = 1, PARALLEL_TAG_HEAD, PARALLEL_TAG_REST };

struct parallel_module {
    uint32_t version;
    bool (*join)(uint32_t *rank, uint32_t *size, char *library, size_t library_capacity);
    void (*leave)(void);
    void (*abort)(int exit_code);
    void (*barrier)(void);
    void (*reduce)(int reduction, int64_t *values, uint32_t count); /* enum sim_group_reduction */
    void (*broadcast)(void *data, size_t size);
    void (*send)(uint32_t to, int tag, const void *data, size_t size);
    void (*receive)(uint32_t from, int tag, void *data, size_t size);
    /* Begun here, done when finish() returns; at most 1 GiB each. false: out of memory, nothing begun. */
    bool (*begin_send)(uint32_t to, int tag, const void *data, size_t size);
    bool (*begin_receive)(uint32_t from, int tag, void *data, size_t capacity);
    void (*finish)(void);
};

#endif
