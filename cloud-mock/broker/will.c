/* will.c: the message a client leaves behind (3.1.2.5, 3.1.3.2). It belongs to the session and is published at most once. */
#include "internal.h"

static void put_away(struct cloud_broker *broker, struct will *will)
{
    broker_message_release(broker, will->message);
    broker_memory_put(broker, will, sizeof(*will));
}

bool broker_will_set(struct cloud_broker *broker, struct session *session, int64_t now_us,
                     const struct mq5_connect *connect)
{
    if (!connect->has_will) {
        broker_will_discard(broker, session);
        return true;
    }
    struct mq5_publish publish = {.qos = connect->will_qos,
                                  .retain = connect->will_retain,
                                  .topic = connect->will_topic,
                                  .payload = connect->will_payload,
                                  .properties = connect->will_properties};
    struct session_more *more = broker_session_more(broker, session);
    struct will *will = more ? broker_memory_get_clear(broker, sizeof(*will)) : NULL;
    struct message *message = will ? broker_message_create(broker, now_us, &publish) : NULL;
    if (!message) {
        broker_memory_put(broker, will, sizeof(*will));
        broker_session_less(broker, session);
        return false;
    }
    will->message = message;
    will->due_us = TIME_NEVER;
    if (connect->will_properties.present & MQ5_BIT(MQ5_WILL_DELAY_INTERVAL))
        will->delay_s = connect->will_properties.will_delay_s;
    if (more->will)
        put_away(broker, more->will);
    more->will = will;
    return true;
}

void broker_will_discard(struct cloud_broker *broker, struct session *session)
{
    struct will *will = broker_will_of(session);
    if (!will)
        return;
    session->more->will = NULL;
    broker_session_less(broker, session);
    put_away(broker, will);
}

void broker_will_publish(struct cloud_broker *broker, struct session *session, int64_t now_us)
{
    struct will *will = broker_will_of(session);
    if (!will)
        return;
    session->more->will = NULL; /* first: whoever reads it may call back */
    broker_session_less(broker, session);
    struct mq5_publish publish;
    will->message->published_us = now_us; /* its expiry counts from here (3.1.3.2.4) */
    broker_message_view(will->message, now_us, &publish);
    broker_route(broker, now_us, &publish, session, 0);
    put_away(broker, will);
}
