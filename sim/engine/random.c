/* Philox4x32-10 (Salmon, Moraes, Dror, Shaw: "Parallel random numbers: as easy as 1, 2, 3"): ten rounds of multiply and
 * exclusive-or over a 128-bit counter, so that any word of any stream is computed without those before it.
 * Counter: block number (64), entity (32), purpose (32). Key: the seed. */
#include "sim/random.h"

#define LEFT_FACTOR  UINT32_C(0xD2511F53)
#define RIGHT_FACTOR UINT32_C(0xCD9E8D57)
#define LEFT_KEY     UINT32_C(0x9E3779B9)
#define RIGHT_KEY    UINT32_C(0xBB67AE85)

#if defined(__SSE2__)

#include <emmintrin.h>

/* Both multiplications of a round in one instruction: it takes the even words of the state, and its result turned round lies where
 * the next state wants it, but for the odd words and the keys that belong to the even ones. */
static inline void philox(const uint32_t key[2], uint64_t block, uint32_t entity, uint32_t purpose, uint32_t out[4])
{
    const __m128i factors = _mm_set_epi32(0, (int)RIGHT_FACTOR, 0, (int)LEFT_FACTOR);
    const __m128i key_step = _mm_set_epi32(0, (int)RIGHT_KEY, 0, (int)LEFT_KEY);
    __m128i keys = _mm_set_epi32(0, (int)key[1], 0, (int)key[0]);
    __m128i state = _mm_set_epi32((int)purpose, (int)entity, (int)(block >> 32), (int)block);
#pragma GCC unroll 10
    for (int round = 0; round < 10; round++) {
        __m128i product = _mm_shuffle_epi32(_mm_mul_epu32(state, factors), _MM_SHUFFLE(0, 1, 2, 3));
        state = _mm_xor_si128(_mm_xor_si128(product, keys), _mm_srli_epi64(state, 32));
        keys = _mm_add_epi32(keys, key_step);
    }
    _mm_storeu_si128((__m128i *)(void *)out, state);
}

#else

static inline void philox(const uint32_t key[2], uint64_t block, uint32_t entity, uint32_t purpose, uint32_t out[4])
{
    uint32_t a = (uint32_t)block, b = (uint32_t)(block >> 32), c = entity, d = purpose, k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; round++) {
        uint64_t left = (uint64_t)LEFT_FACTOR * a, right = (uint64_t)RIGHT_FACTOR * c;
        a = (uint32_t)(right >> 32) ^ b ^ k0;
        b = (uint32_t)right;
        c = (uint32_t)(left >> 32) ^ d ^ k1;
        d = (uint32_t)left;
        k0 += LEFT_KEY;
        k1 += RIGHT_KEY;
    }
    out[0] = a;
    out[1] = b;
    out[2] = c;
    out[3] = d;
}

#endif

void sim_random_refill(struct sim_random *random)
{
    philox(random->key, random->counter++, random->entity, random->purpose, random->words);
    random->left = 4;
}

uint64_t sim_random_u64(struct sim_random *random)
{
    uint64_t low = sim_random_u32(random);
    return low | (uint64_t)sim_random_u32(random) << 32;
}

/* Multiply and take the high half; the few low halves that would favour some results are drawn again (Lemire 2019). */
uint64_t sim_random_below(struct sim_random *random, uint64_t bound)
{
    if (bound == 0)
        return 0;
    if (bound <= UINT32_MAX) {
        uint32_t narrow = (uint32_t)bound;
        uint64_t product = (uint64_t)sim_random_u32(random) * narrow;
        if ((uint32_t)product < narrow) {
            uint32_t unfair = -narrow % narrow;
            while ((uint32_t)product < unfair)
                product = (uint64_t)sim_random_u32(random) * narrow;
        }
        return product >> 32;
    }
    unsigned __int128 product = (unsigned __int128)sim_random_u64(random) * bound;
    if ((uint64_t)product < bound) {
        uint64_t unfair = -bound % bound;
        while ((uint64_t)product < unfair)
            product = (unsigned __int128)sim_random_u64(random) * bound;
    }
    return (uint64_t)(product >> 64);
}

bool sim_random_ppm(struct sim_random *random, uint32_t parts_per_million)
{
    return (uint64_t)sim_random_u32(random) * 1000000 < (uint64_t)parts_per_million << 32;
}

uint64_t sim_random_at(uint64_t seed, uint32_t entity, uint32_t purpose, uint64_t index)
{
    uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)}, words[4];
    philox(key, index / 2, entity, purpose, words);
    const uint32_t *pair = words + 2 * (index % 2);
    return pair[0] | (uint64_t)pair[1] << 32;
}

/* ---- GSL ---------------------------------------------------------------------------------------------------------- */

static void gsl_set(void *state, unsigned long int seed)
{
    sim_random_init(state, seed, 0, 0);
}

static unsigned long int gsl_get(void *state)
{
    return sim_random_u32(state);
}

static double gsl_get_double(void *state)
{
    return (double)(sim_random_u64(state) >> 11) * 0x1p-53;
}

static const gsl_rng_type gsl_type = {"philox4x32-10", 0xffffffff,    0, sizeof(struct sim_random), gsl_set,
                                      gsl_get,         gsl_get_double};
const gsl_rng_type *sim_random_gsl_type = &gsl_type;

gsl_rng sim_random_gsl(struct sim_random *random)
{
    return (gsl_rng){&gsl_type, random};
}
