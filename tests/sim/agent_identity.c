/* From nothing to an operational certificate, whatever fails on the way, the power included. */
#include "agent_world.h"

static struct world *bare(uint64_t seed)
{
    struct world *w = world_new(seed);
    w->profile.provisioning = TCU_PROVISION_CERTIFICATE_BROKER;
    return w;
}

static void provisions_and_survives_the_refused_first_connect(void **state)
{
    for (unsigned silent = 0; silent < 2; silent++) {
        struct world *w = bare(1 + silent);
        *(silent ? &w->refuse_silently : &w->refuse) = 1;
        w->refuse_reason = MQ5_NOT_AUTHORIZED;
        world_begin(w);
        world_start(w, TCU_DRIVING);
        assert_int_equal(tcu_connection(w->tcu), TCU_PROVISIONING);
        world_run(w, 35 * US_PER_S);
        assert_int_equal(tcu_connection(w->tcu), TCU_ONLINE);
        assert_int_equal(w->http_identity, TCU_ATTESTATION);
        assert_int_equal(w->identity, TCU_OPERATIONAL);
        assert_int_equal(w->keys, 1);
        assert_int_equal(w->requests, 1);
        assert_int_equal(w->connects, 2);
        assert_int_equal(w->probes.count[TCU_PROBE_KEY_READY], 1);
        assert_int_equal(w->probes.count[TCU_PROBE_CERTIFICATE_STORED], 1);
        assert_int_equal(w->probes.count[TCU_PROBE_REFUSED], 1);
        assert_int_equal(w->probes.reason[TCU_PROBE_REFUSED], silent ? 0 : MQ5_NOT_AUTHORIZED);
        assert_int_equal(w->probes.count[TCU_PROBE_PROVISIONED], 1);
        assert_memory_equal(w->store[TCU_STORE_OPERATIONAL_CERTIFICATE].data, "certificate", 11);
        world_check_delivered(w); /* what was measured meanwhile has arrived too */
        assert_true(w->received[1]);
        world_cut_link(w);
        world_run(w, 10 * US_PER_S);
        assert_int_equal(w->probes.count[TCU_PROBE_PROVISIONED], 1);
        world_end(w);
    }
}

static void an_identity_in_the_store_is_used(void **state)
{
    struct world *w = bare(3);
    w->store[TCU_STORE_OPERATIONAL_CERTIFICATE].length = TCU_STORE_MAX;
    world_begin(w);
    world_start(w, TCU_DRIVING);
    world_run(w, 5 * US_PER_S);
    assert_int_equal(tcu_connection(w->tcu), TCU_ONLINE);
    assert_int_equal(w->keys, 0);
    assert_int_equal(w->identity, TCU_OPERATIONAL);
    assert_int_equal(w->probes.count[TCU_PROBE_PROVISIONED], 0);
    world_end(w);
}

static void failures_are_retried_with_a_fresh_key(void **state)
{
    struct world *w = bare(4);
    w->key_failures = 2;
    w->http_failures = 3;
    w->http_status = 503;
    world_begin(w);
    world_start(w, TCU_DRIVING);
    world_run(w, 120 * US_PER_S);
    assert_int_equal(tcu_connection(w->tcu), TCU_ONLINE);
    assert_int_equal(w->keys, 6);
    assert_int_equal(w->requests, 4);
    assert_int_equal(w->probes.count[TCU_PROBE_PROVISIONING_FAILED], 5);
    assert_int_equal(w->probes.last_number[TCU_PROBE_PROVISIONING_FAILED], 503);
    world_end(w);
}

static void a_silent_certificate_broker_times_out(void **state)
{
    struct world *w = bare(5);
    w->http_silent = true;
    world_begin(w);
    world_start(w, TCU_DRIVING);
    world_run(w, 15 * US_PER_S + 400 * US_PER_MS);
    assert_int_equal(tcu_connection(w->tcu), TCU_WAITING);
    assert_int_equal(w->probes.count[TCU_PROBE_PROVISIONING_FAILED], 1);
    tcu_http_response(w->tcu, w->now_us, 200, SPAN_LITERAL("late")); /* for a key that is gone */
    assert_int_equal(w->store[TCU_STORE_OPERATIONAL_CERTIFICATE].length, 0);
    w->http_silent = false;
    world_run(w, 60 * US_PER_S);
    assert_int_equal(tcu_connection(w->tcu), TCU_ONLINE);
    tcu_csr_ready(w->tcu, w->now_us, SPAN_LITERAL("late"));
    tcu_http_response(w->tcu, w->now_us, 500, SPAN_LITERAL(""));
    assert_int_equal(tcu_connection(w->tcu), TCU_ONLINE);
    world_end(w);
}

/* While the key is made, an answer to an earlier request is nobody's; while the request is out, so is another CSR. */
static void answers_out_of_turn_are_ignored(void **state)
{
    struct world *w = bare(6);
    world_begin(w);
    world_start(w, TCU_DRIVING);
    tcu_http_response(w->tcu, w->now_us, 200, SPAN_LITERAL("early"));
    assert_int_equal(tcu_connection(w->tcu), TCU_PROVISIONING);
    assert_int_equal(w->store[TCU_STORE_OPERATIONAL_CERTIFICATE].length, 0);
    world_run(w, 400 * US_PER_MS);
    tcu_csr_ready(w->tcu, w->now_us, SPAN_LITERAL("again"));
    assert_int_equal(w->requests, 1);
    world_run(w, 20 * US_PER_S);
    assert_int_equal(tcu_connection(w->tcu), TCU_ONLINE);
    world_end(w);
}

static void unusable_answers_are_failures(void **state)
{
    static uint8_t huge[TCU_STORE_MAX + 1];
    struct world *w = bare(7);
    w->http_silent = true;
    world_begin(w);
    for (unsigned i = 0; i < 4; i++) {
        static const int statuses[] = {200, 200, 0, 401};
        world_start(w, TCU_DRIVING);
        while (tcu_connection(w->tcu) != TCU_PROVISIONING || w->requests == i)
            assert_true(world_step(w, INT64_C(10000) * US_PER_S));
        tcu_http_response(w->tcu, w->now_us, statuses[i], span_of(huge, i == 0 ? 0 : sizeof(huge)));
        assert_int_equal(tcu_connection(w->tcu), TCU_WAITING);
        assert_int_equal(w->probes.last_number[TCU_PROBE_PROVISIONING_FAILED], statuses[i]);
        assert_int_equal(w->store[TCU_STORE_OPERATIONAL_CERTIFICATE].length, 0);
    }
    tcu_stop(w->tcu, w->now_us); /* also in the middle of it all */
    world_end(w);
}

static void a_store_that_fails_does_not_connect(void **state)
{
    struct world *w = bare(8);
    w->store_fails = true;
    world_begin(w);
    world_start(w, TCU_DRIVING);
    world_run(w, 60 * US_PER_S);
    assert_int_equal(w->connects, 0);
    assert_true(w->probes.count[TCU_PROBE_PROVISIONING_FAILED] > 1);
    w->store_fails = false;
    world_run(w, 120 * US_PER_S);
    assert_int_equal(tcu_connection(w->tcu), TCU_ONLINE);
    world_end(w);
}

/* The power goes at the k-th write, just before it lasts or just after, for every k there is, commands being
 * executed meanwhile. */
static void power_cut_at_every_store_write(void **state)
{
    unsigned writes = 0, interrupted = 0;
    for (unsigned cut = 1; cut <= 64; cut++) {
        for (unsigned before = 0; before < 2; before++) {
            struct world *w = bare(100 + cut);
            w->refuse_silently = 1;
            w->cut_at_write = cut;
            w->cut_before_write = before;
            world_begin(w);
            world_start(w, TCU_DRIVING);
            for (uint32_t second = 0; second < 120; second++) {
                world_run(w, US_PER_S);
                if (second >= 40 && second < 80 && second % 5 == 0)
                    world_command(w, second); /* the application asks twice for each */
                if (second >= 43 && second < 83 && second % 5 == 3)
                    world_command(w, second - 3);
            }
            world_run(w, 5 * US_PER_S);
            assert_int_equal(tcu_connection(w->tcu), TCU_ONLINE);
            assert_int_equal(w->identity, TCU_OPERATIONAL);
            assert_int_equal(w->store[TCU_STORE_OPERATIONAL_CERTIFICATE].length, 11);
            assert_true(w->probes.count[TCU_PROBE_PROVISIONED] >= 1 || cut <= w->store_writes);
            unsigned failed = 0;
            for (uint32_t number = 40; number < 80; number += 5) {
                bool succeeded = strcmp(w->status[number], "succeeded") == 0;
                assert_true(w->answered[number] > 0);
                assert_true(succeeded || strcmp(w->status[number], "failed") == 0);
                assert_true(!succeeded || w->executed[number] == 1);
                failed += !succeeded;
            }
            assert_in_range(failed, 0, 1); /* the one that was under way */
            interrupted += failed;
            writes = w->store_writes > writes ? w->store_writes : writes;
            world_end(w);
        }
    }
    assert_in_range(writes, 15, 64); /* every one of them has been cut */
    assert_true(interrupted > 0);
}

/* A worn or foreign state item is no reason not to start. */
static void an_unreadable_state_is_as_none(void **state)
{
    static const uint8_t lengths[] = {1, 5, 79, 200};
    for (unsigned i = 0; i < sizeof(lengths); i++) {
        struct world *w = bare(9);
        w->store[TCU_STORE_STATE].length = lengths[i];
        memset(w->store[TCU_STORE_STATE].data, 0xFF, lengths[i]);
        world_begin(w);
        world_start(w, TCU_DRIVING);
        world_run(w, 30 * US_PER_S);
        assert_int_equal(tcu_connection(w->tcu), TCU_ONLINE);
        assert_true(w->received[1]);
        world_end(w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(provisions_and_survives_the_refused_first_connect),
        cmocka_unit_test(an_identity_in_the_store_is_used),
        cmocka_unit_test(failures_are_retried_with_a_fresh_key),
        cmocka_unit_test(a_silent_certificate_broker_times_out),
        cmocka_unit_test(answers_out_of_turn_are_ignored),
        cmocka_unit_test(unusable_answers_are_failures),
        cmocka_unit_test(a_store_that_fails_does_not_connect),
        cmocka_unit_test(power_cut_at_every_store_write),
        cmocka_unit_test(an_unreadable_state_is_as_none),
    };
    return world_both(tests);
}
