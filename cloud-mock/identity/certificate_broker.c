/* certificate_broker.c: enrolment as RFC 7030 has it, without the transport: who may have an operational certificate, and how it is answered.
 *
 * The door has verified the attestation certificate's chain; here it is checked again that it is one, and that the request asks for its own name
 * or for the one that the vehicle registry gives its device. What else EST has is in est.c.
 */
#include "est.h"

#define TEXT_TYPE "text/plain; charset=utf-8"

void est_refuse(struct est *est, int status, const char *why)
{
    size_t length = strlen(why);
    est->reply->status = status;
    est->reply->content_type = TEXT_TYPE;
    est->reply->body_length = length < est->capacity ? length : 0;
    memcpy(est->out, why, est->reply->body_length);
}

void est_answer(struct est *est, const uint8_t *const *certificates, const size_t *lengths, int count)
{
    struct cloud_pki *pki = est->broker->pki;
    size_t written = 0;
    if (!pki->modelled)
        written = real_certs_only(pki, certificates, lengths, count, est->out, est->capacity);
    else
        for (int i = 0; i < count && written + lengths[i] + 1 <= est->capacity; i++) { /* a line each */
            if (i > 0)
                est->out[written++] = '\n';
            memcpy(est->out + written, certificates[i], lengths[i]);
            written += lengths[i];
        }
    if (written == 0) {
        est_refuse(est, 500, "the answer does not fit\n");
        return;
    }
    *est->reply = (struct cloud_http_reply){200, EST_PKCS7_TYPE, written};
}

/* The device's own name, or the one that the vehicle registry has for it. false: it has none. */
static bool name_for(const struct cloud_certificate_broker *broker, const struct cloud_peer *peer, char name[64])
{
    strcpy(name, peer->common_name);
    return !broker->resolve || (broker->resolve(broker->resolve_context, peer, name) && name[0]);
}

static bool is_revoked(const struct cloud_certificate_broker *broker, enum cloud_ca ca, const struct cloud_peer *peer)
{
    struct cloud_certificate certificate;
    return broker->pki->store && cloud_certificate_read(peer->certificate, &certificate) &&
           cloud_pki_is_revoked(broker->pki, ca, certificate.serial);
}

bool est_stands(struct est *est, enum cloud_ca ca)
{
    const struct cloud_peer *peer = est->peer;
    bool attestation = ca == CLOUD_CA_ATTESTATION;
    if (!peer || !peer->has_certificate)
        est_refuse(est, 401,
                   attestation ? "an attestation certificate is required\n"
                               : "the operational certificate is required\n");
    else if (memcmp(peer->issuer_id, est->broker->pki->ca[ca].certificate.id, 32) != 0)
        est_refuse(est, 403,
                   attestation ? "the certificate was not issued by the attestation CA\n"
                               : "the certificate was not issued by the operational CA\n");
    else if (est->now_s < peer->not_before_s || est->now_s > peer->not_after_s)
        est_refuse(est, 403,
                   attestation ? "the attestation certificate is out of its validity\n"
                               : "the operational certificate is out of its validity\n");
    else if (is_revoked(est->broker, ca, peer))
        est_refuse(est, 403, "the certificate is revoked\n");
    else
        return true;
    return false;
}

bool est_may_enrol(struct est *est, char name[64])
{
    const struct cloud_certificate_broker *broker = est->broker;
    if (!est_stands(est, CLOUD_CA_ATTESTATION))
        return false;
    if (broker->allowed && !broker->allowed(broker->context, est->peer, est->peer->common_name))
        est_refuse(est, 403, "this device may not enrol\n");
    else if (!name_for(broker, est->peer, name))
        est_refuse(est, 403, "no vehicle is known for this device\n");
    else if (est->body.length == 0)
        est_refuse(est, 400, "a PKCS#10 request is expected in the body\n");
    else
        return true;
    return false;
}

static void simpleenroll(struct est *est)
{
    uint8_t certificate[IDENTITY_BYTES_MAX];
    char name[64];
    if (!est_may_enrol(est, name))
        return;
    struct issue_names names = {.asked = est->peer->common_name, .given = name};
    size_t length = pki_issue_as(est->broker->pki, CLOUD_CA_OPERATIONAL, est->body, &names, est->now_s,
                                 est->broker->lifetime_s, certificate, sizeof(certificate));
    const uint8_t *certificates[] = {certificate};
    if (length == 0)
        est_refuse(est, 400,
                   "not a PKCS#10 request with proof of possession for the name in the attestation certificate\n");
    else
        est_answer(est, certificates, &length, 1);
}

static void cacerts(struct est *est)
{
    const struct cloud_pki *pki = est->broker->pki;
    const uint8_t *certificates[CLOUD_CA_COUNT];
    size_t lengths[CLOUD_CA_COUNT];
    for (int i = 0; i < CLOUD_CA_COUNT; i++) {
        certificates[i] = pki->ca[i].bytes;
        lengths[i] = pki->ca[i].length;
    }
    est_answer(est, certificates, lengths, CLOUD_CA_COUNT);
}

void cloud_certificate_broker_handle(struct cloud_certificate_broker *broker, int64_t now_s,
                                     const struct cloud_peer *peer, const char *method, const char *path,
                                     struct span body, uint8_t *out, size_t capacity, struct cloud_http_reply *reply)
{
    static const char prefix[] = "/.well-known/est/";
    static const struct {
        const char *name, *method, *otherwise;
        void (*run)(struct est *est);
    } operations[] = {
        {"cacerts", "GET", "use GET\n", cacerts},
        {"csrattrs", "GET", "use GET\n", est_csrattrs},
        {"simpleenroll", "POST", "use POST\n", simpleenroll},
        {"simplereenroll", "POST", "use POST\n", est_simplereenroll},
        {"serverkeygen", "POST", "use POST\n", est_serverkeygen},
    };
    struct est est = {broker, now_s, peer, body, out, capacity, reply};
    bool ours = strncmp(path, prefix, sizeof(prefix) - 1) == 0;
    for (size_t i = 0; ours && i < sizeof(operations) / sizeof(operations[0]); i++) {
        if (strcmp(path + sizeof(prefix) - 1, operations[i].name) != 0)
            continue;
        if (strcmp(method, operations[i].method) != 0)
            est_refuse(&est, 405, operations[i].otherwise);
        else
            operations[i].run(&est);
        return;
    }
    est_refuse(&est, 404, "no such resource\n");
}
