/* client_receive.c: what each packet of the server does to the session, and which of them may come when.
 *
 * Rule of every handler: the session is settled before the application hears of it, and looked at again afterwards. */
#include "client_internal.h"

static bool has(const struct mq5_properties *properties, enum mq5_property property)
{
    return properties->present & MQ5_BIT(property);
}

/* CONNACK ------------------------------------------------------------------------------------------------------------ */

static void take_limits(struct mq5_client *client, const struct mq5_properties *p)
{
    client->peer_receive_maximum = has(p, MQ5_RECEIVE_MAXIMUM) ? p->receive_maximum : UINT16_MAX;
    client->peer_maximum_qos = has(p, MQ5_MAXIMUM_QOS) ? p->maximum_qos : 2;
    client->peer_retain_available = has(p, MQ5_RETAIN_AVAILABLE) ? p->retain_available : 1;
    client->peer_maximum_packet_size = has(p, MQ5_MAXIMUM_PACKET_SIZE) ? p->maximum_packet_size : 0;
    client->peer_alias_maximum = has(p, MQ5_TOPIC_ALIAS_MAXIMUM) ? p->topic_alias_maximum : 0;
    client->peer_wildcard_available = has(p, MQ5_WILDCARD_SUBSCRIPTION_AVAILABLE) ? p->wildcard_available : 1;
    client->peer_shared_available = has(p, MQ5_SHARED_SUBSCRIPTION_AVAILABLE) ? p->shared_available : 1;
    client->peer_subscription_id_available =
        has(p, MQ5_SUBSCRIPTION_IDENTIFIER_AVAILABLE) ? p->subscription_id_available : 1;
    if (has(p, MQ5_SERVER_KEEP_ALIVE))
        client->keep_alive_s = p->server_keep_alive_s;
    if (has(p, MQ5_SESSION_EXPIRY_INTERVAL))
        client->session_expiry_s = p->session_expiry_s;
}

static bool method_is_ours(const struct mq5_client *client, const struct mq5_properties *properties)
{
    if (!has(properties, MQ5_AUTHENTICATION_METHOD))
        return client->authentication_hash == 0;
    return mq5_client_method_hash(properties->authentication_method) == client->authentication_hash;
}

/* 3.2.2.1.1: a session we know nothing of cannot be gone on with. 3.1.1 only forbids it after a clean start. */
static bool session_is_unexpected(const struct mq5_client *client, const struct mq5_connack *connack)
{
    if (!connack->session_present)
        return false;
    return client->clean_start ||
           (client->config->version == MQ5_V5 && !client->session_known && !client->session_possible);
}

static void settle_session(struct mq5_client *client, int64_t now_us, bool session_present)
{
    bool lost = !session_present && (client->session_known || client->outgoing_count > 0);
    uint8_t generation = client->generation;
    client->session_known = client->accepted = 1;
    client->session_possible = 0;
    if (session_present) {
        mq5_outgoing_resume(client, now_us);
        return;
    }
    client->incoming_count = client->incoming_carried = 0;
    if (lost)
        client_emit(client, MQ5C_EV_SESSION_LOST, MQ5_SUCCESS, 0, NULL, NULL);
    if (lost && client->generation == generation)
        mq5_outgoing_drop_all(client);
}

static void on_connack(struct mq5_client *client, int64_t now_us, struct mq5_packet *packet)
{
    const struct mq5_connack *connack = &packet->connack;
    uint8_t generation = client->generation;
    client->unanswered = 0;
    if (connack->reason != MQ5_SUCCESS) {
        mq5_client_enter(client, now_us, MQ5C_CLOSED);
        client_emit(client, MQ5C_EV_REFUSED, connack->reason, 0, NULL, packet);
        return;
    }
    if (session_is_unexpected(client, connack)) {
        mq5_client_fail(client, now_us, MQ5_PROTOCOL_ERROR, "session present, but we have none");
        return;
    }
    if (!method_is_ours(client, &connack->properties)) {
        mq5_client_fail(client, now_us, MQ5_PROTOCOL_ERROR, "CONNACK with another authentication method");
        return;
    }
    take_limits(client, &connack->properties);
    mq5_client_enter(client, now_us, MQ5C_ONLINE);
    settle_session(client, now_us, connack->session_present);
    if (client_live(client, generation))
        client_emit(client, MQ5C_EV_CONNACK, MQ5_SUCCESS, 0, NULL, packet);
}

/* PUBLISH and its answers, inbound ------------------------------------------------------------------------------------- */

/* Puts the topic in place of the alias; false: the connection is over. */
static bool resolve_alias(struct mq5_client *client, int64_t now_us, struct mq5_publish *publish)
{
    uint16_t alias = publish->properties.topic_alias;
    if (!has(&publish->properties, MQ5_TOPIC_ALIAS))
        return true;
    if (alias == 0 || alias > client_alias_maximum(client)) {
        mq5_client_fail(client, now_us, MQ5_TOPIC_ALIAS_INVALID, "topic alias above our maximum");
    } else if (publish->topic.length > 0) {
        if (mq5_alias_set(client, alias, publish->topic))
            return true;
        mq5_client_fail(client, now_us, MQ5_QUOTA_EXCEEDED, "topic aliases need more memory than we have");
    } else {
        publish->topic = mq5_alias_get(client, alias);
        publish->properties.present |= MQ5_TOPIC_BY_ALIAS;
        if (publish->topic.length > 0)
            return true;
        mq5_client_fail(client, now_us, MQ5_PROTOCOL_ERROR, "topic alias without a topic");
    }
    return false;
}

static bool over_receive_maximum(const struct mq5_client *client)
{
    return client->config->version == MQ5_V5 &&
           client->incoming_count - client->incoming_carried >= mq5_client_receive_maximum(client->config);
}

static void deliver(struct mq5_client *client, int64_t now_us, const struct mq5_packet *packet, enum mq5_type answer)
{
    uint8_t generation = client->generation;
    uint16_t packet_id = packet->publish.packet_id;
    client_emit(client, MQ5C_EV_MESSAGE, MQ5_SUCCESS, 0, NULL, packet);
    if (client_live(client, generation))
        mq5_client_ack(client, now_us, answer, packet_id, MQ5_SUCCESS);
}

/* The id is kept before the application sees the message, so that a link lost in between costs no duplicate. */
static void deliver_once(struct mq5_client *client, int64_t now_us, const struct mq5_packet *packet)
{
    uint16_t packet_id = packet->publish.packet_id;
    if (!client->config->qos2_in && client->config->version == MQ5_V5) {
        mq5_client_ack(client, now_us, MQ5_PUBREC, packet_id, MQ5_IMPLEMENTATION_SPECIFIC_ERROR);
    } else if (!client->config->qos2_in) {
        mq5_client_fail(client, now_us, MQ5_IMPLEMENTATION_SPECIFIC_ERROR, "no room for QoS 2");
    } else if (mq5_incoming_known(client, packet_id)) {
        mq5_client_ack(client, now_us, MQ5_PUBREC, packet_id, MQ5_SUCCESS);
    } else if (over_receive_maximum(client)) {
        mq5_client_fail(client, now_us, MQ5_RECEIVE_MAXIMUM_EXCEEDED, "more than our receive maximum");
    } else if (mq5_incoming_full(client)) {
        mq5_client_fail(client, now_us, MQ5_QUOTA_EXCEEDED, "too many QoS 2 messages not released");
    } else {
        mq5_incoming_add(client, packet_id);
        deliver(client, now_us, packet, MQ5_PUBREC);
    }
}

static void on_publish(struct mq5_client *client, int64_t now_us, struct mq5_packet *packet)
{
    if (!resolve_alias(client, now_us, &packet->publish))
        return;
    switch (packet->publish.qos) {
    case 0: client_emit(client, MQ5C_EV_MESSAGE, MQ5_SUCCESS, 0, NULL, packet); break;
    case 1:
        if (over_receive_maximum(client))
            mq5_client_fail(client, now_us, MQ5_RECEIVE_MAXIMUM_EXCEEDED, "more than our receive maximum");
        else
            deliver(client, now_us, packet, MQ5_PUBACK);
        break;
    default: deliver_once(client, now_us, packet); break;
    }
}

static bool problem_information_unwanted(struct mq5_client *client, int64_t now_us,
                                         const struct mq5_properties *properties)
{
    if (!client->no_problem_information || !(has(properties, MQ5_REASON_STRING) || has(properties, MQ5_USER_PROPERTY)))
        return false;
    mq5_client_fail(client, now_us, MQ5_PROTOCOL_ERROR, "problem information that we asked not to send");
    return true;
}

static void on_pubrel(struct mq5_client *client, int64_t now_us, struct mq5_packet *packet)
{
    if (problem_information_unwanted(client, now_us, &packet->ack.properties))
        return;
    bool known = client->config->qos2_in && mq5_incoming_remove(client, packet->ack.packet_id);
    mq5_client_ack(client, now_us, MQ5_PUBCOMP, packet->ack.packet_id, known ? MQ5_SUCCESS : MQ5_PACKET_ID_NOT_FOUND);
}

/* Answers to ours ------------------------------------------------------------------------------------------------------ */

/* Position of the operation an answer is for, -1 if we wait for no such id. One not yet resent on this link is not waited for. */
static int32_t awaited(const struct mq5_client *client, uint16_t packet_id)
{
    int32_t position = mq5_outgoing_find(client, packet_id);
    if (position < 0)
        return -1;
    const struct mq5_inflight *entry = mq5_outgoing_at(client, (uint32_t)position);
    return entry->state <= CLIENT_PUBLISH_QOS_2 && !entry->sent ? -1 : position;
}

/* Resends what waited for the quota before the application can fill it. */
static void published(struct mq5_client *client, int64_t now_us, uint32_t position, uint8_t reason)
{
    struct mq5_inflight entry = *mq5_outgoing_at(client, position);
    mq5_outgoing_remove(client, position);
    client->quota_used = (uint16_t)(client->quota_used - entry.sent);
    if (client->resend_left > 0)
        mq5_outgoing_resend(client, now_us);
    client_emit(client, MQ5C_EV_PUBLISHED, reason, entry.token, NULL, NULL);
}

static void wrong_answer(struct mq5_client *client, int64_t now_us)
{
    mq5_client_fail(client, now_us, MQ5_PROTOCOL_ERROR, "answer to something else than what has this packet id");
}

static void on_puback(struct mq5_client *client, int64_t now_us, struct mq5_packet *packet)
{
    if (problem_information_unwanted(client, now_us, &packet->ack.properties))
        return;
    int32_t position = awaited(client, packet->ack.packet_id);
    if (position < 0)
        return;
    if (mq5_outgoing_at(client, (uint32_t)position)->state != CLIENT_PUBLISH_QOS_1)
        wrong_answer(client, now_us);
    else
        published(client, now_us, (uint32_t)position, packet->ack.reason);
}

static void on_pubrec(struct mq5_client *client, int64_t now_us, struct mq5_packet *packet)
{
    if (problem_information_unwanted(client, now_us, &packet->ack.properties))
        return;
    uint16_t packet_id = packet->ack.packet_id;
    bool refused = packet->ack.reason >= MQ5_UNSPECIFIED_ERROR;
    int32_t position = awaited(client, packet_id);
    if (position < 0) {
        if (!refused)
            mq5_client_ack(client, now_us, MQ5_PUBREL, packet_id, MQ5_PACKET_ID_NOT_FOUND);
        return;
    }
    uint8_t state = mq5_outgoing_at(client, (uint32_t)position)->state;
    if (state != CLIENT_PUBLISH_QOS_2 && (state != CLIENT_RELEASED || refused)) {
        wrong_answer(client, now_us);
    } else if (refused) {
        published(client, now_us, (uint32_t)position, packet->ack.reason);
    } else {
        if (state == CLIENT_PUBLISH_QOS_2)
            mq5_outgoing_release(client, (uint32_t)position);
        mq5_client_ack(client, now_us, MQ5_PUBREL, packet_id, MQ5_SUCCESS);
    }
}

static void on_pubcomp(struct mq5_client *client, int64_t now_us, struct mq5_packet *packet)
{
    if (problem_information_unwanted(client, now_us, &packet->ack.properties))
        return;
    int32_t position = awaited(client, packet->ack.packet_id);
    if (position < 0)
        return;
    if (mq5_outgoing_at(client, (uint32_t)position)->state != CLIENT_RELEASED)
        wrong_answer(client, now_us);
    else
        published(client, now_us, (uint32_t)position, packet->ack.reason);
}

/* SUBACK, UNSUBACK: a reason for each filter, except that 3.1.1 has none for UNSUBACK. */
static void on_suback(struct mq5_client *client, int64_t now_us, struct mq5_packet *packet)
{
    bool subscribe = packet->type == MQ5_SUBACK;
    if (problem_information_unwanted(client, now_us, &packet->suback.properties))
        return;
    int32_t position = mq5_outgoing_find(client, packet->suback.packet_id);
    if (position < 0) {
        wrong_answer(client, now_us);
        return;
    }
    struct mq5_inflight entry = *mq5_outgoing_at(client, (uint32_t)position);
    bool counted = entry.sent < UINT8_MAX && (subscribe || client->config->version == MQ5_V5);
    if (entry.state != (subscribe ? CLIENT_SUBSCRIBE : CLIENT_UNSUBSCRIBE)) {
        wrong_answer(client, now_us);
    } else if (counted && packet->suback.reasons.length != entry.sent) {
        mq5_client_fail(client, now_us, MQ5_PROTOCOL_ERROR, "not one reason code for each filter");
    } else {
        mq5_outgoing_remove(client, (uint32_t)position);
        client_emit(client, subscribe ? MQ5C_EV_SUBSCRIBED : MQ5C_EV_UNSUBSCRIBED, MQ5_SUCCESS, entry.token, NULL,
                    packet);
    }
}

/* The rest -------------------------------------------------------------------------------------------------------------- */

static void on_pingresp(struct mq5_client *client, int64_t now_us, struct mq5_packet *packet)
{
    (void)now_us, (void)packet;
    client->awaiting_ping = 0;
    client->deadline_us = TIME_NEVER;
}

static void on_disconnect(struct mq5_client *client, int64_t now_us, struct mq5_packet *packet)
{
    mq5_client_enter(client, now_us, MQ5C_CLOSED);
    client_emit(client, MQ5C_EV_DISCONNECTED, packet->disconnect.reason, 0, NULL, packet);
}

static bool auth_is_wrong(struct mq5_client *client, int64_t now_us, const struct mq5_disconnect *auth, bool expected)
{
    if (expected && client->authentication_hash != 0 && method_is_ours(client, &auth->properties))
        return problem_information_unwanted(client, now_us, &auth->properties);
    mq5_client_fail(client, now_us, MQ5_PROTOCOL_ERROR, "AUTH that nobody asked for, or with another method");
    return true;
}

/* Before CONNACK the server may only ask on: success is said by the CONNACK. */
static void on_auth_before(struct mq5_client *client, int64_t now_us, struct mq5_packet *packet)
{
    if (auth_is_wrong(client, now_us, &packet->auth, packet->auth.reason == MQ5_CONTINUE_AUTHENTICATION))
        return;
    mq5_client_enter(client, now_us, MQ5C_AUTH);
    client_emit(client, MQ5C_EV_AUTH, packet->auth.reason, 0, NULL, packet);
}

static void on_auth_again(struct mq5_client *client, int64_t now_us, struct mq5_packet *packet)
{
    if (auth_is_wrong(client, now_us, &packet->auth, client->reauthenticating))
        return;
    if (packet->auth.reason == MQ5_SUCCESS)
        client->reauthenticating = 0;
    client_emit(client, MQ5C_EV_AUTH, packet->auth.reason, 0, NULL, packet);
}

/* Before a link and after its end nothing is heard; before CONNACK only AUTH may come (3.14.0-1 forbids even DISCONNECT). */
/* clang-format off */
#define TAKE(handler) {handler, 0}
#define WRONG         {NULL, MQ5_PROTOCOL_ERROR}
#define DEAF          {NULL, 0}

const struct client_cell mq5_client_cells[CLIENT_STATES][CLIENT_PACKET_TYPES] = {
    [MQ5C_IDLE] = {
        [0] = DEAF, [MQ5_CONNECT] = DEAF, [MQ5_CONNACK] = DEAF, [MQ5_PUBLISH] = DEAF,
        [MQ5_PUBACK] = DEAF, [MQ5_PUBREC] = DEAF, [MQ5_PUBREL] = DEAF, [MQ5_PUBCOMP] = DEAF,
        [MQ5_SUBSCRIBE] = DEAF, [MQ5_SUBACK] = DEAF, [MQ5_UNSUBSCRIBE] = DEAF, [MQ5_UNSUBACK] = DEAF,
        [MQ5_PINGREQ] = DEAF, [MQ5_PINGRESP] = DEAF, [MQ5_DISCONNECT] = DEAF, [MQ5_AUTH] = DEAF,
    },
    [MQ5C_CONNECTING] = {
        [0] = WRONG, [MQ5_CONNECT] = WRONG, [MQ5_CONNACK] = TAKE(on_connack), [MQ5_PUBLISH] = WRONG,
        [MQ5_PUBACK] = WRONG, [MQ5_PUBREC] = WRONG, [MQ5_PUBREL] = WRONG, [MQ5_PUBCOMP] = WRONG,
        [MQ5_SUBSCRIBE] = WRONG, [MQ5_SUBACK] = WRONG, [MQ5_UNSUBSCRIBE] = WRONG, [MQ5_UNSUBACK] = WRONG,
        [MQ5_PINGREQ] = WRONG, [MQ5_PINGRESP] = WRONG, [MQ5_DISCONNECT] = WRONG, [MQ5_AUTH] = TAKE(on_auth_before),
    },
    [MQ5C_AUTH] = {
        [0] = WRONG, [MQ5_CONNECT] = WRONG, [MQ5_CONNACK] = TAKE(on_connack), [MQ5_PUBLISH] = WRONG,
        [MQ5_PUBACK] = WRONG, [MQ5_PUBREC] = WRONG, [MQ5_PUBREL] = WRONG, [MQ5_PUBCOMP] = WRONG,
        [MQ5_SUBSCRIBE] = WRONG, [MQ5_SUBACK] = WRONG, [MQ5_UNSUBSCRIBE] = WRONG, [MQ5_UNSUBACK] = WRONG,
        [MQ5_PINGREQ] = WRONG, [MQ5_PINGRESP] = WRONG, [MQ5_DISCONNECT] = WRONG, [MQ5_AUTH] = TAKE(on_auth_before),
    },
    [MQ5C_ONLINE] = {
        [0] = WRONG, [MQ5_CONNECT] = WRONG, [MQ5_CONNACK] = WRONG, [MQ5_PUBLISH] = TAKE(on_publish),
        [MQ5_PUBACK] = TAKE(on_puback), [MQ5_PUBREC] = TAKE(on_pubrec), [MQ5_PUBREL] = TAKE(on_pubrel), [MQ5_PUBCOMP] = TAKE(on_pubcomp),
        [MQ5_SUBSCRIBE] = WRONG, [MQ5_SUBACK] = TAKE(on_suback), [MQ5_UNSUBSCRIBE] = WRONG, [MQ5_UNSUBACK] = TAKE(on_suback),
        [MQ5_PINGREQ] = WRONG, [MQ5_PINGRESP] = TAKE(on_pingresp), [MQ5_DISCONNECT] = TAKE(on_disconnect), [MQ5_AUTH] = TAKE(on_auth_again),
    },
    [MQ5C_CLOSED] = {
        [0] = DEAF, [MQ5_CONNECT] = DEAF, [MQ5_CONNACK] = DEAF, [MQ5_PUBLISH] = DEAF,
        [MQ5_PUBACK] = DEAF, [MQ5_PUBREC] = DEAF, [MQ5_PUBREL] = DEAF, [MQ5_PUBCOMP] = DEAF,
        [MQ5_SUBSCRIBE] = DEAF, [MQ5_SUBACK] = DEAF, [MQ5_UNSUBSCRIBE] = DEAF, [MQ5_UNSUBACK] = DEAF,
        [MQ5_PINGREQ] = DEAF, [MQ5_PINGRESP] = DEAF, [MQ5_DISCONNECT] = DEAF, [MQ5_AUTH] = DEAF,
    },
};
/* clang-format on */
