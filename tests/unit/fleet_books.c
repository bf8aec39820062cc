/* What the fleet keeps small against what it would keep plainly: commands that have closed, telemetry bodies written in one go. */
#include "sim/worlds/fleet.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { COMMANDS = 6000, STEPS = 90000, VEHICLES = 50 };

static uint64_t state;

static uint32_t draw(uint32_t bound)
{
    uint64_t z = (state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (uint32_t)((z ^ z >> 31) % bound);
}

static struct scenario_cohort cohort = {.name = "car", .count = VEHICLES, .firmware_count = 1};
static struct scenario scenario = {
    .fleet = VEHICLES, .cohorts = &cohort, .cohort_count = 1, .region_count = 1, .seed = 3};

/* ---- commands ---------------------------------------------------------------------------------------------------------------- */

static uint8_t bus_publish(struct cloud_bus *bus, int64_t now_us, const struct mq5_publish *message)
{
    return 0;
}

static uint8_t bus_subscribe(struct cloud_bus *bus, int64_t now_us, struct span filter, uint8_t qos,
                             void (*deliver)(void *context, int64_t now_us, const struct mq5_publish *message),
                             void *context)
{
    return qos;
}

struct plain_command { /* all that is known of one, for ever */
    uint64_t id;
    int64_t asked_us;
    uint32_t vehicle;
    bool received, answered, timed_out;
    uint32_t executed;
};
static struct plain_command plain[COMMANDS];
static uint32_t plain_count;
static struct ledger_commands expected;
static int64_t expected_delivery_us, expected_round_us;

static void probe(struct fleet *fleet, struct plain_command *command, int64_t now_us, enum tcu_probe_kind kind)
{
    struct fleet_trace trace = {.region = 0};
    uint8_t id[8];
    for (int i = 0; i < 8; i++)
        id[i] = (uint8_t)(command->id >> (56 - 8 * i));
    struct tcu_probe told = {.kind = kind, .id = span_of(id, 8)};
    fleet_command_probe(fleet, command->vehicle, &trace, now_us, &told);
    if (kind == TCU_PROBE_COMMAND_RECEIVED && !command->received) {
        command->received = true;
        expected.delivered++;
        expected_delivery_us += now_us - command->asked_us;
    } else if (kind == TCU_PROBE_COMMAND_EXECUTED) {
        expected.executed++;
        expected.executed_twice += command->executed++ > 0;
    }
}

static void result(const struct cloud_command_options *options, struct plain_command *command, int64_t now_us)
{
    bool over = command->answered || command->timed_out;
    struct cloud_command_result told = {.id = command->id,
                                        .late = over,
                                        .outcome = draw(3)   ? CLOUD_COMMAND_SUCCEEDED
                                                   : draw(2) ? CLOUD_COMMAND_TIMED_OUT
                                                             : CLOUD_COMMAND_NOT_SENT};
    options->result(options->context, now_us, &told);
    if (over)
        return;
    if (told.outcome == CLOUD_COMMAND_SUCCEEDED) {
        command->answered = true;
        expected.answered++;
        expected_round_us += now_us - command->asked_us;
    } else {
        command->timed_out = true;
        expected.timed_out++;
    }
}

static void ask(struct fleet *fleet, struct cloud_commands *service, uint64_t base, uint32_t sent, int64_t now_us)
{
    struct plain_command *command = &plain[plain_count++];
    *command = (struct plain_command){.id = base + 2 + sent, .asked_us = now_us, .vehicle = draw(VEHICLES)};
    fleet_command_ask(fleet, service, now_us, command->vehicle, FLEET_NO_APP, SPAN_LITERAL("unlock"), US_PER_HOUR,
                      true);
    expected.intended++;
    expected.sent++;
}

static void closed_commands_count_on(void **context)
{
    static const struct cloud_bus_ops ops = {.publish = bus_publish, .subscribe = bus_subscribe};
    struct cloud_bus bus = {.ops = &ops};
    struct measure_options options = {.vehicles = VEHICLES, .cohorts = 1, .regions = 1, .duration_us = US_PER_HOUR};
    struct fleet fleet = {.scenario = &scenario, .measure = measure_create(&options)};
    struct cloud_command_options books[2];
    struct cloud_commands *service[2];
    uint32_t sent[2] = {0};
    snprintf(fleet.topic_request, sizeof(fleet.topic_request), "cmd/%%/request");
    snprintf(fleet.topic_response, sizeof(fleet.topic_response), "cmd/%%/response");
    for (uint32_t i = 0; i < 2; i++) {
        fleet_command_options(&fleet, &books[i], (uint64_t)(i + 1) << 40);
        service[i] = cloud_commands_create(&books[i], &bus, 0);
        assert_non_null(service[i]);
    }
    state = 11;
    for (int64_t step = 0; step < STEPS; step++) {
        uint32_t which = draw(2), kind = draw(8);
        if (plain_count < COMMANDS && (kind == 0 || plain_count == 0)) {
            ask(&fleet, service[which], books[which].id_base, sent[which], step * 1000);
            sent[which]++;
        }
        /* Mostly recent ones: the commands of a fleet come and go; old ones now and then. */
        uint32_t reach = draw(30) ? 200 : plain_count,
                 index = plain_count - 1 - draw(reach < plain_count ? reach : plain_count);
        if (index % 50 == 7)
            continue; /* nobody ever hears of these again */
        if (kind < 4)
            probe(&fleet, &plain[index], step * 1000, TCU_PROBE_COMMAND_RECEIVED);
        else if (kind == 4)
            probe(&fleet, &plain[index], step * 1000, TCU_PROBE_COMMAND_EXECUTED);
        else
            result(&books[0], &plain[index], step * 1000);
    }
    assert_int_equal(plain_count, COMMANDS);
    struct plain_command stranger = {.id = UINT64_C(9) << 40};
    struct ledger_commands before = expected;
    probe(&fleet, &stranger, 0, TCU_PROBE_COMMAND_RECEIVED);
    probe(&fleet, &stranger, 0, TCU_PROBE_COMMAND_EXECUTED);
    expected = before;
    uint32_t open = 0;
    for (uint32_t i = 0; i < COMMANDS; i++) {
        const struct plain_command *command = &plain[i];
        expected.pending += !command->answered && !command->timed_out;
        expected.lost += command->timed_out && !command->received;
        open += !command->received || !(command->answered || command->timed_out);
    }
    assert_int_equal(fleet.commands.open_count, open);
    assert_true(open < COMMANDS / 4);
    fleet_commands_finish(&fleet, US_PER_HOUR);
    assert_memory_equal(measure_commands_row(fleet.measure), &expected, sizeof(expected));
    assert_true(expected.lost > 0 && expected.pending > 0 && expected.executed_twice > 0);
    struct histogram histogram;
    measure_histogram(fleet.measure, METRIC_COMMAND_DELIVERY, MEASURE_EVERYBODY, false, &histogram);
    assert_int_equal(histogram.sum_low, expected_delivery_us);
    measure_histogram(fleet.measure, METRIC_COMMAND_ROUND_TRIP, MEASURE_EVERYBODY, false, &histogram);
    assert_int_equal(histogram.sum_low, expected_round_us);
    for (uint32_t i = 0; i < 2; i++)
        cloud_commands_destroy(service[i]);
    fleet_commands_release(&fleet);
    measure_destroy(fleet.measure);
}

static uint8_t bus_refuses(struct cloud_bus *bus, int64_t now_us, const struct mq5_publish *message)
{
    return MQ5_UNSPECIFIED_ERROR;
}

/* The service tells it before its caller knows the command's id. */
static void what_is_not_sent_is_timed_out(void **context)
{
    static const struct cloud_bus_ops ops = {.publish = bus_refuses, .subscribe = bus_subscribe};
    struct cloud_bus bus = {.ops = &ops};
    struct measure_options options = {.vehicles = VEHICLES, .cohorts = 1, .regions = 1, .duration_us = US_PER_HOUR};
    struct fleet fleet = {.scenario = &scenario, .measure = measure_create(&options)};
    struct cloud_command_options books;
    snprintf(fleet.topic_request, sizeof(fleet.topic_request), "cmd/%%/request");
    snprintf(fleet.topic_response, sizeof(fleet.topic_response), "cmd/%%/response");
    fleet_command_options(&fleet, &books, UINT64_C(1) << 40);
    struct cloud_commands *service = cloud_commands_create(&books, &bus, 0);
    for (uint32_t i = 0; i < 3; i++)
        fleet_command_ask(&fleet, service, i, i, FLEET_NO_APP, SPAN_LITERAL("unlock"), US_PER_S, true);
    cloud_commands_tick(service, 10 * US_PER_S);
    fleet_commands_finish(&fleet, US_PER_HOUR);
    const struct ledger_commands *ledger = measure_commands_row(fleet.measure);
    assert_int_equal(ledger->intended, 3);
    assert_int_equal(ledger->timed_out, 3);
    assert_int_equal(ledger->lost, 3);
    assert_int_equal(ledger->pending, 0);
    cloud_commands_destroy(service);
    fleet_commands_release(&fleet);
    measure_destroy(fleet.measure);
}

/* ---- telemetry bodies ---------------------------------------------------------------------------------------------------------- */

static size_t plain_body(uint32_t vehicle, uint32_t number, char *out, size_t capacity)
{
    static const char letters[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_";
    struct sim_random random;
    sim_random_init(&random, scenario.seed, vehicle, SIM_FOR_TELEMETRY);
    random.counter = number;
    int64_t wanted = sim_table_draw(&cohort.payload_bytes, &random) - 64;
    uint32_t signals = sim_random_u32(&random);
    if (capacity < 96)
        return 0;
    size_t length = (size_t)sprintf(out, "\"speed\":%u,\"soc\":%u,\"odo\":%u,\"raw\":\"", signals & 127,
                                    (signals >> 7) % 101, (signals >> 14) + number);
    for (uint32_t i = signals; (int64_t)length + 1 < wanted && length + 1 < capacity; i++)
        out[length++] = letters[i & 63];
    out[length++] = '"';
    return length;
}

static void bodies_to_the_byte(void **context)
{
    static char ours[70000], theirs[70000];
    struct fleet fleet = {.scenario = &scenario};
    state = 5;
    for (uint32_t i = 0; i < 20000; i++) {
        uint32_t vehicle = draw(VEHICLES), number = draw(3) ? 1 + i : UINT32_MAX - i;
        size_t capacity = draw(10) ? 66000 : 90 + draw(400);
        if (i % 4000 == 0)
            sim_table_build(&cohort.payload_bytes, SIM_LOGNORMAL, i % 8000 ? 300 : 5000, 0.4, i % 12000 ? 70 : 0,
                            60000);
        memset(ours, 'x', 66000);
        size_t length = fleet_telemetry_body(&fleet, vehicle, number, (uint8_t *)ours, capacity);
        assert_int_equal(length, plain_body(vehicle, number, theirs, capacity));
        assert_memory_equal(ours, theirs, length);
        assert_int_equal(ours[length], 'x'); /* nothing behind the end */
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(closed_commands_count_on),
        cmocka_unit_test(what_is_not_sent_is_timed_out),
        cmocka_unit_test(bodies_to_the_byte),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
