/* describe.c: one line for a trace. Bytes that do not print are shown as '?'. */
#include "wire.h"

#include <stdarg.h>
#include <stdio.h>

struct line {
    char *out;
    size_t capacity, length;
};

__attribute__((format(printf, 2, 3))) static void put(struct line *line, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(line->out + line->length, line->capacity - line->length, format, arguments);
    va_end(arguments);
    line->length += (size_t)length;
    if (line->length >= line->capacity)
        line->length = line->capacity - 1;
}

static void put_text(struct line *line, const char *label, struct span text)
{
    put(line, "%s", label);
    for (uint32_t i = 0; i < text.length && i < 128; i++)
        put(line, "%c", text.data[i] >= 0x20 && text.data[i] < 0x7F ? text.data[i] : '?');
    if (text.length > 128)
        put(line, "...");
}

static void put_reason(struct line *line, uint8_t reason)
{
    put(line, " 0x%02X %s", reason, mq5_reason_name(reason));
}

static void put_connect(struct line *line, const struct mq5_connect *connect)
{
    put_text(line, connect->version < MQ5_V5 ? " v3.1.1 id=" : " v5 id=", connect->client_id);
    put(line, "%s keep=%us", connect->clean_start ? " clean" : "", connect->keep_alive_s);
    if (connect->has_user_name)
        put_text(line, " user=", connect->user_name);
    if (connect->has_password)
        put(line, " password");
    if (connect->has_will) {
        put_text(line, " will=", connect->will_topic);
        put(line, " q%u%s %u B", connect->will_qos, connect->will_retain ? " retain" : "",
            (unsigned)connect->will_payload.length);
    }
}

static void put_publish(struct line *line, const struct mq5_publish *publish)
{
    put(line, " q%u%s%s", publish->qos, publish->dup ? " dup" : "", publish->retain ? " retain" : "");
    if (publish->qos)
        put(line, " id=%u", publish->packet_id);
    put_text(line, " topic=", publish->topic);
    if (publish->properties.present & MQ5_BIT(MQ5_TOPIC_ALIAS))
        put(line, " alias=%u", publish->properties.topic_alias);
    put(line, " %u B", (unsigned)publish->payload.length);
}

static void put_filters(struct line *line, const struct mq5_packet *packet, enum mq5_version version)
{
    struct mq5_subscription subscription;
    put(line, " id=%u", packet->subscribe.packet_id);
    for (uint32_t offset = 0;
         mq5_subscription_next(&packet->subscribe, packet->type, version, &offset, &subscription);) {
        put_text(line, " ", subscription.filter);
        if (packet->type == MQ5_SUBSCRIBE)
            put(line, " q%u", subscription.qos);
    }
}

static void put_suback(struct line *line, const struct mq5_suback *suback)
{
    put(line, " id=%u", suback->packet_id);
    for (uint32_t i = 0; i < suback->reasons.length; i++)
        put(line, " 0x%02X", suback->reasons.data[i]);
}

static void put_properties(struct line *line, uint64_t present)
{
    for (const char *separator = " ["; present; present &= present - 1, separator = ", ")
        put(line, "%s%s", separator, mq5_property_name((uint8_t)__builtin_ctzll(present)));
}

static const struct mq5_properties *put_fields(struct line *line, enum mq5_version version,
                                               const struct mq5_packet *packet)
{
    switch (packet->type) {
    case MQ5_CONNECT: put_connect(line, &packet->connect); return &packet->connect.properties;
    case MQ5_CONNACK:
        put(line, "%s", packet->connack.session_present ? " session" : "");
        put_reason(line, packet->connack.reason);
        return &packet->connack.properties;
    case MQ5_PUBLISH: put_publish(line, &packet->publish); return &packet->publish.properties;
    case MQ5_PUBACK:
    case MQ5_PUBREC:
    case MQ5_PUBREL:
    case MQ5_PUBCOMP:
        put(line, " id=%u", packet->ack.packet_id);
        put_reason(line, packet->ack.reason);
        return &packet->ack.properties;
    case MQ5_SUBSCRIBE:
    case MQ5_UNSUBSCRIBE: put_filters(line, packet, version); return &packet->subscribe.properties;
    case MQ5_SUBACK:
    case MQ5_UNSUBACK: put_suback(line, &packet->suback); return &packet->suback.properties;
    case MQ5_DISCONNECT:
    case MQ5_AUTH: put_reason(line, packet->disconnect.reason); return &packet->disconnect.properties;
    default: return NULL;
    }
}

size_t mq5_describe(enum mq5_version version, const struct mq5_packet *packet, char *out, size_t capacity)
{
    struct line line = {out, capacity, 0};
    if (capacity == 0)
        return 0;
    put(&line, "%s", mq5_type_name(packet->type));
    const struct mq5_properties *properties = put_fields(&line, version, packet);
    if (properties && properties->present) {
        put_properties(&line, properties->present);
        put(&line, "]");
    }
    return line.length;
}
