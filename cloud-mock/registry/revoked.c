/* revoked.c: certificates their CA has revoked, beside their status, and those that run out soon.
 *
 * A table of its own: most certificates are never revoked, and their rows need not know. A line whose certificate was forgotten stays and is told by the
 * index, which does not lead to it any more.
 */
#include "registry_internal.h"

enum column { CERTIFICATE, AT, COLUMNS };
_Static_assert(COLUMNS == REVOKED_COLUMNS, "as registry_internal.h says");

static uint32_t hash_of_certificate(uint32_t number)
{
    return (uint32_t)((number + UINT64_C(1)) * UINT64_C(0x9E3779B97F4A7C15) >> 32);
}

static uint32_t certificate_of(const struct cloud_registry *registry, uint32_t line)
{
    return (uint32_t)(rows_get(&registry->revoked, line, CERTIFICATE) + line);
}

static uint32_t hash_of_line(const void *context, uint32_t line)
{
    return hash_of_certificate(certificate_of(context, line));
}

static uint32_t find(const struct cloud_registry *registry, uint32_t number)
{
    const struct index *index = &registry->by_revoked;
    uint32_t slot;
    if (index->used == 0)
        return NAME_NONE;
    for (uint32_t at = index_first(index, hash_of_certificate(number)); (slot = index_slot(index, at)) != 0;
         at = index_next(index, at))
        if (certificate_of(registry, slot - 1) == number)
            return slot - 1;
    return NAME_NONE;
}

int64_t registry_revoked_at(const struct cloud_registry *registry, uint32_t number)
{
    uint32_t line = find(registry, number);
    return line == NAME_NONE ? REVOKED_NEVER : (int64_t)rows_get(&registry->revoked, line, AT);
}

bool registry_set_revoked(struct cloud_registry *registry, uint32_t number, int64_t at_s)
{
    uint32_t line = registry->revoked.count;
    uint64_t values[COLUMNS] = {[CERTIFICATE] = (uint64_t)number - line, [AT] = (uint64_t)at_s};
    if (!index_room(&registry->by_revoked, line, hash_of_line, registry) || !rows_add(&registry->revoked, values, NULL))
        return false;
    index_place(&registry->by_revoked, hash_of_certificate(number), line);
    return true;
}

void registry_unset_revoked(struct cloud_registry *registry, uint32_t number)
{
    uint32_t line = find(registry, number);
    if (line != NAME_NONE)
        index_remove(&registry->by_revoked, line, hash_of_line, registry);
}

bool cloud_registry_is_revoked(const struct cloud_registry *registry, const uint8_t certificate_id[32])
{
    if (registry->by_revoked.used == 0)
        return false;
    uint32_t number = registry_find(registry, certificate_id);
    return number != NAME_NONE && find(registry, number) != NAME_NONE;
}

void cloud_registry_revoked(const struct cloud_registry *registry,
                            bool (*visit)(void *context, const struct cloud_certificate *certificate, int64_t at_s),
                            void *context)
{
    struct cloud_certificate certificate;
    for (uint32_t line = 0; line < registry->revoked.count; line++) {
        uint32_t number = certificate_of(registry, line);
        if (find(registry, number) != line)
            continue;
        registry_describe(registry, number, &certificate);
        if (!visit(context, &certificate, (int64_t)rows_get(&registry->revoked, line, AT)))
            return;
    }
}

void cloud_registry_expiring(const struct cloud_registry *registry, int64_t not_after_s,
                             bool (*visit)(void *context, const struct cloud_certificate *certificate,
                                           const char *thing),
                             void *context)
{
    struct cloud_certificate certificate;
    struct certificate_row row;
    char thing[NAME_MAX_LENGTH + 1];
    for (uint32_t number = 0; number < registry->certificates.count; number++) {
        registry_row(registry, number, &row);
        if (row.status != CLOUD_CERTIFICATE_ACTIVE || row.not_after_s >= not_after_s || row.thing == NAME_NONE)
            continue;
        names_text(&registry->names, row.thing, thing);
        registry_describe(registry, number, &certificate);
        if (!visit(context, &certificate, thing))
            return;
    }
}
