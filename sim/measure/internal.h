/* internal.h: how a measure is laid out. Private to sim/measure. */
#ifndef MEASURE_INTERNAL_H
#define MEASURE_INTERNAL_H

#include "sim/measure.h"

/* ---- worst.c: sorted, one entry a vehicle, the same whatever the order of calls ------------------------------------ */

struct worst_list {
    uint32_t count;
    struct measure_worst entry[MEASURE_WORST];
};
void worst_add_slowly(struct worst_list *list, int64_t value, uint32_t vehicle, int64_t at_us);
void worst_merge(struct worst_list *into, const struct worst_list *from);
uint32_t worst_copy(const struct worst_list *list, struct measure_worst out[MEASURE_WORST]);

static inline void worst_add(struct worst_list *list, int64_t value, uint32_t vehicle, int64_t at_us)
{
    if (list->count == MEASURE_WORST && value < list->entry[MEASURE_WORST - 1].value)
        return;
    worst_add_slowly(list, value, vehicle, at_us);
}

/* Vehicles with the lowest numbers, how often (value) and when first. */
void victim_add(struct worst_list *list, uint32_t vehicle, int64_t times, int64_t at_us);
void victim_merge(struct worst_list *into, const struct worst_list *from);

/* ---- series.c: bins in chunks, each as wide as its largest bin asks for --------------------------------------------- */

#define SERIES_CHUNK_BINS 1024
struct series_chunk {
    void *bins;     /* NULL: all zero */
    uint32_t width; /* bytes a bin: 1, 2, 4 or 8, signed */
};
struct series {
    int64_t total, total_excluded;
    uint32_t chunk_count;
    struct series_chunk chunk[];
};
struct series *series_create(uint32_t bin_count, uint64_t *bytes);
void series_destroy(struct series *series);
bool series_add(struct series *series, uint32_t bin, int64_t amount, uint64_t *bytes); /* false: out of memory */
int64_t series_bin(const struct series *series, uint32_t bin);
bool series_merge(struct series *into, const struct series *from, uint64_t *bytes);

/* ---- measure.c ------------------------------------------------------------------------------------------------------ */

struct measure_cell { /* one metric, path, cohort, region and phase */
    struct histogram histogram;
    struct worst_list worst;
};

struct measure {
    struct measure_options options;
    struct measure_interval *excluded; /* as given */
    struct measure_interval *phases;   /* sorted, disjoint */
    uint32_t phase_count;
    uint32_t cohorts, regions, places; /* places: cohorts x regions */
    struct measure_cell **cells;       /* [metric][path][cohort][region][excluded] */
    struct series **series;            /* [counter][path][cohort][region] */
    struct ledger_row *rows;
    struct ledger_commands commands;
    struct worst_list victims[COUNTER_COUNT];
    int64_t bin_us;
    uint32_t bin_count;
    /* Where the last calls were: time mostly moves on little by little. */
    int64_t phase_from_us, phase_to_us;
    bool phase_excluded;
    int64_t bin_from_us;
    uint32_t bin;
    uint64_t bytes, unrecorded;
    struct measure_dimension (*who)(void *context, uint32_t vehicle);
    void *who_context;
};

/* Ranges of indices that a filter takes; empty ones when it names what is not there. */
struct measure_range {
    uint32_t path_from, path_to, cohort_from, cohort_to, region_from, region_to;
};
struct measure_range measure_range(const struct measure *measure, struct measure_dimension filter);
size_t measure_cell_count(const struct measure *measure);
size_t measure_series_count(const struct measure *measure);
struct measure_cell *measure_cell_make(struct measure *measure, size_t index); /* NULL: out of memory */
struct series *measure_series_make(struct measure *measure, size_t index);
/* As measure_worst(), with the excluded phases or without. */
uint32_t measure_worst_in(const struct measure *measure, enum metric metric, struct measure_dimension filter,
                          bool with_excluded, struct measure_worst out[MEASURE_WORST]);
/* Whether no part of [from_us, to_us) is in an excluded phase. */
bool measure_kept(const struct measure *measure, int64_t from_us, int64_t to_us);
int64_t measure_kept_us(const struct measure *measure); /* of the duration, outside of the excluded phases */
bool measure_filter_takes(const struct measure *measure, struct measure_dimension filter, uint32_t vehicle);
/* Whether the ledger can be read with this filter. */
bool measure_filter_known(const struct measure *measure, struct measure_dimension filter);

#endif
