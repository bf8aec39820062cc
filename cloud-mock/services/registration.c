/* registration.c: just-in-time registration: a certificate of our operational CA that nobody has seen is noted as PENDING_ACTIVATION, told on a reserved topic, and refused;
 * the registration rule (a subscriber of that topic, like any other service) checks, makes the thing, attaches the certificate and activates it.
 *
 * The event is raised again at each attempt while the certificate is pending; the rule works on one certificate once.
 */
#include "cloud/services.h"

#include "due.h"
#include "memory.h"
#include "text.h"

#include <strings.h>

#define BUCKETS_AT_FIRST 16 /* a power of two; doubled when there are more pending certificates than buckets */

struct pending {
    struct pending *next; /* in its bucket */
    struct cloud_certificate certificate;
    int64_t due_us; /* TIME_NEVER: the rule has not taken it up */
    bool forgotten; /* in no bucket any more: nothing comes of it */
};

struct cloud_registration {
    struct cloud_due due; /* first, for cloud_registration_next_deadline() */
    struct cloud_registration_options options;
    const struct cloud_pki *pki;
    struct cloud_registry *registry;
    struct cloud_bus *bus;
    struct pending **bucket;
    uint32_t bucket_count, pending_count;
    struct due_heap heap; /* taken up, by due time */
    uint64_t orders;
    uint64_t refused, activated, strangers;
    uint64_t refusals[CLOUD_REFUSALS];
};

/* ---- pending certificates -------------------------------------------------------------------------------------------- */

static struct pending **place_of(const struct cloud_registration *registration, const uint8_t id[32])
{
    struct pending **place =
        &registration->bucket[((uint32_t)id[0] | (uint32_t)id[1] << 8 | (uint32_t)id[2] << 16 | (uint32_t)id[3] << 24) &
                              (registration->bucket_count - 1)];
    while (*place && memcmp((*place)->certificate.id, id, 32) != 0)
        place = &(*place)->next;
    return place;
}

static void buckets_grow(struct cloud_registration *registration)
{
    uint32_t old_count = registration->bucket_count;
    struct pending **old = registration->bucket, **bucket = memory_allocate_zero((size_t)old_count * 2, sizeof *bucket);
    if (!bucket)
        return; /* longer chains, nothing worse */
    registration->bucket = bucket;
    registration->bucket_count = old_count * 2;
    for (uint32_t b = 0; b < old_count; b++)
        for (struct pending *pending = old[b], *next; pending; pending = next) {
            next = pending->next;
            struct pending **place = place_of(registration, pending->certificate.id);
            pending->next = NULL;
            *place = pending;
        }
    memory_free(old);
}

/* ---- the rule -------------------------------------------------------------------------------------------------------- */

static bool certificate_in_event(struct span payload, uint8_t id[32])
{
    static const char key[] = "\"certificateId\":\"";
    const uint32_t length = sizeof key - 1;
    for (uint32_t i = 0; i + length + 64 <= payload.length; i++)
        if (memcmp(payload.data + i, key, length) == 0)
            return text_unhex(payload.data + i + length, 64, id);
    return false;
}

static void rule(void *context, int64_t now_us, const struct mq5_publish *message)
{
    struct cloud_registration *registration = context;
    uint8_t id[32];
    if (!certificate_in_event(message->payload, id))
        return;
    struct pending *pending = *place_of(registration, id);
    if (!pending || pending->due_us != TIME_NEVER)
        return;
    int64_t delay_us = registration->options.draw_delay
                           ? registration->options.draw_delay(registration->options.draw_context)
                           : registration->options.activation_delay_us;
    if (delay_us == TIME_NEVER)
        return; /* this run of the rule is lost; the next attempt's event starts another */
    pending->due_us = now_us + delay_us;
    if (!due_push(&registration->heap,
                  (struct due_entry){.at_us = pending->due_us, .order = registration->orders++, .item = pending}))
        pending->due_us = TIME_NEVER; /* the next attempt raises the event again */
    registration->due.next_us = due_next_us(&registration->heap);
}

struct search { /* for an ACTIVE certificate of a thing beside `own` */
    const uint8_t *own;
    uint8_t found[32];
    bool any;
};

static bool look_at(void *context, const struct cloud_certificate *certificate, enum cloud_certificate_status status)
{
    struct search *search = context;
    if (status != CLOUD_CERTIFICATE_ACTIVE || memcmp(certificate->id, search->own, 32) == 0)
        return true;
    memcpy(search->found, certificate->id, 32);
    search->any = true;
    return false;
}

static bool has_another(const struct cloud_registration *registration, const struct cloud_certificate *certificate,
                        uint8_t other[32])
{
    struct search search = {.own = certificate->id};
    cloud_registry_of_thing(registration->registry, certificate->common_name, look_at, &search);
    memcpy(other, search.found, 32);
    return search.any;
}

/* The rule's checks in their order; CLOUD_REFUSALS: it passes. */
static enum cloud_registration_refusal check(const struct cloud_registration *registration, int64_t now_us,
                                             const struct cloud_certificate *certificate)
{
    const struct cloud_registration_options *options = &registration->options;
    uint8_t other[32];
    if (options->check_allow_list && !cloud_registry_is_allowed(registration->registry, certificate->common_name))
        return CLOUD_REFUSAL_ALLOW_LIST;
    enum cloud_ocsp_status status =
        options->ocsp ? options->ocsp(options->ocsp_context, now_us, certificate) : CLOUD_OCSP_GOOD;
    if (status != CLOUD_OCSP_GOOD)
        return status == CLOUD_OCSP_REVOKED ? CLOUD_REFUSAL_OCSP_REVOKED : CLOUD_REFUSAL_OCSP_UNKNOWN;
    if (options->duplicate == CLOUD_DUPLICATE_REFUSE && has_another(registration, certificate, other))
        return CLOUD_REFUSAL_DUPLICATE;
    return CLOUD_REFUSALS;
}

static void activate(struct cloud_registration *registration, int64_t now_us, const struct pending *pending)
{
    int64_t now_s = (registration->options.epoch_us + now_us) / US_PER_S;
    const char *thing = pending->certificate.common_name;
    enum cloud_registration_refusal refusal = check(registration, now_us, &pending->certificate);
    uint8_t other[32];
    if (refusal != CLOUD_REFUSALS) {
        registration->refusals[refusal]++;
        registration->strangers += refusal == CLOUD_REFUSAL_ALLOW_LIST;
        cloud_registry_set_status(registration->registry, pending->certificate.id, CLOUD_CERTIFICATE_INACTIVE, now_s);
        return;
    }
    if (!cloud_registry_put_thing(registration->registry, thing, now_s) ||
        !cloud_registry_put_certificate(registration->registry, &pending->certificate, CLOUD_CERTIFICATE_ACTIVE, thing,
                                        now_s))
        return;
    registration->activated++;
    if (registration->options.duplicate == CLOUD_DUPLICATE_REPLACE)
        while (has_another(registration, &pending->certificate, other) &&
               cloud_registry_set_status(registration->registry, other, CLOUD_CERTIFICATE_INACTIVE, now_s))
            ;
    if (registration->options.activated)
        registration->options.activated(registration->options.activated_context, now_us, &pending->certificate);
}

bool cloud_registration_knows(const struct cloud_registration *registration, const uint8_t certificate_id[32])
{
    return *place_of(registration, certificate_id) != NULL;
}

void cloud_registration_tick(struct cloud_registration *registration, int64_t now_us)
{
    while (registration->due.next_us <= now_us && registration->heap.count) {
        struct pending *pending = due_pop(&registration->heap).item;
        registration->due.next_us = due_next_us(&registration->heap);
        if (!pending->forgotten) {
            activate(registration, now_us, pending);
            *place_of(registration, pending->certificate.id) = pending->next;
            registration->pending_count--;
        }
        memory_free(pending);
    }
}

static void drop(struct cloud_registration *registration, struct pending **place)
{
    struct pending *pending = *place;
    *place = pending->next;
    registration->pending_count--;
    cloud_registry_forget_certificate(registration->registry, pending->certificate.id);
    pending->forgotten = true;
    if (pending->due_us == TIME_NEVER) /* else its time comes */
        memory_free(pending);
}

void cloud_registration_forget(struct cloud_registration *registration, const char *thing)
{
    for (uint32_t b = 0; registration->pending_count && b < registration->bucket_count; b++)
        for (struct pending **place = &registration->bucket[b]; *place;)
            if (strcmp((*place)->certificate.common_name, thing) == 0)
                drop(registration, place);
            else
                place = &(*place)->next;
}

/* ---- at the door ------------------------------------------------------------------------------------------------------ */

static void raise_event(struct cloud_registration *registration, int64_t now_us,
                        const struct cloud_certificate *certificate)
{
    char ca[65], id[65], topic[160], payload[512];
    text_hex(certificate->issuer_id, 32, ca);
    text_hex(certificate->id, 32, id);
    int64_t now_ms = (registration->options.epoch_us + now_us) / US_PER_MS;
    struct text_writer t = {topic, 0, sizeof topic}, p = {payload, 0, sizeof payload};
    text_put_string(&t, registration->options.event_prefix);
    TEXT_PUT(&t, "/certificates/registered/");
    text_put(&t, ca, 64);
    TEXT_PUT(&p, "{\"certificateId\":\"");
    text_put(&p, id, 64);
    TEXT_PUT(&p, "\",\"caCertificateId\":\"");
    text_put(&p, ca, 64);
    TEXT_PUT(&p, "\",\"timestamp\":");
    text_put_number(&p, now_ms);
    TEXT_PUT(&p, ",\"certificateStatus\":\"PENDING_ACTIVATION\",\"awsAccountId\":\"123456789012\","
                 "\"certificateRegistrationTimestamp\":\"");
    text_put_number(&p, now_ms);
    TEXT_PUT(&p, "\"}");
    if (!text_fits(&t) || !text_fits(&p))
        return; /* a prefix of somebody's own that is too long: no rule could have subscribed to it either */
    struct mq5_publish message = {.qos = 1, .topic = span_of(topic, t.at), .payload = span_of(payload, p.at)};
    registration->bus->ops->publish(registration->bus, now_us, &message);
}

static const struct cloud_authorisation silently = {.reason = MQ5_NOT_AUTHORIZED, .silent = true},
                                        openly = {.reason = MQ5_NOT_AUTHORIZED, .silent = false};

/* false: not from our operational CA, or not readable, or out of memory. */
static bool take_in(struct cloud_registration *registration, int64_t now_s, const struct cloud_peer *peer)
{
    const struct cloud_certificate *ca = cloud_pki_ca(registration->pki, CLOUD_CA_OPERATIONAL);
    struct pending *pending = memory_allocate_zero(1, sizeof *pending);
    if (!pending)
        return false;
    if (!ca || memcmp(ca->id, peer->issuer_id, 32) != 0 ||
        !cloud_certificate_read(peer->certificate, &pending->certificate)) {
        memory_free(pending);
        return false;
    }
    memcpy(pending->certificate.issuer_id, peer->issuer_id, 32);
    if (!cloud_registry_put_certificate(registration->registry, &pending->certificate,
                                        CLOUD_CERTIFICATE_PENDING_ACTIVATION, NULL, now_s)) {
        memory_free(pending);
        return false;
    }
    pending->due_us = TIME_NEVER;
    if (registration->pending_count++ >= registration->bucket_count)
        buckets_grow(registration);
    struct pending **place = place_of(registration, pending->certificate.id);
    pending->next = *place;
    *place = pending;
    return true;
}

static struct cloud_authorisation refuse(struct cloud_registration *registration,
                                         enum cloud_registration_refusal refusal)
{
    registration->refusals[refusal]++;
    return openly;
}

/* The certificate is pending and met again, or was not known: told, and refused without a word. */
static struct cloud_authorisation not_yet(struct cloud_registration *registration, int64_t now_us,
                                          const struct pending *pending, enum cloud_registration_refusal refusal)
{
    registration->refusals[refusal]++;
    registration->refused++;
    raise_event(registration, now_us, &pending->certificate);
    return silently;
}

static struct cloud_authorisation first_seen(struct cloud_registration *registration, int64_t now_us,
                                             const struct cloud_peer *peer)
{
    int64_t now_s = (registration->options.epoch_us + now_us) / US_PER_S;
    bool valid = now_s >= peer->not_before_s && now_s <= peer->not_after_s;
    bool ours = memcmp(cloud_pki_ca(registration->pki, CLOUD_CA_OPERATIONAL)->id, peer->issuer_id, 32) == 0;
    if (valid && ours && registration->options.ca_inactive)
        return refuse(registration, CLOUD_REFUSAL_CA_INACTIVE);
    if (valid && ours && registration->options.auto_registration_disabled)
        return refuse(registration, CLOUD_REFUSAL_NO_AUTO_REGISTRATION);
    if (!valid || !ours || !take_in(registration, now_s, peer)) {
        registration->strangers++;
        return refuse(registration, valid ? CLOUD_REFUSAL_STRANGER : CLOUD_REFUSAL_VALIDITY);
    }
    return not_yet(registration, now_us, *place_of(registration, peer->certificate_id), CLOUD_REFUSAL_FIRST);
}

static struct cloud_authorisation known(struct cloud_registration *registration, int64_t now_us,
                                        const struct mq5_connect *connect, const struct cloud_peer *peer)
{
    char thing[64];
    int64_t now_s = (registration->options.epoch_us + now_us) / US_PER_S;
    if (now_s < peer->not_before_s || now_s > peer->not_after_s)
        return refuse(registration, CLOUD_REFUSAL_VALIDITY);
    if (!cloud_registry_thing_of(registration->registry, peer->certificate_id, thing) ||
        (!registration->options.any_client_id && !span_equal(span_text(thing), connect->client_id)))
        return refuse(registration, CLOUD_REFUSAL_OTHER_THING);
    return (struct cloud_authorisation){.reason = MQ5_SUCCESS, .silent = false};
}

/* Accounts that share a CA are told apart by the host name that the client asked for. */
static bool names_endpoint(const struct cloud_registration *registration, const struct cloud_peer *peer)
{
    size_t length = strlen(peer->server_name);
    for (const char *at = registration->options.endpoints; at && length; at = strchr(at, ',')) {
        at += *at == ',';
        if (strcspn(at, ",") == length && strncasecmp(at, peer->server_name, length) == 0)
            return true;
    }
    return false;
}

struct cloud_authorisation cloud_registration_authorise(struct cloud_registration *registration, int64_t now_us,
                                                        const struct mq5_connect *connect,
                                                        const struct cloud_peer *peer)
{
    if (registration->options.ca_mode == CLOUD_CA_MODE_SNI_ONLY && !names_endpoint(registration, peer))
        return refuse(registration, CLOUD_REFUSAL_SERVER_NAME);
    switch (cloud_registry_status(registration->registry, peer->certificate_id)) {
    case CLOUD_CERTIFICATE_ACTIVE: return known(registration, now_us, connect, peer);
    case CLOUD_CERTIFICATE_UNKNOWN: return first_seen(registration, now_us, peer);
    case CLOUD_CERTIFICATE_PENDING_ACTIVATION: {
        const struct pending *pending = *place_of(registration, peer->certificate_id);
        return pending ? not_yet(registration, now_us, pending, CLOUD_REFUSAL_PENDING)
                       : first_seen(registration, now_us, peer); /* pending since an earlier run of this cloud */
    }
    default: return refuse(registration, CLOUD_REFUSAL_STATUS);
    }
}

/* ---- life ------------------------------------------------------------------------------------------------------------ */

struct cloud_registration *cloud_registration_create(const struct cloud_registration_options *options,
                                                     const struct cloud_pki *pki, struct cloud_registry *registry,
                                                     struct cloud_bus *bus)
{
    struct cloud_registration *registration = memory_allocate_zero(1, sizeof *registration);
    if (!registration)
        return NULL;
    *registration = (struct cloud_registration){.options = *options, .pki = pki, .registry = registry, .bus = bus};
    registration->due.next_us = TIME_NEVER;
    registration->bucket_count = BUCKETS_AT_FIRST;
    registration->bucket = memory_allocate_zero(BUCKETS_AT_FIRST, sizeof *registration->bucket);
    if (!registration->options.event_prefix)
        registration->options.event_prefix = "$aws/events";
    char filter[160];
    struct text_writer w = {filter, 0, sizeof filter};
    text_put_string(&w, registration->options.event_prefix);
    TEXT_PUT(&w, "/certificates/registered/+");
    if (!registration->bucket || !text_fits(&w) ||
        bus->ops->subscribe(bus, 0, span_of(filter, w.at), 1, rule, registration) >= 0x80) {
        memory_free(registration->bucket);
        memory_free(registration);
        return NULL;
    }
    return registration;
}

void cloud_registration_destroy(struct cloud_registration *registration)
{
    /* The others that are due are in a bucket, too. */
    for (uint32_t i = 0; i < registration->heap.count; i++) {
        struct pending *pending = registration->heap.entries[i].item;
        if (pending->forgotten)
            memory_free(pending);
    }
    for (uint32_t b = 0; b < registration->bucket_count; b++)
        while (registration->bucket[b]) {
            struct pending *pending = registration->bucket[b];
            registration->bucket[b] = pending->next;
            memory_free(pending);
        }
    memory_free(registration->bucket);
    memory_free(registration->heap.entries);
    memory_free(registration);
}

void cloud_registration_counts(const struct cloud_registration *registration, uint64_t *refused, uint64_t *activated,
                               uint64_t *strangers)
{
    if (refused)
        *refused = registration->refused;
    if (activated)
        *activated = registration->activated;
    if (strangers)
        *strangers = registration->strangers;
}

const char *cloud_registration_refusal_name(enum cloud_registration_refusal refusal)
{
    static const char *const names[] = {"stranger",    "validity",      "CA inactive", "auto-registration disabled",
                                        "server name", "first connect", "pending",     "status",
                                        "other thing", "allow list",    "revoked",     "unknown to OCSP",
                                        "duplicate"};
    _Static_assert(sizeof names / sizeof names[0] == CLOUD_REFUSALS, "a name each");
    return (unsigned)refusal < CLOUD_REFUSALS ? names[refusal] : "none";
}

uint64_t cloud_registration_refusals(const struct cloud_registration *registration,
                                     enum cloud_registration_refusal refusal)
{
    return registration->refusals[refusal];
}

void cloud_registration_set_ca(struct cloud_registration *registration, bool inactive, bool auto_registration_disabled)
{
    registration->options.ca_inactive = inactive;
    registration->options.auto_registration_disabled = auto_registration_disabled;
}

uint64_t cloud_registration_bytes(const struct cloud_registration *registration)
{
    return sizeof *registration + registration->bucket_count * sizeof *registration->bucket +
           due_bytes(&registration->heap) + registration->pending_count * sizeof(struct pending);
}
