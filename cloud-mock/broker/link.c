/* link.c: a link from its opening to its end, and the bytes that come over it.
 *
 * Packets are decoded where they lie; only one cut by the end of a chunk is copied, into memory that exists until it is whole.
 */
#include "internal.h"

struct grower {
    struct cloud_broker *broker;
    struct cut_packet *cut;
};

static size_t cut_size(uint32_t capacity)
{
    return sizeof(struct cut_packet) + capacity;
}

static uint8_t *grow_cut(void *context, uint8_t *buffer, uint32_t old_capacity, uint32_t wanted, uint32_t *new_capacity)
{
    struct grower *grower = context;
    uint32_t capacity = wanted < 48 ? 48 : wanted;
    struct cut_packet *cut = grower->cut;
    cut = broker_memory_resize(grower->broker, cut, cut ? cut_size(old_capacity) : 0, cut_size(capacity));
    if (!cut)
        return NULL;
    cut->capacity = capacity;
    grower->cut = cut;
    *new_capacity = capacity;
    return cut->bytes;
}

static void free_cut(struct cloud_broker *broker, struct cut_packet *cut)
{
    if (cut)
        broker_memory_put(broker, cut, cut_size(cut->capacity));
}

void broker_link_free(struct cloud_broker *broker, struct cloud_connection *connection)
{
    struct link_more *more = connection->more;
    if (more) {
        broker_authentication_free(broker, connection);
        free_cut(broker, more->cut);
        broker_alias_free(broker, more->aliases_in);
        broker_alias_free(broker, more->aliases_out);
        broker_memory_put(broker, more, sizeof(*more));
    }
    broker_pattern_list_release(broker, connection->aliases);
    broker_memory_put(broker, connection, sizeof(*connection));
}

struct link_more *broker_link_more(struct cloud_broker *broker, struct cloud_connection *connection)
{
    if (!connection->more)
        connection->more = broker_memory_get_clear(broker, sizeof(struct link_more));
    return connection->more;
}

static void give_back_more(struct cloud_broker *broker, struct cloud_connection *connection)
{
    struct link_more *more = connection->more;
    if (!more || more->peer || more->cut || more->aliases_in || more->aliases_out || more->alias_maximum_out ||
        more->authentication)
        return;
    broker_memory_put(broker, more, sizeof(*more));
    connection->more = NULL;
}

static void let_go(struct cloud_broker *broker, struct cloud_connection *connection)
{
    struct session *session = connection->session;
    connection->flags |= LINK_DEAD;
    broker->connection_count--;
    broker_timer_remove(broker, &connection->timer);
    connection->next_dead = broker->dead_connections;
    broker->dead_connections = connection;
    if (session) {
        session->flags &= ~SESSION_LINKED;
        session->expires_us = TIME_NEVER;
    }
}

static void tell_gone(struct cloud_broker *broker, struct cloud_connection *connection, int64_t now_us,
                      enum cloud_close_reason reason)
{
    struct session *session = connection->session;
    if (!session)
        return;
    if (broker->ops.disconnected)
        broker->ops.disconnected(broker->context, now_us, broker_client_id(session), broker_peer(broker, connection),
                                 reason);
    if (!(session->flags & SESSION_DEAD) && !broker_link_of(session))
        broker_session_away(broker, session, now_us);
}

void broker_link_end(struct cloud_broker *broker, struct cloud_connection *connection, int64_t now_us,
                     enum cloud_close_reason reason, bool tell_door)
{
    if (connection->flags & LINK_DEAD)
        return;
    let_go(broker, connection);
    broker_authentication_over(broker, connection, now_us);
    if (tell_door)
        broker->ops.close(broker->context, connection->link, reason);
    tell_gone(broker, connection, now_us, reason);
}

struct cloud_connection *broker_link_drop_all(struct cloud_broker *broker)
{
    struct cloud_connection *earlier = broker->dead_connections;
    for (uint32_t i = 0; i < broker->session_table_size; i++) {
        for (struct session *session = broker->session_table[i]; session; session = session->chain) {
            if (!broker_link_of(session))
                continue;
            let_go(broker, session->connection);
            broker_flow_link_lost(session);
        }
    }
    for (struct cloud_connection *at; (at = broker_timer_link(broker));)
        let_go(broker, at);
    return earlier;
}

/* What is told may end further links: they come before `last`. */
void broker_link_tell_dropped(struct cloud_broker *broker, struct cloud_connection *last,
                              const struct cloud_connection *earlier, int64_t now_us, enum cloud_close_reason reason)
{
    for (struct cloud_connection *at = last; at != earlier; at = at->next_dead) {
        broker_authentication_over(broker, at, now_us);
        tell_gone(broker, at, now_us, reason);
    }
}

static void send_disconnect(struct cloud_broker *broker, struct cloud_connection *connection, uint8_t reason,
                            const char *what, struct span reference)
{
    struct mq5_packet packet = {.type = MQ5_DISCONNECT};
    packet.disconnect.reason =
        mq5_reason_allowed(MQ5_DISCONNECT, reason, MQ5_FROM_SERVER) ? reason : MQ5_UNSPECIFIED_ERROR;
    if (what && !(connection->flags & LINK_NO_PROBLEM_INFORMATION)) {
        packet.disconnect.properties.present = MQ5_BIT(MQ5_REASON_STRING);
        packet.disconnect.properties.reason_string = span_text(what);
    }
    if (reference.length > 0) {
        packet.disconnect.properties.present |= MQ5_BIT(MQ5_SERVER_REFERENCE);
        packet.disconnect.properties.server_reference = reference;
    }
    if (!broker_send(broker, connection, &packet)) { /* 3.14.2-3 */
        packet.disconnect.properties.present = 0;
        broker_send(broker, connection, &packet);
    }
}

void broker_link_fail(struct cloud_broker *broker, struct cloud_connection *connection, int64_t now_us, uint8_t reason,
                      const char *what, enum cloud_close_reason close_reason)
{
    if (connection->flags & LINK_DEAD)
        return;
    if (connection->session && (connection->flags & LINK_V5))
        send_disconnect(broker, connection, reason, what, (struct span){NULL, 0});
    broker_link_end(broker, connection, now_us, close_reason, true);
}

void broker_link_redirect(struct cloud_broker *broker, struct cloud_connection *connection, int64_t now_us,
                          struct span reference, bool for_good)
{
    if (connection->flags & LINK_V5)
        send_disconnect(broker, connection, for_good ? MQ5_SERVER_MOVED : MQ5_USE_ANOTHER_SERVER, NULL, reference);
    broker_link_end(broker, connection, now_us, CLOUD_CLOSED_SERVER, true);
}

static void handle_disconnect(struct cloud_broker *broker, struct cloud_connection *connection, int64_t now_us,
                              const struct mq5_disconnect *disconnect)
{
    struct session *session = connection->session;
    uint32_t cap = broker->options.maximum_session_expiry_s;
    if (disconnect->properties.present & MQ5_BIT(MQ5_SESSION_EXPIRY_INTERVAL)) {
        uint32_t expiry_s = disconnect->properties.session_expiry_s;
        if (expiry_s && (connection->flags & LINK_EXPIRY_ZERO)) {
            broker_link_fail(broker, connection, now_us, MQ5_PROTOCOL_ERROR, "session expiry cannot be raised from 0",
                             CLOUD_CLOSED_CLIENT_ERROR);
            return;
        }
        session->expiry_s = cap && expiry_s > cap ? cap : expiry_s;
    }
    if (disconnect->reason == MQ5_SUCCESS)
        broker_will_discard(broker, session);
    broker_link_end(broker, connection, now_us, CLOUD_CLOSED_BY_CLIENT, true);
}

static void handle(struct cloud_broker *broker, struct cloud_connection *connection, int64_t now_us,
                   struct mq5_packet *packet)
{
    switch (packet->type) {
    case MQ5_PUBLISH: broker_handle_publish(broker, connection, now_us, &packet->publish); break;
    case MQ5_PUBACK:
    case MQ5_PUBREC:
    case MQ5_PUBCOMP: broker_handle_ack(broker, connection, now_us, packet); break;
    case MQ5_PUBREL: broker_handle_release(broker, connection, now_us, &packet->ack); break;
    case MQ5_SUBSCRIBE: broker_handle_subscribe(broker, connection, now_us, packet); break;
    case MQ5_UNSUBSCRIBE: broker_handle_unsubscribe(broker, connection, now_us, packet); break;
    case MQ5_PINGREQ: broker_send_pong(broker, connection); break;
    case MQ5_DISCONNECT: handle_disconnect(broker, connection, now_us, &packet->disconnect); break;
    case MQ5_AUTH: broker_handle_auth(broker, connection, now_us, &packet->auth); break;
    default: /* 3.1.0-2 */
        broker_link_fail(broker, connection, now_us, MQ5_PROTOCOL_ERROR, "second CONNECT", CLOUD_CLOSED_CLIENT_ERROR);
    }
}

static void handle_first(struct cloud_broker *broker, struct cloud_connection *connection, int64_t now_us,
                         const struct mq5_packet *packet, struct span bytes)
{
    if (broker_authentication_waits(broker, connection))
        broker_handle_within(broker, connection, now_us, packet);
    else if (packet->type == MQ5_CONNECT)
        broker_handle_connect(broker, connection, now_us, &packet->connect, bytes);
    else
        broker_link_end(broker, connection, now_us, CLOUD_CLOSED_CLIENT_ERROR, true); /* 3.1.0-1 */
}

/* The version a CONNECT names that could not be decoded as a whole: 0 if it does not get that far. */
static uint8_t version_named(struct span packet)
{
    static const uint8_t name[] = {0, 4, 'M', 'Q', 'T', 'T'};
    uint32_t at = 1;
    if (packet.length < 2 || packet.data[0] >> 4 != MQ5_CONNECT)
        return 0;
    while (at < packet.length && at < 5 && packet.data[at] & 0x80)
        at++;
    at++;
    if (at + sizeof(name) + 1 > packet.length || memcmp(packet.data + at, name, sizeof(name)) != 0)
        return 0;
    return packet.data[at + sizeof(name)];
}

static void handle_error(struct cloud_broker *broker, struct cloud_connection *connection, int64_t now_us,
                         const struct mq5_stream *stream, const struct mq5_error *error)
{
    enum cloud_close_reason why = error->status == MQ5_NO_SPACE ? CLOUD_CLOSED_LIMIT : CLOUD_CLOSED_CLIENT_ERROR;
    uint8_t reason = error->status == MQ5_NO_SPACE ? MQ5_QUOTA_EXCEEDED : error->reason;
    if (connection->session) {
        broker_link_fail(broker, connection, now_us, reason, error->what, why);
        return;
    }
    if (broker_authentication_waits(broker, connection)) {
        broker_refuse_connect(broker, connection, now_us, MQ5_V5, reason, error->what, why);
        return;
    }
    uint8_t version = version_named(mq5_stream_packet_bytes(stream));
    if (version >= MQ5_V5 ||
        (version && (reason == MQ5_CLIENT_IDENTIFIER_NOT_VALID || reason == MQ5_UNSUPPORTED_PROTOCOL_VERSION)))
        broker_refuse_connect(broker, connection, now_us, version < MQ5_V5 ? MQ5_V311 : MQ5_V5, reason, error->what,
                              why);
    else
        broker_link_end(broker, connection, now_us, why, true);
}

/* One packet or error; false when there is nothing more to do. */
static bool step(struct cloud_broker *broker, struct cloud_connection *connection, int64_t now_us,
                 struct mq5_stream *stream, const uint8_t **data, size_t *length)
{
    struct mq5_packet packet;
    struct mq5_error error = {0};
    enum mq5_status status = mq5_stream_next(stream, data, length, &packet, &error);
    if (status == MQ5_MORE)
        return false;
    broker->counts.packets_in++;
    if (status != MQ5_OK) {
        error.status = status;
        handle_error(broker, connection, now_us, stream, &error);
        return false;
    }
    if (connection->session || packet.type == MQ5_CONNECT) /* what comes between CONNECT and CONNACK buys no time */
        connection->last_input_us = now_us;
    if (broker->ops.inbound && !broker->ops.inbound(broker->context, now_us,
                                                    connection->session          ? broker_client_id(connection->session)
                                                    : packet.type == MQ5_CONNECT ? packet.connect.client_id
                                                                                 : (struct span){NULL, 0},
                                                    &packet))
        return !(connection->flags & LINK_DEAD);
    if (connection->flags & LINK_DEAD)
        return false;
    if (connection->session)
        handle(broker, connection, now_us, &packet);
    else
        handle_first(broker, connection, now_us, &packet, mq5_stream_packet_bytes(stream));
    return !(connection->flags & LINK_DEAD);
}

/* What is left of a packet waits for the rest of it. */
static void keep_cut(struct cloud_broker *broker, struct cloud_connection *connection, int64_t now_us,
                     const struct mq5_stream *stream, struct cut_packet *cut)
{
    bool unfinished = stream->used && !stream->consumed_pending && !(connection->flags & LINK_DEAD);
    if (unfinished && broker_link_more(broker, connection)) {
        cut->used = stream->used;
        connection->more->cut = cut;
        return;
    }
    free_cut(broker, cut);
    if (unfinished)
        broker_link_fail(broker, connection, now_us, MQ5_QUOTA_EXCEEDED, "no memory", CLOUD_CLOSED_LIMIT);
    else
        give_back_more(broker, connection);
}

void broker_link_input(struct cloud_broker *broker, struct cloud_connection *connection, int64_t now_us,
                       const uint8_t *data, size_t length)
{
    struct grower grower = {broker, connection->more ? connection->more->cut : NULL};
    struct mq5_stream stream = {.max_packet = broker->options.maximum_packet_size,
                                .version = connection->session ? (uint8_t)broker_version(connection) : MQ5_V5,
                                .sender = MQ5_FROM_CLIENT,
                                .grow = grow_cut,
                                .grow_context = &grower};
    if (grower.cut) {
        connection->more->cut = NULL;
        stream.buffer = grower.cut->bytes;
        stream.capacity = grower.cut->capacity;
        stream.used = grower.cut->used;
    }
    broker->counts.bytes_in += length;
    while (step(broker, connection, now_us, &stream, &data, &length) && (length || grower.cut))
        ;
    if (grower.cut)
        keep_cut(broker, connection, now_us, &stream, grower.cut);
}
