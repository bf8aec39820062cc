/* mutant.h: what a mutant is written with.
 *
 * A mutant is a broker that breaks one statement of the standard: our own core, and between it and the wire a filter that sees every packet in both
 * directions. A hook looks at a packet and says true (let it go on, as it stands or as it was edited) or false (the hook has dealt with it: nothing goes
 * on). An oddity is the same for what is unusual and allowed. The core knows nothing of it.
 *
 * Everything of one broker happens in one thread. What a hook gives to the core is taken when the core is done with what it is doing; memory
 * from scratch() lasts until then.
 */
#ifndef CONFORM_MUTANT_H
#define CONFORM_MUTANT_H

#include "cloud/broker.h"
#include "mqtt5/packet.h"
#include "mqtt5/topic.h"

struct served; /* a broker core behind a port of its own, and the mutant in front of it */

/* A packet on its way. */
struct seen {
    struct span bytes;
    enum mq5_status
        status; /* MQ5_OK: `packet` holds it; else the codec's word on it, and `bytes` may be all that has come */
    struct mq5_error error;   /* why not */
    uint8_t type;             /* of the first byte, whatever the status */
    struct mq5_packet packet; /* spans point into bytes */
};

struct link {
    struct link *next;
    struct served *served;
    uint32_t number; /* in the order of coming, from 1 */
    bool ghost;      /* the core knows nothing of it (any more): PINGREQ is answered, all else is swallowed */
    bool login_came, accepted, resumed; /* CONNECT; CONNACK 0x00; with Session Present */
    enum mq5_version version;
    struct mq5_connect login; /* as the client sent it */
    uint32_t in_flight;       /* PUBLISH of QoS 1 and 2 to the client that it has not acknowledged */
    uint32_t segment;         /* which one this packet came in */
    uint32_t n[4];            /* the mutant's own */
    uint8_t *ids;             /* the mutant's own: one for each packet identifier */
};

struct mutant {
    const char *name;      /* what is wrong, in a few words */
    const char *statement; /* NULL: an oddity */
    bool late; /* begins when the rig has found out what the broker can do: breaks what it would not get past */
    void (*options)(struct cloud_broker_options *options);
    bool (*in)(struct link *link, struct seen *seen);
    bool (*out)(struct link *link, struct seen *seen);
    bool (*closing)(struct link *link, enum cloud_close_reason reason); /* false: stays open, as a ghost */
    void (*lost)(struct link *link);                                    /* the client's end came, without DISCONNECT */
    const char *told; /* what the suite is told of it: "told" of its profile, JSON; NULL: DOOR_TOLD */
    /* What hooks shared by several mutants are told. */
    uint32_t types;   /* bits 1 << MQ5_PUBLISH ...; 0: all */
    const char *refs; /* of the codec, with blanks */
    uint32_t number;
    uint64_t property;
    uint32_t delay_ms, piece; /* of what goes to clients: how late, and in how many bytes at a time; 0: as it is */
};
const struct mutant *mutant_of(const struct link *link);

struct mutant_table {
    const struct mutant *list;
    uint32_t count;
};
#define MUTANT_TABLE(name, ...)                                                                                        \
    static const struct mutant name##_list[] = {__VA_ARGS__};                                                          \
    const struct mutant_table name = {name##_list, sizeof(name##_list) / sizeof(name##_list[0])};

/* ---- looking (verbs.c) ------------------------------------------------------------------------------------------------- */

/* Whole, legal and of this type. */
static inline bool is(const struct seen *seen, enum mq5_type type)
{
    return seen->status == MQ5_OK && seen->packet.type == type;
}
static inline bool has(const struct mq5_properties *properties, enum mq5_property property)
{
    return properties->present & MQ5_BIT(property);
}
struct mq5_properties *properties_of(struct seen *seen); /* NULL: a packet without */
bool contains(struct span text, const char *part);
bool starts_with(struct span text, const char *part);
/* The types and refs of the mutant fit this packet, which is no legal one. */
bool is_tolerated(const struct link *link, const struct seen *seen);

/* ---- changing ------------------------------------------------------------------------------------------------------------- */

void *scratch(struct served *served, size_t size); /* zeroed */
struct span scratch_text(struct served *served, const char *format, ...) __attribute__((format(printf, 2, 3)));
struct span scratch_copy(struct served *served, struct span bytes);
struct span encode(struct link *link, const struct mq5_packet *packet, const struct mq5_raw *raw);
/* seen->packet was changed: its bytes are made again. Returns true. */
bool edited(struct link *link, struct seen *seen);
bool edited_raw(struct link *link, struct seen *seen, const struct mq5_raw *raw);
/* The filters of a SUBSCRIBE or UNSUBSCRIBE as a list that can be changed; seen->packet.subscribe.list is it. */
struct mq5_subscription *filters_of(struct link *link, struct seen *seen);
/* The user properties as a list that can be changed. */
struct mq5_user_property *users_of(struct link *link, struct mq5_properties *properties);
void users_turned(struct link *link, struct mq5_properties *properties); /* last to first */
void without(struct mq5_properties *properties, enum mq5_property property);
/* A copy of the bytes, to be changed one by one. */
uint8_t *own_bytes(struct link *link, struct seen *seen);

/* ---- sending --------------------------------------------------------------------------------------------------------------- */

void to_client_bytes(struct link *link, struct span bytes);
void to_client(struct link *link, const struct mq5_packet *packet);
void ack_to_client(struct link *link, enum mq5_type type, uint16_t packet_id, uint8_t reason);
void to_core_bytes(struct link *link, struct span bytes);
void to_core(struct link *link, const struct mq5_packet *packet);
void ack_to_core(struct link *link, enum mq5_type type, uint16_t packet_id, uint8_t reason);
/* A message from nobody, to whoever subscribed. */
void route(struct served *served, const struct mq5_publish *publish);
/* A PUBLISH on its way to a client is not sent, and the core takes it for delivered. Returns false. */
bool swallow(struct link *link, const struct seen *seen);
/* Ends the connection from the broker's side, as if lost; what was sent goes out first. Returns false. */
bool hang_up(struct link *link);
/* CONNACK 0x00, and from now on a ghost. Returns false. */
bool accept_as_ghost(struct link *link);
void later(struct link *link, int64_t us, void (*act)(struct link *link, struct span bytes), struct span bytes);
/* A link of the same broker whose client has this id; NULL: none is connected. */
struct link *link_of(struct served *served, struct span client_id);
int64_t now_us(void);

/* ---- refusing (mutants_refused.c) ---------------------------------------------------------------------------------------- */

/* Logins, client ids, topics and filters that are not let through, and what the suite is told of them. */
#define REFUSED                                                                                                        \
    "{\"refused_user\": \"stranger\", \"refused_password\": \"guess\", \"refused_id\": \"stranger\","                  \
    " \"refused_topic\": \"forbidden\", \"refused_filter\": \"forbidden\"}"
bool refuse_some(struct link *link, struct seen *seen);

/* ---- remembering ------------------------------------------------------------------------------------------------------------- */

/* Things a broker's mutant knows by name: topics, clients. The kind is a letter, or any other number. */
struct note {
    struct note *next;
    int kind;
    struct span key, bytes;
    int64_t value;
};
struct note *note_find(struct served *served, int kind, struct span key);
struct note *note_make(struct served *served, int kind, struct span key); /* found, or new with 0 */
void note_bytes(struct note *note, struct span bytes);
void note_drop(struct served *served, int kind, struct span key);
/* "CLIENT/ID": for things by packet identifier that outlive a connection. */
struct span id_key(const struct link *link, uint16_t packet_id);
uint8_t *id_byte(struct link *link, uint16_t packet_id);

/* What clients have subscribed to, as they asked for it. */
struct subscribed {
    struct subscribed *next;
    struct span client_id, filter;
    struct mq5_subscription options; /* .filter is not to be used */
    uint32_t subscription_id;
};
struct subscribed *subscribed_find(struct served *served, struct span client_id, struct span filter);
struct subscribed *subscribed_first(struct served *served);
/* How many filters of this client match, shared ones not counted. */
uint32_t subscribed_matches(struct link *link, struct span topic);

/* ---- how one is authenticated (door.c) ------------------------------------------------------------------------------------ */

/* A method of enhanced authentication: DOOR_USER is asked for DOOR_PROOF, DOOR_AT_ONCE is let in. */
#define DOOR_METHOD  "mc5-test"
#define DOOR_USER    "somebody"
#define DOOR_PROOF   "somebody, truly"
#define DOOR_AT_ONCE "somebody we know"
#define DOOR_TOLD    "{\"auth_method\": \"" DOOR_METHOD "\", \"auth_data\": \"" DOOR_USER "|" DOOR_PROOF "\"}"

/* ---- the door (door.c) -------------------------------------------------------------------------------------------------------- */

struct doors; /* brokers and their ports, one thread */
struct doors *doors_create(void);
/* NULL: no port, no memory. */
struct served *doors_add(struct doors *doors, const struct mutant *mutant);
int served_port(const struct served *served);
uint32_t served_links(const struct served *served); /* so far */
void served_begin_again(struct served *served);     /* for a second run: links are counted from 0 */
/* How many links come before a late mutant begins. */
void doors_late_after(struct doors *doors, uint32_t links);
bool doors_run(struct doors *doors); /* begins the thread */
void doors_destroy(struct doors *doors);

/* Of verbs.c, for the door. */
struct memory *memory_create(void);
void memory_turn(struct memory *memory); /* scratch ends */
void memory_destroy(struct memory *memory);
void memory_note_in(struct link *link, const struct seen *seen);
void memory_note_done(struct link *link, const struct seen *seen); /* as it came, after the hook */
void memory_note_out(struct link *link, const struct seen *seen);
struct memory *served_memory(struct served *served);
const struct mutant *served_mutant(const struct served *served);

#endif
