/* cloud/broker.h: an MQTT 5 (and 3.1.1) broker core: bytes, connections and time in; bytes and decisions out.
 *
 * No I/O, no clock. One broker is single-threaded; a process may hold many. Every table has a named maximum and a protocol answer
 * when full. The same core runs behind sockets (`convoy cloud`), and inside the virtual world.
 * MQTT 5 sections 3 and 4 as a server; QoS 0/1/2, retained, wills with delay, wildcard and shared subscriptions, subscription
 * identifiers, expiry of sessions and messages, flow control, topic aliases both ways, takeover, reason codes.
 * Where the standard leaves freedom: shared messages go to members in turn, connected ones first; QoS 0 is not queued for absent clients;
 * overlapping subscriptions give one copy with the highest QoS and all subscription identifiers.
 */
#ifndef CLOUD_BROKER_H
#define CLOUD_BROKER_H

#include "mqtt5/packet.h"

struct cloud_broker;
struct cloud_connection; /* a link, from open to closed */
struct cloud_local;      /* a service attached in-process */

/* What the door knows of the other end. Lent by the door from open until closed, or hook by hook: see peer() below. */
struct cloud_peer {
    bool tls, has_certificate;
    uint8_t certificate_id[32]; /* SHA-256 of the DER form (modelled: of the modelled form) */
    uint8_t issuer_id[32];      /* id of the CA certificate that signed it */
    char common_name[64];
    int64_t not_before_s, not_after_s; /* epoch seconds */
    struct span certificate;           /* whole certificate, for registration */
    char server_name[64];              /* SNI; "" none */
    char address[48];                  /* source address, for people */
    bool inside;                       /* a service of the cloud's own, in its data centre: may do everything */
};

enum cloud_close_reason {
    CLOUD_CLOSED_BY_CLIENT, /* DISCONNECT */
    CLOUD_CLOSED_LOST,      /* link went without DISCONNECT */
    CLOUD_CLOSED_KEEP_ALIVE,
    CLOUD_CLOSED_TAKEN_OVER,
    CLOUD_CLOSED_CLIENT_ERROR, /* malformed or forbidden packet */
    CLOUD_CLOSED_NOT_AUTHORISED,
    CLOUD_CLOSED_SERVER, /* administrative, shut-down */
    CLOUD_CLOSED_LIMIT,  /* a quota */
};
const char *
cloud_close_reason_name(enum cloud_close_reason reason); /* in the terms of lifecycle events: "CONNECTION_LOST" ... */

struct cloud_authorisation {
    uint8_t reason;               /* MQ5_SUCCESS or a CONNACK code */
    bool silent;                  /* refuse by closing without CONNACK (as just-in-time registration does) */
    struct span server_reference; /* of CONNACK 0x9C and 0x9D; empty: none */
};

/* Enhanced authentication (4.12). Steps of one client, in this order: it begins, it goes on as often as it is asked to; later it may begin again. */
enum cloud_authentication_step {
    CLOUD_AUTHENTICATION_BEGINS,  /* CONNECT names a method: not admitted before the exchange has succeeded */
    CLOUD_AUTHENTICATION_GOES_ON, /* AUTH 0x18 */
    CLOUD_AUTHENTICATION_AGAIN,   /* AUTH 0x19, by the same method: the client goes on as it is meanwhile */
    CLOUD_AUTHENTICATION_OVER,    /* the link has gone, once for each that began; the answer is not looked at */
};
struct cloud_authentication {
    /* MQ5_CONTINUE_AUTHENTICATION: AUTH; MQ5_SUCCESS: CONNACK, or AUTH after the first time; else why not: the link ends. */
    uint8_t reason;
    struct span data; /* of that packet, lent until the next step of this link; .data NULL: none */
    const char *what; /* a Reason String for AUTH or a refusal; NULL: none */
};

struct cloud_broker_ops {
    /* Bytes for a link; copies. */
    void (*send)(void *context, void *link, const uint8_t *data, size_t length);
    /* The broker is done with this link: flush and close it. No cloud_broker_closed() is to be called for it afterwards. */
    void (*close)(void *context, void *link, enum cloud_close_reason reason);
    /* Hooks; NULL: everything is allowed, nothing is told. */
    struct cloud_authorisation (*authorise_connect)(void *context, int64_t now_us, const struct mq5_connect *connect,
                                                    const struct cloud_peer *peer);
    /* NULL, or an unknown method: refused with 0x8C. A CONNECT waits for its exchange (30 s) before authorise_connect is asked: one that names a method is
     * authenticated by then. */
    struct cloud_authentication (*authenticate)(void *context, int64_t now_us, void *link,
                                                enum cloud_authentication_step step, struct span method,
                                                struct span data);
    uint8_t (*authorise_publish)(void *context, struct span client_id, const struct cloud_peer *peer,
                                 const struct mq5_publish *publish);
    uint8_t (*authorise_subscribe)(void *context, struct span client_id, const struct cloud_peer *peer,
                                   struct span filter, uint8_t qos);
    /* Asked for each delivery to a client's link, when it is to go out; false: silently not delivered, and done with. NULL costs nothing. */
    bool (*authorise_receive)(void *context, struct span client_id, const struct cloud_peer *peer, struct span topic);
    /* A client's PUBLISH to a reserved topic ("$...", while dollar_topics_reserved): taken by the service behind it in place of being routed,
     * after authorise_publish was asked.
     * Reason code for the PUBACK; what is denied has the same consequences as a publish denied. NULL: all are denied (0x87). */
    uint8_t (*reserved)(void *context, int64_t now_us, struct span client_id, const struct cloud_peer *peer,
                        const struct mq5_publish *publish);
    void (*connected)(void *context, int64_t now_us, struct span client_id, const struct cloud_peer *peer,
                      const struct mq5_connect *connect, bool resumed);
    void (*disconnected)(void *context, int64_t now_us, struct span client_id, const struct cloud_peer *peer,
                         enum cloud_close_reason reason);
    /* Fault injection and traces: false swallows the packet. Inbound: after decoding, before handling. Outbound: PUBLISH to, acks to a client. */
    bool (*inbound)(void *context, int64_t now_us, struct span client_id, const struct mq5_packet *packet);
    bool (*outbound)(void *context, int64_t now_us, struct span client_id, const struct mq5_packet *packet);
    /* Optional. Who is at the other end of a link: asked whenever a hook is to be told, up to and including disconnected() (which comes
     * after close()); the answer is looked at until that hook returns. NULL: what was given to cloud_broker_opened(). */
    const struct cloud_peer *(*peer)(void *context, void *link);
};

struct cloud_broker_options {
    uint32_t maximum_connections, maximum_sessions;      /* 0: 1,000,000 */
    uint32_t maximum_retained;                           /* 0: 100,000 */
    uint32_t maximum_subscriptions_per_session;          /* 0: 50 */
    uint32_t maximum_queued_per_session;                 /* messages; 0: 1,000 */
    uint64_t maximum_queued_bytes;                       /* whole broker; 0: 1 GiB */
    uint32_t maximum_packet_size;                        /* 0: 268,435,460 (the protocol's) */
    uint32_t maximum_session_expiry_s;                   /* 0: no cap (0xFFFFFFFF allowed) */
    uint16_t receive_maximum;                            /* 0: 65,535 */
    uint16_t topic_alias_maximum;                        /* accepted from clients; 0: none */
    uint16_t outbound_topic_aliases;                     /* used towards clients, at most what they allow; 0: none */
    uint16_t keep_alive_minimum_s, keep_alive_maximum_s; /* outside: server keep alive; 0: no limit */
    uint8_t maximum_qos;                                 /* set by cloud_broker_defaults() to 2 */
    bool retain_available, wildcard_available, subscription_ids_available, shared_available; /* defaults(): true */
    bool require_client_id; /* true: an empty client id is refused (0x85); false: assigned */
    bool allow_v311;        /* defaults(): true */
    /* What follows a denied PUBLISH (cloud-contract 7). 3.1.1 has no words for it. defaults(): false, true. */
    bool denied_publish_closes_v5;   /* true: DISCONNECT 0x87; false: PUBACK or PUBREC 0x87 (QoS 0: dropped) */
    bool denied_publish_closes_v311; /* true: the connection is closed; false: acknowledged and dropped */
    bool
        denied_subscribe_closes; /* true: the connection is closed; false: SUBACK 0x87 (3.1.1: 0x80). defaults(): false */
    bool
        dollar_topics_reserved; /* publishes by clients to "$..." are refused with 0x87; $-subscriptions allowed. defaults(): true */
    bool contents_vary; /* from run to run, lengths and topics do not: cloud_broker_state_hash() leaves them out */
    /* All memory of the broker, sizes given both ways; new_size 0 frees. NULL from it is answered in the protocol (0x97), never fatal.
     * No hook: the broker's own pools over malloc(). */
    void *(*allocate)(void *allocate_context, void *old, size_t old_size, size_t new_size);
    void *allocate_context;
};
void cloud_broker_defaults(struct cloud_broker_options *options);

struct cloud_broker *cloud_broker_create(const struct cloud_broker_options *options, const struct cloud_broker_ops *ops,
                                         void *context, uint64_t seed /* assigned client ids, shared choice */);
void cloud_broker_destroy(struct cloud_broker *broker); /* closes nothing, tells nobody: frees */

/* Links. `link` is the door's own handle, passed back to send() and close(). NULL when full. `peer` may be NULL: nothing is known, or
 * the door is asked for it when it is needed. */
struct cloud_connection *cloud_broker_opened(struct cloud_broker *broker, int64_t now_us, void *link,
                                             const struct cloud_peer *peer);
/* May call close() for this link inside; then *connection is gone. Returns false in that case. */
bool cloud_broker_input(struct cloud_broker *broker, struct cloud_connection *connection, int64_t now_us,
                        const uint8_t *data, size_t length);
void cloud_broker_closed(struct cloud_broker *broker, struct cloud_connection *connection, int64_t now_us);
int64_t cloud_broker_next_deadline(const struct cloud_broker *broker);
void cloud_broker_tick(struct cloud_broker *broker, int64_t now_us);
/* Administrative. false: no such session or not connected. */
bool cloud_broker_kick(struct cloud_broker *broker, int64_t now_us, struct span client_id, uint8_t reason);
/* The same to one link, whoever uses it; close() is called for it inside. */
void cloud_broker_cut(struct cloud_broker *broker, struct cloud_connection *connection, int64_t now_us, uint8_t reason);
void cloud_broker_shutdown(struct cloud_broker *broker, int64_t now_us); /* DISCONNECT 0x8B to all */
/* Sends a client to another server: DISCONNECT 0x9C (for now) or 0x9D (for good) with Server Reference (left out when the client's maximum packet
 * size has no room for it); 3.1.1: the link is closed. CLOUD_CLOSED_SERVER. The session stays. false: not connected. */
bool cloud_broker_redirect(struct cloud_broker *broker, int64_t now_us, struct span client_id, struct span reference,
                           bool for_good);
/* A restart or the loss of a node: every link is gone without a word (no close() is called: the door forgets them all when this returns), at once, then
 * disconnected() is told of each with CLOUD_CLOSED_SERVER, and wills are published as the standard says for a lost connection. keep_sessions false:
 * sessions with their queues and all retained messages are gone, too; delayed wills are published as their sessions end, and
 * what wills leave retained stays. Services attached in-process stay attached and subscribed. A client that comes back from inside a hook
 * has come after the restart. */
void cloud_broker_restart(struct cloud_broker *broker, int64_t now_us, bool keep_sessions);
/* A session and everything in it, connected (DISCONNECT 0x98, CLOUD_CLOSED_SERVER) or not; its will is published, as when a session ends. Of a client
 * that comes back from inside disconnected() the new session stays. false: there is none. */
bool cloud_broker_forget(struct cloud_broker *broker, int64_t now_us, struct span client_id);

/* Services in-process: no bytes, same routing. deliver() may publish and subscribe. */
typedef void cloud_deliver(void *context, int64_t now_us, const struct mq5_publish *message);
struct cloud_local *cloud_broker_attach(struct cloud_broker *broker, struct span client_id, cloud_deliver *deliver,
                                        void *context);
void cloud_local_detach(struct cloud_local *local);
uint8_t cloud_local_subscribe(struct cloud_local *local, int64_t now_us, struct span filter,
                              uint8_t qos); /* reason code */
void cloud_local_unsubscribe(struct cloud_local *local, struct span filter);
/* $-topics allowed. Returns a reason code: MQ5_SUCCESS, MQ5_NO_MATCHING_SUBSCRIBERS, or an error. */
uint8_t cloud_local_publish(struct cloud_local *local, int64_t now_us, const struct mq5_publish *message);

/* Straight to one connected client, whether it subscribed or not: QoS 0 or 1, in order with what else is on its way there. MQ5_SUCCESS: sent,
 * or queued behind a full window. Else nothing comes of it: MQ5_NO_MATCHING_SUBSCRIBERS (not connected), MQ5_QUOTA_EXCEEDED (queue or memory
 * full), MQ5_PACKET_TOO_LARGE (for this client), MQ5_NOT_AUTHORIZED (authorise_receive), MQ5_QOS_NOT_SUPPORTED, MQ5_TOPIC_NAME_INVALID. */
uint8_t cloud_broker_deliver(struct cloud_broker *broker, int64_t now_us, struct span client_id,
                             const struct mq5_publish *message);

/* A session of this client, connected or not. */
bool cloud_broker_has_session(const struct cloud_broker *broker, struct span client_id);
/* The topics of what is on its way to a client, at QoS 1 and 2 and not acknowledged, and of what waits for it. Of a session that ends with its link only
 * the reserved ones. */
void cloud_broker_each_unacknowledged(const struct cloud_broker *broker, struct span client_id,
                                      void (*visit)(void *context, struct span topic), void *context);

bool cloud_broker_is_connected(const struct cloud_broker *broker, struct span client_id);
/* Who is at the other end of a connected client's link; lent as to a hook. NULL: not connected, or nothing is known. */
const struct cloud_peer *cloud_broker_peer(const struct cloud_broker *broker, struct span client_id);
struct cloud_broker_counts {
    uint64_t connections, sessions, subscriptions, retained, queued_messages, queued_bytes;
    uint64_t packets_in, packets_out, publishes_in, publishes_out, bytes_in, bytes_out, dropped;
    uint64_t memory_bytes;                   /* of all tables */
    int64_t alias_saved_in, alias_saved_out; /* bytes that topic aliases saved, what they cost taken off */
};
void cloud_broker_count(const struct cloud_broker *broker, struct cloud_broker_counts *out);
/* Order-independent hash of sessions, subscriptions, retained and queues (for digests). */
uint64_t cloud_broker_state_hash(const struct cloud_broker *broker);

#endif
