/* exchange.c: messages between partitions, and the windows in which all partitions go forward (include/sim/group.h).
 *
 * A message waits here, in a heap in the total order (time, to, entity, from, sequence), until the window of its time opens. It has been
 * sent a lookahead before, hence in an earlier window; so the order in which a partition receives depends neither on the number of
 * ranks nor on where windows begin. Ranks meet once a window: each sends each other one block, a head and packed messages.
 * A block's first bytes travel with its head; the rest, when there is more, in pieces of known size.
 */
#include "internal.h"

#include "memory.h"

#include <stdio.h>
#include <time.h>

#define FIRST_BYTES   4000 /* small enough to be sent eagerly between processes of one machine */
#define PIECE_BYTES   ((size_t)256 * 1024)
#define GROUP_OF      64 /* partitions with one common earliest time */
#define NO_SLOT       UINT32_MAX
#define FIXED_BYTES   (offsetof(struct sim_message, data))
#define BETWEEN_NS    INT64_C(100000000)
#define LOCAL(number) ((number) / exchange->size)

enum { HEAD_STOP = 1, HEAD_BETWEEN = 2 };

struct head {
    int64_t first_us; /* the earliest event or message the sender knows of */
    uint64_t bytes;   /* of the whole block */
    uint32_t flags, reserved;
};

struct block {
    uint8_t *bytes;
    size_t used, capacity;
};

struct waiting {
    int64_t at_us;
    uint32_t slot;
};

struct sim_exchange {
    struct sim_group *group;
    uint32_t rank, size, partitions, own; /* own partitions: rank, rank + size, ... */
    int64_t lookahead_us, now_us;
    int64_t *next_us;       /* of each own partition: the earliest it has to do */
    int64_t *group_us;      /* of GROUP_OF of them */
    uint32_t *sequence;     /* of each own partition */
    struct block *out, *in; /* one a rank */
    int64_t sent_us;        /* the earliest of the messages in `out` */
    struct sim_message *slots;
    struct waiting *heap;
    uint32_t slot_count, slot_capacity, free_slot, waiting, heap_capacity;
    uint8_t *scratch;
    bool stop; /* out of memory, or between() said so: the others learn it at the next meeting */
    int64_t between_ns;
    struct sim_exchange_counts counts;
};

/* ---- the messages that wait ------------------------------------------------------------------------------------------- */

static bool before(const struct sim_exchange *exchange, const struct waiting *a, const struct waiting *b)
{
    if (a->at_us != b->at_us)
        return a->at_us < b->at_us;
    const struct sim_message *x = &exchange->slots[a->slot], *y = &exchange->slots[b->slot];
    if (x->to != y->to)
        return x->to < y->to;
    if (x->entity != y->entity)
        return x->entity < y->entity;
    if (x->from != y->from)
        return x->from < y->from;
    return x->sequence < y->sequence;
}

/* Room for one more, doubling; in the heap of memory that was entered when the exchange was created. */
static bool grow(void **block, uint32_t *capacity, uint32_t count, size_t size)
{
    if (count < *capacity)
        return true;
    if (*capacity > UINT32_MAX / 2)
        return false;
    void *grown = memory_resize(*block, (size_t)*capacity * 2 * size);
    if (!grown)
        return false;
    *block = grown;
    *capacity *= 2;
    return true;
}

static uint32_t take_slot(struct sim_exchange *exchange)
{
    uint32_t slot = exchange->free_slot;
    if (slot != NO_SLOT) {
        exchange->free_slot = exchange->slots[slot].entity;
        return slot;
    }
    if (!grow((void **)&exchange->slots, &exchange->slot_capacity, exchange->slot_count, sizeof *exchange->slots))
        return NO_SLOT;
    return exchange->slot_count++;
}

static void give_slot(struct sim_exchange *exchange, uint32_t slot)
{
    exchange->slots[slot].entity = exchange->free_slot;
    exchange->free_slot = slot;
}

/* `bytes`: a message's first bytes, as long as it has any. */
static bool wait_push(struct sim_exchange *exchange, const void *bytes, size_t size)
{
    if (!grow((void **)&exchange->heap, &exchange->heap_capacity, exchange->waiting, sizeof *exchange->heap))
        return false;
    uint32_t slot = take_slot(exchange);
    if (slot == NO_SLOT)
        return false;
    memcpy(&exchange->slots[slot], bytes, size);
    struct waiting added = {exchange->slots[slot].at_us, slot};
    uint32_t hole = exchange->waiting++;
    while (hole > 0 && before(exchange, &added, &exchange->heap[(hole - 1) / 4])) {
        exchange->heap[hole] = exchange->heap[(hole - 1) / 4];
        hole = (hole - 1) / 4;
    }
    exchange->heap[hole] = added;
    return true;
}

static uint32_t wait_pop(struct sim_exchange *exchange)
{
    struct waiting *heap = exchange->heap, last = heap[--exchange->waiting];
    uint32_t slot = heap[0].slot, hole = 0, count = exchange->waiting;
    for (uint32_t child = 1; child < count; child = 4 * hole + 1) {
        uint32_t least = child, end = child + 4 < count ? child + 4 : count;
        for (uint32_t i = child + 1; i < end; i++)
            if (before(exchange, &heap[i], &heap[least]))
                least = i;
        if (!before(exchange, &heap[least], &last))
            break;
        heap[hole] = heap[least];
        hole = least;
    }
    if (count > 0)
        heap[hole] = last;
    return slot;
}

/* ---- blocks to other ranks ---------------------------------------------------------------------------------------------- */

static bool block_reserve(struct block *block, size_t capacity)
{
    if (capacity <= block->capacity)
        return true;
    size_t wanted = block->capacity * 2 > capacity ? block->capacity * 2 : capacity;
    uint8_t *grown = memory_resize(block->bytes, wanted);
    if (!grown)
        return false;
    block->bytes = grown;
    block->capacity = wanted;
    return true;
}

static bool block_append(struct block *block, const struct sim_message *message)
{
    size_t size = FIXED_BYTES + message->length;
    if (!block_reserve(block, block->used + size))
        return false;
    memcpy(block->bytes + block->used, message, size);
    block->used += size;
    return true;
}

static bool block_unpack(struct sim_exchange *exchange, const struct block *block, size_t size)
{
    for (size_t at = sizeof(struct head), length; at < size; at += length) {
        uint16_t data;
        memcpy(&data, block->bytes + at + offsetof(struct sim_message, length), sizeof data);
        length = FIXED_BYTES + data;
        if (!wait_push(exchange, block->bytes + at, length))
            return false;
    }
    return true;
}

static size_t first_of(size_t bytes)
{
    return bytes < FIRST_BYTES ? bytes : FIRST_BYTES;
}

/* The list of requests in flight could not grow: without it the ranks cannot even agree to stop. */
static void begun(struct sim_exchange *exchange, bool good)
{
    if (good)
        return;
    fprintf(stderr, "convoy: out of memory while meeting the other processes\n");
    sim_group_abort(exchange->group, 3);
}

static void trade_firsts(struct sim_exchange *exchange, const struct head *head)
{
    const struct parallel_module *mpi = exchange->group->mpi;
    for (uint32_t rank = 0; rank < exchange->size; rank++)
        if (rank != exchange->rank)
            begun(exchange, mpi->begin_receive(rank, PARALLEL_TAG_HEAD, exchange->in[rank].bytes, FIRST_BYTES));
    for (uint32_t rank = 0; rank < exchange->size; rank++) {
        struct block *out = &exchange->out[rank];
        struct head own = *head;
        own.bytes = out->used;
        memcpy(out->bytes, &own, sizeof own);
        if (rank != exchange->rank)
            begun(exchange, mpi->begin_send(rank, PARALLEL_TAG_HEAD, out->bytes, first_of(out->used)));
    }
    mpi->finish();
}

/* What does not fit into memory is still taken, or its sender would wait for ever. */
static bool receive_rest(struct sim_exchange *exchange, uint32_t rank, size_t bytes, bool into_memory)
{
    const struct parallel_module *mpi = exchange->group->mpi;
    struct block *in = &exchange->in[rank];
    bool fits = block_reserve(in, bytes);
    for (size_t at = FIRST_BYTES; at < bytes; at += PIECE_BYTES) {
        size_t size = bytes - at < PIECE_BYTES ? bytes - at : PIECE_BYTES;
        if (fits && into_memory)
            begun(exchange, mpi->begin_receive(rank, PARALLEL_TAG_REST, in->bytes + at, size));
        else if (!fits && !into_memory)
            mpi->receive(rank, PARALLEL_TAG_REST, exchange->scratch, size);
    }
    return fits;
}

static bool trade_rests(struct sim_exchange *exchange)
{
    const struct parallel_module *mpi = exchange->group->mpi;
    bool any = false, good = true;
    struct head head;
    for (uint32_t rank = 0; rank < exchange->size; rank++) {
        memcpy(&head, exchange->in[rank].bytes, sizeof head);
        if (rank != exchange->rank && head.bytes > FIRST_BYTES)
            good = receive_rest(exchange, rank, head.bytes, true) && (any = true) && good;
    }
    for (uint32_t rank = 0; rank < exchange->size; rank++) {
        struct block *out = &exchange->out[rank];
        for (size_t at = FIRST_BYTES; rank != exchange->rank && at < out->used; at += PIECE_BYTES) {
            size_t size = out->used - at < PIECE_BYTES ? out->used - at : PIECE_BYTES;
            begun(exchange, mpi->begin_send(rank, PARALLEL_TAG_REST, out->bytes + at, size));
            any = true;
        }
    }
    for (uint32_t rank = 0; !good && rank < exchange->size; rank++) {
        memcpy(&head, exchange->in[rank].bytes, sizeof head);
        if (rank != exchange->rank && head.bytes > FIRST_BYTES)
            receive_rest(exchange, rank, head.bytes, false);
    }
    if (any)
        mpi->finish();
    return good;
}

/* All ranks meet: `head` comes back with the earliest time of all and everybody's flags. */
static void meet(struct sim_exchange *exchange, struct head *head)
{
    if (exchange->size == 1)
        return;
    trade_firsts(exchange, head);
    bool good = trade_rests(exchange);
    for (uint32_t rank = 0; rank < exchange->size; rank++) {
        struct head other;
        exchange->out[rank].used = sizeof(struct head);
        if (rank == exchange->rank)
            continue;
        memcpy(&other, exchange->in[rank].bytes, sizeof other);
        good = good && block_unpack(exchange, &exchange->in[rank], other.bytes);
        head->first_us = other.first_us < head->first_us ? other.first_us : head->first_us;
        head->flags |= other.flags;
    }
    exchange->sent_us = TIME_NEVER;
    exchange->stop = exchange->stop || !good;
}

/* ---- windows -------------------------------------------------------------------------------------------------------------- */

static void set_next(struct sim_exchange *exchange, uint32_t own, int64_t at_us)
{
    exchange->next_us[own] = at_us;
    if (at_us < exchange->group_us[own / GROUP_OF])
        exchange->group_us[own / GROUP_OF] = at_us;
}

static void read_all(struct sim_exchange *exchange, const struct sim_exchange_hooks *hooks, void *context)
{
    for (uint32_t i = 0; i * GROUP_OF < exchange->own; i++)
        exchange->group_us[i] = TIME_NEVER;
    for (uint32_t own = 0; own < exchange->own; own++)
        set_next(exchange, own, hooks->next_time(context, own * exchange->size + exchange->rank));
}

static int64_t first_known(const struct sim_exchange *exchange)
{
    int64_t first_us = exchange->sent_us;
    if (exchange->waiting > 0 && exchange->heap[0].at_us < first_us)
        first_us = exchange->heap[0].at_us;
    for (uint32_t i = 0; i * GROUP_OF < exchange->own; i++)
        if (exchange->group_us[i] < first_us)
            first_us = exchange->group_us[i];
    return first_us;
}

static void deliver(struct sim_exchange *exchange, int64_t until_us, const struct sim_exchange_hooks *hooks,
                    void *context)
{
    while (exchange->waiting > 0 && exchange->heap[0].at_us < until_us) {
        uint32_t slot = wait_pop(exchange);
        struct sim_message message = exchange->slots[slot];
        give_slot(exchange, slot);
        hooks->receive(context, &message);
        uint32_t own = LOCAL(message.to);
        if (message.at_us < exchange->next_us[own])
            set_next(exchange, own, message.at_us);
    }
}

static void advance_group(struct sim_exchange *exchange, uint32_t number, int64_t until_us,
                          const struct sim_exchange_hooks *hooks, void *context)
{
    uint32_t end = exchange->own - number * GROUP_OF < GROUP_OF ? exchange->own : (number + 1) * GROUP_OF;
    int64_t first_us = TIME_NEVER;
    for (uint32_t own = number * GROUP_OF; own < end; own++) {
        if (exchange->next_us[own] < until_us) {
            uint32_t partition = own * exchange->size + exchange->rank;
            hooks->advance(context, partition, until_us);
            exchange->next_us[own] = hooks->next_time(context, partition);
        }
        if (exchange->next_us[own] < first_us)
            first_us = exchange->next_us[own];
    }
    exchange->group_us[number] = first_us;
}

static void work(struct sim_exchange *exchange, int64_t until_us, const struct sim_exchange_hooks *hooks, void *context)
{
    deliver(exchange, until_us, hooks, context);
    for (uint32_t i = 0; i * GROUP_OF < exchange->own; i++)
        if (exchange->group_us[i] < until_us)
            advance_group(exchange, i, until_us, hooks, context);
    exchange->now_us = until_us;
    exchange->counts.windows++;
}

/* Rank 0's clock decides for all, so that between() may make collective calls. */
static bool between_due(struct sim_exchange *exchange)
{
    struct timespec now;
    if (exchange->rank != 0)
        return false;
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    int64_t now_ns = now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
    if (now_ns - exchange->between_ns < BETWEEN_NS)
        return false;
    exchange->between_ns = now_ns;
    return true;
}

/* At the end a rank may still have lost what the last meeting brought: all return the same. */
static bool end_run(struct sim_exchange *exchange, bool good, int64_t now_us)
{
    int64_t bad = !good || exchange->stop;
    sim_group_reduce(exchange->group, SIM_GROUP_MAXIMUM, &bad, 1);
    exchange->stop = false;
    exchange->now_us = now_us;
    return !bad;
}

bool sim_exchange_run(struct sim_exchange *exchange, int64_t from_us, int64_t until_us,
                      const struct sim_exchange_hooks *hooks, void *context)
{
    exchange->now_us = from_us;
    read_all(exchange, hooks, context);
    for (;;) {
        struct head head = {.first_us = first_known(exchange), .flags = exchange->stop ? HEAD_STOP : 0};
        if (hooks->between && between_due(exchange))
            head.flags |= HEAD_BETWEEN;
        meet(exchange, &head);
        if (head.flags & HEAD_STOP)
            return end_run(exchange, false, exchange->now_us);
        if (head.first_us >= until_us)
            return end_run(exchange, true, until_us);
        int64_t start_us = head.first_us > exchange->now_us ? head.first_us : exchange->now_us;
        bool lost = exchange->stop; /* messages, for want of memory: nothing more can be right here */
        if (head.flags & HEAD_BETWEEN && hooks->between && !hooks->between(context, exchange->now_us))
            exchange->stop = true;
        if (lost)
            continue;
        exchange->counts.jumped_us += (uint64_t)(start_us - exchange->now_us);
        bool last = until_us - start_us <= exchange->lookahead_us;
        work(exchange, last ? until_us : start_us + exchange->lookahead_us, hooks, context);
    }
}

/* ---- life and sending ----------------------------------------------------------------------------------------------------- */

bool sim_exchange_send(struct sim_exchange *exchange, int64_t now_us, const struct sim_message *message)
{
    ASSERT(message->to < exchange->partitions && message->from < exchange->partitions);
    ASSERT(message->from % exchange->size == exchange->rank && message->length <= SIM_MESSAGE_DATA);
    ASSERT(message->at_us - now_us >= exchange->lookahead_us && message->at_us < TIME_NEVER);
    struct sim_message numbered = *message;
    uint32_t to = message->to % exchange->size;
    numbered.sequence = exchange->sequence[LOCAL(message->from)]++;
    bool good;
    if (to == exchange->rank) {
        good = wait_push(exchange, &numbered, FIXED_BYTES + numbered.length);
    } else {
        good = block_append(&exchange->out[to], &numbered);
        exchange->sent_us = numbered.at_us < exchange->sent_us ? numbered.at_us : exchange->sent_us;
        exchange->counts.remote_messages++;
    }
    exchange->counts.messages++;
    exchange->stop = exchange->stop || !good;
    return good;
}

static bool create_blocks(struct sim_exchange *exchange)
{
    exchange->scratch = memory_allocate(PIECE_BYTES);
    exchange->out = memory_allocate_zero(exchange->size, sizeof *exchange->out);
    exchange->in = memory_allocate_zero(exchange->size, sizeof *exchange->in);
    if (!exchange->scratch || !exchange->out || !exchange->in)
        return false;
    for (uint32_t rank = 0; rank < exchange->size; rank++) {
        exchange->out[rank] = (struct block){memory_allocate(FIRST_BYTES), sizeof(struct head), FIRST_BYTES};
        exchange->in[rank] = (struct block){memory_allocate(FIRST_BYTES), 0, FIRST_BYTES};
        if (!exchange->out[rank].bytes || !exchange->in[rank].bytes)
            return false;
    }
    return true;
}

struct sim_exchange *sim_exchange_create(struct sim_group *group, const struct sim_exchange_options *options)
{
    ASSERT(options->lookahead_us > 0 && options->partitions > 0);
    struct sim_exchange *exchange = memory_allocate_zero(1, sizeof *exchange);
    if (!exchange)
        return NULL;
    exchange->group = group;
    exchange->rank = group->rank;
    exchange->size = group->size;
    exchange->partitions = options->partitions;
    exchange->lookahead_us = options->lookahead_us;
    exchange->own = (options->partitions + group->size - 1 - group->rank) / group->size;
    exchange->free_slot = NO_SLOT;
    exchange->sent_us = TIME_NEVER;
    exchange->slot_capacity = exchange->heap_capacity = 64;
    exchange->next_us = memory_allocate_zero(exchange->own + 1, sizeof *exchange->next_us);
    exchange->group_us = memory_allocate_zero(exchange->own / GROUP_OF + 1, sizeof *exchange->group_us);
    exchange->sequence = memory_allocate_zero(exchange->own + 1, sizeof *exchange->sequence);
    exchange->slots = memory_allocate_zero(exchange->slot_capacity, sizeof *exchange->slots);
    exchange->heap = memory_allocate_zero(exchange->heap_capacity, sizeof *exchange->heap);
    bool good = exchange->next_us && exchange->group_us && exchange->sequence && exchange->slots && exchange->heap;
    if (good && (group->size == 1 || create_blocks(exchange)))
        return exchange;
    sim_exchange_destroy(exchange);
    return NULL;
}

void sim_exchange_destroy(struct sim_exchange *exchange)
{
    if (!exchange)
        return;
    for (uint32_t rank = 0; rank < exchange->size; rank++) {
        if (exchange->out)
            memory_free(exchange->out[rank].bytes);
        if (exchange->in)
            memory_free(exchange->in[rank].bytes);
    }
    memory_free(exchange->out);
    memory_free(exchange->in);
    memory_free(exchange->scratch);
    memory_free(exchange->next_us);
    memory_free(exchange->group_us);
    memory_free(exchange->sequence);
    memory_free(exchange->slots);
    memory_free(exchange->heap);
    memory_free(exchange);
}

bool sim_exchange_attach(struct sim_exchange *exchange, struct sim_group *group)
{
    if (exchange->rank != group->rank || exchange->size != group->size)
        return false;
    exchange->group = group;
    return true;
}

void sim_exchange_count(const struct sim_exchange *exchange, struct sim_exchange_counts *counts)
{
    *counts = exchange->counts;
    counts->now_us = exchange->now_us;
}
