/* Commands that nobody asked for, in the virtual world: forged, replayed, held back until they are late. No car does them; one that does not look at
 * signatures does what is forged, and is found out. */
#include "world_rig.h"

static void attack(const char *attacks, const char *faults)
{
    static const char text[] =
        "scenario \"attacks\" { duration = hours(6), seed = 17 }\n"
        "region \"here\" { latency = milliseconds(5) }\n"
        "remote_commands { sealed = true, fallback = seconds(10), attacks = { %s }, faults = { %s } }\n"
        "cohort \"car\" { count = 120, trips = always_parked(), radio = radio(\"ideal\", { loss = 0 }) }\n"
        "app \"a\" { users = 120, command = \"unlock\", rate = per_hour(2), timeout = seconds(40), to = \"05:50\" }\n";
    char scenario[1024];
    snprintf(scenario, sizeof scenario, text, attacks, faults);
    rig_run(scenario);
}

static uint64_t commands(enum commands_field field)
{
    return commands_value(measure_commands_row(rig_result.measure), field);
}

/* Everybody's own commands end as they must, whoever tries what. */
static void books_are_right(void)
{
    assert_int_equal(commands(COMMANDS_EXECUTED_TWICE), 0);
    assert_int_equal(commands(COMMANDS_UNENDED), 0);
    assert_int_equal(rig_total(COUNTER_COMMANDS_MISREPORTED), 0);
}

static void nobody_tries(void **state)
{
    attack("", "");
    books_are_right();
    assert_int_equal(rig_total(COUNTER_COMMANDS_FORGED), 0);
    assert_int_equal(rig_total(COUNTER_COMMANDS_FORGED_TAKEN), 0);
    assert_true(commands(COMMANDS_ENDED_EXECUTED) == commands(COMMANDS_INTENDED));
}

/* 120 vehicles for a quarter of a day: 30 vehicle days. */
static void forged_ones_are_refused(void **state)
{
    attack("forged = per_day(10)", "");
    books_are_right();
    assert_in_range(rig_total(COUNTER_COMMANDS_FORGED), 240, 360);
    assert_int_equal(rig_total(COUNTER_COMMANDS_FORGED_TAKEN), 0);
    assert_true(commands(COMMANDS_ENDED_EXECUTED) == commands(COMMANDS_INTENDED));
}

static void replayed_ones_are_refused(void **state)
{
    attack("replayed = per_day(10)", "");
    books_are_right();
    assert_in_range(rig_total(COUNTER_COMMANDS_FORGED), 240, 360);
    assert_int_equal(rig_total(COUNTER_COMMANDS_FORGED_TAKEN), 0);
    assert_true(commands(COMMANDS_EXECUTED) == commands(COMMANDS_INTENDED));
}

/* What was held back is not done any more, and its user is told so. */
static void late_ones_are_refused(void **state)
{
    attack("late = per_day(10)", "");
    books_are_right();
    assert_in_range(rig_total(COUNTER_COMMANDS_FORGED), 200, 360);
    assert_int_equal(rig_total(COUNTER_COMMANDS_FORGED_TAKEN), 0);
    assert_in_range(commands(COMMANDS_ENDED_EXPIRED), 200, 360);
    assert_true(commands(COMMANDS_EXECUTED) + commands(COMMANDS_ENDED_EXPIRED) == commands(COMMANDS_INTENDED));
}

static void who_does_not_look_is_fooled(void **state)
{
    struct measure_worst victims[MEASURE_WORST];
    attack("forged = per_day(10), replayed = per_day(10), late = per_day(2)", "skip_verification = 0.2");
    assert_int_equal(commands(COMMANDS_EXECUTED_TWICE), 0);
    assert_int_equal(rig_total(COUNTER_COMMANDS_MISREPORTED), 0);
    assert_in_range(rig_total(COUNTER_COMMANDS_FORGED_TAKEN), 30, 100); /* of 300 forged ones to a fifth */
    uint32_t named = measure_command_victims(rig_result.measure, COUNTER_COMMANDS_FORGED_TAKEN, victims);
    assert_in_range(named, 10, 32);
    attack("replayed = per_day(10), late = per_day(2)", "skip_verification = 1");
    assert_int_equal(rig_total(COUNTER_COMMANDS_FORGED_TAKEN), 0);
    assert_true(rig_total(COUNTER_COMMANDS_FORGED) > 240);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nobody_tries),
        cmocka_unit_test(forged_ones_are_refused),
        cmocka_unit_test(replayed_ones_are_refused),
        cmocka_unit_test(late_ones_are_refused),
        cmocka_unit_test(who_does_not_look_is_fooled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
