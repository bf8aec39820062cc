/* live_link.c: a vehicle's socket, from the attempt to the end.
 *
 * Non-blocking throughout: TCP, then TLS where the door wants it, then bytes. Writes go out at once; only what the socket would not take is kept.
 * A link that the radio loses is not closed: the vehicle lets go of it, and the broker's half stays until the broker notices (a ghost).
 */
#include "live.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define READS_AT_ONCE  8 /* of one vehicle before the others have their turn */
#define LINGER_US      (2 * US_PER_S)
#define GHOST_EXTRA_US US_PER_S
/* A fault: what the server shows has expired: it is checked as of a moment so much later, and refused as OpenSSL refuses such a one. */
#define AFTER_ITS_END_S (200 * INT64_C(366) * 86400)

static struct live_door *door_of(const struct live_vehicle *vehicle)
{
    struct live_world *world = vehicle->world;
    return &world->brokers[vehicle->broker].doors[world->identity[vehicle->trace.cohort]];
}

static struct measure_dimension who(const struct live_vehicle *vehicle)
{
    return fleet_who(&vehicle->trace, PATH_ANY);
}

static void watch(struct live_vehicle *vehicle, int events)
{
    struct ev_loop *loop = vehicle->world->loop;
    if (vehicle->watcher.active && (vehicle->watcher.events & (EV_READ | EV_WRITE)) == events)
        return;
    ev_io_stop(loop, &vehicle->watcher);
    ev_io_set(&vehicle->watcher, vehicle->watcher.fd, events);
    ev_io_start(loop, &vehicle->watcher);
}

/* ---- ghosts -------------------------------------------------------------------------------------------------------- */

static void ghost_end(struct live_ghost *ghost)
{
    struct live_world *world = ghost->world;
    ev_io_stop(world->loop, &ghost->watcher);
    close(ghost->watcher.fd);
    *ghost->place = ghost->next;
    if (ghost->next)
        ghost->next->place = ghost->place;
    world->ghost_count--;
    free(ghost);
}

static void on_ghost(struct ev_loop *loop, ev_io *watcher, int events)
{
    struct live_ghost *ghost = (struct live_ghost *)watcher;
    for (int i = 0; i < READS_AT_ONCE; i++) {
        ssize_t got = read(watcher->fd, ghost->world->input, LIVE_INPUT_BYTES);
        if (got > 0)
            continue;
        if (got < 0 && (errno == EAGAIN || errno == EINTR))
            return;
        ghost_end(ghost);
        return;
    }
}

static void reset_on_close(int fd)
{
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){1, 0}, sizeof(struct linger));
}

static bool ghost_make(struct live_world *world, int fd, int64_t until_us)
{
    struct live_ghost *ghost = malloc(sizeof *ghost);
    if (!ghost) {
        close(fd);
        return false;
    }
    *ghost = (struct live_ghost){.world = world, .next = world->ghosts, .place = &world->ghosts, .until_us = until_us};
    if (world->ghosts)
        world->ghosts->place = &ghost->next;
    world->ghosts = ghost;
    world->ghost_count++;
    ev_io_init(&ghost->watcher, on_ghost, fd, EV_READ);
    ev_io_start(world->loop, &ghost->watcher);
    return true;
}

void live_ghosts_sweep(struct live_world *world, int64_t now_us)
{
    for (struct live_ghost *ghost = world->ghosts, *next; ghost; ghost = next) {
        next = ghost->next;
        if (ghost->until_us <= now_us)
            ghost_end(ghost);
    }
}

/* ---- letting go ---------------------------------------------------------------------------------------------------- */

static void forget_stage(struct live_vehicle *vehicle)
{
    vehicle->attempts++;
    if (vehicle->counted)
        live_admit_done(vehicle->world);
    vehicle->counted = false;
    vehicle->stage = STAGE_NONE;
    free(vehicle->unsent);
    vehicle->unsent = NULL;
}

/* Takes the socket away from the vehicle; -1: there was none. */
static int detach(struct live_vehicle *vehicle)
{
    int fd = vehicle->watcher.fd;
    if (fd >= 0)
        ev_io_stop(vehicle->world->loop, &vehicle->watcher);
    ev_io_set(&vehicle->watcher, -1, 0);
    SSL_free(vehicle->ssl); /* says nothing to the peer */
    vehicle->ssl = NULL;
    forget_stage(vehicle);
    return fd;
}

static void cut(struct live_vehicle *vehicle)
{
    int fd = detach(vehicle);
    if (fd < 0)
        return;
    reset_on_close(fd);
    close(fd);
}

/* The good-bye may still be under way, and what the broker sent is not read any more: closing now would answer it with a reset. */
void live_link_close(struct live_vehicle *vehicle, bool abort)
{
    if (abort || vehicle->stage != STAGE_UP) {
        cut(vehicle);
        return;
    }
    if (vehicle->ssl)
        SSL_shutdown(vehicle->ssl);
    ERR_clear_error();
    int fd = detach(vehicle);
    shutdown(fd, SHUT_WR);
    ghost_make(vehicle->world, fd, vehicle->world->now_us + LINGER_US);
}

void live_link_failed(struct live_vehicle *vehicle, enum tcu_link_end why)
{
    struct live_world *world = vehicle->world;
    cut(vehicle);
    tcu_link_down(vehicle->tcu, world->now_us, why);
}

void live_link_broken(struct live_vehicle *vehicle)
{
    if (vehicle->stage == STAGE_UP)
        live_link_failed(vehicle, TCU_LINK_LOST);
}

static int64_t broker_patience_us(const struct live_vehicle *vehicle)
{
    const struct tcu_profile *profile = fleet_profile(&vehicle->world->fleet, vehicle->index);
    uint16_t parked_s = profile->power[TCU_PARKED].keep_alive_s, driving_s = profile->power[TCU_DRIVING].keep_alive_s;
    if (parked_s == 0 || driving_s == 0)
        return TIME_NEVER / 2;
    return 2 * US_PER_S * (parked_s > driving_s ? parked_s : driving_s) + GHOST_EXTRA_US;
}

void live_link_lost(struct live_vehicle *vehicle)
{
    struct live_world *world = vehicle->world;
    enum tcu_connection state = tcu_connection(vehicle->tcu);
    bool up = vehicle->stage == STAGE_UP;
    vehicle->requests++; /* an answer under way will not arrive */
    int fd = detach(vehicle);
    if (fd >= 0 && up && ghost_make(world, fd, world->now_us + broker_patience_us(vehicle)))
        world->ghosts->lost_by = vehicle;
    else if (fd >= 0 && !up)
        close(fd);
    if (state == TCU_ONLINE || state == TCU_CONNECTING)
        tcu_link_down(vehicle->tcu, world->now_us, TCU_LINK_LOST);
}

/* ---- TLS ----------------------------------------------------------------------------------------------------------- */

bool live_tls_create(struct live_world *world, const char *ca_file)
{
    bool embedded = world->brokers[0].embedded;
    world->tls = SSL_CTX_new(TLS_client_method());
    if (!world->tls)
        return live_fail(world, "out of memory for TLS");
    SSL_CTX_set_min_proto_version(world->tls, embedded ? TLS1_3_VERSION : TLS1_2_VERSION);
    SSL_CTX_set_mode(world->tls,
                     SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(world->tls, 1); /* one call a record in place of two */
    SSL_CTX_set_verify(world->tls, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_session_cache_mode(world->tls, SSL_SESS_CACHE_OFF);
    bool trusts = ca_file ? SSL_CTX_load_verify_locations(world->tls, ca_file, NULL) == 1
                          : SSL_CTX_set_default_verify_paths(world->tls) == 1;
    ERR_clear_error();
    return trusts ||
           live_fail(world, "%s: cannot be read as CA certificates in PEM form; give the broker's CA with --ca FILE",
                     ca_file ? ca_file : "the system's CA certificates");
}

static void remember_tls_failure(struct live_world *world, const SSL *ssl)
{
    unsigned long error = ERR_peek_last_error();
    long verified = SSL_get_verify_result(ssl);
    const char *text = verified != X509_V_OK ? X509_verify_cert_error_string(verified)
                       : error               ? ERR_reason_error_string(error)
                                             : NULL;
    world->tls_failures++;
    if (!world->first_tls_failure[0])
        snprintf(world->first_tls_failure, sizeof world->first_tls_failure, "%s", text ? text : "connection closed");
}

static bool show_identity(struct live_vehicle *vehicle, SSL *ssl)
{
    struct live_shown shown = {0};
    if (vehicle->world->identity[vehicle->trace.cohort] != IDENTITY_CERTIFICATE)
        return true;
    return live_shown(vehicle, &shown) &&
           SSL_use_certificate_ASN1(ssl, shown.certificate.data, (int)shown.certificate.length) == 1 &&
           SSL_use_PrivateKey_ASN1(EVP_PKEY_EC, ssl, shown.key.data, shown.key.length) == 1;
}

static bool expect_peer(const struct live_world *world, SSL *ssl, const struct live_door *door)
{
    static const unsigned char alpn[] = "\4mqtt";
    if (!door->literal && SSL_set_tlsext_host_name(ssl, door->host) != 1)
        return false;
    if (door->port == 443 && SSL_set_alpn_protos(ssl, alpn, sizeof alpn - 1) != 0)
        return false;
    if (world->certificate_until_us > world->now_us)
        X509_VERIFY_PARAM_set_time(SSL_get0_param(ssl),
                                   (time_t)(world->fleet.wall_offset_us / US_PER_S) + AFTER_ITS_END_S);
    if (world->options->no_verify_name)
        return true;
    return (door->literal ? X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), door->host)
                          : SSL_set1_host(ssl, door->host)) == 1;
}

static void link_is_up(struct live_vehicle *vehicle)
{
    struct live_world *world = vehicle->world;
    vehicle->stage = STAGE_UP;
    if (vehicle->counted)
        live_admit_done(world);
    vehicle->counted = false;
    watch(vehicle, EV_READ);
    vehicle->trace.link_up_us = world->now_us;
    tcu_link_up(vehicle->tcu, world->now_us);
}

static int64_t began_us(const struct live_vehicle *vehicle)
{
    return vehicle->trace.attempt_us >= 0 ? vehicle->trace.attempt_us : vehicle->world->now_us;
}

static void step_tls(struct live_vehicle *vehicle)
{
    struct live_world *world = vehicle->world;
    int result = SSL_do_handshake(vehicle->ssl);
    live_tick(world);
    if (result == 1) {
        vehicle->trace.bytes_up += BIO_number_written(SSL_get_wbio(vehicle->ssl));
        vehicle->trace.bytes_down += BIO_number_read(SSL_get_rbio(vehicle->ssl));
        SSL_certs_clear(vehicle->ssl); /* some 7 KiB a vehicle */
        measure_sample(world->fleet.measure, METRIC_CONNECT_TLS, who(vehicle), vehicle->index, began_us(vehicle),
                       world->now_us - vehicle->phase_us);
        link_is_up(vehicle);
        return;
    }
    switch (SSL_get_error(vehicle->ssl, result)) {
    case SSL_ERROR_WANT_READ: watch(vehicle, EV_READ); return;
    case SSL_ERROR_WANT_WRITE: watch(vehicle, EV_WRITE); return;
    default:
        remember_tls_failure(world, vehicle->ssl);
        ERR_clear_error();
        live_link_failed(vehicle, TCU_LINK_TLS_FAILED);
    }
}

static void start_tls(struct live_vehicle *vehicle, const struct live_door *door)
{
    SSL *ssl = SSL_new(vehicle->world->tls);
    vehicle->ssl = ssl;
    vehicle->stage = STAGE_TLS;
    vehicle->phase_us = vehicle->world->now_us;
    if (!ssl || SSL_set_fd(ssl, vehicle->watcher.fd) != 1 || !show_identity(vehicle, ssl) ||
        !expect_peer(vehicle->world, ssl, door)) {
        if (ssl)
            remember_tls_failure(vehicle->world, ssl);
        ERR_clear_error();
        live_link_failed(vehicle, TCU_LINK_TLS_FAILED);
        return;
    }
    SSL_set_connect_state(ssl);
    step_tls(vehicle);
}

/* ---- TCP ----------------------------------------------------------------------------------------------------------- */

static void tcp_failed(struct live_vehicle *vehicle)
{
    vehicle->world->tcp_failures++;
    live_link_failed(vehicle, TCU_LINK_CONNECT_FAILED);
}

static void tcp_up(struct live_vehicle *vehicle)
{
    struct live_world *world = vehicle->world;
    const struct live_door *door = door_of(vehicle);
    measure_sample(world->fleet.measure, METRIC_CONNECT_TCP, who(vehicle), vehicle->index, began_us(vehicle),
                   world->now_us - vehicle->phase_us);
    if (door->tls)
        start_tls(vehicle, door);
    else
        link_is_up(vehicle);
}

static void tcp_done(struct live_vehicle *vehicle)
{
    int error = 0;
    socklen_t length = sizeof error;
    if (getsockopt(vehicle->watcher.fd, SOL_SOCKET, SO_ERROR, &error, &length) < 0 || error)
        tcp_failed(vehicle);
    else
        tcp_up(vehicle);
}

static void bind_source(const struct live_vehicle *vehicle, int fd, const struct sockaddr_storage *to)
{
    uint32_t addresses = vehicle->world->source_addresses;
    const struct sockaddr_in *in = (const struct sockaddr_in *)to;
    if (!addresses || to->ss_family != AF_INET || ntohl(in->sin_addr.s_addr) >> 24 != 127)
        return;
    int on = 1;
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    struct sockaddr_in from = {.sin_family = AF_INET,
                               .sin_addr = {htonl(UINT32_C(0x7F000002) + vehicle->index % addresses)}};
    if (bind(fd, (const struct sockaddr *)&from, sizeof from) < 0)
        return; /* the kernel chooses */
}

static void start_tcp(struct live_vehicle *vehicle, const struct sockaddr_storage *to, socklen_t length)
{
    int on = 1;
    int fd = socket(to->ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    vehicle->stage = STAGE_TCP;
    vehicle->phase_us = vehicle->world->now_us;
    if (fd < 0) {
        tcp_failed(vehicle);
        return;
    }
    ev_io_set(&vehicle->watcher, fd, EV_WRITE);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    bind_source(vehicle, fd, to);
    int refused = connect(fd, (const struct sockaddr *)to, length);
    if (refused &&
        errno == EINPROGRESS) /* on this machine it is done by now: asking again costs less than waiting to be told */
        refused = connect(fd, (const struct sockaddr *)to, length);
    if (!refused)
        tcp_up(vehicle);
    else if (errno == EALREADY || errno == EINPROGRESS)
        watch(vehicle, EV_WRITE);
    else
        tcp_failed(vehicle);
}

void live_link_resolved(struct live_vehicle *vehicle, const struct sockaddr_storage *address, socklen_t length)
{
    struct live_world *world = vehicle->world;
    measure_sample(world->fleet.measure, METRIC_CONNECT_RESOLVE, who(vehicle), vehicle->index, began_us(vehicle),
                   world->now_us - vehicle->phase_us);
    if (length) {
        start_tcp(vehicle, address, length);
        return;
    }
    world->resolve_failures++;
    live_link_failed(vehicle, TCU_LINK_RESOLVE_FAILED);
}

void live_link_start(struct live_vehicle *vehicle)
{
    struct live_door *door = door_of(vehicle);
    vehicle->stage = STAGE_RESOLVING;
    vehicle->phase_us = vehicle->world->now_us;
    if (door->literal)
        live_link_resolved(vehicle, &door->address, door->address_length);
    else
        live_resolve(vehicle, door);
}

/* Called from inside the agent: whatever comes of it comes later. */
void live_link_open(struct live_vehicle *vehicle)
{
    struct live_world *world = vehicle->world;
    vehicle->attempts++;
    vehicle->stage = STAGE_WAITING;
    vehicle->phase_us = world->now_us;
    if (!vehicle->covered || world->outage_until_us > world->now_us) {
        int64_t wait_us =
            vehicle->covered ? US_PER_MS : 5 * US_PER_S; /* refused at once; a modem without service gives up later */
        live_schedule(vehicle, LIVE_LINK_FAILED, world->now_us + wait_us, vehicle->attempts);
        return;
    }
    if (world->resolver_until_us > world->now_us) {
        live_schedule(vehicle, LIVE_RESOLVE_FAILED, world->now_us + 5 * US_PER_S, vehicle->attempts);
        return;
    }
    live_line_push(
        world, &world->line,
        (struct live_ticket){.place = live_place(vehicle), .serial = vehicle->attempts, .purpose = FOR_LINK});
}

/* ---- bytes --------------------------------------------------------------------------------------------------------- */

/* Bytes written, 0 if the socket is full, -1 if it is broken. */
static ssize_t put(struct live_vehicle *vehicle, const uint8_t *data, size_t length)
{
    if (!vehicle->ssl) {
        ssize_t written = write(vehicle->watcher.fd, data, length);
        return written >= 0 ? written : errno == EAGAIN || errno == EINTR ? 0 : -1;
    }
    int written = SSL_write(vehicle->ssl, data, (int)length);
    if (written > 0)
        return written;
    int error = SSL_get_error(vehicle->ssl, written);
    ERR_clear_error();
    return error == SSL_ERROR_WANT_WRITE || error == SSL_ERROR_WANT_READ ? 0 : -1;
}

static void write_broke(struct live_vehicle *vehicle)
{
    free(vehicle->unsent);
    vehicle->unsent = NULL;
    live_schedule(vehicle, LIVE_LINK_BROKEN, vehicle->world->now_us, vehicle->attempts);
}

static void keep_for_later(struct live_vehicle *vehicle, const uint8_t *data, size_t length)
{
    struct live_buffer *buffer = vehicle->unsent;
    size_t used = buffer ? buffer->length : 0;
    if (!buffer || buffer->capacity - used < length) {
        size_t capacity = 2 * (used + length);
        buffer = realloc(buffer, sizeof *buffer + capacity);
        if (!buffer) {
            vehicle->world->out_of_memory = true;
            return;
        }
        if (!vehicle->unsent)
            buffer->sent = buffer->length = 0;
        buffer->capacity = (uint32_t)capacity;
        vehicle->unsent = buffer;
    }
    memcpy(buffer->data + buffer->length, data, length);
    buffer->length += (uint32_t)length;
    watch(vehicle, EV_READ | EV_WRITE);
}

void live_link_send(struct live_vehicle *vehicle, const uint8_t *data, size_t length)
{
    struct live_world *world = vehicle->world;
    if (vehicle->stage != STAGE_UP)
        return;
    vehicle->wrote = true;
    world->packets++;
    world->wire_bytes += length;
    fleet_bytes(&world->fleet, &vehicle->trace, world->now_us, LINK_UP, data, length);
    if (world->parkings)
        live_battery_used(vehicle, world->now_us, length);
    ssize_t written = vehicle->unsent ? 0 : put(vehicle, data, length);
    if (written < 0)
        write_broke(vehicle);
    else if ((size_t)written < length)
        keep_for_later(vehicle, data + written, length - (size_t)written);
}

static void flush(struct live_vehicle *vehicle)
{
    struct live_buffer *buffer = vehicle->unsent;
    while (buffer && buffer->sent < buffer->length) {
        ssize_t written = put(vehicle, buffer->data + buffer->sent, buffer->length - buffer->sent);
        if (written < 0)
            write_broke(vehicle);
        if (written <= 0)
            return;
        buffer->sent += (uint32_t)written;
    }
    free(buffer);
    vehicle->unsent = NULL;
    watch(vehicle, EV_READ);
}

/* Bytes read; 0: none now; -1: the link is over, *why says how. */
static ssize_t get(struct live_vehicle *vehicle, enum tcu_link_end *why)
{
    uint8_t *input = vehicle->world->input;
    if (!vehicle->ssl) {
        ssize_t got = read(vehicle->watcher.fd, input, LIVE_INPUT_BYTES);
        if (got > 0 || (got < 0 && (errno == EAGAIN || errno == EINTR)))
            return got > 0 ? got : 0;
        *why = got == 0 ? TCU_LINK_PEER_CLOSED : TCU_LINK_LOST;
        return -1;
    }
    int got = SSL_read(vehicle->ssl, input, LIVE_INPUT_BYTES);
    if (got > 0)
        return got;
    int error = SSL_get_error(vehicle->ssl, got);
    if (error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE)
        return 0;
    bool unexpected_end = ERR_GET_REASON(ERR_peek_last_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING;
    *why = error == SSL_ERROR_ZERO_RETURN || unexpected_end ? TCU_LINK_PEER_CLOSED : TCU_LINK_LOST;
    if (error == SSL_ERROR_SSL &&
        !unexpected_end) { /* in TLS 1.3 a certificate is refused after the client's handshake is over */
        *why = TCU_LINK_TLS_FAILED;
        remember_tls_failure(vehicle->world, vehicle->ssl);
    }
    ERR_clear_error();
    return -1;
}

static void take_bytes(struct live_vehicle *vehicle)
{
    struct live_world *world = vehicle->world;
    uint32_t attempt = vehicle->attempts;
    for (int i = 0; i < READS_AT_ONCE && vehicle->attempts == attempt; i++) {
        enum tcu_link_end why = TCU_LINK_LOST;
        ssize_t got = get(vehicle, &why);
        if (got == 0)
            return;
        if (got < 0) {
            live_link_failed(vehicle, why);
            return;
        }
        world->wire_bytes += (uint64_t)got;
        fleet_bytes(&world->fleet, &vehicle->trace, world->now_us, LINK_DOWN, world->input, (size_t)got);
        if (world->parkings)
            live_battery_used(vehicle, world->now_us, (size_t)got);
        tcu_bytes(vehicle->tcu, world->now_us, world->input, (size_t)got);
        if (vehicle->ssl ? !SSL_has_pending(vehicle->ssl) : got < LIVE_INPUT_BYTES)
            return; /* whatever else there is, the loop will tell */
    }
}

static void on_event(struct ev_loop *loop, ev_io *watcher, int events)
{
    struct live_vehicle *vehicle = (struct live_vehicle *)watcher;
    live_tick(vehicle->world);
    assert_context.vehicle = vehicle->index;
    switch ((enum live_stage)vehicle->stage) {
    case STAGE_TCP: tcp_done(vehicle); break;
    case STAGE_TLS: step_tls(vehicle); break;
    case STAGE_UP: {
        uint32_t attempt = vehicle->attempts;
        if (events & EV_WRITE)
            flush(vehicle);
        if (events & EV_READ && vehicle->attempts == attempt)
            take_bytes(vehicle);
        break;
    }
    case STAGE_NONE:
    case STAGE_WAITING:
    case STAGE_RESOLVING: break;
    }
}

void live_link_init(struct live_vehicle *vehicle)
{
    ev_io_init(&vehicle->watcher, on_event, -1, 0);
}
