/* internal.h: the parts of sim/script among themselves. */
#ifndef SCRIPT_INTERNAL_H
#define SCRIPT_INTERNAL_H

#include "sandbox.h"
#include "sim/scenario.h"

struct script {
    struct sandbox box;
    struct scenario scenario;
    struct script_options options;
    char *file; /* the scenario's bytes while it is loaded */
    size_t file_length;
    int plan, functions;   /* references in the registry */
    uint32_t *occurrences; /* actions taken so far, by line */
    uint32_t line_count;
    const struct world_actions *actions; /* while a function runs */
    int64_t now_us;
};

/* plan (on top of the stack) -> script->scenario. Raises like Lua; everything it allocates hangs on the scenario. */
void script_fill(struct script *script);
/* host.act and host.note, with the script as upvalue. */
int script_host_act(lua_State *lua);
int script_host_note(lua_State *lua);

#endif
