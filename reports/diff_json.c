/* diff_json.c: the comparison for programs: all of it, whether listed on the terminal or not. What is no number is null. */
#include "diff.h"

#include <math.h>

static void add_number(cJSON *object, const char *name, double value)
{
    cJSON_AddItemToObject(object, name, isfinite(value) ? cJSON_CreateNumber(value) : cJSON_CreateNull());
}

static void add_text(cJSON *object, const char *name, const char *text)
{
    char clean[2200];
    utf8_clean(text, clean, sizeof(clean));
    cJSON_AddStringToObject(object, name, clean);
}

static cJSON *add_object(cJSON *array)
{
    cJSON *one = cJSON_CreateObject();
    cJSON_AddItemToArray(array, one);
    return one;
}

static void add_side(cJSON *root, const char *name, const struct diff_side *side)
{
    static const char *const texts[] = {"verdict", "world", "broker", "started", "digest"};
    const cJSON *scenario = diff_get(side->root, "scenario"), *versions = diff_get(side->root, "versions");
    cJSON *object = cJSON_AddObjectToObject(root, name);
    add_text(object, "directory", side->directory);
    add_text(object, "scenario", diff_text(scenario, "name"));
    add_text(object, "hash", diff_text(scenario, "hash"));
    add_text(object, "seed", side->seed); /* a text, as in run.sqlite: it may be above what a double holds */
    add_number(object, "fleet", diff_number(side->root, "fleet"));
    add_text(object, "version", diff_text(versions, "convoy"));
    add_text(object, "commit", diff_text(versions, "commit"));
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        add_text(object, texts[i], diff_text(side->root, texts[i]));
    cJSON_AddBoolToObject(object, "distributions", side->database != NULL);
}

static void add_figures(cJSON *object, const struct diff_row *row)
{
    add_number(object, "a", row->value[0]);
    add_number(object, "b", row->value[1]);
    add_number(object, "percent", row->percent);
    add_text(object, "trend", diff_trend_name(row->trend));
    if (!row->bounded)
        return;
    static const char *const names[2] = {"bounds_a", "bounds_b"};
    for (int i = 0; i < 2; i++) {
        cJSON *pair = cJSON_AddArrayToObject(object, names[i]);
        cJSON_AddItemToArray(pair, isfinite(row->low[i]) ? cJSON_CreateNumber(row->low[i]) : cJSON_CreateNull());
        cJSON_AddItemToArray(pair, isfinite(row->high[i]) ? cJSON_CreateNumber(row->high[i]) : cJSON_CreateNull());
    }
    cJSON_AddBoolToObject(object, "bounds_overlap", row->overlap);
}

static void add_rows(cJSON *root, const char *name, const struct diff_rows *rows, bool of_metrics)
{
    cJSON *array = cJSON_AddArrayToObject(root, name);
    for (uint32_t i = 0; i < rows->count; i++) {
        const struct diff_row *row = &rows->row[i];
        cJSON *one = add_object(array);
        add_text(one, "name",
                 of_metrics || strcmp(row->statistic, "total") == 0 || strcmp(row->statistic, "bytes") == 0
                     ? row->name
                     : row->statistic);
        if (of_metrics) {
            add_text(one, "path", row->part);
            add_text(one, "statistic", row->statistic);
        }
        add_figures(one, row);
        cJSON_AddBoolToObject(one, "listed", row->listed);
    }
}

static void add_verdict(cJSON *object, const char *name, const cJSON *expectation)
{
    if (expectation)
        add_text(object, name, diff_text(expectation, "verdict"));
    else
        cJSON_AddNullToObject(object, name);
}

static void add_expectations(cJSON *root, const struct report_diff *diff)
{
    cJSON *array = cJSON_AddArrayToObject(root, "expectations");
    for (uint32_t i = 0; i < diff->expectation_count; i++) {
        const struct diff_expectation *expectation = &diff->expectations[i];
        cJSON *one = add_object(array);
        add_text(one, "id", expectation->id);
        add_verdict(one, "verdict_a", expectation->side[0]);
        add_verdict(one, "verdict_b", expectation->side[1]);
        cJSON_AddBoolToObject(one, "changed", expectation->changed);
        cJSON_AddBoolToObject(one, "worse", expectation->worse);
        add_figures(one, &expectation->row);
    }
}

static void add_settings(cJSON *root, const struct report_diff *diff)
{
    cJSON *array = cJSON_AddArrayToObject(root, "parameters");
    for (uint32_t i = 0; i < diff->setting_count; i++) {
        cJSON *one = add_object(array);
        add_text(one, "name", diff->settings[i].name);
        add_text(one, "a", diff->settings[i].text[0]);
        add_text(one, "b", diff->settings[i].text[1]);
        cJSON_AddBoolToObject(one, "fault", diff->settings[i].fault);
    }
}

static void add_accounts(cJSON *root, const struct report_diff *diff)
{
    static const char *const names[2] = {"messages", "commands"};
    cJSON *object = cJSON_AddObjectToObject(root, "accounts");
    for (int which = 0; which < 2; which++) {
        cJSON *one = cJSON_AddObjectToObject(object, names[which]);
        cJSON_AddBoolToObject(one, "intended_equal", diff->intended_equal[which]);
        cJSON_AddBoolToObject(one, "accounted_a", diff->accounted[which][0]);
        cJSON_AddBoolToObject(one, "accounted_b", diff->accounted[which][1]);
    }
}

static void add_worlds(cJSON *root, const struct report_diff *diff)
{
    if (!diff->across) {
        cJSON_AddNullToObject(root, "worlds");
        return;
    }
    cJSON *array = cJSON_AddArrayToObject(root, "worlds");
    for (uint32_t i = 0; i < diff->agreement_count; i++) {
        cJSON *one = add_object(array);
        add_text(one, "what", diff->agreements[i].what);
        add_text(one, "text", diff->agreements[i].text);
        cJSON_AddBoolToObject(one, "holds", diff->agreements[i].holds);
    }
}

bool report_diff_write_json(const struct report_diff *diff, const char *path, char *error, size_t error_capacity)
{
    cJSON *root = cJSON_CreateObject();
    add_side(root, "a", &diff->side[0]);
    add_side(root, "b", &diff->side[1]);
    add_number(root, "tolerance_percent", diff->options.tolerance_percent >= 0 ? diff->options.tolerance_percent : NAN);
    cJSON_AddBoolToObject(root, "exceeds", report_diff_exceeds(diff));
    add_settings(root, diff);
    add_expectations(root, diff);
    add_worlds(root, diff);
    add_rows(root, "medians", &diff->medians, true);
    add_rows(root, "metrics", &diff->metrics, true);
    add_rows(root, "counters", &diff->counters, false);
    add_accounts(root, diff);
    add_rows(root, "ledger", &diff->ledger, false);
    add_rows(root, "commands", &diff->commands, false);
    add_rows(root, "storm", &diff->storm, false);
    add_rows(root, "resources", &diff->resources, false);
    add_rows(root, "memory", &diff->memory, false);
    cJSON *notes = cJSON_AddArrayToObject(root, "notes");
    for (uint32_t i = 0; i < diff->note_count; i++)
        cJSON_AddItemToArray(notes, cJSON_CreateString(diff->notes[i]));
    return page_write_json(root, path, error, error_capacity);
}
