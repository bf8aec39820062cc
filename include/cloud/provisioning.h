/* cloud/provisioning.h: fleet provisioning by claim, and new certificates for vehicles that have one (cloud-contract 1.4, 12.1).
 *
 * certificates/create-from-csr/json, certificates/create/json (the cloud makes the key), provisioning-templates/<template>/provision/json.
 * A certificate made here is PENDING_ACTIVATION until provision names its ownership token on the same connection's client id; an unused one is
 * deleted when its token runs out. A granted token stays good for the same answer until then: answers get lost. No I/O, no clock; memory from memory.h.
 */
#ifndef CLOUD_PROVISIONING_H
#define CLOUD_PROVISIONING_H

#include "cloud/registry.h"
#include "cloud/speaker.h"

#define CLOUD_TEMPLATE_NAME_MAX 36
#define CLOUD_TEMPLATE_BODY_MAX 10240

struct cloud_hook_request {           /* cloud-contract 1.4; lent during the call */
    struct span claim_certificate_id; /* 64 hex digits */
    struct span certificate_id;       /* of the new certificate, 64 hex digits */
    struct span template_name, client_id;
    struct span parameters; /* JSON object */
};
struct cloud_hook_answer {
    bool allow;
    char thing[64];   /* parameterOverrides: "" or the thing name to use */
    int64_t delay_us; /* how long the hook takes; above 5 s provisioning fails */
};
struct cloud_provisioned { /* a provision request that was granted */
    struct span thing, client_id, template_name;
    struct span policy; /* named by the template, "" none */
    const struct cloud_certificate *certificate;
    bool renewal; /* asked by the thing itself over its operational certificate, not over a claim */
};
struct cloud_provisioning_options {
    struct cloud_pki *pki;
    struct cloud_registry *registry;
    struct cloud_speaker speaker;
    int64_t epoch_us, certificate_lifetime_s;
    int64_t token_life_us; /* 0: 1 h */
    int64_t issue_us;      /* computing time of a certificate: the answer comes so much later */
    uint64_t seed;         /* of ownership tokens */
    /* Pre-provisioning hook; NULL: everything is allowed. */
    struct cloud_hook_answer (*hook)(void *context, int64_t now_us, const struct cloud_hook_request *request);
    void (*provisioned)(void *context, int64_t now_us, const struct cloud_provisioned *provisioned); /* may be NULL */
    /* Fault injection: false: the granted certificate is answered but never made ACTIVE; may be NULL. */
    bool (*activate)(void *context, struct span thing);
    /* Fault injection: false: the answer is lost on the way; may be NULL. */
    bool (*pass)(void *context, struct span client_id, struct span topic);
    void *context;
};
struct cloud_provisioning;
struct cloud_provisioning *cloud_provisioning_create(const struct cloud_provisioning_options *options);
void cloud_provisioning_destroy(struct cloud_provisioning *provisioning);
/* body: the template document of cloud-contract 1.3 (Parameters, Resources, DeviceConfiguration; OverrideSettings). false: *error one line. */
bool cloud_provisioning_template(struct cloud_provisioning *provisioning, const char *name, struct span body,
                                 char *error, size_t error_capacity);
/* "claim" and "rotation" as the product ships them; thing name = parameter "reference". NULL: no such name. Known without being given above,
 * unless another of that name is. */
const char *cloud_template_shipped(const char *name);
/* false: not a topic of provisioning. A CSR's name must be the client's own thing (renewal), or, over a claim certificate, the name that
 * provision will give (where the cloud makes the key, that is the client id); a claim certificate is one of CLOUD_CA_CLAIM. Without peer a client
 * whose id is a thing already renews, any other claims. */
bool cloud_provisioning_request(struct cloud_provisioning *provisioning, int64_t now_us,
                                const struct cloud_request *request);
int64_t
cloud_provisioning_next_deadline(const struct cloud_provisioning *provisioning); /* answers due, tokens running out */
void cloud_provisioning_tick(struct cloud_provisioning *provisioning, int64_t now_us);
struct cloud_provisioning_counts {
    uint64_t issued, granted, denied, rejected, expired;
};
void cloud_provisioning_count(const struct cloud_provisioning *provisioning, struct cloud_provisioning_counts *out);
uint64_t cloud_provisioning_bytes(const struct cloud_provisioning *provisioning);

#endif
