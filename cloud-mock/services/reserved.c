/* reserved.c: shadows and executions behind reserved topics: prefixes, who may ask, answers, what counts as in flight.
 *
 * Somebody else's broker has no reserved topics: there they are ordinary ones under "convoy/<client id>/", and our own words come back here, too.
 */
#include "cloud/reserved.h"
#include "cloud/services.h"

#include "memory.h"
#include "text.h"

#define TOPIC_MAX 512

struct cloud_reserved {
    struct cloud_reserved_options options;
    struct cloud_shadow_options told; /* the caller's hooks of the shadow */
    struct cloud_broker *broker;
    struct cloud_bus *bus;
    struct cloud_shadow *shadow;
    struct cloud_executions *executions;
};

/* ---- topics ----------------------------------------------------------------------------------------------------------- */

static struct span full_topic(const char *prefix, struct span client_id, struct span rest, char out[TOPIC_MAX])
{
    struct text_writer w = {out, 0, TOPIC_MAX};
    const char *name = strchr(prefix, '%');
    text_put(&w, prefix, name ? (size_t)(name - prefix) : strlen(prefix));
    if (name) {
        text_put(&w, client_id.data, client_id.length);
        text_put_string(&w, name + 1);
    }
    text_put(&w, rest.data, rest.length);
    return text_fits(&w) ? span_of(out, w.at) : (struct span){0};
}

static bool skip(struct span *topic, const char *text, size_t length)
{
    if (topic->length < length || memcmp(topic->data, text, length) != 0)
        return false;
    *topic = span_of(topic->data + length, topic->length - length);
    return true;
}

/* Takes the prefix off; where it has a client id in it, that is whose it is. */
static bool strip(const struct cloud_reserved *reserved, struct span *topic, struct span *client_id)
{
    const char *prefix = reserved->options.prefix, *name = strchr(prefix, '%');
    if (!name)
        return skip(topic, prefix, strlen(prefix));
    if (!skip(topic, prefix, (size_t)(name - prefix)))
        return false;
    const uint8_t *slash = topic->length ? memchr(topic->data, '/', topic->length) : NULL;
    if (!slash)
        return false;
    *client_id = span_of(topic->data, (size_t)(slash - topic->data));
    *topic = span_of(slash, topic->length - client_id->length);
    return skip(topic, name + 1, strlen(name + 1));
}

static bool ends_with(struct span topic, const char *text)
{
    size_t length = strlen(text);
    return topic.length >= length && memcmp(topic.data + topic.length - length, text, length) == 0;
}

static bool is_answer(struct span topic)
{
    return ends_with(topic, "/accepted") || ends_with(topic, "/rejected");
}

/* ---- speaking --------------------------------------------------------------------------------------------------------- */

static struct mq5_publish message_of(struct span topic, struct span payload)
{
    struct mq5_publish message = {.qos = 1, .topic = topic, .payload = payload};
    message.properties.present = MQ5_BIT(MQ5_CONTENT_TYPE);
    message.properties.content_type = SPAN_LITERAL("application/json");
    return message;
}

static void publish(const struct cloud_reserved *reserved, int64_t now_us, const char *prefix, struct span client_id,
                    struct span topic, struct span payload, int64_t expires_us)
{
    char text[TOPIC_MAX];
    struct mq5_publish message = message_of(full_topic(prefix, client_id, topic, text), payload);
    if (!message.topic.length)
        return;
    if (expires_us) {
        message.properties.present |= MQ5_BIT(MQ5_MESSAGE_EXPIRY_INTERVAL);
        message.properties.message_expiry_s = (uint32_t)((expires_us + US_PER_S - 1) / US_PER_S);
    }
    reserved->bus->ops->publish(reserved->bus, now_us, &message);
}

static void tell_until(void *context, int64_t now_us, struct span thing, struct span topic, struct span payload,
                       int64_t expires_us)
{
    const struct cloud_reserved *reserved = context;
    publish(reserved, now_us, reserved->options.prefix, thing, topic, payload, expires_us);
}

static void tell(void *context, int64_t now_us, struct span thing, struct span topic, struct span payload)
{
    tell_until(context, now_us, thing, topic, payload, 0);
}

static void answer_straight(void *context, int64_t now_us, struct span client_id, struct span topic,
                            struct span payload)
{
    const struct cloud_reserved *reserved = context;
    char text[TOPIC_MAX];
    if (!reserved->broker) {
        publish(reserved, now_us, reserved->options.prefix, client_id, topic, payload, 0);
        return;
    }
    struct mq5_publish message = message_of(full_topic(reserved->options.prefix, client_id, topic, text), payload);
    if (message.topic.length)
        cloud_broker_deliver(reserved->broker, now_us, client_id, &message);
}

static void tell_back_office(void *context, int64_t now_us, struct span topic, struct span payload)
{
    const struct cloud_reserved *reserved = context;
    char text[TOPIC_MAX];
    struct text_writer w = {text, 0, sizeof text};
    TEXT_PUT(&w, "/");
    text_put(&w, topic.data, topic.length);
    if (text_fits(&w))
        publish(reserved, now_us, reserved->options.event_prefix, (struct span){0}, span_of(text, w.at), payload, 0);
}

/* ---- what the shadow asks --------------------------------------------------------------------------------------------- */

static bool known(void *context, struct span thing)
{
    const struct cloud_shadow_options *told = &((const struct cloud_reserved *)context)->told;
    return told->known(told->context, thing);
}

static void updated(void *context, int64_t now_us, struct span thing, struct span name, const struct span *client_id,
                    uint64_t version, bool difference)
{
    const struct cloud_shadow_options *told = &((const struct cloud_reserved *)context)->told;
    told->updated(told->context, now_us, thing, name, client_id, version, difference);
}

static int refused(void *context, const struct cloud_request *request, struct span thing, struct span name)
{
    const struct cloud_reserved *reserved = context;
    bool vehicle = request->peer && request->peer->has_certificate;
    return reserved->options.own_only && vehicle && !span_equal(request->client_id, thing) ? 403 : 0;
}

struct count {
    struct span begin;
    uint32_t found;
};

static void count_answer(void *context, struct span topic)
{
    struct count *count = context;
    count->found += topic.length > count->begin.length &&
                    memcmp(topic.data, count->begin.data, count->begin.length) == 0 && is_answer(topic);
}

static uint32_t unanswered(void *context, struct span client_id, struct span thing)
{
    const struct cloud_reserved *reserved = context;
    char path[TOPIC_MAX], text[TOPIC_MAX];
    struct text_writer w = {path, 0, sizeof path};
    TEXT_PUT(&w, "things/");
    text_put(&w, thing.data, thing.length);
    TEXT_PUT(&w, "/shadow/");
    struct count count = {.begin = full_topic(reserved->options.prefix, client_id, span_of(path, w.at), text)};
    if (count.begin.length)
        cloud_broker_each_unacknowledged(reserved->broker, client_id, count_answer, &count);
    return count.found;
}

/* ---- requests --------------------------------------------------------------------------------------------------------- */

static uint8_t ask(struct cloud_reserved *reserved, int64_t now_us, const struct cloud_request *request, bool *taken)
{
    uint8_t reason = MQ5_NOT_AUTHORIZED;
    *taken = false;
    if (reserved->shadow)
        reason = cloud_shadow_request(reserved->shadow, now_us, request, taken);
    if (!*taken && reserved->executions)
        reason = cloud_executions_request(reserved->executions, now_us, request, taken);
    return *taken ? reason : MQ5_NOT_AUTHORIZED;
}

uint8_t cloud_reserved_request(struct cloud_reserved *reserved, int64_t now_us, struct span client_id,
                               const struct cloud_peer *peer, const struct mq5_publish *publish, bool *taken)
{
    struct cloud_peer own = peer ? *peer : (struct cloud_peer){0}; /* lent for one hook only, and answers ask hooks */
    struct cloud_request request = {
        .client_id = client_id, .peer = peer ? &own : NULL, .topic = publish->topic, .payload = publish->payload};
    struct span whose = client_id;
    *taken = false;
    if (!strip(reserved, &request.topic, &whose) || !span_equal(whose, client_id))
        return MQ5_NOT_AUTHORIZED;
    return ask(reserved, now_us, &request, taken);
}

static void on_ordinary(void *context, int64_t now_us, const struct mq5_publish *message)
{
    struct cloud_reserved *reserved = context;
    struct cloud_request request = {.topic = message->topic, .payload = message->payload};
    bool taken;
    if (!is_answer(message->topic) && !ends_with(message->topic, "/update/delta") &&
        !ends_with(message->topic, "/update/documents") && strip(reserved, &request.topic, &request.client_id))
        ask(reserved, now_us, &request, &taken);
}

static bool listen(struct cloud_reserved *reserved, int64_t now_us)
{
    static const char *const services[] = {"things/+/shadow/#", "commands/things/+/executions/+/response/json"};
    const bool offered[] = {reserved->shadow != NULL, reserved->executions != NULL};
    char filter[TOPIC_MAX];
    for (int i = 0; i < 2; i++) {
        if (!offered[i])
            continue;
        struct span topic = full_topic(reserved->options.prefix, SPAN_LITERAL("+"), span_text(services[i]), filter);
        if (!topic.length ||
            reserved->bus->ops->subscribe(reserved->bus, now_us, topic, 1, on_ordinary, reserved) >= 0x80)
            return false;
    }
    return true;
}

/* ---- life ------------------------------------------------------------------------------------------------------------- */

static bool open_shadow(struct cloud_reserved *reserved)
{
    const struct cloud_shadow_options *asked = reserved->options.shadow;
    if (!asked)
        return true;
    struct cloud_shadow_options options = reserved->told = *asked;
    options.speaker = (struct cloud_speaker){
        .answer = tell, .tell = tell, .tell_until = tell_until, .event = tell_back_office, .context = reserved};
    options.epoch_us = reserved->options.epoch_us;
    options.known = asked->known ? known : NULL;
    options.updated = asked->updated ? updated : NULL;
    options.refused = refused;
    options.unanswered = reserved->broker ? unanswered : NULL;
    options.context = reserved;
    reserved->shadow = cloud_shadow_create(&options);
    return reserved->shadow != NULL;
}

static bool open_executions(struct cloud_reserved *reserved)
{
    if (!reserved->options.executions)
        return true;
    struct cloud_executions_options options = *reserved->options.executions;
    options.speaker = (struct cloud_speaker){.answer = answer_straight,
                                             .tell = tell,
                                             .tell_until = tell_until,
                                             .event = tell_back_office,
                                             .context = reserved};
    options.epoch_us = reserved->options.epoch_us;
    reserved->executions = cloud_executions_create(&options);
    return reserved->executions != NULL;
}

struct cloud_reserved *cloud_reserved_create(const struct cloud_reserved_options *options, struct cloud_broker *broker,
                                             struct cloud_bus *bus, int64_t now_us)
{
    struct cloud_reserved *reserved = memory_allocate_zero(1, sizeof *reserved);
    if (!reserved)
        return NULL;
    reserved->options = *options;
    reserved->broker = broker;
    reserved->bus = bus;
    bool made = open_shadow(reserved) && open_executions(reserved) && (broker || listen(reserved, now_us));
    reserved->options.shadow = NULL; /* were the caller's */
    reserved->options.executions = NULL;
    if (made)
        return reserved;
    cloud_reserved_destroy(reserved);
    return NULL;
}

void cloud_reserved_destroy(struct cloud_reserved *reserved)
{
    if (!reserved)
        return;
    if (reserved->shadow)
        cloud_shadow_destroy(reserved->shadow);
    cloud_executions_destroy(reserved->executions);
    memory_free(reserved);
}

struct cloud_shadow *cloud_reserved_shadow(struct cloud_reserved *reserved)
{
    return reserved->shadow;
}

struct cloud_executions *cloud_reserved_executions(struct cloud_reserved *reserved)
{
    return reserved->executions;
}

int64_t cloud_reserved_next_deadline(const struct cloud_reserved *reserved)
{
    return reserved->executions ? cloud_executions_next_deadline(reserved->executions) : TIME_NEVER;
}

void cloud_reserved_tick(struct cloud_reserved *reserved, int64_t now_us)
{
    if (reserved->executions)
        cloud_executions_tick(reserved->executions, now_us);
}

uint64_t cloud_reserved_bytes(const struct cloud_reserved *reserved)
{
    return sizeof *reserved + (reserved->shadow ? cloud_shadow_bytes(reserved->shadow) : 0) +
           (reserved->executions ? cloud_executions_bytes(reserved->executions) : 0);
}

/* ---- the bus of a service --------------------------------------------------------------------------------------------- */

struct asking_bus {
    struct cloud_bus bus;
    struct cloud_bus *other;
    struct cloud_reserved *reserved;
    uint32_t length;
    uint8_t client_id[];
};

static uint8_t asking_subscribe(struct cloud_bus *bus, int64_t now_us, struct span filter, uint8_t qos,
                                cloud_bus_handler *handler, void *context)
{
    struct cloud_bus *other = ((struct asking_bus *)bus)->other;
    return other->ops->subscribe(other, now_us, filter, qos, handler, context);
}

static uint8_t asking_publish(struct cloud_bus *bus, int64_t now_us, const struct mq5_publish *message)
{
    const struct asking_bus *asking = (const struct asking_bus *)bus;
    bool taken;
    uint8_t reason = cloud_reserved_request(asking->reserved, now_us, span_of(asking->client_id, asking->length), NULL,
                                            message, &taken);
    return taken ? reason : asking->other->ops->publish(asking->other, now_us, message);
}

static void asking_close(struct cloud_bus *bus)
{
    struct asking_bus *asking = (struct asking_bus *)bus;
    asking->other->ops->close(asking->other);
    memory_free(asking);
}

static const struct cloud_bus_ops asking_ops = {asking_subscribe, asking_publish, asking_close};

struct cloud_bus *cloud_reserved_bus(struct cloud_reserved *reserved, struct cloud_bus *bus, struct span client_id)
{
    struct asking_bus *asking = memory_allocate_zero(1, sizeof *asking + client_id.length);
    if (!asking)
        return NULL;
    asking->bus.ops = &asking_ops;
    asking->other = bus;
    asking->reserved = reserved;
    asking->length = client_id.length;
    memcpy(asking->client_id, client_id.data, client_id.length);
    return &asking->bus;
}
