/* Spinning: looking at what is awaited, for a bounded time.
 *
 * It pays only if the other side can run meanwhile and answers soon.  Where it does not (one core for both, more
 * busy processes than cores, sparse traffic), spin after spin ends in vain; then only every so often is one tried,
 * and the first that pays brings them all back.  A profile that spins for long (greedy) is taken at its word.
 *
 * With the interpreter lock for a moment, since answers mostly come within that; then without, watching single words
 * of shared memory whose matches it holds references to.
 */
#include <poll.h>
#include <sched.h>

#include "bus.h"

#define LOCKED_SPIN_NS UINT64_C(20000)     /* with the interpreter lock */
#define GLANCE_NS UINT64_C(5000)           /* before engines are borrowed, which costs system calls */
#define OTHER_EVENTS_NS UINT64_C(5000)     /* between looks at the loop's other descriptors */
#define LOOKS_PER_CLOCK 32
#define GREEDY_NS UINT64_C(1000000)
#define PUMPED 8 /* a network answers later than memory: so many times longer */
#define VAIN_SPINS 8  /* so many in a row, and from then on ... */
#define TRY_EVERY 32u /* ... one in so many */
#define ENGINE 2      /* found by an engine in C, which has to be served first */

/* One word to watch without the interpreter lock, and what it was. */
typedef struct {
    const uint64_t *word;
    uint64_t seen;
    PyObject *keeps; /* the match whose memory it is in */
} Watch;

typedef struct {
    Watch *watches;
    Py_ssize_t count, capacity;
} Watches;

static int add_watch(Watches *all, const uint64_t *word, uint64_t seen, void *keeps) {
    if (all->count == all->capacity) {
        Py_ssize_t capacity = all->capacity ? 2 * all->capacity : 16;
        Watch *grown = PyMem_Realloc(all->watches, (size_t)capacity * sizeof *grown);
        if (!grown)
            return -1;
        all->watches = grown;
        all->capacity = capacity;
    }
    Py_INCREF((PyObject *)keeps);
    all->watches[all->count++] = (Watch){word, seen, keeps};
    return 0;
}

static int watch_source(Watches *all, Source *source) {
    if (source_is_reader(source)) {
        Reader *reader = (Reader *)source;
        for (Py_ssize_t i = 0; i < reader->count; i++) {
            ReaderMatch *match = reader->matches[i];
            const uint64_t *tail = &match->queue.shared->tail;
            uint64_t seen = __atomic_load_n(tail, __ATOMIC_RELAXED);
            if (add_watch(all, tail, seen, match) < 0)
                return -1;
        }
        return 0;
    }
    Writer *writer = (Writer *)source;
    for (Py_ssize_t i = 0; i < writer->count; i++) {
        WriterMatch *match = writer->matches[i];
        const uint64_t *head = &match->queue.shared->head, *returned = &match->queue.shared->return_tail;
        uint64_t head_seen = __atomic_load_n(head, __ATOMIC_RELAXED);
        uint64_t returned_seen = __atomic_load_n(returned, __ATOMIC_RELAXED);
        if (add_watch(all, head, head_seen, match) < 0 || add_watch(all, returned, returned_seen, match) < 0)
            return -1;
    }
    return 0;
}

bool waiter_any_ready(Waiter *waiter, Source *single) {
    if (single)
        return source_is_ready(single);
    for (Signal *signal = waiter->first; signal; signal = signal->next)
        if (source_is_ready((Source *)signal->source))
            return true;
    return false;
}

/* Of the loop's descriptors, among which the engines' are, or, for a thread, of the engines'. */
static bool other_events(int outer_fd, struct pollfd *engines, nfds_t count) {
    struct pollfd outer = {.fd = outer_fd, .events = POLLIN};
    return outer_fd >= 0 ? poll(&outer, 1, 0) > 0 : count && poll(engines, count, 0) > 0;
}

static int spin_unlocked(Waiter *waiter, const Watches *all, uint64_t until_ns, int outer_fd, const Looks *engines) {
    uint64_t next_look = now_ns() + OTHER_EVENTS_NS;
    if (engines->due_ns < until_ns)
        until_ns = engines->due_ns;
    for (;;) {
        for (int looks = 0; looks < LOOKS_PER_CLOCK; looks++) {
            for (Py_ssize_t i = 0; i < all->count; i++)
                if (__atomic_load_n(all->watches[i].word, __ATOMIC_ACQUIRE) != all->watches[i].seen)
                    return 1;
            if (looks_find_input(engines))
                return ENGINE;
            lunar_cpu_relax();
        }
        if (__atomic_load_n(&waiter->kicked, __ATOMIC_ACQUIRE))
            return 1;
        uint64_t now = now_ns();
        if (now >= until_ns)
            return 0;
        if (engines->other_count || now >= next_look) {
            if (other_events(outer_fd, engines->others, engines->other_count))
                return 0;
            next_look = now + OTHER_EVENTS_NS;
        }
        /* A sample from elsewhere comes through a thread of the transport's, which may share our core. */
        if (engines->other_count)
            (void)sched_yield();
    }
}

static int spin(Waiter *waiter, Source *single, uint64_t limit_ns, int outer_fd) {
    uint64_t start = now_ns(), now = start, next_look = start + OTHER_EVENTS_NS;
    uint64_t locked_until = start + (limit_ns < LOCKED_SPIN_NS ? limit_ns : LOCKED_SPIN_NS);
    if (waiter->pump_count)
        locked_until = start;
    while (now < locked_until) {
        for (int looks = 0; looks < LOOKS_PER_CLOCK; looks++) {
            if (waiter_any_ready(waiter, single) || waiter->kicked)
                return 1;
            lunar_cpu_relax();
        }
        now = now_ns();
        if (now >= next_look) {
            if (other_events(outer_fd, NULL, 0))
                return 0;
            next_look = now + OTHER_EVENTS_NS;
        }
    }
    if (limit_ns <= LOCKED_SPIN_NS && !waiter->pump_count)
        return 0;
    Watches all = {0};
    int failed = 0, found = 0;
    if (single)
        failed = watch_source(&all, single);
    else
        for (Signal *signal = waiter->first; signal && !failed; signal = signal->next)
            failed = watch_source(&all, (Source *)signal->source);
    if (!failed && !(found = waiter_any_ready(waiter, single))) {
        struct pollfd others[MOST_PUMPS];
        Looks engines = {.others = others};
        waiter_look_at_pumps(waiter, &engines);
        Py_BEGIN_ALLOW_THREADS;
        found = spin_unlocked(waiter, &all, start + limit_ns, outer_fd, &engines);
        Py_END_ALLOW_THREADS;
    }
    for (Py_ssize_t i = 0; i < all.count; i++)
        Py_DECREF(all.watches[i].keeps);
    PyMem_Free(all.watches);
    if (failed) {
        PyErr_NoMemory();
        return -1;
    }
    return found;
}

bool waiter_glance(Waiter *waiter, Source *single, uint64_t spin_ns) {
    uint64_t until = spin_ns ? now_ns() + (spin_ns < GLANCE_NS ? spin_ns : GLANCE_NS) : 0;
    do {
        for (int looks = 0; looks < LOOKS_PER_CLOCK; looks++) {
            if (waiter_any_ready(waiter, single) || waiter->kicked)
                return true;
            lunar_cpu_relax();
        }
    } while (now_ns() < until);
    return false;
}

uint64_t waiter_spin_bound(const Waiter *waiter, uint64_t spin_ns) {
    return waiter->pump_count && spin_ns < GREEDY_NS ? PUMPED * spin_ns : spin_ns;
}

int waiter_spin_for(Waiter *waiter, Source *single, uint64_t limit_ns, int outer_fd) {
    bool greedy = (single ? single->spin_ns : waiter->spin_ns) >= GREEDY_NS;
    if (!greedy && waiter->vain_spins >= VAIN_SPINS && ++waiter->spins_skipped % TRY_EVERY)
        return 0;
    uint64_t start = greedy ? 0 : now_ns();
    int found = spin(waiter, single, limit_ns, outer_fd);
    if (found > 0)
        waiter->vain_spins = 0;
    if (found == ENGINE)
        return 0;
    if (found == 0 && !greedy && waiter->vain_spins < VAIN_SPINS && now_ns() - start >= limit_ns)
        waiter->vain_spins++; /* ended by something else it would say nothing */
    return found;
}
