/* fleet_migration.h: what both worlds share of migration { }: each vehicle's turn to go to the other broker, and back when its wave has failed. The machine
 * is cloud/regions.h's; vehicles are told by their place in this partition or process.
 */
#ifndef WORLDS_FLEET_MIGRATION_H
#define WORLDS_FLEET_MIGRATION_H

#include "fleet_remote.h"

#include "cloud/regions.h"

struct fleet_turn {         /* of a vehicle */
    int64_t drain_until_us; /* its turn waits for its open commands at most until then; 0: it does not */
    uint8_t table;          /* the broker it belongs to */
    bool migrated : 1;      /* it is, or was last, on the new one */
    bool sent_back : 1;     /* its wave has failed, or one before it */
    bool settling : 1;      /* it has had its turn, and should get there */
};

enum fleet_turn_step { TURN_COMES, TURN_SETTLED };
struct fleet_migration_hooks {
    struct fleet_turn *(*turn)(void *world, uint32_t place);
    uint32_t (*index)(void *world, uint32_t place);            /* in the whole fleet */
    struct fleet_orders *(*desk)(void *world, uint32_t place); /* with its open commands; NULL: none */
    const struct fleet_trace *(*trace)(void *world, uint32_t place);
    void (*wait)(void *world, uint32_t place, enum fleet_turn_step step, int64_t at_us, uint8_t to);
    /* The name is resolved to the broker `to` from now on, and the one it is connected to sends it there. */
    void (*go)(void *world, uint32_t place, int64_t now_us, uint8_t from, uint8_t to);
    bool (*online_at)(void *world, uint32_t place, uint8_t region);
    bool (*should_be_online)(void *world, uint32_t place); /* one that cannot says nothing about the new broker */
    void (*left)(void *world, uint32_t place, int64_t now_us, uint8_t from); /* ... for good */
};

struct fleet_migration {
    struct fleet *fleet;
    struct cloud_migration *machine; /* NULL: there is no migration */
    enum cloud_wave_state *waves;    /* as they were when last looked at */
    uint32_t count;                  /* of vehicles */
    const struct fleet_migration_hooks *hooks;
    void *world;
};

/* false: out of memory. Times of the calendar pass as fast as the fleet's. */
bool fleet_migration_start(struct fleet_migration *migration);
void fleet_migration_stop(struct fleet_migration *migration);
void fleet_migration_vehicle(struct fleet_migration *migration, uint32_t place, uint8_t region);
int64_t fleet_migration_next(const struct fleet_migration *migration);
void fleet_migration_tick(struct fleet_migration *migration, int64_t now_us);
void fleet_migration_step(struct fleet_migration *migration, uint32_t place, int64_t now_us, enum fleet_turn_step step,
                          uint8_t to);
void fleet_migration_online(struct fleet_migration *migration, uint32_t place, int64_t now_us, uint8_t region);
int64_t fleet_migration_roll_back(struct fleet_migration *migration, int64_t now_us); /* vehicles concerned */
/* Why regions cannot be run so in the live world: one line. NULL: they can. */
const char *fleet_migration_objection(const struct scenario *scenario, const struct world_options *options);
/* A fault: the new broker does not take this vehicle. */
bool fleet_migration_refuses(const struct fleet *fleet, uint32_t vehicle, uint8_t region);

#endif
