/* live_shadow.c: shadow { } in the live world: settings of cars on the rig's own queue, the desk of their users on each broker, and on somebody else's
 * broker the shadow service itself, in this process, as one more client of that broker.
 */
#include "live.h"

#include "cloud/reserved.h"

#include <stdio.h>
#include <stdlib.h>

struct live_shadows { /* of a broker */
    struct fleet_shadows users;
    struct cloud_reserved *reserved; /* NULL: the broker's own */
    char events[64];
};

static struct live_vehicle *vehicle_of(struct live_world *world, uint32_t index)
{
    return index % world->ranks == world->rank && index / world->ranks < world->count
               ? &world->vehicles[index / world->ranks]
               : NULL;
}

static struct fleet_shadow *find(void *context, uint32_t index)
{
    struct live_world *world = context;
    const struct live_vehicle *vehicle = world->closing ? NULL : vehicle_of(world, index);
    return vehicle ? &world->shadows[live_place(vehicle)] : NULL;
}

static void wake(void *context, uint32_t index, int64_t at_us)
{
    struct live_world *world = context;
    struct live_vehicle *vehicle = vehicle_of(world, index);
    if (vehicle)
        live_schedule(vehicle, LIVE_SHADOW, at_us > world->now_us ? at_us : world->now_us, 0);
}

/* ---- life ------------------------------------------------------------------------------------------------------------- */

bool live_shadow_prepare(struct live_world *world)
{
    if (!world->scenario->cloud.shadow.on)
        return true;
    world->shadows = calloc((size_t)world->count + 1, sizeof *world->shadows);
    return world->shadows || live_fail(world, "out of memory");
}

static bool serves(const struct live_world *world, const struct live_broker *broker)
{
    return world->shadows && !broker->embedded && broker->leads;
}

uint32_t live_shadow_buses(const struct live_world *world, const struct live_broker *broker)
{
    return world->shadows ? 1 + serves(world, broker) : 0;
}

static bool open_service(struct live_world *world, struct live_shadows *shadows, struct cloud_bus *bus)
{
    static const struct cloud_shadow_options standard;
    snprintf(shadows->events, sizeof shadows->events, "%sevents", world->topic_prefix);
    struct cloud_reserved_options options = {.shadow = &standard,
                                             .prefix = world->fleet.reserved,
                                             .event_prefix = shadows->events,
                                             .epoch_us = world->fleet.wall_offset_us};
    shadows->reserved = cloud_reserved_create(&options, NULL, bus, world->now_us);
    return shadows->reserved != NULL;
}

bool live_shadow_start(struct live_world *world, struct live_broker *broker, struct live_bus *buses)
{
    if (!world->shadows)
        return true;
    struct live_shadows *shadows = broker->shadows = calloc(1, sizeof *shadows);
    if (!shadows)
        return live_fail(world, "out of memory");
    shadows->users = (struct fleet_shadows){
        .fleet = &world->fleet, .bus = &buses[0].bus, .world = world, .find = find, .wake = wake};
    bool good = (!serves(world, broker) || open_service(world, shadows, &buses[1].bus)) &&
                fleet_shadows_open(&shadows->users, world->now_us);
    return good || live_fail(world, "%s refuses the subscriptions of shadows", broker->uri);
}

void live_shadow_begin(struct live_world *world)
{
    for (uint32_t v = 0; world->shadows && v < world->count; v++) {
        const struct live_vehicle *vehicle = &world->vehicles[v];
        fleet_shadow_start(&world->brokers[vehicle->broker].shadows->users, vehicle->index, &world->shadows[v],
                           world->now_us);
    }
}

void live_shadow_stop(struct live_broker *broker)
{
    if (broker->shadows)
        cloud_reserved_destroy(broker->shadows->reserved);
    free(broker->shadows);
    broker->shadows = NULL;
}

/* ---- a car ------------------------------------------------------------------------------------------------------------ */

static struct fleet_shadows *users_of(const struct live_vehicle *vehicle)
{
    return &vehicle->world->brokers[vehicle->broker].shadows->users;
}

void live_shadow_due(struct live_vehicle *vehicle)
{
    struct live_world *world = vehicle->world;
    bool powered = vehicle->trace.power_up_us >= 0 && !live_dead(vehicle);
    fleet_shadow_due(users_of(vehicle), vehicle->index, &world->shadows[live_place(vehicle)],
                     powered ? vehicle->tcu : NULL, world->now_us);
}

void live_shadow_set(void *context, struct span wanted)
{
    struct live_vehicle *vehicle = context;
    struct live_world *world = vehicle->world;
    fleet_shadow_set(users_of(vehicle), vehicle->index, &world->shadows[live_place(vehicle)], world->now_us, wanted);
}

size_t live_shadow_state(void *context, char *out, size_t capacity)
{
    const struct live_vehicle *vehicle = context;
    const struct live_world *world = vehicle->world;
    return fleet_shadow_state(&world->fleet, vehicle->index, &world->shadows[live_place(vehicle)], out, capacity);
}

void live_shadow_finish(struct live_world *world, int64_t end_us)
{
    for (uint32_t v = 0; world->shadows && v < world->count; v++)
        fleet_shadow_finish(&world->fleet, world->vehicles[v].index, &world->vehicles[v].trace, &world->shadows[v],
                            end_us);
}
