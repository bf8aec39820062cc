/* How a job reaches its things: rates, constant and growing; abort; schedules; which targets are taken; what makes a job complete. */
#include "jobs_rig.h"

static int64_t queued_at[4096];
static unsigned queued_count;

static void on_queued(void *context, int64_t now_us, const struct cloud_execution *execution)
{
    if (execution->state == CLOUD_EXECUTION_QUEUED && execution->before == CLOUD_EXECUTION_QUEUED)
        queued_at[queued_count++] = now_us;
}

/* A job with that many targets from the start, none of which ever answers. */
static struct cloud_jobs *fleet(const struct cloud_job_template *template, unsigned things)
{
    struct cloud_jobs_options options = {.changed = on_queued};
    struct cloud_jobs *jobs = cloud_jobs_create(&options);
    char name[32], error[160] = "";
    queued_count = 0;
    assert_true(cloud_job_create(jobs, 0, SPAN_LITERAL("j"), SPAN_LITERAL("{}"), template, error, sizeof(error)));
    for (unsigned i = 0; i < things; i++) {
        snprintf(name, sizeof(name), "car-%u", i);
        assert_true(cloud_job_add_target(jobs, 0, SPAN_LITERAL("j"), span_text(name)));
    }
    assert_int_equal(cloud_jobs_open(jobs), things);
    return jobs;
}

static void run(struct cloud_jobs *jobs)
{
    while (cloud_jobs_next_deadline(jobs) != TIME_NEVER)
        cloud_jobs_tick(jobs, cloud_jobs_next_deadline(jobs));
}

/* No window of a minute has more than the rate, and within it they come evenly. */
static void a_constant_rate_is_kept_in_every_minute_and_spread_within(void **state)
{
    static const uint32_t rates[] = {1, 7, 50, 1000, 0};
    for (size_t r = 0; r < sizeof(rates) / sizeof(rates[0]); r++) {
        const struct cloud_job_template template = {.maximum_per_minute = rates[r]};
        uint32_t rate = rates[r] ? rates[r] : 1000;
        unsigned things = rate * 3 + 1;
        struct cloud_jobs *jobs = fleet(&template, things);
        assert_int_equal(queued_count, 1);
        run(jobs);
        assert_int_equal(queued_count, things);
        for (unsigned i = 0; i + 1 < things; i++)
            assert_true(queued_at[i + 1] - queued_at[i] == (US_PER_MIN + rate - 1) / rate);
        for (unsigned i = 0; i + rate < things; i++)
            assert_true(queued_at[i + rate] - queued_at[i] >= US_PER_MIN);
        assert_true(queued_at[things - 1] < 3 * US_PER_MIN + US_PER_S);
        cloud_jobs_destroy(jobs);
    }
}

static unsigned within(int64_t from_us, int64_t to_us)
{
    unsigned count = 0;
    for (unsigned i = 0; i < queued_count; i++)
        count += queued_at[i] >= from_us && queued_at[i] < to_us;
    return count;
}

/* The documentation's table: 50 a minute, twice that after every 1,000 things, here up to 300. */
static void an_exponential_rate_grows_with_the_things_told(void **state)
{
    const struct cloud_job_template template = {
        .maximum_per_minute = 300, .base_per_minute = 50, .increment_factor = 2, .increase_after = 1000};
    struct cloud_jobs *jobs = fleet(&template, 4000);
    run(jobs);
    assert_int_equal(queued_count, 4000);
    static const uint32_t rates[] = {50, 100, 200, 300};
    for (unsigned step = 0; step < 4; step++) {
        int64_t first_us = queued_at[step * 1000 + 1];
        assert_int_equal(within(first_us, first_us + US_PER_MIN), rates[step]);
        assert_true(queued_at[step * 1000 + 500] - queued_at[step * 1000 + 499] ==
                    (US_PER_MIN + rates[step] - 1) / rates[step]);
    }
    cloud_jobs_destroy(jobs);
}

static void an_exponential_rate_can_grow_with_successes_only(void **state)
{
    static struct rig rig;
    const struct cloud_job_template template = {
        .base_per_minute = 1, .increment_factor = 5, .increase_after = 2, .increase_by_success = true};
    char name[16];
    rig_open(&rig);
    rig_create(&rig, "j", &template);
    for (int i = 0; i < 9; i++) {
        snprintf(name, sizeof(name), "c%d", i);
        rig_add(&rig, "j", name);
    }
    rig_run(&rig, 3 * US_PER_MIN); /* 4 are told, none has succeeded */
    assert_int_equal(rig.changes, 4);
    assert_true(cloud_jobs_next_deadline(rig.jobs) == 4 * US_PER_MIN);
    rig_update(&rig, "c0", "j", "SUCCEEDED");
    rig_update(&rig, "c1", "j", "SUCCEEDED");
    rig_run(&rig, 4 * US_PER_MIN);
    assert_true(cloud_jobs_next_deadline(rig.jobs) == 4 * US_PER_MIN + 12 * US_PER_S);
    rig_close(&rig);
}

static void who_becomes_a_target_late_waits_for_the_rate_only(void **state)
{
    static struct rig rig;
    const struct cloud_job_template template = {.maximum_per_minute = 2, .continuous = true};
    rig_open(&rig);
    rig_create(&rig, "j", &template);
    rig.now_us = US_PER_HOUR; /* an hour without anybody is no credit */
    rig_add(&rig, "j", "a");
    rig_add(&rig, "j", "b");
    rig_add(&rig, "j", "c");
    rig_add(&rig, "j", "b");
    assert_int_equal(rig.changes, 1);
    struct cloud_execution none;
    assert_false(cloud_jobs_find(rig.jobs, SPAN_LITERAL("j"), SPAN_LITERAL("b"), &none));
    assert_false(rig_update(&rig, "b", "j", "IN_PROGRESS"));
    assert_true(rig_answered(&rig, "ResourceNotFound"));
    rig_run(&rig, US_PER_HOUR + 30 * US_PER_S);
    assert_int_equal(rig.changes, 2);
    assert_true(rig_find(&rig, "j", "b").queued_us == US_PER_HOUR + 30 * US_PER_S);
    rig_run(&rig, US_PER_HOUR + US_PER_MIN);
    assert_int_equal(rig.changes, 3);
    const struct cloud_job_template quick = {.maximum_per_minute = 60};
    rig_create(&rig, "quick", &quick);
    rig.now_us += 4 * US_PER_S; /* nor are a few seconds */
    rig_add(&rig, "quick", "a");
    rig_add(&rig, "quick", "b");
    assert_int_equal(rig.changes, 4);
    rig_close(&rig);
}

static void a_late_tick_makes_up_for_seconds_not_for_hours(void **state)
{
    const struct cloud_job_template template = {.maximum_per_minute = 60};
    struct cloud_jobs *jobs = fleet(&template, 100);
    cloud_jobs_tick(jobs, 3 * US_PER_S + 500000);
    assert_int_equal(queued_count, 4);
    assert_true(cloud_jobs_next_deadline(jobs) == 4 * US_PER_S);
    cloud_jobs_tick(jobs, US_PER_HOUR);
    assert_int_equal(queued_count, 5);
    assert_true(cloud_jobs_next_deadline(jobs) == US_PER_HOUR + US_PER_S);
    cloud_jobs_destroy(jobs);
}

static void abort_with(unsigned failure, const char *status, bool aborts)
{
    static struct rig rig;
    const struct cloud_job_template template = {
        .abort = {{failure, 4, 0.5}}, .abort_count = 1, .retry = {{CLOUD_FAILURE_ALL, 5}}, .retry_count = 1};
    uint64_t counts[CLOUD_EXECUTION_STATES];
    char name[16];
    rig_open(&rig);
    rig_create(&rig, "j", &template);
    for (int i = 0; i < 8; i++) {
        snprintf(name, sizeof(name), "c%d", i);
        rig_add(&rig, "j", name);
    }
    rig_run(&rig, 6 * 60 * US_PER_MS - 1); /* six of them are told, two wait */
    rig_update(&rig, "c5", "j", "IN_PROGRESS");
    rig_update(&rig, "c0", "j", "SUCCEEDED");
    rig_update(&rig, "c1", "j", "SUCCEEDED");
    rig_update(&rig, "c2", "j", status);
    assert_int_equal(rig_job(&rig, "j", NULL), CLOUD_JOB_IN_PROGRESS); /* three ended, too few */
    rig_update(&rig, "c3", "j", status);
    assert_int_equal(rig_job(&rig, "j", counts), aborts ? CLOUD_JOB_CANCELED : CLOUD_JOB_IN_PROGRESS);
    assert_int_equal(counts[CLOUD_EXECUTION_IN_PROGRESS], 1); /* goes on */
    if (aborts) {
        assert_true(counts[CLOUD_EXECUTION_CANCELED] >= 3);
        assert_int_equal(cloud_jobs_open(rig.jobs), 1);
        assert_non_null(
            strstr(rig.events[rig.event_count - 1].payload, "\"comment\":\"The abort criteria were met.\""));
        assert_string_equal(rig.events[rig.event_count - 1].topic, "job/j/canceled");
        assert_true(rig_update(&rig, "c5", "j", "SUCCEEDED"));
        assert_int_equal(cloud_jobs_open(rig.jobs), 0);
        assert_true(cloud_jobs_next_deadline(rig.jobs) == TIME_NEVER);
    }
    rig_close(&rig);
}

static void a_job_is_aborted_when_a_criterion_is_met(void **state)
{
    abort_with(CLOUD_FAILURE_REJECTED, "REJECTED", true);
    abort_with(CLOUD_FAILURE_ALL, "REJECTED", true);
    abort_with(CLOUD_FAILURE_FAILED, "FAILED", true);
    abort_with(CLOUD_FAILURE_FAILED, "REJECTED", false);
    abort_with(CLOUD_FAILURE_TIMED_OUT, "FAILED", false);
}

static void time_outs_can_abort_too(void **state)
{
    static struct rig rig;
    const struct cloud_job_template template = {
        .in_progress_timeout_us = US_PER_MIN, .abort = {{CLOUD_FAILURE_TIMED_OUT, 1, 1.0}}, .abort_count = 1};
    rig_open(&rig);
    rig_create(&rig, "j", &template);
    rig_add(&rig, "j", "a");
    rig_add(&rig, "j", "b");
    rig_update(&rig, "a", "j", "IN_PROGRESS");
    rig_run(&rig, US_PER_HOUR);
    assert_int_equal(rig_find(&rig, "j", "a").state, CLOUD_EXECUTION_TIMED_OUT);
    assert_int_equal(rig_find(&rig, "j", "b").state, CLOUD_EXECUTION_CANCELED);
    rig_close(&rig);
}

static void a_schedule_has_a_start_and_an_end(void **state)
{
    static struct rig rig;
    const struct cloud_job_template template = {.start_us = US_PER_HOUR, .end_us = 2 * US_PER_HOUR};
    uint64_t counts[CLOUD_EXECUTION_STATES];
    rig_open(&rig);
    rig_create(&rig, "j", &template);
    rig_create(&rig, "done", &template);
    rig_add(&rig, "j", "a");
    rig_add(&rig, "j", "b");
    rig_add(&rig, "done", "a");
    assert_int_equal(rig_job(&rig, "j", NULL), CLOUD_JOB_SCHEDULED);
    rig_run(&rig, US_PER_HOUR - 1);
    assert_int_equal(rig.told + rig.changes, 0);
    rig_run(&rig, US_PER_HOUR + US_PER_S);
    assert_int_equal(rig_job(&rig, "j", NULL), CLOUD_JOB_IN_PROGRESS);
    assert_int_equal(rig.changes, 3);
    rig_update(&rig, "a", "j", "IN_PROGRESS");
    rig_update(&rig, "a", "done", "SUCCEEDED");
    rig_run(&rig, 2 * US_PER_HOUR);
    assert_int_equal(rig_job(&rig, "j", counts), CLOUD_JOB_CANCELED);
    assert_int_equal(counts[CLOUD_EXECUTION_CANCELED], 1);
    assert_int_equal(counts[CLOUD_EXECUTION_IN_PROGRESS], 1);
    assert_int_equal(rig_job(&rig, "done", NULL), CLOUD_JOB_COMPLETED);
    assert_false(rig_add(&rig, "j", "late"));
    assert_false(rig_add(&rig, "done", "late"));
    rig_close(&rig);
}

static void a_job_completes_when_it_is_closed_and_all_have_ended(void **state)
{
    static struct rig rig;
    rig_open(&rig);
    rig_create(&rig, "j", NULL);
    rig_add(&rig, "j", "a");
    rig_update(&rig, "a", "j", "SUCCEEDED");
    assert_int_equal(rig_job(&rig, "j", NULL), CLOUD_JOB_IN_PROGRESS);
    rig_add(&rig, "j", "b");
    cloud_job_close(rig.jobs, 0, SPAN_LITERAL("j"));
    assert_false(rig_add(&rig, "j", "c"));
    assert_true(rig_add(&rig, "j", "a"));
    assert_int_equal(rig_job(&rig, "j", NULL), CLOUD_JOB_IN_PROGRESS); /* b waits */
    rig_run(&rig, US_PER_S);
    rig_update(&rig, "b", "j", "REJECTED");
    assert_int_equal(rig_job(&rig, "j", NULL), CLOUD_JOB_COMPLETED);
    assert_false(cloud_job_cancel(rig.jobs, 0, SPAN_LITERAL("j"), true));
    rig_create(&rig, "empty", NULL);
    cloud_job_close(rig.jobs, 0, SPAN_LITERAL("empty"));
    assert_int_equal(rig_job(&rig, "empty", NULL), CLOUD_JOB_COMPLETED);
    rig_close(&rig);
}

static void assert_refused(const char *id, const char *document, const struct cloud_job_template *template)
{
    struct cloud_jobs_options options = {0};
    struct cloud_jobs *jobs = cloud_jobs_create(&options);
    char error[160] = "";
    assert_false(cloud_job_create(jobs, 0, span_text(id), span_text(document), template, error, sizeof(error)));
    assert_true(strlen(error) > 10 && !strchr(error, '\n'));
    assert_false(cloud_job_state_of(jobs, span_text(id), NULL, NULL));
    cloud_jobs_destroy(jobs);
}

static void impossible_jobs_are_refused_with_a_reason(void **state)
{
    static const struct cloud_job_template wrong[] = {
        {.maximum_per_minute = 1001},
        {.base_per_minute = 1001, .increment_factor = 2, .increase_after = 1},
        {.base_per_minute = 50, .increment_factor = 2},
        {.base_per_minute = 50, .increment_factor = 1, .increase_after = 1},
        {.base_per_minute = 50, .increment_factor = 6, .increase_after = 1},
        {.abort_count = 5},
        {.abort_count = 1},
        {.abort = {{CLOUD_FAILURE_ALL, 1, 1.1}}, .abort_count = 1},
        {.abort = {{CLOUD_FAILURE_ALL, 0, 0.1}}, .abort_count = 1},
        {.in_progress_timeout_us = US_PER_MIN - 1},
        {.in_progress_timeout_us = 7 * US_PER_DAY + 1},
        {.retry = {{CLOUD_FAILURE_REJECTED, 1}}, .retry_count = 1},
        {.retry = {{CLOUD_FAILURE_FAILED, 6}, {CLOUD_FAILURE_TIMED_OUT, 5}}, .retry_count = 2},
        {.retry_count = 4},
        {.start_us = 366 * US_PER_DAY},
        {.end_us = 731 * US_PER_DAY},
        {.end_us = 29 * US_PER_MIN},
        {.start_us = US_PER_DAY, .end_us = US_PER_DAY + 29 * US_PER_MIN},
    };
    static char large[CLOUD_JOB_DOCUMENT_MAX + 16];
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        assert_refused("j", "{}", &wrong[i]);
    assert_refused("", "{}", NULL);
    assert_refused("no space", "{}", NULL);
    assert_refused("12345678901234567890123456789012345678901234567890123456789012345", "{}", NULL);
    assert_refused("j", "", NULL);
    assert_refused("j", "{", NULL);
    assert_refused("j", "[]", NULL);
    assert_refused("j", "{} {}", NULL);
    snprintf(large, sizeof(large), "{\"a\":\"%0*d\"}", CLOUD_JOB_DOCUMENT_MAX, 1);
    assert_refused("j", large, NULL);
    static struct rig rig;
    char error[160];
    rig_open(&rig);
    rig_create(&rig, "j", NULL);
    assert_false(cloud_job_create(rig.jobs, 0, SPAN_LITERAL("j"), SPAN_LITERAL("{}"), NULL, error, sizeof(error)));
    assert_string_equal(error, "job j: there is a job of this id already");
    assert_false(rig_add(&rig, "k", "car"));
    assert_false(rig_add(&rig, "j", ""));
    assert_false(rig_add(&rig, "j", "a/b"));
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_constant_rate_is_kept_in_every_minute_and_spread_within),
        cmocka_unit_test(an_exponential_rate_grows_with_the_things_told),
        cmocka_unit_test(an_exponential_rate_can_grow_with_successes_only),
        cmocka_unit_test(who_becomes_a_target_late_waits_for_the_rate_only),
        cmocka_unit_test(a_late_tick_makes_up_for_seconds_not_for_hours),
        cmocka_unit_test(a_job_is_aborted_when_a_criterion_is_met),
        cmocka_unit_test(time_outs_can_abort_too),
        cmocka_unit_test(a_schedule_has_a_start_and_an_end),
        cmocka_unit_test(a_job_completes_when_it_is_closed_and_all_have_ended),
        cmocka_unit_test(impossible_jobs_are_refused_with_a_reason),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
