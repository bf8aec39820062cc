/* store_press.c: identities by the hundred thousand. A certificate is made once by OpenSSL for each length of name; every other one is the same bytes with its own serial number,
 * name, public key and key identifier in them, signed by OpenSSL. What is left is a key pair and a signature, and those are the cost. */
#include "store_file.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <stdlib.h>

#define NAME_MAX_BYTES 63
#define POINT_BYTES    65
#define TBS_MAX        900

struct mould {
    uint16_t length; /* 0: not made yet */
    uint16_t serial, name, point, key_id;
    uint8_t tbs[TBS_MAX];
};

struct store_press {
    const struct cloud_identity_store *store;
    EVP_PKEY *ca_key;
    EVP_PKEY_CTX *keygen;
    EVP_MD *sha256;
    EVP_MD_CTX *signing;
    BIGNUM *secret;
    struct mould moulds[NAME_MAX_BYTES + 1];
};

struct store_press *store_press_open(const struct cloud_identity_store *store)
{
    struct store_press *press = calloc(1, sizeof *press);
    if (!press)
        return NULL;
    press->store = store;
    press->ca_key = EVP_PKEY_dup(store->pki->ca[store->ca].key);
    press->keygen = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
    press->sha256 = EVP_MD_fetch(NULL, "SHA256", NULL);
    press->signing = EVP_MD_CTX_new();
    press->secret = BN_secure_new();
    if (press->ca_key && press->keygen && press->sha256 && press->signing && press->secret &&
        EVP_PKEY_keygen_init(press->keygen) == 1 && EVP_PKEY_CTX_set_group_name(press->keygen, "P-256") == 1)
        return press;
    store_press_close(press);
    return NULL;
}

void store_press_close(struct store_press *press)
{
    if (!press)
        return;
    EVP_PKEY_free(press->ca_key);
    EVP_PKEY_CTX_free(press->keygen);
    EVP_MD_free(press->sha256);
    EVP_MD_CTX_free(press->signing);
    BN_clear_free(press->secret);
    free(press);
    ERR_clear_error();
}

/* ---- moulds ---------------------------------------------------------------------------------------------------------- */

/* Eight bytes in every case, so that all serial numbers are of one length. */
static uint64_t serial_of_eight(void)
{
    return (real_serial() & ~(UINT64_C(3) << 62)) | UINT64_C(1) << 62;
}

static bool find(const struct mould *mould, const void *what, size_t length, uint16_t *at)
{
    for (size_t i = 0; i + length <= mould->length; i++)
        if (memcmp(mould->tbs + i, what, length) == 0) {
            *at = (uint16_t)i;
            return true;
        }
    return false;
}

static bool point_of(EVP_PKEY *key, uint8_t point[POINT_BYTES])
{
    size_t length = 0;
    return EVP_PKEY_get_octet_string_param(key, OSSL_PKEY_PARAM_PUB_KEY, point, POINT_BYTES, &length) == 1 &&
           length == POINT_BYTES && point[0] == 4;
}

static bool take_apart(struct mould *mould, X509 *x509, EVP_PKEY *key, uint64_t serial, const char *name)
{
    uint8_t wanted[8 + NAME_MAX_BYTES] = {6, 3, 0x55, 4, 3, 0x0C}, point[POINT_BYTES], key_id[20], number[8];
    size_t length = strlen(name);
    unsigned char *at = mould->tbs;
    int bytes = i2d_re_X509_tbs(x509, NULL);
    if (bytes <= 0 || bytes > TBS_MAX || !point_of(key, point))
        return false;
    mould->length = (uint16_t)i2d_re_X509_tbs(x509, &at);
    wanted[6] = (uint8_t)length;
    memcpy(wanted + 7, name, length);
    for (int i = 0; i < 8; i++)
        number[i] = (uint8_t)(serial >> (56 - 8 * i));
    SHA1(point, sizeof point, key_id);
    bool good = find(mould, wanted, 7 + length, &mould->name) && find(mould, point, sizeof point, &mould->point) &&
                find(mould, key_id, sizeof key_id, &mould->key_id) && find(mould, number, 8, &mould->serial);
    mould->name += 7;
    if (!good)
        mould->length = 0;
    return good;
}

static const struct mould *mould_for(struct store_press *press, size_t name_length)
{
    struct mould *mould = &press->moulds[name_length];
    if (mould->length)
        return mould;
    const struct cloud_identity_store *store = press->store;
    struct real_extras extras = {.url = store->pki->store->url, .ca_file = identity_ca_file[store->ca]};
    char name[NAME_MAX_BYTES + 1] = "";
    memset(name, '#', name_length);
    uint64_t serial = serial_of_eight();
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *x509 =
        key ? real_sign(key, name, serial, store->pki->ca[store->ca].x509, press->ca_key, store->head.not_before_s,
                        store->head.not_before_s + store->head.lifetime_s, REAL_CLIENT, &extras)
            : NULL;
    bool good = x509 && take_apart(mould, x509, key, serial, name);
    X509_free(x509);
    EVP_PKEY_free(key);
    return good ? mould : NULL;
}

/* ---- one identity ---------------------------------------------------------------------------------------------------- */

static bool write_key(struct store_press *press, EVP_PKEY *key, const uint8_t point[POINT_BYTES], uint8_t *out)
{
    static const uint8_t head[] = {0x30, 0x81, 0x87, 0x02, 0x01, 0x00, 0x30, 0x13, 0x06, 0x07, 0x2A, 0x86,
                                   0x48, 0xCE, 0x3D, 0x02, 0x01, 0x06, 0x08, 0x2A, 0x86, 0x48, 0xCE, 0x3D,
                                   0x03, 0x01, 0x07, 0x04, 0x6D, 0x30, 0x6B, 0x02, 0x01, 0x01, 0x04, 0x20},
                         between[] = {0xA1, 0x44, 0x03, 0x42, 0x00};
    memcpy(out, head, sizeof head);
    bool good = EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_PRIV_KEY, &press->secret) == 1 &&
                BN_bn2binpad(press->secret, out + sizeof head, 32) == 32;
    memcpy(out + sizeof head + 32, between, sizeof between);
    memcpy(out + sizeof head + 32 + sizeof between, point, POINT_BYTES);
    return good;
}

/* SEQUENCE { tbs, ecdsa-with-SHA256, BIT STRING { signature } }; 0: it does not fit. */
static size_t put_together(const uint8_t *tbs, size_t tbs_length, const uint8_t *signature, size_t signature_length,
                           uint8_t *out, size_t capacity)
{
    static const uint8_t algorithm[] = {0x30, 0x0A, 0x06, 0x08, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x04, 0x03, 0x02};
    size_t inner = tbs_length + sizeof algorithm + 3 + signature_length, at = 4;
    if (inner < 256 || inner > 0xFFFF || signature_length > 126 || inner + 4 > capacity)
        return 0;
    out[0] = 0x30;
    out[1] = 0x82;
    out[2] = (uint8_t)(inner >> 8);
    out[3] = (uint8_t)inner;
    memcpy(out + at, tbs, tbs_length);
    at += tbs_length;
    memcpy(out + at, algorithm, sizeof algorithm);
    at += sizeof algorithm;
    out[at++] = 0x03;
    out[at++] = (uint8_t)(signature_length + 1);
    out[at++] = 0;
    memcpy(out + at, signature, signature_length);
    return at + signature_length;
}

const char *store_press_make(struct store_press *press, struct cloud_certificate *issued, struct store_slot *slot)
{
    static const char impossible[] = "an identity cannot be made";
    uint8_t tbs[TBS_MAX], point[POINT_BYTES], signature[80];
    size_t name_length = strlen(issued->common_name), signature_length = sizeof signature;
    const struct mould *mould = mould_for(press, name_length);
    EVP_PKEY *key = NULL;
    if (!mould || EVP_PKEY_generate(press->keygen, &key) != 1)
        return impossible;
    issued->serial = serial_of_eight();
    memcpy(tbs, mould->tbs, mould->length);
    bool good = point_of(key, point);
    for (int i = 0; i < 8; i++)
        tbs[mould->serial + i] = (uint8_t)(issued->serial >> (56 - 8 * i));
    memcpy(tbs + mould->name, issued->common_name, name_length);
    memcpy(tbs + mould->point, point, sizeof point);
    SHA1(point, sizeof point, tbs + mould->key_id);
    good = good && EVP_DigestSignInit(press->signing, NULL, press->sha256, NULL, press->ca_key) == 1 &&
           EVP_DigestSign(press->signing, signature, &signature_length, tbs, mould->length) == 1;
    EVP_MD_CTX_reset(press->signing);
    size_t length = good ? put_together(tbs, mould->length, signature, signature_length, slot->bytes,
                                        sizeof slot->bytes - STORE_KEY_BYTES)
                         : 0;
    bool fits = length > 0 && write_key(press, key, point, slot->bytes + length);
    EVP_PKEY_free(key);
    if (!fits)
        return good ? "a certificate is too long for its slot; take a shorter public URL" : impossible;
    slot->certificate_length = (uint16_t)length;
    slot->key_length = STORE_KEY_BYTES;
    identity_sha256(slot->bytes, length, issued->id);
    return NULL;
}
