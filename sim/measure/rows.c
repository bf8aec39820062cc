/* rows.c: the ledger of the whole fleet. What most vehicles' rows say are numbers close behind the highest one, so that 16 bytes hold
 * them; a row that does not fit is kept whole elsewhere until it fits again. Nothing is rounded: packing a row and reading it back
 * gives the same row. Vehicles of one group (partition) lie together, because they are written in the same stretch of a run. */
#include "internal.h"

_Static_assert(sizeof(struct ledger_kept) == 16, "bytes a vehicle");

#define WHOLE_FIRST 64

/* ---- life ------------------------------------------------------------------------------------------------------------ */

bool rows_create(struct measure *measure, uint32_t vehicles, uint32_t groups)
{
    struct ledger_rows *rows = &measure->rows;
    rows->vehicles = vehicles;
    rows->groups = groups ? groups : 1;
    rows->group = measure_take(measure, rows->groups, sizeof(*rows->group));
    return rows->group != NULL;
}

void rows_destroy(struct ledger_rows *rows)
{
    for (uint32_t g = 0; rows->group && g < rows->groups; g++)
        memory_free(rows->group[g]);
    memory_free(rows->group);
    memory_free(rows->whole);
}

uint32_t rows_in_group(const struct ledger_rows *rows, uint32_t group)
{
    return group < rows->vehicles ? (rows->vehicles - 1 - group) / rows->groups + 1 : 0;
}

struct ledger_kept *rows_take_group(struct measure *measure, uint32_t group)
{
    struct ledger_rows *rows = &measure->rows;
    if (!rows->group[group])
        rows->group[group] = measure_take(measure, rows_in_group(rows, group), sizeof(struct ledger_kept));
    return rows->group[group];
}

/* ---- one row ----------------------------------------------------------------------------------------------------------- */

struct ledger_row rows_read(const struct ledger_rows *rows, const struct ledger_kept *kept)
{
    if (kept->whole)
        return rows->whole[kept->index];
    struct ledger_row row = {.intended = (uint32_t)kept->intended,
                             .acknowledged = (uint32_t)(kept->intended - kept->behind_acknowledged),
                             .duplicated = kept->duplicated,
                             .dropped = kept->dropped,
                             .pending = kept->pending,
                             .window_base = (uint32_t)(kept->intended - kept->behind_base),
                             .forgotten = kept->forgotten,
                             .window = (uint64_t)kept->window << 1};
    row.delivered = row.window_base - row.forgotten + (uint32_t)__builtin_popcountll(row.window);
    return row;
}

/* false: does not fit */
static bool pack(struct ledger_kept *kept, const struct ledger_row *row)
{
    *kept = (struct ledger_kept){.intended = row->intended & 0x1FFFFFF,
                                 .behind_base = (row->intended - row->window_base) & 0x3FFF,
                                 .behind_acknowledged = (row->intended - row->acknowledged) & 0xFFFFFF};
    kept->window = row->window >> 1 & 0x3FFFFF;
    kept->duplicated = row->duplicated & 0x3FF;
    kept->dropped = row->dropped & 0xFFF;
    kept->forgotten = row->forgotten & 0x7FF;
    kept->pending = row->pending & 0x1FF;
    struct ledger_row back = rows_read(NULL, kept);
    return memcmp(&back, row, sizeof(back)) == 0;
}

/* A place for a whole row; UINT32_MAX: out of memory. */
static uint32_t whole_take(struct measure *measure)
{
    struct ledger_rows *rows = &measure->rows;
    if (rows->free) {
        uint32_t index = rows->free - 1;
        rows->free = rows->whole[index].intended;
        return index;
    }
    if (rows->whole_count == rows->whole_capacity) {
        uint32_t capacity = rows->whole_capacity ? rows->whole_capacity * 2 : WHOLE_FIRST;
        struct ledger_row *more = measure_take(measure, capacity, sizeof(*more));
        if (!more)
            return UINT32_MAX;
        if (rows->whole_count)
            memcpy(more, rows->whole, rows->whole_count * sizeof(*more));
        measure_give(measure, rows->whole, rows->whole_capacity * sizeof(*more));
        rows->whole = more;
        rows->whole_capacity = capacity;
    }
    return rows->whole_count++;
}

bool rows_write(struct measure *measure, struct ledger_kept *kept, const struct ledger_row *row)
{
    struct ledger_rows *rows = &measure->rows;
    struct ledger_kept packed;
    if (pack(&packed, row)) {
        if (kept->whole) {
            rows->whole[kept->index] = (struct ledger_row){.intended = rows->free};
            rows->free = (uint32_t)kept->index + 1;
        }
        *kept = packed;
        return true;
    }
    uint32_t index = kept->whole ? (uint32_t)kept->index : whole_take(measure);
    if (index == UINT32_MAX)
        return false;
    rows->whole[index] = *row;
    *kept = (struct ledger_kept){.whole = 1};
    kept->index = index;
    return true;
}

/* ---- writing ------------------------------------------------------------------------------------------------------------ */

static inline struct ledger_kept *row_of(struct measure *measure, uint32_t vehicle)
{
    struct ledger_rows *rows = &measure->rows;
    ASSERT(vehicle < rows->vehicles);
    uint32_t group = vehicle % rows->groups;
    struct ledger_kept *kept = rows->group[group];
    if (__builtin_expect(!kept, 0) && !(kept = rows_take_group(measure, group))) {
        measure->unrecorded++;
        return NULL;
    }
    return kept + vehicle / rows->groups;
}

static void change(struct measure *measure, uint32_t vehicle, void (*how)(struct ledger_row *row, uint32_t number),
                   uint32_t number)
{
    struct ledger_kept *kept = row_of(measure, vehicle);
    if (!kept)
        return;
    struct ledger_row row = rows_read(&measure->rows, kept);
    how(&row, number);
    measure->unrecorded += !rows_write(measure, kept, &row);
}

/* The next number, of a row whose numbers stay near: only the distances grow. */
void measure_ledger_intended(struct measure *measure, uint32_t vehicle, uint32_t number)
{
    struct ledger_kept *kept = row_of(measure, vehicle);
    if (kept && !kept->whole && number == (uint32_t)kept->intended + 1 && number < 0x1FFFFFF &&
        kept->behind_base < 0x3FFF && kept->behind_acknowledged < 0xFFFFFF) {
        kept->intended++;
        kept->behind_base++;
        kept->behind_acknowledged++;
    } else if (kept) {
        change(measure, vehicle, ledger_intended, number);
    }
}

static void acknowledge(struct ledger_row *row, uint32_t number)
{
    row->acknowledged += number;
}

void measure_ledger_acknowledged(struct measure *measure, uint32_t vehicle)
{
    struct ledger_kept *kept = row_of(measure, vehicle);
    if (kept && !kept->whole && kept->behind_acknowledged > 0)
        kept->behind_acknowledged--;
    else if (kept)
        change(measure, vehicle, acknowledge, 1);
}

/* In order, with nothing missing before it: the base moves on. */
void measure_ledger_delivered(struct measure *measure, uint32_t vehicle, uint32_t number)
{
    struct ledger_kept *kept = row_of(measure, vehicle);
    if (kept && !kept->whole && kept->window == 0 && kept->behind_base > 0 &&
        number == (uint32_t)kept->intended - (uint32_t)kept->behind_base + 1)
        kept->behind_base--;
    else if (kept)
        change(measure, vehicle, ledger_delivered, number);
}

void measure_ledger_dropped(struct measure *measure, uint32_t vehicle, uint32_t number)
{
    change(measure, vehicle, ledger_dropped, number);
}

void measure_ledger_pending(struct measure *measure, uint32_t vehicle, uint32_t number)
{
    change(measure, vehicle, ledger_pending, number);
}

/* ---- reading and merging ------------------------------------------------------------------------------------------------ */

struct ledger_row measure_ledger_row(const struct measure *measure, uint32_t vehicle)
{
    const struct ledger_rows *rows = &measure->rows;
    ASSERT(vehicle < rows->vehicles);
    const struct ledger_kept *kept = rows->group[vehicle % rows->groups];
    return kept ? rows_read(rows, kept + vehicle / rows->groups) : (struct ledger_row){0};
}

void rows_each(const struct ledger_rows *rows,
               void (*visit)(void *context, uint32_t vehicle, const struct ledger_row *row), void *context)
{
    for (uint32_t g = 0; g < rows->groups; g++)
        for (uint32_t i = 0; rows->group[g] && i < rows_in_group(rows, g); i++) {
            struct ledger_row row = rows_read(rows, &rows->group[g][i]);
            visit(context, g + i * rows->groups, &row);
        }
}

static void merge_row(void *context, uint32_t vehicle, const struct ledger_row *row)
{
    static const struct ledger_row empty;
    struct measure *into = context;
    if (memcmp(row, &empty, sizeof(empty)) == 0)
        return;
    struct ledger_kept *kept = row_of(into, vehicle);
    if (!kept)
        return;
    struct ledger_row sum = rows_read(&into->rows, kept);
    ledger_merge(&sum, row);
    into->unrecorded += !rows_write(into, kept, &sum);
}

void rows_merge(struct measure *into, const struct ledger_rows *from)
{
    rows_each(from, merge_row, into);
}
