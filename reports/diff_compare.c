/* diff_compare.c: the numbers of two runs beside each other. */
#include "diff.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define FEW 30 /* a path's median of fewer samples is shown, and held to nothing */

void diff_note(struct report_diff *diff, const char *format, ...)
{
    va_list arguments;
    if (diff->note_count == sizeof(diff->notes) / sizeof(diff->notes[0]))
        return;
    va_start(arguments, format);
    vsnprintf(diff->notes[diff->note_count++], sizeof(diff->notes[0]), format, arguments);
    va_end(arguments);
}

double diff_tolerance(const struct report_diff *diff)
{
    return diff->options.tolerance_percent >= 0 ? diff->options.tolerance_percent : REPORT_DIFF_LISTED_PERCENT;
}

const char *diff_trend_name(enum diff_trend trend)
{
    static const char *const names[] = {"same", "better", "worse", "differs"};
    return names[trend];
}

/* ---- rows ------------------------------------------------------------------------------------------------------------------ */

void diff_apart(struct diff_row *row)
{
    double before = row->value[0], after = row->value[1];
    bool both = isfinite(before) && isfinite(after);
    row->percent = both && before == after ? 0 : both && before != 0 ? (after - before) / fabs(before) * 100 : NAN;
    bool none = !isfinite(before) && !isfinite(after);
    row->listed = !none && !(fabs(row->percent) <= REPORT_DIFF_LISTED_PERCENT);
    row->trend = row->percent == 0 || none ? DIFF_SAME : DIFF_OTHER;
}

void diff_bound(struct diff_row *row, const struct histogram histograms[2], double quantile)
{
    for (int i = 0; i < 2; i++) {
        int64_t low, high;
        if (!histogram_quantile_bounds(&histograms[i], quantile, DIFF_CONFIDENCE, &low, &high))
            return;
        row->low[i] = (double)low;
        row->high[i] = (double)high;
    }
    row->bounded = true;
    row->overlap = row->low[0] <= row->high[1] && row->low[1] <= row->high[0];
}

void diff_percent_text(const struct diff_row *row, char *out, size_t capacity)
{
    if (isfinite(row->percent))
        snprintf(out, capacity,
                 row->percent == 0           ? "="
                 : fabs(row->percent) < 9.95 ? "%+.1f %%"
                                             : "%+.0f %%",
                 row->percent);
    else
        snprintf(out, capacity, "%s", !isfinite(row->value[1]) ? (isfinite(row->value[0]) ? "gone" : "") : "new");
}

static void value_text(double value, const char *unit, char *out, size_t capacity)
{
    if (!isfinite(value))
        snprintf(out, capacity, "–");
    else if (strcmp(unit, "us") == 0)
        measure_format_duration(value, out, capacity);
    else if (strcmp(unit, "s") == 0)
        measure_format_duration(value * 1e6, out, capacity);
    else if (strcmp(unit, "bytes") == 0)
        measure_format_bytes(value, out, capacity);
    else if (strcmp(unit, "uAh") == 0)
        measure_format_charge(value, out, capacity);
    else if (strcmp(unit, "millionths") == 0)
        measure_format_money(value, out, capacity);
    else
        measure_format_count(value, out, capacity);
}

struct diff_row *diff_add(struct report_diff *diff, struct diff_rows *rows, struct diff_row row, const char *unit)
{
    if (rows->count == rows->capacity) {
        uint32_t capacity = rows->capacity ? rows->capacity * 2 : 64;
        struct diff_row *more = realloc(rows->row, capacity * sizeof(*more));
        if (!more) {
            diff->out_of_memory = true;
            return NULL;
        }
        rows->row = more;
        rows->capacity = capacity;
    }
    diff_apart(&row);
    for (int i = 0; i < 2; i++)
        value_text(row.value[i], unit, row.text[i], sizeof(row.text[i]));
    rows->row[rows->count] = row;
    return &rows->row[rows->count++];
}

/* What the second object has, in its order; then what only the first has. */
static void each_name(const cJSON *before, const cJSON *after, void (*call)(void *context, const char *name),
                      void *context)
{
    const cJSON *item;
    cJSON_ArrayForEach(item, after)
    {
        if (item->string)
            call(context, item->string);
    }
    cJSON_ArrayForEach(item, before)
    {
        if (item->string && !diff_get(after, item->string))
            call(context, item->string);
    }
}

/* ---- metrics --------------------------------------------------------------------------------------------------------------- */

struct metric_walk {
    struct report_diff *diff;
    const char *metric, *path;
};

static const char *unit_of(const struct report_diff *diff, const char *metric)
{
    const char *unit = diff_text(diff_metric_part(&diff->side[1], metric, "any"), "unit");
    return unit[0] ? unit : diff_text(diff_metric_part(&diff->side[0], metric, "any"), "unit");
}

/* -1: less is better; 1: more is; 0: neither. */
static int wanted(const char *metric)
{
    int known = metric_find(metric);
    return known == METRIC_ROTATION_OVERLAP || known == METRIC_RECONNECT_INTERVAL ? 0 : known == METRIC_ALIAS_SAVED_DAY ? 1 : -1;
}

static void judge_quantile(struct diff_row *row, const struct histogram histograms[2], double quantile)
{
    diff_bound(row, histograms, quantile);
    if (!row->bounded)
        return;
    int way = wanted(row->name);
    row->trend = row->overlap                                   ? DIFF_SAME
                 : way == 0                                     ? DIFF_OTHER
                 : (row->value[1] > row->value[0]) == (way > 0) ? DIFF_BETTER
                                                                : DIFF_WORSE;
}

static void compare_part(struct report_diff *diff, const char *metric, const char *path)
{
    static const struct {
        const char *member;
        double quantile;
    } statistics[] = {{"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"max", 1}};
    struct histogram histograms[2];
    const cJSON *parts[2];
    bool bounds = true;
    for (int i = 0; i < 2; i++) {
        parts[i] = diff_metric_part(&diff->side[i], metric, path);
        bounds = bounds && diff_histogram(&diff->side[i], metric, path, false, &histograms[i]);
    }
    for (size_t s = 0; s < sizeof(statistics) / sizeof(statistics[0]); s++) {
        struct diff_row row = {.name = metric, .part = path, .statistic = statistics[s].member};
        for (int i = 0; i < 2; i++)
            row.value[i] = diff_number(parts[i], row.statistic);
        struct diff_row *added = diff_add(diff, &diff->metrics, row, unit_of(diff, metric));
        if (added && bounds && statistics[s].quantile < 1)
            judge_quantile(added, histograms, statistics[s].quantile);
    }
}

static void walk_path(void *context, const char *path)
{
    const struct metric_walk *walk = context;
    compare_part(walk->diff, walk->metric, path);
}

static void walk_metric(void *context, const char *metric)
{
    struct metric_walk walk = {.diff = context, .metric = metric};
    const cJSON *whole[2];
    for (int i = 0; i < 2; i++)
        whole[i] = diff_metric_part(&walk.diff->side[i], metric, "any");
    compare_part(walk.diff, metric, "any");
    each_name(diff_get(whole[0], "by_path"), diff_get(whole[1], "by_path"), walk_path, &walk);
}

/* Medians that decide whether the runs are alike: command round trips, whole and by path, and reconnects. */
static void pick_medians(struct report_diff *diff)
{
    for (uint32_t i = 0; i < diff->metrics.count; i++) {
        struct diff_row row = diff->metrics.row[i];
        bool command = strcmp(row.name, "command.round_trip") == 0;
        if (strcmp(row.statistic, "p50") != 0 || (!command && strcmp(row.name, "reconnect") != 0))
            continue;
        if (!command && strcmp(row.part, "any") != 0)
            continue;
        bool enough = strcmp(row.part, "any") == 0;
        double least = INFINITY;
        for (int side = 0; side < 2; side++) {
            double count = diff_number(diff_metric_part(&diff->side[side], row.name, row.part), "count");
            least = count < least ? count : least; /* a run without samples is not one with few */
        }
        row.beyond = (enough || least >= FEW) && !(fabs(row.percent) <= diff_tolerance(diff));
        struct diff_row *added = diff_add(diff, &diff->medians, row, unit_of(diff, row.name));
        if (added)
            *added = row;
    }
}

/* ---- counters, ledgers, resources --------------------------------------------------------------------------------------- */

/* What should not be: each one more is worse, however few. */
static bool is_unwelcome(const char *name)
{
    static const enum counter others[] = {COUNTER_ROTATIONS_FAILED, COUNTER_INTRUSIONS,     COUNTER_DATA_CROSSED,
                                          COUNTER_VINS_SEEN,        COUNTER_OFFLINE_AT_END, COUNTER_COMMANDS_TIMED_OUT,
                                          COUNTER_PROTOCOL_ERRORS};
    int counter = counter_find(name);
    bool unwelcome = counter >= 0 &&
                     (counter_is_flaw(counter) || (counter_has_victims(counter) && counter != COUNTER_COMMANDS_FORGED));
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        unwelcome = unwelcome || counter == (int)others[i];
    return unwelcome;
}

static void mark_unwelcome(struct diff_row *row)
{
    row->listed = row->trend != DIFF_SAME;
    if (row->listed)
        row->trend = row->value[1] > row->value[0] ? DIFF_WORSE : DIFF_BETTER;
}

static void walk_counter(void *context, const char *name)
{
    struct report_diff *diff = context;
    int counter = counter_find(name);
    bool bytes = counter >= 0 && counter_is_bytes(counter);
    struct diff_row row = {.name = name, .part = "", .statistic = "total"};
    for (int i = 0; i < 2; i++)
        row.value[i] = diff_number(diff_get(diff->side[i].root, "counters"), name);
    struct diff_row *added = diff_add(diff, &diff->counters, row, bytes ? "bytes" : "count");
    if (added && is_unwelcome(name) && isfinite(row.value[0]) && isfinite(row.value[1]))
        mark_unwelcome(added);
}

struct ledger_walk {
    struct report_diff *diff;
    struct diff_rows *rows;
    const char *ledger;
};

static void walk_ledger(void *context, const char *name)
{
    static const char *const unwelcome[] = {"lost", "duplicated", "dropped", "executed_twice", "timed_out", "unended"};
    const struct ledger_walk *walk = context;
    struct diff_row row = {.name = name, .part = walk->ledger, .statistic = "total"};
    for (int i = 0; i < 2; i++)
        row.value[i] = diff_number(diff_get(walk->diff->side[i].root, walk->ledger), name);
    struct diff_row *added = diff_add(walk->diff, walk->rows, row, "count");
    bool both = isfinite(row.value[0]) && isfinite(row.value[1]);
    for (size_t i = 0; i < sizeof(unwelcome) / sizeof(unwelcome[0]) && added && both; i++)
        if (strcmp(unwelcome[i], name) == 0)
            mark_unwelcome(added);
    if (added)
        added->listed = added->percent != 0 && (isfinite(row.value[0]) || isfinite(row.value[1]));
}

static void compare_ledger(struct report_diff *diff, const char *ledger, struct diff_rows *rows, int which)
{
    struct ledger_walk walk = {diff, rows, ledger};
    const cJSON *objects[2];
    for (int i = 0; i < 2; i++) {
        objects[i] = diff_get(diff->side[i].root, ledger);
        double unended = diff_number(objects[i], "unended");
        diff->accounted[which][i] = diff_number(objects[i], "lost") == 0 && !(unended > 0);
    }
    diff->intended_equal[which] = diff_number(objects[0], "intended") == diff_number(objects[1], "intended");
    each_name(objects[0], objects[1], walk_ledger, &walk);
}

static void compare_resources(struct report_diff *diff)
{
    static const struct {
        const char *name, *unit, *title;
    } resources[] = {{"peak_rss_bytes", "bytes", "memory, at most"},
                     {"bytes_per_vehicle", "bytes", "memory a vehicle"},
                     {"wall_s", "s", "wall time"},
                     {"cpu_s", "s", "processor time"},
                     {"simulated_s", "s", "scenario time"},
                     {"events", "count", "events"},
                     {"packets", "count", "MQTT packets"},
                     {"wire_bytes", "bytes", "on the wire"}};
    for (size_t r = 0; r < sizeof(resources) / sizeof(resources[0]); r++) {
        struct diff_row row = {.name = resources[r].title, .part = "", .statistic = resources[r].name};
        for (int i = 0; i < 2; i++)
            row.value[i] = diff_number(diff->side[i].root, resources[r].name);
        if (isfinite(row.value[0]) || isfinite(row.value[1]))
            diff_add(diff, &diff->resources, row, resources[r].unit);
    }
}

static const cJSON *find_named(const cJSON *array, const char *member, const char *name)
{
    const cJSON *one;
    cJSON_ArrayForEach(one, array)
    {
        if (strcmp(diff_text(one, member), name) == 0)
            return one;
    }
    return NULL;
}

static void compare_memory(struct report_diff *diff)
{
    const cJSON *lists[2], *one;
    for (int i = 0; i < 2; i++)
        lists[i] = diff_get(diff->side[i].root, "memory");
    for (int i = 1; i >= 0; i--)
        cJSON_ArrayForEach(one, lists[i])
        {
            const char *name = diff_text(one, "part");
            if (i == 0 && find_named(lists[1], "part", name))
                continue;
            struct diff_row row = {.name = name, .part = "", .statistic = "bytes"};
            for (int side = 0; side < 2; side++)
                row.value[side] = diff_number(find_named(lists[side], "part", name), "bytes");
            diff_add(diff, &diff->memory, row, "bytes");
        }
}

/* ---- parameters ------------------------------------------------------------------------------------------------------------ */

static void setting_text(const cJSON *parameter, char *out, size_t capacity)
{
    const cJSON *value = diff_get(parameter, "value");
    if (cJSON_IsString(value))
        utf8_clean(value->valuestring, out, capacity);
    else if (cJSON_IsBool(value))
        snprintf(out, capacity, "%s", cJSON_IsTrue(value) ? "true" : "false");
    else if (cJSON_IsNumber(value))
        snprintf(out, capacity, "%.12g", value->valuedouble);
    else
        snprintf(out, capacity, "%s", parameter ? "nothing" : "not there");
}

static void compare_setting(struct report_diff *diff, const cJSON *before, const cJSON *after)
{
    struct diff_setting *setting = &diff->settings[diff->setting_count];
    const cJSON *shown = after ? after : before;
    setting_text(before, setting->text[0], sizeof(setting->text[0]));
    setting_text(after, setting->text[1], sizeof(setting->text[1]));
    setting->name = diff_text(shown, "name");
    setting->fault = diff_true(shown, "fault");
    diff->setting_count +=
        !before || !after || !cJSON_Compare(diff_get(before, "value"), diff_get(after, "value"), true);
}

static void compare_settings(struct report_diff *diff)
{
    const cJSON *lists[2], *one;
    for (int i = 0; i < 2; i++)
        lists[i] = diff_get(diff_get(diff->side[i].root, "scenario"), "parameters");
    diff->settings = calloc((size_t)cJSON_GetArraySize(lists[0]) + (size_t)cJSON_GetArraySize(lists[1]) + 1,
                            sizeof(*diff->settings));
    if (!diff->settings) {
        diff->out_of_memory = true;
        return;
    }
    cJSON_ArrayForEach(one, lists[1]) compare_setting(diff, find_named(lists[0], "name", diff_text(one, "name")), one);
    cJSON_ArrayForEach(one, lists[0])
    {
        if (!find_named(lists[1], "name", diff_text(one, "name")))
            compare_setting(diff, one, NULL);
    }
}

/* ---- across worlds ---------------------------------------------------------------------------------------------------------- */

__attribute__((format(printf, 4, 5))) static void agree(struct report_diff *diff, const char *what, bool holds,
                                                        const char *format, ...)
{
    struct diff_agreement *out = &diff->agreements[diff->agreement_count++];
    va_list arguments;
    out->what = what;
    out->holds = holds;
    va_start(arguments, format);
    vsnprintf(out->text, sizeof(out->text), format, arguments);
    va_end(arguments);
}

static void agree_median(struct report_diff *diff, const char *metric, const char *what)
{
    for (uint32_t i = 0; i < diff->medians.count; i++) {
        const struct diff_row *row = &diff->medians.row[i];
        char percent[32];
        if (strcmp(row->name, metric) != 0 || strcmp(row->part, "any") != 0)
            continue;
        diff_percent_text(row, percent, sizeof(percent));
        agree(diff, what, !row->beyond, "%s and %s, %s (at most %g %%)", row->text[0], row->text[1], percent,
              diff_tolerance(diff));
        return;
    }
}

static void compare_worlds(struct report_diff *diff)
{
    static const char *const ledgers[] = {"ledger", "commands"};
    diff->across = strcmp(diff_text(diff->side[0].root, "world"), diff_text(diff->side[1].root, "world")) != 0;
    if (!diff->across)
        return;
    agree_median(diff, "command.round_trip", "median of command round trips");
    agree_median(diff, "reconnect", "median of reconnects");
    for (int which = 0; which < 2; which++) {
        double lost[2], intended[2];
        for (int i = 0; i < 2; i++) {
            lost[i] = diff_number(diff_get(diff->side[i].root, ledgers[which]), "lost");
            intended[i] = diff_number(diff_get(diff->side[i].root, ledgers[which]), "intended");
        }
        agree(diff, which ? "commands intended" : "messages intended", diff->intended_equal[which], "%.0f and %.0f",
              intended[0], intended[1]);
        agree(diff, which ? "commands accounted for" : "messages accounted for",
              diff->accounted[which][0] && diff->accounted[which][1], "%.0f and %.0f lost", lost[0], lost[1]);
    }
}

/* ---- all of it -------------------------------------------------------------------------------------------------------------- */

static bool was_broken_off(const struct diff_side *side)
{
    const char *verdict = diff_text(side->root, "verdict");
    return strcmp(verdict, "interrupted") == 0 || strcmp(verdict, "error") == 0;
}

static void note_sides(struct report_diff *diff)
{
    for (int i = 0; i < 2; i++) {
        if (!diff->side[i].database)
            diff_note(diff, "%s: run.sqlite cannot be read, so there are no bounds and no distributions",
                      i ? "B" : "A");
        if (was_broken_off(&diff->side[i]))
            diff_note(diff, "%s did not come to its end (%s): its numbers are of a part", i ? "B" : "A",
                      diff_text(diff->side[i].root, "verdict"));
    }
    diff->run_worse = was_broken_off(&diff->side[1]) && !was_broken_off(&diff->side[0]);
}

/* A run's hash is of the file and of what was set: it says something of the file only where nothing else was set. */
static void note_files(struct report_diff *diff)
{
    const cJSON *scenarios[2] = {diff_get(diff->side[0].root, "scenario"), diff_get(diff->side[1].root, "scenario")};
    bool alike = diff->setting_count == 0 &&
                 diff_number(diff->side[0].root, "fleet") == diff_number(diff->side[1].root, "fleet") &&
                 diff_number(scenarios[0], "duration_s") == diff_number(scenarios[1], "duration_s");
    if (alike && strcmp(diff_text(scenarios[0], "hash"), diff_text(scenarios[1], "hash")) != 0)
        diff_note(diff, "the scenario file was changed between the runs");
}

static bool is_one_scenario(const struct report_diff *diff, char *error, size_t capacity)
{
    const char *names[2];
    for (int i = 0; i < 2; i++)
        names[i] = diff_text(diff_get(diff->side[i].root, "scenario"), "name");
    if (diff->options.any || strcmp(names[0], names[1]) == 0)
        return true;
    snprintf(error, capacity,
             "the runs are of different scenarios, %.100s and %.100s; --any compares them all the same", names[0],
             names[1]);
    return false;
}

static void compare(struct report_diff *diff)
{
    note_sides(diff);
    compare_settings(diff);
    note_files(diff);
    diff_compare_expectations(diff);
    each_name(diff_get(diff->side[0].root, "metrics"), diff_get(diff->side[1].root, "metrics"), walk_metric, diff);
    pick_medians(diff);
    each_name(diff_get(diff->side[0].root, "counters"), diff_get(diff->side[1].root, "counters"), walk_counter, diff);
    compare_ledger(diff, "ledger", &diff->ledger, 0);
    compare_ledger(diff, "commands", &diff->commands, 1);
    diff_compare_storms(diff);
    compare_resources(diff);
    compare_memory(diff);
    compare_worlds(diff);
}

struct report_diff *report_diff_open(const char *before, const char *after, const struct report_diff_options *options,
                                     enum report_diff_status *status, char *error, size_t error_capacity)
{
    struct report_diff *diff = calloc(1, sizeof(*diff));
    *status = REPORT_DIFF_UNREADABLE;
    snprintf(error, error_capacity, "out of memory");
    if (!diff)
        return NULL;
    diff->options = *options;
    bool good = diff_side_open(&diff->side[0], before, status, error, error_capacity) &&
                diff_side_open(&diff->side[1], after, status, error, error_capacity);
    if (good && !is_one_scenario(diff, error, error_capacity)) {
        *status = REPORT_DIFF_BAD_INPUT;
        good = false;
    }
    if (good)
        compare(diff);
    if (good && !diff->out_of_memory) {
        *status = REPORT_DIFF_OK;
        error[0] = 0;
        return diff;
    }
    report_diff_close(diff);
    for (char *at = error; *at; at++) /* names of files and scenarios do not steer a terminal */
        if ((unsigned char)*at < 0x20 || *at == 0x7F)
            *at = '?';
    return NULL;
}

void report_diff_close(struct report_diff *diff)
{
    if (!diff)
        return;
    struct diff_rows *const all[] = {&diff->storm,  &diff->medians,  &diff->metrics,   &diff->counters,
                                     &diff->ledger, &diff->commands, &diff->resources, &diff->memory};
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
        free(all[i]->row);
    free(diff->expectations);
    free(diff->settings);
    for (int i = 0; i < 2; i++)
        diff_side_close(&diff->side[i]);
    free(diff);
}

bool report_diff_exceeds(const struct report_diff *diff)
{
    bool exceeds = diff->worse_count > 0 || diff->run_worse;
    for (uint32_t i = 0; i < diff->medians.count; i++)
        exceeds = exceeds || diff->medians.row[i].beyond;
    return exceeds && diff->options.tolerance_percent >= 0;
}
