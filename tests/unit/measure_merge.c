/* One fleet measured by one process, and by three that each hold some groups of vehicles: every answer must be the same to the byte, in
 * whatever order they are merged, and whether a group's hours come one after the other or the groups' hours do. Rows as they are kept
 * against plain ones. */
#include "sim/measure/internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { VEHICLES = 500, COHORTS = 3, REGIONS = 4, SECONDS = 4000, GROUPS = 7, SIDES = 3, HOURS = 8, CALLS = 40000 };

static uint64_t state;

static uint32_t draw(uint32_t bound)
{
    uint64_t z = (state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (uint32_t)((z ^ z >> 31) % bound);
}

static struct measure_dimension who(void *context, uint32_t vehicle)
{
    return (struct measure_dimension){.cohort = (uint16_t)(vehicle % COHORTS),
                                      .region = (uint16_t)(vehicle / 5 % REGIONS)};
}

static struct measure *create(uint32_t groups)
{
    static const struct measure_interval phases[] = {{0, 600 * US_PER_S, "warm-up"},
                                                     {1500 * US_PER_S, 1700 * US_PER_S, "tunnel"}};
    struct measure_options options = {.vehicles = VEHICLES,
                                      .cohorts = COHORTS,
                                      .regions = REGIONS,
                                      .duration_us = SECONDS * US_PER_S - US_PER_S / 2,
                                      .excluded = phases,
                                      .excluded_count = 2,
                                      .groups = groups};
    struct measure *measure = measure_create(&options);
    assert_non_null(measure);
    measure_set_who(measure, who, NULL);
    return measure;
}

/* ---- the calls ----------------------------------------------------------------------------------------------------------- */

struct call {
    uint32_t hour, vehicle, kind, what, number;
    int64_t at_us, value;
};
static struct call calls[CALLS];

static void make_calls(void)
{
    static uint32_t next[VEHICLES];
    memset(next, 0, sizeof(next));
    for (uint32_t i = 0; i < CALLS; i++) {
        struct call *call = &calls[i];
        *call = (struct call){.hour = i * HOURS / CALLS, .vehicle = draw(VEHICLES), .kind = draw(9)};
        uint32_t span = SECONDS / HOURS;
        call->at_us = (int64_t)(call->hour * span + draw(span + 3)) * US_PER_S - draw(1500000);
        call->value = draw(5) ? draw(3000) : draw(40) * 1000000;
        call->what = draw(call->kind < 3 ? METRIC_COUNT : COUNTER_COUNT);
        if (call->kind == 5 || call->kind == 6)
            next[call->vehicle] += draw(20) ? 1 : draw(2000);
        call->number = next[call->vehicle] > 3 ? next[call->vehicle] - draw(4) : next[call->vehicle];
    }
}

static void apply_ledger(struct measure *measure, const struct call *call)
{
    switch (call->value % 8) {
    case 0: measure_ledger_dropped(measure, call->vehicle, call->number); break;
    case 1: measure_ledger_pending(measure, call->vehicle, call->number); break;
    case 2: measure_ledger_acknowledged(measure, call->vehicle); break;
    default:
        measure_ledger_intended(measure, call->vehicle, call->number);
        measure_ledger_delivered(measure, call->vehicle, call->number);
    }
}

static void apply(struct measure *measure, const struct call *call)
{
    static const enum counter victims[] = {VICTIM_LOST, VICTIM_TIMED_OUT, VICTIM_EXECUTED_TWICE};
    struct measure_dimension place = who(NULL, call->vehicle);
    struct ledger_commands *commands = measure_commands(measure);
    place.path = call->value % PATH_COUNT;
    if (call->kind < 3) {
        measure_sample(measure, call->what, place, call->value % 9 ? call->vehicle : MEASURE_NO_VEHICLE, call->at_us,
                       call->value);
    } else if (call->kind < 5) {
        measure_count(measure, call->what, place, call->at_us,
                      call->what == COUNTER_CONNECTED ? 1 - call->value % 3 : call->value);
    } else if (call->kind < 8) {
        apply_ledger(measure, call);
    } else {
        commands->intended += 1;
        commands->lost += call->value % 2;
        commands->executed_twice += call->value % 3;
        commands->pending += call->value % 5;
        measure_command_victim(measure, victims[call->value % 3], call->vehicle, call->at_us);
    }
}

/* ---- everything a report can ask --------------------------------------------------------------------------------------------- */

struct answers {
    uint8_t *bytes;
    size_t length, capacity;
};

static void put(struct answers *answers, const void *data, size_t size)
{
    if (answers->length + size > answers->capacity) {
        answers->capacity = 2 * answers->capacity + size;
        answers->bytes = realloc(answers->bytes, answers->capacity);
        assert_non_null(answers->bytes);
    }
    memcpy(answers->bytes + answers->length, data, size);
    answers->length += size;
}

static void ask_worst(struct answers *answers, const struct measure_worst *worst, uint32_t count)
{
    put(answers, &count, sizeof(count));
    for (uint32_t i = 0; i < count; i++) {
        put(answers, &worst[i].value, sizeof(worst[i].value));
        put(answers, &worst[i].at_us, sizeof(worst[i].at_us));
        put(answers, &worst[i].vehicle, sizeof(worst[i].vehicle));
    }
}

static void ask_measured(struct answers *answers, const struct measure *measure, struct measure_dimension filter)
{
    struct measure_worst worst[MEASURE_WORST];
    struct histogram histogram;
    for (uint32_t metric = 0; metric < METRIC_COUNT; metric++) {
        for (int excluded = 0; excluded < 2; excluded++) {
            measure_histogram(measure, metric, filter, excluded, &histogram);
            put(answers, &histogram, sizeof(histogram));
        }
        ask_worst(answers, worst, measure_worst(measure, metric, filter, worst));
    }
    for (uint32_t counter = 0; counter < COUNTER_COUNT; counter++) {
        uint32_t count;
        int64_t bin_us,
            total[2] = {measure_total(measure, counter, filter), measure_total_excluded(measure, counter, filter)};
        int64_t *bins = measure_series(measure, counter, filter, &count, &bin_us);
        put(answers, total, sizeof(total));
        put(answers, bins, count * sizeof(*bins));
        free(bins);
    }
}

static void ask_ledger(struct answers *answers, const struct measure *measure, struct measure_dimension filter)
{
    struct measure_worst worst[MEASURE_WORST];
    struct ledger_totals totals;
    assert_true(measure_ledger_totals(measure, filter, &totals));
    put(answers, &totals, sizeof(totals));
    for (uint32_t field = 0; field < LEDGER_FIELD_COUNT; field++)
        ask_worst(answers, worst, measure_ledger_worst(measure, field, filter, worst));
}

static void ask_expectations(struct answers *answers, const struct measure *measure)
{
    static struct expectation expectations[] = {
        {.source = EXPECT_METRIC,
         .what = METRIC_RECONNECT,
         .statistic = STATISTIC_QUANTILE,
         .quantile = 0.99,
         .comparison = BELOW,
         .bound = 2000,
         .confidence = 0.95},
        {.source = EXPECT_COUNTER,
         .what = COUNTER_PUBLISHES,
         .statistic = STATISTIC_MAXIMUM,
         .comparison = BELOW,
         .bound = 100,
         .temporal = ALWAYS},
        {.source = EXPECT_COUNTER, .what = COUNTER_CONNECTED, .statistic = STATISTIC_LAST, .comparison = AT_LEAST},
        {.source = EXPECT_LEDGER, .what = LEDGER_LOST, .statistic = STATISTIC_TOTAL, .comparison = EQUALS},
        {.source = EXPECT_LEDGER,
         .what = LEDGER_DELIVERED,
         .statistic = STATISTIC_QUANTILE,
         .quantile = 0.9,
         .comparison = AT_LEAST,
         .bound = 3},
        {.source = EXPECT_COMMANDS,
         .what = COMMANDS_LOST,
         .statistic = STATISTIC_SHARE,
         .comparison = BELOW,
         .bound = 0.1},
    };
    for (size_t i = 0; i < sizeof(expectations) / sizeof(expectations[0]); i++) {
        struct expectation_result result;
        memset(&result, 0, sizeof(result));
        expectations[i].filter = MEASURE_EVERYBODY;
        assert_null(expectation_problem(&expectations[i]));
        expectation_judge(measure, &expectations[i], NULL, &result);
        put(answers, &result.verdict, sizeof(result.verdict));
        put(answers, &result.measured, sizeof(result.measured));
        put(answers, &result.low, sizeof(result.low));
        put(answers, &result.high, sizeof(result.high));
        put(answers, &result.samples, sizeof(result.samples));
        put(answers, &result.at_us, sizeof(result.at_us));
        put(answers, result.detail, strlen(result.detail));
        ask_worst(answers, result.worst, result.worst_count);
    }
}

static struct answers ask_all(const struct measure *measure)
{
    static const enum counter victims[] = {VICTIM_LOST, VICTIM_TIMED_OUT, VICTIM_EXECUTED_TWICE};
    struct answers answers = {0};
    struct measure_worst worst[MEASURE_WORST];
    for (uint16_t cohort = 0; cohort <= COHORTS; cohort++)
        for (uint16_t region = 0; region <= REGIONS; region++) {
            struct measure_dimension filter = {cohort == COHORTS ? MEASURE_ANY : cohort,
                                               region == REGIONS ? MEASURE_ANY : region, PATH_ANY};
            ask_ledger(&answers, measure, filter);
            if (cohort == COHORTS || region == REGIONS)
                ask_measured(&answers, measure, filter);
        }
    struct measure_dimension queued = {MEASURE_ANY, MEASURE_ANY, PATH_QUEUED};
    ask_measured(&answers, measure, queued);
    for (uint32_t vehicle = 0; vehicle < VEHICLES; vehicle++) {
        struct ledger_row row = measure_ledger_row(measure, vehicle);
        put(&answers, &row, sizeof(row));
    }
    put(&answers, measure_commands_row(measure), sizeof(struct ledger_commands));
    for (uint32_t i = 0; i < 3; i++)
        ask_worst(&answers, worst, measure_command_victims(measure, victims[i], worst));
    uint64_t unrecorded = measure_unrecorded(measure);
    put(&answers, &unrecorded, sizeof(unrecorded));
    ask_expectations(&answers, measure);
    return answers;
}

static void check_same(const struct answers *expected, const struct measure *measure)
{
    struct answers found = ask_all(measure);
    assert_int_equal(found.length, expected->length);
    for (size_t i = 0; i < found.length; i++)
        if (found.bytes[i] != expected->bytes[i])
            fail_msg("answers differ at byte %zu of %zu", i, found.length);
    free(found.bytes);
}

/* ---- tests ------------------------------------------------------------------------------------------------------------------- */

static uint32_t side_of(uint32_t vehicle)
{
    return vehicle % GROUPS % SIDES;
}

/* One hour of one group, then the next group's: time jumps back, as it does where groups run one after the other. */
static void by_groups(struct measure *const side[SIDES])
{
    for (uint32_t hour = 0; hour < HOURS; hour++)
        for (uint32_t group = 0; group < GROUPS; group++)
            for (uint32_t i = 0; i < CALLS; i++)
                if (calls[i].hour == hour && calls[i].vehicle % GROUPS == group)
                    apply(side[side_of(calls[i].vehicle)], &calls[i]);
}

static void put_together(struct measure *into, const struct measure *from, bool packed)
{
    uint8_t *bytes;
    size_t length;
    if (!packed) {
        measure_merge(into, from);
        return;
    }
    assert_true(measure_pack(from, &bytes, &length));
    assert_false(measure_merge_packed(into, bytes, length - 1));
    assert_true(measure_merge_packed(into, bytes, length));
    free(bytes);
}

static void three_are_one(void **context)
{
    static const uint32_t orders[][SIDES] = {{0, 1, 2}, {2, 0, 1}, {1, 2, 0}};
    state = 1;
    make_calls();
    struct measure *one = create(0), *side[SIDES];
    for (uint32_t i = 0; i < CALLS; i++)
        apply(one, &calls[i]);
    struct answers expected = ask_all(one);
    assert_true(one->rows.whole_count > 10); /* both kinds of rows are there */
    for (uint32_t order = 0; order < 3; order++) {
        for (uint32_t s = 0; s < SIDES; s++)
            side[s] = create(GROUPS);
        if (order == 0)
            for (uint32_t i = 0; i < CALLS; i++)
                apply(side[side_of(calls[i].vehicle)], &calls[i]);
        else
            by_groups(side);
        for (uint32_t group = 0; group < GROUPS; group++)
            for (uint32_t s = 0; s < SIDES; s++)
                assert_int_equal(side[s]->rows.group[group] != NULL, group % SIDES == s);
        struct measure *sum = create(GROUPS);
        for (uint32_t s = 0; s < SIDES; s++)
            put_together(sum, side[orders[order][s]], order > 0);
        check_same(&expected, sum);
        for (uint32_t s = 0; s < SIDES; s++)
            measure_destroy(side[s]);
        measure_destroy(sum);
    }
    free(expected.bytes);
    measure_destroy(one);
}

static void add_acknowledged(struct ledger_row *row)
{
    row->acknowledged++;
}

/* What is kept in 16 bytes, or whole and packed again later, is what a plain row would say. */
static void rows_as_kept(void **context)
{
    static struct ledger_row plain[VEHICLES];
    struct measure *measure = create(GROUPS);
    memset(plain, 0, sizeof(plain));
    uint32_t freed = 0;
    state = 7;
    for (uint32_t i = 0; i < 400000; i++) {
        uint32_t v = draw(40) ? draw(30) : draw(VEHICLES), far = draw(3000) ? draw(3)
                                                                 : draw(2)  ? draw(5000)
                                                                            : draw(40000000);
        uint32_t next = plain[v].intended + 1 + (v % 3 ? 0 : far), old = next > 70 ? next - draw(v % 5 ? 3 : 70) : next;
        switch (draw(8)) {
        case 0:
        case 1:
        case 2:
            measure_ledger_intended(measure, v, next);
            ledger_intended(&plain[v], next);
            if (draw(v % 4 ? 200 : 8) == 0)
                break;
            measure_ledger_delivered(measure, v, next);
            ledger_delivered(&plain[v], next);
            break;
        case 3:
        case 4:
            measure_ledger_delivered(measure, v, old);
            ledger_delivered(&plain[v], old);
            break;
        case 5:
            measure_ledger_acknowledged(measure, v);
            add_acknowledged(&plain[v]);
            break;
        case 6:
            measure_ledger_dropped(measure, v, old);
            ledger_dropped(&plain[v], old);
            break;
        default: measure_ledger_pending(measure, v, old + 1); ledger_pending(&plain[v], old + 1);
        }
        struct ledger_row row = measure_ledger_row(measure, v);
        assert_memory_equal(&row, &plain[v], sizeof(row));
        freed += measure->rows.free != 0;
    }
    assert_true(measure->rows.whole_count > 0 && measure->rows.whole_count < VEHICLES && freed > 0);
    for (uint32_t v = 0; v < VEHICLES; v++) {
        struct ledger_row row = measure_ledger_row(measure, v);
        assert_memory_equal(&row, &plain[v], sizeof(row));
    }
    assert_int_equal(measure_unrecorded(measure), 0);
    measure_destroy(measure);
}

/* A vehicle numbered on and on, with nothing lost, never needs more than its 16 bytes. */
static void common_rows_stay_small(void **context)
{
    struct measure *measure = create(1);
    for (uint32_t n = 1; n <= 100000; n++)
        for (uint32_t v = 0; v < 3; v++) {
            measure_ledger_intended(measure, v, n);
            measure_ledger_delivered(measure, v, n);
            measure_ledger_acknowledged(measure, v);
        }
    assert_int_equal(measure->rows.whole_count, 0);
    assert_int_equal(measure_ledger_row(measure, 2).delivered, 100000);
    measure_destroy(measure);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(three_are_one),
        cmocka_unit_test(rows_as_kept),
        cmocka_unit_test(common_rows_stay_small),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
