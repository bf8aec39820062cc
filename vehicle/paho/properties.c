/* properties.c: a message's properties to and from Paho's lists. */
#include "paho_properties.h"

static uint8_t *put_string(uint8_t *out, const MQTTLenString *text)
{
    *out++ = (uint8_t)(text->len >> 8);
    *out++ = (uint8_t)text->len;
    memcpy(out, text->data, (size_t)text->len);
    return out + text->len;
}

static uint8_t *put_variable(uint8_t *out, uint32_t value)
{
    for (; value >= 0x80; value >>= 7)
        *out++ = (uint8_t)(value | 0x80);
    *out++ = (uint8_t)value;
    return out;
}

size_t paho_properties_bytes(const MQTTProperties *from)
{
    size_t bytes = 0;
    for (int i = 0; i < from->count; i++) {
        const MQTTProperty *at = &from->array[i];
        switch (MQTTProperty_getType(at->identifier)) {
        case MQTTPROPERTY_TYPE_UTF_8_STRING_PAIR:
            bytes += 5 + (size_t)at->value.data.len + (size_t)at->value.value.len;
            break;
        case MQTTPROPERTY_TYPE_UTF_8_ENCODED_STRING:
        case MQTTPROPERTY_TYPE_BINARY_DATA: bytes += (size_t)at->value.data.len; break;
        default: bytes += 5; break;
        }
    }
    return bytes;
}

static struct span copy_string(uint8_t **out, const MQTTLenString *text)
{
    uint8_t *at = *out;
    memcpy(at, text->data, (size_t)text->len);
    *out += text->len;
    return span_of(at, (size_t)text->len);
}

static void property_in(struct mq5_properties *to, const MQTTProperty *from, uint8_t **copy)
{
    switch (from->identifier) {
    case MQTTPROPERTY_CODE_PAYLOAD_FORMAT_INDICATOR: to->payload_format = from->value.byte; break;
    case MQTTPROPERTY_CODE_MESSAGE_EXPIRY_INTERVAL: to->message_expiry_s = from->value.integer4; break;
    case MQTTPROPERTY_CODE_CONTENT_TYPE: to->content_type = copy_string(copy, &from->value.data); break;
    case MQTTPROPERTY_CODE_RESPONSE_TOPIC: to->response_topic = copy_string(copy, &from->value.data); break;
    case MQTTPROPERTY_CODE_CORRELATION_DATA: to->correlation_data = copy_string(copy, &from->value.data); break;
    case MQTTPROPERTY_CODE_USER_PROPERTY:
    case MQTTPROPERTY_CODE_SUBSCRIPTION_IDENTIFIER: break; /* repeatable: in the block */
    default: return;                                       /* not a message's */
    }
    to->present |= MQ5_BIT(from->identifier);
}

void paho_properties_in(struct mq5_properties *to, const MQTTProperties *from, uint8_t *copy)
{
    for (int i = 0; i < from->count; i++)
        property_in(to, &from->array[i], &copy);
    uint8_t *block = copy;
    for (int i = 0; i < from->count; i++) {
        const MQTTProperty *at = &from->array[i];
        if (at->identifier == MQTTPROPERTY_CODE_USER_PROPERTY) {
            *copy++ = MQ5_USER_PROPERTY;
            copy = put_string(put_string(copy, &at->value.data), &at->value.value);
        } else if (at->identifier == MQTTPROPERTY_CODE_SUBSCRIPTION_IDENTIFIER) {
            *copy++ = MQ5_SUBSCRIPTION_IDENTIFIER;
            copy = put_variable(copy, at->value.integer4);
        }
    }
    to->encoded = span_of(block, (size_t)(copy - block));
}

static MQTTLenString borrow(struct span text)
{
    return (MQTTLenString){(int)text.length, (char *)(uintptr_t)text.data};
}

static void add_string(MQTTProperties *to, enum MQTTPropertyCodes identifier, struct span text)
{
    MQTTProperty property = {.identifier = identifier};
    property.value.data = borrow(text);
    MQTTProperties_add(to, &property);
}

static void add_user(MQTTProperties *to, const struct mq5_user_property *user)
{
    MQTTProperty property = {.identifier = MQTTPROPERTY_CODE_USER_PROPERTY};
    property.value.data = borrow(user->name);
    property.value.value = borrow(user->value);
    MQTTProperties_add(to, &property);
}

void paho_property_add(MQTTProperties *to, enum MQTTPropertyCodes identifier, uint32_t value)
{
    MQTTProperty property = {.identifier = identifier};
    switch (MQTTProperty_getType(identifier)) {
    case MQTTPROPERTY_TYPE_BYTE: property.value.byte = (unsigned char)value; break;
    case MQTTPROPERTY_TYPE_TWO_BYTE_INTEGER: property.value.integer2 = (unsigned short)value; break;
    default: property.value.integer4 = value; break;
    }
    MQTTProperties_add(to, &property);
}

void paho_properties_out(MQTTProperties *to, const struct mq5_properties *from)
{
    struct mq5_user_property user;
    uint32_t offset = 0;
    if (from->present & MQ5_BIT(MQ5_PAYLOAD_FORMAT_INDICATOR))
        paho_property_add(to, MQTTPROPERTY_CODE_PAYLOAD_FORMAT_INDICATOR, from->payload_format);
    if (from->present & MQ5_BIT(MQ5_MESSAGE_EXPIRY_INTERVAL))
        paho_property_add(to, MQTTPROPERTY_CODE_MESSAGE_EXPIRY_INTERVAL, from->message_expiry_s);
    if (from->present & MQ5_BIT(MQ5_WILL_DELAY_INTERVAL))
        paho_property_add(to, MQTTPROPERTY_CODE_WILL_DELAY_INTERVAL, from->will_delay_s);
    if (from->present & MQ5_BIT(MQ5_CONTENT_TYPE))
        add_string(to, MQTTPROPERTY_CODE_CONTENT_TYPE, from->content_type);
    if (from->present & MQ5_BIT(MQ5_RESPONSE_TOPIC))
        add_string(to, MQTTPROPERTY_CODE_RESPONSE_TOPIC, from->response_topic);
    if (from->present & MQ5_BIT(MQ5_CORRELATION_DATA))
        add_string(to, MQTTPROPERTY_CODE_CORRELATION_DATA, from->correlation_data);
    for (uint16_t i = 0; i < from->user_count; i++)
        add_user(to, &from->user[i]);
    while ((from->present & MQ5_BIT(MQ5_USER_PROPERTY)) && mq5_user_property_next(from->encoded, &offset, &user))
        add_user(to, &user);
}
