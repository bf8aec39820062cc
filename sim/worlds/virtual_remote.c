/* virtual_remote.c: remote commands and parked cars in the virtual world: the desk of a partition, SMS to its vehicles, their batteries, and what a
 * script does to brokers and to connections.
 */
#include "virtual.h"

#define SMS_HANDLING_US 200000 /* from the modem to the agent */

/* ---- finding ---------------------------------------------------------------------------------------------------------------- */

struct fleet_orders *virtual_find_orders(void *world, uint32_t vehicle)
{
    struct virtual_vehicle *found = virtual_find_vehicle(world, vehicle);
    return found ? &found->partition->orders : NULL;
}

struct fleet_parking *virtual_find_parking(void *world, uint32_t vehicle)
{
    struct virtual_vehicle *found = virtual_find_vehicle(world, vehicle);
    return found ? vehicle_parking(found) : NULL;
}

static struct virtual_vehicle *vehicle_of(struct partition *partition, uint32_t vehicle)
{
    uint32_t partitions = partition->world->partition_count;
    return vehicle % partitions == partition->number ? partition_vehicle(partition, vehicle / partitions) : NULL;
}

/* ---- SMS -------------------------------------------------------------------------------------------------------------------- */

/* A modem that listens at times only gets it then; the network holds it so long. */
static enum cloud_sms_attempt deliver(void *context, int64_t now_us, uint32_t index, struct span text)
{
    struct partition *partition = context;
    struct virtual_vehicle *vehicle = vehicle_of(partition, index);
    const struct fleet_parking *parking = vehicle ? vehicle_parking(vehicle) : NULL;
    if (!parking || parking->off || vehicle->trace.power_up_us < 0 || !vehicle->covered)
        return CLOUD_SMS_ABSENT;
    struct sim_random random = vehicle_stream(vehicle, SIM_FOR_LINK, vehicle->radio_draws);
    int64_t reached_us = link_reachable_us(vehicle_radio(vehicle), &vehicle->radio, &random, now_us);
    if (reached_us == TIME_NEVER)
        return CLOUD_SMS_ABSENT;
    virtual_schedule(vehicle, STEP_SMS, reached_us + SMS_HANDLING_US, 0, text.data, text.length);
    return CLOUD_SMS_TAKEN;
}

void virtual_sms(struct virtual_vehicle *vehicle, int64_t now_us, struct span text)
{
    struct fleet_parking *parking = vehicle_parking(vehicle);
    if (parking->off)
        return;
    parking->woken_us = now_us;
    virtual_tell(vehicle, now_us, TRACE_CAR, (struct span){NULL, 0}, "SMS");
    tcu_sms(vehicle_tcu(vehicle), now_us, text);
}

/* ---- the desk --------------------------------------------------------------------------------------------------------------- */

/* A fault: what some vehicles answer is lost on the way. */
static bool inbound(void *door, int64_t now_us, struct span client_id, const struct mq5_packet *packet)
{
    struct partition *partition = door;
    uint32_t vehicle;
    if (packet->type != MQ5_PUBLISH || !scenario_vehicle_find(partition->world->scenario, client_id, &vehicle))
        return true;
    struct span topic = packet->publish.topic;
    static const char end[] = "/response";
    const uint32_t length = sizeof end - 1;
    return topic.length < length || memcmp(topic.data + topic.length - length, end, length) != 0 ||
           !fleet_answers_lost(&partition->world->fleet, vehicle);
}

bool virtual_remote_start(struct partition *partition,
                          struct cloud_bus *(*bus)(struct partition *partition, const char *client_id))
{
    const struct scenario *scenario = partition->world->scenario;
    if (fleet_has_parking(scenario)) {
        partition->parkings = memory_allocate_zero(partition->count + 1, sizeof *partition->parkings);
        if (!partition->parkings)
            return false;
        for (uint32_t i = 0; i < partition->count; i++)
            fleet_parking_init(&partition->parkings[i]);
    }
    if (!scenario->cloud.commands.on)
        return true;
    if (scenario->cloud.commands.lose_answers > 0)
        partition->cloud.inbound = inbound;
    struct cloud_bus *watch_bus = bus(partition, "presence-desk"), *desk_bus = bus(partition, "command-desk");
    partition->orders.world = partition;
    partition->orders.deliver = deliver;
    return watch_bus && desk_bus &&
           fleet_orders_open(&partition->orders, &partition->world->fleet, partition->cloud.options.profile, watch_bus,
                             desk_bus, partition->number, 0);
}

static bool is_online(void *context, uint32_t index)
{
    struct virtual_vehicle *vehicle = vehicle_of(context, index);
    return vehicle && tcu_connection(vehicle_tcu(vehicle)) == TCU_ONLINE;
}

/* What the desk believes a debounce after the end, against what the broker knows. */
static void judge_presence(struct partition *partition)
{
    struct virtual_world *world = partition->world;
    const struct scenario_commands *commands = &world->scenario->cloud.commands;
    struct cloud_watch *watch = partition->orders.watch;
    if (!watch)
        return;
    cloud_watch_tick(watch, partition->done_us + (commands->debounce_us ? commands->debounce_us : 5 * US_PER_S) + 1);
    for (uint32_t i = 0; i < partition->count; i++) {
        struct virtual_vehicle *vehicle = partition_vehicle(partition, i);
        struct span name = tcu_name(vehicle_tcu(vehicle));
        bool believed = cloud_watch_state(watch, name) == CLOUD_PRESENCE_ONLINE;
        if (believed == cloud_broker_is_connected(partition->cloud.broker, name))
            continue;
        measure_count(world->fleet.measure, COUNTER_PRESENCE_WRONG, fleet_who(&vehicle->trace, PATH_ANY),
                      partition->done_us - 1, 1);
        measure_command_victim(world->fleet.measure, COUNTER_PRESENCE_WRONG, vehicle_index(vehicle),
                               partition->done_us - 1);
    }
}

void virtual_remote_close(struct partition *partition)
{
    struct memory_heap *outside = memory_enter(partition->heap);
    fleet_orders_finish(&partition->orders, partition->done_us, is_online);
    judge_presence(partition);
    memory_enter(outside);
}

size_t virtual_unseal(void *context, struct span sealed, uint8_t *out, size_t capacity, enum tcu_refusal *why)
{
    struct virtual_vehicle *vehicle = context;
    const struct cloud_keys *keys = vehicle->partition->orders.keys;
    uint8_t own[CLOUD_VEHICLE_KEY], public_key[256];
    bool forged = false;
    *why = TCU_REFUSED_UNREADABLE;
    if (!keys)
        return 0;
    cloud_keys_vehicle(keys, tcu_name(vehicle_tcu(vehicle)), own);
    size_t length = cloud_keys_public(keys, public_key, sizeof public_key);
    length = cloud_keys_modelled_unseal(span_of(public_key, length), own, sealed, out, capacity, &forged);
    if (forged)
        *why = TCU_REFUSED_FORGED;
    return length;
}

/* ---- the ignition, coverage, the battery ------------------------------------------------------------------------------------- */

static const struct power_profile *battery_of(const struct virtual_vehicle *vehicle)
{
    return &vehicle_cohort(vehicle)->battery;
}

static void arm_battery(struct virtual_vehicle *vehicle, int64_t now_us)
{
    struct fleet_parking *parking = vehicle_parking(vehicle);
    if (!battery_of(vehicle)->budget_uah)
        return;
    int64_t next_us = power_next_us(battery_of(vehicle), &parking->power);
    if (next_us == TIME_NEVER || (parking->armed_us > now_us && parking->armed_us <= next_us))
        return;
    parking->armed_us = next_us > now_us ? next_us : now_us;
    virtual_schedule(vehicle, STEP_BATTERY, parking->armed_us, 0, NULL, 0);
}

static void count(const struct virtual_vehicle *vehicle, enum counter counter, int64_t now_us, int64_t amount)
{
    measure_count(vehicle->partition->world->fleet.measure, counter, fleet_who(&vehicle->trace, PATH_ANY), now_us,
                  amount);
}

static void cut_off(struct virtual_vehicle *vehicle, int64_t now_us)
{
    struct fleet_parking *parking = vehicle_parking(vehicle);
    count(vehicle, COUNTER_BATTERY_CUT_OFF, now_us, 1);
    virtual_tell(vehicle, now_us, TRACE_CAR, (struct span){NULL, 0}, "cut off from the battery");
    if (parking->asleep)
        count(vehicle, COUNTER_ASLEEP, now_us, -1);
    parking->asleep = false;
    parking->off = true;
    tcu_power_cut(vehicle_tcu(vehicle));
    fleet_power_lost(&vehicle->partition->world->fleet, vehicle_index(vehicle), &vehicle->trace, now_us);
    virtual_link_abandon(vehicle);
    vehicle->requests++;
    vehicle->agent.wanted_us = TIME_NEVER;
    virtual_forget_executions(vehicle);
    power_set_mode(battery_of(vehicle), &parking->power, now_us, POWER_OFF);
}

void virtual_battery(struct virtual_vehicle *vehicle, int64_t now_us)
{
    struct fleet_parking *parking = vehicle_parking(vehicle);
    if (parking->armed_us <= now_us)
        parking->armed_us = TIME_NEVER;
    if (parking->place == PLACE_ON_THE_ROAD || parking->off)
        return;
    switch (power_account(battery_of(vehicle), &parking->power, now_us)) {
    case POWER_LOW:
        count(vehicle, COUNTER_BATTERY_LOW, now_us, 1);
        tcu_battery(vehicle_tcu(vehicle), now_us, TCU_BATTERY_LOW);
        break;
    case POWER_CUT_OFF: cut_off(vehicle, now_us); break;
    case POWER_NOTHING: break;
    }
    arm_battery(vehicle, now_us);
}

void virtual_battery_used(struct virtual_vehicle *vehicle, int64_t now_us, size_t bytes)
{
    struct fleet_parking *parking = vehicle_parking(vehicle);
    if (parking->place == PLACE_ON_THE_ROAD || !battery_of(vehicle)->budget_uah)
        return;
    power_transfer(battery_of(vehicle), &parking->power, now_us, (uint32_t)bytes);
    arm_battery(vehicle, now_us);
}

void virtual_coverage(struct virtual_vehicle *vehicle, int64_t now_us, bool covered)
{
    const struct fleet_parking *parking = vehicle_parking(vehicle);
    vehicle->covered = covered && !(parking && parking->place == PLACE_GARAGE_DARK);
    if (vehicle->covered && vehicle->partition->orders.sms)
        cloud_sms_attached(vehicle->partition->orders.sms, now_us, tcu_name(vehicle_tcu(vehicle)));
    if (parking)
        virtual_cloud_touched(vehicle->partition);
}

static void stands(struct virtual_vehicle *vehicle, int64_t now_us)
{
    struct fleet_parking *parking = vehicle_parking(vehicle);
    fleet_parked(&vehicle->partition->world->fleet, vehicle_index(vehicle), &vehicle->trace, parking, now_us);
    if (parking->place == PLACE_GARAGE_DARK) {
        vehicle->covered = false;
        virtual_link_lost(vehicle, now_us, TCU_LINK_LOST);
    }
    arm_battery(vehicle, now_us);
}

void virtual_parked_at_start(struct virtual_vehicle *vehicle, int64_t now_us)
{
    if (!vehicle->day.driving)
        stands(vehicle, now_us);
}

void virtual_ignition(struct virtual_vehicle *vehicle, int64_t now_us, bool on)
{
    struct fleet_parking *parking = vehicle_parking(vehicle);
    if (!parking) {
        tcu_ignition(vehicle_tcu(vehicle), now_us, on);
        return;
    }
    if (!on) {
        tcu_ignition(vehicle_tcu(vehicle), now_us, false);
        if (parking->place == PLACE_ON_THE_ROAD)
            stands(vehicle, now_us);
        return;
    }
    bool dark = parking->place == PLACE_GARAGE_DARK;
    fleet_drove_off(&vehicle->partition->world->fleet, vehicle_index(vehicle), &vehicle->trace, parking, now_us);
    if (dark)
        virtual_coverage(vehicle, now_us, true);
    if (parking->off) {
        parking->off = false;
        virtual_tell(vehicle, now_us, TRACE_CAR, (struct span){NULL, 0}, "power is back");
        tcu_start(vehicle_tcu(vehicle), now_us, TCU_DRIVING);
        return;
    }
    tcu_battery(vehicle_tcu(vehicle), now_us, TCU_BATTERY_FINE);
    tcu_ignition(vehicle_tcu(vehicle), now_us, true);
}

/* ---- what a script does to brokers and connections ---------------------------------------------------------------------------- */

static void let_go_of_links(struct virtual_vehicle *vehicle)
{
    for (struct virtual_link *link = vehicle->links; link; link = link->next)
        if (link->broker_open)
            virtual_broker_close(NULL, link, CLOUD_CLOSED_SERVER);
}

void virtual_trouble(struct partition *partition, int64_t now_us, const struct world_action *action)
{
    int64_t until_us = now_us + action->duration_us;
    if (action->kind == ACTION_RESOLVER_GONE) {
        partition->resolver_until_us = until_us;
        return;
    }
    if (action->kind == ACTION_SERVER_CERTIFICATE) {
        partition->certificate_until_us = until_us;
        return;
    }
    partition->outage_until_us = until_us;
    for (uint32_t i = 0; i < partition->count; i++)
        let_go_of_links(partition_vehicle(partition, i));
    cloud_broker_restart(partition->cloud.broker, now_us, strcmp(action->option, "lose sessions") != 0);
}

bool virtual_kill_link(struct virtual_vehicle *vehicle, int64_t now_us, const struct world_action *action)
{
    struct virtual_link *link = vehicle_link(vehicle);
    if (!link || link->dead)
        return false;
    link->dead = true;
    count(vehicle, action->kind == ACTION_HALF_OPEN ? COUNTER_HALF_OPEN : COUNTER_ADDRESS_CHANGES, now_us, 1);
    return true;
}
