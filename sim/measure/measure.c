/* measure.c: life and filling of a measure. Counting is the hottest call of a run: one comparison finds whether bin and phase are those
 * of the call before, two multiplications find the series, and a series or cell exists only once somebody fed it. */
#include "internal.h"

#include <stdlib.h>

#define BINS_MOST 100000

/* ---- life ------------------------------------------------------------------------------------------------------------ */

static int64_t bin_width(int64_t duration_us)
{
    static const int32_t nice_s[] = {1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600};
    for (size_t i = 0; i < sizeof(nice_s) / sizeof(nice_s[0]); i++)
        if (duration_us <= nice_s[i] * US_PER_S * BINS_MOST)
            return nice_s[i] * US_PER_S;
    int64_t hours = duration_us / (US_PER_HOUR * BINS_MOST) + 1;
    return hours * US_PER_HOUR;
}

static int by_start(const void *a, const void *b)
{
    const struct measure_interval *left = a, *right = b;
    return (left->from_us > right->from_us) - (left->from_us < right->from_us);
}

/* Sorted and without overlaps, so that a moment lies in one at most. */
static uint32_t phases_join(struct measure_interval *phases, uint32_t count)
{
    uint32_t kept = 0;
    if (count)
        qsort(phases, count, sizeof(*phases), by_start);
    for (uint32_t i = 0; i < count; i++) {
        if (phases[i].to_us <= phases[i].from_us)
            continue;
        if (kept && phases[i].from_us <= phases[kept - 1].to_us) {
            if (phases[i].to_us > phases[kept - 1].to_us)
                phases[kept - 1].to_us = phases[i].to_us;
        } else {
            phases[kept++] = phases[i];
        }
    }
    return kept;
}

void *measure_take(struct measure *measure, size_t count, size_t size)
{
    struct memory_heap *before = memory_enter(measure->home);
    void *block = memory_allocate_zero(count, size);
    memory_enter(before);
    if (block)
        measure->bytes += count * size;
    return block;
}

void measure_give(struct measure *measure, void *block, size_t bytes)
{
    if (block)
        measure->bytes -= bytes;
    memory_free(block);
}

struct measure *measure_create(const struct measure_options *options)
{
    struct measure *measure = memory_allocate_zero(1, sizeof(*measure));
    if (!measure)
        return NULL;
    measure->home = memory_enter(NULL);
    memory_enter(measure->home);
    measure->bytes = sizeof(*measure);
    measure->options = *options;
    measure->cohorts = options->cohorts ? options->cohorts : 1;
    measure->regions = options->regions ? options->regions : 1;
    measure->places = measure->cohorts * measure->regions;
    int64_t duration_us = options->duration_us > 0 ? options->duration_us : 0;
    measure->bin_us = bin_width(duration_us);
    measure->bin_count = (uint32_t)((duration_us + measure->bin_us - 1) / measure->bin_us);
    if (measure->bin_count == 0)
        measure->bin_count = 1;
    measure->excluded = measure_take(measure, options->excluded_count, sizeof(*measure->excluded));
    measure->phases = measure_take(measure, options->excluded_count, sizeof(*measure->phases));
    if (!measure->excluded || !measure->phases || !rows_create(measure, options->vehicles, options->groups)) {
        measure_destroy(measure);
        return NULL;
    }
    if (options->excluded_count) {
        memcpy(measure->excluded, options->excluded, options->excluded_count * sizeof(*measure->excluded));
        memcpy(measure->phases, options->excluded, options->excluded_count * sizeof(*measure->phases));
    }
    measure->options.excluded = measure->excluded;
    measure->phase_count = phases_join(measure->phases, options->excluded_count);
    return measure;
}

void measure_destroy(struct measure *measure)
{
    if (!measure)
        return;
    for (size_t i = 0; i < measure_cell_count(measure); i++)
        memory_free(measure_cell_at(measure, i));
    for (size_t i = 0; i < measure_series_count(measure); i++)
        series_destroy(measure_series_at(measure, i));
    for (uint32_t metric = 0; metric < METRIC_COUNT; metric++)
        memory_free(measure->cells[metric]);
    for (uint32_t counter = 0; counter < COUNTER_COUNT; counter++) {
        memory_free(measure->series[counter]);
        memory_free(measure->victims[counter]);
        memory_free(measure->steps[counter]);
    }
    rows_destroy(&measure->rows);
    memory_free(measure->excluded);
    memory_free(measure->phases);
    memory_free(measure);
}

/* Of one metric, of one counter. */
static size_t cells_each(const struct measure *measure)
{
    return (size_t)PATH_COUNT * measure->places * 2;
}

static size_t series_each(const struct measure *measure)
{
    return (size_t)PATH_COUNT * measure->places;
}

size_t measure_cell_count(const struct measure *measure)
{
    return METRIC_COUNT * cells_each(measure);
}

size_t measure_series_count(const struct measure *measure)
{
    return COUNTER_COUNT * series_each(measure);
}

struct measure_cell *measure_cell_at(const struct measure *measure, size_t index)
{
    struct measure_cell **cells = measure->cells[index / cells_each(measure)];
    return cells ? cells[index % cells_each(measure)] : NULL;
}

struct series *measure_series_at(const struct measure *measure, size_t index)
{
    struct series **series = measure->series[index / series_each(measure)];
    return series ? series[index % series_each(measure)] : NULL;
}

uint64_t measure_bytes(const struct measure *measure)
{
    return measure->bytes;
}

uint64_t measure_unrecorded(const struct measure *measure)
{
    return measure->unrecorded;
}

void measure_set_who(struct measure *measure, struct measure_dimension (*who)(void *context, uint32_t vehicle),
                     void *context)
{
    measure->who = who;
    measure->who_context = context;
}

/* ---- where a moment belongs ------------------------------------------------------------------------------------------- */

/* The stretch around the moment in which the phase does not change. */
static bool phase_find(const struct measure *measure, int64_t at_us, int64_t *from_us, int64_t *to_us)
{
    *from_us = INT64_MIN;
    *to_us = INT64_MAX;
    for (uint32_t i = 0; i < measure->phase_count; i++) {
        if (at_us < measure->phases[i].from_us) {
            *to_us = measure->phases[i].from_us;
            return false;
        }
        if (at_us < measure->phases[i].to_us) {
            *from_us = measure->phases[i].from_us;
            *to_us = measure->phases[i].to_us;
            return true;
        }
        *from_us = measure->phases[i].to_us;
    }
    return false;
}

bool measure_excluded(const struct measure *measure, int64_t at_us)
{
    int64_t from_us, to_us;
    return phase_find(measure, at_us, &from_us, &to_us);
}

static inline bool phase_of(struct measure *measure, int64_t at_us)
{
    if (at_us < measure->phase_from_us || at_us >= measure->phase_to_us)
        measure->phase_excluded = phase_find(measure, at_us, &measure->phase_from_us, &measure->phase_to_us);
    return measure->phase_excluded;
}

/* Sets the stretch around the moment in which neither bin nor phase changes. */
static void stretch_find(struct measure *measure, int64_t at_us)
{
    int64_t duration_us = measure->options.duration_us, from_us = INT64_MIN, to_us = duration_us > 0 ? 0 : duration_us;
    measure->bin_excluded = phase_of(measure, at_us);
    measure->bin = 0;
    if (at_us >= duration_us) {
        measure->bin = BIN_NONE;
        from_us = duration_us;
        to_us = INT64_MAX;
    } else if (at_us >= 0) {
        measure->bin = (uint32_t)((uint64_t)at_us / (uint64_t)measure->bin_us);
        from_us = measure->bin * measure->bin_us;
        to_us = from_us + measure->bin_us < duration_us ? from_us + measure->bin_us : duration_us;
    }
    from_us = from_us > measure->phase_from_us ? from_us : measure->phase_from_us;
    to_us = to_us < measure->phase_to_us ? to_us : measure->phase_to_us;
    measure->stretch_from_us = from_us;
    measure->stretch_us = measure->bin == BIN_NONE ? 0 : (uint64_t)to_us - (uint64_t)from_us;
    measure->bin_chunk = measure->bin / SERIES_CHUNK_BINS;
    measure->bin_index = measure->bin % SERIES_CHUNK_BINS;
}

/* ---- filling ---------------------------------------------------------------------------------------------------------- */

struct measure_cell *measure_cell_make(struct measure *measure, size_t index)
{
    struct measure_cell ***cells = &measure->cells[index / cells_each(measure)];
    if (!*cells)
        *cells = measure_take(measure, cells_each(measure), sizeof(**cells));
    if (!*cells)
        return NULL;
    struct measure_cell **cell = &(*cells)[index % cells_each(measure)];
    if (!*cell)
        *cell = measure_take(measure, 1, sizeof(**cell));
    return *cell;
}

struct series *measure_series_make(struct measure *measure, size_t index)
{
    struct series ***all = &measure->series[index / series_each(measure)];
    if (!*all)
        *all = measure_take(measure, series_each(measure), sizeof(**all));
    if (!*all)
        return NULL;
    struct series **series = &(*all)[index % series_each(measure)];
    if (!*series)
        *series = series_create(measure);
    return *series;
}

struct worst_list *measure_victims_make(struct measure *measure, enum counter kind)
{
    if (!measure->victims[kind])
        measure->victims[kind] = measure_take(measure, 1, sizeof(struct worst_list));
    return measure->victims[kind];
}

uint64_t *measure_steps_make(struct measure *measure, enum counter kind)
{
    if (!measure->steps[kind])
        measure->steps[kind] = measure_take(measure, measure_step_count(measure), sizeof(uint64_t));
    return measure->steps[kind];
}

void measure_sample(struct measure *measure, enum metric metric, struct measure_dimension who, uint32_t vehicle,
                    int64_t intended_us, int64_t value)
{
    bool excluded = phase_of(measure, intended_us);
    struct measure_cell *cell = measure_cell(measure, metric, who, excluded);
    if (__builtin_expect(!cell, 0)) {
        size_t inner = (measure_place(measure, who) * PATH_COUNT + who.path) * 2 + excluded;
        cell = measure_cell_make(measure, metric * cells_each(measure) + inner);
        if (!cell) {
            measure->unrecorded++;
            return;
        }
    }
    histogram_add_one(&cell->histogram, value);
    if (vehicle != MEASURE_NO_VEHICLE)
        worst_add(&cell->worst, value, vehicle, intended_us);
}

static __attribute__((noinline)) void count_slowly(struct measure *measure, enum counter counter,
                                                   struct measure_dimension who, int64_t at_us, int64_t amount)
{
    size_t inner = measure_place(measure, who) * PATH_COUNT + who.path;
    struct series *series = measure_series_make(measure, counter * series_each(measure) + inner);
    if (!series) {
        measure->unrecorded++;
        return;
    }
    if ((uint64_t)at_us - (uint64_t)measure->stretch_from_us >= measure->stretch_us)
        stretch_find(measure, at_us);
    series->total[measure->bin_excluded] += amount;
    if (measure->bin != BIN_NONE && !series_add(measure, series, measure->bin, amount))
        measure->unrecorded++;
}

/* Most counts fall into the stretch of the one before and into a bin that is wide enough. */
void measure_count(struct measure *measure, enum counter counter, struct measure_dimension who, int64_t at_us,
                   int64_t amount)
{
    struct series *series = measure_counter(measure, counter, who);
    if (series && (uint64_t)at_us - (uint64_t)measure->stretch_from_us < measure->stretch_us &&
        chunk_add(&series->chunk[measure->bin_chunk], measure->bin_index, amount))
        series->total[measure->bin_excluded] += amount;
    else
        count_slowly(measure, counter, who, at_us, amount);
}

struct ledger_commands *measure_commands(struct measure *measure)
{
    return &measure->commands;
}

void measure_command_victim(struct measure *measure, enum counter kind, uint32_t vehicle, int64_t at_us)
{
    ASSERT((unsigned)kind < COUNTER_COUNT);
    struct worst_list *victims = measure_victims_make(measure, kind);
    if (victims)
        victim_add(victims, (struct measure_worst){.value = 1, .at_us = at_us, .vehicle = vehicle});
    else
        measure->unrecorded++;
}

void measure_identity_victim(struct measure *measure, enum counter kind, struct measure_dimension who, uint32_t vehicle,
                             int64_t at_us, enum identity_step step)
{
    ASSERT(counter_has_identity_victims(kind) && (unsigned)step < IDENTITY_STEPS);
    if (at_us >= measure->options.duration_us)
        at_us = measure->options.duration_us > 0 ? measure->options.duration_us - 1 : 0;
    measure_count(measure, kind, who, at_us, 1);
    struct worst_list *victims = measure_victims_make(measure, kind);
    uint64_t *steps = measure_steps_make(measure, kind);
    if (!victims || !steps) {
        measure->unrecorded++;
        return;
    }
    if (vehicle != MEASURE_NO_VEHICLE)
        victim_add(victims,
                   (struct measure_worst){.value = 1, .at_us = at_us, .vehicle = vehicle, .step = (uint32_t)step});
    steps[measure_place(measure, who) * IDENTITY_STEPS + step]++;
}

/* ---- merging ---------------------------------------------------------------------------------------------------------- */

static void merge_commands(struct ledger_commands *into, const struct ledger_commands *from)
{
    into->intended += from->intended;
    into->sent += from->sent;
    into->delivered += from->delivered;
    into->executed += from->executed;
    into->executed_twice += from->executed_twice;
    into->answered += from->answered;
    into->timed_out += from->timed_out;
    into->expired += from->expired;
    into->lost += from->lost;
    into->pending += from->pending;
    into->ended_executed += from->ended_executed;
    into->ended_failed += from->ended_failed;
    into->ended_expired += from->ended_expired;
    into->ended_refused += from->ended_refused;
    into->unended += from->unended;
}

static void merge_cell(struct measure *into, size_t index, const struct measure_cell *from)
{
    struct measure_cell *cell = measure_cell_make(into, index);
    if (!cell) {
        into->unrecorded += from->histogram.count;
        return;
    }
    histogram_merge(&cell->histogram, &from->histogram);
    worst_merge(&cell->worst, &from->worst);
}

static void merge_victims(struct measure *into, enum counter kind, const struct measure *from)
{
    struct worst_list *victims = from->victims[kind] ? measure_victims_make(into, kind) : NULL;
    uint64_t *steps = from->steps[kind] ? measure_steps_make(into, kind) : NULL;
    into->unrecorded += (from->victims[kind] && !victims) || (from->steps[kind] && !steps);
    if (victims)
        victim_merge(victims, from->victims[kind]);
    for (size_t i = 0; steps && i < measure_step_count(into); i++)
        steps[i] += from->steps[kind][i];
}

void measure_merge(struct measure *into, const struct measure *from)
{
    ASSERT(into->cohorts == from->cohorts && into->regions == from->regions && into->bin_us == from->bin_us &&
           into->bin_count == from->bin_count && into->options.vehicles == from->options.vehicles);
    for (size_t i = 0; i < measure_cell_count(from); i++)
        if (measure_cell_at(from, i))
            merge_cell(into, i, measure_cell_at(from, i));
    for (size_t i = 0; i < measure_series_count(from); i++) {
        const struct series *theirs = measure_series_at(from, i);
        if (!theirs)
            continue;
        struct series *series = measure_series_make(into, i);
        if (!series || !series_merge(into, series, theirs))
            into->unrecorded++;
    }
    rows_merge(into, &from->rows);
    merge_commands(&into->commands, &from->commands);
    for (uint32_t i = 0; i < COUNTER_COUNT; i++)
        merge_victims(into, i, from);
    into->unrecorded += from->unrecorded;
}
