/* checks_expiry.c: Message Expiry Interval (3.3.2.3.3): what waits too long is not delivered, what waits is delivered with what is left. */
#include "check.h"
#include "tables.h"

#include <stdio.h>

#define ROWS(list) ((uint32_t)(sizeof(list) / sizeof((list)[0])))
#define SHORT_S    2 /* life of a message that is to expire */
#define OUTLIVED   (5 * US_PER_S)
#define LONG_S     60 /* life of one that is to be delivered in time */
#define WAITED     (4 * US_PER_S)
#define ROUNDING_S 1
#define NOT_KEPT   "messages of a shared subscription are not kept while its clients are away"

static struct mq5_publish mortal(const char *topic, const char *payload, uint8_t qos, uint32_t seconds)
{
    struct mq5_publish publish = message(topic, payload, qos);
    SET_PROPERTY(publish.properties, message_expiry_s, MQ5_MESSAGE_EXPIRY_INTERVAL, seconds);
    return publish;
}

static void publish_mortal(struct conform_probe *probe, struct wire *wire, const struct mq5_publish *publish)
{
    uint8_t reason = wire_publish_packet(wire, publish);
    need(probe, reason < 0x80, "the message was refused: 0x%02x (%s)", reason, mq5_reason_name(reason));
}

/* `sent_us`: before it was sent; `taken_us`: when it was acknowledged. Whole seconds may be rounded either way. */
static void want_left(struct conform_probe *probe, const struct received *received, uint32_t seconds, int64_t sent_us,
                      int64_t taken_us)
{
    const struct mq5_properties *properties = &received->packet.publish.properties;
    want(probe, properties->present & MQ5_BIT(MQ5_MESSAGE_EXPIRY_INTERVAL),
         "it comes without its Message Expiry Interval");
    int64_t longest_s = (received->at_us - sent_us + US_PER_S - 1) / US_PER_S;
    int64_t shortest_s = (received->at_us - taken_us) / US_PER_S;
    int64_t least = (int64_t)seconds - longest_s - ROUNDING_S, most = (int64_t)seconds - shortest_s + ROUNDING_S;
    want(probe, properties->message_expiry_s >= least && properties->message_expiry_s <= most,
         "Message Expiry Interval %u, sent with %u, after %lld ms: between %lld and %lld is right",
         properties->message_expiry_s, seconds, (long long)(received->at_us - sent_us) / 1000, (long long)least,
         (long long)most);
}

/* ---- at once --------------------------------------------------------------------------------------------------------------------- */

static const uint32_t lives_s[] = {60, 65536, 4294967295};

static uint32_t at_once_count(void)
{
    return ROWS(lives_s);
}

static void at_once_row(uint32_t row, struct conform_row *out)
{
    snprintf(out->name, sizeof(out->name), "Message Expiry Interval %u", lives_s[row]);
}

static void at_once(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "live");
    struct wire *wire = probe_connect(probe, "subscriber"), *publisher = probe_connect(probe, "publisher");
    wire_subscribe(wire, topic, 1);
    uint32_t life_s = lives_s[probe_row(probe)];
    struct mq5_publish publish = mortal(topic, "mortal", 1, life_s);
    int64_t sent_us = probe_now(probe);
    publish_mortal(probe, publisher, &publish);
    const struct received *received = want_message(wire, topic, "mortal");
    want_left(probe, received, life_s, sent_us, received->at_us);
}

/* ---- places to wait ----------------------------------------------------------------------------------------------------------------- */

enum place { QUEUE_QOS_1, QUEUE_QOS_2, WINDOW, SHARE, RETAINED, PLACES };
static const struct {
    const char *name;
    uint32_t needs;
} places[PLACES] = {
    [QUEUE_QOS_1] = {"for a client that is away, at QoS 1", CONFORM_SESSION | CONFORM_QOS_1},
    [QUEUE_QOS_2] = {"for a client that is away, at QoS 2", CONFORM_SESSION | CONFORM_QOS_2},
    [RETAINED] = {"as a retained message", CONFORM_RETAIN | CONFORM_QOS_1},
    [WINDOW] = {"behind a full Receive Maximum", CONFORM_QOS_1},
    [SHARE] = {"in a shared subscription whose client is away", CONFORM_SHARED | CONFORM_SESSION | CONFORM_QOS_1},
};

static uint32_t place_count(void)
{
    return PLACES;
}

static uint32_t queue_count(void) /* of a retained message a check of its own asks */
{
    return RETAINED;
}

static void waiting_row(uint32_t row, struct conform_row *out)
{
    snprintf(out->name, sizeof(out->name), "a message that waits %s", places[row].name);
}

/* A place where messages wait until waiting_ends(): where it is, and who gets them then. */
struct waiting {
    enum place place;
    uint8_t qos;
    const char *topic;
    struct wire *publisher;
    struct mq5_connect login;
    struct wire *wire;
    uint16_t blocker; /* packet identifier that fills the window */
};

static struct waiting waiting_begins(struct conform_probe *probe)
{
    struct waiting it = {.place = (enum place)probe_row(probe), .qos = 1};
    if (!probe_has(probe, places[it.place].needs))
        skip(probe, "no message waits %s with this broker", places[it.place].name);
    it.topic = probe_topic(probe, "waits");
    it.publisher = probe_connect(probe, "publisher");
    const char *filter = it.topic;
    if (it.place == QUEUE_QOS_2)
        it.qos = 2;
    if (it.place == SHARE)
        filter = probe_text(probe, "$share/%s/%s", probe_share(probe, 0), it.topic);
    if (it.place == WINDOW) {
        it.login = probe_login(probe, 50);
        set_receive_maximum(&it.login, 1);
        it.wire = probe_connect_as(probe, "subscriber", &it.login);
        wire_subscribe(it.wire, it.topic, 1);
        wire_hold_acks(it.wire, true);
        wire_publish(it.publisher, it.topic, "blocker", 1);
        it.blocker = need_message(it.wire, it.topic, "blocker")->packet.publish.packet_id;
    } else if (it.place != RETAINED) {
        struct mq5_subscription list = subscription(filter, it.qos);
        it.login = probe_away(probe, 50, &list, 1, 0);
    }
    return it;
}

static void waiting_ends(struct conform_probe *probe, struct waiting *it)
{
    if (it->place == WINDOW) {
        wire_hold_acks(it->wire, false);
        wire_ack(it->wire, MQ5_PUBACK, it->blocker, MQ5_SUCCESS);
    } else if (it->place != RETAINED) {
        it->wire = probe_return(probe, &it->login);
    } else {
        it->wire = probe_connect(probe, "late subscriber");
        struct mq5_subscription list = subscription(it->topic, 1);
        need_granted(it->wire, wire_subscribe_with(it->wire, &list, 1, 0), 1);
    }
}

/* ---- what is left -------------------------------------------------------------------------------------------------------------------------- */

static void what_is_left(struct conform_probe *probe)
{
    struct waiting it = waiting_begins(probe);
    struct mq5_publish publish = mortal(it.topic, "mortal", it.qos, LONG_S);
    publish.retain = it.place == RETAINED;
    int64_t sent_us = probe_now(probe);
    publish_mortal(probe, it.publisher, &publish);
    int64_t taken_us = probe_now(probe);
    probe_wait(probe, WAITED);
    waiting_ends(probe, &it);
    const struct received *received = try_message(it.wire, it.topic, "mortal", probe_patience(probe));
    if (!received && it.place == SHARE)
        skip(probe, NOT_KEPT);
    want(probe, received != NULL, "the message does not come, though it has %d s to live", LONG_S);
    want_left(probe, received, LONG_S, sent_us, taken_us);
}

/* A retained message ages on: each subscriber gets less than the one before. */
static void retained_ages(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "ages");
    struct wire *publisher = probe_connect(probe, "publisher");
    struct mq5_publish publish = mortal(topic, "mortal", 1, LONG_S);
    publish.retain = true;
    int64_t sent_us = probe_now(probe);
    publish_mortal(probe, publisher, &publish);
    int64_t taken_us = probe_now(probe);
    for (int i = 0; i < 3; i++) {
        struct wire *wire = probe_connect(probe, "late subscriber");
        struct mq5_subscription list = subscription(topic, 1);
        need_granted(wire, wire_subscribe_with(wire, &list, 1, 0), 1);
        want_left(probe, need_message(wire, topic, "mortal"), LONG_S, sent_us, taken_us);
        probe_wait(probe, i < 2 ? 3 * US_PER_S : 0);
    }
}

/* ---- what is over ----------------------------------------------------------------------------------------------------------------------------- */

/* Before and after the one that expires wait others that do not, and one more is sent when the waiting is over: they show that the place keeps
 * messages, and in order. */
static void what_is_over(struct conform_probe *probe)
{
    struct waiting it = waiting_begins(probe);
    wire_publish(it.publisher, it.topic, "before", it.qos);
    struct mq5_publish publish = mortal(it.topic, "mortal", it.qos, SHORT_S);
    publish_mortal(probe, it.publisher, &publish);
    wire_publish(it.publisher, it.topic, "after", it.qos);
    probe_wait(probe, OUTLIVED);
    waiting_ends(probe, &it);
    bool was_kept = try_message(it.wire, it.topic, "before", probe_patience(probe)) != NULL;
    if (!was_kept && it.place == SHARE)
        skip(probe, NOT_KEPT);
    need(probe, was_kept, "what waited does not come");
    bool goes_on = try_message(it.wire, it.topic, "after", 3 * US_PER_S) != NULL;
    wire_publish(it.publisher, it.topic, "marker", it.qos);
    need_message(it.wire, it.topic, "marker");
    should(probe, "goes on", NULL, goes_on, "the message behind the expired one is held back until another is sent");
    probe_settle(probe);
    want(probe, wire_count_messages(it.wire, it.topic, "mortal") == 0,
         "a message that should live for %d s is delivered after %d s", SHORT_S, (int)(OUTLIVED / US_PER_S));
}

static void retained_over(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "over");
    struct wire *publisher = probe_connect(probe, "publisher");
    struct mq5_publish publish = mortal(topic, "mortal", 1, SHORT_S);
    publish.retain = true;
    publish_mortal(probe, publisher, &publish);
    probe_wait(probe, OUTLIVED);
    want(probe, probe_kept(probe, topic, NULL) == NULL, "a retained message of %d s is delivered after %d s", SHORT_S,
         (int)(OUTLIVED / US_PER_S));
}

/* Without an interval nothing expires; beside it, one that does. */
static void immortal(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "stays");
    struct mq5_subscription list = subscription(topic, 1);
    struct mq5_connect login = probe_away(probe, 50, &list, 1, 0);
    struct wire *publisher = probe_connect(probe, "publisher");
    struct mq5_publish publish = mortal(topic, "mortal", 1, SHORT_S);
    publish_mortal(probe, publisher, &publish);
    wire_publish(publisher, topic, "stays", 1);
    probe_wait(probe, OUTLIVED);
    const struct received *received = want_message(probe_return(probe, &login), topic, "stays");
    should(probe, "no interval", "MQTT-3.3.2-6",
           !(received->packet.publish.properties.present & MQ5_BIT(MQ5_MESSAGE_EXPIRY_INTERVAL)),
           "a Message Expiry Interval that was not sent");
}

CHECK_TABLE(checks_expiry,
            {.id = "B-PUB-201",
             .name = "what is passed on at once keeps its Message Expiry Interval",
             .refs = {"MQTT-3.3.2-6"},
             .level = CONFORM_MUST,
             .needs = CONFORM_QOS_1,
             .run = at_once,
             .row_count = at_once_count,
             .row = at_once_row},
            {.id = "B-PUB-202",
             .name = "what has waited comes with what is left of its Message Expiry Interval",
             .refs = {"MQTT-3.3.2-6"},
             .level = CONFORM_MUST,
             .lane = CONFORM_SLOW,
             .run = what_is_left,
             .row_count = place_count,
             .row = waiting_row},
            {.id = "B-PUB-203",
             .name = "each later subscriber finds less left of a retained message's life",
             .refs = {"MQTT-3.3.2-6"},
             .level = CONFORM_MUST,
             .needs = CONFORM_RETAIN | CONFORM_QOS_1,
             .lane = CONFORM_SLOW,
             .run = retained_ages},
            {.id = "B-PUB-204",
             .name = "what has waited longer than its Message Expiry Interval is not delivered",
             .refs = {"MQTT-3.3.2-5"},
             .level = CONFORM_MUST,
             .lane = CONFORM_SLOW,
             .run = what_is_over,
             .row_count = queue_count,
             .row = waiting_row},
            {.id = "B-PUB-205",
             .name = "a retained message is over with its Message Expiry Interval",
             .refs = {"S3.3.1.3b", "MQTT-3.3.2-5"},
             .level = CONFORM_MUST,
             .needs = CONFORM_RETAIN | CONFORM_QOS_1,
             .lane = CONFORM_SLOW,
             .run = retained_over},
            {.id = "B-PUB-206",
             .name = "a message without a Message Expiry Interval does not expire",
             .refs = {"MQTT-3.3.2-5"},
             .level = CONFORM_MUST,
             .needs = CONFORM_SESSION | CONFORM_QOS_1,
             .lane = CONFORM_SLOW,
             .run = immortal}, )
