/* client_outgoing.c: operations of ours that await their end.
 *
 * A ring in three parts: released ones in the order of their PUBRECs (4.6.0-4), then publishes in the order they were sent
 * first (4.6.0-1), with subscribes between and behind them. After a reconnect the last `resend_left` publishes still have to go
 * out; new publishes wait for them, and only subscribes may stand behind, so their place is known by counting.
 * The common case, the oldest is acknowledged first, touches nothing but the head.
 * Most vehicles have at most one in flight: that one lies in the client itself. A session without memory of its own takes a ring when
 * there are more, doubles it as they grow, and gives it back when none is left. */
#include "client_internal.h"

enum { FIRST_RING = 4 };

bool mq5_outgoing_grow(struct mq5_client *client)
{
    uint32_t capacity = client->outgoing_capacity == 1 ? FIRST_RING : client->outgoing_capacity * 2u;
    if (capacity > client->config->outgoing_maximum)
        capacity = client->config->outgoing_maximum;
    struct mq5_inflight *ring =
        client->on_demand ? client->config->ops->memory_take(client, capacity * sizeof(*ring)) : NULL;
    if (!ring)
        return false;
    for (uint32_t i = 0; i < client->outgoing_count; i++)
        ring[i] = *mq5_outgoing_at(client, i);
    if (client->outgoing_capacity > 1)
        client->config->ops->memory_give(client, client->ring, client->outgoing_capacity * sizeof(*ring));
    client->ring = ring;
    client->outgoing_head = 0;
    client->outgoing_capacity = (uint16_t)capacity;
    return true;
}

static void give_ring(struct mq5_client *client)
{
    client->config->ops->memory_give(client, client->ring, client->outgoing_capacity * sizeof(*client->ring));
    client->outgoing_capacity = 1;
    client->outgoing_head = 0;
}

int32_t mq5_outgoing_search(const struct mq5_client *client, uint16_t packet_id)
{
    for (uint32_t i = 1; i < client->outgoing_count; i++) {
        if (mq5_outgoing_at(client, i)->packet_id == packet_id)
            return (int32_t)i;
    }
    return -1;
}

/* Ids count up, so as long as none has been overtaken by a whole round and none has changed its place, all ids in flight lie
 * between the oldest one's and next_packet_id: no search. Once the count meets the oldest, every id is looked up until all
 * are finished. */
uint16_t mq5_outgoing_next_id(struct mq5_client *client)
{
    if (client->outgoing_count == 0)
        client->ids_unordered = 0;
    else if (mq5_outgoing_at(client, 0)->packet_id == client->next_packet_id)
        client->ids_unordered = 1;
    while (client->ids_unordered && mq5_outgoing_find(client, client->next_packet_id) >= 0)
        client->next_packet_id = client->next_packet_id == UINT16_MAX ? 1 : (uint16_t)(client->next_packet_id + 1);
    return client->next_packet_id;
}

/* Takes the id that mq5_outgoing_next_id() told: an id is used up only when its packet has been sent. */
void mq5_outgoing_add(struct mq5_client *client, uint32_t token, enum client_operation operation, uint8_t sent)
{
    struct mq5_inflight *entry = mq5_outgoing_at(client, client->outgoing_count);
    *entry = (struct mq5_inflight){
        .token = token, .packet_id = client->next_packet_id, .state = (uint8_t)operation, .sent = sent};
    client->outgoing_count++;
    client->operations_count = (uint16_t)(client->operations_count + (operation >= CLIENT_SUBSCRIBE));
    client->next_packet_id = client->next_packet_id == UINT16_MAX ? 1 : (uint16_t)(client->next_packet_id + 1);
}

static void copy_entry(struct mq5_client *client, uint32_t to, uint32_t from)
{
    *mq5_outgoing_at(client, to) = *mq5_outgoing_at(client, from);
}

void mq5_outgoing_remove(struct mq5_client *client, uint32_t position)
{
    ASSERT(position < client->outgoing_count);
    if (mq5_outgoing_at(client, position)->state >= CLIENT_SUBSCRIBE)
        client->operations_count--;
    if (position < client->released_count)
        client->released_count--;
    if (position < client->outgoing_count / 2u + 1u) {
        for (uint32_t i = position; i > 0; i--)
            copy_entry(client, i, i - 1);
        client->outgoing_head = (uint16_t)client_ring_index(client, 1);
    } else {
        for (uint32_t i = position; i + 1 < client->outgoing_count; i++)
            copy_entry(client, i, i + 1);
    }
    client->outgoing_count--;
    if (client->outgoing_count == 0 && client->outgoing_capacity > 1 && client->on_demand)
        give_ring(client);
}

/* PUBREC came: the entry goes behind those released before it. */
void mq5_outgoing_release(struct mq5_client *client, uint32_t position)
{
    struct mq5_inflight entry = *mq5_outgoing_at(client, position);
    entry.state = CLIENT_RELEASED;
    for (uint32_t i = position; i > client->released_count; i--)
        copy_entry(client, i, i - 1);
    if (position != client->released_count)
        client->ids_unordered = 1;
    *mq5_outgoing_at(client, client->released_count) = entry;
    client->released_count++;
}

static void drop(struct mq5_client *client, uint32_t position, uint8_t reason, const char *what)
{
    uint32_t token = mq5_outgoing_at(client, position)->token;
    mq5_outgoing_remove(client, position);
    client_emit(client, MQ5C_EV_DROPPED, reason, token, what, NULL);
}

/* Subscribes do not outlive their link: only PUBLISH and PUBREL are resent (4.4.0-1). Handlers may reconnect and subscribe anew
 * meanwhile, so only as many are dropped as there were. */
void mq5_outgoing_drop_operations(struct mq5_client *client)
{
    for (uint32_t left = client->operations_count; left > 0; left--) {
        uint32_t position = 0;
        while (mq5_outgoing_at(client, position)->state < CLIENT_SUBSCRIBE)
            position++;
        drop(client, position, 0, "link lost before the answer");
    }
}

/* The server has no session: nothing of ours will be acknowledged. New publishes of handlers stand behind and stay. */
void mq5_outgoing_drop_all(struct mq5_client *client)
{
    for (uint32_t left = client->outgoing_count; left > 0 && client->outgoing_count > 0; left--)
        drop(client, 0, 0, "session lost");
}

void mq5_outgoing_new_link(struct mq5_client *client)
{
    client->quota_used = 0;
    client->resend_left = 0;
    for (uint32_t i = 0; i < client->outgoing_count; i++) {
        struct mq5_inflight *entry = mq5_outgoing_at(client, i);
        if (entry->state < CLIENT_SUBSCRIBE)
            entry->sent = 0;
    }
}

/* Session present: PUBRELs first, then PUBLISHes as far as the quota of this connection goes. */
void mq5_outgoing_resume(struct mq5_client *client, int64_t now_us)
{
    uint8_t generation = client->generation;
    client->resend_left = (uint16_t)(client->outgoing_count - client->released_count);
    for (uint32_t i = 0; i < client->released_count && client_live(client, generation); i++)
        mq5_client_ack(client, now_us, MQ5_PUBREL, mq5_outgoing_at(client, i)->packet_id, MQ5_SUCCESS);
    if (client_live(client, generation))
        mq5_outgoing_resend(client, now_us);
}

static uint8_t resend_one(struct mq5_client *client, int64_t now_us, const struct mq5_inflight *entry)
{
    struct mq5_packet packet;
    if (!mq5_client_load(client, entry->token, &packet))
        return MQ5_UNSPECIFIED_ERROR;
    packet.publish.qos = entry->state;
    packet.publish.packet_id = entry->packet_id;
    packet.publish.dup = true;
    uint8_t refused = mq5_client_peer_refuses(client, &packet.publish);
    if (refused)
        return refused;
    switch (mq5_client_write(client, now_us, &packet)) {
    case MQ5_OK: return MQ5_SUCCESS;
    case MQ5_TOO_LARGE: return MQ5_PACKET_TOO_LARGE;
    default: return MQ5_UNSPECIFIED_ERROR;
    }
}

void mq5_outgoing_resend(struct mq5_client *client, int64_t now_us)
{
    uint8_t generation = client->generation;
    while (client->resend_left > 0 && client->quota_used < client->peer_receive_maximum &&
           client_live(client, generation)) {
        uint32_t position = (uint32_t)client->outgoing_count - client->operations_count - client->resend_left;
        struct mq5_inflight *entry = mq5_outgoing_at(client, position);
        uint8_t reason = resend_one(client, now_us, entry);
        client->resend_left--;
        if (reason == MQ5_SUCCESS) {
            entry->sent = 1;
            client->quota_used++;
        } else {
            drop(client, position, reason, "cannot be resent");
        }
    }
}
