/* digits.h: numbers to decimal digits, eight at a time and without a branch. Depends on libc only. */
#ifndef CONVOY_DIGITS_H
#define CONVOY_DIGITS_H

#include "base.h"

#define DIGITS_TEN_TO_8 100000000u

/* Eight decimal digits, the first in the lowest byte: halves, quarters and digits are split off in lanes of one word, by products
 * with 1/100 and 1/10 that are exact for what is in them. Of a number below 10^8. */
static inline uint64_t digits_eight(uint32_t number)
{
    uint64_t lanes = number / 10000 | (uint64_t)(number % 10000) << 32;
    uint64_t part = lanes * 10486 >> 20 & UINT64_C(0x0000007F0000007F);
    lanes = part | (lanes - part * 100) << 16;
    part = lanes * 103 >> 10 & UINT64_C(0x000F000F000F000F);
    lanes = part | (lanes - part * 10) << 8;
    return lanes | UINT64_C(0x3030303030303030);
}

static inline void digits_word(void *out, uint64_t word)
{
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    word = __builtin_bswap64(word);
#endif
    memcpy(out, &word, sizeof(word));
}

/* Below 10^8, all eight of them. */
static inline void digits_put_8(void *out, uint32_t number)
{
    digits_word(out, digits_eight(number));
}

/* Below 10^8, without leading zeros; returns how many. Eight bytes are written. */
static inline unsigned digits_put(void *out, uint32_t number)
{
    uint64_t digits = digits_eight(number);
    unsigned zeros = (unsigned)__builtin_ctzll((digits ^ UINT64_C(0x3030303030303030)) | UINT64_C(1) << 56) / 8;
    digits_word(out, digits >> 8 * zeros);
    return 8 - zeros;
}

/* Below 1,000: one product for each digit. Four bytes are written. */
static inline unsigned digits_put_3(void *out, uint32_t number)
{
    uint32_t hundreds = number * 656 >> 16, tens = number * 6554 >> 16;
    uint32_t digits = (hundreds | (tens - hundreds * 10) << 8 | (number - tens * 10) << 16) + UINT32_C(0x303030);
    unsigned zeros = (number < 100) + (number < 10);
    digits >>= 8 * zeros;
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    digits = __builtin_bswap32(digits);
#endif
    memcpy(out, &digits, sizeof(digits));
    return 3 - zeros;
}

#endif
