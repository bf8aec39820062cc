/* file.c: a file is whole or not there: written beside its name, then renamed. */
#include "internal.h"

#include <cjson/cJSON.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

static bool file_failed(const char *path, const char *why, char *error, size_t error_capacity)
{
    snprintf(error, error_capacity, "cannot write %s: %s", path, why);
    return false;
}

bool file_temporary(const char *path, char out[FILE_NAME], char *error, size_t error_capacity)
{
    int length = snprintf(out, FILE_NAME, "%s.part-%d", path, (int)getpid());
    return (length > 0 && length < FILE_NAME) || file_failed(path, strerror(ENAMETOOLONG), error, error_capacity);
}

bool file_commit(const char *temporary, const char *path, char *error, size_t error_capacity)
{
    if (rename(temporary, path) == 0)
        return true;
    int reason = errno;
    unlink(temporary);
    return file_failed(path, strerror(reason), error, error_capacity);
}

static bool write_all(int file, const char *data, size_t length)
{
    while (length) {
        ssize_t written = write(file, data, length);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return false;
        data += written;
        length -= (size_t)written;
    }
    return true;
}

static bool write_page(const struct page *page, const char *path, char *error, size_t error_capacity)
{
    char temporary[FILE_NAME];
    if (page->failed)
        return file_failed(path, "out of memory", error, error_capacity);
    if (!file_temporary(path, temporary, error, error_capacity))
        return false;
    int file = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (file < 0)
        return file_failed(path, strerror(errno), error, error_capacity);
    int reason = write_all(file, page->data, page->length) ? 0 : errno;
    /* A full disk may show only here (network file systems). */
    if (close(file) != 0 && !reason)
        reason = errno;
    if (reason) {
        unlink(temporary);
        return file_failed(path, strerror(reason), error, error_capacity);
    }
    return file_commit(temporary, path, error, error_capacity);
}

bool page_write(struct page *page, const char *path, char *error, size_t error_capacity)
{
    bool written = write_page(page, path, error, error_capacity);
    page_free(page);
    return written;
}

bool page_write_json(struct cJSON *root, const char *path, char *error, size_t error_capacity)
{
    struct page page = {0};
    char *text = cJSON_Print(root);
    cJSON_Delete(root);
    page.failed = !text;
    if (text)
        page_add(&page, text);
    page_add(&page, "\n");
    cJSON_free(text);
    return page_write(&page, path, error, error_capacity);
}
