/* What is wrong in the cloud's books or at its door is found: each fault by the flaw, or the event, that it must show as. */
#include "lifecycle_rig.h"

static const struct cloud_lifecycle_options plain = {.require_device = true};

/* A whole rotation; true: the vehicle is on the new certificate. */
static bool rotate(struct car *car)
{
    if (!cloud_lifecycle_rotate(car->rig->life, car->rig->now_us, car_thing(car)))
        return false;
    rig_pass(car->rig, US_PER_S);
    if (!car_start_job(car) || !car_certificate(car, 1 - car->current) || !car_provision(car, "rotation"))
        return false;
    car_disconnect(car);
    car->current = 1 - car->current;
    if (!car_connect(car))
        return false;
    car_say(car, "vehicle/%s/certificate/deactivate");
    return car_update_job(car, "{\"status\":\"SUCCEEDED\"}");
}

static void old_certificate_stays_active(void **state)
{
    struct rig rig;
    struct car car;
    rig_open(&rig, plain);
    car_begin(&rig, &car, 1);
    rig.forget_deactivation = true;
    assert_true(rotate(&car));
    assert_int_equal(rig.seen[CLOUD_LIFE_OLD_DEACTIVATED].count, 0);
    rig_flawed(&rig, CLOUD_FLAW_SECOND_CERTIFICATE);
    rig.forget_deactivation = false; /* the next rotation puts it right */
    assert_true(rotate(&car));
    assert_int_equal(rig_verify(&rig), 0);
    rig_close(&rig);
}

static void new_certificate_never_active(void **state)
{
    struct rig rig;
    struct car car;
    rig_open(&rig, plain);
    rig.never_activate = true;
    car_build(&rig, &car, 1);
    assert_true(car_claim(&car)); /* the cloud says so, and its history */
    assert_false(car_connect(&car));
    assert_int_equal(rig.seen[CLOUD_LIFE_PROVISIONED].count, 0);
    rig_flawed(&rig, CLOUD_FLAW_NO_CERTIFICATE);
    rig_close(&rig);
}

static void connection_is_not_cut(void **state)
{
    struct rig rig;
    struct car car;
    rig_open(&rig, plain);
    car_begin(&rig, &car, 1);
    rig.forget_cut = true;
    assert_true(cloud_lifecycle_revoke(rig.life, rig.now_us, car_thing(&car), "stolen"));
    rig_pass(&rig, US_PER_HOUR);
    assert_non_null(car.connection);
    rig_flawed(&rig, CLOUD_FLAW_STILL_CONNECTED);
    car_lost(&car);
    assert_int_equal(rig_verify(&rig), 0);
    rig_close(&rig);
}

/* Slower than it may be, and cut in the end. */
static void connection_is_cut_late(void **state)
{
    struct rig rig;
    struct car car;
    rig_open(&rig, plain);
    rig.cut_us = US_PER_HOUR;
    car_begin(&rig, &car, 1);
    assert_true(cloud_lifecycle_revoke(rig.life, rig.now_us, car_thing(&car), "stolen"));
    rig.cut_us = US_PER_MIN;
    assert_int_equal(rig_verify(&rig), 0);
    rig_pass(&rig, 2 * US_PER_MIN);
    rig_flawed(&rig, CLOUD_FLAW_STILL_CONNECTED);
    rig_pass(&rig, US_PER_HOUR);
    assert_int_equal(rig_verify(&rig), 0);
    rig_close(&rig);
}

static void revocation_does_not_reach_the_door(void **state)
{
    struct rig rig;
    struct car car;
    rig_open(&rig, plain);
    car_begin(&rig, &car, 1);
    rig.forget_revocation = true;
    assert_true(cloud_lifecycle_revoke(rig.life, rig.now_us, car_thing(&car), "stolen"));
    rig_pass(&rig, US_PER_HOUR);
    rig_flawed(&rig, CLOUD_FLAW_STILL_ACTIVE);
    assert_int_equal(cloud_lifecycle_audit(rig.life, rig.now_us), 1);
    rig_pass(&rig, US_PER_S);
    assert_int_equal(rig_verify(&rig), 0);
    assert_null(car.connection);
    rig_close(&rig);
}

static void decommissioned_and_still_active(void **state)
{
    struct rig rig;
    struct car car;
    rig_open(&rig, plain);
    car_begin(&rig, &car, 1);
    rig.forget_revocation = true;
    assert_true(cloud_lifecycle_decommission(rig.life, rig.now_us, car_thing(&car)));
    rig_pass(&rig, US_PER_S);
    rig_flawed(&rig, CLOUD_FLAW_STILL_ACTIVE);
    rig_close(&rig);
}

static void old_data_is_kept(void **state)
{
    struct rig rig;
    struct car car;
    rig_open(&rig, plain);
    car_begin(&rig, &car, 1);
    rig_pass(&rig, US_PER_HOUR);
    rig.keep_data = true;
    car_lost(&car);
    assert_true(cloud_lifecycle_change_owner(rig.life, rig.now_us, car_thing(&car), SPAN_LITERAL("tenant-b")));
    assert_true(cloud_lifecycle_may_read(rig.life, SPAN_LITERAL("tenant-b"), car_thing(&car), EPOCH_S));
    rig.quiet = true;
    assert_int_equal(rig_verify(&rig), 2);
    assert_int_equal(rig.flaws[CLOUD_FLAW_OLD_DATA], 1);
    assert_int_equal(rig.flaws[CLOUD_FLAW_JOB_OPEN], 1);
    rig_close(&rig);
}

static void answer_is_lost(void **state)
{
    struct rig rig;
    struct car car;
    rig_open(&rig, plain);
    car_begin(&rig, &car, 1);
    assert_true(cloud_lifecycle_rotate(rig.life, rig.now_us, car_thing(&car)));
    rig_pass(&rig, US_PER_S);
    assert_true(car_start_job(&car));
    rig.lose_answer = true;
    assert_false(car_certificate(&car, 1));
    assert_false(car.answered);
    rig_flawed(&rig, CLOUD_FLAW_JOB_OPEN);
    assert_true(car_certificate(&car, 1));
    rig.lose_answer = true;
    assert_false(car_provision(&car, "rotation"));
    assert_true(car_provision(&car, "rotation")); /* asked again, the same answer */
    assert_int_equal(rig.seen[CLOUD_LIFE_ROTATION_ISSUED].count, 1);
    /* Begun anew: the certificate of the first attempt goes when the second is granted. */
    struct car before = car;
    assert_true(car_certificate(&car, 1));
    assert_true(car_provision(&car, "rotation"));
    assert_int_equal(car_status(&before, 1), CLOUD_CERTIFICATE_INACTIVE);
    assert_int_equal(car_status(&car, 0), CLOUD_CERTIFICATE_ACTIVE);
    car_disconnect(&car);
    car.current = 1;
    assert_true(car_connect(&car));
    assert_true(car_update_job(&car, "{\"status\":\"SUCCEEDED\"}")); /* without a word before: the same end */
    assert_int_equal(car_status(&car, 0), CLOUD_CERTIFICATE_INACTIVE);
    assert_int_equal(rig_verify(&rig), 0);
    rig_close(&rig);
}

static void certificate_has_expired(void **state)
{
    struct rig rig;
    struct car car;
    rig_open(&rig, plain);
    car_begin(&rig, &car, 1);
    rig_pass(&rig, (LIFETIME_S + 60) * US_PER_S);
    rig_flawed(&rig, CLOUD_FLAW_NO_CERTIFICATE);
    assert_int_equal(cloud_lifecycle_audit(rig.life, rig.now_us), 0);
    car_lost(&car);
    assert_false(car_connect(&car));
    assert_string_equal(rig.seen[CLOUD_LIFE_REFUSED].detail, "certificate has expired");
    assert_true(car_claim(&car));
    assert_true(car_connect(&car));
    assert_int_equal(rig_verify(&rig), 0);
    rig_close(&rig);
}

static void read_slot(const struct car *car, struct cloud_certificate *out)
{
    assert_true(cloud_certificate_read(certificate_span(&car->slot[0]), out));
}

static void identity_is_shared(void **state)
{
    struct rig rig;
    struct car car, other;
    struct cloud_certificate certificate;
    rig_open(&rig, plain);
    car_begin(&rig, &car, 1);
    car_begin(&rig, &other, 2);
    read_slot(&car, &certificate);
    /* The books say that it is the other's. */
    assert_true(
        cloud_registry_put_certificate(rig.registry, &certificate, CLOUD_CERTIFICATE_ACTIVE, other.name, EPOCH_S));
    rig.quiet = true;
    rig_verify(&rig);
    assert_int_equal(rig.flaws[CLOUD_FLAW_SHARED_IDENTITY], 2); /* whose it is, and who is connected with it */
    assert_int_equal(rig.flaws[CLOUD_FLAW_SECOND_CERTIFICATE], 1);
    assert_int_equal(rig.flaws[CLOUD_FLAW_NO_CERTIFICATE], 1);
    rig_close(&rig);
}

static void reference_is_another(void **state)
{
    struct rig rig;
    struct car car;
    struct cloud_certificate certificate;
    char reference[CLOUD_REFERENCE_MAX + 1] = "", vin[CLOUD_VIN_LENGTH + 1];
    rig_open(&rig, plain);
    car_begin(&rig, &car, 1);
    read_slot(&car, &certificate);
    strcpy(certificate.common_name, "another-name");
    certificate.id[0] ^= 1;
    assert_true(
        cloud_registry_put_certificate(rig.registry, &certificate, CLOUD_CERTIFICATE_INACTIVE, car.name, EPOCH_S));
    rig_flawed(&rig, CLOUD_FLAW_REFERENCE);
    assert_true(cloud_registry_forget_certificate(rig.registry, certificate.id));
    assert_int_equal(rig_verify(&rig), 0);
    /* Rows that come from elsewhere are taken as they are. */
    cloud_vin_make(1, 77, vin);
    assert_int_equal(cloud_vehicles_register(cloud_lifecycle_vehicles(rig.life), EPOCH_S, span_text(vin),
                                             SPAN_LITERAL("tcu-x"), SPAN_LITERAL("tenant-a"), reference),
                     CLOUD_VEHICLES_DONE);
    assert_int_equal(rig_verify(&rig), 0);
    rig_close(&rig);
}

static void history_tells_of_another_certificate(void **state)
{
    struct rig rig;
    struct car car;
    rig_open(&rig, plain);
    car_begin(&rig, &car, 1);
    cloud_vehicles_note(cloud_lifecycle_vehicles(rig.life), EPOCH_S + 5, car_thing(&car), CLOUD_CHANGE_ROTATED,
                        SPAN_LITERAL("00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"));
    rig_flawed(&rig, CLOUD_FLAW_HISTORY);
    rig_close(&rig);
}

static void hash_is_of_the_state(void **state)
{
    uint64_t hash[2];
    for (int run = 0; run < 2; run++) {
        struct rig rig;
        struct car car;
        rig_open(&rig, plain);
        uint64_t empty = cloud_lifecycle_hash(rig.life);
        assert_true(cloud_lifecycle_bytes(rig.life) <= 6144); /* 2.7 KB of it the two documents */
        car_begin(&rig, &car, 1);
        uint64_t begun = cloud_lifecycle_hash(rig.life);
        assert_true(cloud_lifecycle_rotate(rig.life, rig.now_us, car_thing(&car)));
        hash[run] = cloud_lifecycle_hash(rig.life);
        assert_true(empty != begun && begun != hash[run]);
        rig_close(&rig);
    }
    assert_true(hash[0] == hash[1]);
}

static void policy_that_does_not_compile(void **state)
{
    struct cloud cloud;
    char error[200] = "";
    struct cloud_lifecycle_options life = {.vehicle_policy = "no such policy"};
    struct cloud_options options = {.lifecycle = &life, .error = error, .error_capacity = sizeof(error)};
    struct cloud_pki *pki = cloud_pki_modelled(3);
    struct cloud_registry *registry = cloud_registry_open(NULL, NULL, 0);
    cloud_broker_defaults(&options.broker);
    assert_false(cloud_create(&cloud, &options, pki, registry, rig_send, rig_closed, NULL));
    assert_non_null(strstr(error, "no such policy"));
    life.vehicle_policy = "{\"Statement\":";
    assert_false(cloud_create(&cloud, &options, pki, registry, rig_send, rig_closed, NULL));
    assert_true(error[0] != 0 && !strstr(error, "no such policy"));
    cloud_registry_close(registry);
    cloud_pki_close(pki);
}

/* ---- the same services on topics that are ordinary ones for the broker ----------------------------------------------- */

struct heard {
    char topic[200], payload[2000];
    uint32_t answers;
};

static void hear(void *context, int64_t now_us, const struct mq5_publish *message)
{
    struct heard *heard = context;
    snprintf(heard->topic, sizeof(heard->topic), "%.*s", (int)message->topic.length, (const char *)message->topic.data);
    snprintf(heard->payload, sizeof(heard->payload), "%.*s", (int)message->payload.length,
             (const char *)message->payload.data);
    heard->answers += ends_in(heard->topic, "/accepted") || ends_in(heard->topic, "/rejected");
}

static void say(struct cloud_bus *bus, const char *topic, const char *payload)
{
    struct mq5_publish message = {.qos = 1, .topic = span_text(topic), .payload = span_text(payload)};
    bus->ops->publish(bus, US_PER_S, &message);
}

/* Somebody else's broker: nothing is known but topics. A thing speaks under its own name because that broker sees to it. */
static void on_another_broker(void **state)
{
    struct heard heard = {0};
    struct cloud_broker_options broker_options;
    cloud_broker_defaults(&broker_options);
    struct cloud_broker *broker = cloud_broker_create(&broker_options, &(struct cloud_broker_ops){0}, NULL, 1);
    struct cloud_bus *bus = cloud_bus_local(broker, SPAN_LITERAL("services")),
                     *car = cloud_bus_local(broker, SPAN_LITERAL("car-1"));
    struct cloud_pki *pki = cloud_pki_modelled(3);
    struct cloud_registry *registry = cloud_registry_open(NULL, NULL, 0);
    struct cloud_lifecycle_options options = {.epoch_us = EPOCH_US, .certificate_lifetime_s = LIFETIME_S};
    struct cloud_lifecycle_parts parts = {
        .bus = bus, .registry = registry, .pki = pki, .prefix = "convoy/%/", .event_prefix = "convoy/events"};
    char error[200], vin[CLOUD_VIN_LENGTH + 1];
    struct cloud_lifecycle *life = cloud_lifecycle_create(&options, &parts, error, sizeof(error));
    assert_non_null(life);
    assert_true(car->ops->subscribe(car, 0, SPAN_LITERAL("convoy/car-1/#"), 1, hear, &heard) < 0x80);
    cloud_vin_make(1, 1, vin);
    assert_int_equal(cloud_lifecycle_build(life, US_PER_S, span_text(vin), SPAN_LITERAL("tcu-1"), SPAN_LITERAL("a"),
                                           SPAN_LITERAL("car-1")),
                     CLOUD_VEHICLES_DONE);
    say(car, "convoy/car-1/certificates/create-from-csr/json",
        "{\"certificateSigningRequest\":\"CVR1|car-1|00000000000000aa\"}");
    assert_int_equal(heard.answers, 1);
    assert_string_equal(heard.topic, "convoy/car-1/certificates/create-from-csr/json/accepted");
    const char *token = strstr(heard.payload, "\"certificateOwnershipToken\":\"");
    assert_non_null(token);
    char ask[300];
    token += strlen("\"certificateOwnershipToken\":\"");
    snprintf(ask, sizeof(ask),
             "{\"certificateOwnershipToken\":\"%.*s\",\"parameters\":{\"reference\":\"car-1\",\"device\":\"tcu-1\"}}",
             (int)strcspn(token, "\""), token);
    say(car, "convoy/car-1/provisioning-templates/claim/provision/json", ask);
    assert_string_equal(heard.topic, "convoy/car-1/provisioning-templates/claim/provision/json/accepted");
    assert_true(cloud_lifecycle_rotate(life, 2 * US_PER_S, SPAN_LITERAL("car-1")));
    assert_string_equal(heard.topic, "convoy/car-1/things/car-1/jobs/notify-next");
    say(car, "convoy/car-1/things/car-1/jobs/start-next", "{}");
    assert_string_equal(heard.topic + strlen("convoy/car-1/things/car-1/jobs/"), "start-next/accepted");
    assert_int_equal(heard.answers, 3);
    cloud_lifecycle_destroy(life);
    car->ops->close(car);
    bus->ops->close(bus);
    cloud_broker_destroy(broker);
    cloud_registry_close(registry);
    cloud_pki_close(pki);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(old_certificate_stays_active),
        cmocka_unit_test(new_certificate_never_active),
        cmocka_unit_test(connection_is_not_cut),
        cmocka_unit_test(connection_is_cut_late),
        cmocka_unit_test(revocation_does_not_reach_the_door),
        cmocka_unit_test(decommissioned_and_still_active),
        cmocka_unit_test(old_data_is_kept),
        cmocka_unit_test(answer_is_lost),
        cmocka_unit_test(certificate_has_expired),
        cmocka_unit_test(identity_is_shared),
        cmocka_unit_test(reference_is_another),
        cmocka_unit_test(history_tells_of_another_certificate),
        cmocka_unit_test(hash_is_of_the_state),
        cmocka_unit_test(policy_that_does_not_compile),
        cmocka_unit_test(on_another_broker),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
