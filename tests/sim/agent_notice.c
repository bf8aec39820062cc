/* Notices of the cloud: shown while they hold, thrown away after; and what topic aliases save, told message by message. */
#include "agent_world.h"

#define TOPIC "notice/VIN-0001/"

static struct world *ready_as(uint64_t seed, uint8_t version)
{
    struct world *w = world_new(seed);
    w->profile.mqtt.version = version;
    w->profile.mqtt.topic_alias_maximum = 4;
    w->profile.count_aliases = true;
    snprintf(w->profile.topics.notices, sizeof(w->profile.topics.notices), "notice/%%/");
    world_begin(w);
    world_start(w, TCU_DRIVING);
    world_run(w, 5 * US_PER_S);
    assert_true(w->subscribed);
    return w;
}

static void tell(struct world *w, const char *topic, const char *body, uint8_t flags, uint16_t alias)
{
    struct mq5_packet packet = {.type = MQ5_PUBLISH};
    packet.publish.qos = 1;
    packet.publish.packet_id = ++w->next_packet_id;
    packet.publish.topic = span_text(topic);
    packet.publish.payload = span_text(body);
    packet.publish.dup = flags & TCU_NOTICE_AGAIN;
    packet.publish.retain = flags & TCU_NOTICE_KEPT;
    if (alias) {
        packet.publish.properties.present = MQ5_BIT(MQ5_TOPIC_ALIAS);
        packet.publish.properties.topic_alias = alias;
    }
    world_send(w, &packet);
    world_run(w, US_PER_S);
}

static void until(char out[128], unsigned number, int64_t until_us)
{
    snprintf(out, 128, "{\"notice\":\"weather\",\"n\":%u,\"ts\":1,\"until\":%lld}", number, (long long)until_us);
}

static void shown_while_it_holds(uint8_t version)
{
    struct world *w = ready_as(1, version);
    unsigned told = 0;
    char body[128];
    assert_int_equal(w->filter_count, 2);
    assert_string_equal(w->filters[1], TOPIC "+");
    until(body, 7, 0); /* for good */
    tell(w, TOPIC "update", body, 0, 0);
    assert_int_equal(w->probes.count[TCU_PROBE_NOTICE], ++told);
    assert_int_equal(w->probes.last_number[TCU_PROBE_NOTICE], 7);
    assert_int_equal(w->probes.reason[TCU_PROBE_NOTICE], 0);
    until(body, 8, WORLD_EPOCH_US + w->now_us + US_PER_MIN);
    tell(w, TOPIC "weather", body, TCU_NOTICE_KEPT, 0);
    assert_int_equal(w->probes.count[TCU_PROBE_NOTICE], ++told);
    assert_int_equal(w->probes.reason[TCU_PROBE_NOTICE], TCU_NOTICE_KEPT);
    world_run(w, US_PER_MIN);
    tell(w, TOPIC "weather", body, TCU_NOTICE_AGAIN, 0); /* its acknowledgement was lost, and now it is too late */
    assert_int_equal(w->probes.count[TCU_PROBE_NOTICE], ++told);
    assert_int_equal(w->probes.reason[TCU_PROBE_NOTICE], TCU_NOTICE_AGAIN | TCU_NOTICE_LATE);
    world_end(w);
}

static void shown_while_it_holds_5(void **state)
{
    shown_while_it_holds(MQ5_V5);
}

static void shown_while_it_holds_311(void **state)
{
    shown_while_it_holds(MQ5_V311);
}

static void what_is_none_is_left_alone(void **state)
{
    struct world *w = ready_as(2, MQ5_V5);
    static const char *const bodies[] = {"",
                                         "weather",
                                         "{}",
                                         "{\"notice\":\"weather\"}",
                                         "{\"notice\":7,\"n\":1,\"until\":0}",
                                         "{\"notice\":\"a kind whose name is far too long\",\"n\":1,\"until\":0}",
                                         "{\"notice\":\"weather\",\"n\":4294967296,\"until\":0}",
                                         "{\"notice\":\"weather\",\"n\":1,\"until\":-1}",
                                         "{\"notice\":\"weather\",\"n\":1,\"until\":0"};
    for (size_t i = 0; i < sizeof(bodies) / sizeof(bodies[0]); i++)
        tell(w, TOPIC "weather", bodies[i], 0, 0);
    tell(w, TOPIC "deeper/weather", "{\"notice\":\"weather\",\"n\":1,\"until\":0}", 0, 0);
    tell(w, "notice/VIN-0002/weather", "{\"notice\":\"weather\",\"n\":1,\"until\":0}", 0, 0);
    assert_int_equal(w->probes.count[TCU_PROBE_NOTICE], 0);
    assert_int_equal(w->executed[1], 0);
    assert_true(w->connected);
    world_end(w);
}

static void without_a_topic_nothing_is_subscribed_to(void **state)
{
    struct world *w = world_new(3);
    world_begin(w);
    world_start(w, TCU_DRIVING);
    world_run(w, 5 * US_PER_S);
    assert_int_equal(w->filter_count, 1);
    tell(w, TOPIC "weather", "{\"notice\":\"weather\",\"n\":1,\"until\":0}", 0, 0);
    assert_int_equal(w->probes.count[TCU_PROBE_NOTICE], 0);
    assert_int_equal(w->probes.count[TCU_PROBE_ALIAS], 0); /* nobody wants to know */
    world_end(w);
}

/* Up: what the broker of the rig saw come with an alias alone, and one message a connection that said the topic. */
static void aliases_are_told_up(void **state)
{
    struct world *w = ready_as(4, MQ5_V5);
    for (unsigned i = 0; i < 3; i++) {
        world_run(w, US_PER_MIN);
        world_cut_link(w);
        world_run(w, US_PER_MIN);
    }
    assert_true(w->aliased > 5);
    assert_int_equal(w->probes.count[TCU_PROBE_ALIAS], w->aliased + w->probes.count[TCU_PROBE_ONLINE]);
    assert_int_equal(w->probes.reason[TCU_PROBE_ALIAS], 0);
    assert_int_equal(w->probes.last_number[TCU_PROBE_ALIAS], strlen("dt/VIN-0001/telemetry") - 3);
    world_end(w);
}

static void aliases_are_told_down(void **state)
{
    struct world *w = ready_as(5, MQ5_V5);
    static const char body[] = "{\"notice\":\"weather\",\"n\":1,\"until\":0}";
    tell(w, TOPIC "weather", body, 0, 2);
    assert_int_equal(w->probes.reason[TCU_PROBE_ALIAS], TCU_ALIAS_INBOUND | TCU_ALIAS_COST);
    assert_int_equal(w->probes.last_number[TCU_PROBE_ALIAS], 3);
    tell(w, "", body, 0, 2);
    assert_int_equal(w->probes.reason[TCU_PROBE_ALIAS], TCU_ALIAS_INBOUND);
    assert_int_equal(w->probes.last_number[TCU_PROBE_ALIAS], strlen(TOPIC "weather") - 3);
    assert_int_equal(w->probes.count[TCU_PROBE_NOTICE], 2);
    world_end(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shown_while_it_holds_5),     cmocka_unit_test(shown_while_it_holds_311),
        cmocka_unit_test(what_is_none_is_left_alone), cmocka_unit_test(without_a_topic_nothing_is_subscribed_to),
        cmocka_unit_test(aliases_are_told_up),        cmocka_unit_test(aliases_are_told_down),
    };
    return world_both(tests);
}
