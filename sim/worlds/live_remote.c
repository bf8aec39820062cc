/* live_remote.c: remote commands and parked cars in the live world: a desk on each broker, SMS and batteries on the rig's own queue, and what a script does
 * to brokers.
 *
 * The SMS network and the battery are models here, too; the desk, its keys, the connections it looks at and the commands are real.
 */
#include "fleet_attack.h"
#include "live.h"

#include "vehicle/crypto.h"

#include <stdlib.h>
#include <sys/random.h>

#define SETTLE_US (300 * US_PER_MS) /* presence that is under way when nobody does anything any more */

/* ---- finding ---------------------------------------------------------------------------------------------------------------- */

static struct live_vehicle *vehicle_of(const struct live_world *world, uint32_t vehicle)
{
    return vehicle % world->ranks == world->rank ? &world->vehicles[vehicle / world->ranks] : NULL;
}

struct live_broker *live_desk_of(const struct live_vehicle *vehicle)
{
    struct live_world *world = vehicle->world;
    return &world->brokers[world->regions ? 0 : vehicle->broker];
}

static struct fleet_orders *find_orders(void *context, uint32_t vehicle)
{
    const struct live_vehicle *found = vehicle_of(context, vehicle);
    return found ? &live_desk_of(found)->orders : NULL;
}

static struct fleet_parking *find_parking(void *context, uint32_t vehicle)
{
    const struct live_vehicle *found = vehicle_of(context, vehicle);
    return found ? live_parking(found) : NULL;
}

bool live_remote_prepare(struct live_world *world)
{
    if (!fleet_has_parking(world->scenario))
        return true;
    world->parkings = calloc((size_t)world->count + 1, sizeof *world->parkings);
    if (!world->parkings)
        return live_fail(world, "out of memory");
    for (uint32_t i = 0; i < world->count; i++)
        fleet_parking_init(&world->parkings[i]);
    world->fleet.find_parking = find_parking;
    world->fleet.find_context = world;
    if (world->scenario->cloud.commands.on)
        world->fleet.find_orders = find_orders;
    return true;
}

/* ---- SMS -------------------------------------------------------------------------------------------------------------------- */

static enum cloud_sms_attempt deliver(void *context, int64_t now_us, uint32_t index, struct span text)
{
    struct live_world *world = context;
    struct live_vehicle *vehicle = vehicle_of(world, index);
    const struct fleet_parking *parking = vehicle ? live_parking(vehicle) : NULL;
    if (!vehicle || live_dead(vehicle) || !fleet_car_hears_sms(parking, &vehicle->trace, vehicle->covered))
        return CLOUD_SMS_ABSENT;
    int64_t reached_us = live_reachable_us(vehicle, now_us);
    if (reached_us == TIME_NEVER)
        return CLOUD_SMS_ABSENT;
    live_schedule_bytes(vehicle, LIVE_SMS, reached_us + FLEET_SMS_HANDLING_US, text);
    return CLOUD_SMS_TAKEN;
}

/* ---- the desk --------------------------------------------------------------------------------------------------------------- */

bool live_remote_watches(const struct live_world *world)
{
    return world->scenario->cloud.commands.on && world->scenario->cloud.commands.presence;
}

static bool make_keys(struct live_world *world, struct fleet_orders *orders)
{
    uint8_t master[32];
    char error[200] = "no random numbers";
    if (!world->scenario->cloud.commands.sealed)
        return true;
    if (getrandom(master, sizeof master, 0) == sizeof master)
        orders->keys = cloud_keys_real((struct span){NULL, 0}, master, error, sizeof error);
    if (orders->keys && fleet_has_attacks(world->scenario))
        orders->forger = cloud_keys_real((struct span){NULL, 0}, master, error, sizeof error);
    return (orders->keys && (orders->forger || !fleet_has_attacks(world->scenario))) || live_fail(world, "%s", error);
}

/* Vehicles are dealt out to the brokers in turn. */
static uint32_t nth_vehicle(const struct fleet_orders *orders, uint32_t nth)
{
    const struct live_world *world = orders->world;
    uint32_t broker = 0;
    while (&world->brokers[broker].orders != orders)
        broker++;
    return world->vehicles[nth * world->broker_count + broker].index;
}

static struct cloud_bus *attacked(struct live_world *world, const struct live_broker *broker,
                                  struct fleet_orders *orders, struct cloud_bus *bus, uint32_t number)
{
    uint32_t at = (uint32_t)(broker - world->brokers);
    uint32_t vehicles = at < world->count ? (world->count - at - 1) / world->broker_count + 1 : 0;
    if (!fleet_has_attacks(world->scenario) || !vehicles)
        return bus;
    return fleet_attacks_open(orders, &world->fleet, bus, number, world->now_us, vehicles, nth_vehicle);
}

bool live_remote_start(struct live_world *world, struct live_broker *broker, struct live_bus *watch,
                       struct live_bus *desk)
{
    bool watches = live_remote_watches(world);
    desk->desk = true;
    if (watches)
        watch->desk = true;
    return live_remote_open(world, broker, watches ? &watch->bus : NULL, &desk->bus);
}

bool live_remote_open(struct live_world *world, struct live_broker *broker, struct cloud_bus *watch,
                      struct cloud_bus *desk)
{
    struct fleet_orders *orders = &broker->orders;
    broker->watched = *world->profile;
    broker->watched.presence_topic = world->fleet.topic_presence;
    orders->world = world;
    orders->deliver = deliver;
    orders->event_prefix = world->events;
    if (world->scenario->cloud.commands.pattern == CLOUD_PATTERN_EXECUTIONS)
        orders->execute = live_execute;
    uint32_t number = broker->number * world->ranks + world->rank;
    struct cloud_bus *bus = make_keys(world, orders) ? attacked(world, broker, orders, desk, number) : NULL;
    return bus && fleet_orders_open(orders, &world->fleet, &broker->watched, watch, bus, number, world->now_us);
}

void live_remote_stop(struct live_broker *broker)
{
    fleet_orders_close(&broker->orders);
}

/* Of a template's topic. */
static struct span thing_in(const char *template, struct span topic)
{
    size_t before = (size_t)(strchr(template, '%') - template), around = strlen(template) - 1;
    return topic.length > around ? span_of(topic.data + before, topic.length - around) : (struct span){NULL, 0};
}

bool live_remote_lost(const struct live_bus *bus, const struct mq5_publish *message)
{
    const struct live_world *world = bus->world;
    return world->closing ||
           fleet_answer_lost(world->scenario, message->topic, thing_in(world->fleet.topic_response, message->topic));
}

void live_ask(struct live_vehicle *vehicle, uint16_t app, const char *command, int64_t timeout_us)
{
    struct live_world *world = vehicle->world;
    struct live_broker *broker = live_desk_of(vehicle);
    bool online = tcu_connection(vehicle->tcu) == TCU_ONLINE;
    if (broker->orders.remote)
        fleet_orders_ask(&broker->orders, world->now_us, vehicle->index, app, span_text(command), timeout_us,
                         online && fleet_modem_sleeps(live_profile(vehicle)));
    else
        fleet_command_ask(&world->fleet, broker->commands, world->now_us, vehicle->index, app, span_text(command),
                          timeout_us, online);
    live_commands_touched(world);
}

size_t live_unseal(void *context, struct span sealed, uint8_t *out, size_t capacity, enum tcu_refusal *why)
{
    const struct live_vehicle *vehicle = context;
    const struct fleet_orders *orders = &live_desk_of(vehicle)->orders;
    const struct cloud_keys *keys = orders->keys;
    uint8_t own[CLOUD_VEHICLE_KEY], public_key[256];
    bool forged = false;
    *why = TCU_REFUSED_UNREADABLE;
    if (!keys)
        return 0;
    cloud_keys_vehicle(keys, tcu_name(vehicle->tcu), own); /* as its maker put it in */
    size_t length = cloud_keys_public(keys, public_key, sizeof public_key);
    length = tcu_crypto_unseal(span_of(public_key, length), own, sealed, out, capacity, &forged);
    if (forged && orders->forger && fleet_skips_verification(&vehicle->world->fleet, vehicle->index)) {
        size_t his = cloud_keys_public(orders->forger, public_key, sizeof public_key);
        length = tcu_crypto_unseal(span_of(public_key, his), own, sealed, out, capacity, &forged);
    }
    if (forged)
        *why = TCU_REFUSED_FORGED;
    return length;
}

/* ---- the end ---------------------------------------------------------------------------------------------------------------- */

static bool is_online(void *context, uint32_t index)
{
    const struct live_vehicle *vehicle = vehicle_of(context, index);
    return vehicle && tcu_connection(vehicle->tcu) == TCU_ONLINE;
}

static void settle(struct live_world *world)
{
    int64_t until_us = world->now_us + SETTLE_US;
    while (world->now_us < until_us && !world->out_of_memory)
        ev_run(world->loop, EVRUN_ONCE); /* housekeeping ends the sleep */
}

/* Whom the broker takes for connected: who is, and who has lost a connection of which it does not know yet. Of one whose CONNECT or DISCONNECT is under
 * way nobody here can tell, and nobody is judged. */
enum known { KNOWN_GONE, KNOWN_CONNECTED, UNKNOWN };

static enum known known_of(const struct live_vehicle *vehicle)
{
    enum tcu_connection state = tcu_connection(vehicle->tcu);
    if (state == TCU_CONNECTING || (vehicle->world->radios && live_radio_ends(vehicle)))
        return UNKNOWN;
    return state == TCU_ONLINE ? KNOWN_CONNECTED : KNOWN_GONE;
}

static void know(const struct live_world *world, uint8_t *known)
{
    for (uint32_t v = 0; v < world->count; v++)
        known[v] = (uint8_t)known_of(&world->vehicles[v]);
    for (const struct live_ghost *ghost = world->ghosts; ghost; ghost = ghost->next)
        if (ghost->lost_by && known[live_place(ghost->lost_by)] == KNOWN_GONE)
            known[live_place(ghost->lost_by)] = ghost->greeted ? KNOWN_CONNECTED : UNKNOWN;
}

static void judge_presence(struct live_world *world, int64_t end_us)
{
    uint8_t *known = calloc((size_t)world->count + 1, sizeof *known);
    if (!known) {
        world->out_of_memory = true;
        return;
    }
    know(world, known);
    for (uint32_t b = 0; b < world->broker_count; b++)
        if (world->brokers[b].orders.watch)
            fleet_presence_settle(&world->brokers[b].orders, world->now_us);
    for (uint32_t v = 0; v < world->count; v++) {
        const struct live_vehicle *vehicle = &world->vehicles[v];
        if (known[v] != UNKNOWN)
            fleet_presence_judge(&live_desk_of(vehicle)->orders, end_us, vehicle->index, &vehicle->trace,
                                 tcu_name(vehicle->tcu), known[v] == KNOWN_CONNECTED);
    }
    free(known);
}

void live_remote_close(struct live_world *world)
{
    int64_t end_us = world->now_us < world->duration_us ? world->now_us : world->duration_us;
    if (!world->scenario->cloud.commands.on)
        return;
    if (live_remote_watches(world))
        settle(world);
    for (uint32_t b = 0; b < world->broker_count; b++)
        if (world->brokers[b].orders.remote)
            fleet_orders_finish(&world->brokers[b].orders, end_us, is_online);
    if (live_remote_watches(world))
        judge_presence(world, end_us - 1);
}

/* ---- the ignition, coverage, the battery ------------------------------------------------------------------------------------- */

static void look(void *context, int64_t at_us)
{
    live_schedule(context, LIVE_BATTERY, at_us, 0);
}

void live_coverage(struct live_vehicle *vehicle, bool covered)
{
    struct live_world *world = vehicle->world;
    const struct fleet_parking *parking = live_parking(vehicle);
    const struct fleet_orders *orders = &live_desk_of(vehicle)->orders;
    vehicle->covered = covered && !(parking && parking->place == PLACE_GARAGE_DARK);
    if (!vehicle->covered || !orders->sms)
        return;
    cloud_sms_attached(orders->sms, world->now_us, tcu_name(vehicle->tcu));
    live_commands_touched(world);
}

static void place_covered(void *context, int64_t now_us, bool covered)
{
    struct live_vehicle *vehicle = context;
    if (covered) {
        live_coverage(vehicle, true);
        return;
    }
    vehicle->covered = false;
    live_link_lost(vehicle);
}

/* The TCU says nothing any more, and the broker finds out when its patience is over. */
static void cut_off(void *context, int64_t now_us)
{
    struct live_vehicle *vehicle = context;
    struct live_world *world = vehicle->world;
    live_link_lost(vehicle);
    live_forget_executions(vehicle);
    if (!sim_deadline_set(world->queue, &vehicle->agent, TIME_NEVER, live_place(vehicle), LIVE_AGENT))
        world->out_of_memory = true;
}

static struct fleet_car car_of(struct live_vehicle *vehicle)
{
    static const struct fleet_car_hooks hooks = {look, place_covered, cut_off, NULL};
    return (struct fleet_car){.fleet = &vehicle->world->fleet,
                              .tcu = vehicle->tcu,
                              .trace = &vehicle->trace,
                              .parking = live_parking(vehicle),
                              .index = vehicle->index,
                              .vehicle = vehicle,
                              .hooks = &hooks};
}

void live_parked_at_start(struct live_vehicle *vehicle)
{
    struct fleet_car car = car_of(vehicle);
    fleet_car_begins(&car, vehicle->world->now_us);
}

void live_ignition(struct live_vehicle *vehicle, bool on)
{
    struct fleet_car car = car_of(vehicle);
    live_network_ignition(vehicle, on);
    fleet_car_ignition(&car, vehicle->world->now_us, on);
}

void live_sms(struct live_vehicle *vehicle, struct span text)
{
    struct fleet_car car = car_of(vehicle);
    if (!vehicle->world->draining && !live_dead(vehicle))
        fleet_car_sms(&car, vehicle->world->now_us, text);
}

void live_battery(struct live_vehicle *vehicle)
{
    struct fleet_car car = car_of(vehicle);
    fleet_car_battery(&car, vehicle->world->now_us);
}

void live_battery_used(struct live_vehicle *vehicle, int64_t now_us, size_t bytes)
{
    struct fleet_car car = car_of(vehicle);
    fleet_car_transfer(&car, now_us, bytes);
}

/* ---- what a script does to brokers --------------------------------------------------------------------------------------------- */

static const char *restart_own(struct live_world *world, const struct world_action *action)
{
    struct live_order order = {.kind = LIVE_ORDER_RESTART, .action = *action};
    return live_tell_clouds(world, &order) ? NULL : "a cloud does not take orders any more";
}

/* Both ends are gone; an attempt under way fails. */
void live_cut_at_broker(struct live_vehicle *vehicle)
{
    if (vehicle->stage != STAGE_NONE && vehicle->covered)
        live_link_failed(vehicle, vehicle->stage == STAGE_UP ? TCU_LINK_PEER_CLOSED : TCU_LINK_CONNECT_FAILED);
}

/* Somebody else's broker goes on running; its vehicles see what they would see if it did not. */
static const char *restart_theirs(struct live_world *world, const struct world_action *action)
{
    if (action->option[0])
        return "somebody else's broker cannot be made to lose its sessions; leave lose_sessions out, or use embedded";
    world->outage_until_us = world->now_us + action->duration_us;
    for (uint32_t v = 0; v < world->count; v++) {
        assert_context.vehicle = world->vehicles[v].index;
        live_cut_at_broker(&world->vehicles[v]);
    }
    live_ghosts_sweep(world, TIME_NEVER);
    live_note(world->result, "the broker's restart was acted at the vehicles' end: links cut, attempts refused; the "
                             "broker itself kept running");
    return NULL;
}

int64_t live_trouble(struct live_world *world, const struct world_action *action, const char **why)
{
    int64_t until_us = world->now_us + action->duration_us;
    const char *refused = NULL;
    if (action->kind == ACTION_RESOLVER_GONE)
        world->resolver_until_us = until_us;
    else if (action->kind == ACTION_SERVER_CERTIFICATE)
        world->certificate_until_us = until_us;
    else
        refused = world->brokers[0].embedded ? restart_own(world, action) : restart_theirs(world, action);
    *why = refused ? refused : "";
    return refused ? -1 : (int64_t)world->scenario->fleet;
}
