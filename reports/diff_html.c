/* diff_html.c: the comparison as a page, one file without a network, with the looks of report.html. A is drawn as bars, B as a line. */
#include "diff.h"
#include "html.h"

#include <math.h>
#include <stdio.h>

static void write_head(const struct report_diff *diff, struct page *page)
{
    page_add(page,
             "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
             "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
             "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
             "<meta name=\"color-scheme\" content=\"light dark\">\n<title>");
    page_escape(page, diff_text(diff_get(diff->side[1].root, "scenario"), "name"));
    page_add(page, " · two runs</title>\n");
    html_style(page);
    page_add(page, "</head>\n<body>\n<main>\n");
}

static void open_table(struct page *page, const char *const *titles, size_t count)
{
    page_add(page, "<div class=\"scroll\"><table>\n<thead><tr>");
    for (size_t i = 0; i < count; i++)
        page_format(page, "<th%s>%s</th>", i ? " class=\"n\"" : "", titles[i]);
    page_add(page, "</tr></thead>\n");
}

static void fact_row(struct page *page, const char *name, const char *before, const char *after)
{
    page_format(page, "<tr%s><th>", strcmp(before, after) != 0 ? " class=\"concerned\"" : "");
    page_escape(page, name);
    page_add(page, "</th>");
    html_cell(page, NULL, before);
    html_cell(page, NULL, after);
    page_add(page, "</tr>\n");
}

static void write_answer(const struct report_diff *diff, struct page *page)
{
    bool beyond = report_diff_exceeds(diff), bad = diff->worse_count > 0 || beyond || diff->run_worse;
    page_format(page, "<p class=\"answer %s\"><span class=\"sign\" aria-hidden=\"true\">%s</span><span>",
                bad ? "fail" : "pass", bad ? "✗" : "✓");
    page_format(page, "%u of %u verdicts changed, %u for the worse</span>", diff->changed_count,
                diff->expectation_count, diff->worse_count);
    if (diff->options.tolerance_percent >= 0)
        page_format(page, "<span class=\"verdict\">%s a tolerance of %g %%</span>", beyond ? "beyond" : "within",
                    diff->options.tolerance_percent);
    page_add(page, "</p>\n");
}

static void write_header(const struct report_diff *diff, struct page *page)
{
    static const char *const members[] = {"world", "broker", "started", "verdict", "digest"};
    const struct diff_side *side = diff->side;
    const cJSON *scenario[2], *versions[2];
    char fleet[2][48], version[2][128];
    for (int i = 0; i < 2; i++) {
        scenario[i] = diff_get(side[i].root, "scenario");
        versions[i] = diff_get(side[i].root, "versions");
        measure_format_count(diff_number(side[i].root, "fleet"), fleet[i], sizeof(fleet[i]));
        snprintf(version[i], sizeof(version[i]), "%s %s", diff_text(versions[i], "convoy"),
                 diff_text(versions[i], "commit"));
    }
    page_add(page, "<header>\n<h1>");
    page_escape(page, diff_text(scenario[1], "name"));
    page_add(page, ": two runs</h1>\n<p class=\"sub\">A is drawn as bars, B as a line over them.</p>\n");
    write_answer(diff, page);
    page_add(page,
             "</header>\n<section id=\"runs\">\n<h2>What was run</h2>\n<div class=\"scroll\"><table class=\"ledger\">\n"
             "<thead><tr><th></th><th>A</th><th>B</th></tr></thead>\n");
    fact_row(page, "run", side[0].directory, side[1].directory);
    fact_row(page, "scenario", diff_text(scenario[0], "name"), diff_text(scenario[1], "name"));
    fact_row(page, "fleet", fleet[0], fleet[1]);
    fact_row(page, "seed", side[0].seed, side[1].seed);
    fact_row(page, "version", version[0], version[1]);
    for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++)
        fact_row(page, members[i], diff_text(side[0].root, members[i]), diff_text(side[1].root, members[i]));
    for (uint32_t i = 0; i < diff->setting_count; i++)
        fact_row(page, diff->settings[i].name, diff->settings[i].text[0], diff->settings[i].text[1]);
    page_add(page, "</table></div>\n");
    for (uint32_t i = 0; i < diff->note_count; i++) {
        page_add(page, "<p class=\"alarm\">");
        page_escape(page, diff->notes[i]);
        page_add(page, "</p>\n");
    }
    page_add(page, "</section>\n");
}

/* ---- tables ---------------------------------------------------------------------------------------------------------------- */

/* The last cells of a row: both values, percent, and what is to be made of it. */
static void write_figures(struct page *page, const struct diff_row *row)
{
    char percent[32], trend[64];
    diff_percent_text(row, percent, sizeof(percent));
    snprintf(trend, sizeof(trend), "%s%s", row->trend == DIFF_OTHER ? "" : diff_trend_name(row->trend),
             !row->bounded || row->percent == 0 ? ""
             : row->overlap                     ? ", bounds overlap"
                                                : ", bounds apart");
    html_cell(page, "n", row->text[0]);
    html_cell(page, "n", row->text[1]);
    html_cell(page, "n", percent);
    html_cell(page, "n trend", trend);
    page_add(page, "</tr>\n");
}

static const char *trend_class(enum diff_trend trend)
{
    return trend == DIFF_WORSE ? "worse" : trend == DIFF_BETTER ? "better" : "";
}

static void write_expectations(const struct report_diff *diff, struct page *page)
{
    static const char *const titles[] = {"expectation", "verdict", "A", "B", "", ""};
    html_section(page, "expectations", "Expectations", "Changed verdicts first.");
    open_table(page, titles, 6);
    for (uint32_t i = 0; i < diff->expectation_count; i++) {
        const struct diff_expectation *one = &diff->expectations[i];
        char verdict[96];
        const char *before = one->side[0] ? diff_text(one->side[0], "verdict") : "not there";
        const char *after = one->side[1] ? diff_text(one->side[1], "verdict") : "not there";
        snprintf(verdict, sizeof(verdict), one->changed ? "%s → %s" : "%s", before, after);
        page_format(page, "<tr class=\"%s%s\"><th title=\"", one->changed ? "concerned " : "",
                    one->worse ? "worse" : trend_class(one->row.trend));
        page_escape(page, one->title);
        page_add(page, "\">");
        page_escape(page, one->id);
        page_add(page, "</th>");
        html_cell(page, one->changed ? "n trend" : "n", verdict);
        write_figures(page, &one->row);
    }
    page_add(page, "</table></div>\n</section>\n");
}

static void write_worlds(const struct report_diff *diff, struct page *page)
{
    if (!diff->across)
        return;
    html_section(page, "worlds", "World against world",
                 "What should agree when the same scenario runs in the virtual and the live world.");
    page_add(page, "<div class=\"scroll\"><table>\n");
    for (uint32_t i = 0; i < diff->agreement_count; i++) {
        const struct diff_agreement *one = &diff->agreements[i];
        page_format(page, "<tr class=\"%s\"><th>%s</th><td class=\"trend\">%s</td>", one->holds ? "better" : "worse",
                    one->what, one->holds ? "✓" : "✗");
        html_cell(page, NULL, one->text);
        page_add(page, "</tr>\n");
    }
    page_add(page, "</table></div>\n</section>\n");
}

static void write_rows(struct page *page, const struct diff_rows *rows, bool all, bool with_part)
{
    static const char *const titles[] = {"", "A", "B", "", ""};
    uint32_t shown = 0;
    for (uint32_t i = 0; i < rows->count; i++) {
        const struct diff_row *row = &rows->row[i];
        if (!all && !row->listed)
            continue;
        if (!shown++)
            open_table(page, titles, 5);
        bool path = with_part && strcmp(row->part, "any") != 0;
        page_format(page, "<tr class=\"%s\"><th>", row->beyond ? "worse" : trend_class(row->trend));
        page_escape(page, row->name);
        if (path) {
            page_add(page, ", ");
            page_escape(page, row->part);
        }
        page_format(page, "%s%s</th>", with_part ? " " : "", with_part ? row->statistic : "");
        write_figures(page, row);
    }
    if (shown)
        page_add(page, "</table></div>\n");
    else
        page_format(page, "<p class=\"dim\">None differs by more than %d %%.</p>\n", REPORT_DIFF_LISTED_PERCENT);
}

/* ---- pictures -------------------------------------------------------------------------------------------------------------- */

static void write_picture(const struct report_diff *diff, struct page *page, const struct diff_row *median)
{
    struct histogram histograms[2];
    char first[96], second[96];
    int metric = metric_find(median->name);
    for (int i = 0; i < 2; i++)
        if (metric < 0 || !diff_histogram(&diff->side[i], median->name, median->part, false, &histograms[i]))
            return;
    snprintf(first, sizeof(first), "A %s", median->text[0]);
    snprintf(second, sizeof(second), "B %s", median->text[1]);
    struct distribution distribution = {.histogram = &histograms[0],
                                        .metric = metric,
                                        .comparison = EQUALS,
                                        .bound = median->value[0],
                                        .measured = median->value[1],
                                        .low = NAN,
                                        .high = NAN,
                                        .bound_text = first,
                                        .measured_text = second,
                                        .other = &histograms[1]};
    page_add(page, "<article class=\"card\"><h3>");
    page_escape(page, html_metric_title(metric));
    if (strcmp(median->part, "any") != 0) {
        page_add(page, ", ");
        page_escape(page, median->part);
    }
    page_add(page, "<span class=\"verdict\">medians</span></h3><figure>");
    svg_distribution(page, &distribution);
    page_add(page, "</figure></article>\n");
}

/* Of what decides, and of everything of which a row is listed. */
static void write_pictures(const struct report_diff *diff, struct page *page)
{
    html_section(
        page, "distributions", "Distributions",
        "How often which value was: A as bars, B as a line; logarithmic, the height is the square root of the share.");
    page_add(page, "<div class=\"cards\">\n");
    const struct diff_row *median = NULL;
    bool wanted = false;
    for (uint32_t i = 0; i <= diff->metrics.count; i++) {
        const struct diff_row *row = i < diff->metrics.count ? &diff->metrics.row[i] : NULL;
        if (!row || strcmp(row->statistic, "p50") == 0) {
            if (median && wanted)
                write_picture(diff, page, median);
            median = row;
            wanted = row && (strcmp(row->name, "command.round_trip") == 0 || strcmp(row->name, "reconnect") == 0);
        }
        wanted = wanted || (row && row->listed && strcmp(row->statistic, "max") != 0);
    }
    page_add(page, "</div>\n</section>\n");
}

static void write_account(const struct report_diff *diff, struct page *page, int which)
{
    page_format(page, "<div><h3>%s</h3>\n<p>%s as many intended; ", which ? "Commands" : "Messages",
                diff->intended_equal[which] ? "Just" : "Not");
    page_add(page, diff->accounted[which][0] && diff->accounted[which][1] ? "all accounted for in both.</p>\n"
                   : diff->accounted[which][0]                            ? "not all accounted for in B.</p>\n"
                   : diff->accounted[which][1]                            ? "not all accounted for in A.</p>\n"
                                                                          : "not all accounted for in either.</p>\n");
    write_rows(page, which ? &diff->commands : &diff->ledger, true, false);
    page_add(page, "</div>\n");
}

static void write_section(struct page *page, const char *id, const char *title, const struct diff_rows *rows, bool all,
                          bool with_part)
{
    html_section(page, id, title, NULL);
    write_rows(page, rows, all, with_part);
    page_add(page, "</section>\n");
}

bool report_diff_write_html(const struct report_diff *diff, const char *path, char *error, size_t error_capacity)
{
    struct page page = {0};
    write_head(diff, &page);
    write_header(diff, &page);
    write_expectations(diff, &page);
    write_worlds(diff, &page);
    if (diff->medians.count)
        write_section(&page, "medians", "Medians of command round trips and reconnects", &diff->medians, true, true);
    if (diff->storm.count)
        write_section(&page, "storm", "Storm", &diff->storm, true, false);
    diff_write_times(diff, &page);
    write_pictures(diff, &page);
    write_section(&page, "metrics", "Metrics that differ", &diff->metrics, false, true);
    write_section(&page, "counters", "Counters that differ", &diff->counters, false, false);
    html_section(&page, "ledgers", "Ledgers", NULL);
    page_add(&page, "<div class=\"pair\">\n");
    write_account(diff, &page, 0);
    write_account(diff, &page, 1);
    page_add(&page, "</div>\n</section>\n");
    write_section(&page, "resources", "Memory and time", &diff->resources, true, false);
    write_section(&page, "memory-parts", "Memory by part", &diff->memory, false, false);
    page_add(&page, "</main>\n</body>\n</html>\n");
    return page_write(&page, path, error, error_capacity);
}
