/* utf8.c: is a text well-formed UTF-8 without U+0000 (1.5.4), and without wildcards where a topic name is due?
 *
 * Nearly all texts are ASCII: eight bytes at a time, no branch per byte. Anything else goes to the exact check,
 * which also finds out what is wrong.
 */
#include "mqtt5/topic.h"
#include "wire.h"

static inline uint64_t suspicious(uint64_t eight, bool topic_name)
{
    return topic_name ? mq5_odd(eight) | mq5_wildcard(eight) : mq5_odd(eight);
}

static inline uint64_t load_short(const uint8_t *data, uint32_t length)
{
    uint64_t eight = MQ5_EVERY('a');
    if (length >= 4) {
        uint32_t first, last;
        memcpy(&first, data, 4);
        memcpy(&last, data + length - 4, 4);
        return (uint64_t)first << 32 | last;
    }
    for (uint32_t i = 0; i < length; i++)
        eight = eight << 8 | data[i];
    return eight;
}

/* Length of the well-formed sequence at `at` (Unicode table 3-7), 0 if there is none. */
static int sequence(const uint8_t *at, const uint8_t *end)
{
    uint8_t first = at[0], low = 0x80, high = 0xBF;
    int length = first < 0x80 ? 1 : first < 0xC2 ? 0 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : first < 0xF5 ? 4 : 0;
    if (length < 2 || end - at < length)
        return length < 2 ? length : 0;
    if (first == 0xE0)
        low = 0xA0; /* overlong */
    else if (first == 0xED)
        high = 0x9F; /* surrogates */
    else if (first == 0xF0)
        low = 0x90; /* overlong */
    else if (first == 0xF4)
        high = 0x8F; /* above U+10FFFF */
    if (at[1] < low || at[1] > high)
        return 0;
    for (int i = 2; i < length; i++)
        if ((at[i] & 0xC0) != 0x80)
            return 0;
    return length;
}

static enum mq5_text check_exactly(const uint8_t *at, const uint8_t *end, bool topic_name)
{
    enum mq5_text flaw = TEXT_OK;
    while (at < end) {
        int length = sequence(at, end);
        if (length == 0)
            return TEXT_NOT_UTF8;
        if (*at == 0)
            return TEXT_NUL;
        if (topic_name && (*at == '+' || *at == '#'))
            flaw = TEXT_WILDCARD;
        at += length;
    }
    return flaw;
}

static inline uint64_t scan(const uint8_t *data, uint32_t length, bool topic_name)
{
    if (length < 8)
        return suspicious(load_short(data, length), topic_name);
    const uint8_t *last = data + length - 8;
    uint64_t found = suspicious(mq5_load(last), topic_name);
    for (; data < last; data += 8)
        found |= suspicious(mq5_load(data), topic_name);
    return found;
}

enum mq5_text mq5_text_check(const uint8_t *data, uint32_t length, bool topic_name)
{
    uint64_t found = topic_name ? scan(data, length, true) : scan(data, length, false);
    return __builtin_expect((found & MQ5_EVERY(0x80)) == 0, 1) ? TEXT_OK
                                                               : check_exactly(data, data + length, topic_name);
}

bool mq5_utf8_valid(struct span text)
{
    return mq5_text_check(text.data, text.length, false) == TEXT_OK;
}
