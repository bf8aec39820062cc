/* The client session's hot path, in memory: a vehicle publishes, the answer comes back as bytes. Costs include encoding,
 * validation and decoding by the session; the far end only reads the packet id and writes an answer.
 *
 *   bench_client [--quick]      prints one JSON document
 */
#include "mqtt5/client.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define WINDOW  16
#define PAYLOAD 90

struct bench {
    struct mq5_client client;
    uint8_t payload[PAYLOAD], answers[64 * WINDOW];
    size_t answers_length;
    uint64_t published, messages, bytes_out;
    uint8_t qos, answer_type;
};

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void answer(struct bench *bench, uint8_t type, const uint8_t *packet_id)
{
    uint8_t *at = bench->answers + bench->answers_length;
    at[0] = (uint8_t)(type << 4 | (type == MQ5_PUBREL ? 2 : 0));
    at[1] = 2;
    at[2] = packet_id[0];
    at[3] = packet_id[1];
    bench->answers_length += 4;
}

/* Every PUBLISH of this program is below 128 bytes of remaining length: topic at 2, packet id behind it. */
static void on_send(struct mq5_client *client, const uint8_t *data, size_t length)
{
    struct bench *bench = (struct bench *)(void *)client;
    bench->bytes_out += length;
    if (data[0] >> 4 == MQ5_PUBLISH && bench->qos > 0)
        answer(bench, bench->qos == 1 ? MQ5_PUBACK : MQ5_PUBREC, data + 4 + (data[2] << 8 | data[3]));
    if (data[0] >> 4 == MQ5_PUBREL)
        answer(bench, MQ5_PUBCOMP, data + 2);
}

static void on_event(struct mq5_client *client, const struct mq5_client_event *event)
{
    struct bench *bench = (struct bench *)(void *)client;
    bench->published += event->kind == MQ5C_EV_PUBLISHED && event->reason == MQ5_SUCCESS;
    bench->messages += event->kind == MQ5C_EV_MESSAGE;
}

static bool on_load(struct mq5_client *client, uint32_t token, struct mq5_publish *out)
{
    struct bench *bench = (struct bench *)(void *)client;
    (void)token;
    out->qos = bench->qos;
    out->topic = SPAN_LITERAL("v/WDB11122233344455/t");
    out->payload = span_of(bench->payload, PAYLOAD);
    return true;
}

static const struct mq5_client_ops ops = {.send = on_send, .event = on_event, .load = on_load};

static void start(struct bench *bench, const struct mq5_client_config *config, void *memory)
{
    struct mq5_client_connect connect = {.keep_alive_s = 60, .client_id = SPAN_LITERAL("car"), .session_expiry_s = 60};
    struct mq5_packet connack = {.type = MQ5_CONNACK};
    uint8_t bytes[64];
    size_t length = 0;
    connack.connack.properties.present = MQ5_BIT(MQ5_TOPIC_ALIAS_MAXIMUM);
    connack.connack.properties.topic_alias_maximum = 8;
    mq5_client_init(&bench->client, config, memory);
    if (mq5_client_connect(&bench->client, 0, &connect) != MQ5_OK ||
        mq5_encode(MQ5_V5, &connack, bytes, sizeof(bytes), &length) != MQ5_OK)
        abort();
    mq5_client_input(&bench->client, 0, bytes, length);
    if (!mq5_client_online(&bench->client))
        abort();
}

/* `window` publishes, then their answers in one input, until nothing is in flight. */
static double publish_rate(const struct mq5_client_config *config, uint8_t qos, uint32_t window, uint8_t slot,
                           uint64_t rounds)
{
    static struct bench bench;
    static uint64_t memory[256];
    memset(&bench, 0, sizeof(bench));
    start(&bench, config, memory);
    bench.qos = qos;
    double from = seconds();
    for (uint64_t round = 0; round < rounds; round++) {
        for (uint32_t i = 0; i < window; i++) {
            if (mq5_client_publish(&bench.client, 0, i, slot) != MQ5C_DONE)
                abort();
        }
        while (bench.answers_length > 0) {
            uint8_t taken[sizeof(bench.answers)];
            size_t length = bench.answers_length;
            memcpy(taken, bench.answers, length);
            bench.answers_length = 0;
            mq5_client_input(&bench.client, 0, taken, length);
        }
    }
    double took = seconds() - from;
    if (bench.published != rounds * window || mq5_client_inflight(&bench.client) != 0)
        abort();
    return (double)bench.published / took;
}

static double receive_rate(const struct mq5_client_config *config, uint64_t rounds)
{
    static struct bench bench;
    static uint64_t memory[256];
    struct mq5_packet packet = {.type = MQ5_PUBLISH};
    uint8_t bytes[256];
    size_t length = 0;
    memset(&bench, 0, sizeof(bench));
    start(&bench, config, memory);
    packet.publish.qos = 1;
    packet.publish.packet_id = 1;
    packet.publish.topic = SPAN_LITERAL("v/WDB11122233344455/c");
    packet.publish.payload = span_of(bench.payload, PAYLOAD);
    if (mq5_encode(MQ5_V5, &packet, bytes, sizeof(bytes), &length) != MQ5_OK)
        abort();
    double from = seconds();
    for (uint64_t round = 0; round < rounds; round++)
        mq5_client_input(&bench.client, 0, bytes, length);
    double took = seconds() - from;
    if (bench.messages != rounds)
        abort();
    return (double)rounds / took;
}

int main(int count, char **arguments)
{
    static uint8_t scratch[2048];
    uint64_t rounds = count > 1 && strcmp(arguments[1], "--quick") == 0 ? 20000 : 1000000;
    struct mq5_client_config config = {.ops = &ops,
                                       .version = MQ5_V5,
                                       .qos2_in = true,
                                       .receive_maximum = 10,
                                       .outgoing_maximum = WINDOW,
                                       .outgoing_alias_slots = 1,
                                       .scratch = scratch,
                                       .scratch_size = sizeof(scratch)};
    printf("{\n  \"bench\": \"client\",\n  \"payload_bytes\": 90,\n  \"client_bytes\": %zu,\n",
           sizeof(struct mq5_client));
    printf("  \"memory_bytes\": %zu,\n", mq5_client_memory(&config));
    printf("  \"qos0_publishes_per_s\": %.0f,\n", publish_rate(&config, 0, 1, 0, rounds));
    printf("  \"qos1_round_trips_per_s\": %.0f,\n", publish_rate(&config, 1, 1, 0, rounds));
    printf("  \"qos1_round_trips_with_alias_per_s\": %.0f,\n", publish_rate(&config, 1, 1, 1, rounds));
    printf("  \"qos1_round_trips_window_%d_per_s\": %.0f,\n", WINDOW,
           publish_rate(&config, 1, WINDOW, 0, rounds / WINDOW));
    printf("  \"qos2_round_trips_per_s\": %.0f,\n", publish_rate(&config, 2, 1, 0, rounds));
    printf("  \"qos1_messages_received_per_s\": %.0f\n}\n", receive_rate(&config, rounds));
    return 0;
}
