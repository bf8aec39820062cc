/* remote_internal.h: what the desk keeps: commands that have not ended, the vehicles they are for, and results not told yet. */
#ifndef SERVICES_REMOTE_INTERNAL_H
#define SERVICES_REMOTE_INTERNAL_H

#include "cloud/keys.h"
#include "cloud/remote.h"

#include "due.h"

#define REMOTE_NAME_MAX 48 /* of a command */
/* The enquiry waits so long: expiry is told in seconds, rounded up, and the vehicle must not believe that there is time left. */
#define REMOTE_ENQUIRY_AFTER_US (2 * US_PER_S)

struct remote_command;

/* Waits in the queue of results: a command may be in it twice, late and ended. */
struct remote_tell {
    struct remote_tell *next;
    struct remote_command *command;
    bool late;
};

struct remote_vehicle {
    struct remote_vehicle *next; /* in its bucket */
    uint64_t hash;
    struct remote_command *first, *last; /* not ended, or just gone, in the order asked */
    uint64_t *followers;
    uint32_t follower_count, follower_capacity;
    uint32_t open, held; /* not ended; not freed */
    uint32_t handed;     /* commands that left for it */
    /* SHADOW */
    struct remote_vehicle *next_untidy;
    const struct remote_command *shown; /* in desired; NULL: none that has not ended */
    uint64_t version;                   /* of its shadow, the last one heard of; 0: none */
    bool untidy;                        /* what is shown has ended: waits in the list */
    uint8_t length;
    uint8_t name[];
};

struct remote_command {
    struct remote_command *next;            /* in its bucket, by id */
    struct remote_command *before, *behind; /* of its vehicle */
    struct remote_vehicle *vehicle;
    struct cloud_remote_result result; /* as it stands */
    struct remote_tell tell_late, tell_end;
    int64_t deadline_us, step_us; /* what comes next for it */
    uint32_t copies, unanswered,
        enquiries;   /* handed to the broker or an SMS; the same while connected; after the deadline */
    uint32_t number; /* its place among those that left for the vehicle; 0: has not */
    bool waits;      /* ... until older ones have ended */
    bool gone;       /* has ended, and a copy of it may still be on its way */
    bool late, reconnected, busy, doubted, unheard; /* unheard: the broker knew of nobody who would get it */
    bool started;                                   /* EXECUTIONS: the service has it */
    uint8_t name_length, sealed_length;
    uint8_t bytes[REMOTE_NAME_MAX + CLOUD_SEALED_MAX]; /* name, sealed form */
};

struct cloud_remote {
    struct cloud_due due; /* first, for cloud_remote_next_deadline() */
    struct cloud_remote_options options;
    struct cloud_bus *bus;
    struct cloud_remote_counts counts;
    struct remote_command **commands;
    struct remote_vehicle **vehicles;
    uint32_t command_buckets, vehicle_buckets, command_count, vehicle_count;
    struct due_heap heap; /* by step_us */
    struct remote_tell *tell_first, *tell_last;
    bool telling;
    struct remote_vehicle *untidy;
    uint64_t held_bytes, steps;
};

/* ---- remote_table.c: what is kept ---------------------------------------------------------------------------------- */

bool remote_tables(struct cloud_remote *remote);
void remote_tables_free(struct cloud_remote *remote);
struct remote_command *remote_find(const struct cloud_remote *remote, uint64_t id); /* NULL: none, or it has ended */
struct remote_command *remote_find_gone(const struct cloud_remote *remote, uint64_t id); /* those that are gone, too */
struct remote_vehicle *remote_vehicle_find(const struct cloud_remote *remote, struct span thing);
struct remote_vehicle *remote_vehicle_need(struct cloud_remote *remote, struct span thing); /* NULL: no memory */
/* Into the tables with all its ways out of them; NULL: no memory, nothing changed. */
struct remote_command *remote_add(struct cloud_remote *remote, struct span thing, uint64_t id);
void remote_take_out(struct cloud_remote *remote, struct remote_command *command); /* no answer finds it any more */
void remote_release(struct cloud_remote *remote, struct remote_command *command);  /* told: frees it, and its vehicle */
void remote_vehicle_let_go(struct cloud_remote *remote, struct remote_vehicle *vehicle); /* one holds it less */

/* ---- remote_tell.c: ends, their order, what an answer says ---------------------------------------------------------- */

/* May free the command, and call whoever waits for results. */
void remote_end(struct cloud_remote *remote, int64_t now_us, struct remote_command *command, enum cloud_remote_end end,
                struct span reason);
void remote_tell_late(struct cloud_remote *remote, int64_t now_us, struct remote_command *command);
void remote_on_response(void *context, int64_t now_us, const struct mq5_publish *message);
/* In the words of a vehicle's answer: "succeeded" ... May free the command. */
void remote_answered(struct cloud_remote *remote, int64_t now_us, struct remote_command *command, struct span status,
                     struct span reason);
/* The text behind `"name":"`, up to the next quotation mark; empty: none. */
struct span remote_text_member(struct span json, const char *name);

/* ---- remote_way.c: how a command reaches its vehicle ------------------------------------------------------------------ */

/* A step at that moment instead of the one before. false: no memory, nothing changed. */
bool remote_wait(struct cloud_remote *remote, struct remote_command *command, int64_t at_us);
bool remote_seal(struct cloud_remote *remote, struct remote_command *command);
void remote_due(struct cloud_remote *remote); /* the next moment is looked at again */
/* It has ended, and a copy may still come to a vehicle that has forgotten it by then: not before its time is over. true: the step then is set. */
bool remote_lingers(struct cloud_remote *remote, int64_t now_us, struct remote_command *command);
/* A command of this vehicle has ended: others may leave, at the next tick. */
void remote_window_moved(struct cloud_remote *remote, int64_t now_us, const struct remote_vehicle *vehicle);
/* What is to be done now: the command may have ended, and be gone, afterwards. */
void remote_begin(struct cloud_remote *remote, int64_t now_us, struct remote_command *command);
void remote_step(struct cloud_remote *remote, int64_t now_us, struct remote_command *command);
/* What was put into the shadow was refused, or is to be said again with what is known now. */
void remote_again(struct cloud_remote *remote, int64_t now_us, struct remote_command *command);

/* ---- remote_shadow.c, remote_executions.c: other ways of putting it ---------------------------------------------------- */

bool remote_shadow_listen(struct cloud_remote *remote, int64_t now_us); /* false: refused */
/* Is there no other command in the way? */
bool remote_shadow_free(const struct remote_command *command);
/* Reason code of the bus. Does not touch the command after it has left. */
uint8_t remote_shadow_put(struct cloud_remote *remote, int64_t now_us, struct remote_command *command, bool enquiry);
void remote_shadow_ended(struct cloud_remote *remote, struct remote_command *command); /* its place is free */
void remote_shadow_tidy(struct cloud_remote *remote, int64_t now_us);

bool remote_executions_listen(struct cloud_remote *remote, int64_t now_us);
uint8_t remote_executions_put(struct cloud_remote *remote, int64_t now_us, struct remote_command *command,
                              bool enquiry);

#endif
