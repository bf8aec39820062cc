/* registry_internal.h: the index in memory and the database behind it. */
#ifndef REGISTRY_INTERNAL_H
#define REGISTRY_INTERNAL_H

#include "cloud/registry.h"

#include <sqlite3.h>

#define NONE UINT32_MAX

/* Records live in blocks that never move: growing copies nothing and wastes less than one block. */
#define BLOCK_RECORDS 4096u
#define TEXT_BLOCK    65536u

struct blocks {
    uint8_t **list;
    uint32_t block_count, list_capacity, count;
    uint32_t record_size;
};

enum name_flag { NAME_THING = 1, NAME_ALLOWED = 2 };

struct name_record { /* 12 bytes: things, allowed devices and common names are mostly the same text */
    uint32_t text;   /* offset into the text: one length byte, then the name */
    uint32_t created_s;
    uint8_t flags;
};

struct certificate_record { /* 68 bytes */
    uint8_t id[32];
    uint32_t serial_low, serial_high;
    uint32_t not_before_s, not_after_s, registered_s, changed_s;
    uint32_t common_name, thing; /* name records; NONE */
    uint8_t issuer;              /* index into issuers */
    uint8_t status;
};

struct index { /* open addressing, linear probing, record numbers + 1 */
    uint32_t *slots;
    uint32_t mask, used;
};

#define ISSUERS_MAX 250

struct registry_counts {
    uint64_t things, certificates, active, allowed;
};

struct cloud_registry {
    struct blocks names, certificates, text;
    uint32_t text_used; /* of the last text block */
    struct index by_name, by_id;
    uint8_t issuers[ISSUERS_MAX][32];
    uint32_t issuer_count;
    struct registry_counts counts;
    struct database *database; /* NULL: index only */
};

const char *registry_text(const struct cloud_registry *registry, uint32_t name, uint32_t *length);
struct name_record *registry_name_at(const struct cloud_registry *registry, uint32_t number);
struct certificate_record *registry_certificate_at(const struct cloud_registry *registry, uint32_t number);
uint32_t registry_find_certificate(const struct cloud_registry *registry, const uint8_t id[32]);

/* database.c. Writes are gathered in transactions of DATABASE_BATCH rows, or until database_flush(). */
#define DATABASE_BATCH 1000
struct database *database_open(const char *path, char *error, size_t error_capacity);
void database_close(struct database *database);
bool database_flush(struct database *database);
bool database_put_name(struct database *database, const struct cloud_registry *registry, uint32_t number);
bool database_put_certificate(struct database *database, const struct cloud_registry *registry, uint32_t number);
bool database_put_history(struct database *database, int64_t at_s, const uint8_t id[32], const char *thing,
                          const char *event);
/* Reads all rows through the registry's own functions. */
bool database_load(struct database *database, struct cloud_registry *registry);

/* Used by the loader: as the public functions, with both times given. */
bool registry_restore_certificate(struct cloud_registry *registry, const struct cloud_certificate *certificate,
                                  enum cloud_certificate_status status, const char *thing, int64_t registered_s,
                                  int64_t changed_s);
bool registry_restore_name(struct cloud_registry *registry, const char *name, uint8_t flags, int64_t created_s);

#endif
