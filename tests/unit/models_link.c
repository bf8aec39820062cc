/* The cellular link: order, bandwidth, stalls, waking, cuts, set-up. */
#include "sim/models.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static const char *const names[] = {"ideal", "lte-cat1", "lte-cat4", "lte-cat-m1"};
#define NAMES (sizeof names / sizeof *names)

static struct sim_random stream(uint32_t entity)
{
    struct sim_random random;
    sim_random_init(&random, 2024, entity, SIM_FOR_LINK);
    return random;
}

static void finds_profiles_by_name(void **state)
{
    for (size_t i = 0; i < NAMES; i++) {
        const struct link_profile *profile = link_profile_find(names[i]);
        assert_non_null(profile);
        assert_string_equal(profile->name, names[i]);
        assert_non_null(strstr(link_profile_names(), names[i]));
        assert_true(link_minimum_us(profile) >= 1024);
    }
    assert_null(link_profile_find("lte-cat5"));
    assert_null(link_profile_find(""));
}

/* Whatever is sent when: later in one direction arrives later, and never sooner than the lookahead. */
static void keeps_order_and_lookahead(void **state)
{
    for (size_t i = 0; i < NAMES; i++) {
        const struct link_profile *profile = link_profile_find(names[i]);
        struct sim_random random = stream((uint32_t)i);
        struct link_state link;
        int64_t now_us = 0, last_us[2] = {-1, -1};
        link_reset(&link);
        for (int n = 0; n < 50000; n++) {
            enum link_direction direction = sim_random_below(&random, 2) ? LINK_UP : LINK_DOWN;
            int64_t arrival_us = link_transfer(profile, &link, &random, direction, now_us,
                                               (uint32_t)sim_random_below(&random, n % 100 ? 2000 : 200000));
            assert_true(arrival_us > now_us + link_minimum_us(profile));
            assert_true(arrival_us > last_us[direction]);
            last_us[direction] = arrival_us;
            if (sim_random_below(&random, 2))
                now_us += (int64_t)sim_random_below(&random, n % 50 ? 200000 : 60 * US_PER_S);
        }
    }
}

/* A hundred messages handed over at once take as long as their bytes at the profile's rate, and directions do not share. */
static void shares_bandwidth(void **state)
{
    struct link_profile profile = *link_profile_find("lte-cat-m1");
    profile.loss_ppm = 0;
    profile.latency_sigma = 0;
    link_profile_build(&profile);
    struct sim_random random = stream(1);
    struct link_state link;
    int64_t up_us = 0;
    link_reset(&link);
    for (int i = 0; i < 100; i++)
        up_us = link_transfer(&profile, &link, &random, LINK_UP, 0, 1400);
    int64_t wanted_us = 60000 + 100 * (((1400 + 74) * INT64_C(1000000) + 46874) / 46875);
    assert_int_equal(up_us, wanted_us);
    int64_t down_us = link_transfer(&profile, &link, &random, LINK_DOWN, 0, 10 * 1400);
    assert_int_equal(down_us, 60000 + (10 * (1400 + 74) * INT64_C(1000000) + 37499) / 37500);
    /* Once the pipe is empty again, a message waits for nobody. */
    int64_t alone_us = link_transfer(&profile, &link, &random, LINK_UP, up_us + US_PER_S, 1) - up_us - US_PER_S;
    assert_int_equal(alone_us, 60000 + (75 * INT64_C(1000000) + 46874) / 46875);
}

static int compare_int64(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void latency_follows_the_profile(void **state)
{
    enum { COUNT = 20001 };
    static int64_t taken_us[COUNT];
    for (size_t i = 0; i < NAMES; i++) {
        const struct link_profile *profile = link_profile_find(names[i]);
        struct sim_random random = stream(7);
        struct link_state link;
        for (int n = 0; n < COUNT; n++) {
            link_reset(&link);
            taken_us[n] = link_transfer(profile, &link, &random, LINK_DOWN, US_PER_DAY, 0) - US_PER_DAY;
        }
        qsort(taken_us, COUNT, sizeof *taken_us, compare_int64);
        double median = (double)taken_us[COUNT / 2], wanted = (double)profile->latency_median_us;
        /* Above the median by the headers' own time, at most 2 ms. */
        assert_true(median > 0.98 * wanted && median < 1.02 * wanted + 2000);
        double upper = (double)taken_us[COUNT * 84 / 100];
        double deviation = wanted * exp(profile->latency_sigma);
        assert_true(upper > 0.96 * deviation && upper < 1.04 * deviation + 2000);
    }
}

/* Losses: as many transfers stall as the segments they are made of say, by whole retransmission times, and doubled. */
static void losses_stall(void **state)
{
    struct link_profile profile = *link_profile_find("lte-cat4");
    profile.latency_sigma = 0;
    profile.loss_ppm = 100000;
    link_profile_build(&profile);
    static const uint32_t segments[] = {1, 2, 7, 40};
    for (size_t i = 0; i < sizeof segments / sizeof *segments; i++) {
        struct sim_random random = stream((uint32_t)i);
        uint32_t bytes = segments[i] * 1400;
        int64_t plain_us = 25000 + ((int64_t)segments[i] * 1474 * US_PER_S + 1249999) / 1250000;
        int stalls[4] = {0};
        for (int n = 0; n < 20000; n++) {
            struct link_state link;
            link_reset(&link);
            int64_t extra_us = link_transfer(&profile, &link, &random, LINK_UP, 0, bytes) - plain_us;
            assert_true(extra_us >= 0 && extra_us % 250000 == 0);
            int64_t units = extra_us / 250000; /* 0, 1, 1+2, 1+2+4, ... */
            assert_true((units & (units + 1)) == 0);
            stalls[units == 0 ? 0 : units == 1 ? 1 : units == 3 ? 2 : 3]++;
        }
        double lost = 20000 * (1 - pow(0.9, segments[i]));
        assert_true(fabs(20000 - stalls[0] - lost) < 4 * sqrt(lost * (1 - lost / 20000) + 1));
        assert_true(fabs(stalls[1] - 0.9 * lost) < 4 * sqrt(0.09 * lost + 20000 * 0.25));
        assert_true(stalls[2] > 0.06 * lost && stalls[2] < 0.12 * lost && stalls[3] > 0);
    }
    /* What comes behind a stall waits for it. */
    profile.loss_ppm = 1000000;
    struct sim_random random = stream(9);
    struct link_state link;
    link_reset(&link);
    int64_t stalled_us = link_transfer(&profile, &link, &random, LINK_UP, 0, 100);
    profile.loss_ppm = 0;
    assert_true(stalled_us > 127 * profile.retransmit_us);
    assert_true(link_transfer(&profile, &link, &random, LINK_UP, 1, 100) > stalled_us);
}

static void idle_radio_wakes_once(void **state)
{
    struct link_profile profile = *link_profile_find("lte-cat4");
    profile.loss_ppm = 0;
    profile.latency_sigma = 0;
    link_profile_build(&profile);
    struct sim_random random = stream(1);
    struct link_state link;
    link_reset(&link);
    /* Fresh from its set-up the radio is awake, whatever the time. */
    int64_t plain_us = link_transfer(&profile, &link, &random, LINK_UP, US_PER_DAY, 10) - US_PER_DAY;
    assert_true(plain_us < 26000);
    int64_t now_us = US_PER_DAY + 9 * US_PER_S;
    assert_int_equal(link_transfer(&profile, &link, &random, LINK_DOWN, now_us, 0) - now_us, 25000 + 20);
    /* Counted from the last transfer, in either direction. */
    now_us += 9 * US_PER_S;
    assert_int_equal(link_transfer(&profile, &link, &random, LINK_UP, now_us, 10) - now_us, plain_us);
    now_us += 11 * US_PER_S;
    assert_int_equal(link_transfer(&profile, &link, &random, LINK_UP, now_us, 10) - now_us, plain_us + profile.wake_us);
    /* Another 50 ms later waits only for what is left of the waking, and so does the other direction. */
    int64_t down_us = link_transfer(&profile, &link, &random, LINK_DOWN, now_us + 50000, 0) - now_us;
    assert_int_equal(down_us, profile.wake_us + 25000 + 20);
    now_us += 200000;
    assert_int_equal(link_transfer(&profile, &link, &random, LINK_UP, now_us, 10) - now_us, plain_us);
    /* A transfer of half a minute keeps it awake to its end. */
    int64_t end_us = link_transfer(&profile, &link, &random, LINK_UP, now_us, 40000000);
    assert_true(end_us - now_us > 30 * US_PER_S);
    now_us = end_us + 5 * US_PER_S;
    assert_int_equal(link_transfer(&profile, &link, &random, LINK_UP, now_us, 10) - now_us, plain_us);
    /* Never idle. */
    profile.idle_after_us = 0;
    now_us += US_PER_DAY;
    assert_int_equal(link_transfer(&profile, &link, &random, LINK_UP, now_us, 10) - now_us, plain_us);
}

static void drops_and_holes_are_exponential(void **state)
{
    enum { COUNT = 100000 };
    const struct link_profile *profile = link_profile_find("lte-cat4");
    struct sim_random random = stream(3);
    double drop_h = 0, hole_h = 0, hole_s = 0;
    int past_mean = 0;
    for (int i = 0; i < COUNT; i++) {
        int64_t drop_us = link_next_drop_us(profile, &random);
        assert_true(drop_us > 0);
        past_mean += drop_us > 2 * US_PER_HOUR;
        drop_h += (double)drop_us / US_PER_HOUR / COUNT;
        hole_h += (double)link_next_hole_us(profile, &random) / US_PER_HOUR / COUNT;
        hole_s += (double)link_hole_duration_us(profile, &random) / US_PER_S / COUNT;
    }
    assert_true(fabs(drop_h - 2) < 0.03);
    assert_true(fabs(hole_h - 1 / 1.2) < 0.012);
    assert_true(fabs(hole_s - 30) < 0.5);
    assert_true(fabs(past_mean / (double)COUNT - exp(-1)) < 0.006);
    assert_int_equal(link_next_drop_us(link_profile_find("ideal"), &random), TIME_NEVER);
    assert_int_equal(link_next_hole_us(link_profile_find("ideal"), &random), TIME_NEVER);
}

static void setup_has_its_phases(void **state)
{
    struct link_profile profile = *link_profile_find("lte-cat4");
    profile.loss_ppm = 0;
    profile.latency_sigma = 0;
    link_profile_build(&profile);
    static const uint32_t bytes[4][2] = {{192, 200},
                                         {192 + 287 + 74, 200 + 1635 + 148},
                                         {192 + 1191 + 74, 200 + 2534 + 148},
                                         {192 + 974 + 74, 200 + 912 + 74}};
    int64_t full_us = 0;
    for (uint8_t tls = 0; tls < 4; tls++) {
        struct sim_random random = stream(tls);
        struct link_setup setup = {.tls = tls};
        link_setup_draw(&profile, &random, 1200, &setup);
        assert_in_range(setup.resolve_us, 50000 + 120000, 50000 + 120000 + 400);
        assert_in_range(setup.tcp_us, 50000, 50000 + 200);
        if (tls == 0)
            assert_int_equal(setup.tls_us, 0);
        else
            assert_in_range(setup.tls_us, 50000 + 1200, 50000 + 1200 + 2000);
        if (tls == 2)
            full_us = setup.tls_us;
        if (tls == 3)
            assert_true(setup.tls_us < full_us);
        assert_int_equal(setup.bytes_up, bytes[tls][0]);
        assert_int_equal(setup.bytes_down, bytes[tls][1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_profiles_by_name),
        cmocka_unit_test(keeps_order_and_lookahead),
        cmocka_unit_test(shares_bandwidth),
        cmocka_unit_test(latency_follows_the_profile),
        cmocka_unit_test(losses_stall),
        cmocka_unit_test(idle_radio_wakes_once),
        cmocka_unit_test(drops_and_holes_are_exponential),
        cmocka_unit_test(setup_has_its_phases),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
