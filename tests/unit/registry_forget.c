/* A thing that is forgotten: it and all of its certificates are gone, in memory and in the database, its neighbours stay; and it may come back. */
#include "cloud/registry.h"
#include "memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#define THINGS 30

static void name_of(uint32_t thing, char out[64])
{
    snprintf(out, 64, "car-%06u", thing);
}

static void certificate_of(uint32_t thing, uint32_t nth, struct cloud_certificate *out)
{
    memset(out, 0, sizeof *out);
    memset(out->id, (int)(thing * 3 + nth), 32);
    out->id[0] = (uint8_t)thing;
    out->id[1] = (uint8_t)nth;
    memset(out->issuer_id, 0xAA, 32);
    name_of(thing, out->common_name);
    out->serial = thing * 3 + nth + 1;
    out->not_before_s = 1000;
    out->not_after_s = 100000;
}

static void fill(struct cloud_registry *registry)
{
    char name[64];
    struct cloud_certificate certificate;
    for (uint32_t thing = 0; thing < THINGS; thing++) {
        name_of(thing, name);
        assert_true(cloud_registry_put_thing(registry, name, 2000));
        for (uint32_t nth = 0; nth < thing % 3; nth++) {
            certificate_of(thing, nth, &certificate);
            assert_true(cloud_registry_put_certificate(
                registry, &certificate, nth ? CLOUD_CERTIFICATE_INACTIVE : CLOUD_CERTIFICATE_ACTIVE, name, 2000));
        }
    }
}

static bool count_one(void *context, const struct cloud_certificate *certificate, enum cloud_certificate_status status)
{
    ++*(uint32_t *)context;
    return true;
}

static uint32_t certificates_of(const struct cloud_registry *registry, uint32_t thing)
{
    char name[64];
    uint32_t count = 0;
    name_of(thing, name);
    cloud_registry_of_thing(registry, name, count_one, &count);
    return count;
}

/* Every other thing is gone. */
static void check(const struct cloud_registry *registry)
{
    char name[64];
    struct cloud_certificate certificate;
    for (uint32_t thing = 0; thing < THINGS; thing++) {
        bool gone = thing % 2;
        name_of(thing, name);
        assert_int_equal(cloud_registry_has_thing(registry, name), !gone);
        assert_int_equal(certificates_of(registry, thing), gone ? 0 : thing % 3);
        for (uint32_t nth = 0; nth < thing % 3; nth++) {
            certificate_of(thing, nth, &certificate);
            assert_int_equal(cloud_registry_status(registry, certificate.id) == CLOUD_CERTIFICATE_UNKNOWN, gone);
        }
    }
    uint64_t things, certificates, active;
    cloud_registry_counts(registry, &things, &certificates, &active);
    assert_int_equal(things, THINGS / 2);
    assert_int_equal(certificates, 15); /* of 2, 4, ... 28: 2 1 0 2 1 ... */
    assert_int_equal(active, 10);
}

static void forget_every_other(struct cloud_registry *registry)
{
    char name[64];
    for (uint32_t thing = 1; thing < THINGS; thing += 2) {
        name_of(thing, name);
        assert_true(cloud_registry_forget_thing(registry, name));
        assert_false(cloud_registry_forget_thing(registry, name));
    }
    assert_false(cloud_registry_forget_thing(registry, "car-999999"));
}

static void a_thing_and_its_certificates_are_gone(void **state)
{
    char error[160];
    struct cloud_registry *registry = cloud_registry_open(NULL, error, sizeof error);
    fill(registry);
    forget_every_other(registry);
    check(registry);
    cloud_registry_close(registry);
}

static void the_database_has_forgotten_it_too(void **state)
{
    char error[160], path[] = "/tmp/convoy-forget-XXXXXX";
    int file = mkstemp(path);
    assert_true(file >= 0);
    close(file);
    unlink(path);
    struct cloud_registry *registry = cloud_registry_open(path, error, sizeof error);
    assert_non_null(registry);
    fill(registry);
    forget_every_other(registry);
    cloud_registry_close(registry);
    registry = cloud_registry_open(path, error, sizeof error);
    assert_non_null(registry);
    check(registry);
    cloud_registry_close(registry);
    unlink(path);
}

static void it_may_come_back(void **state)
{
    char error[160], name[64];
    struct cloud_certificate certificate;
    struct cloud_registry *registry = cloud_registry_open(NULL, error, sizeof error);
    name_of(7, name);
    certificate_of(7, 0, &certificate);
    assert_true(cloud_registry_allow(registry, name));
    for (int round = 0; round < 3; round++) {
        assert_false(cloud_registry_has_thing(registry, name));
        assert_true(
            cloud_registry_put_certificate(registry, &certificate, CLOUD_CERTIFICATE_ACTIVE, name, 2000 + round));
        assert_int_equal(certificates_of(registry, 7), 1);
        assert_true(cloud_registry_forget_thing(registry, name));
        assert_int_equal(certificates_of(registry, 7), 0);
    }
    assert_true(cloud_registry_is_allowed(registry, name)); /* announced it stays */
    assert_false(cloud_registry_is_allowed(registry, "car-000008"));
    cloud_registry_close(registry);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_thing_and_its_certificates_are_gone),
        cmocka_unit_test(the_database_has_forgotten_it_too),
        cmocka_unit_test(it_may_come_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
