/* virtual_identity.c: what lifecycle { ... } adds to a partition of the virtual world: factories and thieves, what an operator does, power that goes.
 */
#include "virtual.h"

#include <stdio.h>

#define WORKSHOP_US     (30 * US_PER_S) /* how long the car is without power while its TCU is changed */
#define CLAIM_CERTIFIED 315360000       /* ten years */

/* ---- set-up ---------------------------------------------------------------------------------------------------------- */

static void cloud_told(void *context, int64_t now_us, const struct cloud_life_event *event)
{
    struct partition *partition = context;
    fleet_identity_event(&partition->world->fleet, now_us, event);
}

bool virtual_identity_options(struct partition *partition, struct cloud_options *options,
                              struct cloud_lifecycle_options *lifecycle)
{
    partition->identities = memory_allocate_zero(partition->count + 1, sizeof *partition->identities);
    if (!partition->identities)
        return false;
    for (uint32_t i = 0; i < partition->count; i++)
        fleet_identity_init(&partition->identities[i].fleet);
    fleet_identity_hooks_init(&partition->hooks, partition->world->scenario, partition->number);
    partition->hooks.event = cloud_told;
    partition->hooks.context = partition;
    fleet_identity_options(&partition->hooks, partition->world->scenario->start_epoch_us, lifecycle);
    options->lifecycle = lifecycle;
    return true;
}

bool virtual_identity_start(struct partition *partition)
{
    uint8_t bytes[VIRTUAL_CERTIFICATE_MAX], key[VIRTUAL_KEY_MAX];
    size_t length = sizeof bytes, key_length = sizeof key;
    if (!partition->identities)
        return true;
    int64_t now_s = partition->world->scenario->start_epoch_us / US_PER_S;
    if (!cloud_pki_make(partition->pki, CLOUD_CA_CLAIM, "production-lot-1", now_s - 86400, CLAIM_CERTIFIED, bytes,
                        &length, key, &key_length))
        return false;
    partition->claim = virtual_store_item(partition, span_of(bytes, length));
    if (key_length)
        partition->claim_key = virtual_store_item(partition, span_of(key, key_length));
    return partition->claim && (partition->claim_key || !key_length);
}

static void factory_flaw(void *context, enum counter counter, struct span thing)
{
    struct partition *partition = context;
    fleet_identity_flaw(&partition->world->fleet, counter, thing, 0);
}

bool virtual_identity_vehicle(struct virtual_vehicle *vehicle)
{
    struct partition *partition = vehicle->partition;
    const struct virtual_world *world = partition->world;
    uint32_t index = vehicle_index(vehicle);
    return !fleet_has_own_identity(world->scenario, index) ||
           fleet_identity_build(world->scenario, index, world->partition_count, &partition->cloud, 0,
                                world->scenario->start_epoch_us / US_PER_S, factory_flaw, partition);
}

void virtual_identity_provisioned(struct virtual_vehicle *vehicle, const uint8_t certificate_id[32])
{
    struct partition *partition = vehicle->partition;
    char id[65];
    for (int i = 0; i < 32; i++)
        snprintf(id + 2 * i, 3, "%02x", certificate_id[i]);
    cloud_vehicles_note(cloud_lifecycle_vehicles(partition->cloud.lifecycle),
                        partition->world->scenario->start_epoch_us / US_PER_S, tcu_name(vehicle_tcu(vehicle)),
                        CLOUD_CHANGE_PROVISIONED, span_of(id, 64));
}

/* ---- finding ---------------------------------------------------------------------------------------------------------- */

struct virtual_vehicle *virtual_find_vehicle(void *context, uint32_t vehicle)
{
    const struct virtual_world *world = context;
    uint32_t number = vehicle % world->partition_count, ranks = sim_group_size(world->group);
    struct partition *partition = world->running;
    if (!partition && number % ranks == sim_group_rank(world->group) && number / ranks < world->held)
        partition = world->partitions[number / ranks];
    return partition && partition->number == number ? partition_vehicle(partition, vehicle / world->partition_count)
                                                    : NULL;
}

struct fleet_identity *virtual_find_identity(void *world, uint32_t vehicle)
{
    const struct virtual_vehicle *found = virtual_find_vehicle(world, vehicle);
    struct virtual_identity *identity = found ? vehicle_identity(found) : NULL;
    return identity ? &identity->fleet : NULL;
}

struct store_item **virtual_identity_place(struct virtual_vehicle *vehicle, enum tcu_store_item item)
{
    struct virtual_identity *identity = vehicle_identity(vehicle);
    if (!identity)
        return NULL;
    switch (item) {
    case TCU_STORE_SECOND_CERTIFICATE: return &identity->second;
    case TCU_STORE_ROTATION: return &identity->rotation;
    case TCU_STORE_OPERATIONAL_KEY:
    case TCU_STORE_SECOND_KEY:
        return &identity->server_key; /* a key made by the cloud; others are modelled by their number */
    default: return NULL;
    }
}

/* A thief has what its victim showed last, from the moment there is anything to be had. */
static struct store_item *loot(struct virtual_vehicle *thief)
{
    const struct virtual_world *world = thief->partition->world;
    uint32_t of = fleet_victim(world->scenario, vehicle_index(thief), world->partition_count);
    struct virtual_vehicle *victim = partition_vehicle(thief->partition, of / world->partition_count);
    if (thief->certificate || victim == thief)
        return thief->certificate;
    const struct virtual_link *link = vehicle_link(victim);
    struct store_item *taken = vehicle_identity(victim)->removed;
    if (!vehicle_cohort(thief)->steals_old)
        taken = link ? link->certificate : victim->certificate;
    if (taken)
        taken->holders++;
    thief->certificate = taken;
    virtual_crypto_steal(thief, victim);
    return taken;
}

struct store_item *virtual_shown(struct virtual_vehicle *vehicle, enum tcu_identity identity)
{
    struct virtual_identity *own = vehicle_identity(vehicle);
    if (!own)
        return vehicle->certificate;
    if (vehicle_cohort(vehicle)->steals != MEASURE_ANY)
        return loot(vehicle);
    switch (identity) {
    case TCU_CLAIM: return vehicle->partition->claim;
    case TCU_OPERATIONAL_SECOND: return own->second;
    default: return vehicle->certificate;
    }
}

static size_t device_of(const struct virtual_vehicle *vehicle, uint32_t generation, char *out, size_t capacity)
{
    const struct virtual_world *world = vehicle->partition->world;
    uint32_t index = vehicle_index(vehicle);
    return fleet_device_name(world->scenario, index, fleet_neighbour(index, world->partition_count), generation, out,
                             capacity);
}

size_t virtual_device(struct virtual_vehicle *vehicle, char *out, size_t capacity)
{
    const struct virtual_identity *identity = vehicle_identity(vehicle);
    return identity ? device_of(vehicle, identity->fleet.device, out, capacity) : 0;
}

/* ---- power ------------------------------------------------------------------------------------------------------------ */

void virtual_forget_executions(struct virtual_vehicle *vehicle)
{
    struct step **place = &vehicle->steps;
    while (*place) {
        struct step *step = *place;
        if (step->kind != STEP_EXECUTED) {
            place = &step->next;
            continue;
        }
        *place = step->next;
        vehicle->partition->step_bytes -= sizeof *step + step->length;
        memory_free(step);
    }
}

void virtual_power_cut(struct virtual_vehicle *vehicle, int64_t now_us, int64_t lasts_us)
{
    struct virtual_identity *identity = vehicle_identity(vehicle);
    if (identity->fleet.off)
        return;
    identity->fleet.off = true;
    identity->fleet.dead = false;
    identity->fleet.cut_writes = 0;
    virtual_tell(vehicle, now_us, TRACE_CAR, (struct span){NULL, 0}, "power lost");
    tcu_power_cut(vehicle_tcu(vehicle));
    fleet_power_lost(&vehicle->partition->world->fleet, vehicle_index(vehicle), &vehicle->trace, now_us);
    virtual_link_abandon(vehicle);
    vehicle->requests++;
    vehicle->agent.wanted_us = TIME_NEVER;
    virtual_forget_executions(vehicle);
    if (lasts_us != TIME_NEVER)
        virtual_schedule(vehicle, STEP_POWER_BACK, now_us + lasts_us, 0, NULL, 0);
}

void virtual_died(struct partition *partition, int64_t now_us)
{
    struct virtual_vehicle *vehicle = partition->died;
    partition->died = NULL;
    virtual_power_cut(vehicle, now_us, vehicle_identity(vehicle)->fleet.cut_lasts_us);
    virtual_cloud_touched(partition);
}

void virtual_power_back(struct virtual_vehicle *vehicle, int64_t now_us)
{
    struct virtual_identity *identity = vehicle_identity(vehicle);
    if (!identity->fleet.off || identity->fleet.gone)
        return;
    identity->fleet.off = false;
    virtual_tell(vehicle, now_us, TRACE_CAR, (struct span){NULL, 0}, "power is back");
    if (identity->fleet.swapped_us == TIME_NEVER) { /* another TCU: it begins where every new one does */
        identity->fleet.swapped_us = vehicle->trace.power_up_us = now_us;
        vehicle->trace.key_us = vehicle->trace.since_us = -1;
        vehicle->trace.provisioned = false;
    }
    tcu_start(vehicle_tcu(vehicle), now_us, vehicle->day.driving ? TCU_DRIVING : TCU_PARKED);
}

/* ---- what is done to a vehicle ------------------------------------------------------------------------------------------ */

static void empty_store(struct virtual_vehicle *vehicle)
{
    struct virtual_identity *identity = vehicle_identity(vehicle);
    virtual_crypto_removed(vehicle, !vehicle->certificate);
    struct store_item **places[] = {&vehicle->state, &identity->second, &identity->rotation, &identity->server_key};
    virtual_store_release(vehicle->partition, identity->removed);
    identity->removed = vehicle->certificate ? vehicle->certificate : identity->second;
    if (vehicle->certificate)
        vehicle->certificate = NULL;
    else
        identity->second = NULL;
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        virtual_store_release(vehicle->partition, *places[i]);
        *places[i] = NULL;
    }
}

static bool swap(struct virtual_vehicle *vehicle, int64_t now_us, const struct world_action *action)
{
    struct virtual_identity *identity = vehicle_identity(vehicle);
    struct cloud_lifecycle *lifecycle = vehicle->partition->cloud.lifecycle;
    char before[CLOUD_DEVICE_MAX + 1], next[CLOUD_DEVICE_MAX + 1];
    size_t length = virtual_device(vehicle, before, sizeof before);
    size_t next_length = device_of(vehicle, identity->fleet.device + 1u, next, sizeof next);
    bool out = strcmp(action->option, "taken out") == 0;
    if (identity->fleet.gone)
        return false;
    if (strcmp(action->option, "unregistered") != 0 &&
        cloud_lifecycle_swap(lifecycle, now_us, tcu_name(vehicle_tcu(vehicle)), span_of(before, length),
                             out ? (struct span){NULL, 0} : span_of(next, next_length)) != CLOUD_VEHICLES_DONE)
        return false;
    identity->fleet.swapped_us = TIME_NEVER;
    identity->fleet.gone = out;
    identity->fleet.decided_us = identity->fleet.owner_us = -1;
    virtual_power_cut(vehicle, now_us, out ? TIME_NEVER : action->duration_us > 0 ? action->duration_us : WORKSHOP_US);
    empty_store(vehicle);
    identity->fleet.device++;
    return true;
}

static bool cut_power(struct virtual_vehicle *vehicle, int64_t now_us, const struct world_action *action)
{
    struct virtual_identity *identity = vehicle_identity(vehicle);
    if (identity->fleet.off)
        return false;
    if (action->store_write)
        fleet_identity_arm(&identity->fleet, vehicle_index(vehicle), action);
    else
        virtual_power_cut(vehicle, now_us, action->duration_us);
    return true;
}

bool virtual_identity_act(struct virtual_vehicle *vehicle, int64_t now_us, const struct world_action *action)
{
    static const char *const names[] = {[ACTION_ROTATE] = "operator: rotate its certificate",
                                        [ACTION_AUDIT] = "operator: audit",
                                        [ACTION_REVOKE] = "operator: revoke its certificate",
                                        [ACTION_OWNER] = "operator: another owner",
                                        [ACTION_SWAP] = "workshop: another TCU",
                                        [ACTION_DECOMMISSION] = "operator: decommission",
                                        [ACTION_RELEASE] = "operator: out of quarantine",
                                        [ACTION_POWER_CUT] = "script: power cut"};
    struct cloud_lifecycle *lifecycle = vehicle->partition->cloud.lifecycle;
    struct span thing = tcu_name(vehicle_tcu(vehicle));
    virtual_tell(vehicle, now_us, TRACE_CAR, (struct span){NULL, 0}, names[action->kind]);
    switch (action->kind) {
    case ACTION_ROTATE: return cloud_lifecycle_rotate(lifecycle, now_us, thing);
    case ACTION_REVOKE: return cloud_lifecycle_revoke(lifecycle, now_us, thing, action->option);
    case ACTION_OWNER: return cloud_lifecycle_change_owner(lifecycle, now_us, thing, span_text(action->option));
    case ACTION_SWAP: return swap(vehicle, now_us, action);
    case ACTION_DECOMMISSION: return cloud_lifecycle_decommission(lifecycle, now_us, thing);
    case ACTION_RELEASE: return cloud_lifecycle_release(lifecycle, now_us, thing);
    case ACTION_POWER_CUT: return cut_power(vehicle, now_us, action);
    default: return false;
    }
}

int64_t virtual_identity_audit(struct partition *partition, int64_t now_us)
{
    return cloud_lifecycle_audit(partition->cloud.lifecycle, now_us);
}

const char *virtual_identity_refusal(const struct virtual_world *world, const struct world_action *action)
{
    if (action->kind < ACTION_ROTATE || action->kind >= ACTION_BROKER_RESTART)
        return NULL;
    if (!world->scenario->cloud.lifecycle.on)
        return "nobody looks after identities here; write lifecycle { }";
    return world->running ? "on_event may only send a command, to one vehicle" : NULL;
}

void virtual_identity_close(struct partition *partition)
{
    fleet_identity_finish(&partition->world->fleet, &partition->cloud, partition->done_us);
}
