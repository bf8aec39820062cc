/* load.c: a file -> a script with its scenario. */
#include "internal.h"
#include "memory.h"
#include "prelude_lua.h"

#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#define FILE_MAX_BYTES (1024 * 1024)
#define LOAD_STEPS     UINT64_C(50000000)
#define MEMORY_BYTES   (UINT64_C(64) << 20)

/* ---- the file -------------------------------------------------------------------------------------------------------- */

static bool read_file(struct script *script, const char *path, char *error, size_t capacity)
{
    struct stat status;
    FILE *file = fopen(path, "rb");
    if (!file) {
        snprintf(error, capacity, "%s: cannot be read: %s", path, strerror(errno));
        return false;
    }
    const char *problem = NULL;
    if (fstat(fileno(file), &status) != 0 || !S_ISREG(status.st_mode))
        problem = "is no file; give the path of a scenario, like scenarios/smoke.lua";
    else if (status.st_size > FILE_MAX_BYTES)
        problem = "is larger than 1 MiB; a scenario is a page or two";
    else if (!(script->file = memory_allocate((size_t)status.st_size + 1)))
        problem = "out of memory";
    if (!problem) {
        script->file_length = fread(script->file, 1, (size_t)status.st_size, file);
        if (ferror(file))
            problem = "cannot be read to its end";
        else if (script->file_length > 0 && script->file[0] == '\033')
            problem = "is compiled Lua; a scenario is text";
        script->file[script->file_length] = 0;
    }
    fclose(file);
    if (problem)
        snprintf(error, capacity, "%s: %s", path, problem);
    return !problem;
}

static void count_lines(struct script *script)
{
    script->line_count = 2;
    for (size_t i = 0; i < script->file_length; i++)
        script->line_count += script->file[i] == '\n';
}

/* ---- the hash -------------------------------------------------------------------------------------------------------- */

static int by_name(const void *a, const void *b)
{
    const struct script_override *left = a, *right = b;
    return strcmp(left->name, right->name);
}

/* Of the file's bytes, then of name=value in the order of the names; so the order on the command line does not show. */
static bool write_hash(struct script *script)
{
    const struct script_options *options = &script->options;
    struct script_override *sorted = memory_allocate_zero(options->override_count + 1, sizeof(*sorted));
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned length = 0;
    char line[96];
    bool done = sorted && context && EVP_DigestInit_ex(context, EVP_sha256(), NULL) == 1;
    if (done) {
        EVP_DigestUpdate(context, script->file, script->file_length);
        if (options->override_count)
            memcpy(sorted, options->overrides, options->override_count * sizeof(*sorted));
        qsort(sorted, options->override_count, sizeof(*sorted), by_name);
        for (uint32_t i = 0; i < options->override_count; i++) {
            EVP_DigestUpdate(context, "\0", 1);
            EVP_DigestUpdate(context, sorted[i].name, strlen(sorted[i].name));
            EVP_DigestUpdate(context, "=", 1);
            EVP_DigestUpdate(context, sorted[i].value, strlen(sorted[i].value));
        }
        int written = snprintf(line, sizeof(line), "%c--fleet=%u --duration=%lld", 0, options->fleet,
                               (long long)options->duration_us);
        if (options->fleet || options->duration_us)
            EVP_DigestUpdate(context, line, (size_t)written);
        done = EVP_DigestFinal_ex(context, digest, &length) == 1 && length == 32;
    }
    for (unsigned i = 0; done && i < length; i++)
        snprintf(script->scenario.hash + 2 * (size_t)i, 3, "%02x", digest[i]);
    EVP_MD_CTX_free(context);
    memory_free(sorted);
    return done;
}

/* ---- within the sandbox ---------------------------------------------------------------------------------------------- */

static int host_here(lua_State *lua)
{
    lua_pushinteger(lua, sandbox_here(lua));
    return 1;
}

static int host_fail(lua_State *lua)
{
    sandbox_fail(lua, (int)lua_tointeger(lua, 1), "%s", luaL_checkstring(lua, 2));
}

/* "a, b, c" as a list. */
static void push_names(lua_State *lua, const char *names)
{
    lua_newtable(lua);
    for (lua_Integer i = 1; *names; i++) {
        size_t length = strcspn(names, ", ");
        lua_pushlstring(lua, names, length);
        lua_rawseti(lua, -2, i);
        names += length;
        names += strspn(names, ", ");
    }
}

static void push_host(struct script *script)
{
    lua_State *lua = script->box.lua;
    static const struct luaL_Reg functions[] = {
        {"here", host_here}, {"nearest", sandbox_nearest}, {"fail", host_fail}, {NULL, NULL}};
    luaL_newlib(lua, functions);
    lua_pushlightuserdata(lua, script);
    lua_pushcclosure(lua, script_host_act, 1);
    lua_setfield(lua, -2, "act");
    lua_pushlightuserdata(lua, script);
    lua_pushcclosure(lua, script_host_note, 1);
    lua_setfield(lua, -2, "note");
    push_names(lua, link_profile_names());
    lua_setfield(lua, -2, "radios");
    push_names(lua, network_path_names());
    lua_setfield(lua, -2, "paths");
}

static void push_plan(struct script *script)
{
    lua_State *lua = script->box.lua;
    lua_newtable(lua);
    lua_pushnumber(lua, script->options.fleet);
    lua_setfield(lua, -2, "fleet_wanted");
    lua_pushnumber(lua, (lua_Number)script->options.duration_us);
    lua_setfield(lua, -2, "duration_wanted");
    lua_pushvalue(lua, -1);
    script->plan = luaL_ref(lua, LUA_REGISTRYINDEX);
}

static void push_overrides(struct script *script)
{
    lua_State *lua = script->box.lua;
    lua_newtable(lua);
    for (uint32_t i = 0; i < script->options.override_count; i++) {
        lua_pushstring(lua, script->options.overrides[i].value);
        lua_setfield(lua, -2, script->options.overrides[i].name);
    }
}

/* Compiles; leaves the function, whose globals are the table at `globals`. */
static void push_chunk(lua_State *lua, const char *text, size_t length, const char *name, int globals)
{
    if (luaL_loadbufferx(lua, text, length, name, "t") != LUA_OK)
        lua_error(lua);
    lua_pushvalue(lua, globals);
    if (!lua_setupvalue(lua, -2, 1))
        lua_pop(lua, 1);
}

static void push_scenario_chunk(struct script *script, int globals)
{
    static const char mark[] = "\xEF\xBB\xBF"; /* what some editors begin a file with */
    const char *text = script->file;
    size_t length = script->file_length;
    if (length >= 3 && memcmp(text, mark, 3) == 0) {
        text += 3;
        length -= 3;
    }
    push_chunk(script->box.lua, text, length, SANDBOX_CHUNK, globals);
}

enum { WORDS = 2, GLOBALS, PLAN }; /* places on the stack while loading */

static void push_part(struct script *script, const char *text, size_t length, int globals, int kit)
{
    lua_State *lua = script->box.lua;
    push_chunk(lua, text, length, "=prelude", globals);
    push_host(script);
    lua_pushvalue(lua, WORDS);
    lua_pushvalue(lua, PLAN);
    lua_pushvalue(lua, kit);
    lua_call(lua, 4, 0);
}

static int load_within(lua_State *lua)
{
    struct script *script = lua_touserdata(lua, 1);
    luaL_checkstack(lua, 40, "scenario");
    lua_newtable(lua); /* WORDS */
    lua_newtable(lua); /* GLOBALS, made when the words are known */
    push_plan(script);
    sandbox_push_prelude_globals(lua);
    int prelude_globals = lua_gettop(lua);
    push_chunk(lua, prelude, prelude_length, "=prelude", prelude_globals);
    push_host(script);
    lua_pushvalue(lua, WORDS);
    lua_pushvalue(lua, PLAN);
    push_overrides(script);
    lua_call(lua, 4, 1); /* what it lends to the other files */
    int kit = lua_gettop(lua);
    push_part(script, identities, identities_length, prelude_globals, kit);
    push_part(script, remote, remote_length, prelude_globals, kit);
    push_part(script, networks, networks_length, prelude_globals, kit);
    push_part(script, shadows, shadows_length, prelude_globals, kit);
    push_part(script, messages, messages_length, prelude_globals, kit);
    push_part(script, regions, regions_length, prelude_globals, kit);
    lua_settop(lua, PLAN);
    sandbox_add_library(lua, WORDS);
    sandbox_push_scenario_globals(lua, WORDS);
    lua_replace(lua, GLOBALS);
    push_scenario_chunk(script, GLOBALS);
    lua_call(lua, 0, 0);
    lua_getfield(lua, PLAN, "finish");
    lua_call(lua, 0, 0);
    lua_getfield(lua, PLAN, "functions");
    script->functions = luaL_ref(lua, LUA_REGISTRYINDEX);
    script_fill(script);
    return 0;
}

/* ---- life ------------------------------------------------------------------------------------------------------------ */

static bool load(struct script *script, const char *path, char *error, size_t capacity)
{
    struct script_options *options = &script->options;
    if (!read_file(script, path, error, capacity))
        return false;
    count_lines(script);
    snprintf(script->scenario.path, sizeof(script->scenario.path), "%s", path);
    script->occurrences = memory_allocate_zero(script->line_count, sizeof(*script->occurrences));
    if (!script->occurrences || !write_hash(script) ||
        !sandbox_open(&script->box, path, (size_t)(options->memory_limit ? options->memory_limit : MEMORY_BYTES))) {
        snprintf(error, capacity, "%s: out of memory", path);
        return false;
    }
    bool loaded =
        sandbox_call(&script->box, options->step_limit ? options->step_limit : LOAD_STEPS, load_within, script);
    if (!loaded)
        snprintf(error, capacity, "%s", script->box.error);
    return loaded;
}

struct script *script_load(const char *path, const struct script_options *options, char *error, size_t error_capacity)
{
    struct script *script = memory_allocate_zero(1, sizeof(*script));
    if (!script) {
        snprintf(error, error_capacity, "%s: out of memory", path);
        return NULL;
    }
    if (options)
        script->options = *options;
    bool loaded = load(script, path, error, error_capacity);
    memory_free(script->file);
    script->file = NULL;
    script->options.overrides = NULL; /* the caller's */
    script->options.override_count = 0;
    if (loaded)
        return script;
    script_free(script);
    return NULL;
}

void script_free(struct script *script)
{
    if (!script)
        return;
    struct scenario *scenario = &script->scenario;
    sandbox_close(&script->box);
    memory_free(script->file);
    memory_free(script->occurrences);
    memory_free(scenario->parameters);
    memory_free(scenario->regions);
    memory_free(scenario->cohorts);
    memory_free(scenario->apps);
    memory_free(scenario->phases);
    memory_free(scenario->timeline);
    memory_free(scenario->expectations);
    memory_free(scenario->tunnels);
    memory_free(scenario->cloud.regions.waves);
    memory_free(script);
}

const struct scenario *script_scenario(const struct script *script)
{
    return &script->scenario;
}
