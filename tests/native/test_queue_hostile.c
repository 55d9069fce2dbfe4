/* Each end of a queue against another that writes what it likes: first in turns, then at the same time.
 *
 * What must hold: every call returns, soon, with an answer that its header allows; nothing outside the block is
 * touched (the sanitizers see that, and guard bytes); a publisher's chunks are all back when the match is over, each
 * once; a reader is never given an entry that it did not take.
 */
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "fuzz.h"
#include "memory.h"
#include "queue.h"

#define CAPACITY 16
#define SLOTS LUNAR_MIN_SLOTS
#define CHUNKS 4096
#define GUARD_BYTES 4096

typedef struct {
    char *memory;
    lunar_queue_header *block;
    lunar_pool pool;
    uint64_t seed;
    bool over;
} Scene;

static size_t block_bytes(void) { return lunar_queue_bytes(CAPACITY, SLOTS); }

/* The block, with a guard on both sides. */
static void set_up(Scene *scene, uint64_t seed) {
    memset(scene, 0, sizeof *scene);
    scene->seed = seed;
    CHECK(posix_memalign((void **)&scene->memory, 4096, block_bytes() + 2 * GUARD_BYTES) == 0);
    memset(scene->memory, 0xa5, block_bytes() + 2 * GUARD_BYTES);
    scene->block = (lunar_queue_header *)(scene->memory + GUARD_BYTES);
    memset(scene->block, 0, block_bytes());
    void *address = NULL;
    int fd = lunar_memory_create("test", CHUNKS * 64);
    CHECK(fd >= 0);
    CHECK(lunar_memory_map(fd, CHUNKS * 64, 1, 0, &address) == 0);
    close(fd);
    CHECK(lunar_pool_add_segment(&scene->pool, address, CHUNKS * 64, 0) == 0);
}

static void tear_down(Scene *scene) {
    for (size_t i = 0; i < GUARD_BYTES; i++)
        CHECK((unsigned char)scene->memory[i] == 0xa5 &&
              (unsigned char)scene->memory[GUARD_BYTES + block_bytes() + i] == 0xa5);
    lunar_pool_close(&scene->pool);
    free(scene->memory);
}

static void check_that_all_chunks_are_back(const lunar_pool *pool) {
    uint32_t count = 0;
    for (const lunar_chunk *chunk = pool->free[0]; chunk; chunk = chunk->next_free) {
        CHECK(chunk->references == 0);
        CHECK(++count <= CHUNKS);
    }
    CHECK(count == CHUNKS);
}

/* Any word of the block, mostly those that mean something. */
static void scribble(Scene *scene, uint64_t *state) {
    lunar_queue_header *block = scene->block;
    uint64_t *words[] = {&block->tail, &block->head, &block->return_tail, &block->lost_expired, &block->alive_ns};
    uint64_t which = fuzz_below(state, 9);
    if (which < sizeof words / sizeof *words) {
        uint64_t now = __atomic_load_n(words[which], __ATOMIC_RELAXED);
        __atomic_store_n(words[which], fuzz_lie(state, now), __ATOMIC_RELEASE);
        return;
    }
    uint32_t *all = (uint32_t *)block;
    size_t first = which == 5 ? 0 : sizeof *block / 4;
    size_t place = first + fuzz_below(state, block_bytes() / 4 - first);
    uint32_t value = which == 6 ? (uint32_t)fuzz_below(state, SLOTS) : (uint32_t)fuzz_lie(state, all[place] & 0);
    __atomic_store_n(&all[place], value, __ATOMIC_RELAXED);
}

/* The publisher's end -------------------------------------------------------------------------------------- */

/* As publishing.c does it.  0, or -EPROTO. */
static int publish(lunar_queue_writer *w, lunar_pool *pool, uint64_t sequence, bool overwrite) {
    if (lunar_queue_full(w)) {
        int error = lunar_queue_refresh(w);
        for (int steals = 0; !error && overwrite && lunar_queue_full(w); steals++) {
            CHECK(steals < 4); /* each either takes one back or finds that head has moved */
            int stolen = lunar_queue_steal(w, pool);
            error = stolen < 0 ? stolen : 0;
        }
        if (error)
            return error;
        if (lunar_queue_full(w))
            return 0;
    }
    int collected = lunar_queue_collect(w, pool, w->free_count ? 64 : UINT32_MAX);
    if (collected < 0)
        return collected;
    if (!w->free_count)
        return 0;
    lunar_chunk *chunk = lunar_pool_allocate(pool, 0);
    CHECK(chunk); /* there are more of them than slots */
    lunar_queue_push(w, chunk, sequence, sequence, 8);
    if (sequence % 5)
        lunar_queue_show(w);
    lunar_pool_unreference(pool, chunk);
    CHECK(w->tail - w->head_seen <= w->depth);
    CHECK(w->free_count <= w->slots);
    return 0;
}

/* An honest reader's behaviour between two lies, so that the writer gets somewhere. */
static void behave(lunar_queue_header *block, uint64_t *state) {
    uint64_t head = __atomic_load_n(&block->head, __ATOMIC_RELAXED), tail = block->tail;
    const lunar_entry *entries = (const lunar_entry *)(block + 1);
    uint32_t *returns = (uint32_t *)(entries + CAPACITY);
    while (tail - head <= CAPACITY && head != tail && fuzz_below(state, 4)) {
        uint64_t place = block->return_tail++;
        returns[place % SLOTS] = entries[head % CAPACITY].slot;
        block->head = ++head;
    }
}

static void writer_in_turns(uint64_t seed, bool overwrite) {
    Scene scene;
    set_up(&scene, seed);
    lunar_queue_writer w;
    uint64_t state = seed;
    CHECK(lunar_queue_writer_open(&w, scene.block, CAPACITY, SLOTS, 1 + (uint32_t)fuzz_below(&state, CAPACITY)) == 0);
    int error = 0;
    for (uint64_t sequence = 1; !error && sequence < 300; sequence++) {
        if (fuzz_below(&state, 10))
            behave(scene.block, &state);
        else
            scribble(&scene, &state);
        error = publish(&w, &scene.pool, sequence, overwrite);
        CHECK(error == 0 || error == -EPROTO);
    }
    lunar_queue_writer_close(&w, &scene.pool);
    check_that_all_chunks_are_back(&scene.pool);
    tear_down(&scene);
}

/* The subscription's end ----------------------------------------------------------------------------------- */

/* As reader.c does it.  1 taken, 0 nothing, -EPROTO. */
static int receive(lunar_queue_reader *r, lunar_entry *entry) {
    for (int look = 0; look < LUNAR_QUEUE_LOOKS; look++) {
        int found = lunar_queue_peek(r, entry);
        if (found <= 0)
            return found;
        if (lunar_queue_take(r)) {
            lunar_queue_show_taken(r);
            return 1;
        }
    }
    return -EPROTO;
}

static void reader_in_turns(uint64_t seed, bool overwrite) {
    Scene scene;
    set_up(&scene, seed);
    uint64_t state = seed;
    lunar_queue_writer w;
    lunar_queue_reader r;
    CHECK(lunar_queue_writer_open(&w, scene.block, CAPACITY, SLOTS, CAPACITY) == 0);
    CHECK(lunar_queue_reader_open(&r, scene.block, block_bytes(), CAPACITY, SLOTS, overwrite) == 0);
    int found = 0;
    for (uint64_t sequence = 1; found >= 0 && sequence < 300; sequence++) {
        if (!fuzz_below(&state, 10))
            scribble(&scene, &state);
        if (publish(&w, &scene.pool, sequence, overwrite) < 0)
            break; /* the honest writer has found out its own hostile half */
        lunar_entry entry;
        uint64_t before = r.head;
        found = receive(&r, &entry);
        CHECK(found == 0 || found == 1 || found == -EPROTO);
        if (found == 1) {
            CHECK(overwrite ? r.head > before : r.head == before + 1);
            lunar_queue_return(&r, entry.slot);
        }
    }
    lunar_queue_writer_close(&w, &scene.pool);
    check_that_all_chunks_are_back(&scene.pool);
    tear_down(&scene);
}

/* A block that somebody else has made, of any geometry. */
static void geometries(uint64_t seed) {
    Scene scene;
    set_up(&scene, seed);
    uint64_t state = seed;
    lunar_queue_writer w;
    lunar_queue_reader r;
    CHECK(lunar_queue_writer_open(&w, scene.block, CAPACITY, SLOTS, CAPACITY) == 0);
    lunar_queue_writer_close(&w, &scene.pool);
    for (int i = 0; i < 1000; i++) {
        uint32_t capacity = (uint32_t)fuzz_lie(&state, CAPACITY), slots = (uint32_t)fuzz_lie(&state, SLOTS);
        int error = lunar_queue_reader_open(&r, scene.block, block_bytes(), capacity, slots, i & 1);
        if (error == 0)
            CHECK(lunar_queue_bytes(capacity, slots) <= block_bytes() && !(capacity & (capacity - 1)) &&
                  !(slots & (slots - 1)) && capacity <= slots);
        else
            CHECK(error == -EPROTO);
        uint32_t depth = (uint32_t)fuzz_lie(&state, capacity);
        if (capacity > CAPACITY || slots > SLOTS || depth > capacity || !depth)
            CHECK(capacity <= LUNAR_MAX_CAPACITY || lunar_queue_writer_open(&w, scene.block, capacity, slots, depth) < 0);
    }
    tear_down(&scene);
}

/* Both at once --------------------------------------------------------------------------------------------- */

static void *scribble_on(void *argument) {
    Scene *scene = argument;
    uint64_t state = ~scene->seed;
    /* Much to one word: what a loop could be kept in by. */
    while (!__atomic_load_n(&scene->over, __ATOMIC_ACQUIRE)) {
        scribble(scene, &state);
        uint64_t head = __atomic_load_n(&scene->block->head, __ATOMIC_RELAXED);
        for (int i = 0; i < 50; i++)
            __atomic_store_n(&scene->block->head, head + (i & 1), __ATOMIC_RELEASE);
    }
    return NULL;
}

static void writer_at_once(uint64_t seed, bool overwrite) {
    Scene scene;
    set_up(&scene, seed);
    lunar_queue_writer w;
    CHECK(lunar_queue_writer_open(&w, scene.block, CAPACITY, SLOTS, CAPACITY) == 0);
    pthread_t hostile;
    CHECK(pthread_create(&hostile, NULL, scribble_on, &scene) == 0);
    int error = 0;
    for (uint64_t sequence = 1; !error && sequence < 2000; sequence++)
        error = publish(&w, &scene.pool, sequence, overwrite);
    CHECK(error == 0 || error == -EPROTO);
    __atomic_store_n(&scene.over, true, __ATOMIC_RELEASE);
    CHECK(pthread_join(hostile, NULL) == 0);
    lunar_queue_writer_close(&w, &scene.pool);
    check_that_all_chunks_are_back(&scene.pool);
    tear_down(&scene);
}

static void reader_at_once(uint64_t seed, bool overwrite) {
    Scene scene;
    set_up(&scene, seed);
    lunar_queue_writer w;
    lunar_queue_reader r;
    CHECK(lunar_queue_writer_open(&w, scene.block, CAPACITY, SLOTS, CAPACITY) == 0);
    CHECK(lunar_queue_reader_open(&r, scene.block, block_bytes(), CAPACITY, SLOTS, overwrite) == 0);
    scene.block->tail = 8;
    pthread_t hostile;
    CHECK(pthread_create(&hostile, NULL, scribble_on, &scene) == 0);
    int found = 0;
    for (int i = 0; found >= 0 && i < 2000; i++) {
        lunar_entry entry;
        found = receive(&r, &entry);
        if (found == 1)
            lunar_queue_return(&r, entry.slot);
    }
    CHECK(found >= 0 || found == -EPROTO);
    __atomic_store_n(&scene.over, true, __ATOMIC_RELEASE);
    CHECK(pthread_join(hostile, NULL) == 0);
    lunar_queue_writer_close(&w, &scene.pool);
    tear_down(&scene);
}

/* Bursts --------------------------------------------------------------------------------------------------- */

/* Within a burst more is pushed than fits, and all of it shown at the end: head never passes the tail that is shown. */
static void bursts_overtake_themselves(void) {
    Scene scene;
    set_up(&scene, 0);
    lunar_queue_writer w;
    lunar_queue_reader r;
    CHECK(lunar_queue_writer_open(&w, scene.block, CAPACITY, SLOTS, 3) == 0);
    CHECK(lunar_queue_reader_open(&r, scene.block, block_bytes(), CAPACITY, SLOTS, true) == 0);
    for (uint64_t sequence = 1; sequence <= 100; sequence++) {
        while (lunar_queue_full(&w))
            CHECK(lunar_queue_steal(&w, &scene.pool) == 1);
        lunar_chunk *chunk = lunar_pool_allocate(&scene.pool, 0);
        lunar_queue_push(&w, chunk, sequence, sequence, 8);
        lunar_pool_unreference(&scene.pool, chunk);
        CHECK(scene.block->head <= scene.block->tail);
        CHECK(lunar_queue_locate(&r) >= 0);
    }
    lunar_queue_show(&w);
    for (uint64_t sequence = 98; sequence <= 100; sequence++) {
        lunar_entry entry;
        CHECK(receive(&r, &entry) == 1 && entry.sequence == sequence);
        lunar_queue_return(&r, entry.slot);
    }
    CHECK(w.lost_overwritten == 97);
    lunar_queue_writer_close(&w, &scene.pool);
    check_that_all_chunks_are_back(&scene.pool);
    tear_down(&scene);
}

int main(void) {
    uint64_t seed = fuzz_seed();
    bursts_overtake_themselves();
    for (uint64_t round = 0; round < fuzz_rounds(400); round++) {
        writer_in_turns(seed + round, round & 1);
        reader_in_turns(seed + round, round & 1);
    }
    geometries(seed);
    for (uint64_t round = 0; round < fuzz_rounds(40); round++) {
        writer_at_once(seed + round, round & 1);
        reader_at_once(seed + round, round & 1);
    }
    printf("queue against a hostile end: ok\n");
    return 0;
}
