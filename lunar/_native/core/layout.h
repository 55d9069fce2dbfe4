/* Layouts that two processes share.
 *
 * Theory.  A match (one publisher, one subscription) owns one block of memory that both sides map: a
 * submission ring that the publisher fills, and a return ring that the subscription fills with the slots of
 * samples it has finished with.  Payloads live elsewhere, in the publisher's segments, which subscriptions map
 * read-only; an entry only says where.
 *
 *     publisher --- entries[tail % capacity] ---> subscription       (tail: publisher's, head: subscription's)
 *     publisher <-- returns[return_tail % slots] --- subscription    (return_tail: subscription's)
 *
 * The peer may be buggy or hostile, so:
 *   - each word has one writer; the one exception is `head`, which the publisher may advance by compare-and-swap
 *     to take back the oldest sample when keep_last overwrites it;
 *   - neither side reads back a word that it wrote itself, or the geometry, from shared memory: both keep their
 *     own copy, so nothing the peer scribbles here can lead outside the block;
 *   - only offsets cross, and each is checked before use.
 *
 * `slots` bounds how many samples a subscription may have queued and held at once.  The return ring has one
 * place a slot, so it can never overflow and needs no head in shared memory.
 *
 * Words written by different sides stand on different cache lines, in pairs of lines because the adjacent-line
 * prefetcher of x86 moves lines in pairs.
 */
#ifndef LUNAR_LAYOUT_H
#define LUNAR_LAYOUT_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#define LUNAR_QUEUE_MAGIC 0x4c554e41525155ull /* "LUNARQU" */
#define LUNAR_BELL_MAGIC 0x4c554e4152424cull  /* "LUNARBL" */
#define LUNAR_LAYOUT_VERSION 1u

#define LUNAR_CHUNK_ALIGNMENT 64u
#define LUNAR_MAX_PAYLOAD_BYTES UINT32_MAX
#define LUNAR_MAX_SEGMENTS 4096u
#define LUNAR_MAX_CAPACITY (1u << 20)
#define LUNAR_MIN_SLOTS 1024u
#define LUNAR_BELLS 1024u

/* Where a payload is: segment in the upper 24 bits, offset in units of the chunk alignment below. */
#define LUNAR_WHERE(segment, offset) (((uint64_t)(segment) << 40) | ((uint64_t)(offset) / LUNAR_CHUNK_ALIGNMENT))
#define LUNAR_WHERE_SEGMENT(where) ((uint32_t)((where) >> 40))
#define LUNAR_WHERE_OFFSET(where) (((where) & ((UINT64_C(1) << 40) - 1)) * LUNAR_CHUNK_ALIGNMENT)

/* One submitted sample.  Everything a reader needs without touching the payload's own cache lines. */
typedef struct {
    uint64_t sequence;       /* from 1, per publisher */
    uint64_t source_time_ns; /* CLOCK_MONOTONIC */
    uint64_t where;          /* LUNAR_WHERE */
    uint32_t size_bytes;
    uint32_t slot; /* to be returned when the sample is released */
} lunar_entry;

static_assert(sizeof(lunar_entry) == 32, "two entries a cache line");

typedef struct {
    uint64_t magic;
    uint32_t version;
    uint32_t capacity; /* entries, a power of two */
    uint32_t slots;    /* a power of two, at least twice the capacity */
    uint32_t reserved[27];

    /* Written by the publisher. */
    uint64_t tail; /* entries submitted so far */
    uint64_t reserved_tail[15];
    uint64_t lost_overwritten;
    uint64_t lost_held;       /* not submitted because the subscription held every slot */
    uint64_t alive_ns;        /* CLOCK_MONOTONIC of the last assertion, or arrival from another host */
    uint32_t publisher_bell;  /* whom to ring when there is room again */
    uint32_t publisher_waits; /* 1 while the publisher waits for room */
    uint64_t reserved_publisher[12];

    /* Written by the subscription; `head` also by the publisher's compare-and-swap. */
    uint64_t head;        /* entries taken so far */
    uint64_t return_tail; /* slots returned so far */
    uint64_t reserved_head[14];
    uint64_t lost_expired;
    uint32_t subscription_bell; /* whom to ring when there is something to take */
    uint32_t reserved_bell;
    uint64_t reserved_subscription[14];
} lunar_queue_header;

static_assert(sizeof(lunar_queue_header) == 640, "five pairs of cache lines");
static_assert(offsetof(lunar_queue_header, tail) == 128, "the publisher's lines");
static_assert(offsetof(lunar_queue_header, head) == 384, "the subscription's lines");

/* A doorbell: odd while its owner sleeps or is about to.  Written by the owner alone; peers map it read-only
 * and ring at most once a value. */
typedef struct {
    uint64_t state;
    uint64_t reserved[7];
} lunar_bell;

static_assert(sizeof(lunar_bell) == 64, "a bell has a cache line of its own");

typedef struct {
    uint64_t magic;
    uint32_t version;
    uint32_t bells;
    uint64_t reserved[6];
    lunar_bell bell[LUNAR_BELLS];
} lunar_bell_page;

/* Bytes of the block of a match. */
static inline size_t lunar_queue_bytes(uint32_t capacity, uint32_t slots) {
    return sizeof(lunar_queue_header) + (size_t)capacity * sizeof(lunar_entry) + (size_t)slots * sizeof(uint32_t);
}

#endif
