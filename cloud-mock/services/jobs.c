/* jobs.c: the life of jobs and executions: targets, roll-out, states, retries, time-outs, abort, cancellation.
 *
 * jobs_enter() is the one place where an execution changes state: rows, counters and timers are right when it returns. Only then is
 * anybody told (jobs_follow()), so that whoever is told may ask, add and cancel at once.
 */
#include "jobs_internal.h"

#include "memory.h"

#include <cjson/cJSON.h>
#include <stdio.h>

#define RATE_MAX     1000u
#define CATCH_UP_US  (5 * US_PER_S) /* a tick that comes late rolls out what it missed, but not of longer than this */
#define TIMEOUT_MAX  (7 * US_PER_DAY)
#define SCHEDULE_MIN (30 * US_PER_MIN)
#define RETRIES_MAX  10u

const char *cloud_execution_state_name(enum cloud_execution_state state)
{
    static const char *const names[] = {"QUEUED",    "IN_PROGRESS", "SUCCEEDED", "FAILED",
                                        "TIMED_OUT", "REJECTED",    "REMOVED",   "CANCELED"};
    return names[state];
}

const char *cloud_job_state_name(enum cloud_job_state state)
{
    static const char *const names[] = {"SCHEDULED", "IN_PROGRESS", "COMPLETED", "CANCELED", "DELETION_IN_PROGRESS"};
    return names[state];
}

/* ---- telling the owner ---------------------------------------------------------------------------------------------- */

static struct cloud_execution view(const struct cloud_jobs *jobs, uint32_t row)
{
    const struct jobs_execution *execution = &jobs->executions[row];
    const struct jobs_thing *thing = &jobs->things[execution->thing];
    return (struct cloud_execution){.job_id = span_text(jobs->jobs[execution->job]->id),
                                    .thing = span_of(thing->name, thing->name_length),
                                    .state = execution->state,
                                    .before = execution->state,
                                    .queued_us = execution->queued_us,
                                    .started_us = execution->started_us,
                                    .updated_us = execution->updated_us,
                                    .version = execution->version,
                                    .number = execution->number,
                                    .details = jobs_details_of(execution)};
}

static void tell_changed(struct cloud_jobs *jobs, int64_t now_us, uint32_t row, enum cloud_execution_state before,
                         bool retried)
{
    struct jobs_text *details = jobs->executions[row].details;
    struct cloud_execution execution = view(jobs, row);
    execution.before = before;
    execution.will_be_retried = retried;
    if (!jobs->options.changed)
        return;
    if (details)
        details->uses++; /* lent, whatever happens to the row meanwhile */
    jobs->telling++;
    jobs->options.changed(jobs->options.context, now_us, &execution);
    jobs->telling--;
    jobs_text_drop(jobs, details);
}

/* ---- jobs as a whole ------------------------------------------------------------------------------------------------ */

static bool job_runs(const struct jobs_job *job)
{
    return job->state == CLOUD_JOB_SCHEDULED || job->state == CLOUD_JOB_IN_PROGRESS;
}

static bool job_is_idle(const struct jobs_job *job)
{
    return !job->waiting && !job->counts[CLOUD_EXECUTION_QUEUED] && !job->counts[CLOUD_EXECUTION_IN_PROGRESS];
}

static void plan(struct cloud_jobs *jobs, uint32_t number)
{
    const struct jobs_job *job = jobs->jobs[number];
    int64_t at_us = TIME_NEVER;
    if (job->state == CLOUD_JOB_SCHEDULED)
        at_us = job->template.start_us;
    if (job->state == CLOUD_JOB_IN_PROGRESS && job->waiting)
        at_us = job->next_us;
    if (job_runs(job) && job->template.end_us && job->template.end_us < at_us)
        at_us = job->template.end_us;
    jobs_timer_set(jobs, number | JOBS_TIMER_OF_JOB, at_us);
}

static void complete(struct cloud_jobs *jobs, int64_t now_us, uint32_t number)
{
    struct jobs_job *job = jobs->jobs[number];
    job->state = CLOUD_JOB_COMPLETED;
    job->closed = true;
    job->completed_us = job->updated_us = now_us;
    plan(jobs, number);
    jobs_event_job(jobs, now_us, number, "completed", "COMPLETED");
}

static void complete_if_done(struct cloud_jobs *jobs, int64_t now_us, uint32_t number)
{
    const struct jobs_job *job = jobs->jobs[number];
    if (job->state == CLOUD_JOB_IN_PROGRESS && job->closed && job_is_idle(job))
        complete(jobs, now_us, number);
}

static void cancel_rest(struct cloud_jobs *jobs, int64_t now_us, uint32_t number, bool force)
{
    struct jobs_job *job = jobs->jobs[number];
    job->state = CLOUD_JOB_CANCELED;
    job->updated_us = now_us;
    plan(jobs, number);
    jobs_event_job(jobs, now_us, number, "cancellation_in_progress", "CANCELLATION_IN_PROGRESS");
    for (uint32_t row = job->first; row != JOBS_NONE; row = jobs->executions[row].job_next) {
        unsigned state = jobs->executions[row].state;
        if (state == CLOUD_EXECUTION_QUEUED || (force && state == CLOUD_EXECUTION_IN_PROGRESS)) {
            struct jobs_consequence consequence = jobs_enter(jobs, now_us, row, CLOUD_EXECUTION_CANCELED);
            jobs_follow(jobs, now_us, &consequence);
        }
    }
    jobs_event_job(jobs, now_us, number, "canceled", "CANCELED");
}

/* ---- one execution -------------------------------------------------------------------------------------------------- */

static unsigned failure_of(enum cloud_execution_state state)
{
    return state == CLOUD_EXECUTION_FAILED      ? CLOUD_FAILURE_FAILED
           : state == CLOUD_EXECUTION_REJECTED  ? CLOUD_FAILURE_REJECTED
           : state == CLOUD_EXECUTION_TIMED_OUT ? CLOUD_FAILURE_TIMED_OUT
                                                : 0;
}

static bool abort_is_met(const struct jobs_job *job)
{
    uint64_t failed = job->ended[CLOUD_EXECUTION_FAILED], rejected = job->ended[CLOUD_EXECUTION_REJECTED],
             timed_out = job->ended[CLOUD_EXECUTION_TIMED_OUT],
             executed = job->ended[CLOUD_EXECUTION_SUCCEEDED] + failed + rejected + timed_out;
    for (uint32_t i = 0; i < job->template.abort_count; i++) {
        unsigned failure = job->template.abort[i].failure;
        uint64_t failures = (failure & CLOUD_FAILURE_FAILED ? failed : 0) +
                            (failure & CLOUD_FAILURE_REJECTED ? rejected : 0) +
                            (failure & CLOUD_FAILURE_TIMED_OUT ? timed_out : 0);
        if (failures && executed >= job->template.abort[i].minimum_executed &&
            (double)failures >= job->template.abort[i].threshold * (double)executed)
            return true;
    }
    return false;
}

/* Another attempt, when a criterion has one left: the row becomes QUEUED again, behind what the thing has before it already. */
static void retry(struct cloud_jobs *jobs, int64_t now_us, struct jobs_consequence *consequence)
{
    struct jobs_execution *execution = &jobs->executions[consequence->row];
    struct jobs_job *job = jobs->jobs[execution->job];
    uint32_t criterion = 0;
    while (criterion < job->template.retry_count &&
           (!(job->template.retry[criterion].failure & failure_of(execution->state)) ||
            execution->retries[criterion] >= job->template.retry[criterion].retries))
        criterion++;
    if (criterion == job->template.retry_count)
        return;
    unsigned state = execution->state;
    uint32_t archived = jobs_archive(jobs, consequence->row);
    if (archived == JOBS_NONE)
        return; /* no memory: it stays as it ended */
    execution = &jobs->executions[consequence->row];
    execution->retries[criterion]++;
    execution->state = CLOUD_EXECUTION_QUEUED;
    execution->number++;
    execution->version = 1;
    execution->queued_us = execution->updated_us = now_us;
    execution->started_us = -1;
    jobs_text_drop(jobs, execution->details);
    execution->details = NULL;
    jobs_open_link(jobs, consequence->row, false);
    jobs->open++;
    job->counts[state]--;
    job->counts[CLOUD_EXECUTION_QUEUED]++;
    consequence->ended = archived;
    consequence->retried = true;
}

static void end(struct cloud_jobs *jobs, int64_t now_us, struct jobs_consequence *consequence)
{
    struct jobs_execution *execution = &jobs->executions[consequence->row];
    struct jobs_job *job = jobs->jobs[execution->job];
    jobs_timer_set(jobs, consequence->row, TIME_NEVER);
    jobs_open_unlink(jobs, consequence->row);
    jobs->open--;
    job->ended[execution->state]++;
    if (job->state != CLOUD_JOB_IN_PROGRESS || !failure_of(execution->state))
        return;
    consequence->aborts = abort_is_met(job);
    if (consequence->aborts) {
        job->state = CLOUD_JOB_CANCELED; /* from here on no retry of anybody */
        job->comment = "The abort criteria were met.";
    } else if (execution->state != CLOUD_EXECUTION_REJECTED) { /* ALL means FAILED and TIMED_OUT here */
        retry(jobs, now_us, consequence);
    }
}

/* A target that was never rolled out ends without its thing ever hearing of it. */
static bool materialise(struct cloud_jobs *jobs, int64_t now_us, uint32_t row)
{
    struct jobs_execution *execution = &jobs->executions[row];
    struct jobs_job *job = jobs->jobs[execution->job];
    if (!(execution->flags & JOBS_WAITING))
        return false;
    execution->flags &= (uint8_t)~JOBS_WAITING;
    execution->number = 1;
    execution->version = 1;
    execution->queued_us = execution->updated_us = now_us;
    job->waiting--;
    job->counts[CLOUD_EXECUTION_QUEUED]++;
    return true;
}

struct jobs_consequence jobs_enter(struct cloud_jobs *jobs, int64_t now_us, uint32_t row,
                                   enum cloud_execution_state state)
{
    bool unseen = materialise(jobs, now_us, row);
    struct jobs_execution *execution = &jobs->executions[row];
    struct jobs_job *job = jobs->jobs[execution->job];
    struct jobs_consequence consequence = {.row = row, .ended = row, .before = execution->state};
    ASSERT(!jobs_is_terminal(execution->state));
    job->counts[execution->state]--;
    job->counts[state]++;
    job->updated_us = execution->updated_us = now_us;
    execution->version++;
    execution->state = (uint8_t)state;
    if (state == CLOUD_EXECUTION_IN_PROGRESS && execution->started_us < 0) {
        execution->started_us = now_us;
        if (job->template.in_progress_timeout_us)
            jobs_timer_set(jobs, row, now_us + job->template.in_progress_timeout_us);
    }
    if (jobs_is_terminal(state))
        end(jobs, now_us, &consequence);
    consequence.listed = jobs_is_terminal(state) && !unseen;
    return consequence;
}

void jobs_follow(struct cloud_jobs *jobs, int64_t now_us, const struct jobs_consequence *consequence)
{
    uint32_t row = consequence->row, thing = jobs->executions[row].thing, job = jobs->executions[row].job;
    uint16_t number = jobs->executions[row].number;
    bool ended = jobs_is_terminal(jobs->executions[consequence->ended].state);
    tell_changed(jobs, now_us, consequence->ended, consequence->before, consequence->retried);
    if (ended)
        jobs_event_execution(jobs, now_us, consequence->ended);
    if (consequence->retried && jobs->executions[row].number == number && jobs->executions[row].version == 1)
        tell_changed(jobs, now_us, row, CLOUD_EXECUTION_QUEUED, false);
    if (consequence->listed)
        jobs_tell_pending(jobs, now_us, thing);
    else if (!ended)
        jobs_tell_next(jobs, now_us, thing);
    if (consequence->aborts)
        cancel_rest(jobs, now_us, job, false);
    complete_if_done(jobs, now_us, job);
}

/* ---- roll-out ------------------------------------------------------------------------------------------------------- */

static uint32_t rate_of(const struct jobs_job *job)
{
    uint32_t most = job->template.maximum_per_minute ? job->template.maximum_per_minute : RATE_MAX;
    if (!job->template.base_per_minute)
        return most;
    uint64_t done = job->template.increase_by_success ? job->counts[CLOUD_EXECUTION_SUCCEEDED] : job->notified;
    double rate = job->template.base_per_minute;
    for (uint64_t steps = done / job->template.increase_after; steps && rate < most; steps--)
        rate *= job->template.increment_factor;
    return rate < most ? (uint32_t)rate : most;
}

static void enqueue(struct cloud_jobs *jobs, int64_t now_us, uint32_t row)
{
    uint32_t thing = jobs->executions[row].thing;
    materialise(jobs, now_us, row);
    jobs_open_unlink(jobs, row);
    jobs_open_link(jobs, row, false);
    tell_changed(jobs, now_us, row, CLOUD_EXECUTION_QUEUED, false);
    jobs_tell_pending(jobs, now_us, thing);
}

/* One after the other with the same time between them, rounded up: never more than the rate in any minute. */
static void roll_out(struct cloud_jobs *jobs, int64_t now_us, uint32_t number)
{
    struct jobs_job *job = jobs->jobs[number];
    while (job->state == CLOUD_JOB_IN_PROGRESS && job->waiting && job->next_us <= now_us) {
        while (!(jobs->executions[job->cursor].flags & JOBS_WAITING))
            job->cursor = jobs->executions[job->cursor].job_next;
        job->notified++;
        uint32_t rate = rate_of(job);
        if (job->next_us < now_us - CATCH_UP_US)
            job->next_us = now_us;
        job->next_us += (US_PER_MIN + rate - 1) / rate;
        enqueue(jobs, now_us, job->cursor);
    }
    plan(jobs, number);
}

static void start(struct cloud_jobs *jobs, int64_t now_us, uint32_t number)
{
    struct jobs_job *job = jobs->jobs[number];
    job->state = CLOUD_JOB_IN_PROGRESS;
    job->next_us = job->updated_us = now_us;
    roll_out(jobs, now_us, number);
    complete_if_done(jobs, now_us, number);
}

static void job_due(struct cloud_jobs *jobs, int64_t now_us, uint32_t number)
{
    struct jobs_job *job = jobs->jobs[number];
    if (job->template.end_us && now_us >= job->template.end_us) {
        job->comment = "The scheduled end was reached.";
        if (job_is_idle(job))
            complete(jobs, now_us, number);
        else
            cancel_rest(jobs, now_us, number, false);
    } else if (job->state == CLOUD_JOB_SCHEDULED) {
        start(jobs, now_us, number);
    } else {
        roll_out(jobs, now_us, number);
    }
}

void cloud_jobs_tick(struct cloud_jobs *jobs, int64_t now_us)
{
    while (jobs->timer_count && jobs->timers[0].at_us <= now_us) {
        uint32_t id = jobs->timers[0].id;
        if (id & JOBS_TIMER_OF_JOB) {
            job_due(jobs, now_us, id & ~JOBS_TIMER_OF_JOB);
        } else {
            struct jobs_consequence consequence = jobs_enter(jobs, now_us, id, CLOUD_EXECUTION_TIMED_OUT);
            jobs_follow(jobs, now_us, &consequence);
        }
    }
}

int64_t cloud_jobs_next_deadline(const struct cloud_jobs *jobs)
{
    return jobs->timer_count ? jobs->timers[0].at_us : TIME_NEVER;
}

/* ---- the back office ------------------------------------------------------------------------------------------------ */

struct cloud_jobs *cloud_jobs_create(const struct cloud_jobs_options *options)
{
    struct cloud_jobs *jobs = memory_allocate_zero(1, sizeof(*jobs));
    if (!jobs)
        return NULL;
    jobs->options = *options;
    jobs->free_row = JOBS_NONE;
    return jobs;
}

void cloud_jobs_destroy(struct cloud_jobs *jobs)
{
    if (jobs)
        jobs_free(jobs);
}

static bool id_is_valid(struct span id)
{
    for (uint32_t i = 0; i < id.length; i++) {
        uint8_t c = id.data[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_'))
            return false;
    }
    return id.length > 0 && id.length <= CLOUD_JOB_ID_MAX;
}

static const char *rollout_flaw(const struct cloud_job_template *t)
{
    if (t->maximum_per_minute > RATE_MAX)
        return "the roll-out's maximum per minute is 1 to 1000";
    if (!t->base_per_minute)
        return NULL;
    if (t->base_per_minute > (t->maximum_per_minute ? t->maximum_per_minute : RATE_MAX))
        return "the roll-out's base rate is above its maximum";
    if (!(t->increment_factor >= 1.1 && t->increment_factor <= 5))
        return "the roll-out's increment factor is 1.1 to 5";
    return t->increase_after ? NULL : "an exponential roll-out needs a number of things after which it increases";
}

static const char *failure_flaw(const struct cloud_job_template *t)
{
    unsigned retries = 0;
    if (t->abort_count > sizeof(t->abort) / sizeof(t->abort[0]))
        return "at most 4 abort criteria";
    for (uint32_t i = 0; i < t->abort_count; i++)
        if (!t->abort[i].failure || t->abort[i].failure & ~CLOUD_FAILURE_ALL || !t->abort[i].minimum_executed ||
            !(t->abort[i].threshold > 0 && t->abort[i].threshold <= 1))
            return "an abort criterion needs kinds of failure, a number of executed things and a share up to 1";
    if (t->retry_count > sizeof(t->retry) / sizeof(t->retry[0]))
        return "at most 3 retry criteria";
    for (uint32_t i = 0; i < t->retry_count; i++) {
        if (!(t->retry[i].failure & (CLOUD_FAILURE_FAILED | CLOUD_FAILURE_TIMED_OUT)) ||
            t->retry[i].failure & ~CLOUD_FAILURE_ALL ||
            (t->retry[i].failure & CLOUD_FAILURE_REJECTED && t->retry[i].failure != CLOUD_FAILURE_ALL))
            return "a retry is for FAILED, TIMED_OUT or ALL";
        retries += t->retry[i].retries;
    }
    return retries <= RETRIES_MAX ? NULL : "at most 10 retries for one thing";
}

static const char *time_flaw(const struct cloud_job_template *t, int64_t now_us)
{
    int64_t start_us = t->start_us > now_us ? t->start_us : now_us;
    if (t->in_progress_timeout_us &&
        (t->in_progress_timeout_us < US_PER_MIN || t->in_progress_timeout_us > TIMEOUT_MAX))
        return "the in-progress time-out is 1 minute to 7 days";
    if (start_us - now_us > 365 * US_PER_DAY)
        return "a job starts within a year";
    if (t->end_us && t->end_us - now_us > 2 * 365 * US_PER_DAY)
        return "a job ends within two years";
    return t->end_us && t->end_us - start_us < SCHEDULE_MIN ? "a job ends at least 30 minutes after its start" : NULL;
}

static const char *document_flaw(struct span document)
{
    if (!document.length || document.length > CLOUD_JOB_DOCUMENT_MAX)
        return "a job document has 1 to 32768 bytes";
    const char *end_of = NULL;
    cJSON *json = cJSON_ParseWithLengthOpts((const char *)document.data, document.length, &end_of, 0);
    bool object = cJSON_IsObject(json);
    cJSON_Delete(json);
    if (!object)
        return "a job document is a JSON object";
    for (const uint8_t *c = (const uint8_t *)end_of; c < document.data + document.length; c++)
        if (*c != ' ' && *c != '\n' && *c != '\r' && *c != '\t')
            return "a job document is one JSON object and nothing behind it";
    return NULL;
}

static const char *create_flaw(const struct cloud_jobs *jobs, int64_t now_us, struct span job_id, struct span document,
                               const struct cloud_job_template *template)
{
    const char *flaw = NULL;
    if (!id_is_valid(job_id))
        return "a job id has 1 to 64 characters of a-z A-Z 0-9 - _";
    if (jobs_find_job(jobs, job_id) != JOBS_NONE)
        return "there is a job of this id already";
    if (!(flaw = document_flaw(document)) && !(flaw = rollout_flaw(template)) && !(flaw = failure_flaw(template)))
        flaw = time_flaw(template, now_us);
    return flaw;
}

bool cloud_job_create(struct cloud_jobs *jobs, int64_t now_us, struct span job_id, struct span document,
                      const struct cloud_job_template *template, char *error, size_t error_capacity)
{
    static const struct cloud_job_template standard = {0};
    template = template ? template : &standard;
    const char *flaw = create_flaw(jobs, now_us, job_id, document, template);
    struct jobs_text *kept = flaw ? NULL : jobs_text_take(jobs, document);
    uint32_t number = kept ? jobs_add_job(jobs, job_id) : JOBS_NONE;
    if (number == JOBS_NONE) {
        jobs_text_drop(jobs, kept);
        if (error_capacity)
            snprintf(error, error_capacity, "job %.*s: %s", (int)(job_id.length < 80 ? job_id.length : 80),
                     job_id.length ? (const char *)job_id.data : "", flaw ? flaw : "out of memory");
        return false;
    }
    struct jobs_job *job = jobs->jobs[number];
    job->document = kept;
    job->template = *template;
    job->created_us = job->updated_us = job->next_us = now_us;
    job->state = template->start_us > now_us ? CLOUD_JOB_SCHEDULED : CLOUD_JOB_IN_PROGRESS;
    plan(jobs, number);
    return true;
}

static bool name_is_valid(struct span thing)
{
    for (uint32_t i = 0; i < thing.length; i++)
        if (thing.data[i] < 0x20 || memchr("/+#", thing.data[i], 3))
            return false;
    return thing.length > 0 && thing.length <= JOBS_THING_MAX;
}

/* A thing that left and is a target again (CONTINUOUS): a new execution at once, with all retries before it. */
static bool rejoin(struct cloud_jobs *jobs, int64_t now_us, uint32_t row)
{
    struct jobs_job *job = jobs->jobs[jobs->executions[row].job];
    if (job->state != CLOUD_JOB_IN_PROGRESS || jobs_archive(jobs, row) == JOBS_NONE)
        return false;
    struct jobs_execution *execution = &jobs->executions[row];
    uint16_t number = (uint16_t)(execution->number + 1);
    job->counts[CLOUD_EXECUTION_REMOVED]--;
    jobs_text_drop(jobs, execution->details);
    execution->details = NULL;
    execution->state = CLOUD_EXECUTION_QUEUED;
    execution->flags |= JOBS_WAITING;
    execution->started_us = -1;
    memset(execution->retries, 0, sizeof(execution->retries));
    job->waiting++;
    job->notified++;
    jobs->open++;
    jobs_open_link(jobs, row, true);
    materialise(jobs, now_us, row);
    execution->number = number;
    enqueue(jobs, now_us, row);
    return true;
}

bool cloud_job_add_target(struct cloud_jobs *jobs, int64_t now_us, struct span job_id, struct span thing)
{
    uint32_t number = jobs_find_job(jobs, job_id), whose = jobs_find_thing(jobs, thing),
             row = jobs_find_row(jobs, number, whose);
    if (number == JOBS_NONE || !name_is_valid(thing))
        return false;
    struct jobs_job *job = jobs->jobs[number];
    if (row != JOBS_NONE) {
        bool left = job->template.continuous && jobs->executions[row].state == CLOUD_EXECUTION_REMOVED;
        return !left || (!job->closed && rejoin(jobs, now_us, row));
    }
    if (!job_runs(job) || job->closed)
        return false;
    if (whose == JOBS_NONE && (whose = jobs_add_thing(jobs, thing)) == JOBS_NONE)
        return false;
    if ((row = jobs_add_row(jobs, number, whose)) == JOBS_NONE)
        return false;
    jobs->executions[row].flags = JOBS_WAITING;
    if (job->last == JOBS_NONE)
        job->first = job->cursor = row;
    else
        jobs->executions[job->last].job_next = row;
    job->last = row;
    if (!job->waiting++ && job->next_us < now_us)
        job->next_us = now_us; /* nobody waited: no debts of the time since */
    jobs->open++;
    jobs_open_link(jobs, row, true);
    roll_out(jobs, now_us, number);
    return true;
}

void cloud_job_close(struct cloud_jobs *jobs, int64_t now_us, struct span job_id)
{
    uint32_t number = jobs_find_job(jobs, job_id);
    if (number == JOBS_NONE)
        return;
    jobs->jobs[number]->closed = true;
    complete_if_done(jobs, now_us, number);
}

bool cloud_job_cancel(struct cloud_jobs *jobs, int64_t now_us, struct span job_id, bool force)
{
    uint32_t number = jobs_find_job(jobs, job_id);
    if (number == JOBS_NONE)
        return false;
    const struct jobs_job *job = jobs->jobs[number];
    bool left_over = force && job->state == CLOUD_JOB_CANCELED && job->counts[CLOUD_EXECUTION_IN_PROGRESS];
    if (!job_runs(job) && !left_over)
        return false;
    cancel_rest(jobs, now_us, number, force);
    return true;
}

bool cloud_job_delete(struct cloud_jobs *jobs, int64_t now_us, struct span job_id, bool force)
{
    uint32_t number = jobs_find_job(jobs, job_id);
    if (number == JOBS_NONE || jobs->telling || jobs->jobs[number]->state == CLOUD_JOB_DELETION_IN_PROGRESS)
        return false;
    struct jobs_job *job = jobs->jobs[number];
    if (!force && (job_runs(job) || !job_is_idle(job)))
        return false;
    job->state = CLOUD_JOB_DELETION_IN_PROGRESS;
    job->updated_us = now_us;
    plan(jobs, number);
    jobs_event_job(jobs, now_us, number, "deletion_in_progress", "DELETION_IN_PROGRESS");
    for (uint32_t row = job->first; row != JOBS_NONE; row = jobs->executions[row].job_next)
        if (!jobs_is_terminal(jobs->executions[row].state)) {
            struct jobs_consequence consequence = jobs_enter(jobs, now_us, row, CLOUD_EXECUTION_REMOVED);
            jobs_follow(jobs, now_us, &consequence);
        }
    jobs_event_job(jobs, now_us, number, "deleted", "DELETED");
    jobs_forget(jobs, number);
    return true;
}

void cloud_jobs_remove_thing(struct cloud_jobs *jobs, int64_t now_us, struct span thing)
{
    uint32_t number = jobs_find_thing(jobs, thing), row;
    bool listed = false;
    if (number == JOBS_NONE)
        return;
    while ((row = jobs->things[number].open_first) != JOBS_NONE) {
        struct jobs_consequence consequence = jobs_enter(jobs, now_us, row, CLOUD_EXECUTION_REMOVED);
        listed |= consequence.listed;
        consequence.listed = false; /* told once, below */
        jobs_follow(jobs, now_us, &consequence);
    }
    if (listed)
        jobs_tell_pending(jobs, now_us, number);
}

/* ---- asking --------------------------------------------------------------------------------------------------------- */

bool cloud_jobs_find(const struct cloud_jobs *jobs, struct span job_id, struct span thing, struct cloud_execution *out)
{
    uint32_t row = jobs_find_row(jobs, jobs_find_job(jobs, job_id), jobs_find_thing(jobs, thing));
    if (row == JOBS_NONE || jobs->executions[row].flags & JOBS_WAITING)
        return false;
    *out = view(jobs, row);
    return true;
}

bool cloud_job_state_of(const struct cloud_jobs *jobs, struct span job_id, enum cloud_job_state *state,
                        uint64_t counts[CLOUD_EXECUTION_STATES])
{
    uint32_t number = jobs_find_job(jobs, job_id);
    if (number == JOBS_NONE)
        return false;
    if (state)
        *state = jobs->jobs[number]->state;
    if (counts)
        memcpy(counts, jobs->jobs[number]->counts, sizeof(jobs->jobs[number]->counts));
    return true;
}

uint64_t cloud_jobs_open(const struct cloud_jobs *jobs)
{
    return jobs->open;
}

void cloud_jobs_each(const struct cloud_jobs *jobs,
                     void (*visit)(void *context, const struct cloud_execution *execution), void *context)
{
    for (uint32_t row = 0; row < jobs->execution_count; row++) {
        if (jobs->executions[row].flags & (JOBS_WAITING | JOBS_ARCHIVED | JOBS_FREE))
            continue;
        struct cloud_execution execution = view(jobs, row);
        visit(context, &execution);
    }
}

static uint64_t hash_numbers(uint64_t hash, const int64_t *numbers, size_t count)
{
    for (size_t i = 0; i < count; i++)
        hash = jobs_mix((hash + UINT64_C(0x9E3779B97F4A7C15)) ^ (uint64_t)numbers[i]);
    return hash;
}

uint64_t cloud_jobs_hash(const struct cloud_jobs *jobs)
{
    uint64_t sum = 0;
    for (uint32_t row = 0; row < jobs->execution_count; row++) {
        const struct jobs_execution *execution = &jobs->executions[row];
        if (execution->flags & JOBS_FREE)
            continue;
        const struct jobs_thing *thing = &jobs->things[execution->thing];
        const int64_t numbers[] = {jobs->jobs[execution->job]->hash,
                                   thing->hash,
                                   execution->state,
                                   execution->flags,
                                   execution->number,
                                   execution->version,
                                   execution->queued_us,
                                   execution->started_us,
                                   execution->updated_us,
                                   execution->details ? execution->details->hash : 0,
                                   jobs_timer_of(jobs, row)};
        sum += hash_numbers(1, numbers, sizeof(numbers) / sizeof(numbers[0]));
    }
    for (uint32_t i = 0; i < jobs->job_count; i++) {
        const struct jobs_job *job = jobs->jobs[i];
        if (!job)
            continue;
        const int64_t numbers[] = {job->hash,       job->document->hash, job->state,   job->closed,
                                   job->created_us, job->completed_us,   job->next_us, (int64_t)job->notified};
        sum += hash_numbers(2, numbers, sizeof(numbers) / sizeof(numbers[0]));
    }
    return sum;
}
