/* run.c: a scenario's functions, called while the run goes on, and the actions they take. */
#include "internal.h"

#include <stdio.h>
#include <stdlib.h>

#define CALL_STEPS UINT64_C(1000000)

/* ---- actions --------------------------------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    enum world_action_kind kind;
} kinds[] = {
    {"coverage_hole", ACTION_COVERAGE_HOLE},
    {"drop_links", ACTION_DROP_LINKS},
    {"send_command", ACTION_COMMAND},
    {"ignition_on", ACTION_IGNITION_ON},
    {"ignition_off", ACTION_IGNITION_OFF},
    {"kick", ACTION_CLOUD_KICK},
    {"broker_restart", ACTION_BROKER_RESTART},
    {"resolver_gone", ACTION_RESOLVER_GONE},
    {"server_certificate_expired", ACTION_SERVER_CERTIFICATE},
    {"half_open", ACTION_HALF_OPEN},
    {"address_change", ACTION_ADDRESS_CHANGE},
    {"cloud_outage", ACTION_CLOUD_OUTAGE},
    {"node_loss", ACTION_NODE_LOSS},
    {"rotate", ACTION_ROTATE},
    {"audit", ACTION_AUDIT},
    {"revoke", ACTION_REVOKE},
    {"change_owner", ACTION_OWNER},
    {"swap_tcu", ACTION_SWAP},
    {"decommission", ACTION_DECOMMISSION},
    {"release", ACTION_RELEASE},
    {"power_cut", ACTION_POWER_CUT},
    {"processors_scale", ACTION_PROCESSORS_SCALE},
    {"processor_dies", ACTION_PROCESSOR_DIES},
    {"region_outage", ACTION_REGION_OUTAGE},
    {"move_region", ACTION_MOVE_REGION},
    {"travel", ACTION_TRAVEL},
    {"roll_back", ACTION_ROLL_BACK},
};

static lua_Number field(lua_State *lua, const char *key)
{
    lua_getfield(lua, 1, key);
    lua_Number value = lua_tonumber(lua, -1);
    lua_pop(lua, 1);
    return value;
}

static void copy_text(lua_State *lua, const char *key, char *out, size_t capacity)
{
    lua_getfield(lua, 1, key);
    const char *text = lua_tostring(lua, -1);
    snprintf(out, capacity, "%s", text ? text : "");
    lua_pop(lua, 1);
}

static void read_action(struct script *script, lua_State *lua, struct world_action *action)
{
    uint32_t cohort = (uint32_t)field(lua, "cohort"), region = (uint32_t)field(lua, "region");
    action->cohort = cohort ? (uint16_t)(cohort - 1) : MEASURE_ANY;
    action->region = region ? (uint16_t)(region - 1) : MEASURE_ANY;
    action->share = field(lua, "share");
    action->vehicle = (int64_t)field(lua, "vehicle");
    action->duration_us = (int64_t)field(lua, "lasts");
    action->timeout_us = (int64_t)field(lua, "timeout");
    action->line = (uint32_t)field(lua, "line");
    copy_text(lua, "command", action->command, sizeof(action->command));
    copy_text(lua, "option", action->option, sizeof(action->option));
    action->store_write = (int32_t)field(lua, "store_write");
    action->store_writes = (uint32_t)field(lua, "store_writes");
    lua_getfield(lua, 1, "after_write");
    action->after_write = lua_toboolean(lua, -1);
    lua_pop(lua, 1);
    uint32_t slot = action->line < script->line_count ? action->line : 0;
    action->salt = (uint64_t)action->line << 32 | ++script->occurrences[slot];
}

int script_host_act(lua_State *lua)
{
    struct script *script = lua_touserdata(lua, lua_upvalueindex(1));
    struct world_action action = {0};
    const char *kind = "", *why = NULL;
    luaL_checktype(lua, 1, LUA_TTABLE);
    lua_getfield(lua, 1, "kind");
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (strcmp(kinds[i].name, lua_tostring(lua, -1)) == 0) {
            action.kind = kinds[i].kind;
            kind = kinds[i].name;
        }
    }
    lua_pop(lua, 1);
    read_action(script, lua, &action);
    if (action.vehicle >= (int64_t)script->scenario.fleet)
        sandbox_fail(lua, (int)action.line, "%s: there is no vehicle %lld; the fleet's last one is %u", kind,
                     (long long)action.vehicle, script->scenario.fleet - 1);
    int64_t concerned = script->actions->act(script->actions->world, script->now_us, &action, &why);
    if (concerned < 0) {
        /* Not an error: the same file runs in worlds and against brokers that can do less. But it shows. */
        char text[200];
        snprintf(text, sizeof(text), "%s (line %u) was not done: %s", kind, action.line,
                 why ? why : "not possible here");
        script->actions->note(script->actions->world, script->now_us, text);
        concerned = 0;
    }
    lua_pushinteger(lua, concerned);
    return 1;
}

int script_host_note(lua_State *lua)
{
    struct script *script = lua_touserdata(lua, lua_upvalueindex(1));
    char text[200];
    snprintf(text, sizeof(text), "%s", luaL_checkstring(lua, 1));
    for (char *at = text; *at; at++)
        if ((unsigned char)*at < ' ')
            *at = ' ';
    script->actions->note(script->actions->world, script->now_us, text);
    return 0;
}

/* ---- calls ----------------------------------------------------------------------------------------------------------- */

struct call {
    struct script *script;
    int function;
    const char *event; /* NULL: no arguments */
    uint32_t vehicle;
};

static void push_vehicle(lua_State *lua, const struct scenario *scenario, uint32_t vehicle)
{
    char name[SCENARIO_NAME + 16];
    scenario_vehicle_name(scenario, vehicle, name, sizeof(name));
    lua_createtable(lua, 0, 3);
    lua_pushinteger(lua, vehicle);
    lua_setfield(lua, -2, "number");
    lua_pushstring(lua, name);
    lua_setfield(lua, -2, "name");
    lua_pushstring(lua, scenario->cohorts[scenario_cohort_of(scenario, vehicle)].name);
    lua_setfield(lua, -2, "cohort");
}

static int call_within(lua_State *lua)
{
    struct call *call = lua_touserdata(lua, 1);
    struct script *script = call->script;
    int arguments = 0;
    lua_rawgeti(lua, LUA_REGISTRYINDEX, script->plan);
    lua_pushboolean(lua, true);
    lua_setfield(lua, -2, "running");
    lua_rawgeti(lua, LUA_REGISTRYINDEX, script->functions);
    lua_rawgeti(lua, -1, call->function);
    if (call->event) {
        push_vehicle(lua, &script->scenario, call->vehicle);
        lua_pushstring(lua, call->event);
        arguments = 2;
    }
    lua_call(lua, arguments, 0);
    return 0;
}

static bool call_function(struct call *call, int64_t now_us, const struct world_actions *actions, char *error,
                          size_t capacity)
{
    struct script *script = call->script;
    script->actions = actions;
    script->now_us = now_us;
    bool done = sandbox_call(&script->box, script->options.step_limit ? script->options.step_limit : CALL_STEPS,
                             call_within, call);
    script->actions = NULL;
    if (!done)
        snprintf(error, capacity, "%s", script->box.error);
    return done;
}

bool script_timeline(struct script *script, uint32_t index, int64_t now_us, const struct world_actions *actions,
                     char *error, size_t error_capacity)
{
    ASSERT(index < script->scenario.timeline_count);
    struct call call = {.script = script, .function = script->scenario.timeline[index].function};
    return call_function(&call, now_us, actions, error, error_capacity);
}

bool script_event(struct script *script, uint32_t cohort, uint32_t vehicle, const char *event, int64_t now_us,
                  const struct world_actions *actions, char *error, size_t error_capacity)
{
    ASSERT(cohort < script->scenario.cohort_count && vehicle < script->scenario.fleet);
    struct call call = {script, script->scenario.cohorts[cohort].on_event, event, vehicle};
    return call.function == 0 || call_function(&call, now_us, actions, error, error_capacity);
}
