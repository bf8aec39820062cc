/* histogram.c: log-linear histogram; 64 linear steps an octave.
 *
 * Below 128 a bucket is one value wide; from there on its width doubles with every octave, so that it never is more than 1/64 of
 * its lower edge. The last bucket begins at 2^40 and has no upper edge but the largest sample.
 */
#include "internal.h"

#include <math.h>

_Static_assert(HISTOGRAM_BUCKETS == (40 - HISTOGRAM_STEP_BITS) * 64 + 64 + 1,
               "the last bucket begins at HISTOGRAM_TOP");

uint32_t histogram_index(int64_t value)
{
    return histogram_index_of(value < 0 ? 0 : value);
}

int64_t histogram_bucket_low(uint32_t index)
{
    if (index < 128)
        return index;
    uint32_t shift = (index >> HISTOGRAM_STEP_BITS) - 1;
    return (int64_t)(index - (shift << HISTOGRAM_STEP_BITS)) << shift;
}

int64_t histogram_bucket_high(uint32_t index)
{
    return index >= HISTOGRAM_BUCKETS - 1 ? INT64_MAX : histogram_bucket_low(index + 1) - 1;
}

void histogram_clear(struct histogram *histogram)
{
    memset(histogram, 0, sizeof(*histogram));
}

void histogram_add(struct histogram *histogram, int64_t value)
{
    histogram_add_one(histogram, value);
}

void histogram_merge(struct histogram *into, const struct histogram *from)
{
    if (from->count == 0)
        return;
    if (into->count == 0 || from->minimum < into->minimum)
        into->minimum = from->minimum;
    if (from->maximum > into->maximum)
        into->maximum = from->maximum;
    into->count += from->count;
    into->sum_high += from->sum_high + __builtin_add_overflow(into->sum_low, from->sum_low, &into->sum_low);
    into->clamped += from->clamped;
    uint32_t last = histogram_index(from->maximum);
    for (uint32_t i = histogram_index(from->minimum); i <= last; i++)
        into->bucket[i] += from->bucket[i];
}

double histogram_sum(const struct histogram *histogram)
{
    return ldexp((double)histogram->sum_high, 64) + (double)histogram->sum_low;
}

double histogram_mean(const struct histogram *histogram)
{
    return histogram->count ? histogram_sum(histogram) / (double)histogram->count : 0;
}

/* The value a bucket's samples are taken to have: its middle, within what was seen. */
static double bucket_middle(const struct histogram *histogram, uint32_t index)
{
    int64_t low = histogram_bucket_low(index), high = histogram_bucket_high(index);
    if (low < histogram->minimum)
        low = histogram->minimum;
    if (high > histogram->maximum)
        high = histogram->maximum;
    return ((double)low + (double)high) / 2;
}

double histogram_deviation(const struct histogram *histogram)
{
    if (histogram->count < 2)
        return 0;
    double mean = histogram_mean(histogram), squares = 0;
    for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++)
        if (histogram->bucket[i]) {
            double distance = bucket_middle(histogram, i) - mean;
            squares += (double)histogram->bucket[i] * distance * distance;
        }
    return sqrt(squares / (double)(histogram->count - 1));
}

double histogram_share(const struct histogram *histogram, int64_t value)
{
    if (histogram->count == 0 || value < histogram->minimum)
        return 0;
    if (value >= histogram->maximum)
        return 1;
    uint32_t index = histogram_index(value);
    uint64_t below = 0;
    for (uint32_t i = 0; i < index; i++)
        below += histogram->bucket[i];
    double low = (double)histogram_bucket_low(index), high = (double)histogram_bucket_high(index);
    double part = ((double)value - low + 1) / (high - low + 1);
    return ((double)below + part * (double)histogram->bucket[index]) / (double)histogram->count;
}
