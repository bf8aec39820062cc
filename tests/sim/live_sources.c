/* The rig's own choice of source addresses, and several clouds beside one process: a small live fleet whose sockets are looked up in the kernel's
 * own table while it runs. */
#include "sim/world.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define VEHICLES        24
#define ADDRESSES       3
#define TCP_ESTABLISHED 1

static const char scenario_text[] =
    "local vehicles = param('fleet', 24, 'vehicles in all')\n"
    "scenario 'sources' { start = '2026-03-04 08:00', duration = seconds(6), seed = 1, warm_up = seconds(0) }\n"
    "region 'here' { latency = milliseconds(1) }\n"
    "cloud { processors = 1 }\n"
    "cohort 'car' { count = vehicles, radio = 'ideal', identity = factory { kind = 'none', provisioning = 'done' },\n"
    "  mqtt = { version = 5, parked = { keep_alive = minutes(5) }, driving = { keep_alive = minutes(5) }, "
    "session_expiry = hours(1) },\n"
    "  telemetry = every(seconds(1)):always():size(constant(200)):qos(1),\n"
    "  trips = always_parked(), power_up = within(seconds(1)), backoff = { base = milliseconds(500), cap = seconds(1) "
    "} }\n"
    "expect 'online' (broker():connected():last()):at_least(vehicles)\n";

struct seen {
    uint32_t most[ADDRESSES]; /* connections from 127.0.0.2 + i, at most at one time */
};

/* A row of the kernel's table: "sl local:port remote:port state ...", addresses as the machine's own words. */
static void look(void *context, const struct world_progress *progress)
{
    struct seen *seen = context;
    uint32_t now[ADDRESSES] = {0};
    char row[256];
    FILE *table = fopen("/proc/net/tcp", "r");
    assert_non_null(table);
    while (fgets(row, sizeof row, table)) {
        unsigned local, local_port, remote, remote_port, state;
        if (sscanf(row, " %*d: %8x:%4x %8x:%4x %2x", &local, &local_port, &remote, &remote_port, &state) != 5)
            continue;
        uint8_t bytes[4];
        memcpy(bytes, &local, 4);
        uint8_t to[4];
        memcpy(to, &remote, 4);
        bool ours = bytes[0] == 127 && bytes[3] >= 2 && bytes[3] < 2 + ADDRESSES && to[0] == 127 && to[3] == 1;
        if (ours && state == TCP_ESTABLISHED)
            now[bytes[3] - 2]++;
    }
    fclose(table);
    for (int i = 0; i < ADDRESSES; i++)
        seen->most[i] = now[i] > seen->most[i] ? now[i] : seen->most[i];
    (void)progress;
}

static void vehicles_come_from_the_addresses_asked_for(void **state)
{
    char directory[] = "/tmp/convoy-sources-XXXXXX", path[64], error[512] = "", command[64];
    struct seen seen = {{0}};
    assert_non_null(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/sources.lua", directory);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(scenario_text, file) >= 0);
    assert_int_equal(fclose(file), 0);
    struct script_options script_options = {0};
    struct script *script = script_load(path, &script_options, error, sizeof error);
    if (!script)
        fail_msg("%s", error);
    struct world_options options = {.kind = WORLD_LIVE,
                                    .brokers = {"embedded", "embedded"},
                                    .broker_count = 2,
                                    .source_addresses = ADDRESSES,
                                    .out_directory = directory,
                                    .lag_bound_ms = 60000,
                                    .progress = look,
                                    .progress_context = &seen};
    struct world_result *result = calloc(1, sizeof *result);
    assert_non_null(result);
    world_run(script, &options, result);
    assert_string_equal(result->error, "");
    assert_int_equal(result->status, WORLD_COMPLETED);
    assert_int_equal(measure_total(result->measure, COUNTER_CONNECTED, MEASURE_EVERYBODY), VEHICLES);
    for (int i = 0; i < ADDRESSES; i++)
        assert_in_range(seen.most[i], VEHICLES / ADDRESSES,
                        VEHICLES / ADDRESSES + 4); /* another test's may be among them */
    struct ledger_totals ledger;
    measure_ledger_totals(result->measure, MEASURE_EVERYBODY, &ledger);
    assert_int_equal(ledger.vehicles, VEHICLES);
    assert_int_equal(ledger.field[LEDGER_LOST], 0);
    assert_int_equal(ledger.field[LEDGER_DUPLICATED], 0);
    measure_destroy(result->measure);
    free(result);
    script_free(script);
    snprintf(command, sizeof command, "rm -r %s", directory);
    assert_int_equal(system(command), 0);
}

static struct world_options needs(uint32_t brokers, const char *broker)
{
    struct world_options options = {.kind = WORLD_LIVE, .broker_count = brokers};
    for (uint32_t b = 0; b < brokers; b++)
        options.brokers[b] = broker;
    return options;
}

static void preflight_says_how_many_processes(void **state)
{
    char text[4096], remedy[512];
    struct scenario_cohort cohort = {.count = 4000000};
    struct scenario scenario = {.fleet = 4000000, .cohorts = &cohort, .cohort_count = 1};
    struct world_options options = needs(1, "mqtt://192.0.2.1:1883");
    assert_false(world_preflight(&scenario, &options, text, sizeof text, remedy, sizeof remedy));
    assert_non_null(strstr(text, "descriptors    4000064 in each of 1 process"));
    cohort.count = scenario.fleet = 60000;
    options.source_addresses = 1;
    assert_false(world_preflight(&scenario, &options, text, sizeof text, remedy, sizeof remedy));
    assert_non_null(strstr(remedy, "needs 3 listeners"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(vehicles_come_from_the_addresses_asked_for),
                                       cmocka_unit_test(preflight_says_how_many_processes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
