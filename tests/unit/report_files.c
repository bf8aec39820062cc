/* The files for programs: each is what it claims to be, holds the run, and is there whole or not at all. */
#include "report_rig.h"

#include <cjson/cJSON.h>
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <sqlite3.h>
#include <sys/resource.h>

static char error[1200];

/* ---- result.json -------------------------------------------------------------------------------------------------------- */

static cJSON *read_json(struct rig *rig)
{
    char path[128];
    rig_path(rig, "result.json", path);
    assert_true(report_write_json(&rig->run, path, error, sizeof(error)));
    char *text = rig_read(rig, "result.json");
    rig_check_utf8(text);
    cJSON *root = cJSON_ParseWithOpts(text, NULL, false);
    assert_non_null(root);
    free(text);
    return root;
}

static const cJSON *item(const cJSON *object, const char *name)
{
    const cJSON *found = cJSON_GetObjectItemCaseSensitive(object, name);
    if (!found)
        print_error("no member %s\n", name);
    assert_non_null(found);
    return found;
}

static void json_holds_the_run(void **state)
{
    static const char *const members[] = {
        "verdict",        "exit_code",         "seed",     "digest",      "fleet",   "wall_s",  "cpu_s",
        "peak_rss_bytes", "bytes_per_vehicle", "memory",   "simulated_s", "events",  "packets", "wire_bytes",
        "expectations",   "versions",          "scenario", "command",     "machine", "started", "world",
        "broker",         "cloud_profile",     "notes",    "unavailable", "lag",     "metrics", "counters",
        "ledger",         "commands"};
    cJSON *root = read_json(*state);
    for (size_t i = 0; i < sizeof(members) / sizeof(members[0]); i++)
        item(root, members[i]);
    assert_string_equal(item(root, "verdict")->valuestring, "fail");
    assert_string_equal(item(root, "started")->valuestring, "2026-03-04T07:00:00Z");
    assert_float_equal(item(root, "bytes_per_vehicle")->valuedouble, 640, 1e-9);
    assert_int_equal(strlen(item(root, "digest")->valuestring), 32);
    const cJSON *ledger = item(root, "ledger");
    assert_float_equal(item(ledger, "intended")->valuedouble, 2000, 1e-3);
    assert_float_equal(item(ledger, "lost")->valuedouble, 4, 1e-3);
    assert_float_equal(item(item(root, "counters"), "connects")->valuedouble, 200, 1e-3);
    assert_float_equal(item(item(root, "commands"), "delivered")->valuedouble, 199, 1e-3);
    const cJSON *metric = item(item(root, "metrics"), "command.round_trip");
    assert_float_equal(item(metric, "count")->valuedouble, 200, 1e-3);
    assert_float_equal(item(item(item(metric, "by_path"), "queued"), "count")->valuedouble, 50, 1e-3);
    assert_null(cJSON_GetObjectItemCaseSensitive(item(root, "metrics"), "provision.total"));
    cJSON_Delete(root);
}

static void json_keeps_every_digit(void **state)
{
    cJSON_Delete(read_json(*state));
    char *text = rig_read(*state, "result.json");
    assert_non_null(strstr(text, "18446744073709551615"));
    assert_non_null(strstr(text, "9007199254740993"));
    free(text);
}

static void json_expectations(void **state)
{
    cJSON *root = read_json(*state);
    const cJSON *expectations = item(root, "expectations");
    assert_int_equal(cJSON_GetArraySize(expectations), RIG_EXPECTED);
    const cJSON *lost = cJSON_GetArrayItem(expectations, 3);
    assert_string_equal(item(lost, "verdict")->valuestring, "fail");
    assert_float_equal(item(lost, "measured")->valuedouble, 4, 1e-3);
    assert_string_equal(item(lost, "comparison")->valuestring, "equal to");
    const cJSON *victim = cJSON_GetArrayItem(item(lost, "vehicles"), 0);
    assert_string_equal(item(victim, "name")->valuestring, "suv-000003");
    assert_true(cJSON_IsNull(item(victim, "at_s")));
    const cJSON *none = cJSON_GetArrayItem(expectations, 5);
    assert_string_equal(item(none, "verdict")->valuestring, "not available");
    assert_true(cJSON_IsNull(item(none, "measured")));
    cJSON_Delete(root);
}

static void json_has_no_infinity(void **state)
{
    struct rig *rig = *state;
    rig->results[1].high = INFINITY;
    rig->results[1].measured = NAN;
    cJSON *root = read_json(rig);
    const cJSON *expectation = cJSON_GetArrayItem(item(root, "expectations"), 1);
    assert_true(cJSON_IsNull(item(expectation, "high")));
    assert_true(cJSON_IsNull(item(expectation, "measured")));
    cJSON_Delete(root);
}

static void json_versions_are_asked_for(void **state)
{
    struct rig *rig = *state;
    struct report_version version[16];
    static const char *const wanted[] = {"convoy", "commit", "openssl", "paho",     "libev",  "cjson",
                                         "sqlite", "gsl",    "lua",     "libevent", "libcurl"};
    uint32_t count = report_versions(&rig->run, version);
    for (size_t w = 0; w < sizeof(wanted) / sizeof(wanted[0]); w++) {
        bool found = false;
        for (uint32_t i = 0; i < count; i++)
            found = found || (strcmp(version[i].name, wanted[w]) == 0 && version[i].value[0] &&
                              strcmp(version[i].value, "unknown") != 0);
        assert_true(found);
    }
    for (uint32_t i = 0; i < count; i++)
        if (strcmp(version[i].name, "sqlite") == 0)
            assert_string_equal(version[i].value, sqlite3_libversion());
}

/* ---- junit.xml: a reader that knows elements, attributes, text and the five entities ---------------------------------------- */

static const char *skip_name(const char *at)
{
    assert_true(isalpha((unsigned char)*at));
    while (isalnum((unsigned char)*at) || *at == '-' || *at == '_')
        at++;
    return at;
}

static const char *check_entity(const char *at)
{
    static const char *const entities[] = {"&amp;", "&lt;", "&gt;", "&quot;", "&#39;", "&#9;", "&#10;"};
    for (size_t i = 0; i < sizeof(entities) / sizeof(entities[0]); i++)
        if (strncmp(at, entities[i], strlen(entities[i])) == 0)
            return at + strlen(entities[i]);
    fail_msg("unknown entity at %.20s", at);
    return at;
}

static const char *check_attributes(const char *at)
{
    while (*at == ' ') {
        at = skip_name(at + 1);
        assert_true(at[0] == '=' && at[1] == '"');
        for (at += 2; *at != '"';) {
            assert_true((unsigned char)*at >= 0x20 && *at != '<');
            at = *at == '&' ? check_entity(at) : at + 1;
        }
        at++;
    }
    return at;
}

static uint32_t check_xml(const char *text, const char *counted)
{
    const char *open[16], *at = text;
    uint32_t depth = 0, count = 0, roots = 0;
    assert_int_equal(strncmp(at, "<?xml ", 6), 0);
    at = strstr(at, "?>") + 2;
    while (*at) {
        if (*at != '<') {
            assert_true((unsigned char)*at >= 0x20 || *at == '\n');
            assert_true(depth > 0 || *at == '\n');
            assert_int_not_equal(strncmp(at, "]]>", 3), 0);
            at = *at == '&' ? check_entity(at) : at + 1;
        } else if (at[1] == '/') {
            const char *end = skip_name(at + 2);
            assert_true(depth > 0 && *end == '>');
            assert_int_equal(strncmp(open[--depth], at + 2, (size_t)(end - at) - 2), 0);
            at = end + 1;
        } else {
            const char *name = at + 1, *end = skip_name(name);
            count += strncmp(name, counted, (size_t)(end - name)) == 0 && strlen(counted) == (size_t)(end - name);
            roots += depth == 0;
            at = check_attributes(end);
            if (at[0] == '/' && at[1] == '>') {
                at += 2;
            } else {
                assert_true(*at == '>' && depth < 16);
                open[depth++] = name;
                at++;
            }
        }
    }
    assert_int_equal(depth, 0);
    assert_int_equal(roots, 1);
    return count;
}

static void junit_is_well_formed(void **state)
{
    struct rig *rig = *state;
    char path[128];
    rig_path(rig, "junit.xml", path);
    assert_true(report_write_junit(&rig->run, path, error, sizeof(error)));
    char *text = rig_read(rig, "junit.xml");
    rig_check_utf8(text);
    assert_int_equal(check_xml(text, "testcase"), RIG_EXPECTED);
    assert_int_equal(check_xml(text, "skipped"), 1);
    assert_int_equal(check_xml(text, "failure"), 3);
    assert_non_null(strstr(text, "tests=\"6\" failures=\"3\" errors=\"0\" skipped=\"1\""));
    assert_non_null(strstr(text, "classname=\"convoy.rig &amp; &lt;co&gt;\""));
    assert_non_null(strstr(text, "type=\"inconclusive\""));
    assert_non_null(strstr(text, "suv-000003 1"));
    assert_non_null(strstr(text, "name=\"seed\" value=\"18446744073709551615\""));
    free(text);
}

/* ---- metrics.prom --------------------------------------------------------------------------------------------------------- */

static const char *check_label(const char *at)
{
    assert_true(islower((unsigned char)*at));
    while (islower((unsigned char)*at) || *at == '_')
        at++;
    assert_true(at[0] == '=' && at[1] == '"');
    for (at += 2; *at != '"'; at++) {
        assert_true((unsigned char)*at >= 0x20);
        if (*at == '\\')
            assert_non_null(strchr("\\\"n", *++at));
    }
    return at + 1;
}

static void check_sample(const char *line, const char *family)
{
    const char *at = line;
    char *end;
    assert_int_equal(strncmp(line, family, strlen(family)), 0);
    while (islower((unsigned char)*at) || *at == '_')
        at++;
    assert_int_equal(*at, '{');
    do
        at = check_label(at + 1);
    while (*at == ',');
    assert_true(at[0] == '}' && at[1] == ' ');
    strtod(at + 2, &end);
    assert_true(end > at + 2 && *end == 0);
}

static void openmetrics_reads(void **state)
{
    struct rig *rig = *state;
    char path[128], family[96] = "", *save = NULL;
    uint32_t samples = 0;
    rig->results[1].measured = INFINITY;
    rig_path(rig, "metrics.prom", path);
    assert_true(report_write_openmetrics(&rig->run, path, error, sizeof(error)));
    char *text = rig_read(rig, "metrics.prom");
    rig_check_utf8(text);
    assert_true(strlen(text) > 6 && strcmp(text + strlen(text) - 6, "# EOF\n") == 0);
    assert_non_null(strstr(text, "us\\\\north"));
    assert_non_null(strstr(text, "city\\\"<"));
    assert_non_null(strstr(text, "} +Inf\n"));
    assert_non_null(strstr(text, "convoy_counts_total{scenario=\"rig & <co>\",counter=\"connects\"} 200\n"));
    for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        if (strncmp(line, "# TYPE ", 7) == 0)
            assert_int_equal(sscanf(line + 7, "%95s", family), 1);
        else if (strcmp(line, "# EOF") != 0 && line[0] == '#')
            assert_true(strncmp(line, "# HELP ", 7) == 0 || strncmp(line, "# UNIT ", 7) == 0);
        else if (line[0] != '#')
            samples++, check_sample(line, family);
    }
    assert_true(samples > 100);
    free(text);
}

/* ---- run.sqlite ------------------------------------------------------------------------------------------------------------ */

static int64_t ask(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *statement;
    assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &statement, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(statement), SQLITE_ROW);
    int64_t value = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return value;
}

static void sqlite_holds_the_run(void **state)
{
    struct rig *rig = *state;
    char path[128];
    sqlite3 *db;
    rig_path(rig, "run.sqlite", path);
    assert_true(report_write_sqlite(&rig->run, path, error, sizeof(error)));
    assert_true(report_write_sqlite(&rig->run, path, error, sizeof(error))); /* once more over the first */
    assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    assert_int_equal(ask(db, "SELECT integrity_check = 'ok' FROM pragma_integrity_check"), 1);
    assert_int_equal(ask(db, "SELECT count(*) FROM expectation"), RIG_EXPECTED);
    assert_int_equal(ask(db, "SELECT count(*) FROM parameter"), 3);
    assert_int_equal(ask(db, "SELECT count(*) FROM note"), 2);
    assert_int_equal(ask(db, "SELECT count(*) FROM memory"), 1);
    assert_int_equal(ask(db, "SELECT sum(value) FROM series WHERE name = 'connects'"), 200);
    assert_int_equal(ask(db, "SELECT max(value) FROM series WHERE name = 'connected'"), 200);
    assert_int_equal(ask(db, "SELECT count(*) FROM series WHERE name = 'connects' AND value = 0"), 0);
    assert_int_equal(
        ask(db, "SELECT sum(samples) FROM metric_histogram WHERE metric = 'command.round_trip' AND path = 'any'"), 200);
    assert_int_equal(
        ask(db, "SELECT sum(samples) FROM metric_summary WHERE metric = 'command.round_trip' AND kind = 'cohort'"),
        200);
    assert_int_equal(ask(db, "SELECT count(*) FROM ledger"), 4 + 196); /* nobody's messages were acknowledged */
    assert_int_equal(ask(db, "SELECT count(*) FROM ledger WHERE lost > 0"), 4);
    assert_int_equal(ask(db, "SELECT value FROM ledger_total WHERE ledger = 'telemetry' AND field = 'lost'"), 4);
    assert_int_equal(ask(db, "SELECT value = '18446744073709551615' FROM run WHERE key = 'seed'"), 1);
    assert_int_equal(ask(db, "SELECT count(*) FROM expectation_vehicle WHERE position = 3"), 4);
    sqlite3_close(db);
}

/* ---- what can go wrong ------------------------------------------------------------------------------------------------------- */

static bool (*const writers[])(const struct report_run *, const char *, char *, size_t) = {
    report_write_json, report_write_junit, report_write_html, report_write_sqlite, report_write_openmetrics};
#define WRITERS (sizeof(writers) / sizeof(writers[0]))

static void below_a_file_is_no_place(void **state)
{
    struct rig *rig = *state;
    char path[128];
    rig_path(rig, "file", path);
    close(open(path, O_CREAT | O_WRONLY, 0600));
    for (size_t i = 0; i < WRITERS; i++) {
        rig_path(rig, "file/report", path);
        error[0] = 0;
        assert_false(writers[i](&rig->run, path, error, sizeof(error)));
        assert_non_null(strstr(error, path));
        assert_null(strchr(error, '\n'));
    }
    rig_path(rig, "file", path);
    assert_false(report_write(&rig->run, path, error, sizeof(error)));
    assert_non_null(strstr(error, "result.json"));
}

/* A disk that is full after `limit` bytes: files stop growing there. The teardown sees whether something was left beside. */
static void with_limit(struct rig *rig, rlim_t limit, void (*work)(struct rig *rig))
{
    struct rlimit before, low;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    low = (struct rlimit){limit, before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
    work(rig);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
}

static void write_each_on_full_disk(struct rig *rig)
{
    for (size_t i = 0; i < WRITERS; i++) {
        char path[128];
        rig_path(rig, "file", path);
        error[0] = 0;
        assert_false(writers[i](&rig->run, path, error, sizeof(error)));
        assert_non_null(strstr(error, path));
        if (!strstr(error, strerror(EFBIG)))
            fail_msg("%s", error);
        assert_false(rig_has(rig, "file"));
    }
}

static void full_disk_leaves_no_half_file(void **state)
{
    with_limit(*state, 512, write_each_on_full_disk);
}

static void write_all_on_small_disk(struct rig *rig)
{
    assert_false(report_write(&rig->run, rig->directory, error, sizeof(error)));
}

/* The page with its library does not fit, the small files do: they are there, the error names the page. */
static void what_fits_is_written(void **state)
{
    struct rig *rig = *state;
    with_limit(rig, 40000, write_all_on_small_disk);
    assert_non_null(strstr(error, "report.html"));
    assert_true(rig_has(rig, "junit.xml") && rig_has(rig, "result.json"));
    assert_false(rig_has(rig, "report.html"));
    assert_false(rig_has(rig, "run.sqlite"));
}

static void an_old_file_survives_a_failure(struct rig *rig)
{
    char path[128];
    rig_path(rig, "junit.xml", path);
    assert_false(report_write_junit(&rig->run, path, error, sizeof(error)));
}

static void old_file_is_kept(void **state)
{
    struct rig *rig = *state;
    char path[128];
    rig_path(rig, "junit.xml", path);
    assert_true(report_write_junit(&rig->run, path, error, sizeof(error)));
    char *before = rig_read(rig, "junit.xml");
    with_limit(rig, 100, an_old_file_survives_a_failure);
    char *after = rig_read(rig, "junit.xml");
    assert_string_equal(before, after);
    free(before);
    free(after);
}

/* ---- runs that are not as they should be --------------------------------------------------------------------------------------- */

static void check_all_written(struct rig *rig)
{
    if (!report_write(&rig->run, rig->directory, error, sizeof(error)))
        fail_msg("%s", error);
    char *xml = rig_read(rig, "junit.xml");
    check_xml(xml, "testcase");
    free(xml);
    cJSON_Delete(read_json(rig));
    assert_true(rig_has(rig, "run.sqlite") && rig_has(rig, "metrics.prom") && rig_has(rig, "report.html"));
}

static void no_expectations(void **state)
{
    struct rig *rig = *state;
    rig->scenario.expectation_count = 0;
    assert_string_equal(report_verdict(&rig->run), "inconclusive");
    check_all_written(rig);
}

static void interrupted(void **state)
{
    struct rig *rig = *state;
    rig->result.status = WORLD_INTERRUPTED;
    rig->result.simulated_us = 3 * US_PER_MIN;
    rig->result.has_digest = false;
    assert_string_equal(report_verdict(&rig->run), "interrupted");
    check_all_written(rig);
    cJSON *root = read_json(rig);
    assert_true(cJSON_IsNull(item(root, "digest")));
    cJSON_Delete(root);
}

static void nothing_ran(void **state)
{
    struct rig *rig = *state;
    struct measure *measure = rig->result.measure;
    rig->result.measure = NULL;
    rig->run.expectations = NULL;
    rig->result.status = WORLD_ENVIRONMENT;
    snprintf(rig->result.error, sizeof(rig->result.error), "broker & co <unreachable>");
    rig->scenario.fleet = 0;
    check_all_written(rig);
    assert_string_equal(report_verdict(&rig->run), "error");
    rig->result.measure = measure;
}

static void verdict_of_the_run(void **state)
{
    struct rig *rig = *state;
    for (uint32_t i = 0; i < RIG_EXPECTED; i++)
        rig->results[i].verdict = VERDICT_PASS;
    assert_string_equal(report_verdict(&rig->run), "pass");
    rig->results[2].verdict = VERDICT_NOT_AVAILABLE;
    assert_string_equal(report_verdict(&rig->run), "pass");
    rig->result.status = WORLD_RIG_LIMITED;
    assert_string_equal(report_verdict(&rig->run), "inconclusive");
    rig->result.status = WORLD_COMPLETED;
    rig->results[1].verdict = VERDICT_INCONCLUSIVE;
    assert_string_equal(report_verdict(&rig->run), "inconclusive");
    rig->results[0].verdict = VERDICT_FAIL;
    assert_string_equal(report_verdict(&rig->run), "fail");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)
    const struct CMUnitTest tests[] = {
        TEST(json_holds_the_run),
        TEST(json_keeps_every_digit),
        TEST(json_expectations),
        TEST(json_has_no_infinity),
        TEST(json_versions_are_asked_for),
        TEST(junit_is_well_formed),
        TEST(openmetrics_reads),
        TEST(sqlite_holds_the_run),
        TEST(below_a_file_is_no_place),
        TEST(full_disk_leaves_no_half_file),
        TEST(what_fits_is_written),
        TEST(old_file_is_kept),
        TEST(no_expectations),
        TEST(interrupted),
        TEST(nothing_ran),
        TEST(verdict_of_the_run),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
