/* cloud/messages.h: messages that the cloud passes on without looking into them, and what it tells vehicles of its own accord.
 *
 * The router is a rule as cloud platforms have them: telemetry goes to a group of processors by the value of a user property, its body unopened.
 * Vehicles that speak 3.1.1 have no properties: they say the value in the topic, and the router gives the message the property they could not.
 */
#ifndef CLOUD_MESSAGES_H
#define CLOUD_MESSAGES_H

#include "cloud/bus.h"

/* ---- routing by user property ---------------------------------------------------------------------------------------- */

struct cloud_route {
    const char *value, *group;
};
struct cloud_router_options {         /* texts are lent as long as the router lives; '%' stands for the thing */
    const char *property;             /* "fw" */
    const char *topic;                /* "dt/%/telemetry": the value is in the property */
    const char *marked_topic;         /* "dt/%/fw/": the value is behind it */
    const char *routed;               /* "routed/": then the group, '/' and the thing */
    const char *share;                /* several routers take turns under this name; "": there is one */
    const struct cloud_route *routes; /* copied */
    uint32_t route_count;
    /* A message has found its group, route: its place in `routes`; route_count: none. May be NULL. */
    void (*routed_one)(void *context, int64_t now_us, struct span thing, uint32_t route);
    void *context;
};
struct cloud_router;
/* Subscribes on its two buses (a bus for each of the topics: some take one subscription only) and publishes on the first. NULL: refused, or out of
 * memory. */
struct cloud_router *cloud_router_create(const struct cloud_router_options *options, struct cloud_bus *bus,
                                         struct cloud_bus *marked_bus, int64_t now_us);
void cloud_router_destroy(struct cloud_router *router); /* its buses must deliver nothing afterwards */

/* The first user property of this name; empty: there is none. */
struct span cloud_user_property(const struct mq5_publish *message, struct span name);

/* ---- notices --------------------------------------------------------------------------------------------------------- */

struct cloud_notice {
    const char *kind;  /* last level of the topic, and "notice" in the body */
    uint32_t number;   /* "n" */
    int64_t wall_us;   /* "ts": when it is sent */
    int64_t until_us;  /* "until": likewise; 0: for good, and no expiry */
    uint32_t expiry_s; /* message expiry interval; 0: the broker is told of none */
    uint8_t qos;
    bool retained;
};
/* {"notice":"weather","n":7,"ts":...,"until":...} to the topic template "notice/%/" with the kind behind it. Reason code as of publish. */
uint8_t cloud_notice_send(struct cloud_bus *bus, int64_t now_us, const char *topic, struct span thing,
                          const struct cloud_notice *notice);

#endif
