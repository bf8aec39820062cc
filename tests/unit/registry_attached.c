/* From a thing to its certificates, forgetting, revocation and running out: against a plain list over random changes, over a restart, and in a database of
 * before revocations were kept. */
#include "cloud/registry.h"
#include "memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "files_rig.h"

#define THINGS       40
#define CERTIFICATES 400
#define STEPS        60000

struct model { /* what the registry should say */
    bool there, revoked;
    enum cloud_certificate_status status;
    int thing; /* -1: none */
    int64_t registered_s, revoked_s, not_after_s;
    uint64_t put; /* order */
};

static uint64_t luck;

static uint32_t draw(uint32_t below)
{
    luck = luck * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)((luck >> 33) % below);
}

static void certificate_of(uint32_t number, int64_t not_after_s, struct cloud_certificate *out)
{
    memset(out, 0, sizeof(*out));
    uint64_t state = number + 77;
    for (int i = 0; i < 32; i++) {
        state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        out->id[i] = (uint8_t)(state >> 56);
    }
    out->id[31] = (uint8_t)number; /* to know it again */
    out->id[30] = (uint8_t)(number >> 8);
    memset(out->issuer_id, 0xaa, 32);
    snprintf(out->common_name, sizeof(out->common_name), "v-%u", number % THINGS);
    out->serial = number;
    out->not_before_s = 1000;
    out->not_after_s = not_after_s;
}

static uint32_t number_of(const struct cloud_certificate *certificate)
{
    return certificate->id[31] | (uint32_t)certificate->id[30] << 8;
}

struct seen {
    uint32_t numbers[CERTIFICATES], count, stop;
    const struct model *models;
    int thing;
};

static bool see(struct seen *seen, const struct cloud_certificate *certificate)
{
    struct cloud_certificate expected;
    uint32_t number = number_of(certificate);
    certificate_of(number, certificate->not_after_s, &expected);
    assert_memory_equal(&expected, certificate, sizeof(expected));
    assert_int_equal(certificate->not_after_s, seen->models[number].not_after_s);
    assert_true(seen->count < CERTIFICATES);
    seen->numbers[seen->count++] = number;
    return seen->count != seen->stop;
}

static bool see_of_thing(void *context, const struct cloud_certificate *certificate,
                         enum cloud_certificate_status status)
{
    struct seen *seen = context;
    assert_int_equal(status, seen->models[number_of(certificate)].status);
    assert_int_equal(seen->models[number_of(certificate)].thing, seen->thing);
    return see(seen, certificate);
}

static bool see_expiring(void *context, const struct cloud_certificate *certificate, const char *thing)
{
    struct seen *seen = context;
    char name[64];
    snprintf(name, sizeof(name), "v-%d", seen->models[number_of(certificate)].thing);
    assert_string_equal(thing, name);
    return see(seen, certificate);
}

static bool see_revoked(void *context, const struct cloud_certificate *certificate, int64_t at_s)
{
    struct seen *seen = context;
    assert_int_equal(at_s, seen->models[number_of(certificate)].revoked_s);
    return see(seen, certificate);
}

static void check_thing(const struct cloud_registry *registry, const struct model *models, int thing)
{
    struct seen seen = {.models = models, .thing = thing};
    char name[64];
    uint32_t expected = 0;
    snprintf(name, sizeof(name), "v-%d", thing);
    cloud_registry_of_thing(registry, name, see_of_thing, &seen);
    for (uint32_t i = 0; i < CERTIFICATES; i++)
        expected += models[i].there && models[i].thing == thing;
    assert_int_equal(seen.count, expected); /* all of the right thing, none twice: in order of putting */
    for (uint32_t i = 1; i < seen.count; i++)
        assert_true(models[seen.numbers[i - 1]].put < models[seen.numbers[i]].put);
    if (expected > 1) {
        seen = (struct seen){.models = models, .thing = thing, .stop = 1};
        cloud_registry_of_thing(registry, name, see_of_thing, &seen);
        assert_int_equal(seen.count, 1);
    }
}

static void check_all(const struct cloud_registry *registry, const struct model *models)
{
    uint64_t certificates, active, there = 0, in_service = 0;
    uint32_t revoked = 0, expiring = 0;
    for (uint32_t i = 0; i < CERTIFICATES; i++) {
        struct cloud_certificate c;
        const struct model *m = &models[i];
        certificate_of(i, m->not_after_s, &c);
        assert_int_equal(cloud_registry_status(registry, c.id), m->there ? m->status : CLOUD_CERTIFICATE_UNKNOWN);
        assert_int_equal(cloud_registry_is_revoked(registry, c.id), m->there && m->revoked);
        there += m->there;
        in_service += m->there && m->status == CLOUD_CERTIFICATE_ACTIVE;
        revoked += m->there && m->revoked;
        expiring += m->there && m->status == CLOUD_CERTIFICATE_ACTIVE && m->thing >= 0 && m->not_after_s < 1000 + STEPS;
    }
    cloud_registry_counts(registry, NULL, &certificates, &active);
    assert_int_equal(certificates, there);
    assert_int_equal(active, in_service);
    struct seen seen = {.models = models};
    cloud_registry_revoked(registry, see_revoked, &seen);
    assert_int_equal(seen.count, revoked);
    seen = (struct seen){.models = models};
    cloud_registry_expiring(registry, 1000 + STEPS, see_expiring, &seen);
    assert_int_equal(seen.count, expiring);
    for (int thing = 0; thing < THINGS; thing++)
        check_thing(registry, models, thing);
}

static void put(struct cloud_registry *registry, struct model *models, uint32_t number, uint64_t step)
{
    struct model *m = &models[number];
    struct cloud_certificate c;
    int thing = (int)draw(THINGS + THINGS / 4);
    char name[64] = "";
    if (thing < THINGS)
        snprintf(name, sizeof(name), "v-%d", thing);
    if (!m->there)
        *m = (struct model){.there = true,
                            .thing = -1,
                            .registered_s = (int64_t)(1000 + step),
                            .not_after_s = 1000 + (int64_t)draw(2 * STEPS),
                            .put = step};
    certificate_of(number, m->not_after_s, &c);
    m->status = (enum cloud_certificate_status)(CLOUD_CERTIFICATE_PENDING_ACTIVATION + draw(4));
    if (thing < THINGS)
        m->thing = thing;
    assert_true(cloud_registry_put_certificate(registry, &c, m->status, name, (int64_t)(1000 + step)));
}

static void change(struct cloud_registry *registry, struct model *models, uint64_t step)
{
    uint32_t number = draw(CERTIFICATES);
    struct model *m = &models[number];
    struct cloud_certificate c;
    int64_t now_s = (int64_t)(1000 + step);
    certificate_of(number, m->not_after_s, &c);
    switch (draw(8)) {
    case 0:
        assert_int_equal(cloud_registry_forget_certificate(registry, c.id), m->there);
        m->there = false;
        break;
    case 1:
        assert_int_equal(cloud_registry_revoke(registry, c.id, now_s), m->there);
        if (m->there && !m->revoked) {
            m->revoked = true;
            m->revoked_s = now_s;
        }
        break;
    case 2:
        assert_int_equal(cloud_registry_set_status(registry, c.id, CLOUD_CERTIFICATE_ACTIVE, now_s), m->there);
        m->status = CLOUD_CERTIFICATE_ACTIVE;
        break;
    default: put(registry, models, number, step);
    }
}

static void walk(struct cloud_registry *registry, struct model *models, uint32_t steps, uint32_t check_every)
{
    for (uint32_t step = 0; step < steps; step++) {
        change(registry, models, step);
        if (step % check_every == 0)
            check_thing(registry, models, (int)draw(THINGS));
    }
    check_all(registry, models);
}

static void against_a_list(void **state)
{
    static struct model models[CERTIFICATES];
    struct cloud_registry *registry = cloud_registry_open(NULL, NULL, 0);
    luck = 3;
    walk(registry, models, STEPS, 7);
    assert_true(cloud_registry_bytes(registry) < 128 * 1024); /* rows of forgotten ones are taken again */
    struct seen seen = {0};
    cloud_registry_of_thing(registry, "nobody", see_of_thing, &seen);
    assert_int_equal(seen.count, 0);
    cloud_registry_close(registry);
}

/* The visitor changes what it is told of: all but one INACTIVE, and the unused one goes. */
struct rotation {
    struct cloud_registry *registry;
    uint32_t seen;
};

static bool deactivate(void *context, const struct cloud_certificate *certificate, enum cloud_certificate_status status)
{
    struct rotation *rotation = context;
    assert_int_equal(number_of(certificate), rotation->seen * THINGS);
    if (rotation->seen == 1)
        assert_true(cloud_registry_forget_certificate(rotation->registry, certificate->id));
    else
        assert_true(cloud_registry_set_status(rotation->registry, certificate->id, CLOUD_CERTIFICATE_INACTIVE, 2000));
    rotation->seen++;
    return true;
}

static void visitors_may_change_things(void **state)
{
    struct rotation rotation = {cloud_registry_open(NULL, NULL, 0), 0};
    struct cloud_certificate c;
    uint64_t certificates, active;
    for (uint32_t i = 0; i < 4; i++) {
        certificate_of(i * THINGS, 5000, &c);
        assert_true(cloud_registry_put_certificate(rotation.registry, &c, CLOUD_CERTIFICATE_ACTIVE, "v-0", 1000 + i));
    }
    cloud_registry_of_thing(rotation.registry, "v-0", deactivate, &rotation);
    assert_int_equal(rotation.seen, 4);
    cloud_registry_counts(rotation.registry, NULL, &certificates, &active);
    assert_int_equal(certificates, 3);
    assert_int_equal(active, 0);
    cloud_registry_close(rotation.registry);
}

/* Nobody asks: nobody pays. Somebody asks: 6 bytes a certificate at most. A question is not a walk over the fleet: 200,000 of them end at once. */
static bool count_one(void *context, const struct cloud_certificate *certificate, enum cloud_certificate_status status)
{
    ++*(uint32_t *)context;
    return true;
}

static void what_it_costs(void **state)
{
    enum { COUNT = 200000 };
    struct cloud_registry *registry = cloud_registry_open(NULL, NULL, 0);
    struct cloud_certificate c;
    char name[64];
    for (uint32_t i = 0; i < COUNT; i++) {
        certificate_of(i, 9000, &c);
        memcpy(c.id, (uint32_t[]){i * 2654435761u}, 4);
        snprintf(c.common_name, sizeof(c.common_name), "suv-%06u", i);
        assert_true(cloud_registry_put_certificate(registry, &c, CLOUD_CERTIFICATE_ACTIVE, c.common_name, 1000));
    }
    uint64_t before = cloud_registry_bytes(registry);
    assert_true(before <= COUNT * 60);
    uint32_t found = 0;
    for (uint32_t i = 0; i < COUNT; i++) {
        snprintf(name, sizeof(name), "suv-%06u", i);
        cloud_registry_of_thing(registry, name, count_one, &found);
    }
    assert_int_equal(found, COUNT);
    assert_true(cloud_registry_bytes(registry) - before <= COUNT * 7);
    cloud_registry_close(registry);
}

/* No memory left for the index: the answers stay right. */
static void without_memory(void **state)
{
    static struct model models[CERTIFICATES];
    uint32_t answered = 0;
    for (uint64_t pages = 12; pages < 40; pages++) {
        memset(models, 0, sizeof(models));
        assert_true(memory_begin(pages * 4096));
        struct memory_heap *heap = memory_heap_create();
        if (heap) {
            memory_enter(heap);
            struct cloud_registry *registry = cloud_registry_open(NULL, NULL, 0);
            luck = 5;
            struct cloud_certificate c;
            for (uint32_t i = 0; registry && i < CERTIFICATES; i++) {
                models[i] = (struct model){.there = true,
                                           .status = CLOUD_CERTIFICATE_ACTIVE,
                                           .thing = (int)(i % THINGS),
                                           .not_after_s = 7000,
                                           .put = i};
                certificate_of(i, 7000, &c);
                if (!cloud_registry_put_certificate(registry, &c, CLOUD_CERTIFICATE_ACTIVE, c.common_name, 1000 + i)) {
                    models[i].there = false;
                    cloud_registry_forget_certificate(registry, c.id);
                    break;
                }
            }
            while (memory_allocate(64)) /* the rest is taken */
                ;
            for (int thing = 0; registry && thing < THINGS; thing++, answered++)
                check_thing(registry, models, thing);
            cloud_registry_close(registry);
            memory_enter(NULL);
            memory_heap_destroy(heap);
        }
        memory_end();
    }
    assert_true(answered >= THINGS);
}

/* ---- the database ------------------------------------------------------------------------------------------------- */

static void over_a_restart(void **state)
{
    static struct model models[CERTIFICATES];
    char path[64] = "/tmp/convoy-registry-XXXXXX", saved[64] = "/tmp/convoy-registry-XXXXXX", error[160] = "";
    close(mkstemp(path));
    close(mkstemp(saved));
    luck = 9;
    struct cloud_registry *registry = cloud_registry_open(path, error, sizeof(error));
    assert_non_null(registry);
    walk(registry, models, 5000, 50);
    assert_true(cloud_registry_save(registry, saved));
    cloud_registry_close(registry);
    uint64_t there = 0, revoked = 0;
    for (uint32_t i = 0; i < CERTIFICATES; i++) {
        there += models[i].there;
        revoked += models[i].there && models[i].revoked;
    }
    for (int round = 0; round < 2; round++) {
        const char *from = round ? saved : path;
        assert_int_equal(query_number(from, "SELECT count(*) FROM certificate"), there);
        assert_int_equal(query_number(from, "SELECT count(*) FROM certificate WHERE revoked_at IS NOT NULL"), revoked);
        registry = cloud_registry_open(from, error, sizeof(error));
        assert_non_null(registry);
        check_all(registry, models);
        cloud_registry_close(registry);
    }
    assert_true(query_number(saved, "SELECT count(*) FROM history WHERE event='REVOKED_BY_CA'") == (int64_t)revoked);
    remove_database(path);
    remove_database(saved);
}

/* As a Convoy of before wrote it: no column revoked_at. */
static void a_database_of_before(void **state)
{
    char path[64] = "/tmp/convoy-registry-XXXXXX", error[160] = "";
    close(mkstemp(path));
    sqlite3 *handle;
    assert_int_equal(sqlite3_open(path, &handle), SQLITE_OK);
    assert_int_equal(
        sqlite3_exec(handle,
                     "CREATE TABLE name(name TEXT PRIMARY KEY, thing INTEGER, allowed INTEGER, created_s INTEGER)"
                     " WITHOUT ROWID;"
                     "CREATE TABLE certificate(id BLOB PRIMARY KEY, issuer BLOB, serial INTEGER, common_name TEXT,"
                     " status TEXT, thing TEXT, not_before_s INTEGER, not_after_s INTEGER, registered_s INTEGER,"
                     " changed_s INTEGER) WITHOUT ROWID;"
                     "INSERT INTO name VALUES('v-1', 1, 0, 5);"
                     "INSERT INTO certificate VALUES(CAST(zeroblob(31) || x'01' AS BLOB), zeroblob(32), 1, 'v-1', "
                     "'ACTIVE', 'v-1', 5,"
                     " 6000, 7, 8)",
                     NULL, NULL, NULL),
        SQLITE_OK);
    sqlite3_close(handle);
    uint8_t id[32] = {[31] = 1};
    for (int round = 0; round < 3; round++) {
        struct cloud_registry *registry = cloud_registry_open(path, error, sizeof(error));
        if (!registry)
            fail_msg("%s", error);
        assert_int_equal(cloud_registry_status(registry, id), CLOUD_CERTIFICATE_ACTIVE);
        assert_int_equal(cloud_registry_is_revoked(registry, id), round > 0);
        assert_true(cloud_registry_revoke(registry, id, 1234));
        assert_true(cloud_registry_revoke(registry, id, 9999)); /* the first time counts */
        cloud_registry_close(registry);
        assert_int_equal(query_number(path, "SELECT revoked_at FROM certificate"), 1234);
    }
    assert_int_equal(query_number(path, "SELECT count(*) FROM history"), 1);
    remove_database(path);
}

static bool next_serial(void *context, const struct cloud_certificate *certificate,
                        enum cloud_certificate_status status)
{
    uint64_t *expected = context;
    assert_int_equal(certificate->serial, *expected);
    --*expected;
    return true;
}

/* A car that claims its identity and rotates it within a second: what came first is told first, whatever its serial number, by a registry that is opened
 * again, too. */
static void within_a_second(void **state)
{
    char path[64] = "/tmp/convoy-registry-XXXXXX", error[160] = "";
    close(mkstemp(path));
    struct cloud_registry *registry = cloud_registry_open(path, error, sizeof(error));
    assert_non_null(registry);
    assert_true(cloud_registry_put_thing(registry, "v-1", 5));
    for (uint32_t number = 9; number > 0; number--) {
        struct cloud_certificate certificate;
        certificate_of(number, 90000, &certificate);
        assert_true(cloud_registry_put_certificate(registry, &certificate, CLOUD_CERTIFICATE_ACTIVE, "v-1", 7));
    }
    for (int round = 0; round < 2; round++) {
        uint64_t expected = 9;
        cloud_registry_of_thing(registry, "v-1", next_serial, &expected);
        assert_int_equal(expected, 0);
        cloud_registry_close(registry);
        registry = cloud_registry_open(path, error, sizeof(error));
        assert_non_null(registry);
    }
    cloud_registry_close(registry);
    remove_database(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(against_a_list),  cmocka_unit_test(visitors_may_change_things),
        cmocka_unit_test(what_it_costs),   cmocka_unit_test(without_memory),
        cmocka_unit_test(over_a_restart),  cmocka_unit_test(a_database_of_before),
        cmocka_unit_test(within_a_second),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
