/* suite.c: the order in which checks run, how many at once, what is run again, and what becomes of their verdicts.
 *
 * Checks that wait for timers begin first and wait side by side; the others follow, so many at a time as the options say. What failed or was not
 * conclusive runs again, apart from all the others and at most eight at a time, under other names: only what fails twice has failed.
 */
#include "internal.h"
#include "tables.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#define PATIENCE_US   (10 * US_PER_S)
#define SLOW_AT_ONCE  48
#define AGAIN_AT_ONCE 8 /* of what failed: nearly alone */
#define LOOPBACK_RATE 500.0
#define SHARED_RATE   20.0

/* ---- the suite's list ------------------------------------------------------------------------------------------------------------ */

const struct conform_check *conform_check_at(uint32_t index)
{
    for (uint32_t t = 0; t < check_table_count; t++) {
        if (index < check_tables[t]->count)
            return &check_tables[t]->checks[index];
        index -= check_tables[t]->count;
    }
    return NULL;
}

const struct conform_check *conform_check_find(const char *id)
{
    const struct conform_check *check;
    for (uint32_t i = 0; (check = conform_check_at(i)); i++)
        if (strcmp(check->id, id) == 0)
            return check;
    return NULL;
}

enum mq5_version conform_check_protocol(const struct conform_check *check)
{
    return strncmp(check->refs[0], "V3-", 3) == 0 ? MQ5_V311 : MQ5_V5;
}

static bool pattern_is(const char *pattern, size_t length, const char *name)
{
    if (length && pattern[length - 1] == '*')
        return strncmp(pattern, name, length - 1) == 0;
    return strlen(name) == length && strncmp(pattern, name, length) == 0;
}

/* Ids of checks, of rows and of statements, with commas. */
static bool asked_for(const char *only, const struct conform_result *result)
{
    if (!only)
        return true;
    while (*only) {
        size_t length = strcspn(only, ",");
        if (pattern_is(only, length, result->check->id) || pattern_is(only, length, result->id))
            return true;
        if (result->row.ref && pattern_is(only, length, result->row.ref))
            return true;
        for (int r = 0; r < 8 && !result->row.ref && result->check->refs[r]; r++)
            if (pattern_is(only, length, result->check->refs[r]))
                return true;
        only += length;
        only += *only == ',';
    }
    return false;
}

struct item {
    uint32_t row, number;
};

struct work {
    struct suite *suite;
    struct conform_outcome *out;
    struct item *items;
};

static bool add_result(struct work *work, uint32_t *capacity, const struct conform_check *check, uint32_t row,
                       uint32_t number, const char *only)
{
    struct conform_result result = {.check = check, .ref = check->refs[0]};
    snprintf(result.id, sizeof(result.id), "%s", check->id);
    if (check->row) {
        check->row(row, &result.row);
        snprintf(result.id, sizeof(result.id), "%s[%u]", check->id, row);
        if (result.row.ref)
            result.ref = result.row.ref;
    }
    if (!asked_for(only, &result))
        return true;
    struct conform_outcome *out = work->out;
    if (out->result_count == *capacity) {
        *capacity = *capacity ? *capacity * 2 : 256;
        void *results = realloc(out->results, *capacity * sizeof(*out->results));
        void *items = realloc(work->items, *capacity * sizeof(*work->items));
        out->results = results ? results : out->results;
        work->items = items ? items : work->items;
        if (!results || !items)
            return false;
    }
    work->items[out->result_count] = (struct item){row, number};
    out->results[out->result_count++] = result;
    return true;
}

static bool list_results(struct work *work)
{
    const struct conform_check *check;
    uint32_t capacity = 0, number = 0;
    for (uint32_t i = 0; (check = conform_check_at(i)); i++) {
        uint32_t rows = check->row_count ? check->row_count() : 1;
        if (conform_check_protocol(check) != suite_protocol(work->suite)) {
            number += rows; /* names are the same whatever is run */
            continue;
        }
        for (uint32_t row = 0; row < rows; row++)
            if (!add_result(work, &capacity, check, row, ++number, work->suite->options->only))
                return false;
    }
    return true;
}

/* ---- what a check needs ------------------------------------------------------------------------------------------------------------- */

static const char *const need_names[CONFORM_NEEDS] = {
    "QoS 1",
    "QoS 2",
    "retained messages",
    "wildcards in filters",
    "subscription identifiers",
    "shared subscriptions",
    "topic aliases from clients",
    "sessions that outlive their connection",
    "empty client identifiers",
    "topics that begin with $",
    "a maximum packet size of at most 1 MiB",
    "a maximum QoS below 2",
    "a broker without retained messages",
    "a broker without wildcards",
    "a broker without subscription identifiers",
    "a broker without shared subscriptions",
    "a topic that may not be published to (profile: refused_topic)",
    "a filter that may not be subscribed to (profile: refused_filter)",
    "a login that is refused (profile: refused_user, refused_password)",
    "a client identifier that is refused (profile: refused_id)",
    "an authentication method (profile: auth_method, and auth_data or auth_user)",
    "a broker of our own (--own-broker)",
    "TCP or TLS",
    "WebSocket",
    "TLS",
    "retained messages of QoS 0",
    "MQTT 3.1.1",
    "topic aliases towards clients",
};

const char *conform_need_name(uint32_t bit)
{
    for (uint32_t i = 0; i < CONFORM_NEEDS; i++)
        if (bit == UINT32_C(1) << i)
            return need_names[i];
    return "?";
}

/* false: *why says what is missing. */
static bool can_run(const struct suite *suite, const struct conform_check *check, char *why, size_t capacity)
{
    if (check->lane == CONFORM_HEAVY && !suite->options->heavy)
        return snprintf(why, capacity, "heavy: --lane heavy") < 0;
    uint32_t needs = check->needs | (check->lane == CONFORM_ISOLATED ? CONFORM_OWN_BROKER : 0);
    uint32_t missing = needs & ~suite->broker.has;
    for (uint32_t i = 0; i < CONFORM_NEEDS; i++) {
        if (!(missing & UINT32_C(1) << i))
            continue;
        const char *learnt = suite->broker.learnt[i];
        snprintf(why, capacity, "needs %s%s%s", need_names[i], learnt[0] ? ": " : "", learnt);
        return false;
    }
    return true;
}

/* ---- running ---------------------------------------------------------------------------------------------------------------------------- */

enum mq5_version suite_protocol(const struct suite *suite)
{
    return suite->options->protocol == MQ5_V311 ? MQ5_V311 : MQ5_V5;
}

void suite_connect_turn(struct suite *suite)
{
    pthread_mutex_lock(&suite->lock);
    int64_t now_us = clock_now_us();
    int64_t turn_us = suite->next_connect_us > now_us ? suite->next_connect_us : now_us;
    suite->next_connect_us = turn_us + suite->connect_gap_us;
    pthread_mutex_unlock(&suite->lock);
    while ((now_us = clock_now_us()) < turn_us && !suite_stopped(suite))
        clock_sleep_us(turn_us - now_us < 100000 ? turn_us - now_us : 100000);
}

bool suite_stopped(const struct suite *suite)
{
    return suite->options->stop && *suite->options->stop;
}

static void forget_trace(struct conform_result *result)
{
    struct arena *arena = result->memory;
    arena_free(&arena);
    result->memory = NULL;
    result->findings = NULL;
    result->finding_count = 0;
    result->trace = (struct conform_trace){0};
}

static bool is_settled(const struct conform_result *result)
{
    for (uint32_t i = 0; i < result->finding_count; i++)
        if (result->findings[i].verdict == CONFORM_FAIL)
            return false;
    bool slow_warning = result->verdict == CONFORM_WARN && result->check->lane == CONFORM_SLOW; /* not worth the time */
    return result->verdict == CONFORM_PASS || result->verdict == CONFORM_SKIP || slow_warning;
}

static void run_item(struct work *work, uint32_t index, uint32_t attempt)
{
    struct suite *suite = work->suite;
    struct conform_result *result = &work->out->results[index];
    if (suite_stopped(suite))
        return;
    if (!can_run(suite, result->check, result->why, sizeof(result->why))) {
        result->verdict = CONFORM_SKIP;
        return;
    }
    probe_run(suite, result, work->items[index].row, work->items[index].number, attempt);
    if (is_settled(result) && result->finding_count == 0 && !suite->options->keep_traces)
        forget_trace(result);
}

/* A finding of the first run that the second did not have, or the reverse, is nothing to go by. */
static bool found_in(const struct conform_result *result, const struct conform_finding *finding)
{
    for (uint32_t i = 0; i < result->finding_count; i++)
        if (strcmp(result->findings[i].id, finding->id) == 0)
            return true;
    return false;
}

static void merge_attempts(struct conform_result *result, const struct conform_result *first)
{
    result->first = first->verdict;
    bool failed_once = (first->verdict == CONFORM_FAIL) != (result->verdict == CONFORM_FAIL);
    if (failed_once && (first->verdict == CONFORM_PASS || result->verdict == CONFORM_PASS)) {
        char why[300];
        snprintf(why, sizeof(why), "%.280s", first->verdict == CONFORM_FAIL ? first->why : result->why);
        result->verdict = CONFORM_INCONCLUSIVE;
        snprintf(result->why, sizeof(result->why), "failed in one of two runs: %s", why);
    }
    struct conform_finding *findings = (struct conform_finding *)result->findings;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < result->finding_count; i++)
        if (findings[i].verdict != CONFORM_FAIL || found_in(first, &findings[i]))
            findings[kept++] = findings[i];
    result->finding_count = kept;
}

/* Results that are run by so many threads at a time. */
struct lane {
    struct work *work;
    uint32_t *order;
    uint32_t count, next, attempt;
    pthread_mutex_t lock;
};

static void run_once_more(struct work *work, uint32_t index)
{
    struct conform_result *result = &work->out->results[index], first = *result;
    run_item(work, index, 1);
    if (suite_stopped(work->suite)) {
        forget_trace(result);
        *result = first;
        return;
    }
    merge_attempts(result, &first);
    forget_trace(&first);
    pthread_mutex_lock(&work->suite->lock);
    const struct conform_options *options = work->suite->options;
    if (options->progress)
        options->progress(options->progress_context, work->suite->done, work->out->result_count, result);
    pthread_mutex_unlock(&work->suite->lock);
}

static void *worker(void *context)
{
    struct lane *lane = context;
    struct work *work = lane->work;
    const struct conform_options *options = work->suite->options;
    for (;;) {
        pthread_mutex_lock(&lane->lock);
        bool left = lane->next < lane->count && !suite_stopped(work->suite);
        uint32_t index = left ? lane->order[lane->next++] : 0;
        pthread_mutex_unlock(&lane->lock);
        if (!left)
            return NULL;
        if (lane->attempt) {
            run_once_more(work, index);
            continue;
        }
        run_item(work, index, 0);
        pthread_mutex_lock(&work->suite->lock);
        uint32_t done = ++work->suite->done;
        if (options->progress)
            options->progress(options->progress_context, done, work->out->result_count, &work->out->results[index]);
        pthread_mutex_unlock(&work->suite->lock);
    }
}

static bool is_due(const struct conform_result *result, uint32_t attempt)
{
    return attempt == 0 ||
           (!is_settled(result) && result->verdict != CONFORM_ERROR && result->verdict != CONFORM_NOT_RUN);
}

/* Returns how many threads were begun; *failed when there are none for work that is there. */
static uint32_t begin(struct lane *lane, enum conform_lane first, enum conform_lane second, uint32_t at_once,
                      pthread_t *threads, bool *failed)
{
    uint32_t begun = 0;
    const struct conform_outcome *out = lane->work->out;
    for (uint32_t i = 0; i < out->result_count; i++)
        if ((out->results[i].check->lane == first || out->results[i].check->lane == second) &&
            is_due(&out->results[i], lane->attempt))
            lane->order[lane->count++] = i;
    while (begun < at_once && begun < lane->count && pthread_create(&threads[begun], NULL, worker, lane) == 0)
        begun++;
    *failed |= lane->count > 0 && begun == 0;
    return begun;
}

/* Everything that is due: checks that wait for timers side by side, the others so many at a time beside them, then those that disturb, alone. */
static bool run_lanes(struct work *work, uint32_t attempt, uint32_t at_once, uint32_t slow_at_once)
{
    struct lane lanes[3] = {{.count = 0}};
    pthread_t *threads = calloc(at_once + slow_at_once + 1, sizeof(*threads));
    uint32_t *order = calloc(3 * (work->out->result_count + 1), sizeof(*order));
    bool failed = !threads || !order;
    for (int i = 0; i < 3 && !failed; i++) {
        lanes[i] =
            (struct lane){.work = work, .attempt = attempt, .order = order + (size_t)i * (work->out->result_count + 1)};
        pthread_mutex_init(&lanes[i].lock, NULL);
    }
    if (!failed) {
        uint32_t begun = begin(&lanes[0], CONFORM_SLOW, CONFORM_SLOW, slow_at_once, threads, &failed);
        begun += begin(&lanes[1], CONFORM_FAST, CONFORM_HEAVY, at_once, threads + begun, &failed);
        for (uint32_t i = 0; i < begun; i++)
            pthread_join(threads[i], NULL);
        if (begin(&lanes[2], CONFORM_ISOLATED, CONFORM_ISOLATED, 1, threads, &failed))
            pthread_join(threads[0], NULL);
    }
    free(threads);
    free(order);
    return !failed;
}

static bool run_all(struct work *work)
{
    const struct conform_options *options = work->suite->options;
    uint32_t asked =
        options->parallel ? options->parallel : (uint32_t)conform_profile_number(options->profile, "parallel");
    uint32_t parallel = asked >= 1 && asked <= 64 ? asked : 16;
    uint32_t slow = asked ? parallel : SLOW_AT_ONCE;
    return run_lanes(work, 0, parallel, slow) &&
           run_lanes(work, 1, parallel < AGAIN_AT_ONCE ? parallel : AGAIN_AT_ONCE, slow);
}

/* ---- deviations ---------------------------------------------------------------------------------------------------------------------------- */

static void apply_profile(const struct conform_options *options, struct conform_result *result)
{
    const char *reason = profile_deviation(options->profile, result->id, result->ref);
    if (!reason)
        reason = profile_deviation(options->profile, result->check->id, result->ref);
    if (!reason || (result->verdict != CONFORM_FAIL && result->verdict != CONFORM_PASS))
        return;
    result->deviation = reason;
    result->verdict = result->verdict == CONFORM_FAIL ? CONFORM_XFAIL : CONFORM_XPASS;
}

/* ---- the whole ------------------------------------------------------------------------------------------------------------------------------- */

static void name_run(struct suite *suite)
{
    static const char digits[] = "abcdefghijklmnopqrstuvwxyz234567";
    uint64_t bits = suite->options->seed;
    if (!bits && getrandom(&bits, sizeof(bits), 0) != sizeof(bits))
        bits = (uint64_t)clock_now_us();
    for (int i = 0; i < 8; i++)
        suite->run[i] = digits[bits >> (5 * i) & 31];
}

static bool prepare(struct suite *suite, char *error, size_t capacity)
{
    const struct conform_options *options = suite->options;
    suite->target = target_create(options, error, capacity);
    if (!suite->target)
        return false;
    double rate = options->connects_per_s > 0         ? options->connects_per_s
                  : target_is_loopback(suite->target) ? LOOPBACK_RATE
                                                      : SHARED_RATE;
    suite->connect_gap_us = (int64_t)(1e6 / rate);
    const char *prefix = options->topic_prefix ? options->topic_prefix : conform_profile_prefix(options->profile);
    suite->prefix = prefix ? prefix : "mc5/";
    suite->patience_us = (int64_t)((double)PATIENCE_US * (options->time_scale > 0 ? options->time_scale : 1));
    name_run(suite);
    snprintf(suite->below, sizeof(suite->below), "%s%s/#", suite->prefix, suite->run);
    if (options->journal &&
        !(suite->journal = journal_open(options->journal, target_name(suite->target), suite->below, error, capacity)))
        return false;
    if (options->capture && !(suite->capture = capture_open(options->capture, suite->target, error, capacity)))
        return false;
    if (options->packets && !(suite->packets = packets_open(options->packets, error, capacity)))
        return false;
    return true;
}

/* What nobody noted: a will that came out late, a message that a broken broker keeps for no reason. */
static void sweep_rest(struct suite *suite)
{
    char id[24];
    snprintf(id, sizeof(id), "mc5%ssweeper", suite->run);
    uint32_t both = CONFORM_RETAIN | CONFORM_WILDCARD;
    struct sweeper *sweeper = (suite->broker.has & both) == both ? sweep_open(suite->target, suite->options, id) : NULL;
    if (sweeper)
        sweep_below(sweeper, suite->below);
    sweep_close(sweeper);
}

static void finish(struct suite *suite, struct conform_outcome *out)
{
    out->broker = suite->broker;
    memcpy(out->run, suite->run, sizeof(out->run));
    memcpy(out->monitor_seen, suite->monitor_seen, sizeof(out->monitor_seen));
    memcpy(out->monitor_hits, suite->monitor_hits, sizeof(out->monitor_hits));
    out->connections = suite->connections;
    out->packets_in = suite->packets_in;
    out->packets_out = suite->packets_out;
    out->wall_us = clock_now_us() - suite->began_us;
    out->protocol = suite_protocol(suite);
    out->interrupted = suite_stopped(suite);
    out->memory = suite->arena;
}

bool conform_run(const struct conform_options *options, struct conform_outcome *out, char *error, size_t error_capacity)
{
    struct suite suite = {.options = options, .began_us = clock_now_us()};
    struct work work = {.suite = &suite, .out = out};
    memset(out, 0, sizeof(*out));
    pthread_mutex_init(&suite.lock, NULL);
    bool usable = prepare(&suite, error, error_capacity) && discover(&suite, error, error_capacity);
    if (usable && (!list_results(&work) || !run_all(&work))) {
        snprintf(error, error_capacity, "out of memory, or of threads");
        usable = false;
    }
    if (usable)
        sweep_rest(&suite);
    for (uint32_t i = 0; usable && i < out->result_count; i++)
        apply_profile(options, &out->results[i]);
    finish(&suite, out);
    if (!capture_close(suite.capture) && usable) {
        snprintf(error, error_capacity, "%s: cannot be written", options->capture);
        usable = false;
    }
    if (!packets_close(suite.packets) && usable) {
        snprintf(error, error_capacity, "%s: cannot be written", options->packets);
        usable = false;
    }
    journal_close(suite.journal);
    target_destroy(suite.target);
    free(work.items);
    pthread_mutex_destroy(&suite.lock);
    return usable;
}

void conform_release(struct conform_outcome *outcome)
{
    struct arena *arena = outcome->memory;
    for (uint32_t i = 0; i < outcome->result_count; i++)
        forget_trace(&outcome->results[i]);
    free(outcome->results);
    arena_free(&arena);
    memset(outcome, 0, sizeof(*outcome));
}
