/* curve.c: a counter over time with at most CURVE_POINTS points that keeps every extreme. */
#include "svg.h"

#include <math.h>
#include <stdlib.h>

static void curve_put(struct curve *curve, double at_s, double low, double mean, double high)
{
    curve->at_s[curve->count] = at_s;
    curve->low[curve->count] = low;
    curve->mean[curve->count] = mean;
    curve->high[curve->count++] = high;
    if (high > curve->largest)
        curve->largest = high;
}

struct bins {
    const int64_t *series;
    uint32_t count;
    double bin_s, scale;
};

static void curve_stretch(struct curve *curve, const struct bins *bins, uint32_t from, uint32_t to)
{
    int64_t low = bins->series[from], high = low;
    double sum = 0, middle_s = to - from > 1 ? (from + to) / 2.0 * bins->bin_s : from * bins->bin_s;
    for (uint32_t i = from; i < to; i++) {
        low = bins->series[i] < low ? bins->series[i] : low;
        high = bins->series[i] > high ? bins->series[i] : high;
        sum += (double)bins->series[i];
    }
    curve_put(curve, middle_s, (double)low * bins->scale, sum / (to - from) * bins->scale, (double)high * bins->scale);
}

static void read_seconds(const struct bins *bins, struct curve *out)
{
    uint32_t stretches = bins->count < CURVE_POINTS ? bins->count : CURVE_POINTS;
    out->thinned = bins->count > CURVE_POINTS;
    out->stretch_s = stretches ? bins->count * bins->bin_s / stretches : bins->bin_s;
    for (uint32_t i = 0; i < stretches; i++)
        curve_stretch(out, bins, (uint32_t)((uint64_t)bins->count * i / stretches),
                      (uint32_t)((uint64_t)bins->count * (i + 1) / stretches));
}

static void read_windows(const struct bins *bins, int64_t window_us, struct curve *out)
{
    double window_s = (double)window_us / 1e6;
    uint32_t each = (uint32_t)(window_s / bins->bin_s + 0.5);
    out->stretch_s = window_s;
    for (uint32_t from = 0; from < bins->count && each && out->count < CURVE_POINTS; from += each) {
        double sum = 0;
        for (uint32_t i = from; i < from + each && i < bins->count; i++)
            sum += (double)bins->series[i];
        curve_put(out, (from + each / 2.0) * bins->bin_s, sum, sum, sum);
    }
}

/* Seconds of the calendar in a second of the world, which is what was measured in. */
static double calendar_speed(const struct report_run *run)
{
    const struct world_options *options = run->options;
    return options && options->kind == WORLD_LIVE && options->speedup > 0 ? options->speedup : 1;
}

static void to_calendar(const struct report_run *run, struct curve *curve)
{
    double speed = calendar_speed(run);
    for (uint32_t i = 0; i < curve->count; i++)
        curve->at_s[i] *= speed;
    curve->stretch_s *= speed;
}

/* Bins the run came to: what an interrupted one never reached is not drawn as zero. */
static uint32_t bins_reached(const struct report_run *run, uint32_t count, int64_t bin_us)
{
    int64_t reached = (int64_t)ceil((double)run->result->simulated_us / calendar_speed(run) / (double)bin_us);
    return reached < count ? (uint32_t)(reached > 0 ? reached : 0) : count;
}

bool curve_read(const struct report_run *run, enum counter counter, struct measure_dimension filter, int64_t window_us,
                struct curve *out)
{
    uint32_t count;
    int64_t bin_us;
    memset(out, 0, sizeof(*out));
    int64_t *series =
        run->result->measure ? measure_series(run->result->measure, counter, filter, &count, &bin_us) : NULL;
    if (!series)
        return false;
    double bin_s = (double)bin_us / 1e6;
    struct bins bins = {series, bins_reached(run, count, bin_us), bin_s, counter_is_gauge(counter) ? 1 : 1 / bin_s};
    if (window_us > 0)
        read_windows(&bins, window_us, out);
    else
        read_seconds(&bins, out);
    to_calendar(run, out);
    free(series);
    return true;
}

bool curve_read_expectation(const struct report_run *run, const struct expectation *expectation, struct curve *out)
{
    uint32_t count;
    int64_t bin_us;
    memset(out, 0, sizeof(*out));
    int64_t *series = expectation_series(run->result->measure, expectation, &count, &bin_us);
    if (!series)
        return false;
    double bin_s = (double)bin_us / 1e6;
    struct bins bins = {series, bins_reached(run, count, bin_us), bin_s,
                        counter_is_gauge(expectation->what) ? 1 : 1 / bin_s};
    read_seconds(&bins, out);
    to_calendar(run, out);
    free(series);
    return true;
}

int64_t curve_window(const struct report_run *run, int64_t total)
{
    static const int64_t windows_s[] = {10, 30, 60, 300, 600, 900, 1800, 3600, 10800, 21600, 86400};
    double duration_s = (double)run->result->simulated_us / 1e6;
    if (total <= 0 || (double)total >= 2 * duration_s)
        return 0;
    for (size_t i = 0; i < sizeof(windows_s) / sizeof(windows_s[0]); i++)
        if ((double)total / duration_s * (double)windows_s[i] >= 5 || duration_s / (double)windows_s[i] < 60)
            return duration_s / (double)windows_s[i] <= CURVE_POINTS ? windows_s[i] * US_PER_S : 0;
    return 86400 * US_PER_S;
}
