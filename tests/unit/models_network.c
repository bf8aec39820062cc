/* What networks do to connections, the paths to the cloud, and clocks that drift. */
#include "sim/models.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static struct sim_random stream(uint32_t entity)
{
    struct sim_random random;
    sim_random_init(&random, 31, entity, SIM_FOR_LINK);
    return random;
}

static int compare_int64(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void handovers(void **state)
{
    enum { COUNT = 50001 };
    static int64_t gap_us[COUNT];
    struct link_profile profile = *link_profile_find("lte-cat4");
    struct sim_random random = stream(1);
    assert_int_equal(link_next_handover_us(&profile, &random), TIME_NEVER);
    assert_int_equal(link_handover_gap_us(&profile, &random), 0);
    profile.handovers_per_hour = 60;
    profile.handover_gap_us = 40000;
    double mean_s = 0;
    int long_ones = 0;
    for (int i = 0; i < COUNT; i++) {
        gap_us[i] = link_handover_gap_us(&profile, &random);
        assert_true(gap_us[i] > 0);
        long_ones += gap_us[i] > 500000;
        mean_s += (double)link_next_handover_us(&profile, &random) / US_PER_S / COUNT;
    }
    qsort(gap_us, COUNT, sizeof *gap_us, compare_int64);
    assert_true(fabs(mean_s - 60) < 1.2);
    assert_in_range(gap_us[COUNT / 2], 39000, 41000);
    /* ln(500 / 40) / 0.9 is 2.81 deviations: 0.25 % are longer. */
    assert_in_range(long_ones, COUNT / 700, COUNT / 250);
}

/* A gap holds both directions up, keeps the order, and is no traffic. */
static void stands_still(void **state)
{
    struct link_profile profile = *link_profile_find("lte-cat4");
    profile.nat_idle_us = 350 * US_PER_S;
    struct sim_random random = stream(2);
    struct link_state link = {.last_active_us = US_PER_MIN};
    int64_t now_us = US_PER_MIN + 350 * US_PER_S;
    link_stand_still(&link, now_us + 1);
    assert_true(link_alive(&profile, &link, now_us));
    assert_false(link_alive(&profile, &link, now_us + 1));
    int64_t until_us = now_us + 10 * US_PER_S;
    int64_t up_us = link_transfer(&profile, &link, &random, LINK_UP, now_us, 100);
    link_stand_still(&link, until_us);
    link_stand_still(&link, until_us - US_PER_S); /* a shorter one changes nothing */
    int64_t next_us = link_transfer(&profile, &link, &random, LINK_UP, now_us, 100);
    assert_true(up_us < until_us && next_us > until_us && next_us < until_us + US_PER_S);
    assert_true(link_transfer(&profile, &link, &random, LINK_DOWN, now_us, 100) > until_us);
    int64_t after_us = until_us + US_PER_MIN;
    assert_true(link_transfer(&profile, &link, &random, LINK_DOWN, after_us, 100) < after_us + US_PER_S);
}

static void silence_is_forgotten(void **state)
{
    struct link_profile profile = *link_profile_find("lte-cat1");
    struct sim_random random = stream(3);
    struct link_state link;
    link_reset(&link);
    assert_true(link_alive(&profile, &link, US_PER_DAY));
    profile.nat_idle_us = US_PER_MIN;
    assert_true(link_alive(&profile, &link, US_PER_DAY)); /* just set up */
    int64_t now_us = US_PER_DAY;
    for (int i = 0; i < 100; i++) {
        (void)link_transfer(&profile, &link, &random, i % 2 ? LINK_UP : LINK_DOWN, now_us, 50);
        assert_true(link_alive(&profile, &link, now_us));
        assert_true(link_alive(&profile, &link, now_us + US_PER_MIN));
        assert_false(link_alive(&profile, &link, now_us + US_PER_MIN + profile.wake_us + 1));
        now_us += (int64_t)sim_random_below(&random, (uint64_t)US_PER_MIN);
    }
    profile.nat_idle_us = 0;
    assert_true(link_alive(&profile, &link, now_us + 100 * US_PER_DAY));
}

static void half_open_and_new_addresses(void **state)
{
    enum { COUNT = 40000 };
    struct link_profile profile = *link_profile_find("lte-cat4");
    struct sim_random random = stream(4);
    assert_int_equal(link_next_half_open_us(&profile, &random), TIME_NEVER);
    assert_false(link_is_new_address(&profile, &random));
    profile.half_open_per_hour = 0.3;
    profile.addresses_per_hour = 0.1;
    double mean_h = 0;
    int addresses = 0;
    for (int i = 0; i < COUNT; i++) {
        mean_h += (double)link_next_half_open_us(&profile, &random) / US_PER_HOUR / COUNT;
        addresses += link_is_new_address(&profile, &random);
    }
    assert_true(fabs(mean_h - 2.5) < 0.06);
    assert_in_range(addresses, COUNT / 4 - 4 * 87, COUNT / 4 + 4 * 87);
    profile.half_open_per_hour = 0;
    for (int i = 0; i < 100; i++)
        assert_true(link_is_new_address(&profile, &random));
    profile.half_open_per_hour = 1;
    profile.addresses_per_hour = 0;
    for (int i = 0; i < 100; i++)
        assert_false(link_is_new_address(&profile, &random));
}

static void paths_by_name(void **state)
{
    static const char *const names[] = {"internet", "vpn", "private"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const struct network_path *path = network_path_find(names[i]);
        assert_non_null(path);
        assert_string_equal(path->name, names[i]);
        assert_non_null(strstr(network_path_names(), names[i]));
        assert_true(path->latency_us >= 0 && path->price_per_gb > 0);
    }
    assert_null(network_path_find("carrier pigeon"));
    assert_null(network_path_find(""));
    /* The internet is what regions' latencies were measured on: it adds nothing. */
    const struct network_path *internet = network_path_find("internet"), *vpn = network_path_find("vpn");
    assert_true(internet->latency_us == 0 && internet->overhead_bytes == 0 && internet->setup_round_trips == 0 &&
                internet->nat_idle_us == 0);
    /* Outer IP, UDP, ESP with initial value, padding with trailer, tag. */
    assert_int_equal(vpn->overhead_bytes, 20 + 8 + 8 + 8 + 4 + 16);
    assert_true(vpn->price_per_gb > internet->price_per_gb);
    assert_true(network_path_find("private")->price_per_gb < internet->price_per_gb);
}

static void clocks_drift(void **state)
{
    assert_int_equal(clock_drifted_us(US_PER_DAY, 0), US_PER_DAY);
    assert_int_equal(clock_drifted_us(TIME_NEVER, 50), TIME_NEVER);
    assert_int_equal(clock_drifted_us(0, 50), 0);
    /* 20 ppm are 1.728 s a day; fast: it is over sooner. */
    assert_int_equal(clock_drifted_us(US_PER_DAY, -20), US_PER_DAY + 1728035);
    assert_int_equal(clock_drifted_us(US_PER_DAY, 20), US_PER_DAY - 1727965);
    struct sim_random random = stream(5);
    for (int i = 0; i < 10000; i++) {
        int64_t wanted_us = (int64_t)sim_random_below(&random, (uint64_t)(30 * US_PER_DAY));
        double ppm = ((double)sim_random_below(&random, 400001) - 200000) / 1000;
        int64_t real_us = clock_drifted_us(wanted_us, ppm);
        /* What the clock counts in that time is what was wanted. */
        assert_true(fabs((double)real_us * (1 + ppm / 1e6) - (double)wanted_us) < 1);
    }
    assert_int_equal(clock_drifted_us(TIME_NEVER - 1, -500000), TIME_NEVER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(handovers),
        cmocka_unit_test(stands_still),
        cmocka_unit_test(silence_is_forgotten),
        cmocka_unit_test(half_open_and_new_addresses),
        cmocka_unit_test(paths_by_name),
        cmocka_unit_test(clocks_drift),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
