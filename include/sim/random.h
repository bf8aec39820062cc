/* sim/random.h: counter-based random streams (Philox4x32-10), one per (seed, entity, purpose), and tables drawn from them.
 *
 * A stream's n-th draw depends on nothing but its key and n, so a vehicle's luck does not change when another is added.
 * Hot distributions are integer inverse-CDF tables built once through GSL; GSL itself can draw through sim_random_gsl().
 */
#ifndef SIM_RANDOM_H
#define SIM_RANDOM_H

#include "base.h"

#include <gsl/gsl_rng.h>

struct sim_random {
    uint32_t key[2];
    uint32_t entity, purpose; /* part of the counter */
    uint64_t counter;         /* draws of 4 words made */
    uint32_t words[4];
    uint8_t left;
};

/* Leaves the words alone: none of them is drawn before they are computed. */
static inline void sim_random_init(struct sim_random *random, uint64_t seed, uint32_t entity, uint32_t purpose)
{
    random->key[0] = (uint32_t)seed;
    random->key[1] = (uint32_t)(seed >> 32);
    random->entity = entity;
    random->purpose = purpose;
    random->counter = 0;
    random->left = 0;
}

/* Computes the next four words; for sim_random_u32(). */
void sim_random_refill(struct sim_random *random);

static inline uint32_t sim_random_u32(struct sim_random *random)
{
    if (random->left == 0)
        sim_random_refill(random);
    return random->words[4 - random->left--];
}

uint64_t sim_random_u64(struct sim_random *random);
/* Uniform in [0, bound), unbiased; 0 when bound is 0. */
uint64_t sim_random_below(struct sim_random *random, uint64_t bound);
/* true with probability parts_per_million / 1e6. */
bool sim_random_ppm(struct sim_random *random, uint32_t parts_per_million);

/* One draw without keeping a stream: word `index` of (seed, entity, purpose). */
uint64_t sim_random_at(uint64_t seed, uint32_t entity, uint32_t purpose, uint64_t index);

/* A gsl_rng whose state is the given stream; put both on the stack. */
extern const gsl_rng_type *sim_random_gsl_type;
gsl_rng sim_random_gsl(struct sim_random *random);

/* Integer inverse CDF with 1,024 steps and linear interpolation; values in the unit of what built it. */
#define SIM_TABLE_STEPS 1024
struct sim_table {
    int64_t value[SIM_TABLE_STEPS + 1];
};
enum sim_distribution { SIM_CONSTANT, SIM_UNIFORM, SIM_EXPONENTIAL, SIM_LOGNORMAL, SIM_NORMAL };
/* CONSTANT a; UNIFORM a..b; EXPONENTIAL mean a; LOGNORMAL median a, sigma b (of the log); NORMAL mean a, deviation b.
 * Tails end at the 99.99th percentile; never below `minimum` nor above `maximum`. */
void sim_table_build(struct sim_table *table, enum sim_distribution distribution, double a, double b, int64_t minimum,
                     int64_t maximum);
/* What a 32-bit draw stands for. */
static inline int64_t sim_table_at(const struct sim_table *table, uint32_t word)
{
    const int64_t *step = &table->value[word >> 22];
    uint64_t rise = (uint64_t)step[1] - (uint64_t)step[0]; /* tables never fall */
    uint64_t part = (uint64_t)((unsigned __int128)rise * (word & ((1u << 22) - 1)) >> 22);
    return (int64_t)((uint64_t)step[0] + part);
}

static inline int64_t sim_table_draw(const struct sim_table *table, struct sim_random *random)
{
    return sim_table_at(table, sim_random_u32(random));
}

/* Purposes: a number a use, never reused for another. */
enum sim_purpose {
    SIM_FOR_LINK = 1,
    SIM_FOR_TRIPS,
    SIM_FOR_AGENT,
    SIM_FOR_TELEMETRY,
    SIM_FOR_COMMANDS,
    SIM_FOR_MIX, /* cohort mixes: region, firmware */
    SIM_FOR_FAULTS,
    SIM_FOR_CLOUD,
    SIM_FOR_SCRIPT,
    SIM_FOR_START,        /* when a vehicle first powers up */
    SIM_FOR_IDENTITY,     /* serial numbers, validity of factory certificates */
    SIM_FOR_SLEEP,        /* when a modem that sleeps is paged */
    SIM_FOR_PARKING,      /* where a car is left */
    SIM_FOR_SMS,          /* by desk: what the SMS network does */
    SIM_FOR_NETWORK = 32, /* hand-overs, half-open connections, new addresses */
    SIM_FOR_TUNNELS = 33,
    SIM_FOR_ATTACKS = 34,
    SIM_FOR_CLOCK = 35,   /* how fast a sleeping vehicle's clock is */
    SIM_FOR_NOTICES = 48, /* which notices a fault concerns */
    SIM_FOR_REGIONS = 64, /* when a vehicle arrives, is sent home, has its turn */
    SIM_FOR_SHADOW = 80,  /* settings of a car: who changes which and when */
};

#endif
