/* html_measured.c: what became of messages, where memory went, and what one has to know to trust or repeat the run. */
#include "html.h"

#include <stdio.h>

void html_ledger(const struct report_run *run, struct page *page)
{
    struct ledger_totals totals;
    char text[64], concerned[64];
    html_section(page, "ledger", "Ledger", "Every message has a number, and every number an end.");
    page_add(page, "<div class=\"pair\"><div><h3>Telemetry</h3>\n");
    html_ledger_bars(run, page, false, MEASURE_EVERYBODY, NULL);
    if (measure_ledger_totals(run->result->measure, MEASURE_EVERYBODY, &totals)) {
        measure_format_count(totals.vehicles, text, sizeof(text));
        measure_format_count(totals.vehicles_concerned, concerned, sizeof(concerned));
        page_format(page, "<p class=\"dim\">%s vehicles sent, %s of them lost something.</p>\n", text, concerned);
    }
    page_add(page, "</div><div><h3>Commands</h3>\n");
    html_ledger_bars(run, page, true, MEASURE_EVERYBODY, NULL);
    page_add(page, "</div></div>\n</section>\n");
}

void html_memory(const struct report_run *run, struct page *page)
{
    const struct world_result *result = run->result;
    uint64_t largest = 1;
    html_section(page, "memory", "Memory", NULL);
    for (uint32_t i = 0; i < result->memory_parts; i++)
        if (result->memory[i].bytes > largest)
            largest = result->memory[i].bytes;
    page_add(
        page,
        "<div class=\"scroll\"><table class=\"ledger\">\n<thead><tr><th>part</th><th></th><th class=\"n\">bytes</th>"
        "<th class=\"n\">a vehicle</th></tr></thead>\n");
    for (uint32_t i = 0; i <= result->memory_parts; i++) {
        bool whole = i == result->memory_parts;
        uint64_t bytes = whole ? result->peak_rss_bytes : result->memory[i].bytes;
        char text[64], each[64] = "";
        measure_format_bytes((double)bytes, text, sizeof(text));
        if (run->scenario->fleet)
            measure_format_bytes((double)bytes / run->scenario->fleet, each, sizeof(each));
        page_format(page, "<tr%s><th>", whole ? " class=\"total\"" : "");
        page_escape(page, whole ? "the process at its largest (resident)" : result->memory[i].part);
        page_add(page, "</th><td class=\"bar-cell\">");
        if (!whole)
            html_bar(page, (double)bytes / (double)largest, "fill");
        page_format(page, "</td><td class=\"n\">%s</td><td class=\"n\">%s</td></tr>\n", text, each);
    }
    page_add(page, "</table></div>\n</section>\n");
}

/* ---- how it was measured ---------------------------------------------------------------------------------------------------- */

static void parameter_text(const struct scenario_parameter *parameter, bool standard, char *out, size_t capacity)
{
    double value = standard ? parameter->standard : parameter->value;
    if (parameter->kind == PARAMETER_TEXT)
        snprintf(out, capacity, "%s", standard ? parameter->standard_text : parameter->value_text);
    else if (parameter->kind == PARAMETER_BOOLEAN)
        snprintf(out, capacity, "%s", value != 0 ? "on" : "off");
    else
        snprintf(out, capacity, "%.10g", value);
}

static void write_parameters(const struct scenario *scenario, struct page *page)
{
    if (!scenario->parameter_count)
        return;
    page_add(page, "<h3>Parameters</h3>\n<div class=\"scroll\"><table>\n<thead><tr><th>name</th><th "
                   "class=\"n\">value</th><th class=\"n\">as written"
                   "</th><th>what</th></tr></thead>\n");
    for (uint32_t i = 0; i < scenario->parameter_count; i++) {
        const struct scenario_parameter *parameter = &scenario->parameters[i];
        char value[64], standard[64];
        parameter_text(parameter, false, value, sizeof(value));
        parameter_text(parameter, true, standard, sizeof(standard));
        page_format(page, "<tr%s>", parameter->overridden ? " class=\"concerned\"" : "");
        html_cell(page, "name", parameter->name);
        html_cell(page, "n", value);
        html_cell(page, "n dim", standard);
        html_cell(page, NULL, parameter->text);
        page_add(page, "</tr>\n");
    }
    page_add(page, "</table></div>\n");
}

static void write_notes(const struct report_run *run, struct page *page)
{
    bool open = false;
    for (uint32_t i = 0; i < run->result->note_count; i++) {
        struct mark mark;
        if (mark_read(run->scenario, run->result->notes[i], &mark))
            continue; /* told with the day */
        page_add(page, open ? "" : "<h3>Modelled, replaced, left out</h3>\n<ul>\n");
        open = true;
        page_add(page, "<li>");
        page_escape(page, run->result->notes[i]);
        page_add(page, "</li>\n");
    }
    page_add(page, open ? "</ul>\n" : "");
}

static void write_lag(const struct report_run *run, struct page *page)
{
    char p50[64], p99[64], max[64], text[256];
    if (run->options->kind != WORLD_LIVE)
        return;
    measure_format_duration((double)run->result->lag_p50_us, p50, sizeof(p50));
    measure_format_duration((double)run->result->lag_p99_us, p99, sizeof(p99));
    measure_format_duration((double)run->result->lag_max_us, max, sizeof(max));
    snprintf(text, sizeof(text), "p50 %s, p99 %s, max %s", p50, p99, max);
    html_fact(page, "The rig's own lag", text);
}

static void write_versions(const struct report_run *run, struct page *page)
{
    struct report_version version[16];
    uint32_t count = report_versions(run, version);
    page_add(page, "<dt>Versions</dt><dd>");
    for (uint32_t i = 0; i < count; i++) {
        page_format(page, "%s%s ", i ? " · " : "", version[i].name);
        page_escape(page, version[i].value);
    }
    page_add(page, "</dd>\n");
}

static void write_facts(const struct report_run *run, struct page *page)
{
    const struct world_result *result = run->result;
    char text[128], digest[33];
    report_digest(run, digest);
    page_add(page, "<dl>\n<dt>Command</dt><dd><code class=\"command\">");
    page_escape(page, run->command ? run->command : "");
    page_add(page, "</code></dd>\n");
    html_fact(page, "Scenario file", run->scenario->path);
    html_fact(page, "Scenario hash", run->scenario->hash);
    snprintf(text, sizeof(text), "%llu", (unsigned long long)run->scenario->seed);
    html_fact(page, "Seed", text);
    html_fact(page, "Digest", digest[0] ? digest : "none: real time is not repeatable to the bit");
    html_fact(page, "Machine", run->machine);
    html_fact(page, "World",
              run->options->kind == WORLD_LIVE ? "live: real sockets, real time"
                                               : "virtual: discrete events, the same bytes");
    html_fact(page, "Ran against", result->broker);
    html_fact(page, "Cloud profile", result->cloud_profile);
    html_fact(page, "Not available there", result->unavailable);
    snprintf(text, sizeof(text), "%.2f s of %.2f s", result->cpu_s, result->wall_s);
    html_fact(page, "Processor time", text);
    measure_format_count((double)result->events, text, sizeof(text));
    html_fact(page, "Events", text);
    write_lag(run, page);
    write_versions(run, page);
    page_add(page, "</dl>\n");
}

void html_measured(const struct report_run *run, struct page *page)
{
    html_section(page, "measured", "How it was measured", NULL);
    write_facts(run, page);
    write_parameters(run->scenario, page);
    write_notes(run, page);
    uint64_t lost = run->result->measure ? measure_unrecorded(run->result->measure) : 0;
    if (lost)
        page_format(page, "<p class=\"alarm\">%llu measurements could not be kept: out of memory.</p>\n",
                    (unsigned long long)lost);
    page_add(page, "</section>\n");
}
