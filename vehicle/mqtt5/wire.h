/* wire.h: reading and writing MQTT's primitive types (1.5), and the rules the files of this folder share. Private.
 *
 * A reader never looks beyond `end`; the first failure is noted in it and every function returns false from there
 * on up. A writer does not check: its user has measured the packet before (encode.c).
 */
#ifndef MQTT5_WIRE_H
#define MQTT5_WIRE_H

#include "mqtt5/packet.h"

struct mq5_reader {
    const uint8_t *at, *end, *start;
    struct mq5_error *error; /* may be NULL */
    enum mq5_status status;
};

void mq5_note(struct mq5_reader *reader, enum mq5_status status, uint8_t reason, const char *what, const char *ref)
    __attribute__((cold));
void mq5_note_short(struct mq5_reader *reader) __attribute__((cold));

/* Notes the failure and returns false, so that callers write `return mq5_fail(...)`. Inline so that the compiler
 * sees the false. */
static inline bool mq5_fail(struct mq5_reader *reader, enum mq5_status status, uint8_t reason, const char *what,
                            const char *ref)
{
    mq5_note(reader, status, reason, what, ref);
    return false;
}

static inline bool mq5_fail_short(struct mq5_reader *reader)
{
    mq5_note_short(reader);
    return false;
}

/* What is wrong with a text. TEXT_WILDCARD only where a topic name is asked for. */
enum mq5_text { TEXT_OK, TEXT_NOT_UTF8, TEXT_NUL, TEXT_WILDCARD };
enum mq5_text mq5_text_check(const uint8_t *data, uint32_t length, bool topic_name);
bool mq5_fail_text(struct mq5_reader *reader, enum mq5_text flaw);

#define MQ5_EVERY(byte) (UINT64_C(0x0101010101010101) * (byte))

/* Eight bytes, the first in the lowest place. */
static inline uint64_t mq5_load(const uint8_t *data)
{
    uint64_t eight;
    memcpy(&eight, data, 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    eight = __builtin_bswap64(eight);
#endif
    return eight;
}

/* The highest bit of the first byte that is 0 or not ASCII is set; none is if there is no such byte. Bits of bytes after the
 * first such one, and all others, say nothing. */
static inline uint64_t mq5_odd(uint64_t eight)
{
    return (eight - MQ5_EVERY(1)) | eight;
}

/* The same for '+' and '#', which one bit tells apart. */
static inline uint64_t mq5_wildcard(uint64_t eight)
{
    uint64_t other = (eight & ~MQ5_EVERY('+' ^ '#')) ^ MQ5_EVERY('#' & '+');
    return (other - MQ5_EVERY(1)) & ~other;
}

static inline uint16_t mq5_be16(const uint8_t *at)
{
    return (uint16_t)(at[0] << 8 | at[1]);
}

static inline uint32_t mq5_left(const struct mq5_reader *reader)
{
    return (uint32_t)(reader->end - reader->at);
}

static inline bool mq5_read_u8(struct mq5_reader *reader, uint8_t *out)
{
    if (reader->at == reader->end)
        return mq5_fail_short(reader);
    *out = *reader->at++;
    return true;
}

static inline bool mq5_read_u16(struct mq5_reader *reader, uint16_t *out)
{
    if (mq5_left(reader) < 2)
        return mq5_fail_short(reader);
    *out = mq5_be16(reader->at);
    reader->at += 2;
    return true;
}

static inline bool mq5_read_u32(struct mq5_reader *reader, uint32_t *out)
{
    if (mq5_left(reader) < 4)
        return mq5_fail_short(reader);
    *out = (uint32_t)reader->at[0] << 24 | (uint32_t)reader->at[1] << 16 | (uint32_t)reader->at[2] << 8 | reader->at[3];
    reader->at += 4;
    return true;
}

/* Variable byte integer (1.5.5). Returns its length in bytes; 0: not all there; -1: longer than 4 bytes or not the
 * shortest form. */
static inline int mq5_vbi_parse(const uint8_t *data, size_t length, uint32_t *out)
{
    uint32_t value = 0;
    for (int i = 0; i < 4; i++) {
        if ((size_t)i == length)
            return 0;
        value |= (uint32_t)(data[i] & 0x7F) << (7 * i);
        if (data[i] < 0x80) {
            *out = value;
            return i > 0 && data[i] == 0 ? -1 : i + 1;
        }
    }
    return -1;
}

/* Notes why a variable byte integer could not be read. */
void mq5_note_vbi(struct mq5_reader *reader, int bytes) __attribute__((cold));

static inline bool mq5_read_vbi(struct mq5_reader *reader, uint32_t *out)
{
    if (reader->at < reader->end && *reader->at < 0x80) {
        *out = *reader->at++;
        return true;
    }
    int bytes = mq5_vbi_parse(reader->at, mq5_left(reader), out);
    if (bytes <= 0) {
        mq5_note_vbi(reader, bytes);
        return false;
    }
    reader->at += bytes;
    return true;
}

static inline bool mq5_read_binary(struct mq5_reader *reader, struct span *out)
{
    uint16_t length;
    if (!mq5_read_u16(reader, &length))
        return false;
    if (mq5_left(reader) < length)
        return mq5_fail_short(reader);
    *out = (struct span){reader->at, length};
    reader->at += length;
    return true;
}

static inline bool mq5_read_text(struct mq5_reader *reader, struct span *out)
{
    if (!mq5_read_binary(reader, out))
        return false;
    enum mq5_text flaw = mq5_text_check(out->data, out->length, false);
    return flaw == TEXT_OK || mq5_fail_text(reader, flaw);
}

/* Packet identifiers where one is due: 0 is forbidden (2.2.1). */
bool mq5_read_packet_id(struct mq5_reader *reader, uint16_t *out);

/* Nothing may follow. */
bool mq5_read_end(struct mq5_reader *reader);

static inline int mq5_vbi_length(uint32_t value)
{
    return value < 128 ? 1 : value < 16384 ? 2 : value < 2097152 ? 3 : 4;
}

static inline uint8_t *mq5_write_u8(uint8_t *at, uint8_t value)
{
    *at = value;
    return at + 1;
}

static inline uint8_t *mq5_write_u16(uint8_t *at, uint16_t value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
    return at + 2;
}

static inline uint8_t *mq5_write_u32(uint8_t *at, uint32_t value)
{
    return mq5_write_u16(mq5_write_u16(at, (uint16_t)(value >> 16)), (uint16_t)value);
}

/* In `bytes` bytes: more than needed gives the padded form that the standard forbids (raw mode). */
static inline uint8_t *mq5_write_vbi(uint8_t *at, uint32_t value, int bytes)
{
    for (; bytes > 1; bytes--, value >>= 7)
        *at++ = (uint8_t)(value & 0x7F) | 0x80;
    *at++ = (uint8_t)(value & 0x7F);
    return at;
}

static inline uint8_t *mq5_write_bytes(uint8_t *at, struct span bytes)
{
    if (bytes.length)
        memcpy(at, bytes.data, bytes.length);
    return at + bytes.length;
}

static inline uint8_t *mq5_write_binary(uint8_t *at, struct span bytes)
{
    return mq5_write_bytes(mq5_write_u16(at, (uint16_t)bytes.length), bytes);
}

/* Like mq5_write_binary(), without a call for the few bytes that most names and values are. */
static inline uint8_t *mq5_write_short(uint8_t *at, struct span bytes)
{
    const uint32_t length = bytes.length;
    const uint8_t *from = bytes.data;
    at = mq5_write_u16(at, (uint16_t)length);
    if (length > 16) {
        memcpy(at, from, length);
    } else if (length >= 8) {
        memcpy(at, from, 8);
        memcpy(at + length - 8, from + length - 8, 8);
    } else if (length >= 4) {
        memcpy(at, from, 4);
        memcpy(at + length - 4, from + length - 4, 4);
    } else if (length) {
        at[0] = from[0];
        at[length / 2] = from[length / 2];
        at[length - 1] = from[length - 1];
    }
    return at + length;
}

/* --- properties (2.2.2) --- */

enum mq5_property_kind { KIND_NONE, KIND_U8, KIND_U16, KIND_U32, KIND_VBI, KIND_TEXT, KIND_BINARY, KIND_PAIR };
enum mq5_property_check { CHECK_NONE, CHECK_FLAG, CHECK_NOT_ZERO, CHECK_TOPIC_NAME };

struct mq5_property_rule {
    uint8_t kind, check;
    uint16_t offset; /* of its field in struct mq5_properties */
    uint8_t reason;  /* what to answer when the check fails */
    const char *what, *ref;
    const char *name;
};
#define MQ5_PROPERTY_IDS 43
extern const struct mq5_property_rule mq5_property_rules[MQ5_PROPERTY_IDS];

/* Where a property block stands: a packet type, or the will's block in a CONNECT. */
#define MQ5_WILL_BLOCK 0
uint64_t mq5_properties_allowed(int place);

/* Not a memset: a packet is some hundred bytes of which coder and decoder look at few. */
static inline void mq5_properties_clear(struct mq5_properties *properties)
{
    properties->present = 0;
    properties->user = NULL;
    properties->subscription_ids = NULL;
    properties->user_count = 0;
    properties->subscription_id_count = 0;
    properties->encoded = (struct span){NULL, 0};
}

bool mq5_read_properties(struct mq5_reader *reader, int place, enum mq5_sender sender, struct mq5_properties *out);

/* Length without the prefix; false if it cannot be encoded at all (string too long, unknown property, missing
 * list). */
bool mq5_properties_measure(const struct mq5_properties *properties, uint64_t *length);
uint8_t *mq5_properties_write(uint8_t *at, const struct mq5_properties *properties);

/* Plain packets (decode_plain.c, encode_plain.c): a property block has a length of one byte, and so many readable bytes behind it
 * as are looked at together. */
enum { MQ5_PLAIN_BLOCK = 127, MQ5_PLAIN_BEHIND = 16 };
/* Zero bytes in a block; -1 if a byte is not ASCII. */
int mq5_count_zeros(const uint8_t *at, uint32_t length);
/* mq5_encode() for what is plain: the packet's length; 0 if it is not, or has no room. *judged: it is surely legal. */
size_t mq5_write_plain(enum mq5_version version, const struct mq5_packet *packet, uint8_t *out, size_t capacity,
                       bool *judged);

/* mq5_decode() for whatever is not plain (decode_plain.c): takes everything the standard allows, names what is wrong. */
enum mq5_status mq5_decode_carefully(enum mq5_version version, enum mq5_sender sender, const uint8_t *data,
                                     size_t length, struct mq5_packet *out, struct mq5_error *error);

/* --- packets whose decoding fills a file of its own --- */
bool mq5_decode_connect(struct mq5_reader *reader, struct mq5_connect *out);
bool mq5_decode_publish(struct mq5_reader *reader, enum mq5_version version, enum mq5_sender sender, uint8_t flags,
                        struct mq5_publish *out);
bool mq5_decode_subscribe(struct mq5_reader *reader, enum mq5_version version, enum mq5_type type,
                          struct mq5_subscribe *out);

#endif
