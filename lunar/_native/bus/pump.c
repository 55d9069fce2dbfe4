/* Pump: what brings samples from other hosts, and who looks after it.
 *
 * Some thread has to serve an engine when its descriptor is readable.  That is the control thread, unless somebody who
 * waits for samples borrows it: then the sample is taken where it is wanted, and no other thread wakes for it.
 * Borrowing costs two system calls, which is why it is done here and not in Python.
 *
 * Who has borrowed it and has something to run comes back soon, as a rule, and finds what has come meanwhile.  So it is
 * not given back at once: a timer, the guard, wakes the control thread if nobody has come for a few milliseconds, and
 * that takes it (`reclaim`).  A publisher that waits for credit again and again has all of it in its own thread.
 *
 * So has one that publishes again and again without waiting (`attend`): else the control thread would wake for each
 * acknowledgement, and the two would pass the interpreter to and fro.
 *
 * Loops that are not ours cannot borrow.  As long as there is one that waits, nobody else keeps it (`keep_watched`).
 */
#include <poll.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "bus.h"

PyTypeObject *Pump_Type;

#define AWAY_NS 5000000L               /* so long a borrower may have something else to do, or wait for its core */
#define LOOK_EVERY_NS UINT64_C(100000) /* so often who publishes without waiting looks at the descriptor */

static const lunar_engine_api *open_capsule(PyObject *capsule) {
    const lunar_engine_api *native = PyCapsule_GetPointer(capsule, LUNAR_ENGINE_CAPSULE);
    if (!native || native->version == LUNAR_ENGINE_API_VERSION)
        return native;
    PyErr_Format(PyExc_ImportError, "the engine is made for version %u of the interface, this is %u",
                 (unsigned)native->version, (unsigned)LUNAR_ENGINE_API_VERSION);
    return NULL;
}

static PyObject *pump_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"fd", "watcher", "serve", "native", NULL};
    int fd, watcher;
    PyObject *serve, *capsule = Py_None;
    const lunar_engine_api *native = NULL;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "iiO|O", names, &fd, &watcher, &serve, &capsule))
        return NULL;
    if (capsule != Py_None && !(native = open_capsule(capsule)))
        return NULL;
    Pump *self = PyObject_GC_New(Pump, type);
    if (!self)
        return NULL;
    memset((char *)self + sizeof(PyObject), 0, sizeof *self - sizeof(PyObject));
    self->fd = fd;
    self->watcher = watcher;
    self->forks = forks_so_far;
    self->watched = 1;
    Py_INCREF(serve);
    self->serve = serve;
    self->native = native;
    self->due_ns = native ? 0 : UINT64_MAX;
    if (native) {
        Py_INCREF(capsule);
        self->capsule = capsule;
    }
    self->guard = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    PyObject_GC_Track(self);
    if (self->guard < 0) {
        PyErr_SetFromErrno(PyExc_OSError);
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

static bool is_usable(const Pump *self) { return !self->closed && self->forks == forks_so_far; }

static void watch(Pump *self, int watched) {
    struct epoll_event event = {.events = watched ? EPOLLIN : 0, .data.fd = self->fd};
    self->watched = watched;
    (void)epoll_ctl(self->watcher, EPOLL_CTL_MOD, self->fd, &event); /* fails if it is not watched any more */
}

static void set_guard(Pump *self, long after_ns) {
    struct itimerspec when = {.it_value.tv_nsec = after_ns};
    (void)timerfd_settime(self->guard, 0, &when, NULL);
}

static void pump_lend(Pump *self) {
    if (++self->lent > 1 || !is_usable(self))
        return;
    if (self->watched)
        watch(self, 0);
    else
        set_guard(self, 0);
}

static void pump_take_back(Pump *self) {
    if (--self->lent > 0 || !is_usable(self))
        return;
    if (self->keep_watched)
        watch(self, 1);
    else
        set_guard(self, AWAY_NS);
}

static PyObject *keep_watched(Pump *self, PyObject *argument) {
    self->keep_watched = PyObject_IsTrue(argument);
    if (self->keep_watched && !self->lent && !self->watched && is_usable(self)) {
        set_guard(self, 0);
        watch(self, 1);
    }
    Py_RETURN_NONE;
}

static bool has_work(const Pump *self, uint64_t now) {
    return self->native && !self->closed && (now >= self->due_ns || self->native->has_input(self->native->context));
}

/* Whether who publishes is to serve it now.  Who has published a moment ago will again, it is taken. */
static PyObject *attend(Pump *self, PyObject *Py_UNUSED(ignored)) {
    uint64_t now = now_ns(), away_ns = now - self->attended_ns;
    if (self->lent || self->keep_watched || away_ns < LOOK_EVERY_NS || !is_usable(self))
        Py_RETURN_FALSE;
    self->attended_ns = now;
    if (away_ns > AWAY_NS)
        Py_RETURN_FALSE;
    if (self->watched)
        watch(self, 0);
    set_guard(self, AWAY_NS);
    struct pollfd descriptor = {.fd = self->fd, .events = POLLIN};
    return PyBool_FromLong(self->native ? has_work(self, now) : poll(&descriptor, 1, 0) > 0);
}

/* The guard's time is over. */
static PyObject *reclaim(Pump *self, PyObject *Py_UNUSED(ignored)) {
    uint64_t times;
    if (is_usable(self) && read(self->guard, &times, sizeof times) == sizeof times && !self->lent)
        watch(self, 1);
    Py_RETURN_NONE;
}

static int pump_serve(Pump *self) {
    if (self->closed)
        return 0;
    if (self->native && self->lent) /* else the control thread has to set its timers */
        return self->native->work(self->native->context, &self->due_ns);
    PyObject *result = PyObject_CallNoArgs(self->serve);
    Py_XDECREF(result);
    return result ? 0 : -1;
}

static PyObject *lend(Pump *self, PyObject *Py_UNUSED(ignored)) {
    pump_lend(self);
    Py_RETURN_NONE;
}

static PyObject *take_back(Pump *self, PyObject *Py_UNUSED(ignored)) {
    pump_take_back(self);
    Py_RETURN_NONE;
}

static PyObject *serve(Pump *self, PyObject *Py_UNUSED(ignored)) {
    if (pump_serve(self) < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *has_work_method(Pump *self, PyObject *Py_UNUSED(ignored)) {
    return PyBool_FromLong(has_work(self, now_ns()));
}

/* Seconds until it is to be served though nothing came, as far as a borrower knows; None: never. */
static PyObject *due_in_s(Pump *self, PyObject *Py_UNUSED(ignored)) {
    if (self->due_ns == UINT64_MAX || self->closed)
        Py_RETURN_NONE;
    uint64_t now = now_ns();
    return PyFloat_FromDouble(self->due_ns > now ? (double)(self->due_ns - now) * 1e-9 : 0.0);
}

static PyObject *fileno_of(Pump *self, PyObject *Py_UNUSED(ignored)) { return PyLong_FromLong(self->fd); }

static PyObject *guard_of(Pump *self, PyObject *Py_UNUSED(ignored)) { return PyLong_FromLong(self->guard); }

static void close_pump(Pump *self) {
    self->closed = 1;
    if (self->guard >= 0)
        close(self->guard);
    self->guard = -1;
}

static PyObject *stop(Pump *self, PyObject *Py_UNUSED(ignored)) {
    self->closed = 1;
    Py_RETURN_NONE;
}

static PyObject *close_it(Pump *self, PyObject *Py_UNUSED(ignored)) {
    close_pump(self);
    Py_RETURN_NONE;
}

static int pump_traverse(Pump *self, visitproc visit, void *arg) {
    Py_VISIT(self->serve);
    Py_VISIT(self->capsule);
    Py_VISIT(Py_TYPE(self));
    return 0;
}

static int pump_clear(Pump *self) {
    close_pump(self);
    Py_CLEAR(self->serve);
    self->native = NULL;
    Py_CLEAR(self->capsule);
    return 0;
}

static void pump_dealloc(Pump *self) {
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    pump_clear(self);
    PyObject_GC_Del(self);
    Py_DECREF(type);
}

/* Of a waiter ----------------------------------------------------------------------------------------------- */

PyObject *waiter_adopt_pump(Waiter *self, PyObject *argument) {
    if (!PyObject_TypeCheck(argument, Pump_Type)) {
        PyErr_SetString(PyExc_TypeError, "not a Pump");
        return NULL;
    }
    Pump **pumps = PyMem_Realloc(self->pumps, (size_t)(self->pump_count + 1) * sizeof *pumps);
    if (!pumps)
        return PyErr_NoMemory();
    Py_INCREF(argument);
    pumps[self->pump_count++] = (Pump *)argument;
    self->pumps = pumps;
    Py_RETURN_NONE;
}

PyObject *waiter_release_pump(Waiter *self, PyObject *argument) {
    for (Py_ssize_t i = 0; i < self->pump_count; i++)
        if ((PyObject *)self->pumps[i] == argument) {
            self->pumps[i] = self->pumps[--self->pump_count];
            Py_DECREF(argument);
            break;
        }
    Py_RETURN_NONE;
}

void waiter_drop_pumps(Waiter *self) {
    while (self->pump_count > 0) {
        Pump *pump = self->pumps[--self->pump_count];
        Py_DECREF(pump);
    }
    PyMem_Free(self->pumps);
    self->pumps = NULL;
}

int waiter_borrow(Waiter *self, Pump **borrowed) {
    if (self->pump_count > MOST_PUMPS)
        return 0; /* their watchers see to them */
    for (Py_ssize_t i = 0; i < self->pump_count; i++) {
        Py_INCREF(self->pumps[i]);
        borrowed[i] = self->pumps[i];
        pump_lend(borrowed[i]);
    }
    return (int)self->pump_count;
}

void waiter_give_back(Pump **borrowed, int count) {
    for (int i = 0; i < count; i++) {
        pump_take_back(borrowed[i]);
        Py_DECREF(borrowed[i]);
    }
}

unsigned long waiter_poll_pumps(const Waiter *self, struct pollfd *descriptors) {
    if (self->pump_count > MOST_PUMPS)
        return 0;
    for (Py_ssize_t i = 0; i < self->pump_count; i++)
        descriptors[i] = (struct pollfd){.fd = self->pumps[i]->fd, .events = POLLIN};
    return (unsigned long)self->pump_count;
}

/* Sleeping has to wake for what comes from now on. */
bool waiter_pumps_may_sleep(const Waiter *self, uint64_t *until_ns) {
    if (self->pump_count > MOST_PUMPS)
        return true;
    uint64_t now = now_ns();
    for (Py_ssize_t i = 0; i < self->pump_count; i++) {
        const Pump *pump = self->pumps[i];
        if (has_work(pump, now) || (pump->native && !pump->closed && !pump->native->may_sleep(pump->native->context)))
            return false;
        if (!pump->closed && pump->due_ns < *until_ns)
            *until_ns = pump->due_ns;
    }
    return true;
}

void waiter_look_at_pumps(const Waiter *self, Looks *looks) {
    looks->count = 0;
    looks->other_count = 0;
    looks->due_ns = UINT64_MAX;
    for (Py_ssize_t i = 0; i < self->pump_count && self->pump_count <= MOST_PUMPS; i++) {
        const Pump *pump = self->pumps[i];
        if (!pump->native)
            looks->others[looks->other_count++] = (struct pollfd){.fd = pump->fd, .events = POLLIN};
        else if (!pump->closed) {
            looks->engines[looks->count++] = pump->native;
            if (pump->due_ns < looks->due_ns)
                looks->due_ns = pump->due_ns;
        }
    }
}

bool looks_find_input(const Looks *looks) {
    for (int i = 0; i < looks->count; i++)
        if (looks->engines[i]->has_input(looks->engines[i]->context))
            return true;
    return false;
}

int waiter_serve_pumps(Waiter *self, const struct pollfd *descriptors, int count) {
    int served = 0;
    uint64_t now = now_ns();
    for (int i = 0; i < count && i < self->pump_count; i++) {
        Pump *pump = self->pumps[i];
        if (descriptors[i].fd != pump->fd || (!descriptors[i].revents && !has_work(pump, now)))
            continue;
        Py_INCREF(pump);
        int failed = pump_serve(pump);
        Py_DECREF(pump);
        if (failed)
            return -1;
        served++;
    }
    return served;
}

/* The type --------------------------------------------------------------------------------------------------- */

static PyMemberDef members[] = {{"lent", T_INT, offsetof(Pump, lent), READONLY, "How many have borrowed it."}, {NULL}};
static PyMethodDef methods[] = {
    {"fileno", (PyCFunction)fileno_of, METH_NOARGS, "The engine's descriptor: readable when there is something to do."},
    {"serve", (PyCFunction)serve, METH_NOARGS, "Do it."},
    {"guard_fileno", (PyCFunction)guard_of, METH_NOARGS, "Readable when `reclaim` is due, by the thread that watches it."},
    {"reclaim", (PyCFunction)reclaim, METH_NOARGS, "Whoever had borrowed it does not come back soon: it is watched again."},
    {"lend", (PyCFunction)lend, METH_NOARGS, "The caller looks after it until `take_back`: its watcher need not."},
    {"take_back", (PyCFunction)take_back, METH_NOARGS, "The caller does so no longer, but may come back soon."},
    {"has_work", (PyCFunction)has_work_method, METH_NOARGS, "Of an engine in C, whether it is to be served now."},
    {"due_in_s", (PyCFunction)due_in_s, METH_NOARGS, "When to serve it though nothing came; None: never."},
    {"attend", (PyCFunction)attend, METH_NOARGS, "Who publishes, and may again soon, asks whether to serve it."},
    {"keep_watched", (PyCFunction)keep_watched, METH_O, "Whether somebody waits who cannot borrow it: then it is taken back at once."},
    {"stop", (PyCFunction)stop, METH_NOARGS, "It is not served any more."},
    {"close", (PyCFunction)close_it, METH_NOARGS, "It is not served any more, and its guard is not watched any more."},
    {NULL}};
static PyType_Slot slots[] = {{Py_tp_new, pump_new},         {Py_tp_dealloc, pump_dealloc}, {Py_tp_traverse, pump_traverse},
                              {Py_tp_clear, pump_clear},     {Py_tp_methods, methods},      {Py_tp_members, members},
                              {0, NULL}};
static PyType_Spec spec = {.name = "lunar._native._bus.Pump",
                           .basicsize = sizeof(Pump),
                           .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
                           .slots = slots};

int pump_register(PyObject *module) { return register_type(module, &spec, NULL, &Pump_Type); }
