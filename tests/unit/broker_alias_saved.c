/* Topic aliases between a client session and the broker, both ways: the bytes that each end says they saved are the bytes that are missing on the wire. */
#include "cloud/broker.h"
#include "mqtt5/client.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#define UP   "dt/VIN-0001/telemetry"
#define DOWN "notice/VIN-0001/weather"

enum { ALIAS_BYTES = 3, BUFFER = 65536 };

struct rig {
    struct mq5_client client; /* first: its owner knows itself by it */
    struct cloud_broker *broker;
    struct cloud_connection *connection;
    struct cloud_local *service;
    uint8_t up[BUFFER], down[BUFFER]; /* under way */
    size_t up_length, down_length;
    uint64_t up_bytes, down_bytes; /* so far */
    int64_t told_down;             /* by the session, as its owner counts them */
    uint32_t arrived;
    uint8_t memory[4096];
};

static void client_send(struct mq5_client *client, const uint8_t *data, size_t length)
{
    struct rig *rig = (struct rig *)client;
    assert_true(rig->up_length + length <= BUFFER);
    memcpy(rig->up + rig->up_length, data, length);
    rig->up_length += length;
    rig->up_bytes += length;
}

static void client_event(struct mq5_client *client, const struct mq5_client_event *event)
{
    struct rig *rig = (struct rig *)client;
    if (event->kind != MQ5C_EV_MESSAGE)
        return;
    const struct mq5_publish *publish = &event->packet->publish;
    assert_true(span_equal(publish->topic, SPAN_LITERAL(DOWN)));
    rig->arrived++;
    if (!(publish->properties.present & MQ5_BIT(MQ5_TOPIC_ALIAS)))
        return;
    bool known = publish->properties.present & MQ5_TOPIC_BY_ALIAS;
    rig->told_down += (known ? (int64_t)publish->topic.length : 0) - ALIAS_BYTES;
}

static bool client_load(struct mq5_client *client, uint32_t token, struct mq5_publish *out)
{
    out->topic = SPAN_LITERAL(UP);
    out->payload = SPAN_LITERAL("{}");
    return true;
}

static void broker_send(void *context, void *link, const uint8_t *data, size_t length)
{
    struct rig *rig = link;
    assert_true(rig->down_length + length <= BUFFER);
    memcpy(rig->down + rig->down_length, data, length);
    rig->down_length += length;
    rig->down_bytes += length;
}

static void broker_close(void *context, void *link, enum cloud_close_reason reason)
{
    fail();
}

static void on_telemetry(void *context, int64_t now_us, const struct mq5_publish *message)
{
    assert_true(span_equal(message->topic, SPAN_LITERAL(UP)));
    ((struct rig *)context)->arrived++;
}

static void carry(struct rig *rig)
{
    while (rig->up_length || rig->down_length) {
        uint8_t bytes[BUFFER];
        size_t length = rig->up_length;
        memcpy(bytes, rig->up, length);
        rig->up_length = 0;
        if (length)
            assert_true(cloud_broker_input(rig->broker, rig->connection, 0, bytes, length));
        length = rig->down_length;
        memcpy(bytes, rig->down, length);
        rig->down_length = 0;
        if (length)
            mq5_client_input(&rig->client, 0, bytes, length);
    }
}

static struct rig *open_rig(uint16_t aliases)
{
    static const struct mq5_client_ops client_ops = {.send = client_send, .event = client_event, .load = client_load};
    static const struct cloud_broker_ops ops = {.send = broker_send, .close = broker_close};
    static struct mq5_client_config config;
    struct cloud_broker_options options;
    struct rig *rig = calloc(1, sizeof(*rig));
    config = (struct mq5_client_config){.ops = &client_ops,
                                        .version = MQ5_V5,
                                        .receive_maximum = 8,
                                        .topic_alias_maximum = aliases,
                                        .alias_bytes = 512,
                                        .stream_bytes = 512,
                                        .outgoing_maximum = 8,
                                        .outgoing_alias_slots = aliases ? 2 : 0};
    cloud_broker_defaults(&options);
    options.topic_alias_maximum = options.outbound_topic_aliases = aliases;
    rig->broker = cloud_broker_create(&options, &ops, NULL, 1);
    rig->service = cloud_broker_attach(rig->broker, SPAN_LITERAL("service"), on_telemetry, rig);
    assert_true(cloud_local_subscribe(rig->service, 0, SPAN_LITERAL("dt/+/telemetry"), 1) < 0x80);
    assert_true(mq5_client_memory(&config) <= sizeof(rig->memory));
    mq5_client_init(&rig->client, &config, rig->memory);
    rig->connection = cloud_broker_opened(rig->broker, 0, rig, NULL);
    struct mq5_client_connect connect = {.clean_start = true, .client_id = SPAN_LITERAL("VIN-0001")};
    assert_int_equal(mq5_client_connect(&rig->client, 0, &connect), MQ5_OK);
    carry(rig);
    struct mq5_subscription filter = {.filter = SPAN_LITERAL("notice/VIN-0001/+"), .qos = 1};
    assert_int_equal(mq5_client_subscribe(&rig->client, 0, 1, &filter, 1, 0), MQ5C_DONE);
    carry(rig);
    rig->up_bytes = rig->down_bytes = 0;
    return rig;
}

static void exchange(struct rig *rig, uint32_t messages, bool quality)
{
    struct mq5_publish notice = {
        .qos = quality, .topic = SPAN_LITERAL(DOWN), .payload = SPAN_LITERAL("{\"notice\":\"weather\"}")};
    for (uint32_t i = 0; i < messages; i++) {
        uint8_t slot = rig->client.config->outgoing_alias_slots ? 2 : 0;
        assert_int_equal(mq5_client_publish(&rig->client, 0, 10 + i, slot), MQ5C_DONE);
        carry(rig);
        assert_true(cloud_local_publish(rig->service, 0, &notice) < 0x80);
        carry(rig);
    }
    assert_int_equal(rig->arrived, 2 * messages);
}

static void close_rig(struct rig *rig)
{
    mq5_client_release(&rig->client);
    cloud_broker_destroy(rig->broker);
    free(rig);
}

static void what_is_told_is_missing_on_the_wire(void **state)
{
    for (int quality = 0; quality < 2; quality++) {
        struct rig *plain = open_rig(0), *aliased = open_rig(4);
        struct cloud_broker_counts counts, none;
        exchange(plain, 20, quality);
        exchange(aliased, 20, quality);
        cloud_broker_count(aliased->broker, &counts);
        cloud_broker_count(plain->broker, &none);
        assert_int_equal(counts.alias_saved_in, (int64_t)plain->up_bytes - (int64_t)aliased->up_bytes);
        assert_int_equal(counts.alias_saved_out, (int64_t)plain->down_bytes - (int64_t)aliased->down_bytes);
        assert_int_equal(counts.alias_saved_out, aliased->told_down);
        assert_int_equal(counts.alias_saved_in, 19 * (int64_t)strlen(UP) - 20 * ALIAS_BYTES);
        assert_int_equal(none.alias_saved_in, 0);
        assert_int_equal(none.alias_saved_out, 0);
        close_rig(plain);
        close_rig(aliased);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_told_is_missing_on_the_wire),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
