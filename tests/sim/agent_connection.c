/* The connection's life: refused, timed out, cut, half open, resumed, kept alive. */
#include "agent_world.h"

#include "vehicle/agent/agent_internal.h"

static struct world *online(uint64_t seed)
{
    struct world *w = world_new(seed);
    world_begin(w);
    world_start(w, TCU_DRIVING);
    world_run(w, 5 * US_PER_S);
    assert_int_equal(tcu_connection(w->tcu), TCU_ONLINE);
    return w;
}

static void connects_subscribes_and_reports(void **state)
{
    struct world *w = online(1);
    assert_int_equal(w->connects, 1);
    assert_int_equal(w->subscribes, 1);
    assert_true(w->clean_start);
    assert_int_equal(w->keep_alive_s, 600); /* the longer of the two */
    assert_int_equal(w->received[1], 1);
    assert_string_equal(w->last_topic, "dt/VIN-0001/telemetry");
    assert_string_equal(w->last_user, "fw=1.4.2;schema=s7;enc=json;");
    assert_string_equal(w->last_payload, "{\"id\":\"VIN-0001\",\"n\":1,\"ts\":1700000000000000,\"v\":7}");
    assert_int_equal(w->identity, TCU_NO_IDENTITY);
    assert_true(span_equal(tcu_name(w->tcu), SPAN_LITERAL("VIN-0001")));
    world_end(w);
}

/* Waits are within [0, min(cap, base * 2^n)], spread over it, and the attempts never stop. */
static void backs_off_with_full_jitter(void **state)
{
    enum { SEEDS = 200, ATTEMPTS = 12 };
    double sum[ATTEMPTS] = {0};
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct world *w = world_new(seed);
        w->refuse = ATTEMPTS;
        w->refuse_reason = MQ5_SERVER_BUSY;
        world_begin(w);
        world_start(w, TCU_PARKED);
        int64_t lost_us = 0;
        for (unsigned n = 0; n < ATTEMPTS; n++) {
            while (w->probes.count[TCU_PROBE_REFUSED] == n)
                assert_true(world_step(w, INT64_C(100000) * US_PER_S));
            lost_us = w->now_us;
            assert_int_equal(w->probes.reason[TCU_PROBE_REFUSED], MQ5_SERVER_BUSY);
            assert_int_equal(tcu_connection(w->tcu), TCU_WAITING);
            while (tcu_connection(w->tcu) == TCU_WAITING)
                assert_true(world_step(w, INT64_C(100000) * US_PER_S));
            int64_t window_us = US_PER_S << n < 60 * US_PER_S ? US_PER_S << n : 60 * US_PER_S;
            assert_in_range(w->now_us - lost_us, 0, window_us);
            assert_int_equal(w->probes.last_number[TCU_PROBE_CONNECT_BEGIN], n + 2);
            sum[n] += (double)(w->now_us - lost_us) / (double)window_us;
        }
        world_run(w, 10 * US_PER_S);
        assert_int_equal(tcu_connection(w->tcu), TCU_ONLINE);
        world_end(w);
    }
    for (unsigned n = 0; n < ATTEMPTS; n++) /* the mean of 200 uniform draws: 0.5 +- 5 sigma */
        assert_true(sum[n] / SEEDS > 0.39 && sum[n] / SEEDS < 0.61);
}

static int64_t next_attempt_after(struct world *w, unsigned connects)
{
    while (w->connects == connects)
        assert_true(world_step(w, w->now_us + 1000 * US_PER_S));
    return w->now_us;
}

/* The window falls back to the base only after the connection has been up long enough. */
static void stability_resets_the_window(void **state)
{
    int64_t longest_us[2] = {0, 0};
    for (uint64_t seed = 1; seed <= 60; seed++) {
        for (unsigned stable = 0; stable < 2; stable++) {
            struct world *w = world_new(seed);
            w->refuse = 6;
            w->refuse_reason = MQ5_SERVER_UNAVAILABLE;
            world_begin(w);
            world_start(w, TCU_PARKED);
            while (tcu_connection(w->tcu) != TCU_ONLINE)
                assert_true(world_step(w, INT64_C(10000) * US_PER_S));
            world_run(w, (stable ? 61 : 59) * US_PER_S);
            int64_t cut_us = w->now_us;
            world_cut_link(w);
            int64_t wait_us = next_attempt_after(w, w->connects) - cut_us;
            longest_us[stable] = wait_us > longest_us[stable] ? wait_us : longest_us[stable];
            world_end(w);
        }
    }
    assert_in_range(longest_us[1], 0, 1100 * US_PER_MS); /* base, and the way to the broker */
    assert_in_range(longest_us[0], 20 * US_PER_S, 61 * US_PER_S);
}

static void every_kind_of_failure_comes_back(void **state)
{
    static const enum tcu_link_end ends[] = {TCU_LINK_LOST, TCU_LINK_RESOLVE_FAILED, TCU_LINK_CONNECT_FAILED,
                                             TCU_LINK_TLS_FAILED, TCU_LINK_PEER_CLOSED};
    for (unsigned i = 0; i < 5; i++) {
        struct world *w = world_new(i);
        w->fail_links = 3;
        w->fail_link = ends[i];
        world_begin(w);
        world_start(w, TCU_DRIVING);
        world_run(w, 60 * US_PER_S);
        assert_int_equal(tcu_connection(w->tcu), TCU_ONLINE);
        assert_int_equal(w->links_opened, 4);
        assert_int_equal(w->probes.count[TCU_PROBE_REFUSED], 3);
        assert_int_equal(w->probes.last_number[TCU_PROBE_REFUSED], ends[i]);
        world_end(w);
    }
}

static void a_link_that_never_comes_up_times_out(void **state)
{
    struct world *w = world_new(3);
    w->link_hangs = true;
    world_begin(w);
    world_start(w, TCU_DRIVING);
    world_run(w, 19 * US_PER_S);
    assert_int_equal(tcu_connection(w->tcu), TCU_CONNECTING);
    world_run(w, 1 * US_PER_S);
    assert_int_equal(w->probes.count[TCU_PROBE_REFUSED], 1);
    assert_int_equal(w->probes.reason[TCU_PROBE_REFUSED], MQ5_KEEP_ALIVE_TIMEOUT);
    assert_int_equal(w->aborts, 1);
    w->link_hangs = false;
    world_run(w, 60 * US_PER_S);
    assert_int_equal(tcu_connection(w->tcu), TCU_ONLINE);
    world_end(w);
}

static void a_connack_that_never_comes_times_out(void **state)
{
    struct world *w = world_new(4);
    w->half_open = true;
    world_begin(w);
    world_start(w, TCU_DRIVING);
    world_run(w, 21 * US_PER_S);
    assert_int_equal(w->probes.count[TCU_PROBE_REFUSED], 1);
    assert_int_equal(w->aborts, 1);
    w->half_open = false;
    world_run(w, 60 * US_PER_S);
    assert_int_equal(tcu_connection(w->tcu), TCU_ONLINE);
    world_end(w);
}

static void silence_of_the_broker_is_noticed(void **state)
{
    struct world *w = online(5);
    w->profile.acknowledge_timeout_us = 0; /* only the ping can notice */
    w->half_open = true;
    world_run(w, 95 * US_PER_S); /* 60 s quiet, 30 s for the answer */
    assert_int_equal(w->probes.count[TCU_PROBE_OFFLINE], 1);
    assert_int_equal(w->probes.reason[TCU_PROBE_OFFLINE], MQ5_KEEP_ALIVE_TIMEOUT);
    w->half_open = false;
    world_run(w, 125 * US_PER_S);
    assert_int_equal(tcu_connection(w->tcu), TCU_ONLINE);
    world_check_delivered(w);
    assert_int_equal(world_missing(w), 0);
    world_end(w);
}

static void resumes_without_subscribing_again(void **state)
{
    struct world *w = online(6);
    for (unsigned i = 0; i < 10; i++) {
        world_cut_link(w);
        world_run(w, 70 * US_PER_S);
        assert_int_equal(tcu_connection(w->tcu), TCU_ONLINE);
        assert_int_equal(w->probes.last_number[TCU_PROBE_ONLINE], 1);
        assert_false(w->clean_start);
    }
    assert_int_equal(w->subscribes, 1);
    w->forget_session = true;
    world_cut_link(w);
    world_run(w, 70 * US_PER_S);
    assert_int_equal(w->subscribes, 2);
    assert_int_equal(w->probes.last_number[TCU_PROBE_ONLINE], 0);
    world_check_delivered(w);
    world_end(w);
}

/* Found by the swarm: the broker loses the session, makes a new one, and its CONNACK gets lost. The next CONNACK
 * says "session present". */
static void a_session_made_unheard_is_subscribed_anew(void **state)
{
    struct world *w = online(22);
    world_run(w, 61 * US_PER_S);
    w->forget_session = true;
    world_cut_link(w);
    while (w->connects == 1)
        world_step(w, w->now_us + 100 * US_PER_S);
    assert_false(w->subscribed);
    world_cut_link(w); /* with the CONNACK on its way */
    world_run(w, 30 * US_PER_S);
    assert_int_equal(w->probes.last_number[TCU_PROBE_ONLINE], 1);
    assert_true(w->subscribed);
    world_end(w);
}

static void a_refused_subscription_is_asked_for_at_the_next_connection(void **state)
{
    struct world *w = world_new(7);
    w->suback_reason = MQ5_NOT_AUTHORIZED;
    world_begin(w);
    world_start(w, TCU_DRIVING);
    world_run(w, 100 * US_PER_S);
    assert_int_equal(w->subscribes, 1);
    assert_true(w->received[5]);
    w->suback_reason = MQ5_GRANTED_QOS_1;
    world_cut_link(w);
    world_run(w, 10 * US_PER_S);
    assert_int_equal(w->subscribes, 2);
    world_cut_link(w);
    world_run(w, 10 * US_PER_S);
    assert_int_equal(w->subscribes, 2);
    world_end(w);
}

/* Parked: as negotiated. Driving: pings at the driving state's interval over the same connection. */
static void ignition_changes_pings_and_period(void **state)
{
    struct world *w = world_new(8);
    w->profile.power[TCU_DRIVING].telemetry_period_us = 200 * US_PER_S;
    world_begin(w);
    world_start(w, TCU_PARKED);
    world_run(w, 1500 * US_PER_S);
    unsigned pings = w->pings;
    assert_int_equal(w->probes.count[TCU_PROBE_TELEMETRY_INTENDED], 6); /* 0, 300 ... 1500 */
    assert_int_equal(pings, 0);                                         /* telemetry is more often than that */
    tcu_ignition(w->tcu, w->now_us, true);
    assert_int_equal(tcu_power(w->tcu), TCU_DRIVING);
    assert_int_equal(w->intended_at_us[7], 1500 * US_PER_S); /* the change is reported at once */
    world_run(w, 1000 * US_PER_S);
    assert_int_equal(w->probes.count[TCU_PROBE_TELEMETRY_INTENDED], 6 + 6);
    assert_in_range(w->pings - pings, 14, 17); /* three in every 200 s of quiet */
    pings = w->pings;
    tcu_ignition(w->tcu, w->now_us, true); /* no news */
    tcu_ignition(w->tcu, w->now_us, false);
    world_run(w, 1000 * US_PER_S);
    assert_int_equal(w->pings, pings);
    assert_int_equal(w->connects, 1);
    assert_int_equal(w->probes.count[TCU_PROBE_POWER], 3);
    world_end(w);
}

static void ignition_may_ask_for_a_new_connect(void **state)
{
    struct world *w = world_new(9);
    w->profile.reconnect_on_power_change = true;
    world_begin(w);
    world_start(w, TCU_PARKED);
    world_run(w, 10 * US_PER_S);
    assert_int_equal(w->keep_alive_s, 600);
    tcu_ignition(w->tcu, w->now_us, true);
    world_run(w, 1 * US_PER_S);
    assert_int_equal(w->keep_alive_s, 60);
    assert_int_equal(w->connects, 2);
    assert_int_equal(w->disconnects, 1);
    assert_int_equal(tcu_connection(w->tcu), TCU_ONLINE);
    assert_int_equal(w->subscribes, 1);
    world_cut_link(w);
    tcu_ignition(w->tcu, w->now_us, false); /* while waiting: the next CONNECT has it */
    world_run(w, 10 * US_PER_S);
    assert_int_equal(w->keep_alive_s, 600);
    world_check_delivered(w);
    world_end(w);
}

static void the_servers_keep_alive_wins(void **state)
{
    struct world *w = world_new(10);
    w->profile.power[TCU_PARKED].telemetry_period_us = 0;
    w->server_keep_alive_s = 30;
    world_begin(w);
    world_start(w, TCU_PARKED);
    world_run(w, 305 * US_PER_S);
    assert_in_range(w->pings, 9, 10);
    assert_int_equal(w->probes.count[TCU_PROBE_TELEMETRY_INTENDED], 0);
    world_end(w);
}

static void presence_by_retained_messages_and_will(void **state)
{
    for (unsigned version = MQ5_V311; version <= MQ5_V5; version++) {
        struct world *w = world_new(11);
        w->profile.mqtt.version = (uint8_t)version;
        snprintf(w->profile.topics.presence, sizeof(w->profile.topics.presence), "presence/%%");
        world_begin(w);
        world_start(w, TCU_DRIVING);
        world_run(w, 5 * US_PER_S);
        assert_string_equal(w->presence, "online");
        assert_true(w->presence_retained && w->will);
        w->presence[0] = 0;
        world_cut_link(w);
        world_run(w, 5 * US_PER_S);
        assert_string_equal(w->presence, "online");
        tcu_stop(w->tcu, w->now_us);
        assert_string_equal(w->presence, "offline");
        assert_true(w->presence_retained);
        assert_false(w->will);
        assert_int_equal(w->deadline_us, TIME_NEVER);
        world_end(w);
    }
}

/* Not acknowledged before the link went: it is resent by the session, not published a second time. */
static void presence_survives_a_cut_and_a_lost_session(void **state)
{
    struct world *w = world_new(12);
    snprintf(w->profile.topics.presence, sizeof(w->profile.topics.presence), "presence/%%");
    w->swallow_acks = true;
    world_begin(w);
    world_start(w, TCU_DRIVING);
    for (unsigned i = 0; i < 20; i++) {
        world_run(w, 8 * US_PER_S);
        world_cut_link(w);
        w->forget_session = i % 3 == 0;
    }
    w->swallow_acks = false;
    world_run(w, 105 * US_PER_S);
    assert_string_equal(w->presence, "online");
    world_check_delivered(w);
    assert_int_equal(world_missing(w), 0);
    world_end(w);

    w = world_new(12); /* nothing but presence in flight, in the only place: doubt must end this connection too */
    snprintf(w->profile.topics.presence, sizeof(w->profile.topics.presence), "presence/%%");
    w->profile.mqtt.outgoing_maximum = 1;
    world_begin(w);
    world_start(w, TCU_DRIVING);
    world_run(w, 5 * US_PER_S);
    w->swallow_acks = true;
    world_cut_link(w);
    world_run(w, 5 * US_PER_S);
    w->swallow_acks = false;
    world_run(w, 103 * US_PER_S);
    world_check_delivered(w);
    assert_int_equal(world_missing(w), 0);
    world_end(w);

    w = world_new(13);
    snprintf(w->profile.topics.presence, sizeof(w->profile.topics.presence), "presence/%%");
    w->no_retain = true; /* then there is no presence, but everything else */
    w->refuse_silently = 0;
    world_begin(w);
    world_start(w, TCU_DRIVING);
    world_run(w, 100 * US_PER_S);
    assert_string_equal(w->presence, "");
    world_end(w);
}

static void stops_and_starts(void **state)
{
    struct world *w = online(14);
    world_cut_link(w);
    world_run(w, 200 * US_PER_MS);
    tcu_stop(w->tcu, w->now_us);
    assert_int_equal(tcu_connection(w->tcu), TCU_OFF);
    uint32_t number = tcu_telemetry_number(w->tcu);
    tcu_ignition(w->tcu, w->now_us, false);
    tcu_tick(w->tcu, w->now_us);
    world_run(w, 1000 * US_PER_S);
    assert_int_equal(tcu_telemetry_number(w->tcu), number);
    world_start(w, TCU_DRIVING);
    world_run(w, 65 * US_PER_S);
    assert_int_equal(tcu_connection(w->tcu), TCU_ONLINE);
    assert_int_equal(w->highest_received, tcu_telemetry_number(w->tcu)); /* no number skipped after a clean stop */
    for (uint32_t i = 1; i <= w->highest_received; i++)
        assert_true(w->intended[i]);
    world_start(w, TCU_PARKED); /* means nothing now */
    assert_int_equal(tcu_power(w->tcu), TCU_DRIVING);
    tcu_stop(w->tcu, w->now_us);
    assert_int_equal(w->disconnects, 1);
    tcu_stop(w->tcu, w->now_us);
    w->link_hangs = true;
    world_start(w, TCU_DRIVING); /* and in the middle of an attempt */
    assert_int_equal(tcu_connection(w->tcu), TCU_CONNECTING);
    tcu_stop(w->tcu, w->now_us);
    assert_int_equal(w->aborts, 1);
    world_end(w);
}

static void a_power_cut_keeps_the_session_and_the_numbers(void **state)
{
    struct world *w = online(15);
    world_run(w, 100 * US_PER_S);
    uint32_t before = tcu_telemetry_number(w->tcu);
    world_power_cut(w);
    world_run(w, 10 * US_PER_S);
    world_start(w, TCU_DRIVING);
    world_run(w, 30 * US_PER_S);
    assert_false(w->clean_start);
    assert_int_equal(w->probes.last_number[TCU_PROBE_ONLINE], 1);
    assert_true(tcu_telemetry_number(w->tcu) > before);
    assert_in_range(tcu_telemetry_number(w->tcu), before + 1, before + 300);
    world_end(w);
}

static void a_client_without_session_always_begins_clean(void **state)
{
    for (unsigned version = MQ5_V311; version <= MQ5_V5; version++) {
        struct world *w = world_new(16);
        w->profile.mqtt.version = (uint8_t)version;
        w->profile.session_expiry_s = 0;
        world_begin(w);
        world_start(w, TCU_DRIVING);
        world_run(w, 15 * US_PER_S);
        world_cut_link(w);
        world_run(w, 60 * US_PER_S);
        assert_true(w->clean_start);
        assert_int_equal(w->subscribes, 2);
        world_check_delivered(w);
        world_end(w);
    }
}

static void disconnected_by_the_server(void **state)
{
    struct world *w = online(17);
    struct mq5_packet packet = {.type = MQ5_DISCONNECT};
    packet.disconnect.reason = MQ5_SERVER_SHUTTING_DOWN;
    world_send(w, &packet);
    world_run(w, 50 * US_PER_MS);
    assert_int_equal(w->probes.reason[TCU_PROBE_OFFLINE], MQ5_SERVER_SHUTTING_DOWN);
    world_run(w, 10 * US_PER_S);
    assert_int_equal(tcu_connection(w->tcu), TCU_ONLINE);
    /* Nonsense from the server: the vehicle says why and comes back. */
    static const uint8_t nonsense[] = {0xF7, 0x00};
    tcu_bytes(w->tcu, w->now_us, nonsense, sizeof(nonsense));
    assert_int_equal(tcu_connection(w->tcu), TCU_WAITING);
    assert_int_equal(w->probes.count[TCU_PROBE_OFFLINE], 2);
    assert_int_equal(w->disconnects, 1);                      /* it has arrived: the link was not cut under it */
    tcu_bytes(w->tcu, w->now_us, nonsense, sizeof(nonsense)); /* late bytes are nobody's */
    world_run(w, 100 * US_PER_S);
    assert_int_equal(tcu_connection(w->tcu), TCU_ONLINE);
    world_end(w);
}

static void credentials_go_out(void **state)
{
    struct world *w = world_new(18);
    snprintf(w->profile.user_name, sizeof(w->profile.user_name), "%%");
    snprintf(w->profile.password, sizeof(w->profile.password), "secret");
    world_begin(w);
    struct mq5_client_connect connect;
    struct mq5_publish will;
    char buffer[AGENT_CONNECT_BYTES];
    agent_connect_fill(w->tcu, &connect, &will, buffer);
    assert_true(span_equal(connect.user_name, SPAN_LITERAL("VIN-0001")));
    assert_true(span_equal(connect.password, SPAN_LITERAL("secret")));
    snprintf(w->profile.user_name, sizeof(w->profile.user_name), "fleet");
    agent_connect_fill(w->tcu, &connect, &will, buffer);
    assert_true(span_equal(connect.user_name, SPAN_LITERAL("fleet")));
    world_end(w);
}

/* A CONNECT that cannot be encoded is an attempt that failed, not a crash. */
static void an_impossible_connect_backs_off(void **state)
{
    struct world *w = world_new(19);
    world_begin(w);
    w->profile.mqtt.scratch = w->scratch + 1024;
    w->profile.mqtt.scratch_size = 8;
    world_start(w, TCU_DRIVING);
    world_run(w, 3 * US_PER_S);
    assert_true(w->probes.count[TCU_PROBE_REFUSED] >= 1);
    assert_int_equal(w->probes.reason[TCU_PROBE_REFUSED], MQ5_IMPLEMENTATION_SPECIFIC_ERROR);
    assert_int_equal(w->connects, 0);
    world_end(w);
}

static bool swallow_first_connack(void *context, const struct mq5_packet *packet)
{
    struct world *w = context;
    return packet->type != MQ5_CONNACK || w->connects > 1;
}

static void the_port_may_swallow_packets(void **state)
{
    struct world *w = world_new(20);
    w->port.inbound = swallow_first_connack;
    world_begin(w);
    world_start(w, TCU_DRIVING);
    world_run(w, 15 * US_PER_S);
    assert_int_equal(tcu_connection(w->tcu), TCU_CONNECTING);
    world_run(w, 30 * US_PER_S);
    assert_int_equal(tcu_connection(w->tcu), TCU_ONLINE);
    world_end(w);
}

/* The figures the design asks for: on demand, an idle vehicle online; reserved, everything it may ever need. */
static void memory_per_vehicle(void **state)
{
    struct world *w = world_new(21);
    tcu_profile_prepare(&w->profile);
    assert_int_equal(sizeof(struct tcu), 160);
    assert_int_equal(sizeof(struct mq5_client), 96);
    assert_int_equal(sizeof(struct agent_record), 16);
    assert_true(offsetof(struct tcu, online_since_us) < 64);
    size_t fixed = sizeof(struct tcu) + sizeof(struct mq5_client);
    size_t often = sizeof(struct agent_recent) + sizeof(struct agent_slots) + 32 * sizeof(struct agent_record);
    assert_int_equal(tcu_memory(&w->profile, &w->port, true),
                     fixed + (world_on_demand ? 0 : often + mq5_client_memory(&w->profile.mqtt)));
    assert_int_equal(tcu_memory(&w->profile, &w->port, false),
                     sizeof(struct tcu) + sizeof(struct agent_other) + (world_on_demand ? 0 : often));
    free(w);
    /* The profile of scenarios/commute-peak.lua. */
    w = world_new(21);
    w->profile.queue_capacity = 64;
    w->profile.mqtt.receive_maximum = w->profile.mqtt.maximum_packet_size = 0;
    world_begin(w);
    print_message("an idle vehicle: %zu bytes\n", w->memory_size);
    assert_int_equal(w->memory_size, world_on_demand ? 256 : 2752);
    world_start(w, TCU_DRIVING);
    world_command(w, 1);
    world_run(w, 35 * US_PER_S);
    world_command(w, 2);
    world_run(w, 30 * US_PER_S);
    tcu_ignition(w->tcu, w->now_us, false);
    world_run(w, 30 * US_PER_S);
    assert_int_equal(tcu_connection(w->tcu), TCU_ONLINE);
    assert_int_equal(w->executed[2], 1); /* what stays is the outcome of its commands */
    assert_int_equal(w->block_bytes, world_on_demand ? sizeof(struct agent_recent) : 0);
    world_end(w);
}

static void the_same_seed_gives_the_same_hash(void **state)
{
    uint64_t hash[3];
    for (unsigned i = 0; i < 3; i++) {
        struct world *w = world_new(i == 2 ? 23 : 22);
        w->jitter_us = 50 * US_PER_MS;
        w->refuse = 3;
        w->refuse_reason = MQ5_SERVER_BUSY;
        world_begin(w);
        world_start(w, TCU_DRIVING);
        world_run(w, 3 * US_PER_S);
        world_command(w, 1);
        world_run(w, 97 * US_PER_S);
        world_cut_link(w);
        hash[i] = tcu_state_hash(w->tcu);
        world_end(w);
    }
    assert_true(hash[0] == hash[1]);
    assert_true(hash[0] != hash[2]);
}

/* The broker keeps the session of a car that drives for 10 minutes, of a parked one for two hours. */
static void a_session_lasts_as_the_power_state_says(void **state)
{
    struct world *w = world_new(77);
    w->profile.power[TCU_DRIVING].session_expiry_s = 600;
    w->profile.power[TCU_PARKED].session_expiry_s = 7200;
    world_begin(w);
    world_start(w, TCU_DRIVING);
    world_run(w, 5 * US_PER_S);
    assert_int_equal(w->session_expiry_s, 600);
    tcu_ignition(w->tcu, w->now_us, false);
    world_run(w, US_PER_S);
    tcu_stop(w->tcu, w->now_us);
    world_run(w, US_PER_S);
    assert_int_equal(w->goodbye_expiry_s, 7200);
    world_start(w, TCU_PARKED);
    world_run(w, 5 * US_PER_S);
    assert_int_equal(w->session_expiry_s, 7200);
    tcu_stop(w->tcu, w->now_us);
    world_run(w, US_PER_S);
    assert_int_equal(w->goodbye_expiry_s, -1); /* it is in force */
    world_end(w);
    w = world_new(78);
    w->profile.power[TCU_PARKED].session_expiry_s = 7200; /* driving: the profile's */
    w->profile.power[TCU_PARKED].keep_alive_s = w->profile.power[TCU_DRIVING].keep_alive_s;
    w->profile.reconnect_on_power_change = true;
    world_begin(w);
    world_start(w, TCU_DRIVING);
    world_run(w, 5 * US_PER_S);
    assert_int_equal(w->session_expiry_s, 3600);
    tcu_ignition(w->tcu, w->now_us, false);
    world_run(w, 5 * US_PER_S);
    assert_int_equal(w->session_expiry_s, 7200);
    world_end(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(connects_subscribes_and_reports),
        cmocka_unit_test(backs_off_with_full_jitter),
        cmocka_unit_test(stability_resets_the_window),
        cmocka_unit_test(every_kind_of_failure_comes_back),
        cmocka_unit_test(a_link_that_never_comes_up_times_out),
        cmocka_unit_test(a_connack_that_never_comes_times_out),
        cmocka_unit_test(silence_of_the_broker_is_noticed),
        cmocka_unit_test(resumes_without_subscribing_again),
        cmocka_unit_test(a_session_made_unheard_is_subscribed_anew),
        cmocka_unit_test(a_refused_subscription_is_asked_for_at_the_next_connection),
        cmocka_unit_test(ignition_changes_pings_and_period),
        cmocka_unit_test(ignition_may_ask_for_a_new_connect),
        cmocka_unit_test(the_servers_keep_alive_wins),
        cmocka_unit_test(presence_by_retained_messages_and_will),
        cmocka_unit_test(presence_survives_a_cut_and_a_lost_session),
        cmocka_unit_test(stops_and_starts),
        cmocka_unit_test(a_power_cut_keeps_the_session_and_the_numbers),
        cmocka_unit_test(a_client_without_session_always_begins_clean),
        cmocka_unit_test(disconnected_by_the_server),
        cmocka_unit_test(credentials_go_out),
        cmocka_unit_test(an_impossible_connect_backs_off),
        cmocka_unit_test(the_port_may_swallow_packets),
        cmocka_unit_test(memory_per_vehicle),
        cmocka_unit_test(the_same_seed_gives_the_same_hash),
        cmocka_unit_test(a_session_lasts_as_the_power_state_says),
    };
    return world_both(tests);
}
