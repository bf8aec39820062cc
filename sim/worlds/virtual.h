/* virtual.h: the virtual world's own structures. One process, fixed partitions: partition p of P holds the vehicles v with v % P == p and the
 * cloud instance that serves them. Partitions meet only at barriers (timeline entries, end of the run), so their order cannot show.
 */
#ifndef WORLDS_VIRTUAL_H
#define WORLDS_VIRTUAL_H

#include "fleet.h"

#include "sim/engine.h"

enum virtual_class { EVENT_STEP, EVENT_UP, EVENT_DOWN, EVENT_LIFE, EVENT_AGENT, EVENT_CLOUD };

struct segment { /* bytes under way in one direction of one link */
    struct segment *next;
    int64_t arrival_us;
    uint32_t length;
    uint16_t size_class;
    bool end; /* the sender has closed: nothing follows */
    uint8_t data[];
};

struct virtual_link { /* a transport connection; lives until both ends have let go of it */
    struct virtual_vehicle *vehicle;
    struct virtual_link *next; /* older links of the same vehicle, or the free list */
    struct cloud_connection *connection;
    struct segment *head[2], *tail[2];
    bool vehicle_open, broker_open;
    struct cloud_peer peer;
};

enum step_kind {
    STEP_POWER_UP,
    STEP_LINK_UP,
    STEP_LINK_FAILED,
    STEP_CSR,
    STEP_HTTP_AT_SERVER,
    STEP_HTTP_REPLY,
    STEP_EXECUTED
};

struct step { /* something a vehicle waits for */
    struct step *next;
    int64_t at_us;
    enum step_kind kind;
    uint32_t slot; /* attempt number; execution slot; HTTP status */
    uint32_t length;
    uint32_t request; /* of CSR and HTTP steps: which request of the vehicle this answers */
    uint8_t tls;
    int64_t phase_us[3];
    uint8_t data[];
};

struct virtual_vehicle {
    struct sim_deadline agent, life;
    struct tcu *tcu;
    struct partition *partition;
    struct virtual_link *link, *older;
    struct step *steps;
    struct link_state radio;
    struct fleet_trace trace;
    struct fleet_life day;
    uint8_t *stored[TCU_STORE_ITEMS];
    uint16_t stored_length[TCU_STORE_ITEMS];
    uint32_t index; /* in the fleet */
    uint32_t local; /* in the partition: the event's entity */
    uint32_t radio_draws, agent_draws, keys, attempts, requests;
    uint16_t faults;
    bool covered;
};

#define SEGMENT_CLASSES 6
struct partition {
    struct virtual_world *world;
    uint32_t number, count;
    struct virtual_vehicle *vehicles;
    uint8_t *agents;
    struct sim_queue *queue;
    struct cloud cloud;
    struct cloud_pki *pki;
    struct cloud_registry *registry;
    struct cloud_commands *commands;
    struct cloud_bus *buses[16];
    uint32_t bus_count;
    struct sim_deadline cloud_deadline;
    struct sim_random cloud_random;
    struct sim_digest digest;
    int64_t now_us;
    uint64_t events;
    struct segment *free_segments[SEGMENT_CLASSES];
    struct virtual_link *free_links;
    uint64_t segment_bytes, link_bytes, store_bytes, agent_bytes;
    int64_t outage_until_us;
};

#define VIRTUAL_PARTITIONS_MAX 1024
struct virtual_world {
    struct fleet fleet;
    const struct scenario *scenario;
    const struct world_options *options;
    struct world_result *result;
    struct world_actions actions;
    struct partition *partitions;
    uint32_t partition_count;
    struct partition *running;      /* NULL at a barrier */
    struct virtual_vehicle *hooked; /* the vehicle whose event a script is handling */
    uint32_t agent_stride;
    int64_t now_us; /* at barriers */
    bool out_of_memory;
};

/* virtual_port.c: what the agent and the broker ask for. */
extern const struct tcu_port virtual_port;
void virtual_broker_send(void *door, void *link, const uint8_t *data, size_t length);
void virtual_broker_close(void *door, void *link, enum cloud_close_reason reason);
void virtual_step(struct virtual_vehicle *vehicle, int64_t now_us);
void virtual_arrivals(struct virtual_vehicle *vehicle, int64_t now_us, enum link_direction direction);
/* The radio goes without a word: the vehicle notices, the broker does not. */
void virtual_link_lost(struct virtual_vehicle *vehicle, int64_t now_us, enum tcu_link_end why);
/* NULL: out of memory, noted in the world. */
struct step *virtual_schedule(struct virtual_vehicle *vehicle, enum step_kind kind, int64_t at_us, uint32_t slot,
                              const void *data, size_t length);
void virtual_cloud_touched(struct partition *partition);
void virtual_partition_release(struct partition *partition);

#endif
