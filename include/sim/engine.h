/* sim/engine.h: the pending-event set of one partition, its clock, and the digest.
 *
 * Integer microseconds. Order is total and independent of how work is spread: (time, entity, class); events equal in all three
 * are the same event to the model (it keeps a FIFO behind them), so it does not matter which comes first.
 * Structure: three levels of window buckets of 8-byte packed events, append-only chunks from a free list, a radix sort when a
 * window is opened, a small heap for events pushed into the open window. No event is ever removed: a model compares with
 * what it armed and skips stale ones (see struct sim_deadline).
 * Memory grows by chunks and comes from include/memory.h; sim_queue_push() returns false when the set limit, or memory's, is reached. What is in
 * the queue already is never lost to a limit. Between runs a queue holds no pointer to anything but its own blocks.
 */
#ifndef SIM_ENGINE_H
#define SIM_ENGINE_H

#include "base.h"

#define SIM_ENTITY_BITS 27
#define SIM_CLASS_BITS  4

struct sim_queue;

struct sim_queue_options {
    int64_t window_us;    /* 0: 8,192; a power of two, 1,024 to 16,384; the results do not depend on it */
    uint64_t limit_bytes; /* 0: none */
    uint32_t entities;    /* about how many push: up to 32,768 tables and chunks are small (9 KiB); 0: many */
};

struct sim_event {
    int64_t time_us;
    uint32_t entity;
    uint8_t class;
};

/* NULL when memory is out. */
struct sim_queue *sim_queue_create(const struct sim_queue_options *options);
void sim_queue_destroy(struct sim_queue *queue);
/* time_us >= the time of the event being handled; between runs: >= until_us of the last one. Anything up to TIME_NEVER - 1 works.
 * false: limit reached (the event is not queued). */
bool sim_queue_push(struct sim_queue *queue, int64_t time_us, uint32_t entity, uint8_t class);
int64_t sim_queue_next_time(struct sim_queue *queue); /* TIME_NEVER when empty */
uint64_t sim_queue_pending(const struct sim_queue *queue);
uint64_t sim_queue_bytes(const struct sim_queue *queue);

struct sim_handlers {
    void (*handle)(void *context, int64_t now_us, uint32_t entity, uint8_t class);
    /* Optional: called some events ahead, to touch the entity's memory. */
    void (*prefetch)(void *context, uint32_t entity, uint8_t class);
};
/* Handles every event with time < until_us, in order; returns how many. Events pushed meanwhile are included. */
uint64_t sim_queue_run(struct sim_queue *queue, int64_t until_us, const struct sim_handlers *handlers, void *context);

/* One deadline an entity: re-arming later costs nothing, arming earlier leaves a stale entry behind. */
struct sim_deadline {
    int64_t wanted_us; /* TIME_NEVER: none */
    int64_t queued_us; /* earliest entry in the queue known to be ours; TIME_NEVER: none */
};
#define SIM_DEADLINE_NONE ((struct sim_deadline){TIME_NEVER, TIME_NEVER})
/* What a queue begins with: the time of the event being handled; between runs the end of the last one. */
struct sim_queue_now {
    int64_t us;
};
static inline int64_t sim_queue_now_us(const struct sim_queue *queue)
{
    return ((const struct sim_queue_now *)queue)->us;
}

bool sim_deadline_push(struct sim_queue *queue, struct sim_deadline *deadline, int64_t at_us, uint32_t entity,
                       uint8_t class);
void sim_deadline_requeue(struct sim_queue *queue, struct sim_deadline *deadline, uint32_t entity, uint8_t class);

/* Sets the wish; pushes only if no queued entry is early enough. A time already past means now. false: limit reached, nothing changed. */
static inline bool sim_deadline_set(struct sim_queue *queue, struct sim_deadline *deadline, int64_t at_us,
                                    uint32_t entity, uint8_t class)
{
    int64_t now_us = sim_queue_now_us(queue);
    at_us = at_us < now_us ? now_us : at_us; /* late already: due at once */
    if (at_us < deadline->queued_us)
        return sim_deadline_push(queue, deadline, at_us, entity, class);
    deadline->wanted_us = at_us;
    return true;
}

/* To be called first in the handler of `class`: true if the deadline is due now (and clears it); false if the entry was stale or early,
 * in which case it has been queued again as needed. */
static inline bool sim_deadline_due(struct sim_queue *queue, struct sim_deadline *deadline, int64_t now_us,
                                    uint32_t entity, uint8_t class)
{
    if (deadline->queued_us <= now_us)
        deadline->queued_us = TIME_NEVER;
    if (deadline->wanted_us <= now_us) {
        deadline->wanted_us = TIME_NEVER;
        return true;
    }
    if (deadline->wanted_us < deadline->queued_us)
        sim_deadline_requeue(queue, deadline, entity, class);
    return false;
}

/* Digest: a commutative sum of 128-bit hashes, so that neither partition order nor window size can show in it. */
struct sim_digest {
    uint64_t low, high;
};
void sim_digest_add(struct sim_digest *digest, uint64_t entity, int64_t time_us, uint64_t what, uint64_t detail);
void sim_digest_merge(struct sim_digest *digest, const struct sim_digest *other);
void sim_digest_text(const struct sim_digest *digest, char out[33]);

#endif
