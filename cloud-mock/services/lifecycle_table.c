/* lifecycle_table.c: the vehicles that have something under way: by name, and by the time of what comes next. */
#include "lifecycle_internal.h"

#define BUCKETS_AT_FIRST 16 /* a power of two; doubled when there are more lives than buckets */

static uint32_t hash_of(struct span thing)
{
    uint32_t hash = 2166136261u;
    for (uint32_t i = 0; i < thing.length; i++)
        hash = (hash ^ thing.data[i]) * 16777619u;
    return hash ^ hash >> 15;
}

static struct life **place_of(const struct cloud_lifecycle *lifecycle, struct span thing)
{
    struct life **place = &lifecycle->bucket[hash_of(thing) & (lifecycle->bucket_count - 1)];
    while (*place && !span_equal(life_span(*place), thing))
        place = &(*place)->next;
    return place;
}

struct life *life_find(const struct cloud_lifecycle *lifecycle, struct span thing)
{
    return lifecycle->life_count ? *place_of(lifecycle, thing) : NULL;
}

static bool buckets_grow(struct cloud_lifecycle *lifecycle)
{
    uint32_t old_count = lifecycle->bucket_count, count = old_count ? old_count * 2 : BUCKETS_AT_FIRST;
    struct life **old = lifecycle->bucket, **bucket = memory_allocate_zero(count, sizeof *bucket);
    if (!bucket)
        return old_count != 0; /* longer chains, nothing worse */
    lifecycle->bucket = bucket;
    lifecycle->bucket_count = count;
    for (uint32_t b = 0; b < old_count; b++)
        for (struct life *life = old[b], *next; life; life = next) {
            next = life->next;
            struct life **place = place_of(lifecycle, life_span(life));
            life->next = NULL;
            *place = life;
        }
    memory_free(old);
    return true;
}

/* ---- by time --------------------------------------------------------------------------------------------------------- */

static bool sooner(const struct life *a, const struct life *b)
{
    return a->due_us < b->due_us || (a->due_us == b->due_us && a->order < b->order);
}

static void heap_put(struct cloud_lifecycle *lifecycle, uint32_t at, struct life *life)
{
    lifecycle->heap[at] = life;
    life->place = at + 1;
}

static void heap_up(struct cloud_lifecycle *lifecycle, uint32_t at, struct life *life)
{
    for (; at > 0 && sooner(life, lifecycle->heap[(at - 1) / 2]); at = (at - 1) / 2)
        heap_put(lifecycle, at, lifecycle->heap[(at - 1) / 2]);
    heap_put(lifecycle, at, life);
}

static void heap_down(struct cloud_lifecycle *lifecycle, uint32_t at, struct life *life)
{
    for (uint32_t child; (child = 2 * at + 1) < lifecycle->heap_count; at = child) {
        if (child + 1 < lifecycle->heap_count && sooner(lifecycle->heap[child + 1], lifecycle->heap[child]))
            child++;
        if (!sooner(lifecycle->heap[child], life))
            break;
        heap_put(lifecycle, at, lifecycle->heap[child]);
    }
    heap_up(lifecycle, at, life);
}

static void heap_remove(struct cloud_lifecycle *lifecycle, struct life *life)
{
    uint32_t at = life->place - 1;
    struct life *last = lifecycle->heap[--lifecycle->heap_count];
    life->place = 0;
    if (last != life)
        heap_down(lifecycle, at, last);
}

/* There is room for every life, taken when it is made: arming one cannot fail. */
static bool heap_room(struct cloud_lifecycle *lifecycle)
{
    if (lifecycle->life_count < lifecycle->heap_capacity)
        return true;
    uint32_t capacity = lifecycle->heap_capacity ? lifecycle->heap_capacity * 2 : 8;
    struct life **heap = memory_resize(lifecycle->heap, capacity * sizeof *heap);
    if (!heap)
        return false;
    lifecycle->heap = heap;
    lifecycle->heap_capacity = capacity;
    return true;
}

/* ---- coming and going ------------------------------------------------------------------------------------------------ */

struct life *life_make(struct cloud_lifecycle *lifecycle, struct span thing)
{
    struct life *life = life_find(lifecycle, thing);
    if (life || thing.length == 0 || thing.length > 63)
        return life;
    if (lifecycle->life_count >= lifecycle->bucket_count && !buckets_grow(lifecycle))
        return NULL;
    life = heap_room(lifecycle) ? memory_allocate_zero(1, sizeof *life + thing.length) : NULL;
    if (!life)
        return NULL;
    life->due_us = life->cut_us = life->lost_us = life->again_us = TIME_NEVER;
    life->forget_us = life->suspected_us = TIME_NEVER;
    life->order = lifecycle->orders++;
    life->length = (uint8_t)thing.length;
    memcpy(life->thing, thing.data, thing.length);
    *place_of(lifecycle, thing) = life;
    lifecycle->life_count++;
    lifecycle->life_bytes += sizeof *life + thing.length;
    return life;
}

static void life_free(struct cloud_lifecycle *lifecycle, struct life *life)
{
    struct life **place = place_of(lifecycle, life_span(life));
    *place = life->next;
    if (life->place)
        heap_remove(lifecycle, life);
    lifecycle->life_count--;
    lifecycle->life_bytes -= sizeof *life + life->length;
    memory_free(life);
}

static int64_t earliest(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

void life_settle(struct cloud_lifecycle *lifecycle, struct life *life)
{
    int64_t due_us = earliest(earliest(life->cut_us, life->again_us), earliest(life->forget_us, life->suspected_us));
    if (life->place)
        heap_remove(lifecycle, life);
    life->due_us = due_us;
    if (due_us != TIME_NEVER)
        heap_up(lifecycle, lifecycle->heap_count++, life);
    else if (!life->rotating && !life->taken_over && !life->kept_data)
        life_free(lifecycle, life);
}

void life_free_all(struct cloud_lifecycle *lifecycle)
{
    for (uint32_t b = 0; b < lifecycle->bucket_count; b++)
        while (lifecycle->bucket[b]) {
            struct life *life = lifecycle->bucket[b];
            lifecycle->bucket[b] = life->next;
            memory_free(life);
        }
    memory_free(lifecycle->bucket);
    memory_free(lifecycle->heap);
}

void life_due(struct cloud_lifecycle *lifecycle)
{
    int64_t due_us = lifecycle->heap_count ? lifecycle->heap[0]->due_us : TIME_NEVER;
    due_us = earliest(due_us, cloud_jobs_next_deadline(lifecycle->jobs));
    due_us = earliest(due_us, cloud_provisioning_next_deadline(lifecycle->provisioning));
    for (int i = 0; i < LIFE_REASONS; i++)
        if (lifecycle->batch[i].open)
            due_us = earliest(due_us, lifecycle->batch[i].at_us);
    lifecycle->due.next_us = due_us;
}
