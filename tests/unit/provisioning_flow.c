/* Fleet provisioning as vehicles go through it: claim, renewal, keys made by the cloud, delays, lost answers, tokens running out. */
#include "provisioning_rig.h"

static void check_claim(bool modelled)
{
    struct rig rig;
    struct identity claim;
    struct cloud_certificate made;
    char csr[2600], token[129], thing[64];
    rig_open(&rig, modelled, true, (struct cloud_provisioning_options){0});
    rig_identity(&rig, CLOUD_CA_CLAIM, "lot-2026-11", &claim);
    assert_int_equal(cloud_provisioning_next_deadline(rig.provisioning), TIME_NEVER);

    rig_ask(&rig, US_PER_S, &claim.peer, "car-1", CREATE_CSR, rig_csr(&rig, "car-1", csr, sizeof csr), "accepted");
    rig_issued(&rig, "car-1", &made, token);
    assert_int_equal(made.not_before_s, EPOCH_S + 1);
    assert_int_equal(made.not_after_s, EPOCH_S + 1 + YEAR_S);
    assert_null(cJSON_GetObjectItem(rig.json, "privateKey"));
    assert_int_equal(cloud_registry_status(rig.registry, made.id), CLOUD_CERTIFICATE_PENDING_ACTIVATION);
    assert_false(cloud_registry_thing_of(rig.registry, made.id, thing));
    assert_false(cloud_registry_has_thing(rig.registry, "car-1"));
    assert_int_equal(cloud_provisioning_next_deadline(rig.provisioning), US_PER_S + US_PER_HOUR);

    rig_ask(&rig, 2 * US_PER_S, &claim.peer, "car-1", CLAIM, rig_provision(token, "car-1"), "accepted");
    assert_string_equal(rig.payload, "{\"deviceConfiguration\":{},\"thingName\":\"car-1\"}");
    assert_int_equal(cloud_registry_status(rig.registry, made.id), CLOUD_CERTIFICATE_ACTIVE);
    assert_true(cloud_registry_thing_of(rig.registry, made.id, thing));
    assert_string_equal(thing, "car-1");
    assert_true(cloud_registry_has_thing(rig.registry, "car-1"));
    assert_int_equal(rig.provisioned, 1);
    assert_false(rig.last.renewal);
    assert_string_equal(rig.last_thing, "car-1");
    assert_string_equal(rig.last_policy, "vehicle");
    assert_string_equal(rig.last_template, "claim");
    assert_memory_equal(rig.last_id, made.id, 32);

    char wanted[300];
    for (int i = 0; i < 32; i++)
        snprintf(wanted + 2 * i, 3, "%02x", claim.certificate.id[i]);
    strcat(wanted, " claim car-1 {\"reference\":\"car-1\",\"device\":\"TCU-9\"}");
    assert_string_equal(rig.hook_saw, wanted);

    /* The same again, as a vehicle asks whose answer was lost: the same answer, and nothing happens twice. */
    rig_ask(&rig, 3 * US_PER_S, &claim.peer, "car-1", CLAIM, rig_provision(token, "car-1"), "accepted");
    assert_string_equal(rig.payload, "{\"deviceConfiguration\":{},\"thingName\":\"car-1\"}");
    assert_int_equal(rig.provisioned, 1);
    assert_int_equal(rig.hooks, 1);
    rig_counts(&rig, 1, 1, 0, 0, 0);

    /* A used token runs out and takes nothing with it. */
    cloud_provisioning_tick(rig.provisioning, US_PER_S + US_PER_HOUR);
    assert_int_equal(cloud_registry_status(rig.registry, made.id), CLOUD_CERTIFICATE_ACTIVE);
    assert_int_equal(cloud_provisioning_next_deadline(rig.provisioning), TIME_NEVER);
    rig_ask(&rig, 2 * US_PER_HOUR, &claim.peer, "car-1", CLAIM, rig_provision(token, "car-1"), "rejected");
    rig_refused(&rig, 400, "InvalidCertificateOwnershipToken");
    rig_counts(&rig, 1, 1, 0, 1, 0);
    rig_close(&rig);
}

static void claim_modelled(void **state)
{
    check_claim(true);
}

static void claim_real(void **state)
{
    check_claim(false);
}

static void check_renewal(bool modelled)
{
    struct rig rig;
    struct identity car;
    struct cloud_certificate made;
    char csr[2600], token[129], thing[64];
    rig_open(&rig, modelled, false, (struct cloud_provisioning_options){0});
    rig_vehicle(&rig, "car-1", &car);
    rig_vehicle(&rig, "car-2", &(struct identity){0});

    rig_ask(&rig, 0, &car.peer, "car-1", CREATE_CSR, rig_csr(&rig, "car-2", csr, sizeof csr), "rejected");
    rig_refused(&rig, 400, "InvalidCsr");
    rig_ask(&rig, 0, &car.peer, "car-1", CREATE_CSR, rig_csr(&rig, "car-1", csr, sizeof csr), "accepted");
    rig_issued(&rig, "car-1", &made, token);
    rig_ask(&rig, 0, &car.peer, "car-1", ROTATION, rig_provision(token, "car-2"), "rejected");
    rig_refused(&rig, 403, "AccessDenied");
    rig_ask(&rig, 0, &car.peer, "car-1", ROTATION, rig_provision(token, "car-1"), "accepted");
    assert_true(rig.last.renewal);
    assert_string_equal(rig.last_template, "rotation");
    /* Both are good until the vehicle has the old one deactivated. */
    assert_int_equal(cloud_registry_status(rig.registry, made.id), CLOUD_CERTIFICATE_ACTIVE);
    assert_int_equal(cloud_registry_status(rig.registry, car.certificate.id), CLOUD_CERTIFICATE_ACTIVE);
    assert_true(cloud_registry_thing_of(rig.registry, made.id, thing));
    assert_string_equal(thing, "car-1");

    /* A certificate that lost its status renews nothing, connected or not; nor does somebody else's, nor one of another client id. */
    rig_ask(&rig, 0, &car.peer, "car-2", CREATE_CSR, rig_csr(&rig, "car-2", csr, sizeof csr), "rejected");
    rig_refused(&rig, 403, "AccessDenied");
    assert_true(cloud_registry_set_status(rig.registry, car.certificate.id, CLOUD_CERTIFICATE_INACTIVE, EPOCH_S));
    rig_ask(&rig, 0, &car.peer, "car-1", CREATE_CSR, rig_csr(&rig, "car-1", csr, sizeof csr), "rejected");
    rig_refused(&rig, 403, "AccessDenied");
    rig_counts(&rig, 1, 1, 0, 4, 0);
    rig_close(&rig);
}

static void renewal_modelled(void **state)
{
    check_renewal(true);
}

static void renewal_real(void **state)
{
    check_renewal(false);
}

/* The cloud makes the key: it must belong to the certificate. */
static void check_server_key(bool modelled)
{
    struct rig rig;
    struct identity claim, car;
    struct cloud_certificate made;
    char token[129];
    rig_open(&rig, modelled, false, (struct cloud_provisioning_options){0});
    rig_identity(&rig, CLOUD_CA_CLAIM, "lot", &claim);
    rig_vehicle(&rig, "car-2", &car);
    rig_ask(&rig, 0, &claim.peer, "car-1", CREATE, "", "accepted");
    rig_issued(&rig, "car-1", &made, token);
    const char *key_text = rig_text(&rig, "privateKey");
    if (modelled) {
        char wanted[30];
        snprintf(wanted, sizeof wanted, "CVK1|");
        for (int i = 0; i < 8; i++)
            snprintf(wanted + 5 + 2 * i, 3, "%02x", made.key_id[i]);
        assert_string_equal(key_text, wanted);
    } else {
        BIO *bio = BIO_new_mem_buf(key_text, -1);
        EVP_PKEY *key = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
        BIO *other = BIO_new_mem_buf(rig_text(&rig, "certificatePem"), -1);
        X509 *x509 = PEM_read_bio_X509(other, NULL, NULL, NULL);
        assert_non_null(key);
        assert_non_null(x509);
        assert_int_equal(X509_check_private_key(x509, key), 1);
        X509_free(x509);
        EVP_PKEY_free(key);
        BIO_free(bio);
        BIO_free(other);
    }
    rig_ask(&rig, 0, &claim.peer, "car-1", CLAIM, rig_provision(token, "car-1"), "accepted");
    assert_int_equal(cloud_registry_status(rig.registry, made.id), CLOUD_CERTIFICATE_ACTIVE);
    rig_ask(&rig, 0, &car.peer, "car-2", CREATE, "{}", "accepted");
    rig_issued(&rig, "car-2", &made, token);
    rig_ask(&rig, 0, &claim.peer, "a name that is too long to be one, because sixty-three bytes is all", CREATE, "{}",
            "rejected");
    rig_refused(&rig, 400, "InvalidParameters");
    rig_close(&rig);
}

static void server_key_modelled(void **state)
{
    check_server_key(true);
}

static void server_key_real(void **state)
{
    check_server_key(false);
}

/* Every answer comes when its work is done, in the order of those moments. */
static void answers_take_their_time(void **state)
{
    struct rig rig;
    struct identity claim;
    struct cloud_certificate one, two;
    char csr[200], first[129], second[129];
    rig_open(&rig, true, true, (struct cloud_provisioning_options){.issue_us = 30 * US_PER_MS});
    rig_identity(&rig, CLOUD_CA_CLAIM, "lot", &claim);
    assert_true(rig_ask_from(&rig, 0, &claim.peer, "car-1", CREATE_CSR, rig_csr(&rig, "car-1", csr, sizeof csr)));
    assert_true(rig_ask_from(&rig, 10, &claim.peer, "car-2", CREATE_CSR, rig_csr(&rig, "car-2", csr, sizeof csr)));
    assert_int_equal(rig.answers, 0);
    assert_int_equal(cloud_provisioning_next_deadline(rig.provisioning), 30 * US_PER_MS);
    cloud_provisioning_tick(rig.provisioning, 30 * US_PER_MS - 1);
    assert_int_equal(rig.answers, 0);
    cloud_provisioning_tick(rig.provisioning, 30 * US_PER_MS);
    assert_int_equal(rig.answers, 1);
    rig_issued(&rig, "car-1", &one, first);
    cloud_provisioning_tick(rig.provisioning, 30 * US_PER_MS + 10);
    rig_issued(&rig, "car-2", &two, second);
    assert_string_not_equal(first, second);

    /* The slower hook's grant comes later, though asked for first. Nothing counts before its hook has answered. */
    rig.hook.delay_us = 5 * US_PER_S;
    assert_true(rig_ask_from(&rig, US_PER_S, &claim.peer, "car-1", CLAIM, rig_provision(first, "car-1")));
    rig.hook.delay_us = US_PER_S;
    assert_true(rig_ask_from(&rig, 2 * US_PER_S, &claim.peer, "car-2", CLAIM, rig_provision(second, "car-2")));
    assert_int_equal(rig.answers, 2);
    assert_int_equal(cloud_registry_status(rig.registry, one.id), CLOUD_CERTIFICATE_PENDING_ACTIVATION);
    assert_int_equal(cloud_provisioning_next_deadline(rig.provisioning), 3 * US_PER_S);
    cloud_provisioning_tick(rig.provisioning, 3 * US_PER_S);
    assert_int_equal(rig.answers, 3);
    assert_string_equal(rig.client_id, "car-2");
    assert_int_equal(cloud_registry_status(rig.registry, two.id), CLOUD_CERTIFICATE_ACTIVE);
    assert_int_equal(cloud_registry_status(rig.registry, one.id), CLOUD_CERTIFICATE_PENDING_ACTIVATION);
    cloud_provisioning_tick(rig.provisioning, 6 * US_PER_S);
    assert_string_equal(rig.client_id, "car-1");
    assert_string_equal(rig.topic, CLAIM "/accepted");
    assert_int_equal(cloud_registry_status(rig.registry, one.id), CLOUD_CERTIFICATE_ACTIVE);
    rig_close(&rig);
}

static void the_hook_decides(void **state)
{
    struct rig rig;
    struct identity claim;
    struct cloud_certificate made;
    char csr[200], token[129];
    rig_open(&rig, true, true, (struct cloud_provisioning_options){0});
    rig_identity(&rig, CLOUD_CA_CLAIM, "lot", &claim);
    rig_ask(&rig, 0, &claim.peer, "tcu-7", CREATE_CSR, rig_csr(&rig, "car-7", csr, sizeof csr), "accepted");
    rig_issued(&rig, "car-7", &made, token);

    rig.hook = (struct cloud_hook_answer){.allow = false};
    rig_ask(&rig, 0, &claim.peer, "tcu-7", CLAIM, rig_provision(token, "car-7"), "rejected");
    rig_refused(&rig, 403, "AccessDenied");
    rig_counts(&rig, 1, 0, 1, 0, 0);
    rig.hook.delay_us = 2 * US_PER_S; /* no, after a while */
    assert_true(rig_ask_from(&rig, 0, &claim.peer, "tcu-7", CLAIM, rig_provision(token, "car-7")));
    assert_int_equal(rig.answers, 2);
    cloud_provisioning_tick(rig.provisioning, 2 * US_PER_S);
    assert_int_equal(rig.answers, 3);
    rig_refused(&rig, 403, "AccessDenied");

    /* Above five seconds it has failed, whatever it would have said. */
    rig.hook = (struct cloud_hook_answer){.allow = true, .delay_us = 5 * US_PER_S + 1};
    assert_true(rig_ask_from(&rig, 10 * US_PER_S, &claim.peer, "tcu-7", CLAIM, rig_provision(token, "car-7")));
    assert_int_equal(cloud_provisioning_next_deadline(rig.provisioning), 15 * US_PER_S);
    cloud_provisioning_tick(rig.provisioning, 15 * US_PER_S);
    assert_int_equal(rig.answers, 4);
    rig_refused(&rig, 500, "InternalFailure");
    assert_int_equal(cloud_registry_status(rig.registry, made.id), CLOUD_CERTIFICATE_PENDING_ACTIVATION);
    assert_false(cloud_registry_has_thing(rig.registry, "car-7"));

    /* It names the thing; the certificate must be made out to that one. */
    rig.hook = (struct cloud_hook_answer){.allow = true, .thing = "car-8"};
    rig_ask(&rig, 20 * US_PER_S, &claim.peer, "tcu-7", CLAIM, rig_provision(token, "car-7"), "rejected");
    rig_refused(&rig, 400, "InvalidParameters");
    strcpy(rig.hook.thing, "car-7");
    rig_ask(&rig, 20 * US_PER_S, &claim.peer, "tcu-7", CLAIM, rig_provision(token, "anything"), "accepted");
    assert_string_equal(rig_text(&rig, "thingName"), "car-7");
    rig_counts(&rig, 1, 1, 2, 2, 0);
    rig_close(&rig);
}

/* Unused certificates go when their token does, and not before. */
static void tokens_run_out(void **state)
{
    struct rig rig;
    struct identity claim;
    struct cloud_certificate made[40];
    char csr[200], name[20], token[40][129];
    uint64_t certificates;
    rig_open(&rig, true, true, (struct cloud_provisioning_options){.token_life_us = 60 * US_PER_S});
    rig_identity(&rig, CLOUD_CA_CLAIM, "lot", &claim);
    uint64_t empty = cloud_provisioning_bytes(rig.provisioning);
    assert_true(empty <= 4096);
    for (int i = 0; i < 40; i++) {
        snprintf(name, sizeof name, "car-%d", i);
        rig_ask(&rig, i * US_PER_S, &claim.peer, name, CREATE_CSR, rig_csr(&rig, name, csr, sizeof csr), "accepted");
        rig_issued(&rig, name, &made[i], token[i]);
        for (int j = 0; j < i; j++)
            assert_string_not_equal(token[i], token[j]);
    }
    assert_true(cloud_provisioning_bytes(rig.provisioning) <= empty + 40 * 128 + 64 * sizeof(void *));
    for (int i = 0; i < 40; i += 2) {
        snprintf(name, sizeof name, "car-%d", i);
        rig_ask(&rig, 50 * US_PER_S, &claim.peer, name, CLAIM, rig_provision(token[i], name), "accepted");
    }
    /* One whose hook is still at work when the token runs out, and one that an operator has locked meanwhile. */
    rig.hook.delay_us = 5 * US_PER_S;
    assert_true(rig_ask_from(&rig, 58 * US_PER_S, &claim.peer, "car-1", CLAIM, rig_provision(token[1], "car-1")));
    assert_true(cloud_registry_set_status(rig.registry, made[3].id, CLOUD_CERTIFICATE_INACTIVE, EPOCH_S));
    for (int64_t now_us = 59 * US_PER_S; now_us < 100 * US_PER_S; now_us += US_PER_S) {
        cloud_provisioning_tick(rig.provisioning, now_us);
        for (int i = 0; i < 40; i++) {
            bool over = (60 + i) * US_PER_S <= now_us;
            enum cloud_certificate_status wanted = i % 2 == 0 ? CLOUD_CERTIFICATE_ACTIVE
                                                   : i == 3   ? CLOUD_CERTIFICATE_INACTIVE
                                                   : over     ? CLOUD_CERTIFICATE_UNKNOWN
                                                              : CLOUD_CERTIFICATE_PENDING_ACTIVATION;
            assert_int_equal(cloud_registry_status(rig.registry, made[i].id), wanted);
        }
    }
    assert_string_equal(rig.client_id, "car-1");
    rig_refused(&rig, 400, "InvalidCertificateOwnershipToken");
    rig_counts(&rig, 40, 20, 0, 1, 19);
    cloud_registry_counts(rig.registry, NULL, &certificates, NULL);
    assert_int_equal(certificates, 21);
    assert_int_equal(cloud_provisioning_next_deadline(rig.provisioning), TIME_NEVER);
    rig_close(&rig);
}

static void lost_and_never_activated(void **state)
{
    struct rig rig;
    struct identity claim;
    struct cloud_certificate made, again;
    char csr[200], token[129], thing[64];
    rig_open(&rig, true, false, (struct cloud_provisioning_options){0});
    rig_identity(&rig, CLOUD_CA_CLAIM, "lot", &claim);
    rig.lose = true;
    assert_true(rig_ask_from(&rig, 0, &claim.peer, "car-1", CREATE_CSR, rig_csr(&rig, "car-1", csr, sizeof csr)));
    assert_int_equal(rig.answers, 0);
    rig.lose = false;
    rig_ask(&rig, US_PER_S, &claim.peer, "car-1", CREATE_CSR, csr, "accepted");
    rig_issued(&rig, "car-1", &made, token);
    rig.lose = true;
    assert_true(rig_ask_from(&rig, 0, &claim.peer, "car-1", CLAIM, rig_provision(token, "car-1")));
    assert_int_equal(rig.answers, 1);
    assert_int_equal(cloud_registry_status(rig.registry, made.id), CLOUD_CERTIFICATE_ACTIVE);
    rig.lose = false;
    rig_ask(&rig, US_PER_S, &claim.peer, "car-1", CLAIM, rig_provision(token, "car-1"), "accepted");
    rig_counts(&rig, 2, 1, 0, 0, 0);
    cloud_provisioning_tick(rig.provisioning, 2 * US_PER_HOUR); /* the certificate whose answer was lost */
    rig_counts(&rig, 2, 1, 0, 0, 1);

    rig.leave_pending = true;
    rig_ask(&rig, 0, &claim.peer, "car-1", CREATE_CSR, csr, "accepted");
    rig_issued(&rig, "car-1", &again, token);
    rig_ask(&rig, 0, &claim.peer, "car-1", CLAIM, rig_provision(token, "car-1"), "accepted");
    assert_int_equal(cloud_registry_status(rig.registry, again.id), CLOUD_CERTIFICATE_PENDING_ACTIVATION);
    assert_true(cloud_registry_thing_of(rig.registry, again.id, thing));
    assert_int_equal(cloud_registry_status(rig.registry, made.id), CLOUD_CERTIFICATE_ACTIVE);
    rig_close(&rig);
}

/* Somebody else's broker: nothing but the client id is known. */
static void without_peer(void **state)
{
    struct rig rig;
    struct cloud_certificate made;
    char csr[200], token[129];
    rig_open(&rig, true, true, (struct cloud_provisioning_options){0});
    rig_ask(&rig, 0, NULL, "car-1", CREATE_CSR, rig_csr(&rig, "car-1", csr, sizeof csr), "accepted");
    rig_issued(&rig, "car-1", &made, token);
    rig_ask(&rig, 0, NULL, "car-1", CLAIM, rig_provision(token, "car-1"), "accepted");
    assert_false(rig.last.renewal);
    assert_string_equal(rig.hook_saw, " claim car-1 {\"reference\":\"car-1\",\"device\":\"TCU-9\"}");
    rig_ask(&rig, 0, NULL, "car-1", CREATE_CSR, rig_csr(&rig, "car-2", csr, sizeof csr), "rejected");
    rig_refused(&rig, 400, "InvalidCsr");
    rig_ask(&rig, 0, NULL, "car-1", CREATE_CSR, rig_csr(&rig, "car-1", csr, sizeof csr), "accepted");
    rig_issued(&rig, "car-1", &made, token);
    rig_ask(&rig, 0, NULL, "car-1", ROTATION, rig_provision(token, "car-1"), "accepted");
    assert_true(rig.last.renewal);
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(claim_modelled),
        cmocka_unit_test(claim_real),
        cmocka_unit_test(renewal_modelled),
        cmocka_unit_test(renewal_real),
        cmocka_unit_test(server_key_modelled),
        cmocka_unit_test(server_key_real),
        cmocka_unit_test(answers_take_their_time),
        cmocka_unit_test(the_hook_decides),
        cmocka_unit_test(tokens_run_out),
        cmocka_unit_test(lost_and_never_activated),
        cmocka_unit_test(without_peer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
