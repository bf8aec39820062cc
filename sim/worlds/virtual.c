/* virtual.c: the virtual world: a discrete-event run of the whole fleet and its cloud, repeatable to the bit.
 *
 * Set-up makes the partitions (vehicles, agents, cloud instance, event queue); the run advances them from barrier to barrier; the end closes the
 * books and sums the digest. Nothing in the model reads a partition's number, only through which cloud instance serves a vehicle, and the number
 * of partitions is fixed.
 */
#include "virtual.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>

#define PARTITIONS_DEFAULT 16
#define EPOCH_US                                                                                                       \
    (60 * US_PER_S) /* how far a partition runs alone at most: stop requests and progress are looked at in between */

static double wall_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* ---- set-up -------------------------------------------------------------------------------------------------------- */

static void *big_block(size_t bytes)
{
    if (!bytes)
        bytes = 64;
    void *block = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (block == MAP_FAILED)
        return NULL;
    madvise(block, bytes, MADV_HUGEPAGE);
    return block;
}

static int64_t draw_activation(void *context)
{
    struct partition *partition = context;
    return sim_table_draw(&partition->world->scenario->cloud.activation_us, &partition->cloud_random);
}

static bool everyone_certified(const struct scenario *scenario)
{
    for (uint32_t c = 0; c < scenario->cohort_count; c++)
        if (scenario->cohorts[c].identity != IDENTITY_CERTIFICATE)
            return false;
    return true;
}

static void cloud_settings(const struct partition *partition, struct cloud_options *options)
{
    const struct scenario *scenario = partition->world->scenario;
    memset(options, 0, sizeof *options);
    cloud_broker_defaults(&options->broker);
    options->broker.keep_alive_maximum_s = scenario->cloud.keep_alive_maximum_s;
    options->broker.maximum_session_expiry_s = scenario->cloud.session_expiry_maximum_s;
    options->broker.receive_maximum = scenario->cloud.receive_maximum;
    options->broker.topic_alias_maximum = scenario->cloud.topic_alias_maximum;
    options->registration.draw_delay = draw_activation;
    options->registration.draw_context = (void *)partition;
    options->registration.epoch_us = scenario->start_epoch_us;
    options->profile = cloud_profile_find("embedded");
    options->certificate_lifetime_s = scenario->cloud.certificate_lifetime_s;
    options->epoch_us = scenario->start_epoch_us;
    options->seed = scenario->seed + partition->number;
    options->require_certificate = everyone_certified(scenario);
}

static void on_telemetry(void *context, int64_t now_us, const struct mq5_publish *message)
{
    struct partition *partition = context;
    fleet_delivery(&partition->world->fleet, now_us, message);
}

static void on_presence(void *context, int64_t now_us, const struct mq5_publish *message)
{
    struct partition *partition = context;
    measure_count(partition->world->fleet.measure, COUNTER_PRESENCE_EVENTS, (struct measure_dimension){0, 0, PATH_ANY},
                  now_us, 1);
}

static struct cloud_bus *partition_bus(struct partition *partition, const char *client_id)
{
    struct cloud_bus *bus = cloud_bus_local(partition->cloud.broker, span_text(client_id));
    if (bus && partition->bus_count < 16)
        partition->buses[partition->bus_count++] = bus;
    return bus;
}

static void filter_of(const char *template, const char *prefix, char *out, size_t capacity)
{
    const char *mark = strchr(template, '%');
    snprintf(out, capacity, "%s%.*s+%s", prefix, (int)(mark - template), template, mark + 1);
}

static bool start_services(struct partition *partition)
{
    struct fleet *fleet = &partition->world->fleet;
    char filter[160];
    filter_of(fleet->topic_telemetry, "$share/processors/", filter, sizeof filter);
    uint32_t processors = partition->world->scenario->cloud.processors;
    for (uint32_t i = 0; i < (processors > 12 ? 12 : processors); i++) {
        char name[32];
        snprintf(name, sizeof name, "processor-%u", i + 1);
        struct cloud_bus *bus = partition_bus(partition, name);
        if (!bus || bus->ops->subscribe(bus, 0, span_text(filter), 1, on_telemetry, partition) >= 0x80)
            return false;
    }
    struct cloud_bus *watch = partition_bus(partition, "presence-watch");
    snprintf(filter, sizeof filter, "%s/presence/#", partition->cloud.options.profile->event_prefix);
    if (!watch || watch->ops->subscribe(watch, 0, span_text(filter), 0, on_presence, partition) >= 0x80)
        return false;
    struct cloud_command_options options;
    fleet_command_options(fleet, &options, (uint64_t)(partition->number + 1) << 40);
    struct cloud_bus *bus = partition_bus(partition, "command-service");
    partition->commands = bus ? cloud_commands_create(&options, bus, 0) : NULL;
    return partition->commands != NULL;
}

static bool start_cloud(struct partition *partition)
{
    struct cloud_options options;
    cloud_settings(partition, &options);
    char error[160];
    sim_random_init(&partition->cloud_random, partition->world->scenario->seed, partition->number, SIM_FOR_CLOUD);
    partition->pki = cloud_pki_modelled(partition->world->scenario->seed + partition->number);
    partition->registry = cloud_registry_open(NULL, error, sizeof error);
    partition->cloud_deadline = (struct sim_deadline){TIME_NEVER, TIME_NEVER};
    return partition->pki && partition->registry &&
           cloud_create(&partition->cloud, &options, partition->pki, partition->registry, virtual_broker_send,
                        virtual_broker_close, partition) &&
           start_services(partition);
}

/* A vehicle that left the factory with its operational certificate, known to the registry and active. */
static bool factory_identity(struct virtual_vehicle *vehicle, const char *name, size_t name_length)
{
    struct partition *partition = vehicle->partition;
    const struct scenario *scenario = partition->world->scenario;
    int64_t now_s = scenario->start_epoch_us / US_PER_S;
    uint8_t bytes[1024];
    size_t length = sizeof bytes;
    struct cloud_certificate certificate;
    if (!cloud_pki_make(partition->pki, CLOUD_CA_OPERATIONAL, name, now_s - 86400,
                        scenario->cloud.certificate_lifetime_s, bytes, &length, NULL, NULL) ||
        !cloud_certificate_read(span_of(bytes, length), &certificate))
        return false;
    return virtual_port.store_write(vehicle, TCU_STORE_OPERATIONAL_CERTIFICATE, span_of(bytes, length)) &&
           cloud_registry_put_thing(partition->registry, name, now_s) &&
           cloud_registry_put_certificate(partition->registry, &certificate, CLOUD_CERTIFICATE_ACTIVE, name, now_s);
}

static bool make_vehicle(struct partition *partition, uint32_t local)
{
    struct virtual_world *world = partition->world;
    struct virtual_vehicle *vehicle = &partition->vehicles[local];
    char name[SCENARIO_NAME + 16];
    vehicle->partition = partition;
    vehicle->local = local;
    vehicle->index = local * world->partition_count + partition->number;
    vehicle->covered = true;
    vehicle->agent = vehicle->life = (struct sim_deadline){TIME_NEVER, TIME_NEVER};
    link_reset(&vehicle->radio);
    fleet_trace_init(&world->fleet, vehicle->index, &vehicle->trace);
    size_t length = scenario_vehicle_name(world->scenario, vehicle->index, name, sizeof name);
    vehicle->tcu =
        tcu_init(partition->agents + (size_t)local * world->agent_stride, fleet_profile(&world->fleet, vehicle->index),
                 &virtual_port, vehicle, NULL, NULL, span_of(name, length));
    const struct scenario_cohort *cohort = &world->scenario->cohorts[vehicle->trace.cohort];
    if (cohort->identity == IDENTITY_CERTIFICATE && cohort->provisioning == PROVISIONING_DONE &&
        !factory_identity(vehicle, name, length))
        return false;
    virtual_schedule(vehicle, STEP_POWER_UP, fleet_power_up_us(&world->fleet, vehicle->index), 0, NULL, 0);
    return true;
}

static bool make_partition(struct virtual_world *world, uint32_t number)
{
    struct partition *partition = &world->partitions[number];
    partition->world = world;
    partition->number = number;
    uint32_t fleet = world->scenario->fleet;
    partition->count = number < fleet ? (fleet - number - 1) / world->partition_count + 1 : 0;
    struct sim_queue_options options = {.window_us = world->options->window_us};
    partition->queue = sim_queue_create(&options);
    partition->vehicles = big_block((size_t)partition->count * sizeof *partition->vehicles);
    partition->agents = big_block((size_t)partition->count * world->agent_stride);
    if (!partition->queue || !partition->vehicles || !partition->agents || !start_cloud(partition))
        return false;
    for (uint32_t i = 0; i < partition->count; i++)
        if (!make_vehicle(partition, i))
            return false;
    return true;
}

/* ---- events -------------------------------------------------------------------------------------------------------- */

void virtual_cloud_touched(struct partition *partition)
{
    int64_t next_us = cloud_next_deadline(&partition->cloud);
    int64_t commands_us = cloud_commands_next_deadline(partition->commands);
    next_us = commands_us < next_us ? commands_us : next_us;
    if (next_us < partition->now_us)
        next_us = partition->now_us;
    if (!sim_deadline_set(partition->queue, &partition->cloud_deadline, next_us, partition->count, EVENT_CLOUD))
        partition->world->out_of_memory = true;
}

static void app_command(struct virtual_vehicle *vehicle, int64_t now_us)
{
    struct partition *partition = vehicle->partition;
    struct fleet *fleet = &partition->world->fleet;
    const struct scenario_app *app = &fleet->scenario->apps[vehicle->day.command_app];
    bool online = tcu_connection(vehicle->tcu) == TCU_ONLINE;
    if (online || !app->online_only)
        fleet_command_ask(fleet, partition->commands, now_us, vehicle->index, vehicle->day.command_app,
                          span_text(app->command), app->timeout_us, online);
    fleet_life_command_done(fleet, vehicle->index, &vehicle->day, now_us);
    virtual_cloud_touched(partition);
}

static void live_on(struct virtual_vehicle *vehicle, int64_t now_us)
{
    struct fleet *fleet = &vehicle->partition->world->fleet;
    for (;;) {
        switch (fleet_life_step(fleet, vehicle->index, &vehicle->day, now_us)) {
        case LIFE_NOTHING:
            sim_deadline_set(vehicle->partition->queue, &vehicle->life, fleet_life_next(&vehicle->day), vehicle->local,
                             EVENT_LIFE);
            return;
        case LIFE_IGNITION_ON: tcu_ignition(vehicle->tcu, now_us, true); break;
        case LIFE_IGNITION_OFF: tcu_ignition(vehicle->tcu, now_us, false); break;
        case LIFE_COMMAND: app_command(vehicle, now_us); break;
        case LIFE_HOLE_END: vehicle->covered = true; break;
        case LIFE_HOLE_BEGIN:
            vehicle->covered = false;
            measure_count(fleet->measure, COUNTER_LINK_DROPS, fleet_who(&vehicle->trace, PATH_ANY), now_us, 1);
            virtual_link_lost(vehicle, now_us, TCU_LINK_LOST);
            break;
        case LIFE_DROP:
            measure_count(fleet->measure, COUNTER_LINK_DROPS, fleet_who(&vehicle->trace, PATH_ANY), now_us, 1);
            virtual_link_lost(vehicle, now_us, TCU_LINK_LOST);
            break;
        }
    }
}

static void cloud_event(struct partition *partition, int64_t now_us)
{
    if (!sim_deadline_due(partition->queue, &partition->cloud_deadline, now_us, partition->count, EVENT_CLOUD))
        return;
    cloud_tick(&partition->cloud, now_us);
    cloud_commands_tick(partition->commands, now_us);
    virtual_cloud_touched(partition);
}

static void handle(void *context, int64_t now_us, uint32_t entity, uint8_t class)
{
    struct partition *partition = context;
    partition->now_us = now_us;
    assert_context.now_us = now_us;
    if (class == EVENT_CLOUD) {
        cloud_event(partition, now_us);
        return;
    }
    struct virtual_vehicle *vehicle = &partition->vehicles[entity];
    assert_context.vehicle = vehicle->index;
    switch ((enum virtual_class) class) {
    case EVENT_STEP: virtual_step(vehicle, now_us); break;
    case EVENT_UP: virtual_arrivals(vehicle, now_us, LINK_UP); break;
    case EVENT_DOWN: virtual_arrivals(vehicle, now_us, LINK_DOWN); break;
    case EVENT_LIFE:
        if (sim_deadline_due(partition->queue, &vehicle->life, now_us, entity, EVENT_LIFE))
            live_on(vehicle, now_us);
        break;
    case EVENT_AGENT:
        if (sim_deadline_due(partition->queue, &vehicle->agent, now_us, entity, EVENT_AGENT))
            tcu_tick(vehicle->tcu, now_us);
        break;
    case EVENT_CLOUD: break;
    }
}

static void prefetch(void *context, uint32_t entity, uint8_t class)
{
    const struct partition *partition = context;
    if (class == EVENT_CLOUD)
        return;
    const char *vehicle = (const char *)&partition->vehicles[entity];
    __builtin_prefetch(vehicle);
    __builtin_prefetch(vehicle + 64);
    __builtin_prefetch(partition->agents + (size_t)entity * partition->world->agent_stride);
}

/* ---- actions of scripts -------------------------------------------------------------------------------------------- */

static bool selected(const struct virtual_world *world, const struct virtual_vehicle *vehicle,
                     const struct world_action *action)
{
    if (action->vehicle >= 0)
        return vehicle->index == action->vehicle;
    return scenario_selected(world->scenario, vehicle->index, action->cohort, action->region, action->share,
                             action->salt);
}

static void act_on(struct virtual_vehicle *vehicle, int64_t now_us, const struct world_action *action)
{
    struct partition *partition = vehicle->partition;
    struct fleet *fleet = &partition->world->fleet;
    bool online = tcu_connection(vehicle->tcu) == TCU_ONLINE;
    switch (action->kind) {
    case ACTION_COVERAGE_HOLE:
        vehicle->covered = false;
        fleet_life_hole(&vehicle->day, now_us + action->duration_us);
        virtual_link_lost(vehicle, now_us, TCU_LINK_LOST);
        break;
    case ACTION_DROP_LINKS: virtual_link_lost(vehicle, now_us, TCU_LINK_LOST); break;
    case ACTION_COMMAND:
        fleet_command_ask(fleet, partition->commands, now_us, vehicle->index, FLEET_NO_APP, span_text(action->command),
                          action->timeout_us, online);
        break;
    case ACTION_IGNITION_ON:
    case ACTION_IGNITION_OFF:
        fleet_life_ignition(fleet, vehicle->index, &vehicle->day, now_us, action->kind == ACTION_IGNITION_ON);
        tcu_ignition(vehicle->tcu, now_us, action->kind == ACTION_IGNITION_ON);
        break;
    case ACTION_CLOUD_KICK:
        cloud_broker_kick(partition->cloud.broker, now_us, tcu_name(vehicle->tcu), MQ5_ADMINISTRATIVE_ACTION);
        break;
    case ACTION_CLOUD_OUTAGE:
        if (vehicle->link && vehicle->link->broker_open) {
            struct cloud_connection *connection = vehicle->link->connection;
            virtual_broker_close(NULL, vehicle->link, CLOUD_CLOSED_SERVER);
            cloud_broker_closed(partition->cloud.broker, connection, now_us);
        }
        break;
    }
    sim_deadline_set(partition->queue, &vehicle->life, fleet_life_next(&vehicle->day), vehicle->local, EVENT_LIFE);
}

static int64_t act_partition(struct partition *partition, int64_t now_us, const struct world_action *action)
{
    int64_t touched = 0;
    partition->now_us = now_us;
    if (action->kind == ACTION_CLOUD_OUTAGE)
        partition->outage_until_us = now_us + action->duration_us;
    for (uint32_t i = 0; i < partition->count; i++) {
        struct virtual_vehicle *vehicle = &partition->vehicles[i];
        if (vehicle->trace.power_up_us < 0 || !selected(partition->world, vehicle, action))
            continue;
        assert_context.vehicle = vehicle->index;
        act_on(vehicle, now_us, action);
        touched++;
    }
    virtual_cloud_touched(partition);
    return touched;
}

static int64_t act(void *context, int64_t now_us, const struct world_action *action, const char **why)
{
    struct virtual_world *world = context;
    *why = "";
    if (world->running) { /* from on_event: other vehicles may be ahead or behind in time */
        if (!world->hooked || action->vehicle != (int64_t)world->hooked->index) {
            *why = "on_event may act on its own vehicle only";
            return -1;
        }
        if (action->kind != ACTION_COMMAND) {
            *why = "on_event may only send a command";
            return -1;
        }
        act_on(world->hooked, now_us, action);
        virtual_cloud_touched(world->running);
        return 1;
    }
    int64_t touched = 0;
    for (uint32_t p = 0; p < world->partition_count; p++)
        touched += act_partition(&world->partitions[p], now_us, action);
    return touched;
}

static void note(void *context, int64_t now_us, const char *text)
{
    struct virtual_world *world = context;
    char at[32];
    if (world->result->note_count >= WORLD_NOTES)
        return;
    scenario_time_text(world->scenario, now_us, at, sizeof at);
    snprintf(world->result->notes[world->result->note_count++], sizeof world->result->notes[0], "%s %s", at, text);
}

/* ---- the run ------------------------------------------------------------------------------------------------------- */

struct timeline_state {
    int64_t *next_us;
};

static int64_t next_timeline(const struct virtual_world *world, const struct timeline_state *state)
{
    int64_t next_us = TIME_NEVER;
    for (uint32_t i = 0; i < world->scenario->timeline_count; i++)
        next_us = state->next_us[i] < next_us ? state->next_us[i] : next_us;
    return next_us;
}

static bool fire_timeline(struct virtual_world *world, struct timeline_state *state)
{
    for (uint32_t i = 0; i < world->scenario->timeline_count; i++) {
        const struct scenario_timeline *entry = &world->scenario->timeline[i];
        if (state->next_us[i] != world->now_us)
            continue;
        if (!script_timeline(world->fleet.script, i, world->now_us, &world->actions, world->result->error,
                             sizeof world->result->error))
            return false;
        int64_t next_us = entry->every_us > 0 ? state->next_us[i] + entry->every_us : TIME_NEVER;
        state->next_us[i] = entry->until_us > 0 && next_us > entry->until_us ? TIME_NEVER : next_us;
    }
    return true;
}

struct progress_state {
    double started, shown;
    int64_t shown_us;
    uint64_t publishes, commands;
};

static void show_progress(struct virtual_world *world, struct progress_state *state)
{
    double now = wall_now();
    if (!world->options->progress || now - state->shown < 0.5)
        return;
    struct measure_dimension any = {MEASURE_ANY, MEASURE_ANY, PATH_ANY};
    const struct measure *measure = world->fleet.measure;
    struct world_progress progress = {.now_us = world->now_us,
                                      .duration_us = world->scenario->duration_us,
                                      .wall_s = now - state->started,
                                      .speed = (double)(world->now_us - state->shown_us) / 1e6 / (now - state->shown),
                                      .connected = (uint64_t)measure_total(measure, COUNTER_CONNECTED, any),
                                      .driving = (uint64_t)measure_total(measure, COUNTER_DRIVING, any),
                                      .publishes = (uint64_t)measure_total(measure, COUNTER_PUBLISHES, any),
                                      .commands = (uint64_t)measure_total(measure, COUNTER_COMMANDS, any),
                                      .phase = ""};
    double seconds = (double)(world->now_us - state->shown_us) / 1e6;
    progress.publishes_per_s = seconds > 0 ? (double)(progress.publishes - state->publishes) / seconds : 0;
    progress.commands_per_s = seconds > 0 ? (double)(progress.commands - state->commands) / seconds : 0;
    state->publishes = progress.publishes;
    state->commands = progress.commands;
    state->shown = now;
    state->shown_us = world->now_us;
    world->options->progress(world->options->progress_context, &progress);
}

static void advance(struct virtual_world *world, int64_t until_us)
{
    static const struct sim_handlers handlers = {handle, prefetch};
    for (uint32_t p = 0; p < world->partition_count; p++) {
        world->running = &world->partitions[p];
        world->running->events += sim_queue_run(world->running->queue, until_us, &handlers, world->running);
    }
    world->running = NULL;
    world->now_us = until_us;
}

/* true: go on. */
static bool still_well(struct virtual_world *world)
{
    struct world_result *result = world->result;
    if (world->out_of_memory) {
        result->status = WORLD_ENVIRONMENT;
        snprintf(result->error, sizeof result->error, "out of memory; run a smaller fleet or raise the limit");
        return false;
    }
    if (world->fleet.failed) {
        result->status = WORLD_SCENARIO;
        memcpy(result->error, world->fleet.error, sizeof result->error);
        return false;
    }
    if (world->options->stop && *world->options->stop) {
        result->status = WORLD_INTERRUPTED;
        return false;
    }
    return true;
}

static void run(struct virtual_world *world)
{
    struct timeline_state timeline = {malloc((world->scenario->timeline_count + 1) * sizeof(int64_t))};
    struct progress_state progress = {.started = wall_now(), .shown = wall_now()};
    if (!timeline.next_us) {
        world->out_of_memory = true;
        return;
    }
    for (uint32_t i = 0; i < world->scenario->timeline_count; i++)
        timeline.next_us[i] = world->scenario->timeline[i].at_us;
    world->result->status = WORLD_COMPLETED;
    while (world->now_us < world->scenario->duration_us && still_well(world)) {
        if (!fire_timeline(world, &timeline)) {
            world->result->status = WORLD_SCENARIO;
            break;
        }
        int64_t until_us = next_timeline(world, &timeline);
        if (until_us > world->now_us + EPOCH_US)
            until_us = world->now_us + EPOCH_US;
        if (until_us > world->scenario->duration_us)
            until_us = world->scenario->duration_us;
        advance(world, until_us);
        show_progress(world, &progress);
    }
    if (world->result->status == WORLD_COMPLETED)
        still_well(world);
    free(timeline.next_us);
}

/* ---- the end ------------------------------------------------------------------------------------------------------- */

static void digest_row(struct sim_digest *digest, uint32_t vehicle, const struct ledger_row *row)
{
    sim_digest_add(digest, vehicle, 0, 0x1ED6E4, (uint64_t)row->delivered << 32 | row->acknowledged);
    sim_digest_add(digest, vehicle, 0, 0x1ED6E5, (uint64_t)row->duplicated << 32 | row->dropped);
}

static void close_books(struct virtual_world *world, struct partition *partition)
{
    struct world_result *result = world->result;
    for (uint32_t i = 0; i < partition->count; i++) {
        struct virtual_vehicle *vehicle = &partition->vehicles[i];
        fleet_finish(&world->fleet, vehicle->index, &vehicle->trace, vehicle->tcu, world->now_us);
        sim_digest_add(&partition->digest, vehicle->index, world->now_us, 0x57A7E, tcu_state_hash(vehicle->tcu));
        struct ledger_row row = measure_ledger_row(world->fleet.measure, vehicle->index);
        digest_row(&partition->digest, vehicle->index, &row);
    }
    sim_digest_add(&partition->digest, partition->number, world->now_us, 0xB20CE2,
                   cloud_broker_state_hash(partition->cloud.broker));
    sim_digest_merge(&result->digest, &partition->digest);
    result->events += partition->events;
    struct cloud_broker_counts counts;
    cloud_broker_count(partition->cloud.broker, &counts);
    result->packets += counts.packets_in + counts.packets_out;
    result->wire_bytes += counts.bytes_in + counts.bytes_out;
    uint64_t things, certificates, active;
    cloud_registry_counts(partition->registry, &things, &certificates, &active);
    result->registered_things += things;
    result->active_certificates += active;
}

static void memory_part(struct world_result *result, const char *part, uint64_t bytes)
{
    if (result->memory_parts < WORLD_MEMORY_PARTS) {
        snprintf(result->memory[result->memory_parts].part, sizeof result->memory[0].part, "%s", part);
        result->memory[result->memory_parts++].bytes = bytes;
    }
}

static void weigh(struct virtual_world *world)
{
    uint64_t vehicles = 0, agents = 0, links = 0, segments = 0, stores = 0, brokers = 0, registries = 0, events = 0;
    for (uint32_t p = 0; p < world->partition_count; p++) {
        struct partition *partition = &world->partitions[p];
        struct cloud_broker_counts counts;
        cloud_broker_count(partition->cloud.broker, &counts);
        vehicles += (uint64_t)partition->count * sizeof *partition->vehicles;
        agents += (uint64_t)partition->count * world->agent_stride + partition->agent_bytes;
        links += partition->link_bytes;
        segments += partition->segment_bytes;
        stores += partition->store_bytes;
        brokers += counts.memory_bytes;
        registries += cloud_registry_bytes(partition->registry);
        events += sim_queue_bytes(partition->queue);
    }
    memory_part(world->result, "agent and session", agents);
    memory_part(world->result, "vehicle in the world", vehicles);
    memory_part(world->result, "link and peer", links);
    memory_part(world->result, "bytes under way", segments);
    memory_part(world->result, "certificate store", stores);
    memory_part(world->result, "broker session", brokers);
    memory_part(world->result, "registry", registries);
    memory_part(world->result, "pending events", events);
    memory_part(world->result, "measures", measure_bytes(world->fleet.measure));
}

static void release(struct virtual_world *world)
{
    for (uint32_t p = 0; p < world->partition_count; p++) {
        struct partition *partition = &world->partitions[p];
        if (!partition->world)
            continue;
        if (partition->commands)
            cloud_commands_destroy(partition->commands);
        for (uint32_t i = 0; i < partition->bus_count; i++)
            partition->buses[i]->ops->close(partition->buses[i]);
        if (partition->cloud.broker)
            cloud_destroy(&partition->cloud);
        if (partition->vehicles) {
            virtual_partition_release(partition);
            munmap(partition->vehicles, partition->count ? (size_t)partition->count * sizeof *partition->vehicles : 64);
        }
        if (partition->agents)
            munmap(partition->agents, partition->count ? (size_t)partition->count * world->agent_stride : 64);
        if (partition->registry)
            cloud_registry_close(partition->registry);
        if (partition->pki)
            cloud_pki_close(partition->pki);
        if (partition->queue)
            sim_queue_destroy(partition->queue);
    }
    free(world->partitions);
    fleet_destroy(&world->fleet);
}

static const struct fleet_trace *find_trace(void *context, uint32_t vehicle)
{
    const struct virtual_world *world = context;
    const struct partition *partition = &world->partitions[vehicle % world->partition_count];
    return &partition->vehicles[vehicle / world->partition_count].trace;
}

static struct measure *make_measure(const struct scenario *scenario, uint32_t partitions)
{
    struct measure_interval excluded[64];
    struct measure_options options = {.vehicles = scenario->fleet,
                                      .cohorts = scenario->cohort_count,
                                      .regions = scenario->region_count,
                                      .groups = partitions,
                                      .duration_us = scenario->duration_us,
                                      .excluded = excluded};
    options.excluded_count = scenario_excluded(scenario, excluded, 64);
    return measure_create(&options);
}

static bool set_up(struct virtual_world *world, struct script *script)
{
    const struct scenario *scenario = world->scenario;
    world->partition_count = world->options->partitions ? world->options->partitions : PARTITIONS_DEFAULT;
    world->result->measure = make_measure(scenario, world->partition_count);
    world->partitions = calloc(world->partition_count, sizeof *world->partitions);
    if (!world->result->measure || !world->partitions ||
        !fleet_init(&world->fleet, script, world->result->measure, 1, scenario->start_epoch_us, "", ""))
        return false;
    world->actions = (struct world_actions){act, note, world};
    world->fleet.actions = &world->actions;
    world->fleet.find_trace = find_trace;
    world->fleet.find_context = world;
    world->agent_stride = fleet_largest_profile_memory(&world->fleet, &virtual_port);
    for (uint32_t p = 0; p < world->partition_count; p++)
        if (!make_partition(world, p))
            return false;
    return true;
}

static void describe(struct world_result *result)
{
    snprintf(result->broker, sizeof result->broker, "embedded broker core, in the virtual world");
    snprintf(result->cloud_profile, sizeof result->cloud_profile, "embedded");
    snprintf(result->notes[result->note_count++], sizeof result->notes[0],
             "Modelled: TCP and TLS set-up (round trips, bytes, computing time), cryptography (certificates carry the "
             "same fields and obey the same "
             "rules), radio, trips. Real: agent, MQTT bytes, broker, services.");
}

void world_run_virtual(struct script *script, const struct world_options *options, struct world_result *result)
{
    struct virtual_world world = {.scenario = script_scenario(script), .options = options, .result = result};
    assert_context.seed = world.scenario->seed;
    describe(result);
    if (!set_up(&world, script)) {
        result->status = WORLD_ENVIRONMENT;
        snprintf(result->error, sizeof result->error, "out of memory while setting up %u vehicles; run a smaller fleet",
                 world.scenario->fleet);
        release(&world);
        return;
    }
    double started = wall_now();
    run(&world);
    result->wall_s = wall_now() - started;
    for (uint32_t p = 0; p < world.partition_count; p++)
        close_books(&world, &world.partitions[p]);
    fleet_commands_finish(&world.fleet, world.now_us);
    result->simulated_us = world.now_us;
    result->has_digest = result->status == WORLD_COMPLETED;
    weigh(&world);
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    result->peak_rss_bytes = (uint64_t)usage.ru_maxrss * 1024;
    result->cpu_s = (double)usage.ru_utime.tv_sec + (double)usage.ru_stime.tv_sec;
    release(&world);
}
