/* seal.c: what keeps VINs from being read: a keyed hash to find them by, AES-256-GCM to give them back. */
#include "vehicles_internal.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

static void keyed_hash(const uint8_t key[32], struct span bytes, uint8_t out[32])
{
    unsigned length = 32;
    ASSERT(HMAC(EVP_sha256(), key, 32, bytes.data ? bytes.data : (const uint8_t *)"", bytes.length, out, &length));
}

/* A key for each purpose, so that none says anything about another. */
void seal_keys(struct cloud_vehicles *vehicles, const uint8_t key[32])
{
    keyed_hash(key, SPAN_LITERAL("convoy: hash of VINs"), vehicles->hash_key);
    keyed_hash(key, SPAN_LITERAL("convoy: sealed VINs"), vehicles->seal_key);
    keyed_hash(key, SPAN_LITERAL("convoy: bearer tokens"), vehicles->token_key);
}

void seal_hash(const struct cloud_vehicles *vehicles, struct span vin, uint8_t hash[VIN_HASH_BYTES])
{
    keyed_hash(vehicles->hash_key, vin, hash);
}

void seal_token(const struct cloud_vehicles *vehicles, struct span token, uint8_t hash[32])
{
    keyed_hash(vehicles->token_key, token, hash);
}

/* Within a registry the counter alone makes it new. Registries under one key (partitions, or a second run from an empty file) differ in what seed and VIN
 * give; where both are the same, what is sealed is the same too. */
static void next_nonce(struct cloud_vehicles *vehicles, const uint8_t hash[VIN_HASH_BYTES], uint8_t nonce[12])
{
    uint64_t seed = vehicles->seed;
    uint32_t counter = vehicles->nonces++;
    for (int i = 0; i < 8; i++)
        nonce[i] = hash[i] ^ (uint8_t)(seed >> (8 * i));
    for (int i = 0; i < 4; i++)
        nonce[8 + i] = (uint8_t)(counter >> (8 * i));
}

/* Bound to whom it belongs: a sealed VIN moved to another row does not open. */
static bool bind_to(EVP_CIPHER_CTX *context,
                    int (*update)(EVP_CIPHER_CTX *, unsigned char *, int *, const unsigned char *, int),
                    const uint8_t *hash, struct span reference)
{
    int length;
    return update(context, NULL, &length, hash, VIN_HASH_BYTES) == 1 &&
           update(context, NULL, &length, reference.data, (int)reference.length) == 1;
}

bool seal_close(struct cloud_vehicles *vehicles, struct span vin, const uint8_t hash[VIN_HASH_BYTES],
                struct span reference, uint8_t sealed[VIN_SEALED_BYTES])
{
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    uint8_t *text = sealed + VIN_NONCE_BYTES;
    int length;
    if (vehicles->nonces == UINT32_MAX) {
        EVP_CIPHER_CTX_free(context);
        return false;
    }
    next_nonce(vehicles, hash, sealed);
    bool good = context && EVP_EncryptInit_ex(context, EVP_aes_256_gcm(), NULL, vehicles->seal_key, sealed) == 1 &&
                bind_to(context, EVP_EncryptUpdate, hash, reference) &&
                EVP_EncryptUpdate(context, text, &length, vin.data, CLOUD_VIN_LENGTH) == 1 &&
                EVP_EncryptFinal_ex(context, text + CLOUD_VIN_LENGTH, &length) == 1 &&
                EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_GET_TAG, 16, text + CLOUD_VIN_LENGTH) == 1;
    EVP_CIPHER_CTX_free(context);
    return good;
}

bool seal_open(const struct cloud_vehicles *vehicles, const uint8_t sealed[VIN_SEALED_BYTES],
               const uint8_t hash[VIN_HASH_BYTES], struct span reference, char vin[CLOUD_VIN_LENGTH + 1])
{
    EVP_CIPHER_CTX *context = EVP_CIPHER_CTX_new();
    const uint8_t *text = sealed + VIN_NONCE_BYTES;
    uint8_t plain[CLOUD_VIN_LENGTH], tag[16], end[16];
    int length;
    memcpy(tag, text + CLOUD_VIN_LENGTH, sizeof(tag));
    bool good = context && EVP_DecryptInit_ex(context, EVP_aes_256_gcm(), NULL, vehicles->seal_key, sealed) == 1 &&
                bind_to(context, EVP_DecryptUpdate, hash, reference) &&
                EVP_DecryptUpdate(context, plain, &length, text, CLOUD_VIN_LENGTH) == 1 &&
                EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_GCM_SET_TAG, 16, tag) == 1 &&
                EVP_DecryptFinal_ex(context, end, &length) == 1;
    EVP_CIPHER_CTX_free(context);
    if (good) {
        memcpy(vin, plain, CLOUD_VIN_LENGTH);
        vin[CLOUD_VIN_LENGTH] = 0;
    }
    OPENSSL_cleanse(plain, sizeof(plain));
    return good;
}
