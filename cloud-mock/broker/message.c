/* message.c: a message kept for later, stored once however many wait for it. */
#include "internal.h"

/* Copies user properties only (2.2.2.2: kept in order); with at == NULL counts them. */
static uint32_t put_pair(uint8_t *at, const struct mq5_user_property *pair)
{
    if (at) {
        *at++ = MQ5_USER_PROPERTY;
        *at++ = (uint8_t)(pair->name.length >> 8);
        *at++ = (uint8_t)pair->name.length;
        if (pair->name.length)
            memcpy(at, pair->name.data, pair->name.length);
        at += pair->name.length;
        *at++ = (uint8_t)(pair->value.length >> 8);
        *at++ = (uint8_t)pair->value.length;
        if (pair->value.length)
            memcpy(at, pair->value.data, pair->value.length);
    }
    return 5 + pair->name.length + pair->value.length;
}

static uint32_t put_user(uint8_t *at, const struct mq5_properties *properties)
{
    uint32_t length = 0;
    for (uint32_t i = 0; i < properties->user_count; i++)
        length += put_pair(at ? at + length : NULL, &properties->user[i]);
    struct mq5_user_property pair;
    if (properties->present & MQ5_BIT(MQ5_USER_PROPERTY))
        for (uint32_t offset = 0; mq5_user_property_next(properties->encoded, &offset, &pair);)
            length += put_pair(at ? at + length : NULL, &pair);
    return length;
}

static struct span if_present(const struct mq5_properties *properties, int property, struct span value)
{
    return properties->present & MQ5_BIT(property) ? value : (struct span){NULL, 0};
}

static uint8_t *put(uint8_t *at, struct span bytes)
{
    if (bytes.length)
        memcpy(at, bytes.data, bytes.length);
    return at + bytes.length;
}

static uint8_t kept_bits(const struct mq5_properties *properties)
{
    uint8_t bits = 0;
    if (properties->present & MQ5_BIT(MQ5_PAYLOAD_FORMAT_INDICATOR))
        bits |= MESSAGE_FORMAT;
    if (properties->present & MQ5_BIT(MQ5_MESSAGE_EXPIRY_INTERVAL))
        bits |= MESSAGE_EXPIRY;
    if (properties->present & MQ5_BIT(MQ5_CONTENT_TYPE))
        bits |= MESSAGE_CONTENT_TYPE;
    if (properties->present & MQ5_BIT(MQ5_RESPONSE_TOPIC))
        bits |= MESSAGE_RESPONSE;
    if (properties->present & MQ5_BIT(MQ5_CORRELATION_DATA))
        bits |= MESSAGE_CORRELATION;
    return bits;
}

struct message *broker_message_create(struct cloud_broker *broker, int64_t now_us, const struct mq5_publish *publish)
{
    const struct mq5_properties *properties = &publish->properties;
    struct span content = if_present(properties, MQ5_CONTENT_TYPE, properties->content_type);
    struct span response = if_present(properties, MQ5_RESPONSE_TOPIC, properties->response_topic);
    struct span correlation = if_present(properties, MQ5_CORRELATION_DATA, properties->correlation_data);
    uint32_t user = put_user(NULL, properties);
    size_t size = sizeof(struct message) + publish->topic.length + publish->payload.length + content.length +
                  response.length + correlation.length + user;
    struct message *message = broker_memory_get(broker, size);
    if (!message)
        return NULL;
    *message = (struct message){.references = 1,
                                .size = (uint32_t)size,
                                .published_us = now_us,
                                .expiry_s = properties->message_expiry_s,
                                .payload_length = publish->payload.length,
                                .user_length = user,
                                .topic_length = (uint16_t)publish->topic.length,
                                .content_type_length = (uint16_t)content.length,
                                .response_topic_length = (uint16_t)response.length,
                                .correlation_length = (uint16_t)correlation.length,
                                .present = kept_bits(properties),
                                .payload_format = properties->payload_format,
                                .qos = publish->qos,
                                .retain = publish->retain};
    uint8_t *at = put(put(message->bytes, publish->topic), publish->payload);
    at = put(put(put(at, content), response), correlation);
    put_user(at, properties);
    return message;
}

void broker_message_release(struct cloud_broker *broker, struct message *message)
{
    if (message && --message->references == 0)
        broker_memory_put(broker, message, message->size);
}

int64_t broker_message_expires_us(const struct message *message)
{
    if (!(message->present & MESSAGE_EXPIRY))
        return TIME_NEVER;
    return message->published_us + (int64_t)message->expiry_s * US_PER_S;
}

static struct span take(const uint8_t **at, uint32_t length)
{
    struct span span = {*at, length};
    *at += length;
    return span;
}

/* 3.3.2-6: what was received minus the time it has waited here. */
static uint32_t remaining_s(const struct message *message, int64_t now_us)
{
    int64_t waited_s = (now_us - message->published_us) / US_PER_S;
    return waited_s >= (int64_t)message->expiry_s ? 0 : message->expiry_s - (uint32_t)waited_s;
}

void broker_message_view(const struct message *message, int64_t now_us, struct mq5_publish *out)
{
    static const uint8_t property_of[] = {MQ5_PAYLOAD_FORMAT_INDICATOR, MQ5_MESSAGE_EXPIRY_INTERVAL, MQ5_CONTENT_TYPE,
                                          MQ5_RESPONSE_TOPIC, MQ5_CORRELATION_DATA};
    const uint8_t *at = message->bytes;
    *out = (struct mq5_publish){.qos = message->qos, .retain = message->retain};
    out->topic = take(&at, message->topic_length);
    out->payload = take(&at, message->payload_length);
    struct mq5_properties *properties = &out->properties;
    for (size_t i = 0; i < sizeof(property_of); i++)
        if (message->present >> i & 1)
            properties->present |= MQ5_BIT(property_of[i]);
    properties->payload_format = message->payload_format;
    if (message->present & MESSAGE_EXPIRY)
        properties->message_expiry_s = remaining_s(message, now_us);
    properties->content_type = take(&at, message->content_type_length);
    properties->response_topic = take(&at, message->response_topic_length);
    properties->correlation_data = take(&at, message->correlation_length);
    properties->encoded = take(&at, message->user_length);
    if (message->user_length)
        properties->present |= MQ5_BIT(MQ5_USER_PROPERTY);
}
