/* virtual_regions.h: regions with a cloud each (resolver { }, region_moves { }, migration { }): in such scenarios a partition has a broker, a registry,
 * registration and processors for every region. Commands and presence are one service for all regions, which speaks to all of their brokers.
 */
#ifndef WORLDS_VIRTUAL_REGIONS_H
#define WORLDS_VIRTUAL_REGIONS_H

#include "fleet_migration.h"
#include "fleet_regions_bus.h"
#include "virtual.h"

/* What a region's stores hold of a vehicle beyond registry and session, as bits of enum cloud_data_kind. */
struct region_record {
    uint8_t held;    /* made there */
    uint8_t brought; /* copied from another region */
};

struct virtual_region { /* of one partition */
    struct partition *partition;
    struct cloud *cloud; /* the first region's is the partition's own */
    struct cloud_registry *registry;
    struct region_record *records; /* by vehicle */
    int64_t outage_until_us;
    int64_t down_known_us, up_known_us; /* when the health checks will say so; TIME_NEVER */
    uint8_t number;
    struct cloud own; /* of all but the first */
};

/* Of a vehicle. */
struct region_whereabouts {
    int64_t answer_until_us; /* the modem keeps the resolver's answer so long */
    int64_t arrived_us;      /* in its new region, and not serving commands there yet; -1 */
    int64_t lost_us;         /* the region that served it went; -1 */
    uint8_t home, place;     /* whose law its data is under; where it is */
    uint8_t former;          /* its home before; CLOUD_NO_REGION */
    uint8_t toward;          /* whose broker its connection or attempt goes to */
    uint8_t answer;          /* of the resolver; CLOUD_NO_REGION: none may serve it */
    struct fleet_seen seen;
    bool taken_over;
};

struct region_journey { /* data of STEP_ARRIVE */
    uint8_t to;
    bool home_too;
};

struct virtual_regions {
    struct partition *partition;
    uint32_t count;
    struct virtual_region *list;
    struct region_whereabouts *vehicles;
    struct cloud_resolver *resolver;
    struct cloud_moves *moves;
    struct fleet_migration migration;
    struct fleet_turn *turns; /* by vehicle; NULL: there is no migration */
};

static inline struct region_whereabouts *vehicle_whereabouts(const struct virtual_vehicle *vehicle)
{
    return &vehicle->partition->regions->vehicles[vehicle->local];
}
static inline const struct scenario_regions *regions_scenario(const struct virtual_regions *regions)
{
    return &regions->partition->world->scenario->cloud.regions;
}
/* The broker that has seen a vehicle last. */
static inline struct cloud_broker *virtual_broker_of(const struct virtual_vehicle *vehicle)
{
    const struct partition *partition = vehicle->partition;
    if (__builtin_expect(!partition->regions, 1))
        return partition->cloud.broker;
    const struct region_whereabouts *where = vehicle_whereabouts(vehicle);
    return virtual_region_broker(partition,
                                 where->seen.served_by != CLOUD_NO_REGION ? where->seen.served_by : where->home);
}

/* virtual_regions.c. Nothing, where regions are latencies; false: out of memory. */
bool virtual_regions_start(struct partition *partition);
void virtual_region_vehicle(struct virtual_vehicle *vehicle);
struct cloud_registry *virtual_registry_at_home(const struct virtual_vehicle *vehicle);
int64_t virtual_regions_next(const struct virtual_regions *regions);
void virtual_regions_tick(struct virtual_regions *regions, int64_t now_us);
/* An attempt: which region? false: none can be had. */
bool virtual_region_choose(struct virtual_vehicle *vehicle, int64_t now_us);
uint8_t virtual_region_toward(const struct virtual_vehicle *vehicle);
bool virtual_region_is_down(const struct virtual_vehicle *vehicle, int64_t at_us);
void virtual_region_probe(struct virtual_vehicle *vehicle, int64_t now_us, const struct tcu_probe *probe);
void virtual_region_step(struct virtual_vehicle *vehicle, int64_t now_us, const struct step *step);
void virtual_server_reference(void *vehicle, struct span reference, bool for_good);
/* An action of a script: on one vehicle; on a region, or the migration. Vehicles concerned. */
bool virtual_regions_act(struct virtual_vehicle *vehicle, int64_t now_us, const struct world_action *action);
int64_t virtual_regions_trouble(struct virtual_regions *regions, int64_t now_us, const struct world_action *action);
void virtual_regions_close(struct virtual_regions *regions, struct world_result *result);
/* What the clouds of all regions but the first take, added up. */
void virtual_regions_weigh(const struct virtual_regions *regions, uint64_t *brokers, uint64_t *registries);
/* Sends a vehicle to where the resolver wants it, if it is connected elsewhere. */
void virtual_region_send_on(struct virtual_vehicle *vehicle, int64_t now_us, bool for_good);
bool virtual_region_online_at(const struct virtual_vehicle *vehicle, uint8_t region);
double virtual_region_part(const struct virtual_vehicle *vehicle,
                           uint32_t salt); /* a draw of the vehicle's own: 0..1 */

/* A service of all regions on all of their brokers. NULL: out of memory. */
struct cloud_bus *virtual_regions_bus(struct virtual_regions *regions, const char *client_id);

/* virtual_moves.c: homes that change, and migration. */
bool virtual_moves_start(struct virtual_regions *regions);
void virtual_moves_vehicle(struct virtual_vehicle *vehicle);
void virtual_moves_arrived(struct virtual_vehicle *vehicle, int64_t now_us, const struct region_journey *journey);
void virtual_moves_service(struct virtual_vehicle *vehicle, int64_t now_us);
void virtual_moves_served(struct virtual_vehicle *vehicle, int64_t now_us);
void virtual_moves_online(struct virtual_vehicle *vehicle, int64_t now_us);
int64_t virtual_moves_next(const struct virtual_regions *regions);
void virtual_moves_tick(struct virtual_regions *regions, int64_t now_us);
/* What each region still has of each vehicle at the end, against what it may have. */
void virtual_moves_audit(struct virtual_regions *regions, int64_t at_us);

#endif
