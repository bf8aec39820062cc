/* mutants_connect.c: brokers that answer CONNECT wrongly. */
#include "mutant.h"

#define LONG_TEXT                                                                                                      \
    "a reason that has a great many words, and goes on and on, so that no small packet has room for it, whatever "     \
    "else is in it"

/* ---- CONNACK as it should not be ------------------------------------------------------------------------------------------ */

/* Who says nothing in the properties of CONNECT is not answered. */
static bool no_connack(struct link *link, struct seen *seen)
{
    return !(is(seen, MQ5_CONNACK) && !link->login.properties.present && !link->login.has_will);
}

static bool connack_twice(struct link *link, struct seen *seen)
{
    if (is(seen, MQ5_CONNACK))
        to_client_bytes(link, seen->bytes);
    return true;
}

static bool word_before_connack(struct link *link, struct seen *seen)
{
    if (is(seen, MQ5_CONNACK) && seen->packet.connack.reason == 0)
        to_client(link, &(struct mq5_packet){.type = MQ5_PINGRESP});
    return true;
}

static bool connack_flags(struct link *link, struct seen *seen)
{
    if (is(seen, MQ5_CONNACK))
        own_bytes(link, seen)[2] |= 0x02;
    return true;
}

static bool never_present(struct link *link, struct seen *seen)
{
    if (is(seen, MQ5_CONNACK))
        own_bytes(link, seen)[2] = 0;
    return true;
}

static bool always_present(struct link *link, struct seen *seen)
{
    if (is(seen, MQ5_CONNACK) && seen->packet.connack.reason == 0 && !link->login.clean_start)
        own_bytes(link, seen)[2] = 1;
    return true;
}

static bool present_after_clean_start(struct link *link, struct seen *seen)
{
    if (is(seen, MQ5_CONNACK) && seen->packet.connack.reason == 0 && link->login.clean_start &&
        note_find(link->served, 's', link->login.client_id))
        own_bytes(link, seen)[2] = 1;
    if (is(seen, MQ5_CONNACK) && seen->packet.connack.reason == 0)
        note_make(link->served, 's', link->login.client_id);
    return true;
}

static bool refusal_with_session(struct link *link, struct seen *seen)
{
    if (is(seen, MQ5_CONNACK) && seen->packet.connack.reason >= 0x80)
        own_bytes(link, seen)[2] = 1;
    return true;
}

static bool refusal_reason(struct link *link, struct seen *seen)
{
    if (is(seen, MQ5_CONNACK) && seen->packet.connack.reason >= 0x80 && link->version == MQ5_V5)
        own_bytes(link, seen)[3] = MQ5_PACKET_ID_IN_USE;
    return true;
}

static bool other_refusal_of_name(struct link *link, struct seen *seen)
{
    if (is(seen, MQ5_CONNACK) && seen->packet.connack.reason == 0)
        own_bytes(link, seen)[3] = 0x04; /* no reason code of CONNACK, and no error */
    return true;
}

static bool stays_after_refusal(struct link *link, enum cloud_close_reason reason)
{
    return link->accepted;
}

static bool goodbye_before_connack(struct link *link, struct seen *seen)
{
    if (is(seen, MQ5_CONNACK) && seen->packet.connack.reason >= 0x80)
        to_client(link,
                  &(struct mq5_packet){.type = MQ5_DISCONNECT, .disconnect = {.reason = seen->packet.connack.reason}});
    return true;
}

static bool goodbye_for_connack(struct link *link, struct seen *seen)
{
    if (!is(seen, MQ5_CONNACK) || seen->packet.connack.reason < 0x80 || link->version != MQ5_V5)
        return true;
    to_client(link, &(struct mq5_packet){.type = MQ5_DISCONNECT, .disconnect = {.reason = MQ5_PROTOCOL_ERROR}});
    return false;
}

static bool is_accepting(const struct seen *seen)
{
    return is(seen, MQ5_CONNACK) && seen->packet.connack.reason == 0;
}

static bool tells(struct link *link, struct seen *seen)
{
    const struct mutant *mutant = mutant_of(link);
    struct mq5_properties *properties = &seen->packet.connack.properties;
    if (!is_accepting(seen) || link->version != MQ5_V5)
        return true;
    properties->present |= MQ5_BIT(mutant->property);
    switch (mutant->property) {
    case MQ5_RECEIVE_MAXIMUM: properties->receive_maximum = (uint16_t)mutant->number; break;
    case MQ5_MAXIMUM_QOS: properties->maximum_qos = (uint8_t)mutant->number; break;
    case MQ5_RETAIN_AVAILABLE: properties->retain_available = (uint8_t)mutant->number; break;
    case MQ5_MAXIMUM_PACKET_SIZE: properties->maximum_packet_size = mutant->number; break;
    case MQ5_SERVER_KEEP_ALIVE: properties->server_keep_alive_s = (uint16_t)mutant->number; break;
    case MQ5_RESPONSE_INFORMATION: properties->response_information = SPAN_LITERAL("replies/"); break;
    case MQ5_AUTHENTICATION_METHOD: properties->authentication_method = SPAN_LITERAL("PLAIN"); break;
    default: return true;
    }
    return edited(link, seen);
}

static bool long_reason(struct link *link, struct seen *seen)
{
    if (!is(seen, MQ5_CONNACK) || link->version != MQ5_V5)
        return true;
    seen->packet.connack.properties.present |= MQ5_BIT(MQ5_REASON_STRING);
    seen->packet.connack.properties.reason_string = SPAN_LITERAL(LONG_TEXT);
    return edited(link, seen);
}

static bool auth_from_nowhere(struct link *link, struct seen *seen)
{
    struct mq5_packet packet = {.type = MQ5_AUTH, .auth = {.reason = MQ5_CONTINUE_AUTHENTICATION}};
    packet.auth.properties.present = MQ5_BIT(MQ5_AUTHENTICATION_METHOD);
    packet.auth.properties.authentication_method = SPAN_LITERAL("PLAIN");
    if (is_accepting(seen) && link->version == MQ5_V5)
        to_client(link, &packet);
    return true;
}

/* ---- client identifiers -------------------------------------------------------------------------------------------------------- */

static bool refuse(struct link *link, uint8_t reason)
{
    to_client(link, &(struct mq5_packet){.type = MQ5_CONNACK, .connack = {.reason = reason}});
    return hang_up(link);
}

static bool refuse_long_ids(struct link *link, struct seen *seen)
{
    return is(seen, MQ5_CONNECT) && seen->packet.connect.client_id.length > 22
               ? refuse(link, MQ5_CLIENT_IDENTIFIER_NOT_VALID)
               : true;
}

static bool refuse_capitals(struct link *link, struct seen *seen)
{
    if (is(seen, MQ5_CONNECT))
        for (uint32_t i = 0; i < seen->packet.connect.client_id.length; i++)
            if (seen->packet.connect.client_id.data[i] >= 'A' && seen->packet.connect.client_id.data[i] <= 'Z')
                return refuse(link, MQ5_CLIENT_IDENTIFIER_NOT_VALID);
    return true;
}

static bool one_name_for_all_in(struct link *link, struct seen *seen)
{
    if (!is(seen, MQ5_CONNECT) || seen->packet.connect.client_id.length)
        return true;
    link->n[0] = 1;
    seen->packet.connect.client_id = SPAN_LITERAL("nameless");
    return edited(link, seen);
}

static bool one_name_for_all_out(struct link *link, struct seen *seen)
{
    if (!is_accepting(seen) || !link->n[0] || link->version != MQ5_V5)
        return true;
    seen->packet.connack.properties.present |= MQ5_BIT(MQ5_ASSIGNED_CLIENT_IDENTIFIER);
    seen->packet.connack.properties.assigned_client_id = SPAN_LITERAL("nameless");
    return edited(link, seen);
}

static bool name_not_told(struct link *link, struct seen *seen)
{
    if (!is_accepting(seen) || !has(&seen->packet.connack.properties, MQ5_ASSIGNED_CLIENT_IDENTIFIER))
        return true;
    without(&seen->packet.connack.properties, MQ5_ASSIGNED_CLIENT_IDENTIFIER);
    return edited(link, seen);
}

static bool wrong_name_told(struct link *link, struct seen *seen)
{
    if (!is_accepting(seen) || !has(&seen->packet.connack.properties, MQ5_ASSIGNED_CLIENT_IDENTIFIER))
        return true;
    seen->packet.connack.properties.assigned_client_id = scratch_text(link->served, "other%u", link->number);
    return edited(link, seen);
}

/* Every connection is somebody new, whatever its name. */
static bool names_count_for_nothing(struct link *link, struct seen *seen)
{
    if (!is(seen, MQ5_CONNECT) || !seen->packet.connect.client_id.length)
        return true;
    seen->packet.connect.client_id = scratch_text(link->served, "%.*s-%u", (int)seen->packet.connect.client_id.length,
                                                  (const char *)seen->packet.connect.client_id.data, link->number);
    return edited(link, seen);
}

/* ---- taking over, going on ---------------------------------------------------------------------------------------------------------- */

static bool old_one_stays(struct link *link, enum cloud_close_reason reason)
{
    return reason != CLOUD_CLOSED_TAKEN_OVER;
}

static bool no_word_of_takeover(struct link *link, struct seen *seen)
{
    return !(is(seen, MQ5_DISCONNECT) && seen->packet.disconnect.reason == MQ5_SESSION_TAKEN_OVER);
}

static void end_it(struct link *link, struct span bytes)
{
    hang_up(link);
}

static bool goes_on_after_refusal(struct link *link, struct seen *seen)
{
    if (seen->type == MQ5_CONNECT && seen->status != MQ5_OK && !link->login_came) {
        to_client(link, &(struct mq5_packet){.type = MQ5_CONNACK, .connack = {.reason = MQ5_MALFORMED_PACKET}});
        link->n[0] = 1;
        later(link, 200 * US_PER_MS, end_it, (struct span){0});
        return false;
    }
    if (link->n[0] && is(seen, MQ5_PUBLISH))
        route(link->served, &seen->packet.publish);
    return !link->n[0];
}

/* ---- keep alive -------------------------------------------------------------------------------------------------------------------------- */

static bool stretched_keep_alive(struct link *link, struct seen *seen)
{
    if (!is(seen, MQ5_CONNECT))
        return true;
    seen->packet.connect.keep_alive_s = (uint16_t)(seen->packet.connect.keep_alive_s * mutant_of(link)->number);
    return edited(link, seen);
}

static bool shrunk_keep_alive(struct link *link, struct seen *seen)
{
    if (!is(seen, MQ5_CONNECT) || seen->packet.connect.keep_alive_s < 2)
        return true;
    seen->packet.connect.keep_alive_s /= 2;
    return edited(link, seen);
}

static bool short_keep_alive(struct link *link, struct seen *seen)
{
    if (!is_accepting(seen) || link->version != MQ5_V5)
        return true;
    seen->packet.connack.properties.present |= MQ5_BIT(MQ5_SERVER_KEEP_ALIVE);
    seen->packet.connack.properties.server_keep_alive_s = 3;
    return edited(link, seen);
}

static bool keeps_wanted_quiet(struct link *link, struct seen *seen)
{
    struct mq5_properties *properties = properties_of(seen);
    bool ack = properties && seen->type != MQ5_CONNACK && seen->type != MQ5_PUBLISH && seen->type != MQ5_DISCONNECT &&
               seen->type != MQ5_AUTH && link->version == MQ5_V5;
    if (!ack)
        return true;
    properties->present |= MQ5_BIT(MQ5_REASON_STRING);
    properties->reason_string = SPAN_LITERAL("as you wish");
    return edited(link, seen);
}

#define SAYS(text, of, what, value)                                                                                    \
    {                                                                                                                  \
        .name = text, .statement = of, .late = true, .out = tells, .property = what, .number = value                   \
    }

MUTANT_TABLE(
    mutants_connect,
    {.name = "CONNACK does not come for a CONNECT without properties",
     .statement = "MQTT-3.1.4-5",
     .late = true,
     .out = no_connack},
    {.name = "CONNACK has a reason code that is none",
     .statement = "MQTT-3.2.2-8",
     .late = true,
     .out = other_refusal_of_name},
    {.name = "a refusal has a reason code of another packet", .statement = "MQTT-3.2.2-8", .out = refusal_reason},
    {.name = "CONNACK comes twice", .statement = "MQTT-3.2.0-2", .late = true, .out = connack_twice},
    {.name = "PINGRESP comes before CONNACK", .statement = "MQTT-3.2.0-1", .late = true, .out = word_before_connack},
    {.name = "a reserved acknowledge flag is set", .statement = "MQTT-3.2.2-1", .late = true, .out = connack_flags},
    {.name = "Session Present is never set", .statement = "MQTT-3.2.2-3", .late = true, .out = never_present},
    {.name = "Session Present is always set without a clean start", .statement = "MQTT-3.2.2-3", .out = always_present},
    {.name = "Session Present is set after a clean start",
     .statement = "MQTT-3.2.2-2",
     .out = present_after_clean_start},
    {.name = "a refusal has Session Present", .statement = "MQTT-3.2.2-6", .out = refusal_with_session},
    {.name = "who is refused may stay", .statement = "MQTT-3.2.2-7", .closing = stays_after_refusal},
    {.name = "DISCONNECT comes before a refusal", .statement = "MQTT-3.14.0-1", .out = goodbye_before_connack},
    {.name = "DISCONNECT comes for a refusal", .statement = "MQTT-3.14.0-1", .out = goodbye_for_connack},
    SAYS("CONNACK has Receive Maximum 0", "S3.2.2.3.3a", MQ5_RECEIVE_MAXIMUM, 0),
    SAYS("CONNACK has Maximum QoS 2", "S3.2.2.3.4a", MQ5_MAXIMUM_QOS, 2),
    SAYS("CONNACK has Retain Available 2", "S3.2.2.3.5a", MQ5_RETAIN_AVAILABLE, 2),
    SAYS("CONNACK has Maximum Packet Size 0", "S3.2.2.3.6a", MQ5_MAXIMUM_PACKET_SIZE, 0),
    SAYS("Response Information comes unasked", "MQTT-3.1.2-28", MQ5_RESPONSE_INFORMATION, 0),
    SAYS("CONNACK has a method that the client did not ask for", "MQTT-4.12.0-6", MQ5_AUTHENTICATION_METHOD, 0),
    {.name = "AUTH comes for a client without a method",
     .statement = "MQTT-4.12.0-6",
     .late = true,
     .out = auth_from_nowhere},
    {.name = "CONNACK gives reasons at any length", .statement = "MQTT-3.2.2-19", .out = long_reason},
    {.name = "reasons come in words to who does not want them",
     .statement = "MQTT-3.1.2-29",
     .out = keeps_wanted_quiet},
    {.name = "client ids of 23 letters are refused", .statement = "MQTT-3.1.3-5", .in = refuse_long_ids},
    {.name = "client ids with capitals are refused", .statement = "MQTT-3.1.3-5", .in = refuse_capitals},
    {.name = "all clients without an id are one",
     .statement = "MQTT-3.1.3-6",
     .in = one_name_for_all_in,
     .out = one_name_for_all_out},
    {.name = "the same id is assigned again",
     .statement = "MQTT-3.2.2-16",
     .in = one_name_for_all_in,
     .out = one_name_for_all_out},
    {.name = "an assigned id is not told", .statement = "MQTT-3.1.3-7", .out = name_not_told},
    {.name = "another id is told than was assigned", .statement = "MQTT-3.1.3-7", .out = wrong_name_told},
    {.name = "a client id names nothing", .statement = "MQTT-3.1.3-2", .late = true, .in = names_count_for_nothing},
    {.name = "the old connection stays when its client comes again",
     .statement = "MQTT-3.1.4-3",
     .out = no_word_of_takeover,
     .closing = old_one_stays},
    {.name = "what follows a refused CONNECT is done", .statement = "MQTT-3.1.4-6", .in = goes_on_after_refusal},
    {.name = "Keep Alive is not enforced", .statement = "MQTT-3.1.2-22", .in = stretched_keep_alive},
    {.name = "four times the Keep Alive passes", .statement = "MQTT-3.1.2-22", .in = stretched_keep_alive, .number = 4},
    {.name = "the client's Keep Alive is not the one that counts",
     .statement = "MQTT-3.2.2-22",
     .in = stretched_keep_alive,
     .number = 4},
    {.name = "half of the Keep Alive is too long", .statement = "MQTT-3.1.2-22", .in = shrunk_keep_alive},
    {.name = "a Server Keep Alive is told, and not kept",
     .statement = "S3.2.2.3.14a",
     .in = stretched_keep_alive,
     .out = short_keep_alive}, )
