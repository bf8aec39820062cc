/* html_journeys.c: what a vehicle goes through, step by step, as percentiles on one logarithmic axis a journey. */
#include "html.h"

#include <math.h>
#include <stdio.h>

#define STEPS 9
static const struct journey {
    const char *title;
    enum metric steps[STEPS];
    uint32_t count;
} journeys[] = {
    {"Provision",
     {METRIC_PROVISION_KEY, METRIC_PROVISION_CERTIFICATE, METRIC_PROVISION_REGISTRATION, METRIC_PROVISION_TOTAL},
     4},
    {"Connect",
     {METRIC_CONNECT_RESOLVE, METRIC_CONNECT_TCP, METRIC_CONNECT_TLS, METRIC_CONNECT_CONNACK, METRIC_CONNECT_TOTAL,
      METRIC_RECONNECT, METRIC_RECONNECT_INTERVAL, METRIC_PRESENCE_DELAY, METRIC_CONNECTION_DEAD},
     9},
    {"Telemetry", {METRIC_TELEMETRY_ACK, METRIC_TELEMETRY_END_TO_END, METRIC_SEND_LAG}, 3},
    {"Command", {METRIC_COMMAND_DELIVERY, METRIC_COMMAND_ROUND_TRIP}, 2},
    {"Traffic of a vehicle", {METRIC_BYTES_UP_DAY, METRIC_BYTES_DOWN_DAY, METRIC_ALIAS_SAVED_DAY}, 3},
    {"Asleep and elsewhere", {METRIC_SMS_DELIVERY, METRIC_SHADOW_SYNC, METRIC_REGION_MOVE, METRIC_FAILOVER}, 4},
    {"Battery of the TCU", {METRIC_BATTERY_USED}, 1},
    {"Cost of a vehicle's data", {METRIC_DATA_COST_DAY}, 1},
};
#define JOURNEYS (sizeof(journeys) / sizeof(journeys[0]))

struct journey_table {
    const struct report_run *run;
    struct page *page;
    double from, to; /* of the axis */
    bool parts;      /* write paths, cohorts and regions; else only the whole */
    bool measuring;  /* first pass: only looks for the axis */
    uint32_t rows;
};

static double axis_at(const struct journey_table *table, double value)
{
    double share = log(fmax(value, table->from) / table->from) / log(table->to / table->from);
    return fmin(fmax(share, 0), 1) * 300;
}

/* Up to the median dark, to p90 lighter, to p99 light; a tick at p99.9, a dot at the largest. */
static void write_range(const struct journey_table *table, const struct summary *summary)
{
    double edge[] = {axis_at(table, (double)summary->minimum), axis_at(table, (double)summary->p50),
                     axis_at(table, (double)summary->p90), axis_at(table, (double)summary->p99)};
    page_add(table->page, "<svg class=\"range\" viewBox=\"-3 0 306 16\" aria-hidden=\"true\">");
    for (double value = pow(10, ceil(log10(table->from) - 1e-9)); value <= table->to; value *= 10)
        svg_line(table->page, axis_at(table, value), 0, axis_at(table, value), 16, "grid");
    for (int i = 0; i < 3; i++)
        page_format(table->page, "<rect x=\"%.1f\" y=\"3\" width=\"%.1f\" height=\"10\" class=\"p%d\"/>", edge[i],
                    fmax(edge[i + 1] - edge[i], i == 0 ? 1.5 : 0), i);
    double p999 = axis_at(table, (double)summary->p999), maximum = axis_at(table, (double)summary->maximum);
    svg_line(table->page, edge[3], 8, maximum, 8, "whisker");
    svg_line(table->page, p999, 4, p999, 12, "whisker");
    page_format(table->page, "<circle cx=\"%.1f\" cy=\"8\" r=\"2.4\" class=\"largest\"/></svg>", maximum);
}

static void write_row(void *context, enum metric metric, const char *kind, const char *name,
                      struct measure_dimension filter)
{
    struct journey_table *table = context;
    struct summary summary;
    bool whole = strcmp(kind, "all") == 0;
    bool by_path = strcmp(kind, "path") == 0;
    if ((!whole && !by_path && !table->parts) || !report_summary(table->run->result->measure, metric, filter, &summary))
        return;
    if (table->measuring) {
        table->from = fmin(table->from, fmax((double)summary.minimum, 1));
        table->to = fmax(table->to, (double)summary.maximum);
        return;
    }
    char text[64];
    page_format(table->page, "<tr%s><th>", whole ? "" : " class=\"part\"");
    page_escape(table->page, whole ? html_metric_title(metric) : by_path ? html_path_title(filter.path) : name);
    if (summary.excluded && whole)
        page_add(table->page, " <span class=\"dim\">(warm-up)</span>");
    measure_format_count((double)summary.count, text, sizeof(text));
    page_format(table->page, "</th><td class=\"n dim\">%s</td><td class=\"range-cell\">", text);
    write_range(table, &summary);
    page_add(table->page, "</td>");
    const int64_t values[] = {summary.p50, summary.p90, summary.p99, summary.p999, summary.maximum};
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        report_metric_text(metric, (double)values[i], text, sizeof(text));
        html_cell(table->page, "n", text);
    }
    page_add(table->page, "</tr>\n");
    table->rows++;
}

static void walk(struct journey_table *table, const struct journey *journey, bool measuring)
{
    table->measuring = measuring;
    for (uint32_t i = 0; i < journey->count; i++)
        report_each_part(table->run, journey->steps[i], write_row, table);
}

static void write_table(struct journey_table *table, const struct journey *journey)
{
    table->from = 1e18;
    table->to = 0;
    walk(table, journey, true);
    if (table->to <= 0)
        return;
    table->from /= 1.1;
    table->to = fmax(table->to * 1.1, table->from * 10);
    page_add(table->page, "<div class=\"scroll\"><table class=\"journey\">\n<thead><tr><th>");
    page_add(table->page, table->parts ? "by cohort and region" : journey->title);
    page_add(table->page, "</th><th class=\"n\">samples</th><th class=\"range-cell\"></th><th class=\"n\">p50</th><th "
                          "class=\"n\">p90</th>"
                          "<th class=\"n\">p99</th><th class=\"n\">p99.9</th><th class=\"n\">max</th></tr></thead>\n");
    walk(table, journey, false);
    page_add(table->page, "</table></div>\n");
}

/* ---- commands by path ----------------------------------------------------------------------------------------------------- */

#define COMMAND_STEPS (METRIC_COMMAND_ANSWER - METRIC_COMMAND_SERVICE + 1)

/* What there is outside the warm-up, or else in it. */
static void read_path(const struct report_run *run, enum metric metric, enum metric_path path, struct histogram *out)
{
    struct measure_dimension filter = {MEASURE_ANY, MEASURE_ANY, (uint8_t)path};
    measure_histogram(run->result->measure, metric, filter, false, out);
    if (!out->count)
        measure_histogram(run->result->measure, metric, filter, true, out);
}

/* Each step's part of all the time that the path's commands took. */
static void write_steps(const struct report_run *run, struct page *page, enum metric_path path,
                        const struct histogram *whole)
{
    struct histogram step;
    double at = 0, sum = histogram_sum(whole);
    page_add(page, "<td class=\"bar-cell\"><svg class=\"steps\" viewBox=\"0 0 100 10\" preserveAspectRatio=\"none\" "
                   "role=\"img\" aria-label=\"parts of the round trip\">");
    for (int i = 0; i < COMMAND_STEPS && sum > 0; i++) {
        char share[48];
        enum metric metric = (enum metric)(METRIC_COMMAND_SERVICE + i);
        read_path(run, metric, path, &step);
        double part = histogram_sum(&step) / sum, width = fmin(part * 100, 100 - at);
        if (!step.count || !(width > 0))
            continue;
        measure_format_share(part, share, sizeof(share));
        page_format(page, "<rect x=\"%.2f\" width=\"%.2f\" height=\"10\" class=\"s%d\"><title>%s: %s</title></rect>",
                    at, width, i, html_metric_title(metric), share);
        at += width;
    }
    page_add(page, "</svg></td>");
}

static void write_path_row(const struct report_run *run, struct page *page, enum metric_path path,
                           const struct histogram *whole)
{
    static const double quantiles[] = {0.5, 0.9, 0.99, 0.999};
    char text[64];
    measure_format_count((double)whole->count, text, sizeof(text));
    page_format(page, "<tr><th>%s</th><td class=\"n dim\">%s</td>", html_path_title(path), text);
    write_steps(run, page, path, whole);
    for (size_t i = 0; i <= sizeof(quantiles) / sizeof(quantiles[0]); i++) {
        bool last = i == sizeof(quantiles) / sizeof(quantiles[0]);
        int64_t value = last ? whole->maximum : histogram_quantile(whole, quantiles[i]);
        report_metric_text(METRIC_COMMAND_ROUND_TRIP, (double)value, text, sizeof(text));
        html_cell(page, "n", text);
    }
    page_add(page, "</tr>\n");
}

static void write_path_picture(struct page *page, enum metric_path path, const struct histogram *whole)
{
    char text[64], median[80];
    double middle = (double)histogram_quantile(whole, 0.5);
    report_metric_text(METRIC_COMMAND_ROUND_TRIP, middle, text, sizeof(text));
    snprintf(median, sizeof(median), "median %s", text);
    struct distribution distribution = {.histogram = whole,
                                        .metric = METRIC_COMMAND_ROUND_TRIP,
                                        .comparison = EQUALS,
                                        .bound = NAN,
                                        .measured = middle,
                                        .low = NAN,
                                        .high = NAN,
                                        .bound_text = "",
                                        .measured_text = median};
    page_format(page, "<article class=\"card\"><h3>%s</h3><figure>", html_path_title(path));
    svg_distribution(page, &distribution);
    page_add(page, "</figure></article>\n");
}

/* Nothing, where no command took a path that is known. */
static void write_commands_by_path(const struct report_run *run, struct page *page)
{
    struct histogram whole;
    uint32_t rows = 0;
    for (int path = PATH_CONNECTED; path < PATH_COUNT; path++) {
        read_path(run, METRIC_COMMAND_ROUND_TRIP, path, &whole);
        if (!whole.count)
            continue;
        if (!rows++)
            page_add(page,
                     "<div class=\"scroll\"><table class=\"journey\" id=\"commands-by-path\">\n<thead><tr><th>Commands "
                     "by path</th><th class=\"n\">samples</th><th class=\"bar-cell\">where the time "
                     "went</th><th class=\"n\">p50</th><th class=\"n\">p90</th><th class=\"n\">p99</th><th "
                     "class=\"n\">p99.9</th><th class=\"n\">max</th></tr></thead>\n");
        write_path_row(run, page, path, &whole);
    }
    if (!rows)
        return;
    page_add(page, "</table>\n");
    read_path(run, METRIC_COMMAND_SERVICE, PATH_ANY, &whole);
    if (whole.count) {
        page_add(page, "<p class=\"dim\">Parts of the round trip, one after the other:");
        for (int i = 0; i < COMMAND_STEPS; i++)
            page_format(
                page,
                "<svg class=\"step-key\" viewBox=\"0 0 1 1\"><rect width=\"1\" height=\"1\" class=\"s%d\"/></svg>%s", i,
                html_metric_title((enum metric)(METRIC_COMMAND_SERVICE + i)));
        page_add(page, "</p>\n");
    }
    page_add(page, "</div>\n<div class=\"cards\">\n");
    for (int path = PATH_CONNECTED; path < PATH_COUNT; path++) {
        read_path(run, METRIC_COMMAND_ROUND_TRIP, path, &whole);
        if (whole.count)
            write_path_picture(page, path, &whole);
    }
    page_add(page, "</div>\n");
}

void html_journeys(const struct report_run *run, struct page *page)
{
    html_section(page, "journeys", "Journeys",
                 "How long each step took, from the moment it was meant to begin. Bars: up to "
                 "<span class=\"key p0\">p50</span> <span class=\"key p1\">p90</span> <span class=\"key "
                 "p2\">p99</span>, a tick at p99.9, "
                 "a dot at the largest; logarithmic, a line each power of ten.");
    for (size_t i = 0; i < JOURNEYS; i++) {
        struct journey_table table = {.run = run, .page = page};
        write_table(&table, &journeys[i]);
        if (!table.rows)
            continue;
        table.parts = true;
        page_add(page, "<details><summary>by cohort and region</summary>\n");
        write_table(&table, &journeys[i]);
        page_add(page, "</details>\n");
    }
    write_commands_by_path(run, page);
    page_add(page, "</section>\n");
}
