/* mutants_refused.c: what a broker's policy does not let through, as it should be (an oddity uses it, too) and not. */
#include "mutant.h"

#define WINDOW 20

static const struct span stranger = SPAN_LITERAL("stranger"), forbidden = SPAN_LITERAL("forbidden");

static bool refuse_login(struct link *link, const struct mq5_connect *connect)
{
    bool id = span_equal(connect->client_id, stranger);
    if (connect->version != MQ5_V5 || (!id && !(connect->has_user_name && span_equal(connect->user_name, stranger))))
        return true;
    uint8_t reason = id ? MQ5_CLIENT_IDENTIFIER_NOT_VALID : MQ5_BAD_USER_NAME_OR_PASSWORD;
    to_client(link, &(struct mq5_packet){.type = MQ5_CONNACK, .connack = {.reason = reason}});
    return hang_up(link);
}

static bool refuse_message(struct link *link, const struct mq5_publish *publish)
{
    if (!span_equal(publish->topic, forbidden))
        return true;
    if (publish->qos)
        ack_to_client(link, publish->qos == 1 ? MQ5_PUBACK : MQ5_PUBREC, publish->packet_id, MQ5_NOT_AUTHORIZED);
    return false;
}

/* The core has a code for what is no filter. */
static bool refuse_filters(struct link *link, struct seen *seen)
{
    bool any = false;
    struct mq5_subscription *list = filters_of(link, seen);
    for (uint32_t i = 0; i < seen->packet.subscribe.count; i++)
        if (span_equal(list[i].filter, forbidden)) {
            list[i].filter = SPAN_LITERAL("#/forbidden");
            any = true;
        }
    return any ? edited(link, seen) : true;
}

bool refuse_some(struct link *link, struct seen *seen)
{
    if (is(seen, MQ5_CONNECT))
        return refuse_login(link, &seen->packet.connect);
    if (is(seen, MQ5_PUBLISH))
        return refuse_message(link, &seen->packet.publish);
    return is(seen, MQ5_SUBSCRIBE) ? refuse_filters(link, seen) : true;
}

/* ---- and not as it should be ---------------------------------------------------------------------------------------------- */

static bool refused_spoils_all(struct link *link, struct seen *seen)
{
    bool any = false;
    struct mq5_subscription *list = is(seen, MQ5_SUBSCRIBE) ? filters_of(link, seen) : NULL;
    for (uint32_t i = 0; list && i < seen->packet.subscribe.count; i++)
        any |= span_equal(list[i].filter, forbidden);
    for (uint32_t i = 0; any && i < seen->packet.subscribe.count; i++)
        list[i].filter = forbidden;
    return refuse_some(link, seen);
}

static bool refused_stands_last(struct link *link, struct seen *seen)
{
    if (!is(seen, MQ5_SUBACK))
        return true;
    struct span reasons = scratch_copy(link->served, seen->packet.suback.reasons);
    uint8_t *at = (uint8_t *)reasons.data;
    for (uint32_t i = 0; i + 1 < reasons.length; i++)
        if (at[i] >= 0x80) {
            uint8_t refused = at[i];
            at[i] = at[i + 1];
            at[i + 1] = refused;
        }
    seen->packet.suback.reasons = reasons;
    return edited(link, seen);
}

static void window(struct cloud_broker_options *options)
{
    options->receive_maximum = WINDOW;
}

/* Of the messages with this QoS. */
static bool refused_is_in_flight(struct link *link, struct seen *seen)
{
    bool counts = is(seen, MQ5_PUBLISH) && seen->packet.publish.qos == mutant_of(link)->number &&
                  span_equal(seen->packet.publish.topic, forbidden);
    if (!counts || ++link->n[0] <= WINDOW)
        return refuse_some(link, seen);
    to_client(link,
              &(struct mq5_packet){.type = MQ5_DISCONNECT, .disconnect = {.reason = MQ5_RECEIVE_MAXIMUM_EXCEEDED}});
    return hang_up(link);
}

static bool refused_login_is_let_in(struct link *link, struct seen *seen)
{
    return is(seen, MQ5_CONNECT) ? true : refuse_some(link, seen);
}

/* CONNACK says no, and nothing more happens. */
static bool refused_stays(struct link *link, struct seen *seen)
{
    if (!is(seen, MQ5_CONNECT) || !span_equal(seen->packet.connect.client_id, stranger))
        return refuse_some(link, seen);
    link->ghost = true;
    to_client(link, &(struct mq5_packet){.type = MQ5_CONNACK, .connack = {.reason = MQ5_CLIENT_IDENTIFIER_NOT_VALID}});
    return false;
}

MUTANT_TABLE(mutants_refused,
             {.name = "a filter that is refused spoils the others",
              .statement = "MQTT-3.8.4-5",
              .in = refused_spoils_all,
              .told = REFUSED},
             {.name = "the code of a filter that is refused stands last",
              .statement = "MQTT-3.9.3-1",
              .in = refuse_some,
              .out = refused_stands_last,
              .told = REFUSED},
             {.name = "messages of QoS 1 that are refused count as in flight",
              .statement = "S3.3.4a",
              .options = window,
              .in = refused_is_in_flight,
              .told = REFUSED,
              .number = 1},
             {.name = "messages of QoS 2 that are refused count as in flight",
              .statement = "S3.3.4a",
              .options = window,
              .in = refused_is_in_flight,
              .told = REFUSED,
              .number = 2},
             {.name = "a login that should be refused is let in",
              .statement = "MQTT-3.1.4-2",
              .in = refused_login_is_let_in,
              .told = REFUSED},
             {.name = "a client identifier that is refused leaves the connection open",
              .statement = "MQTT-3.1.3-8",
              .in = refused_stays,
              .told = REFUSED}, )
