/* live_places.c: which region's cloud a car comes to in the live world, and what happens when a region goes.
 *
 * The name of the global endpoint is resolved here, at each attempt, by the resolver of cloud/regions.h, and kept for the answer's time to live: clouds of
 * our own have addresses and no names. That a region goes is real: its process closes its doors and cuts its links. Times of the resolver
 * are a network's, and pass as they do on the clock, however fast the calendar goes.
 */
#include "live_regions.h"

#include <stdlib.h>

#define SALT_SEND_HOME 2

static struct measure_dimension who(const struct live_vehicle *vehicle)
{
    return fleet_who(&vehicle->trace, PATH_ANY);
}

static void count(const struct live_vehicle *vehicle, enum counter counter)
{
    const struct live_world *world = vehicle->world;
    measure_count(world->fleet.measure, counter, who(vehicle), world->now_us, 1);
}

double live_places_part(const struct live_vehicle *vehicle, uint32_t salt)
{
    uint64_t word = sim_random_at(vehicle->world->scenario->seed, vehicle->index, SIM_FOR_REGIONS, salt);
    return (double)(word >> 11) * 0x1p-53;
}

bool live_places_may_hold(const struct live_world *world, uint8_t home, uint8_t region)
{
    return world->scenario->regions[home].residency >> region & 1;
}

/* ---- which region ---------------------------------------------------------------------------------------------------------- */

static struct cloud_resolved ask(const struct live_vehicle *vehicle)
{
    const struct live_whereabouts *where = live_where(vehicle);
    return cloud_resolver_ask(vehicle->world->regions->resolver, tcu_name(vehicle->tcu), where->home, where->place);
}

static void keep(struct live_vehicle *vehicle, uint8_t region)
{
    const struct live_world *world = vehicle->world;
    struct live_whereabouts *where = live_where(vehicle);
    where->answer = region;
    where->answer_until_us = world->now_us + cloud_resolver_ttl_us(world->regions->resolver);
}

bool live_places_choose(struct live_vehicle *vehicle)
{
    struct live_whereabouts *where = live_where(vehicle);
    if (where->answer == CLOUD_NO_REGION || vehicle->world->now_us >= where->answer_until_us) {
        struct cloud_resolved answer = ask(vehicle);
        keep(vehicle, answer.region);
        if (answer.forbidden)
            count(vehicle, COUNTER_RESIDENCY_REFUSALS);
    }
    if (where->answer == CLOUD_NO_REGION)
        return false;
    vehicle->broker = where->answer;
    return true;
}

/* By the name of its endpoint, in place of what was resolved and as long as that; a server that nobody knows is not followed. */
void live_places_reference(struct live_vehicle *vehicle, struct span reference)
{
    const struct scenario *scenario = vehicle->world->scenario;
    for (uint8_t r = 0; r < scenario->region_count; r++)
        if (span_equal(reference, span_text(scenario->regions[r].endpoint)))
            keep(vehicle, r);
}

/* ---- set-up ------------------------------------------------------------------------------------------------------------------ */

static bool start_resolver(struct live_world *world)
{
    const struct scenario *scenario = world->scenario;
    const struct scenario_regions *rules = live_rules(world);
    struct cloud_resolver_options options = {.regions = scenario->region_count,
                                             .routing = (enum cloud_routing)rules->routing,
                                             .standard = rules->standard,
                                             .ttl_us = rules->ttl_us};
    for (uint32_t place = 0; place < scenario->region_count; place++) {
        uint16_t any = (uint16_t)((1u << scenario->region_count) - 1);
        options.may_serve[place] = rules->ignore_residency > 0.5 ? any : scenario->regions[place].residency;
        for (uint32_t r = 0; r < scenario->region_count; r++)
            options.latency_us[place][r] = (uint32_t)scenario->regions[place].latency_us + rules->between_us[place][r];
    }
    world->regions->resolver = cloud_resolver_create(&options);
    return world->regions->resolver != NULL;
}

bool live_places_start(struct live_world *world)
{
    struct live_regions *regions = world->regions;
    regions->where = calloc((size_t)world->count + 1, sizeof *regions->where);
    for (uint32_t r = 0; r < world->scenario->region_count; r++) {
        struct live_region *region = &regions->list[r];
        region->down_known_us = region->up_known_us = TIME_NEVER;
        region->records = calloc((size_t)world->count + 1, sizeof *region->records);
        if (!region->records)
            return false;
    }
    return regions->where && start_resolver(world) && live_moves_start(world);
}

void live_places_stop(struct live_world *world)
{
    struct live_regions *regions = world->regions;
    live_moves_stop(world);
    for (uint32_t r = 0; r < SCENARIO_REGIONS; r++)
        free(regions->list[r].records);
    cloud_resolver_destroy(regions->resolver);
    free(regions->where);
}

void live_places_vehicle(struct live_vehicle *vehicle)
{
    uint8_t home = (uint8_t)vehicle->trace.region;
    *live_where(vehicle) = (struct live_whereabouts){.arrived_us = -1,
                                                     .lost_us = -1,
                                                     .home = home,
                                                     .place = home,
                                                     .former = CLOUD_NO_REGION,
                                                     .answer = CLOUD_NO_REGION};
    vehicle->world->regions->list[home].records[live_place(vehicle)].held = CLOUD_DATA_PERSONAL; /* sold there */
}

int64_t live_regions_latency(const struct live_vehicle *vehicle)
{
    const struct live_world *world = vehicle->world;
    const struct scenario_region *list = world->scenario->regions;
    if (!world->regions)
        return list[vehicle->trace.region].latency_us;
    if (!world->regions->where)
        return list[vehicle->broker].latency_us;
    uint8_t place = live_where(vehicle)->place;
    return list[place].latency_us + live_rules(world)->between_us[place][vehicle->broker];
}

void live_places_delivered(struct live_world *world, uint8_t region, const struct mq5_publish *message)
{
    struct cloud_telemetry telemetry;
    uint32_t vehicle;
    if (cloud_telemetry_take(&world->fleet.telemetry, message, &telemetry) &&
        scenario_vehicle_find(world->scenario, telemetry.thing, &vehicle) && vehicle % world->ranks == world->rank)
        world->regions->list[region].records[vehicle / world->ranks].held |= CLOUD_DATA_TELEMETRY;
}

/* ---- a region goes, and comes back ----------------------------------------------------------------------------------------------- */

uint8_t live_places_named(const struct live_world *world, const char *name)
{
    for (uint8_t r = 0; r < world->scenario->region_count; r++)
        if (strcmp(world->scenario->regions[r].name, name) == 0)
            return r;
    return CLOUD_NO_REGION;
}

int64_t live_regions_outage(struct live_world *world, const struct world_action *action, const char **why)
{
    const struct scenario_regions *rules = live_rules(world);
    struct live_order order = {.kind = LIVE_ORDER_RESTART, .action = *action};
    uint8_t number = live_places_named(world, action->option);
    if (number == CLOUD_NO_REGION)
        return 0;
    order.action.option[0] = 0; /* sessions are kept */
    if (!live_tell_cloud(&world->brokers[number], &order)) {
        *why = "a cloud does not take orders any more";
        return -1;
    }
    if (rules->no_health_check <= 0.5) {
        struct live_region *region = &world->regions->list[number];
        region->down_known_us = world->now_us + rules->health_check_us;
        region->up_known_us = world->now_us + action->duration_us + rules->health_check_us;
    }
    for (uint32_t v = 0; v < world->count; v++)
        if (world->vehicles[v].broker == number && world->vehicles[v].trace.online && world->vehicles[v].covered)
            world->regions->where[v].lost_us = world->now_us;
    live_commands_touched(world);
    return (int64_t)world->scenario->fleet;
}

/* Who was taken over goes home, one after the other. */
static void wait_to_go_home(struct live_vehicle *vehicle)
{
    const struct live_world *world = vehicle->world;
    int64_t fail_back_us = live_rules(world)->fail_back_us;
    int64_t wait_us = (int64_t)(live_places_part(vehicle, SALT_SEND_HOME) * (double)fail_back_us);
    if (fail_back_us > 0)
        live_schedule(vehicle, LIVE_SEND_HOME, world->now_us + wait_us, 0);
}

void live_places_send_home(struct live_vehicle *vehicle)
{
    struct cloud_resolved answer = ask(vehicle);
    if (vehicle->stage == STAGE_UP && answer.region != CLOUD_NO_REGION && vehicle->broker != answer.region)
        live_region_tell(vehicle, vehicle->broker, LIVE_ORDER_REDIRECT, answer.region);
}

int64_t live_places_next(const struct live_world *world)
{
    int64_t next_us = cloud_moves_next_deadline(world->regions->moves);
    for (uint32_t r = 0; r < world->scenario->region_count; r++) {
        const struct live_region *region = &world->regions->list[r];
        next_us = region->down_known_us < next_us ? region->down_known_us : next_us;
        next_us = region->up_known_us < next_us ? region->up_known_us : next_us;
    }
    return next_us;
}

/* The health checks' verdict: for the resolver, and for the doors that send cars on. */
static void set_up(struct live_world *world, uint8_t region, bool up)
{
    struct live_order order = {.kind = up ? LIVE_ORDER_REGION_UP : LIVE_ORDER_REGION_DOWN, .action.region = region};
    cloud_resolver_set_up(world->regions->resolver, region, up);
    for (uint8_t r = 0; r < world->scenario->region_count; r++)
        live_region_order(world, r, &order);
    for (uint32_t v = 0; v < world->count; v++)
        if (up && world->regions->where[v].taken_over)
            wait_to_go_home(&world->vehicles[v]);
}

void live_places_tick(struct live_world *world)
{
    cloud_moves_tick(world->regions->moves, world->now_us);
    for (uint8_t r = 0; r < world->scenario->region_count; r++) {
        struct live_region *region = &world->regions->list[r];
        if (region->down_known_us <= world->now_us) {
            region->down_known_us = TIME_NEVER;
            set_up(world, r, false);
        }
        if (region->up_known_us <= world->now_us) {
            region->up_known_us = TIME_NEVER;
            set_up(world, r, true);
        }
    }
}

/* ---- what vehicles do ---------------------------------------------------------------------------------------------------------- */

void live_places_online(struct live_vehicle *vehicle)
{
    const struct live_world *world = vehicle->world;
    struct live_whereabouts *where = live_where(vehicle);
    struct cloud_resolved answer = ask(vehicle);
    bool before = where->taken_over, here = answer.region == vehicle->broker;
    where->taken_over = here ? answer.failed_over : before;
    if (where->taken_over && !before)
        count(vehicle, COUNTER_FAILOVERS);
    if (where->taken_over && where->lost_us >= 0)
        measure_sample(world->fleet.measure, METRIC_FAILOVER, who(vehicle), vehicle->index, where->lost_us,
                       world->now_us - where->lost_us);
    if (where->taken_over && !here) /* by an answer that it still had */
        wait_to_go_home(vehicle);
    where->lost_us = -1;
    live_moves_online(vehicle);
}

/* ---- the end -------------------------------------------------------------------------------------------------------------------- */

/* Online where it does not belong: where residency forbids it, in the home it has left, or still with the region that took it over though it was to be
 * sent home. */
bool live_places_wrong(const struct live_vehicle *vehicle)
{
    const struct live_world *world = vehicle->world;
    const struct live_whereabouts *where = live_where(vehicle);
    bool stays = live_rules(world)->fail_back_us > 0 && where->taken_over && ask(vehicle).region != vehicle->broker;
    return stays || vehicle->broker == where->former || !live_places_may_hold(world, where->home, vehicle->broker);
}
