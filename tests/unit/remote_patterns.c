/* The desk of remote commands through a vehicle's shadow and as executions, against the services themselves on a broker in the same process: one end each,
 * one at a time in desired, conflicts, what comes late, and prefixes of somebody else's broker.
 */
#include "cloud/keys.h"
#include "cloud/remote.h"
#include "cloud/reserved.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define ID_BASE UINT64_C(0x7000000000)
#define S       US_PER_S

struct rig {
    struct cloud_broker *broker;
    struct cloud_bus *services, *desk_bus, *car_bus;
    struct cloud_reserved *reserved;
    struct cloud_remote *remote;
    const char *prefix;
    struct cloud_remote_result results[16];
    uint32_t result_count, heard;
    char topic[160], payload[2048]; /* heard last by the car */
    const char *answer;             /* the car's, at once; NULL: it is silent */
};

static void on_result(void *context, int64_t now_us, const struct cloud_remote_result *result)
{
    struct rig *rig = context;
    assert_in_range(rig->result_count, 0, 15);
    rig->results[rig->result_count++] = *result;
}

static void say(struct rig *rig, int64_t now_us, const char *rest, const char *payload)
{
    char topic[200], text[512];
    snprintf(topic, sizeof topic, "%s%s", strchr(rig->prefix, '%') ? "convoy/r/V1/" : "$aws/", rest);
    snprintf(text, sizeof text, "%s", payload);
    struct mq5_publish message = {.qos = 1, .topic = span_text(topic), .payload = span_text(text)};
    rig->car_bus->ops->publish(rig->car_bus, now_us, &message);
}

/* An id of 16 digits behind the word. */
static bool id_behind(const char *text, const char *word, char id[17])
{
    const char *at = strstr(text, word);
    return at && sscanf(at + strlen(word), "%16[0-9a-f]", id) == 1 && strlen(id) == 16;
}

static void report(struct rig *rig, int64_t now_us, const char *id, const char *status)
{
    char text[200];
    snprintf(text, sizeof text, "{\"state\":{\"reported\":{\"command\":{\"id\":\"%s\",\"status\":\"%s\"}}}}", id,
             status);
    say(rig, now_us, "things/V1/shadow/update", text);
}

static void on_car(void *context, int64_t now_us, const struct mq5_publish *message)
{
    struct rig *rig = context;
    char id[17], rest[160];
    rig->heard++;
    snprintf(rig->topic, sizeof rig->topic, "%.*s", (int)message->topic.length, (const char *)message->topic.data);
    snprintf(rig->payload, sizeof rig->payload, "%.*s", (int)message->payload.length,
             (const char *)message->payload.data);
    if (!rig->answer)
        return;
    if (id_behind(rig->payload, "\"command\":{\"id\":\"", id)) {
        report(rig, now_us, id, rig->answer);
    } else if (id_behind(rig->topic, "/executions/", id)) {
        snprintf(rest, sizeof rest, "commands/things/V1/executions/%s/response/json", id);
        say(rig, now_us, rest, rig->answer);
    }
}

static struct rig *with(enum cloud_remote_pattern pattern, const char *prefix)
{
    struct rig *rig = calloc(1, sizeof *rig);
    struct cloud_broker_options options;
    struct cloud_shadow_options shadow = {.requests_per_second = 0};
    struct cloud_executions_options executions = {.retention_us = 0};
    static const struct cloud_broker_ops ops;
    bool own = strchr(prefix, '%') == NULL;
    rig->prefix = prefix;
    cloud_broker_defaults(&options);
    rig->broker = cloud_broker_create(&options, &ops, rig, 1);
    rig->services = cloud_bus_local(rig->broker, SPAN_LITERAL("services"));
    struct cloud_reserved_options reserved = {.shadow = &shadow,
                                              .executions = &executions,
                                              .prefix = prefix,
                                              .event_prefix = own ? "$aws/events" : "convoy/r/events"};
    rig->reserved = cloud_reserved_create(&reserved, own ? rig->broker : NULL, rig->services, 0);
    assert_non_null(rig->reserved);
    rig->desk_bus = cloud_bus_local(rig->broker, SPAN_LITERAL("command-desk"));
    rig->car_bus = cloud_bus_local(rig->broker, SPAN_LITERAL("V1"));
    if (own) {
        rig->desk_bus = cloud_reserved_bus(rig->reserved, rig->desk_bus, SPAN_LITERAL("command-desk"));
        rig->car_bus = cloud_reserved_bus(rig->reserved, rig->car_bus, SPAN_LITERAL("V1"));
    }
    const char *filters[] = {own ? "$aws/things/V1/shadow/update/delta" : "convoy/r/V1/things/V1/shadow/update/delta",
                             own ? "$aws/commands/things/V1/executions/+/request/json"
                                 : "convoy/r/V1/commands/things/V1/executions/+/request/json"};
    for (int i = 0; i < 2; i++)
        assert_int_equal(rig->car_bus->ops->subscribe(rig->car_bus, 0, span_text(filters[i]), 1, on_car, rig), 1);
    struct cloud_remote_options desk = {.pattern = pattern,
                                        .prefix = prefix,
                                        .event_prefix = reserved.event_prefix,
                                        .executions = cloud_reserved_executions(rig->reserved),
                                        .id_base = ID_BASE,
                                        .result = on_result,
                                        .context = rig};
    rig->remote = cloud_remote_create(&desk, rig->desk_bus, 0);
    assert_non_null(rig->remote);
    return rig;
}

static void end(struct rig *rig)
{
    cloud_remote_destroy(rig->remote);
    rig->car_bus->ops->close(rig->car_bus);
    rig->desk_bus->ops->close(rig->desk_bus);
    cloud_reserved_destroy(rig->reserved);
    rig->services->ops->close(rig->services);
    cloud_broker_destroy(rig->broker);
    free(rig);
}

static uint64_t ask(struct rig *rig, int64_t now_us, const char *command, int64_t expires_us)
{
    struct cloud_remote_ask order = {.thing = SPAN_LITERAL("V1"),
                                     .user = SPAN_LITERAL("anna"),
                                     .command = span_text(command),
                                     .expires_us = expires_us};
    uint64_t id = cloud_remote_send(rig->remote, now_us, &order);
    assert_int_not_equal(id, 0);
    return id;
}

static void pass_time(struct rig *rig, int64_t until_us)
{
    for (;;) {
        int64_t remote_us = cloud_remote_next_deadline(rig->remote);
        int64_t next_us = cloud_reserved_next_deadline(rig->reserved);
        next_us = remote_us < next_us ? remote_us : next_us;
        if (next_us > until_us)
            return;
        cloud_reserved_tick(rig->reserved, next_us);
        cloud_remote_tick(rig->remote, next_us);
    }
}

static void ended(const struct rig *rig, uint32_t index, uint64_t id, enum cloud_remote_end how)
{
    assert_true(index < rig->result_count);
    assert_int_equal(rig->results[index].id, id);
    assert_int_equal(rig->results[index].end, how);
}

static bool differs(const struct rig *rig)
{
    return cloud_shadow_differs(cloud_reserved_shadow(rig->reserved), SPAN_LITERAL("V1"), (struct span){0});
}

/* ---- through the shadow ------------------------------------------------------------------------------------------------ */

static void a_delta_and_a_report(void **state)
{
    static const char *const prefixes[] = {"$aws/", "convoy/r/%/"};
    for (int i = 0; i < 2; i++) {
        struct rig *rig = with(CLOUD_PATTERN_SHADOW, prefixes[i]);
        rig->answer = "succeeded";
        uint64_t id = ask(rig, S, "unlock", 60 * S);
        ended(rig, 0, id, CLOUD_REMOTE_EXECUTED);
        assert_int_equal(rig->results[0].way, CLOUD_WAY_SHADOW);
        assert_non_null(strstr(rig->payload, "\"name\":\"unlock\""));
        assert_null(strstr(rig->payload, "enquiry"));
        pass_time(rig, 2 * S);
        assert_false(differs(rig)); /* its place is cleared */
        assert_int_equal(rig->result_count, 1);
        end(rig);
    }
}

static void one_after_the_other(void **state)
{
    struct rig *rig = with(CLOUD_PATTERN_SHADOW, "$aws/");
    uint64_t first = ask(rig, S, "unlock", 60 * S), second = ask(rig, 2 * S, "flash", 60 * S);
    char id[17];
    pass_time(rig, 5 * S);
    assert_non_null(strstr(rig->payload, "\"name\":\"unlock\""));
    assert_true(id_behind(rig->payload, "\"command\":{\"id\":\"", id));
    rig->answer = "failed";
    report(rig, 6 * S, id, "succeeded");
    ended(rig, 0, first, CLOUD_REMOTE_EXECUTED);
    assert_int_equal(rig->result_count, 1);
    pass_time(rig, 6 * S);
    ended(rig, 1, second, CLOUD_REMOTE_FAILED);
    pass_time(rig, 300 * S);
    assert_int_equal(rig->result_count, 2);
    assert_false(differs(rig));
    end(rig);
}

static void too_late_is_a_question(void **state)
{
    struct rig *rig = with(CLOUD_PATTERN_SHADOW, "$aws/");
    uint64_t first = ask(rig, S, "unlock", 30 * S), second = ask(rig, 2 * S, "flash", 20 * S);
    pass_time(rig, 31 * S);
    ended(rig, 0, second, CLOUD_REMOTE_EXPIRED); /* the other one was in the way all the time */
    assert_string_equal(rig->results[0].reason, "never sent");
    ended(rig, 1, first, CLOUD_REMOTE_LATE);
    assert_non_null(strstr(rig->payload, "\"enquiry\":true")); /* for whoever comes back now */
    rig->answer = "expired";
    pass_time(rig, 60 * S);
    ended(rig, 2, first, CLOUD_REMOTE_EXPIRED);
    pass_time(rig, 600 * S);
    assert_int_equal(rig->result_count, 3);
    assert_false(differs(rig));
    end(rig);
}

/* A command that has time left takes the place of one that is only asked about. */
static void late_ones_make_room(void **state)
{
    struct rig *rig = with(CLOUD_PATTERN_SHADOW, "$aws/");
    uint64_t first = ask(rig, S, "unlock", 10 * S), second;
    pass_time(rig, 15 * S);
    ended(rig, 0, first, CLOUD_REMOTE_LATE);
    rig->answer = "succeeded";
    second = ask(rig, 16 * S, "flash", 30 * S);
    ended(rig, 1, second, CLOUD_REMOTE_EXECUTED);
    pass_time(rig, 60 * S);
    ended(rig, 2, first, CLOUD_REMOTE_EXECUTED); /* it had been done: from memory */
    assert_int_equal(rig->result_count, 3);
    end(rig);
}

static void conflicts_are_said_again(void **state)
{
    struct rig *rig = with(CLOUD_PATTERN_SHADOW, "$aws/");
    struct cloud_shadow *shadow = cloud_reserved_shadow(rig->reserved);
    struct cloud_remote_counts counts;
    rig->answer = "succeeded";
    ask(rig, S, "unlock", 60 * S);
    assert_int_equal(rig->result_count, 1);
    rig->answer = NULL;
    ask(rig, 2 * S, "flash", 60 * S);
    /* The desk hears of other versions by answers; this one it does not hear of. */
    assert_int_equal(cloud_shadow_update(shadow, 3 * S, SPAN_LITERAL("V1"), (struct span){0},
                                         SPAN_LITERAL("{\"state\":{\"desired\":{\"climate\":21}}}"), NULL),
                     200);
    rig->answer = "succeeded";
    pass_time(rig, 20 * S); /* a copy more, of a version that is not the last */
    cloud_remote_count(rig->remote, &counts);
    assert_int_equal(counts.conflicts, 1);
    assert_int_equal(counts.ended[CLOUD_REMOTE_EXECUTED], 2);
    assert_int_equal(rig->result_count, 2);
    end(rig);
}

static void not_sealed(void **state)
{
    struct cloud_keys *keys = cloud_keys_modelled(1);
    struct rig *rig = with(CLOUD_PATTERN_SHADOW, "$aws/");
    struct cloud_remote_options options = {.pattern = CLOUD_PATTERN_SHADOW, .keys = keys};
    assert_null(cloud_remote_create(&options, rig->desk_bus, 0));
    options = (struct cloud_remote_options){.pattern = CLOUD_PATTERN_EXECUTIONS};
    assert_null(cloud_remote_create(&options, rig->desk_bus, 0));
    cloud_keys_destroy(keys);
    end(rig);
}

static uint8_t ask_as(struct cloud_reserved *reserved, const char *client_id, bool certified, const char *topic,
                      bool *taken)
{
    struct cloud_peer peer = {.tls = certified, .has_certificate = certified};
    struct mq5_publish message = {.qos = 1,
                                  .topic = span_text(topic),
                                  .payload = SPAN_LITERAL("{\"state\":{\"reported\":{\"doors\":\"open\"}}}")};
    return cloud_reserved_request(reserved, S, span_text(client_id), &peer, &message, taken);
}

/* Where nobody asks about policies, a certificate is good for its own thing only; who has none was let in by other means. */
static void one_s_own_only(void **state)
{
    struct cloud_broker_options options;
    static const struct cloud_broker_ops ops;
    static const struct cloud_shadow_options shadow;
    bool taken;
    cloud_broker_defaults(&options);
    struct cloud_broker *broker = cloud_broker_create(&options, &ops, NULL, 1);
    struct cloud_bus *bus = cloud_bus_local(broker, SPAN_LITERAL("services"));
    struct cloud_reserved_options wanted = {
        .shadow = &shadow, .prefix = "$aws/", .event_prefix = "$aws/events", .own_only = true};
    struct cloud_reserved *reserved = cloud_reserved_create(&wanted, broker, bus, 0);
    const struct cloud_shadow *documents = cloud_reserved_shadow(reserved);
    static const struct {
        const char *client_id, *topic;
        bool certified, taken;
        uint8_t reason;
        uint64_t version;
    } rows[] = {{"V1", "$aws/things/V1/shadow/update", true, true, MQ5_SUCCESS, 1},
                {"V2", "$aws/things/V1/shadow/update", true, true, MQ5_SUCCESS, 1}, /* taken, and rejected: 403 */
                {"app", "$aws/things/V1/shadow/update", false, true, MQ5_SUCCESS, 2},
                {"V1", "$aws/things/V1/shadow/erase", true, true, MQ5_TOPIC_NAME_INVALID, 2},
                {"V1", "$aws/things/V1/jobs/get", true, false, MQ5_NOT_AUTHORIZED, 2},
                {"V1", "things/V1/shadow/update", true, false, MQ5_NOT_AUTHORIZED, 2}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(ask_as(reserved, rows[i].client_id, rows[i].certified, rows[i].topic, &taken), rows[i].reason);
        assert_int_equal(taken, rows[i].taken);
        assert_int_equal(cloud_shadow_version(documents, SPAN_LITERAL("V1"), (struct span){0}), rows[i].version);
    }
    assert_null(cloud_reserved_executions(reserved));
    assert_int_equal(cloud_reserved_next_deadline(reserved), TIME_NEVER);
    cloud_reserved_destroy(reserved);
    bus->ops->close(bus);
    cloud_broker_destroy(broker);
}

/* ---- as executions ------------------------------------------------------------------------------------------------------ */

static void statuses_are_ends(void **state)
{
    static const struct {
        const char *answer;
        enum cloud_remote_end end;
        const char *reason;
    } rows[] = {
        {"{\"status\":\"SUCCEEDED\"}", CLOUD_REMOTE_EXECUTED, ""},
        {"{\"status\":\"FAILED\",\"statusReason\":{\"reasonCode\":\"FAILED\"}}", CLOUD_REMOTE_FAILED, "FAILED"},
        {"{\"status\":\"TIMED_OUT\",\"statusReason\":{\"reasonCode\":\"LATE\"}}", CLOUD_REMOTE_EXPIRED, "LATE"},
        {"{\"status\":\"REJECTED\",\"statusReason\":{\"reasonCode\":\"BUSY\"}}", CLOUD_REMOTE_REFUSED, "BUSY"},
    };
    static const char *const prefixes[] = {"$aws/", "convoy/r/%/"};
    for (size_t i = 0; i < 2 * sizeof rows / sizeof rows[0]; i++) {
        struct rig *rig = with(CLOUD_PATTERN_EXECUTIONS, prefixes[i % 2]);
        rig->answer = rows[i / 2].answer;
        uint64_t id = ask(rig, S, "unlock", 60 * S);
        ended(rig, 0, id, rows[i / 2].end);
        assert_string_equal(rig->results[0].reason, rows[i / 2].reason);
        assert_int_equal(rig->results[0].way, CLOUD_WAY_CONNECTED);
        assert_non_null(strstr(rig->payload, "{\"command\":\"unlock\"}"));
        pass_time(rig, 100 * S);
        assert_int_equal(rig->result_count, 1);
        end(rig);
    }
}

static void in_progress_is_no_end(void **state)
{
    struct rig *rig = with(CLOUD_PATTERN_EXECUTIONS, "$aws/");
    rig->answer = "{\"status\":\"IN_PROGRESS\"}";
    uint64_t id = ask(rig, S, "unlock", 60 * S);
    assert_int_equal(rig->result_count, 0);
    rig->answer = "{\"status\":\"SUCCEEDED\"}";
    pass_time(rig, 15 * S); /* asked again, as the same execution */
    ended(rig, 0, id, CLOUD_REMOTE_EXECUTED);
    assert_int_equal(rig->result_count, 1);
    end(rig);
}

static void silence_is_no_end(void **state)
{
    struct rig *rig = with(CLOUD_PATTERN_EXECUTIONS, "$aws/");
    enum cloud_execution_status status;
    bool terminal;
    uint64_t id = ask(rig, S, "unlock", 30 * S);
    pass_time(rig, 32 * S);
    ended(rig, 0, id, CLOUD_REMOTE_LATE);
    assert_true(cloud_executions_status(cloud_reserved_executions(rig->reserved), SPAN_LITERAL("V1"),
                                        SPAN_LITERAL("0000007000000001"), &status, &terminal));
    assert_int_equal(status, CLOUD_EXECUTIONS_TIMED_OUT);
    assert_false(terminal);
    assert_null(strstr(rig->payload, "enquiry"));
    rig->answer = "{\"status\":\"TIMED_OUT\",\"statusReason\":{\"reasonCode\":\"EXPIRED\"}}";
    pass_time(rig, 40 * S);
    assert_non_null(strstr(rig->payload, "\"enquiry\":true"));
    ended(rig, 1, id, CLOUD_REMOTE_EXPIRED);
    assert_int_equal(rig->result_count, 2);
    end(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_delta_and_a_report),     cmocka_unit_test(one_after_the_other),
        cmocka_unit_test(too_late_is_a_question),   cmocka_unit_test(late_ones_make_room),
        cmocka_unit_test(conflicts_are_said_again), cmocka_unit_test(not_sealed),
        cmocka_unit_test(one_s_own_only),           cmocka_unit_test(statuses_are_ends),
        cmocka_unit_test(in_progress_is_no_end),    cmocka_unit_test(silence_is_no_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
