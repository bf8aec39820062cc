/* The parked battery: random parkings against an account kept second by second, and predictions that come true. */
#include "sim/models.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static struct sim_random stream(uint32_t entity)
{
    struct sim_random random;
    sim_random_init(&random, 5, entity, SIM_FOR_FAULTS);
    return random;
}

static struct power_profile random_profile(struct sim_random *random)
{
    struct power_profile profile = {
        .awake_ua = 50000 + (uint32_t)sim_random_below(random, 200000),
        .connected_ua = (uint32_t)sim_random_below(random, 8000),
        .edrx_ua = (uint32_t)sim_random_below(random, 500),
        .psm_ua = (uint32_t)sim_random_below(random, 3),
        .asleep_ua = (uint32_t)sim_random_below(random, 2000),
        .off_ua = (uint32_t)sim_random_below(random, 60),
        .byte_nah = (uint32_t)sim_random_below(random, 20),
        .tail_us = (int64_t)sim_random_below(random, 15) * US_PER_S,
    };
    profile.budget_uah = (uint32_t)sim_random_below(random, 5000) + 1;
    profile.reserve_uah = (uint32_t)sim_random_below(random, profile.budget_uah);
    return profile;
}

/* The same parking, a second at a time: everything happens at whole seconds. */
struct account {
    uint64_t used_ua_us;
    int64_t tail_until_s;
    enum power_mode mode;
};

static uint32_t current_of(const struct power_profile *profile, enum power_mode mode)
{
    switch (mode) {
    case POWER_AWAKE: return profile->awake_ua;
    case POWER_CONNECTED: return profile->connected_ua;
    case POWER_EDRX: return profile->edrx_ua;
    case POWER_PSM: return profile->psm_ua;
    case POWER_ASLEEP: return profile->asleep_ua;
    default: return profile->off_ua;
    }
}

static void account_second(struct account *account, const struct power_profile *profile, int64_t second)
{
    bool tail = second < account->tail_until_s;
    account->used_ua_us += (uint64_t)US_PER_S * (tail ? profile->awake_ua : current_of(profile, account->mode));
}

/* One parking of random modes and transfers. Events are asked for every second, or only when they were predicted. */
static void park(struct sim_random *random, bool predicted, int events[3])
{
    struct power_profile profile = random_profile(random);
    struct power_state power;
    struct account account = {.mode = POWER_CONNECTED};
    int64_t start_s = (int64_t)sim_random_below(random, 1000), length_s = 600 + (int64_t)sim_random_below(random, 3000);
    uint64_t low = (uint64_t)(profile.budget_uah - profile.reserve_uah) * 3600000000,
             all = profile.budget_uah * UINT64_C(3600000000);
    bool told_low = false, told_cut_off = false;
    power_park(&power, start_s * US_PER_S, POWER_CONNECTED);
    for (int64_t second = start_s; second < start_s + length_s; second++) {
        int64_t now_us = second * US_PER_S;
        if (sim_random_below(random, 60) == 0) {
            enum power_mode mode = (enum power_mode)sim_random_below(random, POWER_OFF);
            power_set_mode(&profile, &power, now_us, mode);
            if (!told_cut_off)
                account.mode = mode;
        }
        if (sim_random_below(random, 80) == 0) {
            uint32_t bytes = (uint32_t)sim_random_below(random, 3000);
            power_transfer(&profile, &power, now_us, bytes);
            if (!told_cut_off) {
                account.used_ua_us += (uint64_t)bytes * profile.byte_nah * 3600000;
                account.tail_until_s = second + profile.tail_us / US_PER_S;
            }
        }
        assert_int_equal(power_used_uah(&profile, &power, now_us), account.used_ua_us / 3600000000);
        int64_t due_us = power_next_us(&profile, &power);
        bool low_due = !told_low && account.used_ua_us >= low, all_due = !told_cut_off && account.used_ua_us >= all;
        assert_int_equal(due_us <= now_us, low_due || all_due);
        while (!predicted || power_next_us(&profile, &power) <= now_us) {
            enum power_event event = power_account(&profile, &power, now_us);
            events[event]++;
            if (event == POWER_NOTHING)
                break;
            if (event == POWER_LOW) {
                assert_true(low_due && !told_low);
                told_low = true;
            } else {
                assert_true(all_due && told_low && !told_cut_off);
                told_cut_off = true;
                account.mode = POWER_OFF;
                account.tail_until_s = second;
                assert_int_equal(power.mode, POWER_OFF);
            }
        }
        assert_int_equal(told_low, low_due || power.low);
        assert_int_equal(told_cut_off, power.cut_off);
        account_second(&account, &profile, second);
    }
    int64_t end_us = (start_s + length_s) * US_PER_S;
    assert_int_equal(power_drive(&profile, &power, end_us), account.used_ua_us / 3600000000);
    assert_false(power.parked || power.low || power.cut_off);
    assert_int_equal(power_used_uah(&profile, &power, end_us), 0);
}

static void as_kept_by_the_second(void **state)
{
    int events[3] = {0};
    struct sim_random random = stream(1);
    for (int i = 0; i < 400; i++)
        park(&random, false, events);
    assert_true(events[POWER_LOW] > 100 && events[POWER_CUT_OFF] > 60 && events[POWER_LOW] < 400);
}

static void as_predicted(void **state)
{
    int events[3] = {0};
    struct sim_random random = stream(2);
    for (int i = 0; i < 400; i++)
        park(&random, true, events);
    assert_true(events[POWER_LOW] > 100 && events[POWER_CUT_OFF] > 60);
    assert_int_equal(events[POWER_NOTHING], 0); /* asked only when something was due */
}

/* To the microsecond: nothing the moment before, the event at the moment itself. Odd times, odd currents. */
static void exact_to_the_microsecond(void **state)
{
    struct sim_random random = stream(3);
    int seen[3] = {0};
    for (int i = 0; i < 20000; i++) {
        struct power_profile profile = random_profile(&random);
        profile.tail_us = (int64_t)sim_random_below(&random, 60 * US_PER_S);
        struct power_state power;
        int64_t now_us = (int64_t)sim_random_below(&random, US_PER_DAY);
        power_park(&power, now_us, (enum power_mode)sim_random_below(&random, POWER_MODES));
        if (sim_random_below(&random, 2))
            power_transfer(&profile, &power, now_us, (uint32_t)sim_random_below(&random, 1000));
        for (enum power_event wanted = POWER_LOW; wanted <= POWER_CUT_OFF; wanted++) {
            int64_t due_us = power_next_us(&profile, &power);
            if (due_us == TIME_NEVER)
                break;
            if (due_us > now_us) {
                struct power_state before = power;
                assert_int_equal(power_account(&profile, &before, due_us - 1), POWER_NOTHING);
                assert_int_equal(power_next_us(&profile, &before), due_us);
                now_us = due_us;
            }
            assert_int_equal(power_account(&profile, &power, now_us), wanted);
            seen[wanted]++;
        }
    }
    assert_true(seen[POWER_LOW] > 15000 && seen[POWER_CUT_OFF] > 15000);
}

/* However often it is accounted, nothing is lost to rounding: 1 uA for a year, asked for every 1,001 s and 7 us. */
static void accounting_often_loses_nothing(void **state)
{
    struct power_profile profile = {.psm_ua = 1};
    struct power_state power;
    power_park(&power, 0, POWER_PSM);
    int64_t end_us = 365 * US_PER_DAY;
    for (int64_t now_us = 0; now_us < end_us; now_us += 1001 * US_PER_S + 7)
        assert_int_equal(power_account(&profile, &power, now_us), POWER_NOTHING);
    assert_int_equal(power_drive(&profile, &power, end_us), 365 * 24);
}

static void overlapping_tails_count_once(void **state)
{
    struct power_profile profile = {.awake_ua = 3600, .connected_ua = 0, .tail_us = 10 * US_PER_S};
    struct power_state power;
    power_park(&power, 0, POWER_CONNECTED);
    for (int second = 0; second < 1000; second += 5)
        power_transfer(&profile, &power, second * US_PER_S, 0);
    /* 1 uAh a second: from 0 to 995 + 10 s without a gap. */
    assert_int_equal(power_used_uah(&profile, &power, 500 * US_PER_S), 500);
    assert_int_equal(power_used_uah(&profile, &power, 2000 * US_PER_S), 1005);
    /* Off ends the tail. */
    power_set_mode(&profile, &power, 1000 * US_PER_S, POWER_OFF);
    assert_int_equal(power_drive(&profile, &power, 2000 * US_PER_S), 1000);
}

static void no_budget_no_events(void **state)
{
    struct power_profile profile;
    power_profile_standard(&profile);
    profile.budget_uah = 0;
    struct power_state power = {0};
    assert_int_equal(power_next_us(&profile, &power), TIME_NEVER);
    power_transfer(&profile, &power, US_PER_S, 1000); /* driving */
    assert_int_equal(power_account(&profile, &power, US_PER_DAY), POWER_NOTHING);
    assert_int_equal(power_drive(&profile, &power, US_PER_DAY), 0);
    power_park(&power, 0, POWER_AWAKE);
    assert_int_equal(power_next_us(&profile, &power), TIME_NEVER);
    assert_int_equal(power_account(&profile, &power, 365 * US_PER_DAY), POWER_NOTHING);
    assert_int_equal(power_used_uah(&profile, &power, US_PER_HOUR * 24 * 365), 250000u * 24 * 365);
}

/* The standard car keeps a silent connection for more than a week, with a ping every 20 minutes just about a week, with one every
 * minute little more than a day, and sleeps for a month and a half. */
static int64_t lasts_us(enum power_mode mode, int64_t ping_every_us)
{
    struct power_profile profile;
    struct power_state power;
    power_profile_standard(&profile);
    power_park(&power, 0, mode);
    for (int64_t now_us = 0;; now_us += ping_every_us) {
        while (power_next_us(&profile, &power) <= now_us + ping_every_us) {
            int64_t due_us = power_next_us(&profile, &power);
            if (power_account(&profile, &power, due_us) == POWER_CUT_OFF)
                return due_us;
        }
        power_transfer(&profile, &power, now_us + ping_every_us, 2 * 76);
    }
}

static void the_standard_car(void **state)
{
    struct power_profile profile;
    power_profile_standard(&profile);
    assert_in_range(lasts_us(POWER_CONNECTED, 20 * US_PER_MIN) / US_PER_DAY, 7, 8);
    assert_in_range(lasts_us(POWER_CONNECTED, US_PER_MIN) / US_PER_HOUR, 26, 36);
    assert_in_range(lasts_us(POWER_ASLEEP, 7 * US_PER_DAY) / US_PER_DAY, 45, 53);
    assert_true(profile.psm_ua < profile.edrx_ua && profile.edrx_ua < profile.asleep_ua);
    assert_true(profile.asleep_ua < profile.connected_ua && profile.connected_ua < profile.awake_ua);
    assert_true(profile.off_ua < profile.psm_ua && profile.reserve_uah < profile.budget_uah);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(as_kept_by_the_second),
        cmocka_unit_test(as_predicted),
        cmocka_unit_test(exact_to_the_microsecond),
        cmocka_unit_test(accounting_often_loses_nothing),
        cmocka_unit_test(overlapping_tails_count_once),
        cmocka_unit_test(no_budget_no_events),
        cmocka_unit_test(the_standard_car),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
