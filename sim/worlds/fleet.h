/* fleet.h: what both worlds share: profiles made from a scenario, a vehicle's day, its measurement, the commands in flight.
 *
 * Nothing here knows how bytes travel. World time is what the engine or the monotonic clock counts; calendar time is the
 * scenario's; in the live world a calendar second lasts 1/speedup world seconds (trips, phases, apps), everything else is world time.
 */
#ifndef WORLDS_FLEET_H
#define WORLDS_FLEET_H

#include "cloud/services.h"
#include "memory.h"
#include "sim/world.h"
#include "vehicle/agent.h"

struct fleet_command { /* one command an app asked for, while it is open */
    uint64_t id;
    int64_t asked_us;
    uint32_t vehicle;
    uint8_t path;
    bool received : 1, executed : 1, answered : 1, timed_out : 1;
};
/* Closed ones: whether they were executed, by id. */
#define FLEET_CLOSED_BITS 8 /* of the id's end: ids of one service are consecutive */
struct fleet_closed {
    uint64_t key; /* 1 + the id without its end; 0: free */
    uint64_t closed[(1 << FLEET_CLOSED_BITS) / 64], executed[(1 << FLEET_CLOSED_BITS) / 64];
};
/* fleet_command.c. Open-addressing tables; what has closed takes two bits. */
struct fleet_commands {
    struct fleet_command *open;
    struct fleet_closed *closed;
    uint64_t open_capacity, open_count, closed_capacity, closed_count;
};

struct fleet_identity; /* fleet_identity.h */
struct fleet_orders;   /* fleet_remote.h */
struct fleet_parking;
struct fleet_book; /* fleet_messages.h */

struct fleet {
    struct script *script;
    const struct scenario *scenario;
    struct measure *measure;
    double speedup;
    int64_t wall_offset_us;       /* wall time at world time 0 */
    struct tcu_profile *profiles; /* [cohort * SCENARIO_SHARES + firmware] */
    uint8_t *scratch;
    char topic_prefix[32], reserved[32];
    char topic_telemetry[64], topic_request[64], topic_response[64], topic_presence[64];
    struct cloud_telemetry_topic telemetry; /* of topic_telemetry */
    struct fleet_router_texts {
        char marked[64], routed[48];
    } router_texts; /* of processors that are routed to */
    struct fleet_commands commands;
    struct {
        uint64_t nth;
        uint32_t vehicle;
        uint16_t app;
        bool not_sent; /* the service said so before it said the id */
    } asking;          /* the command being sent: read by the service's loss hook */
    const struct world_actions *actions;
    /* Where the world keeps a vehicle's trace, NULL: not here. May be NULL: cohort and region are then drawn again for each message. */
    const struct fleet_trace *(*find_trace)(void *context, uint32_t vehicle);
    /* A vehicle's identity, in scenarios that look after identities; NULL: not this one, or the vehicle is elsewhere. */
    struct fleet_identity *(*find_identity)(void *context, uint32_t vehicle);
    /* remote_commands { }: the desk of a vehicle; parked cars: where it stands. NULL: not of this scenario. */
    struct fleet_orders *(*find_orders)(void *context, uint32_t vehicle);
    struct fleet_parking *(*find_parking)(void *context, uint32_t vehicle);
    struct fleet_book *(*find_book)(void *context, uint32_t vehicle); /* processors { }, notices, aliases() */
    void *find_context;
    struct memory_heap *home; /* where the fleet's own memory comes from */
    /* Takes what a script's on_event would be told, to tell it later; NULL: the script is told at once. */
    void (*tell)(void *world, uint32_t vehicle, uint16_t cohort, const char *event, int64_t now_us);
    char error[512]; /* a script's failure; the world stops when set */
    bool failed;
};

/* Per vehicle: what measurement needs to remember. 48 bits of microseconds are four years. */
struct fleet_trace {
    int64_t power_up_us : 48, key_us : 48; /* -1: not happened */
    int64_t attempt_us : 48, link_up_us : 48;
    int64_t
        since_us : 48; /* offline since; while `registering`: since the first refused connect. Never both: online is registered */
    union {
        struct {
            uint64_t bytes_up : 48, bytes_down : 48;
        } __attribute__((packed));
        uint16_t byte_words[2][3]; /* the same, by direction */
    };
    uint16_t cohort;
    uint8_t region;
    bool was_online : 1, provisioned : 1, online : 1, driving : 1, registering : 1;
} __attribute__((packed, aligned(2)));

/* Per vehicle: its owner's day. */
enum fleet_life_event {
    LIFE_NOTHING,
    LIFE_IGNITION_ON,
    LIFE_IGNITION_OFF,
    LIFE_COMMAND,
    LIFE_DROP,
    LIFE_HOLE_BEGIN,
    LIFE_HOLE_END
};
struct fleet_life {          /* times: 48 bits, read and written by fleet_life.c */
    int64_t ignition : 48;   /* next change */
    int64_t command : 48;    /* next command by an app user */
    int64_t radio : 48;      /* next drop or hole while driving */
    int64_t hole_until : 48; /* coverage comes back; never: there is coverage */
    uint32_t draws;          /* made from the vehicle's purposes */
    int16_t day;
    uint8_t command_app;
    uint8_t trip : 6;
    bool driving : 1, radio_is_hole : 1;
} __attribute__((packed, aligned(8)));

/* cloud: its will topic and the prefix of its reserved topics become the agent's. false: out of memory. */
bool fleet_init(struct fleet *fleet, struct script *script, struct measure *measure, double speedup,
                int64_t wall_offset_us, const char *topic_prefix, const struct cloud_profile *cloud);
void fleet_destroy(struct fleet *fleet);
const struct tcu_profile *fleet_profile(const struct fleet *fleet, uint32_t vehicle);
uint32_t fleet_largest_profile_memory(const struct fleet *fleet, const struct tcu_port *port);
size_t fleet_telemetry_body(const struct fleet *fleet, uint32_t vehicle, uint32_t number, uint8_t *out,
                            size_t capacity);
static inline struct measure_dimension fleet_who(const struct fleet_trace *trace, uint8_t path)
{
    return (struct measure_dimension){trace->cohort, trace->region, path};
}

void fleet_trace_init(const struct fleet *fleet, uint32_t vehicle, struct fleet_trace *trace);
/* All of the agent's probes go through here. */
void fleet_probe(struct fleet *fleet, uint32_t vehicle, struct fleet_trace *trace, int64_t now_us,
                 const struct tcu_probe *probe);
/* Somebody whose identity is not, or not yet, theirs (a thief, a stranger) has tried to come in; nothing for others. */
void fleet_tried(struct fleet *fleet, uint32_t vehicle, const struct fleet_trace *trace, int64_t now_us, bool accepted);
/* Bytes handed to or got from the link; counts pings. */
void fleet_bytes(struct fleet *fleet, struct fleet_trace *trace, int64_t now_us, enum link_direction direction,
                 const uint8_t *data, size_t length);
/* A processor has a telemetry message. */
void fleet_delivery(struct fleet *fleet, int64_t now_us, const struct mq5_publish *message);
/* The same, taken apart by the caller; wall_us: when it was meant. */
void fleet_delivered(struct fleet *fleet, int64_t now_us, uint32_t vehicle, uint32_t number, int64_t wall_us);
/* Topic aliases that a broker may use towards the vehicles that take most. */
uint16_t fleet_aliases_taken(const struct scenario *scenario);
/* Closes the books of a vehicle. */
void fleet_finish(struct fleet *fleet, uint32_t vehicle, struct fleet_trace *trace, const struct tcu *tcu,
                  int64_t now_us);

/* Life. power-up time is when the vehicle first gets power. */
int64_t fleet_power_up_us(const struct fleet *fleet, uint32_t vehicle);
void fleet_life_start(const struct fleet *fleet, uint32_t vehicle, struct fleet_life *life, int64_t now_us);
int64_t fleet_life_next(const struct fleet_life *life);
/* The next thing due at or before now_us, one a call until LIFE_NOTHING. */
enum fleet_life_event fleet_life_step(const struct fleet *fleet, uint32_t vehicle, struct fleet_life *life,
                                      int64_t now_us);
/* After LIFE_COMMAND (command_app says which app) was carried out: draws the next one. */
void fleet_life_command_done(const struct fleet *fleet, uint32_t vehicle, struct fleet_life *life, int64_t now_us);
/* For scripted actions. No coverage until then, or longer if it already was to last longer. */
void fleet_life_hole(struct fleet_life *life, int64_t until_us);
/* When the trip under way ends; TIME_NEVER: by itself not. */
static inline int64_t fleet_life_trip_end(const struct fleet_life *life)
{
    int64_t end = life->ignition;
    return life->driving && end != INT64_MAX >> 16 ? end : TIME_NEVER;
}
void fleet_life_ignition(const struct fleet *fleet, uint32_t vehicle, struct fleet_life *life, int64_t now_us, bool on);

/* Commands. The options' hooks are filled for a command service of this fleet; the caller sets topics' owner fields afterwards. */
void fleet_command_options(struct fleet *fleet, struct cloud_command_options *options, uint64_t id_base);
/* An app asks `vehicle`; app is an index into the scenario's apps or FLEET_NO_APP for a scripted command. */
#define FLEET_NO_APP 0xFFFF
void fleet_command_ask(struct fleet *fleet, struct cloud_commands *commands, int64_t now_us, uint32_t vehicle,
                       uint16_t app, struct span command, int64_t timeout_us, bool online);
/* The agent's probes of commands. */
void fleet_command_probe(struct fleet *fleet, uint32_t vehicle, struct fleet_trace *trace, int64_t now_us,
                         const struct tcu_probe *probe);
/* The same for orders of a desk (fleet_remote.c). */
void fleet_orders_probe(struct fleet *fleet, uint32_t vehicle, struct fleet_trace *trace, int64_t now_us,
                        const struct tcu_probe *probe);
/* The car cannot do what it is asked now. which: what tells this execution from its others; the time in the virtual world, its number in the live one, where no
 * two runs have the same times. */
bool fleet_execution_fails(const struct fleet *fleet, uint32_t vehicle, uint64_t which);
/* Closes the books of the commands still open. From then on all that was found out is in the measure: processes merge theirs. */
void fleet_commands_finish(struct fleet *fleet, int64_t now_us);
void fleet_commands_release(struct fleet *fleet);

/* Zeroed, from the fleet's own heap. */
void *fleet_take(const struct fleet *fleet, size_t count, size_t size);
void fleet_tell_script(struct fleet *fleet, uint32_t vehicle, const struct fleet_trace *trace, const char *event,
                       int64_t now_us);

#endif
