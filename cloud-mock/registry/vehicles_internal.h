/* vehicles_internal.h: the vehicle registry's tables. */
#ifndef VEHICLES_INTERNAL_H
#define VEHICLES_INTERNAL_H

#include "cloud/vehicles.h"

#include "names.h"

#define VIN_HASH_BYTES   32
#define VIN_NONCE_BYTES  12
#define VIN_SEALED_BYTES (VIN_NONCE_BYTES + CLOUD_VIN_LENGTH + 16) /* nonce, cipher text, tag */

/* A vehicle's numbers. TENANT: of words; DEVICE: number in devices + 1 - the vehicle's own; KIND: ECUs << 3 | state; DATA_SINCE: from REGISTERED;
 * LAST: number of its latest entry + 1, 0: nothing happened but the registration. */
enum vehicle_column {
    VEHICLE_DEVICE,
    VEHICLE_TENANT,
    VEHICLE_KIND,
    VEHICLE_OWNER,
    VEHICLE_DATA_SINCE,
    VEHICLE_REGISTERED,
    VEHICLE_LAST,
    VEHICLE_CHANGES,
    VEHICLE_COLUMNS
};
_Static_assert(VEHICLE_COLUMNS <= ROWS_COLUMNS_MAX, "a vehicle's numbers");
#define VEHICLE_STATE_BITS 3

/* DETAIL: 0 none, else (number << 1 | is an id) + 1. PREVIOUS: entry + 1, of the same vehicle. */
enum entry_column { ENTRY_AT, ENTRY_CHANGE, ENTRY_PREVIOUS, ENTRY_DETAIL, ENTRY_COLUMNS };

struct cloud_vehicles {
    uint8_t hash_key[32], seal_key[32], token_key[32];
    uint64_t seed, draws; /* of Reference IDs */
    uint32_t nonces;      /* used */
    uint64_t ecu_changes; /* of certificates of ECUs */
    void (*next_reference)(void *context, char out[37]);
    void *next_context;
    struct names references; /* the name's number is the vehicle's: a vehicle is there when its name is */
    struct rows rows;        /* vehicle_column; fixed: hash of the VIN, sealed VIN */
    struct index by_vin;
    struct names devices;
    struct rows holders; /* beside devices: the vehicle it is or was in - the device's own number */
    struct names words;  /* tenants, details */
    struct rows entries; /* entry_column */
    struct rows ids;     /* details that are certificate ids: 32 bytes */
    struct names ecus;
    struct rows fitted; /* beside ecus: vehicle; fixed: certificate id */
    struct index by_certificate;
};

/* seal.c */
void seal_keys(struct cloud_vehicles *vehicles, const uint8_t key[32]);
void seal_hash(const struct cloud_vehicles *vehicles, struct span vin, uint8_t hash[VIN_HASH_BYTES]);
void seal_token(const struct cloud_vehicles *vehicles, struct span token, uint8_t hash[32]);
/* false: the library refused. */
bool seal_close(struct cloud_vehicles *vehicles, struct span vin, const uint8_t hash[VIN_HASH_BYTES],
                struct span reference, uint8_t sealed[VIN_SEALED_BYTES]);
/* false: not sealed with this key for this reference, or changed since. */
bool seal_open(const struct cloud_vehicles *vehicles, const uint8_t sealed[VIN_SEALED_BYTES],
               const uint8_t hash[VIN_HASH_BYTES], struct span reference, char vin[CLOUD_VIN_LENGTH + 1]);

/* vehicles.c. Numbers; NAME_NONE: none. */
uint32_t vehicles_find(const struct cloud_vehicles *vehicles, struct span reference);
uint32_t vehicles_find_hash(const struct cloud_vehicles *vehicles, const uint8_t hash[VIN_HASH_BYTES]);
void vehicles_copy(const struct cloud_vehicles *vehicles, uint32_t number, struct cloud_vehicle *out);
bool vehicles_vin(const struct cloud_vehicles *vehicles, uint32_t number, char vin[CLOUD_VIN_LENGTH + 1]);
uint32_t vehicles_count(const struct cloud_vehicles *vehicles);
int64_t vehicles_registered(const struct cloud_vehicles *vehicles, uint32_t number);
const uint8_t *vehicles_sealed(const struct cloud_vehicles *vehicles, uint32_t number);
enum cloud_vehicle_state vehicles_state(const struct cloud_vehicles *vehicles, uint32_t number);
/* A new row, all its texts checked; device "": none. NAME_NONE: out of memory, nothing is there. */
uint32_t vehicles_add(struct cloud_vehicles *vehicles, int64_t registered_s, const uint8_t hash[VIN_HASH_BYTES],
                      const uint8_t sealed[VIN_SEALED_BYTES], struct span reference, struct span device,
                      struct span tenant);
bool vehicles_set_owner(struct cloud_vehicles *vehicles, uint32_t number, struct span tenant, uint32_t owner,
                        int64_t since_s);
bool vehicles_is_text(struct span text, uint32_t longest);

/* life.c: one more entry, and the state it leads to. */
enum cloud_vehicles_result life_enter(struct cloud_vehicles *vehicles, uint32_t number, int64_t at_s,
                                      enum cloud_vehicle_change change, struct span detail);

#endif
