/* internal.h: what the writers share: a growing text, safe files, and readings of a run that several of them need. */
#ifndef REPORTS_INTERNAL_H
#define REPORTS_INTERNAL_H

#include "report/report.h"

/* ---- page.c: a text that grows ------------------------------------------------------------------------------------- */

/* Zeroed is empty. Out of memory is remembered in `failed` and told once, by page_write(). */
struct page {
    char *data;
    size_t length, capacity;
    bool failed;
};
void page_bytes(struct page *page, const char *bytes, size_t length);
void page_add(struct page *page, const char *text);
void page_format(struct page *page, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* As text or attribute value of XML and HTML: the five characters escaped, what XML cannot hold left out, broken UTF-8 replaced. */
void page_escape(struct page *page, const char *text);
/* As a string of JSON that may also stand inside a <script>, quotes included. */
void page_json(struct page *page, const char *text);
void page_free(struct page *page);
/* Length in bytes (1 to 4) of the UTF-8 character at text, 0 if it is none. */
size_t utf8_length(const char *text);
/* Columns of a terminal that the text takes; every character here is one wide. */
size_t utf8_columns(const char *text);
/* A copy in which broken UTF-8 is replaced; shortened at a character's border. */
void utf8_clean(const char *text, char *out, size_t capacity);

/* ---- file.c: whole files or none ----------------------------------------------------------------------------------- */

#define FILE_NAME 640
/* The name beside `path` under which it is written until whole. false: too long (*error says so). */
bool file_temporary(const char *path, char out[FILE_NAME], char *error, size_t error_capacity);
/* Renames; on failure removes the temporary file. */
bool file_commit(const char *temporary, const char *path, char *error, size_t error_capacity);
/* Writes all of the page, frees it. */
bool page_write(struct page *page, const char *path, char *error, size_t error_capacity);
/* The same of a tree; frees it. */
struct cJSON;
bool page_write_json(struct cJSON *root, const char *path, char *error, size_t error_capacity);

/* ---- facts.c: readings of a run ------------------------------------------------------------------------------------ */

uint32_t report_expectation_count(const struct report_run *run); /* 0 when nothing was judged */
uint32_t report_passed(const struct report_run *run);
double report_bytes_per_vehicle(const struct report_run *run);
const char *report_world(const struct report_run *run);
const char *report_title(const struct expectation *expectation); /* its text, or its id */
const char *report_unit(const struct expectation *expectation);  /* "us", "bytes", "count", "per_second", ... */
const char *report_comparison_sign(enum comparison comparison);  /* "<", "≤" */
const char *report_verdict_sign(enum verdict verdict);           /* "✓", "✗", "?", "–" */
void report_statistic_label(const struct expectation *expectation, char *out, size_t capacity); /* "p99", "max", "" */
/* "p99 1.31 s", "0 of 29,871,244" */
void report_measured_text(const struct expectation *expectation, const struct expectation_result *result, char *out,
                          size_t capacity);
void report_bound_text(const struct expectation *expectation, char *out, size_t capacity); /* "< 2 s" */
void report_vehicle_name(const struct report_run *run, uint32_t vehicle, char *out, size_t capacity);
/* The worst value of a vehicle as the expectation's metric writes it; counts for ledgers. */
void report_worst_text(const struct expectation *expectation, const struct measure_worst *worst, char *out,
                       size_t capacity);
/* How often, and at which step of its identity's life the vehicle was. */
void report_victim_text(const struct measure_worst *worst, char *out, size_t capacity);
/* Whether the result's detail says who was at which step. */
bool report_tells_victims(const struct expectation *expectation, const struct expectation_result *result);
/* Whether anything of identities' lives was asked for or measured. */
bool report_has_identities(const struct report_run *run);
void report_metric_text(enum metric metric, double value, char *out, size_t capacity);
void report_digest(const struct report_run *run, char out[33]);  /* "" when there is none */
void report_started(const struct report_run *run, char out[32]); /* "2026-03-04T07:40:00Z" */

/* What was sampled of a metric under a filter. */
struct summary {
    uint64_t count;
    double mean;
    int64_t minimum, p50, p90, p99, p999, maximum;
    bool excluded; /* nothing outside the excluded phases, so this is what lies in them (warm-up) */
};
bool report_summary(const struct measure *measure, enum metric metric, struct measure_dimension filter,
                    struct summary *out);
/* Calls back for every metric, and for every part of it (path, cohort, region) that has samples. kind: "all", "path", "cohort", "region". */
typedef void (*report_part_function)(void *context, enum metric metric, const char *kind, const char *name,
                                     struct measure_dimension filter);
void report_each_part(const struct report_run *run, enum metric metric, report_part_function function, void *context);

#endif
