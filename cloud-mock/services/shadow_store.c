/* shadow_store.c: shadows by thing and name. A thing has a handful, so they hang on its row in a list. */
#include "shadow_internal.h"

#include "memory.h"

static uint32_t hash_of(struct span text)
{
    uint64_t hash = UINT64_C(0xCBF29CE484222325);
    for (uint32_t i = 0; i < text.length; i++)
        hash = (hash ^ text.data[i]) * UINT64_C(0x100000001B3);
    hash = (hash ^ hash >> 32) * UINT64_C(0x9E3779B97F4A7C15);
    return (uint32_t)(hash >> 32);
}

static uint32_t hash_of_row(const void *context, uint32_t row)
{
    return ((const struct cloud_shadow *)context)->things[row].hash;
}

static uint32_t find_thing(const struct cloud_shadow *shadow, struct span name)
{
    const struct index *index = &shadow->index;
    if (!index->size)
        return SHADOW_NONE;
    uint32_t hash = hash_of(name);
    for (uint32_t at = index_first(index, hash), slot; (slot = index_slot(index, at)); at = index_next(index, at)) {
        const struct shadow_thing *thing = &shadow->things[slot - 1];
        if (thing->hash == hash && span_equal(span_of(thing->name, thing->name_length), name))
            return slot - 1;
    }
    return SHADOW_NONE;
}

static struct span name_of(const struct shadow_document *document)
{
    return span_of(document->bytes, document->name_length);
}

struct shadow_document *shadow_find(const struct cloud_shadow *shadow, struct span thing, struct span name)
{
    uint32_t row = find_thing(shadow, thing);
    struct shadow_document *document = row == SHADOW_NONE ? NULL : shadow->things[row].documents;
    while (document && !span_equal(name_of(document), name))
        document = document->next;
    return document;
}

uint32_t shadow_count_named(const struct cloud_shadow *shadow, struct span thing)
{
    uint32_t row = find_thing(shadow, thing), count = 0;
    if (row == SHADOW_NONE)
        return 0;
    for (const struct shadow_document *document = shadow->things[row].documents; document; document = document->next)
        count += document->exists && document->name_length;
    return count;
}

/* ---- things --------------------------------------------------------------------------------------------------------- */

static bool make_room(struct cloud_shadow *shadow)
{
    if (shadow->free_thing != SHADOW_NONE || shadow->thing_count < shadow->thing_capacity)
        return true;
    uint32_t capacity = shadow->thing_capacity ? shadow->thing_capacity + shadow->thing_capacity / 2 : 8;
    struct shadow_thing *things = memory_resize(shadow->things, capacity * sizeof(*things));
    if (!things)
        return false;
    shadow->things = things;
    shadow->thing_capacity = capacity;
    return true;
}

static uint32_t add_thing(struct cloud_shadow *shadow, struct span name)
{
    char *copy = make_room(shadow) ? memory_allocate(name.length) : NULL;
    if (!copy)
        return SHADOW_NONE;
    uint32_t row = shadow->free_thing != SHADOW_NONE ? shadow->free_thing : shadow->thing_count;
    if (!index_room(&shadow->index, row, hash_of_row, shadow)) {
        memory_free(copy);
        return SHADOW_NONE;
    }
    if (row == shadow->thing_count)
        shadow->thing_count++;
    else
        shadow->free_thing = shadow->things[row].hash;
    memcpy(copy, name.data, name.length);
    shadow->things[row] = (struct shadow_thing){.name = copy, .name_length = name.length, .hash = hash_of(name)};
    shadow->block_bytes += name.length;
    index_place(&shadow->index, shadow->things[row].hash, row);
    return row;
}

static size_t size_of(const struct shadow_document *document)
{
    return sizeof(*document) + document->name_length + document->packed_length;
}

static void free_document(struct cloud_shadow *shadow, struct shadow_document *document)
{
    shadow->block_bytes -= size_of(document);
    memory_free(document);
}

uint32_t cloud_shadow_forget(struct cloud_shadow *shadow, struct span thing)
{
    uint32_t row = find_thing(shadow, thing), count = 0;
    if (row == SHADOW_NONE)
        return 0;
    struct shadow_thing *found = &shadow->things[row];
    index_remove(&shadow->index, row, hash_of_row, shadow);
    for (struct shadow_document *document = found->documents, *next; document; document = next) {
        next = document->next;
        count += document->exists;
        free_document(shadow, document);
    }
    shadow->block_bytes -= found->name_length;
    memory_free(found->name);
    *found = (struct shadow_thing){.hash = shadow->free_thing};
    shadow->free_thing = row;
    shadow->counts.shadows -= count;
    return count;
}

/* ---- documents ------------------------------------------------------------------------------------------------------ */

struct shadow_document *shadow_store(struct cloud_shadow *shadow, struct span thing, struct span name,
                                     struct span packed)
{
    uint32_t row = find_thing(shadow, thing);
    size_t size = sizeof(struct shadow_document) + name.length + packed.length;
    struct shadow_document *document = memory_allocate_zero(1, size);
    if (document && row == SHADOW_NONE)
        row = add_thing(shadow, thing);
    if (!document || row == SHADOW_NONE) {
        memory_free(document);
        return NULL;
    }
    struct shadow_document **link = &shadow->things[row].documents, *old;
    while (*link && !span_equal(name_of(*link), name))
        link = &(*link)->next;
    old = *link;
    if (old)
        *document = *old;
    document->name_length = (uint8_t)name.length;
    document->packed_length = packed.length;
    if (name.length)
        memcpy(document->bytes, name.data, name.length);
    if (packed.length)
        memcpy(document->bytes + name.length, packed.data, packed.length);
    shadow->block_bytes += size;
    if (old)
        free_document(shadow, old);
    *link = document;
    return document;
}

/* The oldest that is deleted goes when there are too many of them: lists grow at the end. */
static void forget_deleted(struct cloud_shadow *shadow, struct shadow_thing *thing)
{
    uint32_t deleted = 0;
    for (const struct shadow_document *document = thing->documents; document; document = document->next)
        deleted += !document->exists && document->name_length;
    for (struct shadow_document **link = &thing->documents; *link && deleted > shadow->options.shadows_per_thing;) {
        struct shadow_document *document = *link;
        if (document->exists || !document->name_length) {
            link = &document->next;
            continue;
        }
        *link = document->next;
        free_document(shadow, document);
        deleted--;
    }
}

void shadow_bury(struct cloud_shadow *shadow, struct span thing, struct shadow_document *document)
{
    uint32_t row = find_thing(shadow, thing);
    struct shadow_document **link = &shadow->things[row].documents;
    while (*link != document)
        link = &(*link)->next;
    shadow->block_bytes -= document->packed_length;
    document->packed_length = 0;
    document->exists = document->differs = false;
    struct shadow_document *smaller = memory_resize(document, sizeof(*document) + document->name_length);
    if (smaller)
        document = smaller;
    *link = document->next;
    while (*link)
        link = &(*link)->next;
    document->next = NULL;
    *link = document;
    forget_deleted(shadow, &shadow->things[row]);
}

/* ---- the whole ------------------------------------------------------------------------------------------------------ */

struct cloud_shadow *cloud_shadow_create(const struct cloud_shadow_options *options)
{
    struct cloud_shadow *shadow = memory_allocate_zero(1, sizeof(*shadow));
    if (!shadow)
        return NULL;
    shadow->options = *options;
    struct cloud_shadow_options *o = &shadow->options;
    o->document_bytes = o->document_bytes ? o->document_bytes : 8192;
    o->document_bytes = o->document_bytes < SHADOW_DOCUMENT_MAX ? o->document_bytes : SHADOW_DOCUMENT_MAX;
    o->depth = o->depth ? o->depth : 8;
    o->depth = o->depth < SHADOW_DEPTH_MAX ? o->depth : SHADOW_DEPTH_MAX;
    o->requests_per_second = o->requests_per_second ? o->requests_per_second : 20;
    o->in_flight = o->in_flight ? o->in_flight : 10;
    o->shadows_per_thing = o->shadows_per_thing ? o->shadows_per_thing : 10;
    shadow->free_thing = SHADOW_NONE;
    return shadow;
}

void cloud_shadow_destroy(struct cloud_shadow *shadow)
{
    if (!shadow)
        return;
    for (uint32_t row = 0; row < shadow->thing_count; row++)
        if (shadow->things[row].name)
            cloud_shadow_forget(shadow, span_of(shadow->things[row].name, shadow->things[row].name_length));
    index_free(&shadow->index);
    memory_free(shadow->things);
    memory_free(shadow->answer);
    memory_free(shadow);
}

uint64_t cloud_shadow_version(const struct cloud_shadow *shadow, struct span thing, struct span name)
{
    const struct shadow_document *document = shadow_find(shadow, thing, name);
    return document && document->exists ? document->version : 0;
}

bool cloud_shadow_differs(const struct cloud_shadow *shadow, struct span thing, struct span name)
{
    const struct shadow_document *document = shadow_find(shadow, thing, name);
    return document && document->differs;
}

void cloud_shadow_count(const struct cloud_shadow *shadow, struct cloud_shadow_counts *out)
{
    *out = shadow->counts;
}

uint64_t cloud_shadow_bytes(const struct cloud_shadow *shadow)
{
    return sizeof(*shadow) + shadow->thing_capacity * sizeof(*shadow->things) + index_bytes(&shadow->index) +
           shadow->block_bytes;
}
