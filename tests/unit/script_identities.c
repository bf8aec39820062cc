/* What a scenario says and asserts about identities: lifecycle { }, cohorts, actions, expectations; and the line each mistake gets. */
#include "script_rig.h"

#include <cjson/cJSON.h>

#define LIFE "lifecycle { }\n"

static void standards(void **context)
{
    struct script *script = rig_must_load(RIG_HEAD);
    assert_false(script_scenario(script)->cloud.lifecycle.on);
    assert_int_equal(script_scenario(script)->cohorts[0].steals, MEASURE_ANY);
    assert_int_equal(script_scenario(script)->cohorts[0].certificate_left_s.value[SIM_TABLE_STEPS], 0);
    script_free(script);
    script = rig_must_load(RIG_HEAD LIFE);
    const struct scenario_lifecycle *life = &script_scenario(script)->cloud.lifecycle;
    assert_true(life->on && life->scan_for_vins && life->require_device && life->probe_old);
    assert_string_equal(life->vehicle_policy, "vehicle");
    assert_string_equal(life->claim_policy, "claim");
    assert_int_equal(life->rollout_per_minute, 0);
    assert_int_equal(life->rotation_timeout_us, 0);
    assert_int_equal(life->rotation_retries, 0);
    assert_true(life->abort_share == 0);
    assert_int_equal(life->expiring_within_s, 30 * 86400);
    assert_int_equal(life->cut_us.value[0], 0);
    assert_in_range(life->cut_us.value[SIM_TABLE_STEPS], 179 * US_PER_S, 180 * US_PER_S);
    assert_int_equal(life->cut_bound_us, 4 * US_PER_MIN);
    assert_int_equal(life->clone_takeovers, 0);
    assert_true(life->forget_deactivation == 0 && life->never_activate == 0 && life->share_identity == 0);
    script_free(script);
}

static void everything_said(void **context)
{
    struct script *script = rig_must_load(
        RIG_HEAD
        "local wide = fault(\"wide\", { off = 0, on = 0.25, breaks = { \"sound\" } }, \"shares\")\n"
        "expect \"sound\" (identities()):equals(0):needs \"lifecycle\"\n"
        "lifecycle { policy = \"wide\", claim_policy = \"vehicle\",\n"
        "  rotation = { rollout = per_minute(120), timeout = minutes(30), retries = 2,\n"
        "    abort = { share = 0.2, minimum = 50 }, expiring_within = days(10) },\n"
        "  revocation = { cut = constant(seconds(20)), bound = minutes(1) },\n"
        "  clones = { takeovers = 5, within = minutes(3), decision = \"quarantine\" },\n"
        "  scan_for_vins = false, require_device = false, probe_old = false,\n"
        "  faults = { forget_deactivation = 0.1, never_activate = 0.2, forget_cut = 0.3, forget_revocation = 0.4,\n"
        "    keep_data = 0.5, lose_answers = 0.6, vin_in_clear = 0.7, share_identity = wide } }\n"
        "cohort \"old\" { count = 5, identity = factory { expires = uniform(days(5), days(60)) } }\n"
        "cohort \"new\" { count = 5, strangers = true,\n"
        "  identity = factory { provisioning = \"claim\", server_key = true } }\n"
        "cohort \"thief\" { count = 2, steals = \"car\", steals_old = true }\n");
    const struct scenario *scenario = script_scenario(script);
    const struct scenario_lifecycle *life = &scenario->cloud.lifecycle;
    assert_true(life->on && !life->scan_for_vins && !life->require_device && !life->probe_old);
    assert_string_equal(life->vehicle_policy, "wide");
    assert_string_equal(life->claim_policy, "vehicle");
    assert_int_equal(life->rollout_per_minute, 120);
    assert_int_equal(life->rotation_timeout_us, 30 * US_PER_MIN);
    assert_int_equal(life->rotation_retries, 2);
    assert_true(life->abort_share == 0.2);
    assert_int_equal(life->abort_minimum, 50);
    assert_int_equal(life->expiring_within_s, 10 * 86400);
    assert_int_equal(life->cut_us.value[0], 20 * US_PER_S);
    assert_int_equal(life->cut_us.value[SIM_TABLE_STEPS], 20 * US_PER_S);
    assert_int_equal(life->cut_bound_us, US_PER_MIN);
    assert_int_equal(life->clone_takeovers, 5);
    assert_int_equal(life->clone_window_us, 3 * US_PER_MIN);
    assert_int_equal(life->clone_decision, 1);
    const double shares[] = {life->forget_deactivation, life->never_activate, life->forget_cut,
                             life->forget_revocation,   life->keep_data,      life->lose_answers,
                             life->vin_in_clear,        life->share_identity};
    for (int i = 0; i < 7; i++)
        assert_true(shares[i] == (i + 1) / 10.0);
    assert_true(shares[7] == 0);
    const struct scenario_cohort *old = &scenario->cohorts[1], *new = &scenario->cohorts[2],
                                 *thief = &scenario->cohorts[3];
    assert_int_equal(old->certificate_left_s.value[0], 5 * 86400);
    assert_in_range(old->certificate_left_s.value[SIM_TABLE_STEPS], 59 * 86400, 60 * 86400);
    assert_int_equal(new->provisioning, PROVISIONING_CLAIM);
    assert_true(new->server_key &&new->strangers && !old->server_key && !old->strangers);
    assert_int_equal(thief->steals, 0);
    assert_true(thief->steals_old);
    assert_int_equal(new->steals, MEASURE_ANY);
    assert_string_equal(scenario->expectations[0].needs, "lifecycle");

    char *text = script_describe_json(script);
    cJSON *root = cJSON_Parse(text), *cohorts = cJSON_GetObjectItem(root, "cohorts");
    assert_string_equal(cJSON_GetObjectItem(cJSON_GetArrayItem(cohorts, 2), "provisioning")->valuestring, "claim");
    assert_string_equal(cJSON_GetObjectItem(cJSON_GetArrayItem(cohorts, 3), "steals")->valuestring, "car");
    assert_true(cJSON_IsTrue(cJSON_GetObjectItem(cJSON_GetArrayItem(cohorts, 2), "strangers")));
    assert_int_equal(cJSON_GetObjectItem(cJSON_GetArrayItem(cohorts, 1), "certificate_left_least_s")->valueint, 432000);
    assert_int_equal(cJSON_GetObjectItem(cJSON_GetObjectItem(root, "lifecycle"), "rollout_per_minute")->valueint, 120);
    const cJSON *fault = cJSON_GetArrayItem(cJSON_GetObjectItem(root, "faults"), 0);
    assert_string_equal(cJSON_GetObjectItem(fault, "name")->valuestring, "fault.wide");
    assert_string_equal(cJSON_GetArrayItem(cJSON_GetObjectItem(fault, "breaks"), 0)->valuestring, "sound");
    cJSON_Delete(root);
    free(text);
    script_free(script);
    /* the order in the file does not matter, and other distributions of time keep their unit */
    script = rig_must_load(
        RIG_HEAD "cohort \"old\" { count = 5, identity = factory { expires = lognormal(days(5), 0.5) } }\n" LIFE);
    const struct sim_table *left = &script_scenario(script)->cohorts[1].certificate_left_s;
    assert_in_range(left->value[SIM_TABLE_STEPS / 2], 430000, 434000);
    assert_in_range(left->value[SIM_TABLE_STEPS], 4 * 432000, 9 * 432000);
    script_free(script);
}

/* ---- actions ------------------------------------------------------------------------------------------------------------ */

static struct rig_world world;
static const struct world_actions actions = {rig_act, rig_note, &world};
static char error[1024];

static void every_action(void **context)
{
    memset(&world, 0, sizeof(world));
    struct script *script =
        rig_must_load(RIG_HEAD LIFE "at(\"07:00\", function()\n"
                                    "  rotate { share = 0.05 } rotate()\n"
                                    "  audit { } audit()\n"
                                    "  revoke { vehicle = 3, reason = \"superseded\" } revoke()\n"
                                    "  change_owner { cohort = \"car\", tenant = \"second\" }\n"
                                    "  swap_tcu { workshop = \"taken out\" } swap_tcu { }\n"
                                    "  decommission { } release { region = \"here\" }\n"
                                    "  power_cut { lasts = seconds(20) }\n"
                                    "  power_cut { lasts = seconds(20), at_store_write = 3 }\n"
                                    "  power_cut { lasts = seconds(20), at_store_write = 4, after = true }\n"
                                    "  power_cut { lasts = seconds(20), at_store_write = \"each\", writes = 9 }\n"
                                    "  kick { }\n"
                                    "end)\n");
    assert_true(script_timeline(script, 0, 0, &actions, error, sizeof(error)));
    static const struct {
        enum world_action_kind kind;
        const char *option;
        int store_write, store_writes;
        bool after;
    } want[] = {{ACTION_ROTATE, "", 0, 0, false},
                {ACTION_ROTATE, "", 0, 0, false},
                {ACTION_AUDIT, "", 0, 0, false},
                {ACTION_AUDIT, "", 0, 0, false},
                {ACTION_REVOKE, "superseded", 0, 0, false},
                {ACTION_REVOKE, "keyCompromise", 0, 0, false},
                {ACTION_OWNER, "second", 0, 0, false},
                {ACTION_SWAP, "taken out", 0, 0, false},
                {ACTION_SWAP, "registered", 0, 0, false},
                {ACTION_DECOMMISSION, "", 0, 0, false},
                {ACTION_RELEASE, "", 0, 0, false},
                {ACTION_POWER_CUT, "", 0, 0, false},
                {ACTION_POWER_CUT, "", 3, 0, false},
                {ACTION_POWER_CUT, "", 4, 0, true},
                {ACTION_POWER_CUT, "", -1, 9, false},
                {ACTION_CLOUD_KICK, "", 0, 0, false}};
    assert_int_equal(world.actions, sizeof(want) / sizeof(want[0]));
    for (uint32_t i = 0; i < world.actions; i++) {
        const struct world_action *action = &world.action[i];
        assert_int_equal(action->kind, want[i].kind);
        assert_string_equal(action->option, want[i].option);
        assert_int_equal(action->store_write, want[i].store_write);
        assert_int_equal(action->store_writes, want[i].store_writes);
        assert_int_equal(action->after_write, want[i].after);
        assert_int_equal(action->duration_us, want[i].kind == ACTION_POWER_CUT ? 20 * US_PER_S : 0);
        for (uint32_t j = 0; j < i; j++)
            assert_true(action->salt != world.action[j].salt);
    }
    assert_true(world.action[0].share == 0.05);
    assert_int_equal(world.action[4].vehicle, 3);
    assert_int_equal(world.action[6].cohort, 0);
    script_free(script);
}

static void wrong_actions(void **context)
{
    static const struct {
        const char *head, *body, *line;
    } cases[] = {
        {"\n", "rotate { share = 0.05 }", ":6: rotate needs lifecycle { ... } in the file"},
        {"\n", "audit { }", ":6: audit needs lifecycle { ... } in the file"},
        {"\n", "revoke { }", ":6: revoke needs lifecycle { ... } in the file"},
        {"\n", "change_owner { tenant = \"b\" }", ":6: change_owner needs lifecycle { ... } in the file"},
        {"\n", "swap_tcu { }", ":6: swap_tcu needs lifecycle { ... } in the file"},
        {"\n", "decommission { }", ":6: decommission needs lifecycle { ... } in the file"},
        {"\n", "release { }", ":6: release needs lifecycle { ... } in the file"},
        {"\n", "power_cut { lasts = seconds(5) }", ":6: power_cut needs lifecycle { ... } in the file"},
        {LIFE, "rotate { share = 5 }", ":6: rotate: share must be between 0 and 1, got 5 (5 %? write 0.05)"},
        {LIFE, "rotate { vehicel = 5 }", ":6: rotate: unknown field 'vehicel'; did you mean 'vehicle'?"},
        {LIFE, "rotate { vehicle = 10 }", ":6: rotate: there is no vehicle 10; the fleet's last one is 9"},
        {LIFE, "audit { share = 1 }", ":6: audit takes no fields: it looks at the whole cloud; write audit { }"},
        {LIFE, "revoke { reason = 5 }", ":6: revoke: reason must be a text, got 5"},
        {LIFE, "change_owner { }", ":6: change_owner: tenant must be a text, got nothing"},
        {LIFE, "swap_tcu { workshop = \"register\" }",
         ":6: swap_tcu: workshop: unknown value 'register'; did you mean 'registered'?"},
        {LIFE, "power_cut { }", ":6: power_cut: lasts takes a time like seconds(30), got nothing"},
        {LIFE, "power_cut { lasts = seconds(5), at_store_write = 0 }",
         ":6: power_cut: at_store_write must be between 1 and 1000, got 0"},
        {LIFE, "power_cut { lasts = seconds(5), at_store_write = \"all\" }",
         ":6: power_cut: at_store_write must be a number or \"each\", got 'all'"},
        {LIFE, "power_cut { lasts = seconds(5), at_store_write = \"each\" }",
         ":6: power_cut: at_store_write = \"each\": say how many there are, writes = 9"},
        {LIFE, "power_cut { lasts = seconds(5), at_store_write = \"each\", writes = 9, after = true }",
         ":6: power_cut: at_store_write = \"each\" cuts half of the vehicles before and half after the write; leave "
         "after out"},
        {LIFE, "power_cut { lasts = seconds(5), writes = 9 }",
         ":6: power_cut: writes is for at_store_write = \"each\""},
        {LIFE, "power_cut { lasts = seconds(5), after = true }",
         ":6: power_cut: after which write? at_store_write = 1"},
        {LIFE, "lifecycle { }", ":6: lifecycle belongs into the file, not into a function that runs later"},
    };
    unsigned wrong = 0;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[1024];
        snprintf(text, sizeof(text), "%s%sat(\"07:00\", function()\n%s\nend)\n", RIG_HEAD, cases[i].head,
                 cases[i].body);
        memset(&world, 0, sizeof(world));
        struct script *script = rig_must_load(text);
        bool done = script_timeline(script, 0, 0, &actions, error, sizeof(error));
        if (done || strcmp(error + strlen(rig_path), cases[i].line) != 0) {
            print_error("should: %s\ndoes:   %s\n", cases[i].line, done ? "run" : error);
            wrong++;
        }
        assert_int_equal(world.actions, 0);
        script_free(script);
    }
    assert_int_equal(wrong, 0);
}

/* ---- expectations ------------------------------------------------------------------------------------------------------- */

/* What only a door of our own can do or see. */
static bool at_the_door(int what, int kind)
{
    static const int counters[] = {COUNTER_CUT,
                                   COUNTER_INTRUSIONS,
                                   COUNTER_INTRUSIONS_REFUSED,
                                   COUNTER_CLONES_DETECTED,
                                   COUNTER_QUARANTINED,
                                   COUNTER_FORBIDDEN,
                                   COUNTER_VINS_SEEN,
                                   COUNTER_FLAW_STILL_CONNECTED,
                                   COUNTER_FLAW_OLD_ACCEPTED};
    if (kind == EXPECT_METRIC)
        return what == METRIC_REVOCATION_CUT || what == METRIC_CLONE_DETECTION;
    for (size_t i = 0; i < sizeof(counters) / sizeof(counters[0]); i++)
        if (counters[i] == what)
            return true;
    return false;
}

static void every_expectation(void **context)
{
    static const struct {
        const char *source;
        enum expectation_source kind;
        uint32_t what;
        enum statistic statistic;
    } cases[] = {
        {"rotation()", EXPECT_METRIC, METRIC_ROTATION_TOTAL, STATISTIC_QUANTILE},
        {"rotation():notice()", EXPECT_METRIC, METRIC_ROTATION_NOTICE, STATISTIC_QUANTILE},
        {"rotation():key()", EXPECT_METRIC, METRIC_ROTATION_KEY, STATISTIC_QUANTILE},
        {"rotation():certificate()", EXPECT_METRIC, METRIC_ROTATION_CERTIFICATE, STATISTIC_QUANTILE},
        {"rotation():registration()", EXPECT_METRIC, METRIC_ROTATION_REGISTRATION, STATISTIC_QUANTILE},
        {"rotation():switch()", EXPECT_METRIC, METRIC_ROTATION_SWITCH, STATISTIC_QUANTILE},
        {"rotation():deactivation()", EXPECT_METRIC, METRIC_ROTATION_DEACTIVATION, STATISTIC_QUANTILE},
        {"rotation():overlap()", EXPECT_METRIC, METRIC_ROTATION_OVERLAP, STATISTIC_QUANTILE},
        {"rotation():decided()", EXPECT_COUNTER, COUNTER_ROTATIONS, STATISTIC_TOTAL},
        {"rotation():succeeded()", EXPECT_COUNTER, COUNTER_ROTATIONS_SUCCEEDED, STATISTIC_TOTAL},
        {"rotation():failed()", EXPECT_COUNTER, COUNTER_ROTATIONS_FAILED, STATISTIC_TOTAL},
        {"rotation():rolled_back()", EXPECT_COUNTER, COUNTER_ROLLED_BACK, STATISTIC_TOTAL},
        {"revocation()", EXPECT_METRIC, METRIC_REVOCATION_CUT, STATISTIC_QUANTILE},
        {"revocation():cut():max()", EXPECT_METRIC, METRIC_REVOCATION_CUT, STATISTIC_MAXIMUM},
        {"revocation():revoked()", EXPECT_COUNTER, COUNTER_REVOKED, STATISTIC_TOTAL},
        {"revocation():cut_connections()", EXPECT_COUNTER, COUNTER_CUT, STATISTIC_TOTAL},
        {"intrusions()", EXPECT_COUNTER, COUNTER_INTRUSIONS, STATISTIC_TOTAL},
        {"intrusions():accepted()", EXPECT_COUNTER, COUNTER_INTRUSIONS, STATISTIC_TOTAL},
        {"intrusions():refused()", EXPECT_COUNTER, COUNTER_INTRUSIONS_REFUSED, STATISTIC_TOTAL},
        {"clones()", EXPECT_METRIC, METRIC_CLONE_DETECTION, STATISTIC_QUANTILE},
        {"clones():detection()", EXPECT_METRIC, METRIC_CLONE_DETECTION, STATISTIC_QUANTILE},
        {"clones():detected()", EXPECT_COUNTER, COUNTER_CLONES_DETECTED, STATISTIC_TOTAL},
        {"clones():quarantined()", EXPECT_COUNTER, COUNTER_QUARANTINED, STATISTIC_TOTAL},
        {"swaps()", EXPECT_METRIC, METRIC_SWAP_TOTAL, STATISTIC_QUANTILE},
        {"swaps():total_time():p50()", EXPECT_METRIC, METRIC_SWAP_TOTAL, STATISTIC_QUANTILE},
        {"swaps():done()", EXPECT_COUNTER, COUNTER_SWAPS, STATISTIC_TOTAL},
        {"owners()", EXPECT_METRIC, METRIC_OWNER_TOTAL, STATISTIC_QUANTILE},
        {"owners():total_time()", EXPECT_METRIC, METRIC_OWNER_TOTAL, STATISTIC_QUANTILE},
        {"owners():changed()", EXPECT_COUNTER, COUNTER_OWNERS_CHANGED, STATISTIC_TOTAL},
        {"owners():data_crossed()", EXPECT_COUNTER, COUNTER_DATA_CROSSED, STATISTIC_TOTAL},
        {"identities():issued()", EXPECT_COUNTER, COUNTER_CERTIFICATES_ISSUED, STATISTIC_TOTAL},
        {"identities():decommissioned()", EXPECT_COUNTER, COUNTER_DECOMMISSIONED, STATISTIC_TOTAL},
        {"identities():forbidden()", EXPECT_COUNTER, COUNTER_FORBIDDEN, STATISTIC_TOTAL},
        {"identities():offline_at_end()", EXPECT_COUNTER, COUNTER_OFFLINE_AT_END, STATISTIC_TOTAL},
        {"identities():vins_seen()", EXPECT_COUNTER, COUNTER_VINS_SEEN, STATISTIC_TOTAL},
        {"identities():power_cuts()", EXPECT_COUNTER, COUNTER_POWER_CUTS, STATISTIC_TOTAL},
        {"identities():without_certificate()", EXPECT_COUNTER, COUNTER_FLAW_NO_CERTIFICATE, STATISTIC_TOTAL},
        {"identities():with_second_certificate()", EXPECT_COUNTER, COUNTER_FLAW_SECOND_CERTIFICATE, STATISTIC_TOTAL},
        {"identities():shared()", EXPECT_COUNTER, COUNTER_FLAW_SHARED_IDENTITY, STATISTIC_TOTAL},
        {"identities():still_active()", EXPECT_COUNTER, COUNTER_FLAW_STILL_ACTIVE, STATISTIC_TOTAL},
        {"identities():still_connected()", EXPECT_COUNTER, COUNTER_FLAW_STILL_CONNECTED, STATISTIC_TOTAL},
        {"identities():job_open()", EXPECT_COUNTER, COUNTER_FLAW_JOB_OPEN, STATISTIC_TOTAL},
        {"identities():history()", EXPECT_COUNTER, COUNTER_FLAW_HISTORY, STATISTIC_TOTAL},
        {"identities():reference_changed()", EXPECT_COUNTER, COUNTER_FLAW_REFERENCE, STATISTIC_TOTAL},
        {"identities():old_accepted()", EXPECT_COUNTER, COUNTER_FLAW_OLD_ACCEPTED, STATISTIC_TOTAL},
    };
    bool metrics[METRIC_COUNT] = {false}, counters[COUNTER_COUNT] = {false};
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[512];
        snprintf(text, sizeof(text), "%s%sexpect \"it\" (%s:cohort \"car\"):below(5)\n", RIG_HEAD, LIFE,
                 cases[i].source);
        struct script *script = rig_must_load(text);
        const struct expectation *expectation = &script_scenario(script)->expectations[0];
        assert_int_equal(expectation->source, cases[i].kind);
        assert_int_equal(expectation->what, cases[i].what);
        assert_int_equal(expectation->statistic, cases[i].statistic);
        assert_int_equal(expectation->filter.cohort, 0);
        assert_int_equal(expectation->also_count, 0);
        assert_string_equal(expectation->needs,
                            at_the_door((int)cases[i].what, (int)cases[i].kind) ? "door" : "lifecycle");
        *(cases[i].kind == EXPECT_METRIC ? &metrics[cases[i].what] : &counters[cases[i].what]) = true;
        script_free(script);
        snprintf(text, sizeof(text), "%sexpect \"it\" (%s):below(5)\n", RIG_HEAD, cases[i].source);
        assert_null(rig_load_text(text));
        assert_non_null(strstr(rig_error, "() needs lifecycle { ... } in the file"));
        assert_memory_equal(rig_error, "FILE:4: ", 8);
    }
    for (int metric = METRIC_ROTATION_NOTICE; metric <= METRIC_OWNER_TOTAL; metric++)
        if (!metrics[metric])
            fail_msg("no expectation reads %s", metric_name(metric));
    for (int counter = COUNTER_ROTATIONS; counter <= COUNTER_FLAW_OLD_ACCEPTED; counter++)
        if (!counters[counter])
            fail_msg("no expectation reads %s", counter_name(counter));
}

static void all_flaws_together(void **context)
{
    struct script *script =
        rig_must_load(RIG_HEAD LIFE "expect \"a\" (identities():flaws()):equals(0)\n"
                                    "expect \"b\" (identities():region \"here\"):equals(0)\n"
                                    "expect \"c\" (identities():cohort \"car\":flaws()):equals(0)\n");
    for (int e = 0; e < 3; e++) {
        const struct expectation *expectation = &script_scenario(script)->expectations[e];
        bool seen[COUNTER_COUNT] = {false};
        seen[expectation->what] = true;
        for (uint32_t i = 0; i < expectation->also_count; i++)
            seen[expectation->also[i]] = true;
        for (int counter = 0; counter < COUNTER_COUNT; counter++)
            assert_int_equal(seen[counter], counter_is_flaw(counter));
        assert_string_equal(expectation->text, e == 0   ? "flaws of identities"
                                               : e == 1 ? "flaws of identities, region here"
                                                        : "flaws of identities, cohort car");
        assert_int_equal(expectation->filter.region, e == 1 ? 0 : MEASURE_ANY);
        assert_int_equal(expectation->filter.cohort, e == 2 ? 0 : MEASURE_ANY);
    }
    script_free(script);
}

/* ---- mistakes in the file ----------------------------------------------------------------------------------------------- */

static void every_mistake_gets_its_line(void **context)
{
    static const struct {
        const char *text, *line;
    } cases[] = {
        {"lifecycle { }\nlifecycle { }", "FILE:5: lifecycle is declared twice"},
        {"lifecycle { polcy = \"wide\" }", "FILE:4: lifecycle: unknown field 'polcy'; did you mean 'policy'?"},
        {"lifecycle { policy = \"wild\" }",
         "FILE:4: lifecycle: policy: unknown value 'wild'; there are vehicle, claim, wide"},
        {"lifecycle { rotation = 5 }", "FILE:4: lifecycle: rotation takes a table { ... }, got 5"},
        {"lifecycle { rotation = { rollot = 5 } }",
         "FILE:4: lifecycle: rotation: unknown field 'rollot'; did you mean 'rollout'?"},
        {"lifecycle { rotation = { rollout = 100 } }",
         "FILE:4: lifecycle: rotation.rollout takes per_minute(100) or per_hour(...), got 100"},
        {"lifecycle { rotation = { rollout = per_hour(30) } }",
         "FILE:4: lifecycle: rotation.rollout must be at least per_minute(1), got per_minute(0.5)"},
        {"lifecycle { rotation = { timeout = 30 } }",
         "FILE:4: lifecycle: rotation.timeout: 30 microseconds is surely not meant; write seconds(30)"},
        {"lifecycle { rotation = { retries = 11 } }",
         "FILE:4: lifecycle: rotation.retries must be between 0 and 10, got 11"},
        {"lifecycle { rotation = { abort = { minimum = 5 } } }",
         "FILE:4: lifecycle: rotation.abort.share must be a number, got nothing"},
        {"lifecycle { rotation = { abort = { share = 0 } } }",
         "FILE:4: lifecycle: rotation.abort.share must be above 0; leave abort out for none"},
        {"lifecycle { rotation = { abort = { share = 20 } } }",
         "FILE:4: lifecycle: rotation.abort.share must be between 0 and 1, got 20 (20 %? write 0.2)"},
        {"lifecycle { revocation = { cut = uniform(0, 180) } }",
         "FILE:4: lifecycle: revocation.cut: uniform(0, 180) is in microseconds; write uniform(seconds(0), "
         "seconds(180))"},
        {"lifecycle { revocation = { bound = minutes(1) } }",
         "FILE:4: lifecycle: revocation: a cut may take 3 min, longer than its bound of 60 s"},
        {"lifecycle { clones = { takeovers = 1 } }",
         "FILE:4: lifecycle: clones.takeovers must be between 2 and 1000, got 1"},
        {"lifecycle { clones = { decision = \"reveal\" } }",
         "FILE:4: lifecycle: clones.decision: unknown value 'reveal'; there are revoke, quarantine, report"},
        {"lifecycle { probe_old = 1 }", "FILE:4: lifecycle: probe_old must be true or false, got 1"},
        {"lifecycle { faults = { forget_cuts = 1 } }",
         "FILE:4: lifecycle: faults: unknown field 'forget_cuts'; did you mean 'forget_cut'?"},
        {"lifecycle { faults = { forget_cut = 5 } }",
         "FILE:4: lifecycle: faults.forget_cut must be between 0 and 1, got 5 (5 %? write 0.05)"},
        {"cohort \"b\" { count = 1, identity = factory { provisioning = \"claims\" } }",
         "FILE:4: factory: provisioning: unknown value 'claims'; did you mean 'claim'?"},
        {"cohort \"b\" { count = 1, identity = factory { provisioning = \"claim\" } }",
         "FILE:4: factory: provisioning = \"claim\" needs lifecycle { ... } in the file"},
        {"cohort \"b\" { count = 1, identity = factory { provisioning = \"claim\", kind = \"none\" } }",
         "FILE:4: factory: provisioning = \"claim\" is for kind = \"certificate\""},
        {"cohort \"b\" { count = 1, identity = factory { server_key = true } }",
         "FILE:4: factory: server_key is for provisioning = \"claim\": the vehicle makes its key otherwise"},
        {"cohort \"b\" { count = 1, identity = factory { expires = days(5) } }",
         "FILE:4: factory: expires needs lifecycle { ... } in the file"},
        {"cohort \"b\" { count = 1, identity = factory { expires = 5 } }",
         "FILE:4: factory: expires: constant(5) is in microseconds; write uniform(days(5), days(60))"},
        {"cohort \"b\" { count = 1, identity = factory { provisioning = \"just-in-time\", expires = days(5) } }",
         "FILE:4: factory: expires is for provisioning = \"done\": other certificates live as long as cloud { "
         "certificate_lifetime } says"},
        {"cohort \"b\" { count = 1, steals = \"cra\" }",
         "FILE:4: cohort \"b\": steals: unknown cohort 'cra'; did you mean 'car'?"},
        {"cohort \"b\" { count = 1, steals = \"car\" }",
         "FILE:4: cohort \"b\": steals needs lifecycle { ... } in the file"},
        {"lifecycle { }\ncohort \"b\" { count = 1, steals = \"car\" }\ncohort \"c\" { count = 1, steals = \"b\" }",
         "FILE:6: cohort \"c\": steals: cohort \"b\" has stolen its identities itself"},
        {"lifecycle { }\ncohort \"b\" { count = 1, identity = factory { kind = \"none\" } }\n"
         "cohort \"c\" { count = 1, steals = \"b\" }",
         "FILE:6: cohort \"c\": steals: cohort \"b\" has no certificates"},
        {"cohort \"b\" { count = 1, steals = \"car\", identity = factory { provisioning = \"just-in-time\" } }",
         "FILE:4: cohort \"b\": steals: what is stolen is there already; leave identity out"},
        {"cohort \"b\" { count = 1, steals_old = true }",
         "FILE:4: cohort \"b\": steals_old: say of whom with steals = \"...\""},
        {"cohort \"b\" { count = 1, strangers = \"yes\" }",
         "FILE:4: cohort \"b\": strangers must be true or false, got 'yes'"},
        {"cohort \"b\" { count = 1, strangers = true }",
         "FILE:4: cohort \"b\": strangers needs lifecycle { ... } in the file"},
        {"cohort \"b\" { count = 1, strangers = true, identity = factory { kind = \"none\" } }",
         "FILE:4: cohort \"b\": strangers are told by their certificates; identity has none"},
        {"rotate { }", "FILE:4: rotate belongs into a function: at(\"07:40\", function() rotate { ... } end)"},
        {"lifecycle { }\nexpect \"it\" (rotation():swich()):below(5)",
         "FILE:5: rotation() has no 'swich'; did you mean 'switch'?"},
        {"lifecycle { }\nexpect \"it\" (identities():flaws():share()):below(5)",
         "FILE:5: expect \"it\" (share of flaws of identities): a counter has no share; use the ledger or commands"},
        {"lifecycle { }\nexpect \"it\" (identities():flaw()):below(5)",
         "FILE:5: identities() has no 'flaw'; did you mean 'flaws'?"},
    };
    unsigned wrong = 0;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        char text[1024];
        snprintf(text, sizeof(text), "%s%s\n", RIG_HEAD, cases[i].text);
        struct script *script = rig_load_text(text);
        if (script || strcmp(rig_error, cases[i].line) != 0) {
            print_error("should: %s\ndoes:   %s\n", cases[i].line, script ? "load" : rig_error);
            wrong++;
        }
        script_free(script);
    }
    assert_int_equal(wrong, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(standards),
        cmocka_unit_test(everything_said),
        cmocka_unit_test(every_action),
        cmocka_unit_test(wrong_actions),
        cmocka_unit_test(every_expectation),
        cmocka_unit_test(all_flaws_together),
        cmocka_unit_test(every_mistake_gets_its_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
