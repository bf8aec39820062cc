/* names.c: what metrics, counters and columns are called in scenarios, reports and result files. */
#include "sim/measure.h"

static const char *const metric_names[METRIC_COUNT] = {
    [METRIC_PROVISION_KEY] = "provision.key",
    [METRIC_PROVISION_CERTIFICATE] = "provision.certificate",
    [METRIC_PROVISION_REGISTRATION] = "provision.registration",
    [METRIC_PROVISION_TOTAL] = "provision.total",
    [METRIC_CONNECT_RESOLVE] = "connect.resolve",
    [METRIC_CONNECT_TCP] = "connect.tcp",
    [METRIC_CONNECT_TLS] = "connect.tls",
    [METRIC_CONNECT_CONNACK] = "connect.connack",
    [METRIC_CONNECT_TOTAL] = "connect.total",
    [METRIC_RECONNECT] = "reconnect",
    [METRIC_RECONNECT_INTERVAL] = "reconnect.interval",
    [METRIC_TELEMETRY_ACK] = "telemetry.ack",
    [METRIC_TELEMETRY_END_TO_END] = "telemetry.end_to_end",
    [METRIC_COMMAND_ROUND_TRIP] = "command.round_trip",
    [METRIC_COMMAND_DELIVERY] = "command.delivery",
    [METRIC_PRESENCE_DELAY] = "presence.delay",
    [METRIC_BYTES_UP_DAY] = "bytes.up_day",
    [METRIC_BYTES_DOWN_DAY] = "bytes.down_day",
    [METRIC_SEND_LAG] = "send.lag",
    [METRIC_ROTATION_NOTICE] = "rotation.notice",
    [METRIC_ROTATION_KEY] = "rotation.key",
    [METRIC_ROTATION_CERTIFICATE] = "rotation.certificate",
    [METRIC_ROTATION_REGISTRATION] = "rotation.registration",
    [METRIC_ROTATION_SWITCH] = "rotation.switch",
    [METRIC_ROTATION_DEACTIVATION] = "rotation.deactivation",
    [METRIC_ROTATION_TOTAL] = "rotation.total",
    [METRIC_ROTATION_OVERLAP] = "rotation.overlap",
    [METRIC_REVOCATION_CUT] = "revocation.cut",
    [METRIC_CLONE_DETECTION] = "clone.detection",
    [METRIC_SWAP_TOTAL] = "swap.total",
    [METRIC_OWNER_TOTAL] = "owner.total",
    [METRIC_COMMAND_SERVICE] = "command.service",
    [METRIC_COMMAND_WAKE] = "command.wake",
    [METRIC_COMMAND_CONNECT] = "command.connect",
    [METRIC_COMMAND_TRANSIT] = "command.transit",
    [METRIC_COMMAND_EXECUTE] = "command.execute",
    [METRIC_COMMAND_ANSWER] = "command.answer",
    [METRIC_SMS_DELIVERY] = "sms.delivery",
    [METRIC_SHADOW_SYNC] = "shadow.sync",
    [METRIC_REGION_MOVE] = "region.move",
    [METRIC_FAILOVER] = "region.failover",
    [METRIC_BATTERY_USED] = "battery.used",
    [METRIC_ALIAS_SAVED_DAY] = "bytes.alias_saved_day",
    [METRIC_DATA_COST_DAY] = "data.cost_day",
    [METRIC_CONNECTION_DEAD] = "connection.dead",
};

static const char *const counter_names[COUNTER_COUNT] = {
    [COUNTER_CONNECT_ATTEMPTS] = "connect_attempts",
    [COUNTER_CONNECTS] = "connects",
    [COUNTER_CONNECTS_REFUSED] = "connects_refused",
    [COUNTER_CONNECTS_FAILED] = "connects_failed",
    [COUNTER_DISCONNECTS] = "disconnects",
    [COUNTER_PUBLISHES] = "publishes",
    [COUNTER_REPUBLISHES] = "republishes",
    [COUNTER_PUBLISH_ACKS] = "publish_acks",
    [COUNTER_DELIVERIES] = "deliveries",
    [COUNTER_PINGS] = "pings",
    [COUNTER_COMMANDS] = "commands",
    [COUNTER_COMMANDS_ANSWERED] = "commands_answered",
    [COUNTER_COMMANDS_TIMED_OUT] = "commands_timed_out",
    [COUNTER_PROVISIONED] = "provisioned",
    [COUNTER_REGISTRATIONS_REFUSED] = "registrations_refused",
    [COUNTER_PRESENCE_EVENTS] = "presence_events",
    [COUNTER_BYTES_UP] = "bytes_up",
    [COUNTER_BYTES_DOWN] = "bytes_down",
    [COUNTER_LINK_DROPS] = "link_drops",
    [COUNTER_PROTOCOL_ERRORS] = "protocol_errors",
    [COUNTER_ROTATIONS] = "rotations",
    [COUNTER_ROTATIONS_SUCCEEDED] = "rotations_succeeded",
    [COUNTER_ROTATIONS_FAILED] = "rotations_failed",
    [COUNTER_ROLLED_BACK] = "rotations_rolled_back",
    [COUNTER_POWER_CUTS] = "power_cuts",
    [COUNTER_CERTIFICATES_ISSUED] = "certificates_issued",
    [COUNTER_REVOKED] = "revoked",
    [COUNTER_CUT] = "connections_cut",
    [COUNTER_INTRUSIONS_REFUSED] = "intrusions_refused",
    [COUNTER_INTRUSIONS] = "intrusions",
    [COUNTER_CLONES_DETECTED] = "clones_detected",
    [COUNTER_QUARANTINED] = "quarantined",
    [COUNTER_OWNERS_CHANGED] = "owners_changed",
    [COUNTER_SWAPS] = "swaps",
    [COUNTER_DECOMMISSIONED] = "decommissioned",
    [COUNTER_FORBIDDEN] = "forbidden",
    [COUNTER_DATA_CROSSED] = "data_crossed",
    [COUNTER_VINS_SEEN] = "vins_seen",
    [COUNTER_OFFLINE_AT_END] = "offline_at_end",
    [COUNTER_FLAW_NO_CERTIFICATE] = "flaw.no_certificate",
    [COUNTER_FLAW_SECOND_CERTIFICATE] = "flaw.second_certificate",
    [COUNTER_FLAW_SHARED_IDENTITY] = "flaw.shared_identity",
    [COUNTER_FLAW_STILL_ACTIVE] = "flaw.still_active",
    [COUNTER_FLAW_STILL_CONNECTED] = "flaw.still_connected",
    [COUNTER_FLAW_JOB_OPEN] = "flaw.job_open",
    [COUNTER_FLAW_HISTORY] = "flaw.history",
    [COUNTER_FLAW_REFERENCE] = "flaw.reference",
    [COUNTER_FLAW_OLD_ACCEPTED] = "flaw.old_accepted",
    [COUNTER_SMS_SENT] = "sms_sent",
    [COUNTER_SMS_DELIVERED] = "sms_delivered",
    [COUNTER_SMS_DUPLICATED] = "sms_duplicated",
    [COUNTER_SMS_LOST] = "sms_lost",
    [COUNTER_WAKES] = "wakes",
    [COUNTER_SLEEPS] = "sleeps",
    [COUNTER_BATTERY_LOW] = "battery_low",
    [COUNTER_BATTERY_CUT_OFF] = "battery_cut_off",
    [COUNTER_NAT_KILLS] = "nat_kills",
    [COUNTER_HALF_OPEN] = "half_open",
    [COUNTER_ADDRESS_CHANGES] = "address_changes",
    [COUNTER_HANDOVERS] = "handovers",
    [COUNTER_SHADOW_UPDATES] = "shadow_updates",
    [COUNTER_SHADOW_CONFLICTS] = "shadow_conflicts",
    [COUNTER_REGION_MOVES] = "region_moves",
    [COUNTER_FAILOVERS] = "failovers",
    [COUNTER_RESIDENCY_REFUSALS] = "residency_refusals",
    [COUNTER_MIGRATED] = "migrated",
    [COUNTER_MIGRATED_BACK] = "migrated_back",
    [COUNTER_ROUTED] = "routed",
    [COUNTER_NOTICES] = "notices",
    [COUNTER_MEMBERS_DIED] = "members_died",
    [COUNTER_MEMBERS_UNEVEN] = "members_uneven",
    [COUNTER_COMMANDS_FORGED_TAKEN] = "commands_forged_taken",
    [COUNTER_COMMANDS_FORGED] = "commands_forged",
    [COUNTER_COMMANDS_MISREPORTED] = "commands_misreported",
    [COUNTER_COMMANDS_UNENDED] = "commands_unended",
    [COUNTER_PRESENCE_WRONG] = "presence_wrong",
    [COUNTER_SHADOW_DIVERGED] = "shadow_diverged",
    [COUNTER_REGION_WRONG] = "region_wrong",
    [COUNTER_REGION_LEFTOVERS] = "region_leftovers",
    [COUNTER_RESIDENCY_VIOLATIONS] = "residency_violations",
    [COUNTER_ROUTED_WRONG] = "routed_wrong",
    [COUNTER_STALE_DELIVERED] = "stale_delivered",
    [COUNTER_NOTICES_LOST] = "notices_lost",
    [COUNTER_RESULTS_ASTRAY] = "results_astray",
    [COUNTER_PINGS_MISSED] = "pings_missed",
    [COUNTER_CONNECTED] = "connected",
    [COUNTER_DRIVING] = "driving",
    [COUNTER_ASLEEP] = "asleep",
};

static const char *const ledger_names[LEDGER_FIELD_COUNT] = {
    [LEDGER_INTENDED] = "intended",
    [LEDGER_ACKNOWLEDGED] = "acknowledged",
    [LEDGER_UNACKNOWLEDGED] = "unacknowledged",
    [LEDGER_DELIVERED] = "delivered",
    [LEDGER_DUPLICATED] = "duplicated",
    [LEDGER_DROPPED] = "dropped",
    [LEDGER_PENDING] = "pending",
    [LEDGER_LOST] = "lost",
};

static const char *const commands_names[COMMANDS_FIELD_COUNT] = {
    [COMMANDS_INTENDED] = "intended",
    [COMMANDS_SENT] = "sent",
    [COMMANDS_DELIVERED] = "delivered",
    [COMMANDS_EXECUTED] = "executed",
    [COMMANDS_EXECUTED_TWICE] = "executed_twice",
    [COMMANDS_ANSWERED] = "answered",
    [COMMANDS_TIMED_OUT] = "timed_out",
    [COMMANDS_EXPIRED] = "expired",
    [COMMANDS_LOST] = "lost",
    [COMMANDS_PENDING] = "pending",
    [COMMANDS_ENDED_EXECUTED] = "ended_executed",
    [COMMANDS_ENDED_FAILED] = "ended_failed",
    [COMMANDS_ENDED_EXPIRED] = "ended_expired",
    [COMMANDS_ENDED_REFUSED] = "ended_refused",
    [COMMANDS_UNENDED] = "unended",
};

/* What a vehicle was at: reads on after "2 vehicles: 1 ..." */
static const char *const step_names[IDENTITY_STEPS] = {
    [IDENTITY_STEP_NONE] = "at no step",
    [IDENTITY_STEP_NOTICE] = "waiting for the job",
    [IDENTITY_STEP_KEY] = "making the new key",
    [IDENTITY_STEP_CERTIFICATE] = "waiting for the new certificate",
    [IDENTITY_STEP_REGISTRATION] = "waiting for the registration",
    [IDENTITY_STEP_SWITCH] = "switching",
    [IDENTITY_STEP_DEACTIVATION] = "deactivating the old certificate",
    [IDENTITY_STEP_REPORT] = "reporting the end",
    [IDENTITY_STEP_CUT] = "to be cut off",
    [IDENTITY_STEP_CONNECT] = "connecting",
};

static const char *const path_names[PATH_COUNT] = {"any", "connected", "queued", "tap", "edrx", "shadow"};
static const char *const verdict_names[] = {"pass", "fail", "inconclusive", "not available"};
static const char *const comparison_names[] = {"below", "at most", "above", "at least", "equal to"};
static const char *const statistic_names[] = {"quantile", "mean",  "maximum", "minimum",
                                              "count",    "total", "last",    "share"};

#define NAME_OF(table, index) ((size_t)(index) < sizeof(table) / sizeof((table)[0]) ? (table)[index] : "unknown")

static int find(const char *const *names, int count, const char *name)
{
    for (int i = 0; i < count; i++)
        if (strcmp(names[i], name) == 0)
            return i;
    return -1;
}

bool counter_is_gauge(enum counter counter)
{
    return counter >= COUNTER_CONNECTED;
}

bool counter_is_bytes(enum counter counter)
{
    return counter == COUNTER_BYTES_UP || counter == COUNTER_BYTES_DOWN;
}

bool counter_has_identity_victims(enum counter counter)
{
    return counter >= COUNTER_ROTATIONS_FAILED && counter <= COUNTER_FLAW_OLD_ACCEPTED;
}

bool counter_has_victims(enum counter counter)
{
    return counter >= COUNTER_COMMANDS_FORGED_TAKEN && counter <= COUNTER_PINGS_MISSED;
}

bool counter_is_flaw(enum counter counter)
{
    return counter >= COUNTER_FLAW_NO_CERTIFICATE && counter <= COUNTER_FLAW_OLD_ACCEPTED;
}

const char *identity_step_name(enum identity_step step)
{
    return NAME_OF(step_names, step);
}

const char *metric_name(enum metric metric)
{
    return NAME_OF(metric_names, metric);
}

enum metric_kind metric_kind(enum metric metric)
{
    switch (metric) {
    case METRIC_BYTES_UP_DAY:
    case METRIC_BYTES_DOWN_DAY:
    case METRIC_ALIAS_SAVED_DAY: return METRIC_IS_BYTES;
    case METRIC_BATTERY_USED: return METRIC_IS_CHARGE;
    case METRIC_DATA_COST_DAY: return METRIC_IS_MONEY;
    default: return METRIC_IS_TIME;
    }
}

const char *metric_unit(enum metric metric)
{
    static const char *const units[] = {"us", "bytes", "uAh", "millionths"}; /* enum metric_kind */
    return units[metric_kind(metric)];
}

const char *counter_name(enum counter counter)
{
    return NAME_OF(counter_names, counter);
}

const char *ledger_field_name(enum ledger_field field)
{
    return NAME_OF(ledger_names, field);
}

const char *commands_field_name(enum commands_field field)
{
    return NAME_OF(commands_names, field);
}

const char *metric_path_name(enum metric_path path)
{
    return NAME_OF(path_names, path);
}

const char *verdict_name(enum verdict verdict)
{
    return NAME_OF(verdict_names, verdict);
}

const char *comparison_name(enum comparison comparison)
{
    return NAME_OF(comparison_names, comparison);
}

const char *statistic_name(enum statistic statistic)
{
    return NAME_OF(statistic_names, statistic);
}

int metric_find(const char *name)
{
    return find(metric_names, METRIC_COUNT, name);
}

int counter_find(const char *name)
{
    return find(counter_names, COUNTER_COUNT, name);
}

int ledger_field_find(const char *name)
{
    return find(ledger_names, LEDGER_FIELD_COUNT, name);
}

int commands_field_find(const char *name)
{
    return find(commands_names, COMMANDS_FIELD_COUNT, name);
}
