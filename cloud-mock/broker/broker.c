/* broker.c: a broker from its making to its end, and the doors of its interface.
 *
 * Every entry from outside stands between broker_enter() and broker_leave(): what dies within is freed at the end.
 */
#include "internal.h"

const char *cloud_close_reason_name(enum cloud_close_reason reason)
{
    static const char *const names[] = {"CLIENT_INITIATED_DISCONNECT", "CONNECTION_LOST", "MQTT_KEEP_ALIVE_TIMEOUT",
                                        "DUPLICATE_CLIENTID",          "CLIENT_ERROR",    "AUTH_ERROR",
                                        "SERVER_INITIATED_DISCONNECT", "THROTTLED"};
    return (size_t)reason < sizeof(names) / sizeof(*names) ? names[reason] : "?";
}

void cloud_broker_defaults(struct cloud_broker_options *options)
{
    *options = (struct cloud_broker_options){.maximum_qos = 2,
                                             .retain_available = true,
                                             .wildcard_available = true,
                                             .subscription_ids_available = true,
                                             .shared_available = true,
                                             .allow_v311 = true,
                                             .denied_publish_closes_v311 = true,
                                             .dollar_topics_reserved = true};
}

static void fill_in(struct cloud_broker_options *options)
{
#define OR_ELSE(field, value) options->field = options->field ? options->field : (value)
    OR_ELSE(maximum_connections, 1000000);
    OR_ELSE(maximum_sessions, 1000000);
    OR_ELSE(maximum_retained, 100000);
    OR_ELSE(maximum_subscriptions_per_session, 50);
    OR_ELSE(maximum_queued_per_session, 1000);
    OR_ELSE(maximum_queued_bytes, UINT64_C(1) << 30);
    OR_ELSE(receive_maximum, 65535);
#undef OR_ELSE
    if (options->maximum_subscriptions_per_session > 65535)
        options->maximum_subscriptions_per_session = 65535;
    if (options->keep_alive_maximum_s && options->keep_alive_minimum_s > options->keep_alive_maximum_s)
        options->keep_alive_minimum_s = options->keep_alive_maximum_s;
}

#define FIRST_SCRATCH_BYTES 512

struct cloud_broker *cloud_broker_create(const struct cloud_broker_options *options, const struct cloud_broker_ops *ops,
                                         void *context, uint64_t seed)
{
    struct cloud_broker *broker;
    if (options->allocate)
        broker = options->allocate(options->allocate_context, NULL, 0, sizeof(*broker));
    else
        broker = memory_allocate(sizeof(*broker));
    if (!broker)
        return NULL;
    memset(broker, 0, sizeof(*broker));
    broker->options = *options;
    fill_in(&broker->options);
    broker->ops = *ops;
    broker->context = context;
    broker->random = seed;
    broker->topic_root = broker_memory_get_clear(broker, offsetof(struct topic_node, level));
    broker->retained_root = broker_memory_get_clear(broker, offsetof(struct retained_node, level));
    if (!broker->topic_root || !broker->retained_root ||
        !broker_memory_reserve(broker, (void **)&broker->scratch, &broker->scratch_capacity, FIRST_SCRATCH_BYTES, 1)) {
        cloud_broker_destroy(broker);
        return NULL;
    }
    return broker;
}

static void free_session(struct cloud_broker *broker, struct session *session)
{
    for (struct delivery *owed = broker_flow_clear(broker, session), *next; owed; owed = next) {
        next = owed->next;
        broker_delivery_free(broker, owed);
    }
    broker_subscription_remove_all(broker, session);
    broker_will_discard(broker, session);
    broker_session_forget_received(broker, session);
    broker_session_free(broker, session);
}

static void free_tables(struct cloud_broker *broker)
{
    broker_memory_put(broker, broker->session_table, broker->session_table_size * sizeof(*broker->session_table));
    broker_memory_put(broker, broker->authentications,
                      broker->authentication_capacity * sizeof(struct authentication *));
    broker_memory_put(broker, broker->timers, broker->timer_capacity * sizeof(*broker->timers));
    broker_memory_put(broker, broker->matches, broker->match_capacity * sizeof(*broker->matches));
    broker_memory_put(broker, broker->match_ids, broker->match_id_capacity * sizeof(*broker->match_ids));
    broker_memory_put(broker, broker->scratch, broker->scratch_capacity);
}

void cloud_broker_destroy(struct cloud_broker *broker)
{
    if (!broker)
        return;
    for (struct cloud_connection *at; (at = broker_timer_link(broker));) {
        broker_timer_remove(broker, &at->timer);
        broker_link_free(broker, at);
    }
    for (uint32_t i = 0; i < broker->session_table_size; i++) {
        for (struct session *session = broker->session_table[i], *next; session; session = next) {
            next = session->chain;
            if (broker_link_of(session))
                broker_link_free(broker, session->connection);
            free_session(broker, session);
        }
    }
    for (struct cloud_local *local = broker->locals, *next; local; local = next) {
        next = local->next;
        free_session(broker, local->session);
        broker_memory_put(broker, local, sizeof(*local));
    }
    broker_topic_destroy(broker);
    broker_pattern_destroy(broker);
    broker_retained_destroy(broker);
    free_tables(broker);
    broker_memory_destroy(broker);
    if (broker->options.allocate)
        broker->options.allocate(broker->options.allocate_context, broker, sizeof(*broker), 0);
    else
        memory_free(broker);
}

struct cloud_connection *cloud_broker_opened(struct cloud_broker *broker, int64_t now_us, void *link,
                                             const struct cloud_peer *peer)
{
    if (broker->connection_count >= broker->options.maximum_connections)
        return NULL;
    struct cloud_connection *connection = broker_memory_get_clear(broker, sizeof(*connection));
    if (!connection)
        return NULL;
    connection->link = link;
    connection->last_input_us = now_us;
    struct link_more *more = peer ? broker_link_more(broker, connection) : NULL;
    if ((peer && !more) ||
        !broker_timer_set(broker, &connection->timer, TIMER_LINK, now_us + BROKER_CONNECT_TIMEOUT_US)) {
        broker_link_free(broker, connection);
        return NULL;
    }
    if (more)
        more->peer = peer;
    broker->connection_count++;
    return connection;
}

bool cloud_broker_input(struct cloud_broker *broker, struct cloud_connection *connection, int64_t now_us,
                        const uint8_t *data, size_t length)
{
    broker_enter(broker);
    broker_link_input(broker, connection, now_us, data, length);
    bool alive = !(connection->flags & LINK_DEAD);
    broker_leave(broker);
    return alive;
}

void cloud_broker_closed(struct cloud_broker *broker, struct cloud_connection *connection, int64_t now_us)
{
    broker_enter(broker);
    broker_link_end(broker, connection, now_us, CLOUD_CLOSED_LOST, false);
    broker_leave(broker);
}

int64_t cloud_broker_next_deadline(const struct cloud_broker *broker)
{
    return broker->timer_count ? broker->timers[0].deadline_us : TIME_NEVER;
}

void cloud_broker_tick(struct cloud_broker *broker, int64_t now_us)
{
    broker_enter(broker);
    broker_timer_fire(broker, now_us);
    broker_leave(broker);
}

static enum cloud_close_reason close_reason_of(uint8_t reason)
{
    switch (reason) {
    case MQ5_NOT_AUTHORIZED:
    case MQ5_BANNED: return CLOUD_CLOSED_NOT_AUTHORISED;
    case MQ5_QUOTA_EXCEEDED:
    case MQ5_MESSAGE_RATE_TOO_HIGH:
    case MQ5_CONNECTION_RATE_EXCEEDED: return CLOUD_CLOSED_LIMIT;
    default: return CLOUD_CLOSED_SERVER;
    }
}

bool cloud_broker_kick(struct cloud_broker *broker, int64_t now_us, struct span client_id, uint8_t reason)
{
    struct session *session = broker_session_find(broker, client_id);
    if (!session || !broker_link_of(session))
        return false;
    broker_enter(broker);
    broker_link_fail(broker, session->connection, now_us, reason, NULL, close_reason_of(reason));
    broker_leave(broker);
    return true;
}

void cloud_broker_cut(struct cloud_broker *broker, struct cloud_connection *connection, int64_t now_us, uint8_t reason)
{
    broker_enter(broker);
    if (connection->session)
        broker_link_fail(broker, connection, now_us, reason, NULL, close_reason_of(reason));
    else
        broker_link_end(broker, connection, now_us, close_reason_of(reason), true);
    broker_leave(broker);
}

void cloud_broker_shutdown(struct cloud_broker *broker, int64_t now_us)
{
    broker_enter(broker);
    for (uint32_t i = 0; i < broker->session_table_size; i++) {
        struct session *session = broker->session_table[i];
        while (session) { /* a session may go with its link, and others by what is told of it: from the start again */
            bool linked = broker_link_of(session);
            if (linked)
                broker_link_fail(broker, session->connection, now_us, MQ5_SERVER_SHUTTING_DOWN, NULL,
                                 CLOUD_CLOSED_SERVER);
            session = linked ? broker->session_table[i] : session->chain;
        }
    }
    for (struct cloud_connection *at; (at = broker_timer_link(broker));)
        broker_link_fail(broker, at, now_us, MQ5_SERVER_SHUTTING_DOWN, NULL, CLOUD_CLOSED_SERVER);
    broker_leave(broker);
}

bool cloud_broker_redirect(struct cloud_broker *broker, int64_t now_us, struct span client_id, struct span reference,
                           bool for_good)
{
    struct session *session = broker_session_find(broker, client_id);
    if (!session || !broker_link_of(session))
        return false;
    broker_enter(broker);
    broker_link_redirect(broker, session->connection, now_us, reference, for_good);
    broker_leave(broker);
    return true;
}

/* All links first, so that no will is sent over one that is gone; what was retained before the wills, which belong to the new life. */
void cloud_broker_restart(struct cloud_broker *broker, int64_t now_us, bool keep_sessions)
{
    broker_enter(broker);
    const struct cloud_connection *earlier = broker_link_drop_all(broker);
    if (!keep_sessions)
        broker_retained_forget_all(broker);
    broker_link_tell_dropped(broker, broker->dead_connections, earlier, now_us, CLOUD_CLOSED_SERVER);
    for (uint32_t i = 0; !keep_sessions && i < broker->session_table_size; i++) {
        struct session *session = broker->session_table[i];
        while (session) { /* as for a shutdown; who has come back meanwhile is in the new life */
            bool gone = !broker_link_of(session);
            if (gone)
                broker_session_end(broker, session, now_us);
            session = gone ? broker->session_table[i] : session->chain;
        }
    }
    broker_leave(broker);
}

bool cloud_broker_forget(struct cloud_broker *broker, int64_t now_us, struct span client_id)
{
    struct session *session = broker_session_find(broker, client_id);
    if (!session)
        return false;
    broker_enter(broker);
    if (broker_link_of(session))
        broker_link_fail(broker, session->connection, now_us, MQ5_ADMINISTRATIVE_ACTION, NULL, CLOUD_CLOSED_SERVER);
    if (!(session->flags & SESSION_DEAD) && !broker_link_of(session))
        broker_session_end(broker, session, now_us);
    broker_leave(broker);
    return true;
}

const struct cloud_peer *cloud_broker_peer(const struct cloud_broker *broker, struct span client_id)
{
    const struct session *session = broker_session_find(broker, client_id);
    return session && broker_link_of(session) ? broker_peer(broker, session->connection) : NULL;
}

bool cloud_broker_has_session(const struct cloud_broker *broker, struct span client_id)
{
    const struct session *session = broker_session_find(broker, client_id);
    return session && !(session->flags & SESSION_DEAD);
}

bool cloud_broker_is_connected(const struct cloud_broker *broker, struct span client_id)
{
    const struct session *session = broker_session_find(broker, client_id);
    return session && broker_link_of(session);
}

void cloud_broker_count(const struct cloud_broker *broker, struct cloud_broker_counts *out)
{
    *out = broker->counts;
    out->connections = broker->connection_count;
    out->sessions = broker->session_count;
    out->subscriptions = broker->subscription_count;
    out->retained = broker->retained_count;
    out->queued_messages = broker->queued_messages;
    out->queued_bytes = broker->queued_bytes;
    out->memory_bytes = broker->memory_bytes + sizeof(*broker);
}
