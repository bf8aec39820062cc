/* conform_junit.c: a conformance run for continuous integration: a suite a group, a case a check (rows are cases, too). */
#include "conform.h"

static void attribute(struct page *page, const char *name, const char *value)
{
    page_format(page, " %s=\"", name);
    page_escape(page, value);
    page_add(page, "\"");
}

static void write_trace(struct page *page, const struct conform_result *result)
{
    static const char arrows[] = "><*";
    for (uint32_t i = 0; i < result->trace.count && i < 200; i++) {
        const struct conform_trace_line *line = &result->trace.lines[i];
        page_format(page, "%.3f ms  %u %c ", (double)line->at_us / 1e3, line->wire, arrows[line->direction]);
        page_escape(page, line->text);
        page_add(page, "\n");
    }
}

static void write_element(const struct report_conform *report, struct page *page, const struct conform_result *result,
                          const char *element, const char *message)
{
    char replay[700];
    conform_replay(report, result, replay, sizeof(replay));
    page_format(page, "      <%s", element);
    attribute(page, "type", conform_verdict_name(result->verdict));
    attribute(page, "message", message);
    page_add(page, ">");
    page_escape(page, result->ref);
    page_add(page, "\n");
    page_escape(page, replay);
    page_add(page, "\n");
    write_trace(page, result);
    page_format(page, "</%s>\n", element);
}

/* A monitor's hit fails the case it was seen in. */
static const struct conform_finding *failed_monitor(const struct conform_result *result)
{
    for (uint32_t i = 0; i < result->finding_count; i++)
        if (result->findings[i].verdict == CONFORM_FAIL)
            return &result->findings[i];
    return NULL;
}

static void write_case(const struct report_conform *report, struct page *page, const struct conform_result *result)
{
    const struct conform_finding *monitor = failed_monitor(result);
    char message[600], name[220];
    snprintf(name, sizeof(name), "%s %s%s%s", result->id, result->check->name, result->row.name[0] ? ": " : "",
             result->row.name);
    page_add(page, "    <testcase");
    attribute(page, "name", name);
    attribute(page, "classname", "convoy.conform");
    page_format(page, " time=\"%.3f\">\n", (double)result->took_us / 1e6);
    if (result->verdict == CONFORM_FAIL) {
        write_element(report, page, result, "failure", result->why);
    } else if (monitor) {
        snprintf(message, sizeof(message), "%s %s: %s", monitor->id, monitor->ref, monitor->text);
        write_element(report, page, result, "failure", message);
    } else if (result->verdict == CONFORM_ERROR || result->verdict == CONFORM_INCONCLUSIVE) {
        write_element(report, page, result, "error", result->why);
    } else if (result->verdict == CONFORM_SKIP || result->verdict == CONFORM_NOT_RUN ||
               result->verdict == CONFORM_XFAIL) {
        snprintf(message, sizeof(message), "%s%s%s", result->verdict == CONFORM_XFAIL ? "known to fail: " : "",
                 result->deviation ? result->deviation : "", result->deviation ? "" : result->why);
        page_add(page, "      <skipped");
        attribute(page, "message", message);
        page_add(page, "/>\n");
    }
    page_add(page, "    </testcase>\n");
}

bool report_conform_write_junit(const struct report_conform *report, const char *path, char *error,
                                size_t error_capacity)
{
    const struct conform_outcome *outcome = report->outcome;
    struct page page = {0};
    uint32_t failures = 0, errors = 0, skipped = 0;
    for (uint32_t i = 0; i < outcome->result_count; i++) {
        const struct conform_result *result = &outcome->results[i];
        bool failed = result->verdict == CONFORM_FAIL || failed_monitor(result);
        failures += failed;
        errors += !failed && (result->verdict == CONFORM_ERROR || result->verdict == CONFORM_INCONCLUSIVE);
        skipped += !failed && (result->verdict == CONFORM_SKIP || result->verdict == CONFORM_NOT_RUN ||
                               result->verdict == CONFORM_XFAIL);
    }
    page_add(&page, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n  <testsuite");
    attribute(&page, "name", "convoy conform");
    page_format(&page, " tests=\"%u\" failures=\"%u\" errors=\"%u\" skipped=\"%u\" time=\"%.3f\">\n",
                outcome->result_count, failures, errors, skipped, (double)outcome->wall_us / 1e6);
    page_add(&page, "    <properties>\n");
    const char *const properties[][2] = {
        {"target", report->target}, {"profile", report->profile}, {"version", report->version},
        {"commit", report->commit}, {"command", report->command},
    };
    for (size_t i = 0; i < sizeof(properties) / sizeof(properties[0]); i++) {
        page_add(&page, "      <property");
        attribute(&page, "name", properties[i][0]);
        attribute(&page, "value", properties[i][1]);
        page_add(&page, "/>\n");
    }
    page_add(&page, "    </properties>\n");
    for (uint32_t i = 0; i < outcome->result_count; i++)
        write_case(report, &page, &outcome->results[i]);
    page_add(&page, "  </testsuite>\n</testsuites>\n");
    return page_write(&page, path, error, error_capacity);
}
