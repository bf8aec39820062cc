/* A TCU's cryptography against the cloud's: what one makes, the other takes. */
#include "cloud/identity.h"
#include "vehicle/crypto.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <unistd.h>

static char directory[64];
static struct cloud_pki *pki;

static int open_pki(void **state)
{
    char error[256];
    snprintf(directory, sizeof directory, "/tmp/convoy-crypto-XXXXXX");
    if (!mkdtemp(directory))
        return -1;
    pki = cloud_pki_open(directory, true, error, sizeof error);
    return pki ? 0 : -1;
}

static int close_pki(void **state)
{
    char command[128];
    cloud_pki_close(pki);
    snprintf(command, sizeof command, "rm -r %s", directory);
    return system(command);
}

struct identity {
    uint8_t key[TCU_KEY_MAX], request[TCU_REQUEST_MAX], certificate[TCU_CERTIFICATE_MAX];
    size_t key_length, request_length, certificate_length;
};

static void enroll(struct identity *identity, const char *name)
{
    identity->key_length = sizeof identity->key;
    identity->request_length = sizeof identity->request;
    assert_true(tcu_crypto_enroll(span_text(name), identity->key, &identity->key_length, identity->request,
                                  &identity->request_length));
}

/* 2024-02-29 00:00:00: a date that a wrong leap rule misses. */
#define LEAP_DAY_S INT64_C(1709164800)

static void issued_certificate_belongs_to_key(void **state)
{
    struct identity mine, other;
    enroll(&mine, "car-000001");
    enroll(&other, "car-000001");
    size_t length = cloud_pki_issue(pki, CLOUD_CA_OPERATIONAL, span_of(mine.request, mine.request_length), "car-000001",
                                    LEAP_DAY_S, 86400, mine.certificate, sizeof mine.certificate);
    assert_true(length > 0);
    struct span certificate = span_of(mine.certificate, length);
    assert_true(tcu_crypto_belongs(certificate, span_of(mine.key, mine.key_length)));
    assert_false(tcu_crypto_belongs(certificate, span_of(other.key, other.key_length)));
    int64_t before_s, after_s;
    char name[64];
    struct cloud_certificate known;
    assert_true(tcu_crypto_validity(certificate, &before_s, &after_s, name));
    assert_true(cloud_certificate_read(certificate, &known));
    assert_string_equal(name, "car-000001");
    assert_int_equal(before_s, known.not_before_s);
    assert_int_equal(after_s, known.not_after_s);
}

static void answer_of_certificate_broker_is_read(void **state)
{
    struct identity mine, other;
    enroll(&mine, "car-000002");
    enroll(&other, "car-000003");
    uint8_t attestation[2048], key[256], answer[8192], found[TCU_CERTIFICATE_MAX];
    size_t attestation_length = sizeof attestation, key_length = sizeof key;
    assert_true(cloud_pki_make(pki, CLOUD_CA_ATTESTATION, "car-000002", LEAP_DAY_S, 86400, attestation,
                               &attestation_length, key, &key_length));
    struct cloud_certificate certificate;
    struct cloud_peer peer = {0};
    assert_true(cloud_pki_read(pki, span_of(attestation, attestation_length), &certificate));
    cloud_peer_from_certificate(&peer, &certificate, span_of(attestation, attestation_length));
    struct cloud_certificate_broker broker = {.pki = pki, .lifetime_s = 3600};
    struct cloud_http_reply reply = {0};
    cloud_certificate_broker_handle(&broker, LEAP_DAY_S, &peer, "POST", "/.well-known/est/simpleenroll",
                                    span_of(mine.request, mine.request_length), answer, sizeof answer, &reply);
    assert_int_equal(reply.status, 200);
    struct span body = span_of(answer, reply.body_length);
    size_t length = tcu_crypto_certificate(body, span_of(mine.key, mine.key_length), found, sizeof found);
    assert_true(length > 0);
    assert_true(tcu_crypto_belongs(span_of(found, length), span_of(mine.key, mine.key_length)));
    assert_int_equal(tcu_crypto_certificate(body, span_of(other.key, other.key_length), found, sizeof found), 0);
    assert_int_equal(tcu_crypto_certificate(body, (struct span){NULL, 0}, found, sizeof found), length);
    for (uint32_t cut = 0; cut < body.length; cut += 7)
        tcu_crypto_certificate(span_of(answer, cut), span_of(mine.key, mine.key_length), found, sizeof found);
    assert_int_equal(tcu_crypto_certificate(span_of(answer, 20), (struct span){NULL, 0}, found, sizeof found), 0);
}

static void list_of_authorities_holds_no_identity(void **state)
{
    uint8_t answer[16384], found[TCU_CERTIFICATE_MAX];
    struct cloud_certificate_broker broker = {.pki = pki, .lifetime_s = 3600};
    struct cloud_http_reply reply = {0};
    cloud_certificate_broker_handle(&broker, LEAP_DAY_S, NULL, "GET", "/.well-known/est/cacerts",
                                    (struct span){NULL, 0}, answer, sizeof answer, &reply);
    assert_int_equal(reply.status, 200);
    assert_int_equal(
        tcu_crypto_certificate(span_of(answer, reply.body_length), (struct span){NULL, 0}, found, sizeof found), 0);
}

static void files_are_read(void **state)
{
    char path[128], error[256];
    uint8_t certificate[TCU_CERTIFICATE_MAX], key[TCU_KEY_MAX];
    snprintf(path, sizeof path, "%s/server.crt", directory);
    size_t length = tcu_crypto_read_certificate(path, certificate, sizeof certificate, error, sizeof error);
    assert_true(length > 0);
    snprintf(path, sizeof path, "%s/server.key", directory);
    size_t key_length = tcu_crypto_read_key(path, key, sizeof key, error, sizeof error);
    assert_true(key_length > 0);
    assert_true(tcu_crypto_belongs(span_of(certificate, length), span_of(key, key_length)));
    assert_int_equal(tcu_crypto_read_certificate(path, certificate, sizeof certificate, error, sizeof error), 0);
    assert_non_null(strstr(error, "no certificate"));
    snprintf(path, sizeof path, "%s/none", directory);
    assert_int_equal(tcu_crypto_read_key(path, key, sizeof key, error, sizeof error), 0);
    assert_non_null(strstr(error, "No such file"));
}

static void base64_has_its_length(void **state)
{
    char text[9];
    assert_int_equal(tcu_crypto_base64(SPAN_LITERAL("abcd"), text, sizeof text), 8);
    assert_string_equal(text, "YWJjZA==");
    assert_int_equal(tcu_crypto_base64(SPAN_LITERAL("abcd"), text, 8), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(issued_certificate_belongs_to_key),
        cmocka_unit_test(answer_of_certificate_broker_is_read),
        cmocka_unit_test(list_of_authorities_holds_no_identity),
        cmocka_unit_test(files_are_read),
        cmocka_unit_test(base64_has_its_length),
    };
    return cmocka_run_group_tests(tests, open_pki, close_pki);
}
