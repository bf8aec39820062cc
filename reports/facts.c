/* facts.c: readings of a run that several writers need, so that they never tell it differently. */
#include "internal.h"

#include <math.h>
#include <stdio.h>
#include <time.h>

uint32_t report_expectation_count(const struct report_run *run)
{
    return run->expectations ? run->scenario->expectation_count : 0;
}

static uint32_t count_verdicts(const struct report_run *run, enum verdict verdict)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < report_expectation_count(run); i++)
        count += run->expectations[i].verdict == verdict;
    return count;
}

uint32_t report_passed(const struct report_run *run)
{
    return count_verdicts(run, VERDICT_PASS);
}

const char *report_verdict(const struct report_run *run)
{
    switch (run->result->status) {
    case WORLD_INTERRUPTED: return "interrupted";
    case WORLD_ENVIRONMENT:
    case WORLD_SCENARIO: return "error";
    case WORLD_COMPLETED:
    case WORLD_RIG_LIMITED: break;
    }
    if (count_verdicts(run, VERDICT_FAIL))
        return "fail";
    bool limited = run->result->status == WORLD_RIG_LIMITED;
    return limited || count_verdicts(run, VERDICT_INCONCLUSIVE) || !report_passed(run) ? "inconclusive" : "pass";
}

double report_bytes_per_vehicle(const struct report_run *run)
{
    return run->scenario->fleet ? (double)run->result->peak_rss_bytes / run->scenario->fleet : 0;
}

const char *report_world(const struct report_run *run)
{
    return run->options->kind == WORLD_LIVE ? "live" : "virtual";
}

const char *report_title(const struct expectation *expectation)
{
    return expectation->text[0] ? expectation->text : expectation->id;
}

const char *report_unit(const struct expectation *expectation)
{
    bool amount = expectation->statistic == STATISTIC_TOTAL || expectation->statistic == STATISTIC_COUNT;
    if (expectation->source == EXPECT_COUNTER) {
        bool rate = !counter_is_gauge(expectation->what) && !amount;
        return counter_is_bytes(expectation->what) ? (rate ? "bytes_per_second" : "bytes")
               : rate                              ? "per_second"
                                                   : "count";
    }
    if (expectation->statistic == STATISTIC_SHARE)
        return "share";
    if (expectation->source != EXPECT_METRIC || expectation->statistic == STATISTIC_COUNT)
        return "count";
    return metric_unit(expectation->what);
}

const char *report_comparison_sign(enum comparison comparison)
{
    static const char *const signs[] = {"<", "≤", ">", "≥", "="};
    return (size_t)comparison < sizeof(signs) / sizeof(signs[0]) ? signs[comparison] : "";
}

const char *report_verdict_sign(enum verdict verdict)
{
    static const char *const signs[] = {"✓", "✗", "?", "–"};
    return (size_t)verdict < sizeof(signs) / sizeof(signs[0]) ? signs[verdict] : "?";
}

void report_statistic_label(const struct expectation *expectation, char *out, size_t capacity)
{
    out[0] = 0;
    switch (expectation->statistic) {
    case STATISTIC_QUANTILE:
        if (expectation->quantile == 0.5)
            snprintf(out, capacity, "median");
        else
            snprintf(out, capacity, "p%g", round(expectation->quantile * 1e6) / 1e4);
        break;
    case STATISTIC_MEAN: snprintf(out, capacity, "mean"); break;
    case STATISTIC_MAXIMUM: snprintf(out, capacity, "max"); break;
    case STATISTIC_MINIMUM: snprintf(out, capacity, "min"); break;
    case STATISTIC_LAST: snprintf(out, capacity, "last"); break;
    case STATISTIC_COUNT:
    case STATISTIC_TOTAL:
    case STATISTIC_SHARE: break; /* the number says it */
    }
}

void report_measured_text(const struct expectation *expectation, const struct expectation_result *result, char *out,
                          size_t capacity)
{
    char label[24], value[64], of[64] = "";
    if (result->verdict == VERDICT_NOT_AVAILABLE || (!result->samples && result->verdict == VERDICT_INCONCLUSIVE)) {
        snprintf(out, capacity, "not measured");
        return;
    }
    report_statistic_label(expectation, label, sizeof(label));
    expectation_format(expectation, result->measured, value, sizeof(value));
    bool ledger = expectation->source == EXPECT_LEDGER || expectation->source == EXPECT_COMMANDS;
    if (ledger && !label[0] && expectation->statistic != STATISTIC_SHARE && result->samples)
        measure_format_count((double)result->samples, of, sizeof(of));
    snprintf(out, capacity, "%s%s%s%s%s", label, label[0] ? " " : "", value, of[0] ? " of " : "", of);
}

void report_bound_text(const struct expectation *expectation, char *out, size_t capacity)
{
    char value[64];
    expectation_format(expectation, expectation->bound, value, sizeof(value));
    snprintf(out, capacity, "%s %s", report_comparison_sign(expectation->comparison), value);
}

void report_vehicle_name(const struct report_run *run, uint32_t vehicle, char *out, size_t capacity)
{
    out[0] = 0;
    if (vehicle != MEASURE_NO_VEHICLE && vehicle < run->scenario->fleet)
        scenario_vehicle_name(run->scenario, vehicle, out, capacity);
    if (!out[0])
        snprintf(out, capacity, "nobody");
}

void report_metric_text(enum metric metric, double value, char *out, size_t capacity)
{
    measure_format_metric(metric, value, out, capacity);
}

void report_worst_text(const struct expectation *expectation, const struct measure_worst *worst, char *out,
                       size_t capacity)
{
    if (expectation->source == EXPECT_METRIC)
        report_metric_text(expectation->what, (double)worst->value, out, capacity);
    else
        report_victim_text(worst, out, capacity);
}

void report_victim_text(const struct measure_worst *worst, char *out, size_t capacity)
{
    char count[48];
    measure_format_count((double)worst->value, count, sizeof(count));
    if (worst->step == IDENTITY_STEP_NONE)
        snprintf(out, capacity, "%s", count);
    else if (worst->value == 1)
        snprintf(out, capacity, "%s", identity_step_name(worst->step));
    else
        snprintf(out, capacity, "%s, first %s", count, identity_step_name(worst->step));
}

bool report_tells_victims(const struct expectation *expectation, const struct expectation_result *result)
{
    return expectation->source == EXPECT_COUNTER && result->verdict == VERDICT_FAIL && result->worst_count > 0 &&
           expectation->what != COUNTER_COMMANDS_TIMED_OUT;
}

bool report_has_identities(const struct report_run *run)
{
    const struct measure *measure = run->result->measure;
    struct summary summary;
    bool used = run->scenario->cloud.lifecycle.on;
    for (int metric = METRIC_ROTATION_NOTICE; measure && !used && metric <= METRIC_OWNER_TOTAL; metric++)
        used = report_summary(measure, metric, MEASURE_EVERYBODY, &summary);
    for (int counter = COUNTER_ROTATIONS; measure && !used && counter <= COUNTER_FLAW_OLD_ACCEPTED; counter++)
        used = measure_total(measure, counter, MEASURE_EVERYBODY) != 0;
    return measure && used;
}

void report_digest(const struct report_run *run, char out[33])
{
    out[0] = 0;
    if (run->result->has_digest)
        sim_digest_text(&run->result->digest, out);
}

void report_started(const struct report_run *run, char out[32])
{
    time_t started = (time_t)run->started_epoch_s;
    struct tm parts;
    gmtime_r(&started, &parts);
    strftime(out, 32, "%Y-%m-%dT%H:%M:%SZ", &parts);
}

/* ---- metrics ----------------------------------------------------------------------------------------------------------- */

bool report_summary(const struct measure *measure, enum metric metric, struct measure_dimension filter,
                    struct summary *out)
{
    struct histogram histogram;
    memset(out, 0, sizeof(*out));
    if (!measure)
        return false;
    measure_histogram(measure, metric, filter, false, &histogram);
    if (!histogram.count) {
        measure_histogram(measure, metric, filter, true, &histogram);
        out->excluded = true;
    }
    if (!histogram.count)
        return false;
    out->count = histogram.count;
    out->mean = histogram_mean(&histogram);
    out->minimum = histogram.minimum;
    out->maximum = histogram.maximum;
    out->p50 = histogram_quantile(&histogram, 0.5);
    out->p90 = histogram_quantile(&histogram, 0.9);
    out->p99 = histogram_quantile(&histogram, 0.99);
    out->p999 = histogram_quantile(&histogram, 0.999);
    return true;
}

void report_each_part(const struct report_run *run, enum metric metric, report_part_function function, void *context)
{
    const struct measure *measure = run->result->measure;
    const struct scenario *scenario = run->scenario;
    struct summary summary;
    if (!report_summary(measure, metric, MEASURE_EVERYBODY, &summary))
        return;
    function(context, metric, "all", "", MEASURE_EVERYBODY);
    for (uint8_t path = PATH_CONNECTED; path < PATH_COUNT; path++) {
        struct measure_dimension filter = {MEASURE_ANY, MEASURE_ANY, path};
        if (report_summary(measure, metric, filter, &summary))
            function(context, metric, "path", metric_path_name(path), filter);
    }
    for (uint16_t cohort = 0; cohort < scenario->cohort_count; cohort++) {
        struct measure_dimension filter = {cohort, MEASURE_ANY, PATH_ANY};
        if (report_summary(measure, metric, filter, &summary))
            function(context, metric, "cohort", scenario->cohorts[cohort].name, filter);
    }
    for (uint16_t region = 0; region < scenario->region_count; region++) {
        struct measure_dimension filter = {MEASURE_ANY, region, PATH_ANY};
        if (report_summary(measure, metric, filter, &summary))
            function(context, metric, "region", scenario->regions[region].name, filter);
    }
}
