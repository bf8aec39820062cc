/* mqtt5_client_rig.h: a client session on a workbench. Whatever it sends is decoded strictly as a client's packet and logged as a
 * line "> ...", every event as a line "! ..."; a test says what the server does and compares the log. Tokens are indices into
 * `messages`. */
#ifndef MQTT5_CLIENT_RIG_H
#define MQTT5_CLIENT_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mqtt5/client.h"
#include "vehicle/mqtt5/client_internal.h"

#define RIG_MESSAGES 64

struct rig {
    struct mq5_client client; /* first: the rig is known by it */
    struct mq5_client_config config;
    struct mq5_client_connect connect;
    uint64_t memory[1024];
    uint32_t blocks, bytes; /* taken by a session without memory of its own */
    bool no_memory;
    uint8_t scratch[4096];
    struct mq5_publish messages[RIG_MESSAGES];
    bool gone[RIG_MESSAGES];
    int64_t now_us;
    uint32_t swallow; /* bit per packet type: inbound() refuses it */
    void (*on_event)(struct rig *rig, const struct mq5_client_event *event);
    char log[32768];
    size_t log_length;
};

__attribute__((format(printf, 2, 3))) static inline void rig_log(struct rig *rig, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(rig->log + rig->log_length, sizeof(rig->log) - rig->log_length, format, arguments);
    va_end(arguments);
    assert_in_range(length, 0, sizeof(rig->log) - rig->log_length - 1);
    rig->log_length += (size_t)length;
}

#define TEXT(span) (int)(span).length, (const char *)((span).length ? (span).data : (const uint8_t *)"")

static inline bool rig_has(const struct mq5_properties *properties, enum mq5_property property)
{
    return properties->present & MQ5_BIT(property);
}

static inline void rig_log_number(struct rig *rig, const struct mq5_properties *p, enum mq5_property property,
                                  const char *name, uint32_t value)
{
    if (rig_has(p, property))
        rig_log(rig, " %s=%u", name, value);
}

static inline void rig_log_properties(struct rig *rig, const struct mq5_properties *p)
{
    rig_log_number(rig, p, MQ5_SESSION_EXPIRY_INTERVAL, "expiry", p->session_expiry_s);
    rig_log_number(rig, p, MQ5_MESSAGE_EXPIRY_INTERVAL, "message_expiry", p->message_expiry_s);
    rig_log_number(rig, p, MQ5_WILL_DELAY_INTERVAL, "delay", p->will_delay_s);
    rig_log_number(rig, p, MQ5_RECEIVE_MAXIMUM, "receive", p->receive_maximum);
    rig_log_number(rig, p, MQ5_MAXIMUM_PACKET_SIZE, "size", p->maximum_packet_size);
    rig_log_number(rig, p, MQ5_TOPIC_ALIAS_MAXIMUM, "aliases", p->topic_alias_maximum);
    rig_log_number(rig, p, MQ5_TOPIC_ALIAS, "alias", p->topic_alias);
    rig_log_number(rig, p, MQ5_REQUEST_PROBLEM_INFORMATION, "problem", p->request_problem_information);
    rig_log_number(rig, p, MQ5_REQUEST_RESPONSE_INFORMATION, "response", p->request_response_information);
    if (rig_has(p, MQ5_AUTHENTICATION_METHOD))
        rig_log(rig, " method=%.*s", TEXT(p->authentication_method));
    if (rig_has(p, MQ5_AUTHENTICATION_DATA))
        rig_log(rig, " data=%.*s", TEXT(p->authentication_data));
    if (rig_has(p, MQ5_ASSIGNED_CLIENT_IDENTIFIER))
        rig_log(rig, " assigned=%.*s", TEXT(p->assigned_client_id));
    uint32_t offset = 0, id;
    while (rig_has(p, MQ5_SUBSCRIPTION_IDENTIFIER) && mq5_subscription_id_next(p->encoded, &offset, &id))
        rig_log(rig, " subscription=%u", id);
    struct mq5_user_property user;
    offset = 0;
    while (rig_has(p, MQ5_USER_PROPERTY) && mq5_user_property_next(p->encoded, &offset, &user))
        rig_log(rig, " %.*s:%.*s", TEXT(user.name), TEXT(user.value));
}

static inline void rig_log_connect(struct rig *rig, const struct mq5_connect *connect)
{
    rig_log(rig, " clean=%d keep=%u id=%.*s", connect->clean_start, connect->keep_alive_s, TEXT(connect->client_id));
    if (connect->has_user_name)
        rig_log(rig, " user=%.*s", TEXT(connect->user_name));
    if (connect->has_password)
        rig_log(rig, " password=%.*s", TEXT(connect->password));
    rig_log_properties(rig, &connect->properties);
    if (connect->has_will) {
        rig_log(rig, " will q%u%s %.*s=%.*s", connect->will_qos, connect->will_retain ? " retain" : "",
                TEXT(connect->will_topic), TEXT(connect->will_payload));
        rig_log_properties(rig, &connect->will_properties);
    }
}

static inline void rig_log_publish(struct rig *rig, const struct mq5_publish *publish)
{
    rig_log(rig, " q%u", publish->qos);
    if (publish->qos)
        rig_log(rig, " #%u", publish->packet_id);
    rig_log(rig, "%s%s %.*s=%.*s", publish->dup ? " dup" : "", publish->retain ? " retain" : "", TEXT(publish->topic),
            TEXT(publish->payload));
    rig_log_properties(rig, &publish->properties);
}

static inline void rig_log_packet(struct rig *rig, const struct mq5_packet *packet)
{
    enum mq5_version version = (enum mq5_version)rig->config.version;
    struct mq5_subscription filter;
    uint32_t offset = 0;
    rig_log(rig, "%s", mq5_type_name(packet->type));
    switch (packet->type) {
    case MQ5_CONNECT: rig_log_connect(rig, &packet->connect); break;
    case MQ5_PUBLISH: rig_log_publish(rig, &packet->publish); break;
    case MQ5_SUBSCRIBE:
    case MQ5_UNSUBSCRIBE:
        rig_log(rig, " #%u", packet->subscribe.packet_id);
        while (mq5_subscription_next(&packet->subscribe, (enum mq5_type)packet->type, version, &offset, &filter))
            rig_log(rig, " %.*s", TEXT(filter.filter));
        rig_log_properties(rig, &packet->subscribe.properties);
        break;
    case MQ5_PINGREQ: break;
    case MQ5_DISCONNECT:
    case MQ5_AUTH:
        rig_log(rig, " %02x", packet->disconnect.reason);
        rig_log_properties(rig, &packet->disconnect.properties);
        break;
    default: rig_log(rig, " #%u %02x", packet->ack.packet_id, packet->ack.reason); break;
    }
    rig_log(rig, "\n");
}

static inline struct rig *rig_of(struct mq5_client *client)
{
    return (struct rig *)(void *)client;
}

static inline void rig_send(struct mq5_client *client, const uint8_t *data, size_t length)
{
    struct rig *rig = rig_of(client);
    struct mq5_packet packet;
    struct mq5_error error = {0};
    if (mq5_decode((enum mq5_version)rig->config.version, MQ5_FROM_CLIENT, data, length, &packet, &error) != MQ5_OK)
        fail_msg("client sent what it may not: %s (%s)", error.what, error.ref);
    rig_log(rig, "> ");
    rig_log_packet(rig, &packet);
}

static inline void rig_event(struct mq5_client *client, const struct mq5_client_event *event)
{
    static const char *const names[] = {"CONNACK",      "REFUSED", "MESSAGE",      "PUBLISHED",    "SUBSCRIBED",
                                        "UNSUBSCRIBED", "AUTH",    "DISCONNECTED", "SESSION_LOST", "DROPPED"};
    struct rig *rig = rig_of(client);
    rig_log(rig, "! %s", names[event->kind]);
    switch (event->kind) {
    case MQ5C_EV_CONNACK:
        rig_log(rig, " session=%d", event->packet->connack.session_present);
        rig_log_properties(rig, &event->packet->connack.properties);
        break;
    case MQ5C_EV_MESSAGE: rig_log_publish(rig, &event->packet->publish); break;
    case MQ5C_EV_PUBLISHED:
    case MQ5C_EV_DROPPED: rig_log(rig, " t%u %02x", event->token, event->reason); break;
    case MQ5C_EV_SUBSCRIBED:
    case MQ5C_EV_UNSUBSCRIBED:
        rig_log(rig, " t%u", event->token);
        for (uint32_t i = 0; i < event->packet->suback.reasons.length; i++)
            rig_log(rig, " %02x", event->packet->suback.reasons.data[i]);
        break;
    case MQ5C_EV_AUTH:
        rig_log(rig, " %02x", event->reason);
        rig_log_properties(rig, &event->packet->auth.properties);
        break;
    case MQ5C_EV_SESSION_LOST: break;
    default: rig_log(rig, " %02x%s", event->reason, event->packet ? " told" : ""); break;
    }
    rig_log(rig, "\n");
    if (rig->on_event)
        rig->on_event(rig, event);
}

static inline bool rig_load(struct mq5_client *client, uint32_t token, struct mq5_publish *out)
{
    struct rig *rig = rig_of(client);
    if (rig->gone[token])
        return false;
    *out = rig->messages[token];
    return true;
}

static inline bool rig_inbound(struct mq5_client *client, const struct mq5_packet *packet)
{
    const struct rig *rig = rig_of(client);
    return !(rig->swallow & (1u << packet->type));
}

/* Filled, so that what was given back and is still used shows. */
static inline void *rig_take(struct mq5_client *client, size_t size)
{
    struct rig *rig = rig_of(client);
    if (rig->no_memory)
        return NULL;
    rig->blocks++;
    rig->bytes += (uint32_t)size;
    void *block = malloc(size);
    memset(block, 0xA5, size);
    return block;
}

static inline void rig_give(struct mq5_client *client, void *block, size_t size)
{
    struct rig *rig = rig_of(client);
    memset(block, 0x5A, size);
    rig->blocks--;
    rig->bytes -= (uint32_t)size;
    free(block);
}

static const struct mq5_client_ops rig_ops = {rig_send, rig_event, rig_load, rig_inbound, rig_take, rig_give};

static inline void rig_release(struct rig *rig)
{
    if (rig->client.config)
        mq5_client_release(&rig->client);
    assert_int_equal(rig->blocks, 0);
}

/* A session with room for everything: 8 in flight, 4 aliases each way, receive maximum 3. Tests change rig->config before rig_init(). */
static inline void rig_defaults(struct rig *rig, enum mq5_version version)
{
    rig_release(rig);
    memset(rig, 0, sizeof(*rig));
    rig->config = (struct mq5_client_config){.ops = &rig_ops,
                                             .version = (uint8_t)version,
                                             .receive_maximum = 3,
                                             .topic_alias_maximum = 4,
                                             .outgoing_maximum = 8,
                                             .outgoing_alias_slots = 4,
                                             .scratch = rig->scratch,
                                             .scratch_size = sizeof(rig->scratch)};
    rig->connect = (struct mq5_client_connect){.keep_alive_s = 60,
                                               .session_expiry_s = 3600,
                                               .client_id = SPAN_LITERAL("car"),
                                               .request_problem_information = true};
    for (uint32_t i = 0; i < RIG_MESSAGES; i++)
        rig->messages[i] = (struct mq5_publish){.qos = 1, .topic = SPAN_LITERAL("t"), .payload = SPAN_LITERAL("p")};
}

/* Every test runs twice (rig_both()): with all memory at once, and taking it block by block. */
static bool rig_on_demand;

static inline void rig_init_sized(struct rig *rig, bool qos2_in, uint32_t alias_bytes, uint32_t stream_bytes)
{
    rig_release(rig);
    rig->config.qos2_in = qos2_in;
    rig->config.alias_bytes = alias_bytes;
    rig->config.stream_bytes = stream_bytes;
    assert_in_range(mq5_client_memory(&rig->config), 0, sizeof(rig->memory));
    memset(rig->memory, 0xA5, sizeof(rig->memory));
    mq5_client_init(&rig->client, &rig->config, rig_on_demand ? NULL : rig->memory);
}

#define rig_both(tests)                                                                                                \
    (rig_on_demand = false, cmocka_run_group_tests_name("all at once", tests, NULL, NULL)) ||                         \
        (rig_on_demand = true, cmocka_run_group_tests_name("on demand", tests, NULL, NULL))

static inline void rig_init(struct rig *rig)
{
    rig_init_sized(rig, true, 256, 1024);
}

/* The log since the last check. */
static inline void rig_check(struct rig *rig, const char *expected)
{
    assert_string_equal(rig->log, expected);
    rig->log_length = 0;
    rig->log[0] = 0;
}

static inline void rig_forget(struct rig *rig)
{
    rig->log_length = 0;
    rig->log[0] = 0;
}

static inline void rig_bytes(struct rig *rig, const void *data, size_t length)
{
    mq5_client_input(&rig->client, rig->now_us, data, length);
}

static inline size_t peer_encode(struct rig *rig, const struct mq5_packet *packet, uint8_t *out, size_t capacity)
{
    size_t length = 0;
    const struct mq5_raw raw = {0};
    assert_int_equal(mq5_encode_raw((enum mq5_version)rig->config.version, packet, &raw, out, capacity, &length),
                     MQ5_OK);
    return length;
}

static inline void peer_send(struct rig *rig, const struct mq5_packet *packet)
{
    uint8_t bytes[4096];
    rig_bytes(rig, bytes, peer_encode(rig, packet, bytes, sizeof(bytes)));
}

static inline struct mq5_packet peer_connack(bool session_present, uint8_t reason)
{
    struct mq5_packet packet = {.type = MQ5_CONNACK};
    packet.connack.session_present = session_present;
    packet.connack.reason = reason;
    return packet;
}

static inline struct mq5_packet peer_message(uint8_t qos, uint16_t packet_id, const char *topic, const char *payload)
{
    struct mq5_packet packet = {.type = MQ5_PUBLISH};
    packet.publish.qos = qos;
    packet.publish.packet_id = packet_id;
    packet.publish.topic = span_text(topic);
    packet.publish.payload = span_text(payload);
    return packet;
}

static inline void peer_publish(struct rig *rig, uint8_t qos, uint16_t packet_id, const char *topic,
                                const char *payload)
{
    struct mq5_packet packet = peer_message(qos, packet_id, topic, payload);
    peer_send(rig, &packet);
}

static inline void peer_alias(struct rig *rig, uint16_t alias, const char *topic)
{
    struct mq5_packet packet = peer_message(0, 0, topic, "x");
    packet.publish.properties.present = MQ5_BIT(MQ5_TOPIC_ALIAS);
    packet.publish.properties.topic_alias = alias;
    peer_send(rig, &packet);
}

static inline void peer_ack(struct rig *rig, enum mq5_type type, uint16_t packet_id, uint8_t reason)
{
    struct mq5_packet packet = {.type = (uint8_t)type};
    packet.ack.packet_id = packet_id;
    packet.ack.reason = reason;
    peer_send(rig, &packet);
}

static inline void peer_suback(struct rig *rig, enum mq5_type type, uint16_t packet_id, struct span reasons)
{
    struct mq5_packet packet = {.type = (uint8_t)type};
    packet.suback.packet_id = packet_id;
    packet.suback.reasons = reasons;
    peer_send(rig, &packet);
}

static inline void peer_simple(struct rig *rig, enum mq5_type type, uint8_t reason)
{
    struct mq5_packet packet = {.type = (uint8_t)type};
    packet.disconnect.reason = reason;
    peer_send(rig, &packet);
}

static inline void rig_connect(struct rig *rig)
{
    assert_int_equal(mq5_client_connect(&rig->client, rig->now_us, &rig->connect), MQ5_OK);
}

/* A link that comes up, with the server's answer; the log is left to the caller. */
static inline void rig_link(struct rig *rig, bool session_present)
{
    struct mq5_packet packet = peer_connack(session_present, MQ5_SUCCESS);
    rig_connect(rig);
    peer_send(rig, &packet);
}

static inline void rig_down(struct rig *rig)
{
    mq5_client_link_down(&rig->client, rig->now_us);
}

/* A fresh session, online, nothing in the log. */
static inline void rig_online(struct rig *rig)
{
    rig_init(rig);
    rig_link(rig, false);
    assert_true(mq5_client_online(&rig->client));
    rig_forget(rig);
}

static inline enum mq5_client_result rig_publish(struct rig *rig, uint32_t token, uint8_t qos)
{
    rig->messages[token].qos = qos;
    return mq5_client_publish(&rig->client, rig->now_us, token, 0);
}

#endif
