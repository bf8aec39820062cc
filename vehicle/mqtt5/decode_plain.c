/* decode_plain.c: the packets a fleet is made of, each recognised whole if it is in order: acknowledgements of success, pings, and
 * the MQTT 5 PUBLISH with a topic or an alias and user properties in ASCII.
 *
 * Whatever else a packet is, it is left to decode.c, which also finds out what is wrong with it: nothing is refused here, and what
 * is taken here would be taken there with the same result (unit.mqtt5.plain).
 */
#include "wire.h"

enum { BLOCK_MAXIMUM = MQ5_PLAIN_BLOCK, STEP = MQ5_PLAIN_BEHIND };

typedef uint8_t octets __attribute__((vector_size(STEP)));

static inline octets load(const void *from)
{
    octets value;
    memcpy(&value, from, STEP);
    return value;
}

int mq5_count_zeros(const uint8_t *at, uint32_t length)
{
    static const uint8_t edge[2 * STEP] = {255, 255, 255, 255, 255, 255, 255, 255,
                                           255, 255, 255, 255, 255, 255, 255, 255};
    octets found = {0}, zeros = {0};
    for (; length >= STEP; length -= STEP, at += STEP) {
        found |= load(at);
        zeros -= (octets)(load(at) == 0);
    }
    const octets inside = load(edge + STEP - length), last = load(at);
    found |= last & inside;
    zeros -= (octets)(last == 0) & inside;
    uint64_t high[2], sums[2];
    memcpy(high, &found, STEP);
    memcpy(sums, &zeros, STEP);
    return (high[0] | high[1]) & MQ5_EVERY(0x80) ? -1 : (int)((sums[0] + sums[1]) * MQ5_EVERY(1) >> 56);
}

/* An alias, then user properties that are not empty. In a block this short the upper byte of every length is zero; so is that of
 * a small alias. If these are all its zeros, and all of it is ASCII, then so are the texts. */
static inline bool read_block(const uint8_t *block, uint32_t length, struct mq5_properties *out)
{
    uint32_t at = 0, upper = 0;
    int zeros = 0;
    if (block[0] == MQ5_TOPIC_ALIAS) {
        out->present = MQ5_BIT(MQ5_TOPIC_ALIAS);
        out->topic_alias = block[2];
        upper = block[1];
        zeros = 1;
        at = 3;
    }
    if (at < length)
        out->present |= MQ5_BIT(MQ5_USER_PROPERTY);
    for (; at < length; zeros += 2) {
        const uint8_t *pair = block + at;
        if (pair[0] != MQ5_USER_PROPERTY)
            return false;
        at += 5 + (uint32_t)pair[2];
        if (at > length)
            return false;
        upper |= (uint32_t)pair[1] | block[at - 2];
        at += block[at - 1];
    }
    return at == length && upper == 0 && mq5_count_zeros(block, length) == zeros;
}

/* What follows the fixed header. */
static inline bool read_publish(const uint8_t *at, uint32_t left, struct mq5_publish *out)
{
    const uint32_t topic = mq5_be16(at), before = topic + (out->qos ? 5 : 3);
    if (left < before + STEP)
        return false;
    out->topic = (struct span){at + 2, topic};
    at += before;
    out->packet_id = out->qos ? mq5_be16(at - 3) : 0;
    const uint32_t block = at[-1], rest = left - before;
    if (block > BLOCK_MAXIMUM || rest < block + STEP || (out->qos && !out->packet_id))
        return false;
    mq5_properties_clear(&out->properties);
    out->properties.encoded = (struct span){at, block};
    out->payload = (struct span){at + block, rest - block};
    if (block && !read_block(at, block, &out->properties))
        return false;
    if (topic == 0)
        return out->properties.present & MQ5_BIT(MQ5_TOPIC_ALIAS);
    return mq5_text_check(out->topic.data, topic, true) == TEXT_OK;
}

static inline bool decode_publish(const uint8_t *data, size_t length, struct mq5_packet *out)
{
    const uint8_t flags = data[0] & 0x0F, qos = flags >> 1 & 3;
    uint32_t remaining = data[1], header = 2;
    if (remaining >= 0x80) {
        if (data[2] == 0 || data[2] >= 0x80)
            return false;
        remaining = (remaining & 0x7F) | (uint32_t)data[2] << 7;
        header = 3;
    }
    if (remaining + header != length || qos == 3 || flags >> 1 == 4)
        return false;
    out->type = MQ5_PUBLISH;
    out->flags = flags;
    out->publish.qos = qos;
    out->publish.dup = flags >> 3;
    out->publish.retain = flags & 1;
    return read_publish(data + header, remaining, &out->publish);
}

static inline bool decode_ack(const uint8_t *data, struct mq5_packet *out)
{
    const uint8_t first = data[0];
    const uint16_t packet_id = mq5_be16(data + 2);
    if (data[1] != 2 || packet_id == 0 ||
        !(first == MQ5_PUBACK << 4 || first == MQ5_PUBREC << 4 || first == (MQ5_PUBREL << 4 | 2) ||
          first == MQ5_PUBCOMP << 4))
        return false;
    out->type = first >> 4;
    out->flags = first & 0x0F;
    out->ack.packet_id = packet_id;
    out->ack.reason = MQ5_SUCCESS;
    mq5_properties_clear(&out->ack.properties);
    return true;
}

static inline bool decode_ping(enum mq5_sender sender, const uint8_t *data, struct mq5_packet *out)
{
    const uint8_t first = data[0];
    out->type = first >> 4;
    out->flags = 0;
    return data[1] == 0 && ((first == MQ5_PINGREQ << 4 && (sender & MQ5_FROM_CLIENT)) ||
                            (first == MQ5_PINGRESP << 4 && (sender & MQ5_FROM_SERVER)));
}

/* Out of line, so that the short packets do not pay for its registers. */
static __attribute__((noinline)) enum mq5_status decode_longer(enum mq5_version version, enum mq5_sender sender,
                                                               const uint8_t *data, size_t length,
                                                               struct mq5_packet *out, struct mq5_error *error)
{
    if (length > 4 && data[0] >> 4 == MQ5_PUBLISH && version >= MQ5_V5 && sender && decode_publish(data, length, out))
        return MQ5_OK;
    return mq5_decode_carefully(version, sender, data, length, out, error);
}

enum mq5_status mq5_decode(enum mq5_version version, enum mq5_sender sender, const uint8_t *data, size_t length,
                           struct mq5_packet *out, struct mq5_error *error)
{
    if (length == 4 && sender && decode_ack(data, out))
        return MQ5_OK;
    if (length == 2 && decode_ping(sender, data, out))
        return MQ5_OK;
    return decode_longer(version, sender, data, length, out, error);
}
