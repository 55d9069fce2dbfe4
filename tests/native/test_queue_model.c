/* The queue against a model: random pushes, steals, takes and returns by one thread, checked step by step. */
#include <string.h>

#include "check.h"
#include "memory.h"
#include "queue.h"

#define STEPS 200000
#define CHUNKS 4096
#define SLOTS LUNAR_MIN_SLOTS

static uint64_t state = 88172645463325252ull;

static uint32_t pick(uint32_t below) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 20) % below;
}

/* What the two ends should agree on. */
typedef struct {
    uint64_t queued[64]; /* sequence numbers, oldest first */
    uint32_t count;
    uint32_t held[SLOTS]; /* slots taken and not returned */
    uint32_t held_count;
    uint64_t lost, sequence;
} Model;

static void fill_pool(lunar_pool *pool) {
    memset(pool, 0, sizeof *pool);
    size_t size_bytes = CHUNKS * 64;
    void *memory = NULL;
    int fd = lunar_memory_create("test", size_bytes);
    CHECK(fd >= 0);
    CHECK(lunar_memory_map(fd, size_bytes, 1, 0, &memory) == 0);
    CHECK(lunar_pool_add_segment(pool, memory, size_bytes, 0) == 0);
}

static uint32_t free_chunks(const lunar_pool *pool) {
    uint32_t count = 0;
    for (const lunar_chunk *chunk = pool->free[0]; chunk; chunk = chunk->next_free)
        count++;
    return count;
}

static void push(lunar_queue_writer *w, lunar_pool *pool, Model *model, bool overwrite) {
    if (lunar_queue_full(w)) {
        CHECK(lunar_queue_refresh(w) == 0);
        if (lunar_queue_full(w)) {
            CHECK(model->count == w->depth);
            if (!overwrite)
                return;
            CHECK(lunar_queue_steal(w, pool) == 1);
            memmove(model->queued, model->queued + 1, --model->count * sizeof *model->queued);
            model->lost++;
        }
    }
    if (!w->free_count)
        CHECK(lunar_queue_collect(w, pool, UINT32_MAX) >= 0);
    if (!w->free_count) {
        CHECK(model->count + model->held_count == SLOTS);
        return;
    }
    lunar_chunk *chunk = lunar_pool_allocate(pool, 0);
    CHECK(chunk);
    model->sequence++;
    lunar_queue_push(w, chunk, model->sequence, model->sequence, 8);
    lunar_queue_show(w);
    lunar_pool_unreference(pool, chunk);
    model->queued[model->count++] = model->sequence;
}

static void take(lunar_queue_reader *r, Model *model) {
    lunar_entry entry = {0};
    int found = lunar_queue_peek(r, &entry);
    CHECK(found == (model->count > 0));
    if (found != 1)
        return;
    CHECK(lunar_queue_take(r));
    lunar_queue_show_taken(r);
    CHECK(entry.sequence == model->queued[0]);
    memmove(model->queued, model->queued + 1, --model->count * sizeof *model->queued);
    model->held[model->held_count++] = entry.slot;
}

static void give_back(lunar_queue_reader *r, Model *model) {
    if (!model->held_count)
        return;
    uint32_t which = pick(model->held_count);
    lunar_queue_return(r, model->held[which]);
    model->held[which] = model->held[--model->held_count];
}

static void run(uint32_t depth, uint32_t capacity, bool overwrite) {
    lunar_pool pool;
    fill_pool(&pool);
    void *block = calloc(1, lunar_queue_bytes(capacity, SLOTS));
    CHECK(block);
    lunar_queue_writer w;
    lunar_queue_reader r;
    CHECK(lunar_queue_writer_open(&w, block, capacity, SLOTS, depth) == 0);
    CHECK(lunar_queue_reader_open(&r, block, lunar_queue_bytes(capacity, SLOTS), capacity, SLOTS, overwrite) == 0);
    Model model = {0};
    for (int step = 0; step < STEPS; step++) {
        switch (pick(8)) {
        case 0:
        case 1:
        case 2:
            push(&w, &pool, &model, overwrite);
            break;
        case 3:
        case 4:
        case 5:
            take(&r, &model);
            break;
        default:
            give_back(&r, &model);
        }
    }
    CHECK(w.lost_overwritten == model.lost);
    CHECK(!overwrite == (model.lost == 0));
    /* Whatever is out comes back when the match ends, whoever has it. */
    lunar_queue_writer_close(&w, &pool);
    CHECK(free_chunks(&pool) == CHUNKS);
    lunar_pool_close(&pool);
    free(block);
}

static void refuses_lies(void) {
    lunar_pool pool;
    fill_pool(&pool);
    void *block = calloc(1, lunar_queue_bytes(4, SLOTS));
    CHECK(block);
    lunar_queue_writer w;
    CHECK(lunar_queue_writer_open(&w, block, 3, SLOTS, 3) == -EINVAL); /* no power of two */
    CHECK(lunar_queue_writer_open(&w, block, 4, SLOTS, 5) == -EINVAL); /* deeper than it is long */
    CHECK(lunar_queue_writer_open(&w, block, 4, SLOTS, 4) == 0);
    lunar_queue_reader r;
    CHECK(lunar_queue_reader_open(&r, block, lunar_queue_bytes(4, SLOTS) - 1, 4, SLOTS, true) == -EPROTO);
    CHECK(lunar_queue_reader_open(&r, block, lunar_queue_bytes(4, SLOTS), 4, SLOTS, true) == 0);
    /* A head beyond what was submitted; a slot that is not out; more returns than slots are out. */
    w.shared->head = 1;
    CHECK(lunar_queue_refresh(&w) == -EPROTO);
    w.shared->head = 0;
    lunar_chunk *chunk = lunar_pool_allocate(&pool, 0);
    CHECK(chunk);
    lunar_queue_push(&w, chunk, 1, 1, 1);
    lunar_queue_show(&w);
    lunar_queue_return(&r, SLOTS + 7);
    CHECK(lunar_queue_collect(&w, &pool, 1) == -EPROTO);
    w.shared->return_tail = 2;
    CHECK(lunar_queue_collect(&w, &pool, 1) == -EPROTO);
    /* A tail that is too far ahead, and a head that went backwards. */
    lunar_entry entry = {0};
    w.shared->tail = 100;
    CHECK(lunar_queue_peek(&r, &entry) == -EPROTO);
    w.shared->tail = 1;
    r.head = 1;
    CHECK(lunar_queue_peek(&r, &entry) == -EPROTO);
    lunar_pool_unreference(&pool, chunk);
    lunar_queue_writer_close(&w, &pool);
    CHECK(free_chunks(&pool) == CHUNKS);
    lunar_pool_close(&pool);
    free(block);
}

int main(void) {
    run(1, 1, true);
    run(10, 16, true);
    run(16, 16, true);
    run(10, 16, false);
    run(64, 64, false);
    refuses_lies();
    puts("queue against its model: ok");
    return 0;
}
