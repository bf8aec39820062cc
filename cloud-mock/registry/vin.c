/* vin.c: vehicle identification numbers: well formed ones, and where one is in bytes.
 *
 * 49 CFR 565: letters count as digits, each place has its weight, the sum modulo 11 is the ninth character (10: X).
 */
#include "cloud/vehicles.h"

#define NOT_VIN     0xffu /* letters and digits that no VIN has */
#define NOT_TEXT    0xfeu /* neither letter nor digit */
#define CHECK_PLACE 8
#define YEAR_PLACE  9

/* What a byte counts in the sum. Small letters as capitals: who writes one in small letters has written it. */
static const uint8_t values[256] = {
    [0 ... 47] = NOT_TEXT,
    [':' ... '@'] = NOT_TEXT,
    ['[' ... '`'] = NOT_TEXT,
    ['{' ... 255] = NOT_TEXT,
    ['0'] = 0,
    ['1'] = 1,
    ['2'] = 2,
    ['3'] = 3,
    ['4'] = 4,
    ['5'] = 5,
    ['6'] = 6,
    ['7'] = 7,
    ['8'] = 8,
    ['9'] = 9,
    ['A'] = 1,
    ['B'] = 2,
    ['C'] = 3,
    ['D'] = 4,
    ['E'] = 5,
    ['F'] = 6,
    ['G'] = 7,
    ['H'] = 8,
    ['I'] = NOT_VIN,
    ['J'] = 1,
    ['K'] = 2,
    ['L'] = 3,
    ['M'] = 4,
    ['N'] = 5,
    ['O'] = NOT_VIN,
    ['P'] = 7,
    ['Q'] = NOT_VIN,
    ['R'] = 9,
    ['S'] = 2,
    ['T'] = 3,
    ['U'] = 4,
    ['V'] = 5,
    ['W'] = 6,
    ['X'] = 7,
    ['Y'] = 8,
    ['Z'] = 9,
    ['a'] = 1,
    ['b'] = 2,
    ['c'] = 3,
    ['d'] = 4,
    ['e'] = 5,
    ['f'] = 6,
    ['g'] = 7,
    ['h'] = 8,
    ['j'] = 1,
    ['k'] = 2,
    ['l'] = 3,
    ['m'] = 4,
    ['n'] = 5,
    ['p'] = 7,
    ['r'] = 9,
    ['s'] = 2,
    ['t'] = 3,
    ['u'] = 4,
    ['v'] = 5,
    ['w'] = 6,
    ['x'] = 7,
    ['y'] = 8,
    ['z'] = 9,
    ['i'] = NOT_VIN,
    ['o'] = NOT_VIN,
    ['q'] = NOT_VIN,
};
static const uint8_t weights[CLOUD_VIN_LENGTH] = {8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2};
static const char check_digits[] = "0123456789X";

static uint8_t capital(uint8_t byte)
{
    return byte >= 'a' && byte <= 'z' ? (uint8_t)(byte - 'a' + 'A') : byte;
}

/* Seventeen bytes, in capitals or not. */
static bool well_formed(const uint8_t *vin)
{
    unsigned sum = 0;
    uint8_t year = capital(vin[YEAR_PLACE]);
    for (int i = 0; i < CLOUD_VIN_LENGTH; i++) {
        if (values[vin[i]] > 9)
            return false;
        sum += (unsigned)values[vin[i]] * weights[i];
    }
    return capital(vin[CHECK_PLACE]) == (uint8_t)check_digits[sum % 11] && year != 'U' && year != 'Z' && year != '0';
}

bool cloud_vin_valid(struct span vin)
{
    if (vin.length != CLOUD_VIN_LENGTH || !well_formed(vin.data))
        return false;
    for (uint32_t i = 0; i < vin.length; i++)
        if (vin.data[i] != capital(vin.data[i]))
            return false;
    return true;
}

static bool digits_only(const uint8_t *vin)
{
    for (int i = 0; i < CLOUD_VIN_LENGTH; i++)
        if (vin[i] < '0' || vin[i] > '9')
            return false;
    return true;
}

/* `at` is always a place where a run may begin. Looks at the last byte of the window first: from anything that is no letter or digit no VIN can come
 * before the byte behind it. */
int64_t cloud_vin_find(struct span bytes)
{
    uint64_t at = 0;
    while (at + CLOUD_VIN_LENGTH <= bytes.length) {
        uint64_t gap = at + CLOUD_VIN_LENGTH;
        while (gap > at && values[bytes.data[gap - 1]] != NOT_TEXT)
            gap--;
        if (gap > at) {
            at = gap;
            continue;
        }
        uint64_t end = at + CLOUD_VIN_LENGTH;
        while (end < bytes.length && values[bytes.data[end]] != NOT_TEXT)
            end++;
        if (end - at == CLOUD_VIN_LENGTH && well_formed(bytes.data + at) && !digits_only(bytes.data + at))
            return (int64_t)at;
        at = end + 1;
    }
    return -1;
}

/* ---- making them -------------------------------------------------------------------------------------------------- */

static const char letters[] = "0123456789ABCDEFGHJKLMNPRSTUVWXYZ"; /* 33 */
static const char years[] = "ABCDEFGHJKLMNPRSTVWXY123456789";      /* 30 */
static const char regions[] = "12345JKLSVWYZ";
#define LETTERS 33u
#define SERIALS UINT64_C(1000000)
#define BLOCKS  UINT64_C(1291467969) /* LETTERS^6: five of the vehicle's description and the plant */

static uint64_t mix(uint64_t value)
{
    value += UINT64_C(0x9E3779B97F4A7C15);
    value = (value ^ value >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    value = (value ^ value >> 27) * UINT64_C(0x94D049BB133111EB);
    return value ^ value >> 31;
}

/* The number decides the serial and the block, both shifted by the seed, so that no two are the same; region and year are by luck. */
void cloud_vin_make(uint64_t seed, uint64_t number, char out[CLOUD_VIN_LENGTH + 1])
{
    uint64_t luck = mix(mix(seed) ^ number), start = mix(seed);
    uint64_t serial = (number % SERIALS * 618033 + start % SERIALS) % SERIALS;
    uint64_t block = (number / SERIALS % BLOCKS + mix(start) % BLOCKS) % BLOCKS;
    out[0] = regions[luck % (sizeof(regions) - 1)];
    out[1] = 'C';
    out[2] = 'V';
    for (int i = 3; i < 8; i++, block /= LETTERS)
        out[i] = letters[block % LETTERS];
    out[YEAR_PLACE] = years[(luck >> 32) % (sizeof(years) - 1)];
    out[10] = letters[block % LETTERS];
    for (int i = CLOUD_VIN_LENGTH - 1; i > 10; i--, serial /= 10)
        out[i] = (char)('0' + serial % 10);
    unsigned sum = 0;
    for (int i = 0; i < CLOUD_VIN_LENGTH; i++)
        sum += i == CHECK_PLACE ? 0u : (unsigned)values[(uint8_t)out[i]] * weights[i];
    out[CHECK_PLACE] = check_digits[sum % 11];
    out[CLOUD_VIN_LENGTH] = 0;
}
