/* live_group.c: several processes, one run: what they agree on before, how they end together, and whose figures are whose.
 *
 * Processes meet in collective calls while nothing is measured: during set-up, when time begins, when everything under way has arrived, and
 * when the books are put together. During the run nobody waits for anybody: a process that has to end early leaves a file, and the
 * others look for it twice a second.
 */
#include "live.h"

#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define STOP_LOOK_US (500 * US_PER_MS)
#define HEADSTART_US (50 * US_PER_MS) /* for the news of when time begins to arrive everywhere */

void live_group_join(struct live_world *world)
{
    world->group = world->options->group;
    world->rank = world->group ? sim_group_rank(world->group) : 0;
    world->ranks = world->group ? sim_group_size(world->group) : 1;
    uint32_t fleet = world->scenario->fleet;
    world->count = fleet / world->ranks + (world->rank < fleet % world->ranks);
}

bool live_group_agree(struct live_world *world, bool good)
{
    int64_t all = good;
    if (world->ranks == 1)
        return good;
    sim_group_reduce(world->group, SIM_GROUP_MINIMUM, &all, 1);
    if (good && !all && !world->result->error[0]) /* the one that knows why says it */
        world->result->status = WORLD_ENVIRONMENT;
    return all;
}

/* The run's name, under which everybody meets on somebody else's broker. */
bool live_group_identify(struct live_world *world, int64_t wall_us)
{
    snprintf(world->run_id, sizeof world->run_id, "%08x", (unsigned)(wall_us / 1000 * 65536 + getpid()));
    if (world->ranks == 1)
        return true;
    sim_group_broadcast(world->group, world->run_id, sizeof world->run_id);
    snprintf(world->stop_path, sizeof world->stop_path, "%s/convoy-%s.stop",
             world->options->out_directory ? world->options->out_directory : ".", world->run_id);
    return live_group_agree(world, world->count > 0 ||
                                       live_fail(world, "%u processes for %u vehicles; use fewer: -j %u", world->ranks,
                                                 world->scenario->fleet, world->scenario->fleet));
}

/* ---- when time begins ------------------------------------------------------------------------------------------------ */

struct origin {
    char machine[40]; /* boot id: processes with the same one share the monotonic clock */
    int64_t monotonic_us, wall_us;
};

static int64_t wall_clock_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * US_PER_S + now.tv_nsec / 1000;
}

static void read_machine(char out[40])
{
    FILE *file = fopen("/proc/sys/kernel/random/boot_id", "r");
    memset(out, 0, 40);
    if (!file || !fgets(out, 40, file))
        out[0] = 0;
    if (file)
        fclose(file);
}

/* On one machine the same moment to the microsecond; between machines as well as their wall clocks agree. */
bool live_group_begin(struct live_world *world)
{
    struct origin origin, mine;
    read_machine(mine.machine);
    if (world->ranks > 1)
        sim_group_barrier(world->group);
    int64_t headstart_us = world->ranks > 1 ? HEADSTART_US : 0;
    mine.monotonic_us = live_clock() + headstart_us;
    mine.wall_us = wall_clock_us() + headstart_us;
    origin = mine;
    if (world->ranks > 1)
        sim_group_broadcast(world->group, &origin, sizeof origin);
    bool same = memcmp(origin.machine, mine.machine, sizeof origin.machine) == 0 && origin.machine[0];
    world->start_us =
        same || world->ranks == 1 ? origin.monotonic_us : mine.monotonic_us + (origin.wall_us - mine.wall_us);
    world->fleet.wall_offset_us = origin.wall_us;
    int64_t early_us = world->start_us - live_clock();
    if (early_us > 0)
        usleep((useconds_t)early_us);
    live_tick(world);
    if (!same && world->ranks > 1)
        live_note(world->result, "process %u runs on another machine: times between the two rest on their wall clocks",
                  world->rank);
    return true;
}

void live_group_wait(struct live_world *world)
{
    if (world->ranks > 1)
        sim_group_barrier(world->group);
}

/* ---- ending early ---------------------------------------------------------------------------------------------------- */

void live_group_stop(struct live_world *world)
{
    if (world->ranks == 1 || world->stop_made)
        return;
    world->stop_made = true;
    int fd = open(world->stop_path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd >= 0)
        close(fd);
}

bool live_group_stopped(struct live_world *world)
{
    if (world->ranks == 1 || world->now_us < world->stop_looked_us + STOP_LOOK_US)
        return false;
    world->stop_looked_us = world->now_us;
    return access(world->stop_path, F_OK) == 0;
}

/* ---- the books --------------------------------------------------------------------------------------------------------- */

/* What one process sends to process 0 of its result: everything but what is behind pointers. */
struct part {
    struct world_result result;
    uint32_t vehicles;
};

struct merge {
    struct live_world *world;
    struct world_result *into;
};

static int severity(enum world_status status)
{
    switch (status) {
    case WORLD_COMPLETED: return 0;
    case WORLD_RIG_LIMITED: return 1;
    case WORLD_INTERRUPTED: return 2;
    case WORLD_ENVIRONMENT: return 3;
    case WORLD_SCENARIO: return 4;
    }
    return 3;
}

static void merge_status(struct world_result *into, const struct world_result *from)
{
    bool worse = severity(from->status) > severity(into->status);
    bool says_why = from->status == into->status && from->error[0] && !into->error[0];
    if (worse || says_why) {
        into->status = from->status;
        memcpy(into->error, from->error, sizeof into->error);
    }
}

/* Named, or the same figure of two processes would pass for one note of both. */
void live_group_note(struct live_world *world, const char *format, ...)
{
    char text[sizeof world->result->notes[0]];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (world->ranks > 1)
        live_note(world->result, "process %u: %s", world->rank, text);
    else
        live_note(world->result, "%s", text);
}

static void merge_notes(struct world_result *into, const struct world_result *from)
{
    for (uint32_t n = 0; n < from->note_count; n++) {
        bool known = false;
        for (uint32_t i = 0; i < into->note_count; i++)
            known |= strcmp(into->notes[i], from->notes[n]) == 0;
        if (!known)
            live_note(into, "%s", from->notes[n]);
    }
}

static void merge_memory(struct world_result *into, const struct world_result *from)
{
    for (uint32_t i = 0; i < from->memory_parts; i++) {
        uint32_t at = 0;
        while (at < into->memory_parts && strcmp(into->memory[at].part, from->memory[i].part) != 0)
            at++;
        if (at < into->memory_parts)
            into->memory[at].bytes += from->memory[i].bytes;
        else if (at < WORLD_MEMORY_PARTS)
            into->memory[into->memory_parts++] = from->memory[i];
    }
}

static void merge_numbers(struct world_result *into, const struct world_result *from)
{
    if (from->simulated_us < into->simulated_us)
        into->simulated_us = from->simulated_us;
    if (from->wall_s > into->wall_s)
        into->wall_s = from->wall_s;
    if (from->lag_max_us > into->lag_max_us)
        into->lag_max_us = from->lag_max_us;
    into->cpu_s += from->cpu_s;
    into->cloud_cpu_s += from->cloud_cpu_s;
    into->peak_rss_bytes += from->peak_rss_bytes;
    into->events += from->events;
    into->packets += from->packets;
    into->wire_bytes += from->wire_bytes;
    into->registered_things += from->registered_things;
    into->active_certificates += from->active_certificates;
}

static void describe_part(struct world_result *into, uint32_t rank, const struct part *part)
{
    const struct world_result *from = &part->result;
    live_note(into,
              "process %u: %u vehicles, %.1f s of processor time in %.1f s, its own lag p50 %.3f ms, p99 %.3f ms, at "
              "most %.1f ms",
              rank, part->vehicles, from->cpu_s, from->wall_s, (double)from->lag_p50_us / 1e3,
              (double)from->lag_p99_us / 1e3, (double)from->lag_max_us / 1e3);
}

static bool take_part(void *context, uint32_t rank, const void *data, size_t size)
{
    struct merge *merge = context;
    struct part *part = malloc(sizeof *part); /* the block need not be aligned */
    if (!part || size != sizeof *part) {
        free(part);
        return false;
    }
    memcpy(part, data, size);
    if (rank > 0) {
        merge_status(merge->into, &part->result);
        merge_numbers(merge->into, &part->result);
        merge_memory(merge->into, &part->result);
        merge_notes(merge->into, &part->result);
    }
    if (part->result.wall_s > 0)
        describe_part(merge->into, rank, part);
    free(part);
    return true;
}

static bool take_measure(void *context, uint32_t rank, const void *data, size_t size)
{
    struct merge *merge = context;
    return rank == 0 || size == 0 || !merge->into->measure || measure_merge_packed(merge->into->measure, data, size);
}

static void judge_merged(struct world_result *result)
{
    struct histogram *lag = malloc(2 * sizeof *lag);
    if (!lag || !result->measure) {
        free(lag);
        return;
    }
    measure_histogram(result->measure, METRIC_SEND_LAG, MEASURE_EVERYBODY, false, lag);
    measure_histogram(result->measure, METRIC_SEND_LAG, MEASURE_EVERYBODY, true, lag + 1);
    histogram_merge(lag, lag + 1);
    result->lag_p50_us = histogram_quantile(lag, 0.5);
    result->lag_p99_us = histogram_quantile(lag, 0.99);
    free(lag);
}

void live_group_merge(struct live_world *world)
{
    struct world_result *result = world->result;
    if (world->ranks == 1)
        return;
    struct merge merge = {world, result};
    struct part *part = calloc(1, sizeof *part);
    uint8_t *packed = NULL;
    size_t length = 0;
    bool good = part != NULL;
    if (part)
        *part = (struct part){*result, world->count};
    if (world->rank > 0 && result->measure)
        good = measure_pack(result->measure, &packed, &length) && good;
    good = sim_group_gather(world->group, part, part ? sizeof *part : 0, take_part, &merge) && good;
    good = sim_group_gather(world->group, packed, length, take_measure, &merge) && good;
    free(part);
    free(packed);
    if (!good && world->rank == 0 && !result->error[0])
        live_fail(world, "the processes' figures could not be put together: out of memory");
    judge_merged(result);
    if (world->rank > 0 && result->measure) { /* the report is process 0's */
        measure_destroy(result->measure);
        result->measure = NULL;
    }
    int64_t status = result->status;
    char error[sizeof result->error];
    memcpy(error, result->error, sizeof error);
    sim_group_broadcast(world->group, &status, sizeof status);
    sim_group_broadcast(world->group, error, sizeof error);
    result->status = (enum world_status)status;
    memcpy(result->error, error, sizeof error);
    if (world->rank == 0)
        unlink(world->stop_path);
}
