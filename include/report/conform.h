/* report/conform.h: what a broker's conformance run found, as files and on the terminal: result.json, junit.xml, report.html, and the matrix of
 * statements. Reads the outcome and changes nothing; each file is written beside its name and renamed.
 */
#ifndef REPORT_CONFORM_H
#define REPORT_CONFORM_H

#include "sim/conform.h"

struct report_conform {
    const struct conform_outcome *outcome;
    const char *target;  /* as the user named it */
    const char *profile; /* "mqtt5" */
    const char *command; /* the exact command line */
    const char *version, *commit;
    int exit_code;
    int64_t started_epoch_s;
    uint64_t peak_rss_bytes;
    uint32_t vehicles;                                              /* that worked beside the checks; 0: none */
    uint64_t vehicles_connected, vehicles_publishes, vehicles_lost; /* the least that were connected; messages */
    double vehicles_publishes_per_s;
    const char *vehicles_shortcoming; /* why the load was none, in one line; "" or NULL: it was kept up */
    bool matrix;                      /* print every statement, not only the sums */
    bool trace;                       /* print the packets of every check */
};

/* "pass", "fail", "inconclusive", "interrupted" */
const char *report_conform_verdict(const struct report_conform *report);
uint32_t report_conform_count(const struct conform_outcome *outcome, enum conform_verdict verdict);
bool report_conform_write_json(const struct report_conform *report, const char *path, char *error,
                               size_t error_capacity);
bool report_conform_write_junit(const struct report_conform *report, const char *path, char *error,
                                size_t error_capacity);
bool report_conform_write_html(const struct report_conform *report, const char *path, char *error,
                               size_t error_capacity);
/* All three into an existing directory. */
bool report_conform_write(const struct report_conform *report, const char *directory, char *error,
                          size_t error_capacity);
/* `directory`: where the files are, or NULL. */
void report_conform_print(const struct report_conform *report, const char *directory, bool colour,
                          void *stream /* FILE * */);
/* The list of checks, or of statements with the checks of each, without a run. */
void report_conform_list(void *stream);
void report_conform_print_matrix(const struct conform_outcome *outcome /* NULL: no run */, enum mq5_version protocol,
                                 void *stream);

#endif
