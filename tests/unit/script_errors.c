/* A user's mistake gets one line: file, line, what is wrong, what to write instead. Every row is a file and the line it must give. */
#include "script_rig.h"

struct mistake {
    const char *text, *line;
};

/* After RIG_HEAD, so at line 4. */
static const struct mistake after_head[] = {
    /* cohorts */
    {"cohort \"b\" { count = 3, mqtt = { driving = { keepalive = seconds(5) } } }",
     "FILE:4: cohort \"b\": unknown field 'keepalive' in mqtt.driving; did you mean 'keep_alive'?"},
    {"cohort \"b\" {\n count = 3,\n rdaio = \"ideal\" }",
     "FILE:4: cohort \"b\": unknown field 'rdaio'; did you mean 'radio'?"},
    {"cohort \"b\" { 3 }",
     "FILE:4: cohort \"b\": a value without a field's name; the fields are like, count, region, firmware, radio, "
     "identity, mqtt, "
     "telemetry, trips, power_up, backoff, acknowledge_timeout, connect_timeout, execute, on_event, steals, "
     "steals_old, "
     "strangers, parking, path"},
    {"cohort \"b\" { }", "FILE:4: cohort \"b\": count is missing; write count = 1000"},
    {"cohort \"b\" { count = -3 }", "FILE:4: cohort \"b\": count must be between 0 and 100000000, got -3"},
    {"cohort \"b\" { count = \"many\" }", "FILE:4: cohort \"b\": count must be a number, got 'many'"},
    {"cohort \"b\" { count = 0/0 }", "FILE:4: cohort \"b\": count must be a number, got nan"},
    {"cohort \"b c\" { count = 3 }", "FILE:4: cohort: 'b c' may hold letters, digits, '_', '-' and '.' only"},
    {"cohort \"car\" { count = 3 }", "FILE:4: cohort \"car\" is declared twice"},
    {"cohort \"b\"", "FILE:4: cohort \"b\" is not complete; write cohort \"b\" { count = 1000 }"},
    {"cohort { count = 3 }", "FILE:4: cohort must be a text, got a table"},
    {"cohort \"b\" { like = \"cra\", count = 3 }",
     "FILE:4: cohort \"b\": like: unknown cohort 'cra'; did you mean 'car'?"},
    {"cohort \"b\" { count = 3, radio = \"lte-cat5\" }",
     "FILE:4: radio(): unknown value 'lte-cat5'; did you mean 'lte-cat1'?"},
    {"cohort \"b\" { count = 3, radio = 7 }",
     "FILE:4: cohort \"b\": radio takes \"lte-cat4\" or radio(\"lte-cat4\", { ... }), got 7"},
    {"cohort \"b\" { count = 3, radio = radio(\"ideal\", { loss = 5 }) }",
     "FILE:4: radio: loss must be between 0 and 1, got 5 (5 %? write 0.05)"},
    {"cohort \"b\" { count = 3, region = { there = 1 } }",
     "FILE:4: cohort \"b\": region: unknown region 'there'; did you mean 'here'?"},
    {"cohort \"b\" { count = 3, region = { here = 0.5 } }",
     "FILE:4: cohort \"b\": region: the shares must sum to 1, they sum to 0.5"},
    {"cohort \"b\" { count = 3, region = \"here\" }", "FILE:4: cohort \"b\": region takes a table { ... }, got 'here'"},
    {"cohort \"b\" { count = 3, firmware = { a = 0.5, b = 0.6 } }",
     "FILE:4: cohort \"b\": firmware: the shares must sum to 1, they sum to 1.1"},
    {"cohort \"b\" { count = 3, mqtt = { version = 6 } }",
     "FILE:4: cohort \"b\": mqtt.version must be 5 or \"3.1.1\", got 6"},
    {"cohort \"b\" { count = 3, mqtt = { driving = { keep_alive = 30 } } }",
     "FILE:4: cohort \"b\": mqtt.driving.keep_alive: 30 microseconds is surely not meant; write seconds(30)"},
    {"cohort \"b\" { count = 3, mqtt = { driving = { keep_alive = days(1) } } }",
     "FILE:4: cohort \"b\": mqtt.driving.keep_alive: MQTT allows at most 65535 s (18 h 12 min)"},
    {"cohort \"b\" { count = 3, mqtt = { receive_maximum = 1.5 } }",
     "FILE:4: cohort \"b\": mqtt.receive_maximum must be a whole number, got 1.5"},
    {"cohort \"b\" { count = 3, identity = \"none\" }",
     "FILE:4: cohort \"b\": identity takes factory { ... }, got 'none'"},
    {"cohort \"b\" { count = 3, identity = factory { kind = \"passwort\" } }",
     "FILE:4: factory: kind: unknown value 'passwort'; did you mean 'password'?"},
    {"every(minutes(10), function() end)", "FILE:4: every(period) tells how often telemetry is sent; on the timeline "
                                           "write every_so_often(period, function() ... end)"},
    {"cohort \"b\" { count = 3, telemetry = every(seconds(10)) }",
     "FILE:4: cohort \"b\": telemetry: say when: every(...):while_driving(), :while_parked() or :always()"},
    {"cohort \"b\" { count = 3, telemetry = every(seconds(10)):while_drivign() }",
     "FILE:4: telemetry: unknown method 'while_drivign'; did you mean 'while_driving'?"},
    {"cohort \"b\" { count = 3, telemetry = every(10):while_driving() }",
     "FILE:4: every(): 10 microseconds is surely not meant; write seconds(10)"},
    {"local t = every(seconds(10)):qos(3)", "FILE:4: telemetry: qos() must be between 0 and 2, got 3"},
    {"local t = every(seconds(10)):queue(5, \"drop\")",
     "FILE:4: telemetry: queue(): unknown value 'drop'; there are drop-oldest, drop-newest"},
    {"cohort \"b\" { count = 3, trips = \"commute\" }",
     "FILE:4: cohort \"b\": trips takes weekday_commute(), always_driving() or always_parked(), got 'commute'"},
    {"cohort \"b\" { count = 3, power_up = minutes(5) }",
     "FILE:4: cohort \"b\": power_up takes within(minutes(5)), got 300000000.0"},
    {"cohort \"b\" { count = 3, backoff = { base = seconds(9), cap = seconds(3) } }",
     "FILE:4: cohort \"b\": backoff: cap must not be shorter than base"},
    {"cohort \"b\" { count = 3, on_event = 5 }", "FILE:4: cohort \"b\": on_event takes a function(vehicle, event)"},
    {"cohort \"b\" { count = 1e8 }", "FILE:4: more than 100000000 vehicles in all; make the cohorts' counts smaller"},
    /* regions, cloud, distributions */
    {"region \"here\" { }", "FILE:4: region \"here\" is declared twice"},
    {"region \"b\" { latency = \"5\" }", "FILE:4: region \"b\": latency takes a time like seconds(30), got '5'"},
    {"region \"b\" { latncy = seconds(1) }", "FILE:4: region \"b\": unknown field 'latncy'; did you mean 'latency'?"},
    {"cloud { procesors = 2 }", "FILE:4: cloud: unknown field 'procesors'; did you mean 'processors'?"},
    {"cloud { processors = 13 }", "FILE:4: cloud: processors must be between 1 and 12, got 13"},
    {"cloud { activation = lognormal(1.5, 0.3) }",
     "FILE:4: cloud: activation: lognormal(1.5, 0.3) is in microseconds; write lognormal(seconds(1), 0.3)"},
    {"cloud { activation = { } }",
     "FILE:4: cloud: activation takes a number or a distribution like lognormal(300, 0.4), got a table"},
    {"local d = uniform(5, 3)", "FILE:4: uniform(): 5 to 3 ends before it begins; write uniform(3, 5)"},
    {"local t = every(milliseconds(10))", "FILE:4: every() must be at least 100 ms, got 10 ms"},
    {"cohort \"b\" { count = 1, execute = -seconds(1) }",
     "FILE:4: cohort \"b\": execute must be at least 0, got -1000 ms"},
    {"cohort \"b\" { count = 1, execute = 8 * days(300) }",
     "FILE:4: cohort \"b\": execute must be at most 366 d, got 2400 d"},
    {"local d = seconds()", "FILE:4: seconds() must be a number, got nothing"},
    {"local d = days(400)", "FILE:4: days() must be between 0 and 366, got 400"},
    /* parameters and faults */
    {"local p = param(\"a\", { })",
     "FILE:4: param \"a\": its standard value must be a number, true, false or a text, got a table"},
    {"local p = param(\"a\", 1) local q = param(\"a\", 2)", "FILE:4: parameter 'a' is declared twice"},
    {"local p = param(\"fleet\", 0.5)", "FILE:4: fleet must be a whole number between 1 and 100000000, got 0.5"},
    {"local f = fault(\"f\", { off = 0, on = 1 })", "FILE:4: fault \"f\": breaks takes a table { ... }, got nothing"},
    {"local f = fault(\"f\", { off = 0, on = 1, breaks = { } })",
     "FILE:4: fault \"f\": breaks names one to eight expectations that the fault must break"},
    {"local f = fault(\"f\", { off = 0, on = 1, breaks = { \"lots\" } })\nexpect \"lost\" "
     "(telemetry():lost()):equals(0)",
     "FILE:4: fault.f: breaks names 'lots', which is no expectation; did you mean 'lost'?"},
    /* apps */
    {"app \"a\" { users = 3, command = \"x\" }",
     "FILE:4: app \"a\": rate takes per_day(1.5), per_hour(...) or per_minute(...), got nothing"},
    {"app \"a\" { users = 3, command = \"x\", rate = per_day(1), loss = 2 }",
     "FILE:4: app \"a\": loss must be between 0 and 1, got 2 (2 %? write 0.02)"},
    {"app \"a\" { users = 3, command = \"x\", rate = per_day(1), from = \"07:00\", to = \"06:30\" }",
     "FILE:4: app \"a\": to must be after from"},
    {"app \"a\" { users = 3, command = \"x\", rate = per_day(1), cohort = \"cat\" }",
     "FILE:4: app \"a\": unknown cohort 'cat'; did you mean 'car'?"},
    /* time */
    {"phase(\"p\", \"06:30\", \"25:00\")",
     "FILE:4: phase \"p\": to: '25:00' is no time of day; write \"07:40\", \"07:40:30\" or \"1 d 07:40\""},
    {"phase(\"p\", \"07:30\", \"07:00\")", "FILE:4: phase \"p\": ends before it begins"},
    {"phase(\"p\", \"11:00\", \"12:00\")",
     "FILE:4: phase \"p\" comes 300 minutes after the start, when the run has ended (duration is 240 minutes)"},
    {"at(\"05:00\", function() end)",
     "FILE:4: at() comes 1380 minutes after the start, when the run has ended (duration is 240 minutes)"},
    {"at(\"07:40\")", "FILE:4: at takes a function: at(\"07:40\", function() ... end)"},
    {"every_so_often(minutes(5), function() end, { from = \"08:00\", till = \"07:00\" })",
     "FILE:4: every_so_often: till must be after from"},
    {"kick { share = 0.5 }", "FILE:4: kick belongs into a function: at(\"07:40\", function() kick { ... } end)"},
    {"note \"x\"", "FILE:4: note belongs into a function: at(\"07:40\", function() note \"...\" end)"},
    /* expectations */
    {"expect \"a\" (telemetry():lost())",
     "FILE:4: expect \"a\" has no bound; end it with :below(...), :at_least(...) or :equals(...)"},
    {"expect \"a\"", "FILE:4: expect \"a\" is not complete; write expect \"a\" (telemetry():lost()):equals(0)"},
    {"expect \"a\" (5):equals(0)", "FILE:4: expect \"a\" takes what is measured, e.g. (telemetry():lost()), got 5"},
    {"expect \"a\" (telemetry():lsot()):equals(0)", "FILE:4: telemetry() has no 'lsot'; did you mean 'lost'?"},
    {"expect \"a\" (telemetry():lost()):eqals(0)", "FILE:4: expect \"a\" has no 'eqals'; did you mean 'equals'?"},
    {"expect \"a\" (telemetry():lost():cohort \"cra\"):equals(0)", "FILE:4: unknown cohort 'cra'; did you mean 'car'?"},
    {"expect \"a\" (telemetry():lost():region \"hree\"):equals(0)",
     "FILE:4: unknown region 'hree'; did you mean 'here'?"},
    {"expect \"a\" (commands():path \"conected\"):below(seconds(1))",
     "FILE:4: path: unknown value 'conected'; did you mean 'connected'?"},
    {"expect \"a\" (broker():connects():phase \"peak\"):equals(0)",
     "FILE:4: unknown phase 'peak'; none is declared before this line"},
    {"expect \"a\" (command \"open\":p99()):below(seconds(1))", "FILE:4: command 'open': no app sends it"},
    {"app \"a\" { users = 1, command = \"open\", rate = per_day(1) } app \"b\" { users = 1, command = \"shut\", rate = "
     "per_day(1) }\n"
     "expect \"a\" (command \"open\":p99()):below(seconds(1))",
     "FILE:5: commands are measured together, and the apps send open, shut; write commands()"},
    {"expect \"a\" (telemetry():lost()):equals(\"0\")", "FILE:4: expect \"a\": equals() must be a number, got '0'"},
    {"expect \"a\" (telemetry():p99()):below(seconds(1)):confidence(99)",
     "FILE:4: confidence() must be between 0.5 and 0.9999, got 99"},
    {"expect \"a\" (telemetry():p99()):below(seconds(1)):needs \"luck\"",
     "FILE:4: needs: unknown value 'luck'; there are registration, presence, lifecycle, door"},
    {"expect \"a\" (telemetry():p99()):below(seconds(1)):always()",
     "FILE:4: expect \"a\": eventually() and always() look at a series over time: broker():connected() and the like"},
    {"expect \"a\" (telemetry():lost()):equals(0)\nexpect \"a\" (telemetry():lost()):equals(0)",
     "FILE:5: expect \"a\" is declared twice"},
    {"expect \"a\" (telemetry():share()):below(1)",
     "FILE:4: expect \"a\" (share of telemetry end to end): a metric has no last value and no share"},
    {"expect \"a\" (broker():connected():total()):below(1)",
     "FILE:4: expect \"a\" (vehicles connected): a gauge has no total; use its maximum, minimum, mean or last value"},
    {"expect \"a\" (broker():connects()):below(1):from(\"08:00\"):by(\"07:00\")",
     "FILE:4: expect \"a\" (connects): the window ends before it begins"},
    {"expect \"a\" (commands():lost():cohort \"car\"):equals(0)",
     "FILE:4: expect \"a\" (commands lost, cohort car): outcomes of commands are not kept by cohort, region or path; "
     "use the counters or the metric"},
    /* Lua */
    {"vehicles = 5\nlocal x = vehicels * 2", "FILE:5: unknown name 'vehicels'; did you mean 'vehicles'?"},
    {"local x = xyzzy", "FILE:4: unknown name 'xyzzy'; declare it first: local xyzzy = ..."},
    {"cohort = 5", "FILE:4: 'cohort' is a word of the language; give your own value another name"},
    {"local x = = 5", "FILE:4: unexpected symbol near '='"},
    {"local x = \"abc", "FILE:4: unfinished string near '\"abc'"},
    {"cohort \"b\" {\n count = 3,\n radio = \"ideal\"\n trips = always_driving() }",
     "FILE:7: '}' expected (to close '{' at line 4) near 'trips'"},
    {"local x = nil + 1", "FILE:4: attempt to perform arithmetic on a nil value"},
    {"error(\"the fleet\\nis odd\")", "FILE:4: the fleet is odd"},
    {"error({})", "FILE:4: error() without a text; write error(\"what is wrong\")"},
    {"assert(1 > 2, \"too few\")", "FILE:4: too few"},
    {"math.floor(\"x\")", "FILE:4: bad argument #1 to 'floor' (number expected, got string)"},
};

static const struct mistake whole_files[] = {
    {"", "FILE:1: no scenario \"name\" { ... } in this file"},
    {"scenario \"a\" { duration = hours(1) }", "FILE:1: no cohort \"name\" { ... } in this file"},
    {"scenario \"a\"", "FILE:1: scenario \"a\" is not complete; write scenario \"a\" { duration = hours(24) }"},
    {"scenario \"a\" { }", "FILE:1: scenario \"a\": duration is missing; write duration = hours(24)"},
    {"\n\nscenario \"a\" { duration = 60 }",
     "FILE:3: scenario \"a\": duration: 60 microseconds is surely not meant; write seconds(60)"},
    {"scenario \"a\" { duration = hours(1), start = \"2026-02-30 00:00\" }",
     "FILE:1: scenario \"a\": start: '2026-02-30 00:00' is no date"},
    {"scenario \"a\" { duration = hours(1), start = \"today\" }",
     "FILE:1: scenario \"a\": start takes \"2026-03-04 00:00\", got 'today'"},
    {"scenario \"a\" { duration = hours(1), warm_up = hours(1) }",
     "FILE:1: scenario \"a\": warm_up must be shorter than duration"},
    {"scenario \"a\" { duration = hours(1), seed = -1 }",
     "FILE:1: scenario \"a\": seed must be between 0 and 9007199254740992, got -1"},
    {"scenario \"a\" { duration = hours(1) }\nscenario \"b\" { duration = hours(1) }",
     "FILE:2: scenario is declared twice"},
    {"scenario \"a\" { duration = hours(1) }\ncohort \"c\" { count = 1 }",
     "FILE:2: cohort \"c\": declare a region first: region \"here\" { latency = milliseconds(10) }"},
    {"scenario \"a\" { duration = hours(1) }\nregion \"r\" { }\nregion \"s\" { }\ncohort \"c\" { count = 1 }",
     "FILE:4: cohort \"c\": region is missing; write region = { r = 1 }"},
    {"scenario \"a\" { duration = hours(1) }\nregion \"r\" { }\ncohort \"c\" { count = 0 }",
     "FILE:3: the fleet has no vehicles; give a cohort a count"},
    {"at(\"07:40\", function() end)", "FILE:1: at(): scenario \"name\" { ... } has to come first"},
};

static unsigned expect_line(const struct mistake *mistake, const char *text)
{
    struct script *script = rig_load_text(text);
    bool right = !script && strcmp(rig_error, mistake->line) == 0;
    if (!right)
        print_error("should: %s\ndoes:   %s\n", mistake->line, script ? "load" : rig_error);
    script_free(script);
    return !right;
}

static void every_mistake_gets_its_line(void **context)
{
    unsigned wrong = 0;
    for (size_t i = 0; i < sizeof(after_head) / sizeof(after_head[0]); i++) {
        char text[2048];
        snprintf(text, sizeof(text), "%s%s\n", RIG_HEAD, after_head[i].text);
        wrong += expect_line(&after_head[i], text);
    }
    for (size_t i = 0; i < sizeof(whole_files) / sizeof(whole_files[0]); i++)
        wrong += expect_line(&whole_files[i], whole_files[i].text);
    assert_int_equal(wrong, 0);
}

/* A table's own order changes from one start to the next; what is complained about must not. */
static void the_first_unknown_field_is_named(void **context)
{
    for (int i = 0; i < 20; i++) {
        struct script *script =
            rig_load_text(RIG_HEAD "cohort \"b\" { count = 1, zulu = 1, yankee = 2, xray = 3, whiskey = 4 }");
        assert_null(script);
        assert_non_null(strstr(rig_error, "unknown field 'whiskey'"));
    }
}

struct override_case {
    const char *name, *value, *line;
};

static void overrides_are_checked(void **context)
{
    static const char text[] = "local n = param(\"fleet\", 10)\nlocal on = param(\"bright\", true)\n" RIG_HEAD
                               "local f = fault(\"slow\", { off = 0, on = 1, breaks = { \"lost\" } })\n"
                               "expect \"lost\" (telemetry():lost()):equals(0)\n";
    static const struct override_case cases[] = {
        {"flet", "5", "FILE: --set flet: the scenario has no such parameter; did you mean 'fleet'?"},
        {"slow", "on", "FILE: --set slow: the scenario has no such parameter; did you mean 'fault.slow'?"},
        {"fleet", "many", "FILE:1: --set fleet=many: takes a number"},
        {"fleet", "", "FILE:1: --set fleet=: takes a number"},
        {"fleet", "nan", "FILE:1: --set fleet=nan: takes a number"},
        {"fleet", "-5", "FILE:1: fleet must be a whole number between 1 and 100000000, got -5"},
        {"bright", "maybe", "FILE:2: --set bright=maybe: takes true or false"},
        {"fault.slow", "yes", "FILE:6: --set fault.slow=yes: takes a number, on or off"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct script_override override = {cases[i].name, cases[i].value};
        struct script_options options = {.overrides = &override, .override_count = 1};
        assert_null(rig_load(text, strlen(text), &options));
        assert_string_equal(rig_error, cases[i].line);
    }
}

static void files_that_are_none(void **context)
{
    char error[1024], *large = calloc(1, 1024 * 1024 + 2);
    assert_null(script_load("/tmp/convoy-no-such-file.lua", NULL, error, sizeof(error)));
    assert_string_equal(error, "/tmp/convoy-no-such-file.lua: cannot be read: No such file or directory");
    assert_null(script_load("/tmp", NULL, error, sizeof(error)));
    assert_string_equal(error, "/tmp: is no file; give the path of a scenario, like scenarios/smoke.lua");
    assert_null(rig_load("\033Lua", 4, NULL));
    assert_string_equal(rig_error, "FILE: is compiled Lua; a scenario is text");
    memset(large, ' ', 1024 * 1024 + 1);
    assert_null(rig_load(large, 1024 * 1024 + 1, NULL));
    assert_string_equal(rig_error, "FILE: is larger than 1 MiB; a scenario is a page or two");
    assert_null(rig_load("scenario\0", 9, NULL));
    free(large);
    struct script *script = rig_load_text("\xEF\xBB\xBF" RIG_HEAD); /* a byte order mark is none of its business */
    assert_non_null(script);
    script_free(script);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_mistake_gets_its_line),
        cmocka_unit_test(the_first_unknown_field_is_named),
        cmocka_unit_test(overrides_are_checked),
        cmocka_unit_test(files_that_are_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
