/* checks_retain.c: RETAIN (3.3.1.3): what is kept, what replaces it and removes it, who is given it, and what becomes of the flag. */
#include "check.h"
#include "tables.h"

#include <stdio.h>

#define ROWS(list) ((uint32_t)(sizeof(list) / sizeof((list)[0])))

static bool says(const struct received *received, const char *payload)
{
    return received && span_equal(received->packet.publish.payload, span_text(payload));
}

static const char *said(struct conform_probe *probe, const struct received *received)
{
    if (!received)
        return "nothing";
    struct span payload = received->packet.publish.payload;
    return probe_text(probe, "\"%.*s\"", (int)payload.length, (const char *)payload.data);
}

static bool says_no_retain(const struct conform_broker *broker)
{
    return broker->told.present & MQ5_BIT(MQ5_RETAIN_AVAILABLE) && broker->told.retain_available == 0;
}

/* ---- kept, replaced, removed -------------------------------------------------------------------------------------------------- */

/* A message is kept, its publisher goes, and new clients subscribe; NULL: none of them is given it. Needs nothing of what was found out before: a
 * broker that keeps no messages and does not say so fails here. */
static const struct received *given_later(struct conform_probe *probe)
{
    if (says_no_retain(probe_broker(probe)))
        skip(probe, "CONNACK: Retain Available 0");
    const char *topic = probe_topic(probe, "kept");
    struct wire *publisher = probe_connect(probe, "publisher");
    wire_publish_retained(publisher, topic, "kept", 1);
    wire_disconnect(publisher, MQ5_SUCCESS);
    const struct received *received = NULL;
    for (int i = 0; i < 3 && !received; i++) {
        struct wire *wire = probe_connect(probe, "late subscriber");
        struct mq5_subscription list = subscription(topic, 1);
        need_granted(wire, wire_subscribe_with(wire, &list, 1, 0), 1);
        received = try_message(wire, topic, "kept", 3 * US_PER_S);
    }
    return received;
}

static void kept(struct conform_probe *probe)
{
    want(probe, given_later(probe) != NULL, "a new subscriber is not given the retained message");
}

static void given(struct conform_probe *probe)
{
    const struct received *received = given_later(probe);
    want(probe, received != NULL, "a new subscription with Retain Handling 0 is not given the retained message");
    want(probe, received->packet.publish.retain, "the retained message comes with RETAIN 0");
}

static void kept_at_qos_0(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "kept");
    struct wire *publisher = probe_connect(probe, "publisher");
    wire_publish_retained(publisher, topic, "kept", 0);
    need_alive(publisher, "after the message");
    want(probe, says(probe_kept(probe, topic, "kept"), "kept"), "a retained message of QoS 0 is not kept");
}

static void replaced(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "kept");
    struct wire *publisher = probe_connect(probe, "publisher");
    wire_publish_retained(publisher, topic, "old", 1);
    wire_publish_retained(publisher, topic, "new", 1);
    const struct received *received = probe_kept(probe, topic, "new");
    want(probe, says(received, "new"), "a new subscriber is given %s", said(probe, received));
}

static void replaced_by_another(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "kept");
    wire_publish_retained(probe_connect(probe, "one"), topic, "old", 1);
    wire_publish_retained(probe_connect(probe, "other"), topic, "new", 1);
    const struct received *received = probe_kept(probe, topic, "new");
    want(probe, says(received, "new"), "a new subscriber is given %s", said(probe, received));
}

static void replaced_whole(struct conform_probe *probe)
{
    static const struct mq5_user_property users[] = {{SPAN_LITERAL("age"), SPAN_LITERAL("old")}};
    const char *topic = probe_topic(probe, "kept");
    struct wire *publisher = probe_connect(probe, "publisher");
    struct mq5_publish old = message(topic, "old", 1);
    old.retain = true;
    SET_PROPERTY(old.properties, message_expiry_s, MQ5_MESSAGE_EXPIRY_INTERVAL, 60);
    SET_PROPERTY(old.properties, content_type, MQ5_CONTENT_TYPE, span_text("old"));
    SET_PROPERTY(old.properties, user, MQ5_USER_PROPERTY, users);
    old.properties.user_count = ROWS(users);
    need(probe, wire_publish_packet(publisher, &old) < 0x80, "the message was refused");
    wire_publish_retained(publisher, topic, "new", 1);
    const struct received *received = probe_kept(probe, topic, "new");
    want(probe, says(received, "new"), "a new subscriber is given %s", said(probe, received));
    uint64_t left = received->packet.publish.properties.present;
    want(probe, !(left & (MQ5_BIT(MQ5_CONTENT_TYPE) | MQ5_BIT(MQ5_USER_PROPERTY))),
         "the new message comes with properties of the old one");
}

static void replaced_at_qos_0(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "kept");
    struct wire *publisher = probe_connect(probe, "publisher");
    wire_publish_retained(publisher, topic, "old", 1);
    wire_publish_retained(publisher, topic, "new", 0);
    need_alive(publisher, "after the message");
    const struct received *received = probe_kept(probe, topic, "new");
    want(probe, !received || says(received, "new"), "a new subscriber is given %s", said(probe, received));
    should(probe, "stored", "S3.3.1.3a", received != NULL, "the new message of QoS 0 is not kept");
}

static const char *const removals[] = {"QoS 1", "QoS 0", "QoS 1, with properties", "QoS 1, by another client"};

static uint32_t removal_count(void)
{
    return ROWS(removals);
}

static void removal_row(uint32_t row, struct conform_row *out)
{
    snprintf(out->name, sizeof(out->name), "removed by an empty message, %s", removals[row]);
}

static void removed(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "kept");
    uint32_t row = probe_row(probe);
    struct wire *publisher = probe_connect(probe, "publisher");
    wire_publish_retained(publisher, topic, "kept", 1);
    need(probe, says(probe_kept(probe, topic, "kept"), "kept"), "the message is not kept");
    struct mq5_publish publish = message(topic, "", row == 1 ? 0 : 1);
    publish.retain = true;
    if (row == 2) {
        SET_PROPERTY(publish.properties, content_type, MQ5_CONTENT_TYPE, span_text("nothing"));
        SET_PROPERTY(publish.properties, message_expiry_s, MQ5_MESSAGE_EXPIRY_INTERVAL, 60);
    }
    struct wire *remover = row == 3 ? probe_connect(probe, "remover") : publisher;
    need(probe, wire_publish_packet(remover, &publish) < 0x80, "the empty message was refused");
    need_alive(remover, "after the empty message");
    const struct received *received = probe_kept(probe, topic, NULL);
    want(probe, !received, "a new subscriber is given %s", said(probe, received));
}

static void removal_passed_on(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "kept");
    struct wire *wire = probe_connect(probe, "subscriber"), *publisher = probe_connect(probe, "publisher");
    wire_subscribe(wire, topic, 1);
    wire_publish_retained(publisher, topic, "kept", 1);
    need_message(wire, topic, "kept");
    wire_publish_retained(publisher, topic, "", 1);
    const struct received *received = want_message(wire, topic, "");
    want(probe, received->packet.publish.qos == 1, "it comes with QoS %u", received->packet.publish.qos);
}

static void empty_not_kept(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "kept");
    wire_publish_retained(probe_connect(probe, "publisher"), topic, "", 1);
    const struct received *received = probe_kept(probe, topic, NULL);
    want(probe, !received, "a new subscriber is given %s, where nothing but an empty message was sent",
         said(probe, received));
}

/* ---- RETAIN 0 leaves everything as it is -------------------------------------------------------------------------------------------- */

static const struct {
    const char *name, *before, *sent;
} passing[] = {
    {"RETAIN 0 where nothing is kept", NULL, "passing"},
    {"RETAIN 0 where something is kept", "kept", "passing"},
    {"RETAIN 0 and empty, where something is kept", "kept", ""},
};

static uint32_t passing_count(void)
{
    return ROWS(passing);
}

static void passing_row(uint32_t row, struct conform_row *out)
{
    snprintf(out->name, sizeof(out->name), "%s", passing[row].name);
}

static void passing_by(struct conform_probe *probe)
{
    uint32_t row = probe_row(probe);
    const char *topic = probe_topic(probe, "kept"), *before = passing[row].before;
    struct wire *publisher = probe_connect(probe, "publisher");
    if (before)
        wire_publish_retained(publisher, topic, before, 1);
    wire_publish(publisher, topic, passing[row].sent, 1);
    const struct received *received = probe_kept(probe, topic, before);
    want(probe, before ? says(received, before) : !received, "a new subscriber is given %s", said(probe, received));
}

/* ---- Retain Handling ------------------------------------------------------------------------------------------------------------------- */

enum standing { NEW, EXISTING, OTHER_QOS, UNSUBSCRIBED, RESUMED, THROWN_AWAY };
static const struct {
    const char *name, *ref;
    uint8_t handling;
    enum standing standing;
    bool sent;
} handlings[] = {
    {"0, a new subscription", "MQTT-3.3.1-9", 0, NEW, true},
    {"0, the subscription exists", "MQTT-3.3.1-9", 0, EXISTING, true},
    {"0, the subscription exists in a resumed session", "MQTT-3.3.1-9", 0, RESUMED, true},
    {"1, a new subscription", "MQTT-3.3.1-10", 1, NEW, true},
    {"1, the subscription exists", "MQTT-3.3.1-10", 1, EXISTING, false},
    {"1, the subscription exists with another QoS", "MQTT-3.3.1-10", 1, OTHER_QOS, false},
    {"1, the subscription was ended", "MQTT-3.3.1-10", 1, UNSUBSCRIBED, true},
    {"1, the subscription exists in a resumed session", "MQTT-3.3.1-10", 1, RESUMED, false},
    {"1, the session with the subscription was thrown away", "MQTT-3.3.1-10", 1, THROWN_AWAY, true},
    {"2, a new subscription", "MQTT-3.3.1-11", 2, NEW, false},
    {"2, the subscription exists", "MQTT-3.3.1-11", 2, EXISTING, false},
    {"2, the subscription was ended", "MQTT-3.3.1-11", 2, UNSUBSCRIBED, false},
};

static uint32_t handling_count(void)
{
    return ROWS(handlings);
}

static void handling_row(uint32_t row, struct conform_row *out)
{
    snprintf(out->name, sizeof(out->name), "Retain Handling %s", handlings[row].name);
    out->ref = handlings[row].ref;
}

/* The second filter is a control, a new one each time: its retained message comes, and after what the first filter brings. */
static void subscribe_handling(struct conform_probe *probe, struct wire *wire, const char *topic, uint8_t handling,
                               uint8_t qos, const char *control)
{
    struct mq5_subscription list[] = {subscription(topic, qos), subscription(control, 1)};
    list[0].retain_handling = handling;
    need_granted(wire, wire_subscribe_with(wire, list, 2, 0), 2);
    need_message(wire, control, "control");
    probe_settle(probe);
}

/* Keeps a message and waits until it is there for new subscribers. */
static const char *keep(struct conform_probe *probe, struct wire *publisher, const char *topic, const char *payload)
{
    wire_publish_retained(publisher, topic, payload, 1);
    need(probe, says(probe_kept(probe, topic, payload), payload), "the message is not kept");
    return topic;
}

static void handling(struct conform_probe *probe)
{
    uint32_t row = probe_row(probe);
    enum standing standing = handlings[row].standing;
    if ((standing == RESUMED || standing == THROWN_AWAY) && !probe_has(probe, CONFORM_SESSION))
        skip(probe, "needs sessions that outlive their connection");
    struct wire *publisher = probe_connect(probe, "publisher");
    const char *topic = keep(probe, publisher, probe_topic(probe, "kept"), "kept");
    const char *first = keep(probe, publisher, probe_topic(probe, "control/1"), "control");
    const char *second = keep(probe, publisher, probe_topic(probe, "control/2"), "control");
    struct mq5_connect login = probe_login(probe, 50);
    if (standing == RESUMED || standing == THROWN_AWAY)
        set_session_expiry(&login, 60);
    struct wire *wire = probe_connect_as(probe, "subscriber", &login);
    if (standing != NEW) {
        subscribe_handling(probe, wire, topic, MQ5_RETAIN_SEND, 1, first);
        need_message(wire, topic, "kept");
    }
    if (standing == UNSUBSCRIBED)
        wire_unsubscribe(wire, topic);
    if (standing == RESUMED || standing == THROWN_AWAY) {
        wire_disconnect(wire, MQ5_SUCCESS);
        wire = standing == RESUMED ? probe_return(probe, &login) : probe_resume(probe, "anew", &login, true);
    }
    uint32_t before = wire_count_messages(wire, topic, "kept");
    subscribe_handling(probe, wire, topic, handlings[row].handling, standing == OTHER_QOS ? 0 : 1, second);
    if (handlings[row].sent)
        want_message(wire, topic, "kept");
    else
        want(probe, wire_count_messages(wire, topic, "kept") == before, "the retained message is sent");
}

static void handling_each(struct conform_probe *probe)
{
    const char *names[] = {"send", "leave", "send-if-new"};
    const char *control = probe_topic(probe, "control");
    struct wire *publisher = probe_connect(probe, "publisher"), *wire = probe_connect(probe, "subscriber");
    struct mq5_subscription list[4];
    for (int i = 0; i < 3; i++) {
        list[i] = subscription(keep(probe, publisher, probe_topic(probe, "%s", names[i]), names[i]), 1);
    }
    list[1].retain_handling = MQ5_RETAIN_DO_NOT_SEND;
    list[2].retain_handling = MQ5_RETAIN_SEND_IF_NEW;
    list[3] = subscription(control, 1);
    keep(probe, publisher, control, "control");
    need_granted(wire, wire_subscribe_with(wire, list, 4, 0), 4);
    need_message(wire, control, "control");
    want_message(wire, probe_topic(probe, "send"), "send");
    want_message(wire, probe_topic(probe, "send-if-new"), "send-if-new");
    probe_settle(probe);
    want(probe, wire_count_messages(wire, NULL, "leave") == 0, "Retain Handling 2 beside others: the message is sent");
}

static void all_matching(struct conform_probe *probe)
{
    struct wire *publisher = probe_connect(probe, "publisher");
    const char *const names[] = {"a/kept", "b/kept", "kept/kept", "/kept", "A/kept"};
    const char *const others[] = {"a/other", "a/b/kept", "kept"};
    for (uint32_t i = 0; i < ROWS(names); i++)
        wire_publish_retained(publisher, probe_topic(probe, "%s", names[i]), names[i], 1);
    for (uint32_t i = 0; i < ROWS(others); i++)
        wire_publish_retained(publisher, probe_topic(probe, "%s", others[i]), "other", 1);
    const char *last = probe_topic(probe, "%s", others[ROWS(others) - 1]);
    need(probe, says(probe_kept(probe, last, "other"), "other"), "the last message is not kept");
    struct wire *wire = probe_connect(probe, "late subscriber");
    struct mq5_subscription list = subscription(probe_topic(probe, "+/kept"), 1);
    need_granted(wire, wire_subscribe_with(wire, &list, 1, 0), 1);
    for (uint32_t i = 0; i < ROWS(names); i++) {
        const struct received *received = want_message(wire, probe_topic(probe, "%s", names[i]), names[i]);
        want(probe, received->packet.publish.retain, "what is kept under .../%s comes with RETAIN 0", names[i]);
    }
    probe_settle(probe);
    want(probe, wire_count_messages(wire, NULL, "other") == 0,
         "a retained message comes that the filter does not match");
}

/* ---- Retain As Published ------------------------------------------------------------------------------------------------------------------- */

enum flag_way { FLAG_LIVE, FLAG_QUEUED, FLAG_RESUMED };
static const struct {
    const char *name;
    uint8_t qos;
    enum flag_way way;
} flag_ways[] = {{"at QoS 0", 0, FLAG_LIVE},
                 {"at QoS 1", 1, FLAG_LIVE},
                 {"at QoS 2", 2, FLAG_LIVE},
                 {"from the queue of a client that was away", 1, FLAG_QUEUED},
                 {"after the session was resumed", 1, FLAG_RESUMED}};

static uint32_t flag_count(void)
{
    return ROWS(flag_ways) * 4;
}

static void flag_row(uint32_t row, struct conform_row *out)
{
    snprintf(out->name, sizeof(out->name), "Retain As Published %u, RETAIN %u, %s", row / 2 % 2, row % 2,
             flag_ways[row / 4].name);
    out->ref = row / 2 % 2 ? "MQTT-3.3.1-13" : "MQTT-3.3.1-12";
}

static void flag(struct conform_probe *probe)
{
    uint32_t row = probe_row(probe);
    uint8_t qos = flag_ways[row / 4].qos;
    enum flag_way way = flag_ways[row / 4].way;
    bool as_published = row / 2 % 2, retain = row % 2;
    if (qos == 2 && !probe_has(probe, CONFORM_QOS_2))
        skip(probe, "needs QoS 2");
    if (way != FLAG_LIVE && !probe_has(probe, CONFORM_SESSION))
        skip(probe, "needs sessions that outlive their connection");
    const char *topic = probe_topic(probe, "flag");
    struct mq5_subscription list = subscription(topic, qos);
    list.retain_as_published = as_published;
    struct wire *wire = NULL, *publisher = probe_connect(probe, "publisher");
    struct mq5_connect login;
    if (way != FLAG_LIVE) {
        login = probe_away(probe, 50, &list, 1, 0);
    } else {
        wire = probe_connect(probe, "subscriber");
        need_granted(wire, wire_subscribe_with(wire, &list, 1, 0), 1);
        wire_warm_up(wire, topic);
    }
    if (way == FLAG_RESUMED)
        wire = probe_return(probe, &login);
    if (retain)
        wire_publish_retained(publisher, topic, "flagged", qos);
    else
        wire_publish(publisher, topic, "flagged", qos);
    if (way == FLAG_QUEUED)
        wire = probe_return(probe, &login);
    const struct received *received = need_message(wire, topic, "flagged");
    want(probe, received->packet.publish.retain == (as_published && retain), "it comes with RETAIN %d",
         received->packet.publish.retain);
}

CHECK_TABLE(checks_retain,
            {.id = "B-PUB-301",
             .name = "a message with RETAIN 1 is kept",
             .refs = {"MQTT-3.3.1-5"},
             .level = CONFORM_MUST,
             .needs = CONFORM_QOS_1,
             .run = kept},
            {.id = "B-PUB-302",
             .name = "a retained message of QoS 0 is kept, too",
             .refs = {"S3.3.1.3a"},
             .level = CONFORM_SHOULD,
             .needs = CONFORM_RETAIN | CONFORM_QOS_1,
             .run = kept_at_qos_0},
            {.id = "B-PUB-303",
             .name = "a retained message takes the place of the one before",
             .refs = {"MQTT-3.3.1-5"},
             .level = CONFORM_MUST,
             .needs = CONFORM_RETAIN | CONFORM_QOS_1,
             .run = replaced},
            {.id = "B-PUB-304",
             .name = "a retained message takes the place of another client's",
             .refs = {"MQTT-3.3.1-5"},
             .level = CONFORM_MUST,
             .needs = CONFORM_RETAIN | CONFORM_QOS_1,
             .run = replaced_by_another},
            {.id = "B-PUB-305",
             .name = "nothing of the replaced message is left, its properties neither",
             .refs = {"MQTT-3.3.1-5"},
             .level = CONFORM_MUST,
             .needs = CONFORM_RETAIN | CONFORM_QOS_1,
             .run = replaced_whole},
            {.id = "B-PUB-306",
             .name = "a retained message of QoS 0 ends the one before, kept or not",
             .refs = {"MQTT-3.3.1-5"},
             .level = CONFORM_MUST,
             .needs = CONFORM_RETAIN | CONFORM_QOS_1,
             .run = replaced_at_qos_0},
            {.id = "B-PUB-307",
             .name = "an empty message with RETAIN 1 removes what is kept",
             .refs = {"MQTT-3.3.1-6", "MQTT-3.3.1-7"},
             .level = CONFORM_MUST,
             .needs = CONFORM_RETAIN | CONFORM_QOS_1,
             .run = removed,
             .row_count = removal_count,
             .row = removal_row},
            {.id = "B-PUB-308",
             .name = "the empty message that removes is passed on like any other",
             .refs = {"MQTT-3.3.1-6"},
             .level = CONFORM_MUST,
             .needs = CONFORM_RETAIN | CONFORM_QOS_1,
             .run = removal_passed_on},
            {.id = "B-PUB-309",
             .name = "an empty message is not kept",
             .refs = {"MQTT-3.3.1-7"},
             .level = CONFORM_MUST,
             .needs = CONFORM_RETAIN | CONFORM_QOS_1,
             .run = empty_not_kept},
            {.id = "B-PUB-310",
             .name = "a message with RETAIN 0 neither keeps, replaces nor removes",
             .refs = {"MQTT-3.3.1-8"},
             .level = CONFORM_MUST,
             .needs = CONFORM_RETAIN | CONFORM_QOS_1,
             .run = passing_by,
             .row_count = passing_count,
             .row = passing_row},
            {.id = "B-PUB-311",
             .name = "Retain Handling says who is given what is kept",
             .refs = {"MQTT-3.3.1-9", "MQTT-3.3.1-10", "MQTT-3.3.1-11"},
             .level = CONFORM_MUST,
             .needs = CONFORM_RETAIN | CONFORM_QOS_1,
             .run = handling,
             .row_count = handling_count,
             .row = handling_row},
            {.id = "B-PUB-312",
             .name = "each filter of a SUBSCRIBE has its own Retain Handling",
             .refs = {"MQTT-3.3.1-11", "MQTT-3.3.1-9", "MQTT-3.3.1-10"},
             .level = CONFORM_MUST,
             .needs = CONFORM_RETAIN | CONFORM_QOS_1,
             .run = handling_each},
            {.id = "B-PUB-313",
             .name = "a filter with a wildcard brings everything that is kept under matching topics",
             .refs = {"MQTT-3.3.1-9"},
             .level = CONFORM_MUST,
             .needs = CONFORM_RETAIN | CONFORM_QOS_1 | CONFORM_WILDCARD,
             .run = all_matching},
            {.id = "B-PUB-314",
             .name = "RETAIN is passed on as Retain As Published says",
             .refs = {"MQTT-3.3.1-12", "MQTT-3.3.1-13"},
             .level = CONFORM_MUST,
             .needs = CONFORM_RETAIN | CONFORM_QOS_1,
             .run = flag,
             .row_count = flag_count,
             .row = flag_row},
            {.id = "B-PUB-315",
             .name = "a new subscription is given what is kept, with RETAIN 1",
             .refs = {"MQTT-3.3.1-9"},
             .level = CONFORM_MUST,
             .needs = CONFORM_QOS_1,
             .run = given}, )
