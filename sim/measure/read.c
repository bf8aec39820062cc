/* read.c: what reports and expectations read, summed over what a filter takes. */
#include "internal.h"

#include <stdlib.h>

struct measure_range measure_range(const struct measure *measure, struct measure_dimension filter)
{
    struct measure_range range = {0, PATH_COUNT, 0, measure->cohorts, 0, measure->regions};
    if (filter.path != PATH_ANY) {
        range.path_from = filter.path;
        range.path_to = filter.path < PATH_COUNT ? filter.path + 1u : 0;
    }
    if (filter.cohort != MEASURE_ANY) {
        range.cohort_from = filter.cohort;
        range.cohort_to = filter.cohort < measure->cohorts ? filter.cohort + 1u : 0;
    }
    if (filter.region != MEASURE_ANY) {
        range.region_from = filter.region;
        range.region_to = filter.region < measure->regions ? filter.region + 1u : 0;
    }
    return range;
}

/* Calls visit(context, index) for every place the filter takes. */
static void each_place(const struct measure *measure, struct measure_dimension filter,
                       void (*visit)(const struct measure *measure, struct measure_dimension who, void *context),
                       void *context)
{
    struct measure_range range = measure_range(measure, filter);
    for (uint32_t path = range.path_from; path < range.path_to; path++)
        for (uint32_t cohort = range.cohort_from; cohort < range.cohort_to; cohort++)
            for (uint32_t region = range.region_from; region < range.region_to; region++)
                visit(measure, (struct measure_dimension){(uint16_t)cohort, (uint16_t)region, (uint8_t)path}, context);
}

/* ---- metrics ---------------------------------------------------------------------------------------------------------- */

struct cell_sum {
    enum metric metric;
    bool excluded;
    struct histogram *histogram;
    struct worst_list worst;
};

static const struct measure_cell *cell_at(const struct measure *measure, const struct cell_sum *sum,
                                          struct measure_dimension who)
{
    return measure_cell(measure, sum->metric, who, sum->excluded);
}

static void add_histogram(const struct measure *measure, struct measure_dimension who, void *context)
{
    struct cell_sum *sum = context;
    const struct measure_cell *cell = cell_at(measure, sum, who);
    if (cell)
        histogram_merge(sum->histogram, &cell->histogram);
}

void measure_histogram(const struct measure *measure, enum metric metric, struct measure_dimension filter,
                       bool excluded_phase, struct histogram *out)
{
    struct cell_sum sum = {.metric = metric, .excluded = excluded_phase, .histogram = out};
    histogram_clear(out);
    each_place(measure, filter, add_histogram, &sum);
}

static void add_worst(const struct measure *measure, struct measure_dimension who, void *context)
{
    struct cell_sum *sum = context;
    const struct measure_cell *cell = cell_at(measure, sum, who);
    if (cell)
        worst_merge(&sum->worst, &cell->worst);
}

uint32_t measure_worst_in(const struct measure *measure, enum metric metric, struct measure_dimension filter,
                          bool with_excluded, struct measure_worst out[MEASURE_WORST])
{
    struct cell_sum sum = {.metric = metric};
    each_place(measure, filter, add_worst, &sum);
    sum.excluded = true;
    if (with_excluded)
        each_place(measure, filter, add_worst, &sum);
    return worst_copy(&sum.worst, out);
}

uint32_t measure_worst(const struct measure *measure, enum metric metric, struct measure_dimension filter,
                       struct measure_worst out[MEASURE_WORST])
{
    return measure_worst_in(measure, metric, filter, false, out);
}

/* ---- counters --------------------------------------------------------------------------------------------------------- */

struct counter_sum {
    enum counter counter;
    int64_t total[2];
    int64_t *bins;
};

static const struct series *series_at(const struct measure *measure, const struct counter_sum *sum,
                                      struct measure_dimension who)
{
    return measure_counter(measure, sum->counter, who);
}

static void add_total(const struct measure *measure, struct measure_dimension who, void *context)
{
    struct counter_sum *sum = context;
    const struct series *series = series_at(measure, sum, who);
    for (int excluded = 0; series && excluded < 2; excluded++)
        sum->total[excluded] += series->total[excluded];
}

int64_t measure_total(const struct measure *measure, enum counter counter, struct measure_dimension filter)
{
    struct counter_sum sum = {.counter = counter};
    each_place(measure, filter, add_total, &sum);
    return sum.total[0] + sum.total[1];
}

int64_t measure_total_excluded(const struct measure *measure, enum counter counter, struct measure_dimension filter)
{
    struct counter_sum sum = {.counter = counter};
    each_place(measure, filter, add_total, &sum);
    return sum.total[1];
}

static void add_bins(const struct measure *measure, struct measure_dimension who, void *context)
{
    struct counter_sum *sum = context;
    const struct series *series = series_at(measure, sum, who);
    for (uint32_t c = 0; series && c < series->chunk_count; c++) {
        uint32_t from = c * SERIES_CHUNK_BINS, to = from + SERIES_CHUNK_BINS;
        for (uint32_t i = from; series->chunk[c].bins && i < to && i < measure->bin_count; i++)
            sum->bins[i] += series_bin(series, i);
    }
}

int64_t *measure_series(const struct measure *measure, enum counter counter, struct measure_dimension filter,
                        uint32_t *count, int64_t *bin_us)
{
    int64_t *bins = calloc(measure->bin_count, sizeof(*bins));
    if (!bins)
        return NULL;
    struct counter_sum sum = {.counter = counter, .bins = bins};
    each_place(measure, filter, add_bins, &sum);
    for (uint32_t i = 1; counter_is_gauge(counter) && i < measure->bin_count; i++)
        bins[i] += bins[i - 1];
    *count = measure->bin_count;
    *bin_us = measure->bin_us;
    return bins;
}

/* ---- phases ----------------------------------------------------------------------------------------------------------- */

bool measure_kept(const struct measure *measure, int64_t from_us, int64_t to_us)
{
    for (uint32_t i = 0; i < measure->phase_count; i++)
        if (from_us < measure->phases[i].to_us && to_us > measure->phases[i].from_us)
            return false;
    return true;
}

int64_t measure_kept_us(const struct measure *measure)
{
    int64_t kept_us = measure->options.duration_us;
    for (uint32_t i = 0; i < measure->phase_count; i++) {
        int64_t from_us = measure->phases[i].from_us > 0 ? measure->phases[i].from_us : 0;
        int64_t to_us = measure->phases[i].to_us < measure->options.duration_us ? measure->phases[i].to_us
                                                                                : measure->options.duration_us;
        if (to_us > from_us)
            kept_us -= to_us - from_us;
    }
    return kept_us > 0 ? kept_us : 0;
}

const struct measure_options *measure_get_options(const struct measure *measure)
{
    return &measure->options;
}

/* ---- ledger ----------------------------------------------------------------------------------------------------------- */

const struct ledger_commands *measure_commands_row(const struct measure *measure)
{
    return &measure->commands;
}

uint32_t measure_command_victims(const struct measure *measure, enum counter kind,
                                 struct measure_worst out[MEASURE_WORST])
{
    bool any = (unsigned)kind < COUNTER_COUNT && measure->victims[kind];
    return any ? worst_copy(measure->victims[kind], out) : 0;
}

void measure_identity_steps(const struct measure *measure, enum counter kind, struct measure_dimension filter,
                            uint64_t out[IDENTITY_STEPS])
{
    struct measure_range range = measure_range(measure, filter);
    memset(out, 0, IDENTITY_STEPS * sizeof(*out));
    if ((unsigned)kind >= COUNTER_COUNT || !measure->steps[kind])
        return;
    for (uint32_t cohort = range.cohort_from; cohort < range.cohort_to; cohort++)
        for (uint32_t region = range.region_from; region < range.region_to; region++)
            for (uint32_t step = 0; step < IDENTITY_STEPS; step++)
                out[step] += measure->steps[kind][(cohort * measure->regions + region) * IDENTITY_STEPS + step];
}

bool measure_filter_known(const struct measure *measure, struct measure_dimension filter)
{
    return measure->who || (filter.cohort == MEASURE_ANY && filter.region == MEASURE_ANY);
}

bool measure_filter_takes(const struct measure *measure, struct measure_dimension filter, uint32_t vehicle)
{
    if (filter.cohort == MEASURE_ANY && filter.region == MEASURE_ANY)
        return true;
    struct measure_dimension who = measure->who(measure->who_context, vehicle);
    return (filter.cohort == MEASURE_ANY || filter.cohort == who.cohort) &&
           (filter.region == MEASURE_ANY || filter.region == who.region);
}

struct totals_sum {
    const struct measure *measure;
    struct measure_dimension filter;
    struct ledger_totals *out;
};

static void add_row(void *context, uint32_t vehicle, const struct ledger_row *row)
{
    const struct totals_sum *sum = context;
    if ((row->intended == 0 && row->delivered == 0) || !measure_filter_takes(sum->measure, sum->filter, vehicle))
        return;
    for (uint32_t field = 0; field < LEDGER_FIELD_COUNT; field++)
        sum->out->field[field] += ledger_value(row, field);
    sum->out->forgotten += row->forgotten;
    sum->out->vehicles += row->intended > 0;
    sum->out->vehicles_concerned += ledger_lost(row) > 0;
}

bool measure_ledger_totals(const struct measure *measure, struct measure_dimension filter, struct ledger_totals *out)
{
    struct totals_sum sum = {measure, filter, out};
    memset(out, 0, sizeof(*out));
    if (!measure_filter_known(measure, filter))
        return false;
    rows_each(&measure->rows, add_row, &sum);
    return true;
}

struct worst_rows {
    const struct measure *measure;
    enum ledger_field field;
    struct measure_dimension filter;
    struct worst_list list;
};

static void add_worst_row(void *context, uint32_t vehicle, const struct ledger_row *row)
{
    struct worst_rows *worst = context;
    uint32_t value = ledger_value(row, worst->field);
    if (value && measure_filter_takes(worst->measure, worst->filter, vehicle))
        worst_add(&worst->list, value, vehicle, -1);
}

uint32_t measure_ledger_worst(const struct measure *measure, enum ledger_field field, struct measure_dimension filter,
                              struct measure_worst out[MEASURE_WORST])
{
    struct worst_rows worst = {.measure = measure, .field = field, .filter = filter};
    if (!measure_filter_known(measure, filter))
        return 0;
    rows_each(&measure->rows, add_worst_row, &worst);
    return worst_copy(&worst.list, out);
}
