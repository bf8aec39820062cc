/* The vehicle's Device Shadow against a scripted cloud: one setting ("doors") and a command, versions, conflicts, answers that get lost. */
#include "agent_world.h"

#define S(seconds) ((seconds)*US_PER_S)
enum { EXECUTED = 5 };

/* The service, and the car's side of the port: w->cloud.context. */
struct shadow {
    bool exists, command, command_ended, over;
    unsigned version, gets, updates, sets, lose, conflict; /* so many of the next answers, updates */
    bool checks_versions, partial, always_conflict, refuses_get;
    char prefix[64], path[128];
    char desired[16], reported[16], id[20], name[16], status[128], last_set[128], doors[16], wanted[16];
    int64_t set_until_us; /* 0: the car is at rest */
    bool car_cannot;
};

static struct shadow *of(struct world *w)
{
    return w->cloud.context;
}

static void say(struct world *w, const char *end, const char *payload)
{
    char topic[256];
    struct mq5_packet packet = {.type = MQ5_PUBLISH};
    snprintf(topic, sizeof(topic), "%s%s%s", of(w)->prefix, of(w)->path, end);
    packet.publish.topic = span_text(topic);
    packet.publish.payload = span_text(payload);
    if (w->connected)
        world_send(w, &packet);
}

static bool differ(const struct shadow *shadow)
{
    return shadow->desired[0] && strcmp(shadow->desired, shadow->reported) != 0;
}

static void put_delta(const struct shadow *shadow, char *out, size_t capacity)
{
    char command[128] = "", doors[64] = "";
    if (shadow->command && !shadow->command_ended && shadow->partial)
        snprintf(command, sizeof(command), "\"command\":{\"id\":\"%s\"}", shadow->id);
    else if (shadow->command && !shadow->command_ended)
        snprintf(command, sizeof(command), "\"command\":{\"id\":\"%s\",\"name\":\"%s\"%s}", shadow->id, shadow->name,
                 shadow->over ? ",\"enquiry\":true" : "");
    else if (shadow->command)
        snprintf(command, sizeof(command), "\"command\":{\"name\":\"%s\"}", shadow->name);
    if (differ(shadow))
        snprintf(doors, sizeof(doors), "\"doors\":\"%s\"", shadow->desired);
    snprintf(out, capacity, "{%s%s%s}", command, command[0] && doors[0] ? "," : "", doors);
}

static void tell_delta(struct world *w, unsigned version)
{
    char state[256], payload[400];
    put_delta(of(w), state, sizeof(state));
    snprintf(payload, sizeof(payload), "{\"version\":%u,\"timestamp\":1,\"state\":%s,\"metadata\":{\"doors\":[1]}}",
             version, state);
    if (strlen(state) > 2)
        say(w, "update/delta", payload);
}

static void want(struct world *w, const char *doors)
{
    snprintf(of(w)->desired, sizeof(of(w)->desired), "%s", doors);
    of(w)->exists = true;
    tell_delta(w, ++of(w)->version);
}

static void want_command(struct world *w, const char *id, const char *name)
{
    struct shadow *shadow = of(w);
    snprintf(shadow->id, sizeof(shadow->id), "%s", id);
    snprintf(shadow->name, sizeof(shadow->name), "%s", name);
    shadow->command = shadow->exists = true;
    shadow->command_ended = false;
    tell_delta(w, ++shadow->version);
}

static void read_text(const char *payload, const char *name, char *out, size_t capacity)
{
    const char *at = strstr(payload, name);
    out[0] = 0;
    for (size_t i = 0; at && i + 1 < capacity && at[strlen(name) + i] != '"'; i++) {
        out[i] = at[strlen(name) + i];
        out[i + 1] = 0;
    }
}

static void answer(struct world *w, const char *end, const char *payload)
{
    if (of(w)->lose > 0)
        of(w)->lose--;
    else
        say(w, end, payload);
}

static void asked_get(struct world *w, const char *token)
{
    struct shadow *shadow = of(w);
    char delta[256], text[800];
    shadow->gets++;
    if (!shadow->exists || shadow->refuses_get) {
        snprintf(text, sizeof(text), "{\"code\":%d,\"message\":\"no\",\"clientToken\":\"%s\"}",
                 shadow->refuses_get ? 500 : 404, token);
        answer(w, "get/rejected", text);
        return;
    }
    put_delta(shadow, delta, sizeof(delta));
    snprintf(text, sizeof(text),
             "{\"state\":{\"desired\":{\"doors\":\"%s\",\"command\":{\"id\":\"%s\",\"name\":\"%s\"}},\"reported\":{"
             "\"doors\":\"%s\"}"
             "%s%s},\"version\":%u,\"timestamp\":1,\"clientToken\":\"%s\"}",
             shadow->desired, shadow->id, shadow->name, shadow->reported, strlen(delta) > 2 ? ",\"delta\":" : "",
             strlen(delta) > 2 ? delta : "", shadow->version, token);
    answer(w, "get/accepted", text);
}

static void asked_update(struct world *w, const char *payload, const char *token)
{
    struct shadow *shadow = of(w);
    char text[800], id[20];
    const char *version = strstr(payload, "\"version\":");
    shadow->updates++;
    if (shadow->conflict > 0 || shadow->always_conflict) { /* somebody else was faster */
        shadow->conflict -= !shadow->always_conflict;
        shadow->version++;
    }
    if (version && strtoul(version + 10, NULL, 10) != shadow->version) {
        snprintf(text, sizeof(text), "{\"code\":409,\"message\":\"Version conflict\",\"clientToken\":\"%s\"}", token);
        answer(w, "update/rejected", text);
        return;
    }
    assert_true(version || !shadow->checks_versions || !shadow->exists);
    shadow->exists = true;
    shadow->version++;
    read_text(payload, "\"doors\":\"", shadow->reported, sizeof(shadow->reported));
    read_text(payload, "\"command\":{\"id\":\"", id, sizeof(id));
    if (id[0]) {
        assert_string_equal(id, shadow->id);
        read_text(payload, "\"status\":\"", shadow->status, sizeof(shadow->status));
        shadow->command_ended = true;
    }
    snprintf(text, sizeof(text), "{\"state\":{},\"version\":%u,\"timestamp\":1,\"clientToken\":\"%s\"}",
             shadow->version, token);
    answer(w, "update/accepted", text);
    tell_delta(w, shadow->version);
}

static bool heard(struct world *w, const struct mq5_publish *publish)
{
    struct shadow *shadow = of(w);
    char wanted[256], payload[600], token[80];
    size_t length = (size_t)snprintf(wanted, sizeof(wanted), "%s%s", shadow->prefix, shadow->path);
    if (strncmp(w->last_topic, wanted, length) != 0)
        return strncmp(w->last_topic, shadow->prefix, strlen(shadow->prefix)) == 0; /* jobs: nobody there */
    snprintf(payload, sizeof(payload), "%.*s", (int)publish->payload.length, publish->payload.data);
    read_text(payload, "\"clientToken\":\"", token, sizeof(token));
    assert_in_range(strlen(token), 1, 64);
    if (strcmp(w->last_topic + length, "get") == 0)
        asked_get(w, token);
    else if (strcmp(w->last_topic + length, "update") == 0)
        asked_update(w, payload, token);
    else
        fail_msg("%s", w->last_topic);
    return true;
}

static void car_set(void *context, struct span wanted)
{
    struct world *w = context;
    struct shadow *shadow = of(w);
    assert_true(shadow->set_until_us == 0); /* one thing at a time */
    snprintf(shadow->last_set, sizeof(shadow->last_set), "%.*s", (int)wanted.length, wanted.data);
    read_text(shadow->last_set, "\"doors\":\"", shadow->wanted, sizeof(shadow->wanted));
    shadow->sets++;
    shadow->set_until_us = w->now_us + 500 * US_PER_MS;
}

static size_t car_state(void *context, char *out, size_t capacity)
{
    return (size_t)snprintf(out, capacity, "\"doors\":\"%s\"", of(context)->doors);
}

static void run(struct world *w, int64_t duration_us)
{
    struct shadow *shadow = of(w);
    int64_t until_us = w->now_us + duration_us;
    while (w->now_us < until_us) {
        bool at_it = shadow->set_until_us > 0 && shadow->set_until_us < until_us;
        int64_t next_us = at_it ? shadow->set_until_us : until_us;
        int64_t step_us = next_us - w->now_us > 50 * US_PER_MS ? 50 * US_PER_MS : next_us - w->now_us;
        world_run(w, step_us);
        if (shadow->set_until_us == 0 || w->now_us < shadow->set_until_us)
            continue;
        shadow->set_until_us = 0;
        if (!shadow->car_cannot)
            memcpy(shadow->doors, shadow->wanted, sizeof(shadow->doors));
        tcu_shadow_done(w->tcu, w->now_us, !shadow->car_cannot);
    }
}

static struct world *with(uint64_t seed, const char *prefix, const char *name)
{
    struct world *w = world_new(seed);
    struct shadow *shadow = calloc(1, sizeof(*shadow));
    bool own = strchr(prefix, '%') != NULL;
    strcpy(shadow->doors, "locked");
    snprintf(shadow->prefix, sizeof(shadow->prefix), "%s", own ? "convoy/VIN-0001/" : prefix);
    snprintf(shadow->path, sizeof(shadow->path), "things/VIN-0001/shadow/%s%s%s", name[0] ? "name/" : "", name,
             name[0] ? "/" : "");
    w->cloud.context = shadow;
    w->cloud.heard = heard;
    w->port.shadow_set = car_set;
    w->port.shadow_state = car_state;
    w->profile.shadow = true;
    w->profile.mqtt.maximum_packet_size = 1024;
    snprintf(w->profile.shadow_name, sizeof(w->profile.shadow_name), "%s", name);
    snprintf(w->profile.topics.reserved, sizeof(w->profile.topics.reserved), "%s", prefix);
    world_begin(w);
    return w;
}

static struct world *ready(uint64_t seed)
{
    struct world *w = with(seed, "$aws/", "");
    world_start(w, TCU_DRIVING);
    run(w, S(5));
    assert_true(w->subscribed);
    return w;
}

static void end(struct world *w)
{
    struct shadow *shadow = of(w);
    world_end(w);
    free(shadow);
}

static unsigned told(const struct world *w, enum tcu_probe_kind kind)
{
    return w->probes.count[kind];
}

static void the_first_report_makes_it(void **state)
{
    struct world *w = ready(1);
    assert_int_equal(w->filter_count, 5);
    assert_string_equal(w->filters[2], "$aws/things/VIN-0001/shadow/update/delta");
    assert_string_equal(w->filters[3], "$aws/things/VIN-0001/shadow/+/accepted");
    assert_string_equal(w->filters[4], "$aws/things/VIN-0001/shadow/+/rejected");
    assert_int_equal(of(w)->gets, 1);
    assert_int_equal(of(w)->updates, 1);
    assert_string_equal(of(w)->reported, "locked");
    assert_int_equal(told(w, TCU_PROBE_SHADOW_REPORTED), 1);
    assert_int_equal(tcu_shadow_version(w->tcu), 1);
    run(w, S(3600));
    assert_int_equal(of(w)->gets + of(w)->updates, 2); /* and then there is nothing to say */
    end(w);
}

static void what_is_wanted_is_done_and_reported(void **state)
{
    struct world *w = ready(2);
    want(w, "unlocked");
    run(w, S(2));
    assert_string_equal(of(w)->last_set, "\"doors\":\"unlocked\"");
    assert_string_equal(of(w)->reported, "unlocked");
    assert_int_equal(told(w, TCU_PROBE_SHADOW_DELTA), 1);
    assert_int_equal(tcu_shadow_version(w->tcu), of(w)->version);
    tell_delta(w, 2); /* nothing differs, nothing is said */
    strcpy(of(w)->desired, "open");
    tell_delta(w, 2); /* an old one, late */
    tell_delta(w, 1);
    run(w, S(2));
    assert_int_equal(of(w)->sets, 1);
    tell_delta(w, of(w)->version + 1);
    tell_delta(w, of(w)->version + 1);
    run(w, S(2));
    assert_int_equal(of(w)->sets, 2);
    end(w);
}

/* Wanted while the car is at something else: afterwards, and the last one counts. */
static void one_thing_at_a_time(void **state)
{
    struct world *w = ready(3);
    want(w, "unlocked");
    run(w, 200 * US_PER_MS);
    want(w, "open");
    run(w, 100 * US_PER_MS);
    want(w, "locked");
    run(w, S(1));
    want(w, "ajar");
    run(w, S(10));
    assert_string_equal(of(w)->reported, "ajar");
    assert_in_range(of(w)->sets, 2, 4);
    end(w);
}

static void the_driver_is_reported(void **state)
{
    struct world *w = ready(4);
    strcpy(of(w)->doors, "open");
    tcu_shadow_changed(w->tcu, w->now_us);
    run(w, S(1));
    assert_string_equal(of(w)->reported, "open");
    world_cut_link(w);
    strcpy(of(w)->doors, "locked");
    tcu_shadow_changed(w->tcu, w->now_us);
    run(w, S(60));
    assert_string_equal(of(w)->reported, "locked");
    assert_int_equal(of(w)->gets, 1); /* the session was resumed */
    end(w);
}

static void without_the_session_it_is_got(void **state)
{
    struct world *w = ready(5);
    world_cut_link(w);
    w->forget_session = true;
    want(w, "unlocked"); /* the delta is lost */
    run(w, S(90));
    assert_int_equal(of(w)->gets, 2);
    assert_string_equal(of(w)->reported, "unlocked");
    world_power_cut(w);
    want(w, "locked");
    world_start(w, TCU_DRIVING);
    run(w, S(30));
    assert_string_equal(of(w)->reported, "locked");
    end(w);
}

static void what_is_not_answered_is_repeated(void **state)
{
    struct world *w = ready(6);
    of(w)->lose = 3;
    want(w, "unlocked");
    run(w, S(600));
    assert_int_equal(of(w)->lose, 0);
    assert_int_equal(of(w)->updates, 1 + 4);
    assert_int_equal(told(w, TCU_PROBE_SHADOW_REPORTED), 2);
    of(w)->desired[0] = 0; /* or the cloud would have it unlocked again */
    of(w)->lose = 1000000; /* nobody answers: slower, but never silent */
    strcpy(of(w)->doors, "open");
    tcu_shadow_changed(w->tcu, w->now_us);
    run(w, S(3600));
    assert_in_range(of(w)->updates, 5 + 30, 5 + 120);
    of(w)->lose = 0;
    run(w, S(120));
    assert_string_equal(of(w)->reported, "open");
    unsigned updates = of(w)->updates;
    run(w, S(600));
    assert_int_equal(of(w)->updates, updates);
    end(w);
}

static void a_refused_get_is_asked_again(void **state)
{
    struct world *w = with(7, "$aws/", "");
    of(w)->refuses_get = true;
    world_start(w, TCU_DRIVING);
    run(w, S(600));
    assert_in_range(of(w)->gets, 10, 200);
    assert_int_equal(of(w)->updates, 0);
    of(w)->refuses_get = false;
    run(w, S(60));
    assert_string_equal(of(w)->reported, "locked");
    end(w);
}

static void conflicts_are_got_and_done_again(void **state)
{
    struct world *w = with(8, "$aws/", "");
    w->profile.shadow_versions = true;
    of(w)->checks_versions = true;
    world_start(w, TCU_DRIVING);
    run(w, S(5));
    of(w)->conflict = 2;
    want(w, "unlocked");
    run(w, S(30));
    assert_string_equal(of(w)->reported, "unlocked");
    assert_int_equal(told(w, TCU_PROBE_SHADOW_CONFLICT), 2);
    assert_int_equal(tcu_shadow_version(w->tcu), of(w)->version);
    of(w)->always_conflict = true;
    strcpy(of(w)->doors, "open");
    tcu_shadow_changed(w->tcu, w->now_us);
    unsigned before = of(w)->updates;
    run(w, S(3600));
    assert_in_range(of(w)->updates - before, 60, 300); /* windows of a minute */
    of(w)->always_conflict = false;
    of(w)->desired[0] = 0;
    run(w, S(120));
    assert_string_equal(of(w)->reported, "open");
    end(w);
}

/* It says what it is like each time, the cloud says again what is missing: not as fast as the network is. */
static void what_the_car_cannot_is_tried_slowly(void **state)
{
    struct world *w = ready(9);
    of(w)->car_cannot = true;
    want(w, "unlocked");
    run(w, S(3600));
    assert_in_range(of(w)->sets, 30, 300);
    of(w)->car_cannot = false;
    run(w, S(180));
    assert_string_equal(of(w)->reported, "unlocked");
    end(w);
}

/* A shadow that is younger than the last one known. */
static void another_region_counts_anew(void **state)
{
    struct world *w = ready(10);
    for (unsigned i = 0; i < 20; i++) {
        want(w, i & 1 ? "locked" : "unlocked");
        run(w, S(3));
    }
    world_cut_link(w);
    w->forget_session = true;
    of(w)->version = 3;
    strcpy(of(w)->desired, "open");
    run(w, S(90));
    assert_string_equal(of(w)->reported, "open");
    assert_in_range(tcu_shadow_version(w->tcu), 4, 6);
    want(w, "locked");
    run(w, S(3));
    assert_string_equal(of(w)->reported, "locked");
    end(w);
}

static void a_command_runs_once(void **state)
{
    struct world *w = ready(11);
    want_command(w, "00000000000000a1", "do-5");
    tell_delta(w, ++of(w)->version);
    run(w, S(1));
    tell_delta(w, ++of(w)->version);
    run(w, S(2));
    assert_int_equal(w->executed[EXECUTED], 1);
    assert_string_equal(of(w)->status, "succeeded");
    assert_int_equal(of(w)->sets, 0);
    of(w)->command_ended = false; /* the cloud forgot: asks for the same id after a power cut */
    of(w)->status[0] = 0;
    world_power_cut(w);
    world_start(w, TCU_DRIVING);
    run(w, S(30));
    assert_int_equal(w->executed[EXECUTED], 1);
    assert_string_equal(of(w)->status, "succeeded");
    assert_true(told(w, TCU_PROBE_COMMAND_DUPLICATE) > 0);
    end(w);
}

/* Its time is over: the car says what it did, and does nothing. */
static void a_command_that_is_asked_about(void **state)
{
    struct world *w = ready(13);
    of(w)->over = true;
    want_command(w, "00000000000000c1", "do-8");
    run(w, S(2));
    assert_int_equal(w->executed[8], 0);
    assert_string_equal(of(w)->status, "expired");
    of(w)->over = false;
    want_command(w, "00000000000000c1", "do-8"); /* from somewhere it still comes */
    run(w, S(2));
    assert_int_equal(w->executed[8], 0);
    want_command(w, "00000000000000c2", "do-9");
    run(w, S(2));
    assert_int_equal(w->executed[9], 1);
    of(w)->over = true;
    of(w)->status[0] = 0;
    want_command(w, "00000000000000c2", "do-9");
    run(w, S(2));
    assert_int_equal(w->executed[9], 1);
    assert_string_equal(of(w)->status, "succeeded");
    end(w);
}

static void without_jobs(void **state)
{
    struct world *w = with(14, "$aws/", "");
    w->profile.no_jobs = true;
    tcu_profile_prepare(&w->profile);
    world_start(w, TCU_DRIVING);
    run(w, S(60));
    assert_int_equal(w->filter_count, 4);
    for (unsigned i = 0; i < w->filter_count; i++)
        assert_null(strstr(w->filters[i], "/jobs/"));
    assert_string_equal(of(w)->reported, "locked");
    end(w);
}

static void a_command_comes_with_settings_and_in_part(void **state)
{
    struct world *w = ready(12);
    strcpy(of(w)->desired, "unlocked");
    want_command(w, "00000000000000b2", "do-6");
    run(w, S(3));
    assert_int_equal(w->executed[6], 1);
    assert_string_equal(of(w)->last_set, "\"doors\":\"unlocked\"");
    assert_string_equal(of(w)->reported, "unlocked");
    of(w)->partial = true; /* the name is as reported before: only the id differs */
    unsigned gets = of(w)->gets;
    want_command(w, "00000000000000b3", "do-7");
    strcpy(of(w)->status, "");
    run(w, S(3));
    assert_int_equal(w->executed[7], 1);
    assert_string_equal(of(w)->status, "succeeded");
    assert_int_equal(of(w)->gets, gets + 1);
    end(w);
}

static void names_and_prefixes(void **state)
{
    static const char *const prefixes[] = {"$aws/", "convoy/%/"};
    for (unsigned i = 0; i < 2; i++) {
        struct world *w = with(20 + i, prefixes[i], "climate-of-the-whole-car");
        world_start(w, TCU_DRIVING);
        run(w, S(5));
        want(w, "unlocked");
        run(w, S(3));
        assert_string_equal(of(w)->reported, "unlocked");
        assert_int_equal(w->filter_count, i == 0 ? 5 : 2);
        end(w);
    }
}

static void three_one_one(void **state)
{
    struct world *w = with(30, "convoy/%/", "");
    w->profile.mqtt.version = MQ5_V311;
    tcu_profile_prepare(&w->profile);
    world_start(w, TCU_DRIVING);
    run(w, S(5));
    want(w, "unlocked");
    run(w, S(3));
    assert_string_equal(of(w)->reported, "unlocked");
    end(w);
}

/* Links break, answers vanish, the power goes; when that stops, the car is as is wanted, and the cloud knows. */
static void it_settles_in_the_end(void **state)
{
    for (uint64_t seed = 100; seed < 130; seed++) {
        struct world *w = with(seed, seed & 1 ? "$aws/" : "convoy/%/", "");
        w->profile.shadow_versions = seed & 2;
        world_start(w, TCU_DRIVING);
        for (unsigned i = 0; i < 40; i++) {
            run(w, world_below(w, 4000) * US_PER_MS);
            switch (world_below(w, 7)) {
            case 0: world_cut_link(w); break;
            case 1: of(w)->lose = world_below(w, 3); break;
            case 2: of(w)->conflict = world_below(w, 3); break;
            case 3: w->forget_session = true; break;
            case 4:
                of(w)->set_until_us = 0;
                world_power_cut(w);
                world_start(w, TCU_DRIVING);
                break;
            default: want(w, i & 1 ? "open" : "unlocked"); break;
            }
        }
        of(w)->lose = of(w)->conflict = 0;
        w->forget_session =
            true; /* what was lost on a resumed session is nobody's to notice: this broker keeps no deltas */
        world_cut_link(w);
        want(w, "ajar");
        run(w, S(400));
        assert_string_equal(of(w)->reported, "ajar");
        assert_int_equal(tcu_shadow_version(w->tcu), of(w)->version);
        end(w);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_report_makes_it),
        cmocka_unit_test(what_is_wanted_is_done_and_reported),
        cmocka_unit_test(one_thing_at_a_time),
        cmocka_unit_test(the_driver_is_reported),
        cmocka_unit_test(without_the_session_it_is_got),
        cmocka_unit_test(what_is_not_answered_is_repeated),
        cmocka_unit_test(a_refused_get_is_asked_again),
        cmocka_unit_test(conflicts_are_got_and_done_again),
        cmocka_unit_test(what_the_car_cannot_is_tried_slowly),
        cmocka_unit_test(another_region_counts_anew),
        cmocka_unit_test(a_command_runs_once),
        cmocka_unit_test(a_command_that_is_asked_about),
        cmocka_unit_test(without_jobs),
        cmocka_unit_test(a_command_comes_with_settings_and_in_part),
        cmocka_unit_test(names_and_prefixes),
        cmocka_unit_test(three_one_one),
        cmocka_unit_test(it_settles_in_the_end),
    };
    return world_both(tests);
}
