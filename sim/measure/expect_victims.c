/* expect_victims.c: the vehicles behind an expectation on counters, and at which step they were, for people.
 *
 * Vehicles are remembered up to MEASURE_WORST a counter, the lowest numbers first; how many were at each step is known of all of them. */
#include "expect.h"

#include <stdarg.h>
#include <stdio.h>

/* Who is to be looked at. Too few rotations succeeded: those that failed. Too few connected at the end: those that are not; too many:
 * those that should not have been let in or, if there are none, should have been cut off. */
static enum counter concern_of(const struct measure *measure, const struct expectation *expectation, uint32_t i)
{
    enum counter counter = expectation_counter(expectation, i);
    if (counter == COUNTER_ROTATIONS_SUCCEEDED)
        return COUNTER_ROTATIONS_FAILED;
    if (counter != COUNTER_CONNECTED || expectation->statistic != STATISTIC_LAST)
        return counter;
    bool too_few = expectation->comparison == ABOVE || expectation->comparison == AT_LEAST ||
                   (expectation->comparison == EQUALS && expectation->bound > 0);
    if (too_few)
        return COUNTER_OFFLINE_AT_END;
    bool intruders = measure_total(measure, COUNTER_INTRUSIONS, expectation->filter) > 0;
    return intruders ? COUNTER_INTRUSIONS : COUNTER_FLAW_STILL_CONNECTED;
}

/* NULL: none. Two counters' places hold victims of another kind (VICTIM_LOST, VICTIM_EXECUTED_TWICE). */
static const struct worst_list *victims_of(const struct measure *measure, const struct expectation *expectation,
                                           uint32_t i)
{
    enum counter counter = concern_of(measure, expectation, i);
    bool named =
        counter == COUNTER_COMMANDS_TIMED_OUT || counter_has_identity_victims(counter) || counter_has_victims(counter);
    return named ? measure->victims[counter] : NULL;
}

static bool is_windowed(const struct expectation *expectation)
{
    return expectation->from_us != 0 || expectation->by_us != 0;
}

static bool takes(const struct measure *measure, const struct expectation *expectation,
                  const struct measure_worst *victim)
{
    if (measure_filter_known(measure, expectation->filter) &&
        !measure_filter_takes(measure, expectation->filter, victim->vehicle))
        return false;
    if (!is_windowed(expectation))
        return expectation->with_excluded || !measure_excluded(measure, victim->at_us);
    return victim->at_us >= expectation->from_us && (expectation->by_us == 0 || victim->at_us < expectation->by_us);
}

void expect_victims(const struct measure *measure, const struct expectation *expectation,
                    struct expectation_result *out)
{
    struct worst_list list = {0};
    for (uint32_t i = 0; i <= expectation->also_count; i++) {
        const struct worst_list *victims = victims_of(measure, expectation, i);
        for (uint32_t v = 0; victims && v < victims->count; v++)
            if (takes(measure, expectation, &victims->entry[v]))
                victim_add(&list, victims->entry[v]);
    }
    out->worst_count = worst_copy(&list, out->worst);
}

/* ---- in words ----------------------------------------------------------------------------------------------------------- */

struct words {
    char *out;
    size_t capacity, length;
    bool full;
};

/* All of it, or "..." for this and whatever follows. */
__attribute__((format(printf, 2, 3))) static void say(struct words *words, const char *format, ...)
{
    char part[96];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(part, sizeof(part), format, arguments);
    va_end(arguments);
    if (words->full)
        return;
    words->full = length >= (int)sizeof(part) || words->length + (size_t)length + sizeof(", ...") > words->capacity;
    words->length += (size_t)snprintf(words->out + words->length, words->capacity - words->length, "%s",
                                      words->full ? ", ..." : part);
}

/* The largest first; those alike in the order of the steps. Empties the counts. */
static void say_steps(struct words *words, uint64_t steps[IDENTITY_STEPS])
{
    for (bool first = true;; first = false) {
        uint32_t most = 0;
        for (uint32_t step = 1; step < IDENTITY_STEPS; step++)
            if (steps[step] > steps[most])
                most = step;
        if (steps[most] == 0)
            return;
        say(words, "%s%llu %s", first ? "" : ", ", (unsigned long long)steps[most], identity_step_name(most));
        steps[most] = 0;
    }
}

/* "flaw.second_certificate" as "second certificate" */
static void say_counter(struct words *words, enum counter counter)
{
    const char *name = counter_name(counter), *point = strrchr(name, '.');
    char text[64];
    snprintf(text, sizeof(text), "%s", point ? point + 1 : name);
    for (char *at = text; *at; at++)
        if (*at == '_')
            *at = ' ';
    say(words, "%s", text);
}

struct who_where {
    uint64_t step[EXPECTATION_ALSO + 1][IDENTITY_STEPS], each[EXPECTATION_ALSO + 1], all, somewhere;
};

static void add(struct who_where *where, uint32_t counter, uint32_t step, uint64_t count)
{
    where->step[counter][step] += count;
    where->each[counter] += count;
    where->all += count;
    where->somewhere += step == IDENTITY_STEP_NONE ? 0 : count;
}

/* What the expectation was measured by, if it has no window. */
static int64_t counted(const struct measure *measure, const struct expectation *expectation, enum counter counter)
{
    int64_t excluded = expectation->with_excluded ? 0 : measure_total_excluded(measure, counter, expectation->filter);
    return measure_total(measure, counter, expectation->filter) - excluded;
}

/* Of everybody, if that is what was measured. Commands, networks and regions know no steps: their counters are the whole. */
static void count_all(const struct measure *measure, const struct expectation *expectation, struct who_where *where)
{
    for (uint32_t i = 0; i <= expectation->also_count; i++) {
        uint64_t steps[IDENTITY_STEPS];
        enum counter counter = concern_of(measure, expectation, i);
        measure_identity_steps(measure, counter, expectation->filter, steps);
        if (counter_has_victims(counter))
            steps[IDENTITY_STEP_NONE] = (uint64_t)counted(measure, expectation, counter);
        for (uint32_t step = 0; step < IDENTITY_STEPS; step++)
            add(where, i, step, steps[step]);
    }
}

/* Of a window, or without the excluded phases: of those that are remembered. */
static void count_remembered(const struct measure *measure, const struct expectation *expectation,
                             struct who_where *where)
{
    memset(where, 0, sizeof(*where));
    for (uint32_t i = 0; i <= expectation->also_count; i++) {
        const struct worst_list *victims = victims_of(measure, expectation, i);
        for (uint32_t v = 0; victims && v < victims->count; v++)
            if (takes(measure, expectation, &victims->entry[v]))
                add(where, i, victims->entry[v].step, (uint64_t)victims->entry[v].value);
    }
}

static bool is_of_everybody(const struct measure *measure, const struct expectation *expectation,
                            const struct who_where *where)
{
    int64_t total = 0;
    for (uint32_t i = 0; i <= expectation->also_count; i++)
        total += counted(measure, expectation, concern_of(measure, expectation, i));
    return !is_windowed(expectation) && total == (int64_t)where->all;
}

/* "12 vehicles", "30 times, 12 vehicles", and where not all are remembered "40 times, 32 vehicles or more" */
static void say_how_many(struct words *words, const struct expectation *expectation, uint32_t known, uint64_t all)
{
    bool complete = known < MEASURE_WORST;
    bool one_each = expectation->also_count == 0 && counter_is_flaw(expectation->what);
    uint64_t vehicles = one_each ? all : known;
    complete = complete || one_each;
    if (vehicles == 0) { /* counted, but of nobody in particular */
        say(words, "%llu time%s", (unsigned long long)all, all == 1 ? "" : "s");
        return;
    }
    if (!complete || vehicles != all)
        say(words, "%llu time%s, ", (unsigned long long)all, all == 1 ? "" : "s");
    say(words, "%llu vehicle%s%s", (unsigned long long)vehicles, vehicles == 1 ? "" : "s", complete ? "" : " or more");
}

static void say_where(struct words *words, const struct expectation *expectation, struct who_where *where)
{
    bool first = true;
    if (expectation->also_count == 0) {
        say_steps(words, where->step[0]);
        return;
    }
    for (uint32_t i = 0; i <= expectation->also_count; i++) {
        bool nowhere = where->each[i] == where->step[i][IDENTITY_STEP_NONE];
        if (where->each[i] == 0)
            continue;
        say(words, "%s%llu ", first ? "" : ", ", (unsigned long long)where->each[i]);
        say_counter(words, expectation_counter(expectation, i));
        if (!nowhere) {
            say(words, " (");
            say_steps(words, where->step[i]);
            say(words, ")");
        }
        first = false;
    }
}

void describe_victims(const struct measure *measure, const struct expectation *expectation,
                      struct expectation_result *out)
{
    struct who_where where = {0};
    struct words words = {.out = out->detail, .capacity = sizeof(out->detail)};
    count_all(measure, expectation, &where);
    if (!is_of_everybody(measure, expectation, &where))
        count_remembered(measure, expectation, &where);
    if (where.all == 0)
        return;
    enum counter concern = concern_of(measure, expectation, 0);
    if (concern != (enum counter)expectation->what) { /* the number itself is another one: keep it */
        words.length = strlen(out->detail);
        say(&words, "%s%s: ", words.length ? "; " : "",
            concern == COUNTER_OFFLINE_AT_END         ? "not connected"
            : concern == COUNTER_INTRUSIONS           ? "let in"
            : concern == COUNTER_FLAW_STILL_CONNECTED ? "not cut off"
                                                      : "failed");
    }
    say_how_many(&words, expectation, out->worst_count, where.all);
    if (where.somewhere == 0 && expectation->also_count == 0)
        return;
    say(&words, ": ");
    say_where(&words, expectation, &where);
}
