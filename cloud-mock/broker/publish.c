/* publish.c: PUBLISH from a client, and its side of QoS 1 and 2 (3.3.4, 4.3). */
#include "internal.h"

static size_t set_size(uint32_t capacity)
{
    return sizeof(struct id_set) + capacity * sizeof(uint16_t);
}

/* Where the id is, or would be. */
static uint32_t set_place(const struct id_set *set, uint16_t id)
{
    uint32_t low = 0, high = set ? set->count : 0;
    while (low < high) {
        uint32_t middle = (low + high) / 2;
        if (set->ids[middle] < id)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool set_has(const struct id_set *set, uint16_t id)
{
    uint32_t at = set_place(set, id);
    return set && at < set->count && set->ids[at] == id;
}

static bool set_add(struct cloud_broker *broker, struct session *session, uint16_t id)
{
    struct id_set *set = broker_received_of(session);
    if (!set || set->count == set->capacity) {
        if (!broker_session_more(broker, session))
            return false;
        uint32_t old = set ? set->capacity : 0, capacity = old ? old * 2 : 6;
        struct id_set *moved = broker_memory_resize(broker, set, set ? set_size(old) : 0, set_size(capacity));
        if (!moved) {
            broker_session_less(broker, session);
            return false;
        }
        if (!set)
            moved->count = 0;
        moved->capacity = capacity;
        session->more->received = set = moved;
    }
    uint32_t at = set_place(set, id);
    memmove(set->ids + at + 1, set->ids + at, (set->count - at) * sizeof(uint16_t));
    set->ids[at] = id;
    set->count++;
    return true;
}

static bool set_remove(struct cloud_broker *broker, struct session *session, uint16_t id)
{
    struct id_set *set = broker_received_of(session);
    if (!set_has(set, id))
        return false;
    uint32_t at = set_place(set, id);
    set->count--;
    memmove(set->ids + at, set->ids + at + 1, (set->count - at) * sizeof(uint16_t));
    if (set->count == 0)
        broker_session_forget_received(broker, session);
    return true;
}

/* What is a fault of the whole link rather than of this message; MQ5_SUCCESS: none. */
static uint8_t link_fault(struct cloud_broker *broker, struct cloud_connection *connection, struct mq5_publish *publish,
                          uint8_t *pattern, char *room)
{
    if (publish->qos > broker->options.maximum_qos)
        return MQ5_QOS_NOT_SUPPORTED;
    if (publish->retain && !broker->options.retain_available)
        return MQ5_RETAIN_NOT_SUPPORTED;
    if (publish->properties.present & MQ5_BIT(MQ5_TOPIC_ALIAS))
        return broker_alias_resolve(broker, connection, publish, pattern, room);
    return MQ5_SUCCESS;
}

/* The pattern of a topic written out: mostly it is that of the link's last message. */
static uint8_t pattern_of(struct cloud_broker *broker, struct cloud_connection *connection, struct span topic)
{
    uint8_t last = connection->last_pattern;
    if (last && broker_pattern(broker, last) &&
        broker_pattern_fits(broker_pattern(broker, last), connection->session, topic))
        return last;
    return connection->last_pattern = broker_pattern_of(broker, connection->session, topic);
}

/* pattern: of the topic, if it came as an alias that is kept by pattern. The link holds it, so that no hook can make it go. */
static uint8_t accept_message(struct cloud_broker *broker, struct cloud_connection *connection, int64_t now_us,
                              struct mq5_publish *publish, uint8_t pattern)
{
    bool reserved = broker->options.dollar_topics_reserved && publish->topic.data[0] == '$';
    if (reserved && !broker->ops.reserved)
        return MQ5_NOT_AUTHORIZED;
    if (broker->ops.authorise_publish) {
        uint8_t reason = broker->ops.authorise_publish(broker->context, broker_client_id(connection->session),
                                                       broker_peer(broker, connection), publish);
        if (reason >= 0x80)
            return reason;
        if (connection->flags & LINK_DEAD)
            return MQ5_UNSPECIFIED_ERROR;
    }
    if (!pattern && !reserved)
        pattern = pattern_of(broker, connection, publish->topic);
    publish->packet_id = 0; /* was between us and the sender, as was `dup`: readers see the message as it is sent on */
    publish->dup = false;
    if (reserved)
        return broker->ops.reserved(broker->context, now_us, broker_client_id(connection->session),
                                    broker_peer(broker, connection), publish);
    return broker_route(broker, now_us, publish, connection->session, pattern);
}

/* What becomes of a message that is not accepted: the answer to give, or the link is closed. 3.1.1 has no way to refuse one but to close
 * (3.3.5 there), or to acknowledge it as if it were accepted. */
static bool refuse(struct cloud_broker *broker, struct cloud_connection *connection, int64_t now_us, uint8_t type,
                   uint8_t *reason)
{
    bool denied = *reason == MQ5_NOT_AUTHORIZED, v5 = connection->flags & LINK_V5;
    if (denied ? (v5 ? broker->options.denied_publish_closes_v5 : broker->options.denied_publish_closes_v311) : !v5) {
        broker_link_fail(broker, connection, now_us, *reason, NULL,
                         *reason == MQ5_QUOTA_EXCEEDED ? CLOUD_CLOSED_LIMIT : CLOUD_CLOSED_NOT_AUTHORISED);
        return false;
    }
    if (!mq5_reason_allowed(type, *reason, MQ5_FROM_SERVER)) /* hooks answer what they like */
        *reason = MQ5_UNSPECIFIED_ERROR;
    return true;
}

static void handle_exactly_once(struct cloud_broker *broker, struct cloud_connection *connection, int64_t now_us,
                                struct mq5_publish *publish, uint8_t pattern)
{
    struct session *session = connection->session;
    const struct id_set *received = broker_received_of(session);
    uint16_t packet_id = publish->packet_id;
    if (set_has(received, packet_id)) { /* 4.3.3-10: said again, not delivered again */
        broker_send_ack(broker, connection, now_us, MQ5_PUBREC, packet_id, MQ5_SUCCESS);
        return;
    }
    if (received && received->count >= broker->options.receive_maximum) {
        broker_link_fail(broker, connection, now_us, MQ5_RECEIVE_MAXIMUM_EXCEEDED, NULL, CLOUD_CLOSED_CLIENT_ERROR);
        return;
    }
    uint8_t reason = MQ5_QUOTA_EXCEEDED;
    if (set_add(broker, session, packet_id)) {
        reason = accept_message(broker, connection, now_us, publish, pattern);
        if (reason >= 0x80 && !(session->flags & SESSION_DEAD))
            set_remove(broker, session, packet_id);
    }
    if (reason < 0x80 || refuse(broker, connection, now_us, MQ5_PUBREC, &reason))
        broker_send_ack(broker, connection, now_us, MQ5_PUBREC, packet_id, reason);
}

void broker_handle_publish(struct cloud_broker *broker, struct cloud_connection *connection, int64_t now_us,
                           struct mq5_publish *publish)
{
    char room[PATTERN_TOPIC_BYTES];
    uint16_t packet_id = publish->packet_id;
    uint8_t pattern = 0;
    broker->counts.publishes_in++;
    uint8_t reason = link_fault(broker, connection, publish, &pattern, room);
    if (reason != MQ5_SUCCESS) {
        broker_link_fail(broker, connection, now_us, reason, NULL,
                         reason == MQ5_QUOTA_EXCEEDED ? CLOUD_CLOSED_LIMIT : CLOUD_CLOSED_CLIENT_ERROR);
        return;
    }
    if (publish->qos == 2) {
        handle_exactly_once(broker, connection, now_us, publish, pattern);
        return;
    }
    reason = accept_message(broker, connection, now_us, publish, pattern);
    if (reason >= 0x80 && !refuse(broker, connection, now_us, MQ5_PUBACK, &reason))
        return;
    if (publish->qos == 1)
        broker_send_ack(broker, connection, now_us, MQ5_PUBACK, packet_id, reason);
}

void broker_handle_release(struct cloud_broker *broker, struct cloud_connection *connection, int64_t now_us,
                           const struct mq5_ack *ack)
{
    bool known = set_remove(broker, connection->session, ack->packet_id);
    broker_send_ack(broker, connection, now_us, MQ5_PUBCOMP, ack->packet_id,
                    known ? MQ5_SUCCESS : MQ5_PACKET_ID_NOT_FOUND);
}
