/* sim/conform.h: a broker, held against the statements of MQTT 5.0 (and 3.1.1) that can be observed on its wire.
 *
 * A *statement* is a rule of the standard: one of the 251 numbered ones ("MQTT-3.1.2-22") or a rule without a number ("S3.3.4a"). A *check*
 * plays one or several clients against the broker and judges what comes back; a check may have *rows*: the same question asked of many packets.
 * *Monitors* judge every packet that any check is sent. conform_run() does it all and gives results; who prints or writes them reads this header
 * only. One thread per check under way; nothing here is shared between two runs.
 * Source: OASIS MQTT 5.0 (2019-03-07); the catalogue is sim/conform/statements.c.
 */
#ifndef SIM_CONFORM_H
#define SIM_CONFORM_H

#include "mqtt5/packet.h"

/* ---- the catalogue -------------------------------------------------------------------------------------------------- */

enum conform_level { CONFORM_NOTE, CONFORM_MAY, CONFORM_SHOULD, CONFORM_MUST }; /* ordered by strength */

enum conform_testable {
    CONFORM_NOT_TESTABLE, /* a rule for clients, or not visible from outside */
    CONFORM_CONDITIONAL,  /* on a broker that has, or lacks, something */
    CONFORM_TESTABLE,
};

struct conform_statement {
    const char *id;     /* "MQTT-3.1.2-22", "S3.3.4a" */
    const char *side;   /* "server", "client", "both" */
    const char *packet; /* "CONNECT" */
    enum conform_level level;
    enum conform_testable testable;
    const char *text;   /* the rule in our words */
    const char *how;    /* how it is observed, or why it cannot be */
    const char *waiver; /* testable and without a check: why; "" when there is none */
};
const struct conform_statement *conform_statement_at(uint32_t index); /* NULL: past the last */
/* The smaller catalogue of MQTT 3.1.1; its ids begin with "V3-". */
const struct conform_statement *conform_statement_311_at(uint32_t index); /* NULL: past the last */
/* Of either. NULL: there is no such statement. */
const struct conform_statement *conform_statement(const char *id);

/* What a check asks of a broker, or of the person who runs it. Bits of struct conform_check.needs. */
enum conform_need {
    CONFORM_QOS_1 = 1 << 0,
    CONFORM_QOS_2 = 1 << 1,
    CONFORM_RETAIN = 1 << 2,
    CONFORM_WILDCARD = 1 << 3,
    CONFORM_SUBSCRIPTION_ID = 1 << 4,
    CONFORM_SHARED = 1 << 5,
    CONFORM_ALIAS_IN = 1 << 6,       /* the broker takes topic aliases */
    CONFORM_SESSION = 1 << 7,        /* sessions outlive their connection: 300 s asked for, at least 5 s granted */
    CONFORM_EMPTY_ID = 1 << 8,       /* an empty client id is accepted */
    CONFORM_DOLLAR = 1 << 9,         /* "$..." topics may be published to */
    CONFORM_SMALL_PACKETS = 1 << 10, /* the broker's maximum packet size is at most 1 MiB */
    CONFORM_LOW_QOS = 1 << 11,       /* lacks: maximum QoS below 2 */
    CONFORM_NO_RETAIN = 1 << 12,     /* lacks: retained messages, and says so */
    CONFORM_NO_WILDCARD = 1 << 13,
    CONFORM_NO_SUBSCRIPTION_ID = 1 << 14,
    CONFORM_NO_SHARED = 1 << 15,
    CONFORM_REFUSED_TOPIC = 1 << 16,  /* told by the profile: a topic that may not be published to */
    CONFORM_REFUSED_FILTER = 1 << 17, /* told: a filter that may not be subscribed to */
    CONFORM_REFUSED_LOGIN = 1 << 18,  /* told: a user and a password that are refused */
    CONFORM_REFUSED_ID = 1 << 19,     /* told: a client id that is refused */
    CONFORM_AUTH_METHOD = 1 << 20,    /* told: an authentication method, and what to answer */
    CONFORM_OWN_BROKER = 1 << 21,     /* nobody else uses it: --own-broker, or embedded */
    CONFORM_SOCKET = 1 << 22,         /* the transport is TCP in clear or TLS: bytes can be cut anywhere */
    CONFORM_WEBSOCKET = 1 << 23,
    CONFORM_TLS = 1 << 24,
    CONFORM_RETAIN_QOS_0 = 1 << 25, /* retained messages of QoS 0 are kept */
    CONFORM_VERSION_311 = 1 << 26,  /* MQTT 3.1.1 is spoken, too */
    CONFORM_ALIAS_OUT = 1 << 27,    /* the broker uses topic aliases towards clients that allow them */
    CONFORM_NEEDS = 28,
};
const char *conform_need_name(uint32_t bit); /* "retained messages" */

enum conform_lane {
    CONFORM_FAST,     /* done as soon as the broker has answered */
    CONFORM_SLOW,     /* waits for timers of the standard; all at the same time */
    CONFORM_HEAVY,    /* much traffic or large packets: --lane heavy */
    CONFORM_ISOLATED, /* may disturb others: --own-broker only */
};

struct conform_probe;
struct conform_row {
    char name[80];   /* "CONNECT Receive Maximum twice" */
    const char *ref; /* the statement of this row; NULL: the check's */
};
struct conform_check {
    const char *id;           /* "B-CONN-004"; never given to another check */
    const char *name;         /* what is asserted, in a few words */
    const char *refs[8];      /* ids of statements, the asserted one first; NULL ends */
    enum conform_level level; /* of what is asserted: not above the strongest statement's */
    uint32_t needs;
    enum conform_lane lane;
    enum mq5_version version; /* 0: MQ5_V5 */
    void (*run)(struct conform_probe *probe);
    uint32_t (*row_count)(void); /* NULL: one run, no rows */
    void (*row)(uint32_t row, struct conform_row *out);
};
/* All checks, in the order of the standard. */
const struct conform_check *conform_check_at(uint32_t index); /* NULL: past the last */
const struct conform_check *conform_check_find(const char *id);
/* Which of the two catalogues a check is of: MQ5_V5, or MQ5_V311 (its statements begin with "V3-"). */
enum mq5_version conform_check_protocol(const struct conform_check *check);
/* The statements of one catalogue. NULL: past the last. */
const struct conform_statement *conform_catalogue_at(enum mq5_version protocol, uint32_t index);

struct conform_monitor {
    const char *id;      /* "M-FLAGS" */
    const char *refs[4]; /* "MQTT-2.1.3-1", the one that a hit counts against first; NULL ends */
    const char *name;    /* "reserved flags are as the standard has them" */
};
const struct conform_monitor *conform_monitor_at(uint32_t index); /* NULL: past the last */

/* ---- results -------------------------------------------------------------------------------------------------------- */

enum conform_verdict {
    CONFORM_NOT_RUN,
    CONFORM_PASS,
    CONFORM_FAIL,         /* a MUST contradicted by bytes in the trace, twice */
    CONFORM_WARN,         /* a SHOULD not met, or legal and unusual */
    CONFORM_SKIP,         /* what it needs is not there */
    CONFORM_INCONCLUSIVE, /* a precondition or a control failed */
    CONFORM_ERROR,        /* the rig's own fault */
    CONFORM_XFAIL,        /* failed, and the profile knows of it */
    CONFORM_XPASS,        /* passed, and the profile says that it does not */
};
const char *conform_verdict_name(enum conform_verdict verdict); /* "pass" */

enum conform_direction { CONFORM_OUT, CONFORM_IN, CONFORM_EVENT };
struct conform_trace_line {
    int64_t at_us; /* since the run began */
    uint8_t direction;
    uint8_t wire;      /* number of the connection within the check, from 0 */
    const char *text;  /* event, or the decoded packet in one line */
    struct span bytes; /* of a packet (secrets masked); empty for events */
};
struct conform_trace {
    const struct conform_trace_line *lines;
    uint32_t count;
};

/* Something found beside the verdict: a part of a check (SHOULD), a monitor's hit, a remark. */
struct conform_finding {
    enum conform_verdict verdict; /* CONFORM_FAIL (monitor), CONFORM_WARN, CONFORM_PASS (a remark) */
    const char *id;               /* of the monitor, or the name of the part */
    const char *ref;              /* statement */
    const char *text;
    uint32_t line; /* of the trace */
};

struct conform_result {
    const struct conform_check *check;
    struct conform_row row; /* name is "" without rows */
    char id[96];            /* "B-PROP-CONNECT[33.twice]" or the check's */
    const char *ref;        /* the statement asserted */
    enum conform_verdict verdict;
    char why[400]; /* what was expected and what came instead; what is missing; "" with CONFORM_PASS */
    uint32_t line; /* of the trace, that decided */
    const struct conform_finding *findings;
    uint32_t finding_count;
    int64_t began_us, took_us;
    enum conform_verdict first; /* of the first run, when it was repeated; else CONFORM_NOT_RUN */
    const char *deviation;      /* CONFORM_XFAIL, CONFORM_XPASS: the profile's reason; else NULL */
    struct conform_trace trace;
    void *memory; /* the suite's */
};

/* What the broker said of itself, and what was found out before any check. */
struct conform_broker {
    struct mq5_properties told;     /* of the first CONNACK; spans point into this run */
    uint32_t has;                   /* bits of enum conform_need */
    char learnt[CONFORM_NEEDS][96]; /* where a bit, or its absence, was learnt */
    int64_t round_trip_median_us, round_trip_p99_us;
    int64_t subscription_delay_us; /* from SUBACK to the first message, at most */
    uint32_t session_expiry_s;     /* granted when 300 were asked for */
    uint16_t receive_maximum, topic_alias_maximum;
    uint32_t maximum_packet_size; /* 0: no limit told */
    uint8_t maximum_qos;
};

struct conform_outcome {
    struct conform_broker broker;
    struct conform_result *results; /* in the order of the suite: every check and row that was asked for */
    uint32_t result_count;
    uint64_t monitor_seen[64], monitor_hits[64]; /* by index of monitor: packets looked at, and found wrong */
    uint64_t connections, packets_in, packets_out;
    char run[9]; /* the run's name, in all of its topics and client ids */
    int64_t wall_us;
    enum mq5_version protocol; /* the catalogue that was run */
    bool interrupted;
    void *memory; /* the suite's */
};

/* The verdict on a statement: the worst of its checks and monitors. CONFORM_NOT_RUN: nothing observed it. */
enum conform_verdict conform_statement_verdict(const struct conform_outcome *outcome,
                                               const struct conform_statement *statement);

/* ---- running -------------------------------------------------------------------------------------------------------- */

/* What is known of a broker beforehand: known deviations, what cannot be found out from outside (sim/conform/profiles/README.md). */
struct conform_profile;
const char *conform_profile_at(uint32_t index); /* names of those that come with the program; NULL: past the last */
/* A name, or a file (with a '/' or a '.' in it). `today` is YYYYMMDD: deviations end. NULL: *error. */
struct conform_profile *conform_profile_open(const char *name, int64_t today, char *error, size_t error_capacity);
void conform_profile_close(struct conform_profile *profile); /* NULL is nothing */
/* One more of what the profile tells ("told"), in place of what it says itself. false: no memory. */
bool conform_profile_tell(struct conform_profile *profile, const char *key, const char *value);
const char *conform_profile_name(const struct conform_profile *profile);
const char *conform_profile_prefix(const struct conform_profile *profile); /* NULL: says nothing */
double conform_profile_number(const struct conform_profile *profile,
                              const char *name); /* "parallel"; 0: says nothing */

struct conform_options {
    const char *uri; /* mqtt://host:port, mqtts://, ws://host:port/path (without one: /mqtt), wss:// */
    const char *ca, *certificate, *key, *user, *password;
    bool no_verify_name;
    const struct conform_profile *profile; /* NULL: the standard and nothing else */
    const char *only;          /* ids of checks, rows or statements, with commas; may end in '*'; NULL: all */
    const char *topic_prefix;  /* NULL: "mc5/" */
    enum mq5_version protocol; /* the catalogue: 0 and MQ5_V5, or MQ5_V311 */
    bool heavy, own_broker;
    uint32_t parallel;         /* checks at the same time; 0: 16 */
    double connects_per_s;     /* 0: 20, on loopback 500 */
    double time_scale;         /* of deadlines; 0: 1 */
    const char *journal;       /* file of what is left behind; NULL: none is kept */
    const char *capture;       /* pcapng of every packet; NULL: none */
    const char *packets;       /* a line of JSON for every packet, as it was decoded; NULL: none */
    bool keep_traces;          /* of checks that passed, too */
    uint64_t seed;             /* of the run's name; 0: from the system */
    const volatile bool *stop; /* NULL, or set from outside to end early */
    /* After each check, and again after its second run (last->first says so); from one thread at a time. */
    void (*progress)(void *context, uint32_t done, uint32_t total, const struct conform_result *last);
    void *progress_context;
};

/* false: no address of a broker (*error one line). */
bool conform_uri_valid(const char *uri, char *error, size_t error_capacity);
/* Runs discovery and the checks. false: the broker cannot be used at all (*error one line), nothing was judged. The outcome is to be released either
 * way. */
bool conform_run(const struct conform_options *options, struct conform_outcome *out, char *error,
                 size_t error_capacity);
void conform_release(struct conform_outcome *outcome);
/* Removes what a run left: retained messages and sessions of its journal. false: *error. */
bool conform_clean_up(const struct conform_options *options, uint32_t *removed, char *error, size_t error_capacity);

#endif
