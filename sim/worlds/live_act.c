/* live_act.c: what happens to vehicles: their owners' days, and what scripts do to them.
 *
 * The rig stands on the vehicles' side of the broker. What a script does to the cloud is therefore acted here where that shows the vehicles the same
 * thing (an outage: links cut, attempts refused), and refused with a reason where it does not (a kick by the broker).
 */
#include "live.h"

#include <stdio.h>

static void schedule_life(struct live_vehicle *vehicle)
{
    struct live_world *world = vehicle->world;
    int64_t next_us = fleet_life_next(&vehicle->day), network_us = live_network_next(vehicle);
    next_us = network_us < next_us ? network_us : next_us;
    if (!sim_deadline_set(world->queue, &vehicle->life, next_us, live_place(vehicle), LIVE_LIFE))
        world->out_of_memory = true;
}

static void app_command(struct live_vehicle *vehicle)
{
    struct live_world *world = vehicle->world;
    const struct scenario_app *app = &world->scenario->apps[vehicle->day.command_app];
    bool online = tcu_connection(vehicle->tcu) == TCU_ONLINE;
    int64_t due_us =
        vehicle->day.command; /* the next one follows from that: the same commands whenever the rig gets to them */
    if (online || !app->online_only)
        live_ask(vehicle, vehicle->day.command_app, app->command, app->timeout_us);
    fleet_life_command_done(&world->fleet, vehicle->index, &vehicle->day,
                            due_us < world->now_us ? due_us : world->now_us);
}

void live_radio_gone(struct live_vehicle *vehicle)
{
    struct live_world *world = vehicle->world;
    measure_count(world->fleet.measure, COUNTER_LINK_DROPS, fleet_who(&vehicle->trace, PATH_ANY), world->now_us, 1);
    live_link_lost(vehicle);
}

void live_life(struct live_vehicle *vehicle)
{
    struct live_world *world = vehicle->world;
    for (;;) {
        switch (fleet_life_step(&world->fleet, vehicle->index, &vehicle->day, world->now_us)) {
        case LIFE_NOTHING:
            live_network_step(vehicle);
            schedule_life(vehicle);
            return;
        case LIFE_IGNITION_ON: live_ignition(vehicle, true); break;
        case LIFE_IGNITION_OFF: live_ignition(vehicle, false); break;
        case LIFE_COMMAND: app_command(vehicle); break;
        case LIFE_HOLE_END: live_coverage(vehicle, true); break;
        case LIFE_HOLE_BEGIN:
            vehicle->covered = false;
            live_radio_gone(vehicle);
            break;
        case LIFE_DROP: live_radio_gone(vehicle); break;
        }
    }
}

/* ---- scripts ------------------------------------------------------------------------------------------------------- */

static void begin_hole(struct live_vehicle *vehicle, int64_t duration_us)
{
    vehicle->covered = false;
    fleet_life_hole(&vehicle->day, vehicle->world->now_us + duration_us);
    live_radio_gone(vehicle);
}

static void act_on(struct live_vehicle *vehicle, const struct world_action *action)
{
    struct live_world *world = vehicle->world;
    bool on = action->kind == ACTION_IGNITION_ON;
    switch (action->kind) {
    case ACTION_COVERAGE_HOLE: begin_hole(vehicle, action->duration_us); break;
    case ACTION_DROP_LINKS: live_radio_gone(vehicle); break;
    case ACTION_COMMAND: live_ask(vehicle, FLEET_NO_APP, action->command, action->timeout_us); break;
    case ACTION_IGNITION_ON:
    case ACTION_IGNITION_OFF:
        fleet_life_ignition(&world->fleet, vehicle->index, &vehicle->day, world->now_us, on);
        live_ignition(vehicle, on);
        break;
    case ACTION_CLOUD_OUTAGE: live_link_lost(vehicle); break;
    case ACTION_NODE_LOSS: live_cut_at_broker(vehicle); break;
    case ACTION_HALF_OPEN:
    case ACTION_ADDRESS_CHANGE: live_link_dies(vehicle, action->kind == ACTION_ADDRESS_CHANGE); break;
    case ACTION_MOVE_REGION:
    case ACTION_TRAVEL: live_regions_journey(vehicle, action); break;
    default: break; /* refused before, or live_identity_act() */
    }
    schedule_life(vehicle);
}

static bool selected(const struct live_world *world, uint32_t vehicle, const struct world_action *action)
{
    if (action->vehicle >= 0)
        return vehicle == action->vehicle;
    return scenario_selected(world->scenario, vehicle, action->cohort, action->region, action->share, action->salt);
}

/* The same timeline runs in every process, each acts on its own vehicles and says how many all of them touched: whom the others will have
 * touched follows from the scenario, and asking them would stop the loop. */
static int64_t touched_elsewhere(const struct live_world *world, const struct world_action *action)
{
    int64_t touched = 0;
    for (uint32_t v = 0; world->ranks > 1 && v < world->scenario->fleet; v++)
        touched += v % world->ranks != world->rank && selected(world, v, action) &&
                   live_power_up_us(world, v) <= world->now_us;
    return touched;
}

static const char *refusal(const struct live_world *world, const struct world_action *action)
{
    if (action->kind == ACTION_CLOUD_KICK)
        return "a broker in another process cannot be told to kick; use the virtual world";
    if (action->kind == ACTION_NODE_LOSS && strcmp(action->option, "lose sessions") == 0)
        return "a broker in another process cannot be told to lose sessions; use the virtual world";
    if (action->kind > ACTION_ADDRESS_CHANGE && !live_regions_can(world, action->kind))
        return "not in the live world in this version; use --world virtual";
    if (action->kind >= ACTION_ROTATE && action->kind < ACTION_BROKER_RESTART)
        return live_identity_refusal(world, action);
    if (!world->hooked)
        return NULL;
    if (action->vehicle != (int64_t)world->hooked->index)
        return "on_event may act on its own vehicle only";
    return action->kind == ACTION_COMMAND ? NULL : "on_event may only send a command";
}

int64_t live_act(void *context, int64_t now_us, const struct world_action *action, const char **why)
{
    struct live_world *world = context;
    if (action->kind == ACTION_PROCESSORS_SCALE || action->kind == ACTION_PROCESSOR_DIES)
        return live_messages_act(world, action, why);
    const char *refused = refusal(world, action);
    *why = refused ? refused : "";
    if (refused)
        return -1;
    if (action->kind == ACTION_ROLL_BACK || action->kind == ACTION_REGION_OUTAGE)
        return live_regions_act(world, action, why);
    if (action->kind >= ACTION_BROKER_RESTART && action->kind <= ACTION_SERVER_CERTIFICATE)
        return live_trouble(world, action, why);
    if (action->kind >= ACTION_ROTATE && action->kind < ACTION_HALF_OPEN)
        return live_identity_act(world, action);
    if (world->hooked) {
        act_on(world->hooked, action);
        return 1;
    }
    if (action->kind == ACTION_CLOUD_OUTAGE) {
        world->outage_until_us = world->now_us + action->duration_us;
        live_note(
            world->result,
            "cloud outage acted at the vehicles' end: links cut, attempts refused; the broker itself kept running");
    }
    int64_t touched = touched_elsewhere(world, action);
    for (uint32_t i = 0; i < world->count; i++) {
        struct live_vehicle *vehicle = &world->vehicles[i];
        if (vehicle->trace.power_up_us < 0 || !selected(world, vehicle->index, action))
            continue;
        assert_context.vehicle = vehicle->index;
        act_on(vehicle, action);
        touched++;
    }
    return touched;
}

void live_mark(void *context, int64_t now_us, const char *text)
{
    struct live_world *world = context;
    char at[32];
    scenario_time_text(world->scenario, now_us, at, sizeof at);
    live_note(world->result, "%s %s", at, text);
}

/* ---- timeline ------------------------------------------------------------------------------------------------------ */

static void schedule_entry(struct live_world *world, uint32_t entry)
{
    int64_t at_us = (int64_t)((double)world->timeline_us[entry] / world->fleet.speedup);
    if (at_us < world->now_us)
        at_us = world->now_us;
    if (world->timeline_us[entry] != TIME_NEVER && !sim_queue_push(world->queue, at_us, entry, LIVE_TIMELINE))
        world->out_of_memory = true;
}

void live_timeline_start(struct live_world *world)
{
    for (uint32_t i = 0; i < world->scenario->timeline_count; i++) {
        world->timeline_us[i] = world->scenario->timeline[i].at_us;
        schedule_entry(world, i);
    }
}

void live_timeline_fire(struct live_world *world, uint32_t i)
{
    const struct scenario_timeline *entry = &world->scenario->timeline[i];
    int64_t now_us = world->timeline_us[i];
    if (world->script_failed)
        return;
    world->acting_us = (int64_t)((double)now_us / world->fleet.speedup);
    if (!script_timeline(world->fleet.script, i, now_us, &world->actions, world->result->error,
                         sizeof world->result->error)) {
        world->script_failed = true;
        return;
    }
    int64_t next_us = entry->every_us > 0 ? now_us + entry->every_us : TIME_NEVER;
    world->timeline_us[i] = entry->until_us > 0 && next_us > entry->until_us ? TIME_NEVER : next_us;
    schedule_entry(world, i);
}
