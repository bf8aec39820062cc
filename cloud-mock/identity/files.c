/* files.c: the real hierarchy as a directory of PEM files.
 *
 *   root.crt operational.crt attestation.crt server-ca.crt claim.crt   and a .key each (mode 0600)
 *   server.crt (leaf, then its CA)  server.key                          for localhost, 127.0.0.1, ::1
 *   index.db, *.crl, ocsp-*.crt, ocsp-*.key                             see cloud/pki_store.h
 *   ca.pem                                                              all CAs: the cafile of another broker or client
 */
#include "pki_store_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

struct opening {
    const char *directory;
    bool create;
    char *error;
    size_t error_capacity;
};

static bool complain(const struct opening *o, const char *file, const char *what)
{
    snprintf(o->error, o->error_capacity, "certificates: %s%s%s: %s", o->directory, file[0] ? "/" : "", file, what);
    return false;
}

static void path_of(const struct opening *o, const char *stem, const char *suffix, char out[600])
{
    snprintf(out, 600, "%s/%s%s", o->directory, stem, suffix);
}

/* Written beside and renamed: two programs that create the same directory at once never read half a file. */
static FILE *begin_file(const struct opening *o, const char *name, mode_t mode, char path[600], char beside[640])
{
    path_of(o, name, "", path);
    snprintf(beside, 640, "%s.%ld", path, (long)getpid());
    int fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
    FILE *file = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (!file)
        complain(o, name, strerror(errno));
    return file;
}

static bool end_file(const struct opening *o, const char *name, FILE *file, bool good, const char *path,
                     const char *beside)
{
    good = fflush(file) == 0 && good;
    good = fclose(file) == 0 && good && rename(beside, path) == 0;
    if (!good) {
        complain(o, name, errno ? strerror(errno) : "cannot be written");
        unlink(beside);
    }
    return good;
}

static bool write_key(const struct opening *o, const char *name, EVP_PKEY *key)
{
    char path[600], beside[640];
    FILE *file = begin_file(o, name, 0600, path, beside);
    return file &&
           end_file(o, name, file, PEM_write_PKCS8PrivateKey(file, key, NULL, NULL, 0, NULL, NULL) == 1, path, beside);
}

static bool write_certificates(const struct opening *o, const char *name, X509 *const *x509, int count)
{
    char path[600], beside[640];
    FILE *file = begin_file(o, name, 0644, path, beside);
    bool good = true;
    for (int i = 0; file && i < count; i++)
        good = PEM_write_X509(file, x509[i]) == 1 && good;
    return file && end_file(o, name, file, good, path, beside);
}

static bool exists(const struct opening *o, const char *stem, const char *suffix)
{
    char path[600];
    path_of(o, stem, suffix, path);
    return access(path, F_OK) == 0;
}

static FILE *open_for_reading(const struct opening *o, const char *stem, const char *suffix)
{
    char path[600];
    path_of(o, stem, suffix, path);
    return fopen(path, "re");
}

static bool keep(struct pki_ca *ca)
{
    int length = i2d_X509(ca->x509, NULL);
    if (length <= 0 || length > IDENTITY_BYTES_MAX)
        return false;
    unsigned char *at = ca->bytes = memory_allocate((size_t)length);
    if (!at)
        return false;
    ca->length = (size_t)i2d_X509(ca->x509, &at);
    return real_describe(ca->x509, &ca->certificate);
}

static bool load_ca(const struct opening *o, struct cloud_pki *pki, int which)
{
    struct pki_ca *ca = &pki->ca[which];
    const char *stem = identity_ca_file[which];
    FILE *file = open_for_reading(o, stem, ".crt");
    ca->x509 = file ? PEM_read_X509(file, NULL, NULL, NULL) : NULL;
    if (file)
        fclose(file);
    if (!ca->x509)
        return complain(o, stem, ".crt cannot be read as a PEM certificate");
    file = open_for_reading(o, stem, ".key");
    ca->key = file ? PEM_read_PrivateKey(file, NULL, NULL, NULL) : NULL;
    if (file)
        fclose(file);
    if (!ca->key)
        return complain(o, stem, ".key cannot be read as a PEM key");
    if (X509_check_private_key(ca->x509, ca->key) != 1)
        return complain(o, stem, ".key does not belong to its .crt");
    return keep(ca) || complain(o, stem, ".crt is too long");
}

static bool create_ca(const struct opening *o, struct cloud_pki *pki, int which)
{
    struct pki_ca *ca = &pki->ca[which];
    struct pki_ca *root = &pki->ca[CLOUD_CA_ROOT];
    char name[64];
    bool is_root = which == CLOUD_CA_ROOT;
    ca->key = EVP_EC_gen("P-256");
    ca->x509 = ca->key ? real_sign(ca->key, identity_ca_name[which], real_serial(), is_root ? NULL : root->x509,
                                   is_root ? ca->key : root->key, IDENTITY_CA_NOT_BEFORE_S, IDENTITY_CA_NOT_AFTER_S,
                                   is_root ? REAL_CA_ROOT : REAL_CA_SUBORDINATE, NULL)
                       : NULL;
    if (!ca->x509 || !keep(ca))
        return complain(o, identity_ca_file[which], "cannot be made");
    snprintf(name, sizeof(name), "%s.key", identity_ca_file[which]);
    if (!write_key(o, name, ca->key))
        return false;
    snprintf(name, sizeof(name), "%s.crt", identity_ca_file[which]);
    return write_certificates(o, name, &ca->x509, 1);
}

static bool create_server(const struct opening *o, struct cloud_pki *pki)
{
    struct pki_ca *ca = &pki->ca[CLOUD_CA_SERVER];
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *leaf = key ? real_sign(key, "localhost", real_serial(), ca->x509, ca->key, IDENTITY_CA_NOT_BEFORE_S,
                                 IDENTITY_CA_NOT_AFTER_S, REAL_SERVER, NULL)
                     : NULL;
    X509 *chain[] = {leaf, ca->x509};
    bool good = leaf && write_key(o, "server.key", key) && write_certificates(o, "server.crt", chain, 2);
    if (!leaf)
        complain(o, "server.crt", "cannot be made");
    X509_free(leaf);
    EVP_PKEY_free(key);
    return good;
}

static bool open_all(const struct opening *o, struct cloud_pki *pki)
{
    bool fresh = false, added = false;
    for (int i = 0; i < CLOUD_CA_COUNT; i++) {
        bool there = exists(o, identity_ca_file[i], ".crt") && exists(o, identity_ca_file[i], ".key");
        if (there && fresh && i > CLOUD_CA_ROOT)
            return complain(o, identity_ca_file[i],
                            ".crt was issued by another root: remove the directory, or put root.crt and root.key back");
        if (there && !load_ca(o, pki, i))
            return false;
        if (!there && !o->create)
            return complain(o, identity_ca_file[i], ".crt and .key are missing");
        if (!there && !create_ca(o, pki, i))
            return false;
        if (!there && i == CLOUD_CA_ROOT)
            fresh = true;
        added |= !there; /* a directory of an earlier version has no claim CA */
        if (there && i != CLOUD_CA_ROOT && X509_verify(pki->ca[i].x509, pki->ca[CLOUD_CA_ROOT].key) != 1)
            return complain(o, identity_ca_file[i], ".crt was not issued by root.crt");
    }
    if (!o->create)
        return true;
    if (!(exists(o, "server", ".crt") && exists(o, "server", ".key")) && !create_server(o, pki))
        return false;
    X509 *all[CLOUD_CA_COUNT];
    for (int i = 0; i < CLOUD_CA_COUNT; i++)
        all[i] = pki->ca[i].x509;
    return (exists(o, "ca", ".pem") && !added) || write_certificates(o, "ca.pem", all, CLOUD_CA_COUNT);
}

static bool make_directories(const struct opening *o)
{
    char path[600];
    if (snprintf(path, sizeof(path), "%s", o->directory) >= (int)sizeof(path) - 64)
        return complain(o, "", "the name is too long");
    for (char *slash = path + 1; *slash; slash++) {
        if (*slash != '/')
            continue;
        *slash = 0;
        mkdir(path, 0755); /* whether it worked shows below */
        *slash = '/';
    }
    if (mkdir(path, 0755) != 0 && errno != EEXIST)
        return complain(o, "", strerror(errno));
    return true;
}

struct cloud_pki *cloud_pki_open(const char *directory, bool create, char *error, size_t error_capacity)
{
    if (!directory)
        return cloud_pki_modelled(0);
    struct opening o = {directory, create, error, error_capacity};
    struct cloud_pki *pki = memory_allocate_zero(1, sizeof(*pki));
    if (!pki) {
        complain(&o, "", "out of memory");
        return NULL;
    }
    pki->store = store_create(directory);
    bool good = pki->store && (!create || make_directories(&o)) && open_all(&o, pki);
    ERR_clear_error();
    if (good)
        return pki;
    cloud_pki_close(pki);
    return NULL;
}
