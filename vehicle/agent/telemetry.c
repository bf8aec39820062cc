/* telemetry.c: what is measured when, and kept until acknowledged.
 *
 * Due times are absolute: a late tick makes up for what it missed, each message with the time it was meant for. The
 * queue is a ring of (number, time); first come those in flight, in the order they were sent, then the unsent, in
 * the order of their numbers. A payload exists only while it is being sent: the port gives the same body for the
 * same number again. */
#include "agent_internal.h"

enum { NUMBERS_RESERVED = 256, TELEMETRY_ALIAS = 1 };

/* Those before the position move up: they are in flight, so they are few, and mostly there are none. */
static void remove_at(struct tcu *tcu, unsigned position)
{
    if (position < tcu->queue_inflight)
        tcu->queue_inflight--;
    for (; position > 0; position--)
        *agent_record(tcu, position) = *agent_record(tcu, position - 1);
    tcu->queue_head = (uint16_t)(tcu->queue_head + 1 >= tcu->queue_capacity ? 0 : tcu->queue_head + 1);
    tcu->queue_count--;
}

static int find_inflight(const struct tcu *tcu, uint32_t number)
{
    for (unsigned i = 0; i < tcu->queue_inflight; i++)
        if (agent_record(tcu, i)->number == number)
            return (int)i;
    return -1;
}

/* The first report of a power state is due at once: the change itself is news. */
void agent_telemetry_schedule(struct tcu *tcu)
{
    bool wanted = tcu->profile->power[tcu->power].telemetry_period_us > 0;
    tcu->telemetry_due_us = wanted ? tcu->now_us : TIME_NEVER;
}

static void drop(struct tcu *tcu, uint32_t number, uint8_t reason)
{
    agent_tell(tcu, TCU_PROBE_TELEMETRY_DROPPED, reason, number);
}

/* true: there is room for one more. When there is no memory for a longer queue, this is how long it may be. What is in flight is never dropped: it may have arrived. */
static bool make_room(struct tcu *tcu)
{
    if (agent_queue_room(tcu))
        return true;
    if (tcu->profile->drop_rule == TCU_DROP_NEWEST || tcu->queue_inflight == tcu->queue_count)
        return false;
    uint32_t oldest = agent_record(tcu, tcu->queue_inflight)->number;
    remove_at(tcu, tcu->queue_inflight);
    drop(tcu, oldest, 0);
    return true;
}

static void intend(struct tcu *tcu, int64_t intended_us)
{
    uint32_t number = ++tcu->number;
    if (tcu->numbers_left > 0) {
        tcu->numbers_left--;
    } else {
        tcu->numbers_left = NUMBERS_RESERVED - 1;
        agent_store_save(tcu);
    }
    if (tcu->port->probe)
        agent_probe(tcu, TCU_PROBE_TELEMETRY_INTENDED, 0, number, intended_us, (struct span){NULL, 0});
    if (make_room(tcu))
        *agent_record(tcu, tcu->queue_count++) = (struct agent_record){intended_us, number, 0};
    else
        drop(tcu, number, 0);
}

void agent_telemetry_run(struct tcu *tcu)
{
    while (tcu->telemetry_due_us <= tcu->now_us) {
        intend(tcu, tcu->telemetry_due_us);
        tcu->telemetry_due_us += tcu->profile->power[tcu->power].telemetry_period_us;
    }
}

/* Counted as in flight before it is sent: at QoS 0 the session reports it as published before the call is over. */
static enum mq5_client_result publish_next(struct tcu *tcu)
{
    struct agent_record *record = agent_record(tcu, tcu->queue_inflight++);
    uint32_t number = record->number;
    bool aliased = agent_v5(tcu) && tcu->profile->alias_slots > 0 && tcu->profile->mqtt.outgoing_alias_slots > 0;
    record->sent_at = agent_stamp(tcu->now_us);
    tcu->sending = 1;
    bool known = aliased && agent_mqtt_alias_known(tcu, TELEMETRY_ALIAS);
    enum mq5_client_result result = agent_mqtt_publish(tcu, number, aliased ? TELEMETRY_ALIAS : 0);
    bool finished = !tcu->sending;
    tcu->sending = 0;
    tcu->blocked = result == MQ5C_WAIT;
    if (result == MQ5C_DONE && !finished)
        agent_tell(tcu, TCU_PROBE_TELEMETRY_SENT, 0, number);
    if (result == MQ5C_DONE && tcu->profile->count_aliases && aliased && agent_mqtt_alias_known(tcu, TELEMETRY_ALIAS))
        agent_alias_used(tcu, known, false, (uint32_t)strlen(tcu->profile->topics.telemetry) - 1 + tcu->name_length);
    if (result == MQ5C_DONE)
        return result;
    int position = find_inflight(tcu, number);
    if (position >= 0) {
        ASSERT(position == tcu->queue_inflight - 1);
        tcu->queue_inflight--;
        if (result == MQ5C_NOT_WITH_PEER || result == MQ5C_BAD) {
            remove_at(tcu, (unsigned)position);
            drop(tcu, number, (uint8_t)result);
        }
    }
    return result;
}

void agent_telemetry_pump(struct tcu *tcu)
{
    enum mq5_client_result result = MQ5C_DONE;
    while (tcu->state == TCU_ONLINE && tcu->queue_inflight < tcu->queue_count && !tcu->blocked &&
           result != MQ5C_OFFLINE)
        result = publish_next(tcu);
}

void agent_telemetry_published(struct tcu *tcu, uint32_t number, uint8_t reason)
{
    int position = find_inflight(tcu, number);
    if (position < 0)
        return; /* of a life before the power cut */
    int64_t intended_us = agent_record(tcu, (unsigned)position)->intended_us;
    remove_at(tcu, (unsigned)position);
    if (tcu->sending)
        agent_tell(tcu, TCU_PROBE_TELEMETRY_SENT, 0, number);
    tcu->sending = 0;
    if (tcu->port->probe)
        agent_probe(tcu, TCU_PROBE_TELEMETRY_ACKED, reason, number, intended_us, (struct span){NULL, 0});
}

/* The session gave it up: it goes back among the unsent, where its number belongs. */
void agent_telemetry_dropped(struct tcu *tcu, uint32_t number)
{
    int position = find_inflight(tcu, number);
    if (position < 0)
        return;
    struct agent_record record = *agent_record(tcu, (unsigned)position);
    unsigned at = (unsigned)position;
    tcu->queue_inflight--;
    for (; at + 1 < tcu->queue_count; at++) {
        if (at >= tcu->queue_inflight && agent_record(tcu, at + 1)->number > number)
            break;
        *agent_record(tcu, at) = *agent_record(tcu, at + 1);
    }
    *agent_record(tcu, at) = record;
}

/* Scratch: the topic, the payload. */
static struct span payload(const struct tcu *tcu, const struct agent_record *record, char *out)
{
    const struct tcu_port *port = tcu->port;
    char *at = agent_text_literal(out, "{\"id\":\"");
    memcpy(at, tcu->name, sizeof(tcu->name)); /* at once, whatever its length */
    at += tcu->name_length;
    at = agent_text_literal(at, "\",\"n\":");
    at = agent_text_number(at, record->number);
    at = agent_text_literal(at, ",\"ts\":");
    at = agent_text_number(at, port->wall_us(tcu->port_context, record->intended_us));
    size_t body = port->telemetry_body(tcu->port_context, record->number, record->intended_us, (uint8_t *)at + 1,
                                       tcu->profile->telemetry_payload_max);
    ASSERT(body <= tcu->profile->telemetry_payload_max);
    if (body > 0)
        *at++ = ',';
    at += body;
    *at++ = '}';
    return span_of(out, (size_t)(at - out));
}

/* Our own encoder takes them as one block; another library wants to see each. */
static inline void add_user_properties(const struct tcu *tcu, struct mq5_properties *out)
{
    const struct tcu_profile *profile = tcu->profile;
    if (tcu->builtin && profile->user_block_length > 0) {
        out->encoded = span_of(profile->user_block, profile->user_block_length);
        out->present = MQ5_BIT(MQ5_USER_PROPERTY) | MQ5_USER_BLOCK;
        return;
    }
    out->user = profile->user;
    out->user_count = profile->user_count;
    out->present = MQ5_BIT(MQ5_USER_PROPERTY);
}

/* Sent the first time it is the newest in flight; and then the topic may be known to the server by its alias. */
bool agent_telemetry_load(struct tcu *tcu, uint32_t number, struct mq5_publish *out)
{
    const struct tcu_profile *profile = tcu->profile;
    int position = tcu->sending ? tcu->queue_inflight - 1 : find_inflight(tcu, number);
    if (position < 0)
        return false;
    ASSERT(agent_record(tcu, (unsigned)position)->number == number);
    char *topic = (char *)profile->scratch;
    if (agent_v5(tcu) && profile->user_count > 0)
        add_user_properties(tcu, &out->properties);
    if (!tcu->sending || !agent_mqtt_alias_known(tcu, TELEMETRY_ALIAS))
        out->topic = agent_text_expand(profile->topics.telemetry, tcu_name(tcu), topic);
    out->payload = payload(tcu, agent_record(tcu, (unsigned)position), topic + AGENT_TOPIC_MAX);
    out->qos = profile->telemetry_qos < tcu->peer_qos ? profile->telemetry_qos : tcu->peer_qos;
    if (!tcu->sending)
        agent_tell(tcu, TCU_PROBE_TELEMETRY_SENT, 1, number);
    return true;
}
