/* monitor.c: looks at every packet that any check is sent, and at nothing else: rules that hold for all of them.
 *
 * A monitor that looked at a packet has "seen" it; only a monitor that has seen some says anything about its statement. What is sent is parsed
 * leniently, since checks send what is forbidden.
 */
#include "internal.h"
#include "mqtt5/topic.h"

enum monitor {
    M_UTF8,
    M_NUL,
    M_VBI,
    M_FLAGS,
    M_DIRECTION,
    M_QOS_0_ID,
    M_ID_FREE,
    M_ACK_ID,
    M_SUBACK_ID,
    M_EMPTY_PROPERTIES,
    M_PROPERTY_LEGAL,
    M_PROPERTY_ONCE,
    M_PROPERTY_LENGTH,
    M_LENGTH,
    M_CONNACK_FIRST,
    M_CONNACK_ONCE,
    M_CONNACK_FLAGS,
    M_REFUSED_SESSION,
    M_CONNACK_REASON,
    M_CONNACK_RECEIVE_MAXIMUM,
    M_CONNACK_MAXIMUM_QOS,
    M_CONNACK_RETAIN,
    M_CONNACK_PACKET_SIZE,
    M_CONNACK_PROPERTY_ONCE,
    M_PACKET_SIZE,
    M_ALIAS_MAXIMUM,
    M_NO_ALIAS,
    M_ALIAS_ZERO,
    M_ALIAS_KNOWN,
    M_RESPONSE_INFORMATION,
    M_PROBLEM_INFORMATION,
    M_QOS_0_DUP,
    M_QOS_3,
    M_TOPIC_WILDCARD,
    M_TOPIC_MATCHES,
    M_RESPONSE_TOPIC,
    M_SUBSCRIPTION_ID_ZERO,
    M_WILL_DELAY,
    M_FIRST_DUP,
    M_NO_RESEND,
    M_IN_FLIGHT,
    M_PUBACK_REASON,
    M_PUBREC_REASON,
    M_PUBREL_FLAGS,
    M_PUBREL_REASON,
    M_PUBCOMP_REASON,
    M_SUBACK_COUNT,
    M_SUBACK_REASON,
    M_UNSUBACK_REASON,
    M_DISCONNECT_EARLY,
    M_DISCONNECT_REASON,
    M_DISCONNECT_EXPIRY,
    M_AFTER_DISCONNECT,
    M_ERROR_CLOSES,
    M_NO_AUTH,
    M_AUTH_REASON,
    M_COUNT,
};

static const struct conform_monitor monitors[M_COUNT] = {
    [M_UTF8] = {"M-UTF8", {"MQTT-1.5.4-1", "MQTT-1.5.7-1", "MQTT-3.3.2-1"}, "strings are UTF-8"},
    [M_NUL] = {"M-NUL", {"MQTT-1.5.4-2", "MQTT-4.7.3-2"}, "no string has a U+0000"},
    [M_VBI] = {"M-VBI", {"MQTT-1.5.5-1"}, "variable byte integers have their shortest form"},
    [M_FLAGS] = {"M-FLAGS", {"MQTT-2.1.3-1"}, "reserved flags are as the table has them"},
    [M_DIRECTION] = {"M-DIRECTION", {"S3.13a"}, "only packets that a server may send"},
    [M_QOS_0_ID] = {"M-QOS0-ID", {"MQTT-2.2.1-2"}, "a PUBLISH of QoS 0 has no packet identifier"},
    [M_ID_FREE] = {"M-ID-FREE",
                   {"MQTT-2.2.1-4", "MQTT-4.3.2-1", "MQTT-4.3.3-1"},
                   "packet identifiers are not zero and not in use"},
    [M_ACK_ID] = {"M-ACK-ID", {"MQTT-2.2.1-5"}, "acknowledgements carry an identifier that waits for one"},
    [M_SUBACK_ID] = {"M-SUBACK-ID",
                     {"MQTT-2.2.1-6", "MQTT-3.8.4-2"},
                     "SUBACK and UNSUBACK carry the identifier of a request"},
    [M_EMPTY_PROPERTIES] = {"M-EMPTY-PROPERTIES", {"MQTT-2.2.2-1"}, "no properties are a length of zero"},
    [M_PROPERTY_LEGAL] = {"M-PROPERTY-LEGAL", {"S2.2.2.2a"}, "only properties that the packet may have"},
    [M_PROPERTY_ONCE] = {"M-PROPERTY-ONCE", {"S2.2.2.2c"}, "no property twice but those that may be"},
    [M_PROPERTY_LENGTH] = {"M-PROPERTY-LENGTH", {"S2.2.2.2b"}, "properties end where their length says"},
    [M_LENGTH] = {"M-LENGTH", {"S2.1.4b"}, "a packet ends where its length says"},
    [M_CONNACK_FIRST] = {"M-CONNACK-FIRST", {"MQTT-3.2.0-1"}, "nothing but AUTH before CONNACK"},
    [M_CONNACK_ONCE] = {"M-CONNACK-ONCE", {"MQTT-3.2.0-2"}, "one CONNACK a connection"},
    [M_CONNACK_FLAGS] = {"M-CONNACK-FLAGS", {"MQTT-3.2.2-1"}, "acknowledge flags 7 to 1 are zero"},
    [M_REFUSED_SESSION] = {"M-REFUSED-SESSION", {"MQTT-3.2.2-6"}, "a refusal has Session Present 0"},
    [M_CONNACK_REASON] = {"M-CONNACK-REASON", {"MQTT-3.2.2-8"}, "reason codes of CONNACK are in its table"},
    [M_CONNACK_RECEIVE_MAXIMUM] = {"M-CONNACK-RECEIVE-MAXIMUM", {"S3.2.2.3.3a"}, "Receive Maximum is not 0"},
    [M_CONNACK_MAXIMUM_QOS] = {"M-CONNACK-MAXIMUM-QOS", {"S3.2.2.3.4a"}, "Maximum QoS is 0 or 1"},
    [M_CONNACK_RETAIN] = {"M-CONNACK-RETAIN", {"S3.2.2.3.5a"}, "Retain Available is 0 or 1"},
    [M_CONNACK_PACKET_SIZE] = {"M-CONNACK-PACKET-SIZE", {"S3.2.2.3.6a"}, "Maximum Packet Size is not 0"},
    [M_CONNACK_PROPERTY_ONCE] = {"M-CONNACK-PROPERTY-ONCE",
                                 {"S3.2.2.3.x", "S2.2.2.2c"},
                                 "no property of CONNACK twice but User Property"},
    [M_PACKET_SIZE] = {"M-PACKET-SIZE", {"MQTT-3.1.2-24"}, "no packet above the client's Maximum Packet Size"},
    [M_ALIAS_MAXIMUM] = {"M-ALIAS-MAXIMUM",
                         {"MQTT-3.1.2-26", "MQTT-3.3.2-11"},
                         "topic aliases up to the client's maximum"},
    [M_NO_ALIAS] = {"M-NO-ALIAS", {"MQTT-3.1.2-27"}, "no topic alias for a client that allows none"},
    [M_ALIAS_ZERO] = {"M-ALIAS-ZERO", {"MQTT-3.3.2-8"}, "no topic alias is 0"},
    [M_ALIAS_KNOWN] = {"M-ALIAS-KNOWN",
                       {"S3.3.2.1a", "S3.3.2.3.4b", "MQTT-3.3.2-7"},
                       "an empty topic has an alias this connection has been told"},
    [M_RESPONSE_INFORMATION] = {"M-RESPONSE-INFORMATION",
                                {"MQTT-3.1.2-28"},
                                "Response Information only when asked for"},
    [M_PROBLEM_INFORMATION] = {"M-PROBLEM-INFORMATION",
                               {"MQTT-3.1.2-29"},
                               "no reasons in words where they were not wanted"},
    [M_QOS_0_DUP] = {"M-QOS0-DUP", {"MQTT-3.3.1-2", "MQTT-4.3.1-1"}, "DUP is 0 with QoS 0"},
    [M_QOS_3] = {"M-QOS3", {"MQTT-3.3.1-4"}, "QoS is never 3"},
    [M_TOPIC_WILDCARD] = {"M-TOPIC-WILDCARD", {"MQTT-3.3.2-2", "MQTT-4.7.0-1"}, "no wildcard in a topic name"},
    [M_TOPIC_MATCHES] = {"M-TOPIC-MATCHES", {"MQTT-3.3.2-3"}, "what is delivered matches a filter of this client"},
    [M_RESPONSE_TOPIC] = {"M-RESPONSE-TOPIC", {"MQTT-3.3.2-14"}, "a Response Topic has no wildcard, and is not empty"},
    [M_SUBSCRIPTION_ID_ZERO] = {"M-SUBSCRIPTION-ID-ZERO", {"S3.3.2.3.8a"}, "no Subscription Identifier is 0"},
    [M_WILL_DELAY] = {"M-WILL-DELAY", {"S3.1.3.2.2c"}, "no Will Delay Interval in a PUBLISH"},
    [M_FIRST_DUP] = {"M-FIRST-DUP", {"MQTT-4.3.2-2", "MQTT-4.3.3-2"}, "DUP is 0 on what is sent for the first time"},
    [M_NO_RESEND] = {"M-NO-RESEND", {"MQTT-4.4.0-1"}, "nothing is sent again while the connection lives"},
    [M_IN_FLIGHT] = {"M-IN-FLIGHT",
                     {"MQTT-3.3.4-9", "MQTT-4.9.0-1", "MQTT-4.9.0-2"},
                     "not more in flight than the client's Receive Maximum"},
    [M_PUBACK_REASON] = {"M-PUBACK-REASON", {"MQTT-3.4.2-1"}, "reason codes of PUBACK are in its table"},
    [M_PUBREC_REASON] = {"M-PUBREC-REASON", {"MQTT-3.5.2-1"}, "reason codes of PUBREC are in its table"},
    [M_PUBREL_FLAGS] = {"M-PUBREL-FLAGS", {"MQTT-3.6.1-1"}, "flags of PUBREL are 0010"},
    [M_PUBREL_REASON] = {"M-PUBREL-REASON", {"MQTT-3.6.2-1"}, "reason codes of PUBREL are in its table"},
    [M_PUBCOMP_REASON] = {"M-PUBCOMP-REASON", {"MQTT-3.7.2-1"}, "reason codes of PUBCOMP are in its table"},
    [M_SUBACK_COUNT] = {"M-SUBACK-COUNT", {"MQTT-3.8.4-6"}, "as many reason codes as filters"},
    [M_SUBACK_REASON] = {"M-SUBACK-REASON",
                         {"MQTT-3.9.3-2", "MQTT-3.8.4-7"},
                         "reason codes of SUBACK are in its table"},
    [M_UNSUBACK_REASON] = {"M-UNSUBACK-REASON",
                           {"MQTT-3.11.3-2"},
                           "reason codes of UNSUBACK are in its table, one a filter"},
    [M_DISCONNECT_EARLY] = {"M-DISCONNECT-EARLY", {"MQTT-3.14.0-1"}, "no DISCONNECT before a CONNACK that accepts"},
    [M_DISCONNECT_REASON] = {"M-DISCONNECT-REASON", {"MQTT-3.14.2-1"}, "reason codes of DISCONNECT are in its table"},
    [M_DISCONNECT_EXPIRY] = {"M-DISCONNECT-EXPIRY",
                             {"MQTT-3.14.2-2"},
                             "no Session Expiry Interval in a server's DISCONNECT"},
    [M_AFTER_DISCONNECT] = {"M-AFTER-DISCONNECT", {"MQTT-3.14.4-1"}, "nothing after DISCONNECT"},
    [M_ERROR_CLOSES] = {"M-ERROR-CLOSES",
                        {"MQTT-4.13.2-1", "MQTT-3.14.4-2", "MQTT-3.2.2-7"},
                        "an error in CONNACK, and any DISCONNECT, is the connection's end"},
    [M_NO_AUTH] = {"M-NO-AUTH", {"MQTT-4.12.0-6"}, "no AUTH and no method for a client without one"},
    [M_AUTH_REASON] = {"M-AUTH-REASON", {"MQTT-3.15.2-1"}, "reason codes of AUTH are in its table"},
};

const struct conform_monitor *conform_monitor_at(uint32_t index)
{
    return index < M_COUNT ? &monitors[index] : NULL;
}

_Static_assert(M_COUNT <= 64, "struct conform_outcome counts 64 of them");

/* What is known of one connection. Tables by packet identifier. */
enum {
    SENT_QOS_1 = 1,
    SENT_QOS_2 = 2,
    SENT_RELEASE = 4,
    SENT_SUBSCRIBE = 8,
    SENT_UNSUBSCRIBE = 16,
    SENT_RECEIVED = 32
};
enum { CAME_PUBLISH = 1, CAME_QOS_2 = 2, CAME_RELEASE = 4 };
struct watch {
    uint8_t *sent, *came;   /* 65,536 each; NULL: nothing with an identifier yet */
    uint16_t *filters_sent; /* how many filters the request had; NULL with sent */
    uint8_t *aliases;       /* told: 65,536 */
    uint32_t in_flight;
    bool disconnect_came, error_came, ended;
    int64_t must_close_us; /* since when the connection should be over */
    uint32_t must_close_line;
};

struct subscribed {
    struct subscribed *next;
    struct span client_id, filter;
};

struct watch *watch_create(struct conform_probe *probe)
{
    return arena_take(&probe->arena, sizeof(struct watch));
}

static bool found_before(const struct conform_probe *probe, const char *id)
{
    for (uint32_t i = 0; i < probe->finding_count; i++)
        if (strcmp(probe->findings[i].id, id) == 0)
            return true;
    return false;
}

/* What the catalogue of 3.1.1 says to a monitor; NULL: nothing, it does not judge there. */
static const char *ref_311(enum monitor monitor)
{
    static const struct {
        enum monitor monitor;
        const char *ref;
    } refs[] = {
        {M_UTF8, "V3-MQTT-1.5.3-1"},          {M_NUL, "V3-MQTT-1.5.3-2"},
        {M_FLAGS, "V3-MQTT-2.2.2-2"},         {M_PUBREL_FLAGS, "V3-MQTT-3.6.1-1"},
        {M_ACK_ID, "V3-MQTT-2.3.1-6"},        {M_SUBACK_ID, "V3-MQTT-2.3.1-7"},
        {M_CONNACK_FIRST, "V3-MQTT-3.2.0-1"}, {M_QOS_0_DUP, "V3-MQTT-3.3.1-2"},
        {M_QOS_3, "V3-MQTT-3.3.1-4"},         {M_TOPIC_WILDCARD, "V3-MQTT-3.3.2-2"},
        {M_SUBACK_COUNT, "V3-MQTT-3.8.4-5"},  {M_SUBACK_REASON, "V3-MQTT-3.9.3-2"},
        {M_LENGTH, "V3-MQTT-4.8.0-1"},        {M_DIRECTION, "V3-MQTT-4.8.0-1"},
    };
    for (size_t i = 0; i < sizeof(refs) / sizeof(refs[0]); i++)
        if (refs[i].monitor == monitor)
            return refs[i].ref;
    return NULL;
}

static bool judge(struct wire *wire, enum monitor monitor, bool holds, uint32_t line, const char *text)
{
    struct suite *suite = wire->probe->suite;
    const char *ref = suite_protocol(suite) == MQ5_V311 ? ref_311(monitor) : monitors[monitor].refs[0];
    if (!ref)
        return true;
    pthread_mutex_lock(&suite->lock);
    suite->monitor_seen[monitor]++;
    suite->monitor_hits[monitor] += !holds;
    pthread_mutex_unlock(&suite->lock);
    if (!holds && !found_before(wire->probe, monitors[monitor].id)) { /* once a check: the rest is in the trace */
        probe_finding(wire->probe, CONFORM_FAIL, monitors[monitor].id, ref, line, "%s", text);
    }
    if (!holds)
        trace_event(wire->probe, wire->number, "%s: %s", monitors[monitor].id, text);
    return holds;
}

static void make_tables(struct wire *wire)
{
    struct watch *watch = wire->watch;
    if (watch->sent)
        return;
    watch->sent = arena_take(&wire->probe->arena, 65536);
    watch->came = arena_take(&wire->probe->arena, 65536);
    watch->filters_sent = arena_take(&wire->probe->arena, 65536 * sizeof(uint16_t));
}

/* ---- what is sent ------------------------------------------------------------------------------------------------------------------- */

static uint16_t two_bytes(const uint8_t *at)
{
    return (uint16_t)(at[0] << 8 | at[1]);
}

static void note_filters(struct wire *wire, struct span bytes, uint16_t id)
{
    struct mq5_packet packet;
    struct mq5_subscription each;
    uint32_t offset = 0;
    if (mq5_decode(wire->version, MQ5_FROM_CLIENT, bytes.data, bytes.length, &packet, NULL) != MQ5_OK) {
        wire->watch->filters_sent[id] = 0; /* an answer to what is no legal request is not counted */
        return;
    }
    wire->watch->filters_sent[id] = (uint16_t)packet.subscribe.count;
    while (packet.type == MQ5_SUBSCRIBE &&
           mq5_subscription_next(&packet.subscribe, MQ5_SUBSCRIBE, wire->version, &offset, &each)) {
        struct subscribed *entry = arena_take(&wire->probe->arena, sizeof(*entry));
        struct span share;
        entry->filter = each.filter;
        if (each.filter.length > 7 && memcmp(each.filter.data, "$share/", 7) == 0)
            mq5_topic_share_split(each.filter, &share, &entry->filter);
        entry->client_id = wire->login.client_id;
        entry->next = wire->probe->subscribed;
        wire->probe->subscribed = entry;
    }
}

static void note_acknowledged(struct watch *watch, uint8_t type, uint16_t id, uint8_t reason)
{
    uint8_t *came = &watch->came[id];
    bool done = (type == MQ5_PUBACK && *came == CAME_PUBLISH) || (type == MQ5_PUBCOMP && *came) ||
                (type == MQ5_PUBREC && *came && reason >= 0x80);
    if (!done)
        return;
    *came = 0;
    if (watch->in_flight)
        watch->in_flight--;
}

void watch_sent(struct wire *wire, struct span bytes)
{
    struct watch *watch = wire->watch;
    uint32_t at = 1;
    while (at < bytes.length && at < 5 && bytes.data[at] & 0x80)
        at++;
    at++;
    uint8_t type = bytes.length ? bytes.data[0] >> 4 : 0, flags = bytes.length ? bytes.data[0] & 15 : 0;
    if (type == MQ5_PUBLISH && flags & 6 && at + 2 <= bytes.length)
        at += 2u + two_bytes(bytes.data + at);
    bool has_id =
        (type == MQ5_PUBLISH && flags & 6) || (type >= MQ5_PUBACK && type <= MQ5_SUBSCRIBE) || type == MQ5_UNSUBSCRIBE;
    if (!has_id || at + 2 > bytes.length)
        return;
    uint16_t id = two_bytes(bytes.data + at);
    make_tables(wire);
    switch (type) {
    case MQ5_PUBLISH: watch->sent[id] |= (flags & 6) == 2 ? SENT_QOS_1 : SENT_QOS_2; break;
    case MQ5_PUBREC: watch->sent[id] |= SENT_RECEIVED; break;
    case MQ5_PUBREL: watch->sent[id] |= SENT_RELEASE; break;
    case MQ5_SUBSCRIBE:
    case MQ5_UNSUBSCRIBE:
        watch->sent[id] |= type == MQ5_SUBSCRIBE ? SENT_SUBSCRIBE : SENT_UNSUBSCRIBE;
        note_filters(wire, bytes, id);
        break;
    default: break;
    }
    if (type <= MQ5_PUBCOMP && type != MQ5_PUBLISH)
        note_acknowledged(watch, type, id, at + 2 < bytes.length ? bytes.data[at + 2] : 0);
}

/* ---- what comes ------------------------------------------------------------------------------------------------------------------------ */

static bool has(const struct mq5_properties *properties, enum mq5_property property)
{
    return properties->present & MQ5_BIT(property);
}

static uint16_t limit(const struct wire *wire, enum mq5_property property, uint16_t value, uint16_t absent)
{
    return has(&wire->login.properties, property) ? value : absent;
}

static void came_connack(struct wire *wire, const struct received *received)
{
    const struct mq5_connack *connack = &received->packet.connack;
    bool first = wire->inbox_count == 0 || wire->inbox[wire->inbox_count - 1]->packet.type == MQ5_AUTH;
    judge(wire, M_CONNACK_ONCE, wire_count_of(wire, MQ5_CONNACK) == 0, received->line, "a second CONNACK");
    judge(wire, M_CONNACK_FLAGS, true, received->line, "");
    judge(wire, M_CONNACK_REASON, true, received->line, "");
    if (connack->reason == MQ5_SUCCESS)
        judge(wire, M_CONNACK_FIRST, first, received->line, "CONNACK is not the first packet");
    else
        judge(wire, M_REFUSED_SESSION, true, received->line, "");
    if (wire->version != MQ5_V5)
        return;
    if (connack->properties.present)
        judge(wire, M_CONNACK_PROPERTY_ONCE, true, received->line, "");
    if (has(&connack->properties, MQ5_RECEIVE_MAXIMUM))
        judge(wire, M_CONNACK_RECEIVE_MAXIMUM, connack->properties.receive_maximum > 0, received->line,
              "Receive Maximum 0");
    if (has(&connack->properties, MQ5_MAXIMUM_PACKET_SIZE))
        judge(wire, M_CONNACK_PACKET_SIZE, connack->properties.maximum_packet_size > 0, received->line,
              "Maximum Packet Size 0");
    if (has(&connack->properties, MQ5_MAXIMUM_QOS))
        judge(wire, M_CONNACK_MAXIMUM_QOS, connack->properties.maximum_qos < 2, received->line, "Maximum QoS above 1");
    if (has(&connack->properties, MQ5_RETAIN_AVAILABLE))
        judge(wire, M_CONNACK_RETAIN, connack->properties.retain_available < 2, received->line,
              "Retain Available above 1");
    if (!has(&wire->login.properties, MQ5_REQUEST_RESPONSE_INFORMATION) ||
        wire->login.properties.request_response_information == 0)
        judge(wire, M_RESPONSE_INFORMATION, !has(&connack->properties, MQ5_RESPONSE_INFORMATION), received->line,
              "Response Information that nobody asked for");
    if (!has(&wire->login.properties, MQ5_AUTHENTICATION_METHOD))
        judge(wire, M_NO_AUTH,
              !has(&connack->properties, MQ5_AUTHENTICATION_METHOD) &&
                  !has(&connack->properties, MQ5_AUTHENTICATION_DATA),
              received->line, "CONNACK with an authentication method for a client that has none");
    if (connack->reason >= 0x80) {
        wire->watch->must_close_us = received->at_us;
        wire->watch->must_close_line = received->line;
    }
}

static bool matches_own(const struct wire *wire, struct span topic)
{
    for (const struct subscribed *each = wire->probe->subscribed; each; each = each->next)
        if ((each->client_id.length == 0 || span_equal(each->client_id, wire->login.client_id)) &&
            mq5_topic_matches(each->filter, topic))
            return true;
    return false;
}

static void came_alias(struct wire *wire, const struct received *received)
{
    const struct mq5_publish *publish = &received->packet.publish;
    uint16_t maximum = limit(wire, MQ5_TOPIC_ALIAS_MAXIMUM, wire->login.properties.topic_alias_maximum, 0);
    bool aliased = has(&publish->properties, MQ5_TOPIC_ALIAS);
    if (maximum == 0) {
        judge(wire, M_NO_ALIAS, !aliased, received->line, "a topic alias for a client that allows none");
        return;
    }
    if (!aliased)
        return;
    judge(wire, M_ALIAS_ZERO, true, received->line, "");
    if (!judge(wire, M_ALIAS_MAXIMUM, publish->properties.topic_alias <= maximum, received->line,
               "a topic alias above the client's maximum"))
        return;
    if (!wire->watch->aliases)
        wire->watch->aliases = arena_take(&wire->probe->arena, 65536);
    uint8_t *known = &wire->watch->aliases[publish->properties.topic_alias];
    if (publish->topic.length)
        *known = 1;
    else
        judge(wire, M_ALIAS_KNOWN, *known, received->line,
              "an empty topic, and this connection has not been told its alias");
}

static void came_with_id(struct wire *wire, const struct received *received)
{
    const struct mq5_publish *publish = &received->packet.publish;
    struct watch *watch = wire->watch;
    make_tables(wire);
    uint8_t *came = &watch->came[publish->packet_id];
    bool resumed = wire->connack_came && wire->connack.session_present;
    bool again = *came != 0;
    judge(wire, M_ID_FREE, !again || publish->dup, received->line, "a packet identifier that is in use");
    judge(wire, M_NO_RESEND, !again, received->line, "sent a second time over the same connection");
    if (!resumed)
        judge(wire, M_FIRST_DUP, !publish->dup || again, received->line, "DUP on the first try of a new session");
    if (again)
        return;
    *came = publish->qos == 2 ? CAME_PUBLISH | CAME_QOS_2 : CAME_PUBLISH;
    watch->in_flight++;
    uint16_t maximum = limit(wire, MQ5_RECEIVE_MAXIMUM, wire->login.properties.receive_maximum, 65535);
    judge(wire, M_IN_FLIGHT, watch->in_flight <= maximum, received->line,
          "more in flight than the client's Receive Maximum");
}

static void came_publish(struct wire *wire, const struct received *received)
{
    const struct mq5_publish *publish = &received->packet.publish;
    judge(wire, M_QOS_3, true, received->line, "");
    if (publish->topic.length) {
        judge(wire, M_TOPIC_WILDCARD, true, received->line, "");
        judge(wire, M_TOPIC_MATCHES, matches_own(wire, publish->topic), received->line,
              "a topic that no filter of this client matches");
    }
    if (wire->version == MQ5_V5) {
        came_alias(wire, received);
        judge(wire, M_WILL_DELAY, true, received->line, "");
        if (has(&publish->properties, MQ5_RESPONSE_TOPIC))
            judge(wire, M_RESPONSE_TOPIC, true, received->line, "");
        if (has(&publish->properties, MQ5_SUBSCRIPTION_IDENTIFIER))
            judge(wire, M_SUBSCRIPTION_ID_ZERO, true, received->line, "");
    }
    if (publish->qos == 0) {
        judge(wire, M_QOS_0_DUP, true, received->line, "");
        judge(wire, M_QOS_0_ID, true, received->line, "");
    } else {
        came_with_id(wire, received);
    }
}

static void came_ack(struct wire *wire, const struct received *received)
{
    static const struct {
        uint8_t sent, monitor;
    } of[16] = {
        [MQ5_PUBACK] = {SENT_QOS_1, M_PUBACK_REASON},
        [MQ5_PUBREC] = {SENT_QOS_2, M_PUBREC_REASON},
        [MQ5_PUBREL] = {SENT_RECEIVED, M_PUBREL_REASON},
        [MQ5_PUBCOMP] = {SENT_RELEASE, M_PUBCOMP_REASON},
    };
    const struct mq5_ack *ack = &received->packet.ack;
    uint8_t type = received->packet.type;
    bool resumed = wire->connack_came && wire->connack.session_present;
    make_tables(wire);
    judge(wire, of[type].monitor, true, received->line, "");
    if (type == MQ5_PUBREL)
        judge(wire, M_PUBREL_FLAGS, true, received->line, "");
    if (type != MQ5_PUBREL || !resumed)
        judge(wire, M_ACK_ID, wire->watch->sent[ack->packet_id] & of[type].sent, received->line,
              "an acknowledgement whose packet identifier waits for none");
    if (type == MQ5_PUBREL)
        wire->watch->came[ack->packet_id] |= CAME_RELEASE | CAME_QOS_2;
}

static void came_suback(struct wire *wire, const struct received *received)
{
    const struct mq5_suback *suback = &received->packet.suback;
    bool subscribe = received->packet.type == MQ5_SUBACK;
    make_tables(wire);
    uint16_t filters = wire->watch->filters_sent[suback->packet_id];
    judge(wire, M_SUBACK_ID, wire->watch->sent[suback->packet_id] & (subscribe ? SENT_SUBSCRIBE : SENT_UNSUBSCRIBE),
          received->line, "the packet identifier of no request");
    judge(wire, subscribe ? M_SUBACK_REASON : M_UNSUBACK_REASON,
          subscribe || wire->version != MQ5_V5 || !filters || suback->reasons.length == filters, received->line,
          "not one reason code a filter");
    if (subscribe && filters)
        judge(wire, M_SUBACK_COUNT, suback->reasons.length == filters, received->line, "not one reason code a filter");
}

static const struct mq5_properties *properties_of(const struct mq5_packet *packet)
{
    switch (packet->type) {
    case MQ5_CONNACK: return &packet->connack.properties;
    case MQ5_PUBLISH: return &packet->publish.properties;
    case MQ5_SUBACK:
    case MQ5_UNSUBACK: return &packet->suback.properties;
    case MQ5_DISCONNECT:
    case MQ5_AUTH: return &packet->disconnect.properties;
    case MQ5_PUBACK:
    case MQ5_PUBREC:
    case MQ5_PUBREL:
    case MQ5_PUBCOMP: return &packet->ack.properties;
    default: return NULL;
    }
}

static void came_any(struct wire *wire, const struct received *received)
{
    const struct mq5_packet *packet = &received->packet;
    struct watch *watch = wire->watch;
    judge(wire, M_FLAGS, true, received->line, "");
    judge(wire, M_VBI, true, received->line, "");
    judge(wire, M_LENGTH, true, received->line, "");
    judge(wire, M_DIRECTION, true, received->line, "");
    judge(wire, M_AFTER_DISCONNECT, !watch->disconnect_came, received->line, "a packet after DISCONNECT");
    if (has(&wire->login.properties, MQ5_MAXIMUM_PACKET_SIZE))
        judge(wire, M_PACKET_SIZE, received->bytes.length <= wire->login.properties.maximum_packet_size, received->line,
              "a packet above the client's Maximum Packet Size");
    const struct mq5_properties *properties = properties_of(packet);
    if (!properties || wire->version != MQ5_V5)
        return;
    judge(wire, M_EMPTY_PROPERTIES, true, received->line, "");
    if (properties->present) {
        judge(wire, M_PROPERTY_LEGAL, true, received->line, "");
        judge(wire, M_PROPERTY_ONCE, true, received->line, "");
        judge(wire, M_PROPERTY_LENGTH, true, received->line, "");
        judge(wire, M_UTF8, true, received->line, "");
        judge(wire, M_NUL, true, received->line, "");
    }
    bool free_of_words = packet->type != MQ5_CONNACK && packet->type != MQ5_PUBLISH && packet->type != MQ5_DISCONNECT;
    if (free_of_words && has(&wire->login.properties, MQ5_REQUEST_PROBLEM_INFORMATION) &&
        wire->login.properties.request_problem_information == 0)
        judge(wire, M_PROBLEM_INFORMATION, !has(properties, MQ5_REASON_STRING) && !has(properties, MQ5_USER_PROPERTY),
              received->line, "a reason string or user properties where they were not wanted");
}

void watch_came(struct wire *wire, const struct received *received)
{
    const struct mq5_packet *packet = &received->packet;
    came_any(wire, received);
    if (packet->type != MQ5_CONNACK && packet->type != MQ5_AUTH && packet->type != MQ5_DISCONNECT)
        judge(wire, M_CONNACK_FIRST, wire->connack_came, received->line, "a packet before CONNACK");
    switch (packet->type) {
    case MQ5_CONNACK: came_connack(wire, received); break;
    case MQ5_PUBLISH: came_publish(wire, received); break;
    case MQ5_PUBACK:
    case MQ5_PUBREC:
    case MQ5_PUBREL:
    case MQ5_PUBCOMP: came_ack(wire, received); break;
    case MQ5_SUBACK:
    case MQ5_UNSUBACK: came_suback(wire, received); break;
    case MQ5_DISCONNECT:
        judge(wire, M_DISCONNECT_EARLY, wire->connack_came && wire->connack.reason < 0x80, received->line,
              "DISCONNECT before a CONNACK that accepts");
        judge(wire, M_DISCONNECT_REASON, true, received->line, "");
        judge(wire, M_DISCONNECT_EXPIRY, true, received->line, "");
        wire->watch->disconnect_came = true;
        wire->watch->must_close_us = received->at_us;
        wire->watch->must_close_line = received->line;
        break;
    case MQ5_AUTH:
        judge(wire, M_NO_AUTH, has(&wire->login.properties, MQ5_AUTHENTICATION_METHOD), received->line,
              "AUTH for a client without a method");
        judge(wire, M_AUTH_REASON, true, received->line, "");
        break;
    default: break;
    }
}

/* ---- what is no legal packet --------------------------------------------------------------------------------------------------------------- */

/* The codec says which statement is broken; where it names one for several packets, the packet decides. */
static enum monitor blame(const struct span bytes, const struct mq5_error *error)
{
    uint8_t type = bytes.length ? bytes.data[0] >> 4 : 0;
    const char *ref = error->ref ? error->ref : "";
    if (strcmp(ref, "MQTT-3.4.2-1") == 0)
        return type == MQ5_PUBREC    ? M_PUBREC_REASON
               : type == MQ5_PUBREL  ? M_PUBREL_REASON
               : type == MQ5_PUBCOMP ? M_PUBCOMP_REASON
                                     : M_PUBACK_REASON;
    if (strcmp(ref, "MQTT-3.9.3-2") == 0)
        return type == MQ5_UNSUBACK ? M_UNSUBACK_REASON : M_SUBACK_REASON;
    if (strcmp(ref, "MQTT-3.8.4-6") == 0)
        return type == MQ5_UNSUBACK ? M_UNSUBACK_REASON : M_SUBACK_COUNT;
    if (strcmp(ref, "MQTT-2.1.3-1") == 0)
        return type == MQ5_PUBREL ? M_PUBREL_FLAGS : M_FLAGS;
    if (strcmp(ref, "MQTT-2.2.1-3") == 0)
        return M_ID_FREE;
    if (strcmp(ref, "S3.1.2.11.3a") == 0)
        return M_CONNACK_RECEIVE_MAXIMUM;
    if (strcmp(ref, "S3.1.2.11.4a") == 0)
        return M_CONNACK_PACKET_SIZE;
    if (strcmp(ref, "S2.2.2.2a") == 0 && type == MQ5_PUBLISH && error->offset < bytes.length &&
        bytes.data[error->offset] == MQ5_WILL_DELAY_INTERVAL)
        return M_WILL_DELAY;
    if (type == MQ5_CONNACK) { /* properties that CONNECT may have as well, or that are checked like its own */
        if (strcmp(ref, "S3.1.2.11.3a") == 0)
            return M_CONNACK_RECEIVE_MAXIMUM;
        if (strcmp(ref, "S3.1.2.11.4a") == 0)
            return M_CONNACK_PACKET_SIZE;
        if (strcmp(ref, "S2.2.2.2c") == 0)
            return M_CONNACK_PROPERTY_ONCE;
        if (strncmp(ref, "S3.2.2.3.1", 10) == 0)
            return M_PROPERTY_LEGAL;
    }
    for (int i = 0; i < M_COUNT; i++)
        for (int r = 0; r < 4 && monitors[i].refs[r]; r++)
            if (strcmp(monitors[i].refs[r], ref) == 0)
                return (enum monitor)i;
    return M_LENGTH;
}

/* No reason code for a request without a filter: whose fault the answer is cannot be said. */
static bool answers_illegal_request(const struct wire *wire, struct span bytes, const struct mq5_error *error)
{
    uint8_t type = bytes.length >= 4 ? bytes.data[0] >> 4 : 0;
    return (type == MQ5_SUBACK || type == MQ5_UNSUBACK) && wire->watch->sent &&
           strcmp(error->ref ? error->ref : "", "MQTT-3.8.4-6") == 0 &&
           wire->watch->filters_sent[two_bytes(bytes.data + 2)] == 0;
}

/* An answer with one byte a filter behind its identifier has left out the byte that says how long its properties are. */
static bool lacks_property_length(const struct wire *wire, struct span bytes)
{
    uint8_t type = bytes.length >= 4 ? bytes.data[0] >> 4 : 0;
    uint16_t filters = type && wire->watch->sent ? wire->watch->filters_sent[two_bytes(bytes.data + 2)] : 0;
    return wire->version == MQ5_V5 && (type == MQ5_SUBACK || type == MQ5_UNSUBACK) && filters &&
           bytes.length == 4u + filters;
}

void watch_undecodable(struct wire *wire, struct span bytes, const struct mq5_error *error, uint32_t line)
{
    if (answers_illegal_request(wire, bytes, error)) {
        trace_event(wire->probe, wire->number, "%s", error->what);
        return;
    }
    if (lacks_property_length(wire, bytes))
        judge(wire, M_EMPTY_PROPERTIES, false, line, "no properties, and no length of 0 that says so");
    else
        judge(wire, blame(bytes, error), false, line, error->what ? error->what : "not a legal packet");
}

/* How long a broker may take to close after its last word. */
#define CLOSE_US (5 * US_PER_S)

int64_t watch_waits_until(const struct wire *wire)
{
    return wire->watch->must_close_us ? wire->watch->must_close_us + CLOSE_US : 0;
}

void watch_ended(struct wire *wire)
{
    struct watch *watch = wire->watch;
    if (watch->ended)
        return;
    watch->ended = true;
    if (watch->must_close_us == 0)
        return;
    int64_t until_us = watch->must_close_us + CLOSE_US;
    /* Our own end is not the broker's: when the check ended first, nothing is known. */
    if (wire->ended || clock_now_us() > until_us)
        judge(wire, M_ERROR_CLOSES, wire->ended && wire->closed_us <= until_us, watch->must_close_line,
              "the connection stays open after the broker's last word");
}
