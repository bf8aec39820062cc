/* The agent's own text: numbers as printf() writes them, templates, and a scanner that no request can lead astray. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "vehicle/agent/agent_internal.h"

static void check_number(int64_t number)
{
    char written[32], wanted[32];
    *agent_text_number(written, number) = 0;
    snprintf(wanted, sizeof(wanted), "%" PRId64, number);
    assert_string_equal(written, wanted);
}

static void numbers(void **state)
{
    check_number(INT64_MIN);
    check_number(INT64_MAX);
    for (int64_t power = 1; power <= INT64_MAX / 10; power *= 10)
        for (int64_t near = -2; near <= 2; near++) {
            check_number(power + near);
            check_number(-power + near);
        }
    for (int64_t number = -1100; number < 1100; number++)
        check_number(number);
}

static void templates(void **state)
{
    static const struct {
        const char *pattern, *wanted;
    } rows[] = {
        {"", ""}, {"dt/%/telemetry", "dt/car/telemetry"}, {"%", "car"}, {"%/%", "car/car"}, {"plain", "plain"},
    };
    char out[AGENT_TOPIC_MAX];
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        assert_true(
            span_equal(agent_text_expand(rows[i].pattern, SPAN_LITERAL("car"), out), span_text(rows[i].wanted)));
    char many[64];
    memset(many, '%', 63);
    many[63] = 0;
    assert_in_range(agent_text_expand(many, SPAN_LITERAL("0123456789"), out).length, 1, AGENT_TOPIC_MAX);
}

static const struct {
    const char *payload, *command, *id;
} requests[] = {
    {"{\"command\":\"unlock\"}", "unlock", ""},
    {" {\t\"command\" :\r\n \"unlock\" , \"id\" : \"a-1\" } ", "unlock", "a-1"},
    {"{\"id\":\"x\",\"when\":[1,{\"command\":\"no\"},\"]\"],\"command\":\"horn\"}", "horn", "x"},
    {"{\"force\":true,\"n\":-1.5e3,\"none\":null,\"command\":\"lock\"}", "lock", ""},
    {"{\"a\":\"\\\"command\\\":\\\"x\",\"command\":\"lock\"}", "lock", ""},
    {"unlock", "unlock", ""},
    {"  unlock doors:all \n", "unlock doors:all", ""},
    {"", "", ""},
    {"   ", "", ""},
    {"{}", "", ""},
    {"{\"command\":\"un\\u006cock\"}", "", ""},
    {"{\"command\":unlock}", "", ""},
    {"{\"command\":7}", "", ""},
    {"{\"command\":\"unlock\"", "", ""},
    {"{\"command\":\"unlock\",}", "", ""},
    {"{\"command\":\"unlock\" \"id\":\"x\"}", "", ""},
    {"{\"command\":\"unlock\",\"id\"}", "", ""},
    {"{\"command\":\"unlock\",\"id\":}", "", ""},
    {"{\"command\":\"unlock\",\"x\":]}", "", ""},
    {"{\"command\":\"unlock\",\"x\":{]", "", ""},
    {"{\"command\":\"unlock\",\"x\":[\"", "", ""},
    {"{\"command\":\"unl\nock\"}", "", ""},
    {"{\"command\":\"unlock\\", "", ""},
    {"{\"command\":\"\"}", "", ""},
    {"{\"command\":\"un<lock\"}", "", ""},
    {"{\"command\":\"0123456789012345678901234567890123456789012345678\"}", "", ""},
    {"un\"lock", "", ""},
    {"[\"command\"]", "", ""},
};

static void requests_are_read(void **state)
{
    for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
        struct span command, id;
        agent_text_command(span_text(requests[i].payload), &command, &id);
        if (!span_equal(command, span_text(requests[i].command)) ||
            (requests[i].command[0] && !span_equal(id, span_text(requests[i].id))))
            fail_msg("%s: \"%.*s\", \"%.*s\"", requests[i].payload, (int)command.length, command.data, (int)id.length,
                     id.data);
    }
}

/* Every truncation and every single-byte change of a good request, in a buffer that ends where the request does:
 * what comes out lies within it and is a command name or nothing. The sanitizers watch the rest. */
static void no_request_leads_astray(void **state)
{
    static const char good[] = "{\"id\":\"x\",\"when\":[1,{\"c\":\"\\\"\"}],\"command\":\"horn\"}";
    for (size_t length = 0; length < sizeof(good); length++) {
        uint8_t *exact = malloc(length ? length : 1);
        for (unsigned change = 0; change <= 256 * (length > 0); change++) {
            for (size_t at = 0; at < (change ? length : 1); at++) {
                struct span command, id;
                memcpy(exact, good, length);
                if (change)
                    exact[at] = (uint8_t)(change - 1);
                agent_text_command(span_of(exact, length), &command, &id);
                assert_in_range(command.length, 0, AGENT_COMMAND_MAX);
                assert_true(command.length == 0 ||
                            (command.data >= exact && command.data + command.length <= exact + length));
                assert_true(id.length == 0 || (id.data >= exact && id.data + id.length <= exact + length));
            }
        }
        free(exact);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers),
        cmocka_unit_test(templates),
        cmocka_unit_test(requests_are_read),
        cmocka_unit_test(no_request_leads_astray),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
