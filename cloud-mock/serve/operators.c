/* operators.c: who may operate: certificates of a CA of its own, which no other door trusts, and a list of those that are good.
 *
 *   DIR/operator-ca.crt, .key   signs operators only; not in ca.pem, not in the PKI's index
 *   DIR/operators               a line an operator: SHA-256 of the certificate in hexadecimal, a space, the name
 *   DIR/vin.key                 32 random bytes: VINs are hashed and sealed with them
 * The list is read for every request: a line that is taken out is an operator who is out. A certificate that is made anew replaces the one before. */
#include "serve_internal.h"

#include "../identity/identity_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define OPERATOR_LIFETIME_S (INT64_C(365) * 86400)
#define PATH_CAPACITY       640
#define ID_DIGITS           64

static bool complain(char *error, size_t capacity, const char *directory, const char *file, const char *what)
{
    snprintf(error, capacity, "operators: %s/%s: %s", directory, file, what);
    return false;
}

static void path_of(const char *directory, const char *file, char path[PATH_CAPACITY])
{
    snprintf(path, PATH_CAPACITY, "%s/%s", directory, file);
}

/* Written beside and renamed: nobody reads half a file. NULL: errno says why. */
static FILE *begin_file(const char *directory, const char *file, mode_t mode, char beside[PATH_CAPACITY])
{
    snprintf(beside, PATH_CAPACITY, "%s/%s.%ld", directory, file, (long)getpid());
    unlink(beside);
    int fd = open(beside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
    return fd >= 0 ? fdopen(fd, "w") : NULL;
}

static bool end_file(const char *directory, const char *file, FILE *out, bool good, const char *beside)
{
    char path[PATH_CAPACITY];
    path_of(directory, file, path);
    good = fflush(out) == 0 && good && fsync(fileno(out)) == 0;
    good = fclose(out) == 0 && good && rename(beside, path) == 0;
    if (!good)
        unlink(beside);
    return good;
}

/* ---- the key of the VINs --------------------------------------------------------------------------------------------- */

static bool make_vin_key(const char *directory)
{
    char beside[PATH_CAPACITY];
    uint8_t key[32];
    FILE *out = RAND_bytes(key, sizeof key) == 1 ? begin_file(directory, "vin.key", 0600, beside) : NULL;
    bool good = out && fwrite(key, sizeof key, 1, out) == 1;
    OPENSSL_cleanse(key, sizeof key);
    return out && end_file(directory, "vin.key", out, good, beside);
}

bool cloud_serve_vin_key(const char *directory, uint8_t key[32], char *error, size_t error_capacity)
{
    char path[PATH_CAPACITY];
    struct stat status;
    path_of(directory, "vin.key", path);
    if (access(path, F_OK) != 0 && !make_vin_key(directory))
        return complain(error, error_capacity, directory, "vin.key", strerror(errno));
    FILE *in = fopen(path, "re");
    if (!in)
        return complain(error, error_capacity, directory, "vin.key", strerror(errno));
    bool right = fstat(fileno(in), &status) == 0 && status.st_size == 32 && fread(key, 32, 1, in) == 1;
    fclose(in);
    if (!right)
        return complain(error, error_capacity, directory, "vin.key", "is not 32 bytes long");
    if (status.st_mode & 077)
        return complain(error, error_capacity, directory, "vin.key",
                        "others may read it: chmod 600, it opens every VIN");
    return true;
}

/* ---- the CA ---------------------------------------------------------------------------------------------------------- */

struct operator_ca {
    X509 *x509;
    EVP_PKEY *key;
};

static void release(struct operator_ca *ca)
{
    X509_free(ca->x509);
    EVP_PKEY_free(ca->key);
}

static bool write_pem(const char *directory, const char *file, EVP_PKEY *key, X509 *x509)
{
    char beside[PATH_CAPACITY];
    FILE *out = begin_file(directory, file, key ? 0600 : 0644, beside);
    if (!out)
        return false;
    bool good = key ? PEM_write_PKCS8PrivateKey(out, key, NULL, NULL, 0, NULL, NULL) == 1 : PEM_write_X509(out, x509);
    return end_file(directory, file, out, good, beside);
}

static X509 *read_certificate(const char *directory, const char *file)
{
    char path[PATH_CAPACITY];
    path_of(directory, file, path);
    FILE *in = fopen(path, "re");
    X509 *x509 = in ? PEM_read_X509(in, NULL, NULL, NULL) : NULL;
    if (in)
        fclose(in);
    return x509;
}

static EVP_PKEY *read_key(const char *directory, const char *file)
{
    char path[PATH_CAPACITY];
    path_of(directory, file, path);
    FILE *in = fopen(path, "re");
    EVP_PKEY *key = in ? PEM_read_PrivateKey(in, NULL, NULL, NULL) : NULL;
    if (in)
        fclose(in);
    return key;
}

static bool make_ca(const char *directory)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *x509 = key ? real_sign(key, "convoy operator CA", real_serial(), NULL, key, IDENTITY_CA_NOT_BEFORE_S,
                                 IDENTITY_CA_NOT_AFTER_S, REAL_CA_ROOT, NULL)
                     : NULL;
    bool good = x509 && write_pem(directory, "operator-ca.key", key, NULL) &&
                write_pem(directory, "operator-ca.crt", NULL, x509);
    X509_free(x509);
    EVP_PKEY_free(key);
    return good;
}

/* Makes it when it is missing. false: *error; nothing to release. */
static bool open_ca(const char *directory, struct operator_ca *ca, char *error, size_t error_capacity)
{
    char path[PATH_CAPACITY];
    path_of(directory, "operator-ca.crt", path);
    *ca = (struct operator_ca){0};
    if (access(path, F_OK) != 0 && !make_ca(directory))
        return complain(error, error_capacity, directory, "operator-ca.crt", strerror(errno));
    ca->x509 = read_certificate(directory, "operator-ca.crt");
    ca->key = read_key(directory, "operator-ca.key");
    if (ca->x509 && ca->key && X509_check_private_key(ca->x509, ca->key) == 1)
        return true;
    ERR_clear_error();
    release(ca);
    return complain(error, error_capacity, directory, "operator-ca.crt", "and its key cannot be read, or do not fit");
}

bool cloud_serve_operators(const char *directory, char *error, size_t error_capacity)
{
    struct operator_ca ca;
    bool good = open_ca(directory, &ca, error, error_capacity);
    if (good)
        release(&ca);
    return good;
}

X509 *operators_anchor(const char *directory)
{
    return read_certificate(directory, "operator-ca.crt");
}

/* ---- the list -------------------------------------------------------------------------------------------------------- */

static bool digest_of(X509 *x509, char digits[ID_DIGITS + 1])
{
    uint8_t id[32];
    unsigned length = 0;
    if (X509_digest(x509, EVP_sha256(), id, &length) != 1)
        return false;
    for (int i = 0; i < 32; i++)
        snprintf(digits + 2 * i, 3, "%02x", id[i]);
    return true;
}

static FILE *open_list(const char *directory)
{
    char path[PATH_CAPACITY];
    path_of(directory, "operators", path);
    return fopen(path, "re");
}

/* A line into its two words. false: it is none. */
static bool read_line(FILE *list, char digits[ID_DIGITS + 1], char name[64])
{
    char line[256];
    while (fgets(line, sizeof line, list))
        if (sscanf(line, "%64[0-9a-f] %63s", digits, name) == 2 && strlen(digits) == ID_DIGITS)
            return true;
    return false;
}

/* The list with this line in place of those of the same name. */
static bool enter(const char *directory, const char *digits, const char *name)
{
    char beside[PATH_CAPACITY], other[ID_DIGITS + 1], holder[64];
    FILE *out = begin_file(directory, "operators", 0644, beside), *list = out ? open_list(directory) : NULL;
    if (!out)
        return false;
    while (list && read_line(list, other, holder))
        if (strcmp(holder, name) != 0)
            fprintf(out, "%s %s\n", other, holder);
    if (list)
        fclose(list);
    return end_file(directory, "operators", out, fprintf(out, "%s %s\n", digits, name) > 0, beside);
}

bool operators_find(const char *directory, SSL *ssl, char name[64])
{
    char digits[ID_DIGITS + 1], listed[ID_DIGITS + 1];
    X509 *x509 = ssl ? SSL_get0_peer_certificate(ssl) : NULL;
    /* The handshake lets in what has expired, for the certificate broker's sake. */
    if (!x509 || X509_cmp_current_time(X509_get0_notBefore(x509)) > 0 ||
        X509_cmp_current_time(X509_get0_notAfter(x509)) < 0 || !digest_of(x509, digits))
        return false;
    FILE *list = open_list(directory);
    bool found = false;
    while (list && !found && read_line(list, listed, name))
        found = strcmp(listed, digits) == 0;
    if (list)
        fclose(list);
    return found;
}

bool cloud_serve_make_operator(const char *directory, const char *name, int64_t now_s, char *error,
                               size_t error_capacity)
{
    struct operator_ca ca;
    char file[80], digits[ID_DIGITS + 1];
    if (!name[0] || strlen(name) > 40 ||
        strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                     "-_.@") != strlen(name)) {
        snprintf(error, error_capacity, "'%s' is no name for an operator (1 to 40 of letters, digits, - _ . @)", name);
        return false;
    }
    if (!open_ca(directory, &ca, error, error_capacity))
        return false;
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *x509 = key ? real_sign(key, name, real_serial(), ca.x509, ca.key, now_s, now_s + OPERATOR_LIFETIME_S,
                                 REAL_CLIENT, NULL)
                     : NULL;
    snprintf(file, sizeof file, "%s.key", name);
    bool good = x509 && digest_of(x509, digits) && write_pem(directory, file, key, NULL);
    snprintf(file, sizeof file, "%s.crt", name);
    good = good && write_pem(directory, file, NULL, x509) && enter(directory, digits, name);
    if (!good)
        complain(error, error_capacity, directory, file, errno ? strerror(errno) : "cannot be made");
    X509_free(x509);
    EVP_PKEY_free(key);
    release(&ca);
    return good;
}
