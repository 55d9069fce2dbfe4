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
    if (watched && self->native)
        (void)self->native->may_sleep(self->native->context); /* level-triggered: what is there already will tell */
    (void)epoll_ctl(self->watcher, EPOLL_CTL_MOD, self->fd, &event); /* fails if it is not watched any more */
}

/* Setting it each time would cost a system call for each sample: half its time is close enough. */
static void set_guard(Pump *self) {
    uint64_t now = now_ns();
    if (now - self->guarded_ns < AWAY_NS / 2)
        return;
    self->guarded_ns = now;
    struct itimerspec when = {.it_value.tv_nsec = AWAY_NS};
    (void)timerfd_settime(self->guard, 0, &when, NULL);
}

/* The guard may fire while it is lent: then nobody takes it. */
static void pump_lend(Pump *self) {
    if (++self->lent == 1 && self->watched && is_usable(self))
        watch(self, 0);
}

static void pump_take_back(Pump *self) {
    self->lent--;
    if (!is_usable(self))
        return;
    if (self->lent > 0) { /* another may sleep on what our looks have disarmed */
        if (self->native)
            (void)self->native->may_sleep(self->native->context);
        return;
    }
    if (self->keep_watched)
        watch(self, 1);
    else
        set_guard(self);
}

static PyObject *keep_watched(Pump *self, PyObject *argument) {
    self->keep_watched = PyObject_IsTrue(argument);
    if (self->keep_watched && !self->lent && !self->watched && is_usable(self))
        watch(self, 1);
    Py_RETURN_NONE;
}

static bool has_work(const Pump *self, uint64_t now) {
    const lunar_engine_api *native = self->closed ? NULL : self->native;
    return native && (native->has_input(native->context) || now >= native->due_ns(native->context));
}

/* Whether who publishes is to serve it now.  Who has published a moment ago will again, it is taken. */
static bool attends(Pump *self) {
    uint64_t now = now_ns(), away_ns = now - self->attended_ns;
    if (self->lent || self->keep_watched || away_ns < LOOK_EVERY_NS || !is_usable(self))
        return false;
    self->attended_ns = now;
    if (away_ns > AWAY_NS)
        return false;
    if (self->watched)
        watch(self, 0);
    set_guard(self);
    struct pollfd descriptor = {.fd = self->fd, .events = POLLIN};
    return self->native ? has_work(self, now) : poll(&descriptor, 1, 0) > 0;
}

static PyObject *attend(Pump *self, PyObject *Py_UNUSED(ignored)) { return PyBool_FromLong(attends(self)); }

/* What is called after each publish through an engine in C: `send`, and then the engine's turn, if it has something. */
typedef struct {
    PyObject_HEAD
    Pump *pump;
    PyObject *send;
} After;

static PyTypeObject *After_Type;

static PyObject *after(Pump *self, PyObject *send) {
    After *made = PyObject_GC_New(After, After_Type);
    if (!made)
        return NULL;
    Py_INCREF(self);
    Py_INCREF(send);
    made->pump = self;
    made->send = send;
    PyObject_GC_Track(made);
    return (PyObject *)made;
}

static PyObject *after_call(After *self, PyObject *Py_UNUSED(args), PyObject *Py_UNUSED(kwargs)) {
    PyObject *result = PyObject_CallNoArgs(self->send);
    Pump *pump = self->pump;
    if (!result || !pump->native || !attends(pump))
        return result;
    int outcome = pump->native->work(pump->native->context);
    if (outcome == 1) { /* its watcher hears nothing as long as we publish */
        PyObject *served = PyObject_CallNoArgs(pump->serve);
        Py_XDECREF(served);
        outcome = served ? 0 : -1;
    }
    if (outcome >= 0)
        return result;
    Py_DECREF(result);
    return NULL;
}

static int after_traverse(After *self, visitproc visit, void *arg) {
    Py_VISIT(self->pump);
    Py_VISIT(self->send);
    Py_VISIT(Py_TYPE(self));
    return 0;
}

static int after_clear(After *Py_UNUSED(self)) { return 0; } /* the match that calls it breaks the cycle */

static void after_dealloc(After *self) {
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    Py_DECREF(self->pump);
    Py_DECREF(self->send);
    PyObject_GC_Del(self);
    Py_DECREF(type);
}

static PyType_Slot after_slots[] = {{Py_tp_dealloc, after_dealloc}, {Py_tp_traverse, after_traverse},
                                    {Py_tp_clear, after_clear},     {Py_tp_call, after_call},
                                    {0, NULL}};
static PyType_Spec after_spec = {.name = "lunar._native._bus.After",
                                 .basicsize = sizeof(After),
                                 .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE |
                                          Py_TPFLAGS_DISALLOW_INSTANTIATION,
                                 .slots = after_slots};

/* The guard's time is over. */
static PyObject *reclaim(Pump *self, PyObject *Py_UNUSED(ignored)) {
    uint64_t times;
    if (!is_usable(self) || read(self->guard, &times, sizeof times) != sizeof times)
        Py_RETURN_NONE;
    self->guarded_ns = 0;
    if (!self->lent && !self->watched)
        watch(self, 1);
    Py_RETURN_NONE;
}

static int pump_serve(Pump *self) {
    if (self->closed)
        return 0;
    if (self->native && self->lent) { /* else the control thread has to set its timers */
        int outcome = self->native->work(self->native->context);
        if (outcome <= 0)
            return outcome;
    }
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

/* Many looks disarm its descriptor: so who looks without having borrowed it takes it, as who publishes does. */
static PyObject *has_work_method(Pump *self, PyObject *Py_UNUSED(ignored)) {
    if (self->native && !self->lent && is_usable(self)) {
        if (self->keep_watched)
            Py_RETURN_FALSE;
        if (self->watched)
            watch(self, 0);
        set_guard(self);
    }
    return PyBool_FromLong(has_work(self, now_ns()));
}

static PyObject *may_sleep(Pump *self, PyObject *Py_UNUSED(ignored)) {
    return PyBool_FromLong(!self->native || self->closed || self->native->may_sleep(self->native->context));
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
bool waiter_pumps_may_sleep(const Waiter *self) {
    if (self->pump_count > MOST_PUMPS)
        return true;
    uint64_t now = now_ns();
    for (Py_ssize_t i = 0; i < self->pump_count; i++) {
        const Pump *pump = self->pumps[i];
        if (has_work(pump, now) || (pump->native && !pump->closed && !pump->native->may_sleep(pump->native->context)))
            return false;
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
            uint64_t due_ns = pump->native->due_ns(pump->native->context);
            looks->engines[looks->count++] = pump->native;
            if (due_ns < looks->due_ns)
                looks->due_ns = due_ns;
        }
    }
}

bool looks_find_input(const Looks *looks) {
    for (int i = 0; i < looks->count; i++)
        if (looks->engines[i]->has_input(looks->engines[i]->context))
            return true;
    return false;
}

bool waiter_is_all_native(const Waiter *self) {
    if (self->pump_count > MOST_PUMPS)
        return false;
    for (Py_ssize_t i = 0; i < self->pump_count; i++)
        if (!self->pumps[i]->native)
            return false;
    return true;
}

int waiter_serve_native(Waiter *self) {
    int served = 0;
    uint64_t now = now_ns();
    for (Py_ssize_t i = 0; i < self->pump_count && self->pump_count <= MOST_PUMPS; i++) {
        Pump *pump = self->pumps[i];
        if (!has_work(pump, now))
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
    {"may_sleep", (PyCFunction)may_sleep, METH_NOARGS, "To be asked before a sleep on its descriptor."},
    {"has_work", (PyCFunction)has_work_method, METH_NOARGS, "Of an engine in C, whether it is to be served now."},
    {"attend", (PyCFunction)attend, METH_NOARGS, "Who publishes, and may again soon, asks whether to serve it."},
    {"after", (PyCFunction)after, METH_O, "What calls `send`, and then lets an engine in C have its turn."},
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

int pump_register(PyObject *module) {
    return register_type(module, &spec, NULL, &Pump_Type) || register_type(module, &after_spec, NULL, &After_Type);
}
