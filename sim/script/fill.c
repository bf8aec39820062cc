/* fill.c: the table that the prelude leaves (`plan`) -> struct scenario. The prelude has checked what the file says; here every value is
 * taken as if it had not, because a scenario can reach into the objects it was given. */
#include "memory.h"
#include "reader.h"
#include "sim/models.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define PAYLOAD_MIN 96 /* below it a telemetry message has no room for its own fields */
#define PAYLOAD_MAX 60000
#define FLEET_MAX   100000000.0

/* ---- parameters, regions, cloud -------------------------------------------------------------------------------------- */

static void value_of(struct reader *reader, const char *key, enum parameter_kind *kind, double *value, char *out,
                     size_t capacity)
{
    int type = reader_push(reader, key);
    *kind = type == LUA_TBOOLEAN ? PARAMETER_BOOLEAN : type == LUA_TSTRING ? PARAMETER_TEXT : PARAMETER_NUMBER;
    *value = type == LUA_TBOOLEAN  ? lua_toboolean(reader->lua, -1)
             : type == LUA_TNUMBER ? lua_tonumber(reader->lua, -1)
                                   : 0;
    if (type == LUA_TSTRING)
        snprintf(out, capacity, "%s", lua_tostring(reader->lua, -1));
    else if (type == LUA_TBOOLEAN)
        snprintf(out, capacity, "%s", *value != 0 ? "true" : "false");
    else if (type == LUA_TNUMBER)
        snprintf(out, capacity, "%.12g", *value);
    else
        reader_spoilt(reader, key);
    reader_leave(reader);
}

static void fill_parameter(struct reader *reader, struct scenario_parameter *parameter)
{
    parameter->line = reader_whole(reader, "line", 1e9);
    reader->line = (int)parameter->line;
    reader_text(reader, "name", parameter->name, sizeof(parameter->name));
    reader_text(reader, "text", parameter->text, sizeof(parameter->text));
    value_of(reader, "standard", &parameter->kind, &parameter->standard, parameter->standard_text,
             sizeof(parameter->standard_text));
    value_of(reader, "value", &parameter->kind, &parameter->value, parameter->value_text,
             sizeof(parameter->value_text));
    parameter->overridden = reader_flag(reader, "overridden");
    parameter->fault = reader_flag(reader, "fault");
    if (!parameter->fault)
        return;
    parameter->off = reader_number(reader, "off", -INFINITY, INFINITY);
    parameter->on = reader_number(reader, "on", -INFINITY, INFINITY);
    parameter->breaks_count = reader_enter_list(reader, "breaks", SCENARIO_SHARES, 0, NULL);
    for (uint32_t i = 0; i < parameter->breaks_count; i++) {
        size_t length = 0;
        const char *id =
            lua_rawgeti(reader->lua, -1, i + 1) == LUA_TSTRING ? lua_tolstring(reader->lua, -1, &length) : NULL;
        if (!id || length >= sizeof(parameter->breaks[i]))
            reader_spoilt(reader, "breaks");
        memcpy(parameter->breaks[i], id, length + 1);
        reader_leave(reader);
    }
    reader_leave(reader);
}

static void fill_region(struct reader *reader, struct scenario_region *region)
{
    region->line = reader_whole(reader, "line", 1e9);
    reader->line = (int)region->line;
    reader_text(reader, "name", region->name, sizeof(region->name));
    reader_text(reader, "endpoint", region->endpoint, sizeof(region->endpoint));
    region->latency_us = reader_time_us(reader, "latency");
    region->residency = (uint16_t)reader_whole(reader, "residency_bits", UINT16_MAX);
    region->sni_only = reader_flag(reader, "sni_only");
}

static void fill_cloud(struct reader *reader, struct scenario_cloud *cloud)
{
    static const char *const kinds[] = {"modelled", "real", NULL};
    reader_enter(reader, "cloud");
    strcpy(cloud->profile, "embedded");
    reader_table(reader, "activation", 0, LONGEST_US, &cloud->activation_us, NULL, 0);
    cloud->certificate_lifetime_s = reader_time_us(reader, "certificate_lifetime") / US_PER_S;
    cloud->issue_us = reader_time_us(reader, "issue");
    cloud->processors = reader_whole(reader, "processors", 64);
    cloud->keep_alive_maximum_s =
        (uint16_t)(reader_number(reader, "keep_alive_maximum", 0, 65535.0 * US_PER_S) / US_PER_S);
    cloud->session_expiry_maximum_s = (uint32_t)(reader_time_us(reader, "session_expiry_maximum") / US_PER_S);
    cloud->receive_maximum = (uint16_t)reader_whole(reader, "receive_maximum", 65535);
    cloud->topic_alias_maximum = (uint16_t)reader_whole(reader, "topic_alias_maximum", 65535);
    cloud->service_us = reader_time_us(reader, "service");
    cloud->real_cryptography = reader_choice(reader, "cryptography", kinds) == 1;
    reader_leave(reader);
}

static void fill_lifecycle_faults(struct reader *reader, struct scenario_lifecycle *lifecycle)
{
    const struct {
        const char *name;
        double *share;
    } faults[] = {
        {"forget_deactivation", &lifecycle->forget_deactivation},
        {"never_activate", &lifecycle->never_activate},
        {"forget_cut", &lifecycle->forget_cut},
        {"forget_revocation", &lifecycle->forget_revocation},
        {"keep_data", &lifecycle->keep_data},
        {"lose_answers", &lifecycle->lose_answers},
        {"vin_in_clear", &lifecycle->vin_in_clear},
        {"share_identity", &lifecycle->share_identity},
    };
    reader_enter(reader, "faults");
    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++)
        *faults[i].share = reader_number(reader, faults[i].name, 0, 1);
    reader_leave(reader);
}

static void fill_lifecycle(struct reader *reader, struct scenario_lifecycle *lifecycle)
{
    static const char *const decisions[] = {"revoke", "quarantine", "report",
                                            NULL}; /* scenario_lifecycle.clone_decision */
    reader_enter(reader, "lifecycle");
    lifecycle->on = reader_flag(reader, "on");
    reader_text(reader, "policy", lifecycle->vehicle_policy, sizeof(lifecycle->vehicle_policy));
    reader_text(reader, "claim_policy", lifecycle->claim_policy, sizeof(lifecycle->claim_policy));
    lifecycle->rollout_per_minute = reader_whole(reader, "rollout", 1e7);
    lifecycle->rotation_timeout_us = reader_time_us(reader, "timeout");
    lifecycle->rotation_retries = reader_whole(reader, "retries", 10);
    lifecycle->abort_share = reader_number(reader, "abort_share", 0, 1);
    lifecycle->abort_minimum = reader_whole(reader, "abort_minimum", 1e9);
    lifecycle->expiring_within_s = reader_time_us(reader, "expiring_within") / US_PER_S;
    reader_table(reader, "cut", 0, LONGEST_US, &lifecycle->cut_us, NULL, 0);
    lifecycle->cut_bound_us = reader_time_us(reader, "bound");
    lifecycle->clone_takeovers = reader_whole(reader, "takeovers", 1000);
    lifecycle->clone_window_us = reader_time_us(reader, "within");
    lifecycle->clone_decision = (uint8_t)reader_choice(reader, "decision", decisions);
    lifecycle->ecus = reader_whole(reader, "ecus", 8);
    lifecycle->scan_for_vins = reader_flag(reader, "scan_for_vins");
    lifecycle->require_device = reader_flag(reader, "require_device");
    lifecycle->probe_old = reader_flag(reader, "probe_old");
    fill_lifecycle_faults(reader, lifecycle);
    reader_leave(reader);
}

/* ---- cohorts --------------------------------------------------------------------------------------------------------- */

static void fill_shares(struct reader *reader, struct scenario_cohort *cohort, uint32_t regions)
{
    double sum = 0;
    uint32_t count = reader_enter_list(reader, "regions", 16, 0, NULL);
    for (uint32_t i = 1; i <= count; i++) {
        reader_enter_at(reader, i, "regions");
        uint32_t index = reader_whole(reader, "index", regions);
        if (index < 1)
            reader_spoilt(reader, "region");
        sum += cohort->region_share[index - 1] = reader_number(reader, "share", 0, 1);
        reader_leave(reader);
    }
    reader_leave(reader);
    for (uint32_t i = 0; i < 16; i++)
        cohort->region_share[i] /= sum > 0 ? sum : 1;
    sum = 0;
    cohort->firmware_count = reader_enter_list(reader, "firmware", SCENARIO_SHARES, 0, NULL);
    for (uint32_t i = 0; i < cohort->firmware_count; i++) {
        reader_enter_at(reader, i + 1, "firmware");
        reader_text(reader, "name", cohort->firmware[i], sizeof(cohort->firmware[i]));
        sum += cohort->firmware_share[i] = reader_number(reader, "share", 0, 1);
        reader_leave(reader);
    }
    reader_leave(reader);
    for (uint32_t i = 0; i < cohort->firmware_count; i++)
        cohort->firmware_share[i] /= sum > 0 ? sum : 1;
}

/* What the modem's sleep and the network do to connections. */
static void fill_radio_network(struct reader *reader, struct link_profile *radio)
{
    const struct {
        const char *name;
        int64_t *us;
    } times[] = {{"edrx", &radio->edrx_cycle_us},
                 {"edrx_window", &radio->edrx_window_us},
                 {"psm_active", &radio->psm_active_us},
                 {"psm_period", &radio->psm_period_us},
                 {"nat_idle", &radio->nat_idle_us},
                 {"search", &radio->search_us}};
    for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++)
        if (reader_has(reader, times[i].name))
            *times[i].us = reader_time_us(reader, times[i].name);
}

void fill_radio(struct reader *reader, const char *key, struct link_profile *radio)
{
    char name[64];
    reader_enter(reader, key);
    reader_text(reader, "name", name, sizeof(name));
    const struct link_profile *known = link_profile_find(name);
    if (!known)
        reader_spoilt(reader, "radio");
    *radio = *known;
    if (reader_has(reader, "latency")) {
        radio->latency_median_us = reader_time_us(reader, "latency");
        if (radio->latency_minimum_us > radio->latency_median_us)
            radio->latency_minimum_us = radio->latency_median_us;
    }
    if (reader_has(reader, "sigma"))
        radio->latency_sigma = reader_number(reader, "sigma", 0, 3);
    if (reader_has(reader, "up"))
        radio->up_bytes_per_s = reader_whole(reader, "up", 1e9);
    if (reader_has(reader, "down"))
        radio->down_bytes_per_s = reader_whole(reader, "down", 1e9);
    if (reader_has(reader, "loss"))
        radio->loss_ppm = (uint32_t)lround(reader_number(reader, "loss", 0, 1) * 1e6);
    if (reader_has(reader, "drops_per_hour"))
        radio->drops_per_hour = reader_number(reader, "drops_per_hour", 0, 3600);
    if (reader_has(reader, "holes_per_hour"))
        radio->holes_per_hour = reader_number(reader, "holes_per_hour", 0, 3600);
    if (reader_has(reader, "hole"))
        radio->hole_mean_us = reader_time_us(reader, "hole");
    fill_radio_network(reader, radio);
    fill_radio_rates(reader, radio);
    reader_leave(reader);
    link_profile_build(radio);
}

static void fill_identity(struct reader *reader, struct scenario_cohort *cohort)
{
    static const char *const kinds[] = {"none", "password", "certificate", NULL};       /* enum scenario_identity */
    static const char *const provisionings[] = {"done", "just-in-time", "claim", NULL}; /* enum scenario_provisioning */
    reader_enter(reader, "identity");
    cohort->identity = (enum scenario_identity)reader_choice(reader, "kind", kinds);
    cohort->provisioning = (enum scenario_provisioning)reader_choice(reader, "provisioning", provisionings);
    reader_text(reader, "user", cohort->user_name, sizeof(cohort->user_name));
    reader_text(reader, "password", cohort->password, sizeof(cohort->password));
    cohort->server_key = reader_flag(reader, "server_key");
    if (reader_has(reader, "expires"))
        reader_seconds_table(reader, "expires", 1, &cohort->certificate_left_s);
    reader_leave(reader);
    uint32_t steals = reader_whole(reader, "steals", 64);
    cohort->steals = steals ? (uint16_t)(steals - 1) : MEASURE_ANY;
    cohort->steals_old = reader_flag(reader, "steals_old");
    cohort->strangers = reader_flag(reader, "strangers");
}

static void fill_mqtt(struct reader *reader, struct scenario_cohort *cohort)
{
    reader_enter(reader, "mqtt");
    cohort->mqtt_version = (uint8_t)reader_number(reader, "version", 4, 5);
    cohort->driving.keep_alive_s = (uint16_t)reader_whole(reader, "driving", 65535);
    cohort->parked.keep_alive_s = (uint16_t)reader_whole(reader, "parked", 65535);
    cohort->session_expiry_s = reader_whole(reader, "session_expiry", UINT32_MAX);
    cohort->driving.session_expiry_s = reader_whole(reader, "driving_session", UINT32_MAX);
    cohort->parked.session_expiry_s = reader_whole(reader, "parked_session", UINT32_MAX);
    cohort->receive_maximum = (uint16_t)reader_whole(reader, "receive_maximum", 65535);
    cohort->outgoing_maximum = (uint16_t)reader_whole(reader, "outgoing_maximum", 65535);
    cohort->alias_slots = (uint16_t)reader_whole(reader, "topic_aliases", 65535);
    cohort->alias_maximum = (uint16_t)reader_whole(reader, "aliases_taken", 16);
    cohort->reconnect_on_power_change = reader_flag(reader, "reconnect");
    reader_leave(reader);
}

static void fill_telemetry(struct reader *reader, struct scenario_cohort *cohort)
{
    static const char *const rules[] = {"drop-oldest", "drop-newest", NULL};
    reader_enter(reader, "telemetry");
    cohort->driving.telemetry_period_us = reader_time_us(reader, "driving");
    cohort->parked.telemetry_period_us = reader_time_us(reader, "parked");
    cohort->telemetry_qos = (uint8_t)reader_number(reader, "level", 0, 2);
    cohort->queue_capacity = (uint16_t)reader_number(reader, "capacity", 1, 65535);
    cohort->drop_newest = reader_choice(reader, "rule", rules) == 1;
    cohort->acknowledgement_loss = reader_number(reader, "ack_loss", 0, 1);
    reader_table(reader, "bytes", PAYLOAD_MIN, PAYLOAD_MAX, &cohort->payload_bytes, cohort->payload_text,
                 sizeof(cohort->payload_text));
    cohort->payload_max = (uint32_t)cohort->payload_bytes.value[SIM_TABLE_STEPS];
    reader_leave(reader);
}

static void fill_trips(struct reader *reader, struct scenario_cohort *cohort)
{
    static const char *const modes[] = {"trips", "always", "never", NULL}; /* enum scenario_driving */
    reader_enter(reader, "trips");
    cohort->driving_mode = (enum scenario_driving)reader_choice(reader, "mode", modes);
    trip_profile_commute(&cohort->trips);
    if (reader_has(reader, "trips_per_day"))
        cohort->trips.trips_per_day = reader_number(reader, "trips_per_day", 0, TRIPS_PER_DAY_MAX);
    if (reader_has(reader, "parked_all_day"))
        cohort->trips.parked_all_day = reader_number(reader, "parked_all_day", 0, 1);
    if (reader_has(reader, "mean"))
        cohort->trips.duration_mean_s = reader_number(reader, "mean", 1, 86400);
    if (reader_has(reader, "sigma"))
        cohort->trips.duration_sigma = reader_number(reader, "sigma", 0, 5);
    reader_leave(reader);
    trip_profile_build(&cohort->trips);
}

static void fill_cohort(struct reader *reader, struct scenario_cohort *cohort, uint32_t regions)
{
    cohort->line = reader_whole(reader, "line", 1e9);
    reader->line = (int)cohort->line;
    reader_text(reader, "name", cohort->name, sizeof(cohort->name));
    cohort->wanted_count = reader_number(reader, "count", 0, FLEET_MAX);
    fill_shares(reader, cohort, regions);
    fill_radio(reader, "radio", &cohort->radio);
    fill_identity(reader, cohort);
    fill_mqtt(reader, cohort);
    fill_telemetry(reader, cohort);
    fill_trips(reader, cohort);
    cohort->power_up_within_us = reader_time_us(reader, "power_up");
    reader_enter(reader, "backoff");
    cohort->backoff_base_us = reader_time_us(reader, "base");
    cohort->backoff_cap_us = reader_time_us(reader, "cap");
    cohort->stable_us = reader_time_us(reader, "stable");
    cohort->no_jitter = reader_flag(reader, "no_jitter");
    reader_leave(reader);
    cohort->acknowledge_timeout_us = reader_time_us(reader, "acknowledge_timeout");
    cohort->connect_timeout_us = reader_time_us(reader, "connect_timeout");
    cohort->execute_us = reader_time_us(reader, "execute");
    fill_parking(reader, cohort);
    cohort->on_event = reader_has(reader, "on_event") ? (int)reader_whole(reader, "on_event", 1e6) : 0;
}

/* Whole vehicles: each cohort ends where the running sum of what was written, rounded, says; so the parts sum to the rounded whole. */
static void number_vehicles(struct reader *reader, struct scenario *scenario, double factor)
{
    double sum = 0;
    uint32_t first = 0;
    for (uint32_t i = 0; i < scenario->cohort_count; i++) {
        struct scenario_cohort *cohort = &scenario->cohorts[i];
        sum += cohort->wanted_count * factor;
        if (sum > FLEET_MAX)
            sandbox_fail(reader->lua, (int)cohort->line,
                         "more than %.0f vehicles in all; make the cohorts' counts smaller", FLEET_MAX);
        uint32_t end = (uint32_t)llround(sum);
        cohort->first = first;
        cohort->count = end - first;
        first = end;
    }
    scenario->fleet = first;
    if (first == 0)
        sandbox_fail(reader->lua, (int)scenario->cohorts[0].line, "the fleet has no vehicles; give a cohort a count");
}

/* ---- apps, phases, timeline, expectations ---------------------------------------------------------------------------- */

static void fill_app(struct reader *reader, struct scenario_app *app, double factor)
{
    app->line = reader_whole(reader, "line", 1e9);
    reader->line = (int)app->line;
    reader_text(reader, "name", app->name, sizeof(app->name));
    reader_text(reader, "command", app->command, sizeof(app->command));
    app->users = reader_number(reader, "users", 0, 1e9) * factor;
    app->per_day = reader_number(reader, "per_day", 0, 1e7);
    app->thinks = reader_has(reader, "think");
    if (app->thinks)
        reader_table(reader, "think", 0, LONGEST_US, &app->think_us, NULL, 0);
    app->timeout_us = reader_time_us(reader, "timeout");
    app->loss = reader_number(reader, "loss", 0, 1);
    app->from_us = reader_time_us(reader, "from");
    app->to_us = reader_time_us(reader, "to");
    app->online_only = reader_flag(reader, "online_only");
    uint32_t cohort = reader_whole(reader, "cohort", 64);
    app->cohort = cohort ? (uint16_t)(cohort - 1) : MEASURE_ANY;
}

static void fill_phase(struct reader *reader, struct scenario_phase *phase)
{
    reader_text(reader, "name", phase->name, sizeof(phase->name));
    phase->from_us = reader_time_us(reader, "from");
    phase->to_us = reader_time_us(reader, "to");
    phase->excluded = reader_flag(reader, "excluded");
}

static void fill_timeline(struct reader *reader, struct scenario_timeline *entry)
{
    entry->line = reader_whole(reader, "line", 1e9);
    reader->line = (int)entry->line;
    entry->at_us = reader_time_us(reader, "at");
    entry->every_us = reader_time_us(reader, "every");
    entry->until_us = reader_time_us(reader, "till");
    entry->function = (int)reader_whole(reader, "fn", 1e6);
}

static uint32_t find_what(struct reader *reader, enum expectation_source source, const char *name)
{
    int found = -1;
    switch (source) {
    case EXPECT_METRIC: found = metric_find(name); break;
    case EXPECT_COUNTER: found = counter_find(name); break;
    case EXPECT_LEDGER: found = ledger_field_find(name); break;
    case EXPECT_COMMANDS: found = commands_field_find(name); break;
    }
    if (found < 0)
        reader_spoilt(reader, "what");
    return (uint32_t)found;
}

static void fill_filter(struct reader *reader, struct measure_dimension *filter)
{
    static const char *const paths[] = {"",     "connected", "queued", "tap",
                                        "edrx", "shadow",    NULL}; /* enum metric_path */
    uint32_t cohort = reader_whole(reader, "cohort_filter", 64), region = reader_whole(reader, "region_filter", 16);
    filter->cohort = cohort ? (uint16_t)(cohort - 1) : MEASURE_ANY;
    filter->region = region ? (uint16_t)(region - 1) : MEASURE_ANY;
    filter->path = (uint8_t)reader_choice(reader, "path_filter", paths);
}

/* "p99 of commands round trip, path connected" */
static void write_text(struct reader *reader, struct expectation *expectation)
{
    static const char *const words[] = {"",       "mean", "maximum", "minimum",
                                        "number", "",     "last",    "share"}; /* enum statistic */
    char statistic[32], noun[96], filters[200];
    snprintf(statistic, sizeof(statistic), "%s", words[expectation->statistic]);
    if (expectation->statistic == STATISTIC_QUANTILE)
        snprintf(statistic, sizeof(statistic), "p%.6g", expectation->quantile * 100);
    reader_text(reader, "text", noun, sizeof(noun));
    reader_text(reader, "filters", filters, sizeof(filters));
    snprintf(expectation->text, sizeof(expectation->text), "%.12s%s%.44s%.34s", statistic, statistic[0] ? " of " : "",
             noun, filters);
}

/* Counters that are added to the first. */
static void fill_also(struct reader *reader, struct expectation *expectation)
{
    if (!reader_has(reader, "also"))
        return;
    expectation->also_count = reader_enter_list(reader, "also", EXPECTATION_ALSO, 0, NULL);
    for (uint32_t i = 0; i < expectation->also_count; i++) {
        bool is_text = lua_rawgeti(reader->lua, -1, i + 1) == LUA_TSTRING;
        int counter = is_text ? counter_find(lua_tostring(reader->lua, -1)) : -1;
        if (counter < 0)
            reader_spoilt(reader, "also");
        expectation->also[i] = (uint8_t)counter;
        reader_leave(reader);
    }
    reader_leave(reader);
}

static void fill_source(struct reader *reader, struct expectation *expectation)
{
    static const char *const kinds[] = {"metric", "counter", "ledger", "commands", NULL}; /* enum expectation_source */
    static const char *const statistics[] = {"quantile", "mean", "max",   "min", "count",
                                             "total",    "last", "share", NULL}; /* enum statistic */
    char what[64];
    reader_enter(reader, "source");
    expectation->source = (enum expectation_source)reader_choice(reader, "kind", kinds);
    reader_text(reader, "what", what, sizeof(what));
    expectation->what = find_what(reader, expectation->source, what);
    fill_also(reader, expectation);
    expectation->statistic = (enum statistic)reader_choice(reader, "statistic", statistics);
    expectation->quantile = reader_number(reader, "q", 0, 1);
    expectation->from_us = reader_time_us(reader, "from");
    expectation->by_us = reader_time_us(reader, "by");
    expectation->with_excluded = reader_flag(reader, "with_excluded");
    fill_filter(reader, &expectation->filter);
    write_text(reader, expectation);
    reader_leave(reader);
}

static void fill_expectation(struct reader *reader, struct expectation *expectation)
{
    static const char *const comparisons[] = {"below",    "at_most", "above",
                                              "at_least", "equals",  NULL};       /* enum comparison */
    static const char *const temporals[] = {"end", "always", "eventually", NULL}; /* enum temporal */
    expectation->line = reader_whole(reader, "line", 1e9);
    reader->line = (int)expectation->line;
    reader_text(reader, "id", expectation->id, sizeof(expectation->id));
    fill_source(reader, expectation);
    expectation->comparison = (enum comparison)reader_choice(reader, "comparison", comparisons);
    expectation->bound = reader_number(reader, "bound", -1e18, 1e18);
    expectation->confidence = reader_number(reader, "confidence_wanted", 0, 1);
    expectation->minimum_samples = (uint64_t)reader_number(reader, "minimum_samples", 0, 1e12);
    expectation->temporal = (enum temporal)reader_choice(reader, "temporal", temporals);
    reader_text(reader, "needed", expectation->needs, sizeof(expectation->needs));
    const char *problem = expectation_problem(expectation);
    if (problem)
        sandbox_fail(reader->lua, reader->line, "expect \"%s\" (%s): %s", expectation->id, expectation->text, problem);
}

/* ---- all of it ------------------------------------------------------------------------------------------------------- */

/* Reads the list `key` of the plan entry by entry; the count grows with it. */
#define FILL_LIST(key, list, list_count, maximum, call)                                                                \
    do {                                                                                                               \
        void *room = NULL;                                                                                             \
        uint32_t wanted = reader_enter_list(&reader, key, maximum, sizeof(*(list)), &room);                            \
        (list) = room;                                                                                                 \
        for (uint32_t i = 0; i < wanted; i++) {                                                                        \
            reader_enter_at(&reader, i + 1, key);                                                                      \
            call;                                                                                                      \
            reader_leave(&reader);                                                                                     \
            (list_count) = i + 1;                                                                                      \
        }                                                                                                              \
        reader_leave(&reader);                                                                                         \
    } while (0)

static double fleet_factor(struct reader *reader, const struct script *script)
{
    double sum = 0;
    if (script->options.fleet == 0 || reader_flag(reader, "fleet_parameter"))
        return 1;
    for (uint32_t i = 0; i < script->scenario.cohort_count; i++)
        sum += script->scenario.cohorts[i].wanted_count;
    return sum > 0 ? script->options.fleet / sum : 1;
}

static void fill_head(struct reader *reader, struct scenario *scenario, const struct script_options *options)
{
    reader->line = (int)reader_whole(reader, "line", 1e9);
    reader_text(reader, "name", scenario->name, sizeof(scenario->name));
    scenario->start_epoch_us = (int64_t)reader_number(reader, "start_epoch", 0, 1e16);
    scenario->start_weekday = reader_whole(reader, "start_weekday", 6);
    scenario->start_of_day_us = reader_time_us(reader, "start_of_day");
    scenario->duration_us = reader_time_us(reader, "duration");
    scenario->warm_up_us = reader_time_us(reader, "warm_up");
    scenario->seed = options->has_seed ? options->seed : (uint64_t)reader_number(reader, "seed", 0, 9007199254740992.0);
}

void script_fill(struct script *script)
{
    struct scenario *scenario = &script->scenario;
    struct reader reader = {script, script->box.lua, 0};
    fill_head(&reader, scenario, &script->options);
    FILL_LIST("parameters", scenario->parameters, scenario->parameter_count, 256,
              fill_parameter(&reader, &scenario->parameters[i]));
    FILL_LIST("regions", scenario->regions, scenario->region_count, 16, fill_region(&reader, &scenario->regions[i]));
    fill_cloud(&reader, &scenario->cloud);
    fill_lifecycle(&reader, &scenario->cloud.lifecycle);
    fill_remote(&reader, &scenario->cloud.commands);
    fill_messages(&reader, &scenario->cloud.messages);
    fill_shadows(&reader, &scenario->cloud.shadow);
    FILL_LIST("cohorts", scenario->cohorts, scenario->cohort_count, 64,
              fill_cohort(&reader, &scenario->cohorts[i], scenario->region_count));
    fill_regions(&reader, scenario);
    double factor = fleet_factor(&reader, script);
    number_vehicles(&reader, scenario, factor);
    FILL_LIST("apps", scenario->apps, scenario->app_count, 64, fill_app(&reader, &scenario->apps[i], factor));
    FILL_LIST("tunnels", scenario->tunnels, scenario->tunnel_count, 64, fill_tunnel(&reader, &scenario->tunnels[i]));
    FILL_LIST("phases", scenario->phases, scenario->phase_count, 60, fill_phase(&reader, &scenario->phases[i]));
    FILL_LIST("timeline", scenario->timeline, scenario->timeline_count, 1024,
              fill_timeline(&reader, &scenario->timeline[i]));
    FILL_LIST("expectations", scenario->expectations, scenario->expectation_count, 256,
              fill_expectation(&reader, &scenario->expectations[i]));
}
