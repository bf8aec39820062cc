/* cloud/services.h: the services around the broker, as clients of a bus: just-in-time registration, presence, commands, processors.
 *
 * A cloud profile says under which topics, and what a broker of somebody else's cannot do at all (cloud_unavailable()).
 */
#ifndef CLOUD_SERVICES_H
#define CLOUD_SERVICES_H

#include "cloud/bus.h"
#include "cloud/registry.h"

/* ---- profiles ----------------------------------------------------------------------------------------------------- */

struct cloud_profile {
    const char *name;           /* "embedded", "plain" */
    const char *event_prefix;   /* "$aws/events" or "convoy/events" */
    bool registration;          /* just-in-time registration is possible */
    bool presence_events;       /* the broker tells; otherwise presence comes from wills on presence_topic */
    const char *presence_topic; /* agent's template, "" when presence_events */
    const char *unavailable;    /* comma-separated features this cloud cannot offer: "registration" */
    const char *reserved;       /* prefix of reserved topics, '%' = client id: "$aws/", "convoy/%/" */
};
const struct cloud_profile *cloud_profile_find(const char *name);

/* What registration and commands begin with: the world asks for it after every event, so it is read without a call. */
struct cloud_due {
    int64_t next_us; /* TIME_NEVER: nothing to wait for */
};

/* ---- just-in-time registration ------------------------------------------------------------------------------------- */

enum cloud_ocsp_status { CLOUD_OCSP_GOOD, CLOUD_OCSP_REVOKED, CLOUD_OCSP_UNKNOWN };
/* Of the CA whose certificates register themselves (cloud-contract 1.1). */
enum cloud_ca_mode { CLOUD_CA_MODE_DEFAULT, CLOUD_CA_MODE_SNI_ONLY };
/* A certificate for a thing that has an ACTIVE one: beside it, not at all, or in its place. */
enum cloud_duplicate { CLOUD_DUPLICATE_ACCEPT, CLOUD_DUPLICATE_REFUSE, CLOUD_DUPLICATE_REPLACE };

struct cloud_registration_options {
    int64_t activation_delay_us;          /* event to ACTIVE: how long the rule and its checks take */
    int64_t (*draw_delay)(void *context); /* instead, when not NULL */
    void *draw_context;
    bool check_allow_list;
    int64_t epoch_us;         /* wall = epoch + now */
    const char *event_prefix; /* NULL: "$aws/events"; cloud_create() fills in the profile's */
    /* Told of each certificate that has been made ACTIVE; may be NULL. */
    void (*activated)(void *context, int64_t now_us, const struct cloud_certificate *certificate);
    void *activated_context;
    /* The rest is off when zero. The rule asks the CA's responder; what is not good becomes INACTIVE. */
    enum cloud_ocsp_status (*ocsp)(void *context, int64_t now_us, const struct cloud_certificate *certificate);
    void *ocsp_context;
    enum cloud_duplicate duplicate;
    bool ca_inactive, auto_registration_disabled; /* new certificates are refused, known ones keep working */
    bool any_client_id;                           /* an ACTIVE certificate is good for every client id */
    enum cloud_ca_mode ca_mode;                   /* SNI_ONLY: every connect must name one of `endpoints` */
    const char *endpoints; /* comma-separated host names, letters of any case; lent as long as the registration lives */
};
/* Why a connect was refused, or (from ALLOW_LIST to DUPLICATE) a pending certificate made INACTIVE. */
enum cloud_registration_refusal {
    CLOUD_REFUSAL_STRANGER, /* not of our operational CA, or not readable */
    CLOUD_REFUSAL_VALIDITY,
    CLOUD_REFUSAL_CA_INACTIVE,
    CLOUD_REFUSAL_NO_AUTO_REGISTRATION,
    CLOUD_REFUSAL_SERVER_NAME,
    CLOUD_REFUSAL_FIRST,       /* unknown until then: as just-in-time registration wants it */
    CLOUD_REFUSAL_PENDING,     /* came back before it was activated */
    CLOUD_REFUSAL_STATUS,      /* INACTIVE or REVOKED */
    CLOUD_REFUSAL_OTHER_THING, /* the client id is not the certificate's thing */
    CLOUD_REFUSAL_ALLOW_LIST,
    CLOUD_REFUSAL_OCSP_REVOKED,
    CLOUD_REFUSAL_OCSP_UNKNOWN,
    CLOUD_REFUSAL_DUPLICATE,
    CLOUD_REFUSALS
};
const char *cloud_registration_refusal_name(enum cloud_registration_refusal refusal); /* "allow list" */
struct cloud_registration;
struct cloud_registration *cloud_registration_create(const struct cloud_registration_options *options,
                                                     const struct cloud_pki *pki, struct cloud_registry *registry,
                                                     struct cloud_bus *bus);
void cloud_registration_destroy(struct cloud_registration *registration);
/* For the broker's hook: unknown certificate of our operational CA -> PENDING_ACTIVATION, event on <prefix>/certificates/registered/<caCertificateId>,
 * refused silently; pending -> event again, refused; ACTIVE -> client id must be the certificate's thing; else refused 0x87. */
struct cloud_authorisation cloud_registration_authorise(struct cloud_registration *registration, int64_t now_us,
                                                        const struct mq5_connect *connect,
                                                        const struct cloud_peer *peer);
/* It is this service that has the certificate pending, not another that made it. */
bool cloud_registration_knows(const struct cloud_registration *registration, const uint8_t certificate_id[32]);
static inline int64_t cloud_registration_next_deadline(const struct cloud_registration *registration)
{
    return ((const struct cloud_due *)(const void *)registration)->next_us;
}
void cloud_registration_tick(struct cloud_registration *registration, int64_t now_us); /* activations that are due */
/* Certificates of the thing that are pending: nothing comes of them, and their rows go. */
void cloud_registration_forget(struct cloud_registration *registration, const char *thing);
/* Counters: first refusals, activations, strangers refused. */
void cloud_registration_counts(const struct cloud_registration *registration, uint64_t *refused, uint64_t *activated,
                               uint64_t *strangers);
uint64_t cloud_registration_refusals(const struct cloud_registration *registration,
                                     enum cloud_registration_refusal refusal);
/* The CA's state as an operator changes it: as in the options. */
void cloud_registration_set_ca(struct cloud_registration *registration, bool inactive, bool auto_registration_disabled);
uint64_t cloud_registration_bytes(const struct cloud_registration *registration);

/* ---- presence ------------------------------------------------------------------------------------------------------ */

struct cloud_presence; /* publishes lifecycle events (cloud-contract 4): call from the broker's hooks */
struct cloud_presence *cloud_presence_create(struct cloud_bus *bus, const struct cloud_profile *profile,
                                             int64_t epoch_us);
void cloud_presence_destroy(struct cloud_presence *presence);
void cloud_presence_connected(struct cloud_presence *presence, int64_t now_us, struct span client_id,
                              const struct cloud_peer *peer);
void cloud_presence_disconnected(struct cloud_presence *presence, int64_t now_us, struct span client_id,
                                 const struct cloud_peer *peer, enum cloud_close_reason reason);
uint64_t cloud_presence_bytes(const struct cloud_presence *presence);

/* ---- commands ------------------------------------------------------------------------------------------------------ */

enum cloud_command_outcome {
    CLOUD_COMMAND_SUCCEEDED,
    CLOUD_COMMAND_FAILED,
    CLOUD_COMMAND_REJECTED,
    CLOUD_COMMAND_TIMED_OUT,
    CLOUD_COMMAND_NOT_SENT
};
struct cloud_command_result {
    uint64_t id;    /* as given by cloud_command_send() */
    uint64_t token; /* the caller's */
    enum cloud_command_outcome outcome;
    int64_t asked_us, answered_us;
    bool late; /* answered after the time-out: reported a second time */
};
struct cloud_command_options {
    const char *request_topic; /* template, '%' = thing: "cmd/%/request" */
    const char
        *response_topic; /* where answers come: "cmd/%/response"; the service subscribes with '+' for the thing */
    uint64_t id_base;    /* ids are id_base + n: unique between instances */
    void (*result)(void *context, int64_t now_us, const struct cloud_command_result *result);
    /* Fault injection: false loses the command between service and broker (it counts as sent). May be NULL. */
    bool (*pass)(void *context, struct span thing);
    void *context;
};
struct cloud_commands;
struct cloud_commands *cloud_commands_create(const struct cloud_command_options *options, struct cloud_bus *bus,
                                             int64_t now_us);
void cloud_commands_destroy(
    struct cloud_commands *commands); /* its bus must deliver nothing afterwards: close it, too */
/* Publishes {"command":"<name>","id":"<hex>"} QoS 1 with response topic, correlation data (8 bytes, big-endian id) and message expiry = timeout.
 * Returns the id; the outcome comes through result(), exactly one not-late call each. */
uint64_t cloud_command_send(struct cloud_commands *commands, int64_t now_us, struct span thing, struct span command,
                            int64_t timeout_us, uint64_t token);
static inline int64_t cloud_commands_next_deadline(const struct cloud_commands *commands)
{
    return ((const struct cloud_due *)(const void *)commands)->next_us;
}
void cloud_commands_tick(struct cloud_commands *commands, int64_t now_us);
uint64_t cloud_commands_open(const struct cloud_commands *commands);
uint64_t cloud_commands_bytes(const struct cloud_commands *commands);

/* ---- telemetry processors ------------------------------------------------------------------------------------------ */

struct cloud_telemetry { /* what a processor found in one message */
    struct span thing;   /* from the topic */
    uint32_t number;     /* "n" */
    int64_t wall_us;     /* "ts": intended */
    uint32_t payload_bytes;
    bool valid; /* payload and topic agree and parse */
};
/* A topic template, "dt/%/telemetry", taken apart; borrows the text. */
struct cloud_telemetry_topic {
    const char *before, *behind;
    uint32_t before_length, behind_length;
};
struct cloud_telemetry_topic cloud_telemetry_topic(const char *topic_template);
/* Finds the thing and reads the head of the payload without parsing the rest. false: another topic. */
bool cloud_telemetry_take(const struct cloud_telemetry_topic *topic, const struct mq5_publish *message,
                          struct cloud_telemetry *out);
/* Both in one. */
bool cloud_telemetry_read(const char *topic_template, const struct mq5_publish *message, struct cloud_telemetry *out);

/* ---- in-process cloud: broker + services, as used by a partition and by `convoy cloud` ---------------------------- */

struct cloud_lifecycle;
struct cloud_lifecycle_options;
struct cloud_reserved;
int64_t cloud_reserved_next_deadline(const struct cloud_reserved *reserved); /* as cloud/reserved.h says */
struct cloud_shadow_options;
struct cloud_executions_options;

struct cloud_options {
    struct cloud_broker_options broker;
    struct cloud_registration_options registration;
    const struct cloud_profile *profile;
    int64_t certificate_lifetime_s;
    int64_t epoch_us;
    uint64_t seed;
    bool
        require_certificate; /* connects must pass registration; false: clear-text and password listeners decide by peer->has_certificate */
    const char *user_name,
        *password; /* accepted on connections without certificate when not NULL; "%": the client id */
    /* A method of enhanced authentication, as in cloud_broker_ops, with the door as the context; who is through needs neither user nor password. NULL: none. */
    struct cloud_authentication (*authenticate)(void *door, int64_t now_us, void *link,
                                                enum cloud_authentication_step step, struct span method,
                                                struct span data);
    /* The life of identities (cloud/lifecycle.h): policies, jobs, provisioning, vehicle registry; NULL: nothing of it. Copied. */
    const struct cloud_lifecycle_options *lifecycle;
    /* Device Shadow (cloud/shadow.h) and the commands feature (cloud/executions.h), as cloud/reserved.h says; NULL: not offered. Copied. */
    const struct cloud_shadow_options *shadow;
    const struct cloud_executions_options *executions;
    char *error; /* cloud_create() says here in one line why a lifecycle cannot be; may be NULL */
    size_t error_capacity;
};
/* All parts of one cloud instance; fields are for reading and for wiring extra hooks (broker_ops is copied before creation). */
struct cloud {
    struct cloud_broker *broker;
    struct cloud_registry *registry;
    struct cloud_pki *pki;
    struct cloud_registration *registration;
    struct cloud_presence *presence;
    struct cloud_lifecycle *lifecycle; /* NULL: without */
    struct cloud_reserved *reserved;   /* NULL: neither shadows nor executions */
    int64_t now_us;                    /* for hooks that are not told; kept while there is a lifecycle */
    struct cloud_certificate_broker certificates;
    struct cloud_bus *bus; /* the services' own */
    struct cloud_options options;
    struct cloud_broker_ops ops;
    void *door; /* context of send and close */
    void (*send)(void *door, void *link, const uint8_t *data, size_t length);
    void (*close)(void *door, void *link, enum cloud_close_reason reason);
    /* extra hooks of the owner, called after the cloud's own; may be NULL */
    void (*on_connected)(void *door, int64_t now_us, struct span client_id, const struct cloud_peer *peer,
                         const struct mq5_connect *connect, bool resumed);
    void (*on_disconnected)(void *door, int64_t now_us, struct span client_id, const struct cloud_peer *peer,
                            enum cloud_close_reason reason);
    void (*on_refused)(void *door, int64_t now_us, struct span client_id, const struct cloud_peer *peer,
                       uint8_t reason);
    /* Asked before anything else at a connect: does the client belong to another region or broker? MQ5_SUCCESS: no, it goes on here. */
    struct cloud_authorisation (*elsewhere)(void *door, int64_t now_us, const struct mq5_connect *connect);
    void *guide; /* given to elsewhere() and inbound() instead of the door; NULL: the door */
    bool (*inbound)(void *door, int64_t now_us, struct span client_id, const struct mq5_packet *packet);
    bool (*outbound)(void *door, int64_t now_us, struct span client_id, const struct mq5_packet *packet);
    const struct cloud_peer *(*peer)(void *door, void *link); /* as in cloud_broker_ops; NULL: known from the opening */
};
/* pki and registry are borrowed (may be shared by several clouds of one thread). send/close as in cloud_broker_ops, with `door` as the context. */
bool cloud_create(struct cloud *cloud, const struct cloud_options *options, struct cloud_pki *pki,
                  struct cloud_registry *registry,
                  void (*send)(void *door, void *link, const uint8_t *data, size_t length),
                  void (*close)(void *door, void *link, enum cloud_close_reason reason), void *door);
void cloud_destroy(struct cloud *cloud);
static inline int64_t cloud_next_deadline(const struct cloud *cloud)
{
    int64_t broker_us = cloud_broker_next_deadline(cloud->broker),
            registration_us = cloud_registration_next_deadline(cloud->registration);
    int64_t next_us = broker_us < registration_us ? broker_us : registration_us;
    if (cloud->lifecycle) {
        int64_t life_us = ((const struct cloud_due *)(const void *)cloud->lifecycle)->next_us;
        next_us = life_us < next_us ? life_us : next_us;
    }
    if (cloud->reserved) {
        int64_t due_us = cloud_reserved_next_deadline(cloud->reserved);
        next_us = due_us < next_us ? due_us : next_us;
    }
    return next_us;
}
uint64_t cloud_bytes(const struct cloud *cloud); /* of its services; broker, registry and hierarchy tell theirs */
void cloud_tick(struct cloud *cloud, int64_t now_us);

#endif
