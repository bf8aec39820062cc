/* cloud/pki_store.h: what a PKI's directory remembers: which certificates were issued, which are revoked; the CRLs and the OCSP responder that say so.
 *
 * Of a real hierarchy only; of a modelled one every call answers no (the registry keeps its revocations). Kept in DIR/index.db (SQLite, shared by
 * all processes that use the directory), and for other people's programs as DIR/<ca>.crl (PEM) and DIR/<ca>.crl.der of the operational, the
 * attestation and the claim CA. Thread-safe. Reads no clock: now_s is in epoch seconds.
 */
#ifndef CLOUD_PKI_STORE_H
#define CLOUD_PKI_STORE_H

#include "cloud/identity.h"

/* RFC 5280 5.3.1, by number: 0 unspecified, 1 keyCompromise, 3 affiliationChanged, 4 superseded, 5 cessationOfOperation, 9 privilegeWithdrawn... */
int cloud_revocation_reason(const char *name);        /* -1: no such reason */
const char *cloud_revocation_reason_name(int reason); /* NULL: no such reason */

enum cloud_standing {
    CLOUD_STANDING_UNKNOWN, /* this hierarchy has not issued it, or not since it keeps an index */
    CLOUD_STANDING_GOOD,    /* issued and not revoked; it may have expired */
    CLOUD_STANDING_REVOKED,
};
struct cloud_issued {
    enum cloud_ca ca;
    uint64_t serial;
    uint8_t id[32];
    char common_name[64];
    int64_t not_before_s, not_after_s;
    int64_t revoked_s; /* 0: not revoked */
    int reason;
};
/* *out may be NULL. */
enum cloud_standing cloud_pki_standing(struct cloud_pki *pki, enum cloud_ca ca, uint64_t serial,
                                       struct cloud_issued *out);
/* From memory, for handshakes; as of the last cloud_pki_refresh() or of a change made here. */
bool cloud_pki_is_revoked(struct cloud_pki *pki, enum cloud_ca ca, uint64_t serial);
/* true: something was revoked since the last call, by this process or by another one that uses the directory. Cheap. */
bool cloud_pki_refresh(struct cloud_pki *pki);

/* Those that are revoked, as of the last refresh. Until visit() returns false. */
void cloud_pki_revoked(struct cloud_pki *pki, bool (*visit)(void *context, const struct cloud_issued *issued),
                       void *context);

/* Each returns how many certificates it has revoked now (0: they were already), or -1 with a line in `error`: nothing of that name or number was
 * issued, or the directory cannot be written. The CRLs are written again. `by_name` takes all of one CA's that are not revoked yet. */
int cloud_pki_revoke(struct cloud_pki *pki, enum cloud_ca ca, uint64_t serial, int reason, int64_t now_s, char *error,
                     size_t error_capacity);
int cloud_pki_revoke_by_name(struct cloud_pki *pki, enum cloud_ca ca, const char *common_name, int reason,
                             int64_t now_s, char *error, size_t error_capacity);
/* Which of our CAs has issued that serial number; false: none. */
bool cloud_pki_find(struct cloud_pki *pki, uint64_t serial, enum cloud_ca *ca);

#define CLOUD_CRL_LIFETIME_S (INT64_C(7) * 86400)
/* The CRL in DER, made again when something was revoked since or half its life is over; its number only grows. Written to `out` (NULL: not wanted),
 * returns its length; 0: no room, or none can be made. */
size_t cloud_pki_crl(struct cloud_pki *pki, enum cloud_ca ca, int64_t now_s, uint8_t *out, size_t capacity);
/* The same for the three CAs that have one, and their files when they are not what they should be. false: a line in `error`. */
bool cloud_pki_write_crls(struct cloud_pki *pki, int64_t now_s, char *error, size_t error_capacity);

/* OCSP (RFC 6960): request and response in DER. The response is signed by a certificate that the CA has delegated to it (DIR/ocsp-<ca>.crt), made when it is missing or
 * about to expire. A nonce is echoed. What is no request is answered with malformedRequest. 0: out of memory or room. */
size_t cloud_pki_ocsp(struct cloud_pki *pki, int64_t now_s, struct span request, uint8_t *out, size_t capacity);

/* "http://host[:port][/path]" without a slash at the end: certificates issued from now on say <url>/ocsp and <url>/crl/<ca>.crl. NULL: they say neither, as at
 * first. false: not such a URL. */
bool cloud_pki_set_public_url(struct cloud_pki *pki, const char *url);

#endif
