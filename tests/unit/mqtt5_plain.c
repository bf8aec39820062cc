/* The plain ways of the codec (decode_plain.c, encode_plain.c) against the careful ones: the same verdict, the same packet and the
 * same error for whatever lies at, or one step beside, what the plain ways take. */
#include <setjmp.h>
#include <stdarg.h>

#include "tests/oracle/packet_json.h"
#include "vehicle/mqtt5/wire.h"

#include <cmocka.h>

enum { ROUNDS = 40000 };

static uint64_t state;

static uint32_t below(uint32_t bound)
{
    state = state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (uint32_t)((state >> 33) % bound);
}

/* Ends exactly at the packet's end, so that a sanitizer sees a byte read behind it. */
static void compare(enum mq5_version version, enum mq5_sender sender, const uint8_t *bytes, size_t length)
{
    struct mq5_packet quick, careful;
    struct mq5_error first = {0}, second = {0};
    uint8_t *exact = malloc(length + !length);
    memcpy(exact, bytes, length);
    enum mq5_status status = mq5_decode(version, sender, exact, length, &quick, &first);
    assert_int_equal(mq5_decode_carefully(version, sender, exact, length, &careful, &second), status);
    if (status == MQ5_OK) {
        struct json a = {0}, b = {0};
        json_packet(&a, version, &quick);
        json_packet(&b, version, &careful);
        assert_string_equal(a.text, b.text);
        assert_int_equal(quick.flags, careful.flags);
        if (quick.type == MQ5_PUBLISH) {
            assert_ptr_equal(quick.publish.properties.encoded.data, careful.publish.properties.encoded.data);
            assert_int_equal(quick.publish.properties.encoded.length, careful.publish.properties.encoded.length);
        }
        free(a.text);
        free(b.text);
    } else {
        assert_string_equal(first.what, second.what);
        assert_true(first.reason == second.reason && first.offset == second.offset);
    }
    free(exact);
}

static uint8_t *put_text(uint8_t *at, uint32_t maximum)
{
    static const uint8_t odd[] = {0, 0x7F, 0x80, 0xC3, 0xA4, '+', '#', '/', 0xFF, 1};
    uint32_t length = below(8) ? 1 + below(maximum) : 0;
    at = mq5_write_u16(at, (uint16_t)length);
    for (uint32_t i = 0; i < length; i++)
        *at++ = below(200) ? (uint8_t)('a' + below(26)) : odd[below(sizeof(odd))];
    return at;
}

/* A PUBLISH with an alias or a topic and some user properties; sometimes with something wrong. */
static size_t random_publish(uint8_t *out)
{
    uint8_t body[2048], block[1024], *at = body, *property = block;
    uint8_t flags = below(16) ? (uint8_t)(below(3) << 1 | below(2)) : (uint8_t)below(16);
    if (below(8))
        property =
            mq5_write_u16(mq5_write_u8(property, MQ5_TOPIC_ALIAS), (uint16_t)(below(9) ? below(20) : below(65536)));
    for (uint32_t i = below(5); i > 0; i--)
        property = put_text(put_text(mq5_write_u8(property, MQ5_USER_PROPERTY), 24), below(10) ? 30 : 140);
    if (below(12) == 0)
        property = mq5_write_u32(mq5_write_u8(property, MQ5_MESSAGE_EXPIRY_INTERVAL), below(1000));
    at = below(2) ? mq5_write_u16(at, 0) : put_text(at, 40);
    if (flags & 6)
        at = mq5_write_u16(at, (uint16_t)below(40));
    uint32_t length = (uint32_t)(property - block);
    at = mq5_write_bytes(mq5_write_vbi(at, length, mq5_vbi_length(length)), span_of(block, length));
    for (uint32_t i = below(4) ? below(300) : below(20); i > 0; i--)
        *at++ = (uint8_t)below(256);
    length = (uint32_t)(at - body);
    out[0] = (uint8_t)(MQ5_PUBLISH << 4 | flags);
    at = mq5_write_bytes(mq5_write_vbi(out + 1, length, mq5_vbi_length(length)), span_of(body, length));
    return (size_t)(at - out);
}

static void test_publish(void **unused)
{
    uint8_t bytes[2060];
    state = 1;
    for (int i = 0; i < ROUNDS; i++) {
        size_t length = random_publish(bytes);
        enum mq5_version version = below(16) ? MQ5_V5 : MQ5_V311;
        compare(version, (enum mq5_sender)(1 + below(3)), bytes, length);
        for (int changes = (int)below(4); changes > 0; changes--)
            bytes[below(2) ? below((uint32_t)length) : below(length < 40 ? (uint32_t)length : 40)] =
                (uint8_t)(below(2) ? below(256) : below(8));
        compare(version, MQ5_EITHER, bytes, length);
        compare(version, MQ5_EITHER, bytes, below((uint32_t)length + 1));
    }
}

/* The remaining length in every form and one beside the true one. */
static void test_length(void **unused)
{
    uint8_t bytes[400];
    for (uint32_t payload = 16; payload < 300; payload++)
        for (int form = 1; form <= 4; form++)
            for (uint32_t said = payload + 6; said <= payload + 8; said++) {
                if (form == 1 && said > 127)
                    continue;
                bytes[0] = MQ5_PUBLISH << 4;
                uint8_t *at = mq5_write_vbi(bytes + 1, said, form);
                memcpy(at, (uint8_t[]){0, 0, 3, MQ5_TOPIC_ALIAS, 0, 1}, 6);
                memset(at + 6, 'x', payload + 1);
                compare(MQ5_V5, MQ5_FROM_CLIENT, bytes, (size_t)(at - bytes) + 7 + payload);
            }
}

static void test_short(void **unused)
{
    for (uint32_t first = 0; first < 256; first++)
        for (uint32_t second = 0; second < 6; second++)
            for (uint32_t id = 0; id < 3; id++)
                for (size_t length = 0; length <= 5; length++)
                    for (int sender = 1; sender <= 3; sender++) {
                        uint8_t bytes[5] = {(uint8_t)first, (uint8_t)second, (uint8_t)(id >> 1), (uint8_t)id, 0};
                        compare(MQ5_V5, (enum mq5_sender)sender, bytes, length);
                        compare(MQ5_V311, (enum mq5_sender)sender, bytes, length);
                    }
}

/* What mq5_encode() says must be what the decoder says of the bytes that raw mode writes. */
static void compare_encoded(enum mq5_version version, const struct mq5_packet *packet, bool legal_fields)
{
    static uint8_t quick[70000], raw[70000];
    size_t written = 0, length = 0;
    struct mq5_packet judged;
    enum mq5_status status = mq5_encode(version, packet, quick, sizeof(quick), &written);
    bool legal = legal_fields && mq5_encode_raw(version, packet, NULL, raw, sizeof(raw), &length) == MQ5_OK &&
                 mq5_decode_carefully(version, MQ5_EITHER, raw, length, &judged, NULL) == MQ5_OK;
    assert_int_equal(status, legal ? MQ5_OK : MQ5_ILLEGAL);
    assert_int_equal(written, legal ? length : 0);
    if (!legal)
        return;
    assert_memory_equal(quick, raw, length);
    size_t room = below((uint32_t)length);
    assert_int_equal(mq5_encode(version, packet, quick, room, &written), MQ5_NO_SPACE);
    assert_int_equal(written, length);
}

static struct span random_text(uint8_t *at, uint32_t maximum)
{
    uint8_t *end = put_text(at, maximum);
    return span_of(at + 2, (size_t)(end - at - 2));
}

static void test_encode_publish(void **unused)
{
    static uint8_t texts[12][256], payload[300], topic[256], received[64];
    state = 2;
    for (int i = 0; i < ROUNDS; i++) {
        struct mq5_user_property user[6];
        struct mq5_packet packet = {.type = MQ5_PUBLISH};
        struct mq5_publish *p = &packet.publish;
        uint32_t count = below(6);
        for (uint32_t n = 0; n < count; n++)
            user[n] = (struct mq5_user_property){random_text(texts[2 * n], 20), random_text(texts[2 * n + 1], 40)};
        p->qos = (uint8_t)below(below(20) ? 3 : 8);
        p->dup = below(4) == 0;
        p->retain = below(2);
        p->packet_id = (uint16_t)below(30);
        p->topic = below(2) ? (struct span){NULL, 0} : random_text(topic, 60);
        p->payload = span_of(payload, below(3) ? below(300) : below(20));
        p->properties.present = (below(4) ? MQ5_BIT(MQ5_TOPIC_ALIAS) : 0) |
                                (below(4) ? MQ5_BIT(MQ5_USER_PROPERTY) : 0) |
                                (below(20) ? 0 : MQ5_BIT(MQ5_MESSAGE_EXPIRY_INTERVAL)) |
                                (below(40) ? 0 : MQ5_BIT(MQ5_SESSION_EXPIRY_INTERVAL));
        p->properties.topic_alias = (uint16_t)(below(8) ? below(20) : below(65536));
        p->properties.user = count ? user : NULL;
        p->properties.user_count = (uint16_t)(below(30) ? count : count + (count == 0));
        if (below(8) == 0) {
            uint8_t *end = put_text(put_text(mq5_write_u8(received, MQ5_USER_PROPERTY), 20), 20);
            p->properties.encoded = span_of(received, (size_t)(end - received));
        }
        bool missing = p->properties.user_count > count;
        enum mq5_version version = below(10) ? MQ5_V5 : MQ5_V311;
        compare_encoded(version, &packet, p->qos <= 2 && !(missing && version == MQ5_V5));
    }
}

/* User properties encoded once and those given one by one make the same packet, whatever else is in it; what is not plain makes no block. */
static void test_encode_block(void **unused)
{
    static uint8_t texts[12][256], payload[300], topic[256];
    uint32_t made = 0, refused = 0;
    state = 5;
    for (int i = 0; i < ROUNDS; i++) {
        struct mq5_user_property user[6];
        uint8_t block[MQ5_USER_BLOCK_MAX], one[1024], other[1024];
        uint32_t count = 1 + below(4), sum = 0;
        bool plain = true;
        for (uint32_t n = 0; n < count; n++) {
            user[n] = (struct mq5_user_property){random_text(texts[2 * n], 20), random_text(texts[2 * n + 1], 40)};
            sum += 5 + user[n].name.length + user[n].value.length;
            for (int half = 0; half < 2; half++) {
                struct span text = half ? user[n].value : user[n].name;
                plain = plain && text.length > 0;
                for (uint32_t at = 0; at < text.length; at++)
                    plain = plain && text.data[at] > 0 && text.data[at] < 0x80;
            }
        }
        uint32_t length = mq5_user_block(user, count, block);
        assert_int_equal(length, plain && sum <= MQ5_USER_BLOCK_MAX ? sum : 0);
        made += length > 0;
        refused += length == 0;
        if (length == 0)
            continue;
        struct mq5_packet packet = {.type = MQ5_PUBLISH};
        struct mq5_publish *p = &packet.publish;
        p->qos = (uint8_t)below(3);
        p->packet_id = (uint16_t)below(3);
        p->topic = below(2) ? (struct span){NULL, 0} : random_text(topic, 60);
        p->payload = span_of(payload, below(3) ? below(300) : below(20));
        p->properties.present = MQ5_BIT(MQ5_USER_PROPERTY) | (below(4) ? MQ5_BIT(MQ5_TOPIC_ALIAS) : 0) |
                                (below(20) ? 0 : MQ5_BIT(MQ5_MESSAGE_EXPIRY_INTERVAL));
        p->properties.topic_alias = (uint16_t)(below(8) ? below(3) : below(65536));
        struct mq5_packet listed = packet;
        listed.publish.properties.user = user;
        listed.publish.properties.user_count = (uint16_t)count;
        p->properties.present |= MQ5_USER_BLOCK;
        p->properties.encoded = span_of(block, length);
        compare_encoded(MQ5_V5, &packet, true);
        size_t one_length = 0, other_length = 0;
        assert_int_equal(mq5_encode(MQ5_V5, &packet, one, sizeof(one), &one_length),
                         mq5_encode(MQ5_V5, &listed, other, sizeof(other), &other_length));
        assert_int_equal(one_length, other_length);
        assert_memory_equal(one, other, one_length);
    }
    assert_true(made > ROUNDS / 10 && refused > ROUNDS / 10);
}

/* Texts at and above the longest, blocks at each border of their length's form. */
static void test_encode_borders(void **unused)
{
    static uint8_t text[70000];
    memset(text, 'x', sizeof(text));
    for (uint32_t length = 60; length < 70000; length += length < 200 ? 1 : length < 65000 ? 811 : 53) {
        struct mq5_user_property user = {SPAN_LITERAL("n"), span_of(text, length)};
        struct mq5_packet packet = {.type = MQ5_PUBLISH, .publish = {.payload = span_of(text, 40)}};
        packet.publish.properties.present = MQ5_BIT(MQ5_TOPIC_ALIAS);
        packet.publish.properties.topic_alias = 1;
        packet.publish.properties.user = &user;
        packet.publish.properties.user_count = 1;
        compare_encoded(MQ5_V5, &packet, true);
        user.value.length = 3;
        packet.publish.payload.length = length - 60;
        compare_encoded(MQ5_V5, &packet, true);
    }
}

static void test_encode_short(void **unused)
{
    state = 3;
    for (uint8_t type = MQ5_PUBACK; type <= MQ5_PUBCOMP; type++)
        for (uint32_t i = 0; i < 1000; i++) {
            struct mq5_packet packet = {.type = type};
            packet.ack.packet_id = (uint16_t)below(3);
            packet.ack.reason = below(2) ? 0 : (uint8_t)(below(2) ? 0x10 : 0x80 + below(0x20));
            if (below(4) == 0) {
                packet.ack.properties.present = MQ5_BIT(MQ5_REASON_STRING);
                packet.ack.properties.reason_string = SPAN_LITERAL("so");
            }
            compare_encoded(below(2) ? MQ5_V5 : MQ5_V311, &packet, true);
        }
    compare_encoded(MQ5_V5, &(struct mq5_packet){.type = MQ5_PINGREQ}, true);
    compare_encoded(MQ5_V311, &(struct mq5_packet){.type = MQ5_PINGRESP}, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_publish),        cmocka_unit_test(test_length),
        cmocka_unit_test(test_short),          cmocka_unit_test(test_encode_publish),
        cmocka_unit_test(test_encode_block),
        cmocka_unit_test(test_encode_borders), cmocka_unit_test(test_encode_short),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
