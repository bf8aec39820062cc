/* token_tls.c: handshakes with a key of the token.
 *
 * libcurl lets us at its SSL_CTX. Paho (1.3) does not: it knows names of key files and has no callback that sees its SSL_CTX. But OpenSSL tells
 * of each SSL that is made, to whoever has registered extra data for it, and the SSL_CTX behind that SSL is then complete: it gets a callback
 * that OpenSSL asks when the server wants a certificate and none was configured. That is documented behaviour on both counts, needs no
 * symbol of OpenSSL's to be replaced, and concerns this process only once a token is opened. Paho makes its SSLs on threads of its own
 * and only for the attempt under way, so one certificate at a time is shown to all of them. */
#include "token_internal.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

/* OpenSSL's callbacks bring nothing of ours along. One TCU a process, so one token. */
static pthread_mutex_t guard = PTHREAD_MUTEX_INITIALIZER;
static struct ports_token *shown_from;
static int ssl_index = -1;

static int on_certificate_wanted(SSL *ssl, X509 **certificate, EVP_PKEY **key)
{
    int given = 0;
    pthread_mutex_lock(&guard);
    if (shown_from && shown_from->shown && shown_from->shown_key) {
        *certificate = shown_from->shown;
        *key = shown_from->shown_key;
        given = X509_up_ref(*certificate) == 1 && EVP_PKEY_up_ref(*key) == 1;
    }
    pthread_mutex_unlock(&guard);
    return given;
}

static int on_certificate_wanted_once(SSL *ssl, X509 **certificate, EVP_PKEY **key)
{
    return 0; /* what this SSL_CTX shows was put into it, or it shows nothing */
}

static void on_ssl_made(void *parent, void *value, CRYPTO_EX_DATA *data, int index, long argument, void *context)
{
    SSL_CTX *tls = parent ? SSL_get_SSL_CTX(parent) : NULL;
    if (tls && !SSL_CTX_get_client_cert_cb(tls))
        SSL_CTX_set_client_cert_cb(tls, on_certificate_wanted);
}

bool ports_token_tls_open(struct ports_token *token)
{
    int index = SSL_get_ex_new_index(0, NULL, on_ssl_made, NULL, NULL);
    pthread_mutex_lock(&guard);
    bool good = index >= 0 && !shown_from;
    if (good) {
        ssl_index = index;
        shown_from = token;
    }
    pthread_mutex_unlock(&guard);
    return good;
}

void ports_token_tls_close(struct ports_token *token)
{
    pthread_mutex_lock(&guard);
    if (shown_from == token) {
        CRYPTO_free_ex_index(CRYPTO_EX_INDEX_SSL, ssl_index);
        ssl_index = -1;
        shown_from = NULL;
    }
    pthread_mutex_unlock(&guard);
}

/* Certificate and key, or neither. */
static bool load(struct ports_token *token, const char *path, X509 **certificate, EVP_PKEY **key)
{
    uint8_t der[TCU_CERTIFICATE_MAX];
    const unsigned char *at = der;
    char error[160];
    *certificate = NULL;
    *key = NULL;
    size_t length = tcu_crypto_read_certificate(path, der, sizeof(der), error, sizeof(error));
    if (length == 0) {
        pthread_mutex_lock(&token->mutex);
        snprintf(token->why, sizeof(token->why), "%.150s", error);
        pthread_mutex_unlock(&token->mutex);
        return false;
    }
    *key = ports_token_key(token, span_of(der, length));
    *certificate = *key ? d2i_X509(NULL, &at, (long)length) : NULL;
    if (*certificate)
        return true;
    EVP_PKEY_free(*key);
    *key = NULL;
    return false;
}

bool ports_token_show(struct ports_token *token, const char *certificate_path)
{
    X509 *certificate = NULL;
    EVP_PKEY *key = NULL;
    bool good = !certificate_path || load(token, certificate_path, &certificate, &key);
    pthread_mutex_lock(&guard);
    X509 *old_certificate = token->shown;
    EVP_PKEY *old_key = token->shown_key;
    token->shown = certificate;
    token->shown_key = key;
    pthread_mutex_unlock(&guard);
    X509_free(old_certificate);
    EVP_PKEY_free(old_key);
    return good;
}

bool ports_token_show_once(struct ports_token *token, SSL_CTX *tls, const char *certificate_path)
{
    X509 *certificate = NULL;
    EVP_PKEY *key = NULL;
    SSL_CTX_set_client_cert_cb(tls, on_certificate_wanted_once);
    if (!certificate_path)
        return true;
    bool good = load(token, certificate_path, &certificate, &key) && SSL_CTX_use_certificate(tls, certificate) == 1 &&
                SSL_CTX_use_PrivateKey(tls, key) == 1;
    X509_free(certificate);
    EVP_PKEY_free(key);
    ERR_clear_error();
    return good;
}
