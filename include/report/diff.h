/* report/diff.h: two runs beside each other, the morning after: what was run, whose verdict changed, what is faster or slower.
 *
 * Reads result.json of two run directories, and run.sqlite where it is there (distributions, from which bounds are computed);
 * without it there are no bounds and no pictures, and a note says so. Nothing of a run is changed. Runs of different worlds
 * may be compared; then a section of its own says whether the worlds agree.
 */
#ifndef REPORT_DIFF_H
#define REPORT_DIFF_H

#include <stdbool.h>
#include <stddef.h>

#define REPORT_DIFF_LISTED_PERCENT                                                                                     \
    10 /* what differs by more is listed; also how far worlds may be apart unless a tolerance is given */

struct report_diff_options {
    double tolerance_percent; /* of medians, see report_diff_exceeds(); below 0: none */
    bool any;                 /* runs of different scenarios too */
};
enum report_diff_status {
    REPORT_DIFF_OK,
    REPORT_DIFF_BAD_INPUT, /* not a run directory, or runs that are not of one scenario */
    REPORT_DIFF_UNREADABLE /* cannot be read, or is damaged */
};

struct report_diff;
/* NULL: *status and one line in error say why. */
struct report_diff *report_diff_open(const char *before, const char *after, const struct report_diff_options *options,
                                     enum report_diff_status *status, char *error, size_t error_capacity);
void report_diff_close(struct report_diff *diff); /* NULL is fine */
/* With a tolerance: whether a median of command round trips or reconnects differs by more, or is of one run only, or a verdict got worse. */
bool report_diff_exceeds(const struct report_diff *diff);
/* `colour` only for a tty. */
void report_diff_print(const struct report_diff *diff, bool colour, void *stream /* FILE * */);
/* Written beside the name and renamed. false: *error says why. */
bool report_diff_write_json(const struct report_diff *diff, const char *path, char *error, size_t error_capacity);
bool report_diff_write_html(const struct report_diff *diff, const char *path, char *error, size_t error_capacity);

#endif
