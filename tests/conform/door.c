/* door.c: broker cores behind TCP ports, each with its mutant in between. One libev loop in one thread serves them all.
 *
 * Bytes are taken apart into packets in both directions, so that hooks see packets; what is no packet goes on as it came. A hook may run inside the
 * core: what it gives to the core waits in a queue until the core has returned (settle()).
 */
#define _GNU_SOURCE /* accept4 */
#include "mutant.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ev.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define LINGER_S 2.0
#define CHUNK    65536
#define PIECES   300 /* a turn; what is longer goes at once */

struct socket {
    struct link link;                    /* first: hooks see this */
    struct cloud_connection *connection; /* NULL: the core is done with it */
    int fd;
    bool closing, shut, dead, disconnected, due;
    ev_io io;
    ev_timer linger, delay;
    uint8_t *login; /* the CONNECT that link.login points into */
    uint8_t *input, *output;
    size_t input_length, input_capacity, output_length, output_capacity;
};

enum job_kind { TO_CORE, ROUTE, HANG_UP };
struct job {
    struct job *next;
    enum job_kind kind;
    uint32_t link;
    size_t length;
    uint8_t bytes[];
};

struct delayed {
    ev_timer timer;
    struct delayed *next;
    struct served *served;
    uint32_t link;
    void (*act)(struct link *link, struct span bytes);
    uint32_t length;
    uint8_t bytes[];
};

struct served {
    struct served *next;
    struct doors *doors;
    const struct mutant *mutant;
    struct cloud_broker *broker;
    struct cloud_local *local;
    struct memory *memory;
    struct link *links;
    struct job *first, **last;
    struct delayed *delayed;
    uint32_t count;
    uint32_t maximum_packet_size;
    int port;
    bool settling;
    ev_io accept;
    ev_timer deadline;
};

struct doors {
    struct ev_loop *loop;
    pthread_t thread;
    bool running;
    uint32_t late_after;
    ev_async stop;
    struct served *list;
};

static const struct mutant nothing = {.name = "nothing"};

int64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * US_PER_S + now.tv_nsec / 1000;
}

static struct socket *socket_of(struct link *link)
{
    return (struct socket *)link;
}

const struct mutant *mutant_of(const struct link *link)
{
    const struct served *served = link->served;
    uint32_t after = __atomic_load_n(&served->doors->late_after, __ATOMIC_RELAXED);
    return served->mutant->late && link->number <= after ? &nothing : served->mutant;
}

struct memory *served_memory(struct served *served)
{
    return served->memory;
}

const struct mutant *served_mutant(const struct served *served)
{
    return served->mutant;
}

int served_port(const struct served *served)
{
    return served->port;
}

uint32_t served_links(const struct served *served)
{
    return __atomic_load_n(&served->count, __ATOMIC_RELAXED);
}

void served_begin_again(struct served *served)
{
    __atomic_store_n(&served->count, 0, __ATOMIC_RELAXED);
}

struct link *link_of(struct served *served, struct span client_id)
{
    for (struct link *link = served->links; link; link = link->next)
        if (link->accepted && !socket_of(link)->dead && !socket_of(link)->closing && socket_of(link)->connection &&
            span_equal(link->login.client_id, client_id))
            return link;
    return NULL;
}

/* ---- to the client ------------------------------------------------------------------------------------------------------- */

static bool append(uint8_t **buffer, size_t *length, size_t *capacity, const uint8_t *data, size_t more)
{
    if (*length + more > *capacity) {
        size_t wanted = (*length + more) * 2;
        uint8_t *grown = realloc(*buffer, wanted);
        if (!grown)
            return false;
        *buffer = grown;
        *capacity = wanted;
    }
    memcpy(*buffer + *length, data, more);
    *length += more;
    return true;
}

void to_client_bytes(struct link *link, struct span bytes)
{
    struct socket *socket = socket_of(link);
    if (!socket->dead && !socket->shut && bytes.length)
        append(&socket->output, &socket->output_length, &socket->output_capacity, bytes.data, bytes.length);
}

static void packet_out(struct link *link, const uint8_t *data, uint32_t length)
{
    struct seen seen = {.bytes = {data, length}, .type = data[0] >> 4};
    seen.status = mq5_decode(link->version, MQ5_FROM_SERVER, data, length, &seen.packet, &seen.error);
    const struct mutant *mutant = mutant_of(link);
    if (is(&seen, MQ5_CONNACK) && seen.packet.connack.reason == 0) {
        link->accepted = true;
        link->resumed = seen.packet.connack.session_present;
    }
    memory_note_out(link, &seen);
    if (!mutant->out || mutant->out(link, &seen))
        to_client_bytes(link, seen.bytes);
}

static void core_sends(void *context, void *handle, const uint8_t *data, size_t length)
{
    struct link *link = handle;
    while (length > 0) {
        uint32_t packet_length = 0;
        if (mq5_frame(data, length, 0, &packet_length) != MQ5_OK || packet_length > length)
            packet_length = (uint32_t)length;
        packet_out(link, data, packet_length);
        data += packet_length;
        length -= packet_length;
    }
}

static void core_closes(void *context, void *handle, enum cloud_close_reason reason)
{
    struct link *link = handle;
    const struct mutant *mutant = mutant_of(link);
    socket_of(link)->connection = NULL;
    if (mutant->closing && !mutant->closing(link, reason))
        link->ghost = true;
    else
        socket_of(link)->closing = true;
}

/* ---- to the core ------------------------------------------------------------------------------------------------------------ */

static void add_job(struct served *served, enum job_kind kind, const struct link *link, struct span bytes)
{
    struct job *job = calloc(1, sizeof(*job) + bytes.length + 1);
    if (!job)
        abort();
    job->kind = kind;
    job->link = link ? link->number : 0;
    job->length = bytes.length;
    if (bytes.length)
        memcpy(job->bytes, bytes.data, bytes.length);
    *served->last = job;
    served->last = &job->next;
}

void to_core_bytes(struct link *link, struct span bytes)
{
    add_job(link->served, TO_CORE, link, bytes);
}

void route(struct served *served, const struct mq5_publish *publish)
{
    static const struct mq5_raw plain;
    struct mq5_packet packet = {.type = MQ5_PUBLISH, .publish = *publish};
    size_t length = 0;
    if (packet.publish.qos && !packet.publish.packet_id)
        packet.publish.packet_id = 1;
    uint8_t *bytes = scratch(served, mq5_encoded_length(MQ5_V5, &packet) + 16);
    if (mq5_encode_raw(MQ5_V5, &packet, &plain, bytes, mq5_encoded_length(MQ5_V5, &packet), &length) == MQ5_OK)
        add_job(served, ROUTE, NULL, span_of(bytes, length));
}

bool hang_up(struct link *link)
{
    add_job(link->served, HANG_UP, link, (struct span){0});
    return false;
}

static struct link *by_number(struct served *served, uint32_t number)
{
    for (struct link *link = served->links; link; link = link->next)
        if (link->number == number && !socket_of(link)->dead)
            return link;
    return NULL;
}

static void do_job(struct served *served, const struct job *job)
{
    struct link *link = by_number(served, job->link);
    struct socket *socket = link ? socket_of(link) : NULL;
    struct mq5_packet packet;
    if (job->kind == ROUTE) {
        if (mq5_decode(MQ5_V5, MQ5_EITHER, job->bytes, job->length, &packet, NULL) == MQ5_OK)
            cloud_local_publish(served->local, now_us(), &packet.publish);
        return;
    }
    if (!socket)
        return;
    if (job->kind == TO_CORE && socket->connection)
        cloud_broker_input(served->broker, socket->connection, now_us(), job->bytes, job->length);
    if (job->kind == HANG_UP) {
        struct cloud_connection *connection = socket->connection;
        socket->connection = NULL;
        socket->closing = true;
        if (connection)
            cloud_broker_closed(served->broker, connection, now_us());
    }
}

/* ---- what comes from the client ------------------------------------------------------------------------------------------------ */

static void ghost_in(struct link *link, const struct seen *seen)
{
    if (seen->type == MQ5_PINGREQ)
        to_client(link, &(struct mq5_packet){.type = MQ5_PINGRESP});
    if (seen->type == MQ5_DISCONNECT)
        hang_up(link);
}

static void note_login(struct link *link, struct span bytes)
{
    struct socket *socket = socket_of(link);
    struct mq5_packet packet = {.type = MQ5_CONNECT}; /* hooks take what is absent for 0 */
    socket->login = malloc(bytes.length);
    if (!socket->login)
        abort();
    memcpy(socket->login, bytes.data, bytes.length);
    mq5_decode(MQ5_V5, MQ5_FROM_CLIENT, socket->login, bytes.length, &packet, NULL);
    link->login_came = true;
    link->login = packet.connect;
    link->version = (enum mq5_version)packet.connect.version;
}

static void packet_in(struct link *link, struct span bytes, enum mq5_status status)
{
    const struct mutant *mutant = mutant_of(link);
    struct seen seen = {.bytes = bytes, .status = status, .type = bytes.data[0] >> 4};
    if (status == MQ5_OK)
        seen.status = mq5_decode(link->version, MQ5_FROM_CLIENT, bytes.data, bytes.length, &seen.packet, &seen.error);
    else
        seen.error =
            (struct mq5_error){.status = status, .ref = status == MQ5_TOO_LARGE ? "too-large" : "MQTT-1.5.5-1"};
    if (link->ghost) {
        ghost_in(link, &seen);
        return;
    }
    if (is(&seen, MQ5_CONNECT) && !link->login_came)
        note_login(link, bytes);
    memory_note_in(link, &seen);
    bool leaves = is(&seen, MQ5_DISCONNECT);
    struct seen as_came = seen;
    if (!mutant->in || mutant->in(link, &seen))
        to_core_bytes(link, seen.bytes);
    memory_note_done(link, &as_came);
    socket_of(link)->disconnected |= leaves;
}

static void settle(struct served *served);

static void take_input(struct socket *socket)
{
    size_t at = 0;
    struct link *link = &socket->link;
    while (at < socket->input_length && !socket->dead && !socket->closing) {
        uint32_t length = 0;
        size_t left = socket->input_length - at;
        enum mq5_status status = mq5_frame(socket->input + at, left, link->served->maximum_packet_size, &length);
        if (status == MQ5_MORE || (status == MQ5_OK && length > left))
            break;
        if (status != MQ5_OK)
            length = (uint32_t)left;
        packet_in(link, span_of(socket->input + at, length), status);
        at += length;
        settle(link->served);
    }
    if (socket->closing || socket->dead)
        at = socket->input_length;
    memmove(socket->input, socket->input + at, socket->input_length - at);
    socket->input_length -= at;
}

/* ---- sockets ------------------------------------------------------------------------------------------------------------------- */

static void bury(struct socket *socket)
{
    if (socket->dead)
        return;
    socket->dead = true;
    ev_io_stop(socket->link.served->doors->loop, &socket->io);
    ev_timer_stop(socket->link.served->doors->loop, &socket->linger);
    ev_timer_stop(socket->link.served->doors->loop, &socket->delay);
    close(socket->fd);
}

static void lose(struct socket *socket)
{
    struct link *link = &socket->link;
    const struct mutant *mutant = mutant_of(link);
    if (socket->dead)
        return;
    if (socket->output_length)
        (void)!send(socket->fd, socket->output, socket->output_length, MSG_NOSIGNAL | MSG_DONTWAIT);
    bury(socket);
    struct cloud_connection *connection = socket->connection;
    socket->connection = NULL;
    if (mutant->lost && link->login_came && !socket->disconnected && connection)
        mutant->lost(link);
    if (connection)
        cloud_broker_closed(link->served->broker, connection, now_us());
}

static void flush(struct socket *socket)
{
    struct ev_loop *loop = socket->link.served->doors->loop;
    const struct mutant *mutant = mutant_of(&socket->link);
    uint32_t pieces = 0;
    if (mutant->delay_ms && !socket->due) {
        if (!ev_is_active(&socket->delay)) {
            ev_now_update(loop);
            ev_timer_set(&socket->delay, mutant->delay_ms / 1e3, 0);
            ev_timer_start(loop, &socket->delay);
        }
        return;
    }
    socket->due = false;
    while (socket->output_length) {
        size_t length = mutant->piece && pieces++ < PIECES && mutant->piece < socket->output_length
                            ? mutant->piece
                            : socket->output_length;
        ssize_t sent = send(socket->fd, socket->output, length, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0 && errno != EAGAIN) {
            lose(socket);
            return;
        }
        if (sent < 0)
            break;
        memmove(socket->output, socket->output + sent, socket->output_length - (size_t)sent);
        socket->output_length -= (size_t)sent;
    }
    int events = EV_READ | (socket->output_length ? EV_WRITE : 0);
    if (events != (socket->io.events & (EV_READ | EV_WRITE))) {
        ev_io_stop(loop, &socket->io);
        ev_io_set(&socket->io, socket->fd, events);
        ev_io_start(loop, &socket->io);
    }
    if (!socket->output_length && socket->closing && !socket->shut) {
        socket->shut = true;
        shutdown(socket->fd, SHUT_WR);
        ev_timer_start(loop, &socket->linger);
    }
}

static void free_dead(struct served *served)
{
    for (struct link **at = &served->links; *at;) {
        struct socket *socket = socket_of(*at);
        if (!socket->dead) {
            at = &(*at)->next;
            continue;
        }
        *at = socket->link.next;
        free(socket->link.ids);
        free(socket->login);
        free(socket->input);
        free(socket->output);
        free(socket);
    }
}

/* After anything that has reached the core or a hook. */
static void settle(struct served *served)
{
    if (served->settling)
        return;
    served->settling = true;
    for (struct job *job; (job = served->first);) {
        served->first = job->next;
        if (!served->first)
            served->last = &served->first;
        do_job(served, job);
        free(job);
    }
    served->settling = false;
}

static void finish_turn(struct served *served)
{
    settle(served);
    for (struct link *link = served->links; link; link = link->next)
        if (!socket_of(link)->dead && (socket_of(link)->output_length || socket_of(link)->closing))
            flush(socket_of(link));
    settle(served); /* flush() may have lost one */
    free_dead(served);
    memory_turn(served->memory);
    int64_t at_us = cloud_broker_next_deadline(served->broker);
    ev_timer_stop(served->doors->loop, &served->deadline);
    if (at_us == TIME_NEVER)
        return;
    int64_t wait_us = at_us - now_us();
    ev_now_update(served->doors->loop);
    ev_timer_set(&served->deadline, wait_us > 0 ? (double)wait_us / 1e6 : 0.0, 0);
    ev_timer_start(served->doors->loop, &served->deadline);
}

static void read_turn(struct socket *socket)
{
    uint8_t chunk[CHUNK];
    for (int turns = 0; turns < 4 && !socket->dead; turns++) {
        ssize_t got = recv(socket->fd, chunk, sizeof(chunk), 0);
        if (got < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        if (got <= 0) {
            if (socket->closing)
                bury(socket);
            else
                lose(socket);
            return;
        }
        if (socket->closing)
            continue;
        if (!append(&socket->input, &socket->input_length, &socket->input_capacity, chunk, (size_t)got))
            abort();
        socket->link.segment++;
        take_input(socket);
    }
}

static void on_socket(struct ev_loop *loop, ev_io *io, int events)
{
    struct socket *socket = io->data;
    if (events & EV_READ)
        read_turn(socket);
    finish_turn(socket->link.served);
}

static void on_linger(struct ev_loop *loop, ev_timer *timer, int events)
{
    struct socket *socket = timer->data;
    bury(socket);
    finish_turn(socket->link.served);
}

static void on_due(struct ev_loop *loop, ev_timer *timer, int events)
{
    struct socket *socket = timer->data;
    socket->due = true;
    finish_turn(socket->link.served);
}

static void on_accept(struct ev_loop *loop, ev_io *io, int events)
{
    struct served *served = io->data;
    for (;;) {
        int yes = 1, fd = accept4(io->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0)
            break;
        struct socket *socket = calloc(1, sizeof(*socket));
        if (!socket)
            abort();
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
        socket->fd = fd;
        socket->link.served = served;
        socket->link.version = MQ5_V5;
        socket->link.number = served->count + 1;
        __atomic_store_n(&served->count, served->count + 1, __ATOMIC_RELAXED);
        socket->link.next = served->links;
        served->links = &socket->link;
        ev_io_init(&socket->io, on_socket, fd, EV_READ);
        ev_timer_init(&socket->linger, on_linger, LINGER_S, 0);
        ev_timer_init(&socket->delay, on_due, 0, 0);
        socket->io.data = socket->linger.data = socket->delay.data = socket;
        ev_io_start(loop, &socket->io);
        socket->connection = cloud_broker_opened(served->broker, now_us(), &socket->link, NULL);
        if (!socket->connection)
            bury(socket);
    }
    finish_turn(served);
}

static void on_deadline(struct ev_loop *loop, ev_timer *timer, int events)
{
    struct served *served = timer->data;
    cloud_broker_tick(served->broker, now_us());
    finish_turn(served);
}

/* ---- later ------------------------------------------------------------------------------------------------------------------------- */

static void on_delayed(struct ev_loop *loop, ev_timer *timer, int events)
{
    struct delayed *delayed = timer->data;
    struct served *served = delayed->served;
    struct delayed **at = &served->delayed;
    while (*at != delayed)
        at = &(*at)->next;
    *at = delayed->next;
    struct link *link = by_number(served, delayed->link);
    if (link)
        delayed->act(link, span_of(delayed->bytes, delayed->length));
    finish_turn(served);
    free(delayed);
}

void later(struct link *link, int64_t us, void (*act)(struct link *link, struct span bytes), struct span bytes)
{
    struct served *served = link->served;
    struct delayed *delayed = calloc(1, sizeof(*delayed) + bytes.length + 1);
    if (!delayed)
        abort();
    delayed->served = served;
    delayed->link = link->number;
    delayed->act = act;
    delayed->length = bytes.length;
    if (bytes.length)
        memcpy(delayed->bytes, bytes.data, bytes.length);
    delayed->next = served->delayed;
    served->delayed = delayed;
    ev_now_update(served->doors->loop);
    ev_timer_init(&delayed->timer, on_delayed, (double)us / 1e6, 0);
    delayed->timer.data = delayed;
    ev_timer_start(served->doors->loop, &delayed->timer);
}

/* ---- brokers and ports ---------------------------------------------------------------------------------------------------------------- */

static int open_port(int *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0 && bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0 && listen(fd, 512) == 0 &&
        getsockname(fd, (struct sockaddr *)&address, &length) == 0) {
        *port = ntohs(address.sin_port);
        return fd;
    }
    if (fd >= 0)
        close(fd);
    return -1;
}

static struct cloud_authentication authenticate(void *context, int64_t at_us, void *link,
                                                enum cloud_authentication_step step, struct span method,
                                                struct span data)
{
    bool on = step == CLOUD_AUTHENTICATION_GOES_ON;
    if (!span_equal(method, SPAN_LITERAL(DOOR_METHOD)))
        return (struct cloud_authentication){.reason = MQ5_BAD_AUTHENTICATION_METHOD};
    if (!on && span_equal(data, SPAN_LITERAL(DOOR_USER)))
        return (struct cloud_authentication){
            .reason = MQ5_CONTINUE_AUTHENTICATION, .data = SPAN_LITERAL("truly?"), .what = "a proof is awaited"};
    if (span_equal(data, on ? SPAN_LITERAL(DOOR_PROOF) : SPAN_LITERAL(DOOR_AT_ONCE)))
        return (struct cloud_authentication){.reason = MQ5_SUCCESS, .data = SPAN_LITERAL("welcome")};
    return (struct cloud_authentication){.reason = MQ5_NOT_AUTHORIZED};
}

static void hear_nothing(void *context, int64_t at_us, const struct mq5_publish *message)
{
}

struct served *doors_add(struct doors *doors, const struct mutant *mutant)
{
    static const struct cloud_broker_ops ops = {.send = core_sends, .close = core_closes, .authenticate = authenticate};
    struct cloud_broker_options options;
    struct served *served = calloc(1, sizeof(*served));
    if (!served)
        return NULL;
    cloud_broker_defaults(&options);
    options.maximum_subscriptions_per_session = 10000;
    options.maximum_queued_per_session = 100000;
    options.topic_alias_maximum = 64;
    options.dollar_topics_reserved = false;
    if (mutant && mutant->options)
        mutant->options(&options);
    int fd = open_port(&served->port);
    if (fd < 0) {
        free(served);
        return NULL;
    }
    served->doors = doors;
    served->mutant = mutant ? mutant : &nothing;
    served->last = &served->first;
    served->maximum_packet_size = mutant && mutant->in ? 0 : options.maximum_packet_size; /* hooks see whole packets */
    served->memory = memory_create();
    served->broker = cloud_broker_create(&options, &ops, served, (uint64_t)served->port);
    served->local = cloud_broker_attach(served->broker, SPAN_LITERAL("mutant"), hear_nothing, served);
    ev_io_init(&served->accept, on_accept, fd, EV_READ);
    ev_timer_init(&served->deadline, on_deadline, 0, 0);
    served->accept.data = served->deadline.data = served;
    ev_io_start(doors->loop, &served->accept);
    served->next = doors->list;
    doors->list = served;
    return served;
}

static void on_stop(struct ev_loop *loop, ev_async *async, int events)
{
    ev_break(loop, EVBREAK_ALL);
}

struct doors *doors_create(void)
{
    struct doors *doors = calloc(1, sizeof(*doors));
    if (!doors || !(doors->loop = ev_loop_new(EVFLAG_AUTO))) {
        free(doors);
        return NULL;
    }
    ev_async_init(&doors->stop, on_stop);
    ev_async_start(doors->loop, &doors->stop);
    return doors;
}

void doors_late_after(struct doors *doors, uint32_t links)
{
    __atomic_store_n(&doors->late_after, links, __ATOMIC_RELAXED);
}

static void *run(void *context)
{
    ev_run(((struct doors *)context)->loop, 0);
    return NULL;
}

bool doors_run(struct doors *doors)
{
    doors->running = pthread_create(&doors->thread, NULL, run, doors) == 0;
    return doors->running;
}

static void served_destroy(struct served *served)
{
    struct ev_loop *loop = served->doors->loop;
    for (struct link *link = served->links; link; link = link->next)
        bury(socket_of(link));
    free_dead(served);
    for (struct delayed *delayed = served->delayed, *next; delayed; delayed = next) {
        next = delayed->next;
        ev_timer_stop(loop, &delayed->timer);
        free(delayed);
    }
    for (struct job *job = served->first, *next; job; job = next) {
        next = job->next;
        free(job);
    }
    ev_io_stop(loop, &served->accept);
    ev_timer_stop(loop, &served->deadline);
    close(served->accept.fd);
    cloud_local_detach(served->local);
    cloud_broker_destroy(served->broker);
    memory_destroy(served->memory);
    free(served);
}

void doors_destroy(struct doors *doors)
{
    if (doors->running) {
        ev_async_send(doors->loop, &doors->stop);
        pthread_join(doors->thread, NULL);
    }
    for (struct served *served = doors->list, *next; served; served = next) {
        next = served->next;
        served_destroy(served);
    }
    ev_async_stop(doors->loop, &doors->stop);
    ev_loop_destroy(doors->loop);
    free(doors);
}
