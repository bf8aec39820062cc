/* fleet_shadow.c: users who change desired, drivers who change the car, the car that follows, and the books of all that. */
#include "fleet_shadow.h"

#include "cloud/remote.h"
#include "cloud/reserved.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define TOPIC_MAX   256
#define ANSWER_US   (30 * US_PER_S) /* a request without answer is given up */
#define AGAIN_US    (2 * US_PER_S)  /* after a conflict, on average */
#define LEAST_US    (15 * US_PER_S) /* to settle, in a run that is faster than the calendar */
#define SALT_DEAF   0x5AD0
#define SALT_STALE  0x5AD1
#define FOR_FIRST   (SIM_FOR_SHADOW | 0x100)
#define FOR_VERSION (SIM_FOR_SHADOW | 0x200)

static const struct scenario_shadow *plan_of(const struct fleet *fleet)
{
    return &fleet->scenario->cloud.shadow;
}

void fleet_cloud_options(const struct scenario *scenario, struct cloud_options *options)
{
    static const struct cloud_shadow_options shadow;
    static const struct cloud_executions_options executions;
    const struct scenario_commands *commands = &scenario->cloud.commands;
    if (scenario->cloud.shadow.on)
        options->shadow = &shadow;
    if (commands->on && commands->pattern == CLOUD_PATTERN_EXECUTIONS)
        options->executions = &executions;
}

/* ---- chance ----------------------------------------------------------------------------------------------------------- */

static uint64_t draw(const struct fleet *fleet, uint32_t vehicle, struct fleet_shadow *shadow)
{
    return sim_random_at(fleet->scenario->seed, vehicle, SIM_FOR_SHADOW, shadow->draws++);
}

static double part(uint64_t word)
{
    return (double)(word >> 11) * 0x1p-53;
}

static bool is_faulty(const struct fleet *fleet, uint32_t vehicle, double share, uint64_t salt)
{
    return share > 0 && scenario_selected(fleet->scenario, vehicle, MEASURE_ANY, MEASURE_ANY, share, salt);
}

/* The next change of a Poisson process, in its window. Rates and windows are of the calendar. */
static int64_t next_change(const struct fleet *fleet, uint32_t vehicle, struct fleet_shadow *shadow, double per_day,
                           int64_t now_us)
{
    const struct scenario_shadow *plan = plan_of(fleet);
    int64_t duration_us = fleet->scenario->duration_us;
    int64_t until_us = plan->to_us ? plan->to_us : duration_us - 2 * plan->settle_us;
    double from_us = (double)now_us * fleet->speedup;
    if (per_day <= 0)
        return TIME_NEVER;
    from_us = from_us < (double)plan->from_us ? (double)plan->from_us : from_us;
    double at_us = from_us - log(part(draw(fleet, vehicle, shadow)) + 0x1p-53) * (double)US_PER_DAY / per_day;
    return at_us < (double)until_us ? (int64_t)(at_us / fleet->speedup) : TIME_NEVER;
}

static int16_t wrapped(const struct scenario_setting *setting, int32_t value)
{
    int32_t range = setting->high - setting->low + 1;
    return (int16_t)(setting->low + (value - setting->low) % range);
}

static int16_t first_value(const struct fleet *fleet, uint32_t vehicle, uint32_t number)
{
    const struct scenario_setting *setting = &plan_of(fleet)->settings[number];
    uint64_t word = sim_random_at(fleet->scenario->seed, vehicle, FOR_FIRST, number);
    return wrapped(setting, setting->low + (int32_t)(word % 30000));
}

/* ---- asking ----------------------------------------------------------------------------------------------------------- */

/* "$aws/things/car-7/shadow/update", named "$aws/things/car-7/shadow/name/cabin/update". */
static struct span topic_of(const struct fleet *fleet, const char *client_id, const char *thing, const char *end,
                            char out[TOPIC_MAX])
{
    const char *prefix = fleet->reserved, *mark = strchr(prefix, '%'), *name = plan_of(fleet)->name;
    int before = (int)(mark ? (size_t)(mark - prefix) : strlen(prefix));
    int length = snprintf(out, TOPIC_MAX, "%.*s%s%sthings/%s/shadow/%s%s%s%s", before, prefix, mark ? client_id : "",
                          mark ? mark + 1 : "", thing, name[0] ? "name/" : "", name, name[0] ? "/" : "", end);
    return length < TOPIC_MAX ? span_of(out, (size_t)length) : (struct span){0};
}

static void publish(struct fleet_shadows *shadows, uint32_t vehicle, int64_t now_us, const char *operation,
                    const char *payload)
{
    char topic[TOPIC_MAX], thing[SCENARIO_NAME + 16];
    scenario_vehicle_name(shadows->fleet->scenario, vehicle, thing, sizeof thing);
    struct mq5_publish message = {.qos = 1, .payload = span_text(payload)};
    message.topic = topic_of(shadows->fleet, FLEET_APP_DESK, thing, operation, topic);
    if (message.topic.length)
        shadows->bus->ops->publish(shadows->bus, now_us, &message);
}

static void put_token(const struct fleet_user *user, uint32_t number, char out[24])
{
    snprintf(out, 24, "app-%u-%u", number, user->serial);
}

static void read_shadow(struct fleet_shadows *shadows, uint32_t vehicle, struct fleet_shadow *shadow, uint32_t number,
                        int64_t now_us)
{
    struct fleet_user *user = &shadow->users[number];
    const struct scenario_shadow *plan = plan_of(shadows->fleet);
    char token[24], payload[64];
    if (!user->again) {
        uint64_t word = draw(shadows->fleet, vehicle, shadow);
        user->setting = (uint8_t)((uint32_t)word % plan->setting_count);
        const struct scenario_setting *setting = &plan->settings[user->setting];
        user->more = (int16_t)(1 + (uint32_t)(word >> 32) % (uint32_t)(setting->high - setting->low));
    }
    user->again = true; /* until it was accepted */
    user->serial++;
    user->step = USER_READING;
    user->due_us = now_us + ANSWER_US;
    put_token(user, number, token);
    snprintf(payload, sizeof payload, "{\"clientToken\":\"%s\"}", token);
    publish(shadows, vehicle, now_us, "get", payload);
}

/* What was read is as old as the thinking took: the version says so. */
static void write_shadow(struct fleet_shadows *shadows, uint32_t vehicle, struct fleet_shadow *shadow, uint32_t number,
                         int64_t now_us)
{
    struct fleet_user *user = &shadow->users[number];
    const struct scenario_shadow *plan = plan_of(shadows->fleet);
    char token[24], version[40], payload[160];
    bool blind = plan->ignore_versions > 0 && part(sim_random_at(shadows->fleet->scenario->seed, vehicle, FOR_VERSION,
                                                                 user->serial)) < plan->ignore_versions;
    user->serial++;
    user->step = USER_WRITING;
    user->due_us = now_us + ANSWER_US;
    put_token(user, number, token);
    snprintf(version, sizeof version, "\"version\":%llu,", (unsigned long long)user->version);
    snprintf(payload, sizeof payload, "{\"state\":{\"desired\":{\"%s\":%d}},%s\"clientToken\":\"%s\"}",
             plan->settings[user->setting].name, user->value, blind ? "" : version, token);
    publish(shadows, vehicle, now_us, "update", payload);
}

static void try_again(struct fleet_shadows *shadows, uint32_t vehicle, struct fleet_shadow *shadow,
                      struct fleet_user *user, int64_t now_us)
{
    user->step = USER_WAITS;
    user->due_us = now_us + (int64_t)((0.5 + part(draw(shadows->fleet, vehicle, shadow))) * (double)AGAIN_US);
}

/* ---- time ------------------------------------------------------------------------------------------------------------- */

static void arm(struct fleet_shadows *shadows, uint32_t vehicle, struct fleet_shadow *shadow)
{
    int64_t next_us = shadow->driver_us < shadow->apply_us ? shadow->driver_us : shadow->apply_us;
    for (uint32_t i = 0; i < SCENARIO_USERS; i++)
        next_us = shadow->users[i].due_us < next_us ? shadow->users[i].due_us : next_us;
    if (next_us >= shadow->armed_us)
        return;
    shadow->armed_us = next_us;
    shadows->wake(shadows->world, vehicle, next_us);
}

void fleet_shadow_start(struct fleet_shadows *shadows, uint32_t vehicle, struct fleet_shadow *shadow, int64_t now_us)
{
    const struct fleet *fleet = shadows->fleet;
    const struct scenario_shadow *plan = plan_of(fleet);
    *shadow = (struct fleet_shadow){.armed_us = TIME_NEVER, .apply_us = TIME_NEVER, .wished_us = -1, .online_us = -1};
    for (uint32_t i = 0; i < SCENARIO_SETTINGS; i++)
        shadow->target[i] = shadow->desired[i] = shadow->reported[i] = shadow->expected[i] = -1;
    for (uint32_t i = 0; i < plan->setting_count; i++)
        shadow->value[i] = first_value(fleet, vehicle, i);
    for (uint32_t i = 0; i < SCENARIO_USERS; i++)
        shadow->users[i].due_us =
            i < plan->users ? next_change(fleet, vehicle, shadow, plan->per_day, now_us) : TIME_NEVER;
    shadow->driver_us = next_change(fleet, vehicle, shadow, plan->driver_per_day, now_us);
    arm(shadows, vehicle, shadow);
}

static void user_due(struct fleet_shadows *shadows, uint32_t vehicle, struct fleet_shadow *shadow, uint32_t number,
                     int64_t now_us)
{
    struct fleet_user *user = &shadow->users[number];
    if (user->step == USER_WAITS)
        read_shadow(shadows, vehicle, shadow, number, now_us);
    else if (user->step == USER_THINKING)
        write_shadow(shadows, vehicle, shadow, number, now_us);
    else
        try_again(shadows, vehicle, shadow, user, now_us);
}

static void driver_due(struct fleet_shadows *shadows, uint32_t vehicle, struct fleet_shadow *shadow, struct tcu *tcu,
                       int64_t now_us)
{
    const struct scenario_shadow *plan = plan_of(shadows->fleet);
    uint64_t word = draw(shadows->fleet, vehicle, shadow);
    uint32_t number = (uint32_t)word % plan->setting_count;
    const struct scenario_setting *setting = &plan->settings[number];
    int32_t more = 1 + (int32_t)((uint32_t)(word >> 32) % (uint32_t)(setting->high - setting->low));
    shadow->driver_us = next_change(shadows->fleet, vehicle, shadow, plan->driver_per_day, now_us);
    if (!tcu)
        return; /* nobody at the wheel */
    shadow->value[number] = wrapped(setting, shadow->value[number] + more);
    shadow->changed_us = now_us;
    tcu_shadow_changed(tcu, now_us);
}

static void apply_due(struct fleet_shadows *shadows, uint32_t vehicle, struct fleet_shadow *shadow, struct tcu *tcu,
                      int64_t now_us)
{
    const struct fleet *fleet = shadows->fleet;
    const struct scenario_shadow *plan = plan_of(fleet);
    bool fails = plan->failures > 0 && part(draw(fleet, vehicle, shadow)) < plan->failures;
    bool deaf = is_faulty(fleet, vehicle, plan->deaf, SALT_DEAF);
    shadow->apply_us = TIME_NEVER;
    for (uint32_t i = 0; i < plan->setting_count; i++) {
        if (shadow->target[i] >= 0 && !fails && !deaf)
            shadow->value[i] = shadow->target[i];
        shadow->target[i] = -1;
    }
    if (tcu)
        tcu_shadow_done(tcu, now_us, !fails);
}

void fleet_shadow_due(struct fleet_shadows *shadows, uint32_t vehicle, struct fleet_shadow *shadow, struct tcu *tcu,
                      int64_t now_us)
{
    if (shadow->armed_us <= now_us)
        shadow->armed_us = TIME_NEVER;
    for (uint32_t i = 0; i < SCENARIO_USERS; i++)
        if (shadow->users[i].due_us <= now_us)
            user_due(shadows, vehicle, shadow, i, now_us);
    if (shadow->driver_us <= now_us)
        driver_due(shadows, vehicle, shadow, tcu, now_us);
    if (shadow->apply_us <= now_us)
        apply_due(shadows, vehicle, shadow, tcu, now_us);
    arm(shadows, vehicle, shadow);
}

/* ---- the car ---------------------------------------------------------------------------------------------------------- */

/* The number behind `"name":`, at the top or wherever it is; -1: none. */
static int16_t number_in(struct span members, const struct scenario_setting *setting)
{
    char key[SCENARIO_NAME + 4];
    size_t length = (size_t)snprintf(key, sizeof key, "\"%s\":", setting->name);
    for (uint32_t i = 0; i + length < members.length; i++) {
        if (memcmp(members.data + i, key, length) != 0)
            continue;
        int32_t value = 0;
        uint32_t at = i + (uint32_t)length, begin = at;
        for (; at < members.length && members.data[at] >= '0' && members.data[at] <= '9' && value < 30000; at++)
            value = value * 10 + (members.data[at] - '0');
        return at > begin && value >= setting->low && value <= setting->high ? (int16_t)value : -1;
    }
    return -1;
}

void fleet_shadow_set(struct fleet_shadows *shadows, uint32_t vehicle, struct fleet_shadow *shadow, int64_t now_us,
                      struct span wanted)
{
    const struct scenario_shadow *plan = plan_of(shadows->fleet);
    for (uint32_t i = 0; i < plan->setting_count; i++)
        shadow->target[i] = number_in(wanted, &plan->settings[i]);
    shadow->apply_us = now_us + plan->apply_us;
    arm(shadows, vehicle, shadow);
}

size_t fleet_shadow_state(const struct fleet *fleet, uint32_t vehicle, const struct fleet_shadow *shadow, char *out,
                          size_t capacity)
{
    const struct scenario_shadow *plan = plan_of(fleet);
    bool stale = is_faulty(fleet, vehicle, plan->stale_reports, SALT_STALE);
    size_t length = 0;
    for (uint32_t i = 0; i < plan->setting_count; i++) {
        char text[SCENARIO_NAME + 16];
        int value = stale ? first_value(fleet, vehicle, i) : shadow->value[i];
        int written = snprintf(text, sizeof text, "%s\"%s\":%d", i ? "," : "", plan->settings[i].name, value);
        if (length + (size_t)written <= capacity)
            memcpy(out + length, text, (size_t)written);
        length += (size_t)written;
    }
    return length;
}

void fleet_shadow_probe(struct fleet_shadow *shadow, int64_t now_us, const struct tcu_probe *probe)
{
    if (probe->kind == TCU_PROBE_ONLINE)
        shadow->online_us = now_us;
    else if (probe->kind == TCU_PROBE_OFFLINE)
        shadow->online_us = -1;
}

/* ---- what is heard ---------------------------------------------------------------------------------------------------- */

static int16_t setting_in(const cJSON *section, const struct scenario_setting *setting)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(section, setting->name);
    bool good = cJSON_IsNumber(item) && item->valuedouble >= setting->low && item->valuedouble <= setting->high;
    return good ? (int16_t)item->valuedouble : -1;
}

static uint64_t version_in(const cJSON *body)
{
    const cJSON *version = cJSON_GetObjectItemCaseSensitive(body, "version");
    return cJSON_IsNumber(version) && version->valuedouble > 0 ? (uint64_t)version->valuedouble : 0;
}

static struct measure_dimension who_of(const struct fleet *fleet, uint32_t vehicle)
{
    return (struct measure_dimension){(uint16_t)scenario_cohort_of(fleet->scenario, vehicle),
                                      (uint16_t)scenario_region_of(fleet->scenario, vehicle), PATH_ANY};
}

/* After every accepted update of anybody; an older one may come later. */
static void heard_document(struct fleet_shadows *shadows, uint32_t vehicle, struct fleet_shadow *shadow, int64_t now_us,
                           const cJSON *body)
{
    const struct fleet *fleet = shadows->fleet;
    const struct scenario_shadow *plan = plan_of(fleet);
    const cJSON *current = cJSON_GetObjectItemCaseSensitive(body, "current");
    const cJSON *state = cJSON_GetObjectItemCaseSensitive(current, "state");
    const cJSON *desired = cJSON_GetObjectItemCaseSensitive(state, "desired");
    const cJSON *reported = cJSON_GetObjectItemCaseSensitive(state, "reported");
    bool wished = false, same = true;
    if (version_in(current) <= shadow->version)
        return;
    shadow->version = version_in(current);
    for (uint32_t i = 0; i < plan->setting_count; i++) {
        int16_t wish = setting_in(desired, &plan->settings[i]);
        wished |= wish != shadow->desired[i];
        shadow->desired[i] = wish;
        shadow->reported[i] = setting_in(reported, &plan->settings[i]);
        same &= wish < 0 || wish == shadow->reported[i];
    }
    if (wished)
        shadow->changed_us = now_us;
    if (wished && !same && shadow->wished_us < 0)
        shadow->wished_us = now_us;
    if (!same || shadow->wished_us < 0)
        return;
    measure_sample(fleet->measure, METRIC_SHADOW_SYNC, who_of(fleet, vehicle), vehicle, shadow->wished_us,
                   now_us - shadow->wished_us);
    shadow->wished_us = -1;
}

static void was_read(struct fleet_shadows *shadows, uint32_t vehicle, struct fleet_shadow *shadow,
                     struct fleet_user *user, int64_t now_us, const cJSON *body)
{
    const struct scenario_shadow *plan = plan_of(shadows->fleet);
    const struct scenario_setting *setting = &plan->settings[user->setting];
    const cJSON *state = cJSON_GetObjectItemCaseSensitive(body, "state");
    int16_t found = setting_in(cJSON_GetObjectItemCaseSensitive(state, "desired"), setting);
    user->version = version_in(body);
    user->value = wrapped(setting, (found < 0 ? setting->low : found) + user->more);
    user->step = USER_THINKING;
    user->due_us = now_us + (int64_t)((0.5 + part(draw(shadows->fleet, vehicle, shadow))) * (double)plan->think_us);
}

static void was_accepted(struct fleet_shadows *shadows, uint32_t vehicle, struct fleet_shadow *shadow,
                         struct fleet_user *user, int64_t now_us)
{
    const struct scenario_shadow *plan = plan_of(shadows->fleet);
    const struct scenario_setting *setting = &plan->settings[user->setting];
    int16_t *expected = &shadow->expected[user->setting];
    *expected = wrapped(setting, (*expected < 0 ? setting->low : *expected) + user->more);
    shadow->changed_us = now_us;
    user->step = USER_WAITS;
    user->again = false;
    user->due_us = next_change(shadows->fleet, vehicle, shadow, plan->per_day, now_us);
    measure_count(shadows->fleet->measure, COUNTER_SHADOW_UPDATES, who_of(shadows->fleet, vehicle), now_us, 1);
}

static void answered(struct fleet_shadows *shadows, uint32_t vehicle, struct fleet_shadow *shadow, int64_t now_us,
                     bool accepted, const cJSON *body)
{
    const char *token = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(body, "clientToken"));
    const cJSON *code = cJSON_GetObjectItemCaseSensitive(body, "code");
    unsigned number, serial;
    if (!token || sscanf(token, "app-%u-%u", &number, &serial) != 2 || number >= SCENARIO_USERS)
        return;
    struct fleet_user *user = &shadow->users[number];
    if (serial != user->serial || (user->step != USER_READING && user->step != USER_WRITING))
        return; /* given up */
    bool reading = user->step == USER_READING, absent = cJSON_IsNumber(code) && code->valuedouble == 404;
    if (reading && (accepted || absent)) {
        was_read(shadows, vehicle, shadow, user, now_us, accepted ? body : NULL);
        return;
    }
    if (accepted) {
        was_accepted(shadows, vehicle, shadow, user, now_us);
        return;
    }
    if (!reading && cJSON_IsNumber(code) && code->valuedouble == 409)
        measure_count(shadows->fleet->measure, COUNTER_SHADOW_CONFLICTS, who_of(shadows->fleet, vehicle), now_us, 1);
    try_again(shadows, vehicle, shadow, user, now_us);
}

static bool contains(struct span text, const char *word)
{
    size_t length = strlen(word);
    for (uint32_t i = text.length; i-- > 0;)
        if (text.length - i >= length && memcmp(text.data + i, word, length) == 0)
            return true;
    return false;
}

static bool ends_with(struct span topic, const char *end)
{
    size_t length = strlen(end);
    return topic.length >= length && memcmp(topic.data + topic.length - length, end, length) == 0;
}

/* Behind "things/". */
static bool vehicle_in(const struct fleet *fleet, struct span topic, uint32_t *vehicle)
{
    static const char before[] = "things/";
    for (uint32_t i = 0; i + sizeof before - 1 < topic.length; i++) {
        if (memcmp(topic.data + i, before, sizeof before - 1) != 0)
            continue;
        const uint8_t *name = topic.data + i + sizeof before - 1;
        const uint8_t *slash = memchr(name, '/', (size_t)(topic.data + topic.length - name));
        return slash && scenario_vehicle_find(fleet->scenario, span_of(name, (size_t)(slash - name)), vehicle);
    }
    return false;
}

static void on_message(void *context, int64_t now_us, const struct mq5_publish *message)
{
    struct fleet_shadows *shadows = context;
    bool document = ends_with(message->topic, "/documents"), accepted = ends_with(message->topic, "/accepted");
    uint32_t vehicle;
    if (!document && !contains(message->payload, "\"clientToken\":\"app-"))
        return; /* a vehicle's own */
    if (!vehicle_in(shadows->fleet, message->topic, &vehicle))
        return;
    struct fleet_shadow *shadow = shadows->find(shadows->world, vehicle);
    cJSON *body = shadow ? cJSON_ParseWithLength((const char *)message->payload.data, message->payload.length) : NULL;
    if (body && document)
        heard_document(shadows, vehicle, shadow, now_us, body);
    else if (body)
        answered(shadows, vehicle, shadow, now_us, accepted, body);
    cJSON_Delete(body);
    if (shadow)
        arm(shadows, vehicle, shadow);
}

bool fleet_shadows_open(struct fleet_shadows *shadows, int64_t now_us)
{
    static const char *const ends[] = {"+/accepted", "+/rejected", "update/documents"};
    char topic[TOPIC_MAX];
    for (int i = 0; i < 3; i++) {
        struct span filter = topic_of(shadows->fleet, "+", "+", ends[i], topic);
        if (!filter.length ||
            shadows->bus->ops->subscribe(shadows->bus, now_us, filter, 1, on_message, shadows) >= 0x80)
            return false;
    }
    return true;
}

/* ---- the end ---------------------------------------------------------------------------------------------------------- */

/* Of the calendar; but what has to travel takes its time at any speed. */
static int64_t settling_us(const struct fleet *fleet)
{
    int64_t wanted_us = plan_of(fleet)->settle_us, least_us = wanted_us < LEAST_US ? wanted_us : LEAST_US;
    int64_t settle_us = (int64_t)((double)wanted_us / fleet->speedup);
    return settle_us < least_us ? least_us : settle_us;
}

static bool agrees(const struct fleet_shadow *shadow, uint32_t setting)
{
    int16_t expected = shadow->expected[setting], desired = shadow->desired[setting];
    if (shadow->reported[setting] != shadow->value[setting])
        return false;
    return desired == expected && (expected < 0 || shadow->reported[setting] == desired);
}

void fleet_shadow_finish(struct fleet *fleet, uint32_t vehicle, const struct fleet_trace *trace,
                         const struct fleet_shadow *shadow, int64_t now_us)
{
    int64_t end_us = now_us > 0 ? now_us - 1 : 0; /* belongs to the run */
    int64_t since_us = shadow->online_us > shadow->changed_us ? shadow->online_us : shadow->changed_us;
    if (trace->power_up_us < 0 || shadow->online_us < 0 || now_us - since_us < settling_us(fleet))
        return;
    bool diverged = false;
    for (uint32_t i = 0; i < plan_of(fleet)->setting_count; i++)
        diverged |= !agrees(shadow, i);
    if (!diverged)
        return;
    measure_count(fleet->measure, COUNTER_SHADOW_DIVERGED, fleet_who(trace, PATH_ANY), end_us, 1);
    measure_command_victim(fleet->measure, COUNTER_SHADOW_DIVERGED, vehicle, end_us);
}
