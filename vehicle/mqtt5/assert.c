/* The one place a broken invariant goes; lives in the lowest folder because everybody links it. */
#include "base.h"

#include <stdio.h>
#include <stdlib.h>

struct assert_context assert_context = {0, 0, -1};

_Noreturn void assert_failed(const char *condition, const char *file, int line)
{
    fprintf(stderr, "convoy: broken invariant %s at %s:%d (seed %llu, time %lld us, vehicle %lld)\n", condition, file,
            line, (unsigned long long)assert_context.seed, (long long)assert_context.now_us,
            (long long)assert_context.vehicle);
    abort();
}
