/* jobs_internal.h: what an instance of the job service keeps, and what its files know of each other.
 *
 * Executions are rows of one array, known by number; a row is what one thing does about one job, from the moment it is a target, and stays
 * the same row through retries: an attempt that ended and is followed by another is copied to a row of its own, archived. Everything
 * that is asked for by name is found through hashed indices; everything that has to happen at a time stands in one heap.
 * Rows and numbers may be looked up again after every call outward, pointers to rows may not be kept over one.
 */
#ifndef SERVICES_JOBS_INTERNAL_H
#define SERVICES_JOBS_INTERNAL_H

#include "../registry/index.h"
#include "cloud/jobs.h"
#include "text.h"

#define JOBS_NONE         UINT32_MAX
#define JOBS_THING_MAX    128
#define JOBS_TIMER_OF_JOB UINT32_C(0x80000000) /* timer ids: a row, or a job with this bit */

/* Documents and status details, stored once where equal. */
struct jobs_text {
    struct jobs_text *next; /* of the same bucket */
    uint32_t hash, uses, length;
    char data[];
};

enum jobs_flag {
    JOBS_WAITING = 1,  /* a target not yet rolled out: no execution for anybody outside */
    JOBS_ARCHIVED = 2, /* an attempt that another one followed */
    JOBS_FREE = 4      /* of a deleted job: to be used again, linked by job_next */
};

struct jobs_execution {
    int64_t queued_us, started_us, updated_us; /* started_us -1: not yet */
    struct jobs_text *details;
    uint32_t job, thing;
    uint32_t version;
    uint32_t older;                    /* the archived attempt before this one */
    uint32_t job_next;                 /* of the same job, in the order of becoming targets */
    uint32_t open_next, open_previous; /* of the same thing: waiting ones first, then in the order of being queued */
    uint32_t timer;                    /* place in the heap */
    uint16_t number;
    uint8_t state, flags;
    uint8_t retries[3]; /* used, by criterion */
};

struct jobs_thing {
    const char *name;
    uint32_t name_length, hash;
    uint32_t open_first, open_last;
    uint32_t told; /* the execution and attempt the last notify-next was about */
    uint16_t told_number;
};

struct jobs_job {
    char id[CLOUD_JOB_ID_MAX + 1];
    uint32_t hash;
    struct jobs_text *document;
    struct cloud_job_template template;
    enum cloud_job_state state;
    bool closed;
    const char *comment;                                   /* why it was cancelled */
    int64_t created_us, updated_us, completed_us, next_us; /* next_us: when the next target may be rolled out */
    uint32_t first, last, cursor;                          /* all of its rows; where the roll-out is */
    uint32_t waiting, timer;
    uint64_t notified;
    uint64_t counts[CLOUD_EXECUTION_STATES]; /* latest attempts */
    uint64_t ended[CLOUD_EXECUTION_STATES];  /* all attempts */
};

struct jobs_timer {
    int64_t at_us;
    uint32_t id;
};

struct jobs_names; /* a piece of memory for names, never moved */

struct cloud_jobs {
    struct cloud_jobs_options options;
    struct jobs_job **jobs; /* NULL: deleted */
    struct jobs_thing *things;
    struct jobs_execution *executions;
    uint32_t job_count, job_capacity, thing_count, thing_capacity, execution_count, execution_capacity;
    struct index job_index, thing_index, execution_index;
    struct jobs_text **texts;
    uint32_t text_count, text_buckets;
    struct jobs_names *names;
    struct jobs_timer *timers;
    uint32_t timer_count, timer_capacity;
    uint64_t open, event_number, block_bytes; /* of jobs, texts and names */
    int64_t throttle_s;                       /* the second being counted */
    uint32_t throttle_count;
    uint32_t free_row;
    uint32_t telling; /* calls outward under way */
};

/* ---- jobs_store.c: keeping and finding ---------------------------------------------------------------------------- */

uint64_t jobs_hash_bytes(struct span bytes);
uint64_t jobs_mix(uint64_t value);
uint32_t jobs_find_job(const struct cloud_jobs *jobs, struct span id);
uint32_t jobs_find_thing(const struct cloud_jobs *jobs, struct span name);
uint32_t jobs_find_row(const struct cloud_jobs *jobs, uint32_t job, uint32_t thing);
/* JOBS_NONE: out of memory. */
uint32_t jobs_add_job(struct cloud_jobs *jobs, struct span id);
uint32_t jobs_add_thing(struct cloud_jobs *jobs, struct span name);
uint32_t jobs_add_row(struct cloud_jobs *jobs, uint32_t job, uint32_t thing);
/* Takes a job and all of its rows, none of them open any more, out of everything. */
void jobs_forget(struct cloud_jobs *jobs, uint32_t job);
/* A copy of the row as it is, archived and no longer open; the row's `older` is the copy from now on. */
uint32_t jobs_archive(struct cloud_jobs *jobs, uint32_t row);
/* NULL: out of memory. */
struct jobs_text *jobs_text_take(struct cloud_jobs *jobs, struct span text);
void jobs_text_drop(struct cloud_jobs *jobs, struct jobs_text *text); /* NULL is nothing */
/* TIME_NEVER: no timer. Cannot fail: goes past the memory's limit if it must. */
void jobs_timer_set(struct cloud_jobs *jobs, uint32_t id, int64_t at_us);
int64_t jobs_timer_of(const struct cloud_jobs *jobs, uint32_t row);
void jobs_open_link(struct cloud_jobs *jobs, uint32_t row, bool in_front);
void jobs_open_unlink(struct cloud_jobs *jobs, uint32_t row);
/* What $next means: JOBS_NONE when nothing is pending. */
uint32_t jobs_next_of(const struct cloud_jobs *jobs, uint32_t thing);
void jobs_free(struct cloud_jobs *jobs);

static inline struct span jobs_details_of(const struct jobs_execution *execution)
{
    return execution->details ? span_of(execution->details->data, execution->details->length) : (struct span){0};
}

static inline bool jobs_is_terminal(unsigned state)
{
    return state > CLOUD_EXECUTION_IN_PROGRESS;
}

/* ---- jobs.c: what happens to executions ---------------------------------------------------------------------------- */

/* What a change of state has brought about and nobody has been told yet. */
struct jobs_consequence {
    uint32_t row,
        ended; /* ended: the row that shows the attempt that changed; another one when it is followed by a retry */
    enum cloud_execution_state before;
    bool retried, aborts, listed; /* listed: what is pending has changed */
};
/* A device's or a timer's change: rows, counters and timers are right afterwards. */
struct jobs_consequence jobs_enter(struct cloud_jobs *jobs, int64_t now_us, uint32_t row,
                                   enum cloud_execution_state state);
void jobs_follow(struct cloud_jobs *jobs, int64_t now_us, const struct jobs_consequence *consequence);

/* ---- jobs_say.c: what is told -------------------------------------------------------------------------------------- */

enum jobs_answer_kind { JOBS_ANSWER_PENDING, JOBS_ANSWER_EXECUTION, JOBS_ANSWER_UPDATED, JOBS_ANSWER_REJECTED };
struct jobs_answer {
    enum jobs_answer_kind kind;
    const char *token; /* NULL: none */
    uint32_t thing, row;
    bool with_state, with_document;
    const char *code, *message; /* rejected */
};
void jobs_answer(struct cloud_jobs *jobs, int64_t now_us, const struct cloud_request *request,
                 const struct jobs_answer *answer);
/* notify, and notify-next when another execution is the next one. */
void jobs_tell_pending(struct cloud_jobs *jobs, int64_t now_us, uint32_t thing);
void jobs_tell_next(struct cloud_jobs *jobs, int64_t now_us, uint32_t thing);
void jobs_event_execution(struct cloud_jobs *jobs, int64_t now_us, uint32_t row);
void jobs_event_job(struct cloud_jobs *jobs, int64_t now_us, uint32_t job, const char *operation, const char *status);

/* Text of a length not known before: in the block itself while it is short. */
struct jobs_page {
    struct text_writer w;
    char *more;
    char first[1536];
};
/* write() is called a second time when the first page was too small. false: out of memory. jobs_page_end() in any case. */
bool jobs_page_write(struct jobs_page *page, void (*write)(struct text_writer *w, const void *what), const void *what);
struct span jobs_page_text(const struct jobs_page *page);
void jobs_page_end(struct jobs_page *page);
void jobs_put_quoted(struct text_writer *w, struct span text);

#endif
