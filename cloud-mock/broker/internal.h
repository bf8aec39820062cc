/* internal.h: what the files of the broker share. Private.
 *
 * Who owns whom: broker -> links before CONNECT (in the heap of deadlines), sessions (table by client id) -> their links, topic tree ->
 * subscriptions, retained tree -> messages. What a session has in common with others it shares (pattern.c); what few have is taken on demand.
 * A session outlives its link when its expiry interval says so. A message is stored once and counted by whoever waits to send it.
 * Hooks and deliver() may call back into the broker, so nothing that an outer call may still look at is freed before the outermost
 * call returns: sessions and links go to a graveyard (memory.c) and are marked dead.
 */
#ifndef BROKER_INTERNAL_H
#define BROKER_INTERNAL_H

#include "cloud/broker.h"
#include "memory.h"
#include "mqtt5/topic.h"

#define BROKER_MAXIMUM_LEVELS     256  /* of a topic; deeper ones are answered 0x90 / 0x8F */
#define BROKER_ALIAS_BYTES        3    /* of the property, in place of the topic or beside it */
#define BROKER_MAXIMUM_IN_FLIGHT  1024 /* towards a client, whatever it allows */
#define BROKER_CONNECT_TIMEOUT_US (30 * US_PER_S)

enum timer_kind { TIMER_LINK, TIMER_SESSION, TIMER_RETAINED, TIMER_KINDS = 3 /* a mask */ };

/* Head of everything that has a deadline. The deadline in the heap is never later than the true one. */
struct timer {
    uint32_t place; /* in the heap, plus one; 0: not in it */
};

struct timer_entry {
    int64_t deadline_us;
    uintptr_t owner; /* of the timer, plus its kind: what owns one is aligned to 8 */
};

/* A stored message. Texts follow in this order: topic, payload, content type, response topic, correlation, user properties. */
enum {
    MESSAGE_FORMAT = 1,
    MESSAGE_EXPIRY = 2,
    MESSAGE_CONTENT_TYPE = 4,
    MESSAGE_RESPONSE = 8,
    MESSAGE_CORRELATION = 16
};
struct message {
    uint32_t references, size;
    int64_t published_us;
    uint32_t expiry_s, payload_length, user_length;
    uint16_t topic_length, content_type_length, response_topic_length, correlation_length;
    uint8_t present, payload_format, qos, retain;
    uint8_t bytes[];
};

struct topic_node {
    struct topic_node *parent, *chain;
    struct subscription *subscriptions; /* circular; share groups first, then in order of arrival */
    uint32_t hash, serial;
    uint32_t children; /* and two flags: */
#define NODE_HAS_PLUS UINT32_C(0x80000000)
#define NODE_HAS_HASH UINT32_C(0x40000000)
    uint16_t length;
    char level[];
};

enum { SUB_QOS = 3, SUB_NO_LOCAL = 4, SUB_RETAIN_AS_PUBLISHED = 8, SUB_SHARED = 16, SUB_GROUP = 32 };
struct subscription {
    struct subscription *next, *previous; /* in the ring of its node or its share group */
    struct subscription *session_next;
    struct session *session; /* NULL: this is the head of a share group */
    union {
        struct topic_node *node;
        struct share_group *group; /* if SUB_SHARED */
    };
    uint32_t id; /* subscription identifier, 0: none */
    uint8_t options;
};

struct share_group {
    struct subscription head;     /* stands in the node's ring */
    struct subscription *members; /* ring; whose turn it is */
    uint32_t references;          /* being in the tree, deliveries and matches */
    uint16_t name_length;
    char name[];
};

enum delivery_state { DELIVERY_QUEUED, DELIVERY_SENT, DELIVERY_RELEASED /* PUBREC came, PUBREL went */ };
struct delivery {
    struct delivery *next;
    struct message *message;   /* NULL: sent, and nobody will have to send it again */
    struct share_group *group; /* through which it came here, or NULL */
    union {
        uint32_t id;
        uint32_t *ids;
    };
    uint16_t id_count, packet_id;
    uint8_t qos, retain, state, on_link; /* on_link: this link has seen it */
};

/* QoS 1 and 2 towards a client; exists only while something is under way or waiting. */
struct flow {
    struct delivery *sent, *sent_last, *queued, *queued_last;
    struct delivery *resend; /* first of `sent` that this link has not seen */
    int64_t next_expiry_us;  /* not later than the first expiry among the queued */
    uint32_t queued_count;
    uint32_t identifiers_run; /* identifiers given since the window was last empty: below 65,535 none can be in use */
    uint32_t on_link;         /* sent over this link and not finished */
};

struct id_set {
    uint32_t count, capacity;
    uint16_t ids[]; /* ascending */
};

struct will {
    struct message *message;
    int64_t due_us; /* TIME_NEVER while the link lives */
    uint32_t delay_s;
};

/* A topic or filter with the client's own name as one of its levels: "cmd/NAME/request" is prefix "cmd/", suffix "/request". Many sessions
 * hold the same ones. Known by a number from 1 on, for as long as somebody holds it or until its place is needed. */
#define PATTERN_MAXIMUM     255
#define PATTERN_ROUTE_NODES 6
#define PATTERN_TOPIC_BYTES 256 /* longer topics are not made into patterns */
struct pattern {
    uint32_t references;  /* lists it stands in */
    uint32_t subscribers; /* sessions with it among their subscriptions */
    uint32_t hash;
    uint16_t prefix_length, suffix_length, level_count, name_level;
    /* Whom a message to it reaches whatever the name is: the nodes a walk of the tree would come by, as of `route_generation`. */
    uint64_t route_generation;
    const struct topic_node *route[PATTERN_ROUTE_NODES];
    uint8_t route_count, route_self; /* route_self: how many come before the one whose name it is */
    bool route_known;                /* false: it depends on the name */
    char text[];                     /* prefix, suffix */
};

/* A list of patterns with a value each, one copy for all who hold the same: subscriptions (options) of a session, aliases (number) of a link.
 * Never changed: who wants another one gets another number. 0: the empty one. */
#define PATTERN_LIST_MAXIMUM 1023
#define PATTERN_LIST_LENGTH  32
struct pattern_entry {
    uint16_t value;
    uint8_t pattern;
};
struct pattern_list {
    uint32_t references;
    uint16_t count;
    struct pattern_entry entries[];
};

/* What few sessions have. */
struct session_more {
    struct subscription *subscriptions; /* those in the tree */
    struct id_set *received;            /* QoS 2 received, PUBREL awaited */
    struct will *will;
};

enum { SESSION_DEAD = 1, SESSION_LOCAL = 2, SESSION_LINKED = 4 };
struct session {
    struct timer timer;
    uint32_t hash;
    struct session *chain; /* in the table; when dead: in the graveyard */
    union {
        struct cloud_connection *connection; /* if SESSION_LINKED: see broker_link_of() */
        struct cloud_local *local;           /* if SESSION_LOCAL */
        int64_t expires_us;                  /* otherwise */
    };
    struct flow *flow;
    struct session_more *more;
    uint32_t match, expiry_s;
    uint16_t last_packet_id, subscription_count, client_id_length;
    uint16_t patterns; /* the list of subscriptions by pattern, their values are options */
    uint8_t flags;
    char client_id[];
};

struct alias_table {
    uint16_t count, capacity, next; /* next: the one to be given anew when all are taken */
    struct alias_topic {
        char *topic;
        uint32_t hash;
        uint16_t length;
    } topics[];
};

struct cut_packet {
    uint32_t capacity, used;
    uint8_t bytes[];
};

/* What few links have. */
struct link_more {
    const struct cloud_peer *peer;
    struct cut_packet *cut;
    struct alias_table *aliases_in; /* topics that are no pattern */
    struct alias_table *aliases_out;
    uint16_t alias_maximum_out;
    uint32_t authentication; /* its place in the broker's list, plus one; 0: CONNECT named no method */
};

/* Of a link whose CONNECT named a method. */
struct authentication {
    struct cloud_connection *connection;
    uint8_t *connect; /* the packet, until it is admitted; NULL: it has been */
    uint32_t connect_length, method_length;
    bool under_way; /* AUTH 0x18 may come */
    char method[];
};

enum { LINK_DEAD = 1, LINK_V5 = 2, LINK_NO_PROBLEM_INFORMATION = 4, LINK_EXPIRY_ZERO = 8, LINK_DRAINING = 16 };
struct cloud_connection {
    struct timer timer;           /* until CONNECT; then the session's is used */
    uint32_t maximum_packet_size; /* the client's; 0: none */
    void *link;
    struct session *session; /* NULL: before CONNECT */
    struct link_more *more;
    union {
        int64_t last_input_us;
        struct cloud_connection *next_dead; /* if LINK_DEAD */
    };
    uint16_t keep_alive_s, receive_maximum;
    uint16_t aliases; /* the list of topic aliases that are patterns, their values are alias numbers */
    uint8_t last_pattern;
    uint8_t flags;
};

struct cloud_local {
    struct cloud_broker *broker;
    struct session *session;
    cloud_deliver *deliver;
    void *context;
    struct cloud_local *next, *previous;
};

struct match {
    struct session *session;
    struct share_group *group;
    uint32_t id, more_ids; /* first identifier (0: none); index plus one of the next */
    uint8_t qos;
    bool retain_as_published;
};
struct match_id {
    uint32_t id, next;
};

struct retained_node {
    struct timer timer;
    struct retained_node *parent, *chain, *first_child, *last_child, *next, *previous;
    struct message *message;
    uint32_t hash, serial;
    uint16_t length;
    char level[];
};

#define POOL_STEP    8
#define POOL_CLASSES 40
struct pool {
    struct pool_chunk *chunks;
    void *free[POOL_CLASSES + 1];
    uint8_t *fresh;
    size_t fresh_left;
    uint64_t chunk_bytes; /* of all */
};

struct cloud_broker {
    struct cloud_broker_options options;
    struct cloud_broker_ops ops;
    void *context;
    uint64_t random;
    uint32_t depth; /* calls inside calls */
    struct pool pool;
    uint64_t memory_bytes;
    struct session *dead_sessions;
    struct cloud_connection *dead_connections;

    struct cloud_local *locals;
    struct session **session_table;
    uint32_t session_table_size, session_count, connection_count;

    struct topic_node *topic_root, **topic_table;
    uint32_t topic_table_size, topic_count, topic_serial;
    uint64_t topic_generation; /* counts nodes that came and went: what a route may depend on */
    uint64_t subscription_count;

    struct pattern **patterns; /* by number less one; NULL: free */
    uint32_t pattern_capacity, pattern_hand, patterns_subscribed;
    struct pattern_list **pattern_lists; /* likewise */
    uint32_t pattern_list_capacity;

    struct retained_node *retained_root, **retained_table;
    uint32_t retained_table_size, retained_node_count, retained_serial, retained_count;

    struct authentication **authentications;
    uint32_t authentication_count, authentication_capacity;

    struct timer_entry *timers;
    uint32_t timer_count, timer_capacity;

    struct match *matches; /* stack: a publish inside a publish works above its outer one */
    uint32_t match_count, match_capacity;
    struct match_id *match_ids;
    uint32_t match_id_count, match_id_capacity;

    uint8_t *scratch; /* for one outgoing packet */
    uint32_t scratch_capacity;
    uint64_t queued_bytes, queued_messages;
    struct cloud_broker_counts counts;
};

/* memory.c */
void *broker_memory_get(struct cloud_broker *broker, size_t size); /* not cleared */
void *broker_memory_get_clear(struct cloud_broker *broker, size_t size);
void broker_memory_put(struct cloud_broker *broker, void *memory, size_t size);
void *broker_memory_resize(struct cloud_broker *broker, void *memory, size_t old_size, size_t new_size);
/* Grows an array of `item`-sized elements so that `needed` fit; false: no memory, nothing changed. */
bool broker_memory_reserve(struct cloud_broker *broker, void **array, uint32_t *capacity, uint32_t needed, size_t item);
void broker_memory_destroy(struct cloud_broker *broker);
void broker_bury(struct cloud_broker *broker);
static inline void broker_enter(struct cloud_broker *broker)
{
    broker->depth++;
}
static inline void broker_leave(struct cloud_broker *broker)
{
    if (--broker->depth == 0 && (broker->dead_connections || broker->dead_sessions))
        broker_bury(broker);
}

/* hash.h's fixed hash over bytes */
static inline uint32_t broker_hash(const void *data, uint32_t length)
{
    const uint8_t *at = data;
    uint32_t hash = 2166136261u;
    for (uint32_t i = 0; i < length; i++)
        hash = (hash ^ at[i]) * 16777619u;
    return hash;
}
static inline uint64_t broker_mix(uint64_t value)
{
    value = (value ^ (value >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    value = (value ^ (value >> 27)) * UINT64_C(0x94D049BB133111EB);
    return value ^ (value >> 31);
}

/* timers.c */
bool broker_timer_set(struct cloud_broker *broker, struct timer *timer, enum timer_kind kind,
                      int64_t deadline_us); /* sooner only; false: no memory */
void broker_timer_remove(struct cloud_broker *broker, struct timer *timer);
struct cloud_connection *broker_timer_link(const struct cloud_broker *broker); /* one before CONNECT, or NULL */
void broker_timer_fire(struct cloud_broker *broker, int64_t now_us);

/* message.c */
struct message *broker_message_create(struct cloud_broker *broker, int64_t now_us, const struct mq5_publish *publish);
void broker_message_release(struct cloud_broker *broker, struct message *message);
/* A view with the expiry that remains. */
void broker_message_view(const struct message *message, int64_t now_us, struct mq5_publish *out);
int64_t broker_message_expires_us(const struct message *message);
uint64_t broker_message_hash(const struct cloud_broker *broker, const struct message *message); /* digest.c */

/* topics.c: the tree of subscriptions */
struct topic_levels {
    uint32_t count;
    struct {
        const char *text;
        uint32_t hash;
        uint16_t length;
    } level[BROKER_MAXIMUM_LEVELS];
};
bool broker_topic_split(struct span topic, struct topic_levels *levels); /* false: too deep */
struct topic_node *broker_topic_find(const struct cloud_broker *broker, const struct topic_levels *levels);
struct topic_node *broker_topic_make(struct cloud_broker *broker, const struct topic_levels *levels);
void broker_topic_prune(struct cloud_broker *broker, struct topic_node *node);
/* The nodes a walk comes by whatever the level `name_level` is: false: that depends, or they are too many. */
bool broker_topic_collect(const struct cloud_broker *broker, const struct topic_levels *levels,
                          struct pattern *pattern);
/* Pushes what matches onto broker->matches; false: no memory (nothing pushed). */
bool broker_topic_match(struct cloud_broker *broker, const struct topic_levels *levels, const struct session *publisher,
                        uint32_t base);
/* The same for a topic that is a pattern with the publisher's name and whose route is known. */
bool broker_topic_match_pattern(struct cloud_broker *broker, uint8_t number, struct session *publisher, uint32_t base);
/* Lets go of the matches above `base`. */
void broker_topic_match_end(struct cloud_broker *broker, uint32_t base);
void broker_topic_destroy(struct cloud_broker *broker);

/* pattern.c */
/* The pattern of a topic or filter for a client id; 0: it is none, or there is no room. Not counted: it may go when another one is made. */
uint8_t broker_pattern_of(struct cloud_broker *broker, const struct session *session, struct span topic);
uint8_t broker_pattern_find(const struct cloud_broker *broker, const struct session *session, struct span topic);
static inline struct pattern *broker_pattern(const struct cloud_broker *broker, uint8_t number)
{
    return broker->patterns[number - 1];
}
bool broker_pattern_fits(const struct pattern *pattern, const struct session *session, struct span topic);
/* Writes the topic for this name, at most PATTERN_TOPIC_BYTES of it. */
struct span broker_pattern_topic(const struct pattern *pattern, struct span client_id, char *out);
/* Brings its route up to date; false: it depends on the name. */
bool broker_pattern_route_find(struct cloud_broker *broker, struct pattern *pattern, struct span topic);
static inline bool broker_pattern_route(struct cloud_broker *broker, struct pattern *pattern, struct span topic)
{
    if (pattern->route_generation == broker->topic_generation)
        return pattern->route_known;
    return broker_pattern_route_find(broker, pattern, topic);
}
/* The session that subscribed to exactly this topic by pattern, or NULL: there is at most one. */
struct session *broker_pattern_subscriber(const struct cloud_broker *broker, const struct topic_levels *levels,
                                          uint8_t *number);
/* Lists. NULL: not in it. */
const struct pattern_entry *broker_pattern_list_find(const struct cloud_broker *broker, uint16_t list, uint8_t number);
const struct pattern_entry *broker_pattern_list_value(const struct cloud_broker *broker, uint16_t list, uint16_t value);
/* Exchange *list for one with the pattern in it, or without. false: no room or memory, nothing changed. */
bool broker_pattern_list_put(struct cloud_broker *broker, uint16_t *list, uint8_t number, uint16_t value);
bool broker_pattern_list_drop(struct cloud_broker *broker, uint16_t *list, uint8_t number);
void broker_pattern_list_release(struct cloud_broker *broker, uint16_t list);
void broker_pattern_subscribed(struct cloud_broker *broker, uint8_t number, bool more);
void broker_pattern_destroy(struct cloud_broker *broker);

/* shared.c */
struct share_group *broker_share_find(const struct topic_node *node, struct span name);
struct share_group *broker_share_make(struct cloud_broker *broker, struct topic_node *node, struct span name);
struct subscription *broker_share_choose(struct share_group *group); /* NULL: nobody who could take it */
void broker_share_release(struct cloud_broker *broker, struct share_group *group);
void broker_share_redistribute(struct cloud_broker *broker, int64_t now_us, struct delivery *list);

/* subscribe.c */
uint8_t broker_subscription_set(struct cloud_broker *broker, struct session *session, struct span filter,
                                uint8_t options, uint32_t id, bool *is_new);
uint8_t broker_subscription_remove(struct cloud_broker *broker, struct session *session, struct span filter);
void broker_subscription_remove_all(struct cloud_broker *broker, struct session *session);
/* false: there is none. */
bool broker_subscription_read(const struct cloud_broker *broker, const struct session *session, struct span filter,
                              uint8_t *options, uint32_t *id);
void broker_handle_subscribe(struct cloud_broker *broker, struct cloud_connection *connection, int64_t now_us,
                             const struct mq5_packet *packet);
void broker_handle_unsubscribe(struct cloud_broker *broker, struct cloud_connection *connection, int64_t now_us,
                               const struct mq5_packet *packet);
void broker_ring_insert(struct subscription **ring, struct subscription *item, bool at_front);
void broker_ring_remove(struct subscription **ring, struct subscription *item);

/* route.c: one message to everybody who is to have it */
struct routed {
    int64_t now_us;
    const struct mq5_publish *publish; /* topic resolved */
    struct message *stored;            /* made when first needed; owned by whoever routes */
};
/* Stores retained messages and delivers. MQ5_SUCCESS, MQ5_NO_MATCHING_SUBSCRIBERS, MQ5_QUOTA_EXCEEDED, MQ5_TOPIC_NAME_INVALID.
 * pattern: of the topic with the publisher's name, 0: none is known. */
uint8_t broker_route(struct cloud_broker *broker, int64_t now_us, const struct mq5_publish *publish,
                     struct session *publisher, uint8_t pattern);

/* queue.c: deliveries of a session */
struct target {
    struct session *session;
    struct share_group *group;
    const uint32_t *ids;
    uint16_t id_count;
    uint8_t qos;
    bool retain;
};
void broker_deliver(struct cloud_broker *broker, struct routed *routed, const struct target *target);
/* Sends what the window allows: first what an earlier link left unfinished, then what is queued. */
void broker_flow_drain(struct cloud_broker *broker, struct session *session, int64_t now_us);
void broker_flow_link_lost(struct session *session);
void broker_flow_purge(struct cloud_broker *broker, struct session *session, int64_t now_us); /* expired messages */
/* Takes everything out; the shared deliveries that another member may get are handed back as a list, in order. */
struct delivery *broker_flow_clear(struct cloud_broker *broker, struct session *session);
void broker_delivery_free(struct cloud_broker *broker, struct delivery *delivery);
void broker_handle_ack(struct cloud_broker *broker, struct cloud_connection *connection, int64_t now_us,
                       const struct mq5_packet *packet);

/* publish.c */
void broker_handle_publish(struct cloud_broker *broker, struct cloud_connection *connection, int64_t now_us,
                           struct mq5_publish *publish);
void broker_handle_release(struct cloud_broker *broker, struct cloud_connection *connection, int64_t now_us,
                           const struct mq5_ack *ack);

/* retained.c */
uint8_t broker_retained_store(struct cloud_broker *broker, int64_t now_us, const struct mq5_publish *publish,
                              const struct topic_levels *levels, struct routed *routed);
void broker_retained_send(struct cloud_broker *broker, int64_t now_us, struct session *session, struct span filter);
void broker_retained_expire(struct cloud_broker *broker, struct retained_node *node);
void broker_retained_forget_all(struct cloud_broker *broker);
void broker_retained_destroy(struct cloud_broker *broker);
uint64_t broker_retained_hash(const struct cloud_broker *broker);

/* will.c */
bool broker_will_set(struct cloud_broker *broker, struct session *session, int64_t now_us,
                     const struct mq5_connect *connect);
void broker_will_discard(struct cloud_broker *broker, struct session *session);
void broker_will_publish(struct cloud_broker *broker, struct session *session, int64_t now_us);

/* session.c */
struct session *broker_session_find(const struct cloud_broker *broker, struct span client_id);
struct session *broker_session_find_hashed(const struct cloud_broker *broker, struct span client_id, uint32_t hash);
struct session *broker_session_create(struct cloud_broker *broker, struct span client_id, bool local);
void broker_session_end(struct cloud_broker *broker, struct session *session, int64_t now_us);
void broker_session_free(struct cloud_broker *broker, struct session *session);
void broker_session_forget_received(struct cloud_broker *broker, struct session *session);
void broker_session_away(struct cloud_broker *broker, struct session *session, int64_t now_us);
int64_t broker_session_deadline(const struct session *session);
void broker_session_due(struct cloud_broker *broker, struct session *session, int64_t now_us);
bool broker_session_rearm(struct cloud_broker *broker, struct session *session);
static inline struct span broker_client_id(const struct session *session)
{
    return session ? span_of(session->client_id, session->client_id_length) : (struct span){NULL, 0};
}
static inline const struct cloud_peer *broker_peer(const struct cloud_broker *broker,
                                                   const struct cloud_connection *connection)
{
    const struct cloud_peer *peer = broker->ops.peer ? broker->ops.peer(broker->context, connection->link) : NULL;
    return peer || !connection->more ? peer : connection->more->peer;
}
static inline struct cloud_connection *broker_link_of(const struct session *session) /* NULL: away */
{
    return session->flags & SESSION_LINKED ? session->connection : NULL;
}
static inline bool broker_session_present(const struct session *session)
{
    return session->flags & (SESSION_LINKED | SESSION_LOCAL);
}
struct session_more *broker_session_more(struct cloud_broker *broker, struct session *session); /* NULL: no memory */
void broker_session_less(struct cloud_broker *broker, struct session *session); /* gives it back if nothing is in it */
static inline struct will *broker_will_of(const struct session *session)
{
    return session->more ? session->more->will : NULL;
}
static inline struct id_set *broker_received_of(const struct session *session)
{
    return session->more ? session->more->received : NULL;
}
static inline struct subscription *broker_subscriptions_of(const struct session *session)
{
    return session->more ? session->more->subscriptions : NULL;
}

/* connect.c */
void broker_handle_connect(struct cloud_broker *broker, struct cloud_connection *connection, int64_t now_us,
                           const struct mq5_connect *connect, struct span bytes);
/* Whoever it is has shown it, if there was a method: what CONNACK is to say of that is in `proof`. */
void broker_admit(struct cloud_broker *broker, struct cloud_connection *connection, int64_t now_us,
                  const struct mq5_connect *connect, const struct mq5_properties *proof);
void broker_refuse_connect(struct cloud_broker *broker, struct cloud_connection *connection, int64_t now_us,
                           uint8_t version, uint8_t reason, const char *what, enum cloud_close_reason close_reason);
/* `reference`: of the server to go to, with 0x9C and 0x9D; may be empty. */
void broker_redirect_connect(struct cloud_broker *broker, struct cloud_connection *connection, int64_t now_us,
                             uint8_t version, uint8_t reason, struct span reference);

/* authentication.c */
void broker_authentication_begin(struct cloud_broker *broker, struct cloud_connection *connection, int64_t now_us,
                                 const struct mq5_connect *connect, struct span bytes);
/* CONNECT has come and waits. */
bool broker_authentication_waits(const struct cloud_broker *broker, const struct cloud_connection *connection);
/* Whatever comes while it waits. */
void broker_handle_within(struct cloud_broker *broker, struct cloud_connection *connection, int64_t now_us,
                          const struct mq5_packet *packet);
void broker_handle_auth(struct cloud_broker *broker, struct cloud_connection *connection, int64_t now_us,
                        const struct mq5_disconnect *auth);
void broker_authentication_over(struct cloud_broker *broker, struct cloud_connection *connection, int64_t now_us);
void broker_authentication_free(struct cloud_broker *broker, struct cloud_connection *connection);

/* link.c: the life of a link, and its bytes */
void broker_link_input(struct cloud_broker *broker, struct cloud_connection *connection, int64_t now_us,
                       const uint8_t *data, size_t length);
/* Ends the link: tells the door (unless the door told us), the hooks, and lets the session go on without. */
void broker_link_end(struct cloud_broker *broker, struct cloud_connection *connection, int64_t now_us,
                     enum cloud_close_reason reason, bool tell_door);
/* Version 5: DISCONNECT with the reason first. */
void broker_link_fail(struct cloud_broker *broker, struct cloud_connection *connection, int64_t now_us, uint8_t reason,
                      const char *what, enum cloud_close_reason close_reason);
/* Version 5: DISCONNECT 0x9C or 0x9D first. */
void broker_link_redirect(struct cloud_broker *broker, struct cloud_connection *connection, int64_t now_us,
                          struct span reference, bool for_good);
/* All links at once, without a word to anybody; then, from broker->dead_connections to what this returned, the hooks are told and the sessions
 * go on without: nobody may be sent anything in between. */
struct cloud_connection *broker_link_drop_all(struct cloud_broker *broker);
void broker_link_tell_dropped(struct cloud_broker *broker, struct cloud_connection *last,
                              const struct cloud_connection *earlier, int64_t now_us, enum cloud_close_reason reason);
void broker_link_free(struct cloud_broker *broker, struct cloud_connection *connection);
struct link_more *broker_link_more(struct cloud_broker *broker,
                                   struct cloud_connection *connection); /* NULL: no memory */

/* send.c */
bool broker_send(struct cloud_broker *broker, struct cloud_connection *connection,
                 const struct mq5_packet *packet); /* false: not sent, too large */
void broker_send_ack(struct cloud_broker *broker, struct cloud_connection *connection, int64_t now_us, uint8_t type,
                     uint16_t packet_id, uint8_t reason);
void broker_send_pong(struct cloud_broker *broker, struct cloud_connection *connection);
/* Gives it an alias if the client allows. false: too large for this client. */
bool broker_send_publish(struct cloud_broker *broker, struct cloud_connection *connection, int64_t now_us,
                         struct mq5_packet *packet);
static inline enum mq5_version broker_version(const struct cloud_connection *connection)
{
    return connection->flags & LINK_V5 ? MQ5_V5 : MQ5_V311;
}

/* alias.c */
/* Resolves (and learns) the topic of a publish; MQ5_SUCCESS or the reason to disconnect with. *pattern: of the topic, if it is one; then it may
 * be written to `room`, of PATTERN_TOPIC_BYTES. */
uint8_t broker_alias_resolve(struct cloud_broker *broker, struct cloud_connection *connection,
                             struct mq5_publish *publish, uint8_t *pattern, char *room);
/* 0: no alias. *known: the client has it already. */
uint16_t broker_alias_for(struct cloud_broker *broker, struct cloud_connection *connection, struct span topic,
                          bool *known);
void broker_alias_forget(struct cloud_broker *broker, struct cloud_connection *connection, uint16_t alias);
void broker_alias_free(struct cloud_broker *broker, struct alias_table *table);

/* local.c */
void broker_local_deliver(struct cloud_broker *broker, struct session *session, int64_t now_us,
                          const struct mq5_publish *publish);

#endif
