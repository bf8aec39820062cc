/* Functions that run while the run goes on: what they ask of the world, what is an error then. */
#include "script_rig.h"

static struct rig_world world;
static const struct world_actions actions = {rig_act, rig_note, &world};
static char error[1024];

static struct script *load(const char *text)
{
    memset(&world, 0, sizeof(world));
    return rig_must_load(text);
}

static bool run(struct script *script, uint32_t index)
{
    return script_timeline(script, index, 5 * US_PER_S, &actions, error, sizeof(error));
}

static void every_action(void **context)
{
    struct script *script = load(RIG_HEAD "region \"far\" { }\n"
                                          "cohort \"van\" { count = 5, region = { far = 1 } }\n"
                                          "at(\"07:00\", function()\n"
                                          "  coverage_hole { region = \"far\", share = 0.5, lasts = minutes(3) }\n"
                                          "  drop_links { cohort = \"van\" }\n"
                                          "  send_command { command = \"unlock\", timeout = seconds(9), vehicle = 3 }\n"
                                          "  ignition_on { vehicle = { number = 4 } } ignition_off { }\n"
                                          "  kick { share = 0.1 }\n"
                                          "  cloud_outage { lasts = seconds(30) }\n"
                                          "  local n = kick { }\n"
                                          "  note(\"kicked \" .. n)\n"
                                          "end)\n");
    assert_true(run(script, 0));
    assert_int_equal(world.actions, 8);
    const struct world_action *a = world.action;
    assert_int_equal(a[0].kind, ACTION_COVERAGE_HOLE);
    assert_int_equal(a[0].cohort, MEASURE_ANY);
    assert_int_equal(a[0].region, 1);
    assert_true(a[0].share == 0.5);
    assert_int_equal(a[0].vehicle, -1);
    assert_int_equal(a[0].duration_us, 3 * US_PER_MIN);
    assert_int_equal(a[0].line, 7);
    assert_int_equal(a[1].kind, ACTION_DROP_LINKS);
    assert_int_equal(a[1].cohort, 1);
    assert_true(a[1].share == 1);
    assert_int_equal(a[2].kind, ACTION_COMMAND);
    assert_string_equal(a[2].command, "unlock");
    assert_int_equal(a[2].timeout_us, 9 * US_PER_S);
    assert_int_equal(a[2].vehicle, 3);
    assert_int_equal(a[3].kind, ACTION_IGNITION_ON);
    assert_int_equal(a[3].vehicle, 4);
    assert_int_equal(a[4].kind, ACTION_IGNITION_OFF);
    assert_int_equal(a[5].kind, ACTION_CLOUD_KICK);
    assert_int_equal(a[6].kind, ACTION_CLOUD_OUTAGE);
    assert_int_equal(a[6].duration_us, 30 * US_PER_S);
    assert_int_equal(world.notes, 1);
    assert_string_equal(world.note[0], "kicked 7");
    assert_int_equal(world.note_at[0], 5 * US_PER_S);
    script_free(script);
}

/* Two selections of the same share are two draws: by their line, and by how often the line ran. */
static void salts_differ(void **context)
{
    struct script *script = load(RIG_HEAD "every_so_often(minutes(5), function()\n"
                                          "  for i = 1, 3 do kick { share = 0.1 } end\n"
                                          "  kick { share = 0.1 }\n"
                                          "end)\n");
    assert_true(run(script, 0) && run(script, 0));
    assert_int_equal(world.actions, 8);
    for (uint32_t i = 0; i < 8; i++)
        for (uint32_t j = 0; j < i; j++)
            assert_true(world.action[i].salt != world.action[j].salt);
    uint64_t first = world.action[0].salt, last = world.action[7].salt;
    script_free(script);
    script = load(RIG_HEAD "every_so_often(minutes(5), function()\n"
                           "  for i = 1, 3 do kick { share = 0.1 } end\n"
                           "  kick { share = 0.1 }\n"
                           "end)\n");
    assert_true(run(script, 0) && run(script, 0));
    assert_true(world.action[0].salt == first && world.action[7].salt == last);
    script_free(script);
}

static void events_have_their_vehicle(void **context)
{
    struct script *script =
        load(RIG_HEAD "local seen = 0\n"
                      "cohort \"van\" { count = 5, on_event = function(vehicle, event)\n"
                      "  seen = seen + 1\n"
                      "  note(event .. \" \" .. vehicle.name .. \" \" .. vehicle.number .. \" \" .. vehicle.cohort .. "
                      "\" \" .. seen)\n"
                      "  if event == \"online\" then send_command { command = \"hello\", vehicle = vehicle } end\n"
                      "end }\n");
    assert_true(
        script_event(script, 0, 3, "online", 1, &actions, error, sizeof(error))); /* a cohort without on_event */
    assert_int_equal(world.notes, 0);
    assert_true(script_event(script, 1, 12, "online", 1, &actions, error, sizeof(error)));
    assert_true(script_event(script, 1, 13, "offline", 2, &actions, error, sizeof(error)));
    assert_string_equal(world.note[0], "online van-000012 12 van 1");
    assert_string_equal(world.note[1], "offline van-000013 13 van 2");
    assert_int_equal(world.actions, 1);
    assert_int_equal(world.action[0].vehicle, 12);
    script_free(script);
}

static void what_a_world_cannot_do_is_noted(void **context)
{
    struct script *script =
        load(RIG_HEAD "at(\"07:00\", function()\n  local n = kick { }\n  note(\"n \" .. n)\nend)\n");
    world.unable = true;
    assert_true(run(script, 0));
    assert_int_equal(world.notes, 2);
    assert_string_equal(world.note[0], "kick (line 5) was not done: this world has no such thing");
    assert_string_equal(world.note[1], "n 0");
    script_free(script);
}

static void mistakes_while_it_runs(void **context)
{
    static const struct {
        const char *body, *line;
    } cases[] = {
        {"kick { share = 2 }", ":5: kick: share must be between 0 and 1, got 2 (2 %? write 0.02)"},
        {"kick { sahre = 1 }", ":5: kick: unknown field 'sahre'; did you mean 'share'?"},
        {"kick { cohort = \"cra\" }", ":5: kick: unknown cohort 'cra'; did you mean 'car'?"},
        {"kick { region = \"there\" }", ":5: kick: unknown region 'there'; did you mean 'here'?"},
        {"kick { vehicle = 10 }", ":5: kick: there is no vehicle 10; the fleet's last one is 9"},
        {"kick { vehicle = \"car-000003\" }", ":5: kick: vehicle must be a number, got 'car-000003'"},
        {"coverage_hole { }", ":5: coverage_hole: lasts takes a time like seconds(30), got nothing"},
        {"send_command { }", ":5: send_command: command must be a text, got nothing"},
        {"cohort \"late\" { count = 1 }", ":5: cohort belongs into the file, not into a function that runs later"},
        {"expect \"late\" (telemetry():lost()):equals(0)",
         ":5: expect belongs into the file, not into a function that runs later"},
        {"at(\"08:00\", function() end)", ":5: at belongs into the file, not into a function that runs later"},
        {"local x = nothing_like_this",
         ":5: unknown name 'nothing_like_this'; declare it first: local nothing_like_this = ..."},
        {"while true do end",
         ":5: still running after 1,000,000 steps; a scenario describes, it does not wait: give its loops an end"},
        {"local t = {} for i = 1, 1e9 do t[i] = (\"x\"):rep(1000) .. i end",
         ":5: still running after 1,000,000 steps; a scenario describes, it does not wait: give its loops an end"},
        {"error(\"enough\")", ":5: enough"},
    };
    unsigned wrong = 0;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[1024];
        snprintf(text, sizeof(text),
                 "%sat(\"07:00\", function()\n%s\nend)\nat(\"07:01\", function() note \"still here\" end)\n", RIG_HEAD,
                 cases[i].body);
        struct script *script = load(text);
        bool done = run(script, 0);
        if (done || strcmp(error + strlen(rig_path), cases[i].line) != 0) {
            print_error("should: %s\ndoes:   %s\n", cases[i].line, done ? "run" : error);
            wrong++;
        }
        assert_int_equal(world.actions, 0);
        assert_true(run(script, 1)); /* a call that failed leaves a state that works */
        assert_string_equal(world.note[0], "still here");
        script_free(script);
    }
    assert_int_equal(wrong, 0);
}

/* Each call has its own steps; what is left behind is collected. */
static void many_calls(void **context)
{
    struct script *script =
        load(RIG_HEAD "local n = 0\n"
                      "at(\"07:00\", function() for i = 1, 5000 do local t = { i } n = n + t[1] end end)\n");
    for (int i = 0; i < 3000; i++)
        assert_true(run(script, 0));
    script_free(script);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_action),
        cmocka_unit_test(salts_differ),
        cmocka_unit_test(events_have_their_vehicle),
        cmocka_unit_test(what_a_world_cannot_do_is_noted),
        cmocka_unit_test(mistakes_while_it_runs),
        cmocka_unit_test(many_calls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
