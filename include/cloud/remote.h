/* cloud/remote.h: remote commands as an app's user lives them: asked, authorised, sent to a car that may be asleep, answered once.
 *
 * Two services. The watch keeps who is connected, from lifecycle events (or retained presence messages) that may be late, repeated and out
 * of order: versionNumber decides, "offline" is believed only after the debounce. The desk takes a command from a user, checks that the user may,
 * chooses the path (connected; or a shoulder tap by SMS, the command waiting in the vehicle's session), falls back from one to the other, and gives the
 * results in the order in which commands ended, to the asker and to whoever watches the vehicle.
 *
 * Exactly once. A command has one id for all its ways to the vehicle; the vehicle executes an id at most once and refuses one that is too late. A command
 * without an answer by its deadline is told as CLOUD_REMOTE_LATE, which is no end: when the vehicle is seen again, the same id is asked once more
 * (expired: the vehicle answers from memory or says "expired"), so each command ends in exactly one of the four ends. The enquiry carries
 * "enquiry":true beside "command" and "id", a sealed one its expiry that is over; it is never executed, leaves 2 s after the deadline at the earliest and
 * is repeated in longer and longer steps while the vehicle is online.
 * "busy" is no end: the vehicle forgets what it was too busy for and may still execute another copy. It is asked again with the same id; if nothing came of that by
 * the deadline and the enquiry, the end is REFUSED, "busy". A command of which no copy ever left ends as EXPIRED, "never sent", and is not LATE.
 * Nor is "forged" or "unreadable" for a sealed command before its deadline: somebody else may have used its id.
 * The truth of an end is the vehicle's memory, which is short: so a command waits at the desk while it is `window` or more behind the oldest one whose end is
 * open (number of those that left for this vehicle), or whose time is not over and of which, unsealed, a copy may still be on its way. One that waits until
 * its own time is over has never been sent.
 */
#ifndef CLOUD_REMOTE_H
#define CLOUD_REMOTE_H

#include "cloud/services.h"
#include "cloud/sms.h"

/* ---- who is connected ---------------------------------------------------------------------------------------------- */

enum cloud_presence_state { CLOUD_PRESENCE_UNKNOWN, CLOUD_PRESENCE_OFFLINE, CLOUD_PRESENCE_ONLINE };
struct cloud_watch_options {
    const struct cloud_profile *profile;
    int64_t debounce_us; /* 0: 5 s; below 0: none (a fault) */
    /* After the debounce. May be NULL. */
    void (*changed)(void *context, int64_t now_us, struct span thing, enum cloud_presence_state state);
    void *context;
};
struct cloud_watch; /* begins with struct cloud_due */
/* Subscribes on the bus. NULL: refused, or out of memory. */
struct cloud_watch *cloud_watch_create(const struct cloud_watch_options *options, struct cloud_bus *bus,
                                       int64_t now_us);
void cloud_watch_destroy(struct cloud_watch *watch);
enum cloud_presence_state cloud_watch_state(const struct cloud_watch *watch, struct span thing);
int64_t cloud_watch_next_deadline(const struct cloud_watch *watch);
void cloud_watch_tick(struct cloud_watch *watch, int64_t now_us);
struct cloud_watch_counts {
    uint64_t events, late, repeated,
        debounced; /* events of older connections; the same again; an "offline" taken back in time */
};
void cloud_watch_count(const struct cloud_watch *watch, struct cloud_watch_counts *out);
uint64_t cloud_watch_bytes(const struct cloud_watch *watch);

/* ---- the desk ------------------------------------------------------------------------------------------------------ */

enum cloud_remote_way { /* by which the command reached the vehicle, as far as the cloud can tell */
                        CLOUD_WAY_NONE,
                        CLOUD_WAY_CONNECTED,
                        CLOUD_WAY_TAP, /* an SMS was sent before the answer came */
                        CLOUD_WAY_SHADOW,
                        CLOUD_WAY_QUEUED, /* offline, and no gateway: waited in the session, or in the shadow */
};
enum cloud_remote_end {
    CLOUD_REMOTE_EXECUTED,
    CLOUD_REMOTE_FAILED,
    CLOUD_REMOTE_EXPIRED, /* the vehicle will not do it any more, or never had it */
    CLOUD_REMOTE_REFUSED, /* by the desk (user, rate, unknown vehicle) or by the vehicle (forged, replayed, busy, no such command) */
    CLOUD_REMOTE_LATE, /* no end: the deadline is over and the outcome not known yet; an end follows */
};
const char *cloud_remote_end_name(enum cloud_remote_end end); /* "executed" ... */

/* How commands are put on the wire.
 *
 * EXECUTIONS: an execution a command (cloud/executions.h), started once; what is sent again is its request, the enquiry's payload has "enquiry":true.
 * REJECTED with the reason BUSY is an end there: the service takes no more of that execution.
 * SHADOW: desired has room for one command of a vehicle, so one is shown after the other, in the order asked; who has not been shown by its deadline ends
 * as EXPIRED, "never sent". At the deadline the command shown gets "enquiry":true beside it, whether the vehicle is there or not: one that comes back
 * late finds a question. When the command has ended its place is cleared. The desk says the version it knows; a conflict (409) is got and said again.
 * Neither can be sealed in SHADOW, nor is it in an SMS. */
enum cloud_remote_pattern {
    CLOUD_PATTERN_PLAIN, /* cmd/<thing>/request, response topic and correlation data (3.1.1: the id in the payload) */
    CLOUD_PATTERN_EXECUTIONS, /* $aws/commands/things/<thing>/executions/<id>/request/json (cloud-contract 8.2) */
    CLOUD_PATTERN_SHADOW, /* desired {"command":{"id","name"}} of the classic shadow; reported {"command":{"id","status"}} */
};

struct cloud_remote_ask {
    struct span thing, user, command;
    int64_t expires_us; /* from now on: message expiry, and what the vehicle is told */
    uint64_t token;     /* the caller's */
};
struct cloud_remote_result {
    uint64_t id, token;
    enum cloud_remote_end end;
    enum cloud_remote_way way;
    char reason[40]; /* of refusals and failures: "user not authorised", "forged" */
    int64_t asked_us, sent_us, tapped_us, seen_us,
        ended_us;  /* seen: presence said online after the tap; -1: did not happen */
    uint32_t taps; /* SMS submitted */
};

struct cloud_remote_execution {
    struct span thing, command, id, payload; /* lent */
    int64_t timeout_us;
    bool again; /* the request of one that was started */
};
struct cloud_keys; /* cloud/keys.h */
struct cloud_remote_options {
    enum cloud_remote_pattern pattern;
    const char *request_topic, *response_topic; /* plain: templates, '%' = thing */
    const char *prefix;       /* of reserved topics, by profile ('%': the desk's own client id, below); NULL: "$aws/" */
    const char *event_prefix; /* EXECUTIONS: "$aws/events"; NULL: that */
    const char *client_id;    /* SHADOW: the desk's; NULL: "command-desk" */
    struct cloud_executions *executions; /* EXECUTIONS: borrowed */
    /* EXECUTIONS, instead of it where the service is in another process. Returns 200, or the code of cloud_executions_start() or _again(). */
    int (*execute)(void *context, int64_t now_us, const struct cloud_remote_execution *execution);
    uint64_t id_base;          /* ids are id_base + n */
    struct cloud_watch *watch; /* borrowed; NULL: everybody counts as connected */
    struct cloud_sms *sms;     /* borrowed; NULL: no shoulder tap */
    struct cloud_keys *keys;   /* borrowed; NULL: commands are neither signed nor encrypted */
    int64_t fallback_us;       /* connected path: no answer for so long: tap; 0: 10 s */
    int64_t tap_retry_us;      /* between taps without a sign of the vehicle; 0: 30 s */
    uint32_t taps_maximum;     /* 0: 3 */
    bool command_in_sms;       /* the tap carries the sealed command itself, if it fits; else it says "wake" */
    int64_t epoch_us;          /* wall = epoch + now: in sealed commands */
    uint32_t window;           /* 0: 6: vehicles remember 8 */
    uint32_t open_per_vehicle; /* more are refused ("too many open"); 0: 100 */
    /* May `user` do `command` to `thing`? NULL: everybody may. */
    bool (*allowed)(void *context, struct span user, struct span thing, struct span command);
    /* Results in the order of their ends. watching: the same for a watcher of the vehicle (cloud_remote_follow()), after the asker's. */
    void (*result)(void *context, int64_t now_us, const struct cloud_remote_result *result);
    void (*watching)(void *context, int64_t now_us, uint64_t follower, const struct cloud_remote_result *result);
    /* Fault injection and probes: a message (each copy, and each enquiry) is about to leave for the vehicle; false loses it. May be NULL. */
    bool (*pass)(void *context, int64_t now_us, struct span thing, uint64_t id);
    void *context;
};
struct cloud_remote; /* begins with struct cloud_due */
/* `bus`, with SHADOW: one whose publishes on a shadow's topics are requests (cloud_reserved_bus(), or a client's of its own).
 * NULL: a subscription was refused, what the pattern needs is missing, or out of memory. */
struct cloud_remote *cloud_remote_create(const struct cloud_remote_options *options, struct cloud_bus *bus,
                                         int64_t now_us);
void cloud_remote_destroy(struct cloud_remote *remote);
/* Returns the id (id_base + 1, + 2, ...); result() may be called inside, for what is refused at once. 0: out of memory. From inside result() it may be
 * called, too: results asked for there come after the followers of the one being told. Names of commands: 1 to 48 visible characters without quotation marks and
 * backslashes; of things: at most 255 bytes, no level separator or wildcard. */
uint64_t cloud_remote_send(struct cloud_remote *remote, int64_t now_us, const struct cloud_remote_ask *ask);
/* The watch's changed() must be passed on: what waits for the vehicle goes on. Sends nothing itself: the deadline is brought forward, the next tick does. */
void cloud_remote_seen(struct cloud_remote *remote, int64_t now_us, struct span thing, enum cloud_presence_state state);
/* The vehicle is connected to another broker, where nothing of what was sent before waits for it: asked once more when it has had two seconds to subscribe there. */
void cloud_remote_moved(struct cloud_remote *remote, int64_t now_us, struct span thing);
/* Followers of one vehicle's results (the owner's other phone, the insurer's desk); false: out of memory. */
bool cloud_remote_follow(struct cloud_remote *remote, struct span thing, uint64_t follower);
int64_t cloud_remote_next_deadline(const struct cloud_remote *remote);
void cloud_remote_tick(struct cloud_remote *remote, int64_t now_us);
struct cloud_remote_counts {
    uint64_t asked, ended[4], late, open, taps, fallbacks, enquiries, answers_repeated;
    uint64_t conflicts; /* SHADOW: 409 */
};
void cloud_remote_count(const struct cloud_remote *remote, struct cloud_remote_counts *out);
/* At the end of a run: each command that has not ended. */
void cloud_remote_each_open(const struct cloud_remote *remote,
                            void (*visit)(void *context, uint64_t id, uint64_t token, bool late), void *context);
uint64_t cloud_remote_bytes(const struct cloud_remote *remote);

#endif
