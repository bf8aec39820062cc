/* sandbox.c: limits and failures. A scenario cannot catch an error (there is no pcall), so the first failure ends the call, and
 * what the allocator refuses is never retried in vain. */
#include "sandbox.h"

#include "memory.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HOOK_EVERY     1000 /* VM instructions */
#define BYTES_PER_STEP 16   /* allocation is work, too: joining long texts costs few instructions and much time */
#define LONGEST_TEXT   (1024 * 1024) /* bounds what one comparison or one copy may cost */

static bool is_out_of_steps(const struct sandbox *box, uint64_t more_bytes)
{
    return box->ready && box->steps + (box->allocated_bytes + more_bytes) / BYTES_PER_STEP > box->step_limit;
}

static void *refuse(struct sandbox *box, enum sandbox_stop why)
{
    int here = box->ready ? sandbox_here(box->lua) : 0;
    if (here > 0 ||
        (box->ready && box->stop == SANDBOX_GOES_ON)) { /* Lua asks again while it gives up, when the line is gone */
        box->stop = why;
        box->stop_line = here;
    }
    return NULL;
}

/* Lua's allocator: a block that shrinks is always given. When `pointer` is NULL, `old` is the kind of object. */
static void *allocate(void *context, void *pointer, size_t old, size_t size)
{
    struct sandbox *box = context;
    bool is_text = !pointer && (old & 0xF) == LUA_TSTRING;
    size_t had = pointer ? old : 0;
    if (size == 0) {
        memory_free(pointer);
        box->used_bytes -= had;
        return NULL;
    }
    if (size > had) {
        if (is_text && size > LONGEST_TEXT + 64)
            return refuse(box, SANDBOX_TEXT_TOO_LONG);
        if (size - had > box->limit_bytes - box->used_bytes)
            return refuse(box, SANDBOX_OUT_OF_MEMORY);
        if (is_out_of_steps(box, size - had))
            return refuse(box, SANDBOX_OUT_OF_STEPS);
    }
    struct memory_heap *before = memory_enter(box->home);
    void *grown = pointer ? memory_resize(pointer, size) : memory_allocate(size);
    memory_enter(before);
    if (!grown)
        return size <= had ? pointer : refuse(box, SANDBOX_OUT_OF_MEMORY);
    box->used_bytes = box->used_bytes - had + size;
    box->allocated_bytes += size > had ? size - had : 0;
    return grown;
}

struct sandbox *sandbox_of(lua_State *lua)
{
    struct sandbox *box;
    memcpy(&box, lua_getextraspace(lua), sizeof(box));
    return box;
}

/* ---- failures -------------------------------------------------------------------------------------------------------- */

int sandbox_here(lua_State *lua)
{
    lua_Debug at;
    for (int level = 0; level < 1000 && lua_getstack(lua, level, &at); level++) {
        lua_getinfo(lua, "Sl", &at);
        if (strcmp(at.source, SANDBOX_CHUNK) == 0 && at.currentline > 0)
            return at.currentline;
    }
    return 0;
}

/* One line: what a scenario puts into an error's text may not break it. */
static void write_error(struct sandbox *box, int line, const char *text)
{
    int length = line > 0 ? snprintf(box->error, sizeof(box->error), "%s:%d: %s", box->path, line, text)
                          : snprintf(box->error, sizeof(box->error), "%s: %s", box->path, text);
    for (int i = 0; i < length && i < (int)sizeof(box->error) - 1; i++)
        if ((unsigned char)box->error[i] < ' ' || box->error[i] == 0x7F)
            box->error[i] = ' ';
}

void sandbox_fail(lua_State *lua, int line, const char *format, ...)
{
    struct sandbox *box = sandbox_of(lua);
    char text[900];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    write_error(box, line, text);
    lua_pushlightuserdata(lua, box);
    lua_error(lua);
    abort(); /* lua_error does not return; its declaration does not say so */
}

static void write_steps(uint64_t steps, char *out, size_t capacity)
{
    char plain[24];
    int digits = snprintf(plain, sizeof(plain), "%llu", (unsigned long long)steps);
    size_t at = 0;
    for (int i = 0; i < digits && at + 2 < capacity; i++) {
        if (i > 0 && (digits - i) % 3 == 0)
            out[at++] = ',';
        out[at++] = plain[i];
    }
    out[at] = 0;
}

static void write_stop(struct sandbox *box, enum sandbox_stop stop, int line)
{
    char text[200], steps[32];
    write_steps(box->step_limit, steps, sizeof(steps));
    if (stop == SANDBOX_OUT_OF_STEPS)
        snprintf(text, sizeof(text),
                 "still running after %s steps; a scenario describes, it does not wait: give its loops an end", steps);
    else if (stop == SANDBOX_TEXT_TOO_LONG)
        snprintf(text, sizeof(text), "a text longer than 1 MiB; a scenario has no use for one");
    else
        snprintf(text, sizeof(text), "needs more than %zu MiB of memory; a scenario has no use for so large a table",
                 box->limit_bytes >> 20);
    write_error(box, line, text);
}

/* "scenario:12: text" -> 12 and text */
static const char *split_position(const char *message, const char *chunk, int *line)
{
    size_t length = strlen(chunk);
    if (strncmp(message, chunk, length) != 0 || message[length] != ':')
        return NULL;
    char *end;
    long number = strtol(message + length + 1, &end, 10);
    if (end == message + length + 1 || end[0] != ':' || end[1] != ' ')
        return NULL;
    *line = (int)number;
    return end + 2;
}

/* Lua's own errors, as they are raised. */
static int on_error(lua_State *lua)
{
    struct sandbox *box = sandbox_of(lua);
    if (lua_touserdata(lua, 1) == box)
        return 1;
    int line = sandbox_here(lua), ignored;
    const char *message = lua_type(lua, 1) == LUA_TSTRING ? lua_tostring(lua, 1)
                                                          : "error() without a text; write error(\"what is wrong\")";
    const char *text = split_position(message, SANDBOX_CHUNK + 1, &line);
    if (!text)
        text = split_position(message, "prelude", &ignored);
    if (!text)
        text = message;
    if (strstr(text, "stack overflow") && box->stop == SANDBOX_GOES_ON)
        text = line > 0 ? "functions call each other too deeply" : "calls or brackets are nested too deeply";
    if (strstr(text, "stack overflow") && box->stop != SANDBOX_GOES_ON)
        write_stop(box, box->stop, box->stop_line); /* the stack could not grow for want of memory */
    else
        write_error(box, line, text);
    lua_pushlightuserdata(lua, box);
    return 1;
}

static void on_count(lua_State *lua, lua_Debug *at)
{
    (void)at;
    struct sandbox *box = sandbox_of(lua);
    box->steps += HOOK_EVERY;
    if (is_out_of_steps(box, 0)) {
        write_stop(box, SANDBOX_OUT_OF_STEPS, sandbox_here(lua));
        lua_pushlightuserdata(lua, box);
        lua_error(lua);
    }
}

bool sandbox_call(struct sandbox *box, uint64_t step_limit, lua_CFunction function, void *argument)
{
    lua_State *lua = box->lua;
    int top = lua_gettop(lua);
    box->steps = box->allocated_bytes = 0;
    box->step_limit = step_limit;
    box->stop = SANDBOX_GOES_ON;
    box->error[0] = 0;
    lua_pushcfunction(lua, on_error); /* these need no memory */
    lua_pushcfunction(lua, function);
    lua_pushlightuserdata(lua, argument);
    lua_sethook(lua, on_count, LUA_MASKCOUNT, HOOK_EVERY);
    box->ready = true;
    int status = lua_pcall(lua, 1, 0, top + 1);
    box->ready = false;
    lua_sethook(lua, NULL, 0, 0);
    if (status == LUA_ERRMEM || (status != LUA_OK && box->error[0] == 0 && box->stop != SANDBOX_GOES_ON))
        write_stop(box, box->stop, box->stop_line);
    else if (status != LUA_OK && box->error[0] == 0)
        write_error(box, 0, "calls or brackets are nested too deeply");
    lua_settop(lua, top);
    return status == LUA_OK;
}

/* ---- life ------------------------------------------------------------------------------------------------------------ */

bool sandbox_open(struct sandbox *box, const char *path, size_t limit_bytes)
{
    *box = (struct sandbox){.limit_bytes = limit_bytes, .home = memory_enter(NULL)};
    memory_enter(box->home);
    snprintf(box->path, sizeof(box->path), "%s", path);
    box->lua = lua_newstate(allocate, box);
    if (!box->lua)
        return false;
    memcpy(lua_getextraspace(box->lua), &box, sizeof(box));
    return true;
}

void sandbox_close(struct sandbox *box)
{
    if (box->lua)
        lua_close(box->lua);
    box->lua = NULL;
}
