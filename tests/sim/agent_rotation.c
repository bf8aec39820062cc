/* A change of identity by job, whatever goes wrong but the power: answers lost, late, twice or spoilt, the job cancelled, the link cut, the new
 * certificate refused, no network, no memory. */
#include "agent_cloud.h"

enum { REQUESTS_MAX = 12, RUN_S = 600 };

static struct world *begun(struct cloud *cloud)
{
    struct world *w = cloud_vehicle(3, cloud);
    world_begin(w);
    world_start(w, TCU_DRIVING);
    world_run(w, 3 * US_PER_S);
    assert_int_equal(w->filter_count, 2);
    assert_string_equal(w->filters[0], "cmd/VIN-0001/request");
    assert_string_equal(w->filters[1], "$aws/things/VIN-0001/jobs/notify-next");
    return w;
}

static void check_rotated(struct world *w, const struct cloud_job *job)
{
    unsigned current = cloud_check_end(w);
    assert_int_equal(job->state, JOB_SUCCEEDED);
    assert_true(current > 0);
    cloud_check_newest(w, current);
    assert_int_equal(w->probes.count[TCU_PROBE_ROTATION_ENDED], 1);
    assert_int_equal(w->probes.reason[TCU_PROBE_ROTATION_ENDED], 0);
    world_check_delivered(w);
}

static void rotates(void **state)
{
    struct cloud cloud;
    struct world *w = begun(&cloud);
    unsigned asked = cloud.requests;
    assert_int_equal(asked, 1); /* $next/get, once */
    struct cloud_job *job = cloud_rotate(w);
    world_run(w, 10 * US_PER_S);
    check_rotated(w, job);
    assert_int_equal(cloud.requests - asked, 5); /* start-next, create, provision, deactivate, update */
    assert_int_equal(w->keys, 2);
    assert_int_equal(cloud.certificate_count, 2);
    assert_int_equal(w->connects, 2);
    assert_int_equal(w->disconnects, 1);
    static const unsigned steps[TCU_STEPS] = {1, 1, 1, 1, 1, 1, 1, 0, 0};
    for (unsigned i = 0; i < TCU_STEPS; i++)
        assert_int_equal(w->probes.steps[i], steps[i]);
    assert_int_equal(w->probes.count[TCU_PROBE_KEY_READY], 0); /* that is provisioning's */
    assert_int_equal(w->probes.count[TCU_PROBE_PROVISIONED], 0);
    job = cloud_job(w, "rotate-2", job->document); /* and back into the first slot */
    world_run(w, 10 * US_PER_S);
    assert_int_equal(job->state, JOB_SUCCEEDED);
    assert_int_equal(cloud_check_end(w), 2);
    assert_int_equal(w->identity, TCU_OPERATIONAL);
    world_command(w, 7); /* commands are heard as before */
    world_run(w, US_PER_S);
    assert_int_equal(w->executed[7], 1);
    world_end(w);
}

/* Started by $next/get: the job came while the vehicle was away, without a session, or in the middle of the last one. */
static void a_job_that_was_not_notified_is_found(void **state)
{
    for (unsigned in_progress = 0; in_progress < 2; in_progress++) {
        struct cloud cloud;
        struct world *w = cloud_vehicle(4, &cloud);
        struct cloud_job *job = cloud_rotate(w);
        job->state = in_progress ? JOB_IN_PROGRESS : JOB_QUEUED;
        world_begin(w);
        world_start(w, TCU_DRIVING);
        world_run(w, 20 * US_PER_S);
        check_rotated(w, job);
        world_end(w);
    }
}

static void two_jobs_one_after_the_other(void **state)
{
    struct cloud cloud;
    struct world *w = begun(&cloud);
    struct cloud_job *first = cloud_rotate(w);
    struct cloud_job *second = cloud_job(w, "rotate-2", first->document);
    struct cloud_job *unknown = cloud_job(w, "odd", "{\"operation\":\"make-coffee\"}");
    struct cloud_job *third =
        cloud_job(w, "rotate-3", "{\"template\":\"rotation\",\"operation\":\"rotate-certificate\"}");
    world_run(w, 30 * US_PER_S);
    assert_int_equal(first->state, JOB_SUCCEEDED);
    assert_int_equal(second->state, JOB_SUCCEEDED);
    assert_int_equal(unknown->state, JOB_REJECTED);
    assert_int_equal(third->state, JOB_SUCCEEDED);
    assert_int_equal(cloud_check_end(w), 3);
    assert_int_equal(w->probes.count[TCU_PROBE_ROTATION_ENDED], 3);
    world_end(w);
}

/* Every answer is lost once; every request is lost once. */
static void lost_answers_and_requests(void **state)
{
    for (unsigned lost = 2; lost <= REQUESTS_MAX; lost++)
        for (unsigned request = 0; request < 2; request++) {
            struct cloud cloud;
            struct world *w = begun(&cloud);
            *(request ? &cloud.ignore_request : &cloud.lose_answer) = lost;
            struct cloud_job *job = cloud_rotate(w);
            world_run(w, RUN_S * US_PER_S);
            bool forever =
                request && cloud.deactivations == 0; /* acknowledged, and then lost in the cloud: nobody can tell */
            if (!forever)
                check_rotated(w, job);
            else
                assert_int_equal(job->state, JOB_SUCCEEDED);
            assert_int_equal(w->probes.steps[TCU_STEP_RESTARTED], 0);
            world_end(w);
        }
}

static void every_answer_twice(void **state)
{
    struct cloud cloud;
    struct world *w = begun(&cloud);
    cloud.twice = true;
    struct cloud_job *job = cloud_rotate(w);
    world_run(w, 60 * US_PER_S);
    check_rotated(w, job);
    assert_int_equal(cloud.certificate_count, 2);
    world_end(w);
}

/* "{}" is no spoilt answer to a question after jobs: it says that there are none. */
static void spoilt_answers(void **state)
{
    static const char *const spoilt[] = {
        "",
        "{",
        "[]",
        "null",
        "{\"a\":}",
        "{\"execution\":{\"jobId\":\"rotate-1\"}}",
        "{\"execution\":{\"jobId\":\"../x\",\"versionNumber\":1,\"status\":\"IN_PROGRESS\"}}",
        "{\"execution\":[],\"certificateId\":\"12\",\"certificatePem\":\"x\",\"certificateOwnershipToken\":\"y\"",
        "{\"certificateId\":\"12\",\"certificatePem\":\"x\",\"certificateOwnershipToken\":\"y\",\"execution\":7}",
        "{\"execution\":{\"jobId\":\"a\\ud800\"}}",
    };
    for (unsigned which = 2; which <= 5; which++)
        for (unsigned i = 0; i < sizeof(spoilt) / sizeof(spoilt[0]); i++) {
            struct cloud cloud;
            struct world *w = begun(&cloud);
            cloud.spoil_answer = which;
            cloud.spoilt = spoilt[i];
            struct cloud_job *job = cloud_rotate(w);
            world_run(w, RUN_S * US_PER_S);
            check_rotated(w, job);
            world_end(w);
        }
}

/* An answer cut at any length is none, and the whole one is asked for again. */
static void answers_cut_short(void **state)
{
    char whole[] =
        "{\"certificateId\":\"0000000000000000000000000000000000000000000000000000000000000abc\",\"certificatePem\":"
        "\"CVC1\\n\",\"certificateOwnershipToken\":\"t\"}";
    for (size_t length = 0; length < sizeof(whole) - 1; length += 3) {
        struct cloud cloud;
        struct world *w = begun(&cloud);
        char cut[sizeof(whole)];
        memcpy(cut, whole, length);
        cut[length] = 0;
        cloud.spoil_answer = 3;
        cloud.spoilt = cut;
        struct cloud_job *job = cloud_rotate(w);
        world_run(w, 100 * US_PER_S);
        check_rotated(w, job);
        world_end(w);
    }
}

static void the_link_cut_at_each_request(void **state)
{
    for (unsigned kind = 0; kind < 2; kind++)
        for (unsigned at = 1; at <= REQUESTS_MAX; at++) {
            struct cloud cloud;
            struct world *w = cloud_vehicle(5, &cloud);
            cloud.cut_at = at;
            world_begin(w);
            world_start(w, TCU_DRIVING);
            world_run(w, 3 * US_PER_S);
            if (kind) /* the server has forgotten us, too */
                w->forget_session = true;
            struct cloud_job *job = cloud_rotate(w);
            world_run(w, RUN_S * US_PER_S);
            check_rotated(w, job);
            world_end(w);
        }
}

/* Before the new certificate is tried the attempt is dropped; after that it stays. */
static void cancelled_at_each_request(void **state)
{
    unsigned dropped = 0, kept = 0;
    for (unsigned away = 0; away < 2; away++)
        for (unsigned at = 2; at <= 6; at++) {
            struct cloud cloud;
            struct world *w = begun(&cloud);
            cloud.cancel_at = at;
            cloud.cut_at = away ? at : 0;
            struct cloud_job *job = cloud_rotate(w);
            world_run(w, RUN_S * US_PER_S);
            assert_int_equal(job->state, JOB_CANCELED);
            unsigned current = cloud_check_end(w);
            dropped += current == 0;
            kept += current > 0;
            if (!away) /* else the word of it is lost with the link, and the vehicle hears at the end */
                assert_true(current == 0 ? at <= 4 : at > 4);
            world_check_delivered(w);
            job = cloud_job(w, "rotate-2", job->document); /* the next one is as good as the first */
            world_run(w, 60 * US_PER_S);
            assert_int_equal(job->state, JOB_SUCCEEDED);
            cloud_check_newest(w, cloud_check_end(w));
            world_end(w);
        }
    assert_true(dropped >= 4 && kept >= 4);
}

/* While the power is off as well: what the store says is under way is asked after first. */
static void cancelled_while_the_power_is_off(void **state)
{
    for (unsigned writes = 1; writes <= 4; writes++) {
        struct cloud cloud;
        struct world *w = begun(&cloud);
        struct cloud_job *job = cloud_rotate(w);
        unsigned before = w->store_writes;
        while (w->store_writes < before + writes)
            assert_true(world_step(w, w->now_us + US_PER_S));
        world_power_cut(w);
        w->forget_session = true;
        cloud.waiting_count = 0;
        w->session = false;
        cloud_cancel(w, job);
        w->now_us += 3600 * US_PER_S;
        world_start(w, TCU_DRIVING);
        world_run(w, 60 * US_PER_S);
        assert_int_equal(cloud_check_end(w), 0);
        assert_int_equal(w->probes.reason[TCU_PROBE_ROTATION_ENDED], 1);
        world_end(w);
    }
}

static void rolls_back(void **state)
{
    static const enum world_door doors[] = {WORLD_REFUSE, WORLD_CLOSE, WORLD_TLS_FAILS};
    for (unsigned version = 0; version < 2; version++)
        for (unsigned i = 0; i < 3; i++) {
            struct cloud cloud;
            struct world *w = cloud_vehicle(6, &cloud);
            w->profile.mqtt.version = version ? MQ5_V311 : MQ5_V5;
            cloud.never_activate = true;
            cloud.door = doors[i];
            w->profile.switch_attempts = (uint8_t)(i == 1 ? 5 : 0);
            world_begin(w);
            world_start(w, TCU_DRIVING);
            world_run(w, 3 * US_PER_S);
            struct cloud_job *job = cloud_rotate(w);
            world_run(w, 200 * US_PER_S);
            assert_int_equal(job->state, JOB_FAILED);
            assert_string_equal(job->reason, "new certificate refused");
            assert_int_equal(cloud_check_end(w), 0);
            assert_int_equal(cloud.deactivations, 0);
            assert_int_equal(w->probes.count[TCU_PROBE_REFUSED], i == 1 ? 5 : 3);
            assert_int_equal(w->probes.steps[TCU_STEP_ROLLED_BACK], 1);
            assert_int_equal(w->probes.reason[TCU_PROBE_ROTATION_ENDED], 1);
            world_check_delivered(w);
            world_end(w);
        }
}

/* No network while the new one is to be tried: however often, it is tried again. */
static void want_of_a_network_is_no_refusal(void **state)
{
    static const enum tcu_link_end ends[] = {TCU_LINK_LOST, TCU_LINK_RESOLVE_FAILED, TCU_LINK_CONNECT_FAILED};
    for (unsigned i = 0; i < 4; i++) {
        struct cloud cloud;
        struct world *w = begun(&cloud);
        struct cloud_job *job = cloud_rotate(w);
        while (w->probes.steps[TCU_STEP_REGISTERED] == 0)
            assert_true(world_step(w, w->now_us + 60 * US_PER_S));
        assert_int_equal(w->links_opened, 1);
        w->link_hangs = i == 3;
        w->fail_links = i < 3 ? 12 : 0;
        w->fail_link = ends[i % 3];
        world_run(w, 60 * US_PER_S);
        w->link_hangs = false;
        world_run(w, RUN_S * US_PER_S);
        check_rotated(w, job);
        assert_true(w->probes.count[TCU_PROBE_REFUSED] >= 3);
        assert_int_equal(w->probes.steps[TCU_STEP_ROLLED_BACK], 0);
        world_end(w);
    }
}

/* A refused token or request begins anew with a fresh key. */
static void rejections_begin_anew(void **state)
{
    for (unsigned create = 0; create < 2; create++) {
        struct cloud cloud;
        struct world *w = begun(&cloud);
        *(create ? &cloud.reject_create : &cloud.deny) = 3;
        struct cloud_job *job = cloud_rotate(w);
        world_run(w, 200 * US_PER_S);
        check_rotated(w, job);
        assert_int_equal(w->keys, 5);
        assert_int_equal(w->probes.steps[TCU_STEP_RESTARTED], 3);
        assert_int_equal(w->probes.count[TCU_PROBE_PROVISIONING_FAILED], 0);
        world_end(w);
    }
}

static void the_platform_fails(void **state)
{
    struct cloud cloud;
    struct world *w = begun(&cloud);
    w->key_failures = 3;
    struct cloud_job *job = cloud_rotate(w);
    world_run(w, 100 * US_PER_S);
    check_rotated(w, job);
    world_end(w);
    w = begun(&cloud); /* a store that takes nothing for a while, at any moment */
    for (unsigned i = 0; i < 400; i++) {
        w->store_fails = i % 5 < 2;
        if (i == 2)
            job = cloud_rotate(w);
        world_run(w, 700 * US_PER_MS);
    }
    w->store_fails = false;
    world_run(w, 200 * US_PER_S);
    assert_int_equal(job->state, JOB_SUCCEEDED);
    cloud_check_newest(w, cloud_check_end(w));
    world_end(w);
}

static void no_memory_for_a_while(void **state)
{
    struct cloud cloud;
    struct world *w = begun(&cloud);
    w->no_memory = world_on_demand;
    struct cloud_job *job = cloud_rotate(w);
    world_run(w, 20 * US_PER_S);
    assert_int_equal(job->state, world_on_demand ? JOB_QUEUED : JOB_SUCCEEDED);
    w->no_memory = false;
    world_run(w, 60 * US_PER_S);
    assert_int_equal(job->state, JOB_SUCCEEDED);
    cloud_check_end(w);
    world_end(w);
}

/* The version moved on under us; so it does when a step timer is set. */
static void another_version_is_taken_over(void **state)
{
    struct cloud cloud;
    struct world *w = begun(&cloud);
    struct cloud_job *job = cloud_rotate(w);
    while (w->probes.steps[TCU_STEP_DEACTIVATED] == 0)
        assert_true(world_step(w, w->now_us + 60 * US_PER_S));
    job->version += 3;
    world_run(w, 60 * US_PER_S);
    check_rotated(w, job);
    world_end(w);
}

/* At the end there is nobody left to report to. */
static void a_deleted_job_has_ended(void **state)
{
    struct cloud cloud;
    struct world *w = begun(&cloud);
    struct cloud_job *job = cloud_rotate(w);
    while (w->probes.steps[TCU_STEP_DEACTIVATED] == 0)
        assert_true(world_step(w, w->now_us + 60 * US_PER_S));
    job->deleted = true;
    job->state = JOB_CANCELED;
    world_run(w, 10 * US_PER_S);
    assert_int_equal(cloud_check_end(w), 1);
    world_end(w);
}

/* The power went while an attempt was being dropped, and then the cloud wants the very job again: the certificate is gone already. */
static void a_certificate_that_is_gone_is_made_anew(void **state)
{
    struct cloud cloud;
    struct world *w = begun(&cloud);
    struct cloud_job *job = cloud_rotate(w);
    while (w->probes.steps[TCU_STEP_CERTIFICATE] == 0)
        assert_true(world_step(w, w->now_us + 60 * US_PER_S));
    world_power_cut(w);
    w->store[TCU_STORE_SECOND_CERTIFICATE].length = 0;
    world_start(w, TCU_DRIVING);
    world_run(w, 60 * US_PER_S);
    assert_int_equal(job->state, JOB_SUCCEEDED);
    cloud_check_newest(w, cloud_check_end(w));
    assert_int_equal(w->probes.steps[TCU_STEP_RESTARTED], 1);
    world_end(w);
}

/* An earlier attempt's certificate, for a key that is gone: the store does not take it, and the right one is asked for. */
static bool picky_write(void *context, enum tcu_store_item item, struct span value)
{
    struct world *w = context;
    char key[16];
    unsigned number = 0, serial = 0;
    bool certificate = item == TCU_STORE_SECOND_CERTIFICATE && value.length > 0;
    if (certificate &&
        sscanf((const char *)value.data, "-----BEGIN-----\nCVC1|VIN-0001|%u|%u", &serial, &number) == 2) {
        snprintf(key, sizeof(key), "key %u", number);
        if (memcmp(w->store[TCU_STORE_SECOND_KEY].data, key, strlen(key)) != 0)
            return false;
    }
    return world_port_store_write(context, item, value);
}

static void a_certificate_for_another_key_is_not_taken(void **state)
{
    struct cloud cloud;
    struct world *w = begun(&cloud);
    w->port.store_write = picky_write;
    struct cloud_job *job = cloud_rotate(w);
    while (w->probes.steps[TCU_STEP_KEY] == 0)
        assert_true(world_step(w, w->now_us + 60 * US_PER_S));
    cloud_send(
        w, "$aws/certificates/create-from-csr/json/accepted",
        "{\"certificateId\":\"0000000000000000000000000000000000000000000000000000000000000abc\",\"certificatePem\":"
        "\"-----BEGIN-----\\nCVC1|VIN-0001|77|78\",\"certificateOwnershipToken\":\"old\"}");
    world_run(w, 100 * US_PER_S);
    check_rotated(w, job);
    world_end(w);
}

/* A vehicle whose profile knows no reserved topics neither asks nor listens. */
static void without_reserved_topics_there_are_no_jobs(void **state)
{
    struct cloud cloud;
    struct world *w = cloud_vehicle(8, &cloud);
    w->profile.topics.reserved[0] = 0;
    world_begin(w);
    world_start(w, TCU_DRIVING);
    world_run(w, 5 * US_PER_S);
    struct cloud_job *job = cloud_rotate(w);
    world_run(w, 60 * US_PER_S);
    assert_int_equal(cloud.requests, 0);
    assert_int_equal(w->filter_count, 1);
    assert_int_equal(job->state, JOB_QUEUED);
    world_end(w);
}

/* Stopped and started again at each step, with all memory kept. */
static void stopped_at_each_moment(void **state)
{
    for (unsigned steps = 1; steps < 60; steps++) {
        struct cloud cloud;
        struct world *w = begun(&cloud);
        struct cloud_job *job = cloud_rotate(w);
        for (unsigned i = 0; i < steps; i++)
            world_step(w, w->now_us + 60 * US_PER_S);
        tcu_stop(w->tcu, w->now_us);
        w->life++; /* the platform's answers to the earlier life are gone */
        world_run(w, 10 * US_PER_S);
        world_start(w, TCU_DRIVING);
        world_run(w, 200 * US_PER_S);
        assert_int_equal(job->state, JOB_SUCCEEDED);
        cloud_check_newest(w, cloud_check_end(w));
        world_end(w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rotates),
        cmocka_unit_test(a_job_that_was_not_notified_is_found),
        cmocka_unit_test(two_jobs_one_after_the_other),
        cmocka_unit_test(lost_answers_and_requests),
        cmocka_unit_test(every_answer_twice),
        cmocka_unit_test(spoilt_answers),
        cmocka_unit_test(answers_cut_short),
        cmocka_unit_test(the_link_cut_at_each_request),
        cmocka_unit_test(cancelled_at_each_request),
        cmocka_unit_test(cancelled_while_the_power_is_off),
        cmocka_unit_test(rolls_back),
        cmocka_unit_test(want_of_a_network_is_no_refusal),
        cmocka_unit_test(rejections_begin_anew),
        cmocka_unit_test(the_platform_fails),
        cmocka_unit_test(no_memory_for_a_while),
        cmocka_unit_test(another_version_is_taken_over),
        cmocka_unit_test(a_certificate_for_another_key_is_not_taken),
        cmocka_unit_test(without_reserved_topics_there_are_no_jobs),
        cmocka_unit_test(a_deleted_job_has_ended),
        cmocka_unit_test(a_certificate_that_is_gone_is_made_anew),
        cmocka_unit_test(stopped_at_each_moment),
    };
    return world_both(tests);
}
