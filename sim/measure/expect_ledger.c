/* expect_ledger.c: expectations on messages and commands: totals and shares of all of them, or statistics over vehicles. */
#include "bounds.h"
#include "expect.h"

#include <math.h>
#include <stdio.h>

/* ---- shares -------------------------------------------------------------------------------------------------------------- */

/* Samples that would move the share's bound off the bound asked for. */
static double share_needs(double k, double n, double bound, double confidence)
{
    double share = k / n, z = bounds_z(confidence), total;
    if (bound <= 0 || bound >= 1)
        return NAN; /* no number of trials excludes the rarest event */
    if (k == 0)
        total = log1p(-confidence) / log1p(-bound);
    else if (k == n)
        total = log1p(-confidence) / log(bound);
    else
        total = z * z * share * (1 - share) / ((share - bound) * (share - bound));
    return total > n ? total - n : n / 10 + 1;
}

/* The run is taken as so many trials of an unknown probability when a confidence is asked for; else it is what it is. */
static void find_share(const struct expectation *expectation, uint64_t part, uint64_t whole, struct finding *finding)
{
    finding->out->samples = whole;
    if (whole == 0) {
        finding_exact(finding, 0);
        return;
    }
    finding_exact(finding, (double)part / (double)whole);
    if (expectation->confidence > 0 && part <= whole) {
        finding->low = bounds_share_low(part, whole, expectation->confidence);
        finding->high = bounds_share_high(part, whole, expectation->confidence);
        finding->more_samples = share_needs((double)part, (double)whole, expectation->bound, expectation->confidence);
    }
}

/* ---- the ledger ----------------------------------------------------------------------------------------------------------- */

/* Whom a column points at when it is not as expected. */
static enum ledger_field concern_of(enum ledger_field field)
{
    switch (field) {
    case LEDGER_ACKNOWLEDGED: return LEDGER_UNACKNOWLEDGED;
    case LEDGER_DELIVERED: return LEDGER_LOST;
    case LEDGER_INTENDED:
    case LEDGER_UNACKNOWLEDGED:
    case LEDGER_DUPLICATED:
    case LEDGER_DROPPED:
    case LEDGER_PENDING:
    case LEDGER_LOST:
    case LEDGER_FIELD_COUNT: break;
    }
    return field;
}

/* One value a vehicle that meant to send anything. */
struct spread {
    const struct measure *measure;
    const struct expectation *expectation;
    struct histogram *out;
};

static void spread_row(void *context, uint32_t vehicle, const struct ledger_row *row)
{
    const struct spread *spread = context;
    if (row->intended && measure_filter_takes(spread->measure, spread->expectation->filter, vehicle))
        histogram_add(spread->out, ledger_value(row, spread->expectation->what));
}

static void spread_of(const struct measure *measure, const struct expectation *expectation, struct histogram *out)
{
    struct spread spread = {measure, expectation, out};
    histogram_clear(out);
    rows_each(&measure->rows, spread_row, &spread);
}

static void find_over_vehicles(const struct measure *measure, const struct expectation *expectation,
                               struct finding *finding)
{
    struct histogram spread;
    spread_of(measure, expectation, &spread);
    finding->out->samples = spread.count;
    finding->of = "vehicles";
    if (expectation->statistic == STATISTIC_MEAN)
        finding_exact(finding, histogram_mean(&spread));
    else if (expectation->statistic == STATISTIC_MAXIMUM)
        finding_exact(finding, (double)spread.maximum);
    else if (expectation->statistic == STATISTIC_MINIMUM)
        finding_exact(finding, (double)spread.minimum);
    else
        finding_exact(finding, (double)histogram_quantile(&spread, expectation->quantile));
}

void expect_ledger(const struct measure *measure, const struct expectation *expectation, struct finding *finding)
{
    struct expectation_result *out = finding->out;
    struct ledger_totals totals;
    if (!measure_ledger_totals(measure, expectation->filter, &totals)) {
        snprintf(out->detail, sizeof(out->detail),
                 "cannot be judged: this run does not know which vehicle is in which cohort");
        finding->nothing_to_read = true;
        return;
    }
    finding->of = "messages";
    out->samples = totals.field[LEDGER_INTENDED];
    if (expectation->statistic == STATISTIC_TOTAL || expectation->statistic == STATISTIC_COUNT)
        finding_exact(finding, (double)totals.field[expectation->what]);
    else if (expectation->statistic == STATISTIC_SHARE)
        find_share(expectation, totals.field[expectation->what], totals.field[LEDGER_INTENDED], finding);
    else
        find_over_vehicles(measure, expectation, finding);
    if (expectation->what != LEDGER_INTENDED)
        out->worst_count =
            measure_ledger_worst(measure, concern_of(expectation->what), expectation->filter, out->worst);
}

/* ---- commands ------------------------------------------------------------------------------------------------------------- */

static void add_victims(const struct measure *measure, enum counter kind, struct worst_list *list)
{
    if (measure->victims[kind])
        worst_merge(list, measure->victims[kind]);
}

static uint32_t victims_of(const struct measure *measure, enum commands_field field,
                           struct measure_worst out[MEASURE_WORST])
{
    struct worst_list list = {0};
    if (field == COMMANDS_EXECUTED_TWICE) {
        add_victims(measure, VICTIM_EXECUTED_TWICE, &list);
    } else if (field != COMMANDS_INTENDED && field != COMMANDS_SENT) {
        if (field != COMMANDS_TIMED_OUT)
            add_victims(measure, VICTIM_LOST, &list);
        if (field != COMMANDS_LOST)
            add_victims(measure, VICTIM_TIMED_OUT, &list);
    }
    return worst_copy(&list, out);
}

void expect_commands(const struct measure *measure, const struct expectation *expectation, struct finding *finding)
{
    struct expectation_result *out = finding->out;
    uint64_t value = commands_value(&measure->commands, expectation->what);
    finding->of = "commands";
    out->samples = measure->commands.intended;
    if (expectation->statistic == STATISTIC_SHARE)
        find_share(expectation, value, measure->commands.intended, finding);
    else
        finding_exact(finding, (double)value);
    out->worst_count = victims_of(measure, expectation->what, out->worst);
}
