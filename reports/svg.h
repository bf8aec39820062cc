/* svg.h: the pictures of the report, drawn on the server's side so that they can be read with scripts off and printed. */
#ifndef REPORTS_SVG_H
#define REPORTS_SVG_H

#include "internal.h"

/* ---- curve.c: a counter over time, thinned out ----------------------------------------------------------------------- */

#define CURVE_POINTS 750
/* Longer series are parted into CURVE_POINTS stretches, each with its smallest, largest and mean bin. Counts are per second; gauges are
 * levels. With a window the curve tells how many in each window instead, at its middle. */
struct curve {
    uint32_t count;
    double at_s[CURVE_POINTS], low[CURVE_POINTS], mean[CURVE_POINTS], high[CURVE_POINTS];
    double largest;
    bool thinned;
    double stretch_s; /* what a point covers */
};
/* false: out of memory, or nothing ran. window_us 0: per second. */
bool curve_read(const struct report_run *run, enum counter counter, struct measure_dimension filter, int64_t window_us,
                struct curve *out);
/* What an expectation on counters looks at, per second. */
bool curve_read_expectation(const struct report_run *run, const struct expectation *expectation, struct curve *out);
/* A window in which something rare can be seen: 0 when it is frequent enough for seconds. */
int64_t curve_window(const struct report_run *run, int64_t total);

/* ---- marks.c: what happened when ---------------------------------------------------------------------------------------- */

struct mark {
    int64_t at_us;
    char text[200];
};
/* Notes that begin with a moment ("07:40:00 a tunnel ..."), as the scenario's calendar has it. */
bool mark_read(const struct scenario *scenario, const char *note, struct mark *out);

/* ---- svg.c ---------------------------------------------------------------------------------------------------------------- */

struct frame {
    double width, height, left, right, top, bottom; /* margins */
    double x_from, x_to, y_to;                      /* values at the edges; y begins at 0 */
    bool logarithmic;                               /* x */
};
double frame_x(const struct frame *frame, double value);
double frame_y(const struct frame *frame, double value);
void svg_open(struct page *page, double width, double height, const char *label);
void svg_close(struct page *page);
/* Text with a class; anchor: "start", "middle", "end". */
void svg_text(struct page *page, double x, double y, const char *anchor, const char *class, const char *text);
void svg_line(struct page *page, double x1, double y1, double x2, double y2, const char *class);
double svg_nice_step(double range, int steps);
/* "12,000", "1.5 M" */
void svg_number(double value, bool bytes, char *out, size_t capacity);

struct time_chart {
    const struct curve *const *curves; /* drawn in this order; class c0, c1, ... */
    uint32_t curve_count;
    double width, height;
    double bound; /* NAN: none */
    const char *bound_text;
    int64_t moment_us; /* -1: none */
    const char *moment_text;
    const char *label; /* for those who cannot see it */
    bool bytes, marks, filled;
};
void svg_time_chart(const struct report_run *run, struct page *page, const struct time_chart *chart);

/* Distribution of a metric with the bound, what was measured, and where it surely lies. */
struct distribution {
    const struct histogram *histogram;
    enum metric metric;
    enum comparison comparison;
    double bound, measured, low,
        high; /* low, high: NAN when no confidence was asked; bound, measured: NAN when they are no value of a sample */
    const char *bound_text, *measured_text;
    const struct histogram *other; /* drawn over it as a line, in shares of its own samples; NULL: none */
};
void svg_distribution(struct page *page, const struct distribution *distribution);

#endif
