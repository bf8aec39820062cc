/* diff_expectations.c: whose verdict changed, and whether what was measured is better, worse or, as far as one can tell, the same. */
#include "diff.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

static const cJSON *find_expectation(const struct diff_side *side, const char *id)
{
    const cJSON *one;
    cJSON_ArrayForEach(one, diff_get(side->root, "expectations"))
    {
        if (strcmp(diff_text(one, "id"), id) == 0)
            return one;
    }
    return NULL;
}

/* -1: not judged. */
static int rank_of(const cJSON *expectation)
{
    const char *verdict = diff_text(expectation, "verdict");
    return strcmp(verdict, "pass") == 0           ? 0
           : strcmp(verdict, "inconclusive") == 0 ? 1
           : strcmp(verdict, "fail") == 0         ? 2
                                                  : -1;
}

/* ---- bounds ---------------------------------------------------------------------------------------------------------------- */

/* Bounds the run itself gave; null: there is none on that side. */
static bool take_bounds(const struct diff_expectation *expectation, struct diff_row *row)
{
    for (int i = 0; i < 2; i++) {
        const cJSON *one = expectation->side[i];
        if (!(diff_number(one, "confidence") > 0) || !isfinite(row->value[i]))
            return false;
        double low = diff_number(one, "low"), high = diff_number(one, "high");
        row->low[i] = isnan(low) ? -INFINITY : low;
        row->high[i] = isnan(high) ? INFINITY : high;
    }
    row->bounded = true;
    row->overlap = row->low[0] <= row->high[1] && row->low[1] <= row->high[0];
    return true;
}

/* Of a quantile of everybody: from the distributions. */
static void make_bounds(const struct report_diff *diff, const struct diff_expectation *expectation,
                        struct diff_row *row)
{
    struct histogram histograms[2];
    for (int i = 0; i < 2; i++) {
        const cJSON *one = expectation->side[i];
        bool quantile = strcmp(diff_text(one, "source"), "metric") == 0 && isfinite(diff_number(one, "quantile")) &&
                        cJSON_IsNull(diff_get(one, "cohort")) && cJSON_IsNull(diff_get(one, "region")) &&
                        diff_number(one, "quantile") == diff_number(expectation->side[0], "quantile");
        if (!quantile || !diff_histogram(&diff->side[i], diff_text(one, "what"), diff_text(one, "path"),
                                         diff_true(one, "excluded_phases_too"), &histograms[i]))
            return;
    }
    diff_bound(row, histograms, diff_number(expectation->side[0], "quantile"));
}

/* Of a share of many: Wilson's interval. */
static void bound_share(const struct diff_expectation *expectation, struct diff_row *row)
{
    const double z = 1.96; /* DIFF_CONFIDENCE */
    for (int i = 0; i < 2; i++) {
        double n = diff_number(expectation->side[i], "samples"), share = row->value[i];
        if (strcmp(diff_text(expectation->side[i], "statistic"), "share") != 0 || !(n > 0) || !(share >= 0) ||
            !(share <= 1))
            return;
        double middle = share + z * z / (2 * n), half = z * sqrt(share * (1 - share) / n + z * z / (4 * n * n));
        row->low[i] = fmax(0, (middle - half) / (1 + z * z / n));
        row->high[i] = fmin(1, (middle + half) / (1 + z * z / n));
    }
    row->bounded = true;
    row->overlap = row->low[0] <= row->high[1] && row->low[1] <= row->high[0];
}

/* ---- better or worse ------------------------------------------------------------------------------------------------------- */

static enum diff_trend direction(const struct diff_expectation *expectation, const struct diff_row *row)
{
    const char *comparison = diff_text(expectation->side[1], "comparison");
    double before = row->value[0], after = row->value[1];
    if (strcmp(comparison, "equal to") == 0) {
        double bound = diff_number(expectation->side[1], "bound");
        before = fabs(before - bound);
        after = fabs(after - bound);
    }
    if (before == after)
        return DIFF_SAME;
    bool small = strcmp(comparison, "above") != 0 && strcmp(comparison, "at least") != 0;
    return (after < before) == small ? DIFF_BETTER : DIFF_WORSE;
}

static void judge_measured(struct report_diff *diff, struct diff_expectation *expectation)
{
    struct diff_row *row = &expectation->row;
    bool exact = strcmp(diff_text(expectation->side[1], "comparison"), "equal to") == 0;
    row->trend = DIFF_OTHER;
    if (!expectation->side[0] || !expectation->side[1] || !isfinite(row->value[0]) || !isfinite(row->value[1]) ||
        strcmp(diff_text(expectation->side[0], "unit"), diff_text(expectation->side[1], "unit")) != 0)
        return;
    diff_apart(row);
    if (!take_bounds(expectation, row))
        make_bounds(diff, expectation, row);
    if (!row->bounded)
        bound_share(expectation, row);
    bool same = row->bounded ? row->overlap : !exact && !row->listed;
    row->trend = same ? DIFF_SAME : direction(expectation, row);
}

static void compare_one(struct report_diff *diff, const cJSON *before, const cJSON *after)
{
    struct diff_expectation *out = &diff->expectations[diff->expectation_count++];
    const cJSON *shown = after ? after : before;
    *out = (struct diff_expectation){
        .side = {before, after}, .id = diff_text(shown, "id"), .title = diff_text(shown, "text")};
    out->row =
        (struct diff_row){.name = out->id, .part = "", .statistic = diff_text(shown, "statistic"), .percent = NAN};
    for (int i = 0; i < 2; i++) {
        out->row.value[i] = diff_number(out->side[i], "measured");
        snprintf(out->row.text[i], sizeof(out->row.text[i]), "%s",
                 out->side[i] ? diff_text(out->side[i], "measured_text") : "not there");
    }
    out->changed = !before || !after || strcmp(diff_text(before, "verdict"), diff_text(after, "verdict")) != 0;
    int first = rank_of(before), second = rank_of(after);
    out->worse = first >= 0 && second > first;
    out->better = second >= 0 && first > second;
    diff->changed_count += out->changed;
    diff->worse_count += out->worse;
    judge_measured(diff, out);
}

static int weight(const struct diff_expectation *one)
{
    return one->worse ? 0 : one->changed && !one->better ? 1 : one->better ? 2 : 3;
}

/* Stable: what weighs the same stays in the scenario's order. */
static void sort(struct diff_expectation *list, uint32_t count)
{
    for (uint32_t i = 1; i < count; i++) {
        struct diff_expectation one = list[i];
        uint32_t at = i;
        for (; at > 0 && weight(&list[at - 1]) > weight(&one); at--)
            list[at] = list[at - 1];
        list[at] = one;
    }
}

void diff_compare_expectations(struct report_diff *diff)
{
    const cJSON *before = diff_get(diff->side[0].root, "expectations"),
                *after = diff_get(diff->side[1].root, "expectations"), *one;
    size_t most = (size_t)cJSON_GetArraySize(before) + (size_t)cJSON_GetArraySize(after);
    diff->expectations = calloc(most + 1, sizeof(*diff->expectations));
    if (!diff->expectations) {
        diff->out_of_memory = true;
        return;
    }
    cJSON_ArrayForEach(one, after) compare_one(diff, find_expectation(&diff->side[0], diff_text(one, "id")), one);
    cJSON_ArrayForEach(one, before)
    {
        if (!find_expectation(&diff->side[1], diff_text(one, "id")))
            compare_one(diff, one, NULL);
    }
    sort(diff->expectations, diff->expectation_count);
}
