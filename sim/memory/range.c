/* range.c: the range of addresses, and the extents of 64-KiB units that heaps take from it.
 *
 * Reserved once without access, which costs nothing anywhere; opened in steps as it fills. Extents come from its end, or from
 * what destroyed heaps left. Neighbouring extents of many small heaps fill huge pages together, so all of it is asked for them.
 */
#include "inside.h"

#include <sys/mman.h>

#ifdef MEMORY_POISONS
#include <sanitizer/lsan_interface.h>
#endif

static bool open_bytes(uint64_t from, uint64_t to)
{
    return from >= to || mprotect((void *)from, to - from, PROT_READ | PROT_WRITE) == 0;
}

/* To whole pages, and one entry beyond, which a look at a neighbour may touch. */
static uint64_t table_end(uint64_t base, uint64_t entries, size_t size)
{
    return (base + (entries + 1) * size + PAGE_BYTES - 1) & ~(PAGE_BYTES - 1);
}

bool range_open(uint32_t end)
{
    struct range *range = range_state();
    const uint32_t step = RANGE_STEP_BYTES >> UNIT_BITS;
    uint64_t from = range->units_open, to = (end + (uint64_t)step - 1) / step * step;
    if (to > range->bytes >> UNIT_BITS)
        to = range->bytes >> UNIT_BITS;
    if (end > to)
        return false;
    if (to <= from)
        return true;
    uint64_t start = RANGE_BASE + (from << UNIT_BITS), stop = RANGE_BASE + (to << UNIT_BITS);
    if (!open_bytes(table_end(UNITS_BASE, from, sizeof(struct unit)), table_end(UNITS_BASE, to, sizeof(struct unit))) ||
        !open_bytes(table_end(PAGES_BASE, from * UNIT_PAGES, sizeof(struct page)),
                    table_end(PAGES_BASE, to * UNIT_PAGES, sizeof(struct page))) ||
        !open_bytes(start, stop))
        return false;
#ifdef MADV_HUGEPAGE
    (void)madvise((void *)start, stop - start, MADV_HUGEPAGE);
#endif
#ifdef MEMORY_POISONS
    __lsan_register_root_region((void *)start, stop - start);
#endif
    range->units_open = (uint32_t)to;
    return true;
}

bool range_reserve(uint64_t limit_bytes)
{
    /* A limit of the shell's on addresses may leave room for a smaller range only. */
    for (uint64_t bytes = RANGE_BYTES_MOST; bytes >= RANGE_BYTES_LEAD * 2; bytes /= 2) {
        void *got = mmap((void *)RANGE_BASE, bytes, PROT_NONE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
        if (got == MAP_FAILED)
            continue;
        const uint32_t lead_units = RANGE_BYTES_LEAD >> UNIT_BITS;
        uint64_t units = table_end(UNITS_BASE, lead_units, sizeof(struct unit));
        uint64_t pages = table_end(PAGES_BASE, (uint64_t)lead_units * UNIT_PAGES, sizeof(struct page));
        /* A kernel that does not know MAP_FIXED_NOREPLACE takes the address as a hint. */
        if (got != (void *)RANGE_BASE || !open_bytes(RANGE_BASE, RANGE_BASE + PAGE_BYTES) ||
            !open_bytes(HEAPS_BASE, HEAPS_BASE + HEAPS_MOST * HEAP_BYTES) ||
            !open_bytes(units - 2 * PAGE_BYTES, units) || !open_bytes(pages - 2 * PAGE_BYTES, pages)) {
            munmap(got, bytes);
            return false;
        }
        *range_state() = (struct range){.bytes = bytes,
                                        .limit_pages = limit_bytes >> PAGE_BITS,
                                        .units_used = lead_units,
                                        .units_open = lead_units};
        return true;
    }
    return false;
}

void range_release(void)
{
    struct range *range = range_state();
    uint64_t open = range->units_open;
#ifdef MEMORY_POISONS
    const uint64_t step = RANGE_STEP_BYTES;
    for (uint64_t at = ARENA_BASE; at < RANGE_BASE + (open << UNIT_BITS); at += step) {
        uint64_t size = RANGE_BASE + (open << UNIT_BITS) - at;
        __lsan_unregister_root_region((void *)at, size < step ? size : step);
    }
#endif
    UNPOISON((void *)ARENA_BASE, (open << UNIT_BITS) - RANGE_BYTES_LEAD);
    munmap((void *)RANGE_BASE, range->bytes);
}

/* ---- extents -------------------------------------------------------------------------------------------------------- */

static uint32_t unit_bin(uint32_t units)
{
    return 31 - (uint32_t)__builtin_clz(units);
}

static void extent_enlist(uint32_t first, uint32_t length)
{
    struct range *range = range_state();
    uint32_t bin = unit_bin(length), next = range->unit_bins[bin];
    *unit_at(first) = (struct unit){.length = length, .next = next, .state = UNIT_FREE};
    if (length > 1)
        *unit_at(first + length - 1) = (struct unit){.length = length, .state = UNIT_FREE};
    if (next != 0)
        unit_at(next)->previous = first;
    range->unit_bins[bin] = first;
}

static void extent_delist(uint32_t first)
{
    struct range *range = range_state();
    struct unit unit = *unit_at(first);
    if (unit.previous != 0)
        unit_at(unit.previous)->next = unit.next;
    else
        range->unit_bins[unit_bin(unit.length)] = unit.next;
    if (unit.next != 0)
        unit_at(unit.next)->previous = unit.previous;
    *unit_at(first + unit.length - 1) = (struct unit){0};
    *unit_at(first) = (struct unit){0};
}

static uint32_t extent_find(uint32_t units)
{
    const struct range *range = range_state();
    for (uint32_t bin = unit_bin(units); bin < UNIT_BINS; bin++) {
        for (uint32_t first = range->unit_bins[bin]; first != 0; first = unit_at(first)->next) {
            if (unit_at(first)->length >= units)
                return first;
        }
    }
    return 0;
}

uint32_t range_extent_take(uint32_t units)
{
    struct range *range = range_state();
    uint32_t first = extent_find(units);
    if (first != 0) {
        uint32_t length = unit_at(first)->length;
        extent_delist(first);
        if (length > units)
            extent_enlist(first + units, length - units);
    } else {
        first = range->units_used;
        if ((uint64_t)first + units > range->bytes >> UNIT_BITS || !range_open(first + units))
            return 0;
        range->units_used = first + units;
    }
    *unit_at(first) = (struct unit){.length = units, .state = UNIT_TAKEN};
    return first;
}

void range_extent_give(uint32_t first)
{
    struct range *range = range_state();
    uint32_t length = unit_at(first)->length;
    *unit_at(first) = (struct unit){0};
    const struct unit *before = unit_at(first - 1);
    if (before->state == UNIT_FREE) {
        uint32_t more = before->length;
        first -= more;
        length += more;
        extent_delist(first);
    }
    if (first + length < range->units_used && unit_at(first + length)->state == UNIT_FREE) {
        uint32_t behind = first + length;
        length += unit_at(behind)->length;
        extent_delist(behind);
    }
    if (first + length == range->units_used)
        range->units_used = first;
    else
        extent_enlist(first, length);
}
