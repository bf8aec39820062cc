/* What networks do to the connections of moving and parked cars in the virtual world: as often as the scenario says, where the trip says, and found out. */
#include "world_rig.h"

#include "sim/worlds/fleet_network.h"

#include <math.h>

#define REGION "region \"here\" { latency = milliseconds(5) }\n"

static void near(int64_t measured, double expected, double within)
{
    if (fabs((double)measured - expected) > within * expected)
        fail_msg("%lld instead of %.0f", (long long)measured, expected);
}

static void as_often_as_said(void **state)
{
    rig_run(
        "scenario \"rates\" { duration = hours(4), seed = 5 }\n" REGION
        "cohort \"car\" { count = 300, trips = always_driving(), radio = radio(\"ideal\", { handovers_per_hour = 40,\n"
        "  handover_gap = milliseconds(60), half_open_per_hour = 1, addresses_per_hour = 3 }), telemetry = "
        "every(seconds(20)):while_driving() }\n");
    near(rig_total(COUNTER_HANDOVERS), 300 * 4 * 40, 0.02);
    /* What is dead already cannot die: up to half a minute of the quarter of an hour between two. */
    near(rig_total(COUNTER_HALF_OPEN), 300 * 4 * 1, 0.12);
    near(rig_total(COUNTER_ADDRESS_CHANGES), 300 * 4 * 3, 0.08);
    assert_int_equal(rig_total(COUNTER_NAT_KILLS), 0);
    const struct histogram *dead = rig_histogram(METRIC_CONNECTION_DEAD, PATH_ANY);
    int64_t killed = rig_total(COUNTER_HALF_OPEN) + rig_total(COUNTER_ADDRESS_CHANGES);
    assert_in_range(dead->count, (uint64_t)killed - 300, (uint64_t)killed);
    assert_in_range(dead->maximum, US_PER_S, US_PER_MIN);
    struct ledger_totals totals;
    assert_true(measure_ledger_totals(rig_result.measure, MEASURE_EVERYBODY, &totals));
    assert_int_equal(totals.field[LEDGER_LOST], 0);
    assert_int_equal(totals.field[LEDGER_DROPPED], 0);
}

/* Half of the messages of a car whose cell changes all the time wait for a part of a gap. */
static void hand_overs_hold_up(void **state)
{
    static const char text[] =
        "scenario \"gaps\" { duration = hours(1), seed = 6 }\n" REGION
        "cohort \"car\" { count = 50, trips = always_driving(), telemetry = every(seconds(1)):while_driving(),\n"
        "  radio = radio(\"ideal\", { handovers_per_hour = %d, handover_gap = seconds(1) }) }\n";
    char scenario[512];
    snprintf(scenario, sizeof scenario, text, 0);
    rig_run(scenario);
    double quiet_us = histogram_mean(rig_histogram(METRIC_TELEMETRY_END_TO_END, PATH_ANY));
    snprintf(scenario, sizeof scenario, text, 360);
    rig_run(scenario);
    double restless_us = histogram_mean(rig_histogram(METRIC_TELEMETRY_END_TO_END, PATH_ANY));
    /* One gap in ten seconds, lognormal: mean length e^0.405 s, mean square e^1.62 s^2, of which half is waited for in ten. */
    near((int64_t)(restless_us - quiet_us), 1e6 * exp(1.62) / 2 / 10, 0.15);
}

/* Recomputed from the trips: each of them that lasts beyond the tunnel's mouth is in it once. */
static void tunnels_lie_on_trips(void **state)
{
    rig_run("scenario \"tunnels\" { start = \"2026-03-04 00:00\", duration = hours(24), seed = 8 }\n" REGION
            "cohort \"car\" { count = 400, radio = \"ideal\", telemetry = every(minutes(5)):while_driving() }\n"
            "tunnel \"long\"  { share = 0.6, at = minutes(4), lasts = seconds(50) }\n"
            "tunnel \"night\" { share = 0.9, at = uniform(minutes(6), minutes(9)), lasts = seconds(20), from = "
            "\"18:00\", to = \"07:30\" }\n");
    const struct scenario *scenario = script_scenario(rig_script);
    int64_t expected = 0, trips = 0, last = 0;
    for (uint32_t vehicle = 0; vehicle < scenario->fleet; vehicle++) {
        struct trip list[TRIPS_PER_DAY_MAX];
        uint32_t count =
            trips_of_day(&scenario->cohorts[0].trips, scenario->seed, vehicle, 0, scenario->start_weekday, 0, list);
        for (uint32_t i = 0; i < count; i++, trips++) {
            for (uint32_t t = 0; t < scenario->tunnel_count; t++) {
                struct tunnel_passage passage;
                if (!tunnel_on_trip(&scenario->tunnels[t].model, scenario->seed, vehicle, t, i, &passage))
                    continue;
                int64_t at_us = list[i].start_us + passage.after_us;
                int64_t hour = at_us / US_PER_HOUR, half = at_us / (30 * US_PER_MIN);
                if (at_us < list[i].end_us && (t == 0 || hour >= 18 || half < 15))
                    expected++;
                last += t == 1 && at_us < list[i].end_us;
            }
        }
    }
    assert_true(trips > 600 && expected > 300 && last > 100);
    assert_int_equal(rig_total(COUNTER_LINK_DROPS), expected);
    /* Out of the tunnel and on again: its length, and what is left of the modem's next attempt. */
    const struct histogram *back = rig_histogram(METRIC_RECONNECT, PATH_ANY);
    assert_int_equal(back->count, (uint64_t)expected);
    assert_true(back->minimum >= 20 * US_PER_S || back->minimum > 0);
    assert_in_range(histogram_quantile(back, 0.5), 50 * US_PER_S, 110 * US_PER_S);
}

/* The path forgets what its radio would remember. */
static void a_path_forgets(void **state)
{
    static const char text[] =
        "scenario \"paths\" { duration = hours(3), seed = 9 }\n" REGION
        "cohort \"car\" { count = 20, trips = always_parked(), path = \"%s\", radio = \"ideal\",\n"
        "  mqtt = { parked = { keep_alive = minutes(15) } } }\n";
    char scenario[512];
    snprintf(scenario, sizeof scenario, text, "private");
    rig_run(scenario);
    assert_int_equal(rig_total(COUNTER_NAT_KILLS), 0);
    snprintf(scenario, sizeof scenario, text, "vpn");
    rig_run(scenario);
    /* A ping every quarter of an hour finds a connection that the path's gateway forgot after 350 s. */
    assert_in_range(rig_total(COUNTER_NAT_KILLS), 20 * 11, 20 * 12);
    const struct histogram *dead = rig_histogram(METRIC_CONNECTION_DEAD, PATH_ANY);
    assert_in_range(dead->minimum, 9 * US_PER_MIN, 10 * US_PER_MIN);
    assert_in_range(dead->maximum, 9 * US_PER_MIN, 10 * US_PER_MIN);
}

/* What waits for a paging occasion three quarters of an hour away comes with the vehicle's next message. */
static void sending_wakes_the_modem(void **state)
{
    static const char text[] =
        "scenario \"edrx\" { duration = hours(6), seed = 4 }\n" REGION "remote_commands { fallback = hours(2) }\n"
        "cohort \"car\" { count = 60, trips = always_parked(), telemetry = every(minutes(%d)):while_parked(),\n"
        "  mqtt = { parked = { keep_alive = hours(12) } }, acknowledge_timeout = hours(2),\n"
        "  radio = radio(\"lte-cat-m1\", { loss = 0, edrx = seconds(2621.44), edrx_window = seconds(1.28) }) }\n"
        "app \"a\" { users = 60, command = \"horn\", rate = per_hour(1), timeout = hours(2), to = \"05:00\" }\n";
    char scenario[1024];
    snprintf(scenario, sizeof scenario, text, 600);
    rig_run(scenario);
    const struct histogram *trip = rig_histogram(METRIC_COMMAND_ROUND_TRIP, PATH_EDRX);
    assert_true(trip->count > 200);
    assert_in_range(trip->maximum, 2000 * US_PER_S, 2623 * US_PER_S);
    near(histogram_quantile(trip, 0.5), 1310e6, 0.15);
    snprintf(scenario, sizeof scenario, text, 2);
    rig_run(scenario);
    trip = rig_histogram(METRIC_COMMAND_ROUND_TRIP, PATH_EDRX);
    assert_true(trip->count > 200);
    assert_in_range(trip->maximum, 90 * US_PER_S, 123 * US_PER_S);
}

static void clocks_drift_apart(void **state)
{
    static const char text[] = "scenario \"drift\" { duration = hours(24), seed = 4 }\n" REGION
                               "cohort \"car\" { count = 400, trips = always_parked(), radio = \"ideal\", backoff = { "
                               "base = milliseconds(1), cap = milliseconds(1) },\n"
                               "  parking = { stay_connected = minutes(1), linger = seconds(30), wake_every = "
                               "hours(6), clock_drift = %d } }\n"
                               "expect \"at once\" (broker():connects_per_second():max()):below(1e6):from(hours(17))\n";
    struct expectation_result judged;
    char scenario[1024];
    for (int drift = 0; drift <= 5000; drift += 5000) {
        snprintf(scenario, sizeof scenario, text, drift);
        rig_run(scenario);
        assert_in_range(rig_total(COUNTER_WAKES), 400 * 3, 400 * 4);
        expectation_judge(rig_result.measure, &script_scenario(rig_script)->expectations[0], NULL, &judged);
        /* Half a per cent of three sleeps is 324 s either way. */
        if (drift)
            assert_true(judged.measured < 20);
        else
            assert_true(judged.measured > 100);
    }
}

/* Half a keep alive of grace is less than such a radio takes. */
static void silence_is_told(void **state)
{
    static const char text[] =
        "scenario \"silence\" { duration = minutes(30), seed = 4 }\n" REGION
        "cohort \"car\" { count = 8, trips = always_parked(), mqtt = { driving = { keep_alive = seconds(20) }, parked "
        "= { keep_alive = seconds(20) } },\n"
        "  radio = radio(\"ideal\", { latency = seconds(%d) }), connect_timeout = minutes(3) }\n";
    char scenario[512];
    struct measure_worst victims[MEASURE_WORST];
    snprintf(scenario, sizeof scenario, text, 4);
    rig_run(scenario);
    assert_int_equal(rig_total(COUNTER_PINGS_MISSED), 0);
    snprintf(scenario, sizeof scenario, text, 18);
    rig_run(scenario);
    assert_true(rig_total(COUNTER_PINGS_MISSED) >= 8);
    assert_int_equal(measure_command_victims(rig_result.measure, COUNTER_PINGS_MISSED, victims), 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_often_as_said),        cmocka_unit_test(hand_overs_hold_up),
        cmocka_unit_test(tunnels_lie_on_trips),    cmocka_unit_test(a_path_forgets),
        cmocka_unit_test(sending_wakes_the_modem), cmocka_unit_test(clocks_drift_apart),
        cmocka_unit_test(silence_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
