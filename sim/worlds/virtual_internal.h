/* virtual_internal.h: the parts of a virtual run beyond its model: checkpoints and the ranks' results. */
#ifndef WORLDS_VIRTUAL_INTERNAL_H
#define WORLDS_VIRTUAL_INTERNAL_H

#include "virtual.h"

/* virtual_checkpoint.c: at a barrier, collective. false: the result says why (the run ends). */
bool virtual_checkpoint(struct virtual_world *world);
/* Collective. NULL on all ranks: result->error. */
struct virtual_world *virtual_checkpoint_load(const struct world_options *options, struct world_result *result);
void virtual_checkpoint_remove(const struct world_options *options);

/* virtual_ranks.c: every rank's results into rank 0's. false: out of memory. */
bool virtual_bring_together(struct virtual_world *world);
/* Collective: rank 0, which alone is heard, learns what the first rank with an error says. */
void virtual_share_error(struct sim_group *group, struct world_result *result);

#endif
