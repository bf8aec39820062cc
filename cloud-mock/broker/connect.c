/* connect.c: CONNECT and CONNACK (3.1, 3.2): who may come in, under which name, to which session. */
#include "internal.h"

#include <stdio.h>

/* 3.1.1 knows five ways to say no. */
static uint8_t code_311(uint8_t reason)
{
    switch (reason) {
    case MQ5_UNSUPPORTED_PROTOCOL_VERSION: return 1;
    case MQ5_CLIENT_IDENTIFIER_NOT_VALID: return 2;
    case MQ5_SERVER_UNAVAILABLE:
    case MQ5_SERVER_BUSY:
    case MQ5_USE_ANOTHER_SERVER:
    case MQ5_SERVER_MOVED:
    case MQ5_QUOTA_EXCEEDED: return 3;
    case MQ5_BAD_USER_NAME_OR_PASSWORD: return 4;
    default: return 5;
    }
}

static void refuse(struct cloud_broker *broker, struct cloud_connection *connection, int64_t now_us, uint8_t version,
                   uint8_t reason, const char *what, struct span reference, enum cloud_close_reason close_reason)
{
    struct mq5_packet packet = {.type = MQ5_CONNACK};
    if (version == MQ5_V5) {
        connection->flags |= LINK_V5;
        packet.connack.reason =
            mq5_reason_allowed(MQ5_CONNACK, reason, MQ5_FROM_SERVER) ? reason : MQ5_UNSPECIFIED_ERROR;
        if (what) {
            packet.connack.properties.present = MQ5_BIT(MQ5_REASON_STRING);
            packet.connack.properties.reason_string = span_text(what);
        }
        if (reference.length > 0) {
            packet.connack.properties.present |= MQ5_BIT(MQ5_SERVER_REFERENCE);
            packet.connack.properties.server_reference = reference;
        }
    } else {
        packet.connack.reason = code_311(reason);
    }
    if (!broker_send(broker, connection, &packet)) { /* 3.2.2-19 */
        packet.connack.properties.present = 0;
        broker_send(broker, connection, &packet);
    }
    broker_link_end(broker, connection, now_us, close_reason, true);
}

void broker_refuse_connect(struct cloud_broker *broker, struct cloud_connection *connection, int64_t now_us,
                           uint8_t version, uint8_t reason, const char *what, enum cloud_close_reason close_reason)
{
    refuse(broker, connection, now_us, version, reason, what, (struct span){NULL, 0}, close_reason);
}

void broker_redirect_connect(struct cloud_broker *broker, struct cloud_connection *connection, int64_t now_us,
                             uint8_t version, uint8_t reason, struct span reference)
{
    refuse(broker, connection, now_us, version, reason, NULL, reference, CLOUD_CLOSED_SERVER);
}

static bool given(const struct mq5_connect *connect, int property)
{
    return connect->properties.present & MQ5_BIT(property);
}

static uint8_t check(const struct cloud_broker *broker, const struct mq5_connect *connect, const char **what)
{
    const struct cloud_broker_options *options = &broker->options;
    if (connect->version == MQ5_V311 && !options->allow_v311)
        return MQ5_UNSUPPORTED_PROTOCOL_VERSION;
    if (given(connect, MQ5_AUTHENTICATION_METHOD) && !broker->ops.authenticate) {
        *what = "extended authentication is not offered";
        return MQ5_BAD_AUTHENTICATION_METHOD;
    }
    if (connect->client_id.length == 0 && options->require_client_id) {
        *what = "a client identifier is required";
        return MQ5_CLIENT_IDENTIFIER_NOT_VALID;
    }
    if (connect->has_will && connect->will_qos > options->maximum_qos)
        return MQ5_QOS_NOT_SUPPORTED;
    if (connect->has_will && connect->will_retain && !options->retain_available)
        return MQ5_RETAIN_NOT_SUPPORTED;
    if (connect->has_will && options->dollar_topics_reserved && connect->will_topic.data[0] == '$') {
        *what = "will topic is reserved";
        return MQ5_TOPIC_NAME_INVALID;
    }
    return MQ5_SUCCESS;
}

static void learn_limits(struct cloud_broker *broker, struct cloud_connection *connection,
                         const struct mq5_connect *connect)
{
    const struct mq5_properties *properties = &connect->properties;
    connection->receive_maximum = 65535;
    if (connect->version != MQ5_V5)
        return;
    connection->flags |= LINK_V5;
    if (given(connect, MQ5_RECEIVE_MAXIMUM))
        connection->receive_maximum = properties->receive_maximum;
    if (given(connect, MQ5_MAXIMUM_PACKET_SIZE))
        connection->maximum_packet_size = properties->maximum_packet_size;
    if (given(connect, MQ5_TOPIC_ALIAS_MAXIMUM)) {
        uint16_t ours = broker->options.outbound_topic_aliases, theirs = properties->topic_alias_maximum;
        uint16_t maximum = theirs < ours ? theirs : ours;
        if (maximum && broker_link_more(broker, connection)) /* without memory: none */
            connection->more->alias_maximum_out = maximum;
    }
    if (given(connect, MQ5_REQUEST_PROBLEM_INFORMATION) && !properties->request_problem_information)
        connection->flags |= LINK_NO_PROBLEM_INFORMATION;
}

static uint32_t granted_expiry(const struct cloud_broker *broker, const struct mq5_connect *connect)
{
    uint32_t cap = broker->options.maximum_session_expiry_s, wanted = 0;
    if (connect->version != MQ5_V5)
        wanted = connect->clean_start ? 0 : MQ5_SESSION_NEVER_EXPIRES;
    else if (given(connect, MQ5_SESSION_EXPIRY_INTERVAL))
        wanted = connect->properties.session_expiry_s;
    return cap && wanted > cap ? cap : wanted;
}

static uint16_t granted_keep_alive(const struct cloud_broker *broker, uint16_t wanted_s)
{
    uint16_t low = broker->options.keep_alive_minimum_s, high = broker->options.keep_alive_maximum_s;
    if (high && (wanted_s == 0 || wanted_s > high))
        return high;
    return wanted_s && wanted_s < low ? low : wanted_s;
}

/* A name nobody has (3.1.3-6). */
static struct span assign_client_id(struct cloud_broker *broker, char *buffer, size_t capacity)
{
    struct span id;
    do {
        broker->random += UINT64_C(0x9E3779B97F4A7C15);
        int length = snprintf(buffer, capacity, "auto%016llx", (unsigned long long)broker_mix(broker->random));
        id = span_of(buffer, (size_t)length);
    } while (broker_session_find(broker, id));
    return id;
}

/* The session to go on with, new or kept; NULL: no room. The earlier link, if any, is ended first (3.1.4-3). */
static struct session *find_session(struct cloud_broker *broker, struct cloud_connection *connection, int64_t now_us,
                                    const struct mq5_connect *connect, struct span client_id, bool *resumed)
{
    struct session *session = broker_session_find(broker, client_id);
    *resumed = false;
    if (session && broker_link_of(session)) {
        broker_link_fail(broker, session->connection, now_us, MQ5_SESSION_TAKEN_OVER, NULL, CLOUD_CLOSED_TAKEN_OVER);
        session = broker_session_find(broker, client_id);
    }
    if (session && connect->clean_start && !broker_link_of(session)) {
        broker_session_end(broker, session, now_us);
        session = broker_session_find(broker, client_id);
    }
    if (connection->flags & LINK_DEAD)
        return NULL;
    if (session) { /* with a link: somebody came in while we told of the earlier one's end */
        *resumed = true;
        return broker_link_of(session) ? NULL : session;
    }
    if (broker->session_count >= broker->options.maximum_sessions)
        return NULL;
    return broker_session_create(broker, client_id, false);
}

static void announce(const struct cloud_broker *broker, const struct cloud_connection *connection,
                     const struct mq5_connect *connect, struct span assigned, struct mq5_properties *out)
{
    const struct cloud_broker_options *options = &broker->options;
    const struct session *session = connection->session;
#define ANNOUNCE(property, field, value) (out->present |= MQ5_BIT(property), out->field = (value))
    uint32_t asked = given(connect, MQ5_SESSION_EXPIRY_INTERVAL) ? connect->properties.session_expiry_s : 0;
    if (session->expiry_s != asked)
        ANNOUNCE(MQ5_SESSION_EXPIRY_INTERVAL, session_expiry_s, session->expiry_s);
    if (options->receive_maximum != 65535)
        ANNOUNCE(MQ5_RECEIVE_MAXIMUM, receive_maximum, options->receive_maximum);
    if (options->maximum_qos < 2)
        ANNOUNCE(MQ5_MAXIMUM_QOS, maximum_qos, options->maximum_qos);
    if (!options->retain_available)
        ANNOUNCE(MQ5_RETAIN_AVAILABLE, retain_available, 0);
    if (options->maximum_packet_size)
        ANNOUNCE(MQ5_MAXIMUM_PACKET_SIZE, maximum_packet_size, options->maximum_packet_size);
    if (assigned.length)
        ANNOUNCE(MQ5_ASSIGNED_CLIENT_IDENTIFIER, assigned_client_id, assigned);
    if (options->topic_alias_maximum)
        ANNOUNCE(MQ5_TOPIC_ALIAS_MAXIMUM, topic_alias_maximum, options->topic_alias_maximum);
    if (!options->wildcard_available)
        ANNOUNCE(MQ5_WILDCARD_SUBSCRIPTION_AVAILABLE, wildcard_available, 0);
    if (!options->subscription_ids_available)
        ANNOUNCE(MQ5_SUBSCRIPTION_IDENTIFIER_AVAILABLE, subscription_id_available, 0);
    if (!options->shared_available)
        ANNOUNCE(MQ5_SHARED_SUBSCRIPTION_AVAILABLE, shared_available, 0);
    if (connection->keep_alive_s != connect->keep_alive_s)
        ANNOUNCE(MQ5_SERVER_KEEP_ALIVE, server_keep_alive_s, connection->keep_alive_s);
#undef ANNOUNCE
}

static void accept_connect(struct cloud_broker *broker, struct cloud_connection *connection, int64_t now_us,
                           const struct mq5_connect *connect, const struct mq5_properties *proof, struct span assigned,
                           bool resumed)
{
    struct session *session = connection->session;
    struct mq5_packet packet = {.type = MQ5_CONNACK};
    packet.connack.session_present = resumed;
    if (proof)
        packet.connack.properties = *proof;
    if (connection->flags & LINK_V5)
        announce(broker, connection, connect, assigned, &packet.connack.properties);
    if (!broker_send(broker, connection, &packet)) {
        broker_link_end(broker, connection, now_us, CLOUD_CLOSED_CLIENT_ERROR, true);
        return;
    }
    if (broker->ops.connected)
        broker->ops.connected(broker->context, now_us, broker_client_id(session), broker_peer(broker, connection),
                              connect, resumed);
    broker_flow_drain(broker, session, now_us);
}

static bool join(struct cloud_broker *broker, struct cloud_connection *connection, struct session *session,
                 int64_t now_us, const struct mq5_connect *connect)
{
    if (!broker_will_set(broker, session, now_us, connect)) /* also cancels a delayed one (3.1.3-9) */
        return false;
    broker_timer_remove(broker, &connection->timer);
    connection->session = session;
    connection->keep_alive_s = granted_keep_alive(broker, connect->keep_alive_s);
    session->connection = connection;
    session->flags |= SESSION_LINKED;
    session->expiry_s = granted_expiry(broker, connect);
    if (session->expiry_s == 0)
        connection->flags |= LINK_EXPIRY_ZERO;
    return broker_session_rearm(broker, session); /* cannot fail: the link's own entry has just been given back */
}

/* Asks the hook. false: answered, or the link is gone. */
static bool authorised(struct cloud_broker *broker, struct cloud_connection *connection, int64_t now_us,
                       const struct mq5_connect *connect)
{
    if (!broker->ops.authorise_connect)
        return true;
    struct cloud_authorisation answer =
        broker->ops.authorise_connect(broker->context, now_us, connect, broker_peer(broker, connection));
    if (connection->flags & LINK_DEAD)
        return false;
    if (answer.reason == MQ5_SUCCESS)
        return true;
    bool elsewhere = answer.reason == MQ5_USE_ANOTHER_SERVER || answer.reason == MQ5_SERVER_MOVED;
    if (answer.silent)
        broker_link_end(broker, connection, now_us, CLOUD_CLOSED_NOT_AUTHORISED, true);
    else if (elsewhere)
        broker_redirect_connect(broker, connection, now_us, connect->version, answer.reason, answer.server_reference);
    else
        broker_refuse_connect(broker, connection, now_us, connect->version, answer.reason, NULL,
                              CLOUD_CLOSED_NOT_AUTHORISED);
    return false;
}

void broker_handle_connect(struct cloud_broker *broker, struct cloud_connection *connection, int64_t now_us,
                           const struct mq5_connect *connect, struct span bytes)
{
    const char *what = NULL;
    learn_limits(broker, connection, connect);
    uint8_t reason = check(broker, connect, &what);
    if (reason != MQ5_SUCCESS) {
        broker_refuse_connect(broker, connection, now_us, connect->version, reason, what, CLOUD_CLOSED_CLIENT_ERROR);
        return;
    }
    if (given(connect, MQ5_AUTHENTICATION_METHOD))
        broker_authentication_begin(broker, connection, now_us, connect, bytes);
    else
        broker_admit(broker, connection, now_us, connect, NULL);
}

void broker_admit(struct cloud_broker *broker, struct cloud_connection *connection, int64_t now_us,
                  const struct mq5_connect *connect, const struct mq5_properties *proof)
{
    char assigned_text[32];
    struct span client_id = connect->client_id, assigned = {NULL, 0};
    if (!authorised(broker, connection, now_us, connect))
        return;
    if (client_id.length == 0)
        client_id = assigned = assign_client_id(broker, assigned_text, sizeof(assigned_text));
    bool resumed;
    struct session *session = find_session(broker, connection, now_us, connect, client_id, &resumed);
    if (!session || !join(broker, connection, session, now_us, connect)) {
        if (session && !resumed)
            broker_session_end(broker, session, now_us);
        if (!(connection->flags & LINK_DEAD))
            broker_refuse_connect(broker, connection, now_us, connect->version, MQ5_QUOTA_EXCEEDED, NULL,
                                  CLOUD_CLOSED_LIMIT);
        return;
    }
    accept_connect(broker, connection, now_us, connect, proof, assigned, resumed);
}
