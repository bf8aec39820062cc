/* packet_json.h: a packet's fields as one line of JSON, for vectors and for the comparison with another codec.
 *
 * Fixed order, everything written out, empty property sets left out; binary as hex, texts as they are.
 * Property names are those of mqtt-packet, so that the comparison needs no table.
 */
#ifndef TESTS_PACKET_JSON_H
#define TESTS_PACKET_JSON_H

#include "mqtt5/packet.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

struct json {
    char *text;
    size_t length, capacity;
};

__attribute__((format(printf, 2, 3))) static inline void json_put(struct json *json, const char *format, ...)
{
    va_list arguments;
    char piece[160];
    va_start(arguments, format);
    size_t length = (size_t)vsnprintf(piece, sizeof(piece), format, arguments);
    va_end(arguments);
    if (json->length + length + 1 > json->capacity) {
        json->capacity = (json->length + length + 1) * 2;
        json->text = realloc(json->text, json->capacity);
    }
    memcpy(json->text + json->length, piece, length + 1);
    json->length += length;
}

static inline void json_text(struct json *json, struct span text)
{
    json_put(json, "\"");
    for (uint32_t i = 0; i < text.length; i++) {
        uint8_t c = text.data[i];
        if (c == '"' || c == '\\')
            json_put(json, "\\%c", c);
        else if (c == '\t')
            json_put(json, "\\t");
        else if (c == '\n')
            json_put(json, "\\n");
        else if (c < 0x20)
            json_put(json, "\\u%04x", c);
        else
            json_put(json, "%c", c);
    }
    json_put(json, "\"");
}

static inline void json_hex(struct json *json, struct span bytes)
{
    json_put(json, "\"");
    for (uint32_t i = 0; i < bytes.length; i++)
        json_put(json, "%02x", bytes.data[i]);
    json_put(json, "\"");
}

static inline void json_pair(struct json *json, const struct mq5_user_property *pair, bool first)
{
    json_put(json, first ? "[" : ",[");
    json_text(json, pair->name);
    json_put(json, ",");
    json_text(json, pair->value);
    json_put(json, "]");
}

static inline void json_user_properties(struct json *json, const struct mq5_properties *p)
{
    struct mq5_user_property pair;
    bool first = true;
    json_put(json, "\"userProperties\":[");
    for (uint32_t i = 0; i < p->user_count; i++, first = false)
        json_pair(json, &p->user[i], first);
    if (p->present & MQ5_BIT(MQ5_USER_PROPERTY))
        for (uint32_t offset = 0; mq5_user_property_next(p->encoded, &offset, &pair); first = false)
            json_pair(json, &pair, first);
    json_put(json, "]");
}

static inline void json_subscription_ids(struct json *json, const struct mq5_properties *p)
{
    uint32_t id;
    const char *separator = "";
    json_put(json, "\"subscriptionIdentifiers\":[");
    for (uint32_t i = 0; i < p->subscription_id_count; i++, separator = ",")
        json_put(json, "%s%u", separator, p->subscription_ids[i]);
    for (uint32_t offset = 0; mq5_subscription_id_next(p->encoded, &offset, &id); separator = ",")
        json_put(json, "%s%u", separator, id);
    json_put(json, "]");
}

static inline void json_property(struct json *json, const struct mq5_properties *p, int id)
{
#define NUMBER(key, field)                                                                                             \
    json_put(json, "\"" key "\":%u", (unsigned)p->field);                                                              \
    break
#define TEXT(key, field)                                                                                               \
    json_put(json, "\"" key "\":");                                                                                    \
    json_text(json, p->field);                                                                                         \
    break
#define BINARY(key, field)                                                                                             \
    json_put(json, "\"" key "\":");                                                                                    \
    json_hex(json, p->field);                                                                                          \
    break
    switch (id) {
    case MQ5_PAYLOAD_FORMAT_INDICATOR: NUMBER("payloadFormatIndicator", payload_format);
    case MQ5_MESSAGE_EXPIRY_INTERVAL: NUMBER("messageExpiryInterval", message_expiry_s);
    case MQ5_CONTENT_TYPE: TEXT("contentType", content_type);
    case MQ5_RESPONSE_TOPIC: TEXT("responseTopic", response_topic);
    case MQ5_CORRELATION_DATA: BINARY("correlationData", correlation_data);
    case MQ5_SUBSCRIPTION_IDENTIFIER: json_subscription_ids(json, p); break;
    case MQ5_SESSION_EXPIRY_INTERVAL: NUMBER("sessionExpiryInterval", session_expiry_s);
    case MQ5_ASSIGNED_CLIENT_IDENTIFIER: TEXT("assignedClientIdentifier", assigned_client_id);
    case MQ5_SERVER_KEEP_ALIVE: NUMBER("serverKeepAlive", server_keep_alive_s);
    case MQ5_AUTHENTICATION_METHOD: TEXT("authenticationMethod", authentication_method);
    case MQ5_AUTHENTICATION_DATA: BINARY("authenticationData", authentication_data);
    case MQ5_REQUEST_PROBLEM_INFORMATION: NUMBER("requestProblemInformation", request_problem_information);
    case MQ5_WILL_DELAY_INTERVAL: NUMBER("willDelayInterval", will_delay_s);
    case MQ5_REQUEST_RESPONSE_INFORMATION: NUMBER("requestResponseInformation", request_response_information);
    case MQ5_RESPONSE_INFORMATION: TEXT("responseInformation", response_information);
    case MQ5_SERVER_REFERENCE: TEXT("serverReference", server_reference);
    case MQ5_REASON_STRING: TEXT("reasonString", reason_string);
    case MQ5_RECEIVE_MAXIMUM: NUMBER("receiveMaximum", receive_maximum);
    case MQ5_TOPIC_ALIAS_MAXIMUM: NUMBER("topicAliasMaximum", topic_alias_maximum);
    case MQ5_TOPIC_ALIAS: NUMBER("topicAlias", topic_alias);
    case MQ5_MAXIMUM_QOS: NUMBER("maximumQoS", maximum_qos);
    case MQ5_RETAIN_AVAILABLE: NUMBER("retainAvailable", retain_available);
    case MQ5_USER_PROPERTY: json_user_properties(json, p); break;
    case MQ5_MAXIMUM_PACKET_SIZE: NUMBER("maximumPacketSize", maximum_packet_size);
    case MQ5_WILDCARD_SUBSCRIPTION_AVAILABLE: NUMBER("wildcardSubscriptionAvailable", wildcard_available);
    case MQ5_SUBSCRIPTION_IDENTIFIER_AVAILABLE: NUMBER("subscriptionIdentifiersAvailable", subscription_id_available);
    case MQ5_SHARED_SUBSCRIPTION_AVAILABLE: NUMBER("sharedSubscriptionAvailable", shared_available);
    default: json_put(json, "\"?\":%d", id);
    }
#undef NUMBER
#undef TEXT
#undef BINARY
}

static inline void json_properties(struct json *json, const struct mq5_properties *p)
{
    uint64_t set = p->present;
    if (p->user_count)
        set |= MQ5_BIT(MQ5_USER_PROPERTY);
    if (p->subscription_id_count)
        set |= MQ5_BIT(MQ5_SUBSCRIPTION_IDENTIFIER);
    if (!set)
        return;
    json_put(json, ",\"properties\":");
    for (const char *separator = "{"; set; set &= set - 1, separator = ",") {
        json_put(json, "%s", separator);
        json_property(json, p, __builtin_ctzll(set));
    }
    json_put(json, "}");
}

static inline const char *json_bool(bool value)
{
    return value ? "true" : "false";
}

static inline void json_connect(struct json *json, const struct mq5_connect *c)
{
    json_put(json, ",\"version\":%u,\"cleanStart\":%s,\"keepAlive\":%u", c->version, json_bool(c->clean_start),
             c->keep_alive_s);
    json_properties(json, &c->properties);
    json_put(json, ",\"clientId\":");
    json_text(json, c->client_id);
    if (c->has_will) {
        json_put(json, ",\"will\":{\"qos\":%u,\"retain\":%s,\"topic\":", c->will_qos, json_bool(c->will_retain));
        json_text(json, c->will_topic);
        json_put(json, ",\"payload\":");
        json_hex(json, c->will_payload);
        json_properties(json, &c->will_properties);
        json_put(json, "}");
    }
    if (c->has_user_name) {
        json_put(json, ",\"userName\":");
        json_text(json, c->user_name);
    }
    if (c->has_password) {
        json_put(json, ",\"password\":");
        json_hex(json, c->password);
    }
}

static inline void json_publish(struct json *json, const struct mq5_publish *p)
{
    json_put(json, ",\"qos\":%u,\"dup\":%s,\"retain\":%s", p->qos, json_bool(p->dup), json_bool(p->retain));
    if (p->qos)
        json_put(json, ",\"id\":%u", p->packet_id);
    json_put(json, ",\"topic\":");
    json_text(json, p->topic);
    json_put(json, ",\"payload\":");
    json_hex(json, p->payload);
    json_properties(json, &p->properties);
}

static inline void json_filters(struct json *json, enum mq5_version version, const struct mq5_packet *packet)
{
    struct mq5_subscription s;
    const char *separator = "";
    json_put(json, ",\"id\":%u", packet->subscribe.packet_id);
    json_properties(json, &packet->subscribe.properties);
    json_put(json, ",\"filters\":[");
    for (uint32_t offset = 0; mq5_subscription_next(&packet->subscribe, packet->type, version, &offset, &s);) {
        json_put(json, "%s%s", separator, packet->type == MQ5_SUBSCRIBE ? "{\"filter\":" : "");
        json_text(json, s.filter);
        if (packet->type == MQ5_SUBSCRIBE)
            json_put(json, ",\"qos\":%u,\"noLocal\":%s,\"retainAsPublished\":%s,\"retainHandling\":%u}", s.qos,
                     json_bool(s.no_local), json_bool(s.retain_as_published), s.retain_handling);
        separator = ",";
    }
    json_put(json, "]");
}

static inline void json_suback(struct json *json, const struct mq5_suback *s)
{
    json_put(json, ",\"id\":%u", s->packet_id);
    json_properties(json, &s->properties);
    json_put(json, ",\"reasons\":[");
    for (uint32_t i = 0; i < s->reasons.length; i++)
        json_put(json, "%s%u", i ? "," : "", s->reasons.data[i]);
    json_put(json, "]");
}

static inline void json_packet(struct json *json, enum mq5_version version, const struct mq5_packet *packet)
{
    json_put(json, "{\"type\":\"");
    for (const char *name = mq5_type_name(packet->type); *name; name++)
        json_put(json, "%c", *name | 0x20);
    json_put(json, "\"");
    switch (packet->type) {
    case MQ5_CONNECT: json_connect(json, &packet->connect); break;
    case MQ5_CONNACK:
        json_put(json, ",\"sessionPresent\":%s,\"reason\":%u", json_bool(packet->connack.session_present),
                 packet->connack.reason);
        json_properties(json, &packet->connack.properties);
        break;
    case MQ5_PUBLISH: json_publish(json, &packet->publish); break;
    case MQ5_PUBACK:
    case MQ5_PUBREC:
    case MQ5_PUBREL:
    case MQ5_PUBCOMP:
        json_put(json, ",\"id\":%u,\"reason\":%u", packet->ack.packet_id, packet->ack.reason);
        json_properties(json, &packet->ack.properties);
        break;
    case MQ5_SUBSCRIBE:
    case MQ5_UNSUBSCRIBE: json_filters(json, version, packet); break;
    case MQ5_SUBACK:
    case MQ5_UNSUBACK: json_suback(json, &packet->suback); break;
    case MQ5_DISCONNECT:
    case MQ5_AUTH:
        json_put(json, ",\"reason\":%u", packet->disconnect.reason);
        json_properties(json, &packet->disconnect.properties);
        break;
    default: break;
    }
    json_put(json, "}");
}

#endif
