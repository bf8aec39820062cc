/* decode.c (fuzz): any bytes into the decoder, whole and through a stream cut where the input says; what is
 * accepted is encoded and decoded again and must stay the same; the plain way of decoding and the careful one must agree.
 * unit.mqtt5.corpus replays the corpus without libFuzzer.
 *
 * Input: first byte: bit 0 version, bits 1..2 sender, bit 3 small stream limits; second byte: piece length; rest:
 * packets. */
#include "../../vehicle/mqtt5/wire.h"
#include "../oracle/packet_json.h"
#include "mqtt5/topic.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "fuzz: not so: %s (line %d)\n", #condition, __LINE__);                                     \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

static struct json json_of(enum mq5_version version, const struct mq5_packet *packet)
{
    struct json json = {0};
    json_packet(&json, version, packet);
    return json;
}

static bool filters_valid(const struct mq5_packet *packet, enum mq5_version version)
{
    struct mq5_subscription s;
    if (packet->type != MQ5_SUBSCRIBE && packet->type != MQ5_UNSUBSCRIBE)
        return true;
    for (uint32_t offset = 0; mq5_subscription_next(&packet->subscribe, packet->type, version, &offset, &s);)
        if (!mq5_topic_filter_valid(s.filter))
            return false;
    return true;
}

static void encode_again(enum mq5_version version, const struct mq5_packet *packet, size_t length)
{
    struct mq5_packet copy = *packet, again;
    struct mq5_properties *p = packet->type == MQ5_PUBLISH     ? &copy.publish.properties
                               : packet->type == MQ5_SUBSCRIBE ? &copy.subscribe.properties
                                                               : NULL;
    uint32_t *ids = malloc((length + 1) * sizeof(*ids));
    uint8_t *out = malloc(length + 8);
    size_t written;
    if (p && (p->present & MQ5_BIT(MQ5_SUBSCRIPTION_IDENTIFIER))) {
        uint32_t offset = 0;
        p->subscription_ids = ids;
        while (p->subscription_id_count < 0xFFFF &&
               mq5_subscription_id_next(p->encoded, &offset, &ids[p->subscription_id_count]))
            p->subscription_id_count++;
        if (p->subscription_id_count == 0xFFFF)
            p->subscription_id_count = 0;
    }
    enum mq5_status status = mq5_encode(version, &copy, out, length + 8, &written);
    CHECK(status == (filters_valid(packet, version) ? MQ5_OK : MQ5_ILLEGAL));
    if (status == MQ5_OK) {
        CHECK(written <= length && written == mq5_encoded_length(version, &copy));
        CHECK(mq5_decode(version, MQ5_EITHER, out, written, &again, NULL) == MQ5_OK);
        struct json before = json_of(version, packet), after = json_of(version, &again);
        if (!p || p->subscription_id_count || !(p->present & MQ5_BIT(MQ5_SUBSCRIPTION_IDENTIFIER)))
            CHECK(strcmp(before.text, after.text) == 0);
        free(before.text);
        free(after.text);
    }
    free(ids);
    free(out);
}

static uint8_t *grow(void *context, uint8_t *buffer, uint32_t old_capacity, uint32_t wanted, uint32_t *new_capacity)
{
    CHECK(wanted > old_capacity);
    *new_capacity = wanted;
    return realloc(buffer, wanted);
}

/* Status and description of everything in the input, through a stream in pieces of `piece` bytes. */
static struct json streamed(const uint8_t *data, size_t size, size_t piece, enum mq5_version version, uint8_t sender,
                            uint32_t limit)
{
    struct mq5_stream stream = {.version = (uint8_t)version, .sender = sender, .max_packet = limit, .grow = grow};
    struct json json = {0};
    enum mq5_status status = MQ5_MORE;
    json_put(&json, " ");
    for (size_t offset = 0; offset < size && (status == MQ5_MORE || status == MQ5_OK);) {
        size_t here = size - offset < piece ? size - offset : piece, left = here;
        const uint8_t *at = data + offset;
        struct mq5_packet packet;
        struct mq5_error error = {0};
        while ((status = mq5_stream_next(&stream, &at, &left, &packet, &error)) == MQ5_OK)
            json_packet(&json, (enum mq5_version)stream.version, &packet);
        CHECK(status != MQ5_MORE || left == 0);
        if (status != MQ5_MORE)
            json_put(&json, "status %d reason %u %s", status, error.reason, error.what);
        offset += here;
    }
    free(stream.buffer);
    return json;
}

static void decode_carefully(enum mq5_version version, enum mq5_sender sender, const uint8_t *data, size_t size,
                             enum mq5_status status, const struct mq5_packet *packet)
{
    struct mq5_packet careful;
    CHECK(mq5_decode_carefully(version, sender, data, size, &careful, NULL) == status);
    if (status != MQ5_OK)
        return;
    struct json quick = json_of(version, packet), slow = json_of(version, &careful);
    CHECK(strcmp(quick.text, slow.text) == 0);
    free(quick.text);
    free(slow.text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mq5_packet packet;
    struct mq5_error error = {0};
    char line[200];
    if (size < 2 || size > 65536)
        return 0;
    enum mq5_version version = data[0] & 1 ? MQ5_V5 : MQ5_V311;
    uint8_t sender = data[0] >> 1 & 3 ? data[0] >> 1 & 3 : MQ5_EITHER;
    uint32_t limit = data[0] & 8 ? 64 : 0;
    size_t piece = 1 + data[1] % 64;
    data += 2, size -= 2;
    enum mq5_status status = mq5_decode(version, (enum mq5_sender)sender, data, size, &packet, &error);
    decode_carefully(version, (enum mq5_sender)sender, data, size, status, &packet);
    if (status == MQ5_OK) {
        struct json json = json_of(version, &packet);
        free(json.text);
        CHECK(mq5_describe(version, &packet, line, sizeof(line)) == strlen(line));
        encode_again(version, &packet, size);
    } else {
        CHECK(error.status == status && error.what && error.ref && error.reason >= 0x80 && error.offset <= size);
    }
    struct json cut = streamed(data, size, piece, version, sender, limit);
    struct json whole = streamed(data, size, size + 1, version, sender, limit);
    CHECK(strcmp(cut.text, whole.text) == 0);
    free(cut.text);
    free(whole.text);
    return 0;
}
