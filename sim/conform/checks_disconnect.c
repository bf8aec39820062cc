/* checks_disconnect.c: DISCONNECT (3.14): what becomes of will and session, what a broker's own DISCONNECT is, and PINGREQ (3.12). */
#include "check.h"
#include "tables.h"

#include <stdio.h>

/* ---- the will behind a DISCONNECT ----------------------------------------------------------------------------------------------- */

/* A client with a will, and somebody who would see it. */
struct farewell {
    struct wire *client, *watcher;
    const char *topic;
};

static struct farewell prepare(struct conform_probe *probe)
{
    struct farewell farewell = {.topic = probe_topic(probe, "will"), .watcher = probe_connect(probe, "watcher")};
    struct mq5_connect login = probe_login(probe, 50);
    wire_subscribe(farewell.watcher, farewell.topic, 0);
    set_will(&login, farewell.topic, "will", 0, false, 0);
    farewell.client = probe_connect_as(probe, "client with a will", &login);
    return farewell;
}

/* Another client's will comes by the same way, later; needed, so that the first one's silence means something. */
static void want_no_will(struct conform_probe *probe, const struct farewell *farewell, const char *after)
{
    struct mq5_connect login = probe_login(probe, 51);
    set_will(&login, farewell->topic, "control", 0, false, 0);
    struct wire *control = probe_connect_as(probe, "client that gets lost", &login);
    wire_end(control, WIRE_RESET);
    need_message(farewell->watcher, farewell->topic, "control");
    need_alive(farewell->watcher, "after the other will");
    want(probe, wire_count_messages(farewell->watcher, farewell->topic, "will") == 0, "the will comes after %s", after);
}

/* It comes, or another client's will, which is on its way later, comes without it. */
static void want_will(struct conform_probe *probe, const struct farewell *farewell, const char *after)
{
    if (!try_message(farewell->watcher, farewell->topic, "will", US_PER_S / 2)) {
        struct mq5_connect login = probe_login(probe, 51);
        set_will(&login, farewell->topic, "control", 0, false, 0);
        struct wire *control = probe_connect_as(probe, "client that gets lost", &login);
        wire_end(control, WIRE_RESET);
        need_message(farewell->watcher, farewell->topic, "control");
        probe_wait(probe, US_PER_S / 4);
    }
    want(probe, wire_count_messages(farewell->watcher, farewell->topic, "will") > 0, "no will comes after %s", after);
}

static void send_hex(struct wire *wire, const uint8_t *bytes, size_t length)
{
    wire_send_bytes(wire, bytes, length);
    wire_closes(wire, 2 * US_PER_S);
    wire_end(wire, WIRE_FIN);
}

static void normal_end(struct conform_probe *probe)
{
    static const uint8_t bytes[] = {0xE0, 2, 0, 0};
    struct farewell farewell = prepare(probe);
    send_hex(farewell.client, bytes, sizeof(bytes));
    want_no_will(probe, &farewell, "DISCONNECT 0x00");
}

static const struct {
    const char *name;
    uint8_t bytes[3];
    uint8_t length;
} short_forms[] = {{"e0 00", {0xE0, 0}, 2}, {"e0 01 00", {0xE0, 1, 0}, 3}};

static uint32_t forms_count(void)
{
    return sizeof(short_forms) / sizeof(short_forms[0]);
}

static void forms_row(uint32_t row, struct conform_row *out)
{
    snprintf(out->name, sizeof(out->name), "%s", short_forms[row].name);
}

static void short_form(struct conform_probe *probe)
{
    struct farewell farewell = prepare(probe);
    send_hex(farewell.client, short_forms[probe_row(probe)].bytes, short_forms[probe_row(probe)].length);
    want_no_will(probe, &farewell, probe_text(probe, "DISCONNECT %s", short_forms[probe_row(probe)].name));
}

static void with_will(struct conform_probe *probe)
{
    struct farewell farewell = prepare(probe);
    wire_disconnect(farewell.client, MQ5_DISCONNECT_WITH_WILL);
    want_will(probe, &farewell, "DISCONNECT 0x04");
}

/* Not in the table, of another packet, or a server's: whatever it is, it is not 0x00, and the will is published. */
static const uint8_t bad_reasons[] = {0xFF, 0x01, 0x18, 0x7F, 0x84, 0x8B, 0x8E, 0xA2};

static uint32_t reasons_count(void)
{
    return sizeof(bad_reasons);
}

static void reasons_row(uint32_t row, struct conform_row *out)
{
    snprintf(out->name, sizeof(out->name), "reason 0x%02x", bad_reasons[row]);
    out->ref = row == 0 ? "MQTT-3.14.2-1" : "S3.14.2c";
}

static void bad_reason(struct conform_probe *probe)
{
    uint8_t bytes[] = {0xE0, 2, bad_reasons[probe_row(probe)], 0};
    const char *what = probe_text(probe, "DISCONNECT 0x%02x", bytes[2]);
    struct farewell farewell = prepare(probe);
    wire_send_bytes(farewell.client, bytes, sizeof(bytes));
    want_closed(farewell.client, what, REASONS(MQ5_MALFORMED_PACKET, MQ5_PROTOCOL_ERROR));
    want_will(probe, &farewell, what);
}

static void flags_row(uint32_t row, struct conform_row *out)
{
    wrong_flags_row(out, wrong_flags(row, 0));
}

static void flags(struct conform_probe *probe)
{
    uint8_t bytes[] = {(uint8_t)(0xE0 | wrong_flags(probe_row(probe), 0)), 0};
    struct farewell farewell = prepare(probe);
    wire_send_bytes(farewell.client, bytes, sizeof(bytes));
    want_closed(farewell.client, "DISCONNECT with wrong flags", REASONS(MQ5_MALFORMED_PACKET));
    want_will(probe, &farewell, "DISCONNECT with wrong flags");
}

/* ---- the session behind a DISCONNECT ---------------------------------------------------------------------------------------------- */

static struct mq5_packet farewell_packet(uint32_t expiry_s)
{
    struct mq5_packet packet = {.type = MQ5_DISCONNECT};
    SET_PROPERTY(packet.disconnect.properties, session_expiry_s, MQ5_SESSION_EXPIRY_INTERVAL, expiry_s);
    return packet;
}

static void leave(struct wire *wire, uint32_t expiry_s)
{
    struct mq5_packet packet = farewell_packet(expiry_s);
    wire_send(wire, &packet);
    wire_closes(wire, 2 * US_PER_S);
    wire_end(wire, WIRE_FIN);
}

static void prolonged(struct conform_probe *probe)
{
    struct farewell farewell = prepare(probe);
    struct mq5_packet packet = farewell_packet(60);
    wire_send(farewell.client, &packet);
    want_closed(farewell.client, "a DISCONNECT that would keep the session", REASONS(MQ5_PROTOCOL_ERROR));
    want_will(probe, &farewell, "a DISCONNECT that is none");
}

static void not_kept(struct conform_probe *probe)
{
    struct mq5_connect login = probe_login(probe, 50);
    struct wire *wire = probe_connect_as(probe, "client", &login);
    leave(wire, 60);
    wire = probe_resume(probe, "again", &login, false);
    want(probe, !wire_connack(wire)->session_present,
         "a session that was to end with its connection was prolonged by DISCONNECT");
}

/* Session Present after `wait_s`; the expiry was `first_s`, or what the broker made of it, and became `then_s` with DISCONNECT. A broker that keeps
 * no session for longer than `most_s` anyhow shows nothing. */
static bool present_after(struct conform_probe *probe, uint32_t first_s, uint32_t then_s, int64_t wait_s,
                          uint32_t most_s)
{
    struct mq5_connect login = probe_login(probe, 50);
    set_session_expiry(&login, first_s);
    if (probe_broker(probe)->session_expiry_s <= most_s)
        skip(probe, "the broker keeps sessions for %u s at most", probe_broker(probe)->session_expiry_s);
    struct wire *wire = probe_connect_as(probe, "client", &login);
    uint32_t granted_s = wire_granted_expiry(wire, first_s);
    need(probe, first_s < then_s ? granted_s < (uint32_t)wait_s : granted_s > (uint32_t)wait_s,
         "the broker keeps sessions for %u s when %u s are asked for", granted_s, first_s);
    leave(wire, then_s);
    probe_wait(probe, wait_s * US_PER_S);
    return wire_connack(probe_resume(probe, "again", &login, false))->session_present;
}

static void ended_at_once(struct conform_probe *probe)
{
    want(probe, !present_after(probe, 60, 0, 0, 0),
         "DISCONNECT with Session Expiry Interval 0, and yet the session is there");
}

static void shortened(struct conform_probe *probe)
{
    want(probe, !present_after(probe, 120, 1, 6, 8),
         "DISCONNECT with Session Expiry Interval 1, and yet the session is there after 6 s");
}

static void lengthened(struct conform_probe *probe)
{
    want(probe, present_after(probe, 2, 60, 6, 8),
         "DISCONNECT with Session Expiry Interval 60, and yet the session is gone after 6 s");
}

/* ---- the end of the connection ------------------------------------------------------------------------------------------------------ */

static void receiver_closes(struct conform_probe *probe)
{
    struct wire *wire = probe_connect(probe, "client");
    wire_send(wire, &(struct mq5_packet){.type = MQ5_DISCONNECT});
    want(probe, wire_closes(wire, 5 * US_PER_S), "the connection stays open for 5 s after the client's DISCONNECT");
}

/* What a broker may answer with a DISCONNECT. */
static void second_connect(struct conform_probe *probe, struct wire *wire)
{
    wire_send(wire, &(struct mq5_packet){.type = MQ5_CONNECT, .connect = probe_login(probe, 0)});
}

static void no_filter(struct conform_probe *probe, struct wire *wire)
{
    static const uint8_t bytes[] = {0x82, 3, 0, 7, 0};
    wire_send_bytes(wire, bytes, sizeof(bytes));
}

static void (*const offences[])(struct conform_probe *, struct wire *) = {second_connect, no_filter, NULL};

/* A connection on which the broker has sent DISCONNECT. `under_way` makes traffic around the offence; NULL: none. */
static struct wire *disconnected(struct conform_probe *probe,
                                 void (*under_way)(struct conform_probe *, struct wire *, bool before))
{
    /* A broker that closes with our bytes unread resets the connection, and its DISCONNECT goes with it: then again, with nothing sent behind. */
    bool lost = true;
    for (int round = 0; round < 3 && lost; round++) {
        lost = false;
        for (int i = 0; offences[i]; i++) {
            struct wire *wire = probe_connect(probe, "offender");
            if (under_way)
                under_way(probe, wire, true);
            wire_gather(wire);
            offences[i](probe, wire);
            if (under_way && round == 0)
                under_way(probe, wire, false);
            wire_flush(wire);
            if (try_packet(wire, MQ5_DISCONNECT, 3 * US_PER_S))
                return wire;
            lost |= wire_was_reset(wire);
        }
    }
    skip(probe, "the broker sends no DISCONNECT for a second CONNECT, nor for a SUBSCRIBE without a filter");
}

/* Requests behind the offence are read by a broker that goes on reading; messages are on their way, too. */
static void busy(struct conform_probe *probe, struct wire *wire, bool before)
{
    const char *topic = probe_topic(probe, "stream");
    struct mq5_packet packet = {.type = MQ5_PUBLISH, .publish = message(topic, "to myself", 0)};
    if (before)
        wire_subscribe(wire, topic, 0);
    for (int i = 0; i < 5; i++) {
        struct mq5_subscription list = subscription(probe_topic(probe, "late/%d", i), 0);
        wire_send(wire, &packet);
        if (!before)
            wire_send(wire, &(struct mq5_packet){.type = MQ5_PINGREQ});
        if (!before)
            wire_send_subscribe(wire, &list, 1, 0);
    }
}

static void silent_after(struct conform_probe *probe)
{
    struct wire *wire = disconnected(probe, busy);
    wire_closes(wire, 5 * US_PER_S);
    const struct received *last = wire_at(wire, wire_count(wire) - 1);
    want(probe, last->packet.type == MQ5_DISCONNECT, "%s comes after the broker's DISCONNECT",
         mq5_type_name(last->packet.type));
}

static void sender_closes(struct conform_probe *probe)
{
    struct wire *wire = disconnected(probe, NULL);
    want(probe, wire_closes(wire, probe_patience(probe)), "the connection stays open after the broker's DISCONNECT");
}

/* Also when more is sent all the time. */
static void error_closes(struct conform_probe *probe)
{
    struct wire *wire = disconnected(probe, NULL);
    const struct received *last = wire_at(wire, wire_count(wire) - 1);
    uint8_t reason = last->packet.type == MQ5_DISCONNECT ? last->packet.disconnect.reason : 0;
    need(probe, reason >= 0x80, "the broker's DISCONNECT says no error: 0x%02x", reason);
    for (int i = 0; i < 10 && !wire_closes(wire, 100 * US_PER_MS); i++)
        wire_send(wire, &(struct mq5_packet){.type = MQ5_PINGREQ});
    want(probe, wire_closes(wire, probe_patience(probe)), "the connection stays open after DISCONNECT 0x%02x", reason);
}

/* Behind a DISCONNECT nothing is a packet of this connection any more. */
static void not_acted_on(struct conform_probe *probe)
{
    struct wire *wire = probe_connect(probe, "client"), *watcher = probe_connect(probe, "watcher");
    const char *topic = probe_topic(probe, "late");
    wire_subscribe(watcher, topic, 0);
    wire_gather(wire);
    wire_publish(wire, topic, "before", 0);
    wire_send(wire, &(struct mq5_packet){.type = MQ5_DISCONNECT});
    wire_publish(wire, topic, "late", 0);
    wire_flush(wire);
    need_message(watcher, topic, "before");
    wire_closes(wire, 2 * US_PER_S);
    wire_publish(watcher, topic, "end", 0);
    need_message(watcher, topic, "end");
    want(probe, wire_count_messages(watcher, topic, "late") == 0, "a PUBLISH behind DISCONNECT is served");
}

/* ---- before CONNACK --------------------------------------------------------------------------------------------------------------- */

enum stranger { PING_FIRST, PUBLISH_FIRST, DISCONNECT_FIRST, RESERVED_FLAG, VERSION_6, UNKNOWN_PROPERTY, STRANGERS };
static const char *const strangers[STRANGERS] = {
    [PING_FIRST] = "PINGREQ first",
    [PUBLISH_FIRST] = "PUBLISH first",
    [DISCONNECT_FIRST] = "DISCONNECT first",
    [RESERVED_FLAG] = "CONNECT with the reserved flag",
    [VERSION_6] = "CONNECT with protocol version 6",
    [UNKNOWN_PROPERTY] = "CONNECT with a property that is unknown",
};

static void send_strange(struct conform_probe *probe, struct wire *wire, enum stranger stranger)
{
    struct mq5_packet packet = {.type = stranger == PING_FIRST         ? MQ5_PINGREQ
                                        : stranger == PUBLISH_FIRST    ? MQ5_PUBLISH
                                        : stranger == DISCONNECT_FIRST ? MQ5_DISCONNECT
                                                                       : MQ5_CONNECT};
    struct mq5_raw raw = {.set_properties = stranger == UNKNOWN_PROPERTY,
                          .properties = {(const uint8_t *)"\2\x7E\1", 3}};
    if (packet.type == MQ5_PUBLISH)
        packet.publish = message(probe_topic(probe, "stranger"), "message", 0);
    if (packet.type == MQ5_CONNECT)
        packet.connect = probe_login(probe, 0);
    struct span bytes = probe_encode(probe, &packet, &raw);
    uint8_t *changed = memcpy(probe_memory(probe, bytes.length), bytes.data, bytes.length);
    uint32_t name = bytes.data[1] & 0x80 ? 3 : 2; /* then six bytes of protocol name, version, flags */
    if (stranger == VERSION_6)
        changed[name + 6] = 6;
    if (stranger == RESERVED_FLAG)
        changed[name + 7] |= 1;
    wire_send_bytes(wire, changed, bytes.length);
}

static uint32_t strangers_count(void)
{
    return STRANGERS;
}

static void strangers_row(uint32_t row, struct conform_row *out)
{
    snprintf(out->name, sizeof(out->name), "%s", strangers[row]);
}

static void no_early_disconnect(struct conform_probe *probe)
{
    struct wire *wire = probe_open(probe, "client");
    send_strange(probe, wire, (enum stranger)probe_row(probe));
    wire_closes(wire, 3 * US_PER_S);
    want(probe, wire_count_of(wire, MQ5_DISCONNECT) == 0, "DISCONNECT comes, and no CONNACK has accepted the client");
}

/* ---- what is said in words -------------------------------------------------------------------------------------------------------- */

static void reason_string(struct conform_probe *probe)
{
    want_words_left_out(probe, MQ5_DISCONNECT, MQ5_REASON_STRING, offences);
}

static void user_properties(struct conform_probe *probe)
{
    want_words_left_out(probe, MQ5_DISCONNECT, MQ5_USER_PROPERTY, offences);
}

/* ---- PINGREQ ---------------------------------------------------------------------------------------------------------------------- */

static void pings(struct conform_probe *probe)
{
    struct wire *wire = probe_connect(probe, "client");
    struct mq5_packet ping = {.type = MQ5_PINGREQ};
    wire_send(wire, &ping);
    want_packet(wire, MQ5_PINGRESP, "PINGRESP");
    wire_gather(wire);
    for (int i = 0; i < 5; i++) {
        wire_send(wire, &ping);
        if (i == 2)
            wire_publish(wire, probe_topic(probe, "between"), "message", 0);
    }
    wire_flush(wire);
    for (int i = 0; i < 5; i++)
        want_packet(wire, MQ5_PINGRESP, probe_text(probe, "PINGRESP %d of 5 in a row", i + 1));
    probe_wait(probe, 50 * US_PER_MS);
    want(probe, wire_count_of(wire, MQ5_PINGRESP) == 6, "%u PINGRESP for 6 PINGREQ", wire_count_of(wire, MQ5_PINGRESP));
}

/* Flow control is about messages only. */
static void busy_ping(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "busy");
    struct mq5_connect login = probe_login(probe, 50);
    set_receive_maximum(&login, 2);
    struct wire *wire = probe_connect_as(probe, "client", &login), *publisher = probe_connect(probe, "publisher");
    wire_subscribe(wire, topic, 1);
    wire_hold_acks(wire, true);
    for (int i = 0; i < 4; i++)
        wire_publish(publisher, topic, "message", 1);
    need_message(wire, topic, "message");
    want_alive(wire, "while messages wait for the client's acknowledgements");
}

static uint32_t pings_count(void)
{
    return 2;
}

static void pings_row(uint32_t row, struct conform_row *out)
{
    snprintf(out->name, sizeof(out->name), "%u bytes", row + 1);
}

static void long_ping(struct conform_probe *probe)
{
    static const uint8_t bytes[][4] = {{0xC0, 1, 0}, {0xC0, 2, 0, 0}};
    struct wire *wire = probe_connect(probe, "client");
    wire_send_bytes(wire, bytes[probe_row(probe)], 3 + probe_row(probe));
    want_closed(wire, "PINGREQ with a payload", REASONS(MQ5_MALFORMED_PACKET, MQ5_PROTOCOL_ERROR));
}

CHECK_TABLE(checks_disconnect,
            {.id = "B-PING-001",
             .name = "each PINGREQ is answered with a PINGRESP",
             .refs = {"MQTT-3.12.4-1"},
             .level = CONFORM_MUST,
             .run = pings},
            {.id = "B-PING-002",
             .name = "PINGREQ with a payload ends the connection",
             .refs = {"S3.12a"},
             .level = CONFORM_MUST,
             .run = long_ping,
             .row_count = pings_count,
             .row = pings_row},
            {.id = "B-PING-003",
             .name = "PINGREQ is answered while messages are in flight",
             .refs = {"MQTT-3.12.4-1"},
             .level = CONFORM_MUST,
             .needs = CONFORM_QOS_1,
             .run = busy_ping},
            {.id = "B-DISC-001",
             .name = "no DISCONNECT comes before a CONNACK that accepts",
             .refs = {"MQTT-3.14.0-1"},
             .level = CONFORM_MUST,
             .run = no_early_disconnect,
             .row_count = strangers_count,
             .row = strangers_row},
            {.id = "B-DISC-002",
             .name = "DISCONNECT with flags ends the connection as an error: the will is published",
             .refs = {"MQTT-3.14.1-1"},
             .level = CONFORM_MUST,
             .run = flags,
             .row_count = wrong_flags_count,
             .row = flags_row},
            {.id = "B-DISC-003",
             .name = "DISCONNECT with a reason that a client may not give: the will is published",
             .refs = {"MQTT-3.14.2-1", "S3.14.2c"},
             .level = CONFORM_MUST,
             .run = bad_reason,
             .row_count = reasons_count,
             .row = reasons_row},
            {.id = "B-DISC-004",
             .name = "DISCONNECT 0x00 takes the will away",
             .refs = {"MQTT-3.14.4-3"},
             .level = CONFORM_MUST,
             .run = normal_end},
            {.id = "B-DISC-005",
             .name = "a DISCONNECT without a reason is one of 0x00",
             .refs = {"S3.14.2a"},
             .level = CONFORM_MUST,
             .run = short_form,
             .row_count = forms_count,
             .row = forms_row},
            {.id = "B-DISC-006",
             .name = "DISCONNECT 0x04 publishes the will",
             .refs = {"S3.14.2b"},
             .level = CONFORM_MUST,
             .run = with_will},
            {.id = "B-DISC-007",
             .name = "a DISCONNECT that would keep a session without expiry is an error: the will is published",
             .refs = {"S3.14.2.2.2a"},
             .level = CONFORM_MUST,
             .run = prolonged},
            {.id = "B-DISC-008",
             .name = "a session without expiry is not kept by a DISCONNECT with one",
             .refs = {"S3.14.2.2.2a"},
             .level = CONFORM_MUST,
             .run = not_kept},
            {.id = "B-DISC-009",
             .name = "DISCONNECT with Session Expiry Interval 0 ends the session",
             .refs = {"S3.14.2.2.2b"},
             .level = CONFORM_MUST,
             .needs = CONFORM_SESSION,
             .run = ended_at_once},
            {.id = "B-DISC-010",
             .name = "DISCONNECT may shorten the session's life",
             .refs = {"S3.14.2.2.2b"},
             .level = CONFORM_MUST,
             .needs = CONFORM_SESSION,
             .lane = CONFORM_SLOW,
             .run = shortened},
            {.id = "B-DISC-011",
             .name = "DISCONNECT may lengthen the session's life",
             .refs = {"S3.14.2.2.2b"},
             .level = CONFORM_MUST,
             .needs = CONFORM_SESSION,
             .lane = CONFORM_SLOW,
             .run = lengthened},
            {.id = "B-DISC-012",
             .name = "DISCONNECT leaves its Reason String out where it would be too large",
             .refs = {"MQTT-3.14.2-3"},
             .level = CONFORM_MUST,
             .run = reason_string},
            {.id = "B-DISC-013",
             .name = "DISCONNECT leaves its User Properties out where it would be too large",
             .refs = {"MQTT-3.14.2-4"},
             .level = CONFORM_MUST,
             .run = user_properties},
            {.id = "B-DISC-014",
             .name = "nothing comes after the broker's DISCONNECT",
             .refs = {"MQTT-3.14.4-1", "MQTT-3.14.2-2"},
             .level = CONFORM_MUST,
             .run = silent_after},
            {.id = "B-DISC-015",
             .name = "the broker closes after its DISCONNECT",
             .refs = {"MQTT-3.14.4-2"},
             .level = CONFORM_MUST,
             .run = sender_closes},
            {.id = "B-DISC-018",
             .name = "the broker closes after a DISCONNECT of 0x80 and above, whatever is sent to it",
             .refs = {"MQTT-4.13.2-1", "MQTT-3.14.4-2"},
             .level = CONFORM_MUST,
             .run = error_closes},
            {.id = "B-DISC-016",
             .name = "what is sent behind a DISCONNECT is not served",
             .refs = {"MQTT-3.14.4-1"},
             .level = CONFORM_SHOULD,
             .run = not_acted_on},
            {.id = "B-DISC-017",
             .name = "the broker closes after the client's DISCONNECT",
             .refs = {"S3.14.4a"},
             .level = CONFORM_SHOULD,
             .run = receiver_closes}, )
