/* Waves of a migration: spread evenly, judged by who arrived, taken back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "cloud/regions.h"
#include "cloud/services.h"

enum { COHORTS = 3, CARS = 1000 };

static const struct cloud_wave waves[COHORTS] = {
    {7, US_PER_HOUR, 10 * US_PER_MIN}, {3, 2 * US_PER_HOUR, US_PER_HOUR}, {9, 0, 0}};
static const int64_t began_us = 5 * US_PER_DAY;

static struct cloud_migration *begin(double abort_share)
{
    return cloud_migration_create(&(struct cloud_migration_options){waves, COHORTS, abort_share, 0}, began_us);
}

static uint32_t part_of(unsigned car)
{
    return (uint32_t)(((uint64_t)car << 32) / CARS);
}

static unsigned over(const struct cloud_migration *m, int64_t now_us, uint16_t cohort)
{
    unsigned count = 0;
    for (unsigned car = 0; car < CARS; car++)
        count += cloud_migration_broker(m, now_us, cohort, part_of(car));
    return count;
}

static void spread_evenly(void **state)
{
    struct cloud_migration *m = begin(0);
    for (unsigned w = 0; w < COHORTS; w++) {
        const struct cloud_wave *wave = &waves[w];
        for (int step = -2; step <= 22; step++) {
            int64_t now_us = began_us + wave->at_us + wave->within_us * step / 20;
            if (wave->within_us == 0)
                now_us = began_us + step;
            double share = step < 0 ? 0 : wave->within_us == 0 || step > 20 ? 1 : step / 20.0;
            double count = over(m, now_us, wave->cohort);
            assert_true(count >= share * CARS - 2 && count <= share * CARS + 2);
        }
    }
    assert_int_equal(over(m, began_us + US_PER_DAY, 4), 0); /* in no wave */
    assert_true(cloud_migration_broker(m, began_us + waves[0].at_us + waves[0].within_us, 7, UINT32_MAX));
    cloud_migration_destroy(m);
}

static void tick_through(struct cloud_migration *m, int64_t until_us)
{
    const struct cloud_due *due = (const struct cloud_due *)(const void *)m;
    while (due->next_us <= until_us) {
        int64_t at_us = due->next_us;
        cloud_migration_tick(m, at_us);
        assert_true(due->next_us > at_us);
    }
}

/* Each share of missing vehicles against the limit. */
static void judged(void **state)
{
    for (unsigned missing = 0; missing <= 100; missing += 5) {
        for (unsigned limit = 0; limit <= 100; limit += 10) {
            struct cloud_migration *m = begin(limit / 100.0);
            int64_t start_us = began_us + waves[0].at_us;
            tick_through(m, start_us - 1);
            assert_int_equal(cloud_migration_wave(m, 0), CLOUD_WAVE_WAITING);
            tick_through(m, start_us);
            assert_int_equal(cloud_migration_wave(m, 0), CLOUD_WAVE_MOVING);
            for (unsigned car = 0; car < 100; car++)
                cloud_migration_arrived(m, start_us + US_PER_S, 7, car >= missing);
            int64_t end_us = start_us + waves[0].within_us + 5 * US_PER_MIN;
            tick_through(m, end_us - 1);
            assert_int_equal(cloud_migration_wave(m, 0), CLOUD_WAVE_MOVING);
            tick_through(m, end_us);
            bool back = limit > 0 && missing > limit;
            assert_int_equal(cloud_migration_wave(m, 0), back ? CLOUD_WAVE_ROLLED_BACK : CLOUD_WAVE_MOVED);
            assert_int_equal(over(m, end_us, 7), back ? 0 : CARS);
            assert_int_equal(over(m, end_us, 9), CARS); /* the others go on */
            tick_through(m, began_us + US_PER_DAY);
            assert_int_equal(cloud_migration_wave(m, 1), CLOUD_WAVE_MOVED);
            cloud_migration_destroy(m);
        }
    }
}

static void late_word_turns_the_verdict(void **state)
{
    struct cloud_migration *m = begin(0.2);
    tick_through(m, began_us + US_PER_DAY);
    for (unsigned car = 0; car < 4; car++)
        cloud_migration_arrived(m, began_us + US_PER_DAY, 7, true);
    cloud_migration_arrived(m, began_us + US_PER_DAY, 7, false);
    assert_int_equal(cloud_migration_wave(m, 0), CLOUD_WAVE_MOVED); /* a fifth: not above */
    cloud_migration_arrived(m, began_us + US_PER_DAY, 7, false);
    assert_int_equal(cloud_migration_wave(m, 0), CLOUD_WAVE_ROLLED_BACK);
    for (unsigned car = 0; car < 40; car++)
        cloud_migration_arrived(m, began_us + US_PER_DAY, 7, true); /* ... and stays so */
    assert_int_equal(cloud_migration_wave(m, 0), CLOUD_WAVE_ROLLED_BACK);
    cloud_migration_destroy(m);
}

static void roll_back_returns_everybody(void **state)
{
    for (int64_t at_us = 0; at_us < 4 * US_PER_HOUR; at_us += 7 * US_PER_MIN) {
        struct cloud_migration *m = begin(0.5);
        tick_through(m, began_us + at_us);
        cloud_migration_roll_back(m, began_us + at_us);
        for (unsigned w = 0; w < COHORTS; w++) {
            assert_int_equal(over(m, began_us + at_us, waves[w].cohort), 0);
            assert_int_equal(over(m, began_us + US_PER_DAY, waves[w].cohort), 0);
            assert_int_equal(cloud_migration_wave(m, w), CLOUD_WAVE_ROLLED_BACK);
        }
        assert_int_equal(((const struct cloud_due *)(const void *)m)->next_us, TIME_NEVER);
        cloud_migration_destroy(m);
    }
}

static void bad_options(void **state)
{
    struct cloud_wave twice[2] = {{1, 0, 0}, {1, 5, 5}}, early = {1, -1, 0};
    assert_null(cloud_migration_create(&(struct cloud_migration_options){twice, 2, 0, 0}, 0));
    assert_null(cloud_migration_create(&(struct cloud_migration_options){&early, 1, 0, 0}, 0));
    assert_null(cloud_migration_create(&(struct cloud_migration_options){waves, 0, 0, 0}, 0));
    assert_null(cloud_migration_create(&(struct cloud_migration_options){waves, 1, 1.5, 0}, 0));
    cloud_migration_destroy(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(spread_evenly), cmocka_unit_test(judged),
                                       cmocka_unit_test(late_word_turns_the_verdict),
                                       cmocka_unit_test(roll_back_returns_everybody), cmocka_unit_test(bad_options)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
