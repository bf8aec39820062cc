/* virtual.c: the virtual world: a discrete-event run of the whole fleet and its cloud, repeatable to the bit.
 *
 * Set-up makes this rank's partitions; the run advances them from barrier to barrier; the end closes the books, sums the digest and brings the
 * ranks' results together. Nothing in the model reads a rank's number, and a partition's number only says which vehicles it serves.
 *
 * Where scripts can carry a word from one vehicle to another (on_event), partitions go in windows of the smallest network latency and
 * exchange messages; where they cannot, the lookahead is unlimited and each runs alone up to the next barrier.
 */
#include "virtual.h"
#include "virtual_internal.h"

#include <stdio.h>
#include <sys/resource.h>
#include <time.h>

#define EPOCH_US           US_PER_HOUR /* how far partitions run alone at most */
#define EPOCH_AT_START_US  (30 * US_PER_S)
#define LOOKAHEAD_LEAST_US US_PER_MS

static double wall_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

static void show_note(struct world_result *result, const char *text)
{
    if (result->note_count < WORLD_NOTES)
        snprintf(result->notes[result->note_count++], sizeof result->notes[0], "%s", text);
}

static void note(void *context, int64_t now_us, const char *text)
{
    struct virtual_world *world = context;
    char at[32];
    if (world->note_count >= VIRTUAL_NOTES)
        return;
    scenario_time_text(world->scenario, now_us, at, sizeof at);
    char *kept = world->notes[world->note_count++];
    snprintf(kept, sizeof world->notes[0], "%s %s", at, text);
    show_note(world->result, kept);
}

/* ---- the timeline -------------------------------------------------------------------------------------------------- */

static int64_t next_timeline(const struct virtual_world *world)
{
    int64_t next_us = TIME_NEVER;
    for (uint32_t i = 0; i < world->scenario->timeline_count; i++)
        next_us = world->timeline_next_us[i] < next_us ? world->timeline_next_us[i] : next_us;
    return next_us;
}

/* What rank 0 tells the others: to act on their vehicles, or that the function is over. */
enum order_kind { ORDER_ACT, ORDER_DONE, ORDER_FAILED };
struct order {
    enum order_kind kind;
    struct world_action action;
};

static int64_t act_everywhere(void *context, int64_t now_us, const struct world_action *action, const char **why)
{
    struct virtual_world *world = context;
    struct order order = {.kind = ORDER_ACT, .action = *action};
    if (!world->running) /* on_event's commands go as messages */
        sim_group_broadcast(world->group, &order, sizeof order);
    return virtual_act(world, now_us, action, why);
}

/* A function runs on rank 0 alone, beside on_event, whose variables it may read, and where a failure is one failure; its actions are
 * carried out by all, each on its own vehicles. */
static bool fire(struct virtual_world *world, uint32_t entry)
{
    struct world_result *result = world->result;
    struct order order = {.kind = ORDER_ACT};
    const char *why;
    if (sim_group_rank(world->group) == 0) {
        bool done = script_timeline(world->fleet.script, entry, world->now_us, &world->actions, result->error,
                                    sizeof result->error);
        order.kind = done ? ORDER_DONE : ORDER_FAILED;
        sim_group_broadcast(world->group, &order, sizeof order);
        return done;
    }
    for (;;) {
        sim_group_broadcast(world->group, &order, sizeof order);
        if (order.kind != ORDER_ACT)
            return order.kind == ORDER_DONE;
        virtual_act(world, world->now_us, &order.action, &why);
    }
}

static bool fire_timeline(struct virtual_world *world)
{
    for (uint32_t i = 0; i < world->scenario->timeline_count; i++) {
        const struct scenario_timeline *entry = &world->scenario->timeline[i];
        if (world->timeline_next_us[i] != world->now_us)
            continue;
        if (!fire(world, i))
            return false;
        int64_t next_us = entry->every_us > 0 ? world->timeline_next_us[i] + entry->every_us : TIME_NEVER;
        world->timeline_next_us[i] = entry->until_us > 0 && next_us > entry->until_us ? TIME_NEVER : next_us;
    }
    return true;
}

/* ---- the run ------------------------------------------------------------------------------------------------------- */

struct pace { /* of this process, for the progress line */
    double started, shown;
    int64_t shown_us;
    uint64_t publishes, commands;
};

static void show_progress(struct virtual_world *world, struct pace *pace, int64_t now_us)
{
    double now = wall_now();
    if (!world->options->progress || sim_group_rank(world->group) || now - pace->shown < 0.5)
        return;
    struct measure_dimension any = {MEASURE_ANY, MEASURE_ANY, PATH_ANY};
    const struct measure *measure = world->fleet.measure;
    uint64_t ranks = sim_group_size(world->group); /* each holds about the same share of the fleet */
    struct world_progress progress = {.now_us = now_us,
                                      .duration_us = world->scenario->duration_us,
                                      .wall_s = now - pace->started,
                                      .speed = (double)(now_us - pace->shown_us) / 1e6 / (now - pace->shown),
                                      .connected = ranks * (uint64_t)measure_total(measure, COUNTER_CONNECTED, any),
                                      .driving = ranks * (uint64_t)measure_total(measure, COUNTER_DRIVING, any),
                                      .publishes = ranks * (uint64_t)measure_total(measure, COUNTER_PUBLISHES, any),
                                      .commands = ranks * (uint64_t)measure_total(measure, COUNTER_COMMANDS, any),
                                      .phase = ""};
    double seconds = (double)(now_us - pace->shown_us) / 1e6;
    progress.publishes_per_s = seconds > 0 ? (double)(progress.publishes - pace->publishes) / seconds : 0;
    progress.commands_per_s = seconds > 0 ? (double)(progress.commands - pace->commands) / seconds : 0;
    pace->publishes = progress.publishes;
    pace->commands = progress.commands;
    pace->shown = now;
    pace->shown_us = now_us;
    world->options->progress(world->options->progress_context, &progress);
}

static bool interrupted(const struct virtual_world *world)
{
    return world->options->stop && *world->options->stop;
}

static bool unwell(const struct virtual_world *world)
{
    return world->out_of_memory || memory_exhausted() || world->fleet.failed || interrupted(world);
}

/* Windows with messages between them. */
struct windows {
    struct virtual_world *world;
    struct pace *pace;
};

static struct partition *held(const struct virtual_world *world, uint32_t number)
{
    return world->partitions[number / sim_group_size(world->group)];
}

static void window_advance(void *context, uint32_t number, int64_t until_us)
{
    const struct windows *windows = context;
    virtual_advance(held(windows->world, number), until_us);
}

static void window_receive(void *context, const struct sim_message *message)
{
    const struct windows *windows = context;
    struct partition *partition = held(windows->world, message->to);
    struct memory_heap *outside = memory_enter(partition->heap);
    if (message->kind == MESSAGE_EVENT)
        virtual_news(partition, message);
    else
        virtual_schedule(partition_vehicle(partition, message->entity), STEP_COMMAND, message->at_us, 0, message->data,
                         message->length);
    memory_enter(outside);
}

static int64_t window_next(void *context, uint32_t number)
{
    const struct windows *windows = context;
    return sim_queue_next_time(held(windows->world, number)->queue);
}

static bool window_between(void *context, int64_t now_us)
{
    struct windows *windows = context;
    show_progress(windows->world, windows->pace, now_us);
    return !unwell(windows->world);
}

static void advance_in_windows(struct virtual_world *world, struct pace *pace, int64_t until_us)
{
    static const struct sim_exchange_hooks hooks = {window_advance, window_receive, window_next, window_between};
    struct windows windows = {world, pace};
    if (!sim_exchange_run(world->exchange, world->now_us, until_us, &hooks, &windows) && !unwell(world))
        world->out_of_memory = true; /* here or on another rank: settle() finds out */
}

static void advance_alone(struct virtual_world *world, struct pace *pace, int64_t until_us)
{
    for (uint32_t p = 0; p < world->held && !unwell(world); p++) {
        virtual_advance(world->partitions[p], until_us);
        int64_t share_us = (until_us - world->now_us) / world->held * (p + 1);
        show_progress(world, pace, world->now_us + share_us);
    }
}

static int64_t barrier_after(const struct virtual_world *world)
{
    int64_t until_us = next_timeline(world);
    /* The first stretches are short, so that a limit on memory, a mistake or Ctrl-C shows soon. */
    int64_t epoch_us = world->now_us < EPOCH_US ? EPOCH_AT_START_US + world->now_us / 2 : EPOCH_US;
    if (until_us > world->now_us + epoch_us)
        until_us = world->now_us + epoch_us;
    if (world->next_checkpoint_us > world->now_us && until_us > world->next_checkpoint_us)
        until_us = world->next_checkpoint_us;
    return until_us > world->scenario->duration_us ? world->scenario->duration_us : until_us;
}

/* All ranks learn of each other's troubles. true: go on. */
static bool settle(struct virtual_world *world)
{
    struct world_result *result = world->result;
    int64_t trouble[3] = {world->out_of_memory || memory_exhausted(), world->fleet.failed, interrupted(world)};
    sim_group_reduce(world->group, SIM_GROUP_MAXIMUM, trouble, 3);
    if (trouble[1]) {
        result->status = WORLD_SCENARIO;
        snprintf(result->error, sizeof result->error, "%s",
                 world->fleet.failed ? world->fleet.error : "a script failed on another rank");
    } else if (trouble[0]) {
        char used[32];
        measure_format_bytes((double)memory_bytes(), used, sizeof used);
        result->status = WORLD_ENVIRONMENT;
        snprintf(result->error, sizeof result->error,
                 "out of memory with %s in use; run a smaller fleet, spread it with -j over more machines, or raise "
                 "--memory",
                 used);
    } else if (trouble[2]) {
        result->status = WORLD_INTERRUPTED;
    }
    return !trouble[0] && !trouble[1] && !trouble[2];
}

static void run(struct virtual_world *world)
{
    struct pace pace = {.started = wall_now(), .shown = wall_now(), .shown_us = world->now_us};
    world->result->status = WORLD_COMPLETED;
    while (world->now_us < world->scenario->duration_us) {
        bool fired = fire_timeline(world);
        if (!fired) {
            world->result->status = WORLD_SCENARIO;
            return;
        }
        int64_t until_us = barrier_after(world);
        if (world->exchange)
            advance_in_windows(world, &pace, until_us);
        else
            advance_alone(world, &pace, until_us);
        if (!settle(world))
            return;
        world->now_us = until_us;
        if (world->now_us == world->next_checkpoint_us && !virtual_checkpoint(world))
            return;
    }
}

/* ---- set-up -------------------------------------------------------------------------------------------------------- */

/* Only of vehicles held here: who else's telemetry would arrive here? */
static const struct fleet_trace *find_trace(void *context, uint32_t vehicle)
{
    const struct virtual_world *world = context;
    if (__builtin_expect(world->running != NULL, 1))
        return &partition_vehicle(world->running, vehicle / world->partition_count)->trace;
    const struct virtual_vehicle *found = virtual_find_vehicle(context, vehicle); /* a script acts at a barrier */
    return found ? &found->trace : NULL;
}

static struct measure *make_measure(const struct virtual_world *world)
{
    const struct scenario *scenario = world->scenario;
    struct measure_interval excluded[64];
    struct measure_options options = {.vehicles = scenario->fleet,
                                      .cohorts = scenario->cohort_count,
                                      .regions = scenario->region_count,
                                      .duration_us = scenario->duration_us,
                                      .groups = world->partition_count,
                                      .excluded = excluded};
    options.excluded_count = scenario_excluded(scenario, excluded, 64);
    return measure_create(&options);
}

static bool speaks_between_vehicles(const struct scenario *scenario)
{
    for (uint32_t c = 0; c < scenario->cohort_count; c++)
        if (scenario->cohorts[c].on_event)
            return true;
    return false;
}

/* What a word from vehicle to vehicle takes at least: the way from one region's cloud to another's. */
static int64_t smallest_latency(const struct scenario *scenario)
{
    int64_t least_us = TIME_NEVER;
    for (uint32_t r = 0; r < scenario->region_count; r++)
        least_us = scenario->regions[r].latency_us < least_us ? scenario->regions[r].latency_us : least_us;
    return least_us == TIME_NEVER || least_us < LOOKAHEAD_LEAST_US ? LOOKAHEAD_LEAST_US : least_us;
}

static bool open_exchange(struct virtual_world *world)
{
    if (!world->lookahead_us)
        return true;
    struct sim_exchange_options options = {world->partition_count, world->lookahead_us};
    world->exchange = sim_exchange_create(world->group, &options);
    return world->exchange != NULL;
}

/* A replay runs what its vehicle depends on: its partition, or all of them where vehicles can speak to each other. */
static bool set_up_replay(struct virtual_world *world)
{
    uint32_t vehicle = (uint32_t)world->options->replay_vehicle, wanted = vehicle % world->partition_count;
    bool alone = !world->lookahead_us;
    world->held = alone ? 1 : world->partition_count;
    world->partitions = memory_allocate_zero(world->held, sizeof(struct partition *));
    if (!world->partitions)
        return false;
    for (uint32_t p = 0; p < world->held; p++) {
        world->partitions[p] = virtual_partition_create(world, alone ? wanted : p);
        if (!world->partitions[p] || interrupted(world))
            return false;
    }
    world->traced = partition_vehicle(world->partitions[alone ? 0 : wanted], vehicle / world->partition_count);
    return true;
}

static bool set_up_partitions(struct virtual_world *world)
{
    uint32_t size = sim_group_size(world->group), rank = sim_group_rank(world->group);
    world->held = rank < world->partition_count ? (world->partition_count - rank - 1) / size + 1 : 0;
    world->partitions = memory_allocate_zero(world->held + 1, sizeof(struct partition *));
    if (!world->partitions)
        return false;
    for (uint32_t p = 0; p < world->held; p++) {
        world->partitions[p] = virtual_partition_create(world, rank + p * size);
        if (!world->partitions[p] || interrupted(world))
            return false;
    }
    return true;
}

static bool set_up(struct virtual_world *world, struct script *script)
{
    const struct scenario *scenario = world->scenario;
    uint32_t wanted = world->options->partitions;
    world->partition_count = wanted ? wanted : virtual_partitions_of(scenario->fleet);
    world->result->measure = make_measure(world);
    world->timeline_next_us = memory_allocate_zero(scenario->timeline_count + 1, sizeof(int64_t));
    world->notes = memory_allocate_zero(VIRTUAL_NOTES, sizeof world->notes[0]);
    if (!world->result->measure || !world->timeline_next_us || !world->notes ||
        !fleet_init(&world->fleet, script, world->result->measure, 1, scenario->start_epoch_us, "",
                    cloud_profile_find("embedded")))
        return false;
    for (uint32_t i = 0; i < scenario->timeline_count; i++)
        world->timeline_next_us[i] = scenario->timeline[i].at_us;
    world->actions = (struct world_actions){act_everywhere, note, world};
    world->fleet.actions = &world->actions;
    world->fleet.find_trace = find_trace;
    world->fleet.find_identity = scenario->cloud.lifecycle.on ? virtual_find_identity : NULL;
    world->fleet.find_orders = scenario->cloud.commands.on ? virtual_find_orders : NULL;
    world->fleet.find_book = scenario->cloud.messages.on ? virtual_find_book : NULL;
    world->fleet.find_parking = fleet_has_parking(scenario) ? virtual_find_parking : NULL;
    world->fleet.find_context = world;
    world->fleet.tell = virtual_tell_script;
    world->stride = (uint32_t)sizeof(struct virtual_vehicle) +
                    (fleet_largest_profile_memory(&world->fleet, &virtual_port) + 63) / 64 * 64;
    world->lookahead_us = speaks_between_vehicles(scenario) ? smallest_latency(scenario) : 0;
    world->next_checkpoint_us =
        world->options->checkpoint_every_us > 0 ? world->options->checkpoint_every_us : TIME_NEVER;
    return open_exchange(world) && (world->options->trace ? set_up_replay(world) : set_up_partitions(world));
}

static void describe(struct world_result *result, const struct sim_group *group, bool real)
{
    snprintf(result->broker, sizeof result->broker, "embedded broker core, in the virtual world");
    snprintf(result->cloud_profile, sizeof result->cloud_profile, "embedded");
    snprintf(
        result->notes[result->note_count++], sizeof result->notes[0], "%s",
        real ? "Modelled: TCP and TLS set-up (round trips, bytes, computing time), radio, trips. Real: agent, MQTT "
               "bytes, broker, services, keys and certificates (P-256, X.509)."
             : "Modelled: TCP and TLS set-up (round trips, bytes, computing time), cryptography (certificates carry "
               "the same fields and obey the same rules), radio, trips. Real: agent, MQTT bytes, broker, services.");
    if (sim_group_size(group) > 1)
        snprintf(result->notes[result->note_count++], sizeof result->notes[0], "%u ranks, %.120s",
                 sim_group_size(group), sim_group_library(group));
}

/* ---- the end ------------------------------------------------------------------------------------------------------- */

static void close_books(struct virtual_world *world)
{
    world->result->simulated_us = world->now_us;
    for (uint32_t p = 0; p < world->held; p++)
        virtual_partition_close(world->partitions[p]);
    fleet_commands_finish(&world->fleet, world->now_us);
    virtual_weigh(world);
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    world->result->peak_rss_bytes = (uint64_t)usage.ru_maxrss * 1024;
    world->result->cpu_s = (double)usage.ru_utime.tv_sec + (double)usage.ru_stime.tv_sec +
                           1e-6 * (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

static void carry_out(struct virtual_world *world)
{
    double started = wall_now();
    run(world);
    world->result->wall_s = wall_now() - started;
    close_books(world);
    world->result->has_digest = world->result->status == WORLD_COMPLETED;
    if (world->result->status == WORLD_COMPLETED && world->options->out_directory)
        virtual_checkpoint_remove(world->options); /* nothing is left to go on with */
    if (!virtual_bring_together(world)) {
        world->result->status = WORLD_ENVIRONMENT;
        snprintf(world->result->error, sizeof world->result->error,
                 "out of memory while the ranks' results were brought together");
    }
    if (world->exchange)
        sim_exchange_destroy(world->exchange);
}

void world_run_virtual(struct script *script, const struct world_options *options, struct world_result *result)
{
    struct sim_group *group = options->group;
    struct cloud_pki *pki;
    describe(result, group, script_scenario(script)->cloud.real_cryptography);
    if (!virtual_crypto_open(script_scenario(script), options, &pki, result))
        return;
    struct memory_heap *heap = memory_heap_create();
    struct memory_heap *outside = memory_enter(heap);
    struct virtual_world *world = heap ? memory_allocate_zero(1, sizeof *world) : NULL;
    if (world) {
        world->heap = heap;
        world->scenario = script_scenario(script);
        world->options = options;
        world->result = result;
        world->group = group;
        world->pki = pki;
        assert_context.seed = world->scenario->seed;
    }
    bool made = world && set_up(world, script);
    int64_t trouble[2] = {!made, options->stop && *options->stop}; /* on any rank */
    sim_group_reduce(group, SIM_GROUP_MAXIMUM, trouble, 2);
    if (!trouble[0]) {
        carry_out(world);
    } else if (trouble[1]) {
        result->status = WORLD_INTERRUPTED;
        snprintf(result->error, sizeof result->error, "interrupted while setting up");
    } else {
        result->status = WORLD_ENVIRONMENT;
        snprintf(result->error, sizeof result->error,
                 "out of memory while setting up %u vehicles; run a smaller fleet, spread it with -j over more "
                 "machines, or raise --memory",
                 script_scenario(script)->fleet);
    }
    memory_enter(outside);
    virtual_crypto_close(pki);
}

void world_resume_virtual(const struct world_options *options, struct script **script, struct world_result *result)
{
    struct virtual_world *world = virtual_checkpoint_load(options, result);
    if (!world) {
        result->status = WORLD_ENVIRONMENT;
        return;
    }
    *script = world->fleet.script;
    world->options = options;
    world->result = result;
    world->group = options->group;
    world->traced = NULL;
    result->measure = world->fleet.measure;
    assert_context.seed = world->scenario->seed;
    struct memory_heap *outside = memory_enter(world->heap);
    describe(result, world->group, false);
    char at[32];
    scenario_time_text(world->scenario, world->now_us, at, sizeof at);
    snprintf(result->notes[result->note_count++], sizeof result->notes[0], "Resumed from the checkpoint of %s.", at);
    for (uint32_t i = 0; i < world->note_count; i++)
        show_note(result, world->notes[i]);
    world->next_checkpoint_us =
        options->checkpoint_every_us > 0 ? world->now_us + options->checkpoint_every_us : TIME_NEVER;
    if (!world->exchange || sim_exchange_attach(world->exchange, world->group)) {
        carry_out(world);
    } else {
        result->status = WORLD_ENVIRONMENT;
        snprintf(result->error, sizeof result->error, "the checkpoint is of another number of ranks");
    }
    memory_enter(outside);
}
