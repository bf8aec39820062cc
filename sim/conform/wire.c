/* wire.c: one connection of a check: opened, written to, read from, ended. */
#include "internal.h"

#include <stdlib.h>

#define READ_CHUNK      65536
#define SEND_BUFFER_MAX (300u << 20)

/* ---- opening ------------------------------------------------------------------------------------------------------------ */

/* protocols: of WebSocket; NULL: as usual. *why NULL: a connection is needed. */
static struct wire *open_wire(struct conform_probe *probe, const char *name, const char *protocols, const char **why)
{
    char error[300] = "";
    need(probe, probe->wire_count < PROBE_WIRES, "the check has too many connections");
    struct wire *wire = arena_take(&probe->arena, sizeof(*wire));
    wire->probe = probe;
    wire->name = name;
    wire->number = (uint8_t)probe->wire_count;
    wire->version = probe->check->version ? probe->check->version : MQ5_V5;
    wire->closed_us = TIME_NEVER;
    wire->watch = watch_create(probe);
    suite_connect_turn(probe->suite);
    const struct target *target = probe->suite->target;
    int64_t patience_us = probe_patience(probe);
    wire->transport = protocols ? transport_open_web(target, protocols, patience_us, error, sizeof(error))
                                : transport_open(target, patience_us, error, sizeof(error));
    if (!wire->transport && why) {
        *why = probe_text(probe, "%s", error);
        trace_event(probe, wire->number, "%s: %s", name, error);
        return NULL;
    }
    need(probe, wire->transport != NULL, "no connection: %s", error);
    pthread_mutex_lock(&probe->suite->lock);
    wire->connection = (uint32_t)probe->suite->connections++;
    pthread_mutex_unlock(&probe->suite->lock);
    probe->wires[probe->wire_count++] = wire;
    const struct web_seen *web = transport_web(wire->transport);
    trace_event(probe, wire->number, "%s: connection %u opened%s%s", name, wire->connection,
                web ? ", WebSocket with subprotocol " : "",
                !web               ? ""
                : web->protocol[0] ? web->protocol
                                   : "(none)");
    return wire;
}

struct wire *probe_open(struct conform_probe *probe, const char *name)
{
    return open_wire(probe, name, NULL, NULL);
}

struct wire *probe_open_web(struct conform_probe *probe, const char *name, const char *protocols, const char **why)
{
    return open_wire(probe, name, protocols, why);
}

/* ---- sending -------------------------------------------------------------------------------------------------------------- */

struct span probe_encode(struct conform_probe *probe, const struct mq5_packet *packet, const struct mq5_raw *raw)
{
    static const struct mq5_raw plain;
    enum mq5_version version = packet->type == MQ5_CONNECT && packet->connect.version == MQ5_V311 ? MQ5_V311
                               : probe->check->version ? probe->check->version
                                                       : MQ5_V5;
    size_t length = 0;
    uint8_t small[1];
    mq5_encode_raw(version, packet, raw ? raw : &plain, small, 0, &length);
    uint8_t *bytes = arena_take(&probe->arena, length + 1);
    if (length == 0 || mq5_encode_raw(version, packet, raw ? raw : &plain, bytes, length, &length) != MQ5_OK)
        probe_end(probe, CONFORM_ERROR, 0, "a %s of the check cannot be encoded", mq5_type_name(packet->type));
    return (struct span){bytes, (uint32_t)length};
}

/* A CONNECT whose protocol name or version is not that of MQTT 5. */
static bool names_other_version(struct span bytes)
{
    static const uint8_t name[] = {0, 4, 'M', 'Q', 'T', 'T', MQ5_V5};
    uint32_t at = 1;
    while (at < bytes.length && at < 4 && bytes.data[at] & 0x80)
        at++;
    at++;
    return bytes.length >= at + sizeof(name) && bytes.data[0] >> 4 == MQ5_CONNECT &&
           memcmp(bytes.data + at, name, sizeof(name)) != 0;
}

/* ---- what would be left behind -------------------------------------------------------------------------------------------- */

struct alias {
    struct alias *next;
    uint16_t number;
    struct span topic;
};

/* The topic of a PUBLISH; by its alias when it has no other. */
static struct span topic_of(struct wire *wire, const struct mq5_publish *publish)
{
    struct alias *alias = wire->aliases;
    if (!(publish->properties.present & MQ5_BIT(MQ5_TOPIC_ALIAS)))
        return publish->topic;
    while (alias && alias->number != publish->properties.topic_alias)
        alias = alias->next;
    if (!publish->topic.length)
        return alias ? alias->topic : publish->topic;
    if (!alias) {
        alias = arena_take(&wire->probe->arena, sizeof(*alias));
        *alias = (struct alias){wire->aliases, publish->properties.topic_alias, publish->topic};
        wire->aliases = alias;
    }
    alias->topic = publish->topic;
    return publish->topic;
}

static void note_login(struct wire *wire, const struct mq5_connect *login)
{
    bool expires_later =
        login->properties.present & MQ5_BIT(MQ5_SESSION_EXPIRY_INTERVAL) && login->properties.session_expiry_s > 0;
    bool stays = login->version == MQ5_V311 ? !login->clean_start : expires_later;
    bool retains = login->has_will && login->will_retain && login->will_payload.length;
    bool delays = login->has_will && login->will_properties.present & MQ5_BIT(MQ5_WILL_DELAY_INTERVAL);
    if (retains)
        probe_left_retained(wire->probe, login->will_topic);
    /* Who takes the session over knows that its will is out, and waits for no delay. */
    if ((stays || retains || delays) && login->client_id.length)
        probe_left_session(wire->probe, login->client_id);
}

/* Illegal on purpose, and a broker may take it all the same: the topic stands where it always does. */
static void note_illegal(struct wire *wire, struct span bytes)
{
    uint32_t at = 1;
    while (at < 4 && at < bytes.length && bytes.data[at] & 0x80)
        at++;
    at++;
    if (bytes.length < at + 2 || bytes.data[0] >> 4 != MQ5_PUBLISH || !(bytes.data[0] & 1))
        return;
    uint32_t length = (uint32_t)bytes.data[at] << 8 | bytes.data[at + 1];
    if (length && bytes.length >= at + 2 + length && !memchr(bytes.data + at + 2, 0, length))
        probe_left_retained(wire->probe, (struct span){bytes.data + at + 2, length});
}

/* What the bytes would leave behind is noted before they go. */
static void note_sent(struct wire *wire, struct span bytes)
{
    struct mq5_packet packet;
    watch_sent(wire, bytes);
    wire->other_version |= !wire->login_sent && names_other_version(bytes);
    if (mq5_decode(wire->version, MQ5_FROM_CLIENT, bytes.data, bytes.length, &packet, NULL) != MQ5_OK) {
        note_illegal(wire, bytes);
        return;
    }
    if (packet.type == MQ5_CONNECT) {
        if (!wire->login_sent) {
            wire->login_sent = true;
            wire->login = packet.connect;
        }
        note_login(wire, &packet.connect);
    } else if (packet.type == MQ5_DISCONNECT) {
        wire->left = packet.disconnect.reason == MQ5_SUCCESS;
    } else if (packet.type == MQ5_PUBLISH) {
        struct span topic = topic_of(wire, &packet.publish);
        if (packet.publish.retain && packet.publish.payload.length && topic.length)
            probe_left_retained(wire->probe, topic);
    }
}

/* The broker may have given the client its name, or the session a longer life than was asked for. */
static void note_connack(struct wire *wire, const struct mq5_connack *connack)
{
    const struct mq5_properties *told = &connack->properties, *asked = &wire->login.properties;
    bool named = told->present & MQ5_BIT(MQ5_ASSIGNED_CLIENT_IDENTIFIER);
    const struct mq5_properties *in_force = told->present & MQ5_BIT(MQ5_SESSION_EXPIRY_INTERVAL) ? told : asked;
    struct span id = named ? told->assigned_client_id : wire->login.client_id;
    if (connack->reason == MQ5_SUCCESS && id.length && in_force->present & MQ5_BIT(MQ5_SESSION_EXPIRY_INTERVAL) &&
        in_force->session_expiry_s > 0)
        probe_left_session(wire->probe, id);
}

/* ---- sending, on the wire -------------------------------------------------------------------------------------------------- */

/* shown: trace_masked() of the whole that the data are a piece of. */
static void write_out(struct wire *wire, const uint8_t *data, const uint8_t *shown, size_t length)
{
    if (!wire->transport || wire->ended || wire->half_closed) {
        trace_event(wire->probe, wire->number, "not sent: the connection is over");
        return;
    }
    if (wire->probe->suite->capture)
        capture_bytes(wire->probe->suite->capture, wire->connection, true, clock_now_us(),
                      (struct span){shown, (uint32_t)length});
    if (!transport_write(wire->transport, data, length, probe_patience(wire->probe)))
        trace_event(wire->probe, wire->number, "not all of it could be sent");
}

/* The last bytes sent are packets as far as they look like packets; anything else is one line. */
static void trace_sent(struct wire *wire, const uint8_t *data, size_t length)
{
    uint32_t packet_length = 0;
    while (length > 0) {
        size_t take = length;
        enum mq5_status status = mq5_frame(data, length, 0, &packet_length);
        wire->cut = status == MQ5_MORE || (status == MQ5_OK && packet_length > length);
        if (status == MQ5_OK && packet_length <= length)
            take = packet_length;
        struct span bytes = {data, (uint32_t)take};
        note_sent(wire, bytes);
        trace_bytes(wire->probe, wire, CONFORM_OUT, bytes, NULL);
        data += take;
        length -= take;
        pthread_mutex_lock(&wire->probe->suite->lock);
        wire->probe->suite->packets_out++;
        pthread_mutex_unlock(&wire->probe->suite->lock);
    }
}

void wire_announce(struct wire *wire, const void *bytes, size_t length)
{
    trace_sent(wire, memcpy(arena_take(&wire->probe->arena, length + 1), bytes, length), length);
    wire->announced = (struct span){bytes, (uint32_t)length};
    wire->announced_shown = trace_masked(wire->probe, wire->announced).data;
}

/* What a frame carries, as it may be shown: of what was announced, a piece of the whole. */
static struct span frame_shown(struct wire *wire, const uint8_t *bytes, size_t length)
{
    uintptr_t at = (uintptr_t)bytes - (uintptr_t)wire->announced.data;
    if (at < wire->announced.length && length <= wire->announced.length - at)
        return (struct span){wire->announced_shown + at, (uint32_t)length};
    return trace_masked(wire->probe, (struct span){bytes, (uint32_t)length});
}

void wire_send_frame(struct wire *wire, enum frame_kind kind, bool last, const void *bytes, size_t length)
{
    static const char *const names[16] = {"a continuation", "a text", "a binary", NULL, NULL, NULL, NULL, NULL,
                                          "a closing",      "a ping", "a pong"};
    struct conform_probe *probe = wire->probe;
    trace_event(probe, wire->number, "%s frame of %zu bytes%s", names[kind] ? names[kind] : "an unknown", length,
                last ? "" : ", more to come");
    if (!wire->transport || wire->ended || wire->half_closed) {
        trace_event(probe, wire->number, "not sent: the connection is over");
        return;
    }
    if (kind < FRAME_CLOSE && probe->suite->capture && length)
        capture_bytes(probe->suite->capture, wire->connection, true, clock_now_us(), frame_shown(wire, bytes, length));
    if (!transport_write_frame(wire->transport, kind, last, bytes, length, probe_patience(probe)))
        trace_event(probe, wire->number, "not all of it could be sent");
}

void wire_send_bytes(struct wire *wire, const void *bytes, size_t length)
{
    uint8_t *kept = arena_take(&wire->probe->arena, length + 1); /* wire->login points into it */
    memcpy(kept, bytes, length);
    trace_sent(wire, kept, length);
    if (!wire->gathering) {
        write_out(wire, kept, trace_masked(wire->probe, (struct span){kept, (uint32_t)length}).data, length);
        return;
    }
    if (wire->output_length + length > wire->output_capacity) {
        uint32_t capacity = (uint32_t)(wire->output_length + length) * 2;
        uint8_t *output = arena_take(&wire->probe->arena, capacity);
        if (wire->output_length)
            memcpy(output, wire->output, wire->output_length);
        wire->output = output;
        wire->output_capacity = capacity;
    }
    memcpy(wire->output + wire->output_length, kept, length);
    wire->output_length += (uint32_t)length;
}

void wire_send_raw(struct wire *wire, const struct mq5_packet *packet, const struct mq5_raw *raw)
{
    struct span bytes = probe_encode(wire->probe, packet, raw);
    wire_send_bytes(wire, bytes.data, bytes.length);
}

void wire_send(struct wire *wire, const struct mq5_packet *packet)
{
    wire_send_raw(wire, packet, NULL);
}

void wire_send_slowly(struct wire *wire, const void *bytes, size_t length, size_t piece)
{
    uint8_t *kept = arena_take(&wire->probe->arena, length + 1);
    memcpy(kept, bytes, length);
    trace_sent(wire, kept, length);
    const uint8_t *shown = trace_masked(wire->probe, (struct span){kept, (uint32_t)length}).data;
    for (size_t at = 0; at < length; at += piece) {
        write_out(wire, kept + at, shown + at, length - at < piece ? length - at : piece);
        probe_wait(wire->probe, 2 * US_PER_MS);
    }
}

void wire_gather(struct wire *wire)
{
    wire->gathering = true;
}

void wire_flush(struct wire *wire)
{
    wire->gathering = false;
    struct span shown = trace_masked(wire->probe, (struct span){wire->output, wire->output_length});
    write_out(wire, wire->output, shown.data, wire->output_length);
    wire->output_length = 0;
}

uint16_t wire_packet_id(struct wire *wire)
{
    if (++wire->last_id == 0)
        wire->last_id = 1;
    return wire->last_id;
}

/* ---- receiving --------------------------------------------------------------------------------------------------------------- */

static void over(struct wire *wire, bool reset)
{
    struct conform_probe *probe = wire->probe;
    wire->ended = true;
    wire->reset = reset;
    wire->closed_us = clock_now_us();
    if (wire->input_length && !wire->malformed)
        trace_event(probe, wire->number, "%u bytes of a packet came, and no more", wire->input_length);
    trace_event(probe, wire->number, "%s: the broker %s the connection", wire->name, reset ? "reset" : "closed");
    if (probe->suite->capture)
        capture_ends(probe->suite->capture, wire->connection, false, wire->closed_us, reset);
    watch_ended(wire);
}

static void answer(struct wire *wire, const struct mq5_packet *packet)
{
    if (wire->hold || wire->probe->ending)
        return;
    if (packet->type == MQ5_PUBLISH && packet->publish.qos > 0)
        wire_ack(wire, packet->publish.qos == 1 ? MQ5_PUBACK : MQ5_PUBREC, packet->publish.packet_id, MQ5_SUCCESS);
    else if (packet->type == MQ5_PUBREL)
        wire_ack(wire, MQ5_PUBCOMP, packet->ack.packet_id, MQ5_SUCCESS);
}

static void keep(struct wire *wire, struct received *received)
{
    if (wire->inbox_count == wire->inbox_capacity) {
        uint32_t capacity = wire->inbox_capacity ? wire->inbox_capacity * 2 : 16;
        struct received **inbox = arena_take(&wire->probe->arena, capacity * sizeof(struct received *));
        if (wire->inbox_count)
            memcpy(inbox, wire->inbox, wire->inbox_count * sizeof(struct received *));
        wire->inbox = inbox;
        wire->inbox_capacity = capacity;
    }
    wire->inbox[wire->inbox_count++] = received;
}

static void take_packet(struct wire *wire, const uint8_t *data, uint32_t length)
{
    struct conform_probe *probe = wire->probe;
    uint8_t *bytes = arena_take(&probe->arena, length);
    memcpy(bytes, data, length);
    struct received *received = arena_take(&probe->arena, sizeof(*received));
    struct mq5_error error;
    received->at_us = clock_now_us();
    received->bytes = (struct span){bytes, length};
    enum mq5_status status = mq5_decode(wire->version, MQ5_FROM_SERVER, bytes, length, &received->packet, &error);
    if (status != MQ5_OK && wire->other_version && !wire->connack_came &&
        mq5_decode(MQ5_V311, MQ5_FROM_SERVER, bytes, length, &received->packet, NULL) == MQ5_OK) {
        wire->version = MQ5_V311; /* a refusal that clients of 3.1.1 understand */
        status = MQ5_OK;
    } else if (status != MQ5_OK && wire->version == MQ5_V311 && !wire->login_sent && !wire->connack_came &&
               mq5_decode(MQ5_V5, MQ5_FROM_SERVER, bytes, length, &received->packet, NULL) == MQ5_OK) {
        wire->version = MQ5_V5; /* the CONNECT named neither: a refusal in the manner of 5.0 */
        status = MQ5_OK;
    }
    received->line = trace_bytes(probe, wire, CONFORM_IN, received->bytes, status == MQ5_OK ? &received->packet : NULL);
    if (status != MQ5_OK) {
        wire->malformed = true;
        watch_undecodable(wire, received->bytes, &error, received->line);
        return;
    }
    if (received->packet.type == MQ5_CONNACK && !wire->connack_came) {
        wire->connack_came = true;
        wire->connack = received->packet.connack;
        note_connack(wire, &wire->connack);
    }
    if (received->packet.type == MQ5_DISCONNECT)
        wire->disconnect_came = true;
    watch_came(wire, received);
    keep(wire, received);
    answer(wire, &received->packet);
}

static bool input_room(struct wire *wire)
{
    if (wire->input_capacity - wire->input_length >= READ_CHUNK)
        return true;
    uint32_t capacity = wire->input_capacity ? wire->input_capacity * 2 : READ_CHUNK * 2;
    uint8_t *input = realloc(wire->input, capacity);
    if (!input)
        return false;
    wire->input = input;
    wire->input_capacity = capacity;
    return true;
}

static void take_input(struct wire *wire)
{
    uint32_t at = 0, length = 0;
    while (at < wire->input_length && !wire->malformed) {
        enum mq5_status status = mq5_frame(wire->input + at, wire->input_length - at, 0, &length);
        if (status == MQ5_MORE || (status == MQ5_OK && length > wire->input_length - at))
            break;
        if (status == MQ5_OK) {
            take_packet(wire, wire->input + at, length);
            at += length;
            pthread_mutex_lock(&wire->probe->suite->lock);
            wire->probe->suite->packets_in++;
            pthread_mutex_unlock(&wire->probe->suite->lock);
            continue;
        }
        struct mq5_error error = {status, MQ5_MALFORMED_PACKET, "remaining length too long or not in its shortest form",
                                  "MQTT-1.5.5-1", 1};
        struct span rest = {wire->input + at, wire->input_length - at};
        wire->malformed = true;
        watch_undecodable(wire, rest, &error, trace_bytes(wire->probe, wire, CONFORM_IN, rest, NULL));
    }
    if (wire->malformed)
        at = wire->input_length;
    memmove(wire->input, wire->input + at, wire->input_length - at);
    wire->input_length -= at;
}

/* After the packets that came with it. */
static void trace_remark(struct wire *wire)
{
    const char *remark = transport_remark(wire->transport);
    if (remark)
        trace_event(wire->probe, wire->number, "%s", remark);
}

void wire_read(struct wire *wire)
{
    for (int turns = 0; turns < 16 && wire->transport && !wire->ended; turns++) {
        if (!input_room(wire))
            probe_end(wire->probe, CONFORM_ERROR, 0, "out of memory");
        ssize_t got = transport_read(wire->transport, wire->input + wire->input_length,
                                     wire->input_capacity - wire->input_length);
        if (got <= 0)
            trace_remark(wire);
        if (got == TRANSPORT_NOTHING)
            return;
        if (got < 0) {
            over(wire, got == TRANSPORT_RESET);
            return;
        }
        if (wire->probe->suite->capture)
            capture_bytes(wire->probe->suite->capture, wire->connection, false, clock_now_us(),
                          trace_masked(wire->probe, (struct span){wire->input + wire->input_length, (uint32_t)got}));
        wire->input_length += (uint32_t)got;
        take_input(wire);
        trace_remark(wire);
    }
}

const struct web_seen *wire_web(const struct wire *wire)
{
    return wire->transport ? transport_web(wire->transport) : NULL;
}

uint32_t wire_count(const struct wire *wire)
{
    return wire->inbox_count;
}

const struct received *wire_at(const struct wire *wire, uint32_t index)
{
    return index < wire->inbox_count ? wire->inbox[index] : NULL;
}

bool wire_is_open(const struct wire *wire)
{
    return wire->transport && !wire->ended;
}

bool wire_was_reset(const struct wire *wire)
{
    return wire->reset;
}

bool wire_is_legal(const struct wire *wire)
{
    return !wire->malformed;
}

bool wire_is_malformed(const struct wire *wire)
{
    return wire->malformed;
}

int64_t wire_closed_at(const struct wire *wire)
{
    return wire->closed_us;
}

const struct mq5_connack *wire_connack(const struct wire *wire)
{
    return wire->connack_came ? &wire->connack : NULL;
}

void wire_hold_acks(struct wire *wire, bool hold)
{
    wire->hold = hold;
}

/* ---- ends ----------------------------------------------------------------------------------------------------------------------- */

void wire_end(struct wire *wire, enum wire_ending ending)
{
    static const char *const names[] = {"closes", "resets", "half-closes", "closes without a word of TLS"};
    struct conform_probe *probe = wire->probe;
    if (!wire->transport || wire->half_closed)
        ending = ending == WIRE_HALF_CLOSE ? WIRE_FIN : ending;
    if (!wire->transport)
        return;
    trace_event(probe, wire->number, "%s %s", wire->name, names[ending]);
    if (probe->suite->capture && !wire->half_closed)
        capture_ends(probe->suite->capture, wire->connection, true, clock_now_us(), ending == WIRE_RESET);
    transport_end(wire->transport, ending);
    if (ending == WIRE_HALF_CLOSE) {
        wire->half_closed = true;
        return;
    }
    transport_free(wire->transport);
    wire->transport = NULL;
    watch_ended(wire);
}

/* A will that is retained would be published after everything was swept. */
static void leave_without_will(struct wire *wire)
{
    struct mq5_packet packet = {.type = MQ5_DISCONNECT};
    if (wire_is_open(wire) && wire->connack_came && wire->login_sent && wire->login.has_will && !wire->left &&
        !wire->cut && !wire->half_closed && !wire->gathering)
        wire_send(wire, &packet);
}

void wire_release(struct wire *wire)
{
    if (wire->transport) {
        wire_read(wire); /* what is there is judged, too */
        while (wire_is_open(wire) && clock_now_us() <= watch_waits_until(wire))
            probe_pump(wire->probe, wire, watch_waits_until(wire) + 1);
        leave_without_will(wire);
        wire_end(wire, WIRE_FIN);
    }
    free(wire->input);
    wire->input = NULL;
}

void wire_drop(struct wire *wire)
{
    if (wire->transport) {
        transport_end(wire->transport, WIRE_FIN);
        transport_free(wire->transport);
        wire->transport = NULL;
    }
    free(wire->input);
    wire->input = NULL;
}
