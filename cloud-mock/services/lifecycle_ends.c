/* lifecycle_ends.c: what an operator decides, and what time brings: cuts, clones, the second rotation of a vehicle sold in the middle of one. */
#include "lifecycle_internal.h"

/* Its rotation is not to be gone on with. */
static void stop_jobs(struct cloud_lifecycle *lifecycle, int64_t now_us, struct span thing)
{
    struct life *life = life_find(lifecycle, thing);
    if (life) {
        life->again = false;
        life->again_us = TIME_NEVER;
        life_settle(lifecycle, life);
    }
    cloud_jobs_remove_thing(lifecycle->jobs, now_us, thing);
}

enum cloud_vehicles_result cloud_lifecycle_build(struct cloud_lifecycle *lifecycle, int64_t now_us, struct span vin,
                                                 struct span device, struct span tenant, struct span reference)
{
    char name[CLOUD_REFERENCE_MAX + 1] = "";
    struct cloud_vehicle vehicle;
    if (reference.length > CLOUD_REFERENCE_MAX)
        return CLOUD_VEHICLES_REFERENCE_TAKEN;
    if (reference.length)
        memcpy(name, reference.data, reference.length);
    uint64_t changes = cloud_vehicles_changes(lifecycle->vehicles); /* none: it was there already */
    enum cloud_vehicles_result result =
        cloud_vehicles_register(lifecycle->vehicles, life_now_s(lifecycle, now_us), vin, device, tenant, name);
    if (result == CLOUD_VEHICLES_DONE && cloud_vehicles_changes(lifecycle->vehicles) != changes &&
        cloud_vehicles_get(lifecycle->vehicles, span_text(name), &vehicle)) {
        lifecycle->reference_sum += life_reference_hash(&vehicle);
        lifecycle->reference_count++;
    }
    return result;
}

/* ---- ends ------------------------------------------------------------------------------------------------------------ */

static bool revoke(struct cloud_lifecycle *lifecycle, int64_t now_us, struct span thing, const char *reason)
{
    if (!life_revoke_all(lifecycle, now_us, thing))
        return false;
    stop_jobs(lifecycle, now_us, thing);
    cloud_vehicles_note(lifecycle->vehicles, life_now_s(lifecycle, now_us), thing, CLOUD_CHANGE_REVOKED,
                        span_text(reason));
    life_lost(lifecycle, now_us, thing);
    life_tell(lifecycle, now_us, CLOUD_LIFE_REVOKED, thing, span_text(reason), now_us);
    return true;
}

bool cloud_lifecycle_revoke(struct cloud_lifecycle *lifecycle, int64_t now_us, struct span thing, const char *reason)
{
    bool done = revoke(lifecycle, now_us, thing, reason);
    life_due(lifecycle);
    return done;
}

static bool quarantine(struct cloud_lifecycle *lifecycle, int64_t now_us, struct span thing, const char *reason)
{
    struct cloud_vehicle vehicle;
    if (!cloud_vehicles_get(lifecycle->vehicles, thing, &vehicle) || vehicle.state == CLOUD_VEHICLE_QUARANTINED ||
        cloud_vehicles_note(lifecycle->vehicles, life_now_s(lifecycle, now_us), thing, CLOUD_CHANGE_QUARANTINED,
                            span_text(reason)) != CLOUD_VEHICLES_DONE)
        return false;
    stop_jobs(lifecycle, now_us, thing);
    life_lost(lifecycle, now_us, thing);
    life_tell(lifecycle, now_us, CLOUD_LIFE_QUARANTINED, thing, span_text(reason), now_us);
    return true;
}

bool cloud_lifecycle_release(struct cloud_lifecycle *lifecycle, int64_t now_us, struct span thing)
{
    struct cloud_vehicle vehicle;
    return cloud_vehicles_get(lifecycle->vehicles, thing, &vehicle) && vehicle.state == CLOUD_VEHICLE_QUARANTINED &&
           cloud_vehicles_note(lifecycle->vehicles, life_now_s(lifecycle, now_us), thing, CLOUD_CHANGE_ACTIVE,
                               SPAN_LITERAL("released")) == CLOUD_VEHICLES_DONE;
}

bool cloud_lifecycle_change_owner(struct cloud_lifecycle *lifecycle, int64_t now_us, struct span thing,
                                  struct span tenant)
{
    bool kept = life_fault(lifecycle, lifecycle->options.keep_data, thing);
    if (cloud_vehicles_change_owner(lifecycle->vehicles, life_now_s(lifecycle, now_us), thing, tenant) !=
        CLOUD_VEHICLES_DONE)
        return false;
    life_tell(lifecycle, now_us, CLOUD_LIFE_OWNER_CHANGED, thing, tenant, now_us);
    struct life *life = kept ? life_make(lifecycle, thing) : life_find(lifecycle, thing);
    if (kept && life)
        life->kept_data = true;
    /* The new owner's vehicle has a key that the earlier one's hands never were near. */
    if (life && life->rotating)
        life->again = true;
    else
        life_rotate(lifecycle, now_us, thing, LIFE_OWNER);
    life_due(lifecycle);
    return true;
}

bool cloud_lifecycle_may_read(const struct cloud_lifecycle *lifecycle, struct span tenant, struct span thing,
                              int64_t data_at_s)
{
    struct cloud_vehicle vehicle;
    if (!cloud_vehicles_get(lifecycle->vehicles, thing, &vehicle) || !span_equal(span_text(vehicle.tenant), tenant) ||
        vehicle.state == CLOUD_VEHICLE_DECOMMISSIONED)
        return false;
    const struct life *life = life_find(lifecycle, thing);
    return data_at_s >= vehicle.data_since_s || (life && life->kept_data);
}

enum cloud_vehicles_result cloud_lifecycle_swap(struct cloud_lifecycle *lifecycle, int64_t now_us, struct span thing,
                                                struct span device, struct span next)
{
    enum cloud_vehicles_result result =
        cloud_vehicles_swap(lifecycle->vehicles, life_now_s(lifecycle, now_us), thing, device, next);
    if (result != CLOUD_VEHICLES_DONE)
        return result;
    life_revoke_all(lifecycle, now_us, thing);
    stop_jobs(lifecycle, now_us, thing);
    life_tell(lifecycle, now_us, CLOUD_LIFE_SWAPPED, thing, next, now_us);
    life_due(lifecycle);
    return result;
}

bool cloud_lifecycle_decommission(struct cloud_lifecycle *lifecycle, int64_t now_us, struct span thing)
{
    struct cloud_vehicle vehicle;
    if (!cloud_vehicles_get(lifecycle->vehicles, thing, &vehicle) || vehicle.state == CLOUD_VEHICLE_DECOMMISSIONED ||
        cloud_vehicles_note(lifecycle->vehicles, life_now_s(lifecycle, now_us), thing, CLOUD_CHANGE_DECOMMISSIONED,
                            (struct span){NULL, 0}) != CLOUD_VEHICLES_DONE)
        return false;
    life_revoke_all(lifecycle, now_us, thing);
    life_lost(lifecycle, now_us, thing);
    stop_jobs(lifecycle, now_us, thing);
    life_tell(lifecycle, now_us, CLOUD_LIFE_DECOMMISSIONED, thing, (struct span){NULL, 0}, now_us);
    life_due(lifecycle);
    return true;
}

/* ---- audit ----------------------------------------------------------------------------------------------------------- */

struct findings {
    struct cloud_lifecycle *lifecycle;
    int64_t now_s;
    struct life_ids expiring, revoked;
};

static void find(struct life_ids *ids, const uint8_t id[32])
{
    if (ids->count == ids->capacity) {
        uint32_t capacity = ids->capacity ? ids->capacity * 2 : 8;
        void *room = memory_resize_beyond(ids->ids, capacity * sizeof *ids->ids);
        if (!room)
            return;
        ids->ids = room;
        ids->capacity = capacity;
    }
    memcpy(ids->ids[ids->count++], id, 32);
}

static bool expiring(void *context, const struct cloud_certificate *certificate, const char *thing)
{
    struct findings *findings = context;
    if (thing && certificate->not_after_s >= findings->now_s)
        find(&findings->expiring, certificate->id);
    return true;
}

static bool revoked(void *context, const struct cloud_certificate *certificate, int64_t at_s)
{
    struct findings *findings = context;
    if (cloud_registry_status(findings->lifecycle->parts.registry, certificate->id) == CLOUD_CERTIFICATE_ACTIVE)
        find(&findings->revoked, certificate->id);
    return true;
}

uint32_t cloud_lifecycle_audit(struct cloud_lifecycle *lifecycle, int64_t now_us)
{
    struct cloud_registry *registry = lifecycle->parts.registry;
    struct findings findings = {.lifecycle = lifecycle, .now_s = life_now_s(lifecycle, now_us)};
    char thing[64];
    uint32_t count = 0;
    cloud_registry_revoked(registry, revoked, &findings);
    cloud_registry_expiring(registry, findings.now_s + lifecycle->options.expiring_within_s, expiring, &findings);
    for (uint32_t i = 0; i < findings.revoked.count; i++, count++) {
        cloud_registry_set_status(registry, findings.revoked.ids[i], CLOUD_CERTIFICATE_REVOKED, findings.now_s);
        if (cloud_registry_thing_of(registry, findings.revoked.ids[i], thing))
            life_lost(lifecycle, now_us, span_text(thing));
    }
    for (uint32_t i = 0; i < findings.expiring.count; i++)
        count += cloud_registry_thing_of(registry, findings.expiring.ids[i], thing) &&
                 life_rotate(lifecycle, now_us, span_text(thing), LIFE_ROUTINE);
    memory_free(findings.expiring.ids);
    memory_free(findings.revoked.ids);
    life_due(lifecycle);
    return count;
}

/* ---- time ------------------------------------------------------------------------------------------------------------ */

/* Cuts what is still connected and still may not be. Presence and hooks are told by the broker. */
static void cut(struct cloud_lifecycle *lifecycle, int64_t now_us, struct span thing, int64_t lost_us)
{
    const struct cloud_peer *peer = life_connected(lifecycle, thing);
    if (!peer || !peer->has_certificate || !life_objection(lifecycle, thing, peer->certificate_id))
        return;
    if (cloud_broker_kick(lifecycle->parts.broker, now_us, thing, MQ5_NOT_AUTHORIZED))
        life_tell(lifecycle, now_us, CLOUD_LIFE_CUT, thing, (struct span){NULL, 0}, lost_us);
}

static void clone_detected(struct cloud_lifecycle *lifecycle, int64_t now_us, struct span thing, int64_t first_us)
{
    life_tell(lifecycle, now_us, CLOUD_LIFE_CLONE_DETECTED, thing, (struct span){NULL, 0}, first_us);
    switch (lifecycle->options.clone_decision) {
    case CLOUD_CLONE_REVOKE: revoke(lifecycle, now_us, thing, "cloned"); break;
    case CLOUD_CLONE_QUARANTINE: quarantine(lifecycle, now_us, thing, "cloned"); break;
    default: break;
    }
}

/* What is due is taken down before it is done: doing it may change this life, or end it. */
static void live(struct cloud_lifecycle *lifecycle, int64_t now_us, struct life *life)
{
    char name[64] = "";
    struct span thing = span_of(name, life->length);
    bool cut_due = life->cut_us <= now_us, again = life->again_us <= now_us, cloned = life->suspected_us <= now_us;
    int64_t lost_us = life->lost_us, first_us = life->first_us;
    memcpy(name, life->thing, life->length);
    if (cut_due)
        life->cut_us = life->lost_us = TIME_NEVER;
    if (again) {
        life->again = false;
        life->again_us = TIME_NEVER;
    }
    if (cloned || life->forget_us <= now_us) {
        life->suspected_us = life->forget_us = TIME_NEVER;
        life->takeovers = 0;
        life->taken_over = false;
    }
    life_settle(lifecycle, life);
    if (cut_due)
        cut(lifecycle, now_us, thing, lost_us);
    if (again)
        life_rotate(lifecycle, now_us, thing, LIFE_OWNER);
    if (cloned)
        clone_detected(lifecycle, now_us, thing, first_us);
}

void life_tick_lives(struct cloud_lifecycle *lifecycle, int64_t now_us)
{
    while (lifecycle->heap_count && lifecycle->heap[0]->due_us <= now_us)
        live(lifecycle, now_us, lifecycle->heap[0]);
}
