/* tls.c: one context a door. Clients are verified against one CA only, as a trust anchor of its own, so that a certificate of another of our CAs does not
 * pass, whatever chain it brings. */
#include "serve_internal.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>

static int choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_length, const unsigned char *in,
                           unsigned in_length, void *use)
{
    static const unsigned char mqtt[] = "\x04mqtt\x0ex-amzn-mqtt-ca", http[] = "\x08http/1.1";
    bool https = use != NULL;
    unsigned char *chosen;
    int found = SSL_select_next_proto(&chosen, out_length, https ? http : mqtt,
                                      https ? sizeof(http) - 1 : sizeof(mqtt) - 1, in, in_length);
    if (found != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

static int demand_server_name(SSL *ssl, int *alert, void *unused)
{
    if (SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name))
        return SSL_TLSEXT_ERR_OK;
    *alert = SSL_AD_UNRECOGNIZED_NAME;
    return SSL_TLSEXT_ERR_ALERT_FATAL;
}

static bool trust(SSL_CTX *context, const struct cloud_pki *pki, enum cloud_ca ca)
{
    struct span bytes = cloud_pki_ca_bytes(pki, ca);
    const unsigned char *at = bytes.data;
    X509 *anchor = d2i_X509(NULL, &at, bytes.length);
    X509_STORE *store = SSL_CTX_get_cert_store(context);
    bool good = anchor && X509_STORE_add_cert(store, anchor) == 1 && SSL_CTX_add_client_CA(context, anchor) == 1;
    X509_STORE_set_flags(store, X509_V_FLAG_PARTIAL_CHAIN);
    X509_free(anchor);
    return good;
}

static bool set_up(SSL_CTX *context, const struct cloud_serve_options *options, const struct cloud_pki *pki,
                   enum serve_tls use)
{
    char certificate[640], key[640];
    snprintf(certificate, sizeof(certificate), "%s/server.crt", options->pki_directory);
    snprintf(key, sizeof(key), "%s/server.key", options->pki_directory);
    SSL_CTX_set_min_proto_version(context, options->tls12 ? TLS1_2_VERSION : TLS1_3_VERSION);
    SSL_CTX_set_mode(context,
                     SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(
        context, use != SERVE_TLS_HTTPS); /* one call a record in place of two; libevent does not look behind it */
    SSL_CTX_set_options(context, SSL_OP_IGNORE_UNEXPECTED_EOF | SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_num_tickets(context, use == SERVE_TLS_HTTPS ? 0 : 1); /* one is enough for a device that resumes */
    SSL_CTX_set_session_id_context(context, (const unsigned char *)&"mutual\0passwd\0https\0"[use * 7], 6);
    SSL_CTX_set_alpn_select_cb(context, choose_protocol, use == SERVE_TLS_HTTPS ? context : NULL);
    if (options->require_server_name)
        SSL_CTX_set_tlsext_servername_callback(context, demand_server_name);
    if (use == SERVE_TLS_MUTUAL)
        SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    if (use == SERVE_TLS_HTTPS)
        SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    return SSL_CTX_use_certificate_chain_file(context, certificate) == 1 &&
           SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) == 1 &&
           (use == SERVE_TLS_PASSWORD ||
            trust(context, pki, use == SERVE_TLS_MUTUAL ? CLOUD_CA_OPERATIONAL : CLOUD_CA_ATTESTATION));
}

SSL_CTX *serve_tls_context(const struct cloud_serve_options *options, const struct cloud_pki *pki, enum serve_tls use,
                           char *error, size_t error_capacity)
{
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    if (context && set_up(context, options, pki, use))
        return context;
    unsigned long code = ERR_get_error();
    const char *reason = ERR_reason_error_string(code);
    snprintf(error, error_capacity, "TLS: the server's certificate in %s cannot be used: %s", options->pki_directory,
             reason ? reason : "out of memory");
    ERR_clear_error();
    SSL_CTX_free(context);
    return NULL;
}

bool serve_tls_peer(SSL *ssl, const struct cloud_pki *pki, enum cloud_ca issuer, struct cloud_peer *peer, uint8_t **der)
{
    struct cloud_certificate certificate;
    X509 *x509 = SSL_get0_peer_certificate(ssl);
    unsigned char *bytes = NULL;
    int length = x509 ? i2d_X509(x509, &bytes) : 0;
    *der = length > 0 ? malloc((size_t)length) : NULL;
    if (*der)
        memcpy(*der, bytes, (size_t)length);
    OPENSSL_free(bytes);
    if (!*der || !cloud_certificate_read(span_of(*der, (size_t)length), &certificate)) {
        free(*der);
        *der = NULL;
        return false;
    }
    /* The only anchor of this door, and it may sign no further CA (path length 0): who else could have issued it? */
    memcpy(certificate.issuer_id, cloud_pki_ca(pki, issuer)->id, 32);
    cloud_peer_from_certificate(peer, &certificate, span_of(*der, (size_t)length));
    return true;
}
