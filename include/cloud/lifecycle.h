/* cloud/lifecycle.h: the life of a vehicle's identity in the cloud: what an operator decides, what follows from it at the door, in the registry and on
 * live connections.
 *
 * Ties together registry, vehicles, jobs, provisioning and policies of one cloud instance. No I/O, no clock; memory from memory.h.
 * Every decision tells an event, which is what measurement hangs on.
 */
#ifndef CLOUD_LIFECYCLE_H
#define CLOUD_LIFECYCLE_H

#include "cloud/jobs.h"
#include "cloud/policy.h"
#include "cloud/provisioning.h"
#include "cloud/vehicles.h"

enum cloud_life_event_kind {
    CLOUD_LIFE_PROVISIONED,      /* thing has its (first, or after a swap its next) certificate ACTIVE */
    CLOUD_LIFE_ACTIVE,           /* vehicleactive arrived */
    CLOUD_LIFE_ROTATION_QUEUED,  /* its job execution exists; since_us: when it was decided */
    CLOUD_LIFE_ROTATION_STARTED, /* IN_PROGRESS */
    CLOUD_LIFE_ROTATION_ISSUED,  /* the new certificate is ACTIVE beside the old one */
    CLOUD_LIFE_OLD_DEACTIVATED,  /* since_us: when the new one became ACTIVE (overlap) */
    CLOUD_LIFE_ROTATION_ENDED,   /* state says how; since_us: when it was decided */
    CLOUD_LIFE_REVOKED,
    CLOUD_LIFE_CUT, /* live connection of a certificate no longer ACTIVE was cut; since_us: when it lost its status */
    CLOUD_LIFE_REFUSED,        /* a connect with a certificate that is not ACTIVE, or not its own: detail says why */
    CLOUD_LIFE_CLONE_DETECTED, /* since_us: first use beside the other */
    CLOUD_LIFE_QUARANTINED,
    CLOUD_LIFE_OWNER_CHANGED,
    CLOUD_LIFE_SWAPPED,
    CLOUD_LIFE_DECOMMISSIONED,
    CLOUD_LIFE_FORBIDDEN, /* a publish, subscribe or delivery that policy denies; detail: topic */
    CLOUD_LIFE_VIN_SEEN,  /* in clear in a topic or payload */
};
struct cloud_life_event {
    enum cloud_life_event_kind kind;
    enum cloud_execution_state state;
    struct span thing, detail; /* lent */
    int64_t since_us;
};

struct cloud_lifecycle_options {
    int64_t epoch_us, certificate_lifetime_s;
    uint64_t seed;
    struct cloud_job_template rotation; /* roll-out, abort, time-outs, retries of rotation jobs */
    int64_t expiring_within_s;          /* audit: 0: 30 days */
    int64_t issue_us;
    const uint8_t *vin_key; /* 32 bytes, copied: VINs are hashed and sealed with it; NULL: one made from the seed */
    /* How long until the cloud cuts a live connection whose certificate lost its status; NULL: at once. */
    int64_t (*draw_cut)(void *context);
    /* Clone detection: two connections of one certificate or client id that take over from each other so often within the window. 0: off. */
    uint32_t clone_takeovers;
    int64_t clone_window_us;
    enum { CLOUD_CLONE_REVOKE, CLOUD_CLONE_QUARANTINE, CLOUD_CLONE_REPORT } clone_decision;
    const char *vehicle_policy, *claim_policy; /* names of shipped policies, or documents; NULL: "vehicle", "claim" */
    bool scan_for_vins;
    bool
        require_device; /* the certificate broker and the hook give a name only to the device that the vehicle registry has for it */
    /* Faults; all may be NULL: nothing goes wrong. true: this time it does. */
    bool (*forget_deactivation)(void *context, struct span thing); /* the old certificate stays ACTIVE */
    bool (*never_activate)(void *context, struct span thing);      /* the new one never becomes ACTIVE */
    bool (*forget_cut)(void *context, struct span thing);          /* live connection of a revoked certificate stays */
    bool (*forget_revocation)(void *context,
                              struct span thing); /* revoked in the registry of revocations, still ACTIVE at the door */
    bool (*keep_data)(void *context, struct span thing);   /* the old owner's data stays readable */
    bool (*lose_answer)(void *context, struct span thing); /* an answer of provisioning is lost */
    void (*event)(void *context, int64_t now_us, const struct cloud_life_event *event);
    void *context;
};
/* What it works with, borrowed; broker for kicks and straight answers. */
struct cloud_lifecycle_parts {
    struct cloud_broker *broker;
    struct cloud_bus *bus;
    struct cloud_registry *registry;
    struct cloud_pki *pki;
    const char *prefix;       /* of reserved topics: "$aws/" or "convoy/%/" */
    const char *event_prefix; /* "$aws/events" */
    const char *topics;       /* what vehicles' ordinary topics begin with: "convoy/<run>/"; NULL: nothing */
    struct cloud_registration *registration; /* unknown certificates go there; NULL: they are refused */
};
struct cloud_lifecycle;
/* NULL: *error one line (a policy that does not compile, no memory). */
struct cloud_lifecycle *cloud_lifecycle_create(const struct cloud_lifecycle_options *options,
                                               const struct cloud_lifecycle_parts *parts, char *error,
                                               size_t error_capacity);
void cloud_lifecycle_destroy(struct cloud_lifecycle *lifecycle); /* NULL is nothing */
struct cloud_vehicles *cloud_lifecycle_vehicles(struct cloud_lifecycle *lifecycle);
/* To be asked for anew before each change: the next deadline is looked at again then. */
struct cloud_jobs *cloud_lifecycle_jobs(struct cloud_lifecycle *lifecycle);

/* ---- hooks of the cloud's door (struct cloud calls them) ---- */
struct cloud_authorisation cloud_lifecycle_authorise_connect(struct cloud_lifecycle *lifecycle, int64_t now_us,
                                                             const struct mq5_connect *connect,
                                                             const struct cloud_peer *peer);
uint8_t cloud_lifecycle_authorise_publish(struct cloud_lifecycle *lifecycle, int64_t now_us, struct span client_id,
                                          const struct cloud_peer *peer, const struct mq5_publish *publish);
uint8_t cloud_lifecycle_authorise_subscribe(struct cloud_lifecycle *lifecycle, int64_t now_us, struct span client_id,
                                            const struct cloud_peer *peer, struct span filter, uint8_t qos);
bool cloud_lifecycle_authorise_receive(struct cloud_lifecycle *lifecycle, int64_t now_us, struct span client_id,
                                       const struct cloud_peer *peer, struct span topic);
/* A client's PUBLISH on a reserved topic: reason code. */
uint8_t cloud_lifecycle_reserved(struct cloud_lifecycle *lifecycle, int64_t now_us, struct span client_id,
                                 const struct cloud_peer *peer, const struct mq5_publish *publish);
void cloud_lifecycle_connected(struct cloud_lifecycle *lifecycle, int64_t now_us, struct span client_id,
                               const struct cloud_peer *peer);
void cloud_lifecycle_disconnected(struct cloud_lifecycle *lifecycle, int64_t now_us, struct span client_id,
                                  const struct cloud_peer *peer, enum cloud_close_reason reason);
/* Registration has made this certificate ACTIVE (struct cloud_registration_options.activated). */
void cloud_lifecycle_activated(void *lifecycle, int64_t now_us, const struct cloud_certificate *certificate);
int64_t cloud_lifecycle_next_deadline(const struct cloud_lifecycle *lifecycle);
void cloud_lifecycle_tick(struct cloud_lifecycle *lifecycle, int64_t now_us);

/* The certificate broker asks: may this attestation certificate's device have an operational certificate, and under which name? false: no.
 * (struct cloud_certificate_broker.resolve) */
bool cloud_lifecycle_resolve(void *lifecycle, const struct cloud_peer *attestation, char name[64]);

/* ---- what an operator does ---- */
/* The factory: VIN, device and Reference ID into the registry. */
enum cloud_vehicles_result cloud_lifecycle_build(struct cloud_lifecycle *lifecycle, int64_t now_us, struct span vin,
                                                 struct span device, struct span tenant, struct span reference);
/* false: nothing of the kind to be done for this thing (unknown, no certificate, decommissioned, already rotating). */
bool cloud_lifecycle_rotate(struct cloud_lifecycle *lifecycle, int64_t now_us, struct span thing);
/* The job of its rotation that has not ended. false: there is none. */
bool cloud_lifecycle_rotation(const struct cloud_lifecycle *lifecycle, struct span thing,
                              char job_id[CLOUD_JOB_ID_MAX + 1]);
/* Finds certificates that expire soon, or are revoked but active, and rotates the first kind, deactivates the second. Returns how many. */
uint32_t cloud_lifecycle_audit(struct cloud_lifecycle *lifecycle, int64_t now_us);
bool cloud_lifecycle_revoke(struct cloud_lifecycle *lifecycle, int64_t now_us, struct span thing, const char *reason);
bool cloud_lifecycle_change_owner(struct cloud_lifecycle *lifecycle, int64_t now_us, struct span thing,
                                  struct span tenant);
/* next empty: take the TCU out. */
enum cloud_vehicles_result cloud_lifecycle_swap(struct cloud_lifecycle *lifecycle, int64_t now_us, struct span thing,
                                                struct span device, struct span next);
/* May this tenant read what the vehicle said at that time? Data of earlier owners is nobody's. */
bool cloud_lifecycle_may_read(const struct cloud_lifecycle *lifecycle, struct span tenant, struct span thing,
                              int64_t data_at_s);
bool cloud_lifecycle_decommission(struct cloud_lifecycle *lifecycle, int64_t now_us, struct span thing);
/* Out of quarantine. */
bool cloud_lifecycle_release(struct cloud_lifecycle *lifecycle, int64_t now_us, struct span thing);

/* ---- proof of the state: what must hold at any moment when nothing is under way ---- */
enum cloud_flaw_kind {
    CLOUD_FLAW_NO_CERTIFICATE,     /* a vehicle in service without a valid ACTIVE certificate */
    CLOUD_FLAW_SECOND_CERTIFICATE, /* more than one ACTIVE */
    CLOUD_FLAW_SHARED_IDENTITY,    /* a certificate, device or ECU belongs to two */
    CLOUD_FLAW_STILL_ACTIVE,       /* revoked, decommissioned or without device, and a certificate ACTIVE */
    CLOUD_FLAW_STILL_CONNECTED,    /* connected with a certificate not ACTIVE, beyond the cut's delay */
    CLOUD_FLAW_JOB_OPEN,           /* a rotation that has not ended */
    CLOUD_FLAW_HISTORY,            /* history does not lead to the state */
    CLOUD_FLAW_REFERENCE,          /* Reference ID not what it was at registration */
    CLOUD_FLAW_OLD_DATA,           /* an earlier owner's data can be read */
    CLOUD_FLAWS
};
const char *cloud_flaw_name(enum cloud_flaw_kind kind);
/* Calls back for each; returns how many. cut_bound_us: how long a cut may take. */
uint32_t cloud_lifecycle_verify(struct cloud_lifecycle *lifecycle, int64_t now_us, int64_t cut_bound_us,
                                void (*flaw)(void *context, enum cloud_flaw_kind kind, struct span thing),
                                void *context);
uint64_t cloud_lifecycle_bytes(const struct cloud_lifecycle *lifecycle);
uint64_t cloud_lifecycle_hash(const struct cloud_lifecycle *lifecycle);

#endif
