/* session.c: struct tcu_mqtt on the MQTT session of vehicle/mqtt5 and the port's links. Its context is the TCU
 * itself. */
#include "agent_internal.h"

enum { STREAM_DEFAULT = 1024, STREAM_MAX = 4096, ALIAS_TOPIC = 96 };

/* A cut packet must fit, or a message that arrives in pieces would end every connection anew. */
static uint32_t stream_bytes(const struct tcu_profile *profile)
{
    uint32_t largest = profile->mqtt.maximum_packet_size;
    if (largest == 0)
        return STREAM_DEFAULT;
    return largest < STREAM_MAX ? largest : STREAM_MAX;
}

static uint32_t alias_bytes(const struct tcu_profile *profile)
{
    return (uint32_t)profile->mqtt.topic_alias_maximum * ALIAS_TOPIC;
}

size_t agent_session_bytes(const struct tcu_profile *profile)
{
    return sizeof(struct mq5_client) +
           mq5_client_memory(&profile->mqtt, false, alias_bytes(profile), stream_bytes(profile));
}

static void session_send(void *context, const uint8_t *data, size_t length)
{
    struct tcu *tcu = context;
    tcu->port->link_send(tcu->port_context, data, length);
}

static void session_event(void *context, const struct mq5_client_event *event)
{
    struct tcu *tcu = context;
    tcu_mqtt_event(tcu, tcu->now_us, event);
}

static bool session_load(void *context, uint32_t token, struct mq5_publish *out)
{
    return tcu_mqtt_load(context, token, out);
}

static bool session_inbound(void *context, const struct mq5_packet *packet)
{
    struct tcu *tcu = context;
    return tcu->port->inbound(tcu->port_context, packet);
}

static const struct mq5_client_ops plain_ops = {session_send, session_event, session_load, NULL};
static const struct mq5_client_ops watched_ops = {session_send, session_event, session_load, session_inbound};

void agent_session_init(struct tcu *tcu)
{
    const struct tcu_profile *profile = tcu->profile;
    struct mq5_client *client = agent_session(tcu);
    mq5_client_init(client, &profile->mqtt, tcu->port->inbound ? &watched_ops : &plain_ops, tcu, client + 1, false,
                    alias_bytes(profile), stream_bytes(profile));
}

static void close_link(struct tcu *tcu, bool abort)
{
    mq5_client_link_down(agent_session(tcu), tcu->now_us);
    if (tcu->link_opened)
        tcu->port->link_close(tcu->port_context, abort);
    tcu->link_opened = 0;
}

/* What the CONNECT says is put together again when the link is up: until then nobody needs to keep it. */
static void session_connect(void *mqtt, int64_t now_us, enum tcu_identity identity,
                            const struct mq5_client_connect *connect)
{
    struct tcu *tcu = mqtt;
    tcu->link_opened = 1;
    tcu->port->link_open(tcu->port_context, identity);
}

void agent_session_link_up(struct tcu *tcu)
{
    struct mq5_client *client = agent_session(tcu);
    struct mq5_client_connect connect;
    struct mq5_publish will;
    char buffer[AGENT_CONNECT_BYTES];
    if (client->state != MQ5C_IDLE || !tcu->link_opened)
        return;
    agent_connect_fill(tcu, &connect, &will, buffer);
    if (mq5_client_connect(client, tcu->now_us, &connect) != MQ5_OK)
        agent_enter(tcu, AGENT_REFUSED, MQ5_IMPLEMENTATION_SPECIFIC_ERROR, 0);
}

void agent_session_link_down(struct tcu *tcu)
{
    if (tcu->link_opened) {
        tcu->link_opened = 0;
        mq5_client_link_down(agent_session(tcu), tcu->now_us);
    }
}

void agent_session_input(struct tcu *tcu, const uint8_t *data, size_t length)
{
    if (!tcu->link_opened)
        return;
    tcu->in_session = 1;
    mq5_client_input(agent_session(tcu), tcu->now_us, data, length);
    tcu->in_session = 0;
}

static enum mq5_client_result session_publish(void *mqtt, int64_t now_us, uint32_t token, uint8_t alias_slot)
{
    return mq5_client_publish(agent_session(mqtt), now_us, token, alias_slot);
}

static enum mq5_client_result session_subscribe(void *mqtt, int64_t now_us, uint32_t token,
                                                const struct mq5_subscription *list, uint32_t count)
{
    return mq5_client_subscribe(agent_session(mqtt), now_us, token, list, count, 0);
}

static void session_disconnect(void *mqtt, int64_t now_us, uint8_t reason)
{
    struct mq5_client *client = agent_session(mqtt);
    mq5_client_disconnect(client, now_us, reason, mq5_client_session_expiry(client));
    close_link(mqtt, false);
}

/* Out of a packet or a time-out of the session's there may be a DISCONNECT that says why: let that one leave. */
static void session_abort(void *mqtt, int64_t now_us)
{
    struct tcu *tcu = mqtt;
    close_link(tcu, !tcu->in_session);
}

static void session_ping_interval(void *mqtt, int64_t now_us, uint16_t seconds)
{
    mq5_client_ping_interval(agent_session(mqtt), now_us, seconds);
}

static void session_tick(void *mqtt, int64_t now_us)
{
    mq5_client_tick(agent_session(mqtt), now_us);
}

static int64_t session_next_deadline(void *mqtt)
{
    return mq5_client_next_deadline(agent_session(mqtt));
}

const struct tcu_mqtt agent_session_mqtt = {
    .connect = session_connect,
    .publish = session_publish,
    .subscribe = session_subscribe,
    .disconnect = session_disconnect,
    .abort = session_abort,
    .ping_interval = session_ping_interval,
    .tick = session_tick,
    .next_deadline = session_next_deadline,
};
