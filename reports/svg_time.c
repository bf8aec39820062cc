/* svg_time.c: curves over the scenario's day, with its phases, notes, a bound and a moment. */
#include "svg.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define WORST_LABEL_SHARE 0.7 /* text of a mark goes to its left beyond this share of the width */

/* ---- axes ---------------------------------------------------------------------------------------------------------------- */

static double time_step(double range_s, int steps)
{
    static const double nice[] = {1,   2,    5,    10,   15,    30,    60,    120,   300,   600,
                                  900, 1800, 3600, 7200, 10800, 14400, 21600, 43200, 86400, 172800};
    for (size_t i = 0; i < sizeof(nice) / sizeof(nice[0]); i++)
        if (range_s / nice[i] <= steps)
            return nice[i];
    return svg_nice_step(range_s / 86400, steps) * 86400;
}

static void time_label(const struct report_run *run, double at_s, double step_s, char *out, size_t capacity)
{
    char full[48];
    scenario_time_text(run->scenario, (int64_t)llround(at_s * 1e6), full, sizeof(full));
    size_t length = strlen(full);
    const char *day = strchr(full, 'd');
    if (day && (step_s >= 86400 || strcmp(full + length - 8, "00:00:00") == 0))
        snprintf(out, capacity, "day %d", 1 + atoi(full));
    else
        snprintf(out, capacity, "%.*s", step_s < 60 ? 8 : 5, full + length - 8);
}

static void draw_time_axis(const struct report_run *run, struct page *page, const struct frame *frame)
{
    double day_s = (double)run->scenario->start_of_day_us / 1e6,
           step = time_step(frame->x_to - frame->x_from, frame->width > 700 ? 12 : 7);
    double base = frame->height - frame->bottom;
    for (double at = ceil((day_s + frame->x_from) / step) * step - day_s; at <= frame->x_to + 1e-6; at += step) {
        char label[64];
        double x = frame_x(frame, at);
        time_label(run, at, step, label, sizeof(label));
        svg_line(page, x, base, x, base + 4, "axis");
        svg_text(page, x, base + 16,
                 x > frame->width - 24 ? "end"
                 : x < frame->left     ? "start"
                                       : "middle",
                 "tick", label);
    }
    svg_line(page, frame->left, base, frame->width - frame->right, base, "axis");
}

static void draw_value_axis(struct page *page, const struct frame *frame, double step, bool bytes)
{
    for (double value = 0; value <= frame->y_to * 1.0001; value += step) {
        char label[64];
        double y = frame_y(frame, value);
        svg_number(value, bytes, label, sizeof(label));
        if (value > 0)
            svg_line(page, frame->left, y, frame->width - frame->right, y, "grid");
        svg_text(page, frame->left - 6, y + 4, "end", "tick", label);
    }
}

/* ---- what lies behind the curves ------------------------------------------------------------------------------------------- */

static void draw_band(struct page *page, const struct frame *frame, double from_s, double to_s, const char *class,
                      const char *name, bool named)
{
    double from = frame_x(frame, from_s), to = frame_x(frame, to_s);
    if (to - from < 0.5)
        return;
    page_format(page, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" class=\"%s\"><title>", from,
                frame->top, to - from, frame->height - frame->top - frame->bottom, class);
    page_escape(page, name);
    page_add(page, "</title></rect>");
    if (named && to - from > 6.2 * (double)utf8_columns(name))
        svg_text(page, from + 2, frame->top - 5, "start", "band-name", name);
}

static void draw_phases(const struct report_run *run, struct page *page, const struct frame *frame, bool named)
{
    const struct scenario *scenario = run->scenario;
    if (scenario->warm_up_us > 0)
        draw_band(page, frame, 0, (double)scenario->warm_up_us / 1e6, "band excluded", "warm-up", named);
    for (uint32_t i = 0; i < scenario->phase_count; i++) {
        const struct scenario_phase *phase = &scenario->phases[i];
        draw_band(page, frame, (double)phase->from_us / 1e6, (double)phase->to_us / 1e6,
                  phase->excluded ? "band excluded" : "band", phase->name, named);
    }
}

static void draw_marks(const struct report_run *run, struct page *page, const struct frame *frame)
{
    for (uint32_t i = 0, number = 1; i < run->result->note_count; i++) {
        struct mark mark;
        char digits[12];
        if (!mark_read(run->scenario, run->result->notes[i], &mark))
            continue;
        double x = frame_x(frame, (double)mark.at_us / 1e6);
        snprintf(digits, sizeof(digits), "%u", number++);
        page_add(page, "<g><title>");
        page_escape(page, run->result->notes[i]);
        page_add(page, "</title>");
        svg_line(page, x, frame->top, x, frame->height - frame->bottom, "mark");
        page_format(page, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"7\" class=\"mark-dot\"/>", x, frame->top + 7);
        svg_text(page, x, frame->top + 10.5, "middle", "mark-number", digits);
        page_add(page, "</g>");
    }
}

/* ---- curves ------------------------------------------------------------------------------------------------------------------ */

/* Tenths of a unit, as differences: half the bytes of absolute coordinates. */
struct pen {
    struct page *page;
    long x, y;
    bool down;
};

static void pen_to(struct pen *pen, double x_units, double y_units)
{
    long x = lround(x_units * 10), y = lround(y_units * 10);
    if (!pen->down)
        page_format(pen->page, "M%ld %ldl0 0", x, y);
    else if (x != pen->x || y != pen->y)
        page_format(pen->page, "%s%ld%s%ld", x < pen->x ? "" : " ", x - pen->x, y < pen->y ? "" : " ", y - pen->y);
    *pen = (struct pen){pen->page, x, y, true};
}

static void open_path(struct page *page, const char *class, uint32_t index)
{
    page_format(page, "<path transform=\"scale(.1)\" class=\"%s c%u\" d=\"", class, index);
}

/* From the smallest to the largest bin of each stretch. */
static void draw_extremes(struct page *page, const struct frame *frame, const struct curve *curve, uint32_t index)
{
    struct pen pen = {.page = page};
    open_path(page, "extremes", index);
    for (uint32_t i = 0; i < curve->count; i++)
        pen_to(&pen, frame_x(frame, curve->at_s[i]), frame_y(frame, curve->high[i]));
    for (uint32_t i = curve->count; i-- > 0;)
        pen_to(&pen, frame_x(frame, curve->at_s[i]), frame_y(frame, curve->low[i]));
    page_add(page, "Z\"/>");
}

static void draw_means(struct page *page, const struct frame *frame, const struct curve *curve, uint32_t index,
                       bool area)
{
    struct pen pen = {.page = page};
    open_path(page, area ? "area" : "curve", index);
    for (uint32_t i = 0; i < curve->count; i++)
        pen_to(&pen, frame_x(frame, curve->at_s[i]), frame_y(frame, curve->mean[i]));
    if (area)
        page_format(page, "V%ldH%ldZ", lround((frame->height - frame->bottom) * 10),
                    lround(frame_x(frame, curve->at_s[0]) * 10));
    page_add(page, "\"/>");
}

static void draw_curve(struct page *page, const struct frame *frame, const struct curve *curve, uint32_t index,
                       bool filled)
{
    if (!curve->count)
        return;
    if (curve->thinned)
        draw_extremes(page, frame, curve, index);
    if (filled)
        draw_means(page, frame, curve, index, true);
    draw_means(page, frame, curve, index, false);
}

static void draw_bound(struct page *page, const struct frame *frame, double bound, const char *text)
{
    if (!isfinite(bound))
        return;
    double y = frame_y(frame, bound);
    svg_line(page, frame->left, y, frame->width - frame->right, y, "bound");
    svg_text(page, frame->width - frame->right - 2, y - 5 < frame->top + 6 ? y + 13 : y - 5, "end", "bound-text", text);
}

static void draw_moment(struct page *page, const struct frame *frame, const struct time_chart *chart)
{
    if (chart->moment_us < 0)
        return;
    double x = frame_x(frame, (double)chart->moment_us / 1e6), width = frame->width;
    bool left = x > width * WORST_LABEL_SHARE;
    svg_line(page, x, frame->top - 4, x, frame->height - frame->bottom, "moment");
    page_format(page, "<path class=\"moment-head\" d=\"M%.1f %.1fl-5 -7h10z\"/>", x, frame->top + 2);
    svg_text(page, left ? x - 9 : x + 9, frame->top, left ? "end" : "start", "moment-text", chart->moment_text);
}

void svg_time_chart(const struct report_run *run, struct page *page, const struct time_chart *chart)
{
    struct frame frame = {
        .width = chart->width, .height = chart->height, .left = 58, .right = 10, .top = 22, .bottom = 22};
    double largest = isfinite(chart->bound) ? chart->bound : 0;
    for (uint32_t i = 0; i < chart->curve_count; i++)
        largest = fmax(largest, chart->curves[i]->largest);
    double step = svg_nice_step(largest > 0 ? largest * 1.04 : 1, 3);
    frame.x_to = fmax((double)run->scenario->duration_us / 1e6, 1e-3);
    frame.y_to = ceil((largest > 0 ? largest * 1.04 : 1) / step - 1e-9) * step;
    svg_open(page, chart->width, chart->height, chart->label);
    draw_phases(run, page, &frame, chart->marks);
    draw_value_axis(page, &frame, step, chart->bytes);
    for (uint32_t i = 0; i < chart->curve_count; i++)
        draw_curve(page, &frame, chart->curves[i], i, chart->filled && i == 0);
    draw_time_axis(run, page, &frame);
    if (chart->marks)
        draw_marks(run, page, &frame);
    draw_bound(page, &frame, chart->bound, chart->bound_text);
    draw_moment(page, &frame, chart);
    svg_close(page);
}
