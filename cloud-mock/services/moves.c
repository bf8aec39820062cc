/* moves.c: a vehicle's home goes from one region to another (cloud/regions.h).
 *
 * Copied first, cleaned last: at no moment is there no region that can serve the vehicle. What the hands could not do is tried again a second
 * later. A move under way stands in the heap of deadlines, with the one thing it waits for.
 */
#include "cloud/regions.h"
#include "cloud/services.h"
#include "memory.h"

#define RETRY_US      US_PER_S
#define GIVE_UP_US    US_PER_HOUR
#define FIRST_BUCKETS 16
#define ALL_KINDS                                                                                                      \
    (CLOUD_DATA_IDENTITY | CLOUD_DATA_PERSONAL | CLOUD_DATA_TELEMETRY | CLOUD_DATA_SHADOW | CLOUD_DATA_SESSION)
/* What a vehicle makes where it is connected, before anybody calls it served. */
#define OWN_KINDS (CLOUD_DATA_TELEMETRY | CLOUD_DATA_SHADOW | CLOUD_DATA_SESSION)

struct move {
    struct move *chain;
    int64_t began_us, due_us;
    uint64_t serial;
    uint32_t hash, place; /* place: in the heap, plus one; 0: not under way */
    uint8_t state, from, to;
    uint8_t before;   /* what the new region had already, and its law wants kept */
    uint8_t cleaning; /* the old region may have lost something already: no way back */
    uint8_t length;
    char thing[];
};

struct cloud_moves {
    struct cloud_due due; /* first: read without a call */
    struct cloud_move_rules rules;
    struct cloud_move_hands hands;
    struct move **buckets, **heap;
    uint32_t bucket_count, count, heap_count, heap_capacity;
    uint64_t serial, bytes; /* bytes: of the moves */
};

struct cloud_moves *cloud_moves_create(const struct cloud_move_rules *rules, const struct cloud_move_hands *hands)
{
    struct cloud_moves *moves = memory_allocate_zero(1, sizeof *moves);
    if (!moves)
        return NULL;
    moves->rules = *rules;
    moves->hands = *hands;
    moves->due.next_us = TIME_NEVER;
    if (rules->give_up_us <= 0)
        moves->rules.give_up_us = GIVE_UP_US;
    return moves;
}

void cloud_moves_destroy(struct cloud_moves *moves)
{
    if (!moves)
        return;
    for (uint32_t i = 0; i < moves->bucket_count; i++) {
        for (struct move *at = moves->buckets[i], *next; at; at = next) {
            next = at->chain;
            memory_free(at);
        }
    }
    memory_free(moves->buckets);
    memory_free(moves->heap);
    memory_free(moves);
}

/* ---- moves by thing ---------------------------------------------------------------------------------------------------------- */

static uint32_t hash_of(struct span thing)
{
    uint32_t hash = 2166136261u;
    for (uint32_t i = 0; i < thing.length; i++)
        hash = (hash ^ thing.data[i]) * 16777619u;
    return hash;
}

static struct span thing_of(const struct move *move)
{
    return span_of(move->thing, move->length);
}

static struct move *find(const struct cloud_moves *moves, struct span thing)
{
    uint32_t hash = hash_of(thing);
    struct move *at = moves->bucket_count ? moves->buckets[hash & (moves->bucket_count - 1)] : NULL;
    while (at && !(at->hash == hash && span_equal(thing_of(at), thing)))
        at = at->chain;
    return at;
}

static bool bucket_room(struct cloud_moves *moves)
{
    if (moves->count < moves->bucket_count)
        return true;
    uint32_t count = moves->bucket_count ? moves->bucket_count * 2 : FIRST_BUCKETS;
    struct move **buckets = memory_allocate_zero(count, sizeof *buckets);
    if (!buckets)
        return false;
    for (uint32_t i = 0; i < moves->bucket_count; i++) {
        for (struct move *at = moves->buckets[i], *next; at; at = next) {
            next = at->chain;
            at->chain = buckets[at->hash & (count - 1)];
            buckets[at->hash & (count - 1)] = at;
        }
    }
    memory_free(moves->buckets);
    moves->buckets = buckets;
    moves->bucket_count = count;
    return true;
}

static struct move *add(struct cloud_moves *moves, struct span thing)
{
    if (thing.length == 0 || thing.length > UINT8_MAX || !bucket_room(moves))
        return NULL;
    struct move *move = memory_allocate_zero(1, sizeof *move + thing.length);
    if (!move)
        return NULL;
    move->hash = hash_of(thing);
    move->length = (uint8_t)thing.length;
    memcpy(move->thing, thing.data, thing.length);
    struct move **bucket = &moves->buckets[move->hash & (moves->bucket_count - 1)];
    move->chain = *bucket;
    *bucket = move;
    moves->count++;
    moves->bytes += sizeof *move + thing.length;
    return move;
}

uint64_t cloud_moves_bytes(const struct cloud_moves *moves)
{
    return sizeof *moves + moves->bytes + (moves->bucket_count + moves->heap_capacity) * sizeof(struct move *);
}

/* ---- moves by deadline --------------------------------------------------------------------------------------------------------- */

static bool sooner(const struct move *a, const struct move *b)
{
    return a->due_us < b->due_us || (a->due_us == b->due_us && a->serial < b->serial);
}

static bool heap_room(struct cloud_moves *moves)
{
    if (moves->heap_count < moves->heap_capacity)
        return true;
    uint32_t capacity = moves->heap_capacity ? moves->heap_capacity * 2 : 8;
    struct move **heap = memory_resize(moves->heap, capacity * sizeof *heap);
    if (!heap)
        return false;
    moves->heap = heap;
    moves->heap_capacity = capacity;
    return true;
}

static void put(struct cloud_moves *moves, uint32_t at, struct move *move)
{
    moves->heap[at] = move;
    move->place = at + 1;
}

/* To where it belongs, up or down. */
static void settle(struct cloud_moves *moves, uint32_t at, struct move *move)
{
    for (; at > 0 && sooner(move, moves->heap[(at - 1) / 2]); at = (at - 1) / 2)
        put(moves, at, moves->heap[(at - 1) / 2]);
    for (uint32_t child; (child = 2 * at + 1) < moves->heap_count; at = child) {
        if (child + 1 < moves->heap_count && sooner(moves->heap[child + 1], moves->heap[child]))
            child++;
        if (!sooner(moves->heap[child], move))
            break;
        put(moves, at, moves->heap[child]);
    }
    put(moves, at, move);
    moves->due.next_us = moves->heap[0]->due_us;
}

static void wait_until(struct cloud_moves *moves, struct move *move, int64_t at_us)
{
    move->due_us = at_us;
    settle(moves, move->place ? move->place - 1 : moves->heap_count++, move);
}

static void leave_heap(struct cloud_moves *moves, struct move *move)
{
    uint32_t at = move->place - 1;
    struct move *last = moves->heap[--moves->heap_count];
    move->place = 0;
    move->due_us = TIME_NEVER;
    if (last != move)
        settle(moves, at, last);
    else
        moves->due.next_us = moves->heap_count ? moves->heap[0]->due_us : TIME_NEVER;
}

/* ---- the steps ------------------------------------------------------------------------------------------------------------------- */

/* In a region that is not its home. */
static uint8_t forbidden(const struct cloud_moves *moves)
{
    return (uint8_t)((moves->rules.cleaned | ~moves->rules.kept) & ALL_KINDS);
}

static void tell(const struct cloud_moves *moves, int64_t now_us, const struct move *move)
{
    if (moves->hands.told)
        moves->hands.told(moves->hands.context, now_us, thing_of(move), move->from, move->to,
                          (enum cloud_move_state)move->state, move->began_us);
}

static void enter(struct cloud_moves *moves, int64_t now_us, struct move *move, enum cloud_move_state state)
{
    move->state = (uint8_t)state;
    if (state == CLOUD_MOVE_CLEANED || state == CLOUD_MOVE_UNDONE)
        leave_heap(moves, move);
    tell(moves, now_us, move);
}

static int64_t gives_up_us(const struct cloud_moves *moves, const struct move *move)
{
    return move->began_us + moves->rules.give_up_us;
}

static void copy(struct cloud_moves *moves, int64_t now_us, struct move *move)
{
    const struct cloud_move_hands *hands = &moves->hands;
    bool copied = hands->copy(hands->context, thing_of(move), move->from, move->to, moves->rules.copied);
    int64_t at_us = gives_up_us(moves, move);
    if (!copied && now_us + RETRY_US < at_us)
        at_us = now_us + RETRY_US;
    wait_until(moves, move, at_us);
    if (copied)
        enter(moves, now_us, move, CLOUD_MOVE_COPIED);
}

/* Believed when it is not found any more. */
static void clean(struct cloud_moves *moves, int64_t now_us, struct move *move, uint8_t region, uint8_t kinds,
                  enum cloud_move_state then)
{
    const struct cloud_move_hands *hands = &moves->hands;
    bool gone = hands->clean(hands->context, thing_of(move), region, kinds) &&
                !(hands->query(hands->context, thing_of(move), region) & kinds);
    if (gone)
        enter(moves, now_us, move, then);
    else
        wait_until(moves, move, now_us + RETRY_US);
}

static void take_step(struct cloud_moves *moves, int64_t now_us, struct move *move)
{
    if (move->state == CLOUD_MOVE_SERVED) {
        move->cleaning = 1;
        clean(moves, now_us, move, move->from, forbidden(moves), CLOUD_MOVE_CLEANED);
    } else if (now_us >= gives_up_us(moves, move)) {
        move->cleaning = 1;
        clean(moves, now_us, move, move->to, ALL_KINDS & ~move->before, CLOUD_MOVE_UNDONE);
    } else {
        copy(moves, now_us, move);
    }
}

bool cloud_moves_begin(struct cloud_moves *moves, int64_t now_us, struct span thing, uint8_t from, uint8_t to)
{
    struct move *move = find(moves, thing);
    if (from == to || (move && move->place) || !heap_room(moves) || (!move && !(move = add(moves, thing))))
        return false;
    move->from = from;
    move->to = to;
    move->state = CLOUD_MOVE_NONE;
    move->cleaning = 0;
    move->began_us = now_us;
    move->serial = ++moves->serial;
    move->before = (uint8_t)(moves->hands.query(moves->hands.context, thing, to) & ~forbidden(moves));
    wait_until(moves, move, now_us);
    copy(moves, now_us, move);
    return true;
}

/* Served in the old region again, before that was cleaned: the move is open once more, for as long as is left of its time. */
void cloud_moves_served(struct cloud_moves *moves, int64_t now_us, struct span thing, uint8_t region)
{
    struct move *move = find(moves, thing);
    if (!move || !move->place || move->cleaning)
        return;
    if (move->state == CLOUD_MOVE_COPIED && region == move->to) {
        wait_until(moves, move, now_us + moves->rules.clean_after_us);
        enter(moves, now_us, move, CLOUD_MOVE_SERVED);
    } else if (move->state == CLOUD_MOVE_SERVED && region == move->from) {
        int64_t at_us = gives_up_us(moves, move);
        wait_until(moves, move, at_us > now_us ? at_us : now_us);
        enter(moves, now_us, move, CLOUD_MOVE_COPIED);
    }
}

enum cloud_move_state cloud_moves_state(const struct cloud_moves *moves, struct span thing)
{
    const struct move *move = find(moves, thing);
    return move ? (enum cloud_move_state)move->state : CLOUD_MOVE_NONE;
}

int64_t cloud_moves_next_deadline(const struct cloud_moves *moves)
{
    return moves->due.next_us;
}

void cloud_moves_tick(struct cloud_moves *moves, int64_t now_us)
{
    while (moves->due.next_us <= now_us)
        take_step(moves, now_us, moves->heap[0]);
}

uint8_t cloud_moves_leftovers(const struct cloud_moves *moves, struct span thing, uint8_t region)
{
    const struct move *move = find(moves, thing);
    if (!move)
        return 0;
    bool moved = move->state == CLOUD_MOVE_SERVED || move->state == CLOUD_MOVE_CLEANED;
    uint8_t found = moves->hands.query(moves->hands.context, thing, region);
    if (region == (moved ? move->to : move->from))
        return 0;
    if (region == move->to && move->place)
        return (uint8_t)(found & ALL_KINDS & ~(moves->rules.copied | OWN_KINDS | move->before));
    return found & forbidden(moves);
}
