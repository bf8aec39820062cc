/* files_rig.h: a directory of a test's own, and database files. */
#ifndef TESTS_FILES_RIG_H
#define TESTS_FILES_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <dirent.h>
#include <sqlite3.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char directory[64];

static inline int make_directory(void **state)
{
    snprintf(directory, sizeof(directory), "/tmp/convoy-test-XXXXXX");
    return mkdtemp(directory) ? 0 : -1;
}

/* With the files in it. */
static inline int remove_directory(void **state)
{
    char path[512];
    DIR *open_directory = opendir(directory);
    for (struct dirent *entry; open_directory && (entry = readdir(open_directory));) {
        snprintf(path, sizeof(path), "%s/%s", directory, entry->d_name);
        unlink(path);
    }
    closedir(open_directory);
    return rmdir(directory);
}

static inline void remove_database(const char *path)
{
    char other[96];
    unlink(path);
    snprintf(other, sizeof(other), "%s-wal", path);
    unlink(other);
    snprintf(other, sizeof(other), "%s-shm", path);
    unlink(other);
}

/* The one number a query asks for. */
static inline int64_t query_number(const char *path, const char *query)
{
    sqlite3 *handle;
    sqlite3_stmt *row;
    assert_int_equal(sqlite3_open(path, &handle), SQLITE_OK);
    assert_int_equal(sqlite3_prepare_v2(handle, query, -1, &row, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_step(row), SQLITE_ROW);
    int64_t value = sqlite3_column_int64(row, 0);
    sqlite3_finalize(row);
    sqlite3_close(handle);
    return value;
}

#endif
