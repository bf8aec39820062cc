/* oddities.c: brokers that are unusual, and right. Nothing of the suite may fail on any of them. */
#include "mutant.h"

#define BIT(type) (UINT32_C(1) << (type))

/* ---- what they do not have ------------------------------------------------------------------------------------------------ */

static void server_keep_alive(struct cloud_broker_options *options)
{
    options->keep_alive_maximum_s = 10;
    options->keep_alive_minimum_s = 2;
}

static void small_window(struct cloud_broker_options *options)
{
    options->receive_maximum = 2;
}

static void small_packets(struct cloud_broker_options *options)
{
    options->maximum_packet_size = 2048;
}

static void no_aliases(struct cloud_broker_options *options)
{
    options->topic_alias_maximum = 0;
}

static void aliases_out(struct cloud_broker_options *options)
{
    options->outbound_topic_aliases = 8;
}

static void qos_1(struct cloud_broker_options *options)
{
    options->maximum_qos = 1;
}

static void qos_0(struct cloud_broker_options *options)
{
    options->maximum_qos = 0;
}

static void no_retain(struct cloud_broker_options *options)
{
    options->retain_available = false;
}

static void no_wildcards(struct cloud_broker_options *options)
{
    options->wildcard_available = false;
}

static void no_identifiers(struct cloud_broker_options *options)
{
    options->subscription_ids_available = false;
}

static void no_shares(struct cloud_broker_options *options)
{
    options->shared_available = false;
}

static void short_sessions(struct cloud_broker_options *options)
{
    options->maximum_session_expiry_s = 10;
}

static void hardly_any_sessions(struct cloud_broker_options *options)
{
    options->maximum_session_expiry_s = 1;
}

static void strict_ids(struct cloud_broker_options *options)
{
    options->require_client_id = true;
    options->allow_v311 = false;
    options->dollar_topics_reserved = true;
}

/* ---- how they answer --------------------------------------------------------------------------------------------------------- */

static bool no_goodbye(struct link *link, struct seen *seen)
{
    return !is(seen, MQ5_DISCONNECT);
}

static bool no_refusals(struct link *link, struct seen *seen)
{
    return !(is(seen, MQ5_CONNACK) && seen->packet.connack.reason);
}

/* number: the reason of PUBACK and PUBREC that tells nothing of subscribers. */
static bool one_success(struct link *link, struct seen *seen)
{
    if ((!is(seen, MQ5_PUBACK) && !is(seen, MQ5_PUBREC)) || seen->packet.ack.reason >= 0x80 || link->version != MQ5_V5)
        return true;
    seen->packet.ack.reason = (uint8_t)mutant_of(link)->number;
    return edited(link, seen);
}

static bool closes_on_bad_filters(struct link *link, struct seen *seen)
{
    if (!is(seen, MQ5_SUBACK))
        return true;
    for (uint32_t i = 0; i < seen->packet.suback.reasons.length; i++)
        if (seen->packet.suback.reasons.data[i] >= 0x80) {
            if (link->version == MQ5_V5)
                to_client(link, &(struct mq5_packet){.type = MQ5_DISCONNECT,
                                                     .disconnect = {.reason = seen->packet.suback.reasons.data[i]}});
            return hang_up(link);
        }
    return true;
}

static bool grants_less(struct link *link, struct seen *seen)
{
    if (!is(seen, MQ5_SUBSCRIBE))
        return true;
    struct mq5_subscription *list = filters_of(link, seen);
    for (uint32_t i = 0; i < seen->packet.subscribe.count; i++)
        if (list[i].qos > mutant_of(link)->number)
            list[i].qos = (uint8_t)mutant_of(link)->number;
    return edited(link, seen);
}

/* A retained message of QoS 0 ends the one before, and goes to who is there; nobody is given it later. */
static bool note_retained(struct link *link, struct seen *seen)
{
    if (is(seen, MQ5_PUBLISH) && seen->packet.publish.retain)
        note_make(link->served, 'q', seen->packet.publish.topic)->value = seen->packet.publish.qos ? 0 : now_us();
    return true;
}

static bool qos_0_is_not_kept(struct link *link, struct seen *seen)
{
    struct note *note = is(seen, MQ5_PUBLISH) && seen->packet.publish.retain
                            ? note_find(link->served, 'q', seen->packet.publish.topic)
                            : NULL;
    return note && note->value && now_us() - note->value > 20 * US_PER_MS ? swallow(link, seen) : true;
}

static bool always_unsubscribed(struct link *link, struct seen *seen)
{
    if (!is(seen, MQ5_UNSUBACK) || link->version != MQ5_V5)
        return true;
    struct span reasons = scratch_copy(link->served, seen->packet.suback.reasons);
    for (uint32_t i = 0; i < reasons.length; i++)
        if (reasons.data[i] == MQ5_NO_SUBSCRIPTION_EXISTED)
            ((uint8_t *)reasons.data)[i] = MQ5_SUCCESS;
    seen->packet.suback.reasons = reasons;
    return edited(link, seen);
}

/* A client may not send a PUBLISH again over the connection that it went over before (4.4.0-1). */
static bool ends_on_repetition(struct link *link, struct seen *seen)
{
    if (is(seen, MQ5_PUBREL))
        *id_byte(link, seen->packet.ack.packet_id) = 0;
    if (!is(seen, MQ5_PUBLISH) || seen->packet.publish.qos != 2)
        return true;
    uint8_t *open = id_byte(link, seen->packet.publish.packet_id);
    if (!*open) {
        *open = 1;
        return true;
    }
    if (link->version == MQ5_V5)
        to_client(link, &(struct mq5_packet){.type = MQ5_DISCONNECT, .disconnect = {.reason = MQ5_PROTOCOL_ERROR}});
    return hang_up(link);
}

/* Reason strings and user properties wherever they may be. number 1: not in CONNACK, so that clients can ask for packets smaller than any with them. */
static bool talkative(struct link *link, struct seen *seen)
{
    static const struct mq5_user_property user = {SPAN_LITERAL("node"), SPAN_LITERAL("seven")};
    struct mq5_properties *properties = properties_of(seen);
    bool wanted = !has(&link->login.properties, MQ5_REQUEST_PROBLEM_INFORMATION) ||
                  link->login.properties.request_problem_information;
    struct span before = seen->bytes;
    bool kept_short = seen->type == MQ5_CONNACK && mutant_of(link)->number == 1;
    if (!properties || link->version != MQ5_V5 || seen->type == MQ5_PUBLISH || kept_short ||
        (!wanted && seen->type != MQ5_CONNACK && seen->type != MQ5_DISCONNECT))
        return true;
    properties->present |= MQ5_BIT(MQ5_REASON_STRING) | MQ5_BIT(MQ5_USER_PROPERTY);
    properties->reason_string = SPAN_LITERAL("as you wish");
    properties->user = &user;
    properties->user_count = 1;
    edited(link, seen);
    if (has(&link->login.properties, MQ5_MAXIMUM_PACKET_SIZE) &&
        seen->bytes.length > link->login.properties.maximum_packet_size)
        seen->bytes = before;
    return true;
}

/* Every acknowledgement with its reason code and the length of its properties. */
static bool long_forms(struct link *link, struct seen *seen)
{
    static const struct mq5_raw no_properties = {.set_properties = true, .properties = {(const uint8_t *)"", 1}};
    bool ack = seen->status == MQ5_OK && seen->type >= MQ5_PUBACK && seen->type <= MQ5_PUBCOMP;
    if (!ack || link->version != MQ5_V5 || seen->packet.ack.properties.present)
        return true;
    struct span before = seen->bytes;
    edited_raw(link, seen, &no_properties);
    if (has(&link->login.properties, MQ5_MAXIMUM_PACKET_SIZE) &&
        seen->bytes.length > link->login.properties.maximum_packet_size)
        seen->bytes = before;
    return true;
}

/* What would be understood without being said. */
static bool says_defaults(struct link *link, struct seen *seen)
{
    if (!is(seen, MQ5_CONNACK) || link->version != MQ5_V5 || seen->packet.connack.reason)
        return true;
    struct mq5_properties *properties = &seen->packet.connack.properties;
    struct span before = seen->bytes;
    properties->present |=
        MQ5_BIT(MQ5_RECEIVE_MAXIMUM) | MQ5_BIT(MQ5_RETAIN_AVAILABLE) | MQ5_BIT(MQ5_WILDCARD_SUBSCRIPTION_AVAILABLE) |
        MQ5_BIT(MQ5_SUBSCRIPTION_IDENTIFIER_AVAILABLE) | MQ5_BIT(MQ5_SHARED_SUBSCRIPTION_AVAILABLE) |
        MQ5_BIT(MQ5_MAXIMUM_PACKET_SIZE) | MQ5_BIT(MQ5_SERVER_KEEP_ALIVE) | MQ5_BIT(MQ5_SESSION_EXPIRY_INTERVAL);
    properties->receive_maximum = 65535;
    properties->retain_available = properties->wildcard_available = properties->subscription_id_available =
        properties->shared_available = 1;
    properties->maximum_packet_size = 268435460;
    properties->server_keep_alive_s = link->login.keep_alive_s;
    properties->session_expiry_s = link->login.properties.session_expiry_s;
    if (has(&link->login.properties, MQ5_REQUEST_RESPONSE_INFORMATION) &&
        link->login.properties.request_response_information) {
        properties->present |= MQ5_BIT(MQ5_RESPONSE_INFORMATION);
        properties->response_information = SPAN_LITERAL("replies/");
    }
    edited(link, seen);
    if (has(&link->login.properties, MQ5_MAXIMUM_PACKET_SIZE) &&
        seen->bytes.length > link->login.properties.maximum_packet_size)
        seen->bytes = before;
    return true;
}

/* Messages may come before SUBACK. */
static void send_now(struct link *link, struct span bytes)
{
    to_client_bytes(link, bytes);
}

static bool late_suback(struct link *link, struct seen *seen)
{
    if (seen->type != MQ5_SUBACK)
        return true;
    later(link, 60 * US_PER_MS, send_now, seen->bytes);
    return false;
}

/* ---- several copies for overlapping subscriptions ------------------------------------------------------------------------------ */

#define OWN_IDS 40000 /* packet identifiers from here are not the core's */

static bool own_handshake(struct link *link, struct seen *seen)
{
    bool ack = seen->status == MQ5_OK && seen->type >= MQ5_PUBACK && seen->type <= MQ5_PUBCOMP;
    if (!ack || seen->packet.ack.packet_id < OWN_IDS || seen->type == MQ5_PUBREL)
        return true;
    if (seen->type == MQ5_PUBREC && seen->packet.ack.reason < 0x80)
        ack_to_client(link, MQ5_PUBREL, seen->packet.ack.packet_id, MQ5_SUCCESS);
    return false;
}

static bool a_copy_each(struct link *link, struct seen *seen)
{
    if (!is(seen, MQ5_PUBLISH) || link->version != MQ5_V5 || seen->packet.publish.dup ||
        subscribed_matches(link, seen->packet.publish.topic) < 2)
        return true;
    uint32_t window =
        has(&link->login.properties, MQ5_RECEIVE_MAXIMUM) ? link->login.properties.receive_maximum : 65535;
    struct span topic = seen->packet.publish.topic;
    bool first = true;
    struct mq5_publish publish = seen->packet.publish;
    for (struct subscribed *each = subscribed_first(link->served); each; each = each->next) {
        if (!span_equal(each->client_id, link->login.client_id) || starts_with(each->filter, "$share/") ||
            !mq5_topic_matches(each->filter, topic))
            continue;
        struct mq5_packet packet = {.type = MQ5_PUBLISH, .publish = publish};
        struct mq5_properties *properties = &packet.publish.properties;
        without(properties, MQ5_SUBSCRIPTION_IDENTIFIER);
        properties->subscription_ids = &each->subscription_id;
        properties->subscription_id_count = each->subscription_id != 0;
        if (each->subscription_id)
            properties->present |= MQ5_BIT(MQ5_SUBSCRIPTION_IDENTIFIER);
        bool best = first && each->options.qos >= publish.qos;
        if (best) { /* the core's own packet identifier goes with the copy that has its QoS */
            first = false;
            to_client(link, &packet);
            continue;
        }
        if (each->options.qos < packet.publish.qos)
            packet.publish.qos = each->options.qos;
        if (packet.publish.qos && link->in_flight >= window)
            continue;
        packet.publish.packet_id = 0;
        if (packet.publish.qos) {
            packet.publish.packet_id = (uint16_t)(OWN_IDS + link->n[1]++ % 20000);
            link->in_flight++;
        }
        to_client(link, &packet);
    }
    return first;
}

/* ---- time -------------------------------------------------------------------------------------------------------------------------- */

static void look_at_silence(struct link *link, struct span bytes)
{
    int64_t patience_ms = link->login.keep_alive_s * 1400;
    uint32_t silent_ms = (uint32_t)(now_us() / US_PER_MS) - link->n[2];
    if (silent_ms < patience_ms) {
        later(link, (patience_ms - silent_ms) * US_PER_MS, look_at_silence, (struct span){0});
        return;
    }
    if (link->version == MQ5_V5)
        to_client(link, &(struct mq5_packet){.type = MQ5_DISCONNECT, .disconnect = {.reason = MQ5_KEEP_ALIVE_TIMEOUT}});
    hang_up(link);
}

static bool closes_a_little_early(struct link *link, struct seen *seen)
{
    link->n[2] = (uint32_t)(now_us() / US_PER_MS);
    if (is(seen, MQ5_CONNECT) && seen->packet.connect.keep_alive_s)
        later(link, seen->packet.connect.keep_alive_s * 1400 * US_PER_MS, look_at_silence, (struct span){0});
    return true;
}

/* A client that begins again is sent away. */
static bool once_only(struct link *link, struct seen *seen)
{
    if (!is(seen, MQ5_AUTH) || !link->accepted || !has(&link->login.properties, MQ5_AUTHENTICATION_METHOD))
        return true;
    to_client(link, &(struct mq5_packet){.type = MQ5_DISCONNECT,
                                         .disconnect = {.reason = MQ5_IMPLEMENTATION_SPECIFIC_ERROR}});
    return hang_up(link);
}

/* The end of a second authentication as short as it can be. */
static bool short_auth(struct link *link, struct seen *seen)
{
    static const uint8_t bytes[] = {MQ5_AUTH << 4, 0};
    if (is(seen, MQ5_AUTH) && seen->packet.auth.reason == MQ5_SUCCESS)
        seen->bytes = (struct span){bytes, sizeof(bytes)};
    return true;
}

MUTANT_TABLE(oddities, {.name = "connections end without a DISCONNECT", .out = no_goodbye},
             {.name = "who is refused gets no CONNACK", .out = no_refusals},
             {.name = "PUBACK and PUBREC never say 0x10", .out = one_success, .number = 0},
             {.name = "PUBACK and PUBREC always say 0x10", .out = one_success, .number = MQ5_NO_MATCHING_SUBSCRIBERS},
             {.name = "one copy for each overlapping subscription", .in = own_handshake, .out = a_copy_each},
             {.name = "bad filters end the connection", .out = closes_on_bad_filters},
             {.name = "QoS 1 is the most that is granted", .in = grants_less, .number = 1},
             {.name = "QoS 0 is the most that is granted", .in = grants_less, .number = 0},
             {.name = "a PUBLISH that is sent again over its connection ends it", .in = ends_on_repetition},
             {.name = "some are refused", .in = refuse_some, .told = REFUSED},
             {.name = "a method that needs no AUTH",
              .told = "{\"auth_method\": \"" DOOR_METHOD "\", \"auth_data\": \"" DOOR_AT_ONCE "\"}"},
             {.name = "nobody authenticates a second time", .in = once_only},
             {.name = "AUTH 0x00 in its shortest form", .out = short_auth},
             {.name = "Server Keep Alive of 2 to 10 s", .options = server_keep_alive},
             {.name = "Receive Maximum 2", .options = small_window},
             {.name = "Maximum Packet Size 2,048", .options = small_packets},
             {.name = "no topic aliases from clients", .options = no_aliases},
             {.name = "topic aliases for clients", .options = aliases_out}, {.name = "Maximum QoS 1", .options = qos_1},
             {.name = "Maximum QoS 0", .options = qos_0}, {.name = "no retained messages", .options = no_retain},
             {.name = "no wildcards", .options = no_wildcards},
             {.name = "no subscription identifiers", .options = no_identifiers},
             {.name = "no shared subscriptions", .options = no_shares},
             {.name = "sessions of at most 10 s", .options = short_sessions},
             {.name = "sessions of at most 1 s", .options = hardly_any_sessions},
             {.name = "no empty client ids, no 3.1.1, no topics with $", .options = strict_ids},
             {.name = "QoS 0 is not retained", .in = note_retained, .out = qos_0_is_not_kept},
             {.name = "UNSUBACK never says 0x11", .out = always_unsubscribed},
             {.name = "reason strings and user properties wherever they may be", .out = talkative},
             {.name = "reason strings and user properties behind CONNACK only", .out = talkative, .number = 1},
             {.name = "acknowledgements in their longest form", .out = long_forms},
             {.name = "CONNACK says what goes without saying", .out = says_defaults},
             {.name = "SUBACK comes later than the first messages", .out = late_suback},
             {.name = "everything comes 60 ms late", .delay_ms = 60},
             {.name = "everything comes byte by byte", .piece = 1},
             {.name = "1.4 times the Keep Alive is enough", .in = closes_a_little_early}, )
