/* live_run.h: what the live world's benches share: a run of a scenario in a process of its own, so that its memory and processor time are nobody
 * else's, and its figures. */
#ifndef BENCH_LIVE_RUN_H
#define BENCH_LIVE_RUN_H

#include "sim/world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct live_cost {
    double cpu_s, cloud_cpu_s, wall_s;
    int64_t attempts, online, published, acknowledged, delivered;
    int64_t acknowledged_at_pace;               /* in the phase that counts */
    int64_t lag_p50_us, lag_p99_us, lag_max_us; /* the warm-up included */
    int64_t pace_p50_us, pace_p99_us;           /* in the phase that counts */
    uint64_t peak_bytes;
};

struct live_job {
    const char *scenario; /* text */
    const char *directory;
    const char *broker;
    double connect_rate;
    struct script_override overrides[4];
    uint32_t override_count;
    uint32_t vehicles;
};

static void live_die(const char *what)
{
    fprintf(stderr, "bench: %s\n", what);
    exit(1);
}

static void live_run_here(const struct live_job *job, struct live_cost *cost)
{
    char path[160], error[512];
    snprintf(path, sizeof path, "%s/bench.lua", job->directory);
    FILE *file = fopen(path, "w");
    if (!file || fputs(job->scenario, file) < 0 || fclose(file) != 0)
        live_die("cannot write the scenario");
    struct script_options script_options = {
        .overrides = job->overrides, .override_count = job->override_count, .fleet = job->vehicles};
    struct script *script = script_load(path, &script_options, error, sizeof error);
    if (!script)
        live_die(error);
    struct world_options options = {.kind = WORLD_LIVE,
                                    .brokers = {job->broker},
                                    .broker_count = 1,
                                    .connect_rate = job->connect_rate,
                                    .out_directory = job->directory,
                                    .lag_bound_ms = 60000};
    struct world_result *result = calloc(1, sizeof *result);
    if (!result)
        live_die("out of memory");
    world_run(script, &options, result);
    if (result->status != WORLD_COMPLETED || !result->measure)
        live_die(result->error);
    struct ledger_totals ledger;
    measure_ledger_totals(result->measure, MEASURE_EVERYBODY, &ledger);
    int64_t acknowledged = measure_total(result->measure, COUNTER_PUBLISH_ACKS, MEASURE_EVERYBODY);
    *cost = (struct live_cost){.cpu_s = result->cpu_s,
                               .cloud_cpu_s = result->cloud_cpu_s,
                               .wall_s = result->wall_s,
                               .attempts = measure_total(result->measure, COUNTER_CONNECT_ATTEMPTS, MEASURE_EVERYBODY),
                               .online = measure_total(result->measure, COUNTER_CONNECTED, MEASURE_EVERYBODY),
                               .published = measure_total(result->measure, COUNTER_PUBLISHES, MEASURE_EVERYBODY),
                               .acknowledged = acknowledged,
                               .acknowledged_at_pace =
                                   acknowledged -
                                   measure_total_excluded(result->measure, COUNTER_PUBLISH_ACKS, MEASURE_EVERYBODY),
                               .delivered = (int64_t)ledger.field[LEDGER_DELIVERED],
                               .lag_p50_us = result->lag_p50_us,
                               .lag_p99_us = result->lag_p99_us,
                               .lag_max_us = result->lag_max_us,
                               .peak_bytes = result->peak_rss_bytes};
    struct histogram *lag = malloc(sizeof *lag);
    if (!lag)
        live_die("out of memory");
    measure_histogram(result->measure, METRIC_SEND_LAG, MEASURE_EVERYBODY, false, lag);
    cost->pace_p50_us = histogram_quantile(lag, 0.5);
    cost->pace_p99_us = histogram_quantile(lag, 0.99);
    free(lag);
    measure_destroy(result->measure);
    free(result);
    script_free(script);
}

static void live_run(const struct live_job *job, struct live_cost *cost)
{
    int ends[2], status = 0;
    if (pipe(ends) != 0)
        live_die("cannot make a pipe");
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        close(ends[0]);
        live_run_here(job, cost);
        _exit(write(ends[1], cost, sizeof *cost) == (ssize_t)sizeof *cost ? 0 : 1);
    }
    close(ends[1]);
    ssize_t got = read(ends[0], cost, sizeof *cost);
    close(ends[0]);
    if (pid < 0 || waitpid(pid, &status, 0) != pid || status || got != (ssize_t)sizeof *cost)
        live_die("a live run failed");
}

static inline double live_cpu_s(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
}

#endif
