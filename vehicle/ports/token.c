/* token.c: keys in a PKCS#11 token: they are made there, sign there, and are destroyed there; no copy of one exists anywhere else.
 *
 * A key is two objects of the token, the private half and the public one, with the same CKA_ID and the label "convoy NAME PURPOSE". The
 * private half is made sensitive and not extractable; a token that makes it otherwise is not used. What label and certificate
 * do not name is never touched. */
#include "token_internal.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>

enum { OBJECTS_MAX = 64, LABEL_MAX = 96 };

/* ---- objects: the lock is held, and there is a session ------------------------------------------------------------------------ */

/* Up to OBJECTS_MAX of them; -1: the token says why. */
static int find(struct ports_token *token, CK_ATTRIBUTE *like, CK_ULONG like_count, CK_OBJECT_HANDLE *found)
{
    CK_ULONG count = 0;
    CK_RV result = token->call->C_FindObjectsInit(token->session, like, like_count);
    if (result == CKR_OK) {
        result = token->call->C_FindObjects(token->session, found, OBJECTS_MAX, &count);
        token->call->C_FindObjectsFinal(token->session);
    }
    if (result == CKR_OK)
        return (int)count;
    token_failed(token, "cannot look for keys", result);
    return -1;
}

/* 0: it has no such attribute, or a longer one. */
static size_t attribute(struct ports_token *token, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type, void *out,
                        size_t capacity)
{
    CK_ATTRIBUTE asked = {type, out, capacity};
    CK_RV result = token->call->C_GetAttributeValue(token->session, object, &asked, 1);
    return result == CKR_OK && asked.ulValueLen <= capacity ? (size_t)asked.ulValueLen : 0;
}

/* CK_INVALID_HANDLE: not there. */
static CK_OBJECT_HANDLE find_private(struct ports_token *token, const struct token_key *key)
{
    CK_OBJECT_HANDLE found[OBJECTS_MAX];
    CK_OBJECT_CLASS private_key = CKO_PRIVATE_KEY;
    CK_KEY_TYPE type = CKK_EC;
    CK_ATTRIBUTE like[] = {{CKA_CLASS, &private_key, sizeof(private_key)},
                           {CKA_KEY_TYPE, &type, sizeof(type)},
                           {CKA_ID, (void *)(uintptr_t)key->id, key->id_length}};
    return find(token, like, 3, found) > 0 ? found[0] : CK_INVALID_HANDLE;
}

static size_t label_of(const struct ports_token *token, const char *purpose, char label[LABEL_MAX])
{
    return (size_t)snprintf(label, LABEL_MAX, "convoy %s %s", token->name, purpose);
}

/* ---- signing ---------------------------------------------------------------------------------------------------------------------- */

static bool sign(struct ports_token *token, const struct token_key *key, struct span digest, uint8_t *signature)
{
    CK_MECHANISM ecdsa = {CKM_ECDSA, NULL, 0};
    CK_ULONG length = TOKEN_SIGNATURE_BYTES;
    if (!token_session_ready(token))
        return false;
    CK_OBJECT_HANDLE private_key = find_private(token, key);
    if (private_key == CK_INVALID_HANDLE)
        return token_failed(token, "the key is gone", CKR_KEY_HANDLE_INVALID);
    CK_RV result = token->call->C_SignInit(token->session, &ecdsa, private_key);
    if (result == CKR_OK)
        result =
            token->call->C_Sign(token->session, (CK_BYTE *)(uintptr_t)digest.data, digest.length, signature, &length);
    return (result == CKR_OK && length == TOKEN_SIGNATURE_BYTES) || token_failed(token, "cannot sign", result);
}

bool token_sign(const struct token_key *key, struct span digest, uint8_t signature[TOKEN_SIGNATURE_BYTES])
{
    pthread_mutex_lock(&key->token->mutex);
    bool good = sign(key->token, key, digest, signature);
    pthread_mutex_unlock(&key->token->mutex);
    return good;
}

/* ---- making ------------------------------------------------------------------------------------------------------------------------- */

/* A point is stored as the standard says, within an OCTET STRING, or bare, as some tokens do. */
static bool read_point(struct ports_token *token, CK_OBJECT_HANDLE public_key, uint8_t point[TOKEN_POINT_BYTES])
{
    uint8_t stored[128];
    size_t length = attribute(token, public_key, CKA_EC_POINT, stored, sizeof(stored));
    bool wrapped = length == TOKEN_POINT_BYTES + 2 && stored[0] == 0x04 && stored[1] == TOKEN_POINT_BYTES;
    if (!wrapped && length != TOKEN_POINT_BYTES)
        return false;
    memcpy(point, stored + (wrapped ? 2 : 0), TOKEN_POINT_BYTES);
    return true;
}

static bool stays_inside(struct ports_token *token, CK_OBJECT_HANDLE private_key)
{
    CK_BBOOL sensitive = CK_FALSE, extractable = CK_TRUE;
    return attribute(token, private_key, CKA_SENSITIVE, &sensitive, sizeof(sensitive)) && sensitive &&
           attribute(token, private_key, CKA_EXTRACTABLE, &extractable, sizeof(extractable)) && !extractable;
}

static bool make_pair(struct ports_token *token, const char *purpose, const struct token_key *key,
                      CK_OBJECT_HANDLE pair[2])
{
    static const uint8_t p256[] = {0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07}; /* OID prime256v1 */
    char label[LABEL_MAX];
    CK_BBOOL yes = CK_TRUE, no = CK_FALSE;
    CK_KEY_TYPE type = CKK_EC;
    CK_MECHANISM generate = {CKM_EC_KEY_PAIR_GEN, NULL, 0};
    CK_ATTRIBUTE named = {CKA_LABEL, label, label_of(token, purpose, label)};
    CK_ATTRIBUTE numbered = {CKA_ID, (void *)(uintptr_t)key->id, key->id_length};
    CK_ATTRIBUTE public_half[] = {{CKA_EC_PARAMS, (void *)(uintptr_t)p256, sizeof(p256)},
                                  {CKA_KEY_TYPE, &type, sizeof(type)},
                                  {CKA_TOKEN, &yes, sizeof(yes)},
                                  {CKA_VERIFY, &yes, sizeof(yes)},
                                  named,
                                  numbered};
    CK_ATTRIBUTE private_half[] = {{CKA_KEY_TYPE, &type, sizeof(type)},
                                   {CKA_TOKEN, &yes, sizeof(yes)},
                                   {CKA_PRIVATE, &yes, sizeof(yes)},
                                   {CKA_SENSITIVE, &yes, sizeof(yes)},
                                   {CKA_EXTRACTABLE, &no, sizeof(no)},
                                   {CKA_SIGN, &yes, sizeof(yes)},
                                   {CKA_DERIVE, &no, sizeof(no)},
                                   named,
                                   numbered};
    CK_RV result = token->call->C_GenerateKeyPair(token->session, &generate, public_half,
                                                  sizeof(public_half) / sizeof(public_half[0]), private_half,
                                                  sizeof(private_half) / sizeof(private_half[0]), &pair[0], &pair[1]);
    return result == CKR_OK || token_failed(token, "cannot make a key", result);
}

static EVP_PKEY *generate(struct ports_token *token, const char *purpose)
{
    struct token_key key = {.token = token, .id_length = TOKEN_ID_BYTES};
    CK_OBJECT_HANDLE pair[2];
    uint8_t point[TOKEN_POINT_BYTES];
    if (!token_session_ready(token))
        return NULL;
    CK_RV result = token->call->C_GenerateRandom(token->session, key.id, TOKEN_ID_BYTES);
    if (result != CKR_OK) {
        token_failed(token, "has no random numbers", result);
        return NULL;
    }
    if (!make_pair(token, purpose, &key, pair))
        return NULL;
    EVP_PKEY *made = NULL;
    if (!stays_inside(token, pair[1]))
        snprintf(token->why, sizeof(token->why), "token '%s' makes keys that can leave it", token->address.label);
    else if (!read_point(token, pair[0], point) || !(made = token_key_wrap(&key, point)))
        snprintf(token->why, sizeof(token->why), "token '%s' makes keys that are no P-256 keys", token->address.label);
    if (made)
        return made;
    token->call->C_DestroyObject(token->session, pair[0]);
    token->call->C_DestroyObject(token->session, pair[1]);
    return NULL;
}

EVP_PKEY *ports_token_generate(struct ports_token *token, const char *purpose)
{
    pthread_mutex_lock(&token->mutex);
    EVP_PKEY *key = generate(token, purpose);
    pthread_mutex_unlock(&token->mutex);
    return key;
}

/* ---- finding -------------------------------------------------------------------------------------------------------------------------- */

/* Its public key within an OCTET STRING. false: no certificate, or not of P-256. */
static bool point_of(struct span certificate, uint8_t wrapped[TOKEN_POINT_BYTES + 2])
{
    const unsigned char *at = certificate.data;
    X509 *x509 = certificate.length ? d2i_X509(NULL, &at, (long)certificate.length) : NULL;
    EVP_PKEY *key = x509 ? X509_get0_pubkey(x509) : NULL;
    unsigned char *point = NULL;
    bool good = key && EVP_PKEY_is_a(key, "EC") && EVP_PKEY_get1_encoded_public_key(key, &point) == TOKEN_POINT_BYTES;
    if (good) {
        wrapped[0] = 0x04;
        wrapped[1] = TOKEN_POINT_BYTES;
        memcpy(wrapped + 2, point, TOKEN_POINT_BYTES);
    }
    OPENSSL_free(point);
    X509_free(x509);
    return good;
}

static bool find_public(struct ports_token *token, uint8_t *point, size_t length, struct token_key *key)
{
    CK_OBJECT_HANDLE found[OBJECTS_MAX];
    CK_OBJECT_CLASS public_key = CKO_PUBLIC_KEY;
    CK_ATTRIBUTE like[] = {{CKA_CLASS, &public_key, sizeof(public_key)}, {CKA_EC_POINT, point, length}};
    int count = find(token, like, 2, found);
    for (int i = 0; i < count; i++) {
        key->id_length = attribute(token, found[i], CKA_ID, key->id, sizeof(key->id));
        if (key->id_length && find_private(token, key) != CK_INVALID_HANDLE)
            return true;
    }
    return false;
}

static EVP_PKEY *key_of_point(struct ports_token *token, uint8_t wrapped[TOKEN_POINT_BYTES + 2])
{
    struct token_key key = {.token = token};
    token->why[0] = 0;
    if (!token_session_ready(token))
        return NULL;
    if (find_public(token, wrapped, TOKEN_POINT_BYTES + 2, &key) ||
        find_public(token, wrapped + 2, TOKEN_POINT_BYTES, &key))
        return token_key_wrap(&key, wrapped + 2);
    if (!token->why[0])
        snprintf(token->why, sizeof(token->why), "token '%s' has no key for the certificate", token->address.label);
    return NULL;
}

EVP_PKEY *ports_token_key(struct ports_token *token, struct span certificate)
{
    uint8_t wrapped[TOKEN_POINT_BYTES + 2];
    if (!point_of(certificate, wrapped))
        return NULL;
    pthread_mutex_lock(&token->mutex);
    EVP_PKEY *key = key_of_point(token, wrapped);
    pthread_mutex_unlock(&token->mutex);
    return key;
}

/* ---- destroying ----------------------------------------------------------------------------------------------------------------------- */

static bool has_id(const EVP_PKEY *kept, const uint8_t *id, size_t length)
{
    const struct token_key *key = kept ? token_key_of(kept) : NULL;
    return key && key->id_length == length && memcmp(key->id, id, length) == 0;
}

/* The private half first: what a power cut leaves of a key then signs nothing. */
static bool sweep(struct ports_token *token, CK_OBJECT_CLASS class, const char *purpose, const EVP_PKEY *kept,
                  const EVP_PKEY *kept_too)
{
    CK_OBJECT_HANDLE found[OBJECTS_MAX];
    char label[LABEL_MAX];
    CK_ATTRIBUTE like[] = {{CKA_CLASS, &class, sizeof(class)}, {CKA_LABEL, label, label_of(token, purpose, label)}};
    int count = find(token, like, 2, found);
    for (int i = 0; i < count; i++) {
        uint8_t id[32];
        size_t length = attribute(token, found[i], CKA_ID, id, sizeof(id));
        if (length && (has_id(kept, id, length) || has_id(kept_too, id, length)))
            continue;
        CK_RV result = token->call->C_DestroyObject(token->session, found[i]);
        if (result != CKR_OK)
            return token_failed(token, "cannot destroy a key", result);
    }
    return count >= 0;
}

bool ports_token_sweep(struct ports_token *token, const char *purpose, const EVP_PKEY *kept, const EVP_PKEY *kept_too)
{
    pthread_mutex_lock(&token->mutex);
    bool good = token_session_ready(token) && sweep(token, CKO_PRIVATE_KEY, purpose, kept, kept_too) &&
                sweep(token, CKO_PUBLIC_KEY, purpose, kept, kept_too);
    pthread_mutex_unlock(&token->mutex);
    return good;
}

void ports_token_why(struct ports_token *token, char *out, size_t capacity)
{
    pthread_mutex_lock(&token->mutex);
    snprintf(out, capacity, "%s", token->why);
    pthread_mutex_unlock(&token->mutex);
}

/* ---- beginning and end ------------------------------------------------------------------------------------------------------------------ */

static bool set_up(struct ports_token *token, const struct tcu_run_options *options)
{
    const char *module = options->token_module ? options->token_module : getenv("PKCS11_MODULE_PATH");
    if (!module || !*module)
        module = "p11-kit-proxy.so"; /* all modules that p11-kit is told of */
    snprintf(token->name, sizeof(token->name), "%s", options->name);
    snprintf(token->pin_file, sizeof(token->pin_file), "%s", options->pin_file ? options->pin_file : "");
    snprintf(token->module, sizeof(token->module), "%s", module);
    if (!token_address_read(&token->address, options->token, token->why, sizeof(token->why)) ||
        !token_library_open(token) || !token_session_ready(token))
        return false;
    if (ports_token_tls_open(token))
        return true;
    snprintf(token->why, sizeof(token->why), "OpenSSL takes no key of a token");
    return false;
}

struct ports_token *ports_token_open(const struct tcu_run_options *options, char *error, size_t error_capacity)
{
    struct ports_token *token = calloc(1, sizeof(*token));
    if (!token) {
        snprintf(error, error_capacity, "out of memory");
        return NULL;
    }
    pthread_mutex_init(&token->mutex, NULL);
    if (set_up(token, options))
        return token;
    snprintf(error, error_capacity, "%s", token->why);
    ports_token_close(token);
    return NULL;
}

void ports_token_close(struct ports_token *token)
{
    if (!token)
        return;
    ports_token_tls_close(token);
    X509_free(token->shown);
    EVP_PKEY_free(token->shown_key);
    token_library_close(token);
    pthread_mutex_destroy(&token->mutex);
    free(token);
}
