/* live_identity.c: what lifecycle { ... } adds to the live world. The cloud's side runs in the process of each of our own clouds; a pair of sockets
 * carries what an operator orders there and what happens there back. The vehicle's side: slots, thieves, power that goes.
 *
 * Orders are few (one an action of a script), news many; the cloud's process may wait for this one to read, never the other way round.
 */
#include "live.h"

#include "vehicle/crypto.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define WORKSHOP_US       (30 * US_PER_S)
#define CLAIM_LIFETIME_S  (5 * 365 * INT64_C(86400))
#define VERIFY_TIMEOUT_MS 60000
#define NEWS_BUFFER       (4 << 20)
#define ROTATION_LEAST_US US_PER_MIN
#define DEVICE_TAKEN      0x80u /* with live_child.devices: its first TCU's number is another's */

enum news_kind { NEWS_EVENT, NEWS_FLAW, NEWS_VERIFIED };
struct news { /* times: CLOCK_MONOTONIC */
    enum news_kind kind;
    enum cloud_life_event_kind event;
    enum cloud_execution_state state;
    enum counter counter;
    int64_t at_us, since_us;
    char thing[64], detail[64];
};

/* ---- in the cloud's process --------------------------------------------------------------------------------------------- */

static void send_news(const struct live_child *child, const struct news *news)
{
    while (send(child->fd, news, sizeof *news, MSG_NOSIGNAL) < 0 && errno == EINTR)
        ;
}

static void put_text(char *out, size_t capacity, struct span text)
{
    size_t length = text.length < capacity - 1 ? text.length : capacity - 1;
    if (length)
        memcpy(out, text.data, length);
    out[length] = 0;
}

static void child_event(void *context, int64_t now_us, const struct cloud_life_event *event)
{
    struct news news = {
        .kind = NEWS_EVENT, .event = event->kind, .state = event->state, .at_us = now_us, .since_us = event->since_us};
    put_text(news.thing, sizeof news.thing, event->thing);
    put_text(news.detail, sizeof news.detail, event->detail);
    send_news(context, &news);
}

static void child_flaw(void *context, enum counter counter, struct span thing)
{
    const struct live_child *child = context;
    struct news news = {.kind = NEWS_FLAW, .counter = counter, .at_us = live_clock()};
    put_text(news.thing, sizeof news.thing, thing);
    send_news(child, &news);
}

/* Runs in the parent before the fork: the child has a copy. */
void live_child_options(struct live_world *world, struct live_broker *broker, struct cloud_serve_options *options)
{
    struct live_child *child = &broker->child;
    if (child->fd < 0)
        return;
    options->watch_fd = child->fd;
    options->readable = live_child_readable;
    options->watch_context = child;
    child->scenario = world->scenario;
    if (world->scenario->cloud.regions.on)
        live_region_child_options(world, broker, options);
    if (live_shadow_loses(world->scenario))
        options->opened = live_child_opened;
    if (!world->scenario->cloud.lifecycle.on)
        return;
    live_child_prepare(world, broker, child_event, child);
    options->cloud.epoch_us = child->epoch_us;
    options->cloud.lifecycle = &child->options;
    options->cut_delay_us = -1;
    options->opened = live_child_opened;
}

void live_child_prepare(struct live_world *world, struct live_broker *broker,
                        void (*event)(void *context, int64_t now_us, const struct cloud_life_event *event),
                        void *context)
{
    struct live_child *child = &broker->child;
    child->scenario = world->scenario;
    child->instances = world->ranks * world->broker_count;
    child->number = world->rank + world->ranks * (uint32_t)(broker - world->brokers);
    fleet_identity_hooks_init(&child->hooks, world->scenario, child->number);
    child->hooks.event = event;
    child->hooks.context = context;
    struct timespec wall, monotonic;
    clock_gettime(CLOCK_REALTIME, &wall);
    clock_gettime(CLOCK_MONOTONIC, &monotonic);
    child->epoch_us = (wall.tv_sec - monotonic.tv_sec) * US_PER_S + (wall.tv_nsec - monotonic.tv_nsec) / 1000;
    fleet_identity_options(&child->hooks, child->epoch_us, &child->options);
    /* How long a rotation may take is a matter of the calendar; jobs know no less than a minute. */
    int64_t timeout_us = child->options.rotation.in_progress_timeout_us;
    double speedup = world->options->speedup > 1 ? world->options->speedup : 1;
    if (timeout_us > ROTATION_LEAST_US && speedup > 1) {
        int64_t scaled_us = (int64_t)((double)timeout_us / speedup);
        child->options.rotation.in_progress_timeout_us = scaled_us > ROTATION_LEAST_US ? scaled_us : ROTATION_LEAST_US;
    }
    if (speedup > 1) /* as what the factory's certificates have left */
        child->options.expiring_within_s = 1 + (int64_t)((double)child->options.expiring_within_s / speedup);
}

/* Told while it is built, when nobody listens yet: kept until the end. */
static void note_taken(void *context, enum counter counter, struct span thing)
{
    struct live_child *child = context;
    uint32_t vehicle;
    if (counter == COUNTER_FLAW_SHARED_IDENTITY && scenario_vehicle_find(child->scenario, thing, &vehicle))
        child->devices[vehicle / child->instances] |= DEVICE_TAKEN;
}

bool live_child_build(struct live_child *child, struct cloud *cloud, int64_t now_us)
{
    int64_t now_s = (child->epoch_us + now_us) / US_PER_S;
    child->devices = calloc(child->scenario->fleet / child->instances + 1, 1);
    for (uint32_t v = child->number; child->devices && v < child->scenario->fleet; v += child->instances)
        if (fleet_has_own_identity(child->scenario, v) &&
            !fleet_identity_build(child->scenario, v, child->instances, cloud, now_us, now_s, note_taken, child))
            return false;
    return child->devices != NULL;
}

void live_child_opened(void *context, struct cloud *cloud, int64_t now_us)
{
    struct live_child *child = context;
    if (child->scenario->cloud.lifecycle.on)
        live_child_build(child, cloud, now_us); /* what is missing shows: it cannot get an identity */
    live_shadow_child_opened(child, cloud);
}

void live_child_verify(struct live_child *child, struct cloud *cloud, int64_t now_us,
                       void (*flaw)(void *context, enum counter counter, struct span thing), void *context)
{
    char name[SCENARIO_NAME + 16];
    for (uint32_t v = child->number; child->devices && v < child->scenario->fleet; v += child->instances)
        if (child->devices[v / child->instances] & DEVICE_TAKEN)
            flaw(context, COUNTER_FLAW_SHARED_IDENTITY,
                 span_of(name, scenario_vehicle_name(child->scenario, v, name, sizeof name)));
    fleet_identity_verify(child->scenario, cloud, child->epoch_us, now_us, flaw, context);
}

static size_t device_of(const struct live_child *child, uint32_t vehicle, unsigned generation, char *out,
                        size_t capacity)
{
    return fleet_device_name(child->scenario, vehicle, fleet_neighbour(vehicle, child->instances), generation, out,
                             capacity);
}

static void child_swap(struct live_child *child, struct cloud *cloud, int64_t now_us, uint32_t vehicle,
                       struct span thing, const struct world_action *action)
{
    char before[CLOUD_DEVICE_MAX + 1], next[CLOUD_DEVICE_MAX + 1];
    uint8_t *generation = &child->devices[vehicle / child->instances];
    unsigned had = *generation & ~DEVICE_TAKEN;
    size_t length = device_of(child, vehicle, had, before, sizeof before);
    size_t next_length = device_of(child, vehicle, had + 1, next, sizeof next);
    bool out = strcmp(action->option, "taken out") == 0;
    *generation = (uint8_t)((*generation & DEVICE_TAKEN) | ((had + 1) & ~DEVICE_TAKEN));
    if (strcmp(action->option, "unregistered") != 0)
        cloud_lifecycle_swap(cloud->lifecycle, now_us, thing, span_of(before, length),
                             out ? (struct span){NULL, 0} : span_of(next, next_length));
}

static void child_act_on(struct live_child *child, struct cloud *cloud, int64_t now_us, uint32_t vehicle,
                         const struct world_action *action)
{
    char name[SCENARIO_NAME + 16];
    struct span thing = span_of(name, scenario_vehicle_name(child->scenario, vehicle, name, sizeof name));
    switch (action->kind) {
    case ACTION_ROTATE: cloud_lifecycle_rotate(cloud->lifecycle, now_us, thing); break;
    case ACTION_REVOKE: cloud_lifecycle_revoke(cloud->lifecycle, now_us, thing, action->option); break;
    case ACTION_OWNER: cloud_lifecycle_change_owner(cloud->lifecycle, now_us, thing, span_text(action->option)); break;
    case ACTION_SWAP: child_swap(child, cloud, now_us, vehicle, thing, action); break;
    case ACTION_DECOMMISSION: cloud_lifecycle_decommission(cloud->lifecycle, now_us, thing); break;
    case ACTION_RELEASE: cloud_lifecycle_release(cloud->lifecycle, now_us, thing); break;
    default: break;
    }
}

static bool chosen(const struct scenario *scenario, uint32_t vehicle, const struct world_action *action)
{
    if (action->vehicle >= 0)
        return vehicle == action->vehicle;
    return scenario_selected(scenario, vehicle, action->cohort, action->region, action->share, action->salt);
}

/* The step of a power-up is taken a microsecond behind it. */
static bool powered(const struct scenario *scenario, const struct live_order *order, uint32_t vehicle)
{
    struct fleet fleet = {.scenario = scenario};
    int64_t at_us = (int64_t)((double)fleet_power_up_us(&fleet, vehicle) / order->speedup * order->stretch);
    return at_us + 1 < order->due_us;
}

void live_child_order(struct live_child *child, struct cloud *cloud, int64_t now_us, const struct live_order *order)
{
    if (order->action.kind == ACTION_AUDIT) {
        cloud_lifecycle_audit(cloud->lifecycle, now_us);
    } else {
        for (uint32_t v = child->number; child->devices && v < child->scenario->fleet; v += child->instances)
            if (fleet_has_own_identity(child->scenario, v) && chosen(child->scenario, v, &order->action) &&
                powered(child->scenario, order, v))
                child_act_on(child, cloud, now_us, v, &order->action);
    }
}

static void child_verify(struct live_child *child, struct cloud *cloud, int64_t now_us)
{
    struct news done = {.kind = NEWS_VERIFIED};
    live_child_verify(child, cloud, now_us, child_flaw, child);
    send_news(child, &done);
}

/* Its identity comes from another region's registry. */
static void child_knows(struct cloud *cloud, int64_t now_us, const struct live_order *order)
{
    struct cloud_certificate certificate;
    int64_t now_s = (cloud->options.epoch_us + now_us) / US_PER_S;
    if (!cloud_certificate_read(span_of(order->certificate, order->certificate_length), &certificate))
        return;
    memcpy(certificate.issuer_id, cloud_pki_ca(cloud->pki, CLOUD_CA_OPERATIONAL)->id, sizeof certificate.issuer_id);
    cloud_registry_put_certificate(cloud->registry, &certificate, CLOUD_CERTIFICATE_ACTIVE, certificate.common_name,
                                   now_s);
}

/* To the broker of another region; or for good, with its session. */
static void child_sends_away(const struct live_child *child, struct cloud *cloud, int64_t now_us,
                             const struct live_order *order)
{
    char name[SCENARIO_NAME + 16];
    uint32_t vehicle = (uint32_t)order->action.vehicle;
    struct span thing = span_of(name, scenario_vehicle_name(child->scenario, vehicle, name, sizeof name));
    if (order->kind == LIVE_ORDER_FORGET)
        cloud_broker_forget(cloud->broker, now_us, thing);
    else
        cloud_broker_redirect(cloud->broker, now_us, thing,
                              span_text(child->scenario->regions[order->action.region].endpoint), order->for_good);
}

void live_child_readable(void *context, struct cloud *cloud, int64_t now_us)
{
    struct live_child *child = context;
    struct live_order order;
    while (recv(child->fd, &order, sizeof order, MSG_DONTWAIT) == (ssize_t)sizeof order)
        if (order.kind == LIVE_ORDER_VERIFY)
            child_verify(child, cloud, now_us);
        else if (order.kind == LIVE_ORDER_RESTART)
            cloud_serve_restart(cloud, order.action.duration_us, strcmp(order.action.option, "lose sessions") != 0);
        else if (order.kind == LIVE_ORDER_KNOW)
            child_knows(cloud, now_us, &order);
        else if (order.kind == LIVE_ORDER_REDIRECT || order.kind == LIVE_ORDER_FORGET)
            child_sends_away(child, cloud, now_us, &order);
        else if (order.kind == LIVE_ORDER_EXECUTE)
            live_child_execute(cloud, now_us, &order.execution);
        else if (order.kind >= LIVE_ORDER_HOME)
            live_region_child_order(child, cloud, now_us, &order);
        else
            live_child_order(child, cloud, now_us, &order);
}

/* ---- in the fleet's process ---------------------------------------------------------------------------------------------- */

bool live_child_connect(struct live_broker *broker)
{
    int pair[2], size = NEWS_BUFFER;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
        return false;
    setsockopt(pair[1], SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    broker->news_fd = pair[0];
    broker->child.fd = pair[1];
    return true;
}

static void heard(struct live_world *world, const struct news *news)
{
    int64_t at_us = news->at_us - world->start_us;
    if (news->kind == NEWS_FLAW) {
        fleet_identity_flaw(&world->fleet, news->counter, span_text(news->thing), at_us);
        return;
    }
    struct cloud_life_event event = {.kind = news->event,
                                     .state = news->state,
                                     .thing = span_text(news->thing),
                                     .detail = span_text(news->detail),
                                     .since_us = news->since_us - world->start_us};
    fleet_identity_event(&world->fleet, at_us > 0 ? at_us : 0, &event);
}

/* false: nothing there. */
static bool hear(struct live_world *world, struct live_broker *broker, bool *verified)
{
    struct news news;
    if (recv(broker->news_fd, &news, sizeof news, MSG_DONTWAIT) != (ssize_t)sizeof news)
        return false;
    if (news.kind == NEWS_VERIFIED)
        *verified = true;
    else
        heard(world, &news);
    return true;
}

static void on_news(struct ev_loop *loop, ev_io *watcher, int events)
{
    struct live_broker *broker = watcher->data;
    bool ignored;
    live_tick(broker->news_world);
    while (hear(broker->news_world, broker, &ignored))
        ;
}

bool live_tell_cloud(const struct live_broker *broker, const struct live_order *order)
{
    return send(broker->news_fd, order, sizeof *order, MSG_NOSIGNAL) == (ssize_t)sizeof *order;
}

bool live_tell_clouds(struct live_world *world, const struct live_order *order)
{
    bool good = true;
    for (uint32_t b = 0; b < world->broker_count; b++)
        if (world->brokers[b].news_fd >= 0)
            good &= send(world->brokers[b].news_fd, order, sizeof *order, MSG_NOSIGNAL) == (ssize_t)sizeof *order;
        else if (world->brokers[b].plain)
            live_plain_order(world->brokers[b].plain, order);
    return good;
}

static struct fleet_identity *live_find_identity(void *context, uint32_t vehicle)
{
    const struct live_world *world = context;
    if (!world->lives || vehicle % world->ranks != world->rank)
        return NULL;
    return &world->lives[vehicle / world->ranks].fleet;
}

bool live_identity_start(struct live_world *world)
{
    if (!world->scenario->cloud.lifecycle.on)
        return true;
    world->lives = calloc((size_t)world->count + 1, sizeof *world->lives);
    world->claim_certificate_length = sizeof world->claim_certificate;
    world->claim_key_length = sizeof world->claim_key;
    int64_t now_s = world->fleet.wall_offset_us / US_PER_S;
    if (!world->lives)
        return live_fail(world, "out of memory");
    for (uint32_t v = 0; v < world->count; v++)
        fleet_identity_init(&world->lives[v].fleet);
    if (world->pki && !cloud_pki_make(world->pki, CLOUD_CA_CLAIM, "production-lot-1", now_s - 86400, CLAIM_LIFETIME_S,
                                      world->claim_certificate, &world->claim_certificate_length, world->claim_key,
                                      &world->claim_key_length))
        return live_fail(world, "cannot make the claim certificate");
    world->fleet.find_identity = live_find_identity;
    world->fleet.find_context = world;
    for (uint32_t b = 0; b < world->broker_count; b++) {
        struct live_broker *broker = &world->brokers[b];
        if (broker->news_fd < 0)
            continue;
        broker->news_world = world;
        ev_io_init(&broker->news, on_news, broker->news_fd, EV_READ);
        ev_set_priority(&broker->news, EV_MAXPRI); /* what happened in the cloud before what vehicles heard of it */
        broker->news.data = broker;
        ev_io_start(world->loop, &broker->news);
    }
    return true;
}

static bool ask_for_flaws(struct live_world *world, struct live_broker *broker)
{
    bool verified = false;
    while (!verified) {
        struct pollfd waiting = {.fd = broker->news_fd, .events = POLLIN};
        int ready = poll(&waiting, 1, VERIFY_TIMEOUT_MS);
        if (ready < 0 && errno == EINTR)
            continue;
        if (ready <= 0 || !hear(world, broker, &verified))
            return false;
    }
    return true;
}

/* Once the run is over and everybody is still connected. */
void live_identity_verify(struct live_world *world)
{
    struct live_order order = {.kind = LIVE_ORDER_VERIFY};
    if (!world->lives)
        return;
    for (uint32_t b = 0; b < world->broker_count; b++)
        if (world->brokers[b].plain)
            live_plain_verify(world->brokers[b].plain);
    if (!world->brokers[0].embedded)
        return;
    bool good = live_tell_clouds(world, &order);
    for (uint32_t b = 0; b < world->broker_count; b++)
        if (world->brokers[b].news_fd >= 0)
            good = good && ask_for_flaws(world, &world->brokers[b]);
    if (!good)
        live_fail(world, "a cloud does not say what it knows of identities");
}

void live_identity_stop(struct live_world *world)
{
    for (uint32_t b = 0; b < world->broker_count; b++) {
        struct live_broker *broker = &world->brokers[b];
        if (broker->news_world)
            ev_io_stop(world->loop, &broker->news);
        broker->news_world = NULL;
    }
    for (uint32_t v = 0; world->lives && v < world->count; v++) {
        free(world->lives[v].removed_certificate);
        free(world->lives[v].removed_key);
    }
    live_knock_forget(world);
    free(world->lives);
    world->lives = NULL;
}

/* ---- the vehicle ---------------------------------------------------------------------------------------------------------- */

struct live_identity *live_identity_of(const struct live_vehicle *vehicle)
{
    const struct live_world *world = vehicle->world;
    return world->lives ? &world->lives[live_place(vehicle)] : NULL;
}

bool live_dead(const struct live_vehicle *vehicle)
{
    const struct live_identity *identity = live_identity_of(vehicle);
    return identity && (identity->fleet.dead || identity->fleet.off);
}

size_t live_device(const struct live_vehicle *vehicle, char *out, size_t capacity)
{
    const struct live_world *world = vehicle->world;
    const struct live_identity *identity = live_identity_of(vehicle);
    uint32_t instances = world->ranks * world->broker_count;
    if (!identity)
        return 0;
    return fleet_device_name(world->scenario, vehicle->index, fleet_neighbour(vehicle->index, instances),
                             identity->fleet.device, out, capacity);
}

/* A thief has what its victim shows, from the moment there is anything to be had. */
static bool loot(struct live_vehicle *thief, struct live_shown *shown)
{
    struct live_world *world = thief->world;
    uint32_t of = fleet_victim(world->scenario, thief->index, world->ranks * world->broker_count);
    const struct live_vehicle *victim = &world->vehicles[of / world->ranks];
    const struct live_identity *identity = live_identity_of(victim);
    bool old = world->scenario->cohorts[thief->trace.cohort].steals_old;
    if (!thief->stored_length[TCU_STORE_OPERATIONAL_CERTIFICATE] && victim != thief) {
        bool second = victim->shown == TCU_OPERATIONAL_SECOND;
        int certificate = second ? TCU_STORE_SECOND_CERTIFICATE : TCU_STORE_OPERATIONAL_CERTIFICATE;
        int key = second ? TCU_STORE_SECOND_KEY : TCU_STORE_OPERATIONAL_KEY;
        struct span from = old ? span_of(identity->removed_certificate, identity->removed_certificate_length)
                               : span_of(victim->stored[certificate], victim->stored_length[certificate]);
        struct span from_key = old ? span_of(identity->removed_key, identity->removed_key_length)
                                   : span_of(victim->stored[key], victim->stored_length[key]);
        if (!from.length || !from_key.length || !live_store(thief, TCU_STORE_OPERATIONAL_CERTIFICATE, from) ||
            !live_store(thief, TCU_STORE_OPERATIONAL_KEY, from_key))
            return false;
    }
    shown->certificate = span_of(thief->stored[TCU_STORE_OPERATIONAL_CERTIFICATE],
                                 thief->stored_length[TCU_STORE_OPERATIONAL_CERTIFICATE]);
    shown->key = span_of(thief->stored[TCU_STORE_OPERATIONAL_KEY], thief->stored_length[TCU_STORE_OPERATIONAL_KEY]);
    return true;
}

bool live_shown(struct live_vehicle *vehicle, struct live_shown *shown)
{
    struct live_world *world = vehicle->world;
    bool second = vehicle->shown == TCU_OPERATIONAL_SECOND;
    if (world->lives && world->scenario->cohorts[vehicle->trace.cohort].steals != MEASURE_ANY)
        return loot(vehicle, shown) && shown->certificate.length && shown->key.length;
    int certificate = second ? TCU_STORE_SECOND_CERTIFICATE : TCU_STORE_OPERATIONAL_CERTIFICATE;
    int key = second ? TCU_STORE_SECOND_KEY : TCU_STORE_OPERATIONAL_KEY;
    shown->certificate = span_of(vehicle->stored[certificate], vehicle->stored_length[certificate]);
    shown->key = span_of(vehicle->stored[key], vehicle->stored_length[key]);
    if (vehicle->shown == TCU_CLAIM) {
        shown->certificate = span_of(world->claim_certificate, world->claim_certificate_length);
        shown->key = span_of(world->claim_key, world->claim_key_length);
    }
    return shown->certificate.length && shown->key.length;
}

/* ---- power ------------------------------------------------------------------------------------------------------------------ */

void live_forget_executions(struct live_vehicle *vehicle)
{
    struct live_step **place = &vehicle->steps;
    while (*place) {
        struct live_step *step = *place;
        if (step->kind != LIVE_EXECUTED) {
            place = &step->next;
            continue;
        }
        *place = step->next;
        free(step);
    }
}

static void power_cut(struct live_vehicle *vehicle, int64_t lasts_us)
{
    struct live_world *world = vehicle->world;
    struct live_identity *identity = live_identity_of(vehicle);
    if (identity->fleet.off)
        return;
    identity->fleet.dead = false;
    live_link_close(vehicle, true);
    tcu_power_cut(vehicle->tcu);
    identity->fleet.off = true;
    identity->fleet.cut_writes = 0;
    fleet_power_lost(&world->fleet, vehicle->index, &vehicle->trace, world->now_us);
    vehicle->requests++;
    live_forget_executions(vehicle);
    if (lasts_us != TIME_NEVER)
        live_schedule(vehicle, LIVE_POWER_BACK, world->now_us + lasts_us, 0);
}

void live_power_died(struct live_vehicle *vehicle)
{
    struct live_identity *identity = live_identity_of(vehicle);
    if (identity && identity->fleet.dead)
        power_cut(vehicle, identity->fleet.cut_lasts_us);
}

void live_power_back(struct live_vehicle *vehicle)
{
    struct live_world *world = vehicle->world;
    struct live_identity *identity = live_identity_of(vehicle);
    if (!identity->fleet.off || identity->fleet.gone || world->draining)
        return;
    identity->fleet.off = false;
    if (identity->fleet.swapped_us == TIME_NEVER) {
        identity->fleet.swapped_us = vehicle->trace.power_up_us = world->now_us;
        vehicle->trace.key_us = vehicle->trace.since_us = -1;
        vehicle->trace.provisioned = false;
    }
    tcu_start(vehicle->tcu, world->now_us, vehicle->day.driving ? TCU_DRIVING : TCU_PARKED);
}

/* true: write it. The power may go with it: then the link is cut at once, and the rest follows when the agent has returned. */
bool live_identity_write(struct live_vehicle *vehicle)
{
    struct live_identity *identity = live_identity_of(vehicle);
    bool was_dead = identity && identity->fleet.dead;
    enum fleet_write write = identity ? fleet_identity_write(&identity->fleet) : FLEET_WRITE;
    if (identity && identity->fleet.dead && !was_dead) {
        live_link_close(vehicle, true);
        live_schedule(vehicle, LIVE_POWER_DIED, vehicle->world->now_us, 0);
    }
    return write != FLEET_WRITE_NEVER;
}

/* ---- what is done to vehicles ------------------------------------------------------------------------------------------------ */

void live_identity_replaced(struct live_vehicle *vehicle, enum tcu_store_item item)
{
    bool second = item == TCU_STORE_SECOND_CERTIFICATE || item == TCU_STORE_SECOND_KEY;
    int certificate = second ? TCU_STORE_SECOND_CERTIFICATE : TCU_STORE_OPERATIONAL_CERTIFICATE;
    int key = second ? TCU_STORE_SECOND_KEY : TCU_STORE_OPERATIONAL_KEY;
    live_knock_keep(vehicle, span_of(vehicle->stored[certificate], vehicle->stored_length[certificate]),
                    span_of(vehicle->stored[key], vehicle->stored_length[key]));
}

/* told: the cloud knows that this TCU is out. */
static void empty_store(struct live_vehicle *vehicle, bool told)
{
    struct live_identity *identity = live_identity_of(vehicle);
    struct live_shown shown = {0};
    if (live_shown(vehicle, &shown)) {
        free(identity->removed_certificate);
        free(identity->removed_key);
        identity->removed_certificate = malloc(shown.certificate.length);
        identity->removed_key = malloc(shown.key.length);
        bool room = identity->removed_certificate && identity->removed_key;
        identity->removed_certificate_length = room ? (uint16_t)shown.certificate.length : 0;
        identity->removed_key_length = room ? (uint16_t)shown.key.length : 0;
        if (room) {
            memcpy(identity->removed_certificate, shown.certificate.data, shown.certificate.length);
            memcpy(identity->removed_key, shown.key.data, shown.key.length);
        }
    }
    if (told) {
        live_identity_replaced(vehicle, TCU_STORE_OPERATIONAL_CERTIFICATE);
        live_identity_replaced(vehicle, TCU_STORE_SECOND_CERTIFICATE);
    }
    for (int item = 0; item < TCU_STORE_ITEMS; item++)
        vehicle->stored_length[item] = 0;
}

static void swap(struct live_vehicle *vehicle, const struct world_action *action)
{
    struct live_identity *identity = live_identity_of(vehicle);
    bool out = strcmp(action->option, "taken out") == 0;
    if (identity->fleet.gone)
        return;
    identity->fleet.swapped_us = TIME_NEVER;
    identity->fleet.gone = out;
    identity->fleet.decided_us = identity->fleet.owner_us = -1;
    power_cut(vehicle, out ? TIME_NEVER : action->duration_us > 0 ? action->duration_us : WORKSHOP_US);
    empty_store(vehicle, strcmp(action->option, "unregistered") != 0);
    identity->fleet.device++;
}

static void act_on(struct live_vehicle *vehicle, const struct world_action *action)
{
    struct live_identity *identity = live_identity_of(vehicle);
    if (action->kind == ACTION_SWAP)
        swap(vehicle, action);
    else if (action->kind == ACTION_POWER_CUT && action->store_write)
        fleet_identity_arm(&identity->fleet, vehicle->index, action);
    else if (action->kind == ACTION_POWER_CUT)
        power_cut(vehicle, action->duration_us);
}

const char *live_identity_refusal(const struct live_world *world, const struct world_action *action)
{
    if (action->kind < ACTION_ROTATE)
        return NULL;
    if (!world->lives)
        return "nobody looks after identities here; write lifecycle { }";
    if (world->hooked)
        return "on_event may only send a command";
    if (!world->brokers[0].embedded && !world->brokers[0].plain && action->kind != ACTION_POWER_CUT)
        return "nobody looks after identities on this broker";
    return NULL;
}

/* Vehicles concerned, in all processes: each acts on its own, the count follows from the scenario. */
int64_t live_identity_act(struct live_world *world, const struct world_action *action)
{
    struct live_order order = {.kind = LIVE_ORDER_ACT,
                               .due_us = world->acting_us,
                               .speedup = world->fleet.speedup,
                               .stretch = world->stretch,
                               .action = *action};
    int64_t touched = 0;
    if (action->kind != ACTION_POWER_CUT && !live_tell_clouds(world, &order))
        live_fail(world, "a cloud does not take orders any more");
    if (action->kind == ACTION_AUDIT)
        return 0; /* found out there */
    for (uint32_t v = 0; v < world->scenario->fleet; v++) {
        if (!fleet_has_own_identity(world->scenario, v) || !chosen(world->scenario, v, action) ||
            !powered(world->scenario, &order, v))
            continue;
        touched++;
        struct live_vehicle *vehicle = &world->vehicles[v / world->ranks];
        if (v % world->ranks == world->rank && vehicle->trace.power_up_us >= 0)
            act_on(vehicle, action);
    }
    return touched;
}
