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
static void each_place(const struct measure *measure, uint32_t kind, struct measure_dimension filter,
                       void (*visit)(const struct measure *measure, size_t index, void *context), void *context)
{
    struct measure_range range = measure_range(measure, filter);
    for (uint32_t path = range.path_from; path < range.path_to; path++)
        for (uint32_t cohort = range.cohort_from; cohort < range.cohort_to; cohort++)
            for (uint32_t region = range.region_from; region < range.region_to; region++)
                visit(measure,
                      ((size_t)kind * PATH_COUNT + path) * measure->places + (size_t)cohort * measure->regions + region,
                      context);
}

/* ---- metrics ---------------------------------------------------------------------------------------------------------- */

struct histogram_sum {
    bool excluded;
    struct histogram *out;
};

static void add_histogram(const struct measure *measure, size_t index, void *context)
{
    struct histogram_sum *sum = context;
    const struct measure_cell *cell = measure->cells[index * 2 + sum->excluded];
    if (cell)
        histogram_merge(sum->out, &cell->histogram);
}

void measure_histogram(const struct measure *measure, enum metric metric, struct measure_dimension filter,
                       bool excluded_phase, struct histogram *out)
{
    struct histogram_sum sum = {excluded_phase, out};
    histogram_clear(out);
    each_place(measure, metric, filter, add_histogram, &sum);
}

static void add_worst(const struct measure *measure, size_t index, void *context)
{
    const struct measure_cell *cell = measure->cells[index * 2];
    if (cell)
        worst_merge(context, &cell->worst);
}

static void add_worst_excluded(const struct measure *measure, size_t index, void *context)
{
    const struct measure_cell *cell = measure->cells[index * 2 + 1];
    if (cell)
        worst_merge(context, &cell->worst);
}

uint32_t measure_worst_in(const struct measure *measure, enum metric metric, struct measure_dimension filter,
                          bool with_excluded, struct measure_worst out[MEASURE_WORST])
{
    struct worst_list list = {0};
    each_place(measure, metric, filter, add_worst, &list);
    if (with_excluded)
        each_place(measure, metric, filter, add_worst_excluded, &list);
    return worst_copy(&list, out);
}

uint32_t measure_worst(const struct measure *measure, enum metric metric, struct measure_dimension filter,
                       struct measure_worst out[MEASURE_WORST])
{
    return measure_worst_in(measure, metric, filter, false, out);
}

/* ---- counters --------------------------------------------------------------------------------------------------------- */

struct counter_sum {
    int64_t total, excluded;
};

static void add_total(const struct measure *measure, size_t index, void *context)
{
    struct counter_sum *sum = context;
    const struct series *series = measure->series[index];
    if (series) {
        sum->total += series->total;
        sum->excluded += series->total_excluded;
    }
}

int64_t measure_total(const struct measure *measure, enum counter counter, struct measure_dimension filter)
{
    struct counter_sum sum = {0};
    each_place(measure, counter, filter, add_total, &sum);
    return sum.total;
}

int64_t measure_total_excluded(const struct measure *measure, enum counter counter, struct measure_dimension filter)
{
    struct counter_sum sum = {0};
    each_place(measure, counter, filter, add_total, &sum);
    return sum.excluded;
}

static void add_bins(const struct measure *measure, size_t index, void *context)
{
    int64_t *bins = context;
    const struct series *series = measure->series[index];
    for (uint32_t i = 0; series && i < measure->bin_count; i++)
        bins[i] += series_bin(series, i);
}

int64_t *measure_series(const struct measure *measure, enum counter counter, struct measure_dimension filter,
                        uint32_t *count, int64_t *bin_us)
{
    int64_t *bins = calloc(measure->bin_count, sizeof(*bins));
    if (!bins)
        return NULL;
    each_place(measure, counter, filter, add_bins, bins);
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

const struct ledger_row *measure_ledger_row(const struct measure *measure, uint32_t vehicle)
{
    ASSERT(vehicle < measure->options.vehicles);
    return &measure->rows[vehicle];
}

const struct ledger_commands *measure_commands_row(const struct measure *measure)
{
    return &measure->commands;
}

uint32_t measure_command_victims(const struct measure *measure, enum counter kind,
                                 struct measure_worst out[MEASURE_WORST])
{
    return (unsigned)kind < COUNTER_COUNT ? worst_copy(&measure->victims[kind], out) : 0;
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

bool measure_ledger_totals(const struct measure *measure, struct measure_dimension filter, struct ledger_totals *out)
{
    memset(out, 0, sizeof(*out));
    if (!measure_filter_known(measure, filter))
        return false;
    for (uint32_t i = 0; i < measure->options.vehicles; i++) {
        const struct ledger_row *row = &measure->rows[i];
        if ((row->intended == 0 && row->delivered == 0) || !measure_filter_takes(measure, filter, i))
            continue;
        for (uint32_t field = 0; field < LEDGER_FIELD_COUNT; field++)
            out->field[field] += ledger_value(row, field);
        out->forgotten += row->forgotten;
        out->vehicles += row->intended > 0;
        out->vehicles_concerned += ledger_lost(row) > 0;
    }
    return true;
}

uint32_t measure_ledger_worst(const struct measure *measure, enum ledger_field field, struct measure_dimension filter,
                              struct measure_worst out[MEASURE_WORST])
{
    struct worst_list list = {0};
    if (!measure_filter_known(measure, filter))
        return 0;
    for (uint32_t i = 0; i < measure->options.vehicles; i++) {
        uint32_t value = ledger_value(&measure->rows[i], field);
        if (value && measure_filter_takes(measure, filter, i))
            worst_add(&list, value, i, -1);
    }
    return worst_copy(&list, out);
}
