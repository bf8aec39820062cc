/* virtual_events.c: what happens at an event, and what a script may do to vehicles while the run goes on. */
#include "virtual_regions.h"

#include <stdio.h>

void virtual_cloud_touched(struct partition *partition)
{
    int64_t next_us = cloud_next_deadline(&partition->cloud);
    int64_t commands_us = cloud_commands_next_deadline(partition->commands);
    next_us = commands_us < next_us ? commands_us : next_us;
    if (__builtin_expect(partition->orders.remote != NULL, 0)) {
        int64_t orders_us = fleet_orders_next(&partition->orders);
        next_us = orders_us < next_us ? orders_us : next_us;
    }
    if (__builtin_expect(partition->hall != NULL, 0)) {
        int64_t messages_us = virtual_messages_next(partition);
        next_us = messages_us < next_us ? messages_us : next_us;
    }
    if (__builtin_expect(partition->regions != NULL, 0)) {
        int64_t regions_us = virtual_regions_next(partition->regions);
        next_us = regions_us < next_us ? regions_us : next_us;
    }
    if (next_us < partition->now_us)
        next_us = partition->now_us;
    if (!sim_deadline_set(partition->queue, &partition->cloud_deadline, next_us, partition->count, EVENT_CLOUD))
        partition->world->out_of_memory = true;
}

/* ---- a vehicle's day ----------------------------------------------------------------------------------------------- */

static void life_again(struct virtual_vehicle *vehicle)
{
    int64_t next_us = fleet_life_next(&vehicle->day);
    const struct fleet_network *network = vehicle_network(vehicle);
    if (network && fleet_network_next(network) < next_us)
        next_us = fleet_network_next(network);
    if (!sim_deadline_set(vehicle->partition->queue, &vehicle->life, next_us, vehicle->local, EVENT_LIFE))
        vehicle->partition->world->out_of_memory = true;
}

static void ask(struct virtual_vehicle *vehicle, int64_t now_us, uint16_t app, struct span command, int64_t timeout_us,
                bool online)
{
    struct partition *partition = vehicle->partition;
    struct fleet *fleet = &partition->world->fleet;
    if (!partition->orders.remote)
        fleet_command_ask(fleet, partition->commands, now_us, vehicle_index(vehicle), app, command, timeout_us, online);
    else
        fleet_orders_ask(&partition->orders, now_us, vehicle_index(vehicle), app, command, timeout_us,
                         online && fleet_modem_sleeps(vehicle_radio(vehicle)));
}

static void app_command(struct virtual_vehicle *vehicle, int64_t now_us)
{
    struct partition *partition = vehicle->partition;
    struct fleet *fleet = &partition->world->fleet;
    const struct scenario_app *app = &fleet->scenario->apps[vehicle->day.command_app];
    bool online = tcu_connection(vehicle_tcu(vehicle)) == TCU_ONLINE;
    if (online || !app->online_only)
        ask(vehicle, now_us, vehicle->day.command_app, span_text(app->command), app->timeout_us, online);
    fleet_life_command_done(fleet, vehicle_index(vehicle), &vehicle->day, now_us);
    virtual_cloud_touched(partition);
}

void virtual_radio_gone(struct virtual_vehicle *vehicle, int64_t now_us)
{
    measure_count(vehicle->partition->world->fleet.measure, COUNTER_LINK_DROPS, fleet_who(&vehicle->trace, PATH_ANY),
                  now_us, 1);
    virtual_link_lost(vehicle, now_us, TCU_LINK_LOST);
}

static void live_on(struct virtual_vehicle *vehicle, int64_t now_us)
{
    static const char *const names[] = {[LIFE_IGNITION_ON] = "ignition on",
                                        [LIFE_IGNITION_OFF] = "ignition off",
                                        [LIFE_COMMAND] = "its user asks for a command",
                                        [LIFE_DROP] = "the radio drops the link",
                                        [LIFE_HOLE_BEGIN] = "coverage ends",
                                        [LIFE_HOLE_END] = "coverage is back"};
    const struct fleet *fleet = &vehicle->partition->world->fleet;
    for (;;) {
        enum fleet_life_event event = fleet_life_step(fleet, vehicle_index(vehicle), &vehicle->day, now_us);
        if (event != LIFE_NOTHING)
            virtual_tell(vehicle, now_us, TRACE_CAR, (struct span){NULL, 0}, names[event]);
        switch (event) {
        case LIFE_NOTHING:
            virtual_network_step(vehicle, now_us);
            life_again(vehicle);
            return;
        case LIFE_IGNITION_ON: virtual_ignition(vehicle, now_us, true); break;
        case LIFE_IGNITION_OFF: virtual_ignition(vehicle, now_us, false); break;
        case LIFE_COMMAND: app_command(vehicle, now_us); break;
        case LIFE_HOLE_END: virtual_coverage(vehicle, now_us, true); break;
        case LIFE_HOLE_BEGIN:
            vehicle->covered = false;
            virtual_radio_gone(vehicle, now_us);
            break;
        case LIFE_DROP: virtual_radio_gone(vehicle, now_us); break;
        }
    }
}

/* ---- events -------------------------------------------------------------------------------------------------------- */

static void cloud_event(struct partition *partition, int64_t now_us)
{
    if (!sim_deadline_due(partition->queue, &partition->cloud_deadline, now_us, partition->count, EVENT_CLOUD))
        return;
    cloud_tick(&partition->cloud, now_us);
    cloud_commands_tick(partition->commands, now_us);
    if (partition->orders.remote)
        fleet_orders_tick(&partition->orders, now_us);
    if (partition->hall)
        virtual_messages_tick(partition, now_us);
    if (partition->regions)
        virtual_regions_tick(partition->regions, now_us);
    virtual_cloud_touched(partition);
}

static void script_event_due(struct virtual_world *world, int64_t now_us);

static void handle(void *context, int64_t now_us, uint32_t entity, uint8_t class)
{
    struct partition *partition = context;
    partition->now_us = now_us;
    assert_context.now_us = now_us;
    if (class == EVENT_CLOUD || class == EVENT_SCRIPT) {
        if (class == EVENT_CLOUD)
            cloud_event(partition, now_us);
        else
            script_event_due(partition->world, now_us);
        return;
    }
    struct virtual_vehicle *vehicle = partition_vehicle(partition, entity);
    assert_context.vehicle = vehicle_index(vehicle);
    switch ((enum virtual_class) class) {
    case EVENT_STEP: virtual_step(vehicle, now_us); break;
    case EVENT_UP: virtual_arrivals_up(vehicle, now_us); break;
    case EVENT_DOWN: virtual_arrivals_down(vehicle, now_us); break;
    case EVENT_LIFE:
        if (sim_deadline_due(partition->queue, &vehicle->life, now_us, entity, EVENT_LIFE))
            live_on(vehicle, now_us);
        break;
    case EVENT_AGENT:
        if (sim_deadline_due(partition->queue, &vehicle->agent, now_us, entity, EVENT_AGENT))
            tcu_tick(vehicle_tcu(vehicle), now_us);
        break;
    default: break;
    }
    if (__builtin_expect(partition->died != NULL, 0))
        virtual_died(partition, now_us);
}

static void prefetch(void *context, uint32_t entity, uint8_t class)
{
    const struct partition *partition = context;
    if (class >= EVENT_CLOUD)
        return;
    const char *vehicle = (const char *)partition_vehicle(partition, entity);
    __builtin_prefetch(vehicle);
    __builtin_prefetch(vehicle + 64);
    __builtin_prefetch(vehicle + 128);
    __builtin_prefetch(vehicle + 192);
    __builtin_prefetch(vehicle + 256);
}

void virtual_advance(struct partition *partition, int64_t until_us)
{
    static const struct sim_handlers handlers = {handle, prefetch};
    struct virtual_world *world = partition->world;
    struct memory_heap *outside = memory_enter(partition->heap);
    world->running = partition;
    partition->events += sim_queue_run(partition->queue, until_us, &handlers, partition);
    world->running = NULL;
    partition->now_us = partition->done_us = until_us;
    memory_enter(outside);
}

/* ---- actions of scripts -------------------------------------------------------------------------------------------- */

void virtual_ask(struct virtual_vehicle *vehicle, int64_t now_us, struct span command, int64_t timeout_us)
{
    ask(vehicle, now_us, FLEET_NO_APP, command, timeout_us, tcu_connection(vehicle_tcu(vehicle)) == TCU_ONLINE);
}

static void cut_at_broker(struct virtual_vehicle *vehicle, int64_t now_us)
{
    struct virtual_link *link = vehicle_link(vehicle);
    if (!link || !link->broker_open)
        return;
    struct cloud_connection *connection = link->connection;
    virtual_broker_close(NULL, link, CLOUD_CLOSED_SERVER);
    cloud_broker_closed(link_broker(link), connection, now_us);
}

static const char *const action_names[] = {[ACTION_COVERAGE_HOLE] = "script: coverage hole",
                                           [ACTION_DROP_LINKS] = "script: link dropped",
                                           [ACTION_COMMAND] = "script: command",
                                           [ACTION_IGNITION_ON] = "script: ignition on",
                                           [ACTION_IGNITION_OFF] = "script: ignition off",
                                           [ACTION_CLOUD_KICK] = "script: kicked by the broker",
                                           [ACTION_CLOUD_OUTAGE] = "script: outage of the cloud",
                                           [ACTION_NODE_LOSS] = "script: its node of the broker is lost",
                                           [ACTION_HALF_OPEN] = "script: its connection is dead",
                                           [ACTION_ADDRESS_CHANGE] = "script: it has another address"};

static void act_on(struct virtual_vehicle *vehicle, int64_t now_us, const struct world_action *action)
{
    struct partition *partition = vehicle->partition;
    const struct fleet *fleet = &partition->world->fleet;
    virtual_tell(vehicle, now_us, TRACE_CAR, span_text(action->command), action_names[action->kind]);
    switch (action->kind) {
    case ACTION_COVERAGE_HOLE:
        vehicle->covered = false;
        fleet_life_hole(&vehicle->day, now_us + action->duration_us);
        virtual_link_lost(vehicle, now_us, TCU_LINK_LOST);
        break;
    case ACTION_DROP_LINKS: virtual_link_lost(vehicle, now_us, TCU_LINK_LOST); break;
    case ACTION_COMMAND: virtual_ask(vehicle, now_us, span_text(action->command), action->timeout_us); break;
    case ACTION_IGNITION_ON:
    case ACTION_IGNITION_OFF:
        fleet_life_ignition(fleet, vehicle_index(vehicle), &vehicle->day, now_us, action->kind == ACTION_IGNITION_ON);
        virtual_ignition(vehicle, now_us, action->kind == ACTION_IGNITION_ON);
        break;
    case ACTION_CLOUD_KICK:
        cloud_broker_kick(virtual_broker_of(vehicle), now_us, tcu_name(vehicle_tcu(vehicle)),
                          MQ5_ADMINISTRATIVE_ACTION);
        break;
    case ACTION_CLOUD_OUTAGE: cut_at_broker(vehicle, now_us); break;
    case ACTION_NODE_LOSS:
        cut_at_broker(vehicle, now_us);
        if (strcmp(action->option, "lose sessions") == 0)
            cloud_broker_forget(virtual_broker_of(vehicle), now_us, tcu_name(vehicle_tcu(vehicle)));
        break;
    default: break; /* identities: virtual_identity_act() */
    }
    life_again(vehicle);
}

static bool selected(const struct virtual_world *world, const struct virtual_vehicle *vehicle,
                     const struct world_action *action)
{
    if (action->vehicle >= 0)
        return vehicle_index(vehicle) == action->vehicle;
    return scenario_selected(world->scenario, vehicle_index(vehicle), action->cohort, action->region, action->share,
                             action->salt);
}

static int64_t act_partition(struct partition *partition, int64_t now_us, const struct world_action *action)
{
    int64_t touched = 0;
    struct memory_heap *outside = memory_enter(partition->heap);
    partition->now_us = now_us;
    partition->world->acting = partition;
    if (action->kind == ACTION_CLOUD_OUTAGE)
        partition->outage_until_us = now_us + action->duration_us;
    uint32_t first = 0, end = partition->count;
    if (action->kind >= ACTION_BROKER_RESTART && action->kind <= ACTION_SERVER_CERTIFICATE) {
        virtual_trouble(partition, now_us, action);
        touched = partition->count;
        end = 0;
    }
    if (action->kind == ACTION_PROCESSORS_SCALE || action->kind == ACTION_PROCESSOR_DIES) {
        touched = virtual_messages_act(partition, now_us, action);
        end = 0;
    }
    if (action->kind == ACTION_REGION_OUTAGE || action->kind == ACTION_ROLL_BACK) {
        touched = virtual_regions_trouble(partition->regions, now_us, action);
        end = 0;
    }
    if (action->kind == ACTION_AUDIT) {
        touched = virtual_identity_audit(partition, now_us);
        end = 0;
    } else if (action->vehicle >= 0 && end) { /* one vehicle: it alone is looked at */
        bool here = action->vehicle < partition->world->scenario->fleet &&
                    action->vehicle % partition->world->partition_count == partition->number;
        first = here ? (uint32_t)action->vehicle / partition->world->partition_count : 0;
        end = here ? first + 1 : 0;
    }
    for (uint32_t i = first; i < end; i++) {
        struct virtual_vehicle *vehicle = partition_vehicle(partition, i);
        if (vehicle->trace.power_up_us < 0 || !selected(partition->world, vehicle, action))
            continue;
        assert_context.vehicle = vehicle_index(vehicle);
        if (action->kind == ACTION_MOVE_REGION || action->kind == ACTION_TRAVEL) {
            touched += virtual_regions_act(vehicle, now_us, action);
            continue;
        }
        if (action->kind >= ACTION_HALF_OPEN) {
            touched += virtual_link_dies(vehicle, now_us, action->kind == ACTION_ADDRESS_CHANGE);
            continue;
        }
        if (action->kind >= ACTION_ROTATE) {
            touched += virtual_identity_act(vehicle, now_us, action);
            continue;
        }
        act_on(vehicle, now_us, action);
        touched++;
    }
    virtual_cloud_touched(partition);
    memory_enter(outside);
    return touched;
}

/* From on_event: a command to one vehicle, which lives in a partition of its own time. */
static int64_t act_from_event(struct virtual_world *world, int64_t now_us, const struct world_action *action,
                              const char **why)
{
    if (action->kind != ACTION_COMMAND || action->vehicle < 0 || action->vehicle >= world->scenario->fleet) {
        *why = "on_event may only send a command, to one vehicle";
        return -1;
    }
    struct sim_message message = {.at_us = now_us + world->lookahead_us,
                                  .to = (uint32_t)action->vehicle % world->partition_count,
                                  .from = world->running->number,
                                  .entity = (uint32_t)action->vehicle / world->partition_count,
                                  .sequence = world->running->messages++,
                                  .kind = MESSAGE_COMMAND};
    size_t length = strlen(action->command);
    ASSERT(sizeof action->timeout_us + length <= sizeof message.data);
    memcpy(message.data, &action->timeout_us, sizeof action->timeout_us);
    memcpy(message.data + sizeof action->timeout_us, action->command, length);
    message.length = (uint16_t)(sizeof action->timeout_us + length);
    if (!sim_exchange_send(world->exchange, now_us, &message))
        world->out_of_memory = true;
    return 1;
}

void virtual_tell_script(void *context, uint32_t vehicle, uint16_t cohort, const char *event, int64_t now_us)
{
    struct virtual_world *world = context;
    struct script_news news = {.vehicle = vehicle, .cohort = cohort};
    snprintf(news.event, sizeof news.event, "%s", event);
    struct partition *partition = world->running;
    if (!partition) /* a script's action at a barrier did it: known where the vehicle is */
        partition = world->acting;
    struct sim_message message = {.at_us = now_us + world->lookahead_us,
                                  .from = partition->number,
                                  .entity = vehicle / world->partition_count,
                                  .sequence = partition->messages++,
                                  .kind = MESSAGE_EVENT,
                                  .length = sizeof news};
    memcpy(message.data, &news, sizeof news);
    if (!sim_exchange_send(world->exchange, now_us, &message))
        world->out_of_memory = true;
}

void virtual_news(struct partition *partition, const struct sim_message *message)
{
    struct virtual_world *world = partition->world;
    struct script_news *news = memory_allocate(sizeof *news);
    if (!news || !sim_queue_push(partition->queue, message->at_us, partition->count + 1, EVENT_SCRIPT)) {
        world->out_of_memory = true;
        return;
    }
    memcpy(news, message->data, sizeof *news);
    news->next = NULL;
    news->at_us = message->at_us;
    if (world->last_news)
        world->last_news->next = news;
    else
        world->news = news;
    world->last_news = news;
}

static void script_event_due(struct virtual_world *world, int64_t now_us)
{
    struct fleet *fleet = &world->fleet;
    while (world->news && world->news->at_us <= now_us) {
        struct script_news *news = world->news;
        world->news = news->next;
        if (!world->news)
            world->last_news = NULL;
        if (!fleet->failed && !script_event(fleet->script, news->cohort, news->vehicle, news->event, now_us,
                                            fleet->actions, fleet->error, sizeof fleet->error))
            fleet->failed = true;
        memory_free(news);
    }
}

static bool remember(struct virtual_world *world, int64_t touched)
{
    if (world->acted_count == world->acted_capacity) {
        uint32_t capacity = world->acted_capacity ? 2 * world->acted_capacity : 64;
        int64_t *acted = memory_resize(world->acted, capacity * sizeof *acted);
        if (!acted)
            return false;
        world->acted = acted;
        world->acted_capacity = capacity;
    }
    world->acted[world->acted_count++] = touched;
    return true;
}

int64_t virtual_act(void *context, int64_t now_us, const struct world_action *action, const char **why)
{
    struct virtual_world *world = context;
    *why = "";
    const char *refused = virtual_identity_refusal(world, action);
    if (refused) {
        *why = refused;
        return -1;
    }
    if (world->running)
        return act_from_event(world, now_us, action, why);
    int64_t touched = 0;
    for (uint32_t p = 0; p < world->held; p++)
        touched += act_partition(world->partitions[p], now_us, action);
    if (world->options->trace) { /* alone, the partition saw less than the fleet did */
        if (world->next_acted < world->options->replay_acted_count)
            touched = world->options->replay_acted[world->next_acted];
        world->next_acted++;
        return touched;
    }
    sim_group_reduce(world->group, SIM_GROUP_SUM, &touched, 1);
    if (!remember(world, touched))
        world->out_of_memory = true;
    return touched;
}
