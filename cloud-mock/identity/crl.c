/* crl.c: certificate revocation lists (RFC 5280 section 5): one a CA, kept in the index with its number, and as files for other people's programs. */
#include "pki_store_internal.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

const enum cloud_ca store_crl_ca[3] = {CLOUD_CA_OPERATIONAL, CLOUD_CA_ATTESTATION, CLOUD_CA_CLAIM};

static bool has_crl(enum cloud_ca ca)
{
    return ca == CLOUD_CA_OPERATIONAL || ca == CLOUD_CA_ATTESTATION || ca == CLOUD_CA_CLAIM;
}

/* ---- making ---------------------------------------------------------------------------------------------------------- */

static bool add_revoked(X509_CRL *crl, const struct store_revoked *row)
{
    X509_REVOKED *revoked = X509_REVOKED_new();
    ASN1_INTEGER *serial = ASN1_INTEGER_new();
    ASN1_TIME *when = ASN1_TIME_set(NULL, (time_t)row->at_s);
    ASN1_ENUMERATED *reason = ASN1_ENUMERATED_new();
    bool good = revoked && serial && when && reason && ASN1_INTEGER_set_uint64(serial, row->serial) == 1 &&
                X509_REVOKED_set_serialNumber(revoked, serial) == 1 &&
                X509_REVOKED_set_revocationDate(revoked, when) == 1;
    if (good && row->reason) /* "unspecified" is said by saying nothing */
        good = ASN1_ENUMERATED_set(reason, row->reason) == 1 &&
               X509_REVOKED_add1_ext_i2d(revoked, NID_crl_reason, reason, 0, 0) == 1;
    good = good && X509_CRL_add0_revoked(crl, revoked) == 1;
    ASN1_INTEGER_free(serial);
    ASN1_TIME_free(when);
    ASN1_ENUMERATED_free(reason);
    if (!good)
        X509_REVOKED_free(revoked);
    return good;
}

static bool add_extensions(X509_CRL *crl, X509 *issuer, int64_t number)
{
    X509V3_CTX context;
    ASN1_INTEGER *serial = ASN1_INTEGER_new();
    X509V3_set_ctx(&context, issuer, NULL, NULL, crl, 0);
    X509_EXTENSION *key_id = X509V3_EXT_conf_nid(NULL, &context, NID_authority_key_identifier, "keyid:always");
    bool good = serial && key_id && X509_CRL_add_ext(crl, key_id, -1) == 1 &&
                ASN1_INTEGER_set_int64(serial, number) == 1 &&
                X509_CRL_add1_ext_i2d(crl, NID_crl_number, serial, 0, 0) == 1;
    ASN1_INTEGER_free(serial);
    X509_EXTENSION_free(key_id);
    return good;
}

static X509_CRL *make_crl(const struct pki_store *store, const struct pki_ca *ca, enum cloud_ca which, int64_t number,
                          int64_t now_s)
{
    X509_CRL *crl = X509_CRL_new();
    ASN1_TIME *this_update = ASN1_TIME_set(NULL, (time_t)now_s),
              *next_update = ASN1_TIME_set(NULL, (time_t)(now_s + CLOUD_CRL_LIFETIME_S));
    bool good = crl && this_update && next_update && X509_CRL_set_version(crl, X509_CRL_VERSION_2) == 1 &&
                X509_CRL_set_issuer_name(crl, X509_get_subject_name(ca->x509)) == 1 &&
                X509_CRL_set1_lastUpdate(crl, this_update) == 1 && X509_CRL_set1_nextUpdate(crl, next_update) == 1;
    for (size_t i = 0; good && i < store->revoked_count;
         i++) /* an expired one stays for one more list (RFC 5280 3.3) */
        if (store->revoked[i].ca == which && store->revoked[i].not_after_s + CLOUD_CRL_LIFETIME_S > now_s)
            good = add_revoked(crl, &store->revoked[i]);
    good = good && X509_CRL_sort(crl) == 1 && add_extensions(crl, ca->x509, number) &&
           X509_CRL_sign(crl, ca->key, EVP_sha256()) > 0;
    ASN1_TIME_free(this_update);
    ASN1_TIME_free(next_update);
    if (good)
        return crl;
    X509_CRL_free(crl);
    return NULL;
}

/* ---- keeping --------------------------------------------------------------------------------------------------------- */

struct kept {
    int64_t number, revision, this_update_s;
    uint8_t *der; /* malloc'ed */
    size_t length;
};

static bool read_kept(struct pki_store *store, enum cloud_ca ca, struct kept *kept)
{
    sqlite3_stmt *statement = store_statement(store, STORE_GET_CRL);
    memset(kept, 0, sizeof *kept);
    sqlite3_bind_text(statement, 1, identity_ca_file[ca], -1, SQLITE_STATIC);
    if (sqlite3_step(statement) == SQLITE_ROW) {
        kept->number = sqlite3_column_int64(statement, 0);
        kept->revision = sqlite3_column_int64(statement, 1);
        kept->this_update_s = sqlite3_column_int64(statement, 2);
        kept->length = (size_t)sqlite3_column_bytes(statement, 3);
        kept->der = kept->length ? malloc(kept->length) : NULL;
        if (kept->der)
            memcpy(kept->der, sqlite3_column_blob(statement, 3), kept->length);
    }
    sqlite3_reset(statement);
    return kept->der != NULL;
}

static bool fresh(const struct pki_store *store, const struct kept *kept, int64_t now_s)
{
    return kept->der && kept->revision == store->revision && now_s >= kept->this_update_s &&
           now_s < kept->this_update_s + CLOUD_CRL_LIFETIME_S / 2;
}

static bool write_files(const struct pki_store *store, enum cloud_ca ca, const struct kept *kept)
{
    char name[64];
    const unsigned char *at = kept->der;
    BIO *pem = BIO_new(BIO_s_mem());
    X509_CRL *crl = d2i_X509_CRL(NULL, &at, (long)kept->length);
    char *text = NULL;
    bool good = pem && crl && PEM_write_bio_X509_CRL(pem, crl) == 1;
    long length = good ? BIO_get_mem_data(pem, &text) : 0;
    snprintf(name, sizeof name, "%s.crl.der", identity_ca_file[ca]);
    good = good && store_write_file(store, name, kept->der, kept->length, 0644);
    snprintf(name, sizeof name, "%s.crl", identity_ca_file[ca]);
    good = good && store_write_file(store, name, text, (size_t)length, 0644);
    X509_CRL_free(crl);
    BIO_free(pem);
    return good;
}

static bool put_kept(struct pki_store *store, enum cloud_ca ca, const struct kept *kept)
{
    sqlite3_stmt *statement = store_statement(store, STORE_PUT_CRL);
    sqlite3_bind_text(statement, 1, identity_ca_file[ca], -1, SQLITE_STATIC);
    sqlite3_bind_int64(statement, 2, kept->number);
    sqlite3_bind_int64(statement, 3, kept->revision);
    sqlite3_bind_int64(statement, 4, kept->this_update_s);
    sqlite3_bind_blob(statement, 5, kept->der, (int)kept->length, SQLITE_STATIC);
    return store_run(statement);
}

/* In a transaction, so that of two processes one makes it and the other finds it made. */
static bool renew(struct cloud_pki *pki, struct pki_store *store, enum cloud_ca ca, int64_t now_s, struct kept *kept)
{
    bool changed, good = store_begin(store) && store_reload(store, &changed);
    free(kept->der);
    kept->der = NULL;
    if (good && read_kept(store, ca, kept) && fresh(store, kept, now_s))
        return store_end(store, true);
    free(kept->der);
    kept->der = NULL;
    kept->number++;
    kept->revision = store->revision;
    kept->this_update_s = now_s;
    X509_CRL *crl = good ? make_crl(store, &pki->ca[ca], ca, kept->number, now_s) : NULL;
    int length = crl ? i2d_X509_CRL(crl, NULL) : 0;
    unsigned char *at = kept->der = length > 0 ? malloc((size_t)length) : NULL;
    if (at)
        kept->length = (size_t)i2d_X509_CRL(crl, &at);
    X509_CRL_free(crl);
    good = kept->der && put_kept(store, ca, kept) && write_files(store, ca, kept);
    ERR_clear_error();
    return store_end(store, good);
}

static bool files_there(const struct pki_store *store, enum cloud_ca ca)
{
    char path[640];
    struct stat status;
    snprintf(path, sizeof path, "%s/%s.crl", store->directory, identity_ca_file[ca]);
    bool pem = stat(path, &status) == 0;
    snprintf(path, sizeof path, "%s/%s.crl.der", store->directory, identity_ca_file[ca]);
    return pem && stat(path, &status) == 0;
}

static bool obtain(struct cloud_pki *pki, struct pki_store *store, enum cloud_ca ca, int64_t now_s, struct kept *kept)
{
    bool changed;
    memset(kept, 0, sizeof *kept);
    return store_reload(store, &changed) &&
           ((read_kept(store, ca, kept) && fresh(store, kept, now_s)) || renew(pki, store, ca, now_s, kept));
}

size_t cloud_pki_crl(struct cloud_pki *pki, enum cloud_ca ca, int64_t now_s, uint8_t *out, size_t capacity)
{
    struct pki_store *store = has_crl(ca) ? store_of(pki, NULL, 0) : NULL;
    struct kept kept;
    if (!store)
        return 0;
    store_enter(store);
    size_t length = obtain(pki, store, ca, now_s, &kept) ? kept.length : 0;
    store_leave(store);
    if (out && length > capacity)
        length = 0;
    if (out && length)
        memcpy(out, kept.der, length);
    free(kept.der);
    return length;
}

bool cloud_pki_write_crls(struct cloud_pki *pki, int64_t now_s, char *error, size_t error_capacity)
{
    struct pki_store *store = store_of(pki, error, error_capacity);
    bool good = store != NULL;
    for (size_t i = 0; good && i < sizeof store_crl_ca / sizeof store_crl_ca[0]; i++) {
        struct kept kept;
        store_enter(store);
        good = obtain(pki, store, store_crl_ca[i], now_s, &kept) &&
               (files_there(store, store_crl_ca[i]) || write_files(store, store_crl_ca[i], &kept));
        store_leave(store);
        free(kept.der);
        if (!good)
            snprintf(error, error_capacity, "certificates: %s/%s.crl cannot be written", store->directory,
                     identity_ca_file[store_crl_ca[i]]);
    }
    return good;
}
