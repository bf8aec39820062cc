/* Modems that sleep: the standard's timers row by row, and reachability against a walk through time. */
#include "sim/models.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static struct sim_random stream(uint32_t entity)
{
    struct sim_random random;
    sim_random_init(&random, 77, entity, SIM_FOR_LINK);
    return random;
}

/* ---- timers of the standard ---------------------------------------------------------------------------------------- */

/* In hundredths of a second, as 3GPP TS 24.008 table 10.5.5.32 writes them. */
static const int64_t edrx_hundredths[16] = {512,   1024,  2048,  4096,  6144,   8192,   10240,  12288,
                                            14336, 16384, 32768, 65536, 131072, 262144, 524288, 1048576};

static void edrx_rows(void **state)
{
    for (int bits = 0; bits < 16; bits++) {
        int64_t cycle_us = edrx_hundredths[bits] * 10000;
        assert_int_equal(link_edrx_cycle_us((uint8_t)bits), cycle_us);
        assert_int_equal(link_edrx_bits(cycle_us), bits);
        assert_int_equal(link_edrx_bits(cycle_us - 1), bits);
        assert_int_equal(link_edrx_bits(cycle_us + 1), bits == 15 ? -1 : bits + 1);
    }
    assert_int_equal(link_edrx_bits(0), 0);
    static const int64_t windows_hundredths[16] = {128,  256,  384,  512,  640,  768,  896,  1024,
                                                   1152, 1280, 1408, 1536, 1664, 1792, 1920, 2048};
    for (int bits = 0; bits < 16; bits++)
        assert_int_equal(link_edrx_window_us((uint8_t)bits), windows_hundredths[bits] * 10000);
}

/* Units in seconds by the upper three bits; 0: deactivated. */
static const int64_t t3412_units_s[8] = {600, 3600, 36000, 2, 30, 60, 1152000, 0};
static const int64_t t3324_units_s[8] = {2, 60, 360, 60, 60, 60, 60, 0};

static void check_rows(int64_t (*time_of)(uint8_t), int (*octet_of)(int64_t), const int64_t units_s[8])
{
    int64_t most_us = 0;
    for (int octet = 0; octet < 256; octet++) {
        int64_t unit_s = units_s[octet >> 5];
        int64_t time_us = unit_s == 0 ? TIME_NEVER : unit_s * (octet & 31) * US_PER_S;
        assert_int_equal(time_of((uint8_t)octet), time_us);
        if (time_us == TIME_NEVER)
            continue;
        most_us = time_us > most_us ? time_us : most_us;
        /* There and back: the same time, by the least octet that says it. */
        int again = octet_of(time_us);
        assert_in_range(again, 0, octet);
        assert_int_equal(time_of((uint8_t)again), time_us);
    }
    /* The least at or above, by looking at all of them. */
    struct sim_random random = stream(1);
    for (int i = 0; i < 2000; i++) {
        int64_t wanted_us = (int64_t)sim_random_below(&random, (uint64_t)(i % 2 ? most_us : 3 * US_PER_HOUR));
        int64_t got_us = time_of((uint8_t)octet_of(wanted_us));
        assert_true(got_us >= wanted_us);
        for (int octet = 0; octet < 256; octet++)
            assert_false(time_of((uint8_t)octet) >= wanted_us && time_of((uint8_t)octet) < got_us);
    }
    assert_int_equal(octet_of(most_us + 1), -1);
    assert_int_equal(octet_of(TIME_NEVER), 0xE0);
    assert_int_equal(octet_of(0), 0);
}

static void timer_rows(void **state)
{
    check_rows(link_t3412_us, link_t3412_octet, t3412_units_s);
    check_rows(link_t3324_us, link_t3324_octet, t3324_units_s);
    /* What a modem's manual shows: 00111000 is 24 hours, 00000101 is 10 seconds, 10101010 is 10 minutes. */
    assert_int_equal(link_t3412_us(0x38), 24 * US_PER_HOUR);
    assert_int_equal(link_t3324_us(0x05), 10 * US_PER_S);
    assert_int_equal(link_t3412_us(0xAA), 10 * US_PER_MIN);
}

/* ---- reachability --------------------------------------------------------------------------------------------------- */

#define TICK_US (100 * US_PER_MS)

static int64_t ticks(struct sim_random *random, uint64_t most)
{
    return (int64_t)sim_random_below(random, most) * TICK_US;
}

/* Everything in ticks, so that a walk tick by tick sees each edge; but the phase, of which only its window's edges are asked. */
static struct link_profile random_profile(struct sim_random *random)
{
    struct link_profile profile = *link_profile_find("lte-cat-m1");
    profile.loss_ppm = 0;
    profile.latency_sigma = 0;
    link_profile_build(&profile);
    profile.idle_after_us = ticks(random, 30);
    uint64_t kind = sim_random_below(random, 3);
    if (kind != 1) {
        profile.edrx_cycle_us = ticks(random, 400) + TICK_US;
        profile.edrx_window_us = ticks(random, 40);
    }
    if (kind != 0) {
        profile.psm_period_us = ticks(random, 900) + TICK_US;
        profile.psm_active_us = ticks(random, 300);
    }
    return profile;
}

/* The vehicle's phase, found by asking a modem that has no PSM and went idle long ago. */
static int64_t phase_of(const struct link_profile *profile, const struct sim_random *random)
{
    struct link_profile bare = *profile;
    bare.psm_period_us = bare.psm_active_us = bare.edrx_window_us = bare.idle_after_us = 0;
    struct link_state link = {.last_active_us = 0};
    return link_reachable_us(&bare, &link, random, US_PER_S) % bare.edrx_cycle_us;
}

/* Walks through what the modem does from its last traffic on, event by event, and says whether it listens at a moment. */
static bool listens(const struct link_profile *profile, int64_t last_us, int64_t phase_us, int64_t at_us)
{
    int64_t contact_us = last_us;
    while (profile->psm_period_us && contact_us + profile->psm_period_us <= at_us)
        contact_us += profile->psm_period_us;
    if (at_us <= contact_us + profile->idle_after_us)
        return true;
    if (profile->psm_period_us && at_us > contact_us + profile->psm_active_us)
        return false;
    if (!profile->edrx_cycle_us)
        return true;
    int64_t window_us = phase_us;
    while (window_us + profile->edrx_cycle_us <= at_us)
        window_us += profile->edrx_cycle_us;
    return window_us <= at_us && at_us <= window_us + profile->edrx_window_us;
}

static void reachable_as_a_walk_says(void **state)
{
    struct sim_random draw = stream(4711);
    int waited = 0, by_update = 0;
    for (uint32_t trial = 0; trial < 3000; trial++) {
        struct link_profile profile = random_profile(&draw);
        struct sim_random random = stream(trial);
        int64_t phase_us = profile.edrx_cycle_us ? phase_of(&profile, &random) : 0;
        int64_t last_us = 60 * US_PER_S + ticks(&draw, 1000);
        struct link_state link = {.last_active_us = last_us};
        int64_t now_us = last_us + ticks(&draw, 2500);
        int64_t reach_us = link_reachable_us(&profile, &link, &random, now_us);
        assert_true(reach_us >= now_us);
        assert_true(listens(&profile, last_us, phase_us, reach_us));
        /* At no moment before: neither at a tick nor at a window's first microsecond. */
        for (int64_t at_us = now_us; at_us < reach_us; at_us += TICK_US)
            assert_false(listens(&profile, last_us, phase_us, at_us));
        for (int64_t at_us = phase_us; profile.edrx_cycle_us && at_us < reach_us; at_us += profile.edrx_cycle_us)
            assert_false(at_us >= now_us && listens(&profile, last_us, phase_us, at_us));
        assert_int_equal(link_reachable_us(&profile, &link, &random, reach_us), reach_us);
        assert_true(link_reachable_us(&profile, &link, &random, now_us + TICK_US) >= reach_us ||
                    reach_us < now_us + TICK_US);
        waited += reach_us > now_us;
        by_update += reach_us > now_us && profile.psm_period_us && (reach_us - last_us) % profile.psm_period_us == 0;
    }
    assert_true(waited > 1000 && by_update > 300);
}

static struct link_profile edrx_profile(void)
{
    struct link_profile profile = *link_profile_find("lte-cat-m1");
    profile.loss_ppm = 0;
    profile.latency_sigma = 0;
    link_profile_build(&profile);
    profile.edrx_cycle_us = link_edrx_cycle_us(5);
    profile.edrx_window_us = link_edrx_window_us(0);
    return profile;
}

/* Vehicles are paged evenly over the cycle, each always at its own moment. */
static void phases_are_spread(void **state)
{
    struct link_profile profile = edrx_profile();
    int tenths[10] = {0};
    for (uint32_t vehicle = 0; vehicle < 10000; vehicle++) {
        struct sim_random random = stream(vehicle), other = stream(vehicle);
        other.purpose = SIM_FOR_LINK | 0x800;
        other.counter = 99;
        int64_t phase_us = phase_of(&profile, &random);
        assert_int_equal(phase_of(&profile, &other), phase_us);
        tenths[phase_us * 10 / profile.edrx_cycle_us]++;
    }
    for (int i = 0; i < 10; i++)
        assert_in_range(tenths[i], 1000 - 4 * 30, 1000 + 4 * 30);
}

/* ---- transfers ------------------------------------------------------------------------------------------------------ */

static void down_waits_and_up_wakes(void **state)
{
    struct link_profile profile = edrx_profile();
    for (uint32_t vehicle = 0; vehicle < 200; vehicle++) {
        struct sim_random random = stream(vehicle);
        struct link_state link = {.last_active_us = US_PER_MIN};
        int64_t now_us = US_PER_HOUR, quick_us = 60000 + profile.wake_us + 5000;
        int64_t occasion_us = link_reachable_us(&profile, &link, &random, now_us);
        if (occasion_us - now_us < 2 * US_PER_S)
            continue;
        struct link_state up = link;
        assert_in_range(link_transfer(&profile, &up, &random, LINK_UP, now_us, 100) - now_us, 60000 + profile.wake_us,
                        quick_us);
        assert_int_equal(link_reachable_us(&profile, &up, &random, now_us + US_PER_S), now_us + US_PER_S);

        int64_t first_us = link_transfer(&profile, &link, &random, LINK_DOWN, now_us, 100);
        assert_in_range(first_us - occasion_us, 60000 + profile.wake_us, quick_us);
        int64_t second_us = link_transfer(&profile, &link, &random, LINK_DOWN, now_us + US_PER_S, 100);
        assert_true(second_us > first_us && second_us < first_us + 10000);
        assert_int_equal(link_reachable_us(&profile, &link, &random, now_us + US_PER_S), occasion_us);

        /* The vehicle sends: what waits comes as soon as the modem is awake, and its answer behind it. */
        int64_t send_us = now_us + US_PER_S;
        struct link_state left = link;
        int64_t sooner_us = link_hasten_us(&profile, &link, send_us);
        assert_int_equal(sooner_us, occasion_us - send_us);
        assert_int_equal(link_hasten_us(&profile, &link, send_us), 0);
        assert_in_range(link_transfer(&profile, &link, &random, LINK_UP, send_us, 100) - send_us,
                        60000 + profile.wake_us, quick_us);
        int64_t answer_us = link_transfer(&profile, &link, &random, LINK_DOWN, send_us + 500000, 10);
        assert_true(answer_us > second_us - sooner_us && answer_us < send_us + US_PER_S);
        /* Left alone it comes at the occasion; the order is kept. */
        assert_in_range(link_transfer(&profile, &left, &random, LINK_UP, send_us, 100) - send_us,
                        60000 + profile.wake_us, quick_us);
        assert_true(link_transfer(&profile, &left, &random, LINK_DOWN, send_us + 500000, 10) > second_us);
    }
}

static void nothing_arrives_without_an_update(void **state)
{
    struct link_profile profile = edrx_profile();
    profile.edrx_cycle_us = 0;
    profile.psm_active_us = link_t3324_us(0x05);
    profile.psm_period_us = link_t3412_us(0xE0);
    struct sim_random random = stream(1), before = random;
    struct link_state link = {.last_active_us = US_PER_MIN}, same = link;
    int64_t end_us = US_PER_MIN + 10 * US_PER_S;
    assert_int_equal(link_reachable_us(&profile, &link, &random, end_us), end_us);
    assert_int_equal(link_reachable_us(&profile, &link, &random, end_us + 1), TIME_NEVER);
    assert_int_equal(link_transfer(&profile, &link, &random, LINK_DOWN, US_PER_HOUR, 10), TIME_NEVER);
    assert_memory_equal(&link, &same, sizeof link);
    assert_int_equal(random.left, before.left);
    int64_t up_us = link_transfer(&profile, &link, &random, LINK_UP, US_PER_HOUR, 10);
    assert_true(up_us < US_PER_HOUR + US_PER_S);
    assert_true(link_transfer(&profile, &link, &random, LINK_DOWN, up_us, 10) < up_us + US_PER_S);
}

/* Whatever is sent when: order is kept, nothing goes down before the modem can be reached, going up never waits for it. */
static void keeps_order_asleep(void **state)
{
    struct sim_random draw = stream(12);
    for (uint32_t trial = 0; trial < 300; trial++) {
        struct link_profile profile = random_profile(&draw);
        struct sim_random random = stream(trial);
        struct link_state link;
        int64_t now_us = US_PER_HOUR, last_us[2] = {0, 0};
        link_reset(&link);
        for (int n = 0; n < 200; n++) {
            enum link_direction direction = sim_random_below(&draw, 2) ? LINK_UP : LINK_DOWN;
            if (direction == LINK_UP && sim_random_below(&draw, 2)) {
                int64_t sooner_us = link_hasten_us(&profile, &link, now_us);
                assert_true(sooner_us >= 0);
                last_us[LINK_DOWN] -= sooner_us;
                assert_true(sooner_us == 0 || last_us[LINK_DOWN] > now_us);
            }
            int64_t reach_us = link_reachable_us(&profile, &link, &random, now_us);
            int64_t arrival_us = link_transfer(&profile, &link, &random, direction, now_us, 200);
            assert_true(arrival_us > last_us[direction]);
            if (direction == LINK_DOWN)
                assert_true(arrival_us > reach_us + link_minimum_us(&profile));
            else
                assert_true(arrival_us <=
                            (last_us[LINK_UP] > now_us ? last_us[LINK_UP] : now_us) + profile.wake_us + 70000);
            last_us[direction] = arrival_us;
            now_us += ticks(&draw, n % 3 ? 20 : 1500);
        }
    }
}

/* A radio that was never told to sleep always listens. */
static void awake_always_listens(void **state)
{
    struct sim_random random = stream(1);
    struct link_state link = {.last_active_us = 0};
    for (int64_t now_us = 0; now_us < US_PER_DAY; now_us += US_PER_HOUR + 1)
        assert_int_equal(link_reachable_us(link_profile_find("lte-cat4"), &link, &random, now_us), now_us);
    assert_int_equal(link_hasten_us(link_profile_find("lte-cat4"), &link, 0), 0);
    struct link_profile profile = edrx_profile();
    link_reset(&link);
    assert_int_equal(link_reachable_us(&profile, &link, &random, US_PER_DAY), US_PER_DAY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(edrx_rows),
        cmocka_unit_test(timer_rows),
        cmocka_unit_test(reachable_as_a_walk_says),
        cmocka_unit_test(phases_are_spread),
        cmocka_unit_test(down_waits_and_up_wakes),
        cmocka_unit_test(nothing_arrives_without_an_update),
        cmocka_unit_test(keeps_order_asleep),
        cmocka_unit_test(awake_always_listens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
