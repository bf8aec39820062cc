/* codec.c (bench): our codec against mqtt-packet on the same packets. One JSON document on standard output.
 *
 *   bench_codec [SOURCE_FOLDER]     default: the current one; needs tests/oracle/node_modules to measure mqtt-packet
 *
 * Each kind of packet is encoded and decoded over and over for about 0.2 s; "mix" is what a telemetry vehicle's day
 * is made of: many PUBLISH and PUBACK, few of the rest. decode_ns of PUBLISH is the figure the fleet is sized by.
 */
#include "mqtt5/packet.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { KINDS = 7, BATCH = 1000 };

static struct {
    const char *name;
    int weight; /* in the mix */
    struct mq5_packet packet;
    uint8_t bytes[1024];
    size_t length;
    double encode_ns, decode_ns;
} kinds[KINDS];

static const struct mq5_user_property telemetry_user[] = {
    {{(const uint8_t *)"vin", 3}, {(const uint8_t *)"WVWZZZ1KZAW000001", 17}},
    {{(const uint8_t *)"schema", 6}, {(const uint8_t *)"telemetry/3", 11}},
    {{(const uint8_t *)"seq", 3}, {(const uint8_t *)"1048576", 7}},
};
static const struct mq5_subscription subscriptions[] = {
    {.filter = {(const uint8_t *)"vehicles/tcu-00000001/commands/+", 32}, .qos = 1},
    {.filter = {(const uint8_t *)"vehicles/tcu-00000001/jobs/#", 28}, .qos = 1, .no_local = true},
};
static const char telemetry[] = "{\"t\":1700000000123,\"lat\":48.137154,\"lon\":11.576124,\"speed\":53.2,\"soc\":71.5,"
                                "\"odo\":12345.6,\"temp\":21.5,\"state\":\"driving\"}";

static void add(int index, const char *name, int weight, struct mq5_packet packet)
{
    kinds[index].name = name;
    kinds[index].weight = weight;
    kinds[index].packet = packet;
    if (mq5_encode(MQ5_V5, &packet, kinds[index].bytes, sizeof(kinds[index].bytes), &kinds[index].length) != MQ5_OK) {
        fprintf(stderr, "bench_codec: %s cannot be encoded\n", name);
        exit(1);
    }
}

static void prepare(void)
{
    struct mq5_packet p = {.type = MQ5_PUBLISH,
                           .publish = {.qos = 1,
                                       .packet_id = 77,
                                       .topic = SPAN_LITERAL("vehicles/tcu-00000001/telemetry"),
                                       .payload = span_text(telemetry)}};
    p.publish.properties = (struct mq5_properties){
        .present = MQ5_BIT(MQ5_TOPIC_ALIAS), .topic_alias = 1, .user = telemetry_user, .user_count = 3};
    add(0, "publish first (topic, alias, 3 user properties)", 10, p);
    p.publish.topic.length = 0;
    add(1, "publish (alias, 3 user properties)", 450, p);
    add(2, "puback", 460, (struct mq5_packet){.type = MQ5_PUBACK, .ack = {.packet_id = 77}});
    p = (struct mq5_packet){.type = MQ5_CONNECT,
                            .connect = {.version = MQ5_V5,
                                        .keep_alive_s = 300,
                                        .has_will = true,
                                        .will_qos = 1,
                                        .client_id = SPAN_LITERAL("tcu-00000001"),
                                        .will_topic = SPAN_LITERAL("vehicles/tcu-00000001/presence"),
                                        .will_payload = SPAN_LITERAL("{\"online\":false}")}};
    p.connect.properties.present = MQ5_BIT(MQ5_SESSION_EXPIRY_INTERVAL) | MQ5_BIT(MQ5_RECEIVE_MAXIMUM);
    p.connect.properties.session_expiry_s = 86400;
    p.connect.properties.receive_maximum = 20;
    add(3, "connect", 10, p);
    p = (struct mq5_packet){.type = MQ5_CONNACK};
    p.connack.properties.present = MQ5_BIT(MQ5_RECEIVE_MAXIMUM) | MQ5_BIT(MQ5_TOPIC_ALIAS_MAXIMUM);
    p.connack.properties.receive_maximum = 100;
    p.connack.properties.topic_alias_maximum = 8;
    add(4, "connack", 10, p);
    add(5, "subscribe", 10,
        (struct mq5_packet){.type = MQ5_SUBSCRIBE, .subscribe = {.packet_id = 1, .list = subscriptions, .count = 2}});
    add(6, "pingreq", 50, (struct mq5_packet){.type = MQ5_PINGREQ});
}

static double now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void fail_measure(const char *name)
{
    fprintf(stderr, "bench_codec: %s failed while measured\n", name);
    exit(1);
}

static double measure_decode(int index)
{
    struct mq5_packet packet;
    double start = now_ns(), passed;
    long done = 0;
    do {
        for (int i = 0; i < BATCH; i++)
            if (mq5_decode(MQ5_V5, MQ5_EITHER, kinds[index].bytes, kinds[index].length, &packet, NULL) != MQ5_OK)
                fail_measure(kinds[index].name);
        done += BATCH;
        passed = now_ns() - start;
    } while (passed < 2e8);
    return passed / (double)done;
}

static double measure_encode(int index)
{
    uint8_t out[1024];
    double start = now_ns(), passed;
    long done = 0;
    do {
        for (int i = 0; i < BATCH; i++) {
            size_t written;
            if (mq5_encode(MQ5_V5, &kinds[index].packet, out, sizeof(out), &written) != MQ5_OK)
                fail_measure(kinds[index].name);
        }
        done += BATCH;
        passed = now_ns() - start;
    } while (passed < 2e8);
    return passed / (double)done;
}

struct figures {
    double encode_packets_s, decode_packets_s;
};

/* mqtt-packet on the same bytes, in a process of its own; zeros if it is not installed. */
static struct figures measure_theirs(const char *source)
{
    struct figures theirs = {0, 0};
    char command[8192], path[1024];
    snprintf(path, sizeof(path), "%s/tests/oracle/node_modules/mqtt-packet/package.json", source);
    FILE *installed = fopen(path, "r");
    if (!installed)
        return theirs;
    fclose(installed);
    int used = snprintf(command, sizeof(command), "node '%s/tests/bench/codec.mjs'", source);
    for (int i = 0; i < KINDS; i++) {
        used += snprintf(command + used, sizeof(command) - (size_t)used, " %d:", kinds[i].weight);
        for (size_t at = 0; at < kinds[i].length; at++)
            used += snprintf(command + used, sizeof(command) - (size_t)used, "%02x", kinds[i].bytes[at]);
    }
    FILE *node = popen(command, "r");
    if (node) {
        if (fscanf(node, "%lf %lf", &theirs.encode_packets_s, &theirs.decode_packets_s) != 2)
            theirs = (struct figures){0, 0};
        pclose(node);
    }
    return theirs;
}

static void print_kind(int i)
{
    printf("    {\"name\": \"%s\", \"bytes\": %zu, \"share\": %d, \"encode_ns\": %.1f, \"decode_ns\": %.1f}%s\n",
           kinds[i].name, kinds[i].length, kinds[i].weight, kinds[i].encode_ns, kinds[i].decode_ns,
           i + 1 < KINDS ? "," : "");
}

int main(int argc, char **argv)
{
    double encode = 0, decode = 0, bytes = 0, weights = 0;
    prepare();
    for (int i = 0; i < KINDS; i++) {
        kinds[i].encode_ns = measure_encode(i);
        kinds[i].decode_ns = measure_decode(i);
        encode += kinds[i].encode_ns * kinds[i].weight;
        decode += kinds[i].decode_ns * kinds[i].weight;
        bytes += (double)kinds[i].length * kinds[i].weight;
        weights += kinds[i].weight;
    }
    double encode_s = weights * 1e9 / encode, decode_s = weights * 1e9 / decode, mean = bytes / weights;
    struct figures theirs = measure_theirs(argc > 1 ? argv[1] : ".");
    printf("{\n  \"bench\": \"codec\",\n  \"kinds\": [\n");
    for (int i = 0; i < KINDS; i++)
        print_kind(i);
    printf("  ],\n  \"mix\": {\"mean_bytes\": %.1f, \"encode_packets_s\": %.0f, \"encode_bytes_s\": %.0f, "
           "\"decode_packets_s\": %.0f, \"decode_bytes_s\": %.0f},\n",
           mean, encode_s, encode_s * mean, decode_s, decode_s * mean);
    if (theirs.encode_packets_s > 0)
        printf("  \"mqtt_packet\": {\"encode_packets_s\": %.0f, \"encode_bytes_s\": %.0f, \"decode_packets_s\": %.0f, "
               "\"decode_bytes_s\": %.0f},\n  \"ratio\": {\"encode\": %.1f, \"decode\": %.1f}\n}\n",
               theirs.encode_packets_s, theirs.encode_packets_s * mean, theirs.decode_packets_s,
               theirs.decode_packets_s * mean, encode_s / theirs.encode_packets_s, decode_s / theirs.decode_packets_s);
    else
        printf("  \"mqtt_packet\": null,\n  \"ratio\": null\n}\n");
    return 0;
}
