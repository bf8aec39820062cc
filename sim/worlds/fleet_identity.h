/* fleet_identity.h: what both worlds share of lifecycle { ... }: a vehicle's identity as its factory made it, the cloud's events and the agent's
 * steps turned into measures, faults by share, and what is wrong with identities at the end.
 *
 * Everything here is pure in (scenario, vehicle) or goes to the measure, so that neither the world nor the number of processes can show.
 */
#ifndef WORLDS_FLEET_IDENTITY_H
#define WORLDS_FLEET_IDENTITY_H

#include "fleet.h"

#include "cloud/lifecycle.h"

/* Per vehicle, in scenarios with lifecycle { ... } only. Times: -1 not happened. */
struct fleet_identity {
    int64_t decided_us; /* the rotation under way was decided */
    int64_t step_us;    /* last step of it, or of a claim */
    int64_t owner_us, swapped_us;
    int64_t cut_lasts_us; /* power to be cut at a store write: for how long */
    uint32_t cut_writes;  /* store writes until then; 0: none wanted */
    uint8_t step;         /* enum identity_step: what it waits for */
    uint8_t device;       /* TCUs it has had before this one */
    bool cut_after;       /* ... when the write has happened */
    bool dead;      /* the power went inside the event that is being handled: the agent's last words reach nobody */
    bool off, gone; /* without power; its TCU was taken out for good */
};
void fleet_identity_init(struct fleet_identity *identity);

/* Where the cloud instance finds what it asks a world about; one per cloud instance, in memory that lives as long. */
struct fleet_identity_hooks {
    const struct scenario *scenario;
    struct sim_random random;
    void (*event)(void *context, int64_t now_us, const struct cloud_life_event *event);
    void *context;
};
/* number: of the cloud instance, for its random stream. */
void fleet_identity_hooks_init(struct fleet_identity_hooks *hooks, const struct scenario *scenario, uint32_t number);
/* epoch_us: wall time at the cloud's time 0. */
void fleet_identity_options(struct fleet_identity_hooks *hooks, int64_t epoch_us,
                            struct cloud_lifecycle_options *options);

/* Is this vehicle among the share a fault concerns? */
bool fleet_identity_hit(const struct scenario *scenario, uint32_t vehicle, double share, uint32_t salt);
/* The serial number of the TCU its maker put in (generation: how many it had before). Closed by 0; at most CLOUD_DEVICE_MAX. */
/* neighbour: whose first TCU's number it has as well, when the fault share_identity says so. */
size_t fleet_device_name(const struct scenario *scenario, uint32_t vehicle, uint32_t neighbour, uint32_t generation,
                         char *out, size_t capacity);
/* A vehicle of the same cloud instance, built before it; itself: there is none. */
static inline uint32_t fleet_neighbour(uint32_t vehicle, uint32_t instances)
{
    return vehicle >= instances ? vehicle - instances : vehicle;
}
/* A TCU that shows another vehicle's name and certificate, and which vehicle: both are served by the same cloud instance, that is equal modulo
 * `instances`. vehicle itself when it steals nothing or there are not enough to steal from. */
uint32_t fleet_victim(const struct scenario *scenario, uint32_t vehicle, uint32_t instances);
static inline bool fleet_has_own_identity(const struct scenario *scenario, uint32_t vehicle)
{
    const struct scenario_cohort *cohort = &scenario->cohorts[scenario_cohort_of(scenario, vehicle)];
    return cohort->steals == MEASURE_ANY && !cohort->strangers;
}
/* The factory registers the vehicle, VIN, device and Reference ID (its name), and its other ECUs, each with a certificate of its own. What belongs to
 * another vehicle already is refused and told. now_s: since 1970. false: out of memory. */
bool fleet_identity_build(const struct scenario *scenario, uint32_t vehicle, uint32_t instances, struct cloud *cloud,
                          int64_t now_us, int64_t now_s,
                          void (*flaw)(void *context, enum counter counter, struct span thing), void *context);
/* How long a factory certificate of this vehicle is valid, seconds. */
int64_t fleet_certificate_lifetime_s(const struct scenario *scenario, uint32_t vehicle);

/* An event of the cloud, at world time. */
void fleet_identity_event(struct fleet *fleet, int64_t now_us, const struct cloud_life_event *event);
/* The agent's probes of changes of identity. */
void fleet_identity_probe(struct fleet *fleet, uint32_t vehicle, const struct fleet_trace *trace, int64_t now_us,
                          const struct tcu_probe *probe);
/* Somebody with an identity that is not theirs was let in, or not. */
void fleet_identity_intrusion(struct fleet *fleet, uint32_t vehicle, const struct fleet_trace *trace, int64_t now_us,
                              bool accepted);
/* The run ends: a vehicle that has power, an identity of its own and no connection, and what it was waiting for. */
void fleet_identity_offline(struct fleet *fleet, uint32_t vehicle, const struct fleet_trace *trace, int64_t end_us);
/* The power goes without a word: what the agent cannot say any more. */
void fleet_power_lost(struct fleet *fleet, uint32_t vehicle, struct fleet_trace *trace, int64_t now_us);
/* Arms or draws the store write at which the power goes (ACTION_POWER_CUT with store_write). */
void fleet_identity_arm(struct fleet_identity *identity, uint32_t vehicle, const struct world_action *action);
/* A store write is asked for. */
enum fleet_write { FLEET_WRITE, FLEET_WRITE_NEVER, FLEET_WRITE_THEN_DIE };
enum fleet_write fleet_identity_write(struct fleet_identity *identity);

/* The end of a run, for one cloud instance: flaws, and whether the door still takes what was replaced. */
void fleet_identity_finish(struct fleet *fleet, struct cloud *cloud, int64_t now_us);
/* ... as pairs for whoever measures elsewhere. */
void fleet_identity_verify(const struct scenario *scenario, struct cloud *cloud, int64_t epoch_us, int64_t now_us,
                           void (*flaw)(void *context, enum counter counter, struct span thing), void *context);
void fleet_identity_flaw(struct fleet *fleet, enum counter counter, struct span thing, int64_t now_us);

#endif
