/* html_day.c: the day over time: one picture a question, drawn as SVG and given as data to the script, which makes it interactive. */
#include "html.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define CURVES_MAXIMUM 4

static const struct day_chart {
    const char *title, *unit;
    enum counter counters[CURVES_MAXIMUM];
    uint32_t count;
    bool rare; /* count in windows when there are too few for seconds */
} charts[] = {
    {"Connected", "vehicles", {COUNTER_CONNECTED}, 1, false},
    {"Driving", "vehicles", {COUNTER_DRIVING}, 1, false},
    {"Connects",
     "a second",
     {COUNTER_CONNECTS, COUNTER_CONNECTS_REFUSED, COUNTER_CONNECTS_FAILED, COUNTER_LINK_DROPS},
     4,
     false},
    {"Publishes", "a second", {COUNTER_PUBLISHES, COUNTER_DELIVERIES, COUNTER_REPUBLISHES}, 3, false},
    {"Commands", "a second", {COUNTER_COMMANDS, COUNTER_COMMANDS_ANSWERED, COUNTER_COMMANDS_TIMED_OUT}, 3, true},
    {"Bytes", "a second", {COUNTER_BYTES_UP, COUNTER_BYTES_DOWN}, 2, false},
};
#define CHARTS (sizeof(charts) / sizeof(charts[0]))

static void write_label(struct page *page, enum counter counter)
{
    for (const char *at = counter_name(counter); *at; at++)
        page_bytes(page, *at == '_' ? " " : at, 1);
}

/* Which of a chart's counters ever counted; all the others would be lines on the ground. */
static uint32_t read_curves(const struct report_run *run, const struct day_chart *chart, int64_t window_us,
                            struct curve *curves, enum counter shown[CURVES_MAXIMUM])
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < chart->count; i++)
        if (curve_read(run, chart->counters[i], MEASURE_EVERYBODY, window_us, &curves[count]) &&
            curves[count].largest > 0)
            shown[count++] = chart->counters[i];
    return count;
}

static void write_values(struct page *page, const double *values, uint32_t count, int digits)
{
    page_add(page, "[");
    for (uint32_t i = 0; i < count; i++)
        page_format(page, "%s%.*g", i ? "," : "", digits, values[i]);
    page_add(page, "]");
}

/* Times are seconds since the scenario's start. A series is its means; where a point covers many seconds, its extremes as well. */
static void write_chart_data(struct page *page, const struct curve *curves, const enum counter *shown, uint32_t count,
                             bool first)
{
    page_format(page, "%s{\"bytes\":%s,\"filled\":%s,\"at\":", first ? "" : ",",
                counter_is_bytes(shown[0]) ? "true" : "false", counter_is_gauge(shown[0]) ? "true" : "false");
    write_values(page, curves[0].at_s, curves[0].count, 9);
    page_add(page, ",\"series\":[");
    for (uint32_t i = 0; i < count; i++) {
        page_add(page, i ? ",\n{\"name\":\"" : "\n{\"name\":\"");
        write_label(page, shown[i]);
        page_add(page, "\",\"mean\":");
        write_values(page, curves[i].mean, curves[i].count, 4);
        if (curves[i].thinned) {
            page_add(page, ",\"low\":");
            write_values(page, curves[i].low, curves[i].count, 5);
            page_add(page, ",\"high\":");
            write_values(page, curves[i].high, curves[i].count, 5);
        }
        page_add(page, "}");
    }
    page_add(page, "]}\n");
}

static void write_bands(const struct scenario *scenario, struct page *page)
{
    bool first = true;
    page_add(page, "\"bands\":[");
    if (scenario->warm_up_us > 0) {
        page_format(page, "[0,%.6g,\"warm-up\",1]", (double)scenario->warm_up_us / 1e6);
        first = false;
    }
    for (uint32_t i = 0; i < scenario->phase_count; i++) {
        const struct scenario_phase *phase = &scenario->phases[i];
        page_format(page, "%s[%.9g,%.9g,", first ? "" : ",", (double)phase->from_us / 1e6, (double)phase->to_us / 1e6);
        page_json(page, phase->name);
        page_format(page, ",%d]", phase->excluded);
        first = false;
    }
    page_add(page, "],\n");
}

static void write_marks(const struct report_run *run, struct page *page)
{
    bool first = true;
    page_add(page, "\"marks\":[");
    for (uint32_t i = 0; i < run->result->note_count; i++) {
        struct mark mark;
        if (!mark_read(run->scenario, run->result->notes[i], &mark))
            continue;
        page_format(page, "%s[%.9g,", first ? "" : ",", (double)mark.at_us / 1e6);
        page_json(page, mark.text);
        page_add(page, "]");
        first = false;
    }
    page_add(page, "],\n");
}

static void write_legend(struct page *page, const enum counter *shown, uint32_t count)
{
    page_add(page, "<p class=\"legend\">");
    for (uint32_t i = 0; i < count; i++) {
        page_format(
            page,
            "<span><svg viewBox=\"0 0 26 8\" aria-hidden=\"true\"><path d=\"M0 4h26\" class=\"curve c%u\"/></svg>", i);
        write_label(page, shown[i]);
        page_add(page, "</span>");
    }
    page_add(page, "</p>\n");
}

static void write_chart(const struct report_run *run, struct page *page, struct page *data, uint32_t index,
                        struct curve *curves, bool *first)
{
    const struct day_chart *chart = &charts[index];
    enum counter shown[CURVES_MAXIMUM];
    int64_t total = chart->rare ? measure_total(run->result->measure, chart->counters[0], MEASURE_EVERYBODY) : 0;
    int64_t window_us = curve_window(run, total);
    uint32_t count = read_curves(run, chart, window_us, curves, shown);
    if (!count)
        return;
    char unit[64], window[48];
    measure_format_duration((double)window_us, window, sizeof(window));
    snprintf(unit, sizeof(unit), "in each %s", window);
    const struct curve *drawn[CURVES_MAXIMUM];
    for (uint32_t i = 0; i < count; i++)
        drawn[i] = &curves[i];
    struct time_chart time_chart = {.curves = drawn,
                                    .curve_count = count,
                                    .width = 1060,
                                    .height = 190,
                                    .bound = NAN,
                                    .moment_us = -1,
                                    .label = chart->title,
                                    .bytes = counter_is_bytes(shown[0]),
                                    .marks = true,
                                    .filled = counter_is_gauge(shown[0])};
    page_format(page, "<figure class=\"day\"><figcaption>%s <span class=\"dim\">%s</span></figcaption>\n", chart->title,
                window_us ? unit : chart->unit);
    write_legend(page, shown, count);
    page_add(page, "<div class=\"plot\">");
    svg_time_chart(run, page, &time_chart);
    page_add(page, "</div></figure>\n");
    write_chart_data(data, curves, shown, count, *first);
    *first = false;
}

static void write_marks_list(const struct report_run *run, struct page *page)
{
    bool open = false;
    for (uint32_t i = 0; i < run->result->note_count; i++) {
        struct mark mark;
        char at[48];
        if (!mark_read(run->scenario, run->result->notes[i], &mark))
            continue;
        page_add(page, open ? "" : "<ol class=\"marks\">\n");
        open = true;
        scenario_time_text(run->scenario, mark.at_us, at, sizeof(at));
        page_format(page, "<li><b>%s</b> ", at);
        page_escape(page, mark.text);
        page_add(page, "</li>\n");
    }
    page_add(page, open ? "</ol>\n" : "");
}

void html_day(const struct report_run *run, struct page *page)
{
    struct curve *curves = malloc(CURVES_MAXIMUM * sizeof(*curves));
    struct page data = {0};
    bool first = true, thinned = false;
    double stretch_s = 0;
    html_section(page, "day", run->scenario->duration_us > 2 * US_PER_DAY ? "The days" : "The day", NULL);
    write_marks_list(run, page);
    page_format(&data, "{\"start\":%.0f,\"duration\":%.9g,\n", (double)run->scenario->start_epoch_us / 1e6,
                (double)run->scenario->duration_us / 1e6);
    write_bands(run->scenario, &data);
    write_marks(run, &data);
    if (curves && curve_read(run, COUNTER_CONNECTED, MEASURE_EVERYBODY, 0, &curves[0])) {
        thinned = curves[0].thinned;
        stretch_s = curves[0].stretch_s;
    }
    page_add(&data, "\"charts\":[");
    for (uint32_t i = 0; i < CHARTS && curves; i++)
        write_chart(run, page, &data, i, curves, &first);
    page_add(&data, "]}");
    if (first)
        page_add(page, "<p class=\"lead\">Nothing was counted.</p>\n");
    if (thinned) {
        char stretch[64];
        measure_format_duration(stretch_s * 1e6, stretch, sizeof(stretch));
        page_format(page,
                    "<p class=\"dim\">A line is the mean of %s, the shade around it reaches from the smallest to the "
                    "largest second "
                    "in it; every second is in <code>run.sqlite</code>.</p>\n",
                    stretch);
    }
    page_add(page, "<script type=\"application/json\" id=\"day-data\">");
    page_bytes(page, data.data ? data.data : "", data.length);
    page_add(page, "</script>\n</section>\n");
    page->failed = page->failed || !curves || data.failed;
    page_free(&data);
    free(curves);
}
