/* sandbox.h: a Lua state that can compute and nothing else: no files, no processes, no clock, no chance; memory and steps are bounded.
 *
 * Every failure is one line, "file:line: what; what to write instead", kept in `error`. One thread. All work with the state belongs
 * into sandbox_call(), because running out of memory anywhere else would end the program.
 */
#ifndef SCRIPT_SANDBOX_H
#define SCRIPT_SANDBOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <lauxlib.h>
#include <lua.h>

#define SANDBOX_CHUNK "=scenario" /* the chunk name of user code: short, so that Lua's messages never cut it */

enum sandbox_stop { SANDBOX_GOES_ON, SANDBOX_OUT_OF_MEMORY, SANDBOX_TEXT_TOO_LONG, SANDBOX_OUT_OF_STEPS };

struct memory_heap; /* memory.h */

struct sandbox {
    lua_State *lua;
    struct memory_heap *home; /* entered when it was opened: Lua's memory comes from there, whoever's heap is entered later */
    char path[512];
    size_t used_bytes, limit_bytes;
    uint64_t steps, step_limit; /* of the call under way */
    uint64_t allocated_bytes;   /* in the call under way: work that the VM's instructions do not show */
    enum sandbox_stop stop;     /* why the allocator said no, and where */
    int stop_line;
    bool ready;
    char error[1024];
};

bool sandbox_open(struct sandbox *box, const char *path, size_t limit_bytes); /* false: out of memory */
void sandbox_close(struct sandbox *box);
struct sandbox *sandbox_of(lua_State *lua);

/* Runs function(lua) with `argument` as light userdata; false: box->error. */
bool sandbox_call(struct sandbox *box, uint64_t step_limit, lua_CFunction function, void *argument);
/* Line of the scenario that is being run, 0: none. */
int sandbox_here(lua_State *lua);
/* Ends the call with "path:line: text" (line 0: "path: text"). */
_Noreturn void sandbox_fail(lua_State *lua, int line, const char *format, ...) __attribute__((format(printf, 3, 4)));

/* Within a call. Pushes the prelude's globals / the scenario's: what the prelude puts into `words` (at index) is read-only there. */
void sandbox_push_prelude_globals(lua_State *lua);
void sandbox_push_scenario_globals(lua_State *lua, int words);
/* Fills `words` (at index) with what plain Lua a scenario may use. */
void sandbox_add_library(lua_State *lua, int words);
/* host.nearest(word, list) */
int sandbox_nearest(lua_State *lua);

#endif
