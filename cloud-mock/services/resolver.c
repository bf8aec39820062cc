/* resolver.c: which region a vehicle is to be served by (cloud/regions.h): what the routing prefers, of those that residency allows and that are up. */
#include "cloud/regions.h"
#include "memory.h"

#define TTL_US    (60 * US_PER_S)
#define FIRST_BIT 6 /* entries of the first table, as a power of two */

struct fixed { /* a thing's place in the static table */
    struct fixed *chain;
    uint32_t hash;
    uint8_t region, length;
    char thing[];
};

struct cloud_resolver {
    struct cloud_resolver_options options;
    uint16_t all, up; /* bits of regions */
    uint32_t fixed_count, bucket_count;
    struct fixed **buckets;
    uint64_t bytes; /* of the table and its entries */
};

const char *cloud_routing_name(enum cloud_routing routing)
{
    static const char *const names[] = {"geolocation", "latency", "static"};
    return (size_t)routing < sizeof names / sizeof *names ? names[routing] : "?";
}

static bool valid(const struct cloud_resolver_options *options, uint16_t all)
{
    if (options->regions == 0 || options->regions > CLOUD_REGIONS_MAX || options->standard >= options->regions ||
        options->routing > CLOUD_ROUTE_STATIC || options->ttl_us < 0)
        return false;
    for (uint32_t home = 0; home < options->regions; home++)
        if (options->may_serve[home] & ~all)
            return false;
    return true;
}

struct cloud_resolver *cloud_resolver_create(const struct cloud_resolver_options *options)
{
    uint16_t all = (uint16_t)((UINT32_C(1) << (options->regions & 31)) - 1);
    struct cloud_resolver *resolver = valid(options, all) ? memory_allocate_zero(1, sizeof *resolver) : NULL;
    if (!resolver)
        return NULL;
    resolver->options = *options;
    resolver->all = resolver->up = all;
    if (options->ttl_us == 0)
        resolver->options.ttl_us = TTL_US;
    return resolver;
}

void cloud_resolver_destroy(struct cloud_resolver *resolver)
{
    if (!resolver)
        return;
    for (uint32_t i = 0; i < resolver->bucket_count; i++) {
        for (struct fixed *at = resolver->buckets[i], *next; at; at = next) {
            next = at->chain;
            memory_free(at);
        }
    }
    memory_free(resolver->buckets);
    memory_free(resolver);
}

int64_t cloud_resolver_ttl_us(const struct cloud_resolver *resolver)
{
    return resolver->options.ttl_us;
}

uint64_t cloud_resolver_bytes(const struct cloud_resolver *resolver)
{
    return sizeof *resolver + resolver->bytes;
}

/* ---- the table by thing ---------------------------------------------------------------------------------------------------- */

static uint32_t hash_of(struct span thing)
{
    uint32_t hash = 2166136261u;
    for (uint32_t i = 0; i < thing.length; i++)
        hash = (hash ^ thing.data[i]) * 16777619u;
    return hash;
}

static struct fixed *find(const struct cloud_resolver *resolver, struct span thing)
{
    uint32_t hash = hash_of(thing);
    struct fixed *at = resolver->bucket_count ? resolver->buckets[hash & (resolver->bucket_count - 1)] : NULL;
    while (at && !(at->hash == hash && span_equal(span_of(at->thing, at->length), thing)))
        at = at->chain;
    return at;
}

static bool room(struct cloud_resolver *resolver)
{
    if (resolver->fixed_count < resolver->bucket_count)
        return true;
    uint32_t count = resolver->bucket_count ? resolver->bucket_count * 2 : 1u << FIRST_BIT;
    struct fixed **buckets = memory_allocate_zero(count, sizeof *buckets);
    if (!buckets)
        return false;
    for (uint32_t i = 0; i < resolver->bucket_count; i++) {
        for (struct fixed *at = resolver->buckets[i], *next; at; at = next) {
            next = at->chain;
            at->chain = buckets[at->hash & (count - 1)];
            buckets[at->hash & (count - 1)] = at;
        }
    }
    memory_free(resolver->buckets);
    resolver->bytes += (count - resolver->bucket_count) * sizeof *buckets;
    resolver->buckets = buckets;
    resolver->bucket_count = count;
    return true;
}

bool cloud_resolver_set_static(struct cloud_resolver *resolver, struct span thing, uint8_t region)
{
    struct fixed *entry = find(resolver, thing);
    if (region >= resolver->options.regions || thing.length > UINT8_MAX)
        return false;
    if (entry) {
        entry->region = region;
        return true;
    }
    size_t size = sizeof *entry + thing.length;
    if (!room(resolver) || !(entry = memory_allocate(size)))
        return false;
    struct fixed **bucket = &resolver->buckets[hash_of(thing) & (resolver->bucket_count - 1)];
    *entry = (struct fixed){*bucket, hash_of(thing), region, (uint8_t)thing.length};
    if (thing.length > 0)
        memcpy(entry->thing, thing.data, thing.length);
    *bucket = entry;
    resolver->fixed_count++;
    resolver->bytes += size;
    return true;
}

/* ---- asking ------------------------------------------------------------------------------------------------------------------ */

static bool has(uint16_t regions, uint8_t region)
{
    return region < CLOUD_REGIONS_MAX && regions >> region & 1;
}

static uint16_t allowed(const struct cloud_resolver *resolver, uint8_t home)
{
    if (home >= resolver->options.regions)
        return 0; /* nobody knows its law */
    uint16_t may_serve = resolver->options.may_serve[home];
    return may_serve ? may_serve : (uint16_t)(1u << home);
}

bool cloud_resolver_allows(const struct cloud_resolver *resolver, uint8_t home, uint8_t region)
{
    return has(allowed(resolver, home), region);
}

static uint8_t nearest(const struct cloud_resolver *resolver, uint16_t regions, uint8_t place)
{
    uint8_t best = CLOUD_NO_REGION;
    for (uint8_t region = 0; region < resolver->options.regions; region++) {
        const uint32_t *latency_us = place < resolver->options.regions ? resolver->options.latency_us[place] : NULL;
        if (has(regions, region) && (best == CLOUD_NO_REGION || (latency_us && latency_us[region] < latency_us[best])))
            best = region;
    }
    return best;
}

/* What the routing wants; where it cannot have that: at home, the standard one, the nearest. */
static uint8_t choose(const struct cloud_resolver *resolver, uint16_t regions, struct span thing, uint8_t home,
                      uint8_t place)
{
    const struct cloud_resolver_options *options = &resolver->options;
    uint8_t first = place;
    if (options->routing == CLOUD_ROUTE_LATENCY && place < options->regions)
        return nearest(resolver, regions, place);
    if (options->routing == CLOUD_ROUTE_STATIC) {
        const struct fixed *entry = find(resolver, thing);
        first = entry ? entry->region : options->standard;
    }
    const uint8_t order[] = {first, home, options->standard};
    for (size_t i = 0; i < sizeof order; i++)
        if (has(regions, order[i]))
            return order[i];
    return nearest(resolver, regions, place);
}

struct cloud_resolved cloud_resolver_ask(const struct cloud_resolver *resolver, struct span thing, uint8_t home,
                                         uint8_t place)
{
    uint16_t may = allowed(resolver, home), can = may & resolver->up;
    struct cloud_resolved answer = {.region = choose(resolver, can, thing, home, place)};
    if (answer.region == CLOUD_NO_REGION)
        answer.forbidden = resolver->up != 0;
    else
        answer.failed_over = can != may && answer.region != choose(resolver, may, thing, home, place);
    return answer;
}

void cloud_resolver_set_up(struct cloud_resolver *resolver, uint8_t region, bool up)
{
    uint16_t bit = has(resolver->all, region) ? (uint16_t)(1u << region) : 0;
    resolver->up = up ? resolver->up | bit : (uint16_t)(resolver->up & ~bit);
}
