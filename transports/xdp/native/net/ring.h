/* Rings: the four queues that an AF_XDP socket shares with the kernel (Documentation/networking/af_xdp.rst).
 *
 * Theory.  One side produces, the other one consumes; each writes its own index, which only grows, and reads the
 * other's. A slot is written before the producer's index is (release), and read after that index was (acquire); the
 * consumer gives it back the same way.  What the other side says is read only when what was seen of it before is used
 * up, so its cache line travels once for a burst.
 */
#ifndef LUNAR_XDP_RING_H
#define LUNAR_XDP_RING_H

#include <linux/if_xdp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct {
    uint32_t *producer, *consumer, *flags; /* shared with the kernel */
    void *slots;                           /* of uint64_t (frames) or struct xdp_desc */
    uint32_t mask;
    uint32_t own;    /* where we go on: written to `producer` or `consumer` when we say so */
    uint32_t seen;   /* of the other side's index */
    uint32_t told;   /* of ours to the other side */
    void *map;
    size_t map_bytes;
} lunar_ring;

static inline uint64_t *lunar_ring_frame(const lunar_ring *ring, uint32_t index) {
    return (uint64_t *)ring->slots + (index & ring->mask);
}

static inline struct xdp_desc *lunar_ring_slot(const lunar_ring *ring, uint32_t index) {
    return (struct xdp_desc *)ring->slots + (index & ring->mask);
}

/* Consumer: how many there are to be taken. */
static inline uint32_t lunar_ring_waiting(lunar_ring *ring) {
    if (ring->seen == ring->own)
        ring->seen = __atomic_load_n(ring->producer, __ATOMIC_ACQUIRE); /* the slots are read after it */
    return ring->seen - ring->own;
}

/* Producer: tell the kernel of all slots written. */
static inline void lunar_ring_submit(lunar_ring *ring) {
    __atomic_store_n(ring->producer, ring->own, __ATOMIC_RELEASE); /* the slots were written before it */
    ring->told = ring->own;
}

/* Consumer: everything before `index` may be overwritten. */
static inline void lunar_ring_give_back(lunar_ring *ring, uint32_t index) {
    __atomic_store_n(ring->consumer, index, __ATOMIC_RELEASE); /* the slots were read before it */
    ring->told = index;
}

/* Producer: how many of those submitted the kernel has not taken yet. */
static inline uint32_t lunar_ring_pending(const lunar_ring *ring) {
    return ring->told - __atomic_load_n(ring->consumer, __ATOMIC_ACQUIRE);
}

static inline bool lunar_ring_needs_wakeup(const lunar_ring *ring) {
    return __atomic_load_n(ring->flags, __ATOMIC_RELAXED) & XDP_RING_NEED_WAKEUP;
}

#endif
