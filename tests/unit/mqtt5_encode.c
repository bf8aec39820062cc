/* The encoder: random packets there and back, what strict mode refuses, what raw mode sends, lengths at their
 * borders, room. */
#include <setjmp.h>
#include <stdarg.h>

#include "tests/oracle/packet_json.h"
#include "tests/oracle/random_packet.h"

#include <cmocka.h>

static uint8_t out[1 << 19];

static struct json json_of(enum mq5_version version, const struct mq5_packet *packet)
{
    struct json json = {0};
    json_packet(&json, version, packet);
    return json;
}

static void test_random(void **state)
{
    static struct random_packet r;
    for (uint64_t seed = 1; seed <= 20000; seed++) {
        size_t written = 0;
        struct mq5_packet decoded;
        random_packet(&r, seed);
        assert_int_equal(mq5_encode(r.version, &r.packet, out, sizeof(out), &written), MQ5_OK);
        assert_int_equal(mq5_encoded_length(r.version, &r.packet), written);
        uint8_t *exact = malloc(written);
        memcpy(exact, out, written);
        assert_int_equal(mq5_decode(r.version, r.sender, exact, written, &decoded, NULL), MQ5_OK);
        struct json asked = json_of(r.version, &r.packet), got = json_of(r.version, &decoded);
        if (strcmp(asked.text, got.text) != 0)
            fail_msg("seed %llu:\n %s\n %s", (unsigned long long)seed, asked.text, got.text);
        free(asked.text);
        free(got.text);
        uint8_t *again = malloc(written);
        size_t raw = 0;
        assert_int_equal(mq5_encode_raw(r.version, &r.packet, NULL, again, written, &raw), MQ5_OK);
        assert_true(raw == written && memcmp(again, exact, raw) == 0);
        free(again);
        free(exact);
    }
}

static enum mq5_status strict(enum mq5_version version, const struct mq5_packet *packet)
{
    size_t written = 99;
    enum mq5_status status = mq5_encode(version, packet, out, sizeof(out), &written);
    if (status == MQ5_ILLEGAL)
        assert_int_equal(written, 0);
    return status;
}

static struct mq5_packet publish(void)
{
    return (struct mq5_packet){.type = MQ5_PUBLISH, .publish = {.topic = SPAN_LITERAL("t")}};
}

static void test_publish_refused(void **state)
{
    static const struct mq5_user_property broken = {{(const uint8_t *)"\xFF", 1}, {NULL, 0}};
    struct mq5_packet good = publish(), p = good;
    const uint32_t zero = 0, big = MQ5_MAX_REMAINING_LENGTH + 1;
    static uint8_t long_text[70000];
    memset(long_text, 'x', sizeof(long_text));
    assert_int_equal(strict(MQ5_V5, &good), MQ5_OK);
#define REFUSED(change)                                                                                                \
    do {                                                                                                               \
        p = good;                                                                                                      \
        change;                                                                                                        \
        assert_int_equal(strict(MQ5_V5, &p), MQ5_ILLEGAL);                                                             \
    } while (0)
    REFUSED(p.publish.qos = 1);
    REFUSED(p.publish.qos = 3; p.publish.packet_id = 1);
    REFUSED(p.publish.qos = 4; p.publish.packet_id = 1);
    REFUSED(p.publish.dup = true);
    REFUSED(p.publish.topic.length = 0);
    REFUSED(p.publish.topic = SPAN_LITERAL("a/#"));
    REFUSED(p.publish.topic = span_of(long_text, 65536));
    REFUSED(p.publish.properties.present = MQ5_BIT(MQ5_TOPIC_ALIAS));
    REFUSED(p.publish.properties.present = MQ5_BIT(MQ5_SERVER_KEEP_ALIVE));
    REFUSED(p.publish.properties.present = MQ5_BIT(4));
    REFUSED(p.publish.properties.present = MQ5_BIT(63));
    REFUSED(p.publish.properties.present = MQ5_BIT(MQ5_CONTENT_TYPE);
            p.publish.properties.content_type = span_of(long_text, 65536));
    REFUSED(p.publish.properties.present = MQ5_BIT(MQ5_PAYLOAD_FORMAT_INDICATOR);
            p.publish.properties.payload_format = 2);
    REFUSED(p.publish.properties.user = &broken; p.publish.properties.user_count = 1);
    REFUSED(p.publish.properties.user_count = 1);
    struct mq5_user_property too_long = {span_of(long_text, 65536), {NULL, 0}};
    REFUSED(p.publish.properties.user = &too_long; p.publish.properties.user_count = 1);
    REFUSED(p.publish.properties.subscription_id_count = 1);
    REFUSED(p.publish.properties.subscription_ids = &zero; p.publish.properties.subscription_id_count = 1);
    REFUSED(p.publish.properties.subscription_ids = &big; p.publish.properties.subscription_id_count = 1);
    REFUSED(p.publish.payload.length = MQ5_MAX_REMAINING_LENGTH);
    REFUSED(p.type = 0);
    REFUSED(p.type = 16);
    p = good;
    p.type = 0;
    assert_int_equal(mq5_encoded_length(MQ5_V5, &p), 0);
}

static void test_others_refused(void **state)
{
    struct mq5_subscription s = {.filter = SPAN_LITERAL("a/#"), .qos = 1};
    struct mq5_packet good = {.type = MQ5_SUBSCRIBE, .subscribe = {.packet_id = 1, .list = &s, .count = 1}}, p;
    assert_int_equal(strict(MQ5_V5, &good), MQ5_OK);
    REFUSED(p.subscribe.packet_id = 0);
    REFUSED(p.subscribe.count = 0);
    REFUSED(s.qos = 4);
    s.qos = 1;
    REFUSED(s.retain_handling = 4);
    s.retain_handling = 0;
    REFUSED(s.filter = SPAN_LITERAL("a#"));
    REFUSED(s.filter = SPAN_LITERAL("$share/g/a"); s.no_local = true);
    good.type = MQ5_UNSUBSCRIBE;
    REFUSED(s = (struct mq5_subscription){.filter = SPAN_LITERAL("a/#/b")});
    static uint8_t long_text[65536];
    REFUSED(s.filter = span_of(long_text, 65536));
    good = (struct mq5_packet){.type = MQ5_CONNECT, .connect = {.version = MQ5_V5, .clean_start = true}};
    assert_int_equal(strict(MQ5_V5, &good), MQ5_OK);
    REFUSED(p.connect.version = 6);
    REFUSED(p.connect.has_will = true);
    REFUSED(p.connect.has_will = true; p.connect.will_topic = SPAN_LITERAL("w"); p.connect.will_qos = 4);
    REFUSED(p.connect.has_will = true; p.connect.will_topic = SPAN_LITERAL("w/+"));
    REFUSED(p.connect.has_will = true; p.connect.will_topic = span_of(long_text, 65536));
    REFUSED(p.connect.has_will = true; p.connect.will_topic = SPAN_LITERAL("w");
            p.connect.will_properties.user_count = 1);
    REFUSED(p.connect.client_id = span_of(long_text, 65536));
    REFUSED(p.connect.has_user_name = true; p.connect.user_name = span_of(long_text, 65536));
    REFUSED(p.connect.has_password = true; p.connect.password = span_of(long_text, 65536));
    REFUSED(p.connect.version = MQ5_V311; p.connect.clean_start = false);
    REFUSED(p.connect.version = MQ5_V311; p.connect.has_password = true);
    good = (struct mq5_packet){.type = MQ5_CONNACK};
    REFUSED(p.connack.reason = 1);
    REFUSED(p.connack.reason = 0x87; p.connack.session_present = true);
    good = (struct mq5_packet){.type = MQ5_AUTH};
    assert_int_equal(strict(MQ5_V311, &good), MQ5_ILLEGAL);
    REFUSED(p.auth.reason = MQ5_CONTINUE_AUTHENTICATION);
    good = (struct mq5_packet){.type = MQ5_SUBACK, .suback = {.packet_id = 1}};
    REFUSED(p.suback.reasons.length = 0);
    p.suback.reasons = SPAN_LITERAL("\x87");
    assert_int_equal(strict(MQ5_V5, &p), MQ5_OK);
    assert_int_equal(strict(MQ5_V311, &p), MQ5_ILLEGAL);
}

/* What 3.1.1 does not have is not written. */
static void test_311_leaves_out(void **state)
{
    static const struct mq5_user_property user = {{(const uint8_t *)"k", 1}, {(const uint8_t *)"v", 1}};
    size_t written;
    struct mq5_packet p = publish();
    p.publish.properties =
        (struct mq5_properties){.present = MQ5_BIT(MQ5_MESSAGE_EXPIRY_INTERVAL), .user = &user, .user_count = 1};
    assert_int_equal(mq5_encode(MQ5_V311, &p, out, sizeof(out), &written), MQ5_OK);
    assert_memory_equal(out, "\x30\x03\x00\x01t", written);
    p = (struct mq5_packet){.type = MQ5_PUBACK, .ack = {.packet_id = 1, .reason = 0x87}};
    assert_int_equal(mq5_encode(MQ5_V311, &p, out, sizeof(out), &written), MQ5_OK);
    assert_memory_equal(out, "\x40\x02\x00\x01", written);
    p = (struct mq5_packet){.type = MQ5_UNSUBACK, .suback = {.packet_id = 1, .reasons = SPAN_LITERAL("\0")}};
    assert_int_equal(mq5_encode(MQ5_V311, &p, out, sizeof(out), &written), MQ5_OK);
    assert_int_equal(written, 4);
    p = (struct mq5_packet){.type = MQ5_CONNECT, .connect = {.clean_start = true}}; /* version 0: the connection's */
    assert_int_equal(mq5_encode(MQ5_V311, &p, out, sizeof(out), &written), MQ5_OK);
    assert_int_equal(out[8], 4);
}

/* A broker forwards the user properties it received after its own, in order; subscription identifiers it does not. */
static void test_forwarding(void **state)
{
    static const struct mq5_user_property own = {{(const uint8_t *)"own", 3}, {NULL, 0}};
    static const uint8_t received[] = {0x30, 26, 0, 1,  't', 20, 11,  5, 38, 0,   1,  'b', 0,   1,
                                       '1',  1,  1, 38, 0,   1,  'a', 0, 1,  '2', 11, 6,   'p', 'q'};
    struct mq5_packet p;
    size_t written;
    assert_int_equal(mq5_decode(MQ5_V5, MQ5_FROM_SERVER, received, sizeof(received), &p, NULL), MQ5_OK);
    p.publish.properties.user = &own;
    p.publish.properties.user_count = 1;
    assert_int_equal(mq5_encode(MQ5_V5, &p, out, sizeof(out), &written), MQ5_OK);
    struct mq5_packet forwarded;
    assert_int_equal(mq5_decode(MQ5_V5, MQ5_FROM_CLIENT, out, written, &forwarded, NULL), MQ5_OK);
    struct json json = json_of(MQ5_V5, &forwarded);
    assert_non_null(strstr(json.text, "{\"payloadFormatIndicator\":1,\"userProperties\":[[\"own\",\"\"],[\"b\",\"1\"],"
                                      "[\"a\",\"2\"]]}"));
    free(json.text);
    p.publish.properties.present &= ~MQ5_BIT(MQ5_USER_PROPERTY);
    assert_int_equal(mq5_encode(MQ5_V5, &p, out, sizeof(out), &written), MQ5_OK);
    assert_int_equal(written, 5 + 1 + 2 + 8 + 2);
}

/* Remaining length at each border of its own length; the payload of the protocol's largest packet. */
static void test_lengths(void **state)
{
    static const uint32_t borders[] = {0, 127, 128, 16383, 16384, 2097151, 2097152, MQ5_MAX_REMAINING_LENGTH};
    uint8_t *big = calloc(1, (size_t)MQ5_MAX_REMAINING_LENGTH), *packet = malloc((size_t)MQ5_MAX_REMAINING_LENGTH + 5);
    for (size_t i = 1; i < sizeof(borders) / sizeof(*borders); i++) {
        struct mq5_packet p = publish(), decoded;
        size_t written, header = borders[i] < 128 ? 2 : borders[i] < 16384 ? 3 : borders[i] < 2097152 ? 4 : 5;
        uint32_t framed;
        p.publish.payload = span_of(big, borders[i] - 4);
        assert_int_equal(mq5_encoded_length(MQ5_V5, &p), borders[i] + header);
        assert_int_equal(mq5_encode(MQ5_V5, &p, packet, borders[i] + header, &written), MQ5_OK);
        assert_int_equal(mq5_frame(packet, written, 0, &framed), MQ5_OK);
        assert_int_equal(framed, written);
        assert_int_equal(mq5_decode(MQ5_V5, MQ5_EITHER, packet, written, &decoded, NULL), MQ5_OK);
        assert_int_equal(decoded.publish.payload.length, borders[i] - 4);
        for (uint32_t got = 0; got < header; got++)
            assert_int_equal(mq5_frame(packet, got, 0, &framed), MQ5_MORE);
        assert_int_equal(mq5_frame(packet, header, (uint32_t)written, &framed), MQ5_OK);
        assert_int_equal(mq5_frame(packet, header, (uint32_t)written - 1, &framed), MQ5_TOO_LARGE);
    }
    struct mq5_error error;
    struct mq5_packet ignored;
    assert_int_equal(mq5_decode(MQ5_V5, MQ5_EITHER, packet, (size_t)MQ5_MAX_REMAINING_LENGTH + 6, &ignored, &error),
                     MQ5_MALFORMED);
    assert_string_equal(error.ref, "S2.1.4a");
    free(big);
    free(packet);
}

static size_t raw(enum mq5_version version, const struct mq5_packet *packet, const struct mq5_raw *how)
{
    size_t written = 0;
    assert_int_equal(mq5_encode_raw(version, packet, how, out, sizeof(out), &written), MQ5_OK);
    for (size_t room = 0; room < written; room++) {
        size_t needed;
        uint8_t *small = malloc(room ? room : 1);
        assert_int_equal(mq5_encode_raw(version, packet, how, small, room, &needed), MQ5_NO_SPACE);
        assert_int_equal(needed, written);
        free(small);
    }
    return written;
}

#define EXPECT(version, packet, bytes, ...)                                                                            \
    do {                                                                                                               \
        size_t length = raw(version, packet, &(struct mq5_raw){__VA_ARGS__});                                          \
        assert_int_equal(length, sizeof(bytes) - 1);                                                                   \
        assert_memory_equal(out, bytes, length);                                                                       \
    } while (0)

static void test_raw(void **state)
{
    struct mq5_packet p = publish(), ack = {.type = MQ5_PUBACK, .ack = {.packet_id = 0}}, ping = {.type = MQ5_PINGREQ};
    EXPECT(MQ5_V5, &p, "\x30\x04\x00\x01t\x00", .set_flags = false);
    p.flags = 0x0F;
    EXPECT(MQ5_V5, &p, "\x3F\x04\x00\x01t\x00", .set_flags = true);
    EXPECT(MQ5_V5, &p, "\x00\x04\x00\x01t\x00", .set_type = true, .type = 0);
    EXPECT(MQ5_V5, &p, "\xFF\x04\x00\x01t\x00", .set_type = true, .type = 15, .set_flags = true);
    EXPECT(MQ5_V5, &p, "\x30\x09\x00\x01t\x00", .set_remaining_length = true, .remaining_length = 9);
    EXPECT(MQ5_V5, &p, "\x30\x84\x00\x00\x01t\x00", .remaining_length_bytes = 2);
    EXPECT(MQ5_V5, &p, "\x30\x84\x80\x80\x80\x00\x00\x01t\x00", .remaining_length_bytes = 5);
    EXPECT(MQ5_V5, &p, "\x30\xFF\xFF\xFF\x7F\x00\x01t\x00", .set_remaining_length = true,
           .remaining_length = MQ5_MAX_REMAINING_LENGTH, .remaining_length_bytes = 1);
    EXPECT(MQ5_V5, &p, "\x30\x06\x00\x01t\x02\x7E\x00", .set_properties = true,
           .properties = SPAN_LITERAL("\x02\x7E\x00"));
    EXPECT(MQ5_V5, &p, "\x30\x05\x00\x01t\xC8\x01", .set_property_length = true, .property_length = 200);
    EXPECT(MQ5_V5, &p, "\x30\x06\x00\x01t\x00xy", .trailing = SPAN_LITERAL("xy"));
    EXPECT(MQ5_V311, &p, "\x30\x04\x00\x01t\x00", .set_properties = true, .properties = SPAN_LITERAL("\0"));
    EXPECT(MQ5_V5, &ping, "\xC0\x01x", .trailing = SPAN_LITERAL("x"));
    EXPECT(MQ5_V5, &ack, "\x40\x02\x00\x00", .set_type = false);
    EXPECT(MQ5_V5, &ack, "\x40\x04\x00\x00\x00\x00", .set_property_length = true);
    EXPECT(MQ5_V311, &ack, "\x40\x04\x00\x00\x00\x00", .set_properties = true, .properties = SPAN_LITERAL("\0"));
    ack.ack.reason = 0xFF;
    EXPECT(MQ5_V5, &ack, "\x40\x03\x00\x00\xFF", .set_type = false);
    p.publish.qos = 3;
    p.publish.dup = true;
    EXPECT(MQ5_V5, &p, "\x3E\x06\x00\x01t\x00\x00\x00", .set_type = false);
    struct mq5_subscription s = {.filter = SPAN_LITERAL("#x"), .qos = 3, .retain_handling = 3};
    struct mq5_packet subscribe = {.type = MQ5_SUBSCRIBE, .subscribe = {.list = &s, .count = 1}};
    EXPECT(MQ5_V5, &subscribe, "\x82\x08\x00\x00\x00\x00\x02#x\x33", .set_type = false);
    struct mq5_packet nothing = {.type = 0};
    EXPECT(MQ5_V5, &nothing, "\x00\x00", .set_type = false);
    struct mq5_packet connect = {.type = MQ5_CONNECT, .connect = {.version = 6}};
    EXPECT(MQ5_V5, &connect, "\x10\x0D\x00\x04MQTT\x06\x00\x00\x00\x00\x00\x00", .set_type = false);
}

static void test_raw_refused(void **state)
{
    struct mq5_packet p = publish();
    size_t written;
    struct mq5_raw six = {.remaining_length_bytes = 6};
    struct mq5_raw wide = {.set_remaining_length = true, .remaining_length = MQ5_MAX_REMAINING_LENGTH + 1};
    struct mq5_raw property = {.set_property_length = true, .property_length = MQ5_MAX_REMAINING_LENGTH + 1};
    assert_int_equal(mq5_encode_raw(MQ5_V5, &p, &six, out, sizeof(out), &written), MQ5_ILLEGAL);
    assert_int_equal(mq5_encode_raw(MQ5_V5, &p, &wide, out, sizeof(out), &written), MQ5_ILLEGAL);
    assert_int_equal(mq5_encode_raw(MQ5_V5, &p, &property, out, sizeof(out), &written), MQ5_ILLEGAL);
    p.publish.topic.length = 65536;
    assert_int_equal(mq5_encode_raw(MQ5_V5, &p, NULL, out, sizeof(out), &written), MQ5_ILLEGAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random),
        cmocka_unit_test(test_publish_refused),
        cmocka_unit_test(test_others_refused),
        cmocka_unit_test(test_311_leaves_out),
        cmocka_unit_test(test_forwarding),
        cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_raw),
        cmocka_unit_test(test_raw_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
