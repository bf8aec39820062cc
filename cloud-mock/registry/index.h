/* index.h: where a row is, by a hash of what it is called: open addressing, linear probing, row numbers in 2 bytes while that is enough.
 * Grows when four fifths are taken, twofold while small, later by a quarter: 2.5 to 5 bytes a row, later 2.5 to 3.1, twice that beyond 65,534
 * rows. */
#ifndef REGISTRY_INDEX_H
#define REGISTRY_INDEX_H

#include "base.h"

struct index {
    void *slots; /* row numbers + 1; 0: free */
    uint32_t size, used;
    bool wide; /* 4 bytes a slot, not 2 */
};

/* Makes room for one more row, whose number is `number`; hash() says where the old ones belong. false: out of memory, unchanged. */
bool index_room(struct index *index, uint32_t number, uint32_t (*hash)(const void *context, uint32_t number),
                const void *context);
void index_place(struct index *index, uint32_t hash, uint32_t number);
/* Takes out a row that is in it; hash() must still say of every row what it said when it was placed. */
void index_remove(struct index *index, uint32_t number, uint32_t (*hash)(const void *context, uint32_t number),
                  const void *context);
uint64_t index_bytes(const struct index *index);
void index_free(struct index *index);

static inline uint32_t index_slot(const struct index *index, uint32_t at)
{
    return index->wide ? ((const uint32_t *)index->slots)[at] : ((const uint16_t *)index->slots)[at];
}

/* The first place to look; size must not be 0. The hash's upper bits count most. */
static inline uint32_t index_first(const struct index *index, uint32_t hash)
{
    return (uint32_t)((uint64_t)hash * index->size >> 32);
}

static inline uint32_t index_next(const struct index *index, uint32_t at)
{
    return at + 1 == index->size ? 0 : at + 1;
}

#endif
