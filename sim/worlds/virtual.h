/* virtual.h: the virtual world's own structures. Partition p of P holds the vehicles v with v % P == p and the cloud instance that serves
 * them, in a heap of its own; it is the unit of everything: it runs alone for as long as nobody can tell it anything (to the
 * next entry of the timeline, an hour at most), so its memory stays in the processor's cache; it is what a rank is given and what a
 * replay runs again. P follows from the fleet's size alone, so the number of ranks cannot show in a result.
 *
 * All state that a run changes is reachable from struct virtual_world and lies in heaps (memory.h): that is the checkpoint.
 */
#ifndef WORLDS_VIRTUAL_H
#define WORLDS_VIRTUAL_H

#include "fleet_identity.h"
#include "fleet_network.h"
#include "fleet_remote.h"
#include "fleet_shadow.h"

#include "memory.h"
#include "sim/engine.h"
#include "sim/group.h"

#include <stdalign.h>

enum virtual_class { EVENT_STEP, EVENT_UP, EVENT_DOWN, EVENT_LIFE, EVENT_AGENT, EVENT_CLOUD, EVENT_SCRIPT };

struct segment { /* bytes under way in one direction of one link */
    struct segment *next;
    int64_t arrival_us;
    uint32_t length;
    bool end; /* the sender has closed: nothing follows */
    uint8_t data[];
};

struct virtual_link {                /* a transport connection; lives until both ends have let go of it */
    struct virtual_vehicle *vehicle; /* NULL: no link, but a processor's connection (virtual_messages.c) */
    struct virtual_link *next;       /* older ones of the same vehicle */
    struct cloud_connection *connection;
    struct segment *last[2];        /* rings: the newest, whose next is the oldest; NULL: nothing under way */
    struct store_item *certificate; /* shown in the handshake; NULL: none */
    uint8_t tls;                    /* as struct link_setup says */
    bool vehicle_open, broker_open;
    bool dead;      /* the network has forgotten it: nothing arrives any more, at either end */
    bool resets;    /* ... and answers the vehicle with a reset */
    uint8_t region; /* where regions have a cloud each: whose broker is at the other end */
    struct cloud_certificate
        proven[]; /* of runs with real cryptography: one, what the handshake made of the certificate */
};

enum step_kind {
    STEP_POWER_UP,
    STEP_LINK_UP,
    STEP_LINK_FAILED,
    STEP_CSR,
    STEP_HTTP_AT_SERVER,
    STEP_HTTP_REPLY,
    STEP_EXECUTED,
    STEP_POWER_BACK,
    STEP_COMMAND, /* a script's command from another partition */
    STEP_RESOLVE_FAILED,
    STEP_TLS_FAILED,
    STEP_RESET, /* of a connection that the network has forgotten */
    STEP_SMS,
    STEP_BATTERY, /* the battery is looked at */
    /* virtual_regions.c, virtual_moves.c */
    STEP_ARRIVE,    /* the car is on another continent; data: struct region_journey */
    STEP_SERVICE,   /* its owner asks for a first command there */
    STEP_SEND_HOME, /* the region that took it over sends it home */
    STEP_TURN,      /* of its wave: it belongs to the other broker; slot: the region's number */
    STEP_SETTLED,   /* ... and should have got there */
    STEP_SHADOW     /* settings are changed, by users or in the car */
};

struct step { /* something a vehicle waits for */
    struct step *next;
    int64_t at_us;
    uint32_t slot; /* attempt number; execution slot; HTTP status */
    uint16_t length;
    uint8_t request; /* of CSR and HTTP steps: which request of the vehicle this answers */
    uint8_t kind;    /* enum step_kind */
    uint8_t tls;
    uint8_t region; /* of LINK_UP: the one that its name was resolved to */
    uint8_t data[]; /* of LINK_UP: its phases, int64_t[3] */
};

struct store_item { /* shared by the vehicle's store and the links that showed it */
    uint16_t length : 15;
    uint16_t packed : 1; /* a modelled certificate in its compact form; length is the form's */
    uint16_t holders;
    uint8_t data[];
};

/* Followed in memory by the vehicle's agent (struct tcu): three cache lines, then the agent's. */
struct virtual_vehicle {
    alignas(64) struct partition *partition;
    struct sim_deadline agent, life;
    struct virtual_link *links; /* the newest first; it alone may still be the vehicle's */
    struct step *steps;
    struct link_state radio;
    struct fleet_life day;
    struct store_item *certificate, *state;
    struct fleet_trace trace;
    uint16_t keys;
    uint32_t local : SIM_ENTITY_BITS; /* in the partition: the event's entity */
    uint32_t covered : 1;
    uint32_t radio_draws, agent_draws;
    uint16_t faults;
    uint8_t attempts, requests; /* tell late answers from awaited ones */
};
_Static_assert(sizeof(struct virtual_vehicle) == 192, "three cache lines");

/* Per vehicle where identities are looked after: what its store holds beyond a certificate and a state. */
struct virtual_identity {
    struct fleet_identity fleet;
    struct store_item *second, *rotation, *server_key;
    struct store_item *removed; /* the certificate it had before: replaced, or gone with its TCU */
};

/* Per vehicle of runs with real cryptography: keys in PKCS#8, certificates in DER. */
struct virtual_keys {
    struct store_item *slot[2];                       /* of the operational identities; a thief's: the first */
    struct store_item *removed;                       /* with virtual_identity.removed */
    struct store_item *attestation, *attestation_key; /* made when they are first shown */
};

#define VIRTUAL_BUSES           18
#define VIRTUAL_CERTIFICATE_MAX 1024
#define VIRTUAL_KEY_MAX         256
struct partition {
    struct virtual_world *world;
    struct memory_heap *heap;
    uint32_t number, count;
    uint8_t *vehicles; /* world->stride bytes each */
    struct sim_queue *queue;
    struct cloud cloud;
    struct cloud_pki *pki;
    struct cloud_registry *registry;
    struct cloud_commands *commands;
    struct cloud_bus *buses[VIRTUAL_BUSES];
    uint32_t bus_count;
    uint32_t messages;                   /* sent to other partitions */
    struct virtual_identity *identities; /* by vehicle; NULL: nobody looks after them */
    struct fleet_identity_hooks hooks;
    struct virtual_keys *keys;       /* by vehicle; NULL: modelled cryptography */
    struct fleet_parking *parkings;  /* by vehicle; NULL: nothing of it in this scenario */
    struct virtual_messages *hall;   /* NULL: no processors { }, no notices */
    struct fleet_network *networks;  /* by vehicle; NULL: nothing of it in this scenario */
    struct fleet_orders orders;      /* remote == NULL: commands go through `commands` */
    struct virtual_regions *regions; /* a cloud for each region (virtual_regions.h); NULL: the one below serves all */
    struct fleet_shadow *shadows;    /* by vehicle; NULL: cars have no settings */
    struct fleet_shadows users;      /* of the settings */
    int64_t resolver_until_us, certificate_until_us; /* troubles of the cloud that a script has made */
    struct store_item *claim, *claim_key; /* certificate of the production lot; its key: NULL when modelled */
    struct virtual_vehicle *died;         /* its power went inside the event that is being handled */
    struct sim_deadline cloud_deadline;
    struct sim_random cloud_random;
    struct sim_digest digest;
    struct cloud_peer peer;              /* lent to a hook of the broker while it runs */
    const struct store_item *peer_shown; /* of whose certificate `peer` tells; NULL: of none */
    uint8_t peer_certificate[VIRTUAL_CERTIFICATE_MAX];
    int64_t now_us, outage_until_us;
    int64_t done_us; /* everything before this has happened */
    uint64_t events;
    uint64_t link_bytes, segment_bytes, step_bytes, store_bytes, extra_bytes; /* in use now */
};

/* on_event runs in one place, with the first partition, as a service of the cloud would: what happens to a vehicle reaches it, and its
 * commands reach the vehicles, one network latency later. So all events come in one order whatever the number of ranks. */
enum { MESSAGE_EVENT, MESSAGE_COMMAND };
struct script_news { /* data of a MESSAGE_EVENT; waiting in a list in the order of their times */
    struct script_news *next;
    int64_t at_us;
    uint32_t vehicle;
    uint16_t cohort;
    char event[16];
};

#define VIRTUAL_NOTES (WORLD_NOTES - 4) /* room for what the world itself notes of its processes */
struct virtual_world {
    struct fleet fleet;
    const struct scenario *scenario;
    struct memory_heap *heap;      /* of everything that is no partition's */
    struct partition **partitions; /* those of this rank: numbers rank, rank + size, ... */
    uint32_t partition_count;      /* of all ranks */
    uint32_t held;                 /* by this rank */
    uint32_t stride;               /* bytes from vehicle to vehicle */
    int64_t now_us;                /* at barriers */
    int64_t *timeline_next_us;
    int64_t lookahead_us;                 /* 0: partitions cannot tell each other anything */
    struct partition *running;            /* NULL at a barrier */
    struct partition *acting;             /* at a barrier: on whose vehicles a script acts */
    struct script_news *news, *last_news; /* for on_event, the oldest first */
    struct world_actions actions;
    int64_t *acted; /* what each scripted action returned, in order: a replay answers the same */
    uint32_t acted_count, acted_capacity;
    char (*notes)[sizeof(
        (struct world_result){0}.notes[0])]; /* of scripts so far, VIRTUAL_NOTES of them; a checkpoint keeps them */
    uint32_t note_count;
    bool out_of_memory;
    /* Of this process, not of the run: set again after a checkpoint is loaded. */
    const struct world_options *options;
    struct world_result *result;
    struct sim_group *group;
    struct sim_exchange *exchange;
    struct virtual_vehicle *traced; /* replay: whose life is told; NULL: nobody's */
    uint32_t next_acted;            /* replay: actions of scripts so far */
    int64_t next_checkpoint_us;
    struct cloud_pki *pki; /* real, of all partitions of all ranks; NULL: each partition has a modelled one */
};

static inline uint32_t vehicle_index(const struct virtual_vehicle *vehicle)
{
    const struct partition *partition = vehicle->partition;
    return vehicle->local * partition->world->partition_count + partition->number;
}

/* The connection the vehicle itself holds; NULL: none. */
static inline struct virtual_link *vehicle_link(const struct virtual_vehicle *vehicle)
{
    return vehicle->links && vehicle->links->vehicle_open ? vehicle->links : NULL;
}

static inline struct tcu *vehicle_tcu(struct virtual_vehicle *vehicle)
{
    return (struct tcu *)(vehicle + 1);
}

static inline struct virtual_vehicle *partition_vehicle(const struct partition *partition, uint32_t local)
{
    return (struct virtual_vehicle *)(partition->vehicles + (size_t)local * partition->world->stride);
}

static inline const struct scenario_cohort *vehicle_cohort(const struct virtual_vehicle *vehicle)
{
    return &vehicle->partition->world->scenario->cohorts[vehicle->trace.cohort];
}

int64_t virtual_region_latency(const struct virtual_vehicle *vehicle);
static inline int64_t vehicle_latency(const struct virtual_vehicle *vehicle)
{
    if (__builtin_expect(vehicle->partition->regions != NULL, 0))
        return virtual_region_latency(vehicle);
    return vehicle->partition->world->scenario->regions[vehicle->trace.region].latency_us;
}

/* A stream per vehicle and purpose that costs four bytes between uses. */
static inline struct sim_random vehicle_stream(const struct virtual_vehicle *vehicle, uint32_t purpose, uint32_t draws)
{
    struct sim_random random;
    sim_random_init(&random, vehicle->partition->world->scenario->seed, vehicle_index(vehicle), purpose);
    random.counter = draws;
    return random;
}

/* Tells the watcher of a replay what happens to the vehicle it watches. */
static inline void virtual_tell(const struct virtual_vehicle *vehicle, int64_t at_us, enum world_trace_kind kind,
                                struct span bytes, const char *text)
{
    const struct virtual_world *world = vehicle->partition->world;
    if (__builtin_expect(world->traced != vehicle, 1))
        return;
    world->options->trace(world->options->trace_context,
                          &(struct world_trace){.kind = kind, .at_us = at_us, .bytes = bytes, .text = text});
}

static inline struct virtual_identity *vehicle_identity(const struct virtual_vehicle *vehicle)
{
    struct virtual_identity *identities = vehicle->partition->identities;
    return identities ? &identities[vehicle->local] : NULL;
}

static inline struct fleet_parking *vehicle_parking(const struct virtual_vehicle *vehicle)
{
    struct fleet_parking *parkings = vehicle->partition->parkings;
    return __builtin_expect(parkings != NULL, 0) ? &parkings[vehicle->local] : NULL;
}

static inline struct fleet_network *vehicle_network(const struct virtual_vehicle *vehicle)
{
    struct fleet_network *networks = vehicle->partition->networks;
    return __builtin_expect(networks != NULL, 0) ? &networks[vehicle->local] : NULL;
}

static inline const struct link_profile *vehicle_radio(const struct virtual_vehicle *vehicle)
{
    return fleet_radio(&vehicle->partition->world->fleet, &vehicle->trace, vehicle_parking(vehicle));
}

/* One way, behind the radio: to the region, by the path the vehicle's operator has bought. */
static inline int64_t vehicle_way_us(const struct virtual_vehicle *vehicle)
{
    const struct scenario_cohort *cohort = vehicle_cohort(vehicle);
    return vehicle_latency(vehicle) + (cohort->has_path ? cohort->path.latency_us : 0);
}

/* The agent has no power any more, though the event that took it has not ended. */
static inline bool vehicle_dead(const struct virtual_vehicle *vehicle)
{
    return __builtin_expect(vehicle->partition->died == vehicle, 0);
}

/* virtual_identity.c: what lifecycle { ... } adds to a partition. */
bool virtual_identity_options(struct partition *partition, struct cloud_options *options,
                              struct cloud_lifecycle_options *lifecycle);
bool virtual_identity_start(struct partition *partition); /* once the cloud is there, before the vehicles */
bool virtual_identity_vehicle(
    struct virtual_vehicle *vehicle); /* registered by its factory, or a thief with its loot */
void virtual_identity_provisioned(struct virtual_vehicle *vehicle,
                                  const uint8_t certificate_id[32]); /* in its factory */
struct fleet_identity *virtual_find_identity(void *world, uint32_t vehicle);
struct virtual_vehicle *virtual_find_vehicle(void *world, uint32_t vehicle); /* NULL: of another rank */
/* The place of a store item that only identities need. */
struct store_item **virtual_identity_place(struct virtual_vehicle *vehicle, enum tcu_store_item item);
struct store_item *virtual_shown(struct virtual_vehicle *vehicle, enum tcu_identity identity);
size_t virtual_device(struct virtual_vehicle *vehicle, char *out, size_t capacity);
/* Now, without a word; back after lasts_us (TIME_NEVER: never). */
void virtual_power_cut(struct virtual_vehicle *vehicle, int64_t now_us, int64_t lasts_us);
void virtual_died(struct partition *partition, int64_t now_us);
void virtual_power_back(struct virtual_vehicle *vehicle, int64_t now_us);
/* An action of the cloud's operator on one vehicle; on the whole partition (audit). */
bool virtual_identity_act(struct virtual_vehicle *vehicle, int64_t now_us, const struct world_action *action);
const char *virtual_identity_refusal(const struct virtual_world *world, const struct world_action *action);
int64_t virtual_identity_audit(struct partition *partition, int64_t now_us);
void virtual_identity_close(struct partition *partition);

static inline struct virtual_keys *vehicle_keys(const struct virtual_vehicle *vehicle)
{
    struct virtual_keys *keys = vehicle->partition->keys;
    return keys ? &keys[vehicle->local] : NULL;
}

/* virtual_remote.c: remote commands and parked cars. */
bool virtual_remote_start(struct partition *partition,
                          struct cloud_bus *(*bus)(struct partition *partition, const char *client_id));
void virtual_remote_close(struct partition *partition);
/* A fault: what some vehicles answer is lost on the way. */
bool virtual_answer_passes(void *partition, int64_t now_us, struct span client_id, const struct mq5_packet *packet);
struct fleet_orders *virtual_find_orders(void *world, uint32_t vehicle);
struct fleet_parking *virtual_find_parking(void *world, uint32_t vehicle);
/* The ignition, and what hangs on it; the agent is told. */
void virtual_ignition(struct virtual_vehicle *vehicle, int64_t now_us, bool on);
void virtual_parked_at_start(struct virtual_vehicle *vehicle, int64_t now_us);
void virtual_coverage(struct virtual_vehicle *vehicle, int64_t now_us, bool covered);
void virtual_sms(struct virtual_vehicle *vehicle, int64_t now_us, struct span text);
void virtual_battery(struct virtual_vehicle *vehicle, int64_t now_us);
void virtual_battery_used(struct virtual_vehicle *vehicle, int64_t now_us, size_t bytes);
/* What a script does to brokers. */
void virtual_trouble(struct partition *partition, int64_t now_us, const struct world_action *action);
size_t virtual_unseal(void *vehicle, struct span sealed, uint8_t *out, size_t capacity, enum tcu_refusal *why);
void virtual_forget_executions(struct virtual_vehicle *vehicle);

/* virtual_messages.c: processors that are clients of the broker. */
bool virtual_messages_start(struct partition *partition,
                            struct cloud_bus *(*bus)(struct partition *partition, const char *client_id));
struct fleet_book *virtual_find_book(void *world, uint32_t vehicle);
int64_t virtual_messages_next(const struct partition *partition);
void virtual_messages_tick(struct partition *partition, int64_t now_us);
int64_t virtual_messages_act(struct partition *partition, int64_t now_us, const struct world_action *action);
void virtual_messages_restarted(struct partition *partition, int64_t now_us); /* the broker's links are gone */
void virtual_messages_close(struct partition *partition);
/* The broker's door, for a handle that is no vehicle's link. */
const struct cloud_peer *virtual_member_peer(void);
void virtual_member_receive(void *handle, const uint8_t *data, size_t length);
void virtual_member_closed(void *handle);

/* virtual_network.c: hand-overs, tunnels, connections that are dead. */
bool virtual_network_start(struct partition *partition);
void virtual_network_ignition(struct virtual_vehicle *vehicle, int64_t now_us, bool on);
void virtual_network_step(struct virtual_vehicle *vehicle, int64_t now_us); /* what is due */
/* The connection is dead, and neither end is told. false: there is none that lives. */
bool virtual_link_dies(struct virtual_vehicle *vehicle, int64_t now_us, bool new_address);
bool virtual_link_forgotten(struct virtual_link *link); /* it was silent for too long, or is dead */
/* The vehicle lets go of its connection: because it found out that it is dead, or for another reason. */
void virtual_link_found_dead(struct virtual_vehicle *vehicle, int64_t now_us, bool found);
void virtual_link_hasten(struct virtual_link *link);       /* the vehicle is about to send: its modem wakes */
void virtual_link_silent(const struct virtual_link *link); /* the broker closes it: its keep alive is over */

/* virtual_regions.c: the broker at the other end of a link. */
struct cloud_broker *virtual_region_broker(const struct partition *partition, uint8_t region);
static inline struct cloud_broker *link_broker(const struct virtual_link *link)
{
    const struct partition *partition = link->vehicle->partition;
    return __builtin_expect(!partition->regions, 1) ? partition->cloud.broker
                                                    : virtual_region_broker(partition, link->region);
}

/* virtual_shadow.c: settings of cars, their shadows, executions. */
bool virtual_shadow_start(struct partition *partition,
                          struct cloud_bus *(*bus)(struct partition *partition, const char *client_id));
void virtual_shadow_vehicle(struct virtual_vehicle *vehicle);
void virtual_shadow_due(struct virtual_vehicle *vehicle, int64_t now_us);
void virtual_shadow_set(void *vehicle, struct span wanted);
size_t virtual_shadow_state(void *vehicle, char *out, size_t capacity);
void virtual_shadow_close(struct partition *partition);

/* virtual_crypto.c: runs with real cryptography. The hierarchy is outside all heaps; a partition holds its CA's bytes and vehicles' only. */
/* Collective: one hierarchy for all ranks. false: a line in result->error. */
bool virtual_crypto_open(const struct scenario *scenario, const struct world_options *options, struct cloud_pki **pki,
                         struct world_result *result);
void virtual_crypto_close(struct cloud_pki *pki);
bool virtual_crypto_partition(struct partition *partition); /* false: out of memory */
/* As tcu_crypto_enroll(); all requests for one name are equally long. */
bool virtual_crypto_enroll(struct span common_name, uint8_t *key, size_t *key_length, uint8_t *request, size_t *length);
/* The key beside what virtual_shown() said. */
struct span virtual_key_shown(struct virtual_vehicle *vehicle, enum tcu_identity identity);
/* What the server of a TLS handshake finds: is it of a CA of ours, in its validity, not revoked, and is its holder in possession of the key? *out tells
 * of the certificate. NULL: fine; else why not. */
const char *virtual_handshake(const struct partition *partition, struct span certificate, struct span key,
                              struct cloud_certificate *out);
/* NULL: modelled cryptography, or no key's item. */
struct store_item **virtual_key_place(struct virtual_vehicle *vehicle, enum tcu_store_item item);
/* The bytes that a store write keeps: certificates in DER, keys in PKCS#8. Empty: the write is refused. */
struct span virtual_crypto_kept(struct virtual_vehicle *vehicle, enum tcu_store_item item, struct span value,
                                uint8_t *out, size_t capacity);
/* The device's own certificate, made at first. NULL: it cannot be made. */
struct store_item *virtual_attestation(struct virtual_vehicle *vehicle, const char *common_name, int64_t now_s);
void virtual_crypto_steal(struct virtual_vehicle *thief, struct virtual_vehicle *victim);
void virtual_crypto_removed(struct virtual_vehicle *vehicle, bool second); /* its TCU is taken out */

/* virtual_partition.c: one partition from set-up to the end; entered: its heap is the one that blocks come from. NULL: out of memory. */
struct partition *virtual_partition_create(struct virtual_world *world, uint32_t number);
void virtual_partition_destroy(struct partition *partition);
uint32_t virtual_partitions_of(uint32_t fleet);
/* Vehicles' last states and the broker's go into the digest, its counts into the result. */
void virtual_partition_close(struct partition *partition);
void virtual_weigh(struct virtual_world *world);

void virtual_cloud_settings(struct partition *partition, uint8_t region, struct cloud_options *options);
/* Telemetry processors on a broker, and who counts its presence events. */
typedef struct cloud_bus *virtual_bus_maker(void *context, const char *client_id);
bool virtual_processors_start(struct partition *partition, virtual_bus_maker *make, void *context,
                              cloud_bus_handler *on_telemetry, void *telemetry_context);

/* virtual_events.c: what happens at an event, and what a script does to vehicles. */
void virtual_advance(struct partition *partition, int64_t until_us);
void virtual_cloud_touched(struct partition *partition);
void virtual_radio_gone(struct virtual_vehicle *vehicle, int64_t now_us); /* without a word */
/* What on_event is to be told: sent to where it runs; arrived there; its turn. */
void virtual_tell_script(void *world, uint32_t vehicle, uint16_t cohort, const char *event, int64_t now_us);
void virtual_news(struct partition *partition, const struct sim_message *message);
int64_t virtual_act(void *world, int64_t now_us, const struct world_action *action, const char **why);
void virtual_ask(struct virtual_vehicle *vehicle, int64_t now_us, struct span command, int64_t timeout_us);

/* virtual_link.c: connections and bytes under way. */
void virtual_broker_send(void *door, void *link, const uint8_t *data, size_t length);
void virtual_broker_close(void *door, void *link, enum cloud_close_reason reason);
const struct cloud_peer *virtual_broker_peer(void *door, void *link);
void virtual_arrivals_up(struct virtual_vehicle *vehicle, int64_t now_us);
void virtual_arrivals_down(struct virtual_vehicle *vehicle, int64_t now_us);
/* The vehicle's end is gone, without a word to anybody. */
void virtual_link_abandon(struct virtual_vehicle *vehicle);
/* The radio goes without a word: the vehicle notices, the broker does not. */
void virtual_link_lost(struct virtual_vehicle *vehicle, int64_t now_us, enum tcu_link_end why);
void virtual_link_up(struct virtual_vehicle *vehicle, int64_t now_us, const struct step *step);
void virtual_link_send(void *vehicle, const uint8_t *data, size_t length);
void virtual_link_close(void *vehicle, bool abort);

/* virtual_port.c: what else the agent asks for, and the steps it waits for. */
extern const struct tcu_port virtual_port;
void virtual_push(struct virtual_vehicle *vehicle, int64_t at_us, enum virtual_class class);
void virtual_step(struct virtual_vehicle *vehicle, int64_t now_us);
/* NULL: out of memory, noted in the world. */
struct step *virtual_schedule(struct virtual_vehicle *vehicle, enum step_kind kind, int64_t at_us, uint32_t slot,
                              const void *data, size_t length);
/* The item's bytes, in `out` (VIRTUAL_CERTIFICATE_MAX) when they had to be made; empty: there is no item. */
struct span virtual_stored(struct virtual_vehicle *vehicle, const struct store_item *item, uint8_t *out);
void virtual_store_release(struct partition *partition, struct store_item *item);
/* As it is, in this partition's memory; NULL: out of memory. */
struct store_item *virtual_store_item(struct partition *partition, struct span value);
/* Into a place of the store, whole; false: no memory. */
bool virtual_store_keep(struct virtual_vehicle *vehicle, struct store_item **place, struct span value);

#endif
