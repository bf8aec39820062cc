/* junit.c: junit.xml, for continuous integration: one suite, one case an expectation. */
#include "internal.h"

#include <stdio.h>

static void write_attribute(struct page *page, const char *name, const char *value)
{
    page_format(page, " %s=\"", name);
    page_escape(page, value);
    page_add(page, "\"");
}

static void write_property(struct page *page, const char *name, const char *value)
{
    page_add(page, "      <property");
    write_attribute(page, "name", name);
    write_attribute(page, "value", value);
    page_add(page, "/>\n");
}

static void write_properties(const struct report_run *run, struct page *page)
{
    char digest[33], seed[24];
    report_digest(run, digest);
    snprintf(seed, sizeof(seed), "%llu", (unsigned long long)run->scenario->seed);
    page_add(page, "    <properties>\n");
    write_property(page, "seed", seed);
    write_property(page, "digest", digest[0] ? digest : "none");
    write_property(page, "version", run->version ? run->version : "unknown");
    write_property(page, "commit", run->commit ? run->commit : "unknown");
    write_property(page, "world", report_world(run));
    write_property(page, "scenario", run->scenario->path);
    write_property(page, "command", run->command ? run->command : "");
    page_add(page, "    </properties>\n");
}

static void write_vehicles(const struct report_run *run, struct page *page, uint32_t index)
{
    const struct expectation_result *result = &run->expectations[index];
    for (uint32_t i = 0; i < result->worst_count; i++) {
        char name[SCENARIO_NAME + 16], value[64], at[48] = "";
        report_vehicle_name(run, result->worst[i].vehicle, name, sizeof(name));
        report_worst_text(&run->scenario->expectations[index], &result->worst[i], value, sizeof(value));
        if (result->worst[i].at_us >= 0)
            scenario_time_text(run->scenario, result->worst[i].at_us, at, sizeof(at));
        page_add(page, i ? "\n" : "\nvehicles concerned:\n");
        page_escape(page, name);
        page_add(page, " ");
        page_escape(page, value);
        page_format(page, "%s%s", at[0] ? " at " : "", at);
    }
}

/* What went wrong as the element's message; the details and who suffered as its text. */
static void write_failure(const struct report_run *run, struct page *page, uint32_t index, const char *type)
{
    const struct expectation *expectation = &run->scenario->expectations[index];
    const struct expectation_result *result = &run->expectations[index];
    char measured[128], bound[96], message[320];
    report_measured_text(expectation, result, measured, sizeof(measured));
    report_bound_text(expectation, bound, sizeof(bound));
    snprintf(message, sizeof(message), "%s: measured %s, expected %s", verdict_name(result->verdict), measured, bound);
    page_add(page, "      <failure");
    write_attribute(page, "type", type);
    write_attribute(page, "message", message);
    page_add(page, ">");
    page_escape(page, run->scenario->path);
    page_format(page, ":%u: ", expectation->line);
    page_escape(page, report_title(expectation));
    page_add(page, "\n");
    page_escape(page, result->detail);
    write_vehicles(run, page, index);
    page_add(page, "\n</failure>\n");
}

static void write_case(const struct report_run *run, struct page *page, uint32_t index)
{
    const struct expectation *expectation = &run->scenario->expectations[index];
    const struct expectation_result *result = &run->expectations[index];
    char class_name[SCENARIO_NAME + 16];
    snprintf(class_name, sizeof(class_name), "convoy.%s", run->scenario->name);
    page_add(page, "    <testcase");
    write_attribute(page, "name", expectation->id);
    write_attribute(page, "classname", class_name);
    page_format(page, " time=\"%.3f\">\n", run->result->wall_s);
    if (result->verdict == VERDICT_FAIL)
        write_failure(run, page, index, "fail");
    else if (result->verdict == VERDICT_INCONCLUSIVE)
        write_failure(run, page, index, "inconclusive");
    else if (result->verdict == VERDICT_NOT_AVAILABLE) {
        page_add(page, "      <skipped");
        write_attribute(page, "message", result->detail);
        page_add(page, "/>\n");
    }
    page_add(page, "    </testcase>\n");
}

bool report_write_junit(const struct report_run *run, const char *path, char *error, size_t error_capacity)
{
    struct page page = {0};
    uint32_t count = report_expectation_count(run), failures = 0, skipped = 0;
    char started[32];
    for (uint32_t i = 0; i < count; i++) {
        failures +=
            run->expectations[i].verdict == VERDICT_FAIL || run->expectations[i].verdict == VERDICT_INCONCLUSIVE;
        skipped += run->expectations[i].verdict == VERDICT_NOT_AVAILABLE;
    }
    report_started(run, started);
    started[19] = 0; /* the schema knows no zone */
    bool broken = run->result->error[0] != 0;
    page_format(&page,
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites tests=\"%u\" failures=\"%u\" errors=\"%d\">\n "
                " <testsuite",
                count, failures, broken);
    write_attribute(&page, "name", run->scenario->name);
    page_format(&page, " tests=\"%u\" failures=\"%u\" errors=\"%d\" skipped=\"%u\" time=\"%.3f\"", count, failures,
                broken, skipped, run->result->wall_s);
    write_attribute(&page, "timestamp", started);
    page_add(&page, ">\n");
    write_properties(run, &page);
    for (uint32_t i = 0; i < count; i++)
        write_case(run, &page, i);
    if (broken) {
        page_add(&page, "    <system-err>");
        page_escape(&page, run->result->error);
        page_add(&page, "</system-err>\n");
    }
    page_add(&page, "  </testsuite>\n</testsuites>\n");
    return page_write(&page, path, error, error_capacity);
}
