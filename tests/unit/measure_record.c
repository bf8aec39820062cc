/* What is recorded against a naive log of the same calls: filters, phases, series, worst lists, order, merging, packing. */
#include "sim/measure.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { CALLS = 6000, VEHICLES = 200, COHORTS = 3, REGIONS = 2, SECONDS = 3000 };

static uint64_t state;

static uint32_t draw(uint32_t bound)
{
    uint64_t z = (state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (uint32_t)((z ^ z >> 31) % bound);
}

struct call {
    bool sample;
    uint32_t what, vehicle;
    struct measure_dimension who;
    int64_t at_us, value;
};
static struct call calls[CALLS];

static const struct measure_interval phases[] = {{1500 * US_PER_S, 1700 * US_PER_S, "tunnel"},
                                                 {0, 600 * US_PER_S, "warm-up"},
                                                 {500 * US_PER_S, 700 * US_PER_S, "overlap"}};

static bool naive_excluded(int64_t at_us)
{
    return (at_us >= 0 && at_us < 700 * US_PER_S) || (at_us >= 1500 * US_PER_S && at_us < 1700 * US_PER_S);
}

static struct measure *create(void)
{
    struct measure_options options = {.vehicles = VEHICLES,
                                      .cohorts = COHORTS,
                                      .regions = REGIONS,
                                      .excluded = phases,
                                      .duration_us = SECONDS * US_PER_S,
                                      .excluded_count = 3};
    struct measure *measure = measure_create(&options);
    assert_non_null(measure);
    return measure;
}

static void make_calls(uint64_t seed)
{
    static const uint32_t counters[] = {COUNTER_CONNECTS, COUNTER_BYTES_UP, COUNTER_CONNECTED};
    state = seed;
    for (uint32_t i = 0; i < CALLS; i++) {
        struct call *call = &calls[i];
        call->sample = draw(2);
        call->vehicle = draw(VEHICLES);
        call->who =
            (struct measure_dimension){(uint16_t)draw(COHORTS), (uint16_t)draw(REGIONS), (uint8_t)draw(PATH_COUNT)};
        call->at_us = ((int64_t)draw(SECONDS + 20) - 5) * US_PER_S + draw(1000000);
        if (call->sample) {
            call->what = draw(2) ? METRIC_COMMAND_ROUND_TRIP : METRIC_RECONNECT;
            call->value = draw(8) ? draw(1000) : draw(50) * 100000; /* many ties */
        } else {
            call->what = counters[draw(3)];
            call->value = call->what == COUNTER_CONNECTED  ? (draw(2) ? 1 : -1)
                          : call->what == COUNTER_BYTES_UP ? (int64_t)draw(4) * 3000000000
                                                           : 1 + draw(90);
        }
    }
}

static void apply(struct measure *measure, const struct call *call)
{
    if (call->sample)
        measure_sample(measure, call->what, call->who, call->vehicle, call->at_us, call->value);
    else
        measure_count(measure, call->what, call->who, call->at_us, call->value);
    if (!call->sample && call->what == COUNTER_CONNECTS)
        measure_command_victim(measure, VICTIM_LOST, call->vehicle, call->at_us);
}

static bool takes(struct measure_dimension filter, struct measure_dimension who)
{
    return (filter.cohort == MEASURE_ANY || filter.cohort == who.cohort) &&
           (filter.region == MEASURE_ANY || filter.region == who.region) &&
           (filter.path == PATH_ANY || filter.path == who.path);
}

static struct measure_dimension filter_number(uint32_t i)
{
    uint32_t cohort = i % (COHORTS + 1), region = i / (COHORTS + 1) % (REGIONS + 1),
             path = i / (COHORTS + 1) / (REGIONS + 1);
    return (struct measure_dimension){cohort == COHORTS ? MEASURE_ANY : (uint16_t)cohort,
                                      region == REGIONS ? MEASURE_ANY : (uint16_t)region, (uint8_t)path};
}
#define FILTERS ((COHORTS + 1) * (REGIONS + 1) * PATH_COUNT)

/* The worst sample of each vehicle, sorted. */
static uint32_t naive_worst(uint32_t metric, struct measure_dimension filter, struct measure_worst out[VEHICLES])
{
    uint32_t count = 0;
    for (uint32_t v = 0; v < VEHICLES; v++) {
        struct measure_worst best = {-1, 0, v, 0};
        for (uint32_t i = 0; i < CALLS; i++) {
            const struct call *call = &calls[i];
            if (!call->sample || call->what != metric || call->vehicle != v || naive_excluded(call->at_us) ||
                !takes(filter, call->who))
                continue;
            if (call->value > best.value || (call->value == best.value && call->at_us < best.at_us))
                best = (struct measure_worst){call->value, call->at_us, v, 0};
        }
        if (best.value < 0)
            continue;
        uint32_t at = count++;
        for (; at > 0 && out[at - 1].value < best.value; at--)
            out[at] = out[at - 1];
        out[at] = best;
    }
    return count;
}

static void check_metric(const struct measure *measure, uint32_t metric, struct measure_dimension filter)
{
    struct histogram *got = malloc(sizeof(*got)), *want = calloc(2, sizeof(*want));
    for (uint32_t i = 0; i < CALLS; i++)
        if (calls[i].sample && calls[i].what == metric && takes(filter, calls[i].who))
            histogram_add(&want[naive_excluded(calls[i].at_us)], calls[i].value);
    for (int excluded = 0; excluded < 2; excluded++) {
        measure_histogram(measure, metric, filter, excluded, got);
        assert_memory_equal(got, &want[excluded], sizeof(*got));
    }
    free(got);
    free(want);
    struct measure_worst worst[MEASURE_WORST], naive[VEHICLES];
    uint32_t count = measure_worst(measure, metric, filter, worst), all = naive_worst(metric, filter, naive);
    assert_int_equal(count, all < MEASURE_WORST ? all : MEASURE_WORST);
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(worst[i].value, naive[i].value);
        assert_int_equal(worst[i].vehicle, naive[i].vehicle);
        assert_int_equal(worst[i].at_us, naive[i].at_us);
    }
}

static void check_counter(const struct measure *measure, uint32_t counter, struct measure_dimension filter)
{
    static int64_t want[SECONDS];
    int64_t total = 0, excluded = 0;
    memset(want, 0, sizeof(want));
    for (uint32_t i = 0; i < CALLS; i++) {
        const struct call *call = &calls[i];
        if (call->sample || call->what != counter || !takes(filter, call->who))
            continue;
        total += call->value;
        excluded += naive_excluded(call->at_us) ? call->value : 0;
        if (call->at_us < SECONDS * US_PER_S)
            want[call->at_us < 0 ? 0 : call->at_us / US_PER_S] += call->value;
    }
    for (uint32_t i = 1; counter == COUNTER_CONNECTED && i < SECONDS; i++)
        want[i] += want[i - 1];
    uint32_t count;
    int64_t bin_us, *bins = measure_series(measure, counter, filter, &count, &bin_us);
    assert_int_equal(count, SECONDS);
    assert_int_equal(bin_us, US_PER_S);
    assert_memory_equal(bins, want, sizeof(want));
    free(bins);
    assert_int_equal(measure_total(measure, counter, filter), total);
    assert_int_equal(measure_total_excluded(measure, counter, filter), excluded);
}

static void check_all(const struct measure *measure)
{
    for (uint32_t i = 0; i < FILTERS; i += 1) {
        check_metric(measure, METRIC_COMMAND_ROUND_TRIP, filter_number(i));
        check_counter(measure, COUNTER_CONNECTS, filter_number(i));
        check_counter(measure, COUNTER_BYTES_UP, filter_number(i));
        check_counter(measure, COUNTER_CONNECTED, filter_number(i));
    }
    check_metric(measure, METRIC_RECONNECT, MEASURE_EVERYBODY);
    struct measure_worst victims[MEASURE_WORST];
    uint32_t count = measure_command_victims(measure, VICTIM_LOST, victims), seen = 0;
    for (uint32_t v = 0; v < VEHICLES && seen < count; v++) {
        int64_t times = 0, first_us = INT64_MAX;
        for (uint32_t i = 0; i < CALLS; i++)
            if (!calls[i].sample && calls[i].what == COUNTER_CONNECTS && calls[i].vehicle == v) {
                times++;
                first_us = calls[i].at_us < first_us ? calls[i].at_us : first_us;
            }
        if (!times)
            continue;
        assert_int_equal(victims[seen].vehicle, v);
        assert_int_equal(victims[seen].value, times);
        assert_int_equal(victims[seen++].at_us, first_us);
    }
    assert_int_equal(seen, MEASURE_WORST);
    assert_int_equal(measure_unrecorded(measure), 0);
}

static void forwards(void **context)
{
    make_calls(1);
    struct measure *measure = create();
    for (uint32_t i = 0; i < CALLS; i++)
        apply(measure, &calls[i]);
    check_all(measure);
    struct measure_dimension nobody = {COHORTS, MEASURE_ANY, PATH_ANY};
    assert_int_equal(measure_total(measure, COUNTER_CONNECTS, nobody), 0);
    assert_true(measure_excluded(measure, 0) && measure_excluded(measure, 699999999) &&
                !measure_excluded(measure, 700000000));
    assert_true(!measure_excluded(measure, -1));
    assert_string_equal(measure_get_options(measure)->excluded[1].name, "warm-up");
    measure_destroy(measure);
}

static void shuffled(void **context)
{
    make_calls(2);
    struct measure *measure = create();
    for (uint32_t i = 0; i < CALLS; i++)
        apply(measure, &calls[(uint64_t)i * 4999 % CALLS]); /* coprime: each once, far apart */
    check_all(measure);
    measure_destroy(measure);
}

/* Three parts, one by one process's block of bytes. */
static void merged(void **context)
{
    make_calls(3);
    struct measure *part[3] = {create(), create(), create()};
    for (uint32_t i = 0; i < CALLS; i++) {
        uint32_t which = draw(3);
        apply(part[which], &calls[i]);
        measure_commands(part[which])->answered += 2;
        measure_ledger_intended(part[which], calls[i].vehicle, 7);
    }
    uint8_t *bytes;
    size_t length;
    measure_merge(part[0], part[1]);
    assert_true(measure_pack(part[2], &bytes, &length));
    assert_false(measure_merge_packed(part[0], bytes, length - 1));
    assert_false(measure_merge_packed(part[0], bytes, 5));
    bytes[0] ^= 1;
    assert_false(measure_merge_packed(part[0], bytes, length));
    bytes[0] ^= 1;
    assert_true(measure_merge_packed(part[0], bytes, length));
    check_all(part[0]);
    assert_int_equal(measure_commands_row(part[0])->answered, 2 * CALLS);
    assert_int_equal(measure_ledger_row(part[0], calls[0].vehicle).intended, 7);
    free(bytes);
    for (int i = 0; i < 3; i++)
        measure_destroy(part[i]);
}

/* Every width of a bin, up and down, in one chunk and beside it. */
static void bins_widen(void **context)
{
    static const int64_t steps[] = {
        1, 126, 1, 32000, 1000, INT64_C(2147000000), 1000000, INT64_C(1) << 50, -(INT64_C(1) << 51)};
    struct measure *measure = create();
    struct measure_dimension who = {0, 0, PATH_ANY};
    int64_t sum = 0, bin_us;
    uint32_t count;
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        measure_count(measure, COUNTER_BYTES_DOWN, who, 800 * US_PER_S, steps[i]);
        measure_count(measure, COUNTER_BYTES_DOWN, who, 801 * US_PER_S, -1);
        sum += steps[i];
        int64_t *bins = measure_series(measure, COUNTER_BYTES_DOWN, who, &count, &bin_us);
        assert_int_equal(bins[800], sum);
        assert_int_equal(bins[801], -(int64_t)i - 1);
        assert_int_equal(bins[799], 0);
        free(bins);
    }
    measure_destroy(measure);
}

static void bins_of_long_runs(void **context)
{
    static const struct {
        int64_t duration_us, bin_us;
        uint32_t count;
    } cases[] = {{0, US_PER_S, 1},
                 {1, US_PER_S, 1},
                 {US_PER_DAY, US_PER_S, 86400},
                 {100000 * US_PER_S, US_PER_S, 100000},
                 {7 * US_PER_DAY, 10 * US_PER_S, 60480},
                 {365 * US_PER_DAY, 600 * US_PER_S, 52560}};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct measure_options options = {.duration_us = cases[i].duration_us};
        struct measure *measure = measure_create(&options);
        uint32_t count;
        int64_t bin_us, *bins = measure_series(measure, COUNTER_PINGS, MEASURE_EVERYBODY, &count, &bin_us);
        assert_int_equal(bin_us, cases[i].bin_us);
        assert_int_equal(count, cases[i].count);
        free(bins);
        measure_destroy(measure);
    }
}

static void names(void **context)
{
    for (int i = 0; i < METRIC_COUNT; i++)
        assert_int_equal(metric_find(metric_name(i)), i);
    for (int i = 0; i < COUNTER_COUNT; i++)
        assert_int_equal(counter_find(counter_name(i)), i);
    for (int i = 0; i < LEDGER_FIELD_COUNT; i++)
        assert_int_equal(ledger_field_find(ledger_field_name(i)), i);
    for (int i = 0; i < COMMANDS_FIELD_COUNT; i++)
        assert_int_equal(commands_field_find(commands_field_name(i)), i);
    assert_string_equal(metric_name(METRIC_TELEMETRY_END_TO_END), "telemetry.end_to_end");
    assert_int_equal(metric_find("telemetry"), -1);
    assert_int_equal(counter_find(""), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forwards),   cmocka_unit_test(shuffled),          cmocka_unit_test(merged),
        cmocka_unit_test(bins_widen), cmocka_unit_test(bins_of_long_runs), cmocka_unit_test(names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
