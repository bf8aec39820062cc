/* virtual_moves.c: vehicles whose home changes, and a fleet that goes from one broker to another, in the virtual world: the hands of cloud/regions.h on
 * the registries, sessions and records of a partition's regions.
 */
#include "virtual_regions.h"

#define SERVICE_AFTER_US (2 * US_PER_S)  /* online in its new region, until the first command is asked for */
#define SERVICE_AGAIN_US (15 * US_PER_S) /* ... and asked for again */
#define SERVICE_TIME_US  (30 * US_PER_S)
#define SALT_KEEP_OLD    16
#define SALT_COPY_ALL    17

static void count(const struct virtual_vehicle *vehicle, enum counter counter, int64_t now_us)
{
    measure_count(vehicle->partition->world->fleet.measure, counter, fleet_who(&vehicle->trace, PATH_ANY), now_us, 1);
}

static void victim(const struct virtual_vehicle *vehicle, enum counter counter, int64_t now_us)
{
    count(vehicle, counter, now_us);
    measure_command_victim(vehicle->partition->world->fleet.measure, counter, vehicle_index(vehicle), now_us);
}

static struct virtual_vehicle *vehicle_named(const struct virtual_regions *regions, struct span thing)
{
    const struct partition *partition = regions->partition;
    uint32_t vehicle, partitions = partition->world->partition_count;
    bool found =
        scenario_vehicle_find(partition->world->scenario, thing, &vehicle) && vehicle % partitions == partition->number;
    return found ? partition_vehicle(partition, vehicle / partitions) : NULL;
}

static void name_text(struct span thing, char out[TCU_NAME_MAX + 1])
{
    uint32_t length = thing.length <= TCU_NAME_MAX ? thing.length : TCU_NAME_MAX;
    memcpy(out, thing.data, length);
    out[length] = 0;
}

/* ---- hands --------------------------------------------------------------------------------------------------------------------- */

struct copying {
    struct cloud_registry *registry;
    const char *thing;
    int64_t now_s;
    bool good;
};

static bool copy_certificate(void *context, const struct cloud_certificate *certificate,
                             enum cloud_certificate_status status)
{
    struct copying *copying = context;
    copying->good =
        cloud_registry_put_certificate(copying->registry, certificate, status, copying->thing, copying->now_s);
    return copying->good;
}

/* Thing name, certificate and its status: what a region needs to serve the vehicle. */
static bool copy_identity(struct virtual_regions *regions, struct span thing, uint8_t from, uint8_t to)
{
    char name[TCU_NAME_MAX + 1];
    const struct partition *partition = regions->partition;
    name_text(thing, name);
    struct copying copying = {.registry = regions->list[to].registry,
                              .thing = name,
                              .now_s = (partition->world->fleet.wall_offset_us + partition->now_us) / US_PER_S};
    copying.good = cloud_registry_put_thing(copying.registry, name, copying.now_s);
    if (copying.good)
        cloud_registry_of_thing(regions->list[from].registry, name, copy_certificate, &copying);
    return copying.good;
}

static bool copy(void *context, struct span thing, uint8_t from, uint8_t to, uint8_t kinds)
{
    struct virtual_regions *regions = context;
    const struct virtual_vehicle *vehicle = vehicle_named(regions, thing);
    if (!vehicle)
        return false;
    const struct region_record *old = &regions->list[from].records[vehicle->local];
    if (virtual_region_part(vehicle, SALT_COPY_ALL) < regions_scenario(regions)->copy_all) /* a fault */
        kinds |= CLOUD_DATA_PERSONAL | CLOUD_DATA_TELEMETRY;
    regions->list[to].records[vehicle->local].brought |= kinds & (old->held | old->brought);
    return !(kinds & CLOUD_DATA_IDENTITY) || copy_identity(regions, thing, from, to);
}

static bool clean(void *context, struct span thing, uint8_t region, uint8_t kinds)
{
    struct virtual_regions *regions = context;
    char name[TCU_NAME_MAX + 1];
    const struct virtual_vehicle *vehicle = vehicle_named(regions, thing);
    if (!vehicle)
        return false;
    if (virtual_region_part(vehicle, SALT_KEEP_OLD) < regions_scenario(regions)->keep_old) /* a fault */
        return false;
    name_text(thing, name);
    struct region_record *record = &regions->list[region].records[vehicle->local];
    record->held &= (uint8_t)~kinds;
    record->brought &= (uint8_t)~kinds;
    if (kinds & CLOUD_DATA_IDENTITY) {
        cloud_registration_forget(regions->list[region].cloud->registration, name);
        cloud_registry_forget_thing(regions->list[region].registry, name);
    }
    if (kinds & CLOUD_DATA_SESSION)
        cloud_broker_forget(regions->list[region].cloud->broker, regions->partition->now_us, thing);
    return true;
}

/* The registry and the broker are asked themselves. */
static uint8_t query(void *context, struct span thing, uint8_t region)
{
    const struct virtual_regions *regions = context;
    char name[TCU_NAME_MAX + 1];
    const struct virtual_vehicle *vehicle = vehicle_named(regions, thing);
    if (!vehicle)
        return 0;
    name_text(thing, name);
    const struct region_record *record = &regions->list[region].records[vehicle->local];
    uint8_t found = record->held | record->brought;
    if (cloud_registry_has_thing(regions->list[region].registry, name))
        found |= CLOUD_DATA_IDENTITY;
    if (cloud_broker_has_session(regions->list[region].cloud->broker, thing))
        found |= CLOUD_DATA_SESSION;
    return found;
}

static void told(void *context, int64_t now_us, struct span thing, uint8_t from, uint8_t to,
                 enum cloud_move_state state, int64_t began_us)
{
    struct virtual_vehicle *vehicle = vehicle_named(context, thing);
    struct region_whereabouts *where = vehicle ? vehicle_whereabouts(vehicle) : NULL;
    if (where && state == CLOUD_MOVE_UNDONE) { /* at home where it was before */
        where->home = from;
        where->former = CLOUD_NO_REGION;
        where->arrived_us = -1;
    }
}

/* ---- set-up ---------------------------------------------------------------------------------------------------------------------- */

static const struct fleet_migration_hooks migration_hooks;

static bool start_migration(struct virtual_regions *regions)
{
    struct partition *partition = regions->partition;
    regions->turns = memory_allocate_zero(partition->count + 1, sizeof *regions->turns);
    regions->migration = (struct fleet_migration){
        .fleet = &partition->world->fleet, .count = partition->count, .hooks = &migration_hooks, .world = partition};
    return regions->turns && fleet_migration_start(&regions->migration);
}

bool virtual_moves_start(struct virtual_regions *regions)
{
    const struct scenario_regions *rules = regions_scenario(regions);
    struct cloud_move_rules moves = {.copied = rules->copied,
                                     .cleaned = rules->cleaned,
                                     .kept = rules->kept,
                                     .clean_after_us = rules->clean_after_us,
                                     .give_up_us = rules->give_up_us};
    struct cloud_move_hands hands = {copy, clean, query, told, regions};
    regions->moves = cloud_moves_create(&moves, &hands);
    return regions->moves && (!rules->migrates || start_migration(regions));
}

/* The resolver's table says where a vehicle belongs, from its turn on the new broker. */
static void set_table(struct virtual_vehicle *vehicle, uint8_t region)
{
    if (!cloud_resolver_set_static(vehicle->partition->regions->resolver, tcu_name(vehicle_tcu(vehicle)), region))
        vehicle->partition->world->out_of_memory = true;
}

void virtual_moves_vehicle(struct virtual_vehicle *vehicle)
{
    struct virtual_regions *regions = vehicle->partition->regions;
    uint8_t home = vehicle_whereabouts(vehicle)->home;
    if (!regions->turns)
        return;
    set_table(vehicle, home);
    fleet_migration_vehicle(&regions->migration, vehicle->local, home);
}

/* ---- a vehicle on another continent --------------------------------------------------------------------------------------------- */

/* It gets off the ship: its link is gone; where its home moves with it, the owner asks for service there. */
void virtual_moves_arrived(struct virtual_vehicle *vehicle, int64_t now_us, const struct region_journey *journey)
{
    struct virtual_regions *regions = vehicle->partition->regions;
    struct region_whereabouts *where = vehicle_whereabouts(vehicle);
    if (where->place == journey->to)
        return;
    virtual_link_lost(vehicle, now_us, TCU_LINK_LOST);
    where->place = journey->to;
    if (!journey->home_too || where->home == journey->to ||
        !cloud_moves_begin(regions->moves, now_us, tcu_name(vehicle_tcu(vehicle)), where->home, journey->to))
        return;
    where->former = where->home;
    where->home = journey->to;
    where->arrived_us = now_us;
    virtual_cloud_touched(vehicle->partition);
}

static bool waits_for_service(const struct virtual_vehicle *vehicle)
{
    const struct region_whereabouts *where = vehicle_whereabouts(vehicle);
    return where->arrived_us >= 0 && virtual_region_online_at(vehicle, where->home);
}

void virtual_moves_service(struct virtual_vehicle *vehicle, int64_t now_us)
{
    if (!waits_for_service(vehicle))
        return;
    virtual_ask(vehicle, now_us, SPAN_LITERAL("status"), SERVICE_TIME_US);
    virtual_schedule(vehicle, STEP_SERVICE, now_us + SERVICE_AGAIN_US, 0, NULL, 0);
    virtual_cloud_touched(vehicle->partition);
}

/* It has answered a command. */
void virtual_moves_served(struct virtual_vehicle *vehicle, int64_t now_us)
{
    struct region_whereabouts *where = vehicle_whereabouts(vehicle);
    if (!waits_for_service(vehicle))
        return;
    count(vehicle, COUNTER_REGION_MOVES, now_us);
    measure_sample(vehicle->partition->world->fleet.measure, METRIC_REGION_MOVE, fleet_who(&vehicle->trace, PATH_ANY),
                   vehicle_index(vehicle), where->arrived_us, now_us - where->arrived_us);
    where->arrived_us = -1;
    cloud_moves_served(vehicle->partition->regions->moves, now_us, tcu_name(vehicle_tcu(vehicle)), where->home);
    virtual_cloud_touched(vehicle->partition);
}

/* ---- from one broker to another ------------------------------------------------------------------------------------------------- */

static struct fleet_turn *turn(void *context, uint32_t place)
{
    const struct partition *partition = context;
    return &partition->regions->turns[place];
}

static uint32_t index_of(void *context, uint32_t place)
{
    return vehicle_index(partition_vehicle(context, place));
}

static struct fleet_orders *desk(void *context, uint32_t place)
{
    return &((struct partition *)context)->orders;
}

static const struct fleet_trace *trace(void *context, uint32_t place)
{
    return &partition_vehicle(context, place)->trace;
}

static void wait_for(void *context, uint32_t place, enum fleet_turn_step step, int64_t at_us, uint8_t to)
{
    virtual_schedule(partition_vehicle(context, place), step == TURN_COMES ? STEP_TURN : STEP_SETTLED, at_us, to, NULL,
                     0);
}

/* What its modem has kept is out of date: a name's life is made short before a migration. */
static void go(void *context, uint32_t place, int64_t now_us, uint8_t from, uint8_t to)
{
    struct partition *partition = context;
    struct virtual_vehicle *vehicle = partition_vehicle(partition, place);
    bool copied = regions_scenario(partition->regions)->copied & CLOUD_DATA_IDENTITY;
    if (copied && !copy_identity(partition->regions, tcu_name(vehicle_tcu(vehicle)), from, to))
        partition->world->out_of_memory = true;
    set_table(vehicle, to);
    vehicle_whereabouts(vehicle)->answer_until_us = 0;
    virtual_region_send_on(vehicle, now_us, true);
}

static bool online_at(void *context, uint32_t place, uint8_t region)
{
    return virtual_region_online_at(partition_vehicle(context, place), region);
}

static bool should_be_online(void *context, uint32_t place)
{
    struct virtual_vehicle *vehicle = partition_vehicle(context, place);
    const struct fleet_parking *parking = vehicle_parking(vehicle);
    return vehicle->covered && vehicle->trace.power_up_us >= 0 && !tcu_asleep(vehicle_tcu(vehicle)) &&
           !(parking && parking->off);
}

static void left(void *context, uint32_t place, int64_t now_us, uint8_t from)
{
    struct partition *partition = context;
    cloud_broker_forget(virtual_region_broker(partition, from), now_us,
                        tcu_name(vehicle_tcu(partition_vehicle(partition, place))));
}

static const struct fleet_migration_hooks migration_hooks = {turn,      index_of,         desk, trace, wait_for, go,
                                                             online_at, should_be_online, left};

void virtual_moves_online(struct virtual_vehicle *vehicle, int64_t now_us)
{
    struct virtual_regions *regions = vehicle->partition->regions;
    const struct region_whereabouts *where = vehicle_whereabouts(vehicle);
    if (regions->turns)
        fleet_migration_online(&regions->migration, vehicle->local, now_us, where->toward);
    else if (where->arrived_us >= 0 && where->toward == where->home)
        virtual_schedule(vehicle, STEP_SERVICE, now_us + SERVICE_AFTER_US, 0, NULL, 0);
}

int64_t virtual_moves_next(const struct virtual_regions *regions)
{
    int64_t next_us = cloud_moves_next_deadline(regions->moves);
    int64_t migration_us = fleet_migration_next(&regions->migration);
    return migration_us < next_us ? migration_us : next_us;
}

void virtual_moves_tick(struct virtual_regions *regions, int64_t now_us)
{
    cloud_moves_tick(regions->moves, now_us);
    fleet_migration_tick(&regions->migration, now_us);
}

/* ---- the end --------------------------------------------------------------------------------------------------------------------- */

/* What was copied into a region and was not to be, and what lies where the rules of its home forbid it. Its former home is judged by the rules of the
 * move. */
static bool is_forbidden(const struct virtual_regions *regions, const struct virtual_vehicle *vehicle,
                         struct span thing, uint8_t region)
{
    const struct region_whereabouts *where = vehicle_whereabouts(vehicle);
    const struct scenario *scenario = regions->partition->world->scenario;
    if (regions->list[region].records[vehicle->local].brought & ~regions_scenario(regions)->copied)
        return true;
    bool may = scenario->regions[where->home].residency >> region & 1;
    return !may && region != where->former && query((void *)(uintptr_t)regions, thing, region) != 0;
}

void virtual_moves_audit(struct virtual_regions *regions, int64_t at_us)
{
    for (uint32_t i = 0; i < regions->partition->count; i++) {
        struct virtual_vehicle *vehicle = partition_vehicle(regions->partition, i);
        struct span thing = tcu_name(vehicle_tcu(vehicle));
        bool left = false, forbidden = false;
        for (uint8_t region = 0; region < regions->count; region++) {
            left = left || cloud_moves_leftovers(regions->moves, thing, region);
            forbidden = forbidden || is_forbidden(regions, vehicle, thing, region);
        }
        if (left)
            victim(vehicle, COUNTER_REGION_LEFTOVERS, at_us);
        if (forbidden)
            victim(vehicle, COUNTER_RESIDENCY_VIOLATIONS, at_us);
    }
}
