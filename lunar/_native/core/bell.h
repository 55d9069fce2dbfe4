/* Doorbells: how a sleeper is woken, and how nobody pays for it while both sides are awake.
 *
 * Theory.  A waiter (an event loop or a blocked thread) owns one bell, a word on a page that it shares read-only
 * with every peer.  About to sleep, it makes the word odd ("armed") and then looks at its queues once more.
 * A publisher that has just submitted looks at the word after its submission.  Both put a full fence between
 * their store and their load, so at least one sees the other: either the waiter finds the sample, or the
 * publisher finds the bell armed and sends one byte on the link's bell socket.  The publisher remembers the value it
 * rang for and rings at most once for each, so a burst to a sleeper costs one system call.
 *
 * Why a socket and not an eventfd: a peer could fill an eventfd's counter and clear O_NONBLOCK on the
 * description that both share, and so block whoever rings.  send(MSG_DONTWAIT) is non-blocking call by call.
 */
#ifndef LUNAR_BELL_H
#define LUNAR_BELL_H

#include <errno.h>
#include <stdbool.h>
#include <sys/socket.h>

#include "layout.h"

static inline void lunar_full_fence(void) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }

static inline void lunar_cpu_relax(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ __volatile__("yield");
#endif
}

/* Owner: announce sleep.  The caller must look at its queues again after this, before it sleeps. */
static inline void lunar_bell_arm(lunar_bell *bell) {
    uint64_t state = __atomic_load_n(&bell->state, __ATOMIC_RELAXED); /* own word */
    if (!(state & 1))
        __atomic_store_n(&bell->state, state + 1, __ATOMIC_RELAXED);
    lunar_full_fence(); /* the store above before the looks at the queues that follow */
}

static inline void lunar_bell_disarm(lunar_bell *bell) {
    uint64_t state = __atomic_load_n(&bell->state, __ATOMIC_RELAXED);
    if (state & 1)
        __atomic_store_n(&bell->state, state + 1, __ATOMIC_RELAXED);
}

static inline bool lunar_bell_is_armed(const lunar_bell *bell) {
    return __atomic_load_n(&bell->state, __ATOMIC_RELAXED) & 1;
}

/* Peer: 1 rang, 0 nobody sleeps or it was already rung, negative errno when the descriptor is unusable.  The
 * caller has a full fence between its submission and this. */
static inline int lunar_bell_ring(const lunar_bell_page *page, uint32_t index, uint64_t *rung, int bell_socket) {
    if (index >= LUNAR_BELLS)
        return -EPROTO;
    uint64_t state = __atomic_load_n(&page->bell[index].state, __ATOMIC_ACQUIRE);
    if (!(state & 1) || rung[index] == state)
        return 0;
    rung[index] = state;
    if (send(bell_socket, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL) < 0) {
        /* Full: earlier rings wait unread, and whoever reads them looks at its queues after that. */
        if (errno == EAGAIN || errno == EINTR || errno == ENOBUFS)
            return 0;
        return -errno;
    }
    return 1;
}

#endif
