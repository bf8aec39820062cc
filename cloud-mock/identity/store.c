/* store.c: the identity store's file: a head, then one slot an identity.
 *
 *   head   0     magic, slot size, the CA's id, the profile, begin of validity, count and its complement; padded to HEAD_BYTES
 *   slots  HEAD_BYTES + n * SLOT_BYTES: lengths, a check sum over number and contents, certificate, key
 *
 * The count is written behind the slots it counts, and only after these are on the disk: whatever ends the process, the file is one that is shorter. Native
 * byte order: a store is made where it is used. Making it is in store_make.c.
 */
#include "store_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

static const char magic[8] = "CVYIDS1\n";

static bool complain(char *error, size_t error_capacity, const char *path, const char *what)
{
    snprintf(error, error_capacity, "identities: %s: %s", path, what);
    return false;
}

/* ---- the head -------------------------------------------------------------------------------------------------------- */

static void fill_head(struct store_head *head, const struct cloud_pki *pki,
                      const struct cloud_identity_profile *profile)
{
    memset(head, 0, sizeof *head);
    memcpy(head->magic, magic, sizeof magic);
    head->slot_bytes = STORE_SLOT_BYTES;
    memcpy(head->ca_id, cloud_pki_ca(pki, profile->ca)->id, 32);
    snprintf(head->names, sizeof head->names, "%s", profile->names);
    head->first_number = profile->first_number;
    head->digits = profile->digits < 20 ? profile->digits : 20;
    head->lifetime_s = profile->lifetime_s;
    head->not_count = ~head->count;
}

bool identity_store_write_head(struct cloud_identity_store *store)
{
    store->head.not_count = ~store->head.count;
    struct store_head head = store->head;
    return pwrite(store->fd, &head, sizeof head, 0) == (ssize_t)sizeof head && fdatasync(store->fd) == 0;
}

bool identity_store_read_head(struct cloud_identity_store *store)
{
    struct store_head head;
    if (pread(store->fd, &head, sizeof head, 0) != (ssize_t)sizeof head)
        return false;
    store->head = head;
    return true;
}

static bool same_profile(const struct store_head *a, const struct store_head *b)
{
    return memcmp(a->names, b->names, sizeof a->names) == 0 && a->first_number == b->first_number &&
           a->digits == b->digits && a->lifetime_s == b->lifetime_s;
}

static bool check_head(const struct cloud_identity_store *store, const struct store_head *wanted, const char **what)
{
    const struct store_head *head = &store->head;
    struct stat status;
    if (memcmp(head->magic, magic, sizeof magic) != 0 || head->slot_bytes != STORE_SLOT_BYTES)
        *what = "is no identity store";
    else if (head->count != ~head->not_count || fstat(store->fd, &status) != 0 ||
             (uint64_t)status.st_size < (head->count ? STORE_HEAD_BYTES + head->count * STORE_SLOT_BYTES : 0))
        *what = "is damaged; remove it, and it is made again";
    else if (memcmp(head->ca_id, wanted->ca_id, 32) != 0)
        *what = "was made by another CA; remove it, or name another file";
    else if (!same_profile(head, wanted))
        *what = "was made for other names or another lifetime; remove it, or name another file";
    else
        return true;
    return false;
}

/* ---- open ------------------------------------------------------------------------------------------------------------ */

static void path_in_directory(char *out, size_t capacity, const char *directory, const struct store_head *head)
{
    uint8_t key[32];
    struct store_head profile = *head;
    profile.count = profile.not_count = 0;
    profile.not_before_s = 0;
    identity_sha256((const uint8_t *)&profile, sizeof profile, key);
    int used = snprintf(out, capacity, "%s/identities-", directory);
    for (int i = 0; i < 8 && used > 0 && (size_t)used + 4 < capacity; i++)
        used += snprintf(out + used, capacity - (size_t)used, "%02x", head->ca_id[i]);
    if (used > 0 && (size_t)used < capacity)
        snprintf(out + used, capacity - (size_t)used, "-%02x%02x%02x%02x.store", key[0], key[1], key[2], key[3]);
}

static bool open_file(struct cloud_identity_store *store, const struct store_head *wanted, char *error,
                      size_t error_capacity)
{
    store->writable = true;
    store->fd = open(store->path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (store->fd < 0) {
        store->writable = false;
        store->fd = open(store->path, O_RDONLY | O_CLOEXEC);
    }
    if (store->fd < 0)
        return complain(error, error_capacity, store->path, strerror(errno));
    struct stat status;
    const char *what = "cannot be read";
    if (flock(store->fd, store->writable ? LOCK_EX : LOCK_SH) != 0 || fstat(store->fd, &status) != 0)
        return complain(error, error_capacity, store->path, strerror(errno));
    bool good = true;
    if (status.st_size < (off_t)sizeof store->head &&
        store->writable) { /* fresh, or its making was interrupted at once */
        store->head = *wanted;
        good = identity_store_write_head(store);
        what = "cannot be written";
    }
    good = good && identity_store_read_head(store) && check_head(store, wanted, &what);
    flock(store->fd, LOCK_UN);
    return good || complain(error, error_capacity, store->path, what);
}

struct cloud_identity_store *cloud_identity_store_open(const char *path, struct cloud_pki *pki,
                                                       const struct cloud_identity_profile *profile, char *error,
                                                       size_t error_capacity)
{
    struct store_head wanted;
    struct stat status;
    if (cloud_pki_is_modelled(pki)) {
        complain(error, error_capacity, path, "a modelled hierarchy has no keys to keep");
        return NULL;
    }
    if (!profile->names || strlen(profile->names) > 44 || !strchr(profile->names, '%') || profile->lifetime_s <= 0) {
        complain(error, error_capacity, path, "the profile needs names with a '%' in 44 characters, and a lifetime");
        return NULL;
    }
    struct cloud_identity_store *store = calloc(1, sizeof *store);
    if (!store) {
        complain(error, error_capacity, path, "out of memory");
        return NULL;
    }
    store->pki = pki;
    store->ca = profile->ca;
    fill_head(&wanted, pki, profile);
    if (stat(path, &status) == 0 && S_ISDIR(status.st_mode))
        path_in_directory(store->path, sizeof store->path, path, &wanted);
    else
        snprintf(store->path, sizeof store->path, "%s", path);
    if (open_file(store, &wanted, error, error_capacity))
        return store;
    cloud_identity_store_close(store);
    return NULL;
}

void cloud_identity_store_close(struct cloud_identity_store *store)
{
    if (!store)
        return;
    if (store->fd >= 0)
        close(store->fd);
    free(store);
}

uint64_t cloud_identity_store_count(const struct cloud_identity_store *store)
{
    return store->head.count;
}

/* ---- one identity ---------------------------------------------------------------------------------------------------- */

uint64_t identity_store_sum(const struct store_slot *slot, uint64_t index)
{
    uint64_t hash = UINT64_C(0xCBF29CE484222325) ^ index;
    size_t length = (size_t)slot->certificate_length + slot->key_length;
    hash = (hash ^ slot->certificate_length) * UINT64_C(0x100000001B3);
    hash = (hash ^ slot->key_length) * UINT64_C(0x100000001B3);
    for (size_t i = 0; i < length; i++)
        hash = (hash ^ slot->bytes[i]) * UINT64_C(0x100000001B3);
    return hash;
}

bool cloud_identity_store_get(const struct cloud_identity_store *store, uint64_t index, uint8_t *certificate,
                              size_t *certificate_length, uint8_t *key, size_t *key_length)
{
    struct store_slot slot;
    if (index >= store->head.count || pread(store->fd, &slot, sizeof slot, identity_store_offset(index)) != sizeof slot)
        return false;
    if ((size_t)slot.certificate_length + slot.key_length > sizeof slot.bytes ||
        identity_store_sum(&slot, index) != slot.sum || slot.certificate_length > *certificate_length ||
        (key && slot.key_length > *key_length))
        return false;
    *certificate_length = slot.certificate_length;
    memcpy(certificate, slot.bytes, slot.certificate_length);
    if (key) {
        *key_length = slot.key_length;
        memcpy(key, slot.bytes + slot.certificate_length, slot.key_length);
    }
    return true;
}
