/* agent_world.h: a miniature virtual world for tests of the vehicle agent: seeded luck, links with latency, a tiny
 * broker with one session a vehicle, a certificate broker, a car, a store that can lose power at any write. Header
 * only, because every .c here is a test.
 *
 * It judges as it goes: a command run twice, telemetry out of order, a malformed packet or a second link at once
 * fail the test. */
#ifndef AGENT_WORLD_H
#define AGENT_WORLD_H

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
    unsigned count[TCU_PROBE_CLAIM_ONLINE + 1], steps[TCU_STEPS];
    uint8_t last_reason;
    uint32_t last_number[TCU_PROBE_CLAIM_ONLINE + 1];
    uint8_t reason[TCU_PROBE_CLAIM_ONLINE + 1];
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
    uint8_t refuse_reason, telemetry_reason, suback_reason, maximum_qos;
    bool forget_session, swallow_acks, reverse_acks, no_pingresp, no_retain;
    uint16_t receive_maximum, server_keep_alive_s, keep_alive_s;
    bool clean_start;
    uint16_t held_acks[16];
    unsigned held_count;
    unsigned connects, pings, disconnects, subscribes, aliased, dups, publishes;
    int64_t connect_at_us[64];
    char filters[4][128]; /* of the last SUBSCRIBE */
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
    if (w->refuse_silently > 0) {
        w->refuse_silently--;
        world_broker_drop(w, true);
        return;
    }
    if (w->refuse > 0) {
        w->refuse--;
        packet.connack.reason = w->refuse_reason;
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
    uint8_t reasons[4];
    struct mq5_packet packet = {.type = MQ5_SUBACK};
    struct mq5_subscription filter;
    uint32_t offset = 0, count = 0;
    while (mq5_subscription_next(subscribe, MQ5_SUBSCRIBE, (enum mq5_version)w->version, &offset, &filter)) {
        assert_true(count < 4);
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

/* The port. */

static inline void world_port_link_open(void *context, enum tcu_identity identity)
{
    struct world *w = context;
    if (w->dead)
        return;
    assert_false(w->link_wanted); /* one at a time */
    w->link_wanted = true;
    w->link++;
    w->links_opened++;
    w->identity = identity;
    w->to_broker_us = w->to_vehicle_us = w->now_us;
    w->stream = (struct mq5_stream){.buffer = w->stream_buffer,
                                    .capacity = sizeof(w->stream_buffer),
                                    .version = w->version ? w->version : MQ5_V5,
                                    .sender = MQ5_FROM_CLIENT};
    if (w->cloud.door && w->cloud.door(w, true) == WORLD_TLS_FAILS) {
        world_push(w, WORLD_LINK_DOWN, w->now_us + world_delay(w))->value = TCU_LINK_TLS_FAILED;
    } else if (w->fail_links > 0) {
        w->fail_links--;
        world_push(w, WORLD_LINK_DOWN, w->now_us + world_delay(w))->value = (int)w->fail_link;
    } else if (!w->link_hangs) {
        world_push(w, WORLD_LINK_UP, w->now_us + 2 * world_delay(w));
    }
}

static inline void world_port_link_send(void *context, const uint8_t *data, size_t length)
{
    struct world *w = context;
    if (w->dead)
        return;
    assert_true(w->link_open);
    if (!world_loses(w))
        world_carry(w, WORLD_TO_BROKER, &w->to_broker_us, data, length);
}

/* What is on its way to the broker arrives at once: the next link is another stream. */
static inline void world_flush(struct world *w)
{
    struct world_event *next = w->events;
    while (next) {
        next = NULL;
        for (unsigned i = 0; i < w->event_count; i++) {
            struct world_event *event = &w->events[i];
            if (event->kind == WORLD_TO_BROKER && event->link == w->link && event->data &&
                (!next || event->sequence < next->sequence))
                next = event;
        }
        if (next) {
            uint8_t *data = next->data;
            next->data = NULL;
            world_broker_input(w, data, next->length);
            free(data);
        }
    }
}

/* A graceful close lets what was sent arrive; the broker notices either way. */
static inline void world_port_link_close(void *context, bool abort)
{
    struct world *w = context;
    if (w->dead)
        return;
    assert_true(w->link_wanted);
    w->link_wanted = w->link_open = false;
    if (abort) {
        w->aborts++;
    } else {
        w->graceful_closes++;
        world_flush(w);
    }
    w->connected = false;
    w->link++;
}

static inline void world_port_deadline(void *context, int64_t at_us)
{
    ((struct world *)context)->deadline_us = at_us;
}

static inline uint32_t world_port_random(void *context)
{
    return world_random(context);
}

#define WORLD_EPOCH_US INT64_C(1700000000000000)
static inline int64_t world_port_wall(void *context, int64_t now_us)
{
    return WORLD_EPOCH_US + now_us;
}

static inline bool world_port_store_write(void *context, enum tcu_store_item item, struct span value);

/* With a cloud that looks at keys they are in the store, by their numbers. */
static inline void world_port_key_generate(void *context, enum tcu_identity slot, struct span common_name)
{
    struct world *w = context;
    char key[16];
    assert_true(span_equal(common_name, SPAN_LITERAL("VIN-0001")));
    if (w->dead)
        return;
    w->keys++;
    snprintf(key, sizeof(key), "key %u", w->keys);
    if (w->cloud.csr)
        world_port_store_write(w, slot == TCU_OPERATIONAL ? TCU_STORE_OPERATIONAL_KEY : TCU_STORE_SECOND_KEY,
                               span_text(key));
    if (!w->dead)
        world_push(w, WORLD_CSR, w->now_us + 300 * US_PER_MS);
}

static inline void world_port_http_request(void *context, const struct tcu_http_request *request)
{
    struct world *w = context;
    w->requests++;
    w->http_identity = request->identity;
    assert_string_equal(request->path, "/.well-known/est/simpleenroll");
    if (!w->dead && !w->http_silent)
        world_push(w, WORLD_HTTP, w->now_us + 200 * US_PER_MS);
}

static inline bool world_port_store_write(void *context, enum tcu_store_item item, struct span value)
{
    struct world *w = context;
    if (w->dead || w->store_fails)
        return false;
    bool cut = ++w->store_writes == w->cut_at_write;
    if (cut)
        w->dead = true;
    if (cut && w->cut_before_write)
        return false;
    assert_true(value.length <= TCU_STORE_MAX);
    if (value.length > 0)
        memcpy(w->store[item].data, value.data, value.length);
    w->store[item].length = value.length;
    return true;
}

static inline size_t world_port_store_read(void *context, enum tcu_store_item item, uint8_t *out, size_t capacity)
{
    struct world *w = context;
    size_t length = w->store[item].length;
    if (length > capacity) /* the strictest reading of the port */
        return 0;
    memcpy(out, w->store[item].data, length);
    return length;
}

static inline size_t world_port_body(void *context, uint32_t number, int64_t intended_us, uint8_t *out, size_t capacity)
{
    return (size_t)snprintf((char *)out, capacity, "\"v\":%u", number * 7);
}

static inline void world_port_execute(void *context, uint32_t slot, struct span command)
{
    struct world *w = context;
    char text[64];
    snprintf(text, sizeof(text), "%.*s", (int)command.length, command.data);
    if (w->dead)
        return;
    assert_in_range(slot, 0, 7);
    uint32_t number = strncmp(text, "do-", 3) == 0 ? (uint32_t)strtoul(text + 3, NULL, 10) : 0;
    assert_in_range(number, 0, WORLD_COMMANDS - 1);
    w->executed[number]++;
    assert_int_equal(w->executed[number], 1); /* never twice */
    if (!w->car_hangs)
        world_push(w, WORLD_EXECUTED, w->now_us + w->execute_us)->value = (int)slot;
}

static inline void world_port_probe(void *context, int64_t now_us, const struct tcu_probe *probe)
{
    struct world *w = context;
    if (w->dead)
        return;
    assert_int_equal(now_us, w->now_us);
    w->probes.count[probe->kind]++;
    w->probes.last_number[probe->kind] = probe->number;
    w->probes.reason[probe->kind] = probe->reason;
    if (probe->kind == TCU_PROBE_STEP)
        w->probes.steps[probe->number]++;
    if (probe->kind == TCU_PROBE_TELEMETRY_INTENDED) {
        assert_in_range(probe->number, 1, WORLD_NUMBERS - 1);
        assert_int_equal(w->intended[probe->number], 0); /* a number is never used twice */
        w->intended[probe->number] = 1;
        w->intended_at_us[probe->number] = probe->at_us;
    } else if (probe->kind == TCU_PROBE_TELEMETRY_DROPPED) {
        w->dropped[probe->number]++;
    } else if (probe->kind == TCU_PROBE_TELEMETRY_ACKED) {
        assert_int_equal(probe->at_us, w->intended_at_us[probe->number]);
        w->acked[probe->number]++;
    }
}

/* Every test runs twice (world_both()): the agent has all its memory at once, or takes it block by block. */
static bool world_on_demand;

#define world_both(tests)                                                                                              \
    (world_on_demand = false, cmocka_run_group_tests_name("all at once", tests, NULL, NULL)) ||                        \
        (world_on_demand = true, cmocka_run_group_tests_name("on demand", tests, NULL, NULL))

/* A platform that gives memory block by block holds as many as the agent has not given back. */
static inline void *world_port_take(void *context, size_t size)
{
    struct world *w = context;
    if (w->no_memory || (w->memory_luck > 0 && world_below(w, w->memory_luck) == 0) ||
        (w->blocks_left > 0 && w->blocks_left++ == 2))
        return NULL;
    w->blocks++;
    w->block_bytes += size;
    void *block = malloc(size);
    memset(block, 0xA5, size);
    return block;
}

static inline void world_port_give(void *context, void *block, size_t size)
{
    struct world *w = context;
    assert_true(w->blocks > 0 && w->block_bytes >= size);
    w->blocks--;
    w->block_bytes -= size;
    memset(block, 0x5A, size);
    free(block);
}

/* Life. */

static inline void world_default_profile(struct tcu_profile *profile, uint8_t *scratch, size_t scratch_size)
{
    *profile = (struct tcu_profile){
        .mqtt = {.version = MQ5_V5,
                 .receive_maximum = 8,
                 .maximum_packet_size = 256,
                 .outgoing_maximum = 8,
                 .outgoing_alias_slots = 1},
        .power = {[TCU_PARKED] = {600, 300 * US_PER_S}, [TCU_DRIVING] = {60, 10 * US_PER_S}},
        .session_expiry_s = 3600,
        .queue_capacity = 32,
        .telemetry_qos = 1,
        .alias_slots = 1,
        .backoff_base_us = 1 * US_PER_S,
        .backoff_cap_us = 60 * US_PER_S,
        .stable_us = 60 * US_PER_S,
        .connect_timeout_us = 20 * US_PER_S,
        .acknowledge_timeout_us = 30 * US_PER_S,
        .http_timeout_us = 15 * US_PER_S,
        .topics = {"dt/%/telemetry", "cmd/%/request", "cmd/%/response", ""},
        .firmware = "1.4.2",
        .schema = "s7",
        .encoding = "json",
        .telemetry_payload_max = 256,
        .scratch = scratch,
        .scratch_size = scratch_size,
    };
}

static inline struct world *world_new(uint64_t seed)
{
    struct world *w = calloc(1, sizeof(*w));
    w->luck = seed;
    assert_context.seed = seed;
    w->latency_us = 20 * US_PER_MS;
    w->execute_us = 100 * US_PER_MS;
    w->receive_maximum = 8;
    w->maximum_qos = 2;
    w->deadline_us = TIME_NEVER;
    w->port = (struct tcu_port){.link_open = world_port_link_open,
                                .link_send = world_port_link_send,
                                .link_close = world_port_link_close,
                                .deadline = world_port_deadline,
                                .random = world_port_random,
                                .wall_us = world_port_wall,
                                .key_generate = world_port_key_generate,
                                .http_request = world_port_http_request,
                                .store_write = world_port_store_write,
                                .store_read = world_port_store_read,
                                .telemetry_body = world_port_body,
                                .execute = world_port_execute,
                                .probe = world_port_probe};
    if (world_on_demand) {
        w->port.memory_take = world_port_take;
        w->port.memory_give = world_port_give;
    }
    snprintf(w->command_topic, sizeof(w->command_topic), "cmd/VIN-0001/request");
    world_default_profile(&w->profile, w->scratch, sizeof(w->scratch));
    return w;
}

/* With a guard behind the agent's memory: it must stay within what it asked for. */
static inline void world_begin(struct world *w)
{
    tcu_profile_prepare(&w->profile);
    w->memory_size = tcu_memory(&w->profile, &w->port, true);
    w->memory = aligned_alloc(64, (w->memory_size + 64 + 63) / 64 * 64);
    memset(w->memory, 0xA5, w->memory_size + 64);
    w->tcu = tcu_init(w->memory, &w->profile, &w->port, w, NULL, NULL, SPAN_LITERAL("VIN-0001"));
}

static inline void world_end(struct world *w)
{
    for (unsigned i = 0; i < 64; i++)
        assert_int_equal(w->memory[w->memory_size + i], 0xA5);
    tcu_release(w->tcu);
    assert_int_equal(w->blocks, 0);
    assert_int_equal(w->block_bytes, 0);
    for (unsigned i = 0; i < w->event_count; i++)
        free(w->events[i].data);
    free(w->memory);
    free(w);
}

/* The power is gone, and comes back later by tcu_start(). */
static inline void world_power_cut(struct world *w)
{
    w->dead = false;
    w->cut_at_write = w->cut_again_at_write;
    w->cut_again_at_write = 0;
    w->cut_before_write = w->cut_again_before_write;
    w->life++;
    w->link++;
    w->link_wanted = w->link_open = w->connected = false;
    tcu_power_cut(w->tcu);
    assert_int_equal(tcu_connection(w->tcu), TCU_OFF);
    assert_int_equal(w->deadline_us, TIME_NEVER);
}

static inline void world_start(struct world *w, enum tcu_power power)
{
    tcu_start(w->tcu, w->now_us, power);
}

/* The link breaks under both. */
static inline void world_cut_link(struct world *w)
{
    if (!w->link_wanted)
        return;
    w->link_wanted = w->link_open = w->connected = false;
    w->link++;
    tcu_link_down(w->tcu, w->now_us, TCU_LINK_LOST);
}

static inline void world_to_vehicle(struct world *w, const struct world_event *event)
{
    size_t piece = w->split ? w->split : event->length;
    for (size_t at = 0; at < event->length && event->link == w->link; at += piece)
        tcu_bytes(w->tcu, w->now_us, event->data + at, event->length - at < piece ? event->length - at : piece);
}

static inline void world_http_answer(struct world *w)
{
    if (w->http_failures > 0) {
        w->http_failures--;
        tcu_http_response(w->tcu, w->now_us, w->http_status, SPAN_LITERAL("no"));
    } else {
        tcu_http_response(w->tcu, w->now_us, 200, SPAN_LITERAL("certificate"));
    }
}

static inline void world_handle(struct world *w, const struct world_event *event)
{
    bool same_life = event->life == w->life, same_link = event->link == w->link && w->link_wanted;
    switch (event->kind) {
    case WORLD_LINK_UP:
        if (same_link) {
            w->link_open = true;
            tcu_link_up(w->tcu, w->now_us);
        }
        break;
    case WORLD_LINK_DOWN:
        if (same_link) {
            w->link_wanted = w->link_open = w->connected = false;
            w->link++;
            tcu_link_down(w->tcu, w->now_us, (enum tcu_link_end)event->value);
        }
        break;
    case WORLD_TO_BROKER:
        if (same_link && event->data)
            world_broker_input(w, event->data, event->length);
        break;
    case WORLD_TO_VEHICLE:
        if (same_link && event->data && w->link_open)
            world_to_vehicle(w, event);
        break;
    case WORLD_CSR:
        if (same_life && w->key_failures > 0) {
            w->key_failures--;
            tcu_csr_ready(w->tcu, w->now_us, (struct span){NULL, 0});
        } else if (same_life && w->cloud.csr) {
            char csr[512];
            tcu_csr_ready(w->tcu, w->now_us, span_of(csr, w->cloud.csr(w, csr, sizeof(csr))));
        } else if (same_life) {
            tcu_csr_ready(w->tcu, w->now_us, SPAN_LITERAL("request"));
        }
        break;
    case WORLD_HTTP:
        if (same_life)
            world_http_answer(w);
        break;
    case WORLD_EXECUTED:
        if (same_life)
            tcu_executed(w->tcu, w->now_us, (uint32_t)event->value, !w->execute_fails);
        break;
    case WORLD_BROKER_CLOSE: break;
    }
}

static inline int world_earliest(const struct world *w)
{
    int best = -1;
    for (unsigned i = 0; i < w->event_count; i++)
        if (best < 0 || w->events[i].at_us < w->events[best].at_us ||
            (w->events[i].at_us == w->events[best].at_us && w->events[i].sequence < w->events[best].sequence))
            best = (int)i;
    return best;
}

/* One thing happens, if anything does up to then; false: the time is there. A dead vehicle is cut and started again. */
static inline bool world_step(struct world *w, int64_t until_us)
{
    int next = world_earliest(w);
    int64_t event_us = next >= 0 ? w->events[next].at_us : TIME_NEVER;
    int64_t at_us = event_us <= w->deadline_us ? event_us : w->deadline_us;
    if (at_us > until_us) {
        w->now_us = until_us;
        return false;
    }
    w->now_us = at_us > w->now_us ? at_us : w->now_us;
    assert_context.now_us = w->now_us;
    if (event_us <= w->deadline_us) {
        struct world_event event = w->events[next];
        w->events[next] = w->events[--w->event_count];
        world_handle(w, &event);
        free(event.data);
    } else {
        int64_t told_us = w->deadline_us;
        tcu_tick(w->tcu, w->now_us);
        assert_true(w->deadline_us > told_us || w->dead || w->deadline_us > w->now_us - 1); /* no standing still */
    }
    if (w->dead) {
        world_power_cut(w);
        w->now_us += 5 * US_PER_S;
        world_start(w, TCU_DRIVING);
    }
    return true;
}

static inline void world_run(struct world *w, int64_t duration_us)
{
    int64_t until_us = w->now_us + duration_us;
    unsigned same = 0;
    for (int64_t before_us = w->now_us; world_step(w, until_us); before_us = w->now_us) {
        same = w->now_us == before_us ? same + 1 : 0;
        assert_true(same < 10000);
    }
}

/* Every number intended is either with the broker, or was dropped with a word, or is still waiting, or died with the
 * power. */
static inline unsigned world_missing(const struct world *w)
{
    unsigned missing = 0;
    for (unsigned i = 1; i < WORLD_NUMBERS; i++)
        missing += w->intended[i] && !w->received[i] && !w->dropped[i];
    return missing;
}

static inline void world_check_delivered(const struct world *w)
{
    assert_int_equal(world_missing(w), tcu_telemetry_pending(w->tcu));
    for (unsigned i = 1; i < WORLD_NUMBERS; i++)
        assert_false(w->acked[i] && !w->received[i]);
}

#endif
