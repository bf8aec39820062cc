/* cloud/serve.h: the cloud's doors: MQTT over TCP, TLS and WebSocket (libev, OpenSSL, wslay, libgsasl), the certificate broker over HTTPS with mutual TLS, CRL and
 * OCSP also over HTTP (libevent's HTTP server), the operators' and the conversion API on the HTTPS port.
 *
 * One thread for MQTT (libev loop), one for HTTPS. Listens on loopback unless told otherwise.
 */
#ifndef CLOUD_SERVE_H
#define CLOUD_SERVE_H

#include "cloud/scram.h"
#include "cloud/services.h"
#include "cloud/vehicles.h"

struct cloud_serve_options {
    const char *address;     /* "127.0.0.1"; "::1" */
    int mqtt_port;           /* clear; 0: any free port, -1: not offered */
    int mqtts_port;          /* mutual TLS: client certificate required */
    int mqtts_password_port; /* server TLS, user and password */
    int ws_port;             /* WebSocket in clear, path /mqtt; defaults(): -1 */
    int wss_port;            /* WebSocket, server TLS, user and password; defaults(): -1 */
    int https_port;          /* certificate broker, CRL, OCSP */
    int http_port;           /* CRL and OCSP in clear; defaults(): -1 */
    const char *
        public_url; /* "http://host:port" of the http port, as the world sees it: stated in certificates; NULL: they state none */
    int64_t
        cut_delay_us; /* from a revocation until live connections are cut (handshakes are refused at once); below 0: cloud.lifecycle does */
    const char *pki_directory; /* created when missing */
    const char *registry_path; /* NULL: index in memory only */
    bool tls12;                /* accept TLS 1.2 too */
    bool require_server_name;  /* refuse TLS without SNI */
    bool without_broker;       /* only the certificate broker */
    bool quiet;
    struct cloud_options cloud;
    struct cloud_scram *scram; /* clients may authenticate by it; borrowed; NULL: by no method */
    /* Operators work on cloud.lifecycle (which must be given) over HTTPS. Its clock, its seed and the key of VINs are then set here; its vehicles are
     * in registry_path as well, read at the start, written within a second of every change and at the end. */
    bool operators;
    const struct cloud_conversion_client
        *conversion_clients; /* with operators only; every request is noted in registry_path */
    uint32_t conversion_client_count;
    /* The owner's own, in the MQTT loop's thread: once before anybody connects; whenever watch_fd (kept over the fork of cloud_serve_start) is
     * readable. NULL, -1: none. */
    void (*opened)(void *context, struct cloud *cloud, int64_t now_us);
    void (*readable)(void *context, struct cloud *cloud, int64_t now_us);
    void *watch_context;
    int watch_fd;
};
void cloud_serve_defaults(struct cloud_serve_options *options);

/* Where it listens, once it does. Ports -1 when not offered. */
struct cloud_serve_doors {
    int mqtt_port, mqtts_port, mqtts_password_port, ws_port, wss_port, https_port, http_port;
    char address[48];
    char pki_directory[512];
};

/* Serves until SIGTERM or SIGINT, or until stop_fd (if >= 0) becomes readable or is closed by the other end. ready() is called once with the doors.
 * Returns an exit code (0, or 3 with *error filled: port taken, limits). */
int cloud_serve_run(const struct cloud_serve_options *options, int stop_fd,
                    void (*ready)(void *context, const struct cloud_serve_doors *doors), void *context, char *error,
                    size_t error_capacity);

/* The same in a child process: returns its pid and doors; the child ends when the parent calls cloud_serve_stop() or dies. -1: *error. */
int cloud_serve_start(const struct cloud_serve_options *options, struct cloud_serve_doors *doors, int *stop_fd,
                      char *error, size_t error_capacity);
/* From inside opened() or readable(): MQTT's doors restart. Links are cut without a word, sessions stay or do not (cloud_broker_restart()), who comes
 * within lasts_us is refused. */
void cloud_serve_restart(struct cloud *cloud, int64_t lasts_us, bool keep_sessions);
/* Ends and waits; fills the child's CPU time. */
void cloud_serve_stop(int pid, int stop_fd, double *cpu_s);

/* ---- what operators need in the PKI's directory, which must be there; false: *error one line --------------------------- */

/* The CA of operators (operator-ca.crt), made when it is missing. Nobody else trusts it: its certificates open no other door. */
bool cloud_serve_operators(const char *directory, char *error, size_t error_capacity);
/* NAME.crt and NAME.key, good for a year, and a line in the list DIR/operators, in place of one of the same name. An operator whose line is not in the list
 * is none. */
bool cloud_serve_make_operator(const char *directory, const char *name, int64_t now_s, char *error,
                               size_t error_capacity);
/* vin.key, made when it is missing, mode 0600. */
bool cloud_serve_vin_key(const char *directory, uint8_t key[32], char *error, size_t error_capacity);

#endif
