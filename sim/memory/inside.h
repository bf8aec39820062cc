/* inside.h: how the range is laid out; for sim/memory/ only.
 *
 * The range lies at one fixed address and is reserved whole; what is in use is opened from its start in steps:
 *
 *     RANGE_BASE   struct range: counts and lists of the range itself
 *     HEAPS_BASE   struct memory_heap of every heap, by number
 *     UNITS_BASE   struct unit for every 64 KiB: which extents heaps hold, which are free
 *     PAGES_BASE   struct page for every 4 KiB: what a page is, and of which heap; the way from an address to its heap and size
 *     ARENA_BASE   the blocks
 *
 * Everything there is, but for the heap entered, lies in the range: an image is nothing but a copy.
 * Pages and units are numbered from RANGE_BASE, so that number 0 is never one of the arena's and can mean none.
 */
#ifndef CONVOY_MEMORY_INSIDE_H
#define CONVOY_MEMORY_INSIDE_H

#include "memory.h"

#define PAGE_BITS  12
#define PAGE_BYTES (UINT64_C(1) << PAGE_BITS)
#define UNIT_BITS  16
#define UNIT_BYTES (UINT64_C(1) << UNIT_BITS)
#define UNIT_PAGES (1u << (UNIT_BITS - PAGE_BITS))

/* Free on 64-bit Linux, under valgrind and under the sanitizers' shadow memory alike. */
#define RANGE_BASE       UINT64_C(0x200000000000)
#define RANGE_BYTES_MOST (UINT64_C(1) << 40)
#define RANGE_BYTES_LEAD (UINT64_C(4) << 30) /* what lies before the arena */
#define RANGE_STEP_BYTES (UINT64_C(64) << 20)
#define HEAPS_MOST       65536 /* as many as a page's 16 bits can tell apart */
#define HEAP_BYTES       2048
#define HEAPS_BASE       (RANGE_BASE + (UINT64_C(1) << 20))
#define UNITS_BASE       (RANGE_BASE + (UINT64_C(256) << 20))
#define PAGES_BASE       (RANGE_BASE + (UINT64_C(2) << 30))
#define ARENA_BASE       (RANGE_BASE + RANGE_BYTES_LEAD)

/* Sizes: one class of 8 bytes, then 16 to 512 in steps of 16, then eight steps an octave up to 8 KiB. Every multiple of 64 up to
 * 1 KiB has a class of its own and every class above 512 is a multiple of 64, so a block whose size is one is aligned to it. */
#define SMALL_MOST      8192
#define FINE_MOST       512
#define CLASSES_FINE    (1 + FINE_MOST / 16)
#define CLASSES         (CLASSES_FINE + 4 * 8)
#define SMALL_RUN_PAGES 8

#define LIKELY(condition)   __builtin_expect(!!(condition), 1)
#define UNLIKELY(condition) __builtin_expect(!!(condition), 0)

enum page_kind {
    PAGE_NONE,                               /* nobody's, not yet taken, or inside a large or a free run */
    PAGE_SMALL_FIRST,                        /* a page of blocks of class kind - PAGE_SMALL_FIRST */
    PAGE_LARGE = PAGE_SMALL_FIRST + CLASSES, /* first page of a block; length in pages */
    PAGE_FREE,                               /* first and last page of a free run; length in pages */
};

struct page {
    uint32_t length;
    uint16_t heap;
    uint8_t kind;
    uint8_t unused;
};
_Static_assert(sizeof(struct page) == 8, "0.2 % of what it describes");

enum unit_state { UNIT_NONE, UNIT_TAKEN, UNIT_FREE };

/* First unit of an extent; of a free one the last unit too (length and state). */
struct unit {
    uint32_t length;
    uint32_t next, previous; /* extents of one heap (next only), or of one list of free ones */
    uint32_t state;
};

#define UNIT_BINS 26
struct range {
    uint64_t bytes, limit_pages, pages_in_use;
    uint32_t units_used, units_open; /* ends, from RANGE_BASE */
    uint32_t unit_bins[UNIT_BINS];   /* free extents by the logarithm of their length */
    uint32_t heaps_made;
    uint32_t heap_free; /* numbers + 1 of destroyed heaps, linked by `next_free` */
    bool exhausted;
};

/* Exact up to 16 pages, then by the logarithm. */
#define RUN_BINS_EXACT 16
#define RUN_BINS       48

struct memory_heap {
    void *free[CLASSES];     /* first free block of each class; a free block begins with the next */
    uint8_t *fresh[CLASSES]; /* next block never handed out in the newest run of pages */
    uint32_t fresh_count[CLASSES];
    uint32_t bins[RUN_BINS]; /* first free run of each */
    uint64_t bins_filled;
    uint64_t pages;          /* in use */
    uint32_t tail, tail_end; /* pages of the newest extent not yet taken */
    uint32_t clean;          /* from here to tail_end nothing was ever written */
    uint32_t extents;
    uint32_t next_free;
    uint16_t number;
    bool alive;
};
_Static_assert(sizeof(struct memory_heap) <= HEAP_BYTES, "heaps lie at fixed distances");

/* What lies at the start of a free run. */
struct free_run {
    uint32_t next, previous;
};

static inline struct range *range_state(void)
{
    return (struct range *)RANGE_BASE;
}

static inline struct page *page_at(uint64_t number)
{
    return (struct page *)PAGES_BASE + number;
}

static inline struct unit *unit_at(uint64_t number)
{
    return (struct unit *)UNITS_BASE + number;
}

static inline struct memory_heap *heap_at(uint64_t number)
{
    return (struct memory_heap *)(HEAPS_BASE + number * HEAP_BYTES);
}

static inline void *page_memory(uint64_t number)
{
    return (void *)(RANGE_BASE + (number << PAGE_BITS));
}

/* range.c: the reservation, and extents of units in it. */
bool range_reserve(uint64_t limit_bytes);
void range_release(void);
/* Makes everything up to unit `end` readable and writable. */
bool range_open(uint32_t end);
uint32_t range_extent_take(uint32_t units); /* first unit; 0: there is none */
void range_extent_give(uint32_t first);

/* runs.c: runs of pages in the extents of one heap. */
uint32_t run_take(struct memory_heap *heap, uint32_t pages, bool *zero); /* first page; 0: limit or no memory */
void run_give(struct memory_heap *heap, uint32_t first, uint32_t pages);
/* Makes the run longer where it lies; false: something is behind it, or the limit. */
bool run_grow(struct memory_heap *heap, uint32_t first, uint32_t pages, uint32_t wanted);
void runs_end(struct memory_heap *heap); /* all extents go back */

/* Under the address sanitizer what is free is poisoned by hand, so that a use after free or past the end is found as in libc's heap. */
#if defined(__SANITIZE_ADDRESS__)
#define MEMORY_POISONS 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define MEMORY_POISONS 1
#endif
#endif
#ifdef MEMORY_POISONS
#include <sanitizer/asan_interface.h>
#define POISON(at, size)   __asan_poison_memory_region(at, size)
#define UNPOISON(at, size) __asan_unpoison_memory_region(at, size)
#else
#define POISON(at, size)   ((void)(at), (void)(size))
#define UNPOISON(at, size) ((void)(at), (void)(size))
#endif

#endif
