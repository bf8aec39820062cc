/* session.c: struct tcu_mqtt on Paho MQTTAsync, MQTT 5: somebody else's client under the same agent.
 *
 * Every attempt has a client of its own: the name is resolved, the certificate read anew, and Paho's automatic reconnect stays off, because
 * when to come back is the agent's business. What is unacknowledged when a connection ends is told as dropped when the next one is
 * accepted; the agent then publishes it anew. (At QoS 1 that is a copy at most, as a resent one would be. QoS 2 is not offered.)
 *
 * Paho's thread queues events and writes to wake_fd; the owner's thread does all else. Callbacks come with Paho's mutex held, so
 * ours is never held in a call to Paho.
 *
 * What Paho cannot do: end a connection without a DISCONNECT (abort() on a live link says good-bye), ping at another rate than the keep
 * alive. */
#include "paho_properties.h"
#include "ports_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { SUBSCRIBE_MAX = 2, DISCONNECT_MS = 1000, ATTEMPTS = 16, CONNECT_S = 20 };

enum ports_event_kind {
    EVENT_ACCEPTED,
    EVENT_REFUSED,
    EVENT_ENDED, /* link_end, text */
    EVENT_DISCONNECTED,
    EVENT_MESSAGE,
    EVENT_PUBLISHED,
    EVENT_SUBSCRIBED,
    EVENT_LEFT,
};

struct ports_event {
    struct ports_event *next;
    uint32_t attempt;
    enum ports_event_kind kind;
    enum tcu_link_end link_end;
    uint32_t token;
    uint8_t reason, maximum_qos;
    uint16_t receive_maximum;
    bool session_present;
    char text[160];
    struct mq5_publish publish;
    uint8_t bytes[];
};

/* What a callback of one operation needs. */
struct operation {
    struct ports_attempt attempt;
    uint32_t token;
};

/* ---- Paho's thread ---------------------------------------------------------------------------------------------------- */

static struct ports_event *event_make(const struct ports_attempt *attempt, enum ports_event_kind kind, size_t extra)
{
    struct ports_event *event = calloc(1, sizeof(*event) + extra);
    if (event) {
        event->attempt = attempt->number;
        event->kind = kind;
    }
    return event;
}

/* NULL: no memory; the event is as lost as on a bad link, and the agent's time-outs deal with it. */
static void event_queue(struct ports_session *session, struct ports_event *event)
{
    uint64_t one = 1;
    if (!event)
        return;
    pthread_mutex_lock(&session->mutex);
    *session->last = event;
    session->last = &event->next;
    pthread_mutex_unlock(&session->mutex);
    if (write(session->wake_fd, &one, sizeof(one)) < 0) /* full: it is awake */
        return;
}

static void on_accepted(void *context, MQTTAsync_successData5 *response)
{
    struct ports_attempt *attempt = context;
    struct ports_event *event = event_make(attempt, EVENT_ACCEPTED, 0);
    if (!event)
        return;
    MQTTProperties *properties = &response->properties;
    event->session_present = response->alt.connect.sessionPresent != 0;
    event->maximum_qos = 2;
    if (MQTTProperties_hasProperty(properties, MQTTPROPERTY_CODE_MAXIMUM_QOS))
        event->maximum_qos = (uint8_t)MQTTProperties_getNumericValue(properties, MQTTPROPERTY_CODE_MAXIMUM_QOS);
    event->receive_maximum = UINT16_MAX;
    if (MQTTProperties_hasProperty(properties, MQTTPROPERTY_CODE_RECEIVE_MAXIMUM))
        event->receive_maximum =
            (uint16_t)MQTTProperties_getNumericValue(properties, MQTTPROPERTY_CODE_RECEIVE_MAXIMUM);
    event_queue(attempt->session, event);
}

/* OpenSSL's line "thread:error:code:library:function:reason:file:line:" without what only its authors understand. */
static int on_tls_error(const char *line, size_t length, void *context)
{
    struct ports_session *session = context;
    const char *at = line, *end = line + length;
    for (int field = 0; field < 5 && at; field++)
        at = memchr(at, ':', (size_t)(end - at)) ? (const char *)memchr(at, ':', (size_t)(end - at)) + 1 : NULL;
    if (!at)
        return 1;
    const char *stop = memchr(at, ':', (size_t)(end - at));
    pthread_mutex_lock(&session->mutex);
    snprintf(session->tls_error, sizeof(session->tls_error), "%.*s", (int)((stop ? stop : end) - at), at);
    pthread_mutex_unlock(&session->mutex);
    return 1;
}

/* Paho's own words are few. "completion failure" is what comes after the link is there: a registration that has only begun closes it. */
static void explain(struct ports_session *session, const MQTTAsync_failureData5 *response, struct ports_event *event)
{
    const char *text = "closed before it is accepted";
    event->link_end = TCU_LINK_PEER_CLOSED;
    pthread_mutex_lock(&session->mutex);
    if (session->tls_error[0]) {
        event->link_end = TCU_LINK_TLS_FAILED;
        snprintf(event->text, sizeof(event->text), "TLS: %.140s", session->tls_error);
    } else if (!response->message) {
        event->link_end = TCU_LINK_RESOLVE_FAILED;
        text = "the name cannot be resolved";
    } else if (!strstr(response->message, "completion")) {
        event->link_end = TCU_LINK_CONNECT_FAILED;
        text = session->tls ? "cannot reach it, or it ends the TLS handshake" : "cannot reach it";
    }
    pthread_mutex_unlock(&session->mutex);
    if (!event->text[0])
        snprintf(event->text, sizeof(event->text), "%s (Paho: %.80s)", text,
                 response->message ? response->message : "no more is known");
}

/* CONNACK's reason comes as reasonCode or as code, depending on where in Paho it is noticed. */
static void on_not_accepted(void *context, MQTTAsync_failureData5 *response)
{
    struct ports_attempt *attempt = context;
    int reason = (int)response->reasonCode >= MQ5_UNSPECIFIED_ERROR ? (int)response->reasonCode : response->code;
    struct ports_event *event = event_make(attempt, reason >= MQ5_UNSPECIFIED_ERROR ? EVENT_REFUSED : EVENT_ENDED, 0);
    if (!event)
        return;
    event->reason = (uint8_t)reason;
    if (event->kind == EVENT_ENDED)
        explain(attempt->session, response, event);
    event_queue(attempt->session, event);
}

static void on_lost(void *context, char *cause)
{
    struct ports_attempt *attempt = context;
    struct ports_event *event = event_make(attempt, EVENT_ENDED, 0);
    if (event)
        snprintf(event->text, sizeof(event->text), "%.150s", cause ? cause : "the link is lost");
    event_queue(attempt->session, event);
}

static void on_server_disconnect(void *context, MQTTProperties *properties, enum MQTTReasonCodes reason)
{
    struct ports_attempt *attempt = context;
    struct ports_event *event = event_make(attempt, EVENT_DISCONNECTED, 0);
    if (event)
        event->reason = (uint8_t)reason;
    event_queue(attempt->session, event);
}

static struct ports_event *copy_message(const struct ports_attempt *attempt, struct span topic,
                                        const MQTTAsync_message *message)
{
    size_t payload_length = (size_t)message->payloadlen;
    size_t extra = topic.length + payload_length + paho_properties_bytes(&message->properties);
    struct ports_event *event = event_make(attempt, EVENT_MESSAGE, extra);
    if (!event)
        return NULL;
    memcpy(event->bytes, topic.data, topic.length);
    if (payload_length)
        memcpy(event->bytes + topic.length, message->payload, payload_length);
    event->publish = (struct mq5_publish){.qos = (uint8_t)message->qos,
                                          .retain = message->retained != 0,
                                          .dup = message->dup != 0,
                                          .packet_id = (uint16_t)message->msgid,
                                          .topic = span_of(event->bytes, topic.length),
                                          .payload = span_of(event->bytes + topic.length, payload_length)};
    paho_properties_in(&event->publish.properties, &message->properties, event->bytes + topic.length + payload_length);
    return event;
}

/* 0 asks Paho to bring the message again: nothing is acknowledged that we have no memory for. */
static int on_message(void *context, char *topic, int topic_length, MQTTAsync_message *message)
{
    struct ports_attempt *attempt = context;
    size_t length = topic_length > 0 ? (size_t)topic_length : strlen(topic);
    struct ports_event *event = copy_message(attempt, span_of(topic, length), message);
    if (!event)
        return 0;
    event_queue(attempt->session, event);
    MQTTAsync_freeMessage(&message);
    MQTTAsync_free(topic);
    return 1;
}

static void operation_ended(struct operation *operation, enum ports_event_kind kind, uint8_t reason)
{
    struct ports_event *event = event_make(&operation->attempt, kind, 0);
    if (event) {
        event->token = operation->token;
        event->reason = reason;
    }
    event_queue(operation->attempt.session, event);
    free(operation);
}

static void on_published(void *context, MQTTAsync_successData5 *response)
{
    operation_ended(context, EVENT_PUBLISHED, (uint8_t)response->reasonCode);
}

/* Refused by the broker: the message's end. Given up by Paho: it stays outstanding until the next connection tells. */
static void on_not_published(void *context, MQTTAsync_failureData5 *response)
{
    if ((int)response->reasonCode >= MQ5_UNSPECIFIED_ERROR)
        operation_ended(context, EVENT_PUBLISHED, (uint8_t)response->reasonCode);
    else
        free(context);
}

/* Of several filters the worst counts: the agent asks for all or none. */
static void on_subscribed(void *context, MQTTAsync_successData5 *response)
{
    uint8_t worst = (uint8_t)response->reasonCode;
    for (int i = 0; i < response->alt.sub.reasonCodeCount && response->alt.sub.reasonCodeCount > 1; i++)
        if ((uint8_t)response->alt.sub.reasonCodes[i] > worst)
            worst = (uint8_t)response->alt.sub.reasonCodes[i];
    operation_ended(context, EVENT_SUBSCRIBED, worst);
}

static void on_not_subscribed(void *context, MQTTAsync_failureData5 *response)
{
    if ((int)response->reasonCode >= MQ5_UNSPECIFIED_ERROR)
        operation_ended(context, EVENT_SUBSCRIBED, (uint8_t)response->reasonCode);
    else
        free(context);
}

static void on_left(void *context, MQTTAsync_successData5 *response)
{
    operation_ended(context, EVENT_LEFT, 0);
}

static void on_not_left(void *context, MQTTAsync_failureData5 *response)
{
    operation_ended(context, EVENT_LEFT, 0);
}

/* ---- owner's thread: connecting --------------------------------------------------------------------------------------- */

static struct ports_attempt *attempt_begin(struct ports_session *session)
{
    uint32_t number = ++session->last_number;
    struct ports_attempt *attempt = &session->attempts[number % ATTEMPTS];
    *attempt = (struct ports_attempt){session, number};
    pthread_mutex_lock(&session->mutex);
    session->tls_error[0] = 0;
    pthread_mutex_unlock(&session->mutex);
    session->token_error[0] = 0;
    session->online = false;
    session->attempt = attempt;
    return attempt;
}

static void forget_leaving(struct ports_session *session)
{
    if (session->leaving)
        MQTTAsync_destroy(&session->leaving);
    session->leaving = NULL;
}

static void text_of(struct span text, char *out, size_t capacity)
{
    snprintf(out, capacity, "%.*s", (int)text.length, text.length ? (const char *)text.data : "");
}

/* Everything the options point to must hold until MQTTAsync_connect() has copied it. */
struct connect_parts {
    MQTTAsync_connectOptions options;
    MQTTAsync_SSLOptions tls;
    MQTTAsync_willOptions will;
    MQTTProperties properties, will_properties;
    char user_name[64], will_topic[256];
};

/* With a token, a certificate whose key is there is no business of Paho's: it is told of none, and token_tls.c shows it. */
static void leave_to_token(struct connect_parts *parts, struct ports_session *session)
{
    struct ports_token *token = session->store->token;
    bool ours = parts->tls.keyStore && !parts->tls.privateKey;
    if (!ports_token_show(token, ours ? parts->tls.keyStore : NULL))
        ports_token_why(token, session->token_error, sizeof(session->token_error));
    if (ours)
        parts->tls.keyStore = NULL;
}

static void fill_tls(struct connect_parts *parts, struct ports_session *session, enum tcu_identity identity)
{
    parts->tls = (MQTTAsync_SSLOptions)MQTTAsync_SSLOptions_initializer;
    parts->tls.trustStore = session->options->ca_file;
    parts->tls.verify = 1;
    parts->tls.ssl_error_cb = on_tls_error;
    parts->tls.ssl_error_context = session;
    if (identity == TCU_OPERATIONAL || identity == TCU_OPERATIONAL_SECOND) {
        const char *path = session->store->identity_path[identity == TCU_OPERATIONAL_SECOND];
        parts->tls.keyStore = path;
        parts->tls.privateKey = session->store->token ? NULL : path;
    } else if (identity == TCU_CLAIM) {
        parts->tls.keyStore = session->options->claim_certificate;
        parts->tls.privateKey = session->options->claim_key;
    } else if (identity == TCU_ATTESTATION) {
        parts->tls.keyStore = session->options->attestation_certificate;
        parts->tls.privateKey = session->options->attestation_key;
    }
    if (session->store->token)
        leave_to_token(parts, session);
    parts->options.ssl = &parts->tls;
}

static void fill_will(struct connect_parts *parts, const struct mq5_publish *will)
{
    parts->will = (MQTTAsync_willOptions)MQTTAsync_willOptions_initializer;
    text_of(will->topic, parts->will_topic, sizeof(parts->will_topic));
    parts->will.topicName = parts->will_topic;
    parts->will.payload.data = will->payload.data;
    parts->will.payload.len = (int)will->payload.length;
    parts->will.qos = will->qos;
    parts->will.retained = will->retain;
    paho_properties_out(&parts->will_properties, &will->properties);
    parts->options.will = &parts->will;
    parts->options.willProperties = &parts->will_properties;
}

static void fill(struct connect_parts *parts, struct ports_attempt *attempt, enum tcu_identity identity,
                 const struct mq5_client_connect *connect)
{
    memset(parts, 0, sizeof(*parts));
    parts->options = (MQTTAsync_connectOptions)MQTTAsync_connectOptions_initializer5;
    parts->options.keepAliveInterval = connect->keep_alive_s;
    parts->options.cleanstart = connect->clean_start;
    parts->options.connectTimeout = CONNECT_S; /* the agent's own comes first */
    parts->options.maxInflight = PORTS_OUTGOING_MAX;
    parts->options.onSuccess5 = on_accepted;
    parts->options.onFailure5 = on_not_accepted;
    parts->options.context = attempt;
    if (connect->user_name.length) {
        text_of(connect->user_name, parts->user_name, sizeof(parts->user_name));
        parts->options.username = parts->user_name;
        parts->options.binarypwd.data = connect->password.data;
        parts->options.binarypwd.len = (int)connect->password.length;
    }
    if (connect->session_expiry_s)
        paho_property_add(&parts->properties, MQTTPROPERTY_CODE_SESSION_EXPIRY_INTERVAL, connect->session_expiry_s);
    parts->options.connectProperties = &parts->properties;
    if (attempt->session->tls)
        fill_tls(parts, attempt->session, identity);
    if (connect->will)
        fill_will(parts, connect->will);
}

static int open_client(struct ports_session *session, struct ports_attempt *attempt, enum tcu_identity identity,
                       const struct mq5_client_connect *connect)
{
    MQTTAsync_createOptions create = MQTTAsync_createOptions_initializer5;
    struct connect_parts parts;
    char client_id[TCU_NAME_MAX + 1];
    text_of(connect->client_id, client_id, sizeof(client_id));
    int result = MQTTAsync_createWithOptions(&session->client, session->uri, client_id, MQTTCLIENT_PERSISTENCE_NONE,
                                             NULL, &create);
    if (result != MQTTASYNC_SUCCESS) {
        session->client = NULL;
        return result;
    }
    MQTTAsync_setCallbacks(session->client, attempt, on_lost, on_message, NULL);
    MQTTAsync_setDisconnected(session->client, attempt, on_server_disconnect);
    fill(&parts, attempt, identity, connect);
    result = MQTTAsync_connect(session->client, &parts.options);
    MQTTProperties_free(&parts.properties);
    MQTTProperties_free(&parts.will_properties);
    return result;
}

static void session_connect(void *mqtt, int64_t now_us, enum tcu_identity identity,
                            const struct mq5_client_connect *connect)
{
    struct ports_session *session = mqtt;
    struct ports_attempt *attempt = attempt_begin(session);
    forget_leaving(session); /* one client id, one client */
    int result = open_client(session, attempt, identity, connect);
    if (result == MQTTASYNC_SUCCESS)
        return;
    struct ports_event *event =
        event_make(attempt, EVENT_ENDED, 0); /* told later: never from inside a call of the agent's */
    const char *text = MQTTAsync_strerror(result);
    if (event) {
        event->link_end = TCU_LINK_CONNECT_FAILED;
        snprintf(event->text, sizeof(event->text), "%.150s", text ? text : "Paho cannot begin");
    }
    event_queue(session, event);
}

static void session_disconnect(void *mqtt, int64_t now_us, uint8_t reason)
{
    struct ports_session *session = mqtt;
    MQTTAsync_disconnectOptions options = MQTTAsync_disconnectOptions_initializer5;
    struct operation *operation = session->attempt ? calloc(1, sizeof(*operation)) : NULL;
    int result = MQTTASYNC_FAILURE;
    if (operation) {
        *operation = (struct operation){*session->attempt, 0};
        options.timeout = DISCONNECT_MS;
        options.reasonCode = (enum MQTTReasonCodes)reason;
        options.onSuccess5 = on_left;
        options.onFailure5 = on_not_left;
        options.context = operation;
        result = MQTTAsync_disconnect(session->client, &options);
    }
    forget_leaving(session);
    session->leaving = session->client;
    session->client = NULL;
    session->attempt = NULL;
    session->online = false;
    if (result != MQTTASYNC_SUCCESS) {
        free(operation);
        forget_leaving(session);
    }
}

static void session_abort(void *mqtt, int64_t now_us)
{
    struct ports_session *session = mqtt;
    session->attempt = NULL;
    session->online = false;
    if (session->client)
        MQTTAsync_destroy(&session->client);
    session->client = NULL;
}

/* ---- owner's thread: operations --------------------------------------------------------------------------------------- */

static bool has_room(const struct ports_session *session)
{
    return session->outstanding_count < PORTS_OUTGOING_MAX &&
           session->outstanding_count < session->peer_receive_maximum;
}

static bool outstanding_remove(struct ports_session *session, uint32_t token)
{
    for (unsigned i = 0; i < session->outstanding_count; i++)
        if (session->outstanding[i] == token) {
            session->outstanding_count--;
            memmove(&session->outstanding[i], &session->outstanding[i + 1],
                    (session->outstanding_count - i) * sizeof(token));
            return true;
        }
    return false;
}

static struct operation *operation_make(const struct ports_session *session, uint32_t token)
{
    struct operation *operation = malloc(sizeof(*operation));
    if (operation)
        *operation = (struct operation){*session->attempt, token};
    return operation;
}

static int send_message(struct ports_session *session, const struct mq5_publish *message, struct operation *operation)
{
    MQTTAsync_message out = MQTTAsync_message_initializer;
    MQTTAsync_responseOptions options = MQTTAsync_responseOptions_initializer;
    char topic[256];
    text_of(message->topic, topic, sizeof(topic));
    if (operation) {
        options.onSuccess5 = on_published;
        options.onFailure5 = on_not_published;
        options.context = operation;
    }
    out.payload = (void *)(uintptr_t)message->payload.data;
    out.payloadlen = (int)message->payload.length;
    out.qos = message->qos;
    out.retained = message->retain;
    paho_properties_out(&out.properties, &message->properties);
    int result = MQTTAsync_sendMessage(session->client, topic, &out, &options);
    MQTTProperties_free(&out.properties);
    return result;
}

static enum mq5_client_result result_of(int code)
{
    if (code == MQTTASYNC_SUCCESS)
        return MQ5C_DONE;
    if (code == MQTTASYNC_MAX_BUFFERED_MESSAGES || code == MQTTASYNC_NO_MORE_MSGIDS)
        return MQ5C_WAIT;
    return code == MQTTASYNC_DISCONNECTED ? MQ5C_OFFLINE : MQ5C_BAD;
}

static void tell(struct ports_session *session, int64_t now_us, enum mq5_client_event_kind kind, uint32_t token,
                 uint8_t reason, const struct mq5_packet *packet)
{
    struct mq5_client_event event = {.kind = kind, .reason = reason, .token = token, .packet = packet};
    tcu_mqtt_event(session->tcu, now_us, &event);
}

static enum mq5_client_result publish_at_most_once(struct ports_session *session, int64_t now_us, uint32_t token,
                                                   const struct mq5_publish *message)
{
    enum mq5_client_result result = result_of(send_message(session, message, NULL));
    if (result == MQ5C_DONE)
        tell(session, now_us, MQ5C_EV_PUBLISHED, token, MQ5_SUCCESS, NULL);
    return result;
}

static enum mq5_client_result session_publish(void *mqtt, int64_t now_us, uint32_t token, uint8_t alias_slot)
{
    struct ports_session *session = mqtt;
    struct mq5_publish message;
    if (!session->online)
        return MQ5C_OFFLINE;
    if (!has_room(session))
        return MQ5C_WAIT;
    if (!tcu_mqtt_load(session->tcu, token, &message) || message.topic.length >= 256)
        return MQ5C_BAD;
    if (message.qos > session->peer_qos)
        return MQ5C_NOT_WITH_PEER;
    if (message.qos == 0)
        return publish_at_most_once(session, now_us, token, &message);
    struct operation *operation = operation_make(session, token);
    if (!operation)
        return MQ5C_WAIT;
    session->outstanding[session->outstanding_count++] = token;
    enum mq5_client_result result = result_of(send_message(session, &message, operation));
    if (result != MQ5C_DONE) {
        outstanding_remove(session, token);
        free(operation);
    }
    return result;
}

static enum mq5_client_result session_subscribe(void *mqtt, int64_t now_us, uint32_t token,
                                                const struct mq5_subscription *list, uint32_t count)
{
    struct ports_session *session = mqtt;
    MQTTAsync_responseOptions options = MQTTAsync_responseOptions_initializer;
    MQTTSubscribe_options each[SUBSCRIBE_MAX];
    char texts[SUBSCRIBE_MAX][256], *filters[SUBSCRIBE_MAX];
    int qos[SUBSCRIBE_MAX];
    if (!session->online)
        return MQ5C_OFFLINE;
    if (!has_room(session))
        return MQ5C_WAIT;
    struct operation *operation = count > 0 && count <= SUBSCRIBE_MAX ? operation_make(session, token) : NULL;
    if (!operation)
        return MQ5C_BAD;
    for (uint32_t i = 0; i < count; i++) {
        text_of(list[i].filter, texts[i], sizeof(texts[i]));
        filters[i] = texts[i];
        qos[i] = list[i].qos;
        each[i] = (MQTTSubscribe_options)MQTTSubscribe_options_initializer;
        each[i].noLocal = list[i].no_local;
        each[i].retainAsPublished = list[i].retain_as_published;
        each[i].retainHandling = list[i].retain_handling;
    }
    options.onSuccess5 = on_subscribed;
    options.onFailure5 = on_not_subscribed;
    options.context = operation;
    options.subscribeOptionsCount = (int)count;
    options.subscribeOptionsList = each;
    enum mq5_client_result result =
        result_of(MQTTAsync_subscribeMany(session->client, (int)count, filters, qos, &options));
    if (result == MQ5C_DONE)
        session->outstanding[session->outstanding_count++] = token;
    else
        free(operation);
    return result;
}

const struct tcu_mqtt ports_session_mqtt = {
    .connect = session_connect,
    .publish = session_publish,
    .subscribe = session_subscribe,
    .disconnect = session_disconnect,
    .abort = session_abort,
};

/* ---- owner's thread: events --------------------------------------------------------------------------------------------- */

/* What the last connection left open is told first, so that the agent sends in its own order. */
static void accepted(struct ports_session *session, int64_t now_us, const struct ports_event *event)
{
    struct mq5_packet packet = {.type = MQ5_CONNACK};
    packet.connack.session_present = event->session_present;
    if (event->maximum_qos < 2) {
        packet.connack.properties.present = MQ5_BIT(MQ5_MAXIMUM_QOS);
        packet.connack.properties.maximum_qos = event->maximum_qos;
    }
    while (session->outstanding_count > 0)
        tell(session, now_us, MQ5C_EV_DROPPED, session->outstanding[--session->outstanding_count], 0, NULL);
    session->online = true;
    session->peer_qos = event->maximum_qos < 1 ? event->maximum_qos : 1;
    session->peer_receive_maximum = event->receive_maximum;
    session->why[0] = 0;
    session->token_error[0] = 0;
    tell(session, now_us, MQ5C_EV_CONNACK, 0, MQ5_SUCCESS, &packet);
}

static void granted(struct ports_session *session, int64_t now_us, const struct ports_event *event)
{
    struct mq5_packet packet = {.type = MQ5_SUBACK};
    packet.suback.reasons = span_of(&event->reason, 1);
    if (outstanding_remove(session, event->token))
        tell(session, now_us, MQ5C_EV_SUBSCRIBED, event->token, event->reason, &packet);
}

static void ended(struct ports_session *session, int64_t now_us, const struct ports_event *event)
{
    snprintf(session->why, sizeof(session->why), "%s", session->token_error[0] ? session->token_error : event->text);
    tcu_link_down(session->tcu, now_us, event->link_end);
}

static void handle(struct ports_session *session, int64_t now_us, const struct ports_event *event)
{
    if (event->kind == EVENT_LEFT) {
        if (session->leaving && event->attempt == session->last_number)
            forget_leaving(session);
        return;
    }
    if (!session->attempt || event->attempt != session->attempt->number)
        return;
    struct mq5_packet packet = {.type = MQ5_PUBLISH, .publish = event->publish};
    switch (event->kind) {
    case EVENT_ACCEPTED: accepted(session, now_us, event); break;
    case EVENT_REFUSED: tell(session, now_us, MQ5C_EV_REFUSED, 0, event->reason, NULL); break;
    case EVENT_ENDED: ended(session, now_us, event); break;
    case EVENT_DISCONNECTED: tell(session, now_us, MQ5C_EV_DISCONNECTED, 0, event->reason, NULL); break;
    case EVENT_MESSAGE: tell(session, now_us, MQ5C_EV_MESSAGE, 0, 0, &packet); break;
    case EVENT_PUBLISHED:
        if (outstanding_remove(session, event->token))
            tell(session, now_us, MQ5C_EV_PUBLISHED, event->token, event->reason, NULL);
        break;
    case EVENT_SUBSCRIBED: granted(session, now_us, event); break;
    case EVENT_LEFT: break;
    }
}

static struct ports_event *take_events(struct ports_session *session)
{
    pthread_mutex_lock(&session->mutex);
    struct ports_event *list = session->first;
    session->first = NULL;
    session->last = &session->first;
    pthread_mutex_unlock(&session->mutex);
    return list;
}

void ports_session_run(struct ports_session *session, int64_t now_us)
{
    struct ports_event *list = take_events(session);
    while (list) {
        struct ports_event *next = list->next;
        handle(session, now_us, list);
        free(list);
        list = next;
    }
}

bool ports_session_left(const struct ports_session *session)
{
    return session->leaving == NULL;
}

/* mqtt:// and mqtts:// as Paho of every age knows them, with the port that they imply. */
static bool read_uri(struct ports_session *session, const char *broker)
{
    session->tls = strncmp(broker, "mqtts://", 8) == 0;
    if (!session->tls && strncmp(broker, "mqtt://", 7) != 0)
        return false;
    const char *host = broker + (session->tls ? 8 : 7), *bracket = strchr(host, ']');
    const char *colon = strchr(bracket ? bracket : host, ':');
    size_t length = strcspn(host, "/ ");
    long port = colon ? strtol(colon + 1, NULL, 10) : session->tls ? 8883 : 1883;
    if (length == 0 || host[length] || colon == host || port < 1 || port > 65535)
        return false;
    size_t host_length = colon ? (size_t)(colon - host) : length;
    int used = snprintf(session->uri, sizeof(session->uri), "%s://%.*s:%ld", session->tls ? "ssl" : "tcp",
                        (int)host_length, host, port);
    return used > 0 && (size_t)used < sizeof(session->uri);
}

bool ports_session_open(struct ports_session *session, const struct tcu_run_options *options,
                        const struct ports_store *store, int wake_fd, char *error, size_t error_capacity)
{
    MQTTAsync_init_options once = MQTTAsync_init_options_initializer; /* OpenSSL initialises itself */
    memset(session, 0, sizeof(*session));
    session->options = options;
    session->store = store;
    session->wake_fd = wake_fd;
    session->last = &session->first;
    if (!read_uri(session, options->broker)) {
        snprintf(error, error_capacity, "'%s' is no broker address; write mqtt://HOST:PORT or mqtts://HOST:PORT",
                 options->broker);
        return false;
    }
    pthread_mutex_init(&session->mutex, NULL);
    MQTTAsync_global_init(&once);
    return true;
}

void ports_session_close(struct ports_session *session)
{
    session_abort(session, 0);
    forget_leaving(session);
    for (struct ports_event *list = take_events(session), *next; list; list = next) {
        next = list->next;
        free(list);
    }
    pthread_mutex_destroy(&session->mutex);
}
