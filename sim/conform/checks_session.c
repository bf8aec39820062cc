/* checks_session.c: sessions (3.1.2.4, 4.1): begun, thrown away, resumed, taken over; and what belongs to them. */
#include "check.h"
#include "tables.h"

#include <stdio.h>

#define KEPT 50 /* number of the client whose session is looked at */

/* Has `wire` no subscription on the topic? What is published now must not come to it, although it comes to the publisher, and although what is
 * published after subscribing comes to both. */
static void want_no_subscription(struct conform_probe *probe, struct wire *wire, const char *topic)
{
    struct wire *publisher = probe_subscriber(probe, "publisher and control", topic, 1);
    wire_publish(publisher, topic, "not subscribed", 1);
    need_message(publisher, topic, "not subscribed");
    wire_subscribe(wire, topic, 1);
    wire_publish(publisher, topic, "subscribed", 1);
    need_message(wire, topic, "subscribed");
    want(probe, wire_count_messages(wire, topic, "not subscribed") == 0, "a subscription of the earlier session works");
}

/* ---- clean start ----------------------------------------------------------------------------------------------------------- */

static void clean_start(struct conform_probe *probe, bool still_there)
{
    const char *topic = probe_topic(probe, "t");
    struct mq5_connect login = probe_login_kept(probe, KEPT);
    struct wire *first = probe_subscriber_as(probe, "first", &login, topic, 1);
    if (!still_there) {
        wire_disconnect(first, MQ5_SUCCESS);
        wire_publish(probe_connect(probe, "earlier publisher"), topic, "queued", 1);
    }
    struct wire *again = probe_resume(probe, "clean", &login, true);
    want(probe, !wire_connack(again)->session_present, "Session Present 1 after a clean start");
    want_no_subscription(probe, again, topic);
    want(probe, wire_count_messages(again, topic, "queued") == 0, "a message of the earlier session came");
}

static void clean_start_after_leaving(struct conform_probe *probe)
{
    clean_start(probe, false);
}

static void clean_start_takes_over(struct conform_probe *probe)
{
    clean_start(probe, true);
}

/* One message at a time: how many a broker sends at once is its own affair. */
static void clean_start_in_flight(struct conform_probe *probe)
{
    uint32_t row = probe_row(probe);
    const char *topic = probe_topic(probe, "t");
    struct mq5_connect login = probe_login_kept(probe, KEPT);
    struct wire *first = probe_subscriber_as(probe, "first", &login, topic, 2);
    wire_hold_acks(first, true);
    struct wire *publisher = probe_connect(probe, "publisher");
    wire_publish(publisher, topic, "in flight", row == 0 ? 1 : 2);
    uint16_t id = need_message(first, topic, "in flight")->packet.publish.packet_id;
    if (row == 2) {
        wire_ack(first, MQ5_PUBREC, id, MQ5_SUCCESS);
        need_packet(first, MQ5_PUBREL, "PUBREL");
    }
    wire_end(first, WIRE_FIN);
    struct wire *again = probe_resume(probe, "clean", &login, true);
    wire_subscribe(again, topic, 2);
    wire_publish(publisher, topic, "marker", 1);
    need_message(again, topic, "marker");
    want(probe, wire_count_messages(again, topic, "in flight") == 0, "a message of the earlier session came again");
    want(probe, wire_count_of(again, MQ5_PUBREL) == 0, "a PUBREL of the earlier session came");
}

static uint32_t three(void)
{
    return 3;
}

static void row_in_flight(uint32_t row, struct conform_row *out)
{
    static const char *const names[] = {"PUBLISH of QoS 1", "PUBLISH of QoS 2", "PUBREL"};
    snprintf(out->name, sizeof(out->name), "%s", names[row]);
}

static void clean_start_received_ids(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "t");
    struct wire *subscriber = probe_subscriber(probe, "subscriber", topic, 2);
    struct mq5_connect login = probe_login_kept(probe, KEPT);
    struct wire *first = probe_connect_as(probe, "first", &login);
    struct mq5_packet packet = {.type = MQ5_PUBLISH, .publish = message(topic, "one", 2)};
    packet.publish.packet_id = 7;
    wire_send(first, &packet);
    need_packet(first, MQ5_PUBREC, "PUBREC");
    wire_end(first, WIRE_FIN);
    struct wire *again = probe_resume(probe, "clean", &login, true);
    packet.publish.payload = span_text("two");
    need(probe, wire_publish_packet(again, &packet.publish) < 0x80, "the message was refused");
    want_message(subscriber, topic, "two");
}

/* ---- beginning and resuming -------------------------------------------------------------------------------------------------- */

static void begins(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "t");
    struct mq5_connect login = probe_login_kept(probe, KEPT);
    struct wire *first = probe_open(probe, "first");
    const struct mq5_connack *connack = wire_login(first, &login);
    want(probe, connack && connack->reason == MQ5_SUCCESS, "a new client without a clean start is not accepted");
    want(probe, !connack->session_present, "Session Present 1 for a client that was never seen");
    wire_subscribe(first, topic, 1);
    wire_publish(first, topic, "m", 1);
    want_message(first, topic, "m");
    wire_disconnect(first, MQ5_SUCCESS);
    struct wire *again = probe_resume(probe, "again", &login, false);
    want(probe, wire_connack(again)->session_present, "Session Present 0: the session that was begun is not there");
}

static void subscription_survives(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "t");
    struct mq5_connect login = probe_login_kept(probe, KEPT);
    struct wire *wire = probe_subscriber_as(probe, "first", &login, topic, 1);
    struct wire *publisher = probe_connect(probe, "publisher");
    for (int round = 0; round < 3; round++) {
        wire_disconnect(wire, MQ5_SUCCESS);
        wire = probe_resume(probe, "again", &login, false);
        want(probe, wire_connack(wire)->session_present, "Session Present 0 for a session that is kept");
        wire_publish(publisher, topic, probe_text(probe, "%d", round), 1);
        want_message(wire, topic, probe_text(probe, "%d", round));
    }
}

/* Some with the client's own name, for which a broker may have a short cut. */
static const char *topic_of(struct conform_probe *probe, int index, bool wildcard)
{
    return probe_topic(probe, "%s/%d/%s", index % 2 ? probe_client_id(probe, KEPT) : "x", index, wildcard ? "+" : "t");
}

static void all_subscriptions_survive(struct conform_probe *probe)
{
    enum { FILTERS = 12 };
    struct mq5_connect login = probe_login_kept(probe, KEPT);
    struct wire *wire = probe_connect_as(probe, "first", &login);
    for (int i = 0; i < FILTERS; i++)
        wire_subscribe(wire, topic_of(probe, i, i % 3 == 0), 1);
    wire_disconnect(wire, MQ5_SUCCESS);
    wire = probe_resume(probe, "again", &login, false);
    struct wire *publisher = probe_connect(probe, "publisher");
    for (int i = 0; i < FILTERS; i++)
        wire_publish(publisher, topic_of(probe, i, false), "m", 1);
    for (int i = 0; i < FILTERS; i++)
        want_message(wire, topic_of(probe, i, false), "m");
}

static struct wire *queue_three(struct conform_probe *probe, const char *topic, uint8_t qos)
{
    struct mq5_connect login = probe_login_kept(probe, KEPT);
    struct wire *wire = probe_subscriber_as(probe, "first", &login, topic, qos);
    wire_disconnect(wire, MQ5_SUCCESS);
    struct wire *publisher = probe_connect(probe, "publisher");
    for (int i = 0; i < 3; i++)
        wire_publish(publisher, topic, probe_text(probe, "%d", i), qos);
    return probe_resume(probe, "again", &login, false);
}

static void queued(struct conform_probe *probe)
{
    uint8_t qos = (uint8_t)(probe_row(probe) + 1);
    const char *topic = probe_topic(probe, "t");
    struct wire *wire = queue_three(probe, topic, qos);
    for (int i = 0; i < 3; i++) {
        const struct received *received = want_message(wire, topic, probe_text(probe, "%d", i));
        want(probe, received->packet.publish.qos == qos, "message %d was queued with QoS %u and came with QoS %u", i,
             qos, received->packet.publish.qos);
    }
}

static void queued_without_dup(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "t");
    struct wire *wire = queue_three(probe, topic, (uint8_t)(probe_row(probe) + 1));
    for (int i = 0; i < 3; i++)
        want(probe, !need_message(wire, topic, probe_text(probe, "%d", i))->packet.publish.dup,
             "message %d has DUP, although it was never sent before", i);
}

static void row_first_send(uint32_t row, struct conform_row *out)
{
    snprintf(out->name, sizeof(out->name), "QoS %u", row + 1);
    out->ref = row ? "MQTT-4.3.3-2" : "MQTT-4.3.2-2";
}

static uint32_t two(void)
{
    return 2;
}

static void row_qos(uint32_t row, struct conform_row *out)
{
    snprintf(out->name, sizeof(out->name), "QoS %u", row + 1);
}

/* ---- what a subscription is ---------------------------------------------------------------------------------------------------- */

static struct wire *subscribe_once(struct conform_probe *probe, const struct mq5_connect *login,
                                   struct mq5_subscription list, uint32_t id)
{
    struct wire *wire = probe_connect_as(probe, "first", login);
    const struct mq5_suback *suback = wire_subscribe_with(wire, &list, 1, id);
    need(probe, suback->reasons.length == 1 && suback->reasons.data[0] <= list.qos, "SUBSCRIBE is refused");
    if (suback->reasons.data[0] < list.qos)
        skip(probe, "the broker grants QoS %u where %u is asked for", suback->reasons.data[0], list.qos);
    return wire;
}

static void granted_qos_survives(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "t");
    struct mq5_connect login = probe_login_kept(probe, KEPT);
    struct wire *wire = probe_subscriber_as(probe, "first", &login, topic, 1);
    wire_disconnect(wire, MQ5_SUCCESS);
    struct wire *publisher = probe_connect(probe, "publisher");
    wire_publish(publisher, topic, "queued", 2);
    wire = probe_resume(probe, "again", &login, false);
    wire_publish(publisher, topic, "after", 2);
    uint8_t queued_qos = want_message(wire, topic, "queued")->packet.publish.qos;
    uint8_t qos = want_message(wire, topic, "after")->packet.publish.qos;
    want(probe, queued_qos == 1, "subscribed with QoS 1, what was queued comes with QoS %u", queued_qos);
    want(probe, qos == 1, "subscribed with QoS 1, after resuming messages come with QoS %u", qos);
}

static void last_qos_survives(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "t");
    struct mq5_connect login = probe_login_kept(probe, KEPT);
    struct wire *wire = probe_subscriber_as(probe, "first", &login, topic, 0);
    wire_subscribe(wire, topic, 1);
    wire_disconnect(wire, MQ5_SUCCESS);
    struct wire *publisher = probe_connect(probe, "publisher");
    wire_publish(publisher, topic, "queued", 1);
    wire = probe_resume(probe, "again", &login, false);
    uint8_t qos = want_message(wire, topic, "queued")->packet.publish.qos;
    want(probe, qos == 1, "subscribed again with QoS 1, what was queued comes with QoS %u", qos);
}

static void no_local_survives(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "t");
    struct mq5_connect login = probe_login_kept(probe, KEPT);
    struct mq5_subscription list = subscription(topic, 1);
    list.no_local = true;
    struct wire *wire = subscribe_once(probe, &login, list, 0);
    struct wire *publisher = probe_connect(probe, "publisher");
    wire_warm_up(publisher, topic);
    for (int round = 0; round < 2; round++) {
        const char *own = probe_text(probe, "own %d", round), *other = probe_text(probe, "other %d", round);
        wire_publish(wire, topic, own, 1);
        wire_publish(publisher, topic, other, 1);
        need_message(wire, topic, other);
        if (round == 0) {
            need(probe, wire_count_messages(wire, topic, own) == 0,
                 "No Local does not work before the session is left");
            wire_disconnect(wire, MQ5_SUCCESS);
            wire = probe_resume(probe, "again", &login, false);
        }
    }
    want(probe, wire_count_messages(wire, topic, "own 1") == 0, "No Local is forgotten after resuming");
}

static void retain_as_published_survives(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "t");
    struct mq5_connect login = probe_login_kept(probe, KEPT);
    struct mq5_subscription list = subscription(topic, 1);
    list.retain_as_published = true;
    struct wire *wire = subscribe_once(probe, &login, list, 0);
    struct wire *publisher = probe_connect(probe, "publisher");
    wire_publish_retained(publisher, topic, "before", 1);
    need(probe, need_message(wire, topic, "before")->packet.publish.retain,
         "Retain As Published does not work before the session is left");
    wire_disconnect(wire, MQ5_SUCCESS);
    wire_publish_retained(publisher, topic, "queued", 1);
    wire = probe_resume(probe, "again", &login, false);
    wire_publish_retained(publisher, topic, "after", 1);
    want(probe, want_message(wire, topic, "queued")->packet.publish.retain, "what was queued comes with RETAIN 0");
    want(probe, want_message(wire, topic, "after")->packet.publish.retain,
         "after resuming messages come with RETAIN 0");
}

static bool has_id(const struct received *received, uint32_t id)
{
    const struct mq5_properties *properties = &received->packet.publish.properties;
    uint32_t offset = 0, each;
    while (mq5_subscription_id_next(properties->encoded, &offset, &each))
        if (each == id)
            return true;
    return false;
}

static void subscription_id_survives(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "t");
    struct mq5_connect login = probe_login_kept(probe, KEPT);
    struct wire *wire = subscribe_once(probe, &login, subscription(topic, 1), 300);
    struct wire *publisher = probe_connect(probe, "publisher");
    wire_publish(publisher, topic, "before", 1);
    need(probe, has_id(need_message(wire, topic, "before"), 300),
         "no Subscription Identifier before the session is left");
    wire_disconnect(wire, MQ5_SUCCESS);
    wire_publish(publisher, topic, "queued", 1);
    wire = probe_resume(probe, "again", &login, false);
    wire_publish(publisher, topic, "after", 1);
    want(probe, has_id(want_message(wire, topic, "queued"), 300), "no Subscription Identifier 300 in what was queued");
    want(probe, has_id(want_message(wire, topic, "after"), 300), "no Subscription Identifier 300 after resuming");
}

static void unsubscribed_stays(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "t");
    struct mq5_connect login = probe_login_kept(probe, KEPT);
    struct wire *wire = probe_subscriber_as(probe, "first", &login, topic, 1);
    need(probe, wire_unsubscribe(wire, topic)->reasons.data[0] < 0x80, "UNSUBSCRIBE is refused");
    wire_disconnect(wire, MQ5_SUCCESS);
    wire = probe_resume(probe, "again", &login, false);
    need(probe, wire_connack(wire)->session_present, "Session Present 0");
    want_no_subscription(probe, wire, topic);
}

/* ---- how a connection ends -------------------------------------------------------------------------------------------------------- */

enum {
    BY_FIN,
    BY_RESET,
    BY_HALF_CLOSE,
    BY_DISCONNECT,
    BY_DISCONNECT_WITH_WILL,
    BY_ERROR,
    BY_SECOND_CONNECT,
    BY_TLS_SILENCE,
    ENDS
};
static const char *const end_names[ENDS] = {
    "closed without DISCONNECT",
    "reset",
    "half-closed",
    "DISCONNECT 0x00",
    "DISCONNECT 0x04",
    "closed by the broker for a QoS of 3",
    "closed by the broker for a second CONNECT",
    "closed without a word of TLS",
};

static uint32_t end_count(void)
{
    return ENDS;
}

static void row_end(uint32_t row, struct conform_row *out)
{
    snprintf(out->name, sizeof(out->name), "%s", end_names[row]);
    if (row == BY_RESET || row == BY_HALF_CLOSE)
        out->ref = "S4.2a";
}

static void end_by(struct conform_probe *probe, struct wire *wire, const struct mq5_connect *login, uint32_t how)
{
    struct mq5_packet second = {.type = MQ5_CONNECT, .connect = *login};
    static const uint8_t qos_3[] = {MQ5_PUBLISH << 4 | 6, 6, 0, 1, 't', 0, 1, 0};
    switch (how) {
    case BY_FIN: wire_end(wire, WIRE_FIN); break;
    case BY_RESET: wire_end(wire, WIRE_RESET); break;
    case BY_HALF_CLOSE:
        wire_end(wire, WIRE_HALF_CLOSE);
        wire_closes(wire, 2 * US_PER_S);
        break;
    case BY_DISCONNECT: wire_disconnect(wire, MQ5_SUCCESS); break;
    case BY_DISCONNECT_WITH_WILL: wire_disconnect(wire, MQ5_DISCONNECT_WITH_WILL); break;
    case BY_ERROR:
    case BY_SECOND_CONNECT:
        if (how == BY_ERROR)
            wire_send_bytes(wire, qos_3, sizeof(qos_3));
        else
            wire_send(wire, &second);
        need(probe, wire_closes(wire, probe_patience(probe)), "the broker goes on");
        break;
    default:
        if (!probe_has(probe, CONFORM_TLS))
            skip(probe, "needs TLS");
        wire_end(wire, WIRE_TLS_SILENT);
        break;
    }
}

static void kept_after(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "t");
    struct mq5_connect login = probe_login_kept(probe, KEPT);
    struct wire *wire = probe_subscriber_as(probe, "first", &login, topic, 1);
    end_by(probe, wire, &login, probe_row(probe));
    wire = probe_resume(probe, "again", &login, false);
    want(probe, wire_connack(wire)->session_present, "Session Present 0 after a connection that was %s",
         end_names[probe_row(probe)]);
    wire_publish(probe_connect(probe, "publisher"), topic, "m", 1);
    want_message(wire, topic, "m");
}

/* ---- taken over --------------------------------------------------------------------------------------------------------------------- */

static void taken_over(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "t");
    struct mq5_connect login = probe_login_kept(probe, KEPT);
    struct wire *old = probe_subscriber_as(probe, "old", &login, topic, 1);
    wire_hold_acks(old, true);
    struct wire *publisher = probe_connect(probe, "publisher");
    wire_publish(publisher, topic, "in flight", 1);
    uint16_t id = need_message(old, topic, "in flight")->packet.publish.packet_id;
    struct wire *young = probe_resume(probe, "new", &login, false);
    need(probe, wire_connack(young)->session_present, "Session Present 0 for a session that was taken over");
    const struct mq5_publish *again = &want_message(young, topic, "in flight")->packet.publish;
    want(probe, again->packet_id == id, "sent again with packet identifier %u instead of %u", again->packet_id, id);
    wire_publish(publisher, topic, "after", 1);
    want_message(young, topic, "after");
    want(probe, wire_count_messages(old, topic, "after") == 0, "a message went to the old connection");
}

static void taken_over_often(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "t");
    struct mq5_connect login = probe_login_kept(probe, KEPT);
    struct wire *wire = probe_subscriber_as(probe, "first", &login, topic, 1);
    for (int i = 0; i < 5; i++) {
        struct wire *old = wire;
        wire = probe_resume(probe, "next", &login, false);
        want(probe, wire_connack(wire)->session_present, "Session Present 0 at takeover %d", i + 1);
        need(probe, wire_closes(old, probe_patience(probe)), "the old connection stays open");
    }
    wire_publish(probe_connect(probe, "publisher"), topic, "m", 1);
    want_message(wire, topic, "m");
}

CHECK_TABLE(checks_session,
            {.id = "B-SESS-001",
             .name = "a clean start throws away the session that was left",
             .refs = {"MQTT-3.1.2-4"},
             .level = CONFORM_MUST,
             .needs = CONFORM_SESSION | CONFORM_QOS_1,
             .run = clean_start_after_leaving},
            {.id = "B-SESS-002",
             .name = "a clean start throws away the session of a client that is there",
             .refs = {"MQTT-3.1.2-4"},
             .level = CONFORM_MUST,
             .needs = CONFORM_SESSION | CONFORM_QOS_1,
             .run = clean_start_takes_over},
            {.id = "B-SESS-003",
             .name = "after a clean start nothing of the earlier session is sent again",
             .refs = {"MQTT-3.1.2-4"},
             .level = CONFORM_MUST,
             .needs = CONFORM_SESSION | CONFORM_QOS_2,
             .run = clean_start_in_flight,
             .row_count = three,
             .row = row_in_flight},
            {.id = "B-SESS-004",
             .name = "after a clean start packet identifiers of QoS 2 that were received are free",
             .refs = {"MQTT-3.1.2-4"},
             .level = CONFORM_MUST,
             .needs = CONFORM_SESSION | CONFORM_QOS_2,
             .run = clean_start_received_ids},
            {.id = "B-SESS-005",
             .name = "a new client without a clean start begins a session",
             .refs = {"MQTT-3.1.2-6"},
             .level = CONFORM_MUST,
             .needs = CONFORM_SESSION | CONFORM_QOS_1,
             .run = begins},
            {.id = "B-SESS-006",
             .name = "a session is resumed with its subscription, more than once",
             .refs = {"MQTT-3.1.2-5", "S4.1.0a"},
             .level = CONFORM_MUST,
             .needs = CONFORM_SESSION | CONFORM_QOS_1,
             .run = subscription_survives},
            {.id = "B-SESS-007",
             .name = "a session is resumed with all of its subscriptions",
             .refs = {"S4.1.0a", "MQTT-3.1.2-5"},
             .level = CONFORM_MUST,
             .needs = CONFORM_SESSION | CONFORM_QOS_1 | CONFORM_WILDCARD,
             .run = all_subscriptions_survive},
            {.id = "B-SESS-008",
             .name = "what was published while the client was away comes when it is back",
             .refs = {"MQTT-3.1.2-5", "S4.1.0a"},
             .level = CONFORM_MUST,
             .needs = CONFORM_SESSION | CONFORM_QOS_2,
             .run = queued,
             .row_count = two,
             .row = row_qos},
            {.id = "B-SESS-009",
             .name = "the granted QoS belongs to the session",
             .refs = {"S4.1.0a", "MQTT-3.1.2-5"},
             .level = CONFORM_MUST,
             .needs = CONFORM_SESSION | CONFORM_QOS_2,
             .run = granted_qos_survives},
            {.id = "B-SESS-010",
             .name = "the QoS of the last subscription to a filter belongs to the session",
             .refs = {"S4.1.0a"},
             .level = CONFORM_MUST,
             .needs = CONFORM_SESSION | CONFORM_QOS_1,
             .run = last_qos_survives},
            {.id = "B-SESS-011",
             .name = "No Local belongs to the session",
             .refs = {"S4.1.0a"},
             .level = CONFORM_MUST,
             .needs = CONFORM_SESSION | CONFORM_QOS_1,
             .run = no_local_survives},
            {.id = "B-SESS-012",
             .name = "Retain As Published belongs to the session",
             .refs = {"S4.1.0a"},
             .level = CONFORM_MUST,
             .needs = CONFORM_SESSION | CONFORM_QOS_1 | CONFORM_RETAIN,
             .run = retain_as_published_survives},
            {.id = "B-SESS-013",
             .name = "Subscription Identifiers belong to the session",
             .refs = {"S4.1.0a", "S3.3.4c"},
             .level = CONFORM_MUST,
             .needs = CONFORM_SESSION | CONFORM_QOS_1 | CONFORM_SUBSCRIPTION_ID,
             .run = subscription_id_survives},
            {.id = "B-SESS-014",
             .name = "what was unsubscribed is not resumed",
             .refs = {"S4.1.0a"},
             .level = CONFORM_MUST,
             .needs = CONFORM_SESSION | CONFORM_QOS_1,
             .run = unsubscribed_stays},
            {.id = "B-SESS-015",
             .name = "a session is kept however its connection ends",
             .refs = {"MQTT-3.1.2-23", "S4.2a"},
             .level = CONFORM_MUST,
             .needs = CONFORM_SESSION | CONFORM_QOS_1,
             .run = kept_after,
             .row_count = end_count,
             .row = row_end},
            {.id = "B-SESS-016",
             .name = "a session is taken over with what is in flight",
             .refs = {"MQTT-4.4.0-1", "MQTT-3.1.2-5"},
             .level = CONFORM_MUST,
             .needs = CONFORM_SESSION | CONFORM_QOS_1,
             .run = taken_over},
            {.id = "B-SESS-017",
             .name = "a session is taken over again and again",
             .refs = {"MQTT-3.1.2-5"},
             .level = CONFORM_MUST,
             .needs = CONFORM_SESSION | CONFORM_QOS_1,
             .run = taken_over_often},
            {.id = "B-SESS-018",
             .name = "what was queued is sent for the first time without DUP",
             .refs = {"MQTT-4.3.2-2", "MQTT-4.3.3-2"},
             .level = CONFORM_MUST,
             .needs = CONFORM_SESSION | CONFORM_QOS_2,
             .run = queued_without_dup,
             .row_count = two,
             .row = row_first_send}, )
