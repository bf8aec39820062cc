/* virtual_moves.c: vehicles whose home changes, and a fleet that goes from one broker to another, in the virtual world: the hands of cloud/regions.h on
 * the registries, sessions and records of a partition's regions.
 */
#include "virtual_regions.h"

#define SERVICE_AFTER_US (2 * US_PER_S)  /* online in its new region, until the first command is asked for */
#define SERVICE_AGAIN_US (15 * US_PER_S) /* ... and asked for again */
#define SERVICE_TIME_US  (30 * US_PER_S)
#define DRAIN_LOOK_US    (2 * US_PER_S)
#define SALT_KEEP_OLD    16
#define SALT_COPY_ALL    17
#define SALT_TURN        18
#define SALT_BACK        19

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
    if (kinds & CLOUD_DATA_IDENTITY)
        cloud_registry_forget_thing(regions->list[region].registry, name);
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

static bool start_migration(struct virtual_regions *regions)
{
    const struct scenario_regions *rules = regions_scenario(regions);
    struct cloud_wave waves[64];
    for (uint32_t i = 0; i < rules->wave_count; i++)
        waves[i] = (struct cloud_wave){rules->waves[i].cohort, rules->waves[i].at_us, rules->waves[i].within_us};
    struct cloud_migration_options options = {.waves = waves,
                                              .wave_count = rules->wave_count,
                                              .abort_share = rules->abort_share,
                                              .settle_us = rules->settle_us};
    regions->migration = cloud_migration_create(&options, rules->migration_at_us);
    regions->waves = memory_allocate_zero(rules->wave_count, sizeof *regions->waves);
    return regions->migration && regions->waves;
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

static const struct scenario_wave *wave_of(const struct scenario_regions *rules, uint16_t cohort)
{
    for (uint32_t i = 0; i < rules->wave_count; i++)
        if (rules->waves[i].cohort == cohort)
            return &rules->waves[i];
    return NULL;
}

static void set_table(struct virtual_vehicle *vehicle, uint8_t region)
{
    vehicle_whereabouts(vehicle)->table = region;
    if (!cloud_resolver_set_static(vehicle->partition->regions->resolver, tcu_name(vehicle_tcu(vehicle)), region))
        vehicle->partition->world->out_of_memory = true;
}

/* The resolver's table says where a vehicle belongs, from its turn on the new broker. */
void virtual_moves_vehicle(struct virtual_vehicle *vehicle)
{
    const struct scenario_regions *rules = regions_scenario(vehicle->partition->regions);
    if (!rules->migrates)
        return;
    set_table(vehicle, vehicle_whereabouts(vehicle)->home);
    const struct scenario_wave *wave = wave_of(rules, vehicle->trace.cohort);
    if (!wave || vehicle_whereabouts(vehicle)->home != rules->from)
        return;
    int64_t turn_us = (int64_t)(virtual_region_part(vehicle, SALT_TURN) * (double)wave->within_us);
    virtual_schedule(vehicle, STEP_TURN, rules->migration_at_us + wave->at_us + turn_us, rules->to, NULL, 0);
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

/* A command is open that the vehicle may not have had yet. */
static bool has_open_command(const struct virtual_vehicle *vehicle, int64_t now_us)
{
    const struct fleet_orders *orders = &vehicle->partition->orders;
    int64_t since_us = now_us - US_PER_HOUR;
    for (uint32_t i = orders->count; i > 0 && orders->list[i - 1].asked_us >= since_us; i--)
        if (orders->list[i - 1].vehicle == vehicle_index(vehicle) && !orders->list[i - 1].end)
            return true;
    return false;
}

void virtual_moves_turn(struct virtual_vehicle *vehicle, int64_t now_us, uint8_t to)
{
    struct virtual_regions *regions = vehicle->partition->regions;
    const struct scenario_regions *rules = regions_scenario(regions);
    struct region_whereabouts *where = vehicle_whereabouts(vehicle);
    uint8_t from = where->table;
    bool onward = to == rules->to;
    if (from == to || (onward && where->sent_back))
        return;
    if (where->drain_until_us == 0)
        where->drain_until_us = now_us + rules->drain_us;
    if (now_us < where->drain_until_us && has_open_command(vehicle, now_us)) {
        virtual_schedule(vehicle, STEP_TURN, now_us + DRAIN_LOOK_US, to, NULL, 0);
        return;
    }
    where->drain_until_us = 0;
    if (rules->copied & CLOUD_DATA_IDENTITY && !copy_identity(regions, tcu_name(vehicle_tcu(vehicle)), from, to))
        vehicle->partition->world->out_of_memory = true;
    set_table(vehicle, to);
    where->answer_until_us =
        0; /* what its modem has kept is out of date: the record's life is short before a migration */
    virtual_region_send_on(vehicle, now_us, true);
    if (!onward)
        return;
    where->settling = true;
    virtual_schedule(vehicle, STEP_SETTLED, now_us + rules->settle_us, 0, NULL, 0);
}

/* A car that cannot be online says nothing about the new broker. */
static bool should_be_online(const struct virtual_vehicle *vehicle)
{
    const struct tcu *tcu = vehicle_tcu((struct virtual_vehicle *)(uintptr_t)vehicle);
    const struct fleet_parking *parking = vehicle_parking(vehicle);
    return vehicle->covered && vehicle->trace.power_up_us >= 0 && !tcu_asleep(tcu) && !(parking && parking->off);
}

void virtual_moves_settled(struct virtual_vehicle *vehicle, int64_t now_us)
{
    struct virtual_regions *regions = vehicle->partition->regions;
    const struct scenario_regions *rules = regions_scenario(regions);
    struct region_whereabouts *where = vehicle_whereabouts(vehicle);
    bool there = virtual_region_online_at(vehicle, rules->to);
    if (!where->settling)
        return;
    where->settling = false;
    if (there || should_be_online(vehicle))
        cloud_migration_arrived(regions->migration, now_us, vehicle->trace.cohort, there);
    if (there)
        cloud_broker_forget(regions->list[rules->from].cloud->broker, now_us, tcu_name(vehicle_tcu(vehicle)));
    virtual_cloud_touched(vehicle->partition);
}

/* Who had its turn goes back, and who did not stays. */
static int64_t send_back(struct virtual_regions *regions, int64_t now_us, const struct scenario_wave *wave)
{
    const struct scenario_regions *rules = regions_scenario(regions);
    int64_t concerned = 0;
    for (uint32_t i = 0; i < regions->partition->count; i++) {
        struct virtual_vehicle *vehicle = partition_vehicle(regions->partition, i);
        struct region_whereabouts *where = vehicle_whereabouts(vehicle);
        if (vehicle->trace.cohort != wave->cohort || where->sent_back)
            continue;
        where->sent_back = true;
        where->settling = false;
        if (where->table != rules->to)
            continue;
        int64_t wait_us = (int64_t)(virtual_region_part(vehicle, SALT_BACK) * (double)wave->within_us);
        virtual_schedule(vehicle, STEP_TURN, now_us + wait_us, rules->from, NULL, 0);
        concerned++;
    }
    return concerned;
}

/* The waves behind one that failed do not begin. */
static void hold_waiting(struct virtual_regions *regions, int64_t now_us)
{
    const struct scenario_regions *rules = regions_scenario(regions);
    for (uint32_t i = 0; i < rules->wave_count; i++)
        if (cloud_migration_wave(regions->migration, i) == CLOUD_WAVE_WAITING)
            send_back(regions, now_us, &rules->waves[i]);
}

static int64_t look_at_waves(struct virtual_regions *regions, int64_t now_us)
{
    const struct scenario_regions *rules = regions_scenario(regions);
    int64_t concerned = 0;
    for (uint32_t i = 0; i < rules->wave_count; i++) {
        enum cloud_wave_state state = cloud_migration_wave(regions->migration, i);
        bool undone = state == CLOUD_WAVE_ROLLED_BACK && regions->waves[i] != state;
        regions->waves[i] = state;
        if (!undone)
            continue;
        concerned += send_back(regions, now_us, &rules->waves[i]);
        hold_waiting(regions, now_us);
    }
    return concerned;
}

int64_t virtual_moves_roll_back(struct virtual_regions *regions, int64_t now_us)
{
    if (!regions->migration)
        return 0;
    cloud_migration_roll_back(regions->migration, now_us);
    return look_at_waves(regions, now_us);
}

void virtual_moves_online(struct virtual_vehicle *vehicle, int64_t now_us)
{
    const struct scenario_regions *rules = regions_scenario(vehicle->partition->regions);
    struct region_whereabouts *where = vehicle_whereabouts(vehicle);
    if (rules->migrates) {
        if (where->toward == rules->to && !where->migrated)
            count(vehicle, COUNTER_MIGRATED, now_us);
        if (where->toward == rules->from && where->migrated)
            count(vehicle, COUNTER_MIGRATED_BACK, now_us);
        where->migrated = where->toward == rules->to;
    } else if (where->arrived_us >= 0 && where->toward == where->home) {
        virtual_schedule(vehicle, STEP_SERVICE, now_us + SERVICE_AFTER_US, 0, NULL, 0);
    }
}

int64_t virtual_moves_next(const struct virtual_regions *regions)
{
    int64_t next_us = cloud_moves_next_deadline(regions->moves);
    int64_t migration_us =
        regions->migration ? ((const struct cloud_due *)(const void *)regions->migration)->next_us : TIME_NEVER;
    return migration_us < next_us ? migration_us : next_us;
}

void virtual_moves_tick(struct virtual_regions *regions, int64_t now_us)
{
    cloud_moves_tick(regions->moves, now_us);
    if (!regions->migration)
        return;
    cloud_migration_tick(regions->migration, now_us);
    look_at_waves(regions, now_us);
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
