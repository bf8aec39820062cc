/* store.c: what outlives a power cut, as files of one folder.
 *
 *   operational.pem         certificate and key together
 *   operational-second.pem  the other slot: the next identity, or the one before
 *   state                   the agent's own few bytes
 *   rotation                how far a change of identity is
 * A key stays in memory until its certificate comes: without one it is good for nothing, and after a power cut another is made. A file is never
 * changed in place: power lost at any moment leaves the old content or the new.
 *
 * With a token the two files hold certificates only. Keys are made in the token, and a slot's keys there are the one its certificate belongs
 * to and the fresh one, if any: the others are destroyed whenever the slot changes, and at the start, for the power may have gone between. */
#include "ports_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const identity_files[] = {"operational.pem", "operational-second.pem"};
static const char *const purposes[] = {"operational", "operational-second"}; /* of keys in a token */
static const char state_file[] = "state", rotation_file[] = "rotation";

size_t tcu_pem(const char *label, struct span der, char *out, size_t capacity)
{
    char text[2 * TCU_STORE_MAX];
    size_t length = tcu_crypto_base64(der, text, sizeof(text));
    int used = length ? snprintf(out, capacity, "-----BEGIN %s-----\n", label) : 0;
    for (size_t at = 0; used > 0 && (size_t)used < capacity && at < length; at += 64)
        used += snprintf(out + used, capacity - (size_t)used, "%.64s\n", text + at);
    if (used > 0 && (size_t)used < capacity)
        used += snprintf(out + used, capacity - (size_t)used, "-----END %s-----\n", label);
    return used > 0 && (size_t)used < capacity ? (size_t)used : 0;
}

static bool write_whole(int fd, struct span content)
{
    for (size_t at = 0; at < content.length;) {
        ssize_t written = write(fd, content.data + at, content.length - at);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return false;
        at += (size_t)written;
    }
    return fsync(fd) == 0;
}

static bool sync_directory(const char *directory)
{
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool good = fd >= 0 && fsync(fd) == 0;
    if (fd >= 0)
        close(fd);
    return good;
}

bool tcu_file_replace(const char *directory, const char *file, struct span content)
{
    char path[PORTS_PATH_MAX + 64], fresh[PORTS_PATH_MAX + 64];
    snprintf(path, sizeof(path), "%s/%s", directory, file);
    snprintf(fresh, sizeof(fresh), "%s/.%s.new", directory, file);
    int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0)
        return false;
    bool good = write_whole(fd, content);
    good = close(fd) == 0 && good;
    if (good && rename(fresh, path) == 0)
        return sync_directory(directory);
    int failure = errno;
    unlink(fresh);
    errno = failure;
    return false;
}

/* ---- keys in a token -------------------------------------------------------------------------------------------------------- */

/* Of the certificate in the slot. NULL: there is none. */
static EVP_PKEY *key_in_token(const struct ports_store *store, int slot)
{
    uint8_t certificate[TCU_CERTIFICATE_MAX];
    char ignored[160];
    size_t length = tcu_crypto_read_certificate(store->identity_path[slot], certificate, sizeof(certificate), ignored,
                                                sizeof(ignored));
    return length ? ports_token_key(store->token, span_of(certificate, length)) : NULL;
}

static bool sweep(const struct ports_store *store, int slot)
{
    EVP_PKEY *kept = key_in_token(store, slot);
    bool good = ports_token_sweep(store->token, purposes[slot], kept, store->key[slot].in_token);
    EVP_PKEY_free(kept);
    return good;
}

static bool forget_key(struct ports_store *store, int slot)
{
    EVP_PKEY_free(store->key[slot].in_token);
    store->key[slot].in_token = NULL;
    return sweep(store, slot);
}

static size_t make_key_in_token(struct ports_store *store, int slot, struct span common_name, uint8_t *request,
                                size_t capacity)
{
    if (!forget_key(store, slot))
        return 0;
    EVP_PKEY *key = ports_token_generate(store->token, purposes[slot]);
    store->key[slot].in_token = key;
    return key ? ports_crypto_request(key, common_name, request, capacity) : 0;
}

size_t ports_store_make_key(struct ports_store *store, int slot, struct span common_name, uint8_t *request,
                            size_t capacity)
{
    size_t length = sizeof(store->key[slot].bytes);
    if (store->token)
        return make_key_in_token(store, slot, common_name, request, capacity);
    if (!tcu_crypto_enroll(common_name, store->key[slot].bytes, &length, request, &capacity))
        length = capacity = 0;
    store->key[slot].length = length;
    return capacity;
}

/* ---- slots and items -------------------------------------------------------------------------------------------------------- */

static bool open_directory(struct ports_store *store, const char *directory, char *error, size_t error_capacity)
{
    if ((size_t)snprintf(store->directory, sizeof(store->directory), "%s", directory) >= sizeof(store->directory)) {
        snprintf(error, error_capacity, "the store's path is too long");
        return false;
    }
    for (int slot = 0; slot < 2; slot++)
        snprintf(store->identity_path[slot], sizeof(store->identity_path[slot]), "%s/%s", directory,
                 identity_files[slot]);
    if (mkdir(directory, 0700) < 0 && errno != EEXIST) {
        snprintf(error, error_capacity, "cannot make the store %s: %s", directory, strerror(errno));
        return false;
    }
    if (access(directory, R_OK | W_OK | X_OK) < 0) {
        snprintf(error, error_capacity, "cannot write to the store %s: %s", directory, strerror(errno));
        return false;
    }
    return true;
}

bool ports_store_open(struct ports_store *store, const char *directory, struct ports_token *token, char *error,
                      size_t error_capacity)
{
    memset(store, 0, sizeof(*store));
    if (!open_directory(store, directory, error, error_capacity))
        return false;
    store->token = token;
    if (!token || (sweep(store, 0) && sweep(store, 1)))
        return true;
    ports_token_why(token, error, error_capacity);
    return false;
}

void ports_store_close(struct ports_store *store)
{
    for (int slot = 0; slot < 2; slot++)
        EVP_PKEY_free(store->key[slot].in_token);
}

static bool take_away(const struct ports_store *store, const char *file)
{
    char path[PORTS_PATH_MAX + 64];
    snprintf(path, sizeof(path), "%s/%s", store->directory, file);
    return (unlink(path) == 0 || errno == ENOENT) && sync_directory(store->directory);
}

static bool replace(const struct ports_store *store, const char *file, struct span value)
{
    return value.length ? tcu_file_replace(store->directory, file, value) : take_away(store, file);
}

/* Of the cloud's making, which is nothing for a token. Taken away it is with its certificate: they are one file. */
static bool write_key(struct ports_store *store, int slot, struct span value)
{
    if (store->token)
        return value.length == 0 && forget_key(store, slot);
    store->key[slot].length = tcu_crypto_key(value, store->key[slot].bytes, sizeof(store->key[slot].bytes));
    return value.length == 0 || store->key[slot].length > 0;
}

/* When the earlier key cannot be destroyed now, that is done at the next start: the slot is the new one's. */
static bool write_identity_in_token(struct ports_store *store, int slot, struct span answer)
{
    uint8_t certificate[TCU_CERTIFICATE_MAX];
    char text[2 * TCU_STORE_MAX];
    EVP_PKEY *key = store->key[slot].in_token;
    if (answer.length == 0)
        return take_away(store, identity_files[slot]) && sweep(store, slot);
    size_t length = key ? ports_crypto_certificate(answer, key, certificate, sizeof(certificate)) : 0;
    size_t used = length ? tcu_pem("CERTIFICATE", span_of(certificate, length), text, sizeof(text)) : 0;
    if (!used || !tcu_file_replace(store->directory, identity_files[slot], span_of(text, used)))
        return false;
    sweep(store, slot);
    return true;
}

/* An answer becomes an identity only if it holds a certificate for the key we have just made. */
static bool write_identity(struct ports_store *store, int slot, struct span answer)
{
    uint8_t certificate[TCU_CERTIFICATE_MAX];
    char text[2 * TCU_STORE_MAX];
    struct span key = span_of(store->key[slot].bytes, store->key[slot].length);
    if (store->token)
        return write_identity_in_token(store, slot, answer);
    if (answer.length == 0)
        return take_away(store, identity_files[slot]);
    size_t length = key.length ? tcu_crypto_certificate(answer, key, certificate, sizeof(certificate)) : 0;
    size_t used = length ? tcu_pem("CERTIFICATE", span_of(certificate, length), text, sizeof(text)) : 0;
    size_t more = used ? tcu_pem("PRIVATE KEY", key, text + used, sizeof(text) - used) : 0;
    return more && tcu_file_replace(store->directory, identity_files[slot], span_of(text, used + more));
}

bool ports_store_write(struct ports_store *store, enum tcu_store_item item, struct span value)
{
    switch (item) {
    case TCU_STORE_OPERATIONAL_CERTIFICATE: return write_identity(store, 0, value);
    case TCU_STORE_SECOND_CERTIFICATE: return write_identity(store, 1, value);
    case TCU_STORE_OPERATIONAL_KEY: return write_key(store, 0, value);
    case TCU_STORE_SECOND_KEY: return write_key(store, 1, value);
    case TCU_STORE_STATE: return replace(store, state_file, value);
    case TCU_STORE_ROTATION: return replace(store, rotation_file, value);
    case TCU_STORE_ITEMS: break;
    }
    return false;
}

static bool has_key(const struct ports_store *store, int slot, struct span certificate)
{
    uint8_t bytes[TCU_KEY_MAX];
    char ignored[160];
    if (store->token) {
        EVP_PKEY *key = ports_token_key(store->token, certificate);
        EVP_PKEY_free(key);
        return key != NULL;
    }
    size_t length = tcu_crypto_read_key(store->identity_path[slot], bytes, sizeof(bytes), ignored, sizeof(ignored));
    return length && tcu_crypto_belongs(certificate, span_of(bytes, length));
}

/* An identity that has run out, or whose halves do not belong together, is none: the TCU enrolls again. */
static size_t read_identity(const struct ports_store *store, int slot, int64_t now_s, uint8_t *out, size_t capacity)
{
    const char *path = store->identity_path[slot];
    uint8_t certificate[TCU_CERTIFICATE_MAX];
    char ignored[160];
    int64_t from_s, until_s;
    size_t length = tcu_crypto_read_certificate(path, certificate, sizeof(certificate), ignored, sizeof(ignored));
    struct span read = span_of(certificate, length);
    if (!length || length > capacity || !has_key(store, slot, read) ||
        !tcu_crypto_validity(read, &from_s, &until_s, NULL) || now_s >= until_s)
        return 0;
    memcpy(out, certificate, length);
    return length;
}

static size_t read_file(const char *path, uint8_t *out, size_t capacity)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = fd >= 0 ? read(fd, out, capacity) : 0;
    if (fd >= 0)
        close(fd);
    return length > 0 ? (size_t)length : 0;
}

size_t ports_store_read(struct ports_store *store, enum tcu_store_item item, int64_t now_s, uint8_t *out,
                        size_t capacity)
{
    char path[PORTS_PATH_MAX + 16];
    if (item == TCU_STORE_OPERATIONAL_CERTIFICATE || item == TCU_STORE_SECOND_CERTIFICATE)
        return read_identity(store, item == TCU_STORE_SECOND_CERTIFICATE, now_s, out, capacity);
    if (item != TCU_STORE_STATE && item != TCU_STORE_ROTATION)
        return 0;
    snprintf(path, sizeof(path), "%s/%s", store->directory, item == TCU_STORE_STATE ? state_file : rotation_file);
    return read_file(path, out, capacity);
}
