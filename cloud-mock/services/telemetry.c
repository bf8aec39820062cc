/* telemetry.c: what a processor needs of a message: who sent it, its number, when it was meant. Reads the payload's head only. */
#include "cloud/services.h"

/* Finds what stands for '%' in a topic made from the template. */
static bool thing_in_topic(const char *template, struct span topic, struct span *thing)
{
    const uint8_t *at = topic.data, *end = at + topic.length;
    for (; *template != '%'; template ++, at++)
        if (at == end || *template == 0 || *at != (uint8_t) * template)
            return false;
    size_t tail = strlen(++template);
    if ((size_t)(end - at) <= tail || memcmp(end - tail, template, tail) != 0)
        return false;
    *thing = span_of(at, (size_t)(end - at) - tail);
    return true;
}

/* Of a length known to the compiler, which compares by the word then. */
#define TAKE(rest, literal)                                                                                            \
    ((rest)->length >= sizeof(literal) - 1 && memcmp((rest)->data, literal, sizeof(literal) - 1) == 0 &&               \
     step(rest, sizeof(literal) - 1))

static inline bool step(struct span *rest, uint32_t length)
{
    rest->data += length;
    rest->length -= length;
    return true;
}

static bool take_span(struct span *rest, struct span text)
{
    return rest->length >= text.length && memcmp(rest->data, text.data, text.length) == 0 && step(rest, text.length);
}

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "digits are read by the word");

/* The digits at the beginning of eight bytes, at once; returns how many there are. They are moved to the word's end, behind zeros, and put
 * together as pairs, then fours, then all eight. */
static inline uint32_t leading_digits(const uint8_t *text, uint64_t *value)
{
    uint64_t x;
    memcpy(&x, text, sizeof x);
    x ^= UINT64_C(0x3030303030303030);
    uint64_t others = ((x + UINT64_C(0x0606060606060606)) | x) & UINT64_C(0xf0f0f0f0f0f0f0f0);
    uint32_t count = others ? (uint32_t)__builtin_ctzll(others) / 8 : 8;
    if (count == 0)
        return 0;
    x <<= 64 - 8 * count;
    x = (x * 10 + (x >> 8)) & UINT64_C(0x00ff00ff00ff00ff);
    x = (x * 100 + (x >> 16)) & UINT64_C(0x0000ffff0000ffff);
    *value = (x * 10000 + (x >> 32)) & UINT32_MAX;
    return count;
}

#define DIGITS_MAX 19u

static bool take_number(struct span *rest, uint64_t *value)
{
    static const uint32_t powers[9] = {1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000};
    uint32_t digits = 0, count = 8;
    uint64_t word = 0;
    *value = 0;
    while (count == 8 && digits + 8 <= rest->length && digits + 8 <= DIGITS_MAX) {
        count = leading_digits(rest->data + digits, &word);
        *value = *value * powers[count] + (count ? word : 0);
        digits += count;
    }
    while (count == 8 && digits < rest->length && digits < DIGITS_MAX && rest->data[digits] >= '0' &&
           rest->data[digits] <= '9')
        *value = *value * 10 + (uint64_t)(rest->data[digits++] - '0');
    step(rest, digits);
    return digits > 0;
}

bool cloud_telemetry_read(const char *topic_template, const struct mq5_publish *message, struct cloud_telemetry *out)
{
    if (!thing_in_topic(topic_template, message->topic, &out->thing))
        return false;
    struct span rest = message->payload;
    uint64_t number = 0, wall_us = 0;
    out->payload_bytes = rest.length;
    out->valid = TAKE(&rest, "{\"id\":\"") && take_span(&rest, out->thing) && TAKE(&rest, "\",\"n\":") &&
                 take_number(&rest, &number) && TAKE(&rest, ",\"ts\":") && take_number(&rest, &wall_us) &&
                 number <= UINT32_MAX;
    out->number = (uint32_t)number;
    out->wall_us = (int64_t)wall_us;
    return true;
}
