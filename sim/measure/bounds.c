/* bounds.c: order statistics, proportions and means through GSL's distributions.
 *
 * The number of samples at or below the true quantile q is binomial (n, q). So the r-th smallest sample is at or below the quantile
 * unless fewer than r samples are: P(B <= r - 1), and at or above it unless r or more are strictly below: P(B >= r).
 * Three ranges: wide distributions are normal; long and narrow ones (a million samples and q near 0 or 1) are Poisson, which is the
 * wider one and so errs to the safe side; the rest is exact.
 */
#include "bounds.h"

#include <gsl/gsl_cdf.h>
#include <math.h>

#define NORMAL_FROM  1000.0    /* n q (1 - q) */
#define POISSON_FROM 1000000.0 /* n */

double bounds_z(double confidence)
{
    double z = gsl_cdf_ugaussian_Pinv(confidence);
    return z > 0 ? z : 0;
}

uint64_t bounds_rank(uint64_t n, double q)
{
    /* The small step down keeps 0.99 of 100 at 99 although the product is a hair above. */
    double exact = q * (double)n;
    double rank = ceil(exact - 1e-9 * (1 + exact));
    if (rank < 1)
        return n ? 1 : 0;
    return rank >= (double)n ? n : (uint64_t)rank;
}

/* P(B <= k) for k in 0..n-1 */
static double binomial_at_most(double k, double n, double q)
{
    if (q <= 0)
        return 1;
    if (q >= 1)
        return 0;
    if (n < POISSON_FROM)
        return gsl_cdf_binomial_P((unsigned)k, q, (unsigned)n);
    if (q < 0.5)
        return gsl_cdf_poisson_P((unsigned)k, n * q);
    return gsl_cdf_poisson_Q((unsigned)(n - k - 1), n * (1 - q)); /* at least n - k on the other side */
}

static bool is_normal(uint64_t n, double q)
{
    return (double)n * q * (1 - q) > NORMAL_FROM;
}

/* Smallest k in 0..n with P(B <= k) >= probability; never below it. Narrow distributions only: the search starts around the mean. */
static uint64_t binomial_quantile(uint64_t n, double q, double probability)
{
    double spread = 12 * sqrt((double)n * q * (1 - q)) + 50, mean = (double)n * q;
    uint64_t low = mean > spread ? (uint64_t)(mean - spread) : 0;
    uint64_t high = mean + spread < (double)n ? (uint64_t)(mean + spread) : n;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        if (middle < n && !(binomial_at_most((double)middle, (double)n, q) >= probability))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

uint64_t bounds_rank_low(uint64_t n, double q, double confidence)
{
    /* largest r with P(B <= r - 1) <= 1 - confidence */
    if (n == 0 || q <= 0)
        return 0;
    if (q >= 1)
        return n;
    if (is_normal(n, q)) {
        double rank = floor((double)n * q - bounds_z(confidence) * sqrt((double)n * q * (1 - q)));
        return rank < 1 ? 0 : (uint64_t)rank;
    }
    /* With k the smallest of P(B <= k) >= p + a hair, every smaller one is at most p: r - 1 = k - 1. */
    double allowed = (1 - confidence) * (1 + 1e-12);
    uint64_t k = binomial_quantile(n, q, nextafter(allowed, 1));
    return k > n ? n : k;
}

uint64_t bounds_rank_high(uint64_t n, double q, double confidence)
{
    /* smallest r with P(B <= r - 1) >= confidence */
    if (n == 0 || q >= 1)
        return 0;
    if (q <= 0)
        return 1;
    if (is_normal(n, q)) {
        double rank = ceil((double)n * q + bounds_z(confidence) * sqrt((double)n * q * (1 - q))) + 1;
        return rank > (double)n ? 0 : (uint64_t)rank;
    }
    uint64_t k = binomial_quantile(n, q, confidence * (1 - 1e-12));
    return k >= n ? 0 : k + 1;
}

double bounds_samples_for_low(double q, double confidence)
{
    return q <= 0 ? INFINITY : ceil(log1p(-confidence) / log1p(-q));
}

double bounds_samples_for_high(double q, double confidence)
{
    return q >= 1 ? INFINITY : q <= 0 ? 1 : ceil(log1p(-confidence) / log(q));
}

void bounds_bucket_of_rank(const struct histogram *histogram, uint64_t rank, int64_t *low, int64_t *high)
{
    uint32_t index = 0;
    uint64_t seen = histogram->bucket[0];
    while (seen < rank && index < HISTOGRAM_BUCKETS - 1)
        seen += histogram->bucket[++index];
    *low = histogram_bucket_low(index);
    *high = histogram_bucket_high(index);
    if (*low < histogram->minimum)
        *low = histogram->minimum;
    if (*high > histogram->maximum)
        *high = histogram->maximum;
}

int64_t histogram_quantile(const struct histogram *histogram, double q)
{
    if (histogram->count == 0)
        return 0;
    int64_t low, high;
    bounds_bucket_of_rank(histogram, bounds_rank(histogram->count, q), &low, &high);
    return high;
}

bool histogram_quantile_bounds(const struct histogram *histogram, double q, double confidence, int64_t *low,
                               int64_t *high)
{
    double side = (1 + confidence) / 2;
    uint64_t rank_low = bounds_rank_low(histogram->count, q, side);
    uint64_t rank_high = bounds_rank_high(histogram->count, q, side);
    if (rank_low == 0 || rank_high == 0)
        return false;
    int64_t other;
    bounds_bucket_of_rank(histogram, rank_low, low, &other);
    bounds_bucket_of_rank(histogram, rank_high, &other, high);
    return true;
}

/* Score interval (Wilson): for shares whose counts are large on both sides. sign -1: lower, +1: upper. */
static double share_wilson(double k, double n, double z, int sign)
{
    double p = k / n, centre = p + z * z / (2 * n);
    double half = z * sqrt(p * (1 - p) / n + z * z / (4 * n * n));
    return (centre + sign * half) / (1 + z * z / n);
}

static double share_high(double k, double n, double confidence)
{
    if (k >= n)
        return 1;
    if (k * (n - k) / n > NORMAL_FROM)
        return share_wilson(k, n, bounds_z(confidence), 1);
    if (n < POISSON_FROM)
        return gsl_cdf_beta_Pinv(confidence, k + 1, n - k);
    if (k < n - k)
        return fmin(1, gsl_cdf_chisq_Pinv(confidence, 2 * (k + 1)) / (2 * n));
    return 1 - gsl_cdf_chisq_Qinv(confidence, 2 * (n - k)) / (2 * n);
}

double bounds_share_high(uint64_t k, uint64_t n, double confidence)
{
    return n ? share_high((double)k, (double)n, confidence) : 1;
}

double bounds_share_low(uint64_t k, uint64_t n, double confidence)
{
    return n ? 1 - share_high((double)(n - k), (double)n, confidence) : 0;
}

double bounds_mean_half(uint64_t n, double deviation, double confidence)
{
    if (n < 2)
        return INFINITY;
    double t = n > 1000 ? bounds_z(confidence) : gsl_cdf_tdist_Pinv(confidence, (double)(n - 1));
    return fmax(0, t) * deviation / sqrt((double)n);
}
