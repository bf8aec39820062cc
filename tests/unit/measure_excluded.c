/* Expectations with the excluded phases taken in: provisioning happens in the warm-up, and is judged all the same. */
#include "sim/measure.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static struct measure *measure;
static const struct measure_dimension nobody = {0, 0, PATH_ANY};

static int setup(void **context)
{
    static const struct measure_interval warm_up = {0, 10 * US_PER_S, "warm-up"};
    struct measure_options options = {.vehicles = 10,
                                      .cohorts = 1,
                                      .regions = 1,
                                      .duration_us = 100 * US_PER_S,
                                      .excluded = &warm_up,
                                      .excluded_count = 1};
    measure = measure_create(&options);
    for (uint32_t vehicle = 0; vehicle < 9; vehicle++)
        measure_sample(measure, METRIC_PROVISION_TOTAL, nobody, vehicle, US_PER_S, (vehicle + 1) * US_PER_S);
    measure_sample(measure, METRIC_PROVISION_TOTAL, nobody, 9, 50 * US_PER_S, US_PER_S / 2);
    measure_count(measure, COUNTER_CONNECTS, nobody, 5 * US_PER_S, 40);
    measure_count(measure, COUNTER_CONNECTS, nobody, 50 * US_PER_S, 3);
    return measure ? 0 : -1;
}

static int teardown(void **context)
{
    measure_destroy(measure);
    return 0;
}

static struct expectation_result judge(enum expectation_source source, uint32_t what, enum statistic statistic,
                                       bool with_excluded)
{
    struct expectation expectation = {.source = source,
                                      .what = what,
                                      .statistic = statistic,
                                      .filter = MEASURE_EVERYBODY,
                                      .comparison = BELOW,
                                      .bound = 5 * US_PER_S,
                                      .with_excluded = with_excluded};
    struct expectation_result result;
    expectation_judge(measure, &expectation, NULL, &result);
    return result;
}

static void metrics(void **context)
{
    struct expectation_result without = judge(EXPECT_METRIC, METRIC_PROVISION_TOTAL, STATISTIC_MAXIMUM, false);
    struct expectation_result with = judge(EXPECT_METRIC, METRIC_PROVISION_TOTAL, STATISTIC_MAXIMUM, true);
    assert_int_equal(without.verdict, VERDICT_PASS);
    assert_int_equal(without.samples, 1);
    assert_int_equal(with.verdict, VERDICT_FAIL);
    assert_int_equal(with.samples, 10);
    assert_true(with.measured == 9 * US_PER_S);
}

/* Who was concerned in the warm-up is named, too. */
static void vehicles_concerned(void **context)
{
    struct expectation_result without = judge(EXPECT_METRIC, METRIC_PROVISION_TOTAL, STATISTIC_MAXIMUM, false);
    struct expectation_result with = judge(EXPECT_METRIC, METRIC_PROVISION_TOTAL, STATISTIC_MAXIMUM, true);
    assert_int_equal(without.worst_count, 1);
    assert_int_equal(without.worst[0].vehicle, 9);
    assert_int_equal(with.worst_count, 10);
    assert_int_equal(with.worst[0].vehicle, 8);
    assert_int_equal(with.worst[0].value, 9 * US_PER_S);
}

static void counters(void **context)
{
    assert_true(judge(EXPECT_COUNTER, COUNTER_CONNECTS, STATISTIC_TOTAL, false).measured == 3);
    assert_true(judge(EXPECT_COUNTER, COUNTER_CONNECTS, STATISTIC_TOTAL, true).measured == 43);
    assert_true(judge(EXPECT_COUNTER, COUNTER_CONNECTS, STATISTIC_MAXIMUM, false).measured == 3);
    assert_true(judge(EXPECT_COUNTER, COUNTER_CONNECTS, STATISTIC_MAXIMUM, true).measured == 40);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(metrics),
        cmocka_unit_test(vehicles_concerned),
        cmocka_unit_test(counters),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
