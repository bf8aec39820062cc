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

#endif
