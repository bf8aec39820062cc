/* session.c: the MQTT client under the agent: the session of vehicle/mqtt5 on the port's links, which lies right behind struct tcu, or
 * another library behind struct tcu_mqtt. */
#include "agent_internal.h"

enum { STREAM_DEFAULT = 1024, STREAM_MAX = 4096, ALIAS_TOPIC = 96 };

/* A cut packet must fit, or a message that arrives in pieces would end every connection anew. */
uint32_t agent_session_stream_bytes(const struct tcu_profile *profile)
{
    uint32_t largest = profile->mqtt.maximum_packet_size;
    if (largest == 0)
        return profile->shadow ? STREAM_MAX : STREAM_DEFAULT; /* a shadow's document is up to 8 KiB, but seldom */
    return largest < STREAM_MAX ? largest : STREAM_MAX;
}

uint32_t agent_session_alias_bytes(const struct tcu_profile *profile)
{
    return (uint32_t)profile->mqtt.topic_alias_maximum * ALIAS_TOPIC;
}

static struct tcu *owner(struct mq5_client *client)
{
    return (struct tcu *)(void *)client - 1;
}

static void session_send(struct mq5_client *client, const uint8_t *data, size_t length)
{
    struct tcu *tcu = owner(client);
    tcu->port->link_send(tcu->port_context, data, length);
}

static void session_event(struct mq5_client *client, const struct mq5_client_event *event)
{
    struct tcu *tcu = owner(client);
    tcu_mqtt_event(tcu, tcu->now_us, event);
}

static bool session_load(struct mq5_client *client, uint32_t token, struct mq5_publish *out)
{
    return agent_load(owner(client), token, out);
}

static bool session_inbound(struct mq5_client *client, const struct mq5_packet *packet)
{
    const struct tcu *tcu = owner(client);
    return !tcu->port->inbound || tcu->port->inbound(tcu->port_context, packet);
}

static void *session_take(struct mq5_client *client, size_t size)
{
    const struct tcu *tcu = owner(client);
    return tcu->port->memory_take(tcu->port_context, size);
}

static void session_give(struct mq5_client *client, void *block, size_t size)
{
    const struct tcu *tcu = owner(client);
    tcu->port->memory_give(tcu->port_context, block, size);
}

const struct mq5_client_ops agent_session_ops = {
    .send = session_send,
    .event = session_event,
    .load = session_load,
    .inbound = session_inbound,
    .memory_take = session_take,
    .memory_give = session_give,
};

void agent_session_init(struct tcu *tcu, void *memory)
{
    mq5_client_init(agent_session(tcu), &tcu->profile->mqtt, memory);
}

static void close_link(struct tcu *tcu, bool abort)
{
    mq5_client_link_down(agent_session(tcu), tcu->now_us);
    if (tcu->link_opened)
        tcu->port->link_close(tcu->port_context, abort);
    tcu->link_opened = 0;
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

/* ---- what the rest of the agent asks for ---- */

/* What the CONNECT says is put together again when the link is up: until then nobody needs to keep it. */
void agent_mqtt_connect(struct tcu *tcu)
{
    if (tcu->builtin) {
        tcu->link_opened = 1;
        tcu->port->link_open(tcu->port_context, (enum tcu_identity)tcu->identity);
        return;
    }
    const struct agent_other *other = agent_other(tcu);
    struct mq5_client_connect connect;
    struct mq5_publish will;
    char buffer[AGENT_CONNECT_BYTES];
    agent_connect_fill(tcu, &connect, &will, buffer);
    other->mqtt->connect(other->context, tcu->now_us, (enum tcu_identity)tcu->identity, &connect);
}

enum mq5_client_result agent_mqtt_publish(struct tcu *tcu, uint32_t token, uint8_t alias_slot)
{
    if (tcu->builtin)
        return mq5_client_publish(agent_session(tcu), tcu->now_us, token, alias_slot);
    return agent_other(tcu)->mqtt->publish(agent_other(tcu)->context, tcu->now_us, token, alias_slot);
}

enum mq5_client_result agent_mqtt_subscribe(struct tcu *tcu, uint32_t token, const struct mq5_subscription *list,
                                            uint32_t count)
{
    if (tcu->builtin)
        return mq5_client_subscribe(agent_session(tcu), tcu->now_us, token, list, count, 0);
    return agent_other(tcu)->mqtt->subscribe(agent_other(tcu)->context, tcu->now_us, token, list, count);
}

void agent_mqtt_disconnect(struct tcu *tcu, uint8_t reason)
{
    if (!tcu->builtin) {
        agent_other(tcu)->mqtt->disconnect(agent_other(tcu)->context, tcu->now_us, reason);
        return;
    }
    struct mq5_client *client = agent_session(tcu);
    bool of_state = tcu->profile->power[tcu->power].session_expiry_s > 0 && mq5_client_session_expiry(client) > 0;
    mq5_client_disconnect(client, tcu->now_us, reason,
                          of_state ? agent_session_expiry(tcu) : mq5_client_session_expiry(client));
    close_link(tcu, false);
}

/* Out of a packet or a time-out of the session's there may be a DISCONNECT that says why: let that one leave. */
void agent_mqtt_abort(struct tcu *tcu)
{
    if (tcu->builtin)
        close_link(tcu, !tcu->in_session);
    else
        agent_other(tcu)->mqtt->abort(agent_other(tcu)->context, tcu->now_us);
}

void agent_mqtt_ping_interval(struct tcu *tcu, uint16_t seconds)
{
    if (tcu->builtin)
        mq5_client_ping_interval(agent_session(tcu), tcu->now_us, seconds);
    else if (agent_other(tcu)->mqtt->ping_interval)
        agent_other(tcu)->mqtt->ping_interval(agent_other(tcu)->context, tcu->now_us, seconds);
}

void agent_mqtt_tick(struct tcu *tcu)
{
    if (tcu->builtin && tcu->now_us < mq5_client_next_deadline(agent_session(tcu)))
        return;
    if (tcu->builtin)
        mq5_client_tick(agent_session(tcu), tcu->now_us);
    else if (agent_other(tcu)->mqtt->tick)
        agent_other(tcu)->mqtt->tick(agent_other(tcu)->context, tcu->now_us);
}

int64_t agent_other_next_deadline(const struct tcu *tcu)
{
    const struct agent_other *other = agent_other(tcu);
    return other->mqtt->next_deadline ? other->mqtt->next_deadline(other->context) : TIME_NEVER;
}
