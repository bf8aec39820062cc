/* cloud/registry.h: what the cloud knows of vehicles and certificates. SQLite keeps it; a small index in memory answers the hot questions.
 *
 * Rows: thing (name, cohort attributes, state, created), certificate (id, issuer, serial, status, common name, validity, thing), device history.
 */
#ifndef CLOUD_REGISTRY_H
#define CLOUD_REGISTRY_H

#include "cloud/identity.h"

struct cloud_registry;

/* path: a file, or ":memory:", or NULL: index only, written with cloud_registry_save(). NULL: *error says why. */
struct cloud_registry *cloud_registry_open(const char *path, char *error, size_t error_capacity);
void cloud_registry_close(struct cloud_registry *registry);
/* Commits what is written but not yet durable (rows are gathered). Call when idle. false: the database refused. */
bool cloud_registry_flush(struct cloud_registry *registry);
bool cloud_registry_save(struct cloud_registry *registry,
                         const char *path); /* all rows into a database file, one transaction */

enum cloud_certificate_status cloud_registry_status(const struct cloud_registry *registry,
                                                    const uint8_t certificate_id[32]);
/* Inserts or changes. false: out of space. */
bool cloud_registry_put_certificate(struct cloud_registry *registry, const struct cloud_certificate *certificate,
                                    enum cloud_certificate_status status, const char *thing, int64_t now_s);
bool cloud_registry_set_status(struct cloud_registry *registry, const uint8_t certificate_id[32],
                               enum cloud_certificate_status status, int64_t now_s);
bool cloud_registry_put_thing(struct cloud_registry *registry, const char *thing, int64_t now_s); /* idempotent */
/* The thing and all of its certificates go for good; an announced device stays announced. false: unknown, or the database refused. */
bool cloud_registry_forget_thing(struct cloud_registry *registry, const char *thing);
bool cloud_registry_has_thing(const struct cloud_registry *registry, const char *thing);
/* false: unknown. key_id and is_ca are not kept. */
bool cloud_registry_certificate(const struct cloud_registry *registry, const uint8_t certificate_id[32],
                                struct cloud_certificate *out);
/* The thing a certificate is attached to; false if none. */
bool cloud_registry_thing_of(const struct cloud_registry *registry, const uint8_t certificate_id[32], char thing[64]);
/* Certificates attached to a thing, in the order they were put. Until visit() returns false. */
void cloud_registry_of_thing(const struct cloud_registry *registry, const char *thing,
                             bool (*visit)(void *context, const struct cloud_certificate *certificate,
                                           enum cloud_certificate_status status),
                             void *context);
/* ACTIVE ones of all things that run out before not_after_s; the same way. */
void cloud_registry_expiring(const struct cloud_registry *registry, int64_t not_after_s,
                             bool (*visit)(void *context, const struct cloud_certificate *certificate,
                                           const char *thing),
                             void *context);
/* The row goes for good (an unused certificate whose token has run out). false: unknown. */
bool cloud_registry_forget_certificate(struct cloud_registry *registry, const uint8_t certificate_id[32]);
/* Revoked by its CA: kept beside the status, because a certificate may be revoked and still ACTIVE (an audit finds that). */
bool cloud_registry_revoke(struct cloud_registry *registry, const uint8_t certificate_id[32], int64_t now_s);
bool cloud_registry_is_revoked(const struct cloud_registry *registry, const uint8_t certificate_id[32]);
void cloud_registry_revoked(const struct cloud_registry *registry,
                            bool (*visit)(void *context, const struct cloud_certificate *certificate, int64_t at_s),
                            void *context);
/* Devices the TCU's maker has announced (allow list). is_allowed: true for everybody while the list is empty. */
bool cloud_registry_allow(struct cloud_registry *registry, const char *common_name);
bool cloud_registry_is_allowed(const struct cloud_registry *registry, const char *common_name);
void cloud_registry_counts(const struct cloud_registry *registry, uint64_t *things, uint64_t *certificates,
                           uint64_t *active);
uint64_t cloud_registry_bytes(const struct cloud_registry *registry);

#endif
