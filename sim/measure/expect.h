/* expect.h: between the sources of expectations and the judge. Private to sim/measure. */
#ifndef MEASURE_EXPECT_H
#define MEASURE_EXPECT_H

#include "internal.h"

/* What was found, before it is compared: out->measured, samples, at_us and worst are filled by the source. */
struct finding {
    struct expectation_result *out;
    double low, high;     /* the truth lies between, as far as the samples tell */
    double more_samples;  /* that would decide, when it is open; 0: none would; NAN: not known */
    bool nothing_to_read; /* detail already says why */
    const char *of;       /* "samples", "messages" ... */
};
void finding_exact(struct finding *finding, double value);
/* Whether a value satisfies the comparison. */
bool expectation_holds(const struct expectation *expectation, double value);

/* The i-th counter that an expectation adds up, from 0 for `what` to also_count. */
static inline enum counter expectation_counter(const struct expectation *expectation, uint32_t i)
{
    return i == 0 ? (enum counter)expectation->what : (enum counter)expectation->also[i - 1];
}
/* expect_victims.c: fills out->worst with those that the counters concern and, of a failure, who was where into out->detail. */
void expect_victims(const struct measure *measure, const struct expectation *expectation,
                    struct expectation_result *out);
void describe_victims(const struct measure *measure, const struct expectation *expectation,
                      struct expectation_result *out);

void expect_metric(const struct measure *measure, const struct expectation *expectation, struct finding *finding);
void expect_counter(const struct measure *measure, const struct expectation *expectation, struct finding *finding);
void expect_ledger(const struct measure *measure, const struct expectation *expectation, struct finding *finding);
void expect_commands(const struct measure *measure, const struct expectation *expectation, struct finding *finding);

#endif
