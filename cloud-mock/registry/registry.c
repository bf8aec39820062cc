/* registry.c: the index in memory: certificates by id, things by name. About 55 bytes a vehicle, 32 of them the certificate's id.
 *
 * A certificate's id is a hash already: its first four bytes are the place to look. Its numbers are kept as what they usually differ little
 * in: validity's end from its begin, registration from the begin, change from registration, the name's number from the row's own.
 */
#include "registry_internal.h"

#include "memory.h"

#include <stdio.h>

enum column { SERIAL, NOT_BEFORE, LIFETIME, REGISTERED, CHANGED, NAME, KIND, OTHER_THING, COLUMNS };
_Static_assert(COLUMNS <= ROWS_COLUMNS_MAX, "a certificate's numbers");

/* KIND: issuer << 5 | what it is attached to << 3 | status */
#define STATUS_MASK      7u
#define ATTACHED_SHIFT   3
#define ISSUER_SHIFT     5
#define ATTACHED_NOTHING 0u
#define ATTACHED_OWN     1u /* the thing of its common name */
#define ATTACHED_OTHER   2u /* the one in OTHER_THING */
_Static_assert(CLOUD_CERTIFICATE_REVOKED <= STATUS_MASK, "three bits of status");

/* ---- rows --------------------------------------------------------------------------------------------------------- */

static uint64_t get(const struct cloud_registry *registry, uint32_t number, enum column column)
{
    return rows_get(&registry->certificates, number, column);
}

static bool set(struct cloud_registry *registry, uint32_t number, enum column column, uint64_t value)
{
    return rows_set(&registry->certificates, number, column, value);
}

static enum cloud_certificate_status status_of(const struct cloud_registry *registry, uint32_t number)
{
    return (enum cloud_certificate_status)(get(registry, number, KIND) & STATUS_MASK);
}

static uint32_t common_name_of(const struct cloud_registry *registry, uint32_t number)
{
    return (uint32_t)(get(registry, number, NAME) + number);
}

uint32_t registry_thing(const struct cloud_registry *registry, uint32_t number)
{
    switch (get(registry, number, KIND) >> ATTACHED_SHIFT & 3) {
    case ATTACHED_NOTHING: return NAME_NONE;
    case ATTACHED_OWN: return common_name_of(registry, number);
    default: return (uint32_t)get(registry, number, OTHER_THING);
    }
}

int64_t registry_registered(const struct cloud_registry *registry, uint32_t number)
{
    return (int64_t)(get(registry, number, NOT_BEFORE) + get(registry, number, REGISTERED));
}

void registry_row(const struct cloud_registry *registry, uint32_t number, struct certificate_row *out)
{
    out->id = rows_fixed(&registry->certificates, number);
    out->issuer = registry->issuers[get(registry, number, KIND) >> ISSUER_SHIFT];
    out->serial = get(registry, number, SERIAL);
    uint64_t not_before = get(registry, number, NOT_BEFORE),
             registered = not_before + get(registry, number, REGISTERED);
    out->not_before_s = (int64_t)not_before;
    out->not_after_s = (int64_t)(not_before + get(registry, number, LIFETIME));
    out->registered_s = (int64_t)registered;
    out->changed_s = (int64_t)(registered + get(registry, number, CHANGED));
    out->common_name = common_name_of(registry, number);
    out->thing = registry_thing(registry, number);
    out->status = status_of(registry, number);
    out->revoked_s = registry_revoked_at(registry, number);
}

static bool set_changed(struct cloud_registry *registry, uint32_t number, int64_t now_s)
{
    return set(registry, number, CHANGED, (uint64_t)now_s - (uint64_t)registry_registered(registry, number));
}

static bool set_thing(struct cloud_registry *registry, uint32_t number, uint32_t thing)
{
    bool own = thing == common_name_of(registry, number);
    uint64_t kind = get(registry, number, KIND) & ~(uint64_t)(3u << ATTACHED_SHIFT);
    if (registry_thing(registry, number) == thing)
        return true;
    registry_detached(registry, number);
    bool good = (own || set(registry, number, OTHER_THING, thing)) &&
                set(registry, number, KIND, kind | (own ? ATTACHED_OWN : ATTACHED_OTHER) << ATTACHED_SHIFT);
    registry_attached(registry, number);
    return good;
}

static bool set_status(struct cloud_registry *registry, uint32_t number, enum cloud_certificate_status status)
{
    uint64_t kind = get(registry, number, KIND);
    if (!set(registry, number, KIND, (kind & ~(uint64_t)STATUS_MASK) | status))
        return false;
    registry->counts.active -= (kind & STATUS_MASK) == CLOUD_CERTIFICATE_ACTIVE;
    registry->counts.active += status == CLOUD_CERTIFICATE_ACTIVE;
    return true;
}

/* ---- finding ------------------------------------------------------------------------------------------------------ */

static uint32_t hash_of_id(const uint8_t id[32])
{
    return (uint32_t)id[0] << 24 | (uint32_t)id[1] << 16 | (uint32_t)id[2] << 8 | id[3];
}

static uint32_t hash_of_row(const void *context, uint32_t number)
{
    const struct cloud_registry *registry = context;
    return hash_of_id(rows_fixed(&registry->certificates, number));
}

uint32_t registry_find(const struct cloud_registry *registry, const uint8_t id[32])
{
    const struct index *index = &registry->by_id;
    uint32_t slot;
    if (index->size == 0)
        return NAME_NONE;
    for (uint32_t at = index_first(index, hash_of_id(id)); (slot = index_slot(index, at)) != 0;
         at = index_next(index, at))
        if (memcmp(rows_fixed(&registry->certificates, slot - 1), id, 32) == 0)
            return slot - 1;
    return NAME_NONE;
}

static uint32_t intern_issuer(struct cloud_registry *registry, const uint8_t id[32])
{
    for (uint32_t i = 0; i < registry->issuer_count; i++)
        if (memcmp(registry->issuers[i], id, 32) == 0)
            return i;
    if (registry->issuer_count == registry->issuer_capacity) {
        uint32_t wanted = registry->issuer_capacity + registry->issuer_capacity / 2 + 2;
        uint8_t(*issuers)[32] = memory_resize(registry->issuers, wanted * sizeof(*issuers));
        if (!issuers)
            return NAME_NONE;
        registry->issuers = issuers;
        registry->issuer_capacity = wanted;
    }
    memcpy(registry->issuers[registry->issuer_count], id, 32);
    return registry->issuer_count++;
}

static bool flag_name(struct cloud_registry *registry, uint32_t number, uint8_t flag)
{
    if (names_flags(&registry->names, number) & flag)
        return true;
    if (!names_flag(&registry->names, number, flag))
        return false;
    *(flag == NAME_THING ? &registry->counts.things : &registry->counts.allowed) += 1;
    return !registry->database || database_put_name(registry->database, registry, number);
}

/* ---- life cycle --------------------------------------------------------------------------------------------------- */

struct cloud_registry *cloud_registry_open(const char *path, char *error, size_t error_capacity)
{
    struct cloud_registry *registry = memory_allocate_zero(1, sizeof(*registry));
    if (!registry)
        return NULL;
    names_init(&registry->names);
    registry->certificates.columns = COLUMNS;
    registry->certificates.fixed_bytes = 32;
    registry->revoked.columns = REVOKED_COLUMNS;
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
    names_free(&registry->names);
    rows_free(&registry->certificates);
    index_free(&registry->by_id);
    index_free(&registry->by_thing);
    rows_free(&registry->revoked);
    index_free(&registry->by_revoked);
    memory_free(registry->spare);
    memory_free(registry->issuers);
    memory_free(registry);
}

bool cloud_registry_flush(struct cloud_registry *registry)
{
    return !registry->database || database_flush(registry->database);
}

/* ---- questions and changes ---------------------------------------------------------------------------------------- */

enum cloud_certificate_status cloud_registry_status(const struct cloud_registry *registry,
                                                    const uint8_t certificate_id[32])
{
    uint32_t number = registry_find(registry, certificate_id);
    return number == NAME_NONE ? CLOUD_CERTIFICATE_UNKNOWN : status_of(registry, number);
}

/* A spare row, which nothing refers to: half-way changed ones harm nobody. */
static bool set_all(struct cloud_registry *registry, uint32_t number, const uint64_t *values, const uint8_t id[32])
{
    for (unsigned c = 0; c < COLUMNS; c++)
        if (!set(registry, number, (enum column)c, values[c]))
            return false;
    rows_set_fixed(&registry->certificates, number, id);
    return true;
}

static uint32_t add_certificate(struct cloud_registry *registry, const struct cloud_certificate *certificate,
                                int64_t now_s)
{
    bool again = registry->spare_count > 0;
    uint32_t number = again ? registry->spare[registry->spare_count - 1] : registry->certificates.count;
    uint32_t issuer = intern_issuer(registry, certificate->issuer_id);
    uint32_t name = names_intern(&registry->names, span_text(certificate->common_name), now_s);
    if (issuer == NAME_NONE || name == NAME_NONE || !index_room(&registry->by_id, number, hash_of_row, registry))
        return NAME_NONE;
    uint64_t not_before = (uint64_t)certificate->not_before_s;
    uint64_t values[COLUMNS] = {
        [SERIAL] = certificate->serial,
        [NOT_BEFORE] = not_before,
        [LIFETIME] = (uint64_t)certificate->not_after_s - not_before,
        [REGISTERED] = (uint64_t)now_s - not_before,
        [NAME] = (uint64_t)name - number,
        [KIND] = (uint64_t)issuer << ISSUER_SHIFT | CLOUD_CERTIFICATE_UNKNOWN,
    };
    if (!(again ? set_all(registry, number, values, certificate->id)
                : rows_add(&registry->certificates, values, certificate->id)))
        return NAME_NONE;
    registry->spare_count -= again;
    index_place(&registry->by_id, hash_of_id(certificate->id), number);
    registry->counts.certificates++;
    return number;
}

static bool put_certificate(struct cloud_registry *registry, const struct cloud_certificate *certificate,
                            enum cloud_certificate_status status, const char *thing, int64_t now_s, uint32_t *number)
{
    *number = registry_find(registry, certificate->id);
    if (*number == NAME_NONE)
        *number = add_certificate(registry, certificate, now_s);
    if (*number == NAME_NONE)
        return false;
    if (thing && thing[0]) {
        uint32_t name = names_intern(&registry->names, span_text(thing), now_s);
        if (name == NAME_NONE || !flag_name(registry, name, NAME_THING) || !set_thing(registry, *number, name))
            return false;
    }
    return set_changed(registry, *number, now_s) && set_status(registry, *number, status);
}

static bool store_certificate(struct cloud_registry *registry, uint32_t number, int64_t now_s, const char *event)
{
    if (!registry->database)
        return true;
    struct certificate_row row;
    registry_row(registry, number, &row);
    char thing[64] = "";
    if (row.thing != NAME_NONE)
        names_text(&registry->names, row.thing, thing);
    return database_put_certificate(registry->database, registry, number) &&
           database_put_history(registry->database, now_s, row.id, thing, event);
}

/* As a status of its own in the history: the row's status need not change. */
bool cloud_registry_revoke(struct cloud_registry *registry, const uint8_t certificate_id[32], int64_t now_s)
{
    uint32_t number = registry_find(registry, certificate_id);
    if (number == NAME_NONE)
        return false;
    if (registry_revoked_at(registry, number) != REVOKED_NEVER)
        return true;
    return registry_set_revoked(registry, number, now_s) && store_certificate(registry, number, now_s, "REVOKED_BY_CA");
}

bool cloud_registry_put_certificate(struct cloud_registry *registry, const struct cloud_certificate *certificate,
                                    enum cloud_certificate_status status, const char *thing, int64_t now_s)
{
    uint32_t number;
    return put_certificate(registry, certificate, status, thing, now_s, &number) &&
           store_certificate(registry, number, now_s, cloud_certificate_status_name(status));
}

bool registry_restore_certificate(struct cloud_registry *registry, const struct cloud_certificate *certificate,
                                  enum cloud_certificate_status status, const char *thing, int64_t registered_s,
                                  int64_t changed_s, int64_t revoked_s)
{
    uint32_t number;
    return put_certificate(registry, certificate, status, thing, registered_s, &number) &&
           set_changed(registry, number, changed_s) &&
           (revoked_s == REVOKED_NEVER || registry_set_revoked(registry, number, revoked_s));
}

bool registry_restore_name(struct cloud_registry *registry, const char *name, uint8_t flags, int64_t created_s)
{
    uint32_t number = names_intern(&registry->names, span_text(name), created_s);
    return number != NAME_NONE && (!(flags & NAME_THING) || flag_name(registry, number, NAME_THING)) &&
           (!(flags & NAME_ALLOWED) || flag_name(registry, number, NAME_ALLOWED));
}

bool cloud_registry_set_status(struct cloud_registry *registry, const uint8_t certificate_id[32],
                               enum cloud_certificate_status status, int64_t now_s)
{
    uint32_t number = registry_find(registry, certificate_id);
    if (number == NAME_NONE)
        return false;
    if (status_of(registry, number) == status)
        return true; /* idempotent, as UpdateCertificate is */
    return set_changed(registry, number, now_s) && set_status(registry, number, status) &&
           store_certificate(registry, number, now_s, cloud_certificate_status_name(status));
}

void registry_describe(const struct cloud_registry *registry, uint32_t number, struct cloud_certificate *out)
{
    struct certificate_row row;
    registry_row(registry, number, &row);
    memset(out, 0, sizeof(*out));
    memcpy(out->id, row.id, 32);
    memcpy(out->issuer_id, row.issuer, 32);
    out->serial = row.serial;
    out->not_before_s = row.not_before_s;
    out->not_after_s = row.not_after_s;
    names_text(&registry->names, row.common_name, out->common_name);
}

bool cloud_registry_certificate(const struct cloud_registry *registry, const uint8_t certificate_id[32],
                                struct cloud_certificate *out)
{
    uint32_t number = registry_find(registry, certificate_id);
    if (number == NAME_NONE)
        return false;
    registry_describe(registry, number, out);
    return true;
}

/* ---- forgetting --------------------------------------------------------------------------------------------------- */

/* Where there is no room to remember it, the row is lost to later ones, no more. */
static void keep_spare(struct cloud_registry *registry, uint32_t number)
{
    if (registry->spare_count == registry->spare_capacity) {
        uint32_t wanted = registry->spare_capacity + registry->spare_capacity / 2 + 8;
        uint32_t *spare = memory_resize(registry->spare, wanted * sizeof(*spare));
        if (!spare)
            return;
        registry->spare = spare;
        registry->spare_capacity = wanted;
    }
    registry->spare[registry->spare_count++] = number;
}

bool cloud_registry_forget_certificate(struct cloud_registry *registry, const uint8_t certificate_id[32])
{
    uint32_t number = registry_find(registry, certificate_id);
    if (number == NAME_NONE || !set_status(registry, number, CLOUD_CERTIFICATE_UNKNOWN))
        return false;
    uint8_t id[32];
    memcpy(id, certificate_id, sizeof(id)); /* may lie in the row itself */
    registry_detached(registry, number);
    registry_unset_revoked(registry, number);
    index_remove(&registry->by_id, number, hash_of_row, registry);
    keep_spare(registry, number);
    registry->counts.certificates--;
    return !registry->database || database_delete_certificate(registry->database, id);
}

struct one {
    bool found;
    uint8_t id[32];
};

static bool take_one(void *context, const struct cloud_certificate *certificate, enum cloud_certificate_status status)
{
    struct one *one = context;
    (void)status;
    one->found = true;
    memcpy(one->id, certificate->id, sizeof(one->id));
    return false;
}

bool cloud_registry_forget_thing(struct cloud_registry *registry, const char *thing)
{
    uint32_t number = names_find(&registry->names, span_text(thing));
    if (number == NAME_NONE || !(names_flags(&registry->names, number) & NAME_THING))
        return false;
    for (;;) {
        struct one one = {.found = false};
        cloud_registry_of_thing(registry, thing, take_one, &one);
        if (!one.found)
            break;
        if (!cloud_registry_forget_certificate(registry, one.id))
            return false;
    }
    if (!names_unflag(&registry->names, number, NAME_THING))
        return false;
    registry->counts.things--;
    return !registry->database || database_put_name(registry->database, registry, number);
}

bool cloud_registry_put_thing(struct cloud_registry *registry, const char *thing, int64_t now_s)
{
    uint32_t number = names_intern(&registry->names, span_text(thing), now_s);
    return number != NAME_NONE && flag_name(registry, number, NAME_THING);
}

static bool has_flag(const struct cloud_registry *registry, const char *name, uint8_t flag)
{
    uint32_t number = names_find(&registry->names, span_text(name));
    return number != NAME_NONE && (names_flags(&registry->names, number) & flag);
}

bool cloud_registry_has_thing(const struct cloud_registry *registry, const char *thing)
{
    return has_flag(registry, thing, NAME_THING);
}

bool cloud_registry_thing_of(const struct cloud_registry *registry, const uint8_t certificate_id[32], char thing[64])
{
    uint32_t number = registry_find(registry, certificate_id);
    uint32_t name = number == NAME_NONE ? NAME_NONE : registry_thing(registry, number);
    if (name == NAME_NONE)
        return false;
    names_text(&registry->names, name, thing);
    return true;
}

bool cloud_registry_allow(struct cloud_registry *registry, const char *common_name)
{
    uint32_t number = names_intern(&registry->names, span_text(common_name), 0);
    return number != NAME_NONE && flag_name(registry, number, NAME_ALLOWED);
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
    return sizeof(*registry) + names_bytes(&registry->names) + rows_bytes(&registry->certificates) +
           index_bytes(&registry->by_id) + registry->issuer_capacity * sizeof(*registry->issuers) +
           index_bytes(&registry->by_thing) + rows_bytes(&registry->revoked) + index_bytes(&registry->by_revoked) +
           registry->spare_capacity * sizeof(*registry->spare);
}
