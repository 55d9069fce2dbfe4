/* Engine: the protocol engine and its port, as whoever serves it sees them. */
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "glue.h"

PyTypeObject *Engine_Type;

#define LOOK_EVERY_NS 10000000u
#define MOST_BYTES 65000u /* of a datagram, whatever a port could receive */


/* Entering and leaving ------------------------------------------------------------------------------------- */

static bool is_open(Engine *self) {
    if (!self->protocol)
        PyErr_SetString(PyExc_RuntimeError, "the engine is closed");
    return self->protocol != NULL;
}

int engine_enter(Engine *self) {
    unsigned long me = PyThread_get_thread_ident();
    while (self->busy && self->busy != me) {
        Py_BEGIN_ALLOW_THREADS;
        (void)sched_yield();
        Py_END_ALLOW_THREADS;
    }
    if (!is_open(self))
        return -1;
    lunar_xdp_engine_set_time(self->protocol, now_ns());
    return 0;
}

/* Whoever sleeps on the descriptor wakes at that time.  A timer that is set too early costs one turn; setting it for each
 * message would cost more. */
static void set_timer(Engine *self, uint64_t due_ns) {
    if (due_ns >= self->timer_ns)
        return;
    self->timer_ns = due_ns;
    struct itimerspec when = {.it_value = {.tv_sec = (time_t)(due_ns / 1000000000u), .tv_nsec = (long)(due_ns % 1000000000u)}};
    if (!due_ns)
        when.it_value.tv_nsec = 1;
    (void)timerfd_settime(self->timer, TFD_TIMER_ABSTIME, &when, NULL);
}

static void read_timer(Engine *self) {
    uint64_t times;
    if (self->timer_ns <= now_ns() && read(self->timer, &times, sizeof times) == sizeof times)
        self->timer_ns = UINT64_MAX;
}

void engine_leave(Engine *self) {
    if (self->busy || !self->protocol)
        return;
    (void)lunar_xdp_engine_flush(self->protocol); /* an error comes again where it can be told: in `work` */
    set_timer(self, lunar_xdp_engine_due(self->protocol));
}

/* Telling -------------------------------------------------------------------------------------------------- */

void engine_later(Engine *self, PyObject *stream, int what, const char *reason, uint64_t first, uint64_t second) {
    if (self->event_count == self->event_capacity) {
        Py_ssize_t capacity = self->event_capacity ? 2 * self->event_capacity : 16;
        Event *grown = PyMem_Realloc(self->events, (size_t)capacity * sizeof *grown);
        if (!grown) {
            PyErr_NoMemory();
            PyErr_WriteUnraisable(stream);
            return;
        }
        self->events = grown;
        self->event_capacity = capacity;
    }
    Py_INCREF(stream);
    self->events[self->event_count++] = (Event){stream, what, reason, first, second};
}

/* A handler may cause more: that is told after what there is. */
void engine_tell(Engine *self) {
    if (self->telling || self->busy)
        return;
    PyObject *error[3];
    PyErr_Fetch(&error[0], &error[1], &error[2]);
    self->telling = 1;
    for (Py_ssize_t i = 0; i < self->event_count; i++) {
        Event event = self->events[i];
        self->events[i].stream = NULL;
        if (PyObject_TypeCheck(event.stream, Outgoing_Type))
            outgoing_tell((Outgoing *)event.stream, &event);
        else
            incoming_tell((Incoming *)event.stream, &event);
        if (PyErr_Occurred())
            PyErr_WriteUnraisable(event.stream);
        Py_DECREF(event.stream);
    }
    self->event_count = 0;
    self->telling = 0;
    PyErr_Restore(error[0], error[1], error[2]);
}

/* Working -------------------------------------------------------------------------------------------------- */

static void pump_missed(Engine *self) {
    for (int rounds = 0; self->missed && rounds < 2; rounds++) {
        self->missed = 0;
        for (Outgoing *each = self->first; each; each = each->next)
            if (each->outlet && outgoing_pump(each) < 0)
                PyErr_WriteUnraisable((PyObject *)each);
    }
}

/* A look may fetch (UDP) or write down what it has seen (AF_XDP): a port bears one that looks or receives at a time. */
static bool try_port(Shared *shared) { return !__atomic_exchange_n(&shared->looking, 1, __ATOMIC_ACQUIRE); }

static void leave_port(Shared *shared) { __atomic_store_n(&shared->looking, 0, __ATOMIC_RELEASE); }

/* With the interpreter lock, and while nobody is in the engine: a look is short, and needs no lock. */
static void enter_port(Shared *shared) {
    while (!try_port(shared))
        (void)sched_yield();
}

/* One turn: 0 or a negative errno. */
static int turn(Engine *self) {
    if (self->busy)
        return 0; /* whoever is in it does what there is to do */
    Py_INCREF(self); /* a handler may let go of it */
    read_timer(self);
    self->busy = PyThread_get_thread_ident();
    enter_port(self->shared);
    (void)lunar_xdp_engine_work(self->protocol, now_ns());
    leave_port(self->shared);
    pump_missed(self);
    (void)lunar_xdp_engine_flush(self->protocol);
    self->busy = 0;
    engine_tell(self);
    int error = 0;
    if (self->protocol) { /* no handler has closed it */
        set_timer(self, self->missed ? 0 : lunar_xdp_engine_due(self->protocol));
        error = lunar_xdp_engine_error(self->protocol);
        if (error == -ENETDOWN) /* it may come up again; until then streams are as good as cut off */
            error = 0;
    }
    Py_DECREF(self);
    return error;
}

/* Where it may not, the descriptor says so too: not everybody who arms it can look again. */
static bool may_sleep(void *context) {
    Shared *shared = context;
    if (shared->closed)
        return true;
    bool quiet = !shared->engine->busy; /* else who is in it may take in more, or look so often that nothing is armed */
    if (quiet) {
        enter_port(shared);
        quiet = shared->port->kind->prepare_sleep(shared->port);
        leave_port(shared);
    }
    if (!quiet)
        set_timer(shared->engine, 0);
    return quiet;
}

static bool is_readable(int fd) {
    struct pollfd descriptor = {.fd = fd, .events = POLLIN};
    return poll(&descriptor, 1, 0) > 0;
}

static PyObject *engine_work(Engine *self, PyObject *Py_UNUSED(ignored)) {
    if (!is_open(self))
        return NULL;
    int error = turn(self);
    if (self->shared)
        (void)may_sleep(self->shared); /* whoever serves it so sleeps next */
    if (!error) /* a handler may have closed it */
        return PyBool_FromLong(self->watched >= 0 && is_readable(self->watched));
    errno = -error;
    return PyErr_SetFromErrno(PyExc_OSError);
}

/* The capsule: see engine_api.h. */

/* Whoever waits sleeps on what is watched too, but may never sleep.  Looking costs a system call: now and then. */
static bool watched_has_come(Engine *self) {
    uint64_t now = now_ns();
    if (self->watched < 0 || now < self->look_ns)
        return false;
    if (is_readable(self->watched))
        return true; /* until Python has read it */
    self->look_ns = now + LOOK_EVERY_NS;
    return false;
}

static int work_natively(void *context) {
    Engine *self = ((Shared *)context)->engine;
    if (!self || !self->protocol || self->busy)
        return 0;
    int error = turn(self);
    self = ((Shared *)context)->engine; /* a handler may have closed it */
    return error || (self && watched_has_come(self)) ? 1 : 0;
}

static uint64_t due_ns(void *context) {
    Engine *self = ((Shared *)context)->engine;
    if (!self || !self->protocol)
        return UINT64_MAX;
    uint64_t due = self->missed ? 0 : lunar_xdp_engine_due(self->protocol);
    return self->watched >= 0 && self->look_ns < due ? self->look_ns : due;
}

/* The port stays while somebody looks.  While another does, that one will find what there is. */
static bool has_input(void *context) {
    Shared *shared = context;
    if (!try_port(shared)) /* before the look at `closed`, as close_port has it */
        return false;
    bool found = !__atomic_load_n(&shared->closed, __ATOMIC_ACQUIRE) && shared->port->kind->has_input(shared->port);
    leave_port(shared);
    return found;
}

static void free_shared(PyObject *capsule) {
    Shared *shared = PyCapsule_GetPointer(capsule, LUNAR_ENGINE_CAPSULE);
    PyMem_Free(shared);
}

static void close_port(Engine *self) {
    Shared *shared = self->shared;
    if (!shared || shared->closed)
        return;
    enter_port(shared);
    __atomic_store_n(&shared->closed, 1, __ATOMIC_RELEASE);
    leave_port(shared);
    shared->engine = NULL;
    shared->port->kind->close(shared->port);
    self->port->port = NULL;
}

static int make_shared(Engine *self) {
    Shared *shared = PyMem_Calloc(1, sizeof *shared);
    if (!shared) {
        PyErr_NoMemory();
        return -1;
    }
    shared->api = (lunar_engine_api){.version = LUNAR_ENGINE_API_VERSION,
                                     .context = shared,
                                     .has_input = has_input,
                                     .due_ns = due_ns,
                                     .work = work_natively,
                                     .may_sleep = may_sleep};
    shared->engine = self;
    shared->port = self->port->port;
    self->capsule = PyCapsule_New(shared, LUNAR_ENGINE_CAPSULE, free_shared); /* api comes first in it */
    if (!self->capsule) {
        PyMem_Free(shared);
        return -1;
    }
    self->shared = shared;
    return 0;
}

/* One descriptor for both: what comes, and what is due. */
static int open_descriptors(Engine *self) {
    self->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    self->epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN};
    if (self->timer >= 0 && self->epoll >= 0 && epoll_ctl(self->epoll, EPOLL_CTL_ADD, self->timer, &event) == 0 &&
        epoll_ctl(self->epoll, EPOLL_CTL_ADD, self->port->port->fd, &event) == 0)
        return 0;
    PyErr_SetFromErrno(PyExc_OSError);
    return -1;
}

static void close_descriptors(Engine *self) {
    if (self->timer >= 0)
        close(self->timer);
    if (self->epoll >= 0)
        close(self->epoll);
    self->timer = self->epoll = self->watched = -1;
}

/* Making, closing ------------------------------------------------------------------------------------------ */

static PyObject *engine_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"port", "key", "window", "message_bytes", "datagram_bytes", "silence_ns", NULL};
    Port *port;
    const char *key;
    Py_ssize_t key_bytes;
    unsigned window = 0, message_bytes = 0, datagram_bytes = 0;
    unsigned long long silence_ns = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O!y#|IIIK", names, Port_Type, &port, &key, &key_bytes, &window,
                                     &message_bytes, &datagram_bytes, &silence_ns))
        return NULL;
    if (key_bytes != 16 || !port->port || port->taken) {
        PyErr_SetString(PyExc_ValueError, "a key of 16 bytes, and a port that is open and nobody else's");
        return NULL;
    }
    if (!datagram_bytes || datagram_bytes > port->port->largest_bytes) /* else what others send would be dropped here */
        datagram_bytes = port->port->largest_bytes < MOST_BYTES ? port->port->largest_bytes : MOST_BYTES;
    lunar_xdp_limits limits = {.window = window,
                               .message_bytes = message_bytes,
                               .datagram_bytes = datagram_bytes,
                               .silence_ns = silence_ns};
    Engine *self = PyObject_GC_New(Engine, type);
    if (!self)
        return NULL;
    memset((char *)self + sizeof(PyObject), 0, sizeof *self - sizeof(PyObject));
    Py_INCREF(port);
    self->port = port;
    self->timer = self->epoll = self->watched = -1;
    self->timer_ns = UINT64_MAX;
    port->taken = 1;
    PyObject_GC_Track(self);
    self->protocol = lunar_xdp_engine_new(port->port, (const uint8_t *)key, &limits, now_ns());
    if (!self->protocol)
        PyErr_SetString(PyExc_ValueError, "the limits cannot be used, or there is no memory");
    if (!self->protocol || open_descriptors(self) < 0 || make_shared(self) < 0) {
        port->taken = 0; /* still its owner's */
        Py_DECREF(self);
        return NULL;
    }
    (void)may_sleep(self->shared);
    return (PyObject *)self;
}

static void close_engine(Engine *self) {
    lunar_xdp_engine *protocol = self->protocol;
    self->protocol = NULL;
    for (Outgoing *each = self->first; each; each = each->next)
        each->protocol = NULL;
    self->first = NULL;
    self->life++; /* an Incoming looks at it before it uses its end */
    if (protocol)
        lunar_xdp_engine_free(protocol);
    close_port(self);
    close_descriptors(self);
}

static PyObject *engine_close(Engine *self, PyObject *Py_UNUSED(ignored)) {
    if (self->protocol && engine_enter(self) < 0)
        return NULL;
    if (self->busy) {
        PyErr_SetString(PyExc_RuntimeError, "an engine cannot be closed from within");
        return NULL;
    }
    close_engine(self);
    engine_tell(self);
    Py_RETURN_NONE;
}

/* In a child process: nothing is sent, and nobody is waited for. */
static PyObject *engine_abandon(Engine *self, PyObject *Py_UNUSED(ignored)) {
    self->busy = 0;
    if (self->shared)
        self->shared->looking = 0; /* whoever looked is no thread of ours */
    close_engine(self);
    Py_RETURN_NONE;
}

/* Streams -------------------------------------------------------------------------------------------------- */

int parse_destination(PyObject *argument, lunar_destination *destination) {
    const char *address, *mac;
    Py_ssize_t address_bytes, mac_bytes;
    int port, mtu, vlan, priority;
    if (!PyArg_ParseTuple(argument, "y#iiy#ii", &address, &address_bytes, &port, &mtu, &mac, &mac_bytes, &vlan, &priority))
        return 0;
    if ((address_bytes != 4 && address_bytes != 16) || mac_bytes != 6 || port <= 0 || port > 65535 || mtu < 0 ||
        mtu > 65535 || vlan < 0 || vlan > 4094 || priority < 0 || priority > 7) {
        PyErr_SetString(PyExc_ValueError, "no destination");
        return 0;
    }
    *destination = (lunar_destination){.family = address_bytes == 4 ? 4 : 6,
                                       .priority = (uint8_t)priority,
                                       .vlan = (uint16_t)vlan,
                                       .port = (uint16_t)port,
                                       .mtu = (uint16_t)mtu};
    memcpy(destination->address, address, (size_t)address_bytes);
    memcpy(destination->mac, mac, 6);
    return 1;
}

static int parse_stream(const char *publisher, Py_ssize_t publisher_bytes, const char *subscriber,
                        Py_ssize_t subscriber_bytes, int reliable, lunar_xdp_stream *stream) {
    if (publisher_bytes != 16 || subscriber_bytes != 16) {
        PyErr_SetString(PyExc_ValueError, "ids have 16 bytes");
        return -1;
    }
    memcpy(stream->publisher, publisher, 16);
    memcpy(stream->subscriber, subscriber, 16);
    stream->reliable = reliable;
    return 0;
}

static PyObject *engine_open_outgoing(Engine *self, PyObject *args) {
    const char *publisher, *subscriber;
    Py_ssize_t publisher_bytes, subscriber_bytes;
    int reliable;
    lunar_destination to;
    PyObject *handler;
    lunar_xdp_stream stream;
    if (!PyArg_ParseTuple(args, "y#y#pO&O", &publisher, &publisher_bytes, &subscriber, &subscriber_bytes, &reliable,
                          parse_destination, &to, &handler) ||
        parse_stream(publisher, publisher_bytes, subscriber, subscriber_bytes, reliable, &stream) < 0)
        return NULL;
    return outgoing_open(self, &stream, &to, handler);
}

static PyObject *engine_open_incoming(Engine *self, PyObject *args) {
    const char *publisher, *subscriber, *key;
    Py_ssize_t publisher_bytes, subscriber_bytes, key_bytes;
    int reliable;
    lunar_destination to;
    PyObject *handler;
    lunar_xdp_stream stream;
    if (!PyArg_ParseTuple(args, "y#y#py#O&O", &publisher, &publisher_bytes, &subscriber, &subscriber_bytes, &reliable, &key,
                          &key_bytes, parse_destination, &to, &handler) ||
        parse_stream(publisher, publisher_bytes, subscriber, subscriber_bytes, reliable, &stream) < 0)
        return NULL;
    if (key_bytes != 16) {
        PyErr_SetString(PyExc_ValueError, "a key has 16 bytes");
        return NULL;
    }
    return incoming_open(self, &stream, (const uint8_t *)key, &to, handler);
}

static PyObject *engine_redirect(Engine *self, PyObject *args) {
    lunar_destination from, to;
    if (!PyArg_ParseTuple(args, "O&O&", parse_destination, &from, parse_destination, &to) || engine_enter(self) < 0)
        return NULL;
    if ((errno = -lunar_xdp_engine_redirect(self->protocol, &from, &to)))
        return PyErr_SetFromErrno(PyExc_OSError);
    engine_leave(self);
    Py_RETURN_NONE;
}

static PyObject *engine_watch(Engine *self, PyObject *args) {
    int fd;
    if (!PyArg_ParseTuple(args, "i", &fd) || !is_open(self))
        return NULL;
    struct epoll_event event = {.events = EPOLLIN};
    if (epoll_ctl(self->epoll, EPOLL_CTL_ADD, fd, &event) < 0)
        return PyErr_SetFromErrno(PyExc_OSError);
    self->watched = fd;
    Py_RETURN_NONE;
}

static PyObject *engine_statistics(Engine *self, PyObject *Py_UNUSED(ignored)) {
    if (!is_open(self))
        return NULL;
    const lunar_xdp_statistics *all = lunar_xdp_engine_statistics(self->protocol);
#define COUNT(name) #name, (unsigned long long)all->name
    return Py_BuildValue("{sKsKsKsKsKsKsKsKsKsKsKsKsKsKsKsKsKsKsKsKsK}", COUNT(datagrams_received), COUNT(datagrams_sent),
                         COUNT(records_received), COUNT(records_sent), COUNT(messages_sent), COUNT(messages_delivered),
                         COUNT(resent), COUNT(duplicates), COUNT(out_of_order), COUNT(stale), COUNT(unknown_tokens),
                         COUNT(malformed), COUNT(faults), COUNT(acks_sent), COUNT(acks_received), COUNT(polls_sent),
                         COUNT(polls_received), COUNT(halvings), COUNT(port_full), COUNT(memory_refused),
                         COUNT(best_effort_lost));
#undef COUNT
}

static PyObject *engine_fileno(Engine *self, PyObject *Py_UNUSED(ignored)) {
    return is_open(self) ? PyLong_FromLong(self->epoll) : NULL;
}

static PyObject *get_capsule(Engine *self, void *Py_UNUSED(closure)) {
    Py_INCREF(self->capsule);
    return self->capsule;
}

/* The type ------------------------------------------------------------------------------------------------- */

static int engine_traverse(Engine *self, visitproc visit, void *arg) {
    Py_VISIT(self->port);
    for (Py_ssize_t i = 0; i < self->event_count; i++)
        Py_VISIT(self->events[i].stream);
    Py_VISIT(Py_TYPE(self));
    return 0;
}

static int engine_clear(Engine *self) {
    if (self->telling)
        return 0;
    Py_ssize_t count = self->event_count;
    self->event_count = 0;
    for (Py_ssize_t i = 0; i < count; i++)
        Py_XDECREF(self->events[i].stream);
    return 0;
}

static void engine_dealloc(Engine *self) {
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    close_engine(self);
    engine_clear(self);
    PyMem_Free(self->events);
    Py_XDECREF(self->capsule);
    Py_DECREF(self->port);
    PyObject_GC_Del(self);
    Py_DECREF(type);
}

static PyGetSetDef properties[] = {{"native", (getter)get_capsule, NULL, "See `lunar.abc.Engine.native`.", NULL}, {NULL}};
static PyMethodDef methods[] = {
    {"work", (PyCFunction)engine_work, METH_NOARGS, "See `lunar.abc.Engine.work`."},
    {"fileno", (PyCFunction)engine_fileno, METH_NOARGS, "Readable when something has come or is due."},
    {"open_outgoing", (PyCFunction)engine_open_outgoing, METH_VARARGS, NULL},
    {"open_incoming", (PyCFunction)engine_open_incoming, METH_VARARGS, NULL},
    {"redirect", (PyCFunction)engine_redirect, METH_VARARGS, "All streams of one destination go to another one."},
    {"watch", (PyCFunction)engine_watch, METH_VARARGS, "One more descriptor to wait for; `work` says if it is readable."},
    {"statistics", (PyCFunction)engine_statistics, METH_NOARGS, "All counts since it was made, by name."},
    {"abandon", (PyCFunction)engine_abandon, METH_NOARGS, "In a child process: closes its copies of the descriptors."},
    {"close", (PyCFunction)engine_close, METH_NOARGS, "Closes it and its port; again: does nothing."},
    {NULL}};
static PyType_Slot slots[] = {{Py_tp_new, engine_new},       {Py_tp_dealloc, engine_dealloc}, {Py_tp_traverse, engine_traverse},
                              {Py_tp_clear, engine_clear},   {Py_tp_methods, methods},        {Py_tp_getset, properties},
                              {0, NULL}};
static PyType_Spec spec = {.name = "lunar_xdp._xdp.Engine",
                           .basicsize = sizeof(Engine),
                           .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
                           .slots = slots};

int engine_register(PyObject *module) { return register_type(module, &spec, &Engine_Type); }
