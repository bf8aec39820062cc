/* mqtt5/client.h: an MQTT client session as a state machine: bytes and time in, bytes and events out.
 *
 * Does no I/O, reads no clock, and has two ways with memory: all of it given to mq5_client_init(), or taken from the owner in small
 * blocks while there is something to keep (more than one operation in flight, a cut packet). The session never copies an outgoing message: it
 * keeps the application's token and asks for the message again (`load`) when it has to be sent or resent, so a fleet pays
 * for an unacknowledged message only what the application keeps of it.
 * Sections: 3 (packets), 4.1 state, 4.3/4.4 QoS and resend, 4.9 flow control, 3.1.2.10 keep alive, 3.3.2.3.4 alias, 4.12 AUTH.
 * A message is resent only after a reconnect with session present (MQTT-4.4.0-1), never on a live link.
 */
#ifndef MQTT5_CLIENT_H
#define MQTT5_CLIENT_H

#include "mqtt5/packet.h"

enum mq5_client_state {
    MQ5C_IDLE,       /* no link */
    MQ5C_CONNECTING, /* CONNECT sent, CONNACK awaited */
    MQ5C_AUTH,       /* extended authentication under way, before CONNACK */
    MQ5C_ONLINE,
    MQ5C_CLOSED, /* DISCONNECT sent or received, or an error: waiting for the world to say link down */
};

enum mq5_client_event_kind {
    /* Accepted: .packet->connack; session resumed or not is in it. Comes when what was in flight has been settled: resent as
     * far as the peer's receive maximum allows, or dropped (SESSION_LOST, DROPPED...). */
    MQ5C_EV_CONNACK,
    /* .reason: CONNACK error code, .packet->connack (with 0x9C and 0x9D there may be a server reference in it); or 0x8D when no CONNACK came
     * in time, .packet NULL. */
    MQ5C_EV_REFUSED,
    /* .packet->publish, topic resolved from its alias; the QoS answer is sent when the handler returns. */
    MQ5C_EV_MESSAGE,
    /* .token finished: PUBACK or PUBCOMP, .reason as given (>= 0x80: refused); QoS 0: once written. */
    MQ5C_EV_PUBLISHED,
    /* .token, .packet->suback. */
    MQ5C_EV_SUBSCRIBED,
    MQ5C_EV_UNSUBSCRIBED,
    /* .packet->auth: answer with mq5_client_auth(). */
    MQ5C_EV_AUTH,
    /* The server's DISCONNECT (.reason, .packet->disconnect, likewise) or our own end after a protocol error of the peer (.reason sent, .what) or
     * ping time-out (0x8D), .packet NULL; the world must close the link. */
    MQ5C_EV_DISCONNECTED,
    /* Reconnected without session: tokens in flight are dropped one by one as MQ5C_EV_DROPPED after it. */
    MQ5C_EV_SESSION_LOST,
    /* .token will not be acknowledged any more; the application decides whether to publish it anew. Also: a subscribe cut off
     * by the link, a message that cannot be resent (.reason: why). */
    MQ5C_EV_DROPPED,
};

struct mq5_client_event {
    enum mq5_client_event_kind kind;
    uint8_t reason;
    uint32_t token;
    const char *what;                /* static text for errors */
    const struct mq5_packet *packet; /* valid during the call */
};

/* One outgoing operation awaiting its end. */
struct mq5_inflight {
    uint32_t token;
    uint16_t packet_id;
    uint8_t state; /* internal */
    uint8_t sent;  /* internal: a publish counts against this connection's quota; of a subscribe: filters asked for */
};

struct mq5_client;

/* What the session asks of its owner, who knows himself by where the client lies (it is embedded in something of his); one const
 * table for a whole fleet. From inside event() any call is allowed except mq5_client_input(); from inside the others none, but that
 * load() may ask mq5_client_alias_known(). */
struct mq5_client_ops {
    /* Bytes to put on the link, in order; the callee copies or writes them before it returns. */
    void (*send)(struct mq5_client *client, const uint8_t *data, size_t length);
    void (*event)(struct mq5_client *client, const struct mq5_client_event *event);
    /* Fills *out with the message behind a token (topic, payload, qos, retain, properties; not packet_id, dup or alias). The views
     * must hold until the call returns to the session and its send() has run. false: the application no longer has it. */
    bool (*load)(struct mq5_client *client, uint32_t token, struct mq5_publish *out);
    /* Optional (NULL: none): sees every decoded packet before the session does; false swallows it (fault injection, traces). */
    bool (*inbound)(struct mq5_client *client, const struct mq5_packet *packet);
    /* Only of a session without memory of its own, see mq5_client_init(). Blocks are aligned to 8; take may return NULL: then a
     * publish or subscribe has to wait (MQ5C_WAIT), and what the peer sends is refused with the reason code for it. */
    void *(*memory_take)(struct mq5_client *client, size_t size);
    void (*memory_give)(struct mq5_client *client, void *block, size_t size);
};

/* Shared, read-only, outlives the session. */
struct mq5_client_config {
    const struct mq5_client_ops *ops;
    uint8_t version;              /* enum mq5_version */
    bool qos2_in;                 /* room for inbound QoS 2 ids; without it such messages are refused */
    uint16_t receive_maximum;     /* ours, advertised; 0: 32. Twice as many inbound QoS 2 ids are kept */
    uint16_t topic_alias_maximum; /* ours, advertised; needs alias_bytes, without them 0 is advertised */
    uint32_t alias_bytes;  /* for inbound aliases: each takes its topic and 4 bytes; 0x97 when the peer's do not fit */
    uint32_t stream_bytes; /* to gather a packet cut by the border of an input; 0x95 when it does not fit */
    uint32_t maximum_packet_size; /* ours, advertised; 0: not sent. stream_bytes should be as many */
    uint32_t connack_timeout_us;  /* 0: 30 s */
    uint32_t ping_timeout_us;     /* 0: 30 s, never above the keep alive */
    uint16_t outgoing_maximum;    /* operations of ours in flight: publishes, subscribes */
    uint8_t outgoing_alias_slots; /* 0..16: alias slots the application may name in mq5_client_publish() */
    uint8_t *scratch;             /* encoding buffer of one thread's fleet, for its largest packet; NULL: 1 KiB */
    uint32_t scratch_size;
};

/* Everything a CONNECT carries that differs between connections. Spans must hold during mq5_client_connect() only. */
struct mq5_client_connect {
    bool clean_start;
    uint16_t keep_alive_s;
    uint32_t session_expiry_s;
    struct span client_id, user_name, password; /* empty: absent */
    const struct mq5_publish *will;             /* NULL: none; will_delay in its properties */
    struct span authentication_method, authentication_data;
    const struct mq5_user_property *user;
    uint16_t user_count;
    bool request_response_information, request_problem_information;
    bool session_kept; /* storage knows of a session (power cycle): Session Present is no surprise then */
};

/* Behind this head lie, as configured: inbound QoS 2 ids (2 bytes each), inbound aliases, the start of a cut packet. */
struct mq5_inbound {
    uint32_t alias_used, stream_used; /* bytes */
};

/* Public only so that owners can embed it; fields are the session's own (read through the getters). 96 bytes. */
struct mq5_client {
    const struct mq5_client_config *config;
    union {                        /* in-flight operations */
        struct mq5_inflight one;   /* outgoing_capacity 1 */
        struct mq5_inflight *ring; /* else */
    };
    struct mq5_inbound *inbound; /* NULL: nothing to keep */
    int64_t deadline_us;         /* CONNACK or PINGRESP is due; TIME_NEVER: neither awaited */
    int64_t last_sent_us, last_received_us;
    uint32_t peer_maximum_packet_size; /* 0: none */
    uint32_t session_expiry_s;         /* in force */
    uint32_t authentication_hash;      /* of the method named in CONNECT; 0: none */
    /* In-flight operations are a ring: released (PUBREL sent) first, then the others in the order they were sent first. */
    uint16_t outgoing_head, outgoing_count, outgoing_capacity;
    uint16_t released_count, operations_count; /* of them: released; SUBSCRIBE and UNSUBSCRIBE */
    uint16_t resend_left;                      /* publishes of an earlier connection still to be resent on this one */
    uint16_t incoming_count, incoming_carried; /* QoS 2 ids to be released; of them, in front: of earlier links */
    uint16_t next_packet_id, quota_used;
    uint16_t keep_alive_s, peer_receive_maximum, peer_alias_maximum;
    uint16_t ping_interval_s; /* wanted by the owner; 0: as negotiated */
    uint16_t aliases_sent;    /* bit per slot established on this connection */
    uint8_t state, peer_maximum_qos;
    uint8_t generation; /* counts links: a call notices that a handler has ended or replaced the one it works for */
    uint8_t peer_retain_available : 1, peer_wildcard_available : 1, peer_shared_available : 1;
    uint8_t peer_subscription_id_available : 1;
    uint8_t ids_unordered : 1, in_input : 1, awaiting_ping : 1;
    uint8_t on_demand : 1; /* memory comes from the owner block by block */
    uint8_t session_known : 1, session_possible : 1, clean_start : 1, unanswered : 1, accepted : 1;
    uint8_t expiry_was_zero : 1, no_problem_information : 1, reauthenticating : 1;
};

/* Bytes of memory the session needs beside struct mq5_client when it has to have them all at once. */
size_t mq5_client_memory(const struct mq5_client_config *config);
/* `memory` (aligned to 8) must stay as long as the client. NULL: it is taken when needed by ops->memory_take(), and given back when
 * nothing is left in it. */
void mq5_client_init(struct mq5_client *client, const struct mq5_client_config *config, void *memory);
/* Forgets everything and gives back what was taken; the client may be initialised anew. */
void mq5_client_release(struct mq5_client *client);

/* Life of a connection, told by the owner. */
/* The link is up: sends CONNECT. ILLEGAL/NO_SPACE as mq5_encode(), state unchanged then. State must be MQ5C_IDLE. */
enum mq5_status mq5_client_connect(struct mq5_client *client, int64_t now_us, const struct mq5_client_connect *connect);
void mq5_client_input(struct mq5_client *client, int64_t now_us, const uint8_t *data, size_t length);
/* The link is gone, for whatever reason: connection state is forgotten, session state kept. */
void mq5_client_link_down(struct mq5_client *client, int64_t now_us);
/* Call at or after mq5_client_next_deadline(): pings when nothing was sent, or nothing received, for the keep alive (a half-open link
 * is noticed under traffic too), and gives up when the answer does not come. TIME_NEVER: nothing to wait for. */
void mq5_client_tick(struct mq5_client *client, int64_t now_us);
static inline int64_t mq5_client_next_deadline(const struct mq5_client *client);

enum mq5_client_result {
    MQ5C_DONE = 0,
    /* Peer's receive maximum or our outgoing_maximum is used up: try after the next MQ5C_EV_PUBLISHED or _DROPPED. */
    MQ5C_WAIT,
    /* Not online. */
    MQ5C_OFFLINE,
    /* Above the peer's limits: maximum QoS, retain, maximum packet size, wildcard, shared, subscription id. */
    MQ5C_NOT_WITH_PEER,
    /* Not encodable, larger than the scratch, load() had nothing, or no part of this connection's authentication. */
    MQ5C_BAD,
};
/* Sends the message behind `token` (asks for it through load). QoS 0 is reported as PUBLISHED before this returns.
 * alias_slot: 0 none, else 1..outgoing_alias_slots: this slot always carries the same topic within a connection; the session sends the
 * name once and the alias alone from then on, as far as the peer allows. Publishes wait until those of an earlier link are resent. */
enum mq5_client_result mq5_client_publish(struct mq5_client *client, int64_t now_us, uint32_t token,
                                          uint8_t alias_slot);
enum mq5_client_result mq5_client_subscribe(struct mq5_client *client, int64_t now_us, uint32_t token,
                                            const struct mq5_subscription *list, uint32_t count,
                                            uint32_t subscription_id);
enum mq5_client_result mq5_client_unsubscribe(struct mq5_client *client, int64_t now_us, uint32_t token,
                                              const struct mq5_subscription *list, uint32_t count);
/* Re-authentication or the next step of it. */
enum mq5_client_result mq5_client_auth(struct mq5_client *client, int64_t now_us, uint8_t reason, struct span method,
                                       struct span data);
/* Clean end: sends DISCONNECT (5: reason, 0x80 in place of one that clients may not give, and session_expiry_s if it differs from the
 * one in force) and goes to MQ5C_CLOSED. */
void mq5_client_disconnect(struct mq5_client *client, int64_t now_us, uint8_t reason, uint32_t session_expiry_s);
uint32_t mq5_client_session_expiry(const struct mq5_client *client); /* in force, seconds */
/* Change of keep alive takes a new connection; this tells the one in force (server's or ours). */
uint16_t mq5_client_keep_alive(const struct mq5_client *client);
/* Ping when quiet for this long, though the keep alive in force is longer; 0: as negotiated. Stays over reconnects; the next deadline
 * follows at once. */
void mq5_client_ping_interval(struct mq5_client *client, int64_t now_us, uint16_t seconds);
static inline bool mq5_client_online(const struct mq5_client *client);
/* This slot's topic has been said on this connection: load() may leave the topic of a publish through it empty. */
static inline bool mq5_client_alias_known(const struct mq5_client *client, uint8_t alias_slot);
uint16_t mq5_client_inflight(const struct mq5_client *client);

/* What is asked around every event costs no call. */

/* The sooner of what the owner wants and what the server was promised; 0: never. */
static inline uint16_t mq5_client_ping_s(const struct mq5_client *client)
{
    uint16_t wanted_s = client->ping_interval_s, promised_s = client->keep_alive_s;
    return wanted_s == 0 || (promised_s != 0 && promised_s < wanted_s) ? promised_s : wanted_s;
}

static inline int64_t mq5_client_next_deadline(const struct mq5_client *client)
{
    uint16_t quiet_s = mq5_client_ping_s(client);
    if (client->state != MQ5C_ONLINE || client->awaiting_ping || quiet_s == 0)
        return client->deadline_us;
    int64_t quiet_since_us =
        client->last_sent_us < client->last_received_us ? client->last_sent_us : client->last_received_us;
    return quiet_since_us + quiet_s * US_PER_S;
}

static inline bool mq5_client_online(const struct mq5_client *client)
{
    return client->state == MQ5C_ONLINE;
}

static inline bool mq5_client_alias_known(const struct mq5_client *client, uint8_t alias_slot)
{
    return alias_slot > 0 && alias_slot <= 16 && client->state == MQ5C_ONLINE &&
           client->aliases_sent >> (alias_slot - 1) & 1;
}

#endif
