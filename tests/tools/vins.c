/* vins: the VINs of a fleet, as its factory makes them: one a line. For tests that look for them where they must not be.
 *
 *   tool_vins SEED FIRST COUNT
 */
#include "cloud/vehicles.h"

#include <stdio.h>
#include <stdlib.h>

static uint64_t number(const char *text)
{
    char *end;
    uint64_t value = strtoull(text, &end, 10);
    if (!*text || *end) {
        fprintf(stderr, "vins: '%s' is not a number\n", text);
        exit(2);
    }
    return value;
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: tool_vins SEED FIRST COUNT\n");
        return 2;
    }
    uint64_t seed = number(argv[1]), first = number(argv[2]), count = number(argv[3]);
    for (uint64_t i = 0; i < count; i++) {
        char vin[CLOUD_VIN_LENGTH + 1];
        cloud_vin_make(seed, first + i, vin);
        puts(vin);
    }
    return 0;
}
