/* The router and what sends notices, on buses of the embedded broker: where each message goes, and that nothing in it has changed. */
#include "cloud/messages.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

struct seen {
    uint32_t count, expiry_s;
    char topic[96], payload[256], version[32];
    uint8_t qos;
    bool retain, has_expiry;
};

struct rig {
    struct cloud_broker *broker;
    struct cloud_bus *router_bus, *marked_bus, *vehicle, *old, *current;
    struct cloud_router *router;
    struct seen at_old, at_current, at_vehicle;
    uint32_t routed[3];
};

static void nothing_sent(void *context, void *link, const uint8_t *data, size_t length)
{
}

static void nothing_closed(void *context, void *link, enum cloud_close_reason reason)
{
}

static void on_message(void *context, int64_t now_us, const struct mq5_publish *message)
{
    struct seen *seen = context;
    struct span version = cloud_user_property(message, SPAN_LITERAL("fw"));
    seen->count++;
    snprintf(seen->topic, sizeof(seen->topic), "%.*s", (int)message->topic.length, (const char *)message->topic.data);
    snprintf(seen->payload, sizeof(seen->payload), "%.*s", (int)message->payload.length,
             (const char *)message->payload.data);
    snprintf(seen->version, sizeof(seen->version), "%.*s", (int)version.length, (const char *)version.data);
    seen->qos = message->qos;
    seen->retain = message->retain;
    seen->has_expiry = message->properties.present & MQ5_BIT(MQ5_MESSAGE_EXPIRY_INTERVAL);
    seen->expiry_s = message->properties.message_expiry_s;
}

static void on_routed(void *context, int64_t now_us, struct span thing, uint32_t route)
{
    struct rig *rig = context;
    assert_true(span_equal(thing, SPAN_LITERAL("VIN-1")));
    assert_true(route <= 2);
    rig->routed[route]++;
}

static struct cloud_bus *reader(struct rig *rig, const char *id, const char *filter, struct seen *seen)
{
    struct cloud_bus *bus = cloud_bus_local(rig->broker, span_text(id));
    assert_non_null(bus);
    assert_true(bus->ops->subscribe(bus, 0, span_text(filter), 1, on_message, seen) < 0x80);
    return bus;
}

static void open_rig(struct rig *rig)
{
    static const struct cloud_broker_ops ops = {.send = nothing_sent, .close = nothing_closed};
    static const struct cloud_route routes[] = {{"1.0.0", "old"}, {"2.0.0", "current"}};
    struct cloud_broker_options options;
    memset(rig, 0, sizeof(*rig));
    cloud_broker_defaults(&options);
    rig->broker = cloud_broker_create(&options, &ops, NULL, 1);
    rig->router_bus = cloud_bus_local(rig->broker, SPAN_LITERAL("router"));
    rig->marked_bus = cloud_bus_local(rig->broker, SPAN_LITERAL("router-marked"));
    rig->vehicle = reader(rig, "VIN-1", "notice/VIN-1/+", &rig->at_vehicle);
    rig->old = reader(rig, "old", "$share/old/routed/old/+", &rig->at_old);
    rig->current = reader(rig, "current", "$share/current/routed/current/+", &rig->at_current);
    struct cloud_router_options wanted = {.property = "fw",
                                          .topic = "dt/%/telemetry",
                                          .marked_topic = "dt/%/fw/",
                                          .routed = "routed/",
                                          .share = "routers",
                                          .routes = routes,
                                          .route_count = 2,
                                          .routed_one = on_routed,
                                          .context = rig};
    rig->router = cloud_router_create(&wanted, rig->router_bus, rig->marked_bus, 0);
    assert_non_null(rig->router);
}

static void close_rig(struct rig *rig)
{
    struct cloud_bus *buses[] = {rig->router_bus, rig->marked_bus, rig->vehicle, rig->old, rig->current};
    for (size_t i = 0; i < sizeof(buses) / sizeof(buses[0]); i++)
        buses[i]->ops->close(buses[i]);
    cloud_router_destroy(rig->router);
    cloud_broker_destroy(rig->broker);
}

static void say(struct rig *rig, const char *topic, const struct mq5_user_property *user, uint16_t count)
{
    struct mq5_publish publish = {.qos = 1, .topic = span_text(topic), .payload = SPAN_LITERAL("{no JSON at all\xFF")};
    publish.properties.user = user;
    publish.properties.user_count = count;
    publish.properties.present = count ? MQ5_BIT(MQ5_USER_PROPERTY) : 0;
    rig->vehicle->ops->publish(rig->vehicle, 5, &publish);
}

static void the_property_decides_and_the_body_is_not_read(void **state)
{
    struct rig rig;
    open_rig(&rig);
    struct mq5_user_property user[] = {{SPAN_LITERAL("schema"), SPAN_LITERAL("1.0.0")},
                                       {SPAN_LITERAL("fw"), SPAN_LITERAL("2.0.0")},
                                       {SPAN_LITERAL("fw"), SPAN_LITERAL("1.0.0")}};
    say(&rig, "dt/VIN-1/telemetry", user, 3);
    assert_int_equal(rig.at_current.count, 1);
    assert_int_equal(rig.at_old.count, 0);
    assert_string_equal(rig.at_current.topic, "routed/current/VIN-1");
    assert_string_equal(rig.at_current.payload, "{no JSON at all\xFF");
    assert_string_equal(rig.at_current.version, "2.0.0"); /* it went along */
    assert_int_equal(rig.at_current.qos, 1);
    user[1].value = SPAN_LITERAL("1.0.0");
    say(&rig, "dt/VIN-1/telemetry", user, 2);
    assert_int_equal(rig.at_old.count, 1);
    assert_int_equal(rig.routed[0], 1);
    assert_int_equal(rig.routed[1], 1);
    close_rig(&rig);
}

/* As it comes from a vehicle: the properties are one encoded block. */
static void properties_in_their_encoded_form_are_found(void **state)
{
    struct rig rig;
    open_rig(&rig);
    struct mq5_user_property user = {SPAN_LITERAL("fw"), SPAN_LITERAL("1.0.0")};
    struct mq5_packet packet = {.type = MQ5_PUBLISH}, decoded;
    uint8_t bytes[128];
    size_t length;
    packet.publish.topic = SPAN_LITERAL("dt/VIN-1/telemetry");
    packet.publish.properties.user = &user;
    packet.publish.properties.user_count = 1;
    packet.publish.properties.present = MQ5_BIT(MQ5_USER_PROPERTY);
    assert_int_equal(mq5_encode(MQ5_V5, &packet, bytes, sizeof(bytes), &length), MQ5_OK);
    assert_int_equal(mq5_decode(MQ5_V5, MQ5_FROM_CLIENT, bytes, length, &decoded, NULL), MQ5_OK);
    rig.vehicle->ops->publish(rig.vehicle, 5, &decoded.publish);
    assert_int_equal(rig.at_old.count, 1);
    assert_string_equal(rig.at_old.version, "1.0.0");
    close_rig(&rig);
}

static void without_properties_the_topic_says_it(void **state)
{
    struct rig rig;
    open_rig(&rig);
    say(&rig, "dt/VIN-1/fw/1.0.0", NULL, 0);
    assert_int_equal(rig.at_old.count, 1);
    assert_string_equal(rig.at_old.topic, "routed/old/VIN-1");
    assert_string_equal(rig.at_old.version, "1.0.0"); /* processors see what a 5 vehicle would have said */
    close_rig(&rig);
}

static void what_nobody_takes_goes_nowhere_and_is_told(void **state)
{
    struct rig rig;
    open_rig(&rig);
    struct mq5_user_property user = {SPAN_LITERAL("fw"), SPAN_LITERAL("2.0.01")};
    say(&rig, "dt/VIN-1/telemetry", &user, 1);
    say(&rig, "dt/VIN-1/telemetry", NULL, 0);
    say(&rig, "dt/VIN-1/fw/3", NULL, 0);
    say(&rig, "dt/VIN-1/fw/a/1.0.0", NULL, 0);
    assert_int_equal(rig.routed[2], 3);
    assert_int_equal(rig.at_old.count + rig.at_current.count, 0);
    close_rig(&rig);
}

static void a_notice_says_its_kind_and_its_end(void **state)
{
    struct rig rig;
    open_rig(&rig);
    struct cloud_notice notice = {.kind = "weather",
                                  .number = 7,
                                  .wall_us = 1700000000000000,
                                  .until_us = 1700000060000000,
                                  .expiry_s = 60,
                                  .qos = 1};
    struct span thing = SPAN_LITERAL("VIN-1");
    assert_true(cloud_notice_send(rig.router_bus, 9, "notice/%/", thing, &notice) < 0x80);
    assert_string_equal(rig.at_vehicle.topic, "notice/VIN-1/weather");
    assert_string_equal(rig.at_vehicle.payload,
                        "{\"notice\":\"weather\",\"n\":7,\"ts\":1700000000000000,\"until\":1700000060000000}");
    assert_true(rig.at_vehicle.has_expiry);
    assert_int_equal(rig.at_vehicle.expiry_s, 60);
    notice = (struct cloud_notice){.kind = "update", .number = 1, .qos = 1, .retained = true};
    assert_true(cloud_notice_send(rig.router_bus, 9, "notice/%/", thing, &notice) < 0x80);
    assert_false(rig.at_vehicle.has_expiry);
    struct seen later = {0};
    struct cloud_bus *late = reader(&rig, "late", "notice/VIN-1/+", &later); /* the retained one waits for it */
    assert_int_equal(later.count, 1);
    assert_true(later.retain);
    assert_string_equal(later.topic, "notice/VIN-1/update");
    late->ops->close(late);
    assert_int_equal(cloud_notice_send(rig.router_bus, 9, "no place for a thing", thing, &notice),
                     MQ5_TOPIC_NAME_INVALID);
    close_rig(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_property_decides_and_the_body_is_not_read),
        cmocka_unit_test(properties_in_their_encoded_form_are_found),
        cmocka_unit_test(without_properties_the_topic_says_it),
        cmocka_unit_test(what_nobody_takes_goes_nowhere_and_is_told),
        cmocka_unit_test(a_notice_says_its_kind_and_its_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
