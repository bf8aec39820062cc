/* send.c: packets to a client, none above the size it set (3.1.2-24). */
#include "internal.h"

static void put_on_link(struct cloud_broker *broker, struct cloud_connection *connection, const uint8_t *data,
                        size_t length)
{
    broker->counts.packets_out++;
    broker->counts.bytes_out += length;
    broker->ops.send(broker->context, connection->link, data, length);
}

static bool fits(const struct cloud_connection *connection, size_t length)
{
    return connection->maximum_packet_size == 0 || length <= connection->maximum_packet_size;
}

bool broker_send(struct cloud_broker *broker, struct cloud_connection *connection, const struct mq5_packet *packet)
{
    enum mq5_version version = broker_version(connection);
    size_t length = 0;
    if (connection->flags & LINK_DEAD)
        return true;
    enum mq5_status status = mq5_encode(version, packet, broker->scratch, broker->scratch_capacity, &length);
    if (status == MQ5_NO_SPACE && fits(connection, length) &&
        broker_memory_reserve(broker, (void **)&broker->scratch, &broker->scratch_capacity, (uint32_t)length, 1))
        status = mq5_encode(version, packet, broker->scratch, broker->scratch_capacity, &length);
    if (status != MQ5_OK || !fits(connection, length))
        return false;
    put_on_link(broker, connection, broker->scratch, length);
    return true;
}

void broker_send_pong(struct cloud_broker *broker, struct cloud_connection *connection)
{
    static const uint8_t bytes[] = {MQ5_PINGRESP << 4, 0};
    if (fits(connection, sizeof(bytes)))
        put_on_link(broker, connection, bytes, sizeof(bytes));
}

/* A field means something only if its bit is set: what is not there need not be cleared, but for what repeats. */
static void no_properties(struct mq5_properties *properties)
{
    properties->present = 0;
    properties->user = NULL;
    properties->subscription_ids = NULL;
    properties->user_count = properties->subscription_id_count = 0;
    properties->encoded = (struct span){NULL, 0};
}

/* The short forms (3.4.2.1): no reason when it is success, no properties ever. */
void broker_send_ack(struct cloud_broker *broker, struct cloud_connection *connection, int64_t now_us, uint8_t type,
                     uint16_t packet_id, uint8_t reason)
{
    if (connection->flags & LINK_DEAD)
        return;
    if (broker->ops.outbound) {
        struct mq5_packet packet;
        packet.type = type;
        packet.ack.packet_id = packet_id;
        packet.ack.reason = reason;
        no_properties(&packet.ack.properties);
        if (!broker->ops.outbound(broker->context, now_us, broker_client_id(connection->session), &packet) ||
            (connection->flags & LINK_DEAD))
            return;
    }
    bool with_reason = reason != MQ5_SUCCESS && (connection->flags & LINK_V5);
    uint8_t flags = type == MQ5_PUBREL ? 2 : 0;
    uint8_t bytes[5] = {(uint8_t)(type << 4 | flags), with_reason ? 3 : 2, (uint8_t)(packet_id >> 8),
                        (uint8_t)packet_id, reason};
    size_t length = with_reason ? 5 : 4;
    if (fits(connection, length))
        put_on_link(broker, connection, bytes, length);
    else
        broker_link_end(broker, connection, now_us, CLOUD_CLOSED_CLIENT_ERROR, true);
}

bool broker_send_publish(struct cloud_broker *broker, struct cloud_connection *connection, int64_t now_us,
                         struct mq5_packet *packet)
{
    struct mq5_publish *publish = &packet->publish;
    struct span topic = publish->topic;
    bool known = false;
    uint16_t alias = 0;
    packet->type = MQ5_PUBLISH;
    if (broker->ops.outbound &&
        !broker->ops.outbound(broker->context, now_us, broker_client_id(connection->session), packet))
        return true;
    if (connection->flags & LINK_DEAD) /* the hook ended it, and with the session perhaps the message */
        return true;
    if (!(connection->flags & LINK_V5)) {
        publish->properties = (struct mq5_properties){0};
    } else if (connection->more && connection->more->alias_maximum_out) {
        alias = broker_alias_for(broker, connection, topic, &known);
        if (alias) {
            publish->properties.present |= MQ5_BIT(MQ5_TOPIC_ALIAS);
            publish->properties.topic_alias = alias;
        }
        if (known)
            publish->topic.length = 0;
    }
    bool sent = broker_send(broker, connection, packet);
    if (!sent && alias && !known) { /* the alias itself may have been too much */
        broker_alias_forget(broker, connection, alias);
        publish->properties.present &= ~MQ5_BIT(MQ5_TOPIC_ALIAS);
        sent = broker_send(broker, connection, packet);
        alias = 0;
    }
    if (sent && alias)
        broker->counts.alias_saved_out += (known ? (int64_t)topic.length : 0) - BROKER_ALIAS_BYTES;
    if (sent)
        broker->counts.publishes_out++;
    else
        broker->counts.dropped++;
    return sent;
}
