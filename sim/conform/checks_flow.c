/* checks_flow.c: how many messages may be in flight (3.3.4, 4.9), in both directions. */
#include "check.h"
#include "tables.h"

#include <stdio.h>

#define KEPT       50
#define A_MOMENT   (300 * US_PER_MS) /* for what a broker would send that should not */
#define MANAGEABLE 1000              /* messages in flight towards the broker in a check that is not heavy */

/* A client that lets so many messages be in flight, acknowledging by hand, and another one with the same subscription, which has no limit. */
struct windowed {
    const char *topic;
    struct wire *wire, *control, *publisher;
};

static struct windowed with_window(struct conform_probe *probe, uint16_t maximum)
{
    struct windowed windowed = {.topic = probe_topic(probe, "t")};
    struct mq5_connect login = probe_login(probe, KEPT);
    set_receive_maximum(&login, maximum);
    windowed.wire = probe_connect_as(probe, "narrow subscriber", &login);
    wire_subscribe(windowed.wire, windowed.topic, 2);
    wire_hold_acks(windowed.wire, true);
    windowed.control = probe_connect(probe, "wide subscriber");
    wire_subscribe(windowed.control, windowed.topic, 2);
    windowed.publisher = probe_connect(probe, "publisher");
    return windowed;
}

static uint8_t qos_of(uint32_t row, uint32_t index)
{
    return row < 2 ? (uint8_t)(row + 1) : (uint8_t)(1 + index % 2);
}

static void acknowledge(struct wire *wire, const struct received *received)
{
    uint16_t id = received->packet.publish.packet_id;
    if (received->packet.publish.qos == 1) {
        wire_ack(wire, MQ5_PUBACK, id, MQ5_SUCCESS);
        return;
    }
    wire_ack(wire, MQ5_PUBREC, id, MQ5_SUCCESS);
    need_packet(wire, MQ5_PUBREL, "PUBREL");
    wire_ack(wire, MQ5_PUBCOMP, id, MQ5_SUCCESS);
}

/* Takes `count` messages one by one, in whatever order, never more than `maximum` waiting for an answer. */
static void take_all(struct conform_probe *probe, struct wire *wire, const char *topic, uint32_t count,
                     uint32_t maximum)
{
    for (uint32_t done = 0; done < count; done++) {
        const struct received *received = want_message(wire, topic, NULL);
        uint32_t came = wire_count_messages(wire, topic, NULL);
        want(probe, came - done <= maximum, "%u messages in flight, Receive Maximum is %u", came - done, maximum);
        acknowledge(wire, received);
        need_alive(wire, "after an acknowledgement"); /* what it makes the broker send is here before the answer */
    }
}

/* ---- towards clients ------------------------------------------------------------------------------------------------------------ */

static const uint16_t maxima[] = {1, 2, 10};

static uint32_t window_count(void)
{
    return 9;
}

static void row_window(uint32_t row, struct conform_row *out)
{
    static const char *const names[] = {"QoS 1", "QoS 2", "QoS 1 and 2"};
    static const char *const refs[] = {"MQTT-3.3.4-9", "MQTT-4.9.0-2", "MQTT-4.9.0-1"};
    snprintf(out->name, sizeof(out->name), "Receive Maximum %u, %s", maxima[row / 3], names[row % 3]);
    out->ref = refs[(row / 3 + row) % 3];
}

static void window(struct conform_probe *probe)
{
    uint16_t maximum = maxima[probe_row(probe) / 3];
    uint32_t count = maximum + 5u;
    struct windowed windowed = with_window(probe, maximum);
    for (uint32_t i = 0; i < count; i++)
        wire_publish(windowed.publisher, windowed.topic, probe_text(probe, "%u", i), qos_of(probe_row(probe) % 3, i));
    need_message(windowed.control, windowed.topic, probe_text(probe, "%u", count - 1));
    probe_wait(probe, A_MOMENT);
    need_alive(windowed.wire, "with a full window");
    uint32_t came = wire_count_messages(windowed.wire, windowed.topic, NULL);
    want(probe, came <= maximum, "%u messages in flight, Receive Maximum is %u", came, maximum);
    want(probe, came > 0, "no message at all is sent with Receive Maximum %u", maximum);
    take_all(probe, windowed.wire, windowed.topic, count, maximum);
}

static void received_is_in_flight(struct conform_probe *probe)
{
    struct windowed windowed = with_window(probe, 1);
    wire_publish(windowed.publisher, windowed.topic, "first", 2);
    uint8_t qos = (uint8_t)(1 + probe_row(probe) % 2);
    bool after = probe_row(probe) >= 2;
    if (!after)
        wire_publish(windowed.publisher, windowed.topic, "second", qos);
    uint16_t id = need_message(windowed.wire, windowed.topic, "first")->packet.publish.packet_id;
    wire_ack(windowed.wire, MQ5_PUBREC, id, MQ5_SUCCESS);
    need_packet(windowed.wire, MQ5_PUBREL, "PUBREL");
    if (after)
        wire_publish(windowed.publisher, windowed.topic, "second", qos);
    need_message(windowed.control, windowed.topic, "second");
    probe_wait(probe, A_MOMENT);
    need_alive(windowed.wire, "with a full window");
    want(probe, wire_count_messages(windowed.wire, windowed.topic, "second") == 0,
         "PUBREC makes room for the next message, although PUBCOMP has not been sent");
    wire_ack(windowed.wire, MQ5_PUBCOMP, id, MQ5_SUCCESS);
    want_message(windowed.wire, windowed.topic, "second");
}

static uint32_t two(void)
{
    return 2;
}

static uint32_t four(void)
{
    return 4;
}

static void row_second(uint32_t row, struct conform_row *out)
{
    snprintf(out->name, sizeof(out->name), "the next is of QoS %u, published %s PUBREC", row % 2 + 1,
             row < 2 ? "before" : "after");
}

static const struct {
    uint8_t type, reason;
} answers[] = {{MQ5_PUBACK, MQ5_SUCCESS},
               {MQ5_PUBACK, MQ5_UNSPECIFIED_ERROR},
               {MQ5_PUBACK, MQ5_QUOTA_EXCEEDED},
               {MQ5_PUBREC, MQ5_UNSPECIFIED_ERROR},
               {MQ5_PUBREC, MQ5_QUOTA_EXCEEDED},
               {MQ5_PUBCOMP, MQ5_SUCCESS},
               {MQ5_PUBCOMP, MQ5_PACKET_ID_NOT_FOUND}};

static uint32_t answer_count(void)
{
    return sizeof(answers) / sizeof(answers[0]);
}

static void row_answer(uint32_t row, struct conform_row *out)
{
    snprintf(out->name, sizeof(out->name), "%s 0x%02x", mq5_type_name(answers[row].type), answers[row].reason);
}

/* Good or bad, an acknowledgement makes room. */
static void makes_room(struct conform_probe *probe)
{
    uint8_t type = answers[probe_row(probe)].type, qos = type == MQ5_PUBACK ? 1 : 2;
    struct windowed windowed = with_window(probe, 1);
    for (uint32_t i = 0; i < 3; i++)
        wire_publish(windowed.publisher, windowed.topic, probe_text(probe, "%u", i), qos);
    for (uint32_t i = 0; i < 3; i++) {
        const struct received *received = i == 0 ? need_message(windowed.wire, windowed.topic, NULL)
                                                 : want_message(windowed.wire, windowed.topic, NULL);
        uint16_t id = received->packet.publish.packet_id;
        if (type == MQ5_PUBCOMP) {
            wire_ack(windowed.wire, MQ5_PUBREC, id, MQ5_SUCCESS);
            need_packet(windowed.wire, MQ5_PUBREL, "PUBREL");
        }
        wire_ack(windowed.wire, (enum mq5_type)type, id, answers[probe_row(probe)].reason);
    }
    want_alive(windowed.wire, "after all of them");
}

/* ---- what a full window does not hold up ---------------------------------------------------------------------------------------------- */

enum { A_PING, A_SUBSCRIBE, AN_UNSUBSCRIBE, A_PUBLISH_OF_QOS_1, A_PUBLISH_OF_QOS_2, A_PUBREC, OTHERS };

static uint32_t other_count(void)
{
    return 2 * OTHERS;
}

static void row_other(uint32_t row, struct conform_row *out)
{
    static const char *const names[] = {"PINGREQ",          "SUBSCRIBE",        "UNSUBSCRIBE",
                                        "PUBLISH of QoS 1", "PUBLISH of QoS 2", "PUBREC"};
    snprintf(out->name, sizeof(out->name), "%s, %u message%s", names[row % OTHERS], row / OTHERS + 1,
             row / OTHERS ? "s" : "");
    out->ref = row / OTHERS ? "MQTT-4.9.0-3" : "MQTT-3.3.4-10";
}

/* With messages waiting for room behind the first. */
static void others_go_on(struct conform_probe *probe)
{
    uint32_t row = probe_row(probe) % OTHERS, maximum = probe_row(probe) / OTHERS + 1;
    struct windowed windowed = with_window(probe, (uint16_t)maximum);
    struct wire *wire = windowed.wire;
    for (uint32_t i = 0; i < maximum + 2; i++)
        wire_publish(windowed.publisher, windowed.topic, probe_text(probe, "%u", i), 2);
    const struct received *first = need_message(wire, windowed.topic, NULL);
    if (maximum == 2)
        try_message(wire, windowed.topic, NULL, A_MOMENT); /* a broker may let one be in flight only */
    struct mq5_subscription list = subscription(probe_topic(probe, "other"), 1);
    struct mq5_packet packet = {.type = MQ5_SUBSCRIBE,
                                .subscribe = {.packet_id = wire_packet_id(wire), .list = &list, .count = 1}};
    struct mq5_packet publish = {.type = MQ5_PUBLISH, .publish = message(probe_topic(probe, "up"), "up", 1)};
    publish.publish.packet_id = wire_packet_id(wire);
    switch (row) {
    case A_PING: want_alive(wire, "with a full window"); break;
    case A_SUBSCRIBE:
        wire_send(wire, &packet);
        want_packet(wire, MQ5_SUBACK, "SUBACK with a full window");
        break;
    case AN_UNSUBSCRIBE:
        packet.type = MQ5_UNSUBSCRIBE;
        wire_send(wire, &packet);
        want_packet(wire, MQ5_UNSUBACK, "UNSUBACK with a full window");
        break;
    case A_PUBLISH_OF_QOS_1:
        wire_send(wire, &publish);
        want_packet(wire, MQ5_PUBACK, "PUBACK with a full window");
        break;
    case A_PUBLISH_OF_QOS_2:
        publish.publish.qos = 2;
        wire_send(wire, &publish);
        want_packet(wire, MQ5_PUBREC, "PUBREC with a full window");
        wire_ack(wire, MQ5_PUBREL, publish.publish.packet_id, MQ5_SUCCESS);
        want_packet(wire, MQ5_PUBCOMP, "PUBCOMP with a full window");
        break;
    default:
        wire_ack(wire, MQ5_PUBREC, first->packet.publish.packet_id, MQ5_SUCCESS);
        want_packet(wire, MQ5_PUBREL, "PUBREL with a full window");
        break;
    }
    need(probe, wire_count_messages(wire, windowed.topic, NULL) <= maximum, "the window is not full");
}

/* ---- a new connection, a new window ------------------------------------------------------------------------------------------------------ */

static void row_resumed(uint32_t row, struct conform_row *out)
{
    snprintf(out->name, sizeof(out->name), row ? "what was in flight" : "what was queued");
}

static void window_resumed(struct conform_probe *probe)
{
    enum { MESSAGES = 6, MAXIMUM = 2 };
    const char *topic = probe_topic(probe, "t");
    struct mq5_connect login = probe_login_kept(probe, KEPT);
    struct wire *wire = probe_connect_as(probe, "subscriber", &login), *publisher = probe_connect(probe, "publisher");
    wire_subscribe(wire, topic, 1);
    wire_hold_acks(wire, true);
    if (probe_row(probe) == 0)
        wire_disconnect(wire, MQ5_SUCCESS);
    for (uint32_t i = 0; i < MESSAGES; i++)
        wire_publish(publisher, topic, probe_text(probe, "%u", i), 1);
    if (probe_row(probe) == 1) {
        need_message(wire, topic, "0");
        try_message(wire, topic, probe_text(probe, "%d", MESSAGES - 1), US_PER_S);
        wire_disconnect(wire, MQ5_SUCCESS);
    }
    set_receive_maximum(&login, MAXIMUM);
    wire = probe_resume_holding(probe, "narrow subscriber", &login);
    const struct received *first = need_message(wire, topic, NULL);
    probe_wait(probe, A_MOMENT);
    need_alive(wire, "with a full window");
    uint32_t came = wire_count_messages(wire, topic, NULL);
    want(probe, came <= MAXIMUM, "%u messages in flight after resuming, Receive Maximum is %d", came, MAXIMUM);
    wire_ack(wire, MQ5_PUBACK, first->packet.publish.packet_id, MQ5_SUCCESS);
    need_alive(wire, "after an acknowledgement");
    for (uint32_t done = 1; done < MESSAGES; done++) {
        const struct received *received = want_message(wire, topic, NULL);
        came = wire_count_messages(wire, topic, NULL);
        want(probe, came - done <= MAXIMUM, "%u messages in flight after resuming, Receive Maximum is %d", came - done,
             MAXIMUM);
        wire_ack(wire, MQ5_PUBACK, received->packet.publish.packet_id, MQ5_SUCCESS);
        need_alive(wire, "after an acknowledgement");
    }
}

/* ---- towards the broker ------------------------------------------------------------------------------------------------------------------- */

static void send_without_release(struct wire *wire, const char *topic, uint8_t qos, uint32_t first, uint32_t count)
{
    wire_gather(wire);
    for (uint32_t i = first; i < first + count; i++) {
        struct mq5_packet packet = {.type = MQ5_PUBLISH, .publish = message(topic, "m", qos)};
        packet.publish.packet_id = (uint16_t)i;
        wire_send(wire, &packet);
    }
    wire_flush(wire);
}

/* As many as the broker says it takes, all received and none released. */
static uint32_t fill_broker(struct conform_probe *probe, struct wire *wire, const char *topic, bool wanted)
{
    uint32_t maximum = probe_broker(probe)->receive_maximum;
    send_without_release(wire, topic, 2, 1, maximum);
    for (uint32_t i = 0; i < maximum; i++) {
        const struct received *received =
            wanted ? want_packet(wire, MQ5_PUBREC, "PUBREC") : need_packet(wire, MQ5_PUBREC, "PUBREC");
        if (received->packet.ack.reason >= 0x80)
            skip(probe, "the broker refuses message %u of the %u it takes at once: 0x%02x", i + 1, maximum,
                 received->packet.ack.reason);
    }
    return maximum;
}

static void one_too_many(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "t");
    struct wire *wire = probe_connect(probe, "publisher");
    uint32_t maximum = fill_broker(probe, wire, topic, false);
    need_alive(wire, "with as many in flight as the broker takes");
    send_without_release(wire, topic, 2, maximum + 1, 1);
    want_closed(wire, "one PUBLISH more than the broker's Receive Maximum", REASONS(MQ5_RECEIVE_MAXIMUM_EXCEEDED));
}

static void too_many(struct conform_probe *probe)
{
    uint32_t maximum = probe_broker(probe)->receive_maximum;
    if (maximum > MANAGEABLE)
        skip(probe, "the broker's Receive Maximum is %u: %s", maximum,
             maximum == 65535 ? "there are not more packet identifiers" : "--lane heavy");
    one_too_many(probe);
}

static void very_many(struct conform_probe *probe)
{
    uint32_t maximum = probe_broker(probe)->receive_maximum;
    if (maximum == 65535 || maximum <= MANAGEABLE)
        skip(probe, "the broker's Receive Maximum is %u", maximum);
    one_too_many(probe);
}

static void as_many(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "t");
    struct wire *wire = probe_connect(probe, "publisher");
    if (probe_broker(probe)->receive_maximum > MANAGEABLE)
        skip(probe, "the broker's Receive Maximum is %u", probe_broker(probe)->receive_maximum);
    for (int round = 0; round < 2; round++) {
        uint32_t maximum = fill_broker(probe, wire, topic, true);
        wire_publish(wire, topic, "QoS 0 does not count", 0);
        want_alive(wire, "with as many in flight as the broker takes");
        for (uint32_t i = 1; i <= maximum; i++)
            wire_ack(wire, MQ5_PUBREL, (uint16_t)i, MQ5_SUCCESS);
        for (uint32_t i = 1; i <= maximum; i++)
            want_packet(wire, MQ5_PUBCOMP, "PUBCOMP");
    }
    want_alive(wire, "with nothing in flight any more");
}

static void row_refused(uint32_t row, struct conform_row *out)
{
    snprintf(out->name, sizeof(out->name), "QoS %u", row + 1);
}

/* An answer of 0x80 or above is the end of a message: the next may take its place, and its packet identifier. */
static void refused_makes_room(struct conform_probe *probe)
{
    uint8_t qos = (uint8_t)(probe_row(probe) + 1);
    enum mq5_type type = qos == 1 ? MQ5_PUBACK : MQ5_PUBREC;
    uint32_t maximum = probe_broker(probe)->receive_maximum;
    struct wire *wire = probe_connect(probe, "publisher");
    if (maximum > MANAGEABLE)
        skip(probe, "the broker's Receive Maximum is %u", maximum);
    for (uint32_t i = 0; i < 3 * maximum; i++) {
        if (i % maximum == 0)
            send_without_release(wire, probe_told(probe, "refused_topic"), qos, 1, maximum);
        const struct received *answer = want_answer_or_end(wire, type, "an answer to a message that is refused");
        const struct received *last = answer ? NULL : try_packet(wire, MQ5_DISCONNECT, 0);
        want(probe, !last || last->packet.disconnect.reason != MQ5_RECEIVE_MAXIMUM_EXCEEDED,
             "DISCONNECT 0x93 to message %u: those that were refused are counted as in flight", i + 1);
        if (!answer)
            skip(probe, "the broker ends the connection of who publishes what it refuses");
        if (answer->packet.ack.reason < 0x80)
            skip(probe, "the broker does not say that it refuses: 0x%02x", answer->packet.ack.reason);
    }
    want_alive(wire, "after messages that were refused");
}

CHECK_TABLE(checks_flow,
            {.id = "B-FLOW-001",
             .name = "not more messages are in flight than the client allows, and all come in the end",
             .refs = {"MQTT-3.3.4-9", "MQTT-4.9.0-1", "MQTT-4.9.0-2"},
             .level = CONFORM_MUST,
             .needs = CONFORM_QOS_2,
             .run = window,
             .row_count = window_count,
             .row = row_window},
            {.id = "B-FLOW-002",
             .name = "a message of QoS 2 is in flight until PUBCOMP",
             .refs = {"MQTT-4.9.0-2", "MQTT-3.3.4-9", "MQTT-4.3.3-5"},
             .level = CONFORM_MUST,
             .needs = CONFORM_QOS_2,
             .run = received_is_in_flight,
             .row_count = four,
             .row = row_second},
            {.id = "B-FLOW-003",
             .name = "every acknowledgement makes room, whatever its reason",
             .refs = {"MQTT-3.3.4-9"},
             .level = CONFORM_MUST,
             .needs = CONFORM_QOS_2,
             .run = makes_room,
             .row_count = answer_count,
             .row = row_answer},
            {.id = "B-FLOW-004",
             .name = "other packets are answered while the window is full",
             .refs = {"MQTT-3.3.4-10", "MQTT-4.9.0-3"},
             .level = CONFORM_MUST,
             .needs = CONFORM_QOS_2,
             .run = others_go_on,
             .row_count = other_count,
             .row = row_other},
            {.id = "B-FLOW-005",
             .name = "a resumed session has the window of its new connection",
             .refs = {"MQTT-3.3.4-9", "MQTT-4.9.0-1", "MQTT-4.9.0-2"},
             .level = CONFORM_MUST,
             .needs = CONFORM_QOS_1 | CONFORM_SESSION,
             .run = window_resumed,
             .row_count = two,
             .row = row_resumed},
            {.id = "B-FLOW-006",
             .name = "more in flight than the broker's Receive Maximum ends the connection",
             .refs = {"S3.3.4a"},
             .level = CONFORM_MUST,
             .needs = CONFORM_QOS_2,
             .run = too_many},
            {.id = "B-FLOW-007",
             .name = "as many in flight as the broker's Receive Maximum are accepted, again and again",
             .refs = {"S3.3.4a", "MQTT-4.9.0-3"},
             .level = CONFORM_MUST,
             .needs = CONFORM_QOS_2,
             .run = as_many},
            {.id = "B-FLOW-008",
             .name = "more in flight than a large Receive Maximum of the broker's ends the connection",
             .refs = {"S3.3.4a"},
             .level = CONFORM_MUST,
             .needs = CONFORM_QOS_2,
             .lane = CONFORM_HEAVY,
             .run = very_many},
            {.id = "B-FLOW-009",
             .name = "messages that are refused take no room of the broker's Receive Maximum",
             .refs = {"S3.3.4a"},
             .level = CONFORM_MUST,
             .needs = CONFORM_QOS_2 | CONFORM_REFUSED_TOPIC,
             .run = refused_makes_room,
             .row_count = two,
             .row = row_refused}, )
