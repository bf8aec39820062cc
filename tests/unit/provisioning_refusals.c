/* Who gets no certificate, and what is no request: each with the code the contract has for it. */
#include "provisioning_rig.h"

static void who_may_not_ask(void **state)
{
    struct rig rig;
    struct identity claim, attestation, stranger, pending;
    char csr[200];
    struct cloud_peer nobody = {.tls = true};
    rig_open(&rig, true, false, (struct cloud_provisioning_options){0});
    rig_identity(&rig, CLOUD_CA_CLAIM, "lot", &claim);
    rig_identity(&rig, CLOUD_CA_ATTESTATION, "car-1", &attestation);
    rig_identity(&rig, CLOUD_CA_OPERATIONAL, "car-1", &stranger);
    rig_identity(&rig, CLOUD_CA_OPERATIONAL, "car-1", &pending);
    cloud_registry_put_certificate(rig.registry, &pending.certificate, CLOUD_CERTIFICATE_PENDING_ACTIVATION, "car-1",
                                   EPOCH_S);
    rig_csr(&rig, "car-1", csr, sizeof csr);
    const struct cloud_peer *out[] = {&nobody, &attestation.peer, &stranger.peer, &pending.peer};
    for (int i = 0; i < 4; i++) {
        rig_ask(&rig, 0, out[i], "car-1", CREATE_CSR, csr, "rejected");
        rig_refused(&rig, 403, "AccessDenied");
        rig_ask(&rig, 0, out[i], "car-1", CREATE, "{}", "rejected");
        rig_refused(&rig, 403, "AccessDenied");
        rig_ask(&rig, 0, out[i], "car-1", CLAIM, rig_provision("00", "car-1"), "rejected");
        rig_refused(&rig, 403, "AccessDenied");
    }
    rig_ask(&rig, 0, NULL, "", CREATE, "{}", "rejected");
    rig_refused(&rig, 403, "AccessDenied");
    rig_ask(&rig, 20 * YEAR_S * US_PER_S, &claim.peer, "car-1", CREATE_CSR, csr, "rejected"); /* out of validity */
    rig_refused(&rig, 403, "AccessDenied");
    rig_ask(&rig, -3600 * US_PER_S, &claim.peer, "car-1", CREATE_CSR, csr, "rejected");
    rig_refused(&rig, 403, "AccessDenied");
    rig_counts(&rig, 0, 0, 0, 15, 0);

    /* A claim that is known by the registry must be active. */
    cloud_registry_put_certificate(rig.registry, &claim.certificate, CLOUD_CERTIFICATE_ACTIVE, NULL, EPOCH_S);
    rig_ask(&rig, 0, &claim.peer, "car-1", CREATE_CSR, csr, "accepted");
    cloud_registry_set_status(rig.registry, claim.certificate.id, CLOUD_CERTIFICATE_REVOKED, EPOCH_S);
    rig_ask(&rig, 0, &claim.peer, "car-1", CREATE_CSR, csr, "rejected");
    rig_refused(&rig, 403, "AccessDenied");
    rig_close(&rig);
}

static void what_is_no_request(void **state)
{
    struct rig rig;
    struct identity claim;
    char long_topic[400], big[20000];
    static const char *const others[] = {"certificates/create/cbor",
                                         "certificates/create-from-csr/json/accepted",
                                         "certificates/create",
                                         "provisioning-templates/claim/provision/cbor",
                                         "provisioning-templates//provision/json",
                                         "provisioning-templates/a/b/provision/json",
                                         "provisioning-templates/provision/json",
                                         "things/car-1/jobs/get",
                                         ""};
    rig_open(&rig, true, false, (struct cloud_provisioning_options){0});
    rig_identity(&rig, CLOUD_CA_CLAIM, "lot", &claim);
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        assert_false(rig_ask_from(&rig, 0, &claim.peer, "car-1", others[i], "{}"));
    memset(long_topic, 'x', sizeof long_topic);
    memcpy(long_topic, "provisioning-templates/", 23);
    strcpy(long_topic + 300, "/provision/json");
    assert_false(rig_ask_from(&rig, 0, &claim.peer, "car-1", long_topic, "{}"));
    assert_int_equal(rig.answers, 0);

    static const char *const bodies[] = {"[]", "{", "\"text\"", "7", "nonsense"};
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        rig_ask(&rig, 0, &claim.peer, "car-1", CREATE_CSR, bodies[i], "rejected");
        rig_refused(&rig, 400, "InvalidParameters");
        rig_ask(&rig, 0, &claim.peer, "car-1", CLAIM, bodies[i], "rejected");
        rig_refused(&rig, 400, "InvalidParameters");
    }
    memset(big, ' ', sizeof big);
    big[0] = '{';
    strcpy(big + sizeof big - 2, "}");
    rig_ask(&rig, 0, &claim.peer, "car-1", CREATE_CSR, big, "rejected");
    rig_refused(&rig, 400, "InvalidParameters");
    static const char *const requests[] = {"",
                                           "{}",
                                           "{\"certificateSigningRequest\":7}",
                                           "{\"certificateSigningRequest\":\"\"}",
                                           "{\"certificateSigningRequest\":\"CVR1|car-1|0\"}",
                                           "{\"certificateSigningRequest\":\"-----BEGIN CERTIFICATE REQUEST-----\"}"};
    for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++) {
        rig_ask(&rig, 0, &claim.peer, "car-1", CREATE_CSR, requests[i], "rejected");
        rig_refused(&rig, 400, "InvalidCsr");
    }
    rig_close(&rig);
}

#define TEN "0123456789"

static void tokens_and_parameters(void **state)
{
    struct rig rig;
    struct identity claim;
    struct cloud_certificate made;
    char csr[200], token[129], body[600];
    rig_open(&rig, true, true, (struct cloud_provisioning_options){0});
    rig_identity(&rig, CLOUD_CA_CLAIM, "lot", &claim);
    rig_ask(&rig, 0, &claim.peer, "car-1", CREATE_CSR, rig_csr(&rig, "car-1", csr, sizeof csr), "accepted");
    rig_issued(&rig, "car-1", &made, token);

    static const char *const bodies[] = {"", "{}", "{\"certificateOwnershipToken\":\"\"}",
                                         "{\"certificateOwnershipToken\":5}"};
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        rig_ask(&rig, 0, &claim.peer, "car-1", CLAIM, bodies[i], "rejected");
        rig_refused(&rig, 400, "InvalidCertificateOwnershipToken");
        assert_string_equal(rig_text(&rig, "errorMessage"), "Certificate ownership token cannot be empty.");
    }
    char wrong[129];
    strcpy(wrong, token);
    wrong[5] = wrong[5] == '0' ? '1' : '0';
    const char *tokens[] = {"0", "zz", wrong, "ABCDEFABCDEFABCDEFABCDEFABCDEFAB"};
    for (int i = 0; i < 4; i++) {
        rig_ask(&rig, 0, &claim.peer, "car-1", CLAIM, rig_provision(tokens[i], "car-1"), "rejected");
        rig_refused(&rig, 400, "InvalidCertificateOwnershipToken");
    }
    /* Another client of the same lot has seen the token. */
    rig_ask(&rig, 0, &claim.peer, "car-2", CLAIM, rig_provision(token, "car-1"), "rejected");
    rig_refused(&rig, 400, "InvalidCertificateOwnershipToken");
    rig_ask(&rig, 0, &claim.peer, "car-1", "provisioning-templates/unknown/provision/json",
            rig_provision(token, "car-1"), "rejected");
    rig_refused(&rig, 404, "ResourceNotFound");
    rig_ask(&rig, 0, &claim.peer, "car-1",
            "provisioning-templates/a-name-longer-than-thirty-six-characters-are/provision/json",
            rig_provision(token, "car-1"), "rejected");
    rig_refused(&rig, 404, "ResourceNotFound");

    static const char *const parameters[] = {"7",
                                             "[]",
                                             "{}",
                                             "{\"reference\":\"car-1\"}",
                                             "{\"reference\":1,\"device\":\"d\"}",
                                             "{\"reference\":\"\",\"device\":\"d\"}",
                                             "{\"reference\":\"car/1\",\"device\":\"d\"}",
                                             "{\"reference\":\"car 1\",\"device\":\"d\"}",
                                             "{\"reference\":\"" TEN TEN TEN TEN TEN TEN "0123\",\"device\":\"d\"}"};
    for (size_t i = 0; i < sizeof parameters / sizeof parameters[0]; i++) {
        snprintf(body, sizeof body, "{\"certificateOwnershipToken\":\"%s\",\"parameters\":%s}", token, parameters[i]);
        rig_ask(&rig, 0, &claim.peer, "car-1", CLAIM, body, "rejected");
        rig_refused(&rig, 400, "InvalidParameters");
    }
    assert_int_equal(rig.hooks, 0); /* nothing was asked of it for requests that could not be granted anyway */
    snprintf(body, sizeof body, "{\"certificateOwnershipToken\":\"%s\"}", token);
    rig_ask(&rig, 0, &claim.peer, "car-1", CLAIM, body, "rejected");
    rig_refused(&rig, 400, "InvalidParameters");
    rig_ask(&rig, 0, &claim.peer, "car-1", CLAIM, rig_provision(token, "car-2"), "rejected"); /* not its name */
    rig_refused(&rig, 400, "InvalidParameters");
    assert_int_equal(cloud_registry_status(rig.registry, made.id), CLOUD_CERTIFICATE_PENDING_ACTIVATION);
    rig_ask(&rig, 0, &claim.peer, "car-1", CLAIM, rig_provision(token, "car-1"), "accepted");
    rig_close(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_may_not_ask),
        cmocka_unit_test(what_is_no_request),
        cmocka_unit_test(tokens_and_parameters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
