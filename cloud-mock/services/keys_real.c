/* keys_real.c: the key service over OpenSSL: ECDSA P-256, AES-256-GCM, vehicles' keys by HKDF-SHA-256 from one master. */
#include "keys_internal.h"

#include "memory.h"

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/kdf.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <stdio.h>

#define HALF 32 /* r and s */

struct keys_real {
    struct cloud_keys common; /* first */
    EVP_PKEY *signer;
    EVP_KDF *kdf;
    uint8_t master[32];
};

static const struct keys_real *real_of(const struct cloud_keys *keys)
{
    return (const struct keys_real *)(const void *)keys;
}

/* ---- vehicles' keys --------------------------------------------------------------------------------------------------- */

static bool derive(const struct keys_real *real, struct span thing, uint8_t out[CLOUD_VEHICLE_KEY])
{
    static const char use[] =
        "convoy sealed command 1 "; /* before the name: another use of the master has other keys */
    EVP_KDF_CTX *context = EVP_KDF_CTX_new(real->kdf);
    OSSL_PARAM parameters[] = {
        OSSL_PARAM_utf8_string(OSSL_KDF_PARAM_DIGEST, (void *)"SHA256", 6),
        OSSL_PARAM_octet_string(OSSL_KDF_PARAM_KEY, (void *)real->master, sizeof(real->master)),
        OSSL_PARAM_octet_string(OSSL_KDF_PARAM_INFO, (void *)use, sizeof(use) - 1),
        OSSL_PARAM_octet_string(OSSL_KDF_PARAM_INFO, (void *)thing.data, thing.length),
        OSSL_PARAM_END,
    };
    bool good = context && EVP_KDF_derive(context, out, CLOUD_VEHICLE_KEY, parameters) == 1;
    EVP_KDF_CTX_free(context);
    return good;
}

static void real_vehicle_key(const struct cloud_keys *keys, struct span thing, uint8_t out[CLOUD_VEHICLE_KEY])
{
    ASSERT(derive(real_of(keys), thing, out));
}

static size_t real_public_key(const struct cloud_keys *keys, uint8_t *out, size_t capacity)
{
    int length = i2d_PUBKEY(real_of(keys)->signer, NULL);
    return length > 0 && (size_t)length <= capacity ? (size_t)i2d_PUBKEY(real_of(keys)->signer, &out) : 0;
}

/* ---- sealing ---------------------------------------------------------------------------------------------------------- */

static bool encrypt(const uint8_t key[CLOUD_VEHICLE_KEY], uint8_t *sealed, size_t length)
{
    uint8_t nonce[12] = {0}, *text = sealed + KEYS_HEAD;
    int written;
    memcpy(nonce + 4, sealed + 4, 8);
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    bool good = context && EVP_EncryptInit_ex(context, EVP_aes_256_gcm(), NULL, key, nonce) == 1 &&
                EVP_EncryptUpdate(context, NULL, &written, sealed, KEYS_HEAD) == 1 &&
                EVP_EncryptUpdate(context, text, &written, text, (int)length) == 1 &&
                EVP_EncryptFinal_ex(context, text + length, &written) == 1 &&
                EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_GET_TAG, KEYS_TAG, text + length) == 1;
    EVP_CIPHER_CTX_free(context);
    return good;
}

/* OpenSSL signs as DER; sealed commands carry r and s alone: 64 bytes always. */
static bool halves_of(const uint8_t *der, size_t length, uint8_t out[KEYS_SIGNATURE])
{
    const unsigned char *at = der;
    ECDSA_SIG *signature = d2i_ECDSA_SIG(NULL, &at, (long)length);
    bool good = signature && BN_bn2binpad(ECDSA_SIG_get0_r(signature), out, HALF) == HALF &&
                BN_bn2binpad(ECDSA_SIG_get0_s(signature), out + HALF, HALF) == HALF;
    ECDSA_SIG_free(signature);
    return good;
}

static bool sign(EVP_PKEY *signer, const uint8_t *bytes, size_t length, uint8_t out[KEYS_SIGNATURE])
{
    uint8_t der[80];
    size_t der_length = sizeof(der);
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    bool good = context && EVP_DigestSignInit(context, NULL, EVP_sha256(), NULL, signer) == 1 &&
                EVP_DigestSign(context, der, &der_length, bytes, length) == 1 && halves_of(der, der_length, out);
    EVP_MD_CTX_free(context);
    return good;
}

static bool real_protect(const struct cloud_keys *keys, const uint8_t vehicle_key[CLOUD_VEHICLE_KEY], uint8_t *sealed,
                         size_t length)
{
    size_t before = KEYS_HEAD + length + KEYS_TAG;
    bool good = encrypt(vehicle_key, sealed, length) && sign(real_of(keys)->signer, sealed, before, sealed + before);
    ERR_clear_error();
    return good;
}

/* ---- opening ---------------------------------------------------------------------------------------------------------- */

static void real_destroy(struct cloud_keys *keys)
{
    struct keys_real *real = (struct keys_real *)(void *)keys;
    EVP_PKEY_free(real->signer);
    EVP_KDF_free(real->kdf);
    OPENSSL_cleanse(real->master, sizeof(real->master));
    memory_free(real);
}

static EVP_PKEY *read_key(struct span bytes)
{
    BIO *bio = BIO_new_mem_buf(bytes.data, (int)bytes.length);
    /* A passphrase is not asked for: it would wait for a terminal. */
    EVP_PKEY *key = bio ? PEM_read_bio_PrivateKey(bio, NULL, NULL, (void *)"") : NULL;
    if (!key && bio && BIO_reset(bio) >= 0)
        key = d2i_PrivateKey_bio(bio, NULL);
    BIO_free(bio);
    return key;
}

static bool is_p256(const EVP_PKEY *key)
{
    char group[32];
    size_t length;
    return EVP_PKEY_is_a(key, "EC") && EVP_PKEY_get_group_name(key, group, sizeof(group), &length) == 1 &&
           strcmp(group, "prime256v1") == 0;
}

static const char *open_parts(struct keys_real *real, struct span private_key)
{
    real->kdf = EVP_KDF_fetch(NULL, "HKDF", NULL);
    real->signer = private_key.length ? read_key(private_key) : EVP_EC_gen("P-256");
    if (!real->kdf)
        return "this OpenSSL has no HKDF";
    if (!real->signer)
        return private_key.length ? "no private key in PEM or DER form without a passphrase" : "no key could be made";
    return is_p256(real->signer) ? NULL : "the private key is not one on the curve P-256";
}

struct cloud_keys *cloud_keys_real(struct span private_key, const uint8_t master[32], char *error,
                                   size_t error_capacity)
{
    static const struct keys_kind kind = {real_vehicle_key, real_public_key, real_protect, real_destroy};
    struct keys_real *real = memory_allocate_zero(1, sizeof(*real));
    const char *flaw = real ? open_parts(real, private_key) : "out of memory";
    ERR_clear_error();
    if (flaw) {
        snprintf(error, error_capacity, "key of sealed commands: %s", flaw);
        if (real)
            real_destroy(&real->common);
        return NULL;
    }
    real->common.kind = &kind;
    real->common.first = 1;
    memcpy(real->master, master, sizeof(real->master));
    return &real->common;
}
