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
} charts[] = {
    {"Connected and driving", "vehicles", {COUNTER_CONNECTED, COUNTER_DRIVING}, 2},
    {"Connects", "a second", {COUNTER_CONNECTS, COUNTER_CONNECTS_REFUSED, COUNTER_CONNECTS_FAILED, COUNTER_LINK_DROPS}, 4},
    {"Publishes", "a second", {COUNTER_PUBLISHES, COUNTER_DELIVERIES, COUNTER_REPUBLISHES}, 3},
    {"Commands", "a second", {COUNTER_COMMANDS, COUNTER_COMMANDS_ANSWERED, COUNTER_COMMANDS_TIMED_OUT}, 3},
    {"Bytes", "a second", {COUNTER_BYTES_UP, COUNTER_BYTES_DOWN}, 2},
};
#define CHARTS (sizeof(charts) / sizeof(charts[0]))

static void write_label(struct page *page, enum counter counter)
{
    for (const char *at = counter_name(counter); *at; at++)
        page_bytes(page, *at == '_' ? " " : at, 1);
}

/* Which of a chart's counters ever counted; all the others would be lines on the ground. */
static uint32_t read_curves(const struct report_run *run, const struct day_chart *chart, struct curve *curves, enum counter shown[CURVES_MAXIMUM])
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < chart->count; i++)
        if (curve_read(run, chart->counters[i], MEASURE_EVERYBODY, &curves[count]) && curves[count].largest > 0)
            shown[count++] = chart->counters[i];
    return count;
}

static void write_values(struct page *page, const double *values, uint32_t count)
{
    page_add(page, "[");
    for (uint32_t i = 0; i < count; i++)
        page_format(page, "%s%.5g", i ? "," : "", values[i]);
    page_add(page, "]");
}

/* Times are seconds since the scenario's start, whole where bins are. */
static void write_chart_data(struct page *page, const struct curve *curves, const enum counter *shown, uint32_t count, bool bytes, bool first)
{
    page_format(page, "%s{\"bytes\":%s,\"names\":[", first ? "" : ",", bytes ? "true" : "false");
    for (uint32_t i = 0; i < count; i++) {
        page_add(page, i ? ",\"" : "\"");
        write_label(page, shown[i]);
        page_add(page, "\"");
    }
    page_add(page, "],\"series\":[");
    for (uint32_t i = 0; i < count; i++) {
        page_add(page, i ? "," : "");
        write_values(page, curves[i].value, curves[i].count);
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
        page_format(page, "<span><svg viewBox=\"0 0 26 8\" aria-hidden=\"true\"><path d=\"M0 4h26\" class=\"curve c%u\"/></svg>", i);
        write_label(page, shown[i]);
        page_add(page, "</span>");
    }
    page_add(page, "</p>\n");
}

static void write_chart(const struct report_run *run, struct page *page, struct page *data, uint32_t index, struct curve *curves, bool *first)
{
    const struct day_chart *chart = &charts[index];
    enum counter shown[CURVES_MAXIMUM];
    uint32_t count = read_curves(run, chart, curves, shown);
    if (!count)
        return;
    const struct curve *drawn[CURVES_MAXIMUM];
    for (uint32_t i = 0; i < count; i++)
        drawn[i] = &curves[i];
    bool bytes = counter_is_bytes(shown[0]);
    struct time_chart time_chart = {.curves = drawn,
                                    .curve_count = count,
                                    .width = 1060,
                                    .height = 190,
                                    .bound = NAN,
                                    .moment_us = -1,
                                    .label = chart->title,
                                    .bytes = bytes,
                                    .marks = true,
                                    .filled = counter_is_gauge(shown[0])};
    page_format(page, "<figure class=\"day\"><figcaption>%s <span class=\"dim\">%s</span></figcaption>\n", chart->title, chart->unit);
    write_legend(page, shown, count);
    page_add(page, "<div class=\"plot\">");
    svg_time_chart(run, page, &time_chart);
    page_add(page, "</div></figure>\n");
    write_chart_data(data, curves, shown, count, bytes, *first);
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
    html_section(page, "day", run->scenario->duration_us > 2 * US_PER_DAY ? "The days" : "The day", NULL);
    write_marks_list(run, page);
    page_format(&data, "{\"start\":%.0f,\"duration\":%.9g,\n", (double)run->scenario->start_epoch_us / 1e6,
                (double)run->scenario->duration_us / 1e6);
    write_bands(run->scenario, &data);
    write_marks(run, &data);
    if (curves && curve_read(run, COUNTER_CONNECTED, MEASURE_EVERYBODY, &curves[0])) {
        thinned = curves[0].thinned;
        page_add(&data, "\"at\":");
        write_values(&data, curves[0].at_s, curves[0].count);
        page_format(&data, ",\n\"stretch\":%.6g,\n", curves[0].stretch_s);
    }
    page_add(&data, "\"charts\":[");
    for (uint32_t i = 0; i < CHARTS && curves; i++)
        write_chart(run, page, &data, i, curves, &first);
    page_add(&data, "]}");
    if (first)
        page_add(page, "<p class=\"lead\">Nothing was counted.</p>\n");
    if (thinned) {
        char stretch[64];
        measure_format_duration((double)(int64_t)((double)run->result->simulated_us / (CURVE_POINTS / 2)), stretch, sizeof(stretch));
        page_format(page, "<p class=\"dim\">Each point pair covers %s and shows its smallest and largest second; every second is in "
                          "<code>run.sqlite</code>.</p>\n", stretch);
    }
    page_add(page, "<script type=\"application/json\" id=\"day-data\">");
    page_bytes(page, data.data ? data.data : "", data.length);
    page_add(page, "</script>\n</section>\n");
    page->failed = page->failed || !curves || data.failed;
    page_free(&data);
    free(curves);
}
