/* checks_connect_limits.c: what a client says in CONNECT about what it may be sent (3.1.2.11): size, aliases, words. */
#include "check.h"
#include "tables.h"

static bool told(const struct mq5_properties *properties, enum mq5_property property)
{
    return properties->present & MQ5_BIT(property);
}

/* ---- Maximum Packet Size ----------------------------------------------------------------------------------------------------- */

#define ROOM 200 /* bytes beside the topic: the remaining length has two bytes */

static struct wire *connect_limited(struct conform_probe *probe, uint32_t limit)
{
    struct mq5_connect login = probe_login(probe, 50);
    set_maximum_packet_size(&login, limit);
    return probe_connect_as(probe, "limited", &login);
}

/* A payload with which PUBLISH of this topic and QoS has so many bytes, if nothing is added on the way. */
static const char *payload_for(struct conform_probe *probe, const char *topic, uint8_t qos, uint32_t bytes)
{
    struct mq5_packet packet = {.type = MQ5_PUBLISH, .publish = message(topic, "", qos)};
    packet.publish.packet_id = qos ? 1 : 0;
    char *payload = (char *)probe_bytes(probe, bytes + 1, 'x');
    for (uint32_t length = 1; length < bytes; length++) {
        packet.publish.payload = (struct span){(const uint8_t *)payload, length};
        if (mq5_encoded_length(MQ5_V5, &packet) < bytes)
            continue;
        payload[length] = 0;
        return payload;
    }
    return "";
}

static void want_none_above(struct conform_probe *probe, const struct wire *wire, uint32_t limit)
{
    for (uint32_t i = 0; i < wire_count(wire); i++)
        want(probe, wire_at(wire, i)->bytes.length <= limit, "%s of %u bytes for a client that takes %u",
             mq5_type_name(wire_at(wire, i)->packet.type), wire_at(wire, i)->bytes.length, limit);
}

static void size_of_messages(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "size");
    uint32_t limit = (uint32_t)strlen(topic) + ROOM, most = probe_broker(probe)->maximum_packet_size;
    if (most && most < limit + 1600)
        skip(probe, "the broker takes packets of %u bytes at most", most);
    struct wire *wire = connect_limited(probe, limit);
    uint8_t qos = probe_has(probe, CONFORM_QOS_1) ? 1 : 0;
    wire_subscribe(wire, topic, qos);
    struct wire *publisher = probe_connect(probe, "publisher");
    const char *just = payload_for(probe, topic, qos, limit);
    wire_publish(publisher, topic, payload_for(probe, topic, qos, limit + 1), qos);
    wire_publish(publisher, topic, just, qos);
    wire_publish(publisher, topic, payload_for(probe, topic, 0, limit + 1), 0);
    wire_publish(publisher, topic, payload_for(probe, topic, qos, limit + 1500), qos);
    wire_publish(publisher, topic, "marker", qos);
    need_message(wire, topic, "marker");
    want_none_above(probe, wire, limit);
    want(probe,
         wire_count_messages(wire, topic, NULL) - wire_count_messages(wire, topic, "marker") -
                 wire_count_messages(wire, topic, just) ==
             0,
         "a message too large for the client was sent in another form");
    should(probe, "just", NULL, wire_count_messages(wire, topic, just) == 1,
           "a message of just the %u bytes that the client takes did not arrive once", limit);
}

static void too_large_for_one(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "two");
    uint32_t limit = (uint32_t)strlen(topic) + ROOM;
    struct wire *wire = connect_limited(probe, limit), *other = probe_connect(probe, "takes everything");
    uint8_t qos = probe_has(probe, CONFORM_QOS_1) ? 1 : 0;
    wire_subscribe(wire, topic, qos);
    wire_subscribe(other, topic, qos);
    const char *payload = payload_for(probe, topic, qos, limit + 1000);
    wire_publish(probe_connect(probe, "publisher"), topic, payload, qos);
    want_message(other, topic, payload);
    wire_publish(other, topic, "marker", qos);
    need_message(wire, topic, "marker");
}

/* What is too large counts as delivered: it holds no place in the client's Receive Maximum, and nothing behind it waits. */
static void dropped_counts_as_sent(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "slot");
    uint32_t limit = (uint32_t)strlen(topic) + ROOM;
    struct mq5_connect login = probe_login(probe, 50);
    set_maximum_packet_size(&login, limit);
    set_receive_maximum(&login, 2);
    struct wire *wire = probe_connect_as(probe, "limited", &login);
    uint8_t highest = probe_has(probe, CONFORM_QOS_2) ? 2 : 1;
    wire_subscribe(wire, topic, highest);
    struct wire *publisher = probe_connect(probe, "publisher");
    for (uint8_t qos = 1; qos <= highest; qos++) {
        for (int i = 0; i < 5; i++)
            wire_publish(publisher, topic, payload_for(probe, topic, qos, limit + 100), qos);
        for (int i = 0; i < 3; i++)
            wire_publish(publisher, topic, probe_text(probe, "%u %d", qos, i), qos);
        for (int i = 0; i < 3; i++)
            want_message(wire, topic, probe_text(probe, "%u %d", qos, i));
    }
    want_none_above(probe, wire, limit);
    want_alive(wire, "after messages that were too large for it");
}

/* Queued while the client took everything; then it comes back and takes less. */
static void dropped_from_queue(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "queue");
    uint32_t limit = (uint32_t)strlen(topic) + ROOM;
    struct mq5_connect login = probe_login(probe, 50);
    set_session_expiry(&login, 60);
    struct wire *wire = probe_subscriber_as(probe, "takes everything", &login, topic, 1);
    wire_disconnect(wire, MQ5_SUCCESS);
    struct wire *publisher = probe_connect(probe, "publisher");
    wire_publish(publisher, topic, payload_for(probe, topic, 1, limit + 1000), 1);
    wire_publish(publisher, topic, "small", 1);
    set_maximum_packet_size(&login, limit);
    wire = probe_resume(probe, "limited", &login, false);
    need(probe, wire_connack(wire)->session_present, "Session Present 0");
    want_message(wire, topic, "small");
    want_none_above(probe, wire, limit);
    wire_publish(publisher, topic, "live", 1);
    want_message(wire, topic, "live");
}

static void dropped_retained(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "kept");
    uint32_t limit = (uint32_t)strlen(topic) + ROOM;
    struct wire *publisher = probe_connect(probe, "publisher");
    wire_publish_retained(publisher, topic, payload_for(probe, topic, 1, limit + 1000), 1);
    struct wire *wire = connect_limited(probe, limit);
    struct mq5_subscription list = subscription(topic, 1);
    wire_subscribe_with(wire, &list, 1, 0);
    for (int i = 0; i < 40 && !try_message(wire, topic, "marker", 250 * US_PER_MS); i++)
        wire_publish(publisher, topic, "marker", 1);
    need(probe, wire_count_messages(wire, topic, "marker") > 0, "no message after the retained one");
    want_none_above(probe, wire, limit);
}

static void size_of_suback(struct conform_probe *probe)
{
    enum { MANY = 60, LIMIT = 30 };
    struct mq5_subscription list[MANY];
    for (uint32_t i = 0; i < MANY; i++)
        list[i] = subscription(probe_topic(probe, "%u", i), 0);
    struct wire *wire = connect_limited(probe, LIMIT);
    wire_send(wire,
              &(struct mq5_packet){.type = MQ5_SUBSCRIBE,
                                   .subscribe = {.packet_id = wire_packet_id(wire), .list = list, .count = MANY}});
    wire_send(wire, &(struct mq5_packet){.type = MQ5_PINGREQ});
    bool answered = try_packet(wire, MQ5_PINGRESP, probe_patience(probe)) != NULL;
    need(probe, answered || !wire_is_open(wire), "neither an answer to PINGREQ nor an end");
    want_none_above(probe, wire, LIMIT);
}

/* The least CONNACK has 5 bytes. */
static void size_of_connack(struct conform_probe *probe)
{
    struct mq5_connect login = probe_login(probe, 0);
    set_maximum_packet_size(&login, 3);
    struct wire *wire = probe_open(probe, "takes 3 bytes");
    wire_send(wire, &(struct mq5_packet){.type = MQ5_CONNECT, .connect = login});
    wire_closes(wire, 2 * US_PER_S);
    need_alive(probe_connect(probe, "beside"), "of another client");
    want_none_above(probe, wire, 3);
    want(probe, !wire_connack(wire), "a CONNACK for a client that takes 3 bytes");
}

/* ---- topic aliases ---------------------------------------------------------------------------------------------------------------- */

static void aliases_within(struct conform_probe *probe)
{
    enum { TOPICS = 4, ROUNDS = 3, MAXIMUM = 2 };
    struct mq5_connect login = probe_login(probe, 50);
    set_alias_maximum(&login, MAXIMUM);
    struct wire *wire = probe_connect_as(probe, "two aliases", &login);
    struct wire *publisher = probe_connect(probe, "publisher");
    for (int i = 0; i < TOPICS; i++)
        wire_subscribe(wire, probe_topic(probe, "alias/%d", i), 0);
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < TOPICS; i++) {
            const char *payload = probe_text(probe, "%d of %d", round, i);
            wire_publish(publisher, probe_topic(probe, "alias/%d", i), payload, 0);
            const struct mq5_properties *properties = &need_message(wire, NULL, payload)->packet.publish.properties;
            want(probe,
                 !told(properties, MQ5_TOPIC_ALIAS) || (properties->topic_alias && properties->topic_alias <= MAXIMUM),
                 "topic alias %u for a client that allows %d", properties->topic_alias, MAXIMUM);
        }
    }
}

static void no_aliases(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "alias");
    struct mq5_connect login = probe_login(probe, 50);
    struct wire *absent = probe_connect_as(probe, "no maximum", &login);
    login = probe_login(probe, 51);
    set_alias_maximum(&login, 0);
    struct wire *zero = probe_connect_as(probe, "maximum 0", &login);
    wire_subscribe(absent, topic, 0);
    wire_subscribe(zero, topic, 0);
    struct wire *publisher = probe_connect(probe, "publisher");
    for (int i = 0; i < 4; i++) {
        const char *payload = probe_text(probe, "%d", i);
        struct mq5_publish publish = message(topic, payload, 0);
        if (probe_has(probe, CONFORM_ALIAS_IN))
            SET_PROPERTY(publish.properties, topic_alias, MQ5_TOPIC_ALIAS, 1);
        wire_publish_packet(publisher, &publish);
        const struct received *first = need_message(absent, NULL, payload), *second = need_message(zero, NULL, payload);
        want(probe, !told(&first->packet.publish.properties, MQ5_TOPIC_ALIAS),
             "a topic alias for a client without Topic Alias Maximum");
        want(probe, !told(&second->packet.publish.properties, MQ5_TOPIC_ALIAS),
             "a topic alias for a client with Topic Alias Maximum 0");
    }
}

/* ---- information on request ---------------------------------------------------------------------------------------------------------- */

static void no_response_information(struct conform_probe *probe)
{
    struct mq5_connect login = probe_login(probe, 50);
    struct wire *wire = probe_connect_as(probe, "not asked", &login);
    want(probe, !told(&wire_connack(wire)->properties, MQ5_RESPONSE_INFORMATION),
         "Response Information for a client that says nothing of it");
    login = probe_login(probe, 51);
    SET_PROPERTY(login.properties, request_response_information, MQ5_REQUEST_RESPONSE_INFORMATION, 0);
    wire = probe_connect_as(probe, "asked not to", &login);
    want(probe, !told(&wire_connack(wire)->properties, MQ5_RESPONSE_INFORMATION),
         "Response Information for a client that asked not to have it");
}

static void want_no_words(struct conform_probe *probe, const struct wire *wire)
{
    for (uint32_t i = 0; i < wire_count(wire); i++) {
        const struct mq5_packet *packet = &wire_at(wire, i)->packet;
        const struct mq5_properties *properties =
            packet->type == MQ5_SUBACK || packet->type == MQ5_UNSUBACK  ? &packet->suback.properties
            : packet->type >= MQ5_PUBACK && packet->type <= MQ5_PUBCOMP ? &packet->ack.properties
                                                                        : NULL;
        want(probe, !properties || (!told(properties, MQ5_REASON_STRING) && !told(properties, MQ5_USER_PROPERTY)),
             "%s has words that this client did not want", mq5_type_name(packet->type));
    }
}

static struct wire *connect_taciturn(struct conform_probe *probe, uint32_t number)
{
    struct mq5_connect login = probe_login(probe, number);
    set_problem_information(&login, 0);
    return probe_connect_as(probe, "wants no words", &login);
}

/* Every kind of acknowledgement, with whatever trouble can be made without ending the connection. */
static void no_problem_information(struct conform_probe *probe)
{
    struct wire *wire = connect_taciturn(probe, 50);
    const char *refused = probe_told(probe, "refused_topic"), *filter = probe_told(probe, "refused_filter");
    wire_unsubscribe(wire, probe_topic(probe, "never/subscribed"));
    struct mq5_subscription list = subscription(filter ? filter : probe_topic(probe, "plain"), 2);
    wire_subscribe_with(wire, &list, 1, 0);
    for (uint8_t qos = 1; qos <= probe_broker(probe)->maximum_qos; qos++) {
        struct mq5_publish publish = message(refused ? refused : probe_topic(probe, "nobody"), "q", qos);
        wire_publish_packet(wire, &publish);
    }
    want_no_words(probe, wire);
    wire_ack(wire, MQ5_PUBREL, 4711, MQ5_SUCCESS); /* never begun: some end the connection */
    try_packet(wire, MQ5_PUBCOMP, 500 * US_PER_MS);
    want_no_words(probe, wire);
    wire = connect_taciturn(probe, 51);
    list = subscription(probe_topic(probe, "#/below"), 0); /* not a filter: refused, or the end */
    wire_send(wire, &(struct mq5_packet){.type = MQ5_SUBSCRIBE,
                                         .subscribe = {.packet_id = wire_packet_id(wire), .list = &list, .count = 1}});
    try_packet(wire, MQ5_SUBACK, 500 * US_PER_MS);
    want_no_words(probe, wire);
}

CHECK_TABLE(checks_connect_limits,
            {.id = "B-CONN-040",
             .name = "no message above the client's Maximum Packet Size",
             .refs = {"MQTT-3.1.2-24", "MQTT-3.1.2-25"},
             .level = CONFORM_MUST,
             .run = size_of_messages},
            {.id = "B-CONN-050",
             .name = "what is too large for one client is sent to the others",
             .refs = {"MQTT-3.1.2-25"},
             .level = CONFORM_MUST,
             .run = too_large_for_one},
            {.id = "B-CONN-041",
             .name = "messages that are too large count as delivered",
             .refs = {"MQTT-3.1.2-25"},
             .level = CONFORM_MUST,
             .needs = CONFORM_QOS_1,
             .run = dropped_counts_as_sent},
            {.id = "B-CONN-042",
             .name = "queued messages that have become too large are dropped",
             .refs = {"MQTT-3.1.2-25", "MQTT-3.1.2-24"},
             .level = CONFORM_MUST,
             .needs = CONFORM_SESSION | CONFORM_QOS_1,
             .run = dropped_from_queue},
            {.id = "B-CONN-043",
             .name = "no retained message above the client's Maximum Packet Size",
             .refs = {"MQTT-3.1.2-24"},
             .level = CONFORM_MUST,
             .needs = CONFORM_RETAIN,
             .run = dropped_retained},
            {.id = "B-CONN-044",
             .name = "no SUBACK above the client's Maximum Packet Size",
             .refs = {"MQTT-3.1.2-24"},
             .level = CONFORM_MUST,
             .run = size_of_suback},
            {.id = "B-CONN-045",
             .name = "no CONNACK above the client's Maximum Packet Size",
             .refs = {"MQTT-3.1.2-24"},
             .level = CONFORM_MUST,
             .run = size_of_connack},
            {.id = "B-CONN-046",
             .name = "topic aliases stay within the client's maximum",
             .refs = {"MQTT-3.1.2-26"},
             .level = CONFORM_MUST,
             .run = aliases_within},
            {.id = "B-CONN-047",
             .name = "no topic alias for clients that allow none",
             .refs = {"MQTT-3.1.2-27"},
             .level = CONFORM_MUST,
             .run = no_aliases},
            {.id = "B-CONN-048",
             .name = "no Response Information unless asked for",
             .refs = {"MQTT-3.1.2-28"},
             .level = CONFORM_MUST,
             .run = no_response_information},
            {.id = "B-CONN-049",
             .name = "no words in acknowledgements for clients that want none",
             .refs = {"MQTT-3.1.2-29"},
             .level = CONFORM_MUST,
             .needs = CONFORM_QOS_1,
             .run = no_problem_information}, )
