/* checks_errors.c: errors in general (4.13): packets of the other side, what ends the connection and what does not, and the code that is said
 * before. */
#include "check.h"
#include "tables.h"

#include <stdio.h>

/* ---- packets that a client does not send ------------------------------------------------------------------------------------------ */

struct offence {
    const char *name;
    uint8_t code; /* that fits */
    uint8_t length;
    uint8_t bytes[8]; /* as they are; length 0: made */
    struct bytes (*make)(struct conform_probe *probe);
};

static const struct offence wrong_way[] = {
    {"CONNACK", MQ5_PROTOCOL_ERROR, 5, {0x20, 3, 0, 0, 0}, NULL},
    {"SUBACK", MQ5_PROTOCOL_ERROR, 6, {0x90, 4, 0, 1, 0, 0}, NULL},
    {"UNSUBACK", MQ5_PROTOCOL_ERROR, 6, {0xB0, 4, 0, 1, 0, 0}, NULL},
    {"PINGRESP", MQ5_PROTOCOL_ERROR, 2, {0xD0, 0}, NULL},
};

static struct bytes publish_with(struct conform_probe *probe, const struct mq5_raw *raw, uint8_t flags)
{
    struct mq5_packet packet = {.type = MQ5_PUBLISH,
                                .flags = flags,
                                .publish = message(probe_topic(probe, "offence"), "message", flags ? 1 : 0)};
    packet.publish.packet_id = flags ? 1 : 0;
    struct span bytes = probe_encode(probe, &packet, raw);
    return (struct bytes){memcpy(probe_memory(probe, bytes.length), bytes.data, bytes.length), bytes.length};
}

static struct bytes qos_3(struct conform_probe *probe)
{
    return publish_with(probe, &(struct mq5_raw){.set_flags = true}, 6);
}

static struct bytes properties(struct conform_probe *probe, const void *bytes, uint32_t length)
{
    return publish_with(probe, &(struct mq5_raw){.set_properties = true, .properties = {bytes, length}}, 0);
}

static struct bytes unknown_property(struct conform_probe *probe)
{
    return properties(probe, "\2\x7E\1", 3);
}

static struct bytes alias_0(struct conform_probe *probe)
{
    return properties(probe, "\3\x23\0\0", 4);
}

static struct bytes long_properties(struct conform_probe *probe)
{
    return publish_with(probe, &(struct mq5_raw){.set_property_length = true, .property_length = 100}, 0);
}

/* A request whose last byte is missing, and its length says so. */
static struct bytes shortened(struct conform_probe *probe, enum mq5_type type)
{
    struct mq5_subscription list = subscription(probe_topic(probe, "offence"), 0);
    struct mq5_packet packet = {.type = (uint8_t)type, .subscribe = {.packet_id = 7, .list = &list, .count = 1}};
    struct bytes whole = probe_change(probe, &packet);
    uint32_t header = whole.length > 129 ? 3 : 2; /* of a remaining length below 128, or above */
    struct mq5_raw raw = {.set_remaining_length = true,
                          .remaining_length = whole.length - header - 1,
                          .remaining_length_bytes = (uint8_t)(header - 1)};
    struct span bytes = probe_encode(probe, &packet, &raw);
    return (struct bytes){memcpy(probe_memory(probe, bytes.length), bytes.data, bytes.length), bytes.length - 1};
}

static struct bytes no_options(struct conform_probe *probe)
{
    return shortened(probe, MQ5_SUBSCRIBE);
}

static struct bytes cut_filter(struct conform_probe *probe)
{
    return shortened(probe, MQ5_UNSUBSCRIBE);
}

/* With codes that the standard names for them, or leaves between two. */
static const struct offence offences[] = {
    {"packet type 0", MQ5_MALFORMED_PACKET, 2, {0x00, 0}, NULL},
    {"packet type 0 with a payload", MQ5_MALFORMED_PACKET, 4, {0x00, 2, 0, 0}, NULL},
    {"PUBLISH of QoS 3", MQ5_MALFORMED_PACKET, 0, {0}, qos_3},
    {"PUBLISH with a property that is unknown", MQ5_MALFORMED_PACKET, 0, {0}, unknown_property},
    {"PUBLISH that ends in its topic", MQ5_MALFORMED_PACKET, 5, {0x30, 3, 0, 9, 'a'}, NULL},
    {"PUBLISH whose properties are longer than it", MQ5_MALFORMED_PACKET, 0, {0}, long_properties},
    {"PUBLISH with a Topic Alias of 0", MQ5_TOPIC_ALIAS_INVALID, 0, {0}, alias_0},
    {"PUBREL with flags 0000", MQ5_MALFORMED_PACKET, 4, {0x60, 2, 0, 1}, NULL},
    {"PUBACK without an identifier", MQ5_MALFORMED_PACKET, 3, {0x40, 1, 0}, NULL},
    {"SUBSCRIBE without options", MQ5_MALFORMED_PACKET, 0, {0}, no_options},
    {"UNSUBSCRIBE that ends in its filter", MQ5_MALFORMED_PACKET, 0, {0}, cut_filter},
};

static void send_offence(struct conform_probe *probe, struct wire *wire, const struct offence *offence)
{
    struct bytes bytes = offence->make ? offence->make(probe) : (struct bytes){NULL, 0};
    if (bytes.length)
        wire_send_bytes(wire, bytes.data, bytes.length);
    else
        wire_send_bytes(wire, offence->bytes, offence->length);
}

static uint32_t wrong_way_count(void)
{
    return sizeof(wrong_way) / sizeof(wrong_way[0]);
}

static void wrong_way_row(uint32_t row, struct conform_row *out)
{
    snprintf(out->name, sizeof(out->name), "%s", wrong_way[row].name);
}

static void commit_offence(struct conform_probe *probe, const struct offence *offence)
{
    const uint8_t reasons[] = {offence->code, MQ5_MALFORMED_PACKET, MQ5_PROTOCOL_ERROR, 0};
    struct wire *wire = probe_connect(probe, "client");
    send_offence(probe, wire, offence);
    want_closed(wire, offence->name, reasons);
}

static void other_side(struct conform_probe *probe)
{
    commit_offence(probe, &wrong_way[probe_row(probe)]);
}

static uint32_t offences_count(void)
{
    return sizeof(offences) / sizeof(offences[0]);
}

static void offences_row(uint32_t row, struct conform_row *out)
{
    snprintf(out->name, sizeof(out->name), "%s", offences[row].name);
    if (offences[row].make == qos_3)
        out->ref = "MQTT-3.3.1-4";
}

static void ends_connection(struct conform_probe *probe)
{
    commit_offence(probe, &offences[probe_row(probe)]);
}

/* ---- the code ----------------------------------------------------------------------------------------------------------------------- */

static const struct offence coded[] = {
    {"CONNACK from a client", MQ5_PROTOCOL_ERROR, 5, {0x20, 3, 0, 0, 0}, NULL},
    {"packet type 0", MQ5_MALFORMED_PACKET, 2, {0x00, 0}, NULL},
    {"PUBREL with flags 0000", MQ5_MALFORMED_PACKET, 4, {0x60, 2, 0, 1}, NULL},
    {"PUBLISH with a Topic Alias of 0", MQ5_TOPIC_ALIAS_INVALID, 0, {0}, alias_0},
    {"SUBSCRIBE without a filter", MQ5_PROTOCOL_ERROR, 5, {0x82, 3, 0, 7, 0}, NULL},
    {"UNSUBSCRIBE without a filter", MQ5_PROTOCOL_ERROR, 5, {0xA2, 3, 0, 7, 0}, NULL},
    {"PUBLISH whose topic has U+0000", MQ5_MALFORMED_PACKET, 6, {0x30, 4, 0, 1, 0, 0}, NULL},
};

static uint32_t coded_count(void)
{
    return sizeof(coded) / sizeof(coded[0]);
}

static void coded_row(uint32_t row, struct conform_row *out)
{
    snprintf(out->name, sizeof(out->name), "%s: 0x%02x", coded[row].name, coded[row].code);
}

static void code_first(struct conform_probe *probe)
{
    const struct offence *offence = &coded[probe_row(probe)];
    struct wire *wire = probe_connect(probe, "client");
    send_offence(probe, wire, offence);
    const struct received *last = try_packet(wire, MQ5_DISCONNECT, 3 * US_PER_S);
    want(probe, last != NULL, "%s: no DISCONNECT comes before the end of the connection", offence->name);
    want(probe, last->packet.disconnect.reason == offence->code, "%s: reason 0x%02x (%s) instead of 0x%02x",
         offence->name, last->packet.disconnect.reason, mq5_reason_name(last->packet.disconnect.reason), offence->code);
}

/* ---- a code of 0x80 and above in CONNACK -------------------------------------------------------------------------------------------- */

static void connack_ends(struct conform_probe *probe)
{
    struct mq5_connect login = probe_login(probe, 0);
    SET_PROPERTY(login.properties, authentication_method, MQ5_AUTHENTICATION_METHOD, span_text("mc5-no-such-method"));
    struct wire *wire = probe_open(probe, "client");
    const struct mq5_connack *connack = wire_login(wire, &login);
    if (!connack || connack->reason < 0x80) { /* not refused, or without an answer: another reason to refuse */
        login = probe_login(probe, 1);
        login.version = 6;
        wire = probe_open(probe, "client of another version");
        wire_send(wire, &(struct mq5_packet){.type = MQ5_CONNECT, .connect = login});
        try_packet(wire, MQ5_CONNACK, 3 * US_PER_S);
        connack = wire_connack(wire);
    }
    if (!connack || connack->reason < 0x80)
        skip(probe, "the broker refuses without a reason code");
    want(probe, wire_closes(wire, probe_patience(probe)), "the connection stays open after CONNACK 0x%02x",
         connack->reason);
}

/* ---- what does not end the connection ------------------------------------------------------------------------------------------------- */

static const uint8_t refusals[] = {0x80, 0x83, 0x87, 0x90, 0x97, 0x99};

static uint32_t refusals_count(void)
{
    return 2 * sizeof(refusals) + 2;
}

static void refusals_row(uint32_t row, struct conform_row *out)
{
    if (row < 2 * sizeof(refusals))
        snprintf(out->name, sizeof(out->name), "%s 0x%02x from a client", row & 1 ? "PUBREC" : "PUBACK",
                 refusals[row / 2]);
    else
        snprintf(out->name, sizeof(out->name), "%s", row & 1 ? "UNSUBACK 0x11" : "PUBACK 0x10");
}

static void from_broker(struct conform_probe *probe, bool unsubscribe)
{
    struct wire *wire = probe_connect(probe, "client");
    uint8_t reason = unsubscribe ? first_reason(wire_unsubscribe(wire, probe_topic(probe, "unknown")))
                                 : wire_publish(wire, probe_topic(probe, "nobody"), "message", 1);
    need(probe, reason < 0x80, "refused: 0x%02x", reason);
    want_alive(wire, probe_text(probe, "after a request that found nothing: 0x%02x", reason));
}

static void goes_on(struct conform_probe *probe)
{
    uint32_t row = probe_row(probe);
    if (row >= 2 * sizeof(refusals)) {
        from_broker(probe, row & 1);
        return;
    }
    uint8_t qos = row & 1 ? 2 : 1;
    if (qos == 2 && !probe_has(probe, CONFORM_QOS_2))
        skip(probe, "needs QoS 2");
    const char *topic = probe_topic(probe, "refused");
    struct wire *wire = probe_connect(probe, "subscriber"), *publisher = probe_connect(probe, "publisher");
    wire_subscribe(wire, topic, qos);
    wire_hold_acks(wire, true);
    wire_publish(publisher, topic, "message", qos);
    uint16_t id = need_message(wire, topic, "message")->packet.publish.packet_id;
    wire_ack(wire, qos == 1 ? MQ5_PUBACK : MQ5_PUBREC, id, refusals[row / 2]);
    want_alive(wire, "after the client has refused a message");
    wire_hold_acks(wire, false);
    wire_publish(publisher, topic, "next", qos);
    want_message(wire, topic, "next");
}

CHECK_TABLE(checks_errors,
            {.id = "B-ERR-001",
             .name = "a packet that only servers send ends the connection",
             .refs = {"S3.13a", "MQTT-4.13.1-1"},
             .level = CONFORM_MUST,
             .run = other_side,
             .row_count = wrong_way_count,
             .row = wrong_way_row},
            {.id = "B-ERR-002",
             .name = "malformed packets and protocol errors end the connection",
             .refs = {"MQTT-4.13.1-1"},
             .level = CONFORM_MUST,
             .run = ends_connection,
             .row_count = offences_count,
             .row = offences_row},
            {.id = "B-ERR-003",
             .name = "the code that fits is said before the connection ends",
             .refs = {"S4.13.1a"},
             .level = CONFORM_SHOULD,
             .run = code_first,
             .row_count = coded_count,
             .row = coded_row},
            {.id = "B-ERR-004",
             .name = "a CONNACK of 0x80 and above is the end of the connection",
             .refs = {"MQTT-4.13.2-1"},
             .level = CONFORM_MUST,
             .run = connack_ends},
            {.id = "B-ERR-005",
             .name = "codes in acknowledgements do not end the connection",
             .refs = {"S4.13.2a"},
             .level = CONFORM_MUST,
             .needs = CONFORM_QOS_1,
             .run = goes_on,
             .row_count = refusals_count,
             .row = refusals_row}, )
