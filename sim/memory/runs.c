/* runs.c: runs of pages in one heap: lists of free runs by length, merged with their neighbours, then the newest extent's tail.
 *
 * A free run is marked in the page table at both its ends and nowhere else, so that a neighbour given back finds it; its list's links
 * lie in its first page. Pages inside a run that is in use are PAGE_NONE unless they hold small blocks.
 */
#include "inside.h"

#include <sys/mman.h>

#define GIVE_BACK_PAGES 512 /* a free run of 2 MiB or more is not kept resident */
#define EXTENT_SHARE    32  /* a new extent is at most this part of the heap, so that its rest does not weigh */
#define EXTENT_UNITS    32

static uint32_t run_bin(uint32_t pages)
{
    return pages <= RUN_BINS_EXACT ? pages - 1 : RUN_BINS_EXACT - 4 + 31 - (uint32_t)__builtin_clz(pages);
}

static void run_mark(const struct memory_heap *heap, uint32_t first, uint32_t pages)
{
    struct page mark = {.length = pages, .heap = heap->number, .kind = PAGE_FREE};
    *page_at(first) = mark;
    *page_at(first + pages - 1) = mark;
}

static void run_enlist(struct memory_heap *heap, uint32_t first, uint32_t pages)
{
    uint32_t bin = run_bin(pages), next = heap->bins[bin];
    struct free_run *run = page_memory(first);
    UNPOISON(run, sizeof *run);
    *run = (struct free_run){.next = next};
    if (next != 0)
        ((struct free_run *)page_memory(next))->previous = first;
    heap->bins[bin] = first;
    heap->bins_filled |= UINT64_C(1) << bin;
    run_mark(heap, first, pages);
}

static void run_delist(struct memory_heap *heap, uint32_t first)
{
    uint32_t pages = page_at(first)->length, bin = run_bin(pages);
    struct free_run run = *(const struct free_run *)page_memory(first);
    if (run.previous != 0)
        ((struct free_run *)page_memory(run.previous))->next = run.next;
    else
        heap->bins[bin] = run.next;
    if (run.next != 0)
        ((struct free_run *)page_memory(run.next))->previous = run.previous;
    if (heap->bins[bin] == 0)
        heap->bins_filled &= ~(UINT64_C(1) << bin);
    *page_at(first + pages - 1) = (struct page){0};
    *page_at(first) = (struct page){0};
}

static uint32_t run_find(const struct memory_heap *heap, uint32_t pages)
{
    uint32_t bin = run_bin(pages);
    /* In a bin of many lengths the first few are looked at. */
    uint32_t first = heap->bins[bin];
    for (int tries = 0; first != 0 && tries < 8; tries++) {
        if (page_at(first)->length >= pages)
            return first;
        first = ((const struct free_run *)page_memory(first))->next;
    }
    uint64_t larger = heap->bins_filled >> bin >> 1;
    return larger != 0 ? heap->bins[bin + 1 + (uint32_t)__builtin_ctzll(larger)] : 0;
}

/* A new extent for the tail; one that follows on the last one makes it longer. */
static bool tail_extend(struct memory_heap *heap, uint32_t pages)
{
    uint64_t units = heap->pages / UNIT_PAGES / EXTENT_SHARE, needed = ((uint64_t)pages + UNIT_PAGES - 1) / UNIT_PAGES;
    units = units < 1 ? 1 : units > EXTENT_UNITS ? EXTENT_UNITS : units;
    units = units < needed ? needed : units;
    uint32_t first = range_extent_take((uint32_t)units), page = first * UNIT_PAGES;
    if (first == 0)
        return false;
    struct unit *last = heap->extents != 0 ? unit_at(heap->extents) : NULL;
    if (last != NULL && heap->extents + last->length == first) {
        last->length += (uint32_t)units;
        *unit_at(first) = (struct unit){0};
    } else {
        unit_at(first)->next = heap->extents;
        heap->extents = first;
    }
    if (heap->tail_end != page || heap->tail_end == 0) {
        if (heap->tail < heap->tail_end)
            run_enlist(heap, heap->tail, heap->tail_end - heap->tail);
        heap->tail = heap->clean = page;
    }
    heap->tail_end = page + (uint32_t)units * UNIT_PAGES;
    return true;
}

/* Counts pages against the limit. */
static bool pages_count(struct memory_heap *heap, uint32_t pages)
{
    struct range *range = range_state();
    if (range->limit_pages != 0 && range->pages_in_use + pages > range->limit_pages) {
        range->exhausted = true;
        return false;
    }
    range->pages_in_use += pages;
    heap->pages += pages;
    return true;
}

static void pages_uncount(struct memory_heap *heap, uint32_t pages)
{
    range_state()->pages_in_use -= pages;
    heap->pages -= pages;
}

uint32_t run_take(struct memory_heap *heap, uint32_t pages, bool *zero)
{
    *zero = false;
    if (!pages_count(heap, pages))
        return 0;
    uint32_t first = run_find(heap, pages);
    if (first != 0) {
        uint32_t length = page_at(first)->length;
        run_delist(heap, first);
        if (length > pages)
            run_enlist(heap, first + pages, length - pages);
        return first;
    }
    if (heap->tail_end - heap->tail < pages && !tail_extend(heap, pages)) {
        pages_uncount(heap, pages);
        range_state()->exhausted = true;
        return 0;
    }
    first = heap->tail;
    heap->tail += pages;
    *zero = first >= heap->clean;
    if (heap->clean < heap->tail)
        heap->clean = heap->tail;
    return first;
}

void run_give(struct memory_heap *heap, uint32_t first, uint32_t pages)
{
    pages_uncount(heap, pages);
    POISON(page_memory(first), (uint64_t)pages << PAGE_BITS);
    if (pages >= GIVE_BACK_PAGES)
        (void)madvise(page_memory(first), (uint64_t)pages << PAGE_BITS, MADV_DONTNEED);
    const struct page *before = page_at(first - 1);
    if (before->kind == PAGE_FREE && before->heap == heap->number) {
        uint32_t more = before->length;
        first -= more;
        pages += more;
        run_delist(heap, first);
    }
    const struct page *behind = page_at(first + pages);
    if (first + pages == heap->tail) {
        heap->tail = first;
        return;
    }
    if (behind->kind == PAGE_FREE && behind->heap == heap->number) {
        uint32_t more = behind->length;
        run_delist(heap, first + pages);
        pages += more;
    }
    run_enlist(heap, first, pages);
}

bool run_grow(struct memory_heap *heap, uint32_t first, uint32_t pages, uint32_t wanted)
{
    uint32_t end = first + pages, more = wanted - pages;
    const struct page *behind = page_at(end);
    if (end == heap->tail) {
        if (heap->tail_end - heap->tail < more || !pages_count(heap, more))
            return false;
        heap->tail += more;
        if (heap->clean < heap->tail)
            heap->clean = heap->tail;
        return true;
    }
    if (behind->kind != PAGE_FREE || behind->heap != heap->number || behind->length < more || !pages_count(heap, more))
        return false;
    uint32_t length = behind->length;
    run_delist(heap, end);
    if (length > more)
        run_enlist(heap, end + more, length - more);
    return true;
}

void runs_end(struct memory_heap *heap)
{
    range_state()->pages_in_use -= heap->pages;
    for (uint32_t first = heap->extents, next; first != 0; first = next) {
        next = unit_at(first)->next;
        uint32_t page = first * UNIT_PAGES, pages = unit_at(first)->length * UNIT_PAGES;
        memset(page_at(page), 0, pages * sizeof(struct page));
        UNPOISON(page_memory(page), (uint64_t)pages << PAGE_BITS);
        (void)madvise(page_memory(page), (uint64_t)pages << PAGE_BITS, MADV_DONTNEED);
        range_extent_give(first);
    }
}
