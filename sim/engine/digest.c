/* The digest: each record is hashed to 128 bits (the MurmurHash3 x64 construction over its four words) and the hashes are
 * added, so that order cannot show and a record that is missing, doubled or altered does. */
#include "sim/engine.h"

#include <inttypes.h>
#include <stdio.h>

static inline uint64_t rotate(uint64_t word, uint32_t by)
{
    return word << by | word >> (64 - by);
}

static inline uint64_t finish(uint64_t word)
{
    word = (word ^ word >> 33) * UINT64_C(0xff51afd7ed558ccd);
    word = (word ^ word >> 33) * UINT64_C(0xc4ceb9fe1a85ec53);
    return word ^ word >> 33;
}

static inline void absorb(uint64_t state[2], uint64_t first, uint64_t second)
{
    const uint64_t c1 = UINT64_C(0x87c37b91114253d5), c2 = UINT64_C(0x4cf5ad432745937f);
    state[0] ^= rotate(first * c1, 31) * c2;
    state[0] = (rotate(state[0], 27) + state[1]) * 5 + 0x52dce729;
    state[1] ^= rotate(second * c2, 33) * c1;
    state[1] = (rotate(state[1], 31) + state[0]) * 5 + 0x38495ab5;
}

static inline void digest_sum(struct sim_digest *digest, uint64_t low, uint64_t high)
{
    digest->low += low;
    digest->high += high + (digest->low < low);
}

void sim_digest_add(struct sim_digest *digest, uint64_t entity, int64_t time_us, uint64_t what, uint64_t detail)
{
    uint64_t state[2] = {0, 0};
    absorb(state, entity, (uint64_t)time_us);
    absorb(state, what, detail);
    state[0] ^= 32; /* bytes absorbed */
    state[1] ^= 32;
    state[0] += state[1];
    state[1] += state[0];
    state[0] = finish(state[0]);
    state[1] = finish(state[1]);
    state[0] += state[1];
    state[1] += state[0];
    digest_sum(digest, state[0], state[1]);
}

void sim_digest_merge(struct sim_digest *digest, const struct sim_digest *other)
{
    digest_sum(digest, other->low, other->high);
}

void sim_digest_text(const struct sim_digest *digest, char out[33])
{
    snprintf(out, 33, "%016" PRIx64 "%016" PRIx64, digest->high, digest->low);
}
