/* html_answer.c: each expectation as a card: what was asked, what was measured, and a picture of both. What fails comes first. */
#include "html.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define VICTIMS_IN_CARD 8

/* ---- pictures ------------------------------------------------------------------------------------------------------------ */

static void picture_distribution(const struct report_run *run, struct page *page, const struct expectation *expectation,
                                 const struct expectation_result *result)
{
    struct histogram histogram;
    char measured[128], bound[96], bound_line[112];
    measure_histogram(run->result->measure, expectation->what, expectation->filter, false, &histogram);
    if (expectation->with_excluded) {
        struct histogram excluded;
        measure_histogram(run->result->measure, expectation->what, expectation->filter, true, &excluded);
        histogram_merge(&histogram, &excluded);
    }
    if (!histogram.count)
        return;
    bool of_sample = expectation->statistic != STATISTIC_COUNT && expectation->statistic != STATISTIC_TOTAL;
    report_measured_text(expectation, result, measured, sizeof(measured));
    report_bound_text(expectation, bound, sizeof(bound));
    snprintf(bound_line, sizeof(bound_line), "bound %s", bound);
    struct distribution distribution = {.histogram = &histogram,
                                        .metric = expectation->what,
                                        .comparison = expectation->comparison,
                                        .bound = of_sample ? expectation->bound : NAN,
                                        .measured = of_sample ? result->measured : NAN,
                                        .low = expectation->confidence > 0 && of_sample ? result->low : NAN,
                                        .high = expectation->confidence > 0 && of_sample ? result->high : NAN,
                                        .bound_text = bound_line,
                                        .measured_text = measured};
    svg_distribution(page, &distribution);
}

static void picture_series(const struct report_run *run, struct page *page, const struct expectation *expectation,
                           const struct expectation_result *result)
{
    struct curve *curve = malloc(sizeof(*curve));
    if (!curve || !curve_read_expectation(run, expectation, curve)) {
        page->failed = page->failed || !curve;
        free(curve);
        return;
    }
    char bound[96], bound_line[112], at[48] = "", moment[128], label[128];
    report_bound_text(expectation, bound, sizeof(bound));
    snprintf(bound_line, sizeof(bound_line), "bound %s", bound);
    if (result->at_us >= 0)
        scenario_time_text(run->scenario, result->at_us, at, sizeof(at));
    char value[64];
    expectation_format(expectation, result->measured, value, sizeof(value));
    snprintf(moment, sizeof(moment), "%s at %s", value, at);
    snprintf(label, sizeof(label), "%s over time",
             expectation->also_count ? report_title(expectation) : counter_name(expectation->what));
    bool comparable = expectation->statistic != STATISTIC_TOTAL && expectation->statistic != STATISTIC_COUNT;
    const struct curve *curves[] = {curve};
    struct time_chart chart = {.curves = curves,
                               .curve_count = 1,
                               .width = 560,
                               .height = 176,
                               .bound = comparable ? expectation->bound : NAN,
                               .bound_text = bound_line,
                               .moment_us = comparable ? result->at_us : -1,
                               .moment_text = moment,
                               .label = label,
                               .bytes = counter_is_bytes(expectation->what),
                               .filled = true};
    svg_time_chart(run, page, &chart);
    free(curve);
}

static void write_picture(const struct report_run *run, struct page *page, const struct expectation *expectation,
                          const struct expectation_result *result)
{
    if (!run->result->measure || result->verdict == VERDICT_NOT_AVAILABLE)
        return;
    page_add(page, "<figure>");
    if (expectation->source == EXPECT_METRIC)
        picture_distribution(run, page, expectation, result);
    else if (expectation->source == EXPECT_COUNTER)
        picture_series(run, page, expectation, result);
    else
        html_ledger_bars(run, page, expectation->source == EXPECT_COMMANDS, expectation->filter,
                         expectation->source == EXPECT_COMMANDS ? commands_field_name(expectation->what)
                                                                : ledger_field_name(expectation->what));
    page_add(page, "</figure>\n");
}

/* ---- cards --------------------------------------------------------------------------------------------------------------- */

static void write_victims(const struct report_run *run, struct page *page, const struct expectation *expectation,
                          const struct expectation_result *result)
{
    if (result->verdict != VERDICT_FAIL || !result->worst_count)
        return;
    page_add(page, "<div class=\"victims\">\n");
    html_concentration(run, page, result->worst, result->worst_count);
    page_add(page, "<div class=\"scroll\"><table class=\"vehicles\">\n");
    html_vehicle_head(page, expectation->source == EXPECT_METRIC ? "worst value" : "how many");
    for (uint32_t i = 0; i < result->worst_count && i < VICTIMS_IN_CARD; i++) {
        char value[64];
        report_worst_text(expectation, &result->worst[i], value, sizeof(value));
        html_vehicle_row(run, page, &result->worst[i], value);
    }
    page_add(page, "</table></div></div>\n");
}

static void write_remarks(struct page *page, const struct expectation *expectation,
                          const struct expectation_result *result)
{
    page_add(page, "<p class=\"remark\">");
    page_escape(page, result->detail);
    page_format(page, "%sline %u</p>\n", result->detail[0] ? " · " : "", expectation->line);
}

static void write_card(const struct report_run *run, struct page *page, uint32_t index)
{
    const struct expectation *expectation = &run->scenario->expectations[index];
    const struct expectation_result *result = &run->expectations[index];
    char measured[128], bound[96];
    report_measured_text(expectation, result, measured, sizeof(measured));
    report_bound_text(expectation, bound, sizeof(bound));
    page_format(page, "<article class=\"card %s\" id=\"e%u\">\n<h3><span class=\"sign\" aria-hidden=\"true\">%s</span>",
                html_verdict_class(result->verdict), index, report_verdict_sign(result->verdict));
    page_escape(page, expectation->id);
    page_format(page, "<span class=\"verdict\">%s</span></h3>\n<p class=\"figures\"><span class=\"measured\">",
                verdict_name(result->verdict));
    page_escape(page, measured);
    page_add(page, "</span> <span class=\"asked\">asked ");
    page_escape(page, bound);
    page_add(page, "</span></p>\n<p class=\"what\">");
    page_escape(page, report_title(expectation));
    page_add(page, "</p>\n");
    write_picture(run, page, expectation, result);
    write_remarks(page, expectation, result);
    write_victims(run, page, expectation, result);
    page_add(page, "</article>\n");
}

void html_answer(const struct report_run *run, struct page *page)
{
    static const enum verdict order[] = {VERDICT_FAIL, VERDICT_INCONCLUSIVE, VERDICT_NOT_AVAILABLE, VERDICT_PASS};
    page_add(page, "<section id=\"expectations\">\n<h2>Expectations</h2>\n");
    if (!report_expectation_count(run))
        page_add(page, "<p class=\"lead\">The scenario expects nothing, so nothing was judged.</p>\n");
    page_add(page, "<div class=\"cards\">\n");
    for (size_t rank = 0; rank < sizeof(order) / sizeof(order[0]); rank++)
        for (uint32_t i = 0; i < report_expectation_count(run); i++)
            if (run->expectations[i].verdict == order[rank])
                write_card(run, page, i);
    page_add(page, "</div>\n</section>\n");
}
