/* The power goes at every store write of a change of identity, just before it lasts or just after; for rotations also twice. Every case is
 * enumerated, none is drawn; what is there at the end is compared with what the cloud holds. */
#include "agent_cloud.h"

enum { WRITES_MAX = 80, RUN_S = 400 };

enum course { SUCCEEDS, ROLLS_BACK };

struct cut {
    unsigned at, again;
    bool before, again_before;
};

/* As many writes as there were. */
static unsigned rotate(struct cut cut, enum course course, bool grant_once)
{
    struct cloud cloud;
    struct world *w = cloud_vehicle(7, &cloud);
    cloud.never_activate = course == ROLLS_BACK;
    cloud.grant_once = grant_once;
    w->cut_at_write = cut.at;
    w->cut_again_at_write = cut.again;
    w->cut_before_write = cut.before;
    w->cut_again_before_write = cut.again_before;
    world_begin(w);
    world_start(w, TCU_DRIVING);
    world_run(w, 3 * US_PER_S);
    struct cloud_job *job = cloud_rotate(w);
    world_run(w, RUN_S * US_PER_S);
    unsigned current = cloud_check_end(w);
    assert_int_equal(w->life, (cut.at && cut.at <= w->store_writes) + (cut.again && cut.again <= w->store_writes));
    if (course == SUCCEEDS) {
        assert_int_equal(job->state, JOB_SUCCEEDED);
        assert_true(current > 0);
        cloud_check_newest(w, current);
        assert_true(cloud.deactivations > 0);
    } else {
        assert_int_equal(job->state, JOB_FAILED);
        assert_string_equal(job->reason, "new certificate refused");
        assert_int_equal(current, 0);
    }
    unsigned writes = w->store_writes;
    world_end(w);
    return writes;
}

static void one_cut(enum course course, const char *what)
{
    unsigned cases = 0, writes = rotate((struct cut){0}, course, false);
    assert_in_range(writes, 9, WRITES_MAX);
    for (unsigned at = 1; at <= writes; at++)
        for (unsigned kind = 0; kind < 4; kind++, cases++)
            rotate((struct cut){.at = at, .before = kind & 1}, course, kind & 2);
    print_message("power cuts, %s: %u cases at %u writes\n", what, cases, writes);
}

static void a_rotation_survives_each(void **state)
{
    one_cut(SUCCEEDS, "rotation");
}

static void a_roll_back_survives_each(void **state)
{
    one_cut(ROLLS_BACK, "roll back");
}

static void two_cuts(enum course course, const char *what)
{
    unsigned cases = 0, writes = rotate((struct cut){0}, course, false);
    for (unsigned at = 1; at <= writes; at++)
        for (unsigned before = 0; before < 2; before++) {
            unsigned all = rotate((struct cut){.at = at, .before = before}, course, false);
            assert_in_range(all, writes, WRITES_MAX);
            for (unsigned again = at + 1; again <= all; again++)
                for (unsigned again_before = 0; again_before < 2; again_before++, cases++)
                    rotate((struct cut){at, again, before, again_before}, course, false);
        }
    print_message("power cuts, %s, every pair: %u cases\n", what, cases);
}

static void a_rotation_survives_every_pair(void **state)
{
    two_cuts(SUCCEEDS, "rotation");
}

static void a_roll_back_survives_every_pair(void **state)
{
    two_cuts(ROLLS_BACK, "roll back");
}

static unsigned claim(struct cut cut, bool server_key, const char *reserved)
{
    struct cloud cloud;
    struct world *w = cloud_new_vehicle(11, &cloud, reserved);
    w->profile.server_key = server_key;
    w->cut_at_write = cut.at;
    w->cut_before_write = cut.before;
    world_begin(w);
    world_start(w, TCU_DRIVING);
    world_run(w, RUN_S * US_PER_S);
    unsigned current = cloud_check_end(w);
    assert_int_equal(w->life, cut.at && cut.at <= w->store_writes);
    assert_true(w->probes.count[TCU_PROBE_PROVISIONED] >= 1 || w->life);
    assert_true(cloud.announcements >= 1);
    assert_string_equal(cloud.announced, cloud.certificates[current].id);
    assert_int_equal(current, cloud.certificate_count - 1); /* the newest; those before it are the cloud's to forget */
    assert_true(w->received[1] || w->life);
    unsigned writes = w->store_writes;
    world_end(w);
    return writes;
}

static void a_claim_survives_each(void **state)
{
    unsigned cases = 0, writes = 0;
    for (unsigned kind = 0; kind < 4; kind++) {
        const char *reserved = kind & 2 ? "convoy/%/" : "$aws/";
        writes = claim((struct cut){0}, kind & 1, reserved);
        assert_in_range(writes, 7, WRITES_MAX);
        for (unsigned at = 1; at <= writes; at++)
            for (unsigned before = 0; before < 2; before++, cases++)
                claim((struct cut){.at = at, .before = before}, kind & 1, reserved);
    }
    print_message("power cuts, claim: %u cases at %u writes\n", cases, writes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_rotation_survives_each),       cmocka_unit_test(a_roll_back_survives_each),
        cmocka_unit_test(a_rotation_survives_every_pair), cmocka_unit_test(a_roll_back_survives_every_pair),
        cmocka_unit_test(a_claim_survives_each),
    };
    return world_both(tests);
}
