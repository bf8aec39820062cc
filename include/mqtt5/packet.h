/* mqtt5/packet.h: MQTT 5.0 and 3.1.1 control packets to and from bytes.
 *
 * Does no I/O, reads no clock, allocates nothing. Decoded packets borrow from the bytes they were decoded from; encoded
 * packets are written into the caller's buffer. One codec for everybody who speaks MQTT (vehicle, broker, checks).
 * Properties are kept apart by presence bits; what may repeat (user properties, subscription identifiers, filters)
 * is a view that is walked, never copied.
 * Specification: OASIS MQTT 5.0 (2019-03-07) and MQTT 3.1.1 (2014-10-29).
 */
#ifndef MQTT5_PACKET_H
#define MQTT5_PACKET_H

#include "base.h"

enum mq5_version { MQ5_V311 = 4, MQ5_V5 = 5 };

enum mq5_type {
    MQ5_CONNECT = 1,
    MQ5_CONNACK,
    MQ5_PUBLISH,
    MQ5_PUBACK,
    MQ5_PUBREC,
    MQ5_PUBREL,
    MQ5_PUBCOMP,
    MQ5_SUBSCRIBE,
    MQ5_SUBACK,
    MQ5_UNSUBSCRIBE,
    MQ5_UNSUBACK,
    MQ5_PINGREQ,
    MQ5_PINGRESP,
    MQ5_DISCONNECT,
    MQ5_AUTH,
};

/* Who wrote the bytes: legality of packet types and properties depends on it. MQ5_EITHER accepts both (tools, fuzz). */
enum mq5_sender { MQ5_FROM_CLIENT = 1, MQ5_FROM_SERVER = 2, MQ5_EITHER = 3 };

/* Reason codes (MQTT 5 table 2-6). In 3.1.1 the CONNACK return codes 0..5 and SUBACK 0x80 stand in the same fields. */
enum mq5_reason {
    MQ5_SUCCESS = 0x00, /* also: normal disconnection, granted QoS 0 */
    MQ5_GRANTED_QOS_1 = 0x01,
    MQ5_GRANTED_QOS_2 = 0x02,
    MQ5_DISCONNECT_WITH_WILL = 0x04,
    MQ5_NO_MATCHING_SUBSCRIBERS = 0x10,
    MQ5_NO_SUBSCRIPTION_EXISTED = 0x11,
    MQ5_CONTINUE_AUTHENTICATION = 0x18,
    MQ5_RE_AUTHENTICATE = 0x19,
    MQ5_UNSPECIFIED_ERROR = 0x80,
    MQ5_MALFORMED_PACKET = 0x81,
    MQ5_PROTOCOL_ERROR = 0x82,
    MQ5_IMPLEMENTATION_SPECIFIC_ERROR = 0x83,
    MQ5_UNSUPPORTED_PROTOCOL_VERSION = 0x84,
    MQ5_CLIENT_IDENTIFIER_NOT_VALID = 0x85,
    MQ5_BAD_USER_NAME_OR_PASSWORD = 0x86,
    MQ5_NOT_AUTHORIZED = 0x87,
    MQ5_SERVER_UNAVAILABLE = 0x88,
    MQ5_SERVER_BUSY = 0x89,
    MQ5_BANNED = 0x8A,
    MQ5_SERVER_SHUTTING_DOWN = 0x8B,
    MQ5_BAD_AUTHENTICATION_METHOD = 0x8C,
    MQ5_KEEP_ALIVE_TIMEOUT = 0x8D,
    MQ5_SESSION_TAKEN_OVER = 0x8E,
    MQ5_TOPIC_FILTER_INVALID = 0x8F,
    MQ5_TOPIC_NAME_INVALID = 0x90,
    MQ5_PACKET_ID_IN_USE = 0x91,
    MQ5_PACKET_ID_NOT_FOUND = 0x92,
    MQ5_RECEIVE_MAXIMUM_EXCEEDED = 0x93,
    MQ5_TOPIC_ALIAS_INVALID = 0x94,
    MQ5_PACKET_TOO_LARGE = 0x95,
    MQ5_MESSAGE_RATE_TOO_HIGH = 0x96,
    MQ5_QUOTA_EXCEEDED = 0x97,
    MQ5_ADMINISTRATIVE_ACTION = 0x98,
    MQ5_PAYLOAD_FORMAT_INVALID = 0x99,
    MQ5_RETAIN_NOT_SUPPORTED = 0x9A,
    MQ5_QOS_NOT_SUPPORTED = 0x9B,
    MQ5_USE_ANOTHER_SERVER = 0x9C,
    MQ5_SERVER_MOVED = 0x9D,
    MQ5_SHARED_SUBSCRIPTIONS_NOT_SUPPORTED = 0x9E,
    MQ5_CONNECTION_RATE_EXCEEDED = 0x9F,
    MQ5_MAXIMUM_CONNECT_TIME = 0xA0,
    MQ5_SUBSCRIPTION_IDS_NOT_SUPPORTED = 0xA1,
    MQ5_WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED = 0xA2,
};

/* Property identifiers (MQTT 5 table 2-4). */
enum mq5_property {
    MQ5_PAYLOAD_FORMAT_INDICATOR = 1,
    MQ5_MESSAGE_EXPIRY_INTERVAL = 2,
    MQ5_CONTENT_TYPE = 3,
    MQ5_RESPONSE_TOPIC = 8,
    MQ5_CORRELATION_DATA = 9,
    MQ5_SUBSCRIPTION_IDENTIFIER = 11,
    MQ5_SESSION_EXPIRY_INTERVAL = 17,
    MQ5_ASSIGNED_CLIENT_IDENTIFIER = 18,
    MQ5_SERVER_KEEP_ALIVE = 19,
    MQ5_AUTHENTICATION_METHOD = 21,
    MQ5_AUTHENTICATION_DATA = 22,
    MQ5_REQUEST_PROBLEM_INFORMATION = 23,
    MQ5_WILL_DELAY_INTERVAL = 24,
    MQ5_REQUEST_RESPONSE_INFORMATION = 25,
    MQ5_RESPONSE_INFORMATION = 26,
    MQ5_SERVER_REFERENCE = 28,
    MQ5_REASON_STRING = 31,
    MQ5_RECEIVE_MAXIMUM = 33,
    MQ5_TOPIC_ALIAS_MAXIMUM = 34,
    MQ5_TOPIC_ALIAS = 35,
    MQ5_MAXIMUM_QOS = 36,
    MQ5_RETAIN_AVAILABLE = 37,
    MQ5_USER_PROPERTY = 38,
    MQ5_MAXIMUM_PACKET_SIZE = 39,
    MQ5_WILDCARD_SUBSCRIPTION_AVAILABLE = 40,
    MQ5_SUBSCRIPTION_IDENTIFIER_AVAILABLE = 41,
    MQ5_SHARED_SUBSCRIPTION_AVAILABLE = 42,
};

#define MQ5_BIT(property)         (UINT64_C(1) << (property))
#define MQ5_SESSION_NEVER_EXPIRES UINT32_C(0xFFFFFFFF)
#define MQ5_MAX_REMAINING_LENGTH  268435455u
#define MQ5_MAX_STRING            65535u

struct mq5_user_property {
    struct span name, value;
};

/* A property set. A field means something only if its bit is in `present`.
 * Repeatables when encoding: give `user`/`user_count` and `subscription_ids`/`subscription_id_count`; and/or `encoded`,
 * a property block received earlier, from which user properties are copied after those of `user` (so that a broker
 * forwards them in order without parsing). Repeatables when decoded: `encoded` is the whole received block; walk it with
 * mq5_user_property_next() and mq5_subscription_id_next(); user and subscription_ids stay NULL. The bits
 * MQ5_USER_PROPERTY and MQ5_SUBSCRIPTION_IDENTIFIER are set by the decoder; when encoding, forwarding from `encoded` asks for
 * bit MQ5_USER_PROPERTY; subscription identifiers in `encoded` are never forwarded (3.3.4). */
struct mq5_properties {
    uint64_t present;
    uint32_t session_expiry_s;
    uint32_t message_expiry_s;
    uint32_t will_delay_s;
    uint32_t maximum_packet_size;
    uint16_t receive_maximum;
    uint16_t topic_alias_maximum;
    uint16_t topic_alias;
    uint16_t server_keep_alive_s;
    uint8_t payload_format;
    uint8_t maximum_qos;
    uint8_t retain_available;
    uint8_t wildcard_available;
    uint8_t subscription_id_available;
    uint8_t shared_available;
    uint8_t request_problem_information;
    uint8_t request_response_information;
    struct span content_type, response_topic, correlation_data;
    struct span assigned_client_id, response_information, server_reference, reason_string;
    struct span authentication_method, authentication_data;
    const struct mq5_user_property *user;
    const uint32_t *subscription_ids;
    uint16_t user_count;
    uint16_t subscription_id_count;
    struct span encoded;
};

/* In `present` beside MQ5_USER_PROPERTY: `encoded` is a block that mq5_user_block() has made, and is written as it stands. */
#define MQ5_USER_BLOCK MQ5_BIT(63)
/* The client session's word to its owner: the name of the topic came from its alias, not with the packet. */
#define MQ5_TOPIC_BY_ALIAS MQ5_BIT(62)
/* User properties that many packets carry, encoded once. Returns the length; 0: a text is empty or not ASCII, or it is too long. */
#define MQ5_USER_BLOCK_MAX 120
uint32_t mq5_user_block(const struct mq5_user_property *user, uint32_t count, uint8_t out[MQ5_USER_BLOCK_MAX]);

/* Walks: *offset starts at 0; false at the end. Only on blocks that mq5_decode() accepted. */
bool mq5_user_property_next(struct span encoded, uint32_t *offset, struct mq5_user_property *out);
bool mq5_subscription_id_next(struct span encoded, uint32_t *offset, uint32_t *out);

struct mq5_connect {
    uint8_t version; /* enum mq5_version; the decoder takes it from the packet */
    bool clean_start;
    uint16_t keep_alive_s;
    bool has_will, will_retain;
    uint8_t will_qos;
    bool has_user_name, has_password;
    struct span client_id, user_name, password;
    struct span will_topic, will_payload;
    struct mq5_properties properties, will_properties;
};

struct mq5_connack {
    bool session_present;
    uint8_t reason; /* 3.1.1: return code 0..5 */
    struct mq5_properties properties;
};

struct mq5_publish {
    uint8_t qos;
    bool retain, dup;
    uint16_t packet_id; /* 0 when qos is 0 */
    struct span topic;  /* empty with a topic alias */
    struct span payload;
    struct mq5_properties properties;
};

struct mq5_ack { /* PUBACK, PUBREC, PUBREL, PUBCOMP */
    uint16_t packet_id;
    uint8_t reason;
    struct mq5_properties properties;
};

enum mq5_retain_handling { MQ5_RETAIN_SEND = 0, MQ5_RETAIN_SEND_IF_NEW = 1, MQ5_RETAIN_DO_NOT_SEND = 2 };

struct mq5_subscription {
    struct span filter;
    uint8_t qos;
    bool no_local, retain_as_published;
    uint8_t retain_handling;
};

/* SUBSCRIBE and UNSUBSCRIBE. Encode from `list`/`count` (UNSUBSCRIBE uses only .filter). Decoded: `encoded` is the
 * payload, `count` the number of filters; walk with mq5_subscription_next(). */
struct mq5_subscribe {
    uint16_t packet_id;
    const struct mq5_subscription *list;
    uint32_t count;
    struct span encoded;
    struct mq5_properties properties;
};
bool mq5_subscription_next(const struct mq5_subscribe *subscribe, enum mq5_type type, enum mq5_version version,
                           uint32_t *offset, struct mq5_subscription *out);

struct mq5_suback { /* SUBACK, UNSUBACK */
    uint16_t packet_id;
    struct span reasons; /* one byte a filter; empty for a 3.1.1 UNSUBACK */
    struct mq5_properties properties;
};

struct mq5_disconnect { /* DISCONNECT, AUTH */
    uint8_t reason;
    struct mq5_properties properties;
};

struct mq5_packet {
    uint8_t type;  /* enum mq5_type */
    uint8_t flags; /* low nibble of the first byte as received; ignored by the strict encoder */
    union {
        struct mq5_connect connect;
        struct mq5_connack connack;
        struct mq5_publish publish;
        struct mq5_ack ack;
        struct mq5_subscribe subscribe; /* SUBSCRIBE, UNSUBSCRIBE */
        struct mq5_suback suback;       /* SUBACK, UNSUBACK */
        struct mq5_disconnect disconnect;
        struct mq5_disconnect auth;
    };
};

enum mq5_status {
    MQ5_OK = 0,
    MQ5_MORE,      /* not enough bytes yet */
    MQ5_MALFORMED, /* cannot be parsed: reason 0x81 */
    MQ5_PROTOCOL,  /* parses, but is forbidden: reason 0x82 or a nearer one */
    MQ5_TOO_LARGE, /* above the limit the receiver set: reason 0x95 */
    MQ5_NO_SPACE,  /* encoder: caller's buffer too small; stream: no buffer for a split packet */
    MQ5_ILLEGAL,   /* encoder: the packet asked for may not be sent (strict mode) */
};

struct mq5_error {
    enum mq5_status status;
    uint8_t reason;   /* reason code to answer with */
    const char *what; /* static text: "topic contains U+0000" */
    const char *ref;  /* static text: "MQTT-1.5.4-2" or "S3.3.2.3.4"; "" if none */
    size_t offset;    /* byte within the packet, when known */
};

/* Length of the first packet in `data`: MQ5_OK with *packet_length set (it may exceed length: then wait), MQ5_MORE, MQ5_MALFORMED
 * (length field longer than 4 bytes or not in the shortest form), or MQ5_TOO_LARGE if the packet exceeds max_packet
 * (0: no limit but the protocol's). */
enum mq5_status mq5_frame(const uint8_t *data, size_t length, uint32_t max_packet, uint32_t *packet_length);

/* Decodes exactly one whole packet of `length` bytes. `version` is that of the connection; CONNECT carries its own.
 * Borrows: *out points into data. On anything but MQ5_OK *out is unspecified and *error (may be NULL) says why. */
enum mq5_status mq5_decode(enum mq5_version version, enum mq5_sender sender, const uint8_t *data, size_t length,
                           struct mq5_packet *out, struct mq5_error *error);

/* Encodes one packet; *written is its length. MQ5_ILLEGAL for what the standard forbids the sender (checks everything the
 * decoder checks), MQ5_NO_SPACE with *written = bytes needed. */
enum mq5_status mq5_encode(enum mq5_version version, const struct mq5_packet *packet, uint8_t *out, size_t capacity,
                           size_t *written);
/* Exact encoded length, 0 if the packet cannot be encoded at all. */
size_t mq5_encoded_length(enum mq5_version version, const struct mq5_packet *packet);

/* Raw mode, for checks that must send what is forbidden: legality is not looked at, and parts can be overridden. */
struct mq5_raw {
    bool set_flags; /* use packet->flags as the low nibble */
    bool set_type;  /* use `type` as the high nibble */
    uint8_t type;
    bool set_remaining_length;      /* write this value instead of the true one */
    uint32_t remaining_length;      /* up to 28 bits */
    uint8_t remaining_length_bytes; /* 0: shortest; 2..5: padded with continuation bytes */
    bool set_properties;            /* replace the (first) property block, length prefix included, by these bytes */
    struct span properties;
    bool set_property_length; /* write this property length instead of the true one */
    uint32_t property_length;
    struct span trailing; /* appended inside the remaining length */
};
enum mq5_status mq5_encode_raw(enum mq5_version version, const struct mq5_packet *packet, const struct mq5_raw *raw,
                               uint8_t *out, size_t capacity, size_t *written);

/* Streaming decoder: the same result for any split of the bytes. Whole packets inside one chunk are decoded in place;
 * only a packet cut by a chunk border is gathered in `buffer`. `grow` may be NULL: then a cut packet larger than the
 * capacity is MQ5_NO_SPACE. Grow must return a buffer of at least `wanted` bytes that keeps the old content, or NULL. */
struct mq5_stream {
    uint8_t *buffer;
    uint32_t capacity, used;
    uint32_t max_packet; /* 0: protocol's own limit */
    uint8_t version;     /* a CONNECT sets it */
    uint8_t sender;
    uint8_t consumed_pending; /* internal: the buffered packet was handed out, drop it on the next call */
    uint8_t *(*grow)(void *context, uint8_t *buffer, uint32_t old_capacity, uint32_t wanted, uint32_t *new_capacity);
    void *grow_context;
    struct span packet; /* internal: see mq5_stream_packet_bytes() */
};
/* Takes from (*data, *length), advancing them. MQ5_OK: *out is valid until the next call or until data or the buffer
 * goes. MQ5_MORE: all taken, nothing whole. Anything else is final for the connection. */
enum mq5_status mq5_stream_next(struct mq5_stream *stream, const uint8_t **data, size_t *length, struct mq5_packet *out,
                                struct mq5_error *error);
/* The bytes of the packet last handed out (for traces); valid as long as the packet. */
struct span mq5_stream_packet_bytes(const struct mq5_stream *stream);

/* Names for people: "PUBLISH", "Packet too large", "Session Expiry Interval"; "?" if unknown. */
const char *mq5_type_name(uint8_t type);
const char *mq5_reason_name(uint8_t reason);
const char *mq5_property_name(uint8_t property);
/* Is this reason code allowed in this packet type, from this sender? (tables of chapter 3) */
bool mq5_reason_allowed(uint8_t type, uint8_t reason, enum mq5_sender sender);
/* Writes one line for a trace ("PUBLISH q1 id=7 topic=a/b 12 B"), always terminated; returns its length. */
size_t mq5_describe(enum mq5_version version, const struct mq5_packet *packet, char *out, size_t capacity);

#endif
