/* live_result.c: what a live run says of itself: its memory, how late it was, what went wrong on the way to the brokers. */
#include "live.h"

#include <stdio.h>
#include <sys/resource.h>

#define LAG_BOUND_MS 50.0

static void memory_part(struct world_result *result, const char *part, uint64_t bytes)
{
    if (result->memory_parts < WORLD_MEMORY_PARTS) {
        snprintf(result->memory[result->memory_parts].part, sizeof result->memory[0].part, "%s", part);
        result->memory[result->memory_parts++].bytes = bytes;
    }
}

void live_weigh(struct live_world *world)
{
    uint64_t fleet = world->count, stores = 0, radios = world->radios ? fleet * live_radio_bytes() : 0, known;
    struct rusage usage;
    for (uint32_t v = 0; v < fleet; v++)
        for (int item = 0; item < TCU_STORE_ITEMS; item++)
            stores += world->vehicles[v].stored_length[item];
    getrusage(RUSAGE_SELF, &usage);
    world->result->peak_rss_bytes = (uint64_t)usage.ru_maxrss * 1024;
    memory_part(world->result, "agent and session", fleet * world->agent_stride);
    memory_part(world->result, "vehicle in the world", fleet * sizeof *world->vehicles);
    memory_part(world->result, "certificate store", stores);
    if (world->radios)
        memory_part(world->result, "link model", radios);
    memory_part(world->result, "due queue", sim_queue_bytes(world->queue));
    memory_part(world->result, "measures", measure_bytes(world->fleet.measure));
    known = fleet * (world->agent_stride + sizeof *world->vehicles) + stores + radios + sim_queue_bytes(world->queue) +
            measure_bytes(world->fleet.measure);
    if (world->result->peak_rss_bytes > known)
        memory_part(world->result, "TLS, libraries, program", world->result->peak_rss_bytes - known);
}

void live_judge_lag(struct live_world *world)
{
    struct world_result *result = world->result;
    struct histogram *lag = malloc(2 * sizeof *lag);
    double bound_ms = world->options->lag_bound_ms > 0 ? world->options->lag_bound_ms : LAG_BOUND_MS;
    if (!lag)
        return;
    measure_histogram(world->fleet.measure, METRIC_SEND_LAG, MEASURE_EVERYBODY, false, lag);
    measure_histogram(world->fleet.measure, METRIC_SEND_LAG, MEASURE_EVERYBODY, true, lag + 1);
    histogram_merge(lag, lag + 1);
    result->lag_p50_us = histogram_quantile(lag, 0.5);
    result->lag_p99_us = histogram_quantile(lag, 0.99);
    result->lag_max_us = lag->count ? lag->maximum : 0;
    free(lag);
    if (result->status != WORLD_COMPLETED || (double)result->lag_p99_us <= bound_ms * 1e3)
        return;
    result->status = WORLD_RIG_LIMITED;
    snprintf(result->error, sizeof result->error,
             "the rig was the bottleneck: 1%% of its sends were more than %.1f ms late (bound %.0f ms), so its figures "
             "say little about the broker; run "
             "fewer vehicles, a lower --connect-rate or on a faster machine",
             (double)result->lag_p99_us / 1e3, bound_ms);
}

void live_note_troubles(struct live_world *world)
{
    if (world->tls_failures)
        live_group_note(world, "%llu connections failed in TLS; the first: %s", (unsigned long long)world->tls_failures,
                        world->first_tls_failure);
    else if (world->first_tls_failure[0])
        live_group_note(world, "a request failed; the first: %s", world->first_tls_failure);
    if (world->tcp_failures)
        live_group_note(world, "%llu TCP connections failed", (unsigned long long)world->tcp_failures);
    if (world->resolve_failures)
        live_group_note(world, "%llu times the broker's name could not be resolved",
                        (unsigned long long)world->resolve_failures);
    if (world->longest_wait_us > US_PER_S)
        live_group_note(
            world, "a connection waited up to %.1f s for --connect-rate; connect.total counts it, the phases do not",
            (double)world->longest_wait_us / 1e6);
}
