/* expect_metric.c: expectations on the samples of a metric. */
#include "bounds.h"
#include "expect.h"

#include <math.h>

static bool wants_small(const struct expectation *expectation)
{
    return expectation->comparison == BELOW || expectation->comparison == AT_MOST;
}

static bool wants_large(const struct expectation *expectation)
{
    return expectation->comparison == ABOVE || expectation->comparison == AT_LEAST;
}

/* As a sample would have it; a bound may be any number. */
static int64_t bound_of(const struct expectation *expectation)
{
    return (int64_t)fmin(fmax(expectation->bound, -1), 9e18);
}

/* Samples that would move the quantile's bound off the bound asked for. */
static double quantile_needs(const struct expectation *expectation, const struct histogram *histogram, bool low_known,
                             bool high_known)
{
    double q = expectation->quantile, n = (double)histogram->count, confidence = expectation->confidence;
    double total = 0;
    if (!high_known && !wants_large(expectation))
        total = bounds_samples_for_high(q, confidence);
    if (!low_known && !wants_small(expectation))
        total = fmax(total, bounds_samples_for_low(q, confidence));
    if (total > n)
        return total - n;
    double away = histogram_share(histogram, bound_of(expectation)) - q, z = bounds_z(confidence);
    total = z * z * q * (1 - q) / (away * away);
    if (total > n)
        return total - n;
    return histogram_index(bound_of(expectation)) == histogram_index(histogram_quantile(histogram, q)) ? 0 : n / 10 + 1;
}

/* Without a confidence the value is the bucket's edge on the unfavourable side: a pass is never owed to the resolution. */
static void quantile_plain(const struct expectation *expectation, const struct histogram *histogram,
                           struct finding *finding)
{
    int64_t low, high;
    bounds_bucket_of_rank(histogram, bounds_rank(histogram->count, expectation->quantile), &low, &high);
    if (expectation->comparison == EQUALS && low <= expectation->bound && expectation->bound <= high)
        finding_exact(finding, expectation->bound);
    else
        finding_exact(finding, (double)(wants_large(expectation) ? low : high));
}

static void quantile_bounded(const struct expectation *expectation, const struct histogram *histogram,
                             struct finding *finding)
{
    double q = expectation->quantile;
    int64_t edge, other;
    uint64_t rank_low = bounds_rank_low(histogram->count, q, expectation->confidence);
    uint64_t rank_high = bounds_rank_high(histogram->count, q, expectation->confidence);
    finding->out->measured = (double)histogram_quantile(histogram, q);
    finding->low = 0;
    finding->high = INFINITY;
    if (rank_low) {
        bounds_bucket_of_rank(histogram, rank_low, &edge, &other);
        finding->low = fmin((double)edge, finding->out->measured);
    }
    if (rank_high) {
        bounds_bucket_of_rank(histogram, rank_high, &other, &edge);
        finding->high = fmax((double)edge, finding->out->measured);
    }
    finding->more_samples = quantile_needs(expectation, histogram, rank_low > 0, rank_high > 0);
}

static void mean_bounded(const struct expectation *expectation, const struct histogram *histogram,
                         struct finding *finding)
{
    double mean = histogram_mean(histogram), n = (double)histogram->count;
    double half = bounds_mean_half(histogram->count, histogram_deviation(histogram), expectation->confidence);
    double away = fabs(mean - expectation->bound);
    finding->out->measured = mean;
    finding->low = fmax(0, mean - half);
    finding->high = mean + half;
    finding->more_samples = isinf(half) ? 30 : n * (half * half / (away * away) - 1);
}

void expect_metric(const struct measure *measure, const struct expectation *expectation, struct finding *finding)
{
    struct expectation_result *out = finding->out;
    struct histogram histogram;
    measure_histogram(measure, expectation->what, expectation->filter, false, &histogram);
    if (expectation->with_excluded) {
        struct histogram excluded;
        measure_histogram(measure, expectation->what, expectation->filter, true, &excluded);
        histogram_merge(&histogram, &excluded);
    }
    out->samples = histogram.count;
    finding->of = "samples";
    if (!wants_large(expectation))
        out->worst_count =
            measure_worst_in(measure, expectation->what, expectation->filter, expectation->with_excluded, out->worst);
    switch (expectation->statistic) {
    case STATISTIC_QUANTILE:
        if (histogram.count == 0)
            finding_exact(finding, 0);
        else if (expectation->confidence > 0)
            quantile_bounded(expectation, &histogram, finding);
        else
            quantile_plain(expectation, &histogram, finding);
        break;
    case STATISTIC_MEAN:
        if (expectation->confidence > 0)
            mean_bounded(expectation, &histogram, finding);
        else
            finding_exact(finding, histogram_mean(&histogram));
        break;
    case STATISTIC_MAXIMUM:
        finding_exact(finding, (double)histogram.maximum);
        if (out->worst_count && out->worst[0].value == histogram.maximum)
            out->at_us = out->worst[0].at_us;
        break;
    case STATISTIC_MINIMUM: finding_exact(finding, (double)histogram.minimum); break;
    case STATISTIC_COUNT: finding_exact(finding, (double)histogram.count); break;
    case STATISTIC_TOTAL: finding_exact(finding, histogram_sum(&histogram)); break;
    case STATISTIC_LAST:
    case STATISTIC_SHARE: break; /* expectation_problem() */
    }
}
