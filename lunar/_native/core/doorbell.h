/* Doorbell: wakes whoever polls a descriptor, from a thread of a foreign library.
 *
 * Such a library calls a listener in a thread of its own, which must neither wait nor hold Python's lock.  The
 * listener is one of these functions; its argument is the doorbell.  Only the first ring since the last `answer` makes
 * a system call.
 */
#ifndef LUNAR_DOORBELL_H
#define LUNAR_DOORBELL_H

#include <stdint.h>

typedef struct lunar_doorbell {
    int32_t fd; /* an eventfd, non-blocking; owned by whoever made the doorbell, perhaps of several */
    uint32_t rung;
    uint32_t matched; /* a match came or went since the last answer */
} lunar_doorbell;

/* The status with which DDS tells of a match, by value (OMG DDS 1.4, clause 2.2.4.1); unused. */
typedef struct lunar_matched_status {
    uint32_t total_count;
    int32_t total_count_change;
    uint32_t current_count;
    int32_t current_count_change;
    uint64_t last_handle;
} lunar_matched_status;

/* There are data.  Any thread. */
void lunar_doorbell_ring(int32_t entity, void *doorbell);

/* A match came or went.  Any thread. */
void lunar_doorbell_ring_matched(int32_t entity, lunar_matched_status status, void *doorbell);

#define LUNAR_DOORBELL_RUNG 1
#define LUNAR_DOORBELL_MATCHED 2

/* Says whether it was rung since the last answer, and whether a match came or went.  Its descriptor, which several may
 * share, is read before; what there is is looked at after.  One thread at a time. */
int lunar_doorbell_answer(lunar_doorbell *doorbell);

#endif
