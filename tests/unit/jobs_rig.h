/* jobs_rig.h: a job service whose words are written down: the last answer, all that was told, events and changes. */
#ifndef TESTS_UNIT_JOBS_RIG_H
#define TESTS_UNIT_JOBS_RIG_H

#include "cloud/jobs.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define EPOCH_S  INT64_C(1700000000)
#define LOG_SIZE 256

struct line {
    char topic[256], payload[8192];
};

struct rig {
    struct cloud_jobs *jobs;
    int64_t now_us;
    char asker[80];
    struct line answer, tells[LOG_SIZE], events[LOG_SIZE];
    unsigned answers, told, event_count, changes;
    struct cloud_execution last_change;
    char changed[LOG_SIZE][64]; /* "thing/number before>state" */
};

static void copy(char *out, size_t capacity, struct span text)
{
    assert_true(text.length < capacity);
    if (text.length)
        memcpy(out, text.data, text.length);
    out[text.length] = 0;
}

static void on_answer(void *context, int64_t now_us, struct span client_id, struct span topic, struct span payload)
{
    struct rig *rig = context;
    rig->answers++;
    copy(rig->asker, sizeof(rig->asker), client_id);
    copy(rig->answer.topic, sizeof(rig->answer.topic), topic);
    copy(rig->answer.payload, sizeof(rig->answer.payload), payload);
}

static void on_tell(void *context, int64_t now_us, struct span thing, struct span topic, struct span payload)
{
    struct rig *rig = context;
    struct line *line = &rig->tells[rig->told++ % LOG_SIZE];
    copy(line->topic, sizeof(line->topic), topic);
    copy(line->payload, sizeof(line->payload), payload);
}

static void on_event(void *context, int64_t now_us, struct span topic, struct span payload)
{
    struct rig *rig = context;
    struct line *line = &rig->events[rig->event_count++ % LOG_SIZE];
    copy(line->topic, sizeof(line->topic), topic);
    copy(line->payload, sizeof(line->payload), payload);
}

static void on_changed(void *context, int64_t now_us, const struct cloud_execution *execution)
{
    struct rig *rig = context;
    rig->last_change = *execution;
    snprintf(rig->changed[rig->changes++ % LOG_SIZE], 64, "%.*s/%u %s>%s%s", (int)execution->thing.length,
             (const char *)execution->thing.data, execution->number, cloud_execution_state_name(execution->before),
             cloud_execution_state_name(execution->state), execution->will_be_retried ? " again" : "");
}

static inline void rig_open_with(struct rig *rig, uint32_t requests_per_second)
{
    memset(rig, 0, sizeof(*rig));
    struct cloud_jobs_options options = {
        .epoch_us = EPOCH_S * US_PER_S,
        .speaker = {.answer = on_answer, .tell = on_tell, .event = on_event, .context = rig},
        .changed = on_changed,
        .context = rig,
        .events = true,
        .requests_per_second = requests_per_second};
    rig->jobs = cloud_jobs_create(&options);
    assert_non_null(rig->jobs);
}

static inline void rig_open(struct rig *rig)
{
    rig_open_with(rig, 0);
}

static inline void rig_close(struct rig *rig)
{
    cloud_jobs_destroy(rig->jobs);
}

static inline void rig_create(struct rig *rig, const char *id, const struct cloud_job_template *template)
{
    char error[160] = "";
    if (!cloud_job_create(rig->jobs, rig->now_us, span_text(id), SPAN_LITERAL("{\"operation\":\"test\"}"), template,
                          error, sizeof(error)))
        fail_msg("%s", error);
}

static inline bool rig_add(struct rig *rig, const char *id, const char *thing)
{
    return cloud_job_add_target(rig->jobs, rig->now_us, span_text(id), span_text(thing));
}

/* A thing's request; returns whether it was accepted. */
static inline bool rig_ask_as(struct rig *rig, const char *client, const char *topic, const char *payload)
{
    struct cloud_request request = {
        .client_id = span_text(client), .topic = span_text(topic), .payload = span_text(payload)};
    unsigned before = rig->answers;
    assert_true(cloud_jobs_request(rig->jobs, rig->now_us, &request));
    assert_int_equal(rig->answers, before + 1);
    assert_string_equal(rig->asker, client);
    size_t length = strlen(topic);
    assert_memory_equal(rig->answer.topic, topic, length);
    bool accepted = strcmp(rig->answer.topic + length, "/accepted") == 0;
    if (!accepted)
        assert_string_equal(rig->answer.topic + length, "/rejected");
    return accepted;
}

/* "get" of car "a" is a request of client "a" on things/a/jobs/get. */
static inline bool rig_ask(struct rig *rig, const char *thing, const char *operation, const char *payload)
{
    char topic[256];
    snprintf(topic, sizeof(topic), "things/%s/jobs/%s", thing, operation);
    return rig_ask_as(rig, thing, topic, payload);
}

static inline bool rig_update(struct rig *rig, const char *thing, const char *id, const char *status)
{
    char operation[128], payload[128];
    snprintf(operation, sizeof(operation), "%s/update", id);
    snprintf(payload, sizeof(payload), "{\"status\":\"%s\"}", status);
    return rig_ask(rig, thing, operation, payload);
}

static inline bool rig_answered(const struct rig *rig, const char *text)
{
    return strstr(rig->answer.payload, text) != NULL;
}

static inline struct cloud_execution rig_find(const struct rig *rig, const char *id, const char *thing)
{
    struct cloud_execution found;
    assert_true(cloud_jobs_find(rig->jobs, span_text(id), span_text(thing), &found));
    return found;
}

static inline enum cloud_job_state rig_job(const struct rig *rig, const char *id, uint64_t *counts)
{
    enum cloud_job_state state;
    assert_true(cloud_job_state_of(rig->jobs, span_text(id), &state, counts));
    return state;
}

/* To a moment, with every deadline before it at its own time. */
static inline void rig_run(struct rig *rig, int64_t until_us)
{
    while (cloud_jobs_next_deadline(rig->jobs) <= until_us) {
        assert_true(cloud_jobs_next_deadline(rig->jobs) >= rig->now_us);
        rig->now_us = cloud_jobs_next_deadline(rig->jobs);
        cloud_jobs_tick(rig->jobs, rig->now_us);
        assert_true(cloud_jobs_next_deadline(rig->jobs) > rig->now_us);
    }
    rig->now_us = until_us;
}

#endif
