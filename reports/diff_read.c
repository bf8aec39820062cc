/* diff_read.c: a run directory as it was kept. Files come from anywhere: whatever is in them, a question has an answer. */
#include "diff.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#define RESULT_MAX  (64u << 20)
#define SAMPLES_MAX (INT64_C(1) << 53)

static bool refuse(enum report_diff_status *status, enum report_diff_status why, char *error, size_t capacity,
                   const char *path, const char *text)
{
    *status = why;
    snprintf(error, capacity, "%s %s", path, text);
    return false;
}

/* The whole file, for the caller to free; NULL: errno says why. */
static char *read_whole(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        return NULL;
    size_t capacity = 1 << 16, length = 0;
    char *text = malloc(capacity + 1);
    while (text) {
        length += fread(text + length, 1, capacity - length, file);
        if (length < capacity || capacity >= RESULT_MAX)
            break;
        capacity *= 2;
        char *more = realloc(text, capacity + 1);
        if (!more)
            free(text);
        text = more;
    }
    int reason = !text ? ENOMEM : ferror(file) ? EIO : length >= RESULT_MAX ? EFBIG : 0;
    fclose(file);
    if (reason) {
        free(text);
        errno = reason;
        return NULL;
    }
    text[length] = 0;
    return text;
}

/* A number of JSON may have more digits than a double; inside texts a quote is never bare, so this is the member. */
static void read_seed(const char *text, char out[24])
{
    const char *at = strstr(text, "\"seed\":");
    size_t length = 0;
    if (at)
        at += strspn(at + 7, " \t") + 7;
    while (at && length < 20 && at[length] >= '0' && at[length] <= '9')
        length++;
    snprintf(out, 24, "%.*s", (int)length, at ? at : "");
}

static void open_database(struct diff_side *side)
{
    char path[600];
    sqlite3_stmt *statement = NULL;
    snprintf(path, sizeof(path), "%s/run.sqlite", side->directory);
    bool good = sqlite3_open_v2(path, &side->database, SQLITE_OPEN_READONLY, NULL) == SQLITE_OK &&
                sqlite3_prepare_v2(side->database, "SELECT low, samples, excluded FROM metric_histogram LIMIT 1", -1,
                                   &statement, NULL) == SQLITE_OK;
    if (good) {
        int step = sqlite3_step(statement);
        good = step == SQLITE_ROW || step == SQLITE_DONE;
    }
    sqlite3_finalize(statement);
    if (good)
        return;
    sqlite3_close(side->database);
    side->database = NULL;
}

bool diff_side_open(struct diff_side *side, const char *directory, enum report_diff_status *status, char *error,
                    size_t error_capacity)
{
    static const char *const objects[] = {"scenario", "metrics", "counters", "ledger", "commands"};
    char path[600];
    struct stat about;
    if (snprintf(side->directory, sizeof(side->directory), "%s", directory) >= (int)sizeof(side->directory))
        return refuse(status, REPORT_DIFF_BAD_INPUT, error, error_capacity, side->directory,
                      "...: the name is too long");
    snprintf(path, sizeof(path), "%s/result.json", directory);
    if (stat(path, &about) != 0 && (errno == ENOENT || errno == ENOTDIR))
        return refuse(status, REPORT_DIFF_BAD_INPUT, error, error_capacity, directory,
                      "is not a run directory: it has no result.json");
    char *text = read_whole(path);
    if (!text)
        return refuse(status, REPORT_DIFF_UNREADABLE, error, error_capacity, path, strerror(errno));
    side->root = cJSON_ParseWithOpts(text, NULL, true);
    read_seed(text, side->seed);
    free(text);
    if (!side->root)
        return refuse(status, REPORT_DIFF_UNREADABLE, error, error_capacity, path, "is damaged: it is not JSON");
    bool run = cJSON_IsArray(diff_get(side->root, "expectations")) && cJSON_IsString(diff_get(side->root, "world"));
    for (size_t i = 0; i < sizeof(objects) / sizeof(objects[0]); i++)
        run = run && cJSON_IsObject(diff_get(side->root, objects[i]));
    if (!run)
        return refuse(status, REPORT_DIFF_BAD_INPUT, error, error_capacity, path, "is not the result of a run");
    open_database(side);
    return true;
}

void diff_side_close(struct diff_side *side)
{
    cJSON_Delete(side->root);
    sqlite3_close(side->database);
}

const cJSON *diff_get(const cJSON *object, const char *name)
{
    return cJSON_GetObjectItemCaseSensitive(object, name);
}

double diff_number(const cJSON *object, const char *name)
{
    const cJSON *item = diff_get(object, name);
    return cJSON_IsNumber(item) ? item->valuedouble : NAN;
}

const char *diff_text(const cJSON *object, const char *name)
{
    const cJSON *item = diff_get(object, name);
    return cJSON_IsString(item) ? item->valuestring : "";
}

bool diff_true(const cJSON *object, const char *name)
{
    return cJSON_IsTrue(diff_get(object, name));
}

const cJSON *diff_metric_part(const struct diff_side *side, const char *metric, const char *path)
{
    const cJSON *whole = diff_get(diff_get(side->root, "metrics"), metric);
    return strcmp(path, "any") == 0 ? whole : diff_get(diff_get(whole, "by_path"), path);
}

/* ---- distributions -------------------------------------------------------------------------------------------------------- */

static bool add_bucket(struct histogram *out, int64_t low, int64_t samples)
{
    if (low < 0 || samples <= 0 || samples > SAMPLES_MAX || out->count + (uint64_t)samples > SAMPLES_MAX)
        return false;
    out->bucket[histogram_index(low)] += (uint64_t)samples;
    out->count += (uint64_t)samples;
    return true;
}

static bool read_buckets(const struct diff_side *side, const char *metric, const char *path, bool excluded,
                         struct histogram *out)
{
    sqlite3_stmt *statement;
    if (sqlite3_prepare_v2(side->database,
                           "SELECT low, samples FROM metric_histogram WHERE metric = ? AND path = ? AND excluded = ?",
                           -1, &statement, NULL) != SQLITE_OK)
        return false;
    sqlite3_bind_text(statement, 1, metric, -1, SQLITE_STATIC);
    sqlite3_bind_text(statement, 2, path, -1, SQLITE_STATIC);
    sqlite3_bind_int(statement, 3, excluded);
    int step;
    bool good = true;
    while (good && (step = sqlite3_step(statement)) == SQLITE_ROW)
        good = add_bucket(out, sqlite3_column_int64(statement, 0), sqlite3_column_int64(statement, 1));
    good = good && step == SQLITE_DONE;
    sqlite3_finalize(statement);
    return good;
}

/* The edges of the outermost buckets: what is exact, the document tells. */
static void close_ends(struct histogram *out, const cJSON *part)
{
    uint32_t first = 0, last = HISTOGRAM_BUCKETS - 1;
    while (!out->bucket[first])
        first++;
    while (!out->bucket[last])
        last--;
    double low = diff_number(part, "min"), high = diff_number(part, "max");
    out->minimum = histogram_bucket_low(first);
    out->maximum = last == HISTOGRAM_BUCKETS - 1 ? HISTOGRAM_TOP : histogram_bucket_high(last);
    if (low > (double)out->minimum && low <= (double)histogram_bucket_high(first))
        out->minimum = (int64_t)low;
    if (high < (double)out->maximum && high >= (double)histogram_bucket_low(last))
        out->maximum = (int64_t)high;
}

bool diff_histogram(const struct diff_side *side, const char *metric, const char *path, bool also_excluded,
                    struct histogram *out)
{
    const cJSON *part = diff_metric_part(side, metric, path);
    histogram_clear(out);
    if (!side->database || !part)
        return false;
    bool excluded_only = diff_true(part, "excluded_phases_only");
    if (!excluded_only && !read_buckets(side, metric, path, false, out))
        return false;
    if ((excluded_only || also_excluded) && !read_buckets(side, metric, path, true, out))
        return false;
    if (!out->count)
        return false;
    close_ends(out, part);
    return true;
}
