/* print.c: the summary on the terminal: a line an expectation, who suffered, and how to come back here. */
#include "internal.h"

#include <stdio.h>

#define COLUMN_MAXIMUM 48 /* a longer text shifts the rest of its own line only */
#define VICTIMS_SHOWN  3

struct terminal {
    const struct report_run *run;
    FILE *stream;
    bool colour;
    size_t id_columns, measured_columns, bound_columns;
};

static const char *colour_of(enum verdict verdict)
{
    switch (verdict) {
    case VERDICT_PASS: return "\033[32m";
    case VERDICT_FAIL: return "\033[1;31m";
    case VERDICT_INCONCLUSIVE: return "\033[33m";
    case VERDICT_NOT_AVAILABLE: break;
    }
    return "\033[2m";
}

static void paint(const struct terminal *terminal, const char *code)
{
    if (terminal->colour)
        fputs(code, terminal->stream);
}

/* Text a terminal may be shown: names come from files, and must not steer it. */
static void print_safe(const struct terminal *terminal, const char *text)
{
    char clean[700];
    utf8_clean(text, clean, sizeof(clean));
    for (const unsigned char *byte = (const unsigned char *)clean; *byte; byte++) {
        bool c1 = byte[0] == 0xC2 && byte[1] >= 0x80 && byte[1] < 0xA0;
        if (*byte >= 0x20 && *byte != 0x7F && !c1)
            fputc(*byte, terminal->stream);
        else if (c1)
            byte++;
    }
}

/* columns 0: the last on its line. */
static void print_column(const struct terminal *terminal, const char *text, size_t columns)
{
    print_safe(terminal, text);
    for (size_t used = utf8_columns(text); used < columns; used++)
        fputc(' ', terminal->stream);
    fputs(columns ? "  " : "", terminal->stream);
}

static void widen(size_t *columns, const char *text)
{
    size_t needed = utf8_columns(text);
    if (needed > *columns)
        *columns = needed < COLUMN_MAXIMUM ? needed : COLUMN_MAXIMUM;
}

static void measure_columns(struct terminal *terminal)
{
    for (uint32_t i = 0; i < report_expectation_count(terminal->run); i++) {
        const struct expectation *expectation = &terminal->run->scenario->expectations[i];
        char text[128];
        widen(&terminal->id_columns, expectation->id);
        report_measured_text(expectation, &terminal->run->expectations[i], text, sizeof(text));
        widen(&terminal->measured_columns, text);
        report_bound_text(expectation, text, sizeof(text));
        widen(&terminal->bound_columns, text);
    }
}

/* ---- one expectation --------------------------------------------------------------------------------------------------- */

/* "(14,986 samples, 99 % sure)" for metrics, "at 07:43:02" for moments, the reason for what could not be judged. */
static void remark_text(const struct terminal *terminal, const struct expectation *expectation,
                        const struct expectation_result *result, char *out, size_t capacity)
{
    char samples[64], at[48] = "", sure[32] = "";
    out[0] = 0;
    if (result->verdict == VERDICT_NOT_AVAILABLE || result->verdict == VERDICT_INCONCLUSIVE) {
        snprintf(out, capacity, "%s", result->detail);
        return;
    }
    if (report_tells_victims(expectation, result)) {
        snprintf(out, capacity, "%s", result->detail);
        return;
    }
    if (result->at_us >= 0)
        scenario_time_text(terminal->run->scenario, result->at_us, at, sizeof(at));
    if (expectation->confidence > 0)
        snprintf(sure, sizeof(sure), ", %g %% sure", expectation->confidence * 100);
    measure_format_count((double)result->samples, samples, sizeof(samples));
    if (expectation->source == EXPECT_METRIC)
        snprintf(out, capacity, "(%s sample%s%s)%s%s", samples, result->samples == 1 ? "" : "s", sure,
                 at[0] ? " at " : "", at);
    else if (at[0])
        snprintf(out, capacity, "at %s", at);
}

static void print_victims(const struct terminal *terminal, const struct expectation *expectation,
                          const struct expectation_result *result)
{
    if (result->verdict != VERDICT_FAIL || !result->worst_count)
        return;
    fprintf(terminal->stream, "   %*s  worst: ", (int)terminal->id_columns, "");
    for (uint32_t i = 0; i < result->worst_count && i < VICTIMS_SHOWN; i++) {
        char text[96];
        fputs(i ? ", " : "", terminal->stream);
        report_vehicle_name(terminal->run, result->worst[i].vehicle, text, sizeof(text));
        print_safe(terminal, text);
        report_worst_text(expectation, &result->worst[i], text, sizeof(text));
        fprintf(terminal->stream, " (%s", text);
        if (result->worst[i].at_us >= 0) {
            scenario_time_text(terminal->run->scenario, result->worst[i].at_us, text, sizeof(text));
            fprintf(terminal->stream, " at %s", text);
        }
        fputs(")", terminal->stream);
    }
    if (result->worst_count > VICTIMS_SHOWN)
        fputs("; more in the report", terminal->stream);
    fputc('\n', terminal->stream);
}

static void print_expectation(const struct terminal *terminal, uint32_t index)
{
    const struct expectation *expectation = &terminal->run->scenario->expectations[index];
    const struct expectation_result *result = &terminal->run->expectations[index];
    char measured[128], bound[96], remark[320];
    report_measured_text(expectation, result, measured, sizeof(measured));
    report_bound_text(expectation, bound, sizeof(bound));
    remark_text(terminal, expectation, result, remark, sizeof(remark));
    fputc(' ', terminal->stream);
    paint(terminal, colour_of(result->verdict));
    fputs(report_verdict_sign(result->verdict), terminal->stream);
    paint(terminal, "\033[0m");
    fputc(' ', terminal->stream);
    print_column(terminal, expectation->id, terminal->id_columns);
    print_column(terminal, measured, terminal->measured_columns);
    print_column(terminal, bound, remark[0] ? terminal->bound_columns : 0);
    print_safe(terminal, remark);
    fputc('\n', terminal->stream);
    print_victims(terminal, expectation, result);
}

/* ---- the last line ------------------------------------------------------------------------------------------------------- */

static void print_wall(const struct terminal *terminal)
{
    char text[64];
    measure_format_duration(terminal->run->result->wall_s * 1e6, text, sizeof(text));
    fprintf(terminal->stream, " · %s", text);
}

static void print_digest(const struct terminal *terminal)
{
    char digest[33];
    report_digest(terminal->run, digest);
    if (digest[0])
        fprintf(terminal->stream, " · digest %.4s…%s", digest, digest + strlen(digest) - 2);
}

static void print_end(const struct terminal *terminal, const char *directory)
{
    const struct report_run *run = terminal->run;
    char memory[64], each[64];
    bool holds = strcmp(report_verdict(run), "pass") == 0;
    measure_format_bytes((double)run->result->peak_rss_bytes, memory, sizeof(memory));
    measure_format_bytes(report_bytes_per_vehicle(run), each, sizeof(each));
    fputs("\n ", terminal->stream);
    paint(terminal, holds ? "\033[1;32m" : "\033[1m");
    fprintf(terminal->stream, "%u of %u hold", report_passed(run), report_expectation_count(run));
    paint(terminal, "\033[0m");
    if (run->result->status == WORLD_INTERRUPTED) {
        char at[48];
        scenario_time_text(run->scenario, run->result->simulated_us, at, sizeof(at));
        fprintf(terminal->stream, " · interrupted at %s", at);
    } else if (run->result->status == WORLD_RIG_LIMITED) {
        fputs(" · the rig was the limit", terminal->stream);
    }
    print_digest(terminal);
    print_wall(terminal);
    fprintf(terminal->stream, " · %s", memory);
    if (run->scenario->fleet)
        fprintf(terminal->stream, " (%s a vehicle)", each);
    if (directory) {
        fputs(" · report ", terminal->stream);
        print_safe(terminal, directory);
        fputs("/report.html", terminal->stream);
    }
    fprintf(terminal->stream, "     exit %d\n", run->exit_code);
}

void report_print(const struct report_run *run, const char *directory, bool colour, void *stream)
{
    struct terminal terminal = {.run = run, .stream = stream, .colour = colour};
    measure_columns(&terminal);
    fputc('\n', stream);
    for (uint32_t i = 0; i < report_expectation_count(run); i++)
        print_expectation(&terminal, i);
    if (!report_expectation_count(run))
        fputs(" ? no expectation, so no verdict\n", stream);
    print_end(&terminal, directory);
}
