/* script_rig.h: scenarios from text, and a world that writes down what it is asked. */
#ifndef SCRIPT_RIG_H
#define SCRIPT_RIG_H

#include "sim/scenario.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static char rig_path[64];
static char rig_error[1024];

static inline void rig_write(const char *text, size_t length)
{
    strcpy(rig_path, "/tmp/convoy-script-XXXXXX");
    int file = mkstemp(rig_path);
    assert_true(file >= 0);
    assert_int_equal(write(file, text, length), (ssize_t)length);
    close(file);
}

/* NULL: rig_error says why, with "FILE" in place of the path. */
static inline struct script *rig_load(const char *text, size_t length, const struct script_options *options)
{
    char error[1024] = "";
    rig_write(text, length);
    struct script *script = script_load(rig_path, options, error, sizeof(error));
    unlink(rig_path);
    rig_error[0] = 0;
    if (!script) {
        size_t prefix = strlen(rig_path);
        assert_memory_equal(error, rig_path, prefix);
        assert_null(strchr(error, '\n'));
        snprintf(rig_error, sizeof(rig_error), "FILE%.1000s", error + prefix);
    }
    return script;
}

static inline struct script *rig_load_text(const char *text)
{
    return rig_load(text, strlen(text), NULL);
}

static inline struct script *rig_must_load(const char *text)
{
    struct script *script = rig_load_text(text);
    if (!script)
        print_error("%s\n", rig_error);
    assert_non_null(script);
    return script;
}

/* Line 1 to 3 of most tests. */
#define RIG_HEAD                                                                                                       \
    "scenario \"test\" { start = \"2026-03-04 06:00\", duration = hours(4), seed = 3 }\n"                              \
    "region \"here\" { latency = milliseconds(2) }\n"                                                                  \
    "cohort \"car\" { count = 10 }\n"

/* ---- a world --------------------------------------------------------------------------------------------------------- */

struct rig_world {
    struct world_action action[64];
    uint32_t actions;
    char note[64][256];
    int64_t note_at[64];
    uint32_t notes;
    bool unable;
};

static inline int64_t rig_act(void *context, int64_t now_us, const struct world_action *action, const char **why)
{
    struct rig_world *world = context;
    assert_true(world->actions < 64);
    world->action[world->actions++] = *action;
    if (world->unable)
        *why = "this world has no such thing";
    return world->unable ? -1 : 7;
}

static inline void rig_note(void *context, int64_t now_us, const char *text)
{
    struct rig_world *world = context;
    assert_true(world->notes < 64);
    world->note_at[world->notes] = now_us;
    snprintf(world->note[world->notes++], 256, "%s", text);
}

#endif
