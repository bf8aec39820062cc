/* Two runs beside each other: what is worse, better or the same; and documents that hold anything at all. */
#include "report/diff.h"
#include "report_rig.h"

#include <cjson/cJSON.h>

struct pair {
    struct rig *rig[2];
};

static char error[1200];

static void write_run(struct rig *rig)
{
    char path[128];
    rig_path(rig, "result.json", path);
    assert_true(report_write_json(&rig->run, path, error, sizeof(error)));
    rig_path(rig, "run.sqlite", path);
    assert_true(report_write_sqlite(&rig->run, path, error, sizeof(error)));
}

static void judge(struct rig *rig)
{
    for (uint32_t i = 0; i < RIG_EXPECTED; i++)
        expectation_judge(rig->result.measure, &rig->expectations[i], "registration", &rig->results[i]);
}

static int pair_setup(void **state)
{
    static struct pair pair;
    for (int i = 0; i < 2; i++)
        if (rig_setup((void **)&pair.rig[i]) != 0)
            return -1;
    *state = &pair;
    return 0;
}

static int pair_teardown(void **state)
{
    struct pair *pair = *state;
    int left = 0;
    for (int i = 0; i < 2; i++)
        left |= rig_teardown((void **)&pair->rig[i]);
    return left;
}

static struct report_diff *open_pair(const struct pair *pair, double tolerance)
{
    struct report_diff_options options = {.tolerance_percent = tolerance};
    enum report_diff_status status;
    struct report_diff *diff =
        report_diff_open(pair->rig[0]->directory, pair->rig[1]->directory, &options, &status, error, sizeof(error));
    if (!diff)
        print_error("%s\n", error);
    assert_non_null(diff);
    assert_int_equal(status, REPORT_DIFF_OK);
    return diff;
}

static cJSON *json_of(const struct pair *pair, const struct report_diff *diff)
{
    char path[128];
    rig_path(pair->rig[1], "file", path);
    assert_true(report_diff_write_json(diff, path, error, sizeof(error)));
    char *text = rig_read(pair->rig[1], "file");
    rig_check_utf8(text);
    cJSON *root = cJSON_ParseWithOpts(text, NULL, true);
    assert_non_null(root);
    free(text);
    return root;
}

static const cJSON *find(const cJSON *root, const char *list, const char *member, const char *name, const char *path,
                         const char *statistic)
{
    const cJSON *one;
    cJSON_ArrayForEach(one, cJSON_GetObjectItemCaseSensitive(root, list))
    {
        const cJSON *of = cJSON_GetObjectItemCaseSensitive(one, "path"),
                    *by = cJSON_GetObjectItemCaseSensitive(one, "statistic");
        if (strcmp(cJSON_GetObjectItemCaseSensitive(one, member)->valuestring, name) == 0 &&
            (!path || strcmp(of->valuestring, path) == 0) && (!statistic || strcmp(by->valuestring, statistic) == 0))
            return one;
    }
    fail_msg("no %s in %s", name, list);
    return NULL;
}

static const char *trend_of(const cJSON *row)
{
    return cJSON_GetObjectItemCaseSensitive(row, "trend")->valuestring;
}

static void a_run_is_like_itself(void **state)
{
    struct pair *pair = *state;
    write_run(pair->rig[0]);
    write_run(pair->rig[1]);
    struct report_diff *diff = open_pair(pair, 0);
    assert_false(report_diff_exceeds(diff));
    cJSON *root = json_of(pair, diff);
    const cJSON *one;
    cJSON_ArrayForEach(one, cJSON_GetObjectItemCaseSensitive(root, "metrics"))
    {
        assert_string_equal(trend_of(one), "same");
        assert_float_equal(cJSON_GetObjectItemCaseSensitive(one, "percent")->valuedouble, 0, 0);
    }
    assert_string_equal(
        cJSON_GetObjectItemCaseSensitive(cJSON_GetObjectItemCaseSensitive(root, "a"), "seed")->valuestring,
        "18446744073709551615");
    assert_true(cJSON_IsNull(cJSON_GetObjectItemCaseSensitive(root, "worlds")));
    cJSON_Delete(root);
    report_diff_close(diff);
}

/* 200 more connects at a sixth of the time, and commands that take three times as long. */
static void surely_apart_is_better_or_worse(void **state)
{
    struct pair *pair = *state;
    struct measure *measure = pair->rig[1]->result.measure;
    for (uint32_t vehicle = 0; vehicle < RIG_FLEET; vehicle++) {
        struct measure_dimension who = {0, 0, PATH_CONNECTED};
        for (int i = 0; i < 4; i++) {
            measure_sample(measure, METRIC_CONNECT_TOTAL, who, vehicle, 20 * US_PER_MIN, 50000);
            measure_sample(measure, METRIC_COMMAND_ROUND_TRIP, who, vehicle, 20 * US_PER_MIN, 4 * US_PER_S);
        }
    }
    judge(pair->rig[1]);
    write_run(pair->rig[0]);
    write_run(pair->rig[1]);
    struct report_diff *diff = open_pair(pair, 10);
    assert_true(report_diff_exceeds(diff));
    cJSON *root = json_of(pair, diff);
    assert_string_equal(trend_of(find(root, "metrics", "name", "connect.total", "any", "p50")), "better");
    assert_string_equal(trend_of(find(root, "metrics", "name", "command.round_trip", "connected", "p50")), "worse");
    assert_string_equal(trend_of(find(root, "metrics", "name", "command.round_trip", "queued", "p50")), "same");
    assert_string_equal(trend_of(find(root, "expectations", "id", "unlock \"<&>", NULL, NULL)), "worse");
    assert_string_equal(trend_of(find(root, "expectations", "id", "nothing-lost", NULL, NULL)), "same");
    const cJSON *row = find(root, "medians", "name", "command.round_trip", "any", "p50");
    assert_true(cJSON_GetObjectItemCaseSensitive(row, "percent")->valuedouble > 100);
    cJSON_Delete(root);
    report_diff_close(diff);
    diff = open_pair(pair, 1e6);
    assert_false(report_diff_exceeds(diff)); /* no verdict is worse: this one failed before */
    report_diff_close(diff);
}

static void a_verdict_that_got_worse_exceeds(void **state)
{
    struct pair *pair = *state;
    write_run(pair->rig[1]);
    pair->rig[0]->results[1].verdict = VERDICT_PASS; /* and fails in B */
    write_run(pair->rig[0]);
    struct report_diff *diff = open_pair(pair, 1e6), *quiet = open_pair(pair, -1);
    assert_true(report_diff_exceeds(diff));
    assert_false(report_diff_exceeds(quiet)); /* nobody asked */
    cJSON *root = json_of(pair, diff);
    const cJSON *first = cJSON_GetArrayItem(cJSON_GetObjectItemCaseSensitive(root, "expectations"), 0);
    assert_string_equal(cJSON_GetObjectItemCaseSensitive(first, "id")->valuestring, "unlock \"<&>");
    assert_true(cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(first, "worse")));
    cJSON_Delete(root);
    report_diff_close(diff);
    report_diff_close(quiet);
}

static void one_run_without_samples_exceeds(void **state)
{
    struct pair *pair = *state;
    measure_sample(pair->rig[0]->result.measure, METRIC_RECONNECT, (struct measure_dimension){0, 0, PATH_ANY}, 3,
                   20 * US_PER_MIN, US_PER_S);
    write_run(pair->rig[0]);
    write_run(pair->rig[1]);
    struct report_diff *diff = open_pair(pair, 1000);
    assert_true(report_diff_exceeds(diff));
    report_diff_close(diff);
}

static void worlds_are_held_to_each_other(void **state)
{
    struct pair *pair = *state;
    pair->rig[1]->options.kind = WORLD_LIVE;
    measure_ledger_intended(pair->rig[1]->result.measure, 3, 11);
    write_run(pair->rig[0]);
    write_run(pair->rig[1]);
    struct report_diff *diff = open_pair(pair, -1);
    cJSON *root = json_of(pair, diff);
    const char *const holds[] = {"median of command round trips", "commands intended"};
    const char *const holds_not[] = {"messages intended", "messages accounted for", "commands accounted for"};
    for (size_t i = 0; i < sizeof(holds) / sizeof(holds[0]); i++)
        assert_true(cJSON_IsTrue(
            cJSON_GetObjectItemCaseSensitive(find(root, "worlds", "what", holds[i], NULL, NULL), "holds")));
    for (size_t i = 0; i < sizeof(holds_not) / sizeof(holds_not[0]); i++)
        assert_true(cJSON_IsFalse(
            cJSON_GetObjectItemCaseSensitive(find(root, "worlds", "what", holds_not[i], NULL, NULL), "holds")));
    cJSON_Delete(root);
    report_diff_close(diff);
}

/* Names of files break neither page nor terminal. */
static void pages_and_terminals_are_not_steered(void **state)
{
    struct pair *pair = *state;
    char path[128];
    write_run(pair->rig[0]);
    pair->rig[1]->parameters[0].value = 300;
    snprintf(pair->rig[1]->parameters[2].value_text, sizeof(pair->rig[1]->parameters[2].value_text), "eu\x1b[2J<b>");
    write_run(pair->rig[1]);
    struct report_diff *diff = open_pair(pair, 5);
    rig_path(pair->rig[1], "file", path);
    assert_true(report_diff_write_html(diff, path, error, sizeof(error)));
    char *page = rig_read(pair->rig[1], "file");
    rig_check_utf8(page);
    assert_null(strstr(page, "<b>"));
    assert_null(strstr(page, "\x1b"));
    assert_null(strstr(page, "<script"));
    assert_non_null(strstr(page, "class=\"other\""));
    assert_null(strstr(strstr(page, "<body>"), "nan"));
    free(page);
    FILE *terminal = fopen(path, "w");
    assert_non_null(terminal);
    report_diff_print(diff, false, terminal);
    fclose(terminal);
    char *text = rig_read(pair->rig[1], "file");
    rig_check_utf8(text);
    assert_null(strstr(text, "\x1b"));
    assert_non_null(strstr(text, "within a tolerance of 5 %"));
    free(text);
    report_diff_close(diff);
}

/* Every member in turn is of another kind: an answer or a refusal, and nothing breaks. */
static void documents_may_hold_anything(void **state)
{
    static const char *const instead[] = {"null", "[1, [2], {\"id\": 3}]", "{\"a\": {\"by_path\": [1]}}", "\"text\"",
                                          "-1e300"};
    struct pair *pair = *state;
    char path[128];
    write_run(pair->rig[0]);
    write_run(pair->rig[1]);
    char *text = rig_read(pair->rig[1], "result.json");
    cJSON *whole = cJSON_Parse(text);
    assert_non_null(whole);
    uint32_t compared = 0, refused = 0;
    rig_path(pair->rig[1], "result.json", path);
    for (int member = 0; member < cJSON_GetArraySize(whole); member++)
        for (size_t i = 0; i < sizeof(instead) / sizeof(instead[0]); i++) {
            cJSON *changed = cJSON_Duplicate(whole, true);
            cJSON_ReplaceItemInObjectCaseSensitive(changed, cJSON_GetArrayItem(whole, member)->string,
                                                   cJSON_Parse(instead[i]));
            char *out = cJSON_PrintUnformatted(changed);
            FILE *file = fopen(path, "w");
            assert_true(file && fputs(out, file) >= 0 && fclose(file) == 0);
            cJSON_free(out);
            cJSON_Delete(changed);
            struct report_diff_options options = {.tolerance_percent = 10, .any = true};
            enum report_diff_status status;
            struct report_diff *diff = report_diff_open(pair->rig[0]->directory, pair->rig[1]->directory, &options,
                                                        &status, error, sizeof(error));
            if (diff) {
                cJSON_Delete(json_of(pair, diff));
                char page[128];
                rig_path(pair->rig[1], "file", page);
                assert_true(report_diff_write_html(diff, page, error, sizeof(error)));
                FILE *sink = fopen("/dev/null", "w");
                report_diff_print(diff, true, sink);
                fclose(sink);
                compared++;
            } else {
                assert_int_equal(status, REPORT_DIFF_BAD_INPUT);
                assert_true(error[0]);
                refused++;
            }
            report_diff_close(diff);
        }
    assert_true(compared > 50 && refused > 10);
    cJSON_Delete(whole);
    free(text);
}

static void other_scenarios_are_refused(void **state)
{
    struct pair *pair = *state;
    struct report_diff_options options = {.tolerance_percent = -1};
    enum report_diff_status status;
    write_run(pair->rig[0]);
    snprintf(pair->rig[1]->scenario.name, sizeof(pair->rig[1]->scenario.name), "oth\ner");
    write_run(pair->rig[1]);
    assert_null(
        report_diff_open(pair->rig[0]->directory, pair->rig[1]->directory, &options, &status, error, sizeof(error)));
    assert_int_equal(status, REPORT_DIFF_BAD_INPUT);
    assert_null(strchr(error, '\n'));
    options.any = true;
    struct report_diff *diff =
        report_diff_open(pair->rig[0]->directory, pair->rig[1]->directory, &options, &status, error, sizeof(error));
    assert_non_null(diff);
    report_diff_close(diff);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, pair_setup, pair_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_run_is_like_itself),
        TEST(surely_apart_is_better_or_worse),
        TEST(a_verdict_that_got_worse_exceeds),
        TEST(one_run_without_samples_exceeds),
        TEST(worlds_are_held_to_each_other),
        TEST(pages_and_terminals_are_not_steered),
        TEST(documents_may_hold_anything),
        TEST(other_scenarios_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
