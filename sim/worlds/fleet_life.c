/* fleet_life.c: a vehicle's day: ignition by trips, app users' commands, holes and drops while driving.
 *
 * Everything is pure in (seed, vehicle, how many draws were made), so it does not matter who else is in the fleet. Calendar things (trips,
 * commands) are drawn in calendar time and divided by the speedup; the radio's troubles happen in world time.
 */
#include "fleet.h"

#include <math.h>

/* ---- times in 48 bits -------------------------------------------------------------------------------------------------- */

#define LATEST (INT64_MAX >> 16) /* stands for never; four years on */

static inline int64_t from_short(int64_t time)
{
    return time == LATEST ? TIME_NEVER : time;
}

static inline int64_t to_short(int64_t time_us)
{
    return time_us < LATEST ? time_us : LATEST;
}

_Static_assert(sizeof(struct fleet_life) == 32, "bytes a vehicle");

static int64_t to_world(const struct fleet *fleet, int64_t calendar_us)
{
    if (calendar_us == TIME_NEVER || fleet->speedup == 1)
        return calendar_us;
    return (int64_t)((double)calendar_us / fleet->speedup);
}

static int64_t to_calendar(const struct fleet *fleet, int64_t world_us)
{
    return fleet->speedup == 1 ? world_us : (int64_t)((double)world_us * fleet->speedup);
}

static const struct scenario_cohort *cohort_of(const struct fleet *fleet, uint32_t vehicle)
{
    return &fleet->scenario->cohorts[scenario_cohort_of(fleet->scenario, vehicle)];
}

int64_t fleet_power_up_us(const struct fleet *fleet, uint32_t vehicle)
{
    const struct scenario_cohort *cohort = cohort_of(fleet, vehicle);
    if (cohort->power_up_within_us <= 0)
        return 0;
    struct sim_random random;
    sim_random_init(&random, fleet->scenario->seed, vehicle, SIM_FOR_START);
    return (int64_t)sim_random_below(&random, (uint64_t)cohort->power_up_within_us);
}

/* ---- trips --------------------------------------------------------------------------------------------------------- */

/* Day 0 is the calendar day in which the scenario starts. */
static uint32_t trips_on(const struct fleet *fleet, uint32_t vehicle, int32_t day, struct trip out[TRIPS_PER_DAY_MAX])
{
    const struct scenario *scenario = fleet->scenario;
    int64_t day_start_us = (int64_t)day * US_PER_DAY - scenario->start_of_day_us;
    uint32_t weekday = (uint32_t)((scenario->start_weekday + (uint32_t)(day + 7 * 1000)) % 7);
    return trips_of_day(&cohort_of(fleet, vehicle)->trips, scenario->seed, vehicle, day, weekday, day_start_us, out);
}

/* Sets ignition_us to the next trip that starts after the position (day, trip); leaves the position on it. */
static void find_next_start(const struct fleet *fleet, uint32_t vehicle, struct fleet_life *life)
{
    struct trip trips[TRIPS_PER_DAY_MAX];
    int64_t end_us = fleet->scenario->duration_us;
    for (int16_t day = life->day; (int64_t)day * US_PER_DAY - fleet->scenario->start_of_day_us < end_us;
         day++, life->trip = 0) {
        uint32_t count = trips_on(fleet, vehicle, day, trips);
        if (life->trip < count) {
            life->day = day;
            life->ignition = to_short(to_world(fleet, trips[life->trip].start_us));
            return;
        }
    }
    life->ignition = LATEST;
}

static void find_end(const struct fleet *fleet, uint32_t vehicle, struct fleet_life *life)
{
    struct trip trips[TRIPS_PER_DAY_MAX];
    uint32_t count = trips_on(fleet, vehicle, life->day, trips);
    life->ignition = to_short(life->trip < count ? to_world(fleet, trips[life->trip].end_us) : TIME_NEVER);
}

/* Trips that are over at power-up are skipped; one under way is joined. */
static void start_trips(const struct fleet *fleet, uint32_t vehicle, struct fleet_life *life, int64_t now_us)
{
    struct trip trips[TRIPS_PER_DAY_MAX];
    find_next_start(fleet, vehicle, life);
    while (from_short(life->ignition) <= now_us) {
        uint32_t count = trips_on(fleet, vehicle, life->day, trips);
        int64_t trip_end_us = life->trip < count ? to_world(fleet, trips[life->trip].end_us) : 0;
        if (trip_end_us > now_us)
            return; /* under way: fleet_life_step() will say ignition on at once */
        life->trip++;
        find_next_start(fleet, vehicle, life);
    }
}

/* ---- apps ---------------------------------------------------------------------------------------------------------- */

/* Users a vehicle; above 1 all vehicles have them. */
static double users_each(const struct fleet *fleet, const struct scenario_app *app)
{
    double owners = app->cohort == MEASURE_ANY ? fleet->scenario->fleet : fleet->scenario->cohorts[app->cohort].count;
    return owners > 0 ? app->users / owners : 0;
}

static bool uses_app(const struct fleet *fleet, uint32_t vehicle, uint32_t app)
{
    const struct scenario_app *a = &fleet->scenario->apps[app];
    return scenario_selected(fleet->scenario, vehicle, a->cohort, MEASURE_ANY, users_each(fleet, a), 0xA9900 + app);
}

#define NOBODY_ASKED UINT32_MAX
/* Next command of this vehicle's users after now; commands come as a Poisson process within the app's window, for who has just asked once that user has
 * thought about it. */
static void find_next_command(const struct fleet *fleet, uint32_t vehicle, struct fleet_life *life, int64_t now_us,
                              uint32_t asked)
{
    const struct scenario *scenario = fleet->scenario;
    life->command = LATEST;
    for (uint32_t a = 0; a < scenario->app_count; a++) {
        const struct scenario_app *app = &scenario->apps[a];
        if (app->per_day <= 0 || !uses_app(fleet, vehicle, a))
            continue;
        double users = users_each(fleet, app);
        double mean_us = (double)US_PER_DAY / (app->per_day * (users > 1 ? users : 1));
        uint64_t word = sim_random_at(scenario->seed, vehicle, SIM_FOR_COMMANDS, (uint64_t)life->draws++ * 64 + a);
        double wait_us = -log(((double)(word >> 11) + 1) * 0x1p-53) * mean_us;
        if (app->thinks && a == asked)
            wait_us += (double)sim_table_at(
                &app->think_us,
                (uint32_t)sim_random_at(scenario->seed, vehicle, SIM_FOR_COMMANDS | 0x100, (uint64_t)life->draws));
        int64_t from_us = to_calendar(fleet, now_us);
        if (app->from_us > from_us)
            from_us = app->from_us;
        double at_us = (double)from_us + wait_us;
        int64_t until_us = app->to_us > 0 ? app->to_us : scenario->duration_us;
        if (at_us >= (double)until_us)
            continue;
        int64_t world_us = to_world(fleet, (int64_t)at_us);
        if (world_us <= now_us)
            world_us = now_us + 1;
        if (world_us < from_short(life->command)) {
            life->command = to_short(world_us);
            life->command_app = (uint8_t)a;
        }
    }
}

/* ---- radio --------------------------------------------------------------------------------------------------------- */

static void find_next_trouble(const struct fleet *fleet, uint32_t vehicle, struct fleet_life *life, int64_t now_us)
{
    const struct link_profile *radio = &cohort_of(fleet, vehicle)->radio;
    struct sim_random random;
    sim_random_init(&random, fleet->scenario->seed, vehicle, SIM_FOR_LINK | 0x100);
    random.counter = life->draws++;
    int64_t drop_us = link_next_drop_us(radio, &random);
    int64_t hole_us = link_next_hole_us(radio, &random);
    life->radio_is_hole = hole_us < drop_us;
    int64_t wait_us = life->radio_is_hole ? hole_us : drop_us;
    life->radio = to_short(wait_us == TIME_NEVER ? TIME_NEVER : now_us + wait_us);
}

static void begin_hole(const struct fleet *fleet, uint32_t vehicle, struct fleet_life *life, int64_t now_us)
{
    struct sim_random random;
    sim_random_init(&random, fleet->scenario->seed, vehicle, SIM_FOR_LINK | 0x200);
    random.counter = life->draws++;
    fleet_life_hole(life, now_us + link_hole_duration_us(&cohort_of(fleet, vehicle)->radio, &random));
}

/* ---- all together --------------------------------------------------------------------------------------------------- */

void fleet_life_start(const struct fleet *fleet, uint32_t vehicle, struct fleet_life *life, int64_t now_us)
{
    const struct scenario_cohort *cohort = cohort_of(fleet, vehicle);
    *life = (struct fleet_life){.ignition = LATEST, .command = LATEST, .radio = LATEST, .hole_until = LATEST};
    if (cohort->driving_mode == DRIVING_TRIPS)
        start_trips(fleet, vehicle, life, now_us);
    else if (cohort->driving_mode == DRIVING_ALWAYS)
        life->ignition = to_short(now_us);
    find_next_command(fleet, vehicle, life, now_us, NOBODY_ASKED);
}

int64_t fleet_life_next(const struct fleet_life *life)
{
    int64_t next = life->ignition, command = life->command, radio = life->radio, hole_until = life->hole_until;
    next = command < next ? command : next;
    next = radio < next ? radio : next;
    return from_short(hole_until < next ? hole_until : next);
}

static enum fleet_life_event turn_ignition(const struct fleet *fleet, uint32_t vehicle, struct fleet_life *life,
                                           int64_t now_us)
{
    bool trips = cohort_of(fleet, vehicle)->driving_mode == DRIVING_TRIPS;
    life->driving = !life->driving;
    if (life->driving) {
        if (trips)
            find_end(fleet, vehicle, life);
        else
            life->ignition = LATEST;
        find_next_trouble(fleet, vehicle, life, now_us);
        return LIFE_IGNITION_ON;
    }
    life->radio = LATEST;
    life->trip++;
    life->ignition = LATEST;
    if (trips)
        find_next_start(fleet, vehicle, life);
    return LIFE_IGNITION_OFF;
}

/* In the order of when they were due, and the next trouble counts from there: a rig that is late makes the same draws for the same things. */
enum fleet_life_event fleet_life_step(const struct fleet *fleet, uint32_t vehicle, struct fleet_life *life,
                                      int64_t now_us)
{
    int64_t ignition_us = life->ignition, radio_us = life->radio, command_us = life->command;
    if (from_short(life->hole_until) <= now_us) {
        life->hole_until = LATEST;
        return LIFE_HOLE_END;
    }
    if (from_short(ignition_us) <= now_us && ignition_us <= radio_us && ignition_us <= command_us)
        return turn_ignition(fleet, vehicle, life, now_us); /* it may have been turned before there was power */
    if (from_short(radio_us) <= now_us && radio_us <= command_us) {
        bool hole = life->radio_is_hole;
        if (hole)
            begin_hole(fleet, vehicle, life, now_us);
        find_next_trouble(fleet, vehicle, life, radio_us);
        return hole ? LIFE_HOLE_BEGIN : LIFE_DROP;
    }
    if (from_short(life->command) <= now_us)
        return LIFE_COMMAND; /* the caller reads command_app, then calls fleet_life_command_done() */
    return LIFE_NOTHING;
}

void fleet_life_command_done(const struct fleet *fleet, uint32_t vehicle, struct fleet_life *life, int64_t now_us)
{
    find_next_command(fleet, vehicle, life, now_us, life->command_app);
}

void fleet_life_hole(struct fleet_life *life, int64_t until_us)
{
    if (life->hole_until == LATEST || life->hole_until < until_us)
        life->hole_until = to_short(until_us);
}

void fleet_life_ignition(const struct fleet *fleet, uint32_t vehicle, struct fleet_life *life, int64_t now_us, bool on)
{
    if (life->driving == on)
        return;
    bool own_trip = life->driving && life->ignition != LATEST;
    life->driving = on;
    life->radio = LATEST;
    life->ignition = LATEST; /* switched on by a script: stays on until a script switches it off */
    if (on) {
        find_next_trouble(fleet, vehicle, life, now_us);
        return;
    }
    if (own_trip)
        life->trip++; /* this trip is over */
    if (cohort_of(fleet, vehicle)->driving_mode == DRIVING_TRIPS)
        start_trips(fleet, vehicle, life, now_us);
}
