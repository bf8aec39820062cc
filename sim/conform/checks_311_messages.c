/* checks_311_messages.c: MQTT 3.1.1, what is sent over a connection: flags, strings, identifiers, QoS, retained messages, subscriptions, filters. */
#include "check.h"
#include "tables.h"

#include <stdio.h>

#define ROWS(list) ((uint32_t)(sizeof(list) / sizeof((list)[0])))

/* ---- packets that are wrong ------------------------------------------------------------------------------------------------------------ */

static const struct {
    const char *name, *ref;
    uint8_t bytes[16];
    uint8_t length;
} wrong_packets[] = {
    {"PUBLISH with broken UTF-8 in its topic", "V3-MQTT-1.5.3-1", {0x30, 6, 0, 3, 'm', 0xC3, '/', 'x'}, 8},
    {"PUBLISH with a surrogate in its topic", "V3-MQTT-1.5.3-1", {0x30, 7, 0, 4, 'm', 0xED, 0xA0, 0x80, 'x'}, 9},
    {"PUBLISH with U+0000 in its topic", "V3-MQTT-1.5.3-2", {0x30, 6, 0, 3, 'm', 0, '/', 'x'}, 8},
    {"SUBSCRIBE with a packet identifier of 0",
     "V3-MQTT-2.3.1-1",
     {0x82, 10, 0, 0, 0, 5, 'm', 'c', '5', '/', 'v', 0},
     12},
    {"UNSUBSCRIBE with a packet identifier of 0",
     "V3-MQTT-2.3.1-1",
     {0xA2, 9, 0, 0, 0, 5, 'm', 'c', '5', '/', 'v'},
     11},
    {"PUBLISH of QoS 1 with a packet identifier of 0",
     "V3-MQTT-2.3.1-1",
     {0x32, 10, 0, 5, 'm', 'c', '5', '/', 'v', 0, 0, 'x'},
     12},
    {"PUBLISH of QoS 3", "V3-MQTT-3.3.1-4", {0x36, 10, 0, 5, 'm', 'c', '5', '/', 'v', 0, 1, 'x'}, 12},
    {"PUBLISH to a topic with #", "V3-MQTT-3.3.2-2", {0x30, 6, 0, 3, 'm', '/', '#', 'x'}, 8},
    {"PUBLISH to a topic with +", "V3-MQTT-3.3.2-2", {0x30, 6, 0, 3, 'm', '/', '+', 'x'}, 8},
    {"SUBSCRIBE without a filter", "V3-MQTT-3.8.3-3", {0x82, 2, 0, 1}, 4},
    {"SUBSCRIBE with a requested QoS of 3", "V3-MQTT-3.8.3-4", {0x82, 10, 0, 1, 0, 5, 'm', 'c', '5', '/', 'v', 3}, 12},
    {"SUBSCRIBE with reserved bits beside its QoS",
     "V3-MQTT-3.8.3-4",
     {0x82, 10, 0, 1, 0, 5, 'm', 'c', '5', '/', 'v', 4},
     12},
    {"UNSUBSCRIBE without a filter", "V3-MQTT-3.10.3-2", {0xA2, 2, 0, 1}, 4},
    {"CONNACK from a client", "V3-MQTT-4.8.0-1", {0x20, 2, 0, 0}, 4},
    {"SUBACK from a client", "V3-MQTT-4.8.0-1", {0x90, 3, 0, 1, 0}, 5},
    {"PINGRESP from a client", "V3-MQTT-4.8.0-1", {0xD0, 0}, 2},
    {"a packet of type 15", "V3-MQTT-4.8.0-1", {0xF0, 0}, 2},
    {"a packet of type 0", "V3-MQTT-4.8.0-1", {0x00, 0}, 2},
    {"a length in five bytes", "V3-MQTT-4.8.0-1", {0xC0, 0x80, 0x80, 0x80, 0x80, 0x00}, 6},
};

static uint32_t wrong_count(void)
{
    return ROWS(wrong_packets);
}

static void wrong_row(uint32_t row, struct conform_row *out)
{
    snprintf(out->name, sizeof(out->name), "%s", wrong_packets[row].name);
    out->ref = wrong_packets[row].ref;
}

static void wrong_packet(struct conform_probe *probe)
{
    uint32_t row = probe_row(probe);
    struct wire *wire = probe_connect(probe, "client");
    need_alive(wire, "before it");
    wire_send_bytes(wire, wrong_packets[row].bytes, wrong_packets[row].length);
    want_closed(wire, wrong_packets[row].name, NULL);
}

static const struct {
    const char *name, *ref;
    uint8_t right;
    uint8_t bytes[16];
    uint8_t length;
} flagged[] = {
    {"PUBREL", "V3-MQTT-3.6.1-1", 2, {0x60, 2, 0, 9}, 4},
    {"SUBSCRIBE", "V3-MQTT-2.2.2-2", 2, {0x80, 10, 0, 9, 0, 5, 'm', 'c', '5', '/', 'v', 0}, 12},
    {"UNSUBSCRIBE", "V3-MQTT-2.2.2-2", 2, {0xA0, 9, 0, 9, 0, 5, 'm', 'c', '5', '/', 'v'}, 11},
    {"PINGREQ", "V3-MQTT-2.2.2-2", 0, {0xC0, 0}, 2},
};

static uint32_t flags_count(void)
{
    return ROWS(flagged) * wrong_flags_count();
}

static void flags_row(uint32_t row, struct conform_row *out)
{
    uint32_t kind = row / wrong_flags_count();
    snprintf(out->name, sizeof(out->name), "%s with flags 0x%x", flagged[kind].name,
             wrong_flags(row % wrong_flags_count(), flagged[kind].right));
    out->ref = flagged[kind].ref;
}

static void flags(struct conform_probe *probe)
{
    uint32_t kind = probe_row(probe) / wrong_flags_count();
    uint8_t *bytes = memcpy(probe_bytes(probe, flagged[kind].length, 0), flagged[kind].bytes, flagged[kind].length);
    bytes[0] |= wrong_flags(probe_row(probe) % wrong_flags_count(), flagged[kind].right);
    struct wire *wire = probe_connect(probe, "client");
    need_alive(wire, "before it");
    wire_send_bytes(wire, bytes, flagged[kind].length);
    want_closed(wire, probe_text(probe, "%s with flags 0x%x", flagged[kind].name, bytes[0] & 15), NULL);
}

/* ---- identifiers ------------------------------------------------------------------------------------------------------------------------- */

static void acknowledged_by_id(struct conform_probe *probe)
{
    static const uint16_t ids[] = {65535, 7, 300};
    struct wire *wire = probe_connect(probe, "publisher");
    for (uint8_t qos = 1; qos <= (probe_has(probe, CONFORM_QOS_2) ? 2 : 1); qos++) {
        for (uint32_t i = 0; i < ROWS(ids); i++) {
            struct mq5_packet packet = {.type = MQ5_PUBLISH, .publish = message(probe_topic(probe, "id"), "x", qos)};
            packet.publish.packet_id = ids[i];
            wire_send(wire, &packet);
        }
        for (uint32_t i = 0; i < ROWS(ids); i++) {
            const struct received *ack = want_packet(wire, qos == 1 ? MQ5_PUBACK : MQ5_PUBREC, NULL);
            want(probe, ack->packet.ack.packet_id == ids[i], "%s of %u instead of %u", mq5_type_name(ack->packet.type),
                 ack->packet.ack.packet_id, ids[i]);
        }
        for (uint32_t i = 0; i < ROWS(ids) && qos == 2; i++) {
            wire_ack(wire, MQ5_PUBREL, ids[i], 0);
            uint16_t id = want_packet(wire, MQ5_PUBCOMP, NULL)->packet.ack.packet_id;
            want(probe, id == ids[i], "PUBCOMP of %u instead of %u", id, ids[i]);
        }
    }
}

static void answered_by_id(struct conform_probe *probe)
{
    struct wire *wire = probe_connect(probe, "subscriber");
    for (uint16_t i = 0; i < 3; i++) {
        struct mq5_subscription list = subscription(probe_topic(probe, "%u", i), 0);
        uint16_t sent = wire_send_subscribe(wire, &list, 1, 0);
        uint16_t id = want_packet(wire, MQ5_SUBACK, NULL)->packet.suback.packet_id;
        want(probe, id == sent, "SUBACK of %u instead of %u", id, sent);
        const char *filter = probe_topic(probe, "%u", i);
        sent = wire_send_unsubscribe(wire, &filter, 1);
        id = want_packet(wire, MQ5_UNSUBACK, NULL)->packet.suback.packet_id;
        want(probe, id == sent, "UNSUBACK of %u instead of %u", id, sent);
    }
}

/* ---- quality of service -------------------------------------------------------------------------------------------------------------------- */

static void qos_0(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "q0");
    struct wire *wire = probe_subscriber(probe, "subscriber", topic, 0);
    struct wire *publisher = probe_connect(probe, "publisher");
    wire_publish(publisher, topic, "once", 0);
    const struct mq5_publish *publish = &want_message(wire, topic, "once")->packet.publish;
    want(probe, publish->qos == 0 && !publish->dup, "QoS %u, DUP %d instead of 0 and 0", publish->qos, publish->dup);
}

static void qos_1(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "q1");
    struct wire *wire = probe_subscriber(probe, "subscriber", topic, 1);
    wire_publish(probe_connect(probe, "publisher"), topic, "at least once", 1);
    const struct mq5_publish *publish = &want_message(wire, topic, "at least once")->packet.publish;
    want(probe, publish->qos == 1 && publish->packet_id, "QoS %u, packet identifier %u", publish->qos,
         publish->packet_id);
    want(probe, !publish->dup, "DUP 1 the first time");
}

static void qos_2(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "q2");
    struct wire *wire = probe_subscriber(probe, "subscriber", topic, 2);
    wire_hold_acks(wire, true);
    wire_publish(probe_connect(probe, "publisher"), topic, "exactly once", 2);
    const struct mq5_publish *publish = &want_message(wire, topic, "exactly once")->packet.publish;
    want(probe, publish->qos == 2, "QoS %u instead of 2", publish->qos);
    wire_ack(wire, MQ5_PUBREC, publish->packet_id, 0);
    uint16_t id = want_packet(wire, MQ5_PUBREL, NULL)->packet.ack.packet_id;
    want(probe, id == publish->packet_id, "PUBREL of %u instead of %u", id, publish->packet_id);
    wire_ack(wire, MQ5_PUBCOMP, id, 0);
    want_alive(wire, "after PUBCOMP");
    want(probe, wire_count_messages(wire, topic, "exactly once") == 1, "the message comes %u times",
         wire_count_messages(wire, topic, "exactly once"));
}

static void qos_2_again(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "q2");
    struct wire *wire = probe_connect(probe, "subscriber"), *publisher = probe_connect(probe, "publisher");
    wire_subscribe(wire, topic, 2);
    struct mq5_packet packet = {.type = MQ5_PUBLISH, .publish = message(topic, "exactly once", 2)};
    packet.publish.packet_id = 4711;
    wire_send(publisher, &packet);
    need_packet(publisher, MQ5_PUBREC, NULL);
    packet.publish.dup = true;
    wire_send(publisher, &packet);
    want_packet(publisher, MQ5_PUBREC, "PUBREC of the message sent again");
    wire_ack(publisher, MQ5_PUBREL, 4711, 0);
    want_packet(publisher, MQ5_PUBCOMP, NULL);
    wire_publish(publisher, topic, "marker", 2);
    need_message(wire, topic, "marker");
    want(probe, wire_count_messages(wire, topic, "exactly once") == 1, "the message comes %u times",
         wire_count_messages(wire, topic, "exactly once"));
}

/* ---- what is sent again ------------------------------------------------------------------------------------------------------------------ */

/* A subscriber that holds a message without acknowledging it; *id is the message's. */
static struct wire *hold_one(struct conform_probe *probe, const struct mq5_connect *login, const char *topic,
                             uint8_t qos, uint16_t *id)
{
    struct wire *wire = probe_connect_holding(probe, "first", login);
    struct mq5_subscription list = subscription(topic, qos);
    need_granted(wire, wire_subscribe_with(wire, &list, 1, 0), 1);
    wire_publish(probe_connect(probe, "publisher"), topic, "held", qos);
    *id = need_message(wire, topic, "held")->packet.publish.packet_id;
    return wire;
}

static void publish_again(struct conform_probe *probe)
{
    uint16_t id;
    const char *topic = probe_topic(probe, "again");
    struct mq5_connect login = probe_login_kept(probe, 0);
    wire_end(hold_one(probe, &login, topic, 1, &id), WIRE_FIN);
    struct wire *wire = probe_resume_holding(probe, "again", &login);
    const struct mq5_publish *again = &want_message(wire, topic, "held")->packet.publish;
    want(probe, again->packet_id == id, "it comes again under %u instead of %u", again->packet_id, id);
    want(probe, again->dup, "it comes again with DUP 0");
    wire_ack(wire, MQ5_PUBACK, again->packet_id, 0);
}

static void release_again(struct conform_probe *probe)
{
    uint16_t id;
    const char *topic = probe_topic(probe, "again");
    struct mq5_connect login = probe_login_kept(probe, 0);
    struct wire *wire = hold_one(probe, &login, topic, 2, &id);
    wire_ack(wire, MQ5_PUBREC, id, 0);
    need_packet(wire, MQ5_PUBREL, NULL);
    wire_end(wire, WIRE_FIN);
    wire = probe_resume_holding(probe, "again", &login);
    uint16_t again = want_packet(wire, MQ5_PUBREL, "PUBREL after the connection is back")->packet.ack.packet_id;
    want(probe, again == id, "PUBREL of %u instead of %u", again, id);
    want(probe, wire_count_messages(wire, topic, NULL) == 0, "the message comes again after its PUBREC");
    wire_ack(wire, MQ5_PUBCOMP, id, 0);
}

static void in_order(struct conform_probe *probe)
{
    want_order_kept(probe, 1, 50);
}

/* ---- retained messages --------------------------------------------------------------------------------------------------------------------- */

static void retained_comes(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "retained");
    wire_publish_retained(probe_connect(probe, "publisher"), topic, "kept", 1);
    const struct received *kept = probe_kept(probe, topic, "kept");
    want(probe, kept != NULL, "a new subscription is not sent the retained message");
    want(probe, kept->packet.publish.retain, "the retained message comes with RETAIN 0");
}

static void retained_passes(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "retained");
    struct wire *wire = probe_subscriber(probe, "subscriber", topic, 1);
    wire_publish_retained(probe_connect(probe, "publisher"), topic, "passes", 1);
    want(probe, !want_message(wire, topic, "passes")->packet.publish.retain,
         "RETAIN 1 to a subscription that was there before");
}

static void retained_goes(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "retained");
    struct wire *publisher = probe_connect(probe, "publisher"), *wire = probe_connect(probe, "subscriber");
    wire_publish_retained(publisher, topic, "kept", 1);
    need(probe, probe_kept(probe, topic, "kept") != NULL, "the message is not retained");
    wire_subscribe(wire, topic, 1);
    wire_publish_retained(publisher, topic, "", 1);
    want_message(wire, topic, "");
    want(probe, probe_kept(probe, topic, NULL) == NULL, "it is still there after an empty retained message");
}

/* ---- subscriptions --------------------------------------------------------------------------------------------------------------------------- */

static void replaced(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "twice");
    struct wire *wire = probe_connect(probe, "subscriber"), *publisher = probe_connect(probe, "publisher");
    wire_subscribe(wire, topic, 0);
    wire_subscribe(wire, topic, 1);
    wire_publish(publisher, topic, "one copy", 1);
    want(probe, want_message(wire, topic, "one copy")->packet.publish.qos == 1, "the first subscription's QoS holds");
    wire_publish(publisher, topic, "marker", 1);
    need_message(wire, topic, "marker");
    want(probe, wire_count_messages(wire, topic, "one copy") == 1, "%u copies of a message",
         wire_count_messages(wire, topic, "one copy"));
}

static void code_each(struct conform_probe *probe)
{
    struct mq5_subscription list[3];
    for (uint8_t i = 0; i < 3; i++)
        list[i] = subscription(probe_topic(probe, "%u", i), i);
    struct wire *wire = probe_connect(probe, "subscriber");
    const struct mq5_suback *suback = wire_subscribe_with(wire, list, 3, 0);
    want(probe, suback->reasons.length == 3, "%u return codes for 3 filters", suback->reasons.length);
    for (uint32_t i = 0; i < 3; i++)
        want(probe, suback->reasons.data[i] <= i || suback->reasons.data[i] == 0x80,
             "return code 0x%02x for a filter with QoS %u", suback->reasons.data[i], i);
}

static void unsubscribed(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "left"), *other = probe_topic(probe, "marker");
    struct wire *wire = probe_connect(probe, "subscriber"), *publisher = probe_connect(probe, "publisher");
    wire_subscribe(wire, topic, 1);
    wire_subscribe(wire, other, 1);
    wire_publish(publisher, topic, "before", 1);
    need_message(wire, topic, "before");
    wire_unsubscribe(wire, topic);
    wire_publish(publisher, topic, "after", 1);
    wire_publish(publisher, other, "marker", 1);
    need_message(wire, other, "marker");
    probe_settle(probe);
    want(probe, wire_count_messages(wire, topic, "after") == 0, "a message comes after UNSUBACK");
}

static void unsubscribed_from_nothing(struct conform_probe *probe)
{
    const char *filter = probe_topic(probe, "never");
    struct wire *wire = probe_connect(probe, "client");
    wire_send_unsubscribe(wire, &filter, 1);
    want_packet(wire, MQ5_UNSUBACK, "UNSUBACK to what was never subscribed to");
}

/* ---- filters --------------------------------------------------------------------------------------------------------------------------------- */

static const char *const wrong_filters[] = {"#/below", "word#", "a#/b"};

static uint32_t filter_count(void)
{
    return ROWS(wrong_filters);
}

static void filter_row(uint32_t row, struct conform_row *out)
{
    snprintf(out->name, sizeof(out->name), "filter \".../%s\"", wrong_filters[row]);
}

static void wrong_filter(struct conform_probe *probe)
{
    struct mq5_subscription list = subscription(probe_topic(probe, "%s", wrong_filters[probe_row(probe)]), 0);
    struct wire *wire = probe_connect(probe, "client");
    wire_send_subscribe(wire, &list, 1, 0);
    const struct received *answer = want_answer_or_end(wire, MQ5_SUBACK, "SUBACK, or the end of the connection");
    want(probe, !answer || (answer->packet.suback.reasons.length && answer->packet.suback.reasons.data[0] == 0x80),
         "the filter \".../%s\" is taken", wrong_filters[probe_row(probe)]);
}

static void plus(struct conform_probe *probe)
{
    static const char *const apart[] = {"p", "p/a/b", "q/a"};
    struct mq5_subscription list[] = {subscription(probe_topic(probe, "p/+"), 1),
                                      subscription(probe_topic(probe, "marker"), 1)};
    struct wire *wire = probe_connect(probe, "subscriber"), *publisher = probe_connect(probe, "publisher");
    need_granted(wire, wire_subscribe_with(wire, list, 2, 0), 2);
    wire_warm_up(wire, probe_topic(probe, "p/warm"));
    wire_publish(publisher, probe_topic(probe, "p/a"), "one level", 1);
    want_message(wire, NULL, "one level");
    wire_publish(publisher, probe_topic(probe, "p/"), "an empty level", 1);
    want_message(wire, NULL, "an empty level");
    for (uint32_t i = 0; i < ROWS(apart); i++)
        wire_publish(publisher, probe_topic(probe, "%s", apart[i]), "apart", 1);
    wire_publish(publisher, probe_topic(probe, "marker"), "marker", 1);
    need_message(wire, NULL, "marker");
    probe_settle(probe);
    want(probe, wire_count_messages(wire, NULL, "apart") == 0, "\"p/+\" matches what it should not");
}

static void byte_by_byte(struct conform_probe *probe)
{
    static const char *const apart[] = {"Case/A", "case/a/", "/case/a", "case /a"};
    const char *topic = probe_topic(probe, "case/a");
    struct wire *wire = probe_connect(probe, "subscriber"), *publisher = probe_connect(probe, "publisher");
    wire_subscribe(wire, topic, 1);
    for (uint32_t i = 0; i < ROWS(apart); i++)
        wire_publish(publisher, probe_topic(probe, "%s", apart[i]), "apart", 1);
    wire_publish(publisher, topic, "the same", 1);
    want_message(wire, topic, "the same");
    probe_settle(probe);
    want(probe, wire_count_messages(wire, NULL, "apart") == 0, "a topic matches a filter of other bytes");
}

static void dollar(struct conform_probe *probe)
{
    const char *name = probe_client_id(probe, 0), *topic = probe_text(probe, "$mc5/%s", name);
    struct mq5_subscription list[] = {subscription(probe_text(probe, "+/%s", name), 1), subscription(topic, 1)};
    struct wire *wild = probe_connect(probe, "wildcard"), *named = probe_connect(probe, "by name");
    need_granted(wild, wire_subscribe_with(wild, &list[0], 1, 0), 1);
    need_granted(named, wire_subscribe_with(named, &list[1], 1, 0), 1);
    wire_warm_up(named, topic);
    struct wire *publisher = probe_connect(probe, "publisher");
    wire_publish(publisher, topic, "apart", 1);
    wire_publish(publisher, probe_text(probe, "mc5/%s", name), "control", 1);
    need_message(named, topic, "apart");
    need_message(wild, NULL, "control");
    probe_settle(probe);
    want(probe, wire_count_messages(wild, topic, NULL) == 0, "a + at the front matches a level that begins with $");
}

/* clang-format off */
CHECK_TABLE(checks_311_messages,
    {.id = "B-V311-101", .name = "a packet that is wrong ends the connection",
     .refs = {"V3-MQTT-4.8.0-1", "V3-MQTT-1.5.3-1", "V3-MQTT-1.5.3-2", "V3-MQTT-2.3.1-1", "V3-MQTT-3.3.1-4", "V3-MQTT-3.3.2-2", "V3-MQTT-3.8.3-3", "V3-MQTT-3.8.3-4"},
     .level = CONFORM_MUST, .version = MQ5_V311, .run = wrong_packet, .row_count = wrong_count, .row = wrong_row},
    {.id = "B-V311-102", .name = "flags that are wrong end the connection", .refs = {"V3-MQTT-2.2.2-2", "V3-MQTT-3.6.1-1"},
     .level = CONFORM_MUST, .version = MQ5_V311, .run = flags, .row_count = flags_count, .row = flags_row},
    {.id = "B-V311-103", .name = "acknowledgements carry the message's identifier", .refs = {"V3-MQTT-2.3.1-6"},
     .level = CONFORM_MUST, .needs = CONFORM_QOS_1, .version = MQ5_V311, .run = acknowledged_by_id},
    {.id = "B-V311-104", .name = "SUBACK and UNSUBACK carry the request's identifier", .refs = {"V3-MQTT-2.3.1-7"},
     .level = CONFORM_MUST, .version = MQ5_V311, .run = answered_by_id},
    {.id = "B-V311-105", .name = "QoS 0 is delivered", .refs = {"V3-MQTT-4.3.1-1", "V3-MQTT-3.3.1-2"},
     .level = CONFORM_MUST, .version = MQ5_V311, .run = qos_0},
    {.id = "B-V311-106", .name = "QoS 1 is delivered with an identifier", .refs = {"V3-MQTT-4.3.2-1"},
     .level = CONFORM_MUST, .needs = CONFORM_QOS_1, .version = MQ5_V311, .run = qos_1},
    {.id = "B-V311-107", .name = "QoS 2 is delivered in four steps", .refs = {"V3-MQTT-4.3.3-1"},
     .level = CONFORM_MUST, .needs = CONFORM_QOS_2, .version = MQ5_V311, .run = qos_2},
    {.id = "B-V311-108", .name = "a message of QoS 2 sent again is not delivered again", .refs = {"V3-MQTT-4.3.3-2"},
     .level = CONFORM_MUST, .needs = CONFORM_QOS_2, .version = MQ5_V311, .run = qos_2_again},
    {.id = "B-V311-109", .name = "a PUBLISH without its PUBACK comes again", .refs = {"V3-MQTT-4.4.0-1"},
     .level = CONFORM_MUST, .needs = CONFORM_QOS_1, .version = MQ5_V311, .run = publish_again},
    {.id = "B-V311-110", .name = "a PUBREL without its PUBCOMP comes again", .refs = {"V3-MQTT-4.4.0-1"},
     .level = CONFORM_MUST, .needs = CONFORM_QOS_2, .version = MQ5_V311, .run = release_again},
    {.id = "B-V311-111", .name = "messages keep their order", .refs = {"V3-MQTT-4.6.0-6"},
     .level = CONFORM_MUST, .needs = CONFORM_QOS_1, .version = MQ5_V311, .run = in_order},
    {.id = "B-V311-112", .name = "a new subscription is sent the retained message", .refs = {"V3-MQTT-3.3.1-6", "V3-MQTT-3.3.1-8"},
     .level = CONFORM_MUST, .needs = CONFORM_QOS_1 | CONFORM_RETAIN, .version = MQ5_V311, .run = retained_comes},
    {.id = "B-V311-113", .name = "RETAIN is 0 to a subscription that was there before", .refs = {"V3-MQTT-3.3.1-9"},
     .level = CONFORM_MUST, .needs = CONFORM_QOS_1 | CONFORM_RETAIN, .version = MQ5_V311, .run = retained_passes},
    {.id = "B-V311-114", .name = "an empty retained message takes the kept one away", .refs = {"V3-MQTT-3.3.1-10"},
     .level = CONFORM_MUST, .needs = CONFORM_QOS_1 | CONFORM_RETAIN, .version = MQ5_V311, .run = retained_goes},
    {.id = "B-V311-115", .name = "the same filter again replaces the subscription", .refs = {"V3-MQTT-3.8.4-3"},
     .level = CONFORM_MUST, .needs = CONFORM_QOS_1, .version = MQ5_V311, .run = replaced},
    {.id = "B-V311-116", .name = "SUBACK has a return code for each filter", .refs = {"V3-MQTT-3.8.4-5", "V3-MQTT-3.9.3-2"},
     .level = CONFORM_MUST, .version = MQ5_V311, .run = code_each},
    {.id = "B-V311-117", .name = "nothing new comes after UNSUBSCRIBE", .refs = {"V3-MQTT-3.10.4-2"},
     .level = CONFORM_MUST, .needs = CONFORM_QOS_1, .version = MQ5_V311, .run = unsubscribed},
    {.id = "B-V311-118", .name = "UNSUBSCRIBE is answered when there was no subscription", .refs = {"V3-MQTT-3.10.4-5"},
     .level = CONFORM_MUST, .version = MQ5_V311, .run = unsubscribed_from_nothing},
    {.id = "B-V311-119", .name = "# elsewhere than alone at the end is refused", .refs = {"V3-MQTT-4.7.1-2"},
     .level = CONFORM_MUST, .version = MQ5_V311, .run = wrong_filter, .row_count = filter_count, .row = filter_row},
    {.id = "B-V311-120", .name = "+ matches one level", .refs = {"V3-MQTT-4.7.1-3"},
     .level = CONFORM_MUST, .needs = CONFORM_QOS_1 | CONFORM_WILDCARD, .version = MQ5_V311, .run = plus},
    {.id = "B-V311-121", .name = "topics are compared byte by byte", .refs = {"V3-MQTT-4.7.3-4"},
     .level = CONFORM_MUST, .needs = CONFORM_QOS_1, .version = MQ5_V311, .run = byte_by_byte},
    {.id = "B-V311-122", .name = "wildcards at the front do not match $", .refs = {"V3-MQTT-4.7.2-1"},
     .level = CONFORM_MUST, .needs = CONFORM_QOS_1 | CONFORM_WILDCARD | CONFORM_DOLLAR, .version = MQ5_V311, .run = dollar})
/* clang-format on */
