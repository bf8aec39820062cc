/* store_index.c: the index of a PKI's directory: what was issued, what is revoked. DIR/index.db, one row a certificate.
 *
 * Processes that share the directory share the file; SQLite keeps their changes apart. `revision` in `state` counts revocations, so that another process sees with one cheap question
 * whether its list in memory is still true.
 */
#include "pki_store_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define BUSY_TIMEOUT_MS 20000

static const char schema[] =
    "CREATE TABLE IF NOT EXISTS issued(serial INTEGER, ca TEXT, id BLOB, name TEXT, not_before_s INTEGER,"
    " not_after_s INTEGER, revoked_s INTEGER, reason INTEGER, PRIMARY KEY(serial, ca)) WITHOUT ROWID;"
    "CREATE INDEX IF NOT EXISTS issued_name ON issued(name, ca);"
    "CREATE INDEX IF NOT EXISTS issued_revoked ON issued(revoked_s) WHERE revoked_s IS NOT NULL;"
    "CREATE TABLE IF NOT EXISTS state(name TEXT PRIMARY KEY, value INTEGER) WITHOUT ROWID;"
    "INSERT OR IGNORE INTO state VALUES('revision', 0);"
    "CREATE TABLE IF NOT EXISTS crl(ca TEXT PRIMARY KEY, number INTEGER, revision INTEGER, this_update_s INTEGER,"
    " der BLOB) WITHOUT ROWID;";

static const char *const texts[STORE_STATEMENTS] = {
    [STORE_PUT_ISSUED] = "INSERT OR IGNORE INTO issued VALUES(?1, ?2, ?3, ?4, ?5, ?6, NULL, NULL)",
    [STORE_GET_ISSUED] = "SELECT id, name, not_before_s, not_after_s, revoked_s, reason FROM issued "
                         "WHERE serial = ?1 AND ca = ?2",
    [STORE_FIND_SERIAL] = "SELECT ca FROM issued WHERE serial = ?1",
    [STORE_OF_NAME] = "SELECT count(*), coalesce(sum(revoked_s IS NULL), 0) FROM issued WHERE name = ?1 AND ca = ?2",
    [STORE_REVOKE] = "UPDATE issued SET revoked_s = ?3, reason = ?4 WHERE revoked_s IS NULL AND ca = ?2 AND "
                     "(serial = ?1 OR name = ?5)",
    [STORE_REVOKED] = "SELECT serial, ca, revoked_s, reason, not_after_s FROM issued WHERE revoked_s IS NOT NULL "
                      "ORDER BY serial",
    [STORE_REVISION] = "SELECT value FROM state WHERE name = 'revision'",
    [STORE_REVISION_UP] = "UPDATE state SET value = value + 1 WHERE name = 'revision'",
    [STORE_GET_CRL] = "SELECT number, revision, this_update_s, der FROM crl WHERE ca = ?1",
    [STORE_PUT_CRL] = "INSERT OR REPLACE INTO crl VALUES(?1, ?2, ?3, ?4, ?5)",
};

/* ---- open, close ----------------------------------------------------------------------------------------------------- */

struct pki_store *store_create(const char *directory)
{
    struct pki_store *store = calloc(1, sizeof *store);
    if (!store)
        return NULL;
    pthread_mutex_init(&store->mutex, NULL);
    snprintf(store->directory, sizeof store->directory, "%s", directory);
    return store;
}

static void close_database(struct pki_store *store)
{
    for (int i = 0; i < STORE_STATEMENTS; i++)
        sqlite3_finalize(store->statement[i]);
    memset(store->statement, 0, sizeof store->statement);
    sqlite3_close(store->handle);
    store->handle = NULL;
}

/* SQLite's own waiting does not cover the change of a journal's mode: whoever comes second while the first does it is told "locked" at once. */
static bool write_ahead(sqlite3 *handle)
{
    enum { STEP_MS = 10 };
    int result, waited_ms = 0;
    while ((result = sqlite3_exec(handle, "PRAGMA journal_mode=WAL", NULL, NULL, NULL)) == SQLITE_BUSY &&
           waited_ms < BUSY_TIMEOUT_MS)
        waited_ms += sqlite3_sleep(STEP_MS);
    return result == SQLITE_OK;
}

/* Several processes may begin on a directory at the same moment: one makes the tables, the others wait for it. */
static bool bring_up(sqlite3 *handle)
{
    return write_ahead(handle) &&
           sqlite3_exec(handle, "PRAGMA synchronous=NORMAL; BEGIN IMMEDIATE", NULL, NULL, NULL) == SQLITE_OK &&
           sqlite3_exec(handle, schema, NULL, NULL, NULL) == SQLITE_OK &&
           sqlite3_exec(handle, "COMMIT", NULL, NULL, NULL) == SQLITE_OK;
}

static bool open_database(struct pki_store *store, char *error, size_t error_capacity)
{
    char path[600];
    snprintf(path, sizeof path, "%s/index.db", store->directory);
    bool good = sqlite3_open(path, &store->handle) == SQLITE_OK;
    if (good) {
        sqlite3_busy_timeout(store->handle, BUSY_TIMEOUT_MS);
        good = bring_up(store->handle);
    }
    for (int i = 0; good && i < STORE_STATEMENTS; i++)
        good = sqlite3_prepare_v2(store->handle, texts[i], -1, &store->statement[i], NULL) == SQLITE_OK;
    bool changed;
    if (good && store_reload(store, &changed)) {
        store->told = store->revision;
        return true;
    }
    if (error && error_capacity)
        snprintf(error, error_capacity, "certificates: %s: %s", path,
                 store->handle ? sqlite3_errmsg(store->handle) : "out of memory");
    close_database(store);
    return false;
}

struct pki_store *store_of(struct cloud_pki *pki, char *error, size_t error_capacity)
{
    struct pki_store *store = pki->simulating ? NULL : pki->store;
    if (!store) {
        if (error && error_capacity)
            snprintf(error, error_capacity, "certificates: a %s hierarchy has no index",
                     pki->modelled ? "modelled" : "simulation's");
        return NULL;
    }
    pthread_mutex_lock(&store->mutex);
    bool good = store->handle || open_database(store, error, error_capacity);
    pthread_mutex_unlock(&store->mutex);
    return good ? store : NULL;
}

void store_close(struct pki_store *store)
{
    if (!store)
        return;
    close_database(store);
    for (int i = 0; i < CLOUD_CA_COUNT; i++) {
        X509_free(store->responder[i].x509);
        EVP_PKEY_free(store->responder[i].key);
    }
    free(store->revoked);
    pthread_mutex_destroy(&store->mutex);
    free(store);
}

/* ---- transactions ---------------------------------------------------------------------------------------------------- */

void store_enter(struct pki_store *store)
{
    pthread_mutex_lock(&store->mutex);
}

void store_leave(struct pki_store *store)
{
    pthread_mutex_unlock(&store->mutex);
}

bool store_begin(struct pki_store *store)
{
    return sqlite3_exec(store->handle, "BEGIN IMMEDIATE", NULL, NULL, NULL) == SQLITE_OK;
}

bool store_end(struct pki_store *store, bool good)
{
    if (good && sqlite3_exec(store->handle, "COMMIT", NULL, NULL, NULL) == SQLITE_OK)
        return true;
    sqlite3_exec(store->handle, "ROLLBACK", NULL, NULL, NULL);
    return false;
}

sqlite3_stmt *store_statement(struct pki_store *store, enum store_statement which)
{
    return store->statement[which];
}

bool store_run(sqlite3_stmt *statement)
{
    bool good = sqlite3_step(statement) == SQLITE_DONE;
    sqlite3_reset(statement);
    sqlite3_clear_bindings(statement);
    return good;
}

/* ---- what is revoked, in memory -------------------------------------------------------------------------------------- */

static bool ca_of(const unsigned char *text, enum cloud_ca *ca)
{
    for (int i = 0; text && i < CLOUD_CA_COUNT; i++)
        if (strcmp((const char *)text, identity_ca_file[i]) == 0) {
            *ca = (enum cloud_ca)i;
            return true;
        }
    return false;
}

static bool read_revoked(struct pki_store *store)
{
    sqlite3_stmt *statement = store->statement[STORE_REVOKED];
    struct store_revoked *revoked = NULL;
    size_t count = 0, capacity = 0;
    int code;
    while ((code = sqlite3_step(statement)) == SQLITE_ROW) {
        if (count == capacity) {
            capacity = capacity ? capacity * 2 : 16;
            struct store_revoked *more = realloc(revoked, capacity * sizeof *more);
            if (!more)
                break;
            revoked = more;
        }
        struct store_revoked *row = &revoked[count];
        row->serial = (uint64_t)sqlite3_column_int64(statement, 0);
        row->at_s = sqlite3_column_int64(statement, 2);
        row->reason = sqlite3_column_int(statement, 3);
        row->not_after_s = sqlite3_column_int64(statement, 4);
        count += ca_of(sqlite3_column_text(statement, 1), &row->ca);
    }
    sqlite3_reset(statement);
    if (code != SQLITE_DONE) {
        free(revoked);
        return false;
    }
    free(store->revoked);
    store->revoked = revoked;
    store->revoked_count = count;
    return true;
}

static bool read_revision(struct pki_store *store, int64_t *revision)
{
    sqlite3_stmt *statement = store->statement[STORE_REVISION];
    bool good = sqlite3_step(statement) == SQLITE_ROW;
    *revision = good ? sqlite3_column_int64(statement, 0) : 0;
    sqlite3_reset(statement);
    return good;
}

/* The revision is read first: a revocation in between is seen next time. */
bool store_reload(struct pki_store *store, bool *changed)
{
    int64_t revision;
    *changed = false;
    if (!read_revision(store, &revision))
        return false;
    if (revision == store->revision)
        return true;
    if (!read_revoked(store))
        return false;
    store->revision = revision;
    *changed = true;
    return true;
}

bool cloud_pki_refresh(struct cloud_pki *pki)
{
    struct pki_store *store = store_of(pki, NULL, 0);
    bool changed = false;
    if (!store)
        return false;
    store_enter(store);
    store_reload(store, &changed); /* whoever else has reloaded it in the meantime */
    changed = store->revision != store->told;
    store->told = store->revision;
    store_leave(store);
    return changed;
}

bool cloud_pki_is_revoked(struct cloud_pki *pki, enum cloud_ca ca, uint64_t serial)
{
    struct pki_store *store = pki->store ? store_of(pki, NULL, 0) : NULL;
    bool found = false;
    if (!store)
        return false;
    store_enter(store);
    size_t low = 0, high = store->revoked_count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (store->revoked[middle].serial < serial)
            low = middle + 1;
        else
            high = middle;
    }
    for (; !found && low < store->revoked_count && store->revoked[low].serial == serial; low++)
        found = store->revoked[low].ca == ca;
    store_leave(store);
    return found;
}

/* ---- what was issued ------------------------------------------------------------------------------------------------- */

bool store_put(struct pki_store *store, enum cloud_ca ca, const struct cloud_certificate *certificate)
{
    sqlite3_stmt *statement = store->statement[STORE_PUT_ISSUED];
    sqlite3_bind_int64(statement, 1, (sqlite3_int64)certificate->serial);
    sqlite3_bind_text(statement, 2, identity_ca_file[ca], -1, SQLITE_STATIC);
    sqlite3_bind_blob(statement, 3, certificate->id, 32, SQLITE_STATIC);
    sqlite3_bind_text(statement, 4, certificate->common_name, -1, SQLITE_STATIC);
    sqlite3_bind_int64(statement, 5, certificate->not_before_s);
    sqlite3_bind_int64(statement, 6, certificate->not_after_s);
    return store_run(statement);
}

bool store_note(struct cloud_pki *pki, enum cloud_ca ca, X509 *x509)
{
    struct cloud_certificate certificate;
    struct pki_store *store = store_of(pki, NULL, 0);
    if (!store)
        return !pki->store || access(pki->store->directory, W_OK) != 0;
    if (!real_describe(x509, &certificate))
        return false;
    store_enter(store);
    bool good = store_put(store, ca, &certificate);
    store_leave(store);
    return good;
}

static void column_text(sqlite3_stmt *statement, int column, char out[64])
{
    const unsigned char *text = sqlite3_column_text(statement, column);
    snprintf(out, 64, "%s", text ? (const char *)text : "");
}

enum cloud_standing cloud_pki_standing(struct cloud_pki *pki, enum cloud_ca ca, uint64_t serial,
                                       struct cloud_issued *out)
{
    struct pki_store *store = store_of(pki, NULL, 0);
    struct cloud_issued issued = {.ca = ca, .serial = serial};
    enum cloud_standing standing = CLOUD_STANDING_UNKNOWN;
    if (!store)
        return standing;
    store_enter(store);
    sqlite3_stmt *statement = store->statement[STORE_GET_ISSUED];
    sqlite3_bind_int64(statement, 1, (sqlite3_int64)serial);
    sqlite3_bind_text(statement, 2, identity_ca_file[ca], -1, SQLITE_STATIC);
    if (sqlite3_step(statement) == SQLITE_ROW) {
        if (sqlite3_column_bytes(statement, 0) == 32)
            memcpy(issued.id, sqlite3_column_blob(statement, 0), 32);
        column_text(statement, 1, issued.common_name);
        issued.not_before_s = sqlite3_column_int64(statement, 2);
        issued.not_after_s = sqlite3_column_int64(statement, 3);
        issued.revoked_s = sqlite3_column_int64(statement, 4);
        issued.reason = sqlite3_column_int(statement, 5);
        standing = sqlite3_column_type(statement, 4) == SQLITE_NULL ? CLOUD_STANDING_GOOD : CLOUD_STANDING_REVOKED;
    }
    sqlite3_reset(statement);
    store_leave(store);
    if (out && standing != CLOUD_STANDING_UNKNOWN)
        *out = issued;
    return standing;
}

void cloud_pki_revoked(struct cloud_pki *pki, bool (*visit)(void *context, const struct cloud_issued *issued),
                       void *context)
{
    struct pki_store *store = store_of(pki, NULL, 0);
    struct cloud_issued issued;
    if (!store)
        return;
    store_enter(store); /* visit() may ask us, and revoke: it goes through a copy */
    size_t count = store->revoked_count;
    struct store_revoked *copy = count ? malloc(count * sizeof *copy) : NULL;
    if (copy)
        memcpy(copy, store->revoked, count * sizeof *copy);
    store_leave(store);
    for (size_t i = 0; copy && i < count; i++)
        if (cloud_pki_standing(pki, copy[i].ca, copy[i].serial, &issued) == CLOUD_STANDING_REVOKED &&
            !visit(context, &issued))
            break;
    free(copy);
}

bool cloud_pki_find(struct cloud_pki *pki, uint64_t serial, enum cloud_ca *ca)
{
    struct pki_store *store = store_of(pki, NULL, 0);
    if (!store)
        return false;
    store_enter(store);
    sqlite3_stmt *statement = store->statement[STORE_FIND_SERIAL];
    sqlite3_bind_int64(statement, 1, (sqlite3_int64)serial);
    bool found = sqlite3_step(statement) == SQLITE_ROW && ca_of(sqlite3_column_text(statement, 0), ca);
    sqlite3_reset(statement);
    store_leave(store);
    return found;
}

/* ---- revoking -------------------------------------------------------------------------------------------------------- */

static const struct {
    int number;
    const char *name;
} reasons[] = {{0, "unspecified"}, {1, "keyCompromise"},        {2, "CACompromise"},       {3, "affiliationChanged"},
               {4, "superseded"},  {5, "cessationOfOperation"}, {9, "privilegeWithdrawn"}, {10, "AACompromise"}};

int cloud_revocation_reason(const char *name)
{
    for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++)
        if (strcmp(reasons[i].name, name) == 0)
            return reasons[i].number;
    return -1;
}

const char *cloud_revocation_reason_name(int reason)
{
    for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++)
        if (reasons[i].number == reason)
            return reasons[i].name;
    return NULL;
}

/* Returns how many, -1: the database refused. */
static int mark(struct pki_store *store, enum cloud_ca ca, const uint64_t *serial, const char *name, int reason,
                int64_t now_s)
{
    bool changed;
    if (!store_begin(store))
        return -1;
    sqlite3_stmt *statement = store->statement[STORE_REVOKE];
    if (serial)
        sqlite3_bind_int64(statement, 1, (sqlite3_int64)*serial);
    sqlite3_bind_text(statement, 2, identity_ca_file[ca], -1, SQLITE_STATIC);
    sqlite3_bind_int64(statement, 3, now_s);
    sqlite3_bind_int(statement, 4, reason);
    if (name)
        sqlite3_bind_text(statement, 5, name, -1, SQLITE_STATIC);
    bool good = store_run(statement);
    int count = good ? sqlite3_changes(store->handle) : -1;
    if (count > 0)
        good = store_run(store->statement[STORE_REVISION_UP]);
    return store_end(store, good) && store_reload(store, &changed) ? count : -1;
}

static int revoke_some(struct cloud_pki *pki, enum cloud_ca ca, const uint64_t *serial, const char *name, int reason,
                       int64_t now_s, char *error, size_t error_capacity)
{
    struct pki_store *store = store_of(pki, error, error_capacity);
    if (!store)
        return -1;
    store_enter(store);
    int count = mark(store, ca, serial, name, reason, now_s);
    if (count < 0)
        snprintf(error, error_capacity, "certificates: %s/index.db: %s", store->directory,
                 sqlite3_errmsg(store->handle));
    store_leave(store);
    return count >= 0 && cloud_pki_write_crls(pki, now_s, error, error_capacity) ? count : -1;
}

int cloud_pki_revoke(struct cloud_pki *pki, enum cloud_ca ca, uint64_t serial, int reason, int64_t now_s, char *error,
                     size_t error_capacity)
{
    if (cloud_pki_standing(pki, ca, serial, NULL) != CLOUD_STANDING_UNKNOWN)
        return revoke_some(pki, ca, &serial, NULL, reason, now_s, error, error_capacity);
    snprintf(error, error_capacity, "certificates: the %s CA has issued none with the serial number %llX",
             identity_ca_file[ca], (unsigned long long)serial);
    return -1;
}

int cloud_pki_revoke_by_name(struct cloud_pki *pki, enum cloud_ca ca, const char *common_name, int reason,
                             int64_t now_s, char *error, size_t error_capacity)
{
    struct pki_store *store = store_of(pki, error, error_capacity);
    if (!store)
        return -1;
    store_enter(store);
    sqlite3_stmt *statement = store->statement[STORE_OF_NAME];
    sqlite3_bind_text(statement, 1, common_name, -1, SQLITE_STATIC);
    sqlite3_bind_text(statement, 2, identity_ca_file[ca], -1, SQLITE_STATIC);
    bool any = sqlite3_step(statement) == SQLITE_ROW && sqlite3_column_int64(statement, 0) > 0;
    sqlite3_reset(statement);
    store_leave(store);
    if (any)
        return revoke_some(pki, ca, NULL, common_name, reason, now_s, error, error_capacity);
    snprintf(error, error_capacity, "certificates: the %s CA has issued none for '%s'", identity_ca_file[ca],
             common_name);
    return -1;
}

/* ---- for other people's programs ------------------------------------------------------------------------------------- */

bool cloud_pki_set_public_url(struct cloud_pki *pki, const char *url)
{
    struct pki_store *store = pki->store;
    if (!store)
        return url == NULL;
    size_t length = url ? strlen(url) : 0;
    if (url && (length >= STORE_URL_MAX || length < 8 || strncmp(url, "http", 4) != 0 || url[length - 1] == '/' ||
                strcspn(url, " \t\r\n,;\"\\") != length))
        return false;
    if (url && strncmp(url, "http://", 7) != 0 && strncmp(url, "https://", 8) != 0)
        return false;
    store_enter(store);
    memcpy(store->url, url ? url : "", length + 1);
    store_leave(store);
    return true;
}

bool store_write_file(const struct pki_store *store, const char *name, const void *data, size_t length, unsigned mode)
{
    char path[640], beside[700];
    snprintf(path, sizeof path, "%s/%s", store->directory, name);
    snprintf(beside, sizeof beside, "%s.%ld", path, (long)getpid());
    int fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, (mode_t)mode);
    if (fd < 0)
        return false;
    bool good = write(fd, data, length) == (ssize_t)length;
    good = close(fd) == 0 && good && rename(beside, path) == 0;
    if (!good)
        unlink(beside);
    return good;
}
