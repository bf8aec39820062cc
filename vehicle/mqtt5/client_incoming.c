/* client_incoming.c: what the session remembers of the server's side: QoS 2 ids until their PUBREL (session state, survives
 * links) and topic aliases (connection state). Both lie in one block, with the start of a
 * cut packet, and never outgrow it; a session without memory of its own takes the block when the first of these comes, and gives it back
 * when nothing is left.
 *
 * Ids are kept in order of arrival, those of earlier connections in front: only the others count against the receive maximum
 * we advertised, for the server starts each connection with a full quota (4.9).
 * Aliases are records [alias 2][length 2][topic] one behind the other. Linear walks: both tables are short by configuration. */
#include "client_internal.h"

static size_t ids_bytes(const struct mq5_client_config *config)
{
    return config->qos2_in ? (size_t)mq5_client_receive_maximum(config) * 2 * sizeof(uint16_t) : 0;
}

size_t mq5_inbound_bytes(const struct mq5_client_config *config)
{
    size_t bytes = ids_bytes(config) + config->alias_bytes + config->stream_bytes;
    return bytes ? sizeof(struct mq5_inbound) + bytes : 0;
}

struct mq5_inbound *mq5_inbound_need(struct mq5_client *client)
{
    size_t bytes = client->inbound || !client->on_demand ? 0 : mq5_inbound_bytes(client->config);
    if (bytes == 0)
        return client->inbound;
    client->inbound = client->config->ops->memory_take(client, bytes);
    if (client->inbound)
        *client->inbound = (struct mq5_inbound){0, 0};
    return client->inbound;
}

/* Not while input is looked at: a packet may lie in it. */
void mq5_inbound_settle(struct mq5_client *client)
{
    const struct mq5_inbound *inbound = client->inbound;
    if (!inbound || !client->on_demand || client->in_input || client->incoming_count || inbound->alias_used ||
        inbound->stream_used)
        return;
    client->config->ops->memory_give(client, client->inbound, mq5_inbound_bytes(client->config));
    client->inbound = NULL;
}

/* Aliases and cut packets do not outlive their link. */
void mq5_inbound_new_link(struct mq5_client *client)
{
    if (!client->inbound)
        return;
    *client->inbound = (struct mq5_inbound){0, 0};
    mq5_inbound_settle(client);
}

static uint16_t *incoming_ids(const struct mq5_client *client)
{
    return (uint16_t *)(void *)(client->inbound + 1);
}

static uint8_t *alias_memory(const struct mq5_client *client)
{
    return (uint8_t *)(client->inbound + 1) + ids_bytes(client->config);
}

uint8_t *mq5_inbound_stream(const struct mq5_client *client)
{
    return alias_memory(client) + client->config->alias_bytes;
}

static int32_t incoming_find(const struct mq5_client *client, uint16_t packet_id)
{
    const uint16_t *ids = client->incoming_count ? incoming_ids(client) : NULL;
    for (uint32_t i = 0; i < client->incoming_count; i++) {
        if (ids[i] == packet_id)
            return (int32_t)i;
    }
    return -1;
}

bool mq5_incoming_known(const struct mq5_client *client, uint16_t packet_id)
{
    return incoming_find(client, packet_id) >= 0;
}

bool mq5_incoming_full(struct mq5_client *client)
{
    return client->incoming_count >= 2u * mq5_client_receive_maximum(client->config) || !mq5_inbound_need(client);
}

void mq5_incoming_add(struct mq5_client *client, uint16_t packet_id)
{
    ASSERT(client->config->qos2_in && !mq5_incoming_full(client));
    incoming_ids(client)[client->incoming_count++] = packet_id;
}

bool mq5_incoming_remove(struct mq5_client *client, uint16_t packet_id)
{
    int32_t position = incoming_find(client, packet_id);
    if (position < 0)
        return false;
    uint16_t *ids = incoming_ids(client);
    uint32_t behind = client->incoming_count - (uint32_t)position - 1;
    memmove(ids + position, ids + position + 1, behind * sizeof(*ids));
    client->incoming_count--;
    if (position < client->incoming_carried)
        client->incoming_carried--;
    return true;
}

static uint16_t read_16(const uint8_t *bytes)
{
    uint16_t value;
    memcpy(&value, bytes, sizeof(value));
    return value;
}

/* Offset of the alias' record, or alias_used if there is none. */
static uint32_t alias_find(const struct mq5_client *client, uint16_t alias)
{
    const uint8_t *memory = alias_memory(client);
    uint32_t offset = 0;
    while (offset < client->inbound->alias_used && read_16(memory + offset) != alias)
        offset += CLIENT_ALIAS_HEADER_BYTES + read_16(memory + offset + 2);
    return offset;
}

/* Empty if the alias is not known on this connection. */
struct span mq5_alias_get(const struct mq5_client *client, uint16_t alias)
{
    uint32_t offset = client->inbound ? alias_find(client, alias) : 0;
    if (!client->inbound || offset >= client->inbound->alias_used)
        return (struct span){NULL, 0};
    const uint8_t *record = alias_memory(client) + offset;
    return span_of(record + CLIENT_ALIAS_HEADER_BYTES, read_16(record + 2));
}

static void alias_forget(struct mq5_client *client, uint32_t offset)
{
    uint8_t *memory = alias_memory(client);
    uint32_t length = CLIENT_ALIAS_HEADER_BYTES + read_16(memory + offset + 2);
    memmove(memory + offset, memory + offset + length, client->inbound->alias_used - offset - length);
    client->inbound->alias_used -= length;
}

/* false: the owner's memory does not hold it. */
bool mq5_alias_set(struct mq5_client *client, uint16_t alias, struct span topic)
{
    struct mq5_inbound *inbound = mq5_inbound_need(client);
    if (!inbound)
        return false;
    uint32_t offset = alias_find(client, alias);
    if (offset < inbound->alias_used) {
        if (span_equal(mq5_alias_get(client, alias), topic))
            return true;
        alias_forget(client, offset);
    }
    if (client->config->alias_bytes - inbound->alias_used < CLIENT_ALIAS_HEADER_BYTES + topic.length)
        return false;
    uint8_t *record = alias_memory(client) + inbound->alias_used;
    uint16_t length = (uint16_t)topic.length;
    memcpy(record, &alias, 2);
    memcpy(record + 2, &length, 2);
    memcpy(record + CLIENT_ALIAS_HEADER_BYTES, topic.data, topic.length);
    inbound->alias_used += CLIENT_ALIAS_HEADER_BYTES + topic.length;
    return true;
}
