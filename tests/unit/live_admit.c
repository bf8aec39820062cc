/* The live world's admission: lines keep their order while they grow, tokens keep the rate, nobody waits behind somebody who has left. */
#include "sim/worlds/live.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define VEHICLES 400

struct rig {
    struct live_world world;
    struct live_vehicle vehicles[VEHICLES];
    enum scenario_identity identity[1];
};

/* Vehicles whose broker has a name: an admitted one stands in the resolver's line, and nothing else happens. */
static struct rig *make_rig(double rate, uint32_t at_once)
{
    struct rig *rig = calloc(1, sizeof *rig);
    assert_non_null(rig);
    struct live_world *world = &rig->world;
    world->vehicles = rig->vehicles;
    world->identity = rig->identity;
    world->broker_count = 1;
    world->rate = rate;
    world->at_once = at_once;
    snprintf(world->brokers[0].doors[IDENTITY_NONE].host, sizeof world->brokers[0].doors[0].host, "broker.invalid");
    pthread_mutex_init(&world->resolver.lock, NULL);
    pthread_cond_init(&world->resolver.wake, NULL);
    for (uint32_t i = 0; i < VEHICLES; i++) {
        rig->vehicles[i] = (struct live_vehicle){.world = world, .index = i, .covered = true};
        live_link_init(&rig->vehicles[i]);
    }
    return rig;
}

static void free_rig(struct rig *rig)
{
    free(rig->world.line.tickets);
    free(rig->world.brokers[0].doors[IDENTITY_NONE].waiting.tickets);
    free(rig);
}

static void everybody_asks(struct rig *rig)
{
    for (uint32_t i = 0; i < VEHICLES; i++)
        live_link_open(&rig->vehicles[i]);
}

static uint32_t begun(const struct rig *rig)
{
    uint32_t count = 0;
    for (uint32_t i = 0; i < VEHICLES; i++)
        count += rig->vehicles[i].stage == STAGE_RESOLVING;
    return count;
}

static void line_keeps_order_while_it_grows(void **state)
{
    struct live_world world = {0};
    struct live_line line = {0};
    struct live_ticket ticket;
    uint32_t in = 0, out = 0;
    for (int round = 0; round < 50; round++) {
        for (int i = 0; i < 37; i++)
            assert_true(live_line_push(&world, &line, (struct live_ticket){.place = in++}));
        for (int i = 0; i < 29; i++) {
            assert_true(live_line_pop(&line, &ticket));
            assert_int_equal(ticket.place, out++);
        }
    }
    while (live_line_pop(&line, &ticket))
        assert_int_equal(ticket.place, out++);
    assert_int_equal(out, in);
    free(line.tickets);
}

static void tokens_keep_the_rate(void **state)
{
    struct rig *rig = make_rig(100, 1000);
    everybody_asks(rig);
    for (int64_t now_us = 0; now_us <= 2 * US_PER_S; now_us += 500) {
        rig->world.now_us = now_us;
        live_admit(&rig->world);
        assert_true(begun(rig) <= (uint32_t)(now_us / 10000));
    }
    assert_in_range(begun(rig), 199, 200);
    for (uint32_t i = 1; i < VEHICLES; i++) /* first come, first served */
        assert_true(rig->vehicles[i].stage != STAGE_RESOLVING || rig->vehicles[i - 1].stage == STAGE_RESOLVING);
    free_rig(rig);
}

static void no_burst_after_a_pause(void **state)
{
    struct rig *rig = make_rig(100, 8);
    rig->world.now_us = 60 * US_PER_S; /* nobody wanted anything for a minute */
    everybody_asks(rig);
    live_admit(&rig->world);
    assert_int_equal(begun(rig), 8);
    free_rig(rig);
}

static void only_so_many_at_once(void **state)
{
    struct rig *rig = make_rig(1e6, 3);
    everybody_asks(rig);
    rig->world.now_us = US_PER_S;
    live_admit(&rig->world);
    assert_int_equal(begun(rig), 3);
    assert_int_equal(live_admit_next(&rig->world), TIME_NEVER); /* time does not help, an end does */
    live_link_close(&rig->vehicles[1], true);
    assert_int_equal(rig->world.under_way, 2);
    int64_t next_us = live_admit_next(&rig->world);
    assert_in_range(next_us, US_PER_S, US_PER_S + 2);
    rig->world.now_us = next_us;
    live_admit(&rig->world);
    assert_int_equal(rig->vehicles[3].stage, STAGE_RESOLVING);
    assert_int_equal(rig->world.under_way, 3);
    free_rig(rig);
}

static void who_has_left_costs_nothing(void **state)
{
    struct rig *rig = make_rig(1, 10);
    everybody_asks(rig);
    for (uint32_t i = 0; i < 300; i++)
        live_link_close(&rig->vehicles[i], true);
    rig->world.now_us = US_PER_S;
    live_admit(&rig->world);
    assert_int_equal(begun(rig), 1);
    assert_int_equal(rig->vehicles[300].stage, STAGE_RESOLVING);
    assert_in_range(live_admit_next(&rig->world), 2 * US_PER_S, 2 * US_PER_S + 2);
    free_rig(rig);
}

static void one_question_for_all_who_wait(void **state)
{
    struct rig *rig = make_rig(1e6, 100);
    everybody_asks(rig);
    rig->world.now_us = US_PER_S;
    live_admit(&rig->world);
    assert_int_equal(begun(rig), 100);
    assert_int_equal(rig->world.resolver.asked_count, 1);
    assert_int_equal(rig->world.brokers[0].doors[IDENTITY_NONE].waiting.count, 100);
    free_rig(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(line_keeps_order_while_it_grows), cmocka_unit_test(tokens_keep_the_rate),
        cmocka_unit_test(no_burst_after_a_pause),          cmocka_unit_test(only_so_many_at_once),
        cmocka_unit_test(who_has_left_costs_nothing),      cmocka_unit_test(one_question_for_all_who_wait),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
