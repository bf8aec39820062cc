/* Shadows as devices and apps meet them: bodies, deltas, versions, names, limits, and every code and text that a request can be refused with. */
#include "cloud/shadow.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define EPOCH_S INT64_C(1700000000)
#define TELLS   8

struct line {
    char topic[256], payload[40000];
};

struct rig {
    struct cloud_shadow *shadow;
    int64_t now_us;
    char asker[80];
    struct line answer, tells[TELLS];
    unsigned answers, told, updates;
    uint64_t version;
    bool difference, by_device;
    unsigned nested, nested_good; /* requests still to be asked from within answers; how many were accepted */
    int refusal;
    uint32_t unanswered;
};

static struct rig rig;

static void copy(char *out, size_t capacity, struct span text)
{
    assert_true(text.length < capacity);
    if (text.length)
        memcpy(out, text.data, text.length);
    out[text.length] = 0;
}

static void ask_again(void)
{
    bool taken;
    struct cloud_request request = {.client_id = span_text("car"), .topic = span_text("things/car/shadow/get")};
    rig.nested--;
    cloud_shadow_request(rig.shadow, rig.now_us, &request, &taken);
}

static void on_answer(void *context, int64_t now_us, struct span client_id, struct span topic, struct span payload)
{
    rig.answers++;
    if (rig.nested)
        ask_again();
    copy(rig.asker, sizeof(rig.asker), client_id);
    copy(rig.answer.topic, sizeof(rig.answer.topic), topic);
    copy(rig.answer.payload, sizeof(rig.answer.payload), payload);
    rig.nested_good += strstr(rig.answer.topic, "/accepted") != NULL;
}

static void on_tell(void *context, int64_t now_us, struct span thing, struct span topic, struct span payload)
{
    struct line *line = &rig.tells[rig.told++ % TELLS];
    copy(line->topic, sizeof(line->topic), topic);
    copy(line->payload, sizeof(line->payload), payload);
}

static bool on_known(void *context, struct span thing)
{
    return !span_equal(thing, SPAN_LITERAL("stranger"));
}

static int on_refused(void *context, const struct cloud_request *request, struct span thing, struct span name)
{
    return rig.refusal;
}

static uint32_t on_unanswered(void *context, struct span client_id, struct span thing)
{
    return rig.unanswered;
}

static void on_updated(void *context, int64_t now_us, struct span thing, struct span name, const struct span *client_id,
                       uint64_t version, bool difference)
{
    rig.updates++;
    rig.version = version;
    rig.difference = difference;
    rig.by_device = client_id != NULL;
}

static void open_with(struct cloud_shadow_options options)
{
    memset(&rig, 0, sizeof(rig));
    options.epoch_us = EPOCH_S * US_PER_S;
    options.speaker = (struct cloud_speaker){.answer = on_answer, .tell = on_tell};
    options.known = on_known;
    options.refused = on_refused;
    options.unanswered = on_unanswered;
    options.updated = on_updated;
    rig.shadow = cloud_shadow_create(&options);
    assert_non_null(rig.shadow);
}

static int set_up(void **state)
{
    open_with((struct cloud_shadow_options){0});
    return 0;
}

static int tear_down(void **state)
{
    cloud_shadow_destroy(rig.shadow);
    return 0;
}

/* "name/lights/update" is asked on things/car/shadow/name/lights/update. Returns whether it was accepted. */
static bool ask_of(const char *thing, const char *operation, const char *payload, size_t length)
{
    char topic[512];
    bool taken = false;
    unsigned before = rig.answers;
    snprintf(topic, sizeof(topic), "things/%s/shadow/%s", thing, operation);
    struct cloud_request request = {
        .client_id = span_text("car"), .topic = span_text(topic), .payload = span_of(payload, length)};
    assert_int_equal(cloud_shadow_request(rig.shadow, rig.now_us, &request, &taken), MQ5_SUCCESS);
    assert_true(taken);
    assert_true(rig.answers > before);
    assert_string_equal(rig.asker, "car");
    size_t prefix = strlen(topic);
    assert_memory_equal(rig.answer.topic, topic, prefix);
    bool accepted = strcmp(rig.answer.topic + prefix, "/accepted") == 0;
    if (!accepted)
        assert_string_equal(rig.answer.topic + prefix, "/rejected");
    return accepted;
}

static bool ask(const char *operation, const char *payload)
{
    return ask_of("car", operation, payload, strlen(payload));
}

static void expect(const char *payload)
{
    assert_string_equal(rig.answer.payload, payload);
}

static void refused(const char *operation, const char *payload, const char *expected)
{
    struct cloud_shadow_counts before, after;
    unsigned told = rig.told, updates = rig.updates;
    uint64_t bytes = cloud_shadow_bytes(rig.shadow);
    cloud_shadow_count(rig.shadow, &before);
    assert_false(ask(operation, payload));
    expect(expected);
    cloud_shadow_count(rig.shadow, &after);
    assert_int_equal(after.rejected, before.rejected + 1);
    assert_int_equal(after.updates, before.updates);
    assert_int_equal(rig.told, told); /* nobody hears of what was refused, and nothing has changed */
    assert_int_equal(rig.updates, updates);
    assert_int_equal(cloud_shadow_bytes(rig.shadow), bytes);
}

static const struct line *tell(unsigned number, const char *topic)
{
    assert_true(number < rig.told && number + TELLS >= rig.told);
    assert_string_equal(rig.tells[number % TELLS].topic, topic);
    return &rig.tells[number % TELLS];
}

static int app(const char *name, const char *request)
{
    return cloud_shadow_update(rig.shadow, rig.now_us, SPAN_LITERAL("car"), span_text(name), span_text(request), NULL);
}

/* The state of a shadow as get answers it: what stands between "state": and ,"metadata". */
static void expect_state(const char *operation, const char *state)
{
    static char found[20000];
    rig.now_us += US_PER_S; /* not to be throttled */
    assert_true(ask(operation, ""));
    const char *start = rig.answer.payload + strlen("{\"state\":");
    copy(found, sizeof(found), span_of(start, (size_t)(strstr(start, ",\"metadata\"") - start)));
    assert_string_equal(found, state);
}

/* ---- bodies --------------------------------------------------------------------------------------------------------- */

static void test_update_is_echoed(void **state)
{
    assert_true(ask("update", "{\"state\":{\"reported\":{\"doors\":\"locked\",\"windows\":{\"left\":3,\"right\":0}}},"
                              "\"clientToken\":\"abc\"}"));
    expect("{\"state\":{\"reported\":{\"doors\":\"locked\",\"windows\":{\"left\":3,\"right\":0}}},"
           "\"metadata\":{\"reported\":{\"doors\":{\"timestamp\":1700000000},\"windows\":{\"left\":{\"timestamp\":"
           "1700000000},\"right\":{\"timestamp\":1700000000}}}},\"version\":1,\"timestamp\":1700000000,"
           "\"clientToken\":\"abc\"}");
    assert_int_equal(rig.told, 1); /* no difference: no delta */
    assert_string_equal(tell(0, "things/car/shadow/update/documents")->payload,
                        "{\"previous\":{\"state\":{},\"metadata\":{},\"version\":0},\"current\":{\"state\":{"
                        "\"reported\":{\"doors\":\"locked\",\"windows\":{\"left\":3,\"right\":0}}},\"metadata\":{"
                        "\"reported\":{\"doors\":{\"timestamp\":1700000000},\"windows\":{\"left\":{\"timestamp\":"
                        "1700000000},\"right\":{\"timestamp\":1700000000}}}},\"version\":1},"
                        "\"timestamp\":1700000000,\"clientToken\":\"abc\"}");
    assert_true(rig.by_device && !rig.difference && rig.version == 1);
    rig.now_us = 7 * US_PER_S;
    assert_true(ask("update", "{\"state\":{\"reported\":{\"windows\":{\"left\":4}}}}")); /* only what was sent */
    expect("{\"state\":{\"reported\":{\"windows\":{\"left\":4}}},\"metadata\":{\"reported\":{\"windows\":{\"left\":{"
           "\"timestamp\":1700000007}}}},\"version\":2,\"timestamp\":1700000007}");
    assert_true(ask("get", "{\"clientToken\":\"q\\\"1\"}"));
    expect("{\"state\":{\"reported\":{\"doors\":\"locked\",\"windows\":{\"left\":4,\"right\":0}}},\"metadata\":{"
           "\"reported\":{\"doors\":{\"timestamp\":1700000000},\"windows\":{\"left\":{\"timestamp\":1700000007},"
           "\"right\":{\"timestamp\":1700000000}}}},\"version\":2,\"timestamp\":1700000007,\"clientToken\":"
           "\"q\\\"1\"}");
}

static void test_delta_is_flat(void **state)
{
    assert_int_equal(app("", "{\"state\":{\"reported\":{\"climate\":{\"target\":18,\"fan\":2},\"doors\":\"locked\"}}}"),
                     200);
    rig.now_us = US_PER_S;
    rig.told = 0;
    assert_int_equal(app("", "{\"state\":{\"desired\":{\"climate\":{\"target\":21,\"fan\":2},\"doors\":\"locked\"}},"
                             "\"clientToken\":\"abc\"}"),
                     200);
    assert_int_equal(rig.answers, 0); /* the app has its answer already */
    assert_int_equal(rig.told, 2);
    assert_string_equal(tell(0, "things/car/shadow/update/delta")->payload,
                        "{\"version\":2,\"timestamp\":1700000001,\"state\":{\"climate\":{\"target\":21}},"
                        "\"metadata\":{\"climate\":{\"target\":{\"timestamp\":1700000001}}},\"clientToken\":\"abc\"}");
    tell(1, "things/car/shadow/update/documents");
    assert_true(!rig.by_device && rig.difference);
    assert_true(cloud_shadow_differs(rig.shadow, SPAN_LITERAL("car"), (struct span){0}));
    expect_state("get", "{\"desired\":{\"climate\":{\"target\":21,\"fan\":2},\"doors\":\"locked\"},\"reported\":{"
                        "\"climate\":{\"target\":18,\"fan\":2},\"doors\":\"locked\"},\"delta\":{\"climate\":{"
                        "\"target\":21}}}");
    rig.told = 0;
    assert_true(ask("update", "{\"state\":{\"reported\":{\"extra\":1}}}")); /* still a difference: told again */
    tell(0, "things/car/shadow/update/delta");
    rig.told = 0;
    assert_true(ask("update", "{\"state\":{\"reported\":{\"climate\":{\"target\":21}}}}"));
    assert_int_equal(rig.told, 1);
    tell(0, "things/car/shadow/update/documents");
    assert_false(cloud_shadow_differs(rig.shadow, SPAN_LITERAL("car"), (struct span){0}));
}

/* Desired only, reported only, other kinds, equal in another order or notation. */
static void test_delta_of(void **state)
{
    static const struct {
        const char *desired, *reported, *delta;
    } rows[] = {
        {"{\"a\":1}", "{}", "{\"a\":1}"},
        {"{}", "{\"a\":1}", NULL},
        {"{\"a\":1}", "{\"a\":1.0,\"b\":2}", NULL},
        {"{\"a\":1}", "{\"a\":\"1\"}", "{\"a\":1}"},
        {"{\"a\":{\"b\":{\"c\":1,\"d\":2}}}", "{\"a\":{\"b\":{\"d\":2}}}", "{\"a\":{\"b\":{\"c\":1}}}"},
        {"{\"a\":{\"b\":1}}", "{\"a\":7}", "{\"a\":{\"b\":1}}"},
        {"{\"a\":7}", "{\"a\":{\"b\":1}}", "{\"a\":7}"},
        {"{\"a\":{\"b\":{}}}", "{}", NULL},
        {"{\"a\":{}}", "{\"a\":7}", "{\"a\":{}}"},
        {"{\"a\":1,\"b\":2,\"c\":3}", "{\"c\":3,\"b\":2,\"a\":1}", NULL},
        {"{\"a\":[1,2]}", "{\"a\":[1,2]}", NULL},
        {"{\"a\":[1,2]}", "{\"a\":[2,1]}", "{\"a\":[1,2]}"},
        {"{\"a\":[1,2]}", "{\"a\":[1,2,3]}", "{\"a\":[1,2]}"},
        {"{\"a\":[{\"x\":1,\"y\":2}]}", "{\"a\":[{\"y\":2,\"x\":1}]}", NULL},
        {"{\"a\":[{\"x\":1,\"y\":2}]}", "{\"a\":[{\"y\":2,\"x\":3}]}", "{\"a\":[{\"x\":1,\"y\":2}]}"},
        {"{\"a\":true}", "{\"a\":false}", "{\"a\":true}"},
        {"{\"a\":\"\\u00e9\\n\"}", "{\"a\":\"\xc3\xa9\\n\"}", NULL},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char request[256], expected[256] = "";
        cloud_shadow_forget(rig.shadow, SPAN_LITERAL("car"));
        rig.told = 0;
        snprintf(request, sizeof(request), "{\"state\":{\"desired\":%s,\"reported\":%s}}", rows[i].desired,
                 rows[i].reported);
        assert_int_equal(app("", request), 200);
        assert_int_equal(rig.told, rows[i].delta ? 2 : 1);
        if (!rows[i].delta)
            continue;
        snprintf(expected, sizeof(expected), "\"state\":%s,\"metadata\":", rows[i].delta);
        assert_non_null(strstr(tell(0, "things/car/shadow/update/delta")->payload, expected));
    }
}

static void test_null_takes_away(void **state)
{
    assert_int_equal(app("", "{\"state\":{\"desired\":{\"a\":1,\"b\":{\"c\":2,\"d\":3}},\"reported\":{\"a\":1}}}"),
                     200);
    assert_true(ask("update", "{\"state\":{\"desired\":{\"a\":null,\"b\":{\"c\":null},\"none\":null}}}"));
    expect("{\"state\":{\"desired\":{\"a\":null,\"b\":{\"c\":null},\"none\":null}},\"metadata\":{\"desired\":{\"b\":{}}"
           "},\"version\":2,\"timestamp\":1700000000}");
    expect_state("get", "{\"desired\":{\"b\":{\"d\":3}},\"reported\":{\"a\":1},\"delta\":{\"b\":{\"d\":3}}}");
    assert_true(ask("update", "{\"state\":{\"desired\":null}}"));
    expect("{\"state\":{\"desired\":null},\"metadata\":{},\"version\":3,\"timestamp\":1700000001}");
    expect_state("get", "{\"reported\":{\"a\":1}}");
    assert_true(ask("update", "{\"state\":{\"reported\":null,\"desired\":{\"x\":{\"y\":null}}}}"));
    expect_state("get", "{\"desired\":{\"x\":{}}}");
    assert_true(ask("update", "{\"state\":{\"desired\":{\"x\":5}}}"));
    assert_true(ask("update", "{\"state\":{\"desired\":{\"x\":{\"y\":6,\"y\":7}}}}"));
    expect_state("get", "{\"desired\":{\"x\":{\"y\":7}},\"delta\":{\"x\":{\"y\":7}}}");
}

static void test_arrays_are_one_value(void **state)
{
    assert_int_equal(app("", "{\"state\":{\"desired\":{\"l\":[1,{\"a\":2},[]]},\"reported\":{\"l\":[1,2,3,4]}}}"), 200);
    assert_non_null(strstr(tell(0, "things/car/shadow/update/delta")->payload,
                           "\"state\":{\"l\":[1,{\"a\":2},[]]},\"metadata\":{\"l\":[{\"timestamp\":1700000000},{\"a\":{"
                           "\"timestamp\":1700000000}},[]]}"));
    assert_true(ask("update", "{\"state\":{\"reported\":{\"l\":[9]}}}"));
    expect_state("get", "{\"desired\":{\"l\":[1,{\"a\":2},[]]},\"reported\":{\"l\":[9]},\"delta\":{\"l\":[1,{\"a\":2},"
                        "[]]}}");
}

/* ---- versions and names --------------------------------------------------------------------------------------------- */

static void test_versions(void **state)
{
    struct cloud_shadow_counts counts;
    struct span none = {0}, car = SPAN_LITERAL("car");
    refused("update", "{\"state\":{},\"version\":1,\"clientToken\":\"t\"}",
            "{\"code\":409,\"message\":\"Version conflict\",\"timestamp\":1700000000,\"clientToken\":\"t\"}");
    assert_true(ask("update", "{\"state\":{\"reported\":{\"a\":1}},\"version\":0}"));
    assert_true(ask("update", "{\"state\":{\"reported\":{\"a\":2}},\"version\":1}"));
    refused("update", "{\"state\":{\"reported\":{\"a\":3}},\"version\":1}",
            "{\"code\":409,\"message\":\"Version conflict\",\"timestamp\":1700000000}");
    assert_true(ask("update", "{\"state\":{\"reported\":{\"a\":4}},\"version\":null}"));
    assert_int_equal(cloud_shadow_version(rig.shadow, car, none), 3);
    assert_true(ask("delete", "{\"clientToken\":\"d\"}"));
    expect("{\"version\":3,\"timestamp\":1700000000,\"clientToken\":\"d\"}");
    assert_int_equal(cloud_shadow_version(rig.shadow, car, none), 0);
    refused("get", "", "{\"code\":404,\"message\":\"No shadow exists with name: car\",\"timestamp\":1700000000}");
    refused("delete", "", "{\"code\":404,\"message\":\"No shadow exists with name: car\",\"timestamp\":1700000000}");
    refused("update", "{\"state\":{},\"version\":0}",
            "{\"code\":409,\"message\":\"Version conflict\",\"timestamp\":1700000000}");
    assert_true(ask("update", "{\"state\":{\"reported\":{\"b\":1}},\"version\":3}"));
    assert_int_equal(cloud_shadow_version(rig.shadow, car, none), 4);
    expect_state("get", "{\"reported\":{\"b\":1}}"); /* nothing of before */
    cloud_shadow_count(rig.shadow, &counts);
    assert_int_equal(counts.shadows, 1);
    assert_int_equal(counts.conflicts, 3);
    assert_int_equal(counts.rejected, 5);
    assert_int_equal(counts.updates, 4);
    assert_int_equal(counts.deletes, 1);
    assert_int_equal(counts.gets, 1);
}

static void test_named_shadows(void **state)
{
    struct span car = SPAN_LITERAL("car");
    uint64_t empty = cloud_shadow_bytes(rig.shadow);
    assert_true(empty <= 4096);
    assert_true(ask("update", "{\"state\":{\"desired\":{\"a\":1}}}"));
    rig.told = 0;
    assert_true(ask("name/lights/update", "{\"state\":{\"desired\":{\"b\":2}}}"));
    tell(0, "things/car/shadow/name/lights/update/delta");
    tell(1, "things/car/shadow/name/lights/update/documents");
    expect_state("name/lights/get", "{\"desired\":{\"b\":2},\"delta\":{\"b\":2}}");
    expect_state("get", "{\"desired\":{\"a\":1},\"delta\":{\"a\":1}}");
    assert_false(ask_of("other", "name/lights/get", "", 0));
    refused("name/none/get", "",
            "{\"code\":404,\"message\":\"No shadow exists with name: none\",\"timestamp\":1700000002}");
    for (unsigned i = 1; i < 10; i++) {
        char name[8];
        snprintf(name, sizeof(name), "s%u", i);
        assert_int_equal(app(name, "{\"state\":{\"desired\":{\"n\":1}}}"), 200);
    }
    refused("name/s10/update", "{\"state\":{}}", "{\"code\":403,\"message\":\"Forbidden\",\"timestamp\":1700000002}");
    assert_true(ask("name/s9/delete", ""));
    assert_true(ask("name/s10/update", "{\"state\":{}}"));
    assert_int_equal(cloud_shadow_delete(rig.shadow, rig.now_us, car, SPAN_LITERAL("s10"), NULL), 200);
    assert_int_equal(app("s9", "{\"state\":{}}"), 200);
    assert_int_equal(cloud_shadow_version(rig.shadow, car, SPAN_LITERAL("s9")), 2);
    assert_int_equal(cloud_shadow_forget(rig.shadow, car), 11);
    assert_int_equal(cloud_shadow_version(rig.shadow, car, (struct span){0}), 0);
    assert_int_equal(cloud_shadow_forget(rig.shadow, car), 0);
    assert_int_equal(app("", "{\"state\":{},\"version\":0}"), 200); /* as if it had never been */
}

/* Names come and go without end: what is kept of the deleted ones does not grow. */
static void test_deleted_names_are_bounded(void **state)
{
    uint64_t bytes = 0;
    for (unsigned i = 0; i < 1000; i++) {
        char name[16];
        snprintf(name, sizeof(name), "name%04u", i);
        assert_int_equal(app(name, "{\"state\":{\"desired\":{\"n\":1}}}"), 200);
        assert_int_equal(cloud_shadow_delete(rig.shadow, rig.now_us, SPAN_LITERAL("car"), span_text(name), NULL), 200);
        if (i == 20)
            bytes = cloud_shadow_bytes(rig.shadow);
    }
    assert_int_equal(cloud_shadow_bytes(rig.shadow), bytes);
    assert_int_equal(app("name0999", "{\"state\":{},\"version\":1}"), 200);
    assert_int_equal(app("name0000", "{\"state\":{},\"version\":0}"), 200);
}

static void test_many_things(void **state)
{
    char thing[32];
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < 3000; i++) {
            char request[64];
            snprintf(thing, sizeof(thing), "car-%u", i);
            snprintf(request, sizeof(request), "{\"state\":{\"reported\":{\"n\":%u}}}", i);
            assert_int_equal(
                cloud_shadow_update(rig.shadow, 0, span_text(thing), (struct span){0}, span_text(request), NULL), 200);
        }
        for (unsigned i = 0; i < 3000; i++) {
            char expected[64];
            struct span answer;
            snprintf(thing, sizeof(thing), "car-%u", i);
            snprintf(expected, sizeof(expected), "{\"state\":{\"reported\":{\"n\":%u}},", i);
            assert_int_equal(cloud_shadow_get(rig.shadow, 0, span_text(thing), (struct span){0}, &answer), 200);
            assert_memory_equal(answer.data, expected, strlen(expected));
            if (i % 2)
                assert_int_equal(cloud_shadow_forget(rig.shadow, span_text(thing)), 1);
        }
    }
}

/* ---- refusals ------------------------------------------------------------------------------------------------------- */

#define REFUSAL(code, message) "{\"code\":" code ",\"message\":\"" message "\",\"timestamp\":1700000000}"

static void test_malformed(void **state)
{
    static const char *const invalid[] = {"",
                                          "{",
                                          "7",
                                          "[]",
                                          "null",
                                          "{\"state\":{}} x",
                                          "{\"state\":{\"desired\":{\"a\":1e999}}}",
                                          "{\"state\":{\"desired\":{\"a\":}}}"};
    for (size_t i = 0; i < sizeof(invalid) / sizeof(invalid[0]); i++)
        refused("update", invalid[i], REFUSAL("400", "Invalid JSON"));
    refused("get", "{", REFUSAL("400", "Invalid JSON"));
    refused("delete", "[]", REFUSAL("400", "Invalid JSON"));
    refused("update", "{}", REFUSAL("400", "Missing required node: state"));
    refused("update", "{\"state\":7}", REFUSAL("400", "State node must be an object"));
    refused("update", "{\"state\":null}", REFUSAL("400", "State node must be an object"));
    refused("update", "{\"state\":{\"desired\":[]}}", REFUSAL("400", "Desired node must be an object"));
    refused("update", "{\"state\":{\"reported\":\"x\"}}", REFUSAL("400", "Reported node must be an object"));
    refused("update", "{\"state\":{\"delta\":{}}}", REFUSAL("400", "State contains an invalid node"));
    refused("update", "{\"state\":{\"desired\":{\"a\":[1,null]}}}", REFUSAL("400", "State contains an invalid node"));
    refused("update", "{\"state\":{\"desired\":{\"a\":[{\"b\":null}]}}}",
            REFUSAL("400", "State contains an invalid node"));
    refused("update", "{\"state\":{},\"version\":\"1\"}", REFUSAL("400", "Invalid version"));
    refused("update", "{\"state\":{},\"version\":-1}", REFUSAL("400", "Invalid version"));
    refused("update", "{\"state\":{},\"version\":1.5}", REFUSAL("400", "Invalid version"));
    refused("update", "{\"state\":{},\"clientToken\":1}", REFUSAL("400", "Invalid clientToken"));
    refused("update", "{\"state\":{\"desired\":{\"a\":\"\xff\"}}}",
            REFUSAL("415", "Unsupported documented encoding; supported encoding is UTF-8"));
    refused("update", "{\"state\":7,\"clientToken\":\"t\"}",
            "{\"code\":400,\"message\":\"State node must be an object\",\"timestamp\":1700000000,\"clientToken\":"
            "\"t\"}");
}

static void test_token_length(void **state)
{
    char request[160];
    for (int length = 64; length <= 65; length++) {
        snprintf(request, sizeof(request), "{\"state\":{},\"clientToken\":\"%0*d\"}", length, 0);
        assert_int_equal(ask("update", request), length == 64);
    }
    expect(REFUSAL("400", "Invalid clientToken"));
}

/* `levels` levels of objects in desired, its own among them. */
static void nest(char *out, unsigned levels, bool array)
{
    strcpy(out, "{\"state\":{\"desired\":");
    for (unsigned i = 1; i < levels; i++)
        strcat(out, "{\"a\":");
    strcat(out, array ? "{\"a\":[]}" : "{\"a\":1}");
    for (unsigned i = 1; i < levels; i++)
        strcat(out, "}");
    strcat(out, "}}");
}

static void test_depth(void **state)
{
    char request[8192];
    static const uint32_t depths[] = {0, 6, 100};
    static const uint32_t most[] = {8, 6, 64};
    for (unsigned i = 0; i < 3; i++) {
        tear_down(state);
        open_with((struct cloud_shadow_options){.depth = depths[i]});
        nest(request, most[i], false);
        assert_true(ask("update", request));
        nest(request, most[i] + 1, false);
        refused("update", request, REFUSAL("400", "JSON contains too many levels of nesting; maximum is 6"));
        nest(request, most[i], true);
        refused("update", request, REFUSAL("400", "JSON contains too many levels of nesting; maximum is 6"));
    }
}

static void test_document_size(void **state)
{
    static char request[40000];
    /* {"desired":{"a":"..."}} has 21 bytes around the text */
    int around = (int)strlen("{\"desired\":{\"a\":\"\"}}");
    snprintf(request, sizeof(request), "{\"state\":{\"desired\":{\"a\":\"%0*d\"}}}", 8192 - around, 0);
    assert_true(ask("update", request));
    refused("update", "{\"state\":{\"desired\":{\"b\":1}}}",
            REFUSAL("413", "The payload exceeds the maximum size allowed")); /* the whole counts, not the request */
    assert_true(ask("update", "{\"state\":{\"desired\":{\"b\":1,\"a\":null}}}"));
    snprintf(request, sizeof(request), "{\"state\":{\"desired\":{\"a\":\"%0*d\"}}}", 8193 - around, 0);
    cloud_shadow_forget(rig.shadow, SPAN_LITERAL("car"));
    refused("update", request, REFUSAL("413", "The payload exceeds the maximum size allowed"));
    snprintf(request, sizeof(request), "{\"state\":{\"desired\":{\"a\":\"%033000d\"}}}", 0);
    refused("update", request, REFUSAL("413", "The payload exceeds the maximum size allowed"));
}

static void test_rights(void **state)
{
    assert_true(ask("update", "{\"state\":{}}"));
    rig.refusal = 401;
    refused("get", "", REFUSAL("401", "Unauthorized"));
    rig.refusal = 403;
    refused("get", "", REFUSAL("403", "Forbidden"));
    assert_int_equal(app("", "{\"state\":{}}"), 200); /* the app's side has its own rights */
    rig.refusal = 0;
    assert_false(ask_of("stranger", "get", "", 0));
    expect(REFUSAL("404", "Thing not found"));
    assert_false(ask_of("stranger", "update", "{\"state\":{}}", 12));
    expect(REFUSAL("404", "Thing not found"));
}

static void test_rate(void **state)
{
    struct cloud_shadow_counts counts;
    assert_true(ask("update", "{\"state\":{}}")); /* makes it */
    assert_true(ask("name/b/update", "{\"state\":{}}"));
    for (unsigned i = 0; i < 20; i++)
        assert_true(ask("update", "{\"state\":{}}"));
    refused("update", "{\"state\":{}}", REFUSAL("429", "Too many requests"));
    refused("get", "{}", REFUSAL("429", "Too many requests"));
    assert_int_equal(app("", "{\"state\":{}}"), 429);
    assert_true(ask("name/b/update", "{\"state\":{}}")); /* another shadow */
    rig.now_us = US_PER_S;
    assert_true(ask("update", "{\"state\":{}}"));
    cloud_shadow_count(rig.shadow, &counts);
    assert_int_equal(counts.throttled, 3);
}

static void test_in_flight(void **state)
{
    assert_true(ask("update", "{\"state\":{}}"));
    rig.unanswered = 9;
    assert_true(ask("get", ""));
    rig.unanswered = 10;
    refused("get", "", REFUSAL("429", "Too many in-flight requests"));
    rig.unanswered = 0;
    rig.answers = rig.nested_good = 0;
    rig.nested = 11; /* each asked from within the answer to the one before */
    assert_true(ask("get", ""));
    assert_int_equal(rig.answers, 12);
    assert_int_equal(rig.nested_good, 10);
    rig.now_us = US_PER_S;
    assert_true(ask("get", ""));
}

static void test_topics(void **state)
{
    static const char *const others[] = {"things/car/jobs/get", "things/car/shadow", "things/car",
                                         "certificates/create"};
    static const char *const wrong[] = {
        "things/car/shadow/",         "things/car/shadow/put",        "things/car/shadow/get/accepted",
        "things//shadow/get",         "things/c r/shadow/get",        "things/car/shadow/name//get",
        "things/car/shadow/name/get", "things/car/shadow/name/a+/get"};
    struct cloud_request request = {.client_id = span_text("car")};
    char topic[320];
    bool taken;
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        request.topic = span_text(others[i]);
        cloud_shadow_request(rig.shadow, 0, &request, &taken);
        assert_false(taken);
    }
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        request.topic = span_text(wrong[i]);
        assert_int_equal(cloud_shadow_request(rig.shadow, 0, &request, &taken), MQ5_TOPIC_NAME_INVALID);
        assert_true(taken);
    }
    assert_int_equal(rig.answers, 0);
    for (int length = 0; length < 2; length++) {
        snprintf(topic, sizeof(topic), "things/%0*d/shadow/name/%0*d/get", 128 + length, 0, 64, 0);
        request.topic = span_text(topic);
        assert_int_equal(cloud_shadow_request(rig.shadow, 0, &request, &taken), length ? MQ5_TOPIC_NAME_INVALID : 0);
        snprintf(topic, sizeof(topic), "things/%0*d/shadow/name/%0*d/update", 128, 0, 64 + length, 0);
        request.topic = span_text(topic);
        assert_int_equal(cloud_shadow_request(rig.shadow, 0, &request, &taken), length ? MQ5_TOPIC_NAME_INVALID : 0);
    }
    assert_int_equal(rig.answers, 2); /* the longest names that are allowed are answered */
}

static void test_app_side(void **state)
{
    struct span answer, car = SPAN_LITERAL("car"), none = {0};
    assert_int_equal(cloud_shadow_update(rig.shadow, 0, car, none, SPAN_LITERAL("{\"state\":{}}"), &answer), 200);
    assert_true(
        span_equal(answer, SPAN_LITERAL("{\"state\":{},\"metadata\":{},\"version\":1,\"timestamp\":1700000000}")));
    assert_int_equal(cloud_shadow_get(rig.shadow, 0, car, SPAN_LITERAL("x"), &answer), 404);
    assert_true(span_equal(answer, SPAN_LITERAL(REFUSAL("404", "No shadow exists with name: x"))));
    assert_int_equal(cloud_shadow_get(rig.shadow, 0, SPAN_LITERAL("c/r"), none, &answer), 404);
    assert_true(span_equal(answer, SPAN_LITERAL(REFUSAL("404", "Thing not found"))));
    assert_int_equal(cloud_shadow_get(rig.shadow, 0, car, SPAN_LITERAL("a b"), &answer), 404);
    assert_true(span_equal(answer, SPAN_LITERAL(REFUSAL("404", "No shadow exists with name: a b"))));
    assert_int_equal(cloud_shadow_delete(rig.shadow, 0, car, none, &answer), 200);
    assert_true(span_equal(answer, SPAN_LITERAL("{\"version\":1,\"timestamp\":1700000000}")));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(test_update_is_echoed),
        TEST(test_delta_is_flat),
        TEST(test_delta_of),
        TEST(test_null_takes_away),
        TEST(test_arrays_are_one_value),
        TEST(test_versions),
        TEST(test_named_shadows),
        TEST(test_deleted_names_are_bounded),
        TEST(test_many_things),
        TEST(test_malformed),
        TEST(test_token_length),
        TEST(test_depth),
        TEST(test_document_size),
        TEST(test_rights),
        TEST(test_rate),
        TEST(test_in_flight),
        TEST(test_topics),
        TEST(test_app_side),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
