/* What goes wrong with identities: who, how often, at which step; and what a failed expectation says of it. */
#include "sim/measure.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define DURATION_US (600 * US_PER_S)
#define COHORTS     2
#define REGIONS     3

static struct measure_dimension who_is(void *context, uint32_t vehicle)
{
    return (struct measure_dimension){(uint16_t)(vehicle % COHORTS), (uint16_t)(vehicle / 2 % REGIONS), PATH_ANY};
}

static struct measure *create(void)
{
    static const struct measure_interval warm_up = {0, 60 * US_PER_S, "warm-up"};
    struct measure_options options = {.vehicles = 1000,
                                      .cohorts = COHORTS,
                                      .regions = REGIONS,
                                      .duration_us = DURATION_US,
                                      .excluded = &warm_up,
                                      .excluded_count = 1};
    struct measure *measure = measure_create(&options);
    assert_non_null(measure);
    measure_set_who(measure, who_is, NULL);
    return measure;
}

static void fall(struct measure *measure, enum counter kind, uint32_t vehicle, int64_t at_us, enum identity_step step)
{
    measure_identity_victim(measure, kind, who_is(NULL, vehicle), vehicle, at_us, step);
}

static struct expectation total_of(enum counter counter, enum comparison comparison, double bound)
{
    return (struct expectation){.source = EXPECT_COUNTER,
                                .what = counter,
                                .statistic = STATISTIC_TOTAL,
                                .filter = MEASURE_EVERYBODY,
                                .comparison = comparison,
                                .bound = bound};
}

static struct expectation all_flaws(void)
{
    struct expectation expectation = total_of(COUNTER_FLAW_NO_CERTIFICATE, EQUALS, 0);
    for (int counter = COUNTER_FLAW_NO_CERTIFICATE + 1; counter < COUNTER_COUNT; counter++)
        if (counter_is_flaw(counter))
            expectation.also[expectation.also_count++] = (uint8_t)counter;
    return expectation;
}

static struct expectation_result judge(const struct measure *measure, struct expectation expectation)
{
    struct expectation_result result;
    expectation_judge(measure, &expectation, NULL, &result);
    return result;
}

static void steps_have_names(void **context)
{
    for (uint32_t i = 0; i < IDENTITY_STEPS; i++) {
        assert_string_not_equal(identity_step_name(i), "unknown");
        for (uint32_t j = 0; j < i; j++)
            assert_string_not_equal(identity_step_name(i), identity_step_name(j));
    }
    assert_string_equal(identity_step_name(IDENTITY_STEP_CERTIFICATE), "waiting for the new certificate");
    assert_string_equal(identity_step_name(IDENTITY_STEPS), "unknown");
    assert_string_equal(metric_name(METRIC_ROTATION_TOTAL), "rotation.total");
    assert_string_equal(counter_name(COUNTER_FLAW_SECOND_CERTIFICATE), "flaw.second_certificate");
    assert_true(counter_has_identity_victims(COUNTER_ROLLED_BACK) && !counter_has_identity_victims(COUNTER_ROTATIONS));
    assert_true(counter_is_flaw(COUNTER_FLAW_OLD_ACCEPTED) && !counter_is_flaw(COUNTER_CONNECTED));
    for (int counter = 0; counter < COUNTER_COUNT; counter++)
        assert_int_equal(counter_is_flaw(counter), strncmp(counter_name(counter), "flaw.", 5) == 0);
}

/* Lowest vehicles first, the first time and the step then; all of them by step. */
static void victims_are_remembered(void **context)
{
    struct measure *measure = create();
    for (uint32_t v = 100; v-- > 0;)
        fall(measure, COUNTER_ROTATIONS_FAILED, v, (int64_t)(200 + v) * US_PER_S,
             v % 4 ? IDENTITY_STEP_CERTIFICATE : IDENTITY_STEP_SWITCH);
    fall(measure, COUNTER_ROTATIONS_FAILED, 7, 100 * US_PER_S, IDENTITY_STEP_KEY);
    fall(measure, COUNTER_ROTATIONS_FAILED, 8, 500 * US_PER_S, IDENTITY_STEP_KEY);
    assert_int_equal(measure_total(measure, COUNTER_ROTATIONS_FAILED, MEASURE_EVERYBODY), 102);
    struct measure_worst worst[MEASURE_WORST];
    assert_int_equal(measure_command_victims(measure, COUNTER_ROTATIONS_FAILED, worst), MEASURE_WORST);
    for (uint32_t i = 0; i < MEASURE_WORST; i++) {
        assert_int_equal(worst[i].vehicle, i);
        assert_int_equal(worst[i].value, 1 + (i == 7 || i == 8));
        assert_int_equal(worst[i].at_us, i == 7 ? 100 * US_PER_S : (int64_t)(200 + i) * US_PER_S);
        assert_int_equal(worst[i].step, i == 7  ? IDENTITY_STEP_KEY
                                        : i % 4 ? IDENTITY_STEP_CERTIFICATE
                                                : IDENTITY_STEP_SWITCH);
    }
    uint64_t steps[IDENTITY_STEPS];
    measure_identity_steps(measure, COUNTER_ROTATIONS_FAILED, MEASURE_EVERYBODY, steps);
    assert_int_equal(steps[IDENTITY_STEP_CERTIFICATE], 75);
    assert_int_equal(steps[IDENTITY_STEP_SWITCH], 25);
    assert_int_equal(steps[IDENTITY_STEP_KEY], 2);
    measure_identity_steps(measure, COUNTER_ROTATIONS_FAILED, (struct measure_dimension){1, MEASURE_ANY, PATH_ANY},
                           steps);
    assert_int_equal(steps[IDENTITY_STEP_CERTIFICATE], 50);
    assert_int_equal(steps[IDENTITY_STEP_SWITCH], 0);
    measure_identity_steps(measure, COUNTER_ROLLED_BACK, MEASURE_EVERYBODY, steps);
    assert_int_equal(steps[IDENTITY_STEP_SWITCH], 0);
    measure_destroy(measure);
}

static void a_failure_names_the_steps(void **context)
{
    struct measure *measure = create();
    for (uint32_t v = 0; v < 10; v++)
        fall(measure, COUNTER_ROTATIONS_FAILED, 3 * v, 100 * US_PER_S, IDENTITY_STEP_CERTIFICATE);
    fall(measure, COUNTER_ROTATIONS_FAILED, 100, 100 * US_PER_S, IDENTITY_STEP_SWITCH);
    fall(measure, COUNTER_ROTATIONS_FAILED, 101, 100 * US_PER_S, IDENTITY_STEP_SWITCH);
    struct expectation_result result = judge(measure, total_of(COUNTER_ROTATIONS_FAILED, EQUALS, 0));
    assert_int_equal(result.verdict, VERDICT_FAIL);
    assert_true(result.measured == 12);
    assert_string_equal(result.detail, "12 vehicles: 10 waiting for the new certificate, 2 switching");
    assert_int_equal(result.worst_count, 12);
    assert_int_equal(result.worst[1].vehicle, 3);
    assert_int_equal(result.worst[11].step, IDENTITY_STEP_SWITCH);
    result = judge(measure, total_of(COUNTER_ROTATIONS_FAILED, AT_MOST, 12));
    assert_int_equal(result.verdict, VERDICT_PASS);
    assert_string_equal(result.detail, "12, at most 12");
    /* by cohort: 0, 6, 12, 18, 24 and 100 are of the first */
    struct expectation first = total_of(COUNTER_ROTATIONS_FAILED, EQUALS, 0);
    first.filter.cohort = 0;
    result = judge(measure, first);
    assert_string_equal(result.detail, "6 vehicles: 5 waiting for the new certificate, 1 switching");
    assert_int_equal(result.worst_count, 6);
    assert_int_equal(result.worst[5].vehicle, 100);
    /* once more for a vehicle */
    fall(measure, COUNTER_ROTATIONS_FAILED, 3, 200 * US_PER_S, IDENTITY_STEP_SWITCH);
    result = judge(measure, total_of(COUNTER_ROTATIONS_FAILED, EQUALS, 0));
    assert_string_equal(result.detail, "13 times, 12 vehicles: 10 waiting for the new certificate, 3 switching");
    /* too few succeeded: those that failed */
    measure_count(measure, COUNTER_ROTATIONS_SUCCEEDED, who_is(NULL, 1), 100 * US_PER_S, 5);
    result = judge(measure, total_of(COUNTER_ROTATIONS_SUCCEEDED, AT_LEAST, 17));
    assert_string_equal(
        result.detail,
        "5, not at least 17; failed: 13 times, 12 vehicles: 10 waiting for the new certificate, 3 switching");
    assert_int_equal(result.worst_count, 12);
    measure_destroy(measure);
}

static void more_than_are_remembered(void **context)
{
    struct measure *measure = create();
    for (uint32_t v = 0; v < 500; v++) {
        fall(measure, COUNTER_ROTATIONS_FAILED, v, 100 * US_PER_S, IDENTITY_STEP_NOTICE);
        fall(measure, COUNTER_FLAW_JOB_OPEN, v, DURATION_US, v < 499 ? IDENTITY_STEP_NOTICE : IDENTITY_STEP_REPORT);
    }
    assert_string_equal(judge(measure, total_of(COUNTER_ROTATIONS_FAILED, EQUALS, 0)).detail,
                        "500 times, 32 vehicles or more: 500 waiting for the job");
    /* a flaw is one a vehicle */
    assert_string_equal(judge(measure, total_of(COUNTER_FLAW_JOB_OPEN, EQUALS, 0)).detail,
                        "500 vehicles: 499 waiting for the job, 1 reporting the end");
    measure_destroy(measure);
}

/* In the warm-up, and outside of a window: not counted, not listed. */
static void excluded_and_windowed(void **context)
{
    struct measure *measure = create();
    fall(measure, COUNTER_ROLLED_BACK, 1, 30 * US_PER_S, IDENTITY_STEP_SWITCH);
    fall(measure, COUNTER_ROLLED_BACK, 2, 100 * US_PER_S, IDENTITY_STEP_SWITCH);
    fall(measure, COUNTER_ROLLED_BACK, 3, 300 * US_PER_S, IDENTITY_STEP_KEY);
    struct expectation expectation = total_of(COUNTER_ROLLED_BACK, EQUALS, 0);
    assert_string_equal(judge(measure, expectation).detail, "2 vehicles: 1 making the new key, 1 switching");
    expectation.with_excluded = true;
    assert_string_equal(judge(measure, expectation).detail, "3 vehicles: 2 switching, 1 making the new key");
    expectation.from_us = 200 * US_PER_S;
    struct expectation_result result = judge(measure, expectation);
    assert_string_equal(result.detail, "1 vehicle: 1 making the new key");
    assert_int_equal(result.worst_count, 1);
    assert_int_equal(result.worst[0].vehicle, 3);
    measure_destroy(measure);
}

/* What is found when the run is over belongs to its last second, so that no window and no always() overlooks it. */
static void flaws_at_the_end(void **context)
{
    struct measure *measure = create();
    struct expectation expectation = all_flaws();
    assert_int_equal(expectation.also_count, 8);
    struct expectation_result result = judge(measure, expectation);
    assert_int_equal(result.verdict, VERDICT_PASS);
    fall(measure, COUNTER_FLAW_SECOND_CERTIFICATE, 5, DURATION_US, IDENTITY_STEP_DEACTIVATION);
    fall(measure, COUNTER_FLAW_SECOND_CERTIFICATE, 6, DURATION_US + 1, IDENTITY_STEP_DEACTIVATION);
    fall(measure, COUNTER_FLAW_OLD_ACCEPTED, 5, DURATION_US, IDENTITY_STEP_NONE);
    assert_string_equal(judge(measure, total_of(COUNTER_FLAW_OLD_ACCEPTED, EQUALS, 0)).detail, "1 vehicle");
    result = judge(measure, expectation);
    assert_int_equal(result.verdict, VERDICT_FAIL);
    assert_true(result.measured == 3);
    assert_string_equal(result.detail,
                        "3 times, 2 vehicles: 2 second certificate (2 deactivating the old certificate), "
                        "1 old accepted");
    assert_int_equal(result.worst_count, 2);
    assert_int_equal(result.worst[0].vehicle, 5);
    assert_int_equal(result.worst[0].value, 2);
    expectation.temporal = ALWAYS;
    assert_int_equal(judge(measure, expectation).verdict, VERDICT_FAIL);
    expectation.temporal = AT_END;
    expectation.from_us = 300 * US_PER_S;
    assert_true(judge(measure, expectation).measured == 3);
    uint32_t count;
    int64_t bin_us, *series = expectation_series(measure, &expectation, &count, &bin_us);
    assert_non_null(series);
    assert_int_equal(count, 600);
    assert_int_equal(series[599], 3);
    free(series);
    measure_destroy(measure);
}

static void long_lists_end_with_dots(void **context)
{
    struct measure *measure = create();
    for (int kind = COUNTER_FLAW_NO_CERTIFICATE; kind <= COUNTER_FLAW_OLD_ACCEPTED; kind++)
        for (uint32_t step = 1; step < IDENTITY_STEPS; step++)
            fall(measure, kind, step, DURATION_US, step);
    struct expectation_result result = judge(measure, all_flaws());
    size_t length = strlen(result.detail);
    assert_in_range(length, 80, sizeof(result.detail) - 1);
    assert_string_equal(result.detail + length - 3, "...");
    assert_int_equal(result.worst_count, 9);
    measure_destroy(measure);
}

static void sums_have_rules(void **context)
{
    struct expectation expectation = all_flaws();
    assert_null(expectation_problem(&expectation));
    expectation.also[0] = COUNTER_CONNECTED;
    assert_string_equal(expectation_problem(&expectation), "a gauge cannot be added to another counter");
    expectation.also[0] = COUNTER_BYTES_UP;
    assert_string_equal(expectation_problem(&expectation), "bytes cannot be added to other counts");
    expectation.also[0] = COUNTER_FLAW_NO_CERTIFICATE;
    assert_string_equal(expectation_problem(&expectation), "a counter is added to itself");
    expectation.also[0] = expectation.also[1];
    assert_string_equal(expectation_problem(&expectation), "a counter is added to itself");
    expectation.also[0] = COUNTER_COUNT;
    assert_string_equal(expectation_problem(&expectation), "there is no such counter");
    expectation = all_flaws();
    expectation.also_count = EXPECTATION_ALSO + 1;
    assert_string_equal(expectation_problem(&expectation), "too many counters are added up");
    expectation = all_flaws();
    expectation.source = EXPECT_LEDGER;
    expectation.what = LEDGER_LOST;
    assert_string_equal(expectation_problem(&expectation), "only counters are added up");
}

/* Two processes and one: the same to the byte that is read, in either order, packed or not. */
static void parts_merge(void **context)
{
    struct measure *whole = create(), *part[2] = {create(), create()}, *packed = create();
    for (uint32_t i = 0; i < 400; i++) {
        uint32_t vehicle = i * 37 % 90;
        enum counter kind = i % 3 ? COUNTER_ROTATIONS_FAILED : COUNTER_FLAW_STILL_ACTIVE;
        int64_t at_us = (int64_t)(60 + i % 50) * US_PER_S;
        fall(whole, kind, vehicle, at_us, 1 + i % 6);
        fall(part[i % 7 < 3], kind, vehicle, at_us, 1 + i % 6);
    }
    for (int i = 0; i < 2; i++) {
        uint8_t *bytes;
        size_t length;
        assert_true(measure_pack(part[1 - i], &bytes, &length));
        for (size_t cut = length - 200; cut < length; cut++)
            assert_false(measure_merge_packed(packed, bytes, cut));
        assert_true(measure_merge_packed(packed, bytes, length));
        free(bytes);
    }
    measure_merge(part[0], part[1]);
    static const enum counter kinds[] = {COUNTER_ROTATIONS_FAILED, COUNTER_FLAW_STILL_ACTIVE, COUNTER_ROLLED_BACK};
    for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
        const struct measure *merged[] = {part[0], packed};
        struct measure_worst want[MEASURE_WORST], got[MEASURE_WORST];
        uint64_t want_steps[IDENTITY_STEPS], got_steps[IDENTITY_STEPS];
        struct measure_dimension filter = {1, MEASURE_ANY, PATH_ANY};
        uint32_t count = measure_command_victims(whole, kinds[k], want);
        measure_identity_steps(whole, kinds[k], filter, want_steps);
        for (int m = 0; m < 2; m++) {
            assert_int_equal(measure_command_victims(merged[m], kinds[k], got), count);
            assert_memory_equal(got, want, count * sizeof(*got));
            measure_identity_steps(merged[m], kinds[k], filter, got_steps);
            assert_memory_equal(got_steps, want_steps, sizeof(want_steps));
            assert_int_equal(measure_unrecorded(merged[m]), 0);
        }
    }
    assert_int_equal(measure_bytes(packed), measure_bytes(part[0]));
    measure_destroy(whole);
    measure_destroy(part[0]);
    measure_destroy(part[1]);
    measure_destroy(packed);
}

/* A scenario that has nothing of it pays a few pointers, whatever its number of cohorts and regions. */
static void nothing_used_nothing_taken(void **context)
{
    struct measure_options few = {.vehicles = 100, .cohorts = 1, .regions = 1, .duration_us = DURATION_US};
    struct measure_options many = {.vehicles = 100, .cohorts = 64, .regions = 16, .duration_us = DURATION_US};
    struct measure *small = measure_create(&few), *large = measure_create(&many);
    assert_int_equal(measure_bytes(small), measure_bytes(large));
    assert_true(measure_bytes(large) < 4096);
    struct measure_dimension who = {3, 2, PATH_ANY};
    measure_sample(large, METRIC_RECONNECT, who, 1, 0, 5);
    measure_count(large, COUNTER_CONNECTS, who, 0, 1);
    uint64_t before = measure_bytes(large);
    assert_true(before < 240000); /* the pointers of one metric and one counter, one histogram, one series */
    measure_identity_victim(large, COUNTER_ROLLED_BACK, who, 1, 0, IDENTITY_STEP_SWITCH);
    assert_true(measure_bytes(large) > before);
    measure_destroy(small);
    measure_destroy(large);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_have_names),
        cmocka_unit_test(victims_are_remembered),
        cmocka_unit_test(a_failure_names_the_steps),
        cmocka_unit_test(more_than_are_remembered),
        cmocka_unit_test(excluded_and_windowed),
        cmocka_unit_test(flaws_at_the_end),
        cmocka_unit_test(long_lists_end_with_dots),
        cmocka_unit_test(sums_have_rules),
        cmocka_unit_test(parts_merge),
        cmocka_unit_test(nothing_used_nothing_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
