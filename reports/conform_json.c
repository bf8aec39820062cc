/* conform_json.c: a conformance run for programs: the broker, every check and row, every statement; packets of what is worth a look. */
#include "conform.h"

#include <stdio.h>

static void text_member(struct page *page, const char *name, const char *value)
{
    page_format(page, "\"%s\":", name);
    if (value)
        page_json(page, value);
    else
        page_add(page, "null");
}

static void write_hex(struct page *page, struct span bytes)
{
    page_add(page, "\"");
    for (uint32_t i = 0; i < bytes.length; i++)
        page_format(page, "%02x", bytes.data[i]);
    page_add(page, "\"");
}

static void write_trace(struct page *page, const struct conform_result *result)
{
    static const char *const directions[] = {"out", "in", "event"};
    page_add(page, ",\"trace\":[");
    for (uint32_t i = 0; i < result->trace.count; i++) {
        const struct conform_trace_line *line = &result->trace.lines[i];
        page_format(page, "%s\n      {\"t_us\":%lld,\"connection\":%u,\"direction\":\"%s\",", i ? "," : "",
                    (long long)line->at_us, line->wire, directions[line->direction]);
        text_member(page, "text", line->text);
        if (line->direction != CONFORM_EVENT) {
            page_add(page, ",\"hex\":");
            write_hex(page, line->bytes);
        }
        page_add(page, "}");
    }
    page_add(page, "]");
}

static void write_findings(struct page *page, const struct conform_result *result)
{
    page_add(page, ",\"findings\":[");
    for (uint32_t i = 0; i < result->finding_count; i++) {
        const struct conform_finding *finding = &result->findings[i];
        page_add(page, i ? ",{" : "{");
        text_member(page, "verdict", conform_verdict_name(finding->verdict));
        page_add(page, ",");
        text_member(page, "id", finding->id);
        page_add(page, ",");
        text_member(page, "ref", finding->ref);
        page_add(page, ",");
        text_member(page, "text", finding->text);
        page_format(page, ",\"line\":%u}", finding->line);
    }
    page_add(page, "]");
}

static void write_result(const struct report_conform *report, struct page *page, const struct conform_result *result)
{
    char replay[700];
    const struct conform_statement *statement = conform_statement(result->ref);
    conform_replay(report, result, replay, sizeof(replay));
    page_add(page, "    {");
    text_member(page, "id", result->id);
    page_add(page, ",");
    text_member(page, "name", result->check->name);
    page_add(page, ",");
    text_member(page, "row", result->row.name[0] ? result->row.name : NULL);
    page_add(page, ",");
    text_member(page, "ref", result->ref);
    page_add(page, ",");
    text_member(page, "level", conform_level_name(result->check->level));
    page_add(page, ",");
    text_member(page, "verdict", conform_verdict_name(result->verdict));
    page_add(page, ",");
    text_member(page, "measured", result->why[0] ? result->why : "as expected");
    page_add(page, ",");
    text_member(page, "bound", statement ? statement->text : NULL);
    page_format(page, ",\"samples\":%u,\"took_us\":%lld,", result->first == CONFORM_NOT_RUN ? 1 : 2,
                (long long)result->took_us);
    text_member(page, "first", result->first == CONFORM_NOT_RUN ? NULL : conform_verdict_name(result->first));
    page_add(page, ",");
    text_member(page, "deviation", result->deviation);
    page_add(page, ",");
    text_member(page, "again", replay);
    write_findings(page, result);
    if (conform_is_remarkable(result) || result->trace.count)
        write_trace(page, result);
    page_add(page, "}");
}

static void write_statements(const struct report_conform *report, struct page *page)
{
    const struct conform_statement *statement;
    char checks[1200], why[400];
    page_add(page, "  \"statements\":[");
    for (uint32_t i = 0; (statement = conform_catalogue_at(report->outcome->protocol, i)); i++) {
        enum conform_verdict verdict = conform_statement_verdict(report->outcome, statement);
        conform_checks_of(statement, checks, sizeof(checks));
        conform_why_open(report->outcome, statement, why, sizeof(why));
        page_add(page, i ? ",\n    {" : "\n    {");
        text_member(page, "id", statement->id);
        page_add(page, ",");
        text_member(page, "side", statement->side);
        page_add(page, ",");
        text_member(page, "level", conform_level_name(statement->level));
        page_add(page, ",");
        text_member(page, "testable", conform_testable_name(statement->testable));
        page_add(page, ",");
        text_member(page, "verdict", conform_verdict_name(verdict));
        page_add(page, ",");
        text_member(page, "checks", checks);
        page_add(page, ",");
        text_member(page, "why", verdict == CONFORM_NOT_RUN || verdict == CONFORM_SKIP ? why : NULL);
        page_add(page, "}");
    }
    page_add(page, "\n  ],\n");
}

static void write_broker(const struct report_conform *report, struct page *page)
{
    const struct conform_broker *broker = &report->outcome->broker;
    page_format(page,
                "  \"broker\":{\"maximum_qos\":%u,\"receive_maximum\":%u,\"topic_alias_maximum\":%u,"
                "\"maximum_packet_size\":%u,\"session_expiry_s\":%u,\"round_trip_median_us\":%lld,"
                "\"round_trip_p99_us\":%lld,\"subscription_delay_us\":%lld,\"has\":{",
                broker->maximum_qos, broker->receive_maximum, broker->topic_alias_maximum, broker->maximum_packet_size,
                broker->session_expiry_s, (long long)broker->round_trip_median_us, (long long)broker->round_trip_p99_us,
                (long long)broker->subscription_delay_us);
    for (uint32_t i = 0; i < CONFORM_NEEDS; i++) {
        page_add(page, i ? ",\n    " : "\n    ");
        page_json(page, conform_need_name(UINT32_C(1) << i));
        page_format(page, ":{\"there\":%s,", broker->has >> i & 1 ? "true" : "false");
        text_member(page, "learnt", broker->learnt[i]);
        page_add(page, "}");
    }
    page_add(page, "}},\n");
}

static void write_load(const struct report_conform *report, struct page *page)
{
    const char *shortcoming = report->vehicles_shortcoming;
    if (!report->vehicles)
        return;
    page_format(page,
                "  \"load\":{\"vehicles\":%u,\"connected_at_least\":%llu,\"publishes\":%llu,\"publishes_per_s\":%.1f,"
                "\"lost\":%llu,",
                report->vehicles, (unsigned long long)report->vehicles_connected,
                (unsigned long long)report->vehicles_publishes, report->vehicles_publishes_per_s,
                (unsigned long long)report->vehicles_lost);
    text_member(page, "shortcoming", shortcoming && shortcoming[0] ? shortcoming : NULL);
    page_add(page, "},\n");
}

bool report_conform_write_json(const struct report_conform *report, const char *path, char *error,
                               size_t error_capacity)
{
    const struct conform_outcome *outcome = report->outcome;
    struct page page = {0};
    page_add(&page, "{\n  \"schema\":1,\"kind\":\"conform\",");
    text_member(&page, "verdict", report_conform_verdict(report));
    page_format(&page, ",\"exit_code\":%d,", report->exit_code);
    text_member(&page, "target", report->target);
    page_add(&page, ",");
    text_member(&page, "protocol", outcome->protocol == MQ5_V311 ? "3.1.1" : "5.0");
    page_add(&page, ",");
    text_member(&page, "profile", report->profile);
    page_add(&page, ",");
    text_member(&page, "command", report->command);
    page_format(
        &page,
        ",\"started_epoch_s\":%lld,\"wall_s\":%.3f,\"peak_rss_bytes\":%llu,\"fleet\":%u,\"bytes_per_vehicle\":null,"
        "\"digest\":null,",
        (long long)report->started_epoch_s, (double)outcome->wall_us / 1e6, (unsigned long long)report->peak_rss_bytes,
        report->vehicles);
    text_member(&page, "seed", outcome->run);
    page_format(&page, ",\"connections\":%llu,\"packets_in\":%llu,\"packets_out\":%llu,\n  \"versions\":{",
                (unsigned long long)outcome->connections, (unsigned long long)outcome->packets_in,
                (unsigned long long)outcome->packets_out);
    text_member(&page, "convoy", report->version);
    page_add(&page, ",");
    text_member(&page, "commit", report->commit);
    page_add(&page, "},\n");
    write_load(report, &page);
    write_broker(report, &page);
    write_statements(report, &page);
    page_add(&page, "  \"monitors\":[");
    const struct conform_monitor *monitor;
    for (uint32_t i = 0; (monitor = conform_monitor_at(i)); i++) {
        page_add(&page, i ? ",\n    {" : "\n    {");
        text_member(&page, "id", monitor->id);
        page_add(&page, ",");
        text_member(&page, "name", monitor->name);
        page_format(&page, ",\"seen\":%llu,\"hits\":%llu}", (unsigned long long)outcome->monitor_seen[i],
                    (unsigned long long)outcome->monitor_hits[i]);
    }
    page_add(&page, "\n  ],\n  \"expectations\":[\n");
    for (uint32_t i = 0; i < outcome->result_count; i++) {
        write_result(report, &page, &outcome->results[i]);
        page_add(&page, i + 1 < outcome->result_count ? ",\n" : "\n");
    }
    page_add(&page, "  ]\n}\n");
    return page_write(&page, path, error, error_capacity);
}
