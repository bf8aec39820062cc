/* fleet.c: from a scenario's cohorts to agent profiles, from the agent's probes to measures. Same for both worlds. */
#include "fleet_identity.h"
#include "fleet_messages.h"

#include "cloud/remote.h"

#include "digits.h"

#include <math.h>
#include <stdio.h>

#define SCRATCH_MARGIN      1024
#define CERTIFICATE_MESSAGE 4096 /* a request for a certificate, and its answer, in PEM within JSON */

_Static_assert(sizeof(struct fleet_trace) == 46, "bytes a vehicle");

static void set_topics(struct fleet *fleet, const char *prefix, const struct cloud_profile *cloud)
{
    const char *presence_template = cloud->presence_topic;
    snprintf(fleet->topic_telemetry, sizeof fleet->topic_telemetry, "%sdt/%%/telemetry", prefix);
    snprintf(fleet->topic_request, sizeof fleet->topic_request, "%scmd/%%/request", prefix);
    snprintf(fleet->topic_response, sizeof fleet->topic_response, "%scmd/%%/response", prefix);
    snprintf(fleet->topic_presence, sizeof fleet->topic_presence, "%s%s", presence_template[0] ? prefix : "",
             presence_template);
    fleet->telemetry = cloud_telemetry_topic(fleet->topic_telemetry);
}

static void profile_mqtt(struct mq5_client_config *mqtt, const struct scenario_cohort *cohort,
                         const struct fleet *fleet)
{
    mqtt->version = cohort->mqtt_version;
    mqtt->receive_maximum = cohort->receive_maximum;
    mqtt->topic_alias_maximum = cohort->alias_maximum;
    mqtt->maximum_packet_size = 0;
    mqtt->outgoing_maximum = cohort->outgoing_maximum;
    mqtt->outgoing_alias_slots = (uint8_t)(cohort->alias_slots > 16 ? 16 : cohort->alias_slots);
    mqtt->connack_timeout_us =
        (uint32_t)(cohort->connect_timeout_us > UINT32_MAX ? UINT32_MAX : cohort->connect_timeout_us);
}

static void profile_topics(struct tcu_topics *topics, const struct fleet *fleet)
{
    memcpy(topics->telemetry, fleet->topic_telemetry, sizeof topics->telemetry);
    memcpy(topics->command_request, fleet->topic_request, sizeof topics->command_request);
    memcpy(topics->command_response, fleet->topic_response, sizeof topics->command_response);
    memcpy(topics->presence, fleet->topic_presence, sizeof topics->presence);
}

/* A TCU with somebody else's identity has no jobs to do: its owner would notice. */
static void profile_identity(struct tcu_profile *profile, const struct scenario_cohort *cohort,
                             const struct fleet *fleet)
{
    if (!fleet->scenario->cloud.lifecycle.on || cohort->identity != IDENTITY_CERTIFICATE)
        return;
    if (cohort->provisioning == PROVISIONING_CLAIM)
        profile->provisioning = TCU_PROVISION_CLAIM;
    profile->server_key = cohort->server_key;
    snprintf(profile->claim_template, sizeof profile->claim_template, "claim");
    snprintf(profile->rotation_template, sizeof profile->rotation_template, "rotation");
    snprintf(profile->topics.active, sizeof profile->topics.active, "%svehicleactive/%%", fleet->topic_prefix);
    snprintf(profile->topics.deactivate, sizeof profile->topics.deactivate, "%svehicle/%%/certificate/deactivate",
             fleet->topic_prefix);
    if (cohort->steals != MEASURE_ANY)
        profile->provisioning = TCU_PROVISION_NONE;
    else
        snprintf(profile->topics.reserved, sizeof profile->topics.reserved, "%s", fleet->reserved);
}

/* Its owner's times; 0 says that there is none. */
static int64_t of_calendar(const struct fleet *fleet, int64_t calendar_us)
{
    if (fleet->speedup == 1 || calendar_us <= 0)
        return calendar_us;
    int64_t world_us = (int64_t)((double)calendar_us / fleet->speedup);
    return world_us > 0 ? world_us : 1;
}

/* Commands and settings through what lies behind reserved topics. */
static void profile_reserved(struct tcu_profile *profile, const struct scenario_cohort *cohort,
                             const struct fleet *fleet)
{
    const struct scenario_cloud *cloud = &fleet->scenario->cloud;
    profile->executions = cloud->commands.on && cloud->commands.pattern == CLOUD_PATTERN_EXECUTIONS;
    profile->shadow = cloud->shadow.on && cohort->steals == MEASURE_ANY;
    profile->shadow_versions = cloud->shadow.versions;
    snprintf(profile->shadow_name, sizeof profile->shadow_name, "%s", cloud->shadow.name);
    if (!profile->executions && !profile->shadow)
        return;
    profile->no_jobs = !profile->topics.reserved[0];
    snprintf(profile->topics.reserved, sizeof profile->topics.reserved, "%s", fleet->reserved);
}

static void profile_build(struct fleet *fleet, struct tcu_profile *profile, const struct scenario_cohort *cohort,
                          const char *firmware)
{
    memset(profile, 0, sizeof *profile);
    profile_mqtt(&profile->mqtt, cohort, fleet);
    profile->power[TCU_PARKED] = (struct tcu_power_profile){
        cohort->parked.keep_alive_s, cohort->parked.telemetry_period_us, cohort->parked.session_expiry_s};
    profile->power[TCU_DRIVING] = (struct tcu_power_profile){
        cohort->driving.keep_alive_s, cohort->driving.telemetry_period_us, cohort->driving.session_expiry_s};
    profile->session_expiry_s = cohort->session_expiry_s;
    profile->reconnect_on_power_change = cohort->reconnect_on_power_change;
    bool provision = cohort->identity == IDENTITY_CERTIFICATE && cohort->provisioning == PROVISIONING_JUST_IN_TIME;
    profile->provisioning = provision ? TCU_PROVISION_CERTIFICATE_BROKER : TCU_PROVISION_NONE;
    profile->drop_rule = cohort->drop_newest ? TCU_DROP_NEWEST : TCU_DROP_OLDEST;
    profile->queue_capacity = cohort->queue_capacity;
    profile->telemetry_qos = cohort->telemetry_qos;
    profile->alias_slots = (uint8_t)(cohort->alias_slots > 16 ? 16 : cohort->alias_slots);
    profile->backoff_base_us = cohort->backoff_base_us;
    profile->backoff_cap_us = cohort->backoff_cap_us;
    profile->stable_us = cohort->stable_us;
    profile->connect_timeout_us = cohort->connect_timeout_us;
    profile->acknowledge_timeout_us = cohort->acknowledge_timeout_us;
    profile->http_timeout_us = cohort->connect_timeout_us;
    profile_topics(&profile->topics, fleet);
    if (fleet->scenario->cloud.messages.routed && cohort->mqtt_version != MQ5_V5) /* no properties to say it in */
        fleet_marked_telemetry(fleet, firmware, profile->topics.telemetry);
    if (fleet->scenario->cloud.messages.notice_count > 0)
        fleet_notice_topic(fleet, profile->topics.notices);
    profile->count_aliases = fleet->scenario->cloud.messages.aliases;
    snprintf(profile->firmware, sizeof profile->firmware, "%s", firmware);
    snprintf(profile->schema, sizeof profile->schema, "telemetry-1");
    snprintf(profile->encoding, sizeof profile->encoding, "json");
    if (cohort->identity == IDENTITY_PASSWORD) {
        memcpy(profile->user_name, cohort->user_name, sizeof profile->user_name);
        memcpy(profile->password, cohort->password, sizeof profile->password);
    }
    profile_identity(profile, cohort, fleet);
    profile_reserved(profile, cohort, fleet);
    profile->no_jitter = cohort->no_jitter;
    profile->stay_connected_us = of_calendar(fleet, cohort->stay_connected_us);
    profile->linger_us = cohort->linger_us;
    profile->wake_every_us = of_calendar(fleet, cohort->wake_every_us);
    profile->sealed_commands = fleet->scenario->cloud.commands.sealed;
    profile->telemetry_payload_max = (uint16_t)(cohort->payload_max > 60000 ? 60000 : cohort->payload_max);
    tcu_profile_prepare(profile);
}

static bool make_profiles(struct fleet *fleet)
{
    const struct scenario *scenario = fleet->scenario;
    uint32_t largest = 0;
    fleet->profiles = memory_allocate_zero((size_t)scenario->cohort_count * SCENARIO_SHARES, sizeof *fleet->profiles);
    if (!fleet->profiles)
        return false;
    for (uint32_t c = 0; c < scenario->cohort_count; c++) {
        const struct scenario_cohort *cohort = &scenario->cohorts[c];
        for (uint32_t f = 0; f < SCENARIO_SHARES; f++)
            profile_build(fleet, &fleet->profiles[c * SCENARIO_SHARES + f], cohort,
                          f < cohort->firmware_count ? cohort->firmware[f] : "");
        if (cohort->payload_max > largest)
            largest = cohort->payload_max;
    }
    if (scenario->cloud.lifecycle.on && largest < CERTIFICATE_MESSAGE)
        largest = CERTIFICATE_MESSAGE;
    size_t size = 2 * (size_t)largest + SCRATCH_MARGIN;
    fleet->scratch = memory_allocate(2 * size);
    if (!fleet->scratch)
        return false;
    for (uint32_t i = 0; i < scenario->cohort_count * SCENARIO_SHARES; i++) {
        fleet->profiles[i].scratch = fleet->scratch;
        fleet->profiles[i].scratch_size = size;
        fleet->profiles[i].mqtt.scratch = fleet->scratch + size;
        fleet->profiles[i].mqtt.scratch_size = (uint32_t)size;
    }
    return true;
}

static struct measure_dimension who_is(void *context, uint32_t vehicle)
{
    const struct scenario *scenario = context;
    return (struct measure_dimension){(uint16_t)scenario_cohort_of(scenario, vehicle),
                                      (uint16_t)scenario_region_of(scenario, vehicle), PATH_ANY};
}

bool fleet_init(struct fleet *fleet, struct script *script, struct measure *measure, double speedup,
                int64_t wall_offset_us, const char *topic_prefix, const struct cloud_profile *cloud)
{
    memset(fleet, 0, sizeof *fleet);
    fleet->script = script;
    fleet->scenario = script_scenario(script);
    fleet->measure = measure;
    fleet->speedup = speedup > 0 ? speedup : 1;
    fleet->wall_offset_us = wall_offset_us;
    snprintf(fleet->topic_prefix, sizeof fleet->topic_prefix, "%s", topic_prefix);
    /* Where reserved topics are ordinary ones they lie with the run's others. */
    if (topic_prefix[0] && strchr(cloud->reserved, '%'))
        snprintf(fleet->reserved, sizeof fleet->reserved, "%.28s%%/", fleet->topic_prefix);
    else
        snprintf(fleet->reserved, sizeof fleet->reserved, "%s", cloud->reserved);
    set_topics(fleet, topic_prefix, cloud);
    measure_set_who(measure, who_is, (void *)fleet->scenario);
    fleet->home = memory_enter(NULL);
    memory_enter(fleet->home);
    return make_profiles(fleet);
}

void fleet_destroy(struct fleet *fleet)
{
    memory_free(fleet->profiles);
    memory_free(fleet->scratch);
    fleet_commands_release(fleet);
    fleet->profiles = NULL;
    fleet->scratch = NULL;
}

void *fleet_take(const struct fleet *fleet, size_t count, size_t size)
{
    struct memory_heap *before = memory_enter(fleet->home);
    void *block = memory_allocate_zero(count, size);
    memory_enter(before);
    return block;
}

const struct tcu_profile *fleet_profile(const struct fleet *fleet, uint32_t vehicle)
{
    uint32_t cohort = scenario_cohort_of(fleet->scenario, vehicle);
    return &fleet->profiles[cohort * SCENARIO_SHARES + scenario_firmware_of(fleet->scenario, vehicle)];
}

uint32_t fleet_largest_profile_memory(const struct fleet *fleet, const struct tcu_port *port)
{
    size_t largest = 0;
    for (uint32_t c = 0; c < fleet->scenario->cohort_count; c++) {
        size_t bytes = tcu_memory(&fleet->profiles[c * SCENARIO_SHARES], port, true);
        largest = bytes > largest ? bytes : largest;
    }
    return (uint32_t)((largest + 63) & ~(size_t)63);
}

/* ---- telemetry content ------------------------------------------------------------------------------------------- */

/* Up to seven bytes behind the number are written. */
static inline uint8_t *put_number(uint8_t *out, uint32_t value)
{
    if (value < DIGITS_TEN_TO_8)
        return out + digits_put(out, value);
    out += digits_put(out, value / DIGITS_TEN_TO_8);
    digits_put_8(out, value % DIGITS_TEN_TO_8);
    return out + 8;
}

#define PUT_TEXT(out, text) ((uint8_t *)memcpy(out, text, sizeof(text) - 1) + sizeof(text) - 1)

/* What the payload has around the body: {"id":"...","n":...,"ts":...,} */
#define PAYLOAD_FRAME 64

/* The same 64 characters over and over, from any of them on for 1,024. */
#define FILLER_64    "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_"
#define FILLER_256   FILLER_64 FILLER_64 FILLER_64 FILLER_64
#define FILLER_BYTES 1024
static const char filler[] = FILLER_256 FILLER_256 FILLER_256 FILLER_256 FILLER_64;

static void put_filler(uint8_t *out, size_t length, uint32_t from)
{
    for (; length > FILLER_BYTES; out += FILLER_BYTES, length -= FILLER_BYTES)
        memcpy(out, filler + from, FILLER_BYTES);
    memcpy(out, filler + from, length);
}

/* A fault: the vehicle says who it is. */
static uint8_t *put_vin(const struct fleet *fleet, uint32_t vehicle, uint8_t *at)
{
    char vin[CLOUD_VIN_LENGTH + 1];
    if (!fleet_identity_hit(fleet->scenario, vehicle, fleet->scenario->cloud.lifecycle.vin_in_clear, 0x1D008))
        return at;
    cloud_vin_make(fleet->scenario->seed, vehicle, vin);
    at = PUT_TEXT(at, "\"vin\":\"");
    memcpy(at, vin, CLOUD_VIN_LENGTH);
    return PUT_TEXT(at + CLOUD_VIN_LENGTH, "\",");
}

size_t fleet_telemetry_body(const struct fleet *fleet, uint32_t vehicle, uint32_t number, uint8_t *out, size_t capacity)
{
    const struct scenario_cohort *cohort = &fleet->scenario->cohorts[scenario_cohort_of(fleet->scenario, vehicle)];
    /* The first two words of the message's own block of the vehicle's stream: its size, its signals. */
    uint64_t words = sim_random_at(fleet->scenario->seed, vehicle, SIM_FOR_TELEMETRY, (uint64_t)number * 2);
    int64_t wanted = sim_table_at(&cohort->payload_bytes, (uint32_t)words) - PAYLOAD_FRAME;
    uint32_t signals = (uint32_t)(words >> 32);
    if (capacity < 96)
        return 0;
    uint8_t *at = out;
    if (__builtin_expect(fleet->scenario->cloud.lifecycle.vin_in_clear > 0, 0))
        at = put_vin(fleet, vehicle, at);
    at = PUT_TEXT(at, "\"speed\":");
    at += digits_put_3(at, signals & 127);
    at = PUT_TEXT(at, ",\"soc\":");
    at += digits_put_3(at, (signals >> 7) % 101);
    at = PUT_TEXT(at, ",\"odo\":");
    at = put_number(at, (signals >> 14) + number);
    at = PUT_TEXT(at, ",\"raw\":\"");
    size_t length = (size_t)(at - out);
    size_t end = wanted > (int64_t)length + 1 ? (size_t)wanted : length + 1;
    if (end > capacity)
        end = capacity;
    if (end > length + 1) {
        put_filler(at, end - 1 - length, signals & 63);
        length = end - 1;
    }
    out[length++] = '"';
    return length;
}

/* ---- probes to measures ------------------------------------------------------------------------------------------- */

void fleet_trace_init(const struct fleet *fleet, uint32_t vehicle, struct fleet_trace *trace)
{
    *trace = (struct fleet_trace){.power_up_us = -1,
                                  .key_us = -1,
                                  .attempt_us = -1,
                                  .link_up_us = -1,
                                  .since_us = -1,
                                  .cohort = (uint16_t)scenario_cohort_of(fleet->scenario, vehicle),
                                  .region = (uint8_t)scenario_region_of(fleet->scenario, vehicle)};
}

static void count(struct fleet *fleet, const struct fleet_trace *trace, enum counter counter, int64_t now_us,
                  int64_t amount)
{
    measure_count(fleet->measure, counter, fleet_who(trace, PATH_ANY), now_us, amount);
}

static void sample_since(struct fleet *fleet, enum metric metric, const struct fleet_trace *trace, uint32_t vehicle,
                         int64_t since_us, int64_t now_us)
{
    if (since_us >= 0)
        measure_sample(fleet->measure, metric, fleet_who(trace, PATH_ANY), vehicle, since_us, now_us - since_us);
}

void fleet_tell_script(struct fleet *fleet, uint32_t vehicle, const struct fleet_trace *trace, const char *event,
                       int64_t now_us)
{
    if (!fleet->scenario->cohorts[trace->cohort].on_event || fleet->failed)
        return;
    if (fleet->tell) {
        fleet->tell(fleet->actions->world, vehicle, trace->cohort, event, now_us);
        return;
    }
    if (!script_event(fleet->script, trace->cohort, vehicle, event, now_us, fleet->actions, fleet->error,
                      sizeof fleet->error))
        fleet->failed = true;
}

void fleet_tried(struct fleet *fleet, uint32_t vehicle, const struct fleet_trace *trace, int64_t now_us, bool accepted)
{
    const struct scenario_cohort *cohort = &fleet->scenario->cohorts[trace->cohort];
    if (fleet->scenario->cloud.lifecycle.on && (cohort->steals != MEASURE_ANY || cohort->strangers))
        fleet_identity_intrusion(fleet, vehicle, trace, now_us, accepted);
}

static void went_online(struct fleet *fleet, uint32_t vehicle, struct fleet_trace *trace, int64_t now_us)
{
    count(fleet, trace, COUNTER_CONNECTS, now_us, 1);
    count(fleet, trace, COUNTER_CONNECTED, now_us, 1);
    sample_since(fleet, METRIC_CONNECT_TOTAL, trace, vehicle, trace->attempt_us, now_us);
    sample_since(fleet, METRIC_CONNECT_CONNACK, trace, vehicle, trace->link_up_us, now_us);
    trace->online = trace->was_online = true;
    fleet_tried(fleet, vehicle, trace, now_us, true);
    if (!trace->registering) {
        sample_since(fleet, METRIC_RECONNECT, trace, vehicle, trace->since_us, now_us);
        trace->since_us = -1;
    }
    fleet_tell_script(fleet, vehicle, trace, "online", now_us);
}

static void went_offline(struct fleet *fleet, uint32_t vehicle, struct fleet_trace *trace, int64_t now_us)
{
    count(fleet, trace, COUNTER_DISCONNECTS, now_us, 1);
    count(fleet, trace, COUNTER_CONNECTED, now_us, -1);
    trace->online = trace->registering = false;
    trace->since_us = now_us;
    fleet_tell_script(fleet, vehicle, trace, "offline", now_us);
}

static void was_refused(struct fleet *fleet, uint32_t vehicle, struct fleet_trace *trace, int64_t now_us)
{
    if (trace->link_up_us < 0) { /* never got as far as asking: resolve, TCP, TLS */
        count(fleet, trace, COUNTER_CONNECTS_FAILED, now_us, 1);
        return;
    }
    count(fleet, trace, COUNTER_CONNECTS_REFUSED, now_us, 1);
    fleet_tried(fleet, vehicle, trace, now_us, false);
    if (trace->key_us >= 0 && !trace->provisioned) {
        count(fleet, trace, COUNTER_REGISTRATIONS_REFUSED, now_us, 1);
        if (!trace->registering)
            trace->since_us = now_us;
        trace->registering = true;
    }
    fleet_tell_script(fleet, vehicle, trace, "refused", now_us);
}

static void was_provisioned(struct fleet *fleet, uint32_t vehicle, struct fleet_trace *trace, int64_t now_us)
{
    trace->provisioned = true;
    count(fleet, trace, COUNTER_PROVISIONED, now_us, 1);
    if (trace->registering) {
        sample_since(fleet, METRIC_PROVISION_REGISTRATION, trace, vehicle, trace->since_us, now_us);
        trace->since_us = -1;
    }
    trace->registering = false;
    sample_since(fleet, METRIC_PROVISION_TOTAL, trace, vehicle, trace->power_up_us, now_us);
    struct fleet_identity *identity = fleet->find_identity ? fleet->find_identity(fleet->find_context, vehicle) : NULL;
    if (identity) {
        sample_since(fleet, METRIC_SWAP_TOTAL, trace, vehicle, identity->swapped_us, now_us);
        identity->swapped_us = -1;
    }
    fleet_tell_script(fleet, vehicle, trace, "provisioned", now_us);
}

static void telemetry_acknowledged(struct fleet *fleet, uint32_t vehicle, struct fleet_trace *trace, int64_t now_us,
                                   const struct tcu_probe *probe)
{
    count(fleet, trace, COUNTER_PUBLISH_ACKS, now_us, 1);
    if (probe->reason >= 0x80)
        return;
    measure_ledger_acknowledged(fleet->measure, vehicle);
    sample_since(fleet, METRIC_TELEMETRY_ACK, trace, vehicle, probe->at_us, now_us);
}

/* A power-up tells the state it begins with, which is no change. */
static void changed_power(struct fleet *fleet, uint32_t vehicle, struct fleet_trace *trace, int64_t now_us,
                          bool driving)
{
    if (trace->driving == driving)
        return;
    trace->driving = driving;
    count(fleet, trace, COUNTER_DRIVING, now_us, driving ? 1 : -1);
    fleet_tell_script(fleet, vehicle, trace, driving ? "ignition_on" : "ignition_off", now_us);
}

void fleet_probe(struct fleet *fleet, uint32_t vehicle, struct fleet_trace *trace, int64_t now_us,
                 const struct tcu_probe *probe)
{
    switch (probe->kind) {
    case TCU_PROBE_CONNECT_BEGIN:
        if (probe->number > 1)
            sample_since(fleet, METRIC_RECONNECT_INTERVAL, trace, vehicle, trace->attempt_us, now_us);
        trace->attempt_us = now_us;
        trace->link_up_us = -1;
        count(fleet, trace, COUNTER_CONNECT_ATTEMPTS, now_us, 1);
        break;
    case TCU_PROBE_ONLINE:
        if (fleet->find_book)
            fleet_book_probe(fleet, vehicle, trace, now_us, probe);
        went_online(fleet, vehicle, trace, now_us);
        break;
    case TCU_PROBE_REFUSED: was_refused(fleet, vehicle, trace, now_us); break;
    case TCU_PROBE_OFFLINE: went_offline(fleet, vehicle, trace, now_us); break;
    case TCU_PROBE_KEY_READY:
        sample_since(fleet, METRIC_PROVISION_KEY, trace, vehicle, trace->power_up_us, now_us);
        trace->key_us = now_us;
        break;
    case TCU_PROBE_CERTIFICATE_STORED:
        sample_since(fleet, METRIC_PROVISION_CERTIFICATE, trace, vehicle, trace->key_us, now_us);
        break;
    case TCU_PROBE_PROVISIONING_FAILED: count(fleet, trace, COUNTER_CONNECTS_FAILED, now_us, 1); break;
    case TCU_PROBE_PROVISIONED: was_provisioned(fleet, vehicle, trace, now_us); break;
    case TCU_PROBE_TELEMETRY_INTENDED: measure_ledger_intended(fleet->measure, vehicle, probe->number); break;
    case TCU_PROBE_TELEMETRY_SENT:
        count(fleet, trace, probe->reason ? COUNTER_REPUBLISHES : COUNTER_PUBLISHES, now_us, 1);
        break;
    case TCU_PROBE_TELEMETRY_ACKED: telemetry_acknowledged(fleet, vehicle, trace, now_us, probe); break;
    case TCU_PROBE_TELEMETRY_DROPPED: measure_ledger_dropped(fleet->measure, vehicle, probe->number); break;
    case TCU_PROBE_COMMAND_RECEIVED:
    case TCU_PROBE_COMMAND_EXECUTED:
        if (fleet->find_orders)
            fleet_orders_probe(fleet, vehicle, trace, now_us, probe);
        else
            fleet_command_probe(fleet, vehicle, trace, now_us, probe);
        break;
    case TCU_PROBE_COMMAND_DUPLICATE:
    case TCU_PROBE_COMMAND_REFUSED:
        if (fleet->find_orders)
            fleet_orders_probe(fleet, vehicle, trace, now_us, probe);
        break;
    case TCU_PROBE_COMMAND_ANSWERED: break;
    case TCU_PROBE_STEP:
    case TCU_PROBE_ROTATION_ENDED: fleet_identity_probe(fleet, vehicle, trace, now_us, probe); break;
    case TCU_PROBE_CLAIM_ONLINE: break;
    case TCU_PROBE_ASLEEP:
        count(fleet, trace, COUNTER_SLEEPS, now_us, 1);
        count(fleet, trace, COUNTER_ASLEEP, now_us, 1);
        if (!trace->registering)
            trace->since_us = -1; /* it means to be gone: what it comes back from is no loss */
        break;
    case TCU_PROBE_AWAKE:
        count(fleet, trace, COUNTER_WAKES, now_us, probe->reason != TCU_WAKE_IGNITION);
        count(fleet, trace, COUNTER_ASLEEP, now_us, -1);
        break;
    case TCU_PROBE_SHADOW_DELTA: break;
    case TCU_PROBE_SHADOW_REPORTED: count(fleet, trace, COUNTER_SHADOW_UPDATES, now_us, 1); break;
    case TCU_PROBE_SHADOW_CONFLICT: count(fleet, trace, COUNTER_SHADOW_CONFLICTS, now_us, 1); break;
    case TCU_PROBE_NOTICE:
    case TCU_PROBE_ALIAS: fleet_book_probe(fleet, vehicle, trace, now_us, probe); break;
    case TCU_PROBE_POWER: changed_power(fleet, vehicle, trace, now_us, probe->number == TCU_DRIVING); break;
    }
}

void fleet_power_lost(struct fleet *fleet, uint32_t vehicle, struct fleet_trace *trace, int64_t now_us)
{
    if (trace->online)
        went_offline(fleet, vehicle, trace, now_us);
    measure_count(fleet->measure, COUNTER_POWER_CUTS, fleet_who(trace, PATH_ANY), now_us, 1);
}

#define FIRST_BYTE_PINGREQ 0xC0

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "sums of 48 bits are added to as 64");
_Static_assert(offsetof(struct fleet_trace, byte_words) + 14 <= sizeof(struct fleet_trace),
               "and so read two bytes more");

/* A vehicle's bytes never carry into what lies behind them. */
static inline void add_bytes(struct fleet_trace *trace, enum link_direction direction, uint64_t length)
{
    char *at = (char *)trace + offsetof(struct fleet_trace, byte_words) + 6 * direction;
    uint64_t sum;
    memcpy(&sum, at, sizeof sum);
    sum += length;
    memcpy(at, &sum, sizeof sum);
}

void fleet_bytes(struct fleet *fleet, struct fleet_trace *trace, int64_t now_us, enum link_direction direction,
                 const uint8_t *data, size_t length)
{
    add_bytes(trace, direction, length);
    if (__builtin_expect(direction == LINK_UP && length == 2 && data[0] == FIRST_BYTE_PINGREQ, 0))
        count(fleet, trace, COUNTER_PINGS, now_us, 1);
    count(fleet, trace, direction == LINK_UP ? COUNTER_BYTES_UP : COUNTER_BYTES_DOWN, now_us, (int64_t)length);
}

static inline void delivered(struct fleet *fleet, int64_t now_us, uint32_t vehicle, uint32_t number, int64_t wall_us)
{
    const struct fleet_trace *trace = fleet->find_trace ? fleet->find_trace(fleet->find_context, vehicle) : NULL;
    struct measure_dimension who = trace ? fleet_who(trace, PATH_ANY) : who_is((void *)fleet->scenario, vehicle);
    int64_t intended_us = wall_us - fleet->wall_offset_us;
    now_us += fleet->scenario->cloud.service_us;
    measure_count(fleet->measure, COUNTER_DELIVERIES, who, now_us, 1);
    measure_ledger_delivered(fleet->measure, vehicle, number);
    measure_sample(fleet->measure, METRIC_TELEMETRY_END_TO_END, who, vehicle, intended_us, now_us - intended_us);
}

void fleet_delivered(struct fleet *fleet, int64_t now_us, uint32_t vehicle, uint32_t number, int64_t wall_us)
{
    delivered(fleet, now_us, vehicle, number, wall_us);
}

void fleet_delivery(struct fleet *fleet, int64_t now_us, const struct mq5_publish *message)
{
    struct cloud_telemetry telemetry;
    uint32_t vehicle;
    if (cloud_telemetry_take(&fleet->telemetry, message, &telemetry) && telemetry.valid &&
        scenario_vehicle_find(fleet->scenario, telemetry.thing, &vehicle)) /* else not of this fleet */
        delivered(fleet, now_us, vehicle, telemetry.number, telemetry.wall_us);
}

void fleet_finish(struct fleet *fleet, uint32_t vehicle, struct fleet_trace *trace, const struct tcu *tcu,
                  int64_t now_us)
{
    if (trace->power_up_us < 0)
        return;
    for (uint32_t i = 0; i < tcu_telemetry_pending(tcu); i++)
        measure_ledger_pending(fleet->measure, vehicle, tcu_telemetry_pending_number(tcu, i));
    double days = (double)now_us * fleet->speedup / (double)US_PER_DAY;
    if (days <= 0 || now_us <= 0)
        return;
    int64_t end_us = now_us - 1; /* belongs to the last phase of the run */
    struct measure_dimension who = fleet_who(trace, PATH_ANY);
    if (fleet->scenario->cloud.lifecycle.on)
        fleet_identity_offline(fleet, vehicle, trace, end_us);
    if (fleet->find_book)
        fleet_book_finish(fleet, vehicle, trace, now_us);
    measure_sample(fleet->measure, METRIC_BYTES_UP_DAY, who, vehicle, end_us, llround((double)trace->bytes_up / days));
    measure_sample(fleet->measure, METRIC_BYTES_DOWN_DAY, who, vehicle, end_us,
                   llround((double)trace->bytes_down / days));
    const struct scenario_cohort *cohort = &fleet->scenario->cohorts[trace->cohort];
    if (cohort->has_path) /* a millionth a byte at a price of a thousand a GB */
        measure_sample(fleet->measure, METRIC_DATA_COST_DAY, who, vehicle, end_us,
                       llround((double)(trace->bytes_up + trace->bytes_down) / days * cohort->path.price_per_gb / 1e3));
}
