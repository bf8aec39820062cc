/* mutants_leave.c: brokers that do not part as they should, and that say too much in too small packets. */
#include "mutant.h"

#define BIT(type) (UINT32_C(1) << (type))
#define LONG_TEXT                                                                                                      \
    "a reason with a great many words in it, more than any packet of a modest client has room for; it goes on and on"

static bool other_code(struct link *link, struct seen *seen)
{
    if (!is(seen, MQ5_DISCONNECT))
        return true;
    seen->packet.disconnect.reason = (uint8_t)mutant_of(link)->number;
    return edited(link, seen);
}

static bool expiry_told(struct link *link, struct seen *seen)
{
    if (!is(seen, MQ5_DISCONNECT))
        return true;
    seen->packet.disconnect.properties.present |= MQ5_BIT(MQ5_SESSION_EXPIRY_INTERVAL);
    seen->packet.disconnect.properties.session_expiry_s = 10;
    return edited(link, seen);
}

static bool word_after_disconnect(struct link *link, struct seen *seen)
{
    if (!is(seen, MQ5_DISCONNECT))
        return true;
    to_client_bytes(link, seen->bytes);
    to_client(link, &(struct mq5_packet){.type = MQ5_PINGRESP});
    return false;
}

static bool stays_open(struct link *link, enum cloud_close_reason reason)
{
    return !link->accepted || reason == CLOUD_CLOSED_BY_CLIENT;
}

/* types: the packets; property: MQ5_REASON_STRING or MQ5_USER_PROPERTY. */
static bool says_much(struct link *link, struct seen *seen)
{
    static const struct mq5_user_property user = {SPAN_LITERAL("why"), SPAN_LITERAL(LONG_TEXT)};
    const struct mutant *mutant = mutant_of(link);
    struct mq5_properties *properties = properties_of(seen);
    bool wanted = !has(&link->login.properties, MQ5_REQUEST_PROBLEM_INFORMATION) ||
                  link->login.properties.request_problem_information;
    if (!properties || !(mutant->types >> seen->type & 1) || link->version != MQ5_V5 ||
        (!wanted && seen->type != MQ5_DISCONNECT && seen->type != MQ5_CONNACK))
        return true;
    properties->present |= MQ5_BIT(mutant->property);
    properties->reason_string = SPAN_LITERAL(LONG_TEXT);
    properties->user = &user;
    properties->user_count = 1;
    return edited(link, seen);
}

#define SAYS_MUCH(text, of, kind, what)                                                                                \
    {                                                                                                                  \
        .name = text, .statement = of, .out = says_much, .types = BIT(kind), .property = what                          \
    }

MUTANT_TABLE(mutants_leave,
             {.name = "DISCONNECT has a reason code that is none",
              .statement = "MQTT-3.14.2-1",
              .out = other_code,
              .number = 0x01},
             {.name = "DISCONNECT has a reason code of clients",
              .statement = "MQTT-3.14.2-1",
              .out = other_code,
              .number = MQ5_DISCONNECT_WITH_WILL},
             {.name = "DISCONNECT tells a Session Expiry Interval", .statement = "MQTT-3.14.2-2", .out = expiry_told},
             {.name = "PINGRESP comes after DISCONNECT", .statement = "MQTT-3.14.4-1", .out = word_after_disconnect},
             {.name = "after DISCONNECT the connection stays", .statement = "MQTT-3.14.4-2", .closing = stays_open},
             {.name = "an error does not end the connection", .statement = "MQTT-4.13.2-1", .closing = stays_open},
             SAYS_MUCH("PUBACK has any reason string", "MQTT-3.4.2-2", MQ5_PUBACK, MQ5_REASON_STRING),
             SAYS_MUCH("PUBACK has any user property", "MQTT-3.4.2-3", MQ5_PUBACK, MQ5_USER_PROPERTY),
             SAYS_MUCH("PUBREC has any reason string", "MQTT-3.5.2-2", MQ5_PUBREC, MQ5_REASON_STRING),
             SAYS_MUCH("PUBREC has any user property", "MQTT-3.5.2-3", MQ5_PUBREC, MQ5_USER_PROPERTY),
             SAYS_MUCH("PUBREL has any reason string", "MQTT-3.6.2-2", MQ5_PUBREL, MQ5_REASON_STRING),
             SAYS_MUCH("PUBREL has any user property", "MQTT-3.6.2-3", MQ5_PUBREL, MQ5_USER_PROPERTY),
             SAYS_MUCH("PUBCOMP has any reason string", "MQTT-3.7.2-2", MQ5_PUBCOMP, MQ5_REASON_STRING),
             SAYS_MUCH("PUBCOMP has any user property", "MQTT-3.7.2-3", MQ5_PUBCOMP, MQ5_USER_PROPERTY),
             SAYS_MUCH("SUBACK has any reason string", "MQTT-3.9.2-1", MQ5_SUBACK, MQ5_REASON_STRING),
             SAYS_MUCH("SUBACK has any user property", "MQTT-3.9.2-2", MQ5_SUBACK, MQ5_USER_PROPERTY),
             SAYS_MUCH("UNSUBACK has any reason string", "MQTT-3.11.2-1", MQ5_UNSUBACK, MQ5_REASON_STRING),
             SAYS_MUCH("UNSUBACK has any user property", "MQTT-3.11.2-2", MQ5_UNSUBACK, MQ5_USER_PROPERTY),
             SAYS_MUCH("DISCONNECT has any reason string", "MQTT-3.14.2-3", MQ5_DISCONNECT, MQ5_REASON_STRING),
             SAYS_MUCH("DISCONNECT has any user property", "MQTT-3.14.2-4", MQ5_DISCONNECT, MQ5_USER_PROPERTY),
             SAYS_MUCH("CONNACK has any user property", "MQTT-3.2.2-20", MQ5_CONNACK, MQ5_USER_PROPERTY), )
