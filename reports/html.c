/* html.c: report.html, one file without a network: the answer first. */
#include "internal.h"

#include <stdio.h>

bool report_write_html(const struct report_run *run, const char *path, char *error, size_t error_capacity)
{
    struct page page = {0};
    page_add(&page, "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>");
    page_escape(&page, run->run_name);
    page_add(&page, "</title></head><body><h1>");
    page_escape(&page, run->scenario->name);
    page_format(&page, ": %s</h1>\n<table>\n", report_verdict(run));
    for (uint32_t i = 0; i < report_expectation_count(run); i++) {
        const struct expectation *expectation = &run->scenario->expectations[i];
        char measured[128], bound[96];
        report_measured_text(expectation, &run->expectations[i], measured, sizeof(measured));
        report_bound_text(expectation, bound, sizeof(bound));
        page_format(&page, "<tr><td>%s</td><td>", report_verdict_sign(run->expectations[i].verdict));
        page_escape(&page, report_title(expectation));
        page_add(&page, "</td><td>");
        page_escape(&page, measured);
        page_add(&page, "</td><td>");
        page_escape(&page, bound);
        page_add(&page, "</td></tr>\n");
    }
    page_add(&page, "</table></body></html>\n");
    return page_write(&page, path, error, error_capacity);
}
