/* live_moves.c: what the clouds of regions have of each vehicle, in the live world: they are asked themselves, over the pair of sockets that orders go.
 *
 * Their registries and brokers are real; the other stores of a region (the owner's data, telemetry that its processors got) are a list of kinds here.
 */
#include "live_regions.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>

#define ANSWER_TIMEOUT_MS 60000

static void count(const struct live_vehicle *vehicle, enum counter counter, int64_t at_us)
{
    struct measure *measure = vehicle->world->fleet.measure;
    measure_count(measure, counter, fleet_who(&vehicle->trace, PATH_ANY), at_us, 1);
    measure_command_victim(measure, counter, vehicle->index, at_us);
}

/* ---- what a cloud says ------------------------------------------------------------------------------------------------------- */

/* false: nothing there. */
static bool hear(struct live_world *world, uint8_t region, bool *last)
{
    struct live_holding holding;
    if (recv(world->brokers[region].news_fd, &holding, sizeof holding, MSG_DONTWAIT) != (ssize_t)sizeof holding)
        return false;
    *last = holding.last;
    if (!holding.last && holding.vehicle < world->scenario->fleet && holding.vehicle % world->ranks == world->rank)
        world->regions->list[region].records[holding.vehicle / world->ranks].told = holding.kinds;
    return true;
}

static bool hear_all(struct live_world *world, uint8_t region)
{
    struct live_order order = {.kind = LIVE_ORDER_HOLDINGS};
    bool last = false;
    live_region_order(world, region, &order);
    while (!last) {
        struct pollfd waiting = {.fd = world->brokers[region].news_fd, .events = POLLIN};
        int ready = poll(&waiting, 1, ANSWER_TIMEOUT_MS);
        if (ready < 0 && errno == EINTR)
            continue;
        if (ready <= 0 || !hear(world, region, &last))
            return false;
    }
    return true;
}

static uint8_t has(const struct live_world *world, uint32_t place, uint8_t region)
{
    const struct live_record *record = &world->regions->list[region].records[place];
    return record->held | record->brought | record->told;
}

/* ---- set-up ------------------------------------------------------------------------------------------------------------------ */

bool live_moves_start(struct live_world *world)
{
    return true;
}

void live_moves_stop(struct live_world *world)
{
}

/* ---- the end ------------------------------------------------------------------------------------------------------------------- */

/* What was copied into a region and was not to be, and what lies where the rules of its home forbid it. Its former home is judged by the rules of the
 * move. */
static bool is_forbidden(const struct live_vehicle *vehicle, uint8_t region)
{
    const struct live_world *world = vehicle->world;
    const struct live_whereabouts *where = live_where(vehicle);
    uint32_t place = live_place(vehicle);
    if (world->regions->list[region].records[place].brought & ~live_rules(world)->copied)
        return true;
    return !live_places_may_hold(world, where->home, region) && region != where->former && has(world, place, region);
}

void live_moves_audit(struct live_world *world, int64_t at_us)
{
    for (uint8_t region = 0; region < world->scenario->region_count; region++)
        if (!hear_all(world, region)) {
            live_fail(world, "a cloud does not say what it has of vehicles");
            return;
        }
    for (uint32_t v = 0; v < world->count; v++) {
        const struct live_vehicle *vehicle = &world->vehicles[v];
        bool forbidden = false;
        for (uint8_t region = 0; region < world->scenario->region_count; region++)
            forbidden = forbidden || is_forbidden(vehicle, region);
        if (forbidden)
            count(vehicle, COUNTER_RESIDENCY_VIOLATIONS, at_us);
    }
}
