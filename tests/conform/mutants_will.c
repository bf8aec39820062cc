/* mutants_will.c: brokers that lose wills, publish those they should not, or at the wrong time. */
#include "mutant.h"

/* The will of a link's client as a message. */
static struct mq5_publish will_of(const struct link *link)
{
    struct mq5_publish publish = {.qos = link->login.will_qos,
                                  .retain = link->login.will_retain,
                                  .topic = link->login.will_topic,
                                  .payload = link->login.will_payload,
                                  .properties = link->login.will_properties};
    without(&publish.properties, MQ5_WILL_DELAY_INTERVAL);
    return publish;
}

/* A will that is not to come is held back on its way to everybody. */
static void hold_back(struct link *link)
{
    if (link->login.has_will)
        note_make(link->served, 'w', link->login.will_topic);
}

static bool held_back(struct link *link, struct seen *seen)
{
    return is(seen, MQ5_PUBLISH) && note_find(link->served, 'w', seen->packet.publish.topic) ? swallow(link, seen)
                                                                                             : true;
}

static bool no_will(struct link *link, struct seen *seen)
{
    if (!is(seen, MQ5_CONNECT) || !seen->packet.connect.has_will)
        return true;
    seen->packet.connect.has_will = false;
    seen->packet.connect.will_retain = false;
    seen->packet.connect.will_qos = 0;
    return edited(link, seen);
}

static bool lost_on_takeover(struct link *link, struct seen *seen)
{
    struct link *old = is(seen, MQ5_CONNECT) ? link_of(link->served, seen->packet.connect.client_id) : NULL;
    if (old && old != link)
        hold_back(old);
    return true;
}

static bool lost_on_error(struct link *link, enum cloud_close_reason reason)
{
    if (reason == CLOUD_CLOSED_CLIENT_ERROR && link->accepted)
        hold_back(link);
    return true;
}

static bool lost_on_silence(struct link *link, enum cloud_close_reason reason)
{
    if (reason == CLOUD_CLOSED_KEEP_ALIVE)
        hold_back(link);
    return true;
}

static bool any_disconnect_is_normal(struct link *link, struct seen *seen)
{
    if (!is(seen, MQ5_DISCONNECT) || seen->packet.disconnect.reason == 0)
        return true;
    seen->packet.disconnect.reason = 0;
    return edited(link, seen);
}

static bool no_disconnect_is_normal(struct link *link, struct seen *seen)
{
    if (!is(seen, MQ5_DISCONNECT) || seen->packet.disconnect.reason != 0)
        return true;
    seen->packet.disconnect.reason = MQ5_DISCONNECT_WITH_WILL;
    return edited(link, seen);
}

static bool short_disconnect_is_an_error(struct link *link, struct seen *seen)
{
    return is(seen, MQ5_DISCONNECT) && seen->bytes.length == 2 ? no_disconnect_is_normal(link, seen) : true;
}

/* A client that comes back without a will has its old one again. */
static bool will_comes_again(struct link *link, struct seen *seen)
{
    if (!is(seen, MQ5_CONNECT))
        return true;
    struct mq5_connect *login = &seen->packet.connect;
    if (login->has_will) {
        note_bytes(note_make(link->served, 'W', login->client_id), seen->bytes);
        return true;
    }
    struct note *note = note_find(link->served, 'W', login->client_id);
    struct mq5_packet old;
    if (!note || mq5_decode(MQ5_V5, MQ5_FROM_CLIENT, note->bytes.data, note->bytes.length, &old, NULL) != MQ5_OK)
        return true;
    login->has_will = true;
    login->will_topic = old.connect.will_topic;
    login->will_payload = old.connect.will_payload;
    login->will_qos = old.connect.will_qos;
    return edited(link, seen);
}

/* The payload of the will is read before its topic. */
static bool topic_and_payload_swapped(struct link *link, struct seen *seen)
{
    if (!is(seen, MQ5_CONNECT) || !seen->packet.connect.has_will || !seen->packet.connect.will_payload.length)
        return true;
    struct span topic = seen->packet.connect.will_topic;
    seen->packet.connect.will_topic = seen->packet.connect.will_payload;
    seen->packet.connect.will_payload = topic;
    return edited(link, seen);
}

static bool published_twice(struct link *link, enum cloud_close_reason reason)
{
    struct mq5_publish publish = will_of(link);
    if (link->accepted && link->login.has_will && reason != CLOUD_CLOSED_BY_CLIENT)
        route(link->served, &publish);
    return true;
}

static void twice_when_lost(struct link *link)
{
    struct mq5_publish publish = will_of(link);
    if (link->login.has_will)
        route(link->served, &publish);
}

static bool will_retain(struct link *link, struct seen *seen)
{
    if (!is(seen, MQ5_CONNECT) || !seen->packet.connect.has_will)
        return true;
    seen->packet.connect.will_retain = mutant_of(link)->number;
    return edited(link, seen);
}

static bool users_reversed(struct link *link, struct seen *seen)
{
    if (!is(seen, MQ5_CONNECT) || !seen->packet.connect.has_will)
        return true;
    users_turned(link, &seen->packet.connect.will_properties);
    return edited(link, seen);
}

static bool no_expiry_of_wills(struct link *link, struct seen *seen)
{
    if (!is(seen, MQ5_CONNECT) || !seen->packet.connect.has_will)
        return true;
    without(&seen->packet.connect.will_properties, MQ5_MESSAGE_EXPIRY_INTERVAL);
    return edited(link, seen);
}

static bool delay_told(struct link *link, struct seen *seen)
{
    if (!is(seen, MQ5_PUBLISH) || !note_find(link->served, 'd', seen->packet.publish.topic))
        return true;
    seen->packet.publish.properties.present |= MQ5_BIT(MQ5_WILL_DELAY_INTERVAL);
    seen->packet.publish.properties.will_delay_s = 1;
    return edited(link, seen);
}

static bool note_will_topic(struct link *link, struct seen *seen)
{
    if (is(seen, MQ5_CONNECT) && seen->packet.connect.has_will)
        note_make(link->served, 'd', seen->packet.connect.will_topic);
    return true;
}

/* ---- delays -------------------------------------------------------------------------------------------------------------- */

static bool delay_ignored(struct link *link, struct seen *seen)
{
    if (!is(seen, MQ5_CONNECT) || !has(&seen->packet.connect.will_properties, MQ5_WILL_DELAY_INTERVAL))
        return true;
    without(&seen->packet.connect.will_properties, MQ5_WILL_DELAY_INTERVAL);
    return edited(link, seen);
}

/* The session lives until the delay is over, so that the will waits. */
static bool session_as_long_as_delay(struct link *link, struct seen *seen)
{
    if (!is(seen, MQ5_CONNECT) || !has(&seen->packet.connect.will_properties, MQ5_WILL_DELAY_INTERVAL))
        return true;
    struct mq5_connect *login = &seen->packet.connect;
    bool zero = login->properties.session_expiry_s == 0;
    if (zero != (mutant_of(link)->number == 0) ||
        login->properties.session_expiry_s > login->will_properties.will_delay_s)
        return true;
    login->properties.present |= MQ5_BIT(MQ5_SESSION_EXPIRY_INTERVAL);
    login->properties.session_expiry_s = login->will_properties.will_delay_s + 30;
    return edited(link, seen);
}

static bool will_despite_return(struct link *link, struct seen *seen)
{
    if (!is(seen, MQ5_CONNECT))
        return true;
    struct note *note = note_find(link->served, 'W', seen->packet.connect.client_id);
    struct mq5_packet old;
    if (note && note->value &&
        mq5_decode(MQ5_V5, MQ5_FROM_CLIENT, note->bytes.data, note->bytes.length, &old, NULL) == MQ5_OK) {
        struct mq5_publish publish = {
            .qos = old.connect.will_qos, .topic = old.connect.will_topic, .payload = old.connect.will_payload};
        note->value = 0;
        route(link->served, &publish);
    }
    if (seen->packet.connect.will_properties.will_delay_s)
        note_bytes(note_make(link->served, 'W', seen->packet.connect.client_id), seen->bytes);
    return true;
}

static void left_with_delay(struct link *link)
{
    struct note *note = note_find(link->served, 'W', link->login.client_id);
    if (note)
        note->value = 1;
}

/* A takeover publishes the will even though a delay was asked for and the session goes on. */
static bool takeover_publishes(struct link *link, enum cloud_close_reason reason)
{
    struct mq5_publish publish = will_of(link);
    if (reason == CLOUD_CLOSED_TAKEN_OVER && link->login.has_will && link->login.will_properties.will_delay_s)
        route(link->served, &publish);
    return true;
}

MUTANT_TABLE(
    mutants_will, {.name = "wills are not kept", .statement = "MQTT-3.1.2-7", .in = no_will},
    {.name = "wills are never published", .statement = "MQTT-3.1.2-8", .in = no_will},
    {.name = "a will is lost when the connection breaks",
     .statement = "MQTT-3.1.2-8",
     .out = held_back,
     .lost = hold_back},
    {.name = "a will is lost after a protocol error",
     .statement = "MQTT-3.1.2-8",
     .out = held_back,
     .closing = lost_on_error},
    {.name = "a takeover has no will", .statement = "S3.1.4c", .in = lost_on_takeover, .out = held_back},
    {.name = "a takeover publishes the will before its delay", .statement = "S3.1.4c", .closing = takeover_publishes},
    {.name = "a will is lost when Keep Alive runs out",
     .statement = "MQTT-3.1.2-22",
     .out = held_back,
     .closing = lost_on_silence},
    {.name = "fields of CONNECT are read in another order",
     .statement = "MQTT-3.1.3-1",
     .in = topic_and_payload_swapped},
    {.name = "a will is published twice",
     .statement = "MQTT-3.1.2-10",
     .closing = published_twice,
     .lost = twice_when_lost},
    {.name = "a will comes again after the next connection", .statement = "MQTT-3.1.2-10", .in = will_comes_again},
    {.name = "wills are retained", .statement = "MQTT-3.1.2-14", .in = will_retain, .number = 1},
    {.name = "wills are never retained", .statement = "MQTT-3.1.2-15", .in = will_retain},
    {.name = "who returns in time has a will all the same",
     .statement = "MQTT-3.1.3-9",
     .in = will_despite_return,
     .lost = left_with_delay},
    {.name = "a will's user properties are turned round", .statement = "MQTT-3.1.3-10", .in = users_reversed},
    {.name = "a will waits beyond the end of its session",
     .statement = "S3.1.3.2.2a",
     .in = session_as_long_as_delay,
     .number = 1},
    {.name = "a will waits although no session is kept", .statement = "S3.1.3.2.2b", .in = session_as_long_as_delay},
    {.name = "Will Delay Interval is told with the will",
     .statement = "S3.1.3.2.2c",
     .in = note_will_topic,
     .out = delay_told},
    {.name = "a will's delay is ignored", .statement = "MQTT-3.1.3-9", .in = delay_ignored},
    {.name = "wills have no message expiry", .statement = "S3.1.3.2.4a", .in = no_expiry_of_wills},
    {.name = "DISCONNECT 0x04 discards the will", .statement = "S3.14.2b", .in = any_disconnect_is_normal},
    {.name = "DISCONNECT 0x00 does not discard the will", .statement = "MQTT-3.14.4-3", .in = no_disconnect_is_normal},
    {.name = "DISCONNECT without a reason code is not 0x00",
     .statement = "S3.14.2a",
     .in = short_disconnect_is_an_error}, )
