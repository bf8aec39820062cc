/* checks_order.c: the order of messages (4.6): per publisher, topic and QoS it is that of publishing, whatever happens in between. */
#include "check.h"
#include "tables.h"

#include <stdio.h>

#define KEPT 50

static uint32_t two(void)
{
    return 2;
}

static uint32_t three(void)
{
    return 3;
}

static void row_qos_1(uint32_t row, struct conform_row *out)
{
    snprintf(out->name, sizeof(out->name), "QoS %u", row + 1);
}

static void row_qos_0(uint32_t row, struct conform_row *out)
{
    snprintf(out->name, sizeof(out->name), "QoS %u", row);
}

static void in_order(struct conform_probe *probe)
{
    want_order_kept(probe, (uint8_t)probe_row(probe), 60);
}

/* Topics and QoS take turns: each of them has an order of its own. */
static void interleave(struct conform_probe *probe, uint32_t rounds, uint32_t at_once)
{
    struct wire *wire = probe_connect(probe, "subscriber"), *publisher = probe_connect(probe, "publisher");
    const char *topics[3];
    for (int t = 0; t < 3; t++) {
        topics[t] = probe_topic(probe, "%d", t);
        wire_subscribe(wire, topics[t], 2);
    }
    for (uint32_t round = 0; round < rounds; round++)
        for (int t = 0; t < 3; t++)
            for (uint8_t qos = 0; qos <= 2; qos++)
                wire_publish_many(publisher, topics[t], round * at_once, at_once, qos);
    wire_publish(publisher, topics[0], "end", 2);
    need_message(wire, topics[0], "end");
    for (int t = 0; t < 3; t++)
        for (int qos = 0; qos <= 2; qos++) {
            int64_t until_us = probe_now(probe) + probe_patience(probe);
            while (qos && wire_count_numbered(wire, topics[t], qos) < rounds * at_once && probe_now(probe) < until_us)
                probe_wait(probe, 20 * US_PER_MS);
            want_in_order(wire, topics[t], qos, 0, rounds * at_once);
        }
}

static void each_topic(struct conform_probe *probe)
{
    interleave(probe, 3, 5);
}

static void each_topic_much(struct conform_probe *probe)
{
    interleave(probe, 20, 17);
}

/* What has to wait for room in a small window keeps its place. */
static void through_a_window(struct conform_probe *probe)
{
    enum { MESSAGES = 40 };
    const char *topic = probe_topic(probe, "t");
    uint8_t qos = (uint8_t)(probe_row(probe) + 1);
    struct mq5_connect login = probe_login(probe, KEPT);
    set_receive_maximum(&login, 3);
    struct wire *wire = probe_subscriber_as(probe, "narrow subscriber", &login, topic, qos);
    wire_hold_acks(wire, true);
    struct wire *publisher = probe_connect(probe, "publisher");
    wire_publish_many(publisher, topic, 0, MESSAGES / 2, qos);
    uint32_t answered = 0;
    wire_hold_acks(wire, false); /* from now on; what has come is answered by hand */
    uint32_t came = wire_count(wire);
    for (; answered < came; answered++) {
        const struct received *received = wire_at(wire, answered);
        if (received->packet.type == MQ5_PUBLISH && received->packet.publish.qos)
            wire_ack(wire, qos == 1 ? MQ5_PUBACK : MQ5_PUBREC, received->packet.publish.packet_id, MQ5_SUCCESS);
    }
    wire_publish_many(publisher, topic, MESSAGES / 2, MESSAGES / 2, qos);
    want_all_in_order(wire, topic, qos, MESSAGES);
}

/* Queued while the client is away, and published while the queue runs dry. */
static void through_a_queue(struct conform_probe *probe, uint32_t queued, uint32_t live, uint16_t maximum)
{
    const char *topic = probe_topic(probe, "t");
    uint8_t qos = (uint8_t)(probe_row(probe) + 1);
    struct mq5_connect login = probe_login_kept(probe, KEPT);
    struct wire *wire = probe_connect_as(probe, "subscriber", &login), *publisher = probe_connect(probe, "publisher");
    wire_subscribe(wire, topic, qos);
    wire_disconnect(wire, MQ5_SUCCESS);
    wire_publish_many(publisher, topic, 0, queued, qos);
    set_receive_maximum(&login, maximum);
    wire = probe_resume(probe, "subscriber again", &login, false);
    need(probe, wire_connack(wire)->session_present, "Session Present 0");
    wire_publish_many(publisher, topic, queued, live, qos);
    want_all_in_order(wire, topic, qos, queued + live);
}

static void queue(struct conform_probe *probe)
{
    through_a_queue(probe, 30, 20, 3);
}

static void long_queue(struct conform_probe *probe)
{
    through_a_queue(probe, 500, 500, 20);
}

/* Sent again in the order of the first time, before what came later. */
static void sent_again(struct conform_probe *probe)
{
    enum { MESSAGES = 8 };
    const char *topic = probe_topic(probe, "t");
    uint8_t qos = (uint8_t)(probe_row(probe) + 1);
    struct mq5_connect login = probe_login_kept(probe, KEPT);
    struct wire *wire = probe_connect_as(probe, "subscriber", &login), *publisher = probe_connect(probe, "publisher");
    wire_subscribe(wire, topic, qos);
    wire_hold_acks(wire, true);
    wire_publish_many(publisher, topic, 0, MESSAGES, qos);
    need_message(wire, topic, "0");
    wire_disconnect(wire, MQ5_SUCCESS);
    wire_publish_many(publisher, topic, MESSAGES, MESSAGES, qos);
    wire = probe_resume(probe, "subscriber again", &login, false);
    need(probe, wire_connack(wire)->session_present, "Session Present 0");
    want_all_in_order(wire, topic, qos, 2 * MESSAGES);
}

static void many_on_one_topic(struct conform_probe *probe)
{
    want_order_kept(probe, (uint8_t)probe_row(probe), 1000);
}

/* Publishers that know nothing of each other, and subscribers of all of them. */
static void many_publishers(struct conform_probe *probe)
{
    enum { PUBLISHERS = 8, ROUNDS = 12, AT_ONCE = 20 };
    struct wire *publishers[PUBLISHERS], *subscribers[3];
    for (int s = 0; s < 3; s++) {
        struct mq5_connect login = probe_login(probe, (uint32_t)(KEPT + s));
        set_receive_maximum(&login, (uint16_t)(1 + 10 * s));
        subscribers[s] = probe_connect_as(probe, "subscriber", &login);
        wire_subscribe(subscribers[s], probe_topic(probe, "+"), 1);
        wire_warm_up(subscribers[s], probe_topic(probe, "0"));
    }
    for (int p = 0; p < PUBLISHERS; p++)
        publishers[p] = probe_connect(probe, "publisher");
    for (uint32_t round = 0; round < ROUNDS; round++)
        for (int p = 0; p < PUBLISHERS; p++)
            wire_publish_many(publishers[p], probe_topic(probe, "%d", p), round * AT_ONCE, AT_ONCE, 1);
    for (int s = 0; s < 3; s++)
        for (int p = 0; p < PUBLISHERS; p++) {
            want_all_in_order(subscribers[s], probe_topic(probe, "%d", p), 1, ROUNDS * AT_ONCE);
        }
}

CHECK_TABLE(checks_order,
            {.id = "B-ORD-001",
             .name = "messages of one publisher on one topic come in their order",
             .refs = {"MQTT-4.6.0-5", "MQTT-4.6.0-6"},
             .level = CONFORM_MUST,
             .needs = CONFORM_QOS_2,
             .run = in_order,
             .row_count = three,
             .row = row_qos_0},
            {.id = "B-ORD-002",
             .name = "every topic and every QoS has its order",
             .refs = {"MQTT-4.6.0-6", "MQTT-4.6.0-5"},
             .level = CONFORM_MUST,
             .needs = CONFORM_QOS_2,
             .run = each_topic},
            {.id = "B-ORD-003",
             .name = "what waits for room in a small window keeps its place",
             .refs = {"MQTT-4.6.0-5"},
             .level = CONFORM_MUST,
             .needs = CONFORM_QOS_2,
             .run = through_a_window,
             .row_count = two,
             .row = row_qos_1},
            {.id = "B-ORD-004",
             .name = "what was queued comes in its order, and before what is published later",
             .refs = {"MQTT-4.6.0-5"},
             .level = CONFORM_MUST,
             .needs = CONFORM_QOS_2 | CONFORM_SESSION,
             .run = queue,
             .row_count = two,
             .row = row_qos_1},
            {.id = "B-ORD-005",
             .name = "what is sent again comes in its order, and before what was published later",
             .refs = {"MQTT-4.6.0-5"},
             .level = CONFORM_MUST,
             .needs = CONFORM_QOS_2 | CONFORM_SESSION,
             .run = sent_again,
             .row_count = two,
             .row = row_qos_1},
            {.id = "B-ORD-006",
             .name = "1,000 messages come in their order",
             .refs = {"MQTT-4.6.0-5", "MQTT-4.6.0-6"},
             .level = CONFORM_MUST,
             .needs = CONFORM_QOS_2,
             .lane = CONFORM_HEAVY,
             .run = many_on_one_topic,
             .row_count = three,
             .row = row_qos_0},
            {.id = "B-ORD-007",
             .name = "3,000 messages on three topics with every QoS have their orders",
             .refs = {"MQTT-4.6.0-6", "MQTT-4.6.0-5"},
             .level = CONFORM_MUST,
             .needs = CONFORM_QOS_2,
             .lane = CONFORM_HEAVY,
             .run = each_topic_much},
            {.id = "B-ORD-008",
             .name = "500 queued messages come in their order, and before 500 published later",
             .refs = {"MQTT-4.6.0-5"},
             .level = CONFORM_MUST,
             .needs = CONFORM_QOS_2 | CONFORM_SESSION,
             .lane = CONFORM_HEAVY,
             .run = long_queue,
             .row_count = two,
             .row = row_qos_1},
            {.id = "B-ORD-009",
             .name = "messages of eight publishers come in the order of each, to three subscribers",
             .refs = {"MQTT-4.6.0-5"},
             .level = CONFORM_MUST,
             .needs = CONFORM_QOS_1 | CONFORM_WILDCARD,
             .lane = CONFORM_HEAVY,
             .run = many_publishers}, )
