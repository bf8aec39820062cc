/* bus_local.c: a bus attached in-process to the embedded broker: no bytes, handlers run at once. */
#include "cloud/bus.h"

#include "memory.h"
#include "mqtt5/topic.h"

struct local_handler {
    struct local_handler *next;
    cloud_bus_handler *handler;
    void *context;
    uint32_t length;
    uint8_t filter[]; /* without "$share/name/" */
};

struct local_bus {
    struct cloud_bus bus;
    struct cloud_local *local;
    struct local_handler *handlers;
};

static struct local_bus *local_of(struct cloud_bus *bus)
{
    return (struct local_bus *)bus;
}

static void deliver(void *context, int64_t now_us, const struct mq5_publish *message)
{
    struct local_bus *local = context;
    struct local_handler *only = local->handlers;
    if (only && !only->next) { /* one subscription, never taken back: it is the one that matched */
        only->handler(only->context, now_us, message);
        return;
    }
    for (struct local_handler *h = local->handlers, *next; h; h = next) {
        next = h->next;
        if (mq5_topic_matches(span_of(h->filter, h->length), message->topic))
            h->handler(h->context, now_us, message);
    }
}

static uint8_t local_subscribe(struct cloud_bus *bus, int64_t now_us, struct span filter, uint8_t qos,
                               cloud_bus_handler *handler, void *context)
{
    struct local_bus *local = local_of(bus);
    struct span share, rest = filter;
    mq5_topic_share_split(filter, &share, &rest);
    struct local_handler *entry = memory_allocate(sizeof *entry + rest.length);
    if (!entry)
        return MQ5_QUOTA_EXCEEDED;
    *entry = (struct local_handler){.handler = handler, .context = context, .length = rest.length};
    memcpy(entry->filter, rest.data, rest.length);
    struct local_handler **end = &local->handlers;
    while (*end)
        end = &(*end)->next;
    *end = entry; /* before subscribing: retained messages come at once */
    uint8_t reason = cloud_local_subscribe(local->local, now_us, filter, qos);
    if (reason >= 0x80) {
        *end = NULL;
        memory_free(entry);
    }
    return reason;
}

static uint8_t local_publish(struct cloud_bus *bus, int64_t now_us, const struct mq5_publish *message)
{
    return cloud_local_publish(local_of(bus)->local, now_us, message);
}

static void local_close(struct cloud_bus *bus)
{
    struct local_bus *local = local_of(bus);
    cloud_local_detach(local->local);
    while (local->handlers) {
        struct local_handler *entry = local->handlers;
        local->handlers = entry->next;
        memory_free(entry);
    }
    memory_free(local);
}

static const struct cloud_bus_ops local_ops = {local_subscribe, local_publish, local_close};

struct cloud_bus *cloud_bus_local(struct cloud_broker *broker, struct span client_id)
{
    struct local_bus *local = memory_allocate_zero(1, sizeof *local);
    if (!local)
        return NULL;
    local->bus.ops = &local_ops;
    local->local = cloud_broker_attach(broker, client_id, deliver, local);
    if (!local->local) {
        memory_free(local);
        return NULL;
    }
    return &local->bus;
}
