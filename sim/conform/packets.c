/* packets.c: every packet of a run, as it was decoded, a line of JSON each; beside trace.pcapng, so that any other dissector can be held against ours.
 *
 * {"connection":7,"from":"client","t_us":5120,"check":"B-CONN-003","version":5,"type":3,"flags":2,"length":31,"sent":true,"legal":true,
 *  "qos":1,"dup":false,"retain":false,"packet_id":1,"topic":"6d63352f","properties":[2,38],"text":"PUBLISH q1 ...","hex":"321d..."}
 * `connection` is the number in trace.pcapng (capture.c). Topics, filters and client ids are hex: they need not be text. What is no legal packet has
 * "legal":false, "status", "why" and "ref" instead of its fields.
 */
#include "internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

struct packets {
    FILE *file;
    pthread_mutex_t lock;
};

struct packets *packets_open(const char *path, char *error, size_t error_capacity)
{
    struct packets *packets = calloc(1, sizeof(*packets));
    if (packets)
        packets->file = fopen(path, "w");
    if (!packets || !packets->file) {
        snprintf(error, error_capacity, "%s: %s", path, strerror(errno));
        free(packets);
        return NULL;
    }
    pthread_mutex_init(&packets->lock, NULL);
    return packets;
}

bool packets_close(struct packets *packets)
{
    if (!packets)
        return true;
    bool whole = !ferror(packets->file);
    if (fclose(packets->file) != 0)
        whole = false;
    pthread_mutex_destroy(&packets->lock);
    free(packets);
    return whole;
}

static void put_hex(FILE *file, const char *name, struct span bytes)
{
    fprintf(file, ",\"%s\":\"", name);
    for (uint32_t i = 0; i < bytes.length; i++)
        fprintf(file, "%02x", bytes.data[i]);
    fputc('"', file);
}

static void put_text(FILE *file, const char *name, const char *text)
{
    fprintf(file, ",\"%s\":\"", name);
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            fputc('\\', file);
        fputc(*text >= ' ' && *text <= '~' ? *text : '.', file);
    }
    fputc('"', file);
}

static void put_properties(FILE *file, const char *name, const struct mq5_properties *properties)
{
    const char *between = "";
    fprintf(file, ",\"%s\":[", name);
    for (uint32_t id = 1; id <= MQ5_SHARED_SUBSCRIPTION_AVAILABLE; id++)
        if (properties->present & MQ5_BIT(id)) {
            fprintf(file, "%s%u", between, id);
            between = ",";
        }
    fputc(']', file);
}

static void put_connect(FILE *file, const struct mq5_connect *connect)
{
    fprintf(file, ",\"clean_start\":%s,\"keep_alive_s\":%u", connect->clean_start ? "true" : "false",
            connect->keep_alive_s);
    put_hex(file, "client_id", connect->client_id);
    put_properties(file, "properties", &connect->properties);
    if (!connect->has_will)
        return;
    fprintf(file, ",\"will_qos\":%u,\"will_retain\":%s", connect->will_qos, connect->will_retain ? "true" : "false");
    put_hex(file, "will_topic", connect->will_topic);
    put_properties(file, "will_properties", &connect->will_properties);
}

static void put_filters(FILE *file, enum mq5_version version, const struct mq5_packet *packet)
{
    struct mq5_subscription each;
    uint32_t offset = 0, count = 0;
    fprintf(file, ",\"packet_id\":%u,\"filters\":[", packet->subscribe.packet_id);
    while (mq5_subscription_next(&packet->subscribe, (enum mq5_type)packet->type, version, &offset, &each)) {
        fprintf(file, "%s{\"qos\":%u,\"no_local\":%d,\"as_published\":%d,\"handling\":%u", count++ ? "," : "", each.qos,
                each.no_local, each.retain_as_published, each.retain_handling);
        put_hex(file, "filter", each.filter);
        fputc('}', file);
    }
    fputc(']', file);
    put_properties(file, "properties", &packet->subscribe.properties);
}

static void put_reasons(FILE *file, const struct mq5_suback *suback)
{
    fprintf(file, ",\"packet_id\":%u,\"reasons\":[", suback->packet_id);
    for (uint32_t i = 0; i < suback->reasons.length; i++)
        fprintf(file, "%s%u", i ? "," : "", suback->reasons.data[i]);
    fputc(']', file);
    put_properties(file, "properties", &suback->properties);
}

static void put_fields(FILE *file, enum mq5_version version, const struct mq5_packet *packet)
{
    const struct mq5_publish *publish = &packet->publish;
    switch (packet->type) {
    case MQ5_CONNECT: put_connect(file, &packet->connect); return;
    case MQ5_CONNACK:
        fprintf(file, ",\"session_present\":%s,\"reasons\":[%u]", packet->connack.session_present ? "true" : "false",
                packet->connack.reason);
        put_properties(file, "properties", &packet->connack.properties);
        return;
    case MQ5_PUBLISH:
        fprintf(file, ",\"qos\":%u,\"dup\":%s,\"retain\":%s,\"payload_length\":%u", publish->qos,
                publish->dup ? "true" : "false", publish->retain ? "true" : "false", publish->payload.length);
        if (publish->qos)
            fprintf(file, ",\"packet_id\":%u", publish->packet_id);
        put_hex(file, "topic", publish->topic);
        put_properties(file, "properties", &publish->properties);
        return;
    case MQ5_PUBACK:
    case MQ5_PUBREC:
    case MQ5_PUBREL:
    case MQ5_PUBCOMP:
        fprintf(file, ",\"packet_id\":%u,\"reasons\":[%u]", packet->ack.packet_id, packet->ack.reason);
        put_properties(file, "properties", &packet->ack.properties);
        return;
    case MQ5_SUBSCRIBE:
    case MQ5_UNSUBSCRIBE: put_filters(file, version, packet); return;
    case MQ5_SUBACK:
    case MQ5_UNSUBACK: put_reasons(file, &packet->suback); return;
    case MQ5_DISCONNECT:
    case MQ5_AUTH:
        fprintf(file, ",\"reasons\":[%u]", packet->disconnect.reason);
        put_properties(file, "properties", &packet->disconnect.properties);
        return;
    default: return;
    }
}

void packets_add(struct packets *packets, const struct wire *wire, enum conform_direction direction, struct span bytes,
                 const struct mq5_packet *decoded, const struct mq5_error *error, const char *text)
{
    static const char *const statuses[] = {"ok", "more", "malformed", "protocol", "too large", "no space", "illegal"};
    bool out = direction == CONFORM_OUT;
    bool sent = !out || (wire->transport && !wire->ended && !wire->half_closed);
    uint8_t first = bytes.length ? bytes.data[0] : 0;
    pthread_mutex_lock(&packets->lock);
    FILE *file = packets->file;
    fprintf(file, "{\"connection\":%u,\"from\":\"%s\",\"t_us\":%lld", wire->connection, out ? "client" : "server",
            (long long)(clock_now_us() - wire->probe->suite->began_us));
    put_text(file, "check", wire->probe->result->id[0] ? wire->probe->result->id : "discovery");
    fprintf(file, ",\"version\":%u,\"type\":%u,\"flags\":%u,\"length\":%u,\"sent\":%s,\"legal\":%s",
            decoded && decoded->type == MQ5_CONNECT ? decoded->connect.version : wire->version, first >> 4, first & 15,
            bytes.length, sent ? "true" : "false", decoded ? "true" : "false");
    if (decoded) {
        put_fields(file, wire->version, decoded);
    } else {
        put_text(file, "status", statuses[error->status]);
        put_text(file, "why", error->what ? error->what : "");
        put_text(file, "ref", error->ref ? error->ref : "");
    }
    put_text(file, "text", text);
    put_hex(file, "hex", bytes);
    fputs("}\n", file);
    pthread_mutex_unlock(&packets->lock);
}
