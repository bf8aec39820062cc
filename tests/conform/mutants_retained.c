/* mutants_retained.c: brokers that retain what they should not, or not what they should. */
#include "mutant.h"

static bool retain_flag(struct link *link, struct seen *seen)
{
    if (!is(seen, MQ5_PUBLISH))
        return true;
    seen->packet.publish.retain = mutant_of(link)->number;
    return edited(link, seen);
}

static bool first_one_stays(struct link *link, struct seen *seen)
{
    struct mq5_publish *publish = &seen->packet.publish;
    if (!is(seen, MQ5_PUBLISH) || !publish->retain || publish->payload.length == 0)
        return true;
    struct note *note = note_make(link->served, 'r', publish->topic);
    publish->retain = note->value++ == 0;
    return edited(link, seen);
}

static bool cannot_be_removed(struct link *link, struct seen *seen)
{
    if (!is(seen, MQ5_PUBLISH) || !seen->packet.publish.retain || seen->packet.publish.payload.length)
        return true;
    seen->packet.publish.retain = false;
    return edited(link, seen);
}

static bool removal_is_silent(struct link *link, struct seen *seen)
{
    return is(seen, MQ5_PUBLISH) && seen->packet.publish.payload.length == 0 ? swallow(link, seen) : true;
}

static bool note_empty(struct link *link, struct seen *seen)
{
    struct mq5_publish *publish = &seen->packet.publish;
    if (is(seen, MQ5_PUBLISH) && publish->retain)
        note_make(link->served, 'z', publish->topic)->value = publish->payload.length == 0;
    if (!is(seen, MQ5_SUBSCRIBE))
        return true;
    struct mq5_subscription *list = filters_of(link, seen);
    for (uint32_t i = 0; i < seen->packet.subscribe.count; i++) {
        struct note *note = note_find(link->served, 'z', list[i].filter);
        struct mq5_packet packet = {.type = MQ5_PUBLISH, .publish = {.retain = true, .topic = list[i].filter}};
        if (note && note->value)
            link->n[1] = 1, note_bytes(note_make(link->served, 'Z', id_key(link, 0)), encode(link, &packet, NULL));
    }
    return true;
}

static bool empty_is_stored(struct link *link, struct seen *seen)
{
    struct note *note = note_find(link->served, 'Z', id_key(link, 0));
    if (!is(seen, MQ5_SUBACK) || !link->n[1] || !note)
        return true;
    link->n[1] = 0;
    to_client_bytes(link, seen->bytes);
    to_client_bytes(link, note->bytes);
    return false;
}

static bool replaces_without_retain(struct link *link, struct seen *seen)
{
    struct mq5_publish *publish = &seen->packet.publish;
    if (!is(seen, MQ5_PUBLISH))
        return true;
    if (publish->retain) {
        note_make(link->served, 'r', publish->topic);
        return true;
    }
    publish->retain = note_find(link->served, 'r', publish->topic) != NULL;
    return edited(link, seen);
}

/* number: the handling that is changed, and what it becomes in the next bits. */
static bool handling(struct link *link, struct seen *seen)
{
    uint32_t number = mutant_of(link)->number;
    if (!is(seen, MQ5_SUBSCRIBE))
        return true;
    struct mq5_subscription *list = filters_of(link, seen);
    for (uint32_t i = 0; i < seen->packet.subscribe.count; i++)
        if (list[i].retain_handling == (number & 3))
            list[i].retain_handling = (uint8_t)(number >> 2);
    return edited(link, seen);
}

static bool as_published(struct link *link, struct seen *seen)
{
    if (!is(seen, MQ5_SUBSCRIBE))
        return true;
    struct mq5_subscription *list = filters_of(link, seen);
    for (uint32_t i = 0; i < seen->packet.subscribe.count; i++)
        list[i].retain_as_published = mutant_of(link)->number;
    return edited(link, seen);
}

/* The same filter again: nothing that is retained is sent. */
static bool replacing_sends_nothing(struct link *link, struct seen *seen)
{
    if (!is(seen, MQ5_SUBSCRIBE))
        return true;
    struct mq5_subscription *list = filters_of(link, seen);
    for (uint32_t i = 0; i < seen->packet.subscribe.count; i++)
        if (subscribed_find(link->served, link->login.client_id, list[i].filter))
            list[i].retain_handling = MQ5_RETAIN_DO_NOT_SEND;
    return edited(link, seen);
}

/* A shared subscription is sent what is retained. */
static bool shared_gets_retained(struct link *link, struct seen *seen)
{
    if (is(seen, MQ5_PUBLISH) && seen->packet.publish.retain && seen->packet.publish.topic.length)
        note_bytes(note_make(link->served, 'R', seen->packet.publish.topic), seen->packet.publish.payload);
    if (!is(seen, MQ5_SUBSCRIBE))
        return true;
    struct mq5_subscription *list = filters_of(link, seen);
    for (uint32_t i = 0; i < seen->packet.subscribe.count; i++) {
        struct span share, filter;
        if (!starts_with(list[i].filter, "$share/") || !mq5_topic_share_split(list[i].filter, &share, &filter))
            continue;
        struct note *note = note_find(link->served, 'R', filter);
        struct mq5_packet packet = {.type = MQ5_PUBLISH, .publish = {.retain = true, .topic = filter}};
        if (!note || note->bytes.length == 0)
            continue;
        packet.publish.payload = note->bytes;
        link->n[1] = 1;
        note_bytes(note_make(link->served, 'Z', id_key(link, 0)), encode(link, &packet, NULL));
    }
    return true;
}

#define HANDLING(from, to) .in = handling, .number = (from) | (to) << 2

MUTANT_TABLE(
    mutants_retained,
    {.name = "a retained message is not replaced", .statement = "MQTT-3.3.1-5", .in = first_one_stays},
    {.name = "a retained message cannot be removed", .statement = "MQTT-3.3.1-6", .in = cannot_be_removed},
    {.name = "what removes a retained message is not delivered", .statement = "MQTT-3.3.1-6", .out = removal_is_silent},
    {.name = "an empty retained message is stored",
     .statement = "MQTT-3.3.1-7",
     .in = note_empty,
     .out = empty_is_stored},
    {.name = "a message that is not retained replaces one that is",
     .statement = "MQTT-3.3.1-8",
     .in = replaces_without_retain},
    {.name = "every message is retained", .statement = "MQTT-3.3.1-8", .late = true, .in = retain_flag, .number = 1},
    {.name = "Retain Handling 0 sends nothing", .statement = "MQTT-3.3.1-9", .late = true, HANDLING(0, 2)},
    {.name = "Retain Handling 1 sends each time", .statement = "MQTT-3.3.1-10", HANDLING(1, 0)},
    {.name = "Retain Handling 1 sends never", .statement = "MQTT-3.3.1-10", HANDLING(1, 2)},
    {.name = "Retain Handling 2 sends", .statement = "MQTT-3.3.1-11", HANDLING(2, 0)},
    {.name = "Retain Handling 2 sends once", .statement = "MQTT-3.3.1-11", HANDLING(2, 1)},
    {.name = "Retain As Published is always on", .statement = "MQTT-3.3.1-12", .in = as_published, .number = 1},
    {.name = "Retain As Published is always off", .statement = "MQTT-3.3.1-13", .in = as_published},
    {.name = "the retain flag is never set", .statement = "MQTT-3.3.1-13", .late = true, .out = retain_flag},
    {.name = "the retain flag is always set",
     .statement = "MQTT-3.3.1-12",
     .late = true,
     .out = retain_flag,
     .number = 1},
    {.name = "subscribing again brings nothing that is retained",
     .statement = "MQTT-3.8.4-4",
     .in = replacing_sends_nothing},
    {.name = "shared subscriptions are sent what is retained",
     .statement = "S3.8.3.1c",
     .in = shared_gets_retained,
     .out = empty_is_stored}, )
