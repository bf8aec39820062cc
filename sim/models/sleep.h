/* A modem that sleeps: what link_transfer() asks of sleep.c. */
#ifndef MODELS_SLEEP_H
#define MODELS_SLEEP_H

#include "sim/models.h"

static inline bool sleep_wanted(const struct link_profile *profile)
{
    return (profile->edrx_cycle_us | profile->psm_period_us) != 0;
}

/* When the radio of a modem that sleeps can carry what is handed over now; TIME_NEVER: never. */
int64_t sleep_start_us(const struct link_profile *profile, const struct link_state *state,
                       const struct sim_random *random, enum link_direction direction, int64_t now_us);

#endif
