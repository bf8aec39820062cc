/* real.c: X.509 over OpenSSL: P-256 keys, SHA-256 signatures, what an IoT cloud's private hierarchy contains and no more. */
#include "pki_store_internal.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/pkcs7.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>

#define EVEN_SERIAL          (UINT64_C(1) << 62) /* eight bytes in DER */
#define EVEN_SIGNATURE_BYTES 71

uint64_t real_serial(void)
{
    uint64_t serial = 0;
    RAND_bytes((unsigned char *)&serial, sizeof(serial));
    return (serial >> 1) | 1; /* positive, not zero */
}

/* ---- reading ------------------------------------------------------------------------------------------------------ */

X509 *real_parse(struct span bytes)
{
    X509 *x509 = NULL;
    if (identity_is_pem(bytes)) {
        BIO *bio = BIO_new_mem_buf(bytes.data, (int)bytes.length);
        x509 = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
        BIO_free(bio);
    } else if (bytes.length > 2 && bytes.data[0] == 0x30) {
        const unsigned char *at = bytes.data;
        x509 = d2i_X509(NULL, &at, bytes.length);
    }
    ERR_clear_error();
    return x509;
}

/* Days from 1970-01-01, any proleptic Gregorian date. */
static int64_t days_from_civil(int64_t year, unsigned month, unsigned day)
{
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    unsigned of_era = (unsigned)(year - era * 400);
    unsigned of_year = (153 * (month + (month > 2 ? -3u : 9u)) + 2) / 5 + day - 1;
    unsigned day_of_era = of_era * 365 + of_era / 4 - of_era / 100 + of_year;
    return era * 146097 + (int64_t)day_of_era - 719468;
}

static bool seconds_of(const ASN1_TIME *time, int64_t *out)
{
    struct tm tm;
    if (ASN1_TIME_to_tm(time, &tm) != 1)
        return false;
    int64_t days = days_from_civil(tm.tm_year + 1900, (unsigned)tm.tm_mon + 1, (unsigned)tm.tm_mday);
    *out = days * 86400 + tm.tm_hour * 3600 + tm.tm_min * 60 + tm.tm_sec;
    return true;
}

static bool common_name_of(const X509_NAME *name, char out[64])
{
    int at = X509_NAME_get_index_by_NID(name, NID_commonName, -1);
    if (at < 0) {
        out[0] = 0;
        return true;
    }
    const ASN1_STRING *text = X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, at));
    unsigned char *utf8 = NULL;
    int length = ASN1_STRING_to_UTF8(&utf8, text);
    bool good = length >= 0 && length < 64 && !memchr(utf8, 0, (size_t)length);
    if (good) {
        memcpy(out, utf8, (size_t)length);
        out[length] = 0;
    }
    OPENSSL_free(utf8);
    return good;
}

bool real_describe(X509 *x509, struct cloud_certificate *out)
{
    memset(out, 0, sizeof(*out));
    unsigned length = 0;
    if (X509_digest(x509, EVP_sha256(), out->id, &length) != 1)
        return false;
    const ASN1_INTEGER *serial = X509_get0_serialNumber(x509);
    if (ASN1_INTEGER_get_uint64(&out->serial, serial) !=
        1) { /* longer than 64 bits: somebody else's; keep the low end */
        const unsigned char *bytes = ASN1_STRING_get0_data(serial);
        int count = ASN1_STRING_length(serial);
        for (int i = count > 8 ? count - 8 : 0; i < count; i++)
            out->serial = out->serial << 8 | bytes[i];
    }
    X509_pubkey_digest(x509, EVP_sha1(), out->key_id, &length);
    out->is_ca = X509_check_ca(x509) > 0;
    ERR_clear_error();
    return common_name_of(X509_get_subject_name(x509), out->common_name) &&
           seconds_of(X509_get0_notBefore(x509), &out->not_before_s) &&
           seconds_of(X509_get0_notAfter(x509), &out->not_after_s);
}

static X509_REQ *parse_request(struct span csr)
{
    uint8_t der[4096];
    size_t length = csr.length;
    X509_REQ *request = NULL;
    if (identity_is_pem(csr)) {
        BIO *bio = BIO_new_mem_buf(csr.data, (int)csr.length);
        request = bio ? PEM_read_bio_X509_REQ(bio, NULL, NULL, NULL) : NULL;
        BIO_free(bio);
    } else {
        const unsigned char *at = csr.data;
        if (csr.length > 0 && csr.data[0] != 0x30) {
            if (!identity_base64_decode(csr, der, sizeof(der), &length))
                return NULL;
            at = der;
        }
        const unsigned char *begin = at;
        request = length > 0 ? d2i_X509_REQ(NULL, &at, (long)length) : NULL;
        if (request && (size_t)(at - begin) != length) { /* bytes behind the request */
            X509_REQ_free(request);
            request = NULL;
        }
    }
    ERR_clear_error();
    return request;
}

bool real_request_name(struct span csr, char name[64])
{
    X509_REQ *request = parse_request(csr);
    bool good = request && common_name_of(X509_REQ_get_subject_name(request), name) && name[0];
    X509_REQ_free(request);
    return good;
}

/* ---- making ------------------------------------------------------------------------------------------------------- */

static bool extend(X509 *x509, X509V3_CTX *context, int nid, const char *value)
{
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, context, nid, value);
    bool good = extension && X509_add_ext(x509, extension, -1) == 1;
    X509_EXTENSION_free(extension);
    return good;
}

/* Where to ask about a certificate: only when the cloud knows under which name the world sees it. */
static bool extend_points(X509 *x509, X509V3_CTX *context, const struct real_extras *extras)
{
    char text[2 * STORE_URL_MAX];
    if (!extras || !extras->url || !extras->url[0])
        return true;
    snprintf(text, sizeof(text), "OCSP;URI:%s/ocsp", extras->url);
    if (!extend(x509, context, NID_info_access, text))
        return false;
    snprintf(text, sizeof(text), "URI:%s/crl/%s.crl", extras->url, extras->ca_file);
    return extend(x509, context, NID_crl_distribution_points, text);
}

static bool extend_all(X509 *x509, X509 *issuer, enum real_use use, const struct real_extras *extras)
{
    static const struct {
        const char *constraints, *usage, *extended, *names;
    } wanted[] = {
        [REAL_CA_ROOT] = {"critical,CA:TRUE", "critical,keyCertSign,cRLSign", NULL, NULL},
        [REAL_CA_SUBORDINATE] = {"critical,CA:TRUE,pathlen:0", "critical,keyCertSign,cRLSign", NULL, NULL},
        [REAL_SERVER] = {"critical,CA:FALSE", "critical,digitalSignature", "serverAuth",
                         "DNS:localhost,IP:127.0.0.1,IP:0:0:0:0:0:0:0:1"},
        [REAL_CLIENT] = {"critical,CA:FALSE", "critical,digitalSignature", "clientAuth", NULL},
        [REAL_RESPONDER] = {"critical,CA:FALSE", "critical,digitalSignature", "OCSPSigning", NULL},
    };
    X509V3_CTX context;
    const char *names = extras && extras->names ? extras->names : wanted[use].names;
    X509V3_set_ctx(&context, issuer, x509, NULL, NULL, 0);
    return extend(x509, &context, NID_basic_constraints, wanted[use].constraints) &&
           extend(x509, &context, NID_key_usage, wanted[use].usage) &&
           (!wanted[use].extended || extend(x509, &context, NID_ext_key_usage, wanted[use].extended)) &&
           (!names || extend(x509, &context, NID_subject_alt_name, names)) &&
           (use != REAL_RESPONDER || extend(x509, &context, NID_id_pkix_OCSP_noCheck, "NULL")) &&
           extend_points(x509, &context, extras) && extend(x509, &context, NID_subject_key_identifier, "hash") &&
           (use == REAL_CA_ROOT || extend(x509, &context, NID_authority_key_identifier, "keyid:always"));
}

X509 *real_sign(EVP_PKEY *subject_key, const char *common_name, uint64_t serial, X509 *issuer, EVP_PKEY *issuer_key,
                int64_t not_before_s, int64_t not_after_s, enum real_use use, const struct real_extras *extras)
{
    X509 *x509 = X509_new();
    if (!x509)
        return NULL;
    if (!issuer)
        issuer = x509;
    X509_NAME *name = X509_get_subject_name(x509);
    bool good = X509_set_version(x509, 2) && ASN1_INTEGER_set_uint64(X509_get_serialNumber(x509), serial) &&
                X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)common_name, -1, -1, 0) &&
                X509_set_issuer_name(x509, X509_get_subject_name(issuer)) &&
                ASN1_TIME_set(X509_getm_notBefore(x509), (time_t)not_before_s) &&
                ASN1_TIME_set(X509_getm_notAfter(x509), (time_t)not_after_s) && X509_set_pubkey(x509, subject_key) &&
                extend_all(x509, issuer, use, extras) && X509_sign(x509, issuer_key, EVP_sha256()) > 0;
    if (good)
        return x509;
    X509_free(x509);
    return NULL;
}

static const char *server_names(const char *common_name, char *out, size_t capacity)
{
    ASN1_OCTET_STRING *ip = a2i_IPADDRESS(common_name);
    snprintf(out, capacity, "%s:%s", ip ? "IP" : "DNS", common_name);
    ASN1_OCTET_STRING_free(ip);
    return out;
}

/* A signature is two numbers in DER, 70 to 72 bytes long by chance; every second one is 71. */
static bool even_out(X509 *x509, EVP_PKEY *issuer_key)
{
    const ASN1_BIT_STRING *signature;
    X509_get0_signature(&signature, NULL, x509);
    while (ASN1_STRING_length(signature) != EVEN_SIGNATURE_BYTES)
        if (X509_sign(x509, issuer_key, EVP_sha256()) <= 0)
            return false;
    return true;
}

X509 *real_certify(struct cloud_pki *pki, enum cloud_ca ca, EVP_PKEY *key, const char *common_name,
                   int64_t not_before_s, int64_t not_after_s)
{
    char names[80];
    bool server = ca == CLOUD_CA_SERVER;
    struct real_extras extras = {.url = pki->store->url, .ca_file = identity_ca_file[ca]};
    if (server && strcmp(common_name, "localhost") != 0)
        extras.names = server_names(common_name, names, sizeof(names));
    if (server)
        extras.url = NULL; /* the server CA has no CRL */
    uint64_t serial = real_serial() | (pki->simulating ? EVEN_SERIAL : 0);
    X509 *x509 = real_sign(key, common_name, serial, pki->ca[ca].x509, pki->ca[ca].key, not_before_s, not_after_s,
                           server ? REAL_SERVER : REAL_CLIENT, &extras);
    if (x509 && (pki->simulating ? even_out(x509, pki->ca[ca].key) : store_note(pki, ca, x509)))
        return x509;
    X509_free(x509); /* what cannot be noted could not be revoked either */
    return NULL;
}

static size_t to_der(X509 *x509, uint8_t *out, size_t capacity)
{
    int length = i2d_X509(x509, NULL);
    if (length <= 0 || (size_t)length > capacity)
        return 0;
    unsigned char *at = out;
    return (size_t)i2d_X509(x509, &at);
}

size_t real_issue(struct cloud_pki *pki, enum cloud_ca ca, struct span csr, const struct issue_names *names,
                  int64_t now_s, int64_t lifetime_s, uint8_t *out, size_t capacity)
{
    size_t length = 0;
    char name[64];
    X509_REQ *request = lifetime_s > 0 ? parse_request(csr) : NULL;
    EVP_PKEY *key = request ? X509_REQ_get0_pubkey(request) : NULL;
    if (key && X509_REQ_verify(request, key) == 1 && common_name_of(X509_REQ_get_subject_name(request), name) &&
        name[0] && issue_allowed(names, span_text(name))) {
        X509 *x509 = real_certify(pki, ca, key, names->given ? names->given : name, now_s, now_s + lifetime_s);
        length = x509 ? to_der(x509, out, capacity) : 0;
        X509_free(x509);
    }
    X509_REQ_free(request);
    ERR_clear_error();
    return length;
}

bool real_key_to_der(EVP_PKEY *key, uint8_t *out, size_t *length)
{
    PKCS8_PRIV_KEY_INFO *info = EVP_PKEY2PKCS8(key);
    int need = info ? i2d_PKCS8_PRIV_KEY_INFO(info, NULL) : 0;
    bool good = need > 0 && (size_t)need <= *length;
    if (good) {
        unsigned char *at = out;
        *length = (size_t)i2d_PKCS8_PRIV_KEY_INFO(info, &at);
    }
    PKCS8_PRIV_KEY_INFO_free(info);
    return good;
}

static bool real_make(struct cloud_pki *pki, enum cloud_ca ca, const char *common_name, int64_t now_s,
                      int64_t lifetime_s, uint8_t *certificate, size_t *certificate_length, uint8_t *key_out,
                      size_t *key_length)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *x509 = key ? real_certify(pki, ca, key, common_name, now_s, now_s + lifetime_s) : NULL;
    size_t length = x509 ? to_der(x509, certificate, *certificate_length) : 0;
    *certificate_length = length;
    bool good = length > 0 && real_key_to_der(key, key_out, key_length);
    X509_free(x509);
    EVP_PKEY_free(key);
    ERR_clear_error();
    return good;
}

bool cloud_pki_make(struct cloud_pki *pki, enum cloud_ca ca, const char *common_name, int64_t now_s, int64_t lifetime_s,
                    uint8_t *certificate, size_t *certificate_length, uint8_t *key, size_t *key_length)
{
    if (!pki->modelled)
        return real_make(pki, ca, common_name, now_s, lifetime_s, certificate, certificate_length, key, key_length);
    uint8_t csr[128];
    size_t length = cloud_modelled_csr(span_text(common_name), pki->next_serial + 1, csr, sizeof(csr));
    *certificate_length =
        cloud_pki_issue(pki, ca, span_of(csr, length), NULL, now_s, lifetime_s, certificate, *certificate_length);
    if (key_length)
        *key_length = 0;
    return *certificate_length > 0;
}

/* A PKCS#7 SignedData without signatures: how EST carries certificates. */
size_t real_certs_only(struct cloud_pki *pki, const uint8_t *const *der, const size_t *length, int count, uint8_t *out,
                       size_t capacity)
{
    PKCS7 *bundle = PKCS7_new();
    bool good = bundle && PKCS7_set_type(bundle, NID_pkcs7_signed) && PKCS7_content_new(bundle, NID_pkcs7_data);
    for (int i = 0; good && i < count; i++) {
        X509 *x509 = real_parse(span_of(der[i], length[i]));
        good = x509 && PKCS7_add_certificate(bundle, x509);
        X509_free(x509);
    }
    if (good)
        PKCS7_set_detached(bundle, 1);
    unsigned char *raw = NULL;
    int raw_length = good ? i2d_PKCS7(bundle, &raw) : 0;
    size_t written = raw_length > 0 ? identity_base64_encode(raw, (size_t)raw_length, out, capacity) : 0;
    OPENSSL_free(raw);
    PKCS7_free(bundle);
    ERR_clear_error();
    return written;
}
