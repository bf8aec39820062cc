/* conform_catalogue.c: the list of statements and the list of checks hold together: nobody checks what is not there, or claims more than it says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#include "sim/conform.h"

static void statements_are_complete(void **state)
{
    const struct conform_statement *each;
    uint32_t numbered = 0, others = 0, testable = 0, conditional = 0;
    for (uint32_t i = 0; (each = conform_statement_at(i)); i++) {
        bool has_number = strncmp(each->id, "MQTT-", 5) == 0;
        numbered += has_number;
        others += !has_number;
        testable += has_number && each->testable == CONFORM_TESTABLE;
        conditional += has_number && each->testable == CONFORM_CONDITIONAL;
        assert_ptr_equal(conform_statement(each->id), each); /* the id is there once */
        assert_true(each->text[0] && each->side[0] && each->packet[0]);
        if (has_number)
            assert_int_equal(each->level, CONFORM_MUST);
    }
    assert_int_equal(numbered, 251);
    assert_int_equal(others, 89);
    assert_int_equal(testable, 196);
    assert_int_equal(conditional, 33);
}

static bool names_statement(const struct conform_check *check, const char *id)
{
    bool named = false;
    for (int r = 0; r < 8 && check->refs[r]; r++)
        named |= strcmp(check->refs[r], id) == 0;
    for (uint32_t row = 0; check->row && row < check->row_count(); row++) {
        struct conform_row out = {.ref = NULL};
        check->row(row, &out);
        named |= out.ref && strcmp(out.ref, id) == 0;
    }
    return named;
}

/* The smaller catalogue has only what is observed: a check each, and none of its ids are the other one's. */
static void statements_of_311_are_checked(void **state)
{
    const struct conform_statement *each;
    const struct conform_check *check;
    uint32_t count = 0, checks = 0;
    for (; (each = conform_statement_311_at(count)); count++) {
        bool asserted = false;
        assert_int_equal(strncmp(each->id, "V3-MQTT-", 8), 0);
        assert_ptr_equal(conform_statement(each->id), each);
        assert_true(each->text[0] && each->side[0] && each->packet[0]);
        for (uint32_t i = 0; (check = conform_check_at(i)); i++)
            asserted |= names_statement(check, each->id);
        if (!asserted)
            fail_msg("nothing checks %s", each->id);
    }
    for (uint32_t i = 0; (check = conform_check_at(i)); i++) {
        bool smaller = conform_check_protocol(check) == MQ5_V311;
        checks += smaller;
        for (int r = 0; r < 8 && check->refs[r]; r++)
            assert_int_equal(strncmp(check->refs[r], "V3-", 3) == 0, smaller);
        assert_true(!smaller || check->version == MQ5_V311);
    }
    assert_true(count >= 50 && checks >= 25);
}

static enum conform_level strongest(const char *const *refs, int count)
{
    enum conform_level level = CONFORM_NOTE;
    for (int i = 0; i < count && refs[i]; i++) {
        const struct conform_statement *statement = conform_statement(refs[i]);
        if (!statement)
            fail_msg("%s is no statement", refs[i]);
        else if (statement->level > level)
            level = statement->level;
    }
    return level;
}

static void check_is_sound(const struct conform_check *check)
{
    assert_non_null(check->run);
    assert_true(check->name && check->name[0]);
    assert_non_null(check->refs[0]);
    assert_true((check->row_count == NULL) == (check->row == NULL));
    if (check->level > strongest(check->refs, 8))
        fail_msg("%s asserts more than its statements do", check->id);
    for (uint32_t row = 0; check->row && row < check->row_count(); row++) {
        struct conform_row out = {.ref = NULL};
        check->row(row, &out);
        assert_true(out.name[0]);
        if (out.ref && check->level > strongest(&out.ref, 1))
            fail_msg("%s[%u] asserts more than %s does", check->id, row, out.ref);
    }
}

static void checks_are_sound(void **state)
{
    const struct conform_check *check;
    uint32_t count = 0;
    for (; (check = conform_check_at(count)); count++) {
        for (uint32_t i = 0; i < count; i++)
            if (strcmp(conform_check_at(i)->id, check->id) == 0)
                fail_msg("%s is there twice", check->id);
        assert_ptr_equal(conform_check_find(check->id), check);
        check_is_sound(check);
    }
    assert_true(count > 0);
}

static bool is_looked_at(const char *id)
{
    const struct conform_check *check;
    const struct conform_monitor *monitor;
    for (uint32_t i = 0; (check = conform_check_at(i)); i++)
        if (names_statement(check, id))
            return true;
    for (uint32_t i = 0; (monitor = conform_monitor_at(i)); i++)
        for (int r = 0; r < 4 && monitor->refs[r]; r++)
            if (strcmp(monitor->refs[r], id) == 0)
                return true;
    return false;
}

static void statements_are_checked_or_waived(void **state)
{
    const struct conform_statement *each;
    for (uint32_t i = 0; (each = conform_statement_at(i)); i++) {
        bool looked_at = is_looked_at(each->id);
        if (each->testable != CONFORM_NOT_TESTABLE && !looked_at && !each->waiver[0])
            fail_msg("%s can be seen on a broker's wire, and nothing looks", each->id);
        if (looked_at && each->waiver[0])
            fail_msg("%s is waived, and yet something looks", each->id);
    }
}

static void monitors_are_sound(void **state)
{
    const struct conform_monitor *monitor;
    for (uint32_t i = 0; (monitor = conform_monitor_at(i)); i++) {
        assert_true(monitor->id && monitor->name);
        strongest(monitor->refs, 4);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(statements_are_complete), cmocka_unit_test(statements_of_311_are_checked),
        cmocka_unit_test(checks_are_sound),        cmocka_unit_test(statements_are_checked_or_waived),
        cmocka_unit_test(monitors_are_sound),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
