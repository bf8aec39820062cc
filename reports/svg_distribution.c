/* svg_distribution.c: how often which value was, on a logarithmic axis. The height is the square root of the share, so that the
 * few in the tail, which decide, can be seen beside the many; the axis says so. */
#include "svg.h"

#include <math.h>
#include <stdio.h>

#define WIDTH  560.0
#define HEIGHT 176.0
#define BARS   96

static void find_range(const struct distribution *distribution, struct frame *frame)
{
    const struct histogram *histogram = distribution->histogram;
    double from = fmax((double)histogram->minimum, 1), to = fmax((double)histogram->maximum, from);
    if (distribution->other) {
        from = fmin(from, fmax((double)distribution->other->minimum, 1));
        to = fmax(to, (double)distribution->other->maximum);
    }
    const double shown[] = {distribution->bound, distribution->measured};
    for (size_t i = 0; i < 2; i++)
        if (isfinite(shown[i]) && shown[i] >= 1) {
            from = fmin(from, shown[i]);
            to = fmax(to, shown[i]);
        }
    frame->x_from = from / 1.15;
    frame->x_to = to * 1.15;
    if (frame->x_to / frame->x_from < 3) {
        frame->x_from /= 1.7;
        frame->x_to *= 1.7;
    }
}

/* Buckets are spread over the bars by the part of each (in logarithms) that a bar covers. */
static void fill_bars(const struct histogram *histogram, const struct frame *frame, double bars[BARS])
{
    double scale = BARS / log(frame->x_to / frame->x_from);
    for (uint32_t i = 0; i < HISTOGRAM_BUCKETS; i++) {
        if (!histogram->bucket[i])
            continue;
        double low = fmax((double)histogram_bucket_low(i), 1),
               high = fmax((double)histogram_bucket_high(i) + 1, low + 1);
        high = fmin(high, fmax((double)histogram->maximum, low) + 1);
        double from = fmin(fmax(log(low / frame->x_from) * scale, 0), BARS - 1e-6);
        double to = fmin(fmax(log(high / frame->x_from) * scale, from), BARS);
        double whole = to - from, count = (double)histogram->bucket[i] / (double)histogram->count;
        if (whole < 1e-9) {
            bars[(int)from] += count;
            continue;
        }
        for (int bar = (int)from; bar < BARS && bar < to; bar++)
            bars[bar] += count * (fmin(to, bar + 1) - fmax(from, bar)) / whole;
    }
}

static bool is_wrong(const struct distribution *distribution, double value)
{
    switch (distribution->comparison) {
    case BELOW:
    case AT_MOST: return value > distribution->bound;
    case ABOVE:
    case AT_LEAST: return value < distribution->bound;
    case EQUALS: break;
    }
    return false;
}

/* A staircase over the bars, on their scale. */
static void draw_other(struct page *page, const struct frame *frame, const double bars[BARS], double largest)
{
    double base = frame->height - frame->bottom, room = base - frame->top,
           width = (frame->width - frame->left - frame->right) / BARS;
    page_format(page, "<path class=\"other\" d=\"M%.1f %.1f", frame->left, base);
    for (int i = 0; i < BARS; i++)
        page_format(page, "V%.1fH%.1f", base - room * sqrt(bars[i] / largest), frame->left + (i + 1) * width);
    page_format(page, "V%.1f\"/>", base);
}

static void draw_bars(struct page *page, const struct frame *frame, const struct distribution *distribution)
{
    double bars[BARS] = {0}, others[BARS] = {0}, largest = 0;
    fill_bars(distribution->histogram, frame, bars);
    if (distribution->other)
        fill_bars(distribution->other, frame, others);
    for (int i = 0; i < BARS; i++)
        largest = fmax(largest, fmax(bars[i], others[i]));
    double base = frame->height - frame->bottom, room = base - frame->top,
           width = (frame->width - frame->left - frame->right) / BARS;
    for (int i = 0; i < BARS; i++) {
        if (bars[i] <= 0)
            continue;
        double height = fmax(room * sqrt(bars[i] / largest), 1.5);
        double middle = frame->x_from * pow(frame->x_to / frame->x_from, (i + 0.5) / BARS);
        page_format(page, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" class=\"%s\"/>",
                    frame->left + i * width, base - height, width - 0.7, height,
                    is_wrong(distribution, middle) ? "bar wrong" : "bar");
    }
    if (distribution->other)
        draw_other(page, frame, others, largest);
}

/* Ticks a person would choose: 1, 2, 5 times a power of ten; durations from ten seconds on as clocks have them. Major ones first. */
static uint32_t find_ticks(enum metric metric, double ticks[64])
{
    static const double clock_major[] = {10, 60, 600, 3600, 86400, 864000};
    static const double clock_minor[] = {20, 30, 120, 300, 1200, 1800, 7200, 18000, 36000, 172800, 432000};
    bool duration = metric_kind(metric) == METRIC_IS_TIME;
    uint32_t count = 0;
    for (double power = 1; power < (duration ? 1e7 : 1e13); power *= 10)
        ticks[count++] = power;
    for (size_t i = 0; duration && i < sizeof(clock_major) / sizeof(clock_major[0]); i++)
        ticks[count++] = clock_major[i] * 1e6;
    for (double power = 1; power < (duration ? 1e7 : 1e13); power *= 10) {
        ticks[count++] = power * 2;
        ticks[count++] = power * 5;
    }
    for (size_t i = 0; duration && i < sizeof(clock_minor) / sizeof(clock_minor[0]); i++)
        ticks[count++] = clock_minor[i] * 1e6;
    return count;
}

/* Each tick is named where its name has room. */
static void draw_axis(struct page *page, const struct frame *frame, enum metric metric)
{
    double base = frame->height - frame->bottom, ticks[64], from[64], to[64];
    uint32_t named = 0, count = find_ticks(metric, ticks);
    for (uint32_t i = 0; i < count; i++) {
        if (ticks[i] < frame->x_from || ticks[i] > frame->x_to)
            continue;
        char label[48];
        double x = frame_x(frame, ticks[i]);
        report_metric_text(metric, ticks[i], label, sizeof(label));
        double half = 3.2 * (double)utf8_columns(label) + 5;
        bool room = x - half > -5 && x + half < frame->width + 5;
        for (uint32_t n = 0; n < named && room; n++)
            room = x + half < from[n] || x - half > to[n];
        svg_line(page, x, base, x, base + (room ? 5 : 3), "axis");
        if (!room)
            continue;
        svg_text(page, x, base + 17, "middle", "tick", label);
        from[named] = x - half;
        to[named++] = x + half;
    }
    svg_line(page, frame->left, base, frame->width - frame->right, base, "axis");
}

/* other: a line whose text's row is another one, but which would run through this text. */
static void draw_line(struct page *page, const struct frame *frame, double value, double other, double height,
                      const char *class, const char *text)
{
    char text_class[32];
    if (!isfinite(value))
        return;
    double x = frame_x(frame, value);
    double room = 6.4 * (double)utf8_columns(text) + 8, gap = isfinite(other) ? frame_x(frame, fmax(other, 1)) - x : 0;
    bool left = (gap > 0 && gap < room && x > room) || x + room > frame->width;
    snprintf(text_class, sizeof(text_class), "%s-text", class);
    svg_line(page, x, height - 9, x, frame->height - frame->bottom, class);
    svg_text(page, left ? x - 5 : x + 5, height, left ? "end" : "start", text_class, text);
}

void svg_distribution(struct page *page, const struct distribution *distribution)
{
    struct frame frame = {.width = WIDTH,
                          .height = HEIGHT,
                          .left = 8,
                          .right = 8,
                          .top = 40,
                          .bottom = 24,
                          .y_to = 1,
                          .logarithmic = true};
    char label[256];
    find_range(distribution, &frame);
    snprintf(label, sizeof(label), "Distribution of %s: measured %s%s%s", metric_name(distribution->metric),
             distribution->measured_text, distribution->bound_text[0] ? ", bound " : "", distribution->bound_text);
    svg_open(page, WIDTH, HEIGHT, label);
    if (isfinite(distribution->low) && distribution->high > distribution->low) {
        double from = frame_x(&frame, fmax(distribution->low, 1)),
               to = frame_x(&frame, fmin(distribution->high, frame.x_to));
        page_format(page,
                    "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" class=\"surely\"><title>surely in "
                    "here</title></rect>",
                    from, frame.top - 8, fmax(to - from, 1), frame.height - frame.bottom - frame.top + 8);
    }
    draw_bars(page, &frame, distribution);
    draw_axis(page, &frame, distribution->metric);
    draw_line(page, &frame, distribution->measured, distribution->bound, 30, "measured", distribution->measured_text);
    draw_line(page, &frame, distribution->bound, NAN, 13, "bound", distribution->bound_text);
    svg_close(page);
}
