/* live_region_child.c: the cloud of a region in its own process, on its copies: which vehicles it sends elsewhere at its door, what it has of them and forgets.
 */
#include "live_regions.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

static bool place_of(const struct live_child *child, uint32_t vehicle, uint32_t *place)
{
    *place = vehicle / child->ranks;
    return child->guests && vehicle < child->scenario->fleet && vehicle % child->ranks == child->rank;
}

/* One whose home this was is sent there, while that is up; one that residency forbids here is sent home. */
static struct cloud_authorisation elsewhere(void *context, int64_t now_us, const struct mq5_connect *connect)
{
    struct cloud_authorisation here = {.reason = MQ5_SUCCESS};
    const struct live_child *child = context;
    const struct scenario *scenario = child->scenario;
    uint32_t vehicle, place;
    if (!scenario_vehicle_find(scenario, connect->client_id, &vehicle) || !place_of(child, vehicle, &place))
        return here;
    const struct live_guest *guest = &child->guests[place];
    bool may = scenario->regions[guest->home].residency >> child->region & 1;
    bool forbidden = !may && scenario->cloud.regions.ignore_residency <= 0.5;
    bool moved = guest->former && !(child->down >> guest->home & 1);
    if (!moved && !forbidden)
        return here;
    return (struct cloud_authorisation){.reason = MQ5_SERVER_MOVED,
                                        .server_reference = span_text(scenario->regions[guest->home].endpoint)};
}

static void opened(void *context, struct cloud *cloud, int64_t now_us)
{
    struct live_child *child = context;
    child->guests = calloc(child->scenario->fleet / child->ranks + 1, sizeof *child->guests);
    for (uint32_t v = child->rank; child->guests && v < child->scenario->fleet; v += child->ranks)
        child->guests[v / child->ranks].home = (uint8_t)scenario_region_of(child->scenario, v);
    cloud->elsewhere = elsewhere;
    cloud->guide = child;
}

/* Runs in the parent before the fork. */
void live_region_child_options(struct live_world *world, struct live_broker *broker,
                               struct cloud_serve_options *options)
{
    const struct scenario *scenario = world->scenario;
    struct live_child *child = &broker->child;
    child->region = (uint8_t)(broker - world->brokers);
    child->rank = world->rank;
    child->ranks = world->ranks;
    if (scenario->regions[child->region].sni_only) {
        options->cloud.registration.ca_mode = CLOUD_CA_MODE_SNI_ONLY;
        options->cloud.registration.endpoints = scenario->regions[child->region].endpoint;
    }
    if (!scenario->cloud.regions.migrates)
        options->opened = opened;
}

/* ---- orders ------------------------------------------------------------------------------------------------------------------ */

static void say_what_it_has(const struct live_child *child, struct cloud *cloud, uint32_t vehicle)
{
    char name[SCENARIO_NAME + 16];
    struct span thing = span_of(name, scenario_vehicle_name(child->scenario, vehicle, name, sizeof name));
    struct live_holding holding = {.vehicle = vehicle};
    if (cloud_registry_has_thing(cloud->registry, name))
        holding.kinds |= CLOUD_DATA_IDENTITY;
    if (cloud_broker_has_session(cloud->broker, thing))
        holding.kinds |= CLOUD_DATA_SESSION;
    while (send(child->fd, &holding, sizeof holding, MSG_NOSIGNAL) < 0 && errno == EINTR)
        ;
}

static void say_all(const struct live_child *child, struct cloud *cloud)
{
    struct live_holding last = {.last = true};
    for (uint32_t v = child->rank; v < child->scenario->fleet; v += child->ranks)
        say_what_it_has(child, cloud, v);
    while (send(child->fd, &last, sizeof last, MSG_NOSIGNAL) < 0 && errno == EINTR)
        ;
}

static void clean(const struct live_child *child, struct cloud *cloud, int64_t now_us, const struct live_order *order)
{
    char name[SCENARIO_NAME + 16];
    uint32_t vehicle = (uint32_t)order->action.vehicle;
    struct span thing = span_of(name, scenario_vehicle_name(child->scenario, vehicle, name, sizeof name));
    if (order->kinds & CLOUD_DATA_IDENTITY) {
        cloud_registration_forget(cloud->registration, name);
        cloud_registry_forget_thing(cloud->registry, name);
    }
    if (order->kinds & CLOUD_DATA_SESSION)
        cloud_broker_forget(cloud->broker, now_us, thing);
    say_what_it_has(child, cloud, vehicle);
}

void live_region_child_order(struct live_child *child, struct cloud *cloud, int64_t now_us,
                             const struct live_order *order)
{
    uint32_t place;
    uint8_t region = (uint8_t)order->action.region;
    switch (order->kind) {
    case LIVE_ORDER_HOLDINGS: say_all(child, cloud); break;
    case LIVE_ORDER_CLEAN: clean(child, cloud, now_us, order); break;
    case LIVE_ORDER_REGION_DOWN: child->down |= (uint16_t)(1u << region); break;
    case LIVE_ORDER_REGION_UP: child->down &= (uint16_t) ~(1u << region); break;
    default: /* LIVE_ORDER_HOME */
        if (place_of(child, (uint32_t)order->action.vehicle, &place))
            child->guests[place] = (struct live_guest){.home = region, .former = order->former};
        break;
    }
}
