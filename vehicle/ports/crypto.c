/* crypto.c: P-256, PKCS#10, PKCS#7 and X.509 over OpenSSL, bytes in and bytes out. */
#include "ports_internal.h"

#include <ctype.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/pkcs7.h>
#include <openssl/x509v3.h>
#include <stdio.h>

/* ---- key pair and request ------------------------------------------------------------------------------------------ */

static X509_REQ *make_request(EVP_PKEY *key, struct span common_name)
{
    X509_REQ *request = X509_REQ_new();
    X509_NAME *name = X509_NAME_new();
    bool good =
        request && name && X509_REQ_set_version(request, X509_REQ_VERSION_1) == 1 &&
        X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, common_name.data, (int)common_name.length, -1, 0) == 1 &&
        X509_REQ_set_subject_name(request, name) == 1 && X509_REQ_set_pubkey(request, key) == 1 &&
        X509_REQ_sign(request, key, EVP_sha256()) > 0;
    X509_NAME_free(name);
    if (good)
        return request;
    X509_REQ_free(request);
    return NULL;
}

static bool write_key(EVP_PKEY *key, uint8_t *out, size_t *length)
{
    PKCS8_PRIV_KEY_INFO *info = EVP_PKEY2PKCS8(key);
    int bytes = info ? i2d_PKCS8_PRIV_KEY_INFO(info, NULL) : 0;
    bool good = bytes > 0 && (size_t)bytes <= *length;
    if (good)
        *length = (size_t)i2d_PKCS8_PRIV_KEY_INFO(info, &out);
    PKCS8_PRIV_KEY_INFO_free(info);
    return good;
}

size_t ports_crypto_request(EVP_PKEY *key, struct span common_name, uint8_t *out, size_t capacity)
{
    X509_REQ *request = make_request(key, common_name);
    int bytes = request ? i2d_X509_REQ(request, NULL) : 0;
    bool good = bytes > 0 && (size_t)bytes <= capacity && i2d_X509_REQ(request, &out) == bytes;
    X509_REQ_free(request);
    ERR_clear_error();
    return good ? (size_t)bytes : 0;
}

bool tcu_crypto_enroll(struct span common_name, uint8_t *key_out, size_t *key_length, uint8_t *request_out,
                       size_t *request_length)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    size_t length = key ? ports_crypto_request(key, common_name, request_out, *request_length) : 0;
    bool good = length > 0 && write_key(key, key_out, key_length);
    if (good)
        *request_length = length;
    EVP_PKEY_free(key);
    ERR_clear_error();
    return good;
}

/* ---- reading certificates ------------------------------------------------------------------------------------------ */

static EVP_PKEY *parse_key(struct span key)
{
    const unsigned char *at = key.data;
    return key.length ? d2i_AutoPrivateKey(NULL, &at, (long)key.length) : NULL;
}

static bool is_pem(struct span bytes)
{
    return bytes.length > 10 && memcmp(bytes.data, "-----BEGIN", 10) == 0;
}

/* Base64 with any line breaks; NULL: it is none. *length: of what it stands for. */
static unsigned char *from_base64(struct span text, size_t *length)
{
    unsigned char *packed = OPENSSL_malloc(text.length + 4), *out = OPENSSL_malloc(text.length + 4);
    size_t count = 0, padding = 0;
    for (uint32_t i = 0; packed && i < text.length; i++)
        if (!isspace(text.data[i]))
            packed[count++] = text.data[i];
    while (count > padding && padding < 2 && packed[count - 1 - padding] == '=')
        padding++;
    int bytes = packed && out && count % 4 == 0 && count > 0 ? EVP_DecodeBlock(out, packed, (int)count) : -1;
    OPENSSL_free(packed);
    if (bytes > 0 && (size_t)bytes > padding) {
        *length = (size_t)bytes - padding;
        return out;
    }
    OPENSSL_free(out);
    return NULL;
}

static PKCS7 *parse_pkcs7(struct span bytes)
{
    const unsigned char *at = bytes.data;
    if (!is_pem(bytes))
        return d2i_PKCS7(NULL, &at, (long)bytes.length);
    BIO *bio = BIO_new_mem_buf(bytes.data, (int)bytes.length);
    PKCS7 *pkcs7 = bio ? PEM_read_bio_PKCS7(bio, NULL, NULL, NULL) : NULL;
    BIO_free(bio);
    return pkcs7;
}

static X509 *parse_certificate(struct span bytes)
{
    const unsigned char *at = bytes.data;
    if (!is_pem(bytes))
        return d2i_X509(NULL, &at, (long)bytes.length);
    BIO *bio = BIO_new_mem_buf(bytes.data, (int)bytes.length);
    X509 *x509 = bio ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
    BIO_free(bio);
    return x509;
}

static size_t write_certificate(X509 *x509, uint8_t *out, size_t capacity)
{
    int bytes = x509 ? i2d_X509(x509, NULL) : 0;
    return bytes > 0 && (size_t)bytes <= capacity ? (size_t)i2d_X509(x509, &out) : 0;
}

static bool suits(X509 *x509, EVP_PKEY *key)
{
    return key ? X509_check_private_key(x509, key) == 1 : X509_check_ca(x509) == 0;
}

static size_t choose(struct span bytes, EVP_PKEY *key, uint8_t *out, size_t capacity)
{
    size_t length = 0;
    PKCS7 *pkcs7 = parse_pkcs7(bytes);
    const STACK_OF(X509) *list = pkcs7 && PKCS7_type_is_signed(pkcs7) && pkcs7->d.sign ? pkcs7->d.sign->cert : NULL;
    for (int i = 0; list && i < sk_X509_num(list) && !length; i++)
        if (suits(sk_X509_value(list, i), key))
            length = write_certificate(sk_X509_value(list, i), out, capacity);
    PKCS7_free(pkcs7);
    if (length)
        return length;
    X509 *x509 = parse_certificate(bytes);
    if (x509 && suits(x509, key))
        length = write_certificate(x509, out, capacity);
    X509_free(x509);
    return length;
}

size_t ports_crypto_certificate(struct span answer, EVP_PKEY *key, uint8_t *out, size_t capacity)
{
    if (answer.length < 4)
        return 0;
    size_t decoded_length = 0;
    unsigned char *decoded = is_pem(answer) || answer.data[0] == 0x30 ? NULL : from_base64(answer, &decoded_length);
    size_t length = choose(decoded ? span_of(decoded, decoded_length) : answer, key, out, capacity);
    OPENSSL_free(decoded);
    ERR_clear_error();
    return length;
}

size_t tcu_crypto_certificate(struct span answer, struct span key_bytes, uint8_t *out, size_t capacity)
{
    EVP_PKEY *key = parse_key(key_bytes);
    size_t length = key_bytes.length && !key ? 0 : ports_crypto_certificate(answer, key, out, capacity);
    EVP_PKEY_free(key);
    ERR_clear_error();
    return length;
}

bool tcu_crypto_belongs(struct span certificate, struct span key_bytes)
{
    EVP_PKEY *key = parse_key(key_bytes);
    X509 *x509 = certificate.length ? parse_certificate(certificate) : NULL;
    bool belongs = key && x509 && X509_check_private_key(x509, key) == 1;
    X509_free(x509);
    EVP_PKEY_free(key);
    ERR_clear_error();
    return belongs;
}

static size_t read_key(BIO *bio, uint8_t *out, size_t capacity)
{
    EVP_PKEY *key = PEM_read_bio_PrivateKey(
        bio, NULL, NULL, (void *)""); /* a passphrase is not asked for: it would wait for a terminal */
    if (!key && BIO_reset(bio) >= 0)
        key = d2i_PrivateKey_bio(bio, NULL);
    size_t length = capacity;
    bool good = key && write_key(key, out, &length);
    EVP_PKEY_free(key);
    ERR_clear_error();
    return good ? length : 0;
}

size_t tcu_crypto_key(struct span bytes, uint8_t *out, size_t capacity)
{
    BIO *bio = bytes.length ? BIO_new_mem_buf(bytes.data, (int)bytes.length) : NULL;
    size_t length = bio ? read_key(bio, out, capacity) : 0;
    BIO_free(bio);
    return length;
}

/* ---- files --------------------------------------------------------------------------------------------------------- */

BIO *ports_open_file(const char *path, char *error, size_t error_capacity)
{
    BIO *bio = BIO_new_file(path, "rb");
    if (!bio)
        snprintf(error, error_capacity, "%s: %s", path, strerror(errno));
    ERR_clear_error();
    return bio;
}

size_t tcu_crypto_read_certificate(const char *path, uint8_t *out, size_t capacity, char *error, size_t error_capacity)
{
    BIO *bio = ports_open_file(path, error, error_capacity);
    if (!bio)
        return 0;
    X509 *x509 = PEM_read_bio_X509(bio, NULL, NULL, NULL);
    if (!x509 && BIO_reset(bio) == 0)
        x509 = d2i_X509_bio(bio, NULL);
    BIO_free(bio);
    size_t length = write_certificate(x509, out, capacity);
    X509_free(x509);
    ERR_clear_error();
    if (!length)
        snprintf(error, error_capacity, "%s: no certificate in PEM or DER form", path);
    return length;
}

size_t tcu_crypto_read_key(const char *path, uint8_t *out, size_t capacity, char *error, size_t error_capacity)
{
    BIO *bio = ports_open_file(path, error, error_capacity);
    if (!bio)
        return 0;
    size_t length = read_key(bio, out, capacity);
    BIO_free(bio);
    if (length)
        return length;
    snprintf(error, error_capacity, "%s: no private key in PEM or DER form without a passphrase", path);
    return 0;
}

/* ---- what is in a certificate -------------------------------------------------------------------------------------- */

static bool seconds_of(const ASN1_TIME *time, int64_t *out)
{
    static const int before_month[] = {0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334};
    struct tm tm;
    if (ASN1_TIME_to_tm(time, &tm) != 1)
        return false;
    int64_t year = tm.tm_year + 1900,
            past = tm.tm_mon > 1 ? year : year - 1;               /* years whose leap day, if any, is over */
    int64_t leap_days = past / 4 - past / 100 + past / 400 - 477; /* 477 before 1970 */
    int64_t days = (year - 1970) * 365 + leap_days + before_month[tm.tm_mon] + tm.tm_mday - 1;
    *out = days * 86400 + tm.tm_hour * 3600 + tm.tm_min * 60 + tm.tm_sec;
    return true;
}

bool tcu_crypto_validity(struct span certificate, int64_t *not_before_s, int64_t *not_after_s, char common_name[64])
{
    X509 *x509 = certificate.length ? parse_certificate(certificate) : NULL;
    bool good = x509 && seconds_of(X509_get0_notBefore(x509), not_before_s) &&
                seconds_of(X509_get0_notAfter(x509), not_after_s);
    if (good && common_name &&
        X509_NAME_get_text_by_NID(X509_get_subject_name(x509), NID_commonName, common_name, 64) < 0)
        common_name[0] = 0;
    X509_free(x509);
    ERR_clear_error();
    return good;
}

size_t tcu_crypto_base64(struct span bytes, char *out, size_t capacity)
{
    size_t length = ((size_t)bytes.length + 2) / 3 * 4;
    if (bytes.length == 0 || capacity < length + 1)
        return 0;
    return (size_t)EVP_EncodeBlock((unsigned char *)out, bytes.data, (int)bytes.length);
}
