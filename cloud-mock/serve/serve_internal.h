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

enum serve_tls { SERVE_TLS_MUTUAL, SERVE_TLS_PASSWORD, SERVE_TLS_HTTPS, SERVE_TLS_WEB };
/* The server's certificate from the PKI's directory; clients are checked against the operational and the claim CA (mutual) or the attestation and the
 * operational CA (HTTPS: asked for, not required: the list of CAs is for everybody). The context borrows `pki`. NULL: *error. */
SSL_CTX *serve_tls_context(const struct cloud_serve_options *options, struct cloud_pki *pki, enum serve_tls use,
                           char *error, size_t error_capacity);
/* Peer's certificate after the handshake; the bytes are malloc'ed into *der, to be freed by the caller; serial may be NULL. false: there is none. */
bool serve_tls_peer(SSL *ssl, const struct cloud_pki *pki, struct cloud_peer *peer, uint8_t **der, uint64_t *serial);

/* ---- listener.c ----------------------------------------------------------------------------------------------------- */

#define LISTEN_BACKLOG 4096
/* A listening socket, not blocking; *port is the port asked for and then the one that was got. -1: *error. */
int serve_listen(const char *address, int *port, char *error, size_t error_capacity);

/* ---- mqtt.c --------------------------------------------------------------------------------------------------------- */

struct mqtt_door;
struct mqtt_door_counts {
    uint64_t accepted, handshakes_failed, overflows, open;
};
struct mqtt_door *mqtt_door_create(struct ev_loop *loop, const struct cloud_options *options, struct cloud_pki *pki,
                                   struct cloud_registry *registry, struct cloud_scram *scram);
/* Takes the socket; context NULL: clear text. web: MQTT over WebSocket. */
bool mqtt_door_listen(struct mqtt_door *door, int fd, SSL_CTX *context, bool web);
struct cloud *mqtt_door_cloud(struct mqtt_door *door);
void mqtt_door_counts(const struct mqtt_door *door, struct mqtt_door_counts *out);
/* Ends the links whose certificate is revoked; returns how many. */
uint64_t mqtt_door_cut_revoked(struct mqtt_door *door);
/* DISCONNECT 0x8B to all, no more accepting; the loop then runs until mqtt_door_idle() or patience ends. */
void mqtt_door_shutdown(struct mqtt_door *door);
bool mqtt_door_idle(struct mqtt_door *door);
void mqtt_door_destroy(struct mqtt_door *door);

/* ---- web.c ---------------------------------------------------------------------------------------------------------- */

struct web_link;
struct web_link_owner {
    struct link *link;
    void (*write)(struct link *link, const uint8_t *data, size_t length); /* onto the socket, when it likes */
    bool (*opened)(struct link *link); /* upgraded: MQTT may come; false: it may not */
    void (*data)(struct link *link, const uint8_t *data, size_t length); /* of MQTT */
};
struct web_link *web_link_create(const struct web_link_owner *owner);
void web_link_destroy(struct web_link *web); /* NULL is nothing */
/* Bytes of the socket. false: over; what is to be written has been. */
bool web_link_input(struct web_link *web, const uint8_t *data, size_t length);
void web_link_send(struct web_link *web, const uint8_t *data, size_t length); /* one frame */
void web_link_close(struct web_link *web); /* a close frame; nothing is sent after it */

/* ---- operators.c ---------------------------------------------------------------------------------------------------- */

X509 *operators_anchor(const char *directory); /* the caller frees; NULL: not to be read */
/* The operator whose certificate was shown; false: nobody's, or not in its time. */
bool operators_find(const char *directory, SSL *ssl, char name[64]);

/* ---- desk.c: the operators' and the conversion API ------------------------------------------------------------------- */

/* Whoever calls holds the cloud's lock. */
struct desk;
struct desk_request {
    const char *method, *path, *authorisation; /* NULL: no such header */
    struct span body;
    bool has_certificate;
    const char *operator_name; /* NULL: no operator's certificate */
};
struct desk_answer {
    int status;
    char *text;        /* JSON; to be given to desk_release() */
    const char *allow; /* with 405 */
    uint32_t retry_after_s;
};
/* Reads the vehicles into the cloud's life cycle. NULL: *error. */
struct desk *desk_open(const struct cloud_serve_options *options, struct cloud *cloud, int64_t epoch_us, char *error,
                       size_t error_capacity);
bool desk_is_asked(const char *path); /* "/v1/..." */
void desk_handle(struct desk *desk, int64_t now_us, const struct desk_request *request, struct desk_answer *answer);
void desk_release(struct desk_answer *answer);
void desk_save(struct desk *desk);  /* what has changed; says on standard error when it cannot, once */
void desk_close(struct desk *desk); /* saves; NULL is nothing */

/* ---- desk_reserved.c ------------------------------------------------------------------------------------------------ */

/* Shadows and executions. false: another path. */
bool desk_reserved(struct cloud *cloud, int64_t now_us, int64_t epoch_us, const struct desk_request *request,
                   struct desk_answer *answer);

/* ---- desk_store.c --------------------------------------------------------------------------------------------------- */

/* Nothing is read from a database that has never held vehicles. false: *error. */
bool vehicles_file_load(const char *path, struct cloud_vehicles *vehicles, char *error, size_t error_capacity);
struct audit_log;
struct audit_log *audit_open(const char *path, char *error, size_t error_capacity); /* NULL: *error */
bool audit_note(struct audit_log *log, const struct cloud_conversion_record *record);
void audit_close(struct audit_log *log); /* NULL is nothing */

/* ---- https.c -------------------------------------------------------------------------------------------------------- */

struct https_door;
struct https_desk {
    const char *pki_directory; /* NULL: there is no desk */
    /* In the door's thread. */
    void (*ask)(void *context, const struct desk_request *request, struct desk_answer *answer);
    void *context;
};
/* Takes both sockets (-1: not offered) and the context. */
struct https_door *https_door_start(int secure_fd, SSL_CTX *context, int clear_fd,
                                    struct cloud_certificate_broker *broker, const struct https_desk *desk, char *error,
                                    size_t error_capacity);
void https_door_stop(struct https_door *door);

#endif
