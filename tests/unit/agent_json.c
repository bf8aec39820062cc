/* The agent's JSON: members, text with escapes, numbers, writing; every truncation, and bytes at random. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "vehicle/agent/agent_internal.h"

static void members(void **state)
{
    static const struct {
        const char *object, *name, *value; /* NULL: none; "!": not an object */
    } cases[] = {
        {"{}", "a", NULL},
        {" { } ", "a", NULL},
        {"{\"a\":1}", "a", "1"},
        {"{\"b\":2,\"a\":1}", "a", "1"},
        {"{\"a\":1,\"a\":2}", "a", "1"},
        {"{\"b\":{\"a\":3},\"a\" : -1.5e+3 }", "a", "-1.5e+3"},
        {"{\"\\u0061\":true}", "a", "true"},
        {"{\"a\":{\"x\":[1,{\"}\":\"]\"}]}}", "a", "{\"x\":[1,{\"}\":\"]\"}]}"},
        {"{\"a\":\"\\\"\"}", "a", "\"\\\"\""},
        {"{\"aa\":1}", "a", NULL},
        {"{\"a\":null}\n", "a", "null"},
        {"", "a", "!"},
        {"[]", "a", "!"},
        {"{", "a", "!"},
        {"{\"a\"}", "a", "!"},
        {"{\"a\":}", "a", "!"},
        {"{\"a\":1,}", "a", "!"},
        {"{\"a\":1}}", "a", "!"},
        {"{\"a\":1} x", "a", "!"},
        {"{\"a\":[1}", "a", "!"},
        {"{\"a\":[1}]}", "a", "!"},
        {"{a:1}", "a", "!"},
        {"{\"a\":\"\n\"}", "a", "!"},
        {"{\"a\":1 \"b\":2}", "a", "!"},
    };
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct span value;
        enum agent_json found = agent_json_member(span_text(cases[i].object), cases[i].name, &value);
        const char *wanted = cases[i].value;
        assert_int_equal(found, !wanted ? AGENT_JSON_NONE : *wanted == '!' ? AGENT_JSON_BAD : AGENT_JSON_FOUND);
        if (found == AGENT_JSON_FOUND)
            assert_true(span_equal(value, span_text(wanted)));
    }
}

static void nesting_has_a_bound(void **state)
{
    char text[300];
    for (unsigned depth = 1; depth <= 64; depth++) {
        char *at = text + sprintf(text, "{\"a\":");
        for (unsigned i = 0; i < depth; i++)
            *at++ = i % 2 ? '[' : '{';
        for (unsigned i = depth; i-- > 0;)
            *at++ = i % 2 ? ']' : '}';
        strcpy(at, "}");
        struct span value;
        assert_int_equal(agent_json_member(span_text(text), "a", &value),
                         depth <= 32 ? AGENT_JSON_FOUND : AGENT_JSON_BAD);
    }
}

static void texts(void **state)
{
    static const struct {
        const char *quoted, *text; /* NULL: is none */
    } cases[] = {
        {"\"\"", ""},
        {"\"abc\"", "abc"},
        {"\"-----BEGIN\\nMII\\/+\\r\\n\\t\\b\\f\\\\\\\"\"", "-----BEGIN\nMII/+\r\n\t\b\f\\\""},
        {"\"\\u0041\\u00e9\\u20AC\\ud83d\\ude97\"", "A\xC3\xA9\xE2\x82\xAC\xF0\x9F\x9A\x97"},
        {"\"\xC3\xA9\"", "\xC3\xA9"},
        {"\"\\ud83d\"", NULL},
        {"\"\\ud83dx\"", NULL},
        {"\"\\ud83d\\u0041\"", NULL},
        {"\"\\ude97\"", NULL},
        {"\"\\u00\"", NULL},
        {"\"\\u00g0\"", NULL},
        {"\"\\x\"", NULL},
        {"\"\\\"", NULL},
        {"\"", NULL},
        {"abc", NULL},
        {"", NULL},
        {"7", NULL},
        {"\"12345678901234567890\"", NULL}, /* more than there is room for */
    };
    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char out[19 + 13];
        size_t length = 99, capacity = i == sizeof(cases) / sizeof(cases[0]) - 1 ? 19 : sizeof(out);
        bool good = agent_json_text(span_text(cases[i].quoted), out, capacity, &length);
        assert_int_equal(good, cases[i].text != NULL);
        if (good)
            assert_true(span_equal(span_of(out, length), span_text(cases[i].text)));
    }
}

static void numbers(void **state)
{
    static const char *const good[] = {"0", "7", "\"12\"", "999999999999999999"};
    static const int64_t values[] = {0, 7, 12, INT64_C(999999999999999999)};
    static const char *const bad[] = {"", "-1", "1.5", "1e3", "\"\"", "\"x\"", "true", "1000000000000000000"};
    int64_t value;
    for (unsigned i = 0; i < 4; i++) {
        assert_true(agent_json_number(span_text(good[i]), &value));
        assert_int_equal(value, values[i]);
    }
    for (unsigned i = 0; i < 8; i++)
        assert_false(agent_json_number(span_text(bad[i]), &value));
}

/* What is written is read back, whatever is in it, and a buffer of any length is not overrun. */
static void writes_what_it_reads(void **state)
{
    uint8_t all[127];
    for (unsigned i = 0; i < sizeof(all); i++)
        all[i] = (uint8_t)(i + 1);
    for (size_t room = 0; room <= 400; room++) {
        char *out = malloc(room + 1), back[200];
        size_t length;
        out[room] = '!';
        const char *end = agent_json_quote(out, out + room, span_of(all, sizeof(all)));
        assert_int_equal(out[room], '!');
        if (end) {
            assert_true(agent_json_text(span_of(out, (size_t)(end - out)), back, sizeof(back), &length));
            assert_true(span_equal(span_of(back, length), span_of(all, sizeof(all))));
        } else {
            assert_true(room < 330);
        }
        free(out);
    }
    assert_null(agent_json_quote(NULL, NULL, SPAN_LITERAL("x")));
    assert_null(agent_json_put(NULL, NULL, "x"));
}

/* Never out of bounds (each input in a block of its own size), and never found in what is cut short. */
static void cut_and_random_bytes(void **state)
{
    static const char whole[] = "{\"x\":[{\"y\":\"\\u00e9\\\\\"},null,-1.0e5],\"execution\":{\"jobId\":\"a\",\"d\":{}},"
                                "\"t\":\"\\ud83d\\ude97\"}";
    static const char alphabet[] = "{}[]:,\"\\u0d8eE1 abcnt\x01\xC3";
    struct span value;
    char out[64];
    size_t length;
    int64_t number;
    for (size_t cut = 0; cut <= sizeof(whole) - 1; cut++) {
        uint8_t *copy = malloc(cut ? cut : 1);
        memcpy(copy, whole, cut);
        enum agent_json found = agent_json_member(span_of(copy, cut), "t", &value);
        assert_int_equal(found, cut == sizeof(whole) - 1 ? AGENT_JSON_FOUND : AGENT_JSON_BAD);
        free(copy);
    }
    uint64_t luck = 1;
    for (unsigned round = 0; round < 200000; round++) {
        uint8_t *bytes = malloc(24);
        size_t count = round % 24;
        for (size_t i = 0; i < count; i++) {
            luck = luck * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
            bytes[i] = (uint8_t)alphabet[(luck >> 40) % (sizeof(alphabet) - 1)];
        }
        bytes = realloc(bytes, count ? count : 1);
        struct span text = span_of(bytes, count);
        if (agent_json_member(text, "a", &value) == AGENT_JSON_FOUND) {
            assert_true(value.data >= bytes && value.data + value.length <= bytes + count && value.length > 0);
            agent_json_text(value, out, sizeof(out), &length);
            assert_true(length <= sizeof(out));
        }
        agent_json_text(text, out, 4, &length);
        assert_true(length <= 4);
        agent_json_number(text, &number);
        free(bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(members), cmocka_unit_test(nesting_has_a_bound),  cmocka_unit_test(texts),
        cmocka_unit_test(numbers), cmocka_unit_test(writes_what_it_reads), cmocka_unit_test(cut_and_random_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
