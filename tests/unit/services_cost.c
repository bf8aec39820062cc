/* What one instance of the cloud costs before it has met anybody, and what its services keep for those it has met. */
#include "cloud/services.h"
#include "memory.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define INSTANCES 1000

struct instance {
    struct cloud cloud;
    struct cloud_pki *pki;
    struct cloud_registry *registry;
    struct cloud_commands *commands;
};

/* The broker's tables are not what is measured here: they stay with libc. */
static void *broker_memory(void *context, void *old, size_t old_size, size_t new_size)
{
    if (new_size)
        return realloc(old, new_size);
    free(old);
    return NULL;
}

static void nothing_sent(void *door, void *link, const uint8_t *data, size_t length)
{
}

static void nothing_closed(void *door, void *link, enum cloud_close_reason reason)
{
}

static struct instance *instance_create(uint64_t seed)
{
    struct instance *instance = memory_allocate_zero(1, sizeof(*instance));
    struct cloud_options options = {.seed = seed, .profile = cloud_profile_find("embedded")};
    struct cloud_command_options commands = {.request_topic = "cmd/%/request", .response_topic = "cmd/%/response"};
    assert_non_null(instance);
    cloud_broker_defaults(&options.broker);
    options.broker.allocate = broker_memory;
    instance->pki = cloud_pki_modelled(seed);
    instance->registry = cloud_registry_open(NULL, NULL, 0);
    assert_true(cloud_create(&instance->cloud, &options, instance->pki, instance->registry, nothing_sent,
                             nothing_closed, NULL));
    instance->commands = cloud_commands_create(&commands, instance->cloud.bus, 0);
    assert_non_null(instance->commands);
    return instance;
}

static uint64_t instance_bytes(const struct instance *instance)
{
    return sizeof(*instance) + cloud_pki_bytes(instance->pki) + cloud_registry_bytes(instance->registry) +
           cloud_bytes(&instance->cloud) + cloud_commands_bytes(instance->commands);
}

static void instance_destroy(struct instance *instance)
{
    cloud_commands_destroy(instance->commands);
    cloud_destroy(&instance->cloud);
    cloud_registry_close(instance->registry);
    cloud_pki_close(instance->pki);
    memory_free(instance);
}

/* By what the parts say of themselves, and by the heap all of them lie in. */
static void an_instance_is_small(void **state)
{
    static struct instance *instances[INSTANCES];
    assert_true(memory_begin(0));
    struct memory_heap *heap = memory_heap_create();
    memory_enter(heap);
    uint64_t before = memory_heap_bytes(heap), told = 0;
    for (int i = 0; i < INSTANCES; i++) {
        instances[i] = instance_create((uint64_t)i);
        told += instance_bytes(instances[i]);
    }
    uint64_t each = (memory_heap_bytes(heap) - before) / INSTANCES;
    for (int i = 0; i < INSTANCES; i++)
        instance_destroy(instances[i]);
    memory_enter(NULL);
    memory_heap_destroy(heap);
    memory_end();
    if (each > 8192 || told / INSTANCES > each)
        fail_msg("%llu bytes an instance, %llu by its own account", (unsigned long long)each,
                 (unsigned long long)told / INSTANCES);
}

/* Everything an instance has taken goes back. */
static void nothing_is_left(void **state)
{
    assert_true(memory_begin(0));
    struct memory_heap *heap = memory_heap_create();
    memory_enter(heap);
    instance_destroy(instance_create(1));
    uint64_t once = memory_heap_bytes(heap);
    for (uint64_t i = 0; i < 100; i++)
        instance_destroy(instance_create(i));
    assert_int_equal(memory_heap_bytes(heap), once);
    memory_enter(NULL);
    memory_heap_destroy(heap);
    memory_end();
}

static void presence_costs_little(void **state)
{
    enum { COUNT = 4000 };
    struct instance *instance = instance_create(1);
    struct cloud_presence *presence = instance->cloud.presence;
    for (int64_t round = 0; round < 12; round++)
        for (uint32_t i = 0; i < COUNT; i++) {
            char name[32];
            struct span id = span_of(name, (size_t)snprintf(name, sizeof(name), "suv-%06u", i));
            int64_t now_us = round * US_PER_HOUR * 2 + (int64_t)i * 900001;
            cloud_presence_connected(presence, now_us, id, NULL);
            cloud_presence_disconnected(presence, now_us + US_PER_HOUR, id, NULL, CLOUD_CLOSED_LOST);
        }
    assert_true(cloud_presence_bytes(presence) <= COUNT * 20);
    instance_destroy(instance);
}

/* A command is forgotten when its late answer can no longer come, and its place is used again. */
static void commands_cost_what_is_open(void **state)
{
    struct instance *instance = instance_create(1);
    for (int64_t i = 0; i < 100000; i++) {
        int64_t now_us = i * US_PER_S;
        cloud_commands_tick(instance->commands, now_us);
        cloud_command_send(instance->commands, now_us, SPAN_LITERAL("VIN-1"), SPAN_LITERAL("unlock"), US_PER_S, 0);
    }
    assert_true(cloud_commands_bytes(instance->commands) <= 8192);
    instance_destroy(instance);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_instance_is_small),
        cmocka_unit_test(nothing_is_left),
        cmocka_unit_test(presence_costs_little),
        cmocka_unit_test(commands_cost_what_is_open),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
