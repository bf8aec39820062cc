/* live_moves.c: vehicles whose home changes, in the live world: the hands of cloud/regions.h on clouds in processes of their own, over the pair of sockets
 * that orders go; and what each of them has of each vehicle, which they say themselves.
 *
 * Their registries and brokers are real; the other stores of a region (the owner's data, telemetry that its processors got) are a list of kinds here.
 */
#include "live_regions.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#define ANSWER_TIMEOUT_MS 60000
#define SERVICE_AFTER_US  (2 * US_PER_S)  /* online in its new region, until the first command is asked for */
#define SERVICE_AGAIN_US  (15 * US_PER_S) /* ... and asked for again */
#define SERVICE_TIME_US   (30 * US_PER_S)
#define SALT_ARRIVE       3
#define SALT_KEEP_OLD     16
#define SALT_COPY_ALL     17
#define HOME_TOO          0x100u                                     /* in the slot of LIVE_ARRIVE */
#define SAID              (CLOUD_DATA_IDENTITY | CLOUD_DATA_SESSION) /* what a cloud says itself */

static struct measure_dimension who(const struct live_vehicle *vehicle)
{
    return fleet_who(&vehicle->trace, PATH_ANY);
}

static void victim(const struct live_vehicle *vehicle, enum counter counter, int64_t at_us)
{
    struct measure *measure = vehicle->world->fleet.measure;
    measure_count(measure, counter, who(vehicle), at_us, 1);
    measure_command_victim(measure, counter, vehicle->index, at_us);
}

static struct live_vehicle *vehicle_named(const struct live_world *world, struct span thing)
{
    uint32_t vehicle;
    bool found = scenario_vehicle_find(world->scenario, thing, &vehicle) && vehicle % world->ranks == world->rank;
    return found ? &world->vehicles[vehicle / world->ranks] : NULL;
}

/* ---- what a cloud says ------------------------------------------------------------------------------------------------------- */

/* false: nothing there. */
static bool hear(struct live_world *world, uint8_t region, bool *last)
{
    struct live_holding holding;
    if (recv(world->brokers[region].news_fd, &holding, sizeof holding, MSG_DONTWAIT) != (ssize_t)sizeof holding)
        return false;
    *last = holding.last;
    if (!holding.last && holding.vehicle < world->scenario->fleet && holding.vehicle % world->ranks == world->rank)
        world->regions->list[region].records[holding.vehicle / world->ranks].told = holding.kinds;
    return true;
}

static void on_holdings(struct ev_loop *loop, ev_io *watcher, int events)
{
    struct live_broker *broker = watcher->data;
    struct live_world *world = broker->news_world;
    bool ignored;
    live_tick(world);
    while (hear(world, (uint8_t)(broker - world->brokers), &ignored))
        ;
}

static bool hear_all(struct live_world *world, uint8_t region)
{
    struct live_order order = {.kind = LIVE_ORDER_HOLDINGS};
    bool last = false;
    live_region_order(world, region, &order);
    while (!last) {
        struct pollfd waiting = {.fd = world->brokers[region].news_fd, .events = POLLIN};
        int ready = poll(&waiting, 1, ANSWER_TIMEOUT_MS);
        if (ready < 0 && errno == EINTR)
            continue;
        if (ready <= 0 || !hear(world, region, &last))
            return false;
    }
    return true;
}

static uint8_t has(const struct live_world *world, uint32_t place, uint8_t region)
{
    const struct live_record *record = &world->regions->list[region].records[place];
    return record->held | record->brought | record->told;
}

/* ---- hands --------------------------------------------------------------------------------------------------------------------- */

static bool copy(void *context, struct span thing, uint8_t from, uint8_t to, uint8_t kinds)
{
    struct live_world *world = context;
    const struct live_vehicle *vehicle = vehicle_named(world, thing);
    if (!vehicle)
        return false;
    uint32_t place = live_place(vehicle);
    const struct live_record *old = &world->regions->list[from].records[place];
    struct live_record *new = &world->regions->list[to].records[place];
    if (live_places_part(vehicle, SALT_COPY_ALL) < live_rules(world)->copy_all) /* a fault */
        kinds |= CLOUD_DATA_PERSONAL | CLOUD_DATA_TELEMETRY;
    new->brought |= kinds &(old->held | old->brought);
    new->cleaning = false;
    if (kinds & CLOUD_DATA_IDENTITY)
        live_region_know(vehicle, to);
    return true;
}

/* The doors of all regions know where its home is, and the one that was. */
static void tell_home(const struct live_vehicle *vehicle)
{
    struct live_world *world = vehicle->world;
    const struct live_whereabouts *where = live_where(vehicle);
    struct live_order order = {.kind = LIVE_ORDER_HOME, .action = {.vehicle = vehicle->index, .region = where->home}};
    for (uint8_t region = 0; region < world->scenario->region_count; region++) {
        order.former = region == where->former;
        live_region_order(world, region, &order);
    }
}

/* At home where it was before. */
static void go_back(const struct live_vehicle *vehicle, uint8_t home)
{
    struct live_whereabouts *where = live_where(vehicle);
    where->home = home;
    where->former = CLOUD_NO_REGION;
    where->arrived_us = -1;
    tell_home(vehicle);
}

/* It is there until its process has said otherwise: query() says so, and this is asked for again a second later. */
static bool clean(void *context, struct span thing, uint8_t region, uint8_t kinds)
{
    struct live_world *world = context;
    const struct live_vehicle *vehicle = vehicle_named(world, thing);
    if (!vehicle || live_places_part(vehicle, SALT_KEEP_OLD) < live_rules(world)->keep_old) /* a fault */
        return false;
    const struct live_whereabouts *where = live_where(vehicle);
    if (region == where->home) /* given up: its door is closed first, or the car would be registered there again */
        go_back(vehicle, where->former);
    struct live_record *record = &world->regions->list[region].records[live_place(vehicle)];
    struct live_order order = {.kind = LIVE_ORDER_CLEAN, .kinds = kinds, .action.vehicle = vehicle->index};
    record->held &= (uint8_t)~kinds;
    record->brought &= (uint8_t)~kinds;
    if (!record->cleaning)
        record->told |= kinds & SAID;
    record->cleaning = true;
    live_region_order(world, region, &order);
    return true;
}

static uint8_t query(void *context, struct span thing, uint8_t region)
{
    const struct live_vehicle *vehicle = vehicle_named(context, thing);
    return vehicle ? has(context, live_place(vehicle), region) : 0;
}

static void told(void *context, int64_t now_us, struct span thing, uint8_t from, uint8_t to,
                 enum cloud_move_state state, int64_t began_us)
{
    const struct live_vehicle *vehicle = vehicle_named(context, thing);
    if (vehicle && state == CLOUD_MOVE_UNDONE && live_where(vehicle)->home != from)
        go_back(vehicle, from);
}

/* ---- set-up ------------------------------------------------------------------------------------------------------------------ */

bool live_moves_start(struct live_world *world)
{
    const struct scenario_regions *rules = live_rules(world);
    struct cloud_move_rules moves = {.copied = rules->copied,
                                     .cleaned = rules->cleaned,
                                     .kept = rules->kept,
                                     .clean_after_us = rules->clean_after_us,
                                     .give_up_us = rules->give_up_us};
    struct cloud_move_hands hands = {copy, clean, query, told, world};
    world->regions->moves = cloud_moves_create(&moves, &hands);
    for (uint32_t b = 0; b < world->broker_count; b++) {
        struct live_broker *broker = &world->brokers[b];
        broker->news_world = world;
        ev_io_init(&broker->news, on_holdings, broker->news_fd, EV_READ);
        broker->news.data = broker;
        ev_io_start(world->loop, &broker->news);
    }
    return world->regions->moves != NULL;
}

void live_moves_stop(struct live_world *world)
{
    cloud_moves_destroy(world->regions->moves);
}

/* ---- a vehicle on another continent --------------------------------------------------------------------------------------------- */

void live_regions_journey(struct live_vehicle *vehicle, const struct world_action *action)
{
    uint8_t to = live_places_named(vehicle->world, action->option);
    double part = live_places_part(vehicle, SALT_ARRIVE + (uint32_t)action->line);
    int64_t at_us = vehicle->world->now_us + (int64_t)(part * (double)action->timeout_us);
    if (to != CLOUD_NO_REGION && to != live_where(vehicle)->place)
        live_schedule(vehicle, LIVE_ARRIVE, at_us, to | (action->kind == ACTION_MOVE_REGION ? HOME_TOO : 0));
}

/* It gets off the ship: its link is gone; where its home moves with it, the owner asks for service there. */
void live_moves_arrived(struct live_vehicle *vehicle, uint32_t slot)
{
    struct live_world *world = vehicle->world;
    struct live_whereabouts *where = live_where(vehicle);
    uint8_t to = (uint8_t)slot;
    if (where->place == to)
        return;
    live_link_lost(vehicle);
    where->place = to;
    if (!(slot & HOME_TOO) || where->home == to ||
        !cloud_moves_begin(world->regions->moves, world->now_us, tcu_name(vehicle->tcu), where->home, to))
        return;
    where->former = where->home;
    where->home = to;
    where->arrived_us = world->now_us;
    tell_home(vehicle);
}

static bool waits_for_service(const struct live_vehicle *vehicle)
{
    const struct live_whereabouts *where = live_where(vehicle);
    return where->arrived_us >= 0 && vehicle->trace.online && vehicle->broker == where->home;
}

void live_moves_online(struct live_vehicle *vehicle)
{
    if (waits_for_service(vehicle))
        live_schedule(vehicle, LIVE_SERVICE, vehicle->world->now_us + SERVICE_AFTER_US, 0);
}

void live_moves_service(struct live_vehicle *vehicle)
{
    if (!waits_for_service(vehicle))
        return;
    live_ask(vehicle, FLEET_NO_APP, "status", SERVICE_TIME_US);
    live_schedule(vehicle, LIVE_SERVICE, vehicle->world->now_us + SERVICE_AGAIN_US, 0);
}

/* It has answered a command. */
void live_moves_served(struct live_vehicle *vehicle)
{
    struct live_world *world = vehicle->world;
    struct live_whereabouts *where = live_where(vehicle);
    if (!waits_for_service(vehicle))
        return;
    measure_count(world->fleet.measure, COUNTER_REGION_MOVES, who(vehicle), world->now_us, 1);
    measure_sample(world->fleet.measure, METRIC_REGION_MOVE, who(vehicle), vehicle->index, where->arrived_us,
                   world->now_us - where->arrived_us);
    where->arrived_us = -1;
    cloud_moves_served(world->regions->moves, world->now_us, tcu_name(vehicle->tcu), where->home);
    live_commands_touched(world);
}

/* ---- the end ------------------------------------------------------------------------------------------------------------------- */

/* What was copied into a region and was not to be, and what lies where the rules of its home forbid it. Its former home is judged by the rules of the
 * move. */
static bool is_forbidden(const struct live_vehicle *vehicle, uint8_t region)
{
    const struct live_world *world = vehicle->world;
    const struct live_whereabouts *where = live_where(vehicle);
    uint32_t place = live_place(vehicle);
    if (world->regions->list[region].records[place].brought & ~live_rules(world)->copied)
        return true;
    return !live_places_may_hold(world, where->home, region) && region != where->former && has(world, place, region);
}

void live_moves_audit(struct live_world *world, int64_t at_us)
{
    for (uint8_t region = 0; region < world->scenario->region_count; region++)
        if (!hear_all(world, region)) {
            live_fail(world, "a cloud does not say what it has of vehicles");
            return;
        }
    for (uint32_t v = 0; v < world->count; v++) {
        const struct live_vehicle *vehicle = &world->vehicles[v];
        bool left = false, forbidden = false;
        for (uint8_t region = 0; region < world->scenario->region_count; region++) {
            left = left || cloud_moves_leftovers(world->regions->moves, tcu_name(vehicle->tcu), region);
            forbidden = forbidden || is_forbidden(vehicle, region);
        }
        if (left)
            victim(vehicle, COUNTER_REGION_LEFTOVERS, at_us);
        if (forbidden)
            victim(vehicle, COUNTER_RESIDENCY_VIOLATIONS, at_us);
    }
}
