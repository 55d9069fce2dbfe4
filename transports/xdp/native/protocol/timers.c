#include "timers.h"

#include <stdlib.h>

bool lunar_timers_reserve(lunar_timers *timers, uint32_t count) {
    if (count < timers->room)
        return true;
    uint32_t room = 2 * count + 16;
    lunar_timer **heap = realloc(timers->heap, room * sizeof(lunar_timer *));
    if (!heap)
        return false;
    timers->heap = heap;
    timers->room = room;
    return true;
}

void lunar_timers_free(lunar_timers *timers) {
    free(timers->heap);
    timers->heap = NULL;
    timers->count = timers->room = 0;
}

static void set(lunar_timers *timers, uint32_t place, lunar_timer *timer) {
    timers->heap[place] = timer;
    timer->place = place;
}

static void settle(lunar_timers *timers, uint32_t place, lunar_timer *timer) {
    for (; place > 1 && timers->heap[place / 2]->due_ns > timer->due_ns; place /= 2)
        set(timers, place, timers->heap[place / 2]);
    for (uint32_t child; (child = 2 * place) <= timers->count; place = child) {
        if (child < timers->count && timers->heap[child + 1]->due_ns < timers->heap[child]->due_ns)
            child++;
        if (timers->heap[child]->due_ns >= timer->due_ns)
            break;
        set(timers, place, timers->heap[child]);
    }
    set(timers, place, timer);
}

void lunar_timers_disarm(lunar_timers *timers, lunar_timer *timer) {
    uint32_t place = timer->place;
    if (!place)
        return;
    lunar_timer *last = timers->heap[timers->count--];
    timer->place = 0;
    if (last != timer)
        settle(timers, place, last);
}

void lunar_timers_arm(lunar_timers *timers, lunar_timer *timer, uint64_t due_ns) {
    timer->due_ns = due_ns;
    settle(timers, timer->place ? timer->place : ++timers->count, timer);
}

lunar_timer *lunar_timers_take(lunar_timers *timers, uint64_t now_ns) {
    if (!timers->count || timers->heap[1]->due_ns > now_ns)
        return NULL;
    lunar_timer *first = timers->heap[1];
    lunar_timers_disarm(timers, first);
    return first;
}
