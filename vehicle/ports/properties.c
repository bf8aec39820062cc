/* properties.c: MQTT 5 properties of messages to and from Paho's. */
#include "ports_internal.h"

static uint8_t *put_string(uint8_t *out, const MQTTLenString *text)
{
    *out++ = (uint8_t)(text->len >> 8);
    *out++ = (uint8_t)text->len;
    memcpy(out, text->data, (size_t)text->len);
    return out + text->len;
}

size_t ports_properties_bytes(const MQTTProperties *from)
{
    size_t bytes = 0;
    for (int i = 0; i < from->count; i++) {
        const MQTTProperty *at = &from->array[i];
        int type = MQTTProperty_getType(at->identifier);
        if (type == MQTTPROPERTY_TYPE_UTF_8_STRING_PAIR)
            bytes += 5 + (size_t)at->value.data.len + (size_t)at->value.value.len;
        else if (type == MQTTPROPERTY_TYPE_UTF_8_ENCODED_STRING || type == MQTTPROPERTY_TYPE_BINARY_DATA)
            bytes += (size_t)at->value.data.len;
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
    case MQTTPROPERTY_CODE_USER_PROPERTY: break; /* repeatable: in the block */
    default: return; /* the agent subscribes without identifiers; the rest is not a message's */
    }
    to->present |= MQ5_BIT(from->identifier);
}

void ports_properties_in(struct mq5_properties *to, const MQTTProperties *from, uint8_t *copy)
{
    for (int i = 0; i < from->count; i++)
        property_in(to, &from->array[i], &copy);
    uint8_t *block = copy;
    for (int i = 0; i < from->count; i++)
        if (from->array[i].identifier == MQTTPROPERTY_CODE_USER_PROPERTY) {
            *copy++ = MQ5_USER_PROPERTY;
            copy = put_string(put_string(copy, &from->array[i].value.data), &from->array[i].value.value);
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

void ports_property_add(MQTTProperties *to, enum MQTTPropertyCodes identifier, uint32_t value)
{
    MQTTProperty property = {.identifier = identifier};
    switch (MQTTProperty_getType(identifier)) {
    case MQTTPROPERTY_TYPE_BYTE: property.value.byte = (unsigned char)value; break;
    case MQTTPROPERTY_TYPE_TWO_BYTE_INTEGER: property.value.integer2 = (unsigned short)value; break;
    default: property.value.integer4 = value; break;
    }
    MQTTProperties_add(to, &property);
}

void ports_properties_out(MQTTProperties *to, const struct mq5_properties *from)
{
    if (from->present & MQ5_BIT(MQ5_PAYLOAD_FORMAT_INDICATOR))
        ports_property_add(to, MQTTPROPERTY_CODE_PAYLOAD_FORMAT_INDICATOR, from->payload_format);
    if (from->present & MQ5_BIT(MQ5_MESSAGE_EXPIRY_INTERVAL))
        ports_property_add(to, MQTTPROPERTY_CODE_MESSAGE_EXPIRY_INTERVAL, from->message_expiry_s);
    if (from->present & MQ5_BIT(MQ5_WILL_DELAY_INTERVAL))
        ports_property_add(to, MQTTPROPERTY_CODE_WILL_DELAY_INTERVAL, from->will_delay_s);
    if (from->present & MQ5_BIT(MQ5_CONTENT_TYPE))
        add_string(to, MQTTPROPERTY_CODE_CONTENT_TYPE, from->content_type);
    if (from->present & MQ5_BIT(MQ5_RESPONSE_TOPIC))
        add_string(to, MQTTPROPERTY_CODE_RESPONSE_TOPIC, from->response_topic);
    if (from->present & MQ5_BIT(MQ5_CORRELATION_DATA))
        add_string(to, MQTTPROPERTY_CODE_CORRELATION_DATA, from->correlation_data);
    for (uint16_t i = 0; i < from->user_count; i++) {
        MQTTProperty property = {.identifier = MQTTPROPERTY_CODE_USER_PROPERTY};
        property.value.data = borrow(from->user[i].name);
        property.value.value = borrow(from->user[i].value);
        MQTTProperties_add(to, &property);
    }
}
