/* parallel_phold.c: the model of tests/sim/phold.h on any number of processes; prints one line that must be the same for all of them.
 *
 *   tool_parallel_phold [-j N] [--window-ms N] [--partitions N] [--entities N] [--seconds N] [--seed N] [--message-ppm N]
 *       --die RANK     that rank is killed in the middle of the run
 *       --stop RANK    that rank stops it in the middle
 *       --poor RANK    that rank has next to no memory for messages
 *       --counts       also how many windows, remote messages and calls of between() there were on rank 0
 */
#include "../sim/phold.h"
#include "../sim/ranks.h"
#include "memory.h"

#include <signal.h>
#include <stdio.h>

enum { DELAY_US = 8000, MEAN_US = 200000 };

static int64_t option(int argc, char **argv, const char *name, int64_t otherwise)
{
    for (int i = 1; i + 1 < argc; i++)
        if (strcmp(argv[i], name) == 0)
            return strtoll(argv[i + 1], NULL, 10);
    return otherwise;
}

static bool flag(int argc, char **argv, const char *name)
{
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], name) == 0)
            return true;
    return false;
}

static void show(struct phold *model, bool good, bool counts_too)
{
    char digest[33];
    uint64_t events, messages;
    struct sim_exchange_counts counts;
    phold_result(model, digest, &events, &messages);
    sim_exchange_count(model->exchange, &counts);
    if (sim_group_rank(model->group) != 0)
        return;
    printf("%s digest %s, %llu events, %llu messages\n", good ? "whole" : "partial", digest, (unsigned long long)events,
           (unsigned long long)messages);
    if (counts_too)
        printf("windows %llu remote %llu jumped_us %llu between %s\n", (unsigned long long)counts.windows,
               (unsigned long long)counts.remote_messages, (unsigned long long)counts.jumped_us,
               model->betweens > 0 ? "called" : "not called");
}

static int run(struct sim_group *group, int argc, char **argv)
{
    struct phold model;
    struct phold_options options = {
        .seed = (uint64_t)option(argc, argv, "--seed", 1),
        .partitions = (uint32_t)option(argc, argv, "--partitions", 150),
        .entities = (uint32_t)option(argc, argv, "--entities", 20),
        .lookahead_us = option(argc, argv, "--window-ms", DELAY_US / 1000) * 1000,
        .delay_us = DELAY_US,
        .mean_us = MEAN_US,
        .message_ppm = (uint32_t)option(argc, argv, "--message-ppm", 500000),
    };
    uint32_t rank = sim_group_rank(group);
    int64_t end_us = option(argc, argv, "--seconds", 2) * US_PER_S;
    bool poor = option(argc, argv, "--poor", -1) == rank;
    struct memory_heap *heap = NULL;
    if (poor) {
        ASSERT(memory_begin(1024 * 1024));
        heap = memory_heap_create();
        ASSERT(heap);
    }
    phold_create(&model, group, &options, heap);
    bool good = phold_run(&model, 0, end_us / 2);
    if (option(argc, argv, "--die", -1) == rank)
        raise(SIGKILL);
    model.stop = option(argc, argv, "--stop", -1) == rank;
    good = good && phold_run(&model, end_us / 2, model.stop || flag(argc, argv, "--stop") ? 1000 * end_us : end_us);
    show(&model, good, flag(argc, argv, "--counts"));
    phold_destroy(&model);
    if (poor)
        memory_end();
    return good ? 0 : 1;
}

int main(int argc, char **argv)
{
    struct sim_group *group = ranks_join(argv, (uint32_t)option(argc, argv, "-j", 1));
    if (!group)
        return 3;
    int code = run(group, argc, argv);
    bool speaks = sim_group_rank(group) == 0;
    sim_group_leave(group);
    return speaks ? code : 0;
}
