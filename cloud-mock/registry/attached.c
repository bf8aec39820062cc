/* attached.c: from a thing to its certificates.
 *
 * The index is made when somebody first asks, 2.5 to 6 bytes a certificate from then on: fleets in which nobody rotates never pay it. When there is
 * no memory for it, it goes, and questions are answered by looking at every row. Certificates of one thing lie in one run of places.
 */
#include "registry_internal.h"

static uint32_t hash_of_thing(uint32_t thing)
{
    return (uint32_t)((thing + UINT64_C(1)) * UINT64_C(0x9E3779B97F4A7C15) >> 32);
}

static uint32_t hash_of_row(const void *context, uint32_t number)
{
    return hash_of_thing(registry_thing(context, number));
}

static bool add(struct cloud_registry *registry, uint32_t number)
{
    uint32_t thing = registry_thing(registry, number);
    if (thing == NAME_NONE)
        return true;
    if (!index_room(&registry->by_thing, number, hash_of_row, registry)) {
        index_free(&registry->by_thing);
        registry->by_thing = (struct index){0};
        return false;
    }
    index_place(&registry->by_thing, hash_of_thing(thing), number);
    return true;
}

void registry_attached(struct cloud_registry *registry, uint32_t number)
{
    if (registry->by_thing.size)
        add(registry, number);
}

void registry_detached(struct cloud_registry *registry, uint32_t number)
{
    if (registry->by_thing.size && registry_thing(registry, number) != NAME_NONE)
        index_remove(&registry->by_thing, number, hash_of_row, registry);
}

static bool is_there(const struct cloud_registry *registry, uint32_t number)
{
    return registry_find(registry, rows_fixed(&registry->certificates, number)) == number;
}

static void make(struct cloud_registry *registry)
{
    for (uint32_t number = 0; number < registry->certificates.count; number++)
        if (is_there(registry, number) && !add(registry, number))
            return;
}

/* The order they were put: rows of forgotten ones are taken again, so the second they were registered comes first. */
struct place {
    int64_t registered_s;
    uint32_t number; /* NAME_NONE: none */
};

static bool before(struct place a, struct place b)
{
    return a.registered_s != b.registered_s ? a.registered_s < b.registered_s : a.number < b.number;
}

static void consider(const struct cloud_registry *registry, uint32_t thing, uint32_t number, struct place last,
                     struct place *best)
{
    if (registry_thing(registry, number) != thing)
        return;
    struct place place = {registry_registered(registry, number), number};
    if ((last.number == NAME_NONE || before(last, place)) && (best->number == NAME_NONE || before(place, *best)))
        *best = place;
}

/* Looks anew each time, so that the visitor may change what it is told of. A thing has few. */
static struct place after(const struct cloud_registry *registry, uint32_t thing, struct place last)
{
    const struct index *index = &registry->by_thing;
    struct place best = {0, NAME_NONE};
    uint32_t slot;
    if (index->size == 0) {
        for (uint32_t number = 0; number < registry->certificates.count; number++)
            if (is_there(registry, number))
                consider(registry, thing, number, last, &best);
        return best;
    }
    for (uint32_t at = index_first(index, hash_of_thing(thing)); (slot = index_slot(index, at)) != 0;
         at = index_next(index, at))
        consider(registry, thing, slot - 1, last, &best);
    return best;
}

void cloud_registry_of_thing(const struct cloud_registry *registry, const char *thing,
                             bool (*visit)(void *context, const struct cloud_certificate *certificate,
                                           enum cloud_certificate_status status),
                             void *context)
{
    uint32_t name = names_find(&registry->names, span_text(thing));
    if (name == NAME_NONE)
        return;
    if (registry->by_thing.size == 0)
        make((struct cloud_registry *)registry); /* a cache: what the registry says stays the same */
    struct place last = {0, NAME_NONE};
    struct cloud_certificate certificate;
    while ((last = after(registry, name, last)).number != NAME_NONE) {
        registry_describe(registry, last.number, &certificate);
        if (!visit(context, &certificate, cloud_registry_status(registry, certificate.id)))
            return;
    }
}
