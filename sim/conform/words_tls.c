/* words_tls.c: TLS as a check wants it: old versions, and the protocol "mqtt". No certificate is looked at: that is the client's business. */
#include "internal.h"

#include <openssl/ssl.h>
#include <stdio.h>
#include <unistd.h>

#define HANDSHAKE_S 5

/* Versions before 1.2 want the lowest level of security. */
static SSL_CTX *any_version(const struct conform_options *options, uint16_t highest)
{
    SSL_CTX *tls = SSL_CTX_new(TLS_client_method());
    if (!tls)
        return NULL;
    SSL_CTX_set_security_level(tls, 0);
    bool usable = SSL_CTX_set_cipher_list(tls, "ALL:@SECLEVEL=0") == 1 &&
                  SSL_CTX_set_min_proto_version(tls, TLS1_VERSION) == 1 &&
                  SSL_CTX_set_max_proto_version(tls, highest) == 1;
    if (usable && options->certificate)
        usable = SSL_CTX_use_certificate_chain_file(tls, options->certificate) == 1;
    if (usable && options->key)
        usable = SSL_CTX_use_PrivateKey_file(tls, options->key, SSL_FILETYPE_PEM) == 1;
    if (usable)
        return tls;
    SSL_CTX_free(tls);
    return NULL;
}

static int open_socket(const struct target *target)
{
    socklen_t length;
    const struct sockaddr *address = target_address(target, &length);
    struct timeval patience = {.tv_sec = HANDSHAKE_S};
    int fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    if (connect(fd, address, length) == 0)
        return fd;
    close(fd);
    return -1;
}

static bool shake_hands(SSL_CTX *tls, int fd, bool offer_mqtt, char *chosen, size_t capacity)
{
    static const unsigned char mqtt[] = {4, 'm', 'q', 't', 't'};
    const unsigned char *protocol = NULL;
    unsigned int length = 0;
    SSL *ssl = SSL_new(tls);
    bool done = ssl && SSL_set_fd(ssl, fd) == 1 && (!offer_mqtt || SSL_set_alpn_protos(ssl, mqtt, sizeof(mqtt)) == 0) &&
                SSL_connect(ssl) == 1;
    if (done)
        SSL_get0_alpn_selected(ssl, &protocol, &length);
    snprintf(chosen, capacity, "%.*s", (int)length, protocol ? (const char *)protocol : "");
    if (done)
        SSL_shutdown(ssl);
    SSL_free(ssl);
    return done;
}

bool probe_handshake(struct conform_probe *probe, uint16_t highest, bool offer_mqtt, const char **chosen)
{
    char protocol[64] = "";
    SSL_CTX *tls = any_version(probe->suite->options, highest);
    need(probe, tls != NULL, "this machine's TLS cannot do it");
    suite_connect_turn(probe->suite);
    int fd = open_socket(probe->suite->target);
    bool reached = fd >= 0, done = reached && shake_hands(tls, fd, offer_mqtt, protocol, sizeof(protocol));
    if (reached)
        close(fd);
    SSL_CTX_free(tls);
    need(probe, reached, "no connection");
    note(probe, "TLS up to version 0x%04x%s: %s%s%s", highest, offer_mqtt ? " offering \"mqtt\"" : "",
         done ? "agreed" : "not agreed", protocol[0] ? ", chosen: " : "", protocol);
    *chosen = probe_text(probe, "%s", protocol);
    return done;
}
