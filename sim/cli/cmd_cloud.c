/* cmd_cloud.c: `convoy cloud`: serves the mock cloud and says what to connect to. */
#include "cloud/serve.h"
#include "commands.h"

#include <argp.h>
#include <cjson/cJSON.h>
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
    KEY_HTTPS,
    KEY_PKI,
    KEY_REGISTRY,
    KEY_INIT,
    KEY_USER,
    KEY_PASSWORD,
    KEY_TLS12,
    KEY_SNI,
    KEY_NO_BROKER,
    KEY_DELAY,
    KEY_LIFETIME,
    KEY_JSON,
    KEY_ISSUE
};

static const struct argp_option options[] = {
    {0, 0, 0, 0, "Doors (a PORT of 0 takes any free one, -1 does not offer it):", 1},
    {"address", KEY_ADDRESS, "IP", 0, "listen on this address (127.0.0.1)", 0},
    {"mqtt-port", KEY_MQTT, "PORT", 0, "MQTT in clear text (1883)", 0},
    {"mqtts-port", KEY_MQTTS, "PORT", 0, "MQTT over TLS, client certificate required (8883)", 0},
    {"password-port", KEY_PASSWORD_PORT, "PORT", 0, "MQTT over TLS, user and password (-1)", 0},
    {"https-port", KEY_HTTPS, "PORT", 0, "certificate broker, EST (8443)", 0},
    {"no-broker", KEY_NO_BROKER, 0, 0, "serve the certificate broker only", 0},
    {"tls12", KEY_TLS12, 0, 0, "accept TLS 1.2 beside 1.3", 0},
    {"require-sni", KEY_SNI, 0, 0, "refuse TLS without a server name", 0},
    {0, 0, 0, 0, "Identity:", 2},
    {"pki", KEY_PKI, "DIR", 0, "certificates and keys, made when missing (convoy-pki)", 0},
    {"init", KEY_INIT, 0, 0, "make the certificates and exit", 0},
    {"issue", KEY_ISSUE, "NAME", 0, "make an attestation identity for a device (DIR/NAME.crt, DIR/NAME.key) and exit",
     0},
    {"registry", KEY_REGISTRY, "FILE", 0, "keep vehicles and certificates in this SQLite file (in memory only)", 0},
    {"activation-delay", KEY_DELAY, "MS", 0, "from a new certificate's first connect until it is active (2000)", 0},
    {"certificate-days", KEY_LIFETIME, "DAYS", 0, "lifetime of operational certificates (365)", 0},
    {"user", KEY_USER, "NAME", 0, "without a certificate, demand this user; % means: the client id", 0},
    {"password", KEY_PASSWORD, "TEXT", 0, "and this password", 0},
    {0, 0, 0, 0, "Output:", 3},
    {"json", KEY_JSON, 0, 0, "print the doors as one line of JSON", 0},
    {0},
};

struct arguments {
    struct cloud_serve_options serve;
    const char *issue;
    bool init, json;
};

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
    case KEY_HTTPS: a->serve.https_port = (int)number(state, value, -1, 65535, "--https-port"); break;
    case KEY_NO_BROKER: a->serve.without_broker = true; break;
    case KEY_TLS12: a->serve.tls12 = true; break;
    case KEY_SNI: a->serve.require_server_name = true; break;
    case KEY_PKI: a->serve.pki_directory = value; break;
    case KEY_INIT: a->init = true; break;
    case KEY_ISSUE: a->issue = value; break;
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
    case KEY_JSON: a->json = true; break;
    case ARGP_KEY_ARG: argp_error(state, "unexpected argument '%s'", value); break;
    case ARGP_KEY_END:
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
    snprintf(uri, sizeof(uri), "%s://%s:%d", scheme, host_of(doors), port);
    cJSON_AddStringToObject(object, name, uri);
}

static void add_file(cJSON *object, const char *name, const struct cloud_serve_doors *doors, const char *file)
{
    char path[600];
    snprintf(path, sizeof(path), "%s/%s", doors->pki_directory, file);
    cJSON_AddStringToObject(object, name, path);
}

static void print_json(const struct cloud_serve_doors *doors)
{
    cJSON *object = cJSON_CreateObject();
    cJSON_AddNumberToObject(object, "pid", getpid());
    add_uri(object, "mqtt", "mqtt", doors, doors->mqtt_port);
    add_uri(object, "mqtts", "mqtts", doors, doors->mqtts_port);
    add_uri(object, "mqtts_password", "mqtts", doors, doors->mqtts_password_port);
    add_uri(object, "est", "https", doors, doors->https_port);
    add_file(object, "ca_file", doors, "ca.pem");
    char *text = cJSON_PrintUnformatted(object);
    printf("%s\n", text ? text : "{}");
    cJSON_free(text);
    cJSON_Delete(object);
}

static void print_doors(const struct cloud_serve_doors *doors)
{
    const char *host = host_of(doors), *pki = doors->pki_directory;
    printf("convoy cloud is serving; Ctrl-C ends it\n\n");
    if (doors->mqtt_port >= 0)
        printf("  MQTT, clear text          mqtt://%s:%d\n", host, doors->mqtt_port);
    if (doors->mqtts_port >= 0)
        printf("  MQTT, client certificate  mqtts://%s:%d\n", host, doors->mqtts_port);
    if (doors->mqtts_password_port >= 0)
        printf("  MQTT, user and password   mqtts://%s:%d\n", host, doors->mqtts_password_port);
    if (doors->https_port >= 0)
        printf("  certificate broker (EST)  https://%s:%d/.well-known/est/\n", host, doors->https_port);
    printf("  CA certificates           %s/ca.pem\n\nTry:\n", pki);
    if (doors->mqtt_port >= 0)
        printf("  mosquitto_sub -h %s -p %d -V 5 -v -t '#' -t '$aws/events/#'\n", doors->address, doors->mqtt_port);
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
    if (((const struct arguments *)context)->json)
        print_json(doors);
    else
        print_doors(doors);
    fflush(stdout);
}

/* ---- making identities ------------------------------------------------------------------------------------------------ */

static bool write_pem(const char *path, const char *label, const uint8_t *der, size_t length)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    FILE *file = fopen(path, "we");
    if (!file)
        return false;
    fprintf(file, "-----BEGIN %s-----\n", label);
    for (size_t i = 0; i < length; i += 3) {
        uint32_t bits = (uint32_t)der[i] << 16 | (i + 1 < length ? (uint32_t)der[i + 1] << 8 : 0) |
                        (i + 2 < length ? der[i + 2] : 0);
        fputc(digits[bits >> 18], file);
        fputc(digits[bits >> 12 & 63], file);
        fputc(i + 1 < length ? digits[bits >> 6 & 63] : '=', file);
        fputc(i + 2 < length ? digits[bits & 63] : '=', file);
        if (i % 48 == 45 || i + 3 >= length)
            fputc('\n', file);
    }
    fprintf(file, "-----END %s-----\n", label);
    return fclose(file) == 0;
}

static int issue(struct cloud_pki *pki, const char *directory, const char *name)
{
    uint8_t certificate[2048], key[512];
    size_t certificate_length = sizeof(certificate), key_length = sizeof(key);
    char path[700];
    if (strchr(name, '/') || strlen(name) > 40 || !name[0]) {
        fprintf(stderr, "convoy: cloud: --issue: '%s' is no device name (1 to 40 characters, no '/')\n", name);
        return EXIT_USAGE;
    }
    if (!cloud_pki_make(pki, CLOUD_CA_ATTESTATION, name, (int64_t)time(NULL) - 60, INT64_C(15) * 365 * 86400,
                        certificate, &certificate_length, key, &key_length)) {
        fprintf(stderr, "convoy: cloud: no identity could be made for '%s'\n", name);
        return EXIT_ENVIRONMENT;
    }
    mode_t old = umask(077);
    snprintf(path, sizeof(path), "%s/%s.key", directory, name);
    bool good = write_pem(path, "PRIVATE KEY", key, key_length);
    umask(old);
    if (good) {
        snprintf(path, sizeof(path), "%s/%s.crt", directory, name);
        good = write_pem(path, "CERTIFICATE", certificate, certificate_length);
    }
    if (!good)
        fprintf(stderr, "convoy: cloud: %s: %s\n", path, strerror(errno));
    else
        printf("%s/%s.crt\n%s/%s.key\n", directory, name, directory, name);
    return good ? EXIT_HOLDS : EXIT_ENVIRONMENT;
}

static int make_only(const struct arguments *a)
{
    char error[256] = "";
    struct cloud_pki *pki = cloud_pki_open(a->serve.pki_directory, true, error, sizeof(error));
    if (!pki) {
        fprintf(stderr, "convoy: cloud: %s\n", error);
        return EXIT_ENVIRONMENT;
    }
    int code = EXIT_HOLDS;
    if (a->issue)
        code = issue(pki, a->serve.pki_directory, a->issue);
    else
        printf("%s/ca.pem\n", a->serve.pki_directory);
    cloud_pki_close(pki);
    return code;
}

int cmd_cloud(int argc, char **argv)
{
    static const char text[] =
        "Serves the mock cloud on loopback: MQTT 5 broker, certificate broker, just-in-time registration, presence "
        "events.\v"
        "Exit codes: 0 ended as told, 2 usage, 3 environment (a port is taken, a file cannot be written).";
    const struct argp argp = {options, parse, NULL, text, NULL, NULL, NULL};
    struct arguments a = {0};
    char name[] = "convoy cloud", error[256] = "";
    cloud_serve_defaults(&a.serve);
    a.serve.mqtt_port = 1883;
    a.serve.mqtts_port = 8883;
    a.serve.https_port = 8443;
    a.serve.pki_directory = "convoy-pki";
    a.serve.cloud.require_certificate = false;
    argv[0] = name;
    argp_err_exit_status = EXIT_USAGE;
    if (argp_parse(&argp, argc, argv, 0, NULL, &a) != 0)
        return EXIT_USAGE;
    if (a.init || a.issue)
        return make_only(&a);
    int code = cloud_serve_run(&a.serve, -1, ready, &a, error, sizeof(error));
    if (code != 0)
        fprintf(stderr, "convoy: cloud: %s\n", error);
    return code;
}
