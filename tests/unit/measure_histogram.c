/* Histograms against sorted samples, merging against the union, bounds of quantiles against how often they hold. */
#include "sim/measure.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static uint64_t state;

static uint64_t draw(void)
{
    uint64_t z = (state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static double draw_unit(void)
{
    return ((double)(draw() >> 11) + 0.5) / 9007199254740992.0;
}

static int by_value(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
    return (left > right) - (left < right);
}

static void buckets_tile_the_line(void **context)
{
    int64_t next = 0;
    for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        int64_t low = histogram_bucket_low(i), high = histogram_bucket_high(i);
        assert_int_equal(low, next);
        assert_true(high >= low);
        assert_int_equal(histogram_index(low), i);
        assert_int_equal(histogram_index(high), i);
        if (i < HISTOGRAM_BUCKETS - 1)
            assert_true((high - low) * 64 <= low);
        next = high + 1 > 0 ? high + 1 : next;
    }
    assert_int_equal(histogram_bucket_low(HISTOGRAM_BUCKETS - 1), HISTOGRAM_TOP);
    assert_int_equal(histogram_bucket_high(127), 127);
    assert_int_equal(histogram_index(-5), 0);
}

static void edges(void **context)
{
    struct histogram *h = calloc(1, sizeof(*h));
    assert_int_equal(histogram_quantile(h, 0.5), 0);
    assert_true(histogram_mean(h) == 0);
    histogram_add(h, -7);
    assert_int_equal(h->minimum, 0);
    histogram_add(h, HISTOGRAM_TOP);
    assert_int_equal(h->clamped, 0);
    histogram_add(h, HISTOGRAM_TOP + 5);
    assert_int_equal(h->clamped, 1);
    assert_int_equal(h->maximum, HISTOGRAM_TOP + 5);
    assert_int_equal(histogram_quantile(h, 1), HISTOGRAM_TOP + 5);
    assert_int_equal(histogram_quantile(h, 0), 0);
    /* A sum beyond 64 bits. */
    histogram_clear(h);
    for (int i = 0; i < 8; i++)
        histogram_add(h, INT64_MAX);
    assert_true(fabs(histogram_sum(h) - 8 * (double)INT64_MAX) < 1e6);
    free(h);
}

/* Four shapes: uniform, exponential, log-normal, nearly constant. */
static int64_t sample(uint32_t shape)
{
    double u = draw_unit(), v = draw_unit();
    switch (shape) {
    case 0: return (int64_t)(u * 1e6);
    case 1: return (int64_t)(-log(u) * 5e4);
    case 2: return (int64_t)(3e5 * exp(1.5 * sqrt(-2 * log(u)) * cos(6.283185307 * v)));
    default: return 41000 + (int64_t)(u * 3);
    }
}

static void quantiles_against_sort(void **context)
{
    static const double quantiles[] = {0, 0.001, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 0.999, 0.9999, 1};
    enum { COUNT = 20011 };
    int64_t *values = malloc(COUNT * sizeof(*values));
    struct histogram *h = malloc(sizeof(*h));
    for (uint32_t shape = 0; shape < 4; shape++) {
        state = 11 + shape;
        histogram_clear(h);
        double sum = 0, squares = 0;
        for (int i = 0; i < COUNT; i++) {
            histogram_add(h, values[i] = sample(shape));
            sum += (double)values[i];
        }
        double mean = sum / COUNT;
        for (int i = 0; i < COUNT; i++)
            squares += ((double)values[i] - mean) * ((double)values[i] - mean);
        qsort(values, COUNT, sizeof(*values), by_value);
        for (size_t i = 0; i < sizeof(quantiles) / sizeof(quantiles[0]); i++) {
            double rank = ceil(quantiles[i] * COUNT - 1e-6);
            int64_t exact = values[rank < 1 ? 0 : (size_t)rank - 1], got = histogram_quantile(h, quantiles[i]);
            assert_true(got >= exact && (got - exact) * 64 <= exact);
            assert_true(fabs(histogram_share(h, got) - quantiles[i]) < 0.4 || shape == 3);
        }
        assert_int_equal(h->minimum, values[0]);
        assert_int_equal(h->maximum, values[COUNT - 1]);
        assert_true(fabs(histogram_mean(h) - mean) < 1e-6 * mean);
        assert_true(shape == 3 || fabs(histogram_deviation(h) / sqrt(squares / (COUNT - 1)) - 1) < 0.01);
        assert_true(histogram_share(h, values[0] - 1) == 0 && histogram_share(h, values[COUNT - 1]) == 1);
        int64_t middle = values[COUNT / 2];
        assert_true(shape == 3 || fabs(histogram_share(h, middle) - 0.5) < 0.02);
    }
    free(values);
    free(h);
}

static void merge_is_union(void **context)
{
    struct histogram *part = calloc(3, sizeof(*part)), *all = calloc(1, sizeof(*all)), *sum = calloc(1, sizeof(*sum));
    state = 5;
    for (int i = 0; i < 30000; i++) {
        int64_t value = (int64_t)(draw() >> (16 + draw() % 47)) - 3;
        histogram_add(&part[draw() % 2], value); /* the third stays empty */
        histogram_add(all, value);
    }
    assert_true(all->clamped > 0);
    histogram_merge(sum, &part[1]);
    histogram_merge(sum, &part[2]);
    histogram_merge(sum, &part[0]);
    assert_memory_equal(sum, all, sizeof(*all));
    free(part);
    free(all);
    free(sum);
}

/* The interval must hold the true quantile at least as often as it says, and not be absurdly wide. */
static void bounds_cover(void **context)
{
    static const struct {
        uint32_t n;
        double q, confidence;
        uint32_t runs;
    } cases[] = {
        {100, 0.5, 0.9, 2000},   {600, 0.99, 0.95, 2000}, {50, 0.1, 0.8, 2000},
        {5000, 0.99, 0.99, 400}, {20000, 0.5, 0.95, 200},
    };
    struct histogram *h = malloc(sizeof(*h));
    for (size_t c = 0; c < sizeof(cases) / sizeof(cases[0]); c++) {
        uint32_t held = 0, given = 0;
        double q = cases[c].q;
        int64_t truth = (int64_t)(q * 1000000000);
        state = 77 + c;
        for (uint32_t run = 0; run < cases[c].runs; run++) {
            histogram_clear(h);
            for (uint32_t i = 0; i < cases[c].n; i++)
                histogram_add(h, (int64_t)(draw_unit() * 1000000000));
            int64_t low, high;
            if (!histogram_quantile_bounds(h, q, cases[c].confidence, &low, &high))
                continue;
            given++;
            held += low <= truth && truth <= high;
            assert_true(low <= histogram_quantile(h, q) && histogram_quantile(h, q) <= high);
            double z_wide = 8 * sqrt(q * (1 - q) / cases[c].n) + 2.0 / cases[c].n + q / 20;
            assert_true((double)(high - low) / 1e9 < z_wide);
        }
        assert_int_equal(given, cases[c].runs);
        double share = (double)held / given, slack = 3 * sqrt(cases[c].confidence * (1 - cases[c].confidence) / given);
        assert_true(share >= cases[c].confidence - slack);
    }
    free(h);
}

static void fill(struct histogram *h, uint32_t count)
{
    histogram_clear(h);
    for (uint32_t i = 1; i <= count; i++)
        histogram_add(h, i);
}

/* Textbook ranks, and the least numbers of samples. */
static void bounds_known(void **context)
{
    struct histogram *h = malloc(sizeof(*h));
    int64_t low, high;
    fill(h, 5); /* 0.5^5 = 0.031 on either side: 93.75 % */
    assert_true(histogram_quantile_bounds(h, 0.5, 0.93, &low, &high));
    assert_int_equal(low, 1);
    assert_int_equal(high, 5);
    assert_false(histogram_quantile_bounds(h, 0.5, 0.94, &low, &high));
    fill(h, 100); /* median of 100 at 95 %: ranks 40 and 61 */
    assert_true(histogram_quantile_bounds(h, 0.5, 0.95, &low, &high));
    assert_int_equal(low, 40);
    assert_int_equal(high, 61);
    fill(h, 298); /* 1 - 0.99^299 > 0.95 */
    assert_false(histogram_quantile_bounds(h, 0.99, 0.90, &low, &high));
    fill(h, 299);
    assert_true(histogram_quantile_bounds(h, 0.99, 0.90, &low, &high));
    assert_int_equal(high, 299);
    histogram_clear(h);
    assert_false(histogram_quantile_bounds(h, 0.5, 0.9, &low, &high));
    free(h);
}

/* The ranges of the computation (exact, Poisson, normal) must agree where they meet. */
static void bounds_large(void **context)
{
    struct histogram *h = calloc(1, sizeof(*h));
    static const double qs[] = {0.00001, 0.001, 0.5, 0.99, 0.9999, 0.99999};
    for (uint64_t n = 100000; n <= UINT64_C(10000000000); n *= 10)
        for (size_t i = 0; i < sizeof(qs) / sizeof(qs[0]); i++) {
            /* A ramp of 100 values would hide the ranks: put all weight so that the bucket tells the rank's share. */
            histogram_clear(h);
            h->count = n;
            h->maximum = 1;
            double q = qs[i], z = 2.576, wide = z * sqrt((double)n * q * (1 - q));
            uint64_t expected_low = (uint64_t)fmax(0, (double)n * q - 1.15 * wide - 8);
            uint64_t expected_high = (uint64_t)((double)n * q + 1.15 * wide + 8);
            int64_t low, high;
            h->bucket[0] = expected_low;
            h->bucket[1] = n - expected_low;
            if (histogram_quantile_bounds(h, q, 0.99, &low, &high) && expected_low > 0)
                assert_int_equal(low, 1); /* rank above expected_low */
            h->bucket[0] = expected_high < n ? expected_high : n;
            h->bucket[1] = n - h->bucket[0];
            if (histogram_quantile_bounds(h, q, 0.99, &low, &high)) {
                assert_int_equal(high, 0); /* rank at or below expected_high */
                h->bucket[0] = (uint64_t)((double)n * q + 0.8 * wide - 2);
                h->bucket[1] = n - h->bucket[0];
                assert_true(histogram_quantile_bounds(h, q, 0.99, &low, &high));
                assert_int_equal(high, 1); /* and not much less */
            } else {
                assert_true((double)n * fmin(q, 1 - q) < 6);
            }
        }
    free(h);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buckets_tile_the_line),  cmocka_unit_test(edges),
        cmocka_unit_test(quantiles_against_sort), cmocka_unit_test(merge_is_union),
        cmocka_unit_test(bounds_cover),           cmocka_unit_test(bounds_known),
        cmocka_unit_test(bounds_large),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
