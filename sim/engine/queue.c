/* The pending-event set: three levels of 1,024 time buckets, appended to blindly and sorted only when a window is opened.
 *
 * Why: a heap pays log N dependent cache misses an event. Here a push appends 8 bytes to a bucket's tail and a pop streams
 * a sorted array, so no event that lies somewhere in memory is ever looked for.
 *
 * Levels. The first has buckets one window wide; each bucket of the next is as wide as 1,024 of the one below (the third is
 * held at 2^33 us, because 33 bits of time are what an event has room for). All three roll: a bucket's place is its number
 * modulo 1,024, and a push goes to the lowest level that reaches far enough from the cursor. When the cursor comes to the
 * start of a bucket of a higher level, its events are dealt out one level down. What lies beyond the third level (102 days
 * with the standard window) waits in an unordered list with full times until the cursor comes to it.
 *
 * Invariants
 * - `cursor` is the number of the first window not yet opened; window cursor - 1 is open (or was, or never had an event).
 * - Nothing in any level lies before the cursor. Pushes into window cursor - 1 go to the small heap.
 * - The cursor never passes the window that holds the `until_us` of a run, so whatever is pushed later is not behind it.
 *
 * Memory: 512-byte chunks (a link and 63 events) from blocks kept until the end. The limit is checked where events come in; what
 * is already inside is never lost to it, so dealing out and sorting may pass it (a chunk a bucket, and the open window's array).
 */
#include "sim/engine.h"

#include <stdlib.h>
#ifdef __linux__
#include <sys/mman.h>
#endif

#define LEVELS            3
#define LEVEL_BITS        10
#define LEVEL_BUCKETS     (1u << LEVEL_BITS)
#define BITMAP_WORDS      (LEVEL_BUCKETS / 64)
#define OFFSET_BITS       33
#define LOW_BITS          (SIM_ENTITY_BITS + SIM_CLASS_BITS)
#define CHUNK_BYTES       512
#define CHUNK_EVENTS      63
#define OVERFLOW_PAIRS    31
#define BLOCK_BYTES_FIRST (64u << 10)
#define BLOCK_BYTES_MOST  (2u << 20)
#define INSERTION_MOST    16 /* fewer events than this in a window: no counting */
#define CLUSTER_MOST      24 /* more in one slot: times are bunched, insertion would go square */
#define PREFETCH_AHEAD    16
#define NEXT_UNKNOWN      INT64_MIN

_Static_assert(OFFSET_BITS + LOW_BITS == 64, "an event is one word: time, entity, class");

#define LIKELY(condition)   __builtin_expect(!!(condition), 1)
#define UNLIKELY(condition) __builtin_expect(!!(condition), 0)

struct chunk {
    struct chunk *older;
    uint64_t events[CHUNK_EVENTS];
};
_Static_assert(sizeof(struct chunk) == CHUNK_BYTES, "the end of a chunk is found by its alignment");

struct far_event {
    int64_t time_us;
    uint64_t low;
};

/* Chunk of the list beyond the third level. */
struct far_chunk {
    struct far_chunk *older;
    struct far_event events[OVERFLOW_PAIRS];
    uint64_t unused;
};
_Static_assert(sizeof(struct far_chunk) == CHUNK_BYTES, "far chunks come from the same free list");

/* write[b]: where bucket b's next event goes; NULL: empty. Chunk-aligned: its last chunk is full and ends there. */
struct level {
    uint64_t *write[LEVEL_BUCKETS];
    uint64_t present[BITMAP_WORDS];
    uint32_t present_words;
    uint32_t shift; /* log2 of a bucket's width in us */
};

struct block {
    struct block *next;
};

struct keys {
    uint64_t *at;
    size_t count, capacity;
};

struct sim_queue {
    uint64_t cursor;
    uint32_t window_shift;
    bool running;
    int64_t event_us; /* time of the event handled last */
    int64_t now_us;   /* the same, or the end of the last run */
    int64_t next_us;  /* earliest on the levels and beyond, kept up by pushes; NEXT_UNKNOWN: look again */

    int64_t open_us; /* start of the open window; keys below count from here */
    struct keys open, heap, scratch;
    size_t open_next;

    uint64_t in_levels, in_far;
    struct far_chunk *far;
    int64_t far_first_us; /* earliest of them */

    struct chunk *free;
    struct block *blocks;
    uint8_t *fresh, *fresh_end; /* of the newest block, not yet handed out */
    size_t block_bytes;
    uint64_t bytes, limit_bytes;

    struct level level[LEVELS];
    uint32_t slots[1u << 14]; /* counters of the sort */
};

/* ---- memory ------------------------------------------------------------------------------------------------------- */

static bool over_limit(const struct sim_queue *queue, uint64_t more)
{
    return queue->limit_bytes != 0 && queue->bytes + more > queue->limit_bytes;
}

static bool block_add(struct sim_queue *queue, bool forced)
{
    size_t size = queue->block_bytes;
    if (!forced && over_limit(queue, size)) {
        /* The last block before the limit is as large as still fits. */
        size = queue->limit_bytes > queue->bytes ? (queue->limit_bytes - queue->bytes) & ~(size_t)4095 : 0;
        if (size == 0)
            return false;
    }
    size_t alignment = size == BLOCK_BYTES_MOST ? BLOCK_BYTES_MOST : 4096;
    uint8_t *memory = aligned_alloc(alignment, size);
    if (memory == NULL)
        return false;
#ifdef MADV_HUGEPAGE
    if (size == BLOCK_BYTES_MOST)
        (void)madvise(memory, size, MADV_HUGEPAGE);
#endif
    struct block *block = (struct block *)memory;
    block->next = queue->blocks;
    queue->blocks = block;
    queue->fresh = memory + CHUNK_BYTES; /* the block's own link takes the first chunk's place */
    queue->fresh_end = memory + size;
    queue->bytes += size;
    if (queue->block_bytes < BLOCK_BYTES_MOST)
        queue->block_bytes *= 2;
    return true;
}

static inline void *chunk_take(struct sim_queue *queue, bool forced)
{
    struct chunk *chunk = queue->free;
    if (LIKELY(chunk != NULL)) {
        queue->free = chunk->older;
        return chunk;
    }
    if (queue->fresh == queue->fresh_end && !block_add(queue, forced))
        return NULL;
    chunk = (struct chunk *)queue->fresh;
    queue->fresh += CHUNK_BYTES;
    return chunk;
}

static inline void chunk_give(struct sim_queue *queue, void *memory)
{
    struct chunk *chunk = memory;
    chunk->older = queue->free;
    queue->free = chunk;
}

static bool keys_reserve(struct sim_queue *queue, struct keys *keys, size_t count, bool forced)
{
    if (count <= keys->capacity)
        return true;
    size_t capacity = keys->capacity ? keys->capacity : 512;
    while (capacity < count)
        capacity *= 2;
    uint64_t more = (capacity - keys->capacity) * sizeof(uint64_t);
    if (!forced && over_limit(queue, more))
        return false;
    uint64_t *grown = realloc(keys->at, capacity * sizeof(uint64_t));
    if (grown == NULL)
        return false;
    keys->at = grown;
    keys->capacity = capacity;
    queue->bytes += more;
    return true;
}

/* One crowded window must not hold memory for ever. Only called while the array is empty. */
static void keys_shrink(struct sim_queue *queue, struct keys *keys, size_t wanted)
{
    if (keys->capacity <= (64u << 10) || keys->capacity / 64 < wanted)
        return;
    queue->bytes -= keys->capacity * sizeof(uint64_t);
    free(keys->at);
    *keys = (struct keys){0};
}

struct sim_queue *sim_queue_create(const struct sim_queue_options *options)
{
    int64_t window_us = options != NULL && options->window_us != 0 ? options->window_us : 8192;
    ASSERT(window_us >= 1024 && window_us <= 16384 && (window_us & (window_us - 1)) == 0);
    struct sim_queue *queue = calloc(1, sizeof *queue);
    if (queue == NULL)
        return NULL;
    queue->window_shift = (uint32_t)__builtin_ctzll((uint64_t)window_us);
    for (uint32_t i = 0; i < LEVELS; i++) {
        uint32_t shift = queue->window_shift + i * LEVEL_BITS;
        queue->level[i].shift = shift < OFFSET_BITS ? shift : OFFSET_BITS;
    }
    queue->open_us = -window_us;
    queue->far_first_us = TIME_NEVER;
    queue->next_us = NEXT_UNKNOWN;
    queue->block_bytes = BLOCK_BYTES_FIRST;
    queue->bytes = sizeof *queue;
    queue->limit_bytes = options != NULL ? options->limit_bytes : 0;
    return queue;
}

void sim_queue_destroy(struct sim_queue *queue)
{
    if (queue == NULL)
        return;
    for (struct block *block = queue->blocks, *next; block != NULL; block = next) {
        next = block->next;
        free(block);
    }
    free(queue->open.at);
    free(queue->heap.at);
    free(queue->scratch.at);
    free(queue);
}

uint64_t sim_queue_pending(const struct sim_queue *queue)
{
    return queue->in_levels + queue->in_far + (queue->open.count - queue->open_next) + queue->heap.count;
}

uint64_t sim_queue_bytes(const struct sim_queue *queue)
{
    return queue->bytes;
}

/* ---- the heap of the open window ---------------------------------------------------------------------------------- */

static bool heap_push(struct sim_queue *queue, uint64_t key, bool forced)
{
    if (UNLIKELY(!keys_reserve(queue, &queue->heap, queue->heap.count + 1, forced)))
        return false;
    uint64_t *at = queue->heap.at;
    size_t hole = queue->heap.count++;
    while (hole > 0 && at[(hole - 1) / 2] > key) {
        at[hole] = at[(hole - 1) / 2];
        hole = (hole - 1) / 2;
    }
    at[hole] = key;
    return true;
}

static uint64_t heap_pop(struct sim_queue *queue)
{
    uint64_t *at = queue->heap.at;
    uint64_t top = at[0];
    size_t count = --queue->heap.count;
    uint64_t last = at[count];
    size_t hole = 0;
    for (size_t child = 1; child < count; child = 2 * hole + 1) {
        if (child + 1 < count && at[child + 1] < at[child])
            child++;
        if (at[child] >= last)
            break;
        at[hole] = at[child];
        hole = child;
    }
    at[hole] = last;
    return top;
}

/* ---- levels ------------------------------------------------------------------------------------------------------- */

static __attribute__((noinline)) uint64_t *bucket_extend(struct sim_queue *queue, struct level *level, uint32_t bucket,
                                                         bool forced)
{
    struct chunk *chunk = chunk_take(queue, forced);
    if (chunk == NULL)
        return NULL;
    uint64_t *write = level->write[bucket];
    chunk->older = write != NULL ? (struct chunk *)write - 1 : NULL;
    level->present[bucket / 64] |= UINT64_C(1) << (bucket % 64);
    level->present_words |= 1u << (bucket / 64);
    return chunk->events;
}

static inline bool bucket_append(struct sim_queue *queue, struct level *level, uint32_t bucket, uint64_t event,
                                 bool forced)
{
    uint64_t *write = level->write[bucket];
    if (UNLIKELY(((uintptr_t)write & (CHUNK_BYTES - 1)) == 0)) {
        write = bucket_extend(queue, level, bucket, forced);
        if (write == NULL)
            return false;
    }
    *write = event;
    level->write[bucket] = write + 1;
    return true;
}

/* The newest chunk of a bucket and how many events it holds; every older one is full. */
static inline struct chunk *bucket_newest(uint64_t *write, uint32_t *count)
{
    struct chunk *chunk = (struct chunk *)(((uintptr_t)write - 1) & ~(uintptr_t)(CHUNK_BYTES - 1));
    *count = (uint32_t)(write - chunk->events);
    return chunk;
}

static inline uint64_t *bucket_detach(struct level *level, uint32_t bucket)
{
    uint64_t *write = level->write[bucket];
    level->write[bucket] = NULL;
    level->present[bucket / 64] &= ~(UINT64_C(1) << (bucket % 64));
    if (level->present[bucket / 64] == 0)
        level->present_words &= ~(1u << (bucket / 64));
    return write;
}

/* Number (not modulo) of the first bucket at or after `from` that holds something; UINT64_MAX if none does. */
static inline uint64_t level_first(const struct level *level, uint64_t from)
{
    if (level->present_words == 0)
        return UINT64_MAX;
    uint32_t start = (uint32_t)from & (LEVEL_BUCKETS - 1), word = start / 64, bit = start % 64;
    uint64_t here = level->present[word] >> bit;
    if (here != 0)
        return from + (uint32_t)__builtin_ctzll(here);
    /* The words after this one, then round to this one's lower bits. */
    uint32_t doubled = level->present_words | level->present_words << BITMAP_WORDS;
    uint32_t later = doubled >> (word + 1);
    uint32_t ahead = later != 0 ? (uint32_t)__builtin_ctz(later) + 1 : BITMAP_WORDS;
    uint64_t there = level->present[(word + ahead) % BITMAP_WORDS];
    return from - bit + 64 * ahead + (uint32_t)__builtin_ctzll(there);
}

static inline uint64_t cursor_bucket(const struct sim_queue *queue, const struct level *level)
{
    return queue->cursor >> (level->shift - queue->window_shift);
}

static inline void chunk_prefetch(const struct chunk *chunk)
{
    for (uint32_t line = 0; line < CHUNK_BYTES; line += 64)
        __builtin_prefetch((const char *)chunk + line);
}

/* Deals bucket `number` of level `from` out to the buckets of the level below. */
static void level_deal(struct sim_queue *queue, uint32_t from, uint64_t number)
{
    struct level *level = &queue->level[from], *below = &queue->level[from - 1];
    uint32_t fan_bits = level->shift - below->shift;
    uint32_t base = (uint32_t)(number << fan_bits) & (LEVEL_BUCKETS - 1), mask = (1u << fan_bits) - 1;
    uint32_t shift = LOW_BITS + below->shift, count;
    struct chunk *chunk = bucket_newest(bucket_detach(level, (uint32_t)number & (LEVEL_BUCKETS - 1)), &count);
    if (chunk->older != NULL)
        chunk_prefetch(chunk->older);
    while (chunk != NULL) {
        struct chunk *older = chunk->older;
        if (older != NULL && older->older != NULL)
            chunk_prefetch(older->older);
        for (uint32_t i = 0; i < count; i++) {
            uint64_t event = chunk->events[i];
            bool kept = bucket_append(queue, below, base | ((uint32_t)(event >> shift) & mask), event, true);
            ASSERT(kept);
        }
        chunk_give(queue, chunk);
        chunk = older;
        count = CHUNK_EVENTS;
    }
}

/* ---- beyond the third level --------------------------------------------------------------------------------------- */

static bool far_append(struct sim_queue *queue, int64_t time_us, uint64_t low, bool forced)
{
    uint32_t place = (uint32_t)(queue->in_far % OVERFLOW_PAIRS);
    if (place == 0) {
        struct far_chunk *chunk = chunk_take(queue, forced);
        if (chunk == NULL)
            return false;
        chunk->older = queue->far;
        queue->far = chunk;
    }
    queue->far->events[place] = (struct far_event){time_us, low};
    queue->in_far++;
    if (time_us < queue->far_first_us)
        queue->far_first_us = time_us;
    return true;
}

/* Moves what the third level now reaches; happens at most once in a full turn of that level. */
static void far_review(struct sim_queue *queue)
{
    struct level *top = &queue->level[LEVELS - 1];
    struct far_chunk *chunk = queue->far;
    uint32_t count = queue->in_far % OVERFLOW_PAIRS ? queue->in_far % OVERFLOW_PAIRS : OVERFLOW_PAIRS;
    queue->far = NULL;
    queue->in_far = 0;
    queue->far_first_us = TIME_NEVER;
    while (chunk != NULL) {
        struct far_chunk *older = chunk->older;
        for (uint32_t i = 0; i < count; i++) {
            struct far_event event = chunk->events[i];
            uint64_t bucket = (uint64_t)event.time_us >> top->shift;
            bool kept;
            if (bucket - cursor_bucket(queue, top) < LEVEL_BUCKETS) {
                kept = bucket_append(queue, top, (uint32_t)bucket & (LEVEL_BUCKETS - 1),
                                     (uint64_t)event.time_us << LOW_BITS | event.low, true);
                queue->in_levels++;
            } else {
                kept = far_append(queue, event.time_us, event.low, true);
            }
            ASSERT(kept);
        }
        chunk_give(queue, chunk);
        chunk = older;
        count = OVERFLOW_PAIRS;
    }
}

/* ---- push --------------------------------------------------------------------------------------------------------- */

/* Beyond the second level: the third, or the list. */
static __attribute__((noinline)) bool push_further(struct sim_queue *queue, int64_t time_us, uint64_t low, bool forced)
{
    struct level *top = &queue->level[LEVELS - 1];
    uint64_t bucket = (uint64_t)time_us >> top->shift;
    if (bucket - cursor_bucket(queue, top) >= LEVEL_BUCKETS)
        return far_append(queue, time_us, low, forced);
    bool kept =
        bucket_append(queue, top, (uint32_t)bucket & (LEVEL_BUCKETS - 1), (uint64_t)time_us << LOW_BITS | low, forced);
    queue->in_levels += kept;
    return kept;
}

static inline bool push(struct sim_queue *queue, int64_t time_us, uint32_t entity, uint8_t class, bool forced)
{
    ASSERT(time_us >= queue->event_us && time_us < TIME_NEVER);
    ASSERT(entity < (1u << SIM_ENTITY_BITS) && class < (1u << SIM_CLASS_BITS));
    uint64_t low = (uint64_t)entity << SIM_CLASS_BITS | class;
    uint64_t window = (uint64_t)time_us >> queue->window_shift, ahead = window - queue->cursor;
    bool kept;
    if (ahead < LEVEL_BUCKETS) {
        kept = bucket_append(queue, &queue->level[0], (uint32_t)window & (LEVEL_BUCKETS - 1),
                             (uint64_t)time_us << LOW_BITS | low, forced);
        queue->in_levels += kept;
    } else if (UNLIKELY(time_us < queue->open_us + ((int64_t)1 << queue->window_shift))) {
        ASSERT(time_us >= queue->open_us);
        return heap_push(queue, (uint64_t)(time_us - queue->open_us) << LOW_BITS | low, forced);
    } else {
        struct level *level = &queue->level[1];
        uint64_t bucket = (uint64_t)time_us >> level->shift;
        if (LIKELY(bucket - cursor_bucket(queue, level) < LEVEL_BUCKETS)) {
            kept = bucket_append(queue, level, (uint32_t)bucket & (LEVEL_BUCKETS - 1),
                                 (uint64_t)time_us << LOW_BITS | low, forced);
            queue->in_levels += kept;
        } else {
            kept = push_further(queue, time_us, low, forced);
        }
    }
    if (time_us < queue->next_us && kept)
        queue->next_us = time_us;
    return kept;
}

bool sim_queue_push(struct sim_queue *queue, int64_t time_us, uint32_t entity, uint8_t class)
{
    return push(queue, time_us, entity, class, false);
}

/* ---- opening a window --------------------------------------------------------------------------------------------- */

static void sort_insertion(uint64_t *at, size_t count)
{
    for (size_t i = 1; i < count; i++) {
        uint64_t key = at[i];
        size_t hole = i;
        while (hole > 0 && at[hole - 1] > key) {
            at[hole] = at[hole - 1];
            hole--;
        }
        at[hole] = key;
    }
}

/* Least digit first over the whole key; for windows whose times are bunched, where counting by time alone is not enough. */
static void sort_digits(struct sim_queue *queue, struct keys *keys, uint32_t key_bits)
{
    bool room = keys_reserve(queue, &queue->scratch, keys->count, true);
    ASSERT(room);
    uint32_t digit_bits = keys->count < 4096 ? 8 : 11, digits = 1u << digit_bits;
    uint32_t *slots = queue->slots;
    for (uint32_t shift = 0; shift < key_bits; shift += digit_bits) {
        uint64_t *from = keys->at, *to = queue->scratch.at;
        memset(slots, 0, digits * sizeof *slots);
        for (size_t i = 0; i < keys->count; i++)
            slots[from[i] >> shift & (digits - 1)]++;
        if (slots[from[0] >> shift & (digits - 1)] == keys->count)
            continue;
        for (uint32_t i = 0, place = 0; i < digits; i++) {
            uint32_t here = slots[i];
            slots[i] = place;
            place += here;
        }
        for (size_t i = 0; i < keys->count; i++)
            to[slots[from[i] >> shift & (digits - 1)]++] = from[i];
        size_t capacity = keys->capacity;
        keys->at = to;
        keys->capacity = queue->scratch.capacity;
        queue->scratch.at = from;
        queue->scratch.capacity = capacity;
    }
}

/* One counting pass by the highest bits of the time, fine enough that about one event falls into a slot, then insertion
 * over neighbours, which settles ties by entity and class as well. */
static void open_counted(struct sim_queue *queue, struct chunk *newest, uint32_t newest_count)
{
    uint32_t key_bits = queue->window_shift + LOW_BITS;
    uint64_t mask = (UINT64_C(1) << key_bits) - 1;
    size_t total = newest_count;
    for (struct chunk *chunk = newest->older; chunk != NULL; chunk = chunk->older) {
        __builtin_prefetch(chunk->older);
        total += CHUNK_EVENTS;
    }
    uint32_t slot_bits = 64 - (uint32_t)__builtin_clzll(total - 1);
    if (slot_bits > queue->window_shift)
        slot_bits = queue->window_shift;
    uint32_t shift = key_bits - slot_bits, most = 0, count = newest_count;
    uint32_t *slots = queue->slots;
    memset(slots, 0, sizeof *slots << slot_bits);
    for (struct chunk *chunk = newest; chunk != NULL; chunk = chunk->older, count = CHUNK_EVENTS) {
        for (uint32_t i = 0; i < count; i++)
            slots[(chunk->events[i] & mask) >> shift]++;
    }
    for (uint32_t i = 0, place = 0; i < 1u << slot_bits; i++) {
        uint32_t here = slots[i];
        most = here > most ? here : most;
        slots[i] = place;
        place += here;
    }
    bool room = keys_reserve(queue, &queue->open, total, true);
    ASSERT(room);
    uint64_t *to = queue->open.at;
    count = newest_count;
    for (struct chunk *chunk = newest, *older; chunk != NULL; chunk = older, count = CHUNK_EVENTS) {
        for (uint32_t i = 0; i < count; i++) {
            uint64_t key = chunk->events[i] & mask;
            to[slots[key >> shift]++] = key;
        }
        older = chunk->older;
        chunk_give(queue, chunk);
    }
    queue->open.count = total;
    if (most > CLUSTER_MOST)
        sort_digits(queue, &queue->open, key_bits);
    else
        sort_insertion(to, total);
}

static void window_open(struct sim_queue *queue, uint64_t window)
{
    uint64_t mask = (UINT64_C(1) << (queue->window_shift + LOW_BITS)) - 1;
    uint32_t count;
    struct chunk *newest =
        bucket_newest(bucket_detach(&queue->level[0], (uint32_t)window & (LEVEL_BUCKETS - 1)), &count);
    queue->open_us = (int64_t)(window << queue->window_shift);
    queue->cursor = window + 1;
    queue->open_next = 0;
    queue->next_us = NEXT_UNKNOWN;
    keys_shrink(queue, &queue->open, count);
    keys_shrink(queue, &queue->scratch, 0);
    keys_shrink(queue, &queue->heap, 0);
    if (newest->older != NULL || count >= INSERTION_MOST) {
        open_counted(queue, newest, count);
    } else {
        bool room = keys_reserve(queue, &queue->open, count, true);
        ASSERT(room);
        for (uint32_t i = 0; i < count; i++)
            queue->open.at[i] = newest->events[i] & mask;
        chunk_give(queue, newest);
        queue->open.count = count;
        sort_insertion(queue->open.at, count);
    }
    queue->in_levels -= queue->open.count;
}

/* Moves on to a window at which nothing is open; never backwards. */
static void cursor_set(struct sim_queue *queue, uint64_t window)
{
    ASSERT(window >= queue->cursor);
    queue->cursor = window;
    queue->open_us = ((int64_t)window - 1) * ((int64_t)1 << queue->window_shift);
}

/* First windows of whatever comes next on each level; UINT64_MAX: nothing there. */
struct ahead {
    uint64_t window[LEVELS];
    uint64_t bucket[LEVELS];
    uint64_t far;
};

static inline void look_ahead(const struct sim_queue *queue, struct ahead *ahead)
{
    for (uint32_t i = 0; i < LEVELS; i++) {
        const struct level *level = &queue->level[i];
        uint64_t bucket = level_first(level, cursor_bucket(queue, level));
        ahead->bucket[i] = bucket;
        ahead->window[i] = bucket == UINT64_MAX ? UINT64_MAX : bucket << (level->shift - queue->window_shift);
    }
    const struct level *top = &queue->level[LEVELS - 1];
    ahead->far = queue->in_far == 0 ? UINT64_MAX
                                    : (uint64_t)queue->far_first_us >> top->shift << (top->shift - queue->window_shift);
}

/* Opens the next window that holds an event, if it starts before until_us; idle time is jumped over. */
static bool advance(struct sim_queue *queue, int64_t until_us)
{
    uint64_t end = until_us <= 0 ? 0 : (((uint64_t)until_us - 1) >> queue->window_shift) + 1;
    queue->open.count = queue->open_next = 0;
    for (;;) {
        struct ahead ahead;
        look_ahead(queue, &ahead);
        uint64_t first = ahead.far;
        uint32_t level = LEVELS;
        for (uint32_t i = LEVELS; i-- > 0;) {
            if (ahead.window[i] < first) {
                first = ahead.window[i];
                level = i;
            }
        }
        if (first >= end) /* also: nothing anywhere */
            return false;
        if (level == 0) {
            window_open(queue, first);
            return true;
        }
        cursor_set(queue, first);
        if (level == LEVELS)
            far_review(queue);
        else
            level_deal(queue, level, ahead.bucket[level]);
    }
}

/* ---- next time ---------------------------------------------------------------------------------------------------- */

static int64_t bucket_first_us(const struct level *level, uint64_t number)
{
    uint32_t count;
    const struct chunk *chunk = bucket_newest(level->write[number & (LEVEL_BUCKETS - 1)], &count);
    uint64_t mask = UINT64_MAX >> (OFFSET_BITS - level->shift), first = mask;
    for (; chunk != NULL; chunk = chunk->older, count = CHUNK_EVENTS) {
        for (uint32_t i = 0; i < count; i++) {
            uint64_t key = chunk->events[i] & mask;
            first = key < first ? key : first;
        }
    }
    return (int64_t)(number << level->shift | first >> LOW_BITS);
}

int64_t sim_queue_next_time(struct sim_queue *queue)
{
    uint64_t key = UINT64_MAX;
    if (queue->open_next < queue->open.count)
        key = queue->open.at[queue->open_next];
    if (queue->heap.count > 0 && queue->heap.at[0] < key)
        key = queue->heap.at[0];
    if (key != UINT64_MAX)
        return queue->open_us + (int64_t)(key >> LOW_BITS);
    if (queue->next_us != NEXT_UNKNOWN)
        return queue->next_us;
    struct ahead ahead;
    look_ahead(queue, &ahead);
    int64_t first_us = queue->far_first_us;
    for (uint32_t i = 0; i < LEVELS; i++) {
        if (ahead.window[i] == UINT64_MAX || (int64_t)(ahead.window[i] << queue->window_shift) >= first_us)
            continue;
        int64_t time_us = bucket_first_us(&queue->level[i], ahead.bucket[i]);
        first_us = time_us < first_us ? time_us : first_us;
    }
    queue->next_us = first_us;
    return first_us;
}

/* ---- run ---------------------------------------------------------------------------------------------------------- */

static inline uint32_t key_entity(uint64_t key)
{
    return (uint32_t)(key >> SIM_CLASS_BITS) & ((1u << SIM_ENTITY_BITS) - 1);
}

static inline uint8_t key_class(uint64_t key)
{
    return (uint8_t)(key & ((1u << SIM_CLASS_BITS) - 1));
}

/* The newest chunk of the window after the open one, whose chain is walked a chunk at a time while the open window is
 * handled: otherwise opening it would pay one cache miss after the other. */
static const struct chunk *next_window_newest(const struct sim_queue *queue)
{
    uint64_t *write = queue->level[0].write[queue->cursor & (LEVEL_BUCKETS - 1)];
    uint32_t count;
    if (write == NULL)
        return NULL;
    const struct chunk *newest = bucket_newest(write, &count);
    chunk_prefetch(newest);
    return newest;
}

/* Handles what is open before until_us; true if all of it was. */
static bool drain(struct sim_queue *queue, int64_t until_us, const struct sim_handlers *handlers, void *context,
                  uint64_t *handled)
{
    const uint64_t *at = queue->open.at;
    size_t next = queue->open_next, count = queue->open.count;
    int64_t open_us = queue->open_us;
    const struct chunk *coming_chunk = NULL;
    if (until_us <= open_us)
        return next == count && queue->heap.count == 0;
    uint64_t span_us = (uint64_t)until_us - (uint64_t)open_us;
    uint64_t end = span_us >> queue->window_shift ? UINT64_MAX : span_us << LOW_BITS;
    if (handlers->prefetch != NULL) {
        for (size_t i = next; i < count && i < next + PREFETCH_AHEAD; i++)
            handlers->prefetch(context, key_entity(at[i]), key_class(at[i]));
    }
    if (count - next > PREFETCH_AHEAD)
        coming_chunk = next_window_newest(queue);
    for (;; (*handled)++) {
        uint64_t key = next < count ? at[next] : UINT64_MAX;
        if (UNLIKELY(queue->heap.count > 0 && queue->heap.at[0] < key)) {
            if (queue->heap.at[0] >= end)
                return false;
            key = heap_pop(queue);
        } else {
            if (key >= end)
                return next == count;
            queue->open_next = ++next;
            if (next % PREFETCH_AHEAD == 0 && coming_chunk != NULL) {
                coming_chunk = coming_chunk->older;
                if (coming_chunk != NULL)
                    chunk_prefetch(coming_chunk);
            }
            if (handlers->prefetch != NULL && next + PREFETCH_AHEAD <= count) {
                uint64_t coming = at[next + PREFETCH_AHEAD - 1];
                handlers->prefetch(context, key_entity(coming), key_class(coming));
            }
        }
        queue->event_us = queue->now_us = open_us + (int64_t)(key >> LOW_BITS);
        handlers->handle(context, queue->event_us, key_entity(key), key_class(key));
    }
}

uint64_t sim_queue_run(struct sim_queue *queue, int64_t until_us, const struct sim_handlers *handlers, void *context)
{
    ASSERT(!queue->running);
    queue->running = true;
    uint64_t handled = 0;
    while (drain(queue, until_us, handlers, context, &handled) && advance(queue, until_us))
        ;
    if (until_us != TIME_NEVER && until_us > queue->now_us)
        queue->now_us = until_us;
    queue->running = false;
    return handled;
}

/* ---- deadlines ---------------------------------------------------------------------------------------------------- */

bool sim_deadline_set(struct sim_queue *queue, struct sim_deadline *deadline, int64_t at_us, uint32_t entity,
                      uint8_t class)
{
    if (at_us < queue->now_us)
        at_us = queue->now_us; /* late already: due at once */
    if (at_us < deadline->queued_us) {
        if (!push(queue, at_us, entity, class, false))
            return false;
        deadline->queued_us = at_us;
    }
    deadline->wanted_us = at_us;
    return true;
}

bool sim_deadline_due(struct sim_queue *queue, struct sim_deadline *deadline, int64_t now_us, uint32_t entity,
                      uint8_t class)
{
    if (deadline->queued_us <= now_us)
        deadline->queued_us = TIME_NEVER;
    if (deadline->wanted_us <= now_us) {
        deadline->wanted_us = TIME_NEVER;
        return true;
    }
    if (deadline->wanted_us < deadline->queued_us) {
        /* An entry has just left the queue, so this one takes its place whatever the limit says. */
        bool kept = push(queue, deadline->wanted_us, entity, class, true);
        ASSERT(kept);
        deadline->queued_us = deadline->wanted_us;
    }
    return false;
}
