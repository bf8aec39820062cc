/* A driver's day: how many trips, when, how long.
 *
 * Commuters' two trips are taken out of the morning and the evening of the survey's profile, and all other weekday trips
 * follow what they leave of it, so that the sum over the fleet is the survey's again. Trips that would overlap are moved
 * later, which shifts one in some thirty by minutes. A day's trips end before midnight, so that days need not know each other.
 */
#include "sim/models.h"

#include <math.h>

#define HOURS          24
#define MORNING_FROM   5
#define MORNING_UNTIL  10
#define EVENING_FROM   15
#define EVENING_UNTIL  20
#define COMMUTER_SHARE 0.5 /* [assumption] vehicles used for the way to work: 2 in 6.5 trips of all that move */
#define GAP_US         US_PER_MIN
#define TRIP_LEAST_US  US_PER_MIN
#define TRIP_MOST_US   (4 * US_PER_HOUR)
#define DAY_BITS       31 /* of the stream's counter belong to one day */

/* FHWA Highway Statistics 2006, table NT-3 (NHTS 2001): vehicle trips by start hour, per cent of the day. */
static const double survey_weekday[HOURS] = {.29,  .16,  .16,  .07,  .49,  1.26, 3.17, 7.68, 5.91, 4.53, 5.13, 5.85,
                                             6.25, 5.98, 6.55, 7.67, 7.81, 8.64, 7.39, 5.56, 4.07, 3.08, 1.54, .75};
static const double survey_saturday[HOURS] = {.81,  .35,  .22,  .12,  .35,  .51,  1.05, 2.16, 3.93, 5.56, 7.72, 8.33,
                                              8.59, 7.70, 8.02, 7.61, 7.20, 6.66, 6.83, 5.02, 4.16, 3.63, 2.01, 1.45};

void trip_profile_commute(struct trip_profile *profile)
{
    *profile = (struct trip_profile){
        .trips_per_day = 2.2,    /* AAA American Driving Survey 2016-17 */
        .parked_all_day = 0.32,  /* the same survey, 2013-14 */
        .duration_mean_s = 1398, /* 23.3 minutes, NHTS 2001 */
        .duration_sigma = 0.6,   /* [assumption] */
        .commute = true,
    };
    memcpy(profile->weekday_share, survey_weekday, sizeof survey_weekday);
    memcpy(profile->weekend_share, survey_saturday, sizeof survey_saturday);
    trip_profile_build(profile);
}

/* ---- building ----------------------------------------------------------------------------------------------------- */

static double sum(const double share[HOURS], int from, int until)
{
    double total = 0;
    for (int hour = from; hour < until; hour++)
        total += share[hour];
    return total;
}

static void accumulate(uint32_t cumulative[HOURS], const double share[HOURS], int from, int until)
{
    double total = sum(share, from, until), passed = 0;
    for (int hour = 0; hour < HOURS; hour++) {
        if (hour >= from && hour < until)
            passed += share[hour];
        double part = total > 0 ? passed / total : (double)(hour + 1) / HOURS;
        cumulative[hour] = hour + 1 >= until || part >= 1 ? UINT32_MAX : (uint32_t)(part * 0x1p32);
    }
}

static uint32_t ppm(double share)
{
    return share <= 0 ? 0 : share >= 1 ? 1000000 : (uint32_t)lround(share * 1e6);
}

/* Chance of each of the trips that may follow the first `least`, for `mean` of them in all. */
static uint32_t more_ppm(double mean, double least)
{
    return ppm((mean - least) / (TRIPS_PER_DAY_MAX - least));
}

/* Share of the moving vehicles that commute: bounded so that they do not use up a rush hour nor the trips of the others. */
static double commuters(const struct trip_profile *profile, double mean, double morning, double evening)
{
    if (!profile->commute)
        return 0;
    double most = 0.9 * mean * fmin(morning, evening);
    return fmax(0, fmin(COMMUTER_SHARE, fmin(most, mean - 1)));
}

void trip_profile_build(struct trip_profile *profile)
{
    double day = sum(profile->weekday_share, 0, HOURS), moving = 1 - profile->parked_all_day;
    double morning = day > 0 ? sum(profile->weekday_share, MORNING_FROM, MORNING_UNTIL) / day : 0;
    double evening = day > 0 ? sum(profile->weekday_share, EVENING_FROM, EVENING_UNTIL) / day : 0;
    if (profile->trips_per_day < moving)
        moving = profile->trips_per_day; /* who moves makes at least one trip, so fewer move */
    double mean = moving > 0 ? profile->trips_per_day / moving : 0;
    double share = commuters(profile, mean, morning, evening);
    double commuter_mean = fmax(mean, 2), other_mean = share < 1 ? (mean - share * commuter_mean) / (1 - share) : 0;
    profile->move_ppm = ppm(moving);
    profile->commuter_ppm = ppm(share);
    profile->more_ppm[0] = more_ppm(other_mean, 1);
    profile->more_ppm[1] = more_ppm(commuter_mean, 2);
    profile->more_ppm[2] = more_ppm(mean, 1);

    double rest[HOURS];
    for (int hour = 0; hour < HOURS; hour++) {
        rest[hour] = profile->weekday_share[hour];
        if (mean > 0 && hour >= MORNING_FROM && hour < MORNING_UNTIL && morning > 0)
            rest[hour] *= 1 - share / mean / morning;
        if (mean > 0 && hour >= EVENING_FROM && hour < EVENING_UNTIL && evening > 0)
            rest[hour] *= 1 - share / mean / evening;
    }
    accumulate(profile->weekday, profile->weekday_share, 0, HOURS);
    accumulate(profile->weekend, profile->weekend_share, 0, HOURS);
    accumulate(profile->out, profile->weekday_share, MORNING_FROM, MORNING_UNTIL);
    accumulate(profile->back, profile->weekday_share, EVENING_FROM, EVENING_UNTIL);
    accumulate(profile->other, rest, 0, HOURS);
    double sigma = profile->duration_sigma;
    double median_us = profile->duration_mean_s * 1e6 / exp(sigma * sigma / 2);
    sim_table_build(&profile->duration, SIM_LOGNORMAL, median_us, sigma, TRIP_LEAST_US, TRIP_MOST_US);
}

/* ---- drawing ------------------------------------------------------------------------------------------------------ */

static int64_t draw_start(const uint32_t cumulative[HOURS], struct sim_random *random)
{
    uint32_t word = sim_random_u32(random), hour = 0;
    while (hour < HOURS - 1 && word >= cumulative[hour])
        hour++;
    return hour * US_PER_HOUR + (int64_t)sim_random_below(random, US_PER_HOUR);
}

static uint32_t draw_count(uint32_t least, uint32_t each_ppm, struct sim_random *random)
{
    uint32_t count = least;
    for (uint32_t i = least; i < TRIPS_PER_DAY_MAX; i++)
        count += sim_random_ppm(random, each_ppm);
    return count;
}

static bool is_commuter(const struct trip_profile *profile, uint64_t seed, uint32_t vehicle)
{
    /* From the far end of the vehicle's stream, where no day's draws reach. */
    uint64_t word = sim_random_at(seed, vehicle, SIM_FOR_TRIPS, UINT64_MAX);
    return (word >> 32) * 1000000 < (uint64_t)profile->commuter_ppm << 32;
}

/* Start within the day and duration (in end_us). */
static void insert_by_start(struct trip *trips, uint32_t count, struct trip trip)
{
    while (count > 0 && trips[count - 1].start_us > trip.start_us) {
        trips[count] = trips[count - 1];
        count--;
    }
    trips[count] = trip;
}

/* Durations become ends; overlapping trips move later, and what would not fit before midnight is cut or falls away. */
static uint32_t settle(struct trip *trips, uint32_t count, int64_t day_start_us)
{
    const int64_t day_end_us = US_PER_DAY - GAP_US;
    int64_t free_us = 0;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < count; i++) {
        int64_t start_us = trips[i].start_us > free_us ? trips[i].start_us : free_us;
        int64_t end_us = start_us + trips[i].end_us;
        if (start_us + TRIP_LEAST_US > day_end_us)
            break;
        if (end_us > day_end_us)
            end_us = day_end_us;
        trips[kept++] = (struct trip){day_start_us + start_us, day_start_us + end_us};
        free_us = end_us + GAP_US;
    }
    return kept;
}

uint32_t trips_of_day(const struct trip_profile *profile, uint64_t seed, uint32_t vehicle, int32_t day,
                      uint32_t weekday, int64_t day_start_us, struct trip out[TRIPS_PER_DAY_MAX])
{
    struct sim_random random;
    sim_random_init(&random, seed, vehicle, SIM_FOR_TRIPS);
    random.counter = (uint64_t)(uint32_t)day << DAY_BITS;
    if (!sim_random_ppm(&random, profile->move_ppm))
        return 0;
    bool weekend = weekday >= 5, commutes = !weekend && is_commuter(profile, seed, vehicle);
    uint32_t count = commutes  ? draw_count(2, profile->more_ppm[1], &random)
                     : weekend ? draw_count(1, profile->more_ppm[2], &random)
                               : draw_count(1, profile->more_ppm[0], &random);
    for (uint32_t i = 0; i < count; i++) {
        const uint32_t *hours = weekend              ? profile->weekend
                                : commutes && i == 0 ? profile->out
                                : commutes && i == 1 ? profile->back
                                                     : profile->other;
        int64_t start_us = draw_start(hours, &random);
        insert_by_start(out, i, (struct trip){start_us, sim_table_draw(&profile->duration, &random)});
    }
    return settle(out, count, day_start_us);
}
