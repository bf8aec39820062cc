/* fleet_parking.c: parked cars: where they stand, which radio they have there, what their battery still gives. */
#include "fleet_remote.h"

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

void fleet_parked(const struct fleet *fleet, uint32_t vehicle, const struct fleet_trace *trace,
                  struct fleet_parking *parking, int64_t now_us)
{
    const struct scenario_cohort *cohort = &fleet->scenario->cohorts[trace->cohort];
    uint64_t words = sim_random_at(fleet->scenario->seed, vehicle, SIM_FOR_PARKING, parking->parkings++);
    parking->place = PLACE_OUTSIDE;
    if ((double)(uint32_t)words * 0x1p-32 < cohort->garage_share)
        parking->place = (double)(words >> 32) * 0x1p-32 < cohort->garage_dark ? PLACE_GARAGE_DARK : PLACE_GARAGE;
    power_park(&parking->power, now_us, mode_of(fleet, trace, parking));
}

void fleet_drove_off(struct fleet *fleet, uint32_t vehicle, const struct fleet_trace *trace,
                     struct fleet_parking *parking, int64_t now_us)
{
    const struct power_profile *battery = &fleet->scenario->cohorts[trace->cohort].battery;
    bool parked = parking->place != PLACE_ON_THE_ROAD;
    uint32_t used_uah = power_drive(battery, &parking->power, now_us);
    parking->place = PLACE_ON_THE_ROAD;
    if (parked && battery->budget_uah)
        measure_sample(fleet->measure, METRIC_BATTERY_USED, fleet_who(trace, PATH_ANY), vehicle, now_us, used_uah);
}

void fleet_parking_probe(struct fleet *fleet, const struct fleet_trace *trace, struct fleet_parking *parking,
                         int64_t now_us, const struct tcu_probe *probe)
{
    const struct power_profile *battery = &fleet->scenario->cohorts[trace->cohort].battery;
    switch (probe->kind) {
    case TCU_PROBE_ONLINE: parking->online_us = now_us; return;
    case TCU_PROBE_ASLEEP: parking->asleep = true; break;
    case TCU_PROBE_AWAKE: parking->asleep = false; break;
    default: return;
    }
    if (parking->place != PLACE_ON_THE_ROAD)
        power_set_mode(battery, &parking->power, now_us, mode_of(fleet, trace, parking));
}
