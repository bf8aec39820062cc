/* The commands feature: every state against every response; what is wrong with a response; time-outs that are no end; limits and retention. */
#include "cloud/executions.h"
#include "memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define EPOCH_US (INT64_C(1700000000) * US_PER_S)
#define RESPONSE "commands/things/car-7/executions/x1/response/json"

struct line {
    char topic[512], payload[8192];
};

struct rig {
    struct cloud_executions *executions;
    int64_t now_us;
    struct line answer, request, event;
    char asker[64], change[256];
    unsigned answers, requests, events, changes;
    const char *respond_inside; /* a response given while the change is told */
};

static void copy(char *out, size_t capacity, struct span text)
{
    assert_true(text.length < capacity);
    if (text.length)
        memcpy(out, text.data, text.length);
    out[text.length] = 0;
}

static void keep(struct line *line, struct span topic, struct span payload)
{
    copy(line->topic, sizeof(line->topic), topic);
    copy(line->payload, sizeof(line->payload), payload);
}

static void on_answer(void *context, int64_t now_us, struct span client_id, struct span topic, struct span payload)
{
    struct rig *rig = context;
    rig->answers++;
    copy(rig->asker, sizeof(rig->asker), client_id);
    keep(&rig->answer, topic, payload);
}

static void on_tell(void *context, int64_t now_us, struct span thing, struct span topic, struct span payload)
{
    struct rig *rig = context;
    rig->requests++;
    keep(&rig->request, topic, payload);
}

static void on_event(void *context, int64_t now_us, struct span topic, struct span payload)
{
    struct rig *rig = context;
    rig->events++;
    keep(&rig->event, topic, payload);
}

static uint8_t ask(struct rig *rig, const char *client, const char *topic, const char *payload, bool *taken)
{
    struct cloud_request request = {
        .client_id = span_text(client), .topic = span_text(topic), .payload = span_text(payload)};
    return cloud_executions_request(rig->executions, rig->now_us, &request, taken);
}

static void on_changed(void *context, int64_t now_us, struct span thing, struct span id,
                       enum cloud_execution_status status, bool terminal, struct span reason_code)
{
    struct rig *rig = context;
    bool taken;
    rig->changes++;
    snprintf(rig->change, sizeof(rig->change), "%.*s/%.*s %s%s%s%.*s", (int)thing.length, (const char *)thing.data,
             (int)id.length, (const char *)id.data, cloud_execution_status_name(status), terminal ? "." : "",
             reason_code.length ? " " : "", (int)reason_code.length,
             reason_code.length ? (const char *)reason_code.data : "");
    if (rig->respond_inside)
        ask(rig, "car-7", RESPONSE, rig->respond_inside, &taken);
}

static void open_rig(struct rig *rig)
{
    memset(rig, 0, sizeof(*rig));
    struct cloud_executions_options options = {
        .speaker = {.answer = on_answer, .tell = on_tell, .event = on_event, .context = rig},
        .epoch_us = EPOCH_US,
        .changed = on_changed,
        .context = rig};
    rig->executions = cloud_executions_create(&options);
    assert_non_null(rig->executions);
}

static int start(struct rig *rig, const char *thing, const char *id, int64_t timeout_us)
{
    return cloud_executions_start(rig->executions, rig->now_us, span_text(thing), SPAN_LITERAL("unlock"), span_text(id),
                                  SPAN_LITERAL("{\"door\":1}"), timeout_us);
}

/* NULL: accepted; else the error. */
static const char *respond(struct rig *rig, const char *payload)
{
    static char error[64];
    bool taken;
    unsigned before = rig->answers;
    assert_int_equal(ask(rig, "car-7", RESPONSE, payload, &taken), 0);
    assert_true(taken);
    assert_int_equal(rig->answers, before + 1);
    assert_string_equal(rig->asker, "car-7");
    if (strcmp(rig->answer.topic, "commands/things/car-7/executions/x1/response/accepted/json") == 0)
        return NULL;
    assert_string_equal(rig->answer.topic, "commands/things/car-7/executions/x1/response/rejected/json");
    const char *at = strstr(rig->answer.payload, "\"error\":\"");
    assert_non_null(at);
    sscanf(at, "\"error\":\"%63[A-Za-z]", error);
    return error;
}

static const char *say(struct rig *rig, enum cloud_execution_status status)
{
    char payload[64];
    snprintf(payload, sizeof(payload), "{\"status\":\"%s\"}", cloud_execution_status_name(status));
    return respond(rig, payload);
}

static void is(const struct rig *rig, enum cloud_execution_status wanted, bool ended)
{
    enum cloud_execution_status status;
    bool terminal;
    assert_true(
        cloud_executions_status(rig->executions, SPAN_LITERAL("car-7"), SPAN_LITERAL("x1"), &status, &terminal));
    assert_int_equal(status, wanted);
    assert_int_equal(terminal, ended);
}

static void tick(struct rig *rig, int64_t now_us)
{
    rig->now_us = now_us;
    cloud_executions_tick(rig->executions, now_us);
    assert_true(cloud_executions_next_deadline(rig->executions) > now_us);
}

/* ---- every state x every response ------------------------------------------------------------------------------------- */

enum { CREATED, IN_PROGRESS, SUCCEEDED, FAILED, REJECTED, TIMED_OUT_DEVICE, TIMED_OUT_CLOUD, STATES };

static void bring_to(struct rig *rig, int state)
{
    open_rig(rig);
    assert_int_equal(start(rig, "car-7", "x1", 0), 200);
    if (state == TIMED_OUT_CLOUD)
        tick(rig, 10 * US_PER_S);
    else if (state != CREATED)
        assert_null(say(rig, (enum cloud_execution_status)state));
}

static void every_state_and_every_response(void **state)
{
    static const char same[] = "InvalidStateTransition", end[] = "TerminalStateReached";
    static const struct {
        bool terminal;
        const char *error[CLOUD_EXECUTIONS_STATUSES]; /* by what the device says; NULL: accepted */
    } wanted[STATES] = {
        [CREATED] = {false, {same, NULL, NULL, NULL, NULL, NULL}},
        [IN_PROGRESS] = {false, {same, NULL, NULL, NULL, NULL, NULL}},
        [SUCCEEDED] = {true, {end, end, end, end, end, end}},
        [FAILED] = {true, {end, end, end, end, end, end}},
        [REJECTED] = {true, {end, end, end, end, end, end}},
        [TIMED_OUT_DEVICE] = {true, {end, end, end, end, end, end}},
        [TIMED_OUT_CLOUD] = {false, {same, same, NULL, NULL, NULL, NULL}},
    };
    for (int from = 0; from < STATES; from++)
        for (int said = 0; said < CLOUD_EXECUTIONS_STATUSES; said++) {
            struct rig rig;
            enum cloud_execution_status before =
                from == TIMED_OUT_CLOUD ? CLOUD_EXECUTIONS_TIMED_OUT : (enum cloud_execution_status)from;
            bring_to(&rig, from);
            is(&rig, before, wanted[from].terminal);
            unsigned events = rig.events, changes = rig.changes;
            const char *error = say(&rig, (enum cloud_execution_status)said), *expected = wanted[from].error[said];
            if (expected) {
                assert_non_null(error);
                assert_string_equal(error, expected);
                is(&rig, before, wanted[from].terminal);
            } else {
                assert_null(error);
                is(&rig, (enum cloud_execution_status)said, said != CLOUD_EXECUTIONS_IN_PROGRESS);
            }
            assert_int_equal(rig.events - events, !expected);
            assert_int_equal(rig.changes - changes, !expected);
            cloud_executions_destroy(rig.executions);
        }
}

/* ---- words ------------------------------------------------------------------------------------------------------------ */

static void what_is_said(void **state)
{
    struct rig rig;
    open_rig(&rig);
    rig.now_us = 1234567;
    assert_int_equal(start(&rig, "car-7", "x1", 0), 200);
    assert_string_equal(rig.request.topic, "commands/things/car-7/executions/x1/request/json");
    assert_string_equal(rig.request.payload, "{\"door\":1}");
    assert_string_equal(rig.event.topic, "commandExecution/unlock/CREATED");
    assert_string_equal(rig.event.payload,
                        "{\"executionId\":\"x1\",\"status\":\"CREATED\",\"eventType\":\"COMMAND_EXECUTION\","
                        "\"commandArn\":\"arn:aws:iot:us-east-1:123456789012:command/unlock\","
                        "\"targetArn\":\"arn:aws:iot:us-east-1:123456789012:thing/car-7\","
                        "\"timestamp\":1700000001234}");
    assert_string_equal(rig.change, "car-7/x1 CREATED");
    static const char response[] =
        "{\"status\":\"FAILED\",\"clientToken\":\"t\\\"1\",\"statusReason\":{\"reasonCode\":\"JAMMED-1\","
        "\"reasonDescription\":\"the \\\"lock\\\"\"},\"result\":{\"a\":{\"s\":\"x\"}}}";
    assert_null(respond(&rig, response));
    assert_string_equal(rig.answer.payload, "{\"clientToken\":\"t\\\"1\",\"executionId\":\"x1\"}");
    assert_string_equal(rig.event.topic, "commandExecution/unlock/FAILED");
    assert_non_null(strstr(rig.event.payload, "\"status\":\"FAILED\",\"statusReason\":{\"reasonCode\":\"JAMMED-1\","
                                              "\"reasonDescription\":\"the \\\"lock\\\"\"},\"eventType\""));
    assert_string_equal(rig.change, "car-7/x1 FAILED. JAMMED-1");
    struct span kept = cloud_executions_reported(rig.executions, SPAN_LITERAL("car-7"), SPAN_LITERAL("x1"));
    assert_true(span_equal(kept, span_text(response)));
    assert_string_equal(respond(&rig, "{\"status\":\"FAILED\",\"clientToken\":\"t2\"}"), "TerminalStateReached");
    assert_string_equal(rig.answer.payload,
                        "{\"clientToken\":\"t2\",\"executionId\":\"x1\",\"error\":\"TerminalStateReached\","
                        "\"errorMessage\":\"The execution has ended.\"}");
    cloud_executions_destroy(rig.executions);
}

/* `text` n times, with a head and a tail around it. */
static const char *long_text(const char *head, const char *text, size_t n, const char *tail)
{
    static char out[20000];
    size_t at = (size_t)snprintf(out, sizeof(out), "%s", head);
    for (size_t i = 0; i < n; i++)
        at += (size_t)snprintf(out + at, sizeof(out) - at, "%s", text);
    snprintf(out + at, sizeof(out) - at, "%s", tail);
    return out;
}

#define CODE   "{\"status\":\"IN_PROGRESS\",\"statusReason\":{\"reasonCode\":\""
#define REASON CODE "A\",\"reasonDescription\":\""

static void responses_of_all_kinds(void **state)
{
    static const char *const good[] = {
        "{\"status\":\"IN_PROGRESS\"}",
        " {\"status\":\"IN_PROGRESS\", \"other\":[1]} \r\n",
        CODE "A\"}}",
        CODE "0_-Z\"}}",
        REASON "\"}}",
        REASON "\\u0001 \\u00e4\"}}",
        "{\"status\":\"IN_PROGRESS\",\"result\":{\"a\":{\"s\":\"\"},\"b\":{\"b\":false},\"c\":{\"bin\":\"AAE=\"}}}",
        "{\"status\":\"IN_PROGRESS\",\"result\":{\"c\":{\"bin\":\"\"}}}",
    };
    static const char *const bad[] = {
        "",
        "null",
        "[]",
        "\"SUCCEEDED\"",
        "{\"status\":\"IN_PROGRESS\"",
        "{\"status\":\"IN_PROGRESS\"} x",
        "{\"status\":\"IN_PROGRESS\",\"x\":\"\xff\"}",
        "{}",
        "{\"status\":1}",
        "{\"status\":\"in_progress\"}",
        "{\"status\":\"DONE\"}",
        "{\"status\":\"IN_PROGRESS\",\"clientToken\":1}",
        "{\"status\":\"IN_PROGRESS\",\"statusReason\":\"A\"}",
        "{\"status\":\"IN_PROGRESS\",\"statusReason\":{}}",
        "{\"status\":\"IN_PROGRESS\",\"statusReason\":{\"reasonDescription\":\"x\"}}",
        CODE "\"}}",
        CODE "a\"}}",
        CODE "A B\"}}",
        CODE "$A\"}}",
        CODE "A\",\"reasonDescription\":1}}",
        "{\"status\":\"IN_PROGRESS\",\"result\":{}}",
        "{\"status\":\"IN_PROGRESS\",\"result\":[]}",
        "{\"status\":\"IN_PROGRESS\",\"result\":{\"a\":\"s\"}}",
        "{\"status\":\"IN_PROGRESS\",\"result\":{\"a\":{}}}",
        "{\"status\":\"IN_PROGRESS\",\"result\":{\"a\":{\"s\":1}}}",
        "{\"status\":\"IN_PROGRESS\",\"result\":{\"a\":{\"b\":\"true\"}}}",
        "{\"status\":\"IN_PROGRESS\",\"result\":{\"a\":{\"bin\":\"A\"}}}",
        "{\"status\":\"IN_PROGRESS\",\"result\":{\"a\":{\"bin\":\"A-==\"}}}",
        "{\"status\":\"IN_PROGRESS\",\"result\":{\"a\":{\"n\":\"1\"}}}",
        "{\"status\":\"IN_PROGRESS\",\"result\":{\"a\":{\"s\":\"x\",\"b\":true}}}",
    };
    struct rig rig;
    bring_to(&rig, CREATED);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        const char *error = respond(&rig, bad[i]);
        if (!error || strcmp(error, "InvalidStateTransition") != 0)
            fail_msg("'%s' was answered '%s'", bad[i], error ? error : "accepted");
        is(&rig, CLOUD_EXECUTIONS_CREATED, false);
    }
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        if (respond(&rig, good[i]))
            fail_msg("'%s' was refused: %s", good[i], rig.answer.payload);
    assert_null(respond(&rig, long_text(CODE, "Z", 64, "\"}}")));
    assert_non_null(respond(&rig, long_text(CODE, "Z", 65, "\"}}")));
    assert_null(respond(&rig, long_text(REASON, "\\u0001", 1024, "\"}}")));
    assert_non_null(strstr(rig.event.payload, "\\u0001\"},\"eventType\""));
    assert_null(respond(&rig, long_text(REASON, "\xf0\x9f\x9a\x97", 1024, "\"}}")));
    assert_non_null(respond(&rig, long_text(REASON, "x", 1025, "\"}}")));
    assert_null(respond(&rig, long_text("{\"status\":\"IN_PROGRESS\",\"clientToken\":\"", "\\u0001", 64, "\"}")));
    assert_non_null(respond(&rig, long_text("{\"status\":\"IN_PROGRESS\",\"clientToken\":\"", "x", 65, "\"}")));
    cloud_executions_destroy(rig.executions);
}

static void topics_of_others(void **state)
{
    static const char *const others[] = {
        "commands/things/car-7/executions/x1/response/cbor",
        "commands/things/car-7/executions/x1/response",
        "commands/things/car-7/executions/x1/request/json",
        "commands/things/car-7/executions//response/json",
        "commands/things//executions/x1/response/json",
        "commands/things/car-7/executions/x.1/response/json",
        "commands/clients/car-7/executions/x1/response/json",
        "commands/things/car-7/executions/x1/response/json/",
        "commands/things/car-7",
        "things/car-7/jobs/get",
        "",
    };
    struct rig rig;
    bool taken = true;
    bring_to(&rig, CREATED);
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        taken = true;
        ask(&rig, "car-7", others[i], "{\"status\":\"SUCCEEDED\"}", &taken);
        assert_false(taken);
    }
    /* Ours, but somebody else's thing: not a word, and the publish is refused. */
    assert_int_equal(ask(&rig, "car-8", RESPONSE, "{\"status\":\"SUCCEEDED\"}", &taken), 0x87);
    assert_true(taken);
    assert_int_equal(rig.answers, 0);
    is(&rig, CLOUD_EXECUTIONS_CREATED, false);
    /* Its own, and unknown; also when the body is no good. */
    assert_int_equal(ask(&rig, "car-8", "commands/things/car-8/executions/x1/response/json", "{", &taken), 0);
    assert_non_null(strstr(rig.answer.payload, "\"error\":\"ResourceNotFound\""));
    assert_string_equal(rig.answer.topic, "commands/things/car-8/executions/x1/response/rejected/json");
    cloud_executions_destroy(rig.executions);
}

static void a_response_in_the_middle_of_a_change(void **state)
{
    struct rig rig;
    bring_to(&rig, CREATED);
    rig.respond_inside = "{\"status\":\"SUCCEEDED\"}";
    bool taken;
    assert_int_equal(ask(&rig, "car-7", RESPONSE, "{\"status\":\"IN_PROGRESS\"}", &taken), 0);
    assert_int_equal(rig.answers, 2);
    assert_non_null(strstr(rig.answer.payload, "\"error\":\"DataConflict\""));
    is(&rig, CLOUD_EXECUTIONS_IN_PROGRESS, false);
    rig.respond_inside = NULL;
    assert_null(say(&rig, CLOUD_EXECUTIONS_SUCCEEDED));
    cloud_executions_destroy(rig.executions);
}

/* ---- time ------------------------------------------------------------------------------------------------------------- */

static void time_outs_are_no_end(void **state)
{
    struct rig rig;
    open_rig(&rig);
    assert_int_equal(start(&rig, "car-7", "x1", 3 * US_PER_S), 200);
    assert_true(cloud_executions_next_deadline(rig.executions) == 3 * US_PER_S);
    assert_null(say(&rig, CLOUD_EXECUTIONS_IN_PROGRESS));
    tick(&rig, 3 * US_PER_S - 1);
    is(&rig, CLOUD_EXECUTIONS_IN_PROGRESS, false);
    tick(&rig, 3 * US_PER_S);
    is(&rig, CLOUD_EXECUTIONS_TIMED_OUT, false);
    assert_string_equal(rig.event.topic, "commandExecution/unlock/TIMED_OUT");
    assert_non_null(strstr(rig.event.payload, "\"statusReason\":{\"reasonCode\":\"$NO_RESPONSE_FROM_DEVICE\"}"));
    assert_string_equal(rig.change, "car-7/x1 TIMED_OUT $NO_RESPONSE_FROM_DEVICE");
    unsigned events = rig.events;
    tick(&rig, 100 * US_PER_DAY);
    assert_int_equal(rig.events, events);
    assert_null(say(&rig, CLOUD_EXECUTIONS_SUCCEEDED));
    assert_string_equal(rig.change, "car-7/x1 SUCCEEDED.");
    cloud_executions_destroy(rig.executions);
}

static bool known(const struct rig *rig)
{
    enum cloud_execution_status status;
    bool terminal;
    return cloud_executions_status(rig->executions, SPAN_LITERAL("car-7"), SPAN_LITERAL("x1"), &status, &terminal);
}

static void retention_begins_with_the_end(void **state)
{
    struct rig rig;
    open_rig(&rig);
    uint64_t empty = cloud_executions_bytes(rig.executions);
    assert_true(empty < 4096);
    assert_int_equal(start(&rig, "car-7", "x1", 0), 200);
    rig.now_us = 2 * US_PER_S;
    assert_null(say(&rig, CLOUD_EXECUTIONS_SUCCEEDED));
    tick(&rig, 180 * US_PER_DAY + 2 * US_PER_S - 1);
    assert_true(known(&rig));
    assert_int_equal(start(&rig, "car-7", "x1", 0), 409);
    tick(&rig, 180 * US_PER_DAY + 2 * US_PER_S);
    assert_false(known(&rig));
    assert_true(cloud_executions_next_deadline(rig.executions) == TIME_NEVER);
    /* Never answered, gone at last; and answered late, kept from then on. */
    int64_t again_us = rig.now_us;
    assert_int_equal(start(&rig, "car-7", "x1", 0), 200);
    tick(&rig, again_us + 10 * US_PER_S);
    tick(&rig, again_us + 170 * US_PER_DAY);
    assert_null(say(&rig, CLOUD_EXECUTIONS_FAILED));
    tick(&rig, again_us + 349 * US_PER_DAY);
    assert_true(known(&rig));
    tick(&rig, again_us + 350 * US_PER_DAY);
    assert_false(known(&rig));
    assert_int_equal(start(&rig, "car-7", "x1", 0), 200);
    again_us = rig.now_us;
    tick(&rig, again_us + 10 * US_PER_S);
    tick(&rig, again_us + 181 * US_PER_DAY);
    assert_false(known(&rig));
    assert_true(cloud_executions_bytes(rig.executions) < empty + 1024);
    cloud_executions_destroy(rig.executions);
}

/* ---- starting --------------------------------------------------------------------------------------------------------- */

static void so_many_at_once(void **state)
{
    struct rig rig;
    char id[16];
    open_rig(&rig);
    for (int i = 0; i < 99; i++) {
        snprintf(id, sizeof(id), "y%d", i);
        assert_int_equal(start(&rig, "car-7", id, US_PER_HOUR), 200);
    }
    assert_int_equal(start(&rig, "car-7", "x1", 0), 200);
    assert_int_equal(start(&rig, "car-7", "x2", 0), 429);
    assert_int_equal(start(&rig, "car-7", "x1", 0), 409);
    assert_int_equal(start(&rig, "car-8", "x1", 0), 200);
    assert_null(say(&rig, CLOUD_EXECUTIONS_IN_PROGRESS));
    assert_int_equal(start(&rig, "car-7", "x2", 0), 429);
    tick(&rig, 10 * US_PER_S); /* whose time is over does not stand in the way, and is not counted twice when it ends */
    assert_int_equal(start(&rig, "car-7", "x2", US_PER_HOUR), 200);
    assert_int_equal(start(&rig, "car-7", "x3", 0), 429);
    assert_null(say(&rig, CLOUD_EXECUTIONS_SUCCEEDED));
    assert_int_equal(start(&rig, "car-7", "x3", 0), 429);
    cloud_executions_destroy(rig.executions);
}

static void what_cannot_be_started(void **state)
{
    struct rig rig;
    char id[66];
    open_rig(&rig);
    memset(id, 'a', sizeof(id));
    id[65] = 0;
    assert_int_equal(start(&rig, "car-7", id, 0), 400);
    id[64] = 0;
    assert_int_equal(start(&rig, "car-7", "", 0), 400);
    assert_int_equal(start(&rig, "car-7", "a.b", 0), 400);
    assert_int_equal(start(&rig, "", "x1", 0), 400);
    assert_int_equal(start(&rig, "a/b", "x1", 0), 400);
    assert_int_equal(start(&rig, "car-7", "x1", -1), 400);
    assert_int_equal(start(&rig, "car-7", "x1", 12 * US_PER_HOUR + 1), 400);
    assert_int_equal(rig.requests + rig.events + rig.changes, 0);
    assert_true(cloud_executions_next_deadline(rig.executions) == TIME_NEVER);
    assert_int_equal(start(&rig, "car-7", id, 12 * US_PER_HOUR), 200);
    cloud_executions_destroy(rig.executions);
}

/* Memory ends somewhere: nothing has happened then, and what is there goes on. */
static void without_memory(void **state)
{
    assert_true(memory_begin(UINT64_C(1) << 20));
    struct memory_heap *heap = memory_heap_create();
    assert_non_null(heap);
    memory_enter(heap);
    struct rig rig;
    char id[24];
    open_rig(&rig);
    assert_int_equal(start(&rig, "car-7", "x1", 0), 200);
    unsigned begun = 0;
    for (int code = 200; code != 500; begun += code == 200) {
        snprintf(id, sizeof(id), "car-%u", begun + 100);
        code = start(&rig, id, "x1", 0);
        assert_true(code == 200 || code == 500);
        assert_true(begun < 100000);
    }
    assert_int_equal(rig.changes, begun + 1);
    assert_int_equal(rig.requests, begun + 1);
    while (memory_allocate(16) || memory_allocate(8))
        ;
    const char *error = respond(&rig, long_text("{\"status\":\"SUCCEEDED\",\"x\":\"", "x", 9000, "\"}"));
    assert_non_null(error);
    assert_string_equal(error, "InternalError");
    is(&rig, CLOUD_EXECUTIONS_CREATED, false);
    tick(&rig, 10 * US_PER_S);
    is(&rig, CLOUD_EXECUTIONS_TIMED_OUT, false);
    cloud_executions_destroy(rig.executions);
    memory_enter(NULL);
    memory_heap_destroy(heap);
    memory_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_state_and_every_response),
        cmocka_unit_test(what_is_said),
        cmocka_unit_test(responses_of_all_kinds),
        cmocka_unit_test(topics_of_others),
        cmocka_unit_test(a_response_in_the_middle_of_a_change),
        cmocka_unit_test(time_outs_are_no_end),
        cmocka_unit_test(retention_begins_with_the_end),
        cmocka_unit_test(so_many_at_once),
        cmocka_unit_test(what_cannot_be_started),
        cmocka_unit_test(without_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
