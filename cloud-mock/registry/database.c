/* database.c: the registry's rows in SQLite.
 *
 *   name(name, thing, allowed, created_s)
 *   certificate(id, issuer, serial, common_name, status, thing, not_before_s, not_after_s, registered_s, changed_s,
 *               revoked_at)   revoked_at: by its CA, epoch seconds or NULL; added to databases that were made without
 *   history(at_s, certificate, thing, event)      what happened to a certificate; rows are only added
 */
#include "registry_internal.h"

#include "memory.h"

#include <sqlite3.h>
#include <stdio.h>

enum statement { PUT_NAME, PUT_CERTIFICATE, PUT_HISTORY, DELETE_CERTIFICATE, STATEMENTS };

struct database {
    sqlite3 *handle;
    sqlite3_stmt *statement[STATEMENTS];
    uint32_t pending; /* rows in the open transaction; 0: none is open */
};

static const char schema[] =
    "CREATE TABLE IF NOT EXISTS name(name TEXT PRIMARY KEY, thing INTEGER, allowed INTEGER, created_s INTEGER) WITHOUT "
    "ROWID;"
    "CREATE TABLE IF NOT EXISTS certificate(id BLOB PRIMARY KEY, issuer BLOB, serial INTEGER, common_name TEXT, status "
    "TEXT,"
    " thing TEXT, not_before_s INTEGER, not_after_s INTEGER, registered_s INTEGER, changed_s INTEGER,"
    " revoked_at INTEGER) WITHOUT ROWID;"
    "CREATE TABLE IF NOT EXISTS history(at_s INTEGER, certificate BLOB, thing TEXT, event TEXT);"
    "CREATE VIEW IF NOT EXISTS thing AS SELECT name, created_s FROM name WHERE thing;";
static const char *const texts[STATEMENTS] = {
    [PUT_NAME] = "INSERT OR REPLACE INTO name VALUES(?,?,?,?)",
    [PUT_CERTIFICATE] = "INSERT OR REPLACE INTO certificate VALUES(?,?,?,?,?,?,?,?,?,?,?)",
    [PUT_HISTORY] = "INSERT INTO history VALUES(?,?,?,?)",
    [DELETE_CERTIFICATE] = "DELETE FROM certificate WHERE id = ?",
};

/* Databases of before the column was there get it; the schema has it in the same place. */
static bool bring_up(sqlite3 *handle)
{
    sqlite3_stmt *probe;
    if (sqlite3_prepare_v2(handle, "SELECT revoked_at FROM certificate", -1, &probe, NULL) == SQLITE_OK)
        return sqlite3_finalize(probe) == SQLITE_OK;
    return sqlite3_exec(handle, "ALTER TABLE certificate ADD COLUMN revoked_at INTEGER", NULL, NULL, NULL) == SQLITE_OK;
}

struct database *database_open(const char *path, char *error, size_t error_capacity)
{
    struct database *database = memory_allocate_zero(1, sizeof(*database));
    if (!database)
        return NULL;
    bool good = sqlite3_open(path, &database->handle) == SQLITE_OK;
    if (good) {
        sqlite3_busy_timeout(database->handle, 5000);
        good = sqlite3_exec(database->handle,
                            "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA cache_size=-65536;", NULL, NULL,
                            NULL) == SQLITE_OK &&
               sqlite3_exec(database->handle, schema, NULL, NULL, NULL) == SQLITE_OK && bring_up(database->handle);
    }
    for (int i = 0; good && i < STATEMENTS; i++)
        good = sqlite3_prepare_v2(database->handle, texts[i], -1, &database->statement[i], NULL) == SQLITE_OK;
    if (good)
        return database;
    if (error_capacity)
        snprintf(error, error_capacity, "registry: %s: %s", path,
                 database->handle ? sqlite3_errmsg(database->handle) : "out of memory");
    database_close(database);
    return NULL;
}

void database_close(struct database *database)
{
    if (!database)
        return;
    database_flush(database);
    for (int i = 0; i < STATEMENTS; i++)
        sqlite3_finalize(database->statement[i]);
    sqlite3_close(database->handle);
    memory_free(database);
}

bool database_flush(struct database *database)
{
    if (database->pending == 0)
        return true;
    database->pending = 0;
    return sqlite3_exec(database->handle, "COMMIT", NULL, NULL, NULL) == SQLITE_OK;
}

static bool finish(struct database *database, sqlite3_stmt *statement)
{
    bool good = true;
    if (database->pending == 0)
        good = sqlite3_exec(database->handle, "BEGIN", NULL, NULL, NULL) == SQLITE_OK;
    if (good)
        database->pending++;
    good = good && sqlite3_step(statement) == SQLITE_DONE;
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
    if (database->pending >= DATABASE_BATCH)
        good = database_flush(database) && good;
    return good;
}

bool database_put_name(struct database *database, const struct cloud_registry *registry, uint32_t number)
{
    sqlite3_stmt *statement = database->statement[PUT_NAME];
    char name[NAME_MAX_LENGTH + 1];
    uint32_t length = names_text(&registry->names, number, name);
    uint8_t flags = names_flags(&registry->names, number);
    sqlite3_bind_text(statement, 1, name, (int)length, SQLITE_STATIC);
    sqlite3_bind_int(statement, 2, (flags & NAME_THING) != 0);
    sqlite3_bind_int(statement, 3, (flags & NAME_ALLOWED) != 0);
    sqlite3_bind_int64(statement, 4, names_created(&registry->names, number));
    return finish(database, statement);
}

bool database_put_certificate(struct database *database, const struct cloud_registry *registry, uint32_t number)
{
    sqlite3_stmt *statement = database->statement[PUT_CERTIFICATE];
    struct certificate_row row;
    char name[NAME_MAX_LENGTH + 1], thing[NAME_MAX_LENGTH + 1];
    registry_row(registry, number, &row);
    uint32_t length = names_text(&registry->names, row.common_name, name);
    sqlite3_bind_blob(statement, 1, row.id, 32, SQLITE_STATIC);
    sqlite3_bind_blob(statement, 2, row.issuer, 32, SQLITE_STATIC);
    sqlite3_bind_int64(statement, 3, (int64_t)row.serial);
    sqlite3_bind_text(statement, 4, name, (int)length, SQLITE_STATIC);
    sqlite3_bind_text(statement, 5, cloud_certificate_status_name(row.status), -1, SQLITE_STATIC);
    if (row.thing != NAME_NONE)
        sqlite3_bind_text(statement, 6, thing, (int)names_text(&registry->names, row.thing, thing), SQLITE_STATIC);
    sqlite3_bind_int64(statement, 7, row.not_before_s);
    sqlite3_bind_int64(statement, 8, row.not_after_s);
    sqlite3_bind_int64(statement, 9, row.registered_s);
    sqlite3_bind_int64(statement, 10, row.changed_s);
    if (row.revoked_s != REVOKED_NEVER)
        sqlite3_bind_int64(statement, 11, row.revoked_s);
    return finish(database, statement);
}

bool database_delete_certificate(struct database *database, const uint8_t id[32])
{
    sqlite3_stmt *statement = database->statement[DELETE_CERTIFICATE];
    sqlite3_bind_blob(statement, 1, id, 32, SQLITE_STATIC);
    return finish(database, statement);
}

bool database_put_history(struct database *database, int64_t at_s, const uint8_t id[32], const char *thing,
                          const char *event)
{
    sqlite3_stmt *statement = database->statement[PUT_HISTORY];
    sqlite3_bind_int64(statement, 1, at_s);
    sqlite3_bind_blob(statement, 2, id, 32, SQLITE_STATIC);
    if (thing[0])
        sqlite3_bind_text(statement, 3, thing, -1, SQLITE_STATIC);
    sqlite3_bind_text(statement, 4, event, -1, SQLITE_STATIC);
    return finish(database, statement);
}

/* ---- loading ------------------------------------------------------------------------------------------------------ */

static enum cloud_certificate_status status_of(const char *name)
{
    for (int i = CLOUD_CERTIFICATE_UNKNOWN; i <= CLOUD_CERTIFICATE_REVOKED; i++)
        if (name && strcmp(name, cloud_certificate_status_name((enum cloud_certificate_status)i)) == 0)
            return (enum cloud_certificate_status)i;
    return CLOUD_CERTIFICATE_UNKNOWN;
}

static bool load_name(struct cloud_registry *registry, sqlite3_stmt *row)
{
    const char *name = (const char *)sqlite3_column_text(row, 0);
    uint8_t flags =
        (uint8_t)((sqlite3_column_int(row, 1) ? NAME_THING : 0) | (sqlite3_column_int(row, 2) ? NAME_ALLOWED : 0));
    return name && registry_restore_name(registry, name, flags, sqlite3_column_int64(row, 3));
}

static bool load_certificate(struct cloud_registry *registry, sqlite3_stmt *row)
{
    struct cloud_certificate certificate = {0};
    const char *name = (const char *)sqlite3_column_text(row, 3);
    if (sqlite3_column_bytes(row, 0) != 32 || sqlite3_column_bytes(row, 1) != 32 || !name || strlen(name) > 63)
        return false;
    memcpy(certificate.id, sqlite3_column_blob(row, 0), 32);
    memcpy(certificate.issuer_id, sqlite3_column_blob(row, 1), 32);
    certificate.serial = (uint64_t)sqlite3_column_int64(row, 2);
    strcpy(certificate.common_name, name);
    certificate.not_before_s = sqlite3_column_int64(row, 6);
    certificate.not_after_s = sqlite3_column_int64(row, 7);
    return registry_restore_certificate(
        registry, &certificate, status_of((const char *)sqlite3_column_text(row, 4)),
        (const char *)sqlite3_column_text(row, 5), sqlite3_column_int64(row, 8), sqlite3_column_int64(row, 9),
        sqlite3_column_type(row, 10) == SQLITE_NULL ? REVOKED_NEVER : sqlite3_column_int64(row, 10));
}

static bool load_table(struct database *database, struct cloud_registry *registry, const char *query,
                       bool (*load)(struct cloud_registry *registry, sqlite3_stmt *row))
{
    sqlite3_stmt *rows;
    if (sqlite3_prepare_v2(database->handle, query, -1, &rows, NULL) != SQLITE_OK)
        return false;
    int result;
    bool good = true;
    while (good && (result = sqlite3_step(rows)) != SQLITE_DONE)
        good = result == SQLITE_ROW && load(registry, rows);
    sqlite3_finalize(rows);
    return good;
}

bool database_load(struct database *database, struct cloud_registry *registry)
{
    return load_table(database, registry, "SELECT name, thing, allowed, created_s FROM name", load_name) &&
           load_table(database, registry,
                      "SELECT id, issuer, serial, common_name, status, c.thing, not_before_s, not_after_s, "
                      "registered_s, changed_s, revoked_at FROM certificate AS c LEFT JOIN (SELECT certificate, "
                      "min(rowid) AS first FROM history GROUP BY certificate) AS h ON h.certificate = c.id "
                      "ORDER BY registered_s, first, serial, id", /* as they came, within a second too */
                      load_certificate);
}

/* Without a database nobody wrote a history: what the index knows are three moments: registered, last changed, revoked. */
bool cloud_registry_save(struct cloud_registry *registry, const char *path)
{
    char error[160], thing[64];
    struct database *database = database_open(path, error, sizeof(error));
    bool good =
        database &&
        sqlite3_exec(
            database->handle,
            "PRAGMA synchronous=OFF; BEGIN; DELETE FROM name; DELETE FROM certificate; DELETE FROM history; COMMIT",
            NULL, NULL, NULL) == SQLITE_OK;
    good = good && sqlite3_exec(database->handle, "BEGIN", NULL, NULL, NULL) == SQLITE_OK;
    for (uint32_t i = 0; good && i < registry->names.rows.count; i++) {
        database->pending = 1; /* one transaction, whatever its size */
        good = names_flags(&registry->names, i) == 0 || database_put_name(database, registry, i);
    }
    for (uint32_t i = 0; good && i < registry->certificates.count; i++) {
        struct certificate_row row;
        registry_row(registry, i, &row);
        if (registry_find(registry, row.id) != i)
            continue; /* forgotten */
        thing[0] = 0;
        if (row.thing != NAME_NONE)
            names_text(&registry->names, row.thing, thing);
        database->pending = 1;
        good =
            database_put_certificate(database, registry, i) &&
            database_put_history(database, row.registered_s, row.id, "", "PENDING_ACTIVATION") &&
            (row.status == CLOUD_CERTIFICATE_PENDING_ACTIVATION ||
             database_put_history(database, row.changed_s, row.id, thing, cloud_certificate_status_name(row.status))) &&
            (row.revoked_s == REVOKED_NEVER ||
             database_put_history(database, row.revoked_s, row.id, thing, "REVOKED_BY_CA"));
    }
    if (database) {
        database->pending = 1;
        good = database_flush(database) && good;
    }
    database_close(database);
    return good;
}
