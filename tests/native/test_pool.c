/* The pool: size classes, the order in which chunks are lent, references, and the growth of segments. */
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "fuzz.h"
#include "memory.h"
#include "pool.h"

static void *map_segment(size_t size_bytes) {
    void *address = NULL;
    int fd = lunar_memory_create("test", size_bytes);
    CHECK(fd >= 0);
    CHECK(lunar_memory_map(fd, size_bytes, 1, 0, &address) == 0);
    close(fd);
    return address;
}

static void classes_hold_what_they_say(void) {
    for (uint32_t size_class = 0; size_class < LUNAR_POOL_CLASSES; size_class++) {
        size_t chunk_bytes = lunar_pool_chunk_bytes(size_class);
        CHECK(lunar_pool_class(chunk_bytes) == size_class);
        if (size_class + 1 < LUNAR_POOL_CLASSES)
            CHECK(lunar_pool_class(chunk_bytes + 1) == size_class + 1);
        CHECK(chunk_bytes % LUNAR_CHUNK_ALIGNMENT == 0);
    }
    CHECK(lunar_pool_class(0) == 0 && lunar_pool_class(1) == 0);
    CHECK(lunar_pool_class(LUNAR_MAX_PAYLOAD_BYTES) == LUNAR_POOL_CLASSES - 1);
}

static void segments_grow_to_a_bound(void) {
    lunar_pool pool = {0};
    for (uint32_t size_class = 0; size_class < LUNAR_POOL_CLASSES; size_class++) {
        size_t chunk_bytes = lunar_pool_chunk_bytes(size_class), before = 0;
        for (pool.segments_of[size_class] = 0; pool.segments_of[size_class] < 40; pool.segments_of[size_class]++) {
            size_t size_bytes = lunar_pool_next_segment_bytes(&pool, size_class);
            CHECK(size_bytes >= chunk_bytes && size_bytes >= before);
            CHECK(size_bytes % chunk_bytes == 0 || size_bytes > chunk_bytes);
            CHECK(size_bytes <= ((size_t)64 << 20) || size_bytes == chunk_bytes);
            before = size_bytes;
        }
    }
}

static void chunks_lie_side_by_side(void) {
    lunar_pool pool = {0};
    CHECK(lunar_pool_add_segment(&pool, map_segment(1 << 16), 1 << 16, 4) == 0);
    CHECK(lunar_pool_add_segment(&pool, map_segment(4096), 4096, 0) == 1);
    char *address = pool.segments[0].address;
    lunar_chunk *chunks[64];
    for (int i = 0; i < 64; i++) {
        chunks[i] = lunar_pool_allocate(&pool, 4);
        CHECK(chunks[i] && chunks[i]->address == address + i * 1024 && chunks[i]->references == 1);
        CHECK(LUNAR_WHERE_SEGMENT(chunks[i]->where) == 0 && LUNAR_WHERE_OFFSET(chunks[i]->where) == (uint64_t)i * 1024);
    }
    CHECK(!lunar_pool_allocate(&pool, 4));
    CHECK(!lunar_pool_allocate(&pool, 5));
    lunar_chunk *other = lunar_pool_allocate(&pool, 0);
    CHECK(other && LUNAR_WHERE_SEGMENT(other->where) == 1);
    /* The chunk freed last is lent first. */
    lunar_pool_unreference(&pool, chunks[7]);
    lunar_pool_unreference(&pool, chunks[3]);
    CHECK(lunar_pool_allocate(&pool, 4) == chunks[3] && lunar_pool_allocate(&pool, 4) == chunks[7]);
    /* One that is referred to more than once goes with the last of them. */
    chunks[5]->references++;
    lunar_pool_unreference(&pool, chunks[5]);
    CHECK(!lunar_pool_allocate(&pool, 4));
    lunar_pool_unreference(&pool, chunks[5]);
    CHECK(lunar_pool_allocate(&pool, 4) == chunks[5]);
    lunar_pool_close(&pool);
    CHECK(pool.segment_count == 0 && pool.size_bytes == 0 && !pool.free[4]);
}

static void a_place_is_told_from_all_others(void) {
    CHECK(LUNAR_WHERE_SEGMENT(LUNAR_WHERE(LUNAR_MAX_SEGMENTS - 1, 0)) == LUNAR_MAX_SEGMENTS - 1);
    uint64_t last = ((uint64_t)1 << 46) - LUNAR_CHUNK_ALIGNMENT;
    CHECK(LUNAR_WHERE_OFFSET(LUNAR_WHERE(5, last)) == last && LUNAR_WHERE_SEGMENT(LUNAR_WHERE(5, last)) == 5);
}

static void too_much_is_refused(void) {
    lunar_pool pool = {0};
    static char nothing[64];
    CHECK(lunar_pool_add_segment(&pool, nothing, 64, 1) < 0); /* not one chunk of 128 bytes */
    pool.segment_count = LUNAR_MAX_SEGMENTS;
    CHECK(lunar_pool_add_segment(&pool, nothing, 64, 0) < 0);
    CHECK(!pool.segments && !pool.free[0]);
}

/* Random lending, sharing and giving back, against a plain count. */
static void nothing_is_lent_twice(void) {
    enum { COUNT = 1024 };
    uint64_t state = fuzz_seed();
    lunar_pool pool = {0};
    CHECK(lunar_pool_add_segment(&pool, map_segment(COUNT * 64), COUNT * 64, 0) == 0);
    lunar_chunk *held[COUNT];
    uint32_t references[COUNT], count = 0;
    for (uint64_t step = 0; step < fuzz_rounds(200000); step++) {
        if (fuzz_below(&state, 2)) {
            lunar_chunk *chunk = lunar_pool_allocate(&pool, 0);
            CHECK(!chunk == (count == COUNT));
            if (!chunk)
                continue;
            for (uint32_t i = 0; i < count && step % 97 == 0; i++)
                CHECK(held[i] != chunk);
            references[count] = chunk->references = 1 + (uint32_t)fuzz_below(&state, 3);
            held[count++] = chunk;
        } else if (count) {
            uint32_t i = (uint32_t)fuzz_below(&state, count);
            lunar_pool_unreference(&pool, held[i]);
            if (--references[i] == 0) {
                held[i] = held[--count];
                references[i] = references[count];
            }
        }
    }
    lunar_pool_close(&pool);
}

int main(void) {
    classes_hold_what_they_say();
    segments_grow_to_a_bound();
    chunks_lie_side_by_side();
    a_place_is_told_from_all_others();
    too_much_is_refused();
    nothing_is_lent_twice();
    printf("pool: ok\n");
    return 0;
}
