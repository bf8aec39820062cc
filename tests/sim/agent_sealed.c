/* Sealed commands, with a toy in place of the cryptography: taken once, whatever is forged, replayed, late or repeated, over power cuts; and
 * executions, the commands feature. */
#include "agent_world.h"

#define S(seconds) ((seconds)*US_PER_S)
enum { HEAD = 16, TAIL = 80, SEALED_MAX = 160 };

struct desk {
    unsigned answers;
    char topic[128], payload[256];
    uint8_t correlation[16];
    uint32_t correlation_length;
};

static struct desk *of(struct world *w)
{
    return w->cloud.context;
}

static uint8_t toy_signature(const uint8_t *data, size_t length)
{
    uint8_t sum = 0x33;
    for (size_t i = 0; i < length; i++)
        sum = (uint8_t)(sum * 31 + data[i]);
    return sum;
}

static void put(uint8_t *out, uint64_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        out[i] = (uint8_t)(value >> 8 * (bytes - 1 - i));
}

static struct span seal(uint8_t *out, uint64_t id, const char *name, uint64_t sequence, uint32_t expires_s)
{
    size_t length = HEAD;
    memcpy(out, "CV\x01", 4);
    put(out + 4, sequence, 8);
    put(out + 12, expires_s, 4);
    put(out + length, id, 8);
    memcpy(out + length + 8, name, strlen(name));
    length += 8 + strlen(name);
    for (size_t i = HEAD; i < length; i++)
        out[i] ^= 0x5A;
    memset(out + length, 0x77, 16);
    memset(out + length + 16, toy_signature(out, length + 16), 64);
    return span_of(out, length + TAIL);
}

static size_t unseal(void *context, struct span sealed, uint8_t *out, size_t capacity, enum tcu_refusal *why)
{
    size_t end = sealed.length - TAIL;
    *why = sealed.data[sealed.length - 1] == toy_signature(sealed.data, end + 16) ? TCU_REFUSED_UNREADABLE
                                                                                  : TCU_REFUSED_FORGED;
    if (*why == TCU_REFUSED_FORGED || sealed.data[end] != 0x77 || end - HEAD > capacity)
        return 0;
    for (size_t i = HEAD; i < end; i++)
        out[i - HEAD] = sealed.data[i] ^ 0x5A;
    return end - HEAD;
}

static bool heard(struct world *w, const struct mq5_publish *publish)
{
    struct desk *desk = of(w);
    if (!strstr(w->last_topic, "response"))
        return true;
    desk->answers++;
    snprintf(desk->topic, sizeof(desk->topic), "%s", w->last_topic);
    snprintf(desk->payload, sizeof(desk->payload), "%.*s", (int)publish->payload.length, publish->payload.data);
    bool correlated = publish->properties.present & MQ5_BIT(MQ5_CORRELATION_DATA);
    desk->correlation_length = correlated ? publish->properties.correlation_data.length : 0;
    assert_in_range(desk->correlation_length, 0, 16);
    if (desk->correlation_length > 0)
        memcpy(desk->correlation, publish->properties.correlation_data.data, desk->correlation_length);
    return true;
}

static void send(struct world *w, const char *topic, struct span payload, uint64_t correlation)
{
    uint8_t bytes[8];
    struct mq5_packet packet = {.type = MQ5_PUBLISH};
    put(bytes, correlation, 8);
    packet.publish.topic = span_text(topic);
    packet.publish.payload = payload;
    if (correlation && w->version == MQ5_V5) {
        packet.publish.properties.present = MQ5_BIT(MQ5_CORRELATION_DATA);
        packet.publish.properties.correlation_data = span_of(bytes, 8);
    }
    world_send(w, &packet);
    world_run(w, S(1));
}

static uint32_t in_a_minute(const struct world *w)
{
    return (uint32_t)((WORLD_EPOCH_US + w->now_us) / US_PER_S + 60);
}

static void command(struct world *w, uint64_t id, const char *name, uint64_t sequence)
{
    uint8_t bytes[SEALED_MAX];
    send(w, w->command_topic, seal(bytes, id, name, sequence, in_a_minute(w)), id);
}

static struct world *with(uint64_t seed, bool sealed, uint8_t version)
{
    struct world *w = world_new(seed);
    w->cloud.context = calloc(1, sizeof(struct desk));
    w->cloud.heard = heard;
    w->port.unseal = unseal;
    w->profile.sealed_commands = sealed;
    w->profile.mqtt.version = version;
    w->profile.mqtt.maximum_packet_size = 512;
    return w;
}

static struct world *ready(uint64_t seed)
{
    struct world *w = with(seed, true, MQ5_V5);
    world_begin(w);
    world_start(w, TCU_DRIVING);
    world_run(w, S(5));
    return w;
}

static void restart(struct world *w)
{
    world_power_cut(w);
    world_start(w, TCU_DRIVING);
    world_run(w, S(30));
}

static void end(struct world *w)
{
    struct desk *desk = of(w);
    world_end(w);
    free(desk);
}

static void check_answer(struct world *w, unsigned answers, const char *begin)
{
    assert_int_equal(of(w)->answers, answers);
    if (strncmp(of(w)->payload, begin, strlen(begin)) != 0)
        assert_string_equal(of(w)->payload, begin);
}

static void refused(const struct world *w, unsigned count, enum tcu_refusal why)
{
    assert_int_equal(w->probes.count[TCU_PROBE_COMMAND_REFUSED], count);
    assert_int_equal(w->probes.reason[TCU_PROBE_COMMAND_REFUSED], why);
}

static void it_is_opened_and_done_once(void **state)
{
    struct world *w = ready(1);
    uint8_t bytes[SEALED_MAX];
    struct span sealed = seal(bytes, 0x1122334455667788, "do-1", 7, in_a_minute(w));
    send(w, w->command_topic, sealed, 0x1122334455667788);
    check_answer(w, 1, "{\"status\":\"succeeded\",\"command\":\"do-1\"");
    assert_int_equal(of(w)->correlation_length, 8);
    assert_memory_equal(of(w)->correlation, "\x11\x22\x33\x44\x55\x66\x77\x88", 8);
    send(w, w->command_topic, sealed, 0x1122334455667788);
    tcu_sms(w->tcu, w->now_us, sealed);
    world_run(w, S(1));
    check_answer(w, 3, "{\"status\":\"succeeded\"");
    restart(w);
    send(w, w->command_topic, sealed, 0x1122334455667788);
    check_answer(w, 4, "{\"status\":\"succeeded\"");
    world_run(w, S(100)); /* its time is over now, what was done remains done */
    send(w, w->command_topic, sealed, 0x1122334455667788);
    check_answer(w, 5, "{\"status\":\"succeeded\"");
    assert_int_equal(w->executed[1], 1);
    assert_int_equal(w->probes.count[TCU_PROBE_COMMAND_REFUSED], 0);
    end(w);
}

static void others_are_refused(void **state)
{
    struct world *w = ready(2);
    uint8_t bytes[SEALED_MAX];
    send(w, w->command_topic, SPAN_LITERAL("{\"command\":\"do-1\"}"), 1);
    refused(w, 1, TCU_REFUSED_PLAIN);
    check_answer(w, 1, "{\"status\":\"rejected\",\"reason\":\"plain\",\"command\":\"do-1\"");
    struct span sealed = seal(bytes, 2, "do-2", 1, in_a_minute(w));
    for (unsigned i = 3; i < sealed.length - 64; i++) { /* flags, sequence, expiry, text, tag */
        bytes[i] ^= 4;
        send(w, w->command_topic, sealed, 2);
        bytes[i] ^= 4;
        refused(w, i - 1, TCU_REFUSED_FORGED);
    }
    check_answer(w, sealed.length - 64 - 2, "{\"status\":\"rejected\",\"reason\":\"forged\",\"command\":\"\"");
    unsigned before = of(w)->answers;
    bytes[20] ^= 1;
    tcu_sms(w->tcu, w->now_us, sealed); /* nobody to say it to */
    world_run(w, S(1));
    assert_int_equal(of(w)->answers, before);
    assert_int_equal(w->probes.reason[TCU_PROBE_COMMAND_REFUSED], TCU_REFUSED_FORGED);
    send(w, w->command_topic, seal(bytes, 3, "do-3", 2, in_a_minute(w) - 61), 3);
    assert_int_equal(w->probes.reason[TCU_PROBE_COMMAND_REFUSED], TCU_REFUSED_LATE);
    check_answer(w, before + 1, "{\"status\":\"expired\",\"reason\":\"late\"");
    assert_int_equal(w->executed[1] + w->executed[2] + w->executed[3], 0);
    command(w, 4, "do-4", 1);
    assert_int_equal(w->executed[4], 1);
    end(w);
}

/* 64 numbers wide, and as wide after a power cut. */
static void numbers_are_taken_once(void **state)
{
    struct world *w = ready(3);
    unsigned refusals = 0;
    command(w, 10, "do-10", 1000);
    for (unsigned i = 1; i <= 80; i++) {
        command(w, 100 + i, "do-11", 1000); /* another id, a number taken */
        refused(w, ++refusals, TCU_REFUSED_REPLAYED);
        command(w, 200 + i, i < 64 ? "do-12" : "do-13", 1000 - i);
        if (i >= 64)
            refused(w, ++refusals, TCU_REFUSED_REPLAYED);
        assert_int_equal(w->executed[12], i < 64);
        w->executed[12] = 0;
        if (i % 16 == 0)
            restart(w);
    }
    assert_int_equal(w->executed[11] + w->executed[13], 0);
    assert_true(strstr(of(w)->payload, "\"reason\":\"replayed\""));
    command(w, 300, "do-20", 5000);
    restart(w);
    command(w, 301, "do-21", 4937);
    command(w, 302, "do-22", 4936);
    command(w, 303, "do-23", 5000);
    command(w, 304, "do-24", UINT64_MAX);
    command(w, 305, "do-25", 0);
    assert_int_equal(w->executed[20] + w->executed[21] + w->executed[24], 3);
    assert_int_equal(w->executed[22] + w->executed[23] + w->executed[25], 0);
    end(w);
}

static void the_power_may_go_at_any_write(void **state)
{
    for (unsigned cut = 1; cut < 12; cut++)
        for (unsigned before = 0; before < 2; before++) {
            struct world *w = ready(40 + cut);
            uint8_t bytes[3][SEALED_MAX];
            w->cut_at_write = w->store_writes + cut;
            w->cut_before_write = before;
            for (unsigned round = 0; round < 3; round++)
                for (unsigned i = 0; i < 3; i++) {
                    char name[8];
                    snprintf(name, sizeof(name), "do-%u", 30 + i);
                    send(w, w->command_topic, seal(bytes[i], 500 + i, name, 10 + i, in_a_minute(w) + 1000), 500 + i);
                    world_run(w, S(30));
                }
            for (unsigned i = 0; i < 3; i++) {
                assert_in_range(w->executed[30 + i], 0, 1); /* never twice, says the world, too */
                command(w, 600 + i, "do-40", 10 + i);
            }
            assert_int_equal(w->executed[40], 0);
            end(w);
        }
}

static void busy_takes_no_number(void **state)
{
    struct world *w = ready(4);
    w->execute_us = S(20);
    for (unsigned i = 1; i <= 5; i++)
        command(w, i, i == 5 ? "do-5" : i == 4 ? "do-4" : i == 3 ? "do-3" : i == 2 ? "do-2" : "do-1", i);
    check_answer(w, 1, "{\"status\":\"busy\"");
    world_run(w, S(30));
    command(w, 5, "do-5", 5);
    world_run(w, S(30));
    assert_int_equal(w->executed[5], 1);
    end(w);
}

static void a_worn_store_takes_none_either(void **state)
{
    struct world *w = ready(8);
    w->store_fails = true;
    command(w, 1, "do-1", 1);
    check_answer(w, 1, "{\"status\":\"rejected\",\"command\"");
    w->store_fails = false;
    command(w, 1, "do-1", 1);
    assert_int_equal(w->executed[1], 1);
    end(w);
}

static void three_one_one_and_sms(void **state)
{
    struct world *w = with(5, true, MQ5_V311);
    uint8_t bytes[SEALED_MAX];
    world_begin(w);
    world_start(w, TCU_DRIVING);
    world_run(w, S(5));
    world_cut_link(w);
    tcu_sms(w->tcu, w->now_us, seal(bytes, 0xAB, "do-6", 1, in_a_minute(w)));
    world_run(w, S(60));
    assert_int_equal(w->executed[6], 1);
    check_answer(w, 1, "{\"status\":\"succeeded\",\"command\":\"do-6\"");
    assert_non_null(strstr(of(w)->payload, "\"id\":\"00000000000000ab\""));
    tcu_sms(w->tcu, w->now_us, SPAN_LITERAL("wake"));
    world_run(w, S(5));
    assert_int_equal(of(w)->answers, 1);
    end(w);
}

#define EXECUTION "$aws/commands/things/VIN-0001/executions/"
static void executions(void **state)
{
    struct world *w = with(6, false, MQ5_V5);
    w->profile.executions = true;
    strcpy(w->profile.topics.reserved, "$aws/");
    world_begin(w);
    world_start(w, TCU_DRIVING);
    world_run(w, S(5));
    assert_string_equal(w->filters[w->filter_count - 1], EXECUTION "+/request/json");
    for (unsigned i = 1; i <= 2; i++) {
        send(w, EXECUTION "00000000000000aa/request/json", SPAN_LITERAL("{\"command\":\"do-7\"}"), 0);
        check_answer(w, i, "{\"status\":\"SUCCEEDED\"}");
        assert_string_equal(of(w)->topic, EXECUTION "00000000000000aa/response/json");
    }
    send(w, w->command_topic, SPAN_LITERAL("{\"command\":\"do-7\"}"), 0xAA); /* the same id on the other way */
    check_answer(w, 3, "{\"status\":\"succeeded\"");
    assert_int_equal(w->executed[7], 1);
    w->execute_fails = true;
    send(w, EXECUTION "e-2/request/json", SPAN_LITERAL("do-8"), 0);
    check_answer(w, 4, "{\"status\":\"FAILED\",\"statusReason\":{\"reasonCode\":\"FAILED\"}}");
    send(w, EXECUTION "e-3/request/json", SPAN_LITERAL("{}"), 0);
    check_answer(w, 5, "{\"status\":\"REJECTED\",\"statusReason\":{\"reasonCode\":\"REJECTED\"}}");
    send(w, EXECUTION "e-3/response/accepted/json", SPAN_LITERAL("{}"), 0);
    send(w, EXECUTION "../request/json", SPAN_LITERAL("do-9"), 0);
    send(w, EXECUTION "/request/json", SPAN_LITERAL("do-9"), 0);
    assert_int_equal(of(w)->answers, 5);
    end(w);
}

static void sealed_executions(void **state)
{
    struct world *w = with(7, true, MQ5_V5);
    uint8_t bytes[SEALED_MAX];
    w->profile.executions = true;
    strcpy(w->profile.topics.reserved, "convoy/%/");
    world_begin(w);
    world_start(w, TCU_DRIVING);
    world_run(w, S(5));
    static const char topic[] = "convoy/VIN-0001/commands/things/VIN-0001/executions/e-1/request/json";
    send(w, topic, SPAN_LITERAL("do-1"), 0);
    check_answer(w, 1, "{\"status\":\"REJECTED\",\"statusReason\":{\"reasonCode\":\"PLAIN\"}}");
    send(w, topic, seal(bytes, 9, "do-2", 1, in_a_minute(w)), 0);
    check_answer(w, 2, "{\"status\":\"SUCCEEDED\"}");
    assert_int_equal(w->executed[1], 0);
    assert_int_equal(w->executed[2], 1);
    end(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_is_opened_and_done_once),
        cmocka_unit_test(others_are_refused),
        cmocka_unit_test(numbers_are_taken_once),
        cmocka_unit_test(the_power_may_go_at_any_write),
        cmocka_unit_test(busy_takes_no_number),
        cmocka_unit_test(a_worn_store_takes_none_either),
        cmocka_unit_test(three_one_one_and_sms),
        cmocka_unit_test(executions),
        cmocka_unit_test(sealed_executions),
    };
    return world_both(tests);
}
