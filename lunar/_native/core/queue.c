#include "queue.h"

#include <stdlib.h>
#include <string.h>

static bool geometry_is_sound(uint32_t capacity, uint32_t slots) {
    return capacity && slots && !(capacity & (capacity - 1)) && !(slots & (slots - 1)) &&
           capacity <= LUNAR_MAX_CAPACITY && slots >= LUNAR_MIN_SLOTS && slots <= 2 * LUNAR_MAX_CAPACITY &&
           slots >= capacity;
}

static lunar_entry *entries_of(void *memory) { return (lunar_entry *)((char *)memory + sizeof(lunar_queue_header)); }

int lunar_queue_writer_open(lunar_queue_writer *w, void *memory, uint32_t capacity, uint32_t slots, uint32_t depth) {
    if (!geometry_is_sound(capacity, slots) || !depth || depth > capacity)
        return -EINVAL;
    memset(w, 0, sizeof *w);
    w->shared = memory;
    w->entries = entries_of(memory);
    w->returns = (const uint32_t *)(w->entries + capacity);
    w->capacity = capacity;
    w->slots = slots;
    w->depth = depth;
    w->ledger = calloc(slots, sizeof *w->ledger);
    w->slot_at = calloc(capacity, sizeof *w->slot_at);
    w->free_slots = calloc(slots, sizeof *w->free_slots);
    if (!w->ledger || !w->slot_at || !w->free_slots) {
        free(w->ledger);
        free(w->slot_at);
        free(w->free_slots);
        memset(w, 0, sizeof *w);
        return -ENOMEM;
    }
    w->free_count = slots; /* see lunar_queue_lend */
    w->shared->magic = LUNAR_QUEUE_MAGIC;
    w->shared->version = LUNAR_LAYOUT_VERSION;
    w->shared->capacity = capacity;
    w->shared->slots = slots;
    return 0;
}

static void release_slot(lunar_queue_writer *w, lunar_pool *pool, uint32_t slot) {
    lunar_chunk *chunk = w->ledger[slot];
    w->ledger[slot] = NULL;
    uint32_t place = w->free_count++;
    w->free_slots[place] = slot ^ (w->slots - 1 - place); /* see lunar_queue_lend */
    lunar_pool_unreference(pool, chunk);
}

void lunar_queue_writer_close(lunar_queue_writer *w, lunar_pool *pool) {
    for (uint32_t slot = 0; w->free_count < w->slots; slot++)
        if (w->ledger[slot])
            release_slot(w, pool, slot);
    free(w->ledger);
    free(w->slot_at);
    free(w->free_slots);
    memset(w, 0, sizeof *w);
}

int lunar_queue_collect(lunar_queue_writer *w, lunar_pool *pool, uint32_t limit) {
    /* Acquire: the reader's last look at the payload is over. */
    uint64_t tail = __atomic_load_n(&w->shared->return_tail, __ATOMIC_ACQUIRE);
    uint64_t waiting = tail - w->return_head;
    if (waiting > w->slots - w->free_count)
        return -EPROTO; /* more than are out */
    uint32_t count = waiting < limit ? (uint32_t)waiting : limit;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t place = (uint32_t)w->return_head & (w->slots - 1);
        uint32_t slot = __atomic_load_n(&w->returns[place], __ATOMIC_RELAXED);
        if (slot >= w->slots || !w->ledger[slot])
            return -EPROTO; /* never lent, or returned twice */
        release_slot(w, pool, slot);
        w->return_head++;
    }
    return (int)count;
}

int lunar_queue_steal(lunar_queue_writer *w, lunar_pool *pool) {
    int error = lunar_queue_refresh(w);
    if (error)
        return error;
    if (w->head_seen == w->tail)
        return 0;
    /* Within a burst even the oldest sample may not be shown yet; head must never pass the tail that is shown. */
    if (w->head_seen == w->shown)
        lunar_queue_show(w);
    uint64_t found = w->head_seen;
    if (!__atomic_compare_exchange_n(&w->shared->head, &found, found + 1, false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
        /* The reader took it first, so head has gone forward: whoever turns it back and forth cannot keep us here. */
        if (found - w->head_seen > w->tail - w->head_seen)
            return -EPROTO;
        w->head_seen = found;
        return 0;
    }
    uint32_t slot = w->slot_at[(uint32_t)w->head_seen & (w->capacity - 1)];
    w->head_seen++;
    if (!w->ledger[slot])
        return -EPROTO; /* returned without having been taken */
    release_slot(w, pool, slot);
    w->lost_overwritten++;
    __atomic_store_n(&w->shared->lost_overwritten, w->lost_overwritten, __ATOMIC_RELAXED);
    return 1;
}

int lunar_queue_reader_open(lunar_queue_reader *r, void *memory, size_t size_bytes, uint32_t capacity, uint32_t slots,
                            bool overwritable) {
    const lunar_queue_header *shared = memory;
    if (!geometry_is_sound(capacity, slots) || size_bytes < lunar_queue_bytes(capacity, slots) ||
        shared->magic != LUNAR_QUEUE_MAGIC || shared->version != LUNAR_LAYOUT_VERSION)
        return -EPROTO;
    memset(r, 0, sizeof *r);
    r->shared = memory;
    r->entries = entries_of(memory);
    r->returns = (uint32_t *)(entries_of(memory) + capacity);
    r->capacity = capacity;
    r->slots = slots;
    r->overwritable = overwritable;
    return 0;
}
