/* base64.c: the transfer encoding of EST bodies (RFC 7030 section 4.2.1, RFC 2045). */
#include "identity_internal.h"

#define LINE_BYTES 48 /* 64 characters */

size_t identity_base64_encode(const uint8_t *data, size_t length, uint8_t *out, size_t capacity)
{
    size_t lines = (length + LINE_BYTES - 1) / LINE_BYTES;
    size_t need = (length + 2) / 3 * 4 + lines;
    if (capacity < need + 1) /* EVP_EncodeBlock adds a NUL */
        return 0;
    size_t written = 0;
    for (size_t at = 0; at < length; at += LINE_BYTES) {
        size_t part = length - at < LINE_BYTES ? length - at : LINE_BYTES;
        written += (size_t)EVP_EncodeBlock(out + written, data + at, (int)part);
        out[written++] = '\n';
    }
    return written;
}

static int digit_of(uint8_t c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

bool identity_base64_decode(struct span text, uint8_t *out, size_t capacity, size_t *length)
{
    uint32_t bits = 0, held = 0, padding = 0;
    size_t written = 0;
    for (uint32_t i = 0; i < text.length; i++) {
        uint8_t c = text.data[i];
        if (c == '\n' || c == '\r' || c == ' ' || c == '\t')
            continue;
        if (c == '=') {
            padding++;
            continue;
        }
        int digit = digit_of(c);
        if (digit < 0 || padding)
            return false;
        bits = bits << 6 | (uint32_t)digit;
        held += 6;
        if (held < 8)
            continue;
        held -= 8;
        if (written == capacity)
            return false;
        out[written++] = (uint8_t)(bits >> held);
    }
    *length = written;
    return padding <= 2 && held < 6 && written > 0; /* six bits left over: a lone last character */
}
