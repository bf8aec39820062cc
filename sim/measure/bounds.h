/* bounds.h: what a finite number of samples allows to say, one side at a time. Private to sim/measure. */
#ifndef MEASURE_BOUNDS_H
#define MEASURE_BOUNDS_H

#include "sim/measure.h"

/* Of n samples, the rank (1..n) whose value is at or below (low) or at or above (high) the quantile q, each with the confidence
 * given. 0: no rank is, there are too few samples. */
uint64_t bounds_rank_low(uint64_t n, double q, double confidence);
uint64_t bounds_rank_high(uint64_t n, double q, double confidence);
/* Samples without which no rank is. */
double bounds_samples_for_low(double q, double confidence);
double bounds_samples_for_high(double q, double confidence);

/* Edges of the bucket that holds the sample of this rank (1..count), within what was seen. */
void bounds_bucket_of_rank(const struct histogram *histogram, uint64_t rank, int64_t *low, int64_t *high);
/* Rank of the quantile: the smallest with rank / n >= q. */
uint64_t bounds_rank(uint64_t n, double q);

/* Bounds of the probability of which k of n were seen, each with the confidence given (Clopper and Pearson). */
double bounds_share_low(uint64_t k, uint64_t n, double confidence);
double bounds_share_high(uint64_t k, uint64_t n, double confidence);

/* Half the width of a mean's interval, each side with the confidence given; INFINITY for fewer than 2 samples. */
double bounds_mean_half(uint64_t n, double deviation, double confidence);
double bounds_z(double confidence); /* standard normal quantile, at least 0 */

#endif
