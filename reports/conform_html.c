/* conform_html.c: a conformance run as a laboratory's report: verdict, broker, requirements, the evidence behind each, what could not be tested and why. */
#include "conform.h"
#include "html.h"

#include <stdio.h>
#include <time.h>

#define HEX_SHOWN 256

static const char *class_of(enum conform_verdict verdict)
{
    return verdict == CONFORM_PASS                                 ? "pass"
           : verdict == CONFORM_FAIL                               ? "fail"
           : verdict == CONFORM_SKIP || verdict == CONFORM_NOT_RUN ? "unavailable"
                                                                   : "inconclusive";
}

static void write_head(const struct report_conform *report, struct page *page)
{
    page_add(page,
             "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
             "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
             "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
             "<meta name=\"color-scheme\" content=\"light dark\">\n<title>");
    page_escape(page, report->target);
    page_format(page, " · conformance · %s</title>\n", report_conform_verdict(report));
    html_style(page);
    page_add(page,
             "<style>details{padding:8px 14px;margin:8px 0}summary{cursor:pointer}summary "
             ".ref{color:var(--dim);margin-left:8px}\n"
             "pre{font:12px/1.45 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;overflow-x:auto;margin:8px 0}\n"
             ".hex{color:var(--dim)}tr.fail td:first-child{border-left:4px solid var(--fail)}tr.inconclusive "
             "td:first-child{border-left:4px solid "
             "var(--inconclusive)}\ntr.pass td:first-child{border-left:4px solid var(--pass)}tr.unavailable "
             "td:first-child{border-left:4px solid var(--line)}\n"
             "td.text{max-width:46ch}</style>\n</head>\n<body>\n<main>\n");
}

static void write_answer(const struct report_conform *report, struct page *page)
{
    const struct conform_outcome *outcome = report->outcome;
    const char *verdict = report_conform_verdict(report);
    bool pass = strcmp(verdict, "pass") == 0, failed = strcmp(verdict, "fail") == 0;
    char started[40] = "";
    time_t at = (time_t)report->started_epoch_s;
    struct tm utc;
    if (gmtime_r(&at, &utc))
        strftime(started, sizeof(started), "%Y-%m-%d %H:%M:%S UTC", &utc);
    page_add(page, "<header>\n<h1>");
    page_escape(page, report->target);
    page_format(page, "</h1>\n<p class=\"sub\">held against %s, profile ", conform_protocol_name(outcome->protocol));
    page_escape(page, report->profile);
    page_format(page, " · %s</p>\n<p class=\"answer %s\"><span class=\"sign\" aria-hidden=\"true\">%s</span><span>",
                started,
                pass     ? "pass"
                : failed ? "fail"
                         : "inconclusive",
                pass     ? "✓"
                : failed ? "✗"
                         : "?");
    page_format(page, "%u of %u checks and rows pass, %u fail, %u are not conclusive, %u do not apply</span>",
                report_conform_count(outcome, CONFORM_PASS), outcome->result_count,
                report_conform_count(outcome, CONFORM_FAIL),
                report_conform_count(outcome, CONFORM_INCONCLUSIVE) + report_conform_count(outcome, CONFORM_ERROR),
                report_conform_count(outcome, CONFORM_SKIP));
    page_format(page, "<span class=\"verdict\">%s · exit %d</span></p>\n</header>\n", verdict, report->exit_code);
}

static void write_hex(struct page *page, struct span bytes)
{
    page_add(page, "<span class=\"hex\">");
    for (uint32_t i = 0; i < bytes.length && i < HEX_SHOWN; i++)
        page_format(page, "%s%02x", i % 32 ? " " : "\n                      ", bytes.data[i]);
    if (bytes.length > HEX_SHOWN)
        page_format(page, "\n                      (%u bytes in all)", bytes.length);
    page_add(page, "</span>");
}

static void write_trace(struct page *page, const struct conform_result *result)
{
    static const char *const arrows[] = {"→", "←", "·"};
    page_add(page, "<pre>");
    for (uint32_t i = 0; i < result->trace.count && i < 400; i++) {
        const struct conform_trace_line *line = &result->trace.lines[i];
        page_format(page, "%s%12.3f ms  %u %s %s", i ? "\n" : "", (double)line->at_us / 1e3, line->wire,
                    arrows[line->direction], i == result->line ? "<b>" : "");
        page_escape(page, line->text);
        page_add(page, i == result->line ? "</b>" : "");
        if (line->direction != CONFORM_EVENT)
            write_hex(page, line->bytes);
    }
    page_add(page, "</pre>\n");
}

/* The bytes of ours, to be sent by any tool. */
static void write_sent(struct page *page, const struct conform_result *result)
{
    page_add(page, "<p class=\"dim\">sent, connection by connection:</p><pre>");
    for (uint32_t i = 0; i < result->trace.count && i < 400; i++) {
        const struct conform_trace_line *line = &result->trace.lines[i];
        if (line->direction != CONFORM_OUT || line->bytes.length > HEX_SHOWN)
            continue;
        page_format(page, "%u ", line->wire);
        for (uint32_t b = 0; b < line->bytes.length; b++)
            page_format(page, "%02x", line->bytes.data[b]);
        page_add(page, "\n");
    }
    page_add(page, "</pre>\n");
}

static void write_evidence(const struct report_conform *report, struct page *page, const struct conform_result *result)
{
    const struct conform_statement *statement = conform_statement(result->ref);
    char replay[700];
    conform_replay(report, result, replay, sizeof(replay));
    page_format(page, "<details id=\"%s\"%s><summary><b class=\"%s\">%s ", result->id,
                result->verdict == CONFORM_FAIL ? " open" : "", class_of(result->verdict),
                conform_sign(result->verdict));
    page_escape(page, result->id);
    page_add(page, "</b> ");
    page_escape(page, result->check->name);
    if (result->row.name[0]) {
        page_add(page, ": ");
        page_escape(page, result->row.name);
    }
    page_format(page, "<span class=\"ref\">%s</span></summary>\n<p>", result->ref);
    page_escape(page, result->why);
    page_add(page, "</p>\n");
    if (statement) {
        page_add(page, "<p class=\"dim\">the rule: ");
        page_escape(page, statement->text);
        page_add(page, "</p>\n");
    }
    if (result->deviation) {
        page_add(page, "<p>known to the profile: ");
        page_escape(page, result->deviation);
        page_add(page, "</p>\n");
    }
    for (uint32_t f = 0; f < result->finding_count; f++) {
        const struct conform_finding *finding = &result->findings[f];
        page_format(page, "<p>%s <b>", conform_verdict_name(finding->verdict));
        page_escape(page, finding->id);
        page_format(page, "</b> <span class=\"dim\">%s</span> ", finding->ref);
        page_escape(page, finding->text);
        page_add(page, "</p>\n");
    }
    page_add(page, "<p><code>");
    page_escape(page, replay);
    page_add(page, "</code></p>\n");
    write_trace(page, result);
    if (result->verdict == CONFORM_FAIL)
        write_sent(page, result);
    page_add(page, "</details>\n");
}

static void write_results(const struct report_conform *report, struct page *page)
{
    const struct conform_outcome *outcome = report->outcome;
    uint32_t shown = 0;
    html_section(
        page, "evidence", "What needs a look",
        "Failures first in full, then what was not conclusive and what is only a warning, each with its packets.");
    for (int pass = 0; pass < 2; pass++)
        for (uint32_t i = 0; i < outcome->result_count; i++) {
            const struct conform_result *result = &outcome->results[i];
            if (!conform_is_remarkable(result) || (result->verdict == CONFORM_FAIL) != (pass == 0))
                continue;
            write_evidence(report, page, result);
            shown++;
        }
    if (!shown)
        page_add(page, "<p>Nothing: every check passed without a remark.</p>\n");
    page_add(page, "</section>\n");
}

static void write_statements(const struct report_conform *report, struct page *page)
{
    const struct conform_statement *statement;
    char checks[1200], why[400];
    html_section(page, "statements", "Every statement",
                 "Numbered as in the standard; S and a section where it states a rule without a number.");
    page_add(page, "<div "
                   "class=\"scroll\"><table>\n<thead><tr><th>statement</th><th>verdict</th><th>rule</th><th>checks</"
                   "th><th>remark</th></tr></thead>\n");
    for (uint32_t i = 0; (statement = conform_catalogue_at(report->outcome->protocol, i)); i++) {
        enum conform_verdict verdict = conform_statement_verdict(report->outcome, statement);
        conform_checks_of(statement, checks, sizeof(checks));
        conform_why_open(report->outcome, statement, why, sizeof(why));
        bool open = verdict == CONFORM_NOT_RUN || verdict == CONFORM_SKIP;
        page_format(page, "<tr class=\"%s\">", class_of(verdict));
        html_cell(page, NULL, statement->id);
        html_cell(page, NULL, conform_verdict_name(verdict));
        html_cell(page, "text", statement->text);
        html_cell(page, "text", checks);
        html_cell(page, "text", open ? why : "");
        page_add(page, "</tr>\n");
    }
    page_add(page, "</table></div>\n</section>\n");
}

static void write_broker(const struct report_conform *report, struct page *page)
{
    const struct conform_broker *broker = &report->outcome->broker;
    char text[64];
    html_section(page, "broker", "The broker, as it was found",
                 "From its first CONNACK, and from what it did when it was tried.");
    page_add(page, "<dl>");
    snprintf(text, sizeof(text), "%u", broker->maximum_qos);
    html_fact(page, "Maximum QoS", text);
    snprintf(text, sizeof(text), "%u", broker->receive_maximum);
    html_fact(page, "Receive Maximum", text);
    snprintf(text, sizeof(text), "%u", broker->topic_alias_maximum);
    html_fact(page, "Topic Alias Maximum", text);
    snprintf(text, sizeof(text), broker->maximum_packet_size ? "%u bytes" : "not told", broker->maximum_packet_size);
    html_fact(page, "Maximum Packet Size", text);
    snprintf(text, sizeof(text), "%u s granted of 300 s", broker->session_expiry_s);
    html_fact(page, "Session Expiry", text);
    snprintf(text, sizeof(text), "%.2f ms, p99 %.2f ms", (double)broker->round_trip_median_us / 1e3,
             (double)broker->round_trip_p99_us / 1e3);
    html_fact(page, "Round trip", text);
    page_add(
        page,
        "</dl>\n<div class=\"scroll\"><table>\n<thead><tr><th>it has</th><th></th><th>learnt from</th></tr></thead>\n");
    for (uint32_t i = 0; i < CONFORM_NEEDS; i++) {
        page_add(page, "<tr>");
        html_cell(page, NULL, conform_need_name(UINT32_C(1) << i));
        html_cell(page, NULL, broker->has >> i & 1 ? "yes" : "no");
        html_cell(page, NULL, broker->learnt[i]);
        page_add(page, "</tr>\n");
    }
    page_add(page, "</table></div>\n</section>\n");
}

static void write_measured(const struct report_conform *report, struct page *page)
{
    char text[160], load[500];
    html_section(page, "measured", "How it was measured", "");
    page_add(page, "<dl>");
    html_fact(page, "command", report->command);
    snprintf(text, sizeof(text), "%s %s", report->version, report->commit);
    html_fact(page, "convoy", text);
    html_fact(page, "run", report->outcome->run);
    snprintf(text, sizeof(text), "%.1f s, %llu connections, %llu packets", (double)report->outcome->wall_us / 1e6,
             (unsigned long long)report->outcome->connections,
             (unsigned long long)(report->outcome->packets_in + report->outcome->packets_out));
    html_fact(page, "extent", text);
    conform_load_text(report, load, sizeof(load));
    html_fact(page, "vehicles beside it", load);
    page_add(page, "</dl>\n</section>\n");
}

bool report_conform_write_html(const struct report_conform *report, const char *path, char *error,
                               size_t error_capacity)
{
    struct page page = {0};
    write_head(report, &page);
    write_answer(report, &page);
    write_results(report, &page);
    write_statements(report, &page);
    write_broker(report, &page);
    write_measured(report, &page);
    page_add(&page, "</main>\n</body>\n</html>\n");
    return page_write(&page, path, error, error_capacity);
}

bool report_conform_write(const struct report_conform *report, const char *directory, char *error,
                          size_t error_capacity)
{
    static const struct {
        const char *name;
        bool (*write)(const struct report_conform *, const char *, char *, size_t);
    } files[] = {{"result.json", report_conform_write_json},
                 {"junit.xml", report_conform_write_junit},
                 {"report.html", report_conform_write_html}};
    bool whole = true;
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        char path[1100], why[300];
        snprintf(path, sizeof(path), "%s/%s", directory, files[i].name);
        if (files[i].write(report, path, why, sizeof(why)))
            continue;
        if (whole)
            snprintf(error, error_capacity, "%s", why);
        whole = false;
    }
    return whole;
}
