/* identity.c: from a bare TCU with only its factory attestation to an operational certificate.
 *
 * Key and CSR come from the platform; the certificate broker knows us by the attestation certificate; the answer is
 * stored before it is used. Any failure throws this attempt's key away and begins again after a wait: no half-made
 * identity is ever kept. */
#include "agent_internal.h"

static const char enroll_path[] = "/.well-known/est/simpleenroll";
static const char enroll_type[] = "application/pkcs10";

/* Only whether there is one: but a port may give nothing when the buffer is too small. */
void agent_identity_load(struct tcu *tcu)
{
    uint8_t certificate[TCU_STORE_MAX];
    enum tcu_store_item item = tcu->second ? TCU_STORE_SECOND_CERTIFICATE : TCU_STORE_OPERATIONAL_CERTIFICATE;
    tcu->has_certificate = tcu->port->store_read(tcu->port_context, item, certificate, sizeof(certificate)) > 0;
}

bool agent_identity_ready(const struct tcu *tcu)
{
    return tcu->has_certificate || tcu->profile->provisioning != TCU_PROVISION_CERTIFICATE_BROKER;
}

/* A new certificate is shown from the moment it is to be tried, a claimed one never before. */
enum tcu_identity agent_identity_wanted(const struct tcu *tcu)
{
    const struct agent_rotation *rotation = agent_rotation(tcu);
    bool claims = tcu->profile->provisioning == TCU_PROVISION_CLAIM;
    if (rotation && rotation->phase == PHASE_TRYING)
        return agent_slot_identity(rotation->target);
    if (rotation && rotation->claim && rotation->phase < PHASE_TRYING)
        return TCU_CLAIM;
    if (tcu->has_certificate)
        return agent_slot_identity(tcu->second);
    return claims ? TCU_CLAIM : TCU_NO_IDENTITY;
}

void agent_identity_begin(struct tcu *tcu)
{
    tcu->awaiting_http = 0;
    tcu->timer_us = tcu->now_us + tcu->profile->http_timeout_us;
    tcu->port->key_generate(tcu->port_context, agent_slot_identity(tcu->second), tcu_name(tcu));
}

static void request(struct tcu *tcu, struct span csr)
{
    struct tcu_http_request enroll = {TCU_ATTESTATION, enroll_path, enroll_type, csr};
    agent_tell(tcu, TCU_PROBE_KEY_READY, 0, 0);
    tcu->awaiting_http = 1;
    tcu->timer_us = tcu->now_us + tcu->profile->http_timeout_us;
    tcu->port->http_request(tcu->port_context, &enroll);
}

/* The note that this certificate has not been tried yet goes first: with the power cut in between we enroll again. */
static bool store(struct tcu *tcu, struct span certificate)
{
    enum tcu_store_item item = tcu->second ? TCU_STORE_SECOND_CERTIFICATE : TCU_STORE_OPERATIONAL_CERTIFICATE;
    tcu->fresh_certificate = 1;
    if (!agent_store_save(tcu) || !tcu->port->store_write(tcu->port_context, item, certificate))
        return false;
    tcu->has_certificate = 1;
    agent_tell(tcu, TCU_PROBE_CERTIFICATE_STORED, 0, 0);
    return true;
}

/* tcu_csr_ready() and tcu_http_response() reach their work through these two, so that late answers are nobody's. */
static void csr_arrived(struct tcu *tcu, struct span csr)
{
    if (agent_rotation_csr(tcu, csr) || tcu->awaiting_http)
        return;
    if (csr.length == 0)
        agent_enter(tcu, AGENT_UNCERTIFIED, 0, 0);
    else if (agent_enter(tcu, AGENT_KEY_READY, 0, 0))
        request(tcu, csr);
}

static void answer_arrived(struct tcu *tcu, int status, struct span body)
{
    if (!tcu->awaiting_http || tcu->state != TCU_PROVISIONING)
        return;
    tcu->awaiting_http = 0;
    bool usable = status == 200 && body.length > 0 && body.length <= TCU_STORE_MAX;
    if (!usable || !store(tcu, body)) {
        agent_enter(tcu, AGENT_UNCERTIFIED, 0, (uint32_t)status);
        return;
    }
    tcu->backoff = 0; /* the certificate broker's troubles say nothing about the broker */
    agent_enter(tcu, AGENT_CERTIFIED, 0, 0);
}

void tcu_csr_ready(struct tcu *tcu, int64_t now_us, struct span csr)
{
    agent_begin(tcu, now_us);
    csr_arrived(tcu, csr);
    agent_end(tcu);
}

void tcu_http_response(struct tcu *tcu, int64_t now_us, int status, struct span body)
{
    agent_begin(tcu, now_us);
    answer_arrived(tcu, status, body);
    agent_end(tcu);
}

/* The store is told what a power cut must not make us forget: the certificate works, the server holds a session. A
 * session whose QoS 2 ids we would have lost is not claimed. */
void agent_identity_accepted(struct tcu *tcu)
{
    bool keeps = tcu->profile->session_expiry_s > 0 && tcu->profile->telemetry_qos < 2;
    tcu->session_known = 1;
    bool changed = tcu->fresh_certificate || (keeps && !tcu->session_kept);
    if (tcu->fresh_certificate)
        agent_tell(tcu, TCU_PROBE_PROVISIONED, 0, 0);
    tcu->fresh_certificate = 0;
    tcu->session_kept |= keeps;
    if (changed)
        agent_store_save(tcu);
}
