/* What a scenario cannot do: reach outside, draw chances, see addresses, run for ever, take all memory. Each attempt ends with one line. */
#include "script_rig.h"

struct attempt {
    const char *text, *line;
};

static void check(const struct attempt *attempts, size_t count, const struct script_options *options)
{
    unsigned wrong = 0;
    for (size_t i = 0; i < count; i++) {
        char text[2048];
        int length = snprintf(text, sizeof(text), "%s%s\n", RIG_HEAD, attempts[i].text);
        struct script *script = rig_load(text, (size_t)length, options);
        if (script || strcmp(rig_error, attempts[i].line) != 0) {
            print_error("should: %s\ndoes:   %s\n", attempts[i].line, script ? "load" : rig_error);
            wrong++;
        }
        script_free(script);
    }
    assert_int_equal(wrong, 0);
}

static void nothing_reaches_outside(void **context)
{
    static const char *const names[] = {
        "io",           "os",         "require",        "dofile",    "loadfile", "package",
        "load",         "loadstring", "print",          "pcall",     "xpcall",   "next",
        "setmetatable", "rawget",     "rawset",         "rawequal",  "rawlen",   "getmetatable",
        "coroutine",    "debug",      "collectgarbage", "utf8",      "_G",       "_VERSION",
        "host",         "env",        "plan",           "overrides", "arg",      "warn"};
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        char text[512];
        snprintf(text, sizeof(text), RIG_HEAD "local x = %s", names[i]);
        assert_null(rig_load_text(text));
        if (!strstr(rig_error, "not available in scenarios") && !strstr(rig_error, "unknown name"))
            fail_msg("%s: %s", names[i], rig_error);
    }
}

/* Every function that is there, by name: nobody adds one unseen. */
static void the_library_is_this_and_no_more(void **context)
{
    struct script *script =
        rig_load_text(RIG_HEAD "local all = {}\n"
                               "for name, t in pairs({ math = math, string = string, table = table }) do\n"
                               "  for key in pairs(t) do all[#all + 1] = name .. '.' .. key end\n"
                               "end\n"
                               "error(table.concat(all, ' '))");
    assert_null(script);
    assert_string_equal(rig_error, "FILE:8: math.abs math.acos math.asin math.atan math.ceil math.cos math.deg "
                                   "math.exp math.floor math.fmod math.huge "
                                   "math.log math.max math.maxinteger math.min math.mininteger math.modf math.pi "
                                   "math.rad math.random math.randomseed math.sin "
                                   "math.sqrt math.tan math.tointeger math.type math.ult string.byte string.char "
                                   "string.format string.len string.lower "
                                   "string.rep string.reverse string.sub string.upper table.concat table.insert "
                                   "table.remove table.sort table.unpack");
}

static void what_is_there_has_no_back_door(void **context)
{
    static const struct attempt attempts[] = {
        {"local x = (\"abc\"):find(\"b\")", "FILE:4: attempt to call a nil value (method 'find')"},
        {"local x = (\"abc\"):gsub(\"b\", \"c\")", "FILE:4: attempt to call a nil value (method 'gsub')"},
        {"local x = (\"abc\"):dump()", "FILE:4: attempt to call a nil value (method 'dump')"},
        {"local x = string.pack", NULL},
        {"local x = math.random()", "FILE:4: math.random is not available in scenarios: every run of a seed has to be "
                                    "the same; use share = 0.05 in an "
                                    "action, or a distribution like uniform(1, 5)"},
        {"math.randomseed(1)", "FILE:4: math.random is not available in scenarios: every run of a seed has to be the "
                               "same; use share = 0.05 in an "
                               "action, or a distribution like uniform(1, 5)"},
        {"error(string.format(\"%s %s\", {}, error))", "FILE:4: table function"},
        {"error(tostring({}) .. tostring(error) .. tostring(nil) .. tostring(1.5))", "FILE:4: tablefunctionnil1.5"},
        {"local x = string.format(\"%p\", {})", "FILE:4: '%p' is not available in scenarios"},
        {"local x = string.format(\"%%%-10p\", {})", "FILE:4: '%p' is not available in scenarios"},
        {"local x = string.format(\"%d\", \"x\")",
         "FILE:4: bad argument #2 to 'string.format' (number expected, got string)"},
        {"string.format = nil table.concat = nil math.floor = nil string.sub = nil\ncohort \"b\" { counts = 1 }",
         "FILE:5: cohort \"b\": unknown field 'counts'; did you mean 'count'?"},
        {"_ENV = { }\ncohort \"b\" { count = 1 }", "FILE:5: attempt to call a nil value (global 'cohort')"},
        {"local s = telemetry():lost() s.what = \"bogus\" expect \"a\" (s):equals(0)",
         "FILE:4: the 'what' of this declaration was changed afterwards; make a new one instead"},
        {"local s = telemetry():lost() s.from = {} expect \"a\" (s):equals(0)",
         "FILE:4: the 'from' of this declaration was changed afterwards; make a new one instead"},
        {"expect \"a\" ({ mark = \"source\", from = 0, by = 0 }):equals(0)",
         "FILE:4: the 'kind' of this declaration was changed afterwards; make a new one instead"},
        {"local e = expect \"a\" (telemetry():lost()):equals(0) e.bound = {}",
         "FILE:4: the 'bound' of this declaration was changed afterwards; make a new one instead"},
        {"local e = expect \"a\" (telemetry():lost()):equals(0) e.id = (\"x\"):rep(100)",
         "FILE:4: the 'id' of this declaration was changed afterwards; make a new one instead"},
        {"cohort \"b\" { count = 1, trips = { mark = \"trips\", mode = \"fly\" } }",
         "FILE:4: the 'mode' of this declaration was changed afterwards; make a new one instead"},
        {"cohort \"b\" { count = 1, radio = { mark = \"radio\", name = \"ideal\", loss = 0/0 } }",
         "FILE:4: the 'loss' of this declaration was changed afterwards; make a new one instead"},
        {"cohort \"b\" { count = 1, power_up = { mark = \"within\", time = -5 } }",
         "FILE:4: the 'power_up' of this declaration was changed afterwards; make a new one instead"},
        {"local t = every(seconds(10)):while_driving() t.capacity = 1e9\ncohort \"b\" { count = 1, telemetry = t }",
         "FILE:5: the 'capacity' of this declaration was changed afterwards; make a new one instead"},
        {"cloud { activation = 5 * 1e6 } local d = constant(5) d.mark.x = 1", NULL},
    };
    for (size_t i = 0; i < sizeof(attempts) / sizeof(attempts[0]); i++) {
        if (attempts[i].line) {
            check(&attempts[i], 1, NULL);
        } else { /* nothing comes of it */
            char text[1024];
            snprintf(text, sizeof(text), "%s%s\n", RIG_HEAD, attempts[i].text);
            struct script *script = rig_load_text(text);
            assert_non_null(script);
            script_free(script);
        }
    }
}

static void loops_end(void **context)
{
    static const struct attempt attempts[] = {
        {"while true do end",
         "FILE:4: still running after 1,000,000 steps; a scenario describes, it does not wait: give its loops an end"},
        {"local function f()\n return f() end\nf()",
         "FILE:5: still running after 1,000,000 steps; a scenario describes, it does not wait: give its loops an end"},
        {"local t = {} for i = 1, 20000 do t[i] = i end\nwhile true do table.insert(t, 1, 0) table.remove(t, 1) end",
         "FILE:5: still running after 1,000,000 steps; a scenario describes, it does not wait: give its loops an end"},
        {"local t = {} for i = 1, 20000 do t[i] = -i end\nwhile true do table.sort(t) end",
         "FILE:5: still running after 1,000,000 steps; a scenario describes, it does not wait: give its loops an end"},
        {"while true do local s = (\"x\"):rep(60000) end",
         "FILE:4: still running after 1,000,000 steps; a scenario describes, it does not wait: give its loops an end"},
        {"local s = (\"x\"):rep(60000) while true do local t = s .. \"y\" end",
         "FILE:4: still running after 1,000,000 steps; a scenario describes, it does not wait: give its loops an end"},
        {"local t = {} for i = 1, 20000 do t[i] = i end while true do for k in pairs(t) do break end end",
         "FILE:4: still running after 1,000,000 steps; a scenario describes, it does not wait: give its loops an end"},
    };
    struct script_options options = {.step_limit = 1000000};
    check(attempts, sizeof(attempts) / sizeof(attempts[0]), &options);
}

static void memory_ends(void **context)
{
    static const struct attempt attempts[] = {
        {"local t = {}\nwhile true do t[#t + 1] = {} end",
         "FILE:5: needs more than 4 MiB of memory; a scenario has no use for so large a table"},
        {"local t = {}\nfor i = 1, 1e7 do t[i] = i end",
         "FILE:5: needs more than 4 MiB of memory; a scenario has no use for so large a table"},
        {"local s = \"x\"\nwhile true do s = s .. s end",
         "FILE:5: a text longer than 1 MiB; a scenario has no use for one"},
        {"local t = {} for i = 1, 40 do t[i] = (\"x\"):rep(60000) end\nlocal s = table.concat(t)",
         "FILE:5: needs more than 4 MiB of memory; a scenario has no use for so large a table"},
        {"local s = (\"x\"):rep(1e9)", "FILE:4: string.rep makes texts of at most 65536 characters here"},
        {"local s = (\"x\"):rep(2, (\"y\"):rep(60000))",
         "FILE:4: string.rep makes texts of at most 65536 characters here"},
        {"local function f(n)\n return 1 + f(n + 1) end\nf(1)",
         "FILE:5: needs more than 4 MiB of memory; a scenario has no use for so large a table"},
    };
    struct script_options options = {.memory_limit = 4 << 20};
    check(attempts, sizeof(attempts) / sizeof(attempts[0]), &options);
}

static void depth_ends(void **context)
{
    char deep[4096];
    static const struct attempt recursion = {"local function f(n)\n return 1 + f(n + 1) end\nf(1)",
                                             "FILE:5: functions call each other too deeply"};
    struct script_options options = {.memory_limit = UINT64_C(256) << 20};
    check(&recursion, 1, &options);
    static const struct attempt by_sort = {"local function f()\n table.sort({ 1, 2, 3 }, function() f() end) end\nf()",
                                           "FILE:5: functions call each other too deeply"};
    check(&by_sort, 1, NULL);
    size_t length = (size_t)snprintf(deep, sizeof(deep), RIG_HEAD "local x = ");
    for (int i = 0; i < 1000; i++)
        deep[length++] = '(';
    assert_null(rig_load(deep, length, NULL));
    assert_string_equal(rig_error, "FILE: calls or brackets are nested too deeply");
}

/* At whatever byte memory runs out, loading ends with a line and frees all it took (the sanitizer looks). */
static void memory_may_end_anywhere(void **context)
{
    static const char text[] = RIG_HEAD "expect \"a\" (telemetry():lost()):equals(0)\n";
    uint32_t failed = 0, loaded = 0;
    for (uint64_t limit = 512; limit < 400000; limit += limit / 40 + 16) {
        struct script_options options = {.memory_limit = limit};
        struct script *script = rig_load(text, sizeof(text) - 1, &options);
        if (script)
            loaded++;
        else
            failed++;
        if (!script && !strstr(rig_error, "memory"))
            fail_msg("%llu bytes: %s", (unsigned long long)limit, rig_error);
        script_free(script);
    }
    assert_true(failed > 20);
    assert_true(loaded > 0);
}

/* pairs() goes in the order of the keys, so that a run depends on nothing but the file. */
static void tables_are_walked_in_order(void **context)
{
    static const struct attempt attempts[] = {
        {"local o = \"\" for k in pairs({ zulu = 1, alpha = 2, mike = 3, [3] = 1, [-1] = 1, [2.5] = 1 }) do o = o .. k "
         ".. \" \" end error(o)",
         "FILE:4: -1 2.5 3 alpha mike zulu "},
        {"local o = \"\" for k, v in pairs({ \"a\", \"b\", \"c\" }) do o = o .. k .. v end error(o)", "FILE:4: 1a2b3c"},
        {"local t, o = { a = 1, b = 2, c = 3 }, \"\" for k in pairs(t) do t.b = nil o = o .. k end error(o)",
         "FILE:4: ac"},
        {"for k in pairs({ [{}] = 1 }) do end",
         "FILE:4: pairs() goes through keys that are texts or numbers, not a table"},
        {"for k in pairs(nil) do end", "FILE:4: bad argument #1 to 'pairs' (table expected, got nil)"},
    };
    check(attempts, sizeof(attempts) / sizeof(attempts[0]), NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_reaches_outside),
        cmocka_unit_test(the_library_is_this_and_no_more),
        cmocka_unit_test(what_is_there_has_no_back_door),
        cmocka_unit_test(loops_end),
        cmocka_unit_test(memory_ends),
        cmocka_unit_test(depth_ends),
        cmocka_unit_test(memory_may_end_anywhere),
        cmocka_unit_test(tables_are_walked_in_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
