/* live_wire.c: a service's connection to a broker in clear, on the world's own loop: what a telemetry processor takes in at full speed goes
 * through here, without a thread or a copy between the socket and the handler. TLS brokers are reached through Paho (cloud/bus.h), and so is
 * every broker that does not answer here, because Paho's bus explains why.
 *
 * A subscription a wire, two at most. QoS 1 both ways; a session kept by the broker, so that what is published while the connection is down is not lost:
 * unacknowledged messages are sent again. The address is looked up once.
 */
#include "live.h"

#include "mqtt5/topic.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define ATTEMPT_MS       5000
#define SUBSCRIBE_MS     10000
#define INPUT_BYTES      32768
#define READS_AT_ONCE    8
#define KEEP_ALIVE_S     30
#define PING_AFTER_US    (10 * US_PER_S)
#define SILENCE_US       (45 * US_PER_S)
#define LOOK_S           1.0  /* for a ping that is due, a connection that is gone */
#define AGAIN_S          0.05 /* while it is: what a broker forgot in a restart reaches nobody until we are back */
#define SESSION_EXPIRY_S 600
#define UNANSWERED_MAX   60000 /* packet ids */
#define FILTERS_MAX      4

enum wire_state { WIRE_DOWN, WIRE_TCP, WIRE_ASKED, WIRE_ONLINE };

struct wire_message { /* QoS 1, encoded, until it is acknowledged */
    struct wire_message *next;
    uint16_t id;
    bool sent;
    uint32_t length;
    uint8_t bytes[];
};

struct live_wire {
    struct cloud_bus bus;
    struct live_world *world;
    ev_io io;
    ev_timer look;
    struct sockaddr_storage address;
    socklen_t address_length;
    char id[96], user_name[128], password[128];
    bool has_user_name, has_password, began, shared_available;
    enum wire_state state;
    struct mq5_stream stream;
    uint8_t *output;
    size_t output_begin, output_end, output_capacity;
    struct wire_message *first, **last, *waiting; /* waiting: the first that was not sent on this link */
    uint64_t ids[UNANSWERED_MAX / 64 + 1];        /* bit per packet id in use */
    uint32_t in_flight, unanswered, receive_maximum;
    uint16_t next_id;
    struct wire_filter {
        char text[200];
        uint8_t qos;
        cloud_bus_handler *handler;
        void *context;
    } filters[FILTERS_MAX];
    uint32_t filter_count;
    uint8_t filter_reason; /* of the last one answered */
    bool filter_answered;
    int64_t heard_us, said_us;
    uint64_t reconnects;
    uint32_t session_s;
    bool leaving;                /* has unsubscribed */
    bool holds, dead;            /* of a member: acknowledgements are its owner's; cut, and not revived */
    void (*lost)(void *context); /* NULL: nobody asks */
    void *lost_context;
};

/* ---- output ---------------------------------------------------------------------------------------------------------- */

static void watch(struct live_wire *wire)
{
    int wanted = EV_READ | (wire->state == WIRE_TCP || wire->output_begin < wire->output_end ? EV_WRITE : 0);
    if (ev_is_active(&wire->io) && (wire->io.events & (EV_READ | EV_WRITE)) == wanted)
        return;
    ev_io_stop(wire->world->loop, &wire->io);
    ev_io_set(&wire->io, wire->io.fd, wanted);
    ev_io_start(wire->world->loop, &wire->io);
}

static void drop_link(struct live_wire *wire)
{
    if (wire->io.fd >= 0) {
        ev_io_stop(wire->world->loop, &wire->io);
        close(wire->io.fd);
    }
    ev_io_set(&wire->io, -1, 0);
    wire->state = WIRE_DOWN;
    wire->output_begin = wire->output_end = 0;
    wire->stream.used = 0;
    wire->stream.consumed_pending = 0;
    wire->in_flight = 0;
    if (wire->lost)
        wire->lost(wire->lost_context);
}

static uint8_t *room(struct live_wire *wire, size_t length)
{
    size_t waiting = wire->output_end - wire->output_begin;
    if (wire->output_begin) {
        memmove(wire->output, wire->output + wire->output_begin, waiting);
        wire->output_begin = 0;
        wire->output_end = waiting;
    }
    if (waiting + length > wire->output_capacity) {
        size_t capacity = 2 * (waiting + length) + 4096;
        uint8_t *output = realloc(wire->output, capacity);
        if (!output) {
            wire->world->out_of_memory = true;
            return NULL;
        }
        wire->output = output;
        wire->output_capacity = capacity;
    }
    return wire->output + wire->output_end;
}

static bool say_bytes(struct live_wire *wire, const uint8_t *bytes, size_t length)
{
    uint8_t *out = room(wire, length);
    if (!out)
        return false;
    memcpy(out, bytes, length);
    wire->output_end += length;
    return true;
}

static bool say(struct live_wire *wire, const struct mq5_packet *packet)
{
    size_t length = mq5_encoded_length(MQ5_V5, packet);
    uint8_t *out = length ? room(wire, length) : NULL;
    if (!out || mq5_encode(MQ5_V5, packet, out, length, &length) != MQ5_OK)
        return false;
    wire->output_end += length;
    return true;
}

static void flush(struct live_wire *wire)
{
    if (wire->state < WIRE_ASKED)
        return;
    while (wire->output_begin < wire->output_end) {
        ssize_t written =
            send(wire->io.fd, wire->output + wire->output_begin, wire->output_end - wire->output_begin, MSG_NOSIGNAL);
        if (written < 0 && errno != EAGAIN && errno != EINTR) {
            drop_link(wire);
            return;
        }
        if (written < 0)
            break;
        wire->output_begin += (size_t)written;
        wire->said_us = live_clock();
    }
    watch(wire);
}

/* Messages that wait go out as far as the broker takes them. */
static void send_waiting(struct live_wire *wire)
{
    for (struct wire_message *message; (message = wire->waiting) && wire->in_flight < wire->receive_maximum;) {
        if (!say_bytes(wire, message->bytes, message->length))
            return;
        message->sent = true;
        wire->in_flight++;
        wire->waiting = message->next;
    }
}

/* ---- input ----------------------------------------------------------------------------------------------------------- */

static void ask_subscription(struct live_wire *wire, uint32_t filter)
{
    const struct wire_filter *wanted = &wire->filters[filter];
    struct mq5_subscription one = {.filter = span_text(wanted->text), .qos = wanted->qos};
    struct mq5_packet packet = {.type = MQ5_SUBSCRIBE};
    packet.subscribe.packet_id = (uint16_t)(UNANSWERED_MAX + 1 + filter);
    packet.subscribe.list = &one;
    packet.subscribe.count = 1;
    say(wire, &packet);
}

static void greeted(struct live_wire *wire, const struct mq5_connack *connack)
{
    if (connack->reason) {
        drop_link(wire);
        return;
    }
    wire->state = WIRE_ONLINE;
    wire->receive_maximum =
        connack->properties.present & MQ5_BIT(MQ5_RECEIVE_MAXIMUM) ? connack->properties.receive_maximum : 65535;
    wire->shared_available = !(connack->properties.present & MQ5_BIT(MQ5_SHARED_SUBSCRIPTION_AVAILABLE)) ||
                             connack->properties.shared_available;
    wire->reconnects += wire->began;
    wire->began = true;
    for (uint32_t i = 0; i < wire->filter_count && !connack->session_present && !wire->leaving; i++)
        ask_subscription(wire, i);
    for (struct wire_message *message = wire->first; message; message = message->next) {
        if (message->sent && connack->session_present)
            message->bytes[0] |= 8; /* DUP */
        message->sent = false;
    }
    wire->waiting = wire->first;
    send_waiting(wire);
}

static void acknowledged(struct live_wire *wire, uint16_t id)
{
    struct wire_message **place = &wire->first;
    while (*place && (*place)->id != id)
        place = &(*place)->next;
    struct wire_message *message = *place;
    if (!message || !message->sent) /* the broker's mistake */
        return;
    wire->ids[id / 64] &= ~(UINT64_C(1) << id % 64);
    *place = message->next;
    if (!*place && wire->last == &message->next)
        wire->last = place;
    wire->in_flight -= wire->in_flight > 0;
    wire->unanswered--;
    free(message);
    send_waiting(wire);
}

static void take_publish(struct live_wire *wire, const struct mq5_publish *message)
{
    if (message->qos == 1 && !wire->holds) {
        struct mq5_packet answer = {.type = MQ5_PUBACK};
        answer.ack.packet_id = message->packet_id;
        say(wire, &answer);
    }
    for (uint32_t i = 0; i < wire->filter_count; i++) {
        const struct wire_filter *filter = &wire->filters[i];
        if (wire->filter_count == 1 || mq5_topic_matches(span_text(filter->text), message->topic))
            filter->handler(filter->context, wire->heard_us, message);
    }
}

static void take_packet(struct live_wire *wire, const struct mq5_packet *packet)
{
    switch ((enum mq5_type)packet->type) {
    case MQ5_CONNACK: greeted(wire, &packet->connack); break;
    case MQ5_PUBLISH: take_publish(wire, &packet->publish); break;
    case MQ5_PUBACK: acknowledged(wire, packet->ack.packet_id); break;
    case MQ5_SUBACK:
        wire->filter_reason = packet->suback.reasons.length ? packet->suback.reasons.data[0] : MQ5_UNSPECIFIED_ERROR;
        wire->filter_answered = true;
        break;
    case MQ5_UNSUBACK:
    case MQ5_PINGRESP: break;
    default: drop_link(wire); break; /* DISCONNECT, and what nobody asked for */
    }
}

static void take_bytes(struct live_wire *wire, const uint8_t *data, size_t length)
{
    struct mq5_packet packet;
    while (wire->state >= WIRE_ASKED) {
        enum mq5_status status = mq5_stream_next(&wire->stream, &data, &length, &packet, NULL);
        if (status == MQ5_MORE)
            return;
        if (status == MQ5_OK)
            take_packet(wire, &packet);
        else
            drop_link(wire);
    }
}

static void read_turn(struct live_wire *wire)
{
    uint8_t input[INPUT_BYTES];
    for (int i = 0; i < READS_AT_ONCE && wire->state >= WIRE_ASKED; i++) {
        ssize_t got = recv(wire->io.fd, input, sizeof input, 0);
        if (got < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (got <= 0) {
            drop_link(wire);
            return;
        }
        wire->heard_us = live_clock();
        take_bytes(wire, input, (size_t)got);
        if (got < INPUT_BYTES)
            return;
    }
}

/* ---- the link -------------------------------------------------------------------------------------------------------- */

static void ask(struct live_wire *wire)
{
    struct mq5_packet packet = {.type = MQ5_CONNECT};
    struct mq5_connect *connect = &packet.connect;
    connect->version = MQ5_V5;
    connect->clean_start = !wire->began;
    connect->keep_alive_s = KEEP_ALIVE_S;
    connect->client_id = span_text(wire->id);
    connect->has_user_name = wire->has_user_name;
    connect->user_name = span_text(wire->user_name);
    connect->has_password = wire->has_password;
    connect->password = span_text(wire->password);
    connect->properties.present = MQ5_BIT(MQ5_SESSION_EXPIRY_INTERVAL);
    connect->properties.session_expiry_s = wire->session_s;
    wire->state = WIRE_ASKED;
    if (!say(wire, &packet))
        drop_link(wire);
}

static void dial(struct live_wire *wire)
{
    int on = 1, fd = socket(wire->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    ev_io_set(&wire->io, fd, EV_READ);
    wire->heard_us = wire->said_us = live_clock();
    if (connect(fd, (struct sockaddr *)&wire->address, wire->address_length) < 0 && errno != EINPROGRESS) {
        drop_link(wire);
        return;
    }
    wire->state = WIRE_TCP;
    watch(wire);
}

static void dialled(struct live_wire *wire)
{
    int error = 0;
    socklen_t length = sizeof error;
    if (getsockopt(wire->io.fd, SOL_SOCKET, SO_ERROR, &error, &length) < 0 || error)
        drop_link(wire);
    else
        ask(wire);
}

static void step(struct live_wire *wire, bool readable, bool writable)
{
    if (wire->state == WIRE_TCP && writable)
        dialled(wire);
    if (wire->state >= WIRE_ASKED && readable)
        read_turn(wire);
    flush(wire);
}

static void on_wire(struct ev_loop *loop, ev_io *io, int events)
{
    struct live_wire *wire = io->data;
    live_tick(wire->world);
    step(wire, events & EV_READ, events & EV_WRITE);
    live_commands_touched(wire->world);
}

static void on_look(struct ev_loop *loop, ev_timer *timer, int events)
{
    struct live_wire *wire = timer->data;
    static const uint8_t ping[] = {0xC0, 0};
    int64_t now_us = live_clock();
    if (wire->state == WIRE_DOWN) {
        if (!wire->dead)
            dial(wire);
    } else if (now_us - wire->heard_us > SILENCE_US) {
        drop_link(wire);
    } else if (wire->state == WIRE_ONLINE && now_us - wire->said_us > PING_AFTER_US) {
        say_bytes(wire, ping, sizeof ping);
        flush(wire);
    }
    timer->repeat = wire->state == WIRE_ONLINE ? LOOK_S : AGAIN_S;
    ev_timer_again(loop, timer);
}

/* During set-up, when the loop does not run yet. */
static bool run_until(struct live_wire *wire, const bool *flag, int timeout_ms)
{
    int64_t end_us = live_clock() + timeout_ms * US_PER_MS;
    flush(wire);
    while (wire->state != WIRE_DOWN && !(flag ? *flag : wire->state == WIRE_ONLINE)) {
        bool writing = wire->state == WIRE_TCP || wire->output_begin < wire->output_end;
        struct pollfd one = {wire->io.fd, (short)(POLLIN | (writing ? POLLOUT : 0)), 0};
        int64_t left_us = end_us - live_clock();
        if (left_us <= 0 || (poll(&one, 1, (int)(left_us / 1000) + 1) < 0 && errno != EINTR))
            return false;
        step(wire, one.revents & ~POLLOUT, one.revents & ~POLLIN);
    }
    return wire->state != WIRE_DOWN;
}

/* ---- the bus --------------------------------------------------------------------------------------------------------- */

static uint8_t wire_subscribe(struct cloud_bus *bus, int64_t now_us, struct span filter, uint8_t qos,
                              cloud_bus_handler *handler, void *context)
{
    struct live_wire *wire = (struct live_wire *)bus;
    struct wire_filter *wanted = &wire->filters[wire->filter_count];
    if (wire->filter_count == FILTERS_MAX || filter.length >= sizeof wanted->text)
        return MQ5_QUOTA_EXCEEDED;
    /* A broker that says so ends the connection of whoever asks all the same. */
    if (!wire->shared_available && filter.length > 7 && memcmp(filter.data, "$share/", 7) == 0)
        return MQ5_SHARED_SUBSCRIPTIONS_NOT_SUPPORTED;
    *wanted = (struct wire_filter){.qos = qos, .handler = handler, .context = context};
    memcpy(wanted->text, filter.data, filter.length);
    wire->filter_answered = false;
    wire->filter_count++;
    if (wire->state == WIRE_ONLINE)
        ask_subscription(wire, wire->filter_count - 1);
    bool answered = run_until(wire, &wire->filter_answered, SUBSCRIBE_MS);
    uint8_t reason = answered ? wire->filter_reason : MQ5_UNSPECIFIED_ERROR;
    if (reason >= 0x80) /* another may be tried */
        wire->filter_count--;
    return reason;
}

static uint16_t fresh_id(struct live_wire *wire)
{
    uint16_t id;
    do
        id = wire->next_id = (uint16_t)(wire->next_id % UNANSWERED_MAX + 1);
    while (wire->ids[id / 64] >> id % 64 & 1);
    return id;
}

static bool keep(struct live_wire *wire, const struct mq5_publish *publish)
{
    struct mq5_packet packet = {.type = MQ5_PUBLISH, .publish = *publish};
    packet.publish.packet_id = fresh_id(wire);
    packet.publish.qos = 1;
    size_t length = mq5_encoded_length(MQ5_V5, &packet);
    struct wire_message *message = length ? calloc(1, sizeof *message + length) : NULL;
    if (!message || mq5_encode(MQ5_V5, &packet, message->bytes, length, &length) != MQ5_OK) {
        free(message);
        return false;
    }
    message->id = packet.publish.packet_id;
    message->length = (uint32_t)length;
    *wire->last = message;
    wire->last = &message->next;
    wire->ids[message->id / 64] |= UINT64_C(1) << message->id % 64;
    wire->unanswered++;
    if (!wire->waiting)
        wire->waiting = message;
    return true;
}

static uint8_t wire_publish(struct cloud_bus *bus, int64_t now_us, const struct mq5_publish *message)
{
    struct live_wire *wire = (struct live_wire *)bus;
    if (wire->unanswered >= UNANSWERED_MAX)
        return MQ5_QUOTA_EXCEEDED;
    if (message->qos == 0) {
        struct mq5_packet packet = {.type = MQ5_PUBLISH, .publish = *message};
        if (wire->state == WIRE_ONLINE)
            say(wire, &packet);
    } else if (!keep(wire, message)) {
        return MQ5_UNSPECIFIED_ERROR;
    }
    if (wire->state == WIRE_ONLINE)
        send_waiting(wire);
    flush(wire);
    return MQ5_SUCCESS;
}

/* The broker need not keep the session any longer. */
static void wire_close(struct cloud_bus *bus)
{
    struct live_wire *wire = (struct live_wire *)bus;
    struct mq5_packet goodbye = {.type = MQ5_DISCONNECT};
    goodbye.disconnect.properties.present = MQ5_BIT(MQ5_SESSION_EXPIRY_INTERVAL);
    if (wire->state == WIRE_ONLINE && say(wire, &goodbye))
        flush(wire);
    drop_link(wire);
    ev_timer_stop(wire->world->loop, &wire->look);
    while (wire->first) {
        struct wire_message *message = wire->first;
        wire->first = message->next;
        free(message);
    }
    free(wire->output);
    free(wire->stream.buffer);
    free(wire);
}

static const struct cloud_bus_ops wire_ops = {wire_subscribe, wire_publish, wire_close};

static uint8_t *grow(void *context, uint8_t *buffer, uint32_t old_capacity, uint32_t wanted, uint32_t *new_capacity)
{
    uint8_t *bigger = realloc(buffer, wanted);
    if (bigger)
        *new_capacity = wanted;
    return bigger;
}

static bool look_up(struct live_wire *wire, const struct live_door *door)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV}, *found = NULL;
    if (getaddrinfo(door->host, door->service, &hints, &found) != 0 || !found)
        return false;
    memcpy(&wire->address, found->ai_addr, found->ai_addrlen);
    wire->address_length = found->ai_addrlen;
    freeaddrinfo(found);
    return true;
}

static void copy_text(char *out, size_t capacity, bool *has, const char *text)
{
    *has = text != NULL;
    snprintf(out, capacity, "%s", text ? text : "");
}

/* NULL: not in this way. */
static struct live_wire *make(struct live_world *world, const struct live_door *door,
                              const struct cloud_bus_remote_options *options)
{
    struct live_wire *wire = calloc(1, sizeof *wire);
    if (!wire || door->tls || !door->offered ||
        (options->user_name && strlen(options->user_name) >= sizeof wire->user_name) ||
        (options->password && strlen(options->password) >= sizeof wire->password) || !look_up(wire, door)) {
        free(wire);
        return NULL;
    }
    wire->bus.ops = &wire_ops;
    wire->world = world;
    wire->last = &wire->first;
    wire->stream = (struct mq5_stream){.version = MQ5_V5, .sender = MQ5_FROM_SERVER, .grow = grow};
    snprintf(wire->id, sizeof wire->id, "%s", options->client_id);
    copy_text(wire->user_name, sizeof wire->user_name, &wire->has_user_name, options->user_name);
    copy_text(wire->password, sizeof wire->password, &wire->has_password, options->password);
    ev_io_init(&wire->io, on_wire, -1, 0);
    ev_timer_init(&wire->look, on_look, LOOK_S, LOOK_S);
    wire->io.data = wire->look.data = wire;
    wire->session_s = SESSION_EXPIRY_S;
    return wire;
}

struct cloud_bus *live_wire_connect(struct live_world *world, const struct live_door *door,
                                    const struct cloud_bus_remote_options *options)
{
    struct live_wire *wire = make(world, door, options);
    if (!wire)
        return NULL;
    dial(wire);
    if (wire->state == WIRE_DOWN || !run_until(wire, NULL, ATTEMPT_MS)) {
        wire_close(&wire->bus);
        return NULL;
    }
    ev_timer_start(world->loop, &wire->look);
    return &wire->bus;
}

uint64_t live_wire_reconnects(const struct cloud_bus *bus)
{
    return ((const struct live_wire *)bus)->reconnects;
}

/* ---- members --------------------------------------------------------------------------------------------------------- */

struct cloud_bus *live_wire_member(struct live_world *world, const struct live_door *door,
                                   const struct cloud_bus_remote_options *options,
                                   const struct live_wire_member *member)
{
    struct live_wire *wire = make(world, door, options);
    if (!wire)
        return NULL;
    wire->holds = true;
    wire->session_s = member->session_s;
    wire->lost = member->lost;
    wire->lost_context = member->context;
    if (member->filter) {
        wire->filters[0] = (struct wire_filter){.qos = 1, .handler = member->handler, .context = member->context};
        snprintf(wire->filters[0].text, sizeof wire->filters[0].text, "%s", member->filter);
        wire->filter_count = 1;
    }
    dial(wire);
    bool there =
        !member->wait ||
        (wire->state != WIRE_DOWN && run_until(wire, NULL, ATTEMPT_MS) &&
         (!member->filter || (run_until(wire, &wire->filter_answered, SUBSCRIBE_MS) && wire->filter_reason < 0x80)));
    if (!there) {
        wire->lost = NULL;
        wire_close(&wire->bus);
        return NULL;
    }
    ev_timer_start(world->loop, &wire->look);
    return &wire->bus;
}

void live_wire_acknowledge(struct cloud_bus *bus, uint16_t packet_id)
{
    struct live_wire *wire = (struct live_wire *)bus;
    struct mq5_packet answer = {.type = MQ5_PUBACK};
    answer.ack.packet_id = packet_id;
    if (wire->state == WIRE_ONLINE && say(wire, &answer))
        flush(wire);
}

void live_wire_unsubscribe(struct cloud_bus *bus)
{
    struct live_wire *wire = (struct live_wire *)bus;
    struct mq5_subscription one = {.filter = span_text(wire->filters[0].text)};
    struct mq5_packet packet = {.type = MQ5_UNSUBSCRIBE};
    wire->leaving = true;
    packet.subscribe.packet_id = UNANSWERED_MAX + 1 + FILTERS_MAX;
    packet.subscribe.list = &one;
    packet.subscribe.count = 1;
    if (wire->state == WIRE_ONLINE && wire->filter_count && say(wire, &packet))
        flush(wire);
}

void live_wire_cut(struct cloud_bus *bus)
{
    struct live_wire *wire = (struct live_wire *)bus;
    wire->dead = true;
    drop_link(wire);
}

void live_wire_revive(struct cloud_bus *bus)
{
    struct live_wire *wire = (struct live_wire *)bus;
    wire->dead = false;
    if (wire->state == WIRE_DOWN)
        dial(wire);
}
