/* series.c: a counter over time. A day has 86,400 bins and a fleet has many counters, cohorts and regions, most of them quiet: a chunk
 * of bins does not exist while it is zero, starts with one byte a bin and widens when a bin asks for it. */
#include "internal.h"

struct series *series_create(struct measure *measure)
{
    uint32_t chunks = (measure->bin_count + SERIES_CHUNK_BINS - 1) / SERIES_CHUNK_BINS;
    struct series *series = measure_take(measure, 1, sizeof(struct series) + chunks * sizeof(struct series_chunk));
    if (series)
        series->chunk_count = chunks;
    return series;
}

void series_destroy(struct series *series)
{
    if (!series)
        return;
    for (uint32_t i = 0; i < series->chunk_count; i++)
        memory_free(series->chunk[i].bins);
    memory_free(series);
}

static int64_t chunk_read(const struct series_chunk *chunk, uint32_t index)
{
    switch (chunk->width) {
    case 1: return ((const int8_t *)chunk->bins)[index];
    case 2: return ((const int16_t *)chunk->bins)[index];
    case 4: return ((const int32_t *)chunk->bins)[index];
    case 8: return ((const int64_t *)chunk->bins)[index];
    default: return 0;
    }
}

/* Every bin into one of twice the width. */
static void chunk_copy(struct series_chunk *wider, const struct series_chunk *chunk)
{
    switch (chunk->width) {
    case 1:
        for (uint32_t i = 0; i < SERIES_CHUNK_BINS; i++)
            ((int16_t *)wider->bins)[i] = ((const int8_t *)chunk->bins)[i];
        break;
    case 2:
        for (uint32_t i = 0; i < SERIES_CHUNK_BINS; i++)
            ((int32_t *)wider->bins)[i] = ((const int16_t *)chunk->bins)[i];
        break;
    case 4:
        for (uint32_t i = 0; i < SERIES_CHUNK_BINS; i++)
            ((int64_t *)wider->bins)[i] = ((const int32_t *)chunk->bins)[i];
        break;
    default: break;
    }
}

static bool chunk_widen(struct measure *measure, struct series_chunk *chunk)
{
    struct series_chunk wider = {.width = chunk->width ? chunk->width * 2 : 1};
    wider.bins = measure_take(measure, SERIES_CHUNK_BINS, wider.width);
    if (!wider.bins)
        return false;
    chunk_copy(&wider, chunk);
    measure_give(measure, chunk->bins, (size_t)SERIES_CHUNK_BINS * chunk->width);
    *chunk = wider;
    return true;
}

bool series_add(struct measure *measure, struct series *series, uint32_t bin, int64_t amount)
{
    struct series_chunk *chunk = &series->chunk[bin / SERIES_CHUNK_BINS];
    while (!chunk_add(chunk, bin % SERIES_CHUNK_BINS, amount))
        if (!chunk_widen(measure, chunk))
            return false;
    return true;
}

int64_t series_bin(const struct series *series, uint32_t bin)
{
    return chunk_read(&series->chunk[bin / SERIES_CHUNK_BINS], bin % SERIES_CHUNK_BINS);
}

bool series_merge(struct measure *measure, struct series *into, const struct series *from)
{
    bool kept = true;
    into->total[0] += from->total[0];
    into->total[1] += from->total[1];
    for (uint32_t c = 0; c < from->chunk_count; c++)
        for (uint32_t i = 0; from->chunk[c].bins && i < SERIES_CHUNK_BINS; i++) {
            int64_t amount = chunk_read(&from->chunk[c], i);
            if (amount)
                kept &= series_add(measure, into, c * SERIES_CHUNK_BINS + i, amount);
        }
    return kept;
}
