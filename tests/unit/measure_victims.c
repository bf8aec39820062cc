/* What must not happen to commands, networks and regions: a failed expectation names the vehicles, as it does of identities. */
#include "sim/measure.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#define DURATION_US (600 * US_PER_S)

static struct measure_dimension who_is(void *context, uint32_t vehicle)
{
    (void)context;
    return (struct measure_dimension){(uint16_t)(vehicle % 2), 0, PATH_ANY};
}

static struct measure *create(void)
{
    static const struct measure_interval warm_up = {0, 60 * US_PER_S, "warm-up"};
    struct measure_options options = {.vehicles = 1000,
                                      .cohorts = 2,
                                      .regions = 1,
                                      .duration_us = DURATION_US,
                                      .excluded = &warm_up,
                                      .excluded_count = 1};
    struct measure *measure = measure_create(&options);
    assert_non_null(measure);
    measure_set_who(measure, who_is, NULL);
    return measure;
}

static void fall(struct measure *measure, enum counter counter, uint32_t vehicle, int64_t at_us)
{
    measure_count(measure, counter, who_is(NULL, vehicle), at_us, 1);
    measure_command_victim(measure, counter, vehicle, at_us);
}

static struct expectation_result none_of(const struct measure *measure, enum counter counter,
                                         struct measure_dimension filter)
{
    struct expectation expectation = {.source = EXPECT_COUNTER,
                                      .what = counter,
                                      .statistic = STATISTIC_TOTAL,
                                      .filter = filter,
                                      .comparison = EQUALS};
    struct expectation_result result;
    expectation_judge(measure, &expectation, NULL, &result);
    return result;
}

static void every_such_counter_names_its_vehicles(void **context)
{
    (void)context;
    uint32_t counters = 0;
    for (int counter = 0; counter < COUNTER_COUNT; counter++) {
        if (!counter_has_victims(counter))
            continue;
        struct measure *measure = create();
        fall(measure, counter, 41, 300 * US_PER_S);
        fall(measure, counter, 7, 200 * US_PER_S);
        fall(measure, counter, 41, 100 * US_PER_S);
        struct expectation_result result = none_of(measure, counter, MEASURE_EVERYBODY);
        assert_int_equal(result.verdict, VERDICT_FAIL);
        assert_int_equal(result.worst_count, 2);
        assert_int_equal(result.worst[0].vehicle, 7);
        assert_int_equal(result.worst[1].vehicle, 41);
        assert_int_equal(result.worst[1].value, 2);
        assert_int_equal(result.worst[1].at_us, 100 * US_PER_S);
        assert_string_equal(result.detail, "3 times, 2 vehicles");
        measure_destroy(measure);
        counters++;
    }
    assert_int_equal(counters, COUNTER_PINGS_MISSED - COUNTER_COMMANDS_FORGED_TAKEN + 1);
}

static void filters_and_phases_leave_vehicles_out(void **context)
{
    (void)context;
    struct measure *measure = create();
    fall(measure, COUNTER_SHADOW_DIVERGED, 2, 100 * US_PER_S);
    fall(measure, COUNTER_SHADOW_DIVERGED, 3, 100 * US_PER_S);
    fall(measure, COUNTER_SHADOW_DIVERGED, 4, 10 * US_PER_S); /* in the warm-up */
    struct expectation_result odd =
        none_of(measure, COUNTER_SHADOW_DIVERGED, (struct measure_dimension){1, MEASURE_ANY, PATH_ANY});
    assert_int_equal(odd.worst_count, 1);
    assert_int_equal(odd.worst[0].vehicle, 3);
    assert_string_equal(odd.detail, "1 vehicle");
    struct expectation_result all = none_of(measure, COUNTER_SHADOW_DIVERGED, MEASURE_EVERYBODY);
    assert_int_equal(all.worst_count, 2);
    assert_string_equal(all.detail, "2 vehicles");
    struct expectation_result other = none_of(measure, COUNTER_REGION_WRONG, MEASURE_EVERYBODY);
    assert_int_equal(other.worst_count, 0);
    measure_destroy(measure);
}

/* More than are remembered: the number is that of all of them. */
static void many_are_counted(void **context)
{
    (void)context;
    struct measure *measure = create();
    for (uint32_t vehicle = 0; vehicle < 100; vehicle++)
        fall(measure, COUNTER_PRESENCE_WRONG, vehicle, 400 * US_PER_S);
    struct expectation_result result = none_of(measure, COUNTER_PRESENCE_WRONG, MEASURE_EVERYBODY);
    assert_int_equal(result.worst_count, MEASURE_WORST);
    assert_string_equal(result.detail, "100 times, 32 vehicles or more");
    measure_destroy(measure);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_such_counter_names_its_vehicles),
        cmocka_unit_test(filters_and_phases_leave_vehicles_out),
        cmocka_unit_test(many_are_counted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
