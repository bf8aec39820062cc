/* curve.c: a counter over time with at most CURVE_POINTS points that keeps every extreme. */
#include "svg.h"

#include <stdlib.h>

static void curve_put(struct curve *curve, double at_s, double value)
{
    curve->at_s[curve->count] = at_s;
    curve->value[curve->count++] = value;
    if (value > curve->largest)
        curve->largest = value;
}

static void curve_stretch(struct curve *curve, const int64_t *series, uint32_t from, uint32_t to, double bin_s, double scale)
{
    uint32_t small = from, large = from;
    for (uint32_t i = from + 1; i < to; i++) {
        if (series[i] < series[small])
            small = i;
        if (series[i] > series[large])
            large = i;
    }
    uint32_t first = small < large ? small : large, second = small < large ? large : small;
    curve_put(curve, from * bin_s, (double)series[first] * scale);
    curve_put(curve, (from + (to - from) / 2.0) * bin_s, (double)series[second] * scale);
}

/* Bins the run came to: what an interrupted one never reached is not drawn as zero. */
static uint32_t bins_reached(const struct report_run *run, uint32_t count, int64_t bin_us)
{
    int64_t reached = (run->result->simulated_us + bin_us - 1) / bin_us;
    return reached < count ? (uint32_t)(reached > 0 ? reached : 0) : count;
}

bool curve_read(const struct report_run *run, enum counter counter, struct measure_dimension filter, struct curve *out)
{
    uint32_t count;
    int64_t bin_us;
    memset(out, 0, sizeof(*out));
    int64_t *series = run->result->measure ? measure_series(run->result->measure, counter, filter, &count, &bin_us) : NULL;
    if (!series)
        return false;
    double bin_s = (double)bin_us / 1e6, scale = counter_is_gauge(counter) ? 1 : 1 / bin_s;
    count = bins_reached(run, count, bin_us);
    uint32_t stretches = CURVE_POINTS / 2;
    out->thinned = count > CURVE_POINTS;
    out->stretch_s = out->thinned ? count * bin_s / stretches : bin_s;
    for (uint32_t i = 0; !out->thinned && i < count; i++)
        curve_put(out, i * bin_s, (double)series[i] * scale);
    for (uint32_t i = 0; out->thinned && i < stretches; i++)
        curve_stretch(out, series, (uint32_t)((uint64_t)count * i / stretches), (uint32_t)((uint64_t)count * (i + 1) / stretches), bin_s,
                      scale);
    free(series);
    return true;
}
