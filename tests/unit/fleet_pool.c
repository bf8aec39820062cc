/* Processors that share a subscription: what is in hand when one dies is not taken for done, and shares of the load are judged between changes. */
#include "sim/worlds/fleet_messages.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { VEHICLES = 10, HISTORY = 64 };

static struct scenario_cohort cohort = {.name = "car", .count = VEHICLES, .firmware_count = 1};

struct rig {
    struct scenario scenario;
    struct fleet fleet;
    struct fleet_pool *pool;
    char filter[FLEET_MEMBERS][160];
    bool open[FLEET_MEMBERS];
    uint32_t polite, rude, acknowledged;
    uint16_t last_acknowledged;
    uint32_t again; /* what an acknowledgement makes the broker send: into the same member */
    uint32_t sent;
};

static void take(struct rig *rig, uint32_t member, int64_t now_us);

static bool on_open(void *world, int64_t now_us, uint32_t member, const char *filter)
{
    struct rig *rig = world;
    assert_false(rig->open[member]);
    rig->open[member] = true;
    snprintf(rig->filter[member], sizeof(rig->filter[member]), "%s", filter ? filter : "");
    return true;
}

static void on_unsubscribe(void *world, int64_t now_us, uint32_t member)
{
    struct rig *rig = world;
    assert_true(rig->open[member]);
    rig->filter[member][0] = 0;
}

static void on_close(void *world, int64_t now_us, uint32_t member, bool politely)
{
    struct rig *rig = world;
    assert_true(rig->open[member]);
    rig->open[member] = false;
    *(politely ? &rig->polite : &rig->rude) += 1;
}

static void on_acknowledge(void *world, int64_t now_us, uint32_t member, uint16_t packet_id)
{
    struct rig *rig = world;
    rig->acknowledged++;
    rig->last_acknowledged = packet_id;
    if (rig->again) {
        rig->again--;
        take(rig, member, now_us);
    }
}

static const struct fleet_pool_ops ops = {on_open, on_unsubscribe, on_close, on_acknowledge};

static void open_rig(struct rig *rig)
{
    struct measure_options options = {.vehicles = VEHICLES, .cohorts = 1, .regions = 1, .duration_us = US_PER_HOUR};
    memset(rig, 0, sizeof(*rig));
    rig->scenario =
        (struct scenario){.fleet = VEHICLES, .cohorts = &cohort, .cohort_count = 1, .region_count = 1, .seed = 3};
    struct scenario_messages *messages = &rig->scenario.cloud.messages;
    messages->on = messages->processors = true;
    messages->group_count = 1;
    messages->groups[0] = (struct scenario_group){.name = "all", .members = 2};
    messages->commit_us = US_PER_S;
    messages->spread = 0.2;
    rig->fleet.scenario = &rig->scenario;
    rig->fleet.measure = measure_create(&options);
    snprintf(rig->fleet.topic_telemetry, sizeof(rig->fleet.topic_telemetry), "dt/%%/telemetry");
}

static void begin(struct rig *rig)
{
    rig->pool = calloc(1, sizeof(*rig->pool));
    assert_true(fleet_pool_open(rig->pool, &rig->fleet, &ops, rig, 1, 0));
}

static void close_rig(struct rig *rig)
{
    fleet_pool_close(rig->pool, US_PER_MIN);
    free(rig->pool);
    measure_destroy(rig->fleet.measure);
}

/* The next message of the first vehicle. */
static void take(struct rig *rig, uint32_t member, int64_t now_us)
{
    char name[SCENARIO_NAME + 16], topic[96], body[160];
    size_t length = scenario_vehicle_name(&rig->scenario, 0, name, sizeof(name));
    uint32_t number = ++rig->sent;
    snprintf(topic, sizeof(topic), "dt/%s/telemetry", name);
    snprintf(body, sizeof(body), "{\"id\":\"%.*s\",\"n\":%u,\"ts\":%d,\"speed\":1}", (int)length, name, number, 1);
    struct mq5_publish publish = {
        .qos = 1, .packet_id = (uint16_t)(100 + number), .topic = span_text(topic), .payload = span_text(body)};
    measure_ledger_intended(rig->fleet.measure, 0, number);
    fleet_pool_take(rig->pool, member, now_us, &publish);
}

static int64_t total(struct rig *rig, enum counter counter)
{
    return measure_total(rig->fleet.measure, counter, MEASURE_EVERYBODY);
}

static uint32_t delivered(struct rig *rig)
{
    return measure_ledger_row(rig->fleet.measure, 0).delivered;
}

static void what_is_taken_is_committed_and_then_acknowledged(void **state)
{
    struct rig rig;
    open_rig(&rig);
    begin(&rig);
    assert_string_equal(rig.filter[0], "$share/processors-all/dt/+/telemetry");
    assert_true(rig.open[0] && rig.open[1] && !rig.open[2]);
    take(&rig, 0, 100);
    take(&rig, 0, 200);
    assert_int_equal(fleet_pool_next(rig.pool), US_PER_S + 100); /* a second after the first of them */
    fleet_pool_tick(rig.pool, US_PER_S + 99);
    assert_int_equal(rig.acknowledged, 0);
    assert_int_equal(delivered(&rig), 0);
    rig.again = 1;
    fleet_pool_tick(rig.pool, US_PER_S + 100);
    assert_int_equal(rig.acknowledged, 2);
    assert_int_equal(rig.last_acknowledged, 102);
    assert_int_equal(delivered(&rig), 2);
    assert_int_equal(fleet_pool_next(rig.pool), 2 * US_PER_S + 100); /* what came from inside waits for its own turn */
    fleet_pool_finish(rig.pool, US_PER_S + 200);
    assert_int_equal(delivered(&rig), 3);
    close_rig(&rig);
    assert_int_equal(rig.polite, 2);
}

static void who_dies_leaves_what_it_held_to_others(void **state)
{
    struct rig rig;
    struct world_action death = {.kind = ACTION_PROCESSOR_DIES, .store_writes = 1, .duration_us = 5 * US_PER_S};
    open_rig(&rig);
    begin(&rig);
    take(&rig, 0, 100);
    take(&rig, 1, 100);
    assert_int_equal(fleet_pool_act(rig.pool, 200, &death), 1);
    assert_int_equal(rig.rude, 1);
    assert_false(rig.open[0]);
    assert_int_equal(total(&rig, COUNTER_MEMBERS_DIED), 1);
    fleet_pool_tick(rig.pool, US_PER_S + 100);
    assert_int_equal(rig.acknowledged, 1);
    assert_int_equal(delivered(&rig), 1);
    assert_int_equal(fleet_pool_next(rig.pool), 5 * US_PER_S + 200);
    fleet_pool_tick(rig.pool, 5 * US_PER_S + 200);
    assert_true(rig.open[0]);
    death.duration_us = 0;
    death.store_writes = 9; /* more than there are */
    assert_int_equal(fleet_pool_act(rig.pool, US_PER_MIN, &death), 2);
    assert_int_equal(fleet_pool_next(rig.pool), TIME_NEVER);
    close_rig(&rig);
}

/* A fault: the messages are acknowledged, and nobody has written them. */
static void early_acknowledgements_lose_what_was_in_hand(void **state)
{
    struct rig rig;
    struct world_action death = {.kind = ACTION_PROCESSOR_DIES, .store_writes = 2};
    open_rig(&rig);
    rig.scenario.cloud.messages.early_acknowledgement = 1;
    begin(&rig);
    take(&rig, 0, 100);
    assert_int_equal(rig.acknowledged, 0); /* not from inside the broker */
    fleet_pool_tick(rig.pool, 100);
    assert_int_equal(rig.acknowledged, 1);
    assert_int_equal(delivered(&rig), 0);
    fleet_pool_act(rig.pool, 200, &death);
    fleet_pool_finish(rig.pool, US_PER_MIN);
    assert_int_equal(delivered(&rig), 0);
    close_rig(&rig);
}

static void members_come_and_go_and_each_has_its_share(void **state)
{
    struct rig rig;
    struct world_action scale = {.kind = ACTION_PROCESSORS_SCALE, .store_writes = 4};
    open_rig(&rig);
    begin(&rig);
    for (uint32_t i = 0; i < 200; i++)
        take(&rig, i & 1, 100);
    assert_int_equal(fleet_pool_act(rig.pool, 200, &scale), 2);
    assert_true(rig.open[3]);
    assert_int_equal(total(&rig, COUNTER_MEMBERS_UNEVEN), 0); /* those before had equal shares */
    for (uint32_t i = 0; i < 400; i++)
        take(&rig, i % 4 == 3 ? 2 : i % 4, 300); /* the last gets nothing, the third twice as much */
    scale.store_writes = 1;
    assert_int_equal(fleet_pool_act(rig.pool, 400, &scale), 3);
    assert_int_equal(total(&rig, COUNTER_MEMBERS_UNEVEN), 2);
    assert_true(rig.filter[0][0] && !rig.filter[1][0] && !rig.filter[3][0]);
    take(&rig, 1, 500); /* was on its way */
    fleet_pool_tick(rig.pool, US_PER_S + 400);
    assert_true(rig.open[1]);
    fleet_pool_tick(rig.pool, 2 * US_PER_S + 400);
    assert_true(rig.open[0] && !rig.open[1] && !rig.open[3]);
    assert_int_equal(rig.polite, 3);
    assert_int_equal(total(&rig, COUNTER_DELIVERIES), 601);
    assert_int_equal(rig.acknowledged, 601);
    scale.store_writes = 2; /* again, and back before the second has said good-bye */
    assert_int_equal(fleet_pool_act(rig.pool, US_PER_MIN, &scale), 1);
    scale.store_writes = 1;
    assert_int_equal(fleet_pool_act(rig.pool, US_PER_MIN + 1, &scale), 1);
    scale.store_writes = 2;
    assert_int_equal(fleet_pool_act(rig.pool, US_PER_MIN + 2, &scale), 1);
    assert_true(rig.open[1] && rig.filter[1][0]);
    assert_int_equal(rig.polite, 4);
    fleet_pool_finish(rig.pool, 2 * US_PER_MIN);
    close_rig(&rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_taken_is_committed_and_then_acknowledged),
        cmocka_unit_test(who_dies_leaves_what_it_held_to_others),
        cmocka_unit_test(early_acknowledgements_lose_what_was_in_hand),
        cmocka_unit_test(members_come_and_go_and_each_has_its_share),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
