/* ports_internal.h: what the parts of the reference TCU ask of each other.
 *
 *   tcu.c         the program: struct tcu_port, the loop, its deadlines
 *   session.c     struct tcu_mqtt on Paho MQTTAsync
 *   store.c       what outlives a power cut, as files
 *   enroll.c      the certificate broker over libcurl
 *   token.c       keys in a PKCS#11 token: making, finding, destroying them, and how it is reached (token_session.c)
 *   token_key.c   such a key as one of OpenSSL's
 *   token_tls.c   such a key in Paho's and libcurl's handshakes
 */
#ifndef PORTS_INTERNAL_H
#define PORTS_INTERNAL_H

#include "vehicle/crypto.h"
#include "vehicle/tcu.h"

#include <MQTTAsync.h>
#include <curl/curl.h>
#include <openssl/types.h>
#include <pthread.h>

#define PORTS_PATH_MAX 512

/* ---- crypto.c: as in vehicle/crypto.h, with keys as OpenSSL has them ---- */
/* Returns the length, 0: none. */
size_t ports_crypto_request(EVP_PKEY *key, struct span common_name, uint8_t *out, size_t capacity);
/* To be read from its beginning. NULL: *error has one line. */
BIO *ports_open_file(const char *path, char *error, size_t error_capacity);
size_t ports_crypto_certificate(struct span answer, EVP_PKEY *key, uint8_t *out, size_t capacity);

/* ---- token.c, token_session.c: one lock, so from any thread ---- */
struct ports_token;
/* NULL: *error has one line. */
struct ports_token *ports_token_open(const struct tcu_run_options *options, char *error, size_t error_capacity);
void ports_token_close(struct ports_token *token); /* no key of it may be in use any more */
/* A fresh P-256 key beside those that are there; `purpose` is part of its label. Keys are freed with EVP_PKEY_free(), which leaves them in the
 * token. NULL: ports_token_why(). */
EVP_PKEY *ports_token_generate(struct ports_token *token, const char *purpose);
/* The key that a certificate (DER) belongs to, whoever made it. NULL: none is there. */
EVP_PKEY *ports_token_key(struct ports_token *token, struct span certificate);
/* Destroys this TCU's keys of that purpose but these two, each of which may be NULL. */
bool ports_token_sweep(struct ports_token *token, const char *purpose, const EVP_PKEY *kept, const EVP_PKEY *kept_too);
/* Of the last call that failed, in any thread. */
void ports_token_why(struct ports_token *token, char *out, size_t capacity);

/* ---- token_tls.c ---- */
bool ports_token_tls_open(struct ports_token *token);
void ports_token_tls_close(struct ports_token *token);
/* From now on Paho's handshakes show this certificate (a file) with its key in the token. NULL: none, or that of a file of theirs. */
bool ports_token_show(struct ports_token *token, const char *certificate_path);
/* One handshake of libcurl's: its SSL_CTX shows this certificate; NULL: none, or that of a file. */
bool ports_token_show_once(struct ports_token *token, SSL_CTX *tls, const char *certificate_path);

/* ---- store.c ---- */
struct ports_store {
    struct ports_token *token; /* where keys are; NULL: in the files */
    char directory[PORTS_PATH_MAX];
    char identity_path[2][PORTS_PATH_MAX + 32]; /* a slot's certificate and key in one file: one rename changes both */
    struct {
        uint8_t bytes[TCU_KEY_MAX]; /* made, but its certificate has not come yet */
        size_t length;
        EVP_PKEY *in_token; /* instead of bytes */
    } key[2];
};
/* The token, if any, outlives the store. */
bool ports_store_open(struct ports_store *store, const char *directory, struct ports_token *token, char *error,
                      size_t error_capacity);
void ports_store_close(struct ports_store *store);
/* A fresh key for a slot and a request signed by it. Returns the request's length, 0: none. */
size_t ports_store_make_key(struct ports_store *store, int slot, struct span common_name, uint8_t *request,
                            size_t capacity);
bool ports_store_write(struct ports_store *store, enum tcu_store_item item, struct span value);
size_t ports_store_read(struct ports_store *store, enum tcu_store_item item, int64_t now_s, uint8_t *out,
                        size_t capacity);

/* ---- enroll.c ---- */
struct ports_enroll {
    CURLM *multi;
    CURL *request;             /* NULL: none under way */
    struct ports_token *token; /* NULL: keys are files */
    const char *in_token;      /* the certificate whose key it has, for this request */
    struct curl_slist *headers;
    char *body; /* base64 */
    uint8_t answer[16384];
    size_t answer_length;
    char error[CURL_ERROR_SIZE];
};
bool ports_enroll_open(struct ports_enroll *enroll, struct ports_token *token);
/* Begins; what was under way is given up. false: cannot begin. */
bool ports_enroll_begin(struct ports_enroll *enroll, const struct tcu_run_options *options,
                        const struct tcu_http_request *request);
/* Goes on; true when it has ended: *status (0: no answer) and enroll->answer. */
bool ports_enroll_step(struct ports_enroll *enroll, int *status);
void ports_enroll_close(struct ports_enroll *enroll);

/* ---- session.c ---- */
enum { PORTS_OUTGOING_MAX = 16 };

struct ports_event;
/* One attempt at a connection and its client; callbacks name it, so that what belongs to an earlier one is known as such. */
struct ports_attempt {
    struct ports_session *session;
    uint32_t number;
};

struct ports_session {
    struct tcu *tcu;
    const struct tcu_run_options *options;
    const struct ports_store *store; /* whose identities are shown */
    int wake_fd;                     /* written when an event is queued */
    char uri[PORTS_PATH_MAX];
    bool tls;

    MQTTAsync client, leaving;                   /* leaving: its DISCONNECT is on the way */
    struct ports_attempt attempts[16], *attempt; /* NULL: none */
    uint32_t last_number;
    bool online;
    uint8_t peer_qos;
    uint16_t peer_receive_maximum;
    uint32_t outstanding[PORTS_OUTGOING_MAX]; /* tokens sent, whose end is not known */
    unsigned outstanding_count;
    char why[160];         /* of the last failure */
    char token_error[160]; /* why this attempt has no certificate to show */

    pthread_mutex_t mutex; /* for what follows */
    struct ports_event *first, **last;
    char tls_error[160];
};
extern const struct tcu_mqtt ports_session_mqtt;
bool ports_session_open(struct ports_session *session, const struct tcu_run_options *options,
                        const struct ports_store *store, int wake_fd, char *error, size_t error_capacity);
/* Tells the agent what has happened. */
void ports_session_run(struct ports_session *session, int64_t now_us);
bool ports_session_left(const struct ports_session *session); /* no DISCONNECT is on its way any more */
void ports_session_close(struct ports_session *session);

#endif
