/* Every kind of expectation: pass, fail, inconclusive, not available; how often a verdict with confidence is wrong; values as text. */
#include "sim/measure.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static struct measure *measure;
static struct expectation_result result;
static const struct measure_dimension first = {0, 0, PATH_ANY};

static int setup(void **context)
{
    static const struct measure_interval warm_up = {0, 10 * US_PER_S, "warm-up"};
    struct measure_options options = {.vehicles = 50,
                                      .cohorts = 2,
                                      .regions = 1,
                                      .duration_us = 100500000,
                                      .excluded = &warm_up,
                                      .excluded_count = 1};
    measure = measure_create(&options);
    return 0;
}

static int teardown(void **context)
{
    measure_destroy(measure);
    return 0;
}

static struct expectation make(enum expectation_source source, uint32_t what, enum statistic statistic,
                               enum comparison comparison, double bound)
{
    return (struct expectation){.source = source,
                                .what = what,
                                .statistic = statistic,
                                .quantile = 0.99,
                                .filter = MEASURE_EVERYBODY,
                                .comparison = comparison,
                                .bound = bound};
}

static enum verdict judge(struct expectation expectation)
{
    expectation_judge(measure, &expectation, NULL, &result);
    assert_true(result.detail[0] != 0);
    return result.verdict;
}

static enum verdict quick(enum expectation_source source, uint32_t what, enum statistic statistic,
                          enum comparison comparison, double bound)
{
    return judge(make(source, what, statistic, comparison, bound));
}

/* All five comparisons around an exact value. */
static void around(struct expectation e, double value)
{
    static const struct {
        enum comparison comparison;
        double step;
        enum verdict verdict;
    } cases[] = {
        {BELOW, 0, VERDICT_FAIL},  {BELOW, 1, VERDICT_PASS},  {AT_MOST, 0, VERDICT_PASS},  {AT_MOST, -1, VERDICT_FAIL},
        {ABOVE, 0, VERDICT_FAIL},  {ABOVE, -1, VERDICT_PASS}, {AT_LEAST, 0, VERDICT_PASS}, {AT_LEAST, 1, VERDICT_FAIL},
        {EQUALS, 0, VERDICT_PASS}, {EQUALS, 1, VERDICT_FAIL}, {EQUALS, -1, VERDICT_FAIL},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        e.comparison = cases[i].comparison;
        e.bound = value + cases[i].step * fmax(fabs(value) / 100, 0.001);
        assert_int_equal(judge(e), cases[i].verdict);
        assert_true(fabs(result.measured - value) < 1e-9 * fmax(1, value));
        assert_true(result.low == result.measured && result.high == result.measured);
    }
}

static void sample(uint32_t vehicle, int64_t value)
{
    measure_sample(measure, METRIC_RECONNECT, first, vehicle, 20 * US_PER_S + vehicle, value);
}

static void metrics_exact(void **context)
{
    measure_sample(measure, METRIC_RECONNECT, first, 9, 5, 90); /* in the warm-up */
    for (uint32_t i = 1; i <= 100; i++)
        sample(i % 50, i);
    struct expectation e = make(EXPECT_METRIC, METRIC_RECONNECT, STATISTIC_QUANTILE, BELOW, 0);
    around(e, 99);
    assert_int_equal(result.samples, 100);
    e.quantile = 0.5;
    around(e, 50);
    e.statistic = STATISTIC_MEAN;
    around(e, 50.5);
    e.statistic = STATISTIC_MAXIMUM;
    around(e, 100);
    assert_int_equal(result.at_us, 20 * US_PER_S);
    assert_int_equal(result.worst_count, MEASURE_WORST);
    assert_int_equal(result.worst[0].value, 100);
    assert_int_equal(result.worst[1].vehicle, 49);
    e.statistic = STATISTIC_MINIMUM;
    around(e, 1);
    e.statistic = STATISTIC_COUNT;
    around(e, 100);
    e.statistic = STATISTIC_TOTAL;
    around(e, 5050);
    e.filter.cohort = 1;
    around(e, 0); /* a total of nothing is 0 ... */
    e.statistic = STATISTIC_QUANTILE;
    assert_int_equal(judge(e), VERDICT_INCONCLUSIVE); /* ... a quantile of nothing is not */
    assert_non_null(strstr(result.detail, "at least 1 more samples"));
    e.filter.cohort = 0;
    e.minimum_samples = 150;
    assert_int_equal(judge(e), VERDICT_INCONCLUSIVE);
    assert_non_null(strstr(result.detail, "50 more samples"));
}

/* Where the bucket's width matters the unfavourable edge decides. */
static void metrics_resolution(void **context)
{
    for (int i = 0; i < 100; i++)
        sample(1, 2000000 + i * 10);
    struct expectation e = make(EXPECT_METRIC, METRIC_RECONNECT, STATISTIC_QUANTILE, BELOW, 2000500);
    e.quantile = 0.5; /* all in one bucket: its edges are the extremes */
    assert_int_equal(judge(e), VERDICT_FAIL);
    e.comparison = ABOVE;
    assert_int_equal(judge(e), VERDICT_FAIL);
    e.comparison = EQUALS;
    assert_int_equal(judge(e), VERDICT_PASS);
    e.comparison = ABOVE;
    e.bound = 1999999;
    assert_int_equal(judge(e), VERDICT_PASS);
    e.confidence = 0.9;
    e.comparison = BELOW;
    e.bound = 2000500;
    assert_int_equal(judge(e), VERDICT_INCONCLUSIVE);
    assert_non_null(strstr(result.detail, "resolution"));
}

static void quantile_with_confidence(void **context)
{
    struct expectation e = make(EXPECT_METRIC, METRIC_RECONNECT, STATISTIC_QUANTILE, BELOW, 2e6);
    e.confidence = 0.99;
    for (int i = 0; i < 458; i++) /* 0.99^459 < 0.01 */
        sample((uint32_t)i % 50, 1000000);
    assert_int_equal(judge(e), VERDICT_INCONCLUSIVE);
    assert_true(isinf(result.high) && result.low > 0);
    assert_non_null(strstr(result.detail, "needs about 1 more samples"));
    sample(3, 1000000);
    assert_int_equal(judge(e), VERDICT_PASS);
    assert_string_equal(result.detail, "1 s, below 2 s (459 samples, 99 % sure)");
    assert_true(result.high >= result.measured && result.low <= result.measured);
    e.comparison = ABOVE;
    assert_int_equal(judge(e), VERDICT_FAIL);
    e.bound = 5e5;
    assert_int_equal(judge(e), VERDICT_PASS);
    e.comparison = AT_MOST;
    assert_int_equal(judge(e), VERDICT_FAIL);
    /* A tail of about 1 % either side of the bound. */
    for (int i = 0; i < 5; i++)
        sample(7, 3000000);
    e.bound = 2e6;
    assert_int_equal(judge(e), VERDICT_INCONCLUSIVE);
    assert_int_equal(result.worst[0].vehicle, 7);
    assert_true(result.low < 2e6 && result.high > 2e6);
}

static void mean_with_confidence(void **context)
{
    for (int i = 0; i < 400; i++)
        sample((uint32_t)i % 50, i % 2 ? 90 : 110); /* mean 100, deviation 10, error 0.5 */
    struct expectation e = make(EXPECT_METRIC, METRIC_RECONNECT, STATISTIC_MEAN, BELOW, 102);
    e.confidence = 0.99;
    assert_int_equal(judge(e), VERDICT_PASS);
    assert_true(fabs(result.high - 101.17) < 0.01 && fabs(result.low - 98.83) < 0.01);
    e.bound = 101;
    assert_int_equal(judge(e), VERDICT_INCONCLUSIVE);
    assert_non_null(strstr(result.detail, "needs about 150 more samples")); /* (1.17 / 1)^2 * 400 - 400 = 147 */
    e.bound = 98;
    assert_int_equal(judge(e), VERDICT_FAIL);
    e.comparison = AT_LEAST;
    assert_int_equal(judge(e), VERDICT_PASS);
}

/* How often a pass is wrong when the truth is just on the wrong side, over many runs. */
static void wrong_passes_are_rare(void **context)
{
    uint64_t state = 99;
    int passes = 0, fails = 0;
    enum { RUNS = 600 };
    for (int run = 0; run < RUNS; run++) {
        teardown(NULL);
        setup(NULL);
        for (int i = 0; i < 500; i++) {
            state = state * UINT64_C(6364136223846793005) + 1442695040888963407;
            sample(1, (int64_t)(state >> 33) % 1000 < 899 ? 50 : 100); /* p90 is 100: 89.9 % are at 50 */
        }
        struct expectation e = make(EXPECT_METRIC, METRIC_RECONNECT, STATISTIC_QUANTILE, BELOW, 100);
        e.quantile = 0.9;
        e.confidence = 0.9;
        enum verdict verdict = judge(e);
        passes += verdict == VERDICT_PASS;
        fails += verdict == VERDICT_FAIL;
    }
    assert_true(passes > 0 && passes < RUNS * 0.1 + 3 * sqrt(RUNS * 0.09));
    assert_true(fails < RUNS * 0.3);
}

static void count(int64_t second, int64_t amount)
{
    measure_count(measure, COUNTER_CONNECTS, first, second * US_PER_S + 1000, amount);
}

static void counters(void **context)
{
    count(5, 1000); /* warm-up */
    for (int64_t s = 10; s < 100; s++)
        count(s, s == 43 ? 412 : s == 77 ? 2 : 10);
    count(100, 3);  /* half a second: cut short */
    count(101, 50); /* after the end */
    struct expectation e = make(EXPECT_COUNTER, COUNTER_CONNECTS, STATISTIC_MAXIMUM, BELOW, 0);
    around(e, 412);
    assert_int_equal(result.at_us, 43 * US_PER_S);
    assert_int_equal(result.samples, 91);
    e.statistic = STATISTIC_MINIMUM;
    around(e, 2);
    assert_int_equal(result.at_us, 77 * US_PER_S);
    e.statistic = STATISTIC_TOTAL;
    around(e, 88 * 10 + 412 + 2 + 3 + 50);
    e.statistic = STATISTIC_COUNT;
    around(e, 1347);
    e.statistic = STATISTIC_MEAN;
    around(e, 1297 / 90.5);
    e.statistic = STATISTIC_LAST;
    around(e, 10);
    assert_int_equal(result.at_us, 99 * US_PER_S);
    e.statistic = STATISTIC_QUANTILE;
    around(e, 412); /* the 90th of 90 */
    e.quantile = 0.98;
    around(e, 10);
    e.quantile = 1;
    around(e, 412);
    e.filter.cohort = 1;
    around(e, 0);
    e.filter.cohort = MEASURE_ANY;
    e.statistic = STATISTIC_MAXIMUM; /* a window sees the warm-up */
    e.by_us = 20 * US_PER_S;
    around(e, 1000);
    e.from_us = 6 * US_PER_S;
    around(e, 10);
    e.statistic = STATISTIC_TOTAL;
    around(e, 100);
    e.by_us = 0;
    around(e, 1297);
    e.from_us = 200 * US_PER_S;
    assert_int_equal(judge(e), VERDICT_INCONCLUSIVE);
    e = make(EXPECT_COUNTER, COUNTER_CONNECTS, STATISTIC_MAXIMUM, BELOW, 200);
    judge(e);
    assert_string_equal(result.detail, "412/s, not below 200/s, 0:00:43 into the run");
}

static void counters_over_time(void **context)
{
    for (int64_t s = 10; s < 100; s++)
        count(s, s == 43 ? 30 : 10);
    struct expectation e = make(EXPECT_COUNTER, COUNTER_CONNECTS, STATISTIC_MAXIMUM, BELOW, 30.5);
    e.temporal = ALWAYS;
    assert_int_equal(judge(e), VERDICT_PASS);
    e.bound = 30;
    assert_int_equal(judge(e), VERDICT_FAIL);
    assert_true(result.measured == 30 && result.at_us == 43 * US_PER_S);
    e.comparison = AT_LEAST;
    e.bound = 10;
    assert_int_equal(judge(e), VERDICT_PASS); /* the last half second with nothing is no evidence */
    e.bound = 11;
    assert_int_equal(judge(e), VERDICT_FAIL);
    assert_int_equal(result.at_us, 10 * US_PER_S);
    e.comparison = EQUALS;
    e.bound = 10;
    assert_int_equal(judge(e), VERDICT_FAIL);
    assert_int_equal(result.at_us, 43 * US_PER_S);
    e.from_us = 50 * US_PER_S;
    e.by_us = 90 * US_PER_S;
    assert_int_equal(judge(e), VERDICT_PASS);
    e = make(EXPECT_COUNTER, COUNTER_CONNECTS, STATISTIC_MAXIMUM, ABOVE, 29);
    e.temporal = EVENTUALLY;
    assert_int_equal(judge(e), VERDICT_PASS);
    assert_int_equal(result.at_us, 43 * US_PER_S);
    e.by_us = 43 * US_PER_S;
    assert_int_equal(judge(e), VERDICT_FAIL);
    assert_true(result.measured == 10);
    e.comparison = BELOW;
    e.bound = 10;
    e.from_us = 50 * US_PER_S;
    e.by_us = 0;
    assert_int_equal(judge(e), VERDICT_FAIL);
    e.comparison = EQUALS;
    assert_int_equal(judge(e), VERDICT_PASS);
    /* The total so far. */
    e = make(EXPECT_COUNTER, COUNTER_CONNECTS, STATISTIC_TOTAL, AT_LEAST, 500);
    e.temporal = EVENTUALLY;
    assert_int_equal(judge(e), VERDICT_PASS);
    assert_int_equal(result.at_us, 57 * US_PER_S); /* 48 x 10 + 20 */
    e.by_us = 57 * US_PER_S;
    assert_int_equal(judge(e), VERDICT_FAIL);
    e = make(EXPECT_COUNTER, COUNTER_CONNECTS, STATISTIC_TOTAL, AT_MOST, 919);
    e.temporal = ALWAYS;
    assert_int_equal(judge(e), VERDICT_FAIL);
    e.bound = 920;
    assert_int_equal(judge(e), VERDICT_PASS);
}

static void gauges(void **context)
{
    for (int64_t s = 0; s < 40; s++)
        measure_count(measure, COUNTER_CONNECTED, first, s * US_PER_S, 1);
    for (int64_t s = 60; s < 75; s++)
        measure_count(measure, COUNTER_CONNECTED, first, s * US_PER_S, -1);
    struct expectation e = make(EXPECT_COUNTER, COUNTER_CONNECTED, STATISTIC_MAXIMUM, BELOW, 0);
    around(e, 40);
    assert_int_equal(result.at_us, 39 * US_PER_S);
    e.statistic = STATISTIC_MINIMUM;
    around(e, 11); /* after the warm-up */
    e.statistic = STATISTIC_LAST;
    around(e, 25);
    e.by_us = 20 * US_PER_S;
    around(e, 20);
    e.by_us = 0;
    e.statistic = STATISTIC_MAXIMUM;
    e.temporal = EVENTUALLY;
    e.comparison = AT_LEAST;
    e.bound = 30;
    assert_int_equal(judge(e), VERDICT_PASS);
    assert_int_equal(result.at_us, 29 * US_PER_S);
    assert_string_equal(result.detail, "30, at least 30, 0:00:29 into the run");
}

static struct measure_dimension by_half(void *context, uint32_t vehicle)
{
    return (struct measure_dimension){.cohort = vehicle >= 25};
}

static void ledger(void **context)
{
    assert_int_equal(quick(EXPECT_LEDGER, LEDGER_LOST, STATISTIC_TOTAL, EQUALS, 0),
                     VERDICT_INCONCLUSIVE); /* nothing was sent */
    for (uint32_t v = 0; v < 40; v++) {
        measure_ledger_intended(measure, v, 100);
        for (uint32_t n = 1; n <= 100 - (v == 30 ? 5 : v == 31 ? 1 : 0); n++)
            measure_ledger_delivered(measure, v, n);
        for (uint32_t n = 1; n <= 90; n++)
            measure_ledger_acknowledged(measure, v);
        measure_ledger_delivered(measure, v, 1);
        if (v == 31)
            measure_ledger_dropped(measure, v, 100);
    }
    struct expectation e = make(EXPECT_LEDGER, LEDGER_LOST, STATISTIC_TOTAL, EQUALS, 0);
    around(e, 5);
    assert_int_equal(result.samples, 4000);
    assert_int_equal(result.worst_count, 1);
    assert_int_equal(result.worst[0].vehicle, 30);
    assert_int_equal(result.worst[0].value, 5);
    static const double totals[LEDGER_FIELD_COUNT] = {4000, 3600, 399, 3994, 40, 1, 0, 5};
    for (uint32_t field = 0; field < LEDGER_FIELD_COUNT; field++) {
        e.what = field;
        e.statistic = STATISTIC_TOTAL;
        around(e, totals[field]);
        e.statistic = STATISTIC_SHARE;
        around(e, totals[field] / 4000);
    }
    e.what = LEDGER_LOST;
    e.statistic = STATISTIC_MAXIMUM;
    around(e, 5);
    assert_int_equal(result.samples, 40);
    e.statistic = STATISTIC_MINIMUM;
    around(e, 0);
    e.statistic = STATISTIC_MEAN;
    around(e, 5 / 40.0);
    e.statistic = STATISTIC_QUANTILE;
    e.quantile = 0.975;
    around(e, 0);
    e.statistic = STATISTIC_TOTAL;
    e.filter.cohort = 0;
    assert_int_equal(judge(e), VERDICT_INCONCLUSIVE);
    assert_non_null(strstr(result.detail, "does not know which vehicle"));
    measure_set_who(measure, by_half, NULL);
    around(e, 0);
    assert_int_equal(result.samples, 2500);
    e.filter.cohort = 1;
    around(e, 5);
    e.what = LEDGER_DELIVERED;
    judge(e);
    assert_int_equal(result.worst[0].vehicle, 30); /* the ones who lost, not the ones with most */
}

static void shares_with_confidence(void **context)
{
    struct ledger_commands *commands = measure_commands(measure);
    commands->intended = 1000;
    struct expectation e = make(EXPECT_COMMANDS, COMMANDS_LOST, STATISTIC_SHARE, BELOW, 0.004);
    e.confidence = 0.95;
    assert_int_equal(judge(e), VERDICT_PASS); /* rule of three: below 0.003 */
    assert_true(fabs(result.high - 0.0029912) < 1e-6 && result.low == 0);
    e.bound = 0.002;
    assert_int_equal(judge(e), VERDICT_INCONCLUSIVE);
    assert_non_null(strstr(result.detail, "needs about 500 more commands"));
    commands->lost = 10; /* Clopper-Pearson, 95 % a side: 0.00543 and 0.01690 */
    assert_int_equal(judge(e), VERDICT_FAIL);
    assert_true(fabs(result.low - 0.005435) < 1e-5 && fabs(result.high - 0.016890) < 2e-5);
    e.bound = 0.01;
    assert_int_equal(judge(e), VERDICT_INCONCLUSIVE);
    commands->lost = 1000;
    e.comparison = AT_LEAST;
    e.bound = 0.9;
    assert_int_equal(judge(e), VERDICT_PASS);
    assert_true(result.high == 1 && result.low > 0.996 && result.low < 0.998);
    /* Long runs: Poisson and normal ranges. */
    commands->intended = 30000000;
    commands->lost = 3; /* upper 7.754 a 3e7, lower 0.818 */
    e.comparison = BELOW;
    e.bound = 2e-7;
    assert_int_equal(judge(e), VERDICT_INCONCLUSIVE);
    assert_true(fabs(result.high * 3e7 - 7.754) < 0.001 && fabs(result.low * 3e7 - 0.818) < 0.001);
    commands->lost = 15000000;
    judge(e);
    assert_true(fabs(result.high - 0.50015) < 1e-5 && fabs(result.low - 0.49985) < 1e-5);
    commands->lost = 30000000 - 3;
    judge(e);
    assert_true(fabs((1 - result.low) * 3e7 - 7.754) < 0.01 && fabs((1 - result.high) * 3e7 - 0.818) < 0.01);
}

static void commands_and_victims(void **context)
{
    *measure_commands(measure) = (struct ledger_commands){100, 99, 98, 97, 2, 96, 4, 5, 6, 7, 80, 9, 8, 3, 1};
    static const double totals[COMMANDS_FIELD_COUNT] = {100, 99, 98, 97, 2, 96, 4, 5, 6, 7, 80, 9, 8, 3, 1};
    for (uint32_t v = 40; v > 0; v--)
        measure_command_victim(measure, VICTIM_TIMED_OUT, v, 1000 - v);
    measure_command_victim(measure, VICTIM_TIMED_OUT, 12, 500);
    measure_command_victim(measure, VICTIM_LOST, 45, 7);
    measure_command_victim(measure, VICTIM_EXECUTED_TWICE, 3, 9);
    for (uint32_t field = 0; field < COMMANDS_FIELD_COUNT; field++) {
        around(make(EXPECT_COMMANDS, field, STATISTIC_TOTAL, BELOW, 0), totals[field]);
        around(make(EXPECT_COMMANDS, field, STATISTIC_COUNT, BELOW, 0), totals[field]);
        around(make(EXPECT_COMMANDS, field, STATISTIC_SHARE, BELOW, 0), totals[field] / 100);
    }
    quick(EXPECT_COMMANDS, COMMANDS_TIMED_OUT, STATISTIC_TOTAL, EQUALS, 0);
    assert_int_equal(result.worst_count, MEASURE_WORST);
    assert_int_equal(result.worst[0].vehicle, 12);
    assert_int_equal(result.worst[0].value, 2);
    assert_int_equal(result.worst[0].at_us, 500);
    assert_int_equal(result.worst[1].vehicle, 1);
    quick(EXPECT_COMMANDS, COMMANDS_LOST, STATISTIC_TOTAL, EQUALS, 0);
    assert_int_equal(result.worst_count, 1);
    assert_int_equal(result.worst[0].vehicle, 45);
    quick(EXPECT_COMMANDS, COMMANDS_EXECUTED_TWICE, STATISTIC_TOTAL, EQUALS, 0);
    assert_int_equal(result.worst[0].vehicle, 3);
}

static void not_available(void **context)
{
    struct expectation e = make(EXPECT_METRIC, METRIC_PROVISION_REGISTRATION, STATISTIC_COUNT, EQUALS, 0);
    strcpy(e.needs, "registration");
    static const struct {
        const char *unavailable;
        enum verdict verdict;
    } cases[] = {{NULL, VERDICT_PASS},
                 {"", VERDICT_PASS},
                 {"presence,registrations", VERDICT_PASS},
                 {"registration", VERDICT_NOT_AVAILABLE},
                 {"presence, registration", VERDICT_NOT_AVAILABLE},
                 {"registration,presence", VERDICT_NOT_AVAILABLE}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        expectation_judge(measure, &e, cases[i].unavailable, &result);
        assert_int_equal(result.verdict, cases[i].verdict);
    }
    assert_string_equal(result.detail, "the cloud in use has no registration");
    assert_string_equal(verdict_name(result.verdict), "not available");
}

static void problems(void **context)
{
    struct expectation bad[] = {
        make(EXPECT_METRIC, METRIC_RECONNECT, STATISTIC_SHARE, BELOW, 1),
        make(EXPECT_METRIC, METRIC_RECONNECT, STATISTIC_LAST, BELOW, 1),
        make(EXPECT_METRIC, METRIC_COUNT, STATISTIC_MEAN, BELOW, 1),
        make(EXPECT_METRIC, METRIC_RECONNECT, STATISTIC_MEAN, BELOW, NAN),
        make(EXPECT_COUNTER, COUNTER_CONNECTED, STATISTIC_TOTAL, BELOW, 1),
        make(EXPECT_COUNTER, COUNTER_PINGS, STATISTIC_SHARE, BELOW, 1),
        make(EXPECT_COUNTER, COUNTER_COUNT, STATISTIC_MAXIMUM, BELOW, 1),
        make(EXPECT_LEDGER, LEDGER_LOST, STATISTIC_LAST, BELOW, 1),
        make(EXPECT_COMMANDS, COMMANDS_LOST, STATISTIC_MAXIMUM, BELOW, 1),
        make(EXPECT_METRIC, METRIC_RECONNECT, STATISTIC_MEAN, BELOW, 1),
        make(EXPECT_METRIC, METRIC_RECONNECT, STATISTIC_QUANTILE, BELOW, 1),
        make(EXPECT_METRIC, METRIC_RECONNECT, STATISTIC_MEAN, BELOW, 1),
        make(EXPECT_COUNTER, COUNTER_PINGS, STATISTIC_MAXIMUM, BELOW, 1),
        make(EXPECT_COMMANDS, COMMANDS_LOST, STATISTIC_TOTAL, BELOW, 1),
        make(EXPECT_LEDGER, LEDGER_LOST, STATISTIC_TOTAL, BELOW, 1),
    };
    bad[9].temporal = ALWAYS;
    bad[10].quantile = 1.5;
    bad[11].confidence = 0.3;
    bad[12].from_us = 9;
    bad[12].by_us = 8;
    bad[13].filter.region = 0;
    bad[14].filter.path = PATH_QUEUED;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_non_null(expectation_problem(&bad[i]));
        assert_int_equal(judge(bad[i]), VERDICT_INCONCLUSIVE);
        assert_non_null(strstr(result.detail, expectation_problem(&bad[i])));
    }
}

static void values_as_text(void **context)
{
    static const struct {
        enum expectation_source source;
        uint32_t what;
        enum statistic statistic;
        double value;
        const char *text;
    } cases[] = {
        {EXPECT_METRIC, METRIC_RECONNECT, STATISTIC_QUANTILE, 0, "0 s"},
        {EXPECT_METRIC, METRIC_RECONNECT, STATISTIC_QUANTILE, 412, "412 \xc2\xb5s"},
        {EXPECT_METRIC, METRIC_RECONNECT, STATISTIC_QUANTILE, 999.7, "1 ms"},
        {EXPECT_METRIC, METRIC_RECONNECT, STATISTIC_QUANTILE, 41000, "41 ms"},
        {EXPECT_METRIC, METRIC_RECONNECT, STATISTIC_QUANTILE, 999600, "1 s"},
        {EXPECT_METRIC, METRIC_RECONNECT, STATISTIC_QUANTILE, 1310000, "1.31 s"},
        {EXPECT_METRIC, METRIC_RECONNECT, STATISTIC_QUANTILE, 11200000, "11.2 s"},
        {EXPECT_METRIC, METRIC_RECONNECT, STATISTIC_MEAN, 59.96e6, "1 min"},
        {EXPECT_METRIC, METRIC_RECONNECT, STATISTIC_MAXIMUM, 123e6, "2 min 3 s"},
        {EXPECT_METRIC, METRIC_RECONNECT, STATISTIC_MAXIMUM, 3600e6, "1 h"},
        {EXPECT_METRIC, METRIC_RECONNECT, STATISTIC_MAXIMUM, 86399e6, "1 d"},
        {EXPECT_METRIC, METRIC_RECONNECT, STATISTIC_TOTAL, 100 * 3600e6, "4 d 4 h"},
        {EXPECT_METRIC, METRIC_RECONNECT, STATISTIC_COUNT, 14986, "14,986"},
        {EXPECT_METRIC, METRIC_RECONNECT, STATISTIC_QUANTILE, INFINITY, "unbounded"},
        {EXPECT_METRIC, METRIC_BYTES_UP_DAY, STATISTIC_QUANTILE, 1.2e6, "1.2 MB"},
        {EXPECT_METRIC, METRIC_BYTES_UP_DAY, STATISTIC_MEAN, 312, "312 B"},
        {EXPECT_METRIC, METRIC_BYTES_UP_DAY, STATISTIC_MEAN, 999999, "1 MB"},
        {EXPECT_COUNTER, COUNTER_CONNECTS, STATISTIC_MAXIMUM, 412, "412/s"},
        {EXPECT_COUNTER, COUNTER_CONNECTS, STATISTIC_MEAN, 0.1234, "0.123/s"},
        {EXPECT_COUNTER, COUNTER_CONNECTS, STATISTIC_MAXIMUM, 5912, "5,912/s"},
        {EXPECT_COUNTER, COUNTER_CONNECTS, STATISTIC_TOTAL, 29871244, "29,871,244"},
        {EXPECT_COUNTER, COUNTER_BYTES_UP, STATISTIC_MAXIMUM, 2.5e9, "2.5 GB/s"},
        {EXPECT_COUNTER, COUNTER_BYTES_UP, STATISTIC_TOTAL, 2.5e9, "2.5 GB"},
        {EXPECT_COUNTER, COUNTER_CONNECTED, STATISTIC_MAXIMUM, 61000, "61,000"},
        {EXPECT_COUNTER, COUNTER_CONNECTED, STATISTIC_LAST, -5, "-5"},
        {EXPECT_LEDGER, LEDGER_LOST, STATISTIC_TOTAL, 0, "0"},
        {EXPECT_LEDGER, LEDGER_LOST, STATISTIC_SHARE, 0.0012, "0.12 %"},
        {EXPECT_LEDGER, LEDGER_LOST, STATISTIC_SHARE, 0, "0 %"},
        {EXPECT_LEDGER, LEDGER_DELIVERED, STATISTIC_SHARE, 1, "100 %"},
        {EXPECT_LEDGER, LEDGER_DELIVERED, STATISTIC_SHARE, 0.999997, "99.9997 %"},
        {EXPECT_LEDGER, LEDGER_LOST, STATISTIC_MEAN, 1.5, "1.5"},
        {EXPECT_COMMANDS, COMMANDS_LOST, STATISTIC_TOTAL, 1000, "1,000"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct expectation e = make(cases[i].source, cases[i].what, cases[i].statistic, BELOW, 0);
        char text[32];
        expectation_format(&e, cases[i].value, text, sizeof(text));
        assert_string_equal(text, cases[i].text);
    }
    char tiny[4];
    measure_format_duration(123e6, tiny, sizeof(tiny));
    assert_string_equal(tiny, "2 m");
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(metrics_exact),
        T(metrics_resolution),
        T(quantile_with_confidence),
        T(mean_with_confidence),
        T(wrong_passes_are_rare),
        T(counters),
        T(counters_over_time),
        T(gauges),
        T(ledger),
        T(shares_with_confidence),
        T(commands_and_victims),
        T(not_available),
        T(problems),
        T(values_as_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
