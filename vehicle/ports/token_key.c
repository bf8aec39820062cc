/* token_key.c: a key of a token as one of OpenSSL's: the public half is known, the private half is the token's signature.
 *
 * OpenSSL 3 calls methods of keys deprecated in favour of providers, and still signs with them everywhere, requests and both versions of
 * TLS; a provider of one's own is some twenty times this file. (Debian 12 has an engine for PKCS#11, which stands on the same methods, but it
 * makes no P-256 keys, destroys none, and does not see those made behind its back.) */
#define OPENSSL_SUPPRESS_DEPRECATED
#include "token_internal.h"

#include <openssl/ec.h>
#include <openssl/err.h>
#include <openssl/evp.h>

enum { HALF = TOKEN_SIGNATURE_BYTES / 2 };

/* OpenSSL's registrations are the process's: made once, never taken back. */
static pthread_once_t once = PTHREAD_ONCE_INIT;
static EC_KEY_METHOD *method;
static int key_index = -1;

static ECDSA_SIG *sign_raw(const unsigned char *digest, int length, const BIGNUM *k, const BIGNUM *r, EC_KEY *ec)
{
    const struct token_key *key = EC_KEY_get_ex_data(ec, key_index);
    uint8_t raw[TOKEN_SIGNATURE_BYTES];
    size_t used = length > HALF ? HALF : (size_t)length; /* the leftmost bits, as the standard of ECDSA has it */
    if (!key || length < 0 || !token_sign(key, span_of(digest, used), raw)) {
        ERR_raise_data(ERR_LIB_USER, ERR_R_OPERATION_FAIL, "the token does not sign");
        return NULL;
    }
    ECDSA_SIG *signature = ECDSA_SIG_new();
    BIGNUM *first = BN_bin2bn(raw, HALF, NULL), *second = BN_bin2bn(raw + HALF, HALF, NULL);
    if (signature && first && second && ECDSA_SIG_set0(signature, first, second) == 1)
        return signature;
    BN_free(first);
    BN_free(second);
    ECDSA_SIG_free(signature);
    return NULL;
}

static int sign_encoded(int type, const unsigned char *digest, int length, unsigned char *out, unsigned *out_length,
                        const BIGNUM *k, const BIGNUM *r, EC_KEY *ec)
{
    ECDSA_SIG *signature = sign_raw(digest, length, k, r, ec);
    int used = signature ? i2d_ECDSA_SIG(signature, &out) : 0;
    ECDSA_SIG_free(signature);
    *out_length = used > 0 ? (unsigned)used : 0;
    return used > 0;
}

static int sign_setup(EC_KEY *ec, BN_CTX *context, BIGNUM **k, BIGNUM **r)
{
    return 1;
}

static void forget_key(void *parent, void *key, CRYPTO_EX_DATA *data, int index, long argument, void *context)
{
    OPENSSL_free(key);
}

static void prepare(void)
{
    int index = EC_KEY_get_ex_new_index(0, NULL, NULL, NULL, forget_key);
    EC_KEY_METHOD *made = index >= 0 ? EC_KEY_METHOD_new(EC_KEY_OpenSSL()) : NULL;
    if (!made)
        return;
    EC_KEY_METHOD_set_sign(made, sign_encoded, sign_setup, sign_raw);
    key_index = index;
    method = made;
}

/* The method comes before the key is put into an EVP_PKEY: that is how OpenSSL knows it as not its own. */
static EC_KEY *make(const struct token_key *key, const uint8_t point[TOKEN_POINT_BYTES])
{
    EC_KEY *ec = EC_KEY_new_by_curve_name(NID_X9_62_prime256v1);
    struct token_key *copy = OPENSSL_memdup(key, sizeof(*key));
    if (ec && copy && EC_KEY_oct2key(ec, point, TOKEN_POINT_BYTES, NULL) == 1 && EC_KEY_set_method(ec, method) == 1 &&
        EC_KEY_set_ex_data(ec, key_index, copy) == 1)
        return ec;
    OPENSSL_free(copy);
    EC_KEY_free(ec);
    return NULL;
}

EVP_PKEY *token_key_wrap(const struct token_key *key, const uint8_t point[TOKEN_POINT_BYTES])
{
    pthread_once(&once, prepare);
    EC_KEY *ec = method ? make(key, point) : NULL;
    EVP_PKEY *wrapped = ec ? EVP_PKEY_new() : NULL;
    if (wrapped && EVP_PKEY_assign_EC_KEY(wrapped, ec) == 1)
        return wrapped;
    EVP_PKEY_free(wrapped);
    EC_KEY_free(ec);
    ERR_clear_error();
    return NULL;
}

const struct token_key *token_key_of(const EVP_PKEY *key)
{
    const EC_KEY *ec = EVP_PKEY_get0_EC_KEY((EVP_PKEY *)(uintptr_t)key);
    return ec && key_index >= 0 ? EC_KEY_get_ex_data(ec, key_index) : NULL;
}
