/* mutants_publish.c: brokers that change messages on their way, or bring them to the wrong place. */
#include "mutant.h"

#include <ctype.h>

/* ---- properties -------------------------------------------------------------------------------------------------------------- */

static bool drops_property(struct link *link, struct seen *seen)
{
    enum mq5_property property = (enum mq5_property)mutant_of(link)->property;
    if (!is(seen, MQ5_PUBLISH) || !has(&seen->packet.publish.properties, property))
        return true;
    without(&seen->packet.publish.properties, property);
    return edited(link, seen);
}

static bool format_unspecified(struct link *link, struct seen *seen)
{
    if (!is(seen, MQ5_PUBLISH) || !has(&seen->packet.publish.properties, MQ5_PAYLOAD_FORMAT_INDICATOR))
        return true;
    seen->packet.publish.properties.payload_format = 0;
    return edited(link, seen);
}

static bool correlation_ends_at_nul(struct link *link, struct seen *seen)
{
    if (!is(seen, MQ5_PUBLISH) || !has(&seen->packet.publish.properties, MQ5_CORRELATION_DATA))
        return true;
    struct span *data = &seen->packet.publish.properties.correlation_data;
    for (uint32_t i = 0; i < data->length; i++)
        if (data->data[i] == 0)
            data->length = i;
    return edited(link, seen);
}

static bool users_reversed(struct link *link, struct seen *seen)
{
    if (!is(seen, MQ5_PUBLISH) || !has(&seen->packet.publish.properties, MQ5_USER_PROPERTY))
        return true;
    users_turned(link, &seen->packet.publish.properties);
    return edited(link, seen);
}

static bool names_once(struct link *link, struct seen *seen)
{
    if (!is(seen, MQ5_PUBLISH) || !has(&seen->packet.publish.properties, MQ5_USER_PROPERTY))
        return true;
    struct mq5_properties *properties = &seen->packet.publish.properties;
    struct mq5_user_property *users = users_of(link, properties);
    uint16_t kept = 0;
    for (uint16_t i = 0; i < properties->user_count; i++) {
        bool again = false;
        for (uint16_t j = 0; j < kept; j++)
            again |= span_equal(users[j].name, users[i].name);
        if (!again)
            users[kept++] = users[i];
    }
    properties->user_count = kept;
    return edited(link, seen);
}

/* ---- topics -------------------------------------------------------------------------------------------------------------------- */

static bool other_topic_too(struct link *link, struct seen *seen)
{
    if (!is(seen, MQ5_PUBLISH) || seen->packet.publish.topic.length == 0)
        return true;
    struct mq5_packet packet = {.type = MQ5_PUBLISH, .publish = seen->packet.publish};
    packet.publish.qos = 0;
    packet.publish.topic = scratch_text(link->served, "%.*s-x", (int)seen->packet.publish.topic.length,
                                        (const char *)seen->packet.publish.topic.data);
    to_client(link, &packet);
    return true;
}

static struct span lowered(struct link *link, struct span text)
{
    struct span out = scratch_copy(link->served, text);
    for (uint32_t i = 0; i < out.length; i++)
        ((uint8_t *)out.data)[i] = (uint8_t)tolower(out.data[i]);
    return out;
}

static bool lower_case(struct link *link, struct seen *seen)
{
    if (is(seen, MQ5_SUBSCRIBE) || is(seen, MQ5_UNSUBSCRIBE)) {
        struct mq5_subscription *list = filters_of(link, seen);
        for (uint32_t i = 0; i < seen->packet.subscribe.count; i++)
            list[i].filter = lowered(link, list[i].filter);
        return edited(link, seen);
    }
    if (!is(seen, MQ5_PUBLISH))
        return true;
    struct span topic = lowered(link, seen->packet.publish.topic);
    note_bytes(note_make(link->served, 'l', topic), seen->packet.publish.topic);
    seen->packet.publish.topic = topic;
    return edited(link, seen);
}

static bool upper_case(struct link *link, struct seen *seen)
{
    struct note *note = is(seen, MQ5_PUBLISH) ? note_find(link->served, 'l', seen->packet.publish.topic) : NULL;
    if (!note)
        return true;
    seen->packet.publish.topic = note->bytes;
    return edited(link, seen);
}

/* "a//b" and "a/b/" are "a/b". */
static bool tidy_topics(struct link *link, struct seen *seen)
{
    if (!is(seen, MQ5_PUBLISH))
        return true;
    struct span topic = scratch_copy(link->served, seen->packet.publish.topic);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < topic.length; i++)
        if (topic.data[i] != '/' || (kept && topic.data[kept - 1] != '/' && i + 1 < topic.length))
            ((uint8_t *)topic.data)[kept++] = topic.data[i];
    topic.length = kept;
    seen->packet.publish.topic = topic;
    return edited(link, seen);
}

/* "e" and a combining acute become one character. */
static bool composes_characters(struct link *link, struct seen *seen)
{
    if (!is(seen, MQ5_PUBLISH) || !contains(seen->packet.publish.topic, "e\xCC\x81"))
        return true;
    struct span topic = scratch_copy(link->served, seen->packet.publish.topic);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < topic.length; i++) {
        if (i + 3 <= topic.length && memcmp(topic.data + i, "e\xCC\x81", 3) == 0) {
            memcpy((uint8_t *)topic.data + kept, "\xC3\xA9", 2);
            kept += 2;
            i += 2;
        } else {
            ((uint8_t *)topic.data)[kept++] = topic.data[i];
        }
    }
    topic.length = kept;
    seen->packet.publish.topic = topic;
    return edited(link, seen);
}

/* "+/x" and "#" get "$other/x" as well. */
static bool dollar_is_matched(struct link *link, struct seen *seen)
{
    if (!is(seen, MQ5_PUBLISH) || !starts_with(seen->packet.publish.topic, "$"))
        return true;
    struct span plain = span_of(seen->packet.publish.topic.data + 1, seen->packet.publish.topic.length - 1);
    for (struct subscribed *each = subscribed_first(link->served); each; each = each->next) {
        struct link *reader = link_of(link->served, each->client_id);
        if (!reader || (each->filter.data[0] != '+' && each->filter.data[0] != '#') ||
            !mq5_topic_matches(each->filter, plain))
            continue;
        struct mq5_packet packet = {.type = MQ5_PUBLISH, .publish = seen->packet.publish};
        packet.publish.qos = 0;
        packet.publish.packet_id = 0;
        to_client(reader, &packet);
    }
    return true;
}

static bool parent_is_not_matched(struct link *link, struct seen *seen)
{
    if (!is(seen, MQ5_PUBLISH) || subscribed_find(link->served, link->login.client_id, seen->packet.publish.topic))
        return true;
    struct span parent = scratch_text(link->served, "%.*s/#", (int)seen->packet.publish.topic.length,
                                      (const char *)seen->packet.publish.topic.data);
    return subscribed_find(link->served, link->login.client_id, parent) ? swallow(link, seen) : true;
}

static bool empty_level_is_not_matched(struct link *link, struct seen *seen)
{
    struct span topic = seen->packet.publish.topic;
    bool empty = is(seen, MQ5_PUBLISH) && topic.length &&
                 (contains(topic, "//") || topic.data[0] == '/' || topic.data[topic.length - 1] == '/');
    return empty && !subscribed_find(link->served, link->login.client_id, topic) ? swallow(link, seen) : true;
}

static bool long_topics_are_cut(struct link *link, struct seen *seen)
{
    if (!is(seen, MQ5_PUBLISH) || seen->packet.publish.topic.length < 1000)
        return true;
    seen->packet.publish.topic.length = 1000;
    return edited(link, seen);
}

/* ---- aliases ----------------------------------------------------------------------------------------------------------------------- */

static bool alias_outlives_connection(struct link *link, struct seen *seen)
{
    if (!is(seen, MQ5_PUBLISH) || !has(&seen->packet.publish.properties, MQ5_TOPIC_ALIAS))
        return true;
    struct span key = id_key(link, seen->packet.publish.properties.topic_alias);
    struct span anybody = scratch_text(link->served, "%u", seen->packet.publish.properties.topic_alias);
    if (seen->packet.publish.topic.length) {
        note_bytes(note_make(link->served, 'a', key), seen->packet.publish.topic);
        note_bytes(note_make(link->served, 'a', anybody), seen->packet.publish.topic);
        return true;
    }
    struct note *note = note_find(link->served, 'a', key);
    if (!note)
        note = note_find(link->served, 'a', anybody);
    if (!note)
        return true;
    seen->packet.publish.topic = note->bytes;
    return edited(link, seen);
}

static bool last_alias_is_refused(struct link *link, struct seen *seen)
{
    if (!is(seen, MQ5_PUBLISH) || seen->packet.publish.properties.topic_alias != 64)
        return true;
    to_client(link, &(struct mq5_packet){.type = MQ5_DISCONNECT, .disconnect = {.reason = MQ5_TOPIC_ALIAS_INVALID}});
    return hang_up(link);
}

static bool alias_is_not_told_anew(struct link *link, struct seen *seen)
{
    if (!is(seen, MQ5_PUBLISH) || !has(&seen->packet.publish.properties, MQ5_TOPIC_ALIAS))
        return true;
    struct span key = scratch_text(link->served, "%u/%u", link->number, seen->packet.publish.properties.topic_alias);
    struct note *note = note_find(link->served, 'a', key);
    if (!note) {
        note_bytes(note_make(link->served, 'a', key), seen->packet.publish.topic);
        return true;
    }
    if (seen->packet.publish.topic.length)
        return true;
    seen->packet.publish.topic = note->bytes;
    return edited(link, seen);
}

static bool alias_above_maximum(struct link *link, struct seen *seen)
{
    uint16_t maximum = link->login.properties.topic_alias_maximum;
    if (!is(seen, MQ5_PUBLISH) || link->version != MQ5_V5 || !maximum)
        return true;
    seen->packet.publish.properties.present |= MQ5_BIT(MQ5_TOPIC_ALIAS);
    seen->packet.publish.properties.topic_alias = (uint16_t)(maximum + 1);
    return edited(link, seen);
}

static bool alias_for_everybody(struct link *link, struct seen *seen)
{
    if (!is(seen, MQ5_PUBLISH) || link->version != MQ5_V5 || link->login.properties.topic_alias_maximum)
        return true;
    seen->packet.publish.properties.present |= MQ5_BIT(MQ5_TOPIC_ALIAS);
    seen->packet.publish.properties.topic_alias = 1;
    return edited(link, seen);
}

static bool alias_0(struct link *link, struct seen *seen)
{
    if (!is(seen, MQ5_PUBLISH) || !link->login.properties.topic_alias_maximum)
        return true;
    seen->packet.publish.properties.present |= MQ5_BIT(MQ5_TOPIC_ALIAS);
    seen->packet.publish.properties.topic_alias = 0;
    return edited(link, seen);
}

static bool alias_never_told(struct link *link, struct seen *seen)
{
    if (!is(seen, MQ5_PUBLISH) || !link->login.properties.topic_alias_maximum)
        return true;
    seen->packet.publish.properties.present |= MQ5_BIT(MQ5_TOPIC_ALIAS);
    seen->packet.publish.properties.topic_alias = 1;
    seen->packet.publish.topic = (struct span){0};
    return edited(link, seen);
}

/* ---- expiry --------------------------------------------------------------------------------------------------------------------------- */

static bool note_expiry(struct link *link, struct seen *seen)
{
    if (is(seen, MQ5_PUBLISH) && has(&seen->packet.publish.properties, MQ5_MESSAGE_EXPIRY_INTERVAL))
        note_make(link->served, 'e', seen->packet.publish.payload)->value =
            seen->packet.publish.properties.message_expiry_s;
    return true;
}

static bool expiry_not_reduced(struct link *link, struct seen *seen)
{
    struct note *note = is(seen, MQ5_PUBLISH) ? note_find(link->served, 'e', seen->packet.publish.payload) : NULL;
    if (!note || !has(&seen->packet.publish.properties, MQ5_MESSAGE_EXPIRY_INTERVAL))
        return true;
    seen->packet.publish.properties.message_expiry_s = (uint32_t)note->value;
    return edited(link, seen);
}

/* number 1: of retained messages only. */
static bool nothing_expires(struct link *link, struct seen *seen)
{
    if (!is(seen, MQ5_PUBLISH) || !has(&seen->packet.publish.properties, MQ5_MESSAGE_EXPIRY_INTERVAL) ||
        (mutant_of(link)->number && !seen->packet.publish.retain))
        return true;
    without(&seen->packet.publish.properties, MQ5_MESSAGE_EXPIRY_INTERVAL);
    return edited(link, seen);
}

static bool expiry_halved(struct link *link, struct seen *seen)
{
    if (!is(seen, MQ5_PUBLISH) || !has(&seen->packet.publish.properties, MQ5_MESSAGE_EXPIRY_INTERVAL))
        return true;
    seen->packet.publish.properties.message_expiry_s /= 2;
    return edited(link, seen);
}

/* ---- order ------------------------------------------------------------------------------------------------------------------------------- */

static void send_held(struct link *link, struct span bytes)
{
    struct note *note = note_find(link->served, 'h', scratch_text(link->served, "%u", link->number));
    if (note && note->value) {
        note->value = 0;
        to_client_bytes(link, note->bytes);
    }
}

/* A message waits a moment for the next one, and lets it pass. */
static bool order_changed(struct link *link, struct seen *seen)
{
    if (!is(seen, MQ5_PUBLISH))
        return true;
    struct note *note = note_make(link->served, 'h', scratch_text(link->served, "%u", link->number));
    if (note->value) {
        to_client_bytes(link, seen->bytes);
        send_held(link, (struct span){0});
        return false;
    }
    note->value = 1;
    note_bytes(note, seen->bytes);
    later(link, 30 * US_PER_MS, send_held, (struct span){0});
    return false;
}

#define DROPS(text, of, what)                                                                                          \
    {                                                                                                                  \
        .name = text, .statement = of, .out = drops_property, .property = what                                         \
    }

MUTANT_TABLE(
    mutants_publish, DROPS("Payload Format Indicator is not forwarded", "MQTT-3.3.2-4", MQ5_PAYLOAD_FORMAT_INDICATOR),
    DROPS("Response Topic is not forwarded", "MQTT-3.3.2-15", MQ5_RESPONSE_TOPIC),
    DROPS("Correlation Data is not forwarded", "MQTT-3.3.2-16", MQ5_CORRELATION_DATA),
    DROPS("user properties are not forwarded", "MQTT-3.3.2-17", MQ5_USER_PROPERTY),
    DROPS("Content Type is not forwarded", "MQTT-3.3.2-20", MQ5_CONTENT_TYPE),
    DROPS("Message Expiry Interval is not forwarded", "MQTT-3.3.2-6", MQ5_MESSAGE_EXPIRY_INTERVAL),
    DROPS("requests lose their Correlation Data", "S4.10a", MQ5_CORRELATION_DATA),
    {.name = "Payload Format Indicator is always 0", .statement = "MQTT-3.3.2-4", .out = format_unspecified},
    {.name = "Correlation Data ends at its first zero", .statement = "MQTT-3.3.2-16", .out = correlation_ends_at_nul},
    {.name = "user properties are turned round", .statement = "MQTT-3.3.2-18", .out = users_reversed},
    {.name = "of user properties with one name one is kept", .statement = "MQTT-3.3.2-17", .out = names_once},
    {.name = "another topic comes, too", .statement = "MQTT-3.3.2-3", .late = true, .out = other_topic_too},
    {.name = "capitals in topics are small letters", .statement = "MQTT-4.7.3-4", .in = lower_case, .out = upper_case},
    {.name = "topics lose empty levels", .statement = "MQTT-4.7.3-4", .in = tidy_topics},
    {.name = "characters in topics are composed", .statement = "MQTT-4.7.3-4", .in = composes_characters},
    {.name = "wildcards match topics that begin with $", .statement = "MQTT-4.7.2-1", .in = dollar_is_matched},
    {.name = "# does not match the level above", .statement = "S4.7.1a", .out = parent_is_not_matched},
    {.name = "+ does not match an empty level", .statement = "S4.7.1b", .out = empty_level_is_not_matched},
    {.name = "long topics are cut", .statement = "MQTT-4.7.3-3", .in = long_topics_are_cut},
    {.name = "topic aliases outlive their connection", .statement = "MQTT-3.3.2-7", .in = alias_outlives_connection},
    {.name = "the highest topic alias is refused", .statement = "MQTT-3.3.2-12", .in = last_alias_is_refused},
    {.name = "a topic alias keeps its first meaning", .statement = "MQTT-3.3.2-12", .in = alias_is_not_told_anew},
    {.name = "topic aliases come above the client's maximum", .statement = "MQTT-3.1.2-26", .out = alias_above_maximum},
    {.name = "the client's Topic Alias Maximum is no maximum",
     .statement = "MQTT-3.3.2-11",
     .out = alias_above_maximum},
    {.name = "topic aliases come to who allows none",
     .statement = "MQTT-3.1.2-27",
     .late = true,
     .out = alias_for_everybody},
    {.name = "topic alias 0 comes", .statement = "MQTT-3.3.2-8", .late = true, .out = alias_0},
    {.name = "an alias comes that was never told", .statement = "S3.3.2.1a", .late = true, .out = alias_never_told},
    {.name = "Message Expiry Interval is not reduced",
     .statement = "MQTT-3.3.2-6",
     .in = note_expiry,
     .out = expiry_not_reduced},
    {.name = "messages never expire", .statement = "MQTT-3.3.2-5", .in = nothing_expires},
    {.name = "Message Expiry Interval is halved", .statement = "MQTT-3.3.2-6", .out = expiry_halved},
    {.name = "retained messages never expire", .statement = "S3.3.1.3b", .in = nothing_expires, .number = 1},
    {.name = "messages overtake each other", .statement = "MQTT-4.6.0-5", .out = order_changed},
    {.name = "topics are not ordered", .statement = "MQTT-4.6.0-6", .out = order_changed}, )
