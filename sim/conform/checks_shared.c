/* checks_shared.c: shared subscriptions (4.8.2): their names, who gets what, and what becomes of a delivery that breaks. */
#include "check.h"
#include "tables.h"

#include <stdio.h>

static const char *shared(struct conform_probe *probe, uint32_t group, const char *topic)
{
    return probe_text(probe, "$share/%s/%s", probe_share(probe, group), topic);
}

/* Subscribes and lets the time pass that this broker's subscriptions take: a warm-up would go to any member. */
static void join(struct conform_probe *probe, struct wire *wire, const char *filter, uint8_t qos)
{
    wire_subscribe(wire, filter, qos);
    if (probe_broker(probe)->subscription_delay_us)
        probe_wait(probe, 2 * probe_broker(probe)->subscription_delay_us);
}

/* A message on `topic` outside of the group has reached the wire: what came before it by the same way is there. */
static void settle(struct conform_probe *probe, struct wire *publisher, struct wire *const *wires, uint32_t count)
{
    const char *topic = probe_topic(probe, "settle"), *payload = probe_text(probe, "%u", wire_packet_id(publisher));
    for (uint32_t i = 0; i < count; i++)
        wire_subscribe(wires[i], topic, 1);
    wire_publish(publisher, topic, payload, 1);
    for (uint32_t i = 0; i < count; i++) {
        need_message(wires[i], topic, payload);
        need_alive(wires[i], "after the marker");
    }
}

/* ---- names ---------------------------------------------------------------------------------------------------------------------- */

/* @ is a share name of this check, = a topic of it. */
static const struct {
    const char *form, *name, *ref;
} bad_names[] = {
    {"$share//=", "an empty share name", "MQTT-4.8.2-1"},
    {"$share/+/=", "a share name of +", "MQTT-4.8.2-2"},
    {"$share/#/=", "a share name of #", "MQTT-4.8.2-2"},
    {"$share/@+/=", "a share name with +", "MQTT-4.8.2-2"},
    {"$share/@#/=", "a share name with #", "MQTT-4.8.2-2"},
    {"$share/@", "a share name and no filter", "MQTT-4.8.2-2"},
    {"$share/@/", "a share name and an empty filter", "MQTT-4.8.2-2"},
};

static uint32_t names_count(void)
{
    return sizeof(bad_names) / sizeof(bad_names[0]);
}

static void names_row(uint32_t row, struct conform_row *out)
{
    snprintf(out->name, sizeof(out->name), "%s", bad_names[row].name);
    out->ref = bad_names[row].ref;
}

static void names(struct conform_probe *probe)
{
    struct wire *wire = probe_connect(probe, "client");
    const char *filter = "";
    for (const char *at = bad_names[probe_row(probe)].form; *at; at++)
        filter = *at == '@'   ? probe_text(probe, "%s%s", filter, probe_share(probe, 0))
                 : *at == '=' ? probe_text(probe, "%s%s", filter, probe_topic(probe, "name"))
                              : probe_text(probe, "%s%c", filter, *at);
    struct mq5_subscription list = subscription(filter, 0);
    wire_send_subscribe(wire, &list, 1, 0);
    const struct received *answer = want_answer_or_end(wire, MQ5_SUBACK, "SUBACK or the end of the connection");
    if (answer)
        want(probe, first_reason(&answer->packet.suback) >= 0x80, "SUBACK 0x%02x for %s",
             first_reason(&answer->packet.suback), bad_names[probe_row(probe)].name);
}

static void no_local(struct conform_probe *probe)
{
    struct wire *wire = probe_connect(probe, "client");
    struct mq5_subscription list = subscription(shared(probe, 0, probe_topic(probe, "local")), 0);
    list.no_local = true;
    wire_send_subscribe(wire, &list, 1, 0);
    want_closed(wire, "No Local on a shared subscription", REASONS(MQ5_PROTOCOL_ERROR));
}

static void no_retained(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "kept");
    struct wire *publisher = probe_connect(probe, "publisher"), *plain = probe_connect(probe, "plain subscriber");
    struct wire *wire = probe_connect(probe, "member");
    wire_publish_retained(publisher, topic, "kept", 1);
    struct mq5_subscription list = subscription(topic, 1);
    wire_subscribe_with(plain, &list, 1, 0);
    need_message(plain, topic, "kept");
    join(probe, wire, shared(probe, 0, topic), 1);
    wire_publish(publisher, topic, "live", 1);
    need_message(wire, topic, "live");
    need_alive(wire, "after a live message");
    want(probe, wire_count_messages(wire, topic, "kept") == 0, "a retained message comes to a shared subscription");
}

/* ---- who gets what ---------------------------------------------------------------------------------------------------------------- */

enum { MESSAGES = 24 };

static uint32_t count_all(struct wire *const *wires, uint32_t count, const char *topic, const char *payload)
{
    uint32_t sum = 0;
    for (uint32_t i = 0; i < count; i++)
        sum += wire_count_messages(wires[i], topic, payload);
    return sum;
}

static void publish_numbers(struct conform_probe *probe, struct wire *publisher, const char *topic, uint8_t qos)
{
    for (int i = 0; i < MESSAGES; i++)
        wire_publish(publisher, topic, probe_text(probe, "%d", i), qos);
}

/* Copies of a message at all of the wires, once there is one or it is too late. Other topics may be quicker: a marker alone says nothing of it. */
static uint32_t copies_of(struct conform_probe *probe, struct wire *const *wires, uint32_t count, const char *topic,
                          const char *payload)
{
    int64_t until_us = probe_now(probe) + probe_patience(probe);
    while (count_all(wires, count, topic, payload) == 0 && probe_now(probe) < until_us)
        probe_wait(probe, 20 * US_PER_MS);
    return count_all(wires, count, topic, payload);
}

static void one_member(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "one");
    struct wire *publisher = probe_connect(probe, "publisher"), *members[3];
    for (uint32_t i = 0; i < 3; i++) {
        members[i] = probe_connect(probe, probe_text(probe, "member %u", i));
        join(probe, members[i], shared(probe, 0, topic), 1);
    }
    publish_numbers(probe, publisher, topic, 1);
    settle(probe, publisher, members, 3);
    for (int i = 0; i < MESSAGES; i++) {
        uint32_t copies = copies_of(probe, members, 3, topic, probe_text(probe, "%d", i));
        want(probe, copies == 1, "%u of three members have got message %d", copies, i);
    }
}

static void several_groups(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "groups");
    struct wire *publisher = probe_connect(probe, "publisher"), *wires[3];
    for (uint32_t i = 0; i < 3; i++)
        wires[i] = probe_connect(probe, i < 2 ? "member" : "plain subscriber");
    join(probe, wires[0], shared(probe, 0, topic), 1);
    join(probe, wires[1], shared(probe, 1, topic), 1);
    wire_subscribe(wires[2], topic, 1);
    publish_numbers(probe, publisher, topic, 1);
    settle(probe, publisher, wires, 3);
    for (uint32_t w = 0; w < 3; w++)
        for (int i = 0; i < MESSAGES; i++) {
            uint32_t copies = copies_of(probe, &wires[w], 1, topic, probe_text(probe, "%d", i));
            want(probe, copies == 1, "%s has got %u copies of message %d",
                 w == 0   ? "the only member of one group"
                 : w == 1 ? "the only member of another group"
                          : "the subscriber without a group",
                 copies, i);
        }
}

/* The same share name with two filters is two subscriptions. */
static void two_filters(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "filters/x"), *plus = probe_topic(probe, "filters/+");
    struct wire *publisher = probe_connect(probe, "publisher"), *wires[2];
    wires[0] = probe_connect(probe, "member by name");
    wires[1] = probe_connect(probe, "member by wildcard");
    join(probe, wires[0], shared(probe, 0, topic), 1);
    join(probe, wires[1], shared(probe, 0, plus), 1);
    publish_numbers(probe, publisher, topic, 1);
    settle(probe, publisher, wires, 2);
    for (int i = 0; i < MESSAGES; i++)
        for (uint32_t w = 0; w < 2; w++) {
            uint32_t copies = copies_of(probe, &wires[w], 1, topic, probe_text(probe, "%d", i));
            want(probe, copies == 1, "message %d: %u copies by the filter %s a wildcard", i, copies,
                 w ? "with" : "without");
        }
}

/* Who leaves gets nothing more, who stays gets all. */
static void leaving(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "leaving");
    struct wire *publisher = probe_connect(probe, "publisher"), *members[2];
    for (uint32_t i = 0; i < 2; i++) {
        members[i] = probe_connect(probe, i ? "stays" : "leaves");
        join(probe, members[i], shared(probe, 0, topic), 1);
    }
    need(probe, first_reason(wire_unsubscribe(members[0], shared(probe, 0, topic))) < 0x80, "UNSUBSCRIBE is refused");
    publish_numbers(probe, publisher, topic, 1);
    settle(probe, publisher, members, 2);
    for (int i = 0; i < MESSAGES; i++)
        want(probe, copies_of(probe, &members[1], 1, topic, probe_text(probe, "%d", i)) == 1,
             "message %d does not come to the only member that is left", i);
    want(probe, wire_count_messages(members[0], topic, NULL) == 0, "messages come to a member that has left");
}

/* $share/g/t and t are two subscriptions: to leave one is not to leave the other. */
static uint32_t separate_count(void)
{
    return 2;
}

static void separate_row(uint32_t row, struct conform_row *out)
{
    snprintf(out->name, sizeof(out->name), "%s is taken away", row ? "the plain filter" : "the shared filter");
}

static void separate(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "separate"), *share = shared(probe, 0, topic);
    bool plain_goes = probe_row(probe);
    struct wire *publisher = probe_connect(probe, "publisher"), *both = probe_connect(probe, "subscribed both ways");
    join(probe, both, share, 1);
    wire_subscribe(both, topic, 1);
    const struct mq5_suback *unsuback = wire_unsubscribe(both, plain_goes ? topic : share);
    need(probe, first_reason(unsuback) == MQ5_SUCCESS, "UNSUBACK 0x%02x", first_reason(unsuback));
    wire_publish(publisher, topic, "message", 1);
    want_message(both, topic, "message");
    unsuback = wire_unsubscribe(both, plain_goes ? share : topic);
    should(probe, "code", NULL, first_reason(unsuback) == MQ5_SUCCESS,
           "UNSUBACK 0x%02x for the other of the two filters", first_reason(unsuback));
}

static uint32_t names_left_count(void)
{
    return 2;
}

static void names_left_row(uint32_t row, struct conform_row *out)
{
    snprintf(out->name, sizeof(out->name), "subscribed to %s, unsubscribed from %s",
             row ? "the plain filter" : "the shared filter", row ? "the shared filter" : "the plain filter");
}

/* Only one of the two is there: the other's name takes nothing away. */
static void names_left(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "only"), *share = shared(probe, 0, topic);
    bool plain = probe_row(probe);
    struct wire *publisher = probe_connect(probe, "publisher"), *wire = probe_connect(probe, "subscriber");
    join(probe, wire, plain ? topic : share, 1);
    wire_unsubscribe(wire, plain ? share : topic);
    wire_publish(publisher, topic, "message", 1);
    want_message(wire, topic, "message");
}

/* ---- the QoS of each member ----------------------------------------------------------------------------------------------------- */

static const struct {
    uint8_t first, second;
} pairs[] = {{1, 0}, {0, 1}, {2, 0}, {0, 2}, {2, 1}, {1, 2}};

static uint32_t pairs_count(void)
{
    return sizeof(pairs) / sizeof(pairs[0]);
}

static void pairs_row(uint32_t row, struct conform_row *out)
{
    snprintf(out->name, sizeof(out->name), "members of QoS %u and %u", pairs[row].first, pairs[row].second);
}

static void want_qos(struct conform_probe *probe, const struct wire *wire, const char *topic, uint8_t granted)
{
    for (uint32_t i = 0; i < wire_count(wire); i++) {
        const struct mq5_packet *packet = &wire_at(wire, i)->packet;
        if (packet->type != MQ5_PUBLISH || !span_equal(packet->publish.topic, span_text(topic)))
            continue;
        want(probe, packet->publish.qos == granted, "a message comes with QoS %u to a member of QoS %u",
             packet->publish.qos, granted);
    }
}

/* A broker may choose the same member always: so the first leaves, and the second is the only one. */
static void granted_qos(struct conform_probe *probe)
{
    uint8_t first = pairs[probe_row(probe)].first, second = pairs[probe_row(probe)].second;
    uint8_t most = first > second ? first : second;
    if (most == 2 && !probe_has(probe, CONFORM_QOS_2))
        skip(probe, "needs QoS 2");
    const char *topic = probe_topic(probe, "granted");
    struct wire *publisher = probe_connect(probe, "publisher"), *members[2];
    members[0] = probe_connect(probe, "first member");
    members[1] = probe_connect(probe, "second member");
    join(probe, members[0], shared(probe, 0, topic), first);
    join(probe, members[1], shared(probe, 0, topic), second);
    for (int i = 0; i < 6; i++)
        wire_publish(publisher, topic, probe_text(probe, "%d", i), most);
    settle(probe, publisher, members, 2);
    wire_unsubscribe(members[0], shared(probe, 0, topic));
    wire_publish(publisher, topic, "alone", most);
    need_message(members[1], topic, "alone");
    want_qos(probe, members[0], topic, first);
    want_qos(probe, members[1], topic, second);
}

/* ---- deliveries that break ------------------------------------------------------------------------------------------------------ */

struct pair {
    struct mq5_connect logins[2];
    struct wire *members[2], *publisher;
    const char *topic;
    uint32_t chosen; /* who has got the message */
    uint16_t id;     /* its packet identifier */
};

/* Two members that acknowledge by hand; one of them gets a message of this QoS. */
static struct pair deliver(struct conform_probe *probe, uint8_t qos, uint32_t expiry_s)
{
    struct pair pair = {.topic = probe_topic(probe, "broken"), .publisher = probe_connect(probe, "publisher")};
    for (uint32_t i = 0; i < 2; i++) {
        pair.logins[i] = probe_login(probe, 50 + i);
        if (expiry_s)
            set_session_expiry(&pair.logins[i], expiry_s);
        pair.members[i] = probe_connect_as(probe, i ? "member 1" : "member 0", &pair.logins[i]);
        join(probe, pair.members[i], shared(probe, 0, pair.topic), qos);
        wire_hold_acks(pair.members[i], true);
    }
    wire_publish(pair.publisher, pair.topic, "message", qos);
    int64_t until_us = probe_now(probe) + probe_patience(probe);
    const struct received *message = NULL;
    while (!message && probe_now(probe) < until_us)
        for (uint32_t i = 0; i < 2 && !message; i++)
            if ((message = try_message(pair.members[i], pair.topic, "message", 50 * US_PER_MS)))
                pair.chosen = i;
    need(probe, message != NULL, "the message comes to no member");
    need(probe, message->packet.publish.qos == qos, "the message comes with QoS %u", message->packet.publish.qos);
    pair.id = message->packet.publish.packet_id;
    return pair;
}

/* By a subscription of its own, so that it is not the group's message. */
static void want_not_at_other(struct conform_probe *probe, const struct pair *pair, const char *when)
{
    struct wire *other = pair->members[1 - pair->chosen];
    wire_hold_acks(other, false);
    settle(probe, pair->publisher, &other, 1);
    want(probe, wire_count_messages(other, pair->topic, "message") == 0, "the message comes to another member %s",
         when);
}

static uint32_t moments_count(void)
{
    return 2;
}

static void moments_row(uint32_t row, struct conform_row *out)
{
    snprintf(out->name, sizeof(out->name), "broken %s PUBREC", row ? "after" : "before");
}

static void same_client(struct conform_probe *probe)
{
    bool received = probe_row(probe);
    struct pair pair = deliver(probe, 2, 60);
    struct wire *chosen = pair.members[pair.chosen];
    if (received) {
        wire_ack(chosen, MQ5_PUBREC, pair.id, MQ5_SUCCESS);
        need_packet(chosen, MQ5_PUBREL, "PUBREL");
    }
    wire_end(chosen, WIRE_FIN);
    probe_wait(probe, US_PER_S / 4);
    want_not_at_other(probe, &pair, "while its own is away");
    struct wire *again = probe_resume(probe, "the same member again", &pair.logins[pair.chosen], false);
    need(probe, wire_connack(again)->session_present, "the session is gone");
    if (received) {
        want(probe, want_packet(again, MQ5_PUBREL, "PUBREL")->packet.ack.packet_id == pair.id,
             "PUBREL has another packet identifier");
    } else {
        want_message(again, pair.topic, "message");
        want_packet(again, MQ5_PUBREL, "PUBREL");
    }
    want_alive(again, "after the delivery");
    want_not_at_other(probe, &pair, "as well");
}

static void session_over(struct conform_probe *probe)
{
    struct pair pair = deliver(probe, 2, 60);
    wire_end(pair.members[pair.chosen], WIRE_FIN);
    probe_wait(probe, US_PER_S / 4);
    struct wire *again = probe_resume(probe, "the same client, another session", &pair.logins[pair.chosen], true);
    need(probe, !wire_connack(again)->session_present, "the session is not over");
    need_alive(again, "of the other session");
    want_not_at_other(probe, &pair, "when its own member's session is over");
}

static void session_expired(struct conform_probe *probe)
{
    struct pair pair = deliver(probe, 2, 1);
    wire_end(pair.members[pair.chosen], WIRE_FIN);
    probe_wait(probe, 5 * US_PER_S);
    want_not_at_other(probe, &pair, "when its own member's session has expired");
    struct wire *again = probe_resume(probe, "the same client, another session", &pair.logins[pair.chosen], false);
    need(probe, !wire_connack(again)->session_present, "the session has not expired");
}

static uint32_t refusals_count(void)
{
    return 4;
}

static void refusals_row(uint32_t row, struct conform_row *out)
{
    snprintf(out->name, sizeof(out->name), "%s 0x%02x", row < 2 ? "PUBACK" : "PUBREC", row & 1 ? 0x97 : 0x83);
}

static void refused(struct conform_probe *probe)
{
    uint32_t row = probe_row(probe);
    if (row >= 2 && !probe_has(probe, CONFORM_QOS_2))
        skip(probe, "needs QoS 2");
    struct pair pair = deliver(probe, row < 2 ? 1 : 2, 0);
    struct wire *chosen = pair.members[pair.chosen];
    wire_ack(chosen, row < 2 ? MQ5_PUBACK : MQ5_PUBREC, pair.id,
             row & 1 ? MQ5_QUOTA_EXCEEDED : MQ5_IMPLEMENTATION_SPECIFIC_ERROR);
    need_alive(chosen, "after it refused the message");
    want_not_at_other(probe, &pair, "when its own member has refused it");
    want(probe, wire_count_messages(chosen, pair.topic, "message") == 1, "the message comes again to who refused it");
}

/* What "should" be: QoS 1 goes on to another member when the session of the first is over. */
static void goes_on(struct conform_probe *probe)
{
    struct pair pair = deliver(probe, 1, 60);
    struct wire *other = pair.members[1 - pair.chosen];
    wire_hold_acks(other, false);
    wire_end(pair.members[pair.chosen], WIRE_FIN);
    struct wire *again = probe_resume(probe, "the same client, another session", &pair.logins[pair.chosen], true);
    need_alive(again, "of the other session");
    want(probe, try_message(other, pair.topic, "message", 3 * US_PER_S) != NULL,
         "the message is lost: it comes to no other member of the group");
}

CHECK_TABLE(checks_shared,
            {.id = "B-SHARE-001",
             .name = "a shared filter without a good name and a filter is refused",
             .refs = {"MQTT-4.8.2-1", "MQTT-4.8.2-2"},
             .level = CONFORM_MUST,
             .needs = CONFORM_SHARED,
             .run = names,
             .row_count = names_count,
             .row = names_row},
            {.id = "B-SHARE-002",
             .name = "No Local on a shared subscription ends the connection",
             .refs = {"MQTT-3.8.3-4"},
             .level = CONFORM_MUST,
             .needs = CONFORM_SHARED,
             .run = no_local},
            {.id = "B-SHARE-003",
             .name = "retained messages do not come to a new shared subscription",
             .refs = {"S3.8.3.1c"},
             .level = CONFORM_MUST,
             .needs = CONFORM_SHARED | CONFORM_RETAIN | CONFORM_QOS_1,
             .run = no_retained},
            {.id = "B-SHARE-004",
             .name = "each message comes to one member",
             .refs = {"S4.8.2a"},
             .level = CONFORM_MUST,
             .needs = CONFORM_SHARED | CONFORM_QOS_1,
             .run = one_member},
            {.id = "B-SHARE-005",
             .name = "each group, and who is in none, gets every message",
             .refs = {"S4.8.2a"},
             .level = CONFORM_MUST,
             .needs = CONFORM_SHARED | CONFORM_QOS_1,
             .run = several_groups},
            {.id = "B-SHARE-006",
             .name = "one share name with two filters is two subscriptions",
             .refs = {"S4.8.2a"},
             .level = CONFORM_MUST,
             .needs = CONFORM_SHARED | CONFORM_QOS_1 | CONFORM_WILDCARD,
             .run = two_filters},
            {.id = "B-SHARE-007",
             .name = "a member that leaves gets nothing more, who stays gets all",
             .refs = {"S4.8.2a", "MQTT-3.10.4-2"},
             .level = CONFORM_MUST,
             .needs = CONFORM_SHARED | CONFORM_QOS_1,
             .run = leaving},
            {.id = "B-SHARE-008",
             .name = "who is subscribed to $share/g/t and to t can leave either",
             .refs = {"S3.10.4a"},
             .level = CONFORM_MUST,
             .needs = CONFORM_SHARED | CONFORM_QOS_1,
             .run = separate,
             .row_count = separate_count,
             .row = separate_row},
            {.id = "B-SHARE-009",
             .name = "to leave t takes nothing away from $share/g/t, nor the reverse",
             .refs = {"S3.10.4a", "MQTT-3.10.4-1"},
             .level = CONFORM_MUST,
             .needs = CONFORM_SHARED | CONFORM_QOS_1,
             .run = names_left,
             .row_count = names_left_count,
             .row = names_left_row},
            {.id = "B-SHARE-010",
             .name = "each member's granted QoS is respected",
             .refs = {"MQTT-4.8.2-3"},
             .level = CONFORM_MUST,
             .needs = CONFORM_SHARED | CONFORM_QOS_1,
             .run = granted_qos,
             .row_count = pairs_count,
             .row = pairs_row},
            {.id = "B-SHARE-011",
             .name = "a broken delivery of QoS 2 is finished with the same client",
             .refs = {"MQTT-4.8.2-4"},
             .level = CONFORM_MUST,
             .needs = CONFORM_SHARED | CONFORM_QOS_2 | CONFORM_SESSION,
             .run = same_client,
             .row_count = moments_count,
             .row = moments_row},
            {.id = "B-SHARE-012",
             .name = "a message of QoS 2 goes to nobody else when its member begins another session",
             .refs = {"MQTT-4.8.2-5"},
             .level = CONFORM_MUST,
             .needs = CONFORM_SHARED | CONFORM_QOS_2 | CONFORM_SESSION,
             .run = session_over},
            {.id = "B-SHARE-013",
             .name = "a message of QoS 2 goes to nobody else when its member's session expires",
             .refs = {"MQTT-4.8.2-5"},
             .level = CONFORM_MUST,
             .needs = CONFORM_SHARED | CONFORM_QOS_2 | CONFORM_SESSION,
             .lane = CONFORM_SLOW,
             .run = session_expired},
            {.id = "B-SHARE-014",
             .name = "a message that its member refuses goes to nobody else",
             .refs = {"MQTT-4.8.2-6"},
             .level = CONFORM_MUST,
             .needs = CONFORM_SHARED | CONFORM_QOS_1,
             .run = refused,
             .row_count = refusals_count,
             .row = refusals_row},
            {.id = "B-SHARE-015",
             .name = "a message of QoS 1 goes on to another member when its own member's session is over",
             .refs = {"S4.8.2b"},
             .level = CONFORM_SHOULD,
             .needs = CONFORM_SHARED | CONFORM_QOS_1 | CONFORM_SESSION,
             .run = goes_on}, )
