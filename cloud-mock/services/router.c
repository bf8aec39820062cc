/* router.c: telemetry to its group of processors, by the value of a user property. Nothing here reads a payload. */
#include "cloud/messages.h"

#include "memory.h"

#include "remote_topic.h"

struct cloud_router {
    struct cloud_router_options options;
    struct cloud_bus *bus;
    struct cloud_route routes[];
};

#define ROUTED_TOPIC 256

struct span cloud_user_property(const struct mq5_publish *message, struct span name)
{
    const struct mq5_properties *properties = &message->properties;
    struct mq5_user_property one;
    uint32_t offset = 0;
    for (uint16_t i = 0; i < properties->user_count; i++)
        if (span_equal(properties->user[i].name, name))
            return properties->user[i].value;
    if (!(properties->present & MQ5_BIT(MQ5_USER_PROPERTY)))
        return (struct span){0};
    while (mq5_user_property_next(properties->encoded, &offset, &one))
        if (span_equal(one.name, name))
            return one.value;
    return (struct span){0};
}

static uint32_t find_route(const struct cloud_router *router, struct span value)
{
    for (uint32_t i = 0; i < router->options.route_count; i++)
        if (span_equal(span_text(router->routes[i].value), value))
            return i;
    return router->options.route_count;
}

static struct span routed_topic(const struct cloud_router *router, uint32_t route, struct span thing,
                                char out[ROUTED_TOPIC])
{
    struct text_writer w = {out, 0, ROUTED_TOPIC};
    text_put_string(&w, router->options.routed);
    text_put_string(&w, router->routes[route].group);
    text_put_string(&w, "/");
    text_put(&w, thing.data, thing.length);
    return text_fits(&w) ? span_of(out, w.at) : (struct span){0};
}

static void pass_on(struct cloud_router *router, int64_t now_us, const struct mq5_publish *message, struct span thing,
                    struct span value, bool say_value)
{
    const struct cloud_router_options *options = &router->options;
    uint32_t route = find_route(router, value);
    char topic[ROUTED_TOPIC];
    struct mq5_user_property said = {span_text(options->property), value};
    if (options->routed_one)
        options->routed_one(options->context, now_us, thing, route);
    if (route == options->route_count)
        return;
    struct mq5_publish out = *message;
    out.topic = routed_topic(router, route, thing, topic);
    out.dup = out.retain = false;
    out.packet_id = 0;
    out.properties.present &= ~(MQ5_BIT(MQ5_TOPIC_ALIAS) | MQ5_BIT(MQ5_SUBSCRIPTION_IDENTIFIER));
    out.properties.subscription_id_count = 0;
    if (say_value) {
        out.properties.user = &said;
        out.properties.user_count = 1;
        out.properties.present |= MQ5_BIT(MQ5_USER_PROPERTY);
    }
    router->bus->ops->publish(router->bus, now_us, &out);
}

static void on_message(void *context, int64_t now_us, const struct mq5_publish *message)
{
    struct cloud_router *router = context;
    struct span thing = remote_topic_thing(router->options.topic, message->topic);
    if (thing.length)
        pass_on(router, now_us, message, thing, cloud_user_property(message, span_text(router->options.property)),
                false);
}

/* "dt/suv-000001/fw/1.4.2": what stands between the template's two parts, and what is behind it. */
static void on_marked(void *context, int64_t now_us, const struct mq5_publish *message)
{
    struct cloud_router *router = context;
    struct span rest = message->topic;
    uint32_t value_length = 0;
    while (value_length < rest.length && rest.data[rest.length - 1 - value_length] != '/')
        value_length++;
    struct span value = span_of(rest.data + rest.length - value_length, value_length);
    rest.length -= value_length;
    struct span thing = remote_topic_thing(router->options.marked_topic, rest);
    if (thing.length)
        pass_on(router, now_us, message, thing, value, true);
}

static bool subscribe(struct cloud_router *router, struct cloud_bus *bus, int64_t now_us, const char *topic,
                      const char *behind, cloud_bus_handler *handler)
{
    char filter[ROUTED_TOPIC];
    const char *mark = strchr(topic, '%'), *share = router->options.share;
    struct text_writer w = {filter, 0, sizeof filter};
    if (share[0]) {
        text_put_string(&w, "$share/");
        text_put_string(&w, share);
        text_put_string(&w, "/");
    }
    text_put(&w, topic, (size_t)(mark - topic));
    text_put_string(&w, "+");
    text_put_string(&w, mark + 1);
    text_put_string(&w, behind);
    return text_fits(&w) && bus->ops->subscribe(bus, now_us, span_of(filter, w.at), 1, handler, router) < 0x80;
}

struct cloud_router *cloud_router_create(const struct cloud_router_options *options, struct cloud_bus *bus,
                                         struct cloud_bus *marked_bus, int64_t now_us)
{
    size_t routes = options->route_count * sizeof(struct cloud_route);
    struct cloud_router *router = memory_allocate_zero(1, sizeof *router + routes);
    if (!router)
        return NULL;
    router->options = *options;
    router->bus = bus;
    memcpy(router->routes, options->routes, routes);
    router->options.routes = router->routes;
    if (subscribe(router, bus, now_us, options->topic, "", on_message) &&
        subscribe(router, marked_bus, now_us, options->marked_topic, "+", on_marked))
        return router;
    memory_free(router);
    return NULL;
}

void cloud_router_destroy(struct cloud_router *router)
{
    memory_free(router);
}
