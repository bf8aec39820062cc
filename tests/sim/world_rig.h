/* world_rig.h: scenarios from text, run in the virtual world of this process; what they measured. */
#ifndef WORLD_RIG_H
#define WORLD_RIG_H

#include "memory.h"
#include "sim/group.h"
#include "sim/world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static struct world_result rig_result;
static struct script *rig_script;

/* Runs a scenario to its end; what was measured is there until the next one. */
static inline const struct measure *rig_run(const char *text)
{
    static struct world_options options = {.kind = WORLD_VIRTUAL};
    char path[] = "/tmp/convoy-world-XXXXXX", error[1024] = "";
    if (!options.group)
        options.group = sim_group_join(error, sizeof error);
    assert_non_null(options.group);
    memory_end();
    assert_true(world_begin_virtual(&options, error, sizeof error));
    int file = mkstemp(path);
    assert_true(file >= 0);
    assert_int_equal(write(file, text, strlen(text)), (ssize_t)strlen(text));
    close(file);
    rig_script = script_load(path, &(struct script_options){.fleet = 0}, error, sizeof error);
    unlink(path);
    if (!rig_script)
        fail_msg("%s", error);
    const char *objection = world_objection(script_scenario(rig_script), &options);
    assert_null(objection);
    memset(&rig_result, 0, sizeof rig_result);
    world_run(rig_script, &options, &rig_result);
    free(rig_result.partition_digests);
    assert_int_equal(rig_result.status, WORLD_COMPLETED);
    return rig_result.measure;
}

static inline int64_t rig_total(enum counter counter)
{
    return measure_total(rig_result.measure, counter, MEASURE_EVERYBODY);
}

static inline const struct histogram *rig_histogram(enum metric metric, uint8_t path)
{
    static struct histogram histogram;
    struct measure_dimension filter = MEASURE_EVERYBODY;
    filter.path = path;
    measure_histogram(rig_result.measure, metric, filter, false, &histogram);
    return &histogram;
}

#endif
