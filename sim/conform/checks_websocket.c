/* checks_websocket.c: MQTT over WebSocket (6): the subprotocol, binary frames, packets and frames whose borders have nothing to do with each other. */
#include "check.h"
#include "tables.h"

#include <stdio.h>

/* ---- the subprotocol ----------------------------------------------------------------------------------------------------------- */

enum { OFFER_ALONE, OFFER_LAST, OFFER_FIRST, OFFERS };
static const struct {
    const char *offered, *name;
} offers[OFFERS] = {
    {"mqtt", "\"mqtt\" alone"},
    {"v1.probe.convoy, mqtt", "\"mqtt\" after another"},
    {"mqtt, v1.probe.convoy", "\"mqtt\" before another"},
};

static uint32_t offer_count(void)
{
    return OFFERS;
}

static void offer_row(uint32_t row, struct conform_row *out)
{
    snprintf(out->name, sizeof(out->name), "%s", offers[row].name);
}

static void subprotocol(struct conform_probe *probe)
{
    const char *why = "", *offered = offers[probe_row(probe)].offered;
    struct wire *wire = probe_open_web(probe, "client", offered, &why);
    /* Whoever refuses chooses nothing: unfriendly, since a client may offer more than mqtt, and no breach. */
    should(probe, "list", NULL, wire != NULL, "the upgrade is refused for a client that offers \"%s\": %s", offered,
           why);
    const char *chosen = wire ? wire_web(wire)->protocol : "mqtt";
    want(probe, strcmp(chosen, "mqtt") == 0, "the broker names \"%s\" for a client that offers \"%s\"", chosen,
         offered);
    if (!wire)
        return;
    struct mq5_connect login = probe_login(probe, 0);
    const struct mq5_connack *connack = wire_login(wire, &login);
    want(probe, connack && connack->reason == MQ5_SUCCESS, "no CONNACK 0x00 over the subprotocol that was chosen");
}

/* A broker may refuse, or name none; what it names can only be mqtt. */
static void other_subprotocol(struct conform_probe *probe)
{
    const char *why = "";
    need(probe, strcmp(wire_web(probe_connect(probe, "control"))->protocol, "mqtt") == 0, "mqtt is not chosen either");
    struct wire *wire = probe_open_web(probe, "client", "v1.probe.convoy", &why);
    const char *chosen = wire ? wire_web(wire)->protocol : "";
    want(probe, !chosen[0] || strcmp(chosen, "mqtt") == 0, "the broker names \"%s\"", chosen);
}

/* ---- kinds of frames ------------------------------------------------------------------------------------------------------------- */

enum { TEXT_CONNECT, TEXT_PUBLISH, TEXT_IN_PIECES, TEXT_WORDS, TEXTS };
static const char *const text_names[TEXTS] = {"CONNECT", "PUBLISH", "PUBLISH in two fragments", "words"};

static uint32_t text_count(void)
{
    return TEXTS;
}

static void text_row(uint32_t row, struct conform_row *out)
{
    snprintf(out->name, sizeof(out->name), "%s", text_names[row]);
}

/* Bytes that are legal as text, so that nothing but the kind of the frame is wrong. */
static void text_frame(struct conform_probe *probe)
{
    uint32_t row = probe_row(probe);
    struct wire *wire = row == TEXT_CONNECT ? probe_open(probe, "client") : probe_connect(probe, "client");
    struct mq5_packet connect = {.type = MQ5_CONNECT, .connect = probe_login(probe, 0)};
    struct mq5_packet publish = {.type = MQ5_PUBLISH, .publish = message("t", "m", 0)};
    publish.publish.topic = span_text(probe_topic(probe, "t"));
    struct span bytes = row == TEXT_WORDS ? span_text("hello, broker")
                                          : probe_encode(probe, row == TEXT_CONNECT ? &connect : &publish, NULL);
    size_t first = row == TEXT_IN_PIECES ? 4 : bytes.length;
    if (row == TEXT_WORDS)
        note(probe, "the words \"hello, broker\"");
    else
        wire_announce(wire, bytes.data, bytes.length);
    wire_send_frame(wire, FRAME_TEXT, first == bytes.length, bytes.data, first);
    if (first < bytes.length)
        wire_send_frame(wire, FRAME_CONTINUATION, true, bytes.data + first, bytes.length - first);
    bool ends = wire_closes(wire, 2 * US_PER_S);
    want(probe, row != TEXT_CONNECT || !wire_connack(wire) || wire_connack(wire)->reason != MQ5_SUCCESS,
         "CONNECT in a text frame is answered: CONNACK 0x00");
    if (!ends && row != TEXT_CONNECT) {
        struct mq5_packet ping = {.type = MQ5_PINGREQ};
        wire_send(wire, &ping);
        want(probe, !try_packet(wire, MQ5_PINGRESP, probe_patience(probe)) || wire_closes(wire, US_PER_S),
             "the connection goes on after a text frame: PINGREQ is answered");
    }
    want(probe, wire_closes(wire, probe_patience(probe)), "the connection stays open after a text frame (%s)",
         text_names[row]);
}

/* A packet of every kind that a broker sends of itself. */
static void binary_frames(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "t");
    struct wire *wire = probe_connect(probe, "client"), *publisher = probe_connect(probe, "publisher");
    wire_subscribe(wire, topic, 1);
    for (uint32_t qos = 0; qos < 2; qos++) {
        const char *payload = probe_text(probe, "q%u", qos);
        wire_publish(publisher, topic, payload, (uint8_t)qos);
        need_message(wire, topic, payload);
    }
    wire_unsubscribe(wire, topic);
    need_alive(wire, "at the end");
    const struct web_seen *web = wire_web(wire);
    want(probe, web->text == 0 && web->other == 0, "%u of the broker's messages were text, %u frames of another kind",
         web->text, web->other);
    want(probe, web->binary > 0, "nothing came in binary frames");
}

/* ---- borders --------------------------------------------------------------------------------------------------------------------- */

/* How the same packets are cut. */
enum { CUT_MESSAGES, CUT_BYTES, CUT_FRAGMENTS, CUT_EMPTY, CUTS, CUT_CONTROL };
static const char *const cut_names[CUTS] = {"two messages a packet", "a message a byte", "fragments of one message",
                                            "an empty frame between"};

static uint32_t cut_count(void)
{
    return CUTS;
}

static void cut_row(uint32_t row, struct conform_row *out)
{
    snprintf(out->name, sizeof(out->name), "%s", cut_names[row]);
}

static void send_cut(struct wire *wire, struct span bytes, uint32_t how)
{
    bool one_message = how == CUT_FRAGMENTS || how == CUT_CONTROL;
    size_t piece = how == CUT_BYTES || how == CUT_FRAGMENTS ? 1 : (bytes.length + 1) / 2;
    wire_announce(wire, bytes.data, bytes.length);
    for (size_t at = 0; at < bytes.length; at += piece) {
        size_t length = bytes.length - at < piece ? bytes.length - at : piece;
        bool last = at + length == bytes.length;
        wire_send_frame(wire, at && one_message ? FRAME_CONTINUATION : FRAME_BINARY, last || !one_message,
                        bytes.data + at, length);
        if (!last && how == CUT_CONTROL)
            wire_send_frame(wire, FRAME_PING, true, "between", 7);
        if (!last && how == CUT_EMPTY)
            wire_send_frame(wire, FRAME_BINARY, true, "", 0);
    }
}

/* From CONNECT on every packet comes in more than one frame. Returns the wire. */
static struct wire *converse(struct conform_probe *probe, uint32_t how)
{
    const char *topic = probe_topic(probe, "t");
    struct wire *subscriber = probe_subscriber(probe, "subscriber", topic, 0);
    struct wire *wire = probe_open(probe, "client");
    struct mq5_packet connect = {.type = MQ5_CONNECT, .connect = probe_login(probe, 10)};
    struct mq5_packet publish = {.type = MQ5_PUBLISH, .publish = message(topic, "cut", 0)};
    struct mq5_packet ping = {.type = MQ5_PINGREQ};
    send_cut(wire, probe_encode(probe, &connect, NULL), how);
    const struct received *connack = want_packet(wire, MQ5_CONNACK, "CONNACK");
    need(probe, connack->packet.connack.reason == MQ5_SUCCESS, "CONNACK 0x%02x", connack->packet.connack.reason);
    send_cut(wire, probe_encode(probe, &publish, NULL), how);
    send_cut(wire, probe_encode(probe, &ping, NULL), how);
    want_packet(wire, MQ5_PINGRESP, "PINGRESP");
    want_message(subscriber, topic, "cut");
    return wire;
}

static void packet_over_frames(struct conform_probe *probe)
{
    converse(probe, probe_row(probe));
}

/* WebSocket's own rules, which MQTT's statements take for granted. */
static void pings_between(struct conform_probe *probe)
{
    const struct web_seen *web = wire_web(converse(probe, CUT_CONTROL));
    want(probe, web && web->pongs > 0, "no pong");
    want(probe, web->pong_length == 7 && memcmp(web->pong, "between", 7) == 0, "a pong with other bytes than the ping");
}

static struct span join(struct conform_probe *probe, const struct mq5_packet *list, uint32_t count)
{
    uint8_t *all = NULL;
    uint32_t length = 0;
    for (uint32_t i = 0; i < count; i++) {
        struct span bytes = probe_encode(probe, &list[i], NULL);
        uint8_t *longer = probe_memory(probe, length + bytes.length);
        if (length)
            memcpy(longer, all, length);
        memcpy(longer + length, bytes.data, bytes.length);
        all = longer;
        length += bytes.length;
    }
    return (struct span){all, length};
}

/* row 0: all packets in one frame; row 1: cut anywhere, so that each frame ends within a packet. */
static uint32_t several_count(void)
{
    return 2;
}

static void several_row(uint32_t row, struct conform_row *out)
{
    snprintf(out->name, sizeof(out->name), "%s", row ? "packets and parts of packets" : "whole packets");
}

static void packets_in_a_frame(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "t");
    struct wire *subscriber = probe_connect(probe, "subscriber"), *wire = probe_connect(probe, "client");
    wire_subscribe(subscriber, topic, 0);
    struct mq5_packet list[] = {
        {.type = MQ5_PUBLISH, .publish = message(topic, "one", 0)},
        {.type = MQ5_PUBLISH, .publish = message(topic, "two", 1)},
        {.type = MQ5_PINGREQ},
        {.type = MQ5_PUBLISH, .publish = message(topic, "three", 0)},
    };
    list[1].publish.packet_id = wire_packet_id(wire);
    if (!probe_has(probe, CONFORM_QOS_1))
        list[1].publish.qos = 0;
    struct span bytes = join(probe, list, 4);
    wire_announce(wire, bytes.data, bytes.length);
    uint32_t piece = probe_row(probe) ? bytes.length / 3 - 1 : bytes.length;
    for (uint32_t at = 0; at < bytes.length; at += piece)
        wire_send_frame(wire, FRAME_BINARY, true, bytes.data + at,
                        bytes.length - at < piece ? bytes.length - at : piece);
    want_packet(wire, MQ5_PINGRESP, "PINGRESP");
    if (list[1].publish.qos)
        want_packet(wire, MQ5_PUBACK, "PUBACK");
    want_message(subscriber, topic, "one");
    want_message(subscriber, topic, "two");
    want_message(subscriber, topic, "three");
}

/* ---- ends ------------------------------------------------------------------------------------------------------------------------ */

/* WebSocket's own goodbye is no DISCONNECT. */
static void will_after_close_frame(struct conform_probe *probe)
{
    const char *topic = probe_topic(probe, "will");
    struct wire *subscriber = probe_subscriber(probe, "subscriber", topic, 0);
    struct mq5_connect login = probe_login(probe, 10);
    set_will(&login, topic, "gone", 0, false, 0);
    struct wire *wire = probe_connect_as(probe, "client", &login);
    wire_send_frame(wire, FRAME_CLOSE, true, "\x03\xe8", 2);
    wire_closes(wire, 2 * US_PER_S);
    wire_end(wire, WIRE_TLS_SILENT); /* the socket, too: nothing is left of the connection */
    want_message(subscriber, topic, "gone");
}

CHECK_TABLE(checks_websocket,
            {.id = "B-WS-001",
             .name = "the subprotocol that the broker chooses is mqtt",
             .refs = {"MQTT-6.0.0-4"},
             .level = CONFORM_MUST,
             .needs = CONFORM_WEBSOCKET,
             .run = subprotocol,
             .row_count = offer_count,
             .row = offer_row},
            {.id = "B-WS-002",
             .name = "no other subprotocol is chosen",
             .refs = {"MQTT-6.0.0-4"},
             .level = CONFORM_MUST,
             .needs = CONFORM_WEBSOCKET,
             .run = other_subprotocol},
            {.id = "B-WS-003",
             .name = "a text frame ends the connection",
             .refs = {"MQTT-6.0.0-1"},
             .level = CONFORM_MUST,
             .needs = CONFORM_WEBSOCKET,
             .run = text_frame,
             .row_count = text_count,
             .row = text_row},
            {.id = "B-WS-004",
             .name = "packets come in binary frames",
             .refs = {"MQTT-6.0.0-1"},
             .level = CONFORM_MUST,
             .needs = CONFORM_WEBSOCKET | CONFORM_QOS_1,
             .run = binary_frames},
            {.id = "B-WS-005",
             .name = "a packet may come in several frames",
             .refs = {"MQTT-6.0.0-2"},
             .level = CONFORM_MUST,
             .needs = CONFORM_WEBSOCKET,
             .run = packet_over_frames,
             .row_count = cut_count,
             .row = cut_row},
            {.id = "B-WS-006",
             .name = "several packets may come in one frame",
             .refs = {"MQTT-6.0.0-2"},
             .level = CONFORM_MUST,
             .needs = CONFORM_WEBSOCKET,
             .run = packets_in_a_frame,
             .row_count = several_count,
             .row = several_row},
            {.id = "B-WS-007",
             .name = "a close frame without DISCONNECT publishes the will",
             .refs = {"MQTT-3.1.2-8"},
             .level = CONFORM_MUST,
             .needs = CONFORM_WEBSOCKET,
             .run = will_after_close_frame},
            {.id = "B-WS-008",
             .name = "pings of WebSocket between fragments of a packet are answered",
             .refs = {"MQTT-6.0.0-2"},
             .level = CONFORM_SHOULD,
             .needs = CONFORM_WEBSOCKET,
             .run = pings_between}, )
