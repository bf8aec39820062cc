/* lifecycle.c: the life of a vehicle's identity: its parts, how they speak, and time. */
#include "lifecycle_internal.h"

#include <stdio.h>

#include "text.h"

#define TOPIC_MAXIMUM 512

void life_tell(struct cloud_lifecycle *lifecycle, int64_t now_us, enum cloud_life_event_kind kind, struct span thing,
               struct span detail, int64_t since_us)
{
    struct cloud_life_event event = {.kind = kind, .thing = thing, .detail = detail, .since_us = since_us};
    if (lifecycle->options.event)
        lifecycle->options.event(lifecycle->options.context, now_us, &event);
}

void life_tell_state(struct cloud_lifecycle *lifecycle, int64_t now_us, enum cloud_life_event_kind kind,
                     struct span thing, enum cloud_execution_state state, int64_t since_us)
{
    struct cloud_life_event event = {.kind = kind, .state = state, .thing = thing, .since_us = since_us};
    if (lifecycle->options.event)
        lifecycle->options.event(lifecycle->options.context, now_us, &event);
}

/* ---- topics ---------------------------------------------------------------------------------------------------------- */

/* prefix with the client id in place of its '%', then the rest. */
static bool put_topic(struct text_writer *w, const char *prefix, struct span client_id, struct span rest)
{
    const char *name = strchr(prefix, '%');
    text_put(w, prefix, name ? (size_t)(name - prefix) : strlen(prefix));
    if (name) {
        text_put(w, client_id.data, client_id.length);
        text_put_string(w, name + 1);
    }
    text_put(w, rest.data, rest.length);
    return text_fits(w);
}

static bool skip(struct span *topic, const void *text, size_t length)
{
    if (topic->length < length || memcmp(topic->data, text, length) != 0)
        return false;
    topic->data += length;
    topic->length -= (uint32_t)length;
    return true;
}

bool life_strip(const struct cloud_lifecycle *lifecycle, struct span client_id, struct span topic, struct span *rest)
{
    const char *prefix = lifecycle->parts.prefix, *name = strchr(prefix, '%');
    *rest = topic;
    if (!name)
        return skip(rest, prefix, strlen(prefix));
    return skip(rest, prefix, (size_t)(name - prefix)) && skip(rest, client_id.data, client_id.length) &&
           skip(rest, name + 1, strlen(name + 1));
}

static void speak(struct cloud_lifecycle *lifecycle, int64_t now_us, const char *prefix, struct span name,
                  struct span topic, struct span payload, bool straight)
{
    char text[TOPIC_MAXIMUM];
    struct text_writer w = {text, 0, sizeof text};
    if (!put_topic(&w, prefix, name, topic))
        return;
    struct mq5_publish message = {.qos = 1, .topic = span_of(text, w.at), .payload = payload};
    if (straight)
        cloud_broker_deliver(lifecycle->parts.broker, now_us, name, &message);
    else
        lifecycle->parts.bus->ops->publish(lifecycle->parts.bus, now_us, &message);
}

static void answer(void *context, int64_t now_us, struct span client_id, struct span topic, struct span payload)
{
    struct cloud_lifecycle *lifecycle = context;
    speak(lifecycle, now_us, lifecycle->parts.prefix, client_id, topic, payload, lifecycle->parts.broker != NULL);
}

static void tell(void *context, int64_t now_us, struct span thing, struct span topic, struct span payload)
{
    struct cloud_lifecycle *lifecycle = context;
    speak(lifecycle, now_us, lifecycle->parts.prefix, thing, topic, payload, false);
}

static void tell_back_office(void *context, int64_t now_us, struct span topic, struct span payload)
{
    struct cloud_lifecycle *lifecycle = context;
    char prefix[TOPIC_MAXIMUM];
    snprintf(prefix, sizeof prefix, "%s/", lifecycle->parts.event_prefix);
    speak(lifecycle, now_us, prefix, (struct span){NULL, 0}, topic, payload, false);
}

bool life_request(struct cloud_lifecycle *lifecycle, int64_t now_us, const struct cloud_request *request)
{
    return cloud_jobs_request(lifecycle->jobs, now_us, request) ||
           cloud_provisioning_request(lifecycle->provisioning, now_us, request);
}

static bool ends_with(struct span topic, const char *text)
{
    size_t length = strlen(text);
    return topic.length >= length && memcmp(topic.data + topic.length - length, text, length) == 0;
}

/* Requests on topics that are ordinary ones for the broker. Our own words come by here, too. */
static void ordinary_request(void *context, int64_t now_us, const struct mq5_publish *message)
{
    struct cloud_lifecycle *lifecycle = context;
    const char *name = strchr(lifecycle->parts.prefix, '%');
    struct span rest = message->topic, topic;
    if (ends_with(rest, "/accepted") || ends_with(rest, "/rejected") || ends_with(rest, "/notify") ||
        ends_with(rest, "/notify-next") ||
        !skip(&rest, lifecycle->parts.prefix, (size_t)(name - lifecycle->parts.prefix)))
        return;
    const uint8_t *slash = rest.length ? memchr(rest.data, '/', rest.length) : NULL;
    if (!slash)
        return;
    struct span client_id = span_of(rest.data, (size_t)(slash - rest.data));
    const struct cloud_peer *peer = life_connected(lifecycle, client_id);
    struct cloud_peer own = peer ? *peer : (struct cloud_peer){0};
    if (!life_strip(lifecycle, client_id, message->topic, &topic))
        return;
    life_request(lifecycle, now_us,
                 &(struct cloud_request){
                     .client_id = client_id, .peer = peer ? &own : NULL, .topic = topic, .payload = message->payload});
    life_due(lifecycle);
}

const struct cloud_peer *life_connected(const struct cloud_lifecycle *lifecycle, struct span client_id)
{
    return lifecycle->parts.broker ? cloud_broker_peer(lifecycle->parts.broker, client_id) : NULL;
}

/* ---- life ------------------------------------------------------------------------------------------------------------ */

static bool pass(void *context, struct span client_id, struct span topic)
{
    struct cloud_lifecycle *lifecycle = context;
    return !life_fault(lifecycle, lifecycle->options.lose_answer, client_id);
}

static bool activate(void *context, struct span thing)
{
    struct cloud_lifecycle *lifecycle = context;
    return !life_fault(lifecycle, lifecycle->options.never_activate, thing);
}

static uint64_t mix(uint64_t value)
{
    value = (value ^ (value >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    value = (value ^ (value >> 27)) * UINT64_C(0x94D049BB133111EB);
    return value ^ (value >> 31);
}

static struct cloud_policy *policy_of(const char *named, const char *standard, char *error, size_t error_capacity)
{
    const char *document = named ? named : standard;
    if (document[0] != '{') {
        document = cloud_policy_shipped(document);
        if (!document) {
            snprintf(error, error_capacity, "policy '%s' is not one of those shipped, nor a document", named);
            return NULL;
        }
    }
    return cloud_policy_compile(span_text(document), error, error_capacity);
}

static bool make_parts(struct cloud_lifecycle *lifecycle, char *error, size_t error_capacity)
{
    const struct cloud_lifecycle_options *options = &lifecycle->options;
    struct cloud_speaker speaker = {.answer = answer, .tell = tell, .event = tell_back_office, .context = lifecycle};
    uint8_t key[32];
    for (size_t i = 0; !options->vin_key && i < sizeof key; i += 8)
        memcpy(key + i, &(uint64_t){mix(options->seed + UINT64_C(0x9E3779B97F4A7C15) * (i + 1))}, 8);
    lifecycle->vehicles = cloud_vehicles_create(options->vin_key ? options->vin_key : key, mix(options->seed ^ 1));
    lifecycle->options.vin_key = NULL; /* was the caller's */
    lifecycle->jobs = cloud_jobs_create(&(struct cloud_jobs_options){
        .epoch_us = options->epoch_us, .speaker = speaker, .changed = life_execution_changed, .context = lifecycle});
    struct cloud_provisioning_options provisioning = {.pki = lifecycle->parts.pki,
                                                      .registry = lifecycle->parts.registry,
                                                      .speaker = speaker,
                                                      .epoch_us = options->epoch_us,
                                                      .certificate_lifetime_s = options->certificate_lifetime_s,
                                                      .issue_us = options->issue_us,
                                                      .seed = mix(options->seed ^ 2),
                                                      .hook = life_hook,
                                                      .provisioned = life_provisioned,
                                                      .activate = activate,
                                                      .pass = pass,
                                                      .context = lifecycle};
    lifecycle->provisioning = cloud_provisioning_create(&provisioning);
    if (!lifecycle->vehicles || !lifecycle->jobs || !lifecycle->provisioning) {
        snprintf(error, error_capacity, "no memory");
        return false;
    }
    lifecycle->vehicle_policy = policy_of(options->vehicle_policy, "vehicle", error, error_capacity);
    lifecycle->claim_policy =
        lifecycle->vehicle_policy ? policy_of(options->claim_policy, "claim", error, error_capacity) : NULL;
    return lifecycle->claim_policy != NULL;
}

static bool listen(struct cloud_lifecycle *lifecycle, char *error, size_t error_capacity)
{
    static const char *const services[] = {"things/+/jobs/#", "certificates/#", "provisioning-templates/#"};
    struct cloud_bus *bus = lifecycle->parts.bus;
    char own[TOPIC_MAXIMUM];
    snprintf(own, sizeof own, "%svehicle/+/certificate/deactivate", lifecycle->parts.topics);
    uint8_t worst = bus->ops->subscribe(bus, 0, span_text(own), 1, life_deactivate_message, lifecycle);
    snprintf(own, sizeof own, "%svehicleactive/+", lifecycle->parts.topics);
    if (worst < 0x80)
        worst = bus->ops->subscribe(bus, 0, span_text(own), 1, life_active_message, lifecycle);
    for (size_t i = 0; strchr(lifecycle->parts.prefix, '%') && worst < 0x80 && i < 3; i++) {
        char filter[TOPIC_MAXIMUM];
        struct text_writer w = {filter, 0, sizeof filter};
        if (!put_topic(&w, lifecycle->parts.prefix, SPAN_LITERAL("+"), span_text(services[i])))
            worst = MQ5_TOPIC_FILTER_INVALID;
        else
            worst = bus->ops->subscribe(bus, 0, span_of(filter, w.at), 1, ordinary_request, lifecycle);
    }
    if (worst >= 0x80)
        snprintf(error, error_capacity, "the broker refused a subscription of the life-cycle service: 0x%02x", worst);
    return worst < 0x80;
}

struct cloud_lifecycle *cloud_lifecycle_create(const struct cloud_lifecycle_options *options,
                                               const struct cloud_lifecycle_parts *parts, char *error,
                                               size_t error_capacity)
{
    char unheard[160];
    if (!error) {
        error = unheard;
        error_capacity = sizeof unheard;
    }
    struct cloud_lifecycle *lifecycle = memory_allocate_zero(1, sizeof *lifecycle);
    if (!lifecycle) {
        snprintf(error, error_capacity, "no memory");
        return NULL;
    }
    lifecycle->options = *options;
    lifecycle->parts = *parts;
    lifecycle->due.next_us = TIME_NEVER;
    if (lifecycle->options.expiring_within_s == 0)
        lifecycle->options.expiring_within_s = 30 * INT64_C(86400);
    if (!lifecycle->parts.prefix)
        lifecycle->parts.prefix = "$aws/";
    if (!lifecycle->parts.event_prefix)
        lifecycle->parts.event_prefix = "$aws/events";
    if (!lifecycle->parts.topics)
        lifecycle->parts.topics = "";
    if (make_parts(lifecycle, error, error_capacity) && listen(lifecycle, error, error_capacity))
        return lifecycle;
    cloud_lifecycle_destroy(lifecycle);
    return NULL;
}

void cloud_lifecycle_destroy(struct cloud_lifecycle *lifecycle)
{
    if (!lifecycle)
        return;
    life_free_all(lifecycle);
    if (lifecycle->vehicle_policy)
        cloud_policy_free(lifecycle->vehicle_policy);
    if (lifecycle->claim_policy)
        cloud_policy_free(lifecycle->claim_policy);
    if (lifecycle->provisioning)
        cloud_provisioning_destroy(lifecycle->provisioning);
    if (lifecycle->jobs)
        cloud_jobs_destroy(lifecycle->jobs);
    if (lifecycle->vehicles)
        cloud_vehicles_destroy(lifecycle->vehicles);
    memory_free(lifecycle);
}

struct cloud_vehicles *cloud_lifecycle_vehicles(struct cloud_lifecycle *lifecycle)
{
    return lifecycle->vehicles;
}

struct cloud_jobs *cloud_lifecycle_jobs(struct cloud_lifecycle *lifecycle)
{
    lifecycle->due.next_us = 0; /* whoever asks is about to change something: the next tick looks again */
    return lifecycle->jobs;
}

/* ---- time ------------------------------------------------------------------------------------------------------------ */

int64_t cloud_lifecycle_next_deadline(const struct cloud_lifecycle *lifecycle)
{
    return lifecycle->due.next_us;
}

void cloud_lifecycle_tick(struct cloud_lifecycle *lifecycle, int64_t now_us)
{
    if (lifecycle->due.next_us > now_us)
        return;
    life_close_batches(lifecycle, now_us);
    if (cloud_provisioning_next_deadline(lifecycle->provisioning) <= now_us)
        cloud_provisioning_tick(lifecycle->provisioning, now_us);
    if (cloud_jobs_next_deadline(lifecycle->jobs) <= now_us)
        cloud_jobs_tick(lifecycle->jobs, now_us);
    life_tick_lives(lifecycle, now_us);
    life_due(lifecycle);
}

/* ---- measures of the state ------------------------------------------------------------------------------------------- */

uint64_t cloud_lifecycle_bytes(const struct cloud_lifecycle *lifecycle)
{
    return sizeof *lifecycle + lifecycle->bucket_count * sizeof *lifecycle->bucket +
           lifecycle->heap_capacity * sizeof *lifecycle->heap + lifecycle->life_bytes +
           cloud_vehicles_bytes(lifecycle->vehicles) + cloud_jobs_bytes(lifecycle->jobs) +
           cloud_provisioning_bytes(lifecycle->provisioning) + cloud_policy_document(lifecycle->vehicle_policy).length +
           cloud_policy_document(lifecycle->claim_policy).length;
}

static uint64_t hash_text(uint64_t hash, const void *data, size_t length)
{
    const uint8_t *at = data;
    for (size_t i = 0; i < length; i++)
        hash = (hash ^ at[i]) * UINT64_C(1099511628211);
    return mix(hash + length);
}

static uint64_t hash_number(uint64_t hash, uint64_t value)
{
    return mix(hash * 31 + value);
}

uint64_t life_reference_hash(const struct cloud_vehicle *vehicle)
{
    return hash_text(hash_text(1, vehicle->reference, strlen(vehicle->reference)), vehicle->vin_hash,
                     sizeof vehicle->vin_hash);
}

static void add_vehicle(void *context, const struct cloud_vehicle *vehicle)
{
    uint64_t hash = life_reference_hash(vehicle);
    hash = hash_text(hash, vehicle->device, strlen(vehicle->device));
    hash = hash_text(hash, vehicle->tenant, strlen(vehicle->tenant));
    hash = hash_number(hash_number(hash, vehicle->state), vehicle->owner);
    hash = hash_number(hash_number(hash, (uint64_t)vehicle->data_since_s), vehicle->changes);
    *(uint64_t *)context += hash;
}

uint64_t cloud_lifecycle_hash(const struct cloud_lifecycle *lifecycle)
{
    uint64_t sum = cloud_jobs_hash(lifecycle->jobs);
    cloud_vehicles_each(lifecycle->vehicles, add_vehicle, &sum);
    for (uint32_t b = 0; b < lifecycle->bucket_count; b++)
        for (const struct life *life = lifecycle->bucket[b]; life; life = life->next) {
            uint64_t hash = hash_text(3, life->thing, life->length);
            hash = hash_number(hash_number(hash, life->rotating), life->batch);
            hash = hash_number(hash_number(hash, (uint64_t)life->decided_us), (uint64_t)life->due_us);
            hash = hash_number(hash_number(hash, life->issued), life->takeovers);
            sum += life->issued ? hash_text(hash, life->new_id, 32) : hash;
        }
    return sum;
}
