/* cmd_conform.c: convoy conform URI|embedded: a broker held against MQTT 5. */
#define _GNU_SOURCE /* nftw */
#include "commands.h"
#include "load.h"

#include "cloud/pki_store.h"
#include "cloud/serve.h"
#include "report/conform.h"

#include <errno.h>
#include <ftw.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define NAME          "conform" /* of the clients' certificate */
#define CERTIFICATE_S INT64_C(86400)
#define USER          "conform" /* who authenticates by a method */

struct conform_command {
    struct conform_options run;
    const char *out, *profile;
    struct conform_profile *known;
    uint32_t vehicles;       /* --under-load */
    const struct door *door; /* of the embedded broker */
    bool trace, packets, matrix, list, clean_up, strict;
};

/* Doors of the embedded broker. */
static const struct door {
    const char *name, *scheme;
    size_t asked, got; /* ports in struct cloud_serve_options and cloud_serve_doors */
    bool tls, certificate;
} doors[] = {
#define DOOR(name, scheme, port, tls, certificate)                                                                     \
    {                                                                                                                  \
        name, scheme, offsetof(struct cloud_serve_options, port), offsetof(struct cloud_serve_doors, port), tls,       \
            certificate                                                                                                \
    }
    DOOR("tcp", "mqtt", mqtt_port, false, false),  DOOR("tls", "mqtts", mqtts_password_port, true, false),
    DOOR("mtls", "mqtts", mqtts_port, true, true), DOOR("ws", "ws", ws_port, false, false),
    DOOR("wss", "wss", wss_port, true, false),
};

static volatile bool stop_requested;

static void on_signal(int number)
{
    if (stop_requested) /* the second one does not wait */
        _exit(EXIT_INTERRUPTED);
    stop_requested = true;
}

/* ---- options -------------------------------------------------------------------------------------------------------------- */

static int usage(FILE *out)
{
    fprintf(
        out,
        "usage: convoy conform URI|embedded [options]\n\n"
        "  URI                    mqtt://HOST:PORT, mqtts://, ws://HOST:PORT/PATH, wss:// (without a path: /mqtt);\n"
        "                         embedded: the rig's own broker, started for this run\n"
        "  --transport HOW        to the embedded one: tcp, tls, mtls (client certificate), ws, wss (tcp)\n"
        "  --protocol 3.1.1       the smaller catalogue of MQTT 3.1.1; 5.0 is the standard's and the default\n"
        "  --profile NAME|FILE    what is known of the broker: what it refuses, what is known to fail\n"
        "  --only IDS             ids of checks, rows or statements, with commas; * at an end: B-CONN*, MQTT-3.1.2-24\n"
        "  --trace                print the packets of every check\n"
        "  --packets              packets.jsonl, too: every packet as it was decoded, to be held against trace.pcapng\n"
        "  --matrix               print every statement: its checks and its verdict; without URI: no run\n"
        "  --list                 list the checks; no run\n"
        "  --lane heavy           large packets and much traffic, too\n"
        "  --own-broker           nobody else uses this broker: checks that may disturb others run, too\n"
        "  --under-load N         N vehicles of the live world work on the same broker meanwhile\n"
        "  --strict               warnings fail\n"
        "  --out DIR              result.json, junit.xml, report.html, trace.pcapng; default runs/conform-...\n"
        "  --clean-up DIR         remove from URI what a run that was killed left there; DIR is that run's directory\n"
        "  --ca FILE  --certificate FILE  --key FILE  --no-verify-name  --user NAME  --password WORD\n"
        "  --topic-prefix TEXT    all topics begin with it (mc5/)\n"
        "  --parallel N           checks at the same time (16)\n"
        "  --connect-rate X       connections a second (20; on loopback 500)\n"
        "  --time-scale X         patience with slow brokers (1)\n"
        "  --seed N               of the run's name\n\n"
        "exit codes: 0 every check holds, 1 one failed, 2 usage, 3 the broker cannot be used, 4 not conclusive, 130 "
        "interrupted\n");
    return out == stdout ? EXIT_HOLDS : EXIT_USAGE;
}

enum {
    OPTION_PROFILE = 256,
    OPTION_TRANSPORT,
    OPTION_PROTOCOL,
    OPTION_ONLY,
    OPTION_TRACE,
    OPTION_PACKETS,
    OPTION_MATRIX,
    OPTION_LIST,
    OPTION_LANE,
    OPTION_OWN,
    OPTION_STRICT,
    OPTION_UNDER_LOAD,
    OPTION_OUT,
    OPTION_CLEAN_UP,
    OPTION_CA,
    OPTION_CERTIFICATE,
    OPTION_KEY,
    OPTION_NO_VERIFY_NAME,
    OPTION_USER,
    OPTION_PASSWORD,
    OPTION_PREFIX,
    OPTION_PARALLEL,
    OPTION_RATE,
    OPTION_SCALE,
    OPTION_SEED,
    OPTION_HELP,
};

static const struct option long_options[] = {
    {"profile", required_argument, NULL, OPTION_PROFILE},
    {"transport", required_argument, NULL, OPTION_TRANSPORT},
    {"protocol", required_argument, NULL, OPTION_PROTOCOL},
    {"only", required_argument, NULL, OPTION_ONLY},
    {"trace", no_argument, NULL, OPTION_TRACE},
    {"packets", no_argument, NULL, OPTION_PACKETS},
    {"matrix", no_argument, NULL, OPTION_MATRIX},
    {"list", no_argument, NULL, OPTION_LIST},
    {"lane", required_argument, NULL, OPTION_LANE},
    {"own-broker", no_argument, NULL, OPTION_OWN},
    {"under-load", required_argument, NULL, OPTION_UNDER_LOAD},
    {"strict", no_argument, NULL, OPTION_STRICT},
    {"out", required_argument, NULL, OPTION_OUT},
    {"clean-up", required_argument, NULL, OPTION_CLEAN_UP},
    {"cleanup", required_argument, NULL, OPTION_CLEAN_UP},
    {"ca", required_argument, NULL, OPTION_CA},
    {"certificate", required_argument, NULL, OPTION_CERTIFICATE},
    {"key", required_argument, NULL, OPTION_KEY},
    {"no-verify-name", no_argument, NULL, OPTION_NO_VERIFY_NAME},
    {"user", required_argument, NULL, OPTION_USER},
    {"password", required_argument, NULL, OPTION_PASSWORD},
    {"topic-prefix", required_argument, NULL, OPTION_PREFIX},
    {"parallel", required_argument, NULL, OPTION_PARALLEL},
    {"connect-rate", required_argument, NULL, OPTION_RATE},
    {"time-scale", required_argument, NULL, OPTION_SCALE},
    {"seed", required_argument, NULL, OPTION_SEED},
    {"help", no_argument, NULL, OPTION_HELP},
    {NULL, 0, NULL, 0},
};

static bool number_option(const char *name, const char *text, double least, double most, double *out)
{
    char *end;
    errno = 0;
    *out = strtod(text, &end);
    if (end != text && !*end && !errno && *out >= least && *out <= most)
        return true;
    cli_complain("--%s takes a number from %g to %g, got '%s'", name, least, most, text);
    return false;
}

/* Under it everything is published: no wildcard, nothing that brokers keep for themselves. */
static bool prefix_option(const char *text)
{
    if (strlen(text) <= 200 && !strpbrk(text, "+#\n\r ") && text[0] != '$')
        return true;
    cli_complain("--topic-prefix takes a topic of at most 200 characters without + # $ and blanks, got '%.60s'", text);
    return false;
}

static bool transport_option(struct conform_command *command, const char *text)
{
    for (size_t i = 0; i < sizeof(doors) / sizeof(doors[0]); i++)
        if (strcmp(text, doors[i].name) == 0)
            command->door = &doors[i];
    if (!command->door)
        cli_complain("--transport takes tcp, tls, mtls, ws or wss, got '%s'", text);
    return command->door != NULL;
}

static bool take(int option, const char *text, struct conform_command *command)
{
    struct conform_options *run = &command->run;
    double number;
    switch (option) {
    case OPTION_PROFILE: command->profile = text; return true;
    case OPTION_TRANSPORT: return transport_option(command, text);
    case OPTION_PROTOCOL:
        run->protocol = strcmp(text, "3.1.1") == 0 ? MQ5_V311 : MQ5_V5;
        if (run->protocol == MQ5_V311 || strcmp(text, "5") == 0 || strcmp(text, "5.0") == 0)
            return true;
        cli_complain("--protocol takes 3.1.1 or 5.0, got '%s'", text);
        return false;
    case OPTION_ONLY: run->only = text; return true;
    case OPTION_TRACE: command->trace = run->keep_traces = true; return true;
    case OPTION_PACKETS: command->packets = true; return true;
    case OPTION_MATRIX: command->matrix = true; return true;
    case OPTION_LIST: command->list = true; return true;
    case OPTION_LANE:
        if (strcmp(text, "heavy") != 0) {
            cli_complain("--lane takes heavy, got '%s'", text);
            return false;
        }
        run->heavy = true;
        return true;
    case OPTION_OWN: run->own_broker = true; return true;
    case OPTION_UNDER_LOAD:
        if (!number_option("under-load", text, 1, 1000000, &number))
            return false;
        command->vehicles = (uint32_t)number;
        return true;
    case OPTION_STRICT: command->strict = true; return true;
    case OPTION_OUT: command->out = text; return true;
    case OPTION_CLEAN_UP:
        command->clean_up = true;
        command->out = text;
        return true;
    case OPTION_CA: run->ca = text; return true;
    case OPTION_CERTIFICATE: run->certificate = text; return true;
    case OPTION_KEY: run->key = text; return true;
    case OPTION_NO_VERIFY_NAME: run->no_verify_name = true; return true;
    case OPTION_USER: run->user = text; return true;
    case OPTION_PASSWORD: run->password = text; return true;
    case OPTION_PREFIX: run->topic_prefix = text; return prefix_option(text);
    case OPTION_PARALLEL:
        if (!number_option("parallel", text, 1, 64, &number))
            return false;
        run->parallel = (uint32_t)number;
        return true;
    case OPTION_RATE: return number_option("connect-rate", text, 0.1, 10000, &run->connects_per_s);
    case OPTION_SCALE: return number_option("time-scale", text, 0.1, 100, &run->time_scale);
    case OPTION_SEED:
        if (!number_option("seed", text, 1, 9e15, &number))
            return false;
        run->seed = (uint64_t)number;
        return true;
    default: return false;
    }
}

/* false: *code is the exit code. */
static bool parse(int argc, char **argv, struct conform_command *command, int *code)
{
    int option;
    *code = EXIT_USAGE;
    optind = 1;
    opterr = 0;
    while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        if (option == OPTION_HELP) {
            *code = usage(stdout);
            return false;
        }
        if (option == '?') {
            cli_complain("unknown option or missing value: '%s'; convoy conform --help lists the options",
                         argv[optind - 1]);
            return false;
        }
        if (!take(option, optarg, command))
            return false;
    }
    bool without = command->list || command->matrix;
    if (optind + 1 < argc || (optind == argc && !without)) {
        cli_complain(optind == argc ? "which broker? convoy conform URI, or convoy conform embedded"
                                    : "one broker at a time; convoy conform URI");
        return false;
    }
    command->run.uri = optind < argc ? argv[optind] : NULL;
    char error[400];
    bool embedded = command->run.uri && strcmp(command->run.uri, "embedded") == 0;
    if (command->door && !embedded) {
        cli_complain("--transport is for the embedded broker; another's is told by its URI: mqtts://, ws://, wss://");
        return false;
    }
    if (!command->run.uri || embedded || conform_uri_valid(command->run.uri, error, sizeof(error)))
        return true;
    cli_complain("%s", error);
    return false;
}

/* ---- our own broker ----------------------------------------------------------------------------------------------------- */

struct embedded {
    char directory[64], uri[80], ca[80], certificate[80], key[80], registry[80];
    char password[33]; /* of all clients of a run, where they need one */
    struct cloud_scram *scram;
    int pid, stop_fd;
};

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *where)
{
    return remove(path);
}

/* Nobody has to be registered first: the cloud finds the certificate in its registry. */
static bool register_certificate(struct embedded *embedded, struct cloud_pki *pki, struct span bytes, int64_t now_s)
{
    char error[200];
    struct cloud_certificate certificate;
    if (!cloud_certificate_read(bytes, &certificate))
        return false;
    memcpy(certificate.issuer_id, cloud_pki_ca(pki, CLOUD_CA_OPERATIONAL)->id, 32);
    snprintf(embedded->registry, sizeof(embedded->registry), "%s/registry.sqlite", embedded->directory);
    struct cloud_registry *registry = cloud_registry_open(embedded->registry, error, sizeof(error));
    bool good = registry && cloud_registry_put_thing(registry, NAME, now_s) &&
                cloud_registry_put_certificate(registry, &certificate, CLOUD_CERTIFICATE_ACTIVE, NAME, now_s) &&
                cloud_registry_flush(registry);
    cloud_registry_close(registry);
    return good;
}

/* All clients of a run share one certificate of the cloud's own CA. false: *error. */
static bool make_certificate(struct embedded *embedded, char *error, size_t capacity)
{
    uint8_t certificate[2048], key[512];
    size_t certificate_length = sizeof(certificate), key_length = sizeof(key);
    struct cloud_pki *pki = cloud_pki_open(embedded->directory, true, error, capacity);
    if (!pki)
        return false;
    snprintf(embedded->certificate, sizeof(embedded->certificate), "%s/conform.crt", embedded->directory);
    snprintf(embedded->key, sizeof(embedded->key), "%s/conform.key", embedded->directory);
    int64_t now_s = (int64_t)time(NULL);
    bool good = cloud_pki_make(pki, CLOUD_CA_OPERATIONAL, NAME, now_s - 60, CERTIFICATE_S, certificate,
                               &certificate_length, key, &key_length) &&
                cli_write_pem(embedded->key, "PRIVATE KEY", key, key_length) &&
                cli_write_pem(embedded->certificate, "CERTIFICATE", certificate, certificate_length) &&
                register_certificate(embedded, pki, span_of(certificate, certificate_length), now_s);
    if (!good)
        snprintf(error, capacity, "cannot make a certificate for the embedded cloud");
    cloud_pki_close(pki);
    return good;
}

/* What the run is to be told of the door: where, and whom to trust. */
static void use_door(struct embedded *embedded, const struct door *door, const struct cloud_serve_doors *served,
                     struct conform_options *run)
{
    const int *port = (const int *)(const void *)((const char *)served + door->got);
    snprintf(embedded->uri, sizeof(embedded->uri), "%s://%s:%d", door->scheme, served->address, *port);
    snprintf(embedded->ca, sizeof(embedded->ca), "%s/ca.pem", embedded->directory);
    run->uri = embedded->uri;
    run->own_broker = true;
    if (door->tls && !run->ca)
        run->ca = embedded->ca;
    if (door->certificate && !run->certificate) {
        run->certificate = embedded->certificate;
        run->key = embedded->key;
    }
}

static bool make_password(char out[33])
{
    uint64_t random[2];
    if (getrandom(random, sizeof(random), 0) != sizeof(random))
        return false;
    snprintf(out, 33, "%016" PRIx64 "%016" PRIx64, random[0], random[1]);
    return true;
}

/* What the cloud refuses: whoever has neither a certificate nor this password, topics of more levels than it takes. Who authenticates by SCRAM needs
 * none of it. The run is told. */
static bool tell_run(struct embedded *embedded, const struct door *door, struct cloud_options *cloud,
                     struct conform_options *run, struct conform_profile *known)
{
    char scram[33], refused[33], deep[2 * 300];
    for (size_t i = 0; i < sizeof(deep); i += 2)
        memcpy(deep + i, "a/", 2);
    deep[sizeof(deep) - 1] = 0;
    embedded->scram = cloud_scram_create();
    bool good = embedded->scram && make_password(scram) && make_password(refused) &&
                make_password(embedded->password) && !cloud_scram_add(embedded->scram, USER, scram) &&
                conform_profile_tell(known, "auth_method", CLOUD_SCRAM_METHOD) &&
                conform_profile_tell(known, "auth_user", USER) && conform_profile_tell(known, "auth_password", scram) &&
                conform_profile_tell(known, "refused_topic", deep) &&
                conform_profile_tell(known, "refused_filter", deep);
    if (!good || door->certificate)
        return good;
    if (!run->user) {
        run->user = USER;
        run->password = embedded->password;
    }
    cloud->user_name = run->user;
    cloud->password = run->password;
    return conform_profile_tell(known, "refused_user", "not-" USER) &&
           conform_profile_tell(known, "refused_password", refused);
}

/* A cloud of our own with everything on. false: *error. */
static bool start_embedded(struct embedded *embedded, const struct door *door, struct conform_options *run,
                           struct conform_profile *known, char *error, size_t capacity)
{
    struct cloud_serve_options options;
    struct cloud_serve_doors served;
    const char *temporary = getenv("TMPDIR");
    snprintf(embedded->directory, sizeof(embedded->directory), "%.40s/convoy-XXXXXX", temporary ? temporary : "/tmp");
    if (!mkdtemp(embedded->directory)) {
        snprintf(error, capacity, "cannot make a directory for the embedded cloud");
        embedded->directory[0] = 0;
        return false;
    }
    cloud_serve_defaults(&options);
    options.mqtt_port = options.mqtts_port = options.https_port = -1;
    *(int *)(void *)((char *)&options + door->asked) = 0;
    options.tls12 = true;
    options.cloud.registration.any_client_id = true;
    options.pki_directory = embedded->directory;
    options.quiet = true;
    options.cloud.broker.maximum_subscriptions_per_session = 10000;
    options.cloud.broker.maximum_queued_per_session = 100000;
    options.cloud.broker.topic_alias_maximum = 64;
    options.cloud.broker.outbound_topic_aliases = 64;
    options.cloud.broker.receive_maximum = 500;         /* so that there can be too much in flight */
    options.cloud.broker.maximum_packet_size = 1 << 20; /* so that a packet can be too large */
    options.cloud.broker.dollar_topics_reserved = false;
    if (door->certificate && !make_certificate(embedded, error, capacity))
        return false;
    if (!tell_run(embedded, door, &options.cloud, run, known)) {
        snprintf(error, capacity, "cannot make users of the embedded cloud");
        return false;
    }
    options.scram = embedded->scram;
    options.registry_path = embedded->registry[0] ? embedded->registry : NULL;
    embedded->pid = cloud_serve_start(&options, &served, &embedded->stop_fd, error, capacity);
    if (embedded->pid > 0)
        use_door(embedded, door, &served, run);
    return embedded->pid > 0;
}

static void stop_embedded(struct embedded *embedded)
{
    double cpu_s;
    if (embedded->pid > 0)
        cloud_serve_stop(embedded->pid, embedded->stop_fd, &cpu_s);
    cloud_scram_destroy(embedded->scram);
    if (embedded->directory[0])
        nftw(embedded->directory, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static bool open_profile(struct conform_command *command)
{
    char error[600];
    time_t now = time(NULL);
    struct tm utc;
    gmtime_r(&now, &utc);
    int64_t today = (utc.tm_year + 1900) * INT64_C(10000) + (utc.tm_mon + 1) * 100 + utc.tm_mday;
    command->known = conform_profile_open(command->profile ? command->profile : "mqtt5", today, error, sizeof(error));
    command->run.profile = command->known;
    if (!command->known)
        cli_complain("%s", error);
    return command->known != NULL;
}

/* ---- a run --------------------------------------------------------------------------------------------------------------- */

static void show_progress(void *context, uint32_t done, uint32_t total, const struct conform_result *last)
{
    fprintf(stderr, "\r\033[K %u of %u  %s", done, total, last->id);
    if (done == total)
        fprintf(stderr, "\r\033[K");
    fflush(stderr);
}

static int exit_code(const struct conform_command *command, const struct report_conform *report)
{
    const char *verdict = report_conform_verdict(report);
    const struct conform_outcome *outcome = report->outcome;
    if (strcmp(verdict, "interrupted") == 0)
        return EXIT_INTERRUPTED;
    if (strcmp(verdict, "fail") == 0)
        return EXIT_EXPECTATION_FAILED;
    for (uint32_t i = 0; command->strict && i < outcome->result_count; i++)
        if (outcome->results[i].finding_count || outcome->results[i].verdict == CONFORM_WARN)
            return EXIT_EXPECTATION_FAILED;
    return strcmp(verdict, "pass") == 0 ? EXIT_HOLDS : EXIT_INCONCLUSIVE;
}

/* "runs/conform-127.0.0.1-1883" */
static void run_name(const char *uri, char *out, size_t capacity)
{
    const char *host = strstr(uri, "://");
    snprintf(out, capacity, "conform-%.80s", host ? host + 3 : uri);
    for (char *c = out; *c; c++)
        if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-", *c))
            *c = '-';
}

static void tell_load(const struct load *load, struct report_conform *report)
{
    report->vehicles = load->vehicles;
    report->vehicles_connected = load->connected_at_least;
    report->vehicles_publishes = load->publishes;
    report->vehicles_publishes_per_s = load->publishes_per_s;
    report->vehicles_lost = load->lost;
    report->vehicles_shortcoming = load->shortcoming;
}

/* What a run that is there still knows to be at its broker is not written over. */
static bool has_journal(const char *directory)
{
    char path[700];
    snprintf(path, sizeof(path), "%s/journal", directory);
    return access(path, F_OK) == 0;
}

static int run_checks(struct conform_command *command, const char *named, const char *directory, int argc, char **argv)
{
    struct conform_outcome outcome;
    struct report_conform report = {.outcome = &outcome,
                                    .target = named,
                                    .profile = conform_profile_name(command->known),
                                    .version = convoy_version,
                                    .commit = convoy_commit,
                                    .started_epoch_s = time(NULL),
                                    .matrix = command->matrix,
                                    .trace = command->trace};
    char error[600], journal[700], capture[700], packets[700], line[2048];
    struct rusage usage_of;
    snprintf(journal, sizeof(journal), "%s/journal", directory);
    snprintf(capture, sizeof(capture), "%s/trace.pcapng", directory);
    command->run.journal = journal;
    command->run.capture = capture;
    snprintf(packets, sizeof(packets), "%s/packets.jsonl", directory);
    if (command->packets)
        command->run.packets = packets;
    cli_command_text(argc, argv, line, sizeof(line));
    report.command = line;
    if (isatty(STDERR_FILENO))
        command->run.progress = show_progress;
    struct load load = {.vehicles = 0};
    if (command->vehicles && !load_start(&load, command->vehicles, &command->run, directory, error, sizeof(error))) {
        cli_complain("%s", error);
        return EXIT_ENVIRONMENT;
    }
    bool usable = conform_run(&command->run, &outcome, error, sizeof(error));
    load_stop(&load);
    tell_load(&load, &report);
    if (!usable || outcome.result_count == 0) {
        if (usable)
            cli_complain("--only '%s' is no check, row or statement; convoy conform --list lists the checks",
                         command->run.only);
        else
            cli_complain("%s", error);
        conform_release(&outcome);
        unlink(capture);
        unlink(packets);
        rmdir(directory);
        return usable ? EXIT_USAGE : EXIT_ENVIRONMENT;
    }
    getrusage(RUSAGE_SELF, &usage_of);
    report.peak_rss_bytes = (uint64_t)usage_of.ru_maxrss * 1024;
    report.exit_code = exit_code(command, &report);
    bool written = report_conform_write(&report, directory, error, sizeof(error));
    if (!written && report.exit_code != EXIT_INTERRUPTED)
        report.exit_code = EXIT_ENVIRONMENT;
    report_conform_print(&report, directory, isatty(STDOUT_FILENO) && !getenv("NO_COLOR"), stdout);
    fflush(stdout);
    if (!written)
        cli_complain("%s", error);
    if (load.shortcoming[0] && report.exit_code == EXIT_INCONCLUSIVE)
        cli_complain("the load was not kept up: %s", load.shortcoming);
    if (has_journal(directory))
        cli_complain("not everything could be removed from the broker: convoy conform %s --clean-up %s", named,
                     directory);
    conform_release(&outcome);
    return report.exit_code;
}

static int clean_up(struct conform_command *command)
{
    char journal[700], error[400];
    uint32_t removed = 0;
    snprintf(journal, sizeof(journal), "%s/journal", command->out);
    command->run.journal = journal;
    if (!conform_clean_up(&command->run, &removed, error, sizeof(error))) {
        cli_complain("%s", error);
        return EXIT_ENVIRONMENT;
    }
    printf("%u retained messages and sessions removed\n", removed);
    return EXIT_HOLDS;
}

int cmd_conform(int argc, char **argv)
{
    struct conform_command command = {.run = {.stop = &stop_requested}};
    struct embedded embedded = {.pid = 0};
    char directory[600], name[128], error[400];
    int code;
    if (!parse(argc, argv, &command, &code))
        return code;
    if (!open_profile(&command))
        return EXIT_USAGE;
    if (!command.run.uri) {
        if (command.list)
            report_conform_list(stdout);
        if (command.matrix)
            report_conform_print_matrix(NULL, command.run.protocol, stdout);
        conform_profile_close(command.known);
        return EXIT_HOLDS;
    }
    const char *named = command.run.uri;
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
    if (command.clean_up)
        return clean_up(&command);
    run_name(named, name, sizeof(name));
    cli_choose_directory(name, command.out, directory, sizeof(directory));
    if (!cli_prepare_directory(directory))
        return EXIT_ENVIRONMENT;
    if (has_journal(directory)) {
        cli_complain("%s has the journal of a run that was killed: convoy conform URI --clean-up %s, or another --out",
                     directory, directory);
        return EXIT_USAGE;
    }
    if (strcmp(named, "embedded") == 0) {
        if (!start_embedded(&embedded, command.door ? command.door : doors, &command.run, command.known, error,
                            sizeof(error))) {
            cli_complain("%s", error);
            stop_embedded(&embedded);
            return EXIT_ENVIRONMENT;
        }
    }
    code = run_checks(&command, named, directory, argc, argv);
    stop_embedded(&embedded);
    conform_profile_close(command.known);
    return code;
}
