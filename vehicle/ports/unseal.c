/* unseal.c: opening sealed commands with OpenSSL, and reading the two keys that takes. Form: docs/commands.md.
 *
 * The signature comes first: nothing is decrypted that the cloud has not signed.
 */
#include "ports_internal.h"

#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>

enum { HEAD = 16, ID = 8, TAG = 16, SIGNATURE = 64, NAME_MAX_BYTES = 48, VEHICLE_KEY = 32 };

/* ---- opening ---------------------------------------------------------------------------------------------------------- */

/* The plain text's length; 0: not of this form. */
static size_t plain_length(struct span sealed)
{
    static const uint8_t form[4] = {'C', 'V', 1, 0};
    uint32_t around = HEAD + TAG + SIGNATURE;
    if (sealed.length <= around + ID || sealed.length > around + ID + NAME_MAX_BYTES ||
        memcmp(sealed.data, form, sizeof(form)) != 0)
        return 0;
    return sealed.length - around;
}

/* OpenSSL reads signatures as DER. Returns the length, 0: there is none. */
static int signature_der(const uint8_t halves[SIGNATURE], unsigned char **der)
{
    ECDSA_SIG *signature = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn(halves, SIGNATURE / 2, NULL), *s = BN_bin2bn(halves + SIGNATURE / 2, SIGNATURE / 2, NULL);
    int length = 0;
    if (signature && r && s && ECDSA_SIG_set0(signature, r, s) == 1) {
        r = s = NULL; /* the signature's now */
        length = i2d_ECDSA_SIG(signature, der);
    }
    BN_free(r);
    BN_free(s);
    ECDSA_SIG_free(signature);
    return length > 0 ? length : 0;
}

static bool is_signed(struct span public_key, const uint8_t *bytes, size_t length)
{
    const unsigned char *at = public_key.data;
    unsigned char *der = NULL;
    EVP_PKEY *key = public_key.length ? d2i_PUBKEY(NULL, &at, (long)public_key.length) : NULL;
    int der_length = signature_der(bytes + length, &der);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool good = key && EVP_PKEY_is_a(key, "EC") && der_length && context &&
                EVP_DigestVerifyInit(context, NULL, EVP_sha256(), NULL, key) == 1 &&
                EVP_DigestVerify(context, der, (size_t)der_length, bytes, length) == 1;
    EVP_MD_CTX_free(context);
    OPENSSL_free(der);
    EVP_PKEY_free(key);
    return good;
}

static bool decrypt(const uint8_t key[VEHICLE_KEY], const uint8_t *sealed, size_t length, uint8_t *out)
{
    uint8_t nonce[12] = {0}, tag[TAG];
    int written;
    memcpy(nonce + 4, sealed + 4, 8);
    memcpy(tag, sealed + HEAD + length, TAG);
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    bool good = context && EVP_DecryptInit_ex(context, EVP_aes_256_gcm(), NULL, key, nonce) == 1 &&
                EVP_DecryptUpdate(context, NULL, &written, sealed, HEAD) == 1 &&
                EVP_DecryptUpdate(context, out, &written, sealed + HEAD, (int)length) == 1 &&
                EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_SET_TAG, TAG, tag) == 1 &&
                EVP_DecryptFinal_ex(context, out + length, &written) == 1;
    EVP_CIPHER_CTX_free(context);
    if (!good)
        OPENSSL_cleanse(out, length); /* not what anybody has said */
    return good;
}

size_t tcu_crypto_unseal(struct span public_key, const uint8_t vehicle_key[32], struct span sealed, uint8_t *out,
                         size_t capacity, bool *forged)
{
    size_t length = plain_length(sealed);
    *forged = false;
    if (!length || length > capacity)
        return 0;
    *forged = !is_signed(public_key, sealed.data, HEAD + length + TAG);
    bool good = !*forged && decrypt(vehicle_key, sealed.data, length, out);
    ERR_clear_error();
    return good ? length : 0;
}

/* ---- keys from files --------------------------------------------------------------------------------------------------- */

size_t tcu_crypto_read_public_key(const char *path, uint8_t *out, size_t capacity, char *error, size_t error_capacity)
{
    BIO *bio = ports_open_file(path, error, error_capacity);
    if (!bio)
        return 0;
    EVP_PKEY *key = PEM_read_bio_PUBKEY(bio, NULL, NULL, NULL);
    if (!key && BIO_reset(bio) == 0)
        key = d2i_PUBKEY_bio(bio, NULL);
    BIO_free(bio);
    int bytes = key && EVP_PKEY_is_a(key, "EC") ? i2d_PUBKEY(key, NULL) : 0;
    size_t length = bytes > 0 && (size_t)bytes <= capacity ? (size_t)i2d_PUBKEY(key, &out) : 0;
    EVP_PKEY_free(key);
    ERR_clear_error();
    if (!length)
        snprintf(error, error_capacity, "%s: no public key on an elliptic curve in PEM or DER form", path);
    return length;
}

static int digit_of(int c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

static bool unhex(const uint8_t *text, uint8_t out[VEHICLE_KEY])
{
    for (int i = 0; i < VEHICLE_KEY; i++) {
        int high = digit_of(text[2 * i]), low = digit_of(text[2 * i + 1]);
        if (high < 0 || low < 0)
            return false;
        out[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

bool tcu_crypto_read_vehicle_key(const char *path, uint8_t out[32], char *error, size_t error_capacity)
{
    uint8_t text[2 * VEHICLE_KEY + 3];
    BIO *bio = ports_open_file(path, error, error_capacity);
    if (!bio)
        return false;
    int length = BIO_read(bio, text, sizeof(text));
    BIO_free(bio);
    bool raw = length == VEHICLE_KEY;
    while (!raw && length > 2 * VEHICLE_KEY && (text[length - 1] == '\n' || text[length - 1] == '\r'))
        length--;
    bool good = raw || (length == 2 * VEHICLE_KEY && unhex(text, out));
    if (raw)
        memcpy(out, text, VEHICLE_KEY);
    OPENSSL_cleanse(text, sizeof(text));
    ERR_clear_error();
    if (!good)
        snprintf(error, error_capacity, "%s: a vehicle key is 32 bytes, or 64 hexadecimal digits", path);
    return good;
}
