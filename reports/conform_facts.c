/* conform_facts.c: readings of a conformance run that several writers need. */
#include "conform.h"

#include <stdio.h>

#define ROW_REFS 1024

uint32_t report_conform_count(const struct conform_outcome *outcome, enum conform_verdict verdict)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < outcome->result_count; i++)
        count += outcome->results[i].verdict == verdict;
    return count;
}

static bool any_monitor_failed(const struct conform_outcome *outcome)
{
    for (uint32_t i = 0; i < outcome->result_count; i++)
        for (uint32_t f = 0; f < outcome->results[i].finding_count; f++)
            if (outcome->results[i].findings[f].verdict == CONFORM_FAIL)
                return true;
    return false;
}

const char *report_conform_verdict(const struct report_conform *report)
{
    const struct conform_outcome *outcome = report->outcome;
    if (outcome->interrupted)
        return "interrupted";
    if (report_conform_count(outcome, CONFORM_FAIL) || any_monitor_failed(outcome))
        return "fail";
    bool open = report_conform_count(outcome, CONFORM_INCONCLUSIVE) || report_conform_count(outcome, CONFORM_ERROR);
    open |= report->vehicles_shortcoming && report->vehicles_shortcoming[0];
    return open || !report_conform_count(outcome, CONFORM_PASS) ? "inconclusive" : "pass";
}

void conform_load_text(const struct report_conform *report, char *out, size_t capacity)
{
    const char *shortcoming = report->vehicles_shortcoming ? report->vehicles_shortcoming : "";
    if (!report->vehicles)
        snprintf(out, capacity, "none");
    else
        snprintf(out, capacity, "%u, at least %llu connected all the time, %.0f messages a second, %llu lost%s%s",
                 report->vehicles, (unsigned long long)report->vehicles_connected, report->vehicles_publishes_per_s,
                 (unsigned long long)report->vehicles_lost, shortcoming[0] ? "; not kept up: " : "", shortcoming);
}

const char *conform_sign(enum conform_verdict verdict)
{
    switch (verdict) {
    case CONFORM_PASS: return "✓";
    case CONFORM_FAIL: return "✗";
    case CONFORM_WARN:
    case CONFORM_XFAIL:
    case CONFORM_XPASS: return "!";
    case CONFORM_SKIP:
    case CONFORM_NOT_RUN: return "–";
    default: return "?";
    }
}

const char *conform_level_name(enum conform_level level)
{
    static const char *const names[] = {"note", "may", "should", "must"};
    return names[level];
}

const char *conform_testable_name(enum conform_testable testable)
{
    static const char *const names[] = {"no", "conditional", "yes"};
    return names[testable];
}

const char *conform_protocol_name(enum mq5_version protocol)
{
    return protocol == MQ5_V311 ? "MQTT 3.1.1" : "MQTT 5";
}

void conform_replay(const struct report_conform *report, const struct conform_result *result, char *out,
                    size_t capacity)
{
    snprintf(out, capacity, "convoy conform %s%s --only '%s' --trace", report->target,
             report->outcome->protocol == MQ5_V311 ? " --protocol 3.1.1" : "", result->id);
}

static bool has_ref(const char *const *refs, int count, const char *id)
{
    for (int i = 0; i < count && refs[i]; i++)
        if (strcmp(refs[i], id) == 0)
            return true;
    return false;
}

/* Rows name statements that their check does not. There are thousands of rows: they are looked at once. */
static struct row_ref {
    const struct conform_check *check;
    const char *ref;
} row_refs[ROW_REFS];
static uint32_t row_ref_count;

static bool knows_row_ref(const struct conform_check *check, const char *id)
{
    for (uint32_t i = 0; i < row_ref_count; i++)
        if (row_refs[i].check == check && strcmp(row_refs[i].ref, id) == 0)
            return true;
    return false;
}

static void read_rows(const struct conform_check *check)
{
    uint32_t rows = check->row ? check->row_count() : 0;
    for (uint32_t row = 0; row < rows; row++) {
        struct conform_row out = {.ref = NULL};
        check->row(row, &out);
        if (!out.ref || knows_row_ref(check, out.ref))
            continue;
        ASSERT(row_ref_count < ROW_REFS);
        row_refs[row_ref_count++] = (struct row_ref){check, out.ref};
    }
}

static bool row_asserts(const struct conform_check *check, const char *id)
{
    static bool read;
    const struct conform_check *each;
    for (uint32_t i = 0; !read && (each = conform_check_at(i)); i++)
        read_rows(each);
    read = true;
    return knows_row_ref(check, id);
}

void conform_checks_of(const struct conform_statement *statement, char *out, size_t capacity)
{
    const struct conform_check *check;
    const struct conform_monitor *monitor;
    size_t used = 0;
    out[0] = 0;
    for (uint32_t i = 0; (check = conform_check_at(i)) && used < capacity; i++)
        if (has_ref(check->refs, 8, statement->id) || row_asserts(check, statement->id))
            used += (size_t)snprintf(out + used, capacity - used, "%s%s", used ? " " : "", check->id);
    for (uint32_t i = 0; (monitor = conform_monitor_at(i)) && used < capacity; i++)
        if (has_ref(monitor->refs, 4, statement->id))
            used += (size_t)snprintf(out + used, capacity - used, "%s%s", used ? " " : "", monitor->id);
}

void conform_why_open(const struct conform_outcome *outcome, const struct conform_statement *statement, char *out,
                      size_t capacity)
{
    char checks[600];
    conform_checks_of(statement, checks, sizeof(checks));
    for (uint32_t i = 0; outcome && i < outcome->result_count; i++) {
        const struct conform_result *result = &outcome->results[i];
        if (result->verdict == CONFORM_SKIP && strcmp(result->ref, statement->id) == 0) {
            snprintf(out, capacity, "%s", result->why);
            return;
        }
    }
    if (statement->waiver[0])
        snprintf(out, capacity, "waived: %s", statement->waiver);
    else if (statement->testable == CONFORM_NOT_TESTABLE)
        snprintf(out, capacity, "not observable: %s", statement->how);
    else if (!checks[0])
        snprintf(out, capacity, "no check yet");
    else
        snprintf(out, capacity, outcome ? "nothing of it was seen in this run" : "");
}

bool conform_is_remarkable(const struct conform_result *result)
{
    return (result->verdict != CONFORM_PASS && result->verdict != CONFORM_SKIP && result->verdict != CONFORM_NOT_RUN) ||
           result->finding_count > 0;
}
