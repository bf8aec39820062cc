/* jobs_request.c: what devices ask: get, start-next, describe, update; everything that can be wrong with a request.
 *
 * A request is looked at in this order: topic, JSON, client token, whose thing, throttle, fields, execution, version, state. The first
 * finding is the answer; nothing has changed then.
 */
#include "jobs_internal.h"

#include "levels.h"
#include "memory.h"
#include "mqtt5/topic.h"

#include <cjson/cJSON.h>

#define PAYLOAD_MAX      131072u
#define TOKEN_MAX        64
#define DETAILS_MAX      10
#define DETAIL_KEY_MAX   128
#define DETAIL_VALUE_MAX 1024
#define STEP_MAX_MINUTES 10080
#define NUMBER_MAX       INT64_C(0x1FFFFFFFFFFFFF) /* what a double holds exactly */

enum operation { GET_PENDING, START_NEXT, DESCRIBE, UPDATE, NO_OPERATION };

struct asked {
    struct cloud_jobs *jobs;
    int64_t now_us;
    const struct cloud_request *request;
    struct span thing_name, job_id; /* job_id "$next" or an id; empty: the operation has none */
    enum operation operation;
    const cJSON *body;
    const char *token;
    uint32_t thing; /* JOBS_NONE: never heard of */
};

/* ---- answers -------------------------------------------------------------------------------------------------------- */

static void reject_with(const struct asked *asked, const char *code, const char *message, uint32_t row)
{
    struct jobs_answer answer = {.kind = JOBS_ANSWER_REJECTED,
                                 .token = asked->token,
                                 .row = row,
                                 .with_state = row != JOBS_NONE,
                                 .code = code,
                                 .message = message};
    jobs_answer(asked->jobs, asked->now_us, asked->request, &answer);
}

static void reject(const struct asked *asked, const char *code, const char *message)
{
    reject_with(asked, code, message, JOBS_NONE);
}

static void answer_execution(const struct asked *asked, uint32_t row, bool with_document)
{
    struct jobs_answer answer = {
        .kind = JOBS_ANSWER_EXECUTION, .token = asked->token, .row = row, .with_document = with_document};
    jobs_answer(asked->jobs, asked->now_us, asked->request, &answer);
}

/* ---- fields --------------------------------------------------------------------------------------------------------- */

/* null is as good as absent. */
static const cJSON *field(const struct asked *asked, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(asked->body, key);
    return cJSON_IsNull(item) ? NULL : item;
}

/* A number or its digits in a string, as some device libraries send it; *value stays when the field is absent. */
static bool read_number(const struct asked *asked, const char *key, int64_t *value)
{
    const cJSON *item = field(asked, key);
    if (!item)
        return true;
    if (cJSON_IsNumber(item)) {
        if (!(item->valuedouble >= -(double)NUMBER_MAX && item->valuedouble <= (double)NUMBER_MAX))
            return false;
        *value = (int64_t)item->valuedouble;
        return (double)*value == item->valuedouble;
    }
    const char *text = cJSON_GetStringValue(item);
    if (!text || !*text)
        return false;
    int64_t read = 0;
    for (; *text; text++) {
        if (*text < '0' || *text > '9' || read > NUMBER_MAX / 10)
            return false;
        read = read * 10 + (*text - '0');
    }
    *value = read;
    return true;
}

static bool read_bool(const struct asked *asked, const char *key, bool *value)
{
    const cJSON *item = field(asked, key);
    if (item && !cJSON_IsBool(item))
        return false;
    if (item)
        *value = cJSON_IsTrue(item);
    return true;
}

/* 0: not given; -1: no step timer from now on. */
static bool read_step(const struct asked *asked, int64_t *minutes)
{
    *minutes = 0;
    if (!field(asked, "stepTimeoutInMinutes"))
        return true;
    return read_number(asked, "stepTimeoutInMinutes", minutes) &&
           (*minutes == -1 || (*minutes >= 1 && *minutes <= STEP_MAX_MINUTES));
}

static bool key_is_valid(const char *key)
{
    size_t length = 0;
    for (; key && key[length]; length++)
        if (!((key[length] >= 'a' && key[length] <= 'z') || (key[length] >= 'A' && key[length] <= 'Z') ||
              (key[length] >= '0' && key[length] <= '9') || strchr(":_-", key[length])))
            return false;
    return length >= 1 && length <= DETAIL_KEY_MAX;
}

static bool value_is_valid(const cJSON *item)
{
    const char *value = cJSON_GetStringValue(item);
    size_t length = value ? strlen(value) : 0;
    for (size_t i = 0; i < length; i++)
        if ((uint8_t)value[i] < 0x20 || value[i] == 0x7f)
            return false;
    return length >= 1 && length <= DETAIL_VALUE_MAX;
}

static const char *details_flaw(const cJSON *details)
{
    const cJSON *item;
    int count = 0;
    if (!cJSON_IsObject(details))
        return "statusDetails must be an object of names and values.";
    cJSON_ArrayForEach(item, details)
    {
        if (++count > DETAILS_MAX)
            return "statusDetails can have at most 10 names.";
        if (!key_is_valid(item->string))
            return "A name in statusDetails must have 1 to 128 characters of a-z A-Z 0-9 : _ -.";
        if (!value_is_valid(item))
            return "A value in statusDetails must be text of 1 to 1024 bytes.";
    }
    return NULL;
}

static void write_details(struct text_writer *w, const void *what)
{
    const cJSON *item;
    bool more = false;
    TEXT_PUT(w, "{");
    cJSON_ArrayForEach(item, (const cJSON *)what)
    {
        if (more)
            TEXT_PUT(w, ",");
        jobs_put_quoted(w, span_text(item->string));
        TEXT_PUT(w, ":");
        jobs_put_quoted(w, span_text(item->valuestring));
        more = true;
    }
    TEXT_PUT(w, "}");
}

/* *details NULL: not given. false: answered. */
static bool read_details(const struct asked *asked, struct jobs_text **details)
{
    const cJSON *item = field(asked, "statusDetails");
    struct jobs_page page;
    *details = NULL;
    if (!item)
        return true;
    const char *flaw = details_flaw(item);
    if (flaw) {
        reject(asked, "InvalidRequest", flaw);
        return false;
    }
    if (jobs_page_write(&page, write_details, item))
        *details = jobs_text_take(asked->jobs, jobs_page_text(&page));
    jobs_page_end(&page);
    if (!*details)
        reject(asked, "InternalError", "The status details could not be stored.");
    return *details != NULL;
}

/* ---- operations ----------------------------------------------------------------------------------------------------- */

static void set_details(struct cloud_jobs *jobs, uint32_t row, struct jobs_text *details)
{
    if (!details)
        return;
    jobs_text_drop(jobs, jobs->executions[row].details);
    jobs->executions[row].details = details;
}

/* A step timer never outlasts the in-progress timer. */
static void set_step(struct cloud_jobs *jobs, int64_t now_us, uint32_t row, int64_t minutes)
{
    const struct jobs_execution *execution = &jobs->executions[row];
    int64_t whole_us = jobs->jobs[execution->job]->template.in_progress_timeout_us;
    int64_t at_us = whole_us ? execution->started_us + whole_us : TIME_NEVER;
    if (!minutes || execution->state != CLOUD_EXECUTION_IN_PROGRESS)
        return;
    if (minutes > 0 && now_us + minutes * US_PER_MIN < at_us)
        at_us = now_us + minutes * US_PER_MIN;
    jobs_timer_set(jobs, row, at_us);
}

static void get_pending(const struct asked *asked)
{
    struct jobs_answer answer = {
        .kind = JOBS_ANSWER_PENDING, .token = asked->token, .thing = asked->thing, .row = JOBS_NONE};
    jobs_answer(asked->jobs, asked->now_us, asked->request, &answer);
}

static void start_next(const struct asked *asked)
{
    struct cloud_jobs *jobs = asked->jobs;
    struct jobs_text *details;
    int64_t step;
    if (!read_step(asked, &step)) {
        reject(asked, "InvalidRequest", "stepTimeoutInMinutes must be 1 to 10080, or -1.");
        return;
    }
    if (!read_details(asked, &details))
        return;
    uint32_t row = jobs_next_of(jobs, asked->thing);
    if (row == JOBS_NONE || jobs->executions[row].state == CLOUD_EXECUTION_IN_PROGRESS) {
        jobs_text_drop(jobs, details); /* those of an execution in progress are not changed */
        if (row != JOBS_NONE)
            set_step(jobs, asked->now_us, row, step);
        answer_execution(asked, row, true);
        return;
    }
    struct jobs_consequence consequence = jobs_enter(jobs, asked->now_us, row, CLOUD_EXECUTION_IN_PROGRESS);
    set_details(jobs, row, details);
    set_step(jobs, asked->now_us, row, step);
    answer_execution(asked, row, true);
    jobs_follow(jobs, asked->now_us, &consequence);
}

/* The attempt asked for, 0: the latest; JOBS_NONE: there is none, or it is not rolled out yet. */
static uint32_t find_attempt(const struct asked *asked, int64_t number)
{
    const struct cloud_jobs *jobs = asked->jobs;
    uint32_t row = jobs_find_row(jobs, jobs_find_job(jobs, asked->job_id), asked->thing);
    if (row == JOBS_NONE || jobs->executions[row].flags & JOBS_WAITING)
        return JOBS_NONE;
    while (number && row != JOBS_NONE && jobs->executions[row].number != number)
        row = jobs->executions[row].older;
    return row;
}

static void describe(const struct asked *asked)
{
    bool document = true;
    int64_t number = 0;
    if (!read_bool(asked, "includeJobDocument", &document)) {
        reject(asked, "InvalidRequest", "includeJobDocument must be true or false.");
        return;
    }
    if (!read_number(asked, "executionNumber", &number) || number < 0) {
        reject(asked, "InvalidRequest", "executionNumber must be a whole number.");
        return;
    }
    if (span_equal(asked->job_id, SPAN_LITERAL("$next"))) {
        answer_execution(asked, jobs_next_of(asked->jobs, asked->thing), document);
        return;
    }
    uint32_t row = find_attempt(asked, number);
    if (row == JOBS_NONE)
        reject(asked, "ResourceNotFound", "There is no such execution of this job for this thing.");
    else if (jobs_is_terminal(asked->jobs->executions[row].state))
        reject(asked, "TerminalStateReached", "The job execution has reached a terminal state.");
    else
        answer_execution(asked, row, document);
}

struct update {
    int64_t expected_version, number, step;
    bool with_state, with_document;
    unsigned status; /* CLOUD_EXECUTION_STATES: no such word */
};

static const char *update_flaw(const struct asked *asked, struct update *update)
{
    const char *status = cJSON_GetStringValue(field(asked, "status"));
    *update = (struct update){.expected_version = -1, .status = CLOUD_EXECUTION_STATES};
    for (unsigned i = 0; status && i < CLOUD_EXECUTION_STATES; i++)
        if (strcmp(status, cloud_execution_state_name(i)) == 0)
            update->status = i;
    if (update->status == CLOUD_EXECUTION_STATES)
        return "status must be IN_PROGRESS, FAILED, SUCCEEDED or REJECTED.";
    if (!read_number(asked, "expectedVersion", &update->expected_version) ||
        (field(asked, "expectedVersion") && update->expected_version < 0))
        return "expectedVersion must be a whole number.";
    if (!read_number(asked, "executionNumber", &update->number) || update->number < 0)
        return "executionNumber must be a whole number.";
    if (!read_bool(asked, "includeJobExecutionState", &update->with_state))
        return "includeJobExecutionState must be true or false.";
    if (!read_bool(asked, "includeJobDocument", &update->with_document))
        return "includeJobDocument must be true or false.";
    if (!read_step(asked, &update->step))
        return "stepTimeoutInMinutes must be 1 to 10080, or -1.";
    return NULL;
}

/* What a device may do: go on, or end; from an end there is no way. */
static bool device_may_enter(unsigned from, unsigned to)
{
    return !jobs_is_terminal(from) && (to == CLOUD_EXECUTION_IN_PROGRESS || to == CLOUD_EXECUTION_SUCCEEDED ||
                                       to == CLOUD_EXECUTION_FAILED || to == CLOUD_EXECUTION_REJECTED);
}

static void apply_update(const struct asked *asked, const struct update *update, uint32_t row,
                         struct jobs_text *details)
{
    struct cloud_jobs *jobs = asked->jobs;
    set_details(jobs, row, details);
    struct jobs_consequence consequence = jobs_enter(jobs, asked->now_us, row, update->status);
    if (!jobs_is_terminal(update->status))
        set_step(jobs, asked->now_us, row, update->step);
    struct jobs_answer answer = {.kind = JOBS_ANSWER_UPDATED,
                                 .token = asked->token,
                                 .row = consequence.ended,
                                 .with_state = update->with_state,
                                 .with_document = update->with_document};
    jobs_answer(jobs, asked->now_us, asked->request, &answer);
    jobs_follow(jobs, asked->now_us, &consequence);
}

static void update_execution(const struct asked *asked)
{
    struct update update;
    struct jobs_text *details;
    const char *flaw = update_flaw(asked, &update);
    if (flaw) {
        reject(asked, "InvalidRequest", flaw);
        return;
    }
    uint32_t row = find_attempt(asked, update.number);
    if (row == JOBS_NONE) {
        reject(asked, "ResourceNotFound", "There is no such execution of this job for this thing.");
        return;
    }
    const struct jobs_execution *execution = &asked->jobs->executions[row];
    if (update.expected_version >= 0 && update.expected_version != execution->version) {
        reject_with(asked, "VersionMismatch", "The expected version is not the version of the job execution.", row);
        return;
    }
    if (!device_may_enter(execution->state, update.status)) {
        reject_with(asked, "InvalidStateTransition", "The job execution cannot change to this status.", row);
        return;
    }
    if (read_details(asked, &details))
        apply_update(asked, &update, row, details);
}

/* ---- topics --------------------------------------------------------------------------------------------------------- */

static bool is_job_id(struct span id)
{
    for (uint32_t i = 0; i < id.length; i++)
        if (!((id.data[i] >= 'a' && id.data[i] <= 'z') || (id.data[i] >= 'A' && id.data[i] <= 'Z') ||
              (id.data[i] >= '0' && id.data[i] <= '9') || id.data[i] == '-' || id.data[i] == '_'))
            return false;
    return id.length >= 1 && id.length <= CLOUD_JOB_ID_MAX;
}

static void read_operation(struct asked *asked, struct span rest)
{
    asked->operation = NO_OPERATION;
    if (span_equal(rest, SPAN_LITERAL("get"))) {
        asked->operation = GET_PENDING;
    } else if (span_equal(rest, SPAN_LITERAL("start-next"))) {
        asked->operation = START_NEXT;
    } else {
        asked->job_id = take_level(&rest);
        bool next = span_equal(asked->job_id, SPAN_LITERAL("$next"));
        if (span_equal(rest, SPAN_LITERAL("get")) && (next || is_job_id(asked->job_id)))
            asked->operation = DESCRIBE;
        if (span_equal(rest, SPAN_LITERAL("update")) && is_job_id(asked->job_id))
            asked->operation = UPDATE;
    }
}

/* ---- requests ------------------------------------------------------------------------------------------------------- */

/* NULL: not one JSON object in UTF-8. An empty payload is an empty object. */
static cJSON *parse(struct span payload)
{
    const char *end = NULL;
    if (!payload.length)
        return cJSON_CreateObject();
    if (!mq5_utf8_valid(payload))
        return NULL;
    cJSON *body = cJSON_ParseWithLengthOpts((const char *)payload.data, payload.length, &end, 0);
    bool good = cJSON_IsObject(body);
    for (const uint8_t *c = (const uint8_t *)end; good && c < payload.data + payload.length; c++)
        good = *c == ' ' || *c == '\n' || *c == '\r' || *c == '\t';
    if (good)
        return body;
    cJSON_Delete(body);
    return NULL;
}

static bool is_throttled(struct cloud_jobs *jobs, int64_t now_us)
{
    if (!jobs->options.requests_per_second)
        return false;
    if (jobs->throttle_s != now_us / US_PER_S) {
        jobs->throttle_s = now_us / US_PER_S;
        jobs->throttle_count = 0;
    }
    return ++jobs->throttle_count > jobs->options.requests_per_second;
}

static bool read_token(struct asked *asked)
{
    const cJSON *item = field(asked, "clientToken");
    const char *token = cJSON_GetStringValue(item);
    if (token && strlen(token) <= TOKEN_MAX)
        asked->token = token;
    return !item || asked->token;
}

static void dispatch(struct asked *asked)
{
    static void (*const operations[])(const struct asked *) = {get_pending, start_next, describe, update_execution};
    if (!read_token(asked))
        reject(asked, "InvalidRequest", "clientToken must be text of at most 64 bytes.");
    else if (!span_equal(asked->request->client_id, asked->thing_name))
        reject(asked, "InvalidRequest", "A client can ask for its own thing only.");
    else if (is_throttled(asked->jobs, asked->now_us))
        reject(asked, "RequestThrottled", "Too many requests: ask again later.");
    else
        operations[asked->operation](asked);
}

bool cloud_jobs_request(struct cloud_jobs *jobs, int64_t now_us, const struct cloud_request *request)
{
    struct asked asked = {.jobs = jobs, .now_us = now_us, .request = request};
    struct span rest = request->topic;
    if (!starts_with(&rest, SPAN_LITERAL("things/")))
        return false;
    asked.thing_name = take_level(&rest);
    if (!starts_with(&rest, SPAN_LITERAL("jobs/")))
        return false;
    asked.thing = jobs_find_thing(jobs, asked.thing_name);
    read_operation(&asked, rest);
    cJSON *body = request->payload.length <= PAYLOAD_MAX ? parse(request->payload) : NULL;
    asked.body = body;
    if (asked.operation == NO_OPERATION) {
        read_token(&asked);
        reject(&asked, "InvalidTopic", "The topic is none of the jobs' operations.");
    } else if (!body) {
        reject(&asked, "InvalidJson", "The payload is not a JSON object in UTF-8.");
    } else {
        dispatch(&asked);
    }
    cJSON_Delete(body);
    return true;
}
