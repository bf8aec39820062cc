/* checks_session_time.c: how long sessions live (3.1.2.11.2, 4.1), and connections over any byte stream (4.2). */
#include "check.h"
#include "tables.h"

#include <stdio.h>

#define KEPT    50
#define GRACE_S 6 /* brokers may look after their timers in turns */

/* ---- how long ---------------------------------------------------------------------------------------------------------------------- */

static struct mq5_connect login_for(struct conform_probe *probe, uint32_t expiry_s)
{
    struct mq5_connect login = probe_login_kept(probe, KEPT);
    set_session_expiry(&login, expiry_s);
    return login;
}

/* Nothing of the session of the login is there: not its name, not its subscription, not what was published for it. */
static void want_forgotten(struct conform_probe *probe, const struct mq5_connect *login, const char *topic)
{
    struct wire *publisher = probe_subscriber(probe, "publisher and control", topic, 1);
    wire_publish(publisher, topic, "while away", 1);
    need_message(publisher, topic, "while away");
    struct wire *wire = probe_resume(probe, "again", login, false);
    want(probe, !wire_connack(wire)->session_present, "Session Present 1 for a session that has ended");
    wire_publish(publisher, topic, "not subscribed", 1);
    need_message(publisher, topic, "not subscribed");
    wire_subscribe(wire, topic, 1);
    wire_publish(publisher, topic, "subscribed", 1);
    need_message(wire, topic, "subscribed");
    want(probe, wire_count_messages(wire, topic, NULL) == 1, "a subscription of a session that has ended works");
}

static void want_kept(struct conform_probe *probe, const struct mq5_connect *login, const char *topic)
{
    struct wire *wire = probe_resume(probe, "again", login, false);
    want(probe, wire_connack(wire)->session_present, "Session Present 0 before the session's time is over");
    wire_publish(probe_connect(probe, "publisher"), topic, "m", 1);
    want_message(wire, topic, "m");
}

static void disconnect_with_expiry(struct wire *wire, uint32_t expiry_s, struct conform_probe *probe)
{
    struct mq5_packet packet = {.type = MQ5_DISCONNECT};
    SET_PROPERTY(packet.disconnect.properties, session_expiry_s, MQ5_SESSION_EXPIRY_INTERVAL, expiry_s);
    wire_send(wire, &packet);
    wire_closes(wire, probe_patience(probe));
    wire_end(wire, WIRE_FIN);
}

static void needs_expiry(struct conform_probe *probe, const struct wire *wire, uint32_t asked_s, uint32_t least_s)
{
    uint32_t granted_s = wire_granted_expiry(wire, asked_s);
    if (granted_s < least_s)
        skip(probe, "the broker keeps sessions for %u s only", granted_s);
}

static void expires(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "t");
    struct mq5_connect login = login_for(probe, 2);
    struct wire *wire = probe_subscriber_as(probe, "first", &login, topic, 1);
    if (wire_granted_expiry(wire, 2) > 8)
        skip(probe, "the broker keeps sessions for %u s when 2 are asked for", wire_granted_expiry(wire, 2));
    wire_disconnect(wire, MQ5_SUCCESS);
    probe_wait_connected(probe, (wire_granted_expiry(wire, 2) + GRACE_S) * US_PER_S);
    want_forgotten(probe, &login, topic);
}

static void not_early(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "t");
    struct mq5_connect login = login_for(probe, 9);
    struct wire *wire = probe_subscriber_as(probe, "first", &login, topic, 1);
    needs_expiry(probe, wire, 9, 9);
    wire_disconnect(wire, MQ5_SUCCESS);
    probe_wait_connected(probe, 6 * US_PER_S);
    want_kept(probe, &login, topic);
}

/* Not told is 0: it ends with the connection. */
static void ends_with_connection(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "t");
    struct mq5_connect login = probe_login(probe, KEPT);
    login.clean_start = false;
    if (probe_row(probe) == 1)
        set_session_expiry(&login, 0);
    struct wire *wire = probe_subscriber_as(probe, "first", &login, topic, 1);
    if (wire_granted_expiry(wire, 0) > 0)
        skip(probe, "the broker keeps sessions for %u s when nothing is asked for", wire_granted_expiry(wire, 0));
    wire_disconnect(wire, MQ5_SUCCESS);
    want_forgotten(probe, &login, topic);
}

static uint32_t two(void)
{
    return 2;
}

static void row_absent(uint32_t row, struct conform_row *out)
{
    snprintf(out->name, sizeof(out->name), row ? "Session Expiry Interval 0" : "no Session Expiry Interval");
}

/* The interval runs from the end of the connection, not from its beginning. */
static void lives_while_connected(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "t");
    uint32_t asked_s = probe_row(probe) ? 0 : 1;
    struct mq5_connect login = login_for(probe, asked_s);
    struct wire *wire = probe_subscriber_as(probe, "first", &login, topic, 1);
    if (wire_granted_expiry(wire, asked_s) >= 4)
        skip(probe, "the broker keeps sessions for %u s when %u are asked for", wire_granted_expiry(wire, asked_s),
             asked_s);
    probe_wait_connected(probe, 8 * US_PER_S);
    wire_publish(probe_connect(probe, "publisher"), topic, "m", 1);
    want_message(wire, topic, "m");
    want_alive(wire, "after the Session Expiry Interval");
}

static void row_short(uint32_t row, struct conform_row *out)
{
    snprintf(out->name, sizeof(out->name), "Session Expiry Interval %d s, connected for 8 s", row ? 0 : 1);
}

static void runs_from_the_end(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "t");
    struct mq5_connect login = login_for(probe, 6);
    struct wire *wire = probe_subscriber_as(probe, "first", &login, topic, 1);
    needs_expiry(probe, wire, 6, 6);
    probe_wait_connected(probe, 8 * US_PER_S);
    wire_disconnect(wire, MQ5_SUCCESS);
    probe_wait_connected(probe, 2 * US_PER_S);
    want_kept(probe, &login, topic);
}

static void shortened_by_disconnect(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "t");
    struct mq5_connect login = probe_login_kept(probe, KEPT);
    disconnect_with_expiry(probe_subscriber_as(probe, "first", &login, topic, 1), 0, probe);
    want_forgotten(probe, &login, topic);
}

static void lengthened_by_disconnect(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "t");
    struct mq5_connect login = login_for(probe, 2);
    struct wire *wire = probe_subscriber_as(probe, "first", &login, topic, 1);
    /* What a DISCONNECT asks for is granted without a word. */
    if (probe_broker(probe)->session_expiry_s < 2 * (2 + GRACE_S))
        skip(probe, "the broker keeps sessions for %u s only", probe_broker(probe)->session_expiry_s);
    disconnect_with_expiry(wire, KEPT_S, probe);
    probe_wait_connected(probe, (2 + GRACE_S) * US_PER_S);
    want_kept(probe, &login, topic);
}

/* Each CONNECT says anew how long. */
static void last_login_counts(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "t");
    struct mq5_connect login = probe_login_kept(probe, KEPT);
    wire_disconnect(probe_subscriber_as(probe, "first", &login, topic, 1), MQ5_SUCCESS);
    set_session_expiry(&login, 0);
    struct wire *wire = probe_resume(probe, "with 0 s", &login, false);
    need(probe, wire_connack(wire)->session_present, "Session Present 0");
    if (wire_granted_expiry(wire, 0) > 0)
        skip(probe, "the broker keeps sessions for %u s when none is asked for", wire_granted_expiry(wire, 0));
    wire_disconnect(wire, MQ5_SUCCESS);
    want_forgotten(probe, &login, topic);
}

static void last_login_lengthens(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "t");
    struct mq5_connect login = login_for(probe, 5);
    wire_disconnect(probe_subscriber_as(probe, "first", &login, topic, 1), MQ5_SUCCESS);
    set_session_expiry(&login, KEPT_S);
    struct wire *wire = probe_resume(probe, "with more", &login, false);
    need(probe, wire_connack(wire)->session_present, "Session Present 0");
    needs_expiry(probe, wire, KEPT_S, 2 * (5 + GRACE_S));
    wire_disconnect(wire, MQ5_SUCCESS);
    probe_wait_connected(probe, (5 + GRACE_S) * US_PER_S);
    want_kept(probe, &login, topic);
}

/* What waits for a session goes with it. */
static void queue_expires(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "t");
    struct mq5_connect login = login_for(probe, 2);
    struct wire *wire = probe_subscriber_as(probe, "first", &login, topic, 1);
    if (wire_granted_expiry(wire, 2) > 8)
        skip(probe, "the broker keeps sessions for %u s when 2 are asked for", wire_granted_expiry(wire, 2));
    wire_hold_acks(wire, true);
    struct wire *publisher = probe_connect(probe, "publisher");
    wire_publish(publisher, topic, "in flight", 1);
    need_message(wire, topic, "in flight");
    wire_disconnect(wire, MQ5_SUCCESS);
    wire_publish(publisher, topic, "queued", 1);
    probe_wait_connected(probe, (wire_granted_expiry(wire, 2) + GRACE_S) * US_PER_S);
    want_forgotten(probe, &login, topic);
}

/* ---- byte streams --------------------------------------------------------------------------------------------------------------------- */

static uint32_t append(uint8_t *to, uint32_t at, struct span bytes)
{
    memcpy(to + at, bytes.data, bytes.length);
    return at + bytes.length;
}

static const uint32_t pieces[] = {1, 2, 3, 7, 16};

static uint32_t piece_count(void)
{
    return sizeof(pieces) / sizeof(pieces[0]);
}

static void row_piece(uint32_t row, struct conform_row *out)
{
    snprintf(out->name, sizeof(out->name), "%u byte%s a segment", pieces[row], pieces[row] == 1 ? "" : "s");
}

static void in_pieces(struct conform_probe *probe)
{
    uint32_t piece = pieces[probe_row(probe)], length = 0;
    uint8_t *bytes = probe_bytes(probe, 2048, 0);
    const char *topic = probe_topic(probe, "t");
    struct wire *control = probe_subscriber(probe, "subscriber", topic, 0);
    struct wire *wire = probe_open(probe, "slow client");
    struct mq5_packet packet = {.type = MQ5_CONNECT, .connect = probe_login(probe, KEPT)};
    struct span connect = probe_encode(probe, &packet, NULL);
    wire_send_slowly(wire, connect.data, connect.length, piece);
    const struct mq5_connack *connack = &want_packet(wire, MQ5_CONNACK, "CONNACK")->packet.connack;
    need(probe, connack->reason == MQ5_SUCCESS, "CONNACK 0x%02x", connack->reason);
    packet = (struct mq5_packet){.type = MQ5_PUBLISH, .publish = message(topic, "first", 0)};
    length = append(bytes, length, probe_encode(probe, &packet, NULL));
    packet.publish.payload = span_text("");
    length = append(bytes, length, probe_encode(probe, &packet, NULL));
    packet.publish.payload = span_text("third");
    length = append(bytes, length, probe_encode(probe, &packet, NULL));
    packet = (struct mq5_packet){.type = MQ5_PINGREQ};
    length = append(bytes, length, probe_encode(probe, &packet, NULL));
    wire_send_slowly(wire, bytes, length, piece);
    want_packet(wire, MQ5_PINGRESP, "PINGRESP");
    want_message(control, topic, "first");
    want_message(control, topic, "");
    want_message(control, topic, "third");
}

static void in_one_write(struct conform_probe *probe)
{
    enum { MESSAGES = 10 };
    const char *topic = probe_topic(probe, "t");
    struct wire *control = probe_subscriber(probe, "subscriber", topic, 1);
    struct wire *wire = probe_connect(probe, "client");
    struct mq5_subscription list = subscription(probe_topic(probe, "other"), 1);
    struct mq5_packet subscribe = {.type = MQ5_SUBSCRIBE,
                                   .subscribe = {.packet_id = wire_packet_id(wire), .list = &list, .count = 1}};
    struct mq5_packet ping = {.type = MQ5_PINGREQ};
    wire_gather(wire);
    wire_send(wire, &subscribe);
    for (int i = 0; i < MESSAGES; i++) {
        struct mq5_packet packet = {.type = MQ5_PUBLISH,
                                    .publish = message(topic, probe_text(probe, "%d", i), (uint8_t)(i % 2))};
        packet.publish.packet_id = i % 2 ? wire_packet_id(wire) : 0;
        wire_send(wire, &packet);
    }
    wire_send(wire, &ping);
    wire_flush(wire);
    want_packet(wire, MQ5_SUBACK, "SUBACK");
    for (int i = 0; i < MESSAGES / 2; i++)
        want_packet(wire, MQ5_PUBACK, "PUBACK");
    want_packet(wire, MQ5_PINGRESP, "PINGRESP");
    for (int i = 0; i < MESSAGES; i++)
        want_message(control, topic, probe_text(probe, "%d", i));
}

static void in_many_segments(struct conform_probe *probe)
{
    enum { LENGTH = 40000 };
    if (probe_broker(probe)->maximum_packet_size && probe_broker(probe)->maximum_packet_size < LENGTH + 200)
        skip(probe, "the broker's maximum packet size is %u", probe_broker(probe)->maximum_packet_size);
    const char *topic = probe_topic(probe, "t");
    struct wire *control = probe_connect(probe, "subscriber"), *wire = probe_connect(probe, "publisher");
    wire_subscribe(control, topic, 1);
    uint8_t *payload = probe_bytes(probe, LENGTH, 0);
    for (uint32_t i = 0; i < LENGTH; i++)
        payload[i] = (uint8_t)(i * 31 + i / 256);
    struct mq5_packet packet = {.type = MQ5_PUBLISH, .publish = message(topic, "", 1)};
    packet.publish.packet_id = wire_packet_id(wire);
    packet.publish.payload = (struct span){payload, LENGTH};
    struct span bytes = probe_encode(probe, &packet, NULL);
    wire_send_slowly(wire, bytes.data, bytes.length, 1400);
    want_packet(wire, MQ5_PUBACK, "PUBACK");
    const struct received *received = want_message(control, topic, NULL);
    want(probe, span_equal(received->packet.publish.payload, packet.publish.payload),
         "the payload of %u bytes came as %u bytes, or changed", LENGTH, received->packet.publish.payload.length);
}

CHECK_TABLE(checks_session_time,
            {.id = "B-SESS-030",
             .name = "a session ends when its interval is over",
             .refs = {"MQTT-4.1.0-2"},
             .level = CONFORM_MUST,
             .needs = CONFORM_SESSION | CONFORM_QOS_1,
             .lane = CONFORM_SLOW,
             .run = expires},
            {.id = "B-SESS-031",
             .name = "a session is kept until its interval is over",
             .refs = {"MQTT-3.1.2-23"},
             .level = CONFORM_MUST,
             .needs = CONFORM_SESSION | CONFORM_QOS_1,
             .lane = CONFORM_SLOW,
             .run = not_early},
            {.id = "B-SESS-032",
             .name = "a session without an interval ends with its connection",
             .refs = {"MQTT-4.1.0-2"},
             .level = CONFORM_MUST,
             .needs = CONFORM_QOS_1,
             .run = ends_with_connection,
             .row_count = two,
             .row = row_absent},
            {.id = "B-SESS-033",
             .name = "a session lives as long as its connection",
             .refs = {"MQTT-4.1.0-1"},
             .level = CONFORM_MUST,
             .needs = CONFORM_QOS_1,
             .lane = CONFORM_SLOW,
             .run = lives_while_connected,
             .row_count = two,
             .row = row_short},
            {.id = "B-SESS-034",
             .name = "the interval runs from the end of the connection",
             .refs = {"MQTT-3.1.2-23", "MQTT-4.1.0-1"},
             .level = CONFORM_MUST,
             .needs = CONFORM_SESSION | CONFORM_QOS_1,
             .lane = CONFORM_SLOW,
             .run = runs_from_the_end},
            {.id = "B-SESS-035",
             .name = "DISCONNECT with an interval of 0 ends the session",
             .refs = {"MQTT-4.1.0-2"},
             .level = CONFORM_MUST,
             .needs = CONFORM_SESSION | CONFORM_QOS_1,
             .run = shortened_by_disconnect},
            {.id = "B-SESS-036",
             .name = "DISCONNECT with a longer interval keeps the session for longer",
             .refs = {"MQTT-3.1.2-23"},
             .level = CONFORM_MUST,
             .needs = CONFORM_SESSION | CONFORM_QOS_1,
             .lane = CONFORM_SLOW,
             .run = lengthened_by_disconnect},
            {.id = "B-SESS-037",
             .name = "a session resumed with an interval of 0 ends with that connection",
             .refs = {"MQTT-4.1.0-2"},
             .level = CONFORM_MUST,
             .needs = CONFORM_SESSION | CONFORM_QOS_1,
             .run = last_login_counts},
            {.id = "B-SESS-038",
             .name = "a session resumed with a longer interval is kept for longer",
             .refs = {"MQTT-3.1.2-23"},
             .level = CONFORM_MUST,
             .needs = CONFORM_SESSION | CONFORM_QOS_1,
             .lane = CONFORM_SLOW,
             .run = last_login_lengthens},
            {.id = "B-SESS-039",
             .name = "what is in flight or waits goes with the session",
             .refs = {"MQTT-4.1.0-2"},
             .level = CONFORM_MUST,
             .needs = CONFORM_SESSION | CONFORM_QOS_1,
             .lane = CONFORM_SLOW,
             .run = queue_expires},
            {.id = "B-SESS-040",
             .name = "packets in small pieces are packets",
             .refs = {"S4.2a", "MQTT-4.2-1"},
             .level = CONFORM_MUST,
             .needs = CONFORM_SOCKET,
             .run = in_pieces,
             .row_count = piece_count,
             .row = row_piece},
            {.id = "B-SESS-041",
             .name = "many packets in one write are many packets, in their order",
             .refs = {"MQTT-4.2-1", "S4.2a"},
             .level = CONFORM_MUST,
             .needs = CONFORM_SOCKET | CONFORM_QOS_1,
             .run = in_one_write},
            {.id = "B-SESS-042",
             .name = "a packet of many segments is one packet",
             .refs = {"S4.2a", "MQTT-4.2-1"},
             .level = CONFORM_MUST,
             .needs = CONFORM_SOCKET | CONFORM_QOS_1,
             .run = in_many_segments}, )
