/* conform.h: what the writers of a conformance run share. */
#ifndef REPORTS_CONFORM_H
#define REPORTS_CONFORM_H

#include "internal.h"

#include "report/conform.h"

const char *conform_sign(enum conform_verdict verdict);            /* "✓", "✗", "!", "–", "?" */
const char *conform_level_name(enum conform_level level);          /* "must" */
const char *conform_testable_name(enum conform_testable testable); /* "yes", "conditional", "no" */
const char *conform_protocol_name(enum mq5_version protocol);      /* "MQTT 5" */
/* "convoy conform URI --only ID --trace" */
void conform_replay(const struct report_conform *report, const struct conform_result *result, char *out,
                    size_t capacity);
/* Why nothing is known of a statement: not observable, waived, needs what is not there, not asked for. */
void conform_why_open(const struct conform_outcome *outcome, const struct conform_statement *statement, char *out,
                      size_t capacity);
/* What the vehicles beside it did, in one line; "none". */
void conform_load_text(const struct report_conform *report, char *out, size_t capacity);
/* Ids of the checks and monitors of a statement, with spaces; rows as their check. */
void conform_checks_of(const struct conform_statement *statement, char *out, size_t capacity);
/* Whether anything in this result is worth a person's look. */
bool conform_is_remarkable(const struct conform_result *result);

#endif
