/* sim/measure.h: what both worlds record, how it merges, and how expectations become verdicts.
 *
 * Both worlds fill the same tables through the same calls; everything is integers and sums, so the order of calls and the
 * number of processes cannot show. Durations are counted from the *intended* moment (no coordinated omission).
 * Samples whose intended moment lies in an excluded phase (warm-up) are kept apart from the statistics. The ledger knows no
 * phases: it accounts for every message of the run.
 *
 * One measure belongs to one thread; processes merge theirs at the end (measure_merge, measure_pack). Memory is taken as it is
 * needed; when there is none, what could not be kept is counted (measure_unrecorded) and no expectation passes any more.
 */
#ifndef SIM_MEASURE_H
#define SIM_MEASURE_H

#include "base.h"

/* ---- log-linear histogram ----------------------------------------------------------------------------------------- */

/* 64 linear steps an octave: relative error at most 1/64 of the value; exact below 128. The last bucket begins at 2^40 (12.7 days in
 * microseconds) and also takes everything above, which is counted in `clamped`; minimum, maximum and sum stay exact. */
#define HISTOGRAM_TOP     (INT64_C(1) << 40)
#define HISTOGRAM_BUCKETS (64 * 35 + 1)
struct histogram {
    uint64_t count;
    int64_t minimum, maximum;
    uint64_t sum_low, sum_high; /* 128-bit */
    uint64_t clamped;
    uint64_t bucket[HISTOGRAM_BUCKETS];
};
void histogram_clear(struct histogram *histogram);
void histogram_add(struct histogram *histogram, int64_t value); /* negative counts as 0 */
void histogram_merge(struct histogram *into, const struct histogram *from);
/* Value at or below which a share q (0..1) of the samples lies (upper edge of the bucket, never above maximum). 0 when empty. */
int64_t histogram_quantile(const struct histogram *histogram, double q);
double histogram_mean(const struct histogram *histogram);
/* Distribution-free bounds of the quantile at a confidence (order statistics, binomial); false if there are too few samples to give one.
 * The confidence is that of the interval: the quantile lies outside with at most 1 - confidence, half of it on either side. */
bool histogram_quantile_bounds(const struct histogram *histogram, double q, double confidence, int64_t *low,
                               int64_t *high);
/* Share (0..1) of the samples at or below the value; a bucket that the value cuts counts by its part. 0 when empty. */
double histogram_share(const struct histogram *histogram, int64_t value);
double histogram_sum(const struct histogram *histogram);
double histogram_deviation(const struct histogram *histogram); /* from the middles of the buckets */
int64_t histogram_bucket_low(uint32_t index);
int64_t histogram_bucket_high(uint32_t index);
uint32_t histogram_index(int64_t value);

/* ---- metrics ------------------------------------------------------------------------------------------------------ */

enum metric {                                /* unit µs unless said */
              METRIC_PROVISION_KEY,          /* key pair and CSR */
              METRIC_PROVISION_CERTIFICATE,  /* request to the certificate broker, connection included, until stored */
              METRIC_PROVISION_REGISTRATION, /* first operational connect refused until a connect was accepted */
              METRIC_PROVISION_TOTAL,        /* power-up without identity until the first accepted connect */
              METRIC_CONNECT_RESOLVE,
              METRIC_CONNECT_TCP,
              METRIC_CONNECT_TLS,
              METRIC_CONNECT_CONNACK,      /* CONNECT sent until CONNACK */
              METRIC_CONNECT_TOTAL,        /* attempt begun until CONNACK 0 */
              METRIC_RECONNECT,            /* connection lost until online again */
              METRIC_RECONNECT_INTERVAL,   /* between the beginnings of two attempts in a row of one vehicle */
              METRIC_TELEMETRY_ACK,        /* intended until PUBACK */
              METRIC_TELEMETRY_END_TO_END, /* intended until a processor has it */
              METRIC_COMMAND_ROUND_TRIP,   /* app asks until the app is answered; by path */
              METRIC_COMMAND_DELIVERY,     /* app asks until the vehicle has it */
              METRIC_PRESENCE_DELAY,       /* change of connection until the presence event */
              METRIC_BYTES_UP_DAY,         /* bytes a vehicle and day */
              METRIC_BYTES_DOWN_DAY,
              METRIC_SEND_LAG,              /* live: planned send until written */
              METRIC_ROTATION_NOTICE,       /* decided until the vehicle has the job's document */
              METRIC_ROTATION_KEY,          /* ... until its new key pair and request are there */
              METRIC_ROTATION_CERTIFICATE,  /* ... until the new certificate is stored */
              METRIC_ROTATION_REGISTRATION, /* ... until it is granted and ACTIVE */
              METRIC_ROTATION_SWITCH,       /* ... until connected with it */
              METRIC_ROTATION_DEACTIVATION, /* ... until the old one is deactivated */
              METRIC_ROTATION_TOTAL,        /* decided until the job has SUCCEEDED */
              METRIC_ROTATION_OVERLAP,      /* both certificates valid */
              METRIC_REVOCATION_CUT,        /* certificate lost its status until its live connection was cut */
              METRIC_CLONE_DETECTION,       /* second user of an identity connects until it is found out */
              METRIC_SWAP_TOTAL,            /* new TCU gets power until it is online */
              METRIC_OWNER_TOTAL,           /* owner changed until the vehicle is back with a new certificate */
              /* The steps of a command that was answered; what its way does not have is not sampled. They add up to the round trip. */
              METRIC_COMMAND_SERVICE, /* app asks until the request, or the first SMS, leaves the cloud */
              METRIC_COMMAND_WAKE,    /* ... until the vehicle has the SMS */
              METRIC_COMMAND_CONNECT, /* ... until it is online */
              METRIC_COMMAND_TRANSIT, /* ... until it has the command */
              METRIC_COMMAND_EXECUTE, /* ... until it is done */
              METRIC_COMMAND_ANSWER,  /* ... until the app knows */
              METRIC_SMS_DELIVERY,    /* submitted until the device has it */
              METRIC_SHADOW_SYNC,     /* desired changed until reported equals it */
              METRIC_REGION_MOVE,     /* vehicle is in the new region until it serves commands there */
              METRIC_FAILOVER,        /* region lost until online in another */
              METRIC_BATTERY_USED,    /* micro ampere hours a parking, TCU only */
              METRIC_ALIAS_SAVED_DAY, /* bytes a vehicle and day that topic aliases saved */
              METRIC_DATA_COST_DAY,   /* millionths of the currency a vehicle and day */
              METRIC_CONNECTION_DEAD, /* the network has forgotten a connection until its vehicle finds out */
              METRIC_COUNT
};
/* What a metric's samples are. */
enum metric_kind { METRIC_IS_TIME, METRIC_IS_BYTES, METRIC_IS_CHARGE, METRIC_IS_MONEY };
enum metric_kind metric_kind(enum metric metric);
enum metric_path {
    PATH_ANY = 0,
    PATH_CONNECTED,
    PATH_QUEUED,
    PATH_TAP,    /* woken by SMS */
    PATH_EDRX,   /* online, its modem asleep: waited for a paging occasion */
    PATH_SHADOW, /* through its shadow */
    PATH_COUNT
}; /* command found the vehicle online / waited for it */

/* Counters over time: one bin a second (wider when the run is longer than 100,000 s), and their total. */
enum counter {
    COUNTER_CONNECT_ATTEMPTS,
    COUNTER_CONNECTS,         /* accepted */
    COUNTER_CONNECTS_REFUSED, /* by CONNACK or by closing during registration */
    COUNTER_CONNECTS_FAILED,  /* never got an answer: resolve, TCP, TLS, time-out */
    COUNTER_DISCONNECTS,
    COUNTER_PUBLISHES,   /* vehicle to broker, first sendings */
    COUNTER_REPUBLISHES, /* with DUP */
    COUNTER_PUBLISH_ACKS,
    COUNTER_DELIVERIES, /* to processors */
    COUNTER_PINGS,
    COUNTER_COMMANDS,
    COUNTER_COMMANDS_ANSWERED,
    COUNTER_COMMANDS_TIMED_OUT,
    COUNTER_PROVISIONED,
    COUNTER_REGISTRATIONS_REFUSED,
    COUNTER_PRESENCE_EVENTS,
    COUNTER_BYTES_UP,
    COUNTER_BYTES_DOWN,
    COUNTER_LINK_DROPS,
    COUNTER_PROTOCOL_ERRORS, /* either end found the other at fault */
    COUNTER_ROTATIONS,       /* decided */
    COUNTER_ROTATIONS_SUCCEEDED,
    COUNTER_ROTATIONS_FAILED, /* ended otherwise */
    COUNTER_ROLLED_BACK,      /* new certificate did not work, back on the old */
    COUNTER_POWER_CUTS,       /* by a script */
    COUNTER_CERTIFICATES_ISSUED,
    COUNTER_REVOKED,
    COUNTER_CUT,                /* live connections cut because their certificate lost its status */
    COUNTER_INTRUSIONS_REFUSED, /* tries with an identity that is not, or no longer, theirs */
    COUNTER_INTRUSIONS,         /* ... accepted */
    COUNTER_CLONES_DETECTED,
    COUNTER_QUARANTINED,
    COUNTER_OWNERS_CHANGED,
    COUNTER_SWAPS,
    COUNTER_DECOMMISSIONED,
    COUNTER_FORBIDDEN,      /* publish, subscribe or delivery denied by policy */
    COUNTER_DATA_CROSSED,   /* a new owner could read the old one's data, or the other way round */
    COUNTER_VINS_SEEN,      /* in clear on the wire */
    COUNTER_OFFLINE_AT_END, /* has power and an identity of its own, and is not connected when the run ends */
    /* what is wrong with identities at the end of the run: one a vehicle */
    COUNTER_FLAW_NO_CERTIFICATE,
    COUNTER_FLAW_SECOND_CERTIFICATE,
    COUNTER_FLAW_SHARED_IDENTITY,
    COUNTER_FLAW_STILL_ACTIVE,
    COUNTER_FLAW_STILL_CONNECTED,
    COUNTER_FLAW_JOB_OPEN,
    COUNTER_FLAW_HISTORY,
    COUNTER_FLAW_REFERENCE,
    COUNTER_FLAW_OLD_ACCEPTED, /* the door would still let in the certificate that was replaced */
    /* remote commands, power, networks, regions */
    COUNTER_SMS_SENT,
    COUNTER_SMS_DELIVERED,
    COUNTER_SMS_DUPLICATED,
    COUNTER_SMS_LOST,
    COUNTER_WAKES,           /* by SMS or by its own timer */
    COUNTER_SLEEPS,          /* said good-bye and let the modem sleep */
    COUNTER_BATTERY_LOW,     /* its budget is used up: sleeps before its time */
    COUNTER_BATTERY_CUT_OFF, /* TCU off until the ignition */
    COUNTER_NAT_KILLS,       /* the network forgot an idle connection */
    COUNTER_HALF_OPEN,       /* the other end of a connection went without either being told */
    COUNTER_ADDRESS_CHANGES,
    COUNTER_HANDOVERS,
    COUNTER_SHADOW_UPDATES,
    COUNTER_SHADOW_CONFLICTS, /* 409 */
    COUNTER_REGION_MOVES,
    COUNTER_FAILOVERS,
    COUNTER_RESIDENCY_REFUSALS, /* no region that may serve it is up */
    COUNTER_MIGRATED,           /* online on the new broker for the first time */
    COUNTER_MIGRATED_BACK,
    COUNTER_ROUTED,         /* messages routed by user property */
    COUNTER_NOTICES,        /* messages of the cloud to vehicles (weather, hazards, updates) delivered */
    COUNTER_MEMBERS_DIED,   /* members of shared subscriptions */
    COUNTER_MEMBERS_UNEVEN, /* ... that had more or less than their share of the load, each time it was looked at */
    /* what must not be; each names its vehicles: measure_command_victim() */
    COUNTER_COMMANDS_FORGED_TAKEN, /* forged, replayed or late commands that were executed */
    COUNTER_COMMANDS_FORGED,       /* ... refused by the vehicle */
    COUNTER_COMMANDS_MISREPORTED,  /* the end that was told is not what the vehicle did */
    COUNTER_COMMANDS_UNENDED,      /* at the end of the run, though there was time */
    COUNTER_PRESENCE_WRONG,        /* not what the watch says, a debounce after the last change */
    COUNTER_SHADOW_DIVERGED,       /* at the end */
    COUNTER_REGION_WRONG,          /* online where it does not belong */
    COUNTER_REGION_LEFTOVERS,      /* a region has what it must not have any more */
    COUNTER_RESIDENCY_VIOLATIONS,  /* data went where the rules forbid it */
    COUNTER_ROUTED_WRONG,          /* a processor got a version that is not its own */
    COUNTER_STALE_DELIVERED,       /* a notice after its expiry */
    COUNTER_NOTICES_LOST,          /* one without expiry did not arrive */
    COUNTER_RESULTS_ASTRAY,        /* one that a watcher of the vehicle did not get, or anybody before an earlier one */
    COUNTER_PINGS_MISSED,          /* silent for longer than its keep alive allows */
    /* gauges: fed with +1/-1, a bin holds the change, the reader sums */
    COUNTER_CONNECTED,
    COUNTER_DRIVING,
    COUNTER_ASLEEP,
    COUNTER_COUNT
};
/* Counters of commands, networks and regions whose increase names a vehicle. */
bool counter_has_victims(enum counter counter);
bool counter_is_gauge(enum counter counter);
const char *metric_name(enum metric metric);    /* "telemetry.end_to_end" */
const char *metric_unit(enum metric metric);    /* "us" or "bytes" */
const char *counter_name(enum counter counter); /* "connects" */
/* -1 if unknown */
int metric_find(const char *name);
int counter_find(const char *name);
bool counter_is_bytes(enum counter counter);
const char *metric_path_name(enum metric_path path); /* "any", "connected", "queued" */

/* Who: small indices given by the scenario. */
struct measure_dimension {
    uint16_t cohort, region;
    uint8_t path;
};
#define MEASURE_ANY       0xFFFF /* in filters */
#define MEASURE_EVERYBODY ((struct measure_dimension){MEASURE_ANY, MEASURE_ANY, PATH_ANY})

/* ---- ledger: every application message by id ----------------------------------------------------------------------- */

/* Telemetry of one vehicle. Messages are numbered from 1 without gaps by the agent. A zeroed row is an empty one.
 * A measure keeps it in 16 bytes while its numbers are near each other (rows.c). */
struct ledger_row {
    uint32_t intended;     /* highest number the agent meant to send */
    uint32_t acknowledged; /* PUBACKs with success, each message once */
    uint32_t delivered;    /* distinct messages a processor received */
    uint32_t duplicated;   /* received again */
    uint32_t dropped;      /* by the agent's stated queue rule, not delivered before (ledger_dropped) */
    uint32_t pending;      /* at the end: still queued or in flight at the vehicle, not delivered (ledger_pending) */
    uint32_t window_base;  /* every number up to this one is classified: delivered or forgotten */
    uint32_t forgotten;    /* gaps pushed out of the window: counted as not delivered */
    uint64_t window;       /* bit i: number window_base + 1 + i was delivered; bit 0 is always clear */
};
/* Holds after every call: delivered == window_base - forgotten + bits set in window.
 * A number that arrives 64 or more behind the highest one, and first then, is taken for a repetition: a loss may be over-reported by
 * messages that overtake each other so far, never hidden. Number 0 is no message and changes nothing. */
void ledger_intended(struct ledger_row *row, uint32_t number);
void ledger_delivered(struct ledger_row *row, uint32_t number);
/* The agent gave the message up / still holds it when the run ends. Counted only if no processor is known to have it, so that a message
 * that was delivered and whose acknowledgement was lost hides no other message's loss. */
void ledger_dropped(struct ledger_row *row, uint32_t number);
void ledger_pending(struct ledger_row *row, uint32_t number);
/* lost = intended - delivered - dropped - pending; never negative. */
uint32_t ledger_lost(const struct ledger_row *row);
/* Two processes' parts of one vehicle's row. Numbers both of them saw delivered are duplicates as far as the windows still tell. */
void ledger_merge(struct ledger_row *into, const struct ledger_row *from);
/* Commands: one count per outcome, per vehicle only where something went wrong. */
struct ledger_commands {
    uint64_t intended, sent, delivered, executed, executed_twice, answered, timed_out, expired, lost, pending;
    /* Where commands have ends (a scenario with commands { }): each intended one is in exactly one of these. */
    uint64_t ended_executed, ended_failed, ended_expired, ended_refused, unended;
};

/* ---- the measure of a run ------------------------------------------------------------------------------------------ */

/* Who suffered: the worst sample of each of the worst vehicles. Sorted by value (largest first), vehicle, moment. */
#define MEASURE_NO_VEHICLE UINT32_MAX
struct measure_worst {
    int64_t value, at_us;
    uint32_t vehicle;
    uint32_t step; /* enum identity_step, of victims of identities */
};
#define MEASURE_WORST 32

struct measure_interval {
    int64_t from_us, to_us;
    char name[32];
};

struct measure_options {
    uint32_t vehicles, cohorts, regions;
    int64_t duration_us;
    const struct measure_interval *excluded; /* copied; from_us is in, to_us is out; they may overlap */
    uint32_t excluded_count;
    /* Vehicles with the same number % groups have their ledger rows together, taken when the first of them is written: a process
     * holds rows of the groups (partitions) it runs only. 0: one group. */
    uint32_t groups;
};

struct measure;
struct measure *measure_create(const struct measure_options *options); /* NULL: out of memory */
void measure_destroy(struct measure *measure);
uint64_t measure_bytes(const struct measure *measure);
void measure_merge(struct measure *into, const struct measure *from); /* same options, but the groups */
/* One block of bytes for another process of the same build and machine type; *bytes is the caller's to free(). false: out of memory. */
bool measure_pack(const struct measure *measure, uint8_t **bytes, size_t *length);
bool measure_merge_packed(struct measure *into, const uint8_t *bytes,
                          size_t length); /* false, nothing changed: not such a block */
/* Samples and counts that could not be kept for want of memory; anything but 0 makes every verdict inconclusive. */
uint64_t measure_unrecorded(const struct measure *measure);
/* Which cohort and region a vehicle belongs to: lets the ledger be read by cohort and region. `context` is borrowed until destroy. */
void measure_set_who(struct measure *measure, struct measure_dimension (*who)(void *context, uint32_t vehicle),
                     void *context);

/* intended_us: the moment the sample belongs to (decides its phase). vehicle: MEASURE_NO_VEHICLE for a sample of nobody.
 * Moments before 0 belong to the first bin; counts after the duration are in totals only, not in the series. */
void measure_sample(struct measure *measure, enum metric metric, struct measure_dimension who, uint32_t vehicle,
                    int64_t intended_us, int64_t value);
void measure_count(struct measure *measure, enum counter counter, struct measure_dimension who, int64_t at_us,
                   int64_t amount);
/* The ledger: as ledger_intended() and the others, on the vehicle's row. */
void measure_ledger_intended(struct measure *measure, uint32_t vehicle, uint32_t number);
void measure_ledger_acknowledged(struct measure *measure, uint32_t vehicle); /* one more */
void measure_ledger_delivered(struct measure *measure, uint32_t vehicle, uint32_t number);
void measure_ledger_dropped(struct measure *measure, uint32_t vehicle, uint32_t number);
void measure_ledger_pending(struct measure *measure, uint32_t vehicle, uint32_t number);
struct ledger_commands *measure_commands(struct measure *measure);
/* A vehicle a command went wrong for: remembered up to MEASURE_WORST per kind, lowest numbers first, with how often and when first. */
#define VICTIM_LOST           COUNTER_COMMANDS
#define VICTIM_TIMED_OUT      COUNTER_COMMANDS_TIMED_OUT
#define VICTIM_EXECUTED_TWICE COUNTER_COMMANDS_ANSWERED
void measure_command_victim(struct measure *measure, enum counter kind, uint32_t vehicle, int64_t at_us);
/* The same for what goes wrong with identities: COUNTER_ROTATIONS_FAILED and the counters behind it whose increase is a flaw, ROLLED_BACK among them.
 * step: at which the vehicle was, for people. Counts it too (measure_count), into the last bin when the run is over: flaws are found then. */
enum identity_step {
    IDENTITY_STEP_NONE,
    IDENTITY_STEP_NOTICE,
    IDENTITY_STEP_KEY,
    IDENTITY_STEP_CERTIFICATE,
    IDENTITY_STEP_REGISTRATION,
    IDENTITY_STEP_SWITCH,
    IDENTITY_STEP_DEACTIVATION,
    IDENTITY_STEP_REPORT,
    IDENTITY_STEP_CUT,
    IDENTITY_STEP_CONNECT,
    IDENTITY_STEPS
};
const char *identity_step_name(enum identity_step step); /* "waiting for the new certificate" */
/* Counters that identities have victims of, and those among them that are flaws of the end state. */
bool counter_has_identity_victims(enum counter counter);
bool counter_is_flaw(enum counter counter);
void measure_identity_victim(struct measure *measure, enum counter kind, struct measure_dimension who, uint32_t vehicle,
                             int64_t at_us, enum identity_step step);

/* Reading. dimension fields may be MEASURE_ANY / PATH_ANY. The histogram is summed into *out (cleared first). */
void measure_histogram(const struct measure *measure, enum metric metric, struct measure_dimension filter,
                       bool excluded_phase, struct histogram *out);
uint32_t measure_worst(const struct measure *measure, enum metric metric, struct measure_dimension filter,
                       struct measure_worst out[MEASURE_WORST]); /* worst first; excluded phases left out */
/* Of the whole run; the second only of the excluded phases. */
int64_t measure_total(const struct measure *measure, enum counter counter, struct measure_dimension filter);
int64_t measure_total_excluded(const struct measure *measure, enum counter counter, struct measure_dimension filter);
/* Bins of a counter (gauges: running level at the end of the bin). *bin_us is their width; all counters of a run have the same bins.
 * Caller frees with free(). NULL: out of memory. */
int64_t *measure_series(const struct measure *measure, enum counter counter, struct measure_dimension filter,
                        uint32_t *count, int64_t *bin_us);
bool measure_excluded(const struct measure *measure, int64_t at_us);
const struct measure_options *measure_get_options(const struct measure *measure);
/* value: how often; at_us: first time; step: then. Lowest vehicle first. Commands' victims and identities'. */
uint32_t measure_command_victims(const struct measure *measure, enum counter kind,
                                 struct measure_worst out[MEASURE_WORST]);
/* How many fell victim at each step, those that are not remembered included. Not kept by path. */
void measure_identity_steps(const struct measure *measure, enum counter kind, struct measure_dimension filter,
                            uint64_t out[IDENTITY_STEPS]);

/* The ledger's columns, as totals read them. */
enum ledger_field {
    LEDGER_INTENDED,
    LEDGER_ACKNOWLEDGED,
    LEDGER_UNACKNOWLEDGED,
    LEDGER_DELIVERED,
    LEDGER_DUPLICATED,
    LEDGER_DROPPED,
    LEDGER_PENDING,
    LEDGER_LOST,
    LEDGER_FIELD_COUNT
};
enum commands_field {
    COMMANDS_INTENDED,
    COMMANDS_SENT,
    COMMANDS_DELIVERED,
    COMMANDS_EXECUTED,
    COMMANDS_EXECUTED_TWICE,
    COMMANDS_ANSWERED,
    COMMANDS_TIMED_OUT,
    COMMANDS_EXPIRED,
    COMMANDS_LOST,
    COMMANDS_PENDING,
    COMMANDS_ENDED_EXECUTED,
    COMMANDS_ENDED_FAILED,
    COMMANDS_ENDED_EXPIRED,
    COMMANDS_ENDED_REFUSED,
    COMMANDS_UNENDED,
    COMMANDS_FIELD_COUNT
};
const char *ledger_field_name(enum ledger_field field);     /* "lost" */
const char *commands_field_name(enum commands_field field); /* "executed_twice" */
int ledger_field_find(const char *name);                    /* -1 if unknown */
int commands_field_find(const char *name);
uint32_t
ledger_value(const struct ledger_row *row,
             enum ledger_field field); /* unacknowledged: intended - acknowledged - dropped, pending included */
uint64_t commands_value(const struct ledger_commands *commands, enum commands_field field);

struct ledger_totals {
    uint64_t field[LEDGER_FIELD_COUNT];
    uint64_t forgotten;
    uint32_t vehicles;           /* that meant to send anything */
    uint32_t vehicles_concerned; /* with a message lost */
};
/* Over the vehicles the filter takes. false: a cohort or region was asked for and measure_set_who() was never told. */
bool measure_ledger_totals(const struct measure *measure, struct measure_dimension filter, struct ledger_totals *out);
/* Vehicles with the largest value of a column (only above 0), worst first; at_us is -1. Returns how many. */
uint32_t measure_ledger_worst(const struct measure *measure, enum ledger_field field, struct measure_dimension filter,
                              struct measure_worst out[MEASURE_WORST]);
struct ledger_row measure_ledger_row(const struct measure *measure, uint32_t vehicle); /* empty: not written here */
const struct ledger_commands *measure_commands_row(const struct measure *measure);

/* ---- expectations -------------------------------------------------------------------------------------------------- */

enum expectation_source { EXPECT_METRIC, EXPECT_COUNTER, EXPECT_LEDGER, EXPECT_COMMANDS };
enum statistic {
    STATISTIC_QUANTILE,
    STATISTIC_MEAN,
    STATISTIC_MAXIMUM,
    STATISTIC_MINIMUM,
    STATISTIC_COUNT,
    STATISTIC_TOTAL,
    STATISTIC_LAST, /* of a series or gauge */
    STATISTIC_SHARE /* of `intended`: ledger and commands fields, 0..1 */
};
enum comparison { BELOW, AT_MOST, ABOVE, AT_LEAST, EQUALS };
enum temporal {
    AT_END,
    ALWAYS,
    EVENTUALLY
}; /* for counters: every bin / some bin up to by_us; of TOTAL: the total so far */

#define EXPECTATION_ALSO 15
struct expectation {
    char id[48];
    char text[96]; /* for people: "p99 of command round trip, path connected" */
    uint32_t line; /* in the scenario file */
    enum expectation_source source;
    uint32_t what; /* enum metric, counter, ledger_field or commands_field */
    uint8_t
        also[EXPECTATION_ALSO]; /* counters of the same unit, each another one, that are added to `what`; no gauges */
    uint32_t also_count;
    enum statistic statistic;
    double quantile; /* 0..1 */
    struct measure_dimension filter;
    enum comparison comparison;
    double bound; /* in the metric's unit (µs, bytes, counts, per second for rates, 0..1 for shares) */
    double
        confidence; /* 0: none asked; else 0.5..0.9999: a pass and a fail are each wrong with at most 1 - confidence */
    enum temporal temporal;
    int64_t from_us,
        by_us; /* counters: window looked at, excluded phases included (by_us 0: to the end); 0, 0: all but the excluded phases */
    bool with_excluded; /* metrics: excluded phases (warm-up) included; counters: as if the window were the whole run */
    uint64_t minimum_samples; /* fewer: inconclusive; 0 means 1 (none for counts and totals of a metric) */
    char needs[32];           /* a feature of the cloud without which this cannot be judged ("registration"); "" none */
};
enum verdict { VERDICT_PASS, VERDICT_FAIL, VERDICT_INCONCLUSIVE, VERDICT_NOT_AVAILABLE };
const char *verdict_name(enum verdict verdict);          /* "pass", "fail", "inconclusive", "not available" */
const char *comparison_name(enum comparison comparison); /* "below", "at most" ... */
const char *statistic_name(enum statistic statistic);    /* "quantile" ... */

struct expectation_result {
    enum verdict verdict;
    double measured, low,
        high; /* low/high: confidence bounds, equal to measured when none asked; too few samples: 0 / INFINITY */
    uint64_t samples; /* metric: samples; counter: bins looked at; ledger, commands: messages (or vehicles) */
    int64_t at_us;    /* moment of the extreme (start of its bin); -1: none */
    char detail
        [160]; /* for people; victims of identities: "12 vehicles: 10 waiting for the new certificate, 2 switching" */
    struct measure_worst worst[MEASURE_WORST]; /* the vehicles concerned, worst first */
    uint32_t worst_count;
};
/* What makes the expectation impossible to judge, whatever is measured ("a gauge has no total"), or NULL: for the scenario's reader. */
const char *expectation_problem(const struct expectation *expectation);
/* unavailable: comma-separated features that the cloud in use lacks, or NULL for none. */
void expectation_judge(const struct measure *measure, const struct expectation *expectation, const char *unavailable,
                       struct expectation_result *out);
/* What an expectation on counters looks at: as measure_series(), of the sum. */
int64_t *expectation_series(const struct measure *measure, const struct expectation *expectation, uint32_t *count,
                            int64_t *bin_us);
/* Bound or measured value as a person writes it: "1.31 s", "412/s", "0". */
void expectation_format(const struct expectation *expectation, double value, char *out, size_t capacity);
/* The same for values that belong to no expectation. */
void measure_format_duration(double us, char *out, size_t capacity);      /* "41 ms", "1.31 s", "2 min 3 s" */
void measure_format_bytes(double bytes, char *out, size_t capacity);      /* "1.2 MB" (powers of 1,000) */
void measure_format_charge(double uah, char *out, size_t capacity);       /* "1.31 Ah", "420 mAh" */
void measure_format_money(double millionths, char *out, size_t capacity); /* "0.0042" */
void measure_format_metric(enum metric metric, double value, char *out, size_t capacity);
void measure_format_count(double count, char *out, size_t capacity); /* "14,986" */
void measure_format_share(double share, char *out, size_t capacity); /* "0.12 %" */

#endif
