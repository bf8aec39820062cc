/* Revocation: the index, the lists and the responder agree; lists are made again when they must be, and only then; two processes see each other's. */
#include "cloud/pki_store.h"

#include <dirent.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>
#include <openssl/ocsp.h>
#include <openssl/x509v3.h>

#include "files_rig.h"

static char error[256];

#define NOW_S  INT64_C(1790000000)
#define DAY_S  INT64_C(86400)
#define YEAR_S (365 * DAY_S)

static struct cloud_pki *open_pki(void)
{
    struct cloud_pki *pki = cloud_pki_open(directory, true, error, sizeof(error));
    if (!pki)
        fail_msg("%s", error);
    return pki;
}

static uint64_t issue(struct cloud_pki *pki, enum cloud_ca ca, const char *name, int64_t lifetime_s, X509 **x509)
{
    uint8_t certificate[2048], key[512];
    size_t length = sizeof(certificate), key_length = sizeof(key);
    struct cloud_certificate read;
    assert_true(cloud_pki_make(pki, ca, name, NOW_S, lifetime_s, certificate, &length, key, &key_length));
    assert_true(cloud_certificate_read(span_of(certificate, length), &read));
    const unsigned char *at = certificate;
    if (x509)
        *x509 = d2i_X509(NULL, &at, (long)length);
    return read.serial;
}

static X509_CRL *list(struct cloud_pki *pki, enum cloud_ca ca, int64_t now_s, long *number, int *entries)
{
    uint8_t der[4096];
    size_t length = cloud_pki_crl(pki, ca, now_s, der, sizeof(der));
    assert_true(length > 0);
    const unsigned char *at = der;
    X509_CRL *crl = d2i_X509_CRL(NULL, &at, (long)length);
    assert_non_null(crl);
    ASN1_INTEGER *value = X509_CRL_get_ext_d2i(crl, NID_crl_number, NULL, NULL);
    *number = ASN1_INTEGER_get(value);
    ASN1_INTEGER_free(value);
    *entries = X509_CRL_get_REVOKED(crl) ? sk_X509_REVOKED_num(X509_CRL_get_REVOKED(crl)) : 0;
    return crl;
}

static long number_of(struct cloud_pki *pki, enum cloud_ca ca, int64_t now_s, int entries_wanted)
{
    long number;
    int entries;
    X509_CRL_free(list(pki, ca, now_s, &number, &entries));
    assert_int_equal(entries, entries_wanted);
    return number;
}

static int revoke_one(struct cloud_pki *pki, enum cloud_ca ca, uint64_t serial, int reason, int64_t now_s)
{
    return cloud_pki_revoke(pki, ca, serial, reason, now_s, error, sizeof(error));
}

static void lists_follow_the_index(void **state)
{
    struct cloud_pki *pki = open_pki();
    uint64_t one = issue(pki, CLOUD_CA_OPERATIONAL, "car-1", YEAR_S, NULL),
             two = issue(pki, CLOUD_CA_OPERATIONAL, "car-1", 30 * DAY_S, NULL),
             three = issue(pki, CLOUD_CA_ATTESTATION, "car-1", YEAR_S, NULL);
    struct cloud_issued issued;
    long first = number_of(pki, CLOUD_CA_OPERATIONAL, NOW_S, 0);
    assert_int_equal(number_of(pki, CLOUD_CA_OPERATIONAL, NOW_S + CLOUD_CRL_LIFETIME_S / 2 - 1, 0), first);
    assert_int_equal(number_of(pki, CLOUD_CA_OPERATIONAL, NOW_S + CLOUD_CRL_LIFETIME_S / 2, 0), first + 1);

    assert_int_equal(cloud_pki_standing(pki, CLOUD_CA_OPERATIONAL, one, &issued), CLOUD_STANDING_GOOD);
    assert_int_equal(cloud_pki_standing(pki, CLOUD_CA_ATTESTATION, one, NULL), CLOUD_STANDING_UNKNOWN);
    assert_int_equal(cloud_pki_standing(pki, CLOUD_CA_OPERATIONAL, one + 1, NULL), CLOUD_STANDING_UNKNOWN);
    int64_t later_s = NOW_S + 4 * DAY_S;
    assert_int_equal(revoke_one(pki, CLOUD_CA_OPERATIONAL, one, 1, later_s), 1);
    assert_int_equal(revoke_one(pki, CLOUD_CA_OPERATIONAL, one, 4, later_s + 9), 0);
    assert_int_equal(cloud_pki_standing(pki, CLOUD_CA_OPERATIONAL, one, &issued), CLOUD_STANDING_REVOKED);
    assert_int_equal(issued.revoked_s, later_s);
    assert_int_equal(issued.reason, 1);
    assert_true(cloud_pki_is_revoked(pki, CLOUD_CA_OPERATIONAL, one));
    assert_false(cloud_pki_is_revoked(pki, CLOUD_CA_OPERATIONAL, two));
    assert_false(cloud_pki_is_revoked(pki, CLOUD_CA_ATTESTATION, one));

    long number;
    int entries;
    X509_CRL *crl = list(pki, CLOUD_CA_OPERATIONAL, later_s, &number, &entries);
    assert_int_equal(entries, 1);
    assert_true(number > first + 1);
    X509_REVOKED *entry = sk_X509_REVOKED_value(X509_CRL_get_REVOKED(crl), 0);
    uint64_t serial;
    assert_int_equal(ASN1_INTEGER_get_uint64(&serial, X509_REVOKED_get0_serialNumber(entry)), 1);
    assert_true(serial == one);
    ASN1_ENUMERATED *reason = X509_REVOKED_get_ext_d2i(entry, NID_crl_reason, NULL, NULL);
    assert_int_equal(ASN1_ENUMERATED_get(reason), 1);
    ASN1_ENUMERATED_free(reason);
    X509_CRL_free(crl);

    /* By name: what is left of that name and that CA, and no other. */
    assert_int_equal(cloud_pki_revoke_by_name(pki, CLOUD_CA_OPERATIONAL, "car-1", 0, later_s, error, sizeof(error)), 1);
    assert_int_equal(cloud_pki_standing(pki, CLOUD_CA_ATTESTATION, three, NULL), CLOUD_STANDING_GOOD);
    number_of(pki, CLOUD_CA_OPERATIONAL, later_s, 2);
    number_of(pki, CLOUD_CA_ATTESTATION, later_s, 0);
    /* One that has run out stays for one more list, then it goes. */
    number_of(pki, CLOUD_CA_OPERATIONAL, NOW_S + 30 * DAY_S, 2);
    number_of(pki, CLOUD_CA_OPERATIONAL, NOW_S + 38 * DAY_S, 1);

    assert_int_equal(revoke_one(pki, CLOUD_CA_OPERATIONAL, 12345, 0, NOW_S), -1);
    assert_non_null(strstr(error, "3039"));
    assert_int_equal(cloud_pki_revoke_by_name(pki, CLOUD_CA_CLAIM, "car-1", 0, NOW_S, error, sizeof(error)), -1);
    cloud_pki_close(pki);
}

static void two_processes_see_each_other(void **state)
{
    struct cloud_pki *one = open_pki(), *two = open_pki();
    uint64_t serial = issue(one, CLOUD_CA_CLAIM, "lot-7", YEAR_S, NULL);
    enum cloud_ca ca;
    assert_false(cloud_pki_refresh(one));
    assert_false(cloud_pki_refresh(two));
    assert_true(cloud_pki_find(two, serial, &ca));
    assert_int_equal(ca, CLOUD_CA_CLAIM);
    assert_int_equal(revoke_one(one, ca, serial, 5, NOW_S), 1);
    assert_false(cloud_pki_is_revoked(two, ca, serial));
    assert_true(cloud_pki_refresh(two));
    assert_true(cloud_pki_is_revoked(two, ca, serial));
    assert_false(cloud_pki_refresh(two));
    assert_true(cloud_pki_refresh(one)); /* who revokes is told as well: its connections are to be cut */
    assert_false(cloud_pki_refresh(one));
    assert_int_equal(number_of(one, ca, NOW_S, 1), number_of(two, ca, NOW_S, 1));
    cloud_pki_close(one);
    cloud_pki_close(two);
    two = open_pki();
    assert_true(cloud_pki_is_revoked(two, ca, serial));
    cloud_pki_close(two);
}

static int ask(struct cloud_pki *pki, enum cloud_ca ca, X509 *x509, int64_t now_s, int *reason)
{
    uint8_t out[8192];
    struct span issuer_bytes = cloud_pki_ca_bytes(pki, ca), root_bytes = cloud_pki_ca_bytes(pki, CLOUD_CA_ROOT);
    const unsigned char *at = issuer_bytes.data;
    X509 *issuer = d2i_X509(NULL, &at, issuer_bytes.length);
    at = root_bytes.data;
    X509 *root = d2i_X509(NULL, &at, root_bytes.length);
    OCSP_REQUEST *request = OCSP_REQUEST_new();
    OCSP_CERTID *id = OCSP_cert_to_id(NULL, x509, issuer);
    OCSP_request_add0_id(request, OCSP_CERTID_dup(id));
    OCSP_request_add1_nonce(request, NULL, -1);
    unsigned char *der = NULL;
    int length = i2d_OCSP_REQUEST(request, &der);
    for (int cut = 0; cut < length; cut += 7) { /* anything else is malformed, never a crash */
        size_t got = cloud_pki_ocsp(pki, now_s, span_of(der, (size_t)cut), out, sizeof(out));
        at = out;
        OCSP_RESPONSE *refusal = d2i_OCSP_RESPONSE(NULL, &at, (long)got);
        assert_int_equal(OCSP_response_status(refusal), OCSP_RESPONSE_STATUS_MALFORMEDREQUEST);
        OCSP_RESPONSE_free(refusal);
    }
    size_t got = cloud_pki_ocsp(pki, now_s, span_of(der, (size_t)length), out, sizeof(out));
    at = out;
    OCSP_RESPONSE *response = d2i_OCSP_RESPONSE(NULL, &at, (long)got);
    assert_int_equal(OCSP_response_status(response), OCSP_RESPONSE_STATUS_SUCCESSFUL);
    OCSP_BASICRESP *basic = OCSP_response_get1_basic(response);
    assert_int_equal(OCSP_check_nonce(request, basic), 1);
    X509_STORE *store = X509_STORE_new();
    X509_STORE_add_cert(store, root);
    X509_VERIFY_PARAM_set_time(X509_STORE_get0_param(store), (time_t)now_s);
    STACK_OF(X509) *between = sk_X509_new_null();
    sk_X509_push(between, issuer);
    assert_int_equal(OCSP_basic_verify(basic, between, store, 0), 1);
    int status = -1;
    ASN1_GENERALIZEDTIME *revoked, *this_update, *next_update;
    assert_int_equal(OCSP_resp_find_status(basic, id, &status, reason, &revoked, &this_update, &next_update), 1);
    assert_non_null(next_update);
    sk_X509_free(between);
    X509_STORE_free(store);
    OCSP_BASICRESP_free(basic);
    OCSP_RESPONSE_free(response);
    OPENSSL_free(der);
    OCSP_CERTID_free(id);
    OCSP_REQUEST_free(request);
    X509_free(root);
    X509_free(issuer);
    return status;
}

static void responder_answers_by_the_index(void **state)
{
    static const enum cloud_ca cas[] = {CLOUD_CA_OPERATIONAL, CLOUD_CA_ATTESTATION, CLOUD_CA_CLAIM};
    struct cloud_pki *pki = open_pki();
    int reason;
    for (size_t i = 0; i < sizeof(cas) / sizeof(cas[0]); i++) {
        X509 *good, *bad;
        issue(pki, cas[i], "good", YEAR_S, &good);
        uint64_t serial = issue(pki, cas[i], "bad", YEAR_S, &bad);
        assert_int_equal(revoke_one(pki, cas[i], serial, 9, NOW_S), 1);
        assert_int_equal(ask(pki, cas[i], good, NOW_S, &reason), V_OCSP_CERTSTATUS_GOOD);
        assert_int_equal(ask(pki, cas[i], bad, NOW_S, &reason), V_OCSP_CERTSTATUS_REVOKED);
        assert_int_equal(reason, 9);
        ASN1_INTEGER_set_uint64(X509_get_serialNumber(good), 4711);
        assert_int_equal(ask(pki, cas[i], good, NOW_S, &reason), V_OCSP_CERTSTATUS_UNKNOWN);
        /* The responder's own certificate has run out by then: another is made. */
        assert_int_equal(ask(pki, cas[i], bad, NOW_S + 2 * YEAR_S, &reason), V_OCSP_CERTSTATUS_REVOKED);
        X509_free(good);
        X509_free(bad);
    }
    cloud_pki_close(pki);
}

static void urls_are_stated_when_known(void **state)
{
    struct cloud_pki *pki = open_pki();
    X509 *x509;
    static const char *const wrong[] = {"ftp://host", "http://host/", "http://ho st", "http://a,URI:b", "host", ""};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        assert_false(cloud_pki_set_public_url(pki, wrong[i]));
    issue(pki, CLOUD_CA_OPERATIONAL, "car-1", YEAR_S, &x509);
    assert_null(X509_get_ext_d2i(x509, NID_info_access, NULL, NULL));
    assert_null(X509_get_ext_d2i(x509, NID_crl_distribution_points, NULL, NULL));
    X509_free(x509);
    assert_true(cloud_pki_set_public_url(pki, "http://pki.example:8080/v1"));
    issue(pki, CLOUD_CA_ATTESTATION, "car-1", YEAR_S, &x509);
    STACK_OF(OPENSSL_STRING) *urls = X509_get1_ocsp(x509);
    assert_int_equal(sk_OPENSSL_STRING_num(urls), 1);
    assert_string_equal(sk_OPENSSL_STRING_value(urls, 0), "http://pki.example:8080/v1/ocsp");
    X509_email_free(urls);
    CRL_DIST_POINTS *points = X509_get_ext_d2i(x509, NID_crl_distribution_points, NULL, NULL);
    assert_non_null(points);
    GENERAL_NAME *name = sk_GENERAL_NAME_value(sk_DIST_POINT_value(points, 0)->distpoint->name.fullname, 0);
    assert_string_equal((const char *)ASN1_STRING_get0_data(name->d.uniformResourceIdentifier),
                        "http://pki.example:8080/v1/crl/attestation.crl");
    CRL_DIST_POINTS_free(points);
    X509_free(x509);
    cloud_pki_close(pki);
}

/* Four at the same moment, on a directory that has no index yet: the processes of one run begin like that. */
#define AT_ONCE 4
static pthread_barrier_t barrier;

static void *write_lists(void *context)
{
    char *wrong = context;
    struct cloud_pki *pki = cloud_pki_open(directory, false, wrong, sizeof(error));
    pthread_barrier_wait(&barrier);
    if (pki)
        cloud_pki_write_crls(pki, NOW_S, wrong, sizeof(error));
    cloud_pki_close(pki);
    return NULL;
}

static void several_begin_at_once(void **state)
{
    static const char *const files[] = {"index.db", "index.db-wal", "index.db-shm"};
    cloud_pki_close(open_pki());
    assert_int_equal(pthread_barrier_init(&barrier, NULL, AT_ONCE), 0);
    for (int round = 0; round < 20; round++) {
        pthread_t threads[AT_ONCE];
        char wrong[AT_ONCE][sizeof(error)] = {{0}}, path[100];
        for (int i = 0; i < 3; i++) {
            snprintf(path, sizeof(path), "%s/%s", directory, files[i]);
            unlink(path);
        }
        for (int i = 0; i < AT_ONCE; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, write_lists, wrong[i]), 0);
        for (int i = 0; i < AT_ONCE; i++)
            pthread_join(threads[i], NULL);
        for (int i = 0; i < AT_ONCE; i++)
            assert_string_equal(wrong[i], "");
    }
    pthread_barrier_destroy(&barrier);
}

static void modelled_hierarchies_have_none(void **state)
{
    struct cloud_pki *pki = cloud_pki_modelled(3);
    uint8_t out[64];
    assert_false(cloud_pki_refresh(pki));
    assert_false(cloud_pki_is_revoked(pki, CLOUD_CA_OPERATIONAL, 1));
    assert_int_equal(cloud_pki_standing(pki, CLOUD_CA_OPERATIONAL, 1, NULL), CLOUD_STANDING_UNKNOWN);
    assert_int_equal(revoke_one(pki, CLOUD_CA_OPERATIONAL, 1, 0, NOW_S), -1);
    assert_int_equal(cloud_pki_crl(pki, CLOUD_CA_OPERATIONAL, NOW_S, out, sizeof(out)), 0);
    cloud_pki_close(pki);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(lists_follow_the_index, make_directory, remove_directory),
        cmocka_unit_test_setup_teardown(two_processes_see_each_other, make_directory, remove_directory),
        cmocka_unit_test_setup_teardown(responder_answers_by_the_index, make_directory, remove_directory),
        cmocka_unit_test_setup_teardown(urls_are_stated_when_known, make_directory, remove_directory),
        cmocka_unit_test_setup_teardown(several_begin_at_once, make_directory, remove_directory),
        cmocka_unit_test(modelled_hierarchies_have_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
