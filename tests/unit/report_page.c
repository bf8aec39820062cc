/* The files for people: the page loads nothing, says everything without scripts, and lets no name break it; the terminal's summary. */
#include "report_rig.h"

#include "reports/svg.h"

#include <cjson/cJSON.h>

static char error[1200];

static char *write_page(struct rig *rig)
{
    char path[128];
    rig_path(rig, "report.html", path);
    assert_true(report_write_html(&rig->run, path, error, sizeof(error)));
    char *text = rig_read(rig, "report.html");
    rig_check_utf8(text);
    return text;
}

/* The page without its library, whose text is not ours: <script>...uPlot...</script> is cut out. */
static void cut_library(char *page)
{
    char *from = strstr(page, "<script>");
    assert_non_null(from);
    char *to = strstr(from, "</script>");
    assert_non_null(to);
    memmove(from, to, strlen(to) + 1);
}

static void loads_nothing(void **state)
{
    static const char *const doors[] = {"://",   "src=",    "@import", "url(",   "fetch(", "XMLHttpRequest",
                                        "<link", "<iframe", "<img",    "import("};
    char *page = write_page(*state);
    assert_non_null(strstr(page, "Content-Security-Policy\" content=\"default-src 'none'"));
    for (size_t i = 0; i < sizeof(doors) / sizeof(doors[0]); i++) {
        char *copy = strdup(page);
        cut_library(copy);
        if (strstr(copy, doors[i]))
            fail_msg("the page has %s: %.80s", doors[i], strstr(copy, doors[i]));
        free(copy);
    }
    for (char *at = page; (at = strstr(at, "href=\"")); at++)
        assert_int_equal(at[6], '#');
    free(page);
}

static uint32_t count_of(const char *text, const char *word)
{
    uint32_t count = 0;
    for (const char *at = text; (at = strstr(at, word)); at++)
        count++;
    return count;
}

static void names_break_nothing(void **state)
{
    char *page = write_page(*state);
    assert_int_equal(count_of(page, "</script>"), 3); /* the data, the library, ours */
    assert_int_equal(count_of(page, "<b>&"), 0);
    assert_null(strchr(page, '\x1b'));
    assert_non_null(strstr(page, "a&lt;b&gt;&amp;&quot;c&quot;"));
    free(page);
}

/* Elements that are opened are closed, in order. */
static void is_balanced(void **state)
{
    static const char *const elements[] = {"html",  "head", "body", "main",   "header",  "section", "article", "div",
                                           "table", "tr",   "svg",  "figure", "details", "dl",      "p",       "h1",
                                           "h2",    "h3",   "ul",   "ol",     "li",      "text",    "td",      "th"};
    char *page = write_page(*state), tag[24];
    cut_library(page);
    for (size_t i = 0; i < sizeof(elements) / sizeof(elements[0]); i++) {
        snprintf(tag, sizeof(tag), "<%s>", elements[i]);
        uint32_t opened = count_of(page, tag);
        snprintf(tag, sizeof(tag), "<%s ", elements[i]);
        opened += count_of(page, tag);
        snprintf(tag, sizeof(tag), "</%s>", elements[i]);
        if (opened != count_of(page, tag))
            fail_msg("%u opened, %u closed: %s", opened, count_of(page, tag), tag);
    }
    free(page);
}

static void pictures_are_there_without_scripts(void **state)
{
    char *page = write_page(*state);
    assert_int_equal(count_of(page, "<article class=\"card"), RIG_EXPECTED + 2); /* and the paths of commands */
    assert_int_equal(count_of(page, "aria-label=\"Distribution of"), 2 + 2);     /* of those measured */
    assert_non_null(strstr(page, "aria-label=\"connects over time\""));
    assert_true(count_of(page, "<figure class=\"day\">") >= 3);
    assert_non_null(strstr(page, "suv-000003"));
    assert_non_null(strstr(page, "2 of 6 expectations hold"));
    assert_non_null(strstr(page, "class=\"bar wrong\""));
    /* What fails comes before what holds. */
    assert_true(strstr(page, "card fail") < strstr(page, "card pass"));
    assert_null(strstr(page, "nan"));
    assert_null(strstr(strstr(page, "<body>"), "=\"inf"));
    free(page);
}

static void data_for_the_script_is_json(void **state)
{
    char *page = write_page(*state);
    char *from = strstr(page, "id=\"day-data\">");
    assert_non_null(from);
    from += strlen("id=\"day-data\">");
    *strstr(from, "</script>") = 0;
    cJSON *data = cJSON_Parse(from);
    assert_non_null(data);
    const cJSON *chart, *one;
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(data, "bands")), 3);
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(data, "marks")), 1);
    cJSON_ArrayForEach(chart, cJSON_GetObjectItem(data, "charts"))
    {
        int points = cJSON_GetArraySize(cJSON_GetObjectItem(chart, "at"));
        assert_true(points > 1 && points <= CURVE_POINTS);
        cJSON_ArrayForEach(one, cJSON_GetObjectItem(chart, "series"))
            assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(one, "mean")), points);
    }
    cJSON_Delete(data);
    free(page);
}

/* One second of many among 2,400 bins: the picture's points still reach it. */
static void extremes_survive(void **state)
{
    struct rig *rig = *state;
    measure_count(rig->result.measure, COUNTER_CONNECTS, (struct measure_dimension){0, 0, PATH_ANY}, 1234 * US_PER_S,
                  777);
    struct curve *curve = malloc(sizeof(*curve));
    assert_true(curve_read(&rig->run, COUNTER_CONNECTS, MEASURE_EVERYBODY, 0, curve));
    assert_true(curve->thinned);
    assert_int_equal(curve->count, CURVE_POINTS);
    assert_float_equal(curve->largest, 777, 1e-3);
    double sum = 0;
    for (uint32_t i = 0; i < curve->count; i++) {
        assert_true(curve->low[i] <= curve->mean[i] && curve->mean[i] <= curve->high[i]);
        sum += curve->high[i] == 777;
    }
    assert_float_equal(sum, 1, 1e-3);
    assert_true(curve_read(&rig->run, COUNTER_CONNECTS, MEASURE_EVERYBODY, US_PER_MIN, curve));
    sum = 0;
    for (uint32_t i = 0; i < curve->count; i++)
        sum += curve->mean[i];
    assert_int_equal(curve->count, 40);
    assert_float_equal(sum, 977, 1e-3);
    free(curve);
}

static void interrupted_curves_end(void **state)
{
    struct rig *rig = *state;
    rig->result.simulated_us = 5 * US_PER_MIN;
    rig->result.status = WORLD_INTERRUPTED;
    struct curve *curve = malloc(sizeof(*curve));
    assert_true(curve_read(&rig->run, COUNTER_CONNECTED, MEASURE_EVERYBODY, 0, curve));
    assert_int_equal(curve->count, 300);
    assert_float_equal(curve->at_s[299], 299, 1e-9);
    free(curve);
    char *page = write_page(rig);
    assert_non_null(strstr(page, "Interrupted at 07:05:00"));
    free(page);
}

static void notes_with_a_moment(void **state)
{
    struct rig *rig = *state;
    struct mark mark;
    assert_true(mark_read(&rig->scenario, "07:12:00 tunnel", &mark));
    assert_int_equal(mark.at_us, 12 * US_PER_MIN);
    assert_string_equal(mark.text, "tunnel");
    assert_true(mark_read(&rig->scenario, "2 d 07:00:01 later", &mark));
    assert_int_equal(mark.at_us, 2 * US_PER_DAY + US_PER_S);
    assert_false(mark_read(&rig->scenario, "TLS is modelled", &mark));
    assert_false(mark_read(&rig->scenario, "06:00:00 before it began", &mark));
}

/* ---- a day of seconds stays below a megabyte --------------------------------------------------------------------------------- */

static void a_long_run_stays_small(void **state)
{
    struct rig *rig = *state;
    struct measure_options options = {.vehicles = RIG_FLEET, .cohorts = 2, .regions = 2, .duration_us = US_PER_DAY};
    measure_destroy(rig->result.measure);
    rig->result.measure = measure_create(&options);
    rig->scenario.duration_us = rig->result.simulated_us = US_PER_DAY;
    uint64_t noise = 12345;
    for (int64_t second = 0; second < 86400; second++)
        for (int counter = 0; counter < COUNTER_COUNT; counter++) {
            noise = noise * UINT64_C(6364136223846793005) + 1442695040888963407;
            measure_count(rig->result.measure, counter, (struct measure_dimension){0, 0, PATH_ANY}, second * US_PER_S,
                          (int64_t)(noise >> 48) - (counter_is_gauge(counter) ? 32768 : 0));
        }
    char *page = write_page(rig);
    assert_true(strlen(page) < 1000000);
    free(page);
}

/* ---- the terminal --------------------------------------------------------------------------------------------------------------- */

static char *print(struct rig *rig, bool colour)
{
    char path[128];
    rig_path(rig, "terminal.txt", path);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    report_print(&rig->run, "runs/rig-1", colour, file);
    fclose(file);
    return rig_read(rig, "terminal.txt");
}

static size_t columns_to(const char *line, const char *found)
{
    size_t columns = 0;
    for (; line < found; line++)
        columns += ((unsigned char)*line & 0xC0) != 0x80;
    return columns;
}

static void terminal_lines(void **state)
{
    struct rig *rig = *state;
    char *text = print(rig, false);
    assert_null(strchr(text, '\x1b'));
    rig_check_utf8(text);
    assert_non_null(strstr(text, "2 of 6 hold"));
    assert_non_null(strstr(text, "report runs/rig-1/report.html     exit 1\n"));
    assert_non_null(strstr(text, "worst: suv-000003 (1)"));
    assert_null(strstr(text, " \n"));
    char *first = strstr(text, " ✓ connect"), *second = strstr(text, " ✗ nothing-lost");
    assert_non_null(first);
    assert_non_null(second);
    assert_int_equal(columns_to(first, strstr(first, "p99")), columns_to(second, strstr(second, "4 of")));
    assert_int_equal(columns_to(first, strstr(first, "< 2 s")), columns_to(second, strstr(second, "= 0")));
    free(text);
    text = print(rig, true);
    assert_non_null(strstr(text, "\x1b[32m✓\x1b[0m"));
    free(text);
}

static void terminal_is_not_steered(void **state)
{
    struct rig *rig = *state;
    snprintf(rig->expectations[0].id, sizeof(rig->expectations[0].id),
             "\x1b[2J\x07\xc2\x9b"
             "31mred");
    char *text = print(rig, false);
    assert_null(strchr(text, '\x1b'));
    assert_null(strchr(text, '\x07'));
    assert_null(strstr(text, "\xc2\x9b"));
    free(text);
}

static void terminal_without_expectations(void **state)
{
    struct rig *rig = *state;
    rig->scenario.expectation_count = 0;
    rig->result.status = WORLD_INTERRUPTED;
    rig->result.simulated_us = US_PER_MIN;
    char *text = print(rig, false);
    assert_non_null(strstr(text, "no expectation, so no verdict"));
    assert_non_null(strstr(text, "0 of 0 hold · interrupted at 07:01:00"));
    free(text);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_setup, rig_teardown)
    const struct CMUnitTest tests[] = {
        TEST(loads_nothing),
        TEST(names_break_nothing),
        TEST(is_balanced),
        TEST(pictures_are_there_without_scripts),
        TEST(data_for_the_script_is_json),
        TEST(extremes_survive),
        TEST(interrupted_curves_end),
        TEST(notes_with_a_moment),
        TEST(a_long_run_stays_small),
        TEST(terminal_lines),
        TEST(terminal_is_not_steered),
        TEST(terminal_without_expectations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
