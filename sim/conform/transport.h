/* transport.h: what transport.c and transport_web.c know of each other; nobody else includes it. */
#ifndef CONFORM_TRANSPORT_H
#define CONFORM_TRANSPORT_H

#include "internal.h"

#include <openssl/ssl.h>
#include <sys/socket.h>

struct target {
    enum transport_scheme scheme;
    char host[256], port[8], path[3072], name[600];
    struct sockaddr_storage address;
    socklen_t address_length;
    SSL_CTX *tls;
    bool verify_name, is_address;
};

struct web;
struct transport {
    const struct target *target;
    int fd;
    SSL *ssl;        /* NULL: in clear */
    struct web *web; /* NULL: no WebSocket */
};

/* Writes *error; always false. */
bool transport_fail(char *error, size_t capacity, const char *format, ...) __attribute__((format(printf, 3, 4)));
/* Below WebSocket. true: ready, or in error, which the next call finds. */
bool transport_await(const struct transport *transport, short events, int64_t until_us);
bool transport_raw_write(struct transport *transport, const uint8_t *data, size_t length, int64_t until_us);
ssize_t transport_raw_read(struct transport *transport, uint8_t *out, size_t capacity);

/* ---- transport_web.c -------------------------------------------------------------------------------------------------- */

/* The upgrade, offering these subprotocols; what the broker chose is only noted. false: *error. */
bool web_open(struct transport *transport, const char *protocols, int64_t until_us, char *error, size_t capacity);
ssize_t web_read(struct transport *transport, uint8_t *out, size_t capacity);
bool web_pending(const struct web *web);
bool web_send(struct transport *transport, enum frame_kind kind, bool last, const uint8_t *data, size_t length,
              int64_t until_us);
void web_say_goodbye(struct transport *transport); /* a close frame, once */
const struct web_seen *web_seen(const struct web *web);
const char *web_remark(struct web *web);
void web_free(struct web *web); /* NULL is nothing */

#endif
