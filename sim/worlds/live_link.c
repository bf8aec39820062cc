/* live_link.c: a vehicle's socket, from the attempt to the end.
 *
 * Non-blocking throughout: TCP, then TLS where the door wants it, then bytes. Writes go out at once; only what the socket would not take is kept.
 * A link that the radio loses is not closed: the vehicle lets go of it, and the broker's half stays until the broker notices (a ghost).
 * With a link model bytes and outcomes go through live_radio.c, which holds them for as long as they would be under way.
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
#define AFTER_ITS_END_S  (200 * INT64_C(366) * 86400)
#define SOURCE_ADDRESSES 250

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

void live_socket_cut(int fd)
{
    reset_on_close(fd);
    close(fd);
}

void live_ghost_leave(struct live_world *world, int fd, int64_t until_us, const struct live_vehicle *lost_by)
{
    struct live_ghost *ghost = malloc(sizeof *ghost);
    if (!ghost) {
        close(fd);
        return;
    }
    *ghost = (struct live_ghost){.world = world,
                                 .next = world->ghosts,
                                 .place = &world->ghosts,
                                 .until_us = until_us,
                                 .lost_by = lost_by,
                                 .greeted = lost_by && tcu_connection(lost_by->tcu) == TCU_ONLINE};
    if (world->ghosts)
        world->ghosts->place = &ghost->next;
    world->ghosts = ghost;
    world->ghost_count++;
    ev_io_init(&ghost->watcher, on_ghost, fd, EV_READ);
    ev_io_start(world->loop, &ghost->watcher);
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
    if (vehicle->world->radios)
        live_radio_forget(vehicle);
}

static int take_socket(struct live_vehicle *vehicle)
{
    int fd = vehicle->watcher.fd;
    if (fd >= 0)
        ev_io_stop(vehicle->world->loop, &vehicle->watcher);
    ev_io_set(&vehicle->watcher, -1, 0);
    return fd;
}

int live_link_detach(struct live_vehicle *vehicle)
{
    int fd = take_socket(vehicle);
    SSL_free(vehicle->ssl); /* says nothing to the peer */
    vehicle->ssl = NULL;
    forget_stage(vehicle);
    live_network_found(vehicle, false); /* whoever found out has said so before */
    return fd;
}

void live_link_cut(struct live_vehicle *vehicle)
{
    int fd = live_link_detach(vehicle);
    if (fd >= 0)
        live_socket_cut(fd);
}

/* The good-bye may still be under way, and what the broker sent is not read any more: closing now would answer it with a reset. */
void live_link_close(struct live_vehicle *vehicle, bool abort)
{
    bool up = vehicle->stage == STAGE_UP && !live_link_dead(vehicle);
    if (up && vehicle->world->radios) {
        live_radio_close(vehicle, abort);
        return;
    }
    if (abort || !up) {
        live_link_cut(vehicle);
        return;
    }
    if (vehicle->ssl)
        SSL_shutdown(vehicle->ssl);
    ERR_clear_error();
    int fd = live_link_detach(vehicle);
    shutdown(fd, SHUT_WR);
    live_ghost_leave(vehicle->world, fd, vehicle->world->now_us + LINGER_US, NULL);
}

void live_link_failed(struct live_vehicle *vehicle, enum tcu_link_end why)
{
    struct live_world *world = vehicle->world;
    live_link_cut(vehicle);
    tcu_link_down(vehicle->tcu, world->now_us, why);
}

/* An attempt has come to nothing in `phase`. */
static void attempt_failed(struct live_vehicle *vehicle, enum live_phase phase, enum tcu_link_end why)
{
    if (!vehicle->world->radios) {
        live_link_failed(vehicle, why);
        return;
    }
    live_link_cut(vehicle);
    live_radio_refused(vehicle, phase, why);
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
    int fd = live_link_detach(vehicle);
    if (fd >= 0 && up)
        live_ghost_leave(world, fd, world->now_us + broker_patience_us(vehicle), vehicle);
    else if (fd >= 0)
        close(fd);
    if (world->radios)
        live_radio_lost(vehicle);
    if (state == TCU_ONLINE || state == TCU_CONNECTING)
        tcu_link_down(vehicle->tcu, world->now_us, TCU_LINK_LOST);
}

bool live_link_kill(struct live_vehicle *vehicle, bool resets)
{
    struct live_world *world = vehicle->world;
    if (vehicle->stage != STAGE_UP || live_link_dead(vehicle))
        return false;
    int64_t until_us = world->now_us + broker_patience_us(vehicle);
    SSL *ssl = vehicle->ssl;
    int fd = take_socket(vehicle);
    vehicle->ssl = NULL;
    free(vehicle->unsent);
    vehicle->unsent = NULL;
    if (world->radios) {
        live_radio_abandon(vehicle, ssl, fd, until_us, resets);
        return true;
    }
    SSL_free(ssl);
    live_ghost_leave(world, fd, until_us, vehicle);
    return true;
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

static bool expect_peer(const struct live_vehicle *vehicle, SSL *ssl, const struct live_door *door)
{
    static const unsigned char alpn[] = "\4mqtt";
    const struct live_world *world = vehicle->world;
    const char *name = live_regions_endpoint(vehicle); /* of one that is reached by its address */
    name = name ? name : door->literal ? NULL : door->host;
    if (name && SSL_set_tlsext_host_name(ssl, name) != 1)
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
    if (vehicle->counted)
        live_admit_done(vehicle->world);
    vehicle->counted = false;
    watch(vehicle, EV_READ);
    if (!vehicle->world->radios) {
        live_link_up(vehicle);
        return;
    }
    vehicle->stage = STAGE_READY;
    live_radio_ready(vehicle);
}

void live_link_up(struct live_vehicle *vehicle)
{
    struct live_world *world = vehicle->world;
    vehicle->stage = STAGE_UP;
    vehicle->trace.link_up_us = world->now_us;
    tcu_link_up(vehicle->tcu, world->now_us);
}

static void phase_over(struct live_vehicle *vehicle, enum live_phase phase)
{
    static const enum metric metrics[] = {METRIC_CONNECT_RESOLVE, METRIC_CONNECT_TCP, METRIC_CONNECT_TLS};
    struct live_world *world = vehicle->world;
    int64_t began_us = vehicle->trace.attempt_us >= 0 ? vehicle->trace.attempt_us : world->now_us;
    int64_t took_us = world->now_us - vehicle->phase_us;
    if (world->radios)
        live_radio_phase(vehicle, phase, took_us);
    else
        measure_sample(world->fleet.measure, metrics[phase], who(vehicle), vehicle->index, began_us, took_us);
}

static void step_tls(struct live_vehicle *vehicle)
{
    struct live_world *world = vehicle->world;
    int result = SSL_do_handshake(vehicle->ssl);
    live_tick(world);
    if (result == 1) {
        if (!world->radios) { /* else the model has counted them */
            vehicle->trace.bytes_up += BIO_number_written(SSL_get_wbio(vehicle->ssl));
            vehicle->trace.bytes_down += BIO_number_read(SSL_get_rbio(vehicle->ssl));
        }
        SSL_certs_clear(vehicle->ssl); /* some 7 KiB a vehicle */
        phase_over(vehicle, LIVE_TLS);
        link_is_up(vehicle);
        return;
    }
    switch (SSL_get_error(vehicle->ssl, result)) {
    case SSL_ERROR_WANT_READ: watch(vehicle, EV_READ); return;
    case SSL_ERROR_WANT_WRITE: watch(vehicle, EV_WRITE); return;
    default:
        remember_tls_failure(world, vehicle->ssl);
        ERR_clear_error();
        attempt_failed(vehicle, LIVE_TLS, TCU_LINK_TLS_FAILED);
    }
}

static void start_tls(struct live_vehicle *vehicle, const struct live_door *door)
{
    SSL *ssl = SSL_new(vehicle->world->tls);
    vehicle->ssl = ssl;
    vehicle->stage = STAGE_TLS;
    vehicle->phase_us = vehicle->world->now_us;
    if (!ssl || SSL_set_fd(ssl, vehicle->watcher.fd) != 1 || !show_identity(vehicle, ssl) ||
        !expect_peer(vehicle, ssl, door)) {
        if (ssl)
            remember_tls_failure(vehicle->world, ssl);
        ERR_clear_error();
        attempt_failed(vehicle, LIVE_TLS, TCU_LINK_TLS_FAILED);
        return;
    }
    SSL_set_connect_state(ssl);
    step_tls(vehicle);
}

/* ---- TCP ----------------------------------------------------------------------------------------------------------- */

static void tcp_failed(struct live_vehicle *vehicle)
{
    vehicle->world->tcp_failures++;
    attempt_failed(vehicle, LIVE_TCP, TCU_LINK_CONNECT_FAILED);
}

static void tcp_up(struct live_vehicle *vehicle)
{
    const struct live_door *door = door_of(vehicle);
    phase_over(vehicle, LIVE_TCP);
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
    if ((!addresses && !vehicle->moves) || to->ss_family != AF_INET || ntohl(in->sin_addr.s_addr) >> 24 != 127)
        return;
    int on = 1;
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    uint32_t place = addresses ? vehicle->index % addresses : 0;
    place = (place + vehicle->moves) % SOURCE_ADDRESSES;
    struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr = {htonl(UINT32_C(0x7F000002) + place)}};
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
    phase_over(vehicle, LIVE_RESOLVE);
    if (length) {
        start_tcp(vehicle, address, length);
        return;
    }
    world->resolve_failures++;
    attempt_failed(vehicle, LIVE_RESOLVE, TCU_LINK_RESOLVE_FAILED);
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

/* As struct link_setup says it. */
static uint8_t tls_of(const struct live_vehicle *vehicle)
{
    if (!door_of(vehicle)->tls)
        return 0;
    return vehicle->world->identity[vehicle->trace.cohort] == IDENTITY_CERTIFICATE ? 2 : 1;
}

/* Called from inside the agent: whatever comes of it comes later. */
void live_link_open(struct live_vehicle *vehicle)
{
    struct live_world *world = vehicle->world;
    vehicle->attempts++;
    vehicle->stage = STAGE_WAITING;
    vehicle->phase_us = world->now_us;
    bool refused = world->regions && !live_regions_choose(vehicle);
    if (refused || !vehicle->covered || (!world->radios && world->outage_until_us > world->now_us)) {
        int64_t wait_us = vehicle->covered ? US_PER_MS : link_search_us(live_profile(vehicle)); /* refused at once */
        live_schedule(vehicle, LIVE_LINK_FAILED, world->now_us + wait_us, vehicle->attempts);
        return;
    }
    if (world->radios && !live_radio_open(vehicle, tls_of(vehicle)))
        return;
    if (world->resolver_until_us > world->now_us) {
        live_schedule(vehicle, LIVE_RESOLVE_FAILED, world->now_us + 5 * US_PER_S, vehicle->attempts);
        return;
    }
    live_line_push(
        world, &world->line,
        (struct live_ticket){.place = live_place(vehicle), .serial = vehicle->attempts, .purpose = FOR_LINK});
}

/* ---- bytes --------------------------------------------------------------------------------------------------------- */

ssize_t live_socket_write(SSL *ssl, int fd, const uint8_t *data, size_t length)
{
    if (!ssl) {
        ssize_t written = write(fd, data, length);
        return written >= 0 ? written : errno == EAGAIN || errno == EINTR ? 0 : -1;
    }
    int written = SSL_write(ssl, data, (int)length);
    if (written > 0)
        return written;
    int error = SSL_get_error(ssl, written);
    ERR_clear_error();
    return error == SSL_ERROR_WANT_WRITE || error == SSL_ERROR_WANT_READ ? 0 : -1;
}

static ssize_t put(struct live_vehicle *vehicle, const uint8_t *data, size_t length)
{
    return live_socket_write(vehicle->ssl, vehicle->watcher.fd, data, length);
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
    if (world->radios) {
        live_radio_send(vehicle, data, length);
        return;
    }
    if (live_link_dead(vehicle))
        return;
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

void live_link_deliver(struct live_vehicle *vehicle, const uint8_t *data, size_t length)
{
    struct live_world *world = vehicle->world;
    fleet_bytes(&world->fleet, &vehicle->trace, world->now_us, LINK_DOWN, data, length);
    if (world->parkings)
        live_battery_used(vehicle, world->now_us, length);
    tcu_bytes(vehicle->tcu, world->now_us, data, length);
}

static void got_end(struct live_vehicle *vehicle, enum tcu_link_end why)
{
    if (vehicle->stage == STAGE_READY) /* in TLS 1.3 that is how a certificate is refused */
        attempt_failed(vehicle, LIVE_TLS, why);
    else if (vehicle->world->radios)
        live_radio_ended(vehicle, why);
    else
        live_link_failed(vehicle, why);
}

/* false: no more of them now. */
static bool got_bytes(struct live_vehicle *vehicle, const uint8_t *data, size_t length)
{
    vehicle->world->wire_bytes += length;
    if (vehicle->stage == STAGE_READY) { /* nobody speaks before the CONNECT */
        attempt_failed(vehicle, LIVE_TLS, TCU_LINK_LOST);
        return false;
    }
    if (vehicle->world->radios)
        return live_radio_received(vehicle, data, length);
    live_link_deliver(vehicle, data, length);
    return true;
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
            got_end(vehicle, why);
            return;
        }
        if (!got_bytes(vehicle, world->input, (size_t)got))
            return;
        if (vehicle->ssl ? !SSL_has_pending(vehicle->ssl) : got < LIVE_INPUT_BYTES)
            return; /* whatever else there is, the loop will tell */
    }
    if (vehicle->attempts == attempt && vehicle->ssl) /* of what is in here already, the loop would not */
        ev_feed_event(world->loop, &vehicle->watcher, EV_READ);
}

void live_link_pause(struct live_vehicle *vehicle)
{
    ev_io_stop(vehicle->world->loop, &vehicle->watcher);
}

void live_link_resume(struct live_vehicle *vehicle)
{
    watch(vehicle, EV_READ);
    take_bytes(vehicle);
}

static void on_event(struct ev_loop *loop, ev_io *watcher, int events)
{
    struct live_vehicle *vehicle = (struct live_vehicle *)watcher;
    live_tick(vehicle->world);
    assert_context.vehicle = vehicle->index;
    switch ((enum live_stage)vehicle->stage) {
    case STAGE_TCP: tcp_done(vehicle); break;
    case STAGE_TLS: step_tls(vehicle); break;
    case STAGE_READY: take_bytes(vehicle); break;
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
