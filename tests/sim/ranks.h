/* ranks.h: how a test's or bench's program becomes one of several processes. */
#ifndef TEST_RANKS_H
#define TEST_RANKS_H

#include "sim/group.h"

#include <stdio.h>

/* NULL: why has been said, and the program exits with 3. */
static inline struct sim_group *ranks_join(char **argv, uint32_t wanted)
{
    char error[600];
    struct sim_group *group = NULL;
    if (wanted <= 1 || sim_group_launched())
        group = sim_group_join(error, sizeof error);
    else
        sim_group_launch(argv, wanted, error, sizeof error);
    if (!group)
        fprintf(stderr, "%s\n", error);
    return group;
}

#endif
