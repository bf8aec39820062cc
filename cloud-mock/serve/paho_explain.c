/* paho_explain.c: why a connection through Paho did not come about, found out by going the way again step by step. */
#include "paho.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static bool read_host(const char *text, size_t length, struct paho_endpoint *out)
{
    const char *colon = memchr(text, ':', length);
    const char *host = text;
    size_t host_length = colon ? (size_t)(colon - text) : length;
    if (length > 0 && text[0] == '[') { /* [::1]:1883 */
        const char *end = memchr(text, ']', length);
        if (!end)
            return false;
        host = text + 1;
        host_length = (size_t)(end - host);
        colon = (size_t)(end + 1 - text) < length ? end + 1 : NULL;
        if (colon && *colon != ':')
            return false;
    }
    if (host_length == 0 || host_length >= sizeof(out->host))
        return false;
    memcpy(out->host, host, host_length);
    out->host[host_length] = 0;
    if (!colon)
        return true;
    char *end;
    long port = strtol(colon + 1, &end, 10);
    out->port = (int)port;
    return end == text + length && end != colon + 1 && port > 0 && port < 65536;
}

bool paho_endpoint_read(const char *uri, struct paho_endpoint *out, char *error, size_t error_capacity)
{
    memset(out, 0, sizeof(*out));
    size_t scheme = strncmp(uri, "mqtt://", 7) == 0 ? 7 : strncmp(uri, "mqtts://", 8) == 0 ? 8 : 0;
    out->tls = scheme == 8;
    out->port = out->tls ? 8883 : 1883;
    size_t length = strcspn(uri + scheme, "/");
    if (scheme && uri[scheme + length] == 0 && read_host(uri + scheme, length, out))
        return true;
    snprintf(error, error_capacity, "'%s' is no broker address; write mqtt://HOST:PORT or mqtts://HOST:PORT", uri);
    return false;
}

static bool readable(const char *what, const char *path, char *error, size_t error_capacity)
{
    if (!path || access(path, R_OK) == 0)
        return true;
    snprintf(error, error_capacity, "cannot read the %s %s: %s", what, path, strerror(errno));
    return false;
}

bool paho_files_readable(const struct cloud_bus_remote_options *options, char *error, size_t error_capacity)
{
    return readable("CA file", options->ca_file, error, error_capacity) &&
           readable("certificate", options->certificate_file, error, error_capacity) &&
           readable("key", options->key_file, error, error_capacity);
}

static bool wait_for(int fd, short events, int timeout_ms)
{
    struct pollfd waiting = {fd, events, 0};
    return poll(&waiting, 1, timeout_ms) == 1;
}

/* -1 with errno. */
static int connect_one(const struct addrinfo *address, int timeout_ms)
{
    int fd = socket(address->ai_family, address->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, address->ai_protocol);
    if (fd < 0)
        return -1;
    int failure = 0;
    socklen_t size = sizeof(failure);
    if (connect(fd, address->ai_addr, address->ai_addrlen) < 0) {
        if (errno != EINPROGRESS)
            failure = errno;
        else if (!wait_for(fd, POLLOUT, timeout_ms))
            failure = ETIMEDOUT;
        else
            getsockopt(fd, SOL_SOCKET, SO_ERROR, &failure, &size);
    }
    if (failure == 0)
        return fd;
    close(fd);
    errno = failure;
    return -1;
}

static int connect_by_name(const struct paho_endpoint *endpoint, int timeout_ms, char *why, size_t why_capacity)
{
    char port[8];
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM}, *list;
    snprintf(port, sizeof(port), "%d", endpoint->port);
    int failure = getaddrinfo(endpoint->host, port, &hints, &list);
    if (failure) {
        snprintf(why, why_capacity, "cannot resolve the name: %s", gai_strerror(failure));
        return -1;
    }
    int fd = -1;
    for (struct addrinfo *at = list; at && fd < 0; at = at->ai_next)
        fd = connect_one(at, timeout_ms);
    if (fd < 0)
        snprintf(why, why_capacity, "cannot reach it: %s", strerror(errno));
    freeaddrinfo(list);
    return fd;
}

static void openssl_reason(const char *doing, char *why, size_t why_capacity)
{
    unsigned long code = ERR_peek_last_error();
    const char *reason = code ? ERR_reason_error_string(code) : NULL;
    snprintf(why, why_capacity, "%s: %s", doing, reason ? reason : "no reason given");
    ERR_clear_error();
}

static SSL_CTX *make_context(const struct cloud_bus_remote_options *options, char *why, size_t why_capacity)
{
    SSL_CTX *context = SSL_CTX_new(TLS_client_method());
    const char *wrong = NULL;
    if (!context)
        return NULL;
    if (options->ca_file && SSL_CTX_load_verify_locations(context, options->ca_file, NULL) != 1)
        wrong = "the CA file cannot be used";
    else if (!options->ca_file)
        SSL_CTX_set_default_verify_paths(context);
    if (!wrong && options->certificate_file &&
        SSL_CTX_use_certificate_chain_file(context, options->certificate_file) != 1)
        wrong = "the certificate cannot be used";
    if (!wrong && options->key_file && SSL_CTX_use_PrivateKey_file(context, options->key_file, SSL_FILETYPE_PEM) != 1)
        wrong = "the key cannot be used";
    if (!wrong)
        return context;
    openssl_reason(wrong, why, why_capacity);
    SSL_CTX_free(context);
    return NULL;
}

static void prepare(SSL *ssl, const struct paho_endpoint *endpoint, const struct cloud_bus_remote_options *options,
                    int fd)
{
    unsigned char address[16];
    bool literal =
        inet_pton(AF_INET, endpoint->host, address) == 1 || inet_pton(AF_INET6, endpoint->host, address) == 1;
    SSL_set_fd(ssl, fd);
    SSL_set_verify(ssl, SSL_VERIFY_PEER, NULL);
    if (!literal)
        SSL_set_tlsext_host_name(ssl, endpoint->host);
    if (options->verify_name && literal)
        X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), endpoint->host);
    else if (options->verify_name)
        SSL_set1_host(ssl, endpoint->host);
}

/* 1: the step succeeded; 0: it failed; -1: it wants to wait and the time is up. */
static int step(SSL *ssl, int result, int fd, int timeout_ms)
{
    if (result > 0)
        return 1;
    int wants = SSL_get_error(ssl, result);
    if (wants != SSL_ERROR_WANT_READ && wants != SSL_ERROR_WANT_WRITE)
        return 0;
    return wait_for(fd, wants == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT, timeout_ms) ? 2 : -1;
}

static void explain_handshake(SSL *ssl, int fd, int timeout_ms, char *why, size_t why_capacity)
{
    int outcome;
    char byte;
    while ((outcome = step(ssl, SSL_connect(ssl), fd, timeout_ms)) == 2)
        ;
    if (outcome == 1) { /* in TLS 1.3 a server refuses the client's certificate after the client has finished */
        while ((outcome = step(ssl, SSL_read(ssl, &byte, 1), fd, 200)) == 2)
            ;
        if (outcome == 0 && ERR_peek_last_error())
            openssl_reason("the server ends the TLS connection", why, why_capacity);
        return;
    }
    long verified = SSL_get_verify_result(ssl);
    if (outcome < 0)
        snprintf(why, why_capacity, "TLS failed: no answer to the handshake");
    else if (verified != X509_V_OK)
        snprintf(why, why_capacity, "TLS failed: the server's certificate: %s",
                 X509_verify_cert_error_string(verified));
    else if (!ERR_peek_last_error())
        snprintf(why, why_capacity,
                 "TLS failed: the server closes the connection during the handshake; is this a TLS port?");
    else
        openssl_reason("TLS failed", why, why_capacity);
}

void paho_explain(const struct paho_endpoint *endpoint, const struct cloud_bus_remote_options *options, int timeout_ms,
                  char *why, size_t why_capacity)
{
    why[0] = 0;
    ERR_clear_error();
    int fd = connect_by_name(endpoint, timeout_ms, why, why_capacity);
    if (fd < 0)
        return;
    SSL_CTX *context = endpoint->tls ? make_context(options, why, why_capacity) : NULL;
    SSL *ssl = context ? SSL_new(context) : NULL;
    if (ssl) {
        prepare(ssl, endpoint, options, fd);
        explain_handshake(ssl, fd, timeout_ms, why, why_capacity);
    }
    SSL_free(ssl);
    SSL_CTX_free(context);
    close(fd);
}
