/* checks_connect_refused.c: CONNECT (3.1): what must not be served, and what must not be read behind it. */
#include "check.h"
#include "tables.h"

#include <stdio.h>

/* The protocol's name begins here: 6 bytes of it, the version, the flags, two bytes of keep alive, the properties. */
static uint32_t body_at(struct span connect)
{
    uint32_t at = 1;
    while (connect.data[at] & 0x80)
        at++;
    return at + 1;
}

enum { VERSION_AT = 6, FLAGS_AT = 7, PAYLOAD_AT = 11 /* behind no properties */ };

static struct span encoded(struct conform_probe *probe, const struct mq5_connect *login)
{
    return probe_encode(probe, &(struct mq5_packet){.type = MQ5_CONNECT, .connect = *login}, NULL);
}

/* The CONNECT with one byte of its fixed part changed by exclusive or. */
static void send_changed(struct conform_probe *probe, struct wire *wire, const struct mq5_connect *login,
                         uint32_t offset, uint8_t change)
{
    struct span bytes = encoded(probe, login);
    uint8_t *changed = memcpy(probe_memory(probe, bytes.length), bytes.data, bytes.length);
    changed[body_at(bytes) + offset] ^= change;
    wire_send_bytes(wire, changed, bytes.length);
}

/* ---- other packets first ------------------------------------------------------------------------------------------------- */

static const uint8_t first_types[] = {MQ5_PUBLISH, MQ5_SUBSCRIBE, MQ5_UNSUBSCRIBE, MQ5_PINGREQ, MQ5_PUBACK, MQ5_PUBREC,
                                      MQ5_PUBREL,  MQ5_PUBCOMP,   MQ5_DISCONNECT,  MQ5_AUTH,    MQ5_CONNACK};

static uint32_t first_count(void)
{
    return sizeof(first_types);
}

static void first_row(uint32_t row, struct conform_row *out)
{
    snprintf(out->name, sizeof(out->name), "%s before CONNECT", mq5_type_name(first_types[row]));
}

static void first_packet(struct conform_probe *probe)
{
    struct wire *wire = probe_open(probe, "client");
    struct mq5_subscription list = subscription(probe_topic(probe, "first"), 0);
    struct mq5_packet packet = {.type = first_types[probe_row(probe)]};
    switch (packet.type) {
    case MQ5_PUBLISH:
        packet.publish = message(probe_topic(probe, "first"), "first", 1);
        packet.publish.packet_id = 1;
        break;
    case MQ5_SUBSCRIBE:
    case MQ5_UNSUBSCRIBE: packet.subscribe = (struct mq5_subscribe){.packet_id = 1, .list = &list, .count = 1}; break;
    case MQ5_PINGREQ:
    case MQ5_DISCONNECT:
    case MQ5_AUTH:
    case MQ5_CONNACK: break;
    default: packet.ack.packet_id = 1;
    }
    wire_send(wire, &packet);
    want_closed(wire, probe_text(probe, "%s before CONNECT", mq5_type_name(packet.type)), NULL);
    for (uint32_t i = 0; i < wire_count(wire); i++) {
        uint8_t came = wire_at(wire, i)->packet.type;
        want(probe, came == MQ5_CONNACK || came == MQ5_DISCONNECT, "%s is answered with %s before any CONNECT",
             mq5_type_name(packet.type), mq5_type_name(came));
        want(probe, came != MQ5_CONNACK || wire_at(wire, i)->packet.connack.reason >= 0x80,
             "CONNACK 0x00 although no CONNECT was sent");
    }
}

/* ---- versions and flags ---------------------------------------------------------------------------------------------------- */

static const uint8_t versions[] = {0, 1, 2, 6, 127, 255};

static uint32_t version_count(void)
{
    return sizeof(versions);
}

static void version_row(uint32_t row, struct conform_row *out)
{
    snprintf(out->name, sizeof(out->name), "protocol version %u", versions[row]);
}

static void version(struct conform_probe *probe)
{
    uint8_t asked = versions[probe_row(probe)];
    struct wire *wire = probe_open(probe, "client");
    struct mq5_connect login = probe_login(probe, 0);
    send_changed(probe, wire, &login, VERSION_AT, MQ5_V5 ^ asked);
    want_refused(wire, probe_text(probe, "protocol version %u", asked), REASONS(MQ5_UNSUPPORTED_PROTOCOL_VERSION, 1));
}

static const struct flags_case {
    const char *name, *ref;
    uint8_t change;
    bool will;
    uint8_t will_qos;
} flags_cases[] = {
    {"reserved bit of the connect flags", "MQTT-3.1.2-3", 0x01, false, 0},
    {"reserved bit of the connect flags, with a will", "S3.1.2.3a", 0x01, true, 0},
    {"Will QoS 1 without a will", "MQTT-3.1.2-11", 0x08, false, 0},
    {"Will QoS 2 without a will", "MQTT-3.1.2-11", 0x10, false, 0},
    {"Will QoS 3", "MQTT-3.1.2-12", 0x18, true, 0},
    {"Will QoS 3 without a will", "MQTT-3.1.2-12", 0x18, false, 0},
    {"Will Retain without a will", "MQTT-3.1.2-13", 0x20, false, 0},
};

static uint32_t flags_count(void)
{
    return sizeof(flags_cases) / sizeof(flags_cases[0]);
}

static void flags_row(uint32_t row, struct conform_row *out)
{
    snprintf(out->name, sizeof(out->name), "%s", flags_cases[row].name);
    out->ref = flags_cases[row].ref;
}

static void flags(struct conform_probe *probe)
{
    const struct flags_case *each = &flags_cases[probe_row(probe)];
    struct wire *wire = probe_open(probe, "client");
    struct mq5_connect login = probe_login(probe, 0);
    if (each->will)
        set_will(&login, probe_topic(probe, "will"), "will", each->will_qos, false, 0);
    send_changed(probe, wire, &login, FLAGS_AT, each->change);
    want_refused(wire, each->name, REASONS(MQ5_MALFORMED_PACKET));
}

/* ---- the payload is not what the flags say ------------------------------------------------------------------------------------ */

#define WORD "word"

enum { CUT_ID = 1, CUT_TOPIC = 2 };

static const struct payload_case {
    const char *name, *ref;
    bool will, user, password;
    uint32_t cut;   /* so many bytes are missing at the end... */
    uint32_t whole; /* ...and these fields */
    bool trailing;  /* a string behind the end */
} payload_cases[] = {
    {"no client identifier", "MQTT-3.1.3-3", false, false, false, 0, CUT_ID, false},
    {"half a client identifier", "MQTT-3.1.3-3", false, false, false, 5, 0, false},
    {"a will without its properties, topic and payload", "MQTT-3.1.2-9", true, false, false, 1 + 6, CUT_TOPIC, false},
    {"a will without topic and payload", "MQTT-3.1.2-9", true, false, false, 6, CUT_TOPIC, false},
    {"a will without payload", "MQTT-3.1.2-9", true, false, false, 6, 0, false},
    {"a will whose payload is cut short", "MQTT-3.1.4-1", true, false, false, 2, 0, false},
    {"User Name flag without a user name", "MQTT-3.1.2-17", false, true, false, 6, 0, false},
    {"a user name that is cut short", "MQTT-3.1.4-1", false, true, false, 3, 0, false},
    {"Password flag without a password", "MQTT-3.1.2-19", false, true, true, 6, 0, false},
    {"a password that is cut short", "MQTT-3.1.4-1", false, true, true, 1, 0, false},
    {"a user name without its flag", "MQTT-3.1.2-16", false, false, false, 0, 0, true},
    {"a user name without its flag, after a will", "MQTT-3.1.2-16", true, false, false, 0, 0, true},
    {"a password without its flag", "MQTT-3.1.2-18", false, true, false, 0, 0, true},
};

static uint32_t payload_count(void)
{
    return sizeof(payload_cases) / sizeof(payload_cases[0]);
}

static void payload_row(uint32_t row, struct conform_row *out)
{
    snprintf(out->name, sizeof(out->name), "%s", payload_cases[row].name);
    out->ref = payload_cases[row].ref;
}

static void payload(struct conform_probe *probe)
{
    const struct payload_case *each = &payload_cases[probe_row(probe)];
    struct mq5_packet packet = {.type = MQ5_CONNECT, .connect = probe_login(probe, 0)};
    struct mq5_connect *login = &packet.connect;
    if (each->will)
        set_will(login, probe_topic(probe, "will"), WORD, 0, false, 0);
    login->has_user_name = each->user;
    login->has_password = each->password;
    login->user_name = login->password = span_text(WORD);
    uint32_t cut = each->cut;
    cut += each->whole == CUT_ID      ? 2 + login->client_id.length
           : each->whole == CUT_TOPIC ? 2 + login->will_topic.length
                                      : 0;
    struct span whole = probe_encode(probe, &packet, NULL);
    struct mq5_raw raw = {.set_remaining_length = cut > 0, .remaining_length = whole.length - body_at(whole) - cut};
    if (each->trailing)
        raw.trailing = (struct span){(const uint8_t *)"\0\4" WORD, 2 + sizeof(WORD) - 1};
    struct span bytes = probe_encode(probe, &packet, &raw);
    struct wire *wire = probe_open(probe, "client");
    wire_send_bytes(wire, bytes.data, bytes.length - cut);
    want_refused(wire, each->name, REASONS(MQ5_MALFORMED_PACKET, MQ5_PROTOCOL_ERROR, MQ5_CLIENT_IDENTIFIER_NOT_VALID));
}

/* The will before the client identifier: the length of the will's properties and the first of them, read as the length of a client identifier, lead far
 * behind the end. */
static void wrong_order(struct conform_probe *probe)
{
    struct mq5_connect login = probe_login(probe, 0);
    login.has_user_name = login.has_password = false;
    set_will(&login, probe_topic(probe, "will"), "will", 0, false, 5);
    struct span bytes = encoded(probe, &login);
    uint32_t id_at = body_at(bytes) + PAYLOAD_AT, id_length = 2 + login.client_id.length;
    uint32_t rest = bytes.length - id_at - id_length;
    uint8_t *changed = memcpy(probe_memory(probe, bytes.length), bytes.data, bytes.length);
    memcpy(changed + id_at, bytes.data + id_at + id_length, rest);
    memcpy(changed + id_at + rest, bytes.data + id_at, id_length);
    struct wire *wire = probe_open(probe, "client");
    wire_send_bytes(wire, changed, bytes.length);
    want_refused(wire, "a will before the client identifier", REASONS(MQ5_MALFORMED_PACKET));
}

/* ---- strings, values ------------------------------------------------------------------------------------------------------------ */

static const struct {
    const char *name, *ref;
} string_cases[] = {
    {"a client identifier that is not UTF-8", "MQTT-3.1.3-4"}, {"a client identifier with a surrogate", "MQTT-3.1.3-4"},
    {"a will topic that is not UTF-8", "MQTT-3.1.3-11"},       {"a will topic with a surrogate", "MQTT-3.1.3-11"},
    {"a user name that is not UTF-8", "MQTT-3.1.3-12"},        {"a user name with a surrogate", "MQTT-3.1.3-12"},
};

static uint32_t string_count(void)
{
    return sizeof(string_cases) / sizeof(string_cases[0]);
}

static void string_row(uint32_t row, struct conform_row *out)
{
    snprintf(out->name, sizeof(out->name), "%s", string_cases[row].name);
    out->ref = string_cases[row].ref;
}

static void string(struct conform_probe *probe)
{
    uint32_t row = probe_row(probe);
    const char *ill = row % 2 ? "\xed\xa0\x80" : "\xc3\x28";
    struct mq5_connect login = probe_login(probe, 0);
    if (row < 2) {
        login.client_id = span_text(probe_text(probe, "%s%s", probe_client_id(probe, 0), ill));
    } else if (row < 4) {
        set_will(&login, probe_text(probe, "%s%s", probe_topic(probe, "will"), ill), "will", 0, false, 0);
    } else {
        login.has_user_name = true;
        login.user_name = span_text(
            probe_text(probe, "%.*s%s", (int)login.user_name.length, (const char *)login.user_name.data, ill));
    }
    struct wire *wire = probe_open(probe, "client");
    struct span bytes = encoded(probe, &login);
    wire_send_bytes(wire, bytes.data, bytes.length);
    static const uint8_t id_reasons[] = {MQ5_MALFORMED_PACKET, MQ5_CLIENT_IDENTIFIER_NOT_VALID, 0};
    static const uint8_t topic_reasons[] = {MQ5_MALFORMED_PACKET, MQ5_TOPIC_NAME_INVALID, 0};
    static const uint8_t user_reasons[] = {MQ5_MALFORMED_PACKET, MQ5_BAD_USER_NAME_OR_PASSWORD, 0};
    want_refused(wire, string_cases[row].name, row < 2 ? id_reasons : row < 4 ? topic_reasons : user_reasons);
}

static const struct {
    const char *name, *ref;
} value_cases[] = {
    {"Receive Maximum 0", "S3.1.2.11.3a"},
    {"Maximum Packet Size 0", "S3.1.2.11.4a"},
    {"Request Response Information 2", "S3.1.2.11.6a"},
    {"Request Problem Information 2", "S3.1.2.11.7a"},
    {"Authentication Data without a method", "S3.1.2.11.10a"},
};

static uint32_t value_count(void)
{
    return sizeof(value_cases) / sizeof(value_cases[0]);
}

static void value_row(uint32_t row, struct conform_row *out)
{
    snprintf(out->name, sizeof(out->name), "%s", value_cases[row].name);
    out->ref = value_cases[row].ref;
}

static void value(struct conform_probe *probe)
{
    struct mq5_connect login = probe_login(probe, 0);
    struct mq5_properties *properties = &login.properties;
    switch (probe_row(probe)) {
    case 0: set_receive_maximum(&login, 0); break;
    case 1: set_maximum_packet_size(&login, 0); break;
    case 2: SET_PROPERTY(*properties, request_response_information, MQ5_REQUEST_RESPONSE_INFORMATION, 2); break;
    case 3: set_problem_information(&login, 2); break;
    default: SET_PROPERTY(*properties, authentication_data, MQ5_AUTHENTICATION_DATA, span_text("data"));
    }
    struct wire *wire = probe_open(probe, "client");
    struct span bytes = encoded(probe, &login);
    wire_send_bytes(wire, bytes.data, bytes.length);
    want_refused(wire, value_cases[probe_row(probe)].name, REASONS(MQ5_PROTOCOL_ERROR));
}

/* The standard names two values, and no code for others. */
static void format_of_will(struct conform_probe *probe)
{
    struct mq5_connect login = probe_login(probe, 0);
    set_will(&login, probe_topic(probe, "will"), "will", 0, false, 0);
    SET_PROPERTY(login.will_properties, payload_format, MQ5_PAYLOAD_FORMAT_INDICATOR, 2);
    struct wire *wire = probe_open(probe, "client");
    struct span bytes = encoded(probe, &login);
    wire_send_bytes(wire, bytes.data, bytes.length);
    want_refused(wire, "Payload Format Indicator 2 of a will",
                 REASONS(MQ5_PROTOCOL_ERROR, MQ5_MALFORMED_PACKET, MQ5_PAYLOAD_FORMAT_INVALID));
}

/* ---- refused by what the broker was told ------------------------------------------------------------------------------------------ */

static void refused_id(struct conform_probe *probe)
{
    struct wire *wire = probe_open(probe, "client");
    struct mq5_packet packet = {.type = MQ5_CONNECT, .connect = probe_login(probe, 0)};
    packet.connect.client_id = span_text(probe_told(probe, "refused_id"));
    wire_send(wire, &packet);
    want_refused(wire, "a client identifier that is refused",
                 REASONS(MQ5_CLIENT_IDENTIFIER_NOT_VALID, MQ5_NOT_AUTHORIZED)); /* not valid, or not for this user */
}

static void set_refused_login(struct conform_probe *probe, struct mq5_connect *login)
{
    const char *password = probe_told(probe, "refused_password");
    login->has_user_name = true;
    login->user_name = span_text(probe_told(probe, "refused_user"));
    login->has_password = password != NULL;
    login->password = span_text(password ? password : "");
}

static void refused_login(struct conform_probe *probe)
{
    struct wire *wire = probe_open(probe, "client");
    struct mq5_packet packet = {.type = MQ5_CONNECT, .connect = probe_login(probe, 0)};
    set_refused_login(probe, &packet.connect);
    wire_send(wire, &packet);
    want_refused(wire, "a login that is refused", REASONS(MQ5_BAD_USER_NAME_OR_PASSWORD, MQ5_NOT_AUTHORIZED));
}

/* ---- what stands behind it ---------------------------------------------------------------------------------------------------------- */

/* CONNECT and a message in one write; the message must not get through. */
static void nothing_behind(struct conform_probe *probe, struct span connect, const char *what)
{
    const char *topic = probe_topic(probe, "behind");
    struct wire *watcher = probe_subscriber(probe, "watcher", topic, 0);
    struct wire *wire = probe_open(probe, "refused");
    struct mq5_packet packet = {.type = MQ5_PUBLISH, .publish = message(topic, "behind", 1)};
    packet.publish.packet_id = 1;
    wire_gather(wire);
    wire_send_bytes(wire, connect.data, connect.length);
    wire_send(wire, &packet);
    packet.publish = message(topic, "behind", 0);
    wire_send(wire, &packet);
    wire_flush(wire);
    need(probe, wire_closes(wire, probe_patience(probe)), "%s: the connection stays open", what);
    need(probe, !wire_connack(wire) || wire_connack(wire)->reason >= 0x80, "%s is not refused", what);
    struct wire *publisher = probe_connect(probe, "publisher");
    wire_publish(publisher, topic, "marker", 0);
    need_message(watcher, topic, "marker");
    want(probe, wire_count_messages(watcher, topic, "behind") == 0, "a message sent behind %s was published", what);
    want(probe, wire_count_of(wire, MQ5_PUBACK) == 0, "a message sent behind %s was acknowledged", what);
}

static void behind_method(struct conform_probe *probe)
{
    struct mq5_connect login = probe_login(probe, 40);
    SET_PROPERTY(login.properties, authentication_method, MQ5_AUTHENTICATION_METHOD, span_text("mc5-no-such-method"));
    nothing_behind(probe, encoded(probe, &login), "a CONNECT with an unknown authentication method");
}

static void behind_malformed(struct conform_probe *probe)
{
    struct mq5_connect login = probe_login(probe, 40);
    struct span bytes = encoded(probe, &login);
    uint8_t *changed = memcpy(probe_memory(probe, bytes.length), bytes.data, bytes.length);
    changed[body_at(bytes) + FLAGS_AT] |= 1;
    nothing_behind(probe, (struct span){changed, bytes.length}, "a CONNECT with its reserved flag set");
}

static void behind_login(struct conform_probe *probe)
{
    struct mq5_connect login = probe_login(probe, 40);
    set_refused_login(probe, &login);
    nothing_behind(probe, encoded(probe, &login), "a login that is refused");
}

/* Between CONNECT and CONNACK of an enhanced authentication nothing but AUTH and DISCONNECT may be sent. */
static const struct {
    const char *name;
    enum mq5_type type, answer; /* 0: it has none */
} within[] = {
    {"PINGREQ within the authentication", MQ5_PINGREQ, MQ5_PINGRESP},
    {"SUBSCRIBE within the authentication", MQ5_SUBSCRIBE, MQ5_SUBACK},
    {"PUBLISH within the authentication", MQ5_PUBLISH, 0},
};

static uint32_t within_count(void)
{
    return sizeof(within) / sizeof(within[0]);
}

static void within_row(uint32_t row, struct conform_row *out)
{
    snprintf(out->name, sizeof(out->name), "%s", mq5_type_name((uint8_t)within[row].type));
}

static void behind_authentication(struct conform_probe *probe)
{
    uint32_t row = probe_row(probe);
    const char *topic = probe_topic(probe, "within");
    struct wire *watcher = probe_connect(probe, "watcher");
    wire_subscribe(watcher, topic, 0);
    struct mq5_packet packet = {.type = MQ5_CONNECT, .connect = probe_login(probe, 10)};
    set_authentication(&packet.connect.properties, probe_told(probe, "auth_method"),
                       exchange_say(exchange_begin(probe, EXCHANGE_RIGHT), (struct span){NULL, 0}));
    struct wire *wire = probe_open(probe, "client");
    wire_send(wire, &packet);
    if (!try_packet(wire, MQ5_AUTH, probe_patience(probe)))
        skip(probe, "the broker asks nothing back with this method");
    struct mq5_subscription list[] = {subscription(probe_topic(probe, "other"), 0)};
    packet = (struct mq5_packet){.type = (uint8_t)within[row].type};
    if (packet.type == MQ5_SUBSCRIBE)
        packet.subscribe = (struct mq5_subscribe){.packet_id = 1, .list = list, .count = 1};
    if (packet.type == MQ5_PUBLISH)
        packet.publish = message(topic, "within", 0);
    wire_send(wire, &packet);
    want_refused(wire, within[row].name, REASONS(MQ5_PROTOCOL_ERROR));
    want(probe, !within[row].answer || wire_count_of(wire, within[row].answer) == 0, "%s is answered before CONNACK",
         within[row].name);
    struct wire *publisher = probe_connect(probe, "publisher");
    wire_publish(publisher, topic, "marker", 0);
    need_message(watcher, topic, "marker");
    want(probe, wire_count_messages(watcher, topic, "within") == 0, "a message is published before CONNACK");
}

CHECK_TABLE(checks_connect_refused,
            {.id = "B-CONN-006",
             .name = "a connection that does not begin with CONNECT is closed",
             .refs = {"MQTT-3.1.0-1"},
             .level = CONFORM_MUST,
             .run = first_packet,
             .row_count = first_count,
             .row = first_row},
            {.id = "B-CONN-007",
             .name = "a protocol version that does not exist is not served",
             .refs = {"MQTT-3.1.2-2"},
             .level = CONFORM_MUST,
             .run = version,
             .row_count = version_count,
             .row = version_row},
            {.id = "B-CONN-008",
             .name = "connect flags that must be 0 are",
             .refs = {"MQTT-3.1.2-3", "S3.1.2.3a", "MQTT-3.1.2-11", "MQTT-3.1.2-12", "MQTT-3.1.2-13"},
             .level = CONFORM_MUST,
             .run = flags,
             .row_count = flags_count,
             .row = flags_row},
            {.id = "B-CONN-009",
             .name = "a payload that is not what the flags say is refused",
             .refs = {"MQTT-3.1.4-1", "MQTT-3.1.2-9", "MQTT-3.1.2-16", "MQTT-3.1.2-17", "MQTT-3.1.2-18",
                      "MQTT-3.1.2-19", "MQTT-3.1.3-3"},
             .level = CONFORM_MUST,
             .run = payload,
             .row_count = payload_count,
             .row = payload_row},
            {.id = "B-CONN-051",
             .name = "fields of CONNECT out of their order are refused",
             .refs = {"MQTT-3.1.3-1"},
             .level = CONFORM_MUST,
             .run = wrong_order},
            {.id = "B-CONN-010",
             .name = "strings of CONNECT that are not UTF-8 are refused",
             .refs = {"MQTT-3.1.3-4", "MQTT-3.1.3-11", "MQTT-3.1.3-12"},
             .level = CONFORM_MUST,
             .run = string,
             .row_count = string_count,
             .row = string_row},
            {.id = "B-CONN-011",
             .name = "properties of CONNECT with forbidden values are refused",
             .refs = {"S3.1.2.11.3a", "S3.1.2.11.4a", "S3.1.2.11.6a", "S3.1.2.11.7a", "S3.1.2.11.10a"},
             .level = CONFORM_MUST,
             .run = value,
             .row_count = value_count,
             .row = value_row},
            {.id = "B-CONN-033",
             .name = "a will whose Payload Format Indicator is neither 0 nor 1 is refused",
             .refs = {"S3.1.3.2.3a"},
             .level = CONFORM_SHOULD,
             .run = format_of_will},
            {.id = "B-CONN-012",
             .name = "a client identifier that is refused ends the connection",
             .refs = {"MQTT-3.1.3-8"},
             .level = CONFORM_MUST,
             .needs = CONFORM_REFUSED_ID,
             .run = refused_id},
            {.id = "B-CONN-013",
             .name = "a login that is refused ends the connection",
             .refs = {"MQTT-3.1.4-2"},
             .level = CONFORM_MUST,
             .needs = CONFORM_REFUSED_LOGIN,
             .run = refused_login},
            {.id = "B-CONN-014",
             .name = "nothing behind a CONNECT with an unknown method is processed",
             .refs = {"MQTT-3.1.4-6"},
             .level = CONFORM_MUST,
             .run = behind_method},
            {.id = "B-CONN-015",
             .name = "nothing behind a malformed CONNECT is processed",
             .refs = {"MQTT-3.1.4-6"},
             .level = CONFORM_MUST,
             .run = behind_malformed},
            {.id = "B-CONN-016",
             .name = "nothing behind a login that is refused is processed",
             .refs = {"MQTT-3.1.4-6"},
             .level = CONFORM_MUST,
             .needs = CONFORM_REFUSED_LOGIN,
             .run = behind_login},
            {.id = "B-CONN-017",
             .name = "other packets within an authentication are not served",
             .refs = {"MQTT-3.1.2-30"},
             .level = CONFORM_MUST,
             .needs = CONFORM_AUTH_METHOD,
             .run = behind_authentication,
             .row_count = within_count,
             .row = within_row}, )
