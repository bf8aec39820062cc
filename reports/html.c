/* html.c: report.html, one file without a network: the answer first. Everything is in the page before a script runs. */
#include "html.h"

#include <stdio.h>

static const char *verdict_class(const struct report_run *run)
{
    const char *verdict = report_verdict(run);
    return strcmp(verdict, "pass") == 0                                    ? "pass"
           : strcmp(verdict, "fail") == 0 || strcmp(verdict, "error") == 0 ? "fail"
                                                                           : "inconclusive";
}

static void write_head(const struct report_run *run, struct page *page)
{
    page_add(page,
             "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
             "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
             "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; "
             "script-src 'unsafe-inline'\">\n<meta name=\"color-scheme\" content=\"light dark\">\n<title>");
    page_escape(page, run->run_name);
    page_format(page, " · %s</title>\n", report_verdict(run));
    html_style(page);
    page_add(page, "</head>\n");
}

/* "3 of 4 expectations hold", or why there is no such answer. */
static void write_answer_line(const struct report_run *run, struct page *page)
{
    uint32_t count = report_expectation_count(run), passed = report_passed(run);
    const char *class = verdict_class(run);
    page_format(page, "<p class=\"answer %s\"><span class=\"sign\" aria-hidden=\"true\">%s</span><span>", class,
                *class == 'p'   ? "✓"
                : *class == 'f' ? "✗"
                                : "?");
    if (!count)
        page_add(page, "No expectation, so no verdict");
    else if (passed == count)
        page_format(page, count == 1 ? "The expectation holds" : "All %u expectations hold", count);
    else
        page_format(page, "%u of %u expectations hold", passed, count);
    page_format(page, "</span><span class=\"verdict\">%s · exit %d</span></p>\n", report_verdict(run), run->exit_code);
    if (run->result->error[0]) {
        page_add(page, "<p class=\"alarm\">");
        page_escape(page, run->result->error);
        page_add(page, "</p>\n");
    }
    if (run->result->status == WORLD_INTERRUPTED) {
        char at[48];
        scenario_time_text(run->scenario, run->result->simulated_us, at, sizeof(at));
        page_format(
            page,
            "<p class=\"alarm\">Interrupted at %s of the scenario: what follows is what was measured until then.</p>\n",
            at);
    }
}

static void write_tile(struct page *page, const char *name, const char *value, const char *unit)
{
    page_format(page, "<div><span class=\"value\">%s</span><span class=\"name\">%s%s%s</span></div>", value, name,
                unit[0] ? ", " : "", unit);
}

static void write_tiles(const struct report_run *run, struct page *page)
{
    const struct world_result *result = run->result;
    char text[64], more[64];
    page_add(page, "<div class=\"tiles\">");
    measure_format_count(run->scenario->fleet, text, sizeof(text));
    write_tile(page, run->scenario->fleet == 1 ? "vehicle" : "vehicles", text, "");
    measure_format_duration((double)result->simulated_us, text, sizeof(text));
    write_tile(page, "scenario time", text, "");
    measure_format_duration(result->wall_s * 1e6, text, sizeof(text));
    snprintf(more, sizeof(more), " ");
    if (result->wall_s > 0) {
        char speed[48];
        double times = (double)result->simulated_us / 1e6 / result->wall_s;
        measure_format_count(times >= 100 ? (double)(int64_t)(times + 0.5) : times, speed, sizeof(speed));
        snprintf(more, sizeof(more), "%s × real time", speed);
    }
    write_tile(page, "taken", text, more);
    measure_format_count((double)result->packets, text, sizeof(text));
    write_tile(page, "MQTT packets", text, "");
    measure_format_bytes((double)result->wire_bytes, text, sizeof(text));
    write_tile(page, "on the wire", text, "");
    measure_format_bytes((double)result->peak_rss_bytes, text, sizeof(text));
    measure_format_bytes(report_bytes_per_vehicle(run), more, sizeof(more));
    snprintf(more + strlen(more), sizeof(more) - strlen(more), " a vehicle");
    write_tile(page, "memory", text, more);
    page_add(page, "</div>\n");
}

static void write_header(const struct report_run *run, struct page *page)
{
    char digest[33], started[32];
    report_digest(run, digest);
    report_started(run, started);
    page_add(page, "<header>\n<h1>");
    page_escape(page, run->scenario->name);
    page_add(page, "</h1>\n<p class=\"sub\">");
    page_format(page, "%s world · ", report_world(run));
    if (run->result->broker[0]) {
        page_escape(page, run->result->broker);
        page_add(page, " · ");
    }
    page_format(page, "seed %llu · ", (unsigned long long)run->scenario->seed);
    if (digest[0])
        page_format(page, "digest <code>%s</code> · ", digest);
    page_format(page, "started %.10s %.5s UTC</p>\n", started, started + 11);
    write_answer_line(run, page);
    write_tiles(run, page);
    page_add(page, "<nav><a href=\"#expectations\">Expectations</a><a href=\"#day\">The day</a><a "
                   "href=\"#journeys\">Journeys</a>");
    if (report_has_identities(run))
        page_add(page, "<a href=\"#identities\">Identities</a>");
    page_add(page, "<a href=\"#suffered\">Who suffered</a><a href=\"#ledger\">Ledger</a><a href=\"#memory\">Memory</a>"
                   "<a href=\"#measured\">How it was measured</a></nav>\n</header>\n");
}

bool report_write_html(const struct report_run *run, const char *path, char *error, size_t error_capacity)
{
    struct page page = {0};
    write_head(run, &page);
    page_add(&page, "<body>\n<main>\n");
    write_header(run, &page);
    html_answer(run, &page);
    if (run->result->measure) {
        html_day(run, &page);
        html_journeys(run, &page);
        html_identities(run, &page);
        html_suffered(run, &page);
        html_ledger(run, &page);
    }
    html_memory(run, &page);
    html_measured(run, &page);
    page_add(&page, "</main>\n");
    html_script(&page);
    page_add(&page, "</body>\n</html>\n");
    return page_write(&page, path, error, error_capacity);
}
