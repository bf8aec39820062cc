/* A driver's day: the survey's hours (chi-square), trips a day, parked share, durations, commutes, order. */
#include "sim/models.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define VEHICLES         10000
#define CHI_SQUARE_LIMIT 49.73 /* 23 degrees of freedom, 0.1 % */

struct day {
    uint32_t trips, parked, hour[24];
    double minutes;
    uint32_t both_ways; /* vehicles out in the morning and back in the evening */
};

static struct day observe(const struct trip_profile *profile, int32_t day, uint32_t weekday)
{
    struct day seen = {0};
    for (uint32_t vehicle = 0; vehicle < VEHICLES; vehicle++) {
        struct trip trips[TRIPS_PER_DAY_MAX];
        int64_t start_us = day * US_PER_DAY - 5 * US_PER_HOUR, free_us = start_us;
        uint32_t count = trips_of_day(profile, 11, vehicle, day, weekday, start_us, trips);
        bool out = false, back = false;
        assert_true(count <= TRIPS_PER_DAY_MAX);
        for (uint32_t i = 0; i < count; i++) {
            assert_true(trips[i].start_us >= free_us);
            assert_true(trips[i].end_us >= trips[i].start_us + US_PER_MIN);
            free_us = trips[i].end_us + US_PER_MIN;
            int64_t hour = (trips[i].start_us - start_us) / US_PER_HOUR;
            seen.hour[hour]++;
            seen.minutes += (double)(trips[i].end_us - trips[i].start_us) / US_PER_MIN;
            out |= hour >= 5 && hour < 10;
            back |= hour >= 15 && hour < 20;
        }
        assert_true(free_us <= start_us + US_PER_DAY);
        seen.trips += count;
        seen.parked += count == 0;
        seen.both_ways += out && back;
    }
    return seen;
}

static double chi_square(const struct day *seen, const double share[24])
{
    double total = 0, sum = 0;
    for (int hour = 0; hour < 24; hour++)
        total += share[hour];
    for (int hour = 0; hour < 24; hour++) {
        double wanted = seen->trips * share[hour] / total;
        sum += (seen->hour[hour] - wanted) * (seen->hour[hour] - wanted) / wanted;
    }
    return sum;
}

static void a_day_has_the_surveys_shape(void **state)
{
    static struct trip_profile profile;
    trip_profile_commute(&profile);
    for (int commute = 0; commute < 2; commute++) {
        profile.commute = commute;
        trip_profile_build(&profile);
        for (uint32_t weekday = 0; weekday < 7; weekday += 2) {
            struct day seen = observe(&profile, (int32_t)weekday + 3, weekday);
            const double *own = weekday >= 5 ? profile.weekend_share : profile.weekday_share;
            const double *other = weekday >= 5 ? profile.weekday_share : profile.weekend_share;
            assert_true(chi_square(&seen, own) < CHI_SQUARE_LIMIT);
            assert_true(chi_square(&seen, other) > 10 * CHI_SQUARE_LIMIT);
            assert_true(fabs((double)seen.trips / VEHICLES - 2.2) < 0.06);
            assert_true(fabs((double)seen.parked / VEHICLES - 0.32) < 0.015);
            assert_true(fabs(seen.minutes / seen.trips - 23.3) < 0.5);
        }
    }
}

/* Half of those that move must go out and back; without commuters only some do by chance. */
static void commuters_go_out_and_back(void **state)
{
    static struct trip_profile profile;
    trip_profile_commute(&profile);
    struct day with = observe(&profile, 1, 1);
    profile.commute = false;
    trip_profile_build(&profile);
    struct day without = observe(&profile, 1, 1);
    assert_true(with.both_ways > 0.5 * 0.68 * VEHICLES * 0.95);
    assert_true(without.both_ways < with.both_ways * 0.7);
}

static void a_day_is_pure(void **state)
{
    static struct trip_profile profile;
    struct trip first[TRIPS_PER_DAY_MAX], again[TRIPS_PER_DAY_MAX], moved[TRIPS_PER_DAY_MAX];
    int differ_by_day = 0, differ_by_seed = 0, differ_by_vehicle = 0;
    trip_profile_commute(&profile);
    for (uint32_t vehicle = 0; vehicle < 1000; vehicle++) {
        uint32_t count = trips_of_day(&profile, 5, vehicle, 40, 2, 0, first);
        struct trip other[TRIPS_PER_DAY_MAX];
        differ_by_day += trips_of_day(&profile, 5, vehicle, 41, 2, 0, other) != count;
        differ_by_seed += trips_of_day(&profile, 6, vehicle, 40, 2, 0, other) != count;
        differ_by_vehicle += trips_of_day(&profile, 5, vehicle + 1, 40, 2, 0, other) != count;
        assert_int_equal(trips_of_day(&profile, 5, vehicle, 40, 2, 0, again), count);
        assert_int_equal(trips_of_day(&profile, 5, vehicle, 40, 2, 7 * US_PER_DAY, moved), count);
        for (uint32_t i = 0; i < count; i++) {
            assert_true(first[i].start_us == again[i].start_us && first[i].end_us == again[i].end_us);
            assert_true(first[i].start_us + 7 * US_PER_DAY == moved[i].start_us);
        }
    }
    assert_true(differ_by_day > 500 && differ_by_seed > 500 && differ_by_vehicle > 500);
}

/* Other means than the default's come out as asked, down to fleets that hardly move. */
static void trips_per_day_as_asked(void **state)
{
    static const struct {
        double trips, parked;
    } cases[] = {{0, 0.5}, {0.3, 0.32}, {0.68, 0.32}, {1.0, 0.3}, {1.3, 0.3}, {3, 0}, {5, 0.2}};
    static struct trip_profile profile;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        trip_profile_commute(&profile);
        profile.trips_per_day = cases[i].trips;
        profile.parked_all_day = cases[i].parked;
        trip_profile_build(&profile);
        struct day seen = observe(&profile, 8, 3);
        double mean = (double)seen.trips / VEHICLES;
        if (fabs(mean - cases[i].trips) > 0.02 + 0.02 * cases[i].trips)
            fail_msg("asked for %g trips a day, got %g", cases[i].trips, mean);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_day_has_the_surveys_shape),
        cmocka_unit_test(commuters_go_out_and_back),
        cmocka_unit_test(a_day_is_pure),
        cmocka_unit_test(trips_per_day_as_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
