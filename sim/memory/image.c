/* image.c: the image of the range: head, tables, pages in use, check sum; one stream either way.
 *
 * An image is good for the very program that wrote it, linked at a fixed address: then pointers to code and constants hold as well as those to
 * blocks. The build id in the program's own notes says which program that is.
 */
#define _GNU_SOURCE /* dl_iterate_phdr() */
#include "inside.h"

#include <errno.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define MAGIC         "convoyM1"
#define BUILD_ID_MOST 64
#define BUFFER_BYTES  ((size_t)1 << 20)
#define LANES         4

/* ---- the program ----------------------------------------------------------------------------------------------------- */

struct program {
    uint8_t build_id[BUILD_ID_MOST];
    uint32_t build_id_length;
    bool fixed;
};

static void read_notes(struct program *program, const uint8_t *at, uint64_t size)
{
    while (size >= sizeof(ElfW(Nhdr))) {
        const ElfW(Nhdr) *note = (const ElfW(Nhdr) *)at;
        uint64_t name = (note->n_namesz + 3u) & ~3u, length = sizeof *note + name + ((note->n_descsz + 3u) & ~3u);
        if (length > size)
            return;
        if (note->n_type == NT_GNU_BUILD_ID && note->n_namesz == 4 && memcmp(note + 1, "GNU", 4) == 0 &&
            note->n_descsz <= BUILD_ID_MOST) {
            memcpy(program->build_id, at + sizeof *note + name, note->n_descsz);
            program->build_id_length = note->n_descsz;
        }
        at += length;
        size -= length;
    }
}

/* The first object is the program itself. */
static int on_object(struct dl_phdr_info *info, size_t size, void *context)
{
    struct program *program = context;
    program->fixed = info->dlpi_addr == 0;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        if (info->dlpi_phdr[i].p_type == PT_NOTE)
            read_notes(program, (const uint8_t *)(info->dlpi_addr + info->dlpi_phdr[i].p_vaddr),
                       info->dlpi_phdr[i].p_memsz);
    }
    return 1;
}

static bool program_read(struct program *program, char *error, size_t error_capacity)
{
    *program = (struct program){0};
    dl_iterate_phdr(on_object, program);
    if (!program->fixed)
        snprintf(error, error_capacity, "this build of the program has no fixed address: link it with -no-pie");
    else if (program->build_id_length == 0)
        snprintf(error, error_capacity, "this build of the program has no build id: link it with -Wl,--build-id");
    return program->fixed && program->build_id_length != 0;
}

/* ---- the stream ------------------------------------------------------------------------------------------------------ */

struct image_head {
    char magic[8];
    uint32_t head_bytes, build_id_length;
    uint8_t build_id[BUILD_ID_MOST];
    uint64_t range_base, root;
    uint64_t stream_bytes; /* from after the head to before the check sum */
    struct range range;
};

struct stream {
    int descriptor;
    uint8_t *buffer;
    size_t fill, next;      /* writing: `fill` bytes wait; reading: those from `next` to `fill` do */
    uint64_t bytes, wanted; /* through the buffer; reading: in all */
    uint64_t lanes[LANES];
    char *error;
    size_t error_capacity;
    bool failed;
};

static bool stream_fail(struct stream *stream, const char *text)
{
    if (!stream->failed)
        snprintf(stream->error, stream->error_capacity, "%s", text);
    stream->failed = true;
    return false;
}

static inline uint64_t rotate(uint64_t word, uint32_t by)
{
    return word << by | word >> (64 - by);
}

/* Four lanes of multiply and rotate (xxHash's round): as fast as memory. Only the last call's size may be no multiple of 32. */
static void sum_add(uint64_t lanes[LANES], const uint8_t *data, size_t size)
{
    const uint64_t p1 = UINT64_C(0x9E3779B185EBCA87), p2 = UINT64_C(0xC2B2AE3D27D4EB4F);
    for (size_t at = 0; at + 8 <= size; at += 8) {
        uint64_t word, *lane = &lanes[at / 8 % LANES];
        memcpy(&word, data + at, 8);
        *lane = rotate(*lane + word * p2, 31) * p1;
    }
}

static uint64_t sum_finish(const uint64_t lanes[LANES], uint64_t bytes)
{
    uint64_t sum = bytes;
    for (int i = 0; i < LANES; i++) {
        sum = (sum ^ lanes[i]) * UINT64_C(0x9FB21C651E98DF25);
        sum ^= sum >> 32;
    }
    return sum;
}

static bool write_all(struct stream *stream, const void *data, size_t size)
{
    const uint8_t *at = data;
    while (size > 0 && !stream->failed) {
        ssize_t wrote = write(stream->descriptor, at, size);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote <= 0)
            return stream_fail(stream, wrote < 0 ? strerror(errno) : "nothing could be written");
        at += wrote;
        size -= (size_t)wrote;
    }
    return !stream->failed;
}

static bool read_all(struct stream *stream, void *data, size_t size)
{
    uint8_t *at = data;
    while (size > 0 && !stream->failed) {
        ssize_t got = read(stream->descriptor, at, size);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return stream_fail(stream, got < 0 ? strerror(errno) : "the image is cut short");
        at += got;
        size -= (size_t)got;
    }
    return !stream->failed;
}

static bool stream_flush(struct stream *stream)
{
    sum_add(stream->lanes, stream->buffer, stream->fill);
    stream->bytes += stream->fill;
    bool wrote = write_all(stream, stream->buffer, stream->fill);
    stream->fill = 0;
    return wrote;
}

static bool stream_refill(struct stream *stream)
{
    uint64_t left = stream->wanted - stream->bytes;
    stream->fill = left < BUFFER_BYTES ? (size_t)left : BUFFER_BYTES;
    stream->next = 0;
    if (stream->fill == 0)
        return stream_fail(stream, "the image is damaged: its tables do not add up");
    if (!read_all(stream, stream->buffer, stream->fill))
        return false;
    sum_add(stream->lanes, stream->buffer, stream->fill);
    stream->bytes += stream->fill;
    return true;
}

/* By words and unseen by the address sanitizer: pages are copied with the free blocks in them. */
#if defined(__GNUC__)
__attribute__((no_sanitize("address")))
#endif
static void
copy_words(void *to, const void *from, size_t size)
{
    volatile uint64_t *target = to;
    const volatile uint64_t *source = from;
    for (size_t i = 0; i < size / 8; i++)
        target[i] = source[i];
}

typedef bool stream_move(struct stream *stream, void *data, size_t size);

static bool stream_put(struct stream *stream, void *data, size_t size)
{
    const uint8_t *at = data;
    while (size > 0) {
        size_t room = BUFFER_BYTES - stream->fill, part = size < room ? size : room;
        copy_words(stream->buffer + stream->fill, at, part);
        stream->fill += part;
        at += part;
        size -= part;
        if (stream->fill == BUFFER_BYTES && !stream_flush(stream))
            return false;
    }
    return true;
}

static bool stream_get(struct stream *stream, void *data, size_t size)
{
    uint8_t *at = data;
    while (size > 0) {
        if (stream->next == stream->fill && !stream_refill(stream))
            return false;
        size_t here = stream->fill - stream->next, part = size < here ? size : here;
        copy_words(at, stream->buffer + stream->next, part);
        stream->next += part;
        at += part;
        size -= part;
    }
    return true;
}

/* ---- what is in it --------------------------------------------------------------------------------------------------- */

static const uint32_t lead_units = RANGE_BYTES_LEAD >> UNIT_BITS;

/* A table in the range, from its entry for the arena's start; whole words in any case. */
static uint64_t each_table(const struct range *range, struct stream *stream, stream_move *move)
{
    uint64_t units = range->units_used - lead_units;
    const struct {
        void *at;
        uint64_t bytes;
    } tables[] = {{heap_at(0), (uint64_t)range->heaps_made * HEAP_BYTES},
                  {unit_at(lead_units), units * sizeof(struct unit)},
                  {page_at((uint64_t)lead_units * UNIT_PAGES), units * UNIT_PAGES * sizeof(struct page)}};
    uint64_t bytes = 0;
    for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
        bytes += tables[i].bytes;
        if (move != NULL && !move(stream, tables[i].at, tables[i].bytes))
            break;
    }
    return bytes;
}

/* Every page in use, and of a free run the first, where its links are. */
static uint64_t each_page(const struct range *range, struct stream *stream, stream_move *move)
{
    uint64_t end = (uint64_t)range->units_used * UNIT_PAGES, bytes = 0, left;
    for (uint64_t page = (uint64_t)lead_units * UNIT_PAGES, length; page < end; page += length) {
        const struct page *at = page_at(page);
        length = at->kind >= PAGE_LARGE ? at->length : 1;
        if (at->kind == PAGE_NONE)
            continue;
        left = end - page;
        length = length == 0 || length > left ? left : length;
        uint64_t size = (at->kind == PAGE_FREE ? 1 : length) << PAGE_BITS;
        bytes += size;
        if (move != NULL && !move(stream, page_memory(page), size))
            break;
    }
    return bytes;
}

/* ---- save and load --------------------------------------------------------------------------------------------------- */

bool memory_save(int descriptor, const void *root, char *error, size_t error_capacity)
{
    struct program program;
    if (!program_read(&program, error, error_capacity))
        return false;
    const struct range *range = range_state();
    struct image_head head = {.magic = MAGIC,
                              .head_bytes = sizeof head,
                              .build_id_length = program.build_id_length,
                              .range_base = RANGE_BASE,
                              .root = (uint64_t)(uintptr_t)root,
                              .range = *range};
    memcpy(head.build_id, program.build_id, sizeof head.build_id);
    head.stream_bytes = each_table(range, NULL, NULL) + each_page(range, NULL, NULL);
    struct stream stream = {.descriptor = descriptor, .error = error, .error_capacity = error_capacity};
    sum_add(stream.lanes, (const uint8_t *)&head, sizeof head);
    stream.buffer = malloc(BUFFER_BYTES);
    if (stream.buffer == NULL)
        return stream_fail(&stream, "out of memory");
    if (write_all(&stream, &head, sizeof head)) {
        each_table(range, &stream, stream_put);
        each_page(range, &stream, stream_put);
        stream_flush(&stream);
        ASSERT(stream.failed || stream.bytes == head.stream_bytes);
        uint64_t sum = sum_finish(stream.lanes, stream.bytes);
        write_all(&stream, &sum, sizeof sum);
    }
    free(stream.buffer);
    return !stream.failed;
}

static bool head_fits(struct stream *stream, const struct image_head *head, const struct program *program)
{
    const struct range *range = range_state();
    if (memcmp(head->magic, MAGIC, sizeof head->magic) != 0)
        return stream_fail(stream, "not an image of Convoy's memory");
    if (head->head_bytes != sizeof *head || head->build_id_length != program->build_id_length ||
        memcmp(head->build_id, program->build_id, program->build_id_length) != 0)
        return stream_fail(stream, "the image was written by another build of the program: use that one");
    if (head->range_base != RANGE_BASE || head->range.units_used < lead_units || head->range.heaps_made > HEAPS_MOST)
        return stream_fail(stream, "the image is damaged: its head makes no sense");
    if (head->range.units_used > range->bytes >> UNIT_BITS)
        return stream_fail(stream, "the image needs more addresses than this process may use (ulimit -v)");
    if (range->limit_pages != 0 && head->range.pages_in_use > range->limit_pages)
        return stream_fail(stream, "the image holds more than the memory limit of this run");
    return true;
}

static void load_body(struct stream *stream, const struct image_head *head)
{
    struct range *range = range_state();
    if (!range_open(head->range.units_used)) {
        stream_fail(stream, "out of memory");
        return;
    }
    struct range fresh = *range;
    *range = head->range;
    range->bytes = fresh.bytes;
    range->limit_pages = fresh.limit_pages;
    range->units_open = fresh.units_open;
    range->exhausted = false;
    each_table(range, stream, stream_get);
    if (!stream->failed)
        each_page(range, stream, stream_get);
    uint64_t sum;
    if (!stream->failed && (stream->bytes != stream->wanted || stream->next != stream->fill))
        stream_fail(stream, "the image is damaged: its tables do not add up");
    if (read_all(stream, &sum, sizeof sum) && sum != sum_finish(stream->lanes, stream->bytes))
        stream_fail(stream, "the image is damaged: its check sum is wrong");
}

bool memory_load(int descriptor, void **root, char *error, size_t error_capacity)
{
    struct range *range = range_state();
    ASSERT(range->heaps_made == 0);
    struct program program;
    if (!program_read(&program, error, error_capacity))
        return false;
    struct stream stream = {.descriptor = descriptor, .error = error, .error_capacity = error_capacity};
    struct image_head head;
    if (!read_all(&stream, &head, sizeof head) || !head_fits(&stream, &head, &program))
        return false;
    stream.buffer = malloc(BUFFER_BYTES);
    if (stream.buffer == NULL)
        return stream_fail(&stream, "out of memory");
    sum_add(stream.lanes, (const uint8_t *)&head, sizeof head);
    stream.wanted = head.stream_bytes;
    memory_enter(NULL);
    load_body(&stream, &head);
    free(stream.buffer);
    if (stream.failed) {
        /* As fresh as it was. */
        uint64_t limit_bytes = range->limit_pages << PAGE_BITS;
        memory_end();
        bool again = memory_begin(limit_bytes);
        ASSERT(again);
        return false;
    }
    *root = (void *)(uintptr_t)head.root;
    return true;
}
