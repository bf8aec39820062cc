/* rows_wire.c: lengths that are wrong (1.5.5, 2.1.4), packets that end too early or too late, flags of CONNECT against its payload (3.1.2). */
#include "rows.h"
#include "tables.h"

#include <stdio.h>

static const uint8_t malformed[] = {MQ5_MALFORMED_PACKET, MQ5_PROTOCOL_ERROR, 0};

/* The packet of a scene, and where its body begins. */
static uint32_t split(const struct scene *scene, struct builder *whole, struct builder *body)
{
    static const struct builder none;
    uint32_t header = 2;
    scene_build(scene, &none, whole);
    for (uint32_t i = 1; whole->bytes[i] & 0x80; i++)
        header++;
    put_bytes(body, whole->bytes + header, whole->length - header);
    return header;
}

static bool can_play(struct conform_probe *probe, enum row_packet packet)
{
    if (packet == ROW_PUBACK)
        return probe_has(probe, CONFORM_QOS_1);
    if (packet == ROW_PUBREC || packet == ROW_PUBREL || packet == ROW_PUBCOMP)
        return probe_has(probe, CONFORM_QOS_2);
    return true;
}

/* ---- the remaining length ------------------------------------------------------------------------------------------------------ */

enum length_case { LENGTH_OVERLONG, LENGTH_FIVE_BYTES, LENGTH_BEHIND, LENGTH_CASES };

static uint32_t lengths_count(void)
{
    return ROW_PACKETS * LENGTH_CASES;
}

static void lengths_row(uint32_t row, struct conform_row *out)
{
    static const char *const names[] = {"its length in more bytes than it takes", "its length in five bytes",
                                        "a byte behind its end, inside its length"};
    static const char *const refs[] = {"MQTT-1.5.5-1", "S2.1.4a", "S2.1.4b"};
    snprintf(out->name, sizeof(out->name), "%s: %s", row_packet_name((enum row_packet)(row / LENGTH_CASES)),
             names[row % LENGTH_CASES]);
    out->ref = refs[row % LENGTH_CASES];
}

static void lengths(struct conform_probe *probe)
{
    uint32_t row = probe_row(probe);
    enum row_packet packet = (enum row_packet)(row / LENGTH_CASES);
    struct conform_row text;
    struct builder whole = {.length = 0}, body = {.length = 0}, out = {.length = 0};
    if (!can_play(probe, packet))
        skip(probe, "the broker lacks the QoS");
    if (packet == ROW_PUBLISH && row % LENGTH_CASES == LENGTH_BEHIND)
        skip(probe, "a byte more is payload");
    lengths_row(row, &text);
    struct scene scene = scene_prepare(probe, packet);
    split(&scene, &whole, &body);
    put_8(&out, whole.bytes[0]);
    if (row % LENGTH_CASES == LENGTH_BEHIND) {
        put_8(&body, 0x26); /* not the beginning of anything that could stand there */
        put_length(&out, body.length);
    } else {
        uint32_t bytes = row % LENGTH_CASES == LENGTH_OVERLONG ? (body.length > 127 ? 3 : 2) : 5;
        for (uint32_t i = 0; i + 1 < bytes; i++)
            put_8(&out, 0x80 | (i < 2 ? body.length >> (7 * i) & 127 : 0));
        put_8(&out, 0);
    }
    put_bytes(&out, body.bytes, body.length);
    wire_send_builder(scene.wire, &out);
    scene_want_ended(&scene, text.name, malformed);
}

/* ---- packets that end too early ---------------------------------------------------------------------------------------------------- */

/* How many bytes of the body are there: from the front, or (below 0) from its end. All are illegal. */
static const struct cut {
    enum row_packet packet;
    int16_t bytes;
    const char *what, *ref;
} cuts[] = {
    {ROW_CONNECT, 0, "nothing behind the fixed header", "S2.1.4b"},
    {ROW_CONNECT, 1, "half a length of the protocol name", "S2.1.4b"},
    {ROW_CONNECT, 4, "half a protocol name", "S2.1.4b"},
    {ROW_CONNECT, 6, "no protocol version", "S2.1.4b"},
    {ROW_CONNECT, 7, "no flags", "S2.1.4b"},
    {ROW_CONNECT, 8, "no keep alive", "S2.1.4b"},
    {ROW_CONNECT, 9, "half a keep alive", "S2.1.4b"},
    {ROW_CONNECT, 10, "no properties", "S2.1.4b"},
    {ROW_CONNECT, 11, "no client identifier", "MQTT-3.1.3-3"},
    {ROW_CONNECT, 12, "half a length of the client identifier", "MQTT-3.1.3-3"},
    {ROW_CONNECT, 14, "a client identifier cut short", "MQTT-3.1.3-3"},
    {ROW_WILL, -1, "a payload cut short", "MQTT-3.1.2-9"},
    {ROW_WILL, -6, "no payload", "MQTT-3.1.2-9"},
    {ROW_WILL, -7, "a topic cut short", "MQTT-3.1.2-9"},
    {ROW_PUBLISH, 0, "nothing behind the fixed header", "S2.1.4b"},
    {ROW_PUBLISH, 1, "half a length of the topic", "S2.1.4b"},
    {ROW_PUBLISH, 4, "a topic cut short", "MQTT-3.3.2-1"},
    {ROW_PUBLISH, -4, "no properties", "S2.1.4b"},
    {ROW_PUBACK, 0, "no packet identifier", "S2.1.4b"},
    {ROW_PUBACK, 1, "half a packet identifier", "S2.1.4b"},
    {ROW_PUBREC, 1, "half a packet identifier", "S2.1.4b"},
    {ROW_PUBREL, 1, "half a packet identifier", "S2.1.4b"},
    {ROW_PUBCOMP, 1, "half a packet identifier", "S2.1.4b"},
    {ROW_SUBSCRIBE, 0, "nothing behind the fixed header", "S2.1.4b"},
    {ROW_SUBSCRIBE, 1, "half a packet identifier", "S2.1.4b"},
    {ROW_SUBSCRIBE, 2, "no properties", "S2.1.4b"},
    {ROW_SUBSCRIBE, 4, "half a length of the filter", "S2.1.4b"},
    {ROW_SUBSCRIBE, 8, "a filter cut short", "S2.1.4b"},
    {ROW_SUBSCRIBE, -1, "no options", "S2.1.4b"},
    {ROW_UNSUBSCRIBE, 0, "nothing behind the fixed header", "S2.1.4b"},
    {ROW_UNSUBSCRIBE, 1, "half a packet identifier", "S2.1.4b"},
    {ROW_UNSUBSCRIBE, 4, "half a length of the filter", "S2.1.4b"},
    {ROW_UNSUBSCRIBE, 8, "a filter cut short", "S2.1.4b"},
};

static uint32_t cuts_count(void)
{
    return sizeof(cuts) / sizeof(cuts[0]);
}

static void cuts_row(uint32_t row, struct conform_row *out)
{
    snprintf(out->name, sizeof(out->name), "%s: %s", row_packet_name(cuts[row].packet), cuts[row].what);
    out->ref = cuts[row].ref;
}

static void cut_short(struct conform_probe *probe)
{
    const struct cut *cut = &cuts[probe_row(probe)];
    struct conform_row text;
    struct builder whole = {.length = 0}, body = {.length = 0}, out = {.length = 0};
    if (!can_play(probe, cut->packet))
        skip(probe, "the broker lacks the QoS");
    cuts_row(probe_row(probe), &text);
    struct scene scene = scene_prepare(probe, cut->packet);
    split(&scene, &whole, &body);
    /* A packet whose optional parts are left out is legal from there on: take the user and the password away. */
    if (cut->packet == ROW_WILL && cut->bytes < 0 && probe_login(probe, 0).has_user_name)
        skip(probe, "the run has a user: the will is not the last field");
    body.length = cut->bytes < 0 ? body.length - (uint32_t)-cut->bytes : (uint32_t)cut->bytes;
    put_packet(&out, whole.bytes[0], &body);
    wire_send_builder(scene.wire, &out);
    scene_want_ended(&scene, text.name, malformed);
}

/* ---- the first byte ---------------------------------------------------------------------------------------------------------------------- */

/* Every packet with each of its four flags turned, but for PUBLISH, whose flags mean something; and packets of type 0. */
static uint32_t firsts_count(void)
{
    return ROW_PACKETS * 4;
}

static void firsts_row(uint32_t row, struct conform_row *out)
{
    enum row_packet packet = (enum row_packet)(row / 4);
    if (packet == ROW_WILL || packet == ROW_PUBLISH) {
        snprintf(out->name, sizeof(out->name), "a packet of type 0, flags %u%s", row % 4,
                 packet == ROW_WILL ? ", first of all" : "");
        out->ref = "S2.1.2a";
        return;
    }
    snprintf(out->name, sizeof(out->name), "%s: bit %u of its flags turned", row_packet_name(packet), row % 4);
    out->ref = "S2.1.3a";
}

static void firsts(struct conform_probe *probe)
{
    uint32_t row = probe_row(probe);
    enum row_packet packet = (enum row_packet)(row / 4);
    struct conform_row text;
    struct builder whole = {.length = 0}, body = {.length = 0}, out = {.length = 0};
    if (!can_play(probe, packet))
        skip(probe, "the broker lacks the QoS");
    firsts_row(row, &text);
    struct scene scene = scene_prepare(probe, packet);
    split(&scene, &whole, &body);
    bool nothing = packet == ROW_WILL || packet == ROW_PUBLISH;
    if (nothing)
        body.length = 0;
    put_packet(&out, nothing ? (uint8_t)(row % 4) : (uint8_t)(whole.bytes[0] ^ 1u << row % 4), &body);
    wire_send_builder(scene.wire, &out);
    scene_want_ended(&scene, text.name, malformed);
}

/* ---- flags of CONNECT ------------------------------------------------------------------------------------------------------------------ */

/* All flags with the reserved bit 0, with the payload that they promise; and some with the reserved bit 1. */
#define FLAG_ROWS     128
#define RESERVED_ROWS 8

static uint8_t flags_of(uint32_t row)
{
    return (uint8_t)(row < FLAG_ROWS ? row << 1 : (row - FLAG_ROWS) << 5 | 0x03);
}

/* What the flags break; NULL: nothing. */
static const char *broken(uint8_t flags)
{
    if (flags & 1)
        return "MQTT-3.1.2-3";
    if (!(flags & CONNECT_WILL) && flags & CONNECT_WILL_QOS)
        return "MQTT-3.1.2-11";
    if (!(flags & CONNECT_WILL) && flags & CONNECT_RETAIN)
        return "MQTT-3.1.2-13";
    return (flags & CONNECT_WILL_QOS) == CONNECT_WILL_QOS ? "MQTT-3.1.2-12" : NULL;
}

static uint32_t flags_count(void)
{
    return FLAG_ROWS + RESERVED_ROWS;
}

static void flags_row(uint32_t row, struct conform_row *out)
{
    uint8_t flags = flags_of(row);
    const char *ref = broken(flags);
    snprintf(out->name, sizeof(out->name), "flags 0x%02x: %s", flags, ref ? "not allowed" : "allowed");
    out->ref = ref ? ref : "MQTT-3.1.4-5";
}

/* A broker may refuse a login that is not the run's own, and may do so without a word (3.1.4). */
static void flags_taken(struct conform_probe *probe, struct wire *wire, const char *what, bool own_login)
{
    const struct received *answer = own_login ? want_packet(wire, MQ5_CONNACK, probe_text(probe, "CONNACK to %s", what))
                                              : try_packet(wire, MQ5_CONNACK, probe_patience(probe));
    if (!answer)
        skip(probe, "the broker refuses this login without a word");
    uint8_t reason = answer->packet.connack.reason;
    want(probe, reason != MQ5_MALFORMED_PACKET && reason != MQ5_PROTOCOL_ERROR, "%s: CONNACK 0x%02x (%s)", what, reason,
         mq5_reason_name(reason));
}

static void flags(struct conform_probe *probe)
{
    struct connect_parts parts = connect_parts(probe, 0);
    uint8_t value = flags_of(probe_row(probe)), own = parts.flags & (CONNECT_USER | CONNECT_PASSWORD);
    struct builder bytes = {.length = 0};
    const char *what = probe_text(probe, "CONNECT with flags 0x%02x", value);
    if (!broken(value) && value & CONNECT_RETAIN && !probe_has(probe, CONFORM_RETAIN))
        skip(probe, "the broker has no retained messages");
    if (!broken(value) && (value & CONNECT_WILL_QOS) >> 3 > probe_broker(probe)->maximum_qos)
        skip(probe, "the broker lacks the QoS");
    parts.flags = value;
    parts.will_topic = span_text(probe_topic(probe, "will"));
    parts.will_payload = span_text("");
    if (!parts.user_name.length)
        parts.user_name = span_text("mc5");
    if (!parts.password.length)
        parts.password = span_text("mc5");
    struct wire *wire = probe_open(probe, "client");
    build_connect(&bytes, &parts);
    wire_send_builder(wire, &bytes);
    if (broken(value))
        want_refused(wire, what, malformed);
    else
        flags_taken(probe, wire, what, (value & (CONNECT_USER | CONNECT_PASSWORD)) == own);
}

CHECK_TABLE(rows_wire,
            {.id = "B-WIRE-001",
             .name = "lengths that are wrong end the connection",
             .refs = {"MQTT-1.5.5-1", "S2.1.4a", "S2.1.4b"},
             .level = CONFORM_MUST,
             .run = lengths,
             .row_count = lengths_count,
             .row = lengths_row},
            {.id = "B-WIRE-002",
             .name = "a packet that ends too early ends the connection",
             .refs = {"S2.1.4b", "MQTT-3.1.4-1", "MQTT-3.1.2-9", "MQTT-3.1.3-3"},
             .level = CONFORM_MUST,
             .run = cut_short,
             .row_count = cuts_count,
             .row = cuts_row},
            {.id = "B-WIRE-004",
             .name = "types and flags that are none end the connection",
             .refs = {"S2.1.2a", "S2.1.3a"},
             .level = CONFORM_MUST,
             .run = firsts,
             .row_count = firsts_count,
             .row = firsts_row},
            {.id = "B-WIRE-003",
             .name = "flags of CONNECT",
             .refs = {"MQTT-3.1.2-3", "MQTT-3.1.2-11", "MQTT-3.1.2-12", "MQTT-3.1.2-13", "MQTT-3.1.4-5"},
             .level = CONFORM_MUST,
             .run = flags,
             .row_count = flags_count,
             .row = flags_row})
