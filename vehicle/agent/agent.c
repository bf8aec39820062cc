/* agent.c: events in, one deadline out.
 *
 * Every entry from outside notes the time, does its work, and on the way out sends what may be sent and tells the
 * port when to call again. Entries nest (the MQTT session reports from inside a call we made into it): only the
 * outermost settles. */
#include "agent_internal.h"

static void add_user_property(struct tcu_profile *profile, struct span name, const char *value)
{
    if (value[0])
        profile->user[profile->user_count++] = (struct mq5_user_property){name, span_text(value)};
}

void tcu_profile_prepare(struct tcu_profile *profile)
{
    profile->user_count = 0;
    add_user_property(profile, SPAN_LITERAL("fw"), profile->firmware);
    add_user_property(profile, SPAN_LITERAL("schema"), profile->schema);
    add_user_property(profile, SPAN_LITERAL("enc"), profile->encoding);
    profile->user_block_length = (uint8_t)mq5_user_block(profile->user, profile->user_count, profile->user_block);
    profile->mqtt.ops = &agent_session_ops;
    profile->mqtt.qos2_in = false;
    profile->mqtt.alias_bytes = agent_session_alias_bytes(profile);
    profile->mqtt.stream_bytes = agent_session_stream_bytes(profile);
    profile->prepared = true;
}

static void check_profile(const struct tcu_profile *profile, struct span name)
{
    char topic[AGENT_TOPIC_MAX];
    ASSERT(profile->prepared);
    ASSERT(name.length > 0 && name.length <= TCU_NAME_MAX);
    ASSERT(profile->queue_capacity > 0 && profile->mqtt.outgoing_maximum > 0);
    ASSERT(profile->scratch_size >= (size_t)profile->telemetry_payload_max + AGENT_SCRATCH);
    ASSERT(((uintptr_t)profile->scratch & 7) == 0);
    ASSERT(agent_text_expand(profile->topics.telemetry, name, topic).length > 0);
    ASSERT(profile->provisioning != TCU_PROVISION_CLAIM || profile->topics.reserved[0]);
}

struct tcu *tcu_init(void *memory, const struct tcu_profile *profile, const struct tcu_port *port, void *port_context,
                     const struct tcu_mqtt *mqtt, void *mqtt_context, struct span name)
{
    struct tcu *tcu = memory;
    check_profile(profile, name);
    memset(tcu, 0, sizeof(*tcu));
    tcu->profile = profile;
    tcu->port = port;
    tcu->port_context = port_context;
    tcu->builtin = !mqtt;
    if (mqtt)
        *agent_other(tcu) = (struct agent_other){mqtt, mqtt_context};
    tcu->name_length = name.length & 63;
    memcpy(tcu->name, name.data, name.length);
    tcu->deadline_us = tcu->timer_us = tcu->telemetry_due_us = TIME_NEVER;
    agent_memory_init(tcu);
    return tcu;
}

void tcu_release(struct tcu *tcu)
{
    ASSERT(tcu->depth == 0);
    agent_memory_release(tcu);
}

void agent_probe(struct tcu *tcu, enum tcu_probe_kind kind, uint8_t reason, uint32_t number, int64_t at_us,
                 struct span id)
{
    struct tcu_probe probe = {.kind = kind, .reason = reason, .number = number, .at_us = at_us, .id = id};
    if (tcu->port->probe)
        tcu->port->probe(tcu->port_context, tcu->now_us, &probe);
}

static int64_t next_deadline(const struct tcu *tcu)
{
    int64_t at_us = agent_min(agent_timer(tcu), tcu->telemetry_due_us);
    if (tcu->state >= TCU_CONNECTING)
        at_us = agent_min(at_us, agent_mqtt_next_deadline(tcu));
    if (agent_rotation(tcu) && tcu->state == TCU_ONLINE)
        at_us = agent_min(at_us, agent_rotation(tcu)->timer_us);
    if (tcu->more)
        at_us = agent_min(at_us, agent_min(agent_shadow_deadline(tcu), agent_power_next_deadline(tcu)));
    return tcu->state == TCU_ONLINE ? agent_min(at_us, agent_distrust_at(tcu)) : at_us;
}

void agent_settle(struct tcu *tcu)
{
    if (tcu->state == TCU_ONLINE && (tcu->want_subscribe | tcu->want_presence))
        agent_connection_pump(tcu);
    if (agent_rotation(tcu) || tcu->want_rotation)
        agent_rotation_settle(tcu);
    if (tcu->state == TCU_ONLINE && !agent_claiming(tcu)) {
        if (tcu->slots)
            agent_command_pump(tcu);
        if (tcu->profile->shadow && agent_shadow_kept(tcu))
            agent_shadow_settle(tcu);
        if (tcu->queue_inflight < tcu->queue_count)
            agent_telemetry_pump(tcu);
    }
    if (tcu->more)
        agent_power_settle(tcu);
    if (tcu->on_demand && (tcu->queue_capacity > 1 || tcu->slots))
        agent_memory_settle(tcu);
    int64_t at_us = next_deadline(tcu);
    if (at_us == tcu->deadline_us)
        return;
    tcu->deadline_us = at_us;
    tcu->port->deadline(tcu->port_context, at_us);
}

void tcu_start(struct tcu *tcu, int64_t now_us, enum tcu_power power)
{
    if (tcu->state != TCU_OFF)
        return;
    agent_begin(tcu, now_us);
    bool loaded = tcu->loaded || (agent_store_load(tcu) && agent_rotation_load(tcu));
    tcu->loaded = loaded;
    tcu->power = power & 1;
    if (!loaded || !agent_power_start(tcu)) {
        agent_end(tcu);
        return;
    }
    agent_identity_load(tcu);
    agent_tell(tcu, TCU_PROBE_POWER, 0, (uint32_t)power);
    agent_enter(tcu, AGENT_START, 0, 0);
    agent_telemetry_schedule(tcu);
    agent_timer_run(tcu);
    agent_telemetry_run(tcu);
    agent_end(tcu);
}

void tcu_stop(struct tcu *tcu, int64_t now_us)
{
    agent_begin(tcu, now_us);
    if (agent_enter(tcu, AGENT_STOP, 0, 0)) {
        tcu->numbers_left = 0;
        agent_store_save(tcu);
        agent_power_stop(tcu);
    }
    agent_end(tcu);
}

/* Nothing is said to anybody: the power is gone. What stays is what tcu_init() was told. */
void tcu_power_cut(struct tcu *tcu)
{
    ASSERT(tcu->depth == 0);
    int64_t told_us = tcu->deadline_us;
    struct agent_other other = {NULL, NULL};
    char name[TCU_NAME_MAX];
    if (!tcu->builtin)
        other = *agent_other(tcu);
    memcpy(name, tcu->name, sizeof(name));
    agent_memory_release(tcu);
    tcu_init(tcu, tcu->profile, tcu->port, tcu->port_context, other.mqtt, other.context,
             span_of(name, tcu->name_length));
    if (told_us != TIME_NEVER)
        tcu->port->deadline(tcu->port_context, TIME_NEVER);
}

void tcu_tick(struct tcu *tcu, int64_t now_us)
{
    if (tcu->state == TCU_OFF)
        return;
    agent_begin(tcu, now_us);
    if (tcu->more)
        agent_power_tick(tcu);
    agent_telemetry_run(tcu);
    agent_timer_run(tcu);
    if (tcu->state >= TCU_CONNECTING)
        agent_mqtt_tick(tcu);
    if (tcu->state == TCU_ONLINE && now_us >= agent_distrust_at(tcu))
        agent_enter(tcu, AGENT_DISTRUST, 0, 0);
    agent_end(tcu);
}

void tcu_link_up(struct tcu *tcu, int64_t now_us)
{
    agent_begin(tcu, now_us);
    if (agent_enter(tcu, AGENT_LINK_UP, 0, 0))
        agent_session_link_up(tcu);
    agent_end(tcu);
}

void tcu_link_down(struct tcu *tcu, int64_t now_us, enum tcu_link_end why)
{
    agent_begin(tcu, now_us);
    agent_session_link_down(tcu);
    agent_enter(tcu, AGENT_LINK_DOWN, 0, (uint32_t)why);
    agent_end(tcu);
}

void tcu_bytes(struct tcu *tcu, int64_t now_us, const uint8_t *data, size_t length)
{
    agent_begin(tcu, now_us);
    agent_session_input(tcu, data, length);
    agent_end(tcu);
}

static void published(struct tcu *tcu, uint32_t token, uint8_t reason)
{
    tcu->blocked = 0;
    if (!(token & TOKEN_OTHER))
        agent_telemetry_published(tcu, token, reason);
    else if (token == TOKEN_PRESENCE)
        tcu->presence_sent = 0;
    else if (token & TOKEN_REQUEST & ~TOKEN_OTHER)
        agent_request_published(tcu, token, reason);
    else
        agent_command_published(tcu, token);
}

static void dropped(struct tcu *tcu, uint32_t token)
{
    tcu->blocked = 0;
    if (!(token & TOKEN_OTHER))
        agent_telemetry_dropped(tcu, token);
    else if (token == TOKEN_PRESENCE)
        tcu->presence_sent = 0;
    else if (token == TOKEN_SUBSCRIBE)
        tcu->subscribe_sent = 0;
    else if (token & TOKEN_REQUEST & ~TOKEN_OTHER)
        agent_request_dropped(tcu, token);
    else if (token & TOKEN_SHADOW & ~TOKEN_OTHER)
        agent_shadow_dropped(tcu, token);
    else
        agent_command_dropped(tcu, token);
}

static void message(struct tcu *tcu, const struct mq5_publish *publish)
{
    if (tcu->more)
        agent_power_stay(tcu);
    if (tcu->profile->count_aliases && publish->properties.present & MQ5_BIT(MQ5_TOPIC_ALIAS))
        agent_alias_used(tcu, publish->properties.present & MQ5_TOPIC_BY_ALIAS, true, publish->topic.length);
    if (!agent_request_message(tcu, publish) && !agent_claiming(tcu) && !agent_notice_message(tcu, publish))
        agent_command_message(tcu, publish);
}

static bool all_granted(const struct mq5_packet *packet)
{
    for (uint32_t i = 0; packet && i < packet->suback.reasons.length; i++)
        if (packet->suback.reasons.data[i] >= MQ5_UNSPECIFIED_ERROR)
            return false;
    return true;
}

static void accepted(struct tcu *tcu, const struct mq5_connack *connack)
{
    bool limited = connack->properties.present & MQ5_BIT(MQ5_MAXIMUM_QOS);
    tcu->peer_qos = limited && agent_v5(tcu) ? connack->properties.maximum_qos & 3 : 2;
    agent_enter(tcu, AGENT_ACCEPTED, 0, connack->session_present);
}

/* The connection's end: by the peer's sending us elsewhere, if it says where to and the platform can follow. */
static void ended(struct tcu *tcu, enum agent_event event, uint8_t reason, const struct mq5_properties *properties)
{
    bool follows = tcu->port->server_reference && tcu->state >= TCU_CONNECTING && properties &&
                   (reason == MQ5_USE_ANOTHER_SERVER || reason == MQ5_SERVER_MOVED) &&
                   properties->present & MQ5_BIT(MQ5_SERVER_REFERENCE) && properties->server_reference.length > 0;
    if (follows)
        tcu->port->server_reference(tcu->port_context, properties->server_reference, reason == MQ5_SERVER_MOVED);
    agent_enter(tcu, follows ? AGENT_REDIRECTED : event, reason, 0);
}

static void refused(struct tcu *tcu, const struct mq5_client_event *event)
{
    ended(tcu, AGENT_REFUSED, event->reason, event->packet ? &event->packet->connack.properties : NULL);
}

static void disconnected(struct tcu *tcu, const struct mq5_client_event *event)
{
    ended(tcu, AGENT_DISCONNECTED, event->reason, event->packet ? &event->packet->disconnect.properties : NULL);
}

void tcu_mqtt_event(struct tcu *tcu, int64_t now_us, const struct mq5_client_event *event)
{
    agent_begin(tcu, now_us);
    switch (event->kind) {
    case MQ5C_EV_CONNACK: accepted(tcu, &event->packet->connack); break;
    case MQ5C_EV_REFUSED: refused(tcu, event); break;
    case MQ5C_EV_DISCONNECTED: disconnected(tcu, event); break;
    case MQ5C_EV_MESSAGE: message(tcu, &event->packet->publish); break;
    case MQ5C_EV_PUBLISHED: published(tcu, event->token, event->reason); break;
    case MQ5C_EV_DROPPED: dropped(tcu, event->token); break;
    case MQ5C_EV_SUBSCRIBED:
        tcu->blocked = 0;
        agent_subscribed(tcu, all_granted(event->packet));
        break;
    case MQ5C_EV_SESSION_LOST: tcu->subscribed = 0; break;
    case MQ5C_EV_UNSUBSCRIBED:
    case MQ5C_EV_AUTH: break; /* never asked for */
    }
    agent_end(tcu);
}

bool agent_load(struct tcu *tcu, uint32_t token, struct mq5_publish *out)
{
    if (!(token & TOKEN_OTHER))
        return agent_telemetry_load(tcu, token, out);
    if (token & TOKEN_REQUEST & ~TOKEN_OTHER)
        return agent_request_load(tcu, token, out);
    if (token & TOKEN_SHADOW & ~TOKEN_OTHER)
        return agent_shadow_load(tcu, token, out);
    if (token != TOKEN_PRESENCE && token != TOKEN_ABSENCE)
        return agent_command_load(tcu, token, out);
    agent_presence_load(tcu, token, out);
    return true;
}

bool tcu_mqtt_load(struct tcu *tcu, uint32_t token, struct mq5_publish *out)
{
    memset(out, 0, sizeof(*out));
    return agent_load(tcu, token, out);
}

enum tcu_connection tcu_connection(const struct tcu *tcu)
{
    return (enum tcu_connection)tcu->state;
}

enum tcu_power tcu_power(const struct tcu *tcu)
{
    return (enum tcu_power)tcu->power;
}

uint32_t tcu_telemetry_pending(const struct tcu *tcu)
{
    return tcu->queue_count;
}

uint32_t tcu_telemetry_pending_number(const struct tcu *tcu, uint32_t index)
{
    return index < tcu->queue_count ? agent_record(tcu, index)->number : 0;
}

uint32_t tcu_telemetry_number(const struct tcu *tcu)
{
    return tcu->number;
}

struct span tcu_name(const struct tcu *tcu)
{
    return span_of(tcu->name, tcu->name_length);
}

const char *tcu_step_name(enum tcu_step step)
{
    static const char *const names[TCU_STEPS] = {
        [TCU_STEP_JOB] = "job received",
        [TCU_STEP_KEY] = "new key made",
        [TCU_STEP_CERTIFICATE] = "certificate stored",
        [TCU_STEP_REGISTERED] = "registration granted",
        [TCU_STEP_SWITCHED] = "connected with the new certificate",
        [TCU_STEP_DEACTIVATED] = "old certificates to be deactivated",
        [TCU_STEP_REPORTED] = "end reported",
        [TCU_STEP_ROLLED_BACK] = "back on the old certificate",
        [TCU_STEP_RESTARTED] = "begun anew",
    };
    return (unsigned)step < TCU_STEPS ? names[step] : "?";
}

const char *tcu_connection_name(enum tcu_connection state)
{
    static const char *const names[] = {"off", "provisioning", "waiting", "connecting", "online"};
    return (unsigned)state < AGENT_STATES ? names[state] : "?";
}

static uint64_t mix(uint64_t hash, uint64_t value)
{
    hash = (hash ^ value) * UINT64_C(0x9E3779B97F4A7C15);
    return hash ^ (hash >> 29);
}

/* No pointers, no padding, nothing that depends on where the vehicle lies in memory. */
uint64_t tcu_state_hash(const struct tcu *tcu)
{
    uint64_t hash = mix(0, (uint64_t)tcu->state | (uint64_t)tcu->power << 8 | (uint64_t)tcu->backoff << 16 |
                               (uint64_t)tcu->number << 32);
    hash = mix(hash, (uint64_t)agent_timer(tcu));
    hash = mix(hash, (uint64_t)tcu->telemetry_due_us);
    hash = mix(hash, (uint64_t)tcu->queue_count | (uint64_t)tcu->queue_inflight << 16 | (uint64_t)tcu->attempts << 32);
    for (unsigned i = 0; i < tcu->queue_count; i++)
        hash = mix(hash, agent_record(tcu, i)->number);
    for (unsigned i = 0; tcu->recent && i < AGENT_RECENT; i++)
        if (tcu->recent->hash[i] != 0)
            hash = mix(hash, tcu->recent->hash[i] + tcu->recent->status[i]);
    for (unsigned i = 0; i < AGENT_SLOTS; i++)
        hash = mix(hash, tcu->slots ? tcu->slots->slot[i].state : SLOT_FREE);
    if (tcu->second)
        hash = mix(hash, TCU_OPERATIONAL_SECOND);
    if (tcu->redirected)
        hash = mix(hash, AGENT_REDIRECTED);
    if (agent_rotation(tcu))
        hash = mix(hash, (uint64_t)agent_rotation(tcu)->phase << 8 | agent_rotation(tcu)->step);
    if (tcu->profile->shadow && tcu->more && tcu->more->shadow)
        hash = mix(hash, tcu->more->shadow->version << 8 | tcu->more->shadow->asked << 1 | tcu->more->shadow->setting);
    if (tcu->profile->sealed_commands && tcu->more)
        hash = mix(mix(hash, tcu->more->sealed_highest), tcu->more->sealed_seen);
    if (tcu->profile->stay_connected_us > 0 && tcu->more)
        hash = mix(hash, (uint64_t)tcu->more->power_due_us << 1 | tcu->more->asleep);
    return hash;
}
