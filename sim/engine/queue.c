/* The pending-event set: three levels of time buckets, appended to blindly and sorted only when a window is opened.
 *
 * Why: a heap pays log N dependent cache misses an event. Here a push appends 8 bytes to a bucket's tail and a pop streams
 * a sorted array, so no event that lies somewhere in memory is ever looked for.
 *
 * Levels. The first has buckets one window wide; each bucket of the next is as wide as all 1,024 of the one below (the third is
 * held at 2^33 us, because 33 bits of time are what an event has room for). All three roll: a bucket's place is its number
 * modulo their count, and a push goes to the lowest level that reaches far enough from the cursor. When the cursor comes to the
 * start of a bucket of a higher level, its events are dealt out one level down. What lies beyond the third level (102 days
 * with the standard window, 6 for few entities) waits in an unordered list with full times until the cursor comes to it.
 *
 * Invariants
 * - `cursor` is the number of the first window not yet opened; window cursor - 1 is open (or was, or never had an event).
 * - Nothing in any level lies before the cursor. Pushes into window cursor - 1 go to the small heap.
 * - A bucket of the second level in whose middle the cursor is has been dealt out: what comes next in the first level up to the end of
 *   that bucket is what comes next at all.
 * - The cursor never passes the window that holds the `until_us` of a run, so whatever is pushed later is not behind it.
 *
 * Memory: chunks of a link and 63 events (7 for few entities) in one array that grows, named by their place in it, so that it may move and a
 * bucket is four bytes. The limit is checked where events come in; what is already inside is never lost to it, so dealing
 * out and sorting may pass it (a chunk a bucket, and the open window's array).
 */
#include "sim/engine.h"

#include "memory.h"

#define LEVELS           3
#define LEVEL_BITS       10
#define LEVEL_BUCKETS    (1u << LEVEL_BITS)
#define TOP_BUCKETS_FEW  64
#define BITMAP_WORDS     (LEVEL_BUCKETS / 64)
#define OFFSET_BITS      33
#define LOW_BITS         (SIM_ENTITY_BITS + SIM_CLASS_BITS)
#define CHUNK_WORDS_MOST 64
#define CHUNK_WORDS_FEW  8
#define FEW_ENTITIES     (1u << 15)
#define GROW_BYTES       (UINT64_C(4) << 10)
#define GROW_BYTES_MOST  (UINT64_C(2) << 20)
#define INSERTION_MOST   16 /* fewer events than this in a window: no counting */
#define CLUSTER_MOST     24 /* more in one slot: times are bunched, insertion would go square */
#define PREFETCH_AHEAD   16
#define NEXT_UNKNOWN     INT64_MIN

_Static_assert(OFFSET_BITS + LOW_BITS == 64, "an event is one word: time, entity, class");

#define LIKELY(condition)   __builtin_expect(!!(condition), 1)
#define UNLIKELY(condition) __builtin_expect(!!(condition), 0)

/* write[b]: the word where bucket b's next event goes; 0: empty. At a chunk's start: the chunk before it is the bucket's last, and full. */
struct level {
    uint32_t *write;
    uint64_t present[BITMAP_WORDS];
    uint32_t present_words;
    uint32_t shift; /* log2 of a bucket's width in us */
    uint32_t mask, words;
};

struct keys {
    uint64_t *at;
    size_t count, capacity;
};

/* A chunk is the number of its first word, which holds the number of the next older chunk; 0: none. In the list beyond the levels
 * an event takes two words: its time, its entity and class. */
struct sim_queue {
    struct sim_queue_now now; /* time of the event handled last, or the end of the last run */
    uint64_t cursor;
    uint32_t window_shift;
    bool running;
    int64_t event_us; /* time of the event handled last */
    int64_t next_us;  /* earliest on the levels and beyond, kept up by pushes; NEXT_UNKNOWN: look again */

    uint64_t *words;
    uint32_t chunk_words, chunk_free;
    uint64_t words_made, words_room;

    struct keys open, heap, scratch; /* keys count from the start of the open window */
    size_t open_next;

    uint64_t in_levels, in_far;
    uint32_t far;
    int64_t far_first_us; /* earliest of them */
    uint64_t bytes, limit_bytes;

    struct level level[LEVELS];
    uint32_t *slots; /* counters of the sort */
    size_t slots_room;
};

/* ---- memory ------------------------------------------------------------------------------------------------------- */

/* To `size` bytes; `forced`: past the limits, for what is inside already. */
static bool resize(struct sim_queue *queue, void **block, uint64_t before, uint64_t size, bool forced)
{
    if (!forced && queue->limit_bytes != 0 && queue->bytes + size - before > queue->limit_bytes)
        return false;
    void *grown = forced ? memory_resize_beyond(*block, size) : memory_resize(*block, size);
    if (grown == NULL)
        return false;
    *block = grown;
    queue->bytes += size - before;
    return true;
}

static __attribute__((noinline, cold)) bool words_grow(struct sim_queue *queue, bool forced)
{
    uint64_t bytes = queue->words_room * sizeof(uint64_t), more = bytes / 8;
    more = more > GROW_BYTES_MOST ? (bytes / 32 > GROW_BYTES_MOST ? bytes / 32 : GROW_BYTES_MOST) : more;
    more = more < GROW_BYTES ? GROW_BYTES : more & ~(GROW_BYTES - 1);
    void *words = queue->words;
    if (bytes + more > UINT32_MAX * sizeof(uint64_t))
        return false;
    if (!resize(queue, &words, bytes, bytes + more, forced)) {
        /* The last piece before a limit is as small as can be. */
        more = GROW_BYTES;
        if (!resize(queue, &words, bytes, bytes + more, forced))
            return false;
    }
    queue->words = words;
    queue->words_room = (bytes + more) / sizeof(uint64_t);
    return true;
}

static inline uint32_t chunk_take(struct sim_queue *queue, bool forced)
{
    uint32_t chunk = queue->chunk_free;
    if (LIKELY(chunk != 0)) {
        queue->chunk_free = (uint32_t)queue->words[chunk];
        return chunk;
    }
    if (UNLIKELY(queue->words_made == queue->words_room) && !words_grow(queue, forced))
        return 0;
    chunk = (uint32_t)queue->words_made;
    queue->words_made += queue->chunk_words;
    return chunk;
}

static inline void chunk_give(struct sim_queue *queue, uint32_t chunk)
{
    queue->words[chunk] = queue->chunk_free;
    queue->chunk_free = chunk;
}

static inline uint32_t chunk_events(const struct sim_queue *queue)
{
    return queue->chunk_words - 1;
}

static inline uint32_t chunk_older(const struct sim_queue *queue, uint32_t chunk)
{
    return (uint32_t)queue->words[chunk];
}

static inline void chunk_prefetch(const struct sim_queue *queue, uint32_t chunk)
{
    for (uint32_t line = 0; line < queue->chunk_words; line += 8)
        __builtin_prefetch(queue->words + chunk + line);
}

static __attribute__((noinline)) bool keys_extend(struct sim_queue *queue, struct keys *keys, size_t count, bool forced)
{
    size_t capacity = keys->capacity ? keys->capacity : 32;
    while (capacity < count)
        capacity *= 2;
    void *at = keys->at;
    if (!resize(queue, &at, keys->capacity * sizeof(uint64_t), capacity * sizeof(uint64_t), forced))
        return false;
    keys->at = at;
    keys->capacity = capacity;
    return true;
}

static inline bool keys_reserve(struct sim_queue *queue, struct keys *keys, size_t count, bool forced)
{
    return LIKELY(count <= keys->capacity) || keys_extend(queue, keys, count, forced);
}

/* One crowded window must not hold memory for ever. Only called while the array is empty. */
static void keys_shrink(struct sim_queue *queue, struct keys *keys, size_t wanted)
{
    if (LIKELY(keys->capacity <= (64u << 10)) || keys->capacity / 64 < wanted)
        return;
    queue->bytes -= keys->capacity * sizeof(uint64_t);
    memory_free(keys->at);
    *keys = (struct keys){0};
}

static uint32_t *slots_reserve(struct sim_queue *queue, size_t count)
{
    if (UNLIKELY(count > queue->slots_room)) {
        void *slots = queue->slots;
        bool room = resize(queue, &slots, queue->slots_room * sizeof(uint32_t), count * sizeof(uint32_t), true);
        ASSERT(room);
        queue->slots = slots;
        queue->slots_room = count;
    }
    memset(queue->slots, 0, count * sizeof(uint32_t));
    return queue->slots;
}

static bool levels_make(struct sim_queue *queue, bool few)
{
    uint32_t top = few ? TOP_BUCKETS_FEW : LEVEL_BUCKETS;
    uint32_t *near = memory_allocate_zero(2 * LEVEL_BUCKETS, sizeof(uint32_t));
    uint32_t *far = memory_allocate_zero(top, sizeof(uint32_t));
    for (uint32_t i = 0; i < LEVELS; i++) {
        uint32_t shift = queue->window_shift + i * LEVEL_BITS, buckets = i == LEVELS - 1 ? top : LEVEL_BUCKETS;
        queue->level[i].shift = shift < OFFSET_BITS ? shift : OFFSET_BITS;
        queue->level[i].mask = buckets - 1;
        queue->level[i].words = buckets / 64;
    }
    queue->level[0].write = near;
    queue->level[1].write = near != NULL ? near + LEVEL_BUCKETS : NULL;
    queue->level[2].write = far;
    queue->bytes += (2 * LEVEL_BUCKETS + top) * sizeof(uint32_t);
    return near != NULL && far != NULL;
}

struct sim_queue *sim_queue_create(const struct sim_queue_options *options)
{
    int64_t window_us = options != NULL && options->window_us != 0 ? options->window_us : 8192;
    ASSERT(window_us >= 1024 && window_us <= 16384 && (window_us & (window_us - 1)) == 0);
    struct sim_queue *queue = memory_allocate_zero(1, sizeof *queue);
    if (queue == NULL)
        return NULL;
    bool few = options != NULL && options->entities != 0 && options->entities <= FEW_ENTITIES;
    queue->window_shift = (uint32_t)__builtin_ctzll((uint64_t)window_us);
    queue->far_first_us = TIME_NEVER;
    queue->next_us = NEXT_UNKNOWN;
    queue->chunk_words = few ? CHUNK_WORDS_FEW : CHUNK_WORDS_MOST;
    queue->bytes = sizeof *queue;
    queue->limit_bytes = options != NULL ? options->limit_bytes : 0;
    if (!levels_make(queue, few) || !words_grow(queue, true)) {
        sim_queue_destroy(queue);
        return NULL;
    }
    queue->words_made = queue->chunk_words; /* number 0 is none */
    queue->words[0] = 0;
    return queue;
}

void sim_queue_destroy(struct sim_queue *queue)
{
    if (queue == NULL)
        return;
    memory_free(queue->level[0].write);
    memory_free(queue->level[LEVELS - 1].write);
    memory_free(queue->words);
    memory_free(queue->open.at);
    memory_free(queue->heap.at);
    memory_free(queue->scratch.at);
    memory_free(queue->slots);
    memory_free(queue);
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

static __attribute__((noinline)) bool heap_push(struct sim_queue *queue, uint64_t key, bool forced)
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

static inline int64_t open_start_us(const struct sim_queue *queue)
{
    return ((int64_t)queue->cursor - 1) * ((int64_t)1 << queue->window_shift);
}

/* ---- levels ------------------------------------------------------------------------------------------------------- */

static inline uint32_t bucket_extend(struct sim_queue *queue, struct level *level, uint32_t bucket, bool forced)
{
    uint32_t chunk = chunk_take(queue, forced);
    if (UNLIKELY(chunk == 0))
        return 0;
    uint32_t write = level->write[bucket];
    queue->words[chunk] = write != 0 ? write - queue->chunk_words : 0;
    level->present[bucket / 64] |= UINT64_C(1) << (bucket % 64);
    level->present_words |= 1u << (bucket / 64);
    return chunk + 1;
}

static inline bool bucket_append(struct sim_queue *queue, struct level *level, uint32_t bucket, uint64_t event,
                                 bool forced)
{
    uint32_t write = level->write[bucket];
    if ((write & (queue->chunk_words - 1)) == 0) {
        write = bucket_extend(queue, level, bucket, forced);
        if (UNLIKELY(write == 0))
            return false;
    }
    queue->words[write] = event;
    level->write[bucket] = write + 1;
    return true;
}

/* The newest chunk of a bucket and how many events it holds; every older one is full. */
static inline uint32_t bucket_newest(const struct sim_queue *queue, uint32_t write, uint32_t *count)
{
    uint32_t chunk = (write - 1) & ~(queue->chunk_words - 1);
    *count = write - chunk - 1;
    return chunk;
}

static inline uint32_t bucket_detach(struct level *level, uint32_t bucket)
{
    uint32_t write = level->write[bucket];
    level->write[bucket] = 0;
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
    uint32_t start = (uint32_t)from & level->mask, word = start / 64, bit = start % 64;
    uint64_t here = level->present[word] >> bit;
    if (here != 0)
        return from + (uint32_t)__builtin_ctzll(here);
    /* The words after this one, then round to this one's lower bits. */
    uint32_t doubled = level->present_words | level->present_words << level->words;
    uint32_t later = doubled >> (word + 1);
    uint32_t ahead = later != 0 ? (uint32_t)__builtin_ctz(later) + 1 : level->words;
    uint64_t there = level->present[(word + ahead) & (level->words - 1)];
    return from - bit + 64 * ahead + (uint32_t)__builtin_ctzll(there);
}

static inline uint64_t cursor_bucket(const struct sim_queue *queue, const struct level *level)
{
    return queue->cursor >> (level->shift - queue->window_shift);
}

/* Deals bucket `number` of level `from` out to the buckets of the level below. A chunk is copied and given back first: the next
 * ones taken are warm, and the array of chunks may move meanwhile. */
static void level_deal(struct sim_queue *queue, uint32_t from, uint64_t number)
{
    struct level *level = &queue->level[from], *below = &queue->level[from - 1];
    uint32_t fan_bits = level->shift - below->shift;
    uint32_t base = (uint32_t)(number << fan_bits) & below->mask, mask = (1u << fan_bits) - 1;
    uint32_t shift = LOW_BITS + below->shift, count;
    uint32_t chunk = bucket_newest(queue, bucket_detach(level, (uint32_t)number & level->mask), &count);
    chunk_prefetch(queue, chunk_older(queue, chunk));
    while (chunk != 0) {
        uint64_t events[CHUNK_WORDS_MOST - 1];
        uint32_t older = chunk_older(queue, chunk);
        chunk_prefetch(queue, chunk_older(queue, older));
        memcpy(events, queue->words + chunk + 1, count * sizeof *events);
        chunk_give(queue, chunk);
        for (uint32_t i = 0; i < count; i++) {
            bool kept = bucket_append(queue, below, base | ((uint32_t)(events[i] >> shift) & mask), events[i], true);
            ASSERT(kept);
        }
        chunk = older;
        count = chunk_events(queue);
    }
}

/* ---- beyond the third level --------------------------------------------------------------------------------------- */

static bool far_append(struct sim_queue *queue, int64_t time_us, uint64_t low, bool forced)
{
    uint32_t pairs = chunk_events(queue) / 2, place = (uint32_t)(queue->in_far % pairs);
    if (place == 0) {
        uint32_t chunk = chunk_take(queue, forced);
        if (chunk == 0)
            return false;
        queue->words[chunk] = queue->far;
        queue->far = chunk;
    }
    uint64_t *at = queue->words + queue->far + 1 + 2 * place;
    at[0] = (uint64_t)time_us;
    at[1] = low;
    queue->in_far++;
    if (time_us < queue->far_first_us)
        queue->far_first_us = time_us;
    return true;
}

static void far_place(struct sim_queue *queue, uint64_t time_us, uint64_t low)
{
    struct level *top = &queue->level[LEVELS - 1];
    uint64_t bucket = time_us >> top->shift;
    bool kept;
    if (bucket - cursor_bucket(queue, top) <= top->mask) {
        kept = bucket_append(queue, top, (uint32_t)bucket & top->mask, time_us << LOW_BITS | low, true);
        queue->in_levels++;
    } else {
        kept = far_append(queue, (int64_t)time_us, low, true);
    }
    ASSERT(kept);
}

/* Moves what the third level now reaches; happens at most once in a full turn of that level. */
static void far_review(struct sim_queue *queue)
{
    uint32_t chunk = queue->far, pairs = chunk_events(queue) / 2;
    uint32_t count = queue->in_far % pairs ? (uint32_t)(queue->in_far % pairs) : pairs;
    queue->far = 0;
    queue->in_far = 0;
    queue->far_first_us = TIME_NEVER;
    while (chunk != 0) {
        uint64_t events[CHUNK_WORDS_MOST - 1];
        uint32_t older = chunk_older(queue, chunk);
        memcpy(events, queue->words + chunk + 1, 2 * count * sizeof *events);
        chunk_give(queue, chunk);
        for (uint32_t i = 0; i < count; i++)
            far_place(queue, events[2 * i], events[2 * i + 1]);
        chunk = older;
        count = pairs;
    }
}

/* ---- push --------------------------------------------------------------------------------------------------------- */

/* Beyond the second level: the third, or the list. */
static __attribute__((noinline)) bool push_further(struct sim_queue *queue, int64_t time_us, uint64_t low, bool forced)
{
    struct level *top = &queue->level[LEVELS - 1];
    uint64_t bucket = (uint64_t)time_us >> top->shift;
    if (bucket - cursor_bucket(queue, top) > top->mask)
        return far_append(queue, time_us, low, forced);
    bool kept = bucket_append(queue, top, (uint32_t)bucket & top->mask, (uint64_t)time_us << LOW_BITS | low, forced);
    queue->in_levels += kept;
    return kept;
}

static inline bool push(struct sim_queue *queue, int64_t time_us, uint32_t entity, uint8_t class, bool forced)
{
    ASSERT(time_us >= queue->event_us && time_us < TIME_NEVER);
    ASSERT(entity < (1u << SIM_ENTITY_BITS) && class < (1u << SIM_CLASS_BITS));
    uint64_t low = (uint64_t)entity << SIM_CLASS_BITS | class;
    uint64_t bucket = (uint64_t)time_us >> queue->window_shift;
    struct level *level = &queue->level[0];
    bool kept;
    if (bucket - queue->cursor >= LEVEL_BUCKETS) {
        if (UNLIKELY(bucket < queue->cursor)) {
            int64_t open_us = open_start_us(queue);
            ASSERT(time_us >= open_us);
            return heap_push(queue, (uint64_t)(time_us - open_us) << LOW_BITS | low, forced);
        }
        level++;
        bucket = (uint64_t)time_us >> level->shift;
    }
    if (level == &queue->level[0] || LIKELY(bucket - cursor_bucket(queue, level) < LEVEL_BUCKETS)) {
        kept = bucket_append(queue, level, (uint32_t)bucket & (LEVEL_BUCKETS - 1), (uint64_t)time_us << LOW_BITS | low,
                             forced);
        queue->in_levels += kept;
    } else {
        kept = push_further(queue, time_us, low, forced);
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
    for (uint32_t shift = 0; shift < key_bits; shift += digit_bits) {
        uint64_t *from = keys->at, *to = queue->scratch.at;
        uint32_t *slots = slots_reserve(queue, digits);
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
static void open_counted(struct sim_queue *queue, uint32_t newest, uint32_t newest_count)
{
    uint32_t key_bits = queue->window_shift + LOW_BITS;
    uint64_t mask = (UINT64_C(1) << key_bits) - 1;
    size_t total = newest_count;
    for (uint32_t chunk = chunk_older(queue, newest); chunk != 0; chunk = chunk_older(queue, chunk))
        total += chunk_events(queue);
    uint32_t slot_bits = 64 - (uint32_t)__builtin_clzll(total - 1);
    if (slot_bits > queue->window_shift)
        slot_bits = queue->window_shift;
    uint32_t shift = key_bits - slot_bits, most = 0, count = newest_count;
    uint32_t *slots = slots_reserve(queue, (size_t)1 << slot_bits);
    for (uint32_t chunk = newest; chunk != 0; chunk = chunk_older(queue, chunk), count = chunk_events(queue)) {
        const uint64_t *events = queue->words + chunk + 1;
        for (uint32_t i = 0; i < count; i++)
            slots[(events[i] & mask) >> shift]++;
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
    for (uint32_t chunk = newest, older; chunk != 0; chunk = older, count = chunk_events(queue)) {
        const uint64_t *events = queue->words + chunk + 1;
        for (uint32_t i = 0; i < count; i++) {
            uint64_t key = events[i] & mask;
            to[slots[key >> shift]++] = key;
        }
        older = chunk_older(queue, chunk);
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
    uint32_t newest =
        bucket_newest(queue, bucket_detach(&queue->level[0], (uint32_t)window & (LEVEL_BUCKETS - 1)), &count);
    queue->cursor = window + 1;
    queue->next_us = NEXT_UNKNOWN;
    queue->open_next = 0;
    keys_shrink(queue, &queue->open, count);
    keys_shrink(queue, &queue->scratch, 0);
    keys_shrink(queue, &queue->heap, 0);
    if (chunk_older(queue, newest) != 0 || count >= INSERTION_MOST) {
        open_counted(queue, newest, count);
    } else {
        bool room = keys_reserve(queue, &queue->open, count, true);
        ASSERT(room);
        for (uint32_t i = 0; i < count; i++)
            queue->open.at[i] = queue->words[newest + 1 + i] & mask;
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

/* Number of the next window that holds an event, if one does before the end of the cursor's bucket of the second level. */
static inline uint64_t window_near(const struct sim_queue *queue)
{
    const struct level *level = &queue->level[0];
    uint32_t start = (uint32_t)queue->cursor & (LEVEL_BUCKETS - 1), word = start / 64;
    if (UNLIKELY(start == 0)) /* its bucket is perhaps still to be dealt out */
        return UINT64_MAX;
    uint64_t here = level->present[word] >> (start % 64);
    if (here != 0)
        return queue->cursor + (uint32_t)__builtin_ctzll(here);
    uint32_t later = level->present_words >> word >> 1;
    if (later == 0)
        return UINT64_MAX;
    word += (uint32_t)__builtin_ctz(later) + 1;
    return queue->cursor - start + 64 * word + (uint32_t)__builtin_ctzll(level->present[word]);
}

/* Number of the next window that holds an event, if it starts before window `end`; deals out what lies before it in higher levels. */
static __attribute__((noinline)) uint64_t window_far(struct sim_queue *queue, uint64_t end)
{
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
            return UINT64_MAX;
        if (level == 0)
            return first;
        cursor_set(queue, first);
        if (level == LEVELS)
            far_review(queue);
        else
            level_deal(queue, level, ahead.bucket[level]);
    }
}

/* ---- next time ---------------------------------------------------------------------------------------------------- */

static int64_t bucket_first_us(const struct sim_queue *queue, const struct level *level, uint64_t number)
{
    uint32_t count, chunk = bucket_newest(queue, level->write[number & level->mask], &count);
    uint64_t mask = UINT64_MAX >> (OFFSET_BITS - level->shift), first = mask;
    for (; chunk != 0; chunk = chunk_older(queue, chunk), count = chunk_events(queue)) {
        for (uint32_t i = 0; i < count; i++) {
            uint64_t key = queue->words[chunk + 1 + i] & mask;
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
        return open_start_us(queue) + (int64_t)(key >> LOW_BITS);
    if (queue->next_us != NEXT_UNKNOWN)
        return queue->next_us;
    struct ahead ahead;
    look_ahead(queue, &ahead);
    int64_t first_us = queue->far_first_us;
    for (uint32_t i = 0; i < LEVELS; i++) {
        if (ahead.window[i] == UINT64_MAX || (int64_t)(ahead.window[i] << queue->window_shift) >= first_us)
            continue;
        int64_t time_us = bucket_first_us(queue, &queue->level[i], ahead.bucket[i]);
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
static uint32_t next_window_newest(const struct sim_queue *queue)
{
    uint32_t write = queue->level[0].write[queue->cursor & (LEVEL_BUCKETS - 1)], count;
    if (write == 0)
        return 0;
    uint32_t newest = bucket_newest(queue, write, &count);
    chunk_prefetch(queue, newest);
    return newest;
}

/* Handles what is open before until_us; true if all of it was. */
static bool drain(struct sim_queue *queue, int64_t until_us, const struct sim_handlers *handlers, void *context,
                  uint64_t *handled)
{
    const uint64_t *at = queue->open.at;
    size_t next = queue->open_next, count = queue->open.count;
    int64_t open_us = open_start_us(queue);
    uint32_t coming_chunk = 0;
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
            if (next % PREFETCH_AHEAD == 0 && coming_chunk != 0) {
                coming_chunk = chunk_older(queue, coming_chunk);
                if (coming_chunk != 0)
                    chunk_prefetch(queue, coming_chunk);
            }
            if (handlers->prefetch != NULL && next + PREFETCH_AHEAD <= count) {
                uint64_t coming = at[next + PREFETCH_AHEAD - 1];
                handlers->prefetch(context, key_entity(coming), key_class(coming));
            }
        }
        queue->event_us = queue->now.us = open_us + (int64_t)(key >> LOW_BITS);
        handlers->handle(context, queue->event_us, key_entity(key), key_class(key));
    }
}

/* Its newest chunk if window `window` holds a single event, else 0. */
static inline uint32_t window_single(const struct sim_queue *queue, uint64_t window)
{
    uint32_t write = queue->level[0].write[window & (LEVEL_BUCKETS - 1)], chunk = write - 2;
    return (write & (queue->chunk_words - 1)) == 2 && chunk_older(queue, chunk) == 0 ? chunk : 0;
}

uint64_t sim_queue_run(struct sim_queue *queue, int64_t until_us, const struct sim_handlers *handlers, void *context)
{
    ASSERT(!queue->running);
    queue->running = true;
    const uint32_t shift = queue->window_shift;
    const uint64_t key_mask = (UINT64_C(1) << (shift + LOW_BITS)) - 1;
    uint64_t handled = 0, end = until_us <= 0 ? 0 : (((uint64_t)until_us - 1) >> shift) + 1;
    for (;;) {
        if (UNLIKELY(queue->open_next < queue->open.count || queue->heap.count > 0) &&
            !drain(queue, until_us, handlers, context, &handled))
            break;
        uint64_t window = window_near(queue);
        if (UNLIKELY(window == UINT64_MAX))
            window = window_far(queue, end);
        if (window >= end)
            break;
        uint32_t chunk = window_single(queue, window);
        if (chunk == 0) {
            window_open(queue, window);
            continue;
        }
        /* One event needs no opening. At until_us or later it stays. */
        uint64_t key = queue->words[chunk + 1] & key_mask;
        int64_t time_us = (int64_t)((window << shift) + (key >> LOW_BITS));
        if (time_us >= until_us)
            break;
        bucket_detach(&queue->level[0], (uint32_t)window & (LEVEL_BUCKETS - 1));
        chunk_give(queue, chunk);
        queue->cursor = window + 1;
        queue->next_us = NEXT_UNKNOWN;
        queue->in_levels--;
        queue->event_us = queue->now.us = time_us;
        handled++;
        handlers->handle(context, time_us, key_entity(key), key_class(key));
    }
    if (until_us != TIME_NEVER && until_us > queue->now.us)
        queue->now.us = until_us;
    queue->running = false;
    return handled;
}

/* ---- deadlines: what the header's part of them does not settle ------------------------------------------------------- */

bool sim_deadline_push(struct sim_queue *queue, struct sim_deadline *deadline, int64_t at_us, uint32_t entity,
                       uint8_t class)
{
    if (!push(queue, at_us, entity, class, false))
        return false;
    deadline->queued_us = deadline->wanted_us = at_us;
    return true;
}

void sim_deadline_requeue(struct sim_queue *queue, struct sim_deadline *deadline, uint32_t entity, uint8_t class)
{
    /* An entry has just left the queue, so this one takes its place whatever the limit says. */
    bool kept = push(queue, deadline->wanted_us, entity, class, true);
    ASSERT(kept);
    deadline->queued_us = deadline->wanted_us;
}
