/* desk_store.c: what the desk keeps in the registry's database: vehicles, and who has asked for which conversion.
 *
 *   conversion_audit(at_s, client, direction, reference, status)   rows are only added, one a request; no VIN in it, nor its hash
 * The registry writes to the same file through a connection of its own: whoever calls has let it finish (cloud_registry_flush()).
 */
#include "serve_internal.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

struct audit_log {
    sqlite3 *handle;
    sqlite3_stmt *add;
};

static bool complain(char *error, size_t capacity, const char *path, sqlite3 *handle)
{
    snprintf(error, capacity, "registry: %s: %s", path, handle ? sqlite3_errmsg(handle) : "out of memory");
    return false;
}

bool vehicles_file_load(const char *path, struct cloud_vehicles *vehicles, char *error, size_t error_capacity)
{
    sqlite3 *handle = NULL;
    sqlite3_stmt *probe = NULL;
    int step = SQLITE_ERROR;
    if (sqlite3_open_v2(path, &handle, SQLITE_OPEN_READWRITE, NULL) == SQLITE_OK &&
        sqlite3_prepare_v2(handle, "SELECT 1 FROM sqlite_master WHERE name = 'vehicle'", -1, &probe, NULL) == SQLITE_OK)
        step = sqlite3_step(probe);
    sqlite3_finalize(probe);
    bool fresh = step == SQLITE_DONE, good = fresh || step == SQLITE_ROW;
    if (!good)
        complain(error, error_capacity, path, handle);
    sqlite3_close(handle);
    return good && (fresh || cloud_vehicles_load(vehicles, path, error, error_capacity));
}

struct audit_log *audit_open(const char *path, char *error, size_t error_capacity)
{
    static const char schema[] =
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;"
        "CREATE TABLE IF NOT EXISTS conversion_audit(at_s INTEGER, client TEXT, direction TEXT, reference TEXT,"
        " status INTEGER);";
    struct audit_log *log = calloc(1, sizeof(*log));
    if (!log || sqlite3_open_v2(path, &log->handle, SQLITE_OPEN_READWRITE, NULL) != SQLITE_OK ||
        sqlite3_busy_timeout(log->handle, 1000) != SQLITE_OK ||
        sqlite3_exec(log->handle, schema, NULL, NULL, NULL) != SQLITE_OK ||
        sqlite3_prepare_v2(log->handle, "INSERT INTO conversion_audit VALUES(?,?,?,?,?)", -1, &log->add, NULL) !=
            SQLITE_OK) {
        complain(error, error_capacity, path, log ? log->handle : NULL);
        audit_close(log);
        return NULL;
    }
    return log;
}

bool audit_note(struct audit_log *log, const struct cloud_conversion_record *record)
{
    sqlite3_bind_int64(log->add, 1, record->at_s);
    sqlite3_bind_text(log->add, 2, record->client, -1, SQLITE_STATIC);
    sqlite3_bind_text(log->add, 3, record->direction, -1, SQLITE_STATIC);
    sqlite3_bind_text(log->add, 4, record->reference, -1, SQLITE_STATIC);
    sqlite3_bind_int(log->add, 5, record->status);
    bool good = sqlite3_step(log->add) == SQLITE_DONE;
    sqlite3_reset(log->add);
    sqlite3_clear_bindings(log->add);
    return good;
}

void audit_close(struct audit_log *log)
{
    if (!log)
        return;
    sqlite3_finalize(log->add);
    sqlite3_close(log->handle);
    free(log);
}
