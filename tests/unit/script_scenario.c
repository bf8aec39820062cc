/* What follows from a scenario's data alone: who belongs where, names, selections, phases, clock times. */
#include "script_rig.h"

static struct script *script;
static const struct scenario *scenario;

static int setup(void **context)
{
    static const char text[] =
        "scenario \"mix\" { start = \"2026-03-04 06:00\", duration = hours(48), seed = 3, warm_up = minutes(30) }\n"
        "region \"a\" { } region \"b\" { } region \"c\" { }\n"
        "cohort \"none-1\" { count = 0, region = { a = 1 } }\n"
        "cohort \"suv\" { count = 60000, region = { a = 0.7, c = 0.3 }, firmware = { [\"1.0\"] = 0.2, [\"2.0\"] = 0.8 "
        "} }\n"
        "cohort \"empty\" { count = 0, region = { a = 1 } }\n"
        "cohort \"van-2\" { count = 1000000, region = { b = 1 } }\n"
        "cohort \"last\" { count = 0, region = { a = 1 } }\n"
        "phase(\"peak\", \"07:00\", \"09:00\")\n"
        "phase(\"storm\", \"1 d 07:00\", \"1 d 07:30\", { excluded = true })\n";
    script = rig_load_text(text);
    if (!script)
        print_error("%s\n", rig_error);
    scenario = script ? script_scenario(script) : NULL;
    return script ? 0 : -1;
}

static int teardown(void **context)
{
    script_free(script);
    return 0;
}

static void cohorts_are_contiguous(void **context)
{
    assert_int_equal(scenario->fleet, 1060000);
    assert_int_equal(scenario_cohort_of(scenario, 0), 1);
    assert_int_equal(scenario_cohort_of(scenario, 59999), 1);
    assert_int_equal(scenario_cohort_of(scenario, 60000), 3);
    assert_int_equal(scenario_cohort_of(scenario, 1059999), 3);
}

static void mixes_have_their_shares(void **context)
{
    uint32_t region[3] = {0}, firmware[2] = {0};
    for (uint32_t i = 0; i < 60000; i++) {
        region[scenario_region_of(scenario, i)]++;
        firmware[scenario_firmware_of(scenario, i)]++;
    }
    /* Standard deviations: 112 and 98. */
    assert_in_range(region[0], 42000 - 500, 42000 + 500);
    assert_int_equal(region[1], 0);
    assert_int_equal(region[0] + region[2], 60000);
    assert_in_range(firmware[0], 12000 - 450, 12000 + 450);
    for (uint32_t i = 60000; i < 61000; i++)
        assert_int_equal(scenario_region_of(scenario, i), 1);
    /* Region and firmware are drawn apart: 0.7 * 0.2 have both. */
    uint32_t both = 0;
    for (uint32_t i = 0; i < 60000; i++)
        both += scenario_region_of(scenario, i) == 0 && scenario_firmware_of(scenario, i) == 0;
    assert_in_range(both, 8400 - 400, 8400 + 400);
}

static bool find(const char *name, uint32_t *vehicle)
{
    return scenario_vehicle_find(scenario, span_text(name), vehicle);
}

static void names_go_round(void **context)
{
    char name[SCENARIO_NAME + 12];
    uint32_t vehicle;
    for (uint32_t i = 0; i < scenario->fleet; i += i < 2000 || i > 999000 ? 1 : 997) {
        size_t length = scenario_vehicle_name(scenario, i, name, sizeof(name));
        assert_int_equal(length, strlen(name));
        assert_true(find(name, &vehicle));
        assert_int_equal(vehicle, i);
    }
    scenario_vehicle_name(scenario, 123, name, sizeof(name));
    assert_string_equal(name, "suv-000123");
    scenario_vehicle_name(scenario, 1059999, name, sizeof(name));
    assert_string_equal(name, "van-2-1059999");
    static const char *const strangers[] = {"",
                                            "suv",
                                            "suv-",
                                            "suv-123",
                                            "suv-0000123",
                                            "suv-060000",
                                            "van-000123",
                                            "suv-00012x",
                                            "-000123",
                                            "000123",
                                            "van-2-060000x",
                                            "van-2-1060000",
                                            "suv-99999999999",
                                            "suv-4294967419",
                                            "suv000123",
                                            "van-2-0060000",
                                            "SUV-000123",
                                            "last-000123",
                                            "suv-000123 "};
    for (size_t i = 0; i < sizeof(strangers) / sizeof(strangers[0]); i++)
        if (find(strangers[i], &vehicle))
            fail_msg("'%s' was taken for vehicle %u", strangers[i], vehicle);
    char small[11];
    assert_int_equal(scenario_vehicle_name(scenario, 123, small, sizeof(small)), 10);
    assert_int_equal(scenario_vehicle_name(scenario, 123, small, sizeof(small) - 1), 0);
    assert_string_equal(small, "");
}

static uint32_t selected(uint16_t cohort, uint16_t region, double share, uint64_t salt)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < 100000; i++)
        count += scenario_selected(scenario, i, cohort, region, share, salt);
    return count;
}

static void selections_are_pure_and_differ(void **context)
{
    assert_int_equal(selected(MEASURE_ANY, MEASURE_ANY, 1, 1), 100000);
    assert_int_equal(selected(MEASURE_ANY, MEASURE_ANY, 0, 1), 0);
    assert_int_equal(selected(1, MEASURE_ANY, 1, 1), 60000);
    assert_int_equal(selected(MEASURE_ANY, 1, 1, 1), 40000);
    assert_int_equal(selected(1, 1, 1, 1), 0);
    assert_in_range(selected(MEASURE_ANY, MEASURE_ANY, 0.05, 1), 5000 - 300, 5000 + 300);
    assert_in_range(selected(3, 1, 0.5, 9), 20000 - 450, 20000 + 450);
    uint32_t both = 0;
    for (uint32_t i = 0; i < 100000; i++) {
        bool here = scenario_selected(scenario, i, MEASURE_ANY, MEASURE_ANY, 0.5, 1);
        assert_int_equal(here, scenario_selected(scenario, i, MEASURE_ANY, MEASURE_ANY, 0.5, 1));
        both += here && scenario_selected(scenario, i, MEASURE_ANY, MEASURE_ANY, 0.5, 2);
    }
    assert_in_range(both, 25000 - 600, 25000 + 600);
}

static void excluded_phases_and_warm_up(void **context)
{
    struct measure_interval intervals[4];
    assert_int_equal(scenario_excluded(scenario, intervals, 4), 2);
    assert_string_equal(intervals[0].name, "warm-up");
    assert_int_equal(intervals[0].from_us, 0);
    assert_int_equal(intervals[0].to_us, 30 * US_PER_MIN);
    assert_string_equal(intervals[1].name, "storm");
    assert_int_equal(intervals[1].from_us, 25 * US_PER_HOUR);
    assert_int_equal(intervals[1].to_us, 25 * US_PER_HOUR + 30 * US_PER_MIN);
    assert_int_equal(scenario_excluded(scenario, intervals, 1), 1);
}

static void clock_times(void **context)
{
    char text[32];
    scenario_time_text(scenario, 0, text, sizeof(text));
    assert_string_equal(text, "06:00:00");
    scenario_time_text(scenario, US_PER_HOUR + 40 * US_PER_MIN + 20 * US_PER_S + 999999, text, sizeof(text));
    assert_string_equal(text, "07:40:20");
    scenario_time_text(scenario, 18 * US_PER_HOUR, text, sizeof(text));
    assert_string_equal(text, "1 d 00:00:00");
    scenario_time_text(scenario, 43 * US_PER_HOUR + 41 * US_PER_MIN, text, sizeof(text));
    assert_string_equal(text, "2 d 01:41:00");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cohorts_are_contiguous),
        cmocka_unit_test(mixes_have_their_shares),
        cmocka_unit_test(names_go_round),
        cmocka_unit_test(selections_are_pure_and_differ),
        cmocka_unit_test(excluded_phases_and_warm_up),
        cmocka_unit_test(clock_times),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
