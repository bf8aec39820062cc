/* mutants_lengths.c: brokers whose packets are not as packets are written, and brokers that read lengths as they should not. */
#include "mutant.h"

#define BIT(type) (UINT32_C(1) << (type))

/* The length as it is meant, however it is written. false: there is none. */
static bool read_length(struct span bytes, uint32_t *length, uint32_t *used)
{
    uint64_t value = 0;
    for (uint32_t i = 0; i < 6 && 1 + i < bytes.length; i++) {
        value |= (uint64_t)(bytes.data[1 + i] & 0x7F) << 7 * i;
        if (bytes.data[1 + i] & 0x80)
            continue;
        *length = (uint32_t)value;
        *used = 2 + i;
        return value < 1u << 20;
    }
    return false;
}

static struct span with_length(struct link *link, uint8_t first, struct span body)
{
    uint8_t *bytes = scratch(link->served, body.length + 5);
    uint32_t at = 0, left = body.length;
    bytes[at++] = first;
    do
        bytes[at++] = (uint8_t)((left & 0x7F) | (left > 0x7F ? 0x80 : 0));
    while (left >>= 7);
    if (body.length)
        memcpy(bytes + at, body.data, body.length);
    return span_of(bytes, at + body.length);
}

/* number: the bytes of Remaining Length that are put up with. */
static bool read_any_length(struct link *link, struct seen *seen)
{
    uint32_t length = 0, used = 0;
    if (seen->status != MQ5_MALFORMED || !read_length(seen->bytes, &length, &used) ||
        used + length > seen->bytes.length || used - 1 > mutant_of(link)->number)
        return true;
    seen->bytes = with_length(link, seen->bytes.data[0], span_of(seen->bytes.data + used, length));
    return true;
}

static bool long_form(struct link *link, struct seen *seen)
{
    if (seen->status != MQ5_OK || seen->type != MQ5_PINGRESP)
        return true;
    seen->bytes = scratch_copy(link->served, span_of("\xD0\x80", 3));
    return true;
}

static bool wrong_flags(struct link *link, struct seen *seen)
{
    const struct mutant *mutant = mutant_of(link);
    if (mutant->types >> seen->type & 1)
        own_bytes(link, seen)[0] ^= (uint8_t)mutant->number;
    return true;
}

/* QoS 0 with a packet identifier. */
static bool id_at_qos_0(struct link *link, struct seen *seen)
{
    if (!is(seen, MQ5_PUBLISH) || seen->packet.publish.qos)
        return true;
    seen->packet.publish.qos = 1;
    seen->packet.publish.packet_id = 0;
    edited(link, seen);
    own_bytes(link, seen)[0] &= 0xF9;
    return true;
}

/* Without the byte that says "no properties". */
static bool no_property_length(struct link *link, struct seen *seen)
{
    struct mq5_properties *properties = properties_of(seen);
    if (!properties || properties->present || !(mutant_of(link)->types >> seen->type & 1))
        return true;
    uint32_t length = 0, used = 0;
    read_length(seen->bytes, &length, &used);
    uint8_t *body = scratch(link->served, length);
    uint32_t skip =
        seen->type == MQ5_PUBLISH ? 2 + seen->packet.publish.topic.length + (seen->packet.publish.qos ? 2 : 0) : 2;
    memcpy(body, seen->bytes.data + used, skip);
    memcpy(body + skip, seen->bytes.data + used + skip + 1, length - skip - 1);
    seen->bytes = with_length(link, seen->bytes.data[0], span_of(body, length - 1));
    return true;
}

static bool bytes_too_many(struct link *link, struct seen *seen)
{
    if (seen->type == MQ5_PINGRESP)
        seen->bytes = scratch_copy(link->served, span_of("\xD0\2\0", 4));
    return true;
}

/* Bytes of a property block that no encoder would write. */
static bool with_properties(struct link *link, struct seen *seen, const char *bytes, uint8_t length)
{
    struct mq5_raw raw = {.set_properties = true};
    uint8_t *block = scratch(link->served, length + 1u);
    block[0] = length;
    memcpy(block + 1, bytes, length);
    raw.properties = span_of(block, length + 1u);
    return edited_raw(link, seen, &raw);
}

static bool foreign_property(struct link *link, struct seen *seen)
{
    return is(seen, MQ5_SUBACK) ? with_properties(link, seen, "\x22\0\1", 3) : true; /* Topic Alias Maximum */
}

static bool property_twice(struct link *link, struct seen *seen)
{
    return is(seen, MQ5_SUBACK) ? with_properties(link, seen, "\x1F\0\1a\x1F\0\1b", 8) : true; /* Reason String */
}

static bool property_too_long(struct link *link, struct seen *seen)
{
    static const struct mq5_raw raw = {.set_property_length = true, .property_length = 100};
    return is(seen, MQ5_SUBACK) ? edited_raw(link, seen, &raw) : true;
}

static bool text_not_utf8(struct link *link, struct seen *seen)
{
    return is(seen, MQ5_SUBACK) ? with_properties(link, seen, "\x1F\0\2\xC3\x28", 5) : true;
}

static bool text_with_nul(struct link *link, struct seen *seen)
{
    return is(seen, MQ5_SUBACK) ? with_properties(link, seen, "\x1F\0\2a\0", 5) : true;
}

static bool connack_property_twice(struct link *link, struct seen *seen)
{
    return is(seen, MQ5_CONNACK) ? with_properties(link, seen, "\x21\0\x0A\x21\0\x0A", 6) : true;
}

static struct span strip_marks(struct link *link, struct span text)
{
    uint8_t *out = scratch(link->served, text.length);
    uint32_t length = 0;
    for (uint32_t i = 0; i < text.length; i++) {
        if (i + 3 <= text.length && memcmp(text.data + i, "\xEF\xBB\xBF", 3) == 0)
            i += 2;
        else
            out[length++] = text.data[i];
    }
    return span_of(out, length);
}

static bool strip_byte_order_marks(struct link *link, struct seen *seen)
{
    if (!is(seen, MQ5_PUBLISH) || !contains(seen->bytes, "\xEF\xBB\xBF"))
        return true;
    struct mq5_properties *properties = &seen->packet.publish.properties;
    seen->packet.publish.topic = strip_marks(link, seen->packet.publish.topic);
    struct mq5_user_property *users = users_of(link, properties);
    for (uint32_t i = 0; i < properties->user_count; i++) {
        users[i].name = strip_marks(link, users[i].name);
        users[i].value = strip_marks(link, users[i].value);
    }
    return edited(link, seen);
}

/* A short form of an acknowledgement is not understood. */
static bool short_acks(struct link *link, struct seen *seen)
{
    bool ack = seen->status == MQ5_OK && seen->type >= MQ5_PUBACK && seen->type <= MQ5_PUBCOMP;
    return ack && seen->bytes.length == 4 ? hang_up(link) : true;
}

static bool cut_payload(struct link *link, struct seen *seen)
{
    if (!is(seen, MQ5_PUBLISH) || seen->packet.publish.payload.length < 200)
        return true;
    seen->packet.publish.payload.length -= 1;
    return edited(link, seen);
}

MUTANT_TABLE(
    mutants_lengths,
    {.name = "Remaining Length in any form is read", .statement = "MQTT-1.5.5-1", .in = read_any_length, .number = 4},
    {.name = "Remaining Length of five bytes is read", .statement = "S2.1.4a", .in = read_any_length, .number = 5},
    {.name = "PINGRESP has a long form of its length", .statement = "MQTT-1.5.5-1", .late = true, .out = long_form},
    {.name = "SUBACK has a reserved flag",
     .statement = "MQTT-2.1.3-1",
     .late = true,
     .out = wrong_flags,
     .types = BIT(MQ5_SUBACK) | BIT(MQ5_PINGRESP) | BIT(MQ5_PUBACK),
     .number = 1},
    {.name = "PUBREL comes without its flag",
     .statement = "MQTT-3.6.1-1",
     .late = true,
     .out = wrong_flags,
     .types = BIT(MQ5_PUBREL),
     .number = 2},
    {.name = "QoS 0 comes with a packet identifier", .statement = "MQTT-2.2.1-2", .late = true, .out = id_at_qos_0},
    {.name = "no properties are not written as a length of 0",
     .statement = "MQTT-2.2.2-1",
     .late = true,
     .out = no_property_length,
     .types = BIT(MQ5_PUBLISH) | BIT(MQ5_SUBACK) | BIT(MQ5_UNSUBACK)},
    {.name = "PINGRESP has bytes in it", .statement = "S2.1.4b", .late = true, .out = bytes_too_many},
    {.name = "SUBACK has a property that is not its own",
     .statement = "S2.2.2.2a",
     .late = true,
     .out = foreign_property},
    {.name = "SUBACK has a property twice", .statement = "S2.2.2.2c", .late = true, .out = property_twice},
    {.name = "properties of SUBACK run past its end", .statement = "S2.2.2.2b", .late = true, .out = property_too_long},
    {.name = "a reason string is no UTF-8", .statement = "MQTT-1.5.4-1", .late = true, .out = text_not_utf8},
    {.name = "a reason string has a U+0000", .statement = "MQTT-1.5.4-2", .late = true, .out = text_with_nul},
    {.name = "CONNACK has a property twice", .statement = "S3.2.2.3.x", .late = true, .out = connack_property_twice},
    {.name = "byte order marks are taken out", .statement = "MQTT-1.5.4-3", .out = strip_byte_order_marks},
    {.name = "acknowledgements without a reason code are not understood",
     .statement = "S3.4.2a",
     .late = true,
     .in = short_acks},
    {.name = "large payloads lose their last byte", .statement = "S4.2a", .out = cut_payload}, )
