/* journal.c: what a run would leave behind if it ended now: a line a name, on disk before the broker hears of it.
 *
 * "+r TOPIC" and "+s CLIENT" begin, "-r" and "-s" end; the first line names the broker. A run that was killed leaves its journal, and conform_clean_up()
 * works it off. Names are of this program's making: letters, digits and '/', never a line's end.
 */
#define _GNU_SOURCE
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

struct journal {
    int fd;
    char *path;
    pthread_mutex_t lock;
    uint64_t left;
};

#define HEAD "convoy-conform 1 "

struct journal *journal_open(const char *path, const char *target, char *error, size_t error_capacity)
{
    struct journal *journal = calloc(1, sizeof(*journal));
    if (!journal)
        return NULL;
    journal->fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0600);
    journal->path = strdup(path);
    if (journal->fd < 0 || !journal->path || dprintf(journal->fd, HEAD "%s\n", target) < 0 ||
        flock(journal->fd, LOCK_EX | LOCK_NB) != 0 || fsync(journal->fd) != 0) {
        snprintf(error, error_capacity, "%s: %s", path, strerror(errno));
        journal_close(journal);
        return NULL;
    }
    pthread_mutex_init(&journal->lock, NULL);
    return journal;
}

static void add_line(struct journal *journal, const char *what, const char *name, int change)
{
    if (!journal)
        return;
    pthread_mutex_lock(&journal->lock);
    journal->left += (uint64_t)(int64_t)change;
    dprintf(journal->fd, "%s %s\n", what, name);
    if (change > 0)
        fdatasync(journal->fd);
    pthread_mutex_unlock(&journal->lock);
}

void journal_retained(struct journal *journal, const char *topic)
{
    add_line(journal, "+r", topic, 1);
}

void journal_retained_gone(struct journal *journal, const char *topic)
{
    add_line(journal, "-r", topic, -1);
}

void journal_session(struct journal *journal, const char *client_id)
{
    add_line(journal, "+s", client_id, 1);
}

void journal_session_gone(struct journal *journal, const char *client_id)
{
    add_line(journal, "-s", client_id, -1);
}

bool journal_close(struct journal *journal)
{
    if (!journal)
        return true;
    bool clean = journal->left == 0;
    if (journal->fd >= 0) {
        if (clean)
            unlink(journal->path);
        close(journal->fd);
    }
    free(journal->path);
    free(journal);
    return clean;
}
