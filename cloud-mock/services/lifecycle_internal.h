/* lifecycle_internal.h: what the files of lifecycle share. Private.
 *
 * A vehicle that does nothing has no state here. A `life` is one that has something under way: a rotation, a connection to be cut, takeovers
 * that may be a clone's; it goes when nothing is. Decisions that hooks of the broker lead to are taken in the next tick: nothing is cut and no
 * job is made while the broker or the jobs are in the middle of something.
 */
#ifndef SERVICES_LIFECYCLE_INTERNAL_H
#define SERVICES_LIFECYCLE_INTERNAL_H

#include "cloud/lifecycle.h"
#include "cloud/services.h"

#include "memory.h"

enum life_reason { LIFE_ROUTINE, LIFE_OWNER, LIFE_REASONS };

struct life {
    struct life *next; /* in its bucket */
    uint32_t place;    /* in the heap, plus one; 0: not in it */
    uint32_t takeovers;
    int64_t due_us; /* the first of the times below */
    uint64_t order;
    /* rotation */
    uint64_t batch; /* job "rotate-<batch>" */
    int64_t decided_us, issued_us;
    uint8_t new_id[32];
    bool rotating, queued, started;
    bool issued;   /* new_id is a certificate */
    bool switched; /* the vehicle has said over it that it works */
    bool again;    /* once more for the new owner, at again_us */
    int64_t again_us;
    /* a connection to be cut */
    int64_t cut_us, lost_us; /* TIME_NEVER: none */
    /* clones */
    bool taken_over;
    int64_t first_us, forget_us, suspected_us;
    bool kept_data; /* a fault: stays for good */
    uint8_t length;
    char thing[];
};

struct life_batch { /* a job that takes in what is decided at the same moment */
    bool open;
    uint64_t number;
    int64_t at_us;
};

struct cloud_lifecycle {
    struct cloud_due due; /* first: read without a call */
    struct cloud_lifecycle_options options;
    struct cloud_lifecycle_parts parts;
    struct cloud_vehicles *vehicles;
    struct cloud_jobs *jobs;
    struct cloud_provisioning *provisioning;
    struct cloud_policy *vehicle_policy, *claim_policy;
    struct life **bucket;
    uint32_t bucket_count, life_count;
    struct life **heap;
    uint32_t heap_count, heap_capacity;
    uint64_t orders, batches, life_bytes;
    struct life_batch batch[LIFE_REASONS];
    /* Reference IDs and whose they are, as they were registered: a sum over all. */
    uint64_t reference_sum, reference_count;
};

/* A list of certificate ids: what is to be changed is gathered first, for the registry is not changed while it is walked. */
struct life_ids {
    uint8_t (*ids)[32];
    uint32_t count, capacity;
    bool (*wanted)(enum cloud_certificate_status status);
};

static inline int64_t life_now_s(const struct cloud_lifecycle *lifecycle, int64_t now_us)
{
    return (lifecycle->options.epoch_us + now_us) / US_PER_S;
}

static inline struct span life_span(const struct life *life)
{
    return span_of(life->thing, life->length);
}

/* false: too long for a name. */
static inline bool life_text(struct span thing, char out[64])
{
    if (thing.length == 0 || thing.length > 63)
        return false;
    memcpy(out, thing.data, thing.length);
    out[thing.length] = 0;
    return true;
}

static inline bool life_fault(const struct cloud_lifecycle *lifecycle, bool (*fault)(void *context, struct span thing),
                              struct span thing)
{
    return fault && fault(lifecycle->options.context, thing);
}

/* lifecycle_table.c: lives */
struct life *life_find(const struct cloud_lifecycle *lifecycle, struct span thing);
struct life *life_make(struct cloud_lifecycle *lifecycle, struct span thing); /* NULL: no memory, or no name */
/* After a change: arms its time, or frees it when nothing is under way; it may be gone afterwards. */
void life_settle(struct cloud_lifecycle *lifecycle, struct life *life);
void life_free_all(struct cloud_lifecycle *lifecycle);
/* After anything that may have changed a time. */
void life_due(struct cloud_lifecycle *lifecycle);

/* lifecycle.c */
void life_tell(struct cloud_lifecycle *lifecycle, int64_t now_us, enum cloud_life_event_kind kind, struct span thing,
               struct span detail, int64_t since_us);
void life_tell_state(struct cloud_lifecycle *lifecycle, int64_t now_us, enum cloud_life_event_kind kind,
                     struct span thing, enum cloud_execution_state state, int64_t since_us);
/* The reserved topic without its prefix; false: not under it. */
bool life_strip(const struct cloud_lifecycle *lifecycle, struct span client_id, struct span topic, struct span *rest);
/* Takes a request to the service it is for; false: none. */
bool life_request(struct cloud_lifecycle *lifecycle, int64_t now_us, const struct cloud_request *request);
/* Who is connected under that name right now; NULL: nobody, or not known (external broker). */
const struct cloud_peer *life_connected(const struct cloud_lifecycle *lifecycle, struct span client_id);
uint64_t life_reference_hash(const struct cloud_vehicle *vehicle);
void life_tick_lives(struct cloud_lifecycle *lifecycle, int64_t now_us); /* lifecycle_ends.c */

/* lifecycle_certificates.c */
bool life_gather(const struct cloud_lifecycle *lifecycle, const char *thing, struct life_ids *ids);
/* Its certificates but `keep` (NULL: none kept) that may come in or may yet: INACTIVE. Returns how many. */
uint32_t life_deactivate(struct cloud_lifecycle *lifecycle, int64_t now_us, struct span thing, const uint8_t *keep);
uint32_t life_deactivate_one(struct cloud_lifecycle *lifecycle, int64_t now_us, struct span thing,
                             const uint8_t id[32]);
/* All that are not yet. Returns how many. */
uint32_t life_revoke_all(struct cloud_lifecycle *lifecycle, int64_t now_us, struct span thing);
bool life_has_active(const struct cloud_lifecycle *lifecycle, int64_t now_s, struct span thing);
/* Kept out whatever it shows: why; NULL: it is not. */
const char *life_barred(const struct cloud_lifecycle *lifecycle, struct span thing);
/* Was this certificate, of which nothing is known, issued before the vehicle's identity was last revoked or its device taken out? To the second. */
bool life_outdated(const struct cloud_lifecycle *lifecycle, struct span thing, int64_t not_before_s);
/* May the thing be connected with this certificate? NULL: yes; else why not. */
const char *life_objection(const struct cloud_lifecycle *lifecycle, struct span thing,
                           const uint8_t certificate_id[32]);
/* What is connected as this thing may have lost its right to be: to be cut after the delay. */
void life_lost(struct cloud_lifecycle *lifecycle, int64_t now_us, struct span thing);

/* lifecycle_rotation.c */
bool life_rotate(struct cloud_lifecycle *lifecycle, int64_t now_us, struct span thing, enum life_reason reason);
void life_close_batches(struct cloud_lifecycle *lifecycle, int64_t now_us);
void life_execution_changed(void *context, int64_t now_us, const struct cloud_execution *execution);
void life_deactivate_message(void *context, int64_t now_us, const struct mq5_publish *message);
void life_active_message(void *context, int64_t now_us, const struct mq5_publish *message);
struct cloud_hook_answer life_hook(void *context, int64_t now_us, const struct cloud_hook_request *request);
void life_provisioned(void *context, int64_t now_us, const struct cloud_provisioned *provisioned);

#endif
