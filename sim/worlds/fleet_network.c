/* fleet_network.c: see fleet_network.h. Everything is pure in (seed, vehicle, how many draws were made), tunnels in (seed, vehicle, trip). Where a tunnel
 * lies is a matter of the trip, so it comes by the calendar, as trips do; the rest happens in world time.
 */
#include "fleet_network.h"

#define TRIPS_BITS 6 /* of struct fleet_life.trip */

/* ---- which scenarios ------------------------------------------------------------------------------------------------------------ */

static bool restless(const struct link_profile *radio)
{
    return radio->handovers_per_hour > 0 || radio->half_open_per_hour > 0 || radio->addresses_per_hour > 0;
}

static bool forgets(const struct scenario_cohort *cohort)
{
    return fleet_forgets_after_us(cohort, &cohort->radio) ||
           (cohort->has_parked_radio && cohort->parked_radio.nat_idle_us) ||
           (cohort->garage_share > 0 && cohort->garage_radio.nat_idle_us);
}

static bool wants_to_know(const struct scenario *scenario)
{
    for (uint32_t e = 0; e < scenario->expectation_count; e++)
        if (scenario->expectations[e].source == EXPECT_METRIC &&
            scenario->expectations[e].what == METRIC_CONNECTION_DEAD)
            return true;
    return false;
}

bool fleet_has_networks(const struct scenario *scenario)
{
    for (uint32_t c = 0; c < scenario->cohort_count; c++)
        if (restless(&scenario->cohorts[c].radio) || forgets(&scenario->cohorts[c]))
            return true;
    return scenario->tunnel_count > 0 || wants_to_know(scenario);
}

void fleet_network_init(struct fleet_network *network)
{
    *network = (struct fleet_network){.handover_us = TIME_NEVER,
                                      .half_open_us = TIME_NEVER,
                                      .tunnel_us = TIME_NEVER,
                                      .departed_us = TIME_NEVER,
                                      .dead_us = TIME_NEVER};
}

/* ---- rates ---------------------------------------------------------------------------------------------------------------------- */

static struct sim_random stream(const struct fleet *fleet, uint32_t vehicle, struct fleet_network *network)
{
    struct sim_random random;
    sim_random_init(&random, fleet->scenario->seed, vehicle, SIM_FOR_NETWORK);
    random.counter = network->draws++;
    return random;
}

static int64_t later_by(int64_t now_us, int64_t wait_us)
{
    return wait_us == TIME_NEVER ? TIME_NEVER : now_us + wait_us;
}

static void next_handover(const struct fleet *fleet, uint32_t vehicle, const struct link_profile *radio,
                          struct fleet_network *network, int64_t now_us)
{
    if (radio->handovers_per_hour <= 0)
        return;
    struct sim_random random = stream(fleet, vehicle, network);
    network->handover_us = later_by(now_us, link_next_handover_us(radio, &random));
}

static void next_half_open(const struct fleet *fleet, uint32_t vehicle, const struct link_profile *radio,
                           struct fleet_network *network, int64_t now_us)
{
    if (radio->half_open_per_hour + radio->addresses_per_hour <= 0)
        return;
    struct sim_random random = stream(fleet, vehicle, network);
    network->half_open_us = later_by(now_us, link_next_half_open_us(radio, &random));
}

/* ---- tunnels -------------------------------------------------------------------------------------------------------------------- */

static bool passes_here(const struct scenario_tunnel *tunnel, const struct fleet_trace *trace)
{
    return (tunnel->cohort == MEASURE_ANY || tunnel->cohort == trace->cohort) &&
           (tunnel->region == MEASURE_ANY || tunnel->region == trace->region);
}

static int64_t to_world(const struct fleet *fleet, int64_t calendar_us)
{
    return fleet->speedup == 1 ? calendar_us : (int64_t)((double)calendar_us / fleet->speedup);
}

static int64_t time_of_day_us(const struct fleet *fleet, int64_t at_us)
{
    int64_t calendar_us = fleet->speedup == 1 ? at_us : (int64_t)((double)at_us * fleet->speedup);
    return (fleet->scenario->start_of_day_us + calendar_us) % US_PER_DAY;
}

/* The first tunnel of this trip behind `after_us`. */
static void next_tunnel(const struct fleet *fleet, uint32_t vehicle, const struct fleet_trace *trace,
                        struct fleet_network *network, int64_t after_us)
{
    const struct scenario *scenario = fleet->scenario;
    struct tunnel_passage passage;
    network->tunnel_us = TIME_NEVER;
    for (uint32_t t = 0; t < scenario->tunnel_count; t++) {
        const struct scenario_tunnel *tunnel = &scenario->tunnels[t];
        if (!passes_here(tunnel, trace) ||
            !tunnel_on_trip(&tunnel->model, scenario->seed, vehicle, t, network->trip, &passage))
            continue;
        int64_t at_us = network->departed_us + to_world(fleet, passage.after_us);
        if (at_us <= after_us || at_us >= network->tunnel_us ||
            !tunnel_is_dark(&tunnel->model, time_of_day_us(fleet, at_us)))
            continue;
        network->tunnel_us = at_us;
        network->tunnel_until_us = at_us + to_world(fleet, passage.lasts_us);
    }
}

/* ---- all together --------------------------------------------------------------------------------------------------------------- */

void fleet_network_depart(const struct fleet *fleet, uint32_t vehicle, const struct fleet_trace *trace,
                          const struct fleet_life *day, struct fleet_network *network, int64_t now_us)
{
    const struct link_profile *radio = &fleet->scenario->cohorts[trace->cohort].radio;
    if (network->departed_us != TIME_NEVER)
        return;
    network->departed_us = now_us;
    network->trip = (uint32_t)day->day << TRIPS_BITS | day->trip;
    next_handover(fleet, vehicle, radio, network, now_us);
    next_half_open(fleet, vehicle, radio, network, now_us);
    next_tunnel(fleet, vehicle, trace, network, now_us);
}

void fleet_network_arrive(struct fleet_network *network)
{
    network->handover_us = network->half_open_us = network->tunnel_us = network->departed_us = TIME_NEVER;
}

int64_t fleet_network_next(const struct fleet_network *network)
{
    int64_t next_us = network->handover_us;
    next_us = network->half_open_us < next_us ? network->half_open_us : next_us;
    return network->tunnel_us < next_us ? network->tunnel_us : next_us;
}

enum fleet_network_event fleet_network_step(const struct fleet *fleet, uint32_t vehicle,
                                            const struct fleet_trace *trace, const struct fleet_life *day,
                                            struct fleet_network *network, int64_t now_us, int64_t *until_us)
{
    const struct link_profile *radio = &fleet->scenario->cohorts[trace->cohort].radio;
    if (network->tunnel_us <= now_us) {
        int64_t end_us = fleet_life_trip_end(day); /* nobody parks in a tunnel */
        *until_us = network->tunnel_until_us < end_us ? network->tunnel_until_us : end_us;
        next_tunnel(fleet, vehicle, trace, network, network->tunnel_us);
        return NETWORK_TUNNEL;
    }
    if (network->handover_us <= now_us) {
        struct sim_random random = stream(fleet, vehicle, network);
        *until_us = now_us + link_handover_gap_us(radio, &random);
        next_handover(fleet, vehicle, radio, network, now_us);
        return NETWORK_HANDOVER;
    }
    if (network->half_open_us <= now_us) {
        struct sim_random random = stream(fleet, vehicle, network);
        bool new_address = link_is_new_address(radio, &random);
        next_half_open(fleet, vehicle, radio, network, now_us);
        return new_address ? NETWORK_NEW_ADDRESS : NETWORK_HALF_OPEN;
    }
    return NETWORK_NOTHING;
}

void fleet_network_found(struct fleet *fleet, uint32_t vehicle, const struct fleet_trace *trace,
                         struct fleet_network *network, int64_t now_us, bool found)
{
    if (found && network->dead_us != TIME_NEVER)
        measure_sample(fleet->measure, METRIC_CONNECTION_DEAD, fleet_who(trace, PATH_ANY), vehicle, network->dead_us,
                       now_us - network->dead_us);
    network->dead_us = TIME_NEVER;
}

int64_t fleet_sleep_us(const struct fleet *fleet, uint32_t vehicle, const struct fleet_trace *trace, int64_t wanted_us)
{
    double most_ppm = fleet->scenario->cohorts[trace->cohort].clock_drift_ppm;
    if (most_ppm <= 0)
        return wanted_us;
    uint64_t word = sim_random_at(fleet->scenario->seed, vehicle, SIM_FOR_CLOCK, 0);
    return clock_drifted_us(wanted_us, most_ppm * ((double)(word >> 11) * 0x1p-52 - 1));
}
