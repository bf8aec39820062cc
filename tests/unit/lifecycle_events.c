/* What an operator decides, end to end: played vehicles speak to the cloud in packets, and the state holds after each. */
#include "lifecycle_rig.h"

/* Over the job, up to the connect with the new certificate. */
static void rotate_up_to_switch(struct car *car)
{
    assert_true(cloud_lifecycle_rotate(car->rig->life, car->rig->now_us, car_thing(car)));
    rig_pass(car->rig, US_PER_S);
    assert_true(car_start_job(car));
    assert_non_null(strstr(car->answer, "rotate-certificate"));
    assert_true(car_certificate(car, 1 - car->current));
    assert_true(car_provision(car, "rotation"));
    car_disconnect(car);
    car->current = 1 - car->current;
}

static void claimed_and_active(void **state)
{
    struct rig rig;
    struct car car;
    struct cloud_vehicle vehicle;
    rig_open(&rig, (struct cloud_lifecycle_options){.require_device = true});
    car_begin(&rig, &car, 1);
    assert_int_equal(rig.seen[CLOUD_LIFE_PROVISIONED].count, 1);
    assert_string_equal(rig.seen[CLOUD_LIFE_ACTIVE].thing, car.name);
    assert_true(cloud_vehicles_get(cloud_lifecycle_vehicles(rig.life), car_thing(&car), &vehicle));
    assert_int_equal(vehicle.state, CLOUD_VEHICLE_ACTIVE);
    assert_int_equal(rig_verify(&rig), 0);
    /* Said twice it is told once; claimed twice, the earlier certificate is nobody's. */
    struct certificate first = car.slot[0];
    assert_int_equal(car_say(&car, "vehicleactive/%s"), MQ5_SUCCESS);
    assert_int_equal(rig.seen[CLOUD_LIFE_ACTIVE].count, 1);
    car_disconnect(&car);
    assert_true(car_claim(&car));
    assert_false(car_connect_as(&car, &first, car.name));
    assert_string_equal(rig.seen[CLOUD_LIFE_REFUSED].detail, "certificate is inactive");
    assert_true(car_connect(&car));
    assert_int_equal(rig_verify(&rig), 0);
    rig_close(&rig);
}

static void claim_of_another_device_is_denied(void **state)
{
    struct rig rig;
    struct car car, thief;
    rig_open(&rig, (struct cloud_lifecycle_options){.require_device = true});
    car_begin(&rig, &car, 1);
    car_build(&rig, &thief, 2);
    strcpy(thief.name, car.name); /* the other's Reference ID, its own device */
    assert_false(car_claim(&thief));
    assert_true(car.connection != NULL && !car.closed);
    car_disconnect(&car);
    assert_false(car_claim(&thief));
    assert_non_null(strstr(thief.answer, "AccessDenied"));
    assert_true(car_connect(&car));
    rig_close(&rig);
}

static void registered_just_in_time(void **state)
{
    struct rig rig;
    struct car car;
    char name[64];
    uint8_t csr[200];
    struct cloud_peer attestation = {.has_certificate = true};
    rig_open(&rig, (struct cloud_lifecycle_options){.require_device = true});
    car_build(&rig, &car, 1);
    strcpy(attestation.common_name, "tcu-nobody-knows");
    assert_false(cloud_lifecycle_resolve(rig.life, &attestation, name));
    strcpy(attestation.common_name, car.device);
    assert_true(cloud_lifecycle_resolve(rig.life, &attestation, name));
    assert_string_equal(name, car.name);
    size_t length = cloud_modelled_csr(car_thing(&car), 7, csr, sizeof(csr));
    car.slot[0].length = (uint16_t)cloud_pki_issue(rig.pki, CLOUD_CA_OPERATIONAL, span_of(csr, length), car.name,
                                                   EPOCH_S, LIFETIME_S, car.slot[0].bytes, sizeof(car.slot[0].bytes));
    assert_false(car_connect(&car));
    rig_pass(&rig, 2 * US_PER_S);
    assert_int_equal(rig.seen[CLOUD_LIFE_PROVISIONED].count, 1);
    assert_int_equal(rig.seen[CLOUD_LIFE_REFUSED].count, 0);
    assert_true(car_connect(&car));
    assert_int_equal(rig_verify(&rig), 0);
    rig_close(&rig);
}

/* Issued to a device and never shown, or shown and still pending: taking the device out ends it as well. */
static void registration_does_not_outlive_the_device(void **state)
{
    for (int shown = 0; shown < 2; shown++) {
        struct rig rig;
        struct car car, old;
        uint8_t csr[200];
        rig_open(&rig, (struct cloud_lifecycle_options){.require_device = true});
        car_build(&rig, &car, 1);
        size_t length = cloud_modelled_csr(car_thing(&car), 7, csr, sizeof(csr));
        car.slot[0].length =
            (uint16_t)cloud_pki_issue(rig.pki, CLOUD_CA_OPERATIONAL, span_of(csr, length), car.name, EPOCH_S,
                                      LIFETIME_S, car.slot[0].bytes, sizeof(car.slot[0].bytes));
        if (shown)
            assert_false(car_connect(&car));
        old = car;
        assert_int_equal(
            cloud_lifecycle_swap(rig.life, rig.now_us, car_thing(&car), span_text(car.device), SPAN_LITERAL("tcu-new")),
            CLOUD_VEHICLES_DONE);
        for (int i = 0; i < 3; i++) {
            rig_pass(&rig, 5 * US_PER_S);
            assert_false(car_connect(&old));
        }
        assert_int_equal(rig.seen[CLOUD_LIFE_PROVISIONED].count, 0);
        strcpy(car.device, "tcu-new");
        assert_true(car_claim(&car));
        assert_true(car_connect(&car));
        assert_int_equal(rig_verify(&rig), 0);
        rig_close(&rig);
    }
}

/* A certificate that was made and not granted is not let in by the back door of registration. */
static void not_granted_is_not_registered(void **state)
{
    struct rig rig;
    struct car car;
    rig_open(&rig, (struct cloud_lifecycle_options){.require_device = true});
    car_build(&rig, &car, 1);
    assert_true(car_connect_as(&car, &rig.claim, car.name));
    assert_true(car_certificate(&car, 0));
    car_disconnect(&car);
    for (int i = 0; i < 3; i++) {
        assert_false(car_connect(&car));
        rig_pass(&rig, 5 * US_PER_S);
    }
    assert_int_equal(car_status(&car, 0), CLOUD_CERTIFICATE_PENDING_ACTIVATION);
    assert_string_equal(rig.seen[CLOUD_LIFE_REFUSED].detail, "certificate is pending activation");
    rig_close(&rig);
}

static void rotated(void **state)
{
    struct rig rig;
    struct car car;
    char topic[200];
    rig_open(&rig, (struct cloud_lifecycle_options){.require_device = true});
    car_begin(&rig, &car, 1);
    snprintf(topic, sizeof(topic), "$aws/things/%s/jobs/notify-next", car.name);
    assert_true(car_subscribe(&car, topic) < 0x80);
    int64_t decided_us = rig.now_us;
    rotate_up_to_switch(&car);
    assert_true(car.told > 0);
    assert_int_equal(rig.seen[CLOUD_LIFE_ROTATION_QUEUED].count, 1);
    assert_int_equal(rig.seen[CLOUD_LIFE_ROTATION_STARTED].since_us, decided_us);
    assert_int_equal(rig.seen[CLOUD_LIFE_ROTATION_ISSUED].count, 1);
    assert_int_equal(car_status(&car, 0), CLOUD_CERTIFICATE_ACTIVE); /* both */
    assert_int_equal(car_status(&car, 1), CLOUD_CERTIFICATE_ACTIVE);
    rig_pass(&rig, 5 * US_PER_S);
    assert_false(cloud_lifecycle_rotate(rig.life, rig.now_us, car_thing(&car)));
    assert_true(car_connect(&car));
    assert_int_equal(car_say(&car, "vehicle/%s/certificate/deactivate"), MQ5_SUCCESS);
    assert_int_equal(rig.seen[CLOUD_LIFE_OLD_DEACTIVATED].count, 1);
    assert_int_equal(rig.seen[CLOUD_LIFE_OLD_DEACTIVATED].at_us - rig.seen[CLOUD_LIFE_OLD_DEACTIVATED].since_us,
                     5 * US_PER_S);
    assert_int_equal(car_status(&car, 0), CLOUD_CERTIFICATE_INACTIVE);
    rig.quiet = true;
    assert_int_equal(rig_verify(&rig), 1); /* the job is open */
    assert_int_equal(rig.flaws[CLOUD_FLAW_JOB_OPEN], 1);
    assert_true(car_update_job(&car, "{\"status\":\"SUCCEEDED\"}"));
    assert_int_equal(rig.seen[CLOUD_LIFE_ROTATION_ENDED].state, CLOUD_EXECUTION_SUCCEEDED);
    assert_int_equal(rig.seen[CLOUD_LIFE_ROTATION_ENDED].since_us, decided_us);
    assert_int_equal(rig_verify(&rig), 0);
    struct car old = car;
    old.connection = NULL;
    assert_false(car_connect_as(&old, &car.slot[0], car.name));
    assert_true(cloud_lifecycle_rotate(rig.life, rig.now_us, car_thing(&car)));
    rig_close(&rig);
}

/* Deactivation over another certificate than the one named does nothing. */
static void deactivation_counts_over_the_certificate_it_names(void **state)
{
    struct rig rig;
    struct car car;
    rig_open(&rig, (struct cloud_lifecycle_options){.require_device = true});
    car_begin(&rig, &car, 1);
    rotate_up_to_switch(&car);
    car.current = 0;
    assert_true(car_connect(&car));
    car.current = 1; /* names the new one over the old */
    car_say(&car, "vehicle/%s/certificate/deactivate");
    assert_int_equal(car_status(&car, 0), CLOUD_CERTIFICATE_ACTIVE);
    assert_int_equal(car_status(&car, 1), CLOUD_CERTIFICATE_ACTIVE);
    assert_int_equal(rig.seen[CLOUD_LIFE_OLD_DEACTIVATED].count, 0);
    rig_close(&rig);
}

static void rolled_back(void **state)
{
    struct rig rig;
    struct car car;
    rig_open(&rig, (struct cloud_lifecycle_options){.require_device = true});
    car_begin(&rig, &car, 1);
    rig.never_activate = true;
    rotate_up_to_switch(&car);
    assert_int_equal(rig.seen[CLOUD_LIFE_ROTATION_ISSUED].count, 0);
    for (int i = 0; i < 3; i++)
        assert_false(car_connect(&car));
    assert_string_equal(rig.seen[CLOUD_LIFE_REFUSED].detail, "certificate is pending activation");
    car.current = 0;
    assert_true(car_connect(&car));
    assert_true(
        car_update_job(&car, "{\"status\":\"FAILED\",\"statusDetails\":{\"reason\":\"new certificate refused\"}}"));
    assert_int_equal(rig.seen[CLOUD_LIFE_ROTATION_ENDED].state, CLOUD_EXECUTION_FAILED);
    assert_int_equal(car_status(&car, 0), CLOUD_CERTIFICATE_ACTIVE);
    assert_int_equal(car_status(&car, 1), CLOUD_CERTIFICATE_INACTIVE);
    assert_int_equal(rig_verify(&rig), 0);
    rig_close(&rig);
}

/* Who does not report in time loses the new one, and a live connection over it; the old one is good. */
static void timed_out(void **state)
{
    struct rig rig;
    struct car car;
    rig_open(&rig, (struct cloud_lifecycle_options){.require_device = true,
                                                    .rotation = {.in_progress_timeout_us = 10 * US_PER_MIN}});
    rig.cut_us = 30 * US_PER_S;
    car_begin(&rig, &car, 1);
    rotate_up_to_switch(&car);
    assert_true(car_connect(&car));
    rig_pass(&rig, 10 * US_PER_MIN);
    assert_int_equal(rig.seen[CLOUD_LIFE_ROTATION_ENDED].state, CLOUD_EXECUTION_TIMED_OUT);
    assert_int_equal(car_status(&car, 1), CLOUD_CERTIFICATE_INACTIVE);
    rig_pass(&rig, US_PER_MIN);
    assert_true(car.closed);
    assert_int_equal(rig.seen[CLOUD_LIFE_CUT].at_us - rig.seen[CLOUD_LIFE_CUT].since_us, 30 * US_PER_S);
    assert_false(car_connect(&car));
    car.current = 0;
    assert_true(car_connect(&car));
    assert_int_equal(rig_verify(&rig), 0);
    rig_close(&rig);
}

static void revoked_and_released(void **state)
{
    struct rig rig;
    struct car car;
    rig_open(&rig, (struct cloud_lifecycle_options){.require_device = true});
    rig.cut_us = US_PER_MIN;
    car_begin(&rig, &car, 1);
    assert_true(cloud_lifecycle_revoke(rig.life, rig.now_us, car_thing(&car), "stolen"));
    assert_string_equal(rig.seen[CLOUD_LIFE_REVOKED].detail, "stolen");
    assert_int_equal(rig_verify(&rig), 0); /* connected within the bound */
    rig_pass(&rig, 59 * US_PER_S);
    assert_non_null(car.connection);
    rig_pass(&rig, US_PER_S);
    assert_null(car.connection);
    assert_int_equal(rig.seen[CLOUD_LIFE_CUT].count, 1);
    assert_false(car_connect(&car));
    assert_false(cloud_lifecycle_revoke(rig.life, rig.now_us, car_thing(&car), "again"));
    assert_false(cloud_lifecycle_rotate(rig.life, rig.now_us, car_thing(&car)));
    assert_int_equal(rig_verify(&rig), 0);
    assert_false(car_claim(&car));
    assert_true(cloud_lifecycle_release(rig.life, rig.now_us, car_thing(&car)));
    assert_false(car_connect(&car)); /* not with what was revoked */
    assert_true(car_claim(&car));
    assert_true(car_connect(&car));
    assert_int_equal(rig_verify(&rig), 0);
    rig_close(&rig);
}

static void audited(void **state)
{
    struct rig rig;
    struct car car, revoked;
    rig_open(&rig, (struct cloud_lifecycle_options){.require_device = true});
    car_begin(&rig, &car, 1);
    car_begin(&rig, &revoked, 2);
    assert_int_equal(cloud_lifecycle_audit(rig.life, rig.now_us), 0);
    rig.forget_revocation = true;
    assert_true(cloud_lifecycle_revoke(rig.life, rig.now_us, car_thing(&revoked), "lost key"));
    assert_int_equal(car_status(&revoked, 0), CLOUD_CERTIFICATE_ACTIVE);
    rig_pass(&rig, 340 * US_PER_DAY);
    assert_int_equal(cloud_lifecycle_audit(rig.life, rig.now_us), 2);
    assert_int_equal(car_status(&revoked, 0), CLOUD_CERTIFICATE_REVOKED);
    assert_int_equal(cloud_lifecycle_audit(rig.life, rig.now_us), 0); /* under way already */
    assert_int_equal(rig.seen[CLOUD_LIFE_ROTATION_QUEUED].count, 1);
    assert_string_equal(rig.seen[CLOUD_LIFE_ROTATION_QUEUED].thing, car.name);
    rig_close(&rig);
}

static void sold(void **state)
{
    struct rig rig;
    struct car car;
    rig_open(&rig, (struct cloud_lifecycle_options){.require_device = true});
    car_begin(&rig, &car, 1);
    rig_pass(&rig, US_PER_HOUR);
    int64_t sold_s = EPOCH_S + rig.now_us / US_PER_S;
    assert_true(cloud_lifecycle_may_read(rig.life, SPAN_LITERAL("tenant-a"), car_thing(&car), sold_s - 60));
    assert_true(cloud_lifecycle_change_owner(rig.life, rig.now_us, car_thing(&car), SPAN_LITERAL("tenant-b")));
    assert_string_equal(rig.seen[CLOUD_LIFE_OWNER_CHANGED].detail, "tenant-b");
    assert_false(cloud_lifecycle_may_read(rig.life, SPAN_LITERAL("tenant-a"), car_thing(&car), sold_s - 60));
    assert_false(cloud_lifecycle_may_read(rig.life, SPAN_LITERAL("tenant-b"), car_thing(&car), sold_s - 60));
    assert_true(cloud_lifecycle_may_read(rig.life, SPAN_LITERAL("tenant-b"), car_thing(&car), sold_s + 60));
    rig_pass(&rig, US_PER_S);
    assert_true(car_start_job(&car));
    assert_non_null(strstr(car.answer, "owner"));
    /* Sold again in the middle: once more afterwards. */
    assert_true(cloud_lifecycle_change_owner(rig.life, rig.now_us, car_thing(&car), SPAN_LITERAL("tenant-c")));
    for (int round = 0; round < 2; round++) {
        assert_true(car_certificate(&car, 1 - car.current));
        assert_true(car_provision(&car, "rotation"));
        car_disconnect(&car);
        car.current = 1 - car.current;
        assert_true(car_connect(&car));
        car_say(&car, "vehicle/%s/certificate/deactivate");
        assert_true(car_update_job(&car, "{\"status\":\"SUCCEEDED\"}"));
        rig_pass(&rig, 2 * US_PER_S);
        assert_int_equal(car_start_job(&car), round == 0);
    }
    assert_int_equal(rig.seen[CLOUD_LIFE_ROTATION_ENDED].count, 2);
    assert_int_equal(rig_verify(&rig), 0);
    rig_close(&rig);
}

static void swapped(void **state)
{
    struct rig rig;
    struct car car, old;
    char name[64];
    struct cloud_peer attestation = {.has_certificate = true};
    rig_open(&rig, (struct cloud_lifecycle_options){.require_device = true});
    car_begin(&rig, &car, 1);
    assert_true(cloud_lifecycle_rotate(rig.life, rig.now_us, car_thing(&car)));
    rig_pass(&rig, US_PER_S);
    assert_true(car_start_job(&car)); /* swapped in the middle of a rotation */
    assert_int_equal(
        cloud_lifecycle_swap(rig.life, rig.now_us, car_thing(&car), SPAN_LITERAL("tcu-other"), SPAN_LITERAL("tcu-new")),
        CLOUD_VEHICLES_DEVICE_WRONG);
    assert_int_equal(
        cloud_lifecycle_swap(rig.life, rig.now_us, car_thing(&car), span_text(car.device), SPAN_LITERAL("tcu-new")),
        CLOUD_VEHICLES_DONE);
    assert_int_equal(rig.seen[CLOUD_LIFE_ROTATION_ENDED].state, CLOUD_EXECUTION_REMOVED);
    rig_pass(&rig, US_PER_S);
    assert_null(car.connection);
    assert_int_equal(rig_verify(&rig), 0);
    old = car;
    strcpy(attestation.common_name, old.device);
    assert_false(cloud_lifecycle_resolve(rig.life, &attestation, name));
    assert_false(car_connect(&old));
    assert_false(car_claim(&old));
    strcpy(car.device, "tcu-new");
    strcpy(attestation.common_name, car.device);
    assert_true(cloud_lifecycle_resolve(rig.life, &attestation, name));
    assert_string_equal(name, car.name);
    assert_true(car_claim(&car));
    assert_true(car_connect(&car));
    assert_int_equal(car_say(&car, "vehicleactive/%s"), MQ5_SUCCESS);
    assert_int_equal(rig.seen[CLOUD_LIFE_PROVISIONED].count, 2);
    assert_int_equal(rig_verify(&rig), 0);
    /* Taken out only: nobody gets its name. */
    assert_int_equal(
        cloud_lifecycle_swap(rig.life, rig.now_us, car_thing(&car), span_text(car.device), (struct span){NULL, 0}),
        CLOUD_VEHICLES_DONE);
    rig_pass(&rig, US_PER_S);
    assert_null(car.connection);
    assert_false(car_claim(&car));
    assert_int_equal(rig_verify(&rig), 0);
    rig_close(&rig);
}

static void decommissioned(void **state)
{
    struct rig rig;
    struct car car;
    rig_open(&rig, (struct cloud_lifecycle_options){.require_device = true});
    car_begin(&rig, &car, 1);
    assert_true(cloud_lifecycle_rotate(rig.life, rig.now_us, car_thing(&car)));
    assert_true(cloud_lifecycle_decommission(rig.life, rig.now_us, car_thing(&car)));
    assert_false(cloud_lifecycle_decommission(rig.life, rig.now_us, car_thing(&car)));
    rig_pass(&rig, US_PER_S);
    assert_null(car.connection);
    assert_false(car_connect(&car));
    assert_string_equal(rig.seen[CLOUD_LIFE_REFUSED].detail, "vehicle is decommissioned");
    assert_false(car_claim(&car));
    assert_false(cloud_lifecycle_release(rig.life, rig.now_us, car_thing(&car)));
    assert_int_equal(rig_verify(&rig), 0);
    rig_close(&rig);
}

/* Two with one identity push each other out. */
static void fight(struct rig *rig, struct car *car, struct car *clone, int rounds)
{
    *clone = *car;
    clone->connection = NULL;
    for (int i = 0; i < rounds; i++) {
        struct car *now = i % 2 ? car : clone;
        assert_true(car_connect(now));
        rig_pass(rig, US_PER_S);
    }
}

static void cloned(void **state)
{
    static const struct {
        int decision;
        enum cloud_life_event_kind event;
    } decisions[] = {{CLOUD_CLONE_REVOKE, CLOUD_LIFE_REVOKED},
                     {CLOUD_CLONE_QUARANTINE, CLOUD_LIFE_QUARANTINED},
                     {CLOUD_CLONE_REPORT, CLOUD_LIFE_CLONE_DETECTED}};
    for (size_t i = 0; i < 3; i++) {
        struct rig rig;
        struct car car, clone;
        struct cloud_lifecycle_options options = {
            .require_device = true, .clone_takeovers = 4, .clone_window_us = US_PER_MIN};
        options.clone_decision = decisions[i].decision;
        rig_open(&rig, options);
        car_begin(&rig, &car, 1);
        fight(&rig, &car, &clone, 3);
        assert_int_equal(rig.seen[CLOUD_LIFE_CLONE_DETECTED].count, 0);
        int64_t first_us = rig.now_us - 3 * US_PER_S;
        assert_true(car_connect(&car) || true);
        rig_pass(&rig, 0);
        assert_int_equal(rig.seen[CLOUD_LIFE_CLONE_DETECTED].count, 1);
        assert_int_equal(rig.seen[CLOUD_LIFE_CLONE_DETECTED].since_us, first_us);
        assert_int_equal(rig.seen[decisions[i].event].count, 1);
        rig_pass(&rig, US_PER_S);
        assert_int_equal(car.connection == NULL, decisions[i].decision != CLOUD_CLONE_REPORT);
        assert_int_equal(rig_verify(&rig), 0);
        if (decisions[i].decision == CLOUD_CLONE_QUARANTINE) {
            assert_false(car_connect(&car));
            assert_string_equal(rig.seen[CLOUD_LIFE_REFUSED].detail, "vehicle is in quarantine");
            assert_true(cloud_lifecycle_release(rig.life, rig.now_us, car_thing(&car)));
            assert_true(car_connect(&car));
            assert_int_equal(rig_verify(&rig), 0);
        }
        rig_close(&rig);
    }
}

/* A vehicle that comes back often, but not that often, is one; the same certificate under other names is two. */
static void cloned_or_not(void **state)
{
    struct rig rig;
    struct car car, clone, other;
    rig_open(&rig, (struct cloud_lifecycle_options){.require_device = true,
                                                    .clone_takeovers = 3,
                                                    .clone_window_us = US_PER_MIN,
                                                    .clone_decision = CLOUD_CLONE_REPORT});
    car_begin(&rig, &car, 1);
    uint64_t before = cloud_lifecycle_bytes(rig.life);
    for (int i = 0; i < 10; i++) {
        fight(&rig, &car, &clone, 2);
        car_lost(&car);
        rig_pass(&rig, 2 * US_PER_MIN);
        assert_true(car_connect(&car));
    }
    assert_int_equal(rig.seen[CLOUD_LIFE_CLONE_DETECTED].count, 0);
    assert_true(cloud_lifecycle_bytes(rig.life) <= before + 512); /* nothing stays of it but tables */
    clone = car;
    clone.connection = NULL;
    car_begin(&rig, &other, 2);
    car_lost(&other);
    for (int i = 0; i < 3; i++)
        assert_false(car_connect_as(&clone, &car.slot[0], other.name));
    assert_string_equal(rig.seen[CLOUD_LIFE_REFUSED].detail, "certificate belongs to another thing");
    rig_pass(&rig, 0);
    assert_int_equal(rig.seen[CLOUD_LIFE_CLONE_DETECTED].count, 1);
    assert_string_equal(rig.seen[CLOUD_LIFE_CLONE_DETECTED].thing, car.name);
    rig_close(&rig);
}

static void policies_hold(void **state)
{
    struct rig rig;
    struct car car, other;
    char topic[200], vin[CLOUD_VIN_LENGTH + 1], payload[100];
    rig_open(&rig, (struct cloud_lifecycle_options){.require_device = true, .scan_for_vins = true});
    car_begin(&rig, &car, 1);
    car_begin(&rig, &other, 2);
    snprintf(topic, sizeof(topic), "dt/%s/telemetry", car.name);
    assert_true(car_publish(&car, topic, "{}") < 0x80);
    assert_int_equal(rig.seen[CLOUD_LIFE_FORBIDDEN].count, 0);
    assert_int_equal(car_publish(&other, topic, "{}"), MQ5_NOT_AUTHORIZED);
    assert_string_equal(rig.seen[CLOUD_LIFE_FORBIDDEN].detail, topic);
    assert_string_equal(rig.seen[CLOUD_LIFE_FORBIDDEN].thing, other.name);
    snprintf(topic, sizeof(topic), "cmd/%s/request", car.name);
    assert_int_equal(car_subscribe(&other, topic), MQ5_NOT_AUTHORIZED);
    assert_int_equal(rig.seen[CLOUD_LIFE_FORBIDDEN].count, 2);
    snprintf(topic, sizeof(topic), "vehicle/%s/certificate/deactivate", car.name);
    assert_int_equal(car_publish(&other, topic, "{}"), MQ5_NOT_AUTHORIZED);
    assert_int_equal(rig.seen[CLOUD_LIFE_VIN_SEEN].count, 0);
    cloud_vin_make(1, 1, vin);
    snprintf(payload, sizeof(payload), "{\"vin\":\"%s\"}", vin);
    snprintf(topic, sizeof(topic), "dt/%s/telemetry", car.name);
    car_publish(&car, topic, payload);
    assert_int_equal(rig.seen[CLOUD_LIFE_VIN_SEEN].count, 1);
    assert_string_equal(rig.seen[CLOUD_LIFE_VIN_SEEN].detail, "payload");
    rig_close(&rig);
}

/* Base64 says something like a VIN now and then. */
static void pem_says_no_vin(void **state)
{
    struct rig rig;
    struct car car;
    char topic[200], vin[CLOUD_VIN_LENGTH + 1], payload[300];
    rig_open(&rig, (struct cloud_lifecycle_options){.require_device = true, .scan_for_vins = true});
    car_begin(&rig, &car, 1);
    cloud_vin_make(1, 1, vin);
    snprintf(topic, sizeof(topic), "dt/%s/telemetry", car.name);
    snprintf(payload, sizeof(payload), "{\"pem\":\"-----BEGIN X-----\\n+%s+\\n-----END X-----\\n\"}", vin);
    car_publish(&car, topic, payload);
    assert_int_equal(rig.seen[CLOUD_LIFE_VIN_SEEN].count, 0);
    static const char *const told[] = {"%s -----BEGIN X-----\\n+\\n-----END X-----",
                                       "-----BEGIN X-----\\n+\\n-----END X-----\\n %s",
                                       "-----BEGIN X-----\\n-----END X----- %s -----BEGIN X-----\\n-----END X-----",
                                       "-----BEGIN X----- %s"}; /* and never ends */
    for (unsigned i = 0; i < sizeof(told) / sizeof(told[0]); i++) {
        const char *mark = strstr(told[i], "%s");
        snprintf(payload, sizeof(payload), "%.*s%s%s", (int)(mark - told[i]), told[i], vin, mark + 2);
        car_publish(&car, topic, payload);
        assert_int_equal(rig.seen[CLOUD_LIFE_VIN_SEEN].count, i + 1);
    }
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(claimed_and_active),
        cmocka_unit_test(claim_of_another_device_is_denied),
        cmocka_unit_test(registered_just_in_time),
        cmocka_unit_test(registration_does_not_outlive_the_device),
        cmocka_unit_test(not_granted_is_not_registered),
        cmocka_unit_test(rotated),
        cmocka_unit_test(deactivation_counts_over_the_certificate_it_names),
        cmocka_unit_test(rolled_back),
        cmocka_unit_test(timed_out),
        cmocka_unit_test(revoked_and_released),
        cmocka_unit_test(audited),
        cmocka_unit_test(sold),
        cmocka_unit_test(swapped),
        cmocka_unit_test(decommissioned),
        cmocka_unit_test(cloned),
        cmocka_unit_test(cloned_or_not),
        cmocka_unit_test(policies_hold),
        cmocka_unit_test(pem_says_no_vin),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
