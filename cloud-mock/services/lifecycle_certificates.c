/* lifecycle_certificates.c: the certificates of a thing change their status, and what is connected with one that lost it is to be cut. */
#include "lifecycle_internal.h"

static bool gather_one(void *context, const struct cloud_certificate *certificate, enum cloud_certificate_status status)
{
    struct life_ids *ids = context;
    if (ids->wanted && !ids->wanted(status))
        return true;
    if (ids->count == ids->capacity) {
        uint32_t capacity = ids->capacity ? ids->capacity * 2 : 4;
        void *room = memory_resize_beyond(ids->ids, capacity * sizeof *ids->ids);
        if (!room)
            return false;
        ids->ids = room;
        ids->capacity = capacity;
    }
    memcpy(ids->ids[ids->count++], certificate->id, 32);
    return true;
}

bool life_gather(const struct cloud_lifecycle *lifecycle, const char *thing, struct life_ids *ids)
{
    cloud_registry_of_thing(lifecycle->parts.registry, thing, gather_one, ids);
    return ids->count > 0;
}

static bool may_come_in(enum cloud_certificate_status status)
{
    return status == CLOUD_CERTIFICATE_ACTIVE || status == CLOUD_CERTIFICATE_PENDING_ACTIVATION;
}

uint32_t life_deactivate(struct cloud_lifecycle *lifecycle, int64_t now_us, struct span thing, const uint8_t *keep)
{
    struct life_ids ids = {.wanted = may_come_in};
    char name[64];
    uint32_t changed = 0;
    if (!life_text(thing, name))
        return 0;
    life_gather(lifecycle, name, &ids);
    for (uint32_t i = 0; i < ids.count; i++)
        if (!keep || memcmp(ids.ids[i], keep, 32) != 0)
            changed += cloud_registry_set_status(lifecycle->parts.registry, ids.ids[i], CLOUD_CERTIFICATE_INACTIVE,
                                                 life_now_s(lifecycle, now_us));
    memory_free(ids.ids);
    if (changed)
        life_lost(lifecycle, now_us, thing);
    return changed;
}

uint32_t life_deactivate_one(struct cloud_lifecycle *lifecycle, int64_t now_us, struct span thing, const uint8_t id[32])
{
    if (!may_come_in(cloud_registry_status(lifecycle->parts.registry, id)))
        return 0;
    cloud_registry_set_status(lifecycle->parts.registry, id, CLOUD_CERTIFICATE_INACTIVE, life_now_s(lifecycle, now_us));
    life_lost(lifecycle, now_us, thing);
    return 1;
}

uint32_t life_revoke_all(struct cloud_lifecycle *lifecycle, int64_t now_us, struct span thing)
{
    struct cloud_registry *registry = lifecycle->parts.registry;
    struct life_ids ids = {0};
    char name[64];
    uint32_t changed = 0;
    int64_t now_s = life_now_s(lifecycle, now_us);
    if (!life_text(thing, name) || !life_gather(lifecycle, name, &ids))
        return 0;
    bool forgotten = life_fault(lifecycle, lifecycle->options.forget_revocation, thing);
    for (uint32_t i = 0; i < ids.count; i++) {
        if (!cloud_registry_is_revoked(registry, ids.ids[i])) {
            cloud_registry_revoke(registry, ids.ids[i], now_s);
            changed++;
        }
        if (!forgotten && cloud_registry_status(registry, ids.ids[i]) != CLOUD_CERTIFICATE_REVOKED)
            cloud_registry_set_status(registry, ids.ids[i], CLOUD_CERTIFICATE_REVOKED, now_s);
    }
    memory_free(ids.ids);
    life_lost(lifecycle, now_us, thing);
    return changed;
}

struct active {
    int64_t now_s;
    bool found;
};

static bool is_active(void *context, const struct cloud_certificate *certificate, enum cloud_certificate_status status)
{
    struct active *active = context;
    active->found = status == CLOUD_CERTIFICATE_ACTIVE && certificate->not_after_s >= active->now_s;
    return !active->found;
}

bool life_has_active(const struct cloud_lifecycle *lifecycle, int64_t now_s, struct span thing)
{
    struct active active = {.now_s = now_s};
    char name[64];
    if (life_text(thing, name))
        cloud_registry_of_thing(lifecycle->parts.registry, name, is_active, &active);
    return active.found;
}

const char *life_barred(const struct cloud_lifecycle *lifecycle, struct span thing)
{
    struct cloud_vehicle vehicle;
    if (!cloud_vehicles_get(lifecycle->vehicles, thing, &vehicle))
        return NULL;
    switch (vehicle.state) {
    case CLOUD_VEHICLE_QUARANTINED: return "vehicle is in quarantine";
    case CLOUD_VEHICLE_DECOMMISSIONED: return "vehicle is decommissioned";
    default: return NULL;
    }
}

const char *life_objection(const struct cloud_lifecycle *lifecycle, struct span thing, const uint8_t certificate_id[32])
{
    char owner[64];
    const char *why = life_barred(lifecycle, thing);
    if (why)
        return why;
    switch (cloud_registry_status(lifecycle->parts.registry, certificate_id)) {
    case CLOUD_CERTIFICATE_ACTIVE: break;
    case CLOUD_CERTIFICATE_PENDING_ACTIVATION: return "certificate is pending activation";
    case CLOUD_CERTIFICATE_INACTIVE: return "certificate is inactive";
    case CLOUD_CERTIFICATE_REVOKED: return "certificate is revoked";
    default: return "certificate is unknown";
    }
    if (!cloud_registry_thing_of(lifecycle->parts.registry, certificate_id, owner))
        return "certificate belongs to no thing";
    return span_equal(span_text(owner), thing) ? NULL : "certificate belongs to another thing";
}

/* A certificate can have been issued and never shown: nothing is known of it that could have been revoked. */
bool life_outdated(const struct cloud_lifecycle *lifecycle, struct span thing, int64_t not_before_s)
{
    struct cloud_vehicle vehicle;
    bool outdated = false;
    if (!cloud_vehicles_get(lifecycle->vehicles, thing, &vehicle) || vehicle.changes < 2)
        return false;
    struct cloud_vehicle_entry *history = memory_allocate(vehicle.changes * sizeof *history);
    if (!history)
        return true; /* not known: not let in */
    uint32_t count = cloud_vehicles_history(lifecycle->vehicles, thing, history, vehicle.changes);
    for (uint32_t i = 0; i < count && i < vehicle.changes; i++)
        outdated |= history[i].at_s > not_before_s &&
                    (history[i].change == CLOUD_CHANGE_DEVICE_OUT || history[i].change == CLOUD_CHANGE_REVOKED);
    memory_free(history);
    return outdated;
}

static bool is_claim(const struct cloud_lifecycle *lifecycle, const struct cloud_peer *peer)
{
    const struct cloud_certificate *ca = cloud_pki_ca(lifecycle->parts.pki, CLOUD_CA_CLAIM);
    return ca && memcmp(ca->id, peer->issuer_id, 32) == 0;
}

void life_lost(struct cloud_lifecycle *lifecycle, int64_t now_us, struct span thing)
{
    const struct cloud_peer *peer = life_connected(lifecycle, thing);
    if (!peer || !peer->has_certificate || is_claim(lifecycle, peer) ||
        !life_objection(lifecycle, thing, peer->certificate_id))
        return;
    struct life *life = life_find(lifecycle, thing);
    if ((life && life->cut_us != TIME_NEVER) || life_fault(lifecycle, lifecycle->options.forget_cut, thing))
        return;
    int64_t delay_us = lifecycle->options.draw_cut ? lifecycle->options.draw_cut(lifecycle->options.context) : 0;
    life = life_make(lifecycle, thing);
    if (!life)
        return; /* no memory: verify shows it */
    life->lost_us = now_us;
    life->cut_us = now_us + (delay_us > 0 ? delay_us : 0);
    life_settle(lifecycle, life);
}
