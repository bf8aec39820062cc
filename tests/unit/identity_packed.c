/* Modelled certificates packed to numbers and written again: every byte is the same, and what does not fit is refused. */
#include "cloud/identity.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define NOW_S  INT64_C(1790000000)
#define YEAR_S INT64_C(31536000)

static void check_round(struct cloud_pki *pki, enum cloud_ca ca, const char *name, uint64_t key, int64_t now_s,
                        int64_t lifetime_s)
{
    uint8_t csr[128], bytes[512], again[512];
    struct cloud_modelled_record record;
    struct cloud_certificate read, described;
    memset(&read, 1, sizeof(read));
    memset(&described, 2, sizeof(described));
    size_t csr_length = cloud_modelled_csr(span_text(name), key, csr, sizeof(csr));
    size_t length = cloud_pki_issue(pki, ca, span_of(csr, csr_length), name, now_s, lifetime_s, bytes, sizeof(bytes));
    assert_true(length > 0);
    assert_true(cloud_modelled_pack(pki, span_of(bytes, length), &record));
    assert_int_equal(cloud_modelled_unpack(pki, &record, span_text(name), again, sizeof(again)), length);
    assert_memory_equal(again, bytes, length);
    assert_int_equal(cloud_modelled_unpack(pki, &record, span_text(name), again, length - 1), 0);
    assert_true(cloud_certificate_read(span_of(bytes, length), &read));
    assert_true(cloud_modelled_describe(pki, &record, span_text(name), &described));
    assert_memory_equal(&described, &read, sizeof(read));
}

static void same_bytes(void **state)
{
    struct cloud_pki *pki = cloud_pki_modelled(7);
    static const char *const names[] = {"suv-000001", "x", "WVWZZZ1KZ00000001 in \xc3\xa4",
                                        "a name of sixty-three characters, which is as long as they get."};
    static const uint64_t keys[] = {0, 1, 0x123456789abcdef, UINT64_MAX};
    static const int64_t lifetimes[] = {1, YEAR_S, 20 * YEAR_S};
    for (int ca = 0; ca < CLOUD_CA_COUNT; ca++)
        for (size_t n = 0; n < sizeof(names) / sizeof(names[0]); n++)
            for (size_t k = 0; k < sizeof(keys) / sizeof(keys[0]); k++)
                for (size_t l = 0; l < sizeof(lifetimes) / sizeof(lifetimes[0]); l++) {
                    check_round(pki, (enum cloud_ca)ca, names[n], keys[k], NOW_S, lifetimes[l]);
                    check_round(pki, (enum cloud_ca)ca, names[n], keys[k], 0, lifetimes[l]);
                    check_round(pki, (enum cloud_ca)ca, names[n], keys[k], UINT32_MAX - lifetimes[l], lifetimes[l]);
                }
    cloud_pki_close(pki);
}

static bool packs(struct cloud_pki *pki, const char *text)
{
    struct cloud_modelled_record record = {1, 2, 3, 4}, before = record;
    bool good = cloud_modelled_pack(pki, span_text(text), &record);
    if (!good)
        assert_memory_equal(&record, &before, sizeof(record));
    return good;
}

/* The hierarchy's id in hexadecimal, in a certificate written by hand. */
static bool packs_with(struct cloud_pki *pki, const char *serial, const char *from, const char *to, const char *kind)
{
    char issuer[65], text[400];
    for (int i = 0; i < 32; i++)
        snprintf(issuer + 2 * i, 3, "%02x", cloud_pki_ca(pki, CLOUD_CA_OPERATIONAL)->id[i]);
    snprintf(text, sizeof(text), "CVC1|%s|%s|suv-1|%s|%s|00000000000000ff|%s", serial, issuer, from, to, kind);
    return packs(pki, text);
}

static void refused(void **state)
{
    struct cloud_pki *pki = cloud_pki_modelled(7), *other = cloud_pki_modelled(8);
    assert_true(packs_with(pki, "0000000000000400", "1", "2", "E"));
    assert_true(packs_with(pki, "0000000000000400", "1", "2", "C"));
    assert_true(packs_with(pki, "0fffffffffffffff", "1", "2", "E"));
    assert_false(packs_with(pki, "1000000000000000", "1", "2", "E"));  /* four bits are the issuer's */
    assert_false(packs_with(pki, "0000000000000400", "01", "2", "E")); /* ours are written without zeros in front */
    assert_false(packs_with(pki, "0000000000000400", "1", "4294967296", "E"));
    assert_false(packs_with(pki, "000000000000040", "1", "2", "E"));
    assert_false(packs_with(pki, "000000000000040A", "1", "2", "E"));
    assert_false(packs(pki, ""));
    assert_false(packs(pki, "-----BEGIN CERTIFICATE-----"));

    uint8_t bytes[512], again[512];
    size_t length = sizeof(bytes);
    struct cloud_modelled_record record;
    struct cloud_certificate described;
    assert_true(cloud_pki_make(pki, CLOUD_CA_OPERATIONAL, "suv-1", NOW_S, YEAR_S, bytes, &length, NULL, NULL));
    assert_false(cloud_modelled_pack(other, span_of(bytes, length), &record)); /* another hierarchy's */
    for (size_t cut = 0; cut < length; cut++)
        assert_false(cloud_modelled_pack(pki, span_of(bytes, cut), &record));
    assert_true(cloud_modelled_pack(pki, span_of(bytes, length), &record));
    assert_int_equal(cloud_modelled_unpack(pki, &record, SPAN_LITERAL(""), again, sizeof(again)), 0);
    assert_int_equal(cloud_modelled_unpack(pki, &record, SPAN_LITERAL("a|b"), again, sizeof(again)), 0);
    assert_false(cloud_modelled_describe(pki, &record, SPAN_LITERAL(""), &described));
    cloud_pki_close(pki);
    cloud_pki_close(other);
}

/* Hexadecimal text is read by the word: every byte in every place, against the definition. */
static void every_digit(void **state)
{
    struct cloud_pki *pki = cloud_pki_modelled(7);
    char serial[17];
    for (int place = 1; place < 16; place++) /* the first digit holds the issuer's bits */
        for (int c = 1; c < 256; c++) {
            memset(serial, '0', 16);
            serial[16] = 0;
            serial[place] = (char)c;
            bool digit = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
            assert_int_equal(packs_with(pki, serial, "1", "2", "E"), digit);
        }
    cloud_pki_close(pki);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_bytes),
        cmocka_unit_test(refused),
        cmocka_unit_test(every_digit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
