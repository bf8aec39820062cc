/* registry.c: the index in memory: certificates by id, things by name. About 110 bytes a vehicle.
 *
 * A certificate's id is a hash already: its first four bytes are the place to look. Names are kept once, whatever they name.
 */
#include "registry_internal.h"

#include <stdio.h>
#include <stdlib.h>

_Static_assert(sizeof(struct certificate_record) == 68, "bytes per vehicle");
_Static_assert(sizeof(struct name_record) == 12, "bytes per vehicle");

/* ---- blocks ------------------------------------------------------------------------------------------------------- */

static bool block_add(struct blocks *blocks, size_t bytes)
{
    if (blocks->block_count == blocks->list_capacity) {
        uint32_t wanted = blocks->list_capacity ? blocks->list_capacity * 2 : 16;
        uint8_t **list = realloc(blocks->list, wanted * sizeof(*list));
        if (!list)
            return false;
        blocks->list = list;
        blocks->list_capacity = wanted;
    }
    uint8_t *block = malloc(bytes);
    if (!block)
        return false;
    blocks->list[blocks->block_count++] = block;
    return true;
}

static void *record_at(const struct blocks *blocks, uint32_t number)
{
    return blocks->list[number / BLOCK_RECORDS] + (size_t)(number % BLOCK_RECORDS) * blocks->record_size;
}

static void *record_add(struct blocks *blocks)
{
    if (blocks->count == blocks->block_count * BLOCK_RECORDS &&
        !block_add(blocks, (size_t)BLOCK_RECORDS * blocks->record_size))
        return NULL;
    void *record = record_at(blocks, blocks->count++);
    memset(record, 0, blocks->record_size);
    return record;
}

static void blocks_free(struct blocks *blocks)
{
    for (uint32_t i = 0; i < blocks->block_count; i++)
        free(blocks->list[i]);
    free(blocks->list);
}

struct name_record *registry_name_at(const struct cloud_registry *registry, uint32_t number)
{
    return record_at(&registry->names, number);
}

struct certificate_record *registry_certificate_at(const struct cloud_registry *registry, uint32_t number)
{
    return record_at(&registry->certificates, number);
}

const char *registry_text(const struct cloud_registry *registry, uint32_t name, uint32_t *length)
{
    uint32_t at = registry_name_at(registry, name)->text;
    const uint8_t *text = registry->text.list[at / TEXT_BLOCK] + at % TEXT_BLOCK;
    *length = text[0];
    return (const char *)text + 1;
}

static bool text_add(struct cloud_registry *registry, const char *text, uint32_t length, uint32_t *at)
{
    if (registry->text.block_count == 0 || registry->text_used + length + 1 > TEXT_BLOCK) {
        if (!block_add(&registry->text, TEXT_BLOCK))
            return false;
        registry->text_used = 0;
    }
    *at = (registry->text.block_count - 1) * TEXT_BLOCK + registry->text_used;
    uint8_t *out = registry->text.list[registry->text.block_count - 1] + registry->text_used;
    out[0] = (uint8_t)length;
    memcpy(out + 1, text, length);
    registry->text_used += length + 1;
    return true;
}

/* ---- indexes ------------------------------------------------------------------------------------------------------ */

static uint32_t hash_of_name(const char *name, uint32_t length)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (uint32_t i = 0; i < length; i++)
        hash = (hash ^ (uint8_t)name[i]) * UINT64_C(0x100000001b3);
    hash ^= hash >> 32;
    return (uint32_t)(hash * UINT64_C(0x9E3779B97F4A7C15) >> 32);
}

static uint32_t hash_of_id(const uint8_t id[32])
{
    return (uint32_t)id[0] << 24 | (uint32_t)id[1] << 16 | (uint32_t)id[2] << 8 | id[3];
}

static uint32_t hash_of(const struct cloud_registry *registry, const struct index *index, uint32_t number)
{
    if (index == &registry->by_id)
        return hash_of_id(registry_certificate_at(registry, number)->id);
    uint32_t length;
    const char *text = registry_text(registry, number, &length);
    return hash_of_name(text, length);
}

static void index_place(struct index *index, uint32_t hash, uint32_t number)
{
    uint32_t at = hash & index->mask;
    while (index->slots[at])
        at = (at + 1) & index->mask;
    index->slots[at] = number + 1;
    index->used++;
}

static bool index_room(const struct cloud_registry *registry, struct index *index)
{
    if (index->slots && (uint64_t)(index->used + 1) * 4 <= (uint64_t)(index->mask + 1) * 3)
        return true;
    uint32_t wanted = index->slots ? (index->mask + 1) * 2 : 1024;
    struct index grown = {calloc(wanted, sizeof(uint32_t)), wanted - 1, 0};
    if (!grown.slots)
        return false;
    for (uint32_t i = 0; index->slots && i <= index->mask; i++)
        if (index->slots[i])
            index_place(&grown, hash_of(registry, index, index->slots[i] - 1), index->slots[i] - 1);
    free(index->slots);
    *index = grown;
    return true;
}

uint32_t registry_find_certificate(const struct cloud_registry *registry, const uint8_t id[32])
{
    const struct index *index = &registry->by_id;
    if (!index->slots)
        return NONE;
    for (uint32_t at = hash_of_id(id) & index->mask; index->slots[at]; at = (at + 1) & index->mask)
        if (memcmp(registry_certificate_at(registry, index->slots[at] - 1)->id, id, 32) == 0)
            return index->slots[at] - 1;
    return NONE;
}

static uint32_t find_name(const struct cloud_registry *registry, const char *name)
{
    const struct index *index = &registry->by_name;
    uint32_t length = (uint32_t)strlen(name), found;
    if (!index->slots)
        return NONE;
    for (uint32_t at = hash_of_name(name, length) & index->mask; index->slots[at]; at = (at + 1) & index->mask) {
        const char *text = registry_text(registry, index->slots[at] - 1, &found);
        if (found == length && memcmp(text, name, length) == 0)
            return index->slots[at] - 1;
    }
    return NONE;
}

static uint32_t clamp_seconds(int64_t seconds)
{
    return seconds < 0 ? 0 : seconds > UINT32_MAX ? UINT32_MAX : (uint32_t)seconds;
}

static uint32_t intern_name(struct cloud_registry *registry, const char *name, int64_t now_s)
{
    uint32_t length = (uint32_t)strlen(name), number = find_name(registry, name), text;
    if (number != NONE || length > 63)
        return number;
    if (!index_room(registry, &registry->by_name) || !text_add(registry, name, length, &text))
        return NONE;
    struct name_record *record = record_add(&registry->names);
    if (!record)
        return NONE;
    record->text = text;
    record->created_s = clamp_seconds(now_s);
    number = registry->names.count - 1;
    index_place(&registry->by_name, hash_of_name(name, length), number);
    return number;
}

static uint32_t intern_issuer(struct cloud_registry *registry, const uint8_t id[32])
{
    for (uint32_t i = 0; i < registry->issuer_count; i++)
        if (memcmp(registry->issuers[i], id, 32) == 0)
            return i;
    if (registry->issuer_count == ISSUERS_MAX)
        return NONE;
    memcpy(registry->issuers[registry->issuer_count], id, 32);
    return registry->issuer_count++;
}

static bool flag_name(struct cloud_registry *registry, uint32_t number, uint8_t flag)
{
    struct name_record *record = registry_name_at(registry, number);
    if (record->flags & flag)
        return true;
    record->flags |= flag;
    *(flag == NAME_THING ? &registry->counts.things : &registry->counts.allowed) += 1;
    return !registry->database || database_put_name(registry->database, registry, number);
}

static void set_status(struct cloud_registry *registry, struct certificate_record *record,
                       enum cloud_certificate_status status)
{
    registry->counts.active -= record->status == CLOUD_CERTIFICATE_ACTIVE;
    registry->counts.active += status == CLOUD_CERTIFICATE_ACTIVE;
    record->status = (uint8_t)status;
}

/* ---- life cycle --------------------------------------------------------------------------------------------------- */

struct cloud_registry *cloud_registry_open(const char *path, char *error, size_t error_capacity)
{
    struct cloud_registry *registry = calloc(1, sizeof(*registry));
    if (!registry)
        return NULL;
    registry->names.record_size = sizeof(struct name_record);
    registry->certificates.record_size = sizeof(struct certificate_record);
    if (!path)
        return registry;
    struct database *database = database_open(path, error, error_capacity);
    if (database && database_load(database, registry)) {
        registry->database = database;
        return registry;
    }
    if (database && error_capacity)
        snprintf(error, error_capacity, "registry: %s: its tables cannot be read", path);
    database_close(database);
    cloud_registry_close(registry);
    return NULL;
}

void cloud_registry_close(struct cloud_registry *registry)
{
    if (!registry)
        return;
    database_close(registry->database);
    blocks_free(&registry->names);
    blocks_free(&registry->certificates);
    blocks_free(&registry->text);
    free(registry->by_name.slots);
    free(registry->by_id.slots);
    free(registry);
}

bool cloud_registry_flush(struct cloud_registry *registry)
{
    return !registry->database || database_flush(registry->database);
}

/* ---- questions and changes ---------------------------------------------------------------------------------------- */

enum cloud_certificate_status cloud_registry_status(const struct cloud_registry *registry,
                                                    const uint8_t certificate_id[32])
{
    uint32_t number = registry_find_certificate(registry, certificate_id);
    return number == NONE ? CLOUD_CERTIFICATE_UNKNOWN
                          : (enum cloud_certificate_status)registry_certificate_at(registry, number)->status;
}

static uint32_t add_certificate(struct cloud_registry *registry, const struct cloud_certificate *certificate,
                                int64_t now_s)
{
    uint32_t issuer = intern_issuer(registry, certificate->issuer_id);
    uint32_t name = intern_name(registry, certificate->common_name, now_s);
    if (issuer == NONE || name == NONE || !index_room(registry, &registry->by_id))
        return NONE;
    struct certificate_record *record = record_add(&registry->certificates);
    if (!record)
        return NONE;
    memcpy(record->id, certificate->id, 32);
    record->serial_low = (uint32_t)certificate->serial;
    record->serial_high = (uint32_t)(certificate->serial >> 32);
    record->not_before_s = clamp_seconds(certificate->not_before_s);
    record->not_after_s = clamp_seconds(certificate->not_after_s);
    record->registered_s = clamp_seconds(now_s);
    record->common_name = name;
    record->thing = NONE;
    record->issuer = (uint8_t)issuer;
    index_place(&registry->by_id, hash_of_id(certificate->id), registry->certificates.count - 1);
    registry->counts.certificates++;
    return registry->certificates.count - 1;
}

static bool put_certificate(struct cloud_registry *registry, const struct cloud_certificate *certificate,
                            enum cloud_certificate_status status, const char *thing, int64_t now_s, uint32_t *number)
{
    *number = registry_find_certificate(registry, certificate->id);
    if (*number == NONE)
        *number = add_certificate(registry, certificate, now_s);
    if (*number == NONE)
        return false;
    struct certificate_record *record = registry_certificate_at(registry, *number);
    if (thing && thing[0]) {
        uint32_t name = intern_name(registry, thing, now_s);
        if (name == NONE || !flag_name(registry, name, NAME_THING))
            return false;
        record->thing = name;
    }
    set_status(registry, record, status);
    record->changed_s = clamp_seconds(now_s);
    return true;
}

static bool store_certificate(struct cloud_registry *registry, uint32_t number, int64_t now_s)
{
    if (!registry->database)
        return true;
    const struct certificate_record *record = registry_certificate_at(registry, number);
    char thing[64] = "";
    cloud_registry_thing_of(registry, record->id, thing);
    return database_put_certificate(registry->database, registry, number) &&
           database_put_history(registry->database, now_s, record->id, thing,
                                cloud_certificate_status_name((enum cloud_certificate_status)record->status));
}

bool cloud_registry_put_certificate(struct cloud_registry *registry, const struct cloud_certificate *certificate,
                                    enum cloud_certificate_status status, const char *thing, int64_t now_s)
{
    uint32_t number;
    return put_certificate(registry, certificate, status, thing, now_s, &number) &&
           store_certificate(registry, number, now_s);
}

bool registry_restore_certificate(struct cloud_registry *registry, const struct cloud_certificate *certificate,
                                  enum cloud_certificate_status status, const char *thing, int64_t registered_s,
                                  int64_t changed_s)
{
    uint32_t number;
    if (!put_certificate(registry, certificate, status, thing, registered_s, &number))
        return false;
    registry_certificate_at(registry, number)->changed_s = clamp_seconds(changed_s);
    return true;
}

bool registry_restore_name(struct cloud_registry *registry, const char *name, uint8_t flags, int64_t created_s)
{
    uint32_t number = intern_name(registry, name, created_s);
    return number != NONE && (!(flags & NAME_THING) || flag_name(registry, number, NAME_THING)) &&
           (!(flags & NAME_ALLOWED) || flag_name(registry, number, NAME_ALLOWED));
}

bool cloud_registry_set_status(struct cloud_registry *registry, const uint8_t certificate_id[32],
                               enum cloud_certificate_status status, int64_t now_s)
{
    uint32_t number = registry_find_certificate(registry, certificate_id);
    if (number == NONE)
        return false;
    struct certificate_record *record = registry_certificate_at(registry, number);
    if (record->status == status)
        return true; /* idempotent, as UpdateCertificate is */
    set_status(registry, record, status);
    record->changed_s = clamp_seconds(now_s);
    return store_certificate(registry, number, now_s);
}

bool cloud_registry_certificate(const struct cloud_registry *registry, const uint8_t certificate_id[32],
                                struct cloud_certificate *out)
{
    uint32_t number = registry_find_certificate(registry, certificate_id), length;
    if (number == NONE)
        return false;
    const struct certificate_record *record = registry_certificate_at(registry, number);
    memset(out, 0, sizeof(*out));
    memcpy(out->id, record->id, 32);
    memcpy(out->issuer_id, registry->issuers[record->issuer], 32);
    out->serial = (uint64_t)record->serial_high << 32 | record->serial_low;
    out->not_before_s = record->not_before_s;
    out->not_after_s = record->not_after_s;
    const char *name = registry_text(registry, record->common_name, &length);
    memcpy(out->common_name, name, length);
    return true;
}

bool cloud_registry_put_thing(struct cloud_registry *registry, const char *thing, int64_t now_s)
{
    uint32_t number = intern_name(registry, thing, now_s);
    return number != NONE && flag_name(registry, number, NAME_THING);
}

static bool has_flag(const struct cloud_registry *registry, const char *name, uint8_t flag)
{
    uint32_t number = find_name(registry, name);
    return number != NONE && (registry_name_at(registry, number)->flags & flag);
}

bool cloud_registry_has_thing(const struct cloud_registry *registry, const char *thing)
{
    return has_flag(registry, thing, NAME_THING);
}

bool cloud_registry_thing_of(const struct cloud_registry *registry, const uint8_t certificate_id[32], char thing[64])
{
    uint32_t number = registry_find_certificate(registry, certificate_id), length;
    if (number == NONE || registry_certificate_at(registry, number)->thing == NONE)
        return false;
    const char *text = registry_text(registry, registry_certificate_at(registry, number)->thing, &length);
    memcpy(thing, text, length);
    thing[length] = 0;
    return true;
}

bool cloud_registry_allow(struct cloud_registry *registry, const char *common_name)
{
    uint32_t number = intern_name(registry, common_name, 0);
    return number != NONE && flag_name(registry, number, NAME_ALLOWED);
}

bool cloud_registry_is_allowed(const struct cloud_registry *registry, const char *common_name)
{
    return registry->counts.allowed == 0 || has_flag(registry, common_name, NAME_ALLOWED);
}

void cloud_registry_counts(const struct cloud_registry *registry, uint64_t *things, uint64_t *certificates,
                           uint64_t *active)
{
    if (things)
        *things = registry->counts.things;
    if (certificates)
        *certificates = registry->counts.certificates;
    if (active)
        *active = registry->counts.active;
}

uint64_t cloud_registry_bytes(const struct cloud_registry *registry)
{
    uint64_t bytes = sizeof(*registry);
    bytes += (uint64_t)registry->names.block_count * BLOCK_RECORDS * registry->names.record_size;
    bytes += (uint64_t)registry->certificates.block_count * BLOCK_RECORDS * registry->certificates.record_size;
    bytes += (uint64_t)registry->text.block_count * TEXT_BLOCK;
    bytes += registry->by_name.slots ? ((uint64_t)registry->by_name.mask + 1) * 4 : 0;
    bytes += registry->by_id.slots ? ((uint64_t)registry->by_id.mask + 1) * 4 : 0;
    return bytes;
}
