/* memory.c: the model's heaps. Until memory_begin() the calls are libc's. */
#include "memory.h"

#include <stdlib.h>

void *memory_allocate(size_t size)
{
    return malloc(size ? size : 1);
}

void *memory_allocate_zero(size_t count, size_t size)
{
    return calloc(count ? count : 1, size ? size : 1);
}

void *memory_resize(void *block, size_t size)
{
    return realloc(block, size ? size : 1);
}

void memory_free(void *block)
{
    free(block);
}
