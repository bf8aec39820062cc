/* json.c: result.json, for programs: everything the other files tell, once. Values that are no numbers (unbounded) are null. */
#include "internal.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>

static void add_text(cJSON *object, const char *name, const char *text)
{
    char clean[2200];
    if (!text) {
        cJSON_AddNullToObject(object, name);
        return;
    }
    utf8_clean(text, clean, sizeof(clean));
    cJSON_AddStringToObject(object, name, clean);
}

/* Exact: a double would lose the last digits of large ones. */
static void add_count(cJSON *object, const char *name, uint64_t value)
{
    char digits[24];
    snprintf(digits, sizeof(digits), "%llu", (unsigned long long)value);
    cJSON_AddRawToObject(object, name, digits);
}

static void add_integer(cJSON *object, const char *name, int64_t value)
{
    char digits[24];
    snprintf(digits, sizeof(digits), "%lld", (long long)value);
    cJSON_AddRawToObject(object, name, digits);
}

static void add_number(cJSON *object, const char *name, double value)
{
    cJSON_AddItemToObject(object, name, isfinite(value) ? cJSON_CreateNumber(value) : cJSON_CreateNull());
}

static void add_seconds(cJSON *object, const char *name, int64_t us)
{
    if (us < 0)
        cJSON_AddNullToObject(object, name);
    else
        add_number(object, name, (double)us / 1e6);
}

/* ---- expectations ------------------------------------------------------------------------------------------------------ */

static void add_vehicles(const struct report_run *run, cJSON *object, const struct expectation_result *result)
{
    cJSON *vehicles = cJSON_AddArrayToObject(object, "vehicles");
    for (uint32_t i = 0; i < result->worst_count; i++) {
        char name[SCENARIO_NAME + 16];
        cJSON *one = cJSON_CreateObject();
        cJSON_AddItemToArray(vehicles, one);
        report_vehicle_name(run, result->worst[i].vehicle, name, sizeof(name));
        add_text(one, "name", name);
        add_integer(one, "value", result->worst[i].value);
        add_seconds(one, "at_s", result->worst[i].at_us);
        if (result->worst[i].step != IDENTITY_STEP_NONE)
            add_text(one, "step", identity_step_name(result->worst[i].step));
    }
}

/* What it looks at, so that programs can find the distribution: source, name, and who. null: everybody. */
static void add_subject(const struct scenario *scenario, cJSON *object, const struct expectation *expectation)
{
    static const char *const sources[] = {"metric", "counter", "ledger", "commands"};
    const struct measure_dimension *filter = &expectation->filter;
    add_text(object, "source", sources[expectation->source]);
    add_text(object, "what",
             expectation->source == EXPECT_METRIC    ? metric_name(expectation->what)
             : expectation->source == EXPECT_COUNTER ? counter_name(expectation->what)
             : expectation->source == EXPECT_LEDGER  ? ledger_field_name(expectation->what)
                                                     : commands_field_name(expectation->what));
    add_text(object, "path", metric_path_name(filter->path));
    cJSON_AddBoolToObject(object, "excluded_phases_too", expectation->with_excluded);
    add_text(object, "cohort", filter->cohort < scenario->cohort_count ? scenario->cohorts[filter->cohort].name : NULL);
    add_text(object, "region", filter->region < scenario->region_count ? scenario->regions[filter->region].name : NULL);
}

static void add_expectation(const struct report_run *run, cJSON *array, uint32_t index)
{
    const struct expectation *expectation = &run->scenario->expectations[index];
    const struct expectation_result *result = &run->expectations[index];
    bool known = result->verdict != VERDICT_NOT_AVAILABLE;
    char measured[128], bound[96];
    cJSON *one = cJSON_CreateObject();
    cJSON_AddItemToArray(array, one);
    add_text(one, "id", expectation->id);
    add_text(one, "text", report_title(expectation));
    add_text(one, "verdict", verdict_name(result->verdict));
    add_number(one, "measured", known ? result->measured : NAN);
    add_number(one, "low", known ? result->low : NAN);
    add_number(one, "high", known ? result->high : NAN);
    add_number(one, "bound", expectation->bound);
    add_subject(run->scenario, one, expectation);
    add_text(one, "comparison", comparison_name(expectation->comparison));
    add_text(one, "unit", report_unit(expectation));
    add_text(one, "statistic", statistic_name(expectation->statistic));
    if (expectation->statistic == STATISTIC_QUANTILE)
        add_number(one, "quantile", expectation->quantile);
    add_number(one, "confidence", expectation->confidence > 0 ? expectation->confidence : NAN);
    add_count(one, "samples", result->samples);
    add_seconds(one, "at_s", result->at_us);
    report_measured_text(expectation, result, measured, sizeof(measured));
    report_bound_text(expectation, bound, sizeof(bound));
    add_text(one, "measured_text", measured);
    add_text(one, "bound_text", bound);
    add_text(one, "detail", result->detail);
    add_integer(one, "line", expectation->line);
    add_text(one, "needs", expectation->needs);
    add_vehicles(run, one, result);
}

/* ---- scenario ---------------------------------------------------------------------------------------------------------- */

static void add_parameter_value(cJSON *object, const char *name, enum parameter_kind kind, double value,
                                const char *text)
{
    if (kind == PARAMETER_TEXT)
        add_text(object, name, text);
    else if (kind == PARAMETER_BOOLEAN)
        cJSON_AddBoolToObject(object, name, value != 0);
    else
        add_number(object, name, value);
}

static void add_scenario(const struct scenario *scenario, cJSON *root)
{
    cJSON *object = cJSON_AddObjectToObject(root, "scenario");
    add_text(object, "name", scenario->name);
    add_text(object, "path", scenario->path);
    add_text(object, "hash", scenario->hash);
    add_seconds(object, "duration_s", scenario->duration_us);
    add_seconds(object, "warm_up_s", scenario->warm_up_us);
    add_number(object, "start_epoch_s", (double)scenario->start_epoch_us / 1e6);
    cJSON *parameters = cJSON_AddArrayToObject(object, "parameters");
    for (uint32_t i = 0; i < scenario->parameter_count; i++) {
        const struct scenario_parameter *parameter = &scenario->parameters[i];
        cJSON *one = cJSON_CreateObject();
        cJSON_AddItemToArray(parameters, one);
        add_text(one, "name", parameter->name);
        add_text(one, "text", parameter->text);
        add_parameter_value(one, "value", parameter->kind, parameter->value, parameter->value_text);
        add_parameter_value(one, "standard", parameter->kind, parameter->standard, parameter->standard_text);
        cJSON_AddBoolToObject(one, "overridden", parameter->overridden);
        cJSON_AddBoolToObject(one, "fault", parameter->fault);
    }
    cJSON *cohorts = cJSON_AddArrayToObject(object, "cohorts");
    for (uint32_t i = 0; i < scenario->cohort_count; i++) {
        cJSON *one = cJSON_CreateObject();
        cJSON_AddItemToArray(cohorts, one);
        add_text(one, "name", scenario->cohorts[i].name);
        add_count(one, "first", scenario->cohorts[i].first);
        add_count(one, "count", scenario->cohorts[i].count);
        add_text(one, "radio", scenario->cohorts[i].radio.name);
    }
    cJSON *regions = cJSON_AddArrayToObject(object, "regions");
    for (uint32_t i = 0; i < scenario->region_count; i++) {
        char clean[64];
        utf8_clean(scenario->regions[i].name, clean, sizeof(clean));
        cJSON_AddItemToArray(regions, cJSON_CreateString(clean));
    }
}

/* ---- metrics, counters, ledgers ---------------------------------------------------------------------------------------- */

struct metric_target {
    const struct measure *measure;
    cJSON *metric;
};

static void add_part(void *context, enum metric metric, const char *kind, const char *name,
                     struct measure_dimension filter)
{
    struct metric_target *target = context;
    struct summary summary;
    char group[24];
    report_summary(target->measure, metric, filter, &summary);
    cJSON *object = target->metric;
    if (strcmp(kind, "all") != 0) {
        snprintf(group, sizeof(group), "by_%s", kind);
        cJSON *parts = cJSON_GetObjectItemCaseSensitive(object, group);
        if (!parts)
            parts = cJSON_AddObjectToObject(object, group);
        char clean[64];
        utf8_clean(name, clean, sizeof(clean));
        object = cJSON_AddObjectToObject(parts, clean);
    }
    add_count(object, "count", summary.count);
    add_number(object, "mean", summary.mean);
    add_integer(object, "min", summary.minimum);
    add_integer(object, "p50", summary.p50);
    add_integer(object, "p90", summary.p90);
    add_integer(object, "p99", summary.p99);
    add_integer(object, "p999", summary.p999);
    add_integer(object, "max", summary.maximum);
    if (summary.excluded)
        cJSON_AddTrueToObject(object, "excluded_phases_only");
}

static void add_metrics(const struct report_run *run, cJSON *root)
{
    cJSON *metrics = cJSON_AddObjectToObject(root, "metrics");
    for (int metric = 0; metric < METRIC_COUNT; metric++) {
        struct summary summary;
        if (!report_summary(run->result->measure, metric, MEASURE_EVERYBODY, &summary))
            continue;
        struct metric_target target = {run->result->measure, cJSON_AddObjectToObject(metrics, metric_name(metric))};
        add_text(target.metric, "unit", metric_unit(metric));
        report_each_part(run, metric, add_part, &target);
    }
}

static void add_totals(const struct measure *measure, cJSON *root)
{
    cJSON *counters = cJSON_AddObjectToObject(root, "counters");
    for (int counter = 0; counter < COUNTER_COUNT && measure; counter++)
        add_integer(counters, counter_name(counter), measure_total(measure, counter, MEASURE_EVERYBODY));
    cJSON *ledger = cJSON_AddObjectToObject(root, "ledger");
    struct ledger_totals totals;
    if (measure && measure_ledger_totals(measure, MEASURE_EVERYBODY, &totals)) {
        for (int field = 0; field < LEDGER_FIELD_COUNT; field++)
            add_count(ledger, ledger_field_name(field), totals.field[field]);
        add_count(ledger, "forgotten", totals.forgotten);
        add_count(ledger, "vehicles", totals.vehicles);
        add_count(ledger, "vehicles_concerned", totals.vehicles_concerned);
    }
    cJSON *commands = cJSON_AddObjectToObject(root, "commands");
    for (int field = 0; field < COMMANDS_FIELD_COUNT && measure; field++)
        add_count(commands, commands_field_name(field), commands_value(measure_commands_row(measure), field));
}

/* ---- the run ----------------------------------------------------------------------------------------------------------- */

static void add_memory(const struct report_run *run, cJSON *root)
{
    add_count(root, "peak_rss_bytes", run->result->peak_rss_bytes);
    add_number(root, "bytes_per_vehicle", report_bytes_per_vehicle(run));
    cJSON *memory = cJSON_AddArrayToObject(root, "memory");
    for (uint32_t i = 0; i < run->result->memory_parts; i++) {
        cJSON *one = cJSON_CreateObject();
        cJSON_AddItemToArray(memory, one);
        add_text(one, "part", run->result->memory[i].part);
        add_count(one, "bytes", run->result->memory[i].bytes);
        add_number(one, "bytes_per_vehicle",
                   run->scenario->fleet ? (double)run->result->memory[i].bytes / run->scenario->fleet : NAN);
    }
}

static void add_lag(const struct report_run *run, cJSON *root)
{
    if (run->options->kind != WORLD_LIVE) {
        cJSON_AddNullToObject(root, "lag");
        return;
    }
    cJSON *lag = cJSON_AddObjectToObject(root, "lag");
    add_integer(lag, "p50_us", run->result->lag_p50_us);
    add_integer(lag, "p99_us", run->result->lag_p99_us);
    add_integer(lag, "max_us", run->result->lag_max_us);
    add_number(lag, "bound_ms", run->options->lag_bound_ms > 0 ? run->options->lag_bound_ms : 50);
}

static void add_run(const struct report_run *run, cJSON *root)
{
    const struct world_result *result = run->result;
    char digest[33], started[32];
    report_digest(run, digest);
    report_started(run, started);
    add_text(root, "verdict", report_verdict(run));
    add_integer(root, "exit_code", run->exit_code);
    add_text(root, "error", result->error[0] ? result->error : NULL);
    add_text(root, "run", run->run_name);
    add_text(root, "command", run->command);
    add_text(root, "world", report_world(run));
    add_text(root, "broker", result->broker);
    add_text(root, "cloud_profile", result->cloud_profile);
    add_text(root, "started", started);
    add_text(root, "machine", run->machine);
    add_count(root, "seed", run->scenario->seed);
    add_text(root, "digest", digest[0] ? digest : NULL);
    add_count(root, "fleet", run->scenario->fleet);
    add_number(root, "simulated_s", (double)result->simulated_us / 1e6);
    add_number(root, "wall_s", result->wall_s);
    add_number(root, "cpu_s", result->cpu_s);
    add_number(root, "cloud_cpu_s", run->options->kind == WORLD_LIVE ? result->cloud_cpu_s : NAN);
    add_count(root, "events", result->events);
    add_count(root, "packets", result->packets);
    add_count(root, "wire_bytes", result->wire_bytes);
    add_count(root, "registered_things", result->registered_things);
    add_count(root, "active_certificates", result->active_certificates);
    add_memory(run, root);
}

static void add_notes(const struct report_run *run, cJSON *root)
{
    add_text(root, "unavailable", run->result->unavailable);
    cJSON *notes = cJSON_AddArrayToObject(root, "notes");
    for (uint32_t i = 0; i < run->result->note_count; i++) {
        char clean[256];
        utf8_clean(run->result->notes[i], clean, sizeof(clean));
        cJSON_AddItemToArray(notes, cJSON_CreateString(clean));
    }
    add_lag(run, root);
    cJSON *versions = cJSON_AddObjectToObject(root, "versions");
    struct report_version version[16];
    uint32_t count = report_versions(run, version);
    for (uint32_t i = 0; i < count; i++)
        add_text(versions, version[i].name, version[i].value);
}

bool report_write_json(const struct report_run *run, const char *path, char *error, size_t error_capacity)
{
    cJSON *root = cJSON_CreateObject();
    add_run(run, root);
    add_scenario(run->scenario, root);
    cJSON *expectations = cJSON_AddArrayToObject(root, "expectations");
    for (uint32_t i = 0; i < report_expectation_count(run); i++)
        add_expectation(run, expectations, i);
    add_notes(run, root);
    add_metrics(run, root);
    add_totals(run->result->measure, root);
    return page_write_json(root, path, error, error_capacity);
}
