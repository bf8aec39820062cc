/* fleet_remote.h: what both worlds share of remote_commands { } and of parked cars: the books of each command from the asking to its end, where a
 * vehicle stands parked, which radio it then has, what its battery gives.
 */
#ifndef WORLDS_FLEET_REMOTE_H
#define WORLDS_FLEET_REMOTE_H

#include "fleet.h"

#include "cloud/keys.h"
#include "cloud/remote.h"

/* ---- commands ------------------------------------------------------------------------------------------------------ */

struct fleet_order { /* times: -1: has not happened */
    uint64_t id;     /* the desk's; 0: not known yet */
    int64_t asked_us, sent_us, tapped_us, woken_us, online_us, received_us, executed_us;
    uint32_t vehicle;
    uint8_t end;      /* enum cloud_remote_end + 1; 0: open */
    uint8_t executed; /* how often; stays at 255 */
    uint8_t watched;  /* watchers who have been told the end */
    bool modem_slept : 1, sent : 1, late : 1;
};

struct fleet_attacks; /* fleet_attack.h */

/* Of one desk. */
struct fleet_orders {
    struct fleet *fleet;
    struct fleet_order *list; /* in the order of their ids */
    uint32_t count, capacity;
    struct cloud_watch *watch;
    struct cloud_sms *sms;
    struct cloud_keys *keys; /* given by the world, or made when it is opened: modelled ones */
    struct cloud_remote *remote;
    /* Where commands are executions, set before it is opened: the service, borrowed; or how it is reached, and what its events begin with. */
    struct cloud_executions *executions;
    int (*execute)(struct fleet_orders *orders, int64_t now_us, const struct cloud_remote_execution *execution);
    const char *event_prefix;
    struct fleet_attacks *attacks; /* NULL: nobody tries */
    struct cloud_keys *forger;     /* ... with real keys: the same vehicles', another signature. Given by the world */
    struct sim_random chance;      /* of the gateway */
    uint8_t *followed;             /* bits by vehicle: its watchers are known to the desk; NULL: nobody watches */
    int64_t ended_us;              /* of the last result told */
    void *world;                   /* of the hook below */
    /* The network tries to give the vehicle an SMS. */
    enum cloud_sms_attempt (*deliver)(void *world, int64_t now_us, uint32_t vehicle, struct span text);
};

/* Watch, gateway, keys and desk on two buses; number: tells desks of a run apart. false: out of memory, or refused. */
bool fleet_orders_open(struct fleet_orders *orders, struct fleet *fleet, const struct cloud_profile *profile,
                       struct cloud_bus *watch_bus, struct cloud_bus *desk_bus, uint32_t number, int64_t now_us);
void fleet_orders_close(struct fleet_orders *orders);
struct fleet_order *fleet_order_find(const struct fleet_orders *orders, uint64_t id); /* NULL: none of this desk's */
int64_t fleet_orders_next(const struct fleet_orders *orders);
void fleet_orders_tick(struct fleet_orders *orders, int64_t now_us);
/* A user asks. modem_slept: the vehicle is online, and its modem is asleep between paging occasions. */
void fleet_orders_ask(struct fleet_orders *orders, int64_t now_us, uint32_t vehicle, uint16_t app, struct span command,
                      int64_t timeout_us, bool modem_slept);
/* Closes the books; online(): may the vehicle be expected to have answered? */
void fleet_orders_finish(struct fleet_orders *orders, int64_t now_us, bool (*online)(void *world, uint32_t vehicle));
/* What the desk believes a debounce after now_us, against what the world knows, is counted at end_us: once the watch has been told so late, of each
 * vehicle. */
void fleet_presence_settle(struct fleet_orders *orders, int64_t now_us);
void fleet_presence_judge(struct fleet_orders *orders, int64_t end_us, uint32_t vehicle,
                          const struct fleet_trace *trace, struct span name, bool connected);
/* A topic on which a vehicle answers, and of one whose answers are to be lost (a fault). */
bool fleet_answer_lost(const struct scenario *scenario, struct span topic, struct span name);

/* ---- parked cars --------------------------------------------------------------------------------------------------- */

enum fleet_place { PLACE_ON_THE_ROAD, PLACE_OUTSIDE, PLACE_GARAGE, PLACE_GARAGE_DARK };
struct fleet_parking { /* per vehicle, where a scenario has any of it */
    struct power_state power;
    int64_t armed_us;            /* the world looks at the battery then; TIME_NEVER */
    int64_t woken_us, online_us; /* the last time: by SMS; online */
    uint16_t parkings;
    uint8_t place; /* enum fleet_place */
    bool off;      /* cut off from the battery */
    bool asleep;
};
bool fleet_has_parking(const struct scenario *scenario);
/* What the scenario says of radios and paths can only be acted out by a link model; and what is better acted out with one. */
bool fleet_is_nothing_without_link_model(const struct scenario *scenario);
bool fleet_needs_link_model(const struct scenario *scenario);
void fleet_parking_init(struct fleet_parking *parking);
/* Probes and transfers that matter to the battery and to commands. */
void fleet_parking_probe(struct fleet *fleet, const struct fleet_trace *trace, struct fleet_parking *parking,
                         int64_t now_us, const struct tcu_probe *probe);
/* A car where its world keeps it, made up whenever it is needed. Times are the world's; what the battery gives is a matter of the calendar. */
struct fleet_car {
    struct fleet *fleet;
    struct tcu *tcu;
    struct fleet_trace *trace;
    struct fleet_parking *parking; /* NULL: nothing of it in this scenario */
    uint32_t index;
    void *vehicle; /* of the hooks */
    const struct fleet_car_hooks {
        void (*look)(void *vehicle, int64_t at_us); /* fleet_car_battery() is to be called then */
        /* The car stands where there is none, or has left such a place. */
        void (*coverage)(void *vehicle, int64_t now_us, bool covered);
        void (*cut_off)(void *vehicle, int64_t now_us); /* its TCU has no power: what it had under way is gone */
        void (*tell)(void *vehicle, int64_t now_us, const char *what); /* whoever watches; may be NULL */
    } * hooks;
};
/* From the modem to the agent. */
#define FLEET_SMS_HANDLING_US (200 * US_PER_MS)
void fleet_car_sms(const struct fleet_car *car, int64_t now_us, struct span text);
bool fleet_car_hears_sms(const struct fleet_parking *parking, const struct fleet_trace *trace, bool covered);
/* Parked from its first power-up on. */
void fleet_car_begins(const struct fleet_car *car, int64_t now_us);
void fleet_car_ignition(const struct fleet_car *car, int64_t now_us, bool on);
void fleet_car_battery(const struct fleet_car *car, int64_t now_us);
void fleet_car_transfer(const struct fleet_car *car, int64_t now_us, size_t bytes);

/* Which the vehicle has now; parking may be NULL. */
static inline const struct link_profile *fleet_radio(const struct fleet *fleet, const struct fleet_trace *trace,
                                                     const struct fleet_parking *parking)
{
    const struct scenario_cohort *cohort = &fleet->scenario->cohorts[trace->cohort];
    if (__builtin_expect(!parking || parking->place == PLACE_ON_THE_ROAD, 1))
        return &cohort->radio;
    if (parking->place != PLACE_OUTSIDE)
        return &cohort->garage_radio;
    return cohort->has_parked_radio ? &cohort->parked_radio : &cohort->radio;
}
static inline bool fleet_modem_sleeps(const struct link_profile *radio)
{
    return radio->edrx_cycle_us > 0 || radio->psm_period_us > 0;
}

#endif
