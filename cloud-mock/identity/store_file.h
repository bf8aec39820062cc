/* store_file.h: the identity store's file, as its two halves see it. */
#ifndef IDENTITY_STORE_FILE_H
#define IDENTITY_STORE_FILE_H

#include "cloud/identity_store.h"
#include "pki_store_internal.h"

#include <sys/types.h>

#define STORE_HEAD_BYTES 4096
#define STORE_SLOT_BYTES 1024
#define STORE_KEY_BYTES  138 /* PKCS#8 of a P-256 pair */

struct store_head {
    char magic[8];
    uint32_t slot_bytes, digits;
    uint8_t ca_id[32];
    char names[64];
    uint64_t first_number;
    int64_t lifetime_s, not_before_s;
    uint64_t count, not_count;
};

struct store_slot {
    uint16_t certificate_length, key_length;
    uint32_t reserved;
    uint64_t sum;
    uint8_t bytes[STORE_SLOT_BYTES - 16];
};
_Static_assert(sizeof(struct store_slot) == STORE_SLOT_BYTES, "slots lie side by side");

struct cloud_identity_store {
    struct cloud_pki *pki;
    enum cloud_ca ca;
    struct store_head head;
    int fd;
    bool writable;
    char path[600];
};

static inline off_t identity_store_offset(uint64_t index)
{
    return (off_t)(STORE_HEAD_BYTES + index * STORE_SLOT_BYTES);
}

uint64_t identity_store_sum(const struct store_slot *slot, uint64_t index);
bool identity_store_read_head(struct cloud_identity_store *store);
bool identity_store_write_head(struct cloud_identity_store *store); /* and waits for the disk */

/* store_press.c: one a thread. Fills lengths and bytes of the slot, serial and id of what is issued; NULL, or what went wrong. */
struct store_press;
struct store_press *store_press_open(const struct cloud_identity_store *store);
void store_press_close(struct store_press *press);
const char *store_press_make(struct store_press *press, struct cloud_certificate *issued, struct store_slot *slot);

#endif
