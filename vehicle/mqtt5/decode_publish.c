/* decode_publish.c: PUBLISH (3.3), whatever it may carry. The usual ones do not come here: decode_plain.c. */
#include "wire.h"

static bool read_topic(struct mq5_reader *reader, struct span *out)
{
    if (!mq5_read_binary(reader, out))
        return false;
    enum mq5_text flaw = mq5_text_check(out->data, out->length, true);
    if (flaw == TEXT_WILDCARD)
        return mq5_fail(reader, MQ5_PROTOCOL, MQ5_TOPIC_NAME_INVALID, "topic name contains a wildcard", "MQTT-3.3.2-2");
    return flaw == TEXT_OK || mq5_fail_text(reader, flaw);
}

bool mq5_decode_publish(struct mq5_reader *reader, enum mq5_version version, enum mq5_sender sender, uint8_t flags,
                        struct mq5_publish *out)
{
    out->qos = flags >> 1 & 3;
    out->dup = flags >> 3;
    out->retain = flags & 1;
    out->packet_id = 0;
    if (out->qos == 3)
        return mq5_fail(reader, MQ5_MALFORMED, MQ5_MALFORMED_PACKET, "QoS 3", "MQTT-3.3.1-4");
    if (out->qos == 0 && out->dup)
        return mq5_fail(reader, MQ5_MALFORMED, MQ5_MALFORMED_PACKET, "DUP with QoS 0", "MQTT-3.3.1-2");
    if (!read_topic(reader, &out->topic) || (out->qos && !mq5_read_packet_id(reader, &out->packet_id)))
        return false;
    if (version < MQ5_V5)
        mq5_properties_clear(&out->properties);
    else if (!mq5_read_properties(reader, MQ5_PUBLISH, sender, &out->properties))
        return false;
    if (out->topic.length == 0 && !(out->properties.present & MQ5_BIT(MQ5_TOPIC_ALIAS)))
        return mq5_fail(reader, MQ5_PROTOCOL, MQ5_PROTOCOL_ERROR, "empty topic without an alias", "S3.3.2.1a");
    out->payload = (struct span){reader->at, mq5_left(reader)};
    return true;
}
