/* checks_alias.c: topic aliases (3.3.2.3.4), those of clients and those of the broker. */
#include "check.h"
#include "tables.h"

#include <stdio.h>

#define ROWS(list)      ((uint32_t)(sizeof(list) / sizeof((list)[0])))
#define MANY            50 /* of the broker's aliases are tried at most */
#define OUTBOUND        2  /* aliases the broker is allowed in checks of its own */
#define OUTBOUND_TOPICS 6

static struct mq5_publish aliased(const char *topic, const char *payload, uint8_t qos, uint16_t alias)
{
    struct mq5_publish publish = message(topic, payload, qos);
    SET_PROPERTY(publish.properties, topic_alias, MQ5_TOPIC_ALIAS, alias);
    return publish;
}

/* Sends it, and for QoS 1 waits for its answer. */
static void want_taken(struct conform_probe *probe, struct wire *wire, const struct mq5_publish *publish)
{
    uint16_t alias = publish->properties.topic_alias;
    if (publish->qos != 1) {
        uint8_t reason = wire_publish_packet(wire, publish);
        want(probe, reason < 0x80, "alias %u is refused: 0x%02x (%s)", alias, reason, mq5_reason_name(reason));
        return;
    }
    struct mq5_packet packet = {.type = MQ5_PUBLISH, .publish = *publish};
    packet.publish.packet_id = wire_packet_id(wire);
    wire_send(wire, &packet);
    const struct received *ack = try_packet(wire, MQ5_PUBACK, probe_patience(probe));
    want(probe, ack || wire_is_open(wire), "alias %u ends the connection", alias);
    need(probe, ack != NULL, "no PUBACK");
    want(probe, ack->packet.ack.reason < 0x80, "alias %u is refused: 0x%02x (%s)", alias, ack->packet.ack.reason,
         mq5_reason_name(ack->packet.ack.reason));
}

/* A message without the alias goes before: the topic may be refused by policy, whatever its alias. */
static void tell_alias(struct conform_probe *probe, struct wire *wire, const char *topic, uint16_t alias)
{
    struct mq5_publish publish = aliased(topic, "told", 1, alias);
    wire_publish(wire, topic, "control", 1);
    want_taken(probe, wire, &publish);
}

static void use_alias(struct conform_probe *probe, struct wire *wire, const char *payload, uint8_t qos, uint16_t alias)
{
    struct mq5_publish publish = aliased("", payload, qos, alias);
    want_taken(probe, wire, &publish);
}

static void want_on(struct conform_probe *probe, struct wire *wire, const char *topic, const char *payload)
{
    const struct mq5_publish *publish = &want_message(wire, NULL, payload)->packet.publish;
    want(probe, span_equal(publish->topic, span_text(topic)), "\"%s\" comes on \"%.*s\" instead of \"%s\"", payload,
         (int)publish->topic.length, (const char *)publish->topic.data, topic);
}

/* ---- the client's ---------------------------------------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    uint8_t qos;
    bool highest, own_name;
} uses[] = {
    {"alias 1 at QoS 0", 0, false, false},
    {"alias 1 at QoS 1", 1, false, false},
    {"alias 1 at QoS 2", 2, false, false},
    {"the highest alias at QoS 1", 1, true, false},
    {"alias 1 of a topic with the client's own name", 1, false, true},
};

static uint32_t use_count(void)
{
    return ROWS(uses);
}

static void use_row(uint32_t row, struct conform_row *out)
{
    snprintf(out->name, sizeof(out->name), "%s", uses[row].name);
}

static void alias_used(struct conform_probe *probe)
{
    uint32_t row = probe_row(probe);
    if (uses[row].qos == 2 && !probe_has(probe, CONFORM_QOS_2))
        skip(probe, "needs QoS 2");
    uint16_t alias = uses[row].highest ? probe_broker(probe)->topic_alias_maximum : 1;
    const char *topic = uses[row].own_name ? probe_topic(probe, "%s/state", probe_client_id(probe, 1))
                                           : probe_topic(probe, "long/name/of/a/topic");
    struct wire *wire = probe_connect(probe, "subscriber"), *publisher = probe_connect(probe, "publisher");
    wire_subscribe(wire, topic, uses[row].qos);
    struct mq5_packet first = {.type = MQ5_PUBLISH, .publish = aliased(topic, "told", 1, alias)};
    first.publish.packet_id = wire_packet_id(publisher);
    wire_send(publisher, &first);
    want_packet(publisher, MQ5_PUBACK, probe_text(probe, "PUBACK for a message with Topic Alias %u", alias));
    want_on(probe, wire, topic, "told");
    for (int i = 0; i < 3; i++) {
        const char *payload = probe_text(probe, "by alias %d", i);
        use_alias(probe, publisher, payload, uses[row].qos, alias);
        want_on(probe, wire, topic, payload);
    }
}

static uint32_t move_count(void)
{
    return 3;
}

static void move_row(uint32_t row, struct conform_row *out)
{
    static const char *const names[] = {"two topics", "the second with the client's own name",
                                        "both with the client's own name"};
    snprintf(out->name, sizeof(out->name), "%s", names[row]);
}

static void alias_moved(struct conform_probe *probe)
{
    uint32_t row = probe_row(probe);
    const char *own = probe_client_id(probe, 1); /* of the publisher, the second connection */
    const char *first = probe_topic(probe, "%s/first", row == 2 ? own : "x");
    const char *second = probe_topic(probe, "%s/second", row >= 1 ? own : "x");
    struct wire *wire = probe_connect(probe, "subscriber"), *publisher = probe_connect(probe, "publisher");
    wire_subscribe(wire, first, 1);
    wire_subscribe(wire, second, 1);
    tell_alias(probe, publisher, first, 1);
    tell_alias(probe, publisher, second, 1);
    use_alias(probe, publisher, "moved", 1, 1);
    want_on(probe, wire, second, "moved");
    tell_alias(probe, publisher, first, 1);
    use_alias(probe, publisher, "back", 1, 1);
    want_on(probe, wire, first, "back");
}

static void every_alias(struct conform_probe *probe)
{
    uint16_t count = probe_broker(probe)->topic_alias_maximum;
    count = count > MANY ? MANY : count;
    const char *topics[MANY];
    struct wire *wire = probe_connect(probe, "subscriber"), *publisher = probe_connect(probe, "publisher");
    for (uint16_t i = 0; i < count; i++) {
        topics[i] = probe_topic(probe, "topic/%u", i);
        struct mq5_subscription list = subscription(topics[i], 1);
        need_granted(wire, wire_subscribe_with(wire, &list, 1, 0), 1);
    }
    wire_warm_up(wire, topics[count - 1]);
    for (uint16_t i = 0; i < count; i++)
        tell_alias(probe, publisher, topics[i], (uint16_t)(i + 1));
    for (uint16_t i = count; i-- > 0;) {
        const char *payload = probe_text(probe, "by alias %u", i + 1);
        use_alias(probe, publisher, payload, 1, (uint16_t)(i + 1));
        want_on(probe, wire, topics[i], payload);
    }
}

static void alias_not_passed_on(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "topic");
    struct wire *wire = probe_connect(probe, "subscriber"), *publisher = probe_connect(probe, "publisher");
    wire_subscribe(wire, topic, 1);
    tell_alias(probe, publisher, topic, 1);
    use_alias(probe, publisher, "by alias", 1, 1);
    const struct mq5_publish *publish = &want_message(wire, NULL, "by alias")->packet.publish;
    want(probe, !(publish->properties.present & MQ5_BIT(MQ5_TOPIC_ALIAS)),
         "a topic alias for a client that allows none");
    want(probe, span_equal(publish->topic, span_text(topic)), "not the topic that the alias stands for");
}

static void alias_retained(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "kept");
    struct wire *publisher = probe_connect(probe, "publisher");
    tell_alias(probe, publisher, topic, 1);
    struct mq5_publish publish = aliased("", "kept by alias", 1, 1);
    publish.retain = true;
    SET_PROPERTY(publish.properties, message_expiry_s, MQ5_MESSAGE_EXPIRY_INTERVAL, 60);
    need(probe, wire_publish_packet(publisher, &publish) < 0x80, "the message was refused");
    const struct received *kept = probe_kept(probe, topic, "kept by alias");
    /* What was kept under a name that the rig has not seen on the wire has to go as well. */
    wire_publish_retained(publisher, topic, "", 1);
    want(probe, kept != NULL, "the retained message is not kept under the topic of its alias");
}

/* ---- where an alias ends ---------------------------------------------------------------------------------------------------------------- */

#define UNKNOWN REASONS(MQ5_PROTOCOL_ERROR, MQ5_TOPIC_ALIAS_INVALID)

static void want_unknown(struct conform_probe *probe, struct wire *wire, uint16_t alias, const char *what)
{
    struct mq5_packet packet = {.type = MQ5_PUBLISH, .publish = aliased("", "to whom?", 0, alias)};
    wire_send(wire, &packet);
    want_closed(wire, what, UNKNOWN);
}

static void alias_after_reconnect(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "topic");
    struct mq5_connect login = probe_login(probe, 50);
    set_session_expiry(&login, 60);
    struct wire *wire = probe_connect_as(probe, "publisher", &login);
    tell_alias(probe, wire, topic, 1);
    use_alias(probe, wire, "used", 1, 1);
    wire_disconnect(wire, MQ5_SUCCESS);
    want_unknown(probe, probe_return(probe, &login), 1, "an alias of an earlier connection of this session");
}

static void alias_after_new_start(struct conform_probe *probe)
{
    struct mq5_connect login = probe_login(probe, 50);
    struct wire *wire = probe_connect_as(probe, "publisher", &login);
    tell_alias(probe, wire, probe_topic(probe, "topic"), 1);
    wire_end(wire, WIRE_FIN);
    want_unknown(probe, probe_connect_as(probe, "again", &login), 1,
                 "an alias of an earlier connection of this client");
}

static void alias_of_another(struct conform_probe *probe)
{
    const char *mine = probe_topic(probe, "mine"), *yours = probe_topic(probe, "yours");
    struct wire *wire = probe_connect(probe, "subscriber");
    struct wire *one = probe_connect(probe, "one"), *other = probe_connect(probe, "other");
    wire_subscribe(wire, mine, 1);
    wire_subscribe(wire, yours, 1);
    tell_alias(probe, one, mine, 1);
    tell_alias(probe, other, yours, 1);
    use_alias(probe, one, "from one", 1, 1);
    want_on(probe, wire, mine, "from one");
    use_alias(probe, other, "from the other", 1, 1);
    want_on(probe, wire, yours, "from the other");
    want_unknown(probe, probe_connect(probe, "third"), 1, "an alias that only other clients have told");
}

static void alias_unknown(struct conform_probe *probe)
{
    struct wire *wire = probe_connect(probe, "publisher");
    uint16_t maximum = probe_broker(probe)->topic_alias_maximum;
    if (maximum > 1)
        tell_alias(probe, wire, probe_topic(probe, "topic"), 1);
    want_unknown(probe, wire, maximum, "an alias that was never told");
}

static const struct {
    const char *name, *ref;
    bool with_topic;
} wrong[] = {
    {"alias 0 with a topic", "MQTT-3.3.2-8", true},
    {"alias 0 without a topic", "MQTT-3.3.2-8", false},
    {"one above the broker's Topic Alias Maximum", "S3.3.2.3.4a", true},
    {"alias 65,535 above the broker's Topic Alias Maximum", "S3.3.2.3.4a", true},
};

static uint32_t wrong_count(void)
{
    return ROWS(wrong);
}

static void wrong_row(uint32_t row, struct conform_row *out)
{
    snprintf(out->name, sizeof(out->name), "%s", wrong[row].name);
    out->ref = wrong[row].ref;
}

static void wrong_alias(struct conform_probe *probe)
{
    uint32_t row = probe_row(probe), maximum = probe_broker(probe)->topic_alias_maximum;
    if (row >= 2 && maximum == 65535)
        skip(probe, "the broker's Topic Alias Maximum is 65,535: nothing is above");
    uint16_t alias = (uint16_t)(row < 2 ? 0 : row == 2 ? maximum + 1 : 65535);
    struct mq5_packet packet = {
        .type = MQ5_PUBLISH,
        .publish = aliased(wrong[row].with_topic ? probe_topic(probe, "topic") : "", "wrong", 0, alias)};
    struct wire *wire = probe_connect(probe, "publisher");
    wire_send(wire, &packet);
    want_closed(wire, wrong[row].name,
                row == 1 ? REASONS(MQ5_TOPIC_ALIAS_INVALID, MQ5_PROTOCOL_ERROR) : REASONS(MQ5_TOPIC_ALIAS_INVALID));
}

/* ---- the broker's ---------------------------------------------------------------------------------------------------------------------------- */

/* What the aliases of one connection stand for, as far as the broker has told. */
struct told {
    struct span topics[OUTBOUND + 1];
};

static struct span topic_of(struct conform_probe *probe, struct told *told, const struct mq5_publish *publish)
{
    if (!(publish->properties.present & MQ5_BIT(MQ5_TOPIC_ALIAS)))
        return publish->topic;
    uint16_t alias = publish->properties.topic_alias;
    need(probe, alias <= OUTBOUND, "topic alias %u, and the client's Topic Alias Maximum is %d", alias, OUTBOUND);
    if (publish->topic.length)
        told->topics[alias] = publish->topic;
    return told->topics[alias];
}

static struct mq5_connect allow_aliases(struct conform_probe *probe)
{
    struct mq5_connect login = probe_login(probe, 50);
    set_session_expiry(&login, 60);
    set_alias_maximum(&login, OUTBOUND);
    return login;
}

/* Without a warming up: its messages would tell aliases that nobody notes. */
static void subscribe_cold(struct conform_probe *probe, struct wire *wire, const char *filter)
{
    struct mq5_subscription list = subscription(filter, 1);
    need_granted(wire, wire_subscribe_with(wire, &list, 1, 0), 1);
    probe_settle(probe);
}

/* More topics than aliases, in rounds: some must be given to others, or go without. `each` looks at every message. Whether the broker uses any is
 * seen here, not asked before: a broker may begin with them whenever it likes. */
static void outbound(struct conform_probe *probe, void (*each)(struct conform_probe *probe, struct told *told,
                                                               const char *topic, const struct mq5_publish *publish))
{
    struct mq5_connect login = allow_aliases(probe);
    struct wire *wire = probe_connect_as(probe, "subscriber", &login), *publisher = probe_connect(probe, "publisher");
    struct told told = {0};
    bool used = false;
    for (int t = 0; t < OUTBOUND_TOPICS; t++)
        subscribe_cold(probe, wire, probe_topic(probe, "topic/%d", t));
    for (int i = 0; i < OUTBOUND_TOPICS * 4; i++) {
        const char *topic = probe_topic(probe, "topic/%d", i < OUTBOUND_TOPICS * 2 ? i / 4 : i % OUTBOUND_TOPICS);
        const char *payload = probe_text(probe, "message %d", i);
        wire_publish(publisher, topic, payload, 1);
        const struct mq5_publish *publish = &need_message(wire, NULL, payload)->packet.publish;
        used |= (publish->properties.present & MQ5_BIT(MQ5_TOPIC_ALIAS)) != 0;
        each(probe, &told, topic, publish);
    }
    if (!used)
        skip(probe, "the broker has used no alias");
}

static void within_maximum(struct conform_probe *probe, struct told *told, const char *topic,
                           const struct mq5_publish *publish)
{
    bool aliased = publish->properties.present & MQ5_BIT(MQ5_TOPIC_ALIAS);
    want(probe, !aliased || publish->properties.topic_alias <= OUTBOUND,
         "topic alias %u, and the client's Topic Alias Maximum is %d", publish->properties.topic_alias, OUTBOUND);
}

static void right_topic(struct conform_probe *probe, struct told *told, const char *topic,
                        const struct mq5_publish *publish)
{
    struct span found = topic_of(probe, told, publish);
    want(probe, span_equal(found, span_text(topic)), "\"%.*s\" comes on \"%.*s\" instead of \"%s\"",
         (int)publish->payload.length, (const char *)publish->payload.data, (int)found.length, (const char *)found.data,
         topic);
}

static void outbound_maximum(struct conform_probe *probe)
{
    outbound(probe, within_maximum);
}

static void outbound_topics(struct conform_probe *probe)
{
    outbound(probe, right_topic);
}

static void outbound_after_reconnect(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "topic");
    struct mq5_connect login = allow_aliases(probe);
    struct wire *wire = probe_connect_as(probe, "subscriber", &login), *publisher = probe_connect(probe, "publisher");
    struct told told = {0}, afresh = {0};
    subscribe_cold(probe, wire, topic);
    for (int i = 0; i < 4; i++) {
        const char *payload = probe_text(probe, "before %d", i);
        wire_publish(publisher, topic, payload, 1);
        topic_of(probe, &told, &need_message(wire, NULL, payload)->packet.publish);
    }
    if (!told.topics[1].length && !told.topics[2].length)
        skip(probe, "the broker has used no alias");
    wire_disconnect(wire, MQ5_SUCCESS);
    wire_publish(publisher, topic, "while away", 1);
    wire = probe_return(probe, &login);
    const struct mq5_publish *publish = &want_message(wire, NULL, "while away")->packet.publish;
    want(probe, span_equal(topic_of(probe, &afresh, publish), span_text(topic)),
         "the first message of the new connection has neither its topic nor an alias that this connection was told");
}

CHECK_TABLE(checks_alias,
            {.id = "B-PUB-101",
             .name = "an alias stands for the topic it was told with",
             .refs = {"MQTT-3.3.2-12"},
             .level = CONFORM_MUST,
             .needs = CONFORM_ALIAS_IN | CONFORM_QOS_1,
             .run = alias_used,
             .row_count = use_count,
             .row = use_row},
            {.id = "B-PUB-102",
             .name = "an alias that is told again stands for the later topic",
             .refs = {"MQTT-3.3.2-12"},
             .level = CONFORM_MUST,
             .needs = CONFORM_ALIAS_IN | CONFORM_QOS_1,
             .run = alias_moved,
             .row_count = move_count,
             .row = move_row},
            {.id = "B-PUB-103",
             .name = "every alias up to the broker's maximum has a topic of its own",
             .refs = {"MQTT-3.3.2-12"},
             .level = CONFORM_MUST,
             .needs = CONFORM_ALIAS_IN | CONFORM_QOS_1,
             .run = every_alias},
            {.id = "B-PUB-104",
             .name = "the alias of a publisher is not passed on",
             .refs = {"MQTT-3.1.2-27", "MQTT-3.3.2-12"},
             .level = CONFORM_MUST,
             .needs = CONFORM_ALIAS_IN | CONFORM_QOS_1,
             .run = alias_not_passed_on},
            {.id = "B-PUB-105",
             .name = "a retained message sent by alias is kept under its topic",
             .refs = {"MQTT-3.3.2-12"},
             .level = CONFORM_MUST,
             .needs = CONFORM_ALIAS_IN | CONFORM_QOS_1 | CONFORM_RETAIN,
             .run = alias_retained},
            {.id = "B-PUB-106",
             .name = "an alias ends with its connection, though the session goes on",
             .refs = {"MQTT-3.3.2-7", "S3.3.2.3.4b"},
             .level = CONFORM_MUST,
             .needs = CONFORM_ALIAS_IN | CONFORM_QOS_1 | CONFORM_SESSION,
             .run = alias_after_reconnect},
            {.id = "B-PUB-107",
             .name = "an alias ends with its connection, and a client that comes again has none",
             .refs = {"MQTT-3.3.2-7", "S3.3.2.3.4b"},
             .level = CONFORM_MUST,
             .needs = CONFORM_ALIAS_IN | CONFORM_QOS_1,
             .run = alias_after_new_start},
            {.id = "B-PUB-108",
             .name = "an alias is its connection's own",
             .refs = {"MQTT-3.3.2-7", "S3.3.2.3.4b"},
             .level = CONFORM_MUST,
             .needs = CONFORM_ALIAS_IN | CONFORM_QOS_1,
             .run = alias_of_another},
            {.id = "B-PUB-109",
             .name = "an alias that was never told ends the connection",
             .refs = {"S3.3.2.3.4b"},
             .level = CONFORM_MUST,
             .needs = CONFORM_ALIAS_IN | CONFORM_QOS_1,
             .run = alias_unknown},
            {.id = "B-PUB-110",
             .name = "alias 0, and one above the broker's maximum, end the connection",
             .refs = {"MQTT-3.3.2-8", "S3.3.2.3.4a"},
             .level = CONFORM_MUST,
             .run = wrong_alias,
             .row_count = wrong_count,
             .row = wrong_row},
            {.id = "B-PUB-111",
             .name = "the broker keeps to the client's Topic Alias Maximum",
             .refs = {"MQTT-3.3.2-11", "MQTT-3.3.2-8"},
             .level = CONFORM_MUST,
             .needs = CONFORM_QOS_1,
             .run = outbound_maximum},
            {.id = "B-PUB-112",
             .name = "the broker tells its aliases anew over a new connection",
             .refs = {"MQTT-3.3.2-7"},
             .level = CONFORM_MUST,
             .needs = CONFORM_QOS_1 | CONFORM_SESSION,
             .run = outbound_after_reconnect},
            {.id = "B-PUB-113",
             .name = "the broker's aliases stand for the topics that were published to",
             .refs = {"MQTT-3.3.2-3", "S3.3.2.1a", "S3.3.2.3.4b"},
             .level = CONFORM_MUST,
             .needs = CONFORM_QOS_1,
             .run = outbound_topics}, )
