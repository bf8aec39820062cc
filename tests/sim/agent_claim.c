/* From a claim certificate, which a whole lot shares, to an identity of the vehicle's own. */
#include "agent_cloud.h"

static struct world *unclaimed(struct cloud *cloud, uint64_t seed, const char *reserved)
{
    struct world *w = cloud_new_vehicle(seed, cloud, reserved);
    w->connected = false;
    return w;
}

static size_t serial_number(void *context, char *out, size_t capacity)
{
    return (size_t)snprintf(out, capacity, "SERIAL-7");
}

static void check_claimed(struct world *w)
{
    struct cloud *cloud = cloud_of(w);
    unsigned current = cloud_check_end(w);
    assert_int_equal(w->identity, TCU_OPERATIONAL);
    assert_int_equal(w->probes.count[TCU_PROBE_PROVISIONED], 1);
    assert_int_equal(cloud->announcements, 1);
    assert_string_equal(cloud->announced, cloud->certificates[current].id);
    world_check_delivered(w);
}

static void claims(void **state)
{
    for (unsigned kind = 0; kind < 8; kind++) {
        struct cloud cloud;
        struct world *w = unclaimed(&cloud, 20 + kind, kind & 1 ? "convoy/%/" : "$aws/");
        w->profile.server_key = kind & 2;
        w->profile.mqtt.version = kind & 4 ? MQ5_V311 : MQ5_V5;
        snprintf(w->profile.topics.presence, sizeof(w->profile.topics.presence), "presence/%%");
        if (kind & 1)
            w->port.device = serial_number;
        world_begin(w);
        world_start(w, TCU_DRIVING);
        while (w->probes.count[TCU_PROBE_CLAIM_ONLINE] == 0)
            assert_true(world_step(w, 60 * US_PER_S));
        world_run(w, 30 * US_PER_MS);
        assert_int_equal(w->identity, TCU_CLAIM);
        assert_true(w->clean_start);
        assert_false(w->will);
        assert_int_equal(w->subscribes, kind & 1);
        if (kind & 1)
            assert_string_equal(w->filters[0], "convoy/VIN-0001/#");
        assert_int_equal(w->received[1], 0); /* no telemetry over it */
        assert_int_equal(w->probes.count[TCU_PROBE_ONLINE], 0);
        world_run(w, 10 * US_PER_S);
        check_claimed(w);
        assert_true(w->received[1]); /* but what was measured meanwhile arrives */
        assert_int_equal(w->connects, 2);
        assert_int_equal(w->keys, kind & 2 ? 0 : 1);
        assert_int_equal(w->probes.count[TCU_PROBE_CLAIM_ONLINE], 1);
        assert_int_equal(w->probes.count[TCU_PROBE_ONLINE], 1);
        assert_int_equal(w->probes.count[TCU_PROBE_OFFLINE], 0);
        assert_int_equal(w->probes.count[TCU_PROBE_KEY_READY], kind & 2 ? 0 : 1);
        assert_int_equal(w->probes.count[TCU_PROBE_CERTIFICATE_STORED], 1);
        assert_int_equal(w->probes.steps[TCU_STEP_SWITCHED], 1);
        assert_int_equal(w->filter_count, 2);
        world_power_cut(w);
        world_start(w, TCU_DRIVING);
        world_run(w, 60 * US_PER_S);
        assert_int_equal(w->identity, TCU_OPERATIONAL); /* never again by claim */
        assert_int_equal(w->probes.count[TCU_PROBE_CLAIM_ONLINE], 1);
        struct cloud_job *job = cloud_rotate(w);
        world_run(w, 60 * US_PER_S);
        assert_int_equal(job->state, JOB_SUCCEEDED);
        assert_int_equal(cloud_check_end(w), 1);
        world_end(w);
    }
}

static void denied_it_asks_again(void **state)
{
    struct cloud cloud;
    struct world *w = unclaimed(&cloud, 31, "$aws/");
    cloud.deny = 4;
    world_begin(w);
    world_start(w, TCU_DRIVING);
    world_run(w, 200 * US_PER_S);
    check_claimed(w);
    assert_int_equal(w->keys, 5);
    assert_int_equal(w->probes.count[TCU_PROBE_PROVISIONING_FAILED], 4);
    assert_int_equal(w->probes.last_number[TCU_PROBE_PROVISIONING_FAILED], 400);
    world_end(w);
}

/* Granted, but the cloud does not take it: there is nothing to go back to, so it claims again. */
static void refused_it_claims_again(void **state)
{
    struct cloud cloud;
    struct world *w = unclaimed(&cloud, 32, "$aws/");
    cloud.never_activate = true;
    world_begin(w);
    world_start(w, TCU_DRIVING);
    while (w->probes.count[TCU_PROBE_CLAIM_ONLINE] < 2)
        assert_true(world_step(w, 300 * US_PER_S));
    assert_int_equal(w->probes.count[TCU_PROBE_REFUSED], 3);
    cloud.never_activate = false;
    world_run(w, 100 * US_PER_S);
    check_claimed(w);
    assert_int_equal(w->probes.steps[TCU_STEP_RESTARTED], 1);
    world_end(w);
}

static void answers_lost_and_links_cut(void **state)
{
    for (unsigned kind = 0; kind < 3; kind++)
        for (unsigned at = 1; at <= 4; at++) {
            struct cloud cloud;
            struct world *w = unclaimed(&cloud, 33, kind == 1 ? "convoy/%/" : "$aws/");
            *(kind == 0 ? &cloud.lose_answer : kind == 1 ? &cloud.ignore_request : &cloud.cut_at) = at;
            world_begin(w);
            world_start(w, TCU_DRIVING);
            world_run(w, 300 * US_PER_S);
            cloud_check_end(w);
            assert_int_equal(w->probes.count[TCU_PROBE_PROVISIONED], 1);
            world_check_delivered(w);
            world_end(w);
        }
}

static void no_memory_for_a_while(void **state)
{
    struct cloud cloud;
    struct world *w = unclaimed(&cloud, 34, "$aws/");
    w->no_memory = world_on_demand;
    world_begin(w);
    world_start(w, TCU_DRIVING);
    world_run(w, 30 * US_PER_S);
    if (world_on_demand)
        assert_int_equal(cloud.requests, 0);
    w->no_memory = false;
    world_run(w, 100 * US_PER_S);
    cloud_check_end(w);
    assert_int_equal(w->probes.count[TCU_PROBE_PROVISIONED], 1);
    world_end(w);
}

static void not_announced_where_nobody_listens(void **state)
{
    struct cloud cloud;
    struct world *w = unclaimed(&cloud, 35, "$aws/");
    w->profile.topics.active[0] = 0;
    world_begin(w);
    world_start(w, TCU_DRIVING);
    world_run(w, 30 * US_PER_S);
    cloud_check_end(w);
    assert_int_equal(cloud.announcements, 0);
    world_end(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(claims),
        cmocka_unit_test(denied_it_asks_again),
        cmocka_unit_test(refused_it_claims_again),
        cmocka_unit_test(answers_lost_and_links_cut),
        cmocka_unit_test(no_memory_for_a_while),
        cmocka_unit_test(not_announced_where_nobody_listens),
    };
    return world_both(tests);
}
