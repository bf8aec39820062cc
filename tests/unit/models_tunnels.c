/* Tunnels: a matter of the trip alone, as often as their share says, dark at the hours that were said. */
#include "sim/models.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

enum { VEHICLES = 300, TRIPS = 200 };

static struct tunnel tunnel(double share)
{
    struct tunnel tunnel = {.share = share};
    sim_table_build(&tunnel.at, SIM_UNIFORM, 2e6, 12e6, 0, INT64_MAX);
    sim_table_build(&tunnel.lasts, SIM_LOGNORMAL, 45e6, 0.5, 0, INT64_MAX);
    return tunnel;
}

static int compare_int64(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void as_often_and_as_long(void **state)
{
    static int64_t lasts_us[VEHICLES * TRIPS];
    struct tunnel model = tunnel(0.3);
    uint32_t met = 0;
    double mean_s = 0;
    for (uint32_t vehicle = 0; vehicle < VEHICLES; vehicle++) {
        for (uint32_t trip = 0; trip < TRIPS; trip++) {
            struct tunnel_passage passage;
            if (!tunnel_on_trip(&model, 7, vehicle, 2, trip, &passage))
                continue;
            assert_in_range(passage.after_us, 2000000, 12000000);
            mean_s += (double)passage.after_us / 1e6;
            lasts_us[met++] = passage.lasts_us;
        }
    }
    /* Within four deviations of a binomial draw; mean and median of what was asked for. */
    double wanted = 0.3 * VEHICLES * TRIPS;
    assert_true(fabs(met - wanted) < 4 * sqrt(wanted * 0.7));
    assert_true(fabs(mean_s / met - 7) < 0.1);
    qsort(lasts_us, met, sizeof *lasts_us, compare_int64);
    assert_in_range(lasts_us[met / 2], 44000000, 46000000);
}

/* Another vehicle, tunnel, trip or seed has other luck; the same has the same. */
static void of_the_trip_alone(void **state)
{
    struct tunnel model = tunnel(0.5), all = tunnel(1), none = tunnel(0);
    struct tunnel_passage first, again;
    unsigned both[4] = {0};
    for (uint32_t i = 0; i < 4000; i++) {
        bool met = tunnel_on_trip(&model, 7, i, 0, 0, &first);
        assert_int_equal(tunnel_on_trip(&model, 7, i, 0, 0, &again), met);
        assert_true(!met || (first.after_us == again.after_us && first.lasts_us == again.lasts_us));
        both[0] += met && tunnel_on_trip(&model, 7, i, 1, 0, &again);
        both[1] += met && tunnel_on_trip(&model, 7, i, 0, 1, &again);
        both[2] += met && tunnel_on_trip(&model, 8, i, 0, 0, &again);
        both[3] += met && tunnel_on_trip(&model, 7, i + 1, 0, 0, &again);
        assert_true(tunnel_on_trip(&all, 7, i, 0, 0, &again));
        assert_false(tunnel_on_trip(&none, 7, i, 0, 0, &again));
    }
    for (unsigned i = 0; i < 4; i++)
        assert_in_range(both[i], 1000 - 120, 1000 + 120);
}

static void dark_at_its_hours(void **state)
{
    struct tunnel model = tunnel(1);
    assert_true(tunnel_is_dark(&model, 0) && tunnel_is_dark(&model, 23 * US_PER_HOUR));
    model.from_us = 7 * US_PER_HOUR;
    model.until_us = 9 * US_PER_HOUR;
    assert_false(tunnel_is_dark(&model, 7 * US_PER_HOUR - 1));
    assert_true(tunnel_is_dark(&model, 7 * US_PER_HOUR) && tunnel_is_dark(&model, 9 * US_PER_HOUR - 1));
    assert_false(tunnel_is_dark(&model, 9 * US_PER_HOUR));
    model.from_us = 22 * US_PER_HOUR; /* over midnight */
    assert_true(tunnel_is_dark(&model, 23 * US_PER_HOUR) && tunnel_is_dark(&model, 8 * US_PER_HOUR));
    assert_false(tunnel_is_dark(&model, 12 * US_PER_HOUR));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_often_and_as_long),
        cmocka_unit_test(of_the_trip_alone),
        cmocka_unit_test(dark_at_its_hours),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
