/* live_shadow.c: shadow { } and executions in the live world: settings of cars on the rig's own queue, the desk of their users on each broker, and on somebody
 * else's broker the services themselves, in this process, as one more client of that broker. In our own cloud an execution is started by an order to its process.
 */
#include "live.h"

#include "cloud/reserved.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

struct live_shadows { /* of a broker */
    struct fleet_shadows users;
    struct cloud_reserved *reserved; /* NULL: the broker's own */
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

static bool executes(const struct live_world *world)
{
    const struct scenario_commands *commands = &world->scenario->cloud.commands;
    return commands->on && commands->pattern == CLOUD_PATTERN_EXECUTIONS;
}

bool live_shadow_prepare(struct live_world *world)
{
    if (world->brokers[0].embedded)
        snprintf(world->events, sizeof world->events, "%s", world->profile->event_prefix);
    else
        snprintf(world->events, sizeof world->events, "%sevents", world->topic_prefix);
    if (!world->scenario->cloud.shadow.on)
        return true;
    world->shadows = calloc((size_t)world->count + 1, sizeof *world->shadows);
    return world->shadows || live_fail(world, "out of memory");
}

static bool serves(const struct live_world *world, const struct live_broker *broker)
{
    return (world->shadows || executes(world)) && !broker->embedded && broker->leads;
}

uint32_t live_shadow_buses(const struct live_world *world, const struct live_broker *broker)
{
    return (world->shadows != NULL) + serves(world, broker);
}

static bool open_service(struct live_world *world, struct live_shadows *shadows, struct live_bus *bus)
{
    struct cloud_options wanted = {0};
    fleet_cloud_options(world->scenario, &wanted);
    struct cloud_reserved_options options = {.shadow = wanted.shadow,
                                             .executions = wanted.executions,
                                             .prefix = world->fleet.reserved,
                                             .event_prefix = world->events,
                                             .epoch_us = world->fleet.wall_offset_us};
    bus->reserved = live_shadow_loses(world->scenario);
    shadows->reserved = cloud_reserved_create(&options, NULL, &bus->bus, world->now_us);
    return shadows->reserved != NULL;
}

bool live_shadow_start(struct live_world *world, struct live_broker *broker, struct live_bus *buses)
{
    bool users = world->shadows != NULL;
    if (!users && !executes(world))
        return true;
    if (executes(world) && !broker->embedded && broker->sharers > 1)
        return live_fail(world,
                         "several processes share %s, and only one has the executions; give each a --broker, or "
                         "leave -j out",
                         broker->uri);
    struct live_shadows *shadows = broker->shadows = calloc(1, sizeof *shadows);
    if (!shadows)
        return live_fail(world, "out of memory");
    shadows->users = (struct fleet_shadows){
        .fleet = &world->fleet, .bus = &buses[0].bus, .world = world, .find = find, .wake = wake};
    bool good = (!serves(world, broker) || open_service(world, shadows, &buses[users])) &&
                (!users || fleet_shadows_open(&shadows->users, world->now_us));
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

/* ---- answers that get lost --------------------------------------------------------------------------------------------- */

bool live_shadow_loses(const struct scenario *scenario)
{
    const struct scenario_commands *commands = &scenario->cloud.commands;
    return commands->on && commands->pattern != CLOUD_PATTERN_PLAIN && commands->lose_answers > 0;
}

/* Behind "convoy/.../" of the reserved topics. */
static struct span client_in(const char *prefix, struct span topic)
{
    const char *mark = strchr(prefix, '%');
    size_t before = mark ? (size_t)(mark - prefix) : topic.length;
    const uint8_t *slash = topic.length > before ? memchr(topic.data + before, '/', topic.length - before) : NULL;
    return slash ? span_of(topic.data + before, (size_t)(slash - topic.data) - before) : (struct span){NULL, 0};
}

bool live_shadow_lost(const struct live_bus *bus, const struct mq5_publish *message)
{
    const struct live_world *world = bus->world;
    return fleet_answer_lost(world->scenario, message->topic, client_in(world->fleet.reserved, message->topic));
}

static bool answer_passes(void *child, int64_t now_us, struct span client_id, const struct mq5_packet *packet)
{
    const struct scenario *scenario = ((const struct live_child *)child)->scenario;
    return packet->type != MQ5_PUBLISH || !fleet_answer_lost(scenario, packet->publish.topic, client_id);
}

void live_shadow_child_opened(struct live_child *child, struct cloud *cloud)
{
    if (!live_shadow_loses(child->scenario))
        return;
    cloud->inbound = answer_passes;
    cloud->guide = child;
}

/* ---- executions --------------------------------------------------------------------------------------------------------- */

int64_t live_shadow_next(const struct live_world *world)
{
    int64_t next_us = TIME_NEVER;
    for (uint32_t b = 0; b < world->broker_count; b++) {
        const struct live_shadows *shadows = world->brokers[b].shadows;
        int64_t at_us = shadows && shadows->reserved ? cloud_reserved_next_deadline(shadows->reserved) : TIME_NEVER;
        next_us = at_us < next_us ? at_us : next_us;
    }
    return next_us;
}

void live_shadow_tick(struct live_world *world)
{
    for (uint32_t b = 0; b < world->broker_count; b++)
        if (world->brokers[b].shadows && world->brokers[b].shadows->reserved)
            cloud_reserved_tick(world->brokers[b].shadows->reserved, world->now_us);
}

static struct live_broker *broker_of(const struct fleet_orders *orders)
{
    struct live_world *world = orders->world;
    uint32_t broker = 0;
    while (&world->brokers[broker].orders != orders)
        broker++;
    return &world->brokers[broker];
}

static int order_execution(const struct live_broker *broker, const struct cloud_remote_execution *wanted)
{
    struct live_order order = {.kind = LIVE_ORDER_EXECUTE};
    struct live_execution *execution = &order.execution;
    if (wanted->thing.length >= sizeof execution->thing || wanted->command.length >= sizeof execution->command ||
        wanted->id.length >= sizeof execution->id || wanted->payload.length > sizeof execution->payload)
        return 400;
    memcpy(execution->thing, wanted->thing.data, wanted->thing.length);
    memcpy(execution->command, wanted->command.data, wanted->command.length);
    memcpy(execution->id, wanted->id.data, wanted->id.length);
    memcpy(execution->payload, wanted->payload.data, wanted->payload.length);
    execution->payload_length = wanted->payload.length;
    execution->timeout_us = wanted->timeout_us;
    execution->again = wanted->again;
    return send(broker->news_fd, &order, sizeof order, MSG_NOSIGNAL) == (ssize_t)sizeof order ? 200 : 500;
}

static int run(struct cloud_executions *executions, int64_t now_us, const struct cloud_remote_execution *e)
{
    return e->again
               ? cloud_executions_again(executions, now_us, e->thing, e->id, e->payload, e->timeout_us)
               : cloud_executions_start(executions, now_us, e->thing, e->command, e->id, e->payload, e->timeout_us);
}

int live_execute(struct fleet_orders *orders, int64_t now_us, const struct cloud_remote_execution *execution)
{
    const struct live_broker *broker = broker_of(orders);
    return broker->embedded ? order_execution(broker, execution)
                            : run(cloud_reserved_executions(broker->shadows->reserved), now_us, execution);
}

/* What is refused has no event: the desk finds out when its time is over. */
void live_child_execute(struct cloud *cloud, int64_t now_us, const struct live_execution *execution)
{
    struct cloud_remote_execution wanted = {.thing = span_text(execution->thing),
                                            .command = span_text(execution->command),
                                            .id = span_text(execution->id),
                                            .payload = span_of(execution->payload, execution->payload_length),
                                            .timeout_us = execution->timeout_us,
                                            .again = execution->again};
    run(cloud_reserved_executions(cloud->reserved), now_us, &wanted);
}
