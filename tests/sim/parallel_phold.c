/* One process, many partitions: the same events in the same order whatever the windows and however the run is cut. */
#include "phold.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

static void digest_of(const struct phold_options *options, int64_t cut_us, int64_t end_us, char digest[33])
{
    char error[600];
    struct sim_group *group = sim_group_join(error, sizeof error);
    assert_non_null(group);
    struct phold model;
    uint64_t events, messages;
    phold_create(&model, group, options, NULL);
    assert_true(phold_run(&model, 0, cut_us));
    assert_true(phold_run(&model, cut_us, end_us));
    phold_result(&model, digest, &events, &messages);
    assert_true(events > 10000 && messages > 1000);
    phold_destroy(&model);
    sim_group_leave(group);
}

static void windows_do_not_show(void **state)
{
    struct phold_options options = {
        .partitions = 130, .entities = 10, .delay_us = 8000, .mean_us = 100000, .message_ppm = 400000};
    for (options.seed = 1; options.seed <= 3; options.seed++) {
        char first[33], digest[33];
        options.lookahead_us = 8000;
        digest_of(&options, US_PER_S, 2 * US_PER_S, first);
        for (options.lookahead_us = 1000; options.lookahead_us <= 8000; options.lookahead_us *= 2) {
            digest_of(&options, 700001 + options.lookahead_us, 2 * US_PER_S, digest);
            assert_string_equal(digest, first);
        }
        options.lookahead_us = 777;
        digest_of(&options, 1, 2 * US_PER_S, digest);
        assert_string_equal(digest, first);
    }
}

static void seeds_do_show(void **state)
{
    struct phold_options options = {.seed = 1,
                                    .partitions = 130,
                                    .entities = 10,
                                    .lookahead_us = 8000,
                                    .delay_us = 8000,
                                    .mean_us = 100000,
                                    .message_ppm = 400000};
    char first[33], other[33];
    digest_of(&options, US_PER_S, 2 * US_PER_S, first);
    options.seed = 2;
    digest_of(&options, US_PER_S, 2 * US_PER_S, other);
    assert_string_not_equal(first, other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(windows_do_not_show), cmocka_unit_test(seeds_do_show)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
