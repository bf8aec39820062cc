/* cloud/jobs.h: remote operations on fleets: the job workflow of cloud-contract 2, states, versions, time-outs, retries, roll-out and abort.
 *
 * No I/O, no clock; memory from memory.h. Executions cost memory for the things concerned only. Ids at most 64 bytes [a-zA-Z0-9_-],
 * documents at most 32 KiB of JSON. */
#ifndef CLOUD_JOBS_H
#define CLOUD_JOBS_H

#include "cloud/speaker.h"

#define CLOUD_JOB_ID_MAX       64
#define CLOUD_JOB_DOCUMENT_MAX 32768

enum cloud_execution_state {
    CLOUD_EXECUTION_QUEUED,
    CLOUD_EXECUTION_IN_PROGRESS,
    CLOUD_EXECUTION_SUCCEEDED,
    CLOUD_EXECUTION_FAILED,
    CLOUD_EXECUTION_TIMED_OUT,
    CLOUD_EXECUTION_REJECTED,
    CLOUD_EXECUTION_REMOVED,
    CLOUD_EXECUTION_CANCELED,
    CLOUD_EXECUTION_STATES
};
const char *cloud_execution_state_name(enum cloud_execution_state state); /* "IN_PROGRESS" */
enum cloud_job_state {
    CLOUD_JOB_SCHEDULED,
    CLOUD_JOB_IN_PROGRESS,
    CLOUD_JOB_COMPLETED,
    CLOUD_JOB_CANCELED,
    CLOUD_JOB_DELETION_IN_PROGRESS
};
const char *cloud_job_state_name(enum cloud_job_state state);

#define CLOUD_FAILURE_FAILED    1u
#define CLOUD_FAILURE_REJECTED  2u
#define CLOUD_FAILURE_TIMED_OUT 4u
#define CLOUD_FAILURE_ALL       7u

struct cloud_job_template {      /* all optional: 0 is the documented standard */
    uint32_t maximum_per_minute; /* 1 to 1,000; 0: 1,000 */
    uint32_t base_per_minute;    /* exponential roll-out; 0: constant */
    double increment_factor;     /* 1.1 to 5 */
    uint32_t increase_after;     /* things notified (or, by_success, succeeded) per step */
    bool increase_by_success;
    struct {
        unsigned failure; /* CLOUD_FAILURE_* */
        uint32_t minimum_executed;
        double threshold; /* share of the executions that ended by themselves, 0..1; every attempt counts */
    } abort[4];
    uint32_t abort_count;
    int64_t in_progress_timeout_us; /* 1 min to 7 d; 0: none */
    struct {
        unsigned failure; /* FAILED, TIMED_OUT or ALL */
        uint8_t retries;
    } retry[3];
    uint32_t retry_count;
    int64_t start_us, end_us; /* 0: at once; 0: no end. At the end what is QUEUED is cancelled (end behaviour CANCEL) */
    bool continuous;          /* targets may be added while it runs; else SNAPSHOT */
};

struct cloud_jobs;
/* One execution, for whoever watches; lent during the call. */
struct cloud_execution {
    struct span job_id, thing;
    enum cloud_execution_state state, before;  /* equal: created, or details changed only */
    int64_t queued_us, started_us, updated_us; /* started_us -1: not yet */
    int64_t version;
    uint32_t number;      /* 1 and up: retries count */
    struct span details;  /* statusDetails as JSON, empty: none */
    bool will_be_retried; /* ended without success, and another one follows */
};
struct cloud_jobs_options {
    int64_t epoch_us; /* wall = epoch + now */
    struct cloud_speaker speaker;
    void (*changed)(void *context, int64_t now_us, const struct cloud_execution *execution); /* may be NULL */
    void *context;
    bool events;                  /* job and jobExecution events through speaker.event */
    uint32_t requests_per_second; /* more within a second of the clock: RequestThrottled; 0: no limit */
};
struct cloud_jobs *cloud_jobs_create(const struct cloud_jobs_options *options); /* NULL: out of memory */
void cloud_jobs_destroy(struct cloud_jobs *jobs);

/* false: *error has one line. The document's "${thing}" stays as it is: documents are the same for all. */
bool cloud_job_create(struct cloud_jobs *jobs, int64_t now_us, struct span job_id, struct span document,
                      const struct cloud_job_template *template, char *error, size_t error_capacity);
/* Idempotent per job and thing. Rolled out by the job's rate: the thing is told when its execution is QUEUED. */
bool cloud_job_add_target(struct cloud_jobs *jobs, int64_t now_us, struct span job_id, struct span thing);
/* No further targets are coming: lets the job become COMPLETED. */
void cloud_job_close(struct cloud_jobs *jobs, int64_t now_us, struct span job_id);
/* What is QUEUED becomes CANCELED, and so do targets not yet rolled out, which hear nothing of it; force: IN_PROGRESS too. false: unknown,
 * or ended already. */
bool cloud_job_cancel(struct cloud_jobs *jobs, int64_t now_us, struct span job_id, bool force);
/* Forgets a job with all its executions: their rows are used again, which is where cloud_jobs_each() then meets new ones. What is open
 * becomes REMOVED; without force there must be nothing open. false: unknown, still running, or called from within a call of the service. */
bool cloud_job_delete(struct cloud_jobs *jobs, int64_t now_us, struct span job_id, bool force);
/* All open executions of a thing become REMOVED. It may be a target again while a CONTINUOUS job runs: another execution number. */
void cloud_jobs_remove_thing(struct cloud_jobs *jobs, int64_t now_us, struct span thing);

/* topic "things/<thing>/jobs/...": answers through speaker.answer. false: not a topic of jobs. A client may speak for its own thing
 * only (client id = thing): else answered with InvalidRequest. */
bool cloud_jobs_request(struct cloud_jobs *jobs, int64_t now_us, const struct cloud_request *request);
int64_t cloud_jobs_next_deadline(const struct cloud_jobs *jobs);
void cloud_jobs_tick(struct cloud_jobs *jobs, int64_t now_us); /* roll-out, time-outs, retries, schedules */

/* false: no such execution; *out's spans live until the next call. The latest execution number. */
bool cloud_jobs_find(const struct cloud_jobs *jobs, struct span job_id, struct span thing, struct cloud_execution *out);
/* counts: executions by the state of their latest attempt; targets not yet rolled out are in none. Both may be NULL. */
bool cloud_job_state_of(const struct cloud_jobs *jobs, struct span job_id, enum cloud_job_state *state,
                        uint64_t counts[CLOUD_EXECUTION_STATES]);
uint64_t cloud_jobs_open(const struct cloud_jobs *jobs); /* QUEUED or IN_PROGRESS or waiting to be rolled out */
/* Every latest execution, in the order of creation. */
void cloud_jobs_each(const struct cloud_jobs *jobs,
                     void (*visit)(void *context, const struct cloud_execution *execution), void *context);
uint64_t cloud_jobs_bytes(const struct cloud_jobs *jobs);
uint64_t cloud_jobs_hash(const struct cloud_jobs *jobs); /* of the state that matters, order-independent */

#endif
