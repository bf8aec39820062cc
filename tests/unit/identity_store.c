/* The identity store: what is made is real, is kept, goes on where it was interrupted, and is told from what somebody else made. */
#include "cloud/identity_store.h"
#include "cloud/pki_store.h"

#include <dirent.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <openssl/x509v3.h>

#include "files_rig.h"

#define NOW_S  INT64_C(1790000000)
#define YEAR_S INT64_C(31536000)
#define DAY_S  INT64_C(86400)

/* As store.c has it: the count and its complement follow magic, sizes, id, names, number and two times. */
#define COUNT_AT 136
#define HEAD     4096
#define SLOT     1024

static const struct cloud_identity_profile profile = {
    .ca = CLOUD_CA_OPERATIONAL, .names = "suv-%-x", .first_number = 8, .lifetime_s = YEAR_S};

static struct cloud_pki *open_pki(const char *where)
{
    char error[200] = "";
    struct cloud_pki *pki = cloud_pki_open(where, true, error, sizeof(error));
    if (!pki)
        fail_msg("%s", error);
    return pki;
}

static struct cloud_identity_store *open_store(struct cloud_pki *pki)
{
    char error[200] = "";
    struct cloud_identity_store *store = cloud_identity_store_open(directory, pki, &profile, error, sizeof(error));
    if (!store)
        fail_msg("%s", error);
    return store;
}

static uint64_t make(struct cloud_identity_store *store, uint64_t count, int64_t now_s, int64_t until_s)
{
    char error[200] = "";
    uint64_t made = 77;
    if (!cloud_identity_store_ensure(store, count, now_s, until_s, 3, &made, error, sizeof(error)))
        fail_msg("%s", error);
    assert_true(cloud_identity_store_count(store) >= count);
    return made;
}

static void store_path(char out[400])
{
    DIR *list = opendir(directory);
    out[0] = 0;
    for (struct dirent *entry; (entry = readdir(list));)
        if (strncmp(entry->d_name, "identities-", 11) == 0)
            snprintf(out, 400, "%s/%s", directory, entry->d_name);
    closedir(list);
    assert_true(out[0]);
}

static void check_one(struct cloud_pki *pki, struct cloud_identity_store *store, uint64_t index)
{
    uint8_t certificate[1024], key[256];
    size_t length = sizeof(certificate), key_length = sizeof(key);
    char name[64];
    const char *why = "";
    struct cloud_certificate read;
    assert_true(cloud_identity_store_get(store, index, certificate, &length, key, &key_length));
    struct span bytes = span_of(certificate, length);
    if (!cloud_pki_verify(pki, bytes, CLOUD_CA_OPERATIONAL, NOW_S, &why))
        fail_msg("%s", why);
    assert_true(cloud_pki_read(pki, bytes, &read));
    snprintf(name, sizeof(name), "suv-%llu-x", (unsigned long long)(8 + index));
    assert_string_equal(read.common_name, name);
    assert_false(read.is_ca);
    const unsigned char *at = certificate;
    X509 *x509 = d2i_X509(NULL, &at, (long)length);
    assert_ptr_equal(at, certificate + length);
    at = key;
    EVP_PKEY *pair = d2i_AutoPrivateKey(NULL, &at, (long)key_length);
    assert_int_equal(X509_check_private_key(x509, pair), 1);
    assert_int_equal(X509_check_purpose(x509, X509_PURPOSE_SSL_CLIENT, 0), 1);
    const ASN1_OCTET_STRING *key_id = X509_get0_subject_key_id(x509);
    assert_int_equal(ASN1_STRING_length(key_id), 20);
    assert_memory_equal(ASN1_STRING_get0_data(key_id), read.key_id, 20);
    EVP_PKEY_free(pair);
    X509_free(x509);
    struct cloud_issued issued;
    assert_int_equal(cloud_pki_standing(pki, CLOUD_CA_OPERATIONAL, read.serial, &issued), CLOUD_STANDING_GOOD);
    assert_memory_equal(issued.id, read.id, 32);
    assert_string_equal(issued.common_name, name);
}

static void made_once_and_kept(void **state)
{
    struct cloud_pki *pki = open_pki(directory);
    struct cloud_identity_store *store = open_store(pki);
    assert_int_equal(cloud_identity_store_count(store), 0);
    assert_int_equal(make(store, 1000, NOW_S, NOW_S + DAY_S), 1000);
    for (uint64_t i = 0; i < 1000; i += i < 4 || i > 990 ? 1 : 31) /* names of one, two, three and four digits */
        check_one(pki, store, i);
    uint8_t first[1024], again[1024], small[10];
    size_t length = sizeof(first), length_again = sizeof(again), too_small = sizeof(small);
    assert_true(cloud_identity_store_get(store, 0, first, &length, NULL, NULL));
    assert_false(cloud_identity_store_get(store, 1000, again, &length_again, NULL, NULL));
    assert_false(cloud_identity_store_get(store, 0, small, &too_small, NULL, NULL));
    cloud_identity_store_close(store);
    cloud_pki_close(pki);

    pki = open_pki(directory);
    store = open_store(pki);
    assert_int_equal(make(store, 1000, NOW_S + 5, NOW_S + DAY_S), 0);
    assert_int_equal(make(store, 10, NOW_S + 5, NOW_S + DAY_S), 0);
    assert_int_equal(make(store, 1010, NOW_S + 5, NOW_S + DAY_S), 10);
    assert_true(cloud_identity_store_get(store, 0, again, &length_again, NULL, NULL));
    assert_int_equal(length, length_again);
    assert_memory_equal(first, again, length);
    check_one(pki, store, 1009);
    cloud_identity_store_close(store);
    cloud_pki_close(pki);
}

/* Whatever lies behind the count is made again: as if the process had ended between any two commits. */
static void goes_on_where_it_was_interrupted(void **state)
{
    static const uint64_t counts[] = {0, 1, 255, 256, 300};
    struct cloud_pki *pki = open_pki(directory);
    struct cloud_identity_store *store = open_store(pki);
    char path[400];
    make(store, 300, NOW_S, NOW_S + DAY_S);
    store_path(path);
    struct stat status;
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 0777, 0600);
    assert_int_equal(status.st_size, HEAD + 300 * SLOT);
    cloud_identity_store_close(store);
    for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        uint64_t pair[2] = {counts[i], ~counts[i]};
        FILE *file = fopen(path, "r+");
        assert_int_equal(fseek(file, COUNT_AT, SEEK_SET), 0);
        assert_int_equal(fwrite(pair, sizeof(pair), 1, file), 1);
        fclose(file);
        if (counts[i])
            assert_int_equal(truncate(path, (off_t)(HEAD + counts[i] * SLOT + 100)), 0); /* half a record */
        store = open_store(pki);
        assert_int_equal(cloud_identity_store_count(store), counts[i]);
        assert_int_equal(make(store, 300, NOW_S, NOW_S + DAY_S), 300 - counts[i]);
        for (uint64_t n = 0; n < 300; n += 13)
            check_one(pki, store, n);
        cloud_identity_store_close(store);
    }
    cloud_pki_close(pki);
}

static void expect_refusal(struct cloud_pki *pki, const char *path, const struct cloud_identity_profile *of,
                           const char *why)
{
    char error[400] = "";
    assert_null(cloud_identity_store_open(path, pki, of, error, sizeof(error)));
    if (!strstr(error, why) || strchr(error, '\n'))
        fail_msg("'%s' does not say '%s'", error, why);
}

static void damage_and_strangers_are_told(void **state)
{
    struct cloud_pki *pki = open_pki(directory);
    struct cloud_identity_store *store = open_store(pki);
    char path[400], error[200];
    make(store, 3, NOW_S, NOW_S + DAY_S);
    store_path(path);
    FILE *file = fopen(path, "r+");
    assert_int_equal(fseek(file, HEAD + SLOT + 200, SEEK_SET), 0);
    int c = fgetc(file);
    assert_int_equal(fseek(file, HEAD + SLOT + 200, SEEK_SET), 0);
    fputc(c ^ 1, file);
    fclose(file);
    uint8_t certificate[1024];
    size_t length = sizeof(certificate);
    assert_false(cloud_identity_store_get(store, 1, certificate, &length, NULL, NULL));
    assert_true(cloud_identity_store_get(store, 2, certificate, &length, NULL, NULL));
    assert_false(cloud_identity_store_ensure(store, 3, NOW_S, NOW_S + 2 * YEAR_S, 1, NULL, error, sizeof(error)));
    cloud_identity_store_close(store);

    struct cloud_identity_profile longer = profile, nameless = profile, other = profile;
    longer.lifetime_s++;
    other.ca = CLOUD_CA_ATTESTATION;
    nameless.names = "all the same";
    expect_refusal(pki, path, &longer, "another lifetime");
    expect_refusal(pki, path, &other, "another CA");
    expect_refusal(pki, path, &nameless, "'%'");
    expect_refusal(pki, "/proc/nowhere", &profile, "/proc/nowhere");
    struct cloud_pki *modelled = cloud_pki_modelled(1);
    expect_refusal(modelled, path, &profile, "modelled");
    cloud_pki_close(modelled);
    assert_int_equal(truncate(path, HEAD + SLOT), 0);
    expect_refusal(pki, path, &profile, "damaged");
    char readme[400];
    snprintf(readme, sizeof(readme), "%s/operational.crt", directory);
    expect_refusal(pki, readme, &profile, "no identity store");
    cloud_pki_close(pki);
}

static void all_anew_when_they_run_out(void **state)
{
    struct cloud_pki *pki = open_pki(directory);
    struct cloud_identity_store *store = open_store(pki);
    uint8_t certificate[1024];
    size_t length = sizeof(certificate);
    struct cloud_certificate before, after;
    make(store, 20, NOW_S - 300 * DAY_S, NOW_S);
    assert_true(cloud_identity_store_get(store, 7, certificate, &length, NULL, NULL));
    assert_true(cloud_certificate_read(span_of(certificate, length), &before));
    assert_int_equal(make(store, 20, NOW_S, NOW_S + 30 * DAY_S), 0);
    assert_int_equal(make(store, 20, NOW_S, NOW_S + 90 * DAY_S), 20);
    length = sizeof(certificate);
    assert_true(cloud_identity_store_get(store, 7, certificate, &length, NULL, NULL));
    assert_true(cloud_certificate_read(span_of(certificate, length), &after));
    assert_string_equal(before.common_name, after.common_name);
    assert_true(before.serial != after.serial);
    assert_int_equal(after.not_before_s, NOW_S);
    cloud_identity_store_close(store);
    cloud_pki_close(pki);
}

/* As fleets name their vehicles. */
static void numbers_of_one_length(void **state)
{
    struct cloud_pki *pki = open_pki(directory);
    struct cloud_identity_profile padded = profile;
    char error[200] = "";
    padded.names = "car-%";
    padded.first_number = 99998;
    padded.digits = 6;
    struct cloud_identity_store *store = cloud_identity_store_open(directory, pki, &padded, error, sizeof(error));
    assert_non_null(store);
    make(store, 3, NOW_S, NOW_S + DAY_S);
    for (uint64_t i = 0; i < 3; i++) {
        uint8_t certificate[1024];
        size_t length = sizeof(certificate);
        struct cloud_certificate read;
        char name[64];
        assert_true(cloud_identity_store_get(store, i, certificate, &length, NULL, NULL));
        assert_true(cloud_certificate_read(span_of(certificate, length), &read));
        snprintf(name, sizeof(name), "car-%06u", (unsigned)(99998 + i));
        assert_string_equal(read.common_name, name);
    }
    char path[400];
    store_path(path);
    cloud_identity_store_close(store);
    padded.digits = 5;
    expect_refusal(pki, path, &padded, "other names");
    cloud_pki_close(pki);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(made_once_and_kept, make_directory, remove_directory),
        cmocka_unit_test_setup_teardown(goes_on_where_it_was_interrupted, make_directory, remove_directory),
        cmocka_unit_test_setup_teardown(damage_and_strangers_are_told, make_directory, remove_directory),
        cmocka_unit_test_setup_teardown(numbers_of_one_length, make_directory, remove_directory),
        cmocka_unit_test_setup_teardown(all_anew_when_they_run_out, make_directory, remove_directory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
