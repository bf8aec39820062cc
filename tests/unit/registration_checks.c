/* Just-in-time registration's further checks: the CA's state and mode, its responder, a thing that has a certificate already; each refusal counted. */
#include "cloud/services.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define EPOCH_S  INT64_C(1790000000)
#define DELAY_US (3 * US_PER_S)

struct rig {
    struct cloud_pki *pki;
    struct cloud_registry *registry;
    struct cloud_broker *broker;
    struct cloud_bus *bus;
    struct cloud_registration *registration;
    enum cloud_ocsp_status standing;
    uint32_t asked, activated;
    int64_t asked_us;
};

static void nothing_sent(void *context, void *link, const uint8_t *data, size_t length)
{
}

static void nothing_closed(void *context, void *link, enum cloud_close_reason reason)
{
}

static enum cloud_ocsp_status responder(void *context, int64_t now_us, const struct cloud_certificate *certificate)
{
    struct rig *rig = context;
    rig->asked++;
    rig->asked_us = now_us;
    assert_string_equal(certificate->common_name, "car-1");
    return rig->standing;
}

static void activated(void *context, int64_t now_us, const struct cloud_certificate *certificate)
{
    struct rig *rig = context;
    rig->activated++;
    assert_int_equal(cloud_registry_status(rig->registry, certificate->id), CLOUD_CERTIFICATE_ACTIVE);
}

static void rig_open(struct rig *rig, struct cloud_registration_options options)
{
    static const struct cloud_broker_ops ops = {.send = nothing_sent, .close = nothing_closed};
    struct cloud_broker_options broker;
    cloud_broker_defaults(&broker);
    memset(rig, 0, sizeof *rig);
    rig->pki = cloud_pki_modelled(3);
    rig->registry = cloud_registry_open(NULL, NULL, 0);
    rig->broker = cloud_broker_create(&broker, &ops, rig, 1);
    rig->bus = cloud_bus_local(rig->broker, SPAN_LITERAL("services"));
    options.epoch_us = EPOCH_S * US_PER_S;
    options.activation_delay_us = DELAY_US;
    options.activated = activated;
    options.activated_context = options.ocsp_context = rig;
    rig->registration = cloud_registration_create(&options, rig->pki, rig->registry, rig->bus);
    assert_non_null(rig->registration);
}

static void rig_close(struct rig *rig)
{
    cloud_registration_destroy(rig->registration);
    rig->bus->ops->close(rig->bus);
    cloud_broker_destroy(rig->broker);
    cloud_registry_close(rig->registry);
    cloud_pki_close(rig->pki);
}

struct identity {
    struct cloud_peer peer;
    uint8_t bytes[512];
};

static void identity_make(struct rig *rig, enum cloud_ca ca, const char *name, struct identity *out)
{
    size_t length = sizeof out->bytes;
    struct cloud_certificate certificate;
    assert_true(cloud_pki_make(rig->pki, ca, name, EPOCH_S - 10, 86400, out->bytes, &length, NULL, NULL));
    assert_true(cloud_pki_read(rig->pki, span_of(out->bytes, length), &certificate));
    memset(&out->peer, 0, sizeof out->peer);
    cloud_peer_from_certificate(&out->peer, &certificate, span_of(out->bytes, length));
}

enum outcome { ACCEPTED, REFUSED, DROPPED };

static enum outcome attempt(struct rig *rig, int64_t now_us, const struct identity *who, const char *client_id)
{
    struct mq5_connect connect = {.version = MQ5_V5, .client_id = span_text(client_id)};
    cloud_registration_tick(rig->registration, now_us);
    struct cloud_authorisation answer = cloud_registration_authorise(rig->registration, now_us, &connect, &who->peer);
    return answer.reason == MQ5_SUCCESS ? ACCEPTED : answer.silent ? DROPPED : REFUSED;
}

static uint64_t refusals(struct rig *rig, enum cloud_registration_refusal refusal)
{
    return cloud_registration_refusals(rig->registration, refusal);
}

static uint64_t all_refusals(struct rig *rig)
{
    uint64_t sum = 0;
    for (int i = 0; i < CLOUD_REFUSALS; i++)
        sum += refusals(rig, (enum cloud_registration_refusal)i);
    return sum;
}

static enum cloud_certificate_status status_of(struct rig *rig, const struct identity *who)
{
    return cloud_registry_status(rig->registry, who->peer.certificate_id);
}

static void every_refusal_is_counted(void **state)
{
    struct rig rig;
    struct identity car, other, stranger;
    rig_open(&rig, (struct cloud_registration_options){.check_allow_list = true});
    cloud_registry_allow(rig.registry, "car-1");
    identity_make(&rig, CLOUD_CA_OPERATIONAL, "car-1", &car);
    identity_make(&rig, CLOUD_CA_OPERATIONAL, "car-2", &other);
    identity_make(&rig, CLOUD_CA_CLAIM, "car-1", &stranger);
    assert_int_equal(attempt(&rig, 0, &stranger, "car-1"), REFUSED);
    assert_int_equal(refusals(&rig, CLOUD_REFUSAL_STRANGER), 1);
    assert_int_equal(attempt(&rig, 86400 * US_PER_S, &car, "car-1"), REFUSED);
    assert_int_equal(refusals(&rig, CLOUD_REFUSAL_VALIDITY), 1);
    assert_int_equal(attempt(&rig, 0, &car, "car-1"), DROPPED);
    assert_int_equal(refusals(&rig, CLOUD_REFUSAL_FIRST), 1);
    assert_true(cloud_registration_knows(rig.registration, car.peer.certificate_id));
    assert_int_equal(attempt(&rig, 1, &car, "car-1"), DROPPED);
    assert_int_equal(refusals(&rig, CLOUD_REFUSAL_PENDING), 1);
    assert_int_equal(attempt(&rig, 2, &other, "car-2"), DROPPED);
    assert_int_equal(attempt(&rig, 4 * US_PER_S, &car, "car-1"), ACCEPTED);
    assert_int_equal(refusals(&rig, CLOUD_REFUSAL_ALLOW_LIST), 1);
    assert_int_equal(attempt(&rig, 4 * US_PER_S, &car, "car-2"), REFUSED);
    assert_int_equal(refusals(&rig, CLOUD_REFUSAL_OTHER_THING), 1);
    assert_int_equal(attempt(&rig, 5 * US_PER_S, &other, "car-2"), REFUSED);
    assert_int_equal(refusals(&rig, CLOUD_REFUSAL_STATUS), 1);
    assert_int_equal(attempt(&rig, 86400 * US_PER_S, &car, "car-1"), REFUSED);
    assert_int_equal(refusals(&rig, CLOUD_REFUSAL_VALIDITY), 2);
    assert_int_equal(all_refusals(&rig), 9);
    assert_int_equal(rig.activated, 1);
    uint64_t refused, made, strangers;
    cloud_registration_counts(rig.registration, &refused, &made, &strangers);
    assert_int_equal(refused, 3);
    assert_int_equal(made, 1);
    assert_int_equal(strangers, 3); /* of another CA, out of validity at first sight, not on the list */
    for (int i = 0; i < CLOUD_REFUSALS; i++)
        for (int j = 0; j < i; j++)
            assert_string_not_equal(cloud_registration_refusal_name((enum cloud_registration_refusal)i),
                                    cloud_registration_refusal_name((enum cloud_registration_refusal)j));
    rig_close(&rig);
}

static void the_responder_is_asked(void **state)
{
    static const struct {
        enum cloud_ocsp_status standing;
        enum cloud_registration_refusal refusal;
    } cases[] = {{CLOUD_OCSP_GOOD, CLOUD_REFUSALS},
                 {CLOUD_OCSP_REVOKED, CLOUD_REFUSAL_OCSP_REVOKED},
                 {CLOUD_OCSP_UNKNOWN, CLOUD_REFUSAL_OCSP_UNKNOWN}};
    for (int i = 0; i < 3; i++) {
        struct rig rig;
        struct identity car;
        rig_open(&rig, (struct cloud_registration_options){.ocsp = responder});
        rig.standing = cases[i].standing;
        identity_make(&rig, CLOUD_CA_OPERATIONAL, "car-1", &car);
        assert_int_equal(attempt(&rig, 7, &car, "car-1"), DROPPED);
        assert_int_equal(rig.asked, 0); /* the rule asks, not the door */
        cloud_registration_tick(rig.registration, 7 + DELAY_US);
        assert_int_equal(rig.asked, 1);
        assert_int_equal(rig.asked_us, 7 + DELAY_US);
        bool good = cases[i].refusal == CLOUD_REFUSALS;
        assert_int_equal(status_of(&rig, &car), good ? CLOUD_CERTIFICATE_ACTIVE : CLOUD_CERTIFICATE_INACTIVE);
        assert_int_equal(cloud_registry_has_thing(rig.registry, "car-1"), good);
        assert_int_equal(rig.activated, good);
        if (!good)
            assert_int_equal(refusals(&rig, cases[i].refusal), 1);
        assert_int_equal(all_refusals(&rig), good ? 1 : 2);
        assert_int_equal(attempt(&rig, US_PER_MIN, &car, "car-1"), good ? ACCEPTED : REFUSED);
        rig_close(&rig);
    }
}

static void a_second_certificate(void **state)
{
    static const enum cloud_duplicate ways[] = {CLOUD_DUPLICATE_ACCEPT, CLOUD_DUPLICATE_REFUSE,
                                                CLOUD_DUPLICATE_REPLACE};
    for (int i = 0; i < 3; i++) {
        struct rig rig;
        struct identity first, second, other;
        rig_open(&rig, (struct cloud_registration_options){.duplicate = ways[i]});
        identity_make(&rig, CLOUD_CA_OPERATIONAL, "car-1", &first);
        identity_make(&rig, CLOUD_CA_OPERATIONAL, "car-1", &second);
        identity_make(&rig, CLOUD_CA_OPERATIONAL, "car-2", &other);
        assert_int_equal(attempt(&rig, 0, &first, "car-1"), DROPPED);
        assert_int_equal(attempt(&rig, 0, &other, "car-2"), DROPPED);
        assert_int_equal(attempt(&rig, 10 * US_PER_S, &first, "car-1"), ACCEPTED);
        assert_int_equal(attempt(&rig, 20 * US_PER_S, &second, "car-1"), DROPPED);
        cloud_registration_tick(rig.registration, 30 * US_PER_S);
        assert_int_equal(attempt(&rig, 31 * US_PER_S, &first, "car-1"),
                         ways[i] == CLOUD_DUPLICATE_REPLACE ? REFUSED : ACCEPTED);
        assert_int_equal(attempt(&rig, 31 * US_PER_S, &second, "car-1"),
                         ways[i] == CLOUD_DUPLICATE_REFUSE ? REFUSED : ACCEPTED);
        assert_int_equal(attempt(&rig, 31 * US_PER_S, &other, "car-2"), ACCEPTED);
        assert_int_equal(refusals(&rig, CLOUD_REFUSAL_DUPLICATE), ways[i] == CLOUD_DUPLICATE_REFUSE);
        /* Once the first has lost its status, the way is free. */
        if (ways[i] == CLOUD_DUPLICATE_REFUSE) {
            struct identity third;
            identity_make(&rig, CLOUD_CA_OPERATIONAL, "car-1", &third);
            cloud_registry_set_status(rig.registry, first.peer.certificate_id, CLOUD_CERTIFICATE_REVOKED, EPOCH_S);
            assert_int_equal(attempt(&rig, 40 * US_PER_S, &third, "car-1"), DROPPED);
            assert_int_equal(attempt(&rig, 50 * US_PER_S, &third, "car-1"), ACCEPTED);
        }
        rig_close(&rig);
    }
}

static void the_state_of_the_ca(void **state)
{
    struct rig rig;
    struct identity known, pending, late, stranger;
    rig_open(&rig, (struct cloud_registration_options){0});
    identity_make(&rig, CLOUD_CA_OPERATIONAL, "car-1", &known);
    identity_make(&rig, CLOUD_CA_OPERATIONAL, "car-2", &pending);
    identity_make(&rig, CLOUD_CA_OPERATIONAL, "car-3", &late);
    identity_make(&rig, CLOUD_CA_CLAIM, "car-4", &stranger);
    assert_int_equal(attempt(&rig, 0, &known, "car-1"), DROPPED);
    assert_int_equal(attempt(&rig, 10 * US_PER_S, &pending, "car-2"), DROPPED);
    for (int i = 0; i < 2; i++) {
        cloud_registration_set_ca(rig.registration, i == 0, i == 1);
        assert_int_equal(attempt(&rig, 11 * US_PER_S, &late, "car-3"), REFUSED);
        assert_int_equal(status_of(&rig, &late), CLOUD_CERTIFICATE_UNKNOWN);
        assert_int_equal(attempt(&rig, 11 * US_PER_S, &known, "car-1"), ACCEPTED);
        assert_int_equal(attempt(&rig, 11 * US_PER_S, &stranger, "car-4"), REFUSED);
    }
    assert_int_equal(attempt(&rig, 14 * US_PER_S, &pending, "car-2"), ACCEPTED); /* it was registered in time */
    assert_int_equal(refusals(&rig, CLOUD_REFUSAL_CA_INACTIVE), 1);
    assert_int_equal(refusals(&rig, CLOUD_REFUSAL_NO_AUTO_REGISTRATION), 1);
    assert_int_equal(refusals(&rig, CLOUD_REFUSAL_STRANGER), 2);
    cloud_registration_set_ca(rig.registration, false, false);
    assert_int_equal(attempt(&rig, 20 * US_PER_S, &late, "car-3"), DROPPED);
    assert_int_equal(attempt(&rig, 30 * US_PER_S, &late, "car-3"), ACCEPTED);
    rig_close(&rig);
    rig_open(&rig, (struct cloud_registration_options){.ca_inactive = true});
    identity_make(&rig, CLOUD_CA_OPERATIONAL, "car-1", &known);
    assert_int_equal(attempt(&rig, 0, &known, "car-1"), REFUSED);
    rig_close(&rig);
}

static void by_server_name_only(void **state)
{
    static const char *const right[] = {"eu.iot.example.com", "EU.iot.Example.COM", "us.iot.example.com"};
    static const char *const wrong[] = {"",
                                        "iot.example.com",
                                        "eu.iot.example.com.evil.org",
                                        "eu.iot.example.co",
                                        "eu.iot.example.com,us.iot.example.com",
                                        ","};
    struct rig rig;
    struct identity car;
    rig_open(&rig, (struct cloud_registration_options){.ca_mode = CLOUD_CA_MODE_SNI_ONLY,
                                                       .endpoints = "eu.iot.example.com,us.iot.example.com"});
    identity_make(&rig, CLOUD_CA_OPERATIONAL, "car-1", &car);
    for (int known = 0; known < 2; known++) {
        for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
            strcpy(car.peer.server_name, wrong[i]);
            assert_int_equal(attempt(&rig, known * 10 * US_PER_S, &car, "car-1"), REFUSED);
        }
        for (size_t i = 0; i < sizeof right / sizeof right[0]; i++) {
            strcpy(car.peer.server_name, right[i]);
            assert_int_equal(attempt(&rig, known * 10 * US_PER_S, &car, "car-1"), known ? ACCEPTED : DROPPED);
        }
    }
    assert_int_equal(refusals(&rig, CLOUD_REFUSAL_SERVER_NAME), 2 * sizeof wrong / sizeof wrong[0]);
    rig_close(&rig);

    /* No endpoint is known: nobody can name one. And in the standard mode nobody has to. */
    rig_open(&rig, (struct cloud_registration_options){.ca_mode = CLOUD_CA_MODE_SNI_ONLY});
    identity_make(&rig, CLOUD_CA_OPERATIONAL, "car-1", &car);
    strcpy(car.peer.server_name, right[0]);
    assert_int_equal(attempt(&rig, 0, &car, "car-1"), REFUSED);
    rig_close(&rig);
    rig_open(&rig, (struct cloud_registration_options){.endpoints = "eu.iot.example.com"});
    identity_make(&rig, CLOUD_CA_OPERATIONAL, "car-1", &car);
    assert_int_equal(attempt(&rig, 0, &car, "car-1"), DROPPED);
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_refusal_is_counted), cmocka_unit_test(the_responder_is_asked),
        cmocka_unit_test(a_second_certificate),     cmocka_unit_test(the_state_of_the_ca),
        cmocka_unit_test(by_server_name_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
