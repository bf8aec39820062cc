/* journal.c: what a run would leave behind if it ended now: a line a name, on disk before the broker hears of it.
 *
 * "+r TOPIC" and "+s CLIENT" begin, "-r" and "-s" end; the first line names the broker, the second ("below TOPICS") where all topics of the run are.
 * A run that was killed leaves its journal, and conform_clean_up() works it off. Bytes of names that are no visible ASCII, and '%', stand as %XX.
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
    bool broken; /* not everything could be written */
};

#define HEAD  "convoy-conform 1 "
#define BELOW "below "

struct journal *journal_open(const char *path, const char *target, const char *below, char *error,
                             size_t error_capacity)
{
    struct journal *journal = calloc(1, sizeof(*journal));
    if (!journal)
        return NULL;
    journal->fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0600);
    journal->path = strdup(path);
    if (journal->fd < 0 || !journal->path || dprintf(journal->fd, HEAD "%s\n" BELOW "%s\n", target, below) < 0 ||
        flock(journal->fd, LOCK_EX | LOCK_NB) != 0 || fsync(journal->fd) != 0) {
        snprintf(error, error_capacity, "%s: %s", path, strerror(errno));
        journal_close(journal);
        return NULL;
    }
    pthread_mutex_init(&journal->lock, NULL);
    return journal;
}

static void escape(const char *name, char *out)
{
    static const char digits[] = "0123456789abcdef";
    for (; *name; name++) {
        uint8_t byte = (uint8_t)*name;
        if (byte > ' ' && byte < 0x7F && byte != '%') {
            *out++ = *name;
            continue;
        }
        *out++ = '%';
        *out++ = digits[byte >> 4];
        *out++ = digits[byte & 15];
    }
    *out++ = '\n';
    *out = 0;
}

static void unescape(char *name)
{
    char *out = name;
    for (; *name; name++) {
        unsigned byte;
        bool escaped = sscanf(name, "%%%2x", &byte) == 1;
        *out++ = escaped ? (char)byte : *name;
        name += escaped ? 2 : 0;
    }
    *out = 0;
}

static void add_line(struct journal *journal, const char *what, const char *name, int change)
{
    if (!journal)
        return;
    size_t capacity = strlen(name) * 3 + 8;
    char *line = malloc(capacity);
    ASSERT(line != NULL);
    int head = snprintf(line, capacity, "%s ", what);
    escape(name, line + head);
    ssize_t length = (ssize_t)strlen(line);
    pthread_mutex_lock(&journal->lock);
    journal->left += (uint64_t)(int64_t)change;
    journal->broken |= write(journal->fd, line, (size_t)length) != length;
    if (change > 0)
        fdatasync(journal->fd);
    pthread_mutex_unlock(&journal->lock);
    free(line);
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
    bool clean = journal->left == 0 && !journal->broken;
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

static bool read_journal(FILE *file, const char *target, struct leftover **list, char **below, char *error,
                         size_t capacity)
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
        if (!*below && strncmp(line, BELOW, strlen(BELOW)) == 0)
            *below = strdup(line + strlen(BELOW));
        if (length < 5 || line[2] != ' ' || !strchr("+-", line[0]) || !strchr("rs", line[1]))
            continue;
        bool session = line[1] == 's';
        unescape(line + 3);
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

static struct sweeper *open_sweeper(const struct target *target, const struct conform_options *options)
{
    char id[24];
    snprintf(id, sizeof(id), "mc5sweeper%d", (int)getpid());
    return sweep_open(target, options, id);
}

static bool sweep(const struct target *target, const struct conform_options *options, const struct leftover *leftover)
{
    if (leftover->session)
        return sweep_session(target, options, leftover->name);
    struct sweeper *sweeper = open_sweeper(target, options);
    bool gone = sweeper && sweep_retained(sweeper, leftover->name);
    sweep_close(sweeper);
    return gone;
}

struct swept {
    uint32_t removed, left;
};

/* All sessions, or all retained messages, of the list. */
static void sweep_kind(const struct target *target, const struct conform_options *options, struct leftover *list,
                       bool sessions, struct swept *swept)
{
    for (; list; list = list->next) {
        if (list->session != sessions)
            continue;
        bool gone = sweep(target, options, list);
        swept->removed += gone;
        swept->left += !gone;
    }
}

/* Sessions first: their ends may publish wills that are retained. At last whatever is retained below the run's own topics and was not noted. */
static struct swept sweep_all(const struct target *target, const struct conform_options *options, struct leftover *list,
                              const char *below)
{
    struct swept swept = {0};
    sweep_kind(target, options, list, true, &swept);
    sweep_kind(target, options, list, false, &swept);
    struct sweeper *sweeper = below && *below ? open_sweeper(target, options) : NULL;
    if (sweeper)
        swept.removed += sweep_below(sweeper, below);
    sweep_close(sweeper);
    return swept;
}

static void forget_all(struct leftover *list)
{
    while (list) {
        struct leftover *next = list->next;
        free(list);
        list = next;
    }
}

bool conform_clean_up(const struct conform_options *options, uint32_t *removed, char *error, size_t error_capacity)
{
    struct leftover *list = NULL;
    char *below = NULL;
    struct swept swept = {0};
    *removed = 0;
    struct target *target = target_create(options, error, error_capacity);
    if (!target)
        return false;
    FILE *file = fopen(options->journal, "r");
    bool usable = file && read_journal(file, target_name(target), &list, &below, error, error_capacity);
    if (!file)
        snprintf(error, error_capacity, "%s: %s", options->journal, strerror(errno));
    else if (flock(fileno(file), LOCK_EX | LOCK_NB) != 0) {
        snprintf(error, error_capacity, "%s: that run is still under way", options->journal);
        usable = false;
    }
    if (usable)
        swept = sweep_all(target, options, list, below);
    *removed = swept.removed;
    if (usable && swept.left)
        snprintf(error, error_capacity, "%u of %u could not be removed from %s", swept.left, swept.left + swept.removed,
                 target_name(target));
    else if (usable)
        unlink(options->journal);
    if (file)
        fclose(file);
    forget_all(list);
    free(below);
    target_destroy(target);
    return usable && swept.left == 0;
}
