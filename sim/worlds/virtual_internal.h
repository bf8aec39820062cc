/* virtual_internal.h: the parts of a virtual run beyond its model: checkpoints and the ranks' results. */
#ifndef WORLDS_VIRTUAL_INTERNAL_H
#define WORLDS_VIRTUAL_INTERNAL_H

#include "virtual.h"

/* virtual_checkpoint.c: at a barrier, collective. false: the result says why (the run ends). */
bool virtual_checkpoint(struct virtual_world *world);
/* NULL: `error`. */
struct virtual_world *virtual_checkpoint_load(const struct world_options *options, char *error, size_t capacity);
void virtual_checkpoint_remove(const struct world_options *options);

/* virtual_ranks.c: every rank's results into rank 0's. false: out of memory. */
bool virtual_bring_together(struct virtual_world *world);

#endif
