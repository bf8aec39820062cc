/* Every way from one state to another: who may go it, what it does to versions, counters, timers, retries; what is told about it. */
#include "jobs_rig.h"

static const enum cloud_execution_state all[] = {
    CLOUD_EXECUTION_QUEUED,    CLOUD_EXECUTION_IN_PROGRESS, CLOUD_EXECUTION_SUCCEEDED, CLOUD_EXECUTION_FAILED,
    CLOUD_EXECUTION_TIMED_OUT, CLOUD_EXECUTION_REJECTED,    CLOUD_EXECUTION_REMOVED,   CLOUD_EXECUTION_CANCELED};

/* Brings execution "j" of "car" into a state, each by whoever may set it. */
static void bring(struct rig *rig, enum cloud_execution_state state)
{
    static const struct cloud_job_template template = {.in_progress_timeout_us = US_PER_MIN};
    rig_create(rig, "j", &template);
    assert_true(rig_add(rig, "j", "car"));
    if (state == CLOUD_EXECUTION_TIMED_OUT) {
        assert_true(rig_update(rig, "car", "j", "IN_PROGRESS"));
        rig_run(rig, rig->now_us + US_PER_MIN);
    } else if (state == CLOUD_EXECUTION_REMOVED) {
        cloud_jobs_remove_thing(rig->jobs, rig->now_us, SPAN_LITERAL("car"));
    } else if (state == CLOUD_EXECUTION_CANCELED) {
        assert_true(cloud_job_cancel(rig->jobs, rig->now_us, SPAN_LITERAL("j"), false));
    } else if (state != CLOUD_EXECUTION_QUEUED) {
        assert_true(rig_update(rig, "car", "j", cloud_execution_state_name(state)));
    }
    assert_int_equal(rig_find(rig, "j", "car").state, state);
}

static bool is_open(enum cloud_execution_state state)
{
    return state == CLOUD_EXECUTION_QUEUED || state == CLOUD_EXECUTION_IN_PROGRESS;
}

static bool device_may(enum cloud_execution_state from, enum cloud_execution_state to)
{
    return is_open(from) && (to == CLOUD_EXECUTION_IN_PROGRESS || to == CLOUD_EXECUTION_SUCCEEDED ||
                             to == CLOUD_EXECUTION_FAILED || to == CLOUD_EXECUTION_REJECTED);
}

static void devices_go_the_ways_that_are_theirs(void **state)
{
    static struct rig rig;
    for (int from = 0; from < CLOUD_EXECUTION_STATES; from++)
        for (int to = 0; to < CLOUD_EXECUTION_STATES; to++) {
            char expected[96];
            rig_open(&rig);
            bring(&rig, all[from]);
            int64_t version = rig_find(&rig, "j", "car").version;
            bool may = device_may(all[from], all[to]);
            assert_int_equal(rig_update(&rig, "car", "j", cloud_execution_state_name(all[to])), may);
            struct cloud_execution now = rig_find(&rig, "j", "car");
            assert_int_equal(now.state, may ? all[to] : all[from]);
            assert_int_equal(now.version, version + may);
            if (!may) {
                assert_true(rig_answered(&rig, "\"code\":\"InvalidStateTransition\""));
                snprintf(expected, sizeof(expected), "\"executionState\":{\"status\":\"%s\",\"versionNumber\":%d}",
                         cloud_execution_state_name(all[from]), (int)version);
                assert_true(rig_answered(&rig, expected));
            }
            rig_close(&rig);
        }
}

/* What the cloud does to each state: cancel, force, remove, time. */
static void the_cloud_goes_the_ways_that_are_its_own(void **state)
{
    static struct rig rig;
    for (int from = 0; from < CLOUD_EXECUTION_STATES; from++)
        for (int way = 0; way < 4; way++) {
            enum cloud_execution_state expected = all[from];
            rig_open(&rig);
            bring(&rig, all[from]);
            int64_t version = rig_find(&rig, "j", "car").version;
            if (way < 2)
                cloud_job_cancel(rig.jobs, rig.now_us, SPAN_LITERAL("j"), way == 1);
            else if (way == 2)
                cloud_jobs_remove_thing(rig.jobs, rig.now_us, SPAN_LITERAL("car"));
            else
                rig_run(&rig, rig.now_us + US_PER_DAY);
            if (way < 2 &&
                (all[from] == CLOUD_EXECUTION_QUEUED || (way == 1 && all[from] == CLOUD_EXECUTION_IN_PROGRESS)))
                expected = CLOUD_EXECUTION_CANCELED;
            if (way == 2 && is_open(all[from]))
                expected = CLOUD_EXECUTION_REMOVED;
            if (way == 3 && all[from] == CLOUD_EXECUTION_IN_PROGRESS)
                expected = CLOUD_EXECUTION_TIMED_OUT;
            assert_int_equal(rig_find(&rig, "j", "car").state, expected);
            assert_int_equal(rig_find(&rig, "j", "car").version, version + (expected != all[from]));
            assert_int_equal(cloud_jobs_open(rig.jobs), is_open(expected));
            rig_close(&rig);
        }
}

static void every_change_is_told_to_the_owner_and_ends_to_the_back_office(void **state)
{
    static struct rig rig;
    rig_open(&rig);
    rig_create(&rig, "j", NULL);
    rig_add(&rig, "j", "car");
    rig_update(&rig, "car", "j", "IN_PROGRESS");
    rig_update(&rig, "car", "j", "IN_PROGRESS");
    rig_ask(&rig, "car", "j/update", "{\"status\":\"FAILED\",\"statusDetails\":{\"reason\":\"because\"}}");
    assert_int_equal(rig.changes, 4);
    assert_string_equal(rig.changed[0], "car/1 QUEUED>QUEUED");
    assert_string_equal(rig.changed[1], "car/1 QUEUED>IN_PROGRESS");
    assert_string_equal(rig.changed[2], "car/1 IN_PROGRESS>IN_PROGRESS");
    assert_string_equal(rig.changed[3], "car/1 IN_PROGRESS>FAILED");
    cloud_job_close(rig.jobs, rig.now_us, SPAN_LITERAL("j"));
    assert_int_equal(rig.event_count, 2);
    assert_string_equal(rig.events[0].topic, "jobExecution/j/failed");
    const char *event = rig.events[0].payload, *tail = strstr(event, "\",\"timestamp\"");
    assert_int_equal(strncmp(event, "{\"eventType\":\"JOB_EXECUTION\",\"eventId\":\"", 40), 0);
    assert_non_null(tail);
    assert_int_equal(tail - event - 40, 36);
    assert_string_equal(tail, "\",\"timestamp\":1700000000,\"operation\":\"failed\",\"jobId\":\"j\",\"thingArn\":"
                              "\"arn:aws:iot:us-east-1:123456789012:thing/car\",\"status\":\"FAILED\","
                              "\"statusDetails\":{\"reason\":\"because\"}}");
    assert_string_equal(rig.events[1].topic, "job/j/completed");
    tail = strstr(rig.events[1].payload, "\",\"timestamp\"");
    assert_string_equal(tail, "\",\"timestamp\":1700000000,\"operation\":\"completed\",\"jobId\":\"j\",\"status\":"
                              "\"COMPLETED\",\"targetSelection\":\"SNAPSHOT\",\"targets\":"
                              "[\"arn:aws:iot:us-east-1:123456789012:thing/car\"],\"description\":\"\","
                              "\"completedAt\":1700000000,\"createdAt\":1700000000,\"lastUpdatedAt\":1700000000,"
                              "\"jobProcessDetails\":{\"numberOfCanceledThings\":0,\"numberOfRejectedThings\":0,"
                              "\"numberOfFailedThings\":1,\"numberOfRemovedThings\":0,\"numberOfSucceededThings\":0,"
                              "\"numberOfTimedOutThings\":0}}");
    assert_string_not_equal(rig.events[0].payload + 40, rig.events[1].payload + 30);
    rig_close(&rig);
}

static void the_in_progress_timer_starts_with_the_work_and_is_not_extended(void **state)
{
    static struct rig rig;
    const struct cloud_job_template template = {.in_progress_timeout_us = 20 * US_PER_MIN};
    rig_open(&rig);
    rig_create(&rig, "j", &template);
    rig_add(&rig, "j", "car");
    rig_run(&rig, US_PER_HOUR);
    assert_int_equal(rig_find(&rig, "j", "car").state, CLOUD_EXECUTION_QUEUED);
    assert_true(cloud_jobs_next_deadline(rig.jobs) == TIME_NEVER);
    rig_update(&rig, "car", "j", "IN_PROGRESS");
    assert_true(cloud_jobs_next_deadline(rig.jobs) == US_PER_HOUR + 20 * US_PER_MIN);
    rig_run(&rig, US_PER_HOUR + 19 * US_PER_MIN);
    rig_update(&rig, "car", "j", "IN_PROGRESS");
    assert_true(cloud_jobs_next_deadline(rig.jobs) == US_PER_HOUR + 20 * US_PER_MIN);
    rig_run(&rig, US_PER_HOUR + 20 * US_PER_MIN - 1);
    assert_int_equal(rig_find(&rig, "j", "car").state, CLOUD_EXECUTION_IN_PROGRESS);
    rig_run(&rig, US_PER_HOUR + 20 * US_PER_MIN);
    assert_int_equal(rig_find(&rig, "j", "car").state, CLOUD_EXECUTION_TIMED_OUT);
    assert_true(cloud_jobs_next_deadline(rig.jobs) == TIME_NEVER);
    assert_string_equal(rig.events[0].topic, "jobExecution/j/timed_out");
    assert_string_equal(rig.tells[rig.told - 1].payload, "{\"timestamp\":1700004800}");
    rig_close(&rig);
}

static int64_t deadline_after(struct rig *rig, int64_t now_us, const char *payload)
{
    rig->now_us = now_us;
    assert_true(rig_ask(rig, "car", "j/update", payload));
    return cloud_jobs_next_deadline(rig->jobs);
}

/* The documentation's example: 20 minutes in all; steps of 7, 5 and 9 minutes at 12:05, 12:10 and 12:13. */
static void a_step_timer_is_replaced_and_never_outlasts_the_whole(void **state)
{
    static struct rig rig;
    const struct cloud_job_template template = {.in_progress_timeout_us = 20 * US_PER_MIN};
    rig_open(&rig);
    rig_create(&rig, "j", &template);
    rig_add(&rig, "j", "car");
    rig_update(&rig, "car", "j", "IN_PROGRESS");
    static const struct {
        int64_t at_min;
        const char *step;
        int64_t deadline_min;
    } steps[] = {{5, "7", 12}, {10, "5", 15}, {13, "9", 20}, {14, "1", 15}, {14, "-1", 20}, {15, "2", 17}};
    for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
        char payload[80];
        snprintf(payload, sizeof(payload), "{\"status\":\"IN_PROGRESS\",\"stepTimeoutInMinutes\":%s}", steps[i].step);
        assert_true(deadline_after(&rig, steps[i].at_min * US_PER_MIN, payload) == steps[i].deadline_min * US_PER_MIN);
    }
    assert_true(deadline_after(&rig, 16 * US_PER_MIN, "{\"status\":\"IN_PROGRESS\"}") == 17 * US_PER_MIN); /* stays */
    rig_run(&rig, 17 * US_PER_MIN);
    assert_int_equal(rig_find(&rig, "j", "car").state, CLOUD_EXECUTION_TIMED_OUT);
    rig_close(&rig);
}

static void a_step_timer_works_alone_from_start_next_on(void **state)
{
    static struct rig rig;
    rig_open(&rig);
    rig_create(&rig, "j", NULL);
    rig_add(&rig, "j", "car");
    assert_true(rig_ask(&rig, "car", "start-next", "{\"stepTimeoutInMinutes\":3}"));
    assert_true(cloud_jobs_next_deadline(rig.jobs) == 3 * US_PER_MIN);
    assert_true(deadline_after(&rig, 1, "{\"status\":\"IN_PROGRESS\",\"stepTimeoutInMinutes\":-1}") == TIME_NEVER);
    assert_true(deadline_after(&rig, 2, "{\"status\":\"IN_PROGRESS\",\"stepTimeoutInMinutes\":1}") == US_PER_MIN + 2);
    assert_true(deadline_after(&rig, 3, "{\"status\":\"SUCCEEDED\",\"stepTimeoutInMinutes\":1}") == TIME_NEVER);
    rig_run(&rig, US_PER_DAY);
    assert_int_equal(rig_find(&rig, "j", "car").state, CLOUD_EXECUTION_SUCCEEDED);
    rig_close(&rig);
}

static void failures_are_retried_as_often_as_their_criteria_say(void **state)
{
    static struct rig rig;
    const struct cloud_job_template template = {.in_progress_timeout_us = US_PER_MIN,
                                                .retry = {{CLOUD_FAILURE_FAILED, 2}, {CLOUD_FAILURE_TIMED_OUT, 1}},
                                                .retry_count = 2};
    uint64_t counts[CLOUD_EXECUTION_STATES];
    rig_open(&rig);
    rig_create(&rig, "j", &template);
    rig_add(&rig, "j", "car");
    cloud_job_close(rig.jobs, 0, SPAN_LITERAL("j"));
    rig_ask(&rig, "car", "start-next", "{\"statusDetails\":{\"a\":\"1\"}}");
    assert_true(rig_ask(&rig, "car", "j/update", "{\"status\":\"FAILED\",\"includeJobExecutionState\":true}"));
    assert_true(rig_answered(&rig, "{\"status\":\"FAILED\",\"statusDetails\":{\"a\":\"1\"},\"versionNumber\":3}"));
    assert_string_equal(rig.changed[rig.changes - 2], "car/1 IN_PROGRESS>FAILED again");
    assert_string_equal(rig.changed[rig.changes - 1], "car/2 QUEUED>QUEUED");
    struct cloud_execution again = rig_find(&rig, "j", "car");
    assert_int_equal(again.number, 2);
    assert_int_equal(again.version, 1);
    assert_int_equal(again.details.length, 0);
    assert_true(again.started_us == -1);
    assert_non_null(strstr(rig.tells[rig.told - 1].topic, "notify-next"));
    assert_non_null(strstr(rig.tells[rig.told - 1].payload, "\"executionNumber\":2"));
    assert_false(rig_ask(&rig, "car", "j/get", "{\"executionNumber\":1}")); /* still there, ended */
    assert_true(rig_answered(&rig, "TerminalStateReached"));
    assert_true(rig_ask(&rig, "car", "j/get", "{\"executionNumber\":2}"));
    assert_false(rig_ask(&rig, "car", "j/update", "{\"status\":\"SUCCEEDED\",\"executionNumber\":1}"));
    assert_true(rig_answered(&rig, "{\"status\":\"FAILED\",\"statusDetails\":{\"a\":\"1\"},\"versionNumber\":3}"));
    rig_update(&rig, "car", "j", "IN_PROGRESS");
    rig_run(&rig, US_PER_MIN); /* 2 timed out */
    assert_string_equal(rig.changed[rig.changes - 2], "car/2 IN_PROGRESS>TIMED_OUT again");
    rig_update(&rig, "car", "j", "FAILED"); /* 3 */
    assert_int_equal(rig_find(&rig, "j", "car").number, 4);
    rig_update(&rig, "car", "j", "FAILED"); /* 4: no retry left for FAILED */
    assert_int_equal(rig_find(&rig, "j", "car").number, 4);
    assert_string_equal(rig.changed[rig.changes - 1], "car/4 QUEUED>FAILED");
    assert_int_equal(rig_job(&rig, "j", counts), CLOUD_JOB_COMPLETED);
    for (int i = 0; i < CLOUD_EXECUTION_STATES; i++)
        assert_int_equal(counts[i], i == CLOUD_EXECUTION_FAILED);
    rig_close(&rig);
}

static void rejections_and_cancelled_jobs_are_not_retried(void **state)
{
    static struct rig rig;
    const struct cloud_job_template template = {.retry = {{CLOUD_FAILURE_ALL, 10}}, .retry_count = 1};
    rig_open(&rig);
    rig_create(&rig, "j", &template);
    rig_add(&rig, "j", "rejects");
    rig_add(&rig, "j", "works");
    rig_run(&rig, US_PER_S);
    rig_update(&rig, "rejects", "j", "REJECTED");
    assert_int_equal(rig_find(&rig, "j", "rejects").state, CLOUD_EXECUTION_REJECTED);
    rig_update(&rig, "works", "j", "IN_PROGRESS");
    assert_true(cloud_job_cancel(rig.jobs, rig.now_us, SPAN_LITERAL("j"), false));
    assert_int_equal(rig_find(&rig, "j", "works").state, CLOUD_EXECUTION_IN_PROGRESS); /* runs on */
    rig_update(&rig, "works", "j", "FAILED");
    assert_int_equal(rig_find(&rig, "j", "works").state, CLOUD_EXECUTION_FAILED);
    assert_int_equal(cloud_jobs_open(rig.jobs), 0);
    assert_int_equal(rig_job(&rig, "j", NULL), CLOUD_JOB_CANCELED);
    rig_close(&rig);
}

static void a_removed_thing_leaves_all_its_jobs_with_one_notification(void **state)
{
    static struct rig rig;
    rig_open(&rig);
    rig_create(&rig, "one", NULL);
    rig_create(&rig, "two", NULL);
    rig_add(&rig, "one", "car");
    rig_add(&rig, "two", "car");
    rig_add(&rig, "two", "other");
    rig_update(&rig, "car", "one", "IN_PROGRESS");
    unsigned told = rig.told;
    cloud_jobs_remove_thing(rig.jobs, rig.now_us, SPAN_LITERAL("car"));
    assert_int_equal(rig.told, told + 2);
    assert_string_equal(rig.tells[told].payload, "{\"timestamp\":1700000000,\"jobs\":{}}");
    assert_string_equal(rig.tells[told + 1].payload, "{\"timestamp\":1700000000}");
    assert_int_equal(rig_find(&rig, "one", "car").state, CLOUD_EXECUTION_REMOVED);
    assert_int_equal(rig_find(&rig, "two", "car").state, CLOUD_EXECUTION_REMOVED);
    assert_int_equal(cloud_jobs_open(rig.jobs), 1);
    assert_true(rig_add(&rig, "two", "car")); /* a target already; SNAPSHOT: stays removed */
    assert_int_equal(rig_find(&rig, "two", "car").state, CLOUD_EXECUTION_REMOVED);
    cloud_jobs_remove_thing(rig.jobs, rig.now_us, SPAN_LITERAL("nobody"));
    rig_close(&rig);
}

static void who_comes_back_to_a_continuous_job_begins_anew(void **state)
{
    static struct rig rig;
    const struct cloud_job_template template = {
        .continuous = true, .retry = {{CLOUD_FAILURE_FAILED, 1}}, .retry_count = 1};
    uint64_t counts[CLOUD_EXECUTION_STATES];
    rig_open(&rig);
    rig_create(&rig, "j", &template);
    rig_add(&rig, "j", "car");
    rig_update(&rig, "car", "j", "FAILED");
    cloud_jobs_remove_thing(rig.jobs, rig.now_us, SPAN_LITERAL("car"));
    assert_true(rig_add(&rig, "j", "car"));
    assert_int_equal(rig_find(&rig, "j", "car").number, 3);
    assert_int_equal(rig_find(&rig, "j", "car").version, 1);
    assert_int_equal(rig_find(&rig, "j", "car").state, CLOUD_EXECUTION_QUEUED);
    rig_update(&rig, "car", "j", "FAILED"); /* the retry is there again */
    assert_int_equal(rig_find(&rig, "j", "car").number, 4);
    rig_update(&rig, "car", "j", "SUCCEEDED");
    assert_true(rig_add(&rig, "j", "car")); /* done is done */
    assert_int_equal(rig_find(&rig, "j", "car").number, 4);
    assert_int_equal(rig_job(&rig, "j", counts), CLOUD_JOB_IN_PROGRESS);
    assert_int_equal(counts[CLOUD_EXECUTION_SUCCEEDED], 1);
    assert_int_equal(counts[CLOUD_EXECUTION_REMOVED], 0);
    cloud_job_close(rig.jobs, rig.now_us, SPAN_LITERAL("j"));
    assert_int_equal(rig_job(&rig, "j", NULL), CLOUD_JOB_COMPLETED);
    rig_close(&rig);
}

static void cancelling_tells_its_beginning_and_its_end(void **state)
{
    static struct rig rig;
    rig_open(&rig);
    rig_create(&rig, "j", NULL);
    rig_add(&rig, "j", "car");
    rig_add(&rig, "j", "unseen"); /* waits for its turn */
    assert_true(cloud_job_cancel(rig.jobs, rig.now_us, SPAN_LITERAL("j"), false));
    assert_int_equal(rig.event_count, 4);
    assert_string_equal(rig.events[0].topic, "job/j/cancellation_in_progress");
    assert_string_equal(rig.events[1].topic, "jobExecution/j/canceled");
    assert_string_equal(rig.events[3].topic, "job/j/canceled");
    assert_non_null(strstr(rig.events[3].payload, "\"numberOfCanceledThings\":2"));
    for (unsigned i = 0; i < rig.told; i++)
        assert_null(strstr(rig.tells[i].topic, "unseen"));
    assert_false(cloud_job_cancel(rig.jobs, rig.now_us, SPAN_LITERAL("j"), false));
    assert_false(cloud_job_cancel(rig.jobs, rig.now_us, SPAN_LITERAL("k"), false));
    assert_false(rig_add(&rig, "j", "late"));
    rig_close(&rig);
}

static void on_changed_delete(void *context, int64_t now_us, const struct cloud_execution *execution)
{
    struct rig *rig = context;
    rig->changes++;
    assert_false(cloud_job_delete(rig->jobs, now_us, execution->job_id, true));
}

static void a_deleted_job_is_forgotten_and_its_room_used_again(void **state)
{
    static struct rig rig;
    const struct cloud_job_template template = {.retry = {{CLOUD_FAILURE_FAILED, 2}}, .retry_count = 1};
    struct cloud_execution none;
    uint64_t bytes = 0;
    rig_open(&rig);
    for (int round = 0; round < 40; round++) {
        rig_create(&rig, "j", &template);
        rig_create(&rig, "other", NULL);
        rig_add(&rig, "j", "car");
        rig_add(&rig, "j", "van");
        rig_add(&rig, "other", "car");
        rig_update(&rig, "car", "j", "FAILED");
        assert_false(cloud_job_delete(rig.jobs, rig.now_us, SPAN_LITERAL("j"), false));
        assert_int_equal(rig_job(&rig, "j", NULL), CLOUD_JOB_IN_PROGRESS);
        rig.event_count = 0;
        assert_true(cloud_job_delete(rig.jobs, rig.now_us, SPAN_LITERAL("j"), true));
        assert_int_equal(rig.event_count, 4);
        assert_string_equal(rig.events[0].topic, "job/j/deletion_in_progress");
        assert_string_equal(rig.events[1].topic, "jobExecution/j/removed");
        assert_string_equal(rig.events[3].topic, "job/j/deleted");
        assert_non_null(strstr(rig.events[3].payload, "\"status\":\"DELETED\""));
        assert_false(cloud_job_state_of(rig.jobs, SPAN_LITERAL("j"), NULL, NULL));
        assert_false(cloud_jobs_find(rig.jobs, SPAN_LITERAL("j"), SPAN_LITERAL("car"), &none));
        assert_false(cloud_job_delete(rig.jobs, rig.now_us, SPAN_LITERAL("j"), true));
        assert_false(rig_update(&rig, "car", "j", "SUCCEEDED"));
        assert_true(rig_update(&rig, "car", "other", "SUCCEEDED"));
        cloud_job_close(rig.jobs, rig.now_us, SPAN_LITERAL("other"));
        assert_true(cloud_job_delete(rig.jobs, rig.now_us, SPAN_LITERAL("other"), false));
        assert_int_equal(cloud_jobs_open(rig.jobs), 0);
        assert_true(cloud_jobs_hash(rig.jobs) == 0);
        if (round == 1)
            bytes = cloud_jobs_bytes(rig.jobs);
    }
    assert_true(cloud_jobs_bytes(rig.jobs) < bytes + 40 * 2 * 16); /* a number for each job */
    rig_close(&rig);
    struct cloud_jobs_options options = {.changed = on_changed_delete, .context = &rig};
    rig.jobs = cloud_jobs_create(&options);
    rig.changes = 0;
    rig_create(&rig, "j", NULL);
    rig_add(&rig, "j", "car");
    assert_int_equal(rig.changes, 1);
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(devices_go_the_ways_that_are_theirs),
        cmocka_unit_test(the_cloud_goes_the_ways_that_are_its_own),
        cmocka_unit_test(every_change_is_told_to_the_owner_and_ends_to_the_back_office),
        cmocka_unit_test(the_in_progress_timer_starts_with_the_work_and_is_not_extended),
        cmocka_unit_test(a_step_timer_is_replaced_and_never_outlasts_the_whole),
        cmocka_unit_test(a_step_timer_works_alone_from_start_next_on),
        cmocka_unit_test(failures_are_retried_as_often_as_their_criteria_say),
        cmocka_unit_test(rejections_and_cancelled_jobs_are_not_retried),
        cmocka_unit_test(a_removed_thing_leaves_all_its_jobs_with_one_notification),
        cmocka_unit_test(who_comes_back_to_a_continuous_job_begins_anew),
        cmocka_unit_test(a_deleted_job_is_forgotten_and_its_room_used_again),
        cmocka_unit_test(cancelling_tells_its_beginning_and_its_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
