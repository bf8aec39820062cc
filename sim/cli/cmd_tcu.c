/* cmd_tcu.c: `convoy tcu`: runs the reference TCU and says what it does, a line an event. */
#include "commands.h"

#include "cloud/identity.h"
#include "vehicle/crypto.h"
#include "vehicle/tcu.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum {
    OPTION_BROKER = 1000,
    OPTION_CERTIFICATE_BROKER,
    OPTION_CA,
    OPTION_NAME,
    OPTION_ATTESTATION_CERTIFICATE,
    OPTION_ATTESTATION_KEY,
    OPTION_CLAIM_CERTIFICATE,
    OPTION_CLAIM_KEY,
    OPTION_TOKEN,
    OPTION_TOKEN_MODULE,
    OPTION_PIN_FILE,
    OPTION_COMMAND_KEY,
    OPTION_VEHICLE_KEY,
    OPTION_PROFILE,
    OPTION_DEVICE,
    OPTION_FACTORY,
    OPTION_STORE,
    OPTION_USER,
    OPTION_PASSWORD,
    OPTION_KEEP_ALIVE,
    OPTION_PERIOD,
    OPTION_DRIVING,
    OPTION_DURATION,
    OPTION_VERBOSE,
    OPTION_HELP,
};

static const struct option long_options[] = {
    {"broker", required_argument, NULL, OPTION_BROKER},
    {"certificate-broker", required_argument, NULL, OPTION_CERTIFICATE_BROKER},
    {"ca", required_argument, NULL, OPTION_CA},
    {"name", required_argument, NULL, OPTION_NAME},
    {"attestation-certificate", required_argument, NULL, OPTION_ATTESTATION_CERTIFICATE},
    {"attestation-key", required_argument, NULL, OPTION_ATTESTATION_KEY},
    {"claim-certificate", required_argument, NULL, OPTION_CLAIM_CERTIFICATE},
    {"claim-key", required_argument, NULL, OPTION_CLAIM_KEY},
    {"token", required_argument, NULL, OPTION_TOKEN},
    {"token-module", required_argument, NULL, OPTION_TOKEN_MODULE},
    {"pin-file", required_argument, NULL, OPTION_PIN_FILE},
    {"command-key", required_argument, NULL, OPTION_COMMAND_KEY},
    {"vehicle-key", required_argument, NULL, OPTION_VEHICLE_KEY},
    {"profile", required_argument, NULL, OPTION_PROFILE},
    {"device", required_argument, NULL, OPTION_DEVICE},
    {"factory", required_argument, NULL, OPTION_FACTORY},
    {"store", required_argument, NULL, OPTION_STORE},
    {"user", required_argument, NULL, OPTION_USER},
    {"password", required_argument, NULL, OPTION_PASSWORD},
    {"keep-alive", required_argument, NULL, OPTION_KEEP_ALIVE},
    {"period", required_argument, NULL, OPTION_PERIOD},
    {"driving", no_argument, NULL, OPTION_DRIVING},
    {"duration", required_argument, NULL, OPTION_DURATION},
    {"verbose", no_argument, NULL, OPTION_VERBOSE},
    {"help", no_argument, NULL, OPTION_HELP},
    {NULL, 0, NULL, 0},
};

static const char help[] =
    "usage: convoy tcu --broker URI [options]\n\n"
    "Runs one reference TCU: the agent of the fleet on Paho MQTT C, OpenSSL, libcurl and files.\n\n"
    "  --broker URI           mqtt://HOST:PORT or mqtts://HOST:PORT\n"
    "  --name NAME            thing name and client id, at most 40 bytes (default VIN1)\n"
    "  --store DIR            what outlives a power cut: identity and state (default tcu-NAME)\n"
    "  --ca FILE              trust this CA for broker and certificate broker (default: the system's)\n"
    "  --certificate-broker https://HOST:PORT   provision itself there when the store holds no identity\n"
    "  --attestation-certificate FILE --attestation-key FILE\n"
    "                         who the maker says it is (default: attestation.crt and .key in the store)\n"
    "  --claim-certificate FILE --claim-key FILE\n"
    "                         claim an identity with them when the store holds none, instead of a certificate broker\n"
    "  --token pkcs11:token=NAME --pin-file FILE\n"
    "                         make keys in that PKCS#11 token, which they never leave, instead of in the store; a\n"
    "                         certificate above without its --...-key has it there\n"
    "  --token-module FILE    the token's library (default: $PKCS11_MODULE_PATH, or all that p11-kit knows)\n"
    "  --command-key FILE --vehicle-key FILE\n"
    "                         the cloud's public key (PEM or DER) and the vehicle's own (32 bytes, or 64 hexadecimal "
    "digits):\n"
    "                         only sealed commands are taken\n"
    "  --profile aws-iot|plain   where jobs and provisioning are: $aws/ or convoy/NAME/ (default: no jobs; with a "
    "claim\n"
    "                         certificate aws-iot)\n"
    "  --device SERIAL        the serial number its maker gave it, at most 64 bytes (default: the name)\n"
    "  --factory PKI          be the maker first: make that identity with the attestation CA of convoy cloud's PKI;\n"
    "                         also the default of --ca\n"
    "  --user NAME --password TEXT   for brokers that ask\n"
    "  --keep-alive S         seconds, default 60\n"
    "  --period S             seconds between telemetry messages, default 10; 0: none\n"
    "  --driving              power up with the ignition on\n"
    "  --duration S           end after so many seconds (default: Ctrl-C ends it)\n"
    "  --verbose              also messages on their way\n\n"
    "Exit codes: 0 ended as told, 2 usage, 3 environment, 130 interrupted.\n";

#define ATTESTATION_S (INT64_C(15) * 365 * 86400)

struct tcu_command {
    struct tcu_run_options run;
    const char *factory;
    bool verbose;
    char store[512], attestation_certificate[544], attestation_key[544], ca[544];
    int64_t began_us;
};

/* ---- options ------------------------------------------------------------------------------------------------------------- */

static bool seconds(const char *name, const char *text, double low, double high, double *out)
{
    char *end;
    errno = 0;
    *out = strtod(text, &end);
    if (end != text && !*end && !errno && isfinite(*out) && *out >= low && *out <= high)
        return true;
    cli_complain("--%s takes seconds from %.12g to %.12g, got '%s'", name, low, high, text);
    return false;
}

static bool scheme(const char *name, const char *text, const char *first, const char *second, const char *form)
{
    size_t length = strncmp(text, first, strlen(first)) == 0     ? strlen(first)
                    : strncmp(text, second, strlen(second)) == 0 ? strlen(second)
                                                                 : 0;
    if (length && text[length])
        return true;
    cli_complain("--%s takes %s, got '%s'", name, form, text);
    return false;
}

static bool profile(const char *name, struct tcu_run_options *run)
{
    run->reserved = strcmp(name, "aws-iot") == 0 ? "$aws/" : strcmp(name, "plain") == 0 ? "convoy/%/" : NULL;
    if (!run->reserved)
        cli_complain("--profile takes aws-iot or plain, got '%s'", name);
    return run->reserved != NULL;
}

static bool take(int option, char *argument, struct tcu_command *command)
{
    struct tcu_run_options *run = &command->run;
    double value = 0;
    bool good = true;
    switch (option) {
    case OPTION_BROKER:
        run->broker = argument;
        return scheme("broker", argument, "mqtt://", "mqtts://", "mqtt://HOST:PORT or mqtts://HOST:PORT");
    case OPTION_CERTIFICATE_BROKER:
        run->certificate_broker = argument;
        return scheme("certificate-broker", argument, "https://", "https://", "https://HOST:PORT");
    case OPTION_CA: run->ca_file = argument; break;
    case OPTION_NAME: run->name = argument; break;
    case OPTION_ATTESTATION_CERTIFICATE: run->attestation_certificate = argument; break;
    case OPTION_ATTESTATION_KEY: run->attestation_key = argument; break;
    case OPTION_CLAIM_CERTIFICATE: run->claim_certificate = argument; break;
    case OPTION_CLAIM_KEY: run->claim_key = argument; break;
    case OPTION_TOKEN: run->token = argument; break;
    case OPTION_TOKEN_MODULE: run->token_module = argument; break;
    case OPTION_PIN_FILE: run->pin_file = argument; break;
    case OPTION_COMMAND_KEY: run->command_key = argument; break;
    case OPTION_VEHICLE_KEY: run->vehicle_key = argument; break;
    case OPTION_DEVICE: run->device = argument; break;
    case OPTION_PROFILE: return profile(argument, run);
    case OPTION_FACTORY: command->factory = argument; break;
    case OPTION_STORE: run->store_directory = argument; break;
    case OPTION_USER: run->user_name = argument; break;
    case OPTION_PASSWORD: run->password = argument; break;
    case OPTION_KEEP_ALIVE:
        good = seconds("keep-alive", argument, 0, 65535, &value);
        run->keep_alive_s = (uint16_t)value;
        break;
    case OPTION_PERIOD:
        good = seconds("period", argument, 0, 86400, &value);
        run->period_us = (int64_t)(value * 1e6);
        break;
    case OPTION_DURATION:
        good = seconds("duration", argument, 0.001, 366.0 * 86400, &value);
        run->duration_us = (int64_t)(value * 1e6);
        break;
    case OPTION_DRIVING: run->driving = true; break;
    case OPTION_VERBOSE: command->verbose = true; break;
    }
    return good;
}

static bool name_is_good(const char *name)
{
    size_t length = strlen(name);
    for (const char *at = name; *at; at++)
        if ((unsigned char)*at <= ' ' || strchr("/+#%\"\\", *at))
            length = 0;
    if (length > 0 && length <= TCU_NAME_MAX)
        return true;
    cli_complain("--name takes 1 to %d bytes without spaces and any of / + # %% \" \\, got '%s'", TCU_NAME_MAX, name);
    return false;
}

static bool fits_profile(const struct tcu_run_options *run)
{
    const struct tcu_profile *profile = NULL;
    if (run->password && !run->user_name)
        cli_complain("--password needs --user");
    else if (run->user_name && strlen(run->user_name) >= sizeof(profile->user_name))
        cli_complain("--user takes at most %zu bytes", sizeof(profile->user_name) - 1);
    else if (run->password && strlen(run->password) >= sizeof(profile->password))
        cli_complain("--password takes at most %zu bytes", sizeof(profile->password) - 1);
    else
        return true;
    return false;
}

static bool fits_claim(struct tcu_run_options *run)
{
    if (run->token ? run->claim_key && !run->claim_certificate : !run->claim_certificate != !run->claim_key)
        cli_complain("--claim-certificate and --claim-key belong together");
    else if (run->claim_certificate && run->certificate_broker)
        cli_complain("an identity comes from --certificate-broker or by --claim-certificate, not from both");
    else if (run->claim_certificate && strncmp(run->broker, "mqtts://", 8) != 0)
        cli_complain("a claim certificate is shown in a TLS handshake: --broker mqtts://HOST:PORT");
    else if (run->device && (!*run->device || strlen(run->device) > 64))
        cli_complain("--device takes 1 to 64 bytes");
    else
        return true;
    return false;
}

static bool fits_token(const struct tcu_run_options *run)
{
    if (!run->token && (run->token_module || run->pin_file))
        cli_complain("--%s belongs to --token", run->token_module ? "token-module" : "pin-file");
    else if (run->token && strncmp(run->broker, "mqtts://", 8) != 0)
        cli_complain("a key in a token is for TLS handshakes: --broker mqtts://HOST:PORT");
    else
        return true;
    return false;
}

static bool fits_commands(const struct tcu_run_options *run)
{
    if (!run->command_key == !run->vehicle_key)
        return true;
    cli_complain("--command-key and --vehicle-key belong together");
    return false;
}

static void complain_option(char **argv)
{
    if (optopt >= OPTION_BROKER)
        cli_complain("option '%s' needs a value", argv[optind - 1]);
    else
        cli_complain("unknown option '%s'; convoy tcu --help lists the options", argv[optind - 1]);
}

/* false: *code is the exit code. */
static bool parse(int argc, char **argv, struct tcu_command *command, int *code)
{
    int option;
    optind = 1;
    opterr = 0;
    *code = EXIT_USAGE;
    while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
        if (option == OPTION_HELP) {
            fputs(help, stdout);
            *code = EXIT_HOLDS;
            return false;
        }
        if (option == '?' || option == ':') {
            complain_option(argv);
            return false;
        }
        if (!take(option, optarg, command))
            return false;
    }
    if (optind < argc) {
        cli_complain("unexpected argument '%s'; convoy tcu --help lists the options", argv[optind]);
        return false;
    }
    if (!command->run.broker) {
        cli_complain("which broker? convoy tcu --broker mqtt://HOST:PORT");
        return false;
    }
    if (command->run.claim_certificate && !command->run.reserved)
        command->run.reserved = "$aws/";
    return name_is_good(command->run.name) && fits_profile(&command->run) && fits_claim(&command->run) &&
           fits_token(&command->run) && fits_commands(&command->run);
}

/* ---- files ------------------------------------------------------------------------------------------------------------------ */

static bool attestation_paths(struct tcu_command *command)
{
    struct tcu_run_options *run = &command->run;
    if (!run->store_directory) {
        snprintf(command->store, sizeof(command->store), "tcu-%s", run->name);
        run->store_directory = command->store;
    }
    if (run->token ? run->attestation_key && !run->attestation_certificate
                   : !run->attestation_certificate != !run->attestation_key) {
        cli_complain("--attestation-certificate and --attestation-key belong together");
        return false;
    }
    bool given = run->attestation_certificate != NULL;
    if (given && command->factory) {
        cli_complain("--factory makes the attestation identity; do not give one as well");
        return false;
    }
    snprintf(command->attestation_certificate, sizeof(command->attestation_certificate), "%.500s/attestation.crt",
             run->store_directory);
    snprintf(command->attestation_key, sizeof(command->attestation_key), "%.500s/attestation.key",
             run->store_directory);
    if (!given && (run->certificate_broker || command->factory)) {
        run->attestation_certificate = command->attestation_certificate;
        if (!run->token || access(command->attestation_key, F_OK) == 0)
            run->attestation_key = command->attestation_key;
    }
    if (command->factory && !run->ca_file) {
        snprintf(command->ca, sizeof(command->ca), "%.500s/ca.pem", command->factory);
        run->ca_file = command->ca;
    }
    return true;
}

static bool write_pem(const char *directory, const char *file, const char *label, const uint8_t *der, size_t length)
{
    char text[8192];
    size_t used = tcu_pem(label, span_of(der, length), text, sizeof(text));
    if (used && tcu_file_replace(directory, file, span_of(text, used)))
        return true;
    cli_complain("cannot write %s/%s: %s", directory, file, strerror(errno));
    return false;
}

/* The key is made in the token, and the CA sees a request only. */
static bool certify_token(const struct tcu_run_options *run, struct cloud_pki *pki, uint8_t *certificate,
                          size_t *length)
{
    uint8_t request[TCU_REQUEST_MAX];
    char error[400];
    size_t request_length = tcu_token_attestation(run, request, sizeof(request), error, sizeof(error));
    if (!request_length) {
        cli_complain("%s", error);
        return false;
    }
    *length = cloud_pki_issue(pki, CLOUD_CA_ATTESTATION, span_of(request, request_length), run->name,
                              (int64_t)time(NULL) - 60, ATTESTATION_S, certificate, *length);
    if (!*length)
        cli_complain("the attestation CA issues no certificate for the token's key");
    return *length > 0;
}

static bool certify_file(const struct tcu_run_options *run, struct cloud_pki *pki, uint8_t *certificate, size_t *length)
{
    uint8_t key[512];
    size_t key_length = sizeof(key);
    if (cloud_pki_make(pki, CLOUD_CA_ATTESTATION, run->name, (int64_t)time(NULL) - 60, ATTESTATION_S, certificate,
                       length, key, &key_length))
        return write_pem(run->store_directory, "attestation.key", "PRIVATE KEY", key, key_length);
    cli_complain("the attestation CA issues no certificate");
    return false;
}

/* What happens at the TCU's maker: the key and its certificate are put into the device before it is sold. */
static bool factory(const struct tcu_command *command)
{
    const struct tcu_run_options *run = &command->run;
    uint8_t certificate[2048];
    size_t certificate_length = sizeof(certificate);
    char error[300];
    if (access(run->attestation_certificate, R_OK) == 0 &&
        (!run->attestation_key || access(run->attestation_key, R_OK) == 0))
        return true; /* made already */
    if (mkdir(run->store_directory, 0700) < 0 && errno != EEXIST) {
        cli_complain("cannot make the store %s: %s", run->store_directory, strerror(errno));
        return false;
    }
    struct cloud_pki *pki = cloud_pki_open(command->factory, false, error, sizeof(error));
    if (!pki) {
        cli_complain("%s", error);
        return false;
    }
    bool made = run->attestation_key ? certify_file(run, pki, certificate, &certificate_length)
                                     : certify_token(run, pki, certificate, &certificate_length);
    cloud_pki_close(pki);
    return made && write_pem(run->store_directory, "attestation.crt", "CERTIFICATE", certificate, certificate_length);
}

/* ---- telling ------------------------------------------------------------------------------------------------------------------ */

static const char *why(const struct tcu_probe *probe, const char *detail)
{
    if (probe->reason)
        return mq5_reason_name(probe->reason);
    return detail[0] ? detail : "no reason given";
}

static void connection_line(const struct tcu_probe *probe, const char *detail)
{
    switch (probe->kind) {
    case TCU_PROBE_CONNECT_BEGIN: printf("connect: attempt %u", probe->number); break;
    case TCU_PROBE_ONLINE: printf("online%s", probe->number ? ", session resumed" : ""); break;
    case TCU_PROBE_REFUSED: printf("%s: %s", probe->reason ? "refused" : "no connection", why(probe, detail)); break;
    case TCU_PROBE_OFFLINE:
        printf("offline%s%s", probe->reason || detail[0] ? ": " : "",
               probe->reason || detail[0] ? why(probe, detail) : "");
        break;
    default: printf("power: %s", probe->number == TCU_DRIVING ? "driving" : "parked"); break;
    }
}

static void identity_line(const struct tcu_probe *probe, const char *detail)
{
    switch (probe->kind) {
    case TCU_PROBE_KEY_READY: printf("key pair and request made"); break;
    case TCU_PROBE_CERTIFICATE_STORED: printf("operational certificate stored"); break;
    case TCU_PROBE_PROVISIONED: printf("provisioned"); break;
    default:
        printf("not provisioned: ");
        if (probe->number)
            printf("HTTP status %u%s", probe->number, detail[0] ? ", " : "");
        printf("%s", detail[0] || probe->number ? detail : "no answer in time");
        break;
    }
}

static void telemetry_line(const struct tcu_probe *probe, int64_t now_us)
{
    switch (probe->kind) {
    case TCU_PROBE_TELEMETRY_INTENDED: printf("telemetry %u due", probe->number); break;
    case TCU_PROBE_TELEMETRY_SENT: printf("telemetry %u sent", probe->number); break;
    case TCU_PROBE_TELEMETRY_ACKED:
        printf("telemetry %u acknowledged after %.1f ms", probe->number, (double)(now_us - probe->at_us) / 1e3);
        if (probe->reason)
            printf(" (%s)", mq5_reason_name(probe->reason));
        break;
    default: printf("telemetry %u dropped", probe->number); break;
    }
}

static void command_line(const struct tcu_probe *probe, const char *detail)
{
    static const char *const done[] = {"received", "executed", "is a duplicate, not executed again", "answered"};
    printf("command ");
    if (probe->kind == TCU_PROBE_COMMAND_EXECUTED && detail[0])
        printf("'%s' ", detail);
    if (probe->id.length) {
        printf("[");
        for (uint32_t i = 0; i < probe->id.length; i++)
            printf(probe->id.data[i] > ' ' && probe->id.data[i] < 127 ? "%c" : "\\x%02x", probe->id.data[i]);
        printf("] ");
    }
    bool failed = probe->kind == TCU_PROBE_COMMAND_EXECUTED && probe->reason;
    printf("%s", failed                                       ? "failed"
                 : probe->kind == TCU_PROBE_COMMAND_RECEIVED  ? done[0]
                 : probe->kind == TCU_PROBE_COMMAND_EXECUTED  ? done[1]
                 : probe->kind == TCU_PROBE_COMMAND_DUPLICATE ? done[2]
                                                              : done[3]);
}

static void change_line(const struct tcu_probe *probe)
{
    int length = (int)probe->id.length;
    const char *id = length ? (const char *)probe->id.data : "";
    if (probe->kind == TCU_PROBE_CLAIM_ONLINE)
        printf("online with the claim certificate");
    else if (probe->kind == TCU_PROBE_STEP)
        printf("identity%s%.*s: %s", length ? ", job " : "", length, id, tcu_step_name((enum tcu_step)probe->number));
    else
        printf("identity, job %.*s: ended, on the %s certificate", length, id, probe->reason ? "old" : "new");
}

static void sleep_line(const struct tcu_probe *probe)
{
    static const char *const wakes[] = {"the ignition", "an SMS", "its own timer", "power"}; /* enum tcu_wake */
    if (probe->kind == TCU_PROBE_AWAKE)
        printf("power: awake, by %s", wakes[probe->reason & 3]);
    else
        printf("power: asleep");
}

static void shadow_line(const struct tcu_probe *probe)
{
    static const char *const words[] = {"differs from the car", "has what the car reports", "is of another version"};
    printf("shadow: version %u %s", probe->number, words[probe->kind - TCU_PROBE_SHADOW_DELTA]);
}

static void refusal_line(const struct tcu_probe *probe)
{
    static const char *const whys[] = {"",         "unreadable", "forged",
                                       "replayed", "late",       "not sealed"}; /* enum tcu_refusal */
    printf("command refused: %s", probe->reason < sizeof(whys) / sizeof(whys[0]) ? whys[probe->reason] : "");
}

static void notice_line(const struct tcu_probe *probe)
{
    printf("notice %.*s %u%s%s", (int)probe->id.length, (const char *)probe->id.data, probe->number,
           probe->reason & TCU_NOTICE_LATE ? ", its time is over" : "",
           probe->reason & TCU_NOTICE_KEPT ? ", kept" : "");
}

static void report(void *context, int64_t now_us, const struct tcu_probe *probe, const char *detail)
{
    struct tcu_command *command = context;
    if (!command->began_us)
        command->began_us = now_us;
    if (!command->verbose && (probe->kind == TCU_PROBE_TELEMETRY_INTENDED || probe->kind == TCU_PROBE_TELEMETRY_SENT))
        return;
    printf("%10.3f  ", (double)(now_us - command->began_us) / 1e6);
    switch (probe->kind) {
    case TCU_PROBE_CONNECT_BEGIN:
    case TCU_PROBE_ONLINE:
    case TCU_PROBE_REFUSED:
    case TCU_PROBE_OFFLINE:
    case TCU_PROBE_POWER: connection_line(probe, detail); break;
    case TCU_PROBE_KEY_READY:
    case TCU_PROBE_CERTIFICATE_STORED:
    case TCU_PROBE_PROVISIONING_FAILED:
    case TCU_PROBE_PROVISIONED: identity_line(probe, detail); break;
    case TCU_PROBE_TELEMETRY_INTENDED:
    case TCU_PROBE_TELEMETRY_SENT:
    case TCU_PROBE_TELEMETRY_ACKED:
    case TCU_PROBE_TELEMETRY_DROPPED: telemetry_line(probe, now_us); break;
    case TCU_PROBE_COMMAND_RECEIVED:
    case TCU_PROBE_COMMAND_EXECUTED:
    case TCU_PROBE_COMMAND_DUPLICATE:
    case TCU_PROBE_COMMAND_ANSWERED: command_line(probe, detail); break;
    case TCU_PROBE_STEP:
    case TCU_PROBE_ROTATION_ENDED:
    case TCU_PROBE_CLAIM_ONLINE: change_line(probe); break;
    case TCU_PROBE_ASLEEP:
    case TCU_PROBE_AWAKE: sleep_line(probe); break;
    case TCU_PROBE_COMMAND_REFUSED: refusal_line(probe); break;
    case TCU_PROBE_SHADOW_DELTA:
    case TCU_PROBE_SHADOW_REPORTED:
    case TCU_PROBE_SHADOW_CONFLICT: shadow_line(probe); break;
    case TCU_PROBE_NOTICE: notice_line(probe); break;
    case TCU_PROBE_ALIAS: printf("topic alias: %u bytes", probe->number); break;
    }
    printf("\n");
    fflush(stdout);
}

/* ---- running -------------------------------------------------------------------------------------------------------------------- */

static int stop_fd = -1;
static volatile sig_atomic_t interrupted;

static void on_signal(int number)
{
    uint64_t one = 1;
    if (interrupted) /* the second one does not wait */
        _exit(EXIT_INTERRUPTED);
    interrupted = number;
    if (write(stop_fd, &one, sizeof(one)) < 0)
        _exit(EXIT_INTERRUPTED);
}

static void catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
}

int cmd_tcu(int argc, char **argv)
{
    static struct tcu_command command;
    char error[400] = "";
    int code;
    command.run = (struct tcu_run_options){
        .name = "VIN1", .keep_alive_s = 60, .period_us = 10 * US_PER_S, .report = report, .context = &command};
    if (!parse(argc, argv, &command, &code))
        return code;
    if (!attestation_paths(&command))
        return EXIT_USAGE;
    if (command.factory && !factory(&command))
        return EXIT_ENVIRONMENT;
    stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (stop_fd < 0) {
        cli_complain("cannot begin: %s", strerror(errno));
        return EXIT_ENVIRONMENT;
    }
    command.run.stop_fd = stop_fd;
    catch_signals();
    bool good = tcu_run(&command.run, error, sizeof(error));
    if (!good)
        cli_complain("%s", error);
    close(stop_fd);
    return !good ? EXIT_ENVIRONMENT : interrupted == SIGINT ? EXIT_INTERRUPTED : EXIT_HOLDS;
}
