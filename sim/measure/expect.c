/* expect.c: from what was measured to a verdict. A pass and a fail need the confidence bound of their own side; between the two it is
 * inconclusive, and the detail says what would decide it. */
#include "expect.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>

/* ---- what cannot be judged --------------------------------------------------------------------------------------------- */

static bool is_filtered(struct measure_dimension filter)
{
    return filter.cohort != MEASURE_ANY || filter.region != MEASURE_ANY;
}

static bool is_windowed(const struct expectation *expectation)
{
    return expectation->temporal != AT_END || expectation->from_us != 0 || expectation->by_us != 0;
}

static const char *problem_of_sum(const struct expectation *expectation)
{
    if (expectation->also_count > EXPECTATION_ALSO)
        return "too many counters are added up";
    for (uint32_t i = 0; i < expectation->also_count; i++) {
        enum counter counter = expectation->also[i];
        if ((unsigned)counter >= COUNTER_COUNT)
            return "there is no such counter";
        if (counter_is_gauge(counter) || counter_is_gauge(expectation->what))
            return "a gauge cannot be added to another counter";
        if (counter_is_bytes(counter) != counter_is_bytes(expectation->what))
            return "bytes cannot be added to other counts";
        for (uint32_t j = 0; j <= i; j++)
            if (expectation_counter(expectation, j) == counter)
                return "a counter is added to itself";
    }
    return NULL;
}

static const char *problem_of_counter(const struct expectation *expectation)
{
    bool amount = expectation->statistic == STATISTIC_TOTAL || expectation->statistic == STATISTIC_COUNT;
    if (expectation->what >= COUNTER_COUNT)
        return "there is no such counter";
    if (expectation->statistic == STATISTIC_SHARE)
        return "a counter has no share; use the ledger or commands";
    if (amount && counter_is_gauge(expectation->what))
        return "a gauge has no total; use its maximum, minimum, mean or last value";
    if (expectation->by_us != 0 && expectation->by_us <= expectation->from_us)
        return "the window ends before it begins";
    return problem_of_sum(expectation);
}

static const char *problem_of_ledger(const struct expectation *expectation)
{
    if (expectation->what >= LEDGER_FIELD_COUNT)
        return "there is no such column in the ledger";
    if (expectation->statistic == STATISTIC_LAST)
        return "the ledger has no last value; use its total or share";
    if (expectation->filter.path != PATH_ANY)
        return "the ledger is not kept by path";
    return NULL;
}

static const char *problem_of_commands(const struct expectation *expectation)
{
    enum statistic statistic = expectation->statistic;
    if (expectation->what >= COMMANDS_FIELD_COUNT)
        return "there is no such outcome of commands";
    if (statistic != STATISTIC_TOTAL && statistic != STATISTIC_COUNT && statistic != STATISTIC_SHARE)
        return "outcomes of commands have a total and a share only";
    if (is_filtered(expectation->filter) || expectation->filter.path != PATH_ANY)
        return "outcomes of commands are not kept by cohort, region or path; use the counters or the metric";
    return NULL;
}

static const char *problem_of_metric(const struct expectation *expectation)
{
    if (expectation->what >= METRIC_COUNT)
        return "there is no such metric";
    if (expectation->statistic == STATISTIC_LAST || expectation->statistic == STATISTIC_SHARE)
        return "a metric has no last value and no share";
    return NULL;
}

const char *expectation_problem(const struct expectation *expectation)
{
    if (expectation->also_count > 0 && expectation->source != EXPECT_COUNTER)
        return "only counters are added up";
    if (expectation->confidence != 0 && !(expectation->confidence >= 0.5 && expectation->confidence <= 0.9999))
        return "the confidence must be between 0.5 and 0.9999";
    if (expectation->statistic == STATISTIC_QUANTILE && !(expectation->quantile >= 0 && expectation->quantile <= 1))
        return "the quantile must be between 0 and 1";
    if (!isfinite(expectation->bound))
        return "the bound must be a number";
    if (expectation->source != EXPECT_COUNTER && is_windowed(expectation))
        return "only counters are kept over time: always, eventually and a window need one";
    switch (expectation->source) {
    case EXPECT_METRIC: return problem_of_metric(expectation);
    case EXPECT_COUNTER: return problem_of_counter(expectation);
    case EXPECT_LEDGER: return problem_of_ledger(expectation);
    case EXPECT_COMMANDS: return problem_of_commands(expectation);
    }
    return "there is no such source";
}

static bool lists(const char *list, const char *feature)
{
    size_t length = strlen(feature);
    if (!list || length == 0)
        return false;
    while (*list) {
        list += strspn(list, ", ");
        size_t word = strcspn(list, ", ");
        if (word == length && memcmp(list, feature, length) == 0)
            return true;
        list += word;
    }
    return false;
}

/* ---- comparing --------------------------------------------------------------------------------------------------------- */

void finding_exact(struct finding *finding, double value)
{
    finding->out->measured = value;
    finding->low = finding->high = value;
}

static bool is_same(double a, double b)
{
    return fabs(a - b) <= 1e-9 * fmax(1, fabs(b));
}

bool expectation_holds(const struct expectation *expectation, double value)
{
    switch (expectation->comparison) {
    case BELOW: return value < expectation->bound;
    case AT_MOST: return value <= expectation->bound;
    case ABOVE: return value > expectation->bound;
    case AT_LEAST: return value >= expectation->bound;
    case EQUALS: return is_same(value, expectation->bound);
    }
    return false;
}

/* Whether it holds / fails wherever in low..high the truth lies. */
static bool holds_surely(const struct expectation *expectation, double low, double high)
{
    return expectation_holds(expectation, low) && expectation_holds(expectation, high);
}

static bool fails_surely(const struct expectation *expectation, double low, double high)
{
    if (expectation->comparison == EQUALS && low <= expectation->bound && expectation->bound <= high)
        return is_same(low, high) && !is_same(low, expectation->bound);
    return !expectation_holds(expectation, low) && !expectation_holds(expectation, high);
}

/* ---- what a person reads ------------------------------------------------------------------------------------------------ */

__attribute__((format(printf, 2, 3))) static void write_detail(struct expectation_result *out, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(out->detail, sizeof(out->detail), format, arguments);
    va_end(arguments);
}

static void describe_basis(const struct expectation *expectation, const struct finding *finding, char *out,
                           size_t capacity)
{
    char count[48];
    measure_format_count((double)finding->out->samples, count, sizeof(count));
    if (!finding->of)
        out[0] = 0;
    else if (expectation->confidence > 0)
        snprintf(out, capacity, " (%s %s, %.4g %% sure)", count, finding->of, expectation->confidence * 100);
    else
        snprintf(out, capacity, " (%s %s)", count, finding->of);
}

static void describe_moment(int64_t at_us, char *out, size_t capacity)
{
    long long seconds = at_us / US_PER_S;
    out[0] = 0;
    if (at_us >= 0)
        snprintf(out, capacity, ", %lld:%02lld:%02lld into the run", seconds / 3600, seconds / 60 % 60, seconds % 60);
}

static void describe_need(const struct finding *finding, char *out, size_t capacity)
{
    char count[48];
    double more = finding->more_samples;
    if (more > 0 && more < 1e13) {
        /* Two digits are all that is known of it. */
        double unit = more < 100 ? 1 : pow(10, floor(log10(more)) - 1);
        measure_format_count(ceil(more / unit) * unit, count, sizeof(count));
        snprintf(out, capacity, "needs about %s more %s", count, finding->of ? finding->of : "samples");
    } else if (more == 0) {
        snprintf(out, capacity, "the bound lies within the resolution of the measurement");
    } else {
        snprintf(out, capacity, "too close to the bound for any practical number of %s",
                 finding->of ? finding->of : "samples");
    }
}

static void describe(const struct expectation *expectation, const struct finding *finding)
{
    struct expectation_result *out = finding->out;
    char measured[64], bound[64], low[64], high[64], basis[96], moment[64], need[96];
    expectation_format(expectation, out->measured, measured, sizeof(measured));
    expectation_format(expectation, expectation->bound, bound, sizeof(bound));
    if (out->verdict == VERDICT_INCONCLUSIVE) {
        expectation_format(expectation, finding->low, low, sizeof(low));
        expectation_format(expectation, finding->high, high, sizeof(high));
        describe_need(finding, need, sizeof(need));
        if (isinf(finding->high))
            write_detail(out, "%s, but surely only at least %s; %s", measured, low, need);
        else
            write_detail(out, "%s, but may be %s to %s; %s", measured, low, high, need);
        return;
    }
    describe_basis(expectation, finding, basis, sizeof(basis));
    describe_moment(out->at_us, moment, sizeof(moment));
    write_detail(out, "%s, %s%s %s%s%s", measured, out->verdict == VERDICT_FAIL ? "not " : "",
                 comparison_name(expectation->comparison), bound, moment, basis);
}

/* ---- the judge ---------------------------------------------------------------------------------------------------------- */

/* How many samples it takes to say anything at all. */
static uint64_t least_samples(const struct expectation *expectation)
{
    bool amount = expectation->statistic == STATISTIC_TOTAL || expectation->statistic == STATISTIC_COUNT;
    bool of_itself = expectation->source == EXPECT_METRIC ||
                     (expectation->source == EXPECT_LEDGER && expectation->what == LEDGER_INTENDED) ||
                     (expectation->source == EXPECT_COMMANDS && expectation->what == COMMANDS_INTENDED);
    if (expectation->minimum_samples)
        return expectation->minimum_samples;
    return amount && of_itself ? 0 : 1;
}

static void conclude(const struct measure *measure, const struct expectation *expectation, struct finding *finding)
{
    struct expectation_result *out = finding->out;
    uint64_t least = least_samples(expectation);
    out->low = finding->low;
    out->high = finding->high;
    if (out->samples < least) {
        const char *of = finding->of ? finding->of : "samples";
        char more[48];
        measure_format_count((double)(least - out->samples), more, sizeof(more));
        if (out->samples == 0)
            write_detail(out, "nothing was measured; needs at least %s more %s", more, of);
        else
            write_detail(out, "too few; needs at least %s more %s", more, of);
    } else if (measure->unrecorded) {
        write_detail(out, "%llu measurements could not be kept: out of memory",
                     (unsigned long long)measure->unrecorded);
    } else {
        if (holds_surely(expectation, finding->low, finding->high))
            out->verdict = VERDICT_PASS;
        else if (fails_surely(expectation, finding->low, finding->high))
            out->verdict = VERDICT_FAIL;
        describe(expectation, finding);
        if (out->verdict == VERDICT_FAIL && expectation->source == EXPECT_COUNTER)
            describe_victims(measure, expectation, out);
    }
}

void expectation_judge(const struct measure *measure, const struct expectation *expectation, const char *unavailable,
                       struct expectation_result *out)
{
    memset(out, 0, sizeof(*out));
    out->at_us = -1;
    out->verdict = VERDICT_INCONCLUSIVE;
    if (lists(unavailable, expectation->needs)) {
        out->verdict = VERDICT_NOT_AVAILABLE;
        write_detail(out, "the cloud in use has no %s", expectation->needs);
        return;
    }
    const char *problem = expectation_problem(expectation);
    if (problem) {
        write_detail(out, "cannot be judged: %s", problem);
        return;
    }
    struct finding finding = {.out = out, .more_samples = NAN};
    switch (expectation->source) {
    case EXPECT_METRIC: expect_metric(measure, expectation, &finding); break;
    case EXPECT_COUNTER: expect_counter(measure, expectation, &finding); break;
    case EXPECT_LEDGER: expect_ledger(measure, expectation, &finding); break;
    case EXPECT_COMMANDS: expect_commands(measure, expectation, &finding); break;
    }
    if (!finding.nothing_to_read)
        conclude(measure, expectation, &finding);
}
