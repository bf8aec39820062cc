/* virtual_network.c: what networks do to connections in the virtual world: hand-overs, tunnels, connections that are dead before anybody knows, bytes
 * that come sooner because the vehicle has woken its modem. */
#include "virtual.h"

bool virtual_network_start(struct partition *partition)
{
    if (!fleet_has_networks(partition->world->scenario))
        return true;
    partition->networks = memory_allocate_zero(partition->count + 1, sizeof *partition->networks);
    for (uint32_t i = 0; partition->networks && i < partition->count; i++)
        fleet_network_init(&partition->networks[i]);
    return partition->networks != NULL;
}

static void count(const struct virtual_vehicle *vehicle, enum counter counter, int64_t now_us)
{
    measure_count(vehicle->partition->world->fleet.measure, counter, fleet_who(&vehicle->trace, PATH_ANY), now_us, 1);
}

/* ---- on the road -------------------------------------------------------------------------------------------------------------- */

void virtual_network_ignition(struct virtual_vehicle *vehicle, int64_t now_us, bool on)
{
    struct fleet_network *network = vehicle_network(vehicle);
    if (!network)
        return;
    if (on)
        fleet_network_depart(&vehicle->partition->world->fleet, vehicle_index(vehicle), &vehicle->trace, &vehicle->day,
                             network, now_us);
    else
        fleet_network_arrive(network);
}

static void enter_tunnel(struct virtual_vehicle *vehicle, int64_t now_us, int64_t until_us)
{
    bool covered = vehicle->covered;
    virtual_tell(vehicle, now_us, TRACE_CAR, (struct span){NULL, 0}, "a tunnel begins");
    fleet_life_hole(&vehicle->day, until_us);
    if (!covered)
        return;
    vehicle->covered = false;
    virtual_radio_gone(vehicle, now_us);
}

static void hand_over(struct virtual_vehicle *vehicle, int64_t now_us, int64_t until_us)
{
    if (!vehicle->covered)
        return;
    virtual_tell(vehicle, now_us, TRACE_CAR, (struct span){NULL, 0}, "another cell");
    count(vehicle, COUNTER_HANDOVERS, now_us);
    link_stand_still(&vehicle->radio, until_us);
}

bool virtual_link_dies(struct virtual_vehicle *vehicle, int64_t now_us, bool new_address)
{
    struct virtual_link *link = vehicle_link(vehicle);
    struct fleet_network *network = vehicle_network(vehicle);
    if (!link || link->dead)
        return false;
    link->dead = true;
    if (network)
        network->dead_us = now_us;
    count(vehicle, new_address ? COUNTER_ADDRESS_CHANGES : COUNTER_HALF_OPEN, now_us);
    return true;
}

void virtual_network_step(struct virtual_vehicle *vehicle, int64_t now_us)
{
    struct fleet_network *network = vehicle_network(vehicle);
    const struct fleet *fleet = &vehicle->partition->world->fleet;
    int64_t until_us = now_us;
    while (network) {
        switch (fleet_network_step(fleet, vehicle_index(vehicle), &vehicle->trace, &vehicle->day, network, now_us,
                                   &until_us)) {
        case NETWORK_NOTHING: return;
        case NETWORK_HANDOVER: hand_over(vehicle, now_us, until_us); break;
        case NETWORK_TUNNEL: enter_tunnel(vehicle, now_us, until_us); break;
        case NETWORK_HALF_OPEN:
            virtual_tell(vehicle, now_us, TRACE_CAR, (struct span){NULL, 0}, "its connection is dead");
            virtual_link_dies(vehicle, now_us, false);
            break;
        case NETWORK_NEW_ADDRESS:
            virtual_tell(vehicle, now_us, TRACE_CAR, (struct span){NULL, 0}, "it has another address");
            virtual_link_dies(vehicle, now_us, true);
            break;
        }
    }
}

/* ---- connections that are dead --------------------------------------------------------------------------------------------------- */

bool virtual_link_forgotten(struct virtual_link *link)
{
    struct virtual_vehicle *vehicle = link->vehicle;
    struct fleet_network *network = vehicle_network(vehicle);
    int64_t now_us = vehicle->partition->now_us;
    if (link->dead || !network)
        return link->dead;
    int64_t after_us = fleet_forgets_after_us(vehicle_cohort(vehicle), vehicle_radio(vehicle));
    if (!after_us || vehicle->radio.last_active_us == LINK_FRESH || now_us - vehicle->radio.last_active_us <= after_us)
        return false;
    link->dead = link->resets = true;
    network->dead_us = vehicle->radio.last_active_us + after_us;
    count(vehicle, COUNTER_NAT_KILLS, now_us);
    return true;
}

void virtual_link_found_dead(struct virtual_vehicle *vehicle, int64_t now_us, bool found)
{
    struct fleet_network *network = vehicle_network(vehicle);
    if (network)
        fleet_network_found(&vehicle->partition->world->fleet, vehicle_index(vehicle), &vehicle->trace, network, now_us,
                            found);
}

/* ---- modems that sleep ------------------------------------------------------------------------------------------------------------- */

/* Entries of the queue for the old moments find nothing due. */
void virtual_link_hasten(struct virtual_link *link)
{
    struct virtual_vehicle *vehicle = link->vehicle;
    struct segment *last = link->last[LINK_DOWN];
    int64_t sooner_us = link_hasten_us(vehicle_radio(vehicle), &vehicle->radio, vehicle->partition->now_us);
    if (!sooner_us || !last)
        return;
    struct segment *segment = last;
    do {
        segment = segment->next;
        segment->arrival_us -= sooner_us;
        virtual_push(vehicle, segment->arrival_us, EVENT_DOWN);
    } while (segment != last);
}

/* The broker has given up a vehicle for its silence that is there, and believes itself online. */
void virtual_link_silent(const struct virtual_link *link)
{
    struct virtual_vehicle *vehicle = link->vehicle;
    struct partition *partition = vehicle->partition;
    if (!link->vehicle_open || link->dead || tcu_connection(vehicle_tcu(vehicle)) != TCU_ONLINE)
        return;
    count(vehicle, COUNTER_PINGS_MISSED, partition->now_us);
    measure_command_victim(partition->world->fleet.measure, COUNTER_PINGS_MISSED, vehicle_index(vehicle),
                           partition->now_us);
}
