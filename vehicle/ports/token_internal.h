/* token_internal.h: a PKCS#11 token between token.c (its objects), token_session.c (reaching it) and token_key.c (signing). */
#ifndef PORTS_TOKEN_INTERNAL_H
#define PORTS_TOKEN_INTERNAL_H

#include "ports_internal.h"

#include <p11-kit/pkcs11.h>

enum { TOKEN_ID_BYTES = 16, TOKEN_POINT_BYTES = 65, TOKEN_SIGNATURE_BYTES = 64 };

/* How a key is found again: CKA_ID of both its halves. */
struct token_key {
    struct ports_token *token;
    uint8_t id[32];
    size_t id_length;
};

/* Which token is meant (RFC 7512); an empty text fits all. */
struct token_address {
    char label[33], serial[17], manufacturer[33], model[17];
};

struct ports_token {
    pthread_mutex_t mutex; /* for all that follows: a session does one thing at a time */
    struct token_address address;
    char name[TCU_NAME_MAX + 1], module[PORTS_PATH_MAX], pin_file[PORTS_PATH_MAX];
    void *library;
    CK_FUNCTION_LIST *call;
    bool initialized, finalizes; /* finalizes: nobody else in the process had initialized the module */
    bool locked_out;             /* the PIN is wrong: trying again would use up the token's patience */
    bool login;                  /* it wants one */
    CK_SESSION_HANDLE session;   /* CK_INVALID_HANDLE: none */
    char why[200];
    X509 *shown; /* token_tls.c */
    EVP_PKEY *shown_key;
};

/* ---- token_session.c ---- */
bool token_address_read(struct token_address *address, const char *uri, char *error, size_t error_capacity);
bool token_library_open(struct ports_token *token);
void token_library_close(struct ports_token *token);
/* With the lock held. true: there is a session, and the user is logged in. */
bool token_session_ready(struct ports_token *token);
/* Notes what has failed; always false. */
bool token_failed(struct ports_token *token, const char *what, CK_RV result);

/* ---- token.c ---- */
/* Raw r and s of a digest, at most 32 bytes long. */
bool token_sign(const struct token_key *key, struct span digest, uint8_t signature[TOKEN_SIGNATURE_BYTES]);

/* ---- token_key.c ---- */
/* The public half as an uncompressed point. NULL: it is no point of P-256. */
EVP_PKEY *token_key_wrap(const struct token_key *key, const uint8_t point[TOKEN_POINT_BYTES]);
/* NULL: not one of ours. */
const struct token_key *token_key_of(const EVP_PKEY *key);

#endif
