/* checks_qos_send.c: QoS of messages that the broker delivers (4.3, 4.4): identifiers, what is sent again and what is not.
 *
 * One message in flight at a time: how many a broker sends before it is answered is its own affair.
 */
#include "check.h"
#include "tables.h"

#include <stdio.h>

#define KEPT 50 /* number of the client whose session is kept */

struct delivery {
    const char *topic;
    struct mq5_connect login;
    struct wire *wire, *publisher;
    const struct received *message; /* "m", unanswered */
    uint16_t id;
};

/* A client with a session has got "m" and does not answer by itself. */
static struct delivery deliver(struct conform_probe *probe, uint8_t qos)
{
    struct delivery delivery = {.topic = probe_topic(probe, "t"), .login = probe_login_kept(probe, KEPT)};
    delivery.wire = probe_connect_as(probe, "subscriber", &delivery.login);
    wire_subscribe(delivery.wire, delivery.topic, qos);
    wire_hold_acks(delivery.wire, true);
    delivery.publisher = probe_connect(probe, "publisher");
    wire_publish(delivery.publisher, delivery.topic, "m", qos);
    delivery.message = need_message(delivery.wire, delivery.topic, "m");
    delivery.id = delivery.message->packet.publish.packet_id;
    need(probe, delivery.message->packet.publish.qos == qos, "delivered with QoS %u",
         delivery.message->packet.publish.qos);
    return delivery;
}

static void receive_and_release(struct delivery *delivery)
{
    wire_ack(delivery->wire, MQ5_PUBREC, delivery->id, MQ5_SUCCESS);
    need_packet(delivery->wire, MQ5_PUBREL, "PUBREL");
}

static void resume(struct conform_probe *probe, struct delivery *delivery)
{
    wire_end(delivery->wire, WIRE_FIN);
    delivery->wire = probe_resume_holding(probe, "subscriber again", &delivery->login);
}

/* What is published now comes, so that anything before it would have come. */
static void need_marker(struct delivery *delivery, const char *payload)
{
    wire_publish(delivery->publisher, delivery->topic, payload, 1);
    need_message(delivery->wire, delivery->topic, payload);
}

static uint32_t two(void)
{
    return 2;
}

/* ---- sent again --------------------------------------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    enum wire_ending ending;
    bool disconnects;
} endings[] = {{"closed", WIRE_FIN, false}, {"reset", WIRE_RESET, false}, {"DISCONNECT", WIRE_FIN, true}};

static uint32_t ending_count(void)
{
    return 6;
}

static void row_ending(uint32_t row, struct conform_row *out)
{
    snprintf(out->name, sizeof(out->name), "QoS %u, %s", row / 3 + 1, endings[row % 3].name);
    out->ref = row / 3 ? "MQTT-4.3.3-3" : "MQTT-4.3.2-3";
}

static void sent_again(struct conform_probe *probe)
{
    uint32_t row = probe_row(probe);
    struct delivery delivery = deliver(probe, (uint8_t)(row / 3 + 1));
    if (endings[row % 3].disconnects)
        wire_disconnect(delivery.wire, MQ5_SUCCESS);
    else
        wire_end(delivery.wire, endings[row % 3].ending);
    struct wire *wire = probe_resume_holding(probe, "subscriber again", &delivery.login);
    want_message(wire, delivery.topic, "m");
}

static uint32_t four(void)
{
    return 4;
}

static void row_again(uint32_t row, struct conform_row *out)
{
    snprintf(out->name, sizeof(out->name), "QoS %u, %s", row % 2 + 1, row < 2 ? "resumed" : "taken over");
}

static void with_dup(struct conform_probe *probe)
{
    struct delivery delivery = deliver(probe, (uint8_t)(probe_row(probe) % 2 + 1));
    for (int i = 0; i < 2; i++) {
        if (probe_row(probe) < 2)
            resume(probe, &delivery);
        else /* the old connection is still there */
            delivery.wire = probe_resume_holding(probe, "subscriber again", &delivery.login);
        want(probe, need_message(delivery.wire, delivery.topic, "m")->packet.publish.dup, "sent again with DUP 0");
    }
}

static uint32_t three(void)
{
    return 3;
}

static void row_unacknowledged(uint32_t row, struct conform_row *out)
{
    static const char *const names[] = {"PUBLISH of QoS 1", "PUBLISH of QoS 2", "PUBREL"};
    snprintf(out->name, sizeof(out->name), "%s", names[row]);
}

static void same_id(struct conform_probe *probe)
{
    uint32_t row = probe_row(probe);
    struct delivery delivery = deliver(probe, row == 0 ? 1 : 2);
    if (row == 2)
        receive_and_release(&delivery);
    for (int i = 0; i < 2; i++) {
        resume(probe, &delivery);
        uint16_t id = row == 2 ? want_packet(delivery.wire, MQ5_PUBREL, "PUBREL")->packet.ack.packet_id
                               : want_message(delivery.wire, delivery.topic, "m")->packet.publish.packet_id;
        want(probe, id == delivery.id, "sent again with packet identifier %u instead of %u", id, delivery.id);
    }
}

static void release_again(struct conform_probe *probe)
{
    struct delivery delivery = deliver(probe, 2);
    receive_and_release(&delivery);
    if (probe_row(probe) == 1) {
        wire_disconnect(delivery.wire, MQ5_SUCCESS);
        delivery.wire = probe_resume_holding(probe, "subscriber again", &delivery.login);
    } else {
        resume(probe, &delivery);
    }
    const struct mq5_ack *ack = &want_packet(delivery.wire, MQ5_PUBREL, "PUBREL")->packet.ack;
    want(probe, ack->packet_id == delivery.id, "PUBREL for %u instead of %u", ack->packet_id, delivery.id);
    should(probe, "reason", NULL, ack->reason == MQ5_SUCCESS, "PUBREL 0x%02x", ack->reason);
}

static void row_release(uint32_t row, struct conform_row *out)
{
    snprintf(out->name, sizeof(out->name), row ? "after DISCONNECT" : "after a connection that broke");
}

static void no_publish_after_release(struct conform_probe *probe)
{
    struct delivery delivery = deliver(probe, 2);
    receive_and_release(&delivery);
    if (probe_row(probe) == 0) {
        wire_ack(delivery.wire, MQ5_PUBCOMP, delivery.id, MQ5_SUCCESS);
        need_marker(&delivery, "marker");
        want(probe, wire_count_messages(delivery.wire, delivery.topic, "m") == 1, "PUBLISH again after PUBREL");
        return;
    }
    for (int i = 0; i < 2; i++) {
        resume(probe, &delivery);
        need_packet(delivery.wire, MQ5_PUBREL, "PUBREL");
        if (i == 1)
            wire_ack(delivery.wire, MQ5_PUBCOMP, delivery.id, MQ5_SUCCESS);
        need_alive(delivery.wire, "after PUBREL");
        want(probe, wire_count_messages(delivery.wire, delivery.topic, "m") == 0, "PUBLISH again after PUBREL");
    }
    need_marker(&delivery, "marker");
    want(probe, wire_count_messages(delivery.wire, delivery.topic, "m") == 0, "PUBLISH again after PUBREL");
}

static void row_where(uint32_t row, struct conform_row *out)
{
    snprintf(out->name, sizeof(out->name), row ? "over a resumed session" : "over the same connection");
}

static void row_done(uint32_t row, struct conform_row *out)
{
    static const char *const names[] = {"QoS 1, acknowledged", "QoS 2, completed", "QoS 2, completed after resuming"};
    snprintf(out->name, sizeof(out->name), "%s", names[row]);
}

/* What is done with stays done with. */
static void not_again(struct conform_probe *probe)
{
    uint32_t row = probe_row(probe);
    struct delivery delivery = deliver(probe, row == 0 ? 1 : 2);
    if (row == 0) {
        wire_ack(delivery.wire, MQ5_PUBACK, delivery.id, MQ5_SUCCESS);
    } else {
        receive_and_release(&delivery);
        if (row == 2) {
            resume(probe, &delivery);
            need_packet(delivery.wire, MQ5_PUBREL, "PUBREL");
        }
        wire_ack(delivery.wire, MQ5_PUBCOMP, delivery.id, MQ5_SUCCESS);
    }
    need_alive(delivery.wire, "after the acknowledgement");
    wire_disconnect(delivery.wire, MQ5_SUCCESS);
    delivery.wire = probe_resume_holding(probe, "subscriber again", &delivery.login);
    need_marker(&delivery, "marker");
    want(probe, wire_count_of(delivery.wire, MQ5_PUBLISH) == 1, "what was acknowledged is sent again");
    want(probe, wire_count_of(delivery.wire, MQ5_PUBREL) == 0, "PUBREL again after PUBCOMP");
}

/* Of two in flight the acknowledged one is done with, the other is not. */
static void only_the_other_again(struct conform_probe *probe)
{
    bool second = probe_row(probe);
    struct delivery delivery = deliver(probe, 1);
    wire_publish(delivery.publisher, delivery.topic, "n", 1);
    const struct received *other = try_message(delivery.wire, delivery.topic, "n", 3 * US_PER_S);
    if (!other)
        skip(probe, "the broker sends one message at a time");
    uint16_t other_id = other->packet.publish.packet_id;
    wire_ack(delivery.wire, MQ5_PUBACK, second ? other_id : delivery.id, MQ5_SUCCESS);
    need_alive(delivery.wire, "after PUBACK");
    wire_disconnect(delivery.wire, MQ5_SUCCESS);
    delivery.wire = probe_resume_holding(probe, "subscriber again", &delivery.login);
    const struct mq5_publish *again = &want_message(delivery.wire, delivery.topic, second ? "m" : "n")->packet.publish;
    uint16_t id = second ? delivery.id : other_id;
    want(probe, again->packet_id == id, "sent again with packet identifier %u instead of %u", again->packet_id, id);
    need_marker(&delivery, "marker");
    want(probe, wire_count_messages(delivery.wire, delivery.topic, second ? "n" : "m") == 0,
         "what was acknowledged is sent again");
}

static void row_other(uint32_t row, struct conform_row *out)
{
    snprintf(out->name, sizeof(out->name), "the %s is acknowledged", row ? "second" : "first");
}

/* ---- not sent again --------------------------------------------------------------------------------------------------------------- */

/* Whatever else happens on a connection that lives is no reason to say anything twice. */
static void once_while_connected(struct conform_probe *probe, int64_t for_us)
{
    uint32_t row = probe_row(probe);
    struct delivery delivery = deliver(probe, row == 0 ? 1 : 2);
    if (row == 2)
        receive_and_release(&delivery);
    wire_publish(delivery.publisher, delivery.topic, "n", 1);
    struct mq5_subscription list = subscription(delivery.topic, 2);
    wire_subscribe_with(delivery.wire, &list, 1, 0);
    wire_publish(delivery.wire, probe_topic(probe, "else"), "x", 1);
    need_alive(delivery.wire, "with a message unanswered");
    const struct received *other = try_message(delivery.wire, delivery.topic, "n", US_PER_S / 2);
    if (other)
        wire_ack(delivery.wire, MQ5_PUBACK, other->packet.publish.packet_id, MQ5_SUCCESS);
    need_alive(delivery.wire, "with a message unanswered");
    probe_wait_connected(probe, for_us);
    need_alive(delivery.wire, "with a message unanswered");
    want(probe, wire_count_messages(delivery.wire, delivery.topic, "m") == 1, "PUBLISH comes %u times",
         wire_count_messages(delivery.wire, delivery.topic, "m"));
    want(probe, wire_count_of(delivery.wire, MQ5_PUBREL) == (row == 2), "PUBREL comes %u times",
         wire_count_of(delivery.wire, MQ5_PUBREL));
}

static void not_while_connected(struct conform_probe *probe)
{
    once_while_connected(probe, 0);
}

static void not_after_a_while(struct conform_probe *probe)
{
    once_while_connected(probe, 18 * US_PER_S);
}

static const struct refusal {
    uint8_t qos, reason;
} refusals[] = {
    {1, MQ5_UNSPECIFIED_ERROR},
    {1, MQ5_IMPLEMENTATION_SPECIFIC_ERROR},
    {1, MQ5_NOT_AUTHORIZED},
    {1, MQ5_TOPIC_NAME_INVALID},
    {1, MQ5_PACKET_ID_IN_USE},
    {1, MQ5_QUOTA_EXCEEDED},
    {1, MQ5_PAYLOAD_FORMAT_INVALID},
    {2, MQ5_UNSPECIFIED_ERROR},
    {2, MQ5_IMPLEMENTATION_SPECIFIC_ERROR},
    {2, MQ5_NOT_AUTHORIZED},
    {2, MQ5_TOPIC_NAME_INVALID},
    {2, MQ5_PACKET_ID_IN_USE},
    {2, MQ5_QUOTA_EXCEEDED},
    {2, MQ5_PAYLOAD_FORMAT_INVALID},
};

static uint32_t refusal_count(void)
{
    return sizeof(refusals) / sizeof(refusals[0]);
}

static void row_refusal(uint32_t row, struct conform_row *out)
{
    snprintf(out->name, sizeof(out->name), "%s 0x%02x", refusals[row].qos == 1 ? "PUBACK" : "PUBREC",
             refusals[row].reason);
}

static void refuse(struct delivery *delivery, const struct refusal *refusal)
{
    wire_ack(delivery->wire, refusal->qos == 1 ? MQ5_PUBACK : MQ5_PUBREC, delivery->id, refusal->reason);
    need_alive(delivery->wire, "after a message was refused");
}

static void refused_not_again(struct conform_probe *probe)
{
    const struct refusal *refusal = &refusals[probe_row(probe)];
    struct delivery delivery = deliver(probe, refusal->qos);
    refuse(&delivery, refusal);
    wire_disconnect(delivery.wire, MQ5_SUCCESS);
    delivery.wire = probe_resume_holding(probe, "subscriber again", &delivery.login);
    need_marker(&delivery, "marker");
    want(probe, wire_count_messages(delivery.wire, delivery.topic, "m") == 0, "what was refused is sent again");
}

static uint32_t refusal_of_2_count(void)
{
    return refusal_count() / 2;
}

static void row_refusal_of_2(uint32_t row, struct conform_row *out)
{
    row_refusal(row + refusal_of_2_count(), out);
}

static void no_release_of_refused(struct conform_probe *probe)
{
    struct delivery delivery = deliver(probe, 2);
    refuse(&delivery, &refusals[probe_row(probe) + refusal_of_2_count()]);
    need_marker(&delivery, "marker");
    want(probe, wire_count_of(delivery.wire, MQ5_PUBREL) == 0, "PUBREL for what was refused");
}

static void release_of_received(struct conform_probe *probe)
{
    struct delivery delivery = deliver(probe, 2);
    need_alive(delivery.wire, "before PUBREC");
    want(probe, wire_count_of(delivery.wire, MQ5_PUBREL) == 0, "PUBREL before PUBREC");
    wire_ack(delivery.wire, MQ5_PUBREC, delivery.id, MQ5_SUCCESS);
    const struct mq5_ack *ack = &want_packet(delivery.wire, MQ5_PUBREL, "PUBREL")->packet.ack;
    want(probe, ack->packet_id == delivery.id, "PUBREL for %u instead of %u", ack->packet_id, delivery.id);
    should(probe, "reason", NULL, ack->reason == MQ5_SUCCESS, "PUBREL 0x%02x", ack->reason);
    wire_ack(delivery.wire, MQ5_PUBCOMP, delivery.id, MQ5_SUCCESS);
    want_alive(delivery.wire, "after PUBCOMP");
}

/* ---- flags and identifiers ------------------------------------------------------------------------------------------------------------ */

static const struct {
    uint8_t published, subscribed;
} ways[] = {{1, 1}, {2, 2}, {1, 0}, {2, 0}, {2, 1}};

static uint32_t way_count(void)
{
    return sizeof(ways) / sizeof(ways[0]);
}

static void row_way(uint32_t row, struct conform_row *out)
{
    snprintf(out->name, sizeof(out->name), "published with QoS %u, subscribed with QoS %u", ways[row].published,
             ways[row].subscribed);
}

static void dup_not_passed_on(struct conform_probe *probe)
{
    uint8_t published = ways[probe_row(probe)].published;
    const char *topic = probe_topic(probe, "t");
    struct wire *subscriber = probe_connect(probe, "subscriber"), *publisher = probe_connect(probe, "publisher");
    wire_subscribe(subscriber, topic, ways[probe_row(probe)].subscribed);
    struct mq5_publish publish = message(topic, "m", published);
    publish.dup = true;
    need(probe, wire_publish_packet(publisher, &publish) < 0x80, "the message is refused");
    want(probe, !need_message(subscriber, topic, "m")->packet.publish.dup,
         "published with DUP 1, delivered with DUP 1");
}

static void row_first(uint32_t row, struct conform_row *out)
{
    snprintf(out->name, sizeof(out->name), "QoS %u", row + 1);
    out->ref = row ? "MQTT-4.3.3-2" : "MQTT-4.3.2-2";
}

static void first_without_dup(struct conform_probe *probe)
{
    struct delivery delivery = deliver(probe, (uint8_t)(probe_row(probe) + 1));
    want(probe, !delivery.message->packet.publish.dup, "the first PUBLISH has DUP");
}

/* QoS 0: no DUP, no packet identifier, so that properties follow the topic, and the payload them. */
static void row_qos_0(uint32_t row, struct conform_row *out)
{
    static const char *const names[] = {"DUP", "packet identifier", "QoS and DUP"};
    static const char *const refs[] = {"MQTT-3.3.1-2", "MQTT-2.2.1-2", "MQTT-4.3.1-1"};
    snprintf(out->name, sizeof(out->name), "%s", names[row]);
    out->ref = refs[row];
}

static void qos_0(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "t");
    struct wire *subscriber = probe_connect(probe, "subscriber"), *publisher = probe_connect(probe, "publisher");
    wire_subscribe(subscriber, topic, 0);
    for (uint8_t qos = 0; qos <= (probe_has(probe, CONFORM_QOS_2) ? 2 : 1); qos++) {
        const char *payload = probe_text(probe, "published with QoS %u", qos);
        wire_publish(publisher, topic, payload, qos);
        const struct received *received = want_message(subscriber, topic, NULL);
        const struct mq5_publish *publish = &received->packet.publish;
        uint32_t bare = 2 + 2 + (uint32_t)strlen(topic) + 1 + (uint32_t)strlen(payload);
        want(probe, publish->qos == 0 && !publish->dup, "QoS %u, DUP %d", publish->qos, publish->dup);
        want(probe, span_equal(publish->payload, span_text(payload)),
             "%u bytes of payload, which are not those that were published", publish->payload.length);
        want(probe, publish->properties.present || received->bytes.length == bare,
             "PUBLISH of %u bytes, where topic and payload need %u", received->bytes.length, bare);
    }
}

/* Messages one after the other, of which the first `count` wait for an answer. */
static void ids_in_use(struct conform_probe *probe)
{
    enum { MESSAGES = 12 };
    uint32_t row = probe_row(probe);
    const char *topic = probe_topic(probe, "t");
    struct wire *wire = probe_connect(probe, "subscriber"), *publisher = probe_connect(probe, "publisher");
    wire_subscribe(wire, topic, 2);
    wire_hold_acks(wire, true);
    uint16_t used[MESSAGES];
    for (uint32_t i = 0; i < MESSAGES; i++) {
        const char *payload = probe_text(probe, "%u", i);
        uint8_t qos = row == 0 ? 1 : row == 1 ? 2 : (uint8_t)(1 + i % 2);
        wire_publish(publisher, topic, payload, qos);
        const struct received *received =
            i ? try_message(wire, topic, payload, 3 * US_PER_S) : want_message(wire, topic, payload);
        if (!received)
            skip(probe, "the broker sends %u messages at a time", i);
        used[i] = received->packet.publish.packet_id;
        want(probe, used[i] != 0, "packet identifier 0");
        for (uint32_t k = 0; k < i; k++)
            want(probe, used[k] != used[i], "packet identifier %u for two messages in flight", used[i]);
        if (qos == 2 && i % 3 == 0) { /* released is not done with */
            wire_ack(wire, MQ5_PUBREC, used[i], MQ5_SUCCESS);
            need_packet(wire, MQ5_PUBREL, "PUBREL");
        }
    }
}

static void row_in_use(uint32_t row, struct conform_row *out)
{
    static const char *const names[] = {"QoS 1", "QoS 2", "QoS 1 and 2"};
    static const char *const refs[] = {"MQTT-4.3.2-1", "MQTT-4.3.3-1", "MQTT-2.2.1-4"};
    snprintf(out->name, sizeof(out->name), "%s", names[row]);
    out->ref = refs[row];
}

/* What is in flight over a resumed session keeps its identifier for itself. */
static void ids_in_use_resumed(struct conform_probe *probe)
{
    uint32_t row = probe_row(probe);
    struct delivery delivery = deliver(probe, row == 0 ? 1 : 2);
    if (row == 2)
        receive_and_release(&delivery);
    resume(probe, &delivery);
    if (row == 2)
        need_packet(delivery.wire, MQ5_PUBREL, "PUBREL");
    else
        need_message(delivery.wire, delivery.topic, "m");
    for (int i = 0; i < 6; i++) {
        const char *payload = probe_text(probe, "%d", i);
        wire_publish(delivery.publisher, delivery.topic, payload, 1);
        const struct received *received = try_message(delivery.wire, delivery.topic, payload, 3 * US_PER_S);
        if (!received)
            skip(probe, "the broker sends one message at a time");
        want(probe, received->packet.publish.packet_id != delivery.id,
             "packet identifier %u for two messages in flight", delivery.id);
        wire_ack(delivery.wire, MQ5_PUBACK, received->packet.publish.packet_id, MQ5_SUCCESS);
    }
}

/* Once around all identifiers, with one of them in use. */
static void ids_around(struct conform_probe *probe)
{
    enum { AROUND = 65600, AT_ONCE = 200 };
    const char *topic = probe_topic(probe, "t"), *held_topic = probe_topic(probe, "held");
    struct mq5_connect login = probe_login(probe, KEPT);
    struct wire *wire = probe_connect_as(probe, "subscriber", &login), *publisher = probe_connect(probe, "publisher");
    wire_subscribe(wire, held_topic, 1);
    wire_subscribe(wire, topic, 1);
    wire_hold_acks(wire, true);
    wire_publish(publisher, held_topic, "held", 1);
    uint16_t held = need_message(wire, held_topic, "held")->packet.publish.packet_id;
    uint32_t seen = wire_count(wire);
    for (uint32_t done = 0; done < AROUND; done += AT_ONCE) {
        wire_publish_many(publisher, topic, done, AT_ONCE, 1);
        if (!try_message(wire, topic, probe_text(probe, "%u", done + AT_ONCE - 1), probe_patience(probe)))
            skip(probe, "message %u does not come: how many are sent at a time is the broker's own affair", done);
        for (; seen < wire_count(wire); seen++) {
            const struct mq5_publish *publish = &wire_at(wire, seen)->packet.publish;
            if (wire_at(wire, seen)->packet.type != MQ5_PUBLISH)
                continue;
            want(probe, publish->packet_id != held && publish->packet_id != 0,
                 "packet identifier %u, which is in use, after %u messages", publish->packet_id, seen);
            wire_ack(wire, MQ5_PUBACK, publish->packet_id, MQ5_SUCCESS);
        }
    }
}

/* ---- expiry ------------------------------------------------------------------------------------------------------------------------------ */

/* What was sent once does not expire any more: it is sent again, or its handshake goes on. */
static void sent_does_not_expire(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "t");
    struct mq5_connect login = probe_login_kept(probe, KEPT);
    struct wire *wire = probe_subscriber_as(probe, "subscriber", &login, topic, 2);
    wire_hold_acks(wire, true);
    struct mq5_publish publish = message(topic, "m", 2);
    SET_PROPERTY(publish.properties, message_expiry_s, MQ5_MESSAGE_EXPIRY_INTERVAL, 3);
    need(probe, wire_publish_packet(probe_connect(probe, "publisher"), &publish) < 0x80, "the message is refused");
    uint16_t id = need_message(wire, topic, "m")->packet.publish.packet_id;
    if (probe_row(probe) == 1)
        wire_end(wire, WIRE_FIN);
    probe_wait_connected(probe, 7 * US_PER_S);
    if (probe_row(probe) == 1) {
        wire = probe_resume_holding(probe, "subscriber again", &login);
        uint16_t again = want_message(wire, topic, "m")->packet.publish.packet_id;
        want(probe, again == id, "sent again with packet identifier %u instead of %u", again, id);
    }
    wire_ack(wire, MQ5_PUBREC, id, MQ5_SUCCESS);
    const struct mq5_ack *ack = &want_packet(wire, MQ5_PUBREL, "PUBREL after the message expired")->packet.ack;
    want(probe, ack->packet_id == id && ack->reason == MQ5_SUCCESS, "PUBREL 0x%02x for %u instead of %u", ack->reason,
         ack->packet_id, id);
}

CHECK_TABLE(checks_qos_send,
            {.id = "B-QOS-040",
             .name = "what was not acknowledged is sent again when the session is resumed",
             .refs = {"MQTT-4.3.2-3", "MQTT-4.3.3-3", "MQTT-4.4.0-1"},
             .level = CONFORM_MUST,
             .needs = CONFORM_QOS_2 | CONFORM_SESSION,
             .run = sent_again,
             .row_count = ending_count,
             .row = row_ending},
            {.id = "B-QOS-041",
             .name = "what is sent again has DUP",
             .refs = {"MQTT-3.3.1-1"},
             .level = CONFORM_MUST,
             .needs = CONFORM_QOS_2 | CONFORM_SESSION,
             .run = with_dup,
             .row_count = four,
             .row = row_again},
            {.id = "B-QOS-042",
             .name = "what is sent again has the packet identifier it had",
             .refs = {"MQTT-4.4.0-1"},
             .level = CONFORM_MUST,
             .needs = CONFORM_QOS_2 | CONFORM_SESSION,
             .run = same_id,
             .row_count = three,
             .row = row_unacknowledged},
            {.id = "B-QOS-043",
             .name = "a PUBREL that was not answered is sent again when the session is resumed",
             .refs = {"MQTT-4.3.3-5", "MQTT-4.4.0-1", "S4.1.0a"},
             .level = CONFORM_MUST,
             .needs = CONFORM_QOS_2 | CONFORM_SESSION,
             .run = release_again,
             .row_count = two,
             .row = row_release},
            {.id = "B-QOS-044",
             .name = "after PUBREL the message is not sent again",
             .refs = {"MQTT-4.3.3-6"},
             .level = CONFORM_MUST,
             .needs = CONFORM_QOS_2 | CONFORM_SESSION,
             .run = no_publish_after_release,
             .row_count = two,
             .row = row_where},
            {.id = "B-QOS-045",
             .name = "what was acknowledged is not sent again when the session is resumed",
             .refs = {"MQTT-4.4.0-1"},
             .level = CONFORM_MUST,
             .needs = CONFORM_QOS_2 | CONFORM_SESSION,
             .run = not_again,
             .row_count = three,
             .row = row_done},
            {.id = "B-QOS-046",
             .name = "of two messages in flight the one that was not acknowledged is sent again",
             .refs = {"MQTT-4.4.0-1"},
             .level = CONFORM_MUST,
             .needs = CONFORM_QOS_1 | CONFORM_SESSION,
             .run = only_the_other_again,
             .row_count = two,
             .row = row_other},
            {.id = "B-QOS-047",
             .name = "nothing is sent again while the connection lives, whatever else goes over it",
             .refs = {"MQTT-4.4.0-1"},
             .level = CONFORM_MUST,
             .needs = CONFORM_QOS_2 | CONFORM_SESSION,
             .run = not_while_connected,
             .row_count = three,
             .row = row_unacknowledged},
            {.id = "B-QOS-048",
             .name = "nothing is sent again while the connection lives, however long it takes",
             .refs = {"MQTT-4.4.0-1"},
             .level = CONFORM_MUST,
             .needs = CONFORM_QOS_2 | CONFORM_SESSION,
             .lane = CONFORM_SLOW,
             .run = not_after_a_while,
             .row_count = three,
             .row = row_unacknowledged},
            {.id = "B-QOS-049",
             .name = "what was refused is not sent again when the session is resumed",
             .refs = {"MQTT-4.4.0-2"},
             .level = CONFORM_MUST,
             .needs = CONFORM_QOS_2 | CONFORM_SESSION,
             .run = refused_not_again,
             .row_count = refusal_count,
             .row = row_refusal},
            {.id = "B-QOS-050",
             .name = "a PUBREC that refuses is not answered with PUBREL",
             .refs = {"MQTT-4.3.3-4"},
             .level = CONFORM_MUST,
             .needs = CONFORM_QOS_2 | CONFORM_SESSION,
             .run = no_release_of_refused,
             .row_count = refusal_of_2_count,
             .row = row_refusal_of_2},
            {.id = "B-QOS-051",
             .name = "a PUBREC is answered with PUBREL of the same packet identifier",
             .refs = {"MQTT-4.3.3-4", "MQTT-2.2.1-5", "MQTT-3.6.1-1", "MQTT-3.6.2-1"},
             .level = CONFORM_MUST,
             .needs = CONFORM_QOS_2 | CONFORM_SESSION,
             .run = release_of_received},
            {.id = "B-QOS-052",
             .name = "DUP of the publisher is not passed on",
             .refs = {"MQTT-3.3.1-3"},
             .level = CONFORM_MUST,
             .needs = CONFORM_QOS_2,
             .run = dup_not_passed_on,
             .row_count = way_count,
             .row = row_way},
            {.id = "B-QOS-053",
             .name = "messages in flight have packet identifiers of their own",
             .refs = {"MQTT-2.2.1-4", "MQTT-4.3.2-1", "MQTT-4.3.3-1"},
             .level = CONFORM_MUST,
             .needs = CONFORM_QOS_2,
             .run = ids_in_use,
             .row_count = three,
             .row = row_in_use},
            {.id = "B-QOS-054",
             .name = "what is in flight over a resumed session keeps its packet identifier for itself",
             .refs = {"MQTT-2.2.1-4"},
             .level = CONFORM_MUST,
             .needs = CONFORM_QOS_2 | CONFORM_SESSION,
             .run = ids_in_use_resumed,
             .row_count = three,
             .row = row_unacknowledged},
            {.id = "B-QOS-055",
             .name = "once around all packet identifiers the one in use is left out",
             .refs = {"MQTT-2.2.1-4", "MQTT-4.3.2-1"},
             .level = CONFORM_MUST,
             .needs = CONFORM_QOS_1,
             .lane = CONFORM_HEAVY,
             .run = ids_around},
            {.id = "B-QOS-056",
             .name = "a message of QoS 2 that was sent does not expire",
             .refs = {"MQTT-4.3.3-7"},
             .level = CONFORM_MUST,
             .needs = CONFORM_QOS_2 | CONFORM_SESSION,
             .lane = CONFORM_SLOW,
             .run = sent_does_not_expire,
             .row_count = two,
             .row = row_where},
            {.id = "B-QOS-057",
             .name = "what is sent for the first time has no DUP",
             .refs = {"MQTT-4.3.2-2", "MQTT-4.3.3-2"},
             .level = CONFORM_MUST,
             .needs = CONFORM_QOS_2 | CONFORM_SESSION,
             .run = first_without_dup,
             .row_count = two,
             .row = row_first},
            {.id = "B-QOS-058",
             .name = "what comes with QoS 0 has neither DUP nor a packet identifier",
             .refs = {"MQTT-3.3.1-2", "MQTT-2.2.1-2", "MQTT-4.3.1-1"},
             .level = CONFORM_MUST,
             .needs = CONFORM_QOS_1,
             .run = qos_0,
             .row_count = three,
             .row = row_qos_0}, )
