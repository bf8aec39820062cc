/* client_send.c: what the application asks to be sent, within the limits the server set in its CONNACK. */
#include "client_internal.h"

enum mq5_status mq5_client_write(struct mq5_client *client, int64_t now_us, const struct mq5_packet *packet)
{
    const struct mq5_client_config *config = client->config;
    uint8_t stack[CLIENT_STACK_BYTES];
    uint8_t *buffer = config->scratch ? config->scratch : stack;
    size_t capacity = config->scratch ? config->scratch_size : sizeof(stack), length = 0;
    enum mq5_status status = mq5_encode(config->version, packet, buffer, capacity, &length);
    if (status == MQ5_ILLEGAL)
        return status;
    if (client->peer_maximum_packet_size && length > client->peer_maximum_packet_size)
        return MQ5_TOO_LARGE;
    if (status != MQ5_OK)
        return status;
    client->last_sent_us = now_us;
    config->ops->send(client, buffer, length);
    return MQ5_OK;
}

static enum mq5_client_result result_of(enum mq5_status status)
{
    return status == MQ5_OK ? MQ5C_DONE : status == MQ5_TOO_LARGE ? MQ5C_NOT_WITH_PEER : MQ5C_BAD;
}

void mq5_client_ack(struct mq5_client *client, int64_t now_us, enum mq5_type type, uint16_t packet_id, uint8_t reason)
{
    struct mq5_packet packet;
    packet.type = (uint8_t)type;
    packet.ack.packet_id = packet_id;
    packet.ack.reason = client->config->version == MQ5_V5 ? reason : MQ5_SUCCESS;
    mq5_properties_clear(&packet.ack.properties);
    if (mq5_client_write(client, now_us, &packet) != MQ5_OK)
        mq5_client_fail(client, now_us, MQ5_PACKET_TOO_LARGE,
                        "the server's maximum packet size leaves no room for an answer");
}

bool mq5_client_load(struct mq5_client *client, uint32_t token, struct mq5_packet *packet)
{
    struct mq5_publish *publish = &packet->publish;
    packet->type = MQ5_PUBLISH;
    publish->qos = 0;
    publish->retain = false;
    publish->topic = publish->payload = (struct span){NULL, 0};
    mq5_properties_clear(&publish->properties);
    if (!client->config->ops->load(client, token, publish))
        return false;
    publish->dup = false;
    publish->packet_id = 0;
    publish->properties.present &= ~MQ5_BIT(MQ5_TOPIC_ALIAS);
    return true;
}

uint8_t mq5_client_peer_refuses(const struct mq5_client *client, const struct mq5_publish *publish)
{
    if (publish->qos > client->peer_maximum_qos)
        return MQ5_QOS_NOT_SUPPORTED;
    return publish->retain && !client->peer_retain_available ? MQ5_RETAIN_NOT_SUPPORTED : MQ5_SUCCESS;
}

/* The bit to set once the packet has been sent; 0 if no name was established. */
static uint16_t use_alias(const struct mq5_client *client, uint8_t slot, struct mq5_publish *publish)
{
    if (slot == 0 || slot > client->config->outgoing_alias_slots || slot > 16 || slot > client->peer_alias_maximum)
        return 0;
    uint16_t bit = (uint16_t)(1u << (slot - 1));
    publish->properties.present |= MQ5_BIT(MQ5_TOPIC_ALIAS);
    publish->properties.topic_alias = slot;
    if (client->aliases_sent & bit)
        publish->topic = (struct span){NULL, 0};
    return bit;
}

static bool must_wait(struct mq5_client *client)
{
    return client->quota_used >= client->peer_receive_maximum || client->resend_left > 0 ||
           !mq5_outgoing_room(client);
}

enum mq5_client_result mq5_client_publish(struct mq5_client *client, int64_t now_us, uint32_t token, uint8_t alias_slot)
{
    struct mq5_packet packet;
    if (client->state != MQ5C_ONLINE)
        return MQ5C_OFFLINE;
    if (!mq5_client_load(client, token, &packet))
        return MQ5C_BAD;
    uint8_t qos = packet.publish.qos;
    if (mq5_client_peer_refuses(client, &packet.publish))
        return MQ5C_NOT_WITH_PEER;
    if (qos > 0) {
        if (must_wait(client))
            return MQ5C_WAIT;
        packet.publish.packet_id = mq5_outgoing_next_id(client);
    }
    uint16_t alias_bit = use_alias(client, alias_slot, &packet.publish);
    enum mq5_status status = mq5_client_write(client, now_us, &packet);
    if (status != MQ5_OK)
        return result_of(status);
    client->aliases_sent |= alias_bit;
    if (qos > 0) {
        mq5_outgoing_add(client, token, (enum client_operation)qos, 1);
        client->quota_used++;
    } else {
        client_emit(client, MQ5C_EV_PUBLISHED, MQ5_SUCCESS, token, NULL, NULL);
    }
    return MQ5C_DONE;
}

static bool has_wildcard(struct span filter)
{
    return filter.length > 0 && (memchr(filter.data, '+', filter.length) || memchr(filter.data, '#', filter.length));
}

static bool is_shared(struct span filter)
{
    return filter.length > 7 && memcmp(filter.data, "$share/", 7) == 0;
}

static bool peer_takes_filters(const struct mq5_client *client, const struct mq5_subscription *list, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (!client->peer_wildcard_available && has_wildcard(list[i].filter))
            return false;
        if (!client->peer_shared_available && is_shared(list[i].filter))
            return false;
    }
    return true;
}

static enum mq5_client_result operate(struct mq5_client *client, int64_t now_us, uint32_t token,
                                      struct mq5_packet *packet, const struct mq5_subscription *list, uint32_t count)
{
    if (!mq5_outgoing_room(client))
        return MQ5C_WAIT;
    packet->subscribe.packet_id = mq5_outgoing_next_id(client);
    packet->subscribe.list = list;
    packet->subscribe.count = count;
    packet->subscribe.encoded = (struct span){NULL, 0};
    enum mq5_status status = mq5_client_write(client, now_us, packet);
    if (status == MQ5_OK)
        mq5_outgoing_add(client, token, packet->type == MQ5_SUBSCRIBE ? CLIENT_SUBSCRIBE : CLIENT_UNSUBSCRIBE,
                         (uint8_t)(count < UINT8_MAX ? count : UINT8_MAX));
    return result_of(status);
}

enum mq5_client_result mq5_client_subscribe(struct mq5_client *client, int64_t now_us, uint32_t token,
                                            const struct mq5_subscription *list, uint32_t count,
                                            uint32_t subscription_id)
{
    struct mq5_packet packet;
    if (client->state != MQ5C_ONLINE)
        return MQ5C_OFFLINE;
    packet.type = MQ5_SUBSCRIBE;
    mq5_properties_clear(&packet.subscribe.properties);
    if (subscription_id && client->config->version == MQ5_V5) {
        if (!client->peer_subscription_id_available)
            return MQ5C_NOT_WITH_PEER;
        packet.subscribe.properties.present = MQ5_BIT(MQ5_SUBSCRIPTION_IDENTIFIER);
        packet.subscribe.properties.subscription_ids = &subscription_id;
        packet.subscribe.properties.subscription_id_count = 1;
    }
    if (!peer_takes_filters(client, list, count))
        return MQ5C_NOT_WITH_PEER;
    return operate(client, now_us, token, &packet, list, count);
}

enum mq5_client_result mq5_client_unsubscribe(struct mq5_client *client, int64_t now_us, uint32_t token,
                                              const struct mq5_subscription *list, uint32_t count)
{
    struct mq5_packet packet;
    if (client->state != MQ5C_ONLINE)
        return MQ5C_OFFLINE;
    packet.type = MQ5_UNSUBSCRIBE;
    mq5_properties_clear(&packet.subscribe.properties);
    return operate(client, now_us, token, &packet, list, count);
}

/* 0x18 answers the server, 0x19 begins anew once online; the method stays the one of CONNECT (4.12). */
static bool may_authenticate(const struct mq5_client *client, uint8_t reason, struct span method)
{
    if (client->authentication_hash == 0 || mq5_client_method_hash(method) != client->authentication_hash)
        return false;
    if (reason == MQ5_RE_AUTHENTICATE)
        return client->state == MQ5C_ONLINE && !client->reauthenticating;
    return reason == MQ5_CONTINUE_AUTHENTICATION && (client->state == MQ5C_AUTH || client->reauthenticating);
}

enum mq5_client_result mq5_client_auth(struct mq5_client *client, int64_t now_us, uint8_t reason, struct span method,
                                       struct span data)
{
    struct mq5_packet packet;
    if (client->state != MQ5C_AUTH && client->state != MQ5C_ONLINE)
        return MQ5C_OFFLINE;
    if (!may_authenticate(client, reason, method))
        return MQ5C_BAD;
    packet.type = MQ5_AUTH;
    packet.auth.reason = reason;
    mq5_properties_clear(&packet.auth.properties);
    packet.auth.properties.present = MQ5_BIT(MQ5_AUTHENTICATION_METHOD);
    packet.auth.properties.authentication_method = method;
    if (data.length > 0) {
        packet.auth.properties.present |= MQ5_BIT(MQ5_AUTHENTICATION_DATA);
        packet.auth.properties.authentication_data = data;
    }
    enum mq5_status status = mq5_client_write(client, now_us, &packet);
    if (status == MQ5_OK && client->state == MQ5C_ONLINE)
        client->reauthenticating = 1;
    return result_of(status);
}

void mq5_client_disconnect(struct mq5_client *client, int64_t now_us, uint8_t reason, uint32_t session_expiry_s)
{
    struct mq5_packet packet;
    if (!client_open(client))
        return;
    if (!mq5_reason_allowed(MQ5_DISCONNECT, reason, MQ5_FROM_CLIENT))
        reason = MQ5_UNSPECIFIED_ERROR;
    packet.type = MQ5_DISCONNECT;
    packet.disconnect.reason = client->config->version == MQ5_V5 ? reason : MQ5_SUCCESS;
    mq5_properties_clear(&packet.disconnect.properties);
    /* A session asked to end with its link cannot be prolonged at its end (3.14.2.2.2). */
    if (client->config->version == MQ5_V5 && session_expiry_s != client->session_expiry_s && !client->expiry_was_zero) {
        packet.disconnect.properties.present = MQ5_BIT(MQ5_SESSION_EXPIRY_INTERVAL);
        packet.disconnect.properties.session_expiry_s = session_expiry_s;
    }
    if (mq5_client_write(client, now_us, &packet) == MQ5_OK && packet.disconnect.properties.present)
        client->session_expiry_s = session_expiry_s;
    mq5_client_enter(client, now_us, MQ5C_CLOSED);
}
