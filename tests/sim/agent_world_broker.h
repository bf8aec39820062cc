/* agent_world_broker.h: of agent_world.h, which is what tests include: the world's state, what happens when in it, and the broker. */
#ifndef AGENT_WORLD_BROKER_H
#define AGENT_WORLD_BROKER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "vehicle/agent.h"

#define WORLD_NUMBERS  8192
#define WORLD_COMMANDS 512
#define WORLD_PENDING  64

enum world_event_kind {
    WORLD_LINK_UP,
    WORLD_LINK_DOWN,
    WORLD_TO_BROKER,
    WORLD_TO_VEHICLE,
    WORLD_BROKER_CLOSE,
    WORLD_CSR,
    WORLD_HTTP,
    WORLD_EXECUTED
};

struct world_event {
    int64_t at_us;
    uint64_t sequence;
    enum world_event_kind kind;
    uint32_t link; /* generation; a link that is gone delivers nothing */
    uint32_t life; /* power cycles; another life's answers are not delivered */
    int value;
    uint8_t *data;
    size_t length;
};

struct world_command {
    uint32_t number;
    uint16_t packet_id;
    bool used, sent, expired, retained, without_id;
    const char *response_topic; /* NULL: none */
};

struct world_probes {
    unsigned count[TCU_PROBES], steps[TCU_STEPS];
    uint8_t last_reason;
    uint32_t last_number[TCU_PROBES];
    uint8_t reason[TCU_PROBES];
};

/* A cloud with jobs and provisioning behind the broker (agent_cloud.h); all NULL: there is none. */
struct world;
enum world_door { WORLD_ADMIT, WORLD_REFUSE, WORLD_CLOSE, WORLD_TLS_FAILS };
struct world_cloud {
    enum world_door (*door)(struct world *w, bool handshake);          /* asked in the handshake and at CONNECT */
    bool (*heard)(struct world *w, const struct mq5_publish *publish); /* true: it was for the cloud */
    void (*connected)(struct world *w, bool resumed);
    size_t (*csr)(struct world *w, char *out, size_t capacity); /* the platform's request for the key made last */
    void *context;
};

struct world {
    uint32_t session_expiry_s; /* of the last CONNECT */
    int64_t goodbye_expiry_s;  /* of the last DISCONNECT; -1: it said none */
    uint64_t luck;
    struct world_cloud cloud;
    int64_t now_us;
    uint64_t sequence;
    struct world_event events[512];
    unsigned event_count;

    /* the vehicle */
    struct tcu_profile profile;
    struct tcu_port port;
    struct tcu *tcu;
    uint8_t *memory;
    size_t memory_size;
    _Alignas(16) uint8_t scratch[2048];
    int64_t deadline_us;
    uint32_t life;
    bool dead; /* power went inside a call: nothing leaves any more */
    bool restarts_parked;
    struct {
        uint8_t data[TCU_STORE_MAX];
        size_t length;
    } store[TCU_STORE_ITEMS];
    unsigned store_writes, cut_at_write, cut_again_at_write; /* 0: never */
    bool cut_before_write, cut_again_before_write, store_fails;
    struct world_probes probes;

    /* the link */
    uint32_t link, deaf_link; /* a stream that has lost something loses all the rest */
    bool link_wanted, link_open;
    int64_t latency_us, jitter_us, to_broker_us, to_vehicle_us;
    enum tcu_link_end fail_link; /* with fail_links > 0 */
    unsigned fail_links, links_opened, aborts, graceful_closes;
    unsigned blocks; /* on demand */
    size_t block_bytes;
    bool no_memory;
    uint32_t memory_luck;       /* one in so many is refused; 0: none */
    unsigned blocks_left;       /* 1: only one block more is to be had; 0: as many as wanted */
    bool link_hangs, half_open; /* never comes up; nothing arrives either way */
    enum tcu_identity identity;
    unsigned split; /* deliver to the vehicle in pieces of this size */

    /* the broker */
    struct mq5_stream stream;
    uint8_t stream_buffer[4096];
    bool connected, session, subscribed, will;
    uint8_t version;
    char alias_topic[128];
    unsigned refuse, refuse_silently; /* so many of the next CONNECTs */
    const char *refuse_reference;     /* server reference that goes with it; NULL: none */
    uint8_t refuse_reason, telemetry_reason, suback_reason, maximum_qos;
    bool forget_session, swallow_acks, reverse_acks, no_pingresp, no_retain;
    uint16_t receive_maximum, server_keep_alive_s, keep_alive_s;
    bool clean_start;
    uint16_t held_acks[16];
    unsigned held_count;
    unsigned connects, pings, disconnects, subscribes, aliased, dups, publishes;
    int64_t connect_at_us[64];
    char filters[8][128]; /* of the last SUBSCRIBE */
    unsigned filter_count;
    char presence[16];
    bool presence_retained;
    char last_topic[128];
    char last_user[128]; /* "fw=..;schema=..;enc=..;" of the last telemetry */
    char last_payload[512];
    uint8_t received[WORLD_NUMBERS], intended[WORLD_NUMBERS], dropped[WORLD_NUMBERS], acked[WORLD_NUMBERS];
    uint32_t highest_received;
    int64_t intended_at_us[WORLD_NUMBERS];

    /* commands */
    struct world_command pending[WORLD_PENDING];
    uint16_t next_packet_id;
    uint8_t executed[WORLD_COMMANDS], answered[WORLD_COMMANDS];
    char status[WORLD_COMMANDS][16];
    char command_topic[128], answer_topic[128], answer_payload[512];
    int64_t execute_us;
    bool execute_fails, car_hangs;
    uint32_t slot_command[8];

    /* the certificate broker */
    unsigned keys, key_failures, requests, http_failures;
    int http_status; /* of failures */
    bool http_silent;
    enum tcu_identity http_identity;
};

static inline uint32_t world_random(struct world *w)
{
    uint64_t z = w->luck += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return (uint32_t)((z ^ (z >> 31)) >> 32);
}

static inline uint32_t world_below(struct world *w, uint32_t bound)
{
    return (uint32_t)(((uint64_t)world_random(w) * bound) >> 32);
}

static inline struct world_event *world_push(struct world *w, enum world_event_kind kind, int64_t at_us)
{
    assert_true(w->event_count < sizeof(w->events) / sizeof(w->events[0]));
    struct world_event *event = &w->events[w->event_count++];
    *event =
        (struct world_event){.at_us = at_us, .sequence = w->sequence++, .kind = kind, .link = w->link, .life = w->life};
    return event;
}

static inline int64_t world_delay(struct world *w)
{
    return w->latency_us + (w->jitter_us ? world_below(w, (uint32_t)w->jitter_us) : 0);
}

/* Bytes keep their order within a direction. */
static inline void world_carry(struct world *w, enum world_event_kind kind, int64_t *last_us, const uint8_t *data,
                               size_t length)
{
    int64_t at_us = w->now_us + world_delay(w);
    *last_us = at_us > *last_us ? at_us : *last_us;
    struct world_event *event = world_push(w, kind, *last_us);
    event->data = malloc(length);
    event->length = length;
    memcpy(event->data, data, length);
}

static inline bool world_loses(struct world *w)
{
    if (w->half_open)
        w->deaf_link = w->link;
    return w->deaf_link == w->link;
}

/* The broker. */

static inline void world_send(struct world *w, const struct mq5_packet *packet)
{
    uint8_t bytes[2048];
    size_t length;
    assert_int_equal(mq5_encode((enum mq5_version)w->version, packet, bytes, sizeof(bytes), &length), MQ5_OK);
    if (!world_loses(w))
        world_carry(w, WORLD_TO_VEHICLE, &w->to_vehicle_us, bytes, length);
}

static inline void world_broker_drop(struct world *w, bool tell)
{
    w->connected = false;
    if (!w->link_open)
        return;
    w->to_vehicle_us = w->now_us + w->latency_us > w->to_vehicle_us ? w->now_us + w->latency_us : w->to_vehicle_us;
    if (tell)
        world_push(w, WORLD_LINK_DOWN, w->to_vehicle_us)->value = TCU_LINK_PEER_CLOSED;
}

static inline void world_deliver(struct world *w, struct world_command *command)
{
    char payload[64], correlation[16];
    struct mq5_packet packet = {.type = MQ5_PUBLISH};
    bool v5 = w->version == MQ5_V5;
    snprintf(correlation, sizeof(correlation), "c%u", command->number);
    if (v5 || command->without_id)
        snprintf(payload, sizeof(payload), "{\"command\":\"do-%u\"}", command->number);
    else
        snprintf(payload, sizeof(payload), "{\"id\":\"%s\",\"command\":\"do-%u\"}", correlation, command->number);
    packet.publish.topic = span_text(w->command_topic);
    packet.publish.payload = span_text(payload);
    packet.publish.qos = 1;
    packet.publish.packet_id = command->packet_id;
    packet.publish.dup = command->sent;
    packet.publish.retain = command->retained;
    if (v5) {
        packet.publish.properties.present = (command->without_id ? 0 : MQ5_BIT(MQ5_CORRELATION_DATA)) |
                                            (command->response_topic ? MQ5_BIT(MQ5_RESPONSE_TOPIC) : 0) |
                                            (command->expired ? MQ5_BIT(MQ5_MESSAGE_EXPIRY_INTERVAL) : 0);
        packet.publish.properties.correlation_data = span_text(correlation);
        packet.publish.properties.response_topic = span_text(command->response_topic ? command->response_topic : "");
    }
    command->sent = true;
    world_send(w, &packet);
}

/* An application asks; asking again with the same number is the application's repetition. */
static inline struct world_command *world_ask(struct world *w, struct world_command command)
{
    unsigned i = 0;
    if (!w->subscribed || !w->session)
        return NULL;
    while (i < WORLD_PENDING && w->pending[i].used)
        i++;
    if (i == WORLD_PENDING)
        return NULL;
    w->pending[i] = command;
    w->pending[i].used = true;
    w->pending[i].packet_id = ++w->next_packet_id ? w->next_packet_id : ++w->next_packet_id;
    if (w->connected)
        world_deliver(w, &w->pending[i]);
    return &w->pending[i];
}

static inline void world_command(struct world *w, uint32_t number)
{
    world_ask(w, (struct world_command){.number = number, .response_topic = "cmd/VIN-0001/response"});
}

static inline void world_on_connect(struct world *w, const struct mq5_connect *connect)
{
    struct mq5_packet packet = {.type = MQ5_CONNACK};
    assert_false(w->connected);
    w->version = connect->version;
    w->connect_at_us[w->connects++ % 64] = w->now_us;
    w->keep_alive_s = connect->keep_alive_s;
    w->clean_start = connect->clean_start;
    w->session_expiry_s =
        connect->properties.present & MQ5_BIT(MQ5_SESSION_EXPIRY_INTERVAL) ? connect->properties.session_expiry_s : 0;
    if (w->refuse_silently > 0) {
        w->refuse_silently--;
        world_broker_drop(w, true);
        return;
    }
    if (w->refuse > 0) {
        w->refuse--;
        packet.connack.reason = w->refuse_reason;
        if (w->refuse_reference) {
            packet.connack.properties.present = MQ5_BIT(MQ5_SERVER_REFERENCE);
            packet.connack.properties.server_reference = span_text(w->refuse_reference);
        }
        world_send(w, &packet);
        world_broker_drop(w, true);
        return;
    }
    if (w->cloud.door) {
        enum world_door door = w->cloud.door(w, false);
        packet.connack.reason = w->version == MQ5_V5 ? MQ5_NOT_AUTHORIZED : 5;
        if (door == WORLD_REFUSE)
            world_send(w, &packet);
        packet.connack.reason = 0;
        if (door != WORLD_ADMIT) {
            world_broker_drop(w, true);
            return;
        }
    }
    if (connect->clean_start || w->forget_session) {
        w->session = w->subscribed = false;
        memset(w->pending, 0, sizeof(w->pending));
    }
    w->forget_session = false;
    packet.connack.session_present = w->session;
    w->session = w->connected = true;
    w->will = connect->has_will;
    w->alias_topic[0] = 0;
    w->held_count = 0;
    if (w->version == MQ5_V5) {
        packet.connack.properties.present = MQ5_BIT(MQ5_RECEIVE_MAXIMUM) | MQ5_BIT(MQ5_TOPIC_ALIAS_MAXIMUM) |
                                            (w->server_keep_alive_s ? MQ5_BIT(MQ5_SERVER_KEEP_ALIVE) : 0) |
                                            (w->maximum_qos < 2 ? MQ5_BIT(MQ5_MAXIMUM_QOS) : 0) |
                                            (w->no_retain ? MQ5_BIT(MQ5_RETAIN_AVAILABLE) : 0);
        packet.connack.properties.receive_maximum = w->receive_maximum;
        packet.connack.properties.topic_alias_maximum = 4;
        packet.connack.properties.server_keep_alive_s = w->server_keep_alive_s;
        packet.connack.properties.maximum_qos = w->maximum_qos;
    }
    world_send(w, &packet);
    for (unsigned i = 0; i < WORLD_PENDING; i++)
        if (w->pending[i].used)
            world_deliver(w, &w->pending[i]);
    if (w->cloud.connected)
        w->cloud.connected(w, packet.connack.session_present);
}

static inline void world_ack(struct world *w, uint16_t packet_id, uint8_t reason)
{
    struct mq5_packet packet = {.type = MQ5_PUBACK};
    packet.ack.packet_id = packet_id;
    packet.ack.reason = w->version == MQ5_V5 ? reason : 0;
    world_send(w, &packet);
}

static inline void world_on_telemetry(struct world *w, const struct mq5_publish *publish)
{
    struct mq5_user_property user;
    uint32_t offset = 0;
    size_t used = 0;
    snprintf(w->last_payload, sizeof(w->last_payload), "%.*s", (int)publish->payload.length, publish->payload.data);
    const char *text = strstr(w->last_payload, "\"n\":");
    assert_non_null(text);
    uint32_t number = (uint32_t)strtoul(text + 4, NULL, 10);
    assert_in_range(number, 1, WORLD_NUMBERS - 1);
    assert_true(w->intended[number]);
    char body[32];
    snprintf(body, sizeof(body), "\"v\":%u}", number * 7);
    assert_non_null(strstr(w->last_payload, body)); /* the same number always has the same body */
    if (w->received[number]++ == 0) {
        assert_true(number > w->highest_received);
        w->highest_received = number;
    } else if (publish->dup) {
        w->dups++;
    }
    w->last_user[0] = 0;
    while (publish->properties.encoded.length && mq5_user_property_next(publish->properties.encoded, &offset, &user))
        used += (size_t)snprintf(w->last_user + used, sizeof(w->last_user) - used, "%.*s=%.*s;", (int)user.name.length,
                                 user.name.data, (int)user.value.length, user.value.data);
}

static inline void world_on_answer(struct world *w, const struct mq5_publish *publish)
{
    char correlation[16];
    const char *status, *id;
    snprintf(w->answer_payload, sizeof(w->answer_payload), "%.*s", (int)publish->payload.length, publish->payload.data);
    snprintf(w->answer_topic, sizeof(w->answer_topic), "%s", w->last_topic);
    if (publish->properties.present & MQ5_BIT(MQ5_CORRELATION_DATA))
        snprintf(correlation, sizeof(correlation), "%.*s", (int)publish->properties.correlation_data.length,
                 publish->properties.correlation_data.data);
    else if ((id = strstr(w->answer_payload, "\"id\":\"c")))
        snprintf(correlation, sizeof(correlation), "%s", id + 6);
    else
        return;
    uint32_t number = (uint32_t)strtoul(correlation + 1, NULL, 10);
    assert_in_range(number, 0, WORLD_COMMANDS - 1);
    status = strstr(w->answer_payload, "\"status\":\"");
    assert_non_null(status);
    w->answered[number]++;
    sscanf(status + 10, "%15[a-z]", w->status[number]);
}

static inline void world_on_publish(struct world *w, const struct mq5_publish *publish)
{
    w->publishes++;
    if (publish->topic.length) {
        snprintf(w->last_topic, sizeof(w->last_topic), "%.*s", (int)publish->topic.length, publish->topic.data);
        if (publish->properties.present & MQ5_BIT(MQ5_TOPIC_ALIAS))
            memcpy(w->alias_topic, w->last_topic, sizeof(w->alias_topic));
    } else {
        assert_true(w->alias_topic[0]);
        memcpy(w->last_topic, w->alias_topic, sizeof(w->alias_topic));
        w->aliased++;
    }
    uint8_t reason = 0;
    if (strstr(w->last_topic, "telemetry")) {
        world_on_telemetry(w, publish);
        reason = w->telemetry_reason;
    } else if (strstr(w->last_topic, "presence")) {
        snprintf(w->presence, sizeof(w->presence), "%.*s", (int)publish->payload.length, publish->payload.data);
        w->presence_retained = publish->retain;
    } else if (!w->cloud.heard || !w->cloud.heard(w, publish)) {
        world_on_answer(w, publish);
    }
    if (publish->qos == 0 || w->swallow_acks)
        return;
    assert_int_equal(publish->qos, 1);
    if (!w->reverse_acks) {
        world_ack(w, publish->packet_id, reason);
        return;
    }
    w->held_acks[w->held_count++] = publish->packet_id;
    for (; w->held_count == 4; w->held_count = 0)
        for (unsigned i = 4; i > 0; i--)
            world_ack(w, w->held_acks[i - 1], reason);
}

static inline void world_on_subscribe(struct world *w, const struct mq5_subscribe *subscribe)
{
    uint8_t reasons[sizeof(w->filters) / sizeof(w->filters[0])];
    struct mq5_packet packet = {.type = MQ5_SUBACK};
    struct mq5_subscription filter;
    uint32_t offset = 0, count = 0;
    while (mq5_subscription_next(subscribe, MQ5_SUBSCRIBE, (enum mq5_version)w->version, &offset, &filter)) {
        assert_true(count < sizeof(reasons));
        reasons[count++] = w->suback_reason;
        snprintf(w->filters[count - 1], sizeof(w->filters[0]), "%.*s", (int)filter.filter.length, filter.filter.data);
    }
    w->filter_count = count;
    w->subscribes++;
    w->subscribed = w->suback_reason < 0x80;
    packet.suback.packet_id = subscribe->packet_id;
    packet.suback.reasons = span_of(reasons, count);
    world_send(w, &packet);
}

static inline void world_on_packet(struct world *w, const struct mq5_packet *in)
{
    struct mq5_packet packet = {.type = MQ5_PINGRESP};
    switch (in->type) {
    case MQ5_CONNECT: world_on_connect(w, &in->connect); break;
    case MQ5_PUBLISH: world_on_publish(w, &in->publish); break;
    case MQ5_SUBSCRIBE: world_on_subscribe(w, &in->subscribe); break;
    case MQ5_PINGREQ:
        w->pings++;
        if (!w->no_pingresp)
            world_send(w, &packet);
        break;
    case MQ5_PUBACK:
        for (unsigned i = 0; i < WORLD_PENDING; i++)
            if (w->pending[i].used && w->pending[i].packet_id == in->ack.packet_id)
                w->pending[i].used = false;
        break;
    case MQ5_DISCONNECT:
        w->disconnects++;
        w->goodbye_expiry_s = in->disconnect.properties.present & MQ5_BIT(MQ5_SESSION_EXPIRY_INTERVAL)
                                  ? (int64_t)in->disconnect.properties.session_expiry_s
                                  : -1;
        w->will = false;
        world_broker_drop(w, false);
        break;
    default: fail_msg("unexpected %s", mq5_type_name(in->type));
    }
}

static inline void world_broker_input(struct world *w, const uint8_t *data, size_t length)
{
    struct mq5_packet packet;
    struct mq5_error error = {0};
    enum mq5_status status;
    while ((status = mq5_stream_next(&w->stream, &data, &length, &packet, &error)) == MQ5_OK)
        world_on_packet(w, &packet);
    if (status != MQ5_MORE)
        fail_msg("the vehicle sent something malformed: %s", error.what);
}

#endif
