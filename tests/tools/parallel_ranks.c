/* parallel_ranks.c: a program of several processes that does one thing with sim/group.h, for tests/e2e/parallel.sh.
 *
 *   tool_parallel_ranks [-j N] collect            every collective call, checked; rank 0 prints what it saw
 *   tool_parallel_ranks [-j N] exit CODE          every rank wants CODE; all print
 *   tool_parallel_ranks [-j N] die RANK           that rank is killed; the others wait for it
 *   tool_parallel_ranks [-j N] assert RANK        that rank breaks an invariant
 *   tool_parallel_ranks [-j N] abort RANK CODE    that rank ends all
 *   tool_parallel_ranks [-j N] wait               until SIGINT or SIGTERM, then a partial report and 130
 */
#include "../sim/ranks.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static volatile sig_atomic_t stop;

static void on_signal(int number)
{
    stop = number;
}

static bool take(void *context, uint32_t rank, const void *data, size_t size)
{
    const uint8_t *bytes = data;
    size_t *total = context, wrong = 0;
    for (size_t i = 0; i < size; i++)
        wrong += bytes[i] != (uint8_t)(rank * 7 + i);
    ASSERT(wrong == 0);
    ASSERT(size == (rank + 1) * (size_t)100000);
    *total = *total * 10 + rank;
    return true;
}

static bool take_none(void *context, uint32_t rank, const void *data, size_t size)
{
    return rank == 0;
}

static int collect(struct sim_group *group)
{
    uint32_t rank = sim_group_rank(group), size = sim_group_size(group);
    int64_t sums[3] = {1, rank, INT64_C(1) << 40}, low[2] = {rank, -(int64_t)rank}, high[1] = {rank * 10};
    char word[16] = "";
    sim_group_reduce(group, SIM_GROUP_SUM, sums, 3);
    sim_group_reduce(group, SIM_GROUP_MINIMUM, low, 2);
    sim_group_reduce(group, SIM_GROUP_MAXIMUM, high, 1);
    ASSERT(sums[0] == size && sums[1] == size * (size - 1) / 2 && sums[2] == (int64_t)size << 40);
    ASSERT(low[0] == 0 && low[1] == -(int64_t)(size - 1) && high[0] == (size - 1) * 10);
    if (rank == 0)
        snprintf(word, sizeof word, "hello");
    sim_group_broadcast(group, word, sizeof word);
    ASSERT(strcmp(word, "hello") == 0);
    size_t length = (rank + 1) * (size_t)100000, order = 0;
    uint8_t *data = malloc(length);
    ASSERT(data);
    for (size_t i = 0; i < length; i++)
        data[i] = (uint8_t)(rank * 7 + i);
    ASSERT(sim_group_gather(group, data, length, take, &order));
    bool refused = !sim_group_gather(group, data, 8, take_none, NULL);
    ASSERT(refused == (size > 1));
    ASSERT(sim_group_gather(group, NULL, 0, take_none, NULL) == (size == 1));
    free(data);
    sim_group_barrier(group);
    printf("rank %u of %u, gathered in order %zu, %s\n", rank, size, order,
           sim_group_library(group)[0] ? "a library" : "no library");
    return 0;
}

static int wait_for_signal(struct sim_group *group)
{
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sim_group_barrier(group);
    printf("ready\n");
    fflush(stdout);
    for (;;) {
        int64_t stopped = stop;
        sim_group_reduce(group, SIM_GROUP_MAXIMUM, &stopped, 1);
        if (stopped)
            break;
        usleep(1000);
    }
    printf("partial report of %u processes\n", sim_group_size(group));
    return 130;
}

static int act(struct sim_group *group, const char *what, uint32_t first, int second)
{
    bool chosen = sim_group_rank(group) == first;
    if (strcmp(what, "collect") == 0)
        return collect(group);
    if (strcmp(what, "wait") == 0)
        return wait_for_signal(group);
    if (strcmp(what, "exit") == 0) {
        printf("out\n");
        fprintf(stderr, "err\n");
        return (int)first;
    }
    if (strcmp(what, "die") == 0 && chosen)
        raise(SIGKILL);
    if (strcmp(what, "assert") == 0)
        ASSERT(!chosen);
    if (strcmp(what, "abort") == 0 && chosen) {
        fprintf(stderr, "no more of this\n");
        sim_group_abort(group, second);
    }
    sim_group_barrier(group);
    return 0;
}

int main(int argc, char **argv)
{
    int at = argc > 2 && strcmp(argv[1], "-j") == 0 ? 3 : 1;
    struct sim_group *group = ranks_join(argv, at == 3 ? (uint32_t)atoi(argv[2]) : 1);
    if (!group)
        return 3;
    int code = act(group, argc > at ? argv[at] : "collect", argc > at + 1 ? (uint32_t)atoi(argv[at + 1]) : 0,
                   argc > at + 2 ? atoi(argv[at + 2]) : 0);
    bool speaks = sim_group_rank(group) == 0;
    sim_group_leave(group);
    return speaks ? code : 0;
}
