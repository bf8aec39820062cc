/* ocsp.c: the OCSP responder (RFC 6960) without its transport. One delegated signing certificate a CA; the index answers. */
#include "pki_store_internal.h"

#include <openssl/err.h>
#include <openssl/ocsp.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <unistd.h>

#define RESPONDER_LIFETIME_S (INT64_C(365) * 86400)
#define RESPONDER_REMAINS_S  (INT64_C(30) * 86400) /* then it is made anew */
#define RESPONSE_LIFETIME_S  INT64_C(3600)         /* nextUpdate: what a client may go by without asking again */

/* ---- who signs ------------------------------------------------------------------------------------------------------- */

static void responder_path(const struct pki_store *store, enum cloud_ca ca, const char *suffix, char out[640])
{
    snprintf(out, 640, "%s/ocsp-%s%s", store->directory, identity_ca_file[ca], suffix);
}

static bool load_responder(struct cloud_pki *pki, struct pki_store *store, enum cloud_ca ca)
{
    char path[640];
    struct cloud_certificate certificate;
    responder_path(store, ca, ".crt", path);
    BIO *bio = BIO_new_file(path, "r");
    X509 *x509 = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
    BIO_free(bio);
    responder_path(store, ca, ".key", path);
    bio = x509 ? BIO_new_file(path, "r") : NULL;
    EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, NULL, (void *)"") : NULL;
    BIO_free(bio);
    ERR_clear_error();
    bool good = key && X509_check_private_key(x509, key) == 1 && X509_verify(x509, pki->ca[ca].key) == 1 &&
                real_describe(x509, &certificate);
    X509_free(store->responder[ca].x509);
    EVP_PKEY_free(store->responder[ca].key);
    store->responder[ca].x509 = good ? x509 : NULL;
    store->responder[ca].key = good ? key : NULL;
    store->responder[ca].not_after_s = good ? certificate.not_after_s : 0;
    if (!good) {
        X509_free(x509);
        EVP_PKEY_free(key);
    }
    return good;
}

static bool write_pem(const struct pki_store *store, enum cloud_ca ca, X509 *x509, EVP_PKEY *key)
{
    char name[64], *text = NULL;
    BIO *bio = BIO_new(BIO_s_mem());
    bool good = bio && (x509 ? PEM_write_bio_X509(bio, x509)
                             : PEM_write_bio_PKCS8PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL)) == 1;
    long length = good ? BIO_get_mem_data(bio, &text) : 0;
    snprintf(name, sizeof name, "ocsp-%s.%s", identity_ca_file[ca], x509 ? "crt" : "key");
    good = good && store_write_file(store, name, text, (size_t)length, x509 ? 0644 : 0600);
    BIO_free(bio);
    return good;
}

static bool make_responder(struct cloud_pki *pki, struct pki_store *store, enum cloud_ca ca, int64_t now_s)
{
    char name[64];
    struct cloud_certificate certificate;
    snprintf(name, sizeof name, "Convoy %s OCSP", identity_ca_file[ca]);
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *x509 = key ? real_sign(key, name, real_serial(), pki->ca[ca].x509, pki->ca[ca].key, now_s - 60,
                                 now_s + RESPONDER_LIFETIME_S, REAL_RESPONDER, NULL)
                     : NULL;
    bool good = x509 && real_describe(x509, &certificate) && store_put(store, ca, &certificate) &&
                write_pem(store, ca, NULL, key) && write_pem(store, ca, x509, NULL);
    X509_free(x509);
    EVP_PKEY_free(key);
    return good;
}

static bool lasts(const struct pki_store *store, enum cloud_ca ca, int64_t now_s)
{
    return store->responder[ca].x509 && store->responder[ca].not_after_s > now_s + RESPONDER_REMAINS_S;
}

/* In a transaction: of two processes one makes the pair, and both read it from the directory. */
static bool have_responder(struct cloud_pki *pki, struct pki_store *store, enum cloud_ca ca, int64_t now_s)
{
    if (lasts(store, ca, now_s) || (load_responder(pki, store, ca) && lasts(store, ca, now_s)))
        return true;
    if (!store_begin(store))
        return false;
    bool good = (load_responder(pki, store, ca) && lasts(store, ca, now_s)) ||
                (make_responder(pki, store, ca, now_s) && load_responder(pki, store, ca));
    return store_end(store, good);
}

/* ---- answering ------------------------------------------------------------------------------------------------------- */

static bool asks_about(OCSP_CERTID *id, const struct cloud_pki *pki, enum cloud_ca ca)
{
    ASN1_OBJECT *algorithm;
    ASN1_INTEGER *serial;
    if (OCSP_id_get0_info(NULL, &algorithm, NULL, &serial, id) != 1)
        return false;
    const EVP_MD *digest = EVP_get_digestbyobj(algorithm);
    OCSP_CERTID *ours = digest ? OCSP_cert_to_id(digest, NULL, pki->ca[ca].x509) : NULL;
    bool same = ours && OCSP_id_issuer_cmp(ours, id) == 0;
    OCSP_CERTID_free(ours);
    return same;
}

static bool issuer_of(OCSP_CERTID *id, const struct cloud_pki *pki, enum cloud_ca *ca)
{
    for (int i = CLOUD_CA_OPERATIONAL; i < CLOUD_CA_COUNT; i++)
        if (asks_about(id, pki, (enum cloud_ca)i)) {
            *ca = (enum cloud_ca)i;
            return true;
        }
    return false;
}

static bool add_status(OCSP_BASICRESP *basic, OCSP_CERTID *id, struct cloud_pki *pki, enum cloud_ca ca, int64_t now_s)
{
    ASN1_INTEGER *number;
    uint64_t serial;
    struct cloud_issued issued = {0};
    enum cloud_standing standing = CLOUD_STANDING_UNKNOWN;
    OCSP_id_get0_info(NULL, NULL, NULL, &number, id);
    if (asks_about(id, pki, ca) && ASN1_INTEGER_get_uint64(&serial, number) == 1)
        standing = cloud_pki_standing(pki, ca, serial, &issued);
    ERR_clear_error();
    static const int words[] = {[CLOUD_STANDING_UNKNOWN] = V_OCSP_CERTSTATUS_UNKNOWN,
                                [CLOUD_STANDING_GOOD] = V_OCSP_CERTSTATUS_GOOD,
                                [CLOUD_STANDING_REVOKED] = V_OCSP_CERTSTATUS_REVOKED};
    ASN1_TIME *revoked = standing == CLOUD_STANDING_REVOKED ? ASN1_TIME_set(NULL, (time_t)issued.revoked_s) : NULL;
    ASN1_TIME *from = ASN1_TIME_set(NULL, (time_t)now_s),
              *until = ASN1_TIME_set(NULL, (time_t)(now_s + RESPONSE_LIFETIME_S));
    int reason = issued.reason ? issued.reason : OCSP_REVOKED_STATUS_NOSTATUS;
    bool good = from && until && OCSP_basic_add1_status(basic, id, words[standing], reason, revoked, from, until);
    ASN1_TIME_free(revoked);
    ASN1_TIME_free(from);
    ASN1_TIME_free(until);
    return good;
}

/* One response has one signer: the delegate of the CA that the first question is about; certificates of another CA are unknown in it. */
static OCSP_RESPONSE *respond(struct cloud_pki *pki, struct pki_store *store, int64_t now_s, OCSP_REQUEST *request)
{
    enum cloud_ca ca = CLOUD_CA_OPERATIONAL;
    int count = OCSP_request_onereq_count(request);
    if (count < 1)
        return OCSP_response_create(OCSP_RESPONSE_STATUS_MALFORMEDREQUEST, NULL);
    OCSP_CERTID *first = OCSP_onereq_get0_id(OCSP_request_onereq_get0(request, 0));
    if (!issuer_of(first, pki, &ca))
        return OCSP_response_create(OCSP_RESPONSE_STATUS_UNAUTHORIZED, NULL);
    OCSP_BASICRESP *basic = OCSP_BASICRESP_new();
    bool good = basic != NULL;
    for (int i = 0; good && i < count; i++)
        good = add_status(basic, OCSP_onereq_get0_id(OCSP_request_onereq_get0(request, i)), pki, ca, now_s);
    good = good && OCSP_copy_nonce(basic, request) > 0; /* 2: there was none */
    store_enter(store);
    good = good && have_responder(pki, store, ca, now_s) &&
           OCSP_basic_sign(basic, store->responder[ca].x509, store->responder[ca].key, EVP_sha256(), NULL, 0) == 1;
    store_leave(store);
    OCSP_RESPONSE *response = good ? OCSP_response_create(OCSP_RESPONSE_STATUS_SUCCESSFUL, basic)
                                   : OCSP_response_create(OCSP_RESPONSE_STATUS_INTERNALERROR, NULL);
    OCSP_BASICRESP_free(basic);
    return response;
}

size_t cloud_pki_ocsp(struct cloud_pki *pki, int64_t now_s, struct span bytes, uint8_t *out, size_t capacity)
{
    struct pki_store *store = store_of(pki, NULL, 0);
    const unsigned char *at = bytes.data;
    OCSP_REQUEST *request = bytes.length ? d2i_OCSP_REQUEST(NULL, &at, (long)bytes.length) : NULL;
    if (request && at != bytes.data + bytes.length) {
        OCSP_REQUEST_free(request);
        request = NULL;
    }
    OCSP_RESPONSE *response = !store    ? OCSP_response_create(OCSP_RESPONSE_STATUS_TRYLATER, NULL)
                              : request ? respond(pki, store, now_s, request)
                                        : OCSP_response_create(OCSP_RESPONSE_STATUS_MALFORMEDREQUEST, NULL);
    int length = response ? i2d_OCSP_RESPONSE(response, NULL) : 0;
    if (length > 0 && (size_t)length <= capacity)
        i2d_OCSP_RESPONSE(response, &out);
    else
        length = 0;
    OCSP_RESPONSE_free(response);
    OCSP_REQUEST_free(request);
    ERR_clear_error();
    return (size_t)length;
}
