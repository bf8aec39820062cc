/* conform_print.c: a conformance run on the terminal: what failed and how to see it again, then the sums. */
#include "conform.h"

#include <stdio.h>

static const char *tint(bool colour, enum conform_verdict verdict)
{
    if (!colour)
        return "";
    return verdict == CONFORM_PASS ? "\033[32m" : verdict == CONFORM_FAIL ? "\033[31m" : "\033[33m";
}

static void print_trace(const struct conform_result *result, FILE *out)
{
    static const char arrows[] = "><*";
    for (uint32_t i = 0; i < result->trace.count; i++) {
        const struct conform_trace_line *line = &result->trace.lines[i];
        fprintf(out, "     %10.3f ms  %u %c %s\n", (double)line->at_us / 1e3, line->wire, arrows[line->direction],
                line->text);
        for (uint32_t at = 0; at < line->bytes.length && at < 256; at++)
            fprintf(out, "%s%02x%s", at % 32 ? " " : "                        ", line->bytes.data[at],
                    at % 32 == 31 || at + 1 == line->bytes.length || at == 255 ? "\n" : "");
        if (line->bytes.length > 256)
            fprintf(out, "                        (%u bytes in all)\n", line->bytes.length);
    }
}

static void print_result(const struct report_conform *report, const struct conform_result *result, bool colour,
                         FILE *out)
{
    char replay[700];
    bool loud = result->verdict != CONFORM_PASS || report->trace;
    enum conform_verdict shown = result->verdict;
    for (uint32_t f = 0; f < result->finding_count; f++)
        if (result->findings[f].verdict == CONFORM_FAIL)
            shown = CONFORM_FAIL;
    fprintf(out, " %s%s%s %-18s %-17s %s%s%s\n", tint(colour, shown), conform_sign(shown), colour ? "\033[0m" : "",
            result->id, result->ref, result->check->name, result->row.name[0] ? ": " : "", result->row.name);
    if (loud && result->why[0])
        fprintf(out, "                      %s: %s\n", conform_verdict_name(result->verdict), result->why);
    if (result->deviation)
        fprintf(out, "                      profile: %s\n", result->deviation);
    for (uint32_t f = 0; f < result->finding_count; f++)
        fprintf(out, "                      %s %s (%s): %s\n", conform_verdict_name(result->findings[f].verdict),
                result->findings[f].id, result->findings[f].ref, result->findings[f].text);
    if (shown == CONFORM_FAIL && !report->trace) {
        conform_replay(report, result, replay, sizeof(replay));
        fprintf(out, "                      again: %s\n", replay);
    }
    if (report->trace)
        print_trace(result, out);
}

/* Warnings of one kind ("no reason code before the end") are many: one line each kind, with a count. */
static bool only_warned(const struct conform_result *result)
{
    if (result->verdict != CONFORM_PASS)
        return false;
    for (uint32_t f = 0; f < result->finding_count; f++)
        if (result->findings[f].verdict == CONFORM_FAIL)
            return false;
    return true;
}

static void print_warnings(const struct conform_outcome *outcome, FILE *out)
{
    uint32_t checks = 0, codes = 0, none = 0, other = 0;
    for (uint32_t i = 0; i < outcome->result_count; i++) {
        const struct conform_result *result = &outcome->results[i];
        checks += result->verdict == CONFORM_PASS && result->finding_count > 0;
        for (uint32_t f = 0; f < result->finding_count; f++) {
            const char *id = result->findings[f].id;
            if (result->findings[f].verdict != CONFORM_WARN)
                continue;
            none += strcmp(id, "code first") == 0;
            codes += strcmp(id, "code") == 0;
            other += strcmp(id, "code") != 0 && strcmp(id, "code first") != 0;
        }
    }
    if (checks)
        fprintf(
            out,
            " ! %u checks passed with a warning: %u × no reason code before the end, %u × another reason code, %u × "
            "something else (in the report)\n",
            checks, none, codes, other);
}

void report_conform_print_matrix(const struct conform_outcome *outcome, enum mq5_version protocol, void *stream)
{
    FILE *out = stream;
    const struct conform_statement *statement;
    char checks[1200], why[400];
    for (uint32_t i = 0; (statement = conform_catalogue_at(protocol, i)); i++) {
        enum conform_verdict verdict = outcome ? conform_statement_verdict(outcome, statement) : CONFORM_NOT_RUN;
        conform_checks_of(statement, checks, sizeof(checks));
        conform_why_open(outcome, statement, why, sizeof(why));
        bool open = verdict == CONFORM_NOT_RUN || verdict == CONFORM_SKIP;
        fprintf(out, "%-17s %-6s %-11s %-13s %s%s%s\n", statement->id, conform_level_name(statement->level),
                conform_testable_name(statement->testable), outcome ? conform_verdict_name(verdict) : "-",
                checks[0] ? checks : "-", open && why[0] ? "  | " : "", open ? why : "");
    }
}

void report_conform_list(void *stream)
{
    const struct conform_check *check;
    static const char *const lanes[] = {"fast", "slow", "heavy", "isolated"};
    uint32_t rows = 0, checks = 0;
    for (uint32_t i = 0; (check = conform_check_at(i)); i++, checks++) {
        uint32_t count = check->row_count ? check->row_count() : 0;
        fprintf(stream, "%-16s %-6s %-8s ", check->id, conform_level_name(check->level), lanes[check->lane]);
        for (int r = 0; r < 8 && check->refs[r]; r++)
            fprintf(stream, "%s%s", r ? "," : "", check->refs[r]);
        fprintf(stream, "  %s", check->name);
        if (count)
            fprintf(stream, " (%u rows)", count);
        fprintf(stream, "\n");
        rows += count;
    }
    fprintf(stream, "%u checks, %u rows\n", checks, rows);
}

static void print_sums(const struct report_conform *report, FILE *out)
{
    const struct conform_outcome *outcome = report->outcome;
    const struct conform_statement *statement;
    uint32_t counts[CONFORM_XPASS + 1] = {0}, hidden = 0;
    for (uint32_t i = 0; (statement = conform_catalogue_at(outcome->protocol, i)); i++) {
        enum conform_verdict verdict = conform_statement_verdict(outcome, statement);
        counts[verdict]++;
        hidden += verdict == CONFORM_NOT_RUN && statement->testable == CONFORM_NOT_TESTABLE;
    }
    static const enum conform_verdict order[] = {CONFORM_PASS, CONFORM_FAIL, CONFORM_XFAIL,        CONFORM_XPASS,
                                                 CONFORM_WARN, CONFORM_SKIP, CONFORM_INCONCLUSIVE, CONFORM_ERROR};
    fprintf(out, "\n checks and rows:");
    for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++)
        if (report_conform_count(outcome, order[i]))
            fprintf(out, " %u %s,", report_conform_count(outcome, order[i]), conform_verdict_name(order[i]));
    fprintf(out, " of %u\n statements:     ", outcome->result_count);
    for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++)
        if (counts[order[i]])
            fprintf(out, " %u %s,", counts[order[i]], conform_verdict_name(order[i]));
    fprintf(out, " %u not seen in this run, %u not to be seen from outside\n", counts[CONFORM_NOT_RUN] - hidden,
            hidden);
}

void report_conform_print(const struct report_conform *report, const char *directory, bool colour, void *stream)
{
    const struct conform_outcome *outcome = report->outcome;
    FILE *out = stream;
    fprintf(out, "%s · %s · profile %s · %u checks and rows\n\n", report->target,
            conform_protocol_name(outcome->protocol), report->profile, outcome->result_count);
    for (uint32_t i = 0; i < outcome->result_count; i++) {
        const struct conform_result *result = &outcome->results[i];
        bool quiet = result->verdict == CONFORM_SKIP || only_warned(result) || result->verdict == CONFORM_NOT_RUN;
        if (report->trace || !quiet)
            print_result(report, result, colour, out);
    }
    print_warnings(outcome, out);
    if (report->matrix) {
        fprintf(out, "\n");
        report_conform_print_matrix(outcome, outcome->protocol, out);
    }
    print_sums(report, out);
    if (report->vehicles) {
        char load[500];
        conform_load_text(report, load, sizeof(load));
        fprintf(out, " vehicles:        %s\n", load);
    }
    fprintf(out, "\n %s · %.1f s · %llu connections, %llu packets%s%s%s     exit %d\n", report_conform_verdict(report),
            (double)outcome->wall_us / 1e6, (unsigned long long)outcome->connections,
            (unsigned long long)(outcome->packets_in + outcome->packets_out), directory ? " · report " : "",
            directory ? directory : "", directory ? "/report.html" : "", report->exit_code);
}
