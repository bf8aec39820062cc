/* What devices ask of the job service and hear from it: payloads byte by byte, every code of rejection, versions, limits, notifications. */
#include "jobs_rig.h"

#include "memory.h"

#define ON_NOTIFY(rig, n) ((rig)->tells[(n) % LOG_SIZE])

static void assert_told(const struct rig *rig, unsigned n, const char *topic, const char *payload)
{
    assert_true(n < rig->told);
    assert_string_equal(ON_NOTIFY(rig, n).topic, topic);
    assert_string_equal(ON_NOTIFY(rig, n).payload, payload);
}

/* The story of the documentation: three jobs, the third started before the second, one rejected, one taken away. */
static void notifications_follow_what_is_pending_and_what_is_next(void **state)
{
    static struct rig rig;
    rig_open(&rig);
    rig.now_us = 5 * US_PER_S + 999999; /* whole seconds on the wire, not rounded */
    rig_create(&rig, "job1", NULL);
    assert_true(rig_add(&rig, "job1", "car"));
    assert_int_equal(rig.told, 2);
    assert_told(&rig, 0, "things/car/jobs/notify",
                "{\"timestamp\":1700000005,\"jobs\":{\"QUEUED\":[{\"jobId\":\"job1\",\"queuedAt\":1700000005,"
                "\"lastUpdatedAt\":1700000005,\"versionNumber\":1,\"executionNumber\":1}]}}");
    assert_told(&rig, 1, "things/car/jobs/notify-next",
                "{\"timestamp\":1700000005,\"execution\":{\"jobId\":\"job1\",\"status\":\"QUEUED\","
                "\"queuedAt\":1700000005,\"lastUpdatedAt\":1700000005,\"versionNumber\":1,\"executionNumber\":1,"
                "\"jobDocument\":{\"operation\":\"test\"}}}");
    rig.now_us = 10 * US_PER_S;
    rig_create(&rig, "job2", NULL);
    assert_true(rig_add(&rig, "job2", "car"));
    assert_int_equal(rig.told, 3); /* a later one in line: notify only */
    assert_told(&rig, 2, "things/car/jobs/notify",
                "{\"timestamp\":1700000010,\"jobs\":{\"QUEUED\":[{\"jobId\":\"job1\",\"queuedAt\":1700000005,"
                "\"lastUpdatedAt\":1700000005,\"versionNumber\":1,\"executionNumber\":1},{\"jobId\":\"job2\","
                "\"queuedAt\":1700000010,\"lastUpdatedAt\":1700000010,\"versionNumber\":1,\"executionNumber\":1}]}}");
    rig.now_us = 20 * US_PER_S;
    assert_true(rig_update(&rig, "car", "job1", "IN_PROGRESS"));
    assert_int_equal(rig.told, 3); /* still the next one, nothing came or went */
    rig.now_us = 30 * US_PER_S;
    rig_create(&rig, "job3", NULL);
    assert_true(rig_add(&rig, "job3", "car"));
    assert_int_equal(rig.told, 4);
    assert_told(&rig, 3, "things/car/jobs/notify",
                "{\"timestamp\":1700000030,\"jobs\":{\"IN_PROGRESS\":[{\"jobId\":\"job1\",\"queuedAt\":1700000005,"
                "\"startedAt\":1700000020,\"lastUpdatedAt\":1700000020,\"versionNumber\":2,\"executionNumber\":1}],"
                "\"QUEUED\":[{\"jobId\":\"job2\",\"queuedAt\":1700000010,\"lastUpdatedAt\":1700000010,"
                "\"versionNumber\":1,\"executionNumber\":1},{\"jobId\":\"job3\",\"queuedAt\":1700000030,"
                "\"lastUpdatedAt\":1700000030,\"versionNumber\":1,\"executionNumber\":1}]}}");
    rig.now_us = 40 * US_PER_S;
    assert_true(rig_update(&rig, "car", "job1", "SUCCEEDED"));
    assert_int_equal(rig.told, 6);
    assert_told(&rig, 5, "things/car/jobs/notify-next",
                "{\"timestamp\":1700000040,\"execution\":{\"jobId\":\"job2\",\"status\":\"QUEUED\","
                "\"queuedAt\":1700000010,\"lastUpdatedAt\":1700000010,\"versionNumber\":1,\"executionNumber\":1,"
                "\"jobDocument\":{\"operation\":\"test\"}}}");
    rig.now_us = 50 * US_PER_S;
    assert_true(rig_update(&rig, "car", "job3", "IN_PROGRESS"));
    assert_int_equal(rig.told, 7); /* job3 is before job2 now */
    assert_told(&rig, 6, "things/car/jobs/notify-next",
                "{\"timestamp\":1700000050,\"execution\":{\"jobId\":\"job3\",\"status\":\"IN_PROGRESS\","
                "\"queuedAt\":1700000030,\"startedAt\":1700000050,\"lastUpdatedAt\":1700000050,\"versionNumber\":2,"
                "\"executionNumber\":1,\"jobDocument\":{\"operation\":\"test\"}}}");
    assert_true(rig_update(&rig, "car", "job2", "REJECTED"));
    assert_int_equal(rig.told, 8); /* not the next one: notify only */
    rig.now_us = 60 * US_PER_S;
    assert_true(cloud_job_cancel(rig.jobs, rig.now_us, SPAN_LITERAL("job3"), true));
    assert_int_equal(rig.told, 10);
    assert_told(&rig, 8, "things/car/jobs/notify", "{\"timestamp\":1700000060,\"jobs\":{}}");
    assert_told(&rig, 9, "things/car/jobs/notify-next", "{\"timestamp\":1700000060}");
    rig_close(&rig);
}

static void a_notification_has_at_most_ten_executions_those_in_progress_first(void **state)
{
    static struct rig rig;
    char id[16];
    rig_open(&rig);
    for (int i = 0; i < 14; i++) {
        snprintf(id, sizeof(id), "j%02d", i);
        rig_create(&rig, id, NULL);
        assert_true(rig_add(&rig, id, "car"));
    }
    assert_true(rig_update(&rig, "car", "j12", "IN_PROGRESS"));
    assert_true(rig_update(&rig, "car", "j00", "REJECTED"));
    const char *last = ON_NOTIFY(&rig, rig.told - 1).payload;
    int count = 0;
    assert_non_null(strstr(last, "\"IN_PROGRESS\":[{\"jobId\":\"j12\""));
    for (const char *at = last; (at = strstr(at, "jobId")); at++)
        count++;
    assert_int_equal(count, 10);
    assert_null(strstr(last, "j10"));
    for (int i = 1; i < 10; i++) {
        snprintf(id, sizeof(id), "j%02u", (unsigned)i % 100);
        assert_true(rig_update(&rig, "car", id, "IN_PROGRESS"));
    }
    assert_true(rig_update(&rig, "car", "j10", "REJECTED")); /* ten in progress, two queued: no room for those */
    last = rig.tells[rig.told - 1].payload;
    assert_non_null(strstr(last, "j12"));
    assert_null(strstr(last, "QUEUED"));
    assert_true(rig_ask(&rig, "car", "get", "{}")); /* here all of them */
    assert_true(rig_answered(&rig, "j13"));
    rig_close(&rig);
}

static void get_lists_what_is_pending_in_order(void **state)
{
    static struct rig rig;
    rig_open(&rig);
    assert_true(rig_ask(&rig, "car", "get", "{\"clientToken\":\"t\\\"1\"}"));
    assert_string_equal(rig.answer.payload, "{\"inProgressJobs\":[],\"queuedJobs\":[],\"timestamp\":1700000000,"
                                            "\"clientToken\":\"t\\\"1\"}");
    rig_create(&rig, "b", NULL);
    rig_create(&rig, "a", NULL);
    rig_create(&rig, "c", NULL);
    rig_add(&rig, "b", "car");
    rig_add(&rig, "a", "car");
    rig_add(&rig, "c", "car");
    rig_add(&rig, "c", "other");
    rig_update(&rig, "car", "a", "IN_PROGRESS");
    assert_true(rig_ask(&rig, "car", "get", ""));
    assert_string_equal(
        rig.answer.payload,
        "{\"inProgressJobs\":[{\"jobId\":\"a\",\"queuedAt\":1700000000,\"startedAt\":1700000000,"
        "\"lastUpdatedAt\":1700000000,\"versionNumber\":2,\"executionNumber\":1}],\"queuedJobs\":[{\"jobId\":\"b\","
        "\"queuedAt\":1700000000,\"lastUpdatedAt\":1700000000,\"versionNumber\":1,\"executionNumber\":1},"
        "{\"jobId\":\"c\",\"queuedAt\":1700000000,\"lastUpdatedAt\":1700000000,\"versionNumber\":1,"
        "\"executionNumber\":1}],\"timestamp\":1700000000}");
    rig_close(&rig);
}

static void start_next_takes_them_in_order_and_sets_details_once(void **state)
{
    static struct rig rig;
    rig_open(&rig);
    assert_true(rig_ask(&rig, "car", "start-next", "{\"clientToken\":\"x\"}"));
    assert_string_equal(rig.answer.payload, "{\"timestamp\":1700000000,\"clientToken\":\"x\"}");
    rig_create(&rig, "first", NULL);
    rig_create(&rig, "second", NULL);
    rig_add(&rig, "first", "car");
    rig_add(&rig, "second", "car");
    assert_true(rig_ask(&rig, "car", "start-next", "{\"statusDetails\":{\"step\":\"1 \\\"a\\\"\",\"by\":\"x\"}}"));
    const char *started =
        "{\"execution\":{\"jobId\":\"first\",\"thingName\":\"car\",\"jobDocument\":{\"operation\":\"test\"},"
        "\"status\":\"IN_PROGRESS\",\"statusDetails\":{\"step\":\"1 \\\"a\\\"\",\"by\":\"x\"},"
        "\"queuedAt\":1700000000,\"startedAt\":1700000000,\"lastUpdatedAt\":1700000000,\"versionNumber\":2,"
        "\"executionNumber\":1},\"timestamp\":1700000000}";
    assert_string_equal(rig.answer.payload, started);
    assert_true(rig_ask(&rig, "car", "start-next", "{\"statusDetails\":{\"step\":\"2\"}}"));
    assert_string_equal(rig.answer.payload, started); /* in progress already: nothing changes */
    assert_true(rig_update(&rig, "car", "first", "SUCCEEDED"));
    assert_true(rig_ask(&rig, "car", "start-next", "{}"));
    assert_true(rig_answered(&rig, "\"jobId\":\"second\""));
    rig_close(&rig);
}

static void describe_shows_the_next_or_one_by_id(void **state)
{
    static struct rig rig;
    rig_open(&rig);
    assert_true(rig_ask(&rig, "car", "$next/get", "{}"));
    assert_string_equal(rig.answer.payload, "{\"timestamp\":1700000000}");
    rig_create(&rig, "one", NULL);
    rig_create(&rig, "two", NULL);
    rig_add(&rig, "one", "car");
    rig_add(&rig, "two", "car");
    assert_true(rig_ask(&rig, "car", "$next/get", "{}"));
    assert_string_equal(rig.answer.payload,
                        "{\"execution\":{\"jobId\":\"one\",\"thingName\":\"car\",\"jobDocument\":{\"operation\":"
                        "\"test\"},\"status\":\"QUEUED\",\"queuedAt\":1700000000,\"lastUpdatedAt\":1700000000,"
                        "\"versionNumber\":1,\"executionNumber\":1},\"timestamp\":1700000000}");
    assert_true(rig_ask(&rig, "car", "two/get", "{\"includeJobDocument\":false,\"executionNumber\":1}"));
    assert_string_equal(rig.answer.payload,
                        "{\"execution\":{\"jobId\":\"two\",\"thingName\":\"car\",\"status\":\"QUEUED\","
                        "\"queuedAt\":1700000000,\"lastUpdatedAt\":1700000000,\"versionNumber\":1,"
                        "\"executionNumber\":1},\"timestamp\":1700000000}");
    assert_true(rig_update(&rig, "car", "two", "IN_PROGRESS"));
    assert_true(rig_ask(&rig, "car", "$next/get", "{}")); /* in progress goes before queued */
    assert_true(rig_answered(&rig, "\"jobId\":\"two\""));
    assert_false(rig_ask(&rig, "car", "two/get", "{\"executionNumber\":2}"));
    assert_true(rig_answered(&rig, "\"code\":\"ResourceNotFound\""));
    assert_int_equal(rig_find(&rig, "two", "car").version, 2); /* looking changes nothing */
    rig_close(&rig);
}

static void update_answers_with_what_was_asked_for(void **state)
{
    static struct rig rig;
    rig_open(&rig);
    rig_create(&rig, "j", NULL);
    rig_add(&rig, "j", "car");
    assert_true(rig_ask(&rig, "car", "j/update", "{\"status\":\"IN_PROGRESS\",\"clientToken\":\"c\"}"));
    assert_string_equal(rig.answer.payload, "{\"timestamp\":1700000000,\"clientToken\":\"c\"}");
    assert_true(rig_ask(&rig, "car", "j/update",
                        "{\"status\":\"IN_PROGRESS\",\"statusDetails\":{\"a\":\"1\"},\"expectedVersion\":\"2\","
                        "\"includeJobExecutionState\":true,\"includeJobDocument\":true}"));
    assert_string_equal(rig.answer.payload,
                        "{\"executionState\":{\"status\":\"IN_PROGRESS\",\"statusDetails\":{\"a\":\"1\"},"
                        "\"versionNumber\":3},\"jobDocument\":{\"operation\":\"test\"},\"timestamp\":1700000000}");
    assert_true(rig_ask(&rig, "car", "j/update",
                        "{\"status\":\"SUCCEEDED\",\"expectedVersion\":3,\"includeJobExecutionState\":true}"));
    assert_true(rig_answered(&rig, "\"statusDetails\":{\"a\":\"1\"},\"versionNumber\":4")); /* details stay */
    rig_close(&rig);
}

static void assert_rejected(struct rig *rig, const char *operation, const char *payload, const char *code)
{
    char expected[80];
    uint64_t before = cloud_jobs_hash(rig->jobs);
    unsigned changes = rig->changes, told = rig->told;
    assert_false(rig_ask(rig, "car", operation, payload));
    snprintf(expected, sizeof(expected), "{\"code\":\"%s\",\"message\":\"", code);
    if (strncmp(rig->answer.payload, expected, strlen(expected)) != 0)
        fail_msg("%s %s: %s instead of %s", operation, payload, rig->answer.payload, code);
    assert_true(rig_answered(rig, "\"timestamp\":1700000000"));
    assert_true(cloud_jobs_hash(rig->jobs) == before);
    assert_int_equal(rig->changes, changes);
    assert_int_equal(rig->told, told);
}

static void wrong_requests_are_rejected_and_change_nothing(void **state)
{
    static const struct {
        const char *operation, *payload, *code;
    } cases[] = {
        {"nothing", "{}", "InvalidTopic"},
        {"", "{}", "InvalidTopic"},
        {"get/accepted", "{}", "InvalidTopic"},
        {"notify", "{}", "InvalidTopic"},
        {"j/start", "{}", "InvalidTopic"},
        {"$next/update", "{\"status\":\"IN_PROGRESS\"}", "InvalidTopic"},
        {"bad.id/get", "{}", "InvalidTopic"},
        {"a2345678901234567890123456789012345678901234567890123456789012345/get", "{}", "InvalidTopic"},
        {"get", "{", "InvalidJson"},
        {"get", "{} x", "InvalidJson"},
        {"get", "[]", "InvalidJson"},
        {"get", "\"text\"", "InvalidJson"},
        {"get", "{\"clientToken\":\"\xff\"}", "InvalidJson"},
        {"get", "{\"clientToken\":7}", "InvalidRequest"},
        {"get", "{\"clientToken\":\"12345678901234567890123456789012345678901234567890123456789012345\"}",
         "InvalidRequest"},
        {"start-next", "{\"stepTimeoutInMinutes\":0}", "InvalidRequest"},
        {"start-next", "{\"stepTimeoutInMinutes\":10081}", "InvalidRequest"},
        {"start-next", "{\"stepTimeoutInMinutes\":-2}", "InvalidRequest"},
        {"start-next", "{\"stepTimeoutInMinutes\":1.5}", "InvalidRequest"},
        {"start-next", "{\"statusDetails\":[]}", "InvalidRequest"},
        {"start-next", "{\"statusDetails\":{\"a\":1}}", "InvalidRequest"},
        {"start-next", "{\"statusDetails\":{\"a\":\"\"}}", "InvalidRequest"},
        {"start-next", "{\"statusDetails\":{\"a\":\"x\\ny\"}}", "InvalidRequest"},
        {"start-next", "{\"statusDetails\":{\"a b\":\"x\"}}", "InvalidRequest"},
        {"start-next", "{\"statusDetails\":{\"\":\"x\"}}", "InvalidRequest"},
        {"start-next",
         "{\"statusDetails\":{\"a\":\"1\",\"b\":\"1\",\"c\":\"1\",\"d\":\"1\",\"e\":\"1\",\"f\":\"1\",\"g\":\"1\","
         "\"h\":\"1\",\"i\":\"1\",\"j\":\"1\",\"k\":\"1\"}}",
         "InvalidRequest"},
        {"j/get", "{\"includeJobDocument\":1}", "InvalidRequest"},
        {"j/get", "{\"executionNumber\":\"x\"}", "InvalidRequest"},
        {"j/get", "{\"executionNumber\":1e300}", "InvalidRequest"},
        {"unknown/get", "{}", "ResourceNotFound"},
        {"elsewhere/get", "{}", "ResourceNotFound"},
        {"done/get", "{}", "TerminalStateReached"},
        {"j/update", "{}", "InvalidRequest"},
        {"j/update", "{\"status\":\"DONE\"}", "InvalidRequest"},
        {"j/update", "{\"status\":7}", "InvalidRequest"},
        {"j/update", "{\"status\":\"FAILED\",\"expectedVersion\":\"one\"}", "InvalidRequest"},
        {"j/update", "{\"status\":\"FAILED\",\"expectedVersion\":-1}", "InvalidRequest"},
        {"j/update", "{\"status\":\"FAILED\",\"includeJobDocument\":\"yes\"}", "InvalidRequest"},
        {"j/update", "{\"status\":\"FAILED\",\"includeJobExecutionState\":1}", "InvalidRequest"},
        {"j/update", "{\"status\":\"FAILED\",\"statusDetails\":{\"a\":true}}", "InvalidRequest"},
        {"j/update", "{\"status\":\"IN_PROGRESS\",\"stepTimeoutInMinutes\":20000}", "InvalidRequest"},
        {"unknown/update", "{\"status\":\"FAILED\"}", "ResourceNotFound"},
        {"elsewhere/update", "{\"status\":\"FAILED\"}", "ResourceNotFound"},
        {"j/update", "{\"status\":\"FAILED\",\"executionNumber\":2}", "ResourceNotFound"},
        {"j/update", "{\"status\":\"FAILED\",\"expectedVersion\":2}", "VersionMismatch"},
        {"j/update", "{\"status\":\"FAILED\",\"expectedVersion\":\"0\"}", "VersionMismatch"},
        {"done/update", "{\"status\":\"FAILED\",\"expectedVersion\":1}", "VersionMismatch"},
        {"done/update", "{\"status\":\"SUCCEEDED\"}", "InvalidStateTransition"},
        {"j/update", "{\"status\":\"CANCELED\"}", "InvalidStateTransition"},
    };
    static struct rig rig;
    rig_open(&rig);
    rig_create(&rig, "j", NULL);
    rig_create(&rig, "elsewhere", NULL);
    rig_create(&rig, "done", NULL);
    rig_add(&rig, "j", "car");
    rig_add(&rig, "elsewhere", "other");
    rig_add(&rig, "done", "car");
    rig_update(&rig, "car", "done", "SUCCEEDED");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
        assert_rejected(&rig, cases[i].operation, cases[i].payload, cases[i].code);
    assert_false(
        rig_ask(&rig, "car", "j/update", "{\"status\":\"FAILED\",\"expectedVersion\":9,\"clientToken\":\"q\"}"));
    assert_string_equal(
        rig.answer.payload,
        "{\"code\":\"VersionMismatch\",\"message\":\"The expected version is not the version of the job "
        "execution.\",\"clientToken\":\"q\",\"timestamp\":1700000000,\"executionState\":{\"status\":"
        "\"QUEUED\",\"versionNumber\":1}}");
    rig_close(&rig);
}

static void details_go_up_to_their_limits(void **state)
{
    static struct rig rig;
    char payload[12288], value[1026], key[130];
    size_t at;
    rig_open(&rig);
    rig_create(&rig, "j", NULL);
    rig_add(&rig, "j", "car");
    memset(value, 'v', sizeof(value));
    memset(key, 'k', sizeof(key));
    value[1025] = key[129] = 0;
    snprintf(payload, sizeof(payload), "{\"status\":\"IN_PROGRESS\",\"statusDetails\":{\"a\":\"%s\"}}", value);
    assert_rejected(&rig, "j/update", payload, "InvalidRequest");
    snprintf(payload, sizeof(payload), "{\"status\":\"IN_PROGRESS\",\"statusDetails\":{\"%s\":\"v\"}}", key);
    assert_rejected(&rig, "j/update", payload, "InvalidRequest");
    value[600] = key[128] = 0;
    at = (size_t)snprintf(payload, sizeof(payload), "{\"status\":\"IN_PROGRESS\",\"statusDetails\":{");
    for (int i = 0; i < 10; i++)
        at +=
            (size_t)snprintf(payload + at, sizeof(payload) - at, "%s\"%d%s\":\"%s\"", i ? "," : "", i, key + 1, value);
    snprintf(payload + at, sizeof(payload) - at, "}}");
    assert_true(rig_ask(&rig, "car", "j/update", payload));
    assert_int_equal(rig_find(&rig, "j", "car").details.length, 10 * (128 + 600 + 5) + 9 + 2);
    rig_close(&rig);
}

static void a_client_asks_for_its_own_thing_only(void **state)
{
    static struct rig rig;
    rig_open(&rig);
    rig_create(&rig, "j", NULL);
    rig_add(&rig, "j", "car");
    assert_false(
        rig_ask_as(&rig, "thief", "things/car/jobs/j/update", "{\"status\":\"FAILED\",\"clientToken\":\"z\"}"));
    assert_true(rig_answered(&rig, "\"code\":\"InvalidRequest\""));
    assert_true(rig_answered(&rig, "\"clientToken\":\"z\""));
    assert_int_equal(rig_find(&rig, "j", "car").state, CLOUD_EXECUTION_QUEUED);
    static const char *const others[] = {"things/car/shadow/get", "things/car/jobs", "things/car",
                                         "certificates/create/json", "thing/car/jobs/get"};
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        struct cloud_request request = {.client_id = SPAN_LITERAL("car"), .topic = span_text(others[i])};
        assert_false(cloud_jobs_request(rig.jobs, 0, &request));
    }
    assert_int_equal(rig.answers, 1);
    rig_close(&rig);
}

static void too_many_requests_in_a_second_are_throttled(void **state)
{
    static struct rig rig;
    rig_open_with(&rig, 3);
    for (int i = 0; i < 3; i++)
        assert_true(rig_ask(&rig, "car", "get", "{}"));
    assert_rejected(&rig, "get", "{\"clientToken\":\"t\"}", "RequestThrottled");
    assert_true(rig_answered(&rig, "\"clientToken\":\"t\""));
    rig.now_us = US_PER_S;
    assert_true(rig_ask(&rig, "car", "get", "{}"));
    rig_close(&rig);
}

static void without_memory_the_answer_is_an_internal_error(void **state)
{
    static struct rig rig;
    char payload[4096], value[1000];
    assert_true(memory_begin(2 << 20));
    struct memory_heap *heap = memory_heap_create();
    memory_enter(heap);
    rig_open(&rig);
    rig_create(&rig, "j", NULL);
    rig_add(&rig, "j", "car");
    while (memory_allocate(1024))
        ;
    while (memory_allocate(2048))
        ;
    memset(value, 'v', sizeof(value));
    value[999] = 0;
    snprintf(payload, sizeof(payload), "{\"status\":\"FAILED\",\"statusDetails\":{\"a\":\"%s\"}}", value);
    assert_rejected(&rig, "j/update", payload, "InternalError");
    memory_enter(NULL);
    memory_heap_destroy(heap);
    memory_end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(notifications_follow_what_is_pending_and_what_is_next),
        cmocka_unit_test(a_notification_has_at_most_ten_executions_those_in_progress_first),
        cmocka_unit_test(get_lists_what_is_pending_in_order),
        cmocka_unit_test(start_next_takes_them_in_order_and_sets_details_once),
        cmocka_unit_test(describe_shows_the_next_or_one_by_id),
        cmocka_unit_test(update_answers_with_what_was_asked_for),
        cmocka_unit_test(wrong_requests_are_rejected_and_change_nothing),
        cmocka_unit_test(details_go_up_to_their_limits),
        cmocka_unit_test(a_client_asks_for_its_own_thing_only),
        cmocka_unit_test(too_many_requests_in_a_second_are_throttled),
        cmocka_unit_test(without_memory_the_answer_is_an_internal_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
