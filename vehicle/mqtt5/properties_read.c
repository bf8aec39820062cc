/* properties_read.c: property blocks from the wire, and the walks over what may repeat in them (2.2.2). */
#include "wire.h"

static bool fail_property(struct mq5_reader *reader, enum mq5_status status, const char *what, const char *ref)
{
    return mq5_fail(reader, status, status == MQ5_MALFORMED ? MQ5_MALFORMED_PACKET : MQ5_PROTOCOL_ERROR, what, ref);
}

/* Some properties belong to one side only although the packet belongs to both. */
static bool check_sender(struct mq5_reader *reader, int place, uint8_t id, enum mq5_sender sender)
{
    if (sender == MQ5_FROM_CLIENT && place == MQ5_PUBLISH && id == MQ5_SUBSCRIPTION_IDENTIFIER)
        return fail_property(reader, MQ5_PROTOCOL, "client sent a Subscription Identifier in PUBLISH", "MQTT-3.3.4-6");
    if (sender == MQ5_FROM_SERVER && place == MQ5_DISCONNECT && id == MQ5_SESSION_EXPIRY_INTERVAL)
        return fail_property(reader, MQ5_PROTOCOL, "server sent a Session Expiry Interval in DISCONNECT",
                             "MQTT-3.14.2-2");
    if (sender == MQ5_FROM_CLIENT && place == MQ5_DISCONNECT && id == MQ5_SERVER_REFERENCE)
        return fail_property(reader, MQ5_PROTOCOL, "client sent a Server Reference in DISCONNECT", "S3.14.2.2.5");
    return true;
}

static bool check_number(struct mq5_reader *reader, const struct mq5_property_rule *rule, uint32_t value)
{
    if ((rule->check == CHECK_FLAG && value > 1) || (rule->check == CHECK_NOT_ZERO && value == 0))
        return mq5_fail(reader, MQ5_PROTOCOL, rule->reason, rule->what, rule->ref);
    return true;
}

static bool read_response_topic(struct mq5_reader *reader, const struct mq5_property_rule *rule, struct span *out)
{
    if (!mq5_read_binary(reader, out))
        return false;
    enum mq5_text flaw = mq5_text_check(out->data, out->length, true);
    if (flaw == TEXT_WILDCARD || out->length == 0)
        return mq5_fail(reader, MQ5_PROTOCOL, rule->reason, rule->what, rule->ref);
    return flaw == TEXT_OK || mq5_fail_text(reader, flaw);
}

static bool read_value(struct mq5_reader *reader, const struct mq5_property_rule *rule, struct mq5_properties *out)
{
    void *field = (uint8_t *)out + rule->offset;
    uint32_t number;
    struct span ignored;
    switch (rule->kind) {
    case KIND_U8: return mq5_read_u8(reader, field) && check_number(reader, rule, *(uint8_t *)field);
    case KIND_U16: return mq5_read_u16(reader, field) && check_number(reader, rule, *(uint16_t *)field);
    case KIND_U32: return mq5_read_u32(reader, field) && check_number(reader, rule, *(uint32_t *)field);
    case KIND_VBI: return mq5_read_vbi(reader, &number) && check_number(reader, rule, number);
    case KIND_BINARY: return mq5_read_binary(reader, field);
    case KIND_PAIR: return mq5_read_text(reader, &ignored) && mq5_read_text(reader, &ignored);
    default: /* KIND_TEXT */
        if (rule->check == CHECK_TOPIC_NAME)
            return read_response_topic(reader, rule, field);
        return mq5_read_text(reader, field);
    }
}

static bool read_property(struct mq5_reader *reader, int place, enum mq5_sender sender, uint64_t allowed,
                          struct mq5_properties *out)
{
    uint8_t id = *reader->at;
    if (id >= MQ5_PROPERTY_IDS || mq5_property_rules[id].kind == KIND_NONE)
        return fail_property(reader, MQ5_MALFORMED, "unknown property", "S2.2.2.2a");
    if (!(allowed >> id & 1))
        return fail_property(reader, MQ5_MALFORMED, "property not allowed in this packet", "S2.2.2.2a");
    if (!check_sender(reader, place, id, sender))
        return false;
    bool repeats = id == MQ5_USER_PROPERTY || (id == MQ5_SUBSCRIPTION_IDENTIFIER && place == MQ5_PUBLISH);
    if ((out->present >> id & 1) && !repeats)
        return fail_property(reader, MQ5_PROTOCOL, "property given twice", "S2.2.2.2c");
    out->present |= MQ5_BIT(id);
    reader->at++;
    return read_value(reader, &mq5_property_rules[id], out);
}

bool mq5_read_properties(struct mq5_reader *reader, int place, enum mq5_sender sender, struct mq5_properties *out)
{
    uint32_t length;
    mq5_properties_clear(out);
    if (!mq5_read_vbi(reader, &length))
        return false;
    if (length > mq5_left(reader))
        return fail_property(reader, MQ5_MALFORMED, "property length runs past the packet", "S2.2.2.2b");
    out->encoded = (struct span){reader->at, length};
    if (length == 0)
        return true;
    const uint8_t *packet_end = reader->end;
    const uint64_t allowed = mq5_properties_allowed(place);
    reader->end = reader->at + length;
    while (reader->at < reader->end)
        if (!read_property(reader, place, sender, allowed, out))
            return false;
    reader->end = packet_end;
    return true;
}

/* Steps over one property of an accepted block; false at its end (or where it stops making sense). */
static bool skip_value(struct mq5_reader *reader, uint8_t kind)
{
    uint32_t number;
    struct span ignored;
    size_t fixed = kind == KIND_U8 ? 1 : kind == KIND_U16 ? 2 : 4;
    switch (kind) {
    case KIND_NONE: return false;
    case KIND_VBI: return mq5_read_vbi(reader, &number);
    case KIND_TEXT:
    case KIND_BINARY: return mq5_read_binary(reader, &ignored);
    case KIND_PAIR: return mq5_read_binary(reader, &ignored) && mq5_read_binary(reader, &ignored);
    default:
        if (mq5_left(reader) < fixed)
            return false;
        reader->at += fixed;
        return true;
    }
}

/* Leaves the reader at the value of the next property `wanted`. */
static bool find_property(struct mq5_reader *reader, uint8_t wanted)
{
    while (reader->at < reader->end) {
        uint8_t id = *reader->at++;
        if (id == wanted)
            return true;
        if (id >= MQ5_PROPERTY_IDS || !skip_value(reader, mq5_property_rules[id].kind))
            return false;
    }
    return false;
}

static struct mq5_reader walk_from(struct span encoded, uint32_t offset)
{
    const uint8_t *end = encoded.data + encoded.length;
    return (struct mq5_reader){offset < encoded.length ? encoded.data + offset : end, end, encoded.data, NULL, MQ5_OK};
}

bool mq5_user_property_next(struct span encoded, uint32_t *offset, struct mq5_user_property *out)
{
    struct mq5_reader reader = walk_from(encoded, *offset);
    bool found = find_property(&reader, MQ5_USER_PROPERTY) && mq5_read_binary(&reader, &out->name) &&
                 mq5_read_binary(&reader, &out->value);
    *offset = found ? (uint32_t)(reader.at - encoded.data) : encoded.length;
    return found;
}

bool mq5_subscription_id_next(struct span encoded, uint32_t *offset, uint32_t *out)
{
    struct mq5_reader reader = walk_from(encoded, *offset);
    bool found = find_property(&reader, MQ5_SUBSCRIPTION_IDENTIFIER) && mq5_read_vbi(&reader, out);
    *offset = found ? (uint32_t)(reader.at - encoded.data) : encoded.length;
    return found;
}
