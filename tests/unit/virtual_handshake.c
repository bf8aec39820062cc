/* Real cryptography in the virtual world: what the server of a handshake finds, and lengths that do not vary. */
#include "tests/unit/files_rig.h"

#include "sim/worlds/virtual.h"
#include "vehicle/crypto.h"

#define NOW_S  INT64_C(1790000000)
#define YEAR_S (INT64_C(365) * 86400)

struct rig {
    struct virtual_world world;
    struct partition partition;
    uint8_t certificate[1024], key[256];
    size_t length, key_length;
    struct cloud_certificate proven;
};

static void rig_open(struct rig *rig)
{
    char error[200];
    memset(rig, 0, sizeof(*rig));
    rig->world.fleet.wall_offset_us = NOW_S * US_PER_S;
    rig->partition.world = &rig->world;
    rig->partition.pki = cloud_pki_open(directory, true, error, sizeof(error));
    rig->partition.registry = cloud_registry_open(NULL, error, sizeof(error));
    assert_true(rig->partition.pki && rig->partition.registry);
    cloud_pki_simulate(rig->partition.pki);
}

static void rig_close(struct rig *rig)
{
    cloud_registry_close(rig->partition.registry);
    cloud_pki_close(rig->partition.pki);
}

static void make(struct rig *rig, struct cloud_pki *pki, enum cloud_ca ca)
{
    rig->length = sizeof(rig->certificate);
    rig->key_length = sizeof(rig->key);
    assert_true(cloud_pki_make(pki, ca, "car-000001", NOW_S, YEAR_S, rig->certificate, &rig->length, rig->key,
                               &rig->key_length));
}

static const char *shake(struct rig *rig, int64_t after_s)
{
    rig->partition.now_us = after_s * US_PER_S;
    return virtual_handshake(&rig->partition, span_of(rig->certificate, rig->length),
                             span_of(rig->key, rig->key_length), &rig->proven);
}

static void a_good_one_is_proven(void **state)
{
    static const enum cloud_ca ours[] = {CLOUD_CA_OPERATIONAL, CLOUD_CA_CLAIM, CLOUD_CA_ATTESTATION};
    struct rig rig;
    rig_open(&rig);
    for (int i = 0; i < 3; i++) {
        make(&rig, rig.partition.pki, ours[i]);
        assert_null(shake(&rig, 0));
        assert_string_equal(rig.proven.common_name, "car-000001");
        assert_memory_equal(rig.proven.issuer_id, cloud_pki_ca(rig.partition.pki, ours[i])->id, 32);
    }
    make(&rig, rig.partition.pki, CLOUD_CA_SERVER);
    assert_string_equal(shake(&rig, 0), "of an unknown CA");
    rig_close(&rig);
}

static void its_validity_counts(void **state)
{
    struct rig rig;
    rig_open(&rig);
    make(&rig, rig.partition.pki, CLOUD_CA_OPERATIONAL);
    assert_string_equal(shake(&rig, -1), "not valid yet");
    assert_null(shake(&rig, 0));
    assert_null(shake(&rig, YEAR_S));
    assert_string_equal(shake(&rig, YEAR_S + 1), "expired");
    rig_close(&rig);
}

static void revoked_by_its_ca(void **state)
{
    struct rig rig;
    rig_open(&rig);
    make(&rig, rig.partition.pki, CLOUD_CA_OPERATIONAL);
    assert_null(shake(&rig, 0));
    assert_true(cloud_registry_put_thing(rig.partition.registry, "car-000001", NOW_S));
    assert_true(cloud_registry_put_certificate(rig.partition.registry, &rig.proven, CLOUD_CERTIFICATE_ACTIVE,
                                               "car-000001", NOW_S));
    assert_null(shake(&rig, 0));
    cloud_registry_set_status(rig.partition.registry, rig.proven.id, CLOUD_CERTIFICATE_INACTIVE, NOW_S);
    assert_null(shake(&rig, 0)); /* that is the cloud's business, not the CA's */
    cloud_registry_revoke(rig.partition.registry, rig.proven.id, NOW_S);
    assert_string_equal(shake(&rig, 0), "revoked");
    rig_close(&rig);
}

static void whose_it_is_not(void **state)
{
    struct rig rig;
    uint8_t key[256], request[1024];
    size_t key_length = sizeof(key), request_length = sizeof(request);
    rig_open(&rig);
    make(&rig, rig.partition.pki, CLOUD_CA_OPERATIONAL);
    assert_true(tcu_crypto_enroll(SPAN_LITERAL("car-000001"), key, &key_length, request, &request_length));
    memcpy(rig.key, key, key_length);
    rig.key_length = key_length;
    assert_string_equal(shake(&rig, 0), "the key is another's");
    rig.key_length = 0;
    assert_string_equal(shake(&rig, 0), "the key is another's");
    make(&rig, rig.partition.pki, CLOUD_CA_OPERATIONAL);
    rig.certificate[rig.length - 1] ^= 1;
    assert_string_equal(shake(&rig, 0), "of an unknown CA");
    rig.length = 20;
    assert_string_equal(shake(&rig, 0), "not a certificate");
    rig.length = 0;
    assert_string_equal(shake(&rig, 0), "no certificate");
    rig_close(&rig);
}

static void another_hierarchys_is_refused(void **state)
{
    struct rig rig;
    char other[100], error[200];
    rig_open(&rig);
    snprintf(other, sizeof(other), "%s-other", directory);
    struct cloud_pki *pki = cloud_pki_open(other, true, error, sizeof(error));
    assert_non_null(pki);
    cloud_pki_simulate(pki);
    make(&rig, pki, CLOUD_CA_OPERATIONAL);
    assert_string_equal(shake(&rig, 0), "of an unknown CA");
    cloud_pki_close(pki);
    rig_close(&rig);
    strcpy(directory, other);
    remove_directory(NULL);
    directory[strlen(directory) - strlen("-other")] = 0;
}

static void requests_are_equally_long(void **state)
{
    size_t first = 0;
    for (int i = 0; i < 40; i++) {
        uint8_t key[VIRTUAL_KEY_MAX], request[TCU_REQUEST_MAX];
        size_t key_length = sizeof(key), length = sizeof(request);
        assert_true(virtual_crypto_enroll(SPAN_LITERAL("car-000001"), key, &key_length, request, &length));
        first = first ? first : length;
        assert_int_equal(length, first);
        assert_int_equal(key_length, 138);
    }
    uint8_t key[VIRTUAL_KEY_MAX], request[8];
    size_t key_length = sizeof(key), length = sizeof(request);
    assert_false(virtual_crypto_enroll(SPAN_LITERAL("car-000001"), key, &key_length, request, &length));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_good_one_is_proven, make_directory, remove_directory),
        cmocka_unit_test_setup_teardown(its_validity_counts, make_directory, remove_directory),
        cmocka_unit_test_setup_teardown(revoked_by_its_ca, make_directory, remove_directory),
        cmocka_unit_test_setup_teardown(whose_it_is_not, make_directory, remove_directory),
        cmocka_unit_test_setup_teardown(another_hierarchys_is_refused, make_directory, remove_directory),
        cmocka_unit_test(requests_are_equally_long),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
