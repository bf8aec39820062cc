/* Hooks and services that call back into the broker while it is at work, and packets swallowed on their way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "cloud/broker.h"

struct world {
    struct cloud_broker *broker;
    struct cloud_local *service, *other;
    struct cloud_connection *link[4];
    bool open[4];
    int closed, published, acknowledged, delivered, connected, disconnected;
    uint8_t last_reason;
    struct span kick_on_deliver, kick_on_outbound, kick_on_publish, kick_on_subscribe, kick_on_connected,
        kick_on_connect, kick_on_receive;
    uint8_t swallow_in, swallow_out; /* packet types */
    struct cloud_peer peer;          /* made anew each time somebody asks */
    const struct cloud_peer *given;  /* when the link was opened */
    int told_of, asked;
    bool ask;
    int nested;
    long blocks;
};

static void *allocate(void *context, void *old, size_t old_size, size_t new_size)
{
    struct world *world = context;
    world->blocks += new_size ? 1 : -1;
    if (new_size)
        return malloc(new_size);
    free(old);
    return NULL;
}

static int number_of(const struct world *world, void *link)
{
    return (int)((const bool *)link - world->open);
}

static void on_send(void *context, void *link, const uint8_t *data, size_t length)
{
    struct world *world = context;
    assert_true(world->open[number_of(world, link)]);
    world->published += data[0] >> 4 == MQ5_PUBLISH;
    world->acknowledged += data[0] >> 4 == MQ5_PUBACK;
    world->last_reason = length > 4 ? data[length - 1] : 0;
}

static void on_close(void *context, void *link, enum cloud_close_reason reason)
{
    struct world *world = context;
    assert_true(*(bool *)link);
    *(bool *)link = false;
    world->closed++;
}

static const struct cloud_peer *on_peer(void *context, void *link)
{
    struct world *world = context;
    if (!world->ask)
        return NULL;
    world->asked++;
    snprintf(world->peer.common_name, sizeof(world->peer.common_name), "link %d", number_of(world, link));
    return &world->peer;
}

/* Hooks on behalf of link 0 are told of the one who is there. */
static void tell(struct world *world, const struct cloud_peer *peer)
{
    world->told_of += peer && strcmp(peer->common_name, "link 0") == 0;
}

static void kick(struct world *world, struct span who)
{
    if (who.length)
        cloud_broker_kick(world->broker, 0, who, MQ5_ADMINISTRATIVE_ACTION);
}

static struct cloud_authorisation on_authorise_connect(void *context, int64_t now_us, const struct mq5_connect *connect,
                                                       const struct cloud_peer *peer)
{
    struct world *world = context;
    tell(world, peer);
    kick(world, world->kick_on_connect);
    return (struct cloud_authorisation){.reason = MQ5_SUCCESS, .silent = false};
}

static uint8_t on_authorise_publish(void *context, struct span id, const struct cloud_peer *peer,
                                    const struct mq5_publish *publish)
{
    struct world *world = context;
    tell(world, peer);
    kick(world, world->kick_on_publish);
    return MQ5_SUCCESS;
}

static uint8_t on_authorise_subscribe(void *context, struct span id, const struct cloud_peer *peer, struct span filter,
                                      uint8_t qos)
{
    struct world *world = context;
    tell(world, peer);
    kick(world, world->kick_on_subscribe);
    return MQ5_SUCCESS;
}

static bool on_authorise_receive(void *context, struct span id, const struct cloud_peer *peer, struct span topic)
{
    struct world *world = context;
    tell(world, peer);
    kick(world, world->kick_on_receive);
    return true;
}

static void on_connected(void *context, int64_t now_us, struct span id, const struct cloud_peer *peer,
                         const struct mq5_connect *connect, bool resumed)
{
    struct world *world = context;
    world->connected++;
    tell(world, peer);
    kick(world, world->kick_on_connected);
}

static void on_disconnected(void *context, int64_t now_us, struct span id, const struct cloud_peer *peer,
                            enum cloud_close_reason reason)
{
    struct world *world = context;
    struct mq5_publish presence = {.qos = 1, .topic = SPAN_LITERAL("$aws/events/presence"), .payload = id};
    world->disconnected++;
    tell(world, peer);
    cloud_local_publish(world->service, now_us, &presence);
}

static bool on_inbound(void *context, int64_t now_us, struct span id, const struct mq5_packet *packet)
{
    return ((struct world *)context)->swallow_in != packet->type;
}

static bool on_outbound(void *context, int64_t now_us, struct span id, const struct mq5_packet *packet)
{
    struct world *world = context;
    kick(world, world->kick_on_outbound);
    return world->swallow_out != packet->type;
}

static const struct cloud_broker_ops ops = {.send = on_send,
                                            .close = on_close,
                                            .authorise_connect = on_authorise_connect,
                                            .authorise_publish = on_authorise_publish,
                                            .authorise_subscribe = on_authorise_subscribe,
                                            .authorise_receive = on_authorise_receive,
                                            .connected = on_connected,
                                            .disconnected = on_disconnected,
                                            .inbound = on_inbound,
                                            .outbound = on_outbound,
                                            .peer = on_peer};

/* Answers what it is sent (a publish within a publish), and kicks whom it was told to. */
static void on_deliver(void *context, int64_t now_us, const struct mq5_publish *message)
{
    struct world *world = context;
    world->delivered++;
    kick(world, world->kick_on_deliver);
    if (world->nested-- <= 0)
        return;
    struct mq5_publish answer = {.qos = 1, .topic = SPAN_LITERAL("t/answer"), .payload = message->payload};
    cloud_local_publish(world->service, now_us, &answer);
}

static void feed(struct world *world, int number, const struct mq5_packet *packet)
{
    uint8_t bytes[256];
    size_t length;
    assert_int_equal(mq5_encode(MQ5_V5, packet, bytes, sizeof(bytes), &length), MQ5_OK);
    bool alive = cloud_broker_input(world->broker, world->link[number], 0, bytes, length);
    assert_int_equal(alive, world->open[number]);
}

static void open_link(struct world *world, int number, const char *id, uint32_t expiry_s)
{
    struct mq5_packet packet = {.type = MQ5_CONNECT};
    packet.connect = (struct mq5_connect){.version = 5, .client_id = span_text(id)};
    packet.connect.properties.present = MQ5_BIT(MQ5_SESSION_EXPIRY_INTERVAL) | MQ5_BIT(MQ5_TOPIC_ALIAS_MAXIMUM);
    packet.connect.properties.session_expiry_s = expiry_s;
    packet.connect.properties.topic_alias_maximum = 3;
    world->open[number] = true;
    world->link[number] = cloud_broker_opened(world->broker, 0, &world->open[number], world->given);
    feed(world, number, &packet);
}

static void subscribe(struct world *world, int number, const char *filter)
{
    struct mq5_subscription subscription = {.filter = span_text(filter), .qos = 1};
    struct mq5_packet packet = {.type = MQ5_SUBSCRIBE};
    packet.subscribe = (struct mq5_subscribe){.packet_id = 1, .list = &subscription, .count = 1};
    feed(world, number, &packet);
}

static void publish(struct world *world, int number, const char *topic, uint8_t qos)
{
    struct mq5_packet packet = {.type = MQ5_PUBLISH};
    packet.publish = (struct mq5_publish){
        .qos = qos, .packet_id = qos ? 5 : 0, .topic = span_text(topic), .payload = SPAN_LITERAL("x")};
    feed(world, number, &packet);
}

/* Links 0 "a" and 1 "b"; b reads t/#, the service reads t/#. */
static struct world *world_make(uint32_t expiry_s)
{
    struct world *world = calloc(1, sizeof(*world));
    struct cloud_broker_options options;
    cloud_broker_defaults(&options);
    options.allocate = allocate;
    options.allocate_context = world;
    options.outbound_topic_aliases = 3;
    world->broker = cloud_broker_create(&options, &ops, world, 1);
    world->service = cloud_broker_attach(world->broker, SPAN_LITERAL("service"), on_deliver, world);
    assert_int_equal(cloud_local_subscribe(world->service, 0, SPAN_LITERAL("t/#"), 1), 1);
    open_link(world, 0, "a", expiry_s);
    open_link(world, 1, "b", expiry_s);
    subscribe(world, 1, "t/#");
    return world;
}

static void world_end(struct world *world)
{
    cloud_broker_destroy(world->broker);
    assert_int_equal(world->blocks, 0);
    free(world);
}

static void a_service_answers_within_its_delivery(void **state)
{
    struct world *world = world_make(0);
    world->nested = 3;
    publish(world, 0, "t/1", 1);
    assert_int_equal(world->delivered, 4);
    assert_int_equal(world->published, 4);
    assert_int_equal(world->acknowledged, 1);
    world_end(world);
}

static void whoever_is_kicked_while_a_message_is_delivered(void **state)
{
    static const char *const victims[] = {"a", "b"};
    for (uint32_t expiry_s = 0; expiry_s < 200; expiry_s += 100)
        for (int victim = 0; victim < 2; victim++)
            for (uint8_t qos = 0; qos < 3; qos++) {
                struct world *world = world_make(expiry_s);
                world->kick_on_deliver = span_text(victims[victim]);
                publish(world, 0, "t/1", qos);
                assert_false(world->open[victim]);
                assert_true(world->open[1 - victim]);
                assert_int_equal(world->disconnected, 1);
                assert_int_equal(world->acknowledged, qos == 1 && victim == 1);
                world_end(world);
            }
}

static void whoever_is_kicked_by_a_hook(void **state)
{
    for (uint32_t expiry_s = 0; expiry_s < 200; expiry_s += 100)
        for (int hook = 0; hook < 6; hook++)
            for (int victim = 0; victim < 2; victim++) {
                struct world *world = world_make(expiry_s);
                struct span *hooks[] = {&world->kick_on_outbound,  &world->kick_on_publish, &world->kick_on_subscribe,
                                        &world->kick_on_connected, &world->kick_on_connect, &world->kick_on_receive};
                *hooks[hook] = victim ? SPAN_LITERAL("b") : SPAN_LITERAL("a");
                if (hook < 2 || hook == 5)
                    publish(world, 0, "t/1", 1);
                else if (hook == 2)
                    subscribe(world, victim, "u");
                else
                    open_link(world, 2, victim ? "b" : "a", expiry_s);
                assert_false(world->open[victim]);
                assert_int_equal(world->closed, hook == 3 ? 2 : 1);
                world_end(world);
            }
}

/* The one who is asked about goes while what waits for it is asked about: it is there when it comes again. */
static void whoever_is_kicked_while_its_queue_is_sent(void **state)
{
    for (int straight = 0; straight < 2; straight++) {
        struct world *world = world_make(100);
        struct mq5_publish message = {.qos = 1, .topic = SPAN_LITERAL("t/1"), .payload = SPAN_LITERAL("x")};
        world->open[1] = false;
        cloud_broker_closed(world->broker, world->link[1], 0);
        publish(world, 0, "t/1", 1);
        publish(world, 0, "t/1", 1);
        world->kick_on_receive = SPAN_LITERAL("b");
        world->published = 0;
        open_link(world, 1, "b", 100);
        assert_false(world->open[1]);
        assert_int_equal(world->published, 0);
        world->kick_on_receive = (struct span){NULL, 0};
        open_link(world, 1, "b", 100);
        assert_int_equal(world->published, 2);
        world->kick_on_receive = SPAN_LITERAL("b");
        if (straight)
            assert_int_equal(cloud_broker_deliver(world->broker, 0, SPAN_LITERAL("b"), &message), MQ5_SUCCESS);
        else
            publish(world, 0, "t/1", 1);
        assert_int_equal(world->published, 2);
        world->kick_on_receive = (struct span){NULL, 0};
        open_link(world, 1, "b", 100);
        assert_int_equal(world->published, 2 + 3); /* two again, and the one that waited */
        world_end(world);
    }
}

static void what_a_hook_swallows_was_never_there(void **state)
{
    struct world *world = world_make(100);
    world->swallow_in = MQ5_PUBLISH;
    publish(world, 0, "t/1", 1);
    assert_int_equal(world->delivered, 0);
    assert_int_equal(world->acknowledged, 0);
    world->swallow_in = 0;
    world->swallow_out = MQ5_PUBACK;
    publish(world, 0, "t/1", 1);
    assert_int_equal(world->delivered, 1);
    assert_int_equal(world->published, 1);
    assert_int_equal(world->acknowledged, 0);
    world->swallow_out = MQ5_PUBLISH; /* as if lost: it is still unacknowledged, and comes again on resume */
    publish(world, 0, "t/2", 1);
    assert_int_equal(world->published, 1);
    world->swallow_out = 0;
    world->open[1] = false;
    cloud_broker_closed(world->broker, world->link[1], 0);
    open_link(world, 1, "b", 100);
    assert_int_equal(world->published, 3);
    world_end(world);
}

static void presence_from_the_hooks(void **state)
{
    struct world *world = world_make(0);
    assert_int_equal(world->connected, 2);
    subscribe(world, 1, "$aws/events/#");
    world->open[0] = false;
    cloud_broker_closed(world->broker, world->link[0], 0);
    assert_int_equal(world->disconnected, 1);
    assert_int_equal(world->published, 1);
    assert_false(cloud_broker_is_connected(world->broker, SPAN_LITERAL("a")));
    assert_true(cloud_broker_is_connected(world->broker, SPAN_LITERAL("b")));
    assert_false(cloud_broker_kick(world->broker, 0, SPAN_LITERAL("a"), 0));
    world_end(world);
}

static void who_is_there_is_asked_when_a_hook_is_told(void **state)
{
    static const struct cloud_peer lent = {.common_name = "link 0"};
    for (int asked = 0; asked < 2; asked++) {
        struct world *world = world_make(100);
        world->ask = asked;
        world->given = asked ? NULL : &lent;
        open_link(world, 2, "c", 100);
        assert_int_equal(world->told_of, asked ? 0 : 2);
        world->told_of = world->asked = 0;
        open_link(world, 0, "d", 100); /* in place of "a", whose link the broker never hears of again */
        subscribe(world, 0, "u");
        publish(world, 0, "u", 1);
        world->open[0] = false;
        cloud_broker_closed(world->broker, world->link[0], 0);
        assert_int_equal(world->told_of, 6);
        assert_int_equal(world->asked, asked ? 6 : 0);
        world_end(world);
    }
}

static void detach_itself(void *context, int64_t now_us, const struct mq5_publish *message)
{
    struct world *world = context;
    world->delivered++;
    cloud_local_detach(world->other);
    world->other = NULL;
}

static void a_service_leaves_while_it_is_served(void **state)
{
    struct world *world = world_make(0);
    world->other = cloud_broker_attach(world->broker, SPAN_LITERAL("other"), detach_itself, world);
    cloud_local_subscribe(world->other, 0, SPAN_LITERAL("t/+"), 1);
    publish(world, 0, "t/1", 1);
    assert_int_equal(world->delivered, 2);
    publish(world, 0, "t/1", 1);
    assert_int_equal(world->delivered, 3);
    world_end(world);
}

static void counts_and_hash(void **state)
{
    struct cloud_broker_counts counts;
    struct world *world = world_make(100), *same = world_make(100);
    assert_true(cloud_broker_state_hash(world->broker) == cloud_broker_state_hash(same->broker));
    publish(world, 0, "t/1", 1);
    assert_true(cloud_broker_state_hash(world->broker) != cloud_broker_state_hash(same->broker));
    cloud_broker_count(world->broker, &counts);
    assert_int_equal(counts.connections, 2);
    assert_int_equal(counts.sessions, 2);
    assert_int_equal(counts.subscriptions, 2);
    assert_int_equal(counts.publishes_in, 1);
    assert_int_equal(counts.publishes_out, 2);
    assert_int_equal(counts.packets_in, 4);
    assert_int_equal(counts.packets_out, 5);
    assert_int_equal(counts.dropped, 0);
    assert_string_equal(cloud_close_reason_name(CLOUD_CLOSED_TAKEN_OVER), "DUPLICATE_CLIENTID");
    assert_string_equal(cloud_close_reason_name((enum cloud_close_reason)99), "?");
    world_end(world);
    world_end(same);
}

/* 70 overlapping subscriptions with an identifier each, and a topic deeper than any this broker keeps. */
static void many_identifiers_and_deep_topics(void **state)
{
    struct cloud_broker_options options;
    struct world *world = calloc(1, sizeof(*world));
    static char topic[1000];
    cloud_broker_defaults(&options);
    options.maximum_subscriptions_per_session = 100000;
    options.allocate = allocate;
    options.allocate_context = world;
    world->broker = cloud_broker_create(&options, &ops, world, 1);
    world->service = cloud_broker_attach(world->broker, SPAN_LITERAL("service"), on_deliver, world);
    open_link(world, 0, "a", 0);
    for (uint32_t i = 1; i <= 70; i++) { /* x/x/x/#, x/x/+/#, ...: each matches */
        char filter[32] = "";
        for (uint32_t bit = 0; bit < 7; bit++)
            strcat(filter, i >> bit & 1 ? "+/" : "x/");
        strcat(filter, "#");
        struct mq5_subscription subscription = {.filter = span_text(filter), .qos = 1};
        struct mq5_packet packet = {.type = MQ5_SUBSCRIBE};
        packet.subscribe = (struct mq5_subscribe){.packet_id = 1, .list = &subscription, .count = 1};
        packet.subscribe.properties.present = MQ5_BIT(MQ5_SUBSCRIPTION_IDENTIFIER);
        packet.subscribe.properties.subscription_ids = &i;
        packet.subscribe.properties.subscription_id_count = 1;
        feed(world, 0, &packet);
    }
    struct cloud_broker_counts before, after;
    cloud_broker_count(world->broker, &before);
    struct mq5_publish message = {.qos = 1, .topic = SPAN_LITERAL("x/x/x/x/x/x/x"), .payload = SPAN_LITERAL("1")};
    assert_int_equal(cloud_local_publish(world->service, 0, &message), MQ5_SUCCESS);
    cloud_broker_count(world->broker, &after);
    assert_int_equal(world->published, 1);
    assert_int_equal(after.bytes_out - before.bytes_out,
                     2 + 1 + 2 + 13 + 2 + 2 + 70 * 2 + 1); /* remaining length and properties: 2 each */
    for (size_t i = 0; i < 600; i += 2) {
        topic[i] = 'a';
        topic[i + 1] = '/';
    }
    message.topic = span_of(topic, 511);
    assert_int_equal(cloud_local_publish(world->service, 0, &message), MQ5_NO_MATCHING_SUBSCRIBERS);
    message.topic = span_of(topic, 513);
    assert_int_equal(cloud_local_publish(world->service, 0, &message), MQ5_TOPIC_NAME_INVALID);
    assert_int_equal(cloud_local_subscribe(world->service, 0, message.topic, 0), MQ5_TOPIC_FILTER_INVALID);
    world_end(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_service_answers_within_its_delivery),
                                       cmocka_unit_test(whoever_is_kicked_while_a_message_is_delivered),
                                       cmocka_unit_test(whoever_is_kicked_by_a_hook),
                                       cmocka_unit_test(whoever_is_kicked_while_its_queue_is_sent),
                                       cmocka_unit_test(what_a_hook_swallows_was_never_there),
                                       cmocka_unit_test(presence_from_the_hooks),
                                       cmocka_unit_test(who_is_there_is_asked_when_a_hook_is_told),
                                       cmocka_unit_test(a_service_leaves_while_it_is_served),
                                       cmocka_unit_test(counts_and_hash),
                                       cmocka_unit_test(many_identifiers_and_deep_topics)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
