/* cloud/identity.h: who may be whom: CA hierarchy, certificates, the certificate broker, just-in-time registration.
 *
 * Two kinds of cryptography under the same rules: real (OpenSSL, X.509, P-256) and modelled (the same fields in a short text form, no
 * mathematics), by the scenario's choice. Struct cloud_certificate is what both decode to.
 */
#ifndef CLOUD_IDENTITY_H
#define CLOUD_IDENTITY_H

#include "cloud/broker.h"

enum cloud_certificate_status { /* cloud-contract 1.1 */
                                CLOUD_CERTIFICATE_UNKNOWN,
                                CLOUD_CERTIFICATE_PENDING_ACTIVATION,
                                CLOUD_CERTIFICATE_ACTIVE,
                                CLOUD_CERTIFICATE_INACTIVE,
                                CLOUD_CERTIFICATE_REVOKED,
};
const char *cloud_certificate_status_name(enum cloud_certificate_status status); /* "PENDING_ACTIVATION" */

struct cloud_certificate {
    uint8_t id[32]; /* SHA-256 of its bytes */
    uint8_t issuer_id[32];
    uint64_t serial;
    char common_name[64];
    int64_t not_before_s, not_after_s;
    uint8_t key_id[20]; /* hash of the public key */
    bool is_ca;
};

/* ---- PKI: offline root, subordinate CAs for operation and for attestation (the TCU's maker), a server CA ---------- */

struct cloud_pki;
enum cloud_ca {
    CLOUD_CA_ROOT,
    CLOUD_CA_OPERATIONAL,
    CLOUD_CA_ATTESTATION,
    CLOUD_CA_SERVER,
    CLOUD_CA_CLAIM, /* of claim certificates, shared by many vehicles of a production lot */
    CLOUD_CA_COUNT
};

/* Real: opens the hierarchy kept in `directory` (files <ca>.crt, <ca>.key in PEM, mode 0600 for keys; ca.pem = root + subordinates, for other brokers'
 * cafile; server.crt/server.key for localhost, 127.0.0.1 and ::1), creating what is missing when create is true. Modelled: directory NULL.
 * NULL: *error says why in one line. */
struct cloud_pki *cloud_pki_open(const char *directory, bool create, char *error, size_t error_capacity);
struct cloud_pki *cloud_pki_modelled(uint64_t seed);
void cloud_pki_close(struct cloud_pki *pki);
/* For simulations, where a length is a time and the world keeps the books: certificates of one name and one kind are all equally long from now on
 * (serial numbers of eight bytes, signatures of 71), and the directory's index is neither told nor asked. Nothing to a modelled one. */
void cloud_pki_simulate(struct cloud_pki *pki);
bool cloud_pki_is_modelled(const struct cloud_pki *pki);
uint64_t cloud_pki_bytes(const struct cloud_pki *pki); /* its memory, OpenSSL's objects of a real one not counted */
const struct cloud_certificate *cloud_pki_ca(const struct cloud_pki *pki, enum cloud_ca ca);
struct span cloud_pki_ca_bytes(const struct cloud_pki *pki,
                               enum cloud_ca ca); /* DER, or the modelled form; lent until close */

/* Checks the CSR (proof of possession) and issues. Real: CSR in DER or PEM or base64 DER (EST), certificate out in DER. Modelled: modelled bytes. now_s: epoch
 * seconds; lifetime_s as the profile says. common_name: NULL takes the CSR's; else must equal it or the call fails.
 * Returns the length written, 0 on error. */
size_t cloud_pki_issue(struct cloud_pki *pki, enum cloud_ca ca, struct span csr, const char *common_name, int64_t now_s,
                       int64_t lifetime_s, uint8_t *out, size_t capacity);
/* A key pair and its certificate in one go (factory: attestation identities; tests: any). Real: key DER (PKCS#8) too; modelled: key_length 0.
 * Lengths come in as capacities. */
bool cloud_pki_make(struct cloud_pki *pki, enum cloud_ca ca, const char *common_name, int64_t now_s, int64_t lifetime_s,
                    uint8_t *certificate, size_t *certificate_length, uint8_t *key, size_t *key_length);
/* Decodes; does not verify. false: not a certificate. Accepts DER, PEM, and the modelled form. issuer_id is zeros
 * for X.509, which does not carry it: cloud_pki_read() finds it. */
bool cloud_certificate_read(struct span bytes, struct cloud_certificate *out);
/* The same, and issuer_id is filled when one of our CAs has signed it. */
bool cloud_pki_read(const struct cloud_pki *pki, struct span bytes, struct cloud_certificate *out);
/* Signature chain to one of our CAs, validity at now_s. On failure *why is a static text. */
bool cloud_pki_verify(const struct cloud_pki *pki, struct span certificate, enum cloud_ca issuer, int64_t now_s,
                      const char **why);
/* Modelled CSR as a vehicle makes it: writes the bytes, returns the length. key_number makes the key unique. */
size_t cloud_modelled_csr(struct span common_name, uint64_t key_number, uint8_t *out, size_t capacity);
/* A modelled certificate without what its holder and its hierarchy know anyway (common name, issuer's id): for vehicles that keep theirs
 * by the million. */
struct cloud_modelled_record {
    uint64_t serial_and_issuer; /* serial << 4 | CA certificate << 3 | enum cloud_ca */
    uint64_t key;
    uint32_t not_before_s, not_after_s;
};
/* false: not a modelled certificate, not issued by one of this hierarchy's CAs, or its numbers do not fit; *out is unchanged. */
bool cloud_modelled_pack(const struct cloud_pki *pki, struct span certificate, struct cloud_modelled_record *out);
/* Writes exactly the bytes that were packed, given the same hierarchy and the certificate's common name. Returns the length, 0: no room,
 * or no record of this hierarchy. */
size_t cloud_modelled_unpack(const struct cloud_pki *pki, const struct cloud_modelled_record *record,
                             struct span common_name, uint8_t *out, size_t capacity);
/* What cloud_certificate_read() would say of those bytes, without writing them for the caller. false as above. */
bool cloud_modelled_describe(const struct cloud_pki *pki, const struct cloud_modelled_record *record,
                             struct span common_name, struct cloud_certificate *out);
void cloud_peer_from_certificate(struct cloud_peer *peer, const struct cloud_certificate *certificate,
                                 struct span bytes);

/* ---- certificate broker (RFC 7030 in shape; the door speaks HTTP) -------------------------------------------------- */

struct cloud_certificate_broker {
    struct cloud_pki *pki;
    int64_t lifetime_s; /* of operational certificates */
    bool (*allowed)(void *context, const struct cloud_peer *attestation,
                    const char *common_name); /* NULL: every valid attestation */
    void *context;
    /* Which name the device of this attestation certificate gets (a Reference ID); false: none, refused with 403. NULL: its own. */
    bool (*resolve)(void *context, const struct cloud_peer *attestation, char name[64]);
    void *resolve_context;
};
struct cloud_http_reply {
    int status;               /* 200, 204, 400, 401, 403, 404, 405, 500 */
    const char *content_type; /* NULL: no content */
    size_t body_length;       /* bytes written to the caller's buffer */
};
/* Paths under "/.well-known/est/":
 *   cacerts         GET   the CA certificates
 *   csrattrs        GET   what a request should look like: P-256, ECDSA with SHA-256 (204 when modelled)
 *   simpleenroll    POST  by the attestation certificate: an operational one
 *   simplereenroll  POST  by the operational certificate itself, for the same name; 403 when it is revoked or out of its validity
 *   serverkeygen    POST  as simpleenroll, with a key made here: multipart/mixed, PKCS#8 and certificate (404 when modelled)
 * Requests are application/pkcs10, base64 or DER or modelled; certificates come as application/pkcs7-mime; smime-type=certs-only, base64, or in the
 * modelled form. */
void cloud_certificate_broker_handle(struct cloud_certificate_broker *broker, int64_t now_s,
                                     const struct cloud_peer *peer, const char *method, const char *path,
                                     struct span body, uint8_t *out, size_t capacity, struct cloud_http_reply *reply);

#endif
