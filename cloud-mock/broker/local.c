/* local.c: services in the same process: a session without bytes, always there, whose messages go to a function. */
#include "internal.h"

struct cloud_local *cloud_broker_attach(struct cloud_broker *broker, struct span client_id, cloud_deliver *deliver,
                                        void *context)
{
    struct cloud_local *local = broker_memory_get_clear(broker, sizeof(*local));
    struct session *session = local ? broker_session_create(broker, client_id, true) : NULL;
    if (!session) {
        broker_memory_put(broker, local, sizeof(*local));
        return NULL;
    }
    *local = (struct cloud_local){broker, session, deliver, context, broker->locals, NULL};
    session->local = local;
    if (broker->locals)
        broker->locals->previous = local;
    broker->locals = local;
    return local;
}

void cloud_local_detach(struct cloud_local *local)
{
    struct cloud_broker *broker = local->broker;
    if (local->previous)
        local->previous->next = local->next;
    else
        broker->locals = local->next;
    if (local->next)
        local->next->previous = local->previous;
    broker_enter(broker);
    broker_session_end(broker, local->session, 0); /* nothing of it depends on time: no will, no queue */
    broker_leave(broker);
    broker_memory_put(broker, local, sizeof(*local));
}

uint8_t cloud_local_subscribe(struct cloud_local *local, int64_t now_us, struct span filter, uint8_t qos)
{
    struct cloud_broker *broker = local->broker;
    struct span name, rest;
    bool is_new;
    if (!mq5_topic_filter_valid(filter))
        return MQ5_TOPIC_FILTER_INVALID;
    broker_enter(broker);
    uint8_t reason = broker_subscription_set(broker, local->session, filter, qos, 0, &is_new);
    if (reason < 0x80 && !mq5_topic_share_split(filter, &name, &rest))
        broker_retained_send(broker, now_us, local->session, filter);
    broker_leave(broker);
    return reason;
}

void cloud_local_unsubscribe(struct cloud_local *local, struct span filter)
{
    broker_subscription_remove(local->broker, local->session, filter);
}

uint8_t cloud_local_publish(struct cloud_local *local, int64_t now_us, const struct mq5_publish *message)
{
    struct cloud_broker *broker = local->broker;
    if (!mq5_topic_name_valid(message->topic))
        return MQ5_TOPIC_NAME_INVALID;
    broker_enter(broker);
    broker->counts.publishes_in++;
    uint8_t reason = broker_route(broker, now_us, message, local->session, 0);
    broker_leave(broker);
    return reason;
}

void broker_local_deliver(struct cloud_broker *broker, struct session *session, int64_t now_us,
                          const struct mq5_publish *publish)
{
    struct cloud_local *local = session->local;
    broker->counts.publishes_out++;
    local->deliver(local->context, now_us, publish);
}
