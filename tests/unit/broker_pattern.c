/* Filters and topics with the client's own name in them: a broker that keeps them by pattern does exactly what one does that cannot.
 *
 * Two brokers are told the same at random. In the second one all clients have another name than the levels of the topics, so that it has
 * everything in its tree. Every byte to every link, every delivery to a service, and their order are compared after each step.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "cloud/broker.h"
#include "tests/unit/broker_rig.h"

#define CLIENTS 6
#define LEVELS  9
#define STEPS   3000
#define SEEDS   30

static const char *const level_texts[LEVELS] = {"n0", "n1", "n2", "n3", "n4", "n5", "a", "b", ""};

struct side;
struct side_link {
    struct side *side;
    struct cloud_connection *connection;
    bool open;
};

struct side {
    struct cloud_broker *broker;
    struct cloud_local *service, *second;
    struct side_link links[CLIENTS];
    uint8_t log[65536]; /* what came out in this step, in order */
    uint32_t used;
    bool own_names;
};

struct pair {
    struct side sides[2];
    uint64_t random;
    uint16_t packet_id;
    char told[256]; /* the step, for people */
    uint64_t bytes;
};

static uint32_t draw(struct pair *pair, uint32_t bound)
{
    uint64_t value = pair->random += UINT64_C(0x9E3779B97F4A7C15);
    value = (value ^ value >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    value = (value ^ value >> 27) * UINT64_C(0x94D049BB133111EB);
    return (uint32_t)((value ^ value >> 31) % bound);
}

static void note(struct side *side, uint8_t who, const void *data, size_t length)
{
    assert_true(side->used + length + 3 <= sizeof(side->log));
    side->log[side->used++] = who;
    side->log[side->used++] = (uint8_t)(length >> 8);
    side->log[side->used++] = (uint8_t)length;
    memcpy(side->log + side->used, data, length);
    side->used += (uint32_t)length;
}

static void side_send(void *context, void *handle, const uint8_t *data, size_t length)
{
    struct side_link *link = handle;
    note(link->side, (uint8_t)(link - link->side->links), data, length);
}

static void side_close(void *context, void *handle, enum cloud_close_reason reason)
{
    struct side_link *link = handle;
    uint8_t byte = (uint8_t)reason;
    link->open = false;
    note(link->side, (uint8_t)(0x80 + (link - link->side->links)), &byte, 1);
}

static void side_deliver(void *context, int64_t now_us, const struct mq5_publish *message)
{
    uint8_t head[4] = {message->qos, message->retain, message->dup, (uint8_t)message->packet_id};
    note(context, 0x40, head, sizeof(head));
    note(context, 0x41, message->topic.data, message->topic.length);
    note(context, 0x42, message->payload.data, message->payload.length);
}

static const struct cloud_broker_ops side_ops = {.send = side_send, .close = side_close};

static void side_begin(struct side *side, bool own_names)
{
    struct cloud_broker_options options;
    cloud_broker_defaults(&options);
    options.topic_alias_maximum = 4;
    memset(side, 0, sizeof(*side));
    side->own_names = own_names;
    side->broker = cloud_broker_create(&options, &side_ops, side, 1);
    side->service = cloud_broker_attach(side->broker, SPAN_LITERAL("service"), side_deliver, side);
    side->second = cloud_broker_attach(side->broker, SPAN_LITERAL("second"), side_deliver, side);
    for (int i = 0; i < CLIENTS; i++)
        side->links[i].side = side;
}

static void compare(struct pair *pair)
{
    const struct side *one = &pair->sides[0], *other = &pair->sides[1];
    struct cloud_broker_counts counts[2];
    if (one->used != other->used || memcmp(one->log, other->log, one->used) != 0) {
        print_error("%s: answers differ\n", pair->told);
        fail();
    }
    for (int i = 0; i < CLIENTS; i++)
        assert_int_equal(one->links[i].open, other->links[i].open);
    for (int i = 0; i < 2; i++)
        cloud_broker_count(pair->sides[i].broker, &counts[i]);
    assert_int_equal(counts[0].subscriptions, counts[1].subscriptions);
    assert_int_equal(counts[0].dropped, counts[1].dropped);
    pair->bytes += one->used;
    pair->sides[0].used = pair->sides[1].used = 0;
}

static void both(struct pair *pair, uint32_t client, const struct mq5_packet *packet)
{
    uint8_t bytes[512];
    size_t length;
    for (int i = 0; i < 2; i++) {
        struct side_link *link = &pair->sides[i].links[client];
        assert_int_equal(mq5_encode(MQ5_V5, packet, bytes, sizeof(bytes), &length), MQ5_OK);
        cloud_broker_input(pair->sides[i].broker, link->connection, 0, bytes, length);
    }
}

static void connect_client(struct pair *pair, uint32_t client, bool clean)
{
    char name[8];
    for (int i = 0; i < 2; i++) {
        struct side *side = &pair->sides[i];
        struct side_link *link = &side->links[client];
        struct mq5_packet packet = {.type = MQ5_CONNECT};
        uint8_t bytes[64];
        size_t length;
        snprintf(name, sizeof(name), side->own_names ? "n%u" : "other%u", client);
        packet.connect = (struct mq5_connect){.version = 5, .client_id = span_text(name), .clean_start = clean};
        packet.connect.properties.present = MQ5_BIT(MQ5_SESSION_EXPIRY_INTERVAL);
        packet.connect.properties.session_expiry_s = 100;
        link->open = true;
        link->connection = cloud_broker_opened(side->broker, 0, link, NULL);
        assert_int_equal(mq5_encode(MQ5_V5, &packet, bytes, sizeof(bytes), &length), MQ5_OK);
        cloud_broker_input(side->broker, link->connection, 0, bytes, length);
    }
}

static void make_levels(struct pair *pair, uint32_t client, bool filter, char *out)
{
    uint32_t count = 2 + draw(pair, 2);
    for (uint32_t i = 0; i < count; i++) {
        const char *text = level_texts[draw(pair, LEVELS)];
        if (draw(pair, 3) == 0)
            text = level_texts[client];
        if (filter && draw(pair, 8) == 0)
            text = "+";
        if (filter && i + 1 == count && draw(pair, 12) == 0)
            text = "#";
        out += sprintf(out, "%s%s", i ? "/" : "", text);
    }
}

static void subscribe(struct pair *pair, uint32_t client)
{
    char filter[64] = "";
    uint32_t id = 1 + draw(pair, 3);
    if (draw(pair, 8) == 0)
        strcpy(filter, draw(pair, 2) ? "$share/g/" : "$share/h/");
    bool shared = filter[0];
    make_levels(pair, client, true, filter + strlen(filter));
    struct mq5_subscription subscription = {.filter = span_text(filter),
                                            .qos = (uint8_t)draw(pair, 3),
                                            .no_local = !shared && draw(pair, 5) == 0,
                                            .retain_as_published = draw(pair, 2),
                                            .retain_handling = (uint8_t)draw(pair, 3)};
    struct mq5_packet packet = {.type = MQ5_SUBSCRIBE};
    packet.subscribe = (struct mq5_subscribe){.packet_id = 1, .list = &subscription, .count = 1};
    if (draw(pair, 6) == 0) {
        packet.subscribe.properties.present = MQ5_BIT(MQ5_SUBSCRIPTION_IDENTIFIER);
        packet.subscribe.properties.subscription_ids = &id;
        packet.subscribe.properties.subscription_id_count = 1;
    }
    snprintf(pair->told, sizeof(pair->told), "%u subscribes to %s", client, filter);
    both(pair, client, &packet);
}

static void unsubscribe(struct pair *pair, uint32_t client)
{
    char filter[64] = "";
    if (draw(pair, 8) == 0)
        strcpy(filter, draw(pair, 2) ? "$share/g/" : "$share/h/");
    make_levels(pair, client, true, filter + strlen(filter));
    struct mq5_subscription subscription = {.filter = span_text(filter)};
    struct mq5_packet packet = {.type = MQ5_UNSUBSCRIBE};
    packet.subscribe = (struct mq5_subscribe){.packet_id = 1, .list = &subscription, .count = 1};
    snprintf(pair->told, sizeof(pair->told), "%u unsubscribes from %s", client, filter);
    both(pair, client, &packet);
}

/* A quarter of the messages come as an alias; a link whose alias was never set is closed by both. */
static void publish(struct pair *pair, uint32_t client)
{
    char topic[64] = "", payload[16];
    struct mq5_packet packet = {.type = MQ5_PUBLISH};
    uint32_t alias = draw(pair, 12);
    snprintf(payload, sizeof(payload), "%llu", (unsigned long long)pair->random % 1000);
    if (alias > 3 || alias == 0 || draw(pair, 60))
        make_levels(pair, client, false, topic);
    packet.publish = (struct mq5_publish){.qos = (uint8_t)draw(pair, 3), .retain = draw(pair, 30) == 0};
    if (packet.publish.qos && ++pair->packet_id == 0)
        pair->packet_id = 1;
    packet.publish.packet_id = packet.publish.qos ? pair->packet_id : 0;
    packet.publish.topic = span_text(topic);
    packet.publish.payload = span_text(payload);
    if (alias > 0 && alias <= 3) {
        packet.publish.properties.present = MQ5_BIT(MQ5_TOPIC_ALIAS);
        packet.publish.properties.topic_alias = (uint16_t)alias;
    }
    snprintf(pair->told, sizeof(pair->told), "%u publishes to %s, alias %u", client, topic, alias);
    both(pair, client, &packet);
    if (packet.publish.properties.present &&
        pair->sides[0].links[client].open) { /* and once more, by the alias alone */
        packet.publish.topic.length = 0;
        packet.publish.dup = false;
        packet.publish.qos = packet.publish.packet_id = 0;
        both(pair, client, &packet);
    }
}

static void service_acts(struct pair *pair)
{
    char text[64];
    bool subscribes = draw(pair, 10) == 0;
    make_levels(pair, draw(pair, CLIENTS), subscribes, text);
    uint8_t qos = (uint8_t)draw(pair, 3);
    bool off = draw(pair, 2), second = draw(pair, 2);
    snprintf(pair->told, sizeof(pair->told), "service: %s", text);
    for (int i = 0; i < 2; i++) {
        struct side *side = &pair->sides[i];
        struct cloud_local *local = second ? side->second : side->service;
        struct mq5_publish message = {.qos = qos, .topic = span_text(text), .payload = SPAN_LITERAL("s")};
        if (!subscribes)
            cloud_local_publish(local, 0, &message);
        else if (off)
            cloud_local_unsubscribe(local, span_text(text));
        else
            cloud_local_subscribe(local, 0, span_text(text), qos);
    }
}

/* Answers everything under way, so that windows do not fill. */
static void lose_link(struct pair *pair, uint32_t client)
{
    snprintf(pair->told, sizeof(pair->told), "%u is lost", client);
    for (int i = 0; i < 2; i++) {
        struct side_link *link = &pair->sides[i].links[client];
        link->open = false;
        cloud_broker_closed(pair->sides[i].broker, link->connection, 0);
    }
}

static void step(struct pair *pair, uint32_t subscribing)
{
    uint32_t client = draw(pair, CLIENTS), what = draw(pair, 100);
    if (!pair->sides[0].links[client].open)
        connect_client(pair, client, draw(pair, 3) == 0);
    else if (what < subscribing)
        subscribe(pair, client);
    else if (what < 30)
        unsubscribe(pair, client);
    else if (what < 33)
        lose_link(pair, client);
    else if (what < 55)
        service_acts(pair);
    else
        publish(pair, client);
    compare(pair);
}

static void kept_by_pattern_or_in_the_tree_it_is_the_same(void **state)
{
    struct pair *pair = malloc(sizeof(*pair));
    for (uint32_t seed = 1; seed <= SEEDS; seed++) {
        memset(pair, 0, sizeof(*pair));
        pair->random = seed;
        side_begin(&pair->sides[0], true);
        side_begin(&pair->sides[1], false);
        for (uint32_t i = 0; i < STEPS; i++)
            step(pair, 5 + seed % 20);
        assert_true(pair->bytes > 10000);
        cloud_broker_destroy(pair->sides[0].broker);
        cloud_broker_destroy(pair->sides[1].broker);
    }
    free(pair);
}

/* --- the state hash does not tell where a subscription is kept --- */

static uint64_t hash_after(const char *script)
{
    struct rig *rig = rig_new();
    rig_play(rig, script);
    uint64_t hash = cloud_broker_state_hash(rig->broker);
    rig_end(rig);
    free(rig);
    return hash;
}

static void the_hash_is_that_of_the_tree(void **state)
{
    static const char begin[] = "a> CONNECT id=veh\na< CONNACK 00\nb> CONNECT id=other\nb< CONNACK 00\n";
    static const char by_pattern[] = "a> SUBSCRIBE #1 cmd/veh/request:1,nl\na< SUBACK #1 01\n";
    static const char moved[] = "b> SUBSCRIBE #1 cmd/veh/request:1\nb< SUBACK #1 01\n"
                                "b> UNSUBSCRIBE #2 cmd/veh/request\nb< UNSUBACK #2 00\n";
    static const char gone[] = "a> UNSUBSCRIBE #2 cmd/veh/request\na< UNSUBACK #2 00\n";
    char script[2048];
    snprintf(script, sizeof(script), "%s%s", begin, by_pattern);
    uint64_t pattern = hash_after(script), nothing = hash_after(begin);
    snprintf(script, sizeof(script), "%s%s%s", begin, by_pattern, moved);
    assert_true(hash_after(script) == pattern);
    assert_true(pattern != nothing);
    snprintf(script, sizeof(script), "%s%s%s", begin, by_pattern, gone);
    assert_true(hash_after(script) == nothing);
    snprintf(script, sizeof(script), "%s%s%s%s", begin, by_pattern, moved, gone);
    assert_true(hash_after(script) == nothing);
}

/* --- and what it is for: a vehicle costs little, an empty broker hardly anything --- */

static void bytes_of_a_vehicle(void **state)
{
    struct cloud_broker_counts before, after;
    struct pair *pair = calloc(1, sizeof(*pair));
    struct side *side = &pair->sides[0];
    static struct side_link link;
    side_begin(side, true);
    cloud_broker_count(side->broker, &before);
    assert_true(before.memory_bytes < 4096);
    link.side = side;
    for (uint32_t i = 0; i < 2048; i++) {
        char name[32], filter[64];
        uint8_t bytes[128];
        size_t length;
        struct mq5_packet packet = {.type = MQ5_CONNECT};
        struct cloud_connection *connection = cloud_broker_opened(side->broker, 0, &link, NULL);
        snprintf(name, sizeof(name), "1CVSIM00000%06u", i);
        snprintf(filter, sizeof(filter), "cmd/%s/request", name);
        packet.connect = (struct mq5_connect){.version = 5, .client_id = span_text(name), .keep_alive_s = 60};
        assert_int_equal(mq5_encode(MQ5_V5, &packet, bytes, sizeof(bytes), &length), MQ5_OK);
        assert_true(cloud_broker_input(side->broker, connection, 0, bytes, length));
        struct mq5_subscription subscription = {.filter = span_text(filter), .qos = 1};
        packet = (struct mq5_packet){.type = MQ5_SUBSCRIBE};
        packet.subscribe = (struct mq5_subscribe){.packet_id = 1, .list = &subscription, .count = 1};
        assert_int_equal(mq5_encode(MQ5_V5, &packet, bytes, sizeof(bytes), &length), MQ5_OK);
        assert_true(cloud_broker_input(side->broker, connection, 0, bytes, length));
        side->used = 0;
    }
    cloud_broker_count(side->broker, &after);
    assert_int_equal(after.subscriptions, 2048);
    assert_true((after.memory_bytes - before.memory_bytes) / 2048 <= 180);
    cloud_broker_destroy(side->broker);
    free(pair);
}

/* --- conversations --- */

static const struct rig_case cases[] = {
    {"a command reaches the one whose name it bears", "a> CONNECT id=a\n"
                                                      "a< CONNACK 00\n"
                                                      "a> SUBSCRIBE #1 cmd/a/request:1\n"
                                                      "a< SUBACK #1 01\n"
                                                      "b> CONNECT id=b\n"
                                                      "b< CONNACK 00\n"
                                                      "b> SUBSCRIBE #1 cmd/b/request:1\n"
                                                      "b< SUBACK #1 01\n"
                                                      "M> PUB q1 cmd/b/request=unlock\n"
                                                      "b< PUBLISH q1 #1 cmd/b/request=unlock\n"
                                                      "b> PUBACK #1\n"
                                                      "M> PUB q1 cmd/c/request=unlock\n"
                                                      "M< reason 10\n"
                                                      "M> PUB q1 cmd/b/request/x=unlock\n"
                                                      "M< reason 10\n"
                                                      "b> SUBSCRIBE #2 cmd/b/request:0\n"
                                                      "b< SUBACK #2 00\n"
                                                      "M> PUB q1 cmd/b/request=lock\n"
                                                      "b< PUBLISH q0 cmd/b/request=lock\n"
                                                      "b> SUBSCRIBE #3 cmd/b/request:1 sid=7\n"
                                                      "b< SUBACK #3 01\n"
                                                      "M> PUB q1 cmd/b/request=horn\n"
                                                      "b< PUBLISH q1 #2 cmd/b/request=horn sid=7\n"
                                                      "b> PUBACK #2\n"
                                                      "b> UNSUBSCRIBE #4 cmd/b/request\n"
                                                      "b< UNSUBACK #4 00\n"
                                                      "b> UNSUBSCRIBE #5 cmd/b/request\n"
                                                      "b< UNSUBACK #5 11\n"
                                                      "a> UNSUBSCRIBE #4 cmd/a/request cmd/a/request\n"
                                                      "a< UNSUBACK #4 00 11\n"
                                                      "M> PUB q1 cmd/a/request=lock\n"
                                                      "M< reason 10\n"},
    {"many hold the same, one changes, one goes", "a> CONNECT id=a\n"
                                                  "a< CONNACK 00\n"
                                                  "a> SUBSCRIBE #1 c/a:1 j/a/x:2\n"
                                                  "a< SUBACK #1 01 02\n"
                                                  "b> CONNECT id=b\n"
                                                  "b< CONNACK 00\n"
                                                  "b> SUBSCRIBE #1 c/b:1 j/b/x:2\n"
                                                  "b< SUBACK #1 01 02\n"
                                                  "c> CONNECT id=c clean expiry=0\n"
                                                  "c< CONNACK 00\n"
                                                  "c> SUBSCRIBE #1 c/c:1 j/c/x:2 c/a:0\n"
                                                  "c< SUBACK #1 01 02 00\n"
                                                  "b> UNSUBSCRIBE #2 c/b\n"
                                                  "b< UNSUBACK #2 00\n"
                                                  "M> PUB q1 c/a=1\n"
                                                  "a< PUBLISH q1 #1 c/a=1\n"
                                                  "c< PUBLISH q0 c/a=1\n"
                                                  "c! lost\n"
                                                  "M> PUB q0 j/c/x=2\n"
                                                  "M< reason 10\n"
                                                  "M> PUB q0 j/b/x=3\n"
                                                  "b< PUBLISH q0 j/b/x=3\n"
                                                  "M> PUB q0 c/b=3\n"
                                                  "M< reason 10\n"},
    {"aliases of topics with the own name, of others, and twice for one",
     "opt topic_alias_maximum=5\n"
     "a> CONNECT id=a\n"
     "a< CONNACK 00 tam=5\n"
     "b> CONNECT id=b\n"
     "b< CONNACK 00 tam=5\n"
     "L> SUB q1 dt/+/t\n"
     "a> PUBLISH q1 #1 dt/a/t=1 alias=1\n"
     "L< q1 dt/a/t=1\n"
     "a< PUBACK #1 00\n"
     "b> PUBLISH q1 #1 dt/b/t=1 alias=1\n"
     "L< q1 dt/b/t=1\n"
     "b< PUBACK #1 00\n"
     "a> PUBLISH q1 #2 =2 alias=1\n"
     "L< q1 dt/a/t=2\n"
     "a< PUBACK #2 00\n"
     "a> PUBLISH q0 dt/a/t=3 alias=2 & PUBLISH q0 =4 alias=2 & PUBLISH q0 =5 alias=1\n"
     "L< q0 dt/a/t=3\n"
     "L< q0 dt/a/t=4\n"
     "L< q0 dt/a/t=5\n"
     "a> PUBLISH q0 dt/z/t=6 alias=1 & PUBLISH q0 =7 alias=1 & PUBLISH q0 =8 alias=2\n"
     "L< q0 dt/z/t=6\n"
     "L< q0 dt/z/t=7\n"
     "L< q0 dt/a/t=8\n"
     "a> PUBLISH q0 dt/a/t=9 alias=1 & PUBLISH q0 =10 alias=1\n"
     "L< q0 dt/a/t=9\n"
     "L< q0 dt/a/t=10\n"
     "b> PUBLISH q0 =11 alias=1\n"
     "L< q0 dt/b/t=11\n"
     "b> PUBLISH q0 =12 alias=2\n"
     "b< DISCONNECT 82\n"
     "b< CLOSE CLIENT_ERROR\n"},
    {"a way once found is not gone when readers have come or gone", "a> CONNECT id=a\n"
                                                                    "a< CONNACK 00\n"
                                                                    "b> CONNECT id=b\n"
                                                                    "b< CONNACK 00\n"
                                                                    "a> PUBLISH q1 #1 dt/a/t=1\n"
                                                                    "a< PUBACK #1 10\n"
                                                                    "L> SUB q1 dt/#\n"
                                                                    "a> PUBLISH q1 #2 dt/a/t=2\n"
                                                                    "L< q1 dt/a/t=2\n"
                                                                    "a< PUBACK #2 00\n"
                                                                    "b> SUBSCRIBE #1 dt/a/t:0\n"
                                                                    "b< SUBACK #1 00\n"
                                                                    "a> PUBLISH q1 #3 dt/a/t=3\n"
                                                                    "L< q1 dt/a/t=3\n"
                                                                    "b< PUBLISH q0 dt/a/t=3\n"
                                                                    "a< PUBACK #3 00\n"
                                                                    "b> PUBLISH q1 #3 dt/b/t=4\n"
                                                                    "L< q1 dt/b/t=4\n"
                                                                    "b< PUBACK #3 00\n"
                                                                    "b> SUBSCRIBE #2 dt/b/t:0\n"
                                                                    "b< SUBACK #2 00\n"
                                                                    "b> PUBLISH q0 dt/b/t=5\n"
                                                                    "L< q0 dt/b/t=5\n"
                                                                    "b< PUBLISH q0 dt/b/t=5\n"
                                                                    "b> SUBSCRIBE #3 dt/b/t:0,nl\n"
                                                                    "b< SUBACK #3 00\n"
                                                                    "b> PUBLISH q0 dt/b/t=6\n"
                                                                    "L< q0 dt/b/t=6\n"
                                                                    "L> UNSUB dt/#\n"
                                                                    "b> PUBLISH q1 #4 dt/b/t=7\n"
                                                                    "b< PUBACK #4 10\n"},
    {"the name stands first, twice, or in the level before", "a> CONNECT id=a\n"
                                                             "a< CONNACK 00\n"
                                                             "a> SUBSCRIBE #1 a/x:1 a/a:1 a:1 x/a/a:0\n"
                                                             "a< SUBACK #1 01 01 01 00\n"
                                                             "b> CONNECT id=x\n"
                                                             "b< CONNACK 00\n"
                                                             "b> SUBSCRIBE #1 a/x:0\n"
                                                             "b< SUBACK #1 00\n"
                                                             "M> PUB q0 a/x=1\n"
                                                             "a< PUBLISH q0 a/x=1\n"
                                                             "b< PUBLISH q0 a/x=1\n"
                                                             "a> PUBLISH q0 a/x=2\n"
                                                             "a< PUBLISH q0 a/x=2\n"
                                                             "b< PUBLISH q0 a/x=2\n"
                                                             "b> PUBLISH q0 a=3\n"
                                                             "a< PUBLISH q0 a=3\n"
                                                             "b> PUBLISH q0 a/a=4\n"
                                                             "a< PUBLISH q0 a/a=4\n"
                                                             "b> PUBLISH q0 x/a/a=5\n"
                                                             "a< PUBLISH q0 x/a/a=5\n"},
};

static void conversations(void **state)
{
    rig_run_cases(cases, sizeof(cases) / sizeof(*cases));
}

static void without_memory(void **state)
{
    rig_sweep_cases(cases, sizeof(cases) / sizeof(*cases));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kept_by_pattern_or_in_the_tree_it_is_the_same), cmocka_unit_test(the_hash_is_that_of_the_tree),
        cmocka_unit_test(bytes_of_a_vehicle), cmocka_unit_test(conversations), cmocka_unit_test(without_memory)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
