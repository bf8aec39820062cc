/* Moves of vehicles between regions whose hands fail at random: each ends cleaned or undone, and nothing forbidden is left; at no moment is the
 * vehicle without a region that knows it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "cloud/regions.h"

enum { REGIONS = 4, CARS = 12, ALL = 31 };

static uint64_t luck;

static uint32_t below(uint32_t bound)
{
    luck += UINT64_C(0x9E3779B97F4A7C15);
    uint64_t z = (luck ^ (luck >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return (uint32_t)(((z >> 32) * bound) >> 32);
}

struct model {
    struct cloud_moves *moves;
    struct cloud_move_rules rules;
    uint8_t held[CARS][REGIONS], home[CARS], target[CARS];
    bool open[CARS];
    enum cloud_move_state last[CARS];
    uint32_t failures; /* in a hundred */
    unsigned cleaned, undone;
};

static unsigned car_of(struct span thing)
{
    return (unsigned)(thing.data[0] - 'a');
}

static struct span name_of(unsigned car)
{
    static const char names[] = "abcdefghijklmnop";
    return span_of(names + car, 1);
}

static bool hand_copy(void *context, struct span thing, uint8_t from, uint8_t to, uint8_t kinds)
{
    struct model *m = context;
    unsigned car = car_of(thing);
    assert_int_equal(kinds, m->rules.copied);
    bool fails = below(100) < m->failures;
    uint8_t done = fails ? (uint8_t)(kinds & below(32)) : kinds; /* it may fail half-way */
    m->held[car][to] |= m->held[car][from] & done;
    return !fails;
}

static bool hand_clean(void *context, struct span thing, uint8_t region, uint8_t kinds)
{
    struct model *m = context;
    unsigned luck_of_it = below(100);
    uint8_t done = luck_of_it < m->failures ? (uint8_t)(kinds & below(32)) : kinds;
    m->held[car_of(thing)][region] &= (uint8_t)~done;
    return luck_of_it >= m->failures / 2; /* and may say it was done when it was not */
}

static uint8_t hand_query(void *context, struct span thing, uint8_t region)
{
    return ((struct model *)context)->held[car_of(thing)][region];
}

static void hand_told(void *context, int64_t now_us, struct span thing, uint8_t from, uint8_t to,
                      enum cloud_move_state state, int64_t began)
{
    struct model *m = context;
    unsigned car = car_of(thing);
    assert_true(m->open[car] && now_us >= began);
    assert_int_equal(from, m->home[car]);
    assert_int_equal(to, m->target[car]);
    assert_int_equal(cloud_moves_state(m->moves, thing), state);
    enum cloud_move_state before = m->last[car];
    assert_true(state == CLOUD_MOVE_COPIED    ? before == CLOUD_MOVE_NONE || before == CLOUD_MOVE_SERVED
                : state == CLOUD_MOVE_SERVED  ? before == CLOUD_MOVE_COPIED
                : state == CLOUD_MOVE_CLEANED ? before == CLOUD_MOVE_SERVED
                                              : before != CLOUD_MOVE_SERVED);
    m->last[car] = state;
    uint8_t forbidden = (uint8_t)((m->rules.cleaned | ~m->rules.kept) & ALL);
    if (state == CLOUD_MOVE_CLEANED) {
        assert_int_equal(m->held[car][from] & forbidden, 0);
        m->home[car] = to;
        m->cleaned++;
    } else if (state == CLOUD_MOVE_UNDONE) {
        assert_int_equal(m->held[car][to] & forbidden, 0);
        m->undone++;
    }
    m->open[car] = state != CLOUD_MOVE_CLEANED && state != CLOUD_MOVE_UNDONE;
}

static void something_happens(struct model *m, int64_t now_us)
{
    unsigned car = below(CARS);
    uint8_t region = (uint8_t)below(REGIONS);
    if (below(3) == 0) {
        bool taken = !m->open[car] && region != m->home[car];
        if (taken) {
            m->target[car] = region;
            m->open[car] = true;
            m->last[car] = CLOUD_MOVE_NONE;
        }
        assert_int_equal(cloud_moves_begin(m->moves, now_us, name_of(car), m->home[car], region), taken);
    } else if (m->open[car] && m->last[car] != CLOUD_MOVE_NONE && below(2)) { /* it connects where it is known */
        uint8_t where = below(4) ? m->target[car] : m->home[car];
        if (m->held[car][where] & CLOUD_DATA_IDENTITY) {
            m->held[car][where] |= CLOUD_DATA_SESSION | CLOUD_DATA_TELEMETRY;
            cloud_moves_served(m->moves, now_us, name_of(car), where);
        }
    } else {
        cloud_moves_served(m->moves, now_us, name_of(car),
                           region == m->target[car] ? (uint8_t)99
                           : region == m->home[car] ? (uint8_t)98
                                                    : region);
    }
}

static void check(const struct model *m)
{
    uint8_t forbidden = (uint8_t)((m->rules.cleaned | ~m->rules.kept) & ALL);
    for (unsigned car = 0; car < CARS; car++) {
        bool known = false;
        for (uint8_t region = 0; region < REGIONS; region++) {
            uint8_t left = cloud_moves_leftovers(m->moves, name_of(car), region);
            known |= (m->held[car][region] & CLOUD_DATA_IDENTITY) != 0;
            if (m->open[car])
                continue;
            assert_int_equal(left, 0);
            if (region != m->home[car])
                assert_int_equal(m->held[car][region] & forbidden, 0);
        }
        assert_true(known);
    }
}

static void trial(uint32_t failures, unsigned *cleaned, unsigned *undone)
{
    struct model m = {.failures = failures,
                      .rules = {.copied = CLOUD_DATA_IDENTITY | (uint8_t)(below(2) * CLOUD_DATA_SHADOW),
                                .kept = (uint8_t)(below(2) * CLOUD_DATA_TELEMETRY),
                                .cleaned = CLOUD_DATA_IDENTITY | CLOUD_DATA_SHADOW | CLOUD_DATA_SESSION,
                                .clean_after_us = below(100) * US_PER_S,
                                .give_up_us = (1 + below(300)) * US_PER_S}};
    struct cloud_move_hands hands = {hand_copy, hand_clean, hand_query, hand_told, &m};
    m.moves = cloud_moves_create(&m.rules, &hands);
    assert_true(cloud_moves_bytes(m.moves) <= 4096);
    for (unsigned car = 0; car < CARS; car++) {
        m.home[car] = (uint8_t)below(REGIONS);
        m.held[car][m.home[car]] = ALL;
    }
    int64_t now_us = 0;
    for (unsigned step = 0; step < 400; step++) {
        int64_t next_us = now_us + below(20) * US_PER_S;
        while (cloud_moves_next_deadline(m.moves) <= next_us) {
            now_us = cloud_moves_next_deadline(m.moves);
            cloud_moves_tick(m.moves, now_us);
            assert_true(cloud_moves_next_deadline(m.moves) > now_us);
        }
        now_us = next_us;
        something_happens(&m, now_us);
        check(&m);
    }
    for (unsigned turns = 0; cloud_moves_next_deadline(m.moves) != TIME_NEVER; turns++) { /* each comes to its end */
        assert_true(turns < 10000);
        cloud_moves_tick(m.moves, cloud_moves_next_deadline(m.moves));
    }
    for (unsigned car = 0; car < CARS; car++)
        assert_false(m.open[car]);
    check(&m);
    *cleaned += m.cleaned;
    *undone += m.undone;
    cloud_moves_destroy(m.moves);
}

static void random_moves(void **state)
{
    unsigned cleaned = 0, undone = 0;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        luck = seed;
        assert_context.seed = seed;
        trial(seed % 3 == 0 ? 0 : seed % 3 == 1 ? 30 : 90, &cleaned, &undone);
    }
    printf("%u cleaned, %u undone\n", cleaned, undone);
    assert_true(cleaned > 1000 && undone > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(random_moves)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
