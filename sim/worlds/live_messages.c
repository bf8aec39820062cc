/* live_messages.c: processors { } and notices in the live world: each processor is a connection of its own to the broker, a router and what sends
 * notices are services like the others.
 *
 * A processor acknowledges what it has committed, so its connection is one on the world's own loop; that takes a broker with a listener in clear.
 */
#include "live.h"

#include "fleet_messages.h"

#include <stdio.h>
#include <stdlib.h>

struct live_member {
    struct live_hall *hall;
    struct cloud_bus *wire; /* NULL: was never there, or has said good-bye */
    uint32_t number;
};

struct live_hall { /* of one broker */
    struct live_world *world;
    struct live_broker *broker;
    struct fleet_pool pool;
    struct live_member members[FLEET_MEMBERS];
    struct cloud_router *router;
    struct cloud_bus *notices; /* NULL: none are sent */
    bool open;
};

struct live_messages {
    struct fleet_notices notices;
    struct fleet_book *books; /* by place */
    struct live_hall halls[WORLD_BROKERS];
};

static const struct scenario_messages *told(const struct live_world *world)
{
    return &world->scenario->cloud.messages;
}

/* ---- members --------------------------------------------------------------------------------------------------------- */

static void on_telemetry(void *context, int64_t clock_us, const struct mq5_publish *message)
{
    struct live_member *member = context;
    struct live_world *world = member->hall->world;
    int64_t now_us = clock_us - world->start_us;
    world->delivered_us = now_us;
    if (!world->closing)
        fleet_pool_take(&member->hall->pool, member->number, now_us, message);
}

static void on_lost(void *context)
{
    const struct live_member *member = context;
    fleet_pool_lost(&member->hall->pool, member->number);
}

static bool open_member(void *context, int64_t now_us, uint32_t number, const char *filter)
{
    struct live_hall *hall = context;
    struct live_world *world = hall->world;
    struct live_member *member = &hall->members[number];
    char name[64];
    *member = (struct live_member){.hall = hall, .wire = member->wire, .number = number};
    if (member->wire) {
        live_wire_revive(member->wire);
        return true;
    }
    snprintf(name, sizeof name, "processor-%s-%u", told(world)->groups[number / SCENARIO_GROUP_MEMBERS].name,
             number % SCENARIO_GROUP_MEMBERS + 1);
    struct live_wire_member wanted = {.session_s = (uint32_t)told(world)->session_s,
                                      .filter = filter,
                                      .handler = on_telemetry,
                                      .lost = on_lost,
                                      .context = member,
                                      .wait = !hall->open};
    member->wire = live_services_member(world, hall->broker, name, &wanted);
    return member->wire != NULL;
}

static void unsubscribe(void *context, int64_t now_us, uint32_t number)
{
    struct live_hall *hall = context;
    if (hall->members[number].wire)
        live_wire_unsubscribe(hall->members[number].wire);
}

static void close_member(void *context, int64_t now_us, uint32_t number, bool politely)
{
    struct live_hall *hall = context;
    struct live_member *member = &hall->members[number];
    if (!member->wire)
        return;
    if (!politely) {
        live_wire_cut(member->wire);
        return;
    }
    member->wire->ops->close(member->wire);
    member->wire = NULL;
}

static void acknowledge(void *context, int64_t now_us, uint32_t number, uint16_t packet_id)
{
    struct live_hall *hall = context;
    if (hall->members[number].wire)
        live_wire_acknowledge(hall->members[number].wire, packet_id);
}

static const struct fleet_pool_ops pool_ops = {open_member, unsubscribe, close_member, acknowledge};

/* ---- start ----------------------------------------------------------------------------------------------------------- */

static struct fleet_book *find_book(void *context, uint32_t vehicle)
{
    const struct live_world *world = context;
    bool here = vehicle % world->ranks == world->rank && world->messages;
    return here ? &world->messages->books[vehicle / world->ranks] : NULL;
}

bool live_messages_prepare(struct live_world *world)
{
    if (!told(world)->on)
        return true;
    world->messages = calloc(1, sizeof *world->messages);
    if (world->messages)
        world->messages->books = calloc((size_t)world->count + 1, sizeof *world->messages->books);
    if (!world->messages || !world->messages->books)
        return live_fail(world, "out of memory");
    world->messages->notices.next_us = TIME_NEVER;
    for (uint32_t b = 0; b < WORLD_BROKERS; b++)
        world->messages->halls[b].pool.next_us = TIME_NEVER;
    world->fleet.find_book = find_book;
    world->fleet.find_context = world;
    return true;
}

uint32_t live_messages_buses(const struct live_world *world)
{
    return (told(world)->routed ? 2 : 0) + (told(world)->notice_count > 0);
}

bool live_messages_start(struct live_world *world, struct live_broker *broker, struct live_bus *buses)
{
    if (!world->messages)
        return true;
    struct live_hall *hall = &world->messages->halls[broker - world->brokers];
    hall->world = world;
    hall->broker = broker;
    if (told(world)->routed) {
        hall->router =
            fleet_router_open(&world->fleet, &buses[0].bus, &buses[1].bus, broker->sharers > 1 ? "routers" : "", 0);
        if (!hall->router)
            return live_fail(world, "%s refuses the router's subscriptions", broker->uri);
        buses += 2;
    }
    if (told(world)->notice_count > 0)
        hall->notices = &buses->bus;
    if (!told(world)->processors)
        return true;
    if (strncmp(broker->service_uri, "mqtt:", 5) != 0)
        return live_fail(world,
                         "processors { } acknowledge in their own time, which takes a listener in clear; name one with "
                         "mqtt:// (vehicles may use TLS on another), or use embedded");
    hall->open = fleet_pool_open(&hall->pool, &world->fleet, &pool_ops, hall, broker->sharers, world->now_us);
    return hall->open || world->result->error[0] ||
           live_fail(world, "%s does not take the processors' shared subscription", broker->uri);
}

static struct cloud_bus *bus_of(void *context, uint32_t vehicle)
{
    const struct live_world *world = context;
    const struct live_vehicle *found = &world->vehicles[vehicle / world->ranks];
    return world->messages->halls[found->broker].notices;
}

/* Once all brokers are there: time begins. */
void live_messages_begin(struct live_world *world)
{
    if (!world->messages || told(world)->notice_count == 0)
        return;
    fleet_notices_open(&world->messages->notices, &world->fleet, NULL, world->rank, world->ranks);
    world->messages->notices.bus_of = bus_of;
    world->messages->notices.world = world;
}

/* ---- while it runs --------------------------------------------------------------------------------------------------- */

int64_t live_messages_next(const struct live_world *world)
{
    int64_t next_us = TIME_NEVER;
    if (!world->messages || world->closing)
        return next_us;
    if (!world->draining)
        next_us = world->messages->notices.next_us;
    for (uint32_t b = 0; b < world->broker_count; b++) {
        int64_t at_us = fleet_pool_next(&world->messages->halls[b].pool);
        next_us = at_us < next_us ? at_us : next_us;
    }
    return next_us;
}

void live_messages_tick(struct live_world *world)
{
    if (!world->messages || world->closing)
        return;
    if (!world->draining && told(world)->notice_count > 0)
        fleet_notices_tick(&world->messages->notices, world->now_us);
    for (uint32_t b = 0; b < world->broker_count; b++)
        if (world->messages->halls[b].open)
            fleet_pool_tick(&world->messages->halls[b].pool, world->now_us);
}

/* Where processes share a broker each has its part of the processors, and one of them says who dies. */
int64_t live_messages_act(struct live_world *world, const struct world_action *action, const char **why)
{
    int64_t touched = 0;
    *why = "";
    if (world->hooked) {
        *why = "on_event may only send a command";
        return -1;
    }
    if (action->kind == ACTION_PROCESSOR_DIES && action->duration_us == 0 && !world->brokers[0].embedded) {
        *why = "somebody else's broker need not give others what a dead member held (4.8.2: SHOULD); write back_after";
        return -1;
    }
    for (uint32_t b = 0; b < world->broker_count; b++) {
        struct live_hall *hall = &world->messages->halls[b];
        if (hall->open && (action->kind == ACTION_PROCESSORS_SCALE || hall->broker->leads))
            touched += fleet_pool_act(&hall->pool, world->now_us, action);
    }
    live_commands_touched(world);
    return touched;
}

/* ---- the end --------------------------------------------------------------------------------------------------------- */

void live_messages_finish(struct live_world *world, int64_t end_us)
{
    for (uint32_t b = 0; world->messages && b < world->broker_count; b++)
        if (world->messages->halls[b].open)
            fleet_pool_finish(&world->messages->halls[b].pool, end_us);
}

/* Takes this run's retained notices off somebody else's broker. */
void live_messages_clear(struct live_world *world)
{
    char name[SCENARIO_NAME + 16], topic[192];
    if (!world->messages || world->brokers[0].embedded)
        return;
    for (uint32_t v = 0; v < world->count; v++) {
        const struct live_vehicle *vehicle = &world->vehicles[v];
        struct cloud_bus *bus = world->messages->halls[vehicle->broker].notices;
        for (uint32_t k = 0; bus && k < told(world)->notice_count; k++) {
            if (!told(world)->notices[k].retained || !world->messages->books[v].newest[k])
                continue;
            scenario_vehicle_name(world->scenario, vehicle->index, name, sizeof name);
            snprintf(topic, sizeof topic, "%snotice/%s/%s", world->topic_prefix, name, told(world)->notices[k].kind);
            struct mq5_publish empty = {.retain = true, .topic = span_text(topic)};
            bus->ops->publish(bus, world->now_us, &empty);
        }
    }
}

void live_messages_stop(struct live_world *world)
{
    for (uint32_t b = 0; world->messages && b < world->broker_count; b++) {
        struct live_hall *hall = &world->messages->halls[b];
        if (hall->world && told(world)->processors)
            fleet_pool_close(&hall->pool, world->now_us);
        for (uint32_t i = 0; i < FLEET_MEMBERS; i++) /* who died and never came back */
            if (hall->members[i].wire)
                hall->members[i].wire->ops->close(hall->members[i].wire);
        if (hall->router)
            cloud_router_destroy(hall->router);
        hall->router = NULL;
    }
    if (world->messages)
        free(world->messages->books);
    free(world->messages);
    world->messages = NULL;
    world->fleet.find_book = NULL;
}
