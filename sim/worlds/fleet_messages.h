/* fleet_messages.h: what both worlds share of processors { } and of notices: who takes which telemetry and what each holds in hand, which notice
 * goes to whom when, and the books of both.
 *
 * A processor is a client of the broker. What it takes it holds until it commits: then the telemetry counts as delivered, and is acknowledged. One
 * that dies leaves what it held unacknowledged, and the broker gives it to another, or to itself when it comes back to its session.
 */
#ifndef WORLDS_FLEET_MESSAGES_H
#define WORLDS_FLEET_MESSAGES_H

#include "fleet.h"

#include "cloud/messages.h"

/* ---- processors ------------------------------------------------------------------------------------------------------ */

#define FLEET_MEMBERS (SCENARIO_GROUPS * SCENARIO_GROUP_MEMBERS)

struct fleet_taken { /* a message in hand */
    int64_t wall_us;
    uint32_t vehicle, number; /* vehicle UINT32_MAX: nothing of this fleet */
    uint16_t packet_id;       /* 0: nothing to acknowledge */
    bool acknowledged;
};

struct fleet_member { /* number: group * SCENARIO_GROUP_MEMBERS + place */
    struct fleet_taken *taken;
    uint32_t count, capacity;
    int64_t due_us;  /* commits then; TIME_NEVER: nothing in hand */
    int64_t back_us; /* dead: comes back then */
    int64_t gone_us; /* leaving: has unsubscribed, and says good-bye then; TIME_NEVER: it is not */
    uint64_t load;   /* messages since the group's members changed last */
    uint64_t total;  /* ... of the whole run */
    bool up, early;  /* early: something is to be acknowledged before it is committed */
};

/* The world's part. Numbers of members; filter: what to subscribe to. */
struct fleet_pool_ops {
    bool (*open)(void *world, int64_t now_us, uint32_t member, const char *filter /* NULL: to nothing */);
    void (*unsubscribe)(void *world, int64_t now_us, uint32_t member); /* from what it was opened with */
    void (*close)(void *world, int64_t now_us, uint32_t member, bool politely);
    void (*acknowledge)(void *world, int64_t now_us, uint32_t member, uint16_t packet_id);
};

struct fleet_pool {
    struct fleet *fleet;
    const struct fleet_pool_ops *ops;
    void *world;
    int64_t next_us;
    uint32_t divisor; /* places with a pool of their own among which each group's members are divided */
    struct {
        char topic[96]; /* template of what arrives */
        char filter[160];
        struct cloud_telemetry_topic taken_apart;
    } groups[SCENARIO_GROUPS];
    struct fleet_member members[FLEET_MEMBERS];
};

/* false: a member could not be opened. */
bool fleet_pool_open(struct fleet_pool *pool, struct fleet *fleet, const struct fleet_pool_ops *ops, void *world,
                     uint32_t divisor, int64_t now_us);
void fleet_pool_take(struct fleet_pool *pool, uint32_t member, int64_t now_us, const struct mq5_publish *message);
static inline int64_t fleet_pool_next(const struct fleet_pool *pool)
{
    return pool->next_us;
}
void fleet_pool_tick(struct fleet_pool *pool, int64_t now_us);
/* ACTION_PROCESSORS_SCALE, ACTION_PROCESSOR_DIES: members concerned. */
int64_t fleet_pool_act(struct fleet_pool *pool, int64_t now_us, const struct world_action *action);
/* The connection of a member went without anybody wanting it to. */
void fleet_pool_lost(struct fleet_pool *pool, uint32_t member);
/* All connections went, as in a broker's restart: members connect anew. */
void fleet_pool_broken(struct fleet_pool *pool, int64_t now_us);
/* What is in hand is committed, the load is judged. */
void fleet_pool_finish(struct fleet_pool *pool, int64_t now_us);
void fleet_pool_close(struct fleet_pool *pool, int64_t now_us);

/* ---- the router ------------------------------------------------------------------------------------------------------ */

/* "dt/%/fw/": before the firmware version of a vehicle that has no properties to say it in. */
void fleet_marked_topic(const struct fleet *fleet, char out[64]);
/* The whole topic of such a vehicle's telemetry. */
void fleet_marked_telemetry(const struct fleet *fleet, const char *firmware, char out[64]);
struct cloud_router *fleet_router_open(struct fleet *fleet, struct cloud_bus *bus, struct cloud_bus *marked_bus,
                                       const char *share, int64_t now_us);

/* ---- notices, and the books of them and of topic aliases -------------------------------------------------------------- */

struct fleet_book {      /* of one vehicle; by kind of notice */
    int64_t alias_saved; /* bytes, both ways */
    uint16_t sent[SCENARIO_NOTICES], got[SCENARIO_NOTICES];
    uint16_t newest[SCENARIO_NOTICES], last[SCENARIO_NOTICES]; /* rounds: sent to it, had by it */
};

struct fleet_notices { /* to vehicles first, first + stride, ... */
    struct fleet *fleet;
    struct cloud_bus *bus;
    struct cloud_bus *(*bus_of)(void *world, uint32_t vehicle); /* instead, when not NULL */
    void *world;
    uint32_t first, stride;
    int64_t next_us, due_us[SCENARIO_NOTICES];
    uint32_t round[SCENARIO_NOTICES];
    char topic[64];
};

void fleet_notice_topic(const struct fleet *fleet, char out[64]); /* "notice/%/" */
void fleet_notices_open(struct fleet_notices *notices, struct fleet *fleet, struct cloud_bus *bus, uint32_t first,
                        uint32_t stride);
void fleet_notices_tick(struct fleet_notices *notices, int64_t now_us);
/* TCU_PROBE_NOTICE, _ALIAS, and _ONLINE before the trace is told. */
void fleet_book_probe(struct fleet *fleet, uint32_t vehicle, const struct fleet_trace *trace, int64_t now_us,
                      const struct tcu_probe *probe);
void fleet_book_finish(struct fleet *fleet, uint32_t vehicle, const struct fleet_trace *trace, int64_t now_us);

#endif
