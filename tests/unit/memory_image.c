/* The image of the heaps: written by this process, read by another one of the same program, which finds everything where it was and
 * goes on allocating exactly as the first one did. */
#include "memory.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define HEAPS 5
#define NODES 4000
#define AFTER 3000 /* blocks allocated once more after saving, and again after loading */

struct node {
    struct node *next;
    const char *text;                     /* a constant */
    uint32_t (*hash)(uint32_t, uint32_t); /* code */
    uint8_t *block;
    uint32_t size, fill;
};

struct world {
    struct memory_heap *heaps[HEAPS];
    struct node *first[HEAPS];
    uint64_t pages_bytes;
    uint8_t *large;
    void *after[AFTER]; /* what the writer got after it had saved: filled in only there */
};

static const char *const texts[] = {"parked", "driving", "charging"};
#define LARGE_BYTES ((size_t)5 << 20)

static uint32_t hash_odd(uint32_t a, uint32_t b)
{
    return (a ^ b * 2654435761u) | 1;
}

static uint32_t hash_even(uint32_t a, uint32_t b)
{
    return (a + b * 40503u) & ~1u;
}

static uint32_t block_size(uint32_t heap, uint32_t number)
{
    uint32_t drawn = hash_odd(heap, number);
    return drawn % 97 == 0 ? drawn % 60000 : drawn % 400;
}

static struct node *make_node(uint32_t heap, uint32_t number)
{
    struct node *node = memory_allocate(sizeof *node);
    *node = (struct node){.text = texts[number % 3],
                          .hash = number % 2 ? hash_odd : hash_even,
                          .size = block_size(heap, number),
                          .fill = number % 251};
    node->block = memory_allocate(node->size);
    memset(node->block, (int)node->fill, node->size);
    return node;
}

/* Heaps with holes: of each list every third node is freed again, whole heaps have come and gone. */
static struct world *make_world(void)
{
    struct memory_heap *first = memory_heap_create(), *passing = memory_heap_create();
    memory_enter(passing);
    memory_allocate(100000);
    memory_enter(first);
    struct world *world = memory_allocate_zero(1, sizeof *world);
    for (uint32_t h = 0; h < HEAPS; h++)
        world->heaps[h] = h == 0 ? first : memory_heap_create();
    for (uint32_t n = 0; n < NODES; n++) {
        for (uint32_t h = 0; h < HEAPS; h++) {
            memory_enter(world->heaps[h]);
            struct node *node = make_node(h, n);
            node->next = world->first[h];
            world->first[h] = node;
        }
    }
    memory_heap_destroy(passing);
    for (uint32_t h = 0; h < HEAPS; h++) {
        for (struct node *node = world->first[h]; node != NULL && node->next != NULL; node = node->next) {
            struct node *gone = node->next;
            node->next = gone->next;
            memory_free(gone->block);
            memory_free(gone);
        }
    }
    memory_enter(world->heaps[HEAPS - 1]);
    world->large = memory_allocate(LARGE_BYTES);
    memset(world->large, 0x5A, LARGE_BYTES);
    world->pages_bytes = memory_bytes();
    return world;
}

/* The moves both processes make after the image. */
static void go_on(const struct world *world, void **got)
{
    for (uint32_t i = 0; i < AFTER; i++) {
        memory_enter(world->heaps[i % HEAPS]);
        got[i] = memory_allocate(block_size(99, i));
        if (i % 7 == 0)
            memory_free(got[i]);
        if (i % 11 == 0)
            got[i] = memory_resize(memory_allocate(20000), 30000);
    }
}

static bool holds(bool condition, const char *what)
{
    if (!condition)
        fprintf(stderr, "memory_image: %s\n", what);
    return condition;
}

static bool world_is_whole(const struct world *world)
{
    bool whole = holds(memory_bytes() == world->pages_bytes, "pages in use differ");
    for (uint32_t h = 0; h < HEAPS; h++) {
        uint32_t count = 0;
        for (const struct node *node = world->first[h]; node != NULL; node = node->next, count++) {
            uint32_t number = NODES - 1 - 2 * count;
            whole = whole && holds(node->size == block_size(h, number) && node->fill == number % 251, "a node differs");
            whole = whole && holds(node->text == texts[number % 3] && strcmp(node->text, texts[number % 3]) == 0,
                                   "a constant's address differs");
            whole = whole && holds(node->hash(h, number) == (number % 2 ? hash_odd : hash_even)(h, number),
                                   "a function's address differs");
            for (uint32_t i = 0; i < node->size && whole; i++)
                whole = holds(node->block[i] == node->fill, "a block's content differs");
            if (!whole)
                return false;
        }
        whole = whole && holds(count == NODES / 2, "nodes are missing");
    }
    for (size_t i = 0; i < LARGE_BYTES && whole; i++)
        whole = holds(world->large[i] == 0x5A, "the large block's content differs");
    return whole;
}

/* The other process: `memory_image load IMAGE ADDRESSES`. */
static int load(const char *image, const char *addresses)
{
    static void *expected[AFTER], *got[AFTER];
    char error[200] = "";
    void *root = NULL;
    int descriptor = open(image, O_RDONLY), list = open(addresses, O_RDONLY);
    if (!holds(read(list, expected, sizeof expected) == sizeof expected, "the list of addresses cannot be read") ||
        !holds(memory_begin(0), "the range is not to be had"))
        return 1;
    if (!memory_load(descriptor, &root, error, sizeof error))
        return holds(false, error) ? 0 : 1;
    struct world *world = root;
    if (!world_is_whole(world))
        return 1;
    void *outside = memory_allocate(10);
    bool same = holds(world->first[0]->block != NULL && (uintptr_t)outside >> 40 != 0x20, "a heap is entered");
    memory_free(outside);
    go_on(world, got);
    same = same && holds(memcmp(expected, got, sizeof got) == 0, "blocks come in another order than without the image");
    /* Everything can go. */
    for (uint32_t h = HEAPS; h-- > 1;)
        memory_heap_destroy(world->heaps[h]);
    memory_heap_destroy(world->heaps[0]);
    same = same && holds(memory_bytes() == 0, "pages are left");
    memory_end();
    return same ? 0 : 1;
}

/* ---- this process ----------------------------------------------------------------------------------------------------- */

static char folder[] = "/tmp/convoy-memory-XXXXXX";
static char image[64], addresses[64], damaged[64];

static int make_folder(void **state)
{
    if (mkdtemp(folder) == NULL)
        return -1;
    snprintf(image, sizeof image, "%s/image", folder);
    snprintf(addresses, sizeof addresses, "%s/addresses", folder);
    snprintf(damaged, sizeof damaged, "%s/damaged", folder);
    return 0;
}

static int remove_folder(void **state)
{
    unlink(image);
    unlink(addresses);
    unlink(damaged);
    return rmdir(folder);
}

static int run_other(void)
{
    pid_t child = fork();
    if (child == 0) {
        execl("/proc/self/exe", "memory_image", "load", image, addresses, (char *)NULL);
        _exit(127);
    }
    int status = -1;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void another_process_goes_on(void **state)
{
    static void *got[AFTER];
    char error[200] = "";
    assert_true(memory_begin(0));
    struct world *world = make_world();
    int descriptor = open(image, O_RDWR | O_CREAT | O_TRUNC, 0600);
    if (!memory_save(descriptor, world, error, sizeof error))
        fail_msg("%s", error);
    off_t bytes = lseek(descriptor, 0, SEEK_END);
    /* What is in use and the tables, not the range. */
    assert_in_range(bytes, world->pages_bytes, world->pages_bytes + world->pages_bytes / 10);
    close(descriptor);
    assert_true(world_is_whole(world));
    go_on(world, got);
    descriptor = open(addresses, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_int_equal(write(descriptor, got, sizeof got), sizeof got);
    close(descriptor);
    memory_end();
    assert_int_equal(run_other(), 0);
}

/* A copy of the image's first `bytes` bytes with the byte at `flip` changed. */
static void copy_damaged(off_t bytes, off_t flip)
{
    static uint8_t buffer[1 << 16];
    int from = open(image, O_RDONLY), to = open(damaged, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(from >= 0 && to >= 0);
    for (off_t at = 0; at < bytes;) {
        ssize_t got = read(from, buffer, sizeof buffer);
        assert_true(got > 0);
        if (got > bytes - at)
            got = (ssize_t)(bytes - at);
        if (flip >= at && flip < at + got)
            buffer[flip - at] ^= 0x10;
        assert_int_equal(write(to, buffer, (size_t)got), got);
        at += got;
    }
    close(from);
    close(to);
}

static void expect_refusal(off_t bytes, off_t flip, uint64_t limit_bytes, const char *reason)
{
    char error[200] = "";
    void *root = &error;
    copy_damaged(bytes, flip);
    assert_true(memory_begin(limit_bytes));
    int descriptor = open(damaged, O_RDONLY);
    bool loaded = memory_load(descriptor, &root, error, sizeof error);
    close(descriptor);
    if (loaded || strstr(error, reason) == NULL)
        fail_msg("%lld bytes, byte %lld changed: '%s' instead of '%s'", (long long)bytes, (long long)flip, error,
                 reason);
    assert_ptr_equal(root, &error);
    /* As if nothing had been tried. */
    assert_int_equal(memory_bytes(), 0);
    memory_enter(memory_heap_create());
    uint8_t *block = memory_allocate_zero(1, 100000);
    for (int i = 0; i < 100000; i++)
        assert_int_equal(block[i], 0);
    memory_end();
}

static void what_is_not_whole_is_refused(void **state)
{
    int descriptor = open(image, O_RDONLY);
    assert_true(descriptor >= 0);
    off_t all = lseek(descriptor, 0, SEEK_END);
    close(descriptor);
    expect_refusal(all, 0, 0, "not an image");
    expect_refusal(all, 20, 0, "another build");
    expect_refusal(100, -1, 0, "cut short");
    expect_refusal(all / 2, -1, 0, "cut short");
    expect_refusal(all - 1, -1, 0, "cut short");
    expect_refusal(all, all / 2, 0, "check sum");
    expect_refusal(all, all - 1, 0, "check sum");
    expect_refusal(all, -1, 1 << 20, "memory limit");
    /* The tables: whatever changes in them, it is noticed. */
    for (off_t at = 88; at < 60000; at += 797)
        expect_refusal(all, at, 0, "");
}

static void a_full_disk_is_reported(void **state)
{
    char error[200] = "";
    assert_true(memory_begin(0));
    memory_enter(memory_heap_create());
    memory_allocate(3 << 20);
    int full = open("/dev/full", O_WRONLY);
    assert_true(full >= 0);
    assert_false(memory_save(full, NULL, error, sizeof error));
    assert_string_equal(error, strerror(ENOSPC));
    close(full);
    memory_end();
}

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "load") == 0)
        return load(argv[2], argv[3]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(another_process_goes_on),
        cmocka_unit_test(what_is_not_whole_is_refused),
        cmocka_unit_test(a_full_disk_is_reported),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
