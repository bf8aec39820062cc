/* decode.c: fixed header, dispatch, and the packets that need few lines. Invariant: nothing is read beyond the
 * packet. */
#include "wire.h"

/* Sender and low nibble of each type; PUBLISH has no fixed nibble. */
static const struct {
    uint8_t sender, flags;
} kinds[16] = {
    [MQ5_CONNECT] = {MQ5_FROM_CLIENT, 0},  [MQ5_CONNACK] = {MQ5_FROM_SERVER, 0},
    [MQ5_PUBLISH] = {MQ5_EITHER, 0},       [MQ5_PUBACK] = {MQ5_EITHER, 0},
    [MQ5_PUBREC] = {MQ5_EITHER, 0},        [MQ5_PUBREL] = {MQ5_EITHER, 2},
    [MQ5_PUBCOMP] = {MQ5_EITHER, 0},       [MQ5_SUBSCRIBE] = {MQ5_FROM_CLIENT, 2},
    [MQ5_SUBACK] = {MQ5_FROM_SERVER, 0},   [MQ5_UNSUBSCRIBE] = {MQ5_FROM_CLIENT, 2},
    [MQ5_UNSUBACK] = {MQ5_FROM_SERVER, 0}, [MQ5_PINGREQ] = {MQ5_FROM_CLIENT, 0},
    [MQ5_PINGRESP] = {MQ5_FROM_SERVER, 0}, [MQ5_DISCONNECT] = {MQ5_EITHER, 0},
    [MQ5_AUTH] = {MQ5_EITHER, 0},
};

static bool malformed(struct mq5_reader *reader, const char *what, const char *ref)
{
    return mq5_fail(reader, MQ5_MALFORMED, MQ5_MALFORMED_PACKET, what, ref);
}

static bool forbidden(struct mq5_reader *reader, const char *what, const char *ref)
{
    return mq5_fail(reader, MQ5_PROTOCOL, MQ5_PROTOCOL_ERROR, what, ref);
}

enum mq5_status mq5_frame(const uint8_t *data, size_t length, uint32_t max_packet, uint32_t *packet_length)
{
    uint32_t remaining;
    if (length < 2)
        return MQ5_MORE;
    int bytes = mq5_vbi_parse(data + 1, length - 1, &remaining);
    if (bytes <= 0)
        return bytes == 0 ? MQ5_MORE : MQ5_MALFORMED;
    *packet_length = 1 + (uint32_t)bytes + remaining;
    return max_packet && *packet_length > max_packet ? MQ5_TOO_LARGE : MQ5_OK;
}

static bool decode_connack(struct mq5_reader *reader, enum mq5_version version, enum mq5_sender sender,
                           struct mq5_connack *out)
{
    uint8_t flags;
    mq5_properties_clear(&out->properties);
    if (!mq5_read_u8(reader, &flags) || !mq5_read_u8(reader, &out->reason))
        return false;
    out->session_present = flags & 1;
    if (flags & ~1)
        return malformed(reader, "reserved acknowledge flags set", "MQTT-3.2.2-1");
    if (version < MQ5_V5 ? out->reason > 5 : !mq5_reason_allowed(MQ5_CONNACK, out->reason, sender))
        return malformed(reader, "reason code not allowed in CONNACK", "MQTT-3.2.2-8");
    if (out->session_present && out->reason != 0)
        return forbidden(reader, "refusal with session present", "MQTT-3.2.2-6");
    return (version < MQ5_V5 || mq5_read_properties(reader, MQ5_CONNACK, sender, &out->properties)) &&
           mq5_read_end(reader);
}

static bool decode_ack(struct mq5_reader *reader, enum mq5_version version, enum mq5_sender sender, enum mq5_type type,
                       struct mq5_ack *out)
{
    out->reason = MQ5_SUCCESS;
    mq5_properties_clear(&out->properties);
    if (!mq5_read_packet_id(reader, &out->packet_id))
        return false;
    if (reader->at == reader->end || version < MQ5_V5) /* 3.4.2.1: no reason code means success */
        return mq5_read_end(reader);
    out->reason = *reader->at++;
    if (!mq5_reason_allowed(type, out->reason, sender))
        return malformed(reader, "reason code not allowed in this acknowledgement", "MQTT-3.4.2-1");
    if (reader->at == reader->end) /* 3.4.2.2.1: remaining length below 4 means no properties */
        return true;
    return mq5_read_properties(reader, type, sender, &out->properties) && mq5_read_end(reader);
}

static bool decode_suback(struct mq5_reader *reader, enum mq5_version version, enum mq5_sender sender,
                          enum mq5_type type, struct mq5_suback *out)
{
    out->reasons = (struct span){NULL, 0};
    mq5_properties_clear(&out->properties);
    if (!mq5_read_packet_id(reader, &out->packet_id))
        return false;
    if (version < MQ5_V5 && type == MQ5_UNSUBACK)
        return mq5_read_end(reader);
    if (version >= MQ5_V5 && !mq5_read_properties(reader, type, sender, &out->properties))
        return false;
    out->reasons = (struct span){reader->at, mq5_left(reader)};
    if (out->reasons.length == 0)
        return forbidden(reader, "acknowledgement without a reason code", "MQTT-3.8.4-6");
    for (; reader->at < reader->end; reader->at++) {
        uint8_t reason = *reader->at;
        if (version < MQ5_V5 ? reason > 2 && reason != 0x80 : !mq5_reason_allowed(type, reason, sender))
            return malformed(reader, "reason code not allowed in this acknowledgement", "MQTT-3.9.3-2");
    }
    return true;
}

static bool decode_disconnect(struct mq5_reader *reader, enum mq5_version version, enum mq5_sender sender,
                              struct mq5_disconnect *out)
{
    out->reason = MQ5_SUCCESS;
    mq5_properties_clear(&out->properties);
    if (version < MQ5_V5 && sender == MQ5_FROM_SERVER)
        return forbidden(reader, "DISCONNECT from a 3.1.1 server", "3.1.1 S3.14");
    if (reader->at == reader->end || version < MQ5_V5)
        return mq5_read_end(reader);
    out->reason = *reader->at++;
    if (!mq5_reason_allowed(MQ5_DISCONNECT, out->reason, sender))
        return malformed(reader, "reason code not allowed in DISCONNECT", "MQTT-3.14.2-1");
    if (reader->at == reader->end) /* 3.14.2.2.1 */
        return true;
    return mq5_read_properties(reader, MQ5_DISCONNECT, sender, &out->properties) && mq5_read_end(reader);
}

/* 3.15.2.1 lets a success without properties be empty; every other AUTH names its method (3.15.2.2.2). */
static bool decode_auth(struct mq5_reader *reader, enum mq5_version version, enum mq5_sender sender,
                        struct mq5_disconnect *out)
{
    out->reason = MQ5_SUCCESS;
    mq5_properties_clear(&out->properties);
    if (version < MQ5_V5)
        return malformed(reader, "AUTH in 3.1.1", "3.1.1 S2.2.1");
    if (reader->at < reader->end)
        out->reason = *reader->at++;
    if (!mq5_reason_allowed(MQ5_AUTH, out->reason, sender))
        return malformed(reader, "reason code not allowed in AUTH", "MQTT-3.15.2-1");
    if (reader->at - reader->start <= 2)
        return true;
    if (reader->at < reader->end && !mq5_read_properties(reader, MQ5_AUTH, sender, &out->properties))
        return false;
    if (!(out->properties.present & MQ5_BIT(MQ5_AUTHENTICATION_METHOD)))
        return forbidden(reader, "AUTH without Authentication Method", "S3.15.2.2.2a");
    return mq5_read_end(reader);
}

static bool decode_body(struct mq5_reader *reader, enum mq5_version version, enum mq5_sender sender,
                        struct mq5_packet *out)
{
    switch (out->type) {
    case MQ5_CONNECT: return mq5_decode_connect(reader, &out->connect);
    case MQ5_CONNACK: return decode_connack(reader, version, sender, &out->connack);
    case MQ5_PUBACK:
    case MQ5_PUBREC:
    case MQ5_PUBREL:
    case MQ5_PUBCOMP: return decode_ack(reader, version, sender, out->type, &out->ack);
    case MQ5_SUBSCRIBE:
    case MQ5_UNSUBSCRIBE: return mq5_decode_subscribe(reader, version, out->type, &out->subscribe);
    case MQ5_SUBACK:
    case MQ5_UNSUBACK: return decode_suback(reader, version, sender, out->type, &out->suback);
    case MQ5_DISCONNECT: return decode_disconnect(reader, version, sender, &out->disconnect);
    case MQ5_AUTH: return decode_auth(reader, version, sender, &out->auth);
    default: return mq5_read_end(reader); /* PINGREQ, PINGRESP: nothing but the header (3.12, 3.13) */
    }
}

static bool decode_packet(struct mq5_reader *reader, enum mq5_version version, enum mq5_sender sender,
                          struct mq5_packet *out)
{
    uint8_t first = 0;
    uint32_t remaining;
    if (!mq5_read_u8(reader, &first) || !mq5_read_vbi(reader, &remaining))
        return false;
    if (remaining != mq5_left(reader))
        return malformed(reader, "remaining length does not fit the packet", "S2.1.4b");
    out->type = first >> 4;
    out->flags = first & 0x0F;
    if (out->type == 0)
        return malformed(reader, "packet type 0", "S2.1.2a");
    if (!(kinds[out->type].sender & sender))
        return forbidden(reader, "packet type of the other side", "S3.13a");
    if (out->type == MQ5_PUBLISH)
        return mq5_decode_publish(reader, version, sender, out->flags, &out->publish);
    if (out->flags != kinds[out->type].flags)
        return malformed(reader, "reserved header flags", "MQTT-2.1.3-1");
    return decode_body(reader, version, sender, out);
}

enum mq5_status mq5_decode_carefully(enum mq5_version version, enum mq5_sender sender, const uint8_t *data,
                                     size_t length, struct mq5_packet *out, struct mq5_error *error)
{
    struct mq5_reader reader = {data, data + length, data, error, MQ5_OK};
    if (length > (size_t)MQ5_MAX_REMAINING_LENGTH + 5) {
        malformed(&reader, "longer than any packet can be", "S2.1.4a");
        return reader.status;
    }
    return decode_packet(&reader, version, sender, out) ? MQ5_OK : reader.status;
}
