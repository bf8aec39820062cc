/* diff_print.c: the comparison on a terminal. What changed comes first; what did not is counted, not listed. */
#include "diff.h"

#include <math.h>
#include <stdio.h>

struct printer {
    const struct report_diff *diff;
    FILE *stream;
    bool colour;
};

#define DIM   "\033[2m"
#define BOLD  "\033[1m"
#define RED   "\033[1;31m"
#define GREEN "\033[32m"

static void paint(const struct printer *printer, const char *code)
{
    if (printer->colour)
        fputs(code, printer->stream);
}

/* Padded to the columns; what could steer a terminal is a question mark. */
static void print_column(const struct printer *printer, const char *text, size_t columns)
{
    char clean[600];
    utf8_clean(text, clean, sizeof(clean));
    for (const unsigned char *byte = (const unsigned char *)clean; *byte; byte++) {
        bool c1 = byte[0] == 0xC2 && byte[1] >= 0x80 && byte[1] < 0xA0;
        fputc(*byte >= 0x20 && *byte != 0x7F && !c1 ? *byte : '?', printer->stream);
        byte += c1;
    }
    for (size_t used = utf8_columns(clean); used < columns; used++)
        fputc(' ', printer->stream);
}

static void print_title(const struct printer *printer, const char *title)
{
    fputc('\n', printer->stream);
    paint(printer, BOLD);
    fputs(title, printer->stream);
    paint(printer, "\033[0m");
    fputc('\n', printer->stream);
}

static void print_trend(const struct printer *printer, enum diff_trend trend)
{
    if (trend == DIFF_OTHER)
        return;
    paint(printer, trend == DIFF_WORSE ? RED : trend == DIFF_BETTER ? GREEN : DIM);
    fputs(diff_trend_name(trend), printer->stream);
    paint(printer, "\033[0m");
}

static void print_bounds(const struct printer *printer, const struct diff_row *row)
{
    if (row->bounded && row->percent != 0)
        fprintf(printer->stream, " (bounds %s)", row->overlap ? "overlap" : "are apart");
    else if (!row->bounded && strcmp(row->statistic, "quantile") == 0 &&
             (row->trend == DIFF_WORSE || row->trend == DIFF_BETTER))
        fputs(" (no bounds)", printer->stream);
}

/* ---- head ------------------------------------------------------------------------------------------------------------------ */

static void head_row(const struct printer *printer, const char *name, const char *before, const char *after)
{
    bool differs = strcmp(before, after) != 0;
    fputs("  ", printer->stream);
    print_column(printer, name, 20);
    fputs(differs ? " * " : "   ", printer->stream);
    print_column(printer, before, 44);
    fputs("  ", printer->stream);
    print_column(printer, after, 0);
    fputc('\n', printer->stream);
}

static void print_head(const struct printer *printer)
{
    const struct diff_side *side = printer->diff->side;
    const cJSON *root[2] = {side[0].root, side[1].root}, *scenario[2], *versions[2];
    char version[2][128], fleet[2][48];
    for (int i = 0; i < 2; i++) {
        scenario[i] = diff_get(root[i], "scenario");
        versions[i] = diff_get(root[i], "versions");
        snprintf(version[i], sizeof(version[i]), "%s %s", diff_text(versions[i], "convoy"),
                 diff_text(versions[i], "commit"));
        measure_format_count(diff_number(root[i], "fleet"), fleet[i], sizeof(fleet[i]));
    }
    fputs("\n                         A                                             B\n", printer->stream);
    head_row(printer, "run", side[0].directory, side[1].directory);
    head_row(printer, "scenario", diff_text(scenario[0], "name"), diff_text(scenario[1], "name"));
    head_row(printer, "world", diff_text(root[0], "world"), diff_text(root[1], "world"));
    head_row(printer, "broker", diff_text(root[0], "broker"), diff_text(root[1], "broker"));
    head_row(printer, "fleet", fleet[0], fleet[1]);
    head_row(printer, "seed", side[0].seed, side[1].seed);
    head_row(printer, "version", version[0], version[1]);
    head_row(printer, "started", diff_text(root[0], "started"), diff_text(root[1], "started"));
    head_row(printer, "verdict", diff_text(root[0], "verdict"), diff_text(root[1], "verdict"));
    head_row(printer, "digest", diff_text(root[0], "digest"), diff_text(root[1], "digest"));
    for (uint32_t i = 0; i < printer->diff->setting_count; i++) {
        const struct diff_setting *setting = &printer->diff->settings[i];
        head_row(printer, setting->name, setting->text[0], setting->text[1]);
    }
    for (uint32_t i = 0; i < printer->diff->note_count; i++) {
        fputs("  note: ", printer->stream);
        print_column(printer, printer->diff->notes[i], 0);
        fputc('\n', printer->stream);
    }
}

/* ---- expectations ---------------------------------------------------------------------------------------------------------- */

static const char *verdict_text(const cJSON *expectation)
{
    return expectation ? diff_text(expectation, "verdict") : "not there";
}

static void print_expectation(const struct printer *printer, const struct diff_expectation *one)
{
    char verdict[64], measured[160], percent[32];
    paint(printer, one->worse ? RED : one->better ? GREEN : "");
    fputs(one->worse ? "  ✗ " : one->better ? "  ✓ " : one->changed ? "  ~ " : "    ", printer->stream);
    print_column(printer, one->id, 24);
    paint(printer, "\033[0m");
    if (one->changed)
        snprintf(verdict, sizeof(verdict), "%s → %s", verdict_text(one->side[0]), verdict_text(one->side[1]));
    else
        snprintf(verdict, sizeof(verdict), "%s", verdict_text(one->side[0]));
    snprintf(measured, sizeof(measured), "%s → %s", one->row.text[0], one->row.text[1]);
    diff_percent_text(&one->row, percent, sizeof(percent));
    fputc(' ', printer->stream);
    print_column(printer, verdict, one->changed ? 24 : 13);
    fputc(' ', printer->stream);
    print_column(printer, measured, 40);
    fputc(' ', printer->stream);
    print_column(printer, percent, 9);
    print_trend(printer, one->row.trend);
    print_bounds(printer, &one->row);
    fputc('\n', printer->stream);
}

static void print_expectations(const struct printer *printer)
{
    const struct report_diff *diff = printer->diff;
    char title[96];
    snprintf(title, sizeof(title), "Expectations: %u of %u verdicts changed, %u for the worse", diff->changed_count,
             diff->expectation_count, diff->worse_count);
    print_title(printer, title);
    for (uint32_t i = 0; i < diff->expectation_count; i++)
        print_expectation(printer, &diff->expectations[i]);
}

/* ---- numbers --------------------------------------------------------------------------------------------------------------- */

static void print_row(const struct printer *printer, const struct diff_row *row, bool with_part)
{
    char percent[32], name[96];
    diff_percent_text(row, percent, sizeof(percent));
    bool path = with_part && row->part[0] && strcmp(row->part, "any") != 0;
    snprintf(name, sizeof(name), "%s%s%s%s", row->name, path ? ", " : "", path ? row->part : "", "");
    fputs(row->beyond ? "  ✗ " : "    ", printer->stream);
    print_column(printer, name, 34);
    fputc(' ', printer->stream);
    print_column(printer, with_part ? row->statistic : "", with_part ? 4 : 0);
    print_column(printer, row->text[0], 14);
    fputs(" → ", printer->stream);
    print_column(printer, row->text[1], 14);
    fputc(' ', printer->stream);
    print_column(printer, percent, 9);
    print_trend(printer, row->trend);
    print_bounds(printer, row);
    fputc('\n', printer->stream);
}

static void print_rows(const struct printer *printer, const char *title, const struct diff_rows *rows, bool all,
                       bool with_part)
{
    uint32_t rest = 0, shown = 0;
    for (uint32_t i = 0; i < rows->count; i++) {
        const struct diff_row *row = &rows->row[i];
        if (!all && !row->listed) {
            rest += row->percent != 0;
            continue;
        }
        if (!shown++)
            print_title(printer, title);
        print_row(printer, row, with_part);
    }
    if (!shown && rows->count)
        print_title(printer, title);
    if (!all && rows->count && (rest || !shown)) {
        paint(printer, DIM);
        fprintf(printer->stream, "    %s%u%s differ by %d %% or less\n", shown ? "" : "none by more; ", rest,
                shown ? " others" : "", REPORT_DIFF_LISTED_PERCENT);
        paint(printer, "\033[0m");
    }
}

static void print_answer(const struct printer *printer, bool good, const char *text)
{
    paint(printer, good ? GREEN : RED);
    fputs(good ? "  ✓ " : "  ✗ ", printer->stream);
    paint(printer, "\033[0m");
    fputs(text, printer->stream);
    fputc('\n', printer->stream);
}

static void print_ledger(const struct printer *printer, const char *title, const struct diff_rows *rows, int which)
{
    const struct report_diff *diff = printer->diff;
    const bool *accounted = diff->accounted[which];
    uint32_t same = 0;
    if (!rows->count)
        return;
    print_title(printer, title);
    fprintf(printer->stream, "    %s as many intended; %s\n", diff->intended_equal[which] ? "just" : "not",
            accounted[0] && accounted[1] ? "all accounted for in both"
            : accounted[0]               ? "not all accounted for in B"
            : accounted[1]               ? "not all accounted for in A"
                                         : "not all accounted for in either");
    for (uint32_t i = 0; i < rows->count; i++) {
        if (rows->row[i].listed)
            print_row(printer, &rows->row[i], false);
        same += !rows->row[i].listed;
    }
    if (same == rows->count)
        fputs("    the same, line for line\n", printer->stream);
}

/* ---- the end ---------------------------------------------------------------------------------------------------------------- */

static void print_worlds(const struct printer *printer)
{
    const struct report_diff *diff = printer->diff;
    char title[96], text[320];
    if (!diff->across)
        return;
    snprintf(title, sizeof(title), "%.20s world against %.20s world", diff_text(diff->side[0].root, "world"),
             diff_text(diff->side[1].root, "world"));
    print_title(printer, title);
    for (uint32_t i = 0; i < diff->agreement_count; i++) {
        snprintf(text, sizeof(text), "%-28s %s", diff->agreements[i].what, diff->agreements[i].text);
        print_answer(printer, diff->agreements[i].holds, text);
    }
}

static void print_conclusion(const struct printer *printer)
{
    const struct report_diff *diff = printer->diff;
    char text[160];
    if (diff->options.tolerance_percent < 0)
        return;
    bool exceeds = report_diff_exceeds(diff);
    snprintf(text, sizeof(text), "%s a tolerance of %g %% for medians of command and reconnect times, and for verdicts",
             exceeds ? "beyond" : "within", diff->options.tolerance_percent);
    fputc('\n', printer->stream);
    print_answer(printer, !exceeds, text);
}

void report_diff_print(const struct report_diff *diff, bool colour, void *stream)
{
    struct printer printer = {diff, stream, colour};
    print_head(&printer);
    print_expectations(&printer);
    print_worlds(&printer);
    print_rows(&printer, "Medians of command round trips and reconnects", &diff->medians, true, true);
    print_rows(&printer, "Storm", &diff->storm, true, false);
    print_rows(&printer, "Metrics that differ", &diff->metrics, false, true);
    print_rows(&printer, "Counters that differ", &diff->counters, false, false);
    print_ledger(&printer, "Messages", &diff->ledger, 0);
    print_ledger(&printer, "Commands", &diff->commands, 1);
    print_rows(&printer, "Memory and time", &diff->resources, true, false);
    print_rows(&printer, "Memory by part", &diff->memory, false, false);
    print_conclusion(&printer);
}
