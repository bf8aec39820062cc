/* stream.c: packets out of a byte stream, the same for any split (4.2).
 *
 * Two states: nothing gathered (used 0: packets are decoded where they lie) and gathering (the first `used` bytes
 * of a packet lie in `buffer`). Memory is asked for as bytes arrive, not as the peer announces them.
 */
#include "wire.h"

static enum mq5_status stop(struct mq5_error *error, enum mq5_status status, uint8_t reason, const char *what,
                            const char *ref)
{
    if (error)
        *error = (struct mq5_error){status, reason, what, ref, 0};
    return status;
}

static enum mq5_status stop_frame(struct mq5_error *error, enum mq5_status status)
{
    if (status == MQ5_TOO_LARGE)
        return stop(error, status, MQ5_PACKET_TOO_LARGE, "packet above the maximum packet size", "S3.1.2.11.4b");
    return stop(error, status, MQ5_MALFORMED_PACKET, "remaining length not in its shortest form or too long",
                "MQTT-1.5.5-1");
}

static inline enum mq5_status hand_out(struct mq5_stream *stream, const uint8_t *data, uint32_t length,
                                       struct mq5_packet *out, struct mq5_error *error)
{
    enum mq5_status status =
        mq5_decode((enum mq5_version)stream->version, (enum mq5_sender)stream->sender, data, length, out, error);
    stream->packet = (struct span){data, length};
    if (status == MQ5_OK && out->type == MQ5_CONNECT)
        stream->version = out->connect.version;
    return status;
}

/* Room for `needed` bytes of a packet of `whole` bytes. */
static bool make_room(struct mq5_stream *stream, uint32_t needed, uint32_t whole)
{
    if (!stream->grow)
        return whole <= stream->capacity;
    if (needed <= stream->capacity)
        return true;
    uint32_t wanted = needed, doubled = stream->capacity * 2;
    if (wanted < doubled)
        wanted = doubled < whole ? doubled : whole;
    uint8_t *buffer = stream->grow(stream->grow_context, stream->buffer, stream->capacity, wanted, &stream->capacity);
    if (!buffer)
        return false;
    stream->buffer = buffer;
    return true;
}

/* Takes `count` bytes of the input into the buffer. */
static bool gather(struct mq5_stream *stream, const uint8_t **data, size_t *length, uint32_t count, uint32_t whole)
{
    if (!make_room(stream, stream->used + count, whole))
        return false;
    memcpy(stream->buffer + stream->used, *data, count);
    stream->used += count;
    *data += count;
    *length -= count;
    return true;
}

static enum mq5_status no_room(struct mq5_error *error)
{
    return stop(error, MQ5_NO_SPACE, MQ5_PACKET_TOO_LARGE, "no buffer for a packet cut by a chunk border", "");
}

/* Completes the gathered packet as far as the input goes. */
static enum mq5_status gather_next(struct mq5_stream *stream, const uint8_t **data, size_t *length,
                                   struct mq5_packet *out, struct mq5_error *error)
{
    uint32_t whole;
    enum mq5_status framed;
    while ((framed = mq5_frame(stream->buffer, stream->used, stream->max_packet, &whole)) == MQ5_MORE) {
        if (*length == 0)
            return MQ5_MORE;
        if (!gather(stream, data, length, 1, stream->used + 1))
            return no_room(error);
    }
    if (framed != MQ5_OK)
        return stop_frame(error, framed);
    uint32_t missing = whole - stream->used;
    if (missing > *length)
        missing = (uint32_t)*length;
    if (missing && !gather(stream, data, length, missing, whole))
        return no_room(error);
    if (stream->used < whole)
        return make_room(stream, stream->used, whole) ? MQ5_MORE : no_room(error);
    stream->consumed_pending = 1;
    return hand_out(stream, stream->buffer, stream->used, out, error);
}

static __attribute__((noinline)) enum mq5_status next_any(struct mq5_stream *stream, const uint8_t **data,
                                                          size_t *length, struct mq5_packet *out,
                                                          struct mq5_error *error)
{
    uint32_t whole;
    if (stream->consumed_pending)
        stream->used = stream->consumed_pending = 0;
    if (stream->used == 0) {
        if (*length == 0)
            return MQ5_MORE;
        enum mq5_status framed = mq5_frame(*data, *length, stream->max_packet, &whole);
        if (framed == MQ5_OK && whole <= *length) {
            const uint8_t *packet = *data;
            *data += whole;
            *length -= whole;
            return hand_out(stream, packet, whole, out, error);
        }
        if (framed != MQ5_OK && framed != MQ5_MORE)
            return stop_frame(error, framed);
        if (!gather(stream, data, length, 1, 1))
            return no_room(error);
    }
    return gather_next(stream, data, length, out, error);
}

/* The packet at the beginning of `data`, if all of it is there and its length takes one byte or two in order; else 0. */
static inline uint32_t whole_packet(const uint8_t *data, size_t length, uint32_t max_packet)
{
    if (length < 3)
        return length == 2 && data[1] == 0 && max_packet != 1 ? 2 : 0;
    uint32_t whole = data[1] < 0x80                  ? 2 + (uint32_t)data[1]
                     : data[2] > 0 && data[2] < 0x80 ? 3 + ((uint32_t)data[1] & 0x7F) + ((uint32_t)data[2] << 7)
                                                     : UINT32_MAX;
    return whole <= length && (max_packet == 0 || whole <= max_packet) ? whole : 0;
}

/* Nothing gathered and a whole packet in sight is nearly always; the rest is for next_any(). */
enum mq5_status mq5_stream_next(struct mq5_stream *stream, const uint8_t **data, size_t *length, struct mq5_packet *out,
                                struct mq5_error *error)
{
    if (stream->used == 0 && !stream->consumed_pending) {
        const uint8_t *packet = *data;
        const size_t left = *length;
        if (left == 0)
            return MQ5_MORE;
        const uint32_t whole = whole_packet(packet, left, stream->max_packet);
        if (whole) {
            *data = packet + whole;
            *length = left - whole;
            return hand_out(stream, packet, whole, out, error);
        }
    }
    return next_any(stream, data, length, out, error);
}

struct span mq5_stream_packet_bytes(const struct mq5_stream *stream)
{
    return stream->packet;
}
