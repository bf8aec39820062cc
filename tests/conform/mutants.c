/* mutants.c: does the conformance suite find what it is for, and keep quiet about what is allowed?
 *
 * Each mutant, a broker that breaks one statement, is held against the checks of that statement: one of them has to fail. Each oddity, a broker that
 * is unusual and right, and the broker as it is, are held against the whole suite: nothing may fail, and everything has to be concluded.
 *   test_conform_mutants [--only TEXT] [--jobs N] [--scale X] [--quick|--odd] [--verbose]
 */
#define _GNU_SOURCE /* strcasestr */
#include "mutant.h"
#include "sim/conform.h"

#include <getopt.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <unistd.h>

#define MUTANTS_LEAST  120
#define ODDITIES_LEAST 15
#define JOBS           40
#define SCALE          0.3 /* of the suite's patience: what does not come costs its time twice */
#define JOBS_MAXIMUM   64

extern const struct mutant_table mutants_connect, mutants_session, mutants_will, mutants_publish, mutants_retained,
    mutants_quality, mutants_flow, mutants_subscribe, mutants_shared, mutants_leave, mutants_tolerant, mutants_lengths,
    mutants_refused, mutants_auth, oddities;
static const struct mutant_table *const tables[] = {
    &mutants_connect,  &mutants_session, &mutants_will,      &mutants_publish, &mutants_retained,
    &mutants_quality,  &mutants_flow,    &mutants_subscribe, &mutants_shared,  &mutants_leave,
    &mutants_tolerant, &mutants_lengths, &mutants_refused,   &mutants_auth,    &oddities,
};
#define TABLES (sizeof(tables) / sizeof(tables[0]))

static const struct mutant unmutated = {.name = "the broker as it is"};

struct job {
    const struct mutant *mutant;
    struct served *served;
    bool good, accused; /* accused: an oddity of which something failed */
    volatile bool stop;
    uint32_t checks;
    int64_t took_us;
    char why[600];
};

static struct {
    const char *only;
    uint32_t at_once;
    double scale;
    bool verbose, quick, odd; /* quick: mutants only; odd: oddities only */
} asked = {.at_once = JOBS, .scale = SCALE};

static struct {
    struct job *list;
    uint32_t count, next;
    pthread_mutex_t lock;
} jobs = {.lock = PTHREAD_MUTEX_INITIALIZER};

/* ---- the list ---------------------------------------------------------------------------------------------------------------- */

static bool table_is_sound(void)
{
    uint32_t mutants = 0, odd = 0, wrong = 0;
    for (size_t t = 0; t < TABLES; t++) {
        for (uint32_t i = 0; i < tables[t]->count; i++) {
            const struct mutant *mutant = &tables[t]->list[i];
            if (mutant->statement && !conform_statement(mutant->statement)) {
                printf("%s: there is no statement %s\n", mutant->name, mutant->statement);
                wrong++;
            }
            if (mutant->statement)
                mutants++;
            odd += !mutant->statement;
            for (size_t u = 0; u <= t; u++)
                for (uint32_t j = 0; j < (u == t ? i : tables[u]->count); j++)
                    if (strcmp(tables[u]->list[j].name, mutant->name) == 0) {
                        printf("two are named \"%s\"\n", mutant->name);
                        wrong++;
                    }
        }
    }
    if (mutants < MUTANTS_LEAST || odd < ODDITIES_LEAST) {
        printf("%u mutants and %u oddities are too few\n", mutants, odd);
        wrong++;
    }
    return wrong == 0;
}

static bool is_asked_for(const struct mutant *mutant)
{
    if ((asked.quick && !mutant->statement) || (asked.odd && mutant->statement))
        return false;
    return !asked.only || strcasestr(mutant->name, asked.only) ||
           (mutant->statement && strcmp(mutant->statement, asked.only) == 0);
}

static void add_job(struct doors *doors, const struct mutant *mutant)
{
    struct job *grown = realloc(jobs.list, (jobs.count + 1) * sizeof(*grown));
    struct served *served = doors_add(doors, mutant);
    if (!grown || !served) {
        fprintf(stderr, "no port or no memory for \"%s\"\n", mutant->name);
        exit(2);
    }
    jobs.list = grown;
    jobs.list[jobs.count++] = (struct job){.mutant = mutant, .served = served};
}

/* What waits for timers takes longest and begins first; whole suites before single statements. */
static int weight(const struct mutant *mutant)
{
    if (!mutant->statement)
        return 1000;
    int slow = 0;
    const struct conform_check *check;
    for (uint32_t i = 0; (check = conform_check_at(i)); i++)
        for (int r = 0; r < 8 && check->refs[r]; r++)
            if (strcmp(check->refs[r], mutant->statement) == 0)
                slow += check->lane == CONFORM_SLOW ? 10 : 1;
    return slow;
}

static int by_weight(const void *a, const void *b)
{
    return weight(((const struct job *)b)->mutant) - weight(((const struct job *)a)->mutant);
}

/* ---- one run ------------------------------------------------------------------------------------------------------------------- */

static bool same(const char *a, const char *b)
{
    return a && b && strcmp(a, b) == 0;
}

/* The text of a failure of this statement, twice; NULL: it is none. */
static const char *failure_of(const struct conform_result *result, const char *statement)
{
    if (result->first == CONFORM_NOT_RUN)
        return NULL;
    if (result->verdict == CONFORM_FAIL && same(result->ref, statement))
        return result->why;
    for (uint32_t f = 0; f < result->finding_count; f++)
        if (result->findings[f].verdict == CONFORM_FAIL && same(result->findings[f].ref, statement))
            return result->findings[f].text;
    return NULL;
}

/* One failure is enough: the others' second runs are not waited for. */
static void look(void *context, uint32_t done, uint32_t total, const struct conform_result *last)
{
    struct job *job = context;
    const char *why = job->mutant->statement && !job->good ? failure_of(last, job->mutant->statement) : NULL;
    if (!why)
        return;
    job->good = true;
    snprintf(job->why, sizeof(job->why), "%s: %s", last->id, why);
    job->stop = true;
}

static void judge_mutant(struct job *job, const struct conform_outcome *outcome)
{
    const char *statement = job->mutant->statement;
    size_t used = 0;
    for (uint32_t i = 0; i < outcome->result_count && !job->good; i++) {
        const struct conform_result *result = &outcome->results[i];
        if (used < sizeof(job->why))
            used += (size_t)snprintf(job->why + used, sizeof(job->why) - used, "%s%s %s%s%.150s", used ? "; " : "",
                                     result->id, conform_verdict_name(result->verdict), result->why[0] ? ": " : "",
                                     result->why);
    }
    if (outcome->result_count == 0)
        snprintf(job->why, sizeof(job->why), "no check of %s", statement);
}

/* By statement: on one of our brokers at least, the usual one or an odd one, it has been seen to hold. */
static bool *held;

static void note_held(const struct conform_outcome *outcome)
{
    const struct conform_statement *statement;
    for (uint32_t i = 0; (statement = conform_statement_at(i)); i++) {
        enum conform_verdict verdict = conform_statement_verdict(outcome, statement);
        if (verdict != CONFORM_PASS && verdict != CONFORM_WARN)
            continue;
        pthread_mutex_lock(&jobs.lock);
        held[i] = true;
        pthread_mutex_unlock(&jobs.lock);
    }
}

/* Our doors here are TCP in clear. */
static bool is_of_another_transport(const struct conform_statement *statement)
{
    bool only = false;
    const struct conform_check *check;
    for (uint32_t i = 0; (check = conform_check_at(i)); i++)
        for (int r = 0; r < 8 && check->refs[r]; r++)
            if (strcmp(check->refs[r], statement->id) == 0) {
                if (!(check->needs & (CONFORM_TLS | CONFORM_WEBSOCKET)))
                    return false;
                only = true;
            }
    return only;
}

/* A check that no broker of ours ever passes might be one that nobody can pass. */
static bool report_held(void)
{
    uint32_t count = 0, good = 0;
    const struct conform_statement *statement;
    for (uint32_t i = 0; (statement = conform_statement_at(i)); i++) {
        if (statement->testable == CONFORM_NOT_TESTABLE || is_of_another_transport(statement))
            continue;
        count++;
        good += held[i];
        if (!held[i])
            printf("%s was never seen to hold\n", statement->id);
    }
    printf("figure: statements seen to hold on one of our brokers at least: %u of %u\n", good, count);
    return good == count;
}

static void judge_oddity(struct job *job, const struct conform_outcome *outcome)
{
    note_held(outcome);
    job->good = true;
    size_t used = 0;
    for (uint32_t i = 0; i < outcome->result_count; i++) {
        const struct conform_result *result = &outcome->results[i];
        bool bad = result->verdict == CONFORM_FAIL || result->verdict == CONFORM_INCONCLUSIVE ||
                   result->verdict == CONFORM_ERROR;
        const char *why = result->why, *ref = result->ref;
        for (uint32_t f = 0; f < result->finding_count; f++)
            if (result->findings[f].verdict == CONFORM_FAIL) {
                bad = true;
                why = result->findings[f].text;
                ref = result->findings[f].ref;
            }
        if (!bad)
            continue;
        job->good = false;
        job->accused |= result->verdict == CONFORM_FAIL || why != result->why;
        if (asked.verbose)
            printf("    %s: %s %s (%s): %s\n", job->mutant->name, result->id, conform_verdict_name(result->verdict),
                   ref, why);
        if (used < sizeof(job->why))
            used += (size_t)snprintf(job->why + used, sizeof(job->why) - used, "%s%s %s: %.120s", used ? "; " : "",
                                     result->id, conform_verdict_name(result->verdict), why);
    }
}

/* Profiles are files. */
static struct conform_profile *profile_of(const struct mutant *mutant)
{
    char path[] = "/tmp/convoy-told-XXXXXX", error[300] = "no room for its file";
    int file = mkstemp(path);
    struct conform_profile *profile = NULL;
    if (file >= 0 && dprintf(file, "{\"told\": %s}", mutant->told ? mutant->told : DOOR_TOLD) > 0)
        profile = conform_profile_open(path, 20260101, error, sizeof(error));
    close(file);
    unlink(path);
    if (!profile) {
        fprintf(stderr, "\"%s\": %s\n", mutant->name, error);
        exit(2);
    }
    return profile;
}

static void run_job(struct job *job)
{
    char uri[64], error[300] = "";
    struct conform_outcome outcome;
    bool whole = !job->mutant->statement;
    struct conform_profile *profile = profile_of(job->mutant);
    snprintf(uri, sizeof(uri), "mqtt://127.0.0.1:%d", served_port(job->served));
    struct conform_options options = {.uri = uri,
                                      .profile = profile,
                                      .only = whole ? NULL : job->mutant->statement,
                                      .own_broker = true,
                                      .heavy = !whole,
                                      .connects_per_s = 2000,
                                      .time_scale = whole ? 1 : asked.scale,
                                      .stop = &job->stop,
                                      .progress = look,
                                      .progress_context = job};
    if (!conform_run(&options, &outcome, error, sizeof(error))) {
        snprintf(job->why, sizeof(job->why), "nothing could be judged: %s", error);
        conform_release(&outcome);
        conform_profile_close(profile);
        return;
    }
    job->took_us = outcome.wall_us;
    job->checks = outcome.result_count;
    if (whole)
        judge_oddity(job, &outcome);
    else
        judge_mutant(job, &outcome);
    conform_release(&outcome);
    conform_profile_close(profile);
}

/* A machine that is too busy to serve everybody in time has shown nothing: what was not judged is held against the suite once more, alone and with all
 * of its patience. What was judged stays so: an oddity that failed has failed. */
static bool deserves_calm(const struct job *job)
{
    return !job->good && (job->mutant->statement || !job->accused);
}

static void run_calmly(void)
{
    asked.scale = 1;
    for (uint32_t i = 0; i < jobs.count; i++) {
        struct job *job = &jobs.list[i];
        if (!deserves_calm(job))
            continue;
        served_begin_again(job->served);
        job->why[0] = 0;
        job->stop = false;
        run_job(job);
        printf("again, alone: %s \"%s\" %s %s\n", job->mutant->statement ? job->mutant->statement : "(oddity)",
               job->mutant->name, job->good ? "is as it should be" : "IS NOT:", job->good ? "" : job->why);
        fflush(stdout);
    }
}

static void *worker(void *context)
{
    for (;;) {
        pthread_mutex_lock(&jobs.lock);
        struct job *job = jobs.next < jobs.count ? &jobs.list[jobs.next++] : NULL;
        pthread_mutex_unlock(&jobs.lock);
        if (!job)
            return NULL;
        run_job(job);
        if (asked.verbose || !job->good) {
            pthread_mutex_lock(&jobs.lock);
            printf("%s %-14s \"%s\" (%u checks, %.1f s): %s\n", job->good ? "  good" : "NOT   ",
                   job->mutant->statement ? job->mutant->statement : "(oddity)", job->mutant->name, job->checks,
                   (double)job->took_us / 1e6, job->why);
            fflush(stdout);
            pthread_mutex_unlock(&jobs.lock);
        }
    }
}

/* How many connections come before the first check does: all of a run without checks but the last, which looks for what was left behind. */
static bool count_links_before(struct doors *doors, struct served *clean)
{
    char uri[64], error[300] = "";
    struct conform_outcome outcome;
    snprintf(uri, sizeof(uri), "mqtt://127.0.0.1:%d", served_port(clean));
    struct conform_options options = {.uri = uri, .only = "none", .own_broker = true, .connects_per_s = 2000};
    bool good = conform_run(&options, &outcome, error, sizeof(error));
    conform_release(&outcome);
    if (!good)
        printf("%s\n", error);
    doors_late_after(doors, served_links(clean) - 1);
    return good;
}

static bool options_taken(int count, char **words)
{
    static const struct option names[] = {{"only", required_argument, NULL, 'o'},
                                          {"jobs", required_argument, NULL, 'j'},
                                          {"scale", required_argument, NULL, 's'},
                                          {"quick", no_argument, NULL, 'q'},
                                          {"odd", no_argument, NULL, 'd'},
                                          {"verbose", no_argument, NULL, 'v'},
                                          {NULL, 0, NULL, 0}};
    for (int option; (option = getopt_long(count, words, "", names, NULL)) != -1;) {
        switch (option) {
        case 'o': asked.only = optarg; break;
        case 'j': asked.at_once = (uint32_t)atoi(optarg); break;
        case 's': asked.scale = atof(optarg); break;
        case 'd': asked.odd = true; break;
        case 'q': asked.quick = true; break;
        case 'v': asked.verbose = true; break;
        default: return false;
        }
    }
    return asked.at_once >= 1 && asked.at_once <= JOBS_MAXIMUM;
}

static int report(void)
{
    uint32_t mutants = 0, found = 0, odd = 0, quiet = 0;
    bool clean = true;
    for (uint32_t i = 0; i < jobs.count; i++) {
        const struct job *job = &jobs.list[i];
        if (job->mutant == &unmutated) {
            clean = job->good;
        } else if (job->mutant->statement) {
            mutants++;
            found += job->good;
        } else {
            odd++;
            quiet += job->good;
        }
    }
    printf("figure: mutants found %u of %u, oddities quiet %u of %u, the broker as it is %s\n", found, mutants, quiet,
           odd, clean ? "passes" : "DOES NOT PASS");
    bool all_hold = asked.only || asked.quick || report_held();
    return found == mutants && quiet == odd && clean && all_hold ? 0 : 1;
}

int main(int count, char **words)
{
    pthread_t threads[JOBS_MAXIMUM];
    uint32_t begun = 0;
    if (!options_taken(count, words))
        return 2;
    if (!table_is_sound() && !asked.only)
        return 1;
    uint32_t statements = 0;
    while (conform_statement_at(statements))
        statements++;
    held = calloc(statements, sizeof(*held));
    struct doors *doors = held ? doors_create() : NULL;
    struct served *first = doors ? doors_add(doors, &unmutated) : NULL;
    if (!first)
        return 2;
    if (is_asked_for(&unmutated))
        add_job(doors, &unmutated);
    for (size_t t = 0; t < TABLES; t++)
        for (uint32_t i = 0; i < tables[t]->count; i++)
            if (is_asked_for(&tables[t]->list[i]))
                add_job(doors, &tables[t]->list[i]);
    qsort(jobs.list, jobs.count, sizeof(*jobs.list), by_weight);
    if (!doors_run(doors) || !count_links_before(doors, first))
        return 2;
    while (begun < asked.at_once && begun < jobs.count && pthread_create(&threads[begun], NULL, worker, NULL) == 0)
        begun++;
    for (uint32_t i = 0; i < begun; i++)
        pthread_join(threads[i], NULL);
    run_calmly();
    int status = report();
    doors_destroy(doors);
    free(jobs.list);
    free(held);
    return status;
}
