/* Remote commands in the reports: by path with the steps of each, who suffered, charge and money in their own units. */
#include "report_rig.h"

static char error[1200];

static char *write_html(struct rig *rig)
{
    char path[128];
    rig_path(rig, "report.html", path);
    assert_true(report_write_html(&rig->run, path, error, sizeof(error)));
    return rig_read(rig, "report.html");
}

static char *write_openmetrics(struct rig *rig)
{
    char path[128];
    rig_path(rig, "metrics.prom", path);
    assert_true(report_write_openmetrics(&rig->run, path, error, sizeof(error)));
    return rig_read(rig, "metrics.prom");
}

static void sample(struct rig *rig, enum metric metric, enum metric_path path, int64_t value)
{
    struct measure_dimension who = {0, 0, (uint8_t)path};
    measure_sample(rig->result.measure, metric, who, 9, 10 * US_PER_MIN, value);
}

/* 8 s, of which 2 to find the way, 4 to wake, 1 to connect, 1 to answer. */
static void one_by_sms(struct rig *rig)
{
    sample(rig, METRIC_COMMAND_ROUND_TRIP, PATH_TAP, 8 * US_PER_S);
    sample(rig, METRIC_COMMAND_SERVICE, PATH_TAP, 2 * US_PER_S);
    sample(rig, METRIC_COMMAND_WAKE, PATH_TAP, 4 * US_PER_S);
    sample(rig, METRIC_COMMAND_CONNECT, PATH_TAP, 1 * US_PER_S);
    sample(rig, METRIC_COMMAND_ANSWER, PATH_TAP, 1 * US_PER_S);
}

static void paths_show_where_the_time_went(void **state)
{
    struct rig *rig = *state;
    one_by_sms(rig);
    char *page = write_html(rig), *table = strstr(page, "commands-by-path");
    assert_non_null(table);
    char *row = strstr(table, "<th>woken by SMS</th>");
    assert_non_null(row);
    char *end = strstr(row, "</tr>");
    assert_non_null(end);
    *end = 0;
    assert_non_null(
        strstr(row, "<rect x=\"0.00\" width=\"25.00\" height=\"10\" class=\"s0\"><title>left the cloud: 25 %"));
    assert_non_null(
        strstr(row, "<rect x=\"25.00\" width=\"50.00\" height=\"10\" class=\"s1\"><title>SMS at the vehicle: 50 %"));
    assert_non_null(strstr(row, "<rect x=\"75.00\" width=\"12.50\" height=\"10\" class=\"s2\""));
    assert_null(strstr(row, "class=\"s3\"")); /* what its way does not have */
    assert_non_null(strstr(row, "<rect x=\"87.50\" width=\"12.50\" height=\"10\" class=\"s5\""));
    assert_non_null(strstr(row, ">8 s</td>"));
    *end = '<';
    assert_non_null(strstr(table, "<h3>woken by SMS</h3>"));
    assert_null(strstr(table, "through its shadow"));
    assert_null(strstr(page, "nan"));
    free(page);
}

static void without_commands_there_is_no_such_part(void **state)
{
    struct rig *rig = *state;
    struct measure_options options = *measure_get_options(rig->result.measure);
    measure_destroy(rig->result.measure);
    rig->result.measure = measure_create(&options);
    assert_non_null(rig->result.measure);
    char *page = write_html(rig);
    assert_null(strstr(page, "commands-by-path"));
    free(page);
}

static void victims_are_named(void **state)
{
    struct rig *rig = *state;
    measure_command_victim(rig->result.measure, COUNTER_SHADOW_DIVERGED, 5, 9 * US_PER_MIN);
    char *page = write_html(rig), *group = strstr(page, "Shadows out of step at the end");
    assert_non_null(group);
    assert_non_null(strstr(group, "suv-000005"));
    free(page);
}

static void charge_and_money_have_units_of_their_own(void **state)
{
    struct rig *rig = *state;
    char *text = write_openmetrics(rig);
    assert_null(strstr(text, "parking_ampere_hours"));
    free(text);
    sample(rig, METRIC_BATTERY_USED, PATH_ANY, 250000);
    sample(rig, METRIC_DATA_COST_DAY, PATH_ANY, 40000);
    text = write_openmetrics(rig);
    assert_non_null(strstr(text, "# UNIT convoy_parking_ampere_hours ampere_hours"));
    char *charge = strstr(text, "convoy_parking_ampere_hours_sum{"), *money = strstr(text, "convoy_cost_day_sum{");
    assert_non_null(charge);
    assert_non_null(money);
    assert_float_equal(strtod(strstr(charge, "} ") + 2, NULL), 0.25, 1e-9);
    assert_float_equal(strtod(strstr(money, "} ") + 2, NULL), 0.04, 1e-9);
    for (char *line = text; (line = strstr(line, "duration_seconds{")); line++) {
        assert_true(strncmp(strstr(line, "metric="), "metric=\"battery.used\"", 21) != 0);
        assert_true(strncmp(strstr(line, "metric="), "metric=\"data.cost_day\"", 22) != 0);
    }
    free(text);
}

static void every_new_name_is_for_people(void **state)
{
    struct rig *rig = *state;
    for (int metric = METRIC_COMMAND_SERVICE; metric < METRIC_COUNT; metric++)
        sample(rig, metric, PATH_SHADOW, 1000000);
    char *page = write_html(rig);
    assert_non_null(strstr(page, "<th>serving commands in the new region"));
    assert_non_null(strstr(page, "<th>charge used a parking"));
    assert_non_null(strstr(page, "<th>cost of data a day"));
    assert_non_null(strstr(page, "<th>SMS delivered"));
    free(page);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)
    const struct CMUnitTest tests[] = {
        TEST(paths_show_where_the_time_went),
        TEST(without_commands_there_is_no_such_part),
        TEST(victims_are_named),
        TEST(charge_and_money_have_units_of_their_own),
        TEST(every_new_name_is_for_people),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
