/* decode_subscribe.c: SUBSCRIBE (3.8) and UNSUBSCRIBE (3.10), and the walk over their filters.
 *
 * A filter whose wildcards stand wrongly is let through: the server answers it with 0x8F in its place and serves
 * the others.
 */
#include "wire.h"

static bool forbidden(struct mq5_reader *reader, const char *what, const char *ref)
{
    return mq5_fail(reader, MQ5_PROTOCOL, MQ5_PROTOCOL_ERROR, what, ref);
}

static bool read_options(struct mq5_reader *reader, enum mq5_version version, struct mq5_subscription *out)
{
    uint8_t options;
    if (!mq5_read_u8(reader, &options))
        return false;
    *out = (struct mq5_subscription){.filter = out->filter, .qos = options & 3};
    if (options & (version < MQ5_V5 ? 0xFC : 0xC0))
        return mq5_fail(reader, MQ5_MALFORMED, MQ5_MALFORMED_PACKET, "reserved subscription options", "MQTT-3.8.3-5");
    if (out->qos == 3)
        return forbidden(reader, "requested QoS 3", "S3.8.3.1a");
    out->no_local = options & 4;
    out->retain_as_published = options & 8;
    out->retain_handling = options >> 4 & 3;
    if (out->retain_handling == 3)
        return forbidden(reader, "retain handling 3", "S3.8.3.1b");
    if (out->no_local && out->filter.length >= 7 && memcmp(out->filter.data, "$share/", 7) == 0)
        return forbidden(reader, "no local on a shared subscription", "MQTT-3.8.3-4");
    return true;
}

static bool read_filter(struct mq5_reader *reader, enum mq5_version version, enum mq5_type type,
                        struct mq5_subscription *out)
{
    if (!mq5_read_text(reader, &out->filter))
        return false;
    if (out->filter.length == 0)
        return mq5_fail(reader, MQ5_PROTOCOL, MQ5_TOPIC_FILTER_INVALID, "empty topic filter", "MQTT-4.7.3-1");
    return type == MQ5_UNSUBSCRIBE || read_options(reader, version, out);
}

bool mq5_decode_subscribe(struct mq5_reader *reader, enum mq5_version version, enum mq5_type type,
                          struct mq5_subscribe *out)
{
    struct mq5_subscription subscription;
    out->list = NULL;
    out->count = 0;
    if (!mq5_read_packet_id(reader, &out->packet_id))
        return false;
    if (version < MQ5_V5)
        mq5_properties_clear(&out->properties);
    else if (!mq5_read_properties(reader, type, MQ5_FROM_CLIENT, &out->properties))
        return false;
    out->encoded = (struct span){reader->at, mq5_left(reader)};
    if (out->encoded.length == 0)
        return forbidden(reader, "no topic filter", type == MQ5_SUBSCRIBE ? "MQTT-3.8.3-2" : "MQTT-3.10.3-2");
    for (; reader->at < reader->end; out->count++)
        if (!read_filter(reader, version, type, &subscription))
            return false;
    return true;
}

bool mq5_subscription_next(const struct mq5_subscribe *subscribe, enum mq5_type type, enum mq5_version version,
                           uint32_t *offset, struct mq5_subscription *out)
{
    if (subscribe->list) { /* a packet made for encoding: the offset counts entries */
        if (*offset >= subscribe->count)
            return false;
        *out = subscribe->list[(*offset)++];
        return true;
    }
    const uint8_t *start = subscribe->encoded.data;
    if (*offset >= subscribe->encoded.length)
        return false;
    struct mq5_reader reader = {start + *offset, start + subscribe->encoded.length, start, NULL, MQ5_OK};
    *out = (struct mq5_subscription){0};
    bool found =
        mq5_read_binary(&reader, &out->filter) && (type == MQ5_UNSUBSCRIBE || read_options(&reader, version, out));
    *offset = found ? (uint32_t)(reader.at - start) : subscribe->encoded.length;
    return found;
}
