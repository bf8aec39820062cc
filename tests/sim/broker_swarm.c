/* A swarm of clients does at random what clients do, against a model of what each of them is owed. For each seed:
 * at least once (QoS 1) and exactly once (QoS 2) over lost links, resumes and takeovers; order per topic and QoS; nothing that was
 * not subscribed; DUP on nothing but repeats; session present tells the truth; the latest retained message wins; a will goes
 * out exactly when it should; no shared message is lost while its group has members.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "cloud/broker.h"
#include "mqtt5/topic.h"

#define CLIENTS 10
#define FILTERS 9
#define TOPICS  7
#define OWED    4096
#define STEPS   1500
#define SEEDS   40

static const char *const topics[TOPICS] = {"a", "a/b", "a/c", "b/c", "a/b/c", "/", "$q/1"};
/* The last one is shared; clients 0 and 1 are its members for good. */
static const char *const filters[FILTERS] = {"a", "a/b", "a/+", "a/#", "+/c", "#", "+/+", "a/b/c", "$share/g/$q/#"};
#define SHARED (FILTERS - 1)

struct owed {
    uint32_t serial;
    uint8_t topic, qos, delivered;
    bool retain;
};

struct pending { /* an answer the client has not given yet */
    uint8_t type;
    uint16_t packet_id;
    uint32_t serial; /* PUBACK: finishes this one */
};

struct client;
struct link {
    struct client *client;
    struct cloud_connection *connection;
    bool open;
};

struct client {
    struct swarm *swarm;
    char id[8];
    struct link links[2], *link; /* link: the one in use, or NULL */
    enum mq5_version version;
    bool session, clean_v4;
    uint32_t expiry_s;
    int64_t expires_us, will_due_us;
    uint32_t will_serial; /* 0: none */
    uint32_t will_delay_s;
    uint8_t will_topic, will_qos;
    bool will_retain;
    struct {
        bool on, no_local, retain_as_published;
        uint8_t qos;
    } subs[FILTERS];
    struct owed owed[OWED];
    uint32_t owed_count;
    struct pending pending[OWED];
    uint32_t pending_count;
    uint32_t twice[65536]; /* serial received under this identifier and not released, QoS 2; 0: none */
    uint16_t publish_id;   /* its own QoS 2 publish that waits for PUBREL; 0: none */
    uint8_t last_ack, last_ack_reason, connack, session_present;
    bool connected_answer;
};

struct swarm {
    uint64_t random, seed;
    int step;
    int64_t now_us;
    struct cloud_broker *broker;
    struct client clients[CLIENTS];
    uint32_t serial;
    uint32_t retained[TOPICS];
    uint8_t retained_qos[TOPICS];
    uint32_t shared[STEPS * 4], shared_count; /* QoS 1 to the group */
    uint8_t shared_got[STEPS * 100];
    uint64_t deliveries, wills, resumes;
};

static uint64_t draw(struct swarm *swarm, uint64_t bound)
{
    uint64_t value = swarm->random += UINT64_C(0x9E3779B97F4A7C15);
    value = (value ^ value >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    value = (value ^ value >> 27) * UINT64_C(0x94D049BB133111EB);
    return (value ^ value >> 31) % bound;
}

#define CHECK(client, condition)                                                                                       \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            print_error("seed %llu step %d client %s: %s\n", (unsigned long long)(client)->swarm->seed,                \
                        (client)->swarm->step, (client)->id, #condition);                                              \
            fail();                                                                                                    \
        }                                                                                                              \
    } while (0)

/* --- the model --- */

static bool is_shared_topic(uint8_t topic)
{
    return topics[topic][0] == '$';
}

static void owe(struct client *client, uint32_t serial, uint8_t topic, uint8_t qos, bool retain)
{
    if (qos == 0 && !client->link)
        return;
    CHECK(client, client->owed_count < OWED);
    client->owed[client->owed_count++] = (struct owed){serial, topic, qos, 0, retain};
}

static void forget_owed(struct client *client, uint32_t at)
{
    memmove(&client->owed[at], &client->owed[at + 1], (client->owed_count - at - 1) * sizeof(*client->owed));
    client->owed_count--;
}

static void model_publish(struct swarm *swarm, const struct client *from, uint32_t serial, uint8_t topic, uint8_t qos,
                          bool retain)
{
    if (retain) {
        swarm->retained[topic] = serial;
        swarm->retained_qos[topic] = qos;
    }
    if (is_shared_topic(topic) && qos == 1) /* QoS 2 under way ends with its session (4.8.2-5) */
        swarm->shared[swarm->shared_count++] = serial;
    for (int i = 0; i < CLIENTS; i++) {
        struct client *client = &swarm->clients[i];
        int best = -1;
        bool as_published = false;
        for (int f = 0; f < SHARED && client->session; f++) {
            if (!client->subs[f].on || (client->subs[f].no_local && client == from) ||
                !mq5_topic_matches(span_text(filters[f]), span_text(topics[topic])))
                continue;
            best = client->subs[f].qos > best ? client->subs[f].qos : best;
            as_published |= client->subs[f].retain_as_published;
        }
        if (best >= 0)
            owe(client, serial, topic, (uint8_t)(best < qos ? best : qos), retain && as_published);
    }
}

static void model_will(struct client *client)
{
    uint32_t serial = client->will_serial;
    client->will_serial = 0;
    if (!serial)
        return;
    client->swarm->wills++;
    model_publish(client->swarm, client, serial, client->will_topic, client->will_qos, client->will_retain);
}

static void model_session_end(struct client *client)
{
    client->session = false;
    client->owed_count = 0;
    memset(client->subs, 0, sizeof(client->subs));
    memset(client->twice, 0, sizeof(client->twice));
    client->publish_id = 0;
    model_will(client);
}

static void model_link_lost(struct client *client)
{
    struct swarm *swarm = client->swarm;
    client->link = NULL;
    client->pending_count = 0;
    for (uint32_t i = 0; i < client->owed_count;)
        if (client->owed[i].qos == 0)
            forget_owed(client, i);
        else
            i++;
    client->expires_us = client->will_due_us = TIME_NEVER;
    if (client->expiry_s == 0) {
        model_session_end(client);
        return;
    }
    if (client->expiry_s != MQ5_SESSION_NEVER_EXPIRES)
        client->expires_us = swarm->now_us + client->expiry_s * US_PER_S;
    if (client->will_serial && client->will_delay_s)
        client->will_due_us = swarm->now_us + client->will_delay_s * US_PER_S;
    else
        model_will(client);
}

static int64_t model_due(const struct client *client)
{
    if (client->link || !client->session)
        return TIME_NEVER;
    int64_t will = client->will_serial ? client->will_due_us : TIME_NEVER;
    return will < client->expires_us ? will : client->expires_us;
}

static void model_fire(struct client *client)
{
    if (client->expires_us <= model_due(client))
        model_session_end(client);
    else
        model_will(client);
}

/* --- what the broker sends --- */

static uint32_t serial_of(const struct mq5_publish *publish)
{
    uint32_t serial = 0;
    for (uint32_t i = 0; i < publish->payload.length; i++)
        serial = serial * 10 + (uint32_t)(publish->payload.data[i] - '0');
    return serial;
}

static void answer_later(struct client *client, uint8_t type, uint16_t packet_id, uint32_t serial)
{
    CHECK(client, client->pending_count < OWED);
    client->pending[client->pending_count++] = (struct pending){type, packet_id, serial};
}

static void take_shared(struct client *client, const struct mq5_publish *publish, uint32_t serial)
{
    CHECK(client, !publish->retain);
    client->swarm->shared_got[serial] = 1;
    if (publish->qos == 1)
        answer_later(client, MQ5_PUBACK, publish->packet_id, 0);
    if (publish->qos == 2) {
        client->twice[publish->packet_id] = serial;
        answer_later(client, MQ5_PUBREC, publish->packet_id, 0);
    }
}

static void take_publish(struct client *client, const struct mq5_publish *publish)
{
    uint32_t serial = serial_of(publish), at = 0;
    uint8_t topic = 0;
    client->swarm->deliveries++;
    while (topic < TOPICS && !span_equal(publish->topic, span_text(topics[topic])))
        topic++;
    CHECK(client, topic < TOPICS);
    while (at < client->owed_count && client->owed[at].serial != serial)
        at++;
    if (is_shared_topic(topic)) {
        take_shared(client, publish, serial);
        return;
    }
    CHECK(client, at < client->owed_count);
    struct owed *owed = &client->owed[at];
    CHECK(client, owed->qos == publish->qos && owed->topic == topic);
    CHECK(client, owed->retain == publish->retain);
    CHECK(client, publish->dup == (owed->delivered > 0));
    for (uint32_t before = 0; before < at && !owed->delivered; before++)
        CHECK(client, client->owed[before].topic != topic || client->owed[before].qos != owed->qos ||
                          client->owed[before].delivered);
    if (publish->qos == 0) {
        forget_owed(client, at);
    } else if (publish->qos == 1) {
        owed->delivered = 1;
        answer_later(client, MQ5_PUBACK, publish->packet_id, serial);
    } else {
        CHECK(client, client->twice[publish->packet_id] == 0 || client->twice[publish->packet_id] == serial);
        CHECK(client, !owed->delivered || client->twice[publish->packet_id] == serial);
        owed->delivered = 1;
        client->twice[publish->packet_id] = serial;
        answer_later(client, MQ5_PUBREC, publish->packet_id, serial);
    }
}

static void send_to_client(void *context, void *handle, const uint8_t *data, size_t length)
{
    struct link *link = handle;
    struct client *client = link->client;
    struct mq5_packet packet;
    CHECK(client, link->open);
    CHECK(client,
          mq5_decode(client->version, MQ5_FROM_SERVER, data, length, &packet, NULL) == MQ5_OK || link != client->link);
    if (link != client->link)
        return; /* DISCONNECT to one whose session was taken over */
    switch (packet.type) {
    case MQ5_CONNACK:
        client->connected_answer = true;
        client->connack = packet.connack.reason;
        client->session_present = packet.connack.session_present;
        break;
    case MQ5_PUBLISH: take_publish(client, &packet.publish); break;
    case MQ5_PUBREL:
        answer_later(client, MQ5_PUBCOMP, packet.ack.packet_id, client->twice[packet.ack.packet_id]);
        break;
    default:
        client->last_ack = packet.type;
        client->last_ack_reason = packet.type == MQ5_SUBACK ? packet.suback.reasons.data[0] : packet.ack.reason;
        break;
    }
}

static void close_to_client(void *context, void *handle, enum cloud_close_reason reason)
{
    struct link *link = handle;
    CHECK(link->client, link->open);
    link->open = false;
}

static const struct cloud_broker_ops ops = {.send = send_to_client, .close = close_to_client};

/* --- what clients do --- */

static void say(struct client *client, const struct mq5_packet *packet)
{
    uint8_t bytes[512];
    size_t length;
    CHECK(client, mq5_encode(client->version, packet, bytes, sizeof(bytes), &length) == MQ5_OK);
    size_t first = draw(client->swarm, length + 1);
    struct link *link = client->link;
    if (first)
        cloud_broker_input(client->swarm->broker, link->connection, client->swarm->now_us, bytes, first);
    if (first < length && link->open)
        cloud_broker_input(client->swarm->broker, link->connection, client->swarm->now_us, bytes + first,
                           length - first);
}

static void make_will(struct client *client, struct mq5_connect *connect, char *payload)
{
    struct swarm *swarm = client->swarm;
    client->will_serial = ++swarm->serial;
    client->will_topic = (uint8_t)draw(swarm, TOPICS - 1);
    client->will_qos = (uint8_t)draw(swarm, 3);
    client->will_retain = draw(swarm, 4) == 0;
    client->will_delay_s = client->version == MQ5_V5 && draw(swarm, 2) ? (uint32_t)draw(swarm, 20) : 0;
    sprintf(payload, "%u", client->will_serial);
    connect->has_will = true;
    connect->will_topic = span_text(topics[client->will_topic]);
    connect->will_payload = span_text(payload);
    connect->will_qos = client->will_qos;
    connect->will_retain = client->will_retain;
    if (client->will_delay_s) {
        connect->will_properties.present = MQ5_BIT(MQ5_WILL_DELAY_INTERVAL);
        connect->will_properties.will_delay_s = client->will_delay_s;
    }
}

static uint32_t choose_expiry(struct client *client, bool forever)
{
    static const uint32_t choices[] = {0, 10, 60, MQ5_SESSION_NEVER_EXPIRES};
    if (forever)
        return MQ5_SESSION_NEVER_EXPIRES;
    return choices[draw(client->swarm, 4)];
}

static void do_connect(struct client *client, bool settle)
{
    struct swarm *swarm = client->swarm;
    bool permanent = client == &swarm->clients[0] || client == &swarm->clients[1] || settle;
    struct mq5_packet packet = {.type = MQ5_CONNECT};
    struct mq5_connect *connect = &packet.connect;
    char payload[16];
    if (client->link)
        model_link_lost(client); /* about to be taken over */
    connect->clean_start = !permanent && draw(swarm, 4) == 0;
    if (client->session && connect->clean_start)
        model_session_end(client);
    client->will_serial = 0; /* a delayed one is cancelled */
    bool resumed = client->session;
    client->version = draw(swarm, 3) ? MQ5_V5 : MQ5_V311;
    connect->version = (uint8_t)client->version;
    connect->client_id = span_text(client->id);
    client->expiry_s = choose_expiry(client, permanent);
    if (client->version == MQ5_V311)
        client->expiry_s = connect->clean_start ? 0 : MQ5_SESSION_NEVER_EXPIRES;
    connect->properties.present = MQ5_BIT(MQ5_SESSION_EXPIRY_INTERVAL);
    connect->properties.session_expiry_s = client->expiry_s;
    if (draw(swarm, 2)) {
        connect->properties.present |= MQ5_BIT(MQ5_RECEIVE_MAXIMUM);
        connect->properties.receive_maximum = (uint16_t)(1 + draw(swarm, 4));
    }
    if (client->version == MQ5_V311)
        connect->properties = (struct mq5_properties){0};
    if (!settle && draw(swarm, 3) == 0)
        make_will(client, connect, payload);
    client->session = true;
    client->link = client->link == &client->links[0] || client->links[0].open ? &client->links[1] : &client->links[0];
    CHECK(client, !client->link->open);
    client->link->open = true;
    client->link->connection = cloud_broker_opened(swarm->broker, swarm->now_us, client->link, NULL);
    client->connected_answer = false;
    say(client, &packet);
    CHECK(client, client->connected_answer && client->connack == 0);
    CHECK(client, client->session_present == resumed);
    swarm->resumes += resumed;
}

static void do_leave(struct client *client)
{
    struct swarm *swarm = client->swarm;
    struct link *link = client->link;
    struct mq5_packet packet = {.type = MQ5_DISCONNECT};
    uint64_t how = draw(swarm, 3);
    if (how == 0) { /* lost */
        link->open = false;
        model_link_lost(client);
        cloud_broker_closed(swarm->broker, link->connection, swarm->now_us);
        return;
    }
    if (how == 1)
        client->will_serial = 0;
    else if (client->version == MQ5_V5)
        packet.disconnect.reason = MQ5_DISCONNECT_WITH_WILL;
    else
        client->will_serial = 0;
    /* The model goes first: what its will makes the broker send may come at once. */
    struct link *leaving = client->link;
    uint8_t bytes[16];
    size_t length;
    CHECK(client, mq5_encode(client->version, &packet, bytes, sizeof(bytes), &length) == MQ5_OK);
    model_link_lost(client);
    cloud_broker_input(swarm->broker, leaving->connection, swarm->now_us, bytes, length);
    CHECK(client, !leaving->open);
}

static void expect_retained(struct client *client, int filter, uint8_t qos)
{
    struct swarm *swarm = client->swarm;
    for (uint8_t topic = 0; topic < TOPICS; topic++)
        if (swarm->retained[topic] && mq5_topic_matches(span_text(filters[filter]), span_text(topics[topic])))
            owe(client, swarm->retained[topic], topic,
                swarm->retained_qos[topic] < qos ? swarm->retained_qos[topic] : qos, true);
}

static void do_subscribe(struct client *client)
{
    struct swarm *swarm = client->swarm;
    int filter = (int)draw(swarm, FILTERS);
    struct mq5_subscription subscription = {.filter = span_text(filters[filter]), .qos = (uint8_t)draw(swarm, 3)};
    if (filter == SHARED && subscription.qos == 0)
        subscription.qos = 1;
    if (client->version == MQ5_V5) {
        subscription.no_local = filter != SHARED && draw(swarm, 4) == 0;
        subscription.retain_as_published = draw(swarm, 2);
        subscription.retain_handling = draw(swarm, 3) ? MQ5_RETAIN_DO_NOT_SEND : MQ5_RETAIN_SEND;
    }
    /* Two copies of a message under one serial cannot be told apart: retained ones only where nothing else is owed. */
    if (client->owed_count && subscription.retain_handling == MQ5_RETAIN_SEND && filter != SHARED)
        return;
    struct mq5_packet packet = {.type = MQ5_SUBSCRIBE};
    packet.subscribe = (struct mq5_subscribe){.packet_id = 1, .list = &subscription, .count = 1};
    client->subs[filter].on = true;
    client->subs[filter].qos = subscription.qos;
    client->subs[filter].no_local = subscription.no_local;
    client->subs[filter].retain_as_published = subscription.retain_as_published;
    if (filter != SHARED && subscription.retain_handling == MQ5_RETAIN_SEND)
        expect_retained(client, filter, subscription.qos);
    say(client, &packet);
    CHECK(client, client->last_ack == MQ5_SUBACK && client->last_ack_reason == subscription.qos);
}

static void do_unsubscribe(struct client *client)
{
    struct swarm *swarm = client->swarm;
    int filter = (int)draw(swarm, FILTERS);
    struct mq5_subscription subscription = {.filter = span_text(filters[filter])};
    struct mq5_packet packet = {.type = MQ5_UNSUBSCRIBE};
    if (filter == SHARED && client < &swarm->clients[2])
        return;
    packet.subscribe = (struct mq5_subscribe){.packet_id = 2, .list = &subscription, .count = 1};
    client->subs[filter].on = false;
    say(client, &packet);
}

static void publish_packet(struct client *client, uint32_t serial, uint8_t topic, uint8_t qos, bool retain, bool dup,
                           uint16_t id)
{
    char payload[16];
    struct mq5_packet packet = {.type = MQ5_PUBLISH};
    sprintf(payload, "%u", serial);
    packet.publish = (struct mq5_publish){.qos = qos,
                                          .retain = retain,
                                          .dup = dup,
                                          .packet_id = id,
                                          .topic = span_text(topics[topic]),
                                          .payload = span_text(payload)};
    say(client, &packet);
}

static void do_publish(struct client *client)
{
    struct swarm *swarm = client->swarm;
    uint8_t topic = (uint8_t)draw(swarm, TOPICS), qos = (uint8_t)draw(swarm, 3);
    bool retain = draw(swarm, 6) == 0 && !is_shared_topic(topic);
    uint32_t serial = ++swarm->serial;
    if (qos == 2 && client->publish_id)
        qos = 1;
    model_publish(swarm, client, serial, topic, qos, retain);
    uint16_t id = qos ? (uint16_t)(qos == 2 ? 7 : 1 + draw(swarm, 5)) : 0;
    publish_packet(client, serial, topic, qos, retain, false, id);
    if (qos == 1)
        CHECK(client, client->last_ack == MQ5_PUBACK);
    if (qos != 2)
        return;
    CHECK(client, client->last_ack == MQ5_PUBREC);
    client->publish_id = id;
    for (uint64_t again = draw(swarm, 3); again; again--) /* as after a lost answer: no second delivery */
        publish_packet(client, serial, topic, qos, retain, true, id);
}

static void do_release(struct client *client)
{
    struct mq5_packet packet = {.type = MQ5_PUBREL};
    if (!client->publish_id)
        return;
    packet.ack.packet_id = client->publish_id;
    client->publish_id = 0;
    say(client, &packet);
    CHECK(client, client->last_ack == MQ5_PUBCOMP && client->last_ack_reason == 0);
}

static void finish_owed(struct client *client, uint32_t serial)
{
    for (uint32_t at = 0; serial && at < client->owed_count; at++) {
        if (client->owed[at].serial == serial && client->owed[at].qos && client->owed[at].delivered) {
            forget_owed(client, at);
            return;
        }
    }
}

static void do_answer(struct client *client)
{
    struct swarm *swarm = client->swarm;
    if (!client->pending_count)
        return;
    uint32_t at = draw(swarm, 2) ? 0 : (uint32_t)draw(swarm, client->pending_count); /* not always in order */
    struct pending pending = client->pending[at];
    memmove(&client->pending[at], &client->pending[at + 1], (client->pending_count - at - 1) * sizeof(pending));
    client->pending_count--;
    struct mq5_packet packet = {.type = pending.type};
    packet.ack.packet_id = pending.packet_id;
    if (pending.type == MQ5_PUBACK)
        finish_owed(client, pending.serial);
    if (pending.type == MQ5_PUBCOMP) {
        finish_owed(client, client->twice[pending.packet_id]);
        client->twice[pending.packet_id] = 0;
    }
    say(client, &packet);
}

static void pass_time(struct swarm *swarm, int64_t us)
{
    int64_t until = swarm->now_us + us;
    for (;;) {
        int64_t deadline = cloud_broker_next_deadline(swarm->broker);
        struct client *first = NULL;
        for (int i = 0; i < CLIENTS; i++)
            if (model_due(&swarm->clients[i]) <= until && (!first || model_due(&swarm->clients[i]) < model_due(first)))
                first = &swarm->clients[i];
        int64_t due = first ? model_due(first) : TIME_NEVER;
        if (due > until && deadline > until)
            break;
        swarm->now_us = due < deadline ? due : deadline;
        if (first && due <= swarm->now_us)
            model_fire(first);
        cloud_broker_tick(swarm->broker, swarm->now_us);
    }
    swarm->now_us = until;
}

/* QoS 0 is there at once or never. */
static void check_nothing_late(struct swarm *swarm)
{
    for (int i = 0; i < CLIENTS; i++)
        for (uint32_t at = 0; at < swarm->clients[i].owed_count; at++)
            CHECK(&swarm->clients[i], swarm->clients[i].owed[at].qos > 0);
}

static void do_something(struct swarm *swarm)
{
    struct client *client = &swarm->clients[draw(swarm, CLIENTS)];
    uint64_t what = draw(swarm, 100);
    if (!client->link) {
        if (what < 40)
            do_connect(client, false);
    } else if (what < 45) {
        do_publish(client);
    } else if (what < 70) {
        do_answer(client);
    } else if (what < 80) {
        do_subscribe(client);
    } else if (what < 84) {
        do_unsubscribe(client);
    } else if (what < 92) {
        do_release(client);
    } else if (what < 98) {
        do_leave(client);
    } else {
        do_connect(client, false);
    }
    if (what % 10 == 0)
        pass_time(swarm, (int64_t)draw(swarm, 30 * US_PER_S) + 1);
    else
        pass_time(swarm, 1 + (int64_t)draw(swarm, 1000));
    check_nothing_late(swarm);
}

static void settle(struct swarm *swarm)
{
    for (int i = 0; i < CLIENTS; i++)
        if (!swarm->clients[i].link)
            do_connect(&swarm->clients[i], true);
    for (bool busy = true; busy;) {
        busy = false;
        for (int i = 0; i < CLIENTS; i++) {
            busy |= swarm->clients[i].pending_count > 0;
            do_answer(&swarm->clients[i]);
        }
    }
    for (int i = 0; i < CLIENTS; i++)
        CHECK(&swarm->clients[i], swarm->clients[i].owed_count == 0);
    for (uint32_t i = 0; i < swarm->shared_count; i++)
        if (!swarm->shared_got[swarm->shared[i]]) {
            print_error("seed %llu: shared message %u lost\n", (unsigned long long)swarm->seed, swarm->shared[i]);
            fail();
        }
}

/* Somebody new sees exactly the retained messages of the model. */
static void check_retained(struct swarm *swarm)
{
    struct client *client = &swarm->clients[2];
    memset(client->subs, 0, sizeof(client->subs));
    snprintf(client->id, sizeof(client->id), "new");
    client->link = NULL;
    client->session = false;
    client->links[0].open = false;
    client->links[1].open = false;
    do_connect(client, true);
    client->subs[5].on = true;
    expect_retained(client, 5, 2);
    struct mq5_subscription subscription = {.filter = SPAN_LITERAL("#"), .qos = 2};
    struct mq5_packet packet = {.type = MQ5_SUBSCRIBE};
    packet.subscribe = (struct mq5_subscribe){.packet_id = 1, .list = &subscription, .count = 1};
    say(client, &packet);
    while (client->pending_count)
        do_answer(client);
    CHECK(client, client->owed_count == 0);
}

static uint64_t run(uint64_t seed)
{
    struct swarm *swarm = calloc(1, sizeof(*swarm));
    struct cloud_broker_options options;
    cloud_broker_defaults(&options);
    options.dollar_topics_reserved =
        false; /* the shared topic begins with '$', so that no leading wildcard brings a second copy */
    swarm->seed = seed;
    swarm->random = seed * 977;
    swarm->broker = cloud_broker_create(&options, &ops, swarm, seed);
    for (int i = 0; i < CLIENTS; i++) {
        struct client *client = &swarm->clients[i];
        *client = (struct client){.swarm = swarm, .expires_us = TIME_NEVER};
        snprintf(client->id, sizeof(client->id), "c%c", (char)('0' + i));
        client->links[0].client = client->links[1].client = client;
    }
    for (int i = 0; i < 2; i++) {
        struct client *client = &swarm->clients[i];
        struct mq5_subscription subscription = {.filter = span_text(filters[SHARED]), .qos = 2};
        struct mq5_packet packet = {.type = MQ5_SUBSCRIBE};
        packet.subscribe = (struct mq5_subscribe){.packet_id = 1, .list = &subscription, .count = 1};
        do_connect(client, false);
        client->subs[SHARED].on = true;
        say(client, &packet);
    }
    for (swarm->step = 0; swarm->step < STEPS; swarm->step++)
        do_something(swarm);
    settle(swarm);
    check_retained(swarm);
    assert_true(swarm->deliveries > 300 && swarm->wills > 0 && swarm->resumes > 10); /* the seed did something */
    uint64_t hash = cloud_broker_state_hash(swarm->broker) ^ swarm->deliveries << 40;
    cloud_broker_destroy(swarm->broker);
    free(swarm);
    return hash;
}

static void every_seed_keeps_the_promises(void **state)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++)
        run(seed);
}

static void a_seed_is_repeatable(void **state)
{
    assert_true(run(3) == run(3));
    assert_true(run(3) != run(4));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_seed_keeps_the_promises),
                                       cmocka_unit_test(a_seed_is_repeatable)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
