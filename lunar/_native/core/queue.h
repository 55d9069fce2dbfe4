/* The two ends of a match's queue.
 *
 * The hot functions are inline: they run once a message.  The publisher's end keeps a ledger, in its own memory,
 * of which chunk each slot holds; a dead or lying subscription is therefore settled from the ledger alone.
 * See layout.h for the shared words and who writes which.
 */
#ifndef LUNAR_QUEUE_H
#define LUNAR_QUEUE_H

#include <errno.h>
#include <stdbool.h>

#include "layout.h"
#include "pool.h"

/* Publisher's end ------------------------------------------------------------------------------------------ */

typedef struct {
    lunar_queue_header *shared;
    lunar_entry *entries;
    const uint32_t *returns;
    uint32_t capacity, slots;
    uint32_t depth;       /* how many may wait: the capacity, or less */
    uint64_t tail;        /* the truth; shared->tail only shows it */
    uint64_t shown;       /* how much of it is shown; never behind shared->head */
    uint64_t head_seen;   /* last valid look at shared->head */
    uint64_t return_head; /* slots collected so far */
    uint64_t lost_overwritten, lost_held;
    lunar_chunk **ledger;  /* [slots] the chunk that a slot refers to, or NULL */
    uint32_t *slot_at;     /* [capacity] the slot of the entry at a position */
    uint32_t *free_slots;  /* stack, see lunar_queue_lend */
    uint32_t free_count;
} lunar_queue_writer;

/* Initialise a fresh, zeroed block as the publisher.  0 or -ENOMEM, -EINVAL. */
int lunar_queue_writer_open(lunar_queue_writer *w, void *memory, uint32_t capacity, uint32_t slots, uint32_t depth);
/* Give every outstanding chunk back to the pool; does not unmap. */
void lunar_queue_writer_close(lunar_queue_writer *w, lunar_pool *pool);
/* Collect up to `limit` returned slots.  Count, or -EPROTO when the peer broke the rules. */
int lunar_queue_collect(lunar_queue_writer *w, lunar_pool *pool, uint32_t limit);
/* Take back the oldest untaken sample: 1 done, 0 it was taken meanwhile, -EPROTO. */
int lunar_queue_steal(lunar_queue_writer *w, lunar_pool *pool);

/* Look at the peer's head.  -EPROTO unless it lies between what was seen and what was submitted. */
static inline int lunar_queue_refresh(lunar_queue_writer *w) {
    /* Acquire: what the reader did before advancing head is over before we reuse the entry. */
    uint64_t head = __atomic_load_n(&w->shared->head, __ATOMIC_ACQUIRE);
    if (head - w->head_seen > w->tail - w->head_seen)
        return -EPROTO;
    w->head_seen = head;
    return 0;
}

static inline bool lunar_queue_full(const lunar_queue_writer *w) { return w->tail - w->head_seen >= w->depth; }

/* Take a free slot.  The stack starts with all of them, slot 0 on top, and each place stores the difference to that
 * start: a fresh stack is all zeros and needs no filling, so what a subscription asks for but never uses is never
 * touched.  (It chooses the depth.) */
static inline uint32_t lunar_queue_lend(lunar_queue_writer *w) {
    uint32_t place = --w->free_count;
    return w->free_slots[place] ^ (w->slots - 1 - place);
}

/* Submit, not yet shown; the caller made sure that there is room and a free slot. */
static inline void lunar_queue_push(lunar_queue_writer *w, lunar_chunk *chunk, uint64_t sequence, uint64_t time_ns,
                                    uint32_t size_bytes) {
    uint32_t position = (uint32_t)w->tail & (w->capacity - 1);
    uint32_t slot = lunar_queue_lend(w);
    lunar_entry *entry = &w->entries[position];
    w->ledger[slot] = chunk;
    w->slot_at[position] = slot;
    chunk->references++;
    /* Relaxed: a reader that raced with an overwrite discards what it read (its compare-and-swap on head fails). */
    __atomic_store_n(&entry->sequence, sequence, __ATOMIC_RELAXED);
    __atomic_store_n(&entry->source_time_ns, time_ns, __ATOMIC_RELAXED);
    __atomic_store_n(&entry->where, chunk->where, __ATOMIC_RELAXED);
    __atomic_store_n(&entry->size_bytes, size_bytes, __ATOMIC_RELAXED);
    __atomic_store_n(&entry->slot, slot, __ATOMIC_RELAXED);
    w->tail++;
}

/* Show what was pushed.  A burst shows several at once: the reader polls this line. */
static inline void lunar_queue_show(lunar_queue_writer *w) {
    w->shown = w->tail;
    /* Release: payload and entry before the tail that shows them. */
    __atomic_store_n(&w->shared->tail, w->tail, __ATOMIC_RELEASE);
}

/* Subscription's end --------------------------------------------------------------------------------------- */

typedef struct {
    lunar_queue_header *shared;
    const lunar_entry *entries;
    uint32_t *returns;
    uint32_t capacity, slots;
    uint64_t head, return_tail; /* the truth */
    uint64_t tail_seen;
    bool overwritable; /* the publisher may take samples back */
} lunar_queue_reader;

/* Check a block that a peer made, and attach.  0 or -EPROTO. */
int lunar_queue_reader_open(lunar_queue_reader *r, void *memory, size_t size_bytes, uint32_t capacity, uint32_t slots,
                            bool overwritable);

/* How often a reader looks again when the publisher overwrites between its two looks, before it calls foul. */
#define LUNAR_QUEUE_LOOKS 1024

/* Find the next position to take: 1 with r->head there, 0 empty, -EPROTO. */
static inline int lunar_queue_locate(lunar_queue_reader *r) {
    if (!r->overwritable) {
        if (r->tail_seen != r->head)
            return 1;
        /* Acquire: pairs with the publisher's release of tail. */
        r->tail_seen = __atomic_load_n(&r->shared->tail, __ATOMIC_ACQUIRE);
        if (r->tail_seen == r->head)
            return 0;
        return r->tail_seen - r->head <= r->capacity ? 1 : -EPROTO;
    }
    for (int look = 0; look < LUNAR_QUEUE_LOOKS; look++) {
        uint64_t head = __atomic_load_n(&r->shared->head, __ATOMIC_ACQUIRE);
        uint64_t tail = __atomic_load_n(&r->shared->tail, __ATOMIC_ACQUIRE);
        if (head - r->head > UINT64_MAX / 2)
            return -EPROTO; /* head went backwards */
        if (tail - head > r->capacity)
            continue; /* overwritten between the two looks; or nonsense, which stays so */
        r->head = head;
        r->tail_seen = tail;
        return tail != head;
    }
    return -EPROTO;
}

/* 1: `entry` holds the next sample, not yet taken; 0: empty; -EPROTO.  With several takers the caller
 * serialises (the interpreter lock does). */
static inline int lunar_queue_peek(lunar_queue_reader *r, lunar_entry *entry) {
    int found = lunar_queue_locate(r);
    if (found <= 0)
        return found;
    const lunar_entry *from = &r->entries[(uint32_t)r->head & (r->capacity - 1)];
    entry->sequence = __atomic_load_n(&from->sequence, __ATOMIC_RELAXED);
    entry->source_time_ns = __atomic_load_n(&from->source_time_ns, __ATOMIC_RELAXED);
    entry->where = __atomic_load_n(&from->where, __ATOMIC_RELAXED);
    entry->size_bytes = __atomic_load_n(&from->size_bytes, __ATOMIC_RELAXED);
    entry->slot = __atomic_load_n(&from->slot, __ATOMIC_RELAXED);
    return 1;
}

/* Make the peeked sample ours.  False when the publisher took it back first: peek again. */
static inline bool lunar_queue_take(lunar_queue_reader *r) {
    if (r->overwritable) {
        uint64_t expected = r->head;
        /* Acq_rel: the entry was read before this, and nobody else owns it after. */
        if (!__atomic_compare_exchange_n(&r->shared->head, &expected, r->head + 1, false, __ATOMIC_ACQ_REL,
                                         __ATOMIC_ACQUIRE))
            return false;
        r->head++;
        return true;
    }
    r->head++;
    return true;
}

/* Show how far we have taken; a burst shows once.  (Where samples can be taken back, taking itself shows it.) */
static inline void lunar_queue_show_taken(lunar_queue_reader *r) {
    if (!r->overwritable)
        __atomic_store_n(&r->shared->head, r->head, __ATOMIC_RELEASE); /* the entries were read before */
}

/* Give a taken sample's slot back. */
static inline void lunar_queue_return(lunar_queue_reader *r, uint32_t slot) {
    __atomic_store_n(&r->returns[(uint32_t)r->return_tail & (r->slots - 1)], slot, __ATOMIC_RELAXED);
    r->return_tail++;
    /* Release: our last look at the payload, and the slot, before the tail that shows it. */
    __atomic_store_n(&r->shared->return_tail, r->return_tail, __ATOMIC_RELEASE);
}

#endif
