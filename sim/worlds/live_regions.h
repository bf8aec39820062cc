/* live_regions.h: regions with a cloud each in the live world: what live_regions.c, live_places.c and live_moves.c share, and what a cloud's process knows of it.
 */
#ifndef WORLDS_LIVE_REGIONS_H
#define WORLDS_LIVE_REGIONS_H

#include "live.h"

#include "fleet_migration.h"
#include "fleet_regions_bus.h"

struct live_turn {
    struct fleet_turn turn;
    struct fleet_seen seen;
};

/* Of a vehicle, where the name of the endpoint is resolved: there is no migration. Its connection or attempt goes to live_vehicle.broker. */
struct live_whereabouts {
    int64_t answer_until_us; /* the modem keeps the resolver's answer so long */
    int64_t arrived_us;      /* in its new region, and not serving commands there yet; -1 */
    int64_t lost_us;         /* the region that served it went; -1 */
    uint8_t home, place;     /* whose law its data is under; where it is */
    uint8_t former;          /* its home before; CLOUD_NO_REGION */
    uint8_t answer;          /* of the resolver; CLOUD_NO_REGION: none may serve it */
    bool taken_over;
};

/* What a region has of a vehicle, as bits of enum cloud_data_kind. */
struct live_record {
    uint8_t held;    /* made there, beyond registry and session */
    uint8_t brought; /* copied from another region */
    uint8_t told;    /* what its registry and its broker have, as its process said last */
    bool cleaning;   /* it was told to clean since something came last */
};

struct live_region {
    struct live_record *records;        /* by place */
    int64_t down_known_us, up_known_us; /* when the health checks will say so; TIME_NEVER */
};

struct live_regions {
    struct fleet_migration migration;
    struct live_turn *turns;        /* by place */
    struct live_whereabouts *where; /* by place; NULL: cars go where their turn says (migration) */
    struct live_region list[SCENARIO_REGIONS];
    struct cloud_resolver *resolver; /* NULL: as `where` */
    struct cloud_moves *moves;       /* NULL: as `where` */
    struct cloud_bus *desk, *watch;  /* on all brokers */
};

static inline struct live_whereabouts *live_where(const struct live_vehicle *vehicle)
{
    return &vehicle->world->regions->where[live_place(vehicle)];
}

static inline const struct scenario_regions *live_rules(const struct live_world *world)
{
    return &world->scenario->cloud.regions;
}

/* live_regions.c: what a region's cloud is told; about one vehicle. */
void live_region_order(struct live_world *world, uint8_t region, const struct live_order *order);
void live_region_tell(const struct live_vehicle *vehicle, uint8_t region, enum live_order_kind kind, uint8_t to);
void live_region_know(const struct live_vehicle *vehicle, uint8_t to); /* its identity is copied there */

/* live_places.c: which region, and what happens when one goes. */
bool live_places_start(struct live_world *world);
void live_places_stop(struct live_world *world);
void live_places_vehicle(struct live_vehicle *vehicle);
bool live_places_choose(struct live_vehicle *vehicle);
void live_places_reference(struct live_vehicle *vehicle, struct span reference);
void live_places_online(struct live_vehicle *vehicle);
void live_places_send_home(struct live_vehicle *vehicle);
void live_places_delivered(struct live_world *world, uint8_t region, const struct mq5_publish *message);
int64_t live_places_next(const struct live_world *world);
void live_places_tick(struct live_world *world);
bool live_places_wrong(const struct live_vehicle *vehicle);
uint8_t live_places_named(const struct live_world *world, const char *name); /* CLOUD_NO_REGION: there is none */
/* The rules themselves, whatever the resolver believes: may the region hold data of vehicles at home there? */
bool live_places_may_hold(const struct live_world *world, uint8_t home, uint8_t region);
double live_places_part(const struct live_vehicle *vehicle, uint32_t salt); /* a draw of the vehicle's own: 0..1 */

/* live_moves.c: homes that change; what each region has of each vehicle. */
bool live_moves_start(struct live_world *world);
void live_moves_stop(struct live_world *world);
void live_moves_arrived(struct live_vehicle *vehicle, uint32_t slot);
void live_moves_online(struct live_vehicle *vehicle);
void live_moves_service(struct live_vehicle *vehicle);
void live_moves_served(struct live_vehicle *vehicle);
void live_moves_audit(struct live_world *world, int64_t at_us); /* asks the clouds, and waits for what they say */

#endif
