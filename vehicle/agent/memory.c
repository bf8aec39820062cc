/* memory.c: what is reserved, what is taken when needed.
 *
 * Without memory_take everything has its place in the caller's block from the start, and nothing here ever fails. With it, a vehicle that
 * is online and idle holds nothing but struct tcu and its session; the queue starts with room for one message and doubles.
 * Nothing is given back in the middle of an event (views may point into it), and a queue not before it is empty, so that a
 * vehicle in traffic does not take and give a block for each message. */
#include "agent_internal.h"

enum { FIRST_QUEUE = 4 };

static size_t queue_bytes(const struct tcu_profile *profile)
{
    return profile->queue_capacity > 1 ? profile->queue_capacity * sizeof(struct agent_record) : 0;
}

/* Vehicles that have it for good. */
static bool keeps_more(const struct tcu_profile *profile)
{
    return profile->stay_connected_us > 0 || profile->shadow || profile->sealed_commands;
}

static size_t more_bytes(const struct tcu_profile *profile)
{
    return keeps_more(profile) || profile->topics.reserved[0] ? sizeof(struct agent_more) : 0;
}

static size_t rotation_bytes(const struct tcu_profile *profile)
{
    return profile->topics.reserved[0] ? sizeof(struct agent_rotation) : 0;
}

static size_t shadow_bytes(const struct tcu_profile *profile)
{
    return profile->shadow ? sizeof(struct agent_shadow) : 0;
}

/* Behind agent or session: what is reserved when it is not taken on demand. */
static uint8_t *reserved_memory(const struct tcu *tcu)
{
    return (uint8_t *)(uintptr_t)(tcu + 1) + (tcu->builtin ? sizeof(struct mq5_client) : sizeof(struct agent_other));
}

size_t tcu_memory(const struct tcu_profile *profile, const struct tcu_port *port, bool builtin_session)
{
    ASSERT(profile->prepared);
    size_t bytes = sizeof(struct tcu) + (builtin_session ? sizeof(struct mq5_client) : sizeof(struct agent_other));
    if (port->memory_take)
        return bytes;
    bytes += sizeof(struct agent_recent) + sizeof(struct agent_slots) + queue_bytes(profile);
    bytes += more_bytes(profile) + rotation_bytes(profile) + shadow_bytes(profile);
    return bytes + (builtin_session ? mq5_client_memory(&profile->mqtt) : 0);
}

static void recent_init(struct agent_recent *recent)
{
    memset(recent, 0, sizeof(*recent));
    for (unsigned i = 0; i < AGENT_RECENT; i++)
        recent->order[i] = (uint8_t)i;
}

static void slots_init(struct agent_slots *slots)
{
    memset(slots, 0, sizeof(*slots));
    for (unsigned i = 0; i < AGENT_SLOTS; i++)
        slots->slot[i].recent = AGENT_NO_RECENT;
}

static struct agent_more *more_init(struct agent_more *more)
{
    memset(more, 0, sizeof(*more));
    more->power_due_us = TIME_NEVER;
    return more;
}

void agent_memory_init(struct tcu *tcu)
{
    uint8_t *at = reserved_memory(tcu);
    tcu->queue_capacity = 1;
    tcu->on_demand = tcu->port->memory_take != NULL;
    if (!tcu->on_demand) {
        tcu->recent = (struct agent_recent *)(void *)at;
        tcu->slots = (struct agent_slots *)(void *)(tcu->recent + 1);
        recent_init(tcu->recent);
        slots_init(tcu->slots);
        at = (uint8_t *)(tcu->slots + 1);
        if (tcu->profile->queue_capacity > 1) {
            tcu->queue = (struct agent_record *)(void *)at;
            tcu->queue_capacity = tcu->profile->queue_capacity;
        }
        at += queue_bytes(tcu->profile);
        if (more_bytes(tcu->profile) > 0)
            tcu->more = more_init((struct agent_more *)(void *)at);
        at += more_bytes(tcu->profile) + rotation_bytes(tcu->profile) + shadow_bytes(tcu->profile);
    }
    if (tcu->builtin)
        agent_session_init(tcu, tcu->on_demand ? NULL : at);
}

struct agent_recent *agent_recent_need(struct tcu *tcu)
{
    if (tcu->recent)
        return tcu->recent;
    tcu->recent = tcu->port->memory_take(tcu->port_context, sizeof(*tcu->recent));
    if (tcu->recent)
        recent_init(tcu->recent);
    return tcu->recent;
}

struct agent_slots *agent_slots_need(struct tcu *tcu)
{
    if (tcu->slots)
        return tcu->slots;
    tcu->slots = tcu->port->memory_take(tcu->port_context, sizeof(*tcu->slots));
    if (tcu->slots)
        slots_init(tcu->slots);
    return tcu->slots;
}

static void give(struct tcu *tcu, void *block, size_t size)
{
    tcu->port->memory_give(tcu->port_context, block, size);
}

struct agent_more *agent_more_need(struct tcu *tcu)
{
    if (tcu->more)
        return tcu->more;
    struct agent_more *more = tcu->port->memory_take(tcu->port_context, sizeof(*more));
    return more ? tcu->more = more_init(more) : NULL;
}

void agent_more_settle(struct tcu *tcu)
{
    if (!tcu->on_demand || !tcu->more || keeps_more(tcu->profile) || tcu->more->rotation || tcu->more->shadow)
        return;
    give(tcu, tcu->more, sizeof(*tcu->more));
    tcu->more = NULL;
}

struct agent_rotation *agent_rotation_need(struct tcu *tcu)
{
    ASSERT(!agent_rotation(tcu) && tcu->profile->topics.reserved[0]);
    struct agent_more *more = agent_more_need(tcu);
    if (!more)
        return NULL;
    struct agent_rotation *rotation = (struct agent_rotation *)(void *)(more + 1); /* where it is reserved */
    if (tcu->on_demand)
        rotation = tcu->port->memory_take(tcu->port_context, sizeof(*rotation));
    if (!rotation) {
        agent_more_settle(tcu);
        return NULL;
    }
    memset(rotation, 0, sizeof(*rotation));
    rotation->timer_us = TIME_NEVER;
    return more->rotation = rotation;
}

void agent_rotation_give(struct tcu *tcu)
{
    if (tcu->on_demand)
        give(tcu, tcu->more->rotation, sizeof(*tcu->more->rotation));
    tcu->more->rotation = NULL;
    agent_more_settle(tcu);
}

struct agent_shadow *agent_shadow_need(struct tcu *tcu)
{
    struct agent_more *more = agent_more_need(tcu);
    if (!more)
        return NULL;
    struct agent_shadow *shadow = (struct agent_shadow *)(void *)((uint8_t *)(more + 1) + rotation_bytes(tcu->profile));
    if (tcu->on_demand)
        shadow = tcu->port->memory_take(tcu->port_context, sizeof(*shadow));
    if (!shadow)
        return NULL;
    memset(shadow, 0, sizeof(*shadow));
    return more->shadow = shadow;
}

static bool queue_grow(struct tcu *tcu)
{
    unsigned capacity = tcu->queue_capacity == 1 ? FIRST_QUEUE : tcu->queue_capacity * 2u;
    if (capacity > tcu->profile->queue_capacity)
        capacity = tcu->profile->queue_capacity;
    struct agent_record *queue = tcu->port->memory_take(tcu->port_context, capacity * sizeof(*queue));
    if (!queue)
        return false;
    for (unsigned i = 0; i < tcu->queue_count; i++)
        queue[i] = *agent_record(tcu, i);
    if (tcu->queue_capacity > 1)
        give(tcu, tcu->queue, tcu->queue_capacity * sizeof(*queue));
    tcu->queue = queue;
    tcu->queue_head = 0;
    tcu->queue_capacity = (uint16_t)capacity;
    return true;
}

bool agent_queue_room(struct tcu *tcu)
{
    return tcu->queue_count < tcu->queue_capacity ||
           (tcu->on_demand && tcu->queue_count < tcu->profile->queue_capacity && queue_grow(tcu));
}

static void queue_give(struct tcu *tcu)
{
    give(tcu, tcu->queue, tcu->queue_capacity * sizeof(struct agent_record));
    tcu->queue_capacity = 1;
    tcu->queue_head = 0;
}

void agent_memory_settle(struct tcu *tcu)
{
    if (tcu->queue_count == 0 && tcu->queue_capacity > 1)
        queue_give(tcu);
    if (tcu->slots && tcu->slots->busy == 0) {
        give(tcu, tcu->slots, sizeof(*tcu->slots));
        tcu->slots = NULL;
    }
}

void agent_memory_release(struct tcu *tcu)
{
    if (tcu->builtin)
        mq5_client_release(agent_session(tcu));
    if (agent_rotation(tcu))
        agent_rotation_give(tcu);
    if (!tcu->on_demand)
        return;
    if (tcu->queue_capacity > 1)
        queue_give(tcu);
    if (tcu->slots)
        give(tcu, tcu->slots, sizeof(*tcu->slots));
    if (tcu->recent)
        give(tcu, tcu->recent, sizeof(*tcu->recent));
    if (tcu->more && tcu->more->shadow)
        give(tcu, tcu->more->shadow, sizeof(*tcu->more->shadow));
    if (tcu->more)
        give(tcu, tcu->more, sizeof(*tcu->more));
    tcu->more = NULL;
    tcu->slots = NULL;
    tcu->recent = NULL;
    tcu->queue_count = tcu->queue_inflight = 0;
}
