/* What is due when: a binary heap of timers that live in what they belong to.
 *
 * Deadlines are lazy: one that moves away is left where it is, and who it belongs to looks again when it is called.
 * So nothing here is touched once per message.
 */
#ifndef LUNAR_XDP_TIMERS_H
#define LUNAR_XDP_TIMERS_H

#include <stdbool.h>
#include <stdint.h>

typedef struct lunar_timer {
    uint64_t due_ns;
    uint32_t place; /* in the heap, from 1; 0: not armed */
    uint32_t kind;
    void *owner;
} lunar_timer;

typedef struct {
    lunar_timer **heap; /* from 1 */
    uint32_t count, room;
} lunar_timers;

/* Room for so many timers in all: arming cannot fail afterwards.  False: no memory. */
bool lunar_timers_reserve(lunar_timers *timers, uint32_t count);
void lunar_timers_free(lunar_timers *timers);
void lunar_timers_disarm(lunar_timers *timers, lunar_timer *timer);
void lunar_timers_arm(lunar_timers *timers, lunar_timer *timer, uint64_t due_ns);
/* The first that is due, disarmed; NULL: none. */
lunar_timer *lunar_timers_take(lunar_timers *timers, uint64_t now_ns);

static inline uint64_t lunar_timers_due(const lunar_timers *timers) {
    return timers->count ? timers->heap[1]->due_ns : UINT64_MAX;
}

/* Arms it for `due_ns` unless it is armed for an earlier time. */
static inline void lunar_timers_by(lunar_timers *timers, lunar_timer *timer, uint64_t due_ns) {
    if (!timer->place || timer->due_ns > due_ns)
        lunar_timers_arm(timers, timer, due_ns);
}

#endif
