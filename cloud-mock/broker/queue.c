/* queue.c: what is on its way to a session: sent and not acknowledged, and waiting for room in the window (4.3, 4.4, 4.9).
 *
 * Order is that of routing: nothing overtakes the queue but QoS 0. A message is kept only if somebody may have to send it again.
 */
#include "internal.h"

static uint32_t window_of(const struct cloud_connection *connection)
{
    return connection->receive_maximum < BROKER_MAXIMUM_IN_FLIGHT ? connection->receive_maximum
                                                                  : BROKER_MAXIMUM_IN_FLIGHT;
}

static struct flow *flow_of(struct cloud_broker *broker, struct session *session)
{
    if (!session->flow) {
        session->flow = broker_memory_get_clear(broker, sizeof(struct flow));
        if (session->flow)
            session->flow->next_expiry_us = TIME_NEVER;
    }
    return session->flow;
}

static void free_if_empty(struct cloud_broker *broker, struct session *session)
{
    struct flow *flow = session->flow;
    if (!flow || flow->queued)
        return;
    if (!flow->sent) {
        broker_memory_put(broker, flow, sizeof(*flow));
        session->flow = NULL;
    }
}

void broker_delivery_free(struct cloud_broker *broker, struct delivery *delivery)
{
    broker_message_release(broker, delivery->message);
    if (delivery->group)
        broker_share_release(broker, delivery->group);
    if (delivery->id_count > 1)
        broker_memory_put(broker, delivery->ids, delivery->id_count * sizeof(uint32_t));
    broker_memory_put(broker, delivery, sizeof(*delivery));
}

static struct message *store(struct cloud_broker *broker, struct routed *routed)
{
    if (!routed->stored)
        routed->stored = broker_message_create(broker, routed->now_us, routed->publish);
    if (routed->stored)
        routed->stored->references++;
    return routed->stored;
}

static bool copy_ids(struct cloud_broker *broker, struct delivery *delivery, const struct target *target)
{
    if (target->id_count <= 1) {
        delivery->id = target->id_count ? target->ids[0] : 0;
    } else {
        delivery->ids = broker_memory_get(broker, target->id_count * sizeof(uint32_t));
        if (!delivery->ids)
            return false;
        memcpy(delivery->ids, target->ids, target->id_count * sizeof(uint32_t));
    }
    delivery->id_count = target->id_count;
    return true;
}

static struct delivery *delivery_make(struct cloud_broker *broker, struct routed *routed, const struct target *target,
                                      bool keep)
{
    struct delivery *delivery = broker_memory_get_clear(broker, sizeof(*delivery));
    if (!delivery)
        return NULL;
    delivery->qos = target->qos;
    delivery->retain = target->retain;
    delivery->group = target->group;
    if (delivery->group)
        delivery->group->references++;
    if ((keep && !(delivery->message = store(broker, routed))) || !copy_ids(broker, delivery, target)) {
        broker_delivery_free(broker, delivery);
        return NULL;
    }
    return delivery;
}

static void append(struct delivery **first, struct delivery **last, struct delivery *delivery)
{
    delivery->next = NULL;
    if (*first)
        (*last)->next = delivery;
    else
        *first = delivery;
    *last = delivery;
}

static bool id_in_use(const struct flow *flow, uint16_t packet_id)
{
    for (const struct delivery *at = flow->sent; at; at = at->next)
        if (at->packet_id == packet_id)
            return true;
    return false;
}

static uint16_t next_packet_id(struct session *session)
{
    struct flow *flow = session->flow;
    if (!flow->sent)
        flow->identifiers_run = 0;
    do {
        session->last_packet_id++;
        if (session->last_packet_id == 0)
            session->last_packet_id = 1;
    } while (flow->identifiers_run >= 65534 && id_in_use(flow, session->last_packet_id));
    flow->identifiers_run++;
    return session->last_packet_id;
}

/* Takes it out of `sent` and frees it. */
static void finish(struct cloud_broker *broker, struct session *session, struct delivery *delivery)
{
    struct flow *flow = session->flow;
    struct delivery *before = NULL, *at = flow->sent;
    while (at != delivery) {
        before = at;
        at = at->next;
    }
    if (before)
        before->next = delivery->next;
    else
        flow->sent = delivery->next;
    if (flow->sent_last == delivery)
        flow->sent_last = before;
    if (flow->resend == delivery)
        flow->resend = delivery->next;
    if (delivery->on_link)
        flow->on_link--;
    broker_delivery_free(broker, delivery);
}

static void fill(struct mq5_packet *packet, const struct target *target, uint16_t packet_id)
{
    struct mq5_publish *publish = &packet->publish;
    publish->qos = target->qos;
    publish->retain = target->retain;
    publish->dup = false;
    publish->packet_id = packet_id;
    publish->properties.present &= ~(MQ5_BIT(MQ5_SUBSCRIPTION_IDENTIFIER) | MQ5_BIT(MQ5_TOPIC_ALIAS));
    publish->properties.subscription_ids = target->ids;
    publish->properties.subscription_id_count = target->id_count;
    if (target->id_count)
        publish->properties.present |= MQ5_BIT(MQ5_SUBSCRIPTION_IDENTIFIER);
}

/* A delivery that stands in `sent` goes over the link. What is too large for the client counts as delivered (3.1.2-25): false. */
static bool transmit(struct cloud_broker *broker, struct session *session, struct delivery *delivery,
                     struct mq5_packet *packet, int64_t now_us)
{
    delivery->on_link = 1;
    session->flow->on_link++;
    bool sent = broker_send_publish(broker, session->connection, now_us, packet);
    if (!sent && !(session->flags & SESSION_DEAD))
        finish(broker, session, delivery);
    return sent;
}

/* Of a reserved topic it is to be known what a client has not taken yet (cloud_broker_each_unacknowledged). */
static bool is_kept(const struct target *target, const struct mq5_publish *publish)
{
    return target->session->expiry_s > 0 || target->group || publish->topic.data[0] == '$';
}

static uint8_t send_at_once(struct cloud_broker *broker, struct routed *routed, const struct target *target)
{
    struct session *session = target->session;
    struct mq5_packet packet;
    struct flow *flow = flow_of(broker, session);
    struct delivery *delivery = flow ? delivery_make(broker, routed, target, is_kept(target, routed->publish)) : NULL;
    if (!delivery) {
        free_if_empty(broker, session);
        broker->counts.dropped++;
        return MQ5_QUOTA_EXCEEDED;
    }
    delivery->packet_id = next_packet_id(session);
    delivery->state = DELIVERY_SENT;
    append(&flow->sent, &flow->sent_last, delivery);
    packet.publish = *routed->publish;
    fill(&packet, target, delivery->packet_id);
    bool sent = transmit(broker, session, delivery, &packet, routed->now_us);
    if (!(session->flags & SESSION_DEAD))
        free_if_empty(broker, session);
    return sent ? MQ5_SUCCESS : MQ5_PACKET_TOO_LARGE;
}

static bool room_in_queue(struct cloud_broker *broker, struct session *session, int64_t now_us)
{
    struct flow *flow = session->flow;
    if (flow && flow->queued_count >= broker->options.maximum_queued_per_session) {
        broker_flow_purge(broker, session, now_us);
        flow = session->flow;
    }
    return (!flow || flow->queued_count < broker->options.maximum_queued_per_session) &&
           broker->queued_bytes < broker->options.maximum_queued_bytes;
}

static void count_queued(struct cloud_broker *broker, struct flow *flow, const struct delivery *delivery, bool in)
{
    uint64_t bytes = sizeof(*delivery) + delivery->message->size;
    flow->queued_count += in ? 1 : -1u;
    broker->queued_messages += in ? 1 : -UINT64_C(1);
    broker->queued_bytes += in ? bytes : -bytes;
}

static uint8_t enqueue(struct cloud_broker *broker, struct routed *routed, const struct target *target)
{
    struct session *session = target->session;
    struct delivery *delivery = NULL;
    if (room_in_queue(broker, session, routed->now_us) && flow_of(broker, session))
        delivery = delivery_make(broker, routed, target, true);
    if (!delivery) {
        free_if_empty(broker, session);
        broker->counts.dropped++;
        return MQ5_QUOTA_EXCEEDED;
    }
    struct flow *flow = session->flow;
    append(&flow->queued, &flow->queued_last, delivery);
    count_queued(broker, flow, delivery, true);
    int64_t expires_us = broker_message_expires_us(delivery->message);
    if (expires_us < flow->next_expiry_us) {
        flow->next_expiry_us = expires_us;
        broker_session_rearm(broker, session); /* if there is no memory it expires when its turn comes */
    }
    return MQ5_SUCCESS;
}

/* Nothing of it is to be changed for this reader, so that it need not be copied. */
static bool same_as_sent(const struct mq5_publish *publish, const struct target *target)
{
    return target->id_count == 0 && publish->qos == target->qos && publish->retain == target->retain && !publish->dup &&
           publish->packet_id == 0 &&
           !(publish->properties.present & (MQ5_BIT(MQ5_SUBSCRIPTION_IDENTIFIER) | MQ5_BIT(MQ5_TOPIC_ALIAS)));
}

static bool may_receive(struct cloud_broker *broker, struct cloud_connection *connection, struct span topic)
{
    return broker->ops.authorise_receive(broker->context, broker_client_id(connection->session),
                                         broker_peer(broker, connection), topic);
}

/* Nothing is before it: it need not wait in the queue. */
static bool goes_at_once(const struct flow *flow, const struct cloud_connection *connection)
{
    return !flow || (!flow->resend && !flow->queued && flow->on_link < window_of(connection));
}

/* To a client, there or away. A reason code for who asks; what waits is asked about when it is sent. */
static uint8_t deliver_to_client(struct cloud_broker *broker, struct routed *routed, const struct target *target)
{
    struct session *session = target->session;
    struct cloud_connection *connection = broker_link_of(session);
    if (broker->ops.authorise_receive && connection && (target->qos == 0 || goes_at_once(session->flow, connection))) {
        if (!may_receive(broker, connection, routed->publish->topic))
            return MQ5_NOT_AUTHORIZED;
        if (session->flags & SESSION_DEAD)
            return MQ5_NO_MATCHING_SUBSCRIBERS;
        connection = broker_link_of(session);
    }
    if (target->qos == 0) {
        if (!connection)
            return MQ5_NO_MATCHING_SUBSCRIBERS; /* not kept for whom is away */
        struct mq5_packet packet;
        packet.publish = *routed->publish;
        fill(&packet, target, 0);
        return broker_send_publish(broker, connection, routed->now_us, &packet) ? MQ5_SUCCESS : MQ5_PACKET_TOO_LARGE;
    }
    if (connection && goes_at_once(session->flow, connection))
        return send_at_once(broker, routed, target);
    if (connection || session->expiry_s)
        return enqueue(broker, routed, target);
    return MQ5_NO_MATCHING_SUBSCRIBERS;
}

void broker_deliver(struct cloud_broker *broker, struct routed *routed, const struct target *target)
{
    struct session *session = target->session;
    if (session->flags & SESSION_DEAD)
        return;
    if (session->flags & SESSION_LOCAL) {
        if (same_as_sent(routed->publish, target)) {
            broker_local_deliver(broker, session, routed->now_us, routed->publish);
            return;
        }
        struct mq5_packet packet;
        packet.publish = *routed->publish;
        fill(&packet, target, 0);
        broker_local_deliver(broker, session, routed->now_us, &packet.publish);
        return;
    }
    deliver_to_client(broker, routed, target);
}

uint8_t cloud_broker_deliver(struct cloud_broker *broker, int64_t now_us, struct span client_id,
                             const struct mq5_publish *message)
{
    struct session *session = broker_session_find(broker, client_id);
    if (!mq5_topic_name_valid(message->topic))
        return MQ5_TOPIC_NAME_INVALID;
    if (message->qos > 1)
        return MQ5_QOS_NOT_SUPPORTED;
    if (!session || !broker_link_of(session))
        return MQ5_NO_MATCHING_SUBSCRIBERS;
    struct routed routed = {now_us, message, NULL};
    struct target target = {.session = session, .qos = message->qos};
    broker_enter(broker);
    uint8_t reason = deliver_to_client(broker, &routed, &target);
    broker_message_release(broker, routed.stored);
    broker_leave(broker);
    return reason;
}

static void visit_all(const struct delivery *list, void (*visit)(void *context, struct span topic), void *context)
{
    for (; list; list = list->next)
        if (list->message) {
            struct mq5_publish view;
            broker_message_view(list->message, list->message->published_us, &view);
            visit(context, view.topic);
        }
}

void cloud_broker_each_unacknowledged(const struct cloud_broker *broker, struct span client_id,
                                      void (*visit)(void *context, struct span topic), void *context)
{
    const struct session *session = broker_session_find(broker, client_id);
    if (!session || !session->flow)
        return;
    visit_all(session->flow->sent, visit, context);
    visit_all(session->flow->queued, visit, context);
}

static void send_stored(struct cloud_broker *broker, struct session *session, struct delivery *delivery, int64_t now_us,
                        bool again)
{
    struct mq5_packet packet;
    struct target target = {.ids = delivery->id_count > 1 ? delivery->ids : &delivery->id,
                            .id_count = delivery->id_count,
                            .qos = delivery->qos,
                            .retain = delivery->retain};
    broker_message_view(delivery->message, now_us, &packet.publish);
    fill(&packet, &target, delivery->packet_id);
    packet.publish.dup = again;
    transmit(broker, session, delivery, &packet, now_us);
}

static struct delivery *unqueue(struct cloud_broker *broker, struct flow *flow)
{
    struct delivery *delivery = flow->queued;
    flow->queued = delivery->next;
    count_queued(broker, flow, delivery, false);
    return delivery;
}

static void send_next(struct cloud_broker *broker, struct session *session, int64_t now_us)
{
    struct flow *flow = session->flow;
    struct delivery *delivery = unqueue(broker, flow);
    if (broker_message_expires_us(delivery->message) <= now_us) { /* 3.3.2-5 */
        broker_delivery_free(broker, delivery);
        broker->counts.dropped++;
        return;
    }
    delivery->packet_id = next_packet_id(session);
    delivery->state = DELIVERY_SENT;
    append(&flow->sent, &flow->sent_last, delivery);
    send_stored(broker, session, delivery, now_us, false);
}

static void resend_next(struct cloud_broker *broker, struct session *session, int64_t now_us)
{
    struct flow *flow = session->flow;
    struct delivery *delivery = flow->resend;
    flow->resend = delivery->next;
    if (delivery->state == DELIVERY_SENT) {
        send_stored(broker, session, delivery, now_us, true);
        return;
    }
    delivery->on_link = 1;
    flow->on_link++;
    broker_send_ack(broker, session->connection, now_us, MQ5_PUBREL, delivery->packet_id, MQ5_SUCCESS);
}

/* PUBREL needs no room in the window; a PUBLISH does. */
static bool may_send(const struct session *session)
{
    const struct flow *flow = session->flow;
    if (!flow || !broker_link_of(session))
        return false;
    if (flow->resend && flow->resend->state == DELIVERY_RELEASED)
        return true;
    return (flow->resend || flow->queued) && flow->on_link < window_of(session->connection);
}

/* Asks about what is to be sent next, while it stands where it is: the hook may end the link, or what waits may expire under it. A denied one
 * is done with. true: it may be sent. */
static bool next_may_be_sent(struct cloud_broker *broker, struct session *session, struct cloud_connection *connection)
{
    struct delivery *delivery = session->flow->resend ? session->flow->resend : session->flow->queued;
    struct message *message = delivery->message;
    if (delivery->state == DELIVERY_RELEASED)
        return true;
    message->references++;
    bool allowed = may_receive(broker, connection, span_of(message->bytes, message->topic_length));
    struct flow *flow = session->flow;
    const struct delivery *next = flow ? (flow->resend ? flow->resend : flow->queued) : NULL;
    bool stands = next == delivery && next->message == message && broker_link_of(session) == connection;
    broker_message_release(broker, message);
    if (!stands || allowed)
        return stands;
    if (flow->resend)
        finish(broker, session, delivery);
    else
        broker_delivery_free(broker, unqueue(broker, flow));
    return false;
}

void broker_flow_drain(struct cloud_broker *broker, struct session *session, int64_t now_us)
{
    struct cloud_connection *connection = broker_link_of(session);
    if (!connection || (connection->flags & LINK_DRAINING))
        return;
    connection->flags |= LINK_DRAINING;
    while (broker_link_of(session) == connection && may_send(session)) {
        if (broker->ops.authorise_receive && !next_may_be_sent(broker, session, connection))
            continue;
        if (session->flow->resend)
            resend_next(broker, session, now_us);
        else
            send_next(broker, session, now_us);
    }
    connection->flags &= ~LINK_DRAINING;
    if (!(session->flags & SESSION_DEAD))
        free_if_empty(broker, session);
}

void broker_flow_link_lost(struct session *session)
{
    struct flow *flow = session->flow;
    if (!flow)
        return;
    for (struct delivery *at = flow->sent; at; at = at->next)
        at->on_link = 0;
    flow->on_link = 0;
    flow->resend = flow->sent;
}

void broker_flow_purge(struct cloud_broker *broker, struct session *session, int64_t now_us)
{
    struct flow *flow = session->flow;
    struct delivery *list = flow->queued;
    flow->queued = NULL;
    flow->next_expiry_us = TIME_NEVER;
    while (list) {
        struct delivery *delivery = list;
        list = delivery->next;
        int64_t expires_us = broker_message_expires_us(delivery->message);
        if (expires_us <= now_us) {
            count_queued(broker, flow, delivery, false);
            broker_delivery_free(broker, delivery);
            broker->counts.dropped++;
            continue;
        }
        if (expires_us < flow->next_expiry_us)
            flow->next_expiry_us = expires_us;
        append(&flow->queued, &flow->queued_last, delivery);
    }
    free_if_empty(broker, session);
}

/* A shared message that this session was given and may not have had (4.8.2): QoS 2 under way stays with whom it was sent to. */
static bool owed_to_others(const struct delivery *delivery)
{
    if (!delivery->group || !delivery->message)
        return false;
    return delivery->state == DELIVERY_QUEUED || delivery->qos == 1;
}

struct delivery *broker_flow_clear(struct cloud_broker *broker, struct session *session)
{
    struct flow *flow = session->flow;
    struct delivery *owed = NULL, *owed_last = NULL;
    if (!flow)
        return NULL;
    while (flow->queued)
        append(&flow->sent, &flow->sent_last, unqueue(broker, flow));
    while (flow->sent) {
        struct delivery *delivery = flow->sent;
        flow->sent = delivery->next;
        if (owed_to_others(delivery))
            append(&owed, &owed_last, delivery);
        else
            broker_delivery_free(broker, delivery);
    }
    broker_memory_put(broker, flow, sizeof(*flow));
    session->flow = NULL;
    return owed;
}

/* --- acknowledgements --- */

static struct delivery *find_sent(const struct session *session, uint16_t packet_id)
{
    struct delivery *at = session->flow ? session->flow->sent : NULL;
    while (at && at->packet_id != packet_id)
        at = at->next;
    return at;
}

static bool fits_state(const struct delivery *delivery, uint8_t type)
{
    if (type == MQ5_PUBACK)
        return delivery->qos == 1;
    return delivery->qos == 2 && (type == MQ5_PUBREC || delivery->state == DELIVERY_RELEASED);
}

static void release(struct cloud_broker *broker, struct cloud_connection *connection, int64_t now_us,
                    struct delivery *delivery)
{
    delivery->state = DELIVERY_RELEASED;
    broker_message_release(broker, delivery->message); /* 4.3.3-6: never sent again */
    delivery->message = NULL;
    broker_send_ack(broker, connection, now_us, MQ5_PUBREL, delivery->packet_id, MQ5_SUCCESS);
}

void broker_handle_ack(struct cloud_broker *broker, struct cloud_connection *connection, int64_t now_us,
                       const struct mq5_packet *packet)
{
    struct session *session = connection->session;
    const struct mq5_ack *ack = &packet->ack;
    struct delivery *delivery = find_sent(session, ack->packet_id);
    if (!delivery) {
        if (packet->type == MQ5_PUBREC && ack->reason < 0x80)
            broker_send_ack(broker, connection, now_us, MQ5_PUBREL, ack->packet_id, MQ5_PACKET_ID_NOT_FOUND);
        return;
    }
    if (!fits_state(delivery, packet->type)) {
        broker_link_fail(broker, connection, now_us, MQ5_PROTOCOL_ERROR, "acknowledgement does not fit the message",
                         CLOUD_CLOSED_CLIENT_ERROR);
        return;
    }
    if (packet->type == MQ5_PUBREC && ack->reason < 0x80) {
        release(broker, connection, now_us, delivery);
        return;
    }
    finish(broker, session, delivery);
    if (session->flow->resend || session->flow->queued)
        broker_flow_drain(broker, session, now_us);
    else
        free_if_empty(broker, session);
}
