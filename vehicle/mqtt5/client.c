/* client.c: the life of a connection: which state it is in, what starts and what ends it, and what time does to it.
 *
 * Session state (operations in flight, inbound QoS 2 ids) outlives links; everything else is forgotten with the link. */
#include "client_internal.h"

#define DEFAULT_TIMEOUT_US (30 * US_PER_S)

/* [from][to]. A link that goes away ends every state. */
/* clang-format off */
const bool mq5_client_edges[CLIENT_STATES][CLIENT_STATES] = {
    /* to:               IDLE   CONNECTING AUTH   ONLINE CLOSED */
    [MQ5C_IDLE]       = {false, true,      false, false, false},
    [MQ5C_CONNECTING] = {true,  false,     true,  true,  true},
    [MQ5C_AUTH]       = {true,  false,     true,  true,  true},
    [MQ5C_ONLINE]     = {true,  false,     false, false, true},
    [MQ5C_CLOSED]     = {true,  false,     false, false, false},
};
/* clang-format on */

static int64_t timeout_us(uint32_t configured_us)
{
    return configured_us ? configured_us : DEFAULT_TIMEOUT_US;
}

/* The only writer of the state. The server has the CONNACK time-out anew for each step of an authentication. */
void mq5_client_enter(struct mq5_client *client, int64_t now_us, enum mq5_client_state state)
{
    ASSERT(mq5_client_edges[client->state][state]);
    client->state = (uint8_t)state;
    client->awaiting_ping = 0;
    client->deadline_us = state == MQ5C_CONNECTING || state == MQ5C_AUTH
                              ? now_us + timeout_us(client->config->connack_timeout_us)
                              : TIME_NEVER;
}

uint16_t mq5_client_receive_maximum(const struct mq5_client_config *config)
{
    return config->receive_maximum ? config->receive_maximum : CLIENT_DEFAULT_RECEIVE_MAXIMUM;
}

/* FNV-1a, never 0. Enough to notice that somebody changed the method in the middle. */
uint32_t mq5_client_method_hash(struct span method)
{
    uint32_t hash = UINT32_C(2166136261);
    for (uint32_t i = 0; i < method.length; i++)
        hash = (hash ^ method.data[i]) * UINT32_C(16777619);
    return hash ? hash : 1;
}

static size_t ring_bytes(const struct mq5_client_config *config)
{
    return config->outgoing_maximum > 1 ? config->outgoing_maximum * sizeof(struct mq5_inflight) : 0;
}

size_t mq5_client_memory(const struct mq5_client_config *config)
{
    return ring_bytes(config) + mq5_inbound_bytes(config);
}

void mq5_client_init(struct mq5_client *client, const struct mq5_client_config *config, void *memory)
{
    memset(client, 0, sizeof(*client));
    client->config = config;
    client->on_demand = !memory;
    client->outgoing_capacity = 1;
    client->next_packet_id = 1;
    client->deadline_us = TIME_NEVER;
    ASSERT(memory || (config->ops->memory_take && config->ops->memory_give));
    if (memory && config->outgoing_maximum > 1) {
        client->outgoing_capacity = config->outgoing_maximum;
        client->ring = memory;
    }
    if (memory && mq5_inbound_bytes(config) > 0) {
        client->inbound = (struct mq5_inbound *)(void *)((uint8_t *)memory + ring_bytes(config));
        *client->inbound = (struct mq5_inbound){0, 0};
    }
}

void mq5_client_release(struct mq5_client *client)
{
    if (client->on_demand && client->outgoing_capacity > 1)
        client->config->ops->memory_give(client, client->ring, client->outgoing_capacity * sizeof(*client->ring));
    client->outgoing_capacity = 1;
    client->incoming_count = client->outgoing_count = client->outgoing_head = 0;
    mq5_inbound_new_link(client);
}

static void connect_properties(const struct mq5_client *client, const struct mq5_client_connect *connect,
                               struct mq5_properties *out)
{
    const struct mq5_client_config *config = client->config;
    out->session_expiry_s = connect->session_expiry_s;
    out->receive_maximum = mq5_client_receive_maximum(config);
    out->maximum_packet_size = config->maximum_packet_size;
    out->topic_alias_maximum = client_alias_maximum(client);
    out->request_response_information = connect->request_response_information;
    out->request_problem_information = connect->request_problem_information;
    out->authentication_method = connect->authentication_method;
    out->authentication_data = connect->authentication_data;
    out->user = connect->user;
    out->user_count = connect->user_count;
    out->present = (connect->session_expiry_s ? MQ5_BIT(MQ5_SESSION_EXPIRY_INTERVAL) : 0) |
                   (out->receive_maximum != UINT16_MAX ? MQ5_BIT(MQ5_RECEIVE_MAXIMUM) : 0) |
                   (config->maximum_packet_size ? MQ5_BIT(MQ5_MAXIMUM_PACKET_SIZE) : 0) |
                   (out->topic_alias_maximum ? MQ5_BIT(MQ5_TOPIC_ALIAS_MAXIMUM) : 0) |
                   (connect->request_response_information ? MQ5_BIT(MQ5_REQUEST_RESPONSE_INFORMATION) : 0) |
                   (connect->request_problem_information ? 0 : MQ5_BIT(MQ5_REQUEST_PROBLEM_INFORMATION)) |
                   (connect->authentication_method.length ? MQ5_BIT(MQ5_AUTHENTICATION_METHOD) : 0) |
                   (connect->authentication_data.length ? MQ5_BIT(MQ5_AUTHENTICATION_DATA) : 0) |
                   (connect->user_count ? MQ5_BIT(MQ5_USER_PROPERTY) : 0);
}

static void connect_packet(const struct mq5_client *client, const struct mq5_client_connect *connect,
                           struct mq5_packet *out)
{
    struct mq5_connect *packet = &out->connect;
    memset(out, 0, sizeof(*out));
    out->type = MQ5_CONNECT;
    packet->version = client->config->version;
    packet->clean_start = connect->clean_start;
    packet->keep_alive_s = connect->keep_alive_s;
    packet->client_id = connect->client_id;
    packet->user_name = connect->user_name;
    packet->has_user_name = connect->user_name.length > 0;
    packet->password = connect->password;
    packet->has_password = connect->password.length > 0;
    if (connect->will) {
        packet->has_will = true;
        packet->will_qos = connect->will->qos;
        packet->will_retain = connect->will->retain;
        packet->will_topic = connect->will->topic;
        packet->will_payload = connect->will->payload;
        if (client->config->version == MQ5_V5)
            packet->will_properties = connect->will->properties;
    }
    if (client->config->version == MQ5_V5)
        connect_properties(client, connect, &packet->properties);
}

/* What 5 lets the server change in its CONNACK starts at what we asked for; 3.1.1 has no limits but the protocol's. */
static void new_connection(struct mq5_client *client, const struct mq5_client_connect *connect)
{
    bool v5 = client->config->version == MQ5_V5;
    client->generation++;
    client->clean_start = connect->clean_start;
    client->session_known |= connect->session_kept;
    client->unanswered = 1;
    client->keep_alive_s = connect->keep_alive_s;
    client->session_expiry_s = v5 ? connect->session_expiry_s : connect->clean_start ? 0 : MQ5_SESSION_NEVER_EXPIRES;
    client->expiry_was_zero = client->session_expiry_s == 0;
    client->no_problem_information = v5 && !connect->request_problem_information;
    client->authentication_hash =
        v5 && connect->authentication_method.length ? mq5_client_method_hash(connect->authentication_method) : 0;
    client->reauthenticating = 0;
    mq5_inbound_new_link(client);
    client->aliases_sent = 0;
    client->incoming_carried = client->incoming_count;
    mq5_outgoing_new_link(client);
}

enum mq5_status mq5_client_connect(struct mq5_client *client, int64_t now_us, const struct mq5_client_connect *connect)
{
    struct mq5_packet packet;
    ASSERT(client->state == MQ5C_IDLE);
    connect_packet(client, connect, &packet);
    client->peer_maximum_packet_size = 0;
    enum mq5_status status = mq5_client_write(client, now_us, &packet);
    if (status != MQ5_OK)
        return status;
    new_connection(client, connect);
    client->last_received_us = now_us;
    mq5_client_enter(client, now_us, MQ5C_CONNECTING);
    return MQ5_OK;
}

/* The peer broke a rule: say so where the version has words for it, and be done with the link. */
void mq5_client_fail(struct mq5_client *client, int64_t now_us, uint8_t reason, const char *what)
{
    if (!mq5_reason_allowed(MQ5_DISCONNECT, reason, MQ5_FROM_CLIENT))
        reason = MQ5_PROTOCOL_ERROR;
    if (client->config->version == MQ5_V5) {
        struct mq5_packet packet;
        packet.type = MQ5_DISCONNECT;
        packet.disconnect.reason = reason;
        mq5_properties_clear(&packet.disconnect.properties);
        mq5_client_write(client, now_us, &packet);
    }
    mq5_client_enter(client, now_us, MQ5C_CLOSED);
    client_emit(client, MQ5C_EV_DISCONNECTED, reason, 0, what, NULL);
}

void mq5_client_dispatch(struct mq5_client *client, int64_t now_us, struct mq5_packet *packet)
{
    const struct client_cell *cell = &mq5_client_cells[client->state][packet->type];
    if (cell->handle)
        cell->handle(client, now_us, packet);
    else if (cell->reason)
        mq5_client_fail(client, now_us, cell->reason, "this packet must not come now");
}

static void input_failed(struct mq5_client *client, int64_t now_us, enum mq5_status status,
                         const struct mq5_error *error)
{
    if (status == MQ5_NO_SPACE || status == MQ5_TOO_LARGE)
        mq5_client_fail(client, now_us, MQ5_PACKET_TOO_LARGE, "packet larger than we take");
    else
        mq5_client_fail(client, now_us, error->reason, error->what);
}

struct client_input {
    struct mq5_stream stream;
    struct mq5_client *client;
};

/* The first packet that comes in pieces: from here on the stream has what a session with memory of its own has from the start. */
static uint8_t *input_grow(void *context, uint8_t *buffer, uint32_t old_capacity, uint32_t wanted,
                           uint32_t *new_capacity)
{
    struct client_input *input = context;
    (void)buffer, (void)old_capacity;
    if (wanted > input->client->config->stream_bytes || !mq5_inbound_need(input->client))
        return NULL;
    input->stream.grow = NULL;
    *new_capacity = input->client->config->stream_bytes;
    return mq5_inbound_stream(input->client);
}

static void input_begin(struct client_input *input, struct mq5_client *client)
{
    const struct mq5_client_config *config = client->config;
    struct mq5_stream *stream = &input->stream;
    input->client = client;
    stream->buffer = client->inbound ? mq5_inbound_stream(client) : NULL;
    stream->capacity = client->inbound ? config->stream_bytes : 0;
    stream->used = client->inbound ? client->inbound->stream_used : 0;
    stream->max_packet = config->version == MQ5_V5 ? config->maximum_packet_size : 0;
    stream->version = config->version;
    stream->sender = MQ5_FROM_SERVER;
    stream->consumed_pending = 0;
    stream->grow = client->inbound || !client->on_demand ? NULL : input_grow;
    stream->grow_context = input;
}

/* Handlers may close the connection, lose the link or even begin the next one: then the rest of these bytes is nobody's. */
void mq5_client_input(struct mq5_client *client, int64_t now_us, const uint8_t *data, size_t length)
{
    const struct mq5_client_ops *ops = client->config->ops;
    struct client_input input;
    struct mq5_packet packet;
    struct mq5_error error = {MQ5_OK, MQ5_MALFORMED_PACKET, "malformed", "", 0};
    enum mq5_status status = MQ5_OK;
    ASSERT(!client->in_input);
    if (!client_open(client))
        return;
    input_begin(&input, client);
    uint8_t generation = client->generation;
    client->in_input = 1;
    client->last_received_us = now_us;
    /* Nothing gathered and nothing left is the end of nearly every input. */
    while (status == MQ5_OK && (length > 0 || input.stream.used > 0) && client->generation == generation &&
           client_open(client)) {
        status = mq5_stream_next(&input.stream, &data, &length, &packet, &error);
        if (status == MQ5_OK) {
            if (!ops->inbound || ops->inbound(client, &packet))
                mq5_client_dispatch(client, now_us, &packet);
        } else if (status != MQ5_MORE) {
            input_failed(client, now_us, status, &error);
        }
    }
    if (client->inbound && client->generation == generation)
        client->inbound->stream_used = input.stream.consumed_pending ? 0 : input.stream.used;
    client->in_input = 0;
    mq5_inbound_settle(client);
}

/* A CONNECT that nobody answered may have made a session all the same; one that was refused has changed nothing. */
static void update_session_known(struct mq5_client *client)
{
    if (client->accepted)
        client->session_known = client->session_expiry_s > 0;
    else if (client->unanswered && client->session_expiry_s > 0)
        client->session_possible = 1;
    client->accepted = client->unanswered = 0;
}

void mq5_client_link_down(struct mq5_client *client, int64_t now_us)
{
    if (client->state == MQ5C_IDLE)
        return;
    update_session_known(client);
    client->generation++;
    mq5_inbound_new_link(client);
    mq5_client_enter(client, now_us, MQ5C_IDLE);
    mq5_outgoing_drop_operations(client);
}

void mq5_client_ping_interval(struct mq5_client *client, int64_t now_us, uint16_t seconds)
{
    client->ping_interval_s = seconds;
}

static int64_t ping_timeout_us(const struct mq5_client *client)
{
    int64_t keep_alive_us = mq5_client_ping_s(client) * US_PER_S, timeout = timeout_us(client->config->ping_timeout_us);
    return timeout < keep_alive_us ? timeout : keep_alive_us;
}

static void ping(struct mq5_client *client, int64_t now_us)
{
    struct mq5_packet packet = {.type = MQ5_PINGREQ};
    mq5_client_write(client, now_us, &packet);
    client->awaiting_ping = 1;
    client->deadline_us = now_us + ping_timeout_us(client);
}

void mq5_client_tick(struct mq5_client *client, int64_t now_us)
{
    if (now_us < mq5_client_next_deadline(client))
        return;
    if (client->state == MQ5C_ONLINE && !client->awaiting_ping) {
        ping(client, now_us);
    } else if (client->state == MQ5C_ONLINE) {
        mq5_client_enter(client, now_us, MQ5C_CLOSED);
        client_emit(client, MQ5C_EV_DISCONNECTED, MQ5_KEEP_ALIVE_TIMEOUT, 0, "no PINGRESP in time", NULL);
    } else {
        mq5_client_enter(client, now_us, MQ5C_CLOSED);
        client_emit(client, MQ5C_EV_REFUSED, MQ5_KEEP_ALIVE_TIMEOUT, 0, "no CONNACK in time", NULL);
    }
}

uint16_t mq5_client_keep_alive(const struct mq5_client *client)
{
    return client->keep_alive_s;
}

uint32_t mq5_client_session_expiry(const struct mq5_client *client)
{
    return client->session_expiry_s;
}

uint16_t mq5_client_inflight(const struct mq5_client *client)
{
    return client->outgoing_count;
}
