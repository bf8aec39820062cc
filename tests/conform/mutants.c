/* mutants.c: does the conformance suite find what it is for, and keep quiet about what is allowed?
 *
 * Each mutant, a broker that breaks one statement, is held against the checks of that statement: one of them has to fail. Each oddity, a broker that
 * is unusual and right, and the broker as it is, are held against the whole suite: nothing may fail, and everything has to be concluded.
 *   test_conform_mutants [--only TEXT] [--jobs N] [--scale X] [--waiting] [--quick] [--verbose]
 */
#define _GNU_SOURCE /* strcasestr */
#include "mutant.h"
#include "sim/conform.h"

#include <getopt.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#define MUTANTS_LEAST  120
#define ODDITIES_LEAST 15
#define JOBS           24
#define SCALE          0.3 /* of the suite's patience: what does not come costs its time twice */
#define JOBS_MAXIMUM   64

extern const struct mutant_table mutants_connect, mutants_session, mutants_will, mutants_publish, mutants_retained,
    mutants_quality, mutants_flow, mutants_subscribe, mutants_shared, mutants_leave, mutants_tolerant, mutants_lengths,
    oddities;
static const struct mutant_table *const tables[] = {
    &mutants_connect,  &mutants_session, &mutants_will,      &mutants_publish, &mutants_retained,
    &mutants_quality,  &mutants_flow,    &mutants_subscribe, &mutants_shared,  &mutants_leave,
    &mutants_tolerant, &mutants_lengths, &oddities,
};
#define TABLES (sizeof(tables) / sizeof(tables[0]))

static const struct mutant unmutated = {.name = "the broker as it is"};

/* Not found yet, or not quiet yet: their checks are still being written. */
static const char *const waiting[] = {
    "Maximum QoS 0",
    "Maximum QoS 1",
    "who is refused gets no CONNACK",
    "QoS 1 is the most that is granted",
    "PUBACK and PUBREC always say 0x10",
    "Maximum Packet Size 2,048",
    "QoS 0 is not retained",
    "a will is lost on takeover",
    "sessions of at most 10 s",
    "a will is lost when Keep Alive runs out",
    "the client's Keep Alive is not the one that counts",
    "a takeover publishes the will before its delay",
    "the highest topic alias is refused",
    "reason strings and user properties wherever they may be",
    "all clients without an id are one",
    "every message has a Payload Format Indicator",
    "Server Keep Alive of 2 to 10 s",
    "large payloads lose their last byte",
    "another id is told than was assigned",
    "what follows a DISCONNECT is done",
    "topics are in small letters",
    "CONNACK has a reason code that is none",
    "Session Present is set after a clean start",
    "an expiry raised from 0 by DISCONNECT is overlooked",
    "a client that comes again is turned away",
    "Clean Start is looked at for its answer only",
    "Retain As Published is lost when a session is resumed",
    "topic alias 0 comes",
    "an alias comes that was never told",
    "DUP comes with QoS 0",
    "0x10 in an acknowledgement is an error",
    "PINGREQ is not answered while messages are in flight",
    "reason codes of SUBACK are turned round",
    "UNSUBACK always has 0x00",
    "a message goes to the first session only",
    "Payload Format Indicator 2 is overlooked",
    "CONNECT fields in any order are accepted",
    "topic names may have wildcards",
    "DUP with QoS 0 is overlooked",
    "wildcards in response topics are overlooked",
    "PUBREL comes without its flag",
    "a reserved acknowledge flag is set",
    "CONNACK has Receive Maximum 0",
    "CONNACK has Maximum QoS 2",
    "CONNACK has Retain Available 2",
    "CONNACK has Maximum Packet Size 0",
    "QoS 0 comes with DUP",
    "QoS 3 comes",
    "ill-formed UTF-8 in a PUBLISH is overlooked",
    "ill-formed UTF-8 in a CONNECT is overlooked, but in its client id",
    "wrong header flags are overlooked",
    "U+0000 in strings is overlooked",
    "packet type 0 is overlooked",
    "wrong flags of all but SUBSCRIBE are overlooked",
    "foreign and unknown properties are overlooked",
    "packets longer or shorter than what is in them are overlooked",
    "properties given twice are overlooked",
    "properties that run past their packet are overlooked",
    "Remaining Length in any form is read",
    "QoS 3 is overlooked",
    "PINGRESP has a long form of its length",
    "Remaining Length of five bytes is read",
    "QoS 0 comes with a packet identifier",
    "SUBACK has a reserved flag",
    "UNSUBACK is longer than what is in it",
    "no properties are not written as a length of 0",
    "SUBACK has a property twice",
    "SUBACK has a property that is not its own",
    "a reason string is no UTF-8",
    "a property of SUBACK runs past its end",
    "a reason string has a U+0000",
    "CONNACK has a property twice",
    "Retain Handling 0 sends nothing",
    "QoS 0 is the most that is granted",
};

static bool waits(const struct mutant *mutant)
{
    for (size_t i = 0; i < sizeof(waiting) / sizeof(waiting[0]); i++)
        if (strcmp(waiting[i], mutant->name) == 0)
            return true;
    return false;
}

struct job {
    const struct mutant *mutant;
    struct served *served;
    bool done, good;
    uint32_t checks;
    int64_t took_us;
    char why[600];
};

static struct {
    const char *only;
    uint32_t at_once;
    double scale;
    bool waiting, verbose, quick;
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
            if (mutant->statement && !waits(mutant))
                mutants++;
            odd += !mutant->statement && !waits(mutant);
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
    if (waits(mutant) != asked.waiting || (asked.quick && !mutant->statement))
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

static void judge_mutant(struct job *job, const struct conform_outcome *outcome)
{
    const char *statement = job->mutant->statement;
    size_t used = 0;
    job->why[0] = 0;
    for (uint32_t i = 0; i < outcome->result_count; i++) {
        const struct conform_result *result = &outcome->results[i];
        bool found = result->verdict == CONFORM_FAIL && same(result->ref, statement);
        const char *why = result->why;
        for (uint32_t f = 0; f < result->finding_count; f++)
            if (result->findings[f].verdict == CONFORM_FAIL && same(result->findings[f].ref, statement)) {
                found = true;
                why = result->findings[f].text;
            }
        if (found) {
            job->good = true;
            snprintf(job->why, sizeof(job->why), "%s: %s", result->id, why);
            return;
        }
        if (used < sizeof(job->why))
            used += (size_t)snprintf(job->why + used, sizeof(job->why) - used, "%s%s %s%s%.150s", used ? "; " : "",
                                     result->id, conform_verdict_name(result->verdict), result->why[0] ? ": " : "",
                                     result->why);
    }
    if (outcome->result_count == 0)
        snprintf(job->why, sizeof(job->why), "no check of %s", statement);
}

static void judge_oddity(struct job *job, const struct conform_outcome *outcome)
{
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
        if (asked.verbose)
            printf("    %s: %s %s (%s): %s\n", job->mutant->name, result->id, conform_verdict_name(result->verdict),
                   ref, why);
        if (used < sizeof(job->why))
            used += (size_t)snprintf(job->why + used, sizeof(job->why) - used, "%s%s %s: %.120s", used ? "; " : "",
                                     result->id, conform_verdict_name(result->verdict), why);
    }
}

static void run_job(struct job *job)
{
    char uri[64], error[300] = "";
    struct conform_outcome outcome;
    bool whole = !job->mutant->statement;
    snprintf(uri, sizeof(uri), "mqtt://127.0.0.1:%d", served_port(job->served));
    struct conform_options options = {.uri = uri,
                                      .only = whole ? NULL : job->mutant->statement,
                                      .own_broker = true,
                                      .heavy = !whole,
                                      .connects_per_s = 2000,
                                      .time_scale = whole ? 1 : asked.scale};
    if (!conform_run(&options, &outcome, error, sizeof(error))) {
        snprintf(job->why, sizeof(job->why), "nothing could be judged: %s", error);
        conform_release(&outcome);
        return;
    }
    job->took_us = outcome.wall_us;
    job->checks = outcome.result_count;
    if (whole)
        judge_oddity(job, &outcome);
    else
        judge_mutant(job, &outcome);
    conform_release(&outcome);
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
        job->done = true;
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
                                          {"waiting", no_argument, NULL, 'w'},
                                          {"quick", no_argument, NULL, 'q'},
                                          {"verbose", no_argument, NULL, 'v'},
                                          {NULL, 0, NULL, 0}};
    for (int option; (option = getopt_long(count, words, "", names, NULL)) != -1;) {
        switch (option) {
        case 'o': asked.only = optarg; break;
        case 'j': asked.at_once = (uint32_t)atoi(optarg); break;
        case 's': asked.scale = atof(optarg); break;
        case 'w': asked.waiting = true; break;
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
    printf("mutants found %u of %u, oddities quiet %u of %u, the broker as it is %s\n", found, mutants, quiet, odd,
           clean ? "passes" : "DOES NOT PASS");
    return found == mutants && quiet == odd && clean ? 0 : 1;
}

int main(int count, char **words)
{
    pthread_t threads[JOBS_MAXIMUM];
    uint32_t begun = 0;
    if (!options_taken(count, words))
        return 2;
    if (!table_is_sound() && !asked.only)
        return 1;
    struct doors *doors = doors_create();
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
    int status = report();
    doors_destroy(doors);
    free(jobs.list);
    return status;
}
