/* mqtt.c: MQTT's door: accepts, shakes hands, carries bytes between sockets and the broker core; over WebSocket by way of web.c.
 *
 * One libev loop, never blocking. What the broker sends is gathered per connection and written once per turn of the loop (one TLS record for all of
 * a turn's packets). A peer that does not read is cut when OUTPUT_MAX bytes wait for it. Ending a connection flushes, closes our half, and
 * waits a moment for the other's, so that a last packet is not lost to a reset.
 */
#define _GNU_SOURCE /* accept4 */
#include "serve_internal.h"

#include "cloud/pki_store.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define OUTPUT_MAX     (8u << 20)
#define INPUT_CHUNK    65536
#define READS_A_TURN   4 /* then others get their turn */
#define ACCEPTS_A_TURN 32
#define HANDSHAKE_S    20.0
#define LINGER_S       2.0
#define ACCEPT_PAUSE_S 0.1 /* after running out of file descriptors */
#define RETRY_S        0.1 /* an address that is not to be had again */

enum link_state { LINK_HANDSHAKE, LINK_UPGRADE, LINK_OPEN, LINK_FLUSHING, LINK_LINGERING };

struct listener {
    ev_io io;
    struct mqtt_door *door;
    struct listener *next;
    SSL_CTX *context;
    bool web;
    struct sockaddr_storage address; /* while it refuses: its own */
    socklen_t address_length;        /* 0: it does not */
};

struct link {
    ev_io io;
    ev_timer timer; /* handshake, upgrade, linger */
    struct mqtt_door *door;
    struct link *next, *previous;
    struct link *next_dirty;
    bool dirty, dead;
    bool overflow; /* does not read what it is sent: cut when the broker's call has returned */
    uint8_t state;
    bool want_write; /* TLS or the socket asked for it */
    SSL *ssl;
    struct web_link *web; /* NULL: MQTT's bytes are the socket's */
    struct cloud_connection *connection;
    struct cloud_scram_exchange *exchange;
    uint8_t *output;
    uint32_t output_begin, output_end, output_capacity;
    uint8_t *der;
    uint64_t serial; /* of the certificate */
    struct cloud_peer peer;
};

struct mqtt_door {
    struct ev_loop *loop;
    struct cloud cloud;
    struct cloud_pki *pki;
    struct cloud_scram *scram; /* NULL: no method of authentication */
    struct listener *listeners;
    struct link *links, *dirty;
    ev_timer deadline, accept_pause, reopen;
    ev_prepare prepare;
    int64_t armed_us;
    struct mqtt_door_counts counts;
    bool stopping;
    uint8_t input[INPUT_CHUNK];
};

static void on_link(struct ev_loop *loop, ev_io *watcher, int events);

/* ---- a link's life -------------------------------------------------------------------------------------------------- */

static void watch(struct link *link)
{
    int wanted = EV_READ | (link->want_write ? EV_WRITE : 0);
    if ((link->io.events & (EV_READ | EV_WRITE)) == wanted && ev_is_active(&link->io))
        return;
    ev_io_stop(link->door->loop, &link->io);
    ev_io_set(&link->io, link->io.fd, wanted);
    ev_io_start(link->door->loop, &link->io);
}

static void mark_dirty(struct link *link)
{
    if (link->dirty)
        return;
    link->dirty = true;
    link->next_dirty = link->door->dirty;
    link->door->dirty = link;
}

/* The socket goes at once, the memory with the next turn's end: the caller may still hold the link. */
static void bury(struct link *link)
{
    if (link->dead)
        return;
    link->dead = true;
    ev_io_stop(link->door->loop, &link->io);
    ev_timer_stop(link->door->loop, &link->timer);
    SSL_free(link->ssl);
    link->ssl = NULL;
    close(link->io.fd);
    mark_dirty(link);
}

static struct cloud_authentication door_authenticate(void *context, int64_t now_us, void *handle,
                                                     enum cloud_authentication_step step, struct span method,
                                                     struct span data)
{
    struct mqtt_door *door = context;
    struct link *link = handle;
    return cloud_scram_step(door->scram, &link->exchange, step, method, data);
}

static void forget(struct link *link)
{
    struct mqtt_door *door = link->door;
    if (link->previous)
        link->previous->next = link->next;
    else
        door->links = link->next;
    if (link->next)
        link->next->previous = link->previous;
    door->counts.open--;
    web_link_destroy(link->web);
    if (link->exchange) /* the broker went first */
        door_authenticate(door, 0, link, CLOUD_AUTHENTICATION_OVER, (struct span){NULL, 0}, (struct span){NULL, 0});
    free(link->output);
    free(link->der);
    free(link);
}

/* The link failed or ended by itself. */
static void lose(struct link *link)
{
    if (link->dead)
        return;
    struct cloud_connection *connection = link->connection;
    link->connection = NULL;
    bury(link);
    if (connection)
        cloud_broker_closed(link->door->cloud.broker, connection, serve_monotonic_us());
}

/* ---- output --------------------------------------------------------------------------------------------------------- */

static bool output_room(struct link *link, size_t length)
{
    uint32_t waiting = link->output_end - link->output_begin;
    if (waiting + length > OUTPUT_MAX)
        return false;
    if (link->output_begin) {
        memmove(link->output, link->output + link->output_begin, waiting);
        link->output_begin = 0;
        link->output_end = waiting;
    }
    if (waiting + length <= link->output_capacity)
        return true;
    uint32_t capacity = link->output_capacity ? link->output_capacity : 256;
    while (capacity < waiting + length)
        capacity *= 2;
    uint8_t *output = realloc(link->output, capacity);
    if (!output)
        return false;
    link->output = output;
    link->output_capacity = capacity;
    return true;
}

static void put_out(struct link *link, const uint8_t *data, size_t length)
{
    if (link->dead || link->overflow)
        return;
    if (length > link->output_capacity - link->output_end && !output_room(link, length)) {
        link->door->counts.overflows++;
        link->overflow = true;
        mark_dirty(link);
        return;
    }
    memcpy(link->output + link->output_end, data, length);
    link->output_end += (uint32_t)length;
    mark_dirty(link);
}

static void door_send(void *context, void *handle, const uint8_t *data, size_t length)
{
    struct link *link = handle;
    if (link->state != LINK_OPEN)
        return;
    if (link->web)
        web_link_send(link->web, data, length);
    else
        put_out(link, data, length);
}

static void flush_and_end(struct link *link)
{
    link->state = LINK_FLUSHING;
    ev_timer_stop(link->door->loop, &link->timer);
    ev_timer_set(&link->timer, LINGER_S, 0);
    ev_timer_start(link->door->loop, &link->timer);
    mark_dirty(link);
}

static void door_close(void *context, void *handle, enum cloud_close_reason reason)
{
    struct link *link = handle;
    link->connection = NULL;
    if (link->dead || link->overflow)
        return;
    if (link->web)
        web_link_close(link->web);
    flush_and_end(link);
}

/* Bytes written, 0: later, -1: broken. */
static ssize_t write_some(struct link *link, const uint8_t *data, size_t length)
{
    if (!link->ssl) {
        ssize_t written = send(link->io.fd, data, length, MSG_NOSIGNAL);
        return written >= 0 ? written : errno == EAGAIN || errno == EINTR ? 0 : -1;
    }
    ERR_clear_error();
    int written = SSL_write(link->ssl, data, (int)length);
    if (written > 0)
        return written;
    int why = SSL_get_error(link->ssl, written);
    return why == SSL_ERROR_WANT_WRITE || why == SSL_ERROR_WANT_READ ? 0 : -1;
}

static void linger(struct link *link)
{
    link->state = LINK_LINGERING;
    if (link->ssl)
        SSL_shutdown(link->ssl);
    shutdown(link->io.fd, SHUT_WR);
    link->want_write = false;
    watch(link);
    ev_timer_stop(link->door->loop, &link->timer);
    ev_timer_set(&link->timer, LINGER_S, 0);
    ev_timer_start(link->door->loop, &link->timer);
}

static void flush(struct link *link)
{
    while (link->output_begin < link->output_end) {
        ssize_t written = write_some(link, link->output + link->output_begin, link->output_end - link->output_begin);
        if (written < 0) {
            lose(link);
            return;
        }
        if (written == 0) {
            link->want_write = true;
            watch(link);
            return;
        }
        link->output_begin += (uint32_t)written;
    }
    free(link->output);
    link->output = NULL;
    link->output_begin = link->output_end = link->output_capacity = 0;
    link->want_write = false;
    if (link->state == LINK_FLUSHING)
        linger(link);
    else
        watch(link);
}

/* ---- input ---------------------------------------------------------------------------------------------------------- */

static bool greet(struct link *link)
{
    link->state = LINK_OPEN;
    ev_timer_stop(link->door->loop, &link->timer);
    link->connection = cloud_broker_opened(link->door->cloud.broker, serve_monotonic_us(), link, &link->peer);
    if (link->connection)
        return true;
    lose(link); /* the broker is full */
    return false;
}

static void take_data(struct link *link, const uint8_t *data, size_t length)
{
    if (!link->dead && !link->overflow && link->state == LINK_OPEN && link->connection)
        cloud_broker_input(link->door->cloud.broker, link->connection, serve_monotonic_us(), data, length);
}

/* The way is free for the first byte of MQTT, or of the upgrade that comes before. */
static bool admit_link(struct link *link)
{
    if (!link->web)
        return greet(link);
    link->state = LINK_UPGRADE;
    return true;
}

static void take_input(struct link *link, size_t length)
{
    struct mqtt_door *door = link->door;
    if (!link->web) {
        take_data(link, door->input, length);
        return;
    }
    if (web_link_input(link->web, door->input, length) || link->dead || link->overflow || link->state > LINK_OPEN)
        return;
    /* The peer ended it, or broke WebSocket's rules: to the broker a connection that is gone. */
    struct cloud_connection *connection = link->connection;
    if (link->state == LINK_UPGRADE)
        door->counts.handshakes_failed++;
    link->connection = NULL;
    flush_and_end(link);
    if (connection)
        cloud_broker_closed(door->cloud.broker, connection, serve_monotonic_us());
}

static bool has_revoked(const struct link *link)
{
    struct cloud_pki *pki = link->door->pki;
    enum cloud_ca ca = memcmp(link->peer.issuer_id, cloud_pki_ca(pki, CLOUD_CA_CLAIM)->id, 32) == 0
                           ? CLOUD_CA_CLAIM
                           : CLOUD_CA_OPERATIONAL;
    return link->peer.has_certificate && cloud_pki_is_revoked(pki, ca, link->serial);
}

static bool shake_hands(struct link *link)
{
    ERR_clear_error();
    int done = SSL_accept(link->ssl);
    if (done == 1) {
        const char *name = SSL_get_servername(link->ssl, TLSEXT_NAMETYPE_host_name);
        snprintf(link->peer.server_name, sizeof(link->peer.server_name), "%s", name ? name : "");
        link->peer.tls = true;
        serve_tls_peer(link->ssl, link->door->pki, &link->peer, &link->der, &link->serial);
        if (has_revoked(link)) { /* since the handshake looked */
            link->door->counts.handshakes_failed++;
            lose(link);
            return false;
        }
        link->want_write = false;
        watch(link);
        return admit_link(link);
    }
    int why = SSL_get_error(link->ssl, done);
    link->want_write = why == SSL_ERROR_WANT_WRITE;
    if (why != SSL_ERROR_WANT_WRITE && why != SSL_ERROR_WANT_READ) {
        link->door->counts.handshakes_failed++;
        lose(link);
        return false;
    }
    watch(link);
    return false;
}

/* Bytes read, 0: nothing now, -1: over. */
static ssize_t read_some(struct link *link)
{
    if (!link->ssl) {
        ssize_t got = recv(link->io.fd, link->door->input, INPUT_CHUNK, 0);
        return got > 0 ? got : got < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
    }
    ERR_clear_error();
    int got = SSL_read(link->ssl, link->door->input, INPUT_CHUNK);
    if (got > 0)
        return got;
    int why = SSL_get_error(link->ssl, got);
    return why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE ? 0 : -1;
}

/* Our side has ended: whatever still comes is thrown away until the other side ends too. The socket's own bytes, TLS or not. */
static void drain(struct link *link)
{
    ssize_t got = recv(link->io.fd, link->door->input, INPUT_CHUNK, 0);
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR))
        bury(link);
}

static void read_turn(struct link *link)
{
    for (int i = 0; !link->dead && !link->overflow && (link->state == LINK_OPEN || link->state == LINK_UPGRADE) &&
                    (i < READS_A_TURN || (link->ssl && SSL_has_pending(link->ssl)));
         i++) {
        ssize_t got = read_some(link);
        if (got == 0)
            return;
        if (got < 0) {
            lose(link);
            return;
        }
        take_input(link, (size_t)got);
        if (link->ssl && !link->dead ? !SSL_has_pending(link->ssl) : got < INPUT_CHUNK)
            return;
    }
}

static void on_link(struct ev_loop *loop, ev_io *watcher, int events)
{
    struct link *link = watcher->data;
    if (link->state == LINK_HANDSHAKE && !shake_hands(link))
        return;
    if (link->dead)
        return;
    if (events & EV_WRITE && link->output_begin < link->output_end)
        flush(link);
    if (link->dead)
        return;
    if (link->state == LINK_OPEN || link->state == LINK_UPGRADE)
        read_turn(link);
    else if (link->state == LINK_LINGERING || link->state == LINK_FLUSHING)
        drain(link);
}

static void on_patience(struct ev_loop *loop, ev_timer *timer, int events)
{
    struct link *link = timer->data;
    if (link->state < LINK_OPEN)
        link->door->counts.handshakes_failed++;
    lose(link);
}

/* ---- accepting ------------------------------------------------------------------------------------------------------ */

static void describe_address(const struct sockaddr_storage *from, char out[48])
{
    const void *address = from->ss_family == AF_INET ? (const void *)&((const struct sockaddr_in *)from)->sin_addr
                                                     : (const void *)&((const struct sockaddr_in6 *)from)->sin6_addr;
    if (!inet_ntop(from->ss_family, address, out, 48))
        out[0] = 0;
}

static void take(struct listener *listener, int fd, const struct sockaddr_storage *from)
{
    struct mqtt_door *door = listener->door;
    struct link *link = calloc(1, sizeof(*link));
    int yes = 1;
    if (!link) {
        close(fd);
        return;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
    link->door = door;
    describe_address(from, link->peer.address);
    link->next = door->links;
    if (door->links)
        door->links->previous = link;
    door->links = link;
    door->counts.open++;
    door->counts.accepted++;
    ev_io_init(&link->io, on_link, fd, EV_READ);
    ev_timer_init(&link->timer, on_patience, HANDSHAKE_S, 0);
    link->io.data = link->timer.data = link;
    ev_io_start(door->loop, &link->io);
    if (listener->web && !(link->web = web_link_create(&(struct web_link_owner){link, put_out, greet, take_data}))) {
        lose(link);
        return;
    }
    if (listener->web || listener->context)
        ev_timer_start(door->loop, &link->timer);
    if (!listener->context) {
        admit_link(link);
        return;
    }
    link->ssl = SSL_new(listener->context);
    if (!link->ssl || SSL_set_fd(link->ssl, fd) != 1)
        lose(link);
    else
        SSL_set_accept_state(link->ssl);
}

static void on_accept(struct ev_loop *loop, ev_io *watcher, int events)
{
    struct listener *listener = watcher->data;
    for (int i = 0; i < ACCEPTS_A_TURN; i++) {
        struct sockaddr_storage from = {0};
        socklen_t length = sizeof(from);
        int fd = accept4(watcher->fd, (struct sockaddr *)&from, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            take(listener, fd, &from);
            continue;
        }
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            for (struct listener *each = listener->door->listeners; each; each = each->next)
                ev_io_stop(loop, &each->io); /* a full table would wake us for nothing, again and again */
            ev_timer_again(loop, &listener->door->accept_pause);
        }
        if (errno != EINTR && errno != ECONNABORTED)
            return;
    }
}

static void on_accept_again(struct ev_loop *loop, ev_timer *timer, int events)
{
    struct mqtt_door *door = timer->data;
    ev_timer_stop(loop, timer);
    for (struct listener *each = door->listeners; each && !door->stopping; each = each->next)
        if (!each->address_length)
            ev_io_start(loop, &each->io);
}

/* ---- a restart ------------------------------------------------------------------------------------------------------ */

/* A socket that has an address and does not listen there: who comes is refused, and nobody else takes the place. */
static bool occupy(struct listener *listener)
{
    int yes = 1, fd = socket(listener->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0)
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    if (fd >= 0 && bind(fd, (struct sockaddr *)&listener->address, listener->address_length) != 0) {
        close(fd);
        fd = -1;
    }
    ev_io_set(&listener->io, fd, EV_READ);
    return fd >= 0;
}

static void refuse(struct listener *listener)
{
    if (listener->address_length)
        return;
    listener->address_length = sizeof(listener->address);
    getsockname(listener->io.fd, (struct sockaddr *)&listener->address, &listener->address_length);
    ev_io_stop(listener->door->loop, &listener->io);
    close(listener->io.fd);
    occupy(listener);
}

static bool admit(struct listener *listener)
{
    if (!listener->address_length)
        return true;
    if ((listener->io.fd < 0 && !occupy(listener)) || listen(listener->io.fd, LISTEN_BACKLOG) != 0)
        return false;
    listener->address_length = 0;
    ev_io_start(listener->door->loop, &listener->io);
    return true;
}

static void on_reopen(struct ev_loop *loop, ev_timer *timer, int events)
{
    struct mqtt_door *door = timer->data;
    bool open = true;
    for (struct listener *each = door->listeners; each && !door->stopping; each = each->next)
        open = admit(each) && open;
    if (!open) {
        ev_timer_set(timer, RETRY_S, 0);
        ev_timer_start(loop, timer);
    }
}

void cloud_serve_restart(struct cloud *cloud, int64_t lasts_us, bool keep_sessions)
{
    struct mqtt_door *door = (struct mqtt_door *)(void *)((char *)cloud - offsetof(struct mqtt_door, cloud));
    if (door->stopping)
        return;
    for (struct listener *each = door->listeners; each; each = each->next)
        refuse(each);
    cloud_broker_restart(cloud->broker, serve_monotonic_us(), keep_sessions);
    for (struct link *link = door->links; link; link = link->next) {
        link->connection = NULL;
        bury(link);
    }
    ev_now_update(door->loop);
    ev_timer_stop(door->loop, &door->reopen);
    ev_timer_set(&door->reopen, (double)lasts_us / 1e6, 0);
    ev_timer_start(door->loop, &door->reopen);
}

/* ---- turns of the loop ---------------------------------------------------------------------------------------------- */

static void flush_dirty(struct mqtt_door *door)
{
    while (door->dirty) {
        struct link *link = door->dirty;
        door->dirty = link->next_dirty;
        link->dirty = false;
        if (link->dead)
            forget(link);
        else if (link->overflow)
            lose(link);
        else if (link->state == LINK_OPEN || link->state == LINK_FLUSHING)
            flush(link);
    }
}

static void on_deadline(struct ev_loop *loop, ev_timer *timer, int events)
{
    struct mqtt_door *door = timer->data;
    door->armed_us = TIME_NEVER;
    cloud_tick(&door->cloud, serve_monotonic_us());
}

static void on_prepare(struct ev_loop *loop, ev_prepare *prepare, int events)
{
    struct mqtt_door *door = prepare->data;
    flush_dirty(door);
    int64_t deadline_us = cloud_next_deadline(&door->cloud);
    if (deadline_us == door->armed_us)
        return;
    ev_timer_stop(loop, &door->deadline);
    door->armed_us = deadline_us;
    if (deadline_us == TIME_NEVER)
        return;
    int64_t wait_us = deadline_us - serve_monotonic_us();
    ev_now_update(loop);
    ev_timer_set(&door->deadline, wait_us > 0 ? (double)wait_us / 1e6 : 0.0, 0);
    ev_timer_start(loop, &door->deadline);
}

struct mqtt_door *mqtt_door_create(struct ev_loop *loop, const struct cloud_options *options, struct cloud_pki *pki,
                                   struct cloud_registry *registry, struct cloud_scram *scram)
{
    struct mqtt_door *door = calloc(1, sizeof(*door));
    struct cloud_options own = *options;
    if (!door)
        return NULL;
    door->scram = scram;
    own.authenticate = scram ? door_authenticate : NULL;
    door->loop = loop;
    door->pki = pki;
    door->armed_us = TIME_NEVER;
    if (!cloud_create(&door->cloud, &own, pki, registry, door_send, door_close, door)) {
        free(door);
        return NULL;
    }
    ev_timer_init(&door->deadline, on_deadline, 0, 0);
    ev_timer_init(&door->accept_pause, on_accept_again, 0, ACCEPT_PAUSE_S);
    ev_timer_init(&door->reopen, on_reopen, 0, 0);
    ev_prepare_init(&door->prepare, on_prepare);
    door->deadline.data = door->accept_pause.data = door->reopen.data = door->prepare.data = door;
    ev_prepare_start(loop, &door->prepare);
    return door;
}

bool mqtt_door_listen(struct mqtt_door *door, int fd, SSL_CTX *context, bool web)
{
    struct listener *listener = calloc(1, sizeof(*listener));
    if (!listener) {
        close(fd);
        SSL_CTX_free(context);
        return false;
    }
    listener->door = door;
    listener->context = context;
    listener->web = web;
    listener->next = door->listeners;
    door->listeners = listener;
    ev_io_init(&listener->io, on_accept, fd, EV_READ);
    listener->io.data = listener;
    ev_io_start(door->loop, &listener->io);
    return true;
}

struct cloud *mqtt_door_cloud(struct mqtt_door *door)
{
    return &door->cloud;
}

void mqtt_door_counts(const struct mqtt_door *door, struct mqtt_door_counts *out)
{
    *out = door->counts;
}

uint64_t mqtt_door_cut_revoked(struct mqtt_door *door)
{
    uint64_t cut = 0;
    for (struct link *link = door->links; link; link = link->next) {
        if (link->dead || link->state != LINK_OPEN || !link->connection || !has_revoked(link))
            continue;
        cloud_broker_cut(door->cloud.broker, link->connection, serve_monotonic_us(), MQ5_NOT_AUTHORIZED);
        cut++;
    }
    return cut;
}

void mqtt_door_shutdown(struct mqtt_door *door)
{
    door->stopping = true;
    ev_timer_stop(door->loop, &door->accept_pause);
    ev_timer_stop(door->loop, &door->reopen);
    for (struct listener *each = door->listeners; each; each = each->next)
        ev_io_stop(door->loop, &each->io);
    cloud_broker_shutdown(door->cloud.broker, serve_monotonic_us());
    for (struct link *link = door->links, *next; link; link = next) {
        next = link->next;
        if (link->state < LINK_OPEN)
            lose(link);
    }
    flush_dirty(door);
}

bool mqtt_door_idle(struct mqtt_door *door)
{
    flush_dirty(door);
    return door->links == NULL;
}

void mqtt_door_destroy(struct mqtt_door *door)
{
    if (!door)
        return;
    for (struct link *link = door->links; link; link = link->next) {
        link->connection = NULL;
        bury(link);
    }
    flush_dirty(door);
    ev_timer_stop(door->loop, &door->deadline);
    ev_timer_stop(door->loop, &door->accept_pause);
    ev_timer_stop(door->loop, &door->reopen);
    ev_prepare_stop(door->loop, &door->prepare);
    for (struct listener *each = door->listeners, *next; each; each = next) {
        next = each->next;
        ev_io_stop(door->loop, &each->io);
        if (each->io.fd >= 0)
            close(each->io.fd);
        SSL_CTX_free(each->context);
        free(each);
    }
    cloud_destroy(&door->cloud);
    free(door);
}
