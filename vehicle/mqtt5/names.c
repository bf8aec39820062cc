/* names.c: the standard's own names, for people. */
#include "wire.h"

const char *mq5_type_name(uint8_t type)
{
    static const char *const names[16] = {"?",       "CONNECT",  "CONNACK",    "PUBLISH", "PUBACK",      "PUBREC",
                                          "PUBREL",  "PUBCOMP",  "SUBSCRIBE",  "SUBACK",  "UNSUBSCRIBE", "UNSUBACK",
                                          "PINGREQ", "PINGRESP", "DISCONNECT", "AUTH"};
    return type < 16 ? names[type] : "?";
}

const char *mq5_property_name(uint8_t property)
{
    return property < MQ5_PROPERTY_IDS && mq5_property_rules[property].name ? mq5_property_rules[property].name : "?";
}

static const char *const below_error[] = {
    [MQ5_SUCCESS] = "Success",
    [MQ5_GRANTED_QOS_1] = "Granted QoS 1",
    [MQ5_GRANTED_QOS_2] = "Granted QoS 2",
    [MQ5_DISCONNECT_WITH_WILL] = "Disconnect with Will Message",
    [MQ5_NO_MATCHING_SUBSCRIBERS] = "No matching subscribers",
    [MQ5_NO_SUBSCRIPTION_EXISTED] = "No subscription existed",
    [MQ5_CONTINUE_AUTHENTICATION] = "Continue authentication",
    [MQ5_RE_AUTHENTICATE] = "Re-authenticate",
};

static const char *const errors[] = {
    [MQ5_UNSPECIFIED_ERROR - 0x80] = "Unspecified error",
    [MQ5_MALFORMED_PACKET - 0x80] = "Malformed Packet",
    [MQ5_PROTOCOL_ERROR - 0x80] = "Protocol Error",
    [MQ5_IMPLEMENTATION_SPECIFIC_ERROR - 0x80] = "Implementation specific error",
    [MQ5_UNSUPPORTED_PROTOCOL_VERSION - 0x80] = "Unsupported Protocol Version",
    [MQ5_CLIENT_IDENTIFIER_NOT_VALID - 0x80] = "Client Identifier not valid",
    [MQ5_BAD_USER_NAME_OR_PASSWORD - 0x80] = "Bad User Name or Password",
    [MQ5_NOT_AUTHORIZED - 0x80] = "Not authorized",
    [MQ5_SERVER_UNAVAILABLE - 0x80] = "Server unavailable",
    [MQ5_SERVER_BUSY - 0x80] = "Server busy",
    [MQ5_BANNED - 0x80] = "Banned",
    [MQ5_SERVER_SHUTTING_DOWN - 0x80] = "Server shutting down",
    [MQ5_BAD_AUTHENTICATION_METHOD - 0x80] = "Bad authentication method",
    [MQ5_KEEP_ALIVE_TIMEOUT - 0x80] = "Keep Alive timeout",
    [MQ5_SESSION_TAKEN_OVER - 0x80] = "Session taken over",
    [MQ5_TOPIC_FILTER_INVALID - 0x80] = "Topic Filter invalid",
    [MQ5_TOPIC_NAME_INVALID - 0x80] = "Topic Name invalid",
    [MQ5_PACKET_ID_IN_USE - 0x80] = "Packet Identifier in use",
    [MQ5_PACKET_ID_NOT_FOUND - 0x80] = "Packet Identifier not found",
    [MQ5_RECEIVE_MAXIMUM_EXCEEDED - 0x80] = "Receive Maximum exceeded",
    [MQ5_TOPIC_ALIAS_INVALID - 0x80] = "Topic Alias invalid",
    [MQ5_PACKET_TOO_LARGE - 0x80] = "Packet too large",
    [MQ5_MESSAGE_RATE_TOO_HIGH - 0x80] = "Message rate too high",
    [MQ5_QUOTA_EXCEEDED - 0x80] = "Quota exceeded",
    [MQ5_ADMINISTRATIVE_ACTION - 0x80] = "Administrative action",
    [MQ5_PAYLOAD_FORMAT_INVALID - 0x80] = "Payload format invalid",
    [MQ5_RETAIN_NOT_SUPPORTED - 0x80] = "Retain not supported",
    [MQ5_QOS_NOT_SUPPORTED - 0x80] = "QoS not supported",
    [MQ5_USE_ANOTHER_SERVER - 0x80] = "Use another server",
    [MQ5_SERVER_MOVED - 0x80] = "Server moved",
    [MQ5_SHARED_SUBSCRIPTIONS_NOT_SUPPORTED - 0x80] = "Shared Subscriptions not supported",
    [MQ5_CONNECTION_RATE_EXCEEDED - 0x80] = "Connection rate exceeded",
    [MQ5_MAXIMUM_CONNECT_TIME - 0x80] = "Maximum connect time",
    [MQ5_SUBSCRIPTION_IDS_NOT_SUPPORTED - 0x80] = "Subscription Identifiers not supported",
    [MQ5_WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED - 0x80] = "Wildcard Subscriptions not supported",
};

const char *mq5_reason_name(uint8_t reason)
{
    const char *name = NULL;
    if (reason < sizeof(below_error) / sizeof(*below_error))
        name = below_error[reason];
    else if (reason >= 0x80 && reason - 0x80u < sizeof(errors) / sizeof(*errors))
        name = errors[reason - 0x80];
    return name ? name : "?";
}
