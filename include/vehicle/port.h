/* vehicle/port.h: what the agent asks of the platform it runs on. One const table for all TCUs of a platform.
 *
 * The agent does no I/O and reads no clock: everything it wants leaves through these calls, everything it learns
 * comes back through the calls of vehicle/agent.h with the time as an argument. A port never calls back into the
 * agent from inside one of these calls, unless the comment says so.
 */
#ifndef VEHICLE_PORT_H
#define VEHICLE_PORT_H

#include "mqtt5/client.h"

/* Which identity the link shows to the other end. */
enum tcu_identity {
    TCU_NO_IDENTITY,
    TCU_ATTESTATION,
    TCU_OPERATIONAL, /* the first of two slots for an operational identity; one is in use, the other for the next */
    TCU_OPERATIONAL_SECOND, /* ... the second */
    TCU_CLAIM,              /* shared by a production lot, good for nothing but claiming an identity */
};

/* What is kept over a power cut. Values are opaque to the agent, at most TCU_STORE_MAX bytes. */
enum tcu_store_item {
    TCU_STORE_OPERATIONAL_CERTIFICATE,
    TCU_STORE_OPERATIONAL_KEY, /* written by the port itself: keys never pass through the agent */
    TCU_STORE_STATE,
    TCU_STORE_SECOND_CERTIFICATE,
    TCU_STORE_SECOND_KEY,
    TCU_STORE_ROTATION, /* how far a change of identity is; absent when none is under way */
    TCU_STORE_ITEMS
};
#define TCU_STORE_MAX 4096

/* Things the outside may want to see; also what measurement hangs on. */
enum tcu_probe_kind {
    TCU_PROBE_CONNECT_BEGIN, /* an attempt: resolve, link, CONNECT; number = attempts since last online */
    TCU_PROBE_ONLINE,        /* CONNACK 0; number = 1 if the session was resumed */
    TCU_PROBE_REFUSED,       /* reason: CONNACK's or time-out's; 0: none came, number = enum tcu_link_end */
    TCU_PROBE_OFFLINE,       /* an online link went, not a claiming one; reason (0: link lost without a word) */
    TCU_PROBE_KEY_READY,
    TCU_PROBE_CERTIFICATE_STORED,
    TCU_PROBE_PROVISIONING_FAILED, /* one attempt at the certificate broker failed; number = HTTP status or 0 */
    TCU_PROBE_PROVISIONED,         /* first accepted operational connect after provisioning */
    TCU_PROBE_TELEMETRY_INTENDED,  /* number, at_us */
    TCU_PROBE_TELEMETRY_SENT,      /* number; reason = 1 when resent with DUP */
    TCU_PROBE_TELEMETRY_ACKED,     /* number, at_us = intended; reason = PUBACK's */
    TCU_PROBE_TELEMETRY_DROPPED,   /* number; reason: 0 by the drop rule, else the enum mq5_client_result */
    TCU_PROBE_COMMAND_RECEIVED,    /* id = correlation data */
    TCU_PROBE_COMMAND_EXECUTED,    /* id; once per execution; reason = 1: it failed */
    TCU_PROBE_COMMAND_DUPLICATE,   /* id: seen again, answered from memory, not executed */
    TCU_PROBE_COMMAND_ANSWERED,    /* id */
    TCU_PROBE_POWER,               /* number = enum tcu_power */
    TCU_PROBE_STEP, /* a change of identity (rotation or claim) went one further: number = enum tcu_step; id = job id, if any */
    TCU_PROBE_ROTATION_ENDED, /* its job has ended, the cloud knows; reason: 0 on the new certificate, 1 back on the old; id = job id */
    TCU_PROBE_CLAIM_ONLINE, /* connected with the claim identity: not TCU_PROBE_ONLINE */
    TCU_PROBE_ASLEEP, /* said good-bye, if it was online, and sleeps; reason: enum tcu_wake of what it was awake for */
    TCU_PROBE_AWAKE, /* reason: enum tcu_wake. Only after ASLEEP: a power-up begins awake without a word, whatever was before the power cut */
    TCU_PROBE_COMMAND_REFUSED, /* not executed: reason: enum tcu_refusal; id, if it could be read */
    TCU_PROBE_SHADOW_DELTA,    /* told of a difference; number: the shadow's version */
    TCU_PROBE_SHADOW_REPORTED, /* an update was accepted; number: the shadow's version */
    TCU_PROBE_SHADOW_CONFLICT, /* ... refused with 409 */
    TCU_PROBE_NOTICE, /* the cloud tells something: number, at_us: until when it holds (wall; 0: for good), id: kind; reason: TCU_NOTICE_... */
    TCU_PROBE_ALIAS,  /* a message with a topic alias: number: bytes saved, or lost; reason: TCU_ALIAS_... */
};
#define TCU_PROBES (TCU_PROBE_ALIAS + 1)
/* LATE: its time is over, not shown; AGAIN: sent again after a lost acknowledgement; KEPT: a retained one. */
enum { TCU_NOTICE_LATE = 1, TCU_NOTICE_AGAIN = 2, TCU_NOTICE_KEPT = 4 };
enum { TCU_ALIAS_COST = 1, TCU_ALIAS_INBOUND = 2 };
enum tcu_wake { TCU_WAKE_IGNITION, TCU_WAKE_SMS, TCU_WAKE_TIMER, TCU_WAKE_POWER /* power-up while parked */ };
/* Why a command was not taken. */
enum tcu_refusal {
    TCU_REFUSED_NOTHING,
    TCU_REFUSED_UNREADABLE, /* no sealed command of this form, or not for this vehicle's key */
    TCU_REFUSED_FORGED,     /* not signed by the cloud's key */
    TCU_REFUSED_REPLAYED,   /* a sequence number used before for another id, or below the window */
    TCU_REFUSED_LATE,       /* its time is over */
    TCU_REFUSED_PLAIN,      /* not sealed, where only sealed ones are taken */
};

enum tcu_step {
    TCU_STEP_JOB,         /* its job document is in hand */
    TCU_STEP_KEY,         /* new key and request for a certificate */
    TCU_STEP_CERTIFICATE, /* new certificate stored */
    TCU_STEP_REGISTERED,  /* provision was granted */
    TCU_STEP_SWITCHED,    /* connected with it */
    TCU_STEP_DEACTIVATED, /* the cloud has the message to deactivate the others */
    TCU_STEP_REPORTED,    /* the job's end was accepted */
    TCU_STEP_ROLLED_BACK, /* the new one does not work: connected with the old one again */
    TCU_STEP_RESTARTED,   /* begun anew: an answer refused it, or the power went at the wrong moment */
    TCU_STEPS
};

struct tcu_probe {
    enum tcu_probe_kind kind;
    uint8_t reason;
    uint32_t number;
    int64_t at_us;
    struct span id; /* valid during the call */
};

struct tcu_http_request { /* to the certificate broker; spans valid during the call */
    enum tcu_identity identity;
    const char *path;         /* "/.well-known/est/simpleenroll" */
    const char *content_type; /* "application/pkcs10" */
    struct span body;
};

struct tcu_port {
    /* Links (used by the built-in session only; a platform whose MQTT client brings its own transport leaves them
     * NULL). link_open: resolve the broker's name anew, connect, TLS; answer later with tcu_link_up() or
     * tcu_link_down(). */
    void (*link_open)(void *context, enum tcu_identity identity);
    void (*link_send)(void *context, const uint8_t *data, size_t length); /* copies */
    void (*link_close)(void *context, bool abort); /* no tcu_link_down() follows; abort: cut, unsent bytes are lost */

    /* The one deadline: call tcu_tick() at or after it. TIME_NEVER: none. */
    void (*deadline)(void *context, int64_t at_us);

    uint32_t (*random)(void *context);
    /* Scenario or wall time for payloads: microseconds since 1970. */
    int64_t (*wall_us)(void *context, int64_t now_us);

    /* Identity. key_generate makes a fresh key pair for an operational slot and a CSR for `common_name` signed by it, and keeps
     * the key in that slot (not in use before a certificate is stored beside it): answer later with tcu_csr_ready(). http_request:
     * answer later with tcu_http_response(). A new call of either replaces what is under way: no answer to the
     * earlier one may follow. A key that is being made for a slot whose key is taken away meanwhile is not kept. */
    void (*key_generate)(void *context, enum tcu_identity slot, struct span common_name);
    void (*http_request)(void *context, const struct tcu_http_request *request);
    /* Durable when it returns; an empty value takes the item away. Certificates are written as they came (X.509 as DER, PEM or EST's answer);
     * false for one that the platform knows not to belong to the slot's key. Keys are written by the agent only when the cloud has made them (PEM). */
    bool (*store_write)(void *context, enum tcu_store_item item, struct span value);
    /* Length of the value, 0 if there is none. */
    size_t (*store_read)(void *context, enum tcu_store_item item, uint8_t *out, size_t capacity);

    /* May be NULL: the serial number its maker gave the TCU, for claiming; the name is used instead. Returns the length. */
    size_t (*device)(void *context, char *out, size_t capacity);

    /* The car. telemetry_body writes message `number`'s signals as JSON members (no braces), the same bytes each
     * time it is asked for the same number; returns the length. execute: do it, answer later with tcu_executed(). */
    size_t (*telemetry_body)(void *context, uint32_t number, int64_t intended_us, uint8_t *out, size_t capacity);
    void (*execute)(void *context, uint32_t slot, struct span command);

    /* The car's settings, for a shadow; may be NULL. shadow_set: bring about `wanted` (members of a JSON object, no braces); answer later with
     * tcu_shadow_done(). shadow_state: writes all that is reported, as members; returns the length. The
     * room is telemetry_payload_max and some 20 bytes: what is longer cannot be said. "command" is the agent's own member. */
    void (*shadow_set)(void *context, struct span wanted);
    size_t (*shadow_state)(void *context, char *out, size_t capacity);
    /* May be NULL: opens a sealed command: checks the signature, decrypts. Returns the length of id(8) and name; 0: *why. */
    size_t (*unseal)(void *context, struct span sealed, uint8_t *out, size_t capacity, enum tcu_refusal *why);
    /* May be NULL. The modem may sleep as deep as it likes (only SMS has to reach it), or is needed. At each change; of a TCU that sleeps
     * also at each power-up, when it is needed. */
    void (*radio)(void *context, bool needed);
    /* May be NULL: exact. Asleep there is only a clock that drifts: how long it really takes until that has counted wanted_us. */
    int64_t (*sleep_us)(void *context, int64_t wanted_us);

    /* May be NULL: the agent does not follow, and backs off. The server wants us elsewhere (DISCONNECT or CONNACK 0x9C: for now, 0x9D: for good):
     * the next link_open() is to go there. For now: until that server cannot be reached, say; how long is the platform's affair. The agent
     * comes at once the first time; sent on again before a connection has lasted a minute, it backs off. */
    void (*server_reference)(void *context, struct span reference, bool for_good);

    /* May be NULL. */
    void (*probe)(void *context, int64_t now_us, const struct tcu_probe *probe);
    /* May be NULL: sees each decoded inbound packet first, false swallows it (built-in session only). */
    bool (*inbound)(void *context, const struct mq5_packet *packet);
    /* Both or neither. NULL: a TCU has all its memory from the start (tcu_memory()). Else what is only needed at times (a queue of more
     * than one message, commands, a cut packet) is taken in blocks, aligned to 8, and given back when nothing is in them. take may
     * return NULL: then the drop rule applies, a command is answered "busy" or "rejected", a packet is refused. */
    void *(*memory_take)(void *context, size_t size);
    void (*memory_give)(void *context, void *block, size_t size);
};

/* The MQTT client the agent sits on: the built-in session over the port's links (vehicle/agent), or another library
 * (vehicle/ports). Outcomes come back through tcu_mqtt_event(); messages to send are asked for with tcu_mqtt_load().
 * */
struct tcu_mqtt {
    void (*connect)(void *mqtt, int64_t now_us, enum tcu_identity identity, const struct mq5_client_connect *connect);
    enum mq5_client_result (*publish)(void *mqtt, int64_t now_us, uint32_t token, uint8_t alias_slot);
    enum mq5_client_result (*subscribe)(void *mqtt, int64_t now_us, uint32_t token, const struct mq5_subscription *list,
                                        uint32_t count);
    void (*disconnect)(void *mqtt, int64_t now_us, uint8_t reason); /* with DISCONNECT, then the link is closed */
    void (*abort)(void *mqtt, int64_t now_us);                      /* without a word */
    /* Ping sooner than the negotiated keep alive; 0: as negotiated. These three may be NULL. */
    void (*ping_interval)(void *mqtt, int64_t now_us, uint16_t seconds);
    void (*tick)(void *mqtt, int64_t now_us);
    int64_t (*next_deadline)(void *mqtt);
};

#endif
