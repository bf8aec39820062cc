/* The desk of remote commands: each way to a vehicle, each end, fall-backs, taps, the enquiry, order of results, followers, limits. */
#include "cloud/keys.h"
#include "cloud/remote.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define ID_BASE UINT64_C(0x7000000000)
#define S       US_PER_S

/* A bus whose other side is the test. */
struct published {
    int64_t at_us;
    char topic[64], response[64], type[40];
    uint8_t payload[200], correlation[8];
    uint32_t length, expiry_s;
};

struct rig {
    struct cloud_bus bus;
    struct cloud_watch *watch;
    struct cloud_sms *sms;
    struct cloud_keys *keys;
    struct cloud_remote *remote;
    struct cloud_remote_options options;
    cloud_bus_handler *watch_handler, *remote_handler;
    struct published out[64];
    struct cloud_remote_result result[256];
    uint64_t watched_by[256], watched_id[256];
    uint32_t outs, results, watched, texts, open;
    char text[160];
    uint32_t text_length;
    uint8_t answer_code;
    const char *answer_at_once;
    bool with_sms, with_watch, lose, ask_again, text_absent;
    int64_t now_us;
};

static void respond(struct rig *rig, int64_t now_us, const char *thing, uint64_t id, const char *payload)
{
    char topic[64];
    uint8_t correlation[8];
    snprintf(topic, sizeof topic, "cmd/%s/response", thing);
    for (int i = 0; i < 8; i++)
        correlation[i] = (uint8_t)(id >> (56 - 8 * i));
    struct mq5_publish message = {.qos = 1, .topic = span_text(topic), .payload = span_text(payload)};
    message.properties.present = MQ5_BIT(MQ5_CORRELATION_DATA);
    message.properties.correlation_data = span_of(correlation, sizeof correlation);
    rig->remote_handler(rig->remote, now_us, &message);
}

static uint8_t fake_subscribe(struct cloud_bus *bus, int64_t now_us, struct span filter, uint8_t qos,
                              cloud_bus_handler *handler, void *context)
{
    struct rig *rig = (struct rig *)bus;
    bool watch = span_equal(filter, SPAN_LITERAL("presence/+"));
    assert_true(watch || span_equal(filter, SPAN_LITERAL("cmd/+/response")));
    *(watch ? &rig->watch_handler : &rig->remote_handler) = handler;
    return rig->answer_code >= 0x80 ? rig->answer_code : qos;
}

static void keep(char *out, size_t capacity, struct span text)
{
    snprintf(out, capacity, "%.*s", (int)text.length, (const char *)text.data);
}

static uint8_t fake_publish(struct cloud_bus *bus, int64_t now_us, const struct mq5_publish *message)
{
    struct rig *rig = (struct rig *)bus;
    struct published *p = &rig->out[rig->outs++];
    assert_true(rig->outs < 64);
    assert_int_equal(message->qos, 1);
    assert_false(message->retain);
    p->at_us = now_us;
    keep(p->topic, sizeof p->topic, message->topic);
    keep(p->response, sizeof p->response, message->properties.response_topic);
    keep(p->type, sizeof p->type, message->properties.content_type);
    p->length = message->payload.length;
    assert_true(p->length < sizeof p->payload);
    memcpy(p->payload, message->payload.data, p->length);
    p->payload[p->length] = 0;
    p->expiry_s = message->properties.message_expiry_s;
    assert_int_equal(message->properties.correlation_data.length, 8);
    memcpy(p->correlation, message->properties.correlation_data.data, 8);
    if (rig->answer_at_once) {
        uint64_t id = 0;
        for (int i = 0; i < 8; i++)
            id = id << 8 | p->correlation[i];
        respond(rig, now_us, "V1", id, rig->answer_at_once);
    }
    return rig->answer_code;
}

static const struct cloud_bus_ops fake_ops = {.subscribe = fake_subscribe, .publish = fake_publish};

/* ---- callbacks ------------------------------------------------------------------------------------------------------- */

static uint64_t ask(struct rig *rig, int64_t now_us, const char *thing, int64_t expires_us)
{
    struct cloud_remote_ask order = {.thing = span_text(thing),
                                     .user = SPAN_LITERAL("anna"),
                                     .command = SPAN_LITERAL("unlock"),
                                     .expires_us = expires_us,
                                     .token = rig->results + 1000};
    return cloud_remote_send(rig->remote, now_us, &order);
}

static void on_result(void *context, int64_t now_us, const struct cloud_remote_result *result)
{
    struct rig *rig = context;
    assert_true(rig->results < 256);
    rig->result[rig->results++] = *result;
    if (rig->ask_again) { /* and is refused inside: its result comes after this one's followers */
        rig->ask_again = false;
        assert_int_not_equal(ask(rig, now_us, "V1", 0), 0);
    }
}

static void on_watching(void *context, int64_t now_us, uint64_t follower, const struct cloud_remote_result *result)
{
    struct rig *rig = context;
    assert_true(rig->watched < 256);
    rig->watched_by[rig->watched] = follower;
    rig->watched_id[rig->watched++] = result->id;
    assert_int_equal(result->id, rig->result[rig->results - 1].id); /* right after the asker */
}

static void on_changed(void *context, int64_t now_us, struct span thing, enum cloud_presence_state state)
{
    struct rig *rig = context;
    cloud_remote_seen(rig->remote, now_us, thing, state);
}

static bool on_pass(void *context, int64_t now_us, struct span thing, uint64_t id)
{
    return !((struct rig *)context)->lose;
}

static bool allowed(void *context, struct span user, struct span thing, struct span command)
{
    return span_equal(user, SPAN_LITERAL("anna")) && !span_equal(command, SPAN_LITERAL("start"));
}

static int64_t sms_latency(void *context)
{
    return 3 * S;
}

static enum cloud_sms_attempt sms_deliver(void *context, int64_t now_us, struct span thing, struct span text)
{
    struct rig *rig = context;
    rig->texts++;
    rig->text_length = text.length;
    memcpy(rig->text, text.data, text.length);
    return rig->text_absent ? CLOUD_SMS_ABSENT : CLOUD_SMS_TAKEN;
}

/* ---- the rig --------------------------------------------------------------------------------------------------------- */

static struct rig *make_rig(void)
{
    struct rig *rig = calloc(1, sizeof *rig);
    rig->bus.ops = &fake_ops;
    rig->with_sms = rig->with_watch = true;
    rig->options = (struct cloud_remote_options){.request_topic = "cmd/%/request",
                                                 .response_topic = "cmd/%/response",
                                                 .id_base = ID_BASE,
                                                 .result = on_result,
                                                 .watching = on_watching,
                                                 .pass = on_pass,
                                                 .context = rig};
    return rig;
}

static void open_rig(struct rig *rig)
{
    struct cloud_watch_options watch = {.profile = cloud_profile_find("plain"), .changed = on_changed, .context = rig};
    struct cloud_sms_options sms = {.latency_us = sms_latency, .deliver = sms_deliver, .context = rig};
    rig->options.watch = rig->watch = rig->with_watch ? cloud_watch_create(&watch, &rig->bus, 0) : NULL;
    rig->options.sms = rig->sms = rig->with_sms ? cloud_sms_create(&sms) : NULL;
    rig->options.keys = rig->keys;
    rig->remote = cloud_remote_create(&rig->options, &rig->bus, 0);
    assert_non_null(rig->remote);
    assert_true(cloud_remote_bytes(rig->remote) <= 4096);
    assert_true(cloud_remote_next_deadline(rig->remote) == TIME_NEVER);
}

static void close_rig(struct rig *rig)
{
    cloud_remote_destroy(rig->remote);
    if (rig->watch)
        cloud_watch_destroy(rig->watch);
    if (rig->sms)
        cloud_sms_destroy(rig->sms);
    if (rig->keys)
        cloud_keys_destroy(rig->keys);
    free(rig);
}

/* Everything that is due until then, in its order. */
static void run_until(struct rig *rig, int64_t until_us)
{
    for (;;) {
        int64_t at_us = cloud_remote_next_deadline(rig->remote);
        int64_t watch_us = rig->watch ? cloud_watch_next_deadline(rig->watch) : TIME_NEVER;
        int64_t sms_us = rig->sms ? cloud_sms_next_deadline(rig->sms) : TIME_NEVER;
        at_us = watch_us < at_us ? watch_us : at_us;
        at_us = sms_us < at_us ? sms_us : at_us;
        if (at_us > until_us)
            return;
        if (rig->sms)
            cloud_sms_tick(rig->sms, at_us);
        if (rig->watch)
            cloud_watch_tick(rig->watch, at_us);
        cloud_remote_tick(rig->remote, at_us);
    }
}

static void presence(struct rig *rig, int64_t now_us, const char *thing, const char *state)
{
    char topic[64];
    snprintf(topic, sizeof topic, "presence/%s", thing);
    struct mq5_publish message = {.qos = 1, .topic = span_text(topic), .payload = span_text(state)};
    run_until(rig, now_us);
    rig->watch_handler(rig->watch, now_us, &message);
    run_until(rig, now_us);
}

static struct cloud_remote_counts counts(const struct rig *rig)
{
    struct cloud_remote_counts out;
    cloud_remote_count(rig->remote, &out);
    return out;
}

#define SUCCEEDED "{\"status\":\"succeeded\",\"command\":\"unlock\",\"ts\":1}"

/* ---- ways -------------------------------------------------------------------------------------------------------------- */

static void connected_and_answered(void **state)
{
    struct rig *rig = make_rig();
    char expected[100];
    open_rig(rig);
    presence(rig, 0, "V1", "online");
    uint64_t id = ask(rig, S, "V1", 20 * S - 1);
    assert_true(id == ID_BASE + 1);
    snprintf(expected, sizeof expected, "{\"command\":\"unlock\",\"id\":\"%016llx\"}", (unsigned long long)id);
    assert_int_equal(rig->outs, 1);
    assert_string_equal(rig->out[0].topic, "cmd/V1/request");
    assert_string_equal(rig->out[0].response, "cmd/V1/response");
    assert_string_equal(rig->out[0].type, "application/json");
    assert_string_equal((char *)rig->out[0].payload, expected);
    assert_int_equal(rig->out[0].expiry_s, 20); /* rounded up */
    respond(rig, 2 * S, "V2", id, SUCCEEDED);   /* not its vehicle */
    assert_int_equal(rig->results, 0);
    respond(rig, 3 * S, "V1", id, SUCCEEDED);
    respond(rig, 4 * S, "V1", id, "{\"status\":\"failed\"}");
    run_until(rig, US_PER_HOUR);
    assert_int_equal(rig->results, 1);
    const struct cloud_remote_result *r = &rig->result[0];
    assert_true(r->id == id && r->token == 1000);
    assert_int_equal(r->end, CLOUD_REMOTE_EXECUTED);
    assert_string_equal(cloud_remote_end_name(r->end), "executed");
    assert_int_equal(r->way, CLOUD_WAY_CONNECTED);
    assert_true(r->asked_us == S && r->sent_us == S && r->ended_us == 3 * S && r->tapped_us == -1 && r->seen_us == -1);
    assert_int_equal(rig->texts, 0);
    assert_int_equal(counts(rig).answers_repeated, 1);
    assert_int_equal(counts(rig).ended[CLOUD_REMOTE_EXECUTED], 1);
    assert_int_equal(counts(rig).open, 0);
    close_rig(rig);
}

static void tapped_awake_and_answered(void **state)
{
    struct rig *rig = make_rig();
    open_rig(rig);
    presence(rig, 0, "V1", "offline");
    run_until(rig, 10 * S);
    uint64_t id = ask(rig, 10 * S, "V1", 120 * S);
    run_until(rig, 13 * S);
    assert_int_equal(rig->texts, 1);
    assert_memory_equal(rig->text, "wake", 4);
    assert_int_equal(rig->text_length, 4);
    presence(rig, 20 * S, "V1", "online");
    assert_int_equal(rig->outs, 1); /* it has waited in the session */
    respond(rig, 21 * S, "V1", id, SUCCEEDED);
    const struct cloud_remote_result *r = &rig->result[0];
    assert_int_equal(r->end, CLOUD_REMOTE_EXECUTED);
    assert_int_equal(r->way, CLOUD_WAY_TAP);
    assert_true(r->tapped_us == 10 * S && r->seen_us == 20 * S && r->sent_us == 10 * S);
    assert_int_equal(r->taps, 1);
    close_rig(rig);
}

/* What was sent to the old broker waits there for nobody: it is asked once more, when the vehicle has had time to subscribe at the new one. */
static void asked_again_at_another_broker(void **state)
{
    struct rig *rig = make_rig();
    open_rig(rig);
    presence(rig, 0, "V1", "online");
    uint64_t id = ask(rig, S, "V1", 60 * S);
    cloud_remote_moved(rig->remote, 3 * S, SPAN_LITERAL("V2")); /* another vehicle */
    cloud_remote_moved(rig->remote, 3 * S, SPAN_LITERAL("V1"));
    run_until(rig, 5 * S - 1);
    assert_int_equal(rig->outs, 1);
    run_until(rig, 5 * S);
    assert_int_equal(rig->outs, 2);
    assert_memory_equal(rig->out[1].correlation, rig->out[0].correlation, 8); /* the same command */
    respond(rig, 6 * S, "V1", id, SUCCEEDED);
    run_until(rig, US_PER_HOUR);
    assert_int_equal(rig->outs, 2);
    assert_int_equal(rig->texts, 0);
    assert_int_equal(rig->result[0].end, CLOUD_REMOTE_EXECUTED);
    assert_int_equal(rig->result[0].way, CLOUD_WAY_CONNECTED);

    id = ask(rig, US_PER_HOUR, "V1", 10 * S); /* not before its time is over: then it is asked what became of it */
    run_until(rig, US_PER_HOUR + 11 * S);
    assert_int_equal(rig->results, 2); /* late */
    uint32_t outs = rig->outs;
    cloud_remote_moved(rig->remote, US_PER_HOUR + 11 * S, SPAN_LITERAL("V1"));
    run_until(rig, US_PER_HOUR + 12 * S);
    assert_int_equal(rig->outs, outs + 1);
    assert_non_null(strstr((char *)rig->out[outs].payload, "\"enquiry\":true"));
    close_rig(rig);
}

static void tapped_until_there_is_a_sign(void **state)
{
    struct rig *rig = make_rig();
    open_rig(rig);
    ask(rig, 0, "V1", 300 * S); /* never heard of: as good as offline */
    run_until(rig, 299 * S);
    assert_int_equal(counts(rig).taps, 3);
    assert_int_equal(rig->texts, 3);
    assert_int_equal(rig->results, 0);
    run_until(rig, 300 * S);
    assert_int_equal(rig->results, 1);
    assert_int_equal(rig->result[0].end, CLOUD_REMOTE_LATE);
    assert_int_equal(rig->result[0].taps, 3);
    close_rig(rig);
}

static void connected_falls_back_to_a_tap(void **state)
{
    struct rig *rig = make_rig();
    open_rig(rig);
    presence(rig, 0, "V1", "online"); /* so the watch believes */
    uint64_t id = ask(rig, S, "V1", 120 * S);
    run_until(rig, 11 * S - 1);
    assert_int_equal(counts(rig).taps, 0);
    run_until(rig, 11 * S);
    assert_int_equal(counts(rig).taps, 1);
    assert_int_equal(counts(rig).fallbacks, 1);
    presence(rig, 12 * S, "V1", "offline");
    presence(rig, 20 * S, "V1", "online");
    run_until(rig, 30 * S); /* the session should have brought it; it is asked again */
    assert_int_equal(rig->outs, 2);
    assert_memory_equal(rig->out[0].correlation, rig->out[1].correlation, 8);
    assert_string_equal((char *)rig->out[0].payload, (char *)rig->out[1].payload);
    assert_int_equal(rig->out[1].expiry_s, 91);
    respond(rig, 31 * S, "V1", id, SUCCEEDED);
    assert_int_equal(rig->result[0].way, CLOUD_WAY_TAP);
    assert_true(rig->result[0].tapped_us == 11 * S && rig->result[0].seen_us == 20 * S);
    close_rig(rig);
}

static void offline_is_heard_of_meanwhile(void **state)
{
    struct rig *rig = make_rig();
    open_rig(rig);
    presence(rig, 0, "V1", "online");
    ask(rig, S, "V1", 120 * S);
    presence(rig, 2 * S, "V1", "offline");
    run_until(rig, 7 * S); /* the debounce is over: nobody waits for the fall-back's time */
    assert_int_equal(counts(rig).taps, 1);
    close_rig(rig);
}

static void queued_without_a_gateway(void **state)
{
    struct rig *rig = make_rig();
    rig->with_sms = false;
    open_rig(rig);
    presence(rig, 0, "V1", "offline");
    uint64_t id = ask(rig, 10 * S, "V1", 600 * S);
    run_until(rig, 300 * S);
    assert_int_equal(rig->outs, 1);
    presence(rig, 300 * S, "V1", "online");
    respond(rig, 301 * S, "V1", id, SUCCEEDED);
    assert_int_equal(rig->result[0].way, CLOUD_WAY_QUEUED);
    assert_int_equal(rig->result[0].end, CLOUD_REMOTE_EXECUTED);
    close_rig(rig);
}

static void nobody_subscribed_yet(void **state)
{
    struct rig *rig = make_rig();
    open_rig(rig);
    rig->answer_code = MQ5_NO_MATCHING_SUBSCRIBERS;
    uint64_t id = ask(rig, 0, "V1", 60 * S), never = ask(rig, 0, "V2", 60 * S);
    rig->answer_code = MQ5_SUCCESS;
    presence(rig, 20 * S, "V1", "online");
    assert_int_equal(rig->outs, 3); /* at once */
    assert_int_equal(rig->out[2].expiry_s, 40);
    respond(rig, 21 * S, "V1", id, SUCCEEDED);
    run_until(rig, 60 * S);
    assert_int_equal(rig->results, 2);
    assert_true(rig->result[1].id == never); /* no copy of it is anywhere: that is an end */
    assert_int_equal(rig->result[1].end, CLOUD_REMOTE_EXPIRED);
    assert_string_equal(rig->result[1].reason, "never sent");
    assert_int_equal(counts(rig).late, 0);
    close_rig(rig);
}

static void without_a_watch_everybody_is_connected(void **state)
{
    struct rig *rig = make_rig();
    rig->with_watch = rig->with_sms = false;
    open_rig(rig);
    uint64_t id = ask(rig, 0, "V1", 100 * S);
    rig->lose = true;
    run_until(rig, 99 * S); /* copies after 10, 20 and 40 s more, all lost */
    assert_int_equal(rig->outs, 1);
    rig->lose = false;
    run_until(rig, 102 * S);
    assert_int_equal(rig->result[0].end, CLOUD_REMOTE_LATE);
    assert_int_equal(rig->outs, 2);
    respond(rig, 103 * S, "V1", id, "{\"status\":\"expired\"}");
    assert_int_equal(rig->result[1].end, CLOUD_REMOTE_EXPIRED);
    assert_int_equal(rig->result[1].way, CLOUD_WAY_CONNECTED);
    close_rig(rig);
}

/* ---- ends -------------------------------------------------------------------------------------------------------------- */

static void what_answers_mean(void **state)
{
    static const struct {
        const char *payload;
        enum cloud_remote_end end;
        const char *reason;
    } cases[] = {
        {"{\"status\":\"succeeded\"}", CLOUD_REMOTE_EXECUTED, ""},
        {"{\"status\":\"failed\",\"reason\":\"door open\"}", CLOUD_REMOTE_FAILED, "door open"},
        {"{\"status\":\"expired\"}", CLOUD_REMOTE_EXPIRED, ""},
        {"{\"status\":\"rejected\"}", CLOUD_REMOTE_REFUSED, "rejected"},
        {"{\"status\":\"rejected\",\"reason\":\"forged\"}", CLOUD_REMOTE_REFUSED, "forged"},
        {"{\"status\":\"rejected\",\"reason\":\"0123456789012345678901234567890123456789\"}", CLOUD_REMOTE_REFUSED,
         "012345678901234567890123456789012345678"},
        {"", CLOUD_REMOTE_REFUSED, ""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct rig *rig = make_rig();
        open_rig(rig);
        rig->answer_at_once = cases[i].payload; /* from inside publish() */
        ask(rig, 0, "V1", 10 * S);
        assert_int_equal(rig->results, 1);
        assert_int_equal(rig->result[0].end, cases[i].end);
        assert_string_equal(rig->result[0].reason, cases[i].reason);
        assert_int_equal(counts(rig).ended[cases[i].end], 1);
        close_rig(rig);
    }
}

static void an_old_vehicle_says_its_id_in_the_payload(void **state)
{
    struct rig *rig = make_rig();
    open_rig(rig);
    uint64_t id = ask(rig, 0, "V1", 10 * S);
    char payload[100];
    snprintf(payload, sizeof payload, "{\"status\":\"succeeded\",\"id\":\"%016llx\"}", (unsigned long long)id);
    struct mq5_publish message = {.qos = 1, .topic = SPAN_LITERAL("cmd/V1/response"), .payload = span_text(payload)};
    rig->remote_handler(rig->remote, S, &message);
    assert_int_equal(rig->result[0].end, CLOUD_REMOTE_EXECUTED);
    message.payload = SPAN_LITERAL("{\"status\":\"succeeded\",\"id\":\"0000\"}");
    rig->remote_handler(rig->remote, S, &message);
    message.payload = SPAN_LITERAL("{\"status\":\"succeeded\",\"id\":\"");
    rig->remote_handler(rig->remote, S, &message);
    respond(rig, S, "V1", ID_BASE + 99, SUCCEEDED); /* not ours */
    assert_int_equal(rig->results, 1);
    assert_int_equal(counts(rig).answers_repeated, 0);
    close_rig(rig);
}

static void busy_is_asked_again(void **state)
{
    struct rig *rig = make_rig();
    open_rig(rig);
    presence(rig, 0, "V1", "online");
    uint64_t id = ask(rig, 0, "V1", 60 * S), other = ask(rig, 0, "V1", 60 * S);
    respond(rig, S, "V1", id, "{\"status\":\"busy\"}");
    respond(rig, S, "V1", other, "{\"status\":\"busy\"}");
    assert_int_equal(rig->results, 0);
    run_until(rig, 10 * S);
    assert_int_equal(rig->outs, 4);
    assert_int_equal(rig->texts, 0); /* it is awake */
    respond(rig, 11 * S, "V1", id, SUCCEEDED);
    assert_int_equal(rig->result[0].end, CLOUD_REMOTE_EXECUTED);
    run_until(rig, 62 * S);
    assert_int_equal(rig->result[1].end, CLOUD_REMOTE_LATE);
    respond(rig, 63 * S, "V1", other, "{\"status\":\"expired\"}");
    assert_int_equal(rig->result[2].end, CLOUD_REMOTE_REFUSED);
    assert_string_equal(rig->result[2].reason, "busy");
    close_rig(rig);
}

static void late_then_exactly_one_end(void **state)
{
    struct rig *rig = make_rig();
    open_rig(rig);
    char expected[100];
    presence(rig, 0, "V1", "offline");
    uint64_t id = ask(rig, 10 * S, "V1", 30 * S);
    run_until(rig, US_PER_HOUR);
    assert_int_equal(rig->results, 1);
    assert_int_equal(rig->result[0].end, CLOUD_REMOTE_LATE);
    assert_true(rig->result[0].ended_us == 40 * S);
    assert_int_equal(counts(rig).open, 1);
    uint32_t before = rig->outs;
    presence(rig, US_PER_HOUR, "V1", "online");
    assert_int_equal(rig->outs, before + 1);
    snprintf(expected, sizeof expected, "{\"command\":\"unlock\",\"id\":\"%016llx\",\"enquiry\":true}",
             (unsigned long long)id);
    assert_string_equal((char *)rig->out[before].payload, expected);
    assert_int_equal(rig->out[before].expiry_s, 60);
    run_until(rig, US_PER_HOUR + 31 * S); /* after 10 s and 20 s more: still no answer */
    assert_int_equal(rig->outs, before + 3);
    respond(rig, US_PER_HOUR + 32 * S, "V1", id, SUCCEEDED);
    respond(rig, US_PER_HOUR + 32 * S, "V1", id, SUCCEEDED);
    respond(rig, US_PER_HOUR + 33 * S, "V1", id, "{\"status\":\"expired\"}");
    run_until(rig, 2 * US_PER_HOUR);
    assert_int_equal(rig->results, 2);
    assert_int_equal(rig->result[1].end, CLOUD_REMOTE_EXECUTED);
    assert_int_equal(counts(rig).late, 1);
    assert_int_equal(counts(rig).enquiries, 3);
    assert_int_equal(counts(rig).answers_repeated, 2);
    assert_int_equal(counts(rig).open, 0);
    assert_true(cloud_remote_next_deadline(rig->remote) == TIME_NEVER);
    close_rig(rig);
}

/* Expiry is told in seconds: right at the deadline a vehicle may believe that there is time left. */
static void enquiry_waits_for_the_second(void **state)
{
    struct rig *rig = make_rig();
    open_rig(rig);
    presence(rig, 0, "V1", "offline");
    run_until(rig, 6 * S);
    ask(rig, 10 * S, "V1", 30 * S);
    run_until(rig, 40 * S);
    uint32_t before = rig->outs;
    presence(rig, 40 * S + 1, "V1", "online");
    run_until(rig, 42 * S - 1);
    assert_int_equal(rig->outs, before);
    run_until(rig, 42 * S);
    assert_int_equal(rig->outs, before + 1);
    close_rig(rig);
}

static void refused_by_the_desk(void **state)
{
    struct rig *rig = make_rig();
    rig->options.allowed = allowed;
    rig->options.open_per_vehicle = 2;
    open_rig(rig);
    struct cloud_remote_ask order = {.thing = SPAN_LITERAL("V1"), .command = SPAN_LITERAL("unlock"), .expires_us = S};
    const struct {
        struct span user, thing, command;
        int64_t expires_us;
        const char *reason;
    } cases[] = {
        {SPAN_LITERAL("eve"), SPAN_LITERAL("V1"), SPAN_LITERAL("unlock"), S, "user not authorised"},
        {SPAN_LITERAL("anna"), SPAN_LITERAL("V1"), SPAN_LITERAL("start"), S, "user not authorised"},
        {SPAN_LITERAL("anna"), SPAN_LITERAL("V1"), SPAN_LITERAL("a\"b"), S, "no such command"},
        {SPAN_LITERAL("anna"), SPAN_LITERAL("V1"), SPAN_LITERAL(""), S, "no such command"},
        {SPAN_LITERAL("anna"), SPAN_LITERAL("V/1"), SPAN_LITERAL("unlock"), S, "no such vehicle"},
        {SPAN_LITERAL("anna"), SPAN_LITERAL(""), SPAN_LITERAL("unlock"), S, "no such vehicle"},
        {SPAN_LITERAL("anna"), SPAN_LITERAL("V1"), SPAN_LITERAL("unlock"), 0, "no time given"},
    };
    const uint32_t count = sizeof cases / sizeof cases[0];
    for (uint32_t i = 0; i < count; i++) {
        order.user = cases[i].user;
        order.thing = cases[i].thing;
        order.command = cases[i].command;
        order.expires_us = cases[i].expires_us;
        assert_int_not_equal(cloud_remote_send(rig->remote, 0, &order), 0);
        assert_int_equal(rig->results, i + 1);
        assert_int_equal(rig->result[i].end, CLOUD_REMOTE_REFUSED);
        assert_int_equal(rig->result[i].way, CLOUD_WAY_NONE);
        assert_string_equal(rig->result[i].reason, cases[i].reason);
    }
    assert_int_equal(rig->outs, 0);
    ask(rig, 0, "V1", S);
    uint64_t second = ask(rig, 0, "V1", S);
    ask(rig, 0, "V1", S);
    assert_string_equal(rig->result[count].reason, "too many open");
    ask(rig, 0, "V2", S); /* another vehicle's are counted apart */
    respond(rig, 1, "V1", second, SUCCEEDED);
    ask(rig, 2, "V1", S);
    assert_int_equal(rig->results, count + 2);
    assert_int_equal(counts(rig).open, 3);
    close_rig(rig);
}

/* ---- order, followers ------------------------------------------------------------------------------------------------------ */

static void results_in_the_order_of_their_ends(void **state)
{
    struct rig *rig = make_rig();
    open_rig(rig);
    presence(rig, 0, "V1", "online");
    assert_true(cloud_remote_follow(rig->remote, SPAN_LITERAL("V1"), 71));
    assert_true(cloud_remote_follow(rig->remote, SPAN_LITERAL("V1"), 72));
    assert_true(cloud_remote_follow(rig->remote, SPAN_LITERAL("V1"), 73));
    assert_true(cloud_remote_follow(rig->remote, SPAN_LITERAL("V9"), 99));
    uint64_t a = ask(rig, 0, "V1", 60 * S), b = ask(rig, 0, "V1", 60 * S), c = ask(rig, 0, "V2", 60 * S);
    rig->ask_again = true;
    respond(rig, S, "V1", b, SUCCEEDED); /* its asker asks again, in vain: d */
    respond(rig, S, "V2", c, SUCCEEDED);
    respond(rig, S, "V1", a, SUCCEEDED);
    const uint64_t order[] = {b, c + 1, c, a}, watched[] = {b, b, b, c + 1, c + 1, c + 1, a, a, a};
    assert_int_equal(rig->results, 4);
    for (int i = 0; i < 4; i++)
        assert_true(rig->result[i].id == order[i]);
    assert_int_equal(rig->watched, 9);
    for (int i = 0; i < 9; i++) {
        assert_true(rig->watched_id[i] == watched[i]);
        assert_true(rig->watched_by[i] == 71 + (uint64_t)i % 3);
    }
    close_rig(rig);
}

static void count_open(void *context, uint64_t id, uint64_t token, bool late)
{
    struct rig *rig = context;
    assert_true(id > ID_BASE && token >= 1000);
    rig->open += late ? 1000 : 1;
}

static void many_and_what_is_open(void **state)
{
    struct rig *rig = make_rig();
    rig->with_sms = false;
    rig->lose = true;
    open_rig(rig);
    for (int i = 0; i < 200; i++) {
        char name[8];
        snprintf(name, sizeof name, "V%d", i % 50);
        assert_int_not_equal(ask(rig, i, name, i < 30 ? S : 60 * S), 0);
    }
    run_until(rig, 2 * S);
    for (int i = 0; i < 100; i++) {
        char name[8];
        snprintf(name, sizeof name, "V%d", (199 - i) % 50);
        respond(rig, 3 * S, name, ID_BASE + 200 - (uint64_t)i, SUCCEEDED);
    }
    cloud_remote_each_open(rig->remote, count_open, rig);
    assert_int_equal(rig->open, 30 * 1000 + 70);
    assert_int_equal(counts(rig).open, 100);
    assert_int_equal(counts(rig).ended[CLOUD_REMOTE_EXECUTED], 100);
    close_rig(rig);
}

/* ---- sealed ------------------------------------------------------------------------------------------------------------------ */

static void unsealed_is(struct rig *rig, const void *sealed, uint32_t length, uint64_t id)
{
    uint8_t key[CLOUD_VEHICLE_KEY], public_key[128], plain[64];
    bool forged = false;
    cloud_keys_vehicle(rig->keys, SPAN_LITERAL("V1"), key);
    size_t public_length = cloud_keys_public(rig->keys, public_key, sizeof public_key);
    assert_int_equal(cloud_keys_modelled_unseal(span_of(public_key, public_length), key, span_of(sealed, length), plain,
                                                sizeof plain, &forged),
                     14);
    for (int i = 0; i < 8; i++)
        assert_int_equal(plain[i], (uint8_t)(id >> (56 - 8 * i)));
    assert_memory_equal(plain + 8, "unlock", 6);
}

static void sealed_the_same_on_all_ways(void **state)
{
    struct rig *rig = make_rig();
    rig->keys = cloud_keys_modelled(5);
    rig->options.command_in_sms = true;
    rig->options.epoch_us = INT64_C(1700000000) * S + 1;
    open_rig(rig);
    presence(rig, 0, "V1", "offline");
    uint64_t id = ask(rig, 10 * S, "V1", 30 * S);
    run_until(rig, 14 * S);
    assert_int_equal(rig->texts, 1);
    unsealed_is(rig, rig->text, rig->text_length, id);
    assert_int_equal(rig->out[0].length, rig->text_length);
    assert_memory_equal(rig->out[0].payload, rig->text, rig->text_length);
    assert_string_equal(rig->out[0].type, "application/octet-stream");
    uint32_t expires_s = 0;
    for (int i = 0; i < 4; i++)
        expires_s = expires_s << 8 | rig->out[0].payload[12 + i];
    assert_int_equal(expires_s, 1700000000 + 41);
    run_until(rig, 50 * S);
    uint32_t before = rig->outs;
    presence(rig, 50 * S, "V1", "online");
    assert_int_equal(rig->outs, before + 1); /* the enquiry: the same bytes, which have expired */
    assert_memory_equal(rig->out[before].payload, rig->text, rig->text_length);
    assert_int_equal(rig->out[before].expiry_s, 60);
    respond(rig, 51 * S, "V1", id, "{\"status\":\"expired\"}");
    assert_int_equal(rig->result[1].end, CLOUD_REMOTE_EXPIRED);
    close_rig(rig);
}

/* Somebody puts rubbish before the vehicle under our id: the command itself may still come. */
static void forged_is_no_end_in_time(void **state)
{
    static const char forged[] = "{\"status\":\"rejected\",\"reason\":\"forged\"}";
    struct rig *rig = make_rig();
    rig->keys = cloud_keys_modelled(5);
    open_rig(rig);
    presence(rig, 0, "V1", "online");
    uint64_t a = ask(rig, 0, "V1", 20 * S), b = ask(rig, 0, "V1", 20 * S), c = ask(rig, 0, "V1", 20 * S);
    respond(rig, S, "V1", a, forged);
    respond(rig, S, "V1", b, forged);
    assert_int_equal(rig->results, 0);
    respond(rig, 2 * S, "V1", a, SUCCEEDED);
    assert_int_equal(rig->result[0].end, CLOUD_REMOTE_EXECUTED);
    run_until(rig, 23 * S);
    assert_int_equal(rig->results, 3); /* two are late */
    respond(rig, 24 * S, "V1", b, "{\"status\":\"expired\"}");
    respond(rig, 24 * S, "V1", c, forged);
    for (int i = 3; i < 5; i++) {
        assert_int_equal(rig->result[i].end, CLOUD_REMOTE_REFUSED);
        assert_string_equal(rig->result[i].reason, "forged");
    }
    close_rig(rig);
}

/* A vehicle remembers few commands: one that is too far ahead of an open one waits for its end. */
static void no_command_is_too_far_ahead(void **state)
{
    struct rig *rig = make_rig();
    rig->keys = cloud_keys_modelled(5);
    rig->with_sms = false;
    rig->options.window = 3;
    open_rig(rig);
    presence(rig, 0, "V1", "online");
    presence(rig, 0, "V2", "online");
    uint64_t a = ask(rig, 0, "V1", 60 * S), b = ask(rig, 0, "V1", 60 * S);
    ask(rig, 0, "V1", 60 * S);
    uint64_t d = ask(rig, 0, "V1", 60 * S), e = ask(rig, 0, "V1", 5 * S);
    assert_int_equal(rig->outs, 3);
    ask(rig, 0, "V2", 60 * S); /* another's are its own affair */
    assert_int_equal(rig->outs, 4);
    respond(rig, S, "V1", b, SUCCEEDED); /* the oldest is still open */
    run_until(rig, 2 * S);
    assert_int_equal(rig->outs, 4);
    run_until(rig, 6 * S);
    assert_int_equal(rig->results, 2);
    assert_int_equal(rig->result[1].id, e);
    assert_int_equal(rig->result[1].end, CLOUD_REMOTE_EXPIRED);
    assert_string_equal(rig->result[1].reason, "never sent");
    respond(rig, 7 * S, "V1", a, SUCCEEDED);
    run_until(rig, 7 * S + 1);
    assert_int_equal(rig->outs, 5);
    respond(rig, 8 * S, "V1", d, SUCCEEDED);
    assert_int_equal(rig->result[rig->results - 1].end, CLOUD_REMOTE_EXECUTED);
    close_rig(rig);
}

/* ... and, unsealed, as long as a copy may come to a vehicle that has forgotten it. */
static void a_copy_may_still_be_on_its_way(void **state)
{
    struct rig *rig = make_rig();
    rig->with_sms = false;
    rig->options.window = 2;
    open_rig(rig);
    presence(rig, 0, "V1", "online");
    uint64_t a = ask(rig, 0, "V1", 20 * S), b = ask(rig, 0, "V1", 30 * S);
    respond(rig, S, "V1", a, SUCCEEDED);
    respond(rig, S, "V1", b, SUCCEEDED);
    assert_int_equal(rig->results, 2);
    uint64_t c = ask(rig, 2 * S, "V1", 60 * S);
    run_until(rig, 19 * S);
    assert_int_equal(rig->outs, 2);
    respond(rig, 19 * S, "V1", a, SUCCEEDED); /* said again: nothing comes of it */
    assert_int_equal(rig->results, 2);
    run_until(rig, 20 * S + 1);
    assert_int_equal(rig->outs, 3);
    respond(rig, 21 * S, "V1", c, SUCCEEDED);
    assert_int_equal(rig->results, 3);
    run_until(rig, 90 * S);
    assert_true(cloud_remote_next_deadline(rig->remote) == TIME_NEVER); /* nothing is kept */
    close_rig(rig);
}

static void what_cannot_be_created(void **state)
{
    struct rig *rig = make_rig();
    rig->options.pattern = CLOUD_PATTERN_EXECUTIONS; /* without that service */
    assert_null(cloud_remote_create(&rig->options, &rig->bus, 0));
    rig->options.pattern = CLOUD_PATTERN_PLAIN;
    rig->options.response_topic = NULL;
    assert_null(cloud_remote_create(&rig->options, &rig->bus, 0));
    rig->options.response_topic = "cmd/%/response";
    rig->answer_code = MQ5_NOT_AUTHORIZED;
    assert_null(cloud_remote_create(&rig->options, &rig->bus, 0));
    free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(connected_and_answered),
        cmocka_unit_test(tapped_awake_and_answered),
        cmocka_unit_test(asked_again_at_another_broker),
        cmocka_unit_test(tapped_until_there_is_a_sign),
        cmocka_unit_test(connected_falls_back_to_a_tap),
        cmocka_unit_test(offline_is_heard_of_meanwhile),
        cmocka_unit_test(queued_without_a_gateway),
        cmocka_unit_test(nobody_subscribed_yet),
        cmocka_unit_test(without_a_watch_everybody_is_connected),
        cmocka_unit_test(what_answers_mean),
        cmocka_unit_test(an_old_vehicle_says_its_id_in_the_payload),
        cmocka_unit_test(busy_is_asked_again),
        cmocka_unit_test(late_then_exactly_one_end),
        cmocka_unit_test(enquiry_waits_for_the_second),
        cmocka_unit_test(refused_by_the_desk),
        cmocka_unit_test(results_in_the_order_of_their_ends),
        cmocka_unit_test(many_and_what_is_open),
        cmocka_unit_test(sealed_the_same_on_all_ways),
        cmocka_unit_test(forged_is_no_end_in_time),
        cmocka_unit_test(no_command_is_too_far_ahead),
        cmocka_unit_test(a_copy_may_still_be_on_its_way),
        cmocka_unit_test(what_cannot_be_created),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
