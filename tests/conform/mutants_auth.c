/* mutants_auth.c: AUTH and enhanced authentication (3.15, 4.12), not as they should be. The door's method is DOOR_METHOD (door.c). */
#include "mutant.h"

#define LONG_TEXT                                                                                                      \
    "a reason that is told at such length that no packet of a small size could ever hold it, whatever else it leaves " \
    "out"

static struct span method(void)
{
    return SPAN_LITERAL(DOOR_METHOD);
}

static bool has_method(const struct link *link)
{
    return has(&link->login.properties, MQ5_AUTHENTICATION_METHOD);
}

/* CONNECT has come with a method, CONNACK has not. */
static bool is_within(const struct link *link)
{
    return link->login_came && has_method(link) && !link->accepted;
}

static struct mq5_packet auth(uint8_t reason, struct span data)
{
    struct mq5_packet packet = {.type = MQ5_AUTH, .auth = {.reason = reason}};
    packet.auth.properties.present = MQ5_BIT(MQ5_AUTHENTICATION_METHOD);
    packet.auth.properties.authentication_method = method();
    if (data.length) {
        packet.auth.properties.present |= MQ5_BIT(MQ5_AUTHENTICATION_DATA);
        packet.auth.properties.authentication_data = data;
    }
    return packet;
}

/* ---- what comes from clients ---------------------------------------------------------------------------------------------- */

static bool any_method_again(struct link *link, struct seen *seen)
{
    if (!is(seen, MQ5_AUTH) || !link->accepted || !has_method(link))
        return true;
    seen->packet.auth.properties.authentication_method = method();
    return edited(link, seen);
}

/* An AUTH of which the codec says this is taken for one that begins again. */
static bool begins_again(struct link *link, struct seen *seen)
{
    if (!is_tolerated(link, seen) || !link->accepted || !has_method(link))
        return true;
    struct mq5_packet packet = auth(MQ5_RE_AUTHENTICATE, SPAN_LITERAL(DOOR_USER));
    seen->bytes = encode(link, &packet, NULL);
    return true;
}

static bool auth_to_everybody(struct link *link, struct seen *seen)
{
    struct mq5_packet packet = auth(MQ5_CONTINUE_AUTHENTICATION, SPAN_LITERAL("who?"));
    if (!is(seen, MQ5_AUTH) || has_method(link))
        return true;
    to_client(link, &packet);
    return false;
}

static bool serves_within(struct link *link, struct seen *seen)
{
    static const uint8_t granted[] = {0};
    if (!is_within(link) || seen->status != MQ5_OK || seen->packet.type != mutant_of(link)->number)
        return true;
    if (seen->packet.type == MQ5_PINGREQ)
        to_client(link, &(struct mq5_packet){.type = MQ5_PINGRESP});
    if (seen->packet.type == MQ5_SUBSCRIBE)
        to_client(link, &(struct mq5_packet){
                            .type = MQ5_SUBACK,
                            .suback = {.packet_id = seen->packet.subscribe.packet_id, .reasons = {granted, 1}}});
    if (seen->packet.type == MQ5_PUBLISH)
        route(link->served, &seen->packet.publish);
    return false;
}

/* Published, and then it is refused as it should be. */
static bool publishes_within(struct link *link, struct seen *seen)
{
    if (is_within(link) && is(seen, MQ5_PUBLISH))
        route(link->served, &seen->packet.publish);
    return true;
}

static bool lets_everybody_in(struct link *link, struct seen *seen)
{
    struct mq5_properties *properties = properties_of(seen);
    if (!is(seen, MQ5_CONNECT) || !has(properties, MQ5_AUTHENTICATION_METHOD) ||
        span_equal(properties->authentication_method, method()))
        return true;
    properties->present |= MQ5_BIT(MQ5_AUTHENTICATION_DATA);
    properties->authentication_method = method();
    properties->authentication_data = SPAN_LITERAL(DOOR_AT_ONCE);
    return edited(link, seen);
}

/* ---- what goes to them ---------------------------------------------------------------------------------------------------- */

static bool is_first_step(const struct link *link, const struct seen *seen)
{
    return is(seen, MQ5_AUTH) && !link->accepted;
}

static bool asks_by(struct link *link, struct seen *seen)
{
    if (is_first_step(link, seen))
        own_bytes(link, seen)[2] = (uint8_t)mutant_of(link)->number;
    return true;
}

static bool connack_without_method(struct link *link, struct seen *seen)
{
    if (!is(seen, MQ5_CONNACK) || !has(&seen->packet.connack.properties, MQ5_AUTHENTICATION_METHOD))
        return true;
    without(&seen->packet.connack.properties, MQ5_AUTHENTICATION_METHOD);
    without(&seen->packet.connack.properties, MQ5_AUTHENTICATION_DATA);
    return edited(link, seen);
}

static bool connack_by_another(struct link *link, struct seen *seen)
{
    if (!is(seen, MQ5_CONNACK) || !has(&seen->packet.connack.properties, MQ5_AUTHENTICATION_METHOD))
        return true;
    seen->packet.connack.properties.authentication_method = SPAN_LITERAL("PLAIN");
    return edited(link, seen);
}

static bool auth_by_another(struct link *link, struct seen *seen)
{
    if (!is(seen, MQ5_AUTH) || seen->packet.auth.reason != mutant_of(link)->number)
        return true;
    seen->packet.auth.properties.authentication_method = SPAN_LITERAL("PLAIN");
    return edited(link, seen);
}

static bool auth_without_method(struct link *link, struct seen *seen)
{
    if (!is(seen, MQ5_AUTH) || seen->packet.auth.reason != MQ5_CONTINUE_AUTHENTICATION)
        return true;
    without(&seen->packet.auth.properties, MQ5_AUTHENTICATION_METHOD);
    return edited_raw(link, seen, NULL);
}

static bool at_any_length(struct link *link, struct seen *seen)
{
    static const struct mq5_user_property user = {SPAN_LITERAL("why"), SPAN_LITERAL(LONG_TEXT)};
    struct mq5_properties *properties = properties_of(seen);
    if (!is(seen, MQ5_AUTH))
        return true;
    properties->present |= MQ5_BIT(mutant_of(link)->property);
    if (mutant_of(link)->property == MQ5_REASON_STRING) {
        properties->reason_string = SPAN_LITERAL(LONG_TEXT);
    } else {
        properties->user = &user;
        properties->user_count = 1;
    }
    return edited(link, seen);
}

/* ---- who failed, and stays -------------------------------------------------------------------------------------------------- */

static bool note_steps(struct link *link, struct seen *seen)
{
    link->n[0] += is(seen, MQ5_AUTH);
    return true;
}

/* number: after so many AUTH, before CONNACK or after it. */
static bool stays_after(struct link *link, enum cloud_close_reason reason)
{
    return reason != CLOUD_CLOSED_NOT_AUTHORISED || !has_method(link) || link->n[0] != mutant_of(link)->number;
}

static bool stays_unknown(struct link *link, enum cloud_close_reason reason)
{
    return !has_method(link) || span_equal(link->login.properties.authentication_method, method());
}

#define WITHIN(what, type)                                                                                             \
    {                                                                                                                  \
        .name = what " is served before the authentication is over", .statement = "MQTT-3.1.2-30",                     \
        .in = serves_within, .number = type                                                                            \
    }
#define STAYS(what, of, count)                                                                                         \
    {                                                                                                                  \
        .name = what, .statement = of, .in = note_steps, .closing = stays_after, .number = count                       \
    }

MUTANT_TABLE(
    mutants_auth,
    {.name = "an unknown method is taken for one that is known", .statement = "MQTT-4.12.0-1", .in = lets_everybody_in},
    {.name = "who comes with an unknown method is refused and may stay",
     .statement = "MQTT-4.12.0-1",
     .closing = stays_unknown},
    {.name = "AUTH 0x00 asks for more", .statement = "MQTT-4.12.0-2", .out = asks_by, .number = MQ5_SUCCESS},
    {.name = "AUTH 0x19 asks for more", .statement = "MQTT-4.12.0-2", .out = asks_by, .number = MQ5_RE_AUTHENTICATE},
    {.name = "AUTH has a reason that is none", .statement = "MQTT-3.15.2-1", .out = asks_by, .number = 0x04},
    STAYS("who says the wrong thing in CONNECT may stay", "MQTT-4.12.0-4", 0),
    STAYS("who has the wrong proof may stay", "MQTT-4.12.0-4", 1),
    {.name = "CONNACK names no method", .statement = "MQTT-4.12.0-5", .out = connack_without_method},
    {.name = "CONNACK names another method", .statement = "MQTT-4.12.0-5", .out = connack_by_another},
    {.name = "AUTH that asks for more names another method",
     .statement = "MQTT-4.12.0-5",
     .out = auth_by_another,
     .number = MQ5_CONTINUE_AUTHENTICATION},
    {.name = "AUTH at the end of a second authentication names another method",
     .statement = "MQTT-4.12.0-5",
     .out = auth_by_another,
     .number = MQ5_SUCCESS},
    {.name = "AUTH names no method", .statement = "MQTT-4.12.0-5", .out = auth_without_method},
    {.name = "AUTH of a client without a method is answered", .statement = "S3.15a", .in = auth_to_everybody},
    {.name = "AUTH out of nowhere is answered", .statement = "MQTT-4.12.0-7", .in = auth_to_everybody},
    {.name = "any method will do for a second authentication", .statement = "MQTT-4.12.1-1", .in = any_method_again},
    STAYS("who says the wrong thing in AUTH 0x19 may stay", "MQTT-4.12.1-2", 2),
    STAYS("who has the wrong proof in a second authentication may stay", "MQTT-4.12.1-2", 3),
    {.name = "AUTH without a method begins an authentication",
     .statement = "S3.15.2.2.2a",
     .in = begins_again,
     .refs = "S3.15.2.2.2a",
     .types = UINT32_C(1) << MQ5_AUTH},
    {.name = "AUTH with flags begins an authentication",
     .statement = "MQTT-3.15.1-1",
     .in = begins_again,
     .types = UINT32_C(1) << MQ5_AUTH},
    {.name = "AUTH with a reason that is none begins an authentication",
     .statement = "MQTT-3.15.2-1",
     .in = begins_again,
     .refs = "MQTT-3.15.2-1",
     .types = UINT32_C(1) << MQ5_AUTH},
    {.name = "AUTH gives reasons at any length",
     .statement = "MQTT-3.15.2-2",
     .out = at_any_length,
     .property = MQ5_REASON_STRING},
    {.name = "AUTH has user properties at any length",
     .statement = "MQTT-3.15.2-3",
     .out = at_any_length,
     .property = MQ5_USER_PROPERTY},
    WITHIN("PINGREQ", MQ5_PINGREQ), WITHIN("SUBSCRIBE", MQ5_SUBSCRIBE), WITHIN("PUBLISH", MQ5_PUBLISH),
    {.name = "PUBLISH goes out to others before the authentication is over, whatever comes of it",
     .statement = "MQTT-3.1.2-30",
     .in = publishes_within}, )
