/* certificate_broker.c: enrolment as RFC 7030 has it, without the transport: who may have an operational certificate, and how it is answered.
 *
 * The door has verified the attestation certificate's chain; here it is checked again that it is one, and that the request asks for its own name
 * or for the one that the vehicle registry gives its device.
 */
#include "identity_internal.h"

#define PKCS7_TYPE "application/pkcs7-mime; smime-type=certs-only"
#define TEXT_TYPE  "text/plain; charset=utf-8"

static void refuse(int status, const char *why, uint8_t *out, size_t capacity, struct cloud_http_reply *reply)
{
    size_t length = strlen(why);
    reply->status = status;
    reply->content_type = TEXT_TYPE;
    reply->body_length = length < capacity ? length : 0;
    memcpy(out, why, reply->body_length);
}

static void answer(struct cloud_pki *pki, const uint8_t *const *certificates, const size_t *lengths, int count,
                   uint8_t *out, size_t capacity, struct cloud_http_reply *reply)
{
    size_t written = 0;
    if (!pki->modelled)
        written = real_certs_only(pki, certificates, lengths, count, out, capacity);
    else
        for (int i = 0; i < count && written + lengths[i] + 1 <= capacity; i++) { /* a line each */
            if (i > 0)
                out[written++] = '\n';
            memcpy(out + written, certificates[i], lengths[i]);
            written += lengths[i];
        }
    if (written == 0) {
        refuse(500, "the answer does not fit\n", out, capacity, reply);
        return;
    }
    *reply = (struct cloud_http_reply){200, PKCS7_TYPE, written};
}

/* The device's own name, or the one that the vehicle registry has for it. false: it has none. */
static bool name_for(const struct cloud_certificate_broker *broker, const struct cloud_peer *peer, char name[64])
{
    strcpy(name, peer->common_name);
    return !broker->resolve || (broker->resolve(broker->resolve_context, peer, name) && name[0]);
}

static void simpleenroll(struct cloud_certificate_broker *broker, int64_t now_s, const struct cloud_peer *peer,
                         struct span body, uint8_t *out, size_t capacity, struct cloud_http_reply *reply)
{
    struct cloud_pki *pki = broker->pki;
    uint8_t certificate[IDENTITY_BYTES_MAX];
    char name[64];
    if (!peer || !peer->has_certificate) {
        refuse(401, "an attestation certificate is required\n", out, capacity, reply);
    } else if (memcmp(peer->issuer_id, pki->ca[CLOUD_CA_ATTESTATION].certificate.id, 32) != 0) {
        refuse(403, "the certificate was not issued by the attestation CA\n", out, capacity, reply);
    } else if (now_s < peer->not_before_s || now_s > peer->not_after_s) {
        refuse(403, "the attestation certificate is out of its validity\n", out, capacity, reply);
    } else if (broker->allowed && !broker->allowed(broker->context, peer, peer->common_name)) {
        refuse(403, "this device may not enrol\n", out, capacity, reply);
    } else if (!name_for(broker, peer, name)) {
        refuse(403, "no vehicle is known for this device\n", out, capacity, reply);
    } else if (body.length == 0) {
        refuse(400, "a PKCS#10 request is expected in the body\n", out, capacity, reply);
    } else {
        struct issue_names names = {.asked = peer->common_name, .given = name};
        size_t length = pki_issue_as(pki, CLOUD_CA_OPERATIONAL, body, &names, now_s, broker->lifetime_s, certificate,
                                     sizeof(certificate));
        const uint8_t *certificates[] = {certificate};
        if (length == 0)
            refuse(400, "not a PKCS#10 request with proof of possession for the name in the attestation certificate\n",
                   out, capacity, reply);
        else
            answer(pki, certificates, &length, 1, out, capacity, reply);
    }
}

static void cacerts(struct cloud_pki *pki, uint8_t *out, size_t capacity, struct cloud_http_reply *reply)
{
    const uint8_t *certificates[CLOUD_CA_COUNT];
    size_t lengths[CLOUD_CA_COUNT];
    for (int i = 0; i < CLOUD_CA_COUNT; i++) {
        certificates[i] = pki->ca[i].bytes;
        lengths[i] = pki->ca[i].length;
    }
    answer(pki, certificates, lengths, CLOUD_CA_COUNT, out, capacity, reply);
}

void cloud_certificate_broker_handle(struct cloud_certificate_broker *broker, int64_t now_s,
                                     const struct cloud_peer *peer, const char *method, const char *path,
                                     struct span body, uint8_t *out, size_t capacity, struct cloud_http_reply *reply)
{
    bool enrol = strcmp(path, "/.well-known/est/simpleenroll") == 0;
    bool list = strcmp(path, "/.well-known/est/cacerts") == 0;
    if (!enrol && !list)
        refuse(404, "no such resource\n", out, capacity, reply);
    else if (strcmp(method, enrol ? "POST" : "GET") != 0)
        refuse(405, enrol ? "use POST\n" : "use GET\n", out, capacity, reply);
    else if (enrol)
        simpleenroll(broker, now_s, peer, body, out, capacity, reply);
    else
        cacerts(broker->pki, out, capacity, reply);
}
