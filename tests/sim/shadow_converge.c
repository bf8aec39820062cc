/* An app that wants and a device that reports, over a link that loses and repeats: whatever the order, once messages get through the shadow and
 * the device say the same, and no delta is left. Beside the service runs a model of six numbers a section, compared after every request.
 *
 *   test_sim_shadow_converge [INTERLEAVINGS [SEED]]; 100,000 and 1 without.
 *
 * The device is the smallest that keeps the rules: obeys a delta unless it is older than what it has heard, reports what it has set, asks
 * when a version did not fit, and after every connect asks and reports everything.
 */
#include "cloud/shadow.h"

#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cjson/cJSON.h>
#include <cmocka.h>

#define LEAVES     6
#define ABSENT     (-1)
#define QUEUE      48
#define SETTLED_IN 64 /* messages at most, once they get through */

static uint64_t interleavings = 100000, seed = 1;

/* The last one is an array: [value,value]. */
static const char *const paths[LEAVES][2] = {{"a"}, {"b"}, {"n", "x"}, {"n", "y"}, {"m", "z"}, {"l"}};

struct message {
    char topic[64], payload[1024];
};
struct queue {
    struct message messages[QUEUE];
    unsigned count;
};

struct world {
    struct cloud_shadow *shadow;
    int64_t now_us;
    uint64_t random;
    struct queue up, down;
    bool lossy;
    /* the model */
    int desired[LEAVES], reported[LEAVES];
    uint64_t version;
    bool exists;
    /* the device and the app */
    int actual[LEAVES];
    uint64_t heard, app_version;
    bool device_versions, app_versions;
    /* counts */
    uint64_t requests, deltas, stale, lost, repeated, conflicts, reconnects, deletes, settle_messages;
};

static struct world world;

static uint64_t below(uint64_t limit)
{
    uint64_t z = world.random += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return (z ^ (z >> 31)) % limit;
}

/* ---- the link ------------------------------------------------------------------------------------------------------- */

static void enqueue(struct queue *queue, struct span topic, struct span payload)
{
    if (queue->count == QUEUE) {
        assert_true(world.lossy); /* nothing may pile up once messages get through */
        world.lost++;
        return;
    }
    struct message *message = &queue->messages[queue->count++];
    assert_true(topic.length < sizeof(message->topic) && payload.length < sizeof(message->payload));
    memcpy(message->topic, topic.data, topic.length);
    message->topic[topic.length] = 0;
    if (payload.length)
        memcpy(message->payload, payload.data, payload.length);
    message->payload[payload.length] = 0;
}

/* The oldest one, or while the link is bad: lost, or delivered and left in the queue to come again. false: none. */
static bool dequeue(struct queue *queue, struct message *out)
{
    if (!queue->count)
        return false;
    unsigned fate = world.lossy ? (unsigned)below(8) : 7;
    *out = queue->messages[0];
    world.lost += fate == 0 || fate == 1;
    world.repeated += fate == 2;
    if (fate == 2) { /* behind those that wait already: old news */
        memmove(&queue->messages[0], &queue->messages[1], (queue->count - 1) * sizeof(queue->messages[0]));
        queue->messages[queue->count - 1] = *out;
        return true;
    }
    memmove(&queue->messages[0], &queue->messages[1], --queue->count * sizeof(queue->messages[0]));
    return fate > 1;
}

static void on_answer(void *context, int64_t now_us, struct span client_id, struct span topic, struct span payload)
{
    enqueue(&world.down, topic, payload);
}

static void on_tell(void *context, int64_t now_us, struct span thing, struct span topic, struct span payload)
{
    struct span delta = SPAN_LITERAL("things/car/shadow/update/delta");
    world.deltas += span_equal(topic, delta);
    if (span_equal(topic, delta))
        enqueue(&world.down, topic, payload);
}

/* ---- values as JSON ------------------------------------------------------------------------------------------------- */

static size_t print_value(char *out, size_t capacity, unsigned leaf, int value)
{
    if (value == ABSENT)
        return (size_t)snprintf(out, capacity, "null");
    return (size_t)snprintf(out, capacity, leaf == LEAVES - 1 ? "[%d,%d]" : "%d", value, value);
}

/* An object of the leaves whose bit is set; "null" for those to be taken away. */
static void print_section(char *out, size_t capacity, const int values[LEAVES], unsigned leaves)
{
    size_t at = (size_t)snprintf(out, capacity, "{");
    for (unsigned i = 0; i < LEAVES; i++) {
        if (!(leaves >> i & 1))
            continue;
        bool joined = i && paths[i][1] && strcmp(paths[i][0], paths[i - 1][0]) == 0 && leaves >> (i - 1) & 1;
        bool joins =
            i + 1 < LEAVES && paths[i][1] && strcmp(paths[i][0], paths[i + 1][0]) == 0 && leaves >> (i + 1) & 1;
        at += (size_t)snprintf(out + at, capacity - at, "%s", at > 1 ? "," : "");
        if (!joined)
            at += (size_t)snprintf(out + at, capacity - at, "\"%s\":", paths[i][0]);
        if (paths[i][1])
            at += (size_t)snprintf(out + at, capacity - at, "%s\"%s\":", joined ? "" : "{", paths[i][1]);
        at += print_value(out + at, capacity - at, i, values[i]);
        at += (size_t)snprintf(out + at, capacity - at, "%s", paths[i][1] && !joins ? "}" : "");
    }
    snprintf(out + at, capacity - at, "}");
}

/* ABSENT where there is nothing. */
static void read_section(const cJSON *section, int values[LEAVES])
{
    for (unsigned i = 0; i < LEAVES; i++) {
        const cJSON *item = cJSON_GetObjectItemCaseSensitive(section, paths[i][0]);
        if (paths[i][1])
            item = cJSON_GetObjectItemCaseSensitive(item, paths[i][1]);
        if (cJSON_IsArray(item))
            item = cJSON_GetArrayItem(item, 1);
        values[i] = cJSON_IsNumber(item) ? item->valueint : ABSENT;
    }
}

/* ---- the model ------------------------------------------------------------------------------------------------------ */

static bool model_differs(void)
{
    for (unsigned i = 0; i < LEAVES; i++)
        if (world.desired[i] != ABSENT && world.desired[i] != world.reported[i])
            return true;
    return false;
}

static void compare_service(void)
{
    struct span car = SPAN_LITERAL("car"), none = {0};
    assert_int_equal(cloud_shadow_version(world.shadow, car, none), world.exists ? world.version : 0);
    assert_int_equal(cloud_shadow_differs(world.shadow, car, none), model_differs());
}

static void clear(int values[LEAVES])
{
    for (unsigned i = 0; i < LEAVES; i++)
        values[i] = ABSENT;
}

/* Reads the request itself: whether it is accepted, and what it comes to. */
static bool model_update(const char *request)
{
    cJSON *body = cJSON_Parse(request);
    const cJSON *version = cJSON_GetObjectItemCaseSensitive(body, "version");
    const cJSON *state = cJSON_GetObjectItemCaseSensitive(body, "state"), *section;
    bool good = !version || (uint64_t)version->valuedouble == world.version;
    cJSON_ArrayForEach(section, state)
    {
        int *values = strcmp(section->string, "desired") == 0 ? world.desired : world.reported;
        if (good && cJSON_IsNull(section))
            clear(values);
        for (unsigned i = 0; good && i < LEAVES; i++) {
            const cJSON *item = cJSON_GetObjectItemCaseSensitive(section, paths[i][0]);
            if (paths[i][1])
                item = cJSON_GetObjectItemCaseSensitive(item, paths[i][1]);
            if (item)
                values[i] = cJSON_IsArray(item) ? item->child->valueint : cJSON_IsNull(item) ? ABSENT : item->valueint;
        }
    }
    world.version += good;
    world.exists |= good;
    cJSON_Delete(body);
    return good;
}

/* ---- the app -------------------------------------------------------------------------------------------------------- */

static void app_wants(void)
{
    char section[256], request[512], version[40] = "";
    int values[LEAVES];
    for (unsigned i = 0; i < LEAVES; i++)
        values[i] = (int)below(4) - (below(4) == 0);
    print_section(section, sizeof(section), values, (unsigned)below(1u << LEAVES));
    if (world.app_versions)
        snprintf(version, sizeof(version), ",\"version\":%" PRIu64, world.app_version);
    snprintf(request, sizeof(request), "{\"state\":{\"desired\":%s}%s}", below(16) ? section : "null", version);
    bool good = model_update(request);
    world.requests++;
    int code = cloud_shadow_update(world.shadow, world.now_us, SPAN_LITERAL("car"), (struct span){0},
                                   span_text(request), NULL);
    assert_int_equal(code, good ? 200 : 409);
    world.conflicts += !good;
    world.app_version = world.version; /* from the answer, or asked for after a conflict */
    compare_service();
}

static void app_deletes(void)
{
    int code = cloud_shadow_delete(world.shadow, world.now_us, SPAN_LITERAL("car"), (struct span){0}, NULL);
    assert_int_equal(code, world.exists ? 200 : 404);
    world.deletes += world.exists;
    world.exists = false;
    clear(world.desired);
    clear(world.reported);
    compare_service();
}

/* ---- the device ----------------------------------------------------------------------------------------------------- */

static void device_asks(void)
{
    enqueue(&world.up, SPAN_LITERAL("things/car/shadow/get"), (struct span){0});
}

static void device_reports(unsigned leaves, bool with_version)
{
    char section[256], request[512], version[40] = "";
    print_section(section, sizeof(section), world.actual, leaves);
    if (with_version && world.device_versions)
        snprintf(version, sizeof(version), ",\"version\":%" PRIu64, world.heard);
    snprintf(request, sizeof(request), "{\"state\":{\"reported\":%s}%s}", section, version);
    enqueue(&world.up, SPAN_LITERAL("things/car/shadow/update"), span_text(request));
}

static void device_forgets(void)
{
    enqueue(&world.up, SPAN_LITERAL("things/car/shadow/update"), SPAN_LITERAL("{\"state\":{\"reported\":null}}"));
}

static void device_changes(void)
{
    unsigned leaf = (unsigned)below(LEAVES);
    world.actual[leaf] = (int)below(4);
    device_reports(1u << leaf, true);
}

static unsigned device_obeys(const cJSON *delta)
{
    int wanted[LEAVES];
    unsigned set = 0;
    read_section(delta, wanted);
    for (unsigned i = 0; i < LEAVES; i++)
        if (wanted[i] != ABSENT) {
            world.actual[i] = wanted[i];
            set |= 1u << i;
        }
    return set;
}

static void device_hears(const struct message *message)
{
    cJSON *body = cJSON_Parse(message->payload);
    const char *operation = message->topic + strlen("things/car/shadow/");
    const cJSON *version = cJSON_GetObjectItemCaseSensitive(body, "version");
    const cJSON *state = cJSON_GetObjectItemCaseSensitive(body, "state");
    const cJSON *code = cJSON_GetObjectItemCaseSensitive(body, "code");
    uint64_t number = version ? (uint64_t)version->valuedouble : 0;
    assert_non_null(body);
    bool old = number < world.heard;
    world.heard = old ? world.heard : number;
    if (strcmp(operation, "update/delta") == 0) {
        assert_non_null(state->child); /* never an empty one */
        world.stale += old;
        if (!old)
            device_reports(device_obeys(state), true);
    } else if (strcmp(operation, "get/accepted") == 0 && !old) {
        device_obeys(cJSON_GetObjectItemCaseSensitive(state, "delta"));
        device_reports((1u << LEAVES) - 1, true);
    } else if (strcmp(operation, "get/rejected") == 0) {
        assert_int_equal(code->valueint, 404);
        device_reports((1u << LEAVES) - 1, false); /* the version of what was deleted is not told to anybody */
    } else if (strcmp(operation, "update/rejected") == 0) {
        assert_int_equal(code->valueint, 409);
        device_asks();
    }
    cJSON_Delete(body);
}

/* ---- what happens --------------------------------------------------------------------------------------------------- */

static bool service_hears(void)
{
    struct message message;
    bool taken;
    if (!dequeue(&world.up, &message))
        return false;
    struct cloud_request request = {
        .client_id = span_text("car"), .topic = span_text(message.topic), .payload = span_text(message.payload)};
    if (message.payload[0])
        world.conflicts += !model_update(message.payload);
    world.requests++;
    assert_int_equal(cloud_shadow_request(world.shadow, world.now_us, &request, &taken), MQ5_SUCCESS);
    compare_service();
    return true;
}

static bool device_takes(void)
{
    struct message message;
    if (!dequeue(&world.down, &message))
        return false;
    device_hears(&message);
    return true;
}

/* What was under way is lost. */
static void reconnect(void)
{
    world.lost += world.up.count + world.down.count;
    world.up.count = world.down.count = 0;
    world.reconnects++;
    device_asks();
}

static void step(void)
{
    uint64_t what = below(32);
    world.now_us += US_PER_S / 4;
    if (what < 6)
        app_wants();
    else if (what < 9)
        device_changes();
    else if (what < 19)
        service_hears();
    else if (what < 29)
        device_takes();
    else if (what == 29)
        reconnect();
    else if (below(4) == 0)
        app_deletes();
    else if (what == 30)
        device_forgets();
}

static void compare_end(void)
{
    struct span answer;
    int desired[LEAVES], reported[LEAVES];
    assert_false(cloud_shadow_differs(world.shadow, SPAN_LITERAL("car"), (struct span){0}));
    assert_int_equal(cloud_shadow_get(world.shadow, world.now_us, SPAN_LITERAL("car"), (struct span){0}, &answer), 200);
    cJSON *body = cJSON_ParseWithLength((const char *)answer.data, answer.length);
    const cJSON *state = cJSON_GetObjectItemCaseSensitive(body, "state");
    assert_null(cJSON_GetObjectItemCaseSensitive(state, "delta"));
    read_section(cJSON_GetObjectItemCaseSensitive(state, "desired"), desired);
    read_section(cJSON_GetObjectItemCaseSensitive(state, "reported"), reported);
    cJSON_Delete(body);
    for (unsigned i = 0; i < LEAVES; i++) {
        assert_int_equal(desired[i], world.desired[i]);
        assert_int_equal(reported[i], world.reported[i]);
        assert_int_equal(reported[i], world.actual[i]);
        assert_true(desired[i] == ABSENT || desired[i] == world.actual[i]);
    }
}

static void settle(void)
{
    unsigned messages = 0;
    world.lossy = false;
    reconnect();
    while (world.up.count || world.down.count) {
        world.now_us += US_PER_S / 4;
        messages += service_hears();
        messages += device_takes();
        assert_true(messages <= SETTLED_IN);
    }
    world.settle_messages += messages;
}

static void run_one(uint64_t number)
{
    cloud_shadow_forget(world.shadow, SPAN_LITERAL("car"));
    world.random = seed * UINT64_C(0xD1342543DE82EF95) + number;
    world.up.count = world.down.count = 0;
    clear(world.desired);
    clear(world.reported);
    memset(world.actual, 0, sizeof(world.actual));
    world.version = world.heard = world.app_version = 0;
    world.exists = false;
    world.lossy = true;
    world.device_versions = below(2);
    world.app_versions = below(2);
    for (uint64_t steps = 4 + below(20); steps; steps--)
        step();
    settle();
    compare_end();
}

static void test_converges(void **state)
{
    struct cloud_shadow_options options = {.speaker = {.answer = on_answer, .tell = on_tell},
                                           .requests_per_second = 1000};
    struct cloud_shadow_counts counts;
    world.shadow = cloud_shadow_create(&options);
    assert_non_null(world.shadow);
    for (uint64_t i = 0; i < interleavings; i++) {
        assert_context.seed = seed;
        assert_context.vehicle = (int64_t)i;
        run_one(i);
    }
    cloud_shadow_count(world.shadow, &counts);
    printf("%" PRIu64 " interleavings, seed %" PRIu64 ": %" PRIu64 " requests, %" PRIu64 " updates accepted, %" PRIu64
           " conflicts, %" PRIu64 " deltas (%" PRIu64 " came too late), %" PRIu64 " messages lost, %" PRIu64
           " repeated, %" PRIu64 " reconnects, %" PRIu64 " deletes; %" PRIu64 " messages to settle\n",
           interleavings, seed, world.requests, counts.updates, world.conflicts, world.deltas, world.stale, world.lost,
           world.repeated, world.reconnects, world.deletes, world.settle_messages);
    assert_int_equal(counts.deltas, world.deltas);
    assert_int_equal(counts.conflicts, world.conflicts);
    assert_int_equal(counts.deletes, world.deletes);
    assert_true(world.stale && world.lost && world.repeated && world.conflicts && world.deletes);
    cloud_shadow_destroy(world.shadow);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_converges)};
    interleavings = argc > 1 ? strtoull(argv[1], NULL, 10) : interleavings;
    seed = argc > 2 ? strtoull(argv[2], NULL, 10) : seed;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
