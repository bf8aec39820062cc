/* What a scenario says of processors and notices: standards, everything said, actions, and the line each mistake gets. */
#include "script_rig.h"

static void standards(void **context)
{
    struct script *script = rig_must_load(RIG_HEAD);
    assert_false(script_scenario(script)->cloud.messages.on);
    assert_int_equal(script_scenario(script)->cohorts[0].alias_maximum, 0);
    script_free(script);
    script = rig_must_load(RIG_HEAD "processors { }\nnotice \"recall\" { at = hours(1) }\n");
    const struct scenario_messages *messages = &script_scenario(script)->cloud.messages;
    assert_true(messages->on && messages->processors && !messages->routed && !messages->aliases);
    assert_int_equal(messages->group_count, 1);
    assert_int_equal(messages->groups[0].members, 2);
    assert_int_equal(messages->commit_us, US_PER_S);
    assert_int_equal(messages->session_s, 0);
    assert_true(messages->spread == 0.2);
    assert_int_equal(messages->grace_us, 30 * US_PER_S);
    assert_int_equal(messages->notice_count, 1);
    assert_int_equal(messages->notices[0].at_us, US_PER_HOUR);
    assert_int_equal(messages->notices[0].every_us, 0);
    assert_int_equal(messages->notices[0].expires_us, 0);
    assert_int_equal(messages->notices[0].cohort, MEASURE_ANY);
    assert_true(messages->notices[0].share == 1 && !messages->notices[0].retained);
    assert_true(messages->wrong_route == 0 && messages->forget_expiry == 0 && messages->at_most_once == 0);
    script_free(script);
    script = rig_must_load(RIG_HEAD "expect \"saved\" (aliases():saved()):at_least(0)\n");
    assert_true(script_scenario(script)->cloud.messages.on && script_scenario(script)->cloud.messages.aliases);
    script_free(script);
}

static void everything_said(void **context)
{
    struct script *script = rig_must_load(
        RIG_HEAD
        "processors { route = \"firmware\", commit = seconds(2), session = seconds(30), spread = 0.1,\n"
        "  groups = { b = { firmware = { \"1.0.0\", \"1.1.0\" }, count = 3 }, a = { firmware = { \"2\" } } },\n"
        "  faults = { wrong_route = 1, early_acknowledgement = 0.9, unshared = 0.8, idle_members = 0.7 } }\n"
        "notice \"weather\" { every = minutes(10), at = \"06:30\", till = \"08:00\", expires = minutes(5),\n"
        "  share = 0.5, cohort = \"car\", region = \"here\", retained = true, grace = seconds(10),\n"
        "  faults = { forget_expiry = 0.3, at_most_once = 1 } }\n"
        "cohort \"old\" { count = 1, mqtt = { version = \"3.1.1\", aliases_taken = 7 } }\n");
    const struct scenario_messages *messages = &script_scenario(script)->cloud.messages;
    assert_true(messages->routed);
    assert_int_equal(messages->group_count, 2);
    assert_string_equal(messages->groups[0].name, "a"); /* in the order of their names */
    assert_string_equal(messages->groups[1].firmware[1], "1.1.0");
    assert_int_equal(messages->groups[1].members, 3);
    assert_int_equal(messages->commit_us, 2 * US_PER_S);
    assert_int_equal(messages->session_s, 30);
    assert_true(messages->spread == 0.1);
    assert_true(messages->wrong_route == 1 && messages->early_acknowledgement == 0.9 && messages->unshared == 0.8 &&
                messages->idle_members == 0.7);
    const struct scenario_notice *notice = &messages->notices[0];
    assert_string_equal(notice->kind, "weather");
    assert_int_equal(notice->at_us, 30 * US_PER_MIN);
    assert_int_equal(notice->every_us, 10 * US_PER_MIN);
    assert_int_equal(notice->until_us, 2 * US_PER_HOUR);
    assert_int_equal(notice->expires_us, 5 * US_PER_MIN);
    assert_true(notice->share == 0.5 && notice->retained && notice->cohort == 0 && notice->region == 0);
    assert_int_equal(messages->grace_us, 10 * US_PER_S);
    assert_true(messages->forget_expiry == 0.3 && messages->at_most_once == 1);
    assert_int_equal(script_scenario(script)->cohorts[1].alias_maximum, 7);
    script_free(script);
}

static void actions(void **context)
{
    struct script *script =
        rig_must_load(RIG_HEAD "processors { count = 3 }\n"
                               "at(\"06:10\", function() processors_scale { to = 5 } end)\n"
                               "at(\"06:20\", function() processor_dies { back_after = seconds(4) } end)\n"
                               "at(\"06:30\", function() processor_dies { count = 2, group = \"all\" } end)\n");
    struct rig_world world = {0};
    struct world_actions told = {rig_act, rig_note, &world};
    char error[200];
    for (uint32_t i = 0; i < 3; i++)
        assert_true(script_timeline(script, i, 0, &told, error, sizeof(error)));
    assert_int_equal(world.actions, 3);
    assert_int_equal(world.action[0].kind, ACTION_PROCESSORS_SCALE);
    assert_int_equal(world.action[0].store_writes, 5);
    assert_string_equal(world.action[0].option, "");
    assert_int_equal(world.action[1].kind, ACTION_PROCESSOR_DIES);
    assert_int_equal(world.action[1].store_writes, 1);
    assert_int_equal(world.action[1].duration_us, 4 * US_PER_S);
    assert_int_equal(world.action[2].store_writes, 2);
    assert_int_equal(world.action[2].duration_us, 0);
    assert_string_equal(world.action[2].option, "all");
    script_free(script);
}

static void mistakes(void **context)
{
    static const struct {
        const char *text, *line;
    } rows[] = {
        {"processors { cuont = 3 }", "FILE:4: processors: unknown field 'cuont'; did you mean 'count'?"},
        {"processors { count = 13 }", "FILE:4: processors: count must be between 1 and 12, got 13"},
        {"processors { } processors { }", "FILE:4: processors is declared twice"},
        {"processors { route = \"weather\" }",
         "FILE:4: processors: route: telemetry is routed by the user property of the firmware; write route = "
         "\"firmware\""},
        {"processors { route = \"firmware\", groups = { a = { firmware = { \"1.0.0\" } } } }",
         "FILE:4: processors: groups names two to eight groups: groups = { old = { firmware = { \"1.0.0\" } }, new = "
         "{ ... } }"},
        {"processors { route = \"firmware\", groups = { a = { firmware = { \"1.0.0\" } }, b = { firmware = { "
         "\"1.0.0\" } } } }",
         "FILE:4: processors: groups.b.firmware: version 1.0.0 belongs to group 'a' already"},
        {"processors { route = \"firmware\", groups = { a = { firmware = { \"1\" } }, b = { firmware = { \"1.0.1\" } } "
         "} }",
         "FILE:3: cohort \"car\": no group of processors takes firmware 1.0.0; did you mean '1.0.1'?"},
        {"processors { faults = { wrong_route = 1 } }",
         "FILE:4: processors: faults.wrong_route: nothing is routed; write route = \"firmware\""},
        {"processors { faults = { forget_expiry = 1 } }",
         "FILE:4: processors: faults: unknown field 'forget_expiry'; there are wrong_route, early_acknowledgement, "
         "unshared, idle_members"},
        {"notice \"weather\"", "FILE:4: notice \"weather\" is not complete; write notice \"weather\" { every = "
                               "hours(1), expires = minutes(30) }"},
        {"notice \"weather\" { }", "FILE:4: notice \"weather\": when is it sent? write at = \"08:00\" or every = "
                                   "hours(1)"},
        {"notice \"weather\" { every = 30 }",
         "FILE:4: notice \"weather\": every: 30 microseconds is surely not meant; write seconds(30)"},
        {"notice \"weather\" { every = hours(1), till = \"06:30\" }",
         "FILE:4: notice \"weather\": till must be after the first one"},
        {"notice \"weather\" { at = hours(1), cohort = \"cra\" }",
         "FILE:4: notice \"weather\": unknown cohort 'cra'; did you mean 'car'?"},
        {"notice \"weather\" { at = hours(1) } notice \"weather\" { at = hours(1) }",
         "FILE:4: notice \"weather\" is declared twice"},
        {"lifecycle { }\nnotice \"a\" { at = hours(1) }",
         "FILE:1: notices: the policy of vehicles lets none of them hear a notice; write lifecycle { policy = \"wide\" "
         "}, or leave one of both out"},
        {"region \"there\" { }\nresolver { by = \"geolocation\" }\nprocessors { }",
         "FILE:6: processors { } and notices are of one cloud, and here each region has its own; leave the one or the "
         "other out"},
        {"expect \"a\" (processors():deaths()):equals(0)", "FILE:4: processors() needs processors { ... } in the file"},
        {"expect \"a\" (notices():lost()):equals(0)", "FILE:4: notices() needs notice \"name\" { ... } in the file"},
        {"cohort \"b\" { count = 3, mqtt = { aliases_taken = 17 } }",
         "FILE:4: cohort \"b\": mqtt.aliases_taken must be between 0 and 16, got 17"},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char text[2048];
        snprintf(text, sizeof(text), RIG_HEAD "%s\n", rows[i].text);
        assert_null(rig_load_text(text));
        assert_string_equal(rig_error, rows[i].line);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(standards),
        cmocka_unit_test(everything_said),
        cmocka_unit_test(actions),
        cmocka_unit_test(mistakes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
