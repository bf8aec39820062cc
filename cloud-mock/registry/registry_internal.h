/* registry_internal.h: the index in memory and the database behind it. */
#ifndef REGISTRY_INTERNAL_H
#define REGISTRY_INTERNAL_H

#include "cloud/registry.h"

#include "names.h"

struct registry_counts {
    uint64_t things, certificates, active, allowed;
};

struct cloud_registry {
    struct names names;
    struct rows certificates; /* columns: registry.c; fixed bytes: the id */
    struct index by_id;
    struct index by_thing; /* certificates by the thing they are attached to; not there (size 0) until somebody asks */
    struct rows revoked;   /* columns: revoked.c */
    struct index by_revoked;
    uint32_t *spare; /* rows of forgotten certificates, taken again */
    uint32_t spare_count, spare_capacity;
    uint8_t (*issuers)[32];
    uint32_t issuer_count, issuer_capacity;
    struct registry_counts counts;
    struct database *database; /* NULL: index only */
};

struct certificate_row { /* a certificate's row, decoded */
    const uint8_t *id, *issuer;
    uint64_t serial;
    int64_t not_before_s, not_after_s, registered_s, changed_s;
    int64_t revoked_s;           /* REVOKED_NEVER */
    uint32_t common_name, thing; /* names; NAME_NONE */
    enum cloud_certificate_status status;
};
#define REVOKED_NEVER INT64_MIN
void registry_row(const struct cloud_registry *registry, uint32_t number, struct certificate_row *out);
/* A row's number; NAME_NONE: not there. */
uint32_t registry_find(const struct cloud_registry *registry, const uint8_t id[32]);
uint32_t registry_thing(const struct cloud_registry *registry, uint32_t number);
int64_t registry_registered(const struct cloud_registry *registry, uint32_t number);
void registry_describe(const struct cloud_registry *registry, uint32_t number, struct cloud_certificate *out);

/* attached.c: told before and after a row's thing changes. */
void registry_attached(struct cloud_registry *registry, uint32_t number);
void registry_detached(struct cloud_registry *registry, uint32_t number);

/* revoked.c */
#define REVOKED_COLUMNS 2
int64_t registry_revoked_at(const struct cloud_registry *registry, uint32_t number);
bool registry_set_revoked(struct cloud_registry *registry, uint32_t number, int64_t at_s);
void registry_unset_revoked(struct cloud_registry *registry, uint32_t number);

/* database.c. Writes are gathered in transactions of DATABASE_BATCH rows, or until database_flush(). */
#define DATABASE_BATCH 1000
struct database *database_open(const char *path, char *error, size_t error_capacity);
void database_close(struct database *database);
bool database_flush(struct database *database);
bool database_put_name(struct database *database, const struct cloud_registry *registry, uint32_t number);
bool database_put_certificate(struct database *database, const struct cloud_registry *registry, uint32_t number);
bool database_delete_certificate(struct database *database, const uint8_t id[32]);
bool database_put_history(struct database *database, int64_t at_s, const uint8_t id[32], const char *thing,
                          const char *event);
/* Reads all rows through the registry's own functions. */
bool database_load(struct database *database, struct cloud_registry *registry);

/* Used by the loader: as the public functions, with all times given. */
bool registry_restore_certificate(struct cloud_registry *registry, const struct cloud_certificate *certificate,
                                  enum cloud_certificate_status status, const char *thing, int64_t registered_s,
                                  int64_t changed_s, int64_t revoked_s);
bool registry_restore_name(struct cloud_registry *registry, const char *name, uint8_t flags, int64_t created_s);

#endif
