/* store_make.c: fills the identity store: threads take chunks in turn, each with keys and contexts of its own; the count follows the chunks that are complete without a gap. */
#include "store_file.h"

#include <errno.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#define CHUNK       256  /* identities */
#define COMMIT      8192 /* so many at most are lost with the process */
#define THREADS_MAX 64

struct making {
    struct cloud_identity_store *store;
    uint64_t begin, end, chunks;
    pthread_mutex_t mutex; /* for what follows */
    uint64_t next, complete;
    uint8_t *done; /* a flag a chunk */
    const char *failed;
};

/* ---- one identity ---------------------------------------------------------------------------------------------------- */

static bool name_of(const struct store_head *head, uint64_t index, char out[64])
{
    const char *mark = strchr(head->names, '%');
    int length =
        snprintf(out, 64, "%.*s%0*llu%s", (int)(mark - head->names), head->names, head->digits ? (int)head->digits : 1,
                 (unsigned long long)(head->first_number + index), mark + 1);
    return length > 0 && length < 64;
}

static const char *make_one(struct cloud_identity_store *store, struct store_press *press, uint64_t index,
                            struct store_slot *slot, struct cloud_certificate *issued)
{
    memset(issued, 0, sizeof *issued);
    memset(slot, 0, sizeof *slot);
    if (!name_of(&store->head, index, issued->common_name))
        return "a name is longer than 63 characters";
    issued->not_before_s = store->head.not_before_s;
    issued->not_after_s = issued->not_before_s + store->head.lifetime_s;
    const char *failed = store_press_make(press, issued, slot);
    if (!failed)
        slot->sum = identity_store_sum(slot, index);
    return failed;
}

/* ---- chunks ---------------------------------------------------------------------------------------------------------- */

static bool note_all(struct cloud_pki *pki, enum cloud_ca ca, const struct cloud_certificate *issued, size_t count)
{
    struct pki_store *index = store_of(pki, NULL, 0);
    if (!index)
        return access(pki->store->directory, W_OK) != 0;
    store_enter(index);
    bool good = store_begin(index);
    for (size_t i = 0; good && i < count; i++)
        good = store_put(index, ca, &issued[i]);
    good = store_end(index, good);
    store_leave(index);
    return good;
}

/* In the index before it counts: an identity that is used can be revoked. */
static const char *make_chunk(struct making *making, struct store_press *press, uint64_t chunk,
                              struct store_slot *slots, struct cloud_certificate *issued)
{
    struct cloud_identity_store *store = making->store;
    uint64_t first = making->begin + chunk * CHUNK, left = making->end - first;
    size_t count = left < CHUNK ? (size_t)left : CHUNK;
    for (size_t i = 0; i < count; i++) {
        const char *failed = make_one(store, press, first + i, &slots[i], &issued[i]);
        if (failed)
            return failed;
    }
    size_t bytes = count * sizeof *slots;
    if (pwrite(store->fd, slots, bytes, identity_store_offset(first)) != (ssize_t)bytes)
        return strerror(errno);
    return note_all(store->pki, store->ca, issued, count) ? NULL : "the PKI's index cannot be written";
}

/* With the mutex held. */
static void complete(struct making *making, uint64_t chunk)
{
    struct cloud_identity_store *store = making->store;
    making->done[chunk] = 1;
    while (making->complete < making->chunks && making->done[making->complete])
        making->complete++;
    uint64_t there = making->begin + making->complete * CHUNK;
    if (there > making->end)
        there = making->end;
    if (there < store->head.count + COMMIT && there < making->end)
        return;
    uint64_t before = store->head.count;
    store->head.count = there;
    if (fdatasync(store->fd) == 0 && identity_store_write_head(store))
        return;
    store->head.count = before;
    making->failed = strerror(errno);
}

static void *work(void *context)
{
    struct making *making = context;
    struct store_slot *slots = malloc(CHUNK * sizeof *slots);
    struct cloud_certificate *issued = malloc(CHUNK * sizeof *issued);
    struct store_press *press = store_press_open(making->store);
    pthread_mutex_lock(&making->mutex);
    if (!slots || !issued || !press)
        making->failed = "out of memory";
    while (!making->failed && making->next < making->chunks) {
        uint64_t chunk = making->next++;
        pthread_mutex_unlock(&making->mutex);
        const char *failed = make_chunk(making, press, chunk, slots, issued);
        pthread_mutex_lock(&making->mutex);
        if (failed)
            making->failed = failed;
        else
            complete(making, chunk);
    }
    pthread_mutex_unlock(&making->mutex);
    if (slots)
        OPENSSL_cleanse(slots, CHUNK * sizeof *slots);
    free(slots);
    free(issued);
    store_press_close(press);
    return NULL;
}

/* ---- all of them ----------------------------------------------------------------------------------------------------- */

static const char *make_all(struct cloud_identity_store *store, uint64_t count, unsigned threads)
{
    struct making making = {.store = store, .begin = store->head.count, .end = count};
    pthread_t others[THREADS_MAX];
    unsigned started = 0;
    making.chunks = (count - making.begin + CHUNK - 1) / CHUNK;
    making.done = calloc(making.chunks, 1);
    if (!making.done)
        return "out of memory";
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    if (threads == 0)
        threads = processors > 0 ? (unsigned)processors : 1;
    if (threads > THREADS_MAX)
        threads = THREADS_MAX;
    if (threads > making.chunks)
        threads = (unsigned)making.chunks;
    pthread_mutex_init(&making.mutex, NULL);
    while (started + 1 < threads && pthread_create(&others[started], NULL, work, &making) == 0)
        started++;
    work(&making);
    for (unsigned i = 0; i < started; i++)
        pthread_join(others[i], NULL);
    pthread_mutex_destroy(&making.mutex);
    free(making.done);
    return making.failed;
}

static const char *ensure(struct cloud_identity_store *store, uint64_t count, int64_t now_s, int64_t valid_until_s,
                          unsigned threads)
{
    if (!identity_store_read_head(store)) /* somebody else may have made some */
        return "cannot be read";
    if (store->head.count && store->head.not_before_s + store->head.lifetime_s < valid_until_s)
        store->head.count = 0;
    if (count <= store->head.count)
        return NULL;
    if (!store->writable)
        return "there are too few, and it cannot be written";
    if (store->head.count == 0) {
        store->head.not_before_s = now_s;
        if (!identity_store_write_head(store))
            return strerror(errno);
    }
    return make_all(store, count, threads);
}

bool cloud_identity_store_ensure(struct cloud_identity_store *store, uint64_t count, int64_t now_s,
                                 int64_t valid_until_s, unsigned threads, uint64_t *made, char *error,
                                 size_t error_capacity)
{
    const char *failed = NULL;
    if (now_s + store->head.lifetime_s < valid_until_s) {
        snprintf(error, error_capacity, "identities: %s: the profile's lifetime does not last that long", store->path);
        return false;
    }
    if (flock(store->fd, store->writable ? LOCK_EX : LOCK_SH) != 0)
        failed = strerror(errno);
    uint64_t before = 0;
    bool anew = false;
    if (!failed) {
        anew = identity_store_read_head(store) && store->head.not_before_s + store->head.lifetime_s < valid_until_s;
        before = anew ? 0 : store->head.count;
        failed = ensure(store, count, now_s, valid_until_s, threads);
        flock(store->fd, LOCK_UN);
    }
    if (made)
        *made = store->head.count > before ? store->head.count - before : 0;
    if (failed)
        snprintf(error, error_capacity, "identities: %s: %s", store->path, failed);
    return !failed;
}
