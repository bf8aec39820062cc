/* live_plain.c: the lives of identities on somebody else's broker: the same service as in our own cloud, in this process, as one more client of that broker.
 *
 * Under the run's prefix it hears of jobs and provisioning what vehicles ask, and answers them there. The broker's door is not ours: what depends on it
 * (who is let in, cut off or heard) is not available and is not judged.
 */
#include "live.h"

#include <stdlib.h>

#define PLAIN_HANDLERS 8

struct live_plain {
    struct cloud_bus
        bus; /* the service's: with this moment as the time, which goes on whatever waited how long in Paho's line */
    struct cloud_bus *remote; /* borrowed */
    struct live_handled {
        struct live_plain *plain;
        cloud_bus_handler *handler;
        void *context;
    } handlers[PLAIN_HANDLERS];
    uint32_t handler_count;
    struct live_world *world;
    struct live_child *child;
    struct cloud cloud; /* without a broker: registry, hierarchy, life cycle */
    char reserved[64], events[64];
};

/* ---- the bus ----------------------------------------------------------------------------------------------------------- */

static void on_message(void *context, int64_t now_us, const struct mq5_publish *message)
{
    const struct live_handled *handled = context;
    handled->handler(handled->context, live_clock(), message);
}

static uint8_t plain_subscribe(struct cloud_bus *bus, int64_t now_us, struct span filter, uint8_t qos,
                               cloud_bus_handler *handler, void *context)
{
    struct live_plain *plain = (struct live_plain *)bus;
    if (plain->handler_count == PLAIN_HANDLERS)
        return MQ5_QUOTA_EXCEEDED;
    struct live_handled *mine = &plain->handlers[plain->handler_count++];
    *mine = (struct live_handled){plain, handler, context};
    return plain->remote->ops->subscribe(plain->remote, live_clock(), filter, qos, on_message, mine);
}

static uint8_t plain_publish(struct cloud_bus *bus, int64_t now_us, const struct mq5_publish *message)
{
    struct live_plain *plain = (struct live_plain *)bus;
    return plain->remote->ops->publish(plain->remote, now_us, message);
}

static void plain_close(struct cloud_bus *bus)
{
}

static const struct cloud_bus_ops bus_ops = {plain_subscribe, plain_publish, plain_close};

/* ---- life -------------------------------------------------------------------------------------------------------------- */

const char *live_plain_objection(const struct live_world *world)
{
    if (!world->scenario->cloud.lifecycle.on)
        return "the scenario has no lifecycle { }";
    for (uint32_t b = 0; b < world->broker_count; b++) {
        if (!world->brokers[b].doors[IDENTITY_CERTIFICATE].offered)
            return "a clear listener takes no certificates";
        if (world->brokers[b].sharers > 1)
            return "several processes share a broker, and each would answer for all vehicles; give each a --broker, or "
                   "leave -j out";
    }
    return NULL;
}

static void on_event(void *context, int64_t now_us, const struct cloud_life_event *event)
{
    const struct live_plain *plain = context;
    struct live_world *world = plain->world;
    struct cloud_life_event mine = *event;
    int64_t at_us = now_us - world->start_us;
    mine.since_us -= world->start_us;
    fleet_identity_event(&world->fleet, at_us > 0 ? at_us : 0, &mine);
}

static bool open_registry(struct live_plain *plain)
{
    char error[200] = "";
    plain->cloud.pki = plain->world->pki;
    plain->cloud.registry = cloud_registry_open(NULL, error, sizeof error);
    return plain->cloud.registry || live_fail(plain->world, "%s", error);
}

static bool open_lifecycle(struct live_plain *plain)
{
    struct live_world *world = plain->world;
    char error[200] = "";
    snprintf(plain->reserved, sizeof plain->reserved, "%s", world->fleet.reserved);
    snprintf(plain->events, sizeof plain->events, "%sevents", world->topic_prefix);
    struct cloud_lifecycle_parts parts = {.bus = &plain->bus,
                                          .registry = plain->cloud.registry,
                                          .pki = world->pki,
                                          .prefix = plain->reserved,
                                          .event_prefix = plain->events,
                                          .topics = world->topic_prefix};
    plain->cloud.lifecycle = cloud_lifecycle_create(&plain->child->options, &parts, error, sizeof error);
    if (!plain->cloud.lifecycle)
        return live_fail(world, "%s", error);
    return live_child_build(plain->child, &plain->cloud, live_clock()) || live_fail(world, "out of memory");
}

bool live_plain_start(struct live_world *world, struct live_broker *broker, struct cloud_bus *remote)
{
    struct live_plain *plain = calloc(1, sizeof *plain);
    if (!plain)
        return live_fail(world, "out of memory");
    broker->plain = plain;
    plain->bus.ops = &bus_ops;
    plain->remote = remote;
    plain->world = world;
    plain->child = &broker->child;
    live_child_prepare(world, broker, on_event, plain);
    return open_registry(plain) && open_lifecycle(plain);
}

void live_plain_stop(struct live_broker *broker)
{
    struct live_plain *plain = broker->plain;
    uint64_t things = 0, certificates, active = 0;
    if (!plain)
        return;
    broker->plain = NULL;
    cloud_lifecycle_destroy(plain->cloud.lifecycle);
    if (plain->cloud.registry) {
        cloud_registry_counts(plain->cloud.registry, &things, &certificates, &active);
        cloud_registry_close(plain->cloud.registry);
    }
    plain->world->result->registered_things += things;
    plain->world->result->active_certificates += active;
    free(plain->child->devices);
    plain->child->devices = NULL;
    free(plain);
}

void live_plain_certificate(struct live_vehicle *vehicle, struct span certificate)
{
    struct live_world *world = vehicle->world;
    struct live_plain *plain = world->brokers[vehicle->broker].plain;
    struct cloud_certificate read;
    char name[64], hex[65];
    if (!plain || !cloud_pki_read(world->pki, certificate, &read))
        return;
    int64_t now_s = (plain->child->epoch_us + live_clock()) / US_PER_S;
    struct span thing = tcu_name(vehicle->tcu);
    snprintf(name, sizeof name, "%.*s", (int)thing.length, (const char *)thing.data);
    for (int i = 0; i < 32; i++)
        snprintf(hex + 2 * i, 3, "%02x", read.id[i]);
    if (!cloud_registry_put_thing(plain->cloud.registry, name, now_s) ||
        !cloud_registry_put_certificate(plain->cloud.registry, &read, CLOUD_CERTIFICATE_ACTIVE, name, now_s))
        world->out_of_memory = true;
    cloud_vehicles_note(cloud_lifecycle_vehicles(plain->cloud.lifecycle), now_s, thing, CLOUD_CHANGE_PROVISIONED,
                        span_of(hex, 64));
}

/* ---- time, orders, the end ---------------------------------------------------------------------------------------------- */

void live_plain_touched(struct live_world *world)
{
    int64_t next_us = TIME_NEVER;
    for (uint32_t b = 0; b < world->broker_count; b++) {
        const struct live_plain *plain = world->brokers[b].plain;
        int64_t at_us = plain ? cloud_lifecycle_next_deadline(plain->cloud.lifecycle) : TIME_NEVER;
        next_us = at_us < next_us ? at_us : next_us;
    }
    if (next_us != TIME_NEVER)
        next_us = next_us - world->start_us > world->now_us ? next_us - world->start_us : world->now_us;
    if (world->queue && !sim_deadline_set(world->queue, &world->identity_deadline, next_us, 0, LIVE_IDENTITY))
        world->out_of_memory = true;
}

void live_plain_due(struct live_world *world)
{
    for (uint32_t b = 0; b < world->broker_count; b++)
        if (world->brokers[b].plain)
            cloud_lifecycle_tick(world->brokers[b].plain->cloud.lifecycle, live_clock());
    live_plain_touched(world);
}

void live_plain_order(struct live_plain *plain, const struct live_order *order)
{
    live_child_order(plain->child, &plain->cloud, live_clock(), order);
    live_plain_touched(plain->world);
}

static void on_flaw(void *context, enum counter counter, struct span thing)
{
    struct live_world *world = context;
    fleet_identity_flaw(&world->fleet, counter, thing, world->now_us);
}

void live_plain_verify(struct live_plain *plain)
{
    live_child_verify(plain->child, &plain->cloud, live_clock(), on_flaw, plain->world);
}
