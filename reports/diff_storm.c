/* diff_storm.c: what a trouble did to both fleets: how deep it was, how they came back, and both over time, side by side on one scale.
 *
 * A storm is what follows the deepest fall of the connected vehicles after the warm-up. It is looked for in each run by itself.
 */
#include "diff.h"
#include "html.h"

#include <math.h>
#include <stdlib.h>

#define STORM_SHARE 0.5  /* of the fleet that was connected: a fall below it is a storm */
#define BACK_SHARE  0.99 /* so much of it is back: it is over */
#define BINS_MAX    200000

struct series { /* by bin of the run */
    double *value;
    uint32_t count;
    double bin_s;
};

/* Bins that are not kept are a counter's zeros, and a gauge's level of before. */
static bool read_series(const struct diff_side *side, const char *name, bool gauge, struct series *out)
{
    sqlite3_stmt *statement;
    double end_s = diff_number(side->root, "simulated_s");
    *out = (struct series){0};
    if (!side->database || !(end_s > 0) ||
        sqlite3_prepare_v2(side->database,
                           "SELECT at_s, value, bin_s FROM counter JOIN counter_series ON counter = id WHERE name = ? "
                           "ORDER BY at_s",
                           -1, &statement, NULL) != SQLITE_OK)
        return false;
    sqlite3_bind_text(statement, 1, name, -1, SQLITE_STATIC);
    bool good = true;
    uint32_t next = 0;
    double level = 0;
    while (good && sqlite3_step(statement) == SQLITE_ROW) {
        double bin_s = sqlite3_column_double(statement, 2), at = sqlite3_column_double(statement, 0) / bin_s;
        if (!out->value) {
            out->bin_s = bin_s;
            good = bin_s > 0 && end_s / bin_s < BINS_MAX;
            out->count = good ? (uint32_t)ceil(end_s / bin_s) : 0;
            out->value = good ? calloc(out->count + 1, sizeof *out->value) : NULL;
            good = out->value != NULL;
        }
        good = good && at >= next && isfinite(at);
        while (good && next < out->count && next < lround(at))
            out->value[next++] = gauge ? level : 0;
        level = sqlite3_column_double(statement, 1);
        if (good && next < out->count)
            out->value[next++] = level;
    }
    while (good && gauge && next < out->count)
        out->value[next++] = level;
    sqlite3_finalize(statement);
    if (good && out->value)
        return true;
    free(out->value);
    *out = (struct series){0};
    return false;
}

struct storm {
    double before, lowest; /* connected vehicles */
    double peak_per_s, back_s;
};

static bool find_storm(const struct diff_side *side, struct storm *out)
{
    struct series connected, connects;
    if (!read_series(side, "connected", true, &connected))
        return false;
    bool found = false;
    double warm_up_s = diff_number(diff_get(side->root, "scenario"), "warm_up_s");
    uint32_t first = warm_up_s > 0 ? (uint32_t)(warm_up_s / connected.bin_s) : 0, low = first;
    for (uint32_t i = first; i < connected.count; i++)
        low = connected.value[i] < connected.value[low] ? i : low;
    *out = (struct storm){.lowest = first < connected.count ? connected.value[low] : 0, .back_s = NAN};
    for (uint32_t i = first; i < low; i++)
        out->before = fmax(out->before, connected.value[i]);
    if (out->before > 0 && out->lowest < STORM_SHARE * out->before && read_series(side, "connects", false, &connects)) {
        uint32_t begun = low, back = low;
        while (begun > first && connected.value[begun - 1] < BACK_SHARE * out->before)
            begun--;
        while (back < connected.count && connected.value[back] < BACK_SHARE * out->before)
            back++;
        if (back < connected.count)
            out->back_s = (back - begun) * connected.bin_s;
        for (uint32_t i = begun; i < connects.count; i++)
            out->peak_per_s = fmax(out->peak_per_s, connects.value[i] / connects.bin_s);
        free(connects.value);
        found = true;
    }
    free(connected.value);
    return found;
}

void diff_compare_storms(struct report_diff *diff)
{
    struct storm storm[2] = {{0}};
    bool found[2];
    for (int i = 0; i < 2; i++)
        if (!(found[i] = find_storm(&diff->side[i], &storm[i])))
            storm[i] = (struct storm){NAN, NAN, NAN, NAN};
    if (!found[0] && !found[1])
        return;
    const struct {
        const char *title, *unit;
        double value[2];
    } rows[] = {{"connected before", "count", {storm[0].before, storm[1].before}},
                {"connected, at least", "count", {storm[0].lowest, storm[1].lowest}},
                {"connects a second, at most", "count", {storm[0].peak_per_s, storm[1].peak_per_s}},
                {"until 99 % are connected again", "s", {storm[0].back_s, storm[1].back_s}}};
    for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++) {
        struct diff_row row = {.name = rows[r].title, .part = "", .statistic = rows[r].title};
        row.value[0] = rows[r].value[0];
        row.value[1] = rows[r].value[1];
        diff_add(diff, &diff->storm, row, rows[r].unit);
    }
}

/* ---- over time -------------------------------------------------------------------------------------------------------------- */

static bool read_curve(const struct diff_side *side, const char *name, bool gauge, struct curve *out)
{
    struct series series;
    *out = (struct curve){0};
    if (!read_series(side, name, gauge, &series))
        return false;
    double scale = gauge ? 1 : 1 / series.bin_s;
    uint32_t points = series.count < CURVE_POINTS ? series.count : CURVE_POINTS;
    for (uint32_t p = 0; p < points; p++) {
        uint32_t from = (uint32_t)((uint64_t)series.count * p / points),
                 to = (uint32_t)((uint64_t)series.count * (p + 1) / points);
        double low = series.value[from], high = low, sum = 0;
        for (uint32_t i = from; i < to; i++) {
            low = fmin(low, series.value[i]);
            high = fmax(high, series.value[i]);
            sum += series.value[i];
        }
        out->at_s[p] = from * series.bin_s;
        out->low[p] = low * scale;
        out->mean[p] = sum / (to - from) * scale;
        out->high[p] = high * scale;
        out->largest = fmax(out->largest, high * scale);
    }
    out->count = points;
    out->thinned = series.count > CURVE_POINTS;
    out->stretch_s = points ? series.count * series.bin_s / points : series.bin_s;
    free(series.value);
    return true;
}

/* What a chart asks of a run: its calendar. */
static void read_calendar(const struct diff_side *side, struct scenario *scenario)
{
    const cJSON *written = diff_get(side->root, "scenario");
    double start_s = diff_number(written, "start_epoch_s"), duration_s = diff_number(written, "duration_s"),
           warm_up_s = diff_number(written, "warm_up_s");
    memset(scenario, 0, sizeof *scenario);
    if (start_s >= 0 && start_s < 1e11)
        scenario->start_of_day_us = (int64_t)fmod(start_s, 86400) * US_PER_S;
    if (duration_s > 0 && duration_s < 1e9)
        scenario->duration_us = (int64_t)(duration_s * 1e6);
    if (warm_up_s > 0 && warm_up_s < 1e9)
        scenario->warm_up_us = (int64_t)(warm_up_s * 1e6);
}

static void write_pair(const struct report_diff *diff, struct page *page, const char *name, const char *title,
                       bool gauge, struct curve curves[2])
{
    static const char *const letters[] = {"A", "B"};
    bool there[2];
    for (int i = 0; i < 2; i++)
        there[i] = read_curve(&diff->side[i], name, gauge, &curves[i]);
    if (!there[0] && !there[1])
        return;
    double largest = fmax(curves[0].largest, curves[1].largest);
    page_add(page, "<div class=\"pair\">\n");
    for (int i = 0; i < 2; i++) {
        struct scenario scenario;
        struct world_result result = {0};
        struct report_run run = {.scenario = &scenario, .result = &result};
        const struct curve *const drawn[] = {&curves[i]};
        char label[96];
        snprintf(label, sizeof label, "%s, %s", title, letters[i]);
        read_calendar(&diff->side[i], &scenario);
        curves[i].largest = largest; /* one scale */
        page_format(
            page, "<figure class=\"day\"><figcaption>%s <span class=\"dim\">%s</span></figcaption><div class=\"plot\">",
            letters[i], title);
        if (there[i])
            svg_time_chart(&run, page,
                           &(struct time_chart){.curves = drawn,
                                                .curve_count = 1,
                                                .width = 520,
                                                .height = 190,
                                                .bound = NAN,
                                                .moment_us = -1,
                                                .label = label,
                                                .filled = gauge});
        page_add(page, "</div></figure>\n");
    }
    page_add(page, "</div>\n");
}

void diff_write_times(const struct report_diff *diff, struct page *page)
{
    struct curve *curves = calloc(2, sizeof *curves);
    if (!curves) {
        page->failed = true;
        return;
    }
    html_section(page, "times", "Over time", "Side by side, on one scale.");
    write_pair(diff, page, "connects", "connects a second", false, curves);
    write_pair(diff, page, "connected", "vehicles connected", true, curves);
    page_add(page, "</section>\n");
    free(curves);
}
