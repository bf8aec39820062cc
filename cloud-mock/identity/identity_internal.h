/* identity_internal.h: what the files of this folder share. */
#ifndef IDENTITY_INTERNAL_H
#define IDENTITY_INTERNAL_H

#include "cloud/identity.h"
#include "memory.h"

#include <openssl/evp.h>
#include <openssl/x509.h>

#define IDENTITY_BYTES_MAX 2048 /* one certificate of ours, with room */

struct pki_ca {
    struct cloud_certificate certificate;
    uint8_t *bytes; /* as long as they are: a hierarchy belongs to each cell of the virtual world */
    size_t length;
    X509 *x509;    /* NULL when modelled */
    EVP_PKEY *key; /* NULL when modelled */
};

struct pki_store;

struct cloud_pki {
    bool modelled;
    bool simulating; /* cloud_pki_simulate() */
    struct pki_store *store; /* index of what was issued and revoked; NULL when modelled */
    uint64_t seed;
    uint64_t next_serial;
    struct pki_ca ca[CLOUD_CA_COUNT];
};

extern const char *const identity_ca_file[CLOUD_CA_COUNT];
extern const char *const identity_ca_name[CLOUD_CA_COUNT];
/* The hierarchy and the server's certificate carry fixed dates, so that making them needs no clock and a scenario's calendar fits in. */
#define IDENTITY_CA_NOT_BEFORE_S INT64_C(1577836800) /* 2020-01-01T00:00:00Z */
#define IDENTITY_CA_NOT_AFTER_S  INT64_C(2524607999) /* 2049-12-31T23:59:59Z */

void identity_sha256(const uint8_t *data, size_t length, uint8_t out[32]);
bool identity_is_modelled(struct span bytes);
bool identity_is_pem(struct span bytes);

/* Which name a request may carry (NULL: any), and which one the certificate gets (NULL: the request's). Where both are given, the
 * request may carry either. */
struct issue_names {
    const char *asked, *given;
};
bool issue_allowed(const struct issue_names *names, struct span requested);
size_t pki_issue_as(struct cloud_pki *pki, enum cloud_ca ca, struct span csr, const struct issue_names *names,
                    int64_t now_s, int64_t lifetime_s, uint8_t *out, size_t capacity);

/* modelled.c */
bool modelled_hierarchy(struct cloud_pki *pki); /* false: out of memory */
size_t modelled_issue(struct cloud_pki *pki, enum cloud_ca ca, struct span csr, const struct issue_names *names,
                      int64_t now_s, int64_t lifetime_s, uint8_t *out, size_t capacity);
bool modelled_read(struct span bytes, struct cloud_certificate *out);
bool modelled_parse(struct span bytes, struct cloud_certificate *out); /* without its id, which costs a hash */
size_t modelled_write(const struct cloud_certificate *c, uint64_t key, uint8_t *out, size_t capacity); /* 0: no room */
bool modelled_name_valid(struct span name);
uint64_t modelled_key(const struct cloud_certificate *c);
void modelled_set_key(struct cloud_certificate *c, uint64_t key);
#define MODELLED_BYTES_MAX 224 /* name of 63 characters, numbers as long as they get */

/* real.c */
X509 *real_parse(struct span bytes); /* DER or PEM; the caller frees */
bool real_describe(X509 *x509, struct cloud_certificate *out);
bool real_request_name(struct span csr, char name[64]); /* false: no request, or without a name */
size_t real_issue(struct cloud_pki *pki, enum cloud_ca ca, struct span csr, const struct issue_names *names,
                  int64_t now_s, int64_t lifetime_s, uint8_t *out, size_t capacity);
size_t real_certs_only(struct cloud_pki *pki, const uint8_t *const *der, const size_t *length, int count, uint8_t *out,
                       size_t capacity);
enum real_use { REAL_CA_ROOT, REAL_CA_SUBORDINATE, REAL_SERVER, REAL_CLIENT, REAL_RESPONDER };
struct real_extras {
    const char *url, *ca_file; /* of the OCSP responder and the CRL; NULL or "": the certificate names neither */
    const char *names;         /* alternative names of a server; NULL: this machine's */
};
X509 *real_sign(EVP_PKEY *subject_key, const char *common_name, uint64_t serial, X509 *issuer, EVP_PKEY *issuer_key,
                int64_t not_before_s, int64_t not_after_s, enum real_use use, const struct real_extras *extras);
/* A leaf of one of our CAs, noted in the index. NULL: it cannot be made, or not be noted. */
X509 *real_certify(struct cloud_pki *pki, enum cloud_ca ca, EVP_PKEY *key, const char *common_name,
                   int64_t not_before_s, int64_t not_after_s);
bool real_key_to_der(EVP_PKEY *key, uint8_t *out, size_t *length); /* PKCS#8 */
uint64_t real_serial(void);

/* base64.c: lines of 64 characters, as MIME wants them; decoding skips white space. */
size_t identity_base64_encode(const uint8_t *data, size_t length, uint8_t *out, size_t capacity); /* 0: no room */
bool identity_base64_decode(struct span text, uint8_t *out, size_t capacity, size_t *length);

#endif
