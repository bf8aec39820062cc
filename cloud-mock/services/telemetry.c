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

/* Eight digits at once: false if one of the bytes is none. Pairs, then fours, then all eight are put together by multiplications. */
static inline bool eight_digits(const uint8_t *text, uint64_t *value)
{
    uint64_t x;
    memcpy(&x, text, sizeof x);
    const uint64_t upper = UINT64_C(0xf0f0f0f0f0f0f0f0), zeros = UINT64_C(0x3030303030303030);
    if ((x & upper) != zeros || ((x + UINT64_C(0x0606060606060606)) & upper) != zeros)
        return false;
    x -= zeros;
    x = (x * 10 + (x >> 8)) & UINT64_C(0x00ff00ff00ff00ff);
    x = (x * 100 + (x >> 16)) & UINT64_C(0x0000ffff0000ffff);
    *value = (x * 10000 + (x >> 32)) & UINT32_MAX;
    return true;
}
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "digits are read by the word");

#define DIGITS_MAX 19u

static bool take_number(struct span *rest, uint64_t *value)
{
    uint32_t digits = 0;
    uint64_t eight;
    *value = 0;
    while (digits + 8 <= rest->length && digits + 8 <= DIGITS_MAX && eight_digits(rest->data + digits, &eight)) {
        *value = *value * 100000000 + eight;
        digits += 8;
    }
    while (digits < rest->length && digits < DIGITS_MAX && rest->data[digits] >= '0' && rest->data[digits] <= '9')
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
