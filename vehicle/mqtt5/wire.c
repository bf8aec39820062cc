/* wire.c: the slow and failing paths of wire.h, kept out of line so that the fast ones stay small. */
#include "wire.h"

void mq5_note(struct mq5_reader *reader, enum mq5_status status, uint8_t reason, const char *what, const char *ref)
{
    reader->status = status;
    if (reader->error)
        *reader->error = (struct mq5_error){status, reason, what, ref, (size_t)(reader->at - reader->start)};
}

void mq5_note_short(struct mq5_reader *reader)
{
    mq5_note(reader, MQ5_MALFORMED, MQ5_MALFORMED_PACKET, "a field runs past the end", "S2.1.4b");
}

bool mq5_fail_text(struct mq5_reader *reader, enum mq5_text flaw)
{
    if (flaw == TEXT_NUL)
        return mq5_fail(reader, MQ5_MALFORMED, MQ5_MALFORMED_PACKET, "string contains U+0000", "MQTT-1.5.4-2");
    return mq5_fail(reader, MQ5_MALFORMED, MQ5_MALFORMED_PACKET, "string is not valid UTF-8", "MQTT-1.5.4-1");
}

void mq5_note_vbi(struct mq5_reader *reader, int bytes)
{
    if (bytes == 0)
        mq5_note_short(reader);
    else
        mq5_note(reader, MQ5_MALFORMED, MQ5_MALFORMED_PACKET, "variable byte integer not in its shortest form",
                 "MQTT-1.5.5-1");
}

bool mq5_read_packet_id(struct mq5_reader *reader, uint16_t *out)
{
    if (!mq5_read_u16(reader, out))
        return false;
    return *out != 0 || mq5_fail(reader, MQ5_PROTOCOL, MQ5_PROTOCOL_ERROR, "packet identifier is 0", "MQTT-2.2.1-3");
}

bool mq5_read_end(struct mq5_reader *reader)
{
    return reader->at == reader->end ||
           mq5_fail(reader, MQ5_MALFORMED, MQ5_MALFORMED_PACKET, "bytes left over at the end of the packet", "S2.1.4b");
}
