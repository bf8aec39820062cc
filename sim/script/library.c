/* library.c: what of Lua a scenario may use, and what it is told when it asks for more.
 *
 * Left out is what reaches outside, what draws chances, what shows addresses, and what can run long in one step (patterns).
 * pairs() goes in the order of the keys: a table's own order changes from one start of the program to the next, and with it would
 * change the run. */
#include "nearest.h"
#include "sandbox.h"

#include <lualib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ITEMS_PER_STEP 8 /* entries of a table that are moved or compared in the time of an instruction */

/* ---- names that are not there ---------------------------------------------------------------------------------------- */

static const struct {
    const char *name, *instead;
} absent[] = {
    {"io", "a scenario reads and writes no files; values from outside come in with param() and --set"},
    {"os", "a scenario sees no clock and starts no programs; times are written as \"07:40\" or minutes(5)"},
    {"require", "a scenario is one file"},
    {"dofile", "a scenario is one file"},
    {"loadfile", "a scenario is one file"},
    {"package", "a scenario is one file"},
    {"load", "a scenario is one file"},
    {"loadstring", "a scenario is one file"},
    {"print", "use note \"...\" in a function: it marks the report's timeline"},
    {"pcall", "errors end the scenario with one line"},
    {"xpcall", "errors end the scenario with one line"},
    {"next", "use pairs(): it goes in the order of the keys"},
    {"setmetatable", "tables are plain here"},
    {"getmetatable", "tables are plain here"},
    {"rawget", "tables are plain here"},
    {"rawset", "tables are plain here"},
    {"rawequal", "tables are plain here"},
    {"rawlen", "tables are plain here"},
    {"coroutine", "use at(...) and every_so_often(...) for what happens later"},
    {"debug", "the language has no such window"},
    {"collectgarbage", "memory is looked after"},
    {"utf8", "texts are bytes"},
    {"_G", "global names need no table"},
};

static const char *absent_hint(const char *name)
{
    for (size_t i = 0; i < sizeof(absent) / sizeof(absent[0]); i++)
        if (strcmp(absent[i].name, name) == 0)
            return absent[i].instead;
    return NULL;
}

struct best {
    char word[64];
    uint32_t distance;
};

/* Ties go to the word that comes first, whatever order the table is walked in. */
static void offer(struct best *best, const char *wanted, const char *word)
{
    uint32_t distance = nearest_distance(wanted, word), tolerance = nearest_tolerance(wanted);
    const char *last = strrchr(word, '.');
    if (last && strcmp(last + 1, wanted) == 0)
        distance = 1; /* "drop_commands" for "fault.drop_commands" */
    if (distance > tolerance || strlen(word) >= sizeof(best->word))
        return;
    if (best->word[0] == 0 || distance < best->distance ||
        (distance == best->distance && strcmp(word, best->word) < 0)) {
        strcpy(best->word, word);
        best->distance = distance;
    }
}

static void offer_keys(lua_State *lua, int table, struct best *best, const char *wanted)
{
    lua_pushnil(lua);
    while (lua_next(lua, table)) {
        if (lua_type(lua, -2) == LUA_TSTRING)
            offer(best, wanted, lua_tostring(lua, -2));
        lua_pop(lua, 1);
    }
}

int sandbox_nearest(lua_State *lua)
{
    struct best best = {0};
    const char *wanted = luaL_checkstring(lua, 1);
    lua_Unsigned count = lua_rawlen(lua, 2);
    for (lua_Unsigned i = 1; i <= count; i++) {
        if (lua_rawgeti(lua, 2, (lua_Integer)i) == LUA_TSTRING)
            offer(&best, wanted, lua_tostring(lua, -1));
        lua_pop(lua, 1);
    }
    if (best.word[0])
        lua_pushstring(lua, best.word);
    else
        lua_pushnil(lua);
    return 1;
}

/* __index of the scenario's globals; upvalue 1: words. */
static int read_global(lua_State *lua)
{
    lua_settop(lua, 2);
    lua_pushvalue(lua, 2);
    if (lua_rawget(lua, lua_upvalueindex(1)) != LUA_TNIL)
        return 1;
    if (lua_type(lua, 2) != LUA_TSTRING)
        sandbox_fail(lua, sandbox_here(lua), "globals have names");
    const char *name = lua_tostring(lua, 2), *hint = absent_hint(name);
    if (hint)
        sandbox_fail(lua, sandbox_here(lua), "'%.60s' is not available in scenarios: %s", name, hint);
    struct best best = {0};
    offer_keys(lua, 1, &best, name);
    lua_pushvalue(lua, lua_upvalueindex(1));
    offer_keys(lua, lua_gettop(lua), &best, name);
    if (best.word[0])
        sandbox_fail(lua, sandbox_here(lua), "unknown name '%.60s'; did you mean '%s'?", name, best.word);
    sandbox_fail(lua, sandbox_here(lua), "unknown name '%.60s'; declare it first: local %.60s = ...", name, name);
}

/* __newindex of the scenario's globals; upvalue 1: words. */
static int write_global(lua_State *lua)
{
    lua_settop(lua, 3);
    lua_pushvalue(lua, 2);
    if (lua_rawget(lua, lua_upvalueindex(1)) != LUA_TNIL && lua_type(lua, 2) == LUA_TSTRING)
        sandbox_fail(lua, sandbox_here(lua), "'%.60s' is a word of the language; give your own value another name",
                     lua_tostring(lua, 2));
    lua_pop(lua, 1);
    lua_rawset(lua, 1);
    return 0;
}

void sandbox_push_scenario_globals(lua_State *lua, int words)
{
    words = lua_absindex(lua, words);
    lua_newtable(lua);
    lua_newtable(lua);
    lua_pushvalue(lua, words);
    lua_pushcclosure(lua, read_global, 1);
    lua_setfield(lua, -2, "__index");
    lua_pushvalue(lua, words);
    lua_pushcclosure(lua, write_global, 1);
    lua_setfield(lua, -2, "__newindex");
    lua_setmetatable(lua, -2);
}

/* ---- functions that behave otherwise than Lua's ------------------------------------------------------------------------ */

/* Steps for work that one instruction does on many entries. */
static void charge(lua_State *lua, uint64_t items)
{
    sandbox_of(lua)->steps += items / ITEMS_PER_STEP;
}

static int compare_keys(lua_State *lua)
{
    int a = lua_type(lua, 1), b = lua_type(lua, 2);
    if (a != b)
        lua_pushboolean(lua, a == LUA_TNUMBER || (b != LUA_TNUMBER && a == LUA_TSTRING));
    else
        lua_pushboolean(lua, lua_compare(lua, 1, 2, LUA_OPLT));
    return 1;
}

static int step_pairs(lua_State *lua)
{
    lua_Integer at = lua_tointeger(lua, lua_upvalueindex(2)) + 1;
    lua_pushinteger(lua, at);
    lua_replace(lua, lua_upvalueindex(2));
    for (; lua_rawgeti(lua, lua_upvalueindex(1), at) != LUA_TNIL; at++) {
        lua_pushvalue(lua, -1);
        if (lua_rawget(lua, lua_upvalueindex(3)) != LUA_TNIL) {
            lua_pushinteger(lua, at);
            lua_replace(lua, lua_upvalueindex(2));
            return 2;
        }
        lua_pop(lua, 2); /* removed since */
    }
    return 1;
}

static int sorted_pairs(lua_State *lua)
{
    luaL_checktype(lua, 1, LUA_TTABLE);
    lua_settop(lua, 1);
    lua_newtable(lua);
    lua_Integer count = 0;
    lua_pushnil(lua);
    while (lua_next(lua, 1)) {
        int type = lua_type(lua, -2);
        if (type != LUA_TNUMBER && type != LUA_TSTRING)
            return luaL_error(lua, "pairs() goes through keys that are texts or numbers, not a %s",
                              luaL_typename(lua, -2));
        lua_pop(lua, 1);
        lua_pushvalue(lua, -1);
        lua_rawseti(lua, 2, ++count);
    }
    charge(lua, (uint64_t)count);
    lua_pushvalue(lua, lua_upvalueindex(1)); /* table.sort */
    lua_pushvalue(lua, 2);
    lua_pushcfunction(lua, compare_keys);
    lua_call(lua, 2, 0);
    lua_pushvalue(lua, 2);
    lua_pushinteger(lua, 0);
    lua_pushvalue(lua, 1);
    lua_pushcclosure(lua, step_pairs, 3);
    return 1;
}

/* A table's or function's text would be its address. */
static void plain_text(lua_State *lua, int index)
{
    switch (lua_type(lua, index)) {
    case LUA_TNIL:
    case LUA_TBOOLEAN:
    case LUA_TNUMBER:
    case LUA_TSTRING: luaL_tolstring(lua, index, NULL); break;
    default: lua_pushstring(lua, luaL_typename(lua, index));
    }
}

static int plain_tostring(lua_State *lua)
{
    luaL_checkany(lua, 1);
    plain_text(lua, 1);
    return 1;
}

static int plain_format(lua_State *lua)
{
    const char *format = luaL_checkstring(lua, 1);
    for (const char *at = strchr(format, '%'); at; at = strchr(at, '%')) {
        at++;
        at += strspn(at, "-+ #0123456789.");
        if (*at == 'p')
            return luaL_error(lua, "'%%p' is not available in scenarios");
        at += *at != 0;
    }
    for (int i = 2; i <= lua_gettop(lua); i++) {
        if (lua_type(lua, i) == LUA_TTABLE || lua_type(lua, i) == LUA_TFUNCTION) {
            plain_text(lua, i);
            lua_replace(lua, i);
        }
    }
    lua_pushvalue(lua, lua_upvalueindex(1));
    lua_insert(lua, 1);
    lua_call(lua, lua_gettop(lua) - 1, 1);
    return 1;
}

/* table functions that move or compare many entries: upvalue 1 is Lua's own, 2 how many times the length it costs, 3 with how many
 * arguments (table.insert(t, v) moves nothing) */
static int charged(lua_State *lua)
{
    if (lua_type(lua, 1) == LUA_TTABLE && lua_gettop(lua) >= lua_tointeger(lua, lua_upvalueindex(3)))
        charge(lua, lua_rawlen(lua, 1) * (uint64_t)lua_tointeger(lua, lua_upvalueindex(2)));
    lua_pushvalue(lua, lua_upvalueindex(1));
    lua_insert(lua, 1);
    lua_call(lua, lua_gettop(lua) - 1, LUA_MULTRET);
    return lua_gettop(lua);
}

/* string.rep makes its result in one go. */
static int short_rep(lua_State *lua)
{
    size_t length, separator = 0;
    luaL_checklstring(lua, 1, &length);
    lua_Number times = luaL_checknumber(lua, 2);
    if (!lua_isnoneornil(lua, 3))
        luaL_checklstring(lua, 3, &separator);
    if (times > 0 && (double)(length + separator) * times > 65536)
        return luaL_error(lua, "string.rep makes texts of at most 65536 characters here");
    lua_pushvalue(lua, lua_upvalueindex(1));
    lua_insert(lua, 1);
    lua_call(lua, lua_gettop(lua) - 1, 1);
    return 1;
}

static int no_chance(lua_State *lua)
{
    sandbox_fail(lua, sandbox_here(lua),
                 "math.random is not available in scenarios: every run of a seed has to be the same; "
                 "use share = 0.05 in an action, or a distribution like uniform(1, 5)");
}

/* ---- the tables ------------------------------------------------------------------------------------------------------ */

/* From the library's table at `from` to the table on top. */
static void take(lua_State *lua, int from, const char *const *names)
{
    for (; *names; names++) {
        lua_getfield(lua, from, *names);
        lua_setfield(lua, -2, *names);
    }
}

/* Replaces field `name` of the table on top by function, with the present one as upvalue. */
static void wrap(lua_State *lua, const char *name, lua_CFunction function, int cost, int arguments)
{
    lua_getfield(lua, -1, name);
    lua_pushinteger(lua, cost);
    lua_pushinteger(lua, arguments);
    lua_pushcclosure(lua, function, 3);
    lua_setfield(lua, -2, name);
}

/* Lua's own table of a library; nothing but what is taken from it reaches a scenario. */
static void push_library(lua_State *lua, lua_CFunction open, const char *name)
{
    luaL_requiref(lua, name, open, 0);
}

void sandbox_push_prelude_globals(lua_State *lua)
{
    static const char *const plain[] = {"pairs", "ipairs", "next",         "select", "tonumber", "tostring",
                                        "type",  "error",  "setmetatable", "rawget", NULL};
    push_library(lua, luaopen_base, "_G");
    int base = lua_gettop(lua);
    lua_newtable(lua);
    take(lua, base, plain);
    lua_remove(lua, base);
    push_library(lua, luaopen_math, "math");
    lua_setfield(lua, -2, "math");
    push_library(lua, luaopen_string, "string");
    lua_setfield(lua, -2, "string");
    push_library(lua, luaopen_table, "table");
    lua_setfield(lua, -2, "table");
}

static void add_math(lua_State *lua, int words)
{
    static const char *const functions[] = {"abs",        "ceil",       "floor", "fmod", "huge",      "max",  "min",
                                            "modf",       "pi",         "sqrt",  "exp",  "log",       "sin",  "cos",
                                            "tan",        "asin",       "acos",  "atan", "tointeger", "type", "ult",
                                            "maxinteger", "mininteger", "deg",   "rad",  NULL};
    push_library(lua, luaopen_math, "math");
    lua_newtable(lua);
    take(lua, lua_gettop(lua) - 1, functions);
    lua_pushcfunction(lua, no_chance);
    lua_setfield(lua, -2, "random");
    lua_pushcfunction(lua, no_chance);
    lua_setfield(lua, -2, "randomseed");
    lua_setfield(lua, words, "math");
    lua_pop(lua, 1);
}

static void add_string(lua_State *lua, int words)
{
    static const char *const functions[] = {"format", "sub",  "upper",   "lower", "len",
                                            "byte",   "char", "reverse", "rep",   NULL};
    push_library(lua, luaopen_string, "string");
    lua_newtable(lua);
    take(lua, lua_gettop(lua) - 1, functions);
    wrap(lua, "format", plain_format, 0, 0);
    wrap(lua, "rep", short_rep, 0, 0);
    lua_pushvalue(lua, -1);
    lua_setfield(lua, words, "string");
    /* ("text"):find would reach Lua's whole library through the metatable of all texts. */
    lua_pushliteral(lua, "");
    lua_getmetatable(lua, -1);
    lua_pushvalue(lua, -3);
    lua_setfield(lua, -2, "__index");
    lua_pop(lua, 4);
}

static void add_table(lua_State *lua, int words)
{
    static const char *const functions[] = {"concat", "insert", "remove", "sort", "unpack", NULL};
    push_library(lua, luaopen_table, "table");
    lua_newtable(lua);
    take(lua, lua_gettop(lua) - 1, functions);
    wrap(lua, "concat", charged, 1, 1);
    wrap(lua, "insert", charged, 1, 3);
    wrap(lua, "remove", charged, 1, 2);
    wrap(lua, "sort", charged, 20, 1);
    wrap(lua, "unpack", charged, 1, 1);
    lua_setfield(lua, words, "table");
    lua_pop(lua, 1);
}

void sandbox_add_library(lua_State *lua, int words)
{
    static const char *const plain[] = {"ipairs", "select", "tonumber", "type", "error", "assert", NULL};
    words = lua_absindex(lua, words);
    push_library(lua, luaopen_base, "_G");
    int base = lua_gettop(lua);
    lua_pushvalue(lua, words);
    take(lua, base, plain);
    lua_pushcfunction(lua, plain_tostring);
    lua_setfield(lua, words, "tostring");
    push_library(lua, luaopen_table, "table");
    lua_getfield(lua, -1, "sort");
    lua_pushcclosure(lua, sorted_pairs, 1);
    lua_setfield(lua, words, "pairs");
    lua_settop(lua, base - 1);
    add_math(lua, words);
    add_string(lua, words);
    add_table(lua, words);
}
