/* fleet_regions_bus.h: how a service of all regions speaks to their brokers: it listens at all of them, and what it sends goes to the one that has seen the
 * vehicle last. Each broker tells presence of its own; from these the bus makes one series of events a vehicle: a region's "disconnected" is none
 * when another region has seen the vehicle connect since.
 */
#ifndef WORLDS_FLEET_REGIONS_BUS_H
#define WORLDS_FLEET_REGIONS_BUS_H

#include "fleet.h"

#include "cloud/regions.h"

struct fleet_seen {    /* of a vehicle */
    uint32_t version;  /* of its presence */
    uint8_t served_by; /* the broker that has seen it last; CLOUD_NO_REGION */
};

struct fleet_regions_bus;
struct fleet_regions_bus_options {
    const struct fleet *fleet;
    uint32_t part, parts; /* it is of the vehicles whose number is `part` modulo `parts` */
    uint32_t count;
    struct cloud_bus *brokers[SCENARIO_REGIONS]; /* taken over: closed with it, when `owned` */
    bool owned;
    struct fleet_seen *(*seen)(void *world, uint32_t place);
    uint8_t (*home)(void *world, uint32_t place); /* whose broker is meant while none has seen it */
    /* It is connected to another broker than before: what was under way at the old one is to be asked for again. */
    void (*changed)(void *world, uint32_t place, int64_t now_us);
    void *world;
};
/* NULL: out of memory. */
struct cloud_bus *fleet_regions_bus(const struct fleet_regions_bus_options *options);

#endif
