/* live_network.c: what networks do to connections in the live world: hand-overs, tunnels, connections that are dead before anybody knows. When, is the
 * virtual world's (fleet_network.c); here it happens to sockets. */
#include "live.h"

#include <stdlib.h>

static struct fleet_network *network_of(const struct live_vehicle *vehicle)
{
    struct fleet_network *networks = vehicle->world->networks;
    return networks ? &networks[live_place(vehicle)] : NULL;
}

static void count(const struct live_vehicle *vehicle, enum counter counter)
{
    const struct live_world *world = vehicle->world;
    measure_count(world->fleet.measure, counter, fleet_who(&vehicle->trace, PATH_ANY), world->now_us, 1);
}

bool live_network_start(struct live_world *world)
{
    if (!fleet_has_networks(world->scenario))
        return true;
    world->networks = calloc((size_t)world->count + 1, sizeof *world->networks);
    if (!world->networks)
        return live_fail(world, "out of memory while setting up %u vehicles; run a smaller fleet", world->count);
    for (uint32_t i = 0; i < world->count; i++)
        fleet_network_init(&world->networks[i]);
    return true;
}

/* ---- on the road ------------------------------------------------------------------------------------------------------------- */

void live_network_ignition(struct live_vehicle *vehicle, bool on)
{
    struct fleet_network *network = network_of(vehicle);
    if (network && on)
        fleet_network_depart(&vehicle->world->fleet, vehicle->index, &vehicle->trace, &vehicle->day, network,
                             vehicle->world->now_us);
    else if (network)
        fleet_network_arrive(network);
}

static void enter_tunnel(struct live_vehicle *vehicle, int64_t until_us)
{
    bool covered = vehicle->covered;
    fleet_life_hole(&vehicle->day, until_us);
    if (!covered)
        return;
    vehicle->covered = false;
    live_radio_gone(vehicle);
}

static void hand_over(struct live_vehicle *vehicle, int64_t until_us)
{
    if (!vehicle->covered)
        return;
    count(vehicle, COUNTER_HANDOVERS);
    live_radio_stand_still(vehicle, until_us);
}

void live_link_dies(struct live_vehicle *vehicle, bool new_address)
{
    struct fleet_network *network = network_of(vehicle);
    if (!live_link_kill(vehicle, false))
        return;
    vehicle->moves += new_address;
    if (network)
        network->dead_us = vehicle->world->now_us;
    count(vehicle, new_address ? COUNTER_ADDRESS_CHANGES : COUNTER_HALF_OPEN);
}

int64_t live_network_next(const struct live_vehicle *vehicle)
{
    const struct fleet_network *network = network_of(vehicle);
    return network ? fleet_network_next(network) : TIME_NEVER;
}

void live_network_step(struct live_vehicle *vehicle)
{
    struct fleet_network *network = network_of(vehicle);
    int64_t now_us = vehicle->world->now_us, until_us = now_us;
    while (network) {
        switch (fleet_network_step(&vehicle->world->fleet, vehicle->index, &vehicle->trace, &vehicle->day, network,
                                   now_us, &until_us)) {
        case NETWORK_NOTHING: return;
        case NETWORK_HANDOVER: hand_over(vehicle, until_us); break;
        case NETWORK_TUNNEL: enter_tunnel(vehicle, until_us); break;
        case NETWORK_HALF_OPEN: live_link_dies(vehicle, false); break;
        case NETWORK_NEW_ADDRESS: live_link_dies(vehicle, true); break;
        }
    }
}

/* ---- connections that are dead -------------------------------------------------------------------------------------------------- */

bool live_network_forgets(struct live_vehicle *vehicle, const struct link_state *radio)
{
    const struct live_world *world = vehicle->world;
    const struct scenario_cohort *cohort = &world->scenario->cohorts[vehicle->trace.cohort];
    int64_t after_us = fleet_forgets_after_us(cohort, live_profile(vehicle));
    if (!after_us || radio->last_active_us == LINK_FRESH || world->now_us - radio->last_active_us <= after_us ||
        !live_link_kill(vehicle, true))
        return false;
    network_of(vehicle)->dead_us = radio->last_active_us + after_us;
    count(vehicle, COUNTER_NAT_KILLS);
    return true;
}

void live_network_found(struct live_vehicle *vehicle, bool found)
{
    struct fleet_network *network = network_of(vehicle);
    if (network)
        fleet_network_found(&vehicle->world->fleet, vehicle->index, &vehicle->trace, network, vehicle->world->now_us,
                            found);
}

/* The broker gives the vehicle up for its silence, though it is there and believes itself online: it says so where the protocol lets it. */
void live_network_silent(struct live_vehicle *vehicle)
{
    struct live_world *world = vehicle->world;
    if (tcu_connection(vehicle->tcu) != TCU_ONLINE)
        return;
    count(vehicle, COUNTER_PINGS_MISSED);
    measure_command_victim(world->fleet.measure, COUNTER_PINGS_MISSED, vehicle->index, world->now_us);
}
