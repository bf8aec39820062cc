/* rows.c: packets made byte by byte, and the conversations they belong into. */
#include "rows.h"

void put_bytes(struct builder *out, const void *bytes, uint32_t length)
{
    ASSERT(length <= sizeof(out->bytes) - out->length);
    if (length)
        memcpy(out->bytes + out->length, bytes, length);
    out->length += length;
}

void put_8(struct builder *out, uint32_t value)
{
    uint8_t byte = (uint8_t)value;
    put_bytes(out, &byte, 1);
}

void put_16(struct builder *out, uint32_t value)
{
    put_8(out, value >> 8);
    put_8(out, value);
}

void put_32(struct builder *out, uint32_t value)
{
    put_16(out, value >> 16);
    put_16(out, value);
}

void put_length(struct builder *out, uint32_t value)
{
    do {
        put_8(out, (value & 127) | (value > 127 ? 128 : 0));
        value >>= 7;
    } while (value);
}

void put_string(struct builder *out, struct span string)
{
    put_16(out, string.length);
    put_bytes(out, string.data, string.length);
}

void put_text(struct builder *out, const char *text)
{
    put_string(out, span_text(text));
}

void put_block(struct builder *out, const struct builder *properties)
{
    put_length(out, properties ? properties->length : 0);
    if (properties)
        put_bytes(out, properties->bytes, properties->length);
}

void put_packet(struct builder *out, uint8_t first, const struct builder *body)
{
    put_8(out, first);
    put_length(out, body->length);
    put_bytes(out, body->bytes, body->length);
}

void wire_send_builder(struct wire *wire, const struct builder *packet)
{
    wire_send_bytes(wire, packet->bytes, packet->length);
}

/* ---- CONNECT ---------------------------------------------------------------------------------------------------------------- */

struct connect_parts connect_parts(struct conform_probe *probe, uint32_t number)
{
    struct mq5_connect login = probe_login(probe, number);
    struct connect_parts parts = {.flags = CONNECT_CLEAN, .client_id = login.client_id};
    if (login.has_user_name) {
        parts.flags |= CONNECT_USER;
        parts.user_name = login.user_name;
    }
    if (login.has_password) {
        parts.flags |= CONNECT_PASSWORD;
        parts.password = login.password;
    }
    return parts;
}

void build_connect(struct builder *out, const struct connect_parts *parts)
{
    struct builder body = {.length = 0};
    put_text(&body, "MQTT");
    put_8(&body, MQ5_V5);
    put_8(&body, parts->flags);
    put_16(&body, 60);
    put_block(&body, parts->properties);
    put_string(&body, parts->client_id);
    if (parts->flags & CONNECT_WILL) {
        put_block(&body, parts->will_properties);
        put_string(&body, parts->will_topic);
        put_string(&body, parts->will_payload);
    }
    if (parts->flags & CONNECT_USER)
        put_string(&body, parts->user_name);
    if (parts->flags & CONNECT_PASSWORD)
        put_string(&body, parts->password);
    put_packet(out, MQ5_CONNECT << 4, &body);
}

/* ---- scenes ------------------------------------------------------------------------------------------------------------------- */

const char *row_packet_name(enum row_packet packet)
{
    static const char *const names[] = {"CONNECT", "will of CONNECT", "PUBLISH",   "PUBACK",      "PUBREC",
                                        "PUBREL",  "PUBCOMP",         "SUBSCRIBE", "UNSUBSCRIBE", "DISCONNECT"};
    return names[packet];
}

static bool is_login(enum row_packet packet)
{
    return packet == ROW_CONNECT || packet == ROW_WILL;
}

/* A message from the broker that is in flight, as far as the acknowledgement that is due. */
static void have_message(struct scene *scene, uint8_t qos)
{
    wire_subscribe(scene->wire, scene->topic, qos);
    wire_hold_acks(scene->wire, true);
    wire_publish(scene->wire, scene->topic, "in flight", qos);
    scene->packet_id = need_message(scene->wire, scene->topic, "in flight")->packet.publish.packet_id;
    if (scene->packet != ROW_PUBCOMP)
        return;
    wire_ack(scene->wire, MQ5_PUBREC, scene->packet_id, MQ5_SUCCESS);
    need_packet(scene->wire, MQ5_PUBREL, "PUBREL");
}

struct scene scene_prepare(struct conform_probe *probe, enum row_packet packet)
{
    struct scene scene = {.probe = probe, .packet = packet, .packet_id = 77, .topic = probe_topic(probe, "row")};
    if (is_login(packet)) {
        scene.wire = probe_open(probe, "client");
        return scene;
    }
    struct mq5_connect login = probe_login(probe, 0);
    set_session_expiry(&login, 10); /* so that a DISCONNECT may change it */
    scene.wire = probe_connect_as(probe, "client", &login);
    if (packet == ROW_PUBACK || packet == ROW_PUBREC || packet == ROW_PUBCOMP)
        have_message(&scene, packet == ROW_PUBACK ? 1 : 2);
    if (packet == ROW_PUBREL) {
        struct mq5_publish publish = message(scene.topic, "in flight", 2);
        publish.packet_id = scene.packet_id;
        wire_send(scene.wire, &(struct mq5_packet){.type = MQ5_PUBLISH, .publish = publish});
        need(probe, need_packet(scene.wire, MQ5_PUBREC, "PUBREC")->packet.ack.reason < 0x80, "the message is refused");
    }
    return scene;
}

static void build_login(const struct scene *scene, const struct builder *properties, struct builder *out)
{
    struct connect_parts parts = connect_parts(scene->probe, 0);
    if (scene->packet == ROW_WILL) {
        parts.flags |= CONNECT_WILL;
        parts.will_topic = span_text(scene->topic);
        parts.will_payload = span_text("will");
        parts.will_properties = properties;
    } else {
        parts.properties = properties;
    }
    build_connect(out, &parts);
}

static void build_publish(const struct scene *scene, const struct builder *properties, struct builder *out)
{
    bool qos_1 = probe_has(scene->probe, CONFORM_QOS_1);
    struct builder body = {.length = 0};
    put_text(&body, scene->topic);
    if (qos_1)
        put_16(&body, scene->packet_id);
    put_block(&body, properties);
    put_bytes(&body, "row", 3);
    put_packet(out, MQ5_PUBLISH << 4 | (qos_1 ? 2 : 0), &body);
}

void scene_build(const struct scene *scene, const struct builder *properties, struct builder *out)
{
    static const uint8_t firsts[ROW_PACKETS] = {
        [ROW_PUBACK] = MQ5_PUBACK << 4,           [ROW_PUBREC] = MQ5_PUBREC << 4,
        [ROW_PUBREL] = MQ5_PUBREL << 4 | 2,       [ROW_PUBCOMP] = MQ5_PUBCOMP << 4,
        [ROW_SUBSCRIBE] = MQ5_SUBSCRIBE << 4 | 2, [ROW_UNSUBSCRIBE] = MQ5_UNSUBSCRIBE << 4 | 2,
        [ROW_DISCONNECT] = MQ5_DISCONNECT << 4,
    };
    struct builder body = {.length = 0};
    if (is_login(scene->packet)) {
        build_login(scene, properties, out);
        return;
    }
    if (scene->packet == ROW_PUBLISH) {
        build_publish(scene, properties, out);
        return;
    }
    if (scene->packet != ROW_DISCONNECT)
        put_16(&body, scene->packet_id);
    if (scene->packet != ROW_SUBSCRIBE && scene->packet != ROW_UNSUBSCRIBE)
        put_8(&body, MQ5_SUCCESS);
    put_block(&body, properties);
    if (scene->packet == ROW_SUBSCRIBE || scene->packet == ROW_UNSUBSCRIBE)
        put_text(&body, scene->topic);
    if (scene->packet == ROW_SUBSCRIBE)
        put_8(&body, 0);
    put_packet(out, firsts[scene->packet], &body);
}

/* Refused as no legal packet. */
static bool is_blamed(uint8_t reason)
{
    return reason == MQ5_MALFORMED_PACKET || reason == MQ5_PROTOCOL_ERROR;
}

static const struct received *blame(const struct wire *wire)
{
    const struct received *each;
    for (uint32_t i = 0; (each = wire_at(wire, i)); i++) {
        const struct mq5_packet *packet = &each->packet;
        if ((packet->type == MQ5_CONNACK && is_blamed(packet->connack.reason)) ||
            (packet->type == MQ5_DISCONNECT && is_blamed(packet->disconnect.reason)))
            return each;
    }
    return NULL;
}

void scene_want_taken(const struct scene *scene, const char *what)
{
    struct wire *wire = scene->wire;
    struct conform_probe *probe = scene->probe;
    if (is_login(scene->packet)) {
        const struct received *answer = want_packet(wire, MQ5_CONNACK, probe_text(probe, "CONNACK to %s", what));
        want(probe, !is_blamed(answer->packet.connack.reason), "%s is refused: CONNACK 0x%02x (%s)", what,
             answer->packet.connack.reason, mq5_reason_name(answer->packet.connack.reason));
        return;
    }
    if (scene->packet == ROW_DISCONNECT) {
        wire_closes(wire, probe_patience(probe));
        want(probe, !blame(wire), "%s is answered as an error", what);
        return;
    }
    want_alive(wire, probe_text(probe, "after %s", what));
}

void scene_want_ended(const struct scene *scene, const char *what, const uint8_t *reasons)
{
    if (is_login(scene->packet))
        want_refused(scene->wire, what, reasons);
    else
        want_closed(scene->wire, what, reasons);
}
