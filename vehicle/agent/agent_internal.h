/* agent_internal.h: one vehicle's memory, and what the agent's files ask of each other.
 *
 *   agent.c       events in, one deadline out; memory layout; what happens after every event
 *   connection.c  the only writer of the connection state; backoff, time-outs, keep alive
 *   identity.c    from nothing to an operational certificate
 *   telemetry.c   what is measured when, kept until acknowledged
 *   command.c     requests, at most one execution each, answers
 *   power.c       ignition, sleep and what wakes from it
 *   store.c       the few bytes that outlive a power cut
 *   session.c     struct tcu_mqtt on the session of vehicle/mqtt5
 *   text.c        numbers, topic templates, the command scanner
 *   jobs.c        what the cloud wants done, and telling it how it went
 *   rotation.c    a change of identity, by job or by claim, over power cuts
 *   request.c     what a change of identity asks of the cloud, repeated until answered
 *   notice.c      what the cloud tells of its own accord
 *   shadow.c      the vehicle's side of its Device Shadow
 *   json.c        members of objects, text with escapes
 *
 *   memory.c      what is reserved, what is taken when needed
 *
 * Memory: [struct tcu][struct mq5_client, or struct agent_other], and on a platform without memory_take behind it
 * [struct agent_recent][struct agent_slots][queue_capacity records][struct agent_more and
 * struct agent_rotation, if there may be need of them][struct agent_shadow, if it keeps one][the session's memory].
 */
#ifndef AGENT_INTERNAL_H
#define AGENT_INTERNAL_H

#include "vehicle/agent.h"

#define AGENT_SLOTS       4   /* commands between request and acknowledged answer */
#define AGENT_RECENT      8   /* command ids remembered with their outcome */
#define AGENT_TEXT_BYTES  192 /* topics, ids and names of the commands in the slots, packed */
#define AGENT_COMMAND_MAX 48
#define AGENT_TOPIC_MAX   128  /* expanded */
#define AGENT_FILTER_MAX  304  /* the longest: a named shadow's */
#define AGENT_SCRATCH     512  /* beside the payload's body: properties, topic, JSON around the body */
#define AGENT_REQUEST_MAX 1280 /* a request of a change of identity: a P-256 CSR as PEM is some 450 */
#define AGENT_TOKEN_MAX   512  /* ownership token */
#define AGENT_STATES      (TCU_ONLINE + 1)
#define AGENT_NO_RECENT   AGENT_RECENT
#define AGENT_SETTLED_US  US_PER_MIN /* online for so long: who is redirected now is so for the first time */

/* Tokens: telemetry's is its number; the top bit is for the rest. */
#define TOKEN_OTHER     UINT32_C(0x80000000)
#define TOKEN_ANSWER    (TOKEN_OTHER | 0x00) /* + slot */
#define TOKEN_DIRECT    (TOKEN_OTHER | 0x10)
#define TOKEN_PRESENCE  (TOKEN_OTHER | 0x20)
#define TOKEN_ABSENCE   (TOKEN_OTHER | 0x21)
#define TOKEN_SUBSCRIBE (TOKEN_OTHER | 0x30)
#define TOKEN_REQUEST   (TOKEN_OTHER | 0x100) /* + number of the request, a byte */
#define TOKEN_SHADOW    (TOKEN_OTHER | 0x200) /* ... of the shadow's */

/* Everything that can move the connection; the table in connection.c says what each does in each state. */
enum agent_event {
    AGENT_START,
    AGENT_STOP,
    AGENT_ATTEMPT,   /* wait is over, and there is an identity to connect with */
    AGENT_PROVISION, /* wait is over, and there is none */
    AGENT_TIMEOUT,
    AGENT_KEY_READY,
    AGENT_CERTIFIED,   /* certificate stored */
    AGENT_UNCERTIFIED, /* key generation, request or store failed */
    AGENT_LINK_UP,
    AGENT_LINK_DOWN,
    AGENT_ACCEPTED,
    AGENT_REFUSED,
    AGENT_DISCONNECTED, /* by DISCONNECT, protocol error or silence of the peer */
    AGENT_REDIRECTED,   /* to another server, which the port has been told */
    AGENT_DISTRUST,     /* acknowledgements are overdue */
    AGENT_RECONNECT,    /* new keep alive wanted */
    AGENT_SLEEP,        /* waiting from now on, with no end */
    AGENT_WAKE,         /* the wait is over now */
    AGENT_EVENTS,
};

enum agent_action {
    ACTION_IGNORE = 0, /* a late or repeated event from outside: nothing changes */
    ACTION_BROKEN,     /* only the agent itself raises this event, and never here */
    ACTION_STAY,       /* expected: whoever raised it goes on */
    ACTION_WAIT_NONE,
    ACTION_PROVISION,
    ACTION_OPEN,
    ACTION_ONLINE,
    ACTION_BACK_OFF,
    ACTION_RECONNECT,
    ACTION_STOP,
    ACTION_SLEEP,
};

struct agent_cell {
    uint8_t next, action;
};
extern const struct agent_cell agent_table[AGENT_STATES][AGENT_EVENTS];

/* Telemetry not yet acknowledged: a number and when it was meant. The payload is built each time it is sent. */
struct agent_record {
    int64_t intended_us;
    uint32_t number;
    uint32_t sent_at; /* in flight: see agent_stamp() */
};

enum agent_status {
    AGENT_UNKNOWN = 0, /* not executed yet */
    AGENT_SUCCEEDED,
    AGENT_FAILED,
    AGENT_REJECTED,
    AGENT_BUSY,
    AGENT_EXPIRED,
};

/* Which way a command came, and its answer goes. */
enum agent_origin { ORIGIN_TOPIC, ORIGIN_SHADOW, ORIGIN_EXECUTION /* the id is the execution's */ };

enum agent_slot_state { SLOT_FREE, SLOT_EXECUTING, SLOT_READY, SLOT_SENT };

struct agent_slot {
    int64_t wall_us; /* when the answer was known */
    uint32_t sent_at;
    uint8_t topic_length, id_length, command_length; /* in `text`, slot by slot in this order; topic 0: the profile's */
    uint8_t state : 2, status : 3, id_in_payload : 1;
    uint8_t recent;  /* whose outcome this is; AGENT_NO_RECENT */
    uint8_t origin;  /* enum agent_origin */
    uint8_t refusal; /* enum tcu_refusal */
};

/* Commands of the past, kept for good once there was one. */
struct agent_recent {
    uint64_t hash[AGENT_RECENT]; /* 0: unused */
    uint8_t status[AGENT_RECENT];
    uint8_t order[AGENT_RECENT]; /* places, the one begun or finished longest ago first */
};

/* Commands between request and acknowledged answer. */
struct agent_slots {
    struct agent_slot slot[AGENT_SLOTS];
    uint8_t busy, ready; /* counts */
    char text[AGENT_TEXT_BYTES];
};

/* An answer with its views, whether from a slot or straight from a request. */
struct agent_answer {
    struct span topic, id, command;
    enum agent_status status;
    bool id_in_payload;
    uint8_t origin, refusal;
    int64_t wall_us;
};

/* How far a change of identity is, as the store knows it. */
enum agent_phase { PHASE_NONE, PHASE_KEY, PHASE_ISSUED, PHASE_TRYING, PHASE_COMMITTED, PHASE_FAILED };

/* What is being done about it now; most are a request to the cloud. */
enum agent_step {
    DO_NOTHING, /* the block may go */
    DO_DESCRIBE,
    DO_START,
    DO_REJECT,
    DO_KEY, /* the platform makes one */
    DO_CREATE,
    DO_PROVISION,
    DO_SWITCH, /* connecting with the new certificate */
    DO_DEACTIVATE,
    DO_SUCCEED,
    DO_FAIL,
    DO_ANNOUNCE,
    DO_CLEAN, /* what is no longer needed is taken out of the store */
};

/* There only while jobs are asked for or an identity changes. */
struct agent_rotation {
    int64_t timer_us; /* the step is taken again then; TIME_NEVER: not before something happens */
    int64_t version;  /* of the job's execution */
    uint8_t phase, step;
    uint8_t tries;      /* of this step */
    uint8_t restarts;   /* of the whole */
    uint8_t refused;    /* connects with the new certificate */
    uint8_t serial;     /* of the request sent last */
    uint8_t target : 1; /* slot of the new certificate */
    uint8_t claim : 1;
    uint8_t due : 1;      /* the step is to be taken as soon as may be */
    uint8_t recorded : 1; /* PHASE_KEY is in the store */
    uint8_t again : 1;    /* begun before: there may be something in the slot */
    uint8_t told : 1;     /* that we are back on the old one */
    uint8_t rejection;    /* why, when DO_REJECT */
    uint8_t job_length, template_length, id_length;
    uint16_t text_length;
    char job[64], template[36], certificate_id[64];
    char text[AGENT_REQUEST_MAX]; /* the request's payload */
};

/* There where a shadow is kept, since the vehicle was online first. */
struct agent_shadow {
    int64_t timer_us; /* asked, not due: asked again then */
    int64_t get_us;   /* wanted: not asked before */
    int64_t pause_us; /* the car is not asked before for what it was asked for last */
    uint64_t version; /* the last one known */
    uint64_t handled; /* of the last difference handed to the car */
    uint32_t nonce;   /* of this power-up, in tokens */
    uint32_t wanted_hash;
    uint8_t asked, tries; /* shadow.c */
    uint8_t serial;       /* of the request sent last */
    uint8_t conflicts;    /* in a row */
    uint8_t rounds;       /* the car was asked for the same so often */
    uint8_t command_status, command_refusal;
    uint8_t due : 1, want_get : 1, want_report : 1;
    uint8_t setting : 1;       /* the car is at it */
    uint8_t held : 1;          /* ... and something newer is wanted */
    uint8_t command_known : 1; /* a command's end is to be reported */
    uint8_t command_sent : 1;  /* ... and is in the update under way */
    char command[16];          /* its id */
};

/* What few vehicles need, or seldom: there while something is in it, and all the time where the profile says that the vehicle sleeps or
 * keeps a shadow. */
struct agent_more {
    struct agent_rotation *rotation; /* NULL: no job, and the identity stays; agent_rotation() */
    struct agent_shadow *shadow;     /* NULL: keeps none, or no memory yet */
    uint64_t sealed_highest;         /* sequence of sealed commands; 0: none yet */
    uint64_t sealed_seen;            /* bit n: highest - n was taken */
    int64_t power_due_us; /* awake: falls asleep then, if nothing holds it; asleep: wakes; TIME_NEVER: neither */
    uint8_t asleep : 1;
    uint8_t awake_for : 3;   /* enum tcu_wake */
    uint8_t reached : 1;     /* online since it woke */
    uint8_t battery_low : 1; /* its own timer does not wake it */
};

/* 160 bytes, and a fleet has very many: what most vehicles do not need most of the time lies behind pointers. */
struct tcu {
    /* Read at every event. */
    const struct tcu_profile *profile;
    const struct tcu_port *port;
    void *port_context;
    int64_t deadline_us; /* as last told to the port */
    union {
        int64_t timer_us;        /* not online: end of the wait, or time-out of the attempt; agent_timer() */
        int64_t online_since_us; /* online: nothing is waited for */
    };
    int64_t telemetry_due_us;
    int64_t now_us;              /* of the event being handled */
    struct agent_recent *recent; /* NULL: no command yet */
    struct agent_slots *slots;   /* NULL: no command under way */
    struct agent_more *more;     /* NULL: nothing of that */
    union {                      /* telemetry not yet acknowledged */
        struct agent_record one;
        struct agent_record *queue; /* queue_capacity > 1 */
    };
    uint32_t number;   /* last telemetry message intended */
    uint32_t attempts; /* since last online */
    uint16_t queue_head, queue_count, queue_inflight;
    uint16_t queue_capacity; /* as it is now; the profile's is the most */
    uint8_t state;           /* enum tcu_connection; written by agent_enter() only */
    uint8_t depth : 7;       /* calls into the agent on the stack */
    uint8_t redirected : 1;  /* to another server, and no connection has lasted since */
    uint8_t backoff;
    uint8_t numbers_left; /* the store promises never to use again so many numbers behind `number` */
    uint8_t name_length : 6;
    uint8_t second : 1;        /* the identity in use is in the second slot */
    uint8_t want_rotation : 1; /* ask for jobs, or claim an identity */
    uint8_t power : 1;         /* enum tcu_power */
    uint8_t peer_qos : 2;
    uint8_t identity : 3; /* enum tcu_identity of the link */
    uint8_t builtin : 1;  /* the built-in session, else struct agent_other */
    uint8_t on_demand : 1;
    uint8_t direct : 1; /* command.c: in the scratch there is the answer behind TOKEN_DIRECT, during one publish */
    uint8_t awaiting_http : 1, fresh_certificate : 1, has_certificate : 1, loaded : 1;
    uint8_t session_kept : 1;  /* the server may hold our session, says the store */
    uint8_t session_known : 1; /* ... and we hold our half of it */
    uint8_t sending : 1;       /* telemetry.c: inside the first publish of a message */
    uint8_t blocked : 1;       /* telemetry.c: the session said wait, and nothing in flight has ended since */
    uint8_t want_subscribe : 1, subscribe_sent : 1, subscribed : 1;
    uint8_t want_presence : 1, presence_sent : 1;
    uint8_t link_opened : 1; /* session.c: the port has a link, or is making one */
    uint8_t in_session : 1;  /* session.c: inside the MQTT session */
    char name[TCU_NAME_MAX];
};

/* Another library's MQTT client. */
struct agent_other {
    const struct tcu_mqtt *mqtt;
    void *context;
};

static inline struct mq5_client *agent_session(const struct tcu *tcu)
{
    return (struct mq5_client *)(uintptr_t)(tcu + 1);
}

static inline struct agent_other *agent_other(const struct tcu *tcu)
{
    return (struct agent_other *)(uintptr_t)(tcu + 1);
}

static inline struct agent_rotation *agent_rotation(const struct tcu *tcu)
{
    return tcu->more ? tcu->more->rotation : NULL;
}

/* Telemetry record at a position, the oldest first. */
static inline struct agent_record *agent_record(const struct tcu *tcu, unsigned position)
{
    if (tcu->queue_capacity == 1)
        return (struct agent_record *)(uintptr_t)&tcu->one;
    unsigned at = tcu->queue_head + position;
    return &tcu->queue[at < tcu->queue_capacity ? at : at - tcu->queue_capacity];
}

/* Send times are kept in 2^-16 s-like units of 65,536 us, rounded up: four bytes last for nine years. */
static inline uint32_t agent_stamp(int64_t now_us)
{
    return (uint32_t)((uint64_t)now_us >> 16) + 1;
}

static inline int64_t agent_unstamp(uint32_t stamp)
{
    return (int64_t)stamp << 16;
}

static inline int64_t agent_min(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* End of the wait or time-out of the attempt; online there is neither. */
static inline int64_t agent_timer(const struct tcu *tcu)
{
    return tcu->state == TCU_ONLINE ? TIME_NEVER : tcu->timer_us;
}

static inline enum tcu_identity agent_slot_identity(bool second)
{
    return second ? TCU_OPERATIONAL_SECOND : TCU_OPERATIONAL;
}

static inline bool agent_claiming(const struct tcu *tcu)
{
    return tcu->identity == TCU_CLAIM;
}

static inline bool agent_v5(const struct tcu *tcu)
{
    return tcu->profile->mqtt.version == MQ5_V5;
}

/* agent.c. Around everything that comes from outside; the outermost end() sends and tells the deadline. */
void agent_settle(struct tcu *tcu);
/* tcu_mqtt_load() into an `out` that says nothing yet. */
bool agent_load(struct tcu *tcu, uint32_t token, struct mq5_publish *out);
static inline void agent_begin(struct tcu *tcu, int64_t now_us)
{
    tcu->depth++;
    tcu->now_us = now_us;
}
static inline void agent_end(struct tcu *tcu)
{
    if (tcu->depth == 1)
        agent_settle(tcu);
    tcu->depth--;
}
void agent_probe(struct tcu *tcu, enum tcu_probe_kind kind, uint8_t reason, uint32_t number, int64_t at_us,
                 struct span id);
static inline void agent_tell(struct tcu *tcu, enum tcu_probe_kind kind, uint8_t reason, uint32_t number)
{
    if (tcu->port->probe)
        agent_probe(tcu, kind, reason, number, 0, (struct span){NULL, 0});
}

/* connection.c. enter: false when the event means nothing in this state. detail: what the event's probe wants to
 * say. */
bool agent_enter(struct tcu *tcu, enum agent_event event, uint8_t reason, uint32_t detail);
void agent_timer_run(struct tcu *tcu);
/* Uniform in [0, min(cap, base * 2^exponent)]. */
int64_t agent_jitter(struct tcu *tcu, unsigned exponent);
void agent_connection_pump(struct tcu *tcu);
/* When the oldest message in flight will have been unacknowledged for too long on this connection. */
int64_t agent_distrust_after(const struct tcu *tcu);
static inline int64_t agent_distrust_at(const struct tcu *tcu)
{
    bool waiting = tcu->queue_inflight > 0 || tcu->slots || (tcu->subscribe_sent | tcu->presence_sent);
    return waiting ? agent_distrust_after(tcu) : TIME_NEVER;
}

void agent_keep_alive_changed(struct tcu *tcu);
uint32_t agent_session_expiry(const struct tcu *tcu); /* in the power state it is in; 0: the session ends with the link */
/* Everything the CONNECT says; `buffer` (AGENT_CONNECT_BYTES) and `will` hold what it points to. */
#define AGENT_CONNECT_BYTES (AGENT_TOPIC_MAX + 8)
void agent_connect_fill(struct tcu *tcu, struct mq5_client_connect *connect, struct mq5_publish *will, char *buffer);
void agent_presence_load(struct tcu *tcu, uint32_t token, struct mq5_publish *out);
void agent_subscribed(struct tcu *tcu, bool granted);

/* identity.c */
void agent_identity_load(struct tcu *tcu);
bool agent_identity_ready(const struct tcu *tcu);
void agent_identity_begin(struct tcu *tcu);
void agent_identity_accepted(struct tcu *tcu);
enum tcu_identity
agent_identity_wanted(const struct tcu *tcu); /* which the next link is to show, and this one to have */

/* rotation.c */
bool agent_rotation_load(struct tcu *tcu);                        /* power-up; false: no memory */
void agent_rotation_begin(struct tcu *tcu, struct span template); /* the job's id and version are in the block */
void agent_rotation_resume(struct tcu *tcu);                      /* the job found in the store is still wanted */
void agent_rotation_drop(struct tcu *tcu);                        /* ... is wanted no more */
void agent_rotation_reported(struct tcu *tcu);
void agent_rotation_online(struct tcu *tcu);
void agent_rotation_refused(struct tcu *tcu, enum agent_event event, uint8_t reason, uint32_t link_end);
void agent_rotation_settle(
    struct tcu *tcu); /* goes on, as far as it may; gives the block back when there is nothing to do */
bool agent_rotation_csr(struct tcu *tcu, struct span csr);                             /* true: it was for us */
void agent_rotation_answered(struct tcu *tcu, struct span topic, struct span payload); /* topic without the prefix */
void agent_rotation_acknowledged(struct tcu *tcu);

/* jobs.c: topics behind "things/<name>/jobs/". */
void agent_jobs_heard(struct tcu *tcu, struct span topic, struct span payload);

/* request.c. enter: another step, its request is built. later: the same step again, after a wait. */
void agent_step_enter(struct tcu *tcu, enum agent_step step);
void agent_step_later(struct tcu *tcu);
/* The same with a request of the caller's: CSR, token. false: it is too long. */
bool agent_request_create(struct tcu *tcu, struct span csr);
bool agent_request_provision(struct tcu *tcu, struct span token);
void agent_request_send(struct tcu *tcu);
bool agent_request_load(struct tcu *tcu, uint32_t token, struct mq5_publish *out);
void agent_request_published(struct tcu *tcu, uint32_t token, uint8_t reason);
void agent_request_dropped(struct tcu *tcu, uint32_t token);
/* true: it came on a reserved topic, and nobody else need look at it. */
bool agent_request_message(struct tcu *tcu, const struct mq5_publish *publish);
/* What to subscribe to for answers and notifications; empty: nothing. `out` holds AGENT_TOPIC_MAX bytes. */
struct span agent_request_filter(const struct tcu *tcu, char *out);

static inline bool agent_does_jobs(const struct tcu *tcu)
{
    return tcu->profile->topics.reserved[0] && !tcu->profile->no_jobs;
}

/* shadow.c. settle: asks what is to be asked, if it may. */
bool agent_shadow_kept(const struct tcu *tcu); /* the profile and the port say so */
bool agent_shadow_busy(const struct tcu *tcu);
#define AGENT_SHADOW_FILTERS 3
struct span agent_shadow_filter(const struct tcu *tcu, unsigned which,
                                char *out); /* out holds AGENT_FILTER_MAX bytes */
void agent_shadow_online(struct tcu *tcu, bool resumed);
void agent_shadow_settle(struct tcu *tcu);
int64_t agent_shadow_deadline(const struct tcu *tcu);
bool agent_shadow_load(struct tcu *tcu, uint32_t token, struct mq5_publish *out);
void agent_shadow_dropped(struct tcu *tcu, uint32_t token);
/* Topic without the prefix; true: it is the shadow's. */
bool agent_shadow_heard(struct tcu *tcu, struct span topic, struct span payload);
void agent_shadow_executed(struct tcu *tcu,
                           const struct agent_answer *answer); /* a command of the shadow's has ended */

/* notice.c */
struct span agent_notice_filter(const struct tcu *tcu, char *out);             /* out holds AGENT_TOPIC_MAX bytes */
bool agent_notice_message(struct tcu *tcu, const struct mq5_publish *publish); /* true: it was one */
void agent_alias_used(struct tcu *tcu, bool known, bool inbound, uint32_t topic_length);

/* json.c */
enum agent_json { AGENT_JSON_BAD, AGENT_JSON_NONE, AGENT_JSON_FOUND };
/* BAD: no whole object. value: as it is written, with quotes and brackets. */
enum agent_json agent_json_member(struct span object, const char *name, struct span *value);
/* All members of a whole object, without its braces; those but one, copied. false: no object, or no room. */
struct span agent_json_members(struct span object);
bool agent_json_without(struct span object, const char *name, char *out, size_t capacity, size_t *length);
bool agent_json_text(struct span value, void *out, size_t capacity, size_t *length); /* false: no string, or too long */
bool agent_json_is(struct span value, const char *text);
static inline bool agent_json_is_true(struct span value)
{
    return span_equal(value, SPAN_LITERAL("true"));
}
bool agent_json_number(struct span value, int64_t *number); /* whole, not negative; also in quotes */
/* Writers return the end, NULL when it does not fit or `at` is NULL already. */
char *agent_json_quote(char *at, const char *end, struct span text);
char *agent_json_put(char *at, const char *end, const char *text);

/* telemetry.c */
void agent_telemetry_schedule(struct tcu *tcu);
void agent_telemetry_run(struct tcu *tcu);
void agent_telemetry_pump(struct tcu *tcu);
void agent_telemetry_published(struct tcu *tcu, uint32_t number, uint8_t reason);
void agent_telemetry_dropped(struct tcu *tcu, uint32_t number);
bool agent_telemetry_load(struct tcu *tcu, uint32_t number, struct mq5_publish *out);
/* Stamp; 0: nothing in flight. */
static inline uint32_t agent_telemetry_oldest_sent(const struct tcu *tcu)
{
    return tcu->queue_inflight > 0 ? agent_record(tcu, 0)->sent_at : 0;
}

/* command.c */
void agent_command_message(struct tcu *tcu, const struct mq5_publish *publish);
void agent_command_pump(struct tcu *tcu);
void agent_command_published(struct tcu *tcu, uint32_t token);
void agent_command_dropped(struct tcu *tcu, uint32_t token);
bool agent_command_load(struct tcu *tcu, uint32_t token, struct mq5_publish *out);
uint32_t agent_command_oldest_sent(const struct tcu *tcu);
/* The other ways: id of 16 hexadecimal digits; a sealed one; topic behind "executions/". */
void agent_command_shadow(struct tcu *tcu, struct span id, struct span name, bool over);
void agent_command_sms(struct tcu *tcu, struct span sealed);
void agent_command_execution(struct tcu *tcu, struct span topic, const struct mq5_publish *publish);
struct span agent_command_execution_filter(const struct tcu *tcu, char *out); /* out holds AGENT_FILTER_MAX bytes */
const char *agent_status_name(enum agent_status status);
const char *agent_refusal_name(enum tcu_refusal refusal);

/* power.c: nothing here does anything for a profile that does not sleep. */
bool agent_power_start(struct tcu *tcu); /* begins awake; false: no memory */
void agent_power_stop(struct tcu *tcu);
void agent_power_tick(struct tcu *tcu);   /* wakes, if it is time */
void agent_power_settle(struct tcu *tcu); /* falls asleep, if it is time and nothing holds it */
void agent_power_online(struct tcu *tcu);
void agent_power_stay(struct tcu *tcu); /* something came: awake for linger_us more at least */
int64_t agent_power_next_deadline(const struct tcu *tcu);

/* store.c */
bool agent_store_load(struct tcu *tcu);
bool agent_store_save(struct tcu *tcu);

/* memory.c. need: the block, taken now if there is none; NULL: no memory. */
struct agent_recent *agent_recent_need(struct tcu *tcu);
struct agent_slots *agent_slots_need(struct tcu *tcu);
struct agent_more *agent_more_need(struct tcu *tcu);
void agent_more_settle(struct tcu *tcu); /* gives it back when there is nothing in it */
struct agent_rotation *agent_rotation_need(struct tcu *tcu);
void agent_rotation_give(struct tcu *tcu);
struct agent_shadow *agent_shadow_need(struct tcu *tcu);
bool agent_queue_room(struct tcu *tcu); /* false: the queue is as long as it may be, or as there is memory for */
void agent_memory_init(struct tcu *tcu);
void agent_memory_settle(struct tcu *tcu); /* gives back what is empty */
void agent_memory_release(struct tcu *tcu);

/* session.c: struct tcu_mqtt, by the built-in session or another library. */
extern const struct mq5_client_ops agent_session_ops;
uint32_t agent_session_stream_bytes(const struct tcu_profile *profile);
uint32_t agent_session_alias_bytes(const struct tcu_profile *profile);
void agent_session_init(struct tcu *tcu, void *memory); /* NULL: on demand */
void agent_session_link_up(struct tcu *tcu);
void agent_session_link_down(struct tcu *tcu);
void agent_session_input(struct tcu *tcu, const uint8_t *data, size_t length);
void agent_mqtt_connect(struct tcu *tcu);
enum mq5_client_result agent_mqtt_publish(struct tcu *tcu, uint32_t token, uint8_t alias_slot);
enum mq5_client_result agent_mqtt_subscribe(struct tcu *tcu, uint32_t token, const struct mq5_subscription *list,
                                            uint32_t count);
void agent_mqtt_disconnect(struct tcu *tcu, uint8_t reason);
void agent_mqtt_abort(struct tcu *tcu);
void agent_mqtt_ping_interval(struct tcu *tcu, uint16_t seconds);
void agent_mqtt_tick(struct tcu *tcu);
int64_t agent_other_next_deadline(const struct tcu *tcu);
static inline int64_t agent_mqtt_next_deadline(const struct tcu *tcu)
{
    return tcu->builtin ? mq5_client_next_deadline(agent_session(tcu)) : agent_other_next_deadline(tcu);
}
/* The topic behind this slot need not be said again. */
static inline bool agent_mqtt_alias_known(const struct tcu *tcu, uint8_t alias_slot)
{
    return tcu->builtin && mq5_client_alias_known(agent_session(tcu), alias_slot);
}

/* text.c: writers return the end; the caller has the room, for a number at least 27 bytes, some of them behind its end. */
char *agent_text_number(char *out, int64_t number);
static inline char *agent_text_copy(char *out, struct span text)
{
    if (text.length > 0)
        memcpy(out, text.data, text.length);
    return out + text.length;
}
#define agent_text_literal(out, text) ((char *)memcpy((out), (text), sizeof(text) - 1) + sizeof(text) - 1)
/* Replaces each '%' by the name; at most AGENT_TOPIC_MAX bytes. */
struct span agent_text_expand(const char *pattern, struct span name, char *out);
/* Finds "command" and "id" in a flat JSON object, or takes bare text as the command. Both empty when it is neither. */
void agent_text_command(struct span payload, struct span *command, struct span *id);

#endif
