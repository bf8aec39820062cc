/* due.h: what a service has to do later: a binary heap of numbers or pointers by due time, equal times in the order given. */
#ifndef SERVICES_DUE_H
#define SERVICES_DUE_H

#include "base.h"
#include "memory.h"

struct due_entry {
    int64_t at_us;
    uint64_t order; /* breaks ties */
    union {
        void *item;
        uint64_t id;
    };
};

struct due_heap {
    struct due_entry *entries;
    uint32_t count, capacity;
};

static inline bool due_sooner(const struct due_entry *a, const struct due_entry *b)
{
    return a->at_us < b->at_us || (a->at_us == b->at_us && a->order < b->order);
}

/* Room for one more; false: no memory, nothing changed. */
static inline bool due_room(struct due_heap *heap)
{
    if (heap->count < heap->capacity)
        return true;
    uint32_t capacity = heap->capacity ? heap->capacity * 2 : 8;
    struct due_entry *entries = memory_resize(heap->entries, capacity * sizeof *entries);
    if (!entries)
        return false;
    heap->entries = entries;
    heap->capacity = capacity;
    return true;
}

static inline bool due_push(struct due_heap *heap, struct due_entry entry)
{
    if (!due_room(heap))
        return false;
    uint32_t at = heap->count++;
    for (; at > 0 && due_sooner(&entry, &heap->entries[(at - 1) / 2]); at = (at - 1) / 2)
        heap->entries[at] = heap->entries[(at - 1) / 2];
    heap->entries[at] = entry;
    return true;
}

/* The soonest; there must be one. */
static inline struct due_entry due_pop(struct due_heap *heap)
{
    struct due_entry top = heap->entries[0], last = heap->entries[--heap->count];
    uint32_t at = 0;
    for (uint32_t child; (child = 2 * at + 1) < heap->count; at = child) {
        if (child + 1 < heap->count && due_sooner(&heap->entries[child + 1], &heap->entries[child]))
            child++;
        if (!due_sooner(&heap->entries[child], &last))
            break;
        heap->entries[at] = heap->entries[child];
    }
    if (heap->count)
        heap->entries[at] = last;
    return top;
}

static inline int64_t due_next_us(const struct due_heap *heap)
{
    return heap->count ? heap->entries[0].at_us : TIME_NEVER;
}

static inline uint64_t due_bytes(const struct due_heap *heap)
{
    return heap->capacity * sizeof *heap->entries;
}

#endif
