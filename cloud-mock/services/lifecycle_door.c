/* lifecycle_door.c: who may come in, say, ask for and hear what; and who is two. */
#define _GNU_SOURCE /* memmem */
#include "lifecycle_internal.h"

static const struct cloud_authorisation welcome = {.reason = MQ5_SUCCESS, .silent = false},
                                        refused = {.reason = MQ5_NOT_AUTHORIZED, .silent = false};

/* ---- clones ---------------------------------------------------------------------------------------------------------- */

/* Two have used what is one's own. Often enough within the window, and they are two. Nothing is decided here: the broker is at work. */
static void suspect(struct cloud_lifecycle *lifecycle, int64_t now_us, struct life *life)
{
    const struct cloud_lifecycle_options *options = &lifecycle->options;
    life->forget_us = life->forget_us == TIME_NEVER ? now_us + options->clone_window_us : life->forget_us;
    if (life->takeovers == 0 || now_us - life->first_us > options->clone_window_us) {
        life->takeovers = 0;
        life->first_us = now_us;
        life->forget_us = now_us + options->clone_window_us;
    }
    if (++life->takeovers >= options->clone_takeovers && life->suspected_us == TIME_NEVER)
        life->suspected_us = now_us;
}

void cloud_lifecycle_connected(struct cloud_lifecycle *lifecycle, int64_t now_us, struct span client_id,
                               const struct cloud_peer *peer)
{
    struct life *life = life_find(lifecycle, client_id);
    if (!life || !life->taken_over)
        return;
    life->taken_over = false;
    suspect(lifecycle, now_us, life);
    life_settle(lifecycle, life);
    life_due(lifecycle);
}

void cloud_lifecycle_disconnected(struct cloud_lifecycle *lifecycle, int64_t now_us, struct span client_id,
                                  const struct cloud_peer *peer, enum cloud_close_reason reason)
{
    if (reason != CLOUD_CLOSED_TAKEN_OVER || lifecycle->options.clone_takeovers == 0 || !peer || !peer->has_certificate)
        return;
    struct life *life = life_make(lifecycle, client_id);
    if (!life)
        return;
    life->taken_over = true;
    if (life->forget_us == TIME_NEVER)
        life->forget_us = now_us + lifecycle->options.clone_window_us;
    life_settle(lifecycle, life);
    life_due(lifecycle);
}

/* A certificate under another's name. */
static void misused(struct cloud_lifecycle *lifecycle, int64_t now_us, struct span owner)
{
    struct life *life = lifecycle->options.clone_takeovers ? life_make(lifecycle, owner) : NULL;
    if (!life)
        return;
    suspect(lifecycle, now_us, life);
    life_settle(lifecycle, life);
    life_due(lifecycle);
}

/* ---- policies -------------------------------------------------------------------------------------------------------- */

static bool is_claim(const struct cloud_lifecycle *lifecycle, const struct cloud_peer *peer)
{
    const struct cloud_certificate *ca = cloud_pki_ca(lifecycle->parts.pki, CLOUD_CA_CLAIM);
    return ca && memcmp(ca->id, peer->issuer_id, 32) == 0;
}

/* Connections without certificate are services' and people's, whom other means have let in: no policy is attached to them. */
static bool decide(struct cloud_lifecycle *lifecycle, enum cloud_action action, struct span client_id,
                   const struct cloud_peer *peer, struct span name, const struct mq5_connect *connect)
{
    char thing[64];
    struct cloud_principal principal = {.client_id = client_id, .peer = peer};
    if (!peer || !peer->has_certificate)
        return true;
    if (cloud_registry_thing_of(lifecycle->parts.registry, peer->certificate_id, thing))
        principal.thing = span_text(thing);
    if (connect) {
        principal.persistent = !connect->clean_start;
        principal.last_will = connect->has_will;
    }
    const struct cloud_policy *policy = is_claim(lifecycle, peer) ? lifecycle->claim_policy : lifecycle->vehicle_policy;
    return cloud_policy_decide(&policy, 1, action, name, &principal) == CLOUD_ALLOWED;
}

static void forbidden(struct cloud_lifecycle *lifecycle, int64_t now_us, struct span client_id, struct span topic)
{
    life_tell(lifecycle, now_us, CLOUD_LIFE_FORBIDDEN, client_id, topic, now_us);
}

/* Base64 of keys and signatures comes to something like a VIN now and then: what is in PEM is left out. */
static bool tells_vin(struct span text)
{
    static const char head[] = "-----BEGIN ", tail[] = "-----END ";
    const uint8_t *begin, *end = text.data + text.length;
    if (cloud_vin_find(text) < 0)
        return false;
    while ((begin = memmem(text.data, text.length, head, sizeof head - 1))) {
        if (cloud_vin_find(span_of(text.data, (size_t)(begin - text.data))) >= 0)
            return true;
        const uint8_t *rest = memmem(begin, (size_t)(end - begin), tail, sizeof tail - 1);
        if (!rest) /* no PEM after all */
            rest = begin + sizeof head - 1;
        text = span_of(rest, (size_t)(end - rest));
    }
    return cloud_vin_find(text) >= 0;
}

static void scan(struct cloud_lifecycle *lifecycle, int64_t now_us, struct span client_id,
                 const struct mq5_publish *publish)
{
    /* The event must not spread what it tells of. */
    if (cloud_vin_find(publish->topic) >= 0)
        life_tell(lifecycle, now_us, CLOUD_LIFE_VIN_SEEN, client_id, SPAN_LITERAL("topic"), now_us);
    if (tells_vin(publish->payload))
        life_tell(lifecycle, now_us, CLOUD_LIFE_VIN_SEEN, client_id, SPAN_LITERAL("payload"), now_us);
}

uint8_t cloud_lifecycle_authorise_publish(struct cloud_lifecycle *lifecycle, int64_t now_us, struct span client_id,
                                          const struct cloud_peer *peer, const struct mq5_publish *publish)
{
    if (lifecycle->options.scan_for_vins)
        scan(lifecycle, now_us, client_id, publish);
    if (decide(lifecycle, CLOUD_ACTION_PUBLISH, client_id, peer, publish->topic, NULL) &&
        (!publish->retain || decide(lifecycle, CLOUD_ACTION_RETAIN_PUBLISH, client_id, peer, publish->topic, NULL)))
        return MQ5_SUCCESS;
    forbidden(lifecycle, now_us, client_id, publish->topic);
    return MQ5_NOT_AUTHORIZED;
}

uint8_t cloud_lifecycle_authorise_subscribe(struct cloud_lifecycle *lifecycle, int64_t now_us, struct span client_id,
                                            const struct cloud_peer *peer, struct span filter, uint8_t qos)
{
    if (decide(lifecycle, CLOUD_ACTION_SUBSCRIBE, client_id, peer, filter, NULL))
        return MQ5_SUCCESS;
    forbidden(lifecycle, now_us, client_id, filter);
    return MQ5_NOT_AUTHORIZED;
}

bool cloud_lifecycle_authorise_receive(struct cloud_lifecycle *lifecycle, int64_t now_us, struct span client_id,
                                       const struct cloud_peer *peer, struct span topic)
{
    if (decide(lifecycle, CLOUD_ACTION_RECEIVE, client_id, peer, topic, NULL))
        return true;
    forbidden(lifecycle, now_us, client_id, topic);
    return false;
}

uint8_t cloud_lifecycle_reserved(struct cloud_lifecycle *lifecycle, int64_t now_us, struct span client_id,
                                 const struct cloud_peer *peer, const struct mq5_publish *publish)
{
    struct span topic;
    if (!life_strip(lifecycle, client_id, publish->topic, &topic))
        return MQ5_NOT_AUTHORIZED;
    struct cloud_peer own = peer ? *peer : (struct cloud_peer){0}; /* lent for one hook only, and answers ask hooks */
    bool taken = life_request(
        lifecycle, now_us,
        &(struct cloud_request){
            .client_id = client_id, .peer = peer ? &own : NULL, .topic = topic, .payload = publish->payload});
    life_due(lifecycle);
    return taken ? MQ5_SUCCESS : MQ5_NOT_AUTHORIZED;
}

/* ---- connects -------------------------------------------------------------------------------------------------------- */

static struct cloud_authorisation refuse(struct cloud_lifecycle *lifecycle, int64_t now_us, struct span client_id,
                                         const char *why)
{
    life_tell(lifecycle, now_us, CLOUD_LIFE_REFUSED, client_id, span_text(why), now_us);
    return refused;
}

static const char *validity(const struct cloud_lifecycle *lifecycle, int64_t now_us, const struct cloud_peer *peer)
{
    int64_t now_s = life_now_s(lifecycle, now_us);
    if (now_s > peer->not_after_s)
        return "certificate has expired";
    return now_s < peer->not_before_s ? "certificate is not valid yet" : NULL;
}

static const char *will_objection(struct cloud_lifecycle *lifecycle, const struct mq5_connect *connect,
                                  const struct cloud_peer *peer)
{
    if (!decide(lifecycle, CLOUD_ACTION_CONNECT, connect->client_id, peer, connect->client_id, connect))
        return "policy";
    if (connect->has_will &&
        !decide(lifecycle, CLOUD_ACTION_PUBLISH, connect->client_id, peer, connect->will_topic, NULL))
        return "policy: will";
    if (connect->has_will && connect->will_retain &&
        !decide(lifecycle, CLOUD_ACTION_RETAIN_PUBLISH, connect->client_id, peer, connect->will_topic, NULL))
        return "policy: will";
    return NULL;
}

/* A claim certificate is many vehicles'. It must not push one out that is there with its own. */
static const char *claim_objection(struct cloud_lifecycle *lifecycle, int64_t now_us, const struct mq5_connect *connect,
                                   const struct cloud_peer *peer)
{
    const char *why = validity(lifecycle, now_us, peer);
    switch (cloud_registry_status(lifecycle->parts.registry, peer->certificate_id)) {
    case CLOUD_CERTIFICATE_INACTIVE: return "claim certificate is inactive";
    case CLOUD_CERTIFICATE_REVOKED: return "claim certificate is revoked";
    default: break;
    }
    if (!why)
        why = will_objection(lifecycle, connect, peer);
    if (!why && lifecycle->parts.broker && cloud_broker_is_connected(lifecycle->parts.broker, connect->client_id) &&
        life_has_active(lifecycle, life_now_s(lifecycle, now_us), connect->client_id))
        why = "a vehicle is connected under this name";
    return why;
}

static struct cloud_authorisation unknown(struct cloud_lifecycle *lifecycle, int64_t now_us,
                                          const struct mq5_connect *connect, const struct cloud_peer *peer,
                                          enum cloud_certificate_status status)
{
    struct cloud_registration *registration = lifecycle->parts.registration;
    struct cloud_vehicle vehicle;
    if (!registration)
        return refuse(lifecycle, now_us, connect->client_id, "certificate is unknown");
    /* Made by provisioning and not granted yet: registration must not do it in its place. */
    if (status == CLOUD_CERTIFICATE_PENDING_ACTIVATION && !cloud_registration_knows(registration, peer->certificate_id))
        return refuse(lifecycle, now_us, connect->client_id, "certificate is pending activation");
    bool known = cloud_vehicles_get(lifecycle->vehicles, span_text(peer->common_name), &vehicle);
    if (known && vehicle.state == CLOUD_VEHICLE_WITHOUT_DEVICE)
        return refuse(lifecycle, now_us, connect->client_id, "vehicle is without device");
    if (!known && lifecycle->options.require_device)
        return refuse(lifecycle, now_us, connect->client_id, "vehicle is not registered");
    if (life_outdated(lifecycle, span_text(peer->common_name), peer->not_before_s))
        return refuse(lifecycle, now_us, connect->client_id, "certificate is of before a revocation");
    struct cloud_authorisation answer = cloud_registration_authorise(registration, now_us, connect, peer);
    if (answer.reason != MQ5_SUCCESS && !answer.silent)
        return refuse(lifecycle, now_us, connect->client_id, "registration refused the certificate");
    return answer;
}

struct cloud_authorisation cloud_lifecycle_authorise_connect(struct cloud_lifecycle *lifecycle, int64_t now_us,
                                                             const struct mq5_connect *connect,
                                                             const struct cloud_peer *peer)
{
    struct span client_id = connect->client_id;
    char owner[64];
    if (!peer || !peer->has_certificate)
        return refused;
    if (is_claim(lifecycle, peer)) {
        const char *why = claim_objection(lifecycle, now_us, connect, peer);
        return why ? refuse(lifecycle, now_us, client_id, why) : welcome;
    }
    enum cloud_certificate_status status = cloud_registry_status(lifecycle->parts.registry, peer->certificate_id);
    bool owned = cloud_registry_thing_of(lifecycle->parts.registry, peer->certificate_id, owner);
    const char *why = life_objection(lifecycle, client_id, peer->certificate_id);
    if (status == CLOUD_CERTIFICATE_ACTIVE && owned && !span_equal(span_text(owner), client_id))
        misused(lifecycle, now_us, span_text(owner));
    if (why && !owned && (status == CLOUD_CERTIFICATE_UNKNOWN || status == CLOUD_CERTIFICATE_PENDING_ACTIVATION) &&
        !life_barred(lifecycle, client_id))
        return unknown(lifecycle, now_us, connect, peer, status);
    if (!why)
        why = validity(lifecycle, now_us, peer);
    if (!why)
        why = will_objection(lifecycle, connect, peer);
    if (why)
        return refuse(lifecycle, now_us, client_id, why);
    if (!lifecycle->parts.registration)
        return welcome;
    /* What its CA demands of every connect is asked there. */
    struct cloud_authorisation answer =
        cloud_registration_authorise(lifecycle->parts.registration, now_us, connect, peer);
    return answer.reason == MQ5_SUCCESS ? answer
                                        : refuse(lifecycle, now_us, client_id, "registration refused the certificate");
}

bool cloud_lifecycle_resolve(void *context, const struct cloud_peer *attestation, char name[64])
{
    const struct cloud_lifecycle *lifecycle = context;
    struct cloud_vehicle vehicle;
    if (!cloud_vehicles_by_device(lifecycle->vehicles, span_text(attestation->common_name), &vehicle)) {
        strcpy(name, attestation->common_name);
        return !lifecycle->options.require_device &&
               !cloud_vehicles_get(lifecycle->vehicles, span_text(name), &vehicle);
    }
    strcpy(name, vehicle.reference);
    return vehicle.state == CLOUD_VEHICLE_BUILT || vehicle.state == CLOUD_VEHICLE_PROVISIONED ||
           vehicle.state == CLOUD_VEHICLE_ACTIVE;
}
