/* live.c: the live world: real sockets, real time. Sets up, runs the loop, lets what is under way arrive, closes the books, ends everything it began.
 *
 * The due queue is the virtual world's, its time the monotonic clock's: whatever is due up to now is handled in order, and one timerfd is armed
 * with the next due time, absolute. How late the rig was is measured by itself, and judged.
 */
#include "live.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define RATE_PLAIN        500.0
#define RATE_TLS          150.0
#define AT_ONCE_NEAR      8
#define AT_ONCE_FAR       256 /* round trips, not computing, fill the time */
#define AT_ONCE_PLAIN     1024
#define PORTS_PER_ADDRESS 28000
#define HOUSEKEEPING_S    0.1
#define SLICE_US          (2 * US_PER_MS)
#define DRAIN_US          (5 * US_PER_S)
#define DRAIN_LOOK_US     (50 * US_PER_MS)
#define DRAIN_STOPPED_US  US_PER_S
#define QUIET_US          (200 * US_PER_MS) /* nothing delivered for so long: nothing is under way */
#define GOODBYE_US        (3 * US_PER_S)

int64_t live_clock(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * US_PER_S + now.tv_nsec / 1000;
}

/* A run's time ends with its last moment: what a late loop does then was meant before it. It goes on while the run drains. */
void live_tick(struct live_world *world)
{
    world->now_us = live_clock() - world->start_us;
    if (world->running && world->now_us >= world->duration_us)
        world->now_us = world->duration_us - 1;
    assert_context.now_us = world->now_us;
}

void live_note(struct world_result *result, const char *format, ...)
{
    va_list arguments;
    if (result->note_count >= WORLD_NOTES)
        return;
    va_start(arguments, format);
    vsnprintf(result->notes[result->note_count++], sizeof result->notes[0], format, arguments);
    va_end(arguments);
}

bool live_fail(struct live_world *world, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(world->result->error, sizeof world->result->error, format, arguments);
    va_end(arguments);
    world->result->status = WORLD_ENVIRONMENT;
    return false;
}

/* ---- what is due --------------------------------------------------------------------------------------------------- */

static void schedule(struct live_vehicle *vehicle, const struct live_step *wanted, struct span bytes)
{
    struct live_world *world = vehicle->world;
    struct live_step *step = malloc(sizeof *step + bytes.length);
    if (!step) {
        world->out_of_memory = true;
        return;
    }
    *step = *wanted;
    step->length = bytes.length;
    if (bytes.length)
        memcpy(step->data, bytes.data, bytes.length);
    if (step->at_us < world->now_us)
        step->at_us = world->now_us;
    struct live_step **place = &vehicle->steps;
    while (*place && (*place)->at_us <= step->at_us)
        place = &(*place)->next;
    step->next = *place;
    *place = step;
    /* A step may be asked for in the microsecond that has just been handled: then it is due in the next one. */
    if (!sim_queue_push(world->queue, step->at_us + 1, live_place(vehicle), LIVE_STEP))
        world->out_of_memory = true;
}

void live_schedule(struct live_vehicle *vehicle, enum live_step_kind kind, int64_t at_us, uint32_t slot)
{
    schedule(vehicle, &(struct live_step){.at_us = at_us, .kind = kind, .slot = slot}, (struct span){NULL, 0});
}

void live_schedule_bytes(struct live_vehicle *vehicle, enum live_step_kind kind, int64_t at_us, struct span bytes)
{
    schedule(vehicle, &(struct live_step){.at_us = at_us, .kind = kind}, bytes);
}

void live_commands_touched(struct live_world *world)
{
    int64_t next_us = live_messages_next(world), shadow_us = live_shadow_next(world);
    next_us = shadow_us < next_us ? shadow_us : next_us;
    for (uint32_t b = 0; b < world->broker_count; b++) {
        const struct live_broker *broker = &world->brokers[b];
        bool open = broker->orders.remote && !world->closing; /* as in commands_due(): what nobody does is not due */
        int64_t at_us = broker->commands ? cloud_commands_next_deadline(broker->commands)
                        : open           ? fleet_orders_next(&broker->orders)
                                         : TIME_NEVER;
        next_us = at_us < next_us ? at_us : next_us;
    }
    int64_t regions_us = live_regions_next(world);
    next_us = regions_us < next_us ? regions_us : next_us;
    if (!sim_deadline_set(world->queue, &world->commands_deadline, next_us, 0, LIVE_COMMANDS))
        world->out_of_memory = true;
}

/* At the moment it was meant for, however late the loop is: a vehicle's telemetry counts from there, and is the same in both worlds. */
static void power_up(struct live_vehicle *vehicle, int64_t due_us)
{
    struct live_world *world = vehicle->world;
    world->now_us = due_us;
    vehicle->trace.power_up_us = world->now_us;
    fleet_life_start(&world->fleet, vehicle->index, &vehicle->day, world->now_us);
    tcu_start(vehicle->tcu, world->now_us, TCU_PARKED);
    live_parked_at_start(vehicle);
    live_life(vehicle);
    live_tick(world);
}

/* After the end of a run there is no model any more. */
static void radio_step(struct live_vehicle *vehicle, const struct live_step *step)
{
    bool of_link = step->kind == LIVE_LINK_TOLD || step->kind == LIVE_LINK_RESET;
    if (!vehicle->world->radios || step->slot != (of_link ? vehicle->attempts : vehicle->requests))
        return;
    switch (step->kind) {
    case LIVE_LINK_TOLD: live_radio_told(vehicle); break;
    case LIVE_LINK_RESET:
        live_network_found(vehicle, true);
        live_radio_lost(vehicle);
        live_link_failed(vehicle, TCU_LINK_PEER_CLOSED);
        break;
    case LIVE_HTTP_SENT: live_radio_sent(vehicle); break;
    default: live_radio_answered(vehicle); break;
    }
}

static void take_step(struct live_vehicle *vehicle, const struct live_step *step)
{
    struct live_world *world = vehicle->world;
    switch (step->kind) {
    case LIVE_POWER_UP:
        if (!world->draining)
            power_up(vehicle, step->at_us);
        break;
    case LIVE_LINK_FAILED:
        if (step->slot == vehicle->attempts)
            live_link_failed(vehicle, TCU_LINK_CONNECT_FAILED);
        break;
    case LIVE_LINK_BROKEN:
        if (step->slot == vehicle->attempts)
            live_link_broken(vehicle);
        break;
    case LIVE_HTTP_FAILED:
        if (step->slot == vehicle->requests)
            tcu_http_response(vehicle->tcu, world->now_us, 0, (struct span){NULL, 0});
        break;
    case LIVE_EXECUTED:
        if (!live_dead(vehicle))
            tcu_executed(vehicle->tcu, world->now_us, step->slot,
                         !fleet_execution_fails(&world->fleet, vehicle->index, vehicle->executed++));
        break;
    case LIVE_RESOLVE_FAILED:
        if (step->slot == vehicle->attempts) {
            world->resolve_failures++;
            live_link_failed(vehicle, TCU_LINK_RESOLVE_FAILED);
        }
        break;
    case LIVE_SMS: live_sms(vehicle, span_of(step->data, step->length)); break;
    case LIVE_SHADOW:
        if (!world->draining)
            live_shadow_due(vehicle);
        break;
    case LIVE_BATTERY:
        if (!world->draining)
            live_battery(vehicle);
        break;
    case LIVE_POWER_DIED: live_power_died(vehicle); break;
    case LIVE_POWER_BACK: live_power_back(vehicle); break;
    case LIVE_LINK_TOLD:
    case LIVE_LINK_RESET:
    case LIVE_HTTP_SENT:
    case LIVE_HTTP_ANSWERED: radio_step(vehicle, step); break;
    default: live_regions_step(vehicle, step); break;
    }
}

static void take_steps(struct live_vehicle *vehicle)
{
    while (vehicle->steps && vehicle->steps->at_us <= vehicle->world->now_us) {
        struct live_step *step = vehicle->steps;
        vehicle->steps = step->next;
        take_step(vehicle, step);
        free(step);
    }
}

/* What the agent meant to do at planned_us has been written by now. */
static void agent_due(struct live_vehicle *vehicle)
{
    struct live_world *world = vehicle->world;
    int64_t planned_us = vehicle->planned_us;
    vehicle->wrote = false;
    tcu_tick(vehicle->tcu, world->now_us);
    if (!vehicle->wrote)
        return;
    live_tick(world);
    measure_sample(world->fleet.measure, METRIC_SEND_LAG, fleet_who(&vehicle->trace, PATH_ANY), vehicle->index,
                   planned_us, world->now_us - planned_us);
}

static void commands_due(struct live_world *world)
{
    for (uint32_t b = 0; b < world->broker_count; b++)
        if (world->brokers[b].commands)
            cloud_commands_tick(world->brokers[b].commands, world->now_us);
        else if (world->brokers[b].orders.remote && !world->closing)
            fleet_orders_tick(&world->brokers[b].orders, world->now_us);
    live_regions_tick(world);
    live_messages_tick(world);
    live_shadow_tick(world);
    live_commands_touched(world);
}

static void handle(void *context, int64_t due_us, uint32_t entity, uint8_t class)
{
    struct live_world *world = context;
    live_tick(world);
    world->result->events++;
    if (class == LIVE_COMMANDS) {
        if (sim_deadline_due(world->queue, &world->commands_deadline, due_us, 0, LIVE_COMMANDS))
            commands_due(world);
        return;
    }
    if (class == LIVE_IDENTITY) {
        if (sim_deadline_due(world->queue, &world->identity_deadline, due_us, 0, LIVE_IDENTITY))
            live_plain_due(world);
        return;
    }
    if (class == LIVE_TIMELINE) {
        if (!world->draining)
            live_timeline_fire(world, entity);
        return;
    }
    struct live_vehicle *vehicle = &world->vehicles[entity];
    assert_context.vehicle = vehicle->index;
    switch ((enum live_class) class) {
    case LIVE_AGENT: /* while draining nothing new is meant to be sent */
        if (sim_deadline_due(world->queue, &vehicle->agent, due_us, entity, LIVE_AGENT) && !world->draining)
            agent_due(vehicle);
        break;
    case LIVE_LIFE:
        if (sim_deadline_due(world->queue, &vehicle->life, due_us, entity, LIVE_LIFE) && !world->draining)
            live_life(vehicle);
        break;
    case LIVE_STEP: take_steps(vehicle); break;
    case LIVE_RADIO:
        if (world->radios)
            live_radio_due(vehicle, due_us);
        break;
    case LIVE_COMMANDS:
    case LIVE_IDENTITY:
    case LIVE_TIMELINE: break;
    }
}

/* What is due up to now. A rig that is behind gives it as much time as the sockets had since, and a little more: then they have their turn
 * again, or acknowledgements and services would wait for all of it. */
static void run_due(struct live_world *world)
{
    static const struct sim_handlers handlers = {handle, NULL};
    live_tick(world);
    int64_t enough_us = world->now_us + (world->now_us - world->ran_us) + SLICE_US, next_us;
    while ((next_us = sim_queue_next_time(world->queue)) <= world->now_us && world->now_us < enough_us) {
        int64_t until_us = next_us < world->now_us - SLICE_US ? next_us + SLICE_US : world->now_us + 1;
        sim_queue_run(world->queue, until_us, &handlers, world);
        live_tick(world);
    }
    world->ran_us = world->now_us;
}

/* ---- the loop ------------------------------------------------------------------------------------------------------ */

static void arm(struct live_world *world)
{
    int64_t next_us = sim_queue_next_time(world->queue), admit_us = live_admit_next(world);
    next_us = admit_us < next_us ? admit_us : next_us;
    if (next_us == world->armed_us)
        return;
    int64_t at_us = next_us == TIME_NEVER ? 0 : next_us + world->start_us;
    struct itimerspec spec = {.it_value = {at_us / US_PER_S, at_us % US_PER_S * 1000}};
    timerfd_settime(world->timer_fd, TFD_TIMER_ABSTIME, &spec, NULL);
    world->armed_us = next_us;
}

static void on_due(struct ev_loop *loop, ev_io *watcher, int events)
{
    struct live_world *world = watcher->data;
    world->armed_us = -1; /* armed anew before the loop sleeps, which also takes back that it is readable */
}

/* Before the loop sleeps: everything that is due, then everybody who may begin. */
static void on_prepare(struct ev_loop *loop, ev_prepare *watcher, int revents)
{
    struct live_world *world = watcher->data;
    run_due(world);
    live_admit(world);
    run_due(world);
    arm(world);
}

static void on_bus(struct ev_loop *loop, ev_async *watcher, int events)
{
    struct live_world *world = watcher->data;
    live_tick(world);
    live_services_poll(world);
}

static const char *phase_name(const struct live_world *world)
{
    int64_t calendar_us = (int64_t)((double)world->now_us * world->fleet.speedup);
    for (uint32_t i = 0; i < world->scenario->phase_count; i++)
        if (world->scenario->phases[i].from_us <= calendar_us && calendar_us < world->scenario->phases[i].to_us)
            return world->scenario->phases[i].name;
    return world->line.count || world->keys.count ? "connecting" : "";
}

static void show_progress(struct live_world *world)
{
    double now = (double)live_clock() / 1e6, past = now - world->progress.shown;
    if (!world->options->progress || past < 1 || world->rank)
        return;
    const struct measure *measure = world->fleet.measure;
    double speedup = world->fleet.speedup, seconds = (double)(world->now_us - world->progress.shown_us) / 1e6 * speedup;
    struct world_progress progress = {
        .now_us = (int64_t)((double)world->now_us * speedup),
        .duration_us = world->scenario->duration_us,
        .wall_s = now - world->progress.started,
        .speed = seconds / past,
        .connected = (uint64_t)measure_total(measure, COUNTER_CONNECTED, MEASURE_EVERYBODY),
        .driving = (uint64_t)measure_total(measure, COUNTER_DRIVING, MEASURE_EVERYBODY),
        .publishes = (uint64_t)measure_total(measure, COUNTER_PUBLISHES, MEASURE_EVERYBODY),
        .commands = (uint64_t)measure_total(measure, COUNTER_COMMANDS, MEASURE_EVERYBODY),
        .events = world->result->events,
        .phase = phase_name(world)};
    progress.publishes_per_s = (double)(progress.publishes - world->progress.publishes) / seconds;
    progress.commands_per_s = (double)(progress.commands - world->progress.commands) / seconds;
    world->progress.publishes = progress.publishes;
    world->progress.commands = progress.commands;
    world->progress.shown = now;
    world->progress.shown_us = world->now_us;
    world->options->progress(world->options->progress_context, &progress);
}

static void on_housekeeping(struct ev_loop *loop, ev_timer *watcher, int events)
{
    struct live_world *world = watcher->data;
    live_tick(world);
    live_ghosts_sweep(world, world->now_us);
    show_progress(world);
}

static bool make_loop(struct live_world *world)
{
    world->loop = ev_loop_new(EVFLAG_AUTO | EVFLAG_NOSIGMASK);
    world->timer_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (!world->loop || world->timer_fd < 0)
        return live_fail(world, "cannot make the event loop");
    ev_prepare_init(&world->prepare, on_prepare);
    ev_io_init(&world->timer_watcher, on_due, world->timer_fd, EV_READ);
    ev_timer_init(&world->housekeeping, on_housekeeping, HOUSEKEEPING_S, HOUSEKEEPING_S);
    ev_async_init(&world->bus_wake, on_bus);
    world->prepare.data = world->timer_watcher.data = world->housekeeping.data = world->bus_wake.data = world;
    ev_set_priority(&world->timer_watcher, EV_MAXPRI);
    ev_prepare_start(world->loop, &world->prepare);
    ev_io_start(world->loop, &world->timer_watcher);
    ev_timer_start(world->loop, &world->housekeeping);
    ev_async_start(world->loop, &world->bus_wake);
    world->armed_us = -1;
    return live_resolver_start(world);
}

/* ---- set-up -------------------------------------------------------------------------------------------------------- */

static void *big_block(size_t bytes)
{
    void *block =
        mmap(NULL, bytes ? bytes : 64, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return block == MAP_FAILED ? NULL : block;
}

static struct measure *make_measure(const struct live_world *world)
{
    const struct scenario *scenario = world->scenario;
    struct measure_interval excluded[64];
    struct measure_options options = {.vehicles = scenario->fleet,
                                      .cohorts = scenario->cohort_count,
                                      .regions = scenario->region_count,
                                      .duration_us = world->duration_us,
                                      .excluded = excluded};
    double speedup = world->options->speedup > 0 ? world->options->speedup : 1;
    options.excluded_count = scenario_excluded(scenario, excluded, 64);
    for (uint32_t i = 0; i < options.excluded_count; i++) {
        excluded[i].from_us = (int64_t)((double)excluded[i].from_us / speedup);
        excluded[i].to_us = (int64_t)((double)excluded[i].to_us / speedup);
    }
    return measure_create(&options);
}

static bool any_tls(const struct live_world *world, double *handshakes)
{
    bool tls = false;
    *handshakes = 0;
    for (uint32_t c = 0; c < world->scenario->cohort_count; c++) {
        const struct scenario_cohort *cohort = &world->scenario->cohorts[c];
        const struct live_door *door = &world->brokers[0].doors[world->identity[c]];
        bool enrols = world->identity[c] == IDENTITY_CERTIFICATE && cohort->provisioning == PROVISIONING_JUST_IN_TIME;
        bool refused_first = world->identity[c] == IDENTITY_CERTIFICATE && world->profile->registration;
        tls |= door->tls && cohort->count;
        *handshakes += (double)cohort->count * (1 + enrols + refused_first);
    }
    return tls;
}

static bool all_near(const struct live_world *world)
{
    for (uint32_t b = 0; b < world->broker_count; b++)
        for (int d = 0; d < LIVE_IDENTITIES; d++) {
            const struct live_door *door = &world->brokers[b].doors[d];
            bool near = strncmp(door->host, "127.", 4) == 0 || strcmp(door->host, "::1") == 0 ||
                        strcmp(door->host, "localhost") == 0;
            if (door->offered && !near)
                return false;
        }
    return true;
}

/* Power-ups that would come faster than connections are admitted are spread out: vehicles waiting in a line would measure the line. */
static void set_pace(struct live_world *world)
{
    const struct world_options *options = world->options;
    double handshakes;
    int64_t within_us = 0;
    bool tls = any_tls(world, &handshakes);
    world->rate = options->connect_rate > 0 ? options->connect_rate
                  : tls                     ? RATE_TLS
                                            : RATE_PLAIN; /* of all processes */
    world->at_once = options->handshakes_at_once ? options->handshakes_at_once
                     : !tls                      ? AT_ONCE_PLAIN
                     : all_near(world)           ? AT_ONCE_NEAR
                                                 : AT_ONCE_FAR;
    world->tokens = 1;
    for (uint32_t c = 0; c < world->scenario->cohort_count; c++)
        if (world->scenario->cohorts[c].power_up_within_us > within_us)
            within_us = world->scenario->cohorts[c].power_up_within_us;
    double needed_us = handshakes / world->rate * 1e6;
    within_us =
        (int64_t)((double)within_us / world->fleet.speedup); /* like trips and phases: a matter of the calendar */
    world->stretch = 1;
    if (needed_us > (double)within_us && within_us > 0)
        world->stretch = needed_us / (double)within_us;
    if (world->stretch > 1)
        live_note(world->result,
                  "power-ups spread over %.1f s instead of %.1f s: %.0f connections at --connect-rate %.0f a second",
                  needed_us / 1e6, (double)within_us / 1e6, handshakes, world->rate);
    world->rate /= world->ranks;
    world->source_addresses = options->source_addresses;
    uint32_t per_broker = world->count / world->broker_count;
    if (!world->source_addresses && per_broker > PORTS_PER_ADDRESS)
        world->source_addresses = per_broker / PORTS_PER_ADDRESS + 1;
}

int64_t live_power_up_us(const struct live_world *world, uint32_t vehicle)
{
    return (int64_t)((double)fleet_power_up_us(&world->fleet, vehicle) / world->fleet.speedup * world->stretch);
}

static bool make_vehicle(struct live_world *world, uint32_t place)
{
    struct live_vehicle *vehicle = &world->vehicles[place];
    uint32_t index = place * world->ranks + world->rank;
    char name[SCENARIO_NAME + 16];
    vehicle->world = world;
    vehicle->index = index;
    vehicle->covered = true;
    vehicle->broker = (uint8_t)(place % world->broker_count);
    vehicle->agent = vehicle->life = SIM_DEADLINE_NONE;
    live_link_init(vehicle);
    fleet_trace_init(&world->fleet, index, &vehicle->trace);
    uint32_t shown = world->lives ? fleet_victim(world->scenario, index, world->ranks * world->broker_count) : index;
    size_t length = scenario_vehicle_name(world->scenario, shown, name, sizeof name);
    vehicle->tcu = tcu_init(world->agents + (size_t)place * world->agent_stride, fleet_profile(&world->fleet, index),
                            &world->port, vehicle, NULL, NULL, span_of(name, length));
    if (world->regions)
        live_regions_vehicle(vehicle);
    const struct scenario_cohort *cohort = &world->scenario->cohorts[vehicle->trace.cohort];
    bool own = !world->lives || fleet_has_own_identity(world->scenario, index);
    vehicle->shown = TCU_OPERATIONAL;
    if (own && world->identity[vehicle->trace.cohort] == IDENTITY_CERTIFICATE &&
        cohort->provisioning == PROVISIONING_DONE && !live_factory_identity(vehicle, name))
        return live_fail(world, "cannot make the certificate of %s", name);
    live_schedule(vehicle, LIVE_POWER_UP, live_power_up_us(world, index), 0);
    return true;
}

static bool make_fleet(struct live_world *world)
{
    uint32_t fleet = world->count;
    bool factory = false;
    world->port = live_port;
    if (world->regions)
        world->port.server_reference = live_server_reference;
    world->agent_stride = fleet_largest_profile_memory(&world->fleet, &world->port);
    world->queue = sim_queue_create(&(struct sim_queue_options){0});
    world->vehicles = big_block((size_t)fleet * sizeof *world->vehicles);
    world->agents = big_block((size_t)fleet * world->agent_stride);
    world->timeline_us = calloc(world->scenario->timeline_count + 1, sizeof *world->timeline_us);
    world->input = malloc(LIVE_INPUT_BYTES);
    world->commands_deadline = world->identity_deadline = SIM_DEADLINE_NONE;
    if (!world->queue || !world->vehicles || !world->agents || !world->timeline_us || !world->input)
        return live_fail(world, "out of memory while setting up %u vehicles; run a smaller fleet", fleet);
    if (!live_radio_start(world) || !live_network_start(world) || !live_factory_open(world))
        return false;
    for (uint32_t v = 0; v < fleet; v++) {
        if (!make_vehicle(world, v))
            return false;
        const struct live_vehicle *vehicle = &world->vehicles[v];
        factory |= vehicle->stored_length[TCU_STORE_OPERATIONAL_CERTIFICATE] > 0;
        if (world->options->stop && *world->options->stop)
            break;
    }
    live_factory_close(world);
    if (factory && world->profile->registration)
        live_note(world->result, "vehicles that leave the factory with a certificate are registered at their first "
                                 "connect, which is refused");
    return true;
}

static bool make_all(struct live_world *world, struct script *script, double speedup, int64_t wall_us)
{
    world->result->measure = make_measure(world);
    if (!world->result->measure || !fleet_init(&world->fleet, script, world->result->measure, speedup, wall_us,
                                               world->topic_prefix, world->profile))
        return live_fail(world, "out of memory while setting up %u vehicles; run a smaller fleet", world->count);
    world->actions = (struct world_actions){live_act, live_mark, world};
    world->fleet.actions = &world->actions;
    set_pace(world);
    return make_loop(world) && live_identity_start(world) && live_remote_prepare(world) && live_shadow_prepare(world) &&
           live_regions_start(world) && live_messages_prepare(world) && live_services_start(world) &&
           (!world->pki || live_http_create(world)) && make_fleet(world);
}

static bool set_up(struct live_world *world, struct script *script)
{
    const struct scenario *scenario = world->scenario;
    double speedup = world->options->speedup > 0 ? world->options->speedup : 1;
    struct timespec wall;
    clock_gettime(CLOCK_REALTIME, &wall);
    world->start_us = live_clock();
    int64_t wall_us = (int64_t)wall.tv_sec * US_PER_S + wall.tv_nsec / 1000;
    world->duration_us = (int64_t)((double)scenario->duration_us / speedup);
    if (!live_group_identify(world, wall_us) || !live_group_agree(world, live_cloud_start(world)))
        return false;
    if (!live_group_agree(world, make_all(world, script, speedup, wall_us)))
        return false;
    /* Time begins now: making certificates and waiting for brokers is no part of the run. */
    live_group_begin(world);
    world->tokens_us = world->now_us;
    live_timeline_start(world);
    live_messages_begin(world);
    live_shadow_begin(world);
    live_commands_touched(world);
    live_plain_touched(world);
    return true;
}

/* ---- the run ------------------------------------------------------------------------------------------------------- */

static bool stop_asked(const struct live_world *world)
{
    return world->options->stop && *world->options->stop;
}

static bool still_well(struct live_world *world)
{
    struct world_result *result = world->result;
    if (world->out_of_memory)
        return live_fail(world, "out of memory; run a smaller fleet or raise the limit");
    if (world->fleet.failed || world->script_failed) {
        result->status = WORLD_SCENARIO;
        if (world->fleet.failed)
            memcpy(result->error, world->fleet.error, sizeof result->error);
        return false;
    }
    if (stop_asked(world) || live_group_stopped(world)) {
        result->status = WORLD_INTERRUPTED;
        return false;
    }
    return true;
}

static void run(struct live_world *world)
{
    world->result->status = WORLD_COMPLETED;
    world->progress.started = world->progress.shown = (double)live_clock() / 1e6;
    world->running = true;
    while (live_clock() - world->start_us < world->duration_us && still_well(world))
        ev_run(world->loop, EVRUN_ONCE);
    if (world->result->status == WORLD_COMPLETED) { /* whatever was due, as in the virtual world */
        static const struct sim_handlers handlers = {handle, NULL};
        live_tick(world);
        sim_queue_run(world->queue, world->duration_us, &handlers, world);
    }
    world->running = false;
    live_tick(world);
    if (world->result->status == WORLD_COMPLETED)
        still_well(world);
    if (world->result->status != WORLD_COMPLETED)
        live_group_stop(world);
}

/* Is anything under way that could still arrive? */
static bool anything_under_way(struct live_world *world)
{
    bool shared = world->brokers[0].sharers > 1;
    if (shared && world->now_us - world->delivered_us < QUIET_US)
        return true;
    for (uint32_t b = 0; b < world->broker_count; b++)
        if (world->brokers[b].commands && cloud_commands_open(world->brokers[b].commands))
            return true;
    for (uint32_t v = 0; v < world->count; v++) {
        struct live_vehicle *vehicle = &world->vehicles[v];
        if (vehicle->trace.power_up_us < 0)
            continue;
        if (tcu_connection(vehicle->tcu) == TCU_ONLINE && tcu_telemetry_pending(vehicle->tcu))
            return true;
        if (shared) /* others' processors have what the ledger misses here */
            continue;
        struct ledger_row row = measure_ledger_row(world->fleet.measure, vehicle->index);
        if (ledger_lost(&row) > tcu_telemetry_pending(vehicle->tcu))
            return true;
    }
    return false;
}

/* No vehicle means anything new from here on; acknowledgements, deliveries and answers may still come in. */
static void drain(struct live_world *world)
{
    int64_t until_us = world->now_us + (world->result->status == WORLD_COMPLETED ? DRAIN_US : DRAIN_STOPPED_US);
    int64_t look_us = 0;
    world->draining = true;
    while (world->now_us < until_us && !world->out_of_memory) {
        if (world->now_us >= look_us && !anything_under_way(world))
            return;
        if (world->now_us >= look_us)
            look_us = world->now_us + DRAIN_LOOK_US;
        ev_run(world->loop, EVRUN_ONCE); /* housekeeping ends the sleep */
    }
}

/* What the other processes' vehicles sent in the end may have come to our processors. */
static void settle(struct live_world *world)
{
    if (world->brokers[0].sharers == 1)
        return;
    world->delivered_us = live_clock() - world->start_us;
    do
        ev_run(world->loop, EVRUN_ONCE);
    while (world->now_us - world->delivered_us < QUIET_US);
}

static void say_goodbye(struct live_world *world)
{
    world->closing = true;
    live_radio_stop(world);
    for (uint32_t v = 0; v < world->count; v++) {
        struct live_vehicle *vehicle = &world->vehicles[v];
        if (!vehicle->tcu || vehicle->trace.power_up_us < 0)
            continue;
        assert_context.vehicle = vehicle->index;
        tcu_stop(vehicle->tcu, world->now_us);
        if (v % 64 == 63)
            ev_run(world->loop, EVRUN_NOWAIT);
    }
    live_presence_clear(world);
    live_messages_clear(world);
    int64_t until_us = world->now_us + GOODBYE_US;
    for (struct live_ghost *ghost = world->ghosts; ghost; ghost = ghost->next)
        if (ghost->until_us > until_us)
            ghost->until_us = world->now_us; /* of a link the radio lost: the broker finds out now */
    while (world->ghosts && world->now_us < until_us)
        ev_run(world->loop, EVRUN_ONCE);
}

/* ---- the end ------------------------------------------------------------------------------------------------------- */

static void release_vehicle(struct live_vehicle *vehicle)
{
    live_link_close(vehicle, true);
    while (vehicle->steps) {
        struct live_step *step = vehicle->steps;
        vehicle->steps = step->next;
        free(step);
    }
    if (vehicle->tcu)
        tcu_release(vehicle->tcu);
    for (int item = 0; item < TCU_STORE_ITEMS; item++)
        free(vehicle->stored[item]);
}

static void release(struct live_world *world)
{
    uint32_t fleet = world->count;
    live_resolver_stop(world);
    live_radio_stop(world);
    for (uint32_t v = 0; world->vehicles && v < fleet; v++)
        if (world->vehicles[v].world)
            release_vehicle(&world->vehicles[v]);
    live_http_destroy(world);
    live_ghosts_sweep(world, TIME_NEVER);
    live_factory_close(world);
    live_identity_stop(world);
    live_services_stop(world);
    live_regions_stop(world);
    live_cloud_stop(world);
    if (world->loop)
        ev_loop_destroy(world->loop);
    if (world->timer_fd > 0)
        close(world->timer_fd);
    if (world->vehicles)
        munmap(world->vehicles, fleet ? (size_t)fleet * sizeof *world->vehicles : 64);
    if (world->agents)
        munmap(world->agents, fleet ? (size_t)fleet * world->agent_stride : 64);
    if (world->queue)
        sim_queue_destroy(world->queue);
    free(world->line.tickets);
    free(world->keys.tickets);
    free(world->timeline_us);
    free(world->input);
    free(world->parkings);
    free(world->networks);
    free(world->shadows);
    if (world->fleet.profiles)
        fleet_destroy(&world->fleet);
}

static double cpu_now(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

static void run_and_close_books(struct live_world *world)
{
    struct world_result *result = world->result;
    double cpu_s = cpu_now();
    run(world);
    int64_t end_us = world->now_us < world->duration_us ? world->now_us : world->duration_us;
    result->wall_s = (double)world->now_us / 1e6;
    result->cpu_s = cpu_now() - cpu_s;
    result->simulated_us =
        end_us == world->duration_us ? world->scenario->duration_us : (int64_t)((double)end_us * world->fleet.speedup);
    drain(world);
    live_group_wait(world);
    settle(world);
    live_identity_verify(world);
    live_messages_finish(world, end_us);
    live_shadow_finish(world, end_us);
    for (uint32_t v = 0; v < world->count; v++)
        fleet_finish(&world->fleet, world->vehicles[v].index, &world->vehicles[v].trace, world->vehicles[v].tcu,
                     end_us);
    fleet_commands_finish(&world->fleet, end_us);
    live_regions_close(world, end_us - 1);
    live_remote_close(world);
    live_knock(world);
    result->packets = world->packets;
    result->wire_bytes = world->wire_bytes;
    live_weigh(world);
    live_judge_lag(world);
    live_note_troubles(world);
    say_goodbye(world);
}

void world_run_live(struct script *script, const struct world_options *options, struct world_result *result)
{
    struct live_world *world = calloc(1, sizeof *world);
    if (!world) {
        result->status = WORLD_ENVIRONMENT;
        snprintf(result->error, sizeof result->error, "out of memory");
        if (options->group && sim_group_size(options->group) > 1)
            sim_group_abort(options->group, 3); /* the others wait for this one */
        return;
    }
    world->scenario = script_scenario(script);
    world->options = options;
    world->result = result;
    assert_context.seed = world->scenario->seed;
    signal(SIGPIPE, SIG_IGN);
    live_group_join(world);
    if (set_up(world, script)) {
        run_and_close_books(world);
    } else if (result->measure) { /* nothing ran: there is nothing to report */
        measure_destroy(result->measure);
        result->measure = NULL;
    }
    release(world);
    live_group_merge(world);
    free(world);
}
