/* pack.c: a measure as one block of bytes, for another process of the same build: memory as it lies, no byte order, no versions.
 * A block is read into a measure of its own and merged only when all of it made sense. */
#include "internal.h"

#include <stdlib.h>

#define PACK_MAGIC UINT64_C(0x32455255534d5643)

struct pack_head {
    uint64_t magic, length, unrecorded;
    int64_t bin_us, duration_us;
    uint32_t vehicles, cohorts, regions, bin_count, groups, spare;
};

/* ---- writing: once to learn the length (bytes NULL), once for good -------------------------------------------------------- */

struct pack_out {
    uint8_t *bytes;
    size_t length;
};

static void put(struct pack_out *out, const void *data, size_t size)
{
    if (out->bytes && size)
        memcpy(out->bytes + out->length, data, size);
    out->length += size;
}

static void put_series(struct pack_out *out, const struct series *series)
{
    put(out, series->total, sizeof(series->total));
    for (uint32_t c = 0; c < series->chunk_count; c++) {
        put(out, &series->chunk[c].width, sizeof(series->chunk[c].width));
        put(out, series->chunk[c].bins, (size_t)series->chunk[c].width * SERIES_CHUNK_BINS);
    }
}

/* The groups that this process has; rows kept whole keep their places. */
static void put_rows(struct pack_out *out, const struct ledger_rows *rows)
{
    const uint32_t end = UINT32_MAX;
    put(out, &rows->whole_count, sizeof(rows->whole_count));
    put(out, rows->whole, rows->whole_count * sizeof(*rows->whole));
    for (uint32_t g = 0; g < rows->groups; g++)
        if (rows->group[g]) {
            put(out, &g, sizeof(g));
            put(out, rows->group[g], rows_in_group(rows, g) * sizeof(*rows->group[g]));
        }
    put(out, &end, sizeof(end));
}

static void put_victims(struct pack_out *out, const struct measure *measure, uint64_t kind)
{
    const uint8_t with_steps = measure->steps[kind] != NULL;
    if (!measure->victims[kind])
        return;
    put(out, &kind, sizeof(kind));
    put(out, measure->victims[kind], sizeof(*measure->victims[kind]));
    put(out, &with_steps, sizeof(with_steps));
    if (with_steps)
        put(out, measure->steps[kind], measure_step_count(measure) * sizeof(uint64_t));
}

static void put_all(struct pack_out *out, const struct measure *measure, const struct pack_head *head)
{
    const uint64_t end = UINT64_MAX;
    put(out, head, sizeof(*head));
    for (uint64_t i = 0; i < measure_cell_count(measure); i++)
        if (measure_cell_at(measure, i)) {
            put(out, &i, sizeof(i));
            put(out, measure_cell_at(measure, i), sizeof(struct measure_cell));
        }
    put(out, &end, sizeof(end));
    for (uint64_t i = 0; i < measure_series_count(measure); i++)
        if (measure_series_at(measure, i)) {
            put(out, &i, sizeof(i));
            put_series(out, measure_series_at(measure, i));
        }
    put(out, &end, sizeof(end));
    put_rows(out, &measure->rows);
    put(out, &measure->commands, sizeof(measure->commands));
    for (uint64_t i = 0; i < COUNTER_COUNT; i++)
        put_victims(out, measure, i);
    put(out, &end, sizeof(end));
}

static struct pack_head head_of(const struct measure *measure, size_t length)
{
    struct pack_head head;
    memset(&head, 0, sizeof(head));
    head.magic = PACK_MAGIC;
    head.length = length;
    head.unrecorded = measure->unrecorded;
    head.bin_us = measure->bin_us;
    head.duration_us = measure->options.duration_us;
    head.vehicles = measure->options.vehicles;
    head.cohorts = measure->cohorts;
    head.regions = measure->regions;
    head.bin_count = measure->bin_count;
    head.groups = measure->rows.groups;
    return head;
}

bool measure_pack(const struct measure *measure, uint8_t **bytes, size_t *length)
{
    struct pack_out out = {0};
    struct pack_head head = head_of(measure, 0);
    put_all(&out, measure, &head);
    *length = out.length;
    *bytes = out.bytes = malloc(out.length);
    if (!out.bytes)
        return false;
    head = head_of(measure, out.length);
    out.length = 0;
    put_all(&out, measure, &head);
    return true;
}

/* ---- reading ---------------------------------------------------------------------------------------------------------------- */

struct pack_in {
    const uint8_t *bytes;
    size_t left;
};

static bool get(struct pack_in *in, void *data, size_t size)
{
    if (in->left < size)
        return false;
    if (size)
        memcpy(data, in->bytes, size);
    in->bytes += size;
    in->left -= size;
    return true;
}

static bool get_series(struct pack_in *in, struct measure *measure, struct series *series)
{
    if (!series || !get(in, series->total, sizeof(series->total)))
        return false;
    for (uint32_t c = 0; c < series->chunk_count; c++) {
        struct series_chunk *chunk = &series->chunk[c];
        uint32_t width;
        if (!get(in, &width, sizeof(width)) || (width != 0 && width != 1 && width != 2 && width != 4 && width != 8))
            return false;
        if (width == 0)
            continue;
        chunk->bins = measure_take(measure, SERIES_CHUNK_BINS, width);
        if (!chunk->bins || !get(in, chunk->bins, (size_t)width * SERIES_CHUNK_BINS))
            return false;
        chunk->width = width;
    }
    return true;
}

static bool get_cells(struct pack_in *in, struct measure *measure)
{
    uint64_t index;
    while (get(in, &index, sizeof(index))) {
        if (index == UINT64_MAX)
            return true;
        if (index >= measure_cell_count(measure) || measure_cell_at(measure, index))
            return false;
        struct measure_cell *cell = measure_cell_make(measure, index);
        if (!cell || !get(in, cell, sizeof(*cell)) || cell->worst.count > MEASURE_WORST)
            return false;
    }
    return false;
}

static bool get_all_series(struct pack_in *in, struct measure *measure)
{
    uint64_t index;
    while (get(in, &index, sizeof(index))) {
        if (index == UINT64_MAX)
            return true;
        if (index >= measure_series_count(measure) || measure_series_at(measure, index) ||
            !get_series(in, measure, measure_series_make(measure, index)))
            return false;
    }
    return false;
}

static bool get_group(struct pack_in *in, struct measure *measure, uint32_t group)
{
    struct ledger_rows *rows = &measure->rows;
    if (group >= rows->groups || rows->group[group])
        return false;
    uint32_t count = rows_in_group(rows, group);
    struct ledger_kept *kept = rows_take_group(measure, group);
    if (!kept || !get(in, kept, count * sizeof(*kept)))
        return false;
    for (uint32_t i = 0; i < count; i++)
        if (kept[i].whole && kept[i].index >= rows->whole_count)
            return false;
    return true;
}

static bool get_rows(struct pack_in *in, struct measure *measure)
{
    struct ledger_rows *rows = &measure->rows;
    uint32_t group;
    if (!get(in, &rows->whole_count, sizeof(rows->whole_count)) || rows->whole_count > in->left / sizeof(*rows->whole))
        return false;
    rows->whole_capacity = rows->whole_count;
    rows->whole = measure_take(measure, rows->whole_count, sizeof(*rows->whole));
    if (!rows->whole || !get(in, rows->whole, rows->whole_count * sizeof(*rows->whole)))
        return false;
    while (get(in, &group, sizeof(group))) {
        if (group == UINT32_MAX)
            return true;
        if (!get_group(in, measure, group))
            return false;
    }
    return false;
}

static bool get_victims(struct pack_in *in, struct measure *measure, enum counter kind)
{
    uint8_t with_steps;
    struct worst_list *victims = measure_victims_make(measure, kind);
    if (!victims || !get(in, victims, sizeof(*victims)) || victims->count > MEASURE_WORST)
        return false;
    for (uint32_t i = 0; i < victims->count; i++)
        if (victims->entry[i].step >= IDENTITY_STEPS)
            return false;
    if (!get(in, &with_steps, sizeof(with_steps)) || with_steps > 1)
        return false;
    if (!with_steps)
        return true;
    uint64_t *steps = measure_steps_make(measure, kind);
    return steps && get(in, steps, measure_step_count(measure) * sizeof(uint64_t));
}

static bool get_all_victims(struct pack_in *in, struct measure *measure)
{
    uint64_t kind;
    while (get(in, &kind, sizeof(kind))) {
        if (kind == UINT64_MAX)
            return true;
        if (kind >= COUNTER_COUNT || measure->victims[kind] || !get_victims(in, measure, kind))
            return false;
    }
    return false;
}

static bool get_all(struct pack_in *in, struct measure *measure)
{
    struct pack_head head, expected = head_of(measure, in->left);
    if (!get(in, &head, sizeof(head)))
        return false;
    measure->unrecorded = expected.unrecorded = head.unrecorded;
    if (memcmp(&head, &expected, sizeof(head)) != 0)
        return false;
    if (!get_cells(in, measure) || !get_all_series(in, measure) || !get_rows(in, measure) ||
        !get(in, &measure->commands, sizeof(measure->commands)) || !get_all_victims(in, measure))
        return false;
    return in->left == 0;
}

bool measure_merge_packed(struct measure *into, const uint8_t *bytes, size_t length)
{
    struct pack_in in = {bytes, length};
    struct measure *from = measure_create(&into->options);
    bool made_sense = from && get_all(&in, from);
    if (made_sense)
        measure_merge(into, from);
    measure_destroy(from);
    return made_sense;
}
