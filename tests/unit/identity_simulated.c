/* A real hierarchy in a simulation: certificates differ, their lengths do not, and the directory's index stays out of it. */
#include "tests/unit/files_rig.h"

#include "cloud/pki_store.h"
#include "vehicle/crypto.h"

#include <sys/stat.h>

#define NOW_S    INT64_C(1790000000)
#define YEAR_S   (INT64_C(365) * 86400)
#define MANY     64
#define CAPACITY 1024

static struct cloud_pki *open_hierarchy(void)
{
    char error[200];
    struct cloud_pki *pki = cloud_pki_open(directory, true, error, sizeof(error));
    assert_non_null(pki);
    return pki;
}

static size_t make(struct cloud_pki *pki, const char *name, uint8_t *certificate, struct cloud_certificate *read)
{
    uint8_t key[CAPACITY];
    size_t length = CAPACITY, key_length = sizeof(key);
    assert_true(cloud_pki_make(pki, CLOUD_CA_OPERATIONAL, name, NOW_S, YEAR_S, certificate, &length, key, &key_length));
    assert_int_equal(key_length, 138);
    assert_true(cloud_pki_read(pki, span_of(certificate, length), read));
    return length;
}

static void all_are_equally_long_and_good(void **state)
{
    struct cloud_pki *pki = open_hierarchy();
    uint8_t bytes[CAPACITY];
    struct cloud_certificate read;
    size_t first = 0;
    uint64_t serials[MANY];
    const char *why = "";
    cloud_pki_simulate(pki);
    for (int i = 0; i < MANY; i++) {
        size_t length = make(pki, "car-000001", bytes, &read);
        first = first ? first : length;
        assert_int_equal(length, first);
        assert_true(cloud_pki_verify(pki, span_of(bytes, length), CLOUD_CA_OPERATIONAL, NOW_S, &why));
        assert_false(cloud_pki_verify(pki, span_of(bytes, length), CLOUD_CA_OPERATIONAL, NOW_S + YEAR_S + 1, &why));
        serials[i] = read.serial;
        for (int j = 0; j < i; j++)
            assert_true(serials[j] != serials[i]);
        bytes[length - 1] ^= 1; /* the signature's last byte */
        assert_false(cloud_pki_verify(pki, span_of(bytes, length), CLOUD_CA_OPERATIONAL, NOW_S, &why));
    }
    cloud_pki_close(pki);
}

static void requests_are_answered_in_one_length(void **state)
{
    struct cloud_pki *pki = open_hierarchy();
    uint8_t key[TCU_KEY_MAX], request[TCU_REQUEST_MAX], bytes[CAPACITY];
    size_t first = 0;
    cloud_pki_simulate(pki);
    for (int i = 0; i < MANY / 2; i++) {
        size_t key_length = sizeof(key), request_length = sizeof(request);
        assert_true(tcu_crypto_enroll(SPAN_LITERAL("car-000001"), key, &key_length, request, &request_length));
        size_t length = cloud_pki_issue(pki, CLOUD_CA_OPERATIONAL, span_of(request, request_length), "car-000001",
                                        NOW_S, YEAR_S, bytes, sizeof(bytes));
        first = first ? first : length;
        assert_true(length > 0);
        assert_int_equal(length, first);
        assert_true(tcu_crypto_belongs(span_of(bytes, length), span_of(key, key_length)));
    }
    cloud_pki_close(pki);
}

static void the_index_is_neither_told_nor_asked(void **state)
{
    struct cloud_pki *pki = open_hierarchy();
    uint8_t bytes[CAPACITY];
    struct cloud_certificate simulated, told;
    char path[96], error[200];
    snprintf(path, sizeof(path), "%s/index.db", directory);
    cloud_pki_simulate(pki);
    make(pki, "car-000001", bytes, &simulated);
    assert_false(cloud_pki_is_revoked(pki, CLOUD_CA_OPERATIONAL, simulated.serial));
    assert_int_equal(cloud_pki_revoke(pki, CLOUD_CA_OPERATIONAL, simulated.serial, 0, NOW_S, error, sizeof(error)), -1);
    assert_int_equal(access(path, F_OK), -1);
    cloud_pki_close(pki);
    pki = open_hierarchy(); /* the same, for its own purposes again */
    make(pki, "car-000002", bytes, &told);
    assert_int_equal(cloud_pki_standing(pki, CLOUD_CA_OPERATIONAL, told.serial, NULL), CLOUD_STANDING_GOOD);
    assert_int_equal(cloud_pki_standing(pki, CLOUD_CA_OPERATIONAL, simulated.serial, NULL), CLOUD_STANDING_UNKNOWN);
    cloud_pki_close(pki);
}

static void a_modelled_one_stays_what_it_is(void **state)
{
    struct cloud_pki *pki = cloud_pki_modelled(3);
    uint8_t bytes[CAPACITY];
    size_t length = sizeof(bytes);
    cloud_pki_simulate(pki);
    assert_true(cloud_pki_is_modelled(pki));
    assert_true(cloud_pki_make(pki, CLOUD_CA_OPERATIONAL, "car-000001", NOW_S, YEAR_S, bytes, &length, NULL, NULL));
    assert_memory_equal(bytes, "CVC1|", 5);
    cloud_pki_close(pki);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(all_are_equally_long_and_good, make_directory, remove_directory),
        cmocka_unit_test_setup_teardown(requests_are_answered_in_one_length, make_directory, remove_directory),
        cmocka_unit_test_setup_teardown(the_index_is_neither_told_nor_asked, make_directory, remove_directory),
        cmocka_unit_test(a_modelled_one_stays_what_it_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
