/* jobs.c: what the cloud wants done with this vehicle, and how it went.
 *
 * A notification is a hint only: what is to be done is in the answer to start-next, or to $next/get when notifications may have been
 * missed (after power-up, without a resumed session). One job at a time; one operation is known: "rotate-certificate". What cannot be
 * attended to now is asked for when there is time. A job that ended without us (cancelled, timed out) is nobody's any more. */
#include "agent_internal.h"

enum { REJECT_UNKNOWN, REJECT_NO_CERTIFICATE };
enum verdict { ASK_AGAIN, ENDED, OTHER_VERSION };

struct job {
    char id[64];
    size_t id_length;
    int64_t version;
    bool in_progress;
    struct span document; /* empty: not given */
};

/* Goes into topics and JSON. */
static bool plain(const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        char byte = text[i];
        bool alphanumeric =
            (byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') || (byte >= 'a' && byte <= 'z');
        if (!alphanumeric && byte != '-' && byte != '_')
            return false;
    }
    return length > 0;
}

/* AGENT_JSON_NONE: there is no job. */
static enum agent_json read_job(struct span payload, struct job *job)
{
    struct span execution, value;
    enum agent_json found = agent_json_member(payload, "execution", &execution);
    if (found != AGENT_JSON_FOUND)
        return found;
    if (agent_json_member(execution, "jobId", &value) == AGENT_JSON_BAD)
        return AGENT_JSON_BAD;
    if (!agent_json_text(value, job->id, sizeof(job->id), &job->id_length) || !plain(job->id, job->id_length))
        return AGENT_JSON_BAD;
    agent_json_member(execution, "versionNumber", &value);
    if (!agent_json_number(value, &job->version))
        return AGENT_JSON_BAD;
    agent_json_member(execution, "status", &value);
    job->in_progress = agent_json_is(value, "IN_PROGRESS");
    agent_json_member(execution, "jobDocument", &job->document);
    return AGENT_JSON_FOUND;
}

static bool same(const struct agent_rotation *rotation, const struct job *job)
{
    return span_equal(span_of(rotation->job, rotation->job_length), span_of(job->id, job->id_length));
}

static void take_job(struct tcu *tcu, const struct job *job)
{
    struct agent_rotation *rotation = agent_rotation(tcu);
    struct span operation, template;
    char name[sizeof(rotation->template)];
    size_t length = 0;
    agent_json_member(job->document, "operation", &operation);
    agent_json_member(job->document, "template", &template);
    memcpy(rotation->job, job->id, job->id_length);
    rotation->job_length = (uint8_t)job->id_length;
    rotation->version = job->version;
    bool known = agent_json_is(operation, "rotate-certificate");
    bool named = agent_json_text(template, name, sizeof(name), &length) && plain(name, length);
    if (known && tcu->has_certificate && (template.length == 0 || named)) {
        agent_rotation_begin(tcu, span_of(name, length));
        return;
    }
    rotation->rejection = known && !tcu->has_certificate ? REJECT_NO_CERTIFICATE : REJECT_UNKNOWN;
    agent_step_enter(tcu, DO_REJECT);
}

/* Before the new certificate is tried a job that is not there any more ends the attempt; later it is brought to its end. */
static void notified(struct tcu *tcu, struct span payload)
{
    struct job job;
    enum agent_json found = read_job(payload, &job);
    struct agent_rotation *rotation = agent_rotation(tcu);
    bool there = found == AGENT_JSON_FOUND;
    if (found == AGENT_JSON_BAD)
        return;
    if (!rotation) {
        if (there && agent_rotation_need(tcu))
            agent_step_enter(tcu, DO_START);
        else if (there)
            tcu->want_rotation = 1; /* no memory now */
        return;
    }
    if (rotation->step == DO_START || (rotation->step == DO_DESCRIBE && rotation->phase != PHASE_NONE))
        return; /* its answer says more */
    if (rotation->step == DO_DESCRIBE && there) {
        agent_step_enter(tcu, DO_START);
        return;
    }
    if (there && same(rotation, &job))
        return;
    if (there)
        tcu->want_rotation = 1;
    bool undecided = rotation->phase == PHASE_KEY || rotation->phase == PHASE_ISSUED;
    if (undecided && !rotation->claim && rotation->step != DO_CLEAN)
        agent_rotation_drop(tcu);
}

static void described(struct tcu *tcu, enum agent_json found, const struct job *job)
{
    struct agent_rotation *rotation = agent_rotation(tcu);
    bool there = found == AGENT_JSON_FOUND;
    if (rotation->phase == PHASE_NONE) {
        if (there && job->in_progress)
            take_job(tcu, job);
        else
            agent_step_enter(tcu, there ? DO_START : DO_NOTHING);
    } else if (there && job->in_progress && same(rotation, job)) {
        rotation->version = job->version;
        agent_rotation_resume(tcu);
    } else {
        if (there)
            tcu->want_rotation = 1;
        agent_rotation_drop(tcu);
    }
}

static void started(struct tcu *tcu, enum agent_json found, const struct job *job)
{
    if (found == AGENT_JSON_NONE)
        agent_step_enter(tcu, DO_NOTHING);
    else if (job->in_progress)
        take_job(tcu, job);
}

/* Nothing to do is an answer, too; what is too much for the cloud now is asked for later. */
static void asked(struct tcu *tcu, bool accepted, struct span payload)
{
    struct job job;
    struct span code;
    if (!accepted) {
        if (agent_json_member(payload, "code", &code) == AGENT_JSON_BAD)
            return;
        if (agent_json_is(code, "RequestThrottled") || agent_json_is(code, "InternalError"))
            agent_step_later(tcu);
        else if (agent_rotation(tcu)->step == DO_START)
            started(tcu, AGENT_JSON_NONE, NULL);
        else
            described(tcu, AGENT_JSON_NONE, NULL);
        return;
    }
    enum agent_json found = read_job(payload, &job);
    if (found == AGENT_JSON_BAD)
        return;
    tcu->want_rotation = 0;
    if (agent_rotation(tcu)->step == DO_START)
        started(tcu, found, &job);
    else
        described(tcu, found, &job);
}

static enum verdict judge(struct span payload, int64_t *version)
{
    static const char *const ends[] = {"SUCCEEDED", "FAILED", "TIMED_OUT", "REJECTED", "REMOVED", "CANCELED"};
    struct span code, state, value;
    if (agent_json_member(payload, "code", &code) == AGENT_JSON_BAD)
        return ASK_AGAIN;
    if (agent_json_is(code, "ResourceNotFound"))
        return ENDED;
    if (!agent_json_is(code, "VersionMismatch") && !agent_json_is(code, "InvalidStateTransition") &&
        !agent_json_is(code, "TerminalStateReached"))
        return ASK_AGAIN;
    agent_json_member(payload, "executionState", &state);
    agent_json_member(state, "status", &value);
    for (unsigned i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
        if (agent_json_is(value, ends[i]))
            return ENDED;
    agent_json_member(state, "versionNumber", &value);
    return agent_json_number(value, version) ? OTHER_VERSION : ASK_AGAIN;
}

static void updated(struct tcu *tcu, bool accepted, struct span payload)
{
    struct agent_rotation *rotation = agent_rotation(tcu);
    struct span ignored;
    int64_t version = 0;
    if (agent_json_member(payload, "timestamp", &ignored) == AGENT_JSON_BAD)
        return;
    enum verdict verdict = accepted ? ENDED : judge(payload, &version);
    if (verdict == OTHER_VERSION)
        rotation->version = version;
    if (verdict != ENDED)
        agent_step_later(tcu);
    else if (rotation->step == DO_REJECT)
        agent_step_enter(tcu, DO_NOTHING);
    else
        agent_rotation_reported(tcu);
}

/* Takes `verb` and what is left of it from the end; *accepted tells which. */
static bool answers(struct span topic, const char *verb, bool *accepted)
{
    struct span begin = span_text(verb);
    if (topic.length != begin.length + 9 || memcmp(topic.data, begin.data, begin.length) != 0)
        return false;
    struct span end = span_of(topic.data + begin.length, 9);
    *accepted = span_equal(end, SPAN_LITERAL("/accepted"));
    return *accepted || span_equal(end, SPAN_LITERAL("/rejected"));
}

void agent_jobs_heard(struct tcu *tcu, struct span topic, struct span payload)
{
    const struct agent_rotation *rotation = agent_rotation(tcu);
    bool accepted;
    if (agent_claiming(tcu))
        return;
    if (span_equal(topic, SPAN_LITERAL("notify-next"))) {
        notified(tcu, payload);
        return;
    }
    if (!rotation)
        return;
    uint8_t step = rotation->step, length = rotation->job_length;
    if (step == DO_START && answers(topic, "start-next", &accepted)) {
        asked(tcu, accepted, payload);
    } else if (step == DO_DESCRIBE && answers(topic, "$next/get", &accepted)) {
        asked(tcu, accepted, payload);
    } else if ((step == DO_REJECT || step == DO_SUCCEED || step == DO_FAIL) && length > 0 && topic.length > length &&
               memcmp(topic.data, rotation->job, length) == 0 &&
               answers(span_of(topic.data + length, topic.length - length), "/update", &accepted)) {
        updated(tcu, accepted, payload);
    }
}
