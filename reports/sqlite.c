/* sqlite.c: run.sqlite, for questions nobody thought of before the run: histograms, series, vehicles. One transaction into a file of
 * its own beside the name; it needs no journal, for a file that was not finished is removed. */
#include "internal.h"

#include <errno.h>
#include <math.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const char schema[] =
    "CREATE TABLE run(key TEXT PRIMARY KEY, value) WITHOUT ROWID;"
    "CREATE TABLE parameter(name TEXT PRIMARY KEY, text TEXT, value, standard, overridden INTEGER, fault INTEGER) "
    "WITHOUT ROWID;"
    "CREATE TABLE expectation(position INTEGER PRIMARY KEY, id TEXT, text TEXT, verdict TEXT, statistic TEXT, quantile "
    "REAL,"
    " comparison TEXT, bound REAL, measured REAL, low REAL, high REAL, unit TEXT, confidence REAL, samples INTEGER, "
    "at_s REAL,"
    " detail TEXT, line INTEGER);"
    "CREATE TABLE expectation_vehicle(position INTEGER REFERENCES expectation, rank INTEGER, vehicle INTEGER, name "
    "TEXT, value INTEGER,"
    " at_s REAL, step TEXT, PRIMARY KEY(position, rank)) WITHOUT ROWID;"
    "CREATE TABLE identity_step(counter INTEGER REFERENCES counter, step TEXT, vehicles INTEGER, PRIMARY KEY(counter, "
    "step)) WITHOUT ROWID;"
    "CREATE TABLE identity_vehicle(counter INTEGER REFERENCES counter, rank INTEGER, vehicle INTEGER, name TEXT, value "
    "INTEGER,"
    " at_s REAL, step TEXT, PRIMARY KEY(counter, rank)) WITHOUT ROWID;"
    "CREATE TABLE metric_summary(metric TEXT, kind TEXT, part TEXT, unit TEXT, samples INTEGER, mean REAL, minimum "
    "INTEGER, p50 INTEGER,"
    " p90 INTEGER, p99 INTEGER, p999 INTEGER, maximum INTEGER, excluded INTEGER, PRIMARY KEY(metric, kind, part)) "
    "WITHOUT ROWID;"
    "CREATE TABLE metric_histogram(metric TEXT, path TEXT, excluded INTEGER, low INTEGER, high INTEGER, samples "
    "INTEGER,"
    " PRIMARY KEY(metric, path, excluded, low)) WITHOUT ROWID;"
    "CREATE TABLE counter(id INTEGER PRIMARY KEY, name TEXT UNIQUE, gauge INTEGER, total INTEGER, total_excluded "
    "INTEGER, bin_s REAL);"
    "CREATE TABLE counter_series(counter INTEGER REFERENCES counter, at_s REAL, value INTEGER, PRIMARY KEY(counter, "
    "at_s)) WITHOUT ROWID;"
    "CREATE TABLE ledger(vehicle INTEGER PRIMARY KEY, name TEXT, cohort TEXT, region TEXT, firmware TEXT, intended "
    "INTEGER,"
    " acknowledged INTEGER, unacknowledged INTEGER, delivered INTEGER, duplicated INTEGER, dropped INTEGER, pending "
    "INTEGER, lost INTEGER);"
    "CREATE TABLE ledger_total(ledger TEXT, field TEXT, value INTEGER, PRIMARY KEY(ledger, field)) WITHOUT ROWID;"
    "CREATE TABLE memory(part TEXT, bytes INTEGER, bytes_per_vehicle REAL);"
    "CREATE TABLE replay(key TEXT PRIMARY KEY, value) WITHOUT ROWID;"
    "CREATE TABLE override(position INTEGER PRIMARY KEY, name TEXT, value TEXT);"
    "CREATE TABLE partition(number INTEGER PRIMARY KEY, digest TEXT);"
    "CREATE TABLE action(position INTEGER PRIMARY KEY, touched INTEGER);"
    "CREATE TABLE note(position INTEGER PRIMARY KEY, text TEXT);"
    "CREATE VIEW series AS SELECT counter.name, counter_series.at_s, counter_series.value FROM counter_series"
    " JOIN counter ON counter.id = counter_series.counter;";

struct table {
    const struct report_run *run;
    sqlite3 *db;
    sqlite3_stmt *statement;
    int column;
    bool failed;
};

static void prepare(struct table *table, const char *sql)
{
    sqlite3_finalize(table->statement);
    table->statement = NULL;
    table->failed = table->failed || sqlite3_prepare_v2(table->db, sql, -1, &table->statement, NULL) != SQLITE_OK;
    table->column = 0;
}

static void put_integer(struct table *table, int64_t value)
{
    sqlite3_bind_int64(table->statement, ++table->column, value);
}

/* What is no number is NULL: SQLite would keep an infinity that other readers do not know. */
static void put_number(struct table *table, double value)
{
    if (isfinite(value))
        sqlite3_bind_double(table->statement, ++table->column, value);
    else
        sqlite3_bind_null(table->statement, ++table->column);
}

static void put_text(struct table *table, const char *text)
{
    char clean[2200];
    utf8_clean(text ? text : "", clean, sizeof(clean));
    sqlite3_bind_text(table->statement, ++table->column, clean, -1, SQLITE_TRANSIENT);
}

/* As it is, whatever it is: for ourselves to read again. */
static void put_bytes(struct table *table, const char *text)
{
    sqlite3_bind_text(table->statement, ++table->column, text, -1, SQLITE_STATIC);
}

static void put_at(struct table *table, int64_t at_us)
{
    put_number(table, at_us < 0 ? NAN : (double)at_us / 1e6);
}

static void end_row(struct table *table)
{
    table->failed = table->failed || sqlite3_step(table->statement) != SQLITE_DONE;
    sqlite3_reset(table->statement);
    sqlite3_clear_bindings(table->statement);
    table->column = 0;
}

/* ---- the run ----------------------------------------------------------------------------------------------------------- */

static void run_text(struct table *table, const char *key, const char *value)
{
    put_text(table, key);
    put_text(table, value);
    end_row(table);
}

static void run_integer(struct table *table, const char *key, uint64_t value)
{
    put_text(table, key);
    put_integer(table, (int64_t)value);
    end_row(table);
}

static void run_number(struct table *table, const char *key, double value)
{
    put_text(table, key);
    put_number(table, value);
    end_row(table);
}

static void fill_run(struct table *table)
{
    const struct report_run *run = table->run;
    const struct world_result *result = run->result;
    char digest[33], started[32], seed[24];
    struct report_version version[16];
    uint32_t versions = report_versions(run, version);
    report_digest(run, digest);
    report_started(run, started);
    snprintf(seed, sizeof(seed), "%llu", (unsigned long long)run->scenario->seed);
    prepare(table, "INSERT INTO run VALUES(?, ?)");
    run_text(table, "scenario", run->scenario->name);
    run_text(table, "scenario_path", run->scenario->path);
    run_text(table, "scenario_hash", run->scenario->hash);
    run_text(table, "command", run->command);
    run_text(table, "verdict", report_verdict(run));
    run_integer(table, "exit_code", (uint64_t)run->exit_code);
    run_text(table, "error", result->error);
    run_text(table, "seed", seed); /* a text: it may be above what an integer of SQLite holds */
    run_text(table, "digest", digest);
    run_text(table, "world", report_world(run));
    run_text(table, "broker", result->broker);
    run_text(table, "cloud_profile", result->cloud_profile);
    run_text(table, "started", started);
    run_text(table, "machine", run->machine);
    run_integer(table, "fleet", run->scenario->fleet);
    run_number(table, "simulated_s", (double)result->simulated_us / 1e6);
    run_number(table, "wall_s", result->wall_s);
    run_number(table, "cpu_s", result->cpu_s);
    run_integer(table, "peak_rss_bytes", result->peak_rss_bytes);
    run_number(table, "bytes_per_vehicle", report_bytes_per_vehicle(run));
    run_integer(table, "events", result->events);
    run_integer(table, "packets", result->packets);
    run_integer(table, "wire_bytes", result->wire_bytes);
    run_text(table, "unavailable", result->unavailable);
    for (uint32_t i = 0; i < versions; i++) {
        char key[32];
        snprintf(key, sizeof(key), "version_%s", version[i].name);
        run_text(table, key, version[i].value);
    }
}

static void fill_parameters(struct table *table)
{
    prepare(table, "INSERT OR REPLACE INTO parameter VALUES(?, ?, ?, ?, ?, ?)");
    for (uint32_t i = 0; i < table->run->scenario->parameter_count; i++) {
        const struct scenario_parameter *parameter = &table->run->scenario->parameters[i];
        put_text(table, parameter->name);
        put_text(table, parameter->text);
        if (parameter->kind == PARAMETER_TEXT) {
            put_text(table, parameter->value_text);
            put_text(table, parameter->standard_text);
        } else {
            put_number(table, parameter->value);
            put_number(table, parameter->standard);
        }
        put_integer(table, parameter->overridden);
        put_integer(table, parameter->fault);
        end_row(table);
    }
}

static void fill_expectations(struct table *table)
{
    prepare(table, "INSERT INTO expectation VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
    for (uint32_t i = 0; i < report_expectation_count(table->run); i++) {
        const struct expectation *expectation = &table->run->scenario->expectations[i];
        const struct expectation_result *result = &table->run->expectations[i];
        bool known = result->verdict != VERDICT_NOT_AVAILABLE;
        put_integer(table, i);
        put_text(table, expectation->id);
        put_text(table, report_title(expectation));
        put_text(table, verdict_name(result->verdict));
        put_text(table, statistic_name(expectation->statistic));
        put_number(table, expectation->statistic == STATISTIC_QUANTILE ? expectation->quantile : NAN);
        put_text(table, comparison_name(expectation->comparison));
        put_number(table, expectation->bound);
        put_number(table, known ? result->measured : NAN);
        put_number(table, known ? result->low : NAN);
        put_number(table, known ? result->high : NAN);
        put_text(table, report_unit(expectation));
        put_number(table, expectation->confidence > 0 ? expectation->confidence : NAN);
        put_integer(table, (int64_t)result->samples);
        put_at(table, result->at_us);
        put_text(table, result->detail);
        put_integer(table, expectation->line);
        end_row(table);
    }
}

/* The rest of a row, and its end. */
static void put_vehicle(struct table *table, uint32_t rank, const struct measure_worst *worst)
{
    char name[SCENARIO_NAME + 16];
    report_vehicle_name(table->run, worst->vehicle, name, sizeof(name));
    put_integer(table, rank);
    put_integer(table, worst->vehicle == MEASURE_NO_VEHICLE ? -1 : (int64_t)worst->vehicle);
    put_text(table, name);
    put_integer(table, worst->value);
    put_at(table, worst->at_us);
    put_text(table, worst->step == IDENTITY_STEP_NONE ? "" : identity_step_name(worst->step));
    end_row(table);
}

static void fill_expectation_vehicles(struct table *table)
{
    prepare(table, "INSERT INTO expectation_vehicle VALUES(?, ?, ?, ?, ?, ?, ?)");
    for (uint32_t i = 0; i < report_expectation_count(table->run); i++)
        for (uint32_t rank = 0; rank < table->run->expectations[i].worst_count; rank++) {
            const struct measure_worst *worst = &table->run->expectations[i].worst[rank];
            put_integer(table, i);
            put_vehicle(table, rank, worst);
        }
}

/* ---- metrics ----------------------------------------------------------------------------------------------------------- */

static void fill_summary(void *context, enum metric metric, const char *kind, const char *name,
                         struct measure_dimension filter)
{
    struct table *table = context;
    struct summary summary;
    report_summary(table->run->result->measure, metric, filter, &summary);
    put_text(table, metric_name(metric));
    put_text(table, kind);
    put_text(table, name);
    put_text(table, metric_unit(metric));
    put_integer(table, (int64_t)summary.count);
    put_number(table, summary.mean);
    put_integer(table, summary.minimum);
    put_integer(table, summary.p50);
    put_integer(table, summary.p90);
    put_integer(table, summary.p99);
    put_integer(table, summary.p999);
    put_integer(table, summary.maximum);
    put_integer(table, summary.excluded);
    end_row(table);
}

static void fill_histogram(struct table *table, enum metric metric, uint8_t path, bool excluded)
{
    struct histogram histogram;
    measure_histogram(table->run->result->measure, metric, (struct measure_dimension){MEASURE_ANY, MEASURE_ANY, path},
                      excluded, &histogram);
    for (uint32_t i = 0; i < HISTOGRAM_BUCKETS && histogram.count; i++) {
        if (!histogram.bucket[i])
            continue;
        put_text(table, metric_name(metric));
        put_text(table, metric_path_name(path));
        put_integer(table, excluded);
        put_integer(table, histogram_bucket_low(i));
        put_integer(table, histogram_bucket_high(i));
        put_integer(table, (int64_t)histogram.bucket[i]);
        end_row(table);
    }
}

static void fill_metrics(struct table *table)
{
    prepare(table, "INSERT OR REPLACE INTO metric_summary VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
    for (int metric = 0; metric < METRIC_COUNT; metric++)
        report_each_part(table->run, metric, fill_summary, table);
    prepare(table, "INSERT INTO metric_histogram VALUES(?, ?, ?, ?, ?, ?)");
    for (int metric = 0; metric < METRIC_COUNT; metric++)
        for (uint8_t path = PATH_ANY; path < PATH_COUNT; path++)
            for (int excluded = 0; excluded < 2; excluded++)
                fill_histogram(table, metric, path, excluded);
}

/* ---- counters and ledgers ------------------------------------------------------------------------------------------------ */

/* Counts where they are not zero; a gauge where its level changes. */
static void fill_series(struct table *table, int counter)
{
    uint32_t count;
    int64_t bin_us, before = 0;
    int64_t *series = measure_series(table->run->result->measure, counter, MEASURE_EVERYBODY, &count, &bin_us);
    table->failed = table->failed || !series;
    for (uint32_t i = 0; series && i < count; i++) {
        if (series[i] == before)
            continue;
        put_integer(table, counter);
        put_number(table, (double)i * (double)bin_us / 1e6);
        put_integer(table, series[i]);
        end_row(table);
        if (counter_is_gauge(counter))
            before = series[i];
    }
    free(series);
}

static void fill_counters(struct table *table)
{
    const struct measure *measure = table->run->result->measure;
    prepare(table, "INSERT INTO counter VALUES(?, ?, ?, ?, ?, ?)");
    for (int counter = 0; counter < COUNTER_COUNT; counter++) {
        uint32_t count;
        int64_t bin_us;
        int64_t *series = measure_series(measure, counter, MEASURE_EVERYBODY, &count, &bin_us);
        table->failed = table->failed || !series;
        free(series);
        put_integer(table, counter);
        put_text(table, counter_name(counter));
        put_integer(table, counter_is_gauge(counter));
        put_integer(table, measure_total(measure, counter, MEASURE_EVERYBODY));
        put_integer(table, measure_total_excluded(measure, counter, MEASURE_EVERYBODY));
        put_number(table, series ? (double)bin_us / 1e6 : NAN);
        end_row(table);
    }
    prepare(table, "INSERT INTO counter_series VALUES(?, ?, ?)");
    for (int counter = 0; counter < COUNTER_COUNT; counter++)
        fill_series(table, counter);
}

/* Victims of identities' counters: all of them by step, and those that are remembered; of commands, networks and regions the latter. */
static void fill_identities(struct table *table)
{
    const struct measure *measure = table->run->result->measure;
    prepare(table, "INSERT INTO identity_step VALUES(?, ?, ?)");
    for (int counter = 0; counter < COUNTER_COUNT; counter++) {
        uint64_t steps[IDENTITY_STEPS];
        measure_identity_steps(measure, counter, MEASURE_EVERYBODY, steps);
        for (uint32_t step = 0; step < IDENTITY_STEPS; step++) {
            if (!steps[step])
                continue;
            put_integer(table, counter);
            put_text(table, step == IDENTITY_STEP_NONE ? "" : identity_step_name(step));
            put_integer(table, (int64_t)steps[step]);
            end_row(table);
        }
    }
    prepare(table, "INSERT INTO identity_vehicle VALUES(?, ?, ?, ?, ?, ?, ?)");
    for (int counter = 0; counter < COUNTER_COUNT; counter++) {
        struct measure_worst worst[MEASURE_WORST];
        bool named = counter_has_identity_victims(counter) || counter_has_victims(counter);
        uint32_t count = named ? measure_command_victims(measure, counter, worst) : 0;
        for (uint32_t rank = 0; rank < count; rank++) {
            put_integer(table, counter);
            put_vehicle(table, rank, &worst[rank]);
        }
    }
}

static void fill_ledger_row(struct table *table, uint32_t vehicle, const struct ledger_row *row)
{
    const struct scenario *scenario = table->run->scenario;
    char name[SCENARIO_NAME + 16];
    uint32_t cohort = scenario_cohort_of(scenario, vehicle), region = scenario_region_of(scenario, vehicle);
    uint32_t firmware = scenario_firmware_of(scenario, vehicle);
    report_vehicle_name(table->run, vehicle, name, sizeof(name));
    put_integer(table, vehicle);
    put_text(table, name);
    put_text(table, scenario->cohorts[cohort].name);
    put_text(table, region < scenario->region_count ? scenario->regions[region].name : "");
    put_text(table,
             firmware < scenario->cohorts[cohort].firmware_count ? scenario->cohorts[cohort].firmware[firmware] : "");
    for (int field = 0; field < LEDGER_FIELD_COUNT; field++)
        put_integer(table, ledger_value(row, field));
    end_row(table);
}

static void fill_ledger(struct table *table)
{
    const struct measure *measure = table->run->result->measure;
    const struct scenario *scenario = table->run->scenario;
    struct ledger_totals totals;
    prepare(table, "INSERT INTO ledger VALUES(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)");
    for (uint32_t vehicle = 0; vehicle < scenario->fleet && scenario->cohort_count; vehicle++) {
        struct ledger_row row = measure_ledger_row(measure, vehicle);
        if (ledger_lost(&row) || row.dropped || row.duplicated || ledger_value(&row, LEDGER_UNACKNOWLEDGED))
            fill_ledger_row(table, vehicle, &row);
    }
    prepare(table, "INSERT INTO ledger_total VALUES(?, ?, ?)");
    for (int field = 0; field < LEDGER_FIELD_COUNT && measure_ledger_totals(measure, MEASURE_EVERYBODY, &totals);
         field++) {
        put_text(table, "telemetry");
        put_text(table, ledger_field_name(field));
        put_integer(table, (int64_t)totals.field[field]);
        end_row(table);
    }
    for (int field = 0; field < COMMANDS_FIELD_COUNT; field++) {
        put_text(table, "commands");
        put_text(table, commands_field_name(field));
        put_integer(table, (int64_t)commands_value(measure_commands_row(measure), field));
        end_row(table);
    }
}

static void fill_memory_and_notes(struct table *table)
{
    const struct world_result *result = table->run->result;
    uint32_t fleet = table->run->scenario->fleet;
    prepare(table, "INSERT INTO memory VALUES(?, ?, ?)");
    for (uint32_t i = 0; i < result->memory_parts; i++) {
        put_text(table, result->memory[i].part);
        put_integer(table, (int64_t)result->memory[i].bytes);
        put_number(table, fleet ? (double)result->memory[i].bytes / fleet : NAN);
        end_row(table);
    }
    prepare(table, "INSERT INTO note VALUES(?, ?)");
    for (uint32_t i = 0; i < result->note_count; i++) {
        put_integer(table, i);
        put_text(table, result->notes[i]);
        end_row(table);
    }
}

/* What `convoy replay` needs: the scenario as it was given, and what the partitions came to. */
static void fill_replay(struct table *table)
{
    const struct report_run *run = table->run;
    const struct world_result *result = run->result;
    if (!run->script || !run->scenario_text || !result->partition_count || result->status != WORLD_COMPLETED)
        return;
    prepare(table, "INSERT INTO replay VALUES(?, ?)");
    put_text(table, "scenario_text");
    put_bytes(table, run->scenario_text);
    end_row(table);
    run_integer(table, "fleet", run->script->fleet);
    run_integer(table, "duration_us", (uint64_t)run->script->duration_us);
    run_integer(table, "partitions", result->partition_count);
    prepare(table, "INSERT INTO override VALUES(?, ?, ?)");
    for (uint32_t i = 0; i < run->script->override_count; i++) {
        put_integer(table, i);
        put_bytes(table, run->script->overrides[i].name);
        put_bytes(table, run->script->overrides[i].value);
        end_row(table);
    }
    prepare(table, "INSERT INTO partition VALUES(?, ?)");
    for (uint32_t i = 0; i < result->partition_count; i++) {
        char digest[33];
        sim_digest_text(&result->partition_digests[i], digest);
        put_integer(table, i);
        put_text(table, digest);
        end_row(table);
    }
    prepare(table, "INSERT INTO action VALUES(?, ?)");
    for (uint32_t i = 0; i < result->acted_count; i++) {
        put_integer(table, i);
        put_integer(table, result->acted[i]);
        end_row(table);
    }
}

/* ---- the file ------------------------------------------------------------------------------------------------------------ */

static void execute(struct table *table, const char *sql)
{
    table->failed = table->failed || sqlite3_exec(table->db, sql, NULL, NULL, NULL) != SQLITE_OK;
}

static void fill(struct table *table)
{
    execute(table, "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; BEGIN;");
    execute(table, schema);
    void (*const parts[])(struct table *) = {
        fill_run,    fill_parameters, fill_expectations, fill_expectation_vehicles, fill_memory_and_notes,
        fill_replay, fill_metrics,    fill_counters,     fill_identities,           fill_ledger};
    size_t count = table->run->result->measure ? sizeof(parts) / sizeof(parts[0]) : 6;
    for (size_t i = 0; i < count && !table->failed; i++)
        parts[i](table);
    sqlite3_finalize(table->statement);
    execute(table, "COMMIT;");
}

/* The system's reason, as the other writers tell it; SQLite's own words where there is none. */
static void failure_text(sqlite3 *db, char *out, size_t capacity)
{
    int reason = 0;
    if (db && sqlite3_errcode(db) == SQLITE_FULL)
        reason = ENOSPC;
    else if (db && sqlite3_file_control(db, "main", SQLITE_FCNTL_LAST_ERRNO, &reason) != SQLITE_OK)
        reason = 0;
    if (!reason)
        reason = db ? sqlite3_system_errno(db) : ENOMEM;
    snprintf(out, capacity, "%s", reason ? strerror(reason) : sqlite3_errmsg(db));
}

bool report_write_sqlite(const struct report_run *run, const char *path, char *error, size_t error_capacity)
{
    struct table table = {.run = run};
    char temporary[FILE_NAME];
    if (!file_temporary(path, temporary, error, error_capacity))
        return false;
    unlink(temporary); /* of a process that was killed and had this number */
    table.failed = sqlite3_open_v2(temporary, &table.db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL) != SQLITE_OK;
    if (!table.failed)
        fill(&table);
    if (table.failed) {
        char why[160];
        failure_text(table.db, why, sizeof(why));
        snprintf(error, error_capacity, "cannot write %s: %s", path, why);
    }
    sqlite3_close(table.db);
    if (!table.failed)
        return file_commit(temporary, path, error, error_capacity);
    unlink(temporary);
    return false;
}
