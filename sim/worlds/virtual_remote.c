/* virtual_remote.c: remote commands and parked cars in the virtual world: the desk of a partition, SMS to its vehicles, their batteries, and what a
 * script does to brokers and to connections.
 */
#include "fleet_attack.h"
#include "virtual_regions.h"

#include "cloud/reserved.h"

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
    if (!vehicle || !fleet_car_hears_sms(parking, &vehicle->trace, vehicle->covered))
        return CLOUD_SMS_ABSENT;
    struct sim_random random = vehicle_stream(vehicle, SIM_FOR_LINK, vehicle->radio_draws);
    int64_t reached_us = link_reachable_us(vehicle_radio(vehicle), &vehicle->radio, &random, now_us);
    if (reached_us == TIME_NEVER)
        return CLOUD_SMS_ABSENT;
    virtual_schedule(vehicle, STEP_SMS, reached_us + FLEET_SMS_HANDLING_US, 0, text.data, text.length);
    return CLOUD_SMS_TAKEN;
}

/* ---- the desk --------------------------------------------------------------------------------------------------------------- */

/* A fault: what some vehicles answer is lost on the way. */
bool virtual_answer_passes(void *door, int64_t now_us, struct span client_id, const struct mq5_packet *packet)
{
    struct partition *partition = door;
    return packet->type != MQ5_PUBLISH ||
           !fleet_answer_lost(partition->world->scenario, packet->publish.topic, client_id);
}

static uint32_t nth_vehicle(const struct fleet_orders *orders, uint32_t nth)
{
    const struct partition *partition = orders->world;
    return nth * partition->world->partition_count + partition->number;
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
        partition->cloud.inbound = virtual_answer_passes;
    struct cloud_bus *watch_bus = bus(partition, "presence-desk"), *desk_bus = bus(partition, "command-desk");
    if (partition->cloud.reserved) {
        partition->orders.executions = cloud_reserved_executions(partition->cloud.reserved);
        desk_bus =
            desk_bus ? cloud_reserved_bus(partition->cloud.reserved, desk_bus, SPAN_LITERAL("command-desk")) : NULL;
    }
    partition->orders.world = partition;
    partition->orders.deliver = deliver;
    if (fleet_has_attacks(scenario))
        desk_bus = fleet_attacks_open(&partition->orders, &partition->world->fleet, desk_bus, partition->number, 0,
                                      partition->count, nth_vehicle);
    return watch_bus && desk_bus &&
           fleet_orders_open(&partition->orders, &partition->world->fleet, partition->cloud.options.profile, watch_bus,
                             desk_bus, partition->number, 0);
}

static bool is_online(void *context, uint32_t index)
{
    struct virtual_vehicle *vehicle = vehicle_of(context, index);
    return vehicle && tcu_connection(vehicle_tcu(vehicle)) == TCU_ONLINE;
}

/* Against what the broker knows. */
static void judge_presence(struct partition *partition)
{
    if (!partition->orders.watch)
        return;
    fleet_presence_settle(&partition->orders, partition->done_us);
    for (uint32_t i = 0; i < partition->count; i++) {
        struct virtual_vehicle *vehicle = partition_vehicle(partition, i);
        struct span name = tcu_name(vehicle_tcu(vehicle));
        fleet_presence_judge(&partition->orders, partition->done_us - 1, vehicle_index(vehicle), &vehicle->trace, name,
                             cloud_broker_is_connected(virtual_broker_of(vehicle), name));
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
    bool looks = !fleet_skips_verification(&vehicle->partition->world->fleet, vehicle_index(vehicle));
    length =
        cloud_keys_modelled_unseal(span_of(public_key, length), own, sealed, out, capacity, looks ? &forged : NULL);
    if (forged)
        *why = TCU_REFUSED_FORGED;
    return length;
}

/* ---- the ignition, coverage, the battery ------------------------------------------------------------------------------------- */

static void look(void *context, int64_t at_us)
{
    virtual_schedule(context, STEP_BATTERY, at_us, 0, NULL, 0);
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

static void place_covered(void *context, int64_t now_us, bool covered)
{
    struct virtual_vehicle *vehicle = context;
    if (covered) {
        virtual_coverage(vehicle, now_us, true);
        return;
    }
    vehicle->covered = false;
    virtual_link_lost(vehicle, now_us, TCU_LINK_LOST);
}

static void cut_off(void *context, int64_t now_us)
{
    struct virtual_vehicle *vehicle = context;
    virtual_link_abandon(vehicle);
    vehicle->requests++;
    vehicle->agent.wanted_us = TIME_NEVER;
    virtual_forget_executions(vehicle);
}

static void tell(void *context, int64_t now_us, const char *what)
{
    virtual_tell(context, now_us, TRACE_CAR, (struct span){NULL, 0}, what);
}

static struct fleet_car car_of(struct virtual_vehicle *vehicle)
{
    static const struct fleet_car_hooks hooks = {look, place_covered, cut_off, tell};
    return (struct fleet_car){.fleet = &vehicle->partition->world->fleet,
                              .tcu = vehicle_tcu(vehicle),
                              .trace = &vehicle->trace,
                              .parking = vehicle_parking(vehicle),
                              .index = vehicle_index(vehicle),
                              .vehicle = vehicle,
                              .hooks = &hooks};
}

void virtual_battery(struct virtual_vehicle *vehicle, int64_t now_us)
{
    struct fleet_car car = car_of(vehicle);
    fleet_car_battery(&car, now_us);
}

void virtual_battery_used(struct virtual_vehicle *vehicle, int64_t now_us, size_t bytes)
{
    struct fleet_car car = car_of(vehicle);
    fleet_car_transfer(&car, now_us, bytes);
}

void virtual_parked_at_start(struct virtual_vehicle *vehicle, int64_t now_us)
{
    struct fleet_car car = car_of(vehicle);
    if (!vehicle->day.driving)
        fleet_car_begins(&car, now_us);
}

void virtual_ignition(struct virtual_vehicle *vehicle, int64_t now_us, bool on)
{
    struct fleet_car car = car_of(vehicle);
    virtual_network_ignition(vehicle, now_us, on);
    fleet_car_ignition(&car, now_us, on);
}

void virtual_sms(struct virtual_vehicle *vehicle, int64_t now_us, struct span text)
{
    struct fleet_car car = car_of(vehicle);
    fleet_car_sms(&car, now_us, text);
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
    bool keep = strcmp(action->option, "lose sessions") != 0;
    cloud_broker_restart(partition->cloud.broker, now_us, keep);
    for (uint8_t region = 1; partition->regions && region < partition->world->scenario->region_count; region++)
        cloud_broker_restart(virtual_region_broker(partition, region), now_us, keep);
    if (partition->hall)
        virtual_messages_restarted(partition, now_us);
}
