/* lifecycle_verify.c: proof of the state: every vehicle's history, certificates, device, connection and job fit together.
 *
 * Works from what the registries say, not from what was done: the history is lived through again and must lead to where the vehicle is.
 */
#include "lifecycle_internal.h"

#include "text.h"

struct proof {
    struct cloud_lifecycle *lifecycle;
    int64_t now_us, now_s, cut_bound_us;
    void (*flaw)(void *context, enum cloud_flaw_kind kind, struct span thing);
    void *context;
    uint32_t count;
    struct cloud_vehicle_entry *history;
    uint32_t capacity;
    uint64_t reference_sum, reference_count;
};

const char *cloud_flaw_name(enum cloud_flaw_kind kind)
{
    static const char *const names[CLOUD_FLAWS] = {
        [CLOUD_FLAW_NO_CERTIFICATE] = "no certificate",
        [CLOUD_FLAW_SECOND_CERTIFICATE] = "second certificate",
        [CLOUD_FLAW_SHARED_IDENTITY] = "shared identity",
        [CLOUD_FLAW_STILL_ACTIVE] = "still active",
        [CLOUD_FLAW_STILL_CONNECTED] = "still connected",
        [CLOUD_FLAW_JOB_OPEN] = "job open",
        [CLOUD_FLAW_HISTORY] = "history",
        [CLOUD_FLAW_REFERENCE] = "reference",
        [CLOUD_FLAW_OLD_DATA] = "data of an earlier owner",
    };
    return (unsigned)kind < CLOUD_FLAWS ? names[kind] : "unknown";
}

static void found(struct proof *proof, enum cloud_flaw_kind kind, struct span thing)
{
    proof->count++;
    if (proof->flaw)
        proof->flaw(proof->context, kind, thing);
}

/* ---- history --------------------------------------------------------------------------------------------------------- */

struct lived { /* what a history leads to */
    enum cloud_vehicle_state state;
    uint32_t owner;
    bool device_known, revoked, sound;
    char device[65];
    char certificate[65]; /* "": none, or not any more */
};

static void live_through(struct lived *lived, const struct cloud_vehicle_entry *entry)
{
    lived->sound = lived->sound && entry->change != CLOUD_CHANGE_REGISTERED && /* only the first is one */
                   cloud_vehicle_step(&lived->state, entry->change);
    switch (entry->change) {
    case CLOUD_CHANGE_PROVISIONED:
    case CLOUD_CHANGE_ROTATED:
        lived->revoked = false;
        memcpy(lived->certificate, entry->detail, sizeof lived->certificate);
        return;
    case CLOUD_CHANGE_REVOKED:
        lived->revoked = true;
        lived->certificate[0] = 0;
        return;
    case CLOUD_CHANGE_OWNER: lived->owner++; return;
    case CLOUD_CHANGE_DEVICE_OUT:
        lived->sound = lived->sound && (!lived->device_known || strcmp(lived->device, entry->detail) == 0);
        lived->device_known = lived->revoked = true;
        lived->device[0] = lived->certificate[0] = 0;
        return;
    case CLOUD_CHANGE_DEVICE_IN:
        lived->device_known = true;
        memcpy(lived->device, entry->detail, sizeof lived->device);
        return;
    case CLOUD_CHANGE_DECOMMISSIONED: lived->certificate[0] = 0; return;
    default: return;
    }
}

static bool read_history(struct proof *proof, const struct cloud_vehicle *vehicle)
{
    if (vehicle->changes > proof->capacity) {
        uint32_t capacity = vehicle->changes + vehicle->changes / 2 + 16;
        void *room = memory_resize_beyond(proof->history, capacity * sizeof *proof->history);
        if (!room)
            return false;
        proof->history = room;
        proof->capacity = capacity;
    }
    return cloud_vehicles_history(proof->lifecycle->vehicles, span_text(vehicle->reference), proof->history,
                                  proof->capacity) == vehicle->changes;
}

static struct lived history_of(struct proof *proof, const struct cloud_vehicle *vehicle)
{
    struct lived lived = {.state = CLOUD_VEHICLE_BUILT, .owner = 1};
    lived.sound =
        read_history(proof, vehicle) && vehicle->changes > 0 && proof->history[0].change == CLOUD_CHANGE_REGISTERED;
    for (uint32_t i = 1; lived.sound && i < vehicle->changes; i++) {
        const struct cloud_vehicle_entry *entry = &proof->history[i];
        lived.sound = entry->at_s >= entry[-1].at_s;
        live_through(&lived, entry);
    }
    lived.sound = lived.sound && lived.state == vehicle->state && lived.owner == vehicle->owner &&
                  (!lived.device_known || strcmp(lived.device, vehicle->device) == 0);
    return lived;
}

/* ---- certificates ---------------------------------------------------------------------------------------------------- */

struct held { /* what the registry has of a thing */
    struct proof *proof;
    const char *thing;
    uint32_t active, valid;
    char hex[65]; /* of an active one */
    bool revoked_active, misnamed, shared;
};

static bool look(void *context, const struct cloud_certificate *certificate, enum cloud_certificate_status status)
{
    struct held *held = context;
    const struct cloud_lifecycle *lifecycle = held->proof->lifecycle;
    struct cloud_vehicle other;
    if (strcmp(certificate->common_name, held->thing) != 0) {
        bool another = cloud_vehicles_get(lifecycle->vehicles, span_text(certificate->common_name), &other);
        held->shared |= another;
        held->misnamed |= !another;
    }
    if (status != CLOUD_CERTIFICATE_ACTIVE)
        return true;
    held->active++;
    held->valid += certificate->not_after_s >= held->proof->now_s && certificate->not_before_s <= held->proof->now_s;
    held->revoked_active |= cloud_registry_is_revoked(lifecycle->parts.registry, certificate->id);
    text_hex(certificate->id, 32, held->hex);
    return true;
}

/* Connected, and a cut is neither under way nor within its time. */
static bool connected_wrongly(const struct proof *proof, struct span thing, bool *another)
{
    const struct cloud_peer *peer = life_connected(proof->lifecycle, thing);
    char owner[64];
    if (!peer || !peer->has_certificate)
        return false;
    uint8_t id[32];
    memcpy(id, peer->certificate_id, sizeof id);
    const struct cloud_certificate *claim = cloud_pki_ca(proof->lifecycle->parts.pki, CLOUD_CA_CLAIM);
    if (claim && memcmp(claim->id, peer->issuer_id, 32) == 0)
        return false;
    *another =
        cloud_registry_thing_of(proof->lifecycle->parts.registry, id, owner) && !span_equal(span_text(owner), thing);
    if (*another || !life_objection(proof->lifecycle, thing, id))
        return false;
    const struct life *life = life_find(proof->lifecycle, thing);
    return !life || life->cut_us == TIME_NEVER || proof->now_us - life->lost_us > proof->cut_bound_us;
}

static bool old_data_readable(const struct proof *proof, const struct cloud_vehicle *vehicle)
{
    return vehicle->owner > 1 && cloud_lifecycle_may_read(proof->lifecycle, span_text(vehicle->tenant),
                                                          span_text(vehicle->reference), vehicle->data_since_s - 1);
}

static bool device_shared(const struct proof *proof, const struct cloud_vehicle *vehicle)
{
    struct cloud_vehicle other;
    return vehicle->device[0] && vehicle->state != CLOUD_VEHICLE_DECOMMISSIONED &&
           (!cloud_vehicles_by_device(proof->lifecycle->vehicles, span_text(vehicle->device), &other) ||
            strcmp(other.reference, vehicle->reference) != 0);
}

static void check_certificates(struct proof *proof, const struct cloud_vehicle *vehicle, const struct held *held,
                               const struct lived *lived)
{
    struct span thing = span_text(vehicle->reference);
    bool gone = vehicle->state == CLOUD_VEHICLE_DECOMMISSIONED || vehicle->state == CLOUD_VEHICLE_WITHOUT_DEVICE ||
                lived->revoked;
    bool served = vehicle->state == CLOUD_VEHICLE_PROVISIONED || vehicle->state == CLOUD_VEHICLE_ACTIVE;
    if (held->revoked_active || (gone && held->active))
        found(proof, CLOUD_FLAW_STILL_ACTIVE, thing);
    else if (held->active > 1)
        found(proof, CLOUD_FLAW_SECOND_CERTIFICATE, thing);
    else if (served && !gone && held->valid == 0)
        found(proof, CLOUD_FLAW_NO_CERTIFICATE, thing);
    /* A certificate the vehicle has without its history telling of it. */
    else if (!lived->sound || (held->active == 1 && strcmp(held->hex, lived->certificate) != 0))
        found(proof, CLOUD_FLAW_HISTORY, thing);
}

static void prove(void *context, const struct cloud_vehicle *vehicle)
{
    struct proof *proof = context;
    struct span thing = span_text(vehicle->reference);
    struct held held = {.proof = proof, .thing = vehicle->reference};
    bool another = false;
    proof->reference_sum += life_reference_hash(vehicle);
    proof->reference_count++;
    struct lived lived = history_of(proof, vehicle);
    cloud_registry_of_thing(proof->lifecycle->parts.registry, vehicle->reference, look, &held);
    check_certificates(proof, vehicle, &held, &lived);
    if (held.misnamed)
        found(proof, CLOUD_FLAW_REFERENCE, thing);
    if (connected_wrongly(proof, thing, &another))
        found(proof, CLOUD_FLAW_STILL_CONNECTED, thing);
    if (held.shared || another || device_shared(proof, vehicle))
        found(proof, CLOUD_FLAW_SHARED_IDENTITY, thing);
    if (old_data_readable(proof, vehicle))
        found(proof, CLOUD_FLAW_OLD_DATA, thing);
}

uint32_t cloud_lifecycle_verify(struct cloud_lifecycle *lifecycle, int64_t now_us, int64_t cut_bound_us,
                                void (*flaw)(void *context, enum cloud_flaw_kind kind, struct span thing),
                                void *context)
{
    struct proof proof = {.lifecycle = lifecycle,
                          .now_us = now_us,
                          .now_s = life_now_s(lifecycle, now_us),
                          .cut_bound_us = cut_bound_us,
                          .flaw = flaw,
                          .context = context};
    cloud_vehicles_each(lifecycle->vehicles, prove, &proof);
    memory_free(proof.history);
    for (uint32_t b = 0; b < lifecycle->bucket_count; b++)
        for (const struct life *life = lifecycle->bucket[b]; life; life = life->next)
            if (life->rotating || life->again)
                found(&proof, CLOUD_FLAW_JOB_OPEN, life_span(life));
    /* Rows that were not built here but read from a file are taken as they are. */
    if (proof.reference_count > lifecycle->reference_count) {
        lifecycle->reference_count = proof.reference_count;
        lifecycle->reference_sum = proof.reference_sum;
    }
    if (proof.reference_count != lifecycle->reference_count || proof.reference_sum != lifecycle->reference_sum)
        found(&proof, CLOUD_FLAW_REFERENCE, (struct span){NULL, 0});
    return proof.count;
}
