/* fleet_shadow.h: what both worlds share of shadow { }: the settings of a car, who changes them, and whether cloud, app and car agree in the end.
 *
 * A car has up to eight settings, whole numbers. Users read the shadow, think, and change one setting of desired from what they read, saying the version
 * they read; drivers change settings in the car. The desk that users ask is one client of the broker, and hears every change from update/documents.
 */
#ifndef WORLDS_FLEET_SHADOW_H
#define WORLDS_FLEET_SHADOW_H

#include "fleet.h"

#include "cloud/bus.h"

#define FLEET_APP_DESK "app-desk" /* the desk's client id where reserved topics bear one */

enum fleet_user_step { USER_WAITS, USER_READING, USER_THINKING, USER_WRITING };
struct fleet_user {
    int64_t due_us;   /* TIME_NEVER: changes nothing any more */
    uint64_t version; /* of what was read */
    uint32_t serial;  /* of the request sent last: in its token */
    int16_t more, value;
    uint8_t setting, step;
    bool again; /* the same change once more */
};

struct fleet_shadow { /* per vehicle, where a scenario has shadow { } */
    int64_t armed_us; /* the world wakes it then; TIME_NEVER */
    int64_t driver_us, apply_us;
    int64_t wished_us;             /* desired changed, and reported is not yet the same; -1: it is */
    int64_t changed_us, online_us; /* the last change anywhere; online since, -1: is not */
    uint64_t version;              /* of the document heard of last */
    int16_t value[SCENARIO_SETTINGS], target[SCENARIO_SETTINGS]; /* in the car; -1: nothing is to be brought about */
    int16_t desired[SCENARIO_SETTINGS], reported[SCENARIO_SETTINGS]; /* by the document; -1: not in it */
    int16_t expected[SCENARIO_SETTINGS]; /* what the accepted changes of the users come to; -1: none */
    struct fleet_user users[SCENARIO_USERS];
    uint32_t draws;
};

struct fleet_shadows { /* of one desk */
    struct fleet *fleet;
    struct cloud_bus *bus;
    void *world;                                                 /* of the hooks below */
    struct fleet_shadow *(*find)(void *world, uint32_t vehicle); /* NULL: not this desk's */
    void (*wake)(void *world, uint32_t vehicle, int64_t at_us);
};

/* What a cloud needs for the scenario's shadows and executions. */
void fleet_cloud_options(const struct scenario *scenario, struct cloud_options *options);
/* bus: what is published on a shadow's topics there is a request. false: a subscription was refused. */
bool fleet_shadows_open(struct fleet_shadows *shadows, int64_t now_us);
void fleet_shadow_start(struct fleet_shadows *shadows, uint32_t vehicle, struct fleet_shadow *shadow, int64_t now_us);
/* Woken: users, driver, what is being brought about. tcu NULL: it has no power. */
void fleet_shadow_due(struct fleet_shadows *shadows, uint32_t vehicle, struct fleet_shadow *shadow, struct tcu *tcu,
                      int64_t now_us);
/* The agent's ports and probes. */
void fleet_shadow_set(struct fleet_shadows *shadows, uint32_t vehicle, struct fleet_shadow *shadow, int64_t now_us,
                      struct span wanted);
size_t fleet_shadow_state(const struct fleet *fleet, uint32_t vehicle, const struct fleet_shadow *shadow, char *out,
                          size_t capacity);
void fleet_shadow_probe(struct fleet_shadow *shadow, int64_t now_us, const struct tcu_probe *probe);
/* At the end: do users, desired, reported and the car agree, if there was time? */
void fleet_shadow_finish(struct fleet *fleet, uint32_t vehicle, const struct fleet_trace *trace,
                         const struct fleet_shadow *shadow, int64_t now_us);

#endif
