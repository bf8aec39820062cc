/* virtual_regions_bus.c: how a service of all regions speaks to their brokers: it listens at all of them, and what it sends goes to the one that serves the
 * vehicle. Each broker tells presence of its own; from these the bus makes one series of events a vehicle: a region's "disconnected" is none
 * when another region has seen the vehicle connect since.
 */
#include "virtual_regions.h"

#include <stdio.h>

struct listener {
    struct listener *next;
    struct regions_bus *bus;
    cloud_bus_handler *handler;
    void *context;
    uint8_t region;
};

struct regions_bus {
    struct cloud_bus bus;
    struct virtual_regions *regions;
    struct listener *listeners;
    struct cloud_bus *brokers[SCENARIO_REGIONS];
};

static struct virtual_vehicle *vehicle_named(const struct regions_bus *bus, struct span name)
{
    const struct partition *partition = bus->regions->partition;
    uint32_t vehicle, partitions = partition->world->partition_count;
    if (!scenario_vehicle_find(partition->world->scenario, name, &vehicle) || vehicle % partitions != partition->number)
        return NULL;
    return partition_vehicle(partition, vehicle / partitions);
}

/* The first level of the topic that names a vehicle of this partition. */
static struct virtual_vehicle *vehicle_in(const struct regions_bus *bus, struct span topic)
{
    uint32_t from = 0;
    for (uint32_t i = 0; i <= topic.length; i++) {
        if (i < topic.length && topic.data[i] != '/')
            continue;
        struct virtual_vehicle *vehicle = vehicle_named(bus, span_of(topic.data + from, i - from));
        if (vehicle)
            return vehicle;
        from = i + 1;
    }
    return NULL;
}

/* ---- presence -------------------------------------------------------------------------------------------------------------- */

static bool is_presence(struct span topic, bool *connected)
{
    static const char up[] = "/presence/connected/", down[] = "/presence/disconnected/";
    for (uint32_t i = 0; i < topic.length; i++) {
        size_t left = topic.length - i;
        *connected = left >= sizeof up - 1 && memcmp(topic.data + i, up, sizeof up - 1) == 0;
        if (*connected || (left >= sizeof down - 1 && memcmp(topic.data + i, down, sizeof down - 1) == 0))
            return true;
    }
    return false;
}

static void tell_presence(const struct listener *listener, int64_t now_us, const struct mq5_publish *message,
                          bool connected)
{
    const struct virtual_regions *regions = listener->bus->regions;
    struct virtual_vehicle *vehicle = vehicle_in(listener->bus, message->topic);
    if (!vehicle)
        return;
    struct region_whereabouts *where = vehicle_whereabouts(vehicle);
    if (connected) {
        where->served_by = listener->region;
        where->version++;
    } else if (where->served_by != listener->region) {
        return;
    }
    char payload[96];
    int64_t wall_ms = (regions->partition->world->fleet.wall_offset_us + now_us) / US_PER_MS;
    int length = snprintf(payload, sizeof payload, "{\"timestamp\":%lld,\"versionNumber\":%u}", (long long)wall_ms,
                          where->version);
    struct mq5_publish merged = *message;
    merged.payload = span_of(payload, (size_t)length);
    listener->handler(listener->context, now_us, &merged);
}

static void heard(void *context, int64_t now_us, const struct mq5_publish *message)
{
    const struct listener *listener = context;
    bool connected;
    if (is_presence(message->topic, &connected))
        tell_presence(listener, now_us, message, connected);
    else
        listener->handler(listener->context, now_us, message);
}

/* ---- the bus ----------------------------------------------------------------------------------------------------------------- */

static uint8_t subscribe(struct cloud_bus *handle, int64_t now_us, struct span filter, uint8_t qos,
                         cloud_bus_handler *handler, void *context)
{
    struct regions_bus *bus = (struct regions_bus *)handle;
    uint8_t reason = MQ5_UNSPECIFIED_ERROR;
    for (uint8_t r = 0; r < bus->regions->count; r++) {
        struct listener *listener = memory_allocate(sizeof *listener);
        if (!listener)
            return MQ5_QUOTA_EXCEEDED;
        *listener = (struct listener){bus->listeners, bus, handler, context, r};
        bus->listeners = listener;
        reason = bus->brokers[r]->ops->subscribe(bus->brokers[r], now_us, filter, qos, heard, listener);
        if (reason >= 0x80)
            return reason;
    }
    return reason;
}

static uint8_t publish(struct cloud_bus *handle, int64_t now_us, const struct mq5_publish *message)
{
    struct regions_bus *bus = (struct regions_bus *)handle;
    struct virtual_vehicle *vehicle = vehicle_in(bus, message->topic);
    const struct region_whereabouts *where = vehicle ? vehicle_whereabouts(vehicle) : NULL;
    uint8_t region = 0;
    if (where)
        region = where->served_by != CLOUD_NO_REGION ? where->served_by : where->home;
    return bus->brokers[region]->ops->publish(bus->brokers[region], now_us, message);
}

static void close_bus(struct cloud_bus *handle)
{
    struct regions_bus *bus = (struct regions_bus *)handle;
    for (uint32_t r = 0; r < bus->regions->count; r++)
        if (bus->brokers[r])
            bus->brokers[r]->ops->close(bus->brokers[r]);
    while (bus->listeners) {
        struct listener *listener = bus->listeners;
        bus->listeners = listener->next;
        memory_free(listener);
    }
    memory_free(bus);
}

struct cloud_bus *virtual_regions_bus(struct virtual_regions *regions, const char *client_id)
{
    static const struct cloud_bus_ops ops = {subscribe, publish, close_bus};
    struct regions_bus *bus = memory_allocate_zero(1, sizeof *bus);
    if (!bus)
        return NULL;
    bus->bus.ops = &ops;
    bus->regions = regions;
    for (uint32_t r = 0; r < regions->count; r++) {
        bus->brokers[r] = cloud_bus_local(regions->list[r].cloud->broker, span_text(client_id));
        if (!bus->brokers[r]) {
            close_bus(&bus->bus);
            return NULL;
        }
    }
    return &bus->bus;
}
