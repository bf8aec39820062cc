/* 200,000 commands to 600 vehicles over a network that loses, repeats, delays and reorders, to vehicles that are asleep, in holes, busy or gone in the middle
 * of it, with an SMS gateway and presence events that are no better. Each command has exactly one end, the end is what its vehicle did, none is
 * executed twice.
 *
 * The vehicle is a model of what vehicle/agent/command.c promises: an id executed at most once, outcomes remembered, "busy" forgotten, an
 * enquiry answered from memory or with "expired". It remembers its last eight commands: of an older one it would say that it never did it, and do it
 * again. */
#include "cloud/remote.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "cloud-mock/services/due.h"

#define COMMANDS 200000
#define VEHICLES 600
#define RECENT   8
#define ID_BASE  UINT64_C(0x5A00000000)
#define MS       US_PER_MS
#define S        US_PER_S

enum status { NEVER_SEEN, EXECUTING, SUCCEEDED, FAILED, REJECTED, GONE };

enum kind { ASK, CONNECT, LEAVE, ARRIVES, DONE, ANSWERED, PRESENCE };

struct event {
    enum kind kind;
    uint32_t vehicle, number;
    bool flag;          /* ARRIVES: an enquiry; PRESENCE: connected */
    const char *answer; /* ANSWERED */
    uint32_t version;   /* PRESENCE */
    int64_t stamp_us;   /* PRESENCE: happened; ARRIVES: not handed over after */
    uint32_t next;      /* free list, or in a session */
};

struct vehicle {
    bool online, hole, session;
    uint32_t version, executing, life; /* life: counts its comings and goings */
    uint32_t waiting;                  /* in its session, newest first; 0: nothing */
    uint32_t recent[RECENT];           /* begun, ended or too late, the newest first */
};

struct command {
    uint8_t status, ends, lates, end, executions;
    bool refused_busy, by_desk, never_sent;
};

struct world {
    struct cloud_bus bus;
    struct cloud_watch *watch;
    struct cloud_sms *sms;
    struct cloud_remote *remote;
    cloud_bus_handler *presence, *response;
    uint64_t luck;
    struct due_heap heap;
    uint64_t order;
    struct event *events;
    uint32_t event_count, event_capacity, event_free;
    struct vehicle vehicles[VEHICLES];
    struct command *commands;
    uint32_t asked;
    bool calm; /* nothing is lost or away any more */
    uint64_t copies, lost, repeated, busy, executed, enquired, forgotten;
};

/* ---- luck, time ---------------------------------------------------------------------------------------------------------- */

static uint64_t draw(struct world *w)
{
    uint64_t x = w->luck += UINT64_C(0x9E3779B97F4A7C15);
    x = (x ^ x >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ x >> 27) * UINT64_C(0x94D049BB133111EB);
    return x ^ x >> 31;
}

static int64_t between(struct world *w, int64_t low, int64_t high)
{
    return low + (int64_t)(draw(w) % (uint64_t)(high - low + 1));
}

static bool percent(struct world *w, uint64_t share)
{
    return draw(w) % 100 < share;
}

static uint32_t event_new(struct world *w, struct event event)
{
    uint32_t at = w->event_free;
    if (at) {
        w->event_free = w->events[at].next;
    } else {
        if (w->event_count == w->event_capacity) {
            w->event_capacity = w->event_capacity ? w->event_capacity * 2 : 1024;
            w->events = realloc(w->events, w->event_capacity * sizeof *w->events);
            w->event_count += !w->event_count; /* number 0 is nothing */
        }
        at = w->event_count++;
    }
    w->events[at] = event;
    return at;
}

static void event_drop(struct world *w, uint32_t at)
{
    w->events[at].next = w->event_free;
    w->event_free = at;
}

static void later(struct world *w, int64_t at_us, struct event event)
{
    struct due_entry entry = {at_us, w->order++, {.id = event_new(w, event)}};
    assert_true(due_push(&w->heap, entry));
}

/* The network: mostly quick, sometimes slow, sometimes so slow that everything else has happened meanwhile. */
static int64_t delay_us(struct world *w)
{
    if (percent(w, 90))
        return between(w, 30 * MS, 400 * MS);
    return percent(w, 90) ? between(w, S, 8 * S) : between(w, 20 * S, 90 * S);
}

static void travel(struct world *w, int64_t now_us, struct event event)
{
    w->copies++;
    if (!w->calm && percent(w, 6)) {
        w->lost++;
        return;
    }
    later(w, now_us + delay_us(w), event);
    if (percent(w, 6)) {
        w->repeated++;
        later(w, now_us + delay_us(w), event);
    }
}

static uint32_t vehicle_of(struct span thing)
{
    uint32_t number = 0;
    for (uint32_t i = 1; i < thing.length; i++)
        number = number * 10 + (thing.data[i] - '0');
    assert_true(number < VEHICLES);
    return number;
}

/* ---- presence ------------------------------------------------------------------------------------------------------------ */

static void tell_presence(struct world *w, int64_t now_us, uint32_t vehicle, bool connected)
{
    struct event event = {.kind = PRESENCE,
                          .vehicle = vehicle,
                          .flag = connected,
                          .version = w->vehicles[vehicle].version,
                          .stamp_us = now_us};
    later(w, now_us + between(w, 0, 2 * S), event);
    if (percent(w, 20))
        later(w, now_us + between(w, 0, 4 * S), event);
}

static void hear_presence(struct world *w, int64_t now_us, const struct event *event)
{
    char topic[80], payload[120];
    snprintf(topic, sizeof topic, "$aws/events/presence/%s/V%u", event->flag ? "connected" : "disconnected",
             event->vehicle);
    snprintf(payload, sizeof payload, "{\"timestamp\":%lld,\"versionNumber\":%u}", (long long)(event->stamp_us / MS),
             event->version);
    struct mq5_publish message = {.qos = 1, .topic = span_text(topic), .payload = span_text(payload)};
    w->presence(w->watch, now_us, &message);
}

/* ---- vehicles ------------------------------------------------------------------------------------------------------------ */

static bool remembers(const struct vehicle *v, uint32_t number)
{
    for (int i = 0; i < RECENT; i++)
        if (v->recent[i] == number)
            return true;
    return false;
}

static void remember(struct vehicle *v, uint32_t number)
{
    int last = 0;
    while (last < RECENT - 1 && v->recent[last] != number)
        last++;
    memmove(v->recent + 1, v->recent, (size_t)last * sizeof v->recent[0]);
    v->recent[0] = number;
}

static void answer(struct world *w, int64_t now_us, uint32_t vehicle, uint32_t number, enum status status)
{
    static const char *const texts[] = {[SUCCEEDED] = "{\"status\":\"succeeded\"}",
                                        [FAILED] = "{\"status\":\"failed\"}",
                                        [REJECTED] = "{\"status\":\"rejected\"}",
                                        [GONE] = "{\"status\":\"expired\"}"};
    if (w->vehicles[vehicle].online) /* else its answer is lost with its power */
        travel(w, now_us,
               (struct event){.kind = ANSWERED, .vehicle = vehicle, .number = number, .answer = texts[status]});
}

static void request(struct world *w, int64_t now_us, uint32_t vehicle, uint32_t number, bool enquiry)
{
    struct command *command = &w->commands[number];
    struct vehicle *v = &w->vehicles[vehicle];
    if (command->status == EXECUTING)
        return; /* its answer is coming anyway */
    bool known = command->status == REJECTED || remembers(v, number);
    w->forgotten += !known && command->status != NEVER_SEEN;
    if (!known && !enquiry && v->executing >= 2) {
        w->busy++;
        travel(
            w, now_us,
            (struct event){.kind = ANSWERED, .vehicle = vehicle, .number = number, .answer = "{\"status\":\"busy\"}"});
        return;
    }
    if (!known && !enquiry && !percent(w, 2)) {
        command->status = EXECUTING;
        v->executing++;
        remember(v, number);
        later(w, now_us + between(w, 100 * MS, 3 * S),
              (struct event){.kind = DONE, .vehicle = vehicle, .number = number});
        return;
    }
    if (known) {
        answer(w, now_us, vehicle, number, command->status);
        return;
    }
    if (enquiry)
        remember(v, number);
    if (command->status == NEVER_SEEN)
        command->status = enquiry ? GONE : REJECTED;
    answer(w, now_us, vehicle, number, enquiry ? GONE : REJECTED);
}

static void done(struct world *w, int64_t now_us, uint32_t vehicle, uint32_t number)
{
    struct command *command = &w->commands[number];
    w->vehicles[vehicle].executing--;
    w->executed++;
    command->executions++;
    command->status = percent(w, 3) ? FAILED : SUCCEEDED;
    remember(&w->vehicles[vehicle], number);
    answer(w, now_us, vehicle, number, command->status);
}

/* From the broker to the vehicle, or into its session. */
static void hand_over(struct world *w, int64_t now_us, uint32_t at)
{
    struct event event = w->events[at];
    struct vehicle *v = &w->vehicles[event.vehicle];
    if (!v->online) {
        w->events[at].next = v->waiting;
        v->waiting = at;
        return;
    }
    event_drop(w, at);
    if (now_us < event.stamp_us)
        request(w, now_us, event.vehicle, event.number, event.flag);
}

static void leave(struct world *w, int64_t now_us, uint32_t vehicle)
{
    struct vehicle *v = &w->vehicles[vehicle];
    if (!v->online || w->calm)
        return;
    v->online = false;
    v->life++;
    v->hole = percent(w, 30);
    tell_presence(w, now_us, vehicle, false);
    int64_t away_us = percent(w, 60) ? between(w, S, 20 * S) : between(w, 60 * S, 900 * S);
    later(w, now_us + away_us, (struct event){.kind = CONNECT, .vehicle = vehicle, .number = v->life});
}

static void connect(struct world *w, int64_t now_us, uint32_t vehicle, uint32_t life)
{
    struct vehicle *v = &w->vehicles[vehicle];
    if (v->online || v->life != life)
        return;
    uint32_t waiting = v->waiting;
    v->online = v->session = true;
    v->hole = false;
    v->version++;
    v->life++;
    v->waiting = 0;
    tell_presence(w, now_us, vehicle, true);
    char name[12];
    snprintf(name, sizeof name, "V%u", vehicle);
    cloud_sms_attached(w->sms, now_us, span_text(name));
    for (uint32_t at = waiting, next; at; at = next) {
        struct event event = w->events[at];
        next = event.next;
        event_drop(w, at);
        if (now_us < event.stamp_us)
            later(w, now_us + between(w, 50 * MS, S), event);
    }
    later(w, now_us + between(w, 10 * S, 600 * S), (struct event){.kind = LEAVE, .vehicle = vehicle});
}

/* ---- what the cloud calls -------------------------------------------------------------------------------------------------- */

static uint8_t bus_subscribe(struct cloud_bus *bus, int64_t now_us, struct span filter, uint8_t qos,
                             cloud_bus_handler *handler, void *context)
{
    struct world *w = (struct world *)bus;
    *(filter.data[0] == '$' ? &w->presence : &w->response) = handler;
    return qos;
}

static uint8_t bus_publish(struct cloud_bus *bus, int64_t now_us, const struct mq5_publish *message)
{
    struct world *w = (struct world *)bus;
    uint64_t id = 0;
    for (uint32_t i = 0; i < 8; i++)
        id = id << 8 | message->properties.correlation_data.data[i];
    uint32_t vehicle = vehicle_of(span_of(message->topic.data + 4, message->topic.length - 4 - 8));
    static const char mark[] = ",\"enquiry\":true}";
    const uint32_t mark_length = sizeof mark - 1;
    bool enquiry = message->payload.length > mark_length &&
                   memcmp(message->payload.data + message->payload.length - mark_length, mark, mark_length) == 0;
    w->enquired += enquiry;
    if (!w->vehicles[vehicle].session)
        return MQ5_NO_MATCHING_SUBSCRIBERS;
    travel(w, now_us,
           (struct event){.kind = ARRIVES,
                          .vehicle = vehicle,
                          .number = (uint32_t)(id - ID_BASE),
                          .flag = enquiry,
                          .stamp_us = now_us + message->properties.message_expiry_s * S});
    return MQ5_SUCCESS;
}

static const struct cloud_bus_ops bus_ops = {.subscribe = bus_subscribe, .publish = bus_publish};

static void changed(void *context, int64_t now_us, struct span thing, enum cloud_presence_state state)
{
    cloud_remote_seen(((struct world *)context)->remote, now_us, thing, state);
}

static int64_t sms_latency(void *context)
{
    return between(context, 2 * S, 12 * S);
}

static uint32_t sms_chance(void *context)
{
    return (uint32_t)(draw(context) % 1000000);
}

static enum cloud_sms_attempt sms_deliver(void *context, int64_t now_us, struct span thing, struct span text)
{
    struct world *w = context;
    uint32_t vehicle = vehicle_of(thing);
    struct vehicle *v = &w->vehicles[vehicle];
    if (v->hole)
        return CLOUD_SMS_ABSENT;
    if (!v->online)
        later(w, now_us + between(w, S, 6 * S), (struct event){.kind = CONNECT, .vehicle = vehicle, .number = v->life});
    return CLOUD_SMS_TAKEN;
}

static bool allowed(void *context, struct span user, struct span thing, struct span command)
{
    return span_equal(user, SPAN_LITERAL("owner"));
}

static void on_result(void *context, int64_t now_us, const struct cloud_remote_result *result)
{
    struct world *w = context;
    struct command *command = &w->commands[result->id - ID_BASE];
    assert_true(result->id - ID_BASE <= COMMANDS && result->token == result->id - ID_BASE);
    if (result->end == CLOUD_REMOTE_LATE) {
        assert_int_equal(command->ends, 0);
        command->lates++;
        return;
    }
    command->ends++;
    command->end = (uint8_t)result->end;
    command->refused_busy = strcmp(result->reason, "busy") == 0;
    command->never_sent = strcmp(result->reason, "never sent") == 0;
    command->by_desk = result->way == CLOUD_WAY_NONE;
}

/* ---- the run ---------------------------------------------------------------------------------------------------------------- */

static void ask(struct world *w, int64_t now_us)
{
    static const int64_t times_us[] = {2 * S, 10 * S, 30 * S, 120 * S};
    char name[12];
    snprintf(name, sizeof name, "V%u", (uint32_t)(draw(w) % VEHICLES));
    struct cloud_remote_ask order = {.thing = span_text(name),
                                     .user = percent(w, 2) ? SPAN_LITERAL("stranger") : SPAN_LITERAL("owner"),
                                     .command = SPAN_LITERAL("unlock"),
                                     .expires_us = times_us[draw(w) % 4],
                                     .token = ++w->asked};
    assert_true(cloud_remote_send(w->remote, now_us, &order) == ID_BASE + w->asked);
    if (w->asked < COMMANDS)
        later(w, now_us + between(w, 1, 80 * MS), (struct event){.kind = ASK});
}

static void happen(struct world *w, int64_t now_us, uint32_t at)
{
    struct event event = w->events[at];
    if (event.kind == ARRIVES) {
        hand_over(w, now_us, at);
        return;
    }
    event_drop(w, at);
    switch (event.kind) {
    case ASK: ask(w, now_us); break;
    case CONNECT: connect(w, now_us, event.vehicle, event.number); break;
    case LEAVE: leave(w, now_us, event.vehicle); break;
    case DONE: done(w, now_us, event.vehicle, event.number); break;
    case PRESENCE: hear_presence(w, now_us, &event); break;
    default: {
        char topic[40];
        uint8_t correlation[8];
        uint64_t id = ID_BASE + event.number;
        snprintf(topic, sizeof topic, "cmd/V%u/response", event.vehicle);
        for (int i = 0; i < 8; i++)
            correlation[i] = (uint8_t)(id >> (56 - 8 * i));
        struct mq5_publish message = {.qos = 1, .topic = span_text(topic), .payload = span_text(event.answer)};
        message.properties.present = MQ5_BIT(MQ5_CORRELATION_DATA);
        message.properties.correlation_data = span_of(correlation, sizeof correlation);
        w->response(w->remote, now_us, &message);
    }
    }
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Until nothing is to come. After the last command nothing is lost any more. */
static int64_t run(struct world *w)
{
    int64_t now_us = 0;
    for (;;) {
        int64_t at_us = earlier(earlier(due_next_us(&w->heap), cloud_remote_next_deadline(w->remote)),
                                earlier(cloud_watch_next_deadline(w->watch), cloud_sms_next_deadline(w->sms)));
        if (at_us == TIME_NEVER)
            return now_us;
        assert_true(at_us >= now_us);
        now_us = at_us;
        w->calm = w->asked == COMMANDS;
        cloud_sms_tick(w->sms, now_us);
        cloud_watch_tick(w->watch, now_us);
        cloud_remote_tick(w->remote, now_us);
        if (due_next_us(&w->heap) <= now_us)
            happen(w, now_us, (uint32_t)due_pop(&w->heap).id);
    }
}

static void judge(const struct world *w, uint32_t number)
{
    static const uint8_t truth[] = {[SUCCEEDED] = CLOUD_REMOTE_EXECUTED,
                                    [FAILED] = CLOUD_REMOTE_FAILED,
                                    [REJECTED] = CLOUD_REMOTE_REFUSED,
                                    [GONE] = CLOUD_REMOTE_EXPIRED};
    const struct command *command = &w->commands[number];
    if (command->ends != 1 || command->lates > 1 || command->executions > 1)
        fail_msg("command %u: %u ends, %u times late, executed %u times", number, command->ends, command->lates,
                 command->executions);
    if (command->by_desk || command->never_sent) {
        assert_int_equal(command->end, command->by_desk ? CLOUD_REMOTE_REFUSED : CLOUD_REMOTE_EXPIRED);
        assert_int_equal(command->status, NEVER_SEEN);
        return;
    }
    assert_int_not_equal(command->status, NEVER_SEEN);
    assert_int_not_equal(command->status, EXECUTING);
    uint8_t expected = command->refused_busy && command->status == GONE ? CLOUD_REMOTE_REFUSED : truth[command->status];
    if (command->end != expected)
        fail_msg("command %u: told %s, vehicle did %s", number,
                 cloud_remote_end_name((enum cloud_remote_end)command->end),
                 cloud_remote_end_name((enum cloud_remote_end)expected));
}

static void open_world(struct world *w)
{
    w->bus.ops = &bus_ops;
    w->luck = 20260;
    w->commands = calloc(COMMANDS + 1, sizeof *w->commands);
    w->watch = cloud_watch_create(
        &(struct cloud_watch_options){.profile = cloud_profile_find("embedded"), .changed = changed, .context = w},
        &w->bus, 0);
    w->sms = cloud_sms_create(&(struct cloud_sms_options){.latency_us = sms_latency,
                                                          .chance = sms_chance,
                                                          .loss_ppm = 50000,
                                                          .duplicate_ppm = 50000,
                                                          .deliver = sms_deliver,
                                                          .context = w});
    w->remote = cloud_remote_create(&(struct cloud_remote_options){.request_topic = "cmd/%/request",
                                                                   .response_topic = "cmd/%/response",
                                                                   .id_base = ID_BASE,
                                                                   .watch = w->watch,
                                                                   .sms = w->sms,
                                                                   .open_per_vehicle = 30,
                                                                   .allowed = allowed,
                                                                   .result = on_result,
                                                                   .context = w},
                                    &w->bus, 0);
    assert_true(w->watch && w->sms && w->remote);
    later(w, 0, (struct event){.kind = ASK});
    for (uint32_t v = 0; v < VEHICLES; v++)
        later(w, between(w, 0, 1200 * S), (struct event){.kind = CONNECT, .vehicle = v});
}

static void each_command_ends_once(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    struct cloud_remote_counts counts;
    struct cloud_watch_counts watch;
    struct cloud_sms_counts sms;
    open_world(w);
    uint64_t empty_bytes = cloud_remote_bytes(w->remote);
    int64_t ended_us = run(w);
    cloud_remote_count(w->remote, &counts);
    cloud_watch_count(w->watch, &watch);
    cloud_sms_count(w->sms, &sms);
    printf("%u commands, %lld s: executed %llu, failed %llu, expired %llu, refused %llu; late %llu, enquiries %llu, "
           "fallbacks %llu, taps %llu, answers repeated %llu\n",
           w->asked, (long long)(ended_us / S), (unsigned long long)counts.ended[CLOUD_REMOTE_EXECUTED],
           (unsigned long long)counts.ended[CLOUD_REMOTE_FAILED],
           (unsigned long long)counts.ended[CLOUD_REMOTE_EXPIRED],
           (unsigned long long)counts.ended[CLOUD_REMOTE_REFUSED], (unsigned long long)counts.late,
           (unsigned long long)counts.enquiries, (unsigned long long)counts.fallbacks, (unsigned long long)counts.taps,
           (unsigned long long)counts.answers_repeated);
    printf(
        "copies %llu, lost %llu, repeated %llu, busy %llu; presence events %llu, late %llu, repeated %llu, debounced "
        "%llu; SMS %llu, delivered %llu, twice %llu, lost %llu, expired %llu\n",
        (unsigned long long)w->copies, (unsigned long long)w->lost, (unsigned long long)w->repeated,
        (unsigned long long)w->busy, (unsigned long long)watch.events, (unsigned long long)watch.late,
        (unsigned long long)watch.repeated, (unsigned long long)watch.debounced, (unsigned long long)sms.submitted,
        (unsigned long long)sms.delivered, (unsigned long long)sms.duplicated, (unsigned long long)sms.lost,
        (unsigned long long)sms.expired);
    for (uint32_t i = 1; i <= COMMANDS; i++)
        judge(w, i);
    assert_int_equal(counts.asked, COMMANDS);
    assert_int_equal(counts.open, 0);
    assert_int_equal(counts.enquiries, w->enquired);
    assert_int_equal(sms.waiting, 0);
    /* all of it has been used */
    for (int end = 0; end < 4; end++)
        assert_true(counts.ended[end] > 1000);
    assert_true(counts.late > 1000 && counts.fallbacks > 1000 && counts.taps > 1000 && counts.answers_repeated > 1000);
    assert_true(sms.attempts > sms.delivered + sms.duplicated && w->lost > 1000 && w->busy > 10 && watch.late > 20 &&
                sms.duplicated > 100 && sms.lost > 100);
    for (uint32_t v = 0; v < VEHICLES; v++) {
        char name[12];
        snprintf(name, sizeof name, "V%u", v);
        assert_int_equal(cloud_watch_state(w->watch, span_text(name)), CLOUD_PRESENCE_ONLINE);
    }
    assert_true(cloud_remote_bytes(w->remote) < empty_bytes + (1 << 22));
    cloud_remote_destroy(w->remote);
    cloud_watch_destroy(w->watch);
    cloud_sms_destroy(w->sms);
    memory_free(w->heap.entries);
    free(w->events);
    free(w->commands);
    free(w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_command_ends_once)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
