/* What reports say of identities: a section with the steps, the counts and the flaws, only when something of it was used; victims with
 * their step in every file. */
#include "report_rig.h"

#include <cjson/cJSON.h>
#include <sqlite3.h>

static char error[1200];

static void use_identities(struct rig *rig)
{
    struct measure *measure = rig->result.measure;
    struct measure_dimension who = {0, 0, PATH_ANY};
    for (int step = METRIC_ROTATION_NOTICE; step <= METRIC_ROTATION_OVERLAP; step++)
        for (uint32_t i = 1; i <= 100; i++)
            measure_sample(measure, step, who, i, 10 * US_PER_MIN, i * US_PER_S);
    measure_sample(measure, METRIC_PROVISION_TOTAL, who, 1, 10 * US_PER_MIN, 4 * US_PER_S);
    measure_count(measure, COUNTER_ROTATIONS, who, 10 * US_PER_MIN, 112);
    measure_count(measure, COUNTER_ROTATIONS_SUCCEEDED, who, 11 * US_PER_MIN, 100);
    for (uint32_t i = 0; i < 12; i++)
        measure_identity_victim(measure, COUNTER_ROTATIONS_FAILED, who, 20 + i, 20 * US_PER_MIN,
                                i < 10 ? IDENTITY_STEP_CERTIFICATE : IDENTITY_STEP_SWITCH);
    rig->expectations[0] = (struct expectation){.id = "rotated",
                                                .text = "rotations failed",
                                                .line = 10,
                                                .source = EXPECT_COUNTER,
                                                .what = COUNTER_ROTATIONS_FAILED,
                                                .statistic = STATISTIC_TOTAL,
                                                .filter = MEASURE_EVERYBODY,
                                                .comparison = EQUALS};
    expectation_judge(measure, &rig->expectations[0], "", &rig->results[0]);
    assert_int_equal(rig->results[0].verdict, VERDICT_FAIL);
}

static char *write_file(struct rig *rig, bool (*write)(const struct report_run *, const char *, char *, size_t),
                        const char *name)
{
    char path[128];
    rig_path(rig, name, path);
    if (!write(&rig->run, path, error, sizeof(error)))
        fail_msg("%s", error);
    return rig_read(rig, name);
}

static void nothing_used_nothing_shown(void **state)
{
    struct rig *rig = *state;
    char *page = write_file(rig, report_write_html, "report.html");
    assert_null(strstr(page, "id=\"identities\""));
    assert_null(strstr(page, "href=\"#identities\""));
    free(page);
}

static void the_page_has_steps_and_counts(void **state)
{
    struct rig *rig = *state;
    use_identities(rig);
    char *page = write_file(rig, report_write_html, "report.html");
    assert_non_null(strstr(page, "href=\"#identities\""));
    char *section = strstr(page, "<section id=\"identities\">");
    assert_non_null(section);
    strstr(section, "</section>")[0] = 0;
    static const char *const rows[] = {
        "<tr><th>provisioned, in all</th><td class=\"n dim\">1</td><td class=\"n\">4 s</td>",
        "<tr><th>new certificate stored</th><td class=\"n dim\">100</td><td class=\"n\">50",
        "<td class=\"n\">1 min 40 s</td></tr>",
        "<tr><th>rotated, in all</th><td class=\"n dim\">100</td>",
        "<tr><th>both certificates valid</th>",
        "<tr><th>rotations decided</th><td class=\"n\">112</td>",
        "<tr><th>rotations failed</th><td class=\"n\">12</td><td class=\"dim\">10 waiting for the new certificate, 2 "
        "switching</td>"};
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        if (!strstr(section, rows[i]))
            fail_msg("the section has no %s: %s", rows[i], section);
    /* what did not happen is not listed, and without a lifecycle nothing was proved */
    assert_null(strstr(section, "TCUs swapped"));
    assert_null(strstr(section, "Nothing was wrong"));
    assert_null(strstr(section, "Wrong at the end"));
    free(page);
}

static void only_what_was_proved_is_told(void **state)
{
    struct rig *rig = *state;
    rig->scenario.cloud.lifecycle.on = true;
    char *page = write_file(rig, report_write_html, "report.html");
    assert_non_null(strstr(page, "Nothing was wrong with any identity"));
    free(page);
    snprintf(rig->result.unavailable, sizeof(rig->result.unavailable), "registration, lifecycle");
    page = write_file(rig, report_write_html, "report.html");
    assert_null(strstr(page, "Nothing was wrong"));
    free(page);
    snprintf(rig->result.unavailable, sizeof(rig->result.unavailable), "registration");
    rig->result.status = WORLD_INTERRUPTED;
    page = write_file(rig, report_write_html, "report.html");
    assert_null(strstr(page, "Nothing was wrong"));
    free(page);
    rig->result.status = WORLD_COMPLETED;
    struct measure_dimension who = {0, 0, PATH_ANY};
    measure_identity_victim(rig->result.measure, COUNTER_FLAW_SECOND_CERTIFICATE, who, 5, RIG_DURATION_US,
                            IDENTITY_STEP_DEACTIVATION);
    page = write_file(rig, report_write_html, "report.html");
    assert_null(strstr(page, "Nothing was wrong"));
    assert_non_null(strstr(page, "<tr><th>with a second certificate</th><td class=\"n\">1</td><td class=\"dim\">1 "
                                 "deactivating the old certificate</td>"));
    assert_non_null(strstr(page, "Identities: with a second certificate"));
    free(page);
}

static void programs_read_the_step(void **state)
{
    struct rig *rig = *state;
    use_identities(rig);
    char *text = write_file(rig, report_write_json, "result.json");
    cJSON *root = cJSON_Parse(text);
    const cJSON *failed = cJSON_GetArrayItem(cJSON_GetObjectItem(root, "expectations"), 0);
    assert_string_equal(cJSON_GetObjectItem(failed, "detail")->valuestring,
                        "12 vehicles: 10 waiting for the new certificate, 2 switching");
    const cJSON *last = cJSON_GetArrayItem(cJSON_GetObjectItem(failed, "vehicles"), 11);
    assert_string_equal(cJSON_GetObjectItem(last, "name")->valuestring, "suv-000031");
    assert_string_equal(cJSON_GetObjectItem(last, "step")->valuestring, "switching");
    assert_int_equal(cJSON_GetObjectItem(cJSON_GetObjectItem(root, "counters"), "rotations")->valueint, 112);
    cJSON_Delete(root);
    free(text);
    text = write_file(rig, report_write_openmetrics, "metrics.prom");
    assert_non_null(strstr(text, "counter=\"flaw.second_certificate\""));
    assert_non_null(strstr(text, "metric=\"rotation.total\""));
    free(text);
    text = write_file(rig, report_write_junit, "junit.xml");
    assert_non_null(strstr(text, "12 vehicles: 10 waiting for the new certificate, 2 switching\nvehicles concerned:\n"
                                 "suv-000020 waiting for the new certificate at "));
    free(text);
}

static void ask(sqlite3 *db, const char *sql, const char *want)
{
    sqlite3_stmt *statement;
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &statement, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    assert_string_equal((const char *)sqlite3_column_text(statement, 0), want);
    sqlite3_finalize(statement);
}

static void the_database_has_victims(void **state)
{
    struct rig *rig = *state;
    char path[128];
    sqlite3 *db;
    use_identities(rig);
    rig_path(rig, "run.sqlite", path);
    assert_true(report_write_sqlite(&rig->run, path, error, sizeof(error)));
    assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    ask(db, "SELECT count(*) || ' ' || sum(step = 'switching') FROM expectation_vehicle WHERE position = 0", "12 2");
    ask(db,
        "SELECT group_concat(step || ' ' || vehicles) FROM (SELECT * FROM identity_step JOIN counter ON counter.id = "
        "identity_step.counter WHERE counter.name = 'rotations_failed' ORDER BY vehicles DESC)",
        "waiting for the new certificate 10,switching 2");
    ask(db, "SELECT name || ' ' || step FROM identity_vehicle WHERE rank = 11", "suv-000031 switching");
    ask(db, "SELECT count(*) FROM identity_vehicle", "12");
    sqlite3_close(db);
}

static void the_terminal_names_the_step(void **state)
{
    struct rig *rig = *state;
    char path[128];
    use_identities(rig);
    rig_path(rig, "terminal.txt", path);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    report_print(&rig->run, "runs/x", false, file);
    fclose(file);
    char *text = rig_read(rig, "terminal.txt");
    assert_non_null(strstr(text, "  12 vehicles: 10 waiting for the new certificate, 2 switching\n"));
    assert_non_null(strstr(text, "worst: suv-000020 (waiting for the new certificate at "));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nothing_used_nothing_shown, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(the_page_has_steps_and_counts, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(only_what_was_proved_is_told, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(programs_read_the_step, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(the_database_has_victims, rig_setup, rig_teardown),
        cmocka_unit_test_setup_teardown(the_terminal_names_the_step, rig_setup, rig_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
