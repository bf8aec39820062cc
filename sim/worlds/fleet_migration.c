/* fleet_migration.c: the turns of migration { } (fleet_migration.h). */
#include "fleet_migration.h"

#define DRAIN_LOOK_US    (2 * US_PER_S)
#define SETTLE_LEAST_US  (10 * US_PER_S) /* however fast the calendar goes */
#define SALT_NEW_REFUSES 1
#define SALT_TURN        18
#define SALT_BACK        19

static const struct scenario_regions *rules_of(const struct fleet *fleet)
{
    return &fleet->scenario->cloud.regions;
}

static double part_of(const struct fleet *fleet, uint32_t vehicle, uint32_t salt)
{
    return (double)(sim_random_at(fleet->scenario->seed, vehicle, SIM_FOR_REGIONS, salt) >> 11) * 0x1p-53;
}

static int64_t scaled(const struct fleet *fleet, int64_t calendar_us)
{
    return (int64_t)((double)calendar_us / fleet->speedup);
}

bool fleet_migration_refuses(const struct fleet *fleet, uint32_t vehicle, uint8_t region)
{
    const struct scenario_regions *rules = rules_of(fleet);
    return rules->migrates && region == rules->to && part_of(fleet, vehicle, SALT_NEW_REFUSES) < rules->new_refuses;
}

static struct fleet_turn *turn_of(const struct fleet_migration *migration, uint32_t place)
{
    return migration->hooks->turn(migration->world, place);
}

static uint32_t index_of(const struct fleet_migration *migration, uint32_t place)
{
    return migration->hooks->index(migration->world, place);
}

static int64_t settle_us(const struct fleet *fleet)
{
    int64_t us = scaled(fleet, rules_of(fleet)->settle_us);
    return us > SETTLE_LEAST_US ? us : SETTLE_LEAST_US;
}

/* ---- what it needs live ---------------------------------------------------------------------------------------------------- */

const char *fleet_migration_objection(const struct scenario *scenario, const struct world_options *options)
{
    static const char brokers[] =
        "migration: give --broker once for each region, in the order of the file, or leave it out: "
        "then each has a cloud of our own";
    if (!scenario->cloud.regions.on)
        return NULL;
    bool embedded = options->broker_count == 0 || strcmp(options->brokers[0], "embedded") == 0;
    if (!scenario->cloud.regions.migrates)
        return embedded && options->broker_count <= 1
                   ? NULL
                   : "resolver { } and region_moves { } are live on clouds of our own only, one for each region; leave "
                     "--broker out";
    if (embedded)
        return options->broker_count > 1 ? brokers : NULL;
    return options->broker_count == scenario->region_count ? NULL : brokers;
}

/* ---- set-up ---------------------------------------------------------------------------------------------------------------- */

bool fleet_migration_start(struct fleet_migration *migration)
{
    const struct fleet *fleet = migration->fleet;
    const struct scenario_regions *rules = rules_of(fleet);
    struct cloud_wave waves[64];
    for (uint32_t i = 0; i < rules->wave_count; i++)
        waves[i] = (struct cloud_wave){rules->waves[i].cohort, scaled(fleet, rules->waves[i].at_us),
                                       scaled(fleet, rules->waves[i].within_us)};
    struct cloud_migration_options options = {.waves = waves,
                                              .wave_count = rules->wave_count,
                                              .abort_share = rules->abort_share,
                                              .settle_us = settle_us(fleet)};
    migration->machine = cloud_migration_create(&options, scaled(fleet, rules->migration_at_us));
    migration->waves = memory_allocate_zero(rules->wave_count, sizeof *migration->waves);
    return migration->machine && migration->waves;
}

void fleet_migration_stop(struct fleet_migration *migration)
{
    if (migration->machine)
        cloud_migration_destroy(migration->machine);
    memory_free(migration->waves);
    migration->machine = NULL;
    migration->waves = NULL;
}

static const struct scenario_wave *wave_of(const struct scenario_regions *rules, uint16_t cohort)
{
    for (uint32_t i = 0; i < rules->wave_count; i++)
        if (rules->waves[i].cohort == cohort)
            return &rules->waves[i];
    return NULL;
}

void fleet_migration_vehicle(struct fleet_migration *migration, uint32_t place, uint8_t region)
{
    const struct fleet *fleet = migration->fleet;
    const struct scenario_regions *rules = rules_of(fleet);
    const struct scenario_wave *wave = wave_of(rules, migration->hooks->trace(migration->world, place)->cohort);
    turn_of(migration, place)->table = region;
    if (!wave || region != rules->from)
        return;
    double part = part_of(fleet, index_of(migration, place), SALT_TURN);
    int64_t turn_us = rules->migration_at_us + wave->at_us + (int64_t)(part * (double)wave->within_us);
    migration->hooks->wait(migration->world, place, TURN_COMES, scaled(fleet, turn_us), rules->to);
}

/* ---- a vehicle's turn -------------------------------------------------------------------------------------------------------- */

/* A command is open that the vehicle may not have had yet. */
static bool has_open_command(const struct fleet_migration *migration, uint32_t place, int64_t now_us)
{
    const struct fleet_orders *orders = migration->hooks->desk(migration->world, place);
    uint32_t vehicle = index_of(migration, place);
    int64_t since_us = now_us - US_PER_HOUR;
    for (uint32_t i = orders ? orders->count : 0; i > 0 && orders->list[i - 1].asked_us >= since_us; i--)
        if (orders->list[i - 1].vehicle == vehicle && !orders->list[i - 1].end)
            return true;
    return false;
}

static void comes(struct fleet_migration *migration, uint32_t place, int64_t now_us, uint8_t to)
{
    const struct scenario_regions *rules = rules_of(migration->fleet);
    const struct fleet_migration_hooks *hooks = migration->hooks;
    struct fleet_turn *turn = turn_of(migration, place);
    uint8_t from = turn->table;
    bool onward = to == rules->to;
    if (from == to || (onward && turn->sent_back))
        return;
    if (turn->drain_until_us == 0)
        turn->drain_until_us = now_us + rules->drain_us;
    if (now_us < turn->drain_until_us && has_open_command(migration, place, now_us)) {
        hooks->wait(migration->world, place, TURN_COMES, now_us + DRAIN_LOOK_US, to);
        return;
    }
    turn->drain_until_us = 0;
    turn->table = to;
    hooks->go(migration->world, place, now_us, from, to);
    if (!onward)
        return;
    turn->settling = true;
    hooks->wait(migration->world, place, TURN_SETTLED, now_us + settle_us(migration->fleet), to);
}

static void settled(struct fleet_migration *migration, uint32_t place, int64_t now_us)
{
    const struct scenario_regions *rules = rules_of(migration->fleet);
    const struct fleet_migration_hooks *hooks = migration->hooks;
    struct fleet_turn *turn = turn_of(migration, place);
    bool there = hooks->online_at(migration->world, place, rules->to);
    if (!turn->settling)
        return;
    turn->settling = false;
    if (there || hooks->should_be_online(migration->world, place))
        cloud_migration_arrived(migration->machine, now_us, hooks->trace(migration->world, place)->cohort, there);
    if (there)
        hooks->left(migration->world, place, now_us, rules->from);
}

void fleet_migration_step(struct fleet_migration *migration, uint32_t place, int64_t now_us, enum fleet_turn_step step,
                          uint8_t to)
{
    if (step == TURN_COMES)
        comes(migration, place, now_us, to);
    else
        settled(migration, place, now_us);
}

void fleet_migration_online(struct fleet_migration *migration, uint32_t place, int64_t now_us, uint8_t region)
{
    const struct scenario_regions *rules = rules_of(migration->fleet);
    struct fleet_turn *turn = turn_of(migration, place);
    struct measure_dimension who = fleet_who(migration->hooks->trace(migration->world, place), PATH_ANY);
    if (region == rules->to && !turn->migrated)
        measure_count(migration->fleet->measure, COUNTER_MIGRATED, who, now_us, 1);
    if (region == rules->from && turn->migrated)
        measure_count(migration->fleet->measure, COUNTER_MIGRATED_BACK, who, now_us, 1);
    turn->migrated = region == rules->to;
}

/* ---- waves that fail ------------------------------------------------------------------------------------------------------------ */

/* Who had its turn goes back, and who did not stays. */
static int64_t send_back(struct fleet_migration *migration, int64_t now_us, const struct scenario_wave *wave)
{
    const struct scenario_regions *rules = rules_of(migration->fleet);
    int64_t concerned = 0;
    for (uint32_t i = 0; i < migration->count; i++) {
        struct fleet_turn *turn = turn_of(migration, i);
        if (migration->hooks->trace(migration->world, i)->cohort != wave->cohort || turn->sent_back)
            continue;
        turn->sent_back = true;
        turn->settling = false;
        if (turn->table != rules->to)
            continue;
        double part = part_of(migration->fleet, index_of(migration, i), SALT_BACK);
        int64_t wait_us = scaled(migration->fleet, (int64_t)(part * (double)wave->within_us));
        migration->hooks->wait(migration->world, i, TURN_COMES, now_us + wait_us, rules->from);
        concerned++;
    }
    return concerned;
}

/* The waves behind one that failed do not begin. */
static void hold_waiting(struct fleet_migration *migration, int64_t now_us)
{
    const struct scenario_regions *rules = rules_of(migration->fleet);
    for (uint32_t i = 0; i < rules->wave_count; i++)
        if (cloud_migration_wave(migration->machine, i) == CLOUD_WAVE_WAITING)
            send_back(migration, now_us, &rules->waves[i]);
}

static int64_t look_at_waves(struct fleet_migration *migration, int64_t now_us)
{
    const struct scenario_regions *rules = rules_of(migration->fleet);
    int64_t concerned = 0;
    for (uint32_t i = 0; i < rules->wave_count; i++) {
        enum cloud_wave_state state = cloud_migration_wave(migration->machine, i);
        bool undone = state == CLOUD_WAVE_ROLLED_BACK && migration->waves[i] != state;
        migration->waves[i] = state;
        if (!undone)
            continue;
        concerned += send_back(migration, now_us, &rules->waves[i]);
        hold_waiting(migration, now_us);
    }
    return concerned;
}

int64_t fleet_migration_roll_back(struct fleet_migration *migration, int64_t now_us)
{
    if (!migration->machine)
        return 0;
    cloud_migration_roll_back(migration->machine, now_us);
    return look_at_waves(migration, now_us);
}

int64_t fleet_migration_next(const struct fleet_migration *migration)
{
    return migration->machine ? ((const struct cloud_due *)(const void *)migration->machine)->next_us : TIME_NEVER;
}

void fleet_migration_tick(struct fleet_migration *migration, int64_t now_us)
{
    if (!migration->machine)
        return;
    cloud_migration_tick(migration->machine, now_us);
    look_at_waves(migration, now_us);
}
