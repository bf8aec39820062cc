/* Ten thousand executions pushed about at random against a plain record of them; what a large job costs; being asked while telling. */
#include "jobs_rig.h"

#include "memory.h"
#include "sim/random.h"

#define THINGS     2000
#define JOBS       5
#define EXECUTIONS (THINGS * JOBS)
#define STEPS      120000

/* What is known from the outside of each execution, and of each thing what it was told is the next. */
struct known {
    bool exists, ended, again;
    enum cloud_execution_state state;
    uint32_t number;
    int64_t version;
};
static struct walk {
    struct cloud_jobs *jobs;
    struct known known[JOBS][THINGS];
    char next[THINGS][24]; /* "<job>/<number>", empty: nothing */
    uint64_t ends, visited, sums[JOBS][CLOUD_EXECUTION_STATES];
    char answer[1024];
} walk;

static unsigned number_behind(struct span name)
{
    unsigned number = 0;
    for (uint32_t i = 1; i < name.length; i++)
        number = number * 10 + (name.data[i] - '0');
    return number;
}

static struct known *known_of(const struct cloud_execution *execution)
{
    return &walk.known[number_behind(execution->job_id)][number_behind(execution->thing)];
}

static void walk_changed(void *context, int64_t now_us, const struct cloud_execution *e)
{
    struct known *k = known_of(e);
    bool terminal = e->state > CLOUD_EXECUTION_IN_PROGRESS;
    if (!k->exists || k->again) { /* a new one, or, a target never rolled out, one that ends at once */
        assert_int_equal(e->number, k->number + 1);
        assert_int_equal(e->version, 1 + terminal);
        assert_int_equal(e->before, CLOUD_EXECUTION_QUEUED);
        if (!terminal)
            assert_int_equal(e->state, CLOUD_EXECUTION_QUEUED);
        k->again = false;
    } else {
        assert_false(k->ended);
        assert_int_equal(e->number, k->number);
        assert_int_equal(e->version, k->version + 1);
        assert_int_equal(e->before, k->state);
        assert_true(e->state != CLOUD_EXECUTION_QUEUED);
    }
    k->exists = true;
    k->state = e->state;
    k->number = e->number;
    k->version = e->version;
    k->again = e->will_be_retried;
    if (terminal && !e->will_be_retried) {
        k->ended = true;
        walk.ends++;
    }
}

/* "<job>/<number>" of the first execution in a text. */
static void next_in(struct span payload, char out[24])
{
    char text[1024], *id, *number;
    assert_true(payload.length < sizeof(text));
    memcpy(text, payload.data, payload.length);
    text[payload.length] = 0;
    out[0] = 0;
    if ((id = strstr(text, "\"jobId\":\"")) && (number = strstr(text, "\"executionNumber\":")))
        snprintf(out, 24, "%.2s/%d", id + 9, atoi(number + 18));
}

static void walk_told(void *context, int64_t now_us, struct span thing, struct span topic, struct span payload)
{
    if (topic.data[topic.length - 1] == 't') /* notify-next */
        next_in(payload, walk.next[number_behind(thing)]);
}

static void walk_answered(void *context, int64_t now_us, struct span client, struct span topic, struct span payload)
{
    copy(walk.answer, sizeof(walk.answer), payload);
}

static void ask(int64_t now_us, unsigned thing, const char *operation, const char *payload)
{
    char name[16], topic[64];
    snprintf(name, sizeof(name), "t%u", thing);
    snprintf(topic, sizeof(topic), "things/%s/jobs/%s", name, operation);
    struct cloud_request request = {
        .client_id = span_text(name), .topic = span_text(topic), .payload = span_text(payload)};
    assert_true(cloud_jobs_request(walk.jobs, now_us, &request));
}

static void visit(void *context, const struct cloud_execution *execution)
{
    struct known *k = known_of(execution);
    assert_int_equal(execution->state, k->state);
    assert_int_equal(execution->version, k->version);
    assert_int_equal(execution->number, k->number);
    walk.sums[number_behind(execution->job_id)][execution->state]++;
    walk.visited++;
}

static void assert_counts_add_up(void)
{
    memset(walk.sums, 0, sizeof(walk.sums));
    walk.visited = 0;
    cloud_jobs_each(walk.jobs, visit, NULL);
    for (unsigned job = 0; job < JOBS; job++) {
        uint64_t counts[CLOUD_EXECUTION_STATES];
        char id[8];
        snprintf(id, sizeof(id), "j%u", job % 10);
        assert_true(cloud_job_state_of(walk.jobs, span_text(id), NULL, counts));
        assert_memory_equal(counts, walk.sums[job], sizeof(counts));
    }
    assert_true(cloud_jobs_open(walk.jobs) == EXECUTIONS - walk.ends); /* those that wait are open, too */
}

static void assert_next_is_as_told(int64_t now_us, unsigned thing)
{
    char next[24];
    ask(now_us, thing, "$next/get", "{\"includeJobDocument\":false}");
    next_in(span_text(walk.answer), next);
    assert_string_equal(next, walk.next[thing]);
}

static void begin_walk(void)
{
    struct cloud_jobs_options options = {
        .speaker = {walk_answered, walk_told, NULL, NULL}, .changed = walk_changed, .events = true};
    struct cloud_job_template template = {.maximum_per_minute = 1000,
                                          .in_progress_timeout_us = 10 * US_PER_MIN,
                                          .retry = {{CLOUD_FAILURE_FAILED, 2}, {CLOUD_FAILURE_ALL, 1}},
                                          .retry_count = 2};
    char id[8], name[16], error[160];
    memset(&walk, 0, sizeof(walk));
    walk.jobs = cloud_jobs_create(&options);
    for (unsigned job = 0; job < JOBS; job++) {
        snprintf(id, sizeof(id), "j%u", job % 10);
        assert_true(
            cloud_job_create(walk.jobs, 0, span_text(id), SPAN_LITERAL("{\"a\":1}"), &template, error, sizeof(error)));
        for (unsigned thing = 0; thing < THINGS; thing++) {
            snprintf(name, sizeof(name), "t%u", (thing * 7 + job) % THINGS);
            assert_true(cloud_job_add_target(walk.jobs, 0, span_text(id), span_text(name)));
        }
        cloud_job_close(walk.jobs, 0, span_text(id));
    }
}

static void random_request(struct sim_random *random, int64_t now_us, unsigned thing)
{
    static const char *const states[] = {"IN_PROGRESS", "IN_PROGRESS", "SUCCEEDED", "FAILED", "REJECTED", "QUEUED"};
    char operation[32], payload[160];
    if (sim_random_below(random, 3) == 0) {
        ask(now_us, thing, "start-next", "{\"statusDetails\":{\"step\":\"began\"},\"stepTimeoutInMinutes\":2}");
        return;
    }
    snprintf(operation, sizeof(operation), "j%u/update", (unsigned)sim_random_below(random, JOBS));
    snprintf(payload, sizeof(payload), "{\"status\":\"%s\",\"expectedVersion\":%s,\"statusDetails\":{\"at\":\"%u\"}}",
             states[sim_random_below(random, 6)], sim_random_below(random, 4) ? "null" : "\"2\"",
             (unsigned)sim_random_below(random, 5));
    ask(now_us, thing, operation, payload);
}

static void ten_thousand_executions_end_once_each(void **state)
{
    struct sim_random random;
    int64_t now_us = 0;
    char name[16];
    sim_random_init(&random, 4711, 0, 0);
    begin_walk();
    for (int step = 0; step < STEPS; step++) {
        unsigned thing = (unsigned)sim_random_below(&random, THINGS);
        now_us += (int64_t)sim_random_below(&random, 60000);
        cloud_jobs_tick(walk.jobs, now_us);
        if (sim_random_below(&random, 2000) == 0) {
            snprintf(name, sizeof(name), "t%u", thing);
            cloud_jobs_remove_thing(walk.jobs, now_us, span_text(name));
        } else {
            random_request(&random, now_us, thing);
        }
        assert_next_is_as_told(now_us, thing);
        if (step % 10000 == 0)
            assert_counts_add_up();
        if (step == STEPS / 2)
            assert_true(cloud_job_cancel(walk.jobs, now_us, SPAN_LITERAL("j3"), true));
    }
    for (; cloud_jobs_open(walk.jobs); now_us += US_PER_MIN) { /* whoever is left goes on until it has ended */
        cloud_jobs_tick(walk.jobs, now_us);
        for (unsigned thing = 0; thing < THINGS; thing++)
            if (walk.next[thing][0])
                ask(now_us, thing, "start-next", "{\"stepTimeoutInMinutes\":1}");
    }
    assert_counts_add_up();
    assert_true(walk.visited == EXECUTIONS && walk.ends == EXECUTIONS);
    for (unsigned job = 0; job < JOBS; job++) {
        enum cloud_job_state is;
        snprintf(name, sizeof(name), "j%u", job % 10);
        cloud_job_state_of(walk.jobs, span_text(name), &is, NULL);
        assert_int_equal(is, job == 3 ? CLOUD_JOB_CANCELED : CLOUD_JOB_COMPLETED);
        assert_true(walk.sums[job][CLOUD_EXECUTION_QUEUED] + walk.sums[job][CLOUD_EXECUTION_IN_PROGRESS] == 0);
    }
    assert_true(cloud_jobs_next_deadline(walk.jobs) == TIME_NEVER);
    cloud_jobs_destroy(walk.jobs);
}

/* Timers set, replaced and taken back in any order each come at their own time. */
static void every_timer_comes_at_its_time(void **state)
{
    enum { CARS = 500 };
    static struct rig cars;
    static int64_t expected_us[CARS];
    struct sim_random random;
    char name[16], payload[80];
    const struct cloud_job_template template = {.in_progress_timeout_us = 60 * US_PER_MIN};
    sim_random_init(&random, 11, 0, 0);
    rig_open(&cars);
    rig_create(&cars, "j", &template);
    for (unsigned i = 0; i < CARS; i++) {
        snprintf(name, sizeof(name), "t%u", i);
        rig_add(&cars, "j", name);
    }
    rig_run(&cars, US_PER_MIN);
    for (unsigned turn = 0; turn < CARS * 4; turn++) {
        unsigned car = turn < CARS ? turn : (unsigned)sim_random_below(&random, CARS);
        int minutes = 30 + (int)sim_random_below(&random, 60);
        bool ends = turn >= CARS && expected_us[car] && minutes < 40;
        cars.now_us += 1 + (int64_t)sim_random_below(&random, US_PER_S / 4);
        snprintf(name, sizeof(name), "t%u", car);
        snprintf(payload, sizeof(payload), "{\"status\":\"%s\",\"stepTimeoutInMinutes\":%d}",
                 ends ? "SUCCEEDED" : "IN_PROGRESS", minutes);
        if (turn >= CARS && !expected_us[car])
            continue;
        assert_true(rig_ask(&cars, name, "j/update", payload));
        int64_t whole_us = rig_find(&cars, "j", name).started_us + 60 * US_PER_MIN;
        int64_t step_us = cars.now_us + minutes * US_PER_MIN;
        expected_us[car] = ends ? 0 : step_us < whole_us ? step_us : whole_us;
    }
    rig_run(&cars, US_PER_DAY);
    for (unsigned car = 0; car < CARS; car++) {
        snprintf(name, sizeof(name), "t%u", car);
        struct cloud_execution found = rig_find(&cars, "j", name);
        assert_int_equal(found.state, expected_us[car] ? CLOUD_EXECUTION_TIMED_OUT : CLOUD_EXECUTION_SUCCEEDED);
        assert_true(!expected_us[car] || found.updated_us == expected_us[car]);
    }
    rig_close(&cars);
}

static void an_instance_costs_little_and_an_execution_about_two_hundred_bytes(void **state)
{
    static const uint32_t sizes[] = {1, 400, 100000};
    assert_true(memory_begin(0));
    for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
        struct memory_heap *heap = memory_heap_create();
        memory_enter(heap);
        struct cloud_jobs_options options = {.speaker = {walk_answered, NULL, NULL, NULL}};
        struct cloud_job_template template = {.in_progress_timeout_us = US_PER_HOUR};
        char name[24], error[160];
        uint64_t before = memory_heap_bytes(heap);
        walk.jobs = cloud_jobs_create(&options);
        assert_true(cloud_jobs_bytes(walk.jobs) <= 512);
        assert_true(cloud_job_create(walk.jobs, 0, SPAN_LITERAL("rotate"), SPAN_LITERAL("{\"a\":1}"), &template, error,
                                     sizeof(error)));
        for (uint32_t i = 0; i < sizes[s]; i++) {
            snprintf(name, sizeof(name), "t%016u", i);
            assert_true(cloud_job_add_target(walk.jobs, 0, SPAN_LITERAL("rotate"), span_text(name)));
        }
        for (uint32_t i = 0; i < sizes[s]; i++) {
            snprintf(name, sizeof(name), "t%016u", i);
            cloud_jobs_tick(walk.jobs, (int64_t)(i + 1) * US_PER_S / 10);
            struct cloud_execution execution;
            assert_true(cloud_jobs_find(walk.jobs, SPAN_LITERAL("rotate"), span_text(name), &execution));
        }
        uint64_t bytes = cloud_jobs_bytes(walk.jobs);
        if (sizes[s] == 1)
            assert_true(bytes <= 4096);
        else
            assert_true(bytes / sizes[s] <= 200);
        if (sizes[s] > 1000)
            assert_true(memory_heap_bytes(heap) - before <= bytes + bytes / 2);
        cloud_jobs_destroy(walk.jobs);
        memory_enter(NULL);
        memory_heap_destroy(heap);
    }
    memory_end();
}

/* ---- being asked while telling -------------------------------------------------------------------------------------- */

static struct rig rig;
static int meddling;

static void meddle(void *context, int64_t now_us, const struct cloud_execution *execution)
{
    on_changed(context, now_us, execution);
    if (meddling == 0 || execution->state == CLOUD_EXECUTION_QUEUED)
        return;
    meddling--;
    char name[48];
    for (int i = 0; i < 100; i++) { /* rows and names move */
        snprintf(name, sizeof(name), "new-%d-%d", meddling, i);
        cloud_job_add_target(rig.jobs, now_us, SPAN_LITERAL("k"), span_text(name));
    }
    rig_ask_as(&rig, "car", "things/car/jobs/start-next", "{\"statusDetails\":{\"a\":\"2\"}}");
    rig_update(&rig, "car", "j", "IN_PROGRESS");
    cloud_jobs_remove_thing(rig.jobs, now_us, SPAN_LITERAL("car"));
    assert_true(execution->details.length > 4); /* still lent */
    assert_memory_equal(execution->details.data, "{\"a\":", 5);
}

static const char *last_told_to_car(void)
{
    for (unsigned i = rig.told; i > 0 && rig.told - i < LOG_SIZE; i--)
        if (strcmp(rig.tells[(i - 1) % LOG_SIZE].topic, "things/car/jobs/notify") == 0)
            return rig.tells[(i - 1) % LOG_SIZE].payload;
    return "";
}

static void whoever_is_told_may_ask_and_change_at_once(void **state)
{
    const struct cloud_job_template template = {.retry = {{CLOUD_FAILURE_FAILED, 1}}, .retry_count = 1};
    memset(&rig, 0, sizeof(rig));
    struct cloud_jobs_options options = {
        .speaker = {.answer = on_answer, .tell = on_tell, .event = on_event, .context = &rig},
        .changed = meddle,
        .context = &rig,
        .events = true};
    for (int ends = 0; ends < 2; ends++) {
        rig.jobs = cloud_jobs_create(&options);
        rig_create(&rig, "j", &template);
        rig_create(&rig, "k", &template);
        assert_true(rig_add(&rig, "j", "car"));
        meddling = 1;
        struct cloud_request request = {
            .client_id = SPAN_LITERAL("car"),
            .topic = SPAN_LITERAL("things/car/jobs/j/update"),
            .payload = ends ? SPAN_LITERAL("{\"status\":\"FAILED\",\"statusDetails\":{\"a\":\"1\"}}")
                            : SPAN_LITERAL("{\"status\":\"IN_PROGRESS\",\"statusDetails\":{\"a\":\"1\"}}")};
        assert_true(cloud_jobs_request(rig.jobs, 0, &request));
        assert_int_equal(meddling, 0);
        assert_int_equal(rig_find(&rig, "j", "car").state, CLOUD_EXECUTION_REMOVED);
        assert_int_equal(rig_find(&rig, "j", "car").number, 1 + ends);
        assert_string_equal(last_told_to_car(), "{\"timestamp\":0,\"jobs\":{}}");
        cloud_jobs_remove_thing(rig.jobs, 0, SPAN_LITERAL("new-0-0"));
        assert_int_equal(cloud_jobs_open(rig.jobs), 99);
        rig_close(&rig);
    }
}

static void the_hash_says_what_matters_and_nothing_of_order(void **state)
{
    static struct rig a, b;
    const struct cloud_job_template template = {.maximum_per_minute = 1000};
    rig_open(&a);
    rig_open(&b);
    rig_create(&a, "x", &template);
    rig_create(&a, "y", &template);
    rig_create(&b, "y", &template);
    rig_create(&b, "x", &template);
    rig_add(&a, "x", "car");
    rig_add(&a, "y", "van");
    rig_add(&b, "y", "van");
    rig_add(&b, "x", "car");
    assert_true(cloud_jobs_hash(a.jobs) == cloud_jobs_hash(b.jobs));
    rig_update(&a, "car", "x", "IN_PROGRESS");
    assert_true(cloud_jobs_hash(a.jobs) != cloud_jobs_hash(b.jobs));
    rig_update(&b, "car", "x", "IN_PROGRESS");
    assert_true(cloud_jobs_hash(a.jobs) == cloud_jobs_hash(b.jobs));
    rig_ask(&a, "car", "x/update", "{\"status\":\"FAILED\",\"statusDetails\":{\"a\":\"1\"}}");
    rig_ask(&b, "car", "x/update", "{\"status\":\"FAILED\",\"statusDetails\":{\"a\":\"2\"}}");
    assert_true(cloud_jobs_hash(a.jobs) != cloud_jobs_hash(b.jobs));
    rig_close(&a);
    rig_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ten_thousand_executions_end_once_each),
        cmocka_unit_test(every_timer_comes_at_its_time),
        cmocka_unit_test(an_instance_costs_little_and_an_execution_about_two_hundred_bytes),
        cmocka_unit_test(whoever_is_told_may_ask_and_change_at_once),
        cmocka_unit_test(the_hash_says_what_matters_and_nothing_of_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
