/* The ledger against a model that remembers every number. */
#include "sim/measure.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { NUMBERS = 3000 };
static uint64_t state;

static uint32_t draw(uint32_t bound)
{
    uint64_t z = (state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (uint32_t)((z ^ z >> 31) % bound);
}

static void check_invariant(const struct ledger_row *row)
{
    assert_int_equal(row->delivered, row->window_base - row->forgotten + (uint32_t)__builtin_popcountll(row->window));
    assert_int_equal(row->window & 1, 0);
}

static void deliver(struct ledger_row *row, uint32_t number)
{
    ledger_delivered(row, number);
    check_invariant(row);
}

static void by_hand(void **context)
{
    struct ledger_row row = {0};
    ledger_intended(&row, 3);
    ledger_intended(&row, 2);
    assert_int_equal(row.intended, 3);
    assert_int_equal(ledger_lost(&row), 3);
    deliver(&row, 2);
    assert_int_equal(row.window_base, 0);
    deliver(&row, 2);
    deliver(&row, 1);
    assert_int_equal(row.window_base, 2);
    deliver(&row, 1);
    deliver(&row, 0); /* no message */
    assert_int_equal(row.delivered, 2);
    assert_int_equal(row.duplicated, 2);
    assert_int_equal(ledger_lost(&row), 1);
    ledger_dropped(&row, 2); /* a processor has it */
    assert_int_equal(row.dropped, 0);
    ledger_dropped(&row, 3);
    assert_int_equal(ledger_lost(&row), 0);
    row.delivered = 50; /* more than ever intended */
    assert_int_equal(ledger_lost(&row), 0);
}

static void window_edges(void **context)
{
    struct ledger_row row = {0};
    deliver(&row, 64);
    assert_int_equal(row.window_base, 0);
    assert_int_equal(row.forgotten, 0);
    deliver(&row, 65); /* 1 leaves */
    assert_int_equal(row.window_base, 1);
    assert_int_equal(row.forgotten, 1);
    deliver(&row, 1); /* too late: taken for a repetition */
    assert_int_equal(row.duplicated, 1);
    for (uint32_t i = 2; i <= 63; i++)
        deliver(&row, i);
    assert_int_equal(row.window_base, 65);
    assert_int_equal(row.window, 0);
    deliver(&row, 1000000);
    assert_int_equal(row.delivered, 65);
    assert_int_equal(row.window_base, 1000000 - 64);
    assert_int_equal(row.forgotten, 1 + 1000000 - 64 - 65);
    deliver(&row, UINT32_MAX);
    deliver(&row, UINT32_MAX);
    assert_int_equal(row.delivered, 66);
    assert_int_equal(row.duplicated, 2);
}

/* A vehicle sends in order; the network loses, repeats and reorders by up to `reorder`; some are dropped, some pend at the end. */
struct fate {
    bool delivered, dropped, pending;
    uint32_t at;
    uint32_t number;
};

static int by_arrival(const void *a, const void *b)
{
    const struct fate *left = a, *right = b;
    if (left->at != right->at)
        return (left->at > right->at) - (left->at < right->at);
    return (left->number > right->number) - (left->number < right->number);
}

static void swarm(void **context)
{
    static struct fate fates[NUMBERS], arrivals[NUMBERS * 2];
    for (uint32_t seed = 1; seed <= 300; seed++) {
        state = seed;
        uint32_t count = 1 + draw(NUMBERS), reorder = 1 + draw(60), lose = draw(40), repeat = draw(30), drop = draw(20);
        uint32_t lost = 0, delivered = 0, dropped = 0, pending = 0, arriving = 0, repeated = 0;
        struct ledger_row row = {0};
        for (uint32_t n = 1; n <= count; n++) {
            struct fate *fate = &fates[n - 1];
            *fate = (struct fate){.number = n, .at = n + draw(reorder)};
            if (draw(100) < drop) {
                fate->dropped = true;
            } else if (n + 20 > count && draw(2)) {
                fate->pending = true; /* may have been delivered, its acknowledgement was not */
                fate->delivered = draw(2);
            } else {
                fate->delivered = draw(100) >= lose;
            }
            if (fate->delivered) {
                arrivals[arriving++] = *fate;
                if (draw(100) < repeat) {
                    arrivals[arriving] = *fate;
                    arrivals[arriving++].at = fate->at + draw(2000);
                    repeated++;
                }
            }
        }
        qsort(arrivals, arriving, sizeof(arrivals[0]), by_arrival);
        for (uint32_t i = 0; i < arriving; i++) {
            ledger_intended(&row, arrivals[i].number);
            deliver(&row, arrivals[i].number);
        }
        ledger_intended(&row, count);
        for (uint32_t n = 1; n <= count; n++) {
            const struct fate *fate = &fates[n - 1];
            delivered += fate->delivered;
            dropped += fate->dropped;
            pending += fate->pending && !fate->delivered;
            lost += !fate->delivered && !fate->dropped && !fate->pending;
            /* Both columns the world fills once it knows; those below the window are not excused, so only count the exact ones. */
            if (fate->dropped)
                row.dropped++;
            if (fate->pending && n > row.window_base)
                ledger_pending(&row, n);
            else if (fate->pending && !fate->delivered)
                row.pending++;
        }
        assert_int_equal(row.delivered, delivered);
        assert_int_equal(row.duplicated, repeated);
        assert_int_equal(row.dropped, dropped);
        assert_int_equal(row.pending, pending);
        assert_int_equal(ledger_lost(&row), lost);
    }
}

/* A drop told when it happens is excused; one told of a delivered or long overtaken number never is. */
static void drops_as_they_happen(void **context)
{
    struct ledger_row row = {0};
    for (uint32_t n = 1; n <= 5000; n++) {
        ledger_intended(&row, n);
        if (n > 1000 && n <= 4000)
            ledger_dropped(&row, n); /* full queue: the newest goes */
        else
            deliver(&row, n);
    }
    assert_int_equal(row.dropped, 3000);
    assert_int_equal(ledger_lost(&row), 0);
    ledger_dropped(&row, 2000);
    ledger_pending(&row, 5000);
    assert_int_equal(row.dropped, 3000);
    assert_int_equal(row.pending, 0);
    assert_int_equal(ledger_value(&row, LEDGER_UNACKNOWLEDGED), 2000);
}

/* One process has the vehicle, two have processors: the sum must not depend on the order and never hide a loss. */
static void merging(void **context)
{
    for (uint32_t seed = 1; seed <= 500; seed++) {
        state = seed;
        struct ledger_row vehicle = {0}, part[2] = {{0}, {0}};
        uint32_t count = 1 + draw(400), lose = draw(30), sent = 0, distinct = 0, which = 0;
        bool both = seed % 5 == 0;
        uint32_t gap = count > 61 ? count - 61 : 1; /* keeps the last 60 in the windows, where repetitions are known */
        ledger_intended(&vehicle, count);
        vehicle.acknowledged = count / 2;
        for (uint32_t n = 1; n <= count; n++) {
            if (draw(40) == 0)
                which = !which;
            if (draw(100) < lose || (both && n == gap))
                continue;
            distinct++;
            ledger_delivered(&part[which], n);
            sent++;
            if (both && n > gap) {
                ledger_delivered(&part[!which], n); /* to both, recently */
                sent++;
            }
        }
        struct ledger_row forth = {0}, back = {0};
        ledger_merge(&forth, &vehicle);
        ledger_merge(&forth, &part[0]);
        ledger_merge(&forth, &part[1]);
        ledger_merge(&back, &part[1]);
        ledger_merge(&back, &part[0]);
        ledger_merge(&back, &vehicle);
        assert_memory_equal(&forth, &back, sizeof(forth));
        check_invariant(&forth);
        assert_int_equal(forth.delivered, distinct);
        assert_int_equal(forth.delivered + forth.duplicated, sent);
        assert_int_equal(ledger_lost(&forth), count - distinct);
        assert_int_equal(forth.acknowledged, count / 2);
    }
}

static struct measure_dimension odd_even(void *context, uint32_t vehicle)
{
    return (struct measure_dimension){.cohort = (uint16_t)(vehicle % 2), .region = (uint16_t)(vehicle / 2 % 2)};
}

static void totals_and_worst(void **context)
{
    struct measure_options options = {.vehicles = 100, .cohorts = 2, .regions = 2, .duration_us = US_PER_MIN};
    struct measure *measure = measure_create(&options);
    for (uint32_t v = 0; v < 90; v++) {
        measure_ledger_intended(measure, v, 10);
        for (uint32_t n = 1; n <= 10 - v % 4; n++)
            measure_ledger_delivered(measure, v, n);
    }
    struct ledger_totals totals;
    struct measure_worst worst[MEASURE_WORST];
    struct measure_dimension odd = {1, MEASURE_ANY, PATH_ANY};
    assert_true(measure_ledger_totals(measure, MEASURE_EVERYBODY, &totals));
    assert_int_equal(totals.vehicles, 90);
    assert_int_equal(totals.field[LEDGER_INTENDED], 900);
    assert_int_equal(totals.field[LEDGER_LOST], 22 * 6 + 0 + 1);
    assert_int_equal(totals.vehicles_concerned, 22 * 3 + 1);
    assert_false(measure_ledger_totals(measure, odd, &totals));
    assert_int_equal(measure_ledger_worst(measure, LEDGER_LOST, odd, worst), 0);
    measure_set_who(measure, odd_even, NULL);
    assert_true(measure_ledger_totals(measure, odd, &totals));
    assert_int_equal(totals.vehicles, 45);
    assert_int_equal(totals.field[LEDGER_LOST], 22 * 4 + 1);
    odd.region = 0;
    assert_true(measure_ledger_totals(measure, odd, &totals));
    assert_int_equal(totals.field[LEDGER_LOST], 22 + 1);
    assert_int_equal(measure_ledger_worst(measure, LEDGER_LOST, MEASURE_EVERYBODY, worst), MEASURE_WORST);
    for (uint32_t i = 0; i < 22; i++) {
        assert_int_equal(worst[i].value, 3);
        assert_int_equal(worst[i].vehicle, 3 + 4 * i);
    }
    assert_int_equal(worst[22].value, 2);
    assert_int_equal(worst[22].vehicle, 2);
    measure_destroy(measure);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(by_hand), cmocka_unit_test(window_edges),
        cmocka_unit_test(swarm),   cmocka_unit_test(drops_as_they_happen),
        cmocka_unit_test(merging), cmocka_unit_test(totals_and_worst),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
