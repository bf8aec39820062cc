/* fleet_router.c: the routes of a scenario's groups, and what is counted of them. */
#include "fleet_messages.h"

#include <stdio.h>

void fleet_marked_topic(const struct fleet *fleet, char out[64])
{
    snprintf(out, 64, "%sdt/%%/fw/", fleet->topic_prefix);
}

void fleet_marked_telemetry(const struct fleet *fleet, const char *firmware, char out[64])
{
    fleet_marked_topic(fleet, out);
    size_t length = strlen(out);
    snprintf(out + length, 64 - length, "%s", firmware);
}

static void routed_one(void *context, int64_t now_us, struct span thing, uint32_t route)
{
    struct fleet *fleet = context;
    uint32_t vehicle;
    if (!scenario_vehicle_find(fleet->scenario, thing, &vehicle))
        return;
    const struct fleet_trace *trace = fleet->find_trace ? fleet->find_trace(fleet->find_context, vehicle) : NULL;
    struct measure_dimension who = {(uint16_t)scenario_cohort_of(fleet->scenario, vehicle),
                                    (uint16_t)scenario_region_of(fleet->scenario, vehicle), PATH_ANY};
    measure_count(fleet->measure, COUNTER_ROUTED, trace ? fleet_who(trace, PATH_ANY) : who, now_us, 1);
}

struct cloud_router *fleet_router_open(struct fleet *fleet, struct cloud_bus *bus, struct cloud_bus *marked_bus,
                                       const char *share, int64_t now_us)
{
    const struct scenario_messages *told = &fleet->scenario->cloud.messages;
    struct cloud_route routes[SCENARIO_GROUPS * SCENARIO_GROUP_VERSIONS];
    struct fleet_router_texts *texts = &fleet->router_texts;
    uint32_t count = 0;
    for (uint32_t g = 0; g < told->group_count; g++)
        for (uint32_t i = 0; i < told->groups[g].firmware_count; i++)
            routes[count++] = (struct cloud_route){told->groups[g].firmware[i], told->groups[g].name};
    if (told->wrong_route > 0.5 && told->group_count > 1) /* one version goes to another group's processors */
        routes[0].group = told->groups[1].name;
    fleet_marked_topic(fleet, texts->marked);
    snprintf(texts->routed, sizeof texts->routed, "%srouted/", fleet->topic_prefix);
    struct cloud_router_options options = {.property = "fw",
                                           .topic = fleet->topic_telemetry,
                                           .marked_topic = texts->marked,
                                           .routed = texts->routed,
                                           .share = share,
                                           .routes = routes,
                                           .route_count = count,
                                           .routed_one = routed_one,
                                           .context = fleet};
    return cloud_router_create(&options, bus, marked_bus, now_us);
}
