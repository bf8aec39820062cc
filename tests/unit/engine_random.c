/* Philox against the published known answers, bounds and shares, GSL, and inverse-CDF tables against closed forms. */
#include "sim/random.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>
#include <gsl/gsl_randist.h>

/* Random123's known-answer file, philox4x32 with 10 rounds: counter, key, result. */
static void philox_known_answers(void **state)
{
    static const uint32_t rows[][10] = {
        {0, 0, 0, 0, 0, 0, 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8},
        {~0u, ~0u, ~0u, ~0u, ~0u, ~0u, 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd},
        {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0, 0xd16cfe09, 0x94fdcceb, 0x5001e420,
         0x24126ea1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const uint32_t *row = rows[i];
        struct sim_random random;
        sim_random_init(&random, row[4] | (uint64_t)row[5] << 32, row[2], row[3]);
        random.counter = row[0] | (uint64_t)row[1] << 32;
        for (int word = 0; word < 4; word++)
            assert_int_equal(sim_random_u32(&random), row[6 + word]);
    }
}

/* The same ten rounds a word at a time, as the paper has them. */
static void reference(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4])
{
    uint32_t k0 = key[0], k1 = key[1];
    memcpy(out, counter, 16);
    for (int round = 0; round < 10; round++) {
        uint64_t left = UINT64_C(0xD2511F53) * out[0], right = UINT64_C(0xCD9E8D57) * out[2];
        uint32_t next[4] = {(uint32_t)(right >> 32) ^ out[1] ^ k0, (uint32_t)right,
                            (uint32_t)(left >> 32) ^ out[3] ^ k1, (uint32_t)left};
        memcpy(out, next, 16);
        k0 += 0x9E3779B9;
        k1 += 0xBB67AE85;
    }
}

static void philox_is_the_papers(void **state)
{
    uint32_t input[6] = {1, 2, 3, 4, 5, 6};
    for (int i = 0; i < 20000; i++) {
        struct sim_random random;
        uint32_t wanted[4];
        reference(input, input + 4, wanted);
        sim_random_init(&random, input[4] | (uint64_t)input[5] << 32, input[2], input[3]);
        random.counter = input[0] | (uint64_t)input[1] << 32;
        for (int word = 0; word < 4; word++)
            assert_int_equal(sim_random_u32(&random), wanted[word]);
        memcpy(input, wanted, 16);
        input[4] += wanted[1];
        input[5] ^= wanted[2];
    }
}

static void any_draw_without_its_predecessors(void **state)
{
    struct sim_random random;
    sim_random_init(&random, 77, 5, SIM_FOR_LINK);
    for (uint64_t i = 0; i < 100; i++)
        assert_true(sim_random_u64(&random) == sim_random_at(77, 5, SIM_FOR_LINK, i));
    assert_true(sim_random_at(77, 5, SIM_FOR_LINK, 0) != sim_random_at(78, 5, SIM_FOR_LINK, 0));
    assert_true(sim_random_at(77, 5, SIM_FOR_LINK, 0) != sim_random_at(77, 6, SIM_FOR_LINK, 0));
    assert_true(sim_random_at(77, 5, SIM_FOR_LINK, 0) != sim_random_at(77, 5, SIM_FOR_TRIPS, 0));
    assert_true(sim_random_at(1ull << 40, 5, 1, 0) != sim_random_at(0, 5, 1, 0));
}

static void below_is_bounded_and_even(void **state)
{
    struct sim_random random;
    uint32_t seen[7] = {0};
    sim_random_init(&random, 1, 1, SIM_FOR_MIX);
    assert_int_equal(sim_random_below(&random, 0), 0);
    assert_int_equal(sim_random_below(&random, 1), 0);
    for (int i = 0; i < 70000; i++)
        seen[sim_random_below(&random, 7)]++;
    double chi_square = 0;
    for (int i = 0; i < 7; i++)
        chi_square += pow(seen[i] - 10000.0, 2) / 10000;
    assert_true(chi_square < 22.5); /* 6 degrees of freedom, 0.1 % */
    /* A bound of 3/4 of the range shows the bias of a plain remainder: the lower third would come up twice as often. */
    for (uint64_t bound = 3ull << 30; bound <= 3ull << 62 && bound != 0; bound <<= 32) {
        int low = 0;
        for (int i = 0; i < 30000; i++) {
            uint64_t drawn = sim_random_below(&random, bound);
            assert_true(drawn < bound);
            low += drawn < bound / 3;
        }
        assert_in_range(low, 9600, 10400);
    }
}

static void ppm_shares(void **state)
{
    static const uint32_t shares[] = {0, 100, 320000, 999900, 1000000, 2000000};
    for (size_t i = 0; i < sizeof shares / sizeof *shares; i++) {
        struct sim_random random;
        int hits = 0;
        sim_random_init(&random, 3, (uint32_t)i, SIM_FOR_MIX);
        for (int n = 0; n < 200000; n++)
            hits += sim_random_ppm(&random, shares[i]);
        double share = fmin(shares[i] / 1e6, 1), wanted = 200000 * share;
        assert_true(fabs(hits - wanted) <= 4 * sqrt(wanted * (1 - share)));
    }
}

static void gsl_draws_through_a_stream(void **state)
{
    struct sim_random ours, plain;
    sim_random_init(&ours, 9, 2, SIM_FOR_AGENT);
    plain = ours;
    gsl_rng rng = sim_random_gsl(&ours);
    assert_string_equal(gsl_rng_name(&rng), "philox4x32-10");
    assert_true(gsl_rng_max(&rng) == 0xffffffff && gsl_rng_min(&rng) == 0);
    for (int i = 0; i < 10; i++)
        assert_int_equal(gsl_rng_get(&rng), sim_random_u32(&plain));
    double total = 0;
    for (int i = 0; i < 100000; i++)
        total += gsl_ran_exponential(&rng, 5);
    assert_true(fabs(total / 100000 - 5) < 0.06);
    /* As GSL makes one itself. */
    gsl_rng *own = gsl_rng_alloc(sim_random_gsl_type);
    gsl_rng_set(own, 0);
    assert_int_equal(gsl_rng_get(own), 0x6627e8d5);
    double uniform = gsl_rng_uniform(own);
    assert_true(uniform >= 0 && uniform < 1);
    gsl_rng_free(own);
}

struct moments {
    double mean, deviation;
    int64_t least, most;
};

static struct moments draw_moments(const struct sim_table *table)
{
    enum { COUNT = 400000 };
    struct sim_random random;
    struct moments moments = {.least = INT64_MAX, .most = INT64_MIN};
    double squares = 0;
    sim_random_init(&random, 42, 0, SIM_FOR_TELEMETRY);
    for (int i = 0; i < COUNT; i++) {
        int64_t drawn = sim_table_draw(table, &random);
        moments.mean += (double)drawn / COUNT;
        squares += (double)drawn * (double)drawn / COUNT;
        moments.least = drawn < moments.least ? drawn : moments.least;
        moments.most = drawn > moments.most ? drawn : moments.most;
    }
    moments.deviation = sqrt(fmax(0, squares - moments.mean * moments.mean));
    return moments;
}

static void assert_close(double value, double wanted, double tolerance)
{
    if (fabs(value - wanted) > tolerance)
        fail_msg("%g is not within %g of %g", value, tolerance, wanted);
}

static void tables_have_the_distributions_moments(void **state)
{
    static struct sim_table table;
    struct moments got;
    sim_table_build(&table, SIM_CONSTANT, 123, 0, 0, 1000);
    got = draw_moments(&table);
    assert_true(got.least == 123 && got.most == 123);

    sim_table_build(&table, SIM_UNIFORM, -1000, 3000, -5000, 5000);
    got = draw_moments(&table);
    assert_close(got.mean, 1000, 8);
    assert_close(got.deviation, 4000 / sqrt(12), 6);
    assert_true(got.least < -990 && got.most > 2990);

    sim_table_build(&table, SIM_EXPONENTIAL, 60e6, 0, 0, INT64_MAX);
    got = draw_moments(&table);
    assert_close(got.mean, 60e6, 0.4e6);
    assert_close(got.deviation, 60e6, 0.7e6);
    assert_true(got.most <= 60e6 * 9.2104 && got.most > 60e6 * 8);

    sim_table_build(&table, SIM_LOGNORMAL, 25000, 0.35, 0, INT64_MAX);
    got = draw_moments(&table);
    assert_close(got.mean, 25000 * exp(0.35 * 0.35 / 2), 100);
    assert_close(got.deviation, 25000 * exp(0.35 * 0.35 / 2) * sqrt(exp(0.35 * 0.35) - 1), 150);

    sim_table_build(&table, SIM_NORMAL, -500, 100, -600, -450);
    got = draw_moments(&table);
    assert_true(got.least == -600 && got.most == -450);
    sim_table_build(&table, SIM_NORMAL, 1e15, 1e13, INT64_MIN, INT64_MAX);
    got = draw_moments(&table);
    assert_close(got.mean, 1e15, 1e11);
    assert_close(got.deviation, 1e13, 1e11);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(philox_known_answers),
        cmocka_unit_test(philox_is_the_papers),
        cmocka_unit_test(any_draw_without_its_predecessors),
        cmocka_unit_test(below_is_bounded_and_even),
        cmocka_unit_test(ppm_shares),
        cmocka_unit_test(gsl_draws_through_a_stream),
        cmocka_unit_test(tables_have_the_distributions_moments),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
