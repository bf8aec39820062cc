/* docs/scenarios.md: every example loads and its functions run; every word of the language is in an example.
 *
 * An example that begins with `scenario` or `local` is a whole file; every other one follows the first, as the page says. */
#include "script_rig.h"

#define EXAMPLES_MAX 64

static char *page, *prelude_text;
static char *example[EXAMPLES_MAX];
static unsigned example_line[EXAMPLES_MAX], examples;

static char *read_all(const char *name)
{
    char path[512];
    snprintf(path, sizeof(path), "%s/%s", CONVOY_SOURCE_DIR, name);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    char *text = calloc(1, 1 << 20);
    size_t length = fread(text, 1, (1 << 20) - 1, file);
    assert_in_range(length, 1000, (1 << 20) - 2);
    fclose(file);
    return text;
}

static int setup(void **context)
{
    unsigned line = 1;
    char *begin = NULL;
    page = read_all("docs/scenarios.md");
    char *first = read_all("sim/script/prelude.lua"), *second = read_all("sim/script/identities.lua");
    size_t room = strlen(first) + strlen(second) + 1;
    prelude_text = malloc(room);
    snprintf(prelude_text, room, "%s%s", first, second);
    free(first);
    free(second);
    for (char *at = page; *at; line++) {
        char *end = strchr(at, '\n');
        char *next = end ? end + 1 : at + strlen(at);
        if (begin && strncmp(at, "```", 3) == 0) {
            example[examples] = strndup(begin, (size_t)(at - begin));
            examples++;
            begin = NULL;
        } else if (!begin && strncmp(at, "```lua\n", 7) == 0) {
            assert_true(examples < EXAMPLES_MAX);
            begin = next;
            example_line[examples] = line;
        }
        at = next;
    }
    return begin ? -1 : 0;
}

static int teardown(void **context)
{
    for (unsigned i = 0; i < examples; i++)
        free(example[i]);
    free(page);
    free(prelude_text);
    return 0;
}

static bool is_whole(const char *text)
{
    return strncmp(text, "scenario", 8) == 0 || strncmp(text, "local", 5) == 0;
}

static unsigned run_all(struct script *script, unsigned line)
{
    static const char *const events[] = {"online", "offline", "refused", "provisioned", "ignition_on", "ignition_off"};
    static struct rig_world world;
    const struct world_actions actions = {rig_act, rig_note, &world};
    const struct scenario *scenario = script_scenario(script);
    char error[1024];
    bool done = true;
    memset(&world, 0, sizeof(world));
    for (uint32_t i = 0; done && i < scenario->timeline_count; i++)
        done = script_timeline(script, i, 0, &actions, error, sizeof(error));
    for (uint32_t c = 0; done && c < scenario->cohort_count; c++)
        for (size_t e = 0; done && e < sizeof(events) / sizeof(events[0]); e++)
            done = script_event(script, c, scenario->cohorts[c].first, events[e], 0, &actions, error, sizeof(error));
    if (done && world.actions + world.notes == 0 && scenario->timeline_count > 0) {
        snprintf(error, sizeof(error), "its functions do nothing");
        done = false;
    }
    if (!done)
        print_error("docs/scenarios.md:%u: %s\n", line, error);
    return !done;
}

static void every_example_loads_and_runs(void **context)
{
    unsigned wrong = 0;
    assert_in_range(examples, 20, EXAMPLES_MAX);
    assert_true(is_whole(example[0]));
    for (unsigned i = 0; i < examples; i++) {
        size_t room = strlen(example[0]) + strlen(example[i]) + 1;
        char *text = malloc(room);
        snprintf(text, room, "%s%s", is_whole(example[i]) ? "" : example[0], example[i]);
        struct script *script = rig_load_text(text);
        if (script)
            wrong += run_all(script, example_line[i]);
        else
            print_error("docs/scenarios.md:%u: %s\n%s\n", example_line[i], rig_error, text);
        wrong += !script;
        script_free(script);
        free(text);
    }
    assert_int_equal(wrong, 0);
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || (c >= 'A' && c <= 'Z');
}

/* The word as a call: word(  word "  word { */
static bool is_called(const char *text, const char *word)
{
    size_t length = strlen(word);
    for (const char *at = strstr(text, word); at; at = strstr(at + 1, word)) {
        const char *after = at + length;
        if ((at > text && is_letter(at[-1])) || is_letter(*after))
            continue;
        after += strspn(after, " ");
        if (*after == '(' || *after == '"' || *after == '{')
            return true;
    }
    return false;
}

static unsigned words_found;

static unsigned check_word(const char *start, size_t length)
{
    char word[64];
    snprintf(word, sizeof(word), "%.*s", (int)length, start);
    words_found++;
    for (unsigned i = 0; i < examples; i++)
        if (is_called(example[i], word))
            return 0;
    print_error("docs/scenarios.md: no example calls %s\n", word);
    return 1;
}

/* Every place of the prelude that reads `<before>word`. */
static unsigned check_words(const char *before)
{
    unsigned missing = 0;
    size_t skip = strlen(before);
    for (const char *at = strstr(prelude_text, before); at; at = strstr(at + skip, before)) {
        const char *word = at + skip;
        size_t length = 0;
        while (is_letter(word[length]))
            length++;
        if (length > 0)
            missing += check_word(word, length);
    }
    return missing;
}

static void every_word_has_an_example(void **context)
{
    static const char *const places[] = {
        "function env.",   "\nunit(\"",       ") unit(\"",       "function telemetry_methods:",
        "\nstatistic(\"",  ") statistic(\"",  "statistic \"",    "function common:",
        "\ncomparison(\"", ") comparison(\"", "function bounds:"};
    unsigned missing = 0;
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        unsigned before = words_found;
        missing += check_words(places[i]);
        if (words_found == before)
            fail_msg("the prelude has no '%s' any more: look for its words elsewhere", places[i]);
    }
    static const char *const more[] = {"every", "key",     "certificate", "registration",     "resolve",    "tcp",
                                       "tls",   "connack", "end_to_end",  "acknowledge_time", "round_trip", "delivery"};
    for (size_t i = 0; i < sizeof(more) / sizeof(more[0]); i++)
        missing += check_word(more[i], strlen(more[i]));
    assert_int_equal(missing, 0);
    assert_in_range(words_found, 80, 500);
}

/* Steps that are made by a call: lost = ledger "lost", connects = series("connects", ...). */
static void every_step_has_an_example(void **context)
{
    static const char *const makers[] = {" = ledger \"", " = outcome \"", " = series(\"", " = metric_step(\""};
    unsigned missing = 0, found = 0;
    for (size_t i = 0; i < sizeof(makers) / sizeof(makers[0]); i++) {
        for (const char *at = strstr(prelude_text, makers[i]); at; at = strstr(at + 1, makers[i])) {
            const char *word = at;
            while (is_letter(word[-1]))
                word--;
            missing += check_word(word, (size_t)(at - word));
            found++;
        }
    }
    assert_int_equal(missing, 0);
    assert_in_range(found, 50, 500);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_example_loads_and_runs),
        cmocka_unit_test(every_word_has_an_example),
        cmocka_unit_test(every_step_has_an_example),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
