/* index.c: growing an index of rows. */
#include "index.h"

#include "memory.h"

#define BYTES_AT_FIRST 32u
#define BYTES_DOUBLED  8192u  /* up to here by doubling, so that what is given back has a size that others want */
#define BYTES_STEP     4096u  /* and from here on in pages, by a quarter */
#define NARROW_MAX     65534u /* the largest row number + 1 has to fit in 2 bytes */

static void put_slot(struct index *index, uint32_t at, uint32_t slot)
{
    if (index->wide)
        ((uint32_t *)index->slots)[at] = slot;
    else
        ((uint16_t *)index->slots)[at] = (uint16_t)slot;
}

void index_place(struct index *index, uint32_t hash, uint32_t number)
{
    uint32_t at = index_first(index, hash);
    while (index_slot(index, at))
        at = index_next(index, at);
    put_slot(index, at, number + 1);
    index->used++;
}

/* How far `at` lies behind `from`, around the end. */
static uint32_t distance(const struct index *index, uint32_t from, uint32_t at)
{
    return at >= from ? at - from : at + (index->size - from);
}

/* No tombstones: what was pushed behind the hole moves up, so that looking stays as short as it was. */
void index_remove(struct index *index, uint32_t number, uint32_t (*hash)(const void *context, uint32_t number),
                  const void *context)
{
    uint32_t hole = index_first(index, hash(context, number)), slot;
    while ((slot = index_slot(index, hole)) != number + 1) {
        ASSERT(slot != 0);
        hole = index_next(index, hole);
    }
    for (uint32_t at = index_next(index, hole); (slot = index_slot(index, at)) != 0; at = index_next(index, at)) {
        uint32_t home = index_first(index, hash(context, slot - 1));
        if (distance(index, home, at) < distance(index, hole, at))
            continue;
        put_slot(index, hole, slot);
        hole = at;
    }
    put_slot(index, hole, 0);
    index->used--;
}

static uint64_t grown_bytes(uint64_t bytes)
{
    if (bytes < BYTES_DOUBLED)
        return bytes ? bytes * 2 : BYTES_AT_FIRST;
    return (bytes + bytes / 4 + BYTES_STEP - 1) / BYTES_STEP * BYTES_STEP;
}

bool index_room(struct index *index, uint32_t number, uint32_t (*hash)(const void *context, uint32_t number),
                const void *context)
{
    bool full = (uint64_t)(index->used + 1) * 5 > (uint64_t)index->size * 4;
    bool widen = !index->wide && number > NARROW_MAX;
    if (!full && !widen)
        return true;
    bool wide = index->wide || widen;
    uint64_t wanted = full ? grown_bytes(index_bytes(index)) / (index->wide ? 4 : 2) : index->size;
    if (wanted > UINT32_MAX)
        return false;
    struct index grown = {.size = (uint32_t)wanted, .wide = wide};
    grown.slots = memory_allocate_zero(grown.size, wide ? 4 : 2);
    if (!grown.slots)
        return false;
    for (uint32_t at = 0; at < index->size; at++) {
        uint32_t slot = index_slot(index, at);
        if (slot)
            index_place(&grown, hash(context, slot - 1), slot - 1);
    }
    memory_free(index->slots);
    *index = grown;
    return true;
}

uint64_t index_bytes(const struct index *index)
{
    return (uint64_t)index->size * (index->wide ? 4 : 2);
}

void index_free(struct index *index)
{
    memory_free(index->slots);
}
