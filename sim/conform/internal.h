/* internal.h: what the parts of the conformance suite know of each other. Checks include check.h only. */
#ifndef CONFORM_INTERNAL_H
#define CONFORM_INTERNAL_H

#include "check.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <sys/types.h>

/* ---- transport.c, transport_web.c: bytes to and from the broker ------------------------------------------------------- */

enum transport_scheme { TRANSPORT_TCP, TRANSPORT_TLS, TRANSPORT_WS, TRANSPORT_WSS };

struct target; /* where the broker is, and how to be let in: made once, shared by all threads, never changed */
struct target *target_create(const struct conform_options *options, char *error, size_t error_capacity);
void target_destroy(struct target *target);
enum transport_scheme target_scheme(const struct target *target);
bool target_is_loopback(const struct target *target);
const struct sockaddr *target_address(const struct target *target, socklen_t *length);
const char *target_name(const struct target *target); /* "mqtt://host:1883" */

struct transport;
/* Blocks until it is up. NULL: *error. */
struct transport *transport_open(const struct target *target, int64_t patience_us, char *error, size_t error_capacity);
/* The same with other subprotocols of WebSocket: "chat, mqtt". */
struct transport *transport_open_web(const struct target *target, const char *protocols, int64_t patience_us,
                                     char *error, size_t error_capacity);
int transport_fd(const struct transport *transport);
/* Bytes lie ready that poll() does not know of (TLS, WebSocket). */
bool transport_pending(const struct transport *transport);
/* All of it, or false: broken, or not taken within the time. Over WebSocket: one frame, which is one message. */
bool transport_write(struct transport *transport, const uint8_t *data, size_t length, int64_t patience_us);
/* Over WebSocket only. */
bool transport_write_frame(struct transport *transport, enum frame_kind kind, bool last, const uint8_t *data,
                           size_t length, int64_t patience_us);
const struct web_seen *transport_web(const struct transport *transport); /* NULL: no WebSocket */
/* What came that is no data of MQTT, since the last time: for the trace; NULL: nothing. */
const char *transport_remark(struct transport *transport);
enum { TRANSPORT_NOTHING = 0, TRANSPORT_ENDED = -1, TRANSPORT_RESET = -2 };
ssize_t transport_read(struct transport *transport, uint8_t *out, size_t capacity);
void transport_end(struct transport *transport, enum wire_ending ending); /* WIRE_HALF_CLOSE: stays readable */
void transport_free(struct transport *transport);

int64_t clock_now_us(void); /* monotonic */
void clock_sleep_us(int64_t us);

/* ---- trace.c ------------------------------------------------------------------------------------------------------------ */

struct arena;                                        /* memory that goes all at once */
void *arena_take(struct arena **arena, size_t size); /* zeroed; ends the program when there is none */
void arena_free(struct arena **arena);

struct trace {
    struct conform_trace_line *lines;
    uint32_t count, capacity;
    bool full; /* a check that sends very much: the rest is only counted */
};
#define TRACE_LINES 20000
uint32_t trace_event(struct conform_probe *probe, uint8_t wire, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* The bytes as they may be shown: the run's password, those that the profile tells, and what would give one of them away, are stars. Theirs when there is none, else a copy. */
struct span trace_masked(struct conform_probe *probe, struct span bytes);
/* A packet, or (decoded NULL) bytes that are none. Masks what is secret. */
uint32_t trace_bytes(struct conform_probe *probe, const struct wire *wire, enum conform_direction direction,
                     struct span bytes, const struct mq5_packet *decoded);

/* capture.c: pcapng with made-up IP and TCP headers. Threads may share one. The caller has masked what is secret. */
struct capture;
struct capture *capture_open(const char *path, const struct target *target, char *error, size_t error_capacity);
void capture_bytes(struct capture *capture, uint32_t connection, bool outbound, int64_t at_us, struct span bytes);
void capture_ends(struct capture *capture, uint32_t connection, bool outbound, int64_t at_us, bool reset);
bool capture_close(struct capture *capture); /* NULL is nothing; false: could not be written */

/* packets.c: every packet as it was decoded, for --packets. `error` counts when it could not be. */
struct packets;
struct packets *packets_open(const char *path, char *error, size_t error_capacity);
void packets_add(struct packets *packets, const struct wire *wire, enum conform_direction direction, struct span bytes,
                 const struct mq5_packet *decoded, const struct mq5_error *error, const char *text);
bool packets_close(struct packets *packets); /* NULL is nothing; false: could not be written */

/* ---- journal.c: what would be left behind ------------------------------------------------------------------------------- */

struct journal;
/* `below`: a filter of all topics of the run. */
struct journal *journal_open(const char *path, const char *target, const char *below, char *error,
                             size_t error_capacity);
/* Noted on disk before it is done; `done` takes it off. NULL journal: nothing. */
void journal_retained(struct journal *journal, const char *topic);
void journal_retained_gone(struct journal *journal, const char *topic);
void journal_session(struct journal *journal, const char *client_id);
void journal_session_gone(struct journal *journal, const char *client_id);
bool journal_close(struct journal *journal); /* removes the file when nothing is left; true: nothing is */

/* sweep.c: removes one thing at a time, outside of any check. false: the broker does not confirm it. */
struct sweeper;
struct sweeper *sweep_open(const struct target *target, const struct conform_options *options, const char *client_id);
bool sweep_retained(struct sweeper *sweeper, const char *topic);
/* Whatever is retained that the filter, all of it this program's own, finds: how many messages were removed. */
uint32_t sweep_below(struct sweeper *sweeper, const char *filter);
void sweep_close(struct sweeper *sweeper); /* NULL is nothing */
bool sweep_session(const struct target *target, const struct conform_options *options, const char *client_id);

/* ---- the run ---------------------------------------------------------------------------------------------------------- */

struct suite {
    const struct conform_options *options;
    struct target *target;
    struct capture *capture;
    struct packets *packets;
    struct journal *journal;
    struct conform_broker broker;
    struct arena *arena; /* only the main thread's */
    char below[256];     /* a filter of all of this run's topics */
    char run[9];         /* 40 random bits in base 32 */
    const char *prefix;
    int64_t began_us, patience_us;
    pthread_mutex_t lock; /* everything below */
    int64_t next_connect_us, connect_gap_us;
    uint32_t done;
    uint64_t connections, packets_in, packets_out;
    uint64_t monitor_seen[64], monitor_hits[64];
};
/* Waits for this connection's turn. */
void suite_connect_turn(struct suite *suite);
bool suite_stopped(const struct suite *suite);
enum mq5_version suite_protocol(const struct suite *suite);

/* ---- probe.c ------------------------------------------------------------------------------------------------------------ */

#define PROBE_WIRES 64

struct conform_probe {
    struct suite *suite;
    const struct conform_check *check;
    struct conform_result *result;
    struct arena *arena; /* becomes the result's when the trace is kept */
    uint32_t row;
    uint32_t number; /* of this item in the suite, for names */
    uint32_t attempt;
    struct wire *wires[PROBE_WIRES];
    uint32_t wire_count;
    uint32_t wanted; /* words that judged */
    struct trace trace;
    struct conform_finding *findings;
    uint32_t finding_count, finding_capacity;
    int64_t deadline_us; /* of the whole check */
    const char **retained, **sessions;
    uint32_t retained_count, retained_capacity, session_count, session_capacity;
    jmp_buf end;
    struct subscribed *subscribed; /* monitor.c: filters by client id */
    struct exchange *exchanges;    /* words_auth.c */
    bool ending;                   /* wires are being closed: nothing judges any more */
};

struct wire {
    struct conform_probe *probe;
    struct transport *transport; /* NULL: gone */
    const char *name;
    uint8_t number;
    uint32_t connection; /* of the whole run */
    bool ended, reset, half_closed, hold, gathering, tls_silent;
    bool left;          /* a DISCONNECT without an error was sent: no will is due */
    bool cut;           /* the last bytes sent are a packet that was cut short */
    bool other_version; /* its CONNECT named another version than 5: it may be answered in the manner of 3.1.1 */
    bool malformed;     /* what came could not be decoded: nothing more is read of it */
    int64_t closed_us;
    uint8_t *input;
    uint32_t input_length, input_capacity;
    struct span announced; /* what frames sent by hand carry */
    const uint8_t *announced_shown;
    uint8_t *output; /* while gathering */
    uint32_t output_length, output_capacity;
    struct received **inbox;
    uint32_t inbox_count, inbox_capacity;
    struct mq5_connack connack;
    bool connack_came, login_sent, disconnect_sent, disconnect_came;
    struct mq5_connect login; /* as sent; spans are the probe's */
    enum mq5_version version;
    uint16_t last_id;
    struct alias *aliases; /* topics that we have given numbers */
    struct watch *watch;   /* monitor.c */
};

_Noreturn void probe_end(struct conform_probe *probe, enum conform_verdict verdict, uint32_t line, const char *format,
                         ...) __attribute__((format(printf, 4, 5)));
_Noreturn void probe_end_arguments(struct conform_probe *probe, enum conform_verdict verdict, uint32_t line,
                                   const char *format, va_list arguments);
void probe_finding(struct conform_probe *probe, enum conform_verdict verdict, const char *id, const char *ref,
                   uint32_t line, const char *format, ...) __attribute__((format(printf, 6, 7)));
/* Reads whatever comes on all wires until the time, or until something came on `wire` (NULL: on none). false: the time is over. */
bool probe_pump(struct conform_probe *probe, const struct wire *wire, int64_t until_us);
/* A must-come has not come: is it the broker, or is everything slow? true: a fresh connection is served at once. */
bool probe_broker_is_quick(struct conform_probe *probe);
/* Runs one check (or row), once. */
void probe_run(struct suite *suite, struct conform_result *result, uint32_t row, uint32_t number, uint32_t attempt);

void probe_end_exchanges(struct conform_probe *probe); /* words_auth.c */

/* What is to be removed when the check has ended, and is in the journal until then. */
void probe_left_retained(struct conform_probe *probe, struct span topic);
void probe_left_session(struct conform_probe *probe, struct span client_id);

/* wire.c */
void wire_read(struct wire *wire); /* what is there */
void wire_release(struct wire *wire);
void wire_drop(struct wire *wire); /* at once */

/* ---- monitor.c ------------------------------------------------------------------------------------------------------------ */

struct watch *watch_create(struct conform_probe *probe);
void watch_sent(struct wire *wire, struct span bytes);
void watch_came(struct wire *wire, const struct received *received);
void watch_undecodable(struct wire *wire, struct span bytes, const struct mq5_error *error, uint32_t line);
void watch_ended(struct wire *wire);
int64_t watch_waits_until(const struct wire *wire); /* for the broker's end of the connection; 0: it may stay open */

/* ---- discover.c ------------------------------------------------------------------------------------------------------------ */

/* Fills suite->broker. false: the broker cannot be used (*error). */
bool discover(struct suite *suite, char *error, size_t error_capacity);

/* profile.c */
const char *profile_told(const struct conform_profile *profile, const char *key);
/* The reason why this check, row or statement is known to fail; NULL: it is not. */
const char *profile_deviation(const struct conform_profile *profile, const char *id, const char *ref);

#endif
