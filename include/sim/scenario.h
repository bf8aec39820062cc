/* sim/scenario.h: what a scenario file says, as plain data that both worlds read, and the scripts that run during a run.
 *
 * Loading a file (sim/script) fills a struct scenario; nothing in it refers to Lua but the indices of functions, which are
 * called back through script_*(). Times are microseconds from the scenario's start.
 */
#ifndef SIM_SCENARIO_H
#define SIM_SCENARIO_H

#include "sim/measure.h"
#include "sim/models.h"
#include "sim/scenario_messages.h"

#define SCENARIO_NAME    40
#define SCENARIO_TEXT    160
#define SCENARIO_SHARES  8
#define SCENARIO_REGIONS 16

enum parameter_kind { PARAMETER_NUMBER, PARAMETER_BOOLEAN, PARAMETER_TEXT };

struct scenario_parameter {
    char name[SCENARIO_NAME]; /* "fleet", "fault.drop_commands" */
    char text[SCENARIO_TEXT];
    enum parameter_kind kind;
    double value, standard; /* booleans: 0 or 1 */
    char value_text[64], standard_text[64];
    bool fault, overridden;
    double off, on; /* faults */
    char breaks[SCENARIO_SHARES][48];
    uint32_t breaks_count;
    uint32_t line;
};

struct scenario_region {
    char name[SCENARIO_NAME];
    char endpoint[128];
    int64_t latency_us; /* one way, between the mobile network and the region's broker: added to the radio's */
    uint16_t
        residency; /* bits of the regions where data of vehicles at home here may be; its own is always one of them */
    bool sni_only; /* the CA's mode: accounts are told apart by the name a client asks for */
    uint32_t line;
};

enum scenario_identity {
    IDENTITY_NONE,        /* clear text, no credentials */
    IDENTITY_PASSWORD,    /* user and password (server TLS in the live world when the broker URI is mqtts://) */
    IDENTITY_CERTIFICATE, /* operational certificate on mutual TLS */
};
enum scenario_provisioning {
    PROVISIONING_DONE,         /* leaves the factory with an active operational certificate */
    PROVISIONING_JUST_IN_TIME, /* attestation certificate -> certificate broker -> registration at first connect */
    PROVISIONING_CLAIM,        /* claim certificate -> create-from-csr and provision over MQTT */
};

struct scenario_power {
    uint16_t keep_alive_s;
    int64_t telemetry_period_us; /* 0: none */
    uint32_t session_expiry_s;   /* 0: the cohort's */
};

enum scenario_driving { DRIVING_TRIPS, DRIVING_ALWAYS, DRIVING_NEVER };

struct scenario_cohort {
    char name[SCENARIO_NAME];
    uint32_t first, count;   /* vehicles first .. first + count - 1 of the fleet */
    double wanted_count;     /* as written, before rounding */
    double region_share[16]; /* by region index; sums to 1 */
    char firmware[SCENARIO_SHARES][24];
    double firmware_share[SCENARIO_SHARES];
    uint32_t firmware_count;
    struct link_profile radio;
    enum scenario_identity identity;
    enum scenario_provisioning provisioning;
    char user_name[32], password[64];
    uint8_t mqtt_version; /* 4 or 5 */
    uint16_t receive_maximum, outgoing_maximum, alias_slots;
    uint16_t alias_maximum; /* aliases of the broker's that it takes */
    struct scenario_power parked, driving;
    uint32_t session_expiry_s;
    bool reconnect_on_power_change;
    uint8_t telemetry_qos;
    uint16_t queue_capacity;
    bool drop_newest;
    uint32_t payload_max;
    struct sim_table payload_bytes; /* size of a telemetry payload */
    char payload_text[48];          /* "lognormal(300, 0.4)" */
    enum scenario_driving driving_mode;
    struct trip_profile trips;
    int64_t power_up_within_us; /* vehicles power up uniformly in [0, this] */
    int64_t backoff_base_us, backoff_cap_us, stable_us, acknowledge_timeout_us, connect_timeout_us;
    int64_t execute_us;          /* how long the car takes to do a command */
    double acknowledgement_loss; /* share of PUBACKs lost on the way to the vehicle (fault) */
    int on_event;                /* script function, 0: none */
    uint16_t steals; /* index of the cohort whose vehicles' certificates and names these TCUs show; MEASURE_ANY: none */
    bool steals_old; /* ... those of the TCU that a workshop took out; none before that */
    bool strangers;  /* their maker never announced them */
    bool server_key; /* claim: the cloud makes the key */
    /* Parked. */
    bool has_parked_radio; /* the modem's sleep and a garage's walls are the parked radio's */
    struct link_profile parked_radio;
    double garage_share; /* of parkings: in a garage ... */
    double garage_dark;  /* ... of these: without any coverage */
    struct link_profile garage_radio;
    int64_t stay_connected_us, linger_us, wake_every_us; /* as tcu_profile's */
    double clock_drift_ppm;       /* of the clock it sleeps by: each vehicle's own, at most so fast or slow */
    struct power_profile battery; /* budget 0: not looked at */
    struct network_path path;
    bool has_path; /* it was said: costs are measured */
    bool no_jitter;
    struct sim_table
        certificate_left_s; /* provisioning done: how long the factory's certificate is still valid; all 0: the cloud's lifetime */
    uint32_t line;
};

/* A tunnel on the roads of some vehicles. */
struct scenario_tunnel {
    char name[SCENARIO_NAME];
    struct tunnel model;
    uint16_t cohort, region; /* MEASURE_ANY: all */
    uint32_t line;
};

struct scenario_app {
    char name[SCENARIO_NAME];
    char command[32];
    double users;   /* number of users; each belongs to one vehicle */
    double per_day; /* commands a user and day, Poisson */
    bool thinks;    /* after a command a user pauses before the next one can come */
    struct sim_table think_us;
    int64_t timeout_us;
    double loss;            /* share of commands lost between service and broker (fault) */
    int64_t from_us, to_us; /* active window; 0, 0: whole run */
    bool online_only;       /* ask only vehicles that are connected */
    uint16_t cohort;        /* MEASURE_ANY: all */
    uint32_t line;
};

struct scenario_phase {
    char name[SCENARIO_NAME];
    int64_t from_us, to_us;
    bool excluded; /* kept out of the statistics */
};

struct scenario_timeline {
    int64_t at_us, every_us, until_us; /* every_us 0: once */
    int function;                      /* script function */
    uint32_t line;
};

/* How the cloud looks after identities. Set when the scenario says lifecycle { ... }; else the cloud has registration only. */
struct scenario_lifecycle {
    bool on;
    char vehicle_policy[24], claim_policy[24]; /* shipped policies' names */
    uint32_t rollout_per_minute;               /* of rotation jobs; 0: the standard's 1,000 */
    int64_t rotation_timeout_us;               /* IN_PROGRESS; 0: none */
    uint32_t rotation_retries;
    double abort_share; /* 0: none */
    uint32_t abort_minimum;
    int64_t expiring_within_s;
    struct sim_table cut_us; /* a certificate loses its status until its connection is cut */
    int64_t cut_bound_us;    /* how long that may take at most before it is a flaw */
    uint32_t clone_takeovers;
    int64_t clone_window_us;
    uint8_t clone_decision;                        /* 0 revoke, 1 quarantine, 2 report only */
    uint32_t ecus;                                 /* in each vehicle beside the TCU */
    bool scan_for_vins, require_device, probe_old; /* probe_old: knock with each replaced certificate */
    /* Faults: shares of vehicles concerned, 0: none. */
    double forget_deactivation, never_activate, forget_cut, forget_revocation, keep_data, lose_answers, vin_in_clear,
        share_identity;
};

/* How remote commands are done. Set when the scenario says remote_commands { ... }; else a command is one request and one answer. */
struct scenario_commands {
    bool on;
    uint8_t pattern;     /* 0 plain, 1 executions, 2 shadow: enum cloud_remote_pattern */
    bool sealed;         /* signed and encrypted */
    bool presence;       /* the desk looks at presence; else everybody counts as connected */
    int64_t debounce_us; /* 0: 5 s */
    int64_t fallback_us, tap_retry_us;
    uint32_t taps; /* at most; 0: no SMS gateway */
    bool command_in_sms;
    struct sim_table sms_latency_us;
    double sms_loss, sms_duplicates;
    int64_t sms_validity_us;
    uint32_t watchers;       /* of each vehicle: they are told every result, after who asked */
    double strangers;        /* share of commands asked by users who may not: refused */
    double execute_failures; /* share of commands the car cannot do */
    /* Faults: shares, 0: none; those of the desk are switches: above 0.5 is on. */
    double lose_sms, lose_answers, trust_old_presence, no_fallback, skip_verification;
    double forged_per_day, replayed_per_day, late_per_day; /* attacks a vehicle and day */
};

/* Regions with a cloud each. Set when the scenario says resolver { }, region_moves { } or migration { }; else regions are latencies. */
struct scenario_wave { /* a cohort's turn, from the start of the migration */
    uint16_t cohort;
    int64_t at_us, within_us;
};
struct scenario_regions {
    bool on;
    uint8_t routing;  /* enum cloud_routing */
    uint8_t standard; /* region without a better answer */
    int64_t ttl_us;
    int64_t health_check_us; /* until the resolver knows that a region is down, or up again */
    int64_t fail_back_us;    /* who was taken over is sent home spread over so long; 0: at its next attempt */
    uint32_t between_us[SCENARIO_REGIONS][SCENARIO_REGIONS]; /* one way, cloud to cloud */
    /* A vehicle's home changes: kinds of data are bits as in enum cloud_data_kind. */
    uint8_t copied, cleaned, kept;
    int64_t clean_after_us, give_up_us;
    /* From one broker to another, by cohorts. */
    bool migrates;
    uint8_t from, to;
    int64_t migration_at_us;
    struct scenario_wave *waves;
    uint32_t wave_count;
    double abort_share;
    int64_t settle_us;
    int64_t drain_us; /* a vehicle's turn waits so long at most for its open commands */
    /* Faults: shares of vehicles concerned, 0: none; switches: above 0.5 is on. */
    double ignore_residency, no_health_check, keep_old, copy_all, new_refuses, no_processors;
};

/* The car's settings and its Device Shadow. Set when the scenario says shadow { ... }. */
#define SCENARIO_SETTINGS 8
#define SCENARIO_USERS    2
struct scenario_setting {
    char name[SCENARIO_NAME];
    int32_t low, high; /* whole numbers */
};
struct scenario_shadow {
    bool on;
    char name[SCENARIO_NAME]; /* "": the classic one */
    struct scenario_setting settings[SCENARIO_SETTINGS];
    uint32_t setting_count;
    bool versions;                  /* vehicles say which version their report is of */
    uint32_t users;                 /* of apps, a vehicle: each reads the shadow, thinks, and changes a setting */
    double per_day, driver_per_day; /* changes by each of them; by the driver, in the car */
    int64_t think_us, apply_us;     /* from reading to changing; from the wish to the setting */
    double failures;                /* share of wishes that the car cannot bring about at once */
    int64_t from_us, to_us;         /* when there are changes; to 0: until there is time to settle at the end */
    int64_t settle_us;
    /* Faults: shares of vehicles; of changes by apps. 0: none. */
    double deaf, stale_reports, ignore_versions;
};

struct scenario_cloud {
    char profile[24];               /* "embedded"; a live run on an external broker uses "plain" */
    struct sim_table activation_us; /* registration event until ACTIVE */
    int64_t certificate_lifetime_s;
    int64_t issue_us;    /* computing time of the certificate broker for one request */
    uint32_t processors; /* telemetry processors behind the shared subscription */
    uint16_t keep_alive_maximum_s;
    uint32_t session_expiry_maximum_s;
    uint16_t receive_maximum, topic_alias_maximum;
    int64_t service_us;     /* hop inside the data centre */
    bool real_cryptography; /* virtual world: X.509 and P-256 instead of their model; the live world's is always real */
    struct scenario_lifecycle lifecycle;
    struct scenario_commands commands;
    struct scenario_messages messages;
    struct scenario_regions regions;
    struct scenario_shadow shadow;
};

struct scenario {
    char name[SCENARIO_NAME];
    char path[512];
    char hash[65];           /* SHA-256 of the file's bytes and of the overrides */
    int64_t start_epoch_us;  /* wall time at scenario time 0 (its calendar taken as UTC) */
    uint32_t start_weekday;  /* 0 Monday */
    int64_t start_of_day_us; /* time of day at scenario time 0 */
    int64_t duration_us, warm_up_us;
    uint64_t seed;
    uint32_t fleet; /* sum of cohort counts */
    struct scenario_parameter *parameters;
    struct scenario_region *regions;
    struct scenario_cohort *cohorts;
    struct scenario_app *apps;
    struct scenario_phase *phases;
    struct scenario_timeline *timeline;
    struct expectation *expectations;
    struct scenario_tunnel *tunnels;
    uint32_t parameter_count, region_count, cohort_count, app_count, phase_count, timeline_count, expectation_count;
    uint32_t tunnel_count;
    struct scenario_cloud cloud;
};

/* Which cohort, region and firmware a vehicle has: pure in (scenario, vehicle). */
uint32_t scenario_cohort_of(const struct scenario *scenario, uint32_t vehicle);
uint32_t scenario_region_of(const struct scenario *scenario, uint32_t vehicle);
uint32_t scenario_firmware_of(const struct scenario *scenario, uint32_t vehicle);
/* "suv-000123": thing name; SCENARIO_NAME + 12 bytes at most. And back; false if it is none of this fleet. */
size_t scenario_vehicle_name(const struct scenario *scenario, uint32_t vehicle, char *out, size_t capacity);
bool scenario_vehicle_find(const struct scenario *scenario, struct span name, uint32_t *vehicle);
/* Is a vehicle in a selection of `share` (0..1) of those in cohort and region (MEASURE_ANY: all)? Pure; salt tells selections apart. */
bool scenario_selected(const struct scenario *scenario, uint32_t vehicle, uint16_t cohort, uint16_t region,
                       double share, uint64_t salt);
/* Phases and warm-up as intervals for measure_create(). */
uint32_t scenario_excluded(const struct scenario *scenario, struct measure_interval *out, uint32_t capacity);
/* "07:41:20" or "2 d 07:41:20". */
void scenario_time_text(const struct scenario *scenario, int64_t at_us, char *out, size_t capacity);

/* ---- actions a script may take while a run goes on (given by the world) -------------------------------------------- */

enum world_action_kind {
    ACTION_COVERAGE_HOLE, /* selected vehicles have no coverage for duration_us */
    ACTION_DROP_LINKS,    /* selected vehicles' links are cut */
    ACTION_COMMAND,       /* an app asks each selected vehicle for `command` */
    ACTION_IGNITION_ON,
    ACTION_IGNITION_OFF,
    ACTION_CLOUD_KICK,   /* the broker disconnects the selected vehicles (administrative) */
    ACTION_CLOUD_OUTAGE, /* no connects accepted, all links cut, for duration_us */
    ACTION_NODE_LOSS, /* one of a broker's nodes has died: the selected vehicles' links are gone, the others take them; option as RESTART's */
    /* with lifecycle { ... } only */
    ACTION_ROTATE, /* a rotation job for each selected vehicle */
    ACTION_AUDIT,  /* of the whole cloud: expiring and revoked-but-active certificates */
    ACTION_REVOKE, /* `option`: reason */
    ACTION_OWNER,  /* `option`: the new owner's tenant */
    ACTION_SWAP, /* a new TCU in the car; `option`: "registered" (the workshop says so), "unregistered", "taken out" */
    ACTION_DECOMMISSION,
    ACTION_RELEASE,   /* out of quarantine */
    ACTION_POWER_CUT, /* for duration_us; store_write >= 0: when the vehicle makes that many further store writes */
    /* networks and brokers */
    ACTION_BROKER_RESTART, /* all links gone, none accepted for duration_us; `option` "lose sessions": they are gone, too */
    ACTION_RESOLVER_GONE,      /* names are not resolved for duration_us */
    ACTION_SERVER_CERTIFICATE, /* the broker shows an expired certificate for duration_us */
    ACTION_HALF_OPEN,          /* connections of the selected vehicles are dead and nobody is told */
    ACTION_ADDRESS_CHANGE,
    /* processors: `option`: the group, "" each; store_writes: how many */
    ACTION_PROCESSORS_SCALE, /* to so many */
    ACTION_PROCESSOR_DIES,   /* without a word; back after duration_us, 0: never */
    /* with regions that have a cloud each only; `option`: the region's name */
    ACTION_REGION_OUTAGE, /* for duration_us */
    ACTION_MOVE_REGION,   /* the selected vehicles change continent, each at a moment of its own within timeout_us */
    ACTION_TRAVEL,        /* the same, and their homes stay */
    ACTION_ROLL_BACK,     /* of the migration */
};
struct world_action {
    enum world_action_kind kind;
    uint16_t cohort, region;
    double share;    /* 1: all */
    int64_t vehicle; /* -1: by selection; else this one */
    int64_t duration_us;
    char command[32];
    char option[32];
    int32_t
        store_write; /* POWER_CUT: 0: now; n: at the n-th write from now; -1: each vehicle at another one, all in turn */
    bool after_write;      /* ... after it (else before: it never happens); with -1: half of the vehicles each */
    uint32_t store_writes; /* with -1: how many there are */
    int64_t timeout_us;
    uint64_t salt; /* tells selections apart: line and occurrence */
    uint32_t line;
};
struct world_actions {
    /* Vehicles concerned, or -1 when this world or cloud cannot do it (then *why is a static text). */
    int64_t (*act)(void *world, int64_t now_us, const struct world_action *action, const char **why);
    void (*note)(void *world, int64_t now_us, const char *text); /* a mark in the report's timeline */
    void *world;
};

/* ---- sim/script ---------------------------------------------------------------------------------------------------- */

struct script;
struct script_override {
    const char *name, *value;
};
struct script_options {
    const struct script_override *overrides;
    uint32_t override_count;
    uint32_t fleet;      /* 0: as written; else cohort counts are scaled (parameter "fleet" is set when declared) */
    int64_t duration_us; /* 0: as written */
    bool has_seed;
    uint64_t seed;
    uint64_t step_limit;   /* 0: 50,000,000 VM instructions for loading, 1,000,000 a call later */
    uint64_t memory_limit; /* 0: 64 MiB */
};
/* Loads, runs and validates the file. NULL: *error holds one line "file:line: what; what to write instead". */
struct script *script_load(const char *path, const struct script_options *options, char *error, size_t error_capacity);
void script_free(struct script *script);
const struct scenario *script_scenario(const struct script *script);
/* Calls timeline entry i. false: *error as above; the run ends with exit code 2. */
bool script_timeline(struct script *script, uint32_t index, int64_t now_us, const struct world_actions *actions,
                     char *error, size_t error_capacity);
/* Calls a cohort's on_event(vehicle, event) function; event: "online", "offline", "refused", "provisioned", "ignition_on", "ignition_off", "command". */
bool script_event(struct script *script, uint32_t cohort, uint32_t vehicle, const char *event, int64_t now_us,
                  const struct world_actions *actions, char *error, size_t error_capacity);
/* Machine-readable listing for `convoy check --json`; caller frees. */
char *script_describe_json(const struct script *script);

#endif
