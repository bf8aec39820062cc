/* report/report.h: a finished (or interrupted) run as files: result.json, junit.xml, report.html, run.sqlite, metrics.prom.
 *
 * Writers read struct report_run and nothing else. Each file is written beside its name and renamed, so that a full disk
 * leaves no half file; what could be written stays.
 */
#ifndef REPORT_REPORT_H
#define REPORT_REPORT_H

#include "sim/world.h"

struct report_run {
    const struct scenario *scenario;
    const struct world_options *options;
    const struct world_result *result;
    const struct expectation_result *expectations; /* scenario->expectation_count */
    const char *command;                           /* the exact command line */
    const struct script_options *script;           /* with what the scenario was loaded; NULL: of a checkpoint, see resumed */
    const char *scenario_text;                     /* the file's own text, for replays; NULL: not known */
    const char *version, *commit;
    int exit_code;
    int64_t started_epoch_s;
    char machine[160]; /* "2 × AMD EPYC ..., 24 GiB, Linux 6.1" */
    char run_name[96];
};

/* "pass", "fail", "inconclusive", "interrupted", "error" */
const char *report_verdict(const struct report_run *run);
/* Library versions as name/value pairs for result.json and the report; returns the count. */
struct report_version {
    const char *name;
    char value[64];
};
uint32_t report_versions(const struct report_run *run, struct report_version out[16]);

/* All files into an existing directory. false: *error names the first file that failed and why; the others were still tried. */
bool report_write(const struct report_run *run, const char *directory, char *error, size_t error_capacity);
bool report_write_json(const struct report_run *run, const char *path, char *error, size_t error_capacity);
bool report_write_junit(const struct report_run *run, const char *path, char *error, size_t error_capacity);
bool report_write_html(const struct report_run *run, const char *path, char *error, size_t error_capacity);
bool report_write_sqlite(const struct report_run *run, const char *path, char *error, size_t error_capacity);
bool report_write_openmetrics(const struct report_run *run, const char *path, char *error, size_t error_capacity);
/* The summary on the terminal; `colour` only for a tty. */
void report_print(const struct report_run *run, const char *directory, bool colour, void *stream /* FILE * */);

#endif
