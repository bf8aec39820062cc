/* rows.h: packets made byte by byte, for questions that are asked of every packet, property and field. Checks that use rows include it. */
#ifndef CONFORM_ROWS_H
#define CONFORM_ROWS_H

#include "check.h"

/* A packet, or a part of one. What does not fit ends the program: rows are small. */
struct builder {
    uint8_t bytes[2048];
    uint32_t length;
};
void put_8(struct builder *out, uint32_t value);
void put_16(struct builder *out, uint32_t value);
void put_32(struct builder *out, uint32_t value);
void put_length(struct builder *out, uint32_t value); /* a variable byte integer */
void put_bytes(struct builder *out, const void *bytes, uint32_t length);
void put_text(struct builder *out, const char *text);                  /* with its length before it */
void put_string(struct builder *out, struct span string);              /* the same, of any bytes */
void put_block(struct builder *out, const struct builder *properties); /* with its length before it */
/* The fixed header and the body. */
void put_packet(struct builder *out, uint8_t first, const struct builder *body);
void wire_send_builder(struct wire *wire, const struct builder *packet);

/* CONNECT of this client: flags, properties and payload as given; user and password are added when the run has them and the flags do not say otherwise. */
struct connect_parts {
    uint8_t flags;                                      /* CONNECT_CLEAN and others */
    const struct builder *properties, *will_properties; /* NULL: none */
    struct span client_id, will_topic, will_payload, user_name, password;
};
#define CONNECT_CLEAN    0x02
#define CONNECT_WILL     0x04
#define CONNECT_WILL_QOS 0x18
#define CONNECT_RETAIN   0x20
#define CONNECT_PASSWORD 0x40
#define CONNECT_USER     0x80
/* As probe_login(): clean start, the run's user and password. */
struct connect_parts connect_parts(struct conform_probe *probe, uint32_t number);
void build_connect(struct builder *out, const struct connect_parts *parts);

/* Where a packet of a client stands in a conversation. */
enum row_packet {
    ROW_CONNECT,
    ROW_WILL, /* of a CONNECT */
    ROW_PUBLISH,
    ROW_PUBACK,
    ROW_PUBREC,
    ROW_PUBREL,
    ROW_PUBCOMP,
    ROW_SUBSCRIBE,
    ROW_UNSUBSCRIBE,
    ROW_DISCONNECT,
    ROW_PACKETS,
};
const char *row_packet_name(enum row_packet packet);
/* A conversation up to the point where this packet is due: connected, with a message in flight where an acknowledgement needs one. */
struct scene {
    struct conform_probe *probe;
    enum row_packet packet;
    struct wire *wire;
    uint16_t packet_id;
    const char *topic;
};
struct scene scene_prepare(struct conform_probe *probe, enum row_packet packet);
/* The packet, legal but for what `properties` holds. */
void scene_build(const struct scene *scene, const struct builder *properties, struct builder *out);
/* The broker takes what was sent as a legal packet. It may refuse it for reasons of its own, but not as malformed or against the protocol. */
void scene_want_taken(const struct scene *scene, const char *what);
/* The broker ends the connection. */
void scene_want_ended(const struct scene *scene, const char *what, const uint8_t *reasons);

#endif
