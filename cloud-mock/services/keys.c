/* keys.c: sealed commands: their form, their sequences, and the modelled cryptography.
 *
 * Modelled: a 64-bit keyed hash in place of AES-GCM's tag and of the signature, its words as key stream. It finds every change and every wrong key, and
 * stands for strength only: whoever knows the "public" key could sign. Who forges in a modelled world signs with another.
 */
#include "keys_internal.h"

#include "memory.h"

#define ROWS_AT_FIRST 8

/* ---- form ------------------------------------------------------------------------------------------------------------- */

static void put_number(uint8_t *out, uint64_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        out[i] = (uint8_t)(value >> (8 * (bytes - 1 - i)));
}

static uint64_t get_number(const uint8_t *in, unsigned bytes)
{
    uint64_t value = 0;
    for (unsigned i = 0; i < bytes; i++)
        value = value << 8 | in[i];
    return value;
}

static void put_head(uint8_t out[KEYS_HEAD], uint64_t sequence, uint32_t expires_s)
{
    static const uint8_t form[4] = {'C', 'V', 1, 0};
    memcpy(out, form, sizeof(form));
    put_number(out + 4, sequence, 8);
    put_number(out + 12, expires_s, 4);
}

/* The plain text's length; 0: not of this form. */
static size_t plain_length(struct span sealed)
{
    static const uint8_t form[4] = {'C', 'V', 1, 0};
    if (sealed.length <= CLOUD_SEALED_OVERHEAD || sealed.length > CLOUD_SEALED_MAX ||
        memcmp(sealed.data, form, sizeof(form)) != 0)
        return 0;
    return sealed.length - KEYS_HEAD - KEYS_TAG - KEYS_SIGNATURE;
}

/* ---- the model -------------------------------------------------------------------------------------------------------- */

static uint64_t mix(uint64_t x)
{
    x += UINT64_C(0x9E3779B97F4A7C15);
    x = (x ^ x >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ x >> 27) * UINT64_C(0x94D049BB133111EB);
    return x ^ x >> 31;
}

/* Each step is a bijection of the state for a given word: two texts of one length that differ in one word never have the same hash. */
static uint64_t hash_bytes(uint64_t state, const uint8_t *bytes, size_t length)
{
    state = mix(state ^ length);
    for (; length >= 8; bytes += 8, length -= 8)
        state = mix(state ^ get_number(bytes, 8));
    return length ? mix(state ^ get_number(bytes, (unsigned)length)) : state;
}

static void put_words(uint8_t *out, size_t length, uint64_t key)
{
    for (size_t i = 0; i < length; i += 8)
        put_number(out + i, mix(key + i), 8);
}

static bool words_are(const uint8_t *bytes, size_t length, uint64_t key)
{
    uint8_t wanted[KEYS_SIGNATURE];
    put_words(wanted, length, key);
    return memcmp(bytes, wanted, length) == 0;
}

/* XOR with the stream of this key and sequence: there and back. */
static void stream(const uint8_t key[CLOUD_VEHICLE_KEY], const uint8_t head[KEYS_HEAD], const uint8_t *in, uint8_t *out,
                   size_t length)
{
    uint8_t words[(KEYS_PLAIN_MAX + 7) / 8 * 8] = {0};
    put_words(words, (length + 7) / 8 * 8, hash_bytes(hash_bytes(1, key, CLOUD_VEHICLE_KEY), head + 4, 8));
    for (size_t i = 0; i < length; i++)
        out[i] = in[i] ^ words[i];
}

static uint64_t tag_of(const uint8_t key[CLOUD_VEHICLE_KEY], const uint8_t *sealed, size_t length)
{
    return hash_bytes(hash_bytes(2, key, CLOUD_VEHICLE_KEY), sealed, KEYS_HEAD + length);
}

static uint64_t signature_of(struct span public_key, const uint8_t *sealed, size_t length)
{
    return hash_bytes(hash_bytes(3, public_key.data, public_key.length), sealed, KEYS_HEAD + length + KEYS_TAG);
}

static void modelled_vehicle_key(const struct cloud_keys *keys, struct span thing, uint8_t out[CLOUD_VEHICLE_KEY])
{
    put_words(out, CLOUD_VEHICLE_KEY, hash_bytes(mix(keys->seed), thing.data, thing.length));
}

static size_t modelled_public_key(const struct cloud_keys *keys, uint8_t *out, size_t capacity)
{
    if (capacity < CLOUD_VEHICLE_KEY)
        return 0;
    put_words(out, CLOUD_VEHICLE_KEY, mix(mix(keys->seed) ^ 1));
    return CLOUD_VEHICLE_KEY;
}

static void protect(struct span public_key, const uint8_t vehicle_key[CLOUD_VEHICLE_KEY], uint8_t *sealed,
                    size_t length)
{
    uint8_t *tag = sealed + KEYS_HEAD + length;
    stream(vehicle_key, sealed, sealed + KEYS_HEAD, sealed + KEYS_HEAD, length);
    put_words(tag, KEYS_TAG, tag_of(vehicle_key, sealed, length));
    put_words(tag + KEYS_TAG, KEYS_SIGNATURE, signature_of(public_key, sealed, length));
}

static bool modelled_protect(const struct cloud_keys *keys, const uint8_t vehicle_key[CLOUD_VEHICLE_KEY],
                             uint8_t *sealed, size_t length)
{
    uint8_t public_key[CLOUD_VEHICLE_KEY];
    modelled_public_key(keys, public_key, sizeof(public_key));
    protect(span_of(public_key, sizeof(public_key)), vehicle_key, sealed, length);
    return true;
}

static void modelled_destroy(struct cloud_keys *keys)
{
    memory_free(keys);
}

struct cloud_keys *cloud_keys_modelled(uint64_t seed)
{
    static const struct keys_kind kind = {modelled_vehicle_key, modelled_public_key, modelled_protect,
                                          modelled_destroy};
    struct cloud_keys *keys = memory_allocate_zero(1, sizeof(*keys));
    if (!keys)
        return NULL;
    keys->kind = &kind;
    keys->first = 1;
    keys->seed = seed;
    return keys;
}

size_t cloud_keys_modelled_unseal(struct span public_key, const uint8_t vehicle_key[CLOUD_VEHICLE_KEY],
                                  struct span sealed, uint8_t *out, size_t capacity, bool *forged)
{
    size_t length = plain_length(sealed);
    bool other = false;
    if (length && length <= capacity && forged)
        other = !words_are(sealed.data + KEYS_HEAD + length + KEYS_TAG, KEYS_SIGNATURE,
                           signature_of(public_key, sealed.data, length));
    if (forged)
        *forged = other;
    if (!length || length > capacity)
        return 0;
    const uint8_t *tag = sealed.data + KEYS_HEAD + length;
    if (other || !words_are(tag, KEYS_TAG, tag_of(vehicle_key, sealed.data, length)))
        return 0;
    stream(vehicle_key, sealed.data, sealed.data + KEYS_HEAD, out, length);
    return length;
}

size_t cloud_keys_modelled_forge(const uint8_t vehicle_key[CLOUD_VEHICLE_KEY], uint64_t sequence, uint64_t id,
                                 struct span name, uint32_t expires_s, uint8_t *out, size_t capacity)
{
    size_t total = CLOUD_SEALED_OVERHEAD + (size_t)name.length;
    if (!name.length || total > CLOUD_SEALED_MAX || total > capacity)
        return 0;
    put_head(out, sequence, expires_s);
    put_number(out + KEYS_HEAD, id, KEYS_ID);
    memcpy(out + KEYS_HEAD + KEYS_ID, name.data, name.length);
    protect(SPAN_LITERAL("somebody else's signature"), vehicle_key, out, KEYS_ID + name.length);
    return total;
}

/* ---- sequences -------------------------------------------------------------------------------------------------------- */

static struct keys_row *place_of(struct keys_row *rows, uint32_t capacity, uint64_t thing)
{
    uint32_t at = (uint32_t)(thing & (capacity - 1));
    while (rows[at].thing && rows[at].thing != thing)
        at = (at + 1) & (capacity - 1);
    return &rows[at];
}

/* At most three quarters are taken. */
static bool rows_room(struct cloud_keys *keys)
{
    if (keys->row_capacity && keys->row_count < keys->row_capacity / 4 * 3)
        return true;
    uint32_t capacity = keys->row_capacity ? keys->row_capacity * 2 : ROWS_AT_FIRST;
    struct keys_row *rows = memory_allocate_zero(capacity, sizeof(*rows));
    if (!rows)
        return false;
    for (uint32_t i = 0; i < keys->row_capacity; i++)
        if (keys->rows[i].thing)
            *place_of(rows, capacity, keys->rows[i].thing) = keys->rows[i];
    memory_free(keys->rows);
    keys->rows = rows;
    keys->row_capacity = capacity;
    return true;
}

/* NULL: out of memory. */
static struct keys_row *row_of(struct cloud_keys *keys, struct span thing)
{
    if (!rows_room(keys))
        return NULL;
    uint64_t hash = hash_bytes(4, thing.data, thing.length);
    struct keys_row *row = place_of(keys->rows, keys->row_capacity, hash ? hash : 1);
    if (!row->thing) {
        *row = (struct keys_row){hash ? hash : 1, keys->first};
        keys->row_count++;
    }
    return row;
}

/* ---- the service ------------------------------------------------------------------------------------------------------- */

void cloud_keys_destroy(struct cloud_keys *keys)
{
    if (!keys)
        return;
    memory_free(keys->rows);
    keys->kind->destroy(keys);
}

void cloud_keys_begin(struct cloud_keys *keys, uint64_t first)
{
    keys->first = first ? first : 1; /* vehicles take no 0 */
}

void cloud_keys_reach(struct cloud_keys *keys, struct span thing, uint64_t next)
{
    struct keys_row *row = row_of(keys, thing);
    if (row && row->next < next)
        row->next = next;
}

void cloud_keys_vehicle(const struct cloud_keys *keys, struct span thing, uint8_t out[CLOUD_VEHICLE_KEY])
{
    keys->kind->vehicle_key(keys, thing, out);
}

size_t cloud_keys_public(const struct cloud_keys *keys, uint8_t *out, size_t capacity)
{
    return keys->kind->public_key(keys, out, capacity);
}

size_t cloud_keys_seal(struct cloud_keys *keys, struct span thing, uint64_t id, struct span name, uint32_t expires_s,
                       uint8_t *out, size_t capacity)
{
    uint8_t vehicle_key[CLOUD_VEHICLE_KEY];
    size_t total = CLOUD_SEALED_OVERHEAD + (size_t)name.length;
    struct keys_row *row = NULL;
    if (!name.length || total > CLOUD_SEALED_MAX || total > capacity || !(row = row_of(keys, thing)))
        return 0;
    /* Taken whatever comes of it: a nonce that may have been used is not used again. */
    put_head(out, row->next++, expires_s);
    put_number(out + KEYS_HEAD, id, KEYS_ID);
    memcpy(out + KEYS_HEAD + KEYS_ID, name.data, name.length);
    cloud_keys_vehicle(keys, thing, vehicle_key);
    return keys->kind->protect(keys, vehicle_key, out, KEYS_ID + name.length) ? total : 0;
}

uint64_t cloud_keys_bytes(const struct cloud_keys *keys)
{
    return keys ? sizeof(*keys) + keys->row_capacity * sizeof(*keys->rows) : 0;
}
