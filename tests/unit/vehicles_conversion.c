/* The conversion API: every status, tenants, bursts and their refusals, what is written down, who is suspected; and how fast it is. */
#include "cloud/vehicles.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cjson/cJSON.h>
#include <cmocka.h>

#define NOW_S INT64_C(1790000000)

static const uint8_t key[32] = "a key of thirty-two bytes, as is";

struct rig {
    struct cloud_vehicles *vehicles;
    struct cloud_conversion *conversion;
    int64_t now_us;
    char out[256];
    size_t length;
    uint32_t retry_after_s;
};

static struct rig rig;

static const char *vin_of(uint32_t number)
{
    static char vins[4][CLOUD_VIN_LENGTH + 1];
    static int turn;
    char *vin = vins[turn++ % 4];
    cloud_vin_make(3, number, vin);
    return vin;
}

/* Even ones belong to "south", odd ones to "north". */
static int set_up(void **state)
{
    rig = (struct rig){.vehicles = cloud_vehicles_create(key, 7), .now_us = 5 * US_PER_HOUR};
    rig.conversion = cloud_conversion_create(rig.vehicles);
    for (uint32_t i = 0; i < 2000; i++) {
        char reference[64], device[32];
        snprintf(reference, sizeof(reference), "car-%u", i);
        snprintf(device, sizeof(device), "TCU-%u", i);
        if (cloud_vehicles_register(rig.vehicles, NOW_S, span_text(vin_of(i)), span_text(device),
                                    i % 2 ? SPAN_LITERAL("north") : SPAN_LITERAL("south"),
                                    reference) != CLOUD_VEHICLES_DONE)
            return -1;
    }
    static const struct cloud_conversion_client clients[] = {
        {"crm", "s3cret.with.dots", "north", 60, true, true},
        {"shop", "another", "south", 60, true, false},
        {"police", "third", "*", 60, false, true},
        {"ops", "fourth", "*", 6e6, true, true},
    };
    for (size_t i = 0; i < sizeof(clients) / sizeof(clients[0]); i++)
        if (!cloud_conversion_allow(rig.conversion, &clients[i]))
            return -1;
    return 0;
}

static int tear_down(void **state)
{
    cloud_conversion_destroy(rig.conversion);
    cloud_vehicles_destroy(rig.vehicles);
    return 0;
}

static int ask(const char *token, const char *method, const char *path, const char *body)
{
    return cloud_conversion_handle(rig.conversion, rig.now_us, NOW_S + rig.now_us / US_PER_S, span_text(token), method,
                                   path, span_text(body), rig.out, sizeof(rig.out), &rig.length, &rig.retry_after_s);
}

static int ask_vin(const char *token, uint32_t number)
{
    char body[96];
    snprintf(body, sizeof(body), "{\"referenceId\":\"car-%u\"}", number);
    return ask(token, "POST", "/v1/vin", body);
}

static int ask_reference(const char *token, uint32_t number)
{
    char body[96];
    snprintf(body, sizeof(body), "{\"vin\":\"%s\"}", vin_of(number));
    return ask(token, "POST", "/v1/reference", body);
}

static void expect_answer(const char *name, const char *value)
{
    assert_int_equal(rig.length, strlen(rig.out));
    cJSON *object = cJSON_Parse(rig.out);
    assert_int_equal(cJSON_GetArraySize(object), 1);
    assert_string_equal(cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, name)), value);
    cJSON_Delete(object);
}

/* A refusal says so, without a word of what was asked. */
static void expect_refusal(int status, int expected)
{
    assert_int_equal(status, expected);
    assert_int_equal(strncmp(rig.out, "{\"error\":\"", 10), 0);
    assert_int_equal(cloud_vin_find(span_of(rig.out, rig.length)), -1);
    assert_null(strstr(rig.out, "car-"));
}

static void both_ways(void **state)
{
    assert_int_equal(ask_reference("crm.s3cret.with.dots", 5), 200);
    expect_answer("referenceId", "car-5");
    assert_int_equal(ask_reference("Bearer crm.s3cret.with.dots", 7), 200);
    expect_answer("referenceId", "car-7");
    assert_int_equal(ask_vin("crm.s3cret.with.dots", 5), 200);
    expect_answer("vin", vin_of(5));
    struct cloud_vehicle v;
    char body[128] = "{\"vinHash\":\"";
    assert_true(cloud_vehicles_get(rig.vehicles, SPAN_LITERAL("car-9"), &v));
    for (int i = 0; i < 32; i++)
        snprintf(body + strlen(body), 3, "%02x", v.vin_hash[i]);
    strcat(body, "\"}");
    assert_int_equal(ask("crm.s3cret.with.dots", "POST", "/v1/reference", body), 200);
    expect_answer("referenceId", "car-9");
    assert_int_equal(ask_vin("police.third", 4), 200); /* every tenant's */
    assert_int_equal(ask_vin("police.third", 5), 200);
}

static void who_are_you(void **state)
{
    static const char *const wrong[] = {"",
                                        "crm",
                                        "crm.",
                                        ".",
                                        ".s3cret.with.dots",
                                        "crm.s3cret.with.dot",
                                        "crm.s3cret.with.dots.",
                                        "crm.another",
                                        "nobody.s3cret.with.dots",
                                        "CRM.s3cret.with.dots",
                                        "Bearer ",
                                        "Basic crm.s3cret.with.dots",
                                        "s3cret.with.dots"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        expect_refusal(ask_reference(wrong[i], 5), 401);
        expect_refusal(ask(wrong[i], "GET", "/elsewhere", ""), 401); /* nothing is said about what there is */
    }
    assert_int_equal(ask_reference("crm.s3cret.with.dots", 5), 200);
}

static void not_yours(void **state)
{
    expect_refusal(ask_vin("crm.s3cret.with.dots", 4), 404); /* another tenant's */
    char elsewhere[256];
    strcpy(elsewhere, rig.out);
    expect_refusal(ask_vin("crm.s3cret.with.dots", 999999), 404); /* nobody's: no difference to be seen */
    assert_string_equal(elsewhere, rig.out);
    expect_refusal(ask_reference("crm.s3cret.with.dots", 4), 404);
    expect_refusal(ask_reference("crm.s3cret.with.dots", 999999), 404);
    expect_refusal(ask_vin("shop.another", 4), 403); /* their own, but not this way */
    assert_int_equal(ask_reference("shop.another", 4), 200);
    expect_refusal(ask_reference("police.third", 4), 403);
    /* The vehicle is sold into another tenant: it goes with it. */
    assert_int_equal(cloud_vehicles_change_owner(rig.vehicles, NOW_S + 9, SPAN_LITERAL("car-4"), SPAN_LITERAL("north")),
                     CLOUD_VEHICLES_DONE);
    assert_int_equal(ask_vin("crm.s3cret.with.dots", 4), 200);
    expect_refusal(ask_reference("shop.another", 4), 404);
}

static void no_question(void **state)
{
    static const char *const bodies[] = {
        "",
        "{",
        "[]",
        "null",
        "\"vin\"",
        "{}",
        "{\"vin\":5}",
        "{\"vin\":\"\"}",
        "{\"vin\":\"1M8GDM9A1KP042788\"}",
        "{\"vin\":\"1m8gdm9axkp042788\"}",
        "{\"VIN\":\"1M8GDM9AXKP042788\"}",
        "{\"vin\":\"1M8GDM9AXKP042788\"} x",
        "{\"vinHash\":\"00\"}",
        "{\"vinHash\":\"000000000000000000000000000000000000000000000000000000000000000g\"}",
        "{\"vin\":\"1M8GDM9AXKP042788\","
        "\"vinHash\":\"0000000000000000000000000000000000000000000000000000000000000000\"}",
    };
    for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++)
        expect_refusal(ask("ops.fourth", "POST", "/v1/reference", bodies[i]), 400);
    expect_refusal(ask("ops.fourth", "POST", "/v1/vin", "{\"vin\":\"1M8GDM9AXKP042788\"}"), 400);
    expect_refusal(ask("ops.fourth", "POST", "/v1/vin", "{\"referenceId\":\"\"}"), 400);
    static char large[2000];
    memset(large, ' ', sizeof(large) - 1);
    memcpy(large, "{\"referenceId\":\"car-1\"}", 23);
    expect_refusal(ask("ops.fourth", "POST", "/v1/vin", large), 400);
    large[900] = 0;
    assert_int_equal(ask("ops.fourth", "POST", "/v1/vin", large), 200);
    expect_refusal(ask("ops.fourth", "GET", "/v1/vin", ""), 405);
    expect_refusal(ask("ops.fourth", "post", "/v1/vin", ""), 405);
    expect_refusal(ask("ops.fourth", "POST", "/v1/vins", "{}"), 404);
    expect_refusal(ask("ops.fourth", "POST", "/", "{}"), 404);
    size_t length;
    uint32_t retry;
    char small[8];
    assert_int_equal(cloud_conversion_handle(rig.conversion, 0, 0, SPAN_LITERAL("ops.fourth"), "POST", "/v1/vin",
                                             SPAN_LITERAL("{\"referenceId\":\"car-1\"}"), small, sizeof(small), &length,
                                             &retry),
                     500);
    assert_int_equal(length, 0);
}

static void clients_that_cannot_be(void **state)
{
    static const struct cloud_conversion_client wrong[] = {
        {NULL, "s", "t", 1, true, true},
        {"", "s", "t", 1, true, true},
        {"a.b", "s", "t", 1, true, true},
        {"a", NULL, "t", 1, true, true},
        {"a", "", "t", 1, true, true},
        {"a", "s", NULL, 1, true, true},
        {"a", "s", "", 1, true, true},
        {"a", "s", "t", 0, true, true},
        {"a", "s", "t", -1, true, true},
        {"a", "s", "t", 1e300, true, true},
        {"a", "s", "t", 1e-30, true, true},
        {"a name of thirty-two characters.", "s", "t", 1, true, true},
        {"a", "s", "a tenant of thirty-two chars....", 1, true, true},
    };
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        if (cloud_conversion_allow(rig.conversion, &wrong[i]))
            fail_msg("case %zu", i);
    struct cloud_conversion_client changed = {"crm", "new", "south", 60, true, true};
    assert_true(cloud_conversion_allow(rig.conversion, &changed));
    expect_refusal(ask_vin("crm.s3cret.with.dots", 5), 401);
    expect_refusal(ask_vin("crm.new", 5), 404);
    assert_int_equal(ask_vin("crm.new", 6), 200);
}

/* ---- rate --------------------------------------------------------------------------------------------------------- */

static void a_burst_of_a_thousand(void **state)
{
    char names[4][32];
    struct cloud_conversion_record *records = calloc(2000, sizeof(*records));
    uint64_t total;
    uint32_t allowed = 0, refused = 0;
    for (uint32_t i = 0; i < 1000; i++) {
        int status = ask_vin("crm.s3cret.with.dots", 2 * i + 1);
        if (status == 200) {
            assert_int_equal(refused, 0); /* the first sixty, then none */
            allowed++;
        } else {
            expect_refusal(status, 429);
            assert_int_equal(rig.retry_after_s, 1);
            refused++;
        }
    }
    assert_int_equal(allowed, 60);
    assert_int_equal(refused, 940);
    assert_int_equal(cloud_conversion_audit(rig.conversion, records, 2000, &total), 1000);
    assert_int_equal(total, 1000);
    for (uint32_t i = 0; i < 1000; i++) {
        char reference[64] = "";
        if (i < 60)
            snprintf(reference, sizeof(reference), "car-%u", 2 * i + 1);
        assert_string_equal(records[i].client, "crm");
        assert_string_equal(records[i].direction, "to-vin");
        assert_string_equal(records[i].reference, reference);
        assert_int_equal(records[i].status, i < 60 ? 200 : 429);
        assert_int_equal(records[i].at_s, NOW_S + rig.now_us / US_PER_S);
    }
    assert_int_equal(cloud_vin_find(span_of(records, 2000 * sizeof(*records))), -1);
    assert_int_equal(cloud_conversion_suspects(rig.conversion, rig.now_us, names, 4), 1);
    assert_string_equal(names[0], "crm");
    assert_int_equal(ask_reference("shop.another", 2), 200); /* others are served */
    assert_int_equal(cloud_conversion_suspects(rig.conversion, rig.now_us + 50 * US_PER_MIN, names, 4), 1);
    assert_int_equal(cloud_conversion_suspects(rig.conversion, rig.now_us + 61 * US_PER_MIN, names, 4), 0);
    free(records);
}

/* The bucket fills as said: after retry_after_s one is let in, and the next is refused again. */
static void it_fills_steadily(void **state)
{
    while (ask_vin("crm.s3cret.with.dots", 1) == 200)
        ;
    for (int i = 0; i < 100; i++) {
        assert_int_equal(rig.retry_after_s, 1);
        rig.now_us += US_PER_S * rig.retry_after_s;
        assert_int_equal(ask_vin("crm.s3cret.with.dots", 1), 200);
        assert_int_equal(rig.retry_after_s, 0);
        assert_int_equal(ask_vin("crm.s3cret.with.dots", 1), 429);
    }
    rig.now_us += US_PER_HOUR; /* no more than one minute's worth is kept */
    uint32_t allowed = 0;
    while (ask_vin("crm.s3cret.with.dots", 1) == 200)
        allowed++;
    assert_int_equal(allowed, 60);
    static const double rates[] = {0.5, 1, 2, 7, 59, 600, 12345};
    for (size_t i = 0; i < sizeof(rates) / sizeof(rates[0]); i++) {
        struct cloud_conversion_client client = {"rated", "x", "*", rates[i], true, true};
        assert_true(cloud_conversion_allow(rig.conversion, &client));
        for (allowed = 0; ask_vin("rated.x", 1) == 200; allowed++)
            ;
        assert_int_equal(allowed, rates[i] < 1 ? 1 : (uint32_t)rates[i]);
        assert_in_range(rig.retry_after_s, 1, 120);
        rig.now_us += US_PER_S * rig.retry_after_s;
        assert_int_equal(ask_vin("rated.x", 1), 200);
    }
}

static void one_who_hurries_is_no_suspect(void **state)
{
    char names[4][32];
    for (int i = 0; i < 69; i++)
        ask_vin("crm.s3cret.with.dots", 1); /* nine too many */
    assert_int_equal(cloud_conversion_suspects(rig.conversion, rig.now_us, names, 4), 0);
    for (int i = 0; i < 300; i++)
        ask_vin("crm.wrong", 1); /* somebody else's guesses are not his */
    assert_int_equal(cloud_conversion_suspects(rig.conversion, rig.now_us, names, 4), 0);
    ask_vin("crm.s3cret.with.dots", 1);
    assert_int_equal(cloud_conversion_suspects(rig.conversion, rig.now_us, names, 4), 1);
    assert_int_equal(cloud_conversion_suspects(rig.conversion, rig.now_us, NULL, 0), 1);
}

/* ---- audit -------------------------------------------------------------------------------------------------------- */

static void everything_is_written_down(void **state)
{
    static const struct {
        const char *token, *path, *client, *direction, *reference;
        uint32_t number;
        int status;
    } cases[] = {
        {"crm.s3cret.with.dots", "/v1/vin", "crm", "to-vin", "car-5", 5, 200},
        {"crm.s3cret.with.dots", "/v1/vin", "crm", "to-vin", "car-4", 4, 404}, /* who tried whose is written down */
        {"crm.s3cret.with.dots", "/v1/vin", "crm", "to-vin", "", 123456, 404},
        {"crm.wrong", "/v1/vin", "crm", "to-vin", "", 5, 401},
        {"nobody.wrong", "/v1/vin", "", "to-vin", "", 5, 401},
        {"shop.another", "/v1/vin", "shop", "to-vin", "", 4, 403},
        {"shop.another", "/v1/reference", "shop", "to-reference", "", 4, 400},
        {"shop.another", "/elsewhere", "shop", "", "", 4, 404},
    };
    enum { CASES = sizeof(cases) / sizeof(cases[0]) };
    struct cloud_conversion_record records[CASES];
    uint64_t total;
    for (size_t i = 0; i < CASES; i++) {
        char body[96];
        snprintf(body, sizeof(body), "{\"referenceId\":\"car-%u\"}", cases[i].number);
        rig.now_us += US_PER_S;
        assert_int_equal(ask(cases[i].token, "POST", cases[i].path, body), cases[i].status);
    }
    assert_int_equal(cloud_conversion_audit(rig.conversion, records, CASES, &total), CASES);
    assert_int_equal(total, CASES);
    for (size_t i = 0; i < CASES; i++) {
        assert_string_equal(records[i].client, cases[i].client);
        assert_string_equal(records[i].direction, cases[i].direction);
        assert_string_equal(records[i].reference, cases[i].reference);
        assert_int_equal(records[i].status, cases[i].status);
        assert_true(i == 0 || records[i].at_s == records[i - 1].at_s + 1);
    }
}

/* The latest are kept, all are counted, whatever the moment. */
static void the_log_is_a_ring(void **state)
{
    static struct cloud_conversion_record records[CLOUD_CONVERSION_AUDIT_MAX + 10];
    for (uint32_t i = 0; i < 2 * CLOUD_CONVERSION_AUDIT_MAX + 77; i++) {
        uint64_t total;
        rig.now_us += US_PER_S;
        assert_int_equal(ask_vin("ops.fourth", i % 2000), 200);
        if (i % 97 && i != CLOUD_CONVERSION_AUDIT_MAX && i != CLOUD_CONVERSION_AUDIT_MAX - 1)
            continue;
        uint32_t kept = i + 1 < CLOUD_CONVERSION_AUDIT_MAX ? i + 1 : CLOUD_CONVERSION_AUDIT_MAX;
        assert_int_equal(cloud_conversion_audit(rig.conversion, records, sizeof(records) / sizeof(records[0]), &total),
                         kept);
        assert_int_equal(total, i + 1);
        for (uint32_t r = 0; r < kept; r++) {
            char reference[64];
            snprintf(reference, sizeof(reference), "car-%u", (i - (kept - 1) + r) % 2000);
            assert_string_equal(records[r].reference, reference);
        }
        assert_int_equal(cloud_conversion_audit(rig.conversion, records, 1, NULL), 1); /* the latest of all */
        char latest[64];
        snprintf(latest, sizeof(latest), "car-%u", i % 2000);
        assert_string_equal(records[0].reference, latest);
    }
}

/* A figure, not a test of this machine: only that all of them are answered. */
static void how_fast(void **state)
{
    enum { COUNT = 20000 };
    struct timespec begin, end;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &begin);
    for (uint32_t i = 0; i < COUNT; i++) {
        rig.now_us += 100;
        assert_int_equal(i % 2 ? ask_vin("ops.fourth", i % 2000) : ask_reference("ops.fourth", i % 2000), 200);
    }
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &end);
    double seconds = (double)(end.tv_sec - begin.tv_sec) + (double)(end.tv_nsec - begin.tv_nsec) / 1e9;
    print_message("%.0f conversions a second\n", COUNT / seconds);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(both_ways, set_up, tear_down),
        cmocka_unit_test_setup_teardown(who_are_you, set_up, tear_down),
        cmocka_unit_test_setup_teardown(not_yours, set_up, tear_down),
        cmocka_unit_test_setup_teardown(no_question, set_up, tear_down),
        cmocka_unit_test_setup_teardown(clients_that_cannot_be, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_burst_of_a_thousand, set_up, tear_down),
        cmocka_unit_test_setup_teardown(it_fills_steadily, set_up, tear_down),
        cmocka_unit_test_setup_teardown(one_who_hurries_is_no_suspect, set_up, tear_down),
        cmocka_unit_test_setup_teardown(everything_is_written_down, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_log_is_a_ring, set_up, tear_down),
        cmocka_unit_test_setup_teardown(how_fast, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
