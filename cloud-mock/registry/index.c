/* index.c: growing an index of rows. */
#include "index.h"

#include "memory.h"

#define SIZE_AT_FIRST 16u
#define NARROW_MAX    65534u /* the largest row number + 1 has to fit in 2 bytes */

void index_place(struct index *index, uint32_t hash, uint32_t number)
{
    uint32_t at = index_first(index, hash);
    while (index_slot(index, at))
        at = index_next(index, at);
    if (index->wide)
        ((uint32_t *)index->slots)[at] = number + 1;
    else
        ((uint16_t *)index->slots)[at] = (uint16_t)(number + 1);
    index->used++;
}

bool index_room(struct index *index, uint32_t number, uint32_t (*hash)(const void *context, uint32_t number),
                const void *context)
{
    bool full = (uint64_t)(index->used + 1) * 4 > (uint64_t)index->size * 3;
    bool widen = !index->wide && number > NARROW_MAX;
    if (!full && !widen)
        return true;
    uint64_t wanted = !full ? index->size : index->size ? index->size + (uint64_t)index->size / 4 : SIZE_AT_FIRST;
    struct index grown = {.size = (uint32_t)wanted, .wide = index->wide || widen};
    if (wanted > UINT32_MAX)
        return false;
    grown.slots = memory_allocate_zero(grown.size, grown.wide ? 4 : 2);
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
