/* paho_bus.c: a bus over somebody else's broker, through Paho MQTTAsync speaking MQTT 5.
 *
 * Two threads meet here. Paho's calls the on_...() functions: they copy what came into a queue under the mutex and call wake(). The owner's calls
 * everything else: cloud_bus_poll() takes the whole queue and runs the handlers. The list of subscriptions is written by the owner only, under
 * the mutex, because Paho's thread reads it to subscribe anew after a reconnect.
 *
 * A message is given to handlers by the subscription identifiers it carries, so that a broker that sends one copy for each of two
 * overlapping subscriptions does not run a handler twice; by its topic where the broker has no such identifiers. */
#include "paho.h"

#include "mqtt5/topic.h"
#include "paho_properties.h"

#include <MQTTAsync.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum {
    QUEUE_MAX = 1000000,    /* messages waiting for the owner */
    OUTGOING_MAX = 1000000, /* messages waiting for the broker */
    SUBSCRIBE_MS = 10000,
    DISCONNECT_MS = 2000,
    KEEP_ALIVE_S = 30,
    RECONNECT_MAX_S = 8,
    SESSION_EXPIRY_S = 600, /* what is published to us while the connection is down for so long is not lost */
};

struct subscriber {
    char *filter;        /* as subscribed */
    struct span matched; /* without "$share/name/" */
    uint32_t id;         /* subscription identifier: the same for the same filter */
    uint8_t qos;
    bool granted;
    cloud_bus_handler *handler;
    void *context;
};

/* A message on its way from Paho's thread to the owner's, in one block. */
struct arrival {
    struct arrival *next;
    int64_t at_us;
    struct mq5_publish publish;
    uint8_t bytes[];
};

/* An answer somebody waits for; whoever comes last frees it. */
struct wait {
    struct remote_bus *bus;
    bool done, abandoned;
    uint8_t reason;
};

struct remote_bus {
    struct cloud_bus base;
    MQTTAsync client;
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    struct arrival *first, **last;
    uint32_t queued;
    struct cloud_bus_counts counts;
    struct subscriber *list;
    uint32_t count, capacity;
    bool ids_available, shared_available;
    bool connected, ever_connected;
    void (*wake)(void *context);
    void *wake_context;
    /* The first connection. */
    bool attempt_over;
    int attempt_code;
    uint8_t attempt_reason;
};

static int64_t monotonic_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * US_PER_S + now.tv_nsec / 1000;
}

/* With the mutex held; true: *flag came true in time. */
static bool wait_until(struct remote_bus *bus, const bool *flag, int timeout_ms)
{
    int64_t end_us = monotonic_us() + timeout_ms * US_PER_MS;
    struct timespec end = {end_us / US_PER_S, (end_us % US_PER_S) * 1000};
    while (!*flag)
        if (pthread_cond_timedwait(&bus->changed, &bus->mutex, &end) == ETIMEDOUT)
            return *flag;
    return true;
}

/* ---- Paho's thread ------------------------------------------------------------------------------------------------- */

static struct arrival *copy_arrival(const char *topic, size_t topic_length, const MQTTAsync_message *message)
{
    size_t payload_length = (size_t)message->payloadlen;
    struct arrival *copy =
        calloc(1, sizeof(*copy) + topic_length + payload_length + paho_properties_bytes(&message->properties));
    if (!copy)
        return NULL;
    uint8_t *at = copy->bytes;
    memcpy(at, topic, topic_length);
    copy->publish.topic = span_of(at, topic_length);
    at += topic_length;
    if (payload_length)
        memcpy(at, message->payload, payload_length);
    copy->publish.payload = span_of(at, payload_length);
    copy->publish.qos = (uint8_t)message->qos;
    copy->publish.retain = message->retained != 0;
    copy->publish.dup = message->dup != 0;
    copy->at_us = monotonic_us();
    paho_properties_in(&copy->publish.properties, &message->properties, at + payload_length);
    return copy;
}

/* Also without a message: something else has happened that the owner may want to look at. */
static void wake_owner(struct remote_bus *bus)
{
    if (bus->wake)
        bus->wake(bus->wake_context);
}

static void enqueue(struct remote_bus *bus, struct arrival *arrival)
{
    pthread_mutex_lock(&bus->mutex);
    bool full = !arrival || bus->queued >= QUEUE_MAX, was_empty = bus->queued == 0, first_lost = false;
    if (full) {
        first_lost = bus->counts.overflowed++ == 0;
    } else {
        bus->counts.arrived++;
        bus->queued++;
        *bus->last = arrival;
        bus->last = &arrival->next;
    }
    pthread_mutex_unlock(&bus->mutex);
    if (first_lost)
        fprintf(
            stderr,
            "convoy: more than %d messages wait for the cloud's services; from here on some are lost (and counted)\n",
            QUEUE_MAX);
    if (full)
        free(arrival);
    else if (was_empty)
        wake_owner(bus);
}

static int on_message(void *context, char *topic, int topic_length, MQTTAsync_message *message)
{
    /* Paho gives 0 when the topic contains no NUL. */
    size_t length = topic_length > 0 ? (size_t)topic_length : strlen(topic);
    enqueue(context, copy_arrival(topic, length, message));
    MQTTAsync_freeMessage(&message);
    MQTTAsync_free(topic);
    return 1;
}

static void on_lost(void *context, char *cause)
{
    struct remote_bus *bus = context;
    pthread_mutex_lock(&bus->mutex);
    bus->connected = false;
    pthread_mutex_unlock(&bus->mutex);
    wake_owner(bus);
}

static void on_server_disconnect(void *context, MQTTProperties *properties, enum MQTTReasonCodes reason)
{
    on_lost(context, NULL);
}

static int send_subscribe(struct remote_bus *bus, const struct subscriber *subscriber, struct wait *wait);

/* What was granted stays in the list until the end, so the filters may be used without the mutex: it must not be held in calls to Paho, which
 * calls us with its own mutex held. */
static struct subscriber *granted_copy(const struct remote_bus *bus, uint32_t *count)
{
    struct subscriber *copy = malloc((bus->count + 1) * sizeof(*copy));
    *count = 0;
    for (uint32_t i = 0; copy && i < bus->count; i++)
        if (bus->list[i].granted)
            copy[(*count)++] = bus->list[i];
    return copy;
}

/* Called after every successful connect. The first finds no subscription; after a reconnect retained messages come again only for
 * subscriptions that the broker has forgotten. */
static void on_connected(void *context, char *cause)
{
    struct remote_bus *bus = context;
    uint32_t count;
    pthread_mutex_lock(&bus->mutex);
    if (bus->ever_connected)
        bus->counts.reconnects++;
    bus->connected = bus->ever_connected = true;
    struct subscriber *again = granted_copy(bus, &count);
    pthread_mutex_unlock(&bus->mutex);
    for (uint32_t i = 0; i < count; i++)
        send_subscribe(bus, &again[i], NULL);
    free(again);
    wake_owner(bus);
}

static void attempt_over(struct remote_bus *bus, int code, uint8_t reason)
{
    pthread_mutex_lock(&bus->mutex);
    bus->attempt_over = true;
    bus->attempt_code = code;
    bus->attempt_reason = reason;
    pthread_cond_broadcast(&bus->changed);
    pthread_mutex_unlock(&bus->mutex);
}

static void on_accepted(void *context, MQTTAsync_successData5 *response)
{
    struct remote_bus *bus = context;
    int ids =
        MQTTProperties_getNumericValue(&response->properties, MQTTPROPERTY_CODE_SUBSCRIPTION_IDENTIFIERS_AVAILABLE);
    int shared = MQTTProperties_getNumericValue(&response->properties, MQTTPROPERTY_CODE_SHARED_SUBSCRIPTION_AVAILABLE);
    pthread_mutex_lock(&bus->mutex);
    bus->ids_available = ids != 0; /* absent: available */
    bus->shared_available = shared != 0;
    pthread_mutex_unlock(&bus->mutex);
    attempt_over(bus, 0, MQ5_SUCCESS);
}

static void on_refused(void *context, MQTTAsync_failureData5 *response)
{
    int reason = (int)response->reasonCode;
    if (reason < MQ5_UNSPECIFIED_ERROR && response->code >= MQ5_UNSPECIFIED_ERROR) /* Paho puts CONNACK's reason here */
        reason = response->code;
    attempt_over(context, response->code ? response->code : MQTTASYNC_FAILURE, (uint8_t)reason);
}

static void answered(struct wait *wait, uint8_t reason)
{
    struct remote_bus *bus = wait->bus;
    pthread_mutex_lock(&bus->mutex);
    bool abandoned = wait->abandoned;
    wait->done = true;
    wait->reason = reason;
    pthread_cond_broadcast(&bus->changed);
    pthread_mutex_unlock(&bus->mutex);
    if (abandoned)
        free(wait);
}

static void on_subscribed(void *context, MQTTAsync_successData5 *response)
{
    /* alt.sub is filled for more than one filter only; we ask for one at a time. */
    answered(context, (uint8_t)response->reasonCode);
}

static void on_not_subscribed(void *context, MQTTAsync_failureData5 *response)
{
    uint8_t reason = (uint8_t)response->reasonCode;
    answered(context, reason >= MQ5_UNSPECIFIED_ERROR ? reason : MQ5_UNSPECIFIED_ERROR);
}

static void on_left(void *context, MQTTAsync_successData5 *response)
{
    answered(context, MQ5_SUCCESS);
}

static void on_not_published(void *context, MQTTAsync_failureData5 *response)
{
    struct remote_bus *bus = context;
    pthread_mutex_lock(&bus->mutex);
    bus->counts.publish_failed++;
    pthread_mutex_unlock(&bus->mutex);
}

/* ---- owner's thread: subscriptions ---------------------------------------------------------------------------------- */

static int send_subscribe(struct remote_bus *bus, const struct subscriber *subscriber, struct wait *wait)
{
    MQTTAsync_responseOptions options = MQTTAsync_responseOptions_initializer;
    bool again = wait == NULL;
    if (wait) {
        options.onSuccess5 = on_subscribed;
        options.onFailure5 = on_not_subscribed;
        options.context = wait;
    }
    options.subscribeOptions.retainHandling =
        again && strncmp(subscriber->filter, "$share/", 7) != 0 ? MQ5_RETAIN_SEND_IF_NEW : MQ5_RETAIN_SEND;
    if (bus->ids_available)
        paho_property_add(&options.properties, MQTTPROPERTY_CODE_SUBSCRIPTION_IDENTIFIER, subscriber->id);
    int result = MQTTAsync_subscribe(bus->client, subscriber->filter, subscriber->qos, &options);
    MQTTProperties_free(&options.properties);
    return result;
}

static uint32_t id_of(const struct remote_bus *bus, const char *filter)
{
    uint32_t largest = 0;
    for (uint32_t i = 0; i < bus->count; i++) {
        if (strcmp(bus->list[i].filter, filter) == 0)
            return bus->list[i].id;
        largest = bus->list[i].id > largest ? bus->list[i].id : largest;
    }
    return largest + 1;
}

static bool list_add(struct remote_bus *bus, struct span filter, uint8_t qos, cloud_bus_handler *handler, void *context)
{
    if (bus->count == bus->capacity) {
        uint32_t wanted = bus->capacity ? bus->capacity * 2 : 8;
        struct subscriber *list = realloc(bus->list, wanted * sizeof(*list));
        if (!list)
            return false;
        bus->list = list;
        bus->capacity = wanted;
    }
    char *copy = malloc(filter.length + 1);
    if (!copy)
        return false;
    memcpy(copy, filter.data, filter.length);
    copy[filter.length] = 0;
    struct span name, rest = span_of(copy, filter.length);
    mq5_topic_share_split(rest, &name, &rest);
    bus->list[bus->count] = (struct subscriber){copy, rest, id_of(bus, copy), qos, false, handler, context};
    bus->count++;
    return true;
}

static void list_remove_last(struct remote_bus *bus)
{
    free(bus->list[--bus->count].filter);
}

/* With the mutex held; gives it up while waiting. The wait may outlive us: then the callback frees it. */
static uint8_t wait_for_answer(struct remote_bus *bus, struct wait *wait, int timeout_ms)
{
    uint8_t reason = MQ5_UNSPECIFIED_ERROR;
    if (wait_until(bus, &wait->done, timeout_ms)) {
        reason = wait->reason;
        free(wait);
    } else {
        wait->abandoned = true;
    }
    return reason;
}

static uint8_t subscribe(struct cloud_bus *base, int64_t now_us, struct span filter, uint8_t qos,
                         cloud_bus_handler *handler, void *context)
{
    struct remote_bus *bus = (struct remote_bus *)base;
    if (!mq5_topic_filter_valid(filter))
        return MQ5_TOPIC_FILTER_INVALID;
    /* A broker that says so ends the connection of whoever asks all the same. */
    if (!bus->shared_available && filter.length > 7 && memcmp(filter.data, "$share/", 7) == 0)
        return MQ5_SHARED_SUBSCRIPTIONS_NOT_SUPPORTED;
    struct wait *wait = calloc(1, sizeof(*wait));
    if (!wait)
        return MQ5_QUOTA_EXCEEDED;
    wait->bus = bus;
    pthread_mutex_lock(&bus->mutex);
    if (!list_add(bus, filter, qos, handler, context)) {
        pthread_mutex_unlock(&bus->mutex);
        free(wait);
        return MQ5_QUOTA_EXCEEDED;
    }
    uint32_t index = bus->count - 1;
    struct subscriber asked = bus->list[index];
    pthread_mutex_unlock(&bus->mutex);
    int result = send_subscribe(bus, &asked, wait);
    pthread_mutex_lock(&bus->mutex);
    uint8_t reason = MQ5_SERVER_UNAVAILABLE;
    if (result == MQTTASYNC_SUCCESS)
        reason = wait_for_answer(bus, wait, SUBSCRIBE_MS);
    else
        free(wait);
    if (reason < MQ5_UNSPECIFIED_ERROR)
        bus->list[index].granted = true;
    else
        list_remove_last(bus);
    pthread_mutex_unlock(&bus->mutex);
    return reason;
}

/* ---- owner's thread: messages ---------------------------------------------------------------------------------------- */

static uint8_t publish_reason(int result)
{
    switch (result) {
    case MQTTASYNC_SUCCESS: return MQ5_SUCCESS;
    case MQTTASYNC_MAX_BUFFERED_MESSAGES:
    case MQTTASYNC_NO_MORE_MSGIDS: return MQ5_QUOTA_EXCEEDED;
    case MQTTASYNC_BAD_UTF8_STRING: return MQ5_TOPIC_NAME_INVALID;
    case MQTTASYNC_DISCONNECTED: return MQ5_SERVER_UNAVAILABLE;
    default: return MQ5_UNSPECIFIED_ERROR;
    }
}

static int send_message(struct remote_bus *bus, const char *topic, const struct mq5_publish *message)
{
    MQTTAsync_message out = MQTTAsync_message_initializer;
    MQTTAsync_responseOptions options = MQTTAsync_responseOptions_initializer;
    options.onFailure5 = on_not_published;
    options.context = bus;
    out.payload = (void *)(uintptr_t)message->payload.data;
    out.payloadlen = (int)message->payload.length;
    out.qos = message->qos;
    out.retained = message->retain;
    paho_properties_out(&out.properties, &message->properties);
    int result = MQTTAsync_sendMessage(bus->client, topic, &out, &options);
    MQTTProperties_free(&out.properties);
    return result;
}

static uint8_t publish(struct cloud_bus *base, int64_t now_us, const struct mq5_publish *message)
{
    struct remote_bus *bus = (struct remote_bus *)base;
    char small[256], *topic = small;
    if (!mq5_topic_name_valid(message->topic))
        return MQ5_TOPIC_NAME_INVALID;
    if (message->topic.length >= sizeof(small))
        topic = malloc((size_t)message->topic.length + 1);
    if (!topic)
        return MQ5_QUOTA_EXCEEDED;
    memcpy(topic, message->topic.data, message->topic.length);
    topic[message->topic.length] = 0;
    int result = send_message(bus, topic, message);
    pthread_mutex_lock(&bus->mutex);
    if (result == MQTTASYNC_SUCCESS)
        bus->counts.published++;
    else
        bus->counts.publish_failed++;
    pthread_mutex_unlock(&bus->mutex);
    if (topic != small)
        free(topic);
    return publish_reason(result);
}

static bool is_for(const struct subscriber *subscriber, const struct mq5_publish *publish)
{
    if (!(publish->properties.present & MQ5_BIT(MQ5_SUBSCRIPTION_IDENTIFIER)))
        return mq5_topic_matches(subscriber->matched, publish->topic);
    uint32_t offset = 0, id;
    while (mq5_subscription_id_next(publish->properties.encoded, &offset, &id))
        if (id == subscriber->id)
            return true;
    return false;
}

static void dispatch(struct remote_bus *bus, const struct arrival *arrival)
{
    for (uint32_t i = 0; i < bus->count; i++) { /* by number: a handler may subscribe, which may move the list */
        struct subscriber subscriber = bus->list[i];
        if (is_for(&subscriber, &arrival->publish))
            subscriber.handler(subscriber.context, arrival->at_us, &arrival->publish);
    }
}

static struct arrival *take_queue(struct remote_bus *bus)
{
    pthread_mutex_lock(&bus->mutex);
    struct arrival *list = bus->first;
    bus->first = NULL;
    bus->last = &bus->first;
    bus->queued = 0;
    pthread_mutex_unlock(&bus->mutex);
    return list;
}

static void close_bus(struct cloud_bus *base);
static const struct cloud_bus_ops remote_ops = {subscribe, publish, close_bus};

uint32_t cloud_bus_poll(struct cloud_bus *base)
{
    if (base->ops != &remote_ops)
        return 0; /* in-process: handlers have run already */
    struct remote_bus *bus = (struct remote_bus *)base;
    uint32_t count = 0;
    struct arrival *list = take_queue(bus);
    while (list) {
        struct arrival *next = list->next;
        dispatch(bus, list);
        free(list);
        list = next;
        count++;
    }
    return count;
}

bool cloud_bus_connected(const struct cloud_bus *base)
{
    if (base->ops != &remote_ops)
        return true;
    struct remote_bus *bus = (struct remote_bus *)(uintptr_t)base;
    pthread_mutex_lock(&bus->mutex);
    bool connected = bus->connected;
    pthread_mutex_unlock(&bus->mutex);
    return connected;
}

void cloud_bus_count(const struct cloud_bus *base, struct cloud_bus_counts *out)
{
    memset(out, 0, sizeof(*out));
    if (base->ops != &remote_ops)
        return;
    struct remote_bus *bus = (struct remote_bus *)(uintptr_t)base;
    pthread_mutex_lock(&bus->mutex);
    *out = bus->counts;
    pthread_mutex_unlock(&bus->mutex);
}

/* ---- life ------------------------------------------------------------------------------------------------------------ */

static void say_good_bye(struct remote_bus *bus)
{
    struct wait *wait = calloc(1, sizeof(*wait));
    MQTTAsync_disconnectOptions options = MQTTAsync_disconnectOptions_initializer5;
    if (!wait)
        return;
    wait->bus = bus;
    options.timeout = DISCONNECT_MS;
    options.onSuccess5 = on_left;
    options.onFailure5 = on_not_subscribed;
    options.context = wait;
    paho_property_add(&options.properties, MQTTPROPERTY_CODE_SESSION_EXPIRY_INTERVAL, 0);
    int result = MQTTAsync_disconnect(bus->client, &options);
    MQTTProperties_free(&options.properties);
    pthread_mutex_lock(&bus->mutex);
    if (result == MQTTASYNC_SUCCESS)
        wait_for_answer(bus, wait, DISCONNECT_MS + 1000);
    else
        free(wait);
    pthread_mutex_unlock(&bus->mutex);
}

static void release(struct remote_bus *bus)
{
    if (bus->client)
        MQTTAsync_destroy(&bus->client); /* no callback runs after it */
    for (struct arrival *list = take_queue(bus), *next; list; list = next) {
        next = list->next;
        free(list);
    }
    while (bus->count > 0)
        list_remove_last(bus);
    free(bus->list);
    pthread_cond_destroy(&bus->changed);
    pthread_mutex_destroy(&bus->mutex);
    free(bus);
}

static void close_bus(struct cloud_bus *base)
{
    struct remote_bus *bus = (struct remote_bus *)base;
    say_good_bye(bus);
    release(bus);
}

static struct remote_bus *make(const struct cloud_bus_remote_options *options)
{
    struct remote_bus *bus = calloc(1, sizeof(*bus));
    if (!bus)
        return NULL;
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&bus->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    pthread_mutex_init(&bus->mutex, NULL);
    bus->base.ops = &remote_ops;
    bus->last = &bus->first;
    bus->wake = options->wake;
    bus->wake_context = options->wake_context;
    return bus;
}

static pthread_once_t paho_once = PTHREAD_ONCE_INIT;

/* A second time would make Paho's condition anew under its waiting thread, which then notices what is to be sent only once a second. */
static void initialise_paho(void)
{
    MQTTAsync_init_options options = MQTTAsync_init_options_initializer; /* OpenSSL initialises itself */
    MQTTAsync_global_init(&options);
}

static int create_client(struct remote_bus *bus, const struct paho_endpoint *endpoint, const char *client_id)
{
    char uri[300];
    MQTTAsync_createOptions options = MQTTAsync_createOptions_initializer5;
    pthread_once(&paho_once, initialise_paho);
    const char *format = strchr(endpoint->host, ':') ? "%s://[%s]:%d" : "%s://%s:%d";
    snprintf(uri, sizeof(uri), format, endpoint->tls ? "ssl" : "tcp", endpoint->host, endpoint->port);
    options.sendWhileDisconnected = 1;
    options.maxBufferedMessages = OUTGOING_MAX;
    int result = MQTTAsync_createWithOptions(&bus->client, uri, client_id, MQTTCLIENT_PERSISTENCE_NONE, NULL, &options);
    if (result != MQTTASYNC_SUCCESS)
        return result;
    MQTTAsync_setCallbacks(bus->client, bus, on_lost, on_message, NULL);
    MQTTAsync_setConnected(bus->client, bus, on_connected);
    return MQTTAsync_setDisconnected(bus->client, bus, on_server_disconnect);
}

static int start_connect(struct remote_bus *bus, const struct paho_endpoint *endpoint,
                         const struct cloud_bus_remote_options *options, int timeout_ms)
{
    MQTTAsync_connectOptions connect = MQTTAsync_connectOptions_initializer5;
    MQTTAsync_SSLOptions tls = MQTTAsync_SSLOptions_initializer;
    MQTTProperties properties = MQTTProperties_initializer;
    connect.keepAliveInterval = KEEP_ALIVE_S;
    connect.connectTimeout = timeout_ms / 1000 + 1;
    connect.automaticReconnect = 1;
    connect.minRetryInterval = 1;
    connect.maxRetryInterval = RECONNECT_MAX_S;
    connect.username = options->user_name;
    connect.password = options->password;
    connect.onSuccess5 = on_accepted;
    connect.onFailure5 = on_refused;
    connect.context = bus;
    tls.trustStore = options->ca_file;
    tls.keyStore = options->certificate_file;
    tls.privateKey = options->key_file;
    tls.verify = options->verify_name;
    if (endpoint->tls)
        connect.ssl = &tls;
    paho_property_add(&properties, MQTTPROPERTY_CODE_SESSION_EXPIRY_INTERVAL, SESSION_EXPIRY_S);
    connect.connectProperties = &properties;
    int result = MQTTAsync_connect(bus->client, &connect);
    MQTTProperties_free(&properties);
    return result;
}

/* A reason comes from the broker's CONNACK; all else ended before it. */
static void explain(const struct remote_bus *bus, const struct paho_endpoint *endpoint,
                    const struct cloud_bus_remote_options *options, bool answered_in_time, int timeout_ms, char *error,
                    size_t error_capacity)
{
    char why[300];
    if (bus->attempt_reason >= MQ5_UNSPECIFIED_ERROR) {
        snprintf(error, error_capacity, "%s refuses the connection: %s", options->uri,
                 mq5_reason_name(bus->attempt_reason));
        return;
    }
    paho_explain(endpoint, options, timeout_ms, why, sizeof(why));
    if (!why[0])
        snprintf(why, sizeof(why),
                 answered_in_time
                     ? "it closes the connection without an answer to CONNECT (wrong port, or it does not speak MQTT 5)"
                     : "no answer to CONNECT within %d ms",
                 timeout_ms);
    snprintf(error, error_capacity, "cannot connect to %s: %s", options->uri, why);
}

static bool connect_first(struct remote_bus *bus, const struct paho_endpoint *endpoint,
                          const struct cloud_bus_remote_options *options, int timeout_ms, char *error,
                          size_t error_capacity)
{
    int result = create_client(bus, endpoint, options->client_id);
    if (result == MQTTASYNC_SUCCESS)
        result = start_connect(bus, endpoint, options, timeout_ms);
    if (result != MQTTASYNC_SUCCESS) {
        const char *text = MQTTAsync_strerror(result);
        snprintf(error, error_capacity, "cannot connect to %s: %s", options->uri,
                 text ? text : "Paho does not take these options");
        return false;
    }
    pthread_mutex_lock(&bus->mutex);
    bool in_time = wait_until(bus, &bus->attempt_over, timeout_ms);
    pthread_mutex_unlock(&bus->mutex);
    if (in_time && bus->attempt_code == 0) {
        pthread_mutex_lock(&bus->mutex);
        bus->connected = true; /* Paho says so a moment later, too */
        pthread_mutex_unlock(&bus->mutex);
        return true;
    }
    explain(bus, endpoint, options, in_time, timeout_ms, error, error_capacity);
    return false;
}

struct cloud_bus *cloud_bus_remote(const struct cloud_bus_remote_options *options, int timeout_ms, char *error,
                                   size_t error_capacity)
{
    struct paho_endpoint endpoint;
    if (!paho_endpoint_read(options->uri, &endpoint, error, error_capacity) ||
        !paho_files_readable(options, error, error_capacity))
        return NULL;
    struct remote_bus *bus = make(options);
    if (!bus) {
        snprintf(error, error_capacity, "out of memory");
        return NULL;
    }
    if (connect_first(bus, &endpoint, options, timeout_ms, error, error_capacity))
        return &bus->base;
    release(bus);
    return NULL;
}
