/* openmetrics.c: metrics.prom, for dashboards that compare runs: OpenMetrics text, every sample labelled with its scenario. */
#include "internal.h"

#include <math.h>
#include <stdio.h>

static void write_label(struct page *page, const char *name, const char *value, bool first)
{
    char clean[640];
    utf8_clean(value, clean, sizeof(clean));
    page_format(page, "%s%s=\"", first ? "" : ",", name);
    for (const char *at = clean; *at; at++) {
        if (*at == '\\' || *at == '"')
            page_format(page, "\\%c", *at);
        else if (*at == '\n')
            page_add(page, "\\n");
        else if ((unsigned char)*at >= 0x20)
            page_bytes(page, at, 1);
    }
    page_add(page, "\"");
}

static void write_family(struct page *page, const char *name, const char *type, const char *unit, const char *help)
{
    page_format(page, "# TYPE convoy_%s %s\n", name, type);
    if (unit)
        page_format(page, "# UNIT convoy_%s %s\n", name, unit);
    page_format(page, "# HELP convoy_%s %s\n", name, help);
}

/* Opens a sample: name and the label every sample has. */
static void open_sample(const struct report_run *run, struct page *page, const char *name)
{
    page_format(page, "convoy_%s{", name);
    write_label(page, "scenario", run->scenario->name, true);
}

static void close_sample(struct page *page, double value)
{
    if (isfinite(value))
        page_format(page, "} %.15g\n", value);
    else
        page_add(page, isnan(value) ? "} NaN\n" : value > 0 ? "} +Inf\n" : "} -Inf\n");
}

static void write_one(const struct report_run *run, struct page *page, const char *name, const char *unit,
                      const char *help, double value)
{
    write_family(page, name, "gauge", unit, help);
    open_sample(run, page, name);
    close_sample(page, value);
}

static void write_run(const struct report_run *run, struct page *page)
{
    const struct world_result *result = run->result;
    char digest[33], seed[24];
    report_digest(run, digest);
    snprintf(seed, sizeof(seed), "%llu", (unsigned long long)run->scenario->seed);
    write_family(page, "run", "info", NULL, "What was run.");
    open_sample(run, page, "run_info");
    write_label(page, "verdict", report_verdict(run), false);
    write_label(page, "world", report_world(run), false);
    write_label(page, "seed", seed, false);
    write_label(page, "digest", digest, false);
    write_label(page, "version", run->version ? run->version : "", false);
    write_label(page, "commit", run->commit ? run->commit : "", false);
    close_sample(page, 1);
    write_one(run, page, "exit_code", NULL, "Exit code of the run.", run->exit_code);
    write_one(run, page, "fleet", NULL, "Vehicles.", run->scenario->fleet);
    write_one(run, page, "started_seconds", "seconds", "When the run began, Unix time.", (double)run->started_epoch_s);
    write_one(run, page, "simulated_seconds", "seconds", "Scenario time that passed.",
              (double)result->simulated_us / 1e6);
    write_one(run, page, "wall_seconds", "seconds", "Time the run took.", result->wall_s);
    write_one(run, page, "cpu_seconds", "seconds", "Processor time of the run.", result->cpu_s);
    write_one(run, page, "peak_rss_bytes", "bytes", "Largest resident memory.", (double)result->peak_rss_bytes);
    write_one(run, page, "vehicle_bytes", "bytes", "Largest resident memory a vehicle.", report_bytes_per_vehicle(run));
    write_one(run, page, "events", NULL, "Events handled.", (double)result->events);
    write_one(run, page, "packets", NULL, "MQTT packets carried.", (double)result->packets);
    write_one(run, page, "wire_bytes", "bytes", "Bytes carried.", (double)result->wire_bytes);
}

static void write_expectations(const struct report_run *run, struct page *page)
{
    write_family(page, "expectation_verdict", "stateset", NULL, "How an expectation was judged.");
    for (uint32_t i = 0; i < report_expectation_count(run); i++)
        for (int verdict = VERDICT_PASS; verdict <= VERDICT_NOT_AVAILABLE; verdict++) {
            open_sample(run, page, "expectation_verdict");
            write_label(page, "expectation", run->scenario->expectations[i].id, false);
            write_label(page, "convoy_expectation_verdict", verdict_name(verdict), false);
            close_sample(page, run->expectations[i].verdict == (enum verdict)verdict);
        }
    for (int kind = 0; kind < 2; kind++) {
        const char *name = kind ? "expectation_bound" : "expectation_measured";
        write_family(page, name, "gauge", NULL,
                     kind ? "What was asked, in its own unit." : "What was measured, in its own unit.");
        for (uint32_t i = 0; i < report_expectation_count(run); i++) {
            if (run->expectations[i].verdict == VERDICT_NOT_AVAILABLE)
                continue;
            open_sample(run, page, name);
            write_label(page, "expectation", run->scenario->expectations[i].id, false);
            write_label(page, "unit", report_unit(&run->scenario->expectations[i]), false);
            close_sample(page, kind ? run->scenario->expectations[i].bound : run->expectations[i].measured);
        }
    }
}

/* ---- metrics as summaries: durations in seconds, the unit of the format ------------------------------------------------- */

struct family {
    const char *name, *unit, *help;
    double scale;
    bool always; /* even when nothing was sampled */
};
static const struct family families[] = {
    [METRIC_IS_TIME] = {"duration_seconds", "seconds", "Durations from the intended moment, by metric.", 1e-6, true},
    [METRIC_IS_BYTES] = {"bytes_day", NULL, "Bytes a vehicle and day, by direction.", 1, true},
    [METRIC_IS_CHARGE] = {"parking_ampere_hours", "ampere_hours", "Charge a vehicle used in a parking.", 1e-6, false},
    [METRIC_IS_MONEY] = {"cost_day", NULL, "Cost of data a vehicle and day, in the scenario's currency.", 1e-6, false},
};

struct summary_target {
    const struct report_run *run;
    struct page *page;
    const struct family *family;
};

static void write_summary(void *context, enum metric metric, const char *kind, const char *name,
                          struct measure_dimension filter)
{
    struct summary_target *target = context;
    struct summary summary;
    if (!report_summary(target->run->result->measure, metric, filter, &summary))
        return;
    const struct {
        const char *quantile;
        int64_t value;
    } quantiles[] = {{"0.5", summary.p50},
                     {"0.9", summary.p90},
                     {"0.99", summary.p99},
                     {"0.999", summary.p999},
                     {"1.0", summary.maximum}};
    const char *family = target->family->name;
    double scale = target->family->scale;
    char part[40];
    for (int i = 0; i < 7; i++) {
        snprintf(part, sizeof(part), "%s%s", family, i == 5 ? "_count" : i == 6 ? "_sum" : "");
        open_sample(target->run, target->page, part);
        write_label(target->page, "metric", metric_name(metric), false);
        write_label(target->page, "path", strcmp(kind, "path") == 0 ? name : "", false);
        write_label(target->page, "cohort", strcmp(kind, "cohort") == 0 ? name : "", false);
        write_label(target->page, "region", strcmp(kind, "region") == 0 ? name : "", false);
        if (i < 5)
            write_label(target->page, "quantile", quantiles[i].quantile, false);
        close_sample(target->page, i < 5    ? (double)quantiles[i].value * scale
                                   : i == 5 ? (double)summary.count
                                            : summary.mean * (double)summary.count * scale);
    }
}

static bool has_samples(const struct report_run *run, enum metric_kind kind)
{
    struct summary summary;
    for (int metric = 0; metric < METRIC_COUNT; metric++)
        if (metric_kind(metric) == kind && report_summary(run->result->measure, metric, MEASURE_EVERYBODY, &summary))
            return true;
    return false;
}

static void write_metrics(const struct report_run *run, struct page *page)
{
    for (int kind = 0; kind < (int)(sizeof(families) / sizeof(families[0])); kind++) {
        struct summary_target target = {run, page, &families[kind]};
        if (!target.family->always && !has_samples(run, kind))
            continue;
        write_family(page, target.family->name, "summary", target.family->unit, target.family->help);
        for (int metric = 0; metric < METRIC_COUNT; metric++)
            if ((int)metric_kind(metric) == kind)
                report_each_part(run, metric, write_summary, &target);
    }
}

/* ---- counters and ledgers ------------------------------------------------------------------------------------------------ */

static void write_totals(const struct report_run *run, struct page *page)
{
    const struct measure *measure = run->result->measure;
    struct ledger_totals totals;
    write_family(page, "counts", "counter", NULL, "What was counted over the run.");
    for (int counter = 0; counter < COUNTER_COUNT; counter++)
        if (!counter_is_gauge(counter)) {
            open_sample(run, page, "counts_total");
            write_label(page, "counter", counter_name(counter), false);
            close_sample(page, (double)measure_total(measure, counter, MEASURE_EVERYBODY));
        }
    write_family(page, "ledger_messages", "gauge", NULL, "Telemetry messages by what became of them.");
    for (int field = 0; field < LEDGER_FIELD_COUNT && measure_ledger_totals(measure, MEASURE_EVERYBODY, &totals);
         field++) {
        open_sample(run, page, "ledger_messages");
        write_label(page, "outcome", ledger_field_name(field), false);
        close_sample(page, (double)totals.field[field]);
    }
    write_family(page, "ledger_commands", "gauge", NULL, "Commands by what became of them.");
    for (int field = 0; field < COMMANDS_FIELD_COUNT; field++) {
        open_sample(run, page, "ledger_commands");
        write_label(page, "outcome", commands_field_name(field), false);
        close_sample(page, (double)commands_value(measure_commands_row(measure), field));
    }
}

static void write_memory(const struct report_run *run, struct page *page)
{
    write_family(page, "memory_bytes", "gauge", "bytes", "Memory by part.");
    for (uint32_t i = 0; i < run->result->memory_parts; i++) {
        open_sample(run, page, "memory_bytes");
        write_label(page, "part", run->result->memory[i].part, false);
        close_sample(page, (double)run->result->memory[i].bytes);
    }
}

bool report_write_openmetrics(const struct report_run *run, const char *path, char *error, size_t error_capacity)
{
    struct page page = {0};
    write_run(run, &page);
    write_expectations(run, &page);
    if (run->result->measure) {
        write_metrics(run, &page);
        write_totals(run, &page);
    }
    write_memory(run, &page);
    page_add(&page, "# EOF\n");
    return page_write(&page, path, error, error_capacity);
}
