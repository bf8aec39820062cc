/* text.h: small pieces of JSON and hexadecimal that the services' events are made of. */
#ifndef SERVICES_TEXT_H
#define SERVICES_TEXT_H

#include "base.h"

/* Writes 2 * length digits and a terminator. */
static inline void text_hex(const uint8_t *data, size_t length, char *out)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < length; i++) {
        *out++ = digits[data[i] >> 4];
        *out++ = digits[data[i] & 15];
    }
    *out = 0;
}

static inline bool text_unhex(const uint8_t *text, size_t digits, uint8_t *out)
{
    for (size_t i = 0; i < digits; i++) {
        uint8_t c = text[i];
        uint8_t value = c >= '0' && c <= '9'   ? (uint8_t)(c - '0')
                        : c >= 'a' && c <= 'f' ? (uint8_t)(c - 'a' + 10)
                                               : 255;
        if (value == 255)
            return false;
        out[i / 2] = (uint8_t)(i % 2 ? out[i / 2] | value : value << 4);
    }
    return true;
}

/* A JSON string's inside: quotes, backslashes and control characters escaped; cut to what fits, always terminated. */
static inline void text_json(struct span text, char *out, size_t capacity)
{
    static const char digits[] = "0123456789abcdef";
    size_t used = 0;
    for (uint32_t i = 0; i < text.length && used + 7 < capacity; i++) {
        uint8_t c = text.data[i];
        if (c == '"' || c == '\\') {
            out[used++] = '\\';
            out[used++] = (char)c;
        } else if (c < 0x20) {
            memcpy(out + used, "\\u00", 4);
            out[used + 4] = digits[c >> 4];
            out[used + 5] = digits[c & 15];
            used += 6;
        } else {
            out[used++] = (char)c;
        }
    }
    out[used] = 0;
}

/* Writes one piece after the other and counts on beyond the end, so that whoever asks afterwards knows that it did not fit. */
struct text_writer {
    char *out;
    size_t at, capacity;
};

static inline void text_put(struct text_writer *w, const void *data, size_t length)
{
    if (w->at + length <= w->capacity && length)
        memcpy(w->out + w->at, data, length);
    w->at += length;
}

#define TEXT_PUT(writer, literal) text_put(writer, literal, sizeof(literal) - 1)

static inline void text_put_string(struct text_writer *w, const char *text)
{
    text_put(w, text, strlen(text));
}

static inline void text_put_number(struct text_writer *w, int64_t value)
{
    char digits[20];
    size_t count = 0;
    uint64_t rest = value < 0 ? -(uint64_t)value : (uint64_t)value;
    do {
        digits[sizeof digits - ++count] = (char)('0' + rest % 10);
        rest /= 10;
    } while (rest);
    if (value < 0)
        text_put(w, "-", 1);
    text_put(w, digits + sizeof digits - count, count);
}

static inline void text_put_hex64(struct text_writer *w, uint64_t value)
{
    uint8_t bytes[8];
    char digits[17];
    for (int i = 0; i < 8; i++)
        bytes[i] = (uint8_t)(value >> (56 - 8 * i));
    text_hex(bytes, sizeof bytes, digits);
    text_put(w, digits, 16);
}

static inline bool text_fits(const struct text_writer *w)
{
    return w->at <= w->capacity;
}

#endif
