/* transport.c: bytes to and from the broker: TCP in clear and TLS, in the checks' own hands: when to send, how much at a time, how to end. What
 * goes over WebSocket is in frames on top of that (transport_web.c).
 *
 * Each transport belongs to one thread. Reading never blocks; writing and opening do, up to a time.
 */
#define _GNU_SOURCE
#include "transport.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

int64_t clock_now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * US_PER_S + now.tv_nsec / 1000;
}

void clock_sleep_us(int64_t us)
{
    struct timespec pause = {.tv_sec = us / US_PER_S, .tv_nsec = us % US_PER_S * 1000};
    if (us > 0)
        nanosleep(&pause, NULL);
}

/* ---- where the broker is ---------------------------------------------------------------------------------------------- */

static const struct scheme {
    const char *prefix, *port;
    enum transport_scheme scheme;
} schemes[] = {
    {"mqtt://", "1883", TRANSPORT_TCP}, {"tcp://", "1883", TRANSPORT_TCP}, {"mqtts://", "8883", TRANSPORT_TLS},
    {"ssl://", "8883", TRANSPORT_TLS},  {"ws://", "80", TRANSPORT_WS},     {"wss://", "443", TRANSPORT_WSS},
};

bool transport_fail(char *error, size_t capacity, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(error, capacity, format, arguments);
    va_end(arguments);
    return false;
}

static bool take_uri(struct target *target, const char *uri, char *error, size_t capacity)
{
    const char *rest = NULL, *port = NULL;
    for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
        if (strncasecmp(uri, schemes[i].prefix, strlen(schemes[i].prefix)) != 0)
            continue;
        target->scheme = schemes[i].scheme;
        port = schemes[i].port;
        rest = uri + strlen(schemes[i].prefix);
    }
    if (!rest)
        return transport_fail(error, capacity, "'%s' is no broker: mqtt://HOST:PORT, mqtts://, ws:// or wss://", uri);
    size_t authority = strcspn(rest, "/?");
    const char *host = rest, *colon = memchr(rest, ':', authority);
    size_t host_length = colon ? (size_t)(colon - rest) : authority;
    if (rest[0] == '[') {
        const char *bracket = memchr(rest, ']', authority);
        if (!bracket)
            return transport_fail(error, capacity, "'%s': a ']' is missing", uri);
        host = rest + 1;
        host_length = (size_t)(bracket - host);
        colon = bracket[1] == ':' ? bracket + 1 : NULL;
    }
    char *end = NULL;
    long number = colon ? strtol(colon + 1, &end, 10) : strtol(port, &end, 10);
    if (host_length == 0 || host_length >= sizeof(target->host) || memchr(host, '@', host_length) || number < 1 ||
        number > 65535 || (colon && end != rest + authority))
        return transport_fail(error, capacity, "'%s' is no broker: mqtt://HOST:PORT (user and password are options)",
                              uri);
    snprintf(target->host, sizeof(target->host), "%.*s", (int)host_length, host);
    snprintf(target->port, sizeof(target->port), "%ld", number);
    if (strlen(rest + authority) + 8 >= sizeof(target->path))
        return transport_fail(error, capacity, "'%.60s...': the path is too long", uri);
    for (const char *c = rest; *c; c++)
        if ((unsigned char)*c <= ' ' || (unsigned char)*c >= 127)
            return transport_fail(error, capacity, "'%.60s...': blanks and the like are written %%20 in an address",
                                  uri);
    bool web = target->scheme == TRANSPORT_WS || target->scheme == TRANSPORT_WSS;
    if (web)
        snprintf(target->path, sizeof(target->path), "%s%s", rest[authority] == '/' ? "" : "/mqtt", rest + authority);
    /* What stands behind the '?' may be a signature. */
    snprintf(target->name, sizeof(target->name), "%.*s%.*s", (int)(rest - uri), uri, (int)strcspn(rest, "?"), rest);
    return true;
}

bool conform_uri_valid(const char *uri, char *error, size_t error_capacity)
{
    struct target target = {.scheme = TRANSPORT_TCP};
    return take_uri(&target, uri, error, error_capacity);
}

static bool resolve(struct target *target, char *error, size_t capacity)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    int code = getaddrinfo(target->host, target->port, &hints, &found);
    if (code != 0)
        return transport_fail(error, capacity, "cannot resolve %s: %s", target->host, gai_strerror(code));
    memcpy(&target->address, found->ai_addr, found->ai_addrlen);
    target->address_length = found->ai_addrlen;
    freeaddrinfo(found);
    struct in6_addr any;
    target->is_address = inet_pton(AF_INET, target->host, &any) == 1 || inet_pton(AF_INET6, target->host, &any) == 1;
    return true;
}

static const char *tls_reason(void)
{
    unsigned long code = ERR_peek_last_error();
    const char *reason = code ? ERR_reason_error_string(code) : NULL;
    return reason ? reason : "unknown error";
}

static bool prepare_tls(struct target *target, const struct conform_options *options, char *error, size_t capacity)
{
    ERR_clear_error();
    target->tls = SSL_CTX_new(TLS_client_method());
    if (!target->tls)
        return transport_fail(error, capacity, "TLS: %s", tls_reason());
    SSL_CTX_set_min_proto_version(target->tls, TLS1_2_VERSION);
    SSL_CTX_set_options(
        target->tls, SSL_OP_IGNORE_UNEXPECTED_EOF); /* a broker that just closes is told from a reset by the socket */
    SSL_CTX_set_mode(target->tls, SSL_MODE_ENABLE_PARTIAL_WRITE);
    SSL_CTX_set_verify(target->tls, SSL_VERIFY_PEER, NULL);
    target->verify_name = !options->no_verify_name;
    if (options->ca ? SSL_CTX_load_verify_locations(target->tls, options->ca, NULL) != 1
                    : SSL_CTX_set_default_verify_paths(target->tls) != 1)
        return transport_fail(error, capacity, "%s: cannot be read as a list of CA certificates: %s",
                              options->ca ? options->ca : "the system's CAs", tls_reason());
    if (options->certificate && SSL_CTX_use_certificate_chain_file(target->tls, options->certificate) != 1)
        return transport_fail(error, capacity, "%s: no certificate: %s", options->certificate, tls_reason());
    if (options->key && SSL_CTX_use_PrivateKey_file(target->tls, options->key, SSL_FILETYPE_PEM) != 1)
        return transport_fail(error, capacity, "%s: no private key: %s", options->key, tls_reason());
    return true;
}

struct target *target_create(const struct conform_options *options, char *error, size_t error_capacity)
{
    struct target *target = calloc(1, sizeof(*target));
    if (!target) {
        transport_fail(error, error_capacity, "out of memory");
        return NULL;
    }
    bool usable = take_uri(target, options->uri, error, error_capacity) && resolve(target, error, error_capacity);
    if (usable && (target->scheme == TRANSPORT_TLS || target->scheme == TRANSPORT_WSS))
        usable = prepare_tls(target, options, error, error_capacity);
    if (usable)
        return target;
    target_destroy(target);
    return NULL;
}

void target_destroy(struct target *target)
{
    if (!target)
        return;
    SSL_CTX_free(target->tls);
    free(target);
}

enum transport_scheme target_scheme(const struct target *target)
{
    return target->scheme;
}

const char *target_name(const struct target *target)
{
    return target->name;
}

bool target_is_loopback(const struct target *target)
{
    if (target->address.ss_family == AF_INET6)
        return IN6_IS_ADDR_LOOPBACK(&((const struct sockaddr_in6 *)&target->address)->sin6_addr);
    return ntohl(((const struct sockaddr_in *)&target->address)->sin_addr.s_addr) >> 24 == 127;
}

const struct sockaddr *target_address(const struct target *target, socklen_t *length)
{
    *length = target->address_length;
    return (const struct sockaddr *)&target->address;
}

/* ---- opening ------------------------------------------------------------------------------------------------------------ */

bool transport_await(const struct transport *transport, short events, int64_t until_us)
{
    for (;;) {
        int64_t left_us = until_us - clock_now_us();
        if (left_us <= 0)
            return false;
        struct pollfd poll_fd = {.fd = transport->fd, .events = events};
        int ready = poll(&poll_fd, 1, (int)(left_us / 1000 + 1));
        if (ready > 0)
            return true;
        if (ready < 0 && errno != EINTR)
            return true;
    }
}

static bool connect_tcp(struct transport *transport, int64_t until_us, char *error, size_t capacity)
{
    const struct target *target = transport->target;
    int yes = 1, code = 0;
    socklen_t length = sizeof(code);
    transport->fd = socket(target->address.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (transport->fd < 0)
        return transport_fail(error, capacity, "socket: %s", strerror(errno));
    setsockopt(transport->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
    if (connect(transport->fd, (const struct sockaddr *)&target->address, target->address_length) == 0)
        return true;
    if (errno != EINPROGRESS)
        return transport_fail(error, capacity, "cannot connect to %s: %s", target->name, strerror(errno));
    if (!transport_await(transport, POLLOUT, until_us))
        return transport_fail(error, capacity, "cannot connect to %s: no answer", target->name);
    if (getsockopt(transport->fd, SOL_SOCKET, SO_ERROR, &code, &length) != 0 || code != 0)
        return transport_fail(error, capacity, "cannot connect to %s: %s", target->name, strerror(code));
    return true;
}

static bool prepare_handshake(struct transport *transport, char *error, size_t capacity)
{
    const struct target *target = transport->target;
    ERR_clear_error();
    transport->ssl = SSL_new(target->tls);
    if (!transport->ssl || SSL_set_fd(transport->ssl, transport->fd) != 1)
        return transport_fail(error, capacity, "TLS: %s", tls_reason());
    if (!target->is_address)
        SSL_set_tlsext_host_name(transport->ssl, target->host);
    if (target->verify_name && target->is_address)
        X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(transport->ssl), target->host);
    else if (target->verify_name)
        SSL_set1_host(transport->ssl, target->host);
    return true;
}

static bool shake_hands(struct transport *transport, int64_t until_us, char *error, size_t capacity)
{
    const char *name = transport->target->name;
    for (;;) {
        ERR_clear_error();
        int done = SSL_connect(transport->ssl);
        if (done == 1)
            return true;
        int why = SSL_get_error(transport->ssl, done);
        short events = why == SSL_ERROR_WANT_READ ? POLLIN : why == SSL_ERROR_WANT_WRITE ? POLLOUT : 0;
        long verified = SSL_get_verify_result(transport->ssl);
        if (!events)
            return transport_fail(error, capacity, "TLS with %s: %s", name,
                                  verified != X509_V_OK ? X509_verify_cert_error_string(verified) : tls_reason());
        if (!transport_await(transport, events, until_us))
            return transport_fail(error, capacity, "TLS with %s: no answer", name);
    }
}

static bool connect_tls(struct transport *transport, int64_t until_us, char *error, size_t capacity)
{
    return prepare_handshake(transport, error, capacity) && shake_hands(transport, until_us, error, capacity);
}

static struct transport *open_as_far_as(const struct target *target, int64_t until_us, const char *protocols,
                                        char *error, size_t error_capacity)
{
    struct transport *transport = calloc(1, sizeof(*transport));
    if (!transport) {
        transport_fail(error, error_capacity, "out of memory");
        return NULL;
    }
    bool web = target->scheme == TRANSPORT_WS || target->scheme == TRANSPORT_WSS;
    transport->target = target;
    transport->fd = -1;
    if (connect_tcp(transport, until_us, error, error_capacity) &&
        (!target->tls || connect_tls(transport, until_us, error, error_capacity)) &&
        (!web || web_open(transport, protocols, until_us, error, error_capacity)))
        return transport;
    transport_free(transport);
    return NULL;
}

struct transport *transport_open(const struct target *target, int64_t patience_us, char *error, size_t error_capacity)
{
    return open_as_far_as(target, clock_now_us() + patience_us, "mqtt", error, error_capacity);
}

struct transport *transport_open_web(const struct target *target, const char *protocols, int64_t patience_us,
                                     char *error, size_t error_capacity)
{
    return open_as_far_as(target, clock_now_us() + patience_us, protocols, error, error_capacity);
}

int transport_fd(const struct transport *transport)
{
    return transport->fd;
}

bool transport_pending(const struct transport *transport)
{
    return (transport->web && web_pending(transport->web)) || (transport->ssl && SSL_pending(transport->ssl) > 0);
}

const struct web_seen *transport_web(const struct transport *transport)
{
    return transport->web ? web_seen(transport->web) : NULL;
}

const char *transport_remark(struct transport *transport)
{
    return transport->web ? web_remark(transport->web) : NULL;
}

/* ---- bytes ---------------------------------------------------------------------------------------------------------------- */

bool transport_raw_write(struct transport *transport, const uint8_t *data, size_t length, int64_t until_us)
{
    while (length > 0) {
        short events = POLLOUT;
        ssize_t written;
        if (transport->ssl) {
            ERR_clear_error();
            int taken = SSL_write(transport->ssl, data, length > INT32_MAX ? INT32_MAX : (int)length);
            int why = taken > 0 ? SSL_ERROR_NONE : SSL_get_error(transport->ssl, taken);
            if (why != SSL_ERROR_NONE && why != SSL_ERROR_WANT_READ && why != SSL_ERROR_WANT_WRITE)
                return false;
            written = why == SSL_ERROR_NONE ? taken : 0;
            events = why == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT;
        } else {
            written = send(transport->fd, data, length, MSG_NOSIGNAL);
            if (written < 0 && errno != EAGAIN && errno != EINTR)
                return false;
        }
        if (written > 0) {
            data += written;
            length -= (size_t)written;
        } else if (!transport_await(transport, events, until_us)) {
            return false;
        }
    }
    return true;
}

ssize_t transport_raw_read(struct transport *transport, uint8_t *out, size_t capacity)
{
    if (!transport->ssl) {
        ssize_t got = recv(transport->fd, out, capacity, 0);
        if (got > 0)
            return got;
        if (got == 0)
            return TRANSPORT_ENDED;
        return errno == EAGAIN || errno == EINTR ? TRANSPORT_NOTHING : TRANSPORT_RESET;
    }
    ERR_clear_error();
    int got = SSL_read(transport->ssl, out, (int)capacity);
    if (got > 0)
        return got;
    int why = SSL_get_error(transport->ssl, got);
    if (why == SSL_ERROR_WANT_READ || why == SSL_ERROR_WANT_WRITE)
        return TRANSPORT_NOTHING;
    return why == SSL_ERROR_ZERO_RETURN ? TRANSPORT_ENDED : TRANSPORT_RESET;
}

bool transport_write(struct transport *transport, const uint8_t *data, size_t length, int64_t patience_us)
{
    int64_t until_us = clock_now_us() + patience_us;
    return transport->web ? web_send(transport, FRAME_BINARY, true, data, length, until_us)
                          : transport_raw_write(transport, data, length, until_us);
}

bool transport_write_frame(struct transport *transport, enum frame_kind kind, bool last, const uint8_t *data,
                           size_t length, int64_t patience_us)
{
    return transport->web && web_send(transport, kind, last, data, length, clock_now_us() + patience_us);
}

ssize_t transport_read(struct transport *transport, uint8_t *out, size_t capacity)
{
    return transport->web ? web_read(transport, out, capacity) : transport_raw_read(transport, out, capacity);
}

/* ---- ends ------------------------------------------------------------------------------------------------------------------ */

void transport_end(struct transport *transport, enum wire_ending ending)
{
    if (transport->web && (ending == WIRE_FIN || ending == WIRE_HALF_CLOSE))
        web_say_goodbye(transport);
    if (ending == WIRE_HALF_CLOSE) {
        if (transport->web)
            return; /* nothing may follow a close frame: that is our half; the broker answers it and ends */
        if (transport->ssl)
            SSL_shutdown(transport->ssl);
        shutdown(transport->fd, SHUT_WR);
        return;
    }
    if (ending == WIRE_RESET) {
        struct linger hard = {.l_onoff = 1, .l_linger = 0};
        setsockopt(transport->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof(hard));
    } else if (ending == WIRE_FIN && transport->ssl) {
        SSL_shutdown(transport->ssl);
    }
    close(transport->fd);
    transport->fd = -1;
}

void transport_free(struct transport *transport)
{
    if (!transport)
        return;
    web_free(transport->web);
    SSL_free(transport->ssl);
    if (transport->fd >= 0)
        close(transport->fd);
    free(transport);
}
