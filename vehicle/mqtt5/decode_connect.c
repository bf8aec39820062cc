/* decode_connect.c: CONNECT (3.1) of both versions; the version is in the packet. */
#include "wire.h"

enum { FLAG_RESERVED = 1, FLAG_CLEAN = 2, FLAG_WILL = 4, FLAG_WILL_RETAIN = 32, FLAG_PASSWORD = 64, FLAG_USER = 128 };

static bool malformed(struct mq5_reader *reader, const char *what, const char *ref)
{
    return mq5_fail(reader, MQ5_MALFORMED, MQ5_MALFORMED_PACKET, what, ref);
}

static bool read_protocol(struct mq5_reader *reader, uint8_t *version)
{
    struct span name;
    if (!mq5_read_binary(reader, &name))
        return false;
    if (!span_equal(name, SPAN_LITERAL("MQTT")))
        return mq5_fail(reader, MQ5_PROTOCOL, MQ5_UNSUPPORTED_PROTOCOL_VERSION, "protocol name is not MQTT",
                        "MQTT-3.1.2-1");
    if (!mq5_read_u8(reader, version))
        return false;
    if (*version != MQ5_V311 && *version != MQ5_V5)
        return mq5_fail(reader, MQ5_PROTOCOL, MQ5_UNSUPPORTED_PROTOCOL_VERSION, "protocol version is neither 4 nor 5",
                        "MQTT-3.1.2-2");
    return true;
}

static bool read_flags(struct mq5_reader *reader, struct mq5_connect *out)
{
    uint8_t flags;
    if (!mq5_read_u8(reader, &flags))
        return false;
    out->clean_start = flags & FLAG_CLEAN;
    out->has_will = flags & FLAG_WILL;
    out->will_qos = flags >> 3 & 3;
    out->will_retain = flags & FLAG_WILL_RETAIN;
    out->has_password = flags & FLAG_PASSWORD;
    out->has_user_name = flags & FLAG_USER;
    if (flags & FLAG_RESERVED)
        return malformed(reader, "reserved connect flag set", "MQTT-3.1.2-3");
    if (!out->has_will && out->will_qos)
        return malformed(reader, "will QoS without a will", "MQTT-3.1.2-11");
    if (!out->has_will && out->will_retain)
        return malformed(reader, "will retain without a will", "MQTT-3.1.2-13");
    if (out->will_qos == 3)
        return malformed(reader, "will QoS 3", "MQTT-3.1.2-12");
    if (out->version < MQ5_V5 && out->has_password && !out->has_user_name)
        return malformed(reader, "password without user name", "3.1.1 MQTT-3.1.2-22");
    return true;
}

static bool read_properties(struct mq5_reader *reader, struct mq5_connect *out)
{
    mq5_properties_clear(&out->properties);
    mq5_properties_clear(&out->will_properties);
    if (out->version < MQ5_V5)
        return true;
    if (!mq5_read_properties(reader, MQ5_CONNECT, MQ5_FROM_CLIENT, &out->properties))
        return false;
    const uint64_t authentication =
        out->properties.present & (MQ5_BIT(MQ5_AUTHENTICATION_METHOD) | MQ5_BIT(MQ5_AUTHENTICATION_DATA));
    return authentication != MQ5_BIT(MQ5_AUTHENTICATION_DATA) ||
           mq5_fail(reader, MQ5_PROTOCOL, MQ5_PROTOCOL_ERROR, "Authentication Data without a method", "S3.1.2.11.10a");
}

static bool read_client_id(struct mq5_reader *reader, struct mq5_connect *out)
{
    if (!mq5_read_text(reader, &out->client_id))
        return false;
    return out->version >= MQ5_V5 || out->client_id.length || out->clean_start ||
           mq5_fail(reader, MQ5_PROTOCOL, MQ5_CLIENT_IDENTIFIER_NOT_VALID,
                    "empty client identifier without clean session", "3.1.1 MQTT-3.1.3-8");
}

static bool read_will(struct mq5_reader *reader, struct mq5_connect *out)
{
    out->will_topic = out->will_payload = (struct span){NULL, 0};
    if (!out->has_will)
        return true;
    if (out->version >= MQ5_V5 && !mq5_read_properties(reader, MQ5_WILL_BLOCK, MQ5_FROM_CLIENT, &out->will_properties))
        return false;
    if (!mq5_read_binary(reader, &out->will_topic))
        return false;
    enum mq5_text flaw = mq5_text_check(out->will_topic.data, out->will_topic.length, true);
    if (flaw == TEXT_WILDCARD || out->will_topic.length == 0)
        return mq5_fail(reader, MQ5_PROTOCOL, MQ5_TOPIC_NAME_INVALID, "will topic is empty or contains a wildcard",
                        "MQTT-4.7.0-1");
    if (flaw != TEXT_OK)
        return mq5_fail_text(reader, flaw);
    return mq5_read_binary(reader, &out->will_payload);
}

bool mq5_decode_connect(struct mq5_reader *reader, struct mq5_connect *out)
{
    out->user_name = out->password = (struct span){NULL, 0};
    return read_protocol(reader, &out->version) && read_flags(reader, out) &&
           mq5_read_u16(reader, &out->keep_alive_s) && read_properties(reader, out) && read_client_id(reader, out) &&
           read_will(reader, out) && (!out->has_user_name || mq5_read_text(reader, &out->user_name)) &&
           (!out->has_password || mq5_read_binary(reader, &out->password)) && mq5_read_end(reader);
}
