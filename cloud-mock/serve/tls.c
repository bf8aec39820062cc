/* tls.c: one context a door. Clients are verified against the CAs of that door only, as trust anchors of their own, so that a certificate of another of our
 * CAs does not pass, whatever chain it brings.
 *
 * The MQTT door refuses what is revoked or out of its validity in the handshake, with the alert that says so; a session that would be resumed is looked at
 * again, as nothing is verified then. The HTTPS door lets such certificates through the handshake: the certificate broker answers them. */
#include "serve_internal.h"

#include "cloud/pki_store.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>

static int choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_length, const unsigned char *in,
                           unsigned in_length, void *use)
{
    static const unsigned char mqtt[] = "\x04mqtt\x0ex-amzn-mqtt-ca", http[] = "\x08http/1.1";
    bool https = use != NULL; /* and WebSocket, which begins as HTTP */
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

/* ---- who is let in ---------------------------------------------------------------------------------------------------- */

static const enum cloud_ca mutual_ca[] = {CLOUD_CA_OPERATIONAL, CLOUD_CA_CLAIM},
                           https_ca[] = {CLOUD_CA_ATTESTATION, CLOUD_CA_OPERATIONAL};

/* The anchors of a door are subordinate CAs that may sign no further CA (path length 0): the one whose key the certificate states has signed
 * it, or the handshake would have failed. */
static bool issuer_of(X509 *x509, const struct cloud_pki *pki, enum cloud_ca *ca)
{
    const ASN1_OCTET_STRING *key_id = X509_get0_authority_key_id(x509);
    for (int i = CLOUD_CA_OPERATIONAL; key_id && i < CLOUD_CA_COUNT; i++)
        if (ASN1_STRING_length(key_id) == 20 &&
            memcmp(ASN1_STRING_get0_data(key_id), cloud_pki_ca(pki, (enum cloud_ca)i)->key_id, 20) == 0) {
            *ca = (enum cloud_ca)i;
            return true;
        }
    return false;
}

static bool is_revoked(struct cloud_pki *pki, X509 *x509)
{
    uint64_t serial;
    enum cloud_ca ca;
    bool known = ASN1_INTEGER_get_uint64(&serial, X509_get0_serialNumber(x509)) == 1;
    ERR_clear_error();
    return known && issuer_of(x509, pki, &ca) && cloud_pki_is_revoked(pki, ca, serial);
}

static struct cloud_pki *pki_of(const SSL *ssl)
{
    return SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
}

static int refuse_revoked(int good, X509_STORE_CTX *store)
{
    if (good != 1 || X509_STORE_CTX_get_error_depth(store) != 0)
        return good;
    SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    if (!is_revoked(pki_of(ssl), X509_STORE_CTX_get_current_cert(store)))
        return 1;
    X509_STORE_CTX_set_error(store, X509_V_ERR_CERT_REVOKED);
    return 0;
}

static int accept_out_of_time(int good, X509_STORE_CTX *store)
{
    int error = X509_STORE_CTX_get_error(store);
    if (good == 1 || X509_STORE_CTX_get_error_depth(store) != 0 ||
        (error != X509_V_ERR_CERT_HAS_EXPIRED && error != X509_V_ERR_CERT_NOT_YET_VALID))
        return good;
    X509_STORE_CTX_set_error(store, X509_V_OK);
    return 1;
}

/* A ticket of somebody who would not be let in today is no ticket: the full handshake that follows says why. */
static SSL_TICKET_RETURN use_ticket(SSL *ssl, SSL_SESSION *session, const unsigned char *name, size_t name_length,
                                    SSL_TICKET_STATUS status, void *unused)
{
    if (status == SSL_TICKET_EMPTY)
        return SSL_TICKET_RETURN_IGNORE_RENEW;
    if (status == SSL_TICKET_NO_DECRYPT)
        return SSL_TICKET_RETURN_IGNORE_RENEW;
    X509 *x509 = SSL_SESSION_get0_peer(session);
    if (!x509 || X509_cmp_current_time(X509_get0_notAfter(x509)) < 0 || is_revoked(pki_of(ssl), x509))
        return SSL_TICKET_RETURN_IGNORE_RENEW;
    return status == SSL_TICKET_SUCCESS_RENEW ? SSL_TICKET_RETURN_USE_RENEW : SSL_TICKET_RETURN_USE;
}

static int keep_nothing_else(SSL *ssl, void *unused)
{
    return 1;
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

static bool trust_operators(SSL_CTX *context, const char *directory)
{
    X509 *anchor = operators_anchor(directory);
    bool good = anchor && X509_STORE_add_cert(SSL_CTX_get_cert_store(context), anchor) == 1 &&
                SSL_CTX_add_client_CA(context, anchor) == 1;
    X509_free(anchor);
    return good;
}

static bool set_up(SSL_CTX *context, const struct cloud_serve_options *options, struct cloud_pki *pki,
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
    SSL_CTX_set_session_id_context(context, (const unsigned char *)&"mutual\0passwd\0https\0\0websoc"[use * 7], 6);
    SSL_CTX_set_alpn_select_cb(context, choose_protocol,
                               use == SERVE_TLS_HTTPS || use == SERVE_TLS_WEB ? context : NULL);
    if (options->require_server_name)
        SSL_CTX_set_tlsext_servername_callback(context, demand_server_name);
    SSL_CTX_set_app_data(context, pki);
    if (use == SERVE_TLS_MUTUAL) {
        SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, refuse_revoked);
        SSL_CTX_set_session_ticket_cb(context, keep_nothing_else, use_ticket, NULL);
        SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF); /* tickets only: those are looked at */
    }
    if (use == SERVE_TLS_HTTPS)
        SSL_CTX_set_verify(context, SSL_VERIFY_PEER, accept_out_of_time);
    if (use == SERVE_TLS_HTTPS && options->operators && !trust_operators(context, options->pki_directory))
        return false;
    const enum cloud_ca *anchors = use == SERVE_TLS_MUTUAL ? mutual_ca : https_ca;
    return SSL_CTX_use_certificate_chain_file(context, certificate) == 1 &&
           SSL_CTX_use_PrivateKey_file(context, key, SSL_FILETYPE_PEM) == 1 &&
           (use == SERVE_TLS_PASSWORD || use == SERVE_TLS_WEB ||
            (trust(context, pki, anchors[0]) && trust(context, pki, anchors[1])));
}

SSL_CTX *serve_tls_context(const struct cloud_serve_options *options, struct cloud_pki *pki, enum serve_tls use,
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

bool serve_tls_peer(SSL *ssl, const struct cloud_pki *pki, struct cloud_peer *peer, uint8_t **der, uint64_t *serial)
{
    enum cloud_ca issuer;
    struct cloud_certificate certificate;
    X509 *x509 = SSL_get0_peer_certificate(ssl);
    unsigned char *bytes = NULL;
    int length = x509 ? i2d_X509(x509, &bytes) : 0;
    *der = length > 0 ? malloc((size_t)length) : NULL;
    if (*der)
        memcpy(*der, bytes, (size_t)length);
    OPENSSL_free(bytes);
    if (!*der || !issuer_of(x509, pki, &issuer) ||
        !cloud_certificate_read(span_of(*der, (size_t)length), &certificate)) {
        free(*der);
        *der = NULL;
        return false;
    }
    memcpy(certificate.issuer_id, cloud_pki_ca(pki, issuer)->id, 32);
    if (serial)
        *serial = certificate.serial;
    cloud_peer_from_certificate(peer, &certificate, span_of(*der, (size_t)length));
    return true;
}
