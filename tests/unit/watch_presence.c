/* The watch: whatever the order in which the events of three connections arrive, and with each of them twice, it ends with the truth. */
#include "cloud/remote.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define EPOCH_MS INT64_C(1700000000000)

/* A bus that only keeps who listens. */
struct fake_bus {
    struct cloud_bus bus;
    struct {
        char filter[100];
        cloud_bus_handler *handler;
        void *context;
    } heard[4];
    uint32_t count;
    bool refuse;
};

static uint8_t fake_subscribe(struct cloud_bus *bus, int64_t now_us, struct span filter, uint8_t qos,
                              cloud_bus_handler *handler, void *context)
{
    struct fake_bus *fake = (struct fake_bus *)bus;
    if (fake->refuse)
        return MQ5_NOT_AUTHORIZED;
    snprintf(fake->heard[fake->count].filter, 100, "%.*s", (int)filter.length, (const char *)filter.data);
    fake->heard[fake->count].handler = handler;
    fake->heard[fake->count++].context = context;
    return qos;
}

static const struct cloud_bus_ops fake_ops = {.subscribe = fake_subscribe};

struct rig {
    struct fake_bus bus;
    struct cloud_watch *watch;
    enum cloud_presence_state told[32];
    int64_t told_us[32];
    uint32_t changes;
    char name[64];
};

static void changed(void *context, int64_t now_us, struct span thing, enum cloud_presence_state state)
{
    struct rig *rig = context;
    assert_true(rig->changes < 32);
    rig->told[rig->changes] = state;
    rig->told_us[rig->changes++] = now_us;
    snprintf(rig->name, sizeof rig->name, "%.*s", (int)thing.length, (const char *)thing.data);
}

static void open_rig(struct rig *rig, const char *profile, int64_t debounce_us)
{
    struct cloud_watch_options options = {
        .profile = cloud_profile_find(profile), .debounce_us = debounce_us, .changed = changed, .context = rig};
    memset(rig, 0, sizeof *rig);
    rig->bus.bus.ops = &fake_ops;
    rig->watch = cloud_watch_create(&options, &rig->bus.bus, 0);
    assert_non_null(rig->watch);
    assert_true(cloud_watch_bytes(rig->watch) <= 4096);
}

static void hear(struct rig *rig, int64_t now_us, uint32_t which, const char *topic, const char *payload)
{
    struct mq5_publish message = {.qos = 1, .topic = span_text(topic), .payload = span_text(payload)};
    assert_true(which < rig->bus.count);
    rig->bus.heard[which].handler(rig->bus.heard[which].context, now_us, &message);
}

/* happened_s: since the epoch. */
static void event(struct rig *rig, int64_t now_us, bool connected, uint32_t version, int64_t happened_s)
{
    char topic[100], payload[300];
    const char *kind = connected ? "connected" : "disconnected";
    snprintf(topic, sizeof topic, "$aws/events/presence/%s/V1", kind);
    snprintf(payload, sizeof payload,
             "{\"clientId\":\"V1\",\"timestamp\":%lld,\"eventType\":\"%s\",\"sessionIdentifier\":\"%u\","
             "\"principalIdentifier\":\"\\\"versionNumber\\\":77\",\"versionNumber\":%u}",
             (long long)(EPOCH_MS + happened_s * 1000), kind, version, version);
    hear(rig, now_us, !connected, topic, payload);
}

static enum cloud_presence_state state_of(const struct rig *rig)
{
    return cloud_watch_state(rig->watch, SPAN_LITERAL("V1"));
}

struct happening {
    bool connected;
    uint32_t version;
    int64_t at_s;
};

/* Six events of three connections, `count` of them happened, in the order given; one of them comes `again` times more at the end. */
static void play(const struct happening *events, const int *order, int count, int again,
                 enum cloud_presence_state truth)
{
    struct rig rig;
    open_rig(&rig, "embedded", 0);
    int64_t now_us = 100 * US_PER_S;
    for (int i = 0; i < count; i++)
        event(&rig, now_us += US_PER_S / 10, events[order[i]].connected, events[order[i]].version,
              events[order[i]].at_s);
    event(&rig, now_us += US_PER_S / 10, events[again].connected, events[again].version, events[again].at_s);
    cloud_watch_tick(rig.watch, now_us + 5 * US_PER_S);
    assert_int_equal(state_of(&rig), truth);
    assert_int_equal(rig.told[rig.changes - 1], truth);
    assert_true(cloud_watch_next_deadline(rig.watch) == TIME_NEVER);
    struct cloud_watch_counts counts;
    cloud_watch_count(rig.watch, &counts);
    assert_int_equal(counts.events, count + 1);
    assert_true(counts.late + counts.repeated >= 1); /* the one that came twice */
    cloud_watch_destroy(rig.watch);
}

static uint32_t permute(const struct happening *events, int *order, int at, int count, enum cloud_presence_state truth)
{
    uint32_t played = 0;
    if (at == count) {
        for (int again = 0; again < count; again++)
            play(events, order, count, again, truth);
        return (uint32_t)count;
    }
    for (int i = at; i < count; i++) {
        int kept = order[at];
        order[at] = order[i];
        order[i] = kept;
        played += permute(events, order, at + 1, count, truth);
        order[i] = order[at];
        order[at] = kept;
    }
    return played;
}

static void all_orders(void **state)
{
    /* one after the other; the second taken over by the third (its end is told after the third began); versions that start anew */
    static const struct happening histories[3][6] = {
        {{true, 3, 0}, {false, 3, 10}, {true, 4, 11}, {false, 4, 20}, {true, 5, 30}, {false, 5, 40}},
        {{true, 3, 0}, {false, 3, 10}, {true, 4, 11}, {false, 4, 31}, {true, 5, 30}, {false, 5, 40}},
        {{true, 8, 0}, {false, 8, 9000}, {true, 9, 9001}, {false, 9, 9050}, {true, 0, 20000}, {false, 0, 30000}},
    };
    for (int h = 0; h < 3; h++) {
        int order[6] = {0, 1, 2, 3, 4, 5};
        assert_int_equal(permute(histories[h], order, 0, 6, CLOUD_PRESENCE_OFFLINE), 720 * 6);
        int first[5] = {0, 1, 2, 3, 4};
        assert_int_equal(permute(histories[h], first, 0, 5, CLOUD_PRESENCE_ONLINE), 120 * 5);
    }
}

/* The same number for two connections hours apart: all orders of their four events. */
static void same_number_again(void **state)
{
    static const struct happening events[] = {{true, 0, 0}, {false, 0, 60}, {true, 0, 7200}, {false, 0, 14400}};
    int order[4] = {0, 1, 2, 3}, first[3] = {0, 1, 2};
    assert_int_equal(permute(events, order, 0, 4, CLOUD_PRESENCE_OFFLINE), 24 * 4);
    assert_int_equal(permute(events, first, 0, 3, CLOUD_PRESENCE_ONLINE), 6 * 3);
}

static void debounced(void **state)
{
    struct rig rig;
    struct cloud_watch_counts counts;
    open_rig(&rig, "embedded", 0);
    assert_string_equal(rig.bus.heard[0].filter, "$aws/events/presence/connected/+");
    assert_string_equal(rig.bus.heard[1].filter, "$aws/events/presence/disconnected/+");
    assert_int_equal(state_of(&rig), CLOUD_PRESENCE_UNKNOWN);
    event(&rig, 0, true, 1, 0);
    assert_int_equal(rig.changes, 1);
    assert_string_equal(rig.name, "V1");
    event(&rig, 10 * US_PER_S, false, 1, 10);
    assert_true(cloud_watch_next_deadline(rig.watch) == 15 * US_PER_S);
    assert_int_equal(state_of(&rig), CLOUD_PRESENCE_ONLINE);
    event(&rig, 14 * US_PER_S, true, 2, 14);
    cloud_watch_tick(rig.watch, 15 * US_PER_S);
    assert_int_equal(rig.changes, 1);
    cloud_watch_count(rig.watch, &counts);
    assert_int_equal(counts.debounced, 1);
    event(&rig, 16 * US_PER_S, false, 2, 16); /* the debounce is the newest connection's */
    event(&rig, 18 * US_PER_S, false, 3, 18);
    cloud_watch_tick(rig.watch, 21 * US_PER_S);
    assert_int_equal(state_of(&rig), CLOUD_PRESENCE_ONLINE);
    cloud_watch_tick(rig.watch, 23 * US_PER_S);
    assert_int_equal(state_of(&rig), CLOUD_PRESENCE_OFFLINE);
    assert_int_equal(rig.changes, 2);
    assert_true(rig.told_us[1] == 23 * US_PER_S);
    cloud_watch_destroy(rig.watch);
}

static void without_debounce(void **state)
{
    struct rig rig;
    open_rig(&rig, "embedded", -1);
    event(&rig, 0, true, 1, 0);
    event(&rig, US_PER_S, false, 1, 1);
    assert_int_equal(state_of(&rig), CLOUD_PRESENCE_OFFLINE);
    assert_int_equal(rig.changes, 2);
    cloud_watch_destroy(rig.watch);
}

static void retained_messages(void **state)
{
    struct rig rig;
    struct cloud_watch_counts counts;
    open_rig(&rig, "plain", 0);
    assert_string_equal(rig.bus.heard[0].filter, "presence/+");
    hear(&rig, 0, 0, "presence/V1", "online");
    hear(&rig, 1, 0, "presence/V1", "online");
    assert_int_equal(state_of(&rig), CLOUD_PRESENCE_ONLINE);
    hear(&rig, US_PER_S, 0, "presence/V1", "offline");
    hear(&rig, 2 * US_PER_S, 0, "presence/V1", "online");
    hear(&rig, 3 * US_PER_S, 0, "presence/V1", "offline");
    hear(&rig, 4 * US_PER_S, 0, "presence/V1", ""); /* taken back: nothing is said */
    cloud_watch_tick(rig.watch, 8 * US_PER_S - 1);
    assert_int_equal(state_of(&rig), CLOUD_PRESENCE_ONLINE);
    cloud_watch_tick(rig.watch, 8 * US_PER_S);
    assert_int_equal(state_of(&rig), CLOUD_PRESENCE_OFFLINE);
    cloud_watch_count(rig.watch, &counts);
    assert_int_equal(counts.events, 5);
    assert_int_equal(counts.repeated, 1);
    assert_int_equal(counts.debounced, 1);
    cloud_watch_destroy(rig.watch);
}

static void nonsense_changes_nothing(void **state)
{
    struct rig rig;
    open_rig(&rig, "embedded", 0);
    static const char *const payloads[] = {"",
                                           "{}",
                                           "{\"versionNumber\":1}",
                                           "{\"timestamp\":1}",
                                           "{\"versionNumber\":-1,\"timestamp\":1}",
                                           "{\"versionNumber\":99999999999,\"timestamp\":1}",
                                           "{\"x\":\"\\\"versionNumber\\\":1\",\"timestamp\":1}",
                                           "{\"timestamp\":1,\"versionNumber",
                                           "{\"timestamp\":1,\"versionNumber\"",
                                           "\""};
    for (size_t i = 0; i < sizeof payloads / sizeof payloads[0]; i++)
        hear(&rig, 0, 0, "$aws/events/presence/connected/V1", payloads[i]);
    hear(&rig, 0, 0, "$aws/events/presence/connected/", "{\"versionNumber\":1,\"timestamp\":1}");
    assert_int_equal(rig.changes, 0);
    hear(&rig, 0, 0, "$aws/events/presence/connected/V1", "{\"versionNumber\" : 0, \"timestamp\": 1}");
    assert_int_equal(state_of(&rig), CLOUD_PRESENCE_ONLINE);
    rig.bus.refuse = true;
    assert_null(
        cloud_watch_create(&(struct cloud_watch_options){.profile = cloud_profile_find("embedded")}, &rig.bus.bus, 0));
    cloud_watch_destroy(rig.watch);
}

static void many_clients(void **state)
{
    struct rig rig;
    struct cloud_watch_options options = {.profile = cloud_profile_find("plain")};
    memset(&rig, 0, sizeof rig);
    rig.bus.bus.ops = &fake_ops;
    rig.watch = cloud_watch_create(&options, &rig.bus.bus, 0);
    char topic[40];
    for (int i = 0; i < 5000; i++) {
        snprintf(topic, sizeof topic, "presence/V%d", i);
        hear(&rig, 0, 0, topic, i % 3 ? "online" : "offline");
    }
    cloud_watch_tick(rig.watch, 5 * US_PER_S);
    for (int i = 0; i < 5000; i++) {
        snprintf(topic, sizeof topic, "V%d", i);
        assert_int_equal(cloud_watch_state(rig.watch, span_text(topic)),
                         i % 3 ? CLOUD_PRESENCE_ONLINE : CLOUD_PRESENCE_OFFLINE);
    }
    hear(&rig, 6 * US_PER_S, 0, "presence/V1", "offline");
    cloud_watch_destroy(rig.watch); /* with one that waits */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_orders),        cmocka_unit_test(same_number_again),
        cmocka_unit_test(debounced),         cmocka_unit_test(without_debounce),
        cmocka_unit_test(retained_messages), cmocka_unit_test(nonsense_changes_nothing),
        cmocka_unit_test(many_clients),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
