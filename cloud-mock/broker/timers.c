/* timers.c: one heap (four children a node) with one entry for each link before CONNECT, session, and retained message.
 *
 * An entry may be early, never late: what has become later (a packet came, keep alive starts anew) does not touch the heap; when
 * the entry comes up its owner says what the true deadline is.
 */
#include "internal.h"

static struct timer *timer_of(struct timer_entry entry)
{
    return (struct timer *)(entry.owner & ~(uintptr_t)TIMER_KINDS);
}

static void place(struct cloud_broker *broker, uint32_t at, struct timer_entry entry)
{
    broker->timers[at] = entry;
    timer_of(entry)->place = at + 1;
}

static void sift_up(struct cloud_broker *broker, uint32_t at, struct timer_entry entry)
{
    while (at > 0) {
        uint32_t parent = (at - 1) / 4;
        if (broker->timers[parent].deadline_us <= entry.deadline_us)
            break;
        place(broker, at, broker->timers[parent]);
        at = parent;
    }
    place(broker, at, entry);
}

static void sift_down(struct cloud_broker *broker, uint32_t at, struct timer_entry entry)
{
    for (;;) {
        uint32_t first = at * 4 + 1, best = first;
        if (first >= broker->timer_count)
            break;
        for (uint32_t child = first + 1; child < first + 4 && child < broker->timer_count; child++)
            if (broker->timers[child].deadline_us < broker->timers[best].deadline_us)
                best = child;
        if (broker->timers[best].deadline_us >= entry.deadline_us)
            break;
        place(broker, at, broker->timers[best]);
        at = best;
    }
    place(broker, at, entry);
}

bool broker_timer_set(struct cloud_broker *broker, struct timer *timer, enum timer_kind kind, int64_t deadline_us)
{
    struct timer_entry entry = {deadline_us, (uintptr_t)timer | kind};
    if (deadline_us == TIME_NEVER)
        return true;
    if (timer->place) {
        if (broker->timers[timer->place - 1].deadline_us > deadline_us)
            sift_up(broker, timer->place - 1, entry);
        return true;
    }
    if (!broker_memory_reserve(broker, (void **)&broker->timers, &broker->timer_capacity, broker->timer_count + 1,
                               sizeof(entry)))
        return false;
    broker->timer_count++;
    sift_up(broker, broker->timer_count - 1, entry);
    return true;
}

void broker_timer_remove(struct cloud_broker *broker, struct timer *timer)
{
    if (!timer->place)
        return;
    uint32_t at = timer->place - 1;
    timer->place = 0;
    struct timer_entry last = broker->timers[--broker->timer_count];
    if (at == broker->timer_count)
        return;
    if (at > 0 && broker->timers[(at - 1) / 4].deadline_us > last.deadline_us)
        sift_up(broker, at, last);
    else
        sift_down(broker, at, last);
}

/* A link that has sent no CONNECT yet, or NULL. */
struct cloud_connection *broker_timer_link(const struct cloud_broker *broker)
{
    for (uint32_t i = 0; i < broker->timer_count; i++)
        if ((broker->timers[i].owner & TIMER_KINDS) == TIMER_LINK)
            return (struct cloud_connection *)timer_of(broker->timers[i]);
    return NULL;
}

static int64_t true_deadline(const struct timer *timer, enum timer_kind kind)
{
    switch (kind) {
    case TIMER_LINK: return ((const struct cloud_connection *)timer)->last_input_us + BROKER_CONNECT_TIMEOUT_US;
    case TIMER_SESSION: return broker_session_deadline((const struct session *)timer);
    default: return broker_message_expires_us(((const struct retained_node *)timer)->message);
    }
}

static void due(struct cloud_broker *broker, struct timer *timer, enum timer_kind kind, int64_t now_us)
{
    switch (kind) {
    case TIMER_LINK:
        broker_link_end(broker, (struct cloud_connection *)timer, now_us, CLOUD_CLOSED_CLIENT_ERROR, true);
        break;
    case TIMER_SESSION: broker_session_due(broker, (struct session *)timer, now_us); break;
    default: broker_retained_expire(broker, (struct retained_node *)timer); break;
    }
}

void broker_timer_fire(struct cloud_broker *broker, int64_t now_us)
{
    while (broker->timer_count && broker->timers[0].deadline_us <= now_us) {
        struct timer *timer = timer_of(broker->timers[0]);
        enum timer_kind kind = broker->timers[0].owner & TIMER_KINDS;
        int64_t deadline_us = true_deadline(timer, kind);
        if (deadline_us <= now_us)
            due(broker, timer, kind, now_us);
        else if (deadline_us == TIME_NEVER)
            broker_timer_remove(broker, timer);
        else
            sift_down(broker, 0, (struct timer_entry){deadline_us, (uintptr_t)timer | kind});
    }
}
