/* What a registry's rows cost, and that names of every shape come back as they were given. */
#include "cloud/registry.h"
#include "memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define NOW_S  INT64_C(1790000000)
#define YEAR_S INT64_C(31536000)

static struct cloud_registry *open_registry(void)
{
    char error[160];
    struct cloud_registry *registry = cloud_registry_open(NULL, error, sizeof(error));
    assert_non_null(registry);
    return registry;
}

static void check_name(const struct cloud_registry *registry, const struct cloud_certificate *c, const char *thing)
{
    char found[64] = "";
    struct cloud_certificate read;
    assert_true(cloud_registry_thing_of(registry, c->id, found));
    assert_string_equal(found, thing);
    assert_true(cloud_registry_has_thing(registry, thing));
    assert_true(cloud_registry_certificate(registry, c->id, &read));
    struct cloud_certificate expected = *c; /* the key is not kept */
    memset(expected.key_id, 0, sizeof(expected.key_id));
    assert_memory_equal(&read, &expected, sizeof(read));
}

/* From a modelled hierarchy: registered some seconds after it was issued, active one to ninety later, over a quarter of an hour. */
static void provision(struct cloud_registry *registry, struct cloud_pki *pki, const char *name, uint32_t number,
                      struct cloud_certificate *out)
{
    uint8_t bytes[512];
    size_t length = sizeof(bytes);
    int64_t now_s = NOW_S + (int64_t)(number * UINT64_C(2654435761) % 900);
    assert_true(cloud_pki_make(pki, CLOUD_CA_ATTESTATION, name, NOW_S, 20 * YEAR_S, bytes, &length, NULL, NULL));
    length = sizeof(bytes);
    assert_true(cloud_pki_make(pki, CLOUD_CA_OPERATIONAL, name, now_s, YEAR_S, bytes, &length, NULL, NULL));
    assert_true(cloud_certificate_read(span_of(bytes, length), out));
    assert_true(cloud_registry_put_certificate(registry, out, CLOUD_CERTIFICATE_PENDING_ACTIVATION, NULL, now_s + 2));
    assert_true(cloud_registry_put_thing(registry, name, now_s + 4 + number % 87));
    assert_true(cloud_registry_put_certificate(registry, out, CLOUD_CERTIFICATE_ACTIVE, name, now_s + 4 + number % 87));
}

static void provisioned(uint32_t count, uint32_t at_most)
{
    struct cloud_registry *registry = open_registry();
    struct cloud_pki *pki = cloud_pki_modelled(7);
    struct cloud_certificate *kept = calloc(count, sizeof(*kept));
    char name[64];
    for (uint32_t i = 0; i < count; i++) {
        snprintf(name, sizeof(name), "%s-%06u", i % 5 < 3 ? "suv" : "city", i * 16);
        provision(registry, pki, name, i, &kept[i]);
    }
    uint64_t bytes = cloud_registry_bytes(registry);
    if (bytes > (uint64_t)count * at_most)
        fail_msg("%u vehicles: %llu bytes each", count, (unsigned long long)(bytes / count));
    for (uint32_t i = 0; i < count; i++)
        check_name(registry, &kept[i], kept[i].common_name);
    free(kept);
    cloud_pki_close(pki);
    cloud_registry_close(registry);
}

/* A cell, the edge of two-byte row numbers, and a large registry. */
static void bytes_of_a_provisioned_fleet(void **state)
{
    provisioned(2000, 56);
    provisioned(4000, 56);
    provisioned(65000, 56);
    provisioned(66000, 60);
    provisioned(300000, 60);
}

static void bytes_of_a_factory_fleet(void **state)
{
    enum { COUNT = 4000 };
    struct cloud_registry *registry = open_registry();
    struct cloud_pki *pki = cloud_pki_modelled(7);
    struct cloud_certificate c;
    for (uint32_t i = 0; i < COUNT; i++) {
        char name[64];
        uint8_t bytes[512];
        size_t length = sizeof(bytes);
        snprintf(name, sizeof(name), "suv-%06u", i);
        assert_true(cloud_pki_make(pki, CLOUD_CA_OPERATIONAL, name, NOW_S - 86400, YEAR_S, bytes, &length, NULL, NULL));
        assert_true(cloud_certificate_read(span_of(bytes, length), &c));
        assert_true(cloud_registry_put_thing(registry, name, NOW_S));
        assert_true(cloud_registry_put_certificate(registry, &c, CLOUD_CERTIFICATE_ACTIVE, name, NOW_S));
        check_name(registry, &c, name);
    }
    assert_true(cloud_registry_bytes(registry) <= COUNT * 48);
    cloud_pki_close(pki);
    cloud_registry_close(registry);
}

/* X.509: serials of 63 random bits, dates of their own: as if every number were different. */
static void bytes_of_a_real_fleet(void **state)
{
    enum { COUNT = 100000 };
    struct cloud_registry *registry = open_registry();
    uint64_t luck = 1;
    for (uint32_t i = 0; i < COUNT; i++) {
        struct cloud_certificate c = {0};
        for (int b = 0; b < 32; b++) {
            luck = luck * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
            c.id[b] = (uint8_t)(luck >> 56);
        }
        c.serial = luck >> 1;
        memset(c.issuer_id, 0xaa, 32);
        snprintf(c.common_name, sizeof(c.common_name), "WVWZZZ1KZ%08u", i * 7);
        c.not_before_s = NOW_S + (int64_t)(luck >> 40);
        c.not_after_s = c.not_before_s + YEAR_S + (int64_t)(luck >> 50);
        assert_true(cloud_registry_put_certificate(registry, &c, CLOUD_CERTIFICATE_ACTIVE, c.common_name, NOW_S));
        check_name(registry, &c, c.common_name);
    }
    assert_true(cloud_registry_bytes(registry) <= COUNT * 72);
    cloud_registry_close(registry);
}

static void an_empty_one_is_small_and_grows_gently(void **state)
{
    struct cloud_registry *registry = open_registry();
    struct cloud_pki *pki = cloud_pki_modelled(7);
    struct cloud_certificate c;
    assert_true(cloud_registry_bytes(registry) <= 512);
    uint64_t before = cloud_registry_bytes(registry);
    for (uint32_t i = 0; i < 3000; i++) {
        char name[64];
        snprintf(name, sizeof(name), "suv-%06u", i);
        provision(registry, pki, name, i, &c);
        uint64_t bytes = cloud_registry_bytes(registry);
        assert_true(bytes <= before + 8192); /* a chunk of rows, or a quarter of a small index */
        assert_true(i > 0 || bytes <= 8192);
        before = bytes;
    }
    cloud_pki_close(pki);
    cloud_registry_close(registry);
}

/* ---- names -------------------------------------------------------------------------------------------------------- */

static const char *const shapes[] = {"a",
                                     "a-0",
                                     "a-00",
                                     "a-000",
                                     "a-7",
                                     "a-07",
                                     "a-007",
                                     "a-10",
                                     "a-010",
                                     "a-123",
                                     "0",
                                     "00",
                                     "7",
                                     "07",
                                     "a-0b",
                                     "a-00b",
                                     "b-999999999999999999",
                                     "b-1999999999999999999",
                                     "b-000000000000000000",
                                     "b-0000000000000000000",
                                     "b-18446744073709551616",
                                     "\xc3\xa4-1",
                                     "with space 1",
                                     "123456789012345678901234567890123456789012345678901234567890123",
                                     "a name of sixty-three characters, which is as long as they get."};
#define SHAPES (sizeof(shapes) / sizeof(shapes[0]))

/* Each is another name: found when it was put in, not before. */
static void every_shape(void **state)
{
    struct cloud_registry *registry = open_registry();
    uint64_t things;
    for (size_t i = 0; i < SHAPES; i++) {
        for (size_t j = 0; j < SHAPES; j++)
            assert_int_equal(cloud_registry_has_thing(registry, shapes[j]), j < i);
        assert_true(cloud_registry_put_thing(registry, shapes[i], (int64_t)i));
        assert_true(cloud_registry_put_thing(registry, shapes[i], 77));
    }
    cloud_registry_counts(registry, &things, NULL, NULL);
    assert_int_equal(things, SHAPES);
    struct cloud_certificate c = {.common_name = "somebody"};
    for (size_t i = 0; i < SHAPES; i++) { /* a thing that is not called like the certificate, and another one later */
        c.id[0] = (uint8_t)i;
        assert_true(cloud_registry_put_certificate(registry, &c, CLOUD_CERTIFICATE_ACTIVE, shapes[i], 1));
        check_name(registry, &c, shapes[i]);
        assert_true(
            cloud_registry_put_certificate(registry, &c, CLOUD_CERTIFICATE_ACTIVE, shapes[(i + 1) % SHAPES], 1));
        check_name(registry, &c, shapes[(i + 1) % SHAPES]);
    }
    cloud_registry_close(registry);
}

/* More families than there are places for: the rest is text, and nothing is mistaken for anything else. */
static void names_without_a_family(void **state)
{
    enum { COUNT = 5000 };
    struct cloud_registry *registry = open_registry();
    char name[64];
    for (uint32_t round = 0; round < 2; round++)
        for (uint32_t i = 0; i < COUNT; i++) {
            snprintf(name, sizeof(name), "%08x-%u", i * 2654435761u, i % 10);
            assert_int_equal(cloud_registry_has_thing(registry, name), round);
            assert_true(cloud_registry_put_thing(registry, name, 1));
        }
    uint64_t things;
    cloud_registry_counts(registry, &things, NULL, NULL);
    assert_int_equal(things, COUNT);
    assert_true(cloud_registry_bytes(registry) <= COUNT * 24); /* of 11 characters each */
    cloud_registry_close(registry);
}

/* Times and serials at both ends of what they can be, in one chunk of rows. */
static void every_width(void **state)
{
    struct cloud_registry *registry = open_registry();
    static const int64_t values[] = {0,         1,
                                     -1,        127,
                                     128,       -128,
                                     -129,      32767,
                                     32768,     -32769,
                                     INT32_MAX, (int64_t)INT32_MAX + 1,
                                     INT32_MIN, (int64_t)INT32_MIN - 1,
                                     INT64_MAX, INT64_MIN,
                                     NOW_S};
    enum { COUNT = sizeof(values) / sizeof(values[0]) };
    struct cloud_certificate kept[COUNT];
    for (int i = 0; i < COUNT; i++) {
        memset(&kept[i], 0, sizeof(kept[i]));
        kept[i].id[3] = (uint8_t)i;
        kept[i].issuer_id[0] = (uint8_t)i;
        kept[i].serial = (uint64_t)values[i];
        kept[i].not_before_s = values[i];
        kept[i].not_after_s = values[COUNT - 1 - i];
        snprintf(kept[i].common_name, sizeof(kept[i].common_name), "v-%d", i);
        assert_true(cloud_registry_put_certificate(registry, &kept[i], CLOUD_CERTIFICATE_ACTIVE, kept[i].common_name,
                                                   values[(i + 3) % COUNT]));
        for (int j = 0; j <= i; j++)
            check_name(registry, &kept[j], kept[j].common_name);
    }
    cloud_registry_close(registry);
}

/* However little memory there is: what was taken in stays as it is, the rest is refused, and everything goes back at the end. */
static void out_of_memory(void **state)
{
    struct cloud_pki *pki = cloud_pki_modelled(7);
    for (uint64_t pages = 4; pages < 100; pages += 3) {
        static struct cloud_certificate kept[20000];
        uint32_t count = 0;
        assert_true(memory_begin(pages * 4096));
        struct memory_heap *heap = memory_heap_create();
        if (heap) {
            memory_enter(heap);
            struct cloud_registry *registry = cloud_registry_open(NULL, NULL, 0);
            for (bool good = registry; good; count += good) {
                char name[64];
                uint8_t bytes[512];
                size_t length = sizeof(bytes);
                snprintf(name, sizeof(name), "%s%u", count % 7 ? "suv-" : "by name ", count);
                assert_true(
                    cloud_pki_make(pki, CLOUD_CA_OPERATIONAL, name, NOW_S + count, YEAR_S, bytes, &length, NULL, NULL));
                assert_true(cloud_certificate_read(span_of(bytes, length), &kept[count]));
                good = cloud_registry_put_certificate(registry, &kept[count], CLOUD_CERTIFICATE_ACTIVE, name, NOW_S);
                assert_true(count < sizeof(kept) / sizeof(kept[0]) - 1);
            }
            for (uint32_t i = 0; i < count; i++)
                check_name(registry, &kept[i], kept[i].common_name);
            assert_true(memory_exhausted());
            cloud_registry_close(registry);
            memory_enter(NULL);
            memory_heap_destroy(heap);
        }
        memory_end();
    }
    cloud_pki_close(pki);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_of_a_provisioned_fleet),
        cmocka_unit_test(bytes_of_a_factory_fleet),
        cmocka_unit_test(bytes_of_a_real_fleet),
        cmocka_unit_test(an_empty_one_is_small_and_grows_gently),
        cmocka_unit_test(every_shape),
        cmocka_unit_test(names_without_a_family),
        cmocka_unit_test(every_width),
        cmocka_unit_test(out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
