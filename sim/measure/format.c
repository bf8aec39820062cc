/* format.c: values as people write them: three significant digits, a unit, thousands apart. */
#include "sim/measure.h"

#include <math.h>
#include <stdio.h>

/* Groups of three; the value is taken as whole and not negative. */
static void write_grouped(double value, char *out, size_t capacity)
{
    char digits[40];
    int length = snprintf(digits, sizeof(digits), "%.0f", fmin(value, 1e30));
    size_t used = 0;
    for (int i = 0; i < length && used + 2 < capacity; i++) {
        if (i > 0 && (length - i) % 3 == 0)
            out[used++] = ',';
        out[used++] = digits[i];
    }
    out[used] = 0;
}

/* Three significant digits without an exponent and without zeros at the end; whole and grouped from 1,000 on. */
static void write_short(double value, char *out, size_t capacity)
{
    if (value >= 999.5) {
        write_grouped(value, out, capacity);
        return;
    }
    int decimals = value > 0 ? 2 - (int)floor(log10(value)) : 0;
    snprintf(out, capacity, "%.*f", decimals < 0 ? 0 : decimals > 15 ? 15 : decimals, value);
    if (strchr(out, '.')) {
        size_t length = strlen(out);
        while (out[length - 1] == '0')
            length--;
        if (out[length - 1] == '.')
            length--;
        out[length] = 0;
    }
}

/* What is no number and what is below zero, alike for all units. true: done. */
static bool write_special(double value, char *out, size_t capacity, void (*format)(double, char *, size_t))
{
    if (isnan(value)) {
        snprintf(out, capacity, "unknown");
    } else if (isinf(value)) {
        snprintf(out, capacity, value > 0 ? "unbounded" : "-unbounded");
    } else if (value < 0) {
        char positive[64];
        format(-value, positive, sizeof(positive));
        snprintf(out, capacity, "-%s", positive);
    } else {
        return false;
    }
    return true;
}

/* "2 min 3 s": two units, the second left out when zero. */
static void write_pair(double whole, uint32_t ratio, const char *large, const char *small, char *out, size_t capacity)
{
    char count[48];
    double first = floor(whole / ratio);
    uint32_t second = (uint32_t)(whole - first * ratio);
    write_grouped(first, count, sizeof(count));
    if (second)
        snprintf(out, capacity, "%s %s %u %s", count, large, second, small);
    else
        snprintf(out, capacity, "%s %s", count, large);
}

void measure_format_duration(double us, char *out, size_t capacity)
{
    char number[48];
    if (write_special(us, out, capacity, measure_format_duration))
        return;
    if (us == 0) {
        snprintf(out, capacity, "0 s");
    } else if (us < 59.95e6) {
        double divisor = us < 999.5 ? 1 : us < 999500 ? 1e3 : 1e6;
        write_short(us / divisor, number, sizeof(number));
        snprintf(out, capacity, "%s %s", number, divisor == 1 ? "\xc2\xb5s" : divisor == 1e3 ? "ms" : "s");
    } else if (us < 3599.5e6) {
        write_pair(round(us / 1e6), 60, "min", "s", out, capacity);
    } else if (us < 86370e6) {
        write_pair(round(us / 60e6), 60, "h", "min", out, capacity);
    } else {
        write_pair(round(us / 3600e6), 24, "d", "h", out, capacity);
    }
}

void measure_format_bytes(double bytes, char *out, size_t capacity)
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB"};
    char number[48];
    if (write_special(bytes, out, capacity, measure_format_bytes))
        return;
    size_t unit = 0;
    while (bytes >= 999.5 && unit < 4) {
        bytes /= 1000;
        unit++;
    }
    write_short(bytes, number, sizeof(number));
    snprintf(out, capacity, "%s %s", number, units[unit]);
}

void measure_format_charge(double uah, char *out, size_t capacity)
{
    char number[48];
    if (write_special(uah, out, capacity, measure_format_charge))
        return;
    bool large = uah >= 999.5e3;
    write_short(uah / (large ? 1e6 : 1e3), number, sizeof(number));
    snprintf(out, capacity, "%s %s", number, large ? "Ah" : "mAh");
}

void measure_format_money(double millionths, char *out, size_t capacity)
{
    if (write_special(millionths, out, capacity, measure_format_money))
        return;
    write_short(millionths / 1e6, out, capacity);
}

void measure_format_count(double count, char *out, size_t capacity)
{
    if (write_special(count, out, capacity, measure_format_count))
        return;
    if (count == floor(count))
        write_grouped(count, out, capacity);
    else
        write_short(count, out, capacity);
}

void measure_format_share(double share, char *out, size_t capacity)
{
    char number[48];
    if (write_special(share, out, capacity, measure_format_share))
        return;
    write_short(share * 100, number, sizeof(number));
    /* Nearly all is not all: as many nines as it takes. */
    for (int decimals = 1; share < 1 && strcmp(number, "100") == 0 && decimals < 12; decimals++) {
        char longer[48];
        snprintf(longer, sizeof(longer), "%.*f", decimals, share * 100);
        if (strncmp(longer, "100", 3) != 0)
            memcpy(number, longer, sizeof(number));
    }
    snprintf(out, capacity, "%s %%", number);
}

void measure_format_metric(enum metric metric, double value, char *out, size_t capacity)
{
    static void (*const formats[])(double, char *, size_t) = {measure_format_duration, measure_format_bytes,
                                                              measure_format_charge, measure_format_money};
    formats[metric_kind(metric)](value, out, capacity);
}

/* ---- the unit of an expectation --------------------------------------------------------------------------------------- */

static bool is_amount(enum statistic statistic)
{
    return statistic == STATISTIC_TOTAL || statistic == STATISTIC_COUNT;
}

static void format_counter(const struct expectation *expectation, double value, char *out, size_t capacity)
{
    char number[64];
    bool bytes = counter_is_bytes(expectation->what);
    bool rate = !counter_is_gauge(expectation->what) && !is_amount(expectation->statistic);
    if (bytes)
        measure_format_bytes(value, number, sizeof(number));
    else
        measure_format_count(value, number, sizeof(number));
    snprintf(out, capacity, "%s%s", number, rate && isfinite(value) ? "/s" : "");
}

void expectation_format(const struct expectation *expectation, double value, char *out, size_t capacity)
{
    if (expectation->source == EXPECT_COUNTER)
        format_counter(expectation, value, out, capacity);
    else if (expectation->statistic == STATISTIC_SHARE)
        measure_format_share(value, out, capacity);
    else if (expectation->source != EXPECT_METRIC || expectation->statistic == STATISTIC_COUNT)
        measure_format_count(value, out, capacity);
    else
        measure_format_metric(expectation->what, value, out, capacity);
}
