/* vehicle/agent.h: the vehicle agent: the firmware's cloud side, the same code in a fleet of millions and in a real
 * TCU.
 *
 * Single-threaded per TCU; runs on a block of memory of the caller's; no I/O, no clock, no heap (but see memory_take
 * in vehicle/port.h, for platforms with very many vehicles). One struct tcu a
 * vehicle; what all vehicles of a kind have in common is in a shared, read-only struct tcu_profile.
 *
 * Life: power-up -> (no operational certificate: key, CSR, certificate broker, store) -> connect -> (refused while
 * the cloud registers the certificate: back off, come back) -> online: subscribe to commands, publish telemetry by
 * power state, answer commands.
 * Attempts follow exponential backoff with full jitter: wait uniform in [0, min(cap, base * 2^n)], n reset after the
 * connection stayed up for `stable_us`. The broker's name is resolved at each attempt (by the port).
 * A telemetry message is numbered when it is intended, queued until acknowledged, and sent in order. When the queue
 * is full the profile's rule drops the oldest unsent or the newest message, and says so through a probe. */
#ifndef VEHICLE_AGENT_H
#define VEHICLE_AGENT_H

#include "vehicle/port.h"

enum tcu_power { TCU_PARKED = 0, TCU_DRIVING = 1, TCU_POWER_STATES };
enum tcu_drop_rule { TCU_DROP_OLDEST, TCU_DROP_NEWEST };
enum tcu_provisioning { TCU_PROVISION_NONE, TCU_PROVISION_CERTIFICATE_BROKER, TCU_PROVISION_CLAIM };

/* Topics are templates: '%' stands for the thing name. */
struct tcu_topics {
    char telemetry[64];        /* "dt/%/telemetry" */
    char command_request[64];  /* filter subscribed to: "cmd/%/request" */
    char command_response[64]; /* where 3.1.1 answers go; MQTT 5 uses the request's response topic */
    /* "" or the will's topic, where the cloud cannot tell presence itself: retained "online"/"offline". */
    char presence[64];
    char reserved[32];   /* prefix of jobs and provisioning: "$aws/", or "convoy/%/"; "": the agent does no jobs */
    char active[64];     /* "": not said; "vehicleactive/%": announced after the first connect with a new certificate */
    char notices[64];    /* "": none subscribed to; "notice/%/": what comes on its kinds' topics, one level below */
    char deactivate[64]; /* "vehicle/%/certificate/deactivate": all but the certificate named are to be deactivated */
};

struct tcu_power_profile {
    uint16_t keep_alive_s;       /* how long the agent stays silent at most in this state */
    int64_t telemetry_period_us; /* 0: none */
    /* How long the broker is to keep the session of a vehicle that went in this state; 0: the profile's. Said with each CONNECT, and (MQTT 5) with the
     * DISCONNECT of one that says good-bye. */
    uint32_t session_expiry_s;
};

struct tcu_profile {
    struct mq5_client_config mqtt;
    struct tcu_power_profile power[TCU_POWER_STATES];
    uint32_t session_expiry_s;
    /* true: a new CONNECT carries the state's keep alive; false: CONNECT carries the longer one, pings follow the state's. */
    bool reconnect_on_power_change;
    enum tcu_provisioning provisioning;
    enum tcu_drop_rule drop_rule;
    uint16_t queue_capacity; /* telemetry messages kept until acknowledged */
    uint8_t telemetry_qos;
    uint8_t alias_slots; /* 0: no topic alias asked for */
    bool count_aliases;  /* TCU_PROBE_ALIAS is told */
    int64_t backoff_base_us, backoff_cap_us, stable_us;
    bool no_jitter; /* waits the whole window each time: what a firmware must not do */
    /* Power. Parked, the agent stays connected for so long after ignition off, then says good-bye (the session stays, as session_expiry_s says)
     * and sleeps: TCU_ASLEEP. 0: it never sleeps. Woken by SMS or by its own timer it connects, and sleeps again when nothing has come for
     * linger_us (0: 60 s), counted from when it is online. What wakes it for good is the ignition. Waking is worth a telemetry message at once,
     * and then one a period; asleep none is due. Commands, telemetry, a change of identity or an attempt under way hold it awake for at most 10
     * linger_us more online, 1 offline. */
    int64_t stay_connected_us, linger_us;
    int64_t wake_every_us; /* asleep: wakes by itself so often, by its own clock; 0: never */
    bool sealed_commands;  /* only sealed ones (cloud/keys.h) are taken; needs the port's unseal */
    bool
        executions; /* the commands feature (cloud-contract 8.2) too: reserved topics commands/things/<thing>/executions/... */
    bool no_jobs;         /* the reserved topics are for executions and shadow only */
    bool shadow;          /* keeps a Device Shadow; needs the port's shadow_set and shadow_state */
    char shadow_name[65]; /* "": the classic one */
    bool shadow_versions; /* updates say the version they are of: conflicts are refused (409), got and done again */
    int64_t connect_timeout_us; /* link and CONNACK together */
    /* Oldest unacknowledged message: after this the agent distrusts the connection and reconnects; 0: never. */
    int64_t acknowledge_timeout_us;
    int64_t http_timeout_us;
    /* Change of identity over MQTT, by job or by claim. A step without answer is repeated after the time-out, with the backoff above. */
    int64_t step_timeout_us; /* 0: 30 s */
    uint8_t switch_attempts; /* connects refused with the new certificate before going back to the old; 0: 3 */
    bool server_key;         /* claim: the cloud makes the key */
    char claim_template[37], rotation_template[37]; /* names of provisioning templates: "claim", "rotation" */
    struct tcu_topics topics;
    char firmware[24], schema[24], encoding[16]; /* user properties "fw", "schema", "enc" on each publish (MQTT 5) */
    char user_name[32], password[64];            /* "" absent; user_name "%" = the thing name */
    uint16_t telemetry_payload_max;              /* scratch needed to build one payload */
    /* Filled in by tcu_profile_prepare(); views of the texts above: a profile stays where it is. */
    struct mq5_user_property user[3];
    uint8_t user_count;
    uint8_t user_block_length; /* 0: they are given one by one */
    bool prepared;
    uint8_t user_block[MQ5_USER_BLOCK_MAX];
    uint8_t *scratch; /* shared by all TCUs of a thread; telemetry_payload_max + 512 bytes */
    size_t scratch_size;
};

#define TCU_NAME_MAX 40

struct tcu; /* opaque: see vehicle/agent/agent_internal.h */

/* Once, when everything but the scratch is filled in, and again after a change: works out what all vehicles of the profile share, the
 * parts of `mqtt` that are the agent's affair among it. */
void tcu_profile_prepare(struct tcu_profile *profile);

/* Bytes a vehicle needs on a platform: agent, MQTT session and, if the port has no memory_take, all queues. mqtt == NULL in tcu_init()
 * means the built-in session. */
size_t tcu_memory(const struct tcu_profile *profile, const struct tcu_port *port, bool builtin_session);
/* memory aligned to 64, kept as long as the TCU; `name` (thing name, client id) is copied. Nothing happens before
 * tcu_start(). */
struct tcu *tcu_init(void *memory, const struct tcu_profile *profile, const struct tcu_port *port, void *port_context,
                     const struct tcu_mqtt *mqtt, void *mqtt_context, struct span name);
/* Gives back what was taken by memory_take; nothing but tcu_init() may follow. */
void tcu_release(struct tcu *tcu);

/* Events, in any order the world produces them. */
/* Power-up: reads the store. A platform without memory for what is in it leaves the TCU off; it may be started again. */
void tcu_start(struct tcu *tcu, int64_t now_us, enum tcu_power power);
/* Clean shut-down: DISCONNECT; what is queued stays for a tcu_start() to follow. */
void tcu_stop(struct tcu *tcu, int64_t now_us);
/* All volatile state is gone; tcu_start() may follow. The world itself ends link, requests and executions under way. */
void tcu_power_cut(struct tcu *tcu);
void tcu_tick(struct tcu *tcu, int64_t now_us);
void tcu_ignition(struct tcu *tcu, int64_t now_us, bool on);
/* An SMS for this TCU, at most 140 bytes: wakes it; awake, it stays so for linger_us more, and makes the attempt it is waiting for now. "wake", or a sealed command (cloud/keys.h), which is taken as if it had come over MQTT. */
void tcu_sms(struct tcu *tcu, int64_t now_us, struct span text);
/* The battery while parked. LOW: sleeps now, whatever is under way, and is woken by SMS and ignition only. FINE again with the ignition. One
 * that never sleeps takes no notice. (Cut off: tcu_power_cut().) */
enum tcu_battery { TCU_BATTERY_FINE, TCU_BATTERY_LOW };
void tcu_battery(struct tcu *tcu, int64_t now_us, enum tcu_battery battery);
/* The car has brought about what shadow_set asked for, or could not. */
void tcu_shadow_done(struct tcu *tcu, int64_t now_us, bool success);
/* Something that the shadow reports has changed by itself (the driver locked the door). */
void tcu_shadow_changed(struct tcu *tcu, int64_t now_us);
uint64_t tcu_shadow_version(const struct tcu *tcu); /* the last one known; 0: none */
enum tcu_link_end {
    TCU_LINK_LOST,
    TCU_LINK_RESOLVE_FAILED,
    TCU_LINK_CONNECT_FAILED,
    TCU_LINK_TLS_FAILED,
    TCU_LINK_PEER_CLOSED,
};
void tcu_link_up(struct tcu *tcu, int64_t now_us);
void tcu_link_down(struct tcu *tcu, int64_t now_us, enum tcu_link_end why);
void tcu_bytes(struct tcu *tcu, int64_t now_us, const uint8_t *data, size_t length);
void tcu_csr_ready(struct tcu *tcu, int64_t now_us, struct span csr); /* empty: key generation failed */
void tcu_http_response(struct tcu *tcu, int64_t now_us, int status, struct span body); /* status 0: no answer */
void tcu_executed(struct tcu *tcu, int64_t now_us, uint32_t slot, bool success);

/* For struct tcu_mqtt implementations. */
void tcu_mqtt_event(struct tcu *tcu, int64_t now_us, const struct mq5_client_event *event);
bool tcu_mqtt_load(struct tcu *tcu, uint32_t token, struct mq5_publish *out);

/* Looking in. */
enum tcu_connection { TCU_OFF, TCU_PROVISIONING, TCU_WAITING, TCU_CONNECTING, TCU_ONLINE };
/* Of those TCU_WAITING: asleep, and woken only by tcu_sms(), tcu_ignition() or the wake timer. */
bool tcu_asleep(const struct tcu *tcu);
enum tcu_connection tcu_connection(const struct tcu *tcu);
enum tcu_power tcu_power(const struct tcu *tcu);
uint32_t tcu_telemetry_pending(const struct tcu *tcu);                        /* queued or in flight */
uint32_t tcu_telemetry_pending_number(const struct tcu *tcu, uint32_t index); /* of the index-th of them; 0: no such */
uint32_t tcu_telemetry_number(const struct tcu *tcu);                         /* highest number intended */
struct span tcu_name(const struct tcu *tcu);
const char *tcu_connection_name(enum tcu_connection state);
const char *tcu_step_name(enum tcu_step step); /* "certificate stored" */
/* A 64-bit hash of the state that matters (for digests). */
uint64_t tcu_state_hash(const struct tcu *tcu);

#endif
