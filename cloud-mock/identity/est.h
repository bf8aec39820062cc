/* est.h: one request to the certificate broker, as its two files pass it on. */
#ifndef IDENTITY_EST_H
#define IDENTITY_EST_H

#include "pki_store_internal.h"

#define EST_PKCS7_TYPE "application/pkcs7-mime; smime-type=certs-only"

struct est {
    struct cloud_certificate_broker *broker;
    int64_t now_s;
    const struct cloud_peer *peer;
    struct span body;
    uint8_t *out;
    size_t capacity;
    struct cloud_http_reply *reply;
};

/* certificate_broker.c */
void est_refuse(struct est *est, int status, const char *why);
void est_answer(struct est *est, const uint8_t *const *certificates, const size_t *lengths, int count);
/* The peer's certificate is of that CA, in its validity and not revoked; otherwise it is refused. */
bool est_stands(struct est *est, enum cloud_ca ca);
/* The same for an attestation certificate, and its device may have an operational one, of this name, and sends a request. */
bool est_may_enrol(struct est *est, char name[64]);

/* est.c */
void est_csrattrs(struct est *est);
void est_simplereenroll(struct est *est);
void est_serverkeygen(struct est *est);

#endif
