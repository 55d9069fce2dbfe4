/* Waiting within a task: where it would only hand over to an idle loop, whose selector would spin and sleep, the task
 * does so itself and saves several turns through the loop.
 *
 * Not while the loop has anything else to run, nor beyond its next timer; and whatever other descriptor or awaited
 * queue becomes ready ends it, as in the selector.  What is between hosts arrives in a hundred microseconds rather than
 * one, so with pumps it sleeps here as well; without, that is left to the selector.
 */
#include <poll.h>

#include "bus.h"

#define ROUNDS 8 /* of serving what brings nothing that anybody waits for */
#define BLOCKED_RECHECK_NS UINT64_C(10000000) /* see waiter.c */

/* The loop's timers now: a list that asyncio replaces by another when many of them were cancelled. */
static void renew_timers(Waiter *self) {
    static PyObject *name;
    if (!name && !(name = PyUnicode_InternFromString("_scheduled"))) {
        PyErr_Clear();
        return;
    }
    PyObject *timers = self->loop ? PyObject_GetAttr(self->loop, name) : NULL;
    if (!timers)
        PyErr_Clear();
    else if (PyList_Check(timers))
        Py_XSETREF(self->loop_timers, timers);
    else
        Py_DECREF(timers);
}

/* Whether the loop has nothing to run, and until when. */
static bool is_idle(Waiter *self, uint64_t *until_ns) {
    *until_ns = UINT64_MAX;
    if (!self->loop_ready || PyObject_Size(self->loop_ready) != 0)
        return false;
    renew_timers(self);
    if (!self->loop_timers || PyList_Size(self->loop_timers) <= 0)
        return true;
    PyObject *when = PyObject_CallMethod(PyList_GetItem(self->loop_timers, 0), "when", NULL);
    double when_s = when ? PyFloat_AsDouble(when) : 0; /* loop.time() is CLOCK_MONOTONIC */
    Py_XDECREF(when);
    PyErr_Clear();
    *until_ns = when_s > 0 ? (uint64_t)(when_s * 1e9) : 0;
    return *until_ns > now_ns();
}

static int spin(Waiter *self, uint64_t until_ns) {
    uint64_t now = now_ns(), limit_ns = waiter_spin_bound(self, self->spin_ns);
    if (!limit_ns || until_ns <= now)
        return 0;
    if (until_ns - now < limit_ns)
        limit_ns = until_ns - now;
    int found = waiter_spin_for(self, NULL, limit_ns, self->outer_fd);
    self->spun = found == 0; /* the selector need not do it again */
    return found;
}

static bool waits_for_room(const Waiter *self) {
    for (const Signal *signal = self->first; signal; signal = signal->next)
        if (!source_is_reader((Source *)signal->source))
            return true;
    return false;
}

static struct timespec left_until(uint64_t until_ns) {
    uint64_t now = now_ns(), left = until_ns > now ? until_ns - now : 0;
    return (struct timespec){.tv_sec = (time_t)(left / 1000000000u), .tv_nsec = (long)(left % 1000000000u)};
}

/* Sleep until one of these is readable: the loop's descriptor, then the pumps'. */
static int sleep_on(Waiter *self, struct pollfd *descriptors, nfds_t count, uint64_t until_ns) {
    int found = 0, error = 0;
    lunar_bell_arm(waiter_bell(self));
    if (!self->kicked && !waiter_any_ready(self, NULL) && waiter_pumps_may_sleep(self)) {
        Py_BEGIN_ALLOW_THREADS;
        struct timespec left = left_until(until_ns);
        found = ppoll(descriptors, count, until_ns == UINT64_MAX ? NULL : &left, NULL);
        error = errno;
        Py_END_ALLOW_THREADS;
    }
    lunar_bell_disarm(waiter_bell(self));
    if (found < 0 && error != EINTR) {
        errno = error;
        PyErr_SetFromErrno(PyExc_OSError);
        return -1;
    }
    return PyErr_CheckSignals();
}

/* Wait once: how many pumps were served, 0 if anything else ended it, -1 exception. */
static int wait_for_pumps(Waiter *self, uint64_t until_ns) {
    struct pollfd descriptors[1 + MOST_PUMPS] = {{.fd = self->outer_fd, .events = POLLIN}};
    int count = (int)waiter_poll_pumps(self, descriptors + 1);
    /* Room comes with credit from the other side, which takes longer than a spin, and what makes it may need this core. */
    int result = waits_for_room(self) ? 0 : spin(self, until_ns);
    if (result == 0 && (result = waiter_serve_native(self)))
        return result;
    if (result == 0)
        result = sleep_on(self, descriptors, 1 + (nfds_t)count, until_ns);
    return result ? result > 0 ? 0 : result : waiter_serve_pumps(self, descriptors + 1, count);
}

static int wait_with_pumps(Waiter *self, uint64_t until_ns) {
    if (waits_for_room(self) && now_ns() + BLOCKED_RECHECK_NS < until_ns)
        until_ns = now_ns() + BLOCKED_RECHECK_NS;
    for (int rounds = 0; rounds < ROUNDS; rounds++) {
        int served = wait_for_pumps(self, until_ns);
        if (served < 0)
            return -1;
        if (waiter_any_ready(self, NULL))
            return 1;
        if (!served || PyObject_Size(self->loop_ready) != 0)
            return 0;
    }
    return 0;
}

int waiter_wait_inline(Waiter *self) {
    uint64_t until_ns;
    if (!is_idle(self, &until_ns))
        return 0;
    self->kicked = 0;
    if (!waiter_is_all_native(self) && waiter_glance(self, NULL, self->spin_ns))
        return 1;
    Pump *borrowed[MOST_PUMPS];
    int count = waiter_borrow(self, borrowed);
    int found = count ? wait_with_pumps(self, until_ns) : spin(self, until_ns);
    waiter_give_back(borrowed, count);
    return found;
}

bool waiter_is_quiet(Waiter *self, const Signal *but) {
    uint64_t until_ns;
    if (!is_idle(self, &until_ns))
        return false;
    for (const Signal *signal = self->first; signal; signal = signal->next)
        if (signal != but && source_is_ready((Source *)signal->source))
            return false;
    struct pollfd outer = {.fd = self->outer_fd, .events = POLLIN};
    return poll(&outer, 1, 0) == 0;
}
