/* virtual_regions.c: a cloud for each region, in a partition: which one a vehicle comes to, and what happens when a region goes.
 *
 * The name of the global endpoint is resolved at each attempt, by the resolver of cloud/regions.h, and kept by the modem for the answer's time to live.
 * The way of the bytes is that to the region: the place's own latency, and from there from cloud to cloud.
 */
#include "virtual_regions.h"

#define SALT_SEND_HOME 2
#define SALT_ARRIVE    3

struct cloud_broker *virtual_region_broker(const struct partition *partition, uint8_t region)
{
    return partition->regions->list[region].cloud->broker;
}

int64_t virtual_region_latency(const struct virtual_vehicle *vehicle)
{
    const struct region_whereabouts *where = vehicle_whereabouts(vehicle);
    const struct scenario *scenario = vehicle->partition->world->scenario;
    return scenario->regions[where->place].latency_us + scenario->cloud.regions.between_us[where->place][where->toward];
}

double virtual_region_part(const struct virtual_vehicle *vehicle, uint32_t salt)
{
    uint64_t seed = vehicle->partition->world->scenario->seed;
    return (double)(sim_random_at(seed, vehicle_index(vehicle), SIM_FOR_REGIONS, salt) >> 11) * 0x1p-53;
}

static void count(const struct virtual_vehicle *vehicle, enum counter counter, int64_t now_us)
{
    measure_count(vehicle->partition->world->fleet.measure, counter, fleet_who(&vehicle->trace, PATH_ANY), now_us, 1);
}

static struct virtual_vehicle *vehicle_named(const struct partition *partition, struct span name)
{
    uint32_t vehicle, partitions = partition->world->partition_count;
    if (!scenario_vehicle_find(partition->world->scenario, name, &vehicle) || vehicle % partitions != partition->number)
        return NULL;
    return partition_vehicle(partition, vehicle / partitions);
}

/* ---- which region ------------------------------------------------------------------------------------------------------- */

/* The rules themselves, whatever the resolver believes. */
static bool may_hold(const struct virtual_vehicle *vehicle, uint8_t region)
{
    const struct scenario_region *home =
        &vehicle->partition->world->scenario->regions[vehicle_whereabouts(vehicle)->home];
    return home->residency >> region & 1;
}

static struct cloud_resolved ask(const struct virtual_vehicle *vehicle)
{
    const struct region_whereabouts *where = vehicle_whereabouts(vehicle);
    return cloud_resolver_ask(vehicle->partition->regions->resolver,
                              tcu_name(vehicle_tcu((struct virtual_vehicle *)(uintptr_t)vehicle)), where->home,
                              where->place);
}

bool virtual_region_choose(struct virtual_vehicle *vehicle, int64_t now_us)
{
    struct region_whereabouts *where = vehicle_whereabouts(vehicle);
    if (where->answer == CLOUD_NO_REGION || now_us >= where->answer_until_us) {
        struct cloud_resolved answer = ask(vehicle);
        where->answer = answer.region;
        where->answer_until_us = now_us + cloud_resolver_ttl_us(vehicle->partition->regions->resolver);
        if (answer.forbidden)
            count(vehicle, COUNTER_RESIDENCY_REFUSALS, now_us);
    }
    if (where->answer == CLOUD_NO_REGION)
        return false;
    where->toward = where->answer;
    return true;
}

uint8_t virtual_region_toward(const struct virtual_vehicle *vehicle)
{
    return vehicle_whereabouts(vehicle)->toward;
}

bool virtual_region_is_down(const struct virtual_vehicle *vehicle, int64_t at_us)
{
    return vehicle->partition->regions->list[vehicle_whereabouts(vehicle)->toward].outage_until_us > at_us;
}

bool virtual_region_online_at(const struct virtual_vehicle *vehicle, uint8_t region)
{
    const struct virtual_link *link = vehicle_link(vehicle);
    return link && link->region == region && vehicle->trace.online;
}

/* By the name of its endpoint; a server that nobody knows is not followed. */
void virtual_server_reference(void *context, struct span reference, bool for_good)
{
    struct virtual_vehicle *vehicle = context;
    const struct partition *partition = vehicle->partition;
    for (uint8_t r = 0; partition->regions && r < partition->regions->count; r++) {
        if (!span_equal(reference, span_text(partition->world->scenario->regions[r].endpoint)))
            continue;
        struct region_whereabouts *where = vehicle_whereabouts(vehicle);
        where->answer = r; /* in place of what was resolved, and as long as that */
        where->answer_until_us = partition->now_us + cloud_resolver_ttl_us(partition->regions->resolver);
    }
}

/* ---- the door of a region ---------------------------------------------------------------------------------------------------- */

/* One whose home this was, or that belongs to the other broker, is sent there; one that residency forbids here is refused. */
static struct cloud_authorisation elsewhere(const struct virtual_region *region, int64_t now_us,
                                            const struct mq5_connect *connect)
{
    struct cloud_authorisation here = {.reason = MQ5_SUCCESS};
    const struct virtual_regions *regions = region->partition->regions;
    const struct scenario *scenario = region->partition->world->scenario;
    const struct scenario_regions *rules = &scenario->cloud.regions;
    struct virtual_vehicle *vehicle = vehicle_named(region->partition, connect->client_id);
    if (!vehicle)
        return here;
    const struct region_whereabouts *where = vehicle_whereabouts(vehicle);
    if (fleet_migration_refuses(&region->partition->world->fleet, vehicle_index(vehicle), region->number))
        return (struct cloud_authorisation){.reason = MQ5_SERVER_UNAVAILABLE};
    bool moved =
        rules->migrates ? regions->turns[vehicle->local].table != region->number : where->former == region->number;
    bool forbidden = !may_hold(vehicle, region->number) && rules->ignore_residency <= 0.5;
    if (!moved && !forbidden)
        return here;
    struct cloud_resolved answer = ask(vehicle);
    if (answer.region == region->number || answer.region == CLOUD_NO_REGION) {
        if (!forbidden)
            return here;
        count(vehicle, COUNTER_RESIDENCY_REFUSALS, now_us);
        return (struct cloud_authorisation){.reason = MQ5_NOT_AUTHORIZED};
    }
    return (struct cloud_authorisation){.reason = MQ5_SERVER_MOVED,
                                        .server_reference = span_text(scenario->regions[answer.region].endpoint)};
}

static struct cloud_authorisation elsewhere_first(void *door, int64_t now_us, const struct mq5_connect *connect)
{
    const struct partition *partition = door;
    return elsewhere(&partition->regions->list[0], now_us, connect);
}

static struct cloud_authorisation elsewhere_other(void *door, int64_t now_us, const struct mq5_connect *connect)
{
    return elsewhere(door, now_us, connect);
}

static bool answer_passes(void *door, int64_t now_us, struct span client_id, const struct mq5_packet *packet)
{
    const struct virtual_region *region = door;
    return virtual_answer_passes(region->partition, now_us, client_id, packet);
}

static void on_telemetry(void *context, int64_t now_us, const struct mq5_publish *message)
{
    const struct virtual_region *region = context;
    struct fleet *fleet = &region->partition->world->fleet;
    struct cloud_telemetry telemetry;
    if (cloud_telemetry_take(&fleet->telemetry, message, &telemetry)) {
        const struct virtual_vehicle *vehicle = vehicle_named(region->partition, telemetry.thing);
        if (vehicle)
            region->records[vehicle->local].held |= CLOUD_DATA_TELEMETRY;
    }
    fleet_delivery(fleet, now_us, message);
}

/* ---- clouds -------------------------------------------------------------------------------------------------------------------- */

static struct cloud_bus *region_bus(void *context, const char *client_id)
{
    const struct virtual_region *region = context;
    return cloud_bus_local(region->cloud->broker, span_text(client_id));
}

static struct fleet_seen *seen_of(void *context, uint32_t place)
{
    struct virtual_regions *regions = context;
    return &regions->vehicles[place].seen;
}

static uint8_t home_of(void *context, uint32_t place)
{
    const struct virtual_regions *regions = context;
    return regions->vehicles[place].home;
}

static void broker_changed(void *context, uint32_t place, int64_t now_us)
{
    struct virtual_regions *regions = context;
    struct cloud_remote *remote = regions->partition->orders.remote;
    if (remote)
        cloud_remote_moved(remote, now_us, tcu_name(vehicle_tcu(partition_vehicle(regions->partition, place))));
}

struct cloud_bus *virtual_regions_bus(struct virtual_regions *regions, const char *client_id)
{
    const struct partition *partition = regions->partition;
    struct fleet_regions_bus_options options = {.fleet = &partition->world->fleet,
                                                .part = partition->number,
                                                .parts = partition->world->partition_count,
                                                .count = regions->count,
                                                .owned = true,
                                                .seen = seen_of,
                                                .home = home_of,
                                                .changed = broker_changed,
                                                .world = regions};
    for (uint32_t r = 0; r < regions->count; r++)
        if (!(options.brokers[r] = cloud_bus_local(regions->list[r].cloud->broker, span_text(client_id))))
            return NULL; /* goes with the heap */
    return fleet_regions_bus(&options);
}

static bool start_cloud(struct virtual_region *region)
{
    struct partition *partition = region->partition;
    struct cloud_options options;
    char error[160];
    virtual_cloud_settings(partition, region->number, &options);
    region->registry = cloud_registry_open(NULL, error, sizeof error);
    region->cloud = &region->own;
    if (!region->registry || !cloud_create(&region->own, &options, partition->pki, region->registry,
                                           virtual_broker_send, virtual_broker_close, region))
        return false;
    region->own.peer = virtual_broker_peer;
    region->own.elsewhere = elsewhere_other;
    if (partition->world->scenario->cloud.commands.lose_answers > 0)
        region->own.inbound = answer_passes;
    return true;
}

static bool start_region(struct virtual_regions *regions, uint8_t number)
{
    struct partition *partition = regions->partition;
    const struct scenario_regions *rules = regions_scenario(regions);
    struct virtual_region *region = &regions->list[number];
    *region = (struct virtual_region){
        .partition = partition, .number = number, .down_known_us = TIME_NEVER, .up_known_us = TIME_NEVER};
    region->records = memory_allocate_zero(partition->count + 1, sizeof *region->records);
    if (!region->records)
        return false;
    if (number == 0) {
        region->cloud = &partition->cloud;
        region->registry = partition->registry;
        partition->cloud.elsewhere = elsewhere_first;
    } else if (!start_cloud(region)) {
        return false;
    }
    bool deaf = rules->migrates && number == rules->to && rules->no_processors > 0.5; /* a fault */
    return deaf || virtual_processors_start(partition, region_bus, region, on_telemetry, region);
}

static bool start_resolver(struct virtual_regions *regions)
{
    const struct scenario *scenario = regions->partition->world->scenario;
    const struct scenario_regions *rules = regions_scenario(regions);
    struct cloud_resolver_options options = {.regions = regions->count,
                                             .routing = (enum cloud_routing)rules->routing,
                                             .standard = rules->standard,
                                             .ttl_us = rules->ttl_us};
    for (uint32_t place = 0; place < regions->count; place++) {
        options.may_serve[place] =
            rules->ignore_residency > 0.5 ? (uint16_t)((1u << regions->count) - 1) : scenario->regions[place].residency;
        for (uint32_t r = 0; r < regions->count; r++)
            options.latency_us[place][r] = (uint32_t)scenario->regions[place].latency_us + rules->between_us[place][r];
    }
    regions->resolver = cloud_resolver_create(&options);
    return regions->resolver != NULL;
}

bool virtual_regions_start(struct partition *partition)
{
    const struct scenario *scenario = partition->world->scenario;
    if (!scenario->cloud.regions.on)
        return true;
    struct virtual_regions *regions = memory_allocate_zero(1, sizeof *regions);
    if (!regions)
        return false;
    partition->regions = regions;
    regions->partition = partition;
    regions->count = scenario->region_count;
    regions->list = memory_allocate_zero(regions->count, sizeof *regions->list);
    regions->vehicles = memory_allocate_zero(partition->count + 1, sizeof *regions->vehicles);
    if (!regions->list || !regions->vehicles || !start_resolver(regions))
        return false;
    for (uint8_t r = 0; r < regions->count; r++)
        if (!start_region(regions, r))
            return false;
    return virtual_moves_start(regions);
}

void virtual_region_vehicle(struct virtual_vehicle *vehicle)
{
    struct region_whereabouts *where = vehicle_whereabouts(vehicle);
    uint8_t home = vehicle->trace.region;
    *where = (struct region_whereabouts){.arrived_us = -1,
                                         .lost_us = -1,
                                         .home = home,
                                         .place = home,
                                         .former = CLOUD_NO_REGION,
                                         .toward = home,
                                         .answer = CLOUD_NO_REGION,
                                         .seen = {.served_by = CLOUD_NO_REGION}};
    vehicle->partition->regions->list[home].records[vehicle->local].held = CLOUD_DATA_PERSONAL; /* sold there */
    virtual_moves_vehicle(vehicle);
}

struct cloud_registry *virtual_registry_at_home(const struct virtual_vehicle *vehicle)
{
    const struct partition *partition = vehicle->partition;
    return partition->regions ? partition->regions->list[vehicle_whereabouts(vehicle)->home].registry
                              : partition->registry;
}

/* ---- a region goes, and comes back ----------------------------------------------------------------------------------------------- */

static void lose_vehicle(struct virtual_vehicle *vehicle, int64_t now_us, uint8_t region)
{
    for (struct virtual_link *link = vehicle->links; link; link = link->next) {
        if (link->region != region || !link->broker_open)
            continue;
        if (link->vehicle_open && vehicle->trace.online)
            vehicle_whereabouts(vehicle)->lost_us = now_us;
        virtual_broker_close(NULL, link, CLOUD_CLOSED_SERVER);
    }
}

static int64_t region_outage(struct virtual_region *region, int64_t now_us, int64_t lasts_us)
{
    struct partition *partition = region->partition;
    const struct scenario_regions *rules = regions_scenario(partition->regions);
    region->outage_until_us = now_us + lasts_us;
    if (rules->no_health_check <= 0.5) {
        region->down_known_us = now_us + rules->health_check_us;
        region->up_known_us = region->outage_until_us + rules->health_check_us;
    }
    for (uint32_t i = 0; i < partition->count; i++)
        lose_vehicle(partition_vehicle(partition, i), now_us, region->number);
    cloud_broker_restart(region->cloud->broker, now_us, true);
    return partition->count;
}

static void wait_to_go_home(struct virtual_vehicle *vehicle, int64_t now_us)
{
    int64_t fail_back_us = regions_scenario(vehicle->partition->regions)->fail_back_us;
    int64_t wait_us = (int64_t)(virtual_region_part(vehicle, SALT_SEND_HOME) * (double)fail_back_us);
    if (fail_back_us > 0)
        virtual_schedule(vehicle, STEP_SEND_HOME, now_us + wait_us, 0, NULL, 0);
}

/* Who was taken over goes home, one after the other. */
static void send_home(struct virtual_regions *regions, int64_t now_us)
{
    for (uint32_t i = 0; i < regions->partition->count; i++) {
        struct virtual_vehicle *vehicle = partition_vehicle(regions->partition, i);
        if (vehicle_whereabouts(vehicle)->taken_over)
            wait_to_go_home(vehicle, now_us);
    }
}

int64_t virtual_regions_next(const struct virtual_regions *regions)
{
    int64_t next_us = virtual_moves_next(regions);
    for (uint32_t r = 0; r < regions->count; r++) {
        const struct virtual_region *region = &regions->list[r];
        int64_t at_us[] = {region->down_known_us, region->up_known_us,
                           r ? cloud_next_deadline(region->cloud) : TIME_NEVER};
        for (size_t i = 0; i < sizeof at_us / sizeof at_us[0]; i++)
            next_us = at_us[i] < next_us ? at_us[i] : next_us;
    }
    return next_us;
}

void virtual_regions_tick(struct virtual_regions *regions, int64_t now_us)
{
    for (uint32_t r = 0; r < regions->count; r++) {
        struct virtual_region *region = &regions->list[r];
        if (r)
            cloud_tick(region->cloud, now_us);
        if (region->down_known_us <= now_us) {
            region->down_known_us = TIME_NEVER;
            cloud_resolver_set_up(regions->resolver, region->number, false);
        }
        if (region->up_known_us <= now_us) {
            region->up_known_us = TIME_NEVER;
            cloud_resolver_set_up(regions->resolver, region->number, true);
            send_home(regions, now_us);
        }
    }
    virtual_moves_tick(regions, now_us);
}

void virtual_region_send_on(struct virtual_vehicle *vehicle, int64_t now_us, bool for_good)
{
    const struct partition *partition = vehicle->partition;
    struct virtual_link *link = vehicle_link(vehicle);
    struct cloud_resolved answer = ask(vehicle);
    if (!link || !link->broker_open || answer.region == CLOUD_NO_REGION || link->region == answer.region)
        return;
    cloud_broker_redirect(link_broker(link), now_us, tcu_name(vehicle_tcu(vehicle)),
                          span_text(partition->world->scenario->regions[answer.region].endpoint), for_good);
    virtual_cloud_touched(vehicle->partition);
}

/* ---- what vehicles do ---------------------------------------------------------------------------------------------------------- */

static void went_online(struct virtual_vehicle *vehicle, int64_t now_us)
{
    struct region_whereabouts *where = vehicle_whereabouts(vehicle);
    struct fleet *fleet = &vehicle->partition->world->fleet;
    const struct scenario_regions *rules = regions_scenario(vehicle->partition->regions);
    struct cloud_resolved answer = ask(vehicle);
    bool before = where->taken_over, here = answer.region == where->toward;
    where->taken_over = !rules->migrates && (here ? answer.failed_over : before);
    if (where->taken_over && !before)
        count(vehicle, COUNTER_FAILOVERS, now_us);
    if (where->taken_over && where->lost_us >= 0)
        measure_sample(fleet->measure, METRIC_FAILOVER, fleet_who(&vehicle->trace, PATH_ANY), vehicle_index(vehicle),
                       where->lost_us, now_us - where->lost_us);
    if (where->taken_over && !here) /* by an answer that it still had */
        wait_to_go_home(vehicle, now_us);
    where->lost_us = -1;
    where->seen.served_by = where->toward;
    virtual_moves_online(vehicle, now_us);
}

void virtual_region_probe(struct virtual_vehicle *vehicle, int64_t now_us, const struct tcu_probe *probe)
{
    if (probe->kind == TCU_PROBE_ONLINE)
        went_online(vehicle, now_us);
    else if (probe->kind == TCU_PROBE_COMMAND_ANSWERED)
        virtual_moves_served(vehicle, now_us);
}

void virtual_region_step(struct virtual_vehicle *vehicle, int64_t now_us, const struct step *step)
{
    struct region_journey journey;
    switch ((enum step_kind)step->kind) {
    case STEP_ARRIVE:
        memcpy(&journey, step->data, sizeof journey);
        virtual_moves_arrived(vehicle, now_us, &journey);
        break;
    case STEP_SERVICE: virtual_moves_service(vehicle, now_us); break;
    case STEP_SEND_HOME: virtual_region_send_on(vehicle, now_us, false); break;
    default:
        fleet_migration_step(&vehicle->partition->regions->migration, vehicle->local, now_us,
                             step->kind == STEP_TURN ? TURN_COMES : TURN_SETTLED, (uint8_t)step->slot);
        virtual_cloud_touched(vehicle->partition);
        break;
    }
}

/* ---- what scripts do ----------------------------------------------------------------------------------------------------------- */

static uint8_t region_named(const struct virtual_regions *regions, const char *name)
{
    const struct scenario *scenario = regions->partition->world->scenario;
    for (uint8_t r = 0; r < regions->count; r++)
        if (strcmp(scenario->regions[r].name, name) == 0)
            return r;
    return CLOUD_NO_REGION;
}

bool virtual_regions_act(struct virtual_vehicle *vehicle, int64_t now_us, const struct world_action *action)
{
    struct region_journey journey = {.to = region_named(vehicle->partition->regions, action->option),
                                     .home_too = action->kind == ACTION_MOVE_REGION};
    if (journey.to == CLOUD_NO_REGION || journey.to == vehicle_whereabouts(vehicle)->place)
        return false;
    int64_t within_us =
        (int64_t)(virtual_region_part(vehicle, SALT_ARRIVE + (uint32_t)action->line) * (double)action->timeout_us);
    return virtual_schedule(vehicle, STEP_ARRIVE, now_us + within_us, 0, &journey, sizeof journey) != NULL;
}

int64_t virtual_regions_trouble(struct virtual_regions *regions, int64_t now_us, const struct world_action *action)
{
    if (action->kind == ACTION_ROLL_BACK)
        return fleet_migration_roll_back(&regions->migration, now_us);
    uint8_t region = region_named(regions, action->option);
    return region == CLOUD_NO_REGION ? 0 : region_outage(&regions->list[region], now_us, action->duration_us);
}

/* ---- the end -------------------------------------------------------------------------------------------------------------------- */

/* Online where it does not belong: where residency forbids it, in the home it has left, at the broker it has left, or still with the region that
 * took it over though it was to be sent home. */
static bool is_wrong(const struct virtual_vehicle *vehicle)
{
    const struct region_whereabouts *where = vehicle_whereabouts(vehicle);
    const struct scenario_regions *rules = regions_scenario(vehicle->partition->regions);
    if (!virtual_region_online_at(vehicle, where->toward))
        return false;
    if (rules->migrates)
        return where->toward != vehicle->partition->regions->turns[vehicle->local].table;
    bool stays = rules->fail_back_us > 0 && where->taken_over && ask(vehicle).region != where->toward;
    return stays || where->toward == where->former || !may_hold(vehicle, where->toward);
}

void virtual_regions_close(struct virtual_regions *regions, struct world_result *result)
{
    struct partition *partition = regions->partition;
    int64_t end_us = partition->done_us - 1;
    struct memory_heap *outside = memory_enter(partition->heap);
    for (uint32_t i = 0; i < partition->count; i++) {
        struct virtual_vehicle *vehicle = partition_vehicle(partition, i);
        if (!is_wrong(vehicle))
            continue;
        count(vehicle, COUNTER_REGION_WRONG, end_us);
        measure_command_victim(partition->world->fleet.measure, COUNTER_REGION_WRONG, vehicle_index(vehicle), end_us);
    }
    virtual_moves_audit(regions, end_us);
    memory_enter(outside);
    for (uint32_t r = 1; r < regions->count; r++) {
        struct virtual_region *region = &regions->list[r];
        struct cloud_broker_counts counts;
        uint64_t things, certificates, active;
        sim_digest_add(&partition->digest, partition->number, partition->done_us, 0xB20CE2 + r,
                       cloud_broker_state_hash(region->cloud->broker));
        cloud_broker_count(region->cloud->broker, &counts);
        result->packets += counts.packets_in + counts.packets_out;
        result->wire_bytes += counts.bytes_in + counts.bytes_out;
        cloud_registry_counts(region->registry, &things, &certificates, &active);
        result->registered_things += things;
        result->active_certificates += active;
    }
}

void virtual_regions_weigh(const struct virtual_regions *regions, uint64_t *brokers, uint64_t *registries)
{
    for (uint32_t r = 1; r < regions->count; r++) {
        struct cloud_broker_counts counts;
        cloud_broker_count(regions->list[r].cloud->broker, &counts);
        *brokers += counts.memory_bytes;
        *registries += cloud_registry_bytes(regions->list[r].registry);
    }
}
