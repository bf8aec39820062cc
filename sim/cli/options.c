/* options.c: the command line of run and check. Every mistake is one line that names the option and what it takes. */
#include "commands.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static bool hushed;

void cli_hush(bool hush)
{
    hushed = hush;
}

void cli_complain(const char *format, ...)
{
    va_list arguments;
    if (hushed)
        return;
    va_start(arguments, format);
    fputs("convoy: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
}

#define FILE_TEXT_MAX (4u << 20) /* a scenario file; larger ones are not loaded either */

enum {
    OPTION_WORLD = 1000,
    OPTION_BROKER,
    OPTION_FLEET,
    OPTION_DURATION,
    OPTION_SPEEDUP,
    OPTION_SEED,
    OPTION_SET,
    OPTION_OUT,
    OPTION_PROGRESS,
    OPTION_JSON,
    OPTION_PKI,
    OPTION_CA,
    OPTION_CERTIFICATE,
    OPTION_KEY,
    OPTION_USER,
    OPTION_PASSWORD,
    OPTION_NO_VERIFY_NAME,
    OPTION_CONNECT_RATE,
    OPTION_PARTITIONS,
    OPTION_WINDOW,
    OPTION_LAG_BOUND,
    OPTION_LINK_MODEL,
    OPTION_SOURCES,
    OPTION_CHECKPOINT,
    OPTION_RESUME,
    OPTION_MEMORY,
    OPTION_HELP,
};

static const struct option long_options[] = {
    {"world", required_argument, NULL, OPTION_WORLD},
    {"broker", required_argument, NULL, OPTION_BROKER},
    {"fleet", required_argument, NULL, OPTION_FLEET},
    {"duration", required_argument, NULL, OPTION_DURATION},
    {"speedup", required_argument, NULL, OPTION_SPEEDUP},
    {"seed", required_argument, NULL, OPTION_SEED},
    {"set", required_argument, NULL, OPTION_SET},
    {"out", required_argument, NULL, OPTION_OUT},
    {"progress", required_argument, NULL, OPTION_PROGRESS},
    {"json", no_argument, NULL, OPTION_JSON},
    {"pki", required_argument, NULL, OPTION_PKI},
    {"ca", required_argument, NULL, OPTION_CA},
    {"certificate", required_argument, NULL, OPTION_CERTIFICATE},
    {"key", required_argument, NULL, OPTION_KEY},
    {"user", required_argument, NULL, OPTION_USER},
    {"password", required_argument, NULL, OPTION_PASSWORD},
    {"no-verify-name", no_argument, NULL, OPTION_NO_VERIFY_NAME},
    {"connect-rate", required_argument, NULL, OPTION_CONNECT_RATE},
    {"partitions", required_argument, NULL, OPTION_PARTITIONS},
    {"window", required_argument, NULL, OPTION_WINDOW},
    {"lag-bound", required_argument, NULL, OPTION_LAG_BOUND},
    {"link-model", required_argument, NULL, OPTION_LINK_MODEL},
    {"source-addresses", required_argument, NULL, OPTION_SOURCES},
    {"checkpoint", required_argument, NULL, OPTION_CHECKPOINT},
    {"resume", required_argument, NULL, OPTION_RESUME},
    {"memory", required_argument, NULL, OPTION_MEMORY},
    {"jobs", required_argument, NULL, 'j'},
    {"help", no_argument, NULL, OPTION_HELP},
    {NULL, 0, NULL, 0},
};

static void help(bool running)
{
    printf(
        "usage: convoy %s SCENARIO [options]\n\n"
        "  --set NAME=VALUE       a parameter of the scenario; a fault: --set fault.NAME=on (or a number); repeatable\n"
        "  --fleet N              vehicles in all, instead of the scenario's number\n"
        "  --duration D           90s, 15m, 24h, 7d, instead of the scenario's\n"
        "  --seed S               another seed\n"
        "  --world virtual|live   discrete-event simulation (default), or real connections to a broker\n"
        "  --broker URI           live: embedded (default), mqtt://HOST:PORT or mqtts://HOST:PORT; repeatable\n"
        "  --speedup X            live: how much faster the calendar passes (trips, apps, phases), default 1\n"
        "  --json                 check: machine-readable listing\n",
        running ? "run" : "check");
    if (running)
        printf(
            "  --out DIR              run directory (default runs/NAME-SEED)\n"
            "  --progress FILE        how many are connected and publish, a line of JSON a second\n"
            "  --pki DIR              live: CA hierarchy that issues the vehicles' certificates (convoy cloud --init "
            "makes one)\n"
            "  --ca FILE              live: trust this CA for the broker's certificate (default: the PKI's)\n"
            "  --certificate FILE --key FILE   live: the services' own client certificate\n"
            "  --user NAME --password TEXT     live: for brokers that ask\n"
            "  --no-verify-name       live: do not check the broker's name against its certificate\n"
            "  --connect-rate R       live: new connections a second (default 500, with TLS 150)\n"
            "  --source-addresses N   live: connect from 127.0.0.2 and up, N of them (default: as many as the ports "
            "ask for)\n"
            "  --link-model on|off    live: hold bytes for as long as the vehicles' radios would take (default: if the "
            "scenario asks for it)\n"
            "  --lag-bound MS         live: p99 of the rig's own lag above which the run is inconclusive (default 50)\n"
            "  --partitions N --window US      virtual: engine settings (partitions change the digest, the window does "
            "not)\n"
            "  --checkpoint D         virtual: save the run every D of scenario time (6h) in the run directory\n"
            "  --resume DIR           virtual: go on from the checkpoint of an earlier run of this program; no "
            "SCENARIO then\n"
            "  --memory SIZE          virtual: at most this much memory a process (900M, 20G; default: what is "
            "available);\n"
            "                         a run that outgrows it ends with a report\n"
            "  -j, --jobs N           processes (MPI ranks); more hosts: mpirun convoy run ..., see "
            "docs/clusters.md\n");
}

static bool number(const char *name, const char *text, double low, double high, double *out, int *code)
{
    char *end;
    errno = 0;
    double value = strtod(text, &end);
    if (end == text || *end || errno || !isfinite(value) || value < low || value > high) {
        cli_complain("--%s takes a number from %.12g to %.12g, got '%s'", name, low, high, text);
        *code = EXIT_USAGE;
        return false;
    }
    *out = value;
    return true;
}

static bool whole(const char *name, const char *text, double low, double high, uint32_t *out, int *code)
{
    double value;
    if (!number(name, text, low, high, &value, code))
        return false;
    *out = (uint32_t)value;
    if (value == floor(value))
        return true;
    cli_complain("--%s takes a whole number from %.12g to %.12g, got '%s'", name, low, high, text);
    *code = EXIT_USAGE;
    return false;
}

static bool duration(const char *name, const char *text, int64_t *out_us, int *code)
{
    char *end;
    double value = strtod(text, &end);
    double unit = *end == 0 || strcmp(end, "s") == 0 ? 1
                  : strcmp(end, "m") == 0            ? 60
                  : strcmp(end, "h") == 0            ? 3600
                  : strcmp(end, "d") == 0            ? 86400
                                                     : 0;
    if (end == text || unit == 0 || !(value * unit >= 1e-6) || value * unit > 366.0 * 86400) {
        cli_complain("--%s takes a time like 90s, 15m, 24h or 7d (at most 366d), got '%s'", name, text);
        *code = EXIT_USAGE;
        return false;
    }
    *out_us = (int64_t)(value * unit * 1e6);
    return true;
}

static bool memory_option(const char *text, struct cli_options *options, int *code)
{
    char *end;
    double value = strtod(text, &end);
    double unit = strcmp(end, "M") == 0 ? 0x1p20 : strcmp(end, "G") == 0 ? 0x1p30 : strcmp(end, "T") == 0 ? 0x1p40 : 0;
    if (end == text || unit == 0 || !(value * unit >= 0x1p24) || value * unit > 0x1p46) {
        cli_complain("--memory takes a size like 900M or 20G (at least 16M), got '%s'", text);
        *code = EXIT_USAGE;
        return false;
    }
    options->world.memory_limit = (uint64_t)(value * unit);
    return true;
}

static bool seed_option(const char *text, struct cli_options *options, int *code)
{
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 0);
    if (end == text || *end || errno || text[0] == '-') {
        cli_complain("--seed takes a whole number from 0 to 2^64-1, got '%s'", text);
        *code = EXIT_USAGE;
        return false;
    }
    options->script.has_seed = true;
    options->script.seed = value;
    return true;
}

static bool set_option(char *text, struct cli_options *options, int *code)
{
    char *equals = strchr(text, '=');
    if (!equals || equals == text || options->override_count >= 128) {
        cli_complain("--set takes NAME=VALUE, got '%s'", text);
        *code = EXIT_USAGE;
        return false;
    }
    *equals = 0;
    options->overrides[options->override_count++] = (struct script_override){text, equals + 1};
    return true;
}

static bool broker_option(const char *text, struct cli_options *options, int *code)
{
    bool known = strcmp(text, "embedded") == 0 || strncmp(text, "mqtt://", 7) == 0 || strncmp(text, "mqtts://", 8) == 0;
    if (!known || options->world.broker_count >= WORLD_BROKERS) {
        cli_complain("--broker takes embedded, mqtt://HOST:PORT or mqtts://HOST:PORT (at most %d), got '%s'",
                     WORLD_BROKERS, text);
        *code = EXIT_USAGE;
        return false;
    }
    options->world.brokers[options->world.broker_count++] = text;
    return true;
}

static bool world_option(const char *text, struct cli_options *options, int *code)
{
    if (strcmp(text, "virtual") == 0 || strcmp(text, "live") == 0) {
        options->world.kind = text[0] == 'v' ? WORLD_VIRTUAL : WORLD_LIVE;
        return true;
    }
    cli_complain("--world takes virtual or live, got '%s'", text);
    *code = EXIT_USAGE;
    return false;
}

static bool link_model_option(const char *text, struct cli_options *options, int *code)
{
    bool on = strcmp(text, "on") == 0;
    if (on || strcmp(text, "off") == 0) {
        options->world.link_model = on ? LINK_MODEL_ON : LINK_MODEL_OFF;
        return true;
    }
    cli_complain("--link-model takes on or off, got '%s'", text);
    *code = EXIT_USAGE;
    return false;
}

static bool progress_option(const char *path, int *code)
{
    if (cli_progress_to(path))
        return true;
    cli_complain("--progress: %s: %s", path, strerror(errno));
    *code = EXIT_ENVIRONMENT;
    return false;
}

static bool take(int option, char *argument, struct cli_options *options, int *code)
{
    uint32_t count = 0;
    bool ok = true;
    switch (option) {
    case OPTION_WORLD: return world_option(argument, options, code);
    case OPTION_BROKER: return broker_option(argument, options, code);
    case OPTION_FLEET: return whole("fleet", argument, 1, 100e6, &options->script.fleet, code);
    case OPTION_DURATION: return duration("duration", argument, &options->script.duration_us, code);
    case OPTION_SPEEDUP: return number("speedup", argument, 0.01, 100000, &options->world.speedup, code);
    case OPTION_SEED: return seed_option(argument, options, code);
    case OPTION_SET: return set_option(argument, options, code);
    case OPTION_OUT: options->out = argument; return true;
    case OPTION_PROGRESS: return progress_option(argument, code);
    case OPTION_JSON: options->json = true; return true;
    case OPTION_PKI: options->world.pki_directory = argument; return true;
    case OPTION_CA: options->world.ca_file = argument; return true;
    case OPTION_CERTIFICATE: options->world.certificate_file = argument; return true;
    case OPTION_KEY: options->world.key_file = argument; return true;
    case OPTION_USER: options->world.user_name = argument; return true;
    case OPTION_PASSWORD: options->world.password = argument; return true;
    case OPTION_NO_VERIFY_NAME: options->world.no_verify_name = true; return true;
    case OPTION_CONNECT_RATE: return number("connect-rate", argument, 1, 100000, &options->world.connect_rate, code);
    case OPTION_LAG_BOUND: return number("lag-bound", argument, 1, 60000, &options->world.lag_bound_ms, code);
    case OPTION_LINK_MODEL: return link_model_option(argument, options, code);
    case OPTION_SOURCES: return whole("source-addresses", argument, 1, 250, &options->world.source_addresses, code);
    case OPTION_PARTITIONS: /* one memory heap each, and one for the rest */
        return whole("partitions", argument, 1, 65535, &options->world.partitions, code);
    case OPTION_WINDOW:
        ok = whole("window", argument, 1024, 16384, &count, code);
        options->world.window_us = count;
        if (ok && (options->world.window_us & (options->world.window_us - 1))) {
            cli_complain("--window takes 1024, 2048, 4096, 8192 or 16384, got '%s'", argument);
            *code = EXIT_USAGE;
            return false;
        }
        return ok;
    case OPTION_CHECKPOINT: return duration("checkpoint", argument, &options->world.checkpoint_every_us, code);
    case OPTION_RESUME: options->world.resume_directory = argument; return true;
    case OPTION_MEMORY: return memory_option(argument, options, code);
    case 'j':
        ok = whole("jobs", argument, 1, 4096, &count, code);
        options->jobs = (int)count;
        return ok;
    default: *code = EXIT_USAGE; return false;
    }
}

/* getopt's own messages name the program, not us: print our own. */
static void complain_option(char **argv)
{
    if (optopt && optopt < 1000)
        cli_complain("unknown option or missing value: '%s'; convoy %s --help lists the options", argv[optind - 1],
                     argv[0]);
    else if (optopt)
        cli_complain("option '%s' needs a value", argv[optind - 1]);
    else
        cli_complain("unknown option '%s'; convoy %s --help lists the options", argv[optind - 1], argv[0]);
}

char *cli_file_text(const char *path)
{
    FILE *file = fopen(path, "r");
    char *text = file ? calloc(1, FILE_TEXT_MAX + 1) : NULL;
    size_t length = text ? fread(text, 1, FILE_TEXT_MAX + 1, file) : 0;
    if (file)
        fclose(file);
    if (length > FILE_TEXT_MAX || length == 0) {
        free(text);
        return NULL;
    }
    return text;
}

static bool one_scenario(int argc, char **argv, bool running, struct cli_options *options, int *code)
{
    bool resumes = options->world.resume_directory != NULL;
    const struct script_options *script = &options->script;
    *code = EXIT_USAGE;
    if (resumes && !running) {
        cli_complain("--resume belongs to convoy run");
        return false;
    }
    if (resumes && optind == argc && !options->override_count && !script->fleet && !script->duration_us &&
        !script->has_seed && !options->world.partitions)
        return true;
    if (resumes) {
        cli_complain(
            "--resume goes on with the scenario of the checkpoint as it was: no SCENARIO, --set, --fleet, --duration, "
            "--seed or --partitions");
        return false;
    }
    if (optind + 1 != argc) {
        cli_complain(optind >= argc ? "which scenario? convoy %s SCENARIO"
                                    : "one scenario at a time; convoy %s SCENARIO",
                     argv[0]);
        return false;
    }
    options->scenario = argv[optind];
    return true;
}

bool cli_parse(int argc, char **argv, bool running, struct cli_options *options, int *code)
{
    memset(options, 0, sizeof *options);
    options->jobs = 0;
    optind = 1;
    opterr = 0;
    int option;
    while ((option = getopt_long(argc, argv, "j:", long_options, NULL)) != -1) {
        if (option == OPTION_HELP) {
            if (!hushed)
                help(running);
            *code = EXIT_HOLDS;
            return false;
        }
        if (option == '?' || option == ':') {
            complain_option(argv);
            *code = EXIT_USAGE;
            return false;
        }
        if (!take(option, optarg, options, code))
            return false;
    }
    if (!one_scenario(argc, argv, running, options, code))
        return false;
    if (options->world.kind == WORLD_VIRTUAL && (options->world.broker_count || options->world.speedup > 0)) {
        cli_complain("--%s belongs to the live world; add --world live",
                     options->world.broker_count ? "broker" : "speedup");
        *code = EXIT_USAGE;
        return false;
    }
    if (options->world.kind == WORLD_LIVE && (options->world.resume_directory || options->world.checkpoint_every_us)) {
        cli_complain("--%s belongs to the virtual world", options->world.resume_directory ? "resume" : "checkpoint");
        *code = EXIT_USAGE;
        return false;
    }
    if (options->world.kind == WORLD_LIVE && options->world.broker_count == 0)
        options->world.brokers[options->world.broker_count++] = "embedded";
    options->script.overrides = options->overrides;
    options->script.override_count = options->override_count;
    return true;
}
