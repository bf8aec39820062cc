/* The resolver against a brute-force model: residency is never violated, a fail-over happens only when there is a reason. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#include "cloud/regions.h"

static uint64_t luck;

static uint32_t below(uint32_t bound)
{
    luck += UINT64_C(0x9E3779B97F4A7C15);
    uint64_t z = (luck ^ (luck >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return (uint32_t)(((z >> 32) * bound) >> 32);
}

/* Of all regions in the set, the one for which nothing better is there. */
static uint8_t best_of(const struct cloud_resolver_options *o, uint32_t set, int fixed, uint8_t home, uint8_t place)
{
    uint8_t best = CLOUD_NO_REGION;
    uint64_t best_cost = UINT64_MAX;
    for (uint8_t r = 0; r < o->regions; r++) {
        uint64_t cost = (uint64_t)o->latency_us[place][r] * 16 + r;
        uint8_t wanted = o->routing == CLOUD_ROUTE_STATIC ? (fixed < 0 ? o->standard : (uint8_t)fixed) : place;
        if (!(set >> r & 1))
            continue;
        if (o->routing != CLOUD_ROUTE_LATENCY)
            cost += r == wanted        ? 0
                    : r == home        ? UINT64_C(1) << 50
                    : r == o->standard ? UINT64_C(2) << 50
                                       : UINT64_C(3) << 50;
        if (cost < best_cost) {
            best_cost = cost;
            best = r;
        }
    }
    return best;
}

static void random_options(struct cloud_resolver_options *o)
{
    memset(o, 0, sizeof(*o));
    o->regions = 1 + below(CLOUD_REGIONS_MAX);
    o->routing = (enum cloud_routing)below(3);
    o->standard = (uint8_t)below(o->regions);
    for (uint32_t i = 0; i < o->regions; i++) {
        for (uint32_t j = 0; j < o->regions; j++)
            o->latency_us[i][j] = below(5) * 10000;
        o->may_serve[i] = (uint16_t)(below(3) == 0 ? 0 : below(UINT32_C(1) << o->regions));
    }
}

static void random_worlds(void **state)
{
    unsigned overs = 0, refused = 0;
    for (uint64_t seed = 1; seed <= 400; seed++) {
        luck = seed;
        struct cloud_resolver_options o;
        random_options(&o);
        struct cloud_resolver *resolver = cloud_resolver_create(&o);
        assert_non_null(resolver);
        int fixed[40];
        uint32_t up = (UINT32_C(1) << o.regions) - 1;
        memset(fixed, -1, sizeof(fixed));
        for (unsigned step = 0; step < 300; step++) {
            char name[16];
            unsigned thing = below(40);
            uint8_t home = (uint8_t)below(o.regions), place = (uint8_t)below(o.regions),
                    region = (uint8_t)below(o.regions);
            struct span span = span_of(name, (size_t)snprintf(name, sizeof(name), "VIN-%u", thing));
            if (below(4) == 0) {
                bool is_up = below(2);
                cloud_resolver_set_up(resolver, region, is_up);
                up = is_up ? up | UINT32_C(1) << region : up & ~(UINT32_C(1) << region);
            }
            if (below(4) == 0) {
                assert_true(cloud_resolver_set_static(resolver, span, region));
                fixed[thing] = region;
            }
            uint32_t may = o.may_serve[home] ? o.may_serve[home] : UINT32_C(1) << home;
            struct cloud_resolved got = cloud_resolver_ask(resolver, span, home, place);
            assert_int_equal(got.region, best_of(&o, may & up, fixed[thing], home, place));
            if (got.region == CLOUD_NO_REGION) {
                assert_int_equal(got.forbidden, up != 0);
                assert_false(got.failed_over);
                refused++;
                continue;
            }
            assert_true(cloud_resolver_allows(resolver, home, got.region));
            assert_true(may >> got.region & up >> got.region & 1);
            assert_false(got.forbidden);
            assert_int_equal(got.failed_over, got.region != best_of(&o, may, fixed[thing], home, place));
            overs += got.failed_over;
        }
        cloud_resolver_destroy(resolver);
    }
    assert_true(overs > 100 && refused > 100);
}

static void edges(void **state)
{
    struct cloud_resolver_options o = {.regions = 3, .standard = 1};
    struct span car = SPAN_LITERAL("VIN-1");
    struct cloud_resolver *resolver = cloud_resolver_create(&o);
    assert_true(cloud_resolver_bytes(resolver) <= 4096);
    assert_int_equal(cloud_resolver_ttl_us(resolver), 60 * US_PER_S);
    assert_int_equal(cloud_resolver_ask(resolver, car, 2, 0).region, 2); /* home only */
    assert_int_equal(cloud_resolver_ask(resolver, car, 2, CLOUD_NO_REGION).region, 2);
    assert_true(cloud_resolver_ask(resolver, car, CLOUD_NO_REGION, 0).forbidden);
    assert_false(cloud_resolver_allows(resolver, 2, 200));
    assert_false(cloud_resolver_set_static(resolver, car, 3));
    cloud_resolver_set_up(resolver, 200, false);
    uint64_t bytes = cloud_resolver_bytes(resolver);
    for (uint32_t i = 0; i < 500; i++)
        assert_true(cloud_resolver_set_static(resolver, span_of(&i, sizeof(i)), (uint8_t)(i % 3)));
    assert_true(cloud_resolver_bytes(resolver) > bytes + 500 * 12);
    for (uint8_t r = 0; r < 3; r++)
        cloud_resolver_set_up(resolver, r, false);
    assert_false(cloud_resolver_ask(resolver, car, 2, 0).forbidden); /* nobody is up */
    cloud_resolver_destroy(resolver);
    o.may_serve[0] = 8;
    assert_null(cloud_resolver_create(&o));
    o.may_serve[0] = 0;
    o.standard = 3;
    assert_null(cloud_resolver_create(&o));
    o.regions = 0;
    assert_null(cloud_resolver_create(&o));
    o.regions = 17;
    assert_null(cloud_resolver_create(&o));
    assert_string_equal(cloud_routing_name(CLOUD_ROUTE_GEOLOCATION), "geolocation");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(random_worlds), cmocka_unit_test(edges)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
