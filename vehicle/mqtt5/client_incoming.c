/* client_incoming.c: what the session remembers of the server's side: QoS 2 ids until their PUBREL (session state, survives
 * links) and topic aliases (connection state). Both live in the owner's block and never outgrow it.
 *
 * Ids are kept in order of arrival, those of earlier connections in front: only the others count against the receive maximum
 * we advertised, for the server starts each connection with a full quota (4.9).
 * Aliases are records [alias 2][length 2][topic] one behind the other. Linear walks: both tables are short by configuration. */
#include "client_internal.h"

static uint16_t *incoming_ids(const struct mq5_client *client)
{
    return (uint16_t *)(void *)(client->memory + client_outgoing_bytes(client->config));
}

static int32_t incoming_find(const struct mq5_client *client, uint16_t packet_id)
{
    const uint16_t *ids = incoming_ids(client);
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

bool mq5_incoming_full(const struct mq5_client *client)
{
    return client->incoming_count >= 2u * mq5_client_receive_maximum(client->config);
}

void mq5_incoming_add(struct mq5_client *client, uint16_t packet_id)
{
    ASSERT(client->qos2_in && !mq5_incoming_full(client));
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
    const uint8_t *memory = client_alias_memory(client);
    uint32_t offset = 0;
    while (offset < client->alias_used && read_16(memory + offset) != alias)
        offset += CLIENT_ALIAS_HEADER_BYTES + read_16(memory + offset + 2);
    return offset;
}

/* Empty if the alias is not known on this connection. */
struct span mq5_alias_get(const struct mq5_client *client, uint16_t alias)
{
    uint32_t offset = alias_find(client, alias);
    if (offset >= client->alias_used)
        return (struct span){NULL, 0};
    const uint8_t *record = client_alias_memory(client) + offset;
    return span_of(record + CLIENT_ALIAS_HEADER_BYTES, read_16(record + 2));
}

static void alias_forget(struct mq5_client *client, uint32_t offset)
{
    uint8_t *memory = client_alias_memory(client);
    uint32_t length = CLIENT_ALIAS_HEADER_BYTES + read_16(memory + offset + 2);
    memmove(memory + offset, memory + offset + length, client->alias_used - offset - length);
    client->alias_used -= length;
}

/* false: the owner's memory does not hold it. */
bool mq5_alias_set(struct mq5_client *client, uint16_t alias, struct span topic)
{
    uint32_t offset = alias_find(client, alias);
    if (offset < client->alias_used) {
        if (span_equal(mq5_alias_get(client, alias), topic))
            return true;
        alias_forget(client, offset);
    }
    if (client->alias_capacity - client->alias_used < CLIENT_ALIAS_HEADER_BYTES + topic.length)
        return false;
    uint8_t *record = client_alias_memory(client) + client->alias_used;
    uint16_t length = (uint16_t)topic.length;
    memcpy(record, &alias, 2);
    memcpy(record + 2, &length, 2);
    memcpy(record + CLIENT_ALIAS_HEADER_BYTES, topic.data, topic.length);
    client->alias_used += CLIENT_ALIAS_HEADER_BYTES + topic.length;
    return true;
}
