/* virtual_ranks.c: the results of all ranks become rank 0's, exactly: integers are added, maxima taken, the measures merged. */
#include "virtual_internal.h"

#include <stdio.h>
#include <stdlib.h>

struct rank_result {
    struct sim_digest digest;
    uint64_t events, packets, wire_bytes, registered_things, active_certificates, peak_rss_bytes;
    uint64_t memory[WORLD_MEMORY_PARTS];
    int64_t cpu_us, simulated_us;
    uint64_t measure_bytes;
    uint32_t partitions;
};

static void sum_up(const struct world_result *result, struct rank_result *own, uint32_t partitions, size_t measure_bytes)
{
    *own = (struct rank_result){.digest = result->digest,
                                .events = result->events,
                                .packets = result->packets,
                                .wire_bytes = result->wire_bytes,
                                .registered_things = result->registered_things,
                                .active_certificates = result->active_certificates,
                                .peak_rss_bytes = result->peak_rss_bytes,
                                .cpu_us = (int64_t)(result->cpu_s * 1e6),
                                .simulated_us = result->simulated_us,
                                .measure_bytes = measure_bytes,
                                .partitions = partitions};
    for (uint32_t i = 0; i < result->memory_parts; i++)
        own->memory[i] = result->memory[i].bytes;
}

static void add(struct world_result *into, const struct rank_result *from)
{
    sim_digest_merge(&into->digest, &from->digest);
    into->events += from->events;
    into->packets += from->packets;
    into->wire_bytes += from->wire_bytes;
    into->registered_things += from->registered_things;
    into->active_certificates += from->active_certificates;
    into->peak_rss_bytes += from->peak_rss_bytes;
    into->cpu_s += (double)from->cpu_us * 1e-6;
    into->simulated_us = from->simulated_us < into->simulated_us ? from->simulated_us : into->simulated_us;
    for (uint32_t i = 0; i < into->memory_parts; i++)
        into->memory[i].bytes += from->memory[i];
}

static bool take(void *context, uint32_t rank, const void *data, size_t size)
{
    struct virtual_world *world = context;
    struct rank_result from;
    if (rank == 0)
        return true;
    ASSERT(size >= sizeof from);
    memcpy(&from, data, sizeof from);
    const uint8_t *rest = (const uint8_t *)data + sizeof from;
    ASSERT(size == sizeof from + from.partitions * sizeof(struct sim_digest) + from.measure_bytes);
    add(world->result, &from);
    uint32_t ranks = sim_group_size(world->group);
    for (uint32_t p = 0; p < from.partitions; p++)
        memcpy(&world->result->partition_digests[rank + p * ranks], rest + p * sizeof(struct sim_digest), sizeof(struct sim_digest));
    rest += from.partitions * sizeof(struct sim_digest);
    return measure_merge_packed(world->result->measure, rest, from.measure_bytes);
}

static void own_digests(const struct virtual_world *world, struct sim_digest *out, uint32_t stride)
{
    for (uint32_t p = 0; p < world->held; p++)
        out[p * stride] = world->partitions[p]->digest;
}

/* The others' part: head, digests of the partitions, packed measure. */
static uint8_t *packed_result(struct virtual_world *world, size_t *size)
{
    struct rank_result own;
    uint8_t *measure = NULL, *block = NULL;
    size_t measure_bytes = 0, digests = world->held * sizeof(struct sim_digest);
    if (measure_pack(world->result->measure, &measure, &measure_bytes))
        block = malloc(sizeof own + digests + measure_bytes);
    if (block) {
        sum_up(world->result, &own, world->held, measure_bytes);
        memcpy(block, &own, sizeof own);
        for (uint32_t p = 0; p < world->held; p++)
            memcpy(block + sizeof own + p * sizeof(struct sim_digest), &world->partitions[p]->digest, sizeof(struct sim_digest));
        memcpy(block + sizeof own + digests, measure, measure_bytes);
        *size = sizeof own + digests + measure_bytes;
    }
    free(measure);
    return block;
}

bool virtual_bring_together(struct virtual_world *world)
{
    struct world_result *result = world->result;
    memory_enter(NULL); /* what follows is not the model's */
    uint32_t ranks = sim_group_size(world->group), rank = sim_group_rank(world->group);
    result->acted = world->acted;
    result->acted_count = world->acted_count;
    uint8_t *block = NULL;
    size_t size = 0;
    int64_t failed = 0;
    if (rank == 0) {
        result->partition_count = world->partition_count;
        result->partition_digests = calloc(world->partition_count, sizeof *result->partition_digests);
        failed = !result->partition_digests;
        if (!failed)
            own_digests(world, result->partition_digests, ranks);
    } else {
        block = packed_result(world, &size);
        failed = !block;
    }
    for (uint32_t p = 0; p < world->held; p++) /* their memory is for the merging, above all after a run that had too little */
        virtual_partition_destroy(world->partitions[p]);
    world->held = 0;
    sim_group_reduce(world->group, SIM_GROUP_MAXIMUM, &failed, 1);
    bool together = !failed && (ranks == 1 || sim_group_gather(world->group, block, size, take, world));
    free(block);
    memory_enter(world->heap);
    return together;
}

static bool take_error(void *context, uint32_t rank, const void *data, size_t size)
{
    struct world_result *result = context;
    if (!result->error[0])
        snprintf(result->error, sizeof result->error, "%.*s", (int)size, (const char *)data);
    return true;
}

void virtual_share_error(struct sim_group *group, struct world_result *result)
{
    if (sim_group_size(group) > 1)
        sim_group_gather(group, result->error, strlen(result->error), take_error, result);
}
