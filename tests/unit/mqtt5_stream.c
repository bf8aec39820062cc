/* Streams: many packets cut anywhere, buffers that grow or do not, limits; reason codes and names against second
 * tables. */
#include <setjmp.h>
#include <stdarg.h>

#include "tests/oracle/packet_json.h"
#include "tests/oracle/random_packet.h"

#include <cmocka.h>

static int refuse_after = -1;

static uint8_t *grow(void *context, uint8_t *buffer, uint32_t old_capacity, uint32_t wanted, uint32_t *new_capacity)
{
    int *calls = context;
    assert_true(wanted > old_capacity);
    if (refuse_after >= 0 && *calls >= refuse_after)
        return NULL;
    ++*calls;
    *new_capacity = wanted;
    return realloc(buffer, wanted);
}

/* All packets of one side in `bytes`, one after the other. */
static size_t conversation(uint8_t *bytes, size_t capacity, struct json *expected, int packets)
{
    static struct random_packet r;
    size_t used = 0;
    for (uint64_t seed = 500; packets;) {
        size_t written;
        random_packet(&r, seed++);
        if (r.version != MQ5_V5)
            continue;
        assert_int_equal(mq5_encode(MQ5_V5, &r.packet, bytes + used, capacity - used, &written), MQ5_OK);
        used += written;
        json_packet(expected, MQ5_V5, &r.packet);
        packets--;
    }
    return used;
}

static void test_conversation(void **state)
{
    static uint8_t bytes[1 << 20];
    struct json expected = {0};
    size_t total = conversation(bytes, sizeof(bytes), &expected, 400);
    for (size_t piece = 1; piece < 4000; piece = piece < 40 ? piece + 1 : piece * 2 + 1) {
        int calls = 0;
        struct mq5_stream stream = {.version = MQ5_V5, .sender = MQ5_EITHER, .grow = grow, .grow_context = &calls};
        struct json got = {0};
        for (size_t offset = 0; offset < total; offset += piece) {
            size_t left = total - offset < piece ? total - offset : piece;
            const uint8_t *at = bytes + offset;
            struct mq5_packet packet;
            enum mq5_status status;
            while ((status = mq5_stream_next(&stream, &at, &left, &packet, NULL)) == MQ5_OK) {
                uint32_t length = 0;
                struct span wire = mq5_stream_packet_bytes(&stream);
                assert_true(mq5_frame(wire.data, wire.length, 0, &length) == MQ5_OK && length == wire.length);
                json_packet(&got, MQ5_V5, &packet);
            }
            assert_int_equal(status, MQ5_MORE);
            assert_int_equal(left, 0);
        }
        assert_string_equal(got.text, expected.text);
        assert_true(calls > 0 && stream.capacity < 65536);
        free(got.text);
        free(stream.buffer);
    }
    free(expected.text);
}

static enum mq5_status feed(struct mq5_stream *stream, const uint8_t *bytes, size_t length, struct mq5_error *error)
{
    struct mq5_packet packet;
    const uint8_t *at = bytes;
    return mq5_stream_next(stream, &at, &length, &packet, error);
}

static const uint8_t eight[] = {0x30, 6, 0, 1, 't', 0, 'x', 'y'};

static void test_no_grow(void **state)
{
    uint8_t buffer[8];
    struct mq5_error error = {0};
    for (uint32_t capacity = 0; capacity <= 8; capacity++) {
        struct mq5_stream stream = {.buffer = buffer, .capacity = capacity, .version = MQ5_V5, .sender = MQ5_EITHER};
        assert_int_equal(feed(&stream, eight, 8, &error), MQ5_OK); /* whole: needs no buffer */
        enum mq5_status status = feed(&stream, eight, 7, &error);
        assert_int_equal(status, capacity < 8 ? MQ5_NO_SPACE : MQ5_MORE);
        if (status == MQ5_MORE)
            assert_int_equal(feed(&stream, eight + 7, 1, &error), MQ5_OK);
        else
            assert_int_equal(error.status, MQ5_NO_SPACE);
    }
    struct mq5_stream none = {.version = MQ5_V5, .sender = MQ5_EITHER};
    assert_int_equal(feed(&none, eight, 1, &error), MQ5_NO_SPACE);
    struct mq5_stream one = {.buffer = buffer, .capacity = 1, .version = MQ5_V5, .sender = MQ5_EITHER};
    assert_int_equal(feed(&one, eight, 1, &error), MQ5_MORE);
    assert_int_equal(feed(&one, eight + 1, 1, &error), MQ5_NO_SPACE);
    /* Known too long from its header already. */
    struct mq5_stream two = {.buffer = buffer, .capacity = 7, .version = MQ5_V5, .sender = MQ5_EITHER};
    assert_int_equal(feed(&two, eight, 1, &error), MQ5_MORE);
    assert_int_equal(feed(&two, eight + 1, 1, &error), MQ5_NO_SPACE);
}

static void test_growth_refused(void **state)
{
    for (refuse_after = 0; refuse_after < 3; refuse_after++) {
        int calls = 0;
        struct mq5_error error = {0};
        struct mq5_stream stream = {.version = MQ5_V5, .sender = MQ5_EITHER, .grow = grow, .grow_context = &calls};
        enum mq5_status status = MQ5_MORE;
        for (int i = 0; i < 7 && status == MQ5_MORE; i++)
            status = feed(&stream, eight + i, 1, &error);
        assert_int_equal(status, MQ5_NO_SPACE);
        free(stream.buffer);
    }
    refuse_after = -1;
}

/* A packet that is announced as large takes memory as it arrives, not before. */
static void test_announced(void **state)
{
    static const uint8_t header[] = {0x30, 0xFF, 0xFF, 0xFF, 0x7F, 0, 1, 't', 0};
    int calls = 0;
    struct mq5_stream stream = {.version = MQ5_V5, .sender = MQ5_EITHER, .grow = grow, .grow_context = &calls};
    assert_int_equal(feed(&stream, header, sizeof(header), NULL), MQ5_MORE);
    assert_true(stream.capacity < 64);
    free(stream.buffer);
}

static void test_limit(void **state)
{
    struct mq5_error error = {0};
    uint8_t buffer[16];
    for (size_t first = 0; first <= 8; first++) {
        struct mq5_stream stream = {
            .buffer = buffer, .capacity = 16, .version = MQ5_V5, .sender = MQ5_EITHER, .max_packet = 7};
        enum mq5_status status = feed(&stream, eight, first, &error);
        if (status == MQ5_MORE)
            status = feed(&stream, eight + first, 8 - first, &error);
        assert_int_equal(status, MQ5_TOO_LARGE);
        assert_int_equal(error.reason, MQ5_PACKET_TOO_LARGE);
        assert_int_equal(feed(&stream, eight, 0, NULL), stream.used ? MQ5_TOO_LARGE : MQ5_MORE);
    }
}

static void test_connect_sets_version(void **state)
{
    static const uint8_t connect[] = {0x10, 12, 0, 4, 'M', 'Q', 'T', 'T', 4, 2, 0, 0, 0, 0};
    struct mq5_stream stream = {.version = MQ5_V5, .sender = MQ5_FROM_CLIENT};
    assert_int_equal(feed(&stream, connect, sizeof(connect), NULL), MQ5_OK);
    assert_int_equal(stream.version, MQ5_V311);
}

static void test_reasons(void **state)
{
    static const struct {
        uint8_t type, sender;
        const char *reasons; /* hex */
    } allowed[] = {
        {MQ5_CONNACK, MQ5_FROM_SERVER, "00 80 81 82 83 84 85 86 87 88 89 8a 8c 90 95 97 99 9a 9b 9c 9d 9f"},
        {MQ5_CONNACK, MQ5_FROM_CLIENT, ""},
        {MQ5_PUBACK, MQ5_EITHER, "00 10 80 83 87 90 91 97 99"},
        {MQ5_PUBREC, MQ5_FROM_CLIENT, "00 10 80 83 87 90 91 97 99"},
        {MQ5_PUBREL, MQ5_FROM_SERVER, "00 92"},
        {MQ5_PUBCOMP, MQ5_FROM_CLIENT, "00 92"},
        {MQ5_SUBACK, MQ5_FROM_SERVER, "00 01 02 80 83 87 8f 91 97 9e a1 a2"},
        {MQ5_SUBACK, MQ5_FROM_CLIENT, ""},
        {MQ5_UNSUBACK, MQ5_FROM_SERVER, "00 11 80 83 87 8f 91"},
        {MQ5_UNSUBACK, MQ5_FROM_CLIENT, ""},
        {MQ5_DISCONNECT, MQ5_FROM_CLIENT, "00 04 80 81 82 83 90 93 94 95 96 97 98 99"},
        {MQ5_DISCONNECT, MQ5_FROM_SERVER,
         "00 80 81 82 83 87 89 8b 8c 8d 8e 8f 90 93 94 95 96 97 98 99 9a 9b 9c 9d 9e 9f a0 a1 a2"},
        {MQ5_AUTH, MQ5_FROM_CLIENT, "18 19"},
        {MQ5_AUTH, MQ5_FROM_SERVER, "00 18"},
        {MQ5_AUTH, MQ5_EITHER, "00 18 19"},
        {MQ5_PUBLISH, MQ5_EITHER, ""},
        {MQ5_PINGREQ, MQ5_EITHER, ""},
        {0, MQ5_EITHER, ""},
    };
    for (size_t i = 0; i < sizeof(allowed) / sizeof(*allowed); i++)
        for (int reason = 0; reason < 256; reason++) {
            char hex[3];
            snprintf(hex, sizeof(hex), "%02x", (unsigned)reason & 0xFF);
            bool expected = strstr(allowed[i].reasons, hex) != NULL;
            if (mq5_reason_allowed(allowed[i].type, (uint8_t)reason, (enum mq5_sender)allowed[i].sender) != expected)
                fail_msg("%s 0x%s from %d is not %d", mq5_type_name(allowed[i].type), hex, allowed[i].sender, expected);
        }
}

static void test_names(void **state)
{
    int reasons = 0, properties = 0, types = 0;
    for (int i = 0; i < 256; i++) {
        reasons += *mq5_reason_name((uint8_t)i) != '?';
        properties += *mq5_property_name((uint8_t)i) != '?';
        types += *mq5_type_name((uint8_t)i) != '?';
    }
    assert_int_equal(reasons, 8 + 35);
    assert_int_equal(properties, 27);
    assert_int_equal(types, 15);
    assert_string_equal(mq5_type_name(MQ5_UNSUBACK), "UNSUBACK");
    assert_string_equal(mq5_reason_name(0xA2), "Wildcard Subscriptions not supported");
    assert_string_equal(mq5_reason_name(0x95), "Packet too large");
    assert_string_equal(mq5_property_name(17), "Session Expiry Interval");
    assert_string_equal(mq5_property_name(42), "Shared Subscription Available");
}

static void describe(const struct mq5_packet *packet, const char *expected)
{
    char line[512];
    assert_int_equal(mq5_describe(MQ5_V5, packet, line, sizeof(line)), strlen(expected));
    assert_string_equal(line, expected);
    for (size_t capacity = 1; capacity < sizeof(line); capacity++) { /* always terminated, never beyond */
        char *small = malloc(capacity);
        size_t length = mq5_describe(MQ5_V5, packet, small, capacity);
        assert_true(length < capacity && strlen(small) == length && strncmp(small, expected, length) == 0);
        free(small);
    }
    assert_int_equal(mq5_describe(MQ5_V5, packet, line, 0), 0);
}

static void test_describe(void **state)
{
    struct mq5_subscription list[] = {{.filter = SPAN_LITERAL("a/#"), .qos = 1}, {.filter = SPAN_LITERAL("\xC3\xA4")}};
    struct mq5_packet p = {
        .type = MQ5_PUBLISH,
        .publish = {.qos = 1, .packet_id = 7, .topic = SPAN_LITERAL("a/b"), .payload = SPAN_LITERAL("123456789012")}};
    describe(&p, "PUBLISH q1 id=7 topic=a/b 12 B");
    p.publish.dup = p.publish.retain = true;
    p.publish.properties.present = MQ5_BIT(MQ5_TOPIC_ALIAS) | MQ5_BIT(MQ5_CONTENT_TYPE);
    p.publish.properties.topic_alias = 3;
    describe(&p, "PUBLISH q1 dup retain id=7 topic=a/b alias=3 12 B [Content Type, Topic Alias]");
    p = (struct mq5_packet){.type = MQ5_CONNECT,
                            .connect = {.version = 5,
                                        .clean_start = true,
                                        .keep_alive_s = 60,
                                        .has_will = true,
                                        .will_retain = true,
                                        .client_id = SPAN_LITERAL("tcu"),
                                        .has_user_name = true,
                                        .user_name = SPAN_LITERAL("u"),
                                        .has_password = true,
                                        .will_topic = SPAN_LITERAL("w")}};
    describe(&p, "CONNECT v5 id=tcu clean keep=60s user=u password will=w q0 retain 0 B");
    p = (struct mq5_packet){.type = MQ5_CONNECT, .connect = {.version = 4}};
    describe(&p, "CONNECT v3.1.1 id= keep=0s");
    p = (struct mq5_packet){.type = MQ5_CONNACK, .connack = {.session_present = true}};
    describe(&p, "CONNACK session 0x00 Success");
    p = (struct mq5_packet){.type = MQ5_PUBREL, .ack = {.packet_id = 9, .reason = 0x92}};
    describe(&p, "PUBREL id=9 0x92 Packet Identifier not found");
    p = (struct mq5_packet){.type = MQ5_SUBSCRIBE, .subscribe = {.packet_id = 1, .list = list, .count = 2}};
    describe(&p, "SUBSCRIBE id=1 a/# q1 ?? q0");
    p.type = MQ5_UNSUBSCRIBE;
    describe(&p, "UNSUBSCRIBE id=1 a/# ??");
    p = (struct mq5_packet){.type = MQ5_SUBACK, .suback = {.packet_id = 1, .reasons = SPAN_LITERAL("\x01\x87")}};
    describe(&p, "SUBACK id=1 0x01 0x87");
    p = (struct mq5_packet){.type = MQ5_DISCONNECT, .disconnect = {.reason = 0x8E}};
    describe(&p, "DISCONNECT 0x8E Session taken over");
    p = (struct mq5_packet){.type = MQ5_PINGREQ};
    describe(&p, "PINGREQ");
    static uint8_t long_topic[300];
    memset(long_topic, 'x', sizeof(long_topic));
    char line[400];
    p = (struct mq5_packet){.type = MQ5_PUBLISH, .publish = {.topic = span_of(long_topic, 300)}};
    mq5_describe(MQ5_V5, &p, line, sizeof(line));
    assert_non_null(strstr(line, "xxx... 0 B"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_conversation),   cmocka_unit_test(test_no_grow),
        cmocka_unit_test(test_growth_refused), cmocka_unit_test(test_announced),
        cmocka_unit_test(test_limit),          cmocka_unit_test(test_connect_sets_version),
        cmocka_unit_test(test_reasons),        cmocka_unit_test(test_names),
        cmocka_unit_test(test_describe),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
