/* client_internal.h: what the files of the client session share.
 *
 *   client.c           life of a connection: state, connect, input, time, end
 *   client_receive.c   what each packet of the server does, and the table that says which may come when
 *   client_send.c      everything the application asks to be sent
 *   client_outgoing.c  in-flight operations: ids, order, resending
 *   client_incoming.c  inbound QoS 2 ids and topic aliases
 */
#ifndef CLIENT_INTERNAL_H
#define CLIENT_INTERNAL_H

#include "mqtt5/client.h"
#include "wire.h"

#define CLIENT_STATES                  (MQ5C_CLOSED + 1)
#define CLIENT_PACKET_TYPES            (MQ5_AUTH + 1)
#define CLIENT_STACK_BYTES             1024
#define CLIENT_DEFAULT_RECEIVE_MAXIMUM 32
#define CLIENT_ALIAS_HEADER_BYTES      4

/* mq5_inflight.state. The value of a publish is its QoS. */
enum client_operation {
    CLIENT_PUBLISH_QOS_1 = 1, /* PUBACK awaited */
    CLIENT_PUBLISH_QOS_2 = 2, /* PUBREC awaited */
    CLIENT_RELEASED,          /* PUBCOMP awaited */
    CLIENT_SUBSCRIBE,
    CLIENT_UNSUBSCRIBE,
};

/* One cell of "what may come when": a handler, or the reason code of the answer, or neither: the bytes fall on deaf ears. */
struct client_cell {
    void (*handle)(struct mq5_client *client, int64_t now_us, struct mq5_packet *packet);
    uint8_t reason;
};
extern const struct client_cell mq5_client_cells[CLIENT_STATES][CLIENT_PACKET_TYPES];
extern const bool mq5_client_edges[CLIENT_STATES][CLIENT_STATES];

/* client.c */
void mq5_client_enter(struct mq5_client *client, int64_t now_us, enum mq5_client_state state);
void mq5_client_fail(struct mq5_client *client, int64_t now_us, uint8_t reason, const char *what);
void mq5_client_dispatch(struct mq5_client *client, int64_t now_us, struct mq5_packet *packet);
uint32_t mq5_client_method_hash(struct span method);
uint16_t mq5_client_receive_maximum(const struct mq5_client_config *config);

/* client_send.c: TOO_LARGE when above the peer's maximum packet size; nothing was sent on anything but OK. */
enum mq5_status mq5_client_write(struct mq5_client *client, int64_t now_us, const struct mq5_packet *packet);
void mq5_client_ack(struct mq5_client *client, int64_t now_us, enum mq5_type type, uint16_t packet_id, uint8_t reason);
bool mq5_client_load(struct mq5_client *client, uint32_t token, struct mq5_packet *packet);
/* 0, or why the peer does not take this message: 0x9B, 0x9A. */
uint8_t mq5_client_peer_refuses(const struct mq5_client *client, const struct mq5_publish *publish);

/* client_outgoing.c: positions count from the oldest, -1 is none. */
static inline uint32_t client_ring_index(const struct mq5_client *client, uint32_t position)
{
    uint32_t index = client->outgoing_head + position;
    uint32_t size = client->outgoing_capacity;
    return index >= size ? index - size : index;
}

static inline struct mq5_inflight *mq5_outgoing_at(const struct mq5_client *client, uint32_t position)
{
    if (client->outgoing_capacity == 1)
        return (struct mq5_inflight *)(uintptr_t)&client->one;
    return client->ring + client_ring_index(client, position);
}

int32_t mq5_outgoing_search(const struct mq5_client *client, uint16_t packet_id); /* behind the oldest */
static inline int32_t mq5_outgoing_find(const struct mq5_client *client, uint16_t packet_id)
{
    if (client->outgoing_count > 0 && mq5_outgoing_at(client, 0)->packet_id == packet_id)
        return 0;
    return mq5_outgoing_search(client, packet_id);
}

bool mq5_outgoing_grow(struct mq5_client *client);
/* Room for one more; false: the configured number is reached, or there is no memory just now. */
static inline bool mq5_outgoing_room(struct mq5_client *client)
{
    if (client->outgoing_count >= client->config->outgoing_maximum)
        return false;
    return client->outgoing_count < client->outgoing_capacity || mq5_outgoing_grow(client);
}
uint16_t mq5_outgoing_next_id(struct mq5_client *client);
void mq5_outgoing_add(struct mq5_client *client, uint32_t token, enum client_operation operation, uint8_t sent);
void mq5_outgoing_remove(struct mq5_client *client, uint32_t position);
void mq5_outgoing_release(struct mq5_client *client, uint32_t position);
void mq5_outgoing_drop_operations(struct mq5_client *client);
void mq5_outgoing_drop_all(struct mq5_client *client);
void mq5_outgoing_new_link(struct mq5_client *client);
void mq5_outgoing_resume(struct mq5_client *client, int64_t now_us);
void mq5_outgoing_resend(struct mq5_client *client, int64_t now_us);

/* client_incoming.c */
size_t mq5_inbound_bytes(const struct mq5_client_config *config); /* 0: nothing of that kind is configured */
/* The block, taken now if need be; NULL: no memory. */
struct mq5_inbound *mq5_inbound_need(struct mq5_client *client);
void mq5_inbound_settle(struct mq5_client *client); /* gives the block back if nothing is in it */
uint8_t *mq5_inbound_stream(const struct mq5_client *client);
void mq5_inbound_new_link(struct mq5_client *client);
bool mq5_incoming_known(const struct mq5_client *client, uint16_t packet_id);
bool mq5_incoming_full(struct mq5_client *client); /* or no memory for one more */
void mq5_incoming_add(struct mq5_client *client, uint16_t packet_id);
bool mq5_incoming_remove(struct mq5_client *client, uint16_t packet_id);
struct span mq5_alias_get(const struct mq5_client *client, uint16_t alias);
bool mq5_alias_set(struct mq5_client *client, uint16_t alias, struct span topic);

static inline uint16_t client_alias_maximum(const struct mq5_client *client)
{
    return client->config->alias_bytes > 0 ? client->config->topic_alias_maximum : 0;
}

/* There is a peer to speak to. */
static inline bool client_open(const struct mq5_client *client)
{
    return client->state >= MQ5C_CONNECTING && client->state <= MQ5C_ONLINE;
}

/* Still on the link `generation` and online: asked after every event, because handlers may end or replace the link. */
static inline bool client_live(const struct mq5_client *client, uint8_t generation)
{
    return client->state == MQ5C_ONLINE && client->generation == generation;
}

static inline void client_emit(struct mq5_client *client, enum mq5_client_event_kind kind, uint8_t reason,
                               uint32_t token, const char *what, const struct mq5_packet *packet)
{
    struct mq5_client_event event = {.kind = kind, .reason = reason, .token = token, .what = what, .packet = packet};
    client->config->ops->event(client, &event);
}

#endif
