/* The rig's own choice of source addresses, and several clouds beside one process: a small live fleet whose sockets are looked up in the kernel's
 * own table while it runs. */
#include "sim/world.h"

#include <dirent.h>
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
#define OWN_SOCKETS     256

static const char moving_text[] =
    "scenario 'moving' { start = '2026-03-04 08:00', duration = seconds(8), seed = 1, warm_up = seconds(0) }\n"
    "region 'here' { latency = milliseconds(1) }\n"
    "cloud { processors = 1 }\n"
    "cohort 'car' { count = 24, radio = 'ideal', identity = factory { kind = 'none', provisioning = 'done' },\n"
    "  mqtt = { version = 5, parked = { keep_alive = seconds(5) }, driving = { keep_alive = seconds(5) }, "
    "session_expiry = hours(1) },\n"
    "  telemetry = every(seconds(1)):always():size(constant(200)):qos(1), acknowledge_timeout = seconds(2),\n"
    "  trips = always_parked(), power_up = within(seconds(1)), backoff = { base = milliseconds(500), cap = seconds(1) "
    "} }\n"
    "at(seconds(2), function() address_change { share = 1 } end)\n"
    "expect 'moved' (network():address_changes()):at_least(1)\n";

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
    uint32_t most[ADDRESSES + 1]; /* connections from 127.0.0.2 + i, at most at one time */
};

/* The sockets of this process: other tests' connections are in the same table. */
static uint32_t own_sockets(unsigned long *inodes, uint32_t most)
{
    uint32_t count = 0;
    DIR *directory = opendir("/proc/self/fd");
    assert_non_null(directory);
    for (const struct dirent *entry; (entry = readdir(directory)) && count < most;) {
        char path[300], target[64] = "";
        snprintf(path, sizeof path, "/proc/self/fd/%s", entry->d_name);
        if (readlink(path, target, sizeof target - 1) > 0 && sscanf(target, "socket:[%lu]", &inodes[count]) == 1)
            count++;
    }
    closedir(directory);
    return count;
}

/* Each once: the table is given out in pieces, and what others open and close in between moves its rows. */
static bool take(unsigned long *inodes, uint32_t *count, unsigned long inode)
{
    for (uint32_t i = 0; i < *count; i++)
        if (inodes[i] == inode) {
            inodes[i] = inodes[--*count];
            return true;
        }
    return false;
}

/* A row of the kernel's table: "sl local:port remote:port state queues timer retransmits uid timeout inode", addresses as the machine's own words. */
static void look(void *context, const struct world_progress *progress)
{
    struct seen *seen = context;
    uint32_t now[ADDRESSES + 1] = {0};
    unsigned long inodes[OWN_SOCKETS], inode;
    uint32_t owned = own_sockets(inodes, OWN_SOCKETS);
    char row[256];
    FILE *table = fopen("/proc/net/tcp", "r");
    assert_non_null(table);
    while (fgets(row, sizeof row, table)) {
        unsigned local, local_port, remote, remote_port, state;
        if (sscanf(row, " %*d: %8x:%4x %8x:%4x %2x %*s %*s %*s %*s %*s %lu", &local, &local_port, &remote, &remote_port,
                   &state, &inode) != 6 ||
            !take(inodes, &owned, inode))
            continue;
        uint8_t bytes[4];
        memcpy(bytes, &local, 4);
        uint8_t to[4];
        memcpy(to, &remote, 4);
        bool ours = bytes[0] == 127 && bytes[3] >= 2 && bytes[3] <= 2 + ADDRESSES && to[0] == 127 && to[3] == 1;
        if (ours && state == TCP_ESTABLISHED)
            now[bytes[3] - 2]++;
    }
    fclose(table);
    for (int i = 0; i <= ADDRESSES; i++)
        seen->most[i] = now[i] > seen->most[i] ? now[i] : seen->most[i];
    (void)progress;
}

static struct world_result *run(const char *text, struct seen *seen)
{
    char directory[] = "/tmp/convoy-sources-XXXXXX", path[64], error[512] = "", command[64];
    assert_non_null(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/sources.lua", directory);
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
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
                                    .progress_context = seen};
    struct world_result *result = calloc(1, sizeof *result);
    assert_non_null(result);
    world_run(script, &options, result);
    assert_string_equal(result->error, "");
    assert_int_equal(result->status, WORLD_COMPLETED);
    script_free(script);
    snprintf(command, sizeof command, "rm -r %s", directory);
    assert_int_equal(system(command), 0);
    return result;
}

static void forget(struct world_result *result)
{
    measure_destroy(result->measure);
    free(result);
}

static void vehicles_come_from_the_addresses_asked_for(void **state)
{
    struct seen seen = {{0}};
    struct world_result *result = run(scenario_text, &seen);
    assert_int_equal(measure_total(result->measure, COUNTER_CONNECTED, MEASURE_EVERYBODY), VEHICLES);
    for (int i = 0; i < ADDRESSES; i++)
        assert_int_equal(seen.most[i], VEHICLES / ADDRESSES);
    struct ledger_totals ledger;
    measure_ledger_totals(result->measure, MEASURE_EVERYBODY, &ledger);
    assert_int_equal(ledger.vehicles, VEHICLES);
    assert_int_equal(ledger.field[LEDGER_LOST], 0);
    assert_int_equal(ledger.field[LEDGER_DUPLICATED], 0);
    forget(result);
}

/* Each comes back from the next address, the last of which nobody had before; the connection it had is dead and lost nothing for good. */
static void vehicles_with_a_new_address_come_from_elsewhere(void **state)
{
    struct seen seen = {{0}};
    struct ledger_totals ledger;
    struct world_result *result = run(moving_text, &seen);
    assert_int_equal(measure_total(result->measure, COUNTER_ADDRESS_CHANGES, MEASURE_EVERYBODY), VEHICLES);
    assert_int_equal(measure_total(result->measure, COUNTER_CONNECTED, MEASURE_EVERYBODY), VEHICLES);
    assert_int_equal(seen.most[ADDRESSES], VEHICLES / ADDRESSES);
    measure_ledger_totals(result->measure, MEASURE_EVERYBODY, &ledger);
    assert_int_equal(ledger.field[LEDGER_LOST], 0);
    forget(result);
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
                                       cmocka_unit_test(vehicles_with_a_new_address_come_from_elsewhere),
                                       cmocka_unit_test(preflight_says_how_many_processes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
