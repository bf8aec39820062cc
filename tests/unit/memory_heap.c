/* Heaps: sizes, alignment, resizing, limits, who owns what; random operations over several heaps against a plain record of them. */
#include "memory.h"
#include "sim/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define KIB ((size_t)1 << 10)
#define MIB ((size_t)1 << 20)

static int begin(void **state)
{
    return memory_begin(0) ? 0 : -1;
}

static int end(void **state)
{
    memory_end();
    return 0;
}

static struct memory_heap *entered_heap(void)
{
    struct memory_heap *heap = memory_heap_create();
    assert_non_null(heap);
    memory_enter(heap);
    return heap;
}

static bool in_range(const void *block)
{
    return (uintptr_t)block >> 40 == 0x20;
}

static void outside_the_range_libc_serves(void **state)
{
    uint8_t *block = memory_allocate(100);
    assert_false(in_range(block));
    memset(block, 7, 100);
    block = memory_resize(block, 100000);
    assert_int_equal(block[99], 7);
    block = memory_resize(block, 64 * 5);
    assert_int_equal((uintptr_t)block % 64, 0);
    assert_int_equal(block[99], 7);
    memory_free(block);
    memory_free(NULL);
    block = memory_allocate_zero(3, 64);
    assert_int_equal((uintptr_t)block % 64, 0);
    for (int i = 0; i < 192; i++)
        assert_int_equal(block[i], 0);
    memory_free(block);
    memory_free(memory_resize(NULL, 10));
    assert_null(memory_allocate_zero(SIZE_MAX / 2, 3));
    assert_int_equal(memory_bytes(), 0);
    assert_false(memory_exhausted());
}

static void no_heap_entered_is_libc(void **state)
{
    void *before = memory_allocate(50);
    assert_false(in_range(before));
    struct memory_heap *heap = entered_heap();
    void *inside = memory_allocate(50);
    assert_true(in_range(inside));
    /* Either kind is given back and resized wherever one is. */
    before = memory_resize(before, 500);
    assert_false(in_range(before));
    memory_free(before);
    assert_ptr_equal(memory_enter(NULL), heap);
    inside = memory_resize(inside, 5000);
    assert_true(in_range(inside));
    memory_free(inside);
    assert_false(in_range(before = memory_allocate(50)));
    memory_free(before);
}

static void every_size_is_aligned_and_apart(void **state)
{
    entered_heap();
    static uint8_t *blocks[20000];
    for (size_t size = 0; size < 20000; size++) {
        uint8_t *block = blocks[size] = memory_allocate(size);
        assert_non_null(block);
        assert_int_equal((uintptr_t)block % (size >= 16 ? 16 : 8), 0);
        if (size >= 64 && size % 64 == 0)
            assert_int_equal((uintptr_t)block % 64, 0);
        memset(block, (int)(size % 251), size);
    }
    for (size_t size = 0; size < 20000; size++) {
        for (size_t i = 0; i < size; i++)
            if (blocks[size][i] != size % 251)
                fail_msg("the block of %zu bytes was written to by another", size);
        memory_free(blocks[size]);
    }
}

static void zeroed_blocks_are_zero_when_used_before(void **state)
{
    entered_heap();
    const size_t sizes[] = {1, 24, 600, 8000, 20000, 3 * MIB};
    for (int round = 0; round < 3; round++) {
        for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
            uint8_t *block = memory_allocate_zero(1, sizes[s]);
            for (size_t i = 0; i < sizes[s]; i++)
                if (block[i] != 0)
                    fail_msg("byte %zu of %zu is not zero in round %d", i, sizes[s], round);
            memset(block, 0xAB, sizes[s]);
            memory_free(block);
        }
    }
}

static void a_freed_block_is_the_next_one(void **state)
{
    struct memory_heap *heap = entered_heap();
    void *first = memory_allocate(100), *second = memory_allocate(100);
    uint64_t bytes = memory_heap_bytes(heap);
    memory_free(first);
    assert_ptr_equal(memory_allocate(101), first);
    memory_free(second);
    assert_ptr_equal(memory_allocate(112), second);
    assert_int_equal(memory_heap_bytes(heap), bytes);
}

static void large_blocks_grow_in_place_and_shrink(void **state)
{
    struct memory_heap *heap = entered_heap();
    uint8_t *block = memory_allocate(10 * KIB);
    memset(block, 1, 10 * KIB);
    uint8_t *grown = memory_resize(block, 40 * KIB);
    assert_ptr_equal(grown, block);
    assert_int_equal(memory_heap_bytes(heap), 40 * KIB);
    memset(grown, 2, 40 * KIB);
    void *behind = memory_allocate(12 * KIB);
    assert_ptr_equal(behind, grown + 40 * KIB);
    assert_ptr_equal(memory_resize(grown, 20 * KIB), grown);
    /* What was cut off is what the next one gets, and a block before it grows into what is left. */
    void *between = memory_allocate(16 * KIB);
    assert_ptr_equal(between, grown + 20 * KIB);
    memory_free(between);
    assert_ptr_equal(memory_resize(grown, 24 * KIB), grown);
    assert_ptr_equal(memory_resize(grown, 40 * KIB), grown);
    /* No room: it moves, content and all. */
    memset(grown, 3, 40 * KIB);
    uint8_t *moved = memory_resize(grown, 44 * KIB);
    assert_ptr_not_equal(moved, grown);
    for (size_t i = 0; i < 40 * KIB; i++)
        assert_int_equal(moved[i], 3);
    /* Down to a small one and up again. */
    moved = memory_resize(moved, 100);
    assert_int_equal(moved[99], 3);
    moved = memory_resize(moved, 100 * KIB);
    assert_int_equal(moved[99], 3);
    memory_free(moved);
    memory_free(behind);
    assert_int_equal(memory_heap_bytes(heap), 4 * KIB); /* the page of blocks of 112 bytes stays */
}

static void free_neighbours_become_one(void **state)
{
    struct memory_heap *heap = entered_heap();
    uint8_t *blocks[6];
    for (int i = 0; i < 6; i++)
        blocks[i] = memory_allocate(16 * KIB);
    memory_free(blocks[1]);
    memory_free(blocks[3]);
    memory_free(blocks[2]);
    assert_ptr_equal(memory_allocate(48 * KIB), blocks[1]);
    uint64_t bytes = memory_heap_bytes(heap);
    assert_int_equal(bytes, 96 * KIB);
    memory_free(blocks[1]);
    assert_int_equal(memory_heap_bytes(heap), 48 * KIB);
}

static void the_limit_is_of_all_heaps(void **state)
{
    memory_end();
    assert_true(memory_begin(1 * MIB));
    struct memory_heap *first = entered_heap(), *second = entered_heap();
    assert_false(memory_exhausted());
    uint8_t *large = memory_allocate(600 * KIB);
    assert_non_null(large);
    memory_enter(first);
    assert_null(memory_allocate(600 * KIB));
    assert_true(memory_exhausted());
    uint8_t *other = memory_allocate(300 * KIB);
    assert_non_null(other);
    other[0] = 9;
    assert_null(memory_resize(other, 500 * KIB));
    assert_int_equal(other[0], 9); /* unchanged */
    uint32_t count = 0;
    while (memory_allocate(1000) != NULL)
        count++;
    assert_in_range(count, 90, 124);
    assert_true(memory_bytes() <= 1 * MIB);
    assert_int_equal(memory_bytes(), memory_heap_bytes(first) + memory_heap_bytes(second));
    memory_heap_destroy(second);
    assert_non_null(memory_allocate(600 * KIB));
    assert_true(memory_exhausted()); /* stays said */
}

static void blocks_go_back_to_the_heap_they_came_from(void **state)
{
    struct memory_heap *first = entered_heap();
    void *block = memory_allocate(256), *large = memory_allocate(20 * KIB);
    struct memory_heap *second = entered_heap();
    memory_free(block);
    assert_ptr_not_equal(memory_allocate(256), block);
    large = memory_resize(large, 24 * KIB);
    assert_int_equal(memory_heap_bytes(first), 28 * KIB);
    assert_int_equal(memory_heap_bytes(second), 4 * KIB);
    memory_enter(first);
    assert_ptr_equal(memory_allocate(256), block);
}

static void a_destroyed_heap_leaves_its_place_to_others(void **state)
{
    struct memory_heap *heaps[40];
    for (int round = 0; round < 5; round++) {
        for (int i = 0; i < 40; i++) {
            heaps[i] = entered_heap();
            for (int block = 0; block < 50; block++)
                memset(memory_allocate((size_t)(1 + block * 397 % 9000)), 0xEE, (size_t)(1 + block * 397 % 9000));
        }
        for (int i = 0; i < 40; i++)
            memory_heap_destroy(heaps[i * 7 % 40]);
        assert_int_equal(memory_bytes(), 0);
    }
    /* All of it is one free piece again, zero, at the start of the arena. */
    entered_heap();
    uint8_t *block = memory_allocate_zero(1, 4 * MIB);
    for (size_t i = 0; i < 4 * MIB; i++)
        if (block[i] != 0)
            fail_msg("byte %zu is what another heap left", i);
    assert_int_equal((uintptr_t)block, (uintptr_t)UINT64_C(0x200100000000));
}

/* A heap of a few thousand blocks of the sizes a cell has: what it holds above the sum of its blocks. */
static void a_cell_wastes_little(void **state)
{
    struct memory_heap *heap = entered_heap();
    uint64_t asked = 0;
    for (int vehicle = 0; vehicle < 3000; vehicle++) {
        const size_t sizes[] = {320, 96, 64, 208, 48, 144};
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            assert_non_null(memory_allocate(sizes[i]));
            asked += sizes[i];
        }
    }
    assert_true(memory_heap_bytes(heap) - asked < asked / 25);
}

/* ---- random operations ------------------------------------------------------------------------------------------------ */

#define SWARM_BLOCKS 3000
#define SWARM_HEAPS  4
struct record {
    uint8_t *block;
    size_t size;
    uint8_t fill;
    uint8_t heap;
};

static size_t swarm_size(struct sim_random *random)
{
    switch (sim_random_below(random, 10)) {
    case 0: return sim_random_below(random, 200 * KIB);
    case 1: return sim_random_below(random, 20 * KIB);
    case 2: return sim_random_below(random, 2 * KIB);
    default: return sim_random_below(random, 300);
    }
}

static void check_record(const struct record *record)
{
    for (size_t i = 0; i < record->size; i++)
        if (record->block[i] != record->fill)
            fail_msg("byte %zu of %zu at %p changed", i, record->size, (void *)record->block);
}

static void random_operations_keep_every_byte(void **state)
{
    static struct record records[SWARM_BLOCKS];
    struct memory_heap *heaps[SWARM_HEAPS];
    memset(records, 0, sizeof records);
    for (int i = 0; i < SWARM_HEAPS; i++)
        heaps[i] = entered_heap();
    struct sim_random random;
    sim_random_init(&random, 11, 0, 0);
    for (int step = 0; step < 60000; step++) {
        struct record *record = &records[sim_random_below(&random, SWARM_BLOCKS)];
        size_t size = swarm_size(&random);
        memory_enter(heaps[sim_random_below(&random, SWARM_HEAPS)]);
        if (record->block == NULL) {
            record->block = memory_allocate(size);
        } else {
            check_record(record);
            if (sim_random_below(&random, 3) == 0) {
                memory_free(record->block);
                record->block = NULL;
                continue;
            }
            size_t kept = size < record->size ? size : record->size;
            record->block = memory_resize(record->block, size);
            record->size = kept;
            check_record(record);
        }
        assert_non_null(record->block);
        record->size = size;
        record->fill = (uint8_t)step;
        memset(record->block, record->fill, size);
    }
    for (int i = 0; i < SWARM_BLOCKS; i++) {
        if (records[i].block != NULL) {
            check_record(&records[i]);
            memory_free(records[i].block);
        }
    }
    for (int i = 0; i < SWARM_HEAPS; i++)
        memory_heap_destroy(heaps[i]);
    assert_int_equal(memory_bytes(), 0);
}

/* One for each partition of the largest run, and one for the rest. */
static void there_are_65536_heaps(void **state)
{
    struct memory_heap *last = NULL;
    for (uint32_t i = 0; i < 65536; i++)
        assert_non_null(last = memory_heap_create());
    assert_null(memory_heap_create());
    memory_enter(last);
    uint8_t *block = memory_allocate(100);
    assert_true(in_range(block));
    memory_free(block);
    assert_ptr_equal(memory_allocate(100), block);
    assert_int_equal(memory_heap_bytes(last), 4096);
    memory_heap_destroy(last);
    assert_ptr_equal(memory_heap_create(), last);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(outside_the_range_libc_serves),
        cmocka_unit_test_setup_teardown(no_heap_entered_is_libc, begin, end),
        cmocka_unit_test_setup_teardown(every_size_is_aligned_and_apart, begin, end),
        cmocka_unit_test_setup_teardown(zeroed_blocks_are_zero_when_used_before, begin, end),
        cmocka_unit_test_setup_teardown(a_freed_block_is_the_next_one, begin, end),
        cmocka_unit_test_setup_teardown(large_blocks_grow_in_place_and_shrink, begin, end),
        cmocka_unit_test_setup_teardown(free_neighbours_become_one, begin, end),
        cmocka_unit_test_setup_teardown(the_limit_is_of_all_heaps, begin, end),
        cmocka_unit_test_setup_teardown(blocks_go_back_to_the_heap_they_came_from, begin, end),
        cmocka_unit_test_setup_teardown(a_destroyed_heap_leaves_its_place_to_others, begin, end),
        cmocka_unit_test_setup_teardown(there_are_65536_heaps, begin, end),
        cmocka_unit_test_setup_teardown(a_cell_wastes_little, begin, end),
        cmocka_unit_test_setup_teardown(random_operations_keep_every_byte, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
