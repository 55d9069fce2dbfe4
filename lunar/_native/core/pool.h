/* The publisher's memory: chunks in size classes, in segments that subscriptions map read-only.
 *
 * Everything here is the publisher's own bookkeeping and lives in its private memory; only payload bytes are
 * shared.  Chunks carry no header, so a power-of-two payload fills its chunk and a message of 64 bytes
 * touches one cache line.  A class's free list is a stack: the chunk freed last is the one still in cache.
 *
 * The pool never makes a system call; when a class is empty the caller adds a segment.
 */
#ifndef LUNAR_POOL_H
#define LUNAR_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "layout.h"

#define LUNAR_POOL_CLASSES 27 /* 64 B to 4 GiB */

typedef struct lunar_chunk {
    struct lunar_chunk *next_free;
    void *address;
    uint64_t where;
    uint32_t references;
    uint32_t size_class;
} lunar_chunk;

typedef struct {
    void *address;
    size_t size_bytes;
    lunar_chunk *chunks;
} lunar_segment;

typedef struct {
    lunar_chunk *free[LUNAR_POOL_CLASSES];
    uint32_t segments_of[LUNAR_POOL_CLASSES];
    lunar_segment *segments;
    uint32_t segment_count;
    size_t size_bytes;
} lunar_pool;

/* The class that holds `size_bytes`, and the chunk size of a class. */
static inline uint32_t lunar_pool_class(size_t size_bytes) {
    return size_bytes <= LUNAR_CHUNK_ALIGNMENT ? 0 : 58u - (uint32_t)__builtin_clzll((uint64_t)size_bytes - 1);
}
static inline size_t lunar_pool_chunk_bytes(uint32_t size_class) { return (size_t)64 << size_class; }

/* A chunk with one reference, the caller's; NULL when the class is empty. */
static inline lunar_chunk *lunar_pool_allocate(lunar_pool *pool, uint32_t size_class) {
    lunar_chunk *chunk = pool->free[size_class];
    if (chunk) {
        pool->free[size_class] = chunk->next_free;
        chunk->references = 1;
    }
    return chunk;
}

static inline void lunar_pool_unreference(lunar_pool *pool, lunar_chunk *chunk) {
    if (--chunk->references == 0) {
        chunk->next_free = pool->free[chunk->size_class];
        pool->free[chunk->size_class] = chunk;
    }
}

/* Bytes that the next segment of a class should have: it doubles, up to a bound, but holds at least one chunk. */
size_t lunar_pool_next_segment_bytes(const lunar_pool *pool, uint32_t size_class);

/* Cut mapped memory into chunks of a class; the pool owns the mapping from here on.  The segment's index,
 * -ENOMEM or -ENOSPC (too many segments). */
int lunar_pool_add_segment(lunar_pool *pool, void *address, size_t size_bytes, uint32_t size_class);

/* Unmap everything.  No chunk may be in use by this process any more. */
void lunar_pool_close(lunar_pool *pool);

#endif
