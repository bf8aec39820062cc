/* Telemetry: due times, queue, drop rules, windows, acknowledgements in any order, loss and doubt. */
#include "agent_world.h"

static struct world *driving(uint64_t seed)
{
    struct world *w = world_new(seed);
    world_begin(w);
    world_start(w, TCU_DRIVING);
    return w;
}

static void due_times_are_absolute(void **state)
{
    struct world *w = driving(1);
    world_run(w, 95 * US_PER_S);
    for (unsigned i = 1; i <= 10; i++)
        assert_int_equal(w->intended_at_us[i], (i - 1) * 10 * US_PER_S);
    /* A world that overslept: everything due meanwhile is reported, as of when it was meant. */
    w->now_us += 42 * US_PER_S;
    tcu_tick(w->tcu, w->now_us);
    assert_int_equal(tcu_telemetry_number(w->tcu), 14);
    assert_int_equal(w->intended_at_us[12], 110 * US_PER_S);
    world_run(w, 8 * US_PER_S);
    assert_int_equal(w->intended_at_us[15], 140 * US_PER_S);
    world_check_delivered(w);
    world_end(w);
}

static void the_topic_is_named_once(void **state)
{
    struct world *w = driving(2);
    world_run(w, 105 * US_PER_S);
    assert_int_equal(w->publishes, 11);
    assert_int_equal(w->aliased, 10);
    world_end(w);
    w = world_new(2);
    w->profile.alias_slots = 0;
    world_begin(w);
    world_start(w, TCU_DRIVING);
    world_run(w, 105 * US_PER_S);
    assert_int_equal(w->aliased, 0);
    world_end(w);
}

static void empty_strings_are_no_properties(void **state)
{
    struct world *w = world_new(3);
    w->profile.firmware[0] = w->profile.schema[0] = w->profile.encoding[0] = 0;
    world_begin(w);
    world_start(w, TCU_DRIVING);
    world_run(w, 5 * US_PER_S);
    assert_string_equal(w->last_user, "");
    assert_int_equal(w->received[1], 1);
    world_end(w);
}

/* Offline for 400 s at one message every 10 s: 40 messages into 32 places. */
static void a_full_queue_drops_by_the_rule(void **state)
{
    for (unsigned rule = TCU_DROP_OLDEST; rule <= TCU_DROP_NEWEST; rule++) {
        struct world *w = world_new(4);
        w->profile.drop_rule = (enum tcu_drop_rule)rule;
        w->link_hangs = true;
        world_begin(w);
        world_start(w, TCU_DRIVING);
        world_run(w, 395 * US_PER_S);
        assert_int_equal(tcu_telemetry_number(w->tcu), 40);
        assert_int_equal(tcu_telemetry_pending(w->tcu), 32);
        for (unsigned i = 1; i <= 40; i++)
            assert_int_equal(w->dropped[i], rule == TCU_DROP_OLDEST ? i <= 8 : i > 32);
        w->link_hangs = false;
        world_run(w, 150 * US_PER_S);
        assert_int_equal(world_missing(w), 0);
        world_check_delivered(w);
        world_end(w);
    }
}

/* What is in flight may have arrived: it is not dropped, the new one is. */
static void messages_in_flight_are_never_dropped(void **state)
{
    struct world *w = world_new(5);
    w->profile.queue_capacity = 4;
    w->profile.acknowledge_timeout_us = 0;
    w->swallow_acks = true;
    world_begin(w);
    world_start(w, TCU_DRIVING);
    world_run(w, 75 * US_PER_S);
    for (unsigned i = 1; i <= 8; i++)
        assert_int_equal(w->dropped[i], i > 4);
    assert_int_equal(world_missing(w), 0);
    world_end(w);
}

/* With two in flight and two waiting, the oldest waiting one goes; the ring turns through every offset. */
static void the_oldest_unsent_gives_way_to_the_newest(void **state)
{
    struct world *w = world_new(6);
    w->profile.queue_capacity = 4;
    w->profile.acknowledge_timeout_us = 0;
    w->receive_maximum = 2;
    world_begin(w);
    world_start(w, TCU_DRIVING);
    for (unsigned round = 0; round < 7; round++) {
        world_run(w, 5 * US_PER_S);
        uint32_t first = tcu_telemetry_number(w->tcu) + 1;
        w->swallow_acks = true;
        world_run(w, 60 * US_PER_S); /* first .. first+5 */
        assert_true(w->received[first] && w->received[first + 1]);
        assert_true(w->dropped[first + 2] && w->dropped[first + 3]);
        assert_int_equal(tcu_telemetry_pending(w->tcu), 4);
        w->swallow_acks = false;
        world_cut_link(w);
        world_run(w, 5 * US_PER_S + round * 10 * US_PER_S);
        world_check_delivered(w);
    }
    world_end(w);
}

static void the_peers_window_is_kept(void **state)
{
    struct world *w = world_new(7);
    w->link_hangs = true;
    w->receive_maximum = 3;
    w->swallow_acks = true;
    world_begin(w);
    world_start(w, TCU_DRIVING);
    world_run(w, 200 * US_PER_S);
    w->link_hangs = false;
    while (tcu_connection(w->tcu) != TCU_ONLINE)
        world_step(w, w->now_us + 100 * US_PER_S);
    world_run(w, 5 * US_PER_S);
    assert_int_equal(w->publishes, 3);
    w->swallow_acks = false;
    world_run(w, 60 * US_PER_S);
    assert_int_equal(world_missing(w), 0);
    world_end(w);
}

static void acknowledgements_may_come_in_any_order(void **state)
{
    struct world *w = world_new(8);
    w->link_hangs = true;
    w->reverse_acks = true;
    w->profile.acknowledge_timeout_us = 0;
    world_begin(w);
    world_start(w, TCU_DRIVING);
    world_run(w, 200 * US_PER_S);
    w->link_hangs = false;
    world_run(w, 303 * US_PER_S);
    for (unsigned i = 1; i <= 51; i++)
        assert_int_equal(w->received[i], 1);
    assert_in_range(tcu_telemetry_pending(w->tcu), 0, 3); /* of which the broker still holds the acknowledgements */
    assert_int_equal(world_missing(w), 0);
    world_end(w);
}

/* Cut with messages in flight: they are resent with DUP, nothing is lost, and what was acknowledged is not sent
 * again. */
static void resume_loses_nothing(void **state)
{
    struct world *w = driving(9);
    unsigned resent = 0;
    for (unsigned i = 0; i < 40; i++) {
        w->swallow_acks = i % 2;
        world_run(w, 15 * US_PER_S);
        world_cut_link(w);
    }
    w->swallow_acks = false;
    world_run(w, 120 * US_PER_S);
    for (unsigned i = 1; i <= tcu_telemetry_number(w->tcu) - 1; i++) {
        assert_true(w->received[i] >= 1);
        assert_int_equal(w->acked[i], 1);
        resent += w->received[i] > 1;
    }
    assert_true(resent > 0 && w->dups >= resent);
    assert_true(w->probes.count[TCU_PROBE_TELEMETRY_SENT] > tcu_telemetry_number(w->tcu));
    world_end(w);
}

/* The broker forgot us: everything unacknowledged is published anew, in order. */
static void a_lost_session_loses_no_message(void **state)
{
    struct world *w = driving(10);
    w->profile.acknowledge_timeout_us = 0;
    for (unsigned i = 0; i < 20; i++) {
        w->swallow_acks = true;
        world_run(w, 35 * US_PER_S);
        w->forget_session = true;
        world_cut_link(w);
        world_run(w, 30 * US_PER_S);
        assert_true(w->subscribed);
        w->swallow_acks = false;
        world_cut_link(w);
        world_run(w, 30 * US_PER_S);
    }
    world_run(w, 105 * US_PER_S);
    assert_int_equal(world_missing(w), 0);
    for (unsigned i = 1; i < tcu_telemetry_number(w->tcu); i++)
        assert_int_equal(w->acked[i], 1);
    world_end(w);
}

static void overdue_acknowledgements_end_the_connection(void **state)
{
    struct world *w = driving(11);
    world_run(w, 25 * US_PER_S);
    w->swallow_acks = true; /* pings are still answered: only the agent can notice */
    world_run(w, 50 * US_PER_S);
    assert_int_equal(w->probes.count[TCU_PROBE_OFFLINE], 1);
    assert_int_equal(w->aborts, 1);
    assert_int_equal(w->connects, 2);
    w->swallow_acks = false;
    world_run(w, 100 * US_PER_S);
    assert_int_equal(tcu_connection(w->tcu), TCU_ONLINE);
    world_check_delivered(w);
    world_end(w);
}

static void a_refusing_puback_ends_the_message(void **state)
{
    struct world *w = world_new(12);
    w->telemetry_reason = MQ5_QUOTA_EXCEEDED;
    world_begin(w);
    world_start(w, TCU_DRIVING);
    world_run(w, 55 * US_PER_S);
    assert_int_equal(tcu_telemetry_pending(w->tcu), 0);
    assert_int_equal(w->probes.count[TCU_PROBE_TELEMETRY_ACKED], 6);
    assert_int_equal(w->probes.reason[TCU_PROBE_TELEMETRY_ACKED], MQ5_QUOTA_EXCEEDED);
    world_end(w);
}

static void qos_0_and_a_peer_that_takes_no_more(void **state)
{
    for (unsigned peer = 0; peer < 2; peer++) {
        struct world *w = world_new(13);
        if (peer)
            w->maximum_qos = 0; /* the profile asks for 1 */
        else
            w->profile.telemetry_qos = 0;
        snprintf(w->profile.topics.presence, sizeof(w->profile.topics.presence), "presence/%%");
        w->swallow_acks = true;
        world_begin(w);
        world_start(w, TCU_DRIVING);
        world_run(w, 3 * US_PER_S);
        w->swallow_acks = false;
        world_run(w, 52 * US_PER_S);
        assert_int_equal(tcu_telemetry_pending(w->tcu), 0);
        if (!peer) {
            assert_int_equal(w->probes.count[TCU_PROBE_TELEMETRY_ACKED], 6);
            assert_int_equal(world_missing(w), 0);
        }
        world_end(w);
    }
}

/* Telemetry larger than the session can encode is dropped with a word, and the rest of the agent lives on. */
/* On demand the queue doubles while the link is away and is given back when all has been sent; when there is no memory for a longer
 * one, the drop rule applies as if it were full. */
static void the_queue_takes_what_it_needs(void **state)
{
    if (!world_on_demand)
        return;
    struct world *w = world_new(31);
    w->link_hangs = true;
    world_begin(w);
    world_start(w, TCU_DRIVING);
    world_run(w, 5 * US_PER_S);
    assert_int_equal(w->blocks, 0);
    for (unsigned length = 2; length <= 16; length++) {
        world_run(w, 10 * US_PER_S);
        assert_int_equal(tcu_telemetry_pending(w->tcu), length);
        assert_int_equal(w->blocks, 1);
        assert_int_equal(w->block_bytes, 16 * (length <= 4 ? 4 : length <= 8 ? 8 : 16));
    }
    w->no_memory = true;
    world_run(w, 30 * US_PER_S);
    assert_int_equal(tcu_telemetry_pending(w->tcu), 16);
    for (unsigned i = 1; i <= 19; i++)
        assert_int_equal(w->dropped[i], i <= 3);
    w->link_hangs = false;
    world_run(w, 60 * US_PER_S);
    assert_int_equal(tcu_telemetry_pending(w->tcu), 0);
    assert_int_equal(w->blocks, 0);
    assert_int_equal(world_missing(w), 0);
    world_check_delivered(w);
    world_end(w);
}

static void a_message_that_cannot_be_sent_is_dropped(void **state)
{
    struct world *w = world_new(14);
    w->profile.mqtt.scratch = w->scratch + 1024;
    w->profile.mqtt.scratch_size = 60;
    w->profile.firmware[20] = 0;
    memset(w->profile.firmware, 'x', 20);
    world_begin(w);
    world_start(w, TCU_DRIVING);
    world_run(w, 25 * US_PER_S);
    assert_int_equal(tcu_connection(w->tcu), TCU_ONLINE);
    assert_int_equal(w->probes.count[TCU_PROBE_TELEMETRY_DROPPED], 3);
    assert_int_equal(w->probes.reason[TCU_PROBE_TELEMETRY_DROPPED], MQ5C_BAD);
    assert_int_equal(tcu_telemetry_pending(w->tcu), 0);
    world_end(w);
}

static void speaks_3_1_1(void **state)
{
    struct world *w = world_new(15);
    w->profile.mqtt.version = MQ5_V311;
    world_begin(w);
    world_start(w, TCU_DRIVING);
    world_run(w, 15 * US_PER_S);
    assert_int_equal(w->version, MQ5_V311);
    assert_false(w->clean_start);
    assert_string_equal(w->last_user, "");
    for (unsigned i = 0; i < 10; i++) {
        w->swallow_acks = i % 2;
        world_cut_link(w);
        world_run(w, 25 * US_PER_S);
    }
    w->swallow_acks = false;
    world_run(w, 103 * US_PER_S);
    assert_int_equal(w->subscribes, 1);
    assert_int_equal(world_missing(w), 0);
    world_end(w);
}

static void bytes_may_arrive_in_any_pieces(void **state)
{
    for (unsigned split = 1; split < 12; split++) {
        struct world *w = world_new(16);
        w->split = split;
        world_begin(w);
        world_start(w, TCU_DRIVING);
        world_run(w, 55 * US_PER_S);
        world_command(w, 3);
        world_run(w, 4 * US_PER_S);
        assert_int_equal(w->executed[3], 1);
        assert_string_equal(w->status[3], "succeeded");
        assert_int_equal(world_missing(w), 0);
        world_end(w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(due_times_are_absolute),
        cmocka_unit_test(the_topic_is_named_once),
        cmocka_unit_test(empty_strings_are_no_properties),
        cmocka_unit_test(a_full_queue_drops_by_the_rule),
        cmocka_unit_test(messages_in_flight_are_never_dropped),
        cmocka_unit_test(the_oldest_unsent_gives_way_to_the_newest),
        cmocka_unit_test(the_peers_window_is_kept),
        cmocka_unit_test(acknowledgements_may_come_in_any_order),
        cmocka_unit_test(resume_loses_nothing),
        cmocka_unit_test(a_lost_session_loses_no_message),
        cmocka_unit_test(overdue_acknowledgements_end_the_connection),
        cmocka_unit_test(a_refusing_puback_ends_the_message),
        cmocka_unit_test(qos_0_and_a_peer_that_takes_no_more),
        cmocka_unit_test(the_queue_takes_what_it_needs),
        cmocka_unit_test(a_message_that_cannot_be_sent_is_dropped),
        cmocka_unit_test(speaks_3_1_1),
        cmocka_unit_test(bytes_may_arrive_in_any_pieces),
    };
    return world_both(tests);
}
