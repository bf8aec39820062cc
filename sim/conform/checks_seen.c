/* checks_seen.c: what monitors judge, asked for statement by statement: a short conversation that brings the packets, and the monitor's word on them.
 *
 * Monitors look at the packets of every check; these rows make sure that each of their statements has been looked at, and is named when it is broken.
 * What a broker sends may be no packet at all: nothing here waits for an answer in a way that would end the row before the monitor is asked.
 */
#include "check.h"
#include "tables.h"

#include <stdio.h>

enum talk {
    LOGIN = 1,
    REQUESTS = 2,
    PINGS = 4,
    QOS_0 = 8,
    QOS_1 = 16,
    QOS_2 = 32,
    ALIASES = 64,
    ERROR = 128,
};

/* clang-format off */
static const struct {
    const char *monitor, *ref;
    uint8_t talk;
} seen[] = {
    {"M-UTF8", "MQTT-1.5.4-1", REQUESTS | QOS_1},
    {"M-NUL", "MQTT-1.5.4-2", REQUESTS | QOS_1},
    {"M-VBI", "MQTT-1.5.5-1", REQUESTS | PINGS},
    {"M-FLAGS", "MQTT-2.1.3-1", REQUESTS | PINGS | QOS_1},
    {"M-QOS0-ID", "MQTT-2.2.1-2", QOS_0},
    {"M-ID-FREE", "MQTT-2.2.1-4", QOS_1 | QOS_2},
    {"M-ID-FREE", "MQTT-4.3.2-1", QOS_1},
    {"M-ID-FREE", "MQTT-4.3.3-1", QOS_2},
    {"M-ACK-ID", "MQTT-2.2.1-5", QOS_1 | QOS_2},
    {"M-SUBACK-ID", "MQTT-2.2.1-6", REQUESTS},
    {"M-EMPTY-PROPERTIES", "MQTT-2.2.2-1", REQUESTS},
    {"M-LENGTH", "S2.1.4b", REQUESTS | PINGS | QOS_1 | QOS_2},
    {"M-PROPERTY-LEGAL", "S2.2.2.2a", REQUESTS | QOS_1 | QOS_2},
    {"M-PROPERTY-LENGTH", "S2.2.2.2b", REQUESTS | QOS_1 | QOS_2},
    {"M-PROPERTY-ONCE", "S2.2.2.2c", REQUESTS | QOS_1 | QOS_2},
    {"M-PROPERTY-ONCE", "S3.2.2.3.x", LOGIN},
    {"M-CONNACK-FIRST", "MQTT-3.2.0-1", LOGIN},
    {"M-CONNACK-ONCE", "MQTT-3.2.0-2", LOGIN},
    {"M-CONNACK-FLAGS", "MQTT-3.2.2-1", LOGIN},
    {"M-CONNACK-REASON", "MQTT-3.2.2-8", LOGIN},
    {"M-CONNACK-RECEIVE-MAXIMUM", "S3.2.2.3.3a", LOGIN},
    {"M-CONNACK-MAXIMUM-QOS", "S3.2.2.3.4a", LOGIN},
    {"M-CONNACK-RETAIN", "S3.2.2.3.5a", LOGIN},
    {"M-CONNACK-PACKET-SIZE", "S3.2.2.3.6a", LOGIN},
    {"M-RESPONSE-INFORMATION", "MQTT-3.1.2-28", LOGIN},
    {"M-NO-AUTH", "MQTT-4.12.0-6", LOGIN},
    {"M-ALIAS-MAXIMUM", "MQTT-3.1.2-26", ALIASES},
    {"M-ALIAS-MAXIMUM", "MQTT-3.3.2-11", ALIASES},
    {"M-NO-ALIAS", "MQTT-3.1.2-27", QOS_0},
    {"M-ALIAS-ZERO", "MQTT-3.3.2-8", ALIASES},
    {"M-ALIAS-KNOWN", "S3.3.2.1a", ALIASES},
    {"M-ALIAS-KNOWN", "S3.3.2.3.4b", ALIASES},
    {"M-QOS0-DUP", "MQTT-3.3.1-2", QOS_0},
    {"M-QOS0-DUP", "MQTT-4.3.1-1", QOS_0},
    {"M-QOS3", "MQTT-3.3.1-4", QOS_1 | QOS_2},
    {"M-FIRST-DUP", "MQTT-4.3.2-2", QOS_1},
    {"M-FIRST-DUP", "MQTT-4.3.3-2", QOS_2},
    {"M-PUBACK-REASON", "MQTT-3.4.2-1", QOS_1},
    {"M-PUBREC-REASON", "MQTT-3.5.2-1", QOS_2},
    {"M-PUBREL-FLAGS", "MQTT-3.6.1-1", QOS_2},
    {"M-PUBREL-REASON", "MQTT-3.6.2-1", QOS_2},
    {"M-PUBCOMP-REASON", "MQTT-3.7.2-1", QOS_2},
    {"M-SUBACK-COUNT", "MQTT-3.8.4-6", REQUESTS},
    {"M-SUBACK-REASON", "MQTT-3.9.3-2", REQUESTS},
    {"M-UNSUBACK-REASON", "MQTT-3.11.3-2", REQUESTS},
    {"M-DISCONNECT-REASON", "MQTT-3.14.2-1", ERROR},
    {"M-DISCONNECT-EXPIRY", "MQTT-3.14.2-2", ERROR},
    {"M-AFTER-DISCONNECT", "MQTT-3.14.4-1", ERROR},
};
/* clang-format on */

static uint32_t seen_count(void)
{
    return sizeof(seen) / sizeof(seen[0]);
}

static void seen_row(uint32_t row, struct conform_row *out)
{
    const struct conform_monitor *monitor;
    for (uint32_t i = 0; (monitor = conform_monitor_at(i)) && strcmp(monitor->id, seen[row].monitor) != 0; i++)
        ;
    snprintf(out->name, sizeof(out->name), "%s", monitor ? monitor->name : seen[row].monitor);
    out->ref = seen[row].ref;
}

static struct wire *enter(struct conform_probe *probe, const char *name, uint32_t number, uint16_t aliases)
{
    struct mq5_connect login = probe_login(probe, number);
    struct wire *wire = probe_open(probe, name);
    if (aliases)
        set_alias_maximum(&login, aliases);
    wire_login(wire, &login);
    return wire;
}

static bool is_in(const struct wire *wire)
{
    return wire_connack(wire) && wire_connack(wire)->reason == MQ5_SUCCESS;
}

static bool answered(struct conform_probe *probe, struct wire *wire, enum mq5_type type)
{
    return try_packet(wire, type, probe_patience(probe)) != NULL;
}

static bool pings(struct conform_probe *probe, struct wire *wire)
{
    wire_send(wire, &(struct mq5_packet){.type = MQ5_PINGREQ});
    return answered(probe, wire, MQ5_PINGRESP);
}

static bool requests(struct conform_probe *probe, struct wire *wire)
{
    const char *filters[] = {probe_topic(probe, "one"), probe_topic(probe, "two"), probe_topic(probe, "three")};
    struct mq5_subscription list[] = {subscription(filters[0], 0), subscription(filters[1], 0)};
    wire_send_subscribe(wire, list, 1, 0);
    wire_send_subscribe(wire, list, 2, 0);
    bool good = answered(probe, wire, MQ5_SUBACK) && answered(probe, wire, MQ5_SUBACK);
    wire_send_unsubscribe(wire, filters, 3);
    return answered(probe, wire, MQ5_UNSUBACK) && good;
}

/* All of the handshake. */
static bool acknowledge(struct conform_probe *probe, struct wire *wire, uint8_t qos, uint16_t id)
{
    if (id == 0)
        return false;
    wire_ack(wire, qos == 1 ? MQ5_PUBACK : MQ5_PUBREC, id, MQ5_SUCCESS);
    if (qos == 1)
        return true;
    bool released = answered(probe, wire, MQ5_PUBREL);
    wire_ack(wire, MQ5_PUBCOMP, id, MQ5_SUCCESS);
    return released;
}

/* A broker that grants less brings nothing that the row could look at. */
static bool subscribed(struct conform_probe *probe, struct wire *wire, const char *topic, uint8_t qos)
{
    struct mq5_subscription list = subscription(topic, qos);
    wire_send_subscribe(wire, &list, 1, 0);
    const struct received *received = try_packet(wire, MQ5_SUBACK, probe_patience(probe));
    struct span reasons = received ? received->packet.suback.reasons : (struct span){0};
    if (reasons.length == 1 && reasons.data[0] < qos && !probe_hit(probe, seen[probe_row(probe)].monitor))
        skip(probe, "the broker grants QoS %u for QoS %u", reasons.data[0], qos);
    return received;
}

/* Two messages that are both on their way before either is acknowledged, where the broker does that. */
static bool messages(struct conform_probe *probe, struct wire *wire, struct wire *publisher, uint8_t qos)
{
    static const enum mq5_type answers[] = {[1] = MQ5_PUBACK, [2] = MQ5_PUBREC};
    const char *topic = probe_topic(probe, "message/of/%u", qos);
    bool good = subscribed(probe, wire, topic, qos);
    wire_hold_acks(wire, true);
    if (good && !strpbrk(topic, "+#$"))
        wire_warm_up(wire, topic);
    uint16_t ids[2] = {0};
    for (int i = 0; i < 2; i++) {
        struct mq5_packet packet = {.type = MQ5_PUBLISH,
                                    .publish = message(topic, probe_text(probe, "message %d", i), qos)};
        ids[i] = packet.publish.packet_id = qos ? wire_packet_id(publisher) : 0;
        wire_send(publisher, &packet);
        good = (!qos || answered(probe, publisher, answers[qos])) && good;
    }
    for (int i = 0; qos == 2 && i < 2; i++) {
        wire_ack(publisher, MQ5_PUBREL, ids[i], MQ5_SUCCESS);
        good = answered(probe, publisher, MQ5_PUBCOMP) && good;
    }
    bool first_done = false;
    for (int i = 0; i < 2; i++) {
        bool waits = i == 1 && qos;
        const struct received *received = try_message(wire, topic, NULL, waits ? US_PER_S : probe_patience(probe));
        if (!received && waits) { /* a broker may have one in flight at a time */
            first_done = true;
            good = acknowledge(probe, wire, qos, ids[0]) && good;
            received = try_message(wire, topic, NULL, probe_patience(probe));
        }
        good = received && good;
        ids[i] = received ? received->packet.publish.packet_id : 0;
        if (received && qos == 0 && strcmp(seen[probe_row(probe)].monitor, "M-QOS0-ID") == 0)
            want(probe, received->packet.publish.payload.length == strlen("message 0"),
                 "a message of QoS 0 comes with bytes between its topic and its payload: %u bytes for %zu",
                 received->packet.publish.payload.length, strlen("message 0"));
    }
    for (int i = first_done; qos && i < 2; i++)
        good = acknowledge(probe, wire, qos, ids[i]) && good;
    wire_hold_acks(wire, false);
    return good;
}

static bool aliases(struct conform_probe *probe, struct wire *wire, struct wire *publisher)
{
    bool good = subscribed(probe, wire, probe_topic(probe, "+"), 0);
    if (good)
        wire_warm_up(wire, probe_topic(probe, "0"));
    for (int i = 0; i < 12; i++) {
        const char *payload = probe_text(probe, "message %d", i);
        wire_send(publisher, &(struct mq5_packet){.type = MQ5_PUBLISH,
                                                  .publish = message(probe_topic(probe, "%d", i % 4), payload, 0)});
        good = try_message(wire, NULL, payload, probe_patience(probe)) && good;
    }
    return good;
}

/* Something that ends the connection: a filter's place is empty. */
static bool error(struct conform_probe *probe, struct wire *wire)
{
    static const uint8_t bytes[] = {MQ5_SUBSCRIBE << 4 | 2, 3, 0, 9, 0};
    wire_send_bytes(wire, bytes, sizeof(bytes));
    bool told = answered(probe, wire, MQ5_DISCONNECT);
    wire_closes(wire, probe_patience(probe));
    if (!told && !probe_hit(probe, seen[probe_row(probe)].monitor))
        skip(probe, "the broker ends connections without a DISCONNECT");
    return told;
}

static void talk(struct conform_probe *probe)
{
    uint32_t row = probe_row(probe);
    uint8_t talk = seen[row].talk;
    if ((talk & QOS_1 && !probe_has(probe, CONFORM_QOS_1)) || (talk & QOS_2 && !probe_has(probe, CONFORM_QOS_2)))
        skip(probe, "needs QoS %d", talk & QOS_2 ? 2 : 1);
    if (talk & ALIASES && !probe_has(probe, CONFORM_WILDCARD))
        skip(probe, "needs wildcards in filters");
    struct wire *wire = enter(probe, "subscriber", 0, talk & ALIASES ? 2 : 0);
    struct wire *publisher = enter(probe, "publisher", 1, 0);
    bool good = is_in(wire) && is_in(publisher);
    if (good && talk & REQUESTS)
        good = requests(probe, wire);
    if (good && talk & (PINGS | LOGIN))
        good = pings(probe, wire);
    for (uint8_t qos = 0; good && qos < 3; qos++)
        if (talk & QOS_0 << qos)
            good = messages(probe, wire, publisher, qos);
    if (good && talk & ALIASES)
        good = aliases(probe, wire, publisher);
    if (good && talk & ERROR)
        good = error(probe, wire);
    const char *hit = probe_hit(probe, seen[row].monitor);
    want(probe, !hit, "%s", hit);
    need(probe, good, "the conversation did not come to its end");
}

CHECK_TABLE(checks_seen,
            {.id = "B-SEEN-001",
             .name = "packets are as the standard has them, statement by statement",
             .refs = {"MQTT-2.1.3-1"},
             .level = CONFORM_MUST,
             .run = talk,
             .row_count = seen_count,
             .row = seen_row}, )
