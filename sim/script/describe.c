/* describe.c: a loaded scenario as JSON, for programs (`convoy check --json`). */
#include "internal.h"

#include <cjson/cJSON.h>

static void add_value(cJSON *to, const char *key, enum parameter_kind kind, double value, const char *text)
{
    if (kind == PARAMETER_TEXT)
        cJSON_AddStringToObject(to, key, text);
    else if (kind == PARAMETER_BOOLEAN)
        cJSON_AddBoolToObject(to, key, value != 0);
    else
        cJSON_AddNumberToObject(to, key, value);
}

static cJSON *append(cJSON *list)
{
    cJSON *object = cJSON_CreateObject();
    cJSON_AddItemToArray(list, object);
    return object;
}

static void add_parameter(cJSON *list, const struct scenario_parameter *parameter)
{
    static const char *const kinds[] = {"number", "boolean", "text"};
    cJSON *object = append(list);
    cJSON_AddStringToObject(object, "name", parameter->name);
    cJSON_AddStringToObject(object, "kind", kinds[parameter->kind]);
    cJSON_AddStringToObject(object, "text", parameter->text);
    add_value(object, "value", parameter->kind, parameter->value, parameter->value_text);
    add_value(object, "standard", parameter->kind, parameter->standard, parameter->standard_text);
    cJSON_AddNumberToObject(object, "line", parameter->line);
    cJSON_AddBoolToObject(object, "overridden", parameter->overridden);
}

static void add_fault(cJSON *list, const struct scenario_parameter *fault)
{
    cJSON *object = append(list);
    cJSON_AddStringToObject(object, "name", fault->name);
    cJSON_AddStringToObject(object, "text", fault->text);
    cJSON_AddNumberToObject(object, "off", fault->off);
    cJSON_AddNumberToObject(object, "on", fault->on);
    cJSON_AddNumberToObject(object, "value", fault->value);
    cJSON_AddNumberToObject(object, "line", fault->line);
    cJSON_AddBoolToObject(object, "overridden", fault->overridden);
    cJSON *breaks = cJSON_AddArrayToObject(object, "breaks");
    for (uint32_t i = 0; i < fault->breaks_count; i++)
        cJSON_AddItemToArray(breaks, cJSON_CreateString(fault->breaks[i]));
}

static const char *unit_of(const struct expectation *expectation)
{
    bool amount = expectation->statistic == STATISTIC_COUNT;
    bool total = expectation->statistic == STATISTIC_TOTAL;
    if (expectation->statistic == STATISTIC_SHARE)
        return "share";
    if (expectation->source == EXPECT_METRIC)
        return amount ? "count" : metric_unit(expectation->what);
    if (expectation->source != EXPECT_COUNTER || counter_is_gauge(expectation->what))
        return "count";
    if (counter_is_bytes(expectation->what))
        return amount || total ? "bytes" : "bytes/s";
    return amount || total ? "count" : "1/s";
}

static void add_expectation(cJSON *list, const struct expectation *expectation)
{
    cJSON *object = append(list);
    cJSON_AddStringToObject(object, "id", expectation->id);
    cJSON_AddStringToObject(object, "text", expectation->text);
    cJSON_AddStringToObject(object, "comparison", comparison_name(expectation->comparison));
    cJSON_AddNumberToObject(object, "bound", expectation->bound);
    cJSON_AddStringToObject(object, "unit", unit_of(expectation));
    if (expectation->confidence > 0)
        cJSON_AddNumberToObject(object, "confidence", expectation->confidence);
    if (expectation->needs[0])
        cJSON_AddStringToObject(object, "needs", expectation->needs);
    cJSON_AddNumberToObject(object, "line", expectation->line);
}

static void add_cohort(cJSON *list, const struct scenario *scenario, const struct scenario_cohort *cohort)
{
    static const char *const identities[] = {"none", "password", "certificate"};
    static const char *const provisionings[] = {"done", "just-in-time", "claim"};
    cJSON *object = append(list);
    cJSON_AddStringToObject(object, "name", cohort->name);
    cJSON_AddNumberToObject(object, "first", cohort->first);
    cJSON_AddNumberToObject(object, "count", cohort->count);
    cJSON_AddStringToObject(object, "radio", cohort->radio.name);
    cJSON_AddStringToObject(object, "identity", identities[cohort->identity]);
    cJSON_AddStringToObject(object, "provisioning", provisionings[cohort->provisioning]);
    if (cohort->server_key)
        cJSON_AddBoolToObject(object, "server_key", true);
    if (cohort->certificate_left_s.value[SIM_TABLE_STEPS] > 0) {
        cJSON_AddNumberToObject(object, "certificate_left_least_s", (double)cohort->certificate_left_s.value[0]);
        cJSON_AddNumberToObject(object, "certificate_left_most_s",
                                (double)cohort->certificate_left_s.value[SIM_TABLE_STEPS]);
    }
    if (cohort->steals != MEASURE_ANY) {
        cJSON_AddStringToObject(object, "steals", scenario->cohorts[cohort->steals].name);
        cJSON_AddBoolToObject(object, "steals_old", cohort->steals_old);
    }
    if (cohort->strangers)
        cJSON_AddBoolToObject(object, "strangers", true);
    cJSON_AddStringToObject(object, "payload", cohort->payload_text);
    cJSON *regions = cJSON_AddObjectToObject(object, "regions"),
          *firmware = cJSON_AddObjectToObject(object, "firmware");
    for (uint32_t i = 0; i < scenario->region_count; i++)
        if (cohort->region_share[i] > 0)
            cJSON_AddNumberToObject(regions, scenario->regions[i].name, cohort->region_share[i]);
    for (uint32_t i = 0; i < cohort->firmware_count; i++)
        cJSON_AddNumberToObject(firmware, cohort->firmware[i], cohort->firmware_share[i]);
    cJSON_AddNumberToObject(object, "line", cohort->line);
}

static void add_region(cJSON *list, const struct scenario_region *region)
{
    cJSON *object = append(list);
    cJSON_AddStringToObject(object, "name", region->name);
    cJSON_AddStringToObject(object, "endpoint", region->endpoint);
    cJSON_AddNumberToObject(object, "latency_us", (double)region->latency_us);
    cJSON_AddNumberToObject(object, "line", region->line);
}

static void add_app(cJSON *list, const struct scenario_app *app)
{
    cJSON *object = append(list);
    cJSON_AddStringToObject(object, "name", app->name);
    cJSON_AddStringToObject(object, "command", app->command);
    cJSON_AddNumberToObject(object, "users", app->users);
    cJSON_AddNumberToObject(object, "per_day", app->per_day);
    cJSON_AddNumberToObject(object, "timeout_us", (double)app->timeout_us);
    cJSON_AddNumberToObject(object, "line", app->line);
}

static void add_lifecycle(cJSON *root, const struct scenario_lifecycle *lifecycle)
{
    static const char *const decisions[] = {"revoke", "quarantine", "report"};
    if (!lifecycle->on)
        return;
    cJSON *object = cJSON_AddObjectToObject(root, "lifecycle");
    cJSON_AddStringToObject(object, "policy", lifecycle->vehicle_policy);
    cJSON_AddStringToObject(object, "claim_policy", lifecycle->claim_policy);
    cJSON_AddNumberToObject(object, "rollout_per_minute", lifecycle->rollout_per_minute);
    cJSON_AddNumberToObject(object, "rotation_timeout_us", (double)lifecycle->rotation_timeout_us);
    cJSON_AddNumberToObject(object, "rotation_retries", lifecycle->rotation_retries);
    cJSON_AddNumberToObject(object, "abort_share", lifecycle->abort_share);
    cJSON_AddNumberToObject(object, "abort_minimum", lifecycle->abort_minimum);
    cJSON_AddNumberToObject(object, "expiring_within_s", (double)lifecycle->expiring_within_s);
    cJSON_AddNumberToObject(object, "cut_most_us", (double)lifecycle->cut_us.value[SIM_TABLE_STEPS]);
    cJSON_AddNumberToObject(object, "cut_bound_us", (double)lifecycle->cut_bound_us);
    if (lifecycle->clone_takeovers) {
        cJSON_AddNumberToObject(object, "clone_takeovers", lifecycle->clone_takeovers);
        cJSON_AddNumberToObject(object, "clone_window_us", (double)lifecycle->clone_window_us);
        cJSON_AddStringToObject(object, "clone_decision", decisions[lifecycle->clone_decision]);
    }
    cJSON_AddBoolToObject(object, "scan_for_vins", lifecycle->scan_for_vins);
    cJSON_AddNumberToObject(object, "ecus", lifecycle->ecus);
    cJSON_AddBoolToObject(object, "require_device", lifecycle->require_device);
    cJSON_AddBoolToObject(object, "probe_old", lifecycle->probe_old);
}

static void add_head(cJSON *root, const struct scenario *scenario)
{
    cJSON_AddStringToObject(root, "name", scenario->name);
    cJSON_AddStringToObject(root, "file", scenario->path);
    cJSON_AddStringToObject(root, "hash", scenario->hash);
    cJSON_AddNumberToObject(root, "fleet", scenario->fleet);
    cJSON_AddNumberToObject(root, "duration_s", (double)scenario->duration_us / US_PER_S);
    cJSON_AddNumberToObject(root, "warm_up_s", (double)scenario->warm_up_us / US_PER_S);
    cJSON_AddNumberToObject(root, "seed", (double)scenario->seed);
    cJSON_AddStringToObject(root, "cryptography", scenario->cloud.real_cryptography ? "real" : "modelled");
}

char *script_describe_json(const struct script *script)
{
    const struct scenario *scenario = &script->scenario;
    cJSON *root = cJSON_CreateObject();
    add_head(root, scenario);
    add_lifecycle(root, &scenario->cloud.lifecycle);
    cJSON *parameters = cJSON_AddArrayToObject(root, "parameters"), *faults = cJSON_AddArrayToObject(root, "faults");
    for (uint32_t i = 0; i < scenario->parameter_count; i++) {
        if (scenario->parameters[i].fault)
            add_fault(faults, &scenario->parameters[i]);
        else
            add_parameter(parameters, &scenario->parameters[i]);
    }
    cJSON *list = cJSON_AddArrayToObject(root, "expectations");
    for (uint32_t i = 0; i < scenario->expectation_count; i++)
        add_expectation(list, &scenario->expectations[i]);
    list = cJSON_AddArrayToObject(root, "cohorts");
    for (uint32_t i = 0; i < scenario->cohort_count; i++)
        add_cohort(list, scenario, &scenario->cohorts[i]);
    list = cJSON_AddArrayToObject(root, "regions");
    for (uint32_t i = 0; i < scenario->region_count; i++)
        add_region(list, &scenario->regions[i]);
    list = cJSON_AddArrayToObject(root, "apps");
    for (uint32_t i = 0; i < scenario->app_count; i++)
        add_app(list, &scenario->apps[i]);
    char *text = cJSON_Print(root);
    cJSON_Delete(root);
    return text;
}
