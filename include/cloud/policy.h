/* cloud/policy.h: policy documents: who may connect, publish, subscribe, receive and retain what (cloud-contract 7).
 *
 * A document is compiled once and evaluated often; no allocation while deciding. Wildcards '*' and '?'; '+' and '#' are literal. Explicit deny
 * before allow before nothing said. A variable that cannot be resolved: the statement does not match.
 */
#ifndef CLOUD_POLICY_H
#define CLOUD_POLICY_H

#include "cloud/broker.h"

#define CLOUD_POLICY_DOCUMENT_MAX 2048
#define CLOUD_POLICIES_MAX        10 /* attached to one principal */

enum cloud_action { /* iot:Connect ... iot:RetainPublish */
                    CLOUD_ACTION_CONNECT,
                    CLOUD_ACTION_PUBLISH,
                    CLOUD_ACTION_SUBSCRIBE,
                    CLOUD_ACTION_RECEIVE,
                    CLOUD_ACTION_RETAIN_PUBLISH,
                    CLOUD_ACTION_COUNT
};

/* Who asks: what the variables of a document stand for. All spans may be empty: unknown. */
struct cloud_principal {
    struct span client_id;
    struct span thing; /* attached to the certificate; thing variables resolve only when it equals the client id */
    struct span thing_type;
    const struct cloud_peer *peer; /* certificate id and fields, source address */
    /* ${iot:Connection.Thing.Attributes[name]}; NULL: none. false: no such attribute. */
    bool (*attribute)(void *context, struct span name, struct span *value);
    void *attribute_context;
    bool persistent, last_will; /* iot:ConnectAttributes, with CLOUD_ACTION_CONNECT */
};

enum cloud_decision { CLOUD_NOT_SAID, CLOUD_ALLOWED, CLOUD_DENIED };

struct cloud_policy;
/* NULL: *error has one line with the place ("statement 2: unknown action iot:Foo"). The document is copied. */
struct cloud_policy *cloud_policy_compile(struct span document, char *error, size_t error_capacity);
void cloud_policy_free(struct cloud_policy *policy);
struct span cloud_policy_document(const struct cloud_policy *policy);

/* name: client id, topic or filter as the packet says it; the policy's resources are "arn:aws:iot:<region>:<account>:client/..." and
 * so on, of which region and account are not looked at. Only CLOUD_ALLOWED is a yes. */
enum cloud_decision cloud_policy_decide(const struct cloud_policy *const *policies, uint32_t count,
                                        enum cloud_action action, struct span name,
                                        const struct cloud_principal *principal);

/* What an audit finds in a document (cloud-contract 5): IOT_POLICY_OVERLY_PERMISSIVE_CHECK and IOT_POLICY_POTENTIAL_MISCONFIGURATION_CHECK. */
enum cloud_policy_finding {
    CLOUD_POLICY_BROAD_ACCESS = 1,          /* ALLOWS_BROAD_ACCESS_TO_IOT_DATA_PLANE_ACTIONS */
    CLOUD_POLICY_MQTT_WILDCARD_IN_DENY = 2, /* POLICY_CONTAINS_MQTT_WILDCARDS_IN_DENY_STATEMENT */
    CLOUD_POLICY_DENY_EVADED = 4,           /* TOPIC_FILTERS_INTENDED_TO_DENY_ALLOWED_USING_WILDCARDS */
};
uint32_t cloud_policy_audit(const struct cloud_policy *policy);

/* Documents the product ships: "vehicle" (least privilege by variables), "claim" (only what claiming needs), "wide" (everything: a flaw).
 * NULL: no such name. */
const char *cloud_policy_shipped(const char *name);

#endif
