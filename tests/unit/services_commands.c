/* The command service and the reading of telemetry, on a bus of the embedded broker, with a vehicle that is another bus. */
#include "cloud/services.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

struct rig {
    struct cloud_broker *broker;
    struct cloud_bus *service, *vehicle;
    struct cloud_commands *commands;
    struct cloud_command_result result[8];
    uint32_t results, requests;
    bool lose;
    /* the last request, as the vehicle got it */
    char topic[64], payload[128], response[64];
    uint8_t correlation[8];
    uint32_t correlation_length, expiry_s;
};

static void nothing_sent(void *context, void *link, const uint8_t *data, size_t length)
{
}

static void nothing_closed(void *context, void *link, enum cloud_close_reason reason)
{
}

static void on_result(void *context, int64_t now_us, const struct cloud_command_result *result)
{
    struct rig *rig = context;
    assert_true(rig->results < 8);
    rig->result[rig->results++] = *result;
}

static bool on_pass(void *context, struct span thing)
{
    return !((struct rig *)context)->lose;
}

static void on_request(void *context, int64_t now_us, const struct mq5_publish *message)
{
    struct rig *rig = context;
    const struct mq5_properties *p = &message->properties;
    rig->requests++;
    snprintf(rig->topic, sizeof(rig->topic), "%.*s", (int)message->topic.length, (const char *)message->topic.data);
    snprintf(rig->payload, sizeof(rig->payload), "%.*s", (int)message->payload.length,
             (const char *)message->payload.data);
    snprintf(rig->response, sizeof(rig->response), "%.*s", (int)p->response_topic.length,
             (const char *)p->response_topic.data);
    rig->correlation_length = p->correlation_data.length;
    assert_true(rig->correlation_length <= sizeof(rig->correlation));
    memcpy(rig->correlation, p->correlation_data.data, rig->correlation_length);
    rig->expiry_s = p->message_expiry_s;
}

static void open_rig_with(struct rig *rig,
                          void (*result)(void *context, int64_t now_us, const struct cloud_command_result *result))
{
    static const struct cloud_broker_ops ops = {.send = nothing_sent, .close = nothing_closed};
    struct cloud_broker_options options;
    memset(rig, 0, sizeof(*rig));
    cloud_broker_defaults(&options);
    rig->broker = cloud_broker_create(&options, &ops, NULL, 1);
    rig->service = cloud_bus_local(rig->broker, SPAN_LITERAL("service"));
    rig->vehicle = cloud_bus_local(rig->broker, SPAN_LITERAL("VIN-1"));
    struct cloud_command_options command_options = {.request_topic = "cmd/%/request",
                                                    .response_topic = "cmd/%/response",
                                                    .id_base = UINT64_C(0x7000000000),
                                                    .result = result,
                                                    .pass = on_pass,
                                                    .context = rig};
    rig->commands = cloud_commands_create(&command_options, rig->service, 0);
    assert_non_null(rig->commands);
    assert_true(rig->vehicle->ops->subscribe(rig->vehicle, 0, SPAN_LITERAL("cmd/VIN-1/request"), 1, on_request, rig) <
                0x80);
}

static void open_rig(struct rig *rig)
{
    open_rig_with(rig, on_result);
}

static void close_rig(struct rig *rig)
{
    cloud_commands_destroy(rig->commands);
    rig->service->ops->close(rig->service);
    rig->vehicle->ops->close(rig->vehicle);
    cloud_broker_destroy(rig->broker);
}

static uint64_t ask(struct rig *rig, int64_t now_us, uint64_t token)
{
    return cloud_command_send(rig->commands, now_us, SPAN_LITERAL("VIN-1"), SPAN_LITERAL("unlock"), 10 * US_PER_S,
                              token);
}

static void answer(struct rig *rig, int64_t now_us, const char *payload, bool with_correlation)
{
    struct mq5_publish message = {.qos = 1, .topic = span_text(rig->response), .payload = span_text(payload)};
    if (with_correlation) {
        message.properties.present = MQ5_BIT(MQ5_CORRELATION_DATA);
        message.properties.correlation_data = span_of(rig->correlation, rig->correlation_length);
    }
    rig->vehicle->ops->publish(rig->vehicle, now_us, &message);
}

static void asked_and_answered(void **state)
{
    struct rig rig;
    open_rig(&rig);
    uint64_t id = ask(&rig, US_PER_S, 77);
    char expected[128];
    snprintf(expected, sizeof(expected), "{\"command\":\"unlock\",\"id\":\"%016llx\"}", (unsigned long long)id);
    assert_int_equal(rig.requests, 1);
    assert_string_equal(rig.topic, "cmd/VIN-1/request");
    assert_string_equal(rig.payload, expected);
    assert_string_equal(rig.response, "cmd/VIN-1/response");
    assert_int_equal(rig.correlation_length, 8);
    for (int i = 0; i < 8; i++)
        assert_int_equal(rig.correlation[i], (uint8_t)(id >> (56 - 8 * i)));
    assert_in_range(rig.expiry_s, 10, 11);
    assert_int_equal(cloud_commands_open(rig.commands), 1);
    assert_int_equal(cloud_commands_next_deadline(rig.commands), 11 * US_PER_S);

    answer(&rig, 3 * US_PER_S, "{\"status\":\"succeeded\",\"command\":\"unlock\",\"ts\":1}", true);
    answer(&rig, 4 * US_PER_S, "{\"status\":\"failed\"}", true); /* a second answer changes nothing */
    cloud_commands_tick(rig.commands, 200 * US_PER_S);
    assert_int_equal(rig.results, 1);
    assert_int_equal(rig.result[0].outcome, CLOUD_COMMAND_SUCCEEDED);
    assert_int_equal(rig.result[0].id, id);
    assert_int_equal(rig.result[0].token, 77);
    assert_int_equal(rig.result[0].asked_us, US_PER_S);
    assert_int_equal(rig.result[0].answered_us, 3 * US_PER_S);
    assert_false(rig.result[0].late);
    assert_int_equal(cloud_commands_open(rig.commands), 0);
    close_rig(&rig);
}

static void outcomes(void **state)
{
    static const struct {
        const char *status;
        enum cloud_command_outcome outcome;
    } cases[] = {
        {"succeeded", CLOUD_COMMAND_SUCCEEDED}, {"failed", CLOUD_COMMAND_FAILED},
        {"rejected", CLOUD_COMMAND_REJECTED},   {"busy", CLOUD_COMMAND_REJECTED},
        {"expired", CLOUD_COMMAND_REJECTED},    {"what?", CLOUD_COMMAND_FAILED},
    };
    struct rig rig;
    char payload[128];
    open_rig(&rig);
    for (uint32_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint64_t id = ask(&rig, 0, i);
        bool version_3 = i % 2; /* no correlation data there: the id is in the payload */
        snprintf(payload, sizeof(payload), "{\"status\":\"%s\",\"id\":\"%016llx\"}", cases[i].status,
                 (unsigned long long)id);
        answer(&rig, US_PER_S, payload, !version_3);
        assert_int_equal(rig.results, i + 1);
        assert_int_equal(rig.result[i].outcome, cases[i].outcome);
    }
    close_rig(&rig);
}

static void timed_out_then_late(void **state)
{
    struct rig rig;
    open_rig(&rig);
    rig.lose = true;
    ask(&rig, 0, 1);
    assert_int_equal(rig.requests, 0); /* lost between service and broker */
    rig.lose = false;
    ask(&rig, 0, 2);
    cloud_commands_tick(rig.commands, 10 * US_PER_S - 1);
    assert_int_equal(rig.results, 0);
    cloud_commands_tick(rig.commands, 10 * US_PER_S);
    assert_int_equal(rig.results, 2);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(rig.result[i].outcome, CLOUD_COMMAND_TIMED_OUT);
        assert_false(rig.result[i].late);
    }
    assert_int_equal(cloud_commands_open(rig.commands), 0);
    answer(&rig, 12 * US_PER_S, "{\"status\":\"succeeded\"}", true);
    assert_int_equal(rig.results, 3);
    assert_true(rig.result[2].late);
    assert_int_equal(rig.result[2].token, 2);
    for (int64_t at; (at = cloud_commands_next_deadline(rig.commands)) != TIME_NEVER;)
        cloud_commands_tick(rig.commands, at);
    assert_int_equal(rig.results, 3);
    close_rig(&rig);
}

/* Thousands come and go: the table forgets them, each has exactly one result. */
static uint64_t tokens_seen;

static void count_result(void *context, int64_t now_us, const struct cloud_command_result *result)
{
    tokens_seen += result->token;
}

static void many(void **state)
{
    struct rig rig;
    open_rig_with(&rig, count_result);
    tokens_seen = 0;
    uint64_t wanted = 0;
    for (uint64_t i = 1; i <= 20000; i++) {
        int64_t now_us = (int64_t)i * 10 * US_PER_MS;
        cloud_commands_tick(rig.commands, now_us);
        ask(&rig, now_us, i);
        wanted += i;
        if (i % 3)
            answer(&rig, now_us + 1, "{\"status\":\"succeeded\"}", true);
    }
    cloud_commands_tick(rig.commands, 1000 * US_PER_S);
    assert_int_equal(cloud_commands_open(rig.commands), 0);
    assert_int_equal(tokens_seen, wanted);
    close_rig(&rig);
}

static void telemetry(void **state)
{
    static const struct {
        const char *topic, *payload;
        bool found, valid;
    } cases[] = {
        {"dt/VIN-1/telemetry", "{\"id\":\"VIN-1\",\"n\":42,\"ts\":1790000000123456,\"speed\":3}", true, true},
        {"dt/VIN-1/telemetry", "{\"id\":\"VIN-1\",\"n\":42,\"ts\":1790000000123456}", true, true},
        {"dt/VIN-2/telemetry", "{\"id\":\"VIN-1\",\"n\":42,\"ts\":1790000000123456}", true, false},
        {"dt/VIN-1/telemetry", "{\"id\":\"VIN-1\",\"n\":4294967296,\"ts\":1}", true, false},
        {"dt/VIN-1/telemetry", "{\"id\":\"VIN-1\",\"n\":,\"ts\":1}", true, false},
        {"dt/VIN-1/telemetry", "", true, false},
        {"dt/VIN-1/other", "{}", false, false},
        {"dt//telemetry", "{}", false, false},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct cloud_telemetry out;
        struct mq5_publish message = {.topic = span_text(cases[i].topic), .payload = span_text(cases[i].payload)};
        assert_int_equal(cloud_telemetry_read("dt/%/telemetry", &message, &out), cases[i].found);
        if (!cases[i].found)
            continue;
        assert_int_equal(out.valid, cases[i].valid);
        assert_int_equal(out.payload_bytes, strlen(cases[i].payload));
        if (!out.valid)
            continue;
        assert_true(span_equal(out.thing, SPAN_LITERAL("VIN-1")));
        assert_int_equal(out.number, 42);
        assert_int_equal(out.wall_us, INT64_C(1790000000123456));
    }
}

/* Numbers are read eight digits at a time: every length, every byte behind them, and never a byte beyond the payload. */
static void telemetry_numbers(void **state)
{
    static const char digits[] = "98765432101234567890";
    for (uint32_t length = 0; length <= 20; length++)
        for (int end = 0; end < 256; end++) {
            char payload[96];
            int head = snprintf(payload, sizeof(payload), "{\"id\":\"V\",\"n\":7,\"ts\":%.*s", (int)length, digits);
            payload[head] = (char)end;
            uint64_t expected = 0;
            uint32_t taken = end >= '0' && end <= '9' ? length + 1 : length;
            for (uint32_t i = 0; i < taken && i < 19; i++)
                expected = expected * 10 + (uint64_t)(payload[head - (int)length + (int)i] - '0');
            for (int more = 0; more <= 9; more += 3) {
                memset(payload + head + 1, '|', 9);
                uint8_t *exact = malloc((size_t)(head + 1 + more));
                memcpy(exact, payload, (size_t)(head + 1 + more));
                struct mq5_publish message = {.topic = SPAN_LITERAL("dt/V/telemetry"),
                                              .payload = span_of(exact, (size_t)(head + 1 + more))};
                struct cloud_telemetry out;
                assert_true(cloud_telemetry_read("dt/%/telemetry", &message, &out));
                assert_int_equal(out.valid, taken > 0);
                assert_int_equal(out.number, 7);
                assert_int_equal(out.wall_us, (int64_t)expected);
                free(exact);
            }
        }
}

static void profiles(void **state)
{
    assert_true(cloud_profile_find("embedded")->registration);
    assert_true(cloud_profile_find("embedded")->presence_events);
    assert_false(cloud_profile_find("plain")->registration);
    assert_non_null(strstr(cloud_profile_find("plain")->unavailable, "registration"));
    assert_null(cloud_profile_find("imaginary"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(asked_and_answered),
        cmocka_unit_test(outcomes),
        cmocka_unit_test(timed_out_then_late),
        cmocka_unit_test(many),
        cmocka_unit_test(telemetry),
        cmocka_unit_test(telemetry_numbers),
        cmocka_unit_test(profiles),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
