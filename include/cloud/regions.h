/* cloud/regions.h: where a vehicle belongs: the endpoint resolver, residency rules, the move of a vehicle from one region to another, and the
 * migration of a fleet from one broker to another by cohorts.
 *
 * Regions are numbered 0 .. n-1 by their owner. Pure tables and state machines: the owner moves bytes between registries.
 */
#ifndef CLOUD_REGIONS_H
#define CLOUD_REGIONS_H

#include "base.h"

#define CLOUD_REGIONS_MAX 16
#define CLOUD_NO_REGION   0xFF

/* ---- the resolver: which endpoint for this vehicle, now ------------------------------------------------------------- */

enum cloud_routing {
    CLOUD_ROUTE_GEOLOCATION, /* the region of the country the question comes from */
    CLOUD_ROUTE_LATENCY,     /* the nearest by the latency table, of those allowed */
    CLOUD_ROUTE_STATIC,      /* the table by thing; those without an entry: the default region */
};
const char *cloud_routing_name(enum cloud_routing routing); /* "geolocation" */

struct cloud_resolver_options {
    uint32_t regions;
    enum cloud_routing routing;
    uint8_t standard; /* region without a better answer */
    uint32_t
        latency_us[CLOUD_REGIONS_MAX]
                  [CLOUD_REGIONS_MAX]; /* [place][region], for LATENCY; place: where the vehicle is, by region number */
    /* Residency: bit r of may_serve[home]: region r may hold the data of vehicles whose home is `home`. 0: the home only. */
    uint16_t may_serve[CLOUD_REGIONS_MAX];
    int64_t ttl_us; /* of an answer, for who caches it; 0: 60 s */
};
struct cloud_resolver;
struct cloud_resolver *cloud_resolver_create(
    const struct cloud_resolver_options *options); /* NULL: out of memory, or an option out of range */
void cloud_resolver_destroy(struct cloud_resolver *resolver);
struct cloud_resolved {
    uint8_t region;   /* CLOUD_NO_REGION: none may serve it now */
    bool failed_over; /* not the one it would be with all regions up */
    bool forbidden;   /* none: residency forbids those that are up */
};
/* home: whose law the data is under; place: where the question comes from. */
struct cloud_resolved cloud_resolver_ask(const struct cloud_resolver *resolver, struct span thing, uint8_t home,
                                         uint8_t place);
void cloud_resolver_set_up(struct cloud_resolver *resolver, uint8_t region, bool up); /* health checks' verdict */
bool cloud_resolver_set_static(struct cloud_resolver *resolver, struct span thing,
                               uint8_t region); /* false: out of memory, or no such region */
int64_t cloud_resolver_ttl_us(const struct cloud_resolver *resolver);
bool cloud_resolver_allows(const struct cloud_resolver *resolver, uint8_t home, uint8_t region);
uint64_t cloud_resolver_bytes(const struct cloud_resolver *resolver);

/* ---- moving a vehicle's home ----------------------------------------------------------------------------------------- */

/* What is kept about a vehicle, as residency rules name it. */
enum cloud_data_kind {
    CLOUD_DATA_IDENTITY = 1 << 0,  /* thing name, certificate id, policy: the minimum to serve it */
    CLOUD_DATA_PERSONAL = 1 << 1,  /* owner, VIN (sealed) */
    CLOUD_DATA_TELEMETRY = 1 << 2, /* what it has reported: stays where it was made unless the rules say so */
    CLOUD_DATA_SHADOW = 1 << 3,
    CLOUD_DATA_SESSION = 1 << 4, /* of the broker: queued messages, subscriptions */
};
struct cloud_move_rules {
    uint8_t copied;         /* kinds that go along: IDENTITY | SHADOW, say */
    uint8_t cleaned;        /* kinds that must be gone from the old region afterwards */
    uint8_t kept;           /* kinds the old region's law wants kept (invoices): never more than these may be found */
    int64_t clean_after_us; /* after the vehicle was first served in the new region */
    int64_t give_up_us;     /* not served there by then: the move is undone; 0: 1 h */
};
enum cloud_move_state { CLOUD_MOVE_NONE, CLOUD_MOVE_COPIED, CLOUD_MOVE_SERVED, CLOUD_MOVE_CLEANED, CLOUD_MOVE_UNDONE };

/* The owner's hands: carry out on the registries, shadows and sessions it has. false: that failed; it is tried again a
 * second later. They do not call back into the moves. */
struct cloud_move_hands {
    bool (*copy)(void *context, struct span thing, uint8_t from, uint8_t to, uint8_t kinds);
    bool (*clean)(void *context, struct span thing, uint8_t region, uint8_t kinds);
    /* Which kinds a region still has of the thing. */
    uint8_t (*query)(void *context, struct span thing, uint8_t region);
    void (*told)(void *context, int64_t now_us, struct span thing, uint8_t from, uint8_t to,
                 enum cloud_move_state state, int64_t began_us);
    void *context;
};
struct cloud_moves; /* begins with struct cloud_due */
struct cloud_moves *cloud_moves_create(const struct cloud_move_rules *rules, const struct cloud_move_hands *hands);
void cloud_moves_destroy(struct cloud_moves *moves);
/* The vehicle asks for service in `to`: its identity is copied there. false: out of memory, or already under way. */
bool cloud_moves_begin(struct cloud_moves *moves, int64_t now_us, struct span thing, uint8_t from, uint8_t to);
/* A region has served the vehicle (online, and a command answered, as the owner likes). Served by the old one again before that is cleaned:
 * back to CLOUD_MOVE_COPIED. */
void cloud_moves_served(struct cloud_moves *moves, int64_t now_us, struct span thing, uint8_t region);
enum cloud_move_state cloud_moves_state(const struct cloud_moves *moves, struct span thing);
int64_t cloud_moves_next_deadline(const struct cloud_moves *moves);
void cloud_moves_tick(struct cloud_moves *moves, int64_t now_us);
/* What the rules forbid and a region still has, as the last move of the thing stands. */
uint8_t cloud_moves_leftovers(const struct cloud_moves *moves, struct span thing, uint8_t region);
uint64_t cloud_moves_bytes(const struct cloud_moves *moves);

/* ---- migrating a fleet between brokers -------------------------------------------------------------------------------- */

enum cloud_wave_state { CLOUD_WAVE_WAITING, CLOUD_WAVE_MOVING, CLOUD_WAVE_MOVED, CLOUD_WAVE_ROLLED_BACK };
struct cloud_wave { /* a cohort's turn */
    uint16_t cohort;
    int64_t at_us;     /* from the start of the migration */
    int64_t within_us; /* its vehicles are sent over spread over so long */
};
struct cloud_migration_options {
    const struct cloud_wave *waves; /* copied */
    uint32_t wave_count;
    double
        abort_share; /* of a wave's vehicles not online on the new broker `settle_us` after their turn; above it: the wave goes back; 0: never */
    int64_t settle_us; /* 0: 5 min */
};
/* A wave is judged when the last of its vehicles has had its time to settle, and again by what comes after; the other waves go on. */
struct cloud_migration; /* begins with struct cloud_due */
/* NULL: out of memory, no waves, two for one cohort, or a number out of range. */
struct cloud_migration *cloud_migration_create(const struct cloud_migration_options *options, int64_t now_us);
void cloud_migration_destroy(struct cloud_migration *migration);
/* Which broker the vehicle belongs to now: 0 the old, 1 the new. `part`: 0..2^32-1, its place in its wave. */
uint32_t cloud_migration_broker(const struct cloud_migration *migration, int64_t now_us, uint16_t cohort,
                                uint32_t part);
/* Of a vehicle whose turn has come: it is online on the new broker, or its turn is over and it is not. */
void cloud_migration_arrived(struct cloud_migration *migration, int64_t now_us, uint16_t cohort, bool arrived);
void cloud_migration_tick(struct cloud_migration *migration, int64_t now_us);
void cloud_migration_roll_back(struct cloud_migration *migration, int64_t now_us); /* all waves */
enum cloud_wave_state cloud_migration_wave(const struct cloud_migration *migration, uint32_t wave);

#endif
