/* What remote commands cost beside something simple, in one run:
 *   desk    BENCH_COMMANDS commands (500,000) through the desk, against the plain command service: the same bus, the same vehicles, answers at once;
 *   seal    signed and encrypted commands, against bare ECDSA P-256 signatures by the same library;
 *   shadow  updates of one key in shadows of 100 things, against parsing, changing and printing such a document.
 * Ratios are ours per second over the other's: above 1 ours is faster. One object of JSON. */
#include "cloud/remote.h"
#include "cloud/keys.h"
#include "cloud/shadow.h"

#include <cjson/cJSON.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define VEHICLES 1000
#define THINGS   100

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void give_up(const char *what)
{
    fprintf(stderr, "bench remote: %s\n", what);
    exit(3);
}

/* ---- commands --------------------------------------------------------------------------------------------------------------- */

/* A bus whose vehicles answer the last request when they are asked to. */
struct line {
    struct cloud_bus bus;
    cloud_bus_handler *response;
    void *context;
    char topic[64];
    uint8_t correlation[32];
    uint32_t topic_length, correlation_length;
    uint64_t answered;
};

static uint8_t line_subscribe(struct cloud_bus *bus, int64_t now_us, struct span filter, uint8_t qos,
                              cloud_bus_handler *handler, void *context)
{
    struct line *line = (struct line *)bus;
    line->response = handler;
    line->context = context;
    return qos;
}

static uint8_t line_publish(struct cloud_bus *bus, int64_t now_us, const struct mq5_publish *message)
{
    struct line *line = (struct line *)bus;
    struct span topic = message->properties.response_topic, correlation = message->properties.correlation_data;
    if (topic.length > sizeof line->topic || correlation.length > sizeof line->correlation)
        give_up("a request is longer than it may be");
    memcpy(line->topic, topic.data, topic.length);
    memcpy(line->correlation, correlation.data, correlation.length);
    line->topic_length = topic.length;
    line->correlation_length = correlation.length;
    return 0;
}

static const struct cloud_bus_ops line_ops = {.subscribe = line_subscribe, .publish = line_publish};

static void answer(struct line *line, int64_t now_us)
{
    struct mq5_publish message = {.topic = span_of(line->topic, line->topic_length),
                                  .qos = 1,
                                  .payload = SPAN_LITERAL("{\"status\":\"succeeded\"}")};
    message.properties.present = MQ5_BIT(MQ5_CORRELATION_DATA);
    message.properties.correlation_data = span_of(line->correlation, line->correlation_length);
    line->response(line->context, now_us, &message);
}

static void on_desk(void *context, int64_t now_us, const struct cloud_remote_result *result)
{
    ((struct line *)context)->answered += result->end == CLOUD_REMOTE_EXECUTED;
}

static void on_plain(void *context, int64_t now_us, const struct cloud_command_result *result)
{
    ((struct line *)context)->answered += result->outcome == CLOUD_COMMAND_SUCCEEDED;
}

static struct span vehicle_name(uint64_t i, char out[24])
{
    return span_of(out, (size_t)snprintf(out, 24, "car-%06u", (unsigned)(i % VEHICLES)));
}

static double desk_s(uint64_t commands)
{
    struct line line = {.bus = {&line_ops}};
    struct cloud_remote_options options = {.pattern = CLOUD_PATTERN_PLAIN,
                                           .request_topic = "cmd/%/request",
                                           .response_topic = "cmd/%/response",
                                           .id_base = 1,
                                           .result = on_desk,
                                           .context = &line};
    struct cloud_remote *remote = cloud_remote_create(&options, &line.bus, 0);
    if (!remote)
        give_up("no desk");
    double begin = now();
    for (uint64_t i = 0; i < commands; i++) {
        char name[24];
        struct cloud_remote_ask ask = {.thing = vehicle_name(i, name),
                                       .user = SPAN_LITERAL("owner"),
                                       .command = SPAN_LITERAL("unlock"),
                                       .expires_us = 30 * US_PER_S};
        cloud_remote_send(remote, (int64_t)i, &ask);
        answer(&line, (int64_t)i);
    }
    double took_s = now() - begin;
    if (line.answered != commands)
        give_up("the desk has not told of every command");
    cloud_remote_destroy(remote);
    return took_s;
}

static double plain_s(uint64_t commands)
{
    struct line line = {.bus = {&line_ops}};
    struct cloud_command_options options = {.request_topic = "cmd/%/request",
                                            .response_topic = "cmd/%/response",
                                            .id_base = 1,
                                            .result = on_plain,
                                            .context = &line};
    struct cloud_commands *service = cloud_commands_create(&options, &line.bus, 0);
    if (!service)
        give_up("no command service");
    double begin = now();
    for (uint64_t i = 0; i < commands; i++) {
        char name[24];
        cloud_command_send(service, (int64_t)i, vehicle_name(i, name), SPAN_LITERAL("unlock"), 30 * US_PER_S, 0);
        answer(&line, (int64_t)i);
    }
    double took_s = now() - begin;
    if (line.answered != commands)
        give_up("the command service has not told of every command");
    cloud_commands_destroy(service);
    return took_s;
}

/* ---- seals ------------------------------------------------------------------------------------------------------------------ */

static double seal_s(uint64_t count)
{
    static const uint8_t master[32] = {1, 2, 3};
    char error[160] = "";
    struct cloud_keys *keys = cloud_keys_real((struct span){NULL, 0}, master, error, sizeof error);
    if (!keys)
        give_up(error);
    double begin = now();
    for (uint64_t i = 0; i < count; i++) {
        char name[24];
        uint8_t sealed[CLOUD_SEALED_MAX];
        if (!cloud_keys_seal(keys, vehicle_name(i, name), i + 1, SPAN_LITERAL("unlock"), UINT32_MAX, sealed,
                             sizeof sealed))
            give_up("a command cannot be sealed");
    }
    double took_s = now() - begin;
    cloud_keys_destroy(keys);
    return took_s;
}

static double sign_s(uint64_t count)
{
    static const uint8_t text[48] = "as long as what a sealed command signs";
    EVP_PKEY *key = EVP_EC_gen("P-256");
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    double begin = now();
    for (uint64_t i = 0; i < count; i++) {
        uint8_t signature[80];
        size_t length = sizeof signature;
        if (!key || !context || EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, key) != 1 ||
            EVP_DigestSign(context, signature, &length, text, sizeof text) != 1)
            give_up("no signature");
    }
    double took_s = now() - begin;
    EVP_MD_CTX_free(context);
    EVP_PKEY_free(key);
    return took_s;
}

/* ---- shadows ---------------------------------------------------------------------------------------------------------------- */

static void nobody_hears(void *context, int64_t now_us, struct span whom, struct span topic, struct span payload)
{
}
static void no_event(void *context, int64_t now_us, struct span topic, struct span payload)
{
}

static double shadow_s(uint64_t count)
{
    struct cloud_shadow_options options = {.speaker = {.answer = nobody_hears, .tell = nobody_hears, .event = no_event},
                                           .requests_per_second = UINT32_MAX};
    struct cloud_shadow *shadow = cloud_shadow_create(&options);
    if (!shadow)
        give_up("no shadows");
    double begin = now();
    for (uint64_t i = 0; i < count; i++) {
        char name[24], request[128];
        int length = snprintf(request, sizeof request, "{\"state\":{\"%s\":{\"climate\":%u,\"limit\":80}}}",
                              i & 1 ? "reported" : "desired", (unsigned)(i / 2 % 97));
        if (cloud_shadow_update(shadow, (int64_t)i * 1000, vehicle_name(i / 2 % THINGS, name), (struct span){NULL, 0},
                                span_of(request, (size_t)length), NULL) != 200)
            give_up("an update was refused");
    }
    double took_s = now() - begin;
    cloud_shadow_destroy(shadow);
    return took_s;
}

static double document_s(uint64_t count)
{
    static const char document[] =
        "{\"state\":{\"desired\":{\"climate\":20,\"limit\":80},\"reported\":{\"climate\":20,\"limit\":"
        "80}},\"metadata\":{\"desired\":{\"climate\":{\"timestamp\":1},\"limit\":{\"timestamp\":1}}},"
        "\"version\":7,\"timestamp\":1772600000}";
    double begin = now();
    for (uint64_t i = 0; i < count; i++) {
        cJSON *root = cJSON_Parse(document);
        cJSON *desired = cJSON_GetObjectItem(cJSON_GetObjectItem(root, "state"), "desired");
        cJSON_SetNumberValue(cJSON_GetObjectItem(desired, "climate"), (double)(i % 97));
        char *text = cJSON_PrintUnformatted(root);
        if (!text)
            give_up("out of memory");
        cJSON_free(text);
        cJSON_Delete(root);
    }
    return now() - begin;
}

/* ---- together --------------------------------------------------------------------------------------------------------------- */

static void line_of_json(const char *name, uint64_t count, double ours_s, const char *other, double other_s, bool last)
{
    printf("  \"%s\": {\"count\": %llu, \"per_s\": %.0f, \"%s_per_s\": %.0f, \"ratio\": %.3f}%s\n", name,
           (unsigned long long)count, (double)count / ours_s, other, (double)count / other_s, other_s / ours_s,
           last ? "" : ",");
}

int main(void)
{
    const char *number = getenv("BENCH_COMMANDS");
    uint64_t commands = number ? strtoull(number, NULL, 10) : 500000;
    if (!commands)
        give_up("BENCH_COMMANDS must be a number above 0");
    uint64_t seals = commands / 50 + 1, updates = commands / 2 + 1;
    double desk = desk_s(commands), plain = plain_s(commands), seal = seal_s(seals), sign = sign_s(seals),
           shadow = shadow_s(updates), document = document_s(updates);
    printf("{\n  \"bench\": \"remote\",\n");
    line_of_json("desk", commands, desk, "plain", plain, false);
    line_of_json("seal", seals, seal, "sign", sign, false);
    line_of_json("shadow", updates, shadow, "document", document, true);
    printf("}\n");
    return 0;
}
