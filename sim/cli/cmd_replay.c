/* cmd_replay.c: one vehicle of a virtual run lives again, and everything it sends, gets and decides is told.
 *
 * The run's own database holds the scenario's text, how it was loaded and what every partition came to (its digest). The vehicle's partition is
 * run again from the start with the same seed; when its digest is the one of the run, what was told is what the vehicle lived.
 */
#define _GNU_SOURCE /* memfd_create() */

#include "commands.h"

#include "sim/group.h"
#include "vehicle/agent.h"

#include <getopt.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

struct replay {
    const char *directory, *vehicle_text;
    int64_t from_us, until_us;
    sqlite3 *database;
    struct script_override overrides[128];
    struct script_options script;
    struct world_options world;
    struct world_result result;
    const struct scenario *scenario;
    struct mq5_stream streams[4]; /* by enum world_trace_kind */
    uint8_t buffers[4][65536];
    uint64_t told;
};

static volatile sig_atomic_t stop_requested;

static void on_signal(int number)
{
    stop_requested = 1;
}

/* ---- the run's database --------------------------------------------------------------------------------------------- */

static sqlite3_stmt *query(struct replay *replay, const char *sql)
{
    sqlite3_stmt *statement = NULL;
    return sqlite3_prepare_v2(replay->database, sql, -1, &statement, NULL) == SQLITE_OK ? statement : NULL;
}

/* The caller frees; NULL: there is no such row. */
static char *text_of(struct replay *replay, const char *sql)
{
    sqlite3_stmt *statement = query(replay, sql);
    char *text = NULL;
    if (statement && sqlite3_step(statement) == SQLITE_ROW && sqlite3_column_text(statement, 0))
        text = strdup((const char *)sqlite3_column_text(statement, 0));
    sqlite3_finalize(statement);
    return text;
}

static int64_t number_of(struct replay *replay, const char *sql, int64_t otherwise)
{
    sqlite3_stmt *statement = query(replay, sql);
    int64_t value = otherwise;
    if (statement && sqlite3_step(statement) == SQLITE_ROW)
        value = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return value;
}

static void read_overrides(struct replay *replay)
{
    sqlite3_stmt *statement = query(replay, "SELECT name, value FROM override ORDER BY position");
    uint32_t count = 0;
    while (statement && count < 128 && sqlite3_step(statement) == SQLITE_ROW) {
        replay->overrides[count].name = strdup((const char *)sqlite3_column_text(statement, 0));
        replay->overrides[count++].value = strdup((const char *)sqlite3_column_text(statement, 1));
    }
    sqlite3_finalize(statement);
    replay->script.overrides = replay->overrides;
    replay->script.override_count = count;
}

static void read_actions(struct replay *replay)
{
    int64_t count = number_of(replay, "SELECT count(*) FROM action", 0);
    int64_t *acted = calloc((size_t)count + 1, sizeof *acted);
    sqlite3_stmt *statement = query(replay, "SELECT touched FROM action ORDER BY position");
    for (int64_t i = 0; acted && statement && i < count && sqlite3_step(statement) == SQLITE_ROW; i++)
        acted[i] = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    replay->world.replay_acted = acted;
    replay->world.replay_acted_count = acted ? (uint32_t)count : 0;
}

static bool open_run(struct replay *replay)
{
    char path[600];
    snprintf(path, sizeof path, "%s/run.sqlite", replay->directory);
    if (sqlite3_open_v2(path, &replay->database, SQLITE_OPEN_READONLY, NULL) != SQLITE_OK ||
        number_of(replay, "SELECT count(*) FROM run", -1) < 0) {
        cli_complain("%s is no run directory: %s cannot be read", replay->directory, path);
        return false;
    }
    if (number_of(replay, "SELECT count(*) FROM replay", 0) > 0)
        return true;
    cli_complain(
        "%s cannot be replayed: it is not a completed run of the virtual world that was started from its beginning",
        replay->directory);
    return false;
}

static struct script *load(struct replay *replay)
{
    char path[64], error[1024], *text = text_of(replay, "SELECT value FROM replay WHERE key = 'scenario_text'");
    char *seed = text_of(replay, "SELECT value FROM run WHERE key = 'seed'");
    int file = memfd_create("scenario", MFD_CLOEXEC);
    struct script *script = NULL;
    if (text && seed && file >= 0 && write(file, text, strlen(text)) == (ssize_t)strlen(text)) {
        replay->script.has_seed = true;
        replay->script.seed = strtoull(seed, NULL, 10);
        replay->script.fleet = (uint32_t)number_of(replay, "SELECT value FROM replay WHERE key = 'fleet'", 0);
        replay->script.duration_us = number_of(replay, "SELECT value FROM replay WHERE key = 'duration_us'", 0);
        replay->world.partitions = (uint32_t)number_of(replay, "SELECT value FROM replay WHERE key = 'partitions'", 0);
        read_overrides(replay);
        read_actions(replay);
        snprintf(path, sizeof path, "/proc/self/fd/%d", file);
        script = script_load(path, &replay->script, error, sizeof error);
        if (!script)
            cli_complain("the run's scenario cannot be loaded again: %s", error);
    } else {
        cli_complain("%s/run.sqlite: the scenario's text or the seed is missing", replay->directory);
    }
    if (file >= 0)
        close(file);
    free(text);
    free(seed);
    return script;
}

/* ---- telling -------------------------------------------------------------------------------------------------------- */

static const char *const probe_names[] = {
    [TCU_PROBE_CONNECT_BEGIN] = "connects",
    [TCU_PROBE_ONLINE] = "online",
    [TCU_PROBE_REFUSED] = "refused",
    [TCU_PROBE_OFFLINE] = "offline",
    [TCU_PROBE_KEY_READY] = "key pair and CSR ready",
    [TCU_PROBE_CERTIFICATE_STORED] = "certificate stored",
    [TCU_PROBE_PROVISIONING_FAILED] = "provisioning failed",
    [TCU_PROBE_PROVISIONED] = "provisioned",
    [TCU_PROBE_TELEMETRY_INTENDED] = "telemetry intended",
    [TCU_PROBE_TELEMETRY_SENT] = "telemetry sent",
    [TCU_PROBE_TELEMETRY_ACKED] = "telemetry acknowledged",
    [TCU_PROBE_TELEMETRY_DROPPED] = "telemetry dropped",
    [TCU_PROBE_COMMAND_RECEIVED] = "command received",
    [TCU_PROBE_COMMAND_EXECUTED] = "command executed",
    [TCU_PROBE_COMMAND_DUPLICATE] = "command seen before",
    [TCU_PROBE_COMMAND_ANSWERED] = "command answered",
    [TCU_PROBE_POWER] = "power state",
    [TCU_PROBE_STEP] = "change of identity, step",
    [TCU_PROBE_ROTATION_ENDED] = "rotation ended",
    [TCU_PROBE_CLAIM_ONLINE] = "connected with its claim certificate",
    [TCU_PROBE_ASLEEP] = "asleep",
    [TCU_PROBE_AWAKE] = "awake",
    [TCU_PROBE_COMMAND_REFUSED] = "command refused",
    [TCU_PROBE_SHADOW_DELTA] = "its shadow differs",
    [TCU_PROBE_SHADOW_REPORTED] = "shadow updated",
    [TCU_PROBE_SHADOW_CONFLICT] = "shadow's version was another",
    [TCU_PROBE_NOTICE] = "notice",
    [TCU_PROBE_ALIAS] = "topic alias, bytes",
};
static const char *const way_names[] = {[TRACE_SENT] = "car     >",
                                        [TRACE_ARRIVED] = "  > broker",
                                        [TRACE_ANSWERED] = "broker  <",
                                        [TRACE_RECEIVED] = "  < car"};

static void line(struct replay *replay, int64_t at_us, const char *who, const char *what)
{
    char at[32];
    scenario_time_text(replay->scenario, at_us, at, sizeof at);
    printf("%s.%06lld  %-10s  %s\n", at, (long long)(at_us % US_PER_S), who, what);
    replay->told++;
}

static void tell_probe(struct replay *replay, const struct world_trace *event)
{
    char what[160], id[49] = "";
    for (uint32_t i = 0; i < event->bytes.length && i < 24; i++)
        snprintf(id + 2 * i, 3, "%02x", event->bytes.data[i]);
    int length = snprintf(what, sizeof what, "%s", probe_names[event->probe]);
    if (event->number)
        length += snprintf(what + length, sizeof what - (size_t)length, " %u", event->number);
    if (event->reason)
        length += snprintf(what + length, sizeof what - (size_t)length, ", reason 0x%02x", event->reason);
    if (id[0])
        snprintf(what + length, sizeof what - (size_t)length, ", id %s", id);
    line(replay, event->at_us, "agent", what);
}

static void tell_bytes(struct replay *replay, const struct world_trace *event, bool shown)
{
    struct mq5_stream *stream = &replay->streams[event->kind];
    const uint8_t *data = event->bytes.data;
    size_t left = event->bytes.length;
    char what[400];
    struct mq5_packet packet;
    struct mq5_error error;
    enum mq5_status status = MQ5_MORE;
    while (left && (status = mq5_stream_next(stream, &data, &left, &packet, &error)) == MQ5_OK) {
        if (packet.type == MQ5_CONNECT)
            for (int i = 0; i < 4; i++)
                replay->streams[i].version = packet.connect.version;
        mq5_describe(stream->version, &packet, what, sizeof what);
        if (shown)
            line(replay, event->at_us, way_names[event->kind], what);
    }
    if (status != MQ5_OK && status != MQ5_MORE && shown)
        line(replay, event->at_us, way_names[event->kind], "bytes that are no packet");
    if (event->text && shown)
        line(replay, event->at_us, way_names[event->kind], event->text);
}

static void start_streams(struct replay *replay)
{
    for (int i = 0; i < 4; i++) {
        enum mq5_sender sender = i == TRACE_SENT || i == TRACE_ARRIVED ? MQ5_FROM_CLIENT : MQ5_FROM_SERVER;
        uint8_t version = replay->streams[i].version ? replay->streams[i].version : MQ5_V5;
        replay->streams[i] = (struct mq5_stream){
            .buffer = replay->buffers[i], .capacity = sizeof replay->buffers[i], .version = version, .sender = sender};
    }
}

static void on_trace(void *context, const struct world_trace *event)
{
    struct replay *replay = context;
    bool shown = event->at_us >= replay->from_us && event->at_us < replay->until_us;
    char what[160];
    switch (event->kind) {
    case TRACE_PROBE:
        if (shown)
            tell_probe(replay, event);
        break;
    case TRACE_LINK:
        start_streams(replay);
        snprintf(what, sizeof what, "link %s", event->text);
        if (shown)
            line(replay, event->at_us, "link", what);
        break;
    case TRACE_CAR:
        snprintf(what, sizeof what, "%s%s%.*s", event->text, event->bytes.length ? " " : "", (int)event->bytes.length,
                 event->bytes.length ? (const char *)event->bytes.data : "");
        if (shown)
            line(replay, event->at_us, "car", what);
        break;
    default: tell_bytes(replay, event, shown);
    }
}

/* ---- the command ---------------------------------------------------------------------------------------------------- */

static bool find_vehicle(struct replay *replay)
{
    char *end;
    uint32_t vehicle;
    unsigned long long value = strtoull(replay->vehicle_text, &end, 10);
    if (*replay->vehicle_text && !*end && value < replay->scenario->fleet) {
        replay->world.replay_vehicle = (int64_t)value;
        return true;
    }
    if (scenario_vehicle_find(replay->scenario, span_text(replay->vehicle_text), &vehicle)) {
        replay->world.replay_vehicle = vehicle;
        return true;
    }
    cli_complain("--vehicle takes a vehicle of the run, by number (0 to %u) or name, got '%s'",
                 replay->scenario->fleet - 1, replay->vehicle_text);
    return false;
}

/* Whether the partition came to what it came to in the run. */
static int compare(struct replay *replay)
{
    const struct world_result *result = &replay->result;
    uint32_t number = (uint32_t)replay->world.replay_vehicle % result->partition_count;
    bool alone = true;
    for (uint32_t i = 1; i < result->partition_count; i++)
        alone = alone && !result->partition_digests[i].low && !result->partition_digests[i].high;
    char now[33], sql[96];
    sim_digest_text(&result->partition_digests[alone ? 0 : number], now);
    snprintf(sql, sizeof sql, "SELECT digest FROM partition WHERE number = %u", number);
    char *then = text_of(replay, sql);
    bool same = then && strcmp(then, now) == 0;
    if (same)
        fprintf(stderr, "%llu lines; identical to the run: partition %u of %u came to digest %s again\n",
                (unsigned long long)replay->told, number, result->partition_count, now);
    else
        cli_complain("this is not what the vehicle lived in the run: partition %u came to digest %s, in the run to %s "
                     "(run by another version of convoy?)",
                     number, now, then ? then : "none");
    free(then);
    return same ? EXIT_HOLDS : EXIT_EXPECTATION_FAILED;
}

static int replay_run(struct replay *replay)
{
    char error[512];
    replay->world.group = sim_group_join(error, sizeof error);
    if (!replay->world.group || !world_begin_virtual(&replay->world, error, sizeof error)) {
        cli_complain("%s", error);
        return EXIT_ENVIRONMENT;
    }
    struct script *script = load(replay);
    if (!script)
        return EXIT_USAGE;
    replay->scenario = script_scenario(script);
    if (!find_vehicle(replay))
        return EXIT_USAGE;
    replay->world.trace = on_trace;
    replay->world.trace_context = replay;
    replay->world.stop = &stop_requested;
    const char *objection = world_objection(replay->scenario, &replay->world);
    if (objection) {
        cli_complain("%s", objection);
        return EXIT_USAGE;
    }
    start_streams(replay);
    world_run_virtual(script, &replay->world, &replay->result);
    fflush(stdout);
    if (replay->result.status == WORLD_INTERRUPTED)
        return EXIT_INTERRUPTED;
    if (replay->result.status != WORLD_COMPLETED) {
        cli_complain("%s", replay->result.error);
        return EXIT_ENVIRONMENT;
    }
    return compare(replay);
}

static bool time_option(const char *name, const char *text, int64_t *out_us)
{
    char *end;
    double hours = 0, minutes = 0, seconds = strtod(text, &end);
    if (end != text && *end == ':') {
        minutes = seconds;
        seconds = strtod(end + 1, &end);
    }
    if (end != text && *end == ':') {
        hours = minutes;
        minutes = seconds;
        seconds = strtod(end + 1, &end);
    }
    double total = hours * 3600 + minutes * 60 + seconds;
    if (end == text || *end || !(total >= 0) || total > 1e9) {
        cli_complain("--%s takes seconds or H:M:S since the scenario's start, got '%s'", name, text);
        return false;
    }
    *out_us = (int64_t)(total * 1e6);
    return true;
}

static int usage(FILE *out)
{
    fprintf(out,
            "usage: convoy replay RUN --vehicle ID [--from TIME] [--until TIME]\n\n"
            "  RUN            directory of a completed virtual run\n"
            "  --vehicle ID   number or name of the vehicle\n"
            "  --from, --until   what is shown: seconds or H:M:S since the scenario's start (all of it runs again)\n");
    return out == stdout ? EXIT_HOLDS : EXIT_USAGE;
}

int cmd_replay(int argc, char **argv)
{
    static const struct option long_options[] = {{"vehicle", required_argument, NULL, 'v'},
                                                 {"from", required_argument, NULL, 'f'},
                                                 {"until", required_argument, NULL, 'u'},
                                                 {"help", no_argument, NULL, 'h'},
                                                 {NULL, 0, NULL, 0}};
    struct replay *replay = calloc(1, sizeof *replay);
    if (!replay)
        return EXIT_ENVIRONMENT;
    replay->until_us = TIME_NEVER;
    opterr = 0;
    int option, code = EXIT_USAGE;
    bool good = true;
    while (good && (option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        switch (option) {
        case 'v': replay->vehicle_text = optarg; break;
        case 'f': good = time_option("from", optarg, &replay->from_us); break;
        case 'u': good = time_option("until", optarg, &replay->until_us); break;
        case 'h': free(replay); return usage(stdout);
        default: cli_complain("unknown option or missing value: '%s'", argv[optind - 1]); good = false;
        }
    }
    if (good && (optind + 1 != argc || !replay->vehicle_text)) {
        cli_complain("which vehicle of which run? convoy replay RUN --vehicle ID");
        good = false;
    }
    if (good) {
        signal(SIGINT, on_signal);
        signal(SIGTERM, on_signal);
        replay->directory = argv[optind];
        code = open_run(replay) ? replay_run(replay) : EXIT_USAGE;
        sqlite3_close(replay->database);
    }
    free(replay);
    return code;
}
