/* keys_internal.h: what the two kinds of key service share: the form of a sealed command, and the sequences given so far. */
#ifndef SERVICES_KEYS_INTERNAL_H
#define SERVICES_KEYS_INTERNAL_H

#include "cloud/keys.h"

#define KEYS_HEAD      16 /* "CV", version, flags, sequence, expires */
#define KEYS_ID        8
#define KEYS_TAG       16
#define KEYS_SIGNATURE 64
#define KEYS_PLAIN_MAX (CLOUD_SEALED_MAX - KEYS_HEAD - KEYS_TAG - KEYS_SIGNATURE)

/* What a kind does with a command being made: `sealed` holds the head, and plain text of `plain_length` where the cipher text belongs. */
struct keys_kind {
    void (*vehicle_key)(const struct cloud_keys *keys, struct span thing, uint8_t out[CLOUD_VEHICLE_KEY]);
    size_t (*public_key)(const struct cloud_keys *keys, uint8_t *out, size_t capacity);
    /* Encrypts in place, writes tag and signature behind. false: it cannot be done. */
    bool (*protect)(const struct cloud_keys *keys, const uint8_t vehicle_key[CLOUD_VEHICLE_KEY], uint8_t *sealed,
                    size_t plain_length);
    void (*destroy)(struct cloud_keys *keys);
};

/* Things are known by a hash of their names: two that share it share a counter, which still only grows for both. */
struct keys_row {
    uint64_t thing; /* 0: free */
    uint64_t next;
};

struct cloud_keys {
    const struct keys_kind *kind;
    struct keys_row *rows; /* open addressing, a power of two of them */
    uint32_t row_count, row_capacity;
    uint64_t first;
    uint64_t seed; /* modelled */
};

#endif
