/* session.c: sessions by client identifier, their end, and what becomes due for them (3.1.2.11.2, 4.1).
 *
 * A session's end, whatever brings it about, is broker_session_end(): subscriptions first, so that its own will is not queued for
 * it; then the will; then what shared subscriptions owe to others.
 */
#include "internal.h"

static size_t session_size(uint32_t client_id_length)
{
    return offsetof(struct session, client_id) + client_id_length;
}

struct session *broker_session_find(const struct cloud_broker *broker, struct span client_id)
{
    return broker_session_find_hashed(broker, client_id, broker_hash(client_id.data, client_id.length));
}

struct session *broker_session_find_hashed(const struct cloud_broker *broker, struct span client_id, uint32_t hash)
{
    if (broker->session_table_size == 0)
        return NULL;
    struct session *session = broker->session_table[hash & (broker->session_table_size - 1)];
    while (session && !(session->hash == hash && span_equal(broker_client_id(session), client_id)))
        session = session->chain;
    return session;
}

static bool grow_table(struct cloud_broker *broker)
{
    uint32_t size = broker->session_table_size ? broker->session_table_size * 2 : 16;
    struct session **table = broker_memory_get_clear(broker, size * sizeof(*table));
    if (!table)
        return false;
    for (uint32_t i = 0; i < broker->session_table_size; i++) {
        for (struct session *session = broker->session_table[i], *next; session; session = next) {
            next = session->chain;
            session->chain = table[session->hash & (size - 1)];
            table[session->hash & (size - 1)] = session;
        }
    }
    broker_memory_put(broker, broker->session_table, broker->session_table_size * sizeof(*table));
    broker->session_table = table;
    broker->session_table_size = size;
    return true;
}

struct session *broker_session_create(struct cloud_broker *broker, struct span client_id, bool local)
{
    if (!local && broker->session_count >= 2 * broker->session_table_size && !grow_table(broker))
        return NULL;
    struct session *session = broker_memory_get_clear(broker, session_size(client_id.length));
    if (!session)
        return NULL;
    session->expires_us = TIME_NEVER;
    session->client_id_length = (uint16_t)client_id.length;
    memcpy(session->client_id, client_id.data, client_id.length);
    session->hash = broker_hash(client_id.data, client_id.length);
    if (local) {
        session->flags = SESSION_LOCAL;
        return session;
    }
    struct session **bucket = &broker->session_table[session->hash & (broker->session_table_size - 1)];
    session->chain = *bucket;
    *bucket = session;
    broker->session_count++;
    return session;
}

static void leave_table(struct cloud_broker *broker, struct session *session)
{
    struct session **at = &broker->session_table[session->hash & (broker->session_table_size - 1)];
    while (*at != session)
        at = &(*at)->chain;
    *at = session->chain;
    broker->session_count--;
}

void broker_session_end(struct cloud_broker *broker, struct session *session, int64_t now_us)
{
    if (!(session->flags & SESSION_LOCAL))
        leave_table(broker, session);
    broker_timer_remove(broker, &session->timer);
    session->flags |= SESSION_DEAD;
    session->flags &= ~(SESSION_LINKED | SESSION_LOCAL);
    session->expires_us = TIME_NEVER;
    struct delivery *shared = broker_flow_clear(broker, session);
    broker_subscription_remove_all(broker, session);
    broker_session_forget_received(broker, session);
    broker_will_publish(broker, session, now_us);
    broker_share_redistribute(broker, now_us, shared);
    session->chain = broker->dead_sessions;
    broker->dead_sessions = session;
}

struct session_more *broker_session_more(struct cloud_broker *broker, struct session *session)
{
    if (!session->more)
        session->more = broker_memory_get_clear(broker, sizeof(struct session_more));
    return session->more;
}

void broker_session_less(struct cloud_broker *broker, struct session *session)
{
    struct session_more *more = session->more;
    if (!more || more->subscriptions || more->received || more->will)
        return;
    broker_memory_put(broker, more, sizeof(*more));
    session->more = NULL;
}

void broker_session_forget_received(struct cloud_broker *broker, struct session *session)
{
    struct id_set *received = broker_received_of(session);
    if (!received)
        return;
    broker_memory_put(broker, received, sizeof(struct id_set) + received->capacity * sizeof(uint16_t));
    session->more->received = NULL;
    broker_session_less(broker, session);
}

void broker_session_free(struct cloud_broker *broker, struct session *session)
{
    broker_memory_put(broker, session, session_size(session->client_id_length));
}

/* The link is gone. */
void broker_session_away(struct cloud_broker *broker, struct session *session, int64_t now_us)
{
    broker_flow_link_lost(session);
    if (session->expiry_s == 0) {
        broker_session_end(broker, session, now_us);
        return;
    }
    if (session->expiry_s != MQ5_SESSION_NEVER_EXPIRES)
        session->expires_us = now_us + session->expiry_s * US_PER_S;
    struct will *will = broker_will_of(session);
    if (will && will->delay_s)
        will->due_us = now_us + will->delay_s * US_PER_S;
    else
        broker_will_publish(broker, session, now_us);
    /* The will's readers may have ended this session, or taken it over. */
    if (!(session->flags & SESSION_DEAD) && !broker_link_of(session) && !broker_session_rearm(broker, session))
        broker_session_end(broker, session, now_us);
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t keep_alive_deadline(const struct cloud_connection *connection)
{
    if (connection->keep_alive_s == 0)
        return TIME_NEVER;
    return connection->last_input_us + connection->keep_alive_s * (US_PER_S + US_PER_S / 2);
}

int64_t broker_session_deadline(const struct session *session)
{
    int64_t deadline_us = session->flow ? session->flow->next_expiry_us : TIME_NEVER;
    const struct will *will = broker_will_of(session);
    if (broker_link_of(session))
        return earlier(deadline_us, keep_alive_deadline(session->connection));
    if (will)
        deadline_us = earlier(deadline_us, will->due_us);
    return earlier(deadline_us, session->expires_us);
}

bool broker_session_rearm(struct cloud_broker *broker, struct session *session)
{
    return broker_timer_set(broker, &session->timer, TIMER_SESSION, broker_session_deadline(session));
}

void broker_session_due(struct cloud_broker *broker, struct session *session, int64_t now_us)
{
    const struct will *will = broker_will_of(session);
    if (broker_link_of(session)) {
        if (keep_alive_deadline(session->connection) <= now_us)
            broker_link_fail(broker, session->connection, now_us, MQ5_KEEP_ALIVE_TIMEOUT, NULL,
                             CLOUD_CLOSED_KEEP_ALIVE);
        else
            broker_flow_purge(broker, session, now_us);
        return;
    }
    if (session->expires_us <= now_us)
        broker_session_end(broker, session, now_us);
    else if (will && will->due_us <= now_us)
        broker_will_publish(broker, session, now_us);
    else
        broker_flow_purge(broker, session, now_us);
}
