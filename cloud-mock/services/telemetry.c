/* telemetry.c: what a processor needs of a message: who sent it, its number, when it was meant. Reads the payload's head only. */
#include "cloud/services.h"

/* Most texts compared here have up to sixteen bytes: two words that overlap. */
static inline bool same(const uint8_t *a, const void *with, uint32_t length)
{
    const uint8_t *b = with;
    if (length > 16)
        return memcmp(a, b, length) == 0;
    if (length >= 8) {
        uint64_t a_word[2], b_word[2];
        memcpy(&a_word[0], a, 8);
        memcpy(&a_word[1], a + length - 8, 8);
        memcpy(&b_word[0], b, 8);
        memcpy(&b_word[1], b + length - 8, 8);
        return ((a_word[0] ^ b_word[0]) | (a_word[1] ^ b_word[1])) == 0;
    }
    for (uint32_t i = 0; i < length; i++)
        if (a[i] != b[i])
            return false;
    return true;
}

struct cloud_telemetry_topic cloud_telemetry_topic(const char *template)
{
    const char *mark = strchr(template, '%');
    if (!mark)
        return (struct cloud_telemetry_topic){NULL, NULL, 0, 0};
    return (struct cloud_telemetry_topic){template, mark + 1, (uint32_t)(mark - template), (uint32_t)strlen(mark + 1)};
}

/* Finds what stands for '%'. */
static inline bool thing_in_topic(const struct cloud_telemetry_topic *made, struct span topic, struct span *thing)
{
    if (!made->before || topic.length <= made->before_length + made->behind_length ||
        !same(topic.data, made->before, made->before_length) ||
        !same(topic.data + topic.length - made->behind_length, made->behind, made->behind_length))
        return false;
    *thing = span_of(topic.data + made->before_length, topic.length - made->before_length - made->behind_length);
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

static inline bool take_span(struct span *rest, struct span text)
{
    return rest->length >= text.length && same(rest->data, text.data, text.length) && step(rest, text.length);
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

static inline bool take_number(struct span *rest, uint64_t *value)
{
    static const uint32_t powers[9] = {1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000};
    uint32_t digits = 0, count = 8;
    uint64_t word = 0, sum = 0;
    while (count == 8 && digits + 8 <= rest->length && digits + 8 <= DIGITS_MAX) {
        count = leading_digits(rest->data + digits, &word);
        sum = sum * powers[count] + (count ? word : 0);
        digits += count;
    }
    while (count == 8 && digits < rest->length && digits < DIGITS_MAX && rest->data[digits] >= '0' &&
           rest->data[digits] <= '9')
        sum = sum * 10 + (uint64_t)(rest->data[digits++] - '0');
    *value = sum;
    step(rest, digits);
    return digits > 0;
}

/* All eight bytes are digits: what they say. */
static inline bool eight_digits(const uint8_t *text, uint64_t *value)
{
    uint64_t x;
    memcpy(&x, text, sizeof x);
    x ^= UINT64_C(0x3030303030303030);
    if (((x + UINT64_C(0x0606060606060606)) | x) & UINT64_C(0xf0f0f0f0f0f0f0f0))
        return false;
    x = (x * 10 + (x >> 8)) & UINT64_C(0x00ff00ff00ff00ff);
    x = (x * 100 + (x >> 16)) & UINT64_C(0x0000ffff0000ffff);
    *value = (x * 10000 + (x >> 32)) & UINT32_MAX;
    return true;
}

/* From 2001 to 2286 a moment's microseconds since 1970 have sixteen digits. */
static inline bool take_moment(struct span *rest, uint64_t *value)
{
    uint64_t high, low;
    if (rest->length > 16 && (uint8_t)(rest->data[16] - '0') > 9 && eight_digits(rest->data, &high) &&
        eight_digits(rest->data + 8, &low)) {
        *value = high * 100000000 + low;
        return step(rest, 16);
    }
    return take_number(rest, value);
}

bool cloud_telemetry_take(const struct cloud_telemetry_topic *topic, const struct mq5_publish *message,
                          struct cloud_telemetry *out)
{
    if (!thing_in_topic(topic, message->topic, &out->thing))
        return false;
    struct span rest = message->payload;
    uint64_t number = 0, wall_us = 0;
    out->payload_bytes = rest.length;
    out->valid = TAKE(&rest, "{\"id\":\"") && take_span(&rest, out->thing) && TAKE(&rest, "\",\"n\":") &&
                 take_number(&rest, &number) && TAKE(&rest, ",\"ts\":") && take_moment(&rest, &wall_us) &&
                 number <= UINT32_MAX;
    out->number = (uint32_t)number;
    out->wall_us = (int64_t)wall_us;
    return true;
}

bool cloud_telemetry_read(const char *template, const struct mq5_publish *message, struct cloud_telemetry *out)
{
    const struct cloud_telemetry_topic topic = cloud_telemetry_topic(template);
    return cloud_telemetry_take(&topic, message, out);
}
