/* bench/live_pace.c: how late the rig is. Many vehicles, each publishing every 10 seconds at its own moment, against the embedded cloud; the lag is
 * from the moment a message was meant to be sent until it was written. Also what a connected vehicle in clear takes of the rig's memory.
 *
 * The bar is a 99th percentile of 1 ms at 10,000 vehicles, once they are connected; the figure with the ten seconds in which they connect is beside it. Options: --vehicles N.
 */
#include "live_run.h"

static char directory[64] = "/tmp/convoy-bench-XXXXXX";

static const char scenario_text[] =
    "local vehicles = param('fleet', 100, 'vehicles in all')\n"
    "scenario 'pace' { start = '2026-03-04 08:00', duration = seconds(40), seed = 1, warm_up = seconds(10) }\n"
    "region 'here' { latency = milliseconds(1) }\n"
    "cloud { processors = 1 }\n"
    "cohort 'car' { count = vehicles, radio = 'ideal', identity = factory { kind = 'none', provisioning = 'done' },\n"
    "  mqtt = { version = 5, parked = { keep_alive = minutes(5) }, driving = { keep_alive = minutes(5) }, "
    "session_expiry = hours(1) },\n"
    "  telemetry = every(seconds(10)):always():size(constant(200)):qos(1),\n"
    "  trips = always_parked(), power_up = within(seconds(5)), backoff = { base = milliseconds(500), cap = seconds(1) "
    "} }\n"
    "expect 'online' (broker():connected():last()):at_least(vehicles)\n";

int main(int argc, char **argv)
{
    uint32_t vehicles = argc == 3 && strcmp(argv[1], "--vehicles") == 0 ? (uint32_t)strtoul(argv[2], NULL, 10)
                        : argc == 1                                     ? 10000
                                                                        : 0;
    if (vehicles < 2 || vehicles > 19000) {
        fprintf(stderr, "usage: bench_live_pace [--vehicles 2..19000]\n");
        return 2;
    }
    if (!mkdtemp(directory))
        live_die("cannot make a scratch directory");
    struct live_job job = {
        .scenario = scenario_text, .directory = directory, .broker = "embedded", .connect_rate = 5000};
    struct live_cost one, many;
    job.vehicles = 1;
    live_run(&job, &one);
    job.vehicles = vehicles;
    live_run(&job, &many);
    if (many.online != vehicles)
        live_die("not every vehicle stayed online");
    printf("{\"bench\": \"live_pace\", \"vehicles\": %u, \"period_s\": 10, \"publishes\": %lld, \"delivered\": %lld,\n",
           vehicles, (long long)many.published, (long long)many.delivered);
    printf(" \"send_lag\": {\"p50_us\": %lld, \"p99_us\": %lld, \"while_connecting_p99_us\": %lld},\n",
           (long long)many.pace_p50_us, (long long)many.pace_p99_us, (long long)many.lag_p99_us);
    printf(" \"rig_cpu_s\": %.2f, \"cloud_cpu_s\": %.2f,\n", many.cpu_s, many.cloud_cpu_s);
    printf(" \"resident_bytes_per_vehicle\": {\"plain\": %.0f}}\n",
           ((double)many.peak_bytes - (double)one.peak_bytes) / vehicles);
    char command[128];
    snprintf(command, sizeof command, "rm -r %s", directory);
    return system(command) == 0 ? 0 : 1;
}
