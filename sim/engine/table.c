/* Inverse-CDF tables: floating point (through GSL) while building, integers while drawing, so that a draw costs a multiply
 * and gives the same on every machine that built the same table. */
#include "sim/random.h"

#include <gsl/gsl_cdf.h>
#include <math.h>

#define TAIL 1e-4

static double quantile(enum sim_distribution distribution, double a, double b, double share)
{
    switch (distribution) {
    case SIM_CONSTANT: return a;
    case SIM_UNIFORM: return a + (b - a) * share;
    case SIM_EXPONENTIAL: return a > 0 ? gsl_cdf_exponential_Pinv(share, a) : 0;
    case SIM_LOGNORMAL: return a > 0 ? gsl_cdf_lognormal_Pinv(share, log(a), b) : 0;
    case SIM_NORMAL: return a + (b > 0 ? gsl_cdf_gaussian_Pinv(share, b) : 0);
    }
    ASSERT(!"a known distribution");
}

/* Only the ends that reach to infinity are cut; the exponential starts at 0 and a uniform reaches both its bounds. */
static double share_of_step(enum sim_distribution distribution, uint32_t step)
{
    double share = (double)step / SIM_TABLE_STEPS;
    if (distribution == SIM_UNIFORM || distribution == SIM_CONSTANT)
        return share;
    if (step == SIM_TABLE_STEPS)
        return 1 - TAIL;
    if (step == 0 && distribution != SIM_EXPONENTIAL)
        return TAIL;
    return share;
}

void sim_table_build(struct sim_table *table, enum sim_distribution distribution, double a, double b, int64_t minimum,
                     int64_t maximum)
{
    ASSERT(minimum <= maximum);
    for (uint32_t step = 0; step <= SIM_TABLE_STEPS; step++) {
        double value = quantile(distribution, a, b, share_of_step(distribution, step));
        /* Compared as doubles first: llround() of what does not fit is undefined. */
        if (value <= (double)minimum)
            table->value[step] = minimum;
        else if (value >= (double)maximum)
            table->value[step] = maximum;
        else
            table->value[step] = llround(value);
    }
}
