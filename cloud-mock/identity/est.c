/* est.c: EST beyond the first enrolment (RFC 7030 sections 4.2.2, 4.4, 4.5): the next certificate, a key made by the server, what a request should look like. */
#include "est.h"

#include <openssl/crypto.h>
#include <stdio.h>

#define BOUNDARY "convoy-est-part" /* '-' is no character of base64: it cannot occur inside */

void est_csrattrs(struct est *est)
{
    static const uint8_t attributes[] = {
        0x30, 0x21,                                                             /* CsrAttrs */
        0x06, 0x08, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x04, 0x03, 0x02,             /* ecdsa-with-SHA256 */
        0x30, 0x15, 0x06, 0x07, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x02, 0x01,       /* id-ecPublicKey: */
        0x31, 0x0A, 0x06, 0x08, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x03, 0x01, 0x07, /* prime256v1 */
    };
    if (est->broker->pki->modelled) {
        *est->reply = (struct cloud_http_reply){204, NULL, 0};
        return;
    }
    size_t length = identity_base64_encode(attributes, sizeof attributes, est->out, est->capacity);
    *est->reply = (struct cloud_http_reply){200, "application/csrattrs", length};
}

void est_simplereenroll(struct est *est)
{
    uint8_t certificate[IDENTITY_BYTES_MAX];
    if (!est_stands(est, CLOUD_CA_OPERATIONAL))
        return;
    if (est->body.length == 0) {
        est_refuse(est, 400, "a PKCS#10 request is expected in the body\n");
        return;
    }
    size_t length = cloud_pki_issue(est->broker->pki, CLOUD_CA_OPERATIONAL, est->body, est->peer->common_name,
                                    est->now_s, est->broker->lifetime_s, certificate, sizeof(certificate));
    const uint8_t *certificates[] = {certificate};
    if (length == 0)
        est_refuse(est, 400,
                   "not a PKCS#10 request with proof of possession for the name in the operational certificate\n");
    else
        est_answer(est, certificates, &length, 1);
}

/* ---- a key made by the server ---------------------------------------------------------------------------------------- */

static bool put(struct est *est, const char *text)
{
    size_t length = strlen(text);
    if (length > est->capacity)
        return false;
    memcpy(est->out, text, length);
    est->out += length;
    est->capacity -= length;
    est->reply->body_length += length;
    return true;
}

static bool put_part(struct est *est, const char *type, const uint8_t *key, size_t key_length,
                     const uint8_t *certificate, size_t certificate_length)
{
    char head[160];
    snprintf(head, sizeof head, "--" BOUNDARY "\r\nContent-Type: %s\r\nContent-Transfer-Encoding: base64\r\n\r\n",
             type);
    if (!put(est, head))
        return false;
    size_t length =
        key ? identity_base64_encode(key, key_length, est->out, est->capacity)
            : real_certs_only(est->broker->pki, &certificate, &certificate_length, 1, est->out, est->capacity);
    est->out += length;
    est->capacity -= length;
    est->reply->body_length += length;
    return length && put(est, "\r\n");
}

void est_serverkeygen(struct est *est)
{
    uint8_t certificate[IDENTITY_BYTES_MAX], key[256];
    size_t certificate_length = sizeof certificate, key_length = sizeof key;
    char name[64], requested[64];
    struct cloud_pki *pki = est->broker->pki;
    if (pki->modelled) {
        est_refuse(est, 404, "a modelled hierarchy makes no keys\n");
        return;
    }
    if (!est_may_enrol(est, name))
        return;
    struct issue_names names = {.asked = est->peer->common_name, .given = name};
    /* Its key and its signature are of no matter here (4.4.1): the device has none to prove. */
    if (!real_request_name(est->body, requested) || !issue_allowed(&names, span_text(requested))) {
        est_refuse(est, 400, "not a PKCS#10 request for the name in the attestation certificate\n");
        return;
    }
    struct est part = *est;
    *est->reply = (struct cloud_http_reply){200, "multipart/mixed; boundary=" BOUNDARY, 0};
    bool good = cloud_pki_make(pki, CLOUD_CA_OPERATIONAL, name, est->now_s, est->broker->lifetime_s, certificate,
                               &certificate_length, key, &key_length) &&
                put_part(&part, "application/pkcs8", key, key_length, NULL, 0) &&
                put_part(&part, EST_PKCS7_TYPE, NULL, 0, certificate, certificate_length) &&
                put(&part, "--" BOUNDARY "--\r\n");
    OPENSSL_cleanse(key, sizeof key);
    if (!good)
        est_refuse(est, 500, "no key could be made\n");
}
