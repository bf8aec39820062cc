/* parallel.c: the model of tests/sim/phold.h by one process and by two, in one run: events a second and their ratio. Both must come to the
 * same digest or the bench fails. Two shapes: cells that seldom speak to each other, as those of a virtual run; and half of all events
 * sending to anywhere, which is as much as an exchange is ever asked for.
 *
 *   bench_parallel [--quick]     prints one JSON object a line
 *   bench_parallel --part SHARE-PPM SECONDS [-j N]    what it runs itself as: one line "events seconds digest"
 */
#include "../sim/phold.h"
#include "../sim/ranks.h"

#include <stdio.h>
#include <time.h>
#include <unistd.h>

enum { CELLS = 256, ENTITIES = 800, DELAY_US = 8000, MEAN_US = 200000 };

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* ---- one part: a process of its own, or two ---------------------------------------------------------------------------- */

static int run_part(uint32_t message_ppm, int64_t until_us, char **argv, uint32_t processes)
{
    char digest[33];
    uint64_t events, messages;
    struct sim_group *group = ranks_join(argv, processes);
    if (!group)
        return 3;
    struct phold model;
    struct phold_options options = {.seed = 1,
                                    .partitions = CELLS,
                                    .entities = ENTITIES,
                                    .lookahead_us = DELAY_US,
                                    .delay_us = DELAY_US,
                                    .mean_us = MEAN_US,
                                    .message_ppm = message_ppm};
    phold_create(&model, group, &options, NULL);
    bool good = phold_run(&model, 0, US_PER_S / 2); /* memory touched, queues in their steady state */
    sim_group_barrier(group);
    uint64_t events_before = model.events;
    double start = seconds();
    good = good && phold_run(&model, US_PER_S / 2, US_PER_S / 2 + until_us);
    double took = seconds() - start;
    int64_t warm = (int64_t)events_before;
    sim_group_reduce(group, SIM_GROUP_SUM, &warm, 1);
    phold_result(&model, digest, &events, &messages);
    bool speaks = sim_group_rank(group) == 0;
    if (speaks)
        printf("%llu %.6f %s\n", (unsigned long long)events - (unsigned long long)warm, took, digest);
    phold_destroy(&model);
    sim_group_leave(group);
    return good || !speaks ? 0 : 1;
}

/* ---- both, three times each, the best of each ---------------------------------------------------------------------------- */

static double events_per_s(const char *self, uint32_t message_ppm, int until_s, int processes, char digest[33])
{
    char command[600];
    unsigned long long events;
    double took;
    snprintf(command, sizeof command, "'%s' --part %u %d -j %d", self, message_ppm, until_s, processes);
    FILE *part = popen(command, "r");
    bool read = part && fscanf(part, "%llu %lf %32s", &events, &took, digest) == 3;
    if ((part && pclose(part) != 0) || !read) {
        fprintf(stderr, "bench_parallel: no figure from: %s\n", command);
        exit(1);
    }
    return (double)events / took;
}

static void compare(const char *self, const char *name, uint32_t message_ppm, int until_s)
{
    double one = 0, two = 0;
    char of_one[33], of_two[33];
    for (int round = 0; round < 3; round++) {
        double speed = events_per_s(self, message_ppm, until_s, 1, of_one);
        one = speed > one ? speed : one;
        speed = events_per_s(self, message_ppm, until_s, 2, of_two);
        two = speed > two ? speed : two;
        if (strcmp(of_one, of_two) != 0) {
            fprintf(stderr, "bench_parallel: digest %s of one process, %s of two\n", of_one, of_two);
            exit(1);
        }
    }
    printf("{\"bench\": \"parallel\", \"shape\": \"%s\", \"one_process_events_per_s\": %.0f, "
           "\"two_processes_events_per_s\": %.0f, \"two_against_one_ratio\": %.3f, \"digest\": \"%s\"}\n",
           name, one, two, two / one, of_one);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    char self[400];
    if (argc == 6 && strcmp(argv[1], "--part") == 0)
        return run_part((uint32_t)atoi(argv[2]), atoi(argv[3]) * US_PER_S, argv, (uint32_t)atoi(argv[5]));
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    if (length <= 0)
        return 1;
    self[length] = 0;
    int until_s = argc > 1 && strcmp(argv[1], "--quick") == 0 ? 1 : 5;
    compare(self, "cells that seldom speak", 10000, until_s);
    compare(self, "half of all events send", 500000, until_s);
    return 0;
}
