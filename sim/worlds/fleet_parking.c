/* fleet_parking.c: parked cars: where they stand, which radio they have there, what their battery still gives, when they have an SMS. */
#include "fleet_identity.h"
#include "fleet_remote.h"

#define LOOK_AHEAD_US (10 * US_PER_MIN)

bool fleet_has_parking(const struct scenario *scenario)
{
    for (uint32_t c = 0; c < scenario->cohort_count; c++) {
        const struct scenario_cohort *cohort = &scenario->cohorts[c];
        if (cohort->has_parked_radio || cohort->garage_share > 0 || cohort->stay_connected_us > 0 ||
            cohort->battery.budget_uah > 0)
            return true;
    }
    return scenario->cloud.commands.on; /* when it was woken and went online is kept there, too */
}

static bool radio_needs_model(const struct link_profile *radio)
{
    return fleet_modem_sleeps(radio) || radio->nat_idle_us > 0 || radio->handovers_per_hour > 0 ||
           radio->half_open_per_hour > 0 || radio->addresses_per_hour > 0;
}

bool fleet_is_nothing_without_link_model(const struct scenario *scenario)
{
    for (uint32_t c = 0; c < scenario->cohort_count; c++) {
        const struct scenario_cohort *cohort = &scenario->cohorts[c];
        if (cohort->has_path || radio_needs_model(&cohort->radio) ||
            (cohort->has_parked_radio && radio_needs_model(&cohort->parked_radio)) ||
            (cohort->garage_share > 0 && radio_needs_model(&cohort->garage_radio)))
            return true;
    }
    return false;
}

bool fleet_needs_link_model(const struct scenario *scenario)
{
    return fleet_has_parking(scenario) || scenario->cloud.regions.on || fleet_is_nothing_without_link_model(scenario);
}

void fleet_parking_init(struct fleet_parking *parking)
{
    *parking = (struct fleet_parking){.armed_us = TIME_NEVER, .woken_us = -1, .online_us = -1};
}

static enum power_mode mode_of(const struct fleet *fleet, const struct fleet_trace *trace,
                               const struct fleet_parking *parking)
{
    const struct link_profile *radio = fleet_radio(fleet, trace, parking);
    if (parking->off)
        return POWER_OFF;
    if (parking->asleep)
        return POWER_ASLEEP;
    return radio->psm_period_us > 0 ? POWER_PSM : radio->edrx_cycle_us > 0 ? POWER_EDRX : POWER_CONNECTED;
}

/* Batteries live by the calendar. */
static int64_t calendar(const struct fleet *fleet, int64_t now_us)
{
    return fleet->speedup == 1 ? now_us : (int64_t)((double)now_us * fleet->speedup);
}

static int64_t world_time(const struct fleet *fleet, int64_t calendar_us)
{
    if (calendar_us == TIME_NEVER || fleet->speedup == 1)
        return calendar_us;
    return (int64_t)((double)calendar_us / fleet->speedup) + 1;
}

static const struct power_profile *battery_of(const struct fleet *fleet, const struct fleet_trace *trace)
{
    return &fleet->scenario->cohorts[trace->cohort].battery;
}

void fleet_parking_probe(struct fleet *fleet, const struct fleet_trace *trace, struct fleet_parking *parking,
                         int64_t now_us, const struct tcu_probe *probe)
{
    switch (probe->kind) {
    case TCU_PROBE_ONLINE: parking->online_us = now_us; return;
    case TCU_PROBE_ASLEEP: parking->asleep = true; break;
    case TCU_PROBE_AWAKE: parking->asleep = false; break;
    default: return;
    }
    if (parking->place != PLACE_ON_THE_ROAD)
        power_set_mode(battery_of(fleet, trace), &parking->power, calendar(fleet, now_us),
                       mode_of(fleet, trace, parking));
}

/* ---- a car with its world ---------------------------------------------------------------------------------------------------- */

static void tell(const struct fleet_car *car, int64_t now_us, const char *what)
{
    if (car->hooks->tell)
        car->hooks->tell(car->vehicle, now_us, what);
}

static void count(const struct fleet_car *car, enum counter counter, int64_t now_us, int64_t amount)
{
    measure_count(car->fleet->measure, counter, fleet_who(car->trace, PATH_ANY), now_us, amount);
}

static void arm(const struct fleet_car *car, int64_t now_us)
{
    struct fleet_parking *parking = car->parking;
    const struct power_profile *battery = battery_of(car->fleet, car->trace);
    if (!battery->budget_uah)
        return;
    int64_t next_us = world_time(car->fleet, power_next_us(battery, &parking->power));
    if (next_us == TIME_NEVER || (parking->armed_us > now_us && parking->armed_us <= next_us))
        return;
    /* What is used meanwhile brings it nearer: far away, half of the way is soon enough, and there is no look for each transfer. */
    parking->armed_us = next_us - now_us > LOOK_AHEAD_US ? now_us + (next_us - now_us) / 2 : next_us;
    if (parking->armed_us < now_us)
        parking->armed_us = now_us;
    car->hooks->look(car->vehicle, parking->armed_us);
}

static void draw_place(const struct fleet_car *car)
{
    const struct scenario_cohort *cohort = &car->fleet->scenario->cohorts[car->trace->cohort];
    struct fleet_parking *parking = car->parking;
    uint64_t words = sim_random_at(car->fleet->scenario->seed, car->index, SIM_FOR_PARKING, parking->parkings++);
    parking->place = PLACE_OUTSIDE;
    if ((double)(uint32_t)words * 0x1p-32 < cohort->garage_share)
        parking->place = (double)(words >> 32) * 0x1p-32 < cohort->garage_dark ? PLACE_GARAGE_DARK : PLACE_GARAGE;
}

static void stands(const struct fleet_car *car, int64_t now_us)
{
    struct fleet_parking *parking = car->parking;
    draw_place(car);
    power_park(&parking->power, calendar(car->fleet, now_us), mode_of(car->fleet, car->trace, parking));
    if (parking->place == PLACE_GARAGE_DARK)
        car->hooks->coverage(car->vehicle, now_us, false);
    arm(car, now_us);
}

void fleet_car_begins(const struct fleet_car *car, int64_t now_us)
{
    if (car->parking)
        stands(car, now_us);
}

static void drives_off(const struct fleet_car *car, int64_t now_us)
{
    struct fleet_parking *parking = car->parking;
    const struct power_profile *battery = battery_of(car->fleet, car->trace);
    bool parked = parking->place != PLACE_ON_THE_ROAD, dark = parking->place == PLACE_GARAGE_DARK;
    uint32_t used_uah = power_drive(battery, &parking->power, calendar(car->fleet, now_us));
    parking->place = PLACE_ON_THE_ROAD;
    if (parked && battery->budget_uah)
        measure_sample(car->fleet->measure, METRIC_BATTERY_USED, fleet_who(car->trace, PATH_ANY), car->index, now_us,
                       used_uah);
    if (dark)
        car->hooks->coverage(car->vehicle, now_us, true);
}

void fleet_car_ignition(const struct fleet_car *car, int64_t now_us, bool on)
{
    struct fleet_parking *parking = car->parking;
    if (!parking || !on) {
        tcu_ignition(car->tcu, now_us, on);
        if (parking && parking->place == PLACE_ON_THE_ROAD)
            stands(car, now_us);
        return;
    }
    drives_off(car, now_us);
    if (parking->off) {
        parking->off = false;
        tell(car, now_us, "power is back");
        tcu_start(car->tcu, now_us, TCU_DRIVING);
        return;
    }
    tcu_battery(car->tcu, now_us, TCU_BATTERY_FINE);
    tcu_ignition(car->tcu, now_us, true);
}

static void cut_off(const struct fleet_car *car, int64_t now_us)
{
    struct fleet_parking *parking = car->parking;
    count(car, COUNTER_BATTERY_CUT_OFF, now_us, 1);
    tell(car, now_us, "cut off from the battery");
    if (parking->asleep)
        count(car, COUNTER_ASLEEP, now_us, -1);
    parking->asleep = false;
    parking->off = true;
    tcu_power_cut(car->tcu);
    fleet_power_lost(car->fleet, car->index, car->trace, now_us);
    car->hooks->cut_off(car->vehicle, now_us);
    power_set_mode(battery_of(car->fleet, car->trace), &parking->power, calendar(car->fleet, now_us), POWER_OFF);
}

void fleet_car_battery(const struct fleet_car *car, int64_t now_us)
{
    struct fleet_parking *parking = car->parking;
    if (parking->armed_us <= now_us)
        parking->armed_us = TIME_NEVER;
    if (parking->place == PLACE_ON_THE_ROAD || parking->off)
        return;
    switch (power_account(battery_of(car->fleet, car->trace), &parking->power, calendar(car->fleet, now_us))) {
    case POWER_LOW:
        count(car, COUNTER_BATTERY_LOW, now_us, 1);
        tcu_battery(car->tcu, now_us, TCU_BATTERY_LOW);
        break;
    case POWER_CUT_OFF: cut_off(car, now_us); break;
    case POWER_NOTHING: break;
    }
    arm(car, now_us);
}

void fleet_car_transfer(const struct fleet_car *car, int64_t now_us, size_t bytes)
{
    const struct power_profile *battery = battery_of(car->fleet, car->trace);
    if (car->parking->place == PLACE_ON_THE_ROAD || !battery->budget_uah)
        return;
    power_transfer(battery, &car->parking->power, calendar(car->fleet, now_us), (uint32_t)bytes);
    arm(car, now_us);
}

/* ---- SMS ---------------------------------------------------------------------------------------------------------------------- */

bool fleet_car_hears_sms(const struct fleet_parking *parking, const struct fleet_trace *trace, bool covered)
{
    return parking && !parking->off && trace->power_up_us >= 0 && covered;
}

void fleet_car_sms(const struct fleet_car *car, int64_t now_us, struct span text)
{
    if (car->parking->off)
        return;
    car->parking->woken_us = now_us;
    tell(car, now_us, "SMS");
    tcu_sms(car->tcu, now_us, text);
}
