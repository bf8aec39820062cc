/* Files that load: the shipped scenarios' numbers, defaults, overrides, faults, scaling, rounding, hash, JSON. */
#include "script_rig.h"

#include <cjson/cJSON.h>

static struct script *shipped(const char *name, const struct script_options *options)
{
    char path[512], error[1024] = "";
    snprintf(path, sizeof(path), "%s/scenarios/%s.lua", CONVOY_SOURCE_DIR, name);
    struct script *script = script_load(path, options, error, sizeof(error));
    if (!script)
        print_error("%s\n", error);
    assert_non_null(script);
    return script;
}

static const struct scenario_parameter *parameter(const struct scenario *scenario, const char *name)
{
    for (uint32_t i = 0; i < scenario->parameter_count; i++)
        if (strcmp(scenario->parameters[i].name, name) == 0)
            return &scenario->parameters[i];
    fail_msg("no parameter %s", name);
    return NULL;
}

static const struct expectation *expectation(const struct scenario *scenario, const char *id)
{
    for (uint32_t i = 0; i < scenario->expectation_count; i++)
        if (strcmp(scenario->expectations[i].id, id) == 0)
            return &scenario->expectations[i];
    fail_msg("no expectation %s", id);
    return NULL;
}

/* ---- shipped --------------------------------------------------------------------------------------------------------- */

static void commute_peak(void **context)
{
    struct script *script = shipped("commute-peak", NULL);
    const struct scenario *scenario = script_scenario(script);
    assert_string_equal(scenario->name, "commute-peak");
    assert_int_equal(scenario->fleet, 100000);
    assert_int_equal(scenario->duration_us, US_PER_DAY);
    assert_int_equal(scenario->warm_up_us, 30 * US_PER_MIN);
    assert_int_equal(scenario->seed, 7);
    assert_int_equal(scenario->start_weekday, 2);
    assert_int_equal(scenario->start_of_day_us, 0);
    assert_int_equal(scenario->start_epoch_us, INT64_C(1772582400) * US_PER_S); /* date -u -d 2026-03-04 +%s */
    assert_int_equal(scenario->region_count, 2);
    assert_int_equal(scenario->regions[1].latency_us, 18000);
    assert_string_equal(scenario->regions[0].endpoint, "eu.fleet.test");
    assert_int_equal(scenario->cohort_count, 2);
    const struct scenario_cohort *suv = &scenario->cohorts[0], *city = &scenario->cohorts[1];
    assert_int_equal(suv->count, 60000);
    assert_int_equal(city->first, 60000);
    assert_int_equal(city->count, 40000);
    assert_string_equal(suv->radio.name, "lte-cat4");
    assert_string_equal(city->radio.name, "lte-cat-m1"); /* like = "suv", but for the radio */
    assert_int_equal(city->session_expiry_s, 7 * 86400);
    assert_true(suv->region_share[0] == 0.7 && suv->region_share[1] == 0.3);
    assert_int_equal(suv->firmware_count, 2);
    assert_string_equal(suv->firmware[1], "4.3.0-rc2");
    assert_int_equal(suv->identity, IDENTITY_CERTIFICATE);
    assert_int_equal(suv->provisioning, PROVISIONING_JUST_IN_TIME);
    assert_int_equal(suv->mqtt_version, 5);
    assert_int_equal(suv->parked.keep_alive_s, 1200);
    assert_int_equal(suv->driving.keep_alive_s, 60);
    assert_int_equal(suv->driving.telemetry_period_us, 10 * US_PER_S);
    assert_int_equal(suv->parked.telemetry_period_us, 0);
    assert_int_equal(suv->telemetry_qos, 1);
    assert_false(suv->drop_newest);
    assert_string_equal(suv->payload_text, "lognormal(300, 0.4)");
    assert_int_equal(suv->payload_bytes.value[SIM_TABLE_STEPS / 2], 300);
    assert_int_equal(suv->payload_max, suv->payload_bytes.value[SIM_TABLE_STEPS]);
    assert_int_equal(suv->driving_mode, DRIVING_TRIPS);
    assert_true(suv->trips.trips_per_day == 2.2);
    assert_int_equal(suv->power_up_within_us, 15 * US_PER_MIN);
    assert_int_equal(scenario->cloud.activation_us.value[SIM_TABLE_STEPS / 2], 1500000);
    assert_int_equal(scenario->cloud.processors, 4);
    assert_int_equal(scenario->cloud.certificate_lifetime_s, 365 * 86400);
    assert_int_equal(scenario->app_count, 1);
    assert_true(scenario->apps[0].users == 10000 && scenario->apps[0].per_day == 1.5);
    assert_int_equal(scenario->apps[0].cohort, MEASURE_ANY);
    assert_int_equal(scenario->phase_count, 2);
    assert_int_equal(scenario->phases[1].from_us, 16 * US_PER_HOUR);
    assert_int_equal(scenario->timeline_count, 1);
    assert_int_equal(scenario->timeline[0].at_us, 7 * US_PER_HOUR + 40 * US_PER_MIN);
    assert_in_range(scenario->expectation_count, 3, 64);
    const struct expectation *unlock = expectation(scenario, "unlock");
    assert_int_equal(unlock->source, EXPECT_METRIC);
    assert_int_equal(unlock->what, METRIC_COMMAND_ROUND_TRIP);
    assert_int_equal(unlock->filter.path, PATH_CONNECTED);
    assert_int_equal(unlock->filter.cohort, MEASURE_ANY);
    assert_true(unlock->confidence == 0.99 && unlock->quantile == 0.99);
    assert_string_equal(unlock->text, "p99 of command \"unlock\" round trip, path connected");
    script_free(script);
}

static void cellular_drops(void **context)
{
    struct script *script = shipped("cellular-drops", NULL);
    const struct scenario *scenario = script_scenario(script);
    assert_int_equal(scenario->fleet, 20000);
    assert_int_equal(scenario->duration_us, 4 * US_PER_HOUR);
    assert_int_equal(scenario->start_of_day_us, 6 * US_PER_HOUR);
    assert_true(scenario->cohorts[0].radio.drops_per_hour == 2 && scenario->cohorts[0].radio.holes_per_hour == 0.5);
    assert_int_equal(scenario->cohorts[0].radio.hole_mean_us, 60 * US_PER_S);
    assert_int_equal(scenario->cohorts[0].queue_capacity, 256);
    assert_int_equal(scenario->timeline_count, 2);
    assert_int_equal(scenario->timeline[1].every_us, US_PER_HOUR);
    assert_int_equal(scenario->timeline[1].at_us, US_PER_HOUR);
    const struct expectation *back = expectation(scenario, "comes-back");
    assert_int_equal(back->source, EXPECT_COUNTER);
    assert_int_equal(back->what, COUNTER_CONNECTED);
    assert_int_equal(back->temporal, EVENTUALLY);
    assert_int_equal(back->from_us, 2 * US_PER_HOUR + 5 * US_PER_MIN);
    assert_int_equal(back->by_us, 2 * US_PER_HOUR + 15 * US_PER_MIN);
    script_free(script);
}

static void smoke(void **context)
{
    struct script *script = shipped("smoke", NULL);
    const struct scenario *scenario = script_scenario(script);
    assert_int_equal(scenario->fleet, 500);
    assert_int_equal(scenario->cohorts[0].driving_mode, DRIVING_ALWAYS);
    assert_int_equal(scenario->cohorts[0].backoff_base_us, 500 * US_PER_MS);
    assert_int_equal(scenario->apps[0].from_us, 20 * US_PER_S);
    assert_true(scenario->apps[0].per_day == 1440);
    assert_string_equal(expectation(scenario, "provisioned")->needs, "registration");
    assert_int_equal(expectation(scenario, "acknowledged")->statistic, STATISTIC_SHARE);
    script_free(script);
}

/* Each fault of each shipped scenario: off as shipped, on by "on", to any number; and what it breaks is an expectation. */
static void faults_go_on_and_off(void **context)
{
    static const char *const names[] = {"commute-peak", "cellular-drops", "smoke"};
    for (size_t n = 0; n < 3; n++) {
        struct script *plain = shipped(names[n], NULL);
        const struct scenario *scenario = script_scenario(plain);
        uint32_t faults = 0;
        for (uint32_t i = 0; i < scenario->parameter_count; i++) {
            const struct scenario_parameter *off = &scenario->parameters[i];
            if (!off->fault)
                continue;
            faults++;
            assert_true(off->value == off->off && off->off != off->on && !off->overridden);
            for (uint32_t b = 0; b < off->breaks_count; b++)
                expectation(scenario, off->breaks[b]);
            static const char *const values[] = {"on", "off", "0.25"};
            for (int v = 0; v < 3; v++) {
                struct script_override override = {off->name, values[v]};
                if (strcmp(names[n], "cellular-drops") == 0 && v == 2)
                    override.value = "7";
                struct script_options options = {.overrides = &override, .override_count = 1};
                struct script *changed = shipped(names[n], &options);
                const struct scenario_parameter *now = parameter(script_scenario(changed), off->name);
                assert_true(now->overridden);
                assert_true(now->value == (v == 0 ? off->on : v == 1 ? off->off : atof(override.value)));
                script_free(changed);
            }
        }
        assert_in_range(faults, 2, 8);
        script_free(plain);
    }
}

static void a_fault_reaches_its_field(void **context)
{
    struct script_override overrides[] = {
        {"fault.drop_commands", "on"}, {"fault.delay_registration", "on"}, {"fault.lose_acknowledgements", "on"}};
    struct script_options options = {.overrides = overrides, .override_count = 3};
    struct script *script = shipped("smoke", &options);
    const struct scenario *scenario = script_scenario(script);
    assert_true(scenario->apps[0].loss == 0.2);
    assert_int_equal(scenario->cloud.activation_us.value[0], 30 * US_PER_S);
    assert_true(scenario->cohorts[0].acknowledgement_loss == 0.2);
    script_free(script);
}

/* ---- fleets ---------------------------------------------------------------------------------------------------------- */

static void fleet_option_sets_the_parameter(void **context)
{
    struct script_options options = {.fleet = 1000000};
    struct script *script = shipped("commute-peak", &options);
    const struct scenario *scenario = script_scenario(script);
    assert_int_equal(scenario->fleet, 1000000);
    assert_int_equal(scenario->cohorts[1].count, 400000);
    assert_true(scenario->apps[0].users == 100000);
    assert_true(parameter(scenario, "fleet")->value == 1000000 && parameter(scenario, "fleet")->overridden);
    script_free(script);
}

static const char three[] =
    "scenario \"a\" { duration = hours(1) }\nregion \"r\" { }\n"
    "cohort \"x\" { count = 10/3 }\ncohort \"y\" { count = 10/3 }\ncohort \"z\" { count = 10/3 }\n"
    "app \"p\" { users = 5, command = \"c\", rate = per_hour(2) }\n";

static void counts_round_to_the_rounded_sum(void **context)
{
    struct script *script = rig_load_text(three);
    const struct scenario *scenario = script_scenario(script);
    assert_int_equal(scenario->fleet, 10);
    uint32_t next = 0;
    for (uint32_t i = 0; i < 3; i++) {
        assert_int_equal(scenario->cohorts[i].first, next);
        assert_in_range(scenario->cohorts[i].count, 3, 4);
        next += scenario->cohorts[i].count;
    }
    assert_int_equal(next, 10);
    script_free(script);
}

static void counts_scale_without_a_parameter(void **context)
{
    struct script_options options = {0};
    for (options.fleet = 1; options.fleet < 5000; options.fleet = options.fleet * 2 + 1) {
        struct script *script = rig_load(three, sizeof(three) - 1, &options);
        const struct scenario *scenario = script_scenario(script);
        assert_int_equal(scenario->fleet, options.fleet);
        for (uint32_t i = 0; i < 3; i++)
            assert_in_range(scenario->cohorts[i].count, options.fleet / 3, options.fleet / 3 + 1);
        assert_true(scenario->apps[0].users > options.fleet * 0.49 && scenario->apps[0].users < options.fleet * 0.51);
        script_free(script);
    }
}

static void other_options(void **context)
{
    struct script_options options = {.duration_us = 10 * US_PER_MIN, .has_seed = true, .seed = UINT64_MAX};
    struct script *script =
        shipped("commute-peak", &options); /* phases and a timeline behind the end are no mistake then */
    assert_int_equal(script_scenario(script)->duration_us, 10 * US_PER_MIN);
    assert_true(script_scenario(script)->seed == UINT64_MAX);
    script_free(script);
}

/* ---- defaults, hash, JSON -------------------------------------------------------------------------------------------- */

static void defaults(void **context)
{
    struct script *script =
        rig_load_text("scenario \"a\" { duration = hours(1) }\nregion \"r\" { }\ncohort \"x\" { count = 1 }\n");
    const struct scenario *scenario = script_scenario(script);
    const struct scenario_cohort *cohort = &scenario->cohorts[0];
    assert_int_equal(scenario->seed, 1);
    assert_string_equal(scenario->regions[0].endpoint, "r.fleet.test");
    assert_true(cohort->region_share[0] == 1);
    assert_int_equal(cohort->firmware_count, 1);
    assert_string_equal(cohort->radio.name, "lte-cat4");
    assert_int_equal(cohort->identity, IDENTITY_CERTIFICATE);
    assert_int_equal(cohort->provisioning, PROVISIONING_DONE);
    assert_int_equal(cohort->driving.keep_alive_s, 60);
    assert_int_equal(cohort->parked.keep_alive_s, 1200);
    assert_int_equal(cohort->driving.telemetry_period_us, 10 * US_PER_S);
    assert_int_equal(cohort->queue_capacity, 64);
    assert_int_equal(cohort->backoff_base_us, US_PER_S);
    assert_int_equal(cohort->backoff_cap_us, US_PER_MIN);
    assert_int_equal(cohort->acknowledge_timeout_us, 30 * US_PER_S);
    assert_int_equal(cohort->execute_us, 150 * US_PER_MS);
    assert_int_equal(cohort->on_event, 0);
    assert_int_equal(scenario->cloud.processors, 2);
    assert_int_equal(scenario->cloud.issue_us, 40 * US_PER_MS);
    assert_string_equal(scenario->cloud.profile, "embedded");
    script_free(script);
}

static void sizes_stay_within_a_message(void **context)
{
    struct script *script = rig_load_text(
        RIG_HEAD "cohort \"b\" { count = 1, telemetry = every(seconds(1)):always():size(uniform(1, 1e6)) }\n"
                 "cohort \"c\" { count = 1, telemetry = every(seconds(1)):always():size(200) }\n");
    const struct scenario_cohort *cohort = &script_scenario(script)->cohorts[1];
    assert_int_equal(cohort->payload_bytes.value[0], 96);
    assert_int_equal(cohort->payload_max, 60000);
    assert_int_equal(cohort[1].payload_max, 200);
    assert_int_equal(cohort[1].parked.telemetry_period_us, US_PER_S);
    script_free(script);
}

static void hash_of(const char *text, size_t length, const struct script_options *options, char out[65])
{
    struct script *script = rig_load(text, length, options);
    assert_non_null(script);
    memcpy(out, script_scenario(script)->hash, 65);
    script_free(script);
}

static void the_hash_is_of_file_and_overrides(void **context)
{
    static const char text[] = "local a = param(\"a\", 1) local b = param(\"b\", 2)\n" RIG_HEAD;
    struct script_override ab[] = {{"a", "1"}, {"b", "3"}}, ba[] = {{"b", "3"}, {"a", "1"}};
    struct script_options first = {.overrides = ab, .override_count = 2},
                          second = {.overrides = ba, .override_count = 2};
    struct script_options one = {.overrides = ab, .override_count = 1}, fleet = {.fleet = 7};
    char plain[65], again[65], other[65], with[65], swapped[65], partly[65], scaled[65];
    hash_of(text, sizeof(text) - 1, NULL, plain);
    hash_of(text, sizeof(text) - 1, NULL, again);
    hash_of(text, sizeof(text) - 2, NULL, other);
    hash_of(text, sizeof(text) - 1, &first, with);
    hash_of(text, sizeof(text) - 1, &second, swapped);
    hash_of(text, sizeof(text) - 1, &one, partly);
    hash_of(text, sizeof(text) - 1, &fleet, scaled);
    assert_int_equal(strlen(plain), 64);
    assert_string_equal(plain, again);
    assert_string_equal(with, swapped);
    assert_string_not_equal(plain, other);
    assert_string_not_equal(plain, with);
    assert_string_not_equal(partly, with);
    assert_string_not_equal(partly, plain);
    assert_string_not_equal(scaled, plain);
}

static void described_as_json(void **context)
{
    struct script_override override = {"fault.drop_commands", "on"};
    struct script_options options = {.overrides = &override, .override_count = 1};
    struct script *script = shipped("smoke", &options);
    char *text = script_describe_json(script);
    cJSON *root = cJSON_Parse(text);
    assert_non_null(root);
    assert_string_equal(cJSON_GetObjectItem(root, "name")->valuestring, "smoke");
    assert_string_equal(cJSON_GetObjectItem(root, "hash")->valuestring, script_scenario(script)->hash);
    assert_int_equal(cJSON_GetObjectItem(root, "fleet")->valueint, 500);
    assert_true(cJSON_GetObjectItem(root, "duration_s")->valuedouble == 60);
    const cJSON *fault = cJSON_GetArrayItem(cJSON_GetObjectItem(root, "faults"), 0);
    assert_string_equal(cJSON_GetObjectItem(fault, "name")->valuestring, "fault.drop_commands");
    assert_true(cJSON_GetObjectItem(fault, "value")->valuedouble == 0.2 &&
                cJSON_GetObjectItem(fault, "off")->valuedouble == 0);
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(fault, "breaks")), 1);
    const cJSON *fleet = cJSON_GetArrayItem(cJSON_GetObjectItem(root, "parameters"), 0);
    assert_string_equal(cJSON_GetObjectItem(fleet, "kind")->valuestring, "number");
    assert_true(cJSON_IsFalse(cJSON_GetObjectItem(fleet, "overridden")));
    assert_string_equal(
        cJSON_GetObjectItem(cJSON_GetArrayItem(cJSON_GetObjectItem(root, "parameters"), 1), "value")->valuestring,
        "certificate");
    const cJSON *expectations = cJSON_GetObjectItem(root, "expectations");
    assert_int_equal(cJSON_GetArraySize(expectations), script_scenario(script)->expectation_count);
    const cJSON *first = cJSON_GetArrayItem(expectations, 0);
    assert_string_equal(cJSON_GetObjectItem(first, "comparison")->valuestring, "below");
    assert_string_equal(cJSON_GetObjectItem(first, "unit")->valuestring, "us");
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(root, "cohorts")), 1);
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(root, "regions")), 1);
    assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItem(root, "apps")), 1);
    cJSON_Delete(root);
    free(text);
    script_free(script);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commute_peak),
        cmocka_unit_test(cellular_drops),
        cmocka_unit_test(smoke),
        cmocka_unit_test(faults_go_on_and_off),
        cmocka_unit_test(a_fault_reaches_its_field),
        cmocka_unit_test(fleet_option_sets_the_parameter),
        cmocka_unit_test(counts_round_to_the_rounded_sum),
        cmocka_unit_test(counts_scale_without_a_parameter),
        cmocka_unit_test(other_options),
        cmocka_unit_test(defaults),
        cmocka_unit_test(sizes_stay_within_a_message),
        cmocka_unit_test(the_hash_is_of_file_and_overrides),
        cmocka_unit_test(described_as_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
