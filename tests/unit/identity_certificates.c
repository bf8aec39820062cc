/* Both kinds of cryptography obey the same rules: issue, read, verify, and every way to be refused. */
#include "cloud/identity.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <openssl/evp.h>
#include <openssl/pkcs7.h>
#include <openssl/x509.h>

#include "files_rig.h"

#define NOW_S  INT64_C(1790000000)
#define YEAR_S INT64_C(31536000)


static struct cloud_pki *open_pki(bool modelled)
{
    char error[200] = "";
    if (modelled)
        return cloud_pki_modelled(7);
    struct cloud_pki *pki = cloud_pki_open(directory, true, error, sizeof(error));
    if (!pki)
        fail_msg("%s", error);
    return pki;
}

static size_t make_csr(bool modelled, const char *name, uint8_t *out, size_t capacity)
{
    if (modelled)
        return cloud_modelled_csr(span_text(name), 42, out, capacity);
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509_REQ *request = X509_REQ_new();
    X509_NAME_add_entry_by_txt(X509_REQ_get_subject_name(request), "CN", MBSTRING_UTF8, (const unsigned char *)name, -1,
                               -1, 0);
    X509_REQ_set_pubkey(request, key);
    X509_REQ_sign(request, key, EVP_sha256());
    unsigned char *at = out;
    int length = i2d_X509_REQ(request, &at);
    X509_REQ_free(request);
    EVP_PKEY_free(key);
    assert_true(length > 0 && (size_t)length <= capacity);
    return (size_t)length;
}

static void check_issue(bool modelled)
{
    struct cloud_pki *pki = open_pki(modelled);
    uint8_t csr[1024], certificate[2048];
    size_t csr_length = make_csr(modelled, "VIN0001", csr, sizeof(csr));
    struct span request = span_of(csr, csr_length);
    size_t length =
        cloud_pki_issue(pki, CLOUD_CA_OPERATIONAL, request, "VIN0001", NOW_S, YEAR_S, certificate, sizeof(certificate));
    assert_true(length > 0);
    struct cloud_certificate read;
    assert_true(cloud_pki_read(pki, span_of(certificate, length), &read));
    assert_string_equal(read.common_name, "VIN0001");
    assert_int_equal(read.not_before_s, NOW_S);
    assert_int_equal(read.not_after_s, NOW_S + YEAR_S);
    assert_false(read.is_ca);
    assert_memory_equal(read.issuer_id, cloud_pki_ca(pki, CLOUD_CA_OPERATIONAL)->id, 32);

    uint8_t digest[32];
    unsigned digest_length;
    EVP_Digest(certificate, length, digest, &digest_length, EVP_sha256(), NULL);
    assert_memory_equal(read.id, digest, 32);

    const char *why = NULL;
    struct span bytes = span_of(certificate, length);
    assert_true(cloud_pki_verify(pki, bytes, CLOUD_CA_OPERATIONAL, NOW_S, &why));
    assert_false(cloud_pki_verify(pki, bytes, CLOUD_CA_ATTESTATION, NOW_S, &why));
    assert_string_equal(why, "issued by somebody else");
    assert_false(cloud_pki_verify(pki, bytes, CLOUD_CA_OPERATIONAL, NOW_S - 1, &why));
    assert_string_equal(why, "not valid yet");
    assert_false(cloud_pki_verify(pki, bytes, CLOUD_CA_OPERATIONAL, NOW_S + YEAR_S + 1, &why));
    assert_string_equal(why, "expired");
    assert_false(cloud_pki_verify(pki, span_of(certificate, length - 1), CLOUD_CA_OPERATIONAL, NOW_S, &why));

    /* Another name than asked for, a name too long, no room, no lifetime, garbage. */
    assert_int_equal(
        cloud_pki_issue(pki, CLOUD_CA_OPERATIONAL, request, "VIN0002", NOW_S, YEAR_S, certificate, sizeof(certificate)),
        0);
    assert_int_equal(cloud_pki_issue(pki, CLOUD_CA_OPERATIONAL, request, NULL, NOW_S, YEAR_S, certificate, 20), 0);
    assert_int_equal(
        cloud_pki_issue(pki, CLOUD_CA_OPERATIONAL, request, NULL, NOW_S, 0, certificate, sizeof(certificate)), 0);
    assert_int_equal(cloud_pki_issue(pki, CLOUD_CA_OPERATIONAL, SPAN_LITERAL("0123"), NULL, NOW_S, YEAR_S, certificate,
                                     sizeof(certificate)),
                     0);
    for (size_t cut = 0; cut < csr_length; cut++)
        assert_int_equal(cloud_pki_issue(pki, CLOUD_CA_OPERATIONAL, span_of(csr, cut), NULL, NOW_S, YEAR_S, certificate,
                                         sizeof(certificate)),
                         0);
    cloud_pki_close(pki);
}

static void issue_modelled(void **state)
{
    check_issue(true);
}

static void issue_real(void **state)
{
    check_issue(false);
}

static void proof_of_possession_is_checked(void **state)
{
    struct cloud_pki *pki = open_pki(false);
    uint8_t csr[1024], certificate[2048];
    size_t length = make_csr(false, "VIN0001", csr, sizeof(csr));
    csr[length - 3] ^= 1; /* within the signature */
    assert_int_equal(cloud_pki_issue(pki, CLOUD_CA_OPERATIONAL, span_of(csr, length), NULL, NOW_S, YEAR_S, certificate,
                                     sizeof(certificate)),
                     0);
    cloud_pki_close(pki);
}

static void hierarchy_survives_reopening(void **state)
{
    struct cloud_pki *first = open_pki(false), *second = open_pki(false);
    const char *why;
    for (int i = 0; i < CLOUD_CA_COUNT; i++) {
        enum cloud_ca ca = (enum cloud_ca)i;
        assert_memory_equal(cloud_pki_ca(first, ca)->id, cloud_pki_ca(second, ca)->id, 32);
        assert_true(cloud_pki_ca(first, ca)->is_ca);
        assert_true(cloud_pki_verify(first, cloud_pki_ca_bytes(first, ca), CLOUD_CA_ROOT, NOW_S, &why));
    }
    cloud_pki_close(first);
    cloud_pki_close(second);

    char path[128], error[200] = "";
    struct stat status;
    snprintf(path, sizeof(path), "%s/operational.key", directory);
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    assert_int_equal(unlink(path), 0);
    assert_null(cloud_pki_open(directory, false, error, sizeof(error)));
    assert_non_null(strstr(error, "operational"));
    assert_null(strchr(error, '\n'));
    assert_null(cloud_pki_open("/proc/nowhere", true, error, sizeof(error)));
}

static size_t count_in_file(const char *name, const char *text)
{
    static char bytes[16384];
    char path[128];
    snprintf(path, sizeof(path), "%s/%s", directory, name);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    bytes[fread(bytes, 1, sizeof(bytes) - 1, file)] = 0;
    fclose(file);
    size_t count = 0;
    for (const char *at = bytes; (at = strstr(at, text)); at++)
        count++;
    return count;
}

/* A directory of a version that knew no claim CA: it gets one, under the same root, and the others stay as they are. */
static void earlier_directory_gets_its_claim_ca(void **state)
{
    static const char *const missing[] = {"claim.crt", "claim.key"};
    struct cloud_pki *first = open_pki(false);
    char path[128], error[200] = "";
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof(path), "%s/%s", directory, missing[i]);
        assert_int_equal(unlink(path), 0);
    }
    assert_null(cloud_pki_open(directory, false, error, sizeof(error)));
    assert_non_null(strstr(error, "claim"));
    snprintf(path, sizeof(path), "%s/ca.pem", directory); /* as that version wrote it: without the fifth */
    FILE *file = fopen(path, "w");
    fputs("-----BEGIN CERTIFICATE-----\n", file);
    fclose(file);

    struct cloud_pki *second = open_pki(false), *third = cloud_pki_open(directory, false, error, sizeof(error));
    assert_non_null(third);
    for (int i = 0; i < CLOUD_CA_COUNT; i++) {
        enum cloud_ca ca = (enum cloud_ca)i;
        assert_int_equal(memcmp(cloud_pki_ca(first, ca)->id, cloud_pki_ca(second, ca)->id, 32) == 0,
                         ca != CLOUD_CA_CLAIM);
        assert_memory_equal(cloud_pki_ca(second, ca)->id, cloud_pki_ca(third, ca)->id, 32);
        assert_true(cloud_pki_verify(second, cloud_pki_ca_bytes(second, ca), CLOUD_CA_ROOT, NOW_S, NULL));
    }
    assert_int_equal(count_in_file("ca.pem", "BEGIN CERTIFICATE"), CLOUD_CA_COUNT);
    cloud_pki_close(first);
    cloud_pki_close(second);
    cloud_pki_close(third);
}

static void modelled_ids_differ_by_seed(void **state)
{
    struct cloud_pki *one = cloud_pki_modelled(1), *two = cloud_pki_modelled(2);
    for (int i = 0; i < CLOUD_CA_COUNT; i++)
        assert_memory_not_equal(cloud_pki_ca(one, (enum cloud_ca)i)->id, cloud_pki_ca(two, (enum cloud_ca)i)->id, 32);
    uint8_t certificate[512], key[512];
    size_t length = sizeof(certificate), key_length = sizeof(key);
    assert_true(
        cloud_pki_make(one, CLOUD_CA_ATTESTATION, "TCU-1", NOW_S, YEAR_S, certificate, &length, key, &key_length));
    const char *why;
    assert_true(cloud_pki_verify(one, span_of(certificate, length), CLOUD_CA_ATTESTATION, NOW_S, &why));
    assert_false(cloud_pki_verify(two, span_of(certificate, length), CLOUD_CA_ATTESTATION, NOW_S, &why));
    cloud_pki_close(one);
    cloud_pki_close(two);
}

/* ---- certificate broker ------------------------------------------------------------------------------------------- */

static bool only_even(void *context, const struct cloud_peer *attestation, const char *common_name)
{
    return (common_name[strlen(common_name) - 1] - '0') % 2 == 0;
}

static int ask(struct cloud_certificate_broker *broker, const struct cloud_peer *peer, const char *method,
               const char *path, struct span body, struct span *answer)
{
    static uint8_t out[8192];
    struct cloud_http_reply reply;
    cloud_certificate_broker_handle(broker, NOW_S, peer, method, path, body, out, sizeof(out), &reply);
    *answer = span_of(out, reply.body_length);
    return reply.status;
}

static void peer_of(struct cloud_pki *pki, enum cloud_ca ca, const char *name, int64_t from_s, struct cloud_peer *peer)
{
    static uint8_t certificate[2048], key[512];
    size_t length = sizeof(certificate), key_length = sizeof(key);
    struct cloud_certificate read;
    assert_true(cloud_pki_make(pki, ca, name, from_s, YEAR_S, certificate, &length, key, &key_length));
    assert_true(cloud_pki_read(pki, span_of(certificate, length), &read));
    memset(peer, 0, sizeof(*peer));
    cloud_peer_from_certificate(peer, &read, span_of(certificate, length));
}

static void check_enrolment(bool modelled)
{
    static const char enrol[] = "/.well-known/est/simpleenroll", list[] = "/.well-known/est/cacerts";
    struct cloud_pki *pki = open_pki(modelled);
    struct cloud_certificate_broker broker = {.pki = pki, .lifetime_s = YEAR_S, .allowed = only_even};
    struct cloud_peer peer, stranger, odd, expired;
    uint8_t csr[1024];
    struct span answer, body = span_of(csr, make_csr(modelled, "TCU-2", csr, sizeof(csr)));
    peer_of(pki, CLOUD_CA_ATTESTATION, "TCU-2", NOW_S, &peer);
    peer_of(pki, CLOUD_CA_OPERATIONAL, "TCU-2", NOW_S, &stranger);
    peer_of(pki, CLOUD_CA_ATTESTATION, "TCU-1", NOW_S, &odd);
    peer_of(pki, CLOUD_CA_ATTESTATION, "TCU-2", NOW_S - 2 * YEAR_S, &expired);

    assert_int_equal(ask(&broker, &peer, "POST", enrol, body, &answer), 200);
    assert_true(answer.length > 0);
    if (modelled) {
        const char *why;
        assert_true(cloud_pki_verify(pki, answer, CLOUD_CA_OPERATIONAL, NOW_S, &why));
    }
    struct cloud_peer nobody = {.tls = true};
    assert_int_equal(ask(&broker, NULL, "POST", enrol, body, &answer), 401);
    assert_int_equal(ask(&broker, &nobody, "POST", enrol, body, &answer), 401);
    assert_int_equal(ask(&broker, &stranger, "POST", enrol, body, &answer), 403);
    assert_int_equal(ask(&broker, &odd, "POST", enrol, body, &answer), 403);
    assert_int_equal(ask(&broker, &expired, "POST", enrol, body, &answer), 403);
    assert_int_equal(ask(&broker, &peer, "POST", enrol, (struct span){0}, &answer), 400);
    assert_int_equal(ask(&broker, &peer, "POST", enrol, SPAN_LITERAL("bm90IGEgcmVxdWVzdA=="), &answer), 400);
    struct span other = span_of(csr, make_csr(modelled, "TCU-4", csr, sizeof(csr)));
    assert_int_equal(ask(&broker, &peer, "POST", enrol, other, &answer), 400);
    assert_int_equal(ask(&broker, &peer, "GET", enrol, body, &answer), 405);
    assert_int_equal(ask(&broker, NULL, "POST", list, body, &answer), 405);
    assert_int_equal(ask(&broker, NULL, "GET", "/.well-known/est/csrattrs", body, &answer), modelled ? 204 : 200);
    assert_int_equal(ask(&broker, NULL, "GET", "/.well-known/est/fullcmc", body, &answer), 404);
    assert_int_equal(ask(&broker, NULL, "GET", list, body, &answer), 200);
    assert_true(answer.length > 400);
    cloud_pki_close(pki);
}

/* ---- with a registry of vehicles: the device's certificate is made out to its vehicle ------------------------------- */

static bool vehicle_of(void *context, const struct cloud_peer *attestation, char name[64])
{
    if (strncmp(attestation->common_name, "TCU-", 4) != 0)
        return false;
    snprintf(name, 64, "%s%s", (const char *)context, attestation->common_name + 4);
    return true;
}

static void check_resolved(bool modelled)
{
    static const char enrol[] = "/.well-known/est/simpleenroll";
    struct cloud_pki *pki = open_pki(modelled);
    struct cloud_certificate_broker broker = {
        .pki = pki, .lifetime_s = YEAR_S, .resolve = vehicle_of, .resolve_context = "car-"};
    struct cloud_peer peer, unknown;
    struct cloud_certificate read;
    uint8_t csr[1024];
    struct span answer;
    static const char *const asked[] = {"TCU-2", "car-2"};
    peer_of(pki, CLOUD_CA_ATTESTATION, "TCU-2", NOW_S, &peer);
    peer_of(pki, CLOUD_CA_ATTESTATION, "loose-2", NOW_S, &unknown);
    for (int i = 0; i < 2; i++) {
        struct span body = span_of(csr, make_csr(modelled, asked[i], csr, sizeof(csr)));
        assert_int_equal(ask(&broker, &peer, "POST", enrol, body, &answer), 200);
        if (modelled) {
            assert_true(cloud_pki_read(pki, answer, &read));
        } else {
            uint8_t der[8192];
            int length = 0, rest = 0;
            EVP_ENCODE_CTX *base64 = EVP_ENCODE_CTX_new();
            EVP_DecodeInit(base64);
            assert_true(EVP_DecodeUpdate(base64, der, &length, answer.data, (int)answer.length) >= 0);
            assert_int_equal(EVP_DecodeFinal(base64, der + length, &rest), 1);
            EVP_ENCODE_CTX_free(base64);
            const unsigned char *at = der;
            PKCS7 *bundle = d2i_PKCS7(NULL, &at, length + rest);
            assert_non_null(bundle);
            unsigned char *leaf = NULL;
            int leaf_length = i2d_X509(sk_X509_value(bundle->d.sign->cert, 0), &leaf);
            assert_true(cloud_pki_read(pki, span_of(leaf, (size_t)leaf_length), &read));
            OPENSSL_free(leaf);
            PKCS7_free(bundle);
        }
        assert_string_equal(read.common_name, "car-2");
        assert_memory_equal(read.issuer_id, cloud_pki_ca(pki, CLOUD_CA_OPERATIONAL)->id, 32);
    }
    struct span other = span_of(csr, make_csr(modelled, "car-3", csr, sizeof(csr)));
    assert_int_equal(ask(&broker, &peer, "POST", enrol, other, &answer), 400);
    struct span loose = span_of(csr, make_csr(modelled, "loose-2", csr, sizeof(csr)));
    assert_int_equal(ask(&broker, &unknown, "POST", enrol, loose, &answer), 403);
    assert_true(span_equal(answer, SPAN_LITERAL("no vehicle is known for this device\n")));
    cloud_pki_close(pki);
}

static void resolved_modelled(void **state)
{
    check_resolved(true);
}

static void resolved_real(void **state)
{
    check_resolved(false);
}

static void enrolment_modelled(void **state)
{
    check_enrolment(true);
}

static void enrolment_real(void **state)
{
    check_enrolment(false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(issue_modelled),
        cmocka_unit_test_setup_teardown(issue_real, make_directory, remove_directory),
        cmocka_unit_test_setup_teardown(proof_of_possession_is_checked, make_directory, remove_directory),
        cmocka_unit_test_setup_teardown(hierarchy_survives_reopening, make_directory, remove_directory),
        cmocka_unit_test_setup_teardown(earlier_directory_gets_its_claim_ca, make_directory, remove_directory),
        cmocka_unit_test(modelled_ids_differ_by_seed),
        cmocka_unit_test(enrolment_modelled),
        cmocka_unit_test_setup_teardown(enrolment_real, make_directory, remove_directory),
        cmocka_unit_test(resolved_modelled),
        cmocka_unit_test_setup_teardown(resolved_real, make_directory, remove_directory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
