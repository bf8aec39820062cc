/* rows.h: tables of numbers that cost what they hold.
 *
 * Rows lie in chunks of 128 that never move. In a chunk each column has a base, its first row's value, and keeps the difference of every
 * row in as many bytes as the widest of them needs: none while all are equal, then 1, 2, 4 or 8. A row may also have fixed bytes.
 */
#ifndef REGISTRY_ROWS_H
#define REGISTRY_ROWS_H

#include "base.h"

#define ROWS_CHUNK       128u
#define ROWS_COLUMNS_MAX 8

struct rows_chunk;

struct rows {
    struct rows_chunk **chunks;
    uint32_t count, list_capacity;
    uint8_t columns, fixed_bytes; /* set by the owner before the first row */
};

/* Appends; values: one a column. fixed may be NULL when there are no fixed bytes. false: out of memory, nothing was added. */
bool rows_add(struct rows *rows, const uint64_t *values, const uint8_t *fixed);
uint64_t rows_get(const struct rows *rows, uint32_t row, unsigned column);
bool rows_set(struct rows *rows, uint32_t row, unsigned column, uint64_t value); /* false: out of memory, unchanged */
const uint8_t *rows_fixed(const struct rows *rows, uint32_t row);
void rows_set_fixed(struct rows *rows, uint32_t row, const uint8_t *fixed);
uint64_t rows_bytes(const struct rows *rows);
void rows_free(struct rows *rows);

#endif
