/* The SMS gateway: latency, absence and its schedule, the device seen again, loss, repetition, validity, limits, calls from inside deliver(). */
#include "cloud/sms.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

struct rig {
    struct cloud_sms *sms;
    int64_t latency_us, now_us;
    uint32_t chance, delivered, reports;
    bool absent, attach_inside, submit_inside;
    char last[200];
    int64_t at_us[32];
    enum cloud_sms_end end;
    uint64_t token;
};

static int64_t latency(void *context)
{
    return ((struct rig *)context)->latency_us;
}

static uint32_t chance(void *context)
{
    return ((struct rig *)context)->chance;
}

static enum cloud_sms_attempt deliver(void *context, int64_t now_us, struct span thing, struct span text)
{
    struct rig *rig = context;
    assert_true(rig->delivered < 32);
    rig->at_us[rig->delivered++] = now_us;
    snprintf(rig->last, sizeof rig->last, "%.*s:%.*s", (int)thing.length, (const char *)thing.data, (int)text.length,
             (const char *)text.data);
    if (rig->attach_inside)
        cloud_sms_attached(rig->sms, now_us, thing);
    if (rig->submit_inside) {
        rig->submit_inside = false;
        for (uint64_t i = 0; i < 20; i++) /* the table grows meanwhile */
            assert_true(cloud_sms_submit(rig->sms, now_us, SPAN_LITERAL("V2"), SPAN_LITERAL("x"), 100 + i));
    }
    return rig->absent ? CLOUD_SMS_ABSENT : CLOUD_SMS_TAKEN;
}

static void report(void *context, int64_t now_us, uint64_t token, enum cloud_sms_end end, int64_t submitted_us)
{
    struct rig *rig = context;
    rig->reports++;
    rig->end = end;
    rig->token = token;
    assert_true(submitted_us <= now_us);
}

static struct cloud_sms_options options_of(struct rig *rig)
{
    *rig = (struct rig){.latency_us = 4 * US_PER_S, .chance = 999999};
    return (struct cloud_sms_options){
        .latency_us = latency, .chance = chance, .deliver = deliver, .report = report, .context = rig};
}

static void open_rig(struct rig *rig, const struct cloud_sms_options *options)
{
    rig->sms = cloud_sms_create(options);
    assert_non_null(rig->sms);
    assert_true(cloud_sms_next_deadline(rig->sms) == TIME_NEVER);
    assert_true(cloud_sms_bytes(rig->sms) <= 4096);
}

static bool submit(struct rig *rig, int64_t now_us, uint64_t token)
{
    return cloud_sms_submit(rig->sms, now_us, SPAN_LITERAL("V1"), SPAN_LITERAL("wake"), token);
}

/* To the end of everything, deadline by deadline. */
static void run_out(struct rig *rig)
{
    for (int64_t at_us; (at_us = cloud_sms_next_deadline(rig->sms)) != TIME_NEVER;)
        cloud_sms_tick(rig->sms, at_us);
}

static struct cloud_sms_counts counts(const struct rig *rig)
{
    struct cloud_sms_counts out;
    cloud_sms_count(rig->sms, &out);
    return out;
}

static void arrives_after_its_latency(void **state)
{
    struct rig rig;
    struct cloud_sms_options options = options_of(&rig);
    open_rig(&rig, &options);
    assert_true(submit(&rig, US_PER_S, 7));
    assert_true(cloud_sms_next_deadline(rig.sms) == 5 * US_PER_S);
    cloud_sms_tick(rig.sms, 5 * US_PER_S - 1);
    assert_int_equal(rig.delivered, 0);
    cloud_sms_attached(rig.sms, 2 * US_PER_S, SPAN_LITERAL("V1")); /* what is under way is not faster for it */
    cloud_sms_tick(rig.sms, 5 * US_PER_S);
    assert_int_equal(rig.delivered, 1);
    assert_string_equal(rig.last, "V1:wake");
    assert_int_equal(rig.reports, 1);
    assert_int_equal(rig.end, CLOUD_SMS_DELIVERED);
    assert_int_equal(rig.token, 7);
    assert_int_equal(counts(&rig).delivered, 1);
    assert_int_equal(counts(&rig).waiting, 0);
    assert_true(cloud_sms_next_deadline(rig.sms) == TIME_NEVER);
    cloud_sms_destroy(rig.sms);
}

static void tries_again_on_its_schedule(void **state)
{
    struct rig rig;
    struct cloud_sms_options options = options_of(&rig);
    options.retry_us[0] = 10 * US_PER_S;
    options.retry_us[1] = 60 * US_PER_S;
    options.validity_us = 200 * US_PER_S;
    open_rig(&rig, &options);
    rig.absent = true;
    assert_true(submit(&rig, 0, 1));
    run_out(&rig);
    const int64_t expected_s[] = {4, 14, 74, 134, 194};
    assert_int_equal(rig.delivered, 5);
    for (int i = 0; i < 5; i++)
        assert_true(rig.at_us[i] == expected_s[i] * US_PER_S);
    assert_int_equal(rig.end, CLOUD_SMS_EXPIRED);
    assert_int_equal(counts(&rig).expired, 1);
    assert_int_equal(counts(&rig).attempts, 5);
    assert_int_equal(counts(&rig).waiting, 0);
    cloud_sms_destroy(rig.sms);
}

static void standard_schedule_and_a_day(void **state)
{
    struct rig rig;
    struct cloud_sms_options options = options_of(&rig);
    open_rig(&rig, &options);
    rig.absent = true;
    assert_true(submit(&rig, 0, 1));
    run_out(&rig);
    assert_true(rig.at_us[1] - rig.at_us[0] == US_PER_MIN);
    assert_true(rig.at_us[2] - rig.at_us[1] == 5 * US_PER_MIN);
    assert_true(rig.at_us[rig.delivered - 1] < US_PER_DAY);
    assert_true(rig.at_us[rig.delivered - 1] - rig.at_us[rig.delivered - 2] == 3 * US_PER_HOUR);
    assert_int_equal(counts(&rig).expired, 1);
    cloud_sms_destroy(rig.sms);
}

static void seen_again_is_tried_at_once(void **state)
{
    struct rig rig;
    struct cloud_sms_options options = options_of(&rig);
    open_rig(&rig, &options);
    rig.absent = true;
    assert_true(submit(&rig, 0, 1));
    assert_true(submit(&rig, 0, 2));
    cloud_sms_tick(rig.sms, 4 * US_PER_S);
    cloud_sms_attached(rig.sms, 6 * US_PER_S, SPAN_LITERAL("V2")); /* another */
    assert_true(cloud_sms_next_deadline(rig.sms) == 64 * US_PER_S);
    rig.absent = false;
    cloud_sms_attached(rig.sms, 7 * US_PER_S, SPAN_LITERAL("V1"));
    assert_true(cloud_sms_next_deadline(rig.sms) == 7 * US_PER_S);
    cloud_sms_tick(rig.sms, 7 * US_PER_S);
    assert_int_equal(counts(&rig).delivered, 2);
    run_out(&rig); /* what was to come a minute later finds nothing */
    assert_int_equal(counts(&rig).attempts, 4);
    cloud_sms_destroy(rig.sms);
}

/* Two waiting messages, each of which makes the device attach and is refused: time must go on. */
static void attaching_inside_comes_to_an_end(void **state)
{
    struct rig rig;
    struct cloud_sms_options options = options_of(&rig);
    options.validity_us = 20 * US_PER_MIN;
    open_rig(&rig, &options);
    rig.absent = rig.attach_inside = true;
    assert_true(submit(&rig, 0, 1));
    assert_true(submit(&rig, 1, 2));
    run_out(&rig);
    assert_int_equal(counts(&rig).expired, 2);
    cloud_sms_destroy(rig.sms);
}

static void submitting_inside(void **state)
{
    struct rig rig;
    struct cloud_sms_options options = options_of(&rig);
    open_rig(&rig, &options);
    rig.submit_inside = true;
    assert_true(submit(&rig, 0, 1));
    run_out(&rig);
    assert_int_equal(counts(&rig).submitted, 21);
    assert_int_equal(counts(&rig).delivered, 21);
    assert_int_equal(counts(&rig).waiting, 0);
    cloud_sms_destroy(rig.sms);
}

static void lost_without_a_word(void **state)
{
    struct rig rig;
    struct cloud_sms_options options = options_of(&rig);
    options.loss_ppm = 500000;
    open_rig(&rig, &options);
    rig.chance = 499999;
    assert_true(submit(&rig, 0, 1));
    run_out(&rig);
    assert_int_equal(rig.delivered, 0);
    assert_int_equal(rig.reports, 0);
    assert_int_equal(counts(&rig).lost, 1);
    rig.chance = 500000;
    assert_true(submit(&rig, 0, 2));
    rig.chance = 0; /* delivered, and its report is lost */
    run_out(&rig);
    assert_int_equal(rig.delivered, 1);
    assert_int_equal(rig.reports, 0);
    assert_int_equal(counts(&rig).delivered, 1);
    cloud_sms_destroy(rig.sms);
}

static void given_twice(void **state)
{
    struct rig rig;
    struct cloud_sms_options options = options_of(&rig);
    options.duplicate_ppm = 1;
    open_rig(&rig, &options);
    rig.chance = 0;
    assert_true(submit(&rig, 0, 1));
    run_out(&rig);
    assert_int_equal(rig.delivered, 2);
    assert_true(rig.at_us[1] == 8 * US_PER_S);
    assert_int_equal(rig.reports, 1);
    assert_int_equal(counts(&rig).delivered, 1);
    assert_int_equal(counts(&rig).duplicated, 1);
    cloud_sms_destroy(rig.sms);
}

static void limits(void **state)
{
    struct rig rig;
    struct cloud_sms_options options = options_of(&rig);
    options.waiting_maximum = 2;
    open_rig(&rig, &options);
    char text[CLOUD_SMS_BYTES + 1] = {0};
    assert_false(cloud_sms_submit(rig.sms, 0, SPAN_LITERAL("V1"), span_of(text, sizeof text), 1));
    assert_true(cloud_sms_submit(rig.sms, 0, SPAN_LITERAL("V1"), span_of(text, CLOUD_SMS_BYTES), 1));
    assert_true(cloud_sms_submit(rig.sms, 0, SPAN_LITERAL("V1"), (struct span){0}, 1));
    assert_false(submit(&rig, 0, 2));
    assert_int_equal(counts(&rig).submitted, 2);
    cloud_sms_destroy(rig.sms); /* with messages under way */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arrives_after_its_latency),
        cmocka_unit_test(tries_again_on_its_schedule),
        cmocka_unit_test(standard_schedule_and_a_day),
        cmocka_unit_test(seen_again_is_tried_at_once),
        cmocka_unit_test(attaching_inside_comes_to_an_end),
        cmocka_unit_test(submitting_inside),
        cmocka_unit_test(lost_without_a_word),
        cmocka_unit_test(given_twice),
        cmocka_unit_test(limits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
