/* cloud/vehicles.h: the vehicle registry: who a vehicle is without saying its VIN, which device is in it, and what happened to both.
 *
 * A vehicle is known by its Reference ID (= thing name = client id = certificate's common name). Its VIN is kept hashed (keyed, to find it) and encrypted
 * (AES-256-GCM, to give it back through the conversion API), never in clear. History is append-only. No I/O, no clock; memory from memory.h; no OpenSSL
 * handle outlives a call.
 */
#ifndef CLOUD_VEHICLES_H
#define CLOUD_VEHICLES_H

#include "base.h"

#define CLOUD_VIN_LENGTH    17
#define CLOUD_REFERENCE_MAX 63
#define CLOUD_DEVICE_MAX    63
#define CLOUD_TENANT_MAX    31
#define CLOUD_ECUS_MAX      8

/* ISO 3779 / 49 CFR 565: seventeen of A-Z0-9 without I, O, Q, the check digit in the ninth place, a model year (not U, Z, 0) in the tenth. */
bool cloud_vin_valid(struct span vin);
/* A well-formed VIN, pure in (seed, number), another for each number below 10^15; out is closed by 0. */
void cloud_vin_make(uint64_t seed, uint64_t number, char out[CLOUD_VIN_LENGTH + 1]);
/* Position of the first well-formed VIN in the bytes, -1: none: in capitals or not, not part of a longer run of letters and digits, and not of digits only
 * (numbers of seventeen digits are frequent). Fast enough for every payload of a run. */
int64_t cloud_vin_find(struct span bytes);

enum cloud_vehicle_state {
    CLOUD_VEHICLE_BUILT,       /* in the factory: registered, not provisioned yet */
    CLOUD_VEHICLE_PROVISIONED, /* has an operational certificate, was never sold or seen */
    CLOUD_VEHICLE_ACTIVE,      /* has said vehicleactive */
    CLOUD_VEHICLE_QUARANTINED,
    CLOUD_VEHICLE_WITHOUT_DEVICE, /* its TCU was taken out */
    CLOUD_VEHICLE_DECOMMISSIONED,
};
const char *cloud_vehicle_state_name(enum cloud_vehicle_state state);

enum cloud_vehicle_change {
    CLOUD_CHANGE_REGISTERED,
    CLOUD_CHANGE_PROVISIONED, /* detail: certificate id */
    CLOUD_CHANGE_ACTIVE,      /* seen in operation; in quarantine: released */
    CLOUD_CHANGE_ROTATED,     /* detail: certificate id */
    CLOUD_CHANGE_REVOKED,     /* detail: reason; one in service is QUARANTINED by it */
    CLOUD_CHANGE_QUARANTINED,
    CLOUD_CHANGE_OWNER,      /* detail: tenant before */
    CLOUD_CHANGE_DEVICE_OUT, /* detail: device */
    CLOUD_CHANGE_DEVICE_IN,  /* detail: device */
    CLOUD_CHANGE_DECOMMISSIONED,
};
const char *cloud_vehicle_change_name(enum cloud_vehicle_change change);
/* The transition table: from *state by `change` to the next *state; REGISTERED starts one. false: not possible in this state. Replaying a history
 * ends in the vehicle's state. */
bool cloud_vehicle_step(enum cloud_vehicle_state *state, enum cloud_vehicle_change change);

struct cloud_vehicle { /* a copy for the reader */
    char reference[CLOUD_REFERENCE_MAX + 1];
    char device[CLOUD_DEVICE_MAX + 1]; /* "": none in it */
    char tenant[CLOUD_TENANT_MAX + 1];
    enum cloud_vehicle_state state;
    uint8_t vin_hash[32];
    uint32_t owner;       /* counts owners, 1 the first */
    int64_t data_since_s; /* personal data of before belongs to nobody any more */
    uint32_t changes;     /* length of the history */
    uint32_t ecus;
};
struct cloud_vehicle_entry {
    int64_t at_s;
    enum cloud_vehicle_change change;
    char detail[65];
};

struct cloud_vehicles;
/* key: of the hash and the encryption, copied. seed: of Reference IDs and nonces (a nonce is never used again: a counter, beside what seed and VIN give). */
struct cloud_vehicles *cloud_vehicles_create(const uint8_t key[32], uint64_t seed);
void cloud_vehicles_destroy(struct cloud_vehicles *vehicles);
uint64_t cloud_vehicles_bytes(const struct cloud_vehicles *vehicles);
/* Another number after every change: what was saved at this number is saved. */
uint64_t cloud_vehicles_changes(const struct cloud_vehicles *vehicles);

enum cloud_vehicles_result {
    CLOUD_VEHICLES_DONE,
    CLOUD_VEHICLES_BAD_VIN,
    CLOUD_VEHICLES_VIN_KNOWN,       /* registered under another Reference ID already */
    CLOUD_VEHICLES_REFERENCE_TAKEN, /* ... asked for, and it is somebody else's */
    CLOUD_VEHICLES_UNKNOWN,
    CLOUD_VEHICLES_DEVICE_WRONG, /* the device named is not the one in the vehicle, or no name for a device */
    CLOUD_VEHICLES_DEVICE_TAKEN, /* the new device is in another vehicle */
    CLOUD_VEHICLES_STATE,        /* not in this state of the vehicle */
    CLOUD_VEHICLES_MEMORY,
};
const char *cloud_vehicles_result_name(enum cloud_vehicles_result result);

/* reference "": a random UUID is drawn until it is free (100 times at most: REFERENCE_TAKEN) and written back. A VIN that is there already is checked
 * against its entry: DONE when reference ("" is any), device and tenant are the same, DEVICE_WRONG when only the device is not, else VIN_KNOWN. device "":
 * none yet (the history begins with REGISTERED, DEVICE_OUT). Checked in this order: VIN, device, reference. tenant too long: UNKNOWN. */
enum cloud_vehicles_result cloud_vehicles_register(struct cloud_vehicles *vehicles, int64_t now_s, struct span vin,
                                                   struct span device, struct span tenant,
                                                   char reference[CLOUD_REFERENCE_MAX + 1]);
void cloud_vehicles_set_reference_source(struct cloud_vehicles *vehicles, void (*next)(void *context, char out[37]),
                                         void *context);
/* false: unknown. */
bool cloud_vehicles_get(const struct cloud_vehicles *vehicles, struct span reference, struct cloud_vehicle *out);
bool cloud_vehicles_by_device(const struct cloud_vehicles *vehicles, struct span device, struct cloud_vehicle *out);
bool cloud_vehicles_by_vin(const struct cloud_vehicles *vehicles, struct span vin, struct cloud_vehicle *out);
uint32_t cloud_vehicles_history(const struct cloud_vehicles *vehicles, struct span reference,
                                struct cloud_vehicle_entry *out,
                                uint32_t capacity); /* oldest first; returns its length */
/* Asset store: the ECUs of a vehicle, each with its own attestation certificate. Two vehicles never share one, nor two ECUs a certificate: DEVICE_TAKEN. The
 * same ECU again: its certificate is a new one from now on. More than CLOUD_ECUS_MAX, or decommissioned: STATE. */
enum cloud_vehicles_result cloud_vehicles_add_ecu(struct cloud_vehicles *vehicles, struct span reference,
                                                  struct span ecu, const uint8_t certificate_id[32]);
/* Events of its life; each adds to the history. ACTIVE, QUARANTINED or DECOMMISSIONED when it is so already: DONE, nothing added. Owner and devices
 * have calls of their own: STATE. */
enum cloud_vehicles_result cloud_vehicles_note(struct cloud_vehicles *vehicles, int64_t now_s, struct span reference,
                                               enum cloud_vehicle_change change, struct span detail);
/* TCU change flow, its checks in this order: UNKNOWN; `device` is the one in it ("" when there is none); `next` is in no other vehicle; STATE (also when
 * there is nothing to change). next empty takes it out only. The vehicle is BUILT, or WITHOUT_DEVICE, after it. MEMORY: may be out already. */
enum cloud_vehicles_result cloud_vehicles_swap(struct cloud_vehicles *vehicles, int64_t now_s, struct span reference,
                                               struct span device, struct span next);
enum cloud_vehicles_result cloud_vehicles_change_owner(struct cloud_vehicles *vehicles, int64_t now_s,
                                                       struct span reference, struct span tenant);
void cloud_vehicles_each(const struct cloud_vehicles *vehicles,
                         void (*visit)(void *context, const struct cloud_vehicle *vehicle), void *context);
/* All rows into a database file: vehicle, device_history, ecu; the VIN hashed and encrypted only. And back, beside what is there (under the key they were
 * written with). false: *error one line; some rows may have come in. */
bool cloud_vehicles_save(const struct cloud_vehicles *vehicles, const char *path, char *error, size_t error_capacity);
bool cloud_vehicles_load(struct cloud_vehicles *vehicles, const char *path, char *error, size_t error_capacity);

/* ---- conversion API: VIN <-> Reference ID for those who may ------------------------------------------------------- */

#define CLOUD_CONVERSION_AUDIT_MAX 4096 /* records kept; all are counted */
struct cloud_conversion;
struct cloud_conversion_client {
    const char *name, *secret; /* presented as a bearer token "<name>.<secret>"; kept as a hash; no '.' in the name */
    const char *tenant;        /* vehicles of this tenant only; "*": all */
    double per_minute;         /* sustained conversions; burst = one minute's worth */
    bool to_reference, to_vin;
};
struct cloud_conversion_record { /* of the audit log: no VIN in it, nor its hash */
    int64_t at_s;
    char client[32], direction[16], reference[CLOUD_REFERENCE_MAX + 1];
    int status;
};
struct cloud_conversion *cloud_conversion_create(struct cloud_vehicles *vehicles); /* borrowed */
void cloud_conversion_destroy(struct cloud_conversion *conversion);
/* Adds or changes (by name). false: a name, secret, tenant or rate that cannot be, or no memory. */
bool cloud_conversion_allow(struct cloud_conversion *conversion, const struct cloud_conversion_client *client);
/* POST /v1/reference {"vin": "..."} or {"vinHash": "<64 hex>"} -> {"referenceId"}; POST /v1/vin {"referenceId"} -> {"vin"}. token: of the
 * Authorization header, with "Bearer " or without, may be empty. Returns the HTTP status: 200, 400, 401 (who?), 403 (not this direction), 404, 405, 429
 * (limited; *retry_after_s; what follows it is not checked), 500 (`out` too small). A vehicle of another tenant is 404, as if it were not there. Every
 * request is in the audit log, and every one with a good token counts for the rate. */
int cloud_conversion_handle(struct cloud_conversion *conversion, int64_t now_us, int64_t now_s, struct span token,
                            const char *method, const char *path, struct span body, char *out, size_t capacity,
                            size_t *length, uint32_t *retry_after_s);
/* The latest records, oldest first; *total: of all time. */
uint32_t cloud_conversion_audit(const struct cloud_conversion *conversion, struct cloud_conversion_record *out,
                                uint32_t capacity, uint64_t *total);
/* Clients whose refusals for rate within the last hour look like bulk conversion. */
uint32_t cloud_conversion_suspects(const struct cloud_conversion *conversion, int64_t now_us, char names[][32],
                                   uint32_t capacity);

#endif
