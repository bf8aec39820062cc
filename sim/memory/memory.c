/* memory.c: blocks: from an address to its page, from the page to the heap and the size; no headers, no searching.
 *
 * A freed small block goes to its class's list in its heap and is the next one handed out; its page never changes class. A large block is a run
 * of pages (runs.c). Before memory_begin(), or with no heap entered, libc serves.
 */
#include "inside.h"

#include <malloc.h>
#include <stdlib.h>

/* All that is outside the range. */
static uint64_t range_bytes; /* 0: memory_begin() was not called */
static struct memory_heap *entered;

/* ---- sizes ----------------------------------------------------------------------------------------------------------- */

static inline uint32_t class_of(size_t size)
{
    if (LIKELY(size <= FINE_MOST))
        return size <= 8 ? 0 : (uint32_t)(size + 15) / 16;
    uint32_t last = (uint32_t)size - 1, octave = 31 - (uint32_t)__builtin_clz(last);
    return CLASSES_FINE + (octave - 9) * 8 + (last >> (octave - 3)) - 8;
}

static inline uint32_t class_bytes(uint32_t class)
{
    if (class < CLASSES_FINE)
        return class == 0 ? 8 : class * 16;
    uint32_t above = class - CLASSES_FINE, octave = 9 + above / 8;
    return (9 + above % 8) << (octave - 3);
}

/* The fewest pages of which blocks of that size leave at most a thirty-second unused. */
static uint32_t class_pages(uint32_t bytes)
{
    uint32_t best = 1, best_unused = UINT32_MAX;
    for (uint32_t pages = 1; pages <= SMALL_RUN_PAGES; pages++) {
        uint32_t total = pages << PAGE_BITS, unused = total % bytes;
        if (total < bytes)
            continue;
        if (unused <= total / 32)
            return pages;
        if (unused * UINT64_C(16) / pages < best_unused) {
            best = pages;
            best_unused = unused * 16 / pages;
        }
    }
    return best;
}

/* ---- libc's ------------------------------------------------------------------------------------------------------------ */

static bool wants_lines(size_t size)
{
    return size >= 64 && size % 64 == 0;
}

static void *libc_allocate(size_t size)
{
    return wants_lines(size) ? aligned_alloc(64, size) : malloc(size ? size : 1);
}

static void *libc_resize(void *block, size_t size)
{
    if (!wants_lines(size))
        return realloc(block, size ? size : 1);
    size_t before = malloc_usable_size(block);
    void *moved = aligned_alloc(64, size);
    if (moved == NULL)
        return NULL;
    memcpy(moved, block, before < size ? before : size);
    free(block);
    return moved;
}

/* ---- blocks -------------------------------------------------------------------------------------------------------------- */

static inline bool in_range(const void *block)
{
    return (uint64_t)(uintptr_t)block - RANGE_BASE < range_bytes;
}

static inline uint32_t page_of(const void *block)
{
    return (uint32_t)(((uint64_t)(uintptr_t)block - RANGE_BASE) >> PAGE_BITS);
}

/* A run of pages for blocks of this class. */
static bool class_refill(struct memory_heap *heap, uint32_t class)
{
    uint32_t bytes = class_bytes(class);
    /* Many blocks of one size are not to be expected before there are some. */
    uint32_t pages =
        heap->fresh[class] == NULL ? (uint32_t)((bytes + PAGE_BYTES - 1) >> PAGE_BITS) : class_pages(bytes);
    bool zero;
    uint32_t first = run_take(heap, pages, &zero);
    if (first == 0)
        return false;
    struct page mark = {.heap = heap->number, .kind = (uint8_t)(PAGE_SMALL_FIRST + class)};
    for (uint32_t i = 0; i < pages; i++)
        *page_at(first + i) = mark;
    heap->fresh[class] = page_memory(first);
    heap->fresh_count[class] = (pages << PAGE_BITS) / bytes;
    POISON(page_memory(first), (uint64_t)pages << PAGE_BITS);
    return true;
}

static __attribute__((noinline)) void *small_fresh(struct memory_heap *heap, uint32_t class, size_t size)
{
    if (heap->fresh_count[class] == 0 && !class_refill(heap, class))
        return NULL;
    void *block = heap->fresh[class];
    heap->fresh[class] += class_bytes(class);
    heap->fresh_count[class]--;
    UNPOISON(block, size);
    return block;
}

static inline void *small_take(struct memory_heap *heap, size_t size)
{
    uint32_t class = class_of(size);
    void *block = heap->free[class];
    if (UNLIKELY(block == NULL))
        return small_fresh(heap, class, size);
    UNPOISON(block, size < 8 ? 8 : size);
    heap->free[class] = *(void **)block;
    return block;
}

static inline void small_give(struct memory_heap *heap, uint32_t class, void *block)
{
    UNPOISON(block, 8);
    *(void **)block = heap->free[class];
    heap->free[class] = block;
    POISON(block, class_bytes(class));
}

static void *large_take(struct memory_heap *heap, size_t size, bool *zero)
{
    uint64_t pages = (size + PAGE_BYTES - 1) >> PAGE_BITS;
    uint32_t first = size <= RANGE_BYTES_MOST ? run_take(heap, (uint32_t)pages, zero) : 0;
    if (first == 0)
        return NULL;
    *page_at(first) = (struct page){.length = (uint32_t)pages, .heap = heap->number, .kind = PAGE_LARGE};
    UNPOISON(page_memory(first), pages << PAGE_BITS);
    return page_memory(first);
}

static void large_give(uint32_t first)
{
    struct page page = *page_at(first);
    ASSERT(page.kind == PAGE_LARGE); /* the start of a block in use */
    *page_at(first) = (struct page){0};
    run_give(heap_at(page.heap), first, page.length);
}

static __attribute__((noinline)) void *allocate_otherwise(struct memory_heap *heap, size_t size)
{
    bool zero;
    return heap != NULL ? large_take(heap, size, &zero) : libc_allocate(size);
}

void *memory_allocate(size_t size)
{
    struct memory_heap *heap = entered;
    if (LIKELY(heap != NULL && size <= SMALL_MOST))
        return small_take(heap, size);
    return allocate_otherwise(heap, size);
}

void *memory_allocate_zero(size_t count, size_t size)
{
    size_t total;
    if (__builtin_mul_overflow(count, size, &total))
        return NULL;
    struct memory_heap *heap = entered;
    if (heap == NULL && !wants_lines(total))
        return calloc(1, total ? total : 1);
    bool zero = false;
    void *block;
    if (heap != NULL && total > SMALL_MOST)
        block = large_take(heap, total, &zero);
    else
        block = memory_allocate(total);
    if (block != NULL && !zero)
        memset(block, 0, total);
    return block;
}

void memory_free(void *block)
{
    if (UNLIKELY(!in_range(block))) {
        free(block);
        return;
    }
    uint32_t number = page_of(block);
    struct page page = *page_at(number);
    uint32_t class = (uint32_t)page.kind - PAGE_SMALL_FIRST;
    if (LIKELY(class < CLASSES))
        small_give(heap_at(page.heap), class, block);
    else
        large_give(number);
}

static void *move(struct memory_heap *heap, void *block, size_t before, size_t size)
{
    bool zero;
    void *moved = size <= SMALL_MOST ? small_take(heap, size) : large_take(heap, size, &zero);
    if (moved == NULL)
        return NULL;
    memcpy(moved, block, before < size ? before : size);
    memory_free(block);
    return moved;
}

static void *small_resize(struct memory_heap *heap, uint32_t class, void *block, size_t size)
{
    size_t before = class_bytes(class);
    if (size <= SMALL_MOST && class_of(size) == class) {
        POISON(block, before);
        UNPOISON(block, size);
        return block;
    }
    UNPOISON(block, before);
    void *moved = move(heap, block, before, size);
    if (moved == NULL && size < before)
        return block; /* what shrinks can stay */
    return moved;
}

static void *large_resize(struct memory_heap *heap, uint32_t first, void *block, size_t size)
{
    uint32_t before = page_at(first)->length;
    uint64_t pages = (size + PAGE_BYTES - 1) >> PAGE_BITS;
    if (size <= SMALL_MOST) {
        void *moved = move(heap, block, (uint64_t)before << PAGE_BITS, size);
        return moved != NULL ? moved : block;
    }
    if (pages < before) {
        page_at(first)->length = (uint32_t)pages;
        run_give(heap, first + (uint32_t)pages, before - (uint32_t)pages);
    } else if (pages > before) {
        if (pages > RANGE_BYTES_MOST >> PAGE_BITS || !run_grow(heap, first, before, (uint32_t)pages))
            return move(heap, block, (uint64_t)before << PAGE_BITS, size);
        page_at(first)->length = (uint32_t)pages;
        UNPOISON((uint8_t *)block + ((uint64_t)before << PAGE_BITS), (pages - before) << PAGE_BITS);
    }
    return block;
}

void *memory_resize(void *block, size_t size)
{
    if (block == NULL)
        return memory_allocate(size);
    if (!in_range(block))
        return libc_resize(block, size);
    uint32_t number = page_of(block);
    struct page page = *page_at(number);
    uint32_t class = (uint32_t)page.kind - PAGE_SMALL_FIRST;
    if (class < CLASSES)
        return small_resize(heap_at(page.heap), class, block, size);
    ASSERT(page.kind == PAGE_LARGE);
    return large_resize(heap_at(page.heap), number, block, size);
}

void *memory_resize_beyond(void *block, size_t size)
{
    if (range_bytes == 0)
        return memory_resize(block, size);
    struct range *range = range_state();
    uint64_t limit_pages = range->limit_pages;
    range->limit_pages = 0;
    void *resized = memory_resize(block, size);
    range->limit_pages = limit_pages;
    if (limit_pages != 0 && range->pages_in_use > limit_pages)
        range->exhausted = true;
    return resized;
}

/* ---- heaps ----------------------------------------------------------------------------------------------------------------- */

bool memory_begin(uint64_t limit_bytes)
{
    ASSERT(range_bytes == 0);
    if (!range_reserve(limit_bytes))
        return false;
    range_bytes = range_state()->bytes;
    return true;
}

void memory_end(void)
{
    if (range_bytes == 0)
        return;
    entered = NULL;
    range_bytes = 0;
    range_release();
}

struct memory_heap *memory_heap_create(void)
{
    ASSERT(range_bytes != 0);
    struct range *range = range_state();
    uint32_t number = range->heap_free;
    if (number != 0)
        range->heap_free = heap_at(--number)->next_free;
    else if (range->heaps_made < HEAPS_MOST)
        number = range->heaps_made++;
    else
        return NULL;
    struct memory_heap *heap = heap_at(number);
    *heap = (struct memory_heap){.number = (uint16_t)number, .alive = true};
    return heap;
}

void memory_heap_destroy(struct memory_heap *heap)
{
    if (heap == NULL)
        return;
    ASSERT(heap->alive);
    if (entered == heap)
        entered = NULL;
    runs_end(heap);
    heap->alive = false;
    heap->next_free = range_state()->heap_free;
    range_state()->heap_free = heap->number + 1u;
}

struct memory_heap *memory_enter(struct memory_heap *heap)
{
    struct memory_heap *before = entered;
    entered = heap;
    return before;
}

bool memory_exhausted(void)
{
    return range_bytes != 0 && range_state()->exhausted;
}

uint64_t memory_heap_bytes(const struct memory_heap *heap)
{
    return heap->pages << PAGE_BITS;
}

uint64_t memory_bytes(void)
{
    return range_bytes != 0 ? range_state()->pages_in_use << PAGE_BITS : 0;
}
