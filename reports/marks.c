/* marks.c: notes that carry a moment. */
#include "svg.h"

#include <stdio.h>

bool mark_read(const struct scenario *scenario, const char *note, struct mark *out)
{
    unsigned days = 0, hour, minute, second;
    int used = 0;
    if (sscanf(note, "%3u d %2u:%2u:%2u %n", &days, &hour, &minute, &second, &used) != 4 || !used) {
        days = 0;
        used = 0;
        if (sscanf(note, "%2u:%2u:%2u %n", &hour, &minute, &second, &used) != 3 || !used)
            return false;
    }
    out->at_us = (((days * INT64_C(24) + hour) * 60 + minute) * 60 + second) * US_PER_S - scenario->start_of_day_us;
    snprintf(out->text, sizeof(out->text), "%s", note + used);
    return out->at_us >= 0;
}
