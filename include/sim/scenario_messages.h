/* sim/scenario_messages.h: part of struct scenario: telemetry processors that share a subscription, and the cloud's notices to vehicles. */
#ifndef SIM_SCENARIO_MESSAGES_H
#define SIM_SCENARIO_MESSAGES_H

#include "base.h"

#define SCENARIO_GROUPS         8
#define SCENARIO_GROUP_VERSIONS 8
#define SCENARIO_GROUP_MEMBERS  12 /* in one place: a partition, a live process */
#define SCENARIO_NOTICES        8
#define SCENARIO_MESSAGES_NAME  24

/* Processors with one shared subscription. */
struct scenario_group {
    char name[SCENARIO_MESSAGES_NAME];
    char firmware[SCENARIO_GROUP_VERSIONS][24]; /* routed: whose telemetry it takes */
    uint32_t firmware_count;
    uint32_t members; /* at the start */
};

/* Something the cloud tells vehicles, once or again and again. */
struct scenario_notice {
    char kind[SCENARIO_MESSAGES_NAME];
    int64_t at_us, every_us, until_us; /* every_us 0: once */
    int64_t expires_us;                /* 0: never */
    uint16_t cohort, region;           /* MEASURE_ANY: all */
    double share;                      /* of these, others each time */
    bool retained;                     /* the newest waits for whoever comes, whatever became of its session */
};

struct scenario_messages {
    bool on;      /* any of this */
    bool aliases; /* what topic aliases save is counted */
    bool
        processors; /* processors { } was said: they are clients of the broker, and commit what they took from time to time */
    bool routed; /* by the user property that tells the firmware version */
    struct scenario_group groups[SCENARIO_GROUPS];
    uint32_t group_count;
    int64_t commit_us; /* what a processor has taken is written, and acknowledged, so long after the first of it came */
    int64_t session_s; /* of a member that died: how long its messages wait for it; 0: others get them at once */
    double spread;     /* a member's load may differ so far from an equal share */
    struct scenario_notice notices[SCENARIO_NOTICES];
    uint32_t notice_count;
    int64_t grace_us; /* what a notice may be late beyond its expiry: it was on its way */
    /* Faults: switches, above 0.5 is on; forget_expiry: share of notices. */
    double wrong_route, early_acknowledgement, unshared, idle_members, forget_expiry, at_most_once;
};

#endif
