/* Waiter: how an event loop, or a thread without one, waits for its queues.
 *
 * Theory.  Waking a sleeping thread costs tens of microseconds, looking at a word that another core has just
 * written a tenth of one.  So a waiter first spins for a bounded time, and only then arms its bell and
 * sleeps in epoll (bell.h says why that never misses a wake-up).  The bound is the profile's `resources`; about the
 * price of one wake-up is never worse than twice the best choice (ski rental).
 */
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "bus.h"

PyTypeObject *Waiter_Type;
static Waiter *open_waiters; /* of this process, linked by next_open */
static PyObject *loop_waiter, *thread_waiter; /* Python's functions that find the waiter of a loop or a thread */
static PyObject *running_loop;                /* asyncio's own, which is native */
static Waiter *recent;                        /* of a loop, found last; a strong reference */

#define BLOCKED_RECHECK_NS UINT64_C(10000000) /* a publisher without room looks again, see reader_match.c */
#define MAX_EVENTS 64

/* Our own bell; after a fork it is the parent's, and we get one that nobody hears. */
lunar_bell *waiter_bell(Waiter *waiter) {
    static lunar_bell nobodys;
    if (waiter->forks != forks_so_far)
        return &nobodys;
    return &((lunar_bell_page *)waiter->bells->address)->bell[waiter->index];
}

static Waiter *ask_for_waiter(PyObject *function) {
    if (!function) {
        PyErr_SetString(PyExc_RuntimeError, "lunar is not set up in this process");
        return NULL;
    }
    PyObject *waiter = PyObject_CallNoArgs(function);
    if (waiter && !PyObject_TypeCheck(waiter, Waiter_Type)) {
        Py_DECREF(waiter);
        PyErr_SetString(PyExc_TypeError, "not a waiter");
        return NULL;
    }
    return (Waiter *)waiter;
}

/* Asking Python costs as much as a dozen messages, and mostly it is the same loop as before. */
Waiter *waiter_of_recent_loop(void) {
    if (!recent || recent->forks != forks_so_far || !recent->loop)
        return NULL;
    PyObject *loop = PyObject_CallNoArgs(running_loop);
    Py_XDECREF(loop);
    if (!loop)
        PyErr_Clear();
    if (loop != recent->loop)
        return NULL;
    Py_INCREF(recent);
    return recent;
}

Waiter *waiter_of_running_loop(void) {
    Waiter *found = waiter_of_recent_loop();
    if (found)
        return found;
    found = ask_for_waiter(loop_waiter);
    if (found && found->loop) {
        Py_INCREF(found);
        Py_XSETREF(recent, found);
    }
    return found;
}

Waiter *waiter_of_this_thread(void) { return ask_for_waiter(thread_waiter); }

/* Sleeping ------------------------------------------------------------------------------------------------- */

static int kick(Waiter *self) {
    uint64_t one = 1;
    __atomic_store_n(&self->kicked, 1, __ATOMIC_RELEASE);
    return write(self->kick, &one, sizeof one) < 0 && errno != EAGAIN ? -1 : 0;
}

/* A bell socket is every waiter's, and epoll tells of no edge whose bytes somebody has read meanwhile.  So who reads them
 * wakes those whom the ring may have been for: they had armed, and what it was about is there. */
static void wake_others(Waiter *self) {
    for (Waiter *other = open_waiters; other; other = other->next_open)
        if (other != self && other->forks == forks_so_far && lunar_bell_is_armed(waiter_bell(other)) &&
            waiter_any_ready(other, other->blocked_on))
            (void)kick(other);
}

/* Read off what rang, so that the next ring makes an edge again. */
static void drain(Waiter *waiter, struct epoll_event *events, int count) {
    char byte;
    int rings = 0;
    for (int i = 0; i < count; i++)
        if (events[i].data.fd != waiter->kick)
            for (int reads = 0; reads < 256; reads++, rings++)
                if (recv(events[i].data.fd, &byte, 1, MSG_DONTWAIT) <= 0)
                    break;
    if (rings)
        wake_others(waiter);
}

static void forget_open(Waiter *self) {
    for (Waiter **place = &open_waiters; *place; place = &(*place)->next_open)
        if (*place == self) {
            *place = self->next_open;
            break;
        }
}

static void close_descriptors(Waiter *self) {
    forget_open(self);
    if (self->epoll >= 0)
        close(self->epoll);
    if (self->kick >= 0)
        close(self->kick);
    self->epoll = self->kick = -1;
}

static int sleep_until(Waiter *waiter, uint64_t deadline_ns) {
    struct epoll_event events[MAX_EVENTS];
    int count, error;
    /* A signal between a look at what came and the sleep would not end it: from that look on they wait for ppoll(). */
    sigset_t all, usual;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &usual);
    if (PyErr_CheckSignals() < 0) {
        pthread_sigmask(SIG_SETMASK, &usual, NULL);
        return -1;
    }
    waiter->asleep = 1;
    struct pollfd descriptors[1 + MOST_PUMPS] = {{.fd = waiter->epoll, .events = POLLIN}};
    nfds_t pumps = waiter_poll_pumps(waiter, descriptors + 1);
    if (!waiter_pumps_may_sleep(waiter))
        deadline_ns = 0;
    Py_BEGIN_ALLOW_THREADS;
    uint64_t now = now_ns();
    struct timespec timeout = {0};
    if (deadline_ns > now) {
        timeout.tv_sec = (time_t)((deadline_ns - now) / 1000000000u);
        timeout.tv_nsec = (long)((deadline_ns - now) % 1000000000u);
    }
    count = ppoll(descriptors, 1 + pumps, deadline_ns == UINT64_MAX ? NULL : &timeout, &usual);
    error = errno;
    pthread_sigmask(SIG_SETMASK, &usual, NULL);
    if (count > 0)
        count = epoll_wait(waiter->epoll, events, MAX_EVENTS, 0);
    Py_END_ALLOW_THREADS;
    waiter->asleep = 0;
    if (waiter->closing) { /* closed by another thread meanwhile */
        close_descriptors(waiter);
        return PyErr_CheckSignals();
    }
    if (count < 0 && error != EINTR) {
        errno = error;
        PyErr_SetFromErrno(PyExc_OSError);
        return -1;
    }
    drain(waiter, events, count > 0 ? count : 0);
    if (waiter_serve_pumps(waiter, descriptors + 1, (int)pumps) < 0)
        return -1;
    return PyErr_CheckSignals();
}

static int block(Waiter *waiter, Source *source, uint64_t deadline_ns) {
    uint64_t now = now_ns();
    if (now >= deadline_ns)
        return 0;
    uint64_t limit = waiter_spin_bound(waiter, source->spin_ns);
    if (deadline_ns - now < limit)
        limit = deadline_ns - now;
    waiter->kicked = 0;
    int found = limit ? waiter_spin_for(waiter, source, limit, -1) : 0;
    if (found == 0)
        found = waiter_serve_native(waiter);
    /* A signal that came while we spun has done its part: it would not end the sleep that follows. */
    if (found < 0 || PyErr_CheckSignals() < 0)
        return -1;
    if (found)
        return 1;
    lunar_bell_arm(waiter_bell(waiter));
    int result = 0;
    if (!source_is_ready(source) && !waiter->kicked) {
        uint64_t until = deadline_ns;
        if (!source_is_reader(source) && now_ns() + BLOCKED_RECHECK_NS < until)
            until = now_ns() + BLOCKED_RECHECK_NS;
        waiter->blocked_on = source;
        result = sleep_until(waiter, until);
        waiter->blocked_on = NULL;
    }
    lunar_bell_disarm(waiter_bell(waiter));
    return result < 0 ? -1 : 1;
}

int waiter_block(Waiter *waiter, Source *source, uint64_t deadline_ns) {
    waiter->kicked = 0;
    if (!waiter_is_all_native(waiter) && waiter_glance(waiter, source, source->spin_ns))
        return 1;
    Pump *borrowed[MOST_PUMPS];
    int count = waiter_borrow(waiter, borrowed);
    int result = block(waiter, source, deadline_ns);
    waiter_give_back(borrowed, count);
    return result;
}

/* For event loops ------------------------------------------------------------------------------------------ */

static Py_ssize_t dispatch(Waiter *self) {
    Py_ssize_t fired = 0;
    Signal *signal = self->first;
    Py_XINCREF(signal);
    while (signal) {
        Signal *next = signal->next;
        Py_XINCREF(next);
        int failed = 0;
        if (signal->link && source_is_ready((Source *)signal->source)) {
            failed = signal_fire(signal);
            fired++;
        }
        Py_DECREF(signal);
        signal = next;
        if (failed) {
            Py_XDECREF(next);
            return -1;
        }
    }
    return fired;
}

static PyObject *waiter_dispatch(Waiter *self, PyObject *Py_UNUSED(ignored)) {
    self->kicked = 0;
    Py_ssize_t fired = dispatch(self);
    return fired < 0 ? NULL : PyLong_FromSsize_t(fired);
}

/* spin(limit_s, outer_fd): see the docstring. */
static PyObject *waiter_spin(Waiter *self, PyObject *const *args, Py_ssize_t count) {
    if (count != 2) {
        PyErr_SetString(PyExc_TypeError, "spin(limit_s, outer_fd)");
        return NULL;
    }
    double limit_s = args[0] == Py_None ? 1e9 : PyFloat_AsDouble(args[0]);
    int outer_fd = (int)PyLong_AsLong(args[1]);
    if (PyErr_Occurred())
        return NULL;
    self->kicked = 0;
    Py_ssize_t fired = dispatch(self);
    uint64_t spin_ns = waiter_spin_bound(self, self->spin_ns);
    if (!fired && spin_ns && limit_s > 0 && !self->spun) {
        uint64_t limit_ns = limit_s * 1e9 < (double)spin_ns ? (uint64_t)(limit_s * 1e9) : spin_ns;
        int found = waiter_spin_for(self, NULL, limit_ns, outer_fd);
        fired = found > 0 ? dispatch(self) : found;
        self->kicked = 0;
    }
    self->spun = 0;
    return fired < 0 ? NULL : PyLong_FromSsize_t(fired);
}

static PyObject *waiter_arm(Waiter *self, PyObject *Py_UNUSED(ignored)) {
    lunar_bell_arm(waiter_bell(self));
    if (self->kicked || waiter_any_ready(self, NULL) || !waiter_pumps_may_sleep(self)) {
        lunar_bell_disarm(waiter_bell(self));
        Py_RETURN_FALSE;
    }
    Py_RETURN_TRUE;
}

static PyObject *waiter_disarm(Waiter *self, PyObject *Py_UNUSED(ignored)) {
    lunar_bell_disarm(waiter_bell(self));
    Py_RETURN_NONE;
}

static PyObject *waiter_drain(Waiter *self, PyObject *Py_UNUSED(ignored)) {
    struct epoll_event events[MAX_EVENTS];
    if (self->forks != forks_so_far)
        Py_RETURN_NONE; /* the rings are our parent's */
    int count = epoll_wait(self->epoll, events, MAX_EVENTS, 0);
    drain(self, events, count > 0 ? count : 0);
    Py_RETURN_NONE;
}

static PyObject *waiter_kick(Waiter *self, PyObject *Py_UNUSED(ignored)) {
    if (kick(self) < 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    Py_RETURN_NONE;
}

static int epoll_add(int epoll, int fd) {
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.fd = fd};
    return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
}

static PyObject *waiter_watch(Waiter *self, PyObject *argument) {
    int fd = PyObject_AsFileDescriptor(argument);
    if (fd < 0)
        return NULL;
    if (epoll_add(self->epoll, fd) < 0 && errno != EEXIST)
        return PyErr_SetFromErrno(PyExc_OSError);
    Py_RETURN_NONE;
}

static PyObject *waiter_unwatch(Waiter *self, PyObject *argument) {
    int fd = PyObject_AsFileDescriptor(argument);
    if (fd < 0)
        return NULL;
    if (epoll_ctl(self->epoll, EPOLL_CTL_DEL, fd, NULL) < 0 && errno != ENOENT && errno != EBADF)
        return PyErr_SetFromErrno(PyExc_OSError);
    Py_RETURN_NONE;
}

/* adopt(outer_fd, ready, timers): a loop of ours says how to tell whether it has anything else to do. */
static PyObject *waiter_adopt(Waiter *self, PyObject *args) {
    PyObject *ready, *timers;
    int outer_fd;
    if (!PyArg_ParseTuple(args, "iOO!", &outer_fd, &ready, &PyList_Type, &timers))
        return NULL;
    self->outer_fd = outer_fd;
    Py_INCREF(ready);
    Py_XSETREF(self->loop_ready, ready);
    Py_INCREF(timers);
    Py_XSETREF(self->loop_timers, timers);
    Py_RETURN_NONE;
}

/* Does anybody pending wait for room? */
static PyObject *waiter_blocked(Waiter *self, void *Py_UNUSED(closure)) {
    for (Signal *signal = self->first; signal; signal = signal->next)
        if (!source_is_reader((Source *)signal->source))
            Py_RETURN_TRUE;
    Py_RETURN_FALSE;
}

/* For loops that are not ours: look again every now and then while a publisher waits. */
int waiter_schedule_recheck(Waiter *self) {
    if (self->rechecking || !self->loop)
        return 0;
    PyObject *recheck = PyObject_GetAttrString((PyObject *)self, "recheck");
    PyObject *handle =
        recheck ? PyObject_CallMethod(self->loop, "call_later", "dO", (double)BLOCKED_RECHECK_NS / 1e9, recheck) : NULL;
    Py_XDECREF(recheck);
    Py_XDECREF(handle);
    self->rechecking = handle != NULL;
    return handle ? 0 : -1;
}

static PyObject *waiter_recheck(Waiter *self, PyObject *Py_UNUSED(ignored)) {
    self->rechecking = 0;
    if (dispatch(self) < 0)
        return NULL;
    for (Signal *signal = self->first; signal; signal = signal->next)
        if (!source_is_reader((Source *)signal->source) && waiter_schedule_recheck(self) < 0)
            return NULL;
    Py_RETURN_NONE;
}

static PyObject *waiter_fileno(Waiter *self, PyObject *Py_UNUSED(ignored)) { return PyLong_FromLong(self->epoll); }

static PyObject *waiter_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"bells", "index", "loop", "managed", NULL};
    Mapping *bells;
    unsigned int index;
    PyObject *loop = Py_None;
    int managed = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O!I|Op", names, Mapping_Type, &bells, &index, &loop, &managed))
        return NULL;
    if (index >= LUNAR_BELLS || !bells->writable || bells->size_bytes < sizeof(lunar_bell_page)) {
        PyErr_SetString(PyExc_ValueError, "no such bell");
        return NULL;
    }
    Waiter *self = PyObject_GC_New(Waiter, type);
    if (!self)
        return NULL;
    memset((char *)self + sizeof(PyObject), 0, sizeof *self - sizeof(PyObject));
    Py_INCREF(bells);
    self->bells = bells;
    self->index = index;
    self->forks = forks_so_far;
    self->managed = managed;
    self->end = &self->first;
    if (loop != Py_None) {
        Py_INCREF(loop);
        self->loop = loop;
    }
    self->epoll = epoll_create1(EPOLL_CLOEXEC);
    self->kick = self->epoll < 0 ? -1 : eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    PyObject_GC_Track(self);
    if (self->kick < 0 || epoll_add(self->epoll, self->kick) < 0) {
        PyErr_SetFromErrno(PyExc_OSError);
        Py_DECREF(self);
        return NULL;
    }
    self->next_open = open_waiters;
    open_waiters = self;
    lunar_bell_disarm(waiter_bell(self)); /* a previous owner may have died armed */
    return (PyObject *)self;
}

static int waiter_clear(Waiter *self) {
    if (recent == self)
        Py_CLEAR(recent);
    while (self->first)
        signal_unlink(self->first);
    Py_CLEAR(self->loop);
    Py_CLEAR(self->loop_ready);
    Py_CLEAR(self->loop_timers);
    waiter_drop_pumps(self);
    return 0;
}

static PyObject *waiter_close(Waiter *self, PyObject *Py_UNUSED(ignored)) {
    while (self->first) {
        Signal *signal = self->first;
        Py_INCREF(signal);
        signal_unlink(signal); /* its loop is gone: there is nobody to call */
        Py_DECREF(signal);
    }
    lunar_bell_disarm(waiter_bell(self));
    if (self->asleep && self->forks == forks_so_far) { /* in another thread, which closes what it sleeps on when it wakes */
        self->closing = 1;
        Py_XDECREF(waiter_kick(self, NULL));
    } else {
        close_descriptors(self);
    }
    (void)waiter_clear(self);
    Py_RETURN_NONE;
}

static int waiter_traverse(Waiter *self, visitproc visit, void *arg) {
    Py_VISIT(self->loop);
    Py_VISIT(self->loop_ready);
    Py_VISIT(self->loop_timers);
    for (Py_ssize_t i = 0; i < self->pump_count; i++)
        Py_VISIT(self->pumps[i]);
    for (Signal *signal = self->first; signal; signal = signal->next)
        Py_VISIT(signal);
    Py_VISIT(Py_TYPE(self));
    return 0;
}

static void waiter_dealloc(Waiter *self) {
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    waiter_clear(self);
    close_descriptors(self);
    Py_XDECREF(self->bells);
    PyObject_GC_Del(self);
    Py_DECREF(type);
}

static PyObject *set_finders(PyObject *Py_UNUSED(module), PyObject *args) {
    PyObject *loop, *thread;
    if (!PyArg_ParseTuple(args, "OO", &loop, &thread))
        return NULL;
    if (!running_loop) {
        PyObject *events = PyImport_ImportModule("asyncio.events");
        running_loop = events ? PyObject_GetAttrString(events, "_get_running_loop") : NULL;
        Py_XDECREF(events);
        if (!running_loop)
            return NULL;
    }
    Py_CLEAR(recent);
    Py_INCREF(loop);
    Py_INCREF(thread);
    Py_XSETREF(loop_waiter, loop);
    Py_XSETREF(thread_waiter, thread);
    Py_RETURN_NONE;
}

static PyMemberDef members[] = {{"pending", T_PYSSIZET, offsetof(Waiter, pending), READONLY, NULL},
                                {"index", T_UINT, offsetof(Waiter, index), READONLY, NULL},
                                {"managed", T_INT, offsetof(Waiter, managed), READONLY, NULL},
                                {NULL}};
static PyGetSetDef getset[] = {{"blocked", (getter)waiter_blocked, NULL, "Whether a publisher waits for room.", NULL},
                               {NULL}};
static PyMethodDef methods[] = {
    {"adopt", (PyCFunction)waiter_adopt, METH_VARARGS,
     "adopt(outer_fd, ready, timers): the descriptor, the queue and the timers of the loop that it spins for."},
    {"adopt_pump", (PyCFunction)waiter_adopt_pump, METH_O, "adopt_pump(pump): served by whoever waits, while there is nothing else to do."},
    {"release_pump", (PyCFunction)waiter_release_pump, METH_O, "release_pump(pump): no longer."},
    {"fileno", (PyCFunction)waiter_fileno, METH_NOARGS, "The descriptor to sleep on: readable after a ring or a kick."},
    {"watch", (PyCFunction)waiter_watch, METH_O, "watch(fd): a link's bell socket wakes this waiter, too."},
    {"unwatch", (PyCFunction)waiter_unwatch, METH_O, "unwatch(fd)"},
    {"kick", (PyCFunction)waiter_kick, METH_NOARGS, "Wake it from another thread, to look at everything again."},
    {"spin", (PyCFunction)(void (*)(void))waiter_spin, METH_FASTCALL,
     "spin(limit_s, outer_fd) -> how many signals were fired.\n\nLooks at what is awaited, for at most the profile's "
     "bound and `limit_s` (None: no limit), and stops as soon as `outer_fd` is readable."},
    {"arm", (PyCFunction)waiter_arm, METH_NOARGS, "Announce sleep; False when something is ready after all."},
    {"disarm", (PyCFunction)waiter_disarm, METH_NOARGS, "Awake again."},
    {"drain", (PyCFunction)waiter_drain, METH_NOARGS, "Read off the rings, so that the descriptor is quiet again."},
    {"dispatch", (PyCFunction)waiter_dispatch, METH_NOARGS, "Fire every signal whose source is ready; how many."},
    {"recheck", (PyCFunction)waiter_recheck, METH_NOARGS, "Look again, and later once more while a publisher waits."},
    {"close", (PyCFunction)waiter_close, METH_NOARGS, "Close the descriptors and forget who waits."},
    {NULL}};
static PyType_Slot slots[] = {{Py_tp_new, waiter_new},           {Py_tp_dealloc, waiter_dealloc},
                              {Py_tp_traverse, waiter_traverse}, {Py_tp_clear, waiter_clear},
                              {Py_tp_methods, methods},          {Py_tp_members, members},
                              {Py_tp_getset, getset},            {0, NULL}};
static PyType_Spec spec = {.name = "lunar._native._bus.Waiter",
                           .basicsize = sizeof(Waiter),
                           .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
                           .slots = slots};
static PyMethodDef functions[] = {
    {"set_waiter_finders", set_finders, METH_VARARGS,
     "set_waiter_finders(of_running_loop, of_this_thread): how an operation finds whom to wake."},
    {NULL}};

int waiter_register(PyObject *module) {
    return register_type(module, &spec, NULL, &Waiter_Type) || PyModule_AddFunctions(module, functions);
}
