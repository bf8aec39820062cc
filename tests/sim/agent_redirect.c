/* A server sends the vehicle to another one (0x9C, 0x9D with a server reference): it goes at once, but servers that send it to and fro do not
 * have it hammering at their doors. */
#include "agent_world.h"

#include "vehicle/agent/agent_internal.h"

_Static_assert(sizeof(struct tcu) == 160, "a fleet has very many");

static struct told {
    unsigned count;
    char reference[64];
    bool for_good;
} told;

static void server_reference(void *context, struct span reference, bool for_good)
{
    struct world *w = context;
    assert_false(w->dead);
    told.count++;
    told.for_good = for_good;
    snprintf(told.reference, sizeof(told.reference), "%.*s", (int)reference.length, (const char *)reference.data);
}

static struct world *vehicle(uint64_t seed)
{
    struct world *w = world_new(seed);
    memset(&told, 0, sizeof(told));
    w->port.server_reference = server_reference;
    return w;
}

static struct world *online(uint64_t seed)
{
    struct world *w = vehicle(seed);
    world_begin(w);
    world_start(w, TCU_DRIVING);
    world_run(w, 5 * US_PER_S);
    assert_int_equal(tcu_connection(w->tcu), TCU_ONLINE);
    return w;
}

static void send_away(struct world *w, uint8_t reason, const char *reference)
{
    struct mq5_packet packet = {.type = MQ5_DISCONNECT};
    packet.disconnect.reason = reason;
    if (reference) {
        packet.disconnect.properties.present = MQ5_BIT(MQ5_SERVER_REFERENCE);
        packet.disconnect.properties.server_reference = span_text(reference);
    }
    world_send(w, &packet);
    world_broker_drop(w, false);
}

/* From the end of a connection, or of an attempt, to the next attempt. */
static int64_t wait_after(struct world *w, enum tcu_probe_kind end)
{
    unsigned ends = w->probes.count[end], attempts = w->probes.count[TCU_PROBE_CONNECT_BEGIN];
    while (w->probes.count[end] == ends)
        assert_true(world_step(w, w->now_us + 100 * US_PER_S));
    assert_int_equal(w->probes.count[TCU_PROBE_CONNECT_BEGIN], attempts);
    int64_t ended_us = w->now_us;
    while (w->probes.count[TCU_PROBE_CONNECT_BEGIN] == attempts)
        assert_true(world_step(w, w->now_us + 100 * US_PER_S));
    return w->now_us - ended_us;
}

static void sent_away_while_online(void **state)
{
    struct world *w = online(1);
    unsigned links = w->links_opened;
    send_away(w, MQ5_USE_ANOTHER_SERVER, "eu.example:8883");
    assert_int_equal(wait_after(w, TCU_PROBE_OFFLINE), 0);
    assert_int_equal(told.count, 1);
    assert_string_equal(told.reference, "eu.example:8883");
    assert_false(told.for_good);
    assert_int_equal(w->probes.reason[TCU_PROBE_OFFLINE], MQ5_USE_ANOTHER_SERVER);
    assert_int_equal(w->aborts, 0);
    world_run(w, 70 * US_PER_S);
    assert_int_equal(tcu_connection(w->tcu), TCU_ONLINE);
    assert_int_equal(w->links_opened, links + 1);
    send_away(w, MQ5_SERVER_MOVED, "us.example");
    assert_int_equal(wait_after(w, TCU_PROBE_OFFLINE), 0); /* the last time is long ago */
    assert_int_equal(told.count, 2);
    assert_string_equal(told.reference, "us.example");
    assert_true(told.for_good);
    world_run(w, 5 * US_PER_S);
    assert_int_equal(tcu_connection(w->tcu), TCU_ONLINE);
    world_run(w, 60 * US_PER_S);
    world_check_delivered(w);
    world_end(w);
}

static void sent_away_at_the_door(void **state)
{
    struct world *w = vehicle(2);
    w->refuse = 1;
    w->refuse_reason = MQ5_SERVER_MOVED;
    w->refuse_reference = "eu.example";
    world_begin(w);
    world_start(w, TCU_DRIVING);
    assert_int_equal(wait_after(w, TCU_PROBE_REFUSED), 0);
    assert_int_equal(told.count, 1);
    assert_string_equal(told.reference, "eu.example");
    assert_true(told.for_good);
    assert_int_equal(w->probes.reason[TCU_PROBE_REFUSED], MQ5_SERVER_MOVED);
    world_run(w, 2 * US_PER_S);
    assert_int_equal(tcu_connection(w->tcu), TCU_ONLINE);
    world_end(w);
}

/* The new one has none of the session: subscribed anew, and nothing is lost. */
static void the_other_server_knows_no_session(void **state)
{
    struct world *w = online(3);
    unsigned subscribes = w->subscribes;
    w->forget_session = true;
    send_away(w, MQ5_SERVER_MOVED, "eu.example");
    world_run(w, 30 * US_PER_S);
    assert_int_equal(tcu_connection(w->tcu), TCU_ONLINE);
    assert_int_equal(w->subscribes, subscribes + 1);
    world_command(w, 1);
    world_run(w, 5 * US_PER_S);
    assert_int_equal(w->executed[1], 1);
    world_check_delivered(w);
    world_end(w);
}

/* Two servers that each say it is the other: at once the first time, then within the windows of the back-off. */
static void no_ping_pong(void **state)
{
    enum { SEEDS = 50, TIMES = 12 };
    int64_t longest_us = 0;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct world *w = vehicle(seed);
        w->refuse = TIMES + 1;
        w->refuse_reason = MQ5_USE_ANOTHER_SERVER;
        w->refuse_reference = "the-other.example";
        world_begin(w);
        world_start(w, TCU_DRIVING);
        assert_int_equal(wait_after(w, TCU_PROBE_REFUSED), 0);
        for (unsigned n = 0; n < TIMES; n++) {
            int64_t window_us = US_PER_S << n < 60 * US_PER_S ? US_PER_S << n : 60 * US_PER_S;
            int64_t wait_us = wait_after(w, TCU_PROBE_REFUSED);
            assert_in_range(wait_us, 0, window_us);
            longest_us = wait_us > longest_us ? wait_us : longest_us;
        }
        assert_int_equal(told.count, TIMES + 1);
        world_run(w, 5 * US_PER_S);
        assert_int_equal(tcu_connection(w->tcu), TCU_ONLINE);
        world_end(w);
    }
    assert_true(longest_us > 50 * US_PER_S);
}

/* Online in between, but not for a minute: again within the window. */
static void a_short_stay_does_not_count(void **state)
{
    int64_t longest_us[2] = {0, 0};
    for (uint64_t seed = 1; seed <= 40; seed++) {
        for (unsigned lasts = 0; lasts < 2; lasts++) {
            struct world *w = online(seed);
            send_away(w, MQ5_USE_ANOTHER_SERVER, "b.example");
            assert_int_equal(wait_after(w, TCU_PROBE_OFFLINE), 0);
            while (tcu_connection(w->tcu) != TCU_ONLINE)
                assert_true(world_step(w, w->now_us + US_PER_S));
            world_run(w, (lasts ? 60 : 59) * US_PER_S);
            send_away(w, MQ5_USE_ANOTHER_SERVER, "a.example");
            int64_t wait_us = wait_after(w, TCU_PROBE_OFFLINE);
            longest_us[lasts] = wait_us > longest_us[lasts] ? wait_us : longest_us[lasts];
            world_end(w);
        }
    }
    assert_int_equal(longest_us[1], 0);
    assert_in_range(longest_us[0], 500 * US_PER_MS, US_PER_S);
}

/* Who has not been told where to, or cannot go there, waits as for any other refusal. */
static void nowhere_to_go(void **state)
{
    enum { PORT_CANNOT, NO_REFERENCE, EMPTY, OTHER_REASON, WAYS };
    for (unsigned way = 0; way < WAYS; way++) {
        int64_t longest_us = 0;
        for (uint64_t seed = 1; seed <= 20; seed++) {
            struct world *w = vehicle(seed);
            if (way == PORT_CANNOT)
                w->port.server_reference = NULL;
            w->refuse = 1;
            w->refuse_reason = way == OTHER_REASON ? MQ5_SERVER_BUSY : MQ5_USE_ANOTHER_SERVER;
            w->refuse_reference = way == NO_REFERENCE ? NULL : way == EMPTY ? "" : "eu.example";
            world_begin(w);
            world_start(w, TCU_DRIVING);
            int64_t at_door_us = wait_after(w, TCU_PROBE_REFUSED);
            world_run(w, 120 * US_PER_S);
            assert_int_equal(tcu_connection(w->tcu), TCU_ONLINE);
            send_away(w, w->refuse_reason, w->refuse_reference);
            int64_t online_us = wait_after(w, TCU_PROBE_OFFLINE);
            assert_in_range(at_door_us, 0, US_PER_S);
            assert_in_range(online_us, 0, US_PER_S);
            longest_us = at_door_us < online_us ? (longest_us > at_door_us ? longest_us : at_door_us)
                                                : (longest_us > online_us ? longest_us : online_us);
            assert_int_equal(told.count, 0);
            world_end(w);
        }
        assert_true(longest_us > 300 * US_PER_MS); /* both ends were waited after */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sent_away_while_online),
        cmocka_unit_test(sent_away_at_the_door),
        cmocka_unit_test(the_other_server_knows_no_session),
        cmocka_unit_test(no_ping_pong),
        cmocka_unit_test(a_short_stay_does_not_count),
        cmocka_unit_test(nowhere_to_go),
    };
    return world_both(tests);
}
