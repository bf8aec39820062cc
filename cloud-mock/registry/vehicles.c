/* vehicles.c: the vehicle registry's rows: about 200 bytes a vehicle with a provisioned one's history, 77 of them the hashed and the sealed VIN.
 *
 * Names are kept once (names.h); a vehicle's number is that of its Reference ID, and its row is written before the name goes in: without its name nothing of it
 * is there.
 */
#include "vehicles_internal.h"

#include "memory.h"

#include <openssl/crypto.h>

#define REFERENCE_DRAWS 100
#define UUID_LENGTH     36

/* ---- life cycle --------------------------------------------------------------------------------------------------- */

struct cloud_vehicles *cloud_vehicles_create(const uint8_t key[32], uint64_t seed)
{
    struct cloud_vehicles *vehicles = memory_allocate_zero(1, sizeof(*vehicles));
    if (!vehicles)
        return NULL;
    seal_keys(vehicles, key);
    vehicles->seed = seed;
    names_init(&vehicles->references);
    names_init(&vehicles->devices);
    names_init(&vehicles->words);
    names_init(&vehicles->ecus);
    vehicles->rows.columns = VEHICLE_COLUMNS;
    vehicles->rows.fixed_bytes = VIN_HASH_BYTES + VIN_SEALED_BYTES;
    vehicles->holders.columns = 1;
    vehicles->entries.columns = ENTRY_COLUMNS;
    vehicles->ids.fixed_bytes = 32;
    vehicles->fitted.columns = 1;
    vehicles->fitted.fixed_bytes = 32;
    return vehicles;
}

void cloud_vehicles_destroy(struct cloud_vehicles *vehicles)
{
    if (!vehicles)
        return;
    names_free(&vehicles->references);
    names_free(&vehicles->devices);
    names_free(&vehicles->words);
    names_free(&vehicles->ecus);
    rows_free(&vehicles->rows);
    rows_free(&vehicles->holders);
    rows_free(&vehicles->entries);
    rows_free(&vehicles->ids);
    rows_free(&vehicles->fitted);
    index_free(&vehicles->by_vin);
    index_free(&vehicles->by_certificate);
    OPENSSL_cleanse(vehicles, sizeof(*vehicles));
    memory_free(vehicles);
}

uint64_t cloud_vehicles_bytes(const struct cloud_vehicles *vehicles)
{
    return sizeof(*vehicles) + names_bytes(&vehicles->references) + names_bytes(&vehicles->devices) +
           names_bytes(&vehicles->words) + names_bytes(&vehicles->ecus) + rows_bytes(&vehicles->rows) +
           rows_bytes(&vehicles->holders) + rows_bytes(&vehicles->entries) + rows_bytes(&vehicles->ids) +
           rows_bytes(&vehicles->fitted) + index_bytes(&vehicles->by_vin) + index_bytes(&vehicles->by_certificate);
}

/* ---- rows --------------------------------------------------------------------------------------------------------- */

static uint64_t get(const struct cloud_vehicles *vehicles, uint32_t number, enum vehicle_column column)
{
    return rows_get(&vehicles->rows, number, column);
}

static bool set(struct cloud_vehicles *vehicles, uint32_t number, enum vehicle_column column, uint64_t value)
{
    return rows_set(&vehicles->rows, number, column, value);
}

uint32_t vehicles_count(const struct cloud_vehicles *vehicles)
{
    return vehicles->references.rows.count;
}

enum cloud_vehicle_state vehicles_state(const struct cloud_vehicles *vehicles, uint32_t number)
{
    return (enum cloud_vehicle_state)(get(vehicles, number, VEHICLE_KIND) & ((1u << VEHICLE_STATE_BITS) - 1));
}

int64_t vehicles_registered(const struct cloud_vehicles *vehicles, uint32_t number)
{
    return (int64_t)get(vehicles, number, VEHICLE_REGISTERED);
}

static const uint8_t *hash_at(const struct cloud_vehicles *vehicles, uint32_t number)
{
    return rows_fixed(&vehicles->rows, number);
}

const uint8_t *vehicles_sealed(const struct cloud_vehicles *vehicles, uint32_t number)
{
    return rows_fixed(&vehicles->rows, number) + VIN_HASH_BYTES;
}

static uint32_t device_of(const struct cloud_vehicles *vehicles, uint32_t number)
{
    return (uint32_t)(get(vehicles, number, VEHICLE_DEVICE) + number) - 1; /* none: NAME_NONE */
}

static bool set_device(struct cloud_vehicles *vehicles, uint32_t number, uint32_t device)
{
    return set(vehicles, number, VEHICLE_DEVICE, (uint64_t)(uint32_t)(device + 1) - number);
}

/* Who holds a device is whoever says so too: a line of one that was taken out stays as it is. */
static uint32_t holder_of(const struct cloud_vehicles *vehicles, uint32_t device)
{
    uint32_t number = (uint32_t)(rows_get(&vehicles->holders, device, 0) + device);
    return number < vehicles_count(vehicles) && device_of(vehicles, number) == device ? number : NAME_NONE;
}

/* A device's number, and that it is to be held by vehicle `number`. NAME_NONE: out of memory. */
static uint32_t intern_device(struct cloud_vehicles *vehicles, struct span device, int64_t now_s, uint32_t number)
{
    uint32_t name = names_intern(&vehicles->devices, device, now_s);
    if (name == NAME_NONE)
        return NAME_NONE;
    while (vehicles->holders.count <= name) {
        uint64_t value = (uint64_t)number - vehicles->holders.count;
        if (!rows_add(&vehicles->holders, &value, NULL))
            return NAME_NONE;
    }
    return rows_set(&vehicles->holders, name, 0, (uint64_t)number - name) ? name : NAME_NONE;
}

/* ---- finding ------------------------------------------------------------------------------------------------------ */

static uint32_t hash_of_bytes(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static uint32_t hash_of_row(const void *context, uint32_t number)
{
    return hash_of_bytes(hash_at(context, number));
}

uint32_t vehicles_find(const struct cloud_vehicles *vehicles, struct span reference)
{
    return reference.length <= CLOUD_REFERENCE_MAX ? names_find(&vehicles->references, reference) : NAME_NONE;
}

uint32_t vehicles_find_hash(const struct cloud_vehicles *vehicles, const uint8_t hash[VIN_HASH_BYTES])
{
    const struct index *index = &vehicles->by_vin;
    uint32_t slot;
    if (index->size == 0)
        return NAME_NONE;
    for (uint32_t at = index_first(index, hash_of_bytes(hash)); (slot = index_slot(index, at)) != 0;
         at = index_next(index, at))
        if (memcmp(hash_at(vehicles, slot - 1), hash, VIN_HASH_BYTES) == 0)
            return slot - 1;
    return NAME_NONE;
}

static uint32_t find_vin(const struct cloud_vehicles *vehicles, struct span vin)
{
    uint8_t hash[VIN_HASH_BYTES];
    if (!cloud_vin_valid(vin))
        return NAME_NONE;
    seal_hash(vehicles, vin, hash);
    return vehicles_find_hash(vehicles, hash);
}

static uint32_t find_holder(const struct cloud_vehicles *vehicles, struct span device)
{
    uint32_t name = device.length > CLOUD_DEVICE_MAX ? NAME_NONE : names_find(&vehicles->devices, device);
    return name == NAME_NONE || name >= vehicles->holders.count ? NAME_NONE : holder_of(vehicles, name);
}

/* ---- reading ------------------------------------------------------------------------------------------------------ */

void vehicles_copy(const struct cloud_vehicles *vehicles, uint32_t number, struct cloud_vehicle *out)
{
    uint32_t device = device_of(vehicles, number);
    memset(out, 0, sizeof(*out));
    names_text(&vehicles->references, number, out->reference);
    if (device != NAME_NONE)
        names_text(&vehicles->devices, device, out->device);
    char tenant[NAME_MAX_LENGTH + 1];
    memcpy(out->tenant, tenant, names_text(&vehicles->words, (uint32_t)get(vehicles, number, VEHICLE_TENANT), tenant));
    out->state = vehicles_state(vehicles, number);
    memcpy(out->vin_hash, hash_at(vehicles, number), VIN_HASH_BYTES);
    out->owner = (uint32_t)get(vehicles, number, VEHICLE_OWNER);
    out->data_since_s =
        (int64_t)(get(vehicles, number, VEHICLE_REGISTERED) + get(vehicles, number, VEHICLE_DATA_SINCE));
    out->changes = (uint32_t)get(vehicles, number, VEHICLE_CHANGES);
    out->ecus = (uint32_t)(get(vehicles, number, VEHICLE_KIND) >> VEHICLE_STATE_BITS);
}

static bool copy_if(const struct cloud_vehicles *vehicles, uint32_t number, struct cloud_vehicle *out)
{
    if (number == NAME_NONE)
        return false;
    vehicles_copy(vehicles, number, out);
    return true;
}

bool cloud_vehicles_get(const struct cloud_vehicles *vehicles, struct span reference, struct cloud_vehicle *out)
{
    return copy_if(vehicles, vehicles_find(vehicles, reference), out);
}

bool cloud_vehicles_by_device(const struct cloud_vehicles *vehicles, struct span device, struct cloud_vehicle *out)
{
    return copy_if(vehicles, find_holder(vehicles, device), out);
}

bool cloud_vehicles_by_vin(const struct cloud_vehicles *vehicles, struct span vin, struct cloud_vehicle *out)
{
    return copy_if(vehicles, find_vin(vehicles, vin), out);
}

bool vehicles_vin(const struct cloud_vehicles *vehicles, uint32_t number, char vin[CLOUD_VIN_LENGTH + 1])
{
    char reference[NAME_MAX_LENGTH + 1];
    uint32_t length = names_text(&vehicles->references, number, reference);
    return seal_open(vehicles, vehicles_sealed(vehicles, number), hash_at(vehicles, number), span_of(reference, length),
                     vin);
}

void cloud_vehicles_each(const struct cloud_vehicles *vehicles,
                         void (*visit)(void *context, const struct cloud_vehicle *vehicle), void *context)
{
    struct cloud_vehicle vehicle;
    for (uint32_t number = 0; number < vehicles_count(vehicles); number++) {
        vehicles_copy(vehicles, number, &vehicle);
        visit(context, &vehicle);
    }
}

/* ---- registration ------------------------------------------------------------------------------------------------- */

bool vehicles_is_text(struct span text, uint32_t longest)
{
    return text.length <= longest && (text.length == 0 || !memchr(text.data, 0, text.length));
}

/* The row of a vehicle whose name is not in yet; one left by a registration that ran out of memory is written over. */
static bool write_row(struct cloud_vehicles *vehicles, uint32_t number, const uint64_t *values, const uint8_t *fixed)
{
    if (vehicles->rows.count == number)
        return rows_add(&vehicles->rows, values, fixed);
    for (unsigned c = 0; c < VEHICLE_COLUMNS; c++)
        if (!rows_set(&vehicles->rows, number, c, values[c]))
            return false;
    rows_set_fixed(&vehicles->rows, number, fixed);
    return true;
}

uint32_t vehicles_add(struct cloud_vehicles *vehicles, int64_t registered_s, const uint8_t hash[VIN_HASH_BYTES],
                      const uint8_t sealed[VIN_SEALED_BYTES], struct span reference, struct span device,
                      struct span tenant)
{
    uint32_t number = vehicles_count(vehicles), device_name = NAME_NONE;
    uint32_t word = names_intern(&vehicles->words, tenant, registered_s);
    uint8_t fixed[VIN_HASH_BYTES + VIN_SEALED_BYTES];
    memcpy(fixed, hash, VIN_HASH_BYTES);
    memcpy(fixed + VIN_HASH_BYTES, sealed, VIN_SEALED_BYTES);
    if (word == NAME_NONE || !index_room(&vehicles->by_vin, number, hash_of_row, vehicles))
        return NAME_NONE;
    if (device.length && (device_name = intern_device(vehicles, device, registered_s, number)) == NAME_NONE)
        return NAME_NONE;
    uint64_t values[VEHICLE_COLUMNS] = {
        [VEHICLE_DEVICE] = (uint64_t)(uint32_t)(device_name + 1) - number,
        [VEHICLE_TENANT] = word,
        [VEHICLE_KIND] = CLOUD_VEHICLE_BUILT,
        [VEHICLE_OWNER] = 1,
        [VEHICLE_REGISTERED] = (uint64_t)registered_s,
        [VEHICLE_CHANGES] = 1,
    };
    if (!write_row(vehicles, number, values, fixed) ||
        names_intern(&vehicles->references, reference, registered_s) != number)
        return NAME_NONE;
    index_place(&vehicles->by_vin, hash_of_bytes(hash), number);
    return number;
}

static uint64_t mix(uint64_t value)
{
    value += UINT64_C(0x9E3779B97F4A7C15);
    value = (value ^ value >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    value = (value ^ value >> 27) * UINT64_C(0x94D049BB133111EB);
    return value ^ value >> 31;
}

/* Version 4, variant 1; pure in seed and count. */
static void draw_uuid(struct cloud_vehicles *vehicles, char out[UUID_LENGTH + 1])
{
    uint64_t count = vehicles->draws++,
             bits[2] = {mix(mix(vehicles->seed) ^ 2 * count), mix(mix(vehicles->seed) ^ (2 * count + 1))};
    bits[0] = (bits[0] & ~UINT64_C(0xf000)) | UINT64_C(0x4000);
    bits[1] = bits[1] >> 2 | UINT64_C(1) << 63;
    for (int i = 0, digit = 0; i < UUID_LENGTH; i++) {
        bool dash = i == 8 || i == 13 || i == 18 || i == 23;
        out[i] = dash ? '-' : "0123456789abcdef"[bits[digit / 16] >> (60 - digit % 16 * 4) & 15];
        digit += !dash;
    }
    out[UUID_LENGTH] = 0;
}

void cloud_vehicles_set_reference_source(struct cloud_vehicles *vehicles, void (*next)(void *context, char out[37]),
                                         void *context)
{
    vehicles->next_reference = next;
    vehicles->next_context = context;
}

/* false: none of the drawn ones was free. */
static bool draw_reference(struct cloud_vehicles *vehicles, char reference[CLOUD_REFERENCE_MAX + 1])
{
    char drawn[UUID_LENGTH + 1];
    for (int i = 0; i < REFERENCE_DRAWS; i++) {
        if (vehicles->next_reference)
            vehicles->next_reference(vehicles->next_context, drawn);
        else
            draw_uuid(vehicles, drawn);
        drawn[UUID_LENGTH] = 0;
        if (drawn[0] && vehicles_find(vehicles, span_text(drawn)) == NAME_NONE) {
            memcpy(reference, drawn, sizeof(drawn));
            return true;
        }
    }
    return false;
}

static enum cloud_vehicles_result check_known(const struct cloud_vehicles *vehicles, uint32_t number,
                                              struct span device, struct span tenant,
                                              char reference[CLOUD_REFERENCE_MAX + 1])
{
    struct cloud_vehicle known;
    vehicles_copy(vehicles, number, &known);
    if ((reference[0] && strcmp(reference, known.reference) != 0) || !span_equal(tenant, span_text(known.tenant)))
        return CLOUD_VEHICLES_VIN_KNOWN;
    if (!span_equal(device, span_text(known.device)))
        return CLOUD_VEHICLES_DEVICE_WRONG;
    memcpy(reference, known.reference, sizeof(known.reference));
    return CLOUD_VEHICLES_DONE;
}

static enum cloud_vehicles_result check_texts(const struct cloud_vehicles *vehicles, struct span device,
                                              struct span tenant, const char *reference)
{
    if (!vehicles_is_text(device, CLOUD_DEVICE_MAX))
        return CLOUD_VEHICLES_DEVICE_WRONG;
    if (!vehicles_is_text(tenant, CLOUD_TENANT_MAX))
        return CLOUD_VEHICLES_UNKNOWN;
    if (device.length && find_holder(vehicles, device) != NAME_NONE)
        return CLOUD_VEHICLES_DEVICE_TAKEN;
    if (reference[0] && vehicles_find(vehicles, span_text(reference)) != NAME_NONE)
        return CLOUD_VEHICLES_REFERENCE_TAKEN;
    return CLOUD_VEHICLES_DONE;
}

enum cloud_vehicles_result cloud_vehicles_register(struct cloud_vehicles *vehicles, int64_t now_s, struct span vin,
                                                   struct span device, struct span tenant,
                                                   char reference[CLOUD_REFERENCE_MAX + 1])
{
    uint8_t hash[VIN_HASH_BYTES], sealed[VIN_SEALED_BYTES];
    if (!cloud_vin_valid(vin))
        return CLOUD_VEHICLES_BAD_VIN;
    seal_hash(vehicles, vin, hash);
    uint32_t number = vehicles_find_hash(vehicles, hash);
    if (number != NAME_NONE)
        return check_known(vehicles, number, device, tenant, reference);
    enum cloud_vehicles_result result = check_texts(vehicles, device, tenant, reference);
    if (result != CLOUD_VEHICLES_DONE)
        return result;
    char chosen[CLOUD_REFERENCE_MAX + 1];
    memcpy(chosen, reference, sizeof(chosen));
    if (!chosen[0] && !draw_reference(vehicles, chosen))
        return CLOUD_VEHICLES_REFERENCE_TAKEN;
    if (!seal_close(vehicles, vin, hash, span_text(chosen), sealed))
        return CLOUD_VEHICLES_MEMORY;
    number = vehicles_add(vehicles, now_s, hash, sealed, span_text(chosen), device, tenant);
    if (number == NAME_NONE)
        return CLOUD_VEHICLES_MEMORY;
    memcpy(reference, chosen, sizeof(chosen));
    return device.length ? CLOUD_VEHICLES_DONE
                         : life_enter(vehicles, number, now_s, CLOUD_CHANGE_DEVICE_OUT, (struct span){NULL, 0});
}

/* ---- owner and devices -------------------------------------------------------------------------------------------- */

bool vehicles_set_owner(struct cloud_vehicles *vehicles, uint32_t number, struct span tenant, uint32_t owner,
                        int64_t since_s)
{
    uint64_t before[] = {get(vehicles, number, VEHICLE_TENANT), get(vehicles, number, VEHICLE_OWNER)};
    uint32_t word = names_intern(&vehicles->words, tenant, since_s);
    uint64_t since = (uint64_t)since_s - get(vehicles, number, VEHICLE_REGISTERED);
    if (word == NAME_NONE)
        return false;
    if (set(vehicles, number, VEHICLE_TENANT, word) && set(vehicles, number, VEHICLE_OWNER, owner) &&
        set(vehicles, number, VEHICLE_DATA_SINCE, since))
        return true;
    set(vehicles, number, VEHICLE_TENANT, before[0]);
    set(vehicles, number, VEHICLE_OWNER, before[1]);
    return false;
}

/* NAME_NONE: takes out the one that is in it. */
static enum cloud_vehicles_result change_device(struct cloud_vehicles *vehicles, uint32_t number, int64_t now_s,
                                                uint32_t device, enum cloud_vehicle_change change, struct span name)
{
    uint32_t before = device_of(vehicles, number);
    if (!set_device(vehicles, number, device))
        return CLOUD_VEHICLES_MEMORY;
    enum cloud_vehicles_result result = life_enter(vehicles, number, now_s, change, name);
    if (result != CLOUD_VEHICLES_DONE)
        set_device(vehicles, number, before); /* has been there: there is room */
    return result;
}

enum cloud_vehicles_result cloud_vehicles_swap(struct cloud_vehicles *vehicles, int64_t now_s, struct span reference,
                                               struct span device, struct span next)
{
    uint32_t number = vehicles_find(vehicles, reference);
    if (number == NAME_NONE)
        return CLOUD_VEHICLES_UNKNOWN;
    struct cloud_vehicle before;
    vehicles_copy(vehicles, number, &before);
    if (!span_equal(device, span_text(before.device)) || !vehicles_is_text(next, CLOUD_DEVICE_MAX))
        return CLOUD_VEHICLES_DEVICE_WRONG;
    uint32_t holder = next.length ? find_holder(vehicles, next) : NAME_NONE;
    if (holder != NAME_NONE && holder != number)
        return CLOUD_VEHICLES_DEVICE_TAKEN;
    if (before.state == CLOUD_VEHICLE_DECOMMISSIONED || span_equal(device, next))
        return CLOUD_VEHICLES_STATE;
    enum cloud_vehicles_result result = CLOUD_VEHICLES_DONE;
    if (device.length)
        result = change_device(vehicles, number, now_s, NAME_NONE, CLOUD_CHANGE_DEVICE_OUT, device);
    if (result != CLOUD_VEHICLES_DONE || next.length == 0)
        return result;
    uint32_t name = intern_device(vehicles, next, now_s, number);
    return name == NAME_NONE ? CLOUD_VEHICLES_MEMORY
                             : change_device(vehicles, number, now_s, name, CLOUD_CHANGE_DEVICE_IN, next);
}

/* ---- ECUs --------------------------------------------------------------------------------------------------------- */

static uint32_t hash_of_ecu(const void *context, uint32_t ecu)
{
    return hash_of_bytes(rows_fixed(&((const struct cloud_vehicles *)context)->fitted, ecu));
}

static uint32_t find_certificate(const struct cloud_vehicles *vehicles, const uint8_t id[32])
{
    const struct index *index = &vehicles->by_certificate;
    uint32_t slot;
    if (index->size == 0)
        return NAME_NONE;
    for (uint32_t at = index_first(index, hash_of_bytes(id)); (slot = index_slot(index, at)) != 0;
         at = index_next(index, at))
        if (memcmp(rows_fixed(&vehicles->fitted, slot - 1), id, 32) == 0)
            return slot - 1;
    return NAME_NONE;
}

/* As with vehicles: the row comes before the name. */
static enum cloud_vehicles_result fit(struct cloud_vehicles *vehicles, uint32_t number, struct span name,
                                      const uint8_t id[32])
{
    uint32_t ecu = vehicles->ecus.rows.count;
    uint64_t vehicle = number, kind = get(vehicles, number, VEHICLE_KIND);
    if (!index_room(&vehicles->by_certificate, ecu, hash_of_ecu, vehicles))
        return CLOUD_VEHICLES_MEMORY;
    if (vehicles->fitted.count > ecu) {
        if (!rows_set(&vehicles->fitted, ecu, 0, vehicle))
            return CLOUD_VEHICLES_MEMORY;
        rows_set_fixed(&vehicles->fitted, ecu, id);
    } else if (!rows_add(&vehicles->fitted, &vehicle, id)) {
        return CLOUD_VEHICLES_MEMORY;
    }
    if (!set(vehicles, number, VEHICLE_KIND, kind + (1u << VEHICLE_STATE_BITS)))
        return CLOUD_VEHICLES_MEMORY;
    if (names_intern(&vehicles->ecus, name, 0) != ecu) {
        set(vehicles, number, VEHICLE_KIND, kind);
        return CLOUD_VEHICLES_MEMORY;
    }
    index_place(&vehicles->by_certificate, hash_of_bytes(id), ecu);
    return CLOUD_VEHICLES_DONE;
}

enum cloud_vehicles_result cloud_vehicles_add_ecu(struct cloud_vehicles *vehicles, struct span reference,
                                                  struct span ecu, const uint8_t certificate_id[32])
{
    uint32_t number = vehicles_find(vehicles, reference);
    if (number == NAME_NONE)
        return CLOUD_VEHICLES_UNKNOWN;
    if (ecu.length == 0 || !vehicles_is_text(ecu, CLOUD_DEVICE_MAX))
        return CLOUD_VEHICLES_DEVICE_WRONG;
    uint32_t known = names_find(&vehicles->ecus, ecu), holder = find_certificate(vehicles, certificate_id);
    if ((known != NAME_NONE && rows_get(&vehicles->fitted, known, 0) != number) ||
        (holder != NAME_NONE && holder != known))
        return CLOUD_VEHICLES_DEVICE_TAKEN;
    if (vehicles_state(vehicles, number) == CLOUD_VEHICLE_DECOMMISSIONED)
        return CLOUD_VEHICLES_STATE;
    if (known == NAME_NONE)
        return get(vehicles, number, VEHICLE_KIND) >> VEHICLE_STATE_BITS < CLOUD_ECUS_MAX
                   ? fit(vehicles, number, ecu, certificate_id)
                   : CLOUD_VEHICLES_STATE;
    if (holder != known) {
        vehicles->ecu_changes++;
        index_remove(&vehicles->by_certificate, known, hash_of_ecu, vehicles);
        rows_set_fixed(&vehicles->fitted, known, certificate_id);
        index_place(&vehicles->by_certificate, hash_of_bytes(certificate_id), known);
    }
    return CLOUD_VEHICLES_DONE;
}
