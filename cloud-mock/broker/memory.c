/* memory.c: where every byte of the broker comes from and goes to, and when the dead are buried.
 *
 * Small blocks come from lists of one size each (no header a block: a session's parts are many and small), carved from
 * chunks that are kept until the broker goes, small ones first: a process may hold thousands of brokers. With a hook in the options every block goes to the hook instead, so that a
 * test can fail each one and a sanitizer sees each one.
 */
#include "internal.h"

/* A chunk is an eighth of what there is, between these. */
#define CHUNK_LEAST_BYTES 4096
#define CHUNK_MOST_BYTES  65536

struct pool_chunk {
    struct pool_chunk *next;
    uint64_t unused; /* keeps what follows aligned to 16 */
};

static uint32_t class_of(size_t size)
{
    return (uint32_t)((size + POOL_STEP - 1) / POOL_STEP);
}

static bool pooled(const struct cloud_broker *broker, size_t size)
{
    return !broker->options.allocate && size <= POOL_STEP * POOL_CLASSES;
}

static void *carve(struct pool *pool, size_t size)
{
    if (pool->fresh_left < size) {
        size_t bytes = pool->chunk_bytes / 8 & ~(size_t)(CHUNK_LEAST_BYTES - 1);
        bytes = bytes < CHUNK_LEAST_BYTES ? CHUNK_LEAST_BYTES : bytes > CHUNK_MOST_BYTES ? CHUNK_MOST_BYTES : bytes;
        struct pool_chunk *chunk = memory_allocate(bytes);
        if (!chunk)
            return NULL;
        pool->chunk_bytes += bytes;
        chunk->next = pool->chunks;
        pool->chunks = chunk;
        pool->fresh = (uint8_t *)(chunk + 1);
        pool->fresh_left = bytes - sizeof(*chunk);
    }
    void *memory = pool->fresh;
    pool->fresh += size;
    pool->fresh_left -= size;
    return memory;
}

void *broker_memory_get(struct cloud_broker *broker, size_t size)
{
    void *memory;
    if (pooled(broker, size)) {
        uint32_t class = class_of(size);
        memory = broker->pool.free[class];
        if (memory)
            memcpy(&broker->pool.free[class], memory, sizeof(void *));
        else
            memory = carve(&broker->pool, (size_t) class * POOL_STEP);
        size = (size_t) class * POOL_STEP;
    } else if (broker->options.allocate) {
        memory = broker->options.allocate(broker->options.allocate_context, NULL, 0, size);
    } else {
        memory = memory_allocate(size);
    }
    if (memory)
        broker->memory_bytes += size;
    return memory;
}

void *broker_memory_get_clear(struct cloud_broker *broker, size_t size)
{
    void *memory = broker_memory_get(broker, size);
    if (memory)
        memset(memory, 0, size);
    return memory;
}

void broker_memory_put(struct cloud_broker *broker, void *memory, size_t size)
{
    if (!memory)
        return;
    if (pooled(broker, size)) {
        uint32_t class = class_of(size);
        memcpy(memory, &broker->pool.free[class], sizeof(void *));
        broker->pool.free[class] = memory;
        size = (size_t) class * POOL_STEP;
    } else if (broker->options.allocate) {
        broker->options.allocate(broker->options.allocate_context, memory, size, 0);
    } else {
        memory_free(memory);
    }
    broker->memory_bytes -= size;
}

void *broker_memory_resize(struct cloud_broker *broker, void *memory, size_t old_size, size_t new_size)
{
    void *moved = broker_memory_get(broker, new_size);
    if (!moved)
        return NULL;
    if (memory)
        memcpy(moved, memory, old_size < new_size ? old_size : new_size);
    broker_memory_put(broker, memory, old_size);
    return moved;
}

bool broker_memory_reserve(struct cloud_broker *broker, void **array, uint32_t *capacity, uint32_t needed, size_t item)
{
    if (needed <= *capacity)
        return true;
    uint32_t wanted = *capacity < 8 ? 8 : *capacity + *capacity / (*capacity < 1024 ? 2 : 8);
    if (wanted < needed)
        wanted = needed;
    void *moved = broker_memory_resize(broker, *array, *capacity * item, wanted * item);
    if (!moved)
        return false;
    *array = moved;
    *capacity = wanted;
    return true;
}

void broker_memory_destroy(struct cloud_broker *broker)
{
    while (broker->pool.chunks) {
        struct pool_chunk *chunk = broker->pool.chunks;
        broker->pool.chunks = chunk->next;
        memory_free(chunk);
    }
}

void broker_bury(struct cloud_broker *broker)
{
    while (broker->dead_connections) {
        struct cloud_connection *connection = broker->dead_connections;
        broker->dead_connections = connection->next_dead;
        broker_link_free(broker, connection);
    }
    while (broker->dead_sessions) {
        struct session *session = broker->dead_sessions;
        broker->dead_sessions = session->chain;
        broker_session_free(broker, session);
    }
}
