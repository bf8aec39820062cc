/* Many seeds, each a vehicle with its own profile and its own bad luck: links that fail, break, hang and reorder
 * nothing; a broker that refuses, forgets, goes silent and withholds acknowledgements; power cuts between and during
 * writes; ignition; applications that repeat themselves. Judged all along by agent_world.h, and at the end, when the
 * trouble has stopped: everything settles.
 *   - QoS 1: what was intended and not dropped with a word, nor lost with the power, has arrived at least once, in
 *     order.
 *   - No command was executed twice, and each one asked for after the trouble is executed and answered.
 * A failing seed is printed; CONVOY_SEED runs that one alone. */
#include "agent_world.h"

enum { SEEDS = 400, MINUTES = 12 };

static void draw_profile(struct world *w)
{
    struct tcu_profile *p = &w->profile;
    p->mqtt.version = world_below(w, 3) ? MQ5_V5 : MQ5_V311;
    p->mqtt.outgoing_maximum = (uint16_t)(1 + world_below(w, 8));
    p->queue_capacity = (uint16_t)(1 + world_below(w, 32));
    p->drop_rule = (enum tcu_drop_rule)world_below(w, 2);
    p->alias_slots = (uint8_t)world_below(w, 2);
    p->reconnect_on_power_change = world_below(w, 2);
    p->provisioning = (enum tcu_provisioning)world_below(w, 2);
    p->acknowledge_timeout_us = world_below(w, 4) ? (int64_t)(5 + world_below(w, 30)) * US_PER_S : 40 * US_PER_S;
    p->power[TCU_DRIVING].telemetry_period_us = (int64_t)(500 + world_below(w, 9500)) * US_PER_MS;
    if (world_below(w, 2))
        snprintf(p->topics.presence, sizeof(p->topics.presence), "presence/%%");
    w->receive_maximum = (uint16_t)(1 + world_below(w, 10));
    w->server_keep_alive_s = (uint16_t)(world_below(w, 2) * 20);
    w->latency_us = (int64_t)(1 + world_below(w, 300)) * US_PER_MS;
    w->jitter_us = world_below(w, 200000);
    w->memory_luck = world_on_demand ? world_below(w, 2) * 4 : 0;
    w->split = world_below(w, 2) * (1 + world_below(w, 30));
}

/* What was with the vehicle when the power went is gone without a word. */
static void forget_what_the_power_took(struct world *w)
{
    for (unsigned i = 1; i < WORLD_NUMBERS; i++)
        if (w->intended[i] && !w->received[i] && !w->dropped[i])
            w->dropped[i] = 1;
}

static void trouble(struct world *w, uint32_t *number)
{
    switch (world_below(w, 14)) {
    case 0:
    case 1: world_cut_link(w); break;
    case 2:
        w->fail_links = world_below(w, 4);
        w->fail_link = (enum tcu_link_end)world_below(w, 5);
        break;
    case 3: w->half_open = !w->half_open; break;
    case 4: w->swallow_acks = !w->swallow_acks; break;
    case 5: w->forget_session = true; break;
    case 6:
        w->refuse = world_below(w, 3);
        w->refuse_reason = w->profile.mqtt.version == MQ5_V5 ? MQ5_SERVER_BUSY : 3;
        break;
    case 7: w->refuse_silently = world_below(w, 3); break;
    case 8: tcu_ignition(w->tcu, w->now_us, world_below(w, 2)); break;
    case 9:
        if (world_below(w, 3) == 0) {
            world_power_cut(w);
            forget_what_the_power_took(w);
            for (unsigned i = 0; i < 1000 && tcu_connection(w->tcu) == TCU_OFF; i++)
                world_start(w, TCU_DRIVING); /* stays off for want of memory */
        }
        break;
    case 10: w->no_pingresp = !w->no_pingresp; break;
    case 11:
    case 12:
        if (*number + 1 < WORLD_COMMANDS)
            world_command(w, ++*number);
        break;
    case 13:
        if (*number > 0)
            world_command(w, *number - world_below(w, *number < 4 ? *number : 4));
        break;
    }
    w->execute_us = (int64_t)world_below(w, 3000) * US_PER_MS;
    w->http_failures = world_below(w, 2);
    w->http_status = 500;
}

static void calm(struct world *w)
{
    w->fail_links = w->refuse = w->refuse_silently = w->http_failures = 0;
    w->half_open = w->swallow_acks = w->forget_session = w->no_pingresp = false;
    w->execute_us = 100 * US_PER_MS;
    w->memory_luck = 0;
}

static void live(uint64_t seed)
{
    struct world *w = world_new(seed);
    uint32_t number = 0;
    draw_profile(w);
    world_begin(w);
    world_start(w, TCU_DRIVING);
    while (w->now_us < MINUTES * US_PER_MIN) {
        world_run(w, (int64_t)world_below(w, 8000) * US_PER_MS);
        trouble(w, &number);
    }
    calm(w);
    tcu_ignition(w->tcu, w->now_us, true);
    world_run(w, 4 * US_PER_MIN);
    assert_int_equal(tcu_connection(w->tcu), TCU_ONLINE);
    for (uint32_t i = 0; i < 20; i++) {
        world_command(w, WORLD_COMMANDS - 20 + i);
        world_run(w, 3 * US_PER_S);
        assert_int_equal(w->executed[WORLD_COMMANDS - 20 + i], 1);
        assert_string_equal(w->status[WORLD_COMMANDS - 20 + i], "succeeded");
    }
    tcu_ignition(w->tcu, w->now_us, false);
    world_run(w, US_PER_MIN);
    assert_int_equal(tcu_telemetry_pending(w->tcu), 0);
    assert_int_equal(world_missing(w), 0);
    world_end(w);
}

static void everything_settles_on_every_seed(void **state)
{
    const char *only = getenv("CONVOY_SEED");
    uint64_t first = only ? strtoull(only, NULL, 10) : 1, last = only ? first : SEEDS;
    for (uint64_t seed = first; seed <= last; seed++)
        live(seed);
}

static int name_the_seed(void **state)
{
    print_message("last seed: CONVOY_SEED=%llu, at %lld us\n", (unsigned long long)assert_context.seed,
                  (long long)assert_context.now_us);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_teardown(everything_settles_on_every_seed, name_the_seed)};
    return world_both(tests);
}
