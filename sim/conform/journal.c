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

/* ---- what a run that was killed has left --------------------------------------------------------------------------------- */

struct leftover {
    struct leftover *next;
    bool session;
    char name[];
};

static void forget_leftover(struct leftover **list, bool session, const char *name)
{
    for (struct leftover **each = list; *each; each = &(*each)->next) {
        if ((*each)->session != session || strcmp((*each)->name, name) != 0)
            continue;
        struct leftover *gone = *each;
        *each = gone->next;
        free(gone);
        return;
    }
}

static bool read_journal(FILE *file, const char *target, struct leftover **list, char *error, size_t capacity)
{
    char *line = NULL;
    size_t size = 0;
    ssize_t length = getline(&line, &size, file);
    size_t head = strlen(HEAD);
    bool usable = length > 0 && strncmp(line, HEAD, head) == 0 && strncmp(line + head, target, strlen(target)) == 0 &&
                  line[head + strlen(target)] == '\n';
    if (!usable)
        snprintf(error, capacity,
                 length > 0 && strncmp(line, HEAD, head) == 0 ? "the journal is of another broker: %.*s"
                                                              : "this is no journal",
                 length > 0 ? (int)(length - (ssize_t)head - 1) : 0, length > 0 ? line + head : "");
    while (usable && (length = getline(&line, &size, file)) > 0) {
        if (line[length - 1] != '\n')
            break; /* cut off in the middle: what it says was not yet done */
        line[length - 1] = 0;
        bool session = line[1] == 's';
        if (length < 5 || line[2] != ' ' || !strchr("+-", line[0]) || !strchr("rs", line[1]))
            continue;
        forget_leftover(list, session, line + 3);
        if (line[0] == '-')
            continue;
        struct leftover *added = malloc(sizeof(*added) + (size_t)length);
        if (!added)
            break;
        added->session = session;
        memcpy(added->name, line + 3, (size_t)length - 3);
        added->next = *list;
        *list = added;
    }
    free(line);
    return usable;
}

static bool sweep(const struct target *target, const struct conform_options *options, const struct leftover *leftover)
{
    if (leftover->session)
        return sweep_session(target, options, leftover->name);
    struct sweeper *sweeper = sweep_open(target, options, "mc5sweeper");
    bool gone = sweeper && sweep_retained(sweeper, leftover->name);
    sweep_close(sweeper);
    return gone;
}

bool conform_clean_up(const struct conform_options *options, uint32_t *removed, char *error, size_t error_capacity)
{
    struct leftover *list = NULL;
    uint32_t left = 0;
    *removed = 0;
    struct target *target = target_create(options, error, error_capacity);
    if (!target)
        return false;
    FILE *file = fopen(options->journal, "r");
    bool usable = file && read_journal(file, target_name(target), &list, error, error_capacity);
    if (!file)
        snprintf(error, error_capacity, "%s: %s", options->journal, strerror(errno));
    else if (flock(fileno(file), LOCK_EX | LOCK_NB) != 0) {
        snprintf(error, error_capacity, "%s: that run is still under way", options->journal);
        usable = false;
    }
    while (list) {
        struct leftover *first = list;
        list = first->next;
        if (usable && sweep(target, options, first))
            ++*removed;
        else
            left += usable;
        free(first);
    }
    if (usable && left)
        snprintf(error, error_capacity, "%u of %u could not be removed from %s", left, left + *removed,
                 target_name(target));
    else if (usable)
        unlink(options->journal);
    if (file)
        fclose(file);
    target_destroy(target);
    return usable && left == 0;
}
