/* vehicles_database.c: the vehicle registry's rows in SQLite, and back.
 *
 *   vehicle(reference, number, device, tenant, state, vin_hash, vin_sealed, owner, data_since_s, registered_s, changes)
 *   device_history(reference, at_s, change, detail)   in the order of its happening
 *   ecu(ecu, reference, certificate)
 * A VIN is there keyed-hashed (32 bytes) and sealed (12 of nonce, 17, 16 of tag), nowhere in clear.
 */
#include "vehicles_internal.h"

#include "memory.h"

#include <openssl/crypto.h>
#include <sqlite3.h>
#include <stdio.h>

static const char schema[] =
    "CREATE TABLE IF NOT EXISTS vehicle(reference TEXT PRIMARY KEY, number INTEGER, device TEXT, tenant TEXT,"
    " state TEXT, vin_hash BLOB UNIQUE, vin_sealed BLOB, owner INTEGER, data_since_s INTEGER, registered_s INTEGER,"
    " changes INTEGER) WITHOUT ROWID;"
    "CREATE UNIQUE INDEX IF NOT EXISTS vehicle_device ON vehicle(device);"
    "CREATE TABLE IF NOT EXISTS device_history(reference TEXT, at_s INTEGER, change TEXT, detail TEXT);"
    "CREATE TABLE IF NOT EXISTS ecu(ecu TEXT PRIMARY KEY, reference TEXT, certificate BLOB UNIQUE) WITHOUT ROWID;";

static bool run(sqlite3 *handle, const char *text)
{
    return sqlite3_exec(handle, text, NULL, NULL, NULL) == SQLITE_OK;
}

static sqlite3_stmt *prepare(sqlite3 *handle, const char *text)
{
    sqlite3_stmt *statement = NULL;
    return sqlite3_prepare_v2(handle, text, -1, &statement, NULL) == SQLITE_OK ? statement : NULL;
}

static bool put(sqlite3_stmt *statement)
{
    bool good = sqlite3_step(statement) == SQLITE_DONE;
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
    return good;
}

static void bind_text(sqlite3_stmt *statement, int at, const char *text)
{
    sqlite3_bind_text(statement, at, text, -1, SQLITE_TRANSIENT);
}

static bool fail(char *error, size_t capacity, const char *path, const char *what)
{
    if (capacity)
        snprintf(error, capacity, "vehicles: %s: %s", path, what);
    return false;
}

/* ---- saving ------------------------------------------------------------------------------------------------------- */

static bool save_vehicle(const struct cloud_vehicles *vehicles, uint32_t number, sqlite3_stmt *statement)
{
    struct cloud_vehicle vehicle;
    vehicles_copy(vehicles, number, &vehicle);
    bind_text(statement, 1, vehicle.reference);
    sqlite3_bind_int64(statement, 2, number);
    if (vehicle.device[0])
        bind_text(statement, 3, vehicle.device);
    bind_text(statement, 4, vehicle.tenant);
    bind_text(statement, 5, cloud_vehicle_state_name(vehicle.state));
    sqlite3_bind_blob(statement, 6, vehicle.vin_hash, VIN_HASH_BYTES, SQLITE_TRANSIENT);
    sqlite3_bind_blob(statement, 7, vehicles_sealed(vehicles, number), VIN_SEALED_BYTES, SQLITE_TRANSIENT);
    sqlite3_bind_int64(statement, 8, vehicle.owner);
    sqlite3_bind_int64(statement, 9, vehicle.data_since_s);
    sqlite3_bind_int64(statement, 10, vehicles_registered(vehicles, number));
    sqlite3_bind_int64(statement, 11, vehicle.changes);
    return put(statement);
}

static bool save_history(const struct cloud_vehicles *vehicles, uint32_t number, sqlite3_stmt *statement)
{
    struct cloud_vehicle vehicle;
    vehicles_copy(vehicles, number, &vehicle);
    struct cloud_vehicle_entry *entries = memory_allocate(vehicle.changes * sizeof(*entries));
    bool good = entries != NULL;
    if (good)
        cloud_vehicles_history(vehicles, span_text(vehicle.reference), entries, vehicle.changes);
    for (uint32_t i = 0; good && i < vehicle.changes; i++) {
        bind_text(statement, 1, vehicle.reference);
        sqlite3_bind_int64(statement, 2, entries[i].at_s);
        bind_text(statement, 3, cloud_vehicle_change_name(entries[i].change));
        if (entries[i].detail[0])
            bind_text(statement, 4, entries[i].detail);
        good = put(statement);
    }
    memory_free(entries);
    return good;
}

static bool save_ecu(const struct cloud_vehicles *vehicles, uint32_t number, sqlite3_stmt *statement)
{
    char ecu[NAME_MAX_LENGTH + 1], reference[NAME_MAX_LENGTH + 1];
    names_text(&vehicles->ecus, number, ecu);
    names_text(&vehicles->references, (uint32_t)rows_get(&vehicles->fitted, number, 0), reference);
    bind_text(statement, 1, ecu);
    bind_text(statement, 2, reference);
    sqlite3_bind_blob(statement, 3, rows_fixed(&vehicles->fitted, number), 32, SQLITE_TRANSIENT);
    return put(statement);
}

static bool save_each(const struct cloud_vehicles *vehicles, sqlite3 *handle, const char *text, uint32_t count,
                      bool (*save)(const struct cloud_vehicles *vehicles, uint32_t number, sqlite3_stmt *statement))
{
    sqlite3_stmt *statement = prepare(handle, text);
    bool good = statement != NULL;
    for (uint32_t number = 0; good && number < count; number++)
        good = save(vehicles, number, statement);
    sqlite3_finalize(statement);
    return good;
}

bool cloud_vehicles_save(const struct cloud_vehicles *vehicles, const char *path, char *error, size_t error_capacity)
{
    sqlite3 *handle = NULL;
    uint32_t count = vehicles_count(vehicles);
    bool good = sqlite3_open(path, &handle) == SQLITE_OK;
    if (good)
        sqlite3_busy_timeout(handle, 5000);
    good = good && run(handle, "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA secure_delete=ON; BEGIN") &&
           run(handle, schema) && run(handle, "DELETE FROM vehicle; DELETE FROM device_history; DELETE FROM ecu") &&
           save_each(vehicles, handle, "INSERT INTO vehicle VALUES(?,?,?,?,?,?,?,?,?,?,?)", count, save_vehicle) &&
           save_each(vehicles, handle, "INSERT INTO device_history VALUES(?,?,?,?)", count, save_history) &&
           save_each(vehicles, handle, "INSERT INTO ecu VALUES(?,?,?)", vehicles->ecus.rows.count, save_ecu) &&
           run(handle, "COMMIT");
    if (!good)
        fail(error, error_capacity, path, handle ? sqlite3_errmsg(handle) : "out of memory");
    sqlite3_close(handle); /* what is not committed goes back */
    return good;
}

/* ---- loading ------------------------------------------------------------------------------------------------------ */

/* Each gives what is wrong, NULL: nothing. */
static struct span text_at(sqlite3_stmt *row, int column)
{
    const unsigned char *text = sqlite3_column_text(row, column);
    return text ? span_of(text, (size_t)sqlite3_column_bytes(row, column)) : (struct span){NULL, 0};
}

/* What is sealed must open under this key, for this vehicle, and be the VIN of the hash. */
static bool is_genuine(const struct cloud_vehicles *vehicles, const uint8_t *hash, const uint8_t *sealed,
                       struct span reference)
{
    char vin[CLOUD_VIN_LENGTH + 1];
    uint8_t expected[VIN_HASH_BYTES];
    if (!seal_open(vehicles, sealed, hash, reference, vin))
        return false;
    seal_hash(vehicles, span_text(vin), expected);
    OPENSSL_cleanse(vin, sizeof(vin));
    return memcmp(expected, hash, sizeof(expected)) == 0;
}

static const char *load_vehicle(struct cloud_vehicles *vehicles, sqlite3_stmt *row)
{
    struct span reference = text_at(row, 0), device = text_at(row, 1), tenant = text_at(row, 2);
    uint8_t hash[VIN_HASH_BYTES], sealed[VIN_SEALED_BYTES];
    if (sqlite3_column_bytes(row, 3) != sizeof(hash) || sqlite3_column_bytes(row, 4) != sizeof(sealed) ||
        reference.length == 0 || !vehicles_is_text(reference, CLOUD_REFERENCE_MAX) ||
        !vehicles_is_text(device, CLOUD_DEVICE_MAX) || !vehicles_is_text(tenant, CLOUD_TENANT_MAX))
        return "a vehicle's row cannot be read";
    memcpy(hash, sqlite3_column_blob(row, 3), sizeof(hash));
    memcpy(sealed, sqlite3_column_blob(row, 4), sizeof(sealed));
    if (!is_genuine(vehicles, hash, sealed, reference))
        return "its VINs were sealed with another key, or changed since";
    struct cloud_vehicle other;
    if (vehicles_find(vehicles, reference) != NAME_NONE || vehicles_find_hash(vehicles, hash) != NAME_NONE ||
        (device.length && cloud_vehicles_by_device(vehicles, device, &other)))
        return "a vehicle, a VIN or a device of it is there already";
    uint32_t number = vehicles_add(vehicles, sqlite3_column_int64(row, 5), hash, sealed, reference, device, tenant);
    uint32_t counter = 0;
    for (int i = 0; i < 4; i++)
        counter |= (uint32_t)sealed[8 + i] << (8 * i);
    if (counter >= vehicles->nonces && counter < UINT32_MAX)
        vehicles->nonces = counter + 1;
    if (vehicles->draws < vehicles_count(vehicles))
        vehicles->draws = vehicles_count(vehicles);
    return number != NAME_NONE && vehicles_set_owner(vehicles, number, tenant, (uint32_t)sqlite3_column_int64(row, 6),
                                                     sqlite3_column_int64(row, 7))
               ? NULL
               : "out of memory";
}

static const char *load_ecu(struct cloud_vehicles *vehicles, sqlite3_stmt *row)
{
    uint8_t id[32];
    if (sqlite3_column_bytes(row, 2) != sizeof(id))
        return "an ECU's row cannot be read";
    memcpy(id, sqlite3_column_blob(row, 2), sizeof(id));
    enum cloud_vehicles_result result = cloud_vehicles_add_ecu(vehicles, text_at(row, 1), text_at(row, 0), id);
    return result == CLOUD_VEHICLES_DONE ? NULL : "an ECU belongs to no vehicle, or to two";
}

/* The first entry is the registration, which the vehicle's own row has said. */
static const char *load_entry(struct cloud_vehicles *vehicles, sqlite3_stmt *row)
{
    uint32_t number = vehicles_find(vehicles, text_at(row, 0));
    struct span change = text_at(row, 2);
    if (number == NAME_NONE)
        return "a history of no vehicle";
    if (span_equal(change, span_text(cloud_vehicle_change_name(CLOUD_CHANGE_REGISTERED))))
        return NULL;
    for (int i = CLOUD_CHANGE_REGISTERED + 1; i <= CLOUD_CHANGE_DECOMMISSIONED; i++)
        if (span_equal(change, span_text(cloud_vehicle_change_name((enum cloud_vehicle_change)i))))
            return life_enter(vehicles, number, sqlite3_column_int64(row, 1), (enum cloud_vehicle_change)i,
                              text_at(row, 3)) == CLOUD_VEHICLES_DONE
                       ? NULL
                       : "a history that cannot have happened";
    return "a history with a change of no known kind";
}

static const char *check_vehicle(struct cloud_vehicles *vehicles, sqlite3_stmt *row)
{
    struct cloud_vehicle vehicle;
    bool there = cloud_vehicles_get(vehicles, text_at(row, 0), &vehicle);
    return there && vehicle.changes == (uint64_t)sqlite3_column_int64(row, 2) &&
                   span_equal(text_at(row, 1), span_text(cloud_vehicle_state_name(vehicle.state)))
               ? NULL
               : "a history that does not lead to the vehicle's state";
}

static const char *load_each(struct cloud_vehicles *vehicles, sqlite3 *handle, const char *query,
                             const char *(*load)(struct cloud_vehicles *vehicles, sqlite3_stmt *row))
{
    sqlite3_stmt *rows = prepare(handle, query);
    if (!rows)
        return "its tables cannot be read";
    const char *wrong = NULL;
    int result;
    while (!wrong && (result = sqlite3_step(rows)) != SQLITE_DONE)
        wrong = result == SQLITE_ROW ? load(vehicles, rows) : "its tables cannot be read";
    sqlite3_finalize(rows);
    return wrong;
}

bool cloud_vehicles_load(struct cloud_vehicles *vehicles, const char *path, char *error, size_t error_capacity)
{
    sqlite3 *handle = NULL;
    const char *wrong = "cannot be opened";
    if (sqlite3_open_v2(path, &handle, SQLITE_OPEN_READWRITE, NULL) == SQLITE_OK) {
        sqlite3_busy_timeout(handle, 5000);
        wrong = load_each(vehicles, handle,
                          "SELECT reference, device, tenant, vin_hash, vin_sealed, registered_s, owner, data_since_s"
                          " FROM vehicle ORDER BY number",
                          load_vehicle);
        if (!wrong)
            wrong = load_each(vehicles, handle, "SELECT ecu, reference, certificate FROM ecu", load_ecu);
        if (!wrong)
            wrong = load_each(vehicles, handle,
                              "SELECT reference, at_s, change, detail FROM device_history ORDER BY rowid", load_entry);
        if (!wrong)
            wrong = load_each(vehicles, handle, "SELECT reference, state, changes FROM vehicle", check_vehicle);
    }
    sqlite3_close(handle);
    return !wrong || fail(error, error_capacity, path, wrong);
}
