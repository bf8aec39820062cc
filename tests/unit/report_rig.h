/* report_rig.h: a run made by hand, so that every writer can be tested without a world. Names carry what formats trip over. */
#ifndef REPORT_RIG_H
#define REPORT_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>

#include "report/report.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define RIG_FLEET       200
#define RIG_EXPECTED    6
#define RIG_DURATION_US (40 * US_PER_MIN)
#define RIG_NASTY       "a<b>&\"c\" 'd' \x01\x1b[31m \xff\xfe ]]> </script> \xE2\x9C\x93"

struct rig {
    struct scenario scenario;
    struct scenario_cohort cohorts[2];
    struct scenario_region regions[2];
    struct scenario_parameter parameters[3];
    struct scenario_phase phases[2];
    struct expectation expectations[RIG_EXPECTED];
    struct expectation_result results[RIG_EXPECTED];
    struct world_options options;
    struct world_result result;
    struct report_run run;
    char directory[64];
};

static struct measure_dimension rig_who(void *context, uint32_t vehicle)
{
    const struct scenario *scenario = context;
    return (struct measure_dimension){(uint16_t)scenario_cohort_of(scenario, vehicle),
                                      (uint16_t)scenario_region_of(scenario, vehicle), PATH_ANY};
}

static void rig_scenario(struct rig *rig)
{
    struct scenario *scenario = &rig->scenario;
    snprintf(scenario->name, sizeof(scenario->name), "rig & <co>");
    snprintf(scenario->path, sizeof(scenario->path), "scenarios/%s.lua", RIG_NASTY);
    memset(scenario->hash, 'a', 64);
    scenario->seed = UINT64_C(18446744073709551615);
    scenario->fleet = RIG_FLEET;
    scenario->duration_us = RIG_DURATION_US;
    scenario->warm_up_us = 2 * US_PER_MIN;
    scenario->start_of_day_us = 7 * US_PER_HOUR;
    scenario->start_epoch_us = INT64_C(1772607600) * US_PER_S;
    scenario->cohorts = rig->cohorts;
    scenario->cohort_count = 2;
    scenario->regions = rig->regions;
    scenario->region_count = 2;
    scenario->parameters = rig->parameters;
    scenario->parameter_count = 3;
    scenario->phases = rig->phases;
    scenario->phase_count = 2;
    for (uint32_t i = 0; i < 2; i++) {
        struct scenario_cohort *cohort = &rig->cohorts[i];
        snprintf(cohort->name, sizeof(cohort->name), i ? "city\"<" : "suv");
        snprintf(rig->regions[i].name, sizeof(rig->regions[i].name), i ? "us\\north" : "eu");
        *cohort =
            (struct scenario_cohort){.first = i * 100, .count = 100, .region_share = {0.5, 0.5}, .firmware_count = 1};
        snprintf(cohort->name, sizeof(cohort->name), i ? "city\"<" : "suv");
        snprintf(cohort->firmware[0], sizeof(cohort->firmware[0]), "4.2.1");
        cohort->firmware_share[0] = 1;
    }
    rig->parameters[0] = (struct scenario_parameter){
        .name = "fleet", .text = RIG_NASTY, .value = 200, .standard = 100, .overridden = true};
    rig->parameters[1] =
        (struct scenario_parameter){.name = "storm", .kind = PARAMETER_BOOLEAN, .value = 1, .fault = true};
    rig->parameters[2] = (struct scenario_parameter){
        .name = "region", .kind = PARAMETER_TEXT, .value_text = RIG_NASTY, .standard_text = "eu"};
    rig->phases[0] = (struct scenario_phase){"peak </script>", 10 * US_PER_MIN, 20 * US_PER_MIN, false};
    rig->phases[1] = (struct scenario_phase){"pause", 30 * US_PER_MIN, 32 * US_PER_MIN, true};
}

static void rig_measure(struct rig *rig)
{
    struct measure_options options = {
        .vehicles = RIG_FLEET, .cohorts = 2, .regions = 2, .duration_us = RIG_DURATION_US};
    struct measure *measure = measure_create(&options);
    assert_non_null(measure);
    measure_set_who(measure, rig_who, &rig->scenario);
    for (uint32_t vehicle = 0; vehicle < RIG_FLEET; vehicle++) {
        struct measure_dimension who = rig_who(&rig->scenario, vehicle);
        int64_t at_us = (5 + vehicle / 10) * US_PER_MIN;
        measure_count(measure, COUNTER_CONNECTS, who, vehicle * US_PER_S, 1);
        measure_count(measure, COUNTER_CONNECTED, who, vehicle * US_PER_S, 1);
        measure_sample(measure, METRIC_CONNECT_TOTAL, who, vehicle, at_us, 300000 + vehicle * 1000);
        measure_sample(measure, METRIC_TELEMETRY_ACK, who, vehicle, at_us, 90000 + vehicle * 7);
        for (uint32_t number = 1; number <= 10; number++) {
            measure_ledger_intended(measure, vehicle, number);
            if (vehicle % 50 != 3 || number != 5)
                measure_ledger_delivered(measure, vehicle, number);
        }
        who.path = vehicle % 4 ? PATH_CONNECTED : PATH_QUEUED;
        measure_sample(measure, METRIC_COMMAND_ROUND_TRIP, who, vehicle, at_us, 400000 + vehicle * 9000);
        measure_count(measure, COUNTER_COMMANDS, who, at_us, 1);
    }
    *measure_commands(measure) =
        (struct ledger_commands){.intended = 200, .sent = 200, .delivered = 199, .answered = 198, .lost = 1};
    measure_command_victim(measure, VICTIM_LOST, 17, 9 * US_PER_MIN);
    rig->result.measure = measure;
}

/* One of each kind: a quantile that holds, one that fails, a series, two ledgers, one the cloud cannot offer. */
static void rig_expectations(struct rig *rig)
{
    const struct expectation expectations[RIG_EXPECTED] = {
        {.id = "connect",
         .text = RIG_NASTY,
         .line = 10,
         .source = EXPECT_METRIC,
         .what = METRIC_CONNECT_TOTAL,
         .statistic = STATISTIC_QUANTILE,
         .quantile = 0.99,
         .filter = MEASURE_EVERYBODY,
         .comparison = BELOW,
         .bound = 2e6},
        {.id = "unlock \"<&>",
         .text = "p50 of command",
         .line = 11,
         .source = EXPECT_METRIC,
         .what = METRIC_COMMAND_ROUND_TRIP,
         .statistic = STATISTIC_QUANTILE,
         .quantile = 0.5,
         .filter = MEASURE_EVERYBODY,
         .comparison = BELOW,
         .bound = 5e5,
         .confidence = 0.99},
        {.id = "no-storm",
         .line = 12,
         .source = EXPECT_COUNTER,
         .what = COUNTER_CONNECTS,
         .statistic = STATISTIC_MAXIMUM,
         .filter = MEASURE_EVERYBODY,
         .comparison = BELOW,
         .bound = 5},
        {.id = "nothing-lost",
         .line = 13,
         .source = EXPECT_LEDGER,
         .what = LEDGER_LOST,
         .statistic = STATISTIC_TOTAL,
         .filter = MEASURE_EVERYBODY,
         .comparison = EQUALS,
         .bound = 0},
        {.id = "share",
         .line = 14,
         .source = EXPECT_METRIC,
         .what = METRIC_PRESENCE_DELAY,
         .statistic = STATISTIC_QUANTILE,
         .quantile = 0.5,
         .filter = MEASURE_EVERYBODY,
         .comparison = BELOW,
         .bound = 1e6,
         .minimum_samples = 10},
        {.id = "provisioned",
         .line = 15,
         .source = EXPECT_METRIC,
         .what = METRIC_PROVISION_TOTAL,
         .statistic = STATISTIC_QUANTILE,
         .quantile = 0.99,
         .filter = MEASURE_EVERYBODY,
         .comparison = BELOW,
         .bound = 2e7,
         .needs = "registration"},
    };
    memcpy(rig->expectations, expectations, sizeof(expectations));
    rig->scenario.expectations = rig->expectations;
    rig->scenario.expectation_count = RIG_EXPECTED;
    for (uint32_t i = 0; i < RIG_EXPECTED; i++)
        expectation_judge(rig->result.measure, &rig->expectations[i], "registration", &rig->results[i]);
}

static void rig_result(struct rig *rig)
{
    struct world_result *result = &rig->result;
    result->simulated_us = RIG_DURATION_US;
    result->has_digest = true;
    result->digest = (struct sim_digest){1, 2};
    result->wall_s = 1.5;
    result->cpu_s = 1.25;
    result->peak_rss_bytes = 128000;
    result->events = UINT64_C(9007199254740993); /* no double holds it */
    result->memory_parts = 1;
    result->memory[0] = (struct world_memory){"agents", 64000};
    result->note_count = 2;
    snprintf(result->notes[0], sizeof(result->notes[0]), "07:12:00 %s", RIG_NASTY);
    snprintf(result->notes[1], sizeof(result->notes[1]), "radio cells are not modelled");
    snprintf(result->unavailable, sizeof(result->unavailable), "registration");
    snprintf(result->broker, sizeof(result->broker), "embedded");
}

static int rig_setup(void **state)
{
    struct rig *rig = calloc(1, sizeof(*rig));
    assert_non_null(rig);
    rig_scenario(rig);
    rig_measure(rig);
    rig_expectations(rig);
    rig_result(rig);
    rig->run = (struct report_run){.scenario = &rig->scenario,
                                   .options = &rig->options,
                                   .result = &rig->result,
                                   .expectations = rig->results,
                                   .command = "convoy run 'a b' " RIG_NASTY,
                                   .version = "0.1.0",
                                   .commit = "abc",
                                   .exit_code = 1,
                                   .started_epoch_s = 1772607600,
                                   .machine = "2 × machine",
                                   .run_name = "rig-1"};
    snprintf(rig->directory, sizeof(rig->directory), "/tmp/convoy-report-XXXXXX");
    assert_non_null(mkdtemp(rig->directory));
    *state = rig;
    return 0;
}

static inline void rig_path(const struct rig *rig, const char *name, char out[128])
{
    snprintf(out, 128, "%s/%s", rig->directory, name);
}

static int rig_teardown(void **state)
{
    static const char *const files[] = {"result.json",  "junit.xml",    "report.html", "run.sqlite",
                                        "metrics.prom", "terminal.txt", "file"};
    struct rig *rig = *state;
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        char path[128];
        rig_path(rig, files[i], path);
        unlink(path);
    }
    /* Fails when a writer left something beside its file. */
    int left = rmdir(rig->directory);
    measure_destroy(rig->result.measure);
    free(rig);
    return left;
}

/* The whole file; caller frees. */
static inline char *rig_read(const struct rig *rig, const char *name)
{
    char path[128];
    rig_path(rig, name, path);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    size_t length = (size_t)ftell(file);
    rewind(file);
    char *text = calloc(1, length + 1);
    assert_non_null(text);
    assert_int_equal(fread(text, 1, length, file), length);
    fclose(file);
    assert_int_equal(strlen(text), length); /* no zero byte in a text */
    return text;
}

static inline bool rig_has(const struct rig *rig, const char *name)
{
    char path[128];
    rig_path(rig, name, path);
    return access(path, F_OK) == 0;
}

/* Every byte belongs to a UTF-8 character. */
static inline void rig_check_utf8(const char *text)
{
    for (const unsigned char *byte = (const unsigned char *)text; *byte;) {
        size_t length = *byte < 0x80                    ? 1
                        : *byte >= 0xC2 && *byte < 0xE0 ? 2
                        : (*byte & 0xF0) == 0xE0        ? 3
                        : (*byte & 0xF8) == 0xF0        ? 4
                                                        : 0;
        assert_true(length > 0);
        for (size_t i = 1; i < length; i++)
            assert_int_equal(byte[i] & 0xC0, 0x80);
        byte += length;
    }
}

#endif
