/* fleet_regions_bus.c: see fleet_regions_bus.h. */
#include "fleet_regions_bus.h"

#include <stdio.h>

struct listener {
    struct listener *next;
    struct fleet_regions_bus *bus;
    cloud_bus_handler *handler;
    void *context;
    uint8_t region;
};

struct fleet_regions_bus {
    struct cloud_bus bus;
    struct fleet_regions_bus_options options;
    struct listener *listeners;
};

static bool place_of(const struct fleet_regions_bus *bus, struct span name, uint32_t *place)
{
    const struct fleet_regions_bus_options *options = &bus->options;
    uint32_t vehicle;
    if (!scenario_vehicle_find(options->fleet->scenario, name, &vehicle) || vehicle % options->parts != options->part)
        return false;
    *place = vehicle / options->parts;
    return true;
}

/* The first level of the topic that names a vehicle of this part. */
static struct fleet_seen *seen_in(const struct fleet_regions_bus *bus, struct span topic, uint32_t *place)
{
    uint32_t from = 0;
    for (uint32_t i = 0; i <= topic.length; i++) {
        if (i < topic.length && topic.data[i] != '/')
            continue;
        if (place_of(bus, span_of(topic.data + from, i - from), place))
            return bus->options.seen(bus->options.world, *place);
        from = i + 1;
    }
    return NULL;
}

/* ---- presence -------------------------------------------------------------------------------------------------------------- */

enum presence { NO_PRESENCE, PRESENCE_UP, PRESENCE_DOWN };

/* Lifecycle events, or what wills keep retained. */
static enum presence presence_in(const struct fleet *fleet, const struct mq5_publish *message)
{
    static const char up[] = "/presence/connected/", down[] = "/presence/disconnected/";
    struct span topic = message->topic;
    if (fleet->topic_presence[0]) {
        size_t before = (size_t)(strchr(fleet->topic_presence, '%') - fleet->topic_presence);
        if (topic.length <= before || memcmp(topic.data, fleet->topic_presence, before) != 0)
            return NO_PRESENCE;
        if (span_equal(message->payload, SPAN_LITERAL("online")))
            return PRESENCE_UP;
        return span_equal(message->payload, SPAN_LITERAL("offline")) ? PRESENCE_DOWN : NO_PRESENCE;
    }
    for (uint32_t i = 0; i < topic.length; i++) {
        size_t left = topic.length - i;
        if (left >= sizeof up - 1 && memcmp(topic.data + i, up, sizeof up - 1) == 0)
            return PRESENCE_UP;
        if (left >= sizeof down - 1 && memcmp(topic.data + i, down, sizeof down - 1) == 0)
            return PRESENCE_DOWN;
    }
    return NO_PRESENCE;
}

static void tell_presence(const struct listener *listener, int64_t now_us, const struct mq5_publish *message,
                          enum presence presence)
{
    const struct fleet *fleet = listener->bus->options.fleet;
    uint32_t place;
    struct fleet_seen *seen = seen_in(listener->bus, message->topic, &place);
    if (!seen)
        return;
    bool changed = presence == PRESENCE_UP && seen->served_by != listener->region && seen->served_by != CLOUD_NO_REGION;
    if (presence == PRESENCE_UP) {
        seen->served_by = listener->region;
        seen->version++;
    } else if (seen->served_by != listener->region) {
        return;
    }
    char payload[96];
    int64_t wall_ms = (fleet->wall_offset_us + now_us) / US_PER_MS;
    int length = snprintf(payload, sizeof payload, "{\"timestamp\":%lld,\"versionNumber\":%u}", (long long)wall_ms,
                          seen->version);
    struct mq5_publish merged = *message;
    if (!fleet->topic_presence[0])
        merged.payload = span_of(payload, (size_t)length);
    listener->handler(listener->context, now_us, &merged);
    if (changed)
        listener->bus->options.changed(listener->bus->options.world, place, now_us);
}

static void heard(void *context, int64_t now_us, const struct mq5_publish *message)
{
    const struct listener *listener = context;
    enum presence presence = presence_in(listener->bus->options.fleet, message);
    if (presence != NO_PRESENCE)
        tell_presence(listener, now_us, message, presence);
    else
        listener->handler(listener->context, now_us, message);
}

/* ---- the bus ----------------------------------------------------------------------------------------------------------------- */

static uint8_t subscribe(struct cloud_bus *handle, int64_t now_us, struct span filter, uint8_t qos,
                         cloud_bus_handler *handler, void *context)
{
    struct fleet_regions_bus *bus = (struct fleet_regions_bus *)handle;
    uint8_t reason = MQ5_UNSPECIFIED_ERROR;
    for (uint8_t r = 0; r < bus->options.count; r++) {
        struct listener *listener = memory_allocate(sizeof *listener);
        if (!listener)
            return MQ5_QUOTA_EXCEEDED;
        *listener = (struct listener){bus->listeners, bus, handler, context, r};
        bus->listeners = listener;
        reason = bus->options.brokers[r]->ops->subscribe(bus->options.brokers[r], now_us, filter, qos, heard, listener);
        if (reason >= 0x80)
            return reason;
    }
    return reason;
}

static uint8_t publish(struct cloud_bus *handle, int64_t now_us, const struct mq5_publish *message)
{
    struct fleet_regions_bus *bus = (struct fleet_regions_bus *)handle;
    uint32_t place;
    const struct fleet_seen *seen = seen_in(bus, message->topic, &place);
    uint8_t region = 0;
    if (seen)
        region = seen->served_by != CLOUD_NO_REGION ? seen->served_by : bus->options.home(bus->options.world, place);
    return bus->options.brokers[region]->ops->publish(bus->options.brokers[region], now_us, message);
}

static void close_bus(struct cloud_bus *handle)
{
    struct fleet_regions_bus *bus = (struct fleet_regions_bus *)handle;
    for (uint32_t r = 0; bus->options.owned && r < bus->options.count; r++)
        bus->options.brokers[r]->ops->close(bus->options.brokers[r]);
    while (bus->listeners) {
        struct listener *listener = bus->listeners;
        bus->listeners = listener->next;
        memory_free(listener);
    }
    memory_free(bus);
}

struct cloud_bus *fleet_regions_bus(const struct fleet_regions_bus_options *options)
{
    static const struct cloud_bus_ops ops = {subscribe, publish, close_bus};
    struct fleet_regions_bus *bus = memory_allocate_zero(1, sizeof *bus);
    if (!bus)
        return NULL;
    bus->bus.ops = &ops;
    bus->options = *options;
    return &bus->bus;
}
