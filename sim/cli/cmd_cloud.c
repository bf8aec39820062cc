/* cmd_cloud.c: `convoy cloud`: serves the mock cloud and says what to connect to. */
#define _GNU_SOURCE /* explicit_bzero */
#include "cloud/lifecycle.h"
#include "cloud/pki_store.h"
#include "cloud/reserved.h"
#include "cloud/serve.h"
#include "commands.h"

#include <argp.h>
#include <cjson/cJSON.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum key {
    KEY_ADDRESS = 1000,
    KEY_MQTT,
    KEY_MQTTS,
    KEY_PASSWORD_PORT,
    KEY_WS,
    KEY_WSS,
    KEY_HTTPS,
    KEY_PKI,
    KEY_REGISTRY,
    KEY_INIT,
    KEY_USER,
    KEY_PASSWORD,
    KEY_SCRAM,
    KEY_TLS12,
    KEY_SNI,
    KEY_NO_BROKER,
    KEY_DELAY,
    KEY_LIFETIME,
    KEY_JSON,
    KEY_ISSUE,
    KEY_HTTP,
    KEY_PUBLIC_URL,
    KEY_CUT_DELAY,
    KEY_MAKE,
    KEY_REVOKE,
    KEY_REASON,
    KEY_PROFILE,
    KEY_LIFECYCLE,
    KEY_VEHICLE_POLICY,
    KEY_CLAIM_POLICY,
    KEY_REQUIRE_DEVICE,
    KEY_CLONES,
    KEY_CONVERSION
};

static const struct argp_option options[] = {
    {0, 0, 0, 0, "Doors (a PORT of 0 takes any free one, -1 does not offer it):", 1},
    {"address", KEY_ADDRESS, "IP", 0, "listen on this address (127.0.0.1)", 0},
    {"mqtt-port", KEY_MQTT, "PORT", 0, "MQTT in clear text (1883)", 0},
    {"mqtts-port", KEY_MQTTS, "PORT", 0, "MQTT over TLS, client certificate required (8883)", 0},
    {"password-port", KEY_PASSWORD_PORT, "PORT", 0, "MQTT over TLS, user and password (-1)", 0},
    {"ws-port", KEY_WS, "PORT", 0, "MQTT over WebSocket in clear text, path /mqtt (-1)", 0},
    {"wss-port", KEY_WSS, "PORT", 0, "MQTT over WebSocket and TLS, user and password (-1)", 0},
    {"https-port", KEY_HTTPS, "PORT", 0, "certificate broker, EST, CRL and OCSP (8443)", 0},
    {"http-port", KEY_HTTP, "PORT", 0, "CRL and OCSP in clear text (-1)", 0},
    {"public-url", KEY_PUBLIC_URL, "URL", 0, "of the http port; certificates state it for CRL and OCSP (none)", 0},
    {"no-broker", KEY_NO_BROKER, 0, 0, "serve the certificate broker only", 0},
    {"tls12", KEY_TLS12, 0, 0, "accept TLS 1.2 beside 1.3", 0},
    {"require-sni", KEY_SNI, 0, 0, "refuse TLS without a server name", 0},
    {0, 0, 0, 0, "Identity:", 2},
    {"pki", KEY_PKI, "DIR", 0, "certificates and keys, made when missing (convoy-pki)", 0},
    {"init", KEY_INIT, 0, 0, "make the certificates and exit", 0},
    {"issue", KEY_ISSUE, "NAME", 0, "make an attestation identity for a device (DIR/NAME.crt, DIR/NAME.key) and exit",
     0},
    {"make", KEY_MAKE, "PROFILE", 0,
     "make an identity for each NAME and exit; PROFILE is attestation (20 years), claim (5 years), operational, "
     "server or operator (1 year)",
     0},
    {"revoke", KEY_REVOKE, "NAME|SERIAL", 0, "revoke certificates, write the lists anew and exit", 0},
    {"reason", KEY_REASON, "REASON", 0, "why, as in RFC 5280: keyCompromise, superseded, ... (unspecified)", 0},
    {"profile", KEY_PROFILE, "PROFILE", 0, "whose NAME is revoked: operational, attestation or claim (operational)", 0},
    {"cut-delay", KEY_CUT_DELAY, "MS", 0, "from a revocation until live connections are cut (0)", 0},
    {"registry", KEY_REGISTRY, "FILE", 0, "keep vehicles and certificates in this SQLite file (in memory only)", 0},
    {"activation-delay", KEY_DELAY, "MS", 0, "from a new certificate's first connect until it is active (2000)", 0},
    {"certificate-days", KEY_LIFETIME, "DAYS", 0, "lifetime of operational certificates (365)", 0},
    {"user", KEY_USER, "NAME", 0, "without a certificate, demand this user; % means: the client id", 0},
    {"password", KEY_PASSWORD, "TEXT", 0, "and this password", 0},
    {"scram-users", KEY_SCRAM, "FILE", 0,
     "lines user:password; who names the method SCRAM-SHA-256 (MQTT 5 enhanced authentication) is let in as one of "
     "them",
     0},
    {0, 0, 0, 0, "The life of identities (docs/identity.md):", 3},
    {"lifecycle", KEY_LIFECYCLE, 0, 0,
     "provisioning by claim, rotation by job, policies, vehicles; operators work on them at https://HOST:PORT/v1/", 0},
    {"vehicle-policy", KEY_VEHICLE_POLICY, "NAME|FILE", 0,
     "what vehicles may say and hear: a policy document, or one of those shipped: vehicle, wide (vehicle)", 0},
    {"claim-policy", KEY_CLAIM_POLICY, "NAME|FILE", 0, "the same for claim certificates (claim)", 0},
    {"require-device", KEY_REQUIRE_DEVICE, 0, 0,
     "an identity only for registered vehicles, and only for the device that is registered as theirs", 0},
    {"clones", KEY_CLONES, "DECISION[:N[:S]]", 0,
     "two that take over from each other N times within S seconds are clones: revoke, quarantine or report (off; "
     "3:60)",
     0},
    {"conversion-client", KEY_CONVERSION, "NAME:TENANT:PER_MINUTE:DIRECTION", 0,
     "an application that may ask for Reference IDs (to-reference), VINs (to-vin) or both; its secret is in "
     "CONVOY_CONVERSION_SECRET_NAME or DIR/conversion-NAME.secret; TENANT * is all; needs --registry",
     0},
    {0, 0, 0, 0, "Output:", 4},
    {"json", KEY_JSON, 0, 0, "print the doors as one line of JSON", 0},
    {0},
};

#define NAMES_MAX 64

struct profile {
    const char *name;
    enum cloud_ca ca;
    int64_t lifetime_s; /* 0: --certificate-days */
};
static const struct profile profiles[] = {
    {"operational", CLOUD_CA_OPERATIONAL, 0},
    {"attestation", CLOUD_CA_ATTESTATION, INT64_C(20) * 365 * 86400},
    {"claim", CLOUD_CA_CLAIM, INT64_C(5) * 365 * 86400},
    {"server", CLOUD_CA_SERVER, INT64_C(398) * 86400}, /* what other people's clients accept at most */
};

/* Not of the PKI's own CAs. */
static const struct profile operators = {"operator", CLOUD_CA_COUNT, 0};

#define CLIENTS_MAX 16

struct client {
    char name[32], tenant[CLOUD_TENANT_MAX + 1], secret[257];
};

struct arguments {
    struct cloud_serve_options serve;
    struct cloud_lifecycle_options lifecycle;
    struct cloud_conversion_client allowed[CLIENTS_MAX];
    struct client clients[CLIENTS_MAX];
    char policies[2][CLOUD_POLICY_DOCUMENT_MAX + 1];
    const char *needs_lifecycle; /* an option that was given */
    const struct profile *make, *whose;
    const char *names[NAMES_MAX]; /* of --make and --issue */
    const char *revoke;
    int name_count, reason;
    bool init, json;
};

static const struct profile *profile_of(struct argp_state *state, const char *option, const char *name)
{
    for (size_t i = 0; i < sizeof(profiles) / sizeof(profiles[0]); i++)
        if (strcmp(profiles[i].name, name) == 0)
            return &profiles[i];
    if (strcmp(name, operators.name) == 0 && strcmp(option, "--make") == 0)
        return &operators;
    argp_error(state, "%s: '%s' is no profile; take attestation, claim, operational%s", option, name,
               strcmp(option, "--make") == 0 ? ", server or operator" : " or server");
    return NULL;
}

/* ---- the life of identities ------------------------------------------------------------------------------------------- */

/* A name of those shipped, or what is in a file. */
static const char *policy(struct argp_state *state, const char *option, const char *value, char *room)
{
    if (cloud_policy_shipped(value))
        return value;
    FILE *file = fopen(value, "re");
    size_t length = file ? fread(room, 1, CLOUD_POLICY_DOCUMENT_MAX, file) : 0;
    if (!file)
        argp_error(state, "%s: '%s' is neither a policy shipped (vehicle, claim, wide) nor a file: %s", option, value,
                   strerror(errno));
    else if (fgetc(file) != EOF)
        argp_error(state, "%s: '%s' is longer than %d bytes", option, value, CLOUD_POLICY_DOCUMENT_MAX);
    if (file)
        fclose(file);
    room[length] = 0;
    char *document = room + strspn(room, " \t\r\n");
    if (*document != '{')
        argp_error(state, "%s: '%s' is not a policy document: it begins with {", option, value);
    return document;
}

static void clones(struct argp_state *state, const char *value, struct cloud_lifecycle_options *lifecycle)
{
    static const char *const decisions[] = {"revoke", "quarantine", "report"};
    char decision[16] = "", end;
    unsigned count = 3, seconds = 60;
    int got = sscanf(value, "%15[a-z]:%5u:%6u%c", decision, &count, &seconds, &end), found = -1;
    for (int i = 0; i < 3; i++)
        if (strcmp(decision, decisions[i]) == 0)
            found = i;
    size_t colons = 0;
    for (const char *at = value; *at; at++)
        colons += *at == ':';
    if (found < 0 || (size_t)got != colons + 1 || count < 1 || seconds < 1)
        argp_error(state, "--clones takes revoke, quarantine or report, and perhaps :TAKEOVERS:SECONDS, not '%s'",
                   value);
    lifecycle->clone_takeovers = count;
    lifecycle->clone_window_us = seconds * US_PER_S;
    lifecycle->clone_decision = found == 0   ? CLOUD_CLONE_REVOKE
                                : found == 1 ? CLOUD_CLONE_QUARANTINE
                                             : CLOUD_CLONE_REPORT;
}

static void conversion_client(struct argp_state *state, const char *value, struct arguments *a)
{
    char direction[16] = "", end;
    double per_minute = 0;
    if (a->serve.conversion_client_count == CLIENTS_MAX)
        argp_error(state, "at most %d conversion clients", CLIENTS_MAX);
    struct client *client = &a->clients[a->serve.conversion_client_count];
    bool read = sscanf(value, "%31[a-zA-Z0-9_-]:%31[^:]:%lf:%15[a-z-]%c", client->name, client->tenant, &per_minute,
                       direction, &end) == 4;
    bool both = strcmp(direction, "both") == 0, reference = strcmp(direction, "to-reference") == 0,
         vin = strcmp(direction, "to-vin") == 0;
    if (!read || !(both || reference || vin) || !(per_minute > 0 && per_minute <= 1e9))
        argp_error(state,
                   "--conversion-client takes NAME:TENANT:PER_MINUTE:DIRECTION (to-reference, to-vin or both), not "
                   "'%s'",
                   value);
    a->allowed[a->serve.conversion_client_count++] = (struct cloud_conversion_client){.name = client->name,
                                                                                      .secret = client->secret,
                                                                                      .tenant = client->tenant,
                                                                                      .per_minute = per_minute,
                                                                                      .to_reference = both || reference,
                                                                                      .to_vin = both || vin};
}

/* The first line of a file that nobody else may read. Why not, NULL: read. */
static const char *secret_in(const char *path, char *secret, int capacity)
{
    struct stat status;
    FILE *file = fopen(path, "re");
    if (!file)
        return "cannot be read";
    bool open_to_others = fstat(fileno(file), &status) != 0 || status.st_mode & 077;
    bool read = !open_to_others && fgets(secret, capacity, file);
    fclose(file);
    if (open_to_others)
        return "may be read by others: chmod 600";
    secret[read ? strcspn(secret, "\r\n") : 0] = 0;
    return secret[0] ? NULL : "is empty";
}

/* From the environment, or from a file. */
static bool read_secret(const char *directory, struct client *client)
{
    char variable[80] = "CONVOY_CONVERSION_SECRET_", path[700];
    size_t prefix = strlen(variable);
    for (size_t i = 0; i <= strlen(client->name); i++)
        variable[prefix + i] = client->name[i] == '-' ? '_' : (char)toupper((unsigned char)client->name[i]);
    const char *given = getenv(variable);
    if (given && given[0] && strlen(given) < sizeof(client->secret)) {
        strcpy(client->secret, given);
        return true;
    }
    snprintf(path, sizeof(path), "%s/conversion-%s.secret", directory, client->name);
    const char *why = secret_in(path, client->secret, sizeof(client->secret));
    if (why)
        fprintf(stderr, "convoy: cloud: conversion client '%s': set %s, or write its secret to %s, which %s\n",
                client->name, variable, path, why);
    return !why;
}

static int64_t draw_cut(void *context)
{
    return ((const struct arguments *)context)->serve.cut_delay_us;
}

/* What happens to identities, for whoever watches the terminal. */
static void tell(void *context, int64_t now_us, const struct cloud_life_event *event)
{
    static const char *const texts[] = {
        [CLOUD_LIFE_PROVISIONED] = "has a certificate",
        [CLOUD_LIFE_ACTIVE] = "says that it is active",
        [CLOUD_LIFE_ROTATION_QUEUED] = "has a job to rotate its certificate",
        [CLOUD_LIFE_ROTATION_STARTED] = "has begun to rotate",
        [CLOUD_LIFE_ROTATION_ISSUED] = "has a new certificate beside the old one",
        [CLOUD_LIFE_OLD_DEACTIVATED] = "is on the new certificate, the old one is INACTIVE",
        [CLOUD_LIFE_ROTATION_ENDED] = "rotation ended",
        [CLOUD_LIFE_REVOKED] = "is revoked",
        [CLOUD_LIFE_CUT] = "was connected and is cut",
        [CLOUD_LIFE_REFUSED] = "was refused",
        [CLOUD_LIFE_CLONE_DETECTED] = "is two: a clone",
        [CLOUD_LIFE_QUARANTINED] = "is in quarantine",
        [CLOUD_LIFE_OWNER_CHANGED] = "has another owner",
        [CLOUD_LIFE_SWAPPED] = "has another device",
        [CLOUD_LIFE_DECOMMISSIONED] = "is decommissioned",
        [CLOUD_LIFE_FORBIDDEN] = "may not",
        [CLOUD_LIFE_VIN_SEEN] = "says a VIN in clear",
    };
    const struct arguments *a = context;
    struct timespec wall;
    struct tm local;
    if (a->json)
        return;
    clock_gettime(CLOCK_REALTIME, &wall);
    localtime_r(&wall.tv_sec, &local);
    printf("%02d:%02d:%02d  %.*s  %s", local.tm_hour, local.tm_min, local.tm_sec, (int)event->thing.length,
           (const char *)event->thing.data, texts[event->kind]);
    if (event->kind == CLOUD_LIFE_ROTATION_ENDED)
        printf(": %s", cloud_execution_state_name(event->state));
    if (event->detail.length)
        printf(": ");
    for (uint32_t i = 0; i < event->detail.length; i++) /* a topic of somebody's making */
        putchar(event->detail.data[i] >= ' ' && event->detail.data[i] < 127 ? event->detail.data[i] : '?');
    printf("\n");
    fflush(stdout);
}

/* false: said why. */
static bool set_up_lifecycle(struct arguments *a)
{
    if (!a->serve.operators)
        return true;
    a->lifecycle.draw_cut = draw_cut;
    a->lifecycle.event = tell;
    a->lifecycle.context = a;
    a->serve.cloud.lifecycle = &a->lifecycle;
    a->serve.conversion_clients = a->allowed;
    for (uint32_t i = 0; i < a->serve.conversion_client_count; i++)
        if (!read_secret(a->serve.pki_directory, &a->clients[i]))
            return false;
    return true;
}

static void scram_users(struct argp_state *state, const char *path, struct cloud_serve_options *serve)
{
    char error[400] = "no memory";
    if (serve->scram)
        argp_error(state, "--scram-users stands there twice");
    serve->scram = cloud_scram_create();
    if (!serve->scram || !cloud_scram_read(serve->scram, path, error, sizeof(error)))
        argp_failure(state, EXIT_USAGE, 0, "--scram-users: %s", error);
}

static void add_name(struct argp_state *state, struct arguments *a, const char *name)
{
    if (a->name_count == NAMES_MAX)
        argp_error(state, "at most %d names at once", NAMES_MAX);
    else
        a->names[a->name_count++] = name;
}

static long number(struct argp_state *state, const char *text, long low, long high, const char *what)
{
    char *end;
    errno = 0;
    long value = strtol(text, &end, 10);
    if (errno || end == text || *end || value < low || value > high)
        argp_error(state, "%s must be a whole number from %ld to %ld, not '%s'", what, low, high, text);
    return value;
}

static error_t parse(int key, char *value, struct argp_state *state)
{
    struct arguments *a = state->input;
    switch (key) {
    case KEY_ADDRESS: a->serve.address = value; break;
    case KEY_MQTT: a->serve.mqtt_port = (int)number(state, value, -1, 65535, "--mqtt-port"); break;
    case KEY_MQTTS: a->serve.mqtts_port = (int)number(state, value, -1, 65535, "--mqtts-port"); break;
    case KEY_PASSWORD_PORT:
        a->serve.mqtts_password_port = (int)number(state, value, -1, 65535, "--password-port");
        break;
    case KEY_WS: a->serve.ws_port = (int)number(state, value, -1, 65535, "--ws-port"); break;
    case KEY_WSS: a->serve.wss_port = (int)number(state, value, -1, 65535, "--wss-port"); break;
    case KEY_HTTPS: a->serve.https_port = (int)number(state, value, -1, 65535, "--https-port"); break;
    case KEY_NO_BROKER: a->serve.without_broker = true; break;
    case KEY_TLS12: a->serve.tls12 = true; break;
    case KEY_SNI: a->serve.require_server_name = true; break;
    case KEY_PKI: a->serve.pki_directory = value; break;
    case KEY_INIT: a->init = true; break;
    case KEY_ISSUE:
        a->make = profile_of(state, "--issue", "attestation");
        add_name(state, a, value);
        break;
    case KEY_MAKE: a->make = profile_of(state, "--make", value); break;
    case KEY_REVOKE: a->revoke = value; break;
    case KEY_REASON:
        a->reason = cloud_revocation_reason(value);
        if (a->reason < 0)
            argp_error(state,
                       "--reason: '%s' is none; take unspecified, keyCompromise, CACompromise, affiliationChanged, "
                       "superseded, cessationOfOperation, privilegeWithdrawn or AACompromise",
                       value);
        break;
    case KEY_PROFILE: a->whose = profile_of(state, "--profile", value); break;
    case KEY_HTTP: a->serve.http_port = (int)number(state, value, -1, 65535, "--http-port"); break;
    case KEY_PUBLIC_URL: a->serve.public_url = value; break;
    case KEY_CUT_DELAY: a->serve.cut_delay_us = number(state, value, 0, 86400000, "--cut-delay") * US_PER_MS; break;
    case KEY_REGISTRY: a->serve.registry_path = value; break;
    case KEY_DELAY:
        a->serve.cloud.registration.activation_delay_us =
            number(state, value, 0, 86400000, "--activation-delay") * US_PER_MS;
        break;
    case KEY_LIFETIME:
        a->serve.cloud.certificate_lifetime_s = number(state, value, 1, 36500, "--certificate-days") * INT64_C(86400);
        break;
    case KEY_USER: a->serve.cloud.user_name = value; break;
    case KEY_PASSWORD: a->serve.cloud.password = value; break;
    case KEY_SCRAM: scram_users(state, value, &a->serve); break;
    case KEY_LIFECYCLE: a->serve.operators = true; break;
    case KEY_VEHICLE_POLICY:
        a->lifecycle.vehicle_policy = policy(state, "--vehicle-policy", value, a->policies[0]);
        a->needs_lifecycle = "--vehicle-policy";
        break;
    case KEY_CLAIM_POLICY:
        a->lifecycle.claim_policy = policy(state, "--claim-policy", value, a->policies[1]);
        a->needs_lifecycle = "--claim-policy";
        break;
    case KEY_REQUIRE_DEVICE:
        a->lifecycle.require_device = true;
        a->needs_lifecycle = "--require-device";
        break;
    case KEY_CLONES:
        clones(state, value, &a->lifecycle);
        a->needs_lifecycle = "--clones";
        break;
    case KEY_CONVERSION:
        conversion_client(state, value, a);
        a->needs_lifecycle = "--conversion-client";
        break;
    case KEY_JSON: a->json = true; break;
    case ARGP_KEY_ARG: add_name(state, a, value); break;
    case ARGP_KEY_END:
        if (a->name_count && !a->make)
            argp_error(state, "unexpected argument '%s'", a->names[0]);
        if (a->make && !a->name_count)
            argp_error(state, "--make needs a NAME");
        if (a->make && a->revoke)
            argp_error(state, "--make and --revoke exclude each other");
        if (!a->revoke && (a->reason || a->whose))
            argp_error(state, "--reason and --profile belong to --revoke");
        if (a->needs_lifecycle && !a->serve.operators)
            argp_error(state, "%s needs --lifecycle", a->needs_lifecycle);
        if (a->serve.operators && a->serve.without_broker)
            argp_error(state, "--lifecycle and --no-broker exclude each other");
        if (a->serve.conversion_client_count && !a->serve.registry_path)
            argp_error(state, "--conversion-client needs --registry: every request is noted there");
        if (a->serve.cloud.password && !a->serve.cloud.user_name)
            argp_error(state, "--password needs --user");
        if (a->serve.cloud.user_name && !a->serve.cloud.password)
            argp_error(state, "--user needs --password");
        break;
    default: return ARGP_ERR_UNKNOWN;
    }
    return 0;
}

/* ---- what to connect to ---------------------------------------------------------------------------------------------- */

static const char *host_of(const struct cloud_serve_doors *doors)
{
    static char bracketed[64];
    if (!strchr(doors->address, ':'))
        return doors->address;
    snprintf(bracketed, sizeof(bracketed), "[%s]", doors->address);
    return bracketed;
}

static void add_uri(cJSON *object, const char *name, const char *scheme, const struct cloud_serve_doors *doors,
                    int port)
{
    char uri[128];
    if (port < 0)
        return;
    snprintf(uri, sizeof(uri), "%s://%s:%d%s", scheme, host_of(doors), port, scheme[0] == 'w' ? "/mqtt" : "");
    cJSON_AddStringToObject(object, name, uri);
}

static void add_file(cJSON *object, const char *name, const struct cloud_serve_doors *doors, const char *file)
{
    char path[600];
    snprintf(path, sizeof(path), "%s/%s", doors->pki_directory, file);
    cJSON_AddStringToObject(object, name, path);
}

static void print_json(const struct cloud_serve_doors *doors, bool operating)
{
    cJSON *object = cJSON_CreateObject();
    cJSON_AddNumberToObject(object, "pid", getpid());
    add_uri(object, "mqtt", "mqtt", doors, doors->mqtt_port);
    add_uri(object, "mqtts", "mqtts", doors, doors->mqtts_port);
    add_uri(object, "mqtts_password", "mqtts", doors, doors->mqtts_password_port);
    add_uri(object, "ws", "ws", doors, doors->ws_port);
    add_uri(object, "wss", "wss", doors, doors->wss_port);
    add_uri(object, "est", "https", doors, doors->https_port);
    add_uri(object, "http", "http", doors, doors->http_port);
    if (operating)
        add_uri(object, "operators", "https", doors, doors->https_port);
    add_file(object, "ca_file", doors, "ca.pem");
    char *text = cJSON_PrintUnformatted(object);
    printf("%s\n", text ? text : "{}");
    cJSON_free(text);
    cJSON_Delete(object);
}

static void print_doors(const struct cloud_serve_doors *doors, bool operating)
{
    const char *host = host_of(doors), *pki = doors->pki_directory;
    printf("convoy cloud is serving; Ctrl-C ends it\n\n");
    if (doors->mqtt_port >= 0)
        printf("  MQTT, clear text          mqtt://%s:%d\n", host, doors->mqtt_port);
    if (doors->mqtts_port >= 0)
        printf("  MQTT, client certificate  mqtts://%s:%d\n", host, doors->mqtts_port);
    if (doors->mqtts_password_port >= 0)
        printf("  MQTT, user and password   mqtts://%s:%d\n", host, doors->mqtts_password_port);
    if (doors->ws_port >= 0)
        printf("  WebSocket, clear text     ws://%s:%d/mqtt\n", host, doors->ws_port);
    if (doors->wss_port >= 0)
        printf("  WebSocket, password       wss://%s:%d/mqtt\n", host, doors->wss_port);
    if (doors->https_port >= 0)
        printf("  certificate broker (EST)  https://%s:%d/.well-known/est/\n", host, doors->https_port);
    if (operating && doors->https_port >= 0)
        printf("  operators                 https://%s:%d/v1/vehicles\n", host, doors->https_port);
    if (doors->http_port >= 0)
        printf("  CRL and OCSP              http://%s:%d/crl/operational.crl http://%s:%d/ocsp\n", host,
               doors->http_port, host, doors->http_port);
    printf("  CA certificates           %s/ca.pem\n\nTry:\n", pki);
    if (doors->mqtt_port >= 0)
        printf("  mosquitto_sub -h %s -p %d -V 5 -v -t '#' -t '$aws/events/#'\n", doors->address, doors->mqtt_port);
    if (operating && doors->https_port >= 0) {
        printf("  convoy cloud --pki %s --make operator alice   # then, and so on as docs/identity.md says:\n", pki);
        printf("  curl --cacert %s/ca.pem --cert %s/alice.crt --key %s/alice.key https://%s:%d/v1/vehicles \\\n"
               "       -d '{\"vin\":\"1M8GDM9AXKP042788\",\"device\":\"tcu-1\",\"tenant\":\"acme\"}'\n",
               pki, pki, pki, host, doors->https_port);
        return; /* policies refuse what follows */
    }
    if (doors->https_port >= 0) {
        printf("  convoy cloud --pki %s --issue VIN1   # an attestation identity, then enrol with it:\n", pki);
        printf("  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout op.key -subj /CN=VIN1 "
               "-outform DER | base64 >op.csr\n");
        printf(
            "  curl --cacert %s/ca.pem --cert %s/VIN1.crt --key %s/VIN1.key -H 'Content-Type: application/pkcs10' \\\n"
            "       --data-binary @op.csr https://%s:%d/.well-known/est/simpleenroll | openssl base64 -d | openssl "
            "pkcs7 -inform DER -print_certs -out op.crt\n",
            pki, pki, pki, host, doors->https_port);
    }
    if (doors->mqtts_port >= 0) {
        printf("  openssl s_client -connect %s:%d -CAfile %s/ca.pem -cert op.crt -key op.key </dev/null\n", host,
               doors->mqtts_port, pki);
        printf("  mosquitto_pub -h %s -p %d --cafile %s/ca.pem --cert op.crt --key op.key -V 5 -i VIN1 -t "
               "dt/VIN1/telemetry -m hello\n",
               doors->address, doors->mqtts_port, pki);
    }
}

static void ready(void *context, const struct cloud_serve_doors *doors)
{
    const struct arguments *a = context;
    if (a->json)
        print_json(doors, a->serve.operators);
    else
        print_doors(doors, a->serve.operators);
    fflush(stdout);
}

/* ---- making identities ------------------------------------------------------------------------------------------------ */

/* The hierarchy's own files bear such names. */
static bool is_taken(const char *name)
{
    static const char *const ours[] = {"root",  "operational", "attestation", "server-ca",
                                       "claim", "server",      "ca",          "operator-ca"};
    for (size_t i = 0; i < sizeof(ours) / sizeof(ours[0]); i++)
        if (strcmp(ours[i], name) == 0)
            return true;
    return strncmp(name, "ocsp-", 5) == 0 || name[0] == '.';
}

static int make_one(struct cloud_pki *pki, const struct arguments *a, const char *name)
{
    uint8_t certificate[2048], key[512];
    size_t certificate_length = sizeof(certificate), key_length = sizeof(key);
    char path[700];
    const char *directory = a->serve.pki_directory;
    int64_t now_s = (int64_t)time(NULL) - 60,
            lifetime_s = a->make->lifetime_s ? a->make->lifetime_s : a->serve.cloud.certificate_lifetime_s;
    if (strchr(name, '/') || strlen(name) > 40 || !name[0] || is_taken(name)) {
        fprintf(stderr,
                "convoy: cloud: '%s' is no name for an identity (1 to 40 characters, no '/', none of the PKI's own "
                "files)\n",
                name);
        return EXIT_USAGE;
    }
    if (a->make->ca == CLOUD_CA_SERVER && strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                                       "0123456789-.:*") != strlen(name)) {
        fprintf(stderr, "convoy: cloud: '%s' is neither a host name nor an IP address\n", name);
        return EXIT_USAGE;
    }
    if (!cloud_pki_make(pki, a->make->ca, name, now_s, lifetime_s, certificate, &certificate_length, key,
                        &key_length)) {
        fprintf(stderr, "convoy: cloud: no identity could be made for '%s'\n", name);
        return EXIT_ENVIRONMENT;
    }
    snprintf(path, sizeof(path), "%s/%s.key", directory, name);
    bool good = cli_write_pem(path, "PRIVATE KEY", key, key_length);
    if (good) {
        snprintf(path, sizeof(path), "%s/%s.crt", directory, name);
        good = cli_write_pem(path, "CERTIFICATE", certificate, certificate_length);
    }
    if (!good)
        fprintf(stderr, "convoy: cloud: %s: %s\n", path, strerror(errno));
    else
        printf("%s/%s.crt\n%s/%s.key\n", directory, name, directory, name);
    return good ? EXIT_HOLDS : EXIT_ENVIRONMENT;
}

/* As people copy it: hexadecimal digits, with or without 0x or colons between. */
static bool serial_of(const char *text, uint64_t *serial)
{
    unsigned digits = 0;
    *serial = 0;
    if (text[0] == '0' && (text[1] == 'x' || text[1] == 'X'))
        text += 2;
    for (; *text; text++) {
        if (*text == ':')
            continue;
        int digit = *text >= '0' && *text <= '9'   ? *text - '0'
                    : *text >= 'A' && *text <= 'F' ? *text - 'A' + 10
                    : *text >= 'a' && *text <= 'f' ? *text - 'a' + 10
                                                   : -1;
        if (digit < 0 || ++digits > 16)
            return false;
        *serial = *serial << 4 | (uint64_t)digit;
    }
    return digits > 0;
}

static int revoke_certificates(struct cloud_pki *pki, const struct arguments *a)
{
    char error[256] = "";
    uint64_t serial;
    enum cloud_ca ca = a->whose ? a->whose->ca : CLOUD_CA_OPERATIONAL, found;
    int64_t now_s = (int64_t)time(NULL);
    int count = serial_of(a->revoke, &serial) && cloud_pki_find(pki, serial, &found)
                    ? cloud_pki_revoke(pki, found, serial, a->reason, now_s, error, sizeof(error))
                    : cloud_pki_revoke_by_name(pki, ca, a->revoke, a->reason, now_s, error, sizeof(error));
    if (count < 0) {
        fprintf(stderr, "convoy: cloud: %s\n", error);
        return EXIT_ENVIRONMENT;
    }
    if (count)
        printf("%s: %d certificate%s revoked\n", a->revoke, count, count == 1 ? "" : "s");
    else
        printf("%s: revoked already\n", a->revoke);
    return EXIT_HOLDS;
}

static int make_operator(const char *directory, const char *name)
{
    char error[256];
    if (is_taken(name)) {
        fprintf(stderr, "convoy: cloud: '%s' is one of the PKI's own files\n", name);
        return EXIT_USAGE;
    }
    if (!cloud_serve_make_operator(directory, name, (int64_t)time(NULL) - 60, error, sizeof(error))) {
        fprintf(stderr, "convoy: cloud: %s\n", error);
        return EXIT_ENVIRONMENT;
    }
    printf("%s/%s.crt\n%s/%s.key\n", directory, name, directory, name);
    return EXIT_HOLDS;
}

/* --init: what the life of identities needs beside the certificates. */
static int make_rest(const char *directory)
{
    char error[256];
    uint8_t key[32];
    bool good = cloud_serve_vin_key(directory, key, error, sizeof(error)) &&
                cloud_serve_operators(directory, error, sizeof(error));
    explicit_bzero(key, sizeof(key));
    if (good)
        printf("%s/ca.pem\n", directory);
    else
        fprintf(stderr, "convoy: cloud: %s\n", error);
    return good ? EXIT_HOLDS : EXIT_ENVIRONMENT;
}

static int make_only(const struct arguments *a)
{
    char error[256] = "";
    struct cloud_pki *pki = cloud_pki_open(a->serve.pki_directory, !a->revoke, error, sizeof(error));
    if (pki && !cloud_pki_set_public_url(pki, a->serve.public_url))
        snprintf(error, sizeof(error), "certificates: '%s' is no URL of the form http://host:port",
                 a->serve.public_url);
    else if (pki)
        cloud_pki_write_crls(pki, (int64_t)time(NULL), error, sizeof(error));
    if (!pki || error[0]) {
        fprintf(stderr, "convoy: cloud: %s\n", error);
        cloud_pki_close(pki);
        return EXIT_ENVIRONMENT;
    }
    int code = EXIT_HOLDS;
    if (a->revoke)
        code = revoke_certificates(pki, a);
    else if (!a->make)
        code = make_rest(a->serve.pki_directory);
    for (int i = 0; i < a->name_count && code == EXIT_HOLDS; i++)
        code =
            a->make == &operators ? make_operator(a->serve.pki_directory, a->names[i]) : make_one(pki, a, a->names[i]);
    cloud_pki_close(pki);
    return code;
}

int cmd_cloud(int argc, char **argv)
{
    static const char text[] =
        "Serves the mock cloud on loopback: MQTT 5 broker, certificate broker, just-in-time registration, presence "
        "events; with --lifecycle the life of vehicles' identities.\v"
        "Exit codes: 0 ended as told, 2 usage, 3 environment (a port is taken, a file cannot be written).";
    const struct argp argp = {options, parse, "[NAME...]", text, NULL, NULL, NULL};
    static struct arguments a;
    char name[] = "convoy cloud", error[256] = "";
    static const struct cloud_shadow_options shadow;
    static const struct cloud_executions_options executions;
    cloud_serve_defaults(&a.serve);
    a.serve.cloud.shadow = &shadow;
    a.serve.cloud.executions = &executions;
    a.serve.mqtt_port = 1883;
    a.serve.mqtts_port = 8883;
    a.serve.https_port = 8443;
    a.serve.pki_directory = "convoy-pki";
    a.serve.cloud.require_certificate = false;
    argv[0] = name;
    argp_err_exit_status = EXIT_USAGE;
    if (argp_parse(&argp, argc, argv, 0, NULL, &a) != 0)
        return EXIT_USAGE;
    if (a.init || a.make || a.revoke)
        return make_only(&a);
    if (!set_up_lifecycle(&a))
        return EXIT_ENVIRONMENT;
    int code = cloud_serve_run(&a.serve, -1, ready, &a, error, sizeof(error));
    cloud_scram_destroy(a.serve.scram);
    if (code != 0)
        fprintf(stderr, "convoy: cloud: %s\n", error);
    return code;
}
