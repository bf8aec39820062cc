/* broker.c: what the broker core costs without sockets: messages a second, fan-out, bytes a connected session.
 *
 * Usage: bench_broker [--sessions N] [--messages N]. One JSON document on stdout.
 */
#include "cloud/broker.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

static uint64_t bytes_sent, packets_sent, delivered;

static void count_send(void *context, void *link, const uint8_t *data, size_t length)
{
    packets_sent++;
    bytes_sent += length;
}

static void no_close(void *context, void *link, enum cloud_close_reason reason)
{
    fprintf(stderr, "broker closed a link: %s\n", cloud_close_reason_name(reason));
    exit(1);
}

static void count_delivery(void *context, int64_t now_us, const struct mq5_publish *message)
{
    delivered += message->payload.length != 0;
}

/* As in the virtual world: nobody keeps it. */
static const struct cloud_peer *nobody(void *context, void *link)
{
    return NULL;
}

static const struct cloud_broker_ops ops = {.send = count_send, .close = no_close, .peer = nobody};

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static size_t resident_bytes(void)
{
    unsigned long total, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (!file || fscanf(file, "%lu %lu", &total, &resident) != 2)
        resident = 0;
    if (file)
        fclose(file);
    return resident * 4096;
}

static size_t encode(const struct mq5_packet *packet, uint8_t *out, size_t capacity)
{
    size_t length;
    if (mq5_encode(MQ5_V5, packet, out, capacity, &length) != MQ5_OK)
        exit(1);
    return length;
}

/* A vehicle connects, and subscribes to its commands as vehicles do. */
static struct cloud_connection *join(struct cloud_broker *broker, uint32_t number)
{
    uint8_t bytes[256];
    char id[32], filter[64];
    struct mq5_packet packet;
    struct cloud_connection *connection = cloud_broker_opened(broker, 0, NULL, NULL);
    snprintf(id, sizeof(id), "1CVSIM00000%06u", number);
    snprintf(filter, sizeof(filter), "cmd/%s/request", id);
    memset(&packet, 0, sizeof(packet));
    packet.type = MQ5_CONNECT;
    packet.connect = (struct mq5_connect){.version = 5, .keep_alive_s = 60, .client_id = span_text(id)};
    packet.connect.properties.present = MQ5_BIT(MQ5_SESSION_EXPIRY_INTERVAL);
    packet.connect.properties.session_expiry_s = 3600;
    cloud_broker_input(broker, connection, 0, bytes, encode(&packet, bytes, sizeof(bytes)));
    struct mq5_subscription subscription = {.filter = span_text(filter), .qos = 1};
    memset(&packet, 0, sizeof(packet));
    packet.type = MQ5_SUBSCRIBE;
    packet.subscribe = (struct mq5_subscribe){.packet_id = 1, .list = &subscription, .count = 1};
    cloud_broker_input(broker, connection, 0, bytes, encode(&packet, bytes, sizeof(bytes)));
    return connection;
}

static size_t telemetry(uint8_t *bytes, size_t capacity, uint32_t number, uint8_t qos)
{
    char topic[64];
    uint8_t payload[120];
    snprintf(topic, sizeof(topic), "dt/1CVSIM00000%06u/telemetry", number);
    memset(payload, 'x', sizeof(payload));
    struct mq5_packet packet = {.type = MQ5_PUBLISH};
    packet.publish = (struct mq5_publish){
        .qos = qos, .packet_id = qos ? 7 : 0, .topic = span_text(topic), .payload = span_of(payload, sizeof(payload))};
    return encode(&packet, bytes, capacity);
}

/* QoS 1 from vehicles in turn to one shared service. */
static double ingest(struct cloud_broker *broker, struct cloud_connection **vehicles, uint32_t sessions,
                     uint64_t messages)
{
    uint32_t distinct = sessions < 4096 ? sessions : 4096;
    uint8_t(*packets)[256] = malloc(distinct * sizeof(*packets));
    size_t length = 0;
    for (uint32_t i = 0; i < distinct; i++)
        length = telemetry(packets[i], sizeof(*packets), i * (sessions / distinct), 1);
    double start = seconds();
    for (uint64_t i = 0; i < messages; i++) {
        uint32_t which = (uint32_t)(i % distinct);
        cloud_broker_input(broker, vehicles[which * (sessions / distinct)], 1000 + (int64_t)i, packets[which], length);
    }
    double taken = seconds() - start;
    free(packets);
    return taken;
}

/* Commands: from a service to one vehicle at QoS 1, acknowledged. */
static double command(struct cloud_broker *broker, struct cloud_local *service, struct cloud_connection **vehicles,
                      uint32_t sessions, uint64_t messages)
{
    char topic[64];
    double start = seconds();
    for (uint64_t i = 0; i < messages; i++) {
        uint32_t which = (uint32_t)(i * 7919 % sessions);
        uint16_t id = (uint16_t)(i / sessions + 1);
        uint8_t ack[4] = {0x40, 2, (uint8_t)(id >> 8), (uint8_t)id};
        int length = snprintf(topic, sizeof(topic), "cmd/1CVSIM00000%06u/request", which);
        struct mq5_publish publish = {
            .qos = 1, .topic = span_of(topic, (size_t)length), .payload = SPAN_LITERAL("unlock")};
        cloud_local_publish(service, 1000, &publish);
        cloud_broker_input(broker, vehicles[which], 1000, ack, sizeof(ack));
    }
    return seconds() - start;
}

static void subscribe_all(struct cloud_broker *broker, struct cloud_connection **vehicles, uint32_t count)
{
    uint8_t bytes[64];
    struct mq5_subscription subscription = {.filter = SPAN_LITERAL("all/news"), .qos = 0};
    struct mq5_packet packet = {.type = MQ5_SUBSCRIBE};
    packet.subscribe = (struct mq5_subscribe){.packet_id = 2, .list = &subscription, .count = 1};
    size_t length = encode(&packet, bytes, sizeof(bytes));
    for (uint32_t i = 0; i < count; i++)
        cloud_broker_input(broker, vehicles[i], 0, bytes, length);
}

static double fan_out(struct cloud_local *service, uint32_t rounds)
{
    struct mq5_publish publish = {.topic = SPAN_LITERAL("all/news"), .payload = SPAN_LITERAL("there is an update")};
    double start = seconds();
    for (uint32_t i = 0; i < rounds; i++)
        cloud_local_publish(service, 1000, &publish);
    return seconds() - start;
}

static uint64_t argument(int argc, char **argv, const char *name, uint64_t otherwise)
{
    for (int i = 1; i + 1 < argc; i++)
        if (strcmp(argv[i], name) == 0)
            return strtoull(argv[i + 1], NULL, 10);
    return otherwise;
}

int main(int argc, char **argv)
{
    uint32_t sessions = (uint32_t)argument(argc, argv, "--sessions", 65536);
    uint64_t messages = argument(argc, argv, "--messages", 5000000);
    if (sessions == 0 || messages == 0) {
        fprintf(stderr, "usage: bench_broker [--sessions N] [--messages N]\n");
        return 2;
    }
    struct cloud_broker_options options;
    struct cloud_broker_counts counts;
    cloud_broker_defaults(&options);
    struct cloud_broker *broker = cloud_broker_create(&options, &ops, NULL, 1);
    struct cloud_connection **vehicles = calloc(sessions, sizeof(*vehicles));
    struct cloud_local *sink = cloud_broker_attach(broker, SPAN_LITERAL("sink"), count_delivery, NULL);
    cloud_local_subscribe(sink, 0, SPAN_LITERAL("$share/sink/dt/+/telemetry"), 1);
    size_t resident = resident_bytes();
    double start = seconds();
    for (uint32_t i = 0; i < sessions; i++)
        vehicles[i] = join(broker, i);
    double joined = seconds() - start;
    resident = resident_bytes() - resident;
    cloud_broker_count(broker, &counts);
    double bytes_per_session = (double)counts.memory_bytes / sessions;
    double ingested = ingest(broker, vehicles, sessions, messages);
    double commanded = command(broker, sink, vehicles, sessions, messages / 4 + 1);
    subscribe_all(broker, vehicles, sessions);
    uint32_t rounds = (uint32_t)(messages / sessions + 1);
    double fanned = fan_out(sink, rounds);
    printf("{\"bench\": \"broker\", \"sessions\": %u, \"messages\": %llu,\n", sessions, (unsigned long long)messages);
    printf(" \"bytes_per_session\": %.1f, \"resident_bytes_per_session\": %.1f, \"connect_subscribe_us\": %.3f,\n",
           bytes_per_session, (double)resident / sessions, joined / sessions * 1e6);
    printf(" \"qos1_ingest_ns\": %.1f, \"qos1_ingest_per_s\": %.0f, \"delivered\": %llu,\n",
           ingested / (double)messages * 1e9, (double)messages / ingested, (unsigned long long)delivered);
    printf(" \"qos1_command_ns\": %.1f, \"fan_out_ns\": %.1f, \"packets_sent\": %llu, \"bytes_sent\": %llu}\n",
           commanded / (double)(messages / 4 + 1) * 1e9, fanned / ((double)rounds * sessions) * 1e9,
           (unsigned long long)packets_sent, (unsigned long long)bytes_sent);
    cloud_broker_destroy(broker);
    free(vehicles);
    return 0;
}
