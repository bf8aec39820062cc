/* html.h: the sections of report.html, in the order of the page. */
#ifndef REPORTS_HTML_H
#define REPORTS_HTML_H

#include "svg.h"

void html_answer(const struct report_run *run, struct page *page);
void html_day(const struct report_run *run, struct page *page);
void html_journeys(const struct report_run *run, struct page *page);
void html_identities(const struct report_run *run, struct page *page); /* nothing, when nothing of it was used */
void html_suffered(const struct report_run *run, struct page *page);
void html_ledger(const struct report_run *run, struct page *page);
void html_memory(const struct report_run *run, struct page *page);
void html_measured(const struct report_run *run, struct page *page);

void html_style(struct page *page);
void html_script(struct page *page);
void html_library_style(struct page *page); /* uPlot's */

/* html_parts.c: what sections share. */
void html_section(struct page *page, const char *id, const char *title,
                  const char *lead);                                    /* opens; the caller closes </section> */
void html_cell(struct page *page, const char *class, const char *text); /* <td> */
void html_fact(struct page *page, const char *name, const char *value); /* <dt>, <dd>; nothing for an empty value */
void html_bar(struct page *page, double share, const char *class);      /* 0..1; what is not 0 can be seen */
const char *html_verdict_class(enum verdict verdict);
/* "3 certificates revoked": what an identity's counter counts, for people. */
const char *html_identity_title(enum counter counter);
/* "SMS lost": what any other counter counts; identities' as above. */
const char *html_counter_title(enum counter counter);
/* "command round trip" for people. */
const char *html_metric_title(enum metric metric);
/* "woken by SMS" */
const char *html_path_title(enum metric_path path);
/* A row of a vehicle: name, cohort, region, firmware, value, time. */
void html_vehicle_row(const struct report_run *run, struct page *page, const struct measure_worst *worst,
                      const char *value);
void html_vehicle_head(struct page *page, const char *value_title);
/* "of these 32: cohort suv 20, city 12 · region eu 32 ..." */
void html_concentration(const struct report_run *run, struct page *page, const struct measure_worst *worst,
                        uint32_t count);
/* A bar for each column of the ledger that says what became of messages; concerned: its name, or NULL. */
void html_ledger_bars(const struct report_run *run, struct page *page, bool commands, struct measure_dimension filter,
                      const char *concerned);

#endif
