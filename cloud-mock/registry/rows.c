/* rows.c: columns as wide as their values. */
#include "rows.h"

#include "memory.h"

struct rows_column {
    uint64_t base;
    void *data; /* NULL while the width is 0 */
};

struct rows_chunk {
    uint8_t *fixed;
    uint8_t width[ROWS_COLUMNS_MAX];
    struct rows_column column[]; /* as many as the table has */
};

static struct rows_chunk *chunk_of(const struct rows *rows, uint32_t row)
{
    return rows->chunks[row / ROWS_CHUNK];
}

static size_t chunk_size(const struct rows *rows)
{
    return sizeof(struct rows_chunk) + rows->columns * sizeof(struct rows_column);
}

static uint8_t width_of(int64_t difference)
{
    return difference == 0                     ? 0
           : difference == (int8_t)difference  ? 1
           : difference == (int16_t)difference ? 2
           : difference == (int32_t)difference ? 4
                                               : 8;
}

static int64_t difference_at(const void *data, uint8_t width, uint32_t at)
{
    switch (width) {
    case 0: return 0;
    case 1: return ((const int8_t *)data)[at];
    case 2: return ((const int16_t *)data)[at];
    case 4: return ((const int32_t *)data)[at];
    default: return ((const int64_t *)data)[at];
    }
}

static void difference_put(void *data, uint8_t width, uint32_t at, int64_t difference)
{
    switch (width) {
    case 0: break;
    case 1: ((int8_t *)data)[at] = (int8_t)difference; break;
    case 2: ((int16_t *)data)[at] = (int16_t)difference; break;
    case 4: ((int32_t *)data)[at] = (int32_t)difference; break;
    default: ((int64_t *)data)[at] = difference; break;
    }
}

static bool widen(struct rows_chunk *chunk, unsigned column, uint8_t width)
{
    void *data = memory_allocate_zero(ROWS_CHUNK, width);
    if (!data)
        return false;
    for (uint32_t i = 0; i < ROWS_CHUNK; i++)
        difference_put(data, width, i, difference_at(chunk->column[column].data, chunk->width[column], i));
    memory_free(chunk->column[column].data);
    chunk->column[column].data = data;
    chunk->width[column] = width;
    return true;
}

bool rows_set(struct rows *rows, uint32_t row, unsigned column, uint64_t value)
{
    struct rows_chunk *chunk = chunk_of(rows, row);
    int64_t difference = (int64_t)(value - chunk->column[column].base);
    uint8_t width = width_of(difference);
    if (width > chunk->width[column] && !widen(chunk, column, width))
        return false;
    difference_put(chunk->column[column].data, chunk->width[column], row % ROWS_CHUNK, difference);
    return true;
}

uint64_t rows_get(const struct rows *rows, uint32_t row, unsigned column)
{
    const struct rows_chunk *chunk = chunk_of(rows, row);
    return chunk->column[column].base +
           (uint64_t)difference_at(chunk->column[column].data, chunk->width[column], row % ROWS_CHUNK);
}

const uint8_t *rows_fixed(const struct rows *rows, uint32_t row)
{
    return chunk_of(rows, row)->fixed + (size_t)(row % ROWS_CHUNK) * rows->fixed_bytes;
}

void rows_set_fixed(struct rows *rows, uint32_t row, const uint8_t *fixed)
{
    memcpy(chunk_of(rows, row)->fixed + (size_t)(row % ROWS_CHUNK) * rows->fixed_bytes, fixed, rows->fixed_bytes);
}

static bool chunk_add(struct rows *rows, const uint64_t *values)
{
    uint32_t number = rows->count / ROWS_CHUNK;
    if (number == rows->list_capacity) {
        uint32_t wanted = number + number / 2 + 4;
        struct rows_chunk **chunks = memory_resize(rows->chunks, wanted * sizeof(*chunks));
        if (!chunks)
            return false;
        rows->chunks = chunks;
        rows->list_capacity = wanted;
    }
    struct rows_chunk *chunk = memory_allocate_zero(1, chunk_size(rows));
    if (!chunk)
        return false;
    chunk->fixed = rows->fixed_bytes ? memory_allocate((size_t)ROWS_CHUNK * rows->fixed_bytes) : NULL;
    if (rows->fixed_bytes && !chunk->fixed) {
        memory_free(chunk);
        return false;
    }
    for (unsigned c = 0; c < rows->columns; c++)
        chunk->column[c].base = values[c];
    rows->chunks[number] = chunk;
    return true;
}

static uint32_t chunk_count(const struct rows *rows)
{
    return (rows->count + ROWS_CHUNK - 1) / ROWS_CHUNK;
}

static void chunk_free(struct rows *rows, struct rows_chunk *chunk)
{
    for (unsigned c = 0; c < rows->columns; c++)
        memory_free(chunk->column[c].data);
    memory_free(chunk->fixed);
    memory_free(chunk);
}

bool rows_add(struct rows *rows, const uint64_t *values, const uint8_t *fixed)
{
    uint32_t row = rows->count;
    if (row == UINT32_MAX - 1 || (row % ROWS_CHUNK == 0 && !chunk_add(rows, values)))
        return false;
    struct rows_chunk *chunk = chunk_of(rows, row);
    for (unsigned c = 0; c < rows->columns; c++)
        if (!rows_set(rows, row, c, values[c])) {
            if (row % ROWS_CHUNK == 0)
                chunk_free(rows, chunk);
            return false;
        }
    if (rows->fixed_bytes)
        rows_set_fixed(rows, row, fixed);
    rows->count++;
    return true;
}

uint64_t rows_bytes(const struct rows *rows)
{
    uint64_t bytes = rows->list_capacity * sizeof(*rows->chunks);
    for (uint32_t i = 0; i < chunk_count(rows); i++) {
        bytes += chunk_size(rows) + (uint64_t)ROWS_CHUNK * rows->fixed_bytes;
        for (unsigned c = 0; c < rows->columns; c++)
            bytes += (uint64_t)ROWS_CHUNK * rows->chunks[i]->width[c];
    }
    return bytes;
}

void rows_free(struct rows *rows)
{
    for (uint32_t i = 0; i < chunk_count(rows); i++)
        chunk_free(rows, rows->chunks[i]);
    memory_free(rows->chunks);
}
