/* Commands: executed at most once whatever is repeated, answered until acknowledged, in 5 and in 3.1.1. */
#include "agent_world.h"

static const char usual[] = "cmd/VIN-0001/response";

static struct world *ready_as(uint64_t seed, uint8_t version)
{
    struct world *w = world_new(seed);
    w->profile.mqtt.version = version;
    world_begin(w);
    world_start(w, TCU_DRIVING);
    world_run(w, 5 * US_PER_S);
    assert_true(w->subscribed);
    return w;
}

static struct world *ready(uint64_t seed)
{
    return ready_as(seed, MQ5_V5);
}

static void executes_and_answers(void **state)
{
    struct world *w = ready(1);
    world_command(w, 7);
    world_run(w, US_PER_S);
    assert_int_equal(w->executed[7], 1);
    assert_int_equal(w->answered[7], 1);
    assert_string_equal(w->answer_topic, usual);
    char expected[128]; /* one link delay to arrive, 100 ms to execute */
    snprintf(expected, sizeof(expected), "{\"status\":\"succeeded\",\"command\":\"do-7\",\"ts\":%lld}",
             (long long)(WORLD_EPOCH_US + 5 * US_PER_S + 120 * US_PER_MS));
    assert_string_equal(w->answer_payload, expected);
    w->execute_fails = true;
    world_command(w, 8);
    world_run(w, US_PER_S);
    assert_string_equal(w->status[8], "failed");
    assert_int_equal(w->probes.count[TCU_PROBE_COMMAND_RECEIVED], 2);
    assert_int_equal(w->probes.count[TCU_PROBE_COMMAND_EXECUTED], 2);
    assert_int_equal(w->probes.count[TCU_PROBE_COMMAND_ANSWERED], 2);
    world_end(w);
}

static void any_response_topic_is_used(void **state)
{
    struct world *w = ready(2);
    world_ask(w, (struct world_command){.number = 1, .response_topic = "apps/17/answers"});
    world_run(w, US_PER_S);
    assert_string_equal(w->answer_topic, "apps/17/answers");
    world_ask(w, (struct world_command){.number = 2, .response_topic = NULL});
    world_run(w, US_PER_S);
    assert_string_equal(w->answer_topic, usual);
    assert_string_equal(w->status[2], "succeeded");
    world_end(w);
}

static void three_one_one_carries_the_id_in_the_payload(void **state)
{
    struct world *w = ready_as(3, MQ5_V311);
    world_command(w, 5);
    world_run(w, US_PER_S);
    assert_int_equal(w->executed[5], 1);
    assert_non_null(strstr(w->answer_payload, ",\"id\":\"c5\"}"));
    world_command(w, 5);
    world_run(w, US_PER_S);
    assert_int_equal(w->answered[5], 2);
    assert_int_equal(w->probes.count[TCU_PROBE_COMMAND_DUPLICATE], 1);
    world_end(w);
}

/* The same id: during execution, before the answer is acknowledged, and long after. */
static void a_repetition_is_answered_from_memory(void **state)
{
    struct world *w = ready(4);
    w->execute_us = 2 * US_PER_S;
    world_command(w, 9);
    world_run(w, US_PER_S);
    world_command(w, 9);
    world_run(w, 500 * US_PER_MS);
    assert_int_equal(w->answered[9], 0);
    world_run(w, 2 * US_PER_S);
    assert_int_equal(w->answered[9], 1);
    w->execute_fails = true; /* the remembered outcome counts */
    for (unsigned i = 0; i < 10; i++) {
        world_command(w, 9);
        world_run(w, US_PER_S);
        assert_int_equal(w->answered[9], 2 + i);
        assert_string_equal(w->status[9], "succeeded");
    }
    assert_int_equal(w->probes.count[TCU_PROBE_COMMAND_DUPLICATE], 11);
    w->swallow_acks = true;
    world_command(w, 9);
    world_run(w, US_PER_S);
    world_command(w, 10);
    world_run(w, 5 * US_PER_S);
    world_command(w, 10); /* its answer is in flight already */
    world_run(w, US_PER_S);
    assert_int_equal(w->answered[10], 1);
    world_end(w);
}

/* Eight ids are remembered; those in execution are never pushed out. */
static void at_least_eight_ids_are_remembered(void **state)
{
    struct world *w = ready(5);
    w->execute_us = 100 * US_PER_S;
    world_command(w, 100);
    world_run(w, US_PER_S);
    w->execute_us = 10 * US_PER_MS;
    for (uint32_t i = 0; i < 30; i++) {
        world_command(w, 200 + i);
        world_run(w, US_PER_S);
        for (uint32_t back = 0; back < 7 && back <= i; back++) {
            world_command(w, 200 + i - back);
            world_run(w, US_PER_S / 4);
        }
        world_command(w, 100);
        world_run(w, US_PER_S);
    }
    world_run(w, 60 * US_PER_S);
    assert_int_equal(w->executed[100], 1);
    assert_string_equal(w->status[100], "succeeded");
    assert_int_equal(w->answered[215], 8);
    world_end(w);
}

static void the_fifth_is_told_busy_and_may_come_again(void **state)
{
    struct world *w = ready(6);
    w->execute_us = 3 * US_PER_S;
    for (uint32_t i = 1; i <= 6; i++)
        world_command(w, i);
    world_run(w, US_PER_S);
    assert_string_equal(w->status[5], "busy");
    assert_string_equal(w->status[6], "busy");
    assert_int_equal(w->answered[1], 0);
    world_run(w, 5 * US_PER_S);
    for (uint32_t i = 1; i <= 4; i++)
        assert_string_equal(w->status[i], "succeeded");
    world_command(w, 5);
    world_run(w, 5 * US_PER_S);
    assert_int_equal(w->executed[5], 1);
    assert_string_equal(w->status[5], "succeeded");
    assert_int_equal(w->executed[6], 0);
    world_end(w);
}

static void slots_share_their_text(void **state)
{
    static char topics[4][80];
    struct world *w = ready(7);
    w->execute_us = 2 * US_PER_S;
    for (uint32_t i = 0; i < 4; i++) { /* 40 + id + name each: three fit */
        snprintf(topics[i], sizeof(topics[i]), "answers/%036u", i);
        world_ask(w, (struct world_command){.number = 20 + i, .response_topic = topics[i]});
        world_run(w, 100 * US_PER_MS);
    }
    world_run(w, US_PER_S);
    assert_string_equal(w->status[23], "busy");
    assert_string_equal(w->answer_topic, topics[3]);
    for (uint32_t i = 0; i < 3; i++) { /* finished one after the other: the text of the rest moves up */
        while (w->answered[20 + i] == 0)
            assert_true(world_step(w, w->now_us + 10 * US_PER_S));
        assert_string_equal(w->answer_topic, topics[i]);
        assert_string_equal(w->status[20 + i], "succeeded");
    }
    static char endless[201];
    memset(endless, 'e', 200);
    w->profile.mqtt.maximum_packet_size = 400;
    world_ask(w, (struct world_command){.number = 30, .response_topic = endless});
    world_run(w, US_PER_S);
    assert_string_equal(w->status[30], "rejected");
    assert_int_equal(w->executed[30], 0);
    world_end(w);
}

static void what_must_not_run_does_not(void **state)
{
    struct world *w = ready(8);
    world_ask(w, (struct world_command){.number = 1, .response_topic = usual, .retained = true});
    world_ask(w, (struct world_command){.number = 2, .response_topic = usual, .expired = true});
    world_run(w, US_PER_S);
    assert_string_equal(w->status[1], "rejected");
    assert_string_equal(w->status[2], "expired");
    world_command(w, 2); /* was called expired: stays so */
    world_run(w, US_PER_S);
    assert_int_equal(w->answered[2], 2);
    assert_string_equal(w->status[2], "expired");
    world_command(w, 1); /* was never asked before in earnest */
    world_run(w, US_PER_S);
    assert_int_equal(w->executed[1], 1);
    assert_int_equal(w->executed[2], 0);
    world_end(w);
}

static void send_raw(struct world *w, const char *topic, const char *payload, bool dup, uint16_t id)
{
    struct mq5_packet packet = {.type = MQ5_PUBLISH};
    packet.publish.topic = span_text(topic);
    packet.publish.payload = span_text(payload);
    packet.publish.qos = 1;
    packet.publish.packet_id = id;
    packet.publish.dup = dup;
    packet.publish.properties.present = MQ5_BIT(MQ5_RESPONSE_TOPIC);
    packet.publish.properties.response_topic = SPAN_LITERAL("x/response");
    world_send(w, &packet);
    world_run(w, US_PER_S);
}

static void requests_without_an_id(void **state)
{
    struct world *w = ready(9);
    send_raw(w, "cmd/VIN-0001/request", "do-40", false, 900); /* bare text, as a person types it */
    assert_int_equal(w->executed[40], 1);
    assert_string_equal(w->answer_topic, "x/response");
    assert_non_null(strstr(w->answer_payload, "\"succeeded\",\"command\":\"do-40\""));
    send_raw(w, "cmd/VIN-0001/request", "do-41", true, 901); /* a repetition of what? */
    assert_int_equal(w->executed[41], 0);
    assert_non_null(strstr(w->answer_payload, "\"rejected\""));
    send_raw(w, "cmd/VIN-0001/request", "{\"speed\":3}", false, 902);
    assert_non_null(strstr(w->answer_payload, "{\"status\":\"rejected\",\"command\":\"\""));
    unsigned publishes = w->publishes;
    send_raw(w, "cmd/VIN-0002/request", "do-42", false, 903); /* not ours */
    assert_int_equal(w->executed[42], 0);
    assert_int_equal(w->publishes, publishes);
    world_end(w);
}

static void an_unusable_response_topic_is_given_up(void **state)
{
    struct world *w = ready(10);
    w->profile.mqtt.scratch = w->scratch + 1024; /* an answer this long cannot be encoded */
    w->profile.mqtt.scratch_size = 60;
    world_command(w, 3);
    world_run(w, 300 * US_PER_MS);
    w->profile.mqtt.scratch = NULL;
    world_run(w, 2 * US_PER_S);
    assert_int_equal(w->executed[3], 1);
    assert_int_equal(w->answered[3], 0);
    world_command(w, 3);
    world_run(w, US_PER_S);
    assert_string_equal(w->status[3], "succeeded");
    world_end(w);
}

/* Answers in flight when the link goes are resent; requests in flight come again with DUP. */
static void answers_survive_reconnects(void **state)
{
    for (unsigned forget = 0; forget < 2; forget++) {
        struct world *w = ready(11);
        w->swallow_acks = true;
        world_command(w, 50);
        world_run(w, US_PER_S);
        w->forget_session = forget;
        world_cut_link(w);
        world_run(w, 5 * US_PER_S);
        assert_int_equal(w->answered[50], 2);
        w->swallow_acks = false;
        world_cut_link(w);
        world_run(w, 5 * US_PER_S);
        assert_int_equal(w->executed[50], 1);
        assert_int_equal(w->answered[50], 3);
        world_cut_link(w);
        world_run(w, 5 * US_PER_S);
        assert_int_equal(w->answered[50], 3);
        world_end(w);
    }
}

/* The link is cut at every millisecond of a command's life; the application asks again afterwards. */
static void cut_at_every_moment(void **state)
{
    for (unsigned ms = 0; ms < 200; ms++) {
        struct world *w = ready(12);
        w->latency_us = 10 * US_PER_MS;
        w->execute_us = 50 * US_PER_MS;
        world_command(w, 60);
        world_run(w, ms * US_PER_MS);
        world_cut_link(w);
        world_run(w, 5 * US_PER_S);
        world_command(w, 60);
        world_run(w, 5 * US_PER_S);
        assert_int_equal(w->executed[60], 1);
        assert_in_range(w->answered[60], 1, 3);
        assert_string_equal(w->status[60], "succeeded");
        world_end(w);
    }
}

static void overdue_answers_end_the_connection(void **state)
{
    struct world *w = world_new(13);
    w->profile.power[TCU_DRIVING].telemetry_period_us = 0;
    world_begin(w);
    world_start(w, TCU_DRIVING);
    world_run(w, US_PER_S);
    w->swallow_acks = true;
    world_command(w, 1);
    world_run(w, 31 * US_PER_S);
    assert_int_equal(w->probes.count[TCU_PROBE_OFFLINE], 1);
    w->swallow_acks = false;
    world_run(w, 10 * US_PER_S);
    assert_int_equal(w->answered[1], 2);
    assert_int_equal(w->executed[1], 1);
    world_end(w);
}

/* Without a record of the id nobody could promise "never twice". */
static void a_store_that_fails_rejects(void **state)
{
    struct world *w = ready(14);
    w->store_fails = true;
    world_command(w, 1);
    world_run(w, US_PER_S);
    assert_string_equal(w->status[1], "rejected");
    assert_int_equal(w->executed[1], 0);
    w->store_fails = false;
    world_command(w, 1);
    world_run(w, US_PER_S);
    assert_string_equal(w->status[1], "succeeded");
    world_end(w);
}

static void late_executions_are_nobodys(void **state)
{
    struct world *w = ready(15);
    tcu_executed(w->tcu, w->now_us, 0, true);
    tcu_executed(w->tcu, w->now_us, 99, true);
    assert_int_equal(w->probes.count[TCU_PROBE_COMMAND_EXECUTED], 0);
    w->car_hangs = true;
    world_command(w, 1);
    world_run(w, 500 * US_PER_S); /* a car that never answers takes a slot, no more */
    w->car_hangs = false;
    world_command(w, 2);
    world_run(w, US_PER_S);
    assert_string_equal(w->status[2], "succeeded");
    world_end(w);
}

/* Under way when the power goes: never run again, answered "failed", and no burden on what comes after. */
static void commands_under_way_at_a_power_cut(void **state)
{
    struct world *w = ready(18);
    w->car_hangs = true;
    for (uint32_t cycle = 0; cycle < 4; cycle++) {
        for (uint32_t i = 0; i < 4; i++)
            world_command(w, 10 * cycle + i + 1);
        world_run(w, US_PER_S);
        assert_int_equal(w->executed[10 * cycle + 4], 1);
        world_power_cut(w);
        world_start(w, TCU_DRIVING);
        world_run(w, 5 * US_PER_S);
        world_command(w, 10 * cycle + 2);
        world_run(w, US_PER_S);
        assert_string_equal(w->status[10 * cycle + 2], "failed");
    }
    w->car_hangs = false;
    for (uint32_t i = 100; i < 120; i++) {
        world_command(w, i);
        world_run(w, US_PER_S);
        assert_string_equal(w->status[i], "succeeded");
    }
    world_end(w);
}

static void no_command_topic_no_subscription(void **state)
{
    struct world *w = world_new(16);
    w->profile.topics.command_request[0] = 0;
    world_begin(w);
    world_start(w, TCU_DRIVING);
    world_run(w, 5 * US_PER_S);
    assert_int_equal(w->subscribes, 0);
    send_raw(w, "cmd/VIN-0001/request", "do-1", false, 5);
    assert_int_equal(w->executed[1], 0);
    world_end(w);
}

static void a_peer_without_qos_1_gets_answers_all_the_same(void **state)
{
    struct world *w = world_new(17);
    w->maximum_qos = 0;
    world_begin(w);
    world_start(w, TCU_DRIVING);
    world_run(w, 5 * US_PER_S);
    for (uint32_t i = 1; i < 9; i++) {
        world_command(w, i);
        world_run(w, US_PER_S);
        assert_string_equal(w->status[i], "succeeded");
    }
    assert_int_equal(w->probes.count[TCU_PROBE_COMMAND_ANSWERED], 8);
    world_end(w);
}

/* Without memory a command is answered "busy" and may be asked again; with just enough for its slot but not for remembering it, it is
 * rejected, for it could run twice. After a power cut a vehicle that cannot remember stays off. */
static void without_memory_nothing_runs_twice(void **state)
{
    if (!world_on_demand)
        return;
    struct world *w = ready_as(41, MQ5_V5);
    w->no_memory = true;
    world_command(w, 1);
    world_run(w, 2 * US_PER_S);
    assert_int_equal(w->executed[1], 0);
    assert_string_equal(w->status[1], "busy");
    w->no_memory = false;
    w->blocks_left = 1;
    world_command(w, 2);
    world_run(w, 2 * US_PER_S);
    w->blocks_left = 0;
    assert_int_equal(w->executed[2], 0);
    assert_string_equal(w->status[2], "rejected");
    world_command(w, 1);
    world_run(w, 2 * US_PER_S);
    assert_int_equal(w->executed[1], 1);
    assert_string_equal(w->status[1], "succeeded");
    world_power_cut(w);
    assert_int_equal(w->blocks, 0);
    w->no_memory = true;
    world_start(w, TCU_DRIVING);
    assert_int_equal(tcu_connection(w->tcu), TCU_OFF);
    w->no_memory = false;
    world_start(w, TCU_DRIVING);
    world_run(w, 30 * US_PER_S);
    world_command(w, 1);
    world_run(w, 2 * US_PER_S);
    assert_int_equal(w->executed[1], 1);
    world_end(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(executes_and_answers),
        cmocka_unit_test(any_response_topic_is_used),
        cmocka_unit_test(three_one_one_carries_the_id_in_the_payload),
        cmocka_unit_test(a_repetition_is_answered_from_memory),
        cmocka_unit_test(at_least_eight_ids_are_remembered),
        cmocka_unit_test(the_fifth_is_told_busy_and_may_come_again),
        cmocka_unit_test(slots_share_their_text),
        cmocka_unit_test(what_must_not_run_does_not),
        cmocka_unit_test(requests_without_an_id),
        cmocka_unit_test(an_unusable_response_topic_is_given_up),
        cmocka_unit_test(answers_survive_reconnects),
        cmocka_unit_test(cut_at_every_moment),
        cmocka_unit_test(overdue_answers_end_the_connection),
        cmocka_unit_test(a_store_that_fails_rejects),
        cmocka_unit_test(late_executions_are_nobodys),
        cmocka_unit_test(commands_under_way_at_a_power_cut),
        cmocka_unit_test(no_command_topic_no_subscription),
        cmocka_unit_test(a_peer_without_qos_1_gets_answers_all_the_same),
        cmocka_unit_test(without_memory_nothing_runs_twice),
    };
    return world_both(tests);
}
