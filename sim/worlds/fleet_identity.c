/* fleet_identity.c: identities in the factory, in the cloud's eyes and in the agent's, turned into measures. */
#include "fleet_identity.h"

#include <stdio.h>

#define SALT_FORGET_DEACTIVATION 0x1D001
#define SALT_NEVER_ACTIVATE      0x1D002
#define SALT_FORGET_CUT          0x1D003
#define SALT_FORGET_REVOCATION   0x1D004
#define SALT_KEEP_DATA           0x1D005
#define SALT_LOSE_ANSWERS        0x1D006
#define SALT_SHARE_IDENTITY      0x1D007

void fleet_identity_init(struct fleet_identity *identity)
{
    *identity = (struct fleet_identity){.decided_us = -1, .step_us = -1, .owner_us = -1, .swapped_us = -1};
}

/* ---- the factory ----------------------------------------------------------------------------------------------------- */

bool fleet_identity_hit(const struct scenario *scenario, uint32_t vehicle, double share, uint32_t salt)
{
    return share > 0 && scenario_selected(scenario, vehicle, MEASURE_ANY, MEASURE_ANY, share, salt);
}

size_t fleet_device_name(const struct scenario *scenario, uint32_t vehicle, uint32_t neighbour, uint32_t generation,
                         char *out, size_t capacity)
{
    double share = scenario->cloud.lifecycle.share_identity;
    if (generation == 0 && neighbour != vehicle && fleet_identity_hit(scenario, vehicle, share, SALT_SHARE_IDENTITY))
        vehicle = neighbour;
    uint64_t serial = sim_random_at(scenario->seed, vehicle, SIM_FOR_IDENTITY, generation);
    int length = snprintf(out, capacity, "tcu-%016llx", (unsigned long long)serial);
    return length > 0 && (size_t)length < capacity ? (size_t)length : 0;
}

/* Vehicles of one instance are `instances` apart. The i-th thief's victim is in the residue class of its own, one row further for every full round of
 * thieves, so that no two steal from one. */
uint32_t fleet_victim(const struct scenario *scenario, uint32_t vehicle, uint32_t instances)
{
    const struct scenario_cohort *thieves = &scenario->cohorts[scenario_cohort_of(scenario, vehicle)];
    if (thieves->steals == MEASURE_ANY)
        return vehicle;
    const struct scenario_cohort *owners = &scenario->cohorts[thieves->steals];
    uint32_t nth = vehicle - thieves->first;
    uint32_t to_residue = (vehicle % instances + instances - owners->first % instances) % instances;
    uint64_t at = (uint64_t)to_residue + (uint64_t)instances * (nth / instances);
    return at < owners->count ? owners->first + (uint32_t)at : vehicle;
}

/* An ECU and the certificate its maker gave it: the asset store knows the certificate, the key stays in the ECU. */
static enum cloud_vehicles_result fit_ecu(const struct scenario *scenario, uint32_t vehicle, uint32_t nth,
                                          struct cloud *cloud, int64_t now_s, struct span reference)
{
    uint8_t bytes[2048], key[256];
    size_t length = sizeof bytes, key_length = sizeof key;
    struct cloud_certificate certificate;
    char name[CLOUD_DEVICE_MAX + 1];
    uint64_t serial = sim_random_at(scenario->seed, vehicle, SIM_FOR_IDENTITY, 0x20000 + nth);
    int name_length = snprintf(name, sizeof name, "ecu-%u-%016llx", nth + 1, (unsigned long long)serial);
    if (!cloud_pki_make(cloud->pki, CLOUD_CA_ATTESTATION, name, now_s - 86400, 20 * INT64_C(31557600), bytes, &length,
                        key, &key_length) ||
        !cloud_certificate_read(span_of(bytes, length), &certificate))
        return CLOUD_VEHICLES_MEMORY;
    return cloud_vehicles_add_ecu(cloud_lifecycle_vehicles(cloud->lifecycle), reference,
                                  span_of(name, (size_t)name_length), certificate.id);
}

bool fleet_identity_build(const struct scenario *scenario, uint32_t vehicle, uint32_t instances, struct cloud *cloud,
                          int64_t now_us, int64_t now_s,
                          void (*flaw)(void *context, enum counter counter, struct span thing), void *context)
{
    char vin[CLOUD_VIN_LENGTH + 1], device[CLOUD_DEVICE_MAX + 1], name[SCENARIO_NAME + 16];
    cloud_vin_make(scenario->seed, vehicle, vin);
    size_t device_length =
        fleet_device_name(scenario, vehicle, fleet_neighbour(vehicle, instances), 0, device, sizeof device);
    struct span reference = span_of(name, scenario_vehicle_name(scenario, vehicle, name, sizeof name));
    enum cloud_vehicles_result result =
        cloud_lifecycle_build(cloud->lifecycle, now_us, span_of(vin, CLOUD_VIN_LENGTH), span_of(device, device_length),
                              SPAN_LITERAL("first-owner"), reference);
    for (uint32_t ecu = 0; result == CLOUD_VEHICLES_DONE && ecu < scenario->cloud.lifecycle.ecus; ecu++)
        result = fit_ecu(scenario, vehicle, ecu, cloud, now_s, reference);
    if (result == CLOUD_VEHICLES_DEVICE_TAKEN)
        flaw(context, COUNTER_FLAW_SHARED_IDENTITY, reference);
    return result != CLOUD_VEHICLES_MEMORY;
}

int64_t fleet_certificate_lifetime_s(const struct scenario *scenario, uint32_t vehicle)
{
    const struct sim_table *left = &scenario->cohorts[scenario_cohort_of(scenario, vehicle)].certificate_left_s;
    if (left->value[SIM_TABLE_STEPS] == 0)
        return scenario->cloud.certificate_lifetime_s;
    return sim_table_at(left, (uint32_t)sim_random_at(scenario->seed, vehicle, SIM_FOR_IDENTITY, 0x10000));
}

/* ---- what the cloud asks ----------------------------------------------------------------------------------------------- */

void fleet_identity_hooks_init(struct fleet_identity_hooks *hooks, const struct scenario *scenario, uint32_t number)
{
    hooks->scenario = scenario;
    sim_random_init(&hooks->random, scenario->seed, number, SIM_FOR_CLOUD | 0x100);
}

static int64_t draw_cut(void *context)
{
    struct fleet_identity_hooks *hooks = context;
    return sim_table_draw(&hooks->scenario->cloud.lifecycle.cut_us, &hooks->random);
}

static bool hit(const struct fleet_identity_hooks *hooks, struct span thing, double share, uint32_t salt)
{
    uint32_t vehicle;
    return share > 0 && scenario_vehicle_find(hooks->scenario, thing, &vehicle) &&
           fleet_identity_hit(hooks->scenario, vehicle, share, salt);
}

static bool forget_deactivation(void *hooks, struct span thing)
{
    const struct fleet_identity_hooks *from = hooks;
    return hit(from, thing, from->scenario->cloud.lifecycle.forget_deactivation, SALT_FORGET_DEACTIVATION);
}

static bool never_activate(void *hooks, struct span thing)
{
    const struct fleet_identity_hooks *from = hooks;
    return hit(from, thing, from->scenario->cloud.lifecycle.never_activate, SALT_NEVER_ACTIVATE);
}

static bool forget_cut(void *hooks, struct span thing)
{
    const struct fleet_identity_hooks *from = hooks;
    return hit(from, thing, from->scenario->cloud.lifecycle.forget_cut, SALT_FORGET_CUT);
}

static bool forget_revocation(void *hooks, struct span thing)
{
    const struct fleet_identity_hooks *from = hooks;
    return hit(from, thing, from->scenario->cloud.lifecycle.forget_revocation, SALT_FORGET_REVOCATION);
}

static bool keep_data(void *hooks, struct span thing)
{
    const struct fleet_identity_hooks *from = hooks;
    return hit(from, thing, from->scenario->cloud.lifecycle.keep_data, SALT_KEEP_DATA);
}

static bool lose_answer(void *hooks, struct span thing)
{
    const struct fleet_identity_hooks *from = hooks;
    return hit(from, thing, from->scenario->cloud.lifecycle.lose_answers, SALT_LOSE_ANSWERS);
}

static void told(void *context, int64_t now_us, const struct cloud_life_event *event)
{
    const struct fleet_identity_hooks *hooks = context;
    hooks->event(hooks->context, now_us, event);
}

static void job_template(const struct scenario_lifecycle *from, struct cloud_job_template *template)
{
    template->maximum_per_minute = from->rollout_per_minute;
    template->in_progress_timeout_us = from->rotation_timeout_us;
    if (from->rotation_retries) {
        template->retry[0].failure = CLOUD_FAILURE_ALL;
        template->retry[0].retries = (uint8_t)from->rotation_retries;
        template->retry_count = 1;
    }
    if (from->abort_share > 0) {
        template->abort[0].failure = CLOUD_FAILURE_ALL;
        template->abort[0].minimum_executed = from->abort_minimum;
        template->abort[0].threshold = from->abort_share;
        template->abort_count = 1;
    }
}

void fleet_identity_options(struct fleet_identity_hooks *hooks, int64_t epoch_us,
                            struct cloud_lifecycle_options *options)
{
    const struct scenario_cloud *cloud = &hooks->scenario->cloud;
    const struct scenario_lifecycle *from = &cloud->lifecycle;
    memset(options, 0, sizeof *options);
    options->epoch_us = epoch_us;
    options->certificate_lifetime_s = cloud->certificate_lifetime_s;
    options->seed = hooks->scenario->seed;
    job_template(from, &options->rotation);
    options->expiring_within_s = from->expiring_within_s;
    options->issue_us = cloud->issue_us;
    options->draw_cut = draw_cut;
    options->clone_takeovers = from->clone_takeovers;
    options->clone_window_us = from->clone_window_us;
    options->clone_decision = from->clone_decision;
    options->vehicle_policy = from->vehicle_policy[0] ? from->vehicle_policy : NULL;
    options->claim_policy = from->claim_policy[0] ? from->claim_policy : NULL;
    options->scan_for_vins = from->scan_for_vins;
    options->require_device = from->require_device;
    options->forget_deactivation = forget_deactivation;
    options->never_activate = never_activate;
    options->forget_cut = forget_cut;
    options->forget_revocation = forget_revocation;
    options->keep_data = keep_data;
    options->lose_answer = lose_answer;
    options->event = told;
    options->context = hooks;
}

/* ---- what the cloud tells ---------------------------------------------------------------------------------------------- */

static struct fleet_identity *identity_of(const struct fleet *fleet, uint32_t vehicle)
{
    return fleet->find_identity ? fleet->find_identity(fleet->find_context, vehicle) : NULL;
}

static struct measure_dimension dimension(const struct fleet *fleet, uint32_t vehicle)
{
    return (struct measure_dimension){(uint16_t)scenario_cohort_of(fleet->scenario, vehicle),
                                      (uint16_t)scenario_region_of(fleet->scenario, vehicle), PATH_ANY};
}

static void count_one(struct fleet *fleet, uint32_t vehicle, enum counter counter, int64_t now_us)
{
    measure_count(fleet->measure, counter, dimension(fleet, vehicle), now_us, 1);
}

static void sample(struct fleet *fleet, uint32_t vehicle, enum metric metric, int64_t since_us, int64_t now_us)
{
    if (since_us >= 0)
        measure_sample(fleet->measure, metric, dimension(fleet, vehicle), vehicle, since_us, now_us - since_us);
}

static void victim(struct fleet *fleet, uint32_t vehicle, enum counter counter, int64_t now_us, enum identity_step step)
{
    measure_identity_victim(fleet->measure, counter, dimension(fleet, vehicle), vehicle, now_us, step);
}

static void rotation_ended(struct fleet *fleet, uint32_t vehicle, int64_t now_us, const struct cloud_life_event *event)
{
    struct fleet_identity *identity = identity_of(fleet, vehicle);
    if (event->state == CLOUD_EXECUTION_SUCCEEDED) {
        count_one(fleet, vehicle, COUNTER_ROTATIONS_SUCCEEDED, now_us);
        sample(fleet, vehicle, METRIC_ROTATION_TOTAL, event->since_us, now_us);
        if (identity)
            sample(fleet, vehicle, METRIC_OWNER_TOTAL, identity->owner_us, now_us);
    } else {
        enum identity_step step = identity ? (enum identity_step)identity->step : IDENTITY_STEP_NONE;
        victim(fleet, vehicle, COUNTER_ROTATIONS_FAILED, now_us, step);
    }
    if (!identity)
        return;
    identity->decided_us = identity->owner_us = -1;
    identity->step = IDENTITY_STEP_NONE;
}

static void rotation_queued(struct fleet *fleet, uint32_t vehicle, int64_t now_us, const struct cloud_life_event *event)
{
    struct fleet_identity *identity = identity_of(fleet, vehicle);
    count_one(fleet, vehicle, COUNTER_ROTATIONS, now_us);
    if (!identity)
        return;
    identity->decided_us = event->since_us;
    identity->step_us = event->since_us;
    identity->step = IDENTITY_STEP_NOTICE;
}

static void owner_changed(struct fleet *fleet, uint32_t vehicle, int64_t now_us)
{
    struct fleet_identity *identity = identity_of(fleet, vehicle);
    count_one(fleet, vehicle, COUNTER_OWNERS_CHANGED, now_us);
    if (identity)
        identity->owner_us = now_us;
}

void fleet_identity_event(struct fleet *fleet, int64_t now_us, const struct cloud_life_event *event)
{
    uint32_t vehicle;
    if (!scenario_vehicle_find(fleet->scenario, event->thing, &vehicle))
        return; /* nobody of this fleet */
    switch (event->kind) {
    case CLOUD_LIFE_PROVISIONED:
    case CLOUD_LIFE_ROTATION_ISSUED: count_one(fleet, vehicle, COUNTER_CERTIFICATES_ISSUED, now_us); break;
    case CLOUD_LIFE_ROTATION_QUEUED: rotation_queued(fleet, vehicle, now_us, event); break;
    case CLOUD_LIFE_OLD_DEACTIVATED: sample(fleet, vehicle, METRIC_ROTATION_OVERLAP, event->since_us, now_us); break;
    case CLOUD_LIFE_ROTATION_ENDED: rotation_ended(fleet, vehicle, now_us, event); break;
    case CLOUD_LIFE_REVOKED: count_one(fleet, vehicle, COUNTER_REVOKED, now_us); break;
    case CLOUD_LIFE_CUT:
        count_one(fleet, vehicle, COUNTER_CUT, now_us);
        sample(fleet, vehicle, METRIC_REVOCATION_CUT, event->since_us, now_us);
        break;
    case CLOUD_LIFE_CLONE_DETECTED:
        count_one(fleet, vehicle, COUNTER_CLONES_DETECTED, now_us);
        sample(fleet, vehicle, METRIC_CLONE_DETECTION, event->since_us, now_us);
        break;
    case CLOUD_LIFE_QUARANTINED: count_one(fleet, vehicle, COUNTER_QUARANTINED, now_us); break;
    case CLOUD_LIFE_OWNER_CHANGED: owner_changed(fleet, vehicle, now_us); break;
    case CLOUD_LIFE_SWAPPED: count_one(fleet, vehicle, COUNTER_SWAPS, now_us); break;
    case CLOUD_LIFE_DECOMMISSIONED: count_one(fleet, vehicle, COUNTER_DECOMMISSIONED, now_us); break;
    case CLOUD_LIFE_FORBIDDEN: victim(fleet, vehicle, COUNTER_FORBIDDEN, now_us, IDENTITY_STEP_NONE); break;
    case CLOUD_LIFE_VIN_SEEN: victim(fleet, vehicle, COUNTER_VINS_SEEN, now_us, IDENTITY_STEP_NONE); break;
    case CLOUD_LIFE_ACTIVE:
    case CLOUD_LIFE_ROTATION_STARTED:
    case CLOUD_LIFE_REFUSED: break; /* seen at the vehicle */
    }
}

/* ---- what the agent tells ---------------------------------------------------------------------------------------------- */

static void claim_step(struct fleet *fleet, uint32_t vehicle, struct fleet_identity *identity, int64_t now_us,
                       enum tcu_step step)
{
    if (step == TCU_STEP_CERTIFICATE)
        identity->step_us = now_us;
    else if (step == TCU_STEP_REGISTERED)
        sample(fleet, vehicle, METRIC_PROVISION_REGISTRATION, identity->step_us, now_us);
}

/* Each step's time, and what is waited for after it. */
static const struct {
    enum metric metric;
    enum identity_step next;
} steps[TCU_STEPS] = {
    [TCU_STEP_JOB] = {METRIC_ROTATION_NOTICE, IDENTITY_STEP_KEY},
    [TCU_STEP_KEY] = {METRIC_ROTATION_KEY, IDENTITY_STEP_CERTIFICATE},
    [TCU_STEP_CERTIFICATE] = {METRIC_ROTATION_CERTIFICATE, IDENTITY_STEP_REGISTRATION},
    [TCU_STEP_REGISTERED] = {METRIC_ROTATION_REGISTRATION, IDENTITY_STEP_SWITCH},
    [TCU_STEP_SWITCHED] = {METRIC_ROTATION_SWITCH, IDENTITY_STEP_DEACTIVATION},
    [TCU_STEP_DEACTIVATED] = {METRIC_ROTATION_DEACTIVATION, IDENTITY_STEP_REPORT},
    [TCU_STEP_REPORTED] = {METRIC_COUNT, IDENTITY_STEP_NONE},
    [TCU_STEP_ROLLED_BACK] = {METRIC_COUNT, IDENTITY_STEP_REPORT},
    [TCU_STEP_RESTARTED] = {METRIC_COUNT, IDENTITY_STEP_KEY},
};

void fleet_identity_probe(struct fleet *fleet, uint32_t vehicle, const struct fleet_trace *trace, int64_t now_us,
                          const struct tcu_probe *probe)
{
    struct fleet_identity *identity = identity_of(fleet, vehicle);
    if (!identity || probe->kind != TCU_PROBE_STEP || probe->number >= TCU_STEPS)
        return;
    enum tcu_step step = (enum tcu_step)probe->number;
    if (identity->decided_us < 0) {
        claim_step(fleet, vehicle, identity, now_us, step);
        return;
    }
    if (steps[step].metric != METRIC_COUNT)
        sample(fleet, vehicle, steps[step].metric, identity->step_us, now_us);
    if (step == TCU_STEP_ROLLED_BACK)
        victim(fleet, vehicle, COUNTER_ROLLED_BACK, now_us, IDENTITY_STEP_SWITCH);
    identity->step_us = now_us;
    identity->step = (uint8_t)steps[step].next;
}

void fleet_identity_intrusion(struct fleet *fleet, uint32_t vehicle, const struct fleet_trace *trace, int64_t now_us,
                              bool accepted)
{
    if (accepted)
        victim(fleet, vehicle, COUNTER_INTRUSIONS, now_us, IDENTITY_STEP_CONNECT);
    else
        count_one(fleet, vehicle, COUNTER_INTRUSIONS_REFUSED, now_us);
}

void fleet_identity_offline(struct fleet *fleet, uint32_t vehicle, const struct fleet_trace *trace, int64_t end_us)
{
    const struct fleet_identity *identity = identity_of(fleet, vehicle);
    const struct scenario_cohort *cohort = &fleet->scenario->cohorts[trace->cohort];
    if (!identity || identity->off || trace->online || !fleet_has_own_identity(fleet->scenario, vehicle))
        return;
    enum identity_step step = (enum identity_step)identity->step;
    if (step == IDENTITY_STEP_NONE && trace->registering)
        step = IDENTITY_STEP_REGISTRATION;
    else if (step == IDENTITY_STEP_NONE && cohort->provisioning != PROVISIONING_DONE && !trace->provisioned)
        step = IDENTITY_STEP_CERTIFICATE;
    else if (step == IDENTITY_STEP_NONE)
        step = IDENTITY_STEP_CONNECT;
    victim(fleet, vehicle, COUNTER_OFFLINE_AT_END, end_us, step);
}

/* ---- power ------------------------------------------------------------------------------------------------------------- */

void fleet_identity_arm(struct fleet_identity *identity, uint32_t vehicle, const struct world_action *action)
{
    identity->cut_lasts_us = action->duration_us;
    identity->cut_after = action->after_write;
    if (action->store_write > 0) {
        identity->cut_writes = (uint32_t)action->store_write;
        return;
    }
    uint32_t turn = vehicle % (2 * (action->store_writes ? action->store_writes : 1));
    identity->cut_writes = turn / 2 + 1;
    identity->cut_after = turn % 2;
}

enum fleet_write fleet_identity_write(struct fleet_identity *identity)
{
    if (identity->dead)
        return FLEET_WRITE_NEVER;
    if (identity->cut_writes == 0 || --identity->cut_writes > 0)
        return FLEET_WRITE;
    identity->dead = true;
    return identity->cut_after ? FLEET_WRITE_THEN_DIE : FLEET_WRITE_NEVER;
}

/* ---- the end ------------------------------------------------------------------------------------------------------------ */

struct finishing {
    struct cloud *cloud;
    int64_t epoch_us, now_us;
    void (*flaw)(void *context, enum counter counter, struct span thing);
    void *context;
    struct span thing;
    char name[64];
};

static void found(void *context, enum cloud_flaw_kind kind, struct span thing)
{
    static const enum counter counters[CLOUD_FLAWS] = {
        [CLOUD_FLAW_NO_CERTIFICATE] = COUNTER_FLAW_NO_CERTIFICATE,
        [CLOUD_FLAW_SECOND_CERTIFICATE] = COUNTER_FLAW_SECOND_CERTIFICATE,
        [CLOUD_FLAW_SHARED_IDENTITY] = COUNTER_FLAW_SHARED_IDENTITY,
        [CLOUD_FLAW_STILL_ACTIVE] = COUNTER_FLAW_STILL_ACTIVE,
        [CLOUD_FLAW_STILL_CONNECTED] = COUNTER_FLAW_STILL_CONNECTED,
        [CLOUD_FLAW_JOB_OPEN] = COUNTER_FLAW_JOB_OPEN,
        [CLOUD_FLAW_HISTORY] = COUNTER_FLAW_HISTORY,
        [CLOUD_FLAW_REFERENCE] = COUNTER_FLAW_REFERENCE,
        [CLOUD_FLAW_OLD_DATA] = COUNTER_DATA_CROSSED,
    };
    const struct finishing *finishing = context;
    finishing->flaw(finishing->context, counters[kind], thing);
}

/* Knocks with a certificate that was good once, as a fresh connection would show it. */
static bool knock(void *context, const struct cloud_certificate *certificate, enum cloud_certificate_status status)
{
    struct finishing *finishing = context;
    int64_t now_s = (finishing->epoch_us + finishing->now_us) / US_PER_S;
    bool revoked = cloud_registry_is_revoked(finishing->cloud->registry, certificate->id);
    if (status == CLOUD_CERTIFICATE_PENDING_ACTIVATION ||
        (status == CLOUD_CERTIFICATE_ACTIVE && !revoked && now_s <= certificate->not_after_s))
        return true;
    struct cloud_peer peer = {0};
    cloud_peer_from_certificate(&peer, certificate, (struct span){NULL, 0});
    struct mq5_connect connect = {.version = MQ5_V5, .client_id = finishing->thing, .clean_start = true};
    struct cloud_authorisation answer =
        cloud_lifecycle_authorise_connect(finishing->cloud->lifecycle, finishing->now_us, &connect, &peer);
    if (answer.reason == MQ5_SUCCESS)
        finishing->flaw(finishing->context, COUNTER_FLAW_OLD_ACCEPTED, finishing->thing);
    return true;
}

static void knock_for(void *context, const struct cloud_vehicle *vehicle)
{
    struct finishing *finishing = context;
    snprintf(finishing->name, sizeof finishing->name, "%s", vehicle->reference);
    finishing->thing = span_text(finishing->name);
    cloud_registry_of_thing(finishing->cloud->registry, finishing->name, knock, finishing);
}

void fleet_identity_verify(const struct scenario *scenario, struct cloud *cloud, int64_t epoch_us, int64_t now_us,
                           void (*flaw)(void *context, enum counter counter, struct span thing), void *context)
{
    struct finishing finishing = {
        .cloud = cloud, .epoch_us = epoch_us, .now_us = now_us, .flaw = flaw, .context = context};
    cloud_lifecycle_verify(cloud->lifecycle, now_us, scenario->cloud.lifecycle.cut_bound_us, found, &finishing);
    if (scenario->cloud.lifecycle.probe_old && cloud->broker) /* there is a door of ours */
        cloud_vehicles_each(cloud_lifecycle_vehicles(cloud->lifecycle), knock_for, &finishing);
}

void fleet_identity_flaw(struct fleet *fleet, enum counter counter, struct span thing, int64_t now_us)
{
    uint32_t vehicle;
    if (!scenario_vehicle_find(fleet->scenario, thing, &vehicle))
        return;
    const struct fleet_identity *identity = identity_of(fleet, vehicle);
    victim(fleet, vehicle, counter, now_us, identity ? (enum identity_step)identity->step : IDENTITY_STEP_NONE);
}

struct local_finish {
    struct fleet *fleet;
    int64_t now_us;
};

static void local_flaw(void *context, enum counter counter, struct span thing)
{
    const struct local_finish *finish = context;
    fleet_identity_flaw(finish->fleet, counter, thing, finish->now_us);
}

void fleet_identity_finish(struct fleet *fleet, struct cloud *cloud, int64_t now_us)
{
    struct local_finish finish = {fleet, now_us > 0 ? now_us - 1 : 0};
    fleet_identity_verify(fleet->scenario, cloud, fleet->wall_offset_us, now_us, local_flaw, &finish);
}
