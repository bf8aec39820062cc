/* VINs: samples of others, every wrong digit, making a million, finding one in bytes against a plain search. */
#include "cloud/vehicles.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

/* Samples in public use; their check digits are right. */
static const char *const good[] = {"1M8GDM9AXKP042788", "11111111111111111", "1HGCM82633A004352", "5GZCZ43D13S812715"};
static const char *const bad[] = {
    "",
    "1M8GDM9AXKP04278",   /* short */
    "1M8GDM9AXKP0427889", /* long */
    "1M8GDM9A1KP042788",  /* check digit */
    "1M8GDM9AYKP042788",  /* ... which is none */
    "1m8gdm9axkp042788",  /* a VIN is in capitals */
    "1I111111111111111",
    "1O111111111111111",
    "1Q111111111111111",
    "11111111111111-11",
    "1111111111111111 ",
};

static void samples(void **state)
{
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        if (!cloud_vin_valid(span_text(good[i])))
            fail_msg("%s", good[i]);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        if (cloud_vin_valid(span_text(bad[i])))
            fail_msg("%s", bad[i]);
}

/* The rule written down a second time, with the letters' values as the table of 49 CFR 565.15 has them. */
static bool by_the_book(const char *vin)
{
    static const char alphabet[] = "ABCDEFGHJKLMNPRSTUVWXYZ", counts[] = "12345678123457923456789";
    static const int weights[] = {8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2};
    int sum = 0;
    for (int i = 0; i < 17; i++) {
        const char *at = strchr(alphabet, vin[i]);
        if (!at && (vin[i] < '0' || vin[i] > '9'))
            return false;
        sum += (at ? counts[at - alphabet] - '0' : vin[i] - '0') * weights[i];
    }
    return vin[8] == (sum % 11 == 10 ? 'X' : '0' + sum % 11) && !strchr("UZ0", vin[9]);
}

/* Each place of a good one with each other byte: as by the book, and a lone change is seen unless its value is the same. */
static void every_wrong_byte(void **state)
{
    uint32_t refused = 0;
    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
        for (int place = 0; place < 17; place++)
            for (int byte = 1; byte < 256; byte++) {
                char vin[18];
                strcpy(vin, good[i]);
                vin[place] = (char)byte;
                assert_int_equal(cloud_vin_valid(span_text(vin)), by_the_book(vin));
                refused += !by_the_book(vin);
            }
    assert_true(refused > 16000);
}

static void a_million(void **state)
{
    enum { COUNT = 1000000, SLOTS = 1 << 22 };
    static uint64_t
        seen[SLOTS]; /* hashes that hold the whole VIN: 17 places of 33 are 86 bits, region and CV are 4 of them */
    char vin[CLOUD_VIN_LENGTH + 1], again[CLOUD_VIN_LENGTH + 1];
    uint32_t letters_last = 0;
    for (uint64_t number = 0; number < COUNT; number++) {
        cloud_vin_make(42, number, vin);
        assert_true(cloud_vin_valid(span_of(vin, strlen(vin))));
        assert_true(by_the_book(vin));
        uint64_t key = UINT64_C(0xcbf29ce484222325);
        for (int i = 0; i < 17; i++)
            key = (key ^ (uint8_t)vin[i]) * UINT64_C(0x100000001b3);
        uint32_t at = (uint32_t)((key * UINT64_C(0x9E3779B97F4A7C15)) >> 42);
        for (; seen[at]; at = (at + 1) % SLOTS)
            assert_true(seen[at] != key); /* equal VINs have equal keys */
        seen[at] = key;
        letters_last += vin[16] > '9';
    }
    assert_int_equal(letters_last, 0); /* serial numbers */
    cloud_vin_make(42, 1000, vin);
    cloud_vin_make(42, 1000, again);
    assert_string_equal(vin, again);
    cloud_vin_make(43, 1000, again);
    assert_string_not_equal(vin, again);
    for (uint64_t number = 7; number < UINT64_C(1000000000000000); number *= 3) { /* beyond a block of serials */
        cloud_vin_make(1, number, vin);
        cloud_vin_make(1, number + 1000000, again);
        assert_true(cloud_vin_valid(span_text(vin)));
        assert_string_not_equal(vin, again);
    }
}

/* ---- finding ------------------------------------------------------------------------------------------------------ */

static int64_t find(const char *text)
{
    return cloud_vin_find(span_text(text));
}

static void in_text(void **state)
{
    assert_int_equal(find("1M8GDM9AXKP042788"), 0);
    assert_int_equal(find("vin/1M8GDM9AXKP042788"), 4);
    assert_int_equal(find("{\"vin\":\"1M8GDM9AXKP042788\"}"), 8);
    assert_int_equal(find("Vehicle_1m8gdm9axkp042788_x"), 8);
    assert_int_equal(find("Vehicle_1m8gDM9axkP042788"), 8);
    assert_int_equal(find("1M8GDM9AXKP042789 1M8GDM9AXKP042788"), 18); /* the first is none */
    assert_int_equal(find("QQQ-1M8GDM9AXKP042788"), 4);
    assert_int_equal(find(""), -1);
    assert_int_equal(find("1M8GDM9AXKP04278"), -1);
    assert_int_equal(find("x1M8GDM9AXKP042788"), -1); /* part of a longer word */
    assert_int_equal(find("1M8GDM9AXKP0427889"), -1);
    assert_int_equal(find("Q1M8GDM9AXKP042788"), -1);
    assert_int_equal(find("1M8GDM9AXKP042788O"), -1);
    assert_int_equal(find("0.11111111111111111"), -1); /* a number */
    assert_int_equal(find("1M8GDM9A XKP042788"), -1);
    static const char binary[] = "\0\xff\0"
                                 "1HGCM82633A004352\xff";
    assert_int_equal(cloud_vin_find(span_of(binary, sizeof(binary) - 1)), 3);
}

static bool is_word(uint8_t byte)
{
    return (byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') || (byte >= 'a' && byte <= 'z');
}

static int64_t plainly(const uint8_t *bytes, uint32_t length)
{
    for (uint32_t at = 0; at + 17 <= length; at++) {
        char vin[18] = "";
        int digits = 0;
        if ((at > 0 && is_word(bytes[at - 1])) || (at + 17 < length && is_word(bytes[at + 17])))
            continue;
        for (int i = 0; i < 17; i++) {
            uint8_t byte = bytes[at + i];
            vin[i] = (char)(byte >= 'a' && byte <= 'z' ? byte - 32 : byte);
            digits += byte >= '0' && byte <= '9';
        }
        if (digits < 17 && !memchr(vin, 0, 17) && by_the_book(vin))
            return at;
    }
    return -1;
}

/* Bytes of many kinds, VINs whole and damaged among them, in every place. */
static void against_a_plain_search(void **state)
{
    static const char kinds[] = "A1z9-/{\"\0\xc3Qo,: ";
    uint64_t luck = 5;
    uint32_t found = 0;
    for (uint32_t round = 0; round < 60000; round++) {
        uint8_t bytes[96];
        for (size_t i = 0; i < sizeof(bytes); i++) {
            luck = luck * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
            bytes[i] = (uint8_t)kinds[(luck >> 40) % (round % 2 ? 4 : sizeof(kinds) - 1)];
        }
        char vin[18];
        cloud_vin_make(9, round, vin);
        uint32_t length = 17 + (uint32_t)(luck >> 50) % 80, at = (uint32_t)(luck >> 20) % (length - 16);
        memcpy(bytes + at, vin, 17);
        if (at > 0 && round % 3)
            bytes[at - 1] = '"';
        if (at + 17 < length && round % 5)
            bytes[at + 17] = '"';
        if (round % 7 == 0)
            bytes[at + round % 17] = 'i';
        int64_t expected = plainly(bytes, length);
        assert_int_equal(cloud_vin_find(span_of(bytes, length)), expected);
        found += expected >= 0;
    }
    assert_in_range(found, 10000, 59000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(samples), cmocka_unit_test(every_wrong_byte),       cmocka_unit_test(a_million),
        cmocka_unit_test(in_text), cmocka_unit_test(against_a_plain_search),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
