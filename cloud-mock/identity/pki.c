/* pki.c: the hierarchy, and which kind of cryptography answers. */
#define OPENSSL_API_COMPAT 0x10100000L /* SHA256_Init: a tenth of the cost of a fetched digest for 150 bytes */
#include "pki_store_internal.h"

#include <openssl/sha.h>
#include <openssl/x509v3.h>

const char *const identity_ca_file[CLOUD_CA_COUNT] = {"root", "operational", "attestation", "server-ca", "claim"};
const char *const identity_ca_name[CLOUD_CA_COUNT] = {"Convoy root CA", "Convoy operational CA",
                                                      "Convoy attestation CA", "Convoy server CA", "Convoy claim CA"};

void identity_sha256(const uint8_t *data, size_t length, uint8_t out[32])
{
    SHA256_CTX context;
    SHA256_Init(&context);
    SHA256_Update(&context, data, length);
    SHA256_Final(out, &context);
}

bool identity_is_modelled(struct span bytes)
{
    return bytes.length >= 3 && memcmp(bytes.data, "CVC", 3) == 0;
}

bool identity_is_pem(struct span bytes)
{
    return bytes.length >= 11 && memcmp(bytes.data, "-----BEGIN ", 11) == 0;
}

const char *cloud_certificate_status_name(enum cloud_certificate_status status)
{
    static const char *const names[] = {"UNKNOWN", "PENDING_ACTIVATION", "ACTIVE", "INACTIVE", "REVOKED"};
    return (unsigned)status < sizeof(names) / sizeof(names[0]) ? names[status] : "UNKNOWN";
}

struct cloud_pki *cloud_pki_modelled(uint64_t seed)
{
    struct cloud_pki *pki = memory_allocate_zero(1, sizeof(*pki));
    if (!pki)
        return NULL;
    pki->modelled = true;
    pki->seed = seed;
    if (modelled_hierarchy(pki))
        return pki;
    cloud_pki_close(pki);
    return NULL;
}

void cloud_pki_close(struct cloud_pki *pki)
{
    if (!pki)
        return;
    for (int i = 0; i < CLOUD_CA_COUNT; i++) {
        X509_free(pki->ca[i].x509);
        EVP_PKEY_free(pki->ca[i].key);
        memory_free(pki->ca[i].bytes);
    }
    store_close(pki->store);
    memory_free(pki);
}

void cloud_pki_simulate(struct cloud_pki *pki)
{
    pki->simulating = !pki->modelled;
}

uint64_t cloud_pki_bytes(const struct cloud_pki *pki)
{
    uint64_t bytes = sizeof(*pki);
    for (int i = 0; i < CLOUD_CA_COUNT; i++)
        bytes += pki->ca[i].length;
    return bytes;
}

bool cloud_pki_is_modelled(const struct cloud_pki *pki)
{
    return pki->modelled;
}

const struct cloud_certificate *cloud_pki_ca(const struct cloud_pki *pki, enum cloud_ca ca)
{
    return &pki->ca[ca].certificate;
}

struct span cloud_pki_ca_bytes(const struct cloud_pki *pki, enum cloud_ca ca)
{
    return span_of(pki->ca[ca].bytes, pki->ca[ca].length);
}

bool issue_allowed(const struct issue_names *names, struct span requested)
{
    return !names->asked || span_equal(requested, span_text(names->asked)) ||
           (names->given && span_equal(requested, span_text(names->given)));
}

size_t pki_issue_as(struct cloud_pki *pki, enum cloud_ca ca, struct span csr, const struct issue_names *names,
                    int64_t now_s, int64_t lifetime_s, uint8_t *out, size_t capacity)
{
    if (pki->modelled)
        return modelled_issue(pki, ca, csr, names, now_s, lifetime_s, out, capacity);
    return real_issue(pki, ca, csr, names, now_s, lifetime_s, out, capacity);
}

size_t cloud_pki_issue(struct cloud_pki *pki, enum cloud_ca ca, struct span csr, const char *common_name, int64_t now_s,
                       int64_t lifetime_s, uint8_t *out, size_t capacity)
{
    return pki_issue_as(pki, ca, csr, &(struct issue_names){.asked = common_name}, now_s, lifetime_s, out, capacity);
}

bool cloud_certificate_read(struct span bytes, struct cloud_certificate *out)
{
    if (identity_is_modelled(bytes))
        return modelled_read(bytes, out);
    X509 *x509 = real_parse(bytes);
    bool good = x509 && real_describe(x509, out);
    X509_free(x509);
    return good;
}

static bool in_time(const struct cloud_certificate *c, int64_t now_s, const char **why)
{
    if (now_s < c->not_before_s)
        *why = "not valid yet";
    else if (now_s > c->not_after_s)
        *why = "expired";
    else
        return true;
    return false;
}

static bool signed_really(const struct cloud_pki *pki, X509 *x509, enum cloud_ca issuer, struct cloud_certificate *c,
                          const char **why)
{
    if (X509_check_issued(pki->ca[issuer].x509, x509) != X509_V_OK)
        *why = "issued by somebody else";
    else if (X509_verify(x509, pki->ca[issuer].key) != 1)
        *why = "signature does not verify";
    else {
        memcpy(c->issuer_id, pki->ca[issuer].certificate.id, 32);
        return true;
    }
    return false;
}

static bool signed_by(const struct cloud_pki *pki, struct span bytes, enum cloud_ca issuer, struct cloud_certificate *c,
                      const char **why)
{
    if (pki->modelled) {
        if (!modelled_read(bytes, c))
            *why = "not a certificate";
        else if (memcmp(c->issuer_id, pki->ca[issuer].certificate.id, 32) != 0)
            *why = "issued by somebody else";
        else
            return true;
        return false;
    }
    X509 *x509 = real_parse(bytes);
    bool read = x509 && real_describe(x509, c);
    if (!read)
        *why = "not a certificate";
    bool good = read && signed_really(pki, x509, issuer, c, why);
    X509_free(x509);
    return good;
}

bool cloud_pki_verify(const struct cloud_pki *pki, struct span certificate, enum cloud_ca issuer, int64_t now_s,
                      const char **why)
{
    struct cloud_certificate c;
    const char *unused;
    return signed_by(pki, certificate, issuer, &c, why ? why : &unused) && in_time(&c, now_s, why ? why : &unused);
}

bool cloud_pki_read(const struct cloud_pki *pki, struct span bytes, struct cloud_certificate *out)
{
    const char *why;
    bool found = false;
    if (pki->modelled || identity_is_modelled(bytes)) {
        for (int i = 0; i < CLOUD_CA_COUNT; i++)
            if (signed_by(pki, bytes, (enum cloud_ca)i, out, &why))
                return true;
        return cloud_certificate_read(bytes, out);
    }
    X509 *x509 = real_parse(bytes);
    bool read = x509 && real_describe(x509, out);
    for (int i = 0; read && !found && i < CLOUD_CA_COUNT; i++)
        found = signed_really(pki, x509, (enum cloud_ca)i, out, &why);
    X509_free(x509);
    return read;
}

void cloud_peer_from_certificate(struct cloud_peer *peer, const struct cloud_certificate *certificate,
                                 struct span bytes)
{
    peer->tls = true;
    peer->has_certificate = true;
    memcpy(peer->certificate_id, certificate->id, 32);
    memcpy(peer->issuer_id, certificate->issuer_id, 32);
    memcpy(peer->common_name, certificate->common_name, sizeof(peer->common_name));
    peer->not_before_s = certificate->not_before_s;
    peer->not_after_s = certificate->not_after_s;
    peer->certificate = bytes;
}
