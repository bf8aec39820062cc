/* checks_qos_errors.c: acknowledgements that are short, unknown, wrong or too large (2.2.1, 3.4 to 3.7). */
#include "check.h"
#include "tables.h"

#include <stdio.h>

static const uint8_t ack_types[] = {MQ5_PUBACK, MQ5_PUBREC, MQ5_PUBREL, MQ5_PUBCOMP};
#define TYPES 4

static void publish_as(struct wire *wire, const char *topic, const char *payload, uint8_t qos, uint16_t packet_id)
{
    struct mq5_packet packet = {.type = MQ5_PUBLISH, .publish = message(topic, payload, qos)};
    packet.publish.packet_id = packet_id;
    wire_send(wire, &packet);
}

/* ---- wrong ------------------------------------------------------------------------------------------------------------------- */

#define RIGHT_FLAGS 2

static uint32_t flag_count(void)
{
    return 15;
}

static uint8_t flags_of(uint32_t row)
{
    return (uint8_t)(row < RIGHT_FLAGS ? row : row + 1);
}

static void row_flags(uint32_t row, struct conform_row *out)
{
    uint8_t flags = flags_of(row);
    snprintf(out->name, sizeof(out->name), "PUBREL with flags %d%d%d%d", flags >> 3, flags >> 2 & 1, flags >> 1 & 1,
             flags & 1);
}

static void release_flags(struct conform_probe *probe)
{
    struct wire *wire = probe_connect(probe, "publisher");
    publish_as(wire, probe_topic(probe, "t"), "m", 2, 3);
    need(probe, need_packet(wire, MQ5_PUBREC, "PUBREC")->packet.ack.reason < 0x80, "the message is refused");
    uint8_t bytes[] = {(uint8_t)(MQ5_PUBREL << 4 | flags_of(probe_row(probe))), 2, 0, 3};
    wire_send_bytes(wire, bytes, sizeof(bytes));
    want_closed(wire, "a PUBREL with wrong flags", REASONS(MQ5_MALFORMED_PACKET));
    want(probe, wire_count_of(wire, MQ5_PUBCOMP) == 0, "a PUBREL with wrong flags is answered with PUBCOMP");
}

static uint32_t four(void)
{
    return 4;
}

static void row_request(uint32_t row, struct conform_row *out)
{
    static const char *const names[] = {"PUBLISH of QoS 1", "PUBLISH of QoS 2", "SUBSCRIBE", "UNSUBSCRIBE"};
    snprintf(out->name, sizeof(out->name), "%s with packet identifier 0", names[row]);
}

static void request_zero(struct conform_probe *probe)
{
    uint32_t row = probe_row(probe);
    struct mq5_subscription list = subscription(probe_topic(probe, "t"), 0);
    struct mq5_packet packet = {.type = row == 2 ? MQ5_SUBSCRIBE : MQ5_UNSUBSCRIBE,
                                .subscribe = {.packet_id = 0, .list = &list, .count = 1}};
    if (row < 2)
        packet = (struct mq5_packet){.type = MQ5_PUBLISH,
                                     .publish = message(probe_topic(probe, "t"), "m", (uint8_t)(row + 1))};
    struct wire *wire = probe_connect(probe, "client");
    wire_send(wire, &packet);
    want_closed(wire, "packet identifier 0", REASONS(MQ5_MALFORMED_PACKET, MQ5_PROTOCOL_ERROR));
    uint32_t answers = wire_count_of(wire, MQ5_PUBACK) + wire_count_of(wire, MQ5_PUBREC) +
                       wire_count_of(wire, MQ5_SUBACK) + wire_count_of(wire, MQ5_UNSUBACK);
    want(probe, answers == 0, "packet identifier 0 is acknowledged");
}

static void row_type(uint32_t row, struct conform_row *out)
{
    snprintf(out->name, sizeof(out->name), "%s with packet identifier 0", mq5_type_name(ack_types[row]));
}

static void ack_zero(struct conform_probe *probe)
{
    struct wire *wire = probe_connect(probe, "client");
    uint8_t type = ack_types[probe_row(probe)];
    uint8_t bytes[] = {(uint8_t)(type << 4 | (type == MQ5_PUBREL ? RIGHT_FLAGS : 0)), 2, 0, 0};
    wire_send_bytes(wire, bytes, sizeof(bytes));
    want_closed(wire, "packet identifier 0", REASONS(MQ5_MALFORMED_PACKET, MQ5_PROTOCOL_ERROR));
}

/* Refused, or taken as it should have been: DUP is not passed on with QoS 0. */
static void dup_with_qos_0(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "t");
    struct wire *subscriber = probe_connect(probe, "subscriber"), *wire = probe_connect(probe, "publisher");
    wire_subscribe(subscriber, topic, 0);
    struct mq5_packet packet = {.type = MQ5_PUBLISH, .publish = message(topic, "m", 0)};
    packet.publish.dup = true;
    wire_send(wire, &packet);
    bool closed = wire_closes(wire, US_PER_S / 2);
    const struct received *received = closed ? NULL : try_message(subscriber, topic, "m", 2 * US_PER_S);
    want(probe, !received || !received->packet.publish.dup, "DUP 1 with QoS 0 is passed on");
    need_alive(subscriber, "after a PUBLISH with QoS 0 and DUP 1");
}

/* A rule for who sends; that who receives it must close is said nowhere. */
static void dup_with_qos_0_refused(struct conform_probe *probe)
{
    struct wire *wire = probe_connect(probe, "publisher");
    struct mq5_packet packet = {.type = MQ5_PUBLISH, .publish = message(probe_topic(probe, "t"), "m", 0)};
    packet.publish.dup = true;
    wire_send(wire, &packet);
    want_closed(wire, "a PUBLISH with QoS 0 and DUP 1", REASONS(MQ5_MALFORMED_PACKET, MQ5_PROTOCOL_ERROR));
}

/* ---- unknown ------------------------------------------------------------------------------------------------------------------- */

static void row_unknown(uint32_t row, struct conform_row *out)
{
    snprintf(out->name, sizeof(out->name), row ? "PUBREC of nothing: PUBREL 0x92" : "PUBREL of nothing: PUBCOMP 0x92");
}

static uint32_t two(void)
{
    return 2;
}

static void unknown(struct conform_probe *probe)
{
    struct wire *wire = probe_connect(probe, "client");
    enum mq5_type said = probe_row(probe) ? MQ5_PUBREC : MQ5_PUBREL, due = probe_row(probe) ? MQ5_PUBREL : MQ5_PUBCOMP;
    wire_ack(wire, said, 4321, MQ5_SUCCESS);
    const struct mq5_ack *ack = &want_packet(wire, due, NULL)->packet.ack;
    want(probe, ack->packet_id == 4321, "%s for %u instead of 4321", mq5_type_name((uint8_t)due), ack->packet_id);
    want(probe, ack->reason == MQ5_PACKET_ID_NOT_FOUND, "%s 0x%02x instead of 0x92", mq5_type_name((uint8_t)due),
         ack->reason);
}

/* ---- short --------------------------------------------------------------------------------------------------------------------- */

/* Remaining length 2: nothing but the packet identifier; 3: a reason; 4: a reason and an empty list of properties. */
#define FORMS 3

static uint32_t form_count(void)
{
    return TYPES * FORMS;
}

static void row_form(uint32_t row, struct conform_row *out)
{
    snprintf(out->name, sizeof(out->name), "%s with remaining length %u", mq5_type_name(ack_types[row / FORMS]),
             row % FORMS + 2);
}

static void say(struct conform_probe *probe, struct wire *wire, enum mq5_type type, uint16_t packet_id)
{
    uint8_t length = 2;
    if (ack_types[probe_row(probe) / FORMS] == type)
        length = (uint8_t)(probe_row(probe) % FORMS + 2);
    uint8_t bytes[6] = {(uint8_t)(type << 4 | (type == MQ5_PUBREL ? RIGHT_FLAGS : 0)), length,
                        (uint8_t)(packet_id >> 8), (uint8_t)packet_id};
    wire_send_bytes(wire, bytes, 2u + length);
}

static void short_towards_broker(struct conform_probe *probe, enum mq5_type type)
{
    const char *topic = probe_topic(probe, "t");
    uint8_t qos = type == MQ5_PUBACK ? 1 : 2;
    uint16_t id;
    struct wire *wire = probe_one_in_flight(probe, topic, qos, &id);
    if (qos == 1) {
        say(probe, wire, MQ5_PUBACK, id);
    } else {
        say(probe, wire, MQ5_PUBREC, id);
        want_packet(wire, MQ5_PUBREL, "PUBREL");
        say(probe, wire, MQ5_PUBCOMP, id);
    }
    want_message(wire, topic, "second");
    want_alive(wire, "after an acknowledgement in a short form");
}

static void short_forms(struct conform_probe *probe)
{
    enum mq5_type type = (enum mq5_type)ack_types[probe_row(probe) / FORMS];
    if (type != MQ5_PUBREL) {
        short_towards_broker(probe, type);
        return;
    }
    struct wire *wire = probe_connect(probe, "publisher");
    publish_as(wire, probe_topic(probe, "t"), "m", 2, 3);
    need(probe, need_packet(wire, MQ5_PUBREC, "PUBREC")->packet.ack.reason < 0x80, "the message is refused");
    say(probe, wire, MQ5_PUBREL, 3);
    const struct mq5_ack *ack = &want_packet(wire, MQ5_PUBCOMP, "PUBCOMP")->packet.ack;
    want(probe, ack->packet_id == 3 && ack->reason == MQ5_SUCCESS, "PUBCOMP 0x%02x for %u", ack->reason,
         ack->packet_id);
}

/* ---- too large ------------------------------------------------------------------------------------------------------------------- */

/* Ways to make the broker say such a packet; NULL: it does not. */
#define OCCASIONS 3

static const struct received *occasion(struct conform_probe *probe, struct wire *wire, uint8_t type, uint32_t which,
                                       int64_t patience_us)
{
    const char *refused = probe_told(probe, "refused_topic"), *topic = probe_topic(probe, "nobody/%u", which);
    switch (type) {
    case MQ5_PUBACK:
    case MQ5_PUBREC:
        if (which == 1)
            wire_subscribe(wire, topic, 0);
        if (which == 2 && !refused)
            return NULL;
        publish_as(wire, which == 2 ? refused : topic, "m", type == MQ5_PUBACK ? 1 : 2, (uint16_t)(100 + which));
        break;
    case MQ5_PUBREL:
        if (which == 0) {
            wire_ack(wire, MQ5_PUBREC, 4321, MQ5_SUCCESS);
        } else if (which == 1) {
            wire_subscribe(wire, topic, 2);
            publish_as(wire, topic, "m", 2, 100);
        } else {
            return NULL;
        }
        break;
    default:
        if (which == 2)
            return NULL;
        if (which == 0) {
            publish_as(wire, topic, "m", 2, 100);
            need_packet(wire, MQ5_PUBREC, "PUBREC");
        }
        wire_ack(wire, MQ5_PUBREL, which == 0 ? 100 : 4321, MQ5_SUCCESS);
        break;
    }
    return try_packet(wire, (enum mq5_type)type, patience_us);
}

static enum mq5_property worded(uint32_t row)
{
    return row % 2 ? MQ5_USER_PROPERTY : MQ5_REASON_STRING;
}

static uint32_t limit_count(void)
{
    return TYPES * 2;
}

static void row_limit(uint32_t row, struct conform_row *out)
{
    static const char *const refs[] = {"MQTT-3.4.2-2", "MQTT-3.4.2-3", "MQTT-3.5.2-2", "MQTT-3.5.2-3",
                                       "MQTT-3.6.2-2", "MQTT-3.6.2-3", "MQTT-3.7.2-2", "MQTT-3.7.2-3"};
    snprintf(out->name, sizeof(out->name), "%s in %s", mq5_property_name((uint8_t)worded(row)),
             mq5_type_name(ack_types[row / 2]));
    out->ref = refs[row];
}

/* With room for it the packet has words; with one byte less than that it must do without. */
static void without_words(struct conform_probe *probe)
{
    uint8_t type = ack_types[probe_row(probe) / 2];
    uint32_t length = 0, which = 0;
    struct wire *wire = probe_connect(probe, "with room");
    for (; which < OCCASIONS && length == 0 && wire_is_open(wire); which++) {
        const struct received *received = occasion(probe, wire, type, which, 2 * US_PER_S);
        if (received && received->packet.ack.properties.present & MQ5_BIT(worded(probe_row(probe))))
            length = received->bytes.length;
    }
    if (length == 0)
        skip(probe, "the broker says no %s in %s", mq5_property_name((uint8_t)worded(probe_row(probe))),
             mq5_type_name(type));
    struct mq5_connect login = probe_login(probe, 50);
    set_maximum_packet_size(&login, length - 1);
    wire = probe_open(probe, "without room");
    const struct mq5_connack *connack = wire_login(wire, &login);
    if (!connack || connack->reason != MQ5_SUCCESS)
        skip(probe, "a client that takes %u bytes at most cannot connect", length - 1);
    const struct received *received = occasion(probe, wire, type, which - 1, probe_patience(probe));
    if (!received && type == MQ5_PUBREL && which == 2)
        skip(probe, "a client that takes %u bytes at most may have no room for the message either", length - 1);
    want(probe, received != NULL, "no %s for a client that takes %u bytes at most", mq5_type_name(type), length - 1);
    want(probe, received->bytes.length < length, "%s of %u bytes for a client that takes %u at most",
         mq5_type_name(type), received->bytes.length, length - 1);
}

CHECK_TABLE(checks_qos_errors,
            {.id = "B-QOS-020",
             .name = "a PUBREL with other flags ends the connection",
             .refs = {"MQTT-3.6.1-1"},
             .level = CONFORM_MUST,
             .needs = CONFORM_QOS_2,
             .run = release_flags,
             .row_count = flag_count,
             .row = row_flags},
            {.id = "B-QOS-021",
             .name = "packet identifier 0 ends the connection",
             .refs = {"S2.2.1a"},
             .level = CONFORM_MUST,
             .needs = CONFORM_QOS_2,
             .run = request_zero,
             .row_count = four,
             .row = row_request},
            {.id = "B-QOS-022",
             .name = "packet identifier 0 in an acknowledgement ends the connection",
             .refs = {"S2.2.1a"},
             .level = CONFORM_SHOULD,
             .needs = CONFORM_QOS_2,
             .run = ack_zero,
             .row_count = four,
             .row = row_type},
            {.id = "B-QOS-023",
             .name = "DUP with QoS 0 is not passed on",
             .refs = {"MQTT-3.3.1-2"},
             .level = CONFORM_MUST,
             .run = dup_with_qos_0},
            {.id = "B-QOS-027",
             .name = "a PUBLISH with QoS 0 and DUP ends the connection",
             .refs = {"MQTT-3.3.1-2"},
             .level = CONFORM_SHOULD,
             .run = dup_with_qos_0_refused},
            {.id = "B-QOS-024",
             .name = "an acknowledgement of nothing is answered with 0x92",
             .refs = {"S3.4.2b", "MQTT-3.6.2-1", "MQTT-3.7.2-1"},
             .level = CONFORM_SHOULD,
             .needs = CONFORM_QOS_2,
             .run = unknown,
             .row_count = two,
             .row = row_unknown},
            {.id = "B-QOS-025",
             .name = "acknowledgements may leave out their reason and their properties",
             .refs = {"S3.4.2a"},
             .level = CONFORM_MUST,
             .needs = CONFORM_QOS_2,
             .run = short_forms,
             .row_count = form_count,
             .row = row_form},
            {.id = "B-QOS-026",
             .name = "acknowledgements leave out words that the client has no room for",
             .refs = {"MQTT-3.4.2-2", "MQTT-3.4.2-3", "MQTT-3.5.2-2", "MQTT-3.5.2-3", "MQTT-3.6.2-2", "MQTT-3.6.2-3",
                      "MQTT-3.7.2-2", "MQTT-3.7.2-3"},
             .level = CONFORM_MUST,
             .needs = CONFORM_QOS_2,
             .run = without_words,
             .row_count = limit_count,
             .row = row_limit}, )
