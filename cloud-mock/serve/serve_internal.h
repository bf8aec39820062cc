/* serve_internal.h: the doors' own parts: the MQTT side is one libev loop, the HTTPS side one thread with libevent. */
#ifndef SERVE_INTERNAL_H
#define SERVE_INTERNAL_H

#include "cloud/serve.h"

#include <ev.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <sys/socket.h>

int64_t serve_monotonic_us(void);
int64_t serve_wall_us(void);

/* ---- tls.c ---------------------------------------------------------------------------------------------------------- */

enum serve_tls { SERVE_TLS_MUTUAL, SERVE_TLS_PASSWORD, SERVE_TLS_HTTPS };
/* The server's certificate from the PKI's directory; clients are checked against the operational and the claim CA (mutual) or the attestation and the
 * operational CA (HTTPS: asked for, not required: the list of CAs is for everybody). The context borrows `pki`. NULL: *error. */
SSL_CTX *serve_tls_context(const struct cloud_serve_options *options, struct cloud_pki *pki, enum serve_tls use,
                           char *error, size_t error_capacity);
/* Peer's certificate after the handshake; the bytes are malloc'ed into *der, to be freed by the caller; serial may be NULL. false: there is none. */
bool serve_tls_peer(SSL *ssl, const struct cloud_pki *pki, struct cloud_peer *peer, uint8_t **der, uint64_t *serial);

/* ---- listener.c ----------------------------------------------------------------------------------------------------- */

/* A listening socket, not blocking; *port is the port asked for and then the one that was got. -1: *error. */
int serve_listen(const char *address, int *port, char *error, size_t error_capacity);

/* ---- mqtt.c --------------------------------------------------------------------------------------------------------- */

struct mqtt_door;
struct mqtt_door_counts {
    uint64_t accepted, handshakes_failed, overflows, open;
};
struct mqtt_door *mqtt_door_create(struct ev_loop *loop, const struct cloud_options *options, struct cloud_pki *pki,
                                   struct cloud_registry *registry);
/* Takes the socket; context NULL: clear text. */
bool mqtt_door_listen(struct mqtt_door *door, int fd, SSL_CTX *context, bool mutual);
struct cloud *mqtt_door_cloud(struct mqtt_door *door);
void mqtt_door_counts(const struct mqtt_door *door, struct mqtt_door_counts *out);
/* Ends the links whose certificate is revoked; returns how many. */
uint64_t mqtt_door_cut_revoked(struct mqtt_door *door);
/* DISCONNECT 0x8B to all, no more accepting; the loop then runs until mqtt_door_idle() or patience ends. */
void mqtt_door_shutdown(struct mqtt_door *door);
bool mqtt_door_idle(struct mqtt_door *door);
void mqtt_door_destroy(struct mqtt_door *door);

/* ---- https.c -------------------------------------------------------------------------------------------------------- */

struct https_door;
/* Takes both sockets (-1: not offered) and the context. */
struct https_door *https_door_start(int secure_fd, SSL_CTX *context, int clear_fd,
                                    struct cloud_certificate_broker *broker, char *error, size_t error_capacity);
void https_door_stop(struct https_door *door);

#endif
