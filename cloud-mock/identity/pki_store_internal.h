/* pki_store_internal.h: what the index, the CRLs, the responder and the identity store ask of each other. */
#ifndef PKI_STORE_INTERNAL_H
#define PKI_STORE_INTERNAL_H

#include "cloud/pki_store.h"
#include "identity_internal.h"

#include <pthread.h>
#include <sqlite3.h>

#define STORE_URL_MAX 200

enum store_statement {
    STORE_PUT_ISSUED,
    STORE_GET_ISSUED,
    STORE_FIND_SERIAL,
    STORE_OF_NAME,
    STORE_REVOKE,
    STORE_REVOKED,
    STORE_REVISION,
    STORE_REVISION_UP,
    STORE_GET_CRL,
    STORE_PUT_CRL,
    STORE_STATEMENTS
};

struct store_revoked {
    uint64_t serial;
    int64_t at_s, not_after_s;
    int reason;
    enum cloud_ca ca;
};

struct pki_store {
    pthread_mutex_t mutex; /* for all that follows */
    char directory[512];
    sqlite3 *handle;
    sqlite3_stmt *statement[STORE_STATEMENTS];
    struct store_revoked *revoked; /* by (serial, ca) */
    size_t revoked_count;
    int64_t revision; /* of `revoked` */
    int64_t told;     /* the last one that cloud_pki_refresh() has told of */
    char url[STORE_URL_MAX];
    struct {
        X509 *x509;
        EVP_PKEY *key;
        int64_t not_after_s;
    } responder[CLOUD_CA_COUNT];
};

struct pki_store *store_create(const char *directory); /* opens nothing */
/* The directory's index, opened at the first use; NULL: modelled, or it cannot be (*error, which may be NULL). */
struct pki_store *store_of(struct cloud_pki *pki, char *error, size_t error_capacity);
void store_close(struct pki_store *store);

/* With the mutex held, until store_leave(). A change is a transaction that no other process interrupts; leave() commits it when `good`. */
void store_enter(struct pki_store *store);
bool store_begin(struct pki_store *store);
bool store_end(struct pki_store *store, bool good);
void store_leave(struct pki_store *store);
sqlite3_stmt *store_statement(struct pki_store *store, enum store_statement which);
bool store_run(sqlite3_stmt *statement); /* one that returns no row; reset afterwards */
bool store_reload(struct pki_store *store, bool *changed);
bool store_put(struct pki_store *store, enum cloud_ca ca, const struct cloud_certificate *certificate);

/* Notes a certificate that was made. true also when the hierarchy keeps no index: a directory that cannot be written. */
bool store_note(struct cloud_pki *pki, enum cloud_ca ca, X509 *x509);

extern const enum cloud_ca store_crl_ca[3]; /* those that have a CRL */
/* Files of the directory, written beside and renamed. */
bool store_write_file(const struct pki_store *store, const char *name, const void *data, size_t length, unsigned mode);

#endif
