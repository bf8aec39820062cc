/* live_regions.c: regions with a cloud each, on real brokers: one for each region, in the order of the file. Where a name is resolved (resolver { },
 * region_moves { }), live_places.c and live_moves.c know which one, and the clouds are our own; a fleet goes from one broker to another (migration { })
 * on our own or somebody else's.
 *
 * Our own old broker sends a car on with a server reference, over the wire, and forgets its session once it is across. Somebody else's cannot be told to:
 * there the car's link is cut at its own end when its turn comes, as by a load balancer in front of the old broker, and its old session stays until it
 * expires. Commands and presence are one service, which speaks to both.
 */
#include "live_regions.h"

#include <stdlib.h>
#include <sys/socket.h>

static struct fleet_turn *turn_at(const struct live_world *world, uint32_t place)
{
    return &world->regions->turns[place].turn;
}

/* ---- what the turns ask for --------------------------------------------------------------------------------------------------- */

static struct fleet_turn *turn(void *context, uint32_t place)
{
    return turn_at(context, place);
}

static uint32_t index_of(void *context, uint32_t place)
{
    const struct live_world *world = context;
    return place * world->ranks + world->rank;
}

static struct fleet_orders *desk(void *context, uint32_t place)
{
    struct live_world *world = context;
    return &world->brokers[0].orders;
}

static const struct fleet_trace *trace(void *context, uint32_t place)
{
    const struct live_world *world = context;
    return &world->vehicles[place].trace;
}

static void wait_for(void *context, uint32_t place, enum fleet_turn_step step, int64_t at_us, uint8_t to)
{
    struct live_world *world = context;
    live_schedule(&world->vehicles[place], step == TURN_COMES ? LIVE_TURN : LIVE_SETTLED, at_us, to);
}

void live_region_order(struct live_world *world, uint8_t region, const struct live_order *order)
{
    if (!live_tell_cloud(&world->brokers[region], order))
        live_fail(world, "a cloud does not take orders any more");
}

void live_region_tell(const struct live_vehicle *vehicle, uint8_t region, enum live_order_kind kind, uint8_t to)
{
    struct live_order order = {.kind = kind,
                               .for_good = live_rules(vehicle->world)->migrates,
                               .action = {.vehicle = vehicle->index, .region = to}};
    live_region_order(vehicle->world, region, &order);
}

/* Into the new registry, as the rules of moves say; a car without certificate has no identity to be copied. */
void live_region_know(const struct live_vehicle *vehicle, uint8_t to)
{
    struct live_order order = {.kind = LIVE_ORDER_KNOW, .action = {.vehicle = vehicle->index}};
    size_t length = vehicle->stored_length[TCU_STORE_OPERATIONAL_CERTIFICATE];
    if (!(live_rules(vehicle->world)->copied & CLOUD_DATA_IDENTITY) || !length || length > sizeof order.certificate)
        return;
    order.certificate_length = (uint16_t)length;
    memcpy(order.certificate, vehicle->stored[TCU_STORE_OPERATIONAL_CERTIFICATE], length);
    live_region_order(vehicle->world, to, &order);
}

static void go(void *context, uint32_t place, int64_t now_us, uint8_t from, uint8_t to)
{
    struct live_world *world = context;
    struct live_vehicle *vehicle = &world->vehicles[place];
    if (world->brokers[0].embedded)
        live_region_know(vehicle, to);
    if (vehicle->stage != STAGE_UP || vehicle->broker == to)
        return;
    if (world->brokers[0].embedded)
        live_region_tell(vehicle, from, LIVE_ORDER_REDIRECT, to);
    else if (vehicle->covered)
        live_link_failed(vehicle, TCU_LINK_PEER_CLOSED);
}

static bool online_at(void *context, uint32_t place, uint8_t region)
{
    const struct live_world *world = context;
    return world->vehicles[place].broker == region && world->vehicles[place].trace.online;
}

static bool should_be_online(void *context, uint32_t place)
{
    const struct live_world *world = context;
    const struct live_vehicle *vehicle = &world->vehicles[place];
    const struct fleet_parking *parking = live_parking(vehicle);
    return vehicle->covered && vehicle->trace.power_up_us >= 0 && !tcu_asleep(vehicle->tcu) &&
           !(parking && parking->off);
}

static void left(void *context, uint32_t place, int64_t now_us, uint8_t from)
{
    const struct live_world *world = context;
    if (world->brokers[0].embedded)
        live_region_tell(&world->vehicles[place], from, LIVE_ORDER_FORGET, 0);
}

static const struct fleet_migration_hooks hooks = {turn,      index_of,         desk, trace, wait_for, go,
                                                   online_at, should_be_online, left};

/* ---- set-up -------------------------------------------------------------------------------------------------------------------- */

static bool start_migration(struct live_world *world)
{
    struct live_regions *regions = world->regions;
    regions->migration =
        (struct fleet_migration){.fleet = &world->fleet, .count = world->count, .hooks = &hooks, .world = world};
    if (!world->brokers[0].embedded)
        live_note(world->result,
                  "a car's turn to go to the other broker was acted at its end: its link was cut; the old "
                  "broker was not told to send it on, and keeps its session until that expires");
    return fleet_migration_start(&regions->migration);
}

bool live_regions_start(struct live_world *world)
{
    if (!world->scenario->cloud.regions.on)
        return true;
    struct live_regions *regions = calloc(1, sizeof *regions);
    world->regions = regions;
    if (regions)
        regions->turns = calloc((size_t)world->count + 1, sizeof *regions->turns);
    bool good = regions && regions->turns;
    good = good && (live_rules(world)->migrates ? start_migration(world) : live_places_start(world));
    return good || live_fail(world, "out of memory");
}

void live_regions_stop(struct live_world *world)
{
    struct live_regions *regions = world->regions;
    if (!regions)
        return;
    if (regions->desk)
        regions->desk->ops->close(regions->desk);
    if (regions->watch)
        regions->watch->ops->close(regions->watch);
    fleet_migration_stop(&regions->migration);
    live_places_stop(world);
    free(regions->turns);
    free(regions);
    world->regions = NULL;
}

void live_regions_vehicle(struct live_vehicle *vehicle)
{
    struct live_world *world = vehicle->world;
    uint32_t place = live_place(vehicle);
    uint8_t region = vehicle->trace.region;
    world->regions->turns[place].seen.served_by = CLOUD_NO_REGION;
    vehicle->broker = region;
    if (world->regions->where)
        live_places_vehicle(vehicle);
    else
        fleet_migration_vehicle(&world->regions->migration, place, region);
}

static struct fleet_seen *seen_of(void *context, uint32_t place)
{
    const struct live_world *world = context;
    return &world->regions->turns[place].seen;
}

static uint8_t home_of(void *context, uint32_t place)
{
    const struct live_world *world = context;
    return world->regions->where ? world->regions->where[place].home : turn_at(world, place)->table;
}

static void broker_changed(void *context, uint32_t place, int64_t now_us)
{
    struct live_world *world = context;
    if (world->brokers[0].orders.remote && !world->closing)
        cloud_remote_moved(world->brokers[0].orders.remote, now_us, tcu_name(world->vehicles[place].tcu));
}

static struct cloud_bus *bus_of_all(struct live_world *world, uint32_t bus)
{
    struct fleet_regions_bus_options options = {.fleet = &world->fleet,
                                                .part = world->rank,
                                                .parts = world->ranks,
                                                .count = world->broker_count,
                                                .seen = seen_of,
                                                .home = home_of,
                                                .changed = broker_changed,
                                                .world = world};
    for (uint32_t b = 0; b < world->broker_count; b++) {
        world->brokers[b].buses[bus].desk = world->scenario->cloud.commands.on;
        options.brokers[b] = &world->brokers[b].buses[bus].bus;
    }
    return fleet_regions_bus(&options);
}

struct cloud_bus *live_regions_desk(struct live_world *world, uint32_t bus)
{
    return world->regions->desk = bus_of_all(world, bus);
}

struct cloud_bus *live_regions_watch(struct live_world *world, uint32_t bus)
{
    return world->regions->watch = bus_of_all(world, bus);
}

/* ---- the run --------------------------------------------------------------------------------------------------------------------- */

const char *live_regions_endpoint(const struct live_vehicle *vehicle)
{
    const struct live_world *world = vehicle->world;
    bool named = world->regions && world->brokers[vehicle->broker].embedded &&
                 world->scenario->regions[vehicle->broker].sni_only;
    return named ? world->scenario->regions[vehicle->broker].endpoint : NULL;
}

void live_regions_delivered(const struct live_broker *broker, const struct mq5_publish *message)
{
    struct live_world *world = broker->buses[0].world;
    if (world->regions->where && !world->closing)
        live_places_delivered(world, (uint8_t)(broker - world->brokers), message);
}

bool live_regions_choose(struct live_vehicle *vehicle)
{
    struct live_world *world = vehicle->world;
    if (world->regions->where)
        return live_places_choose(vehicle);
    vehicle->broker = turn_at(world, live_place(vehicle))->table;
    return !fleet_migration_refuses(&world->fleet, vehicle->index, vehicle->broker);
}

/* In a migration the resolver says the same by then: nothing is to be remembered. */
void live_server_reference(void *context, struct span reference, bool for_good)
{
    struct live_vehicle *vehicle = context;
    if (vehicle->world->regions->where)
        live_places_reference(vehicle, reference);
}

static void went_online(struct live_vehicle *vehicle)
{
    struct live_world *world = vehicle->world;
    uint32_t place = live_place(vehicle);
    struct fleet_seen *seen = &world->regions->turns[place].seen;
    bool changed = seen->served_by != CLOUD_NO_REGION && seen->served_by != vehicle->broker;
    seen->served_by = vehicle->broker;
    if (changed) { /* the word of its presence is still under way */
        broker_changed(world, place, world->now_us);
        live_commands_touched(world);
    }
    if (world->regions->where) {
        live_places_online(vehicle);
        return;
    }
    fleet_migration_online(&world->regions->migration, place, world->now_us, vehicle->broker);
    if (vehicle->broker == turn_at(world, place)->table)
        return;
    /* Its turn came while it was connecting: whoever it has come to sends it on. */
    if (world->brokers[0].embedded)
        live_region_tell(vehicle, vehicle->broker, LIVE_ORDER_REDIRECT, turn_at(world, place)->table);
    else
        live_schedule(vehicle, LIVE_LINK_BROKEN, world->now_us, vehicle->attempts);
}

void live_regions_probe(struct live_vehicle *vehicle, const struct tcu_probe *probe)
{
    if (probe->kind == TCU_PROBE_ONLINE)
        went_online(vehicle);
    else if (probe->kind == TCU_PROBE_COMMAND_ANSWERED && vehicle->world->regions->where)
        live_moves_served(vehicle);
}

void live_regions_step(struct live_vehicle *vehicle, const struct live_step *step)
{
    struct live_world *world = vehicle->world;
    if (world->draining)
        return;
    if (step->kind == LIVE_SEND_HOME)
        live_places_send_home(vehicle);
    else if (step->kind == LIVE_ARRIVE)
        live_moves_arrived(vehicle, step->slot);
    else if (step->kind == LIVE_SERVICE)
        live_moves_service(vehicle);
    else
        fleet_migration_step(&world->regions->migration, live_place(vehicle), world->now_us,
                             step->kind == LIVE_SETTLED ? TURN_SETTLED : TURN_COMES, (uint8_t)step->slot);
    live_commands_touched(world);
}

int64_t live_regions_next(const struct live_world *world)
{
    if (!world->regions || world->draining)
        return TIME_NEVER;
    return world->regions->where ? live_places_next(world) : fleet_migration_next(&world->regions->migration);
}

void live_regions_tick(struct live_world *world)
{
    if (!world->regions || world->draining)
        return;
    if (world->regions->where)
        live_places_tick(world);
    else
        fleet_migration_tick(&world->regions->migration, world->now_us);
}

bool live_regions_can(const struct live_world *world, enum world_action_kind kind)
{
    return world->regions && kind >= ACTION_REGION_OUTAGE && (kind == ACTION_ROLL_BACK) == !world->regions->where;
}

int64_t live_regions_act(struct live_world *world, const struct world_action *action, const char **why)
{
    return action->kind == ACTION_REGION_OUTAGE ? live_regions_outage(world, action, why)
                                                : fleet_migration_roll_back(&world->regions->migration, world->now_us);
}

void live_regions_close(struct live_world *world, int64_t end_us)
{
    for (uint32_t v = 0; world->regions && v < world->count; v++) {
        const struct live_vehicle *vehicle = &world->vehicles[v];
        bool resolved = world->regions->where != NULL;
        bool wrong = resolved ? live_places_wrong(vehicle) : vehicle->broker != turn_at(world, v)->table;
        if (!vehicle->trace.online || !wrong)
            continue;
        measure_count(world->fleet.measure, COUNTER_REGION_WRONG, fleet_who(&vehicle->trace, PATH_ANY), end_us, 1);
        measure_command_victim(world->fleet.measure, COUNTER_REGION_WRONG, vehicle->index, end_us);
    }
    if (world->regions && world->regions->where)
        live_moves_audit(world, end_us);
}
