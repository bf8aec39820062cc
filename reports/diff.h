/* diff.h: two runs as they were kept, and what was found comparing them. */
#ifndef REPORTS_DIFF_H
#define REPORTS_DIFF_H

#include "report/diff.h"
#include "svg.h"

#include <cjson/cJSON.h>
#include <sqlite3.h>

/* ---- diff_read.c: a run directory ---------------------------------------------------------------------------------------- */

struct diff_side {
    char directory[512];
    cJSON *root;
    sqlite3 *database; /* NULL: without */
    char seed[24];     /* to the last digit */
};
bool diff_side_open(struct diff_side *side, const char *directory, enum report_diff_status *status, char *error,
                    size_t error_capacity);
void diff_side_close(struct diff_side *side);
const cJSON *diff_get(const cJSON *object, const char *name); /* NULL: not there; object may be NULL */
double diff_number(const cJSON *object, const char *name);    /* NAN: not there, or no number */
const char *diff_text(const cJSON *object, const char *name); /* "": not there, or no text */
bool diff_true(const cJSON *object, const char *name);
/* A metric's object, or that of one of its paths. path "any": all. */
const cJSON *diff_metric_part(const struct diff_side *side, const char *metric, const char *path);
/* false: it was not kept. also_excluded: with the samples of excluded phases; they are taken anyway where there are no others. */
bool diff_histogram(const struct diff_side *side, const char *metric, const char *path, bool also_excluded,
                    struct histogram *out);

/* ---- diff_compare.c ------------------------------------------------------------------------------------------------------- */

enum diff_trend {
    DIFF_SAME,
    DIFF_BETTER,
    DIFF_WORSE,
    DIFF_OTHER, /* differs, and that is neither */
};
const char *diff_trend_name(enum diff_trend trend);

#define DIFF_CONFIDENCE 0.95 /* of each bound, where the expectation asked for none */

/* One number of both runs. Names are the documents' or static. */
struct diff_row {
    const char *name, *part, *statistic; /* part: path; "" */
    double value[2];                     /* NAN: not there */
    double low[2], high[2];
    bool bounded, overlap;
    double percent; /* NAN: not of both, or from 0 to something */
    enum diff_trend trend;
    bool listed, beyond; /* beyond: more apart than the tolerance */
    char text[2][64];
};
struct diff_rows {
    struct diff_row *row;
    uint32_t count, capacity;
};
struct diff_expectation {
    const cJSON *side[2]; /* NULL: not there */
    const char *id, *title;
    struct diff_row row;
    bool changed, worse, better; /* the verdict */
};
struct diff_setting {
    const char *name;
    char text[2][128];
    bool fault;
};
/* Across worlds: what should agree. */
struct diff_agreement {
    const char *what;
    char text[192];
    bool holds;
};

struct report_diff {
    struct diff_side side[2];
    struct report_diff_options options;
    struct diff_expectation *expectations; /* changed verdicts first, the worse ones at the top */
    uint32_t expectation_count, changed_count, worse_count;
    struct diff_setting *settings; /* parameters that differ */
    uint32_t setting_count;
    struct diff_rows storm, medians, metrics, counters, ledger, commands, resources, memory;
    bool intended_equal[2], accounted[2][2]; /* [telemetry, commands][run] */
    bool across;                             /* worlds differ */
    struct diff_agreement agreements[6];
    uint32_t agreement_count;
    char notes[8][200];
    uint32_t note_count;
    bool out_of_memory, run_worse;
};
void diff_note(struct report_diff *diff, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* A new row at the end, or NULL: out of memory (remembered). Percent, listed and texts are filled in; no bounds yet. */
struct diff_row *diff_add(struct report_diff *diff, struct diff_rows *rows, struct diff_row row, const char *unit);
void diff_compare_storms(struct report_diff *diff); /* diff_storm.c */
void diff_write_times(const struct report_diff *diff, struct page *page);
void diff_compare_expectations(struct report_diff *diff); /* diff_expectations.c */
/* Percent of the values, and "same" where they are not more than listed apart. */
void diff_apart(struct diff_row *row);
void diff_bound(struct diff_row *row, const struct histogram histograms[2], double quantile);
void diff_percent_text(const struct diff_row *row, char *out, size_t capacity); /* "+12 %", "new", "gone" */
double diff_tolerance(const struct report_diff *diff);                          /* the one given, or the usual */

#endif
