/* The registry: index against a plain list, bytes per vehicle, rows that survive. */
#include "cloud/registry.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "files_rig.h"

#define VEHICLES 100000

static void certificate_of(uint32_t number, struct cloud_certificate *out)
{
    memset(out, 0, sizeof(*out));
    uint64_t state = number;
    for (int i = 0; i < 32; i++) { /* ids that look like hashes */
        state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        out->id[i] = (uint8_t)(state >> 56);
    }
    memset(out->issuer_id, number % 2 ? 0xaa : 0xbb, 32);
    snprintf(out->common_name, sizeof(out->common_name), "WVWZZZ1KZ%08u", number);
    out->serial = (uint64_t)number << 20 | 5;
    out->not_before_s = 1790000000;
    out->not_after_s = 2524607999;
}

static enum cloud_certificate_status status_of(uint32_t number)
{
    return number % 3 == 0   ? CLOUD_CERTIFICATE_PENDING_ACTIVATION
           : number % 3 == 1 ? CLOUD_CERTIFICATE_ACTIVE
                             : CLOUD_CERTIFICATE_INACTIVE;
}

static void fill(struct cloud_registry *registry, uint32_t count)
{
    struct cloud_certificate c;
    for (uint32_t i = 0; i < count; i++) {
        certificate_of(i, &c);
        assert_true(cloud_registry_put_certificate(registry, &c, CLOUD_CERTIFICATE_PENDING_ACTIVATION, NULL, 100));
        if (status_of(i) != CLOUD_CERTIFICATE_PENDING_ACTIVATION)
            assert_true(cloud_registry_put_certificate(registry, &c, status_of(i), c.common_name, 200));
    }
}

static void check(struct cloud_registry *registry, uint32_t count)
{
    struct cloud_certificate c, read;
    char thing[64];
    uint64_t things, certificates, active, attached = 0, expected_active = 0;
    for (uint32_t i = 0; i < count; i++) {
        certificate_of(i, &c);
        bool pending = status_of(i) == CLOUD_CERTIFICATE_PENDING_ACTIVATION;
        assert_int_equal(cloud_registry_status(registry, c.id), status_of(i));
        assert_int_equal(cloud_registry_thing_of(registry, c.id, thing), !pending);
        assert_int_equal(cloud_registry_has_thing(registry, c.common_name), !pending);
        if (!pending)
            assert_string_equal(thing, c.common_name);
        assert_true(cloud_registry_certificate(registry, c.id, &read));
        assert_memory_equal(&read, &c, sizeof(c));
        attached += !pending;
        expected_active += status_of(i) == CLOUD_CERTIFICATE_ACTIVE;
    }
    cloud_registry_counts(registry, &things, &certificates, &active);
    assert_int_equal(certificates, count);
    assert_int_equal(things, attached);
    assert_int_equal(active, expected_active);
    certificate_of(count + 1, &c);
    assert_int_equal(cloud_registry_status(registry, c.id), CLOUD_CERTIFICATE_UNKNOWN);
    assert_false(cloud_registry_has_thing(registry, c.common_name));
    assert_false(cloud_registry_set_status(registry, c.id, CLOUD_CERTIFICATE_ACTIVE, 1));
}

static void index_answers(void **state)
{
    char error[160];
    struct cloud_registry *registry = cloud_registry_open(NULL, error, sizeof(error));
    fill(registry, VEHICLES);
    check(registry, VEHICLES);
    cloud_registry_close(registry);
}

/* Random ids, serials far apart: tests/unit/registry_bytes.c has what ordinary fleets cost. */
static void bytes_per_vehicle(void **state)
{
    char error[160];
    for (uint32_t count = 250000, round = 0; round < 2; round++, count = 160000) {
        struct cloud_registry *registry = cloud_registry_open(NULL, error, sizeof(error));
        fill(registry, count);
        assert_true(cloud_registry_bytes(registry) / count <= 68);
        cloud_registry_close(registry);
    }
}

static void allow_list(void **state)
{
    char error[160];
    struct cloud_registry *registry = cloud_registry_open(NULL, error, sizeof(error));
    assert_true(cloud_registry_is_allowed(registry, "anybody"));
    assert_true(cloud_registry_allow(registry, "TCU-1"));
    assert_true(cloud_registry_is_allowed(registry, "TCU-1"));
    assert_false(cloud_registry_is_allowed(registry, "anybody"));
    assert_false(cloud_registry_has_thing(registry, "TCU-1"));
    assert_true(cloud_registry_put_thing(registry, "TCU-1", 5));
    assert_true(cloud_registry_put_thing(registry, "TCU-1", 6));
    uint64_t things;
    cloud_registry_counts(registry, &things, NULL, NULL);
    assert_int_equal(things, 1);
    char long_name[80];
    memset(long_name, 'x', sizeof(long_name));
    long_name[79] = 0;
    assert_false(cloud_registry_put_thing(registry, long_name, 5));
    cloud_registry_close(registry);
}

static void rows_survive(void **state)
{
    char path[64] = "/tmp/convoy-registry-XXXXXX", saved[64] = "/tmp/convoy-registry-XXXXXX", error[160] = "";
    close(mkstemp(path));
    close(mkstemp(saved));
    struct cloud_registry *registry = cloud_registry_open(path, error, sizeof(error));
    assert_non_null(registry);
    fill(registry, 3000);
    assert_true(cloud_registry_allow(registry, "WVWZZZ1KZ00000001"));
    assert_true(cloud_registry_flush(registry));
    assert_int_equal(query_number(path, "SELECT count(*) FROM certificate"), 3000); /* durable before closing */
    cloud_registry_close(registry);

    registry = cloud_registry_open(path, error, sizeof(error));
    assert_non_null(registry);
    check(registry, 3000);
    assert_true(cloud_registry_is_allowed(registry, "WVWZZZ1KZ00000001"));
    assert_false(cloud_registry_is_allowed(registry, "WVWZZZ1KZ00000002"));
    assert_true(cloud_registry_save(registry, saved));
    assert_true(cloud_registry_save(registry, saved)); /* replaces */
    cloud_registry_close(registry);
    assert_int_equal(query_number(path, "SELECT count(*) FROM history"), 5000);
    assert_int_equal(query_number(saved, "SELECT count(*) FROM certificate"), 3000);
    assert_int_equal(query_number(saved, "SELECT count(*) FROM certificate WHERE status='ACTIVE' AND thing=common_name"),
                     1000);
    assert_int_equal(query_number(saved, "SELECT count(*) FROM thing"), 2000);
    assert_int_equal(query_number(saved, "SELECT count(*) FROM history"), 5000);
    registry = cloud_registry_open(saved, error, sizeof(error));
    assert_non_null(registry);
    check(registry, 3000);
    cloud_registry_close(registry);
    remove_database(path);
    remove_database(saved);
}

static void bad_files_say_so(void **state)
{
    char error[160] = "", path[64] = "/tmp/convoy-registry-XXXXXX";
    assert_null(cloud_registry_open("/proc/nowhere/registry.db", error, sizeof(error)));
    assert_non_null(strstr(error, "/proc/nowhere/registry.db"));
    int fd = mkstemp(path);
    assert_true(write(fd, "this is no database, only some text that is long enough to be one", 64) == 64);
    close(fd);
    assert_null(cloud_registry_open(path, error, sizeof(error)));
    assert_non_null(strstr(error, path));
    remove_database(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(index_answers), cmocka_unit_test(bytes_per_vehicle), cmocka_unit_test(allow_list),
        cmocka_unit_test(rows_survive),  cmocka_unit_test(bad_files_say_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
