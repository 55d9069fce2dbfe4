#include "pool.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "memory.h"

#define FIRST_SEGMENT_BYTES ((size_t)256 << 10)
#define LARGEST_STEP_BYTES ((size_t)64 << 20)

size_t lunar_pool_next_segment_bytes(const lunar_pool *pool, uint32_t size_class) {
    size_t chunk_bytes = lunar_pool_chunk_bytes(size_class);
    /* Pages are given when first touched, so two chunks of a large class cost no more memory than are used. */
    size_t size_bytes = 2 * chunk_bytes > FIRST_SEGMENT_BYTES ? 2 * chunk_bytes : FIRST_SEGMENT_BYTES;
    for (uint32_t i = 0; i < pool->segments_of[size_class] && size_bytes < LARGEST_STEP_BYTES; i++)
        size_bytes *= 2;
    if (size_bytes > LARGEST_STEP_BYTES)
        size_bytes = chunk_bytes > LARGEST_STEP_BYTES ? chunk_bytes : LARGEST_STEP_BYTES;
    return size_bytes;
}

int lunar_pool_add_segment(lunar_pool *pool, void *address, size_t size_bytes, uint32_t size_class) {
    size_t chunk_bytes = lunar_pool_chunk_bytes(size_class);
    size_t count = size_bytes / chunk_bytes;
    uint32_t index = pool->segment_count;
    if (index >= LUNAR_MAX_SEGMENTS || !count)
        return -ENOSPC;
    lunar_segment *segments = realloc(pool->segments, (index + 1) * sizeof *segments);
    if (!segments)
        return -ENOMEM;
    pool->segments = segments;
    lunar_chunk *chunks = calloc(count, sizeof *chunks);
    if (!chunks)
        return -ENOMEM;
    /* Pushed last to first, so that the stack hands them out in address order. */
    for (size_t i = count; i-- > 0;) {
        chunks[i].address = (char *)address + i * chunk_bytes;
        chunks[i].where = LUNAR_WHERE(index, i * chunk_bytes);
        chunks[i].size_class = size_class;
        chunks[i].next_free = pool->free[size_class];
        pool->free[size_class] = &chunks[i];
    }
    segments[index] = (lunar_segment){address, size_bytes, chunks};
    pool->segment_count = index + 1;
    pool->segments_of[size_class]++;
    pool->size_bytes += size_bytes;
    return (int)index;
}

void lunar_pool_close(lunar_pool *pool) {
    for (uint32_t i = 0; i < pool->segment_count; i++) {
        lunar_memory_unmap(pool->segments[i].address, pool->segments[i].size_bytes);
        free(pool->segments[i].chunks);
    }
    free(pool->segments);
    memset(pool, 0, sizeof *pool);
}
