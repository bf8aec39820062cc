/* Topic names, filters, shared filters, matching (4.7, 4.8); UTF-8 at every border and at every place of a text. */
#include <setjmp.h>
#include <stdarg.h>

#include "mqtt5/topic.h"

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>

static void test_matching(void **state)
{
    static const struct {
        const char *filter, *topic;
        bool matches;
    } cases[] = {
        {"sport/tennis/player1/#", "sport/tennis/player1", true}, /* 4.7.1.2 */
        {"sport/tennis/player1/#", "sport/tennis/player1/ranking", true},
        {"sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true},
        {"sport/tennis/player1/#", "sport/tennis/player11", false},
        {"sport/#", "sport", true},
        {"sport/#", "sport/", true},
        {"sport/#", "sports", false},
        {"#", "a", true},
        {"#", "/", true},
        {"#", "a/b/c", true},
        {"sport/tennis/+", "sport/tennis/player1", true}, /* 4.7.1.3 */
        {"sport/tennis/+", "sport/tennis/player1/ranking", false},
        {"sport/+", "sport", false},
        {"sport/+", "sport/", true},
        {"+", "finance", true},
        {"+", "/finance", false},
        {"+/+", "/finance", true},
        {"/+", "/finance", true},
        {"+/tennis/#", "sport/tennis", true},
        {"+/tennis/#", "sport/tennis/x/y", true},
        {"+/tennis/#", "sport/golf", false},
        {"a/+/c", "a/b/c", true},
        {"a/+/c", "a//c", true},
        {"a/+/c", "a/b/d", false},
        {"a/+/c", "a/b/c/d", false},
        {"a/+/+", "a/b", false},
        {"+/#", "a", true},
        {"+/+/#", "a", false},
        {"a/+/#", "a", false},
        {"a/+/#", "a/", true},
        {"#", "$SYS/x", false}, /* 4.7.2 */
        {"+/x", "$SYS/x", false},
        {"$SYS/#", "$SYS/x", true},
        {"$SYS/#", "$SYS", true},
        {"$SYS/+", "$SYS/x", true},
        {"a/#", "a/$x", true},
        {"a/+", "a/$x", true},
        {"/a", "a", false}, /* 4.7.3 */
        {"a", "/a", false},
        {"a", "a", true},
        {"a", "A", false},
        {"a", "a/", false},
        {"a/", "a", false},
        {"a/", "a/", true},
        {"a//b", "a/b", false},
        {"ab", "a", false},
        {"a", "ab", false},
        {"a/bc/d", "a/b/d", false},
        {"a/b", "a/bc", false},
        {"/", "/", true},
        {"+/+", "/", true},
        {"", "a", false},
        {"a", "", false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
        if (mq5_topic_matches(span_text(cases[i].filter), span_text(cases[i].topic)) != cases[i].matches)
            fail_msg("%s ~ %s is not %d", cases[i].filter, cases[i].topic, cases[i].matches);
}

/* The plainest possible matcher: level by level, recursively. */
static bool plainly(const char *filter, const char *topic)
{
    size_t f = strcspn(filter, "/"), t = strcspn(topic, "/");
    if (strcmp(filter, "#") == 0)
        return true;
    if (!(f == 1 && *filter == '+') && !(f == t && memcmp(filter, topic, f) == 0))
        return false;
    if (!topic[t])
        return !filter[f] || strcmp(filter + f, "/#") == 0;
    return filter[f] && plainly(filter + f + 1, topic + t + 1);
}

/* Every filter and every topic of up to five characters over a small alphabet. */
static void test_matching_exhaustively(void **state)
{
    static const char filter_letters[] = "a/+#", topic_letters[] = "a/$";
    int pairs = 0;
    for (int f = 0; f < 4 + 16 + 64 + 256 + 1024; f++) {
        char filter[8] = {0};
        int length = 0;
        for (int rest = f + 1; rest; rest = (rest - 1) / 4)
            filter[length++] = filter_letters[(rest - 1) % 4];
        if (!mq5_topic_filter_valid(span_text(filter)))
            continue;
        for (int t = 0; t < 3 + 9 + 27 + 81 + 243; t++, pairs++) {
            char topic[8] = {0};
            length = 0;
            for (int rest = t + 1; rest; rest = (rest - 1) / 3)
                topic[length++] = topic_letters[(rest - 1) % 3];
            bool expected = !(*topic == '$' && (*filter == '+' || *filter == '#')) && plainly(filter, topic);
            if (mq5_topic_matches(span_text(filter), span_text(topic)) != expected)
                fail_msg("%s ~ %s is not %d", filter, topic, expected);
        }
    }
    assert_true(pairs > 50000);
}

static void test_names_and_filters(void **state)
{
    static const char *const names[] = {"a", "/", "//", "a/b", " ", "$SYS/x", "\xEF\xBB\xBF", "a b"};
    static const char *const not_names[] = {"",      "+",           "#", "a/+", "a/#/b", "longer than eight+",
                                            "a\xC3", "\xED\xA0\x80"};
    static const char *const filters[] = {"#",          "+",          "/",         "+/+",    "/+",
                                          "+/",         "a/#",        "a/+/#",     "+/#",    "$share/g/a",
                                          "$share/g/#", "$share/g//", "$shared/x", "$share", "$SYS/#"};
    static const char *const not_filters[] = {"",           "a#",          "#a",          "#/a",       "a/#/b",
                                              "a+",         "+a",          "a/b+",        "++",        "##",
                                              "+#",         "$share/",     "$share//a",   "$share/g",  "$share/g/",
                                              "$share/+/a", "$share/g#/a", "$share/g/a#", "$share/g+", "a\xFF"};
    for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
        assert_true(mq5_topic_name_valid(span_text(names[i])));
    for (size_t i = 0; i < sizeof(not_names) / sizeof(*not_names); i++)
        assert_false(mq5_topic_name_valid(span_text(not_names[i])));
    for (size_t i = 0; i < sizeof(filters) / sizeof(*filters); i++)
        if (!mq5_topic_filter_valid(span_text(filters[i])))
            fail_msg("filter %s", filters[i]);
    for (size_t i = 0; i < sizeof(not_filters) / sizeof(*not_filters); i++)
        if (mq5_topic_filter_valid(span_text(not_filters[i])))
            fail_msg("no filter %s", not_filters[i]);
    assert_false(mq5_topic_name_valid(span_of("a\0b", 3)));
    assert_false(mq5_topic_filter_valid(span_of("a\0b", 3)));
}

static void test_longest(void **state)
{
    char *text = malloc(65537);
    memset(text, 'x', 65537);
    assert_true(mq5_topic_name_valid(span_of(text, 65535)) && mq5_topic_filter_valid(span_of(text, 65535)));
    assert_false(mq5_topic_name_valid(span_of(text, 65536)) || mq5_topic_filter_valid(span_of(text, 65536)));
    free(text);
}

static void test_share(void **state)
{
    struct span name, rest;
    assert_true(mq5_topic_share_split(SPAN_LITERAL("$share/group/a/+/#"), &name, &rest));
    assert_true(span_equal(name, SPAN_LITERAL("group")) && span_equal(rest, SPAN_LITERAL("a/+/#")));
    assert_true(mq5_topic_share_split(SPAN_LITERAL("$share/g//"), &name, &rest));
    assert_true(span_equal(rest, SPAN_LITERAL("/")));
    static const char *const none[] = {"a",         "$share",     "$share/",    "$share/g",   "$share/g/",
                                       "$share//a", "$share/+/a", "$Share/g/a", "$sharex/g/a"};
    for (size_t i = 0; i < sizeof(none) / sizeof(*none); i++)
        assert_false(mq5_topic_share_split(span_text(none[i]), &name, &rest));
}

/* Well-formedness the slow way: decode, then compare with the shortest encoding of a scalar value. */
static bool scalar(const uint8_t *bytes, int length)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    static const uint8_t mark[] = {0, 0, 0xC0, 0xE0, 0xF0}, mask[] = {0, 0x80, 0xE0, 0xF0, 0xF8};
    if ((bytes[0] & mask[length]) != mark[length])
        return false;
    uint32_t value = bytes[0] & (uint8_t)~mask[length];
    for (int i = 1; i < length; i++) {
        if ((bytes[i] & 0xC0) != 0x80)
            return false;
        value = value << 6 | (bytes[i] & 0x3F);
    }
    return value >= least[length] && value <= 0x10FFFF && !(value >= 0xD800 && value <= 0xDFFF) && value != 0;
}

static bool text(const uint8_t *bytes, int length)
{
    for (int at = 0; at < length;) {
        int step = 1;
        while (step <= 4 && (at + step > length || !scalar(bytes + at, step)))
            step++;
        if (step > 4)
            return false;
        at += step;
    }
    return true;
}

static void check_text(const uint8_t *bytes, int length)
{
    uint8_t *exact = malloc((size_t)length);
    memcpy(exact, bytes, (size_t)length);
    bool expected = text(bytes, length);
    if (mq5_utf8_valid(span_of(exact, (size_t)length)) != expected)
        fail_msg("%02x %02x %02x %02x (%d bytes) is not %d", bytes[0], bytes[1], bytes[2], bytes[3], length, expected);
    free(exact);
}

static void test_utf8_exhaustively(void **state)
{
    /* All pairs; all borders of each byte in triples and quadruples. */
    static const uint8_t borders[] = {0x00, 0x01, 0x2B, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF,
                                      0xC0, 0xC1, 0xC2, 0xDF, 0xE0, 0xE1, 0xEC, 0xED, 0xEE, 0xEF,
                                      0xF0, 0xF1, 0xF3, 0xF4, 0xF5, 0xF7, 0xF8, 0xFF};
    enum { N = sizeof(borders) };
    uint8_t b[4] = {0};
    for (int a = 0; a < 65536; a++) {
        b[0] = (uint8_t)(a >> 8), b[1] = (uint8_t)a;
        check_text(b, 1);
        check_text(b, 2);
    }
    for (int i = 0; i < N * N * N * N; i++) {
        b[0] = borders[i % N], b[1] = borders[i / N % N], b[2] = borders[i / N / N % N], b[3] = borders[i / N / N / N];
        check_text(b, 3);
        check_text(b, 4);
    }
    for (uint32_t c = 1; c <= 0x10FFFF; c++) { /* every scalar value, and the surrogates */
        b[0] = (uint8_t)(0xF0 | c >> 18), b[1] = (uint8_t)(0x80 | (c >> 12 & 0x3F));
        b[2] = (uint8_t)(0x80 | (c >> 6 & 0x3F)), b[3] = (uint8_t)(0x80 | (c & 0x3F));
        int length = 4;
        if (c < 0x10000)
            b[0] = (uint8_t)(0xE0 | c >> 12), b[1] = b[2], b[2] = b[3], length = 3;
        if (c < 0x800)
            b[0] = (uint8_t)(0xC0 | c >> 6), b[1] = b[2], length = 2;
        if (c < 0x80)
            b[0] = (uint8_t)c, length = 1;
        if (mq5_utf8_valid(span_of(b, (size_t)length)) != !(c >= 0xD800 && c <= 0xDFFF))
            fail_msg("U+%04X", c);
    }
}

/* A single bad byte at every place of texts of every length up to 40: nothing hides in the eight-byte strides. */
static void test_every_place(void **state)
{
    uint8_t b[41];
    for (int length = 1; length <= 40; length++) {
        for (int at = 0; at < length; at++) {
            memset(b, 'a', sizeof(b));
            assert_true(mq5_utf8_valid(span_of(b, (size_t)length)));
            b[at] = 0x80;
            check_text(b, length);
            b[at] = 0;
            check_text(b, length);
            b[at] = '#';
            assert_true(mq5_utf8_valid(span_of(b, (size_t)length)));
            assert_false(mq5_topic_name_valid(span_of(b, (size_t)length)));
            b[at] = '+';
            assert_false(mq5_topic_name_valid(span_of(b, (size_t)length)));
            b[at] = '/';
            assert_true(mq5_topic_name_valid(span_of(b, (size_t)length)));
        }
    }
}

/* Level by level, byte by byte. */
static bool matches_slowly(struct span filter, struct span topic)
{
    uint32_t f = 0, t = 0;
    if (!filter.length || !topic.length || (topic.data[0] == '$' && strchr("+#", filter.data[0])))
        return false;
    for (;;) {
        if (f < filter.length && filter.data[f] == '#')
            return true;
        bool any = f < filter.length && filter.data[f] == '+';
        for (f += any; t < topic.length && topic.data[t] != '/'; t++, f += !any)
            if (!any && (f == filter.length || filter.data[f] != topic.data[t]))
                return false;
        if (f < filter.length && filter.data[f] != '/')
            return false;
        if (t == topic.length)
            return f == filter.length || (filter.length - f == 2 && filter.data[f + 1] == '#');
        if (f == filter.length)
            return false;
        f++, t++;
    }
}

/* Long ones that agree for a while, in buffers that end where they end. */
static void test_matching_at_random(void **unused)
{
    static const char letters[] = "aaaabb//////+#$";
    uint64_t seed = 5;
    int matched = 0;
    for (int round = 0; round < 400000; round++) {
        uint8_t filter[48], topic[48];
        uint32_t words[2];
        for (int i = 0; i < 2; i++) {
            seed = seed * UINT64_C(6364136223846793005) + 1;
            words[i] = (uint32_t)(seed >> 33);
        }
        uint32_t filter_length = 1 + words[0] % 40, topic_length = filter_length;
        for (uint32_t i = 0; i < filter_length; i++) {
            seed = seed * UINT64_C(6364136223846793005) + 1;
            filter[i] = (uint8_t)letters[(seed >> 33) % 15];
            topic[i] = filter[i] == '+' || filter[i] == '#' ? 'a' : filter[i];
        }
        if (words[1] & 1)
            topic[words[1] / 8 % topic_length] = (uint8_t)letters[words[1] / 512 % 15];
        if (words[1] & 2)
            topic_length = 1 + words[1] / 16384 % topic_length;
        else if (words[1] & 4)
            filter_length = 1 + words[1] / 16384 % filter_length;
        uint8_t *f = malloc(filter_length), *t = malloc(topic_length);
        memcpy(f, filter, filter_length);
        memcpy(t, topic, topic_length);
        bool found = mq5_topic_matches(span_of(f, filter_length), span_of(t, topic_length));
        if (found != matches_slowly(span_of(f, filter_length), span_of(t, topic_length)))
            fail_msg("%.*s and %.*s", (int)filter_length, filter, (int)topic_length, topic);
        matched += found;
        free(f);
        free(t);
    }
    assert_in_range(matched, 50000, 350000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_matching),
        cmocka_unit_test(test_matching_at_random),
        cmocka_unit_test(test_matching_exhaustively),
        cmocka_unit_test(test_names_and_filters),
        cmocka_unit_test(test_longest),
        cmocka_unit_test(test_share),
        cmocka_unit_test(test_utf8_exhaustively),
        cmocka_unit_test(test_every_place),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
