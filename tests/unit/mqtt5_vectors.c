/* Every text vector: decoded, encoded again, truncated everywhere, cut at every place and into single bytes. */
#include <setjmp.h>
#include <stdarg.h>

#include "mqtt5/packet.h"
#include "tests/oracle/packet_json.h"
#include "tests/vectors/mqtt5/vectors.h"

#include <cmocka.h>

#define FOLDER CONVOY_SOURCE_DIR "/tests/vectors/mqtt5"

static struct json json_of(enum mq5_version version, const struct mq5_packet *packet)
{
    struct json json = {0};
    json_packet(&json, version, packet);
    return json;
}

/* A copy of exact size, so that the sanitizer sees a read beyond the packet. */
static uint8_t *exact_copy(const uint8_t *data, size_t length)
{
    uint8_t *copy = malloc(length ? length : 1);
    if (length)
        memcpy(copy, data, length);
    return copy;
}

static bool ends_with(const char *text, const char *end)
{
    size_t a = strlen(text), b = strlen(end);
    return a >= b && strcmp(text + a - b, end) == 0;
}

static void check_decode(const char *file, const struct vector *v)
{
    struct mq5_packet packet;
    struct mq5_error error = {0};
    uint8_t *bytes = exact_copy(v->bytes, v->length);
    enum mq5_status status = mq5_decode(v->version, v->sender, bytes, v->length, &packet, &error);
    if (status != v->status)
        fail_msg("%s %s: status %d instead of %d (%s %s)", file, v->name, status, v->status,
                 error.what ? error.what : "", error.ref ? error.ref : "");
    if (status == MQ5_OK) {
        struct json json = json_of(v->version, &packet);
        if (strcmp(json.text, v->json) != 0)
            fail_msg("%s %s:\n got      %s\n expected %s", file, v->name, json.text, v->json);
        free(json.text);
    } else {
        assert_int_equal(error.status, status);
        if (error.reason != v->reason || !ends_with(error.ref, v->ref))
            fail_msg("%s %s: reason 0x%02x ref %s (%s)", file, v->name, error.reason, error.ref, error.what);
        assert_true(error.what[0] && error.offset <= v->length);
    }
    assert_int_equal(mq5_decode(v->version, v->sender, bytes, v->length, &packet, NULL), status);
    free(bytes);
}

/* The struct that encodes to what was decoded: subscription identifiers are not forwarded, so they go into a list. */
static void prepare(struct mq5_packet *packet, uint32_t *ids)
{
    struct mq5_properties *p = packet->type == MQ5_PUBLISH     ? &packet->publish.properties
                               : packet->type == MQ5_SUBSCRIBE ? &packet->subscribe.properties
                                                               : NULL;
    if (!p || !(p->present & MQ5_BIT(MQ5_SUBSCRIPTION_IDENTIFIER)))
        return;
    p->subscription_ids = ids;
    for (uint32_t offset = 0; mq5_subscription_id_next(p->encoded, &offset, &ids[p->subscription_id_count]);)
        p->subscription_id_count++;
}

static void check_encode(const char *file, const struct vector *v)
{
    struct mq5_packet packet;
    uint32_t ids[16];
    uint8_t out[4096];
    size_t written = 0;
    assert_int_equal(mq5_decode(v->version, v->sender, v->bytes, v->length, &packet, NULL), MQ5_OK);
    prepare(&packet, ids);
    if (mq5_encode(v->version, &packet, out, sizeof(out), &written) != MQ5_OK)
        fail_msg("%s %s: cannot be encoded again", file, v->name);
    assert_int_equal(mq5_encoded_length(v->version, &packet), written);
    if (v->canonical && (written != v->length || memcmp(out, v->bytes, written) != 0))
        fail_msg("%s %s: encoded differently (%zu bytes instead of %zu)", file, v->name, written, v->length);
    if (!v->canonical && written == v->length && memcmp(out, v->bytes, written) == 0)
        fail_msg("%s %s: called noncanonical, but is what we write", file, v->name);
    struct mq5_packet again;
    assert_int_equal(mq5_decode(v->version, v->sender, out, written, &again, NULL), MQ5_OK);
    struct json json = json_of(v->version, &again);
    assert_string_equal(json.text, v->json);
    free(json.text);
    for (size_t room = 0; room < written; room++) {
        size_t needed = 0;
        uint8_t *small = exact_copy(out, room);
        assert_int_equal(mq5_encode(v->version, &packet, small, room, &needed), MQ5_NO_SPACE);
        assert_int_equal(needed, written);
        free(small);
    }
}

static struct mq5_stream stream_for(const struct vector *v, uint8_t *buffer, uint32_t capacity)
{
    return (struct mq5_stream){
        .buffer = buffer, .capacity = capacity, .version = (uint8_t)v->version, .sender = (uint8_t)v->sender};
}

static void check_truncations(const struct vector *v)
{
    for (size_t length = 0; length < v->length; length++) {
        struct mq5_packet packet;
        uint8_t buffer[4096], *cut = exact_copy(v->bytes, length);
        struct mq5_stream stream = stream_for(v, buffer, sizeof(buffer));
        const uint8_t *at = cut;
        size_t left = length;
        assert_int_equal(mq5_decode(v->version, v->sender, cut, length, &packet, NULL), MQ5_MALFORMED);
        assert_int_equal(mq5_stream_next(&stream, &at, &left, &packet, NULL), MQ5_MORE);
        assert_int_equal(left, 0);
        free(cut);
    }
}

/* Feeds `pieces` (their lengths) through a stream and compares with the whole decode. */
static void check_split(const char *file, const struct vector *v, const size_t *pieces, size_t count)
{
    struct mq5_packet packet;
    struct mq5_error error = {0};
    uint8_t buffer[4096];
    struct mq5_stream stream = stream_for(v, buffer, sizeof(buffer));
    enum mq5_status status = MQ5_MORE;
    size_t offset = 0;
    for (size_t i = 0; i < count && status == MQ5_MORE; i++) {
        const uint8_t *at = v->bytes + offset;
        size_t left = pieces[i];
        status = mq5_stream_next(&stream, &at, &left, &packet, &error);
        offset += pieces[i];
    }
    if (status != v->status)
        fail_msg("%s %s: split gives %d", file, v->name, status);
    if (status == MQ5_OK) {
        struct json json = json_of(v->version, &packet);
        assert_string_equal(json.text, v->json);
        free(json.text);
        assert_true(span_equal(mq5_stream_packet_bytes(&stream), span_of(v->bytes, v->length)));
    } else {
        assert_int_equal(error.reason, v->reason);
    }
}

static void check_splits(const char *file, const struct vector *v)
{
    size_t ones[4096];
    check_split(file, v, (size_t[]){v->length}, 1);
    for (size_t first = 0; first <= v->length; first++)
        check_split(file, v, (size_t[]){first, v->length - first}, 2);
    for (size_t first = 0; first <= v->length && v->length < 64; first++)
        for (size_t second = first; second <= v->length; second++)
            check_split(file, v, (size_t[]){first, second - first, v->length - second}, 3);
    for (size_t i = 0; i < v->length; i++)
        ones[i] = 1;
    check_split(file, v, ones, v->length);
}

static void check(const char *file, const struct vector *v, void *context)
{
    check_decode(file, v);
    if (v->status == MQ5_OK)
        check_encode(file, v);
    if (strcmp(file, "header") != 0)
        check_truncations(v);
    check_splits(file, v);
}

static void test_vectors(void **state)
{
    int count = 0;
    for (size_t i = 0; i < VECTOR_FILES; i++) {
        int here = vectors_read(FOLDER, vector_files[i], check, NULL);
        assert_true(here > 0);
        count += here;
    }
    print_message("%d vectors\n", count);
    assert_true(count >= 450);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_vectors)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
