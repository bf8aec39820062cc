/* jobs_say.c: what the job service says: answers, notify, notify-next and events, in the key order of cloud-contract 2.
 *
 * Times on the wire are whole seconds since 1970. Texts are written twice when they do not fit the first page; nothing is kept.
 */
#include "jobs_internal.h"

#include "memory.h"

#define NOTIFY_MAX  10
#define TARGETS_MAX 100 /* in events: as many as a job may be given */
#define ARN         "arn:aws:iot:us-east-1:123456789012:thing/"

/* ---- pages ---------------------------------------------------------------------------------------------------------- */

bool jobs_page_write(struct jobs_page *page, void (*write)(struct text_writer *w, const void *what), const void *what)
{
    page->more = NULL;
    page->w = (struct text_writer){.out = page->first, .capacity = sizeof(page->first)};
    write(&page->w, what);
    if (text_fits(&page->w))
        return true;
    size_t length = page->w.at;
    page->more = memory_allocate(length);
    if (!page->more)
        return false;
    page->w = (struct text_writer){.out = page->more, .capacity = length};
    write(&page->w, what);
    return text_fits(&page->w);
}

struct span jobs_page_text(const struct jobs_page *page)
{
    return span_of(page->more ? page->more : page->first, page->w.at);
}

void jobs_page_end(struct jobs_page *page)
{
    memory_free(page->more);
}

void jobs_put_quoted(struct text_writer *w, struct span text)
{
    static const char digits[] = "0123456789abcdef";
    TEXT_PUT(w, "\"");
    for (uint32_t i = 0; i < text.length; i++) {
        uint8_t c = text.data[i];
        char escaped[6] = {'\\', 'u', '0', '0', digits[c >> 4], digits[c & 15]};
        if (c == '"' || c == '\\') {
            escaped[1] = (char)c;
            text_put(w, escaped, 2);
        } else if (c < 0x20 || c == 0x7f) {
            text_put(w, escaped, sizeof(escaped));
        } else {
            text_put(w, &text.data[i], 1);
        }
    }
    TEXT_PUT(w, "\"");
}

/* ---- pieces --------------------------------------------------------------------------------------------------------- */

static void put_span(struct text_writer *w, struct span text)
{
    text_put(w, text.data, text.length);
}

static void put_seconds(struct text_writer *w, const struct cloud_jobs *jobs, int64_t at_us)
{
    text_put_number(w, (jobs->options.epoch_us + at_us) / US_PER_S);
}

static void put_times(struct text_writer *w, const struct cloud_jobs *jobs, const struct jobs_execution *execution)
{
    TEXT_PUT(w, "\"queuedAt\":");
    put_seconds(w, jobs, execution->queued_us);
    if (execution->started_us >= 0) {
        TEXT_PUT(w, ",\"startedAt\":");
        put_seconds(w, jobs, execution->started_us);
    }
    TEXT_PUT(w, ",\"lastUpdatedAt\":");
    put_seconds(w, jobs, execution->updated_us);
    TEXT_PUT(w, ",\"versionNumber\":");
    text_put_number(w, execution->version);
    TEXT_PUT(w, ",\"executionNumber\":");
    text_put_number(w, execution->number);
}

static void put_summary(struct text_writer *w, const struct cloud_jobs *jobs, uint32_t row)
{
    const struct jobs_execution *execution = &jobs->executions[row];
    TEXT_PUT(w, "{\"jobId\":\"");
    text_put_string(w, jobs->jobs[execution->job]->id);
    TEXT_PUT(w, "\",");
    put_times(w, jobs, execution);
    TEXT_PUT(w, "}");
}

static void put_document(struct text_writer *w, const struct cloud_jobs *jobs, uint32_t row)
{
    const struct jobs_text *document = jobs->jobs[jobs->executions[row].job]->document;
    TEXT_PUT(w, "\"jobDocument\":");
    text_put(w, document->data, document->length);
}

static void put_status(struct text_writer *w, const struct jobs_execution *execution)
{
    TEXT_PUT(w, "\"status\":\"");
    text_put_string(w, cloud_execution_state_name(execution->state));
    TEXT_PUT(w, "\"");
    if (execution->details) {
        TEXT_PUT(w, ",\"statusDetails\":");
        text_put(w, execution->details->data, execution->details->length);
    }
}

static void put_execution(struct text_writer *w, const struct cloud_jobs *jobs, uint32_t row, bool with_document)
{
    const struct jobs_execution *execution = &jobs->executions[row];
    const struct jobs_thing *thing = &jobs->things[execution->thing];
    TEXT_PUT(w, "{\"jobId\":\"");
    text_put_string(w, jobs->jobs[execution->job]->id);
    TEXT_PUT(w, "\",\"thingName\":");
    jobs_put_quoted(w, span_of(thing->name, thing->name_length));
    TEXT_PUT(w, ",");
    if (with_document) {
        put_document(w, jobs, row);
        TEXT_PUT(w, ",");
    }
    put_status(w, execution);
    TEXT_PUT(w, ",");
    put_times(w, jobs, execution);
    TEXT_PUT(w, "}");
}

static void put_state(struct text_writer *w, const struct jobs_execution *execution)
{
    TEXT_PUT(w, "\"executionState\":{");
    put_status(w, execution);
    TEXT_PUT(w, ",\"versionNumber\":");
    text_put_number(w, execution->version);
    TEXT_PUT(w, "}");
}

/* The thing's executions in that state, in the order of being queued; returns how many. */
static uint32_t put_list(struct text_writer *w, const struct cloud_jobs *jobs, uint32_t thing, unsigned state,
                         uint32_t most)
{
    uint32_t count = 0;
    if (thing == JOBS_NONE)
        return 0;
    for (uint32_t row = jobs->things[thing].open_first; row != JOBS_NONE && count < most;
         row = jobs->executions[row].open_next) {
        const struct jobs_execution *execution = &jobs->executions[row];
        if (execution->state != state || execution->flags & JOBS_WAITING)
            continue;
        if (count++)
            TEXT_PUT(w, ",");
        put_summary(w, jobs, row);
    }
    return count;
}

static bool has_state(const struct cloud_jobs *jobs, uint32_t thing, unsigned state)
{
    for (uint32_t row = jobs->things[thing].open_first; row != JOBS_NONE; row = jobs->executions[row].open_next)
        if (jobs->executions[row].state == state && !(jobs->executions[row].flags & JOBS_WAITING))
            return true;
    return false;
}

/* ---- answers -------------------------------------------------------------------------------------------------------- */

struct saying {
    const struct cloud_jobs *jobs;
    int64_t now_us;
    const struct cloud_request *request;
    const struct jobs_answer *answer;
    uint32_t thing, row, job;
    const char *operation, *status;
    uint64_t event;
};

static void put_timestamp(struct text_writer *w, const struct saying *saying)
{
    TEXT_PUT(w, "\"timestamp\":");
    put_seconds(w, saying->jobs, saying->now_us);
}

static void put_token(struct text_writer *w, const struct jobs_answer *answer)
{
    if (!answer->token)
        return;
    TEXT_PUT(w, ",\"clientToken\":");
    jobs_put_quoted(w, span_text(answer->token));
}

static void write_answer_topic(struct text_writer *w, const void *what)
{
    const struct saying *saying = what;
    put_span(w, saying->request->topic);
    text_put_string(w, saying->answer->kind == JOBS_ANSWER_REJECTED ? "/rejected" : "/accepted");
}

static void write_pending(struct text_writer *w, const struct saying *saying)
{
    const struct jobs_answer *answer = saying->answer;
    TEXT_PUT(w, "{\"inProgressJobs\":[");
    put_list(w, saying->jobs, answer->thing, CLOUD_EXECUTION_IN_PROGRESS, UINT32_MAX);
    TEXT_PUT(w, "],\"queuedJobs\":[");
    put_list(w, saying->jobs, answer->thing, CLOUD_EXECUTION_QUEUED, UINT32_MAX);
    TEXT_PUT(w, "],");
    put_timestamp(w, saying);
    put_token(w, answer);
    TEXT_PUT(w, "}");
}

static void write_rejected(struct text_writer *w, const struct saying *saying)
{
    const struct jobs_answer *answer = saying->answer;
    TEXT_PUT(w, "{\"code\":\"");
    text_put_string(w, answer->code);
    TEXT_PUT(w, "\",\"message\":");
    jobs_put_quoted(w, span_text(answer->message));
    put_token(w, answer);
    TEXT_PUT(w, ",");
    put_timestamp(w, saying);
    if (answer->with_state) {
        TEXT_PUT(w, ",");
        put_state(w, &saying->jobs->executions[answer->row]);
    }
    TEXT_PUT(w, "}");
}

static void write_answer(struct text_writer *w, const void *what)
{
    const struct saying *saying = what;
    const struct jobs_answer *answer = saying->answer;
    if (answer->kind == JOBS_ANSWER_PENDING) {
        write_pending(w, saying);
        return;
    }
    if (answer->kind == JOBS_ANSWER_REJECTED) {
        write_rejected(w, saying);
        return;
    }
    TEXT_PUT(w, "{");
    if (answer->kind == JOBS_ANSWER_EXECUTION && answer->row != JOBS_NONE) {
        TEXT_PUT(w, "\"execution\":");
        put_execution(w, saying->jobs, answer->row, answer->with_document);
        TEXT_PUT(w, ",");
    }
    if (answer->kind == JOBS_ANSWER_UPDATED && answer->with_state) {
        put_state(w, &saying->jobs->executions[answer->row]);
        TEXT_PUT(w, ",");
    }
    if (answer->kind == JOBS_ANSWER_UPDATED && answer->with_document) {
        put_document(w, saying->jobs, answer->row);
        TEXT_PUT(w, ",");
    }
    put_timestamp(w, saying);
    put_token(w, answer);
    TEXT_PUT(w, "}");
}

void jobs_answer(struct cloud_jobs *jobs, int64_t now_us, const struct cloud_request *request,
                 const struct jobs_answer *answer)
{
    const struct cloud_speaker *speaker = &jobs->options.speaker;
    struct saying saying = {.jobs = jobs, .now_us = now_us, .request = request, .answer = answer};
    struct jobs_page topic, body;
    if (!speaker->answer)
        return;
    jobs->telling++;
    bool written = jobs_page_write(&topic, write_answer_topic, &saying);
    if (jobs_page_write(&body, write_answer, &saying) && written)
        speaker->answer(speaker->context, now_us, request->client_id, jobs_page_text(&topic), jobs_page_text(&body));
    jobs->telling--;
    jobs_page_end(&topic);
    jobs_page_end(&body);
}

/* ---- notifications -------------------------------------------------------------------------------------------------- */

static void write_notify(struct text_writer *w, const void *what)
{
    const struct saying *saying = what;
    uint32_t count = 0;
    TEXT_PUT(w, "{");
    put_timestamp(w, saying);
    TEXT_PUT(w, ",\"jobs\":{");
    if (has_state(saying->jobs, saying->thing, CLOUD_EXECUTION_IN_PROGRESS)) {
        TEXT_PUT(w, "\"IN_PROGRESS\":[");
        count = put_list(w, saying->jobs, saying->thing, CLOUD_EXECUTION_IN_PROGRESS, NOTIFY_MAX);
        TEXT_PUT(w, "]");
    }
    if (count < NOTIFY_MAX && has_state(saying->jobs, saying->thing, CLOUD_EXECUTION_QUEUED)) {
        text_put_string(w, count ? ",\"QUEUED\":[" : "\"QUEUED\":[");
        put_list(w, saying->jobs, saying->thing, CLOUD_EXECUTION_QUEUED, NOTIFY_MAX - count);
        TEXT_PUT(w, "]");
    }
    TEXT_PUT(w, "}}");
}

static void write_notify_next(struct text_writer *w, const void *what)
{
    const struct saying *saying = what;
    TEXT_PUT(w, "{");
    put_timestamp(w, saying);
    if (saying->row != JOBS_NONE) {
        const struct jobs_execution *execution = &saying->jobs->executions[saying->row];
        TEXT_PUT(w, ",\"execution\":{\"jobId\":\"");
        text_put_string(w, saying->jobs->jobs[execution->job]->id);
        TEXT_PUT(w, "\",\"status\":\"");
        text_put_string(w, cloud_execution_state_name(execution->state));
        TEXT_PUT(w, "\",");
        put_times(w, saying->jobs, execution);
        TEXT_PUT(w, ",");
        put_document(w, saying->jobs, saying->row);
        TEXT_PUT(w, "}");
    }
    TEXT_PUT(w, "}");
}

static void tell(struct cloud_jobs *jobs, const struct saying *saying, const char *last_level,
                 void (*write)(struct text_writer *w, const void *what))
{
    const struct cloud_speaker *speaker = &jobs->options.speaker;
    const struct jobs_thing *thing = &jobs->things[saying->thing];
    struct span name = span_of(thing->name, thing->name_length);
    char topic[JOBS_THING_MAX + 32];
    struct text_writer w = {.out = topic, .capacity = sizeof(topic)};
    struct jobs_page body;
    TEXT_PUT(&w, "things/");
    put_span(&w, name);
    TEXT_PUT(&w, "/jobs/");
    text_put_string(&w, last_level);
    jobs->telling++;
    if (jobs_page_write(&body, write, saying))
        speaker->tell(speaker->context, saying->now_us, name, span_of(topic, w.at), jobs_page_text(&body));
    jobs->telling--;
    jobs_page_end(&body);
}

void jobs_tell_next(struct cloud_jobs *jobs, int64_t now_us, uint32_t thing)
{
    uint32_t next = jobs_next_of(jobs, thing);
    uint16_t number = next == JOBS_NONE ? 0 : jobs->executions[next].number;
    struct jobs_thing *told = &jobs->things[thing];
    if (told->told == next && told->told_number == number)
        return;
    told->told = next;
    told->told_number = number;
    struct saying saying = {.jobs = jobs, .now_us = now_us, .thing = thing, .row = next};
    if (jobs->options.speaker.tell)
        tell(jobs, &saying, "notify-next", write_notify_next);
}

void jobs_tell_pending(struct cloud_jobs *jobs, int64_t now_us, uint32_t thing)
{
    struct saying saying = {.jobs = jobs, .now_us = now_us, .thing = thing};
    if (jobs->options.speaker.tell)
        tell(jobs, &saying, "notify", write_notify);
    jobs_tell_next(jobs, now_us, thing);
}

/* ---- events --------------------------------------------------------------------------------------------------------- */

/* Looks like a random UUID; the same run has the same ones. */
static void put_event_id(struct text_writer *w, const struct saying *saying)
{
    static const uint8_t groups[] = {8, 4, 4, 4, 12};
    uint64_t high = jobs_mix(saying->event * UINT64_C(0x9E3779B97F4A7C15) + (uint64_t)saying->jobs->options.epoch_us),
             low = jobs_mix(high ^ jobs_hash_bytes(span_text(saying->jobs->jobs[saying->job]->id)) ^
                            (uint64_t)saying->now_us);
    uint8_t bytes[16];
    char digits[33];
    for (int i = 0; i < 8; i++) {
        bytes[i] = (uint8_t)(high >> 8 * i);
        bytes[8 + i] = (uint8_t)(low >> 8 * i);
    }
    bytes[6] = (uint8_t)(0x40 | (bytes[6] & 0x0f));
    bytes[8] = (uint8_t)(0x80 | (bytes[8] & 0x3f));
    text_hex(bytes, sizeof(bytes), digits);
    for (size_t i = 0, at = 0; i < sizeof(groups); at += groups[i++]) {
        if (i)
            TEXT_PUT(w, "-");
        text_put(w, digits + at, groups[i]);
    }
}

static void put_event_head(struct text_writer *w, const struct saying *saying, const char *type)
{
    TEXT_PUT(w, "{\"eventType\":\"");
    text_put_string(w, type);
    TEXT_PUT(w, "\",\"eventId\":\"");
    put_event_id(w, saying);
    TEXT_PUT(w, "\",");
    put_timestamp(w, saying);
    TEXT_PUT(w, ",\"operation\":\"");
    text_put_string(w, saying->operation);
    TEXT_PUT(w, "\",\"jobId\":\"");
    text_put_string(w, saying->jobs->jobs[saying->job]->id);
    TEXT_PUT(w, "\",");
}

static void put_arn(struct text_writer *w, const struct saying *saying, uint32_t thing)
{
    char arn[sizeof(ARN) + JOBS_THING_MAX];
    struct text_writer name = {.out = arn, .capacity = sizeof(arn)};
    TEXT_PUT(&name, ARN);
    text_put(&name, saying->jobs->things[thing].name, saying->jobs->things[thing].name_length);
    jobs_put_quoted(w, span_of(arn, name.at));
}

static void write_execution_event(struct text_writer *w, const void *what)
{
    const struct saying *saying = what;
    const struct jobs_execution *execution = &saying->jobs->executions[saying->row];
    put_event_head(w, saying, "JOB_EXECUTION");
    TEXT_PUT(w, "\"thingArn\":");
    put_arn(w, saying, execution->thing);
    TEXT_PUT(w, ",");
    put_status(w, execution);
    TEXT_PUT(w, "}");
}

static void put_targets(struct text_writer *w, const struct saying *saying)
{
    const struct jobs_job *job = saying->jobs->jobs[saying->job];
    uint32_t count = 0;
    TEXT_PUT(w, ",\"targets\":[");
    for (uint32_t row = job->first; row != JOBS_NONE && count < TARGETS_MAX;
         row = saying->jobs->executions[row].job_next) {
        if (count++)
            TEXT_PUT(w, ",");
        put_arn(w, saying, saying->jobs->executions[row].thing);
    }
    TEXT_PUT(w, "]");
}

static void put_count(struct text_writer *w, const char *key, uint64_t count)
{
    text_put_string(w, key);
    text_put_number(w, (int64_t)count);
}

static void write_job_event(struct text_writer *w, const void *what)
{
    const struct saying *saying = what;
    const struct jobs_job *job = saying->jobs->jobs[saying->job];
    put_event_head(w, saying, "JOB");
    TEXT_PUT(w, "\"status\":\"");
    text_put_string(w, saying->status);
    TEXT_PUT(w, "\",\"targetSelection\":\"");
    text_put_string(w, job->template.continuous ? "CONTINUOUS" : "SNAPSHOT");
    TEXT_PUT(w, "\"");
    put_targets(w, saying);
    TEXT_PUT(w, ",\"description\":\"\"");
    if (job->state == CLOUD_JOB_COMPLETED) {
        TEXT_PUT(w, ",\"completedAt\":");
        put_seconds(w, saying->jobs, job->completed_us);
    }
    TEXT_PUT(w, ",\"createdAt\":");
    put_seconds(w, saying->jobs, job->created_us);
    TEXT_PUT(w, ",\"lastUpdatedAt\":");
    put_seconds(w, saying->jobs, job->updated_us);
    if (job->comment) {
        TEXT_PUT(w, ",\"comment\":");
        jobs_put_quoted(w, span_text(job->comment));
    }
    put_count(w, ",\"jobProcessDetails\":{\"numberOfCanceledThings\":", job->counts[CLOUD_EXECUTION_CANCELED]);
    put_count(w, ",\"numberOfRejectedThings\":", job->counts[CLOUD_EXECUTION_REJECTED]);
    put_count(w, ",\"numberOfFailedThings\":", job->counts[CLOUD_EXECUTION_FAILED]);
    put_count(w, ",\"numberOfRemovedThings\":", job->counts[CLOUD_EXECUTION_REMOVED]);
    put_count(w, ",\"numberOfSucceededThings\":", job->counts[CLOUD_EXECUTION_SUCCEEDED]);
    put_count(w, ",\"numberOfTimedOutThings\":", job->counts[CLOUD_EXECUTION_TIMED_OUT]);
    TEXT_PUT(w, "}}");
}

static void event(struct cloud_jobs *jobs, struct saying *saying, const char *kind,
                  void (*write)(struct text_writer *w, const void *what))
{
    const struct cloud_speaker *speaker = &jobs->options.speaker;
    char topic[CLOUD_JOB_ID_MAX + 64];
    struct text_writer w = {.out = topic, .capacity = sizeof(topic)};
    struct jobs_page body;
    if (!jobs->options.events || !speaker->event)
        return;
    saying->event = ++jobs->event_number;
    text_put_string(&w, kind);
    text_put_string(&w, jobs->jobs[saying->job]->id);
    TEXT_PUT(&w, "/");
    text_put_string(&w, saying->operation);
    jobs->telling++;
    if (jobs_page_write(&body, write, saying))
        speaker->event(speaker->context, saying->now_us, span_of(topic, w.at), jobs_page_text(&body));
    jobs->telling--;
    jobs_page_end(&body);
}

void jobs_event_execution(struct cloud_jobs *jobs, int64_t now_us, uint32_t row)
{
    static const char *const operations[CLOUD_EXECUTION_STATES] = {NULL,        NULL,       "succeeded", "failed",
                                                                   "timed_out", "rejected", "removed",   "canceled"};
    const struct jobs_execution *execution = &jobs->executions[row];
    struct saying saying = {
        .jobs = jobs, .now_us = now_us, .row = row, .job = execution->job, .operation = operations[execution->state]};
    event(jobs, &saying, "jobExecution/", write_execution_event);
}

void jobs_event_job(struct cloud_jobs *jobs, int64_t now_us, uint32_t job, const char *operation, const char *status)
{
    struct saying saying = {.jobs = jobs, .now_us = now_us, .job = job, .operation = operation, .status = status};
    event(jobs, &saying, "job/", write_job_event);
}
