/* properties_table.c: what the standard says of each property (table 2-4), and in which packets it may stand. */
#include "wire.h"

#define FIELD(member) offsetof(struct mq5_properties, member)
#define FLAG(member, label, section)                                                                                   \
    {                                                                                                                  \
        KIND_U8, CHECK_FLAG, FIELD(member), MQ5_PROTOCOL_ERROR, label " is neither 0 nor 1", section, label            \
    }
#define PLAIN(kind, member, label)                                                                                     \
    {                                                                                                                  \
        kind, CHECK_NONE, FIELD(member), 0, "", "", label                                                              \
    }
#define NOT_ZERO(kind, member, reason, label, section)                                                                 \
    {                                                                                                                  \
        kind, CHECK_NOT_ZERO, FIELD(member), reason, label " is 0", section, label                                     \
    }

const struct mq5_property_rule mq5_property_rules[MQ5_PROPERTY_IDS] = {
    [MQ5_PAYLOAD_FORMAT_INDICATOR] = FLAG(payload_format, "Payload Format Indicator", "S3.1.3.2.3a"),
    [MQ5_MESSAGE_EXPIRY_INTERVAL] = PLAIN(KIND_U32, message_expiry_s, "Message Expiry Interval"),
    [MQ5_CONTENT_TYPE] = PLAIN(KIND_TEXT, content_type, "Content Type"),
    [MQ5_RESPONSE_TOPIC] = {KIND_TEXT, CHECK_TOPIC_NAME, FIELD(response_topic), MQ5_PROTOCOL_ERROR,
                            "Response Topic is empty or contains a wildcard", "MQTT-3.3.2-14", "Response Topic"},
    [MQ5_CORRELATION_DATA] = PLAIN(KIND_BINARY, correlation_data, "Correlation Data"),
    [MQ5_SUBSCRIPTION_IDENTIFIER] = {KIND_VBI, CHECK_NOT_ZERO, 0, MQ5_PROTOCOL_ERROR, "Subscription Identifier is 0",
                                     "S3.3.2.3.8a", "Subscription Identifier"},
    [MQ5_SESSION_EXPIRY_INTERVAL] = PLAIN(KIND_U32, session_expiry_s, "Session Expiry Interval"),
    [MQ5_ASSIGNED_CLIENT_IDENTIFIER] = PLAIN(KIND_TEXT, assigned_client_id, "Assigned Client Identifier"),
    [MQ5_SERVER_KEEP_ALIVE] = PLAIN(KIND_U16, server_keep_alive_s, "Server Keep Alive"),
    [MQ5_AUTHENTICATION_METHOD] = PLAIN(KIND_TEXT, authentication_method, "Authentication Method"),
    [MQ5_AUTHENTICATION_DATA] = PLAIN(KIND_BINARY, authentication_data, "Authentication Data"),
    [MQ5_REQUEST_PROBLEM_INFORMATION] =
        FLAG(request_problem_information, "Request Problem Information", "S3.1.2.11.7a"),
    [MQ5_WILL_DELAY_INTERVAL] = PLAIN(KIND_U32, will_delay_s, "Will Delay Interval"),
    [MQ5_REQUEST_RESPONSE_INFORMATION] =
        FLAG(request_response_information, "Request Response Information", "S3.1.2.11.6a"),
    [MQ5_RESPONSE_INFORMATION] = PLAIN(KIND_TEXT, response_information, "Response Information"),
    [MQ5_SERVER_REFERENCE] = PLAIN(KIND_TEXT, server_reference, "Server Reference"),
    [MQ5_REASON_STRING] = PLAIN(KIND_TEXT, reason_string, "Reason String"),
    [MQ5_RECEIVE_MAXIMUM] = NOT_ZERO(KIND_U16, receive_maximum, MQ5_PROTOCOL_ERROR, "Receive Maximum", "S3.1.2.11.3a"),
    [MQ5_TOPIC_ALIAS_MAXIMUM] = PLAIN(KIND_U16, topic_alias_maximum, "Topic Alias Maximum"),
    [MQ5_TOPIC_ALIAS] = NOT_ZERO(KIND_U16, topic_alias, MQ5_TOPIC_ALIAS_INVALID, "Topic Alias", "MQTT-3.3.2-8"),
    [MQ5_MAXIMUM_QOS] = FLAG(maximum_qos, "Maximum QoS", "S3.2.2.3.4a"),
    [MQ5_RETAIN_AVAILABLE] = FLAG(retain_available, "Retain Available", "S3.2.2.3.5a"),
    [MQ5_USER_PROPERTY] = {KIND_PAIR, CHECK_NONE, 0, 0, "", "", "User Property"},
    [MQ5_MAXIMUM_PACKET_SIZE] =
        NOT_ZERO(KIND_U32, maximum_packet_size, MQ5_PROTOCOL_ERROR, "Maximum Packet Size", "S3.1.2.11.4a"),
    [MQ5_WILDCARD_SUBSCRIPTION_AVAILABLE] = FLAG(wildcard_available, "Wildcard Subscription Available", "S3.2.2.3.11a"),
    [MQ5_SUBSCRIPTION_IDENTIFIER_AVAILABLE] =
        FLAG(subscription_id_available, "Subscription Identifier Available", "S3.2.2.3.12a"),
    [MQ5_SHARED_SUBSCRIPTION_AVAILABLE] = FLAG(shared_available, "Shared Subscription Available", "S3.2.2.3.13a"),
};

#define PROBLEM        (MQ5_BIT(MQ5_REASON_STRING) | MQ5_BIT(MQ5_USER_PROPERTY))
#define AUTHENTICATION (MQ5_BIT(MQ5_AUTHENTICATION_METHOD) | MQ5_BIT(MQ5_AUTHENTICATION_DATA))
#define MESSAGE                                                                                                        \
    (MQ5_BIT(MQ5_PAYLOAD_FORMAT_INDICATOR) | MQ5_BIT(MQ5_MESSAGE_EXPIRY_INTERVAL) | MQ5_BIT(MQ5_CONTENT_TYPE) |        \
     MQ5_BIT(MQ5_RESPONSE_TOPIC) | MQ5_BIT(MQ5_CORRELATION_DATA) | MQ5_BIT(MQ5_USER_PROPERTY))
#define LIMITS                                                                                                         \
    (MQ5_BIT(MQ5_SESSION_EXPIRY_INTERVAL) | MQ5_BIT(MQ5_RECEIVE_MAXIMUM) | MQ5_BIT(MQ5_MAXIMUM_PACKET_SIZE) |          \
     MQ5_BIT(MQ5_TOPIC_ALIAS_MAXIMUM) | MQ5_BIT(MQ5_USER_PROPERTY))

static const uint64_t allowed[16] = {
    [MQ5_WILL_BLOCK] = MESSAGE | MQ5_BIT(MQ5_WILL_DELAY_INTERVAL),
    [MQ5_CONNECT] =
        LIMITS | AUTHENTICATION | MQ5_BIT(MQ5_REQUEST_RESPONSE_INFORMATION) | MQ5_BIT(MQ5_REQUEST_PROBLEM_INFORMATION),
    [MQ5_CONNACK] = LIMITS | AUTHENTICATION | PROBLEM | MQ5_BIT(MQ5_MAXIMUM_QOS) | MQ5_BIT(MQ5_RETAIN_AVAILABLE) |
                    MQ5_BIT(MQ5_ASSIGNED_CLIENT_IDENTIFIER) | MQ5_BIT(MQ5_WILDCARD_SUBSCRIPTION_AVAILABLE) |
                    MQ5_BIT(MQ5_SUBSCRIPTION_IDENTIFIER_AVAILABLE) | MQ5_BIT(MQ5_SHARED_SUBSCRIPTION_AVAILABLE) |
                    MQ5_BIT(MQ5_SERVER_KEEP_ALIVE) | MQ5_BIT(MQ5_RESPONSE_INFORMATION) | MQ5_BIT(MQ5_SERVER_REFERENCE),
    [MQ5_PUBLISH] = MESSAGE | MQ5_BIT(MQ5_TOPIC_ALIAS) | MQ5_BIT(MQ5_SUBSCRIPTION_IDENTIFIER),
    [MQ5_PUBACK] = PROBLEM,
    [MQ5_PUBREC] = PROBLEM,
    [MQ5_PUBREL] = PROBLEM,
    [MQ5_PUBCOMP] = PROBLEM,
    [MQ5_SUBSCRIBE] = MQ5_BIT(MQ5_SUBSCRIPTION_IDENTIFIER) | MQ5_BIT(MQ5_USER_PROPERTY),
    [MQ5_SUBACK] = PROBLEM,
    [MQ5_UNSUBSCRIBE] = MQ5_BIT(MQ5_USER_PROPERTY),
    [MQ5_UNSUBACK] = PROBLEM,
    [MQ5_DISCONNECT] = PROBLEM | MQ5_BIT(MQ5_SESSION_EXPIRY_INTERVAL) | MQ5_BIT(MQ5_SERVER_REFERENCE),
    [MQ5_AUTH] = PROBLEM | AUTHENTICATION,
};

uint64_t mq5_properties_allowed(int place)
{
    return allowed[place];
}
