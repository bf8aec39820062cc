/* fleet_network.h: what the network does to the connection of a car that moves, beside the cuts and holes of fleet_life.c: hand-overs, connections whose
 * other end is gone, new addresses, tunnels; and when a silent connection is forgotten. Both worlds ask the same.
 */
#ifndef WORLDS_FLEET_NETWORK_H
#define WORLDS_FLEET_NETWORK_H

#include "fleet_remote.h"

enum fleet_network_event {
    NETWORK_NOTHING,
    NETWORK_HANDOVER,    /* nothing moves until then */
    NETWORK_HALF_OPEN,   /* the connection is dead, nobody is told */
    NETWORK_NEW_ADDRESS, /* ... and the next attempt comes from elsewhere */
    NETWORK_TUNNEL,      /* no coverage until then */
};
struct fleet_network { /* per vehicle, where a scenario has any of it; times: TIME_NEVER: none */
    int64_t handover_us, half_open_us, tunnel_us; /* the next */
    int64_t tunnel_until_us;
    int64_t departed_us; /* of the trip under way */
    int64_t dead_us;     /* since when the vehicle's connection is dead and it does not know */
    uint32_t draws, trip;
};
bool fleet_has_networks(const struct scenario *scenario);
void fleet_network_init(struct fleet_network *network);
/* The ignition goes on, as `day` says; off. */
void fleet_network_depart(const struct fleet *fleet, uint32_t vehicle, const struct fleet_trace *trace,
                          const struct fleet_life *day, struct fleet_network *network, int64_t now_us);
void fleet_network_arrive(struct fleet_network *network);
int64_t fleet_network_next(const struct fleet_network *network);
/* The next thing due at or before now_us, one a call until NETWORK_NOTHING. *until_us: of hand-overs and tunnels. */
enum fleet_network_event fleet_network_step(const struct fleet *fleet, uint32_t vehicle,
                                            const struct fleet_trace *trace, const struct fleet_life *day,
                                            struct fleet_network *network, int64_t now_us, int64_t *until_us);

/* Silent for longer, a connection is forgotten by the radio's network or the path's, whichever is sooner; 0: never. */
static inline int64_t fleet_forgets_after_us(const struct scenario_cohort *cohort, const struct link_profile *radio)
{
    int64_t path_us = cohort->has_path ? cohort->path.nat_idle_us : 0;
    return path_us && (!radio->nat_idle_us || path_us < radio->nat_idle_us) ? path_us : radio->nat_idle_us;
}
/* How long a vehicle really sleeps that wants to sleep so long by its own clock. */
int64_t fleet_sleep_us(const struct fleet *fleet, uint32_t vehicle, const struct fleet_trace *trace, int64_t wanted_us);
/* The vehicle has found out that its connection is dead; or it is gone otherwise. */
void fleet_network_found(struct fleet *fleet, uint32_t vehicle, const struct fleet_trace *trace,
                         struct fleet_network *network, int64_t now_us, bool found);

#endif
