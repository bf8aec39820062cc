/* checks_qos_receive.c: QoS of messages that a client publishes (3.3.4, 4.3): the broker acknowledges, and passes on as often as it should. */
#include "check.h"
#include "tables.h"

#include <stdio.h>

#define KEPT 50 /* number of a client whose session is kept */

static void publish_as(struct wire *wire, struct mq5_publish publish, uint16_t packet_id, bool dup)
{
    struct mq5_packet packet = {.type = MQ5_PUBLISH, .publish = publish};
    packet.publish.packet_id = packet_id;
    packet.publish.dup = dup;
    wire_send(wire, &packet);
}

/* How often the message has come, when one that was published after it is there. */
static uint32_t delivered(struct conform_probe *probe, struct wire *subscriber, const char *topic, const char *payload,
                          uint8_t qos)
{
    struct wire *publisher = probe_connect(probe, "publisher of the marker");
    wire_publish(publisher, topic, "marker", qos);
    need_message(subscriber, topic, "marker");
    return wire_count_messages(subscriber, topic, payload);
}

/* ---- each its acknowledgement ---------------------------------------------------------------------------------------------- */

static const uint16_t ids[] = {1, 2, 127, 128, 255, 256, 4660, 32767, 32768, 65535};

static uint32_t id_count(void)
{
    return sizeof(ids) / sizeof(ids[0]);
}

static uint32_t three(void)
{
    return 3;
}

static void row_id(uint32_t row, struct conform_row *out)
{
    snprintf(out->name, sizeof(out->name), "packet identifier %u", ids[row]);
}

static void row_answer(uint32_t row, struct conform_row *out)
{
    static const char *const names[] = {"nothing", "PUBACK", "PUBREC"};
    snprintf(out->name, sizeof(out->name), "QoS %u: %s", row, names[row]);
}

static void answered(struct conform_probe *probe)
{
    uint8_t qos = (uint8_t)probe_row(probe);
    const char *topic = probe_topic(probe, "t");
    struct wire *subscriber = probe_subscriber(probe, "subscriber", topic, 2),
                *wire = probe_connect(probe, "publisher");
    publish_as(wire, message(topic, "m", qos), qos ? 3 : 0, false);
    if (qos == 1)
        want_packet(wire, MQ5_PUBACK, "PUBACK for QoS 1");
    else if (qos == 2)
        want_packet(wire, MQ5_PUBREC, "PUBREC for QoS 2");
    need_alive(wire, "after PUBLISH");
    if (qos < 2)
        need_message(subscriber, topic, "m");
    want(probe, wire_count_of(wire, MQ5_PUBACK) == (qos == 1), "QoS %u is answered with %u PUBACK", qos,
         wire_count_of(wire, MQ5_PUBACK));
    want(probe, wire_count_of(wire, MQ5_PUBREC) == (qos == 2), "QoS %u is answered with %u PUBREC", qos,
         wire_count_of(wire, MQ5_PUBREC));
}

static void qos_1(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "t");
    uint16_t id = ids[probe_row(probe)];
    struct wire *subscriber = probe_subscriber(probe, "subscriber", topic, 2),
                *wire = probe_connect(probe, "publisher");
    publish_as(wire, message(topic, "m", 1), id, false);
    const struct mq5_ack *ack = &want_packet(wire, MQ5_PUBACK, "PUBACK")->packet.ack;
    want(probe, ack->packet_id == id, "PUBACK for %u instead of %u", ack->packet_id, id);
    need(probe, ack->reason < 0x80, "the message is refused: 0x%02x", ack->reason);
    want_message(subscriber, topic, "m");
    need_alive(wire, "after PUBACK");
    want(probe, wire_count_of(wire, MQ5_PUBREC) == 0, "QoS 1 is answered with PUBREC");
}

static void qos_2(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "t");
    uint16_t id = ids[probe_row(probe)];
    struct wire *subscriber = probe_subscriber(probe, "subscriber", topic, 2),
                *wire = probe_connect(probe, "publisher");
    publish_as(wire, message(topic, "m", 2), id, false);
    const struct mq5_ack *ack = &want_packet(wire, MQ5_PUBREC, "PUBREC")->packet.ack;
    want(probe, ack->packet_id == id, "PUBREC for %u instead of %u", ack->packet_id, id);
    want(probe, wire_count_of(wire, MQ5_PUBACK) == 0, "QoS 2 is answered with PUBACK");
    need(probe, ack->reason < 0x80, "the message is refused: 0x%02x", ack->reason);
    wire_ack(wire, MQ5_PUBREL, id, MQ5_SUCCESS);
    need_packet(wire, MQ5_PUBCOMP, "PUBCOMP");
    want(probe, wire_count_of(wire, MQ5_PUBREC) == 1, "PUBREC comes %u times", wire_count_of(wire, MQ5_PUBREC));
    want_message(subscriber, topic, "m");
}

static void release(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "t");
    uint16_t id = ids[probe_row(probe)];
    struct wire *subscriber = probe_subscriber(probe, "subscriber", topic, 2),
                *wire = probe_connect(probe, "publisher");
    publish_as(wire, message(topic, "m", 2), id, false);
    need(probe, need_packet(wire, MQ5_PUBREC, "PUBREC")->packet.ack.reason < 0x80, "the message is refused");
    wire_ack(wire, MQ5_PUBREL, id, MQ5_SUCCESS);
    const struct mq5_ack *ack = &want_packet(wire, MQ5_PUBCOMP, "PUBCOMP")->packet.ack;
    want(probe, ack->packet_id == id, "PUBCOMP for %u instead of %u", ack->packet_id, id);
    should(probe, "reason", "S3.4.2b", ack->reason == MQ5_SUCCESS, "PUBCOMP 0x%02x for a PUBLISH that was received",
           ack->reason);
    want(probe, delivered(probe, subscriber, topic, "m", 2) == 1, "the message came more than once, or not at all");
}

/* All at once: each has an acknowledgement of its own, in whatever order. */
static void burst(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "t");
    uint8_t qos = (uint8_t)(probe_row(probe) + 1);
    uint32_t count = probe_broker(probe)->receive_maximum < 10 ? probe_broker(probe)->receive_maximum : 10;
    struct wire *subscriber = probe_subscriber(probe, "subscriber", topic, 2),
                *wire = probe_connect(probe, "publisher");
    bool acknowledged[11] = {false}, completed[11] = {false};
    wire_gather(wire);
    for (uint32_t i = 1; i <= count; i++)
        publish_as(wire, message(topic, probe_text(probe, "%u", i), qos), (uint16_t)i, false);
    wire_flush(wire);
    for (uint32_t i = 1; i <= count; i++) {
        const struct mq5_ack *ack = &want_packet(wire, qos == 1 ? MQ5_PUBACK : MQ5_PUBREC, NULL)->packet.ack;
        want(probe, ack->packet_id >= 1 && ack->packet_id <= count && !acknowledged[ack->packet_id],
             "an acknowledgement for %u, which was not sent or acknowledged before", ack->packet_id);
        need(probe, ack->reason < 0x80, "message %u is refused: 0x%02x", ack->packet_id, ack->reason);
        acknowledged[ack->packet_id] = true;
    }
    for (uint32_t i = 1; i <= count && qos == 2; i++)
        wire_ack(wire, MQ5_PUBREL, (uint16_t)i, MQ5_SUCCESS);
    for (uint32_t i = 1; i <= count && qos == 2; i++) {
        const struct mq5_ack *ack = &want_packet(wire, MQ5_PUBCOMP, NULL)->packet.ack;
        want(probe, ack->packet_id >= 1 && ack->packet_id <= count && !completed[ack->packet_id],
             "PUBCOMP for %u, which was not released or completed before", ack->packet_id);
        completed[ack->packet_id] = true;
    }
    for (uint32_t i = 1; i <= count; i++)
        want_message(subscriber, topic, probe_text(probe, "%u", i));
}

static uint32_t two(void)
{
    return 2;
}

static void row_qos(uint32_t row, struct conform_row *out)
{
    snprintf(out->name, sizeof(out->name), "QoS %u", row + 1);
    out->ref = row ? "MQTT-4.3.3-8" : "MQTT-4.3.2-4";
}

/* Who sends chooses identifiers: those of the two directions have nothing to do with each other. */
static void same_id_both_ways(struct conform_probe *probe)
{
    const char *down = probe_topic(probe, "down"), *up = probe_topic(probe, "up");
    struct wire *wire = probe_connect(probe, "client"), *subscriber = probe_subscriber(probe, "subscriber", up, 2);
    wire_subscribe(wire, down, 2);
    wire_hold_acks(wire, true);
    wire_publish(probe_connect(probe, "publisher"), down, "down", 2);
    uint16_t id = need_message(wire, down, "down")->packet.publish.packet_id;
    publish_as(wire, message(up, "up", 2), id, false);
    const struct mq5_ack *ack = &want_packet(wire, MQ5_PUBREC, "PUBREC")->packet.ack;
    want(probe, ack->packet_id == id && ack->reason < 0x80, "PUBREC 0x%02x for %u instead of %u", ack->reason,
         ack->packet_id, id);
    wire_ack(wire, MQ5_PUBREC, id, MQ5_SUCCESS);
    want(probe, want_packet(wire, MQ5_PUBREL, "PUBREL")->packet.ack.packet_id == id, "PUBREL is not for %u", id);
    wire_ack(wire, MQ5_PUBREL, id, MQ5_SUCCESS);
    want(probe, want_packet(wire, MQ5_PUBCOMP, "PUBCOMP")->packet.ack.packet_id == id, "PUBCOMP is not for %u", id);
    wire_ack(wire, MQ5_PUBCOMP, id, MQ5_SUCCESS);
    want_message(subscriber, up, "up");
}

static void subscribe_ids(struct conform_probe *probe)
{
    struct wire *wire = probe_connect(probe, "client");
    struct mq5_subscription list = subscription(probe_topic(probe, "t"), 0);
    struct mq5_packet packet = {.type = MQ5_SUBSCRIBE,
                                .subscribe = {.packet_id = ids[probe_row(probe)], .list = &list, .count = 1}};
    wire_send(wire, &packet);
    uint16_t id = want_packet(wire, MQ5_SUBACK, "SUBACK")->packet.suback.packet_id;
    want(probe, id == packet.subscribe.packet_id, "SUBACK for %u instead of %u", id, packet.subscribe.packet_id);
    packet.type = MQ5_UNSUBSCRIBE;
    wire_send(wire, &packet);
    id = want_packet(wire, MQ5_UNSUBACK, "UNSUBACK")->packet.suback.packet_id;
    want(probe, id == packet.subscribe.packet_id, "UNSUBACK for %u instead of %u", id, packet.subscribe.packet_id);
}

/* Nobody is subscribed: 0x10 says so, and is no error; 0x00 is as good. */
static void nobody_there(struct conform_probe *probe)
{
    uint8_t qos = (uint8_t)(probe_row(probe) + 1);
    const char *topic = probe_topic(probe, "nobody");
    struct wire *wire = probe_connect(probe, "publisher");
    publish_as(wire, message(topic, "m", qos), 5, false);
    const struct mq5_ack *ack = &want_packet(wire, qos == 1 ? MQ5_PUBACK : MQ5_PUBREC, NULL)->packet.ack;
    want(probe, ack->reason == MQ5_SUCCESS || ack->reason == MQ5_NO_MATCHING_SUBSCRIBERS,
         "%s 0x%02x for a message without subscribers", qos == 1 ? "PUBACK" : "PUBREC", ack->reason);
    if (qos == 2) {
        wire_ack(wire, MQ5_PUBREL, 5, MQ5_SUCCESS);
        ack = &want_packet(wire, MQ5_PUBCOMP, "PUBCOMP")->packet.ack;
        want(probe, ack->packet_id == 5, "PUBCOMP is not for 5");
    }
    want_alive(wire, "after a message without subscribers");
}

static void row_nobody(uint32_t row, struct conform_row *out)
{
    snprintf(out->name, sizeof(out->name), "QoS %u", row + 1);
}

/* Accepted means: for everybody, here or away. */
static void every_session(struct conform_probe *probe)
{
    uint8_t qos = (uint8_t)(probe_row(probe) + 1);
    if (qos == 2 && !probe_has(probe, CONFORM_QOS_2))
        skip(probe, "needs QoS 2");
    const char *topic = probe_topic(probe, "t");
    struct mq5_connect login = probe_login_kept(probe, KEPT);
    struct wire *away = probe_subscriber_as(probe, "who will be away", &login, topic, qos);
    wire_disconnect(away, MQ5_SUCCESS);
    struct wire *here[3];
    for (int i = 0; i < 3; i++) {
        here[i] = probe_connect(probe, "subscriber");
        wire_subscribe(here[i], topic, (uint8_t)(i <= qos ? i : 1));
    }
    struct wire *publisher = probe_subscriber(probe, "publisher and subscriber", topic, qos);
    wire_publish(publisher, topic, "m", qos);
    for (int i = 0; i < 3; i++)
        want_message(here[i], topic, "m");
    want_message(publisher, topic, "m");
    away = probe_resume(probe, "who was away", &login, false);
    need(probe, wire_connack(away)->session_present, "Session Present 0");
    want_message(away, topic, "m");
}

/* ---- said again ---------------------------------------------------------------------------------------------------------------- */

static void row_dup(uint32_t row, struct conform_row *out)
{
    snprintf(out->name, sizeof(out->name), "DUP %u", row);
}

static void qos_1_again(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "t");
    struct wire *subscriber = probe_subscriber(probe, "subscriber", topic, 2),
                *wire = probe_connect(probe, "publisher");
    for (int i = 0; i < 3; i++) {
        publish_as(wire, message(topic, "m", 1), 9, i && probe_row(probe));
        need(probe, need_packet(wire, MQ5_PUBACK, "PUBACK")->packet.ack.reason < 0x80, "the message is refused");
    }
    uint32_t count = delivered(probe, subscriber, topic, "m", 1);
    want(probe, count == 3, "three messages with the same packet identifier, each acknowledged: %u delivered", count);
}

static void qos_2_after_completion(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "t");
    struct wire *subscriber = probe_subscriber(probe, "subscriber", topic, 2),
                *wire = probe_connect(probe, "publisher");
    for (int i = 0; i < 3; i++) {
        publish_as(wire, message(topic, "m", 2), 9, i && probe_row(probe));
        need(probe, need_packet(wire, MQ5_PUBREC, "PUBREC")->packet.ack.reason < 0x80, "the message is refused");
        wire_ack(wire, MQ5_PUBREL, 9, MQ5_SUCCESS);
        need_packet(wire, MQ5_PUBCOMP, "PUBCOMP");
    }
    uint32_t count = delivered(probe, subscriber, topic, "m", 2);
    want(probe, count == 3, "three messages with the same packet identifier, each completed: %u delivered", count);
}

static const struct repeat {
    const char *name;
    uint32_t times;
    bool dup;
} repeats[] = {{"once, with DUP", 1, true}, {"three times, with DUP", 3, true}, {"once, without DUP", 1, false}};

static void row_repeat(uint32_t row, struct conform_row *out)
{
    snprintf(out->name, sizeof(out->name), "%s", repeats[row].name);
}

/* PUBREC for a PUBLISH that is sent again over the same connection. A client may not do that (4.4.0-1): a broker that ends the connection for it
 * (NULL) is within its rights, although 4.3.3-10 would have it answer. */
static const struct mq5_ack *want_again(struct conform_probe *probe, struct wire *wire, struct mq5_publish publish,
                                        bool dup)
{
    publish_as(wire, publish, 9, dup);
    const struct received *answer = want_answer_or_end(wire, MQ5_PUBREC, "PUBREC for a PUBLISH that is sent again");
    should(probe, "answered", "MQTT-4.3.3-10", answer, "the connection ends instead of a PUBREC");
    if (answer)
        want(probe, answer->packet.ack.packet_id == 9, "PUBREC for %u instead of 9", answer->packet.ack.packet_id);
    return answer ? &answer->packet.ack : NULL;
}

static void qos_2_again(struct conform_probe *probe)
{
    const struct repeat *repeat = &repeats[probe_row(probe)];
    const char *topic = probe_topic(probe, "t");
    struct wire *subscriber = probe_subscriber(probe, "subscriber", topic, 2),
                *wire = probe_connect(probe, "publisher");
    publish_as(wire, message(topic, "m", 2), 9, false);
    need(probe, need_packet(wire, MQ5_PUBREC, "PUBREC")->packet.ack.reason < 0x80, "the message is refused");
    bool goes_on = true;
    for (uint32_t i = 0; goes_on && i < repeat->times; i++) {
        const struct mq5_ack *ack = want_again(probe, wire, message(topic, "m", 2), repeat->dup);
        goes_on = ack;
        want(probe, !ack || !repeat->dup || ack->reason < 0x80, "sent again with DUP: PUBREC 0x%02x",
             ack ? ack->reason : 0);
    }
    if (goes_on) {
        wire_ack(wire, MQ5_PUBREL, 9, MQ5_SUCCESS);
        need_packet(wire, MQ5_PUBCOMP, "PUBCOMP");
        need_message(subscriber, topic, "m");
    }
    uint32_t count = delivered(probe, subscriber, topic, "m", 2);
    want(probe, count == 1 || (!goes_on && count == 0),
         "a message sent %u times before its PUBREL was delivered %u times", repeat->times + 1, count);
}

/* Where a handshake is interrupted: after PUBREC the PUBLISH is sent again; after PUBREC the PUBREL is sent; after PUBCOMP the PUBREL is sent
 * again, as when the PUBCOMP was lost. */
enum { AGAIN_PUBLISH, AGAIN_PUBLISH_TWICE, GO_ON_WITH_PUBREL, AGAIN_PUBREL, INTERRUPTIONS };

static uint32_t interruption_count(void)
{
    return INTERRUPTIONS;
}

static void row_interrupted(uint32_t row, struct conform_row *out)
{
    static const char *const names[] = {"PUBLISH again", "PUBLISH again after each of two interruptions",
                                        "on with PUBREL", "PUBREL again"};
    snprintf(out->name, sizeof(out->name), "%s", names[row]);
    out->ref = row < GO_ON_WITH_PUBREL ? "MQTT-4.3.3-10" : row == GO_ON_WITH_PUBREL ? "S4.1.0a" : "MQTT-4.3.3-11";
}

static void qos_2_interrupted(struct conform_probe *probe)
{
    uint32_t row = probe_row(probe), times = row == AGAIN_PUBLISH_TWICE ? 2 : 1;
    const char *topic = probe_topic(probe, "t");
    struct wire *subscriber = probe_subscriber(probe, "subscriber", topic, 2);
    struct mq5_connect login = probe_login_kept(probe, KEPT);
    struct wire *wire = probe_connect_as(probe, "publisher", &login);
    publish_as(wire, message(topic, "m", 2), 9, false);
    need(probe, need_packet(wire, MQ5_PUBREC, "PUBREC")->packet.ack.reason < 0x80, "the message is refused");
    if (row == AGAIN_PUBREL) {
        wire_ack(wire, MQ5_PUBREL, 9, MQ5_SUCCESS);
        need_packet(wire, MQ5_PUBCOMP, "PUBCOMP");
    }
    for (uint32_t i = 0; i < times; i++) {
        wire_end(wire, WIRE_FIN);
        wire = probe_resume(probe, "publisher again", &login, false);
        need(probe, wire_connack(wire)->session_present, "Session Present 0");
        if (row <= AGAIN_PUBLISH_TWICE) {
            publish_as(wire, message(topic, "m", 2), 9, true);
            const struct mq5_ack *again = &want_packet(wire, MQ5_PUBREC, "PUBREC after resuming")->packet.ack;
            want(probe, again->packet_id == 9 && again->reason < 0x80, "PUBREC 0x%02x for %u", again->reason,
                 again->packet_id);
        }
    }
    wire_ack(wire, MQ5_PUBREL, 9, MQ5_SUCCESS);
    const struct mq5_ack *ack = &want_packet(wire, MQ5_PUBCOMP, "PUBCOMP after resuming")->packet.ack;
    want(probe, ack->packet_id == 9, "PUBCOMP for %u instead of 9", ack->packet_id);
    want(probe, row == AGAIN_PUBREL || ack->reason == MQ5_SUCCESS, "PUBCOMP 0x%02x: what was received is forgotten",
         ack->reason);
    uint32_t count = delivered(probe, subscriber, topic, "m", 2);
    want(probe, count == 1, "delivered %u times", count);
}

/* ---- what is refused, what runs out ------------------------------------------------------------------------------------------------ */

/* A PUBLISH of QoS 2 that the broker refuses with PUBREC: what the profile tells of, or text that is none. */
static void publish_refused(struct conform_probe *probe, struct wire *wire, uint16_t packet_id)
{
    const char *told = probe_told(probe, "refused_topic");
    struct mq5_publish publish = message(told ? told : probe_topic(probe, "r"), told ? "m" : "\xff\xfe", 2);
    if (!told)
        SET_PROPERTY(publish.properties, payload_format, MQ5_PAYLOAD_FORMAT_INDICATOR, 1);
    publish_as(wire, publish, packet_id, false);
    const struct received *received = try_packet(wire, MQ5_PUBREC, probe_patience(probe));
    if (!received || received->packet.ack.reason < 0x80)
        skip(probe,
             "no PUBLISH is known that this broker answers with a PUBREC of 0x80 or above (profile: refused_topic)");
}

static void qos_2_after_refusal(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "t");
    struct wire *subscriber = probe_subscriber(probe, "subscriber", topic, 2),
                *wire = probe_connect(probe, "publisher");
    publish_refused(probe, wire, 9);
    publish_as(wire, message(topic, "m", 2), 9, probe_row(probe));
    const struct mq5_ack *ack = &want_packet(wire, MQ5_PUBREC, "PUBREC")->packet.ack;
    want(probe, ack->packet_id == 9 && ack->reason < 0x80,
         "PUBREC 0x%02x: after a refusal the packet identifier is free", ack->reason);
    wire_ack(wire, MQ5_PUBREL, 9, MQ5_SUCCESS);
    need_packet(wire, MQ5_PUBCOMP, "PUBCOMP");
    uint32_t count = delivered(probe, subscriber, topic, "m", 2);
    want(probe, count == 1, "the message after a refused one with the same packet identifier was delivered %u times",
         count);
}

static void row_expired(uint32_t row, struct conform_row *out)
{
    snprintf(out->name, sizeof(out->name), row ? "PUBLISH again, then PUBREL" : "PUBREL");
}

static void expired_between(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "t");
    struct wire *subscriber = probe_subscriber(probe, "subscriber", topic, 2),
                *wire = probe_connect(probe, "publisher");
    struct mq5_publish publish = message(topic, "m", 2);
    SET_PROPERTY(publish.properties, message_expiry_s, MQ5_MESSAGE_EXPIRY_INTERVAL, 1);
    publish_as(wire, publish, 9, false);
    need(probe, need_packet(wire, MQ5_PUBREC, "PUBREC")->packet.ack.reason < 0x80, "the message is refused");
    probe_wait_connected(probe, 5 * US_PER_S);
    const struct mq5_ack *ack;
    if (probe_row(probe) == 1) {
        if (!want_again(probe, wire, publish, true))
            skip(probe, "the broker ends the connection of who sends a PUBLISH again");
    }
    wire_ack(wire, MQ5_PUBREL, 9, MQ5_SUCCESS);
    ack = &want_packet(wire, MQ5_PUBCOMP, "PUBCOMP after the message expired")->packet.ack;
    want(probe, ack->packet_id == 9 && ack->reason == MQ5_SUCCESS, "PUBCOMP 0x%02x for %u", ack->reason,
         ack->packet_id);
    uint32_t count = delivered(probe, subscriber, topic, "m", 2);
    want(probe, count <= 1, "delivered %u times", count);
}

CHECK_TABLE(checks_qos_receive,
            {.id = "B-QOS-001",
             .name = "a PUBLISH has the answer of its QoS, and no other",
             .refs = {"MQTT-3.3.4-1"},
             .level = CONFORM_MUST,
             .needs = CONFORM_QOS_2,
             .run = answered,
             .row_count = three,
             .row = row_answer},
            {.id = "B-QOS-002",
             .name = "QoS 1 is acknowledged with PUBACK of the same packet identifier",
             .refs = {"MQTT-4.3.2-4", "MQTT-2.2.1-5", "MQTT-3.3.4-1"},
             .level = CONFORM_MUST,
             .needs = CONFORM_QOS_1,
             .run = qos_1,
             .row_count = id_count,
             .row = row_id},
            {.id = "B-QOS-003",
             .name = "QoS 2 is acknowledged with PUBREC of the same packet identifier",
             .refs = {"MQTT-4.3.3-8", "MQTT-2.2.1-5", "MQTT-3.3.4-1"},
             .level = CONFORM_MUST,
             .needs = CONFORM_QOS_2,
             .run = qos_2,
             .row_count = id_count,
             .row = row_id},
            {.id = "B-QOS-004",
             .name = "PUBREL is answered with PUBCOMP of the same packet identifier",
             .refs = {"MQTT-4.3.3-11", "MQTT-2.2.1-5", "MQTT-3.7.2-1"},
             .level = CONFORM_MUST,
             .needs = CONFORM_QOS_2,
             .run = release,
             .row_count = id_count,
             .row = row_id},
            {.id = "B-QOS-005",
             .name = "many messages at once have an acknowledgement each",
             .refs = {"MQTT-4.3.2-4", "MQTT-4.3.3-8"},
             .level = CONFORM_MUST,
             .needs = CONFORM_QOS_2,
             .run = burst,
             .row_count = two,
             .row = row_qos},
            {.id = "B-QOS-006",
             .name = "packet identifiers of the two directions have nothing to do with each other",
             .refs = {"MQTT-2.2.1-5"},
             .level = CONFORM_MUST,
             .needs = CONFORM_QOS_2,
             .run = same_id_both_ways},
            {.id = "B-QOS-007",
             .name = "SUBACK and UNSUBACK have the packet identifier of the request",
             .refs = {"MQTT-2.2.1-6"},
             .level = CONFORM_MUST,
             .run = subscribe_ids,
             .row_count = id_count,
             .row = row_id},
            {.id = "B-QOS-008",
             .name = "a message without subscribers is acknowledged with 0x00 or 0x10",
             .refs = {"S4.3.2a", "MQTT-3.4.2-1", "MQTT-3.5.2-1"},
             .level = CONFORM_MUST,
             .needs = CONFORM_QOS_2,
             .run = nobody_there,
             .row_count = two,
             .row = row_nobody},
            {.id = "B-QOS-009",
             .name = "what is accepted is delivered to every session subscribed",
             .refs = {"MQTT-4.5.0-1"},
             .level = CONFORM_MUST,
             .needs = CONFORM_QOS_1 | CONFORM_SESSION,
             .run = every_session,
             .row_count = two,
             .row = row_nobody},
            {.id = "B-QOS-010",
             .name = "after PUBACK the same packet identifier is a new message",
             .refs = {"MQTT-4.3.2-5"},
             .level = CONFORM_MUST,
             .needs = CONFORM_QOS_1,
             .run = qos_1_again,
             .row_count = two,
             .row = row_dup},
            {.id = "B-QOS-011",
             .name = "after PUBCOMP the same packet identifier is a new message",
             .refs = {"MQTT-4.3.3-12"},
             .level = CONFORM_MUST,
             .needs = CONFORM_QOS_2,
             .run = qos_2_after_completion,
             .row_count = two,
             .row = row_dup},
            {.id = "B-QOS-012",
             .name = "before PUBREL the same packet identifier is the same message",
             .refs = {"MQTT-4.3.3-10"},
             .level = CONFORM_MUST,
             .needs = CONFORM_QOS_2,
             .run = qos_2_again,
             .row_count = three,
             .row = row_repeat},
            {.id = "B-QOS-013",
             .name = "an interrupted handshake goes on when the session is resumed",
             .refs = {"MQTT-4.3.3-10", "MQTT-4.3.3-11", "S4.1.0a"},
             .level = CONFORM_MUST,
             .needs = CONFORM_QOS_2 | CONFORM_SESSION,
             .run = qos_2_interrupted,
             .row_count = interruption_count,
             .row = row_interrupted},
            {.id = "B-QOS-014",
             .name = "after a PUBREC that refuses the same packet identifier is a new message",
             .refs = {"MQTT-4.3.3-9"},
             .level = CONFORM_MUST,
             .needs = CONFORM_QOS_2,
             .run = qos_2_after_refusal,
             .row_count = two,
             .row = row_dup},
            {.id = "B-QOS-015",
             .name = "a handshake goes on although its message has expired",
             .refs = {"MQTT-4.3.3-13"},
             .level = CONFORM_MUST,
             .needs = CONFORM_QOS_2,
             .lane = CONFORM_SLOW,
             .run = expired_between,
             .row_count = two,
             .row = row_expired}, )
