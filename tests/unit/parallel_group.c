/* A group of one process, and what the environment says about launchers. Several processes: tests/e2e/parallel.sh. */
#include "sim/group.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static char error[600];

static void forget_launchers(void)
{
    static const char *const names[] = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE", "PMIX_RANK", "SLURM_STEP_NUM_TASKS"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        unsetenv(names[i]);
    error[0] = 0;
}

static bool take_own(void *context, uint32_t rank, const void *data, size_t size)
{
    assert_int_equal(rank, 0);
    assert_int_equal(size, 5);
    assert_memory_equal(data, "seven", 5);
    ++*(int *)context;
    return true;
}

static bool take_nothing(void *context, uint32_t rank, const void *data, size_t size)
{
    return false;
}

static void one_process_is_a_group(void **state)
{
    forget_launchers();
    assert_false(sim_group_launched());
    struct sim_group *group = sim_group_join(error, sizeof error);
    assert_non_null(group);
    assert_int_equal(sim_group_rank(group), 0);
    assert_int_equal(sim_group_size(group), 1);
    assert_string_equal(sim_group_library(group), "");
    int64_t values[3] = {-4, INT64_MAX, 0};
    for (int reduction = SIM_GROUP_SUM; reduction <= SIM_GROUP_MAXIMUM; reduction++)
        sim_group_reduce(group, reduction, values, 3);
    assert_true(values[0] == -4 && values[1] == INT64_MAX && values[2] == 0);
    char word[8] = "same";
    sim_group_broadcast(group, word, sizeof word);
    assert_string_equal(word, "same");
    int taken = 0;
    assert_true(sim_group_gather(group, "seven", 5, take_own, &taken));
    assert_int_equal(taken, 1);
    assert_false(sim_group_gather(group, "seven", 5, take_nothing, NULL));
    sim_group_barrier(group);
    sim_group_leave(group);
    sim_group_leave(NULL);
}

static void launchers_are_recognised(void **state)
{
    static const struct {
        const char *name, *value;
        bool launched;
    } cases[] = {
        {"OMPI_COMM_WORLD_SIZE", "2", true},
        {"OMPI_COMM_WORLD_SIZE", "1", false},
        {"PMI_SIZE", "16", true},
        {"PMI_SIZE", "1", false},
        {"PMIX_RANK", "0", true},
        {"SLURM_STEP_NUM_TASKS", "4", true},
        {"SLURM_STEP_NUM_TASKS", "1", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        forget_launchers();
        setenv(cases[i].name, cases[i].value, 1);
        assert_int_equal(sim_group_launched(), cases[i].launched);
    }
    forget_launchers();
}

/* Each task would take itself for the whole run, and all would write the same run directory. */
static void tasks_that_cannot_find_each_other_are_refused(void **state)
{
    forget_launchers();
    setenv("SLURM_STEP_NUM_TASKS", "4", 1);
    assert_null(sim_group_join(error, sizeof error));
    assert_non_null(strstr(error, "srun --mpi=pmix"));
    forget_launchers();
}

static void launching_says_why_not(void **state)
{
    char *arguments[] = {"convoy", "run", NULL};
    forget_launchers();
    assert_false(sim_group_launch(arguments, 0, error, sizeof error));
    assert_non_null(strstr(error, "-j takes 1 to 4096"));
    assert_false(sim_group_launch(arguments, SIM_GROUP_RANKS_MAX + 1, error, sizeof error));
    assert_non_null(strstr(error, "-j takes 1 to 4096"));
    setenv("OMPI_COMM_WORLD_SIZE", "3", 1);
    assert_false(sim_group_launch(arguments, 2, error, sizeof error));
    assert_non_null(strstr(error, "leave -j away"));
    forget_launchers();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_process_is_a_group),
        cmocka_unit_test(launchers_are_recognised),
        cmocka_unit_test(tasks_that_cannot_find_each_other_are_refused),
        cmocka_unit_test(launching_says_why_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
