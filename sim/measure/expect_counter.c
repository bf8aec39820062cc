/* expect_counter.c: expectations on counters and gauges over time. Counts are complete, not sampled: no confidence is involved.
 *
 * A bin is looked at when it begins in the window asked for or, without one, when no part of it is in an excluded phase. The last bin of
 * a run may be cut short; its rate reads too low, so it is used only where that cannot make an expectation pass.
 */
#include "expect.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

struct looked_at {
    double value;  /* rate per second, or level */
    double amount; /* counted in the bin */
    int64_t at_us;
    bool cut_short;
};
struct look {
    struct looked_at *bins;
    uint32_t count;
    double seconds;
};

static bool takes_bin(const struct measure *measure, const struct expectation *expectation, int64_t start_us)
{
    if (expectation->from_us == 0 && expectation->by_us == 0)
        return expectation->with_excluded || measure_kept(measure, start_us, start_us + measure->bin_us);
    return start_us >= expectation->from_us && (expectation->by_us == 0 || start_us < expectation->by_us);
}

int64_t *expectation_series(const struct measure *measure, const struct expectation *expectation, uint32_t *count,
                            int64_t *bin_us)
{
    int64_t *sum = measure_series(measure, expectation->what, expectation->filter, count, bin_us);
    for (uint32_t i = 1; sum && i <= expectation->also_count; i++) {
        int64_t *series =
            measure_series(measure, expectation_counter(expectation, i), expectation->filter, count, bin_us);
        for (uint32_t bin = 0; series && bin < *count; bin++)
            sum[bin] += series[bin];
        if (!series) {
            free(sum);
            sum = NULL;
        }
        free(series);
    }
    return sum;
}

/* false: out of memory */
static bool look_at(const struct measure *measure, const struct expectation *expectation, struct look *look)
{
    uint32_t count;
    int64_t bin_us, *series = expectation_series(measure, expectation, &count, &bin_us);
    *look = (struct look){.bins = malloc((series ? count : 1) * sizeof(*look->bins))};
    bool gauge = counter_is_gauge(expectation->what);
    for (uint32_t i = 0; series && look->bins && i < count; i++) {
        int64_t start_us = i * bin_us, left_us = measure->options.duration_us - start_us;
        if (!takes_bin(measure, expectation, start_us))
            continue;
        double amount = (double)series[i];
        look->bins[look->count++] = (struct looked_at){.value = gauge ? amount : amount * US_PER_S / (double)bin_us,
                                                       .amount = amount,
                                                       .at_us = start_us,
                                                       .cut_short = !gauge && left_us < bin_us};
        look->seconds += (double)(left_us < bin_us ? left_us : bin_us) / US_PER_S;
    }
    bool kept = series && look->bins;
    free(series);
    return kept;
}

/* ---- at the end --------------------------------------------------------------------------------------------------------- */

static int by_value(const void *a, const void *b)
{
    double left = ((const struct looked_at *)a)->value, right = ((const struct looked_at *)b)->value;
    return (left > right) - (left < right);
}

/* The bin that is cut short is the last one looked at. */
static uint32_t whole_bins(const struct look *look)
{
    return look->count - (look->count > 1 && look->bins[look->count - 1].cut_short);
}

static void find_extreme(const struct look *look, uint32_t count, int sign, struct finding *finding)
{
    const struct looked_at *best = &look->bins[0];
    for (uint32_t i = 1; i < count; i++)
        if (sign * look->bins[i].value > sign * best->value)
            best = &look->bins[i];
    finding_exact(finding, best->value);
    finding->out->at_us = best->at_us;
}

static double amount_of(const struct look *look)
{
    double sum = 0;
    for (uint32_t i = 0; i < look->count; i++)
        sum += look->bins[i].amount;
    return sum;
}

static double total_of(const struct measure *measure, const struct expectation *expectation, const struct look *look)
{
    if (expectation->from_us != 0 || expectation->by_us != 0)
        return amount_of(look);
    int64_t total = 0;
    for (uint32_t i = 0; i <= expectation->also_count; i++) {
        enum counter counter = expectation_counter(expectation, i);
        total += measure_total(measure, counter, expectation->filter);
        if (!expectation->with_excluded)
            total -= measure_total_excluded(measure, counter, expectation->filter);
    }
    return (double)total;
}

static void find_at_end(const struct measure *measure, const struct expectation *expectation, struct look *look,
                        struct finding *finding)
{
    uint32_t whole = whole_bins(look);
    switch (expectation->statistic) {
    case STATISTIC_MAXIMUM: find_extreme(look, look->count, 1, finding); break;
    case STATISTIC_MINIMUM: find_extreme(look, whole, -1, finding); break;
    case STATISTIC_LAST:
        finding_exact(finding, look->bins[whole - 1].value);
        finding->out->at_us = look->bins[whole - 1].at_us;
        break;
    case STATISTIC_MEAN:
        finding_exact(finding, amount_of(look) / (counter_is_gauge(expectation->what) ? look->count : look->seconds));
        break;
    case STATISTIC_QUANTILE: {
        qsort(look->bins, whole, sizeof(*look->bins), by_value);
        uint32_t rank = (uint32_t)ceil(expectation->quantile * whole - 1e-9);
        const struct looked_at *bin = &look->bins[rank > 0 ? rank - 1 : 0];
        finding_exact(finding, bin->value);
        break;
    }
    case STATISTIC_COUNT:
    case STATISTIC_TOTAL: finding_exact(finding, total_of(measure, expectation, look)); break;
    case STATISTIC_SHARE: break; /* expectation_problem() */
    }
}

/* ---- always, eventually -------------------------------------------------------------------------------------------------- */

/* How far on the wrong side of the bound, larger is worse. */
static double badness(const struct expectation *expectation, double value)
{
    switch (expectation->comparison) {
    case BELOW:
    case AT_MOST: return value - expectation->bound;
    case ABOVE:
    case AT_LEAST: return expectation->bound - value;
    case EQUALS: return fabs(value - expectation->bound);
    }
    return 0;
}

static void find_over_time(const struct expectation *expectation, struct look *look, struct finding *finding)
{
    bool amount = expectation->statistic == STATISTIC_TOTAL || expectation->statistic == STATISTIC_COUNT;
    bool small = expectation->comparison == BELOW || expectation->comparison == AT_MOST;
    bool large = expectation->comparison == ABOVE || expectation->comparison == AT_LEAST;
    bool low_is_safe = amount || (expectation->temporal == ALWAYS ? small : large);
    uint32_t count = low_is_safe ? look->count : whole_bins(look);
    double so_far = 0;
    const struct looked_at *chosen = NULL;
    for (uint32_t i = 0; i < count; i++) {
        struct looked_at *bin = &look->bins[i];
        so_far += bin->amount;
        if (amount)
            bin->value = so_far;
        bool found = expectation->temporal == EVENTUALLY && expectation_holds(expectation, bin->value);
        double worse = chosen ? badness(expectation, bin->value) - badness(expectation, chosen->value) : 0;
        if (!chosen || found || (expectation->temporal == ALWAYS ? worse > 0 : worse < 0))
            chosen = bin;
        if (found)
            break;
    }
    finding_exact(finding, chosen->value);
    finding->out->at_us = chosen->at_us;
}

void expect_counter(const struct measure *measure, const struct expectation *expectation, struct finding *finding)
{
    struct expectation_result *out = finding->out;
    struct look look;
    if (!look_at(measure, expectation, &look)) {
        snprintf(out->detail, sizeof(out->detail), "out of memory");
        finding->nothing_to_read = true;
    } else if (look.count == 0) {
        snprintf(out->detail, sizeof(out->detail), "no part of the run is left to look at (window, excluded phases)");
        finding->nothing_to_read = true;
    } else {
        out->samples = look.count;
        if (expectation->temporal == AT_END)
            find_at_end(measure, expectation, &look, finding);
        else
            find_over_time(expectation, &look, finding);
        expect_victims(measure, expectation, out);
    }
    free(look.bins);
}
