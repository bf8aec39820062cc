/* internal.h: how a measure is laid out. Private to sim/measure. */
#ifndef MEASURE_INTERNAL_H
#define MEASURE_INTERNAL_H

#include "sim/measure.h"

#include "memory.h"

/* ---- histogram.c ----------------------------------------------------------------------------------------------------- */

#define HISTOGRAM_STEP_BITS 6

static inline uint32_t histogram_index_of(int64_t value) /* at least 0 */
{
    if (__builtin_expect(value >= HISTOGRAM_TOP, 0))
        return HISTOGRAM_BUCKETS - 1;
    uint32_t shift = 63 - HISTOGRAM_STEP_BITS - (uint32_t)__builtin_clzll((uint64_t)value | 127); /* 0 below 128 */
    return (shift << HISTOGRAM_STEP_BITS) + (uint32_t)(value >> shift);
}

static inline void histogram_add_one(struct histogram *histogram, int64_t value)
{
    if (value < 0)
        value = 0;
    if (value < histogram->minimum || histogram->count == 0)
        histogram->minimum = value;
    if (value > histogram->maximum)
        histogram->maximum = value;
    histogram->count++;
    histogram->sum_high += __builtin_add_overflow(histogram->sum_low, (uint64_t)value, &histogram->sum_low);
    histogram->clamped += value > HISTOGRAM_TOP;
    histogram->bucket[histogram_index_of(value)]++;
}

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

/* Vehicles with the lowest numbers, how often (value), when first and at which step then. */
void victim_add(struct worst_list *list, struct measure_worst victim);
void victim_merge(struct worst_list *into, const struct worst_list *from);

/* ---- series.c: bins in chunks, each as wide as its largest bin asks for --------------------------------------------- */

#define SERIES_CHUNK_BINS 1024
struct series_chunk {
    void *bins;     /* NULL: all zero */
    uint32_t width; /* bytes a bin: 1, 2, 4 or 8, signed */
};
struct series {
    int64_t total[2]; /* outside of the excluded phases, in them */
    uint32_t chunk_count;
    struct series_chunk chunk[];
};
struct series *series_create(struct measure *measure);
void series_destroy(struct series *series);
/* The bin's chunk is as narrow as its bins allow, and widened when one asks for it. false: out of memory. */
bool series_add(struct measure *measure, struct series *series, uint32_t bin, int64_t amount);
int64_t series_bin(const struct series *series, uint32_t bin);
bool series_merge(struct measure *measure, struct series *into, const struct series *from);

/* false: does not fit, or nothing was ever added to the chunk */
static inline bool chunk_add(const struct series_chunk *chunk, uint32_t index, int64_t amount)
{
    int8_t sum8;
    int16_t sum16;
    int32_t sum32;
    switch (chunk->width) {
    case 4:
        if (__builtin_add_overflow(((int32_t *)chunk->bins)[index], amount, &sum32))
            return false;
        ((int32_t *)chunk->bins)[index] = sum32;
        return true;
    case 2:
        if (__builtin_add_overflow(((int16_t *)chunk->bins)[index], amount, &sum16))
            return false;
        ((int16_t *)chunk->bins)[index] = sum16;
        return true;
    case 1:
        if (__builtin_add_overflow(((int8_t *)chunk->bins)[index], amount, &sum8))
            return false;
        ((int8_t *)chunk->bins)[index] = sum8;
        return true;
    case 8: ((int64_t *)chunk->bins)[index] += amount; return true;
    default: return false;
    }
}

/* ---- rows.c: the ledger's rows as they are kept, by groups of vehicles ----------------------------------------------- */

/* What a row says, told from its highest number down; one whose numbers are further apart is kept whole, elsewhere. */
struct ledger_kept {
    uint64_t whole : 1, intended : 25, behind_base : 14, behind_acknowledged : 24;
    union {
        struct {
            uint64_t window : 22, /* without its clear bit 0 */
                duplicated : 10, dropped : 12, forgotten : 11, pending : 9;
        };
        uint64_t index; /* of the whole one */
    };
};
struct ledger_rows {
    struct ledger_kept **group; /* NULL: no vehicle of the group was written */
    uint32_t groups, vehicles;
    struct ledger_row *whole;
    uint32_t whole_count, whole_capacity;
    uint32_t free; /* 1 + index of one that is not needed any more, its `intended` says the next; 0: none */
};
bool rows_create(struct measure *measure, uint32_t vehicles, uint32_t groups);
void rows_destroy(struct ledger_rows *rows);
uint32_t rows_in_group(const struct ledger_rows *rows, uint32_t group);
struct ledger_kept *rows_take_group(struct measure *measure, uint32_t group); /* NULL: out of memory */
struct ledger_row rows_read(const struct ledger_rows *rows, const struct ledger_kept *kept);
bool rows_write(struct measure *measure, struct ledger_kept *kept, const struct ledger_row *row);
/* Every row that was written, by groups. */
void rows_each(const struct ledger_rows *rows,
               void (*visit)(void *context, uint32_t vehicle, const struct ledger_row *row), void *context);
void rows_merge(struct measure *into, const struct ledger_rows *from);

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
    /* What nobody feeds takes a pointer: these are made with their first entry. */
    struct measure_cell **cells[METRIC_COUNT]; /* [cohort][region][path][excluded] */
    struct series **series[COUNTER_COUNT];     /* [cohort][region][path] */
    struct worst_list *victims[COUNTER_COUNT];
    uint64_t *steps[COUNTER_COUNT]; /* [cohort][region][enum identity_step] */
    struct ledger_rows rows;
    struct ledger_commands commands;
    int64_t bin_us;
    uint32_t bin_count;
    /* Where the last calls were: time mostly moves on little by little. */
    int64_t phase_from_us, phase_to_us;
    bool phase_excluded;
    int64_t stretch_from_us; /* of one bin and one phase */
    uint64_t stretch_us;     /* 0: after the duration */
    uint32_t bin;
    uint32_t bin_chunk, bin_index; /* where it is in a series */
    bool bin_excluded;
    uint64_t bytes, unrecorded;
    struct memory_heap *home; /* where it takes memory, whoever's heap is entered when it grows */
    struct measure_dimension (*who)(void *context, uint32_t vehicle);
    void *who_context;
};

#define BIN_NONE UINT32_MAX /* after the duration */

static inline size_t measure_place(const struct measure *measure, struct measure_dimension who)
{
    ASSERT(who.cohort < measure->cohorts && who.region < measure->regions && who.path < PATH_COUNT);
    return (size_t)who.cohort * measure->regions + who.region;
}

/* NULL: never written */
static inline struct measure_cell *measure_cell(const struct measure *measure, enum metric metric,
                                                struct measure_dimension who, bool excluded)
{
    size_t index = (measure_place(measure, who) * PATH_COUNT + who.path) * 2 + excluded;
    return measure->cells[metric] ? measure->cells[metric][index] : NULL;
}

static inline struct series *measure_counter(const struct measure *measure, enum counter counter,
                                             struct measure_dimension who)
{
    size_t index = measure_place(measure, who) * PATH_COUNT + who.path;
    return measure->series[counter] ? measure->series[counter][index] : NULL;
}

/* All memory of a measure is taken here: zeroed, counted. NULL: there is none. */
void *measure_take(struct measure *measure, size_t count, size_t size);
void measure_give(struct measure *measure, void *block, size_t bytes);

/* Ranges of indices that a filter takes; empty ones when it names what is not there. */
struct measure_range {
    uint32_t path_from, path_to, cohort_from, cohort_to, region_from, region_to;
};
struct measure_range measure_range(const struct measure *measure, struct measure_dimension filter);
/* All cells and series by one number, for merging and packing. */
size_t measure_cell_count(const struct measure *measure);
size_t measure_series_count(const struct measure *measure);
struct measure_cell *measure_cell_at(const struct measure *measure, size_t index); /* NULL: never written */
struct series *measure_series_at(const struct measure *measure, size_t index);
struct measure_cell *measure_cell_make(struct measure *measure, size_t index); /* NULL: out of memory */
struct series *measure_series_make(struct measure *measure, size_t index);
struct worst_list *measure_victims_make(struct measure *measure, enum counter kind);
uint64_t *measure_steps_make(struct measure *measure, enum counter kind);
static inline size_t measure_step_count(const struct measure *measure) /* of one counter */
{
    return (size_t)measure->places * IDENTITY_STEPS;
}
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
