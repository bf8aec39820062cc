/* encode_plain.c: the packets a fleet is made of, written in one go: acknowledgements of success, pings, and the MQTT 5 PUBLISH with
 * a topic or an alias and user properties.
 *
 * Whatever else a packet is, it is left to encode.c: so is every packet that cannot be encoded, and one without room for it. What
 * is not seen to be legal at a glance is written all the same, and left to the decoder to judge.
 */
#include "wire.h"

static inline bool no_properties(const struct mq5_properties *properties)
{
    return properties->present == 0 && properties->user_count == 0 && properties->subscription_id_count == 0;
}

static inline size_t write_ack(const struct mq5_packet *packet, uint8_t *out, size_t capacity)
{
    const struct mq5_ack *ack = &packet->ack;
    if (ack->reason != MQ5_SUCCESS || ack->packet_id == 0 || !no_properties(&ack->properties) || capacity < 4)
        return 0;
    out[0] = (uint8_t)(packet->type << 4 | (packet->type == MQ5_PUBREL ? 2 : 0));
    out[1] = 2;
    mq5_write_u16(out + 2, ack->packet_id);
    return 4;
}

static inline size_t write_ping(const struct mq5_packet *packet, uint8_t *out, size_t capacity)
{
    if (capacity < 2)
        return 0;
    out[0] = (uint8_t)(packet->type << 4);
    out[1] = 0;
    return 2;
}

/* Nothing but an alias and user properties, these from the list alone or from a block made beforehand. */
static inline bool properties_plain(const struct mq5_properties *properties)
{
    const uint64_t present = properties->present;
    if (present & ~(MQ5_BIT(MQ5_TOPIC_ALIAS) | MQ5_BIT(MQ5_USER_PROPERTY) | MQ5_USER_BLOCK) ||
        properties->subscription_id_count != 0)
        return false;
    if (present & MQ5_USER_BLOCK)
        return (present & MQ5_BIT(MQ5_USER_PROPERTY)) && properties->user_count == 0 && properties->encoded.length > 0;
    return !((present & MQ5_BIT(MQ5_USER_PROPERTY)) && properties->encoded.length) &&
           (properties->user || properties->user_count == 0);
}

/* Above MQ5_MAX_REMAINING_LENGTH if a text is too long. */
static inline uint64_t block_length(const struct mq5_properties *properties)
{
    const struct mq5_user_property *user = properties->user;
    uint64_t length = properties->present & MQ5_BIT(MQ5_TOPIC_ALIAS) ? 3 : 0;
    uint32_t bits = 0;
    if (properties->present & MQ5_USER_BLOCK)
        return length + properties->encoded.length;
    for (uint32_t left = properties->user_count; left > 0; left--, user++) {
        length += UINT64_C(5) + user->name.length + user->value.length;
        bits |= user->name.length | user->value.length;
    }
    return bits > MQ5_MAX_STRING ? UINT64_MAX : length;
}

static inline uint8_t *write_block(uint8_t *at, const struct mq5_properties *properties)
{
    const struct mq5_user_property *user = properties->user;
    if (properties->present & MQ5_BIT(MQ5_TOPIC_ALIAS))
        at = mq5_write_u16(mq5_write_u8(at, MQ5_TOPIC_ALIAS), properties->topic_alias);
    if (properties->present & MQ5_USER_BLOCK)
        return mq5_write_bytes(at, properties->encoded);
    for (uint32_t left = properties->user_count; left > 0; left--, user++)
        at = mq5_write_short(mq5_write_short(mq5_write_u8(at, MQ5_USER_PROPERTY), user->name), user->value);
    return at;
}

/* What the decoder would find: `block` are the properties as written, and the only zeros in them are the upper bytes of lengths and
 * alias (decode_plain.c). */
static inline bool surely_legal(const struct mq5_publish *publish, const uint8_t *block, uint64_t length)
{
    const struct mq5_properties *properties = &publish->properties;
    const int alias = properties->present & MQ5_BIT(MQ5_TOPIC_ALIAS) ? 1 : 0;
    if (length > MQ5_PLAIN_BLOCK || publish->payload.length < MQ5_PLAIN_BEHIND ||
        (publish->qos ? publish->packet_id == 0 : publish->dup))
        return false;
    if (properties->present & MQ5_USER_BLOCK) {
        if (alias && properties->topic_alias == 0)
            return false;
    } else if ((alias && properties->topic_alias > UINT8_MAX) ||
               mq5_count_zeros(block, (uint32_t)length) != alias + 2 * properties->user_count) {
        return false;
    }
    return publish->topic.length == 0 ? alias
                                      : mq5_text_check(publish->topic.data, publish->topic.length, true) == TEXT_OK;
}

static bool plain_text(struct span text)
{
    for (uint32_t i = 0; i < text.length; i++)
        if (text.data[i] == 0 || text.data[i] >= 0x80)
            return false;
    return text.length > 0;
}

uint32_t mq5_user_block(const struct mq5_user_property *user, uint32_t count, uint8_t out[MQ5_USER_BLOCK_MAX])
{
    uint8_t *at = out;
    for (uint32_t i = 0; i < count; i++) {
        const uint64_t more = UINT64_C(5) + user[i].name.length + user[i].value.length;
        if (more > (uint64_t)(out + MQ5_USER_BLOCK_MAX - at) || !plain_text(user[i].name) || !plain_text(user[i].value))
            return 0;
        at = mq5_write_short(mq5_write_short(mq5_write_u8(at, MQ5_USER_PROPERTY), user[i].name), user[i].value);
    }
    return (uint32_t)(at - out);
}

static size_t write_publish(const struct mq5_publish *publish, uint8_t *out, size_t capacity, bool *judged)
{
    if (!properties_plain(&publish->properties) || publish->qos > 2)
        return 0;
    const uint64_t block = block_length(&publish->properties);
    if (block > MQ5_MAX_REMAINING_LENGTH || publish->topic.length > MQ5_MAX_STRING)
        return 0;
    const int prefix = mq5_vbi_length((uint32_t)block);
    const uint64_t body = UINT64_C(2) + publish->topic.length + (publish->qos ? 2 : 0) + (uint64_t)prefix + block +
                          publish->payload.length;
    if (body > MQ5_MAX_REMAINING_LENGTH)
        return 0;
    const int header = mq5_vbi_length((uint32_t)body);
    const size_t length = 1 + (size_t)header + (size_t)body;
    if (length > capacity)
        return 0;
    uint8_t *at =
        mq5_write_u8(out, (uint8_t)(MQ5_PUBLISH << 4 | publish->dup << 3 | publish->qos << 1 | publish->retain));
    at = mq5_write_binary(mq5_write_vbi(at, (uint32_t)body, header), publish->topic);
    if (publish->qos)
        at = mq5_write_u16(at, publish->packet_id);
    at = mq5_write_vbi(at, (uint32_t)block, prefix);
    mq5_write_bytes(write_block(at, &publish->properties), publish->payload);
    *judged = surely_legal(publish, at, block);
    return length;
}

size_t mq5_write_plain(enum mq5_version version, const struct mq5_packet *packet, uint8_t *out, size_t capacity,
                       bool *judged)
{
    *judged = true;
    switch (packet->type) {
    case MQ5_PUBLISH: return version >= MQ5_V5 ? write_publish(&packet->publish, out, capacity, judged) : 0;
    case MQ5_PUBACK:
    case MQ5_PUBREC:
    case MQ5_PUBREL:
    case MQ5_PUBCOMP: return write_ack(packet, out, capacity);
    case MQ5_PINGREQ:
    case MQ5_PINGRESP: return write_ping(packet, out, capacity);
    default: return 0;
    }
}
