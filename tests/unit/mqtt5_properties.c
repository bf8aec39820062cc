/* Every property in every packet, from either side: the table of 2.2.2.2 written down a second time. */
#include <setjmp.h>
#include <stdarg.h>

#include "mqtt5/packet.h"

#include <cmocka.h>
#include <stdio.h>

/* Columns: the packets a property may stand in; w = will, p = PUBLISH from the server only, d/D = DISCONNECT from
 * client/server. */
static const struct {
    uint8_t id;
    const char *value; /* hex of a legal value */
    const char *places;
} table[] = {
    {1, "01", "PUBLISH WILL"},
    {2, "00000001", "PUBLISH WILL"},
    {3, "000161", "PUBLISH WILL"},
    {8, "000161", "PUBLISH WILL"},
    {9, "0000", "PUBLISH WILL"},
    {11, "01", "publish SUBSCRIBE"},
    {17, "00000001", "CONNECT CONNACK disconnect"},
    {18, "000161", "CONNACK"},
    {19, "0001", "CONNACK"},
    {21, "000161", "CONNECT CONNACK AUTH"},
    {22, "0000", "CONNECT CONNACK AUTH"},
    {23, "00", "CONNECT"},
    {24, "00000001", "WILL"},
    {25, "00", "CONNECT"},
    {26, "000161", "CONNACK"},
    {28, "000161", "CONNACK DISCONNECT_S"},
    {31, "000161", "CONNACK PUBACK PUBREC PUBREL PUBCOMP SUBACK UNSUBACK DISCONNECT AUTH"},
    {33, "0001", "CONNECT CONNACK"},
    {34, "0001", "CONNECT CONNACK"},
    {35, "0001", "PUBLISH"},
    {36, "00", "CONNACK"},
    {37, "00", "CONNACK"},
    {38, "00000000",
     "CONNECT CONNACK PUBLISH WILL PUBACK PUBREC PUBREL PUBCOMP SUBSCRIBE SUBACK UNSUBSCRIBE UNSUBACK "
     "DISCONNECT AUTH"},
    {39, "00000001", "CONNECT CONNACK"},
    {40, "00", "CONNACK"},
    {41, "00", "CONNACK"},
    {42, "00", "CONNACK"},
};

static size_t put(uint8_t *out, size_t at, const char *hex)
{
    unsigned byte;
    for (; *hex && sscanf(hex, "%2x", &byte) == 1; hex += 2)
        out[at++] = (uint8_t)byte;
    return at;
}

/* A packet of this place with these property bytes. */
static size_t build(uint8_t *out, const char *place, const uint8_t *properties, size_t length)
{
    static const struct {
        const char *place, *first, *before, *after;
    } shapes[] = {
        {"CONNECT", "10", "00044d5154540502003c", "0000"},
        {"WILL", "10", "00044d5154540506003c000000", "0001770000"},
        {"CONNACK", "20", "0000", ""},
        {"PUBLISH", "30", "000174", ""},
        {"PUBACK", "40", "000100", ""},
        {"PUBREC", "50", "000100", ""},
        {"PUBREL", "62", "000100", ""},
        {"PUBCOMP", "70", "000100", ""},
        {"SUBSCRIBE", "82", "0001", "00016100"},
        {"SUBACK", "90", "0001", "00"},
        {"UNSUBSCRIBE", "a2", "0001", "000161"},
        {"UNSUBACK", "b0", "0001", "00"},
        {"DISCONNECT", "e0", "00", ""},
        {"AUTH", "f0", "18", ""},
    };
    for (size_t i = 0; i < sizeof(shapes) / sizeof(*shapes); i++) {
        if (strcmp(shapes[i].place, place) != 0)
            continue;
        size_t at = put(out, 0, shapes[i].first) + 1;
        at = put(out, at, shapes[i].before);
        out[at++] = (uint8_t)length;
        memcpy(out + at, properties, length);
        at = put(out, at + length, shapes[i].after);
        out[1] = (uint8_t)(at - 2);
        return at;
    }
    fail_msg("no such place: %s", place);
    return 0;
}

static bool listed(const char *places, const char *word)
{
    char padded[256], wanted[32];
    snprintf(padded, sizeof(padded), " %s ", places);
    snprintf(wanted, sizeof(wanted), " %s ", word);
    return strstr(padded, wanted) != NULL;
}

static bool legal(const char *places, const char *place, enum mq5_sender sender)
{
    if (listed(places, place))
        return true;
    if (strcmp(place, "PUBLISH") == 0)
        return listed(places, "publish") && sender == MQ5_FROM_SERVER;
    if (strcmp(place, "DISCONNECT") == 0)
        return listed(places, sender == MQ5_FROM_CLIENT ? "disconnect" : "DISCONNECT_S");
    return false;
}

static bool sent_by(const char *place, enum mq5_sender sender)
{
    if (listed("CONNECT WILL SUBSCRIBE UNSUBSCRIBE", place))
        return sender == MQ5_FROM_CLIENT;
    return !listed("CONNACK SUBACK UNSUBACK", place) || sender == MQ5_FROM_SERVER;
}

static enum mq5_status decode(const char *place, enum mq5_sender sender, const uint8_t *properties, size_t length,
                              struct mq5_error *error)
{
    uint8_t bytes[256];
    struct mq5_packet packet;
    size_t size = build(bytes, place, properties, length);
    return mq5_decode(MQ5_V5, sender, bytes, size, &packet, error);
}

static const char *const places[] = {"CONNECT",     "WILL",     "CONNACK",    "PUBLISH",   "PUBACK",
                                     "PUBREC",      "PUBREL",   "PUBCOMP",    "SUBSCRIBE", "SUBACK",
                                     "UNSUBSCRIBE", "UNSUBACK", "DISCONNECT", "AUTH"};

static void test_matrix(void **state)
{
    int cells = 0;
    for (size_t p = 0; p < sizeof(places) / sizeof(*places); p++) {
        for (int id = 0; id < 256; id++) {
            for (enum mq5_sender sender = MQ5_FROM_CLIENT; sender <= MQ5_FROM_SERVER; sender++) {
                size_t row = 0, length = 0;
                uint8_t block[64];
                struct mq5_error error = {0};
                if (!sent_by(places[p], sender))
                    continue;
                while (row < sizeof(table) / sizeof(*table) && table[row].id != id)
                    row++;
                bool known = row < sizeof(table) / sizeof(*table);
                if ((strcmp(places[p], "AUTH") == 0 && id != 21) || id == 22)
                    length = put(block, length, "15000161"); /* these need a method */
                if (id == 22 && !listed("CONNECT CONNACK AUTH", places[p]))
                    length = 0;
                block[length++] = (uint8_t)id;
                length = put(block, length, known ? table[row].value : "00");
                bool expected = known && legal(table[row].places, places[p], sender);
                enum mq5_status status = decode(places[p], sender, block, length, &error);
                if ((status == MQ5_OK) != expected)
                    fail_msg("property %d in %s from %d: %d %s", id, places[p], sender, status, error.what);
                assert_true(expected || error.reason == 0x81 || error.reason == 0x82);
                cells++;
            }
        }
    }
    assert_true(cells > 5000);
}

static void test_twice(void **state)
{
    for (size_t p = 0; p < sizeof(places) / sizeof(*places); p++) {
        for (size_t row = 0; row < sizeof(table) / sizeof(*table); row++) {
            for (enum mq5_sender sender = MQ5_FROM_CLIENT; sender <= MQ5_FROM_SERVER; sender++) {
                uint8_t block[64];
                size_t length = 0;
                struct mq5_error error = {0};
                if (!sent_by(places[p], sender) || !legal(table[row].places, places[p], sender))
                    continue;
                for (int i = 0; i < 2; i++) {
                    block[length++] = table[row].id;
                    length = put(block, length, table[row].value);
                }
                if (table[row].id != 21)
                    if (strcmp(places[p], "AUTH") == 0 || table[row].id == 22)
                        length = put(block, length, "15000161");
                bool repeats = table[row].id == 38 || (table[row].id == 11 && strcmp(places[p], "PUBLISH") == 0);
                enum mq5_status status = decode(places[p], sender, block, length, &error);
                assert_int_equal(status, repeats ? MQ5_OK : MQ5_PROTOCOL);
                assert_true(repeats || error.reason == 0x82);
            }
        }
    }
}

/* Every value of every one-byte property, and the zero of those that may not be zero. */
static void test_values(void **state)
{
    static const struct {
        uint8_t id;
        const char *place;
        enum mq5_sender sender;
    } flags[] = {{1, "PUBLISH", MQ5_FROM_CLIENT},  {1, "WILL", MQ5_FROM_CLIENT},     {23, "CONNECT", MQ5_FROM_CLIENT},
                 {25, "CONNECT", MQ5_FROM_CLIENT}, {36, "CONNACK", MQ5_FROM_SERVER}, {37, "CONNACK", MQ5_FROM_SERVER},
                 {40, "CONNACK", MQ5_FROM_SERVER}, {41, "CONNACK", MQ5_FROM_SERVER}, {42, "CONNACK", MQ5_FROM_SERVER}};
    struct mq5_error error;
    for (size_t i = 0; i < sizeof(flags) / sizeof(*flags); i++)
        for (int value = 0; value < 256; value++) {
            uint8_t block[2] = {flags[i].id, (uint8_t)value};
            assert_int_equal(decode(flags[i].place, flags[i].sender, block, 2, &error),
                             value < 2 ? MQ5_OK : MQ5_PROTOCOL);
        }
    uint8_t zero_u16[] = {33, 0, 0}, zero_u32[] = {39, 0, 0, 0, 0}, alias[] = {35, 0, 0}, identifier[] = {11, 0};
    assert_int_equal(decode("CONNECT", MQ5_FROM_CLIENT, zero_u16, 3, &error), MQ5_PROTOCOL);
    assert_int_equal(decode("CONNACK", MQ5_FROM_SERVER, zero_u32, 5, &error), MQ5_PROTOCOL);
    assert_int_equal(decode("PUBLISH", MQ5_FROM_SERVER, alias, 3, &error), MQ5_PROTOCOL);
    assert_int_equal(error.reason, MQ5_TOPIC_ALIAS_INVALID);
    assert_int_equal(decode("SUBSCRIBE", MQ5_FROM_CLIENT, identifier, 2, &error), MQ5_PROTOCOL);
}

static void test_walks(void **state)
{
    /* Payload format, id 1, user a=b, id 16384, session expiry, user =, content type. */
    uint8_t block[] = {1, 0, 11, 1, 38, 0, 1, 'a', 0, 1, 'b', 11, 0x80, 0x80, 1, 17,
                       0, 0, 0,  0, 35, 0, 1, 38,  0, 0, 0,   0,  3,    0,    1, 'x'};
    struct span encoded = span_of(block, sizeof(block));
    struct mq5_user_property pair;
    uint32_t offset = 0, id = 0;
    assert_true(mq5_user_property_next(encoded, &offset, &pair));
    assert_true(span_equal(pair.name, SPAN_LITERAL("a")) && span_equal(pair.value, SPAN_LITERAL("b")));
    assert_true(mq5_user_property_next(encoded, &offset, &pair));
    assert_true(pair.name.length == 0 && pair.value.length == 0);
    assert_false(mq5_user_property_next(encoded, &offset, &pair));
    assert_false(mq5_user_property_next(encoded, &offset, &pair));
    offset = 0;
    assert_true(mq5_subscription_id_next(encoded, &offset, &id) && id == 1);
    assert_true(mq5_subscription_id_next(encoded, &offset, &id) && id == 16384);
    assert_false(mq5_subscription_id_next(encoded, &offset, &id));
    offset = 0;
    assert_false(mq5_user_property_next((struct span){NULL, 0}, &offset, &pair));
    for (uint32_t cut = 0; cut < sizeof(block);
         cut++) { /* on what was never accepted: no answer is promised, but no harm */
        uint32_t steps = 0;
        for (offset = 0; mq5_user_property_next(span_of(block, cut), &offset, &pair); steps++)
            assert_true(steps < 3);
    }
    uint8_t nonsense[] = {5, 1, 2};
    offset = 0;
    assert_false(mq5_subscription_id_next(span_of(nonsense, 3), &offset, &id));
    uint8_t beyond[] = {200, 1, 2};
    offset = 0;
    assert_false(mq5_subscription_id_next(span_of(beyond, 3), &offset, &id));
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_matrix), cmocka_unit_test(test_twice),
                                       cmocka_unit_test(test_values), cmocka_unit_test(test_walks)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
