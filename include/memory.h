/* memory.h: where the model's bytes live: everything a run changes and a checkpoint has to keep.
 *
 * A heap holds what lives and dies together: one partition of the virtual world, or the rest of the process. Blocks have no header;
 * small ones come from pages of one size each, large ones are runs of pages. All heaps share one range of addresses, reserved
 * at a fixed place and asked to be backed by huge pages, so that a saved image is valid again in another process of the same program.
 * Without memory_begin(), or with no heap entered, the calls are libc's: the live world, the servers and the tests need not know.
 * One thread.
 */
#ifndef CONVOY_MEMORY_H
#define CONVOY_MEMORY_H

#include "base.h"

struct memory_heap;

/* Once a process, before the first heap. limit_bytes: of pages in use by all heaps together, 0: none. false: the range is not to be had. */
bool memory_begin(uint64_t limit_bytes);
/* Gives everything back; blocks of heaps are gone. memory_begin() may follow. */
void memory_end(void);
/* NULL: the limit is reached. The heap's own state lies in the range too. */
struct memory_heap *memory_heap_create(void);
void memory_heap_destroy(struct memory_heap *heap); /* with all blocks left in it, at once */
/* From now on blocks come from `heap` (NULL: libc); returns the heap entered before. */
struct memory_heap *memory_enter(struct memory_heap *heap);

/* Aligned to 16 from 16 bytes on (to 8 below), to 64 from 64 bytes on when the size is a multiple of 64. NULL: out of memory, or the
 * limit; memory_exhausted() says so from then on. size 0 counts as 1. */
void *memory_allocate(size_t size);
void *memory_allocate_zero(size_t count, size_t size);
/* Stays in the heap the block came from. NULL: the block is unchanged. */
void *memory_resize(void *block, size_t size);
/* The same past the limit, for what must not fail half-way; memory_exhausted() says so when it went past. NULL: no memory at all. */
void *memory_resize_beyond(void *block, size_t size);
void memory_free(void *block); /* of any heap or libc; NULL is nothing */
bool memory_exhausted(void);

uint64_t memory_heap_bytes(const struct memory_heap *heap); /* pages in use, slack included */
uint64_t memory_bytes(void);                                /* of all heaps */

/* The image: every page in use of every heap, written in one stream and read back to the same addresses. `root` is what the owner
 * finds everything else from. The head names the program (build id) and the range; false with a line in `error` when reading an
 * image of another program, a cut one or one that fails its check sum. memory_load() wants a fresh memory_begin(). */
bool memory_save(int descriptor, const void *root, char *error, size_t error_capacity);
bool memory_load(int descriptor, void **root, char *error, size_t error_capacity);

#endif
