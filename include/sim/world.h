/* sim/world.h: the two worlds a scenario can run in. They carry the bytes of the same agent and cloud and fill the same measure.
 */
#ifndef SIM_WORLD_H
#define SIM_WORLD_H

#include "sim/engine.h"
#include "sim/scenario.h"

#include <signal.h>

enum world_kind { WORLD_VIRTUAL, WORLD_LIVE };

/* Live: whether radios' delays are acted out between agents and sockets. AUTO: when the scenario has what needs it. */
enum world_link_model { LINK_MODEL_AUTO, LINK_MODEL_ON, LINK_MODEL_OFF };

struct sim_group; /* sim/group.h */

struct world_progress {
    int64_t now_us, duration_us;
    double wall_s, speed; /* scenario seconds a wall second */
    uint64_t connected, driving, publishes, commands, events;
    double publishes_per_s, commands_per_s; /* per scenario second, over the last interval */
    const char *phase;                      /* "provisioning", name of a phase, ... */
};

/* What a replayed vehicle lives. Spans are valid during the call. */
enum world_trace_kind {
    TRACE_SENT,     /* bytes handed to the link by the vehicle */
    TRACE_ARRIVED,  /* ... have arrived at the broker */
    TRACE_ANSWERED, /* bytes handed to the link by the broker */
    TRACE_RECEIVED, /* ... have arrived at the vehicle */
    TRACE_LINK,     /* `text`: opened, lost, closed */
    TRACE_PROBE,    /* the agent's own word: probe, reason, number, bytes: id */
    TRACE_CAR,      /* `text`: ignition, coverage */
};
struct world_trace {
    enum world_trace_kind kind;
    int64_t at_us;
    struct span bytes;
    const char *text;
    uint8_t probe, reason;
    uint32_t number;
};

#define WORLD_BROKERS 16
struct world_options {
    enum world_kind kind;
    const char *brokers[WORLD_BROKERS]; /* live: "embedded", "mqtt://h:p", "mqtts://h:p" */
    uint32_t broker_count;
    double speedup; /* live: of the scenario's calendar; 0: 1 */
    const char
        *pki_directory;  /* live: CA hierarchy whose operational CA the broker trusts; NULL: under out_directory */
    const char *ca_file; /* live: trust for the server's certificate; NULL: the PKI's */
    const char *certificate_file,
        *key_file;                    /* live: services' client certificate on mqtts://; NULL: made from the PKI */
    const char *user_name, *password; /* live: services' own, and vehicles' without their own */
    bool no_verify_name;
    enum world_link_model link_model;
    double connect_rate;          /* live: new connections a second; 0: 500 plain, 150 with TLS handshakes */
    uint32_t handshakes_at_once;  /* live: 0: 8 */
    uint32_t source_addresses;    /* live: loopback source addresses 127.0.0.2 ...; 0: as many as needed */
    double lag_bound_ms;          /* live: p99 of the rig's own lag above which the run is invalid (exit 4); 0: 50 */
    uint32_t partitions;          /* virtual: 0: 16 (fixed for the digest) */
    int64_t window_us;            /* virtual: engine's window */
    uint64_t memory_limit;        /* 0: none */
    int64_t checkpoint_every_us;  /* virtual: scenario time between checkpoints in out_directory; 0: none */
    const char *resume_directory; /* virtual: where the checkpoint is */
    const int64_t
        *replay_acted; /* virtual: a replay of one vehicle's partition; what the run's scripted actions returned */
    uint32_t replay_acted_count;
    int64_t replay_vehicle; /* with replay_acted: whose partition runs, and whose life goes to trace() */
    void (*trace)(void *context, const struct world_trace *event);
    void *trace_context;
    struct sim_group
        *group; /* the processes that run this together; NULL: this one alone. Only rank 0's result is whole */
    const char *out_directory;
    volatile sig_atomic_t *stop; /* set by Ctrl-C: finish early, keep what was measured */
    void (*progress)(void *context, const struct world_progress *progress); /* about once a second; may be NULL */
    void *progress_context;
};

/* Bytes per vehicle, measured, by part. */
struct world_memory {
    char part[32];
    uint64_t bytes;
};
#define WORLD_MEMORY_PARTS 16
#define WORLD_NOTES        32

enum world_status {
    WORLD_COMPLETED,
    WORLD_INTERRUPTED, /* by Ctrl-C: exit 130 after a partial report */
    WORLD_ENVIRONMENT, /* broker unreachable, limits too low: exit 3; `error` */
    WORLD_SCENARIO,    /* a script failed during the run: exit 2; `error` */
    WORLD_RIG_LIMITED, /* the rig was the bottleneck: exit 4; `error` */
};
struct world_result {
    enum world_status status;
    char error[512];
    struct measure *measure; /* owned by the caller afterwards; NULL only when nothing ran */
    int64_t simulated_us;    /* how far it came */
    bool has_digest;
    struct sim_digest digest;
    double wall_s, cpu_s; /* of the run, without set-up */
    double cloud_cpu_s;   /* live, embedded: the cloud's process */
    uint64_t peak_rss_bytes, events, packets, wire_bytes;
    struct world_memory memory[WORLD_MEMORY_PARTS];
    uint32_t memory_parts;
    char unavailable[128];        /* features the cloud in use cannot offer */
    char notes[WORLD_NOTES][200]; /* what was replaced, not scaled, modelled; marks of the script as "07:40:00 text" */
    uint32_t note_count;
    char broker[256]; /* what it ran against */
    char cloud_profile[24];
    uint64_t registered_things, active_certificates;
    int64_t lag_p50_us, lag_p99_us, lag_max_us; /* live */
    /* virtual: per partition, for replays (the caller frees the digests); what scripted actions returned, in order. */
    struct sim_digest *partition_digests;
    uint32_t partition_count;
    const int64_t *acted;
    uint32_t acted_count;
};

/* Preflight: what the scenario needs against what the machine has; writes one line per need; false if something is too low (*remedy: what to do). */
bool world_preflight(const struct scenario *scenario, const struct world_options *options, char *text,
                     size_t text_capacity, char *remedy, size_t remedy_capacity);
/* What a scenario cannot be run with: one line. NULL: nothing. */
const char *world_objection(const struct scenario *scenario, const struct world_options *options);
/* Runs to the end. The script gives the scenario and takes the callbacks. */
void world_run(struct script *script, const struct world_options *options, struct world_result *result);
void world_run_virtual(struct script *script, const struct world_options *options, struct world_result *result);
/* What a process of the group may take of this machine's (or this container's) free memory. */
uint64_t world_memory_limit(const struct sim_group *group);
/* The virtual world's heap is there from before the script is loaded, so that a checkpoint holds the script too. false: `error`. */
bool world_begin_virtual(const struct world_options *options, char *error, size_t error_capacity);
/* Goes on from options->resume_directory; *script is the one of the checkpoint. */
void world_resume_virtual(const struct world_options *options, struct script **script, struct world_result *result);
void world_run_live(struct script *script, const struct world_options *options, struct world_result *result);

#endif
