/* Operation: the awaitable behind `await sub.receive()`, `async for`, `await pub.publish()` and the rest.
 *
 * Most of the time the answer is there: then `await` ends inside one C call, without the event loop.  Otherwise
 * the operation yields a Signal to the task and tries again when it is resumed.  A message is taken, or
 * published, in the very call that returns it, so cancelling loses nothing.
 *
 * A coroutine that never has to wait would starve its loop.  So an operation lets the loop turn once (a bare yield)
 * when none has turned for TURN_NS, unless a loop of ours has nothing to do; it measures with the clock readings that the
 * messages need anyway.
 */
#include "bus.h"

PyTypeObject *Operation_Type;

typedef struct {
    PyObject_HEAD
    int kind, begun, waited;
    Source *source; /* NULL while kept for reuse */
    PyObject *payload;
    Py_ssize_t limit, done;
    Signal *signal;
    uint64_t ticket; /* its place among those who wait; 0 before it waits */
} Operation;

static int attempt_receive(Source *source, int kind, Py_ssize_t limit, PyObject **value) {
    Reader *reader = (Reader *)source;
    if (!source_is_open(source)) {
        if (kind != ITERATE || source->forks != forks_so_far)
            return source_refuse(source);
        PyErr_SetNone(PyExc_StopAsyncIteration);
        return FAILED;
    }
    if (kind == READABLE) {
        if (!reader_is_ready(reader))
            return WOULD_BLOCK;
        Py_INCREF(Py_None);
        *value = Py_None;
        return DONE;
    }
    if (kind == RECEIVE_MANY) {
        PyObject *list = reader_take_many(reader, limit);
        if (list && PyList_Size(list) == 0) {
            Py_DECREF(list);
            return WOULD_BLOCK;
        }
        *value = list;
        return list ? DONE : FAILED;
    }
    Sample *sample = reader_take(reader, now_ns());
    if (!sample)
        return PyErr_Occurred() ? FAILED : WOULD_BLOCK;
    *value = sample_message(sample);
    Py_DECREF(sample);
    return *value ? DONE : FAILED;
}

static int attempt_publish(Source *source, int kind, PyObject *payload, Py_ssize_t *done) {
    Writer *writer = (Writer *)source;
    switch (kind) {
    case PUBLISH:
        return writer_publish(writer, payload);
    case PUBLISH_ALL: {
        Py_ssize_t next = writer_publish_many(writer, payload, *done);
        if (next < 0)
            return FAILED;
        *done = next;
        return next >= PyList_Size(payload) ? DONE : WOULD_BLOCK;
    }
    case PUBLISH_LOAN:
        return loan_publish(payload);
    default:
        return DONE;
    }
}

static int attempt(Source *source, int kind, PyObject *payload, Py_ssize_t limit, Py_ssize_t *done, PyObject **value) {
    *value = NULL;
    if (kind <= READABLE)
        return attempt_receive(source, kind, limit, value);
    if (kind == OPEN_LOAN) {
        const char *why;
        return loan_open(payload, value, &why);
    }
    int outcome = attempt_publish(source, kind, payload, done);
    if (outcome == DONE) {
        Py_INCREF(Py_None);
        *value = Py_None;
    }
    return outcome;
}

/* Try again as someone who is about to wait: from here on no wake-up can be missed. */
static int attempt_waiting(Source *source, int kind, PyObject *payload, Py_ssize_t limit, Py_ssize_t *done,
                           PyObject **value) {
    if (kind <= READABLE)
        return attempt(source, kind, payload, limit, done, value);
    Writer *writer = (Writer *)source;
    writer->progress_seen = writer_progress(writer);
    int outcome = attempt(source, kind, payload, limit, done, value);
    if (outcome == DONE)
        writer->progress_seen--; /* there may be room for others who wait: let them look, too */
    return outcome;
}

/* Without a loop ------------------------------------------------------------------------------------------- */

static int deadline_of(PyObject *timeout_s, uint64_t *deadline_ns) {
    *deadline_ns = UINT64_MAX;
    if (timeout_s == Py_None)
        return 0;
    double seconds = PyFloat_AsDouble(timeout_s);
    if (seconds == -1.0 && PyErr_Occurred())
        return -1;
    if (!(seconds >= 0)) {
        PyErr_SetString(PyExc_ValueError, "timeout_s must not be negative");
        return -1;
    }
    if (seconds < 1e9)
        *deadline_ns = now_ns() + (uint64_t)(seconds * 1e9);
    return 0;
}

/* Looking up the thread's waiter costs as much as a message, so a reader remembers it. */
static Waiter *thread_waiter_for(Source *source) {
    if (!PyObject_TypeCheck((PyObject *)source, Reader_Type))
        return waiter_of_this_thread();
    Reader *reader = (Reader *)source;
    void *thread = PyThreadState_Get();
    /* A closed waiter was that of a thread that is gone, whose place in memory this one has. */
    if (reader->blocking_thread != thread || !reader->blocking_waiter || reader->blocking_waiter->epoll < 0) {
        Waiter *waiter = waiter_of_this_thread();
        if (!waiter)
            return NULL;
        Py_XSETREF(reader->blocking_waiter, waiter);
        reader->blocking_thread = thread;
    }
    Py_INCREF(reader->blocking_waiter);
    return reader->blocking_waiter;
}

PyObject *source_run_blocking(Source *source, int kind, PyObject *payload, Py_ssize_t limit, PyObject *timeout_s) {
    PyObject *value;
    Py_ssize_t done = 0;
    int outcome = attempt(source, kind, payload, limit, &done, &value);
    if (outcome != WOULD_BLOCK)
        return value;
    uint64_t deadline_ns;
    Waiter *waiter = deadline_of(timeout_s, &deadline_ns) < 0 ? NULL : thread_waiter_for(source);
    if (!waiter)
        return NULL;
    if (source_begin_wait(source, waiter) < 0) {
        Py_DECREF(waiter);
        return NULL;
    }
    source->waiting++;
    source->waiter = waiter;
    if (kind > READABLE)
        writer_count_wait((Writer *)source);
    for (int rounds = 0;; rounds = 1) {
        outcome = attempt_waiting(source, kind, payload, limit, &done, &value);
        if (outcome != WOULD_BLOCK)
            break;
        if (rounds) { /* woken for nothing: a peer may do that again and again, and others must run meanwhile */
            Py_BEGIN_ALLOW_THREADS;
            Py_END_ALLOW_THREADS;
        }
        int woken = waiter_block(waiter, source, deadline_ns);
        if (woken == 0)
            PyErr_SetString(LunarTimeout, kind <= READABLE ? "nothing was received in time" : "no room in time");
        if (woken <= 0)
            break;
    }
    source_end_wait(source);
    Py_DECREF(waiter);
    return value;
}

/* In a coroutine ------------------------------------------------------------------------------------------- */

/* A publish that nobody awaited has published nothing: Python says the same of a coroutine. */
static void warn_if_not_begun(Operation *self) {
    static const char *const names[] = {[RECEIVE] = "Subscription.receive",
                                        [RECEIVE_MANY] = "Subscription.receive_many",
                                        [PUBLISH] = "Publisher.publish",
                                        [PUBLISH_ALL] = "Publisher.publish_all",
                                        [NOTHING_TO_DO] = NULL};
    if (!self->source || self->begun || !names[self->kind])
        return;
    PyObject *error[3];
    PyErr_Fetch(&error[0], &error[1], &error[2]);
    if (PyErr_WarnFormat(PyExc_RuntimeWarning, 1, "%s was never awaited", names[self->kind]) < 0)
        PyErr_WriteUnraisable(NULL);
    PyErr_Restore(error[0], error[1], error[2]);
}

static void forget(Operation *self) {
    if (self->kind == PUBLISH_LOAN && self->payload)
        loan_discard(self->payload); /* it was cancelled, or failed, on leaving its block */
    if (self->signal) {
        signal_unlink(self->signal);
        Py_CLEAR(self->signal);
    }
    Py_CLEAR(self->payload);
    Py_CLEAR(self->source);
}

PyObject *operation_new(Source *source, int kind, PyObject *payload, Py_ssize_t limit) {
    Operation *self = (Operation *)source->spare;
    if (self && Py_REFCNT(self) == 1) {
        if (self->source) { /* it was dropped as it was */
            warn_if_not_begun(self);
            forget(self);
        }
        Py_INCREF(self);
    } else {
        self = PyObject_GC_New(Operation, Operation_Type);
        if (!self)
            return NULL;
        memset((char *)self + sizeof(PyObject), 0, sizeof *self - sizeof(PyObject));
        PyObject_GC_Track(self);
        if (!source->spare && !source->closed) {
            Py_INCREF(self);
            source->spare = (PyObject *)self;
        }
    }
    Py_INCREF(source);
    self->source = source;
    Py_XINCREF(payload);
    self->payload = payload;
    self->kind = kind;
    self->limit = limit;
    self->done = 0;
    self->begun = self->waited = 0;
    self->ticket = 0;
    return (PyObject *)self;
}

static PySendResult finish(Operation *self, int outcome, PyObject *value, PyObject **result) {
    forget(self);
    *result = value;
    return outcome == DONE ? PYGEN_RETURN : PYGEN_ERROR;
}

static uint64_t newest_ns(Source *source, int kind) {
    return kind <= READABLE ? ((Reader *)source)->newest_ns : ((Writer *)source)->newest_ns;
}

/* A loop that had nothing to do while we waited in its place needs no turn for a while. */
static void note_turn(Operation *self, Waiter *waiter) {
    uint64_t newest = newest_ns(self->source, self->kind);
    if (newest > self->source->turned_ns + TURN_NS / 2 && waiter_is_quiet(waiter, self->signal))
        self->source->turned_ns = newest;
}

/* Hand the task something to wait for. */
static PySendResult suspend(Operation *self, PyObject **result) {
    Source *source = self->source;
    Waiter *waiter = waiter_of_running_loop();
    if (!waiter)
        return finish(self, FAILED, NULL, result);
    if (!self->ticket)
        self->ticket = ++waiter->tickets;
    if (source_begin_wait(source, waiter) < 0 || !(self->signal = signal_new(waiter, source, self->ticket))) {
        Py_DECREF(waiter);
        return finish(self, FAILED, NULL, result);
    }
    if (!waiter->managed) /* nobody will tell us when this loop goes to sleep */
        lunar_bell_arm(waiter_bell(waiter));
    if (self->kind > READABLE && !self->waited)
        writer_count_wait((Writer *)source);
    self->waited = 1;
    PyObject *value;
    int outcome = attempt_waiting(source, self->kind, self->payload, self->limit, &self->done, &value);
    if (outcome == WOULD_BLOCK && waiter->managed) {
        int found = waiter_wait_inline(waiter);
        if (found < 0)
            outcome = FAILED;
        else if (found && source_is_ready(source) && signal_is_next(self->signal)) {
            outcome = attempt_waiting(source, self->kind, self->payload, self->limit, &self->done, &value);
            note_turn(self, waiter);
        }
    }
    if (outcome != WOULD_BLOCK) {
        forget(self);
        if (!waiter->managed && !waiter->pending)
            lunar_bell_disarm(waiter_bell(waiter));
        Py_DECREF(waiter);
        return finish(self, outcome, value, result);
    }
    if (self->kind > READABLE && !waiter->managed && waiter_schedule_recheck(waiter) < 0) {
        Py_DECREF(waiter);
        return finish(self, FAILED, NULL, result);
    }
    Py_DECREF(waiter);
    Py_INCREF(self->signal);
    *result = (PyObject *)self->signal;
    return PYGEN_NEXT;
}

/* Whether a turn would be for nothing. */
static bool loop_is_quiet(void) {
    Waiter *waiter = waiter_of_recent_loop();
    bool quiet = waiter && waiter->managed && waiter_is_quiet(waiter, NULL);
    Py_XDECREF(waiter);
    return quiet;
}

static PySendResult operation_send(PyObject *object, PyObject *Py_UNUSED(argument), PyObject **result) {
    Operation *self = (Operation *)object;
    Source *source = self->source;
    if (!source) {
        PyErr_SetString(PyExc_RuntimeError, "this operation was already awaited");
        *result = NULL;
        return PYGEN_ERROR;
    }
    self->begun = 1;
    uint64_t newest = newest_ns(source, self->kind);
    if (self->signal) {
        Py_CLEAR(self->signal);
        source->turned_ns = newest;
    } else if (newest > source->turned_ns + TURN_NS) {
        /* Also where it is about to wait: it might find the answer by spinning, again and again. */
        source->turned_ns = newest;
        if (!loop_is_quiet()) {
            Py_INCREF(Py_None);
            *result = Py_None;
            return PYGEN_NEXT;
        }
    }
    PyObject *value;
    int outcome = attempt(source, self->kind, self->payload, self->limit, &self->done, &value);
    return outcome == WOULD_BLOCK ? suspend(self, result) : finish(self, outcome, value, result);
}

static PyObject *operation_next(PyObject *self) {
    PyObject *result = NULL;
    PySendResult status = operation_send(self, Py_None, &result);
    if (status != PYGEN_RETURN)
        return result;
    /* Built by hand: a tuple given to SetObject would be taken for the arguments. */
    PyObject *stop = PyObject_CallFunctionObjArgs(PyExc_StopIteration, result, NULL);
    Py_DECREF(result);
    if (stop) {
        PyErr_SetObject(PyExc_StopIteration, stop);
        Py_DECREF(stop);
    }
    return NULL;
}

static PyObject *operation_self(PyObject *self) {
    Py_INCREF(self);
    return self;
}

static PyObject *operation_send_method(PyObject *self, PyObject *Py_UNUSED(argument)) { return operation_next(self); }

static PyObject *operation_throw(Operation *self, PyObject *args) {
    PyObject *type, *value = NULL, *traceback = NULL;
    if (!PyArg_ParseTuple(args, "O|OO", &type, &value, &traceback))
        return NULL;
    forget(self);
    if (PyExceptionInstance_Check(type)) {
        PyErr_SetObject((PyObject *)Py_TYPE(type), type);
    } else {
        PyErr_SetObject(type, value);
    }
    return NULL;
}

static PyObject *operation_close(Operation *self, PyObject *Py_UNUSED(ignored)) {
    forget(self);
    Py_RETURN_NONE;
}

static int operation_traverse(Operation *self, visitproc visit, void *arg) {
    Py_VISIT(self->source);
    Py_VISIT(self->payload);
    Py_VISIT(self->signal);
    Py_VISIT(Py_TYPE(self));
    return 0;
}

static int operation_clear(Operation *self) {
    forget(self);
    return 0;
}

static void operation_dealloc(Operation *self) {
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    warn_if_not_begun(self);
    forget(self);
    PyObject_GC_Del(self);
    Py_DECREF(type);
}

static PyMethodDef methods[] = {{"send", (PyCFunction)operation_send_method, METH_O, NULL},
                                {"throw", (PyCFunction)operation_throw, METH_VARARGS, NULL},
                                {"close", (PyCFunction)operation_close, METH_NOARGS, NULL},
                                {NULL}};
static PyType_Slot slots[] = {{Py_tp_dealloc, operation_dealloc},
                              {Py_tp_traverse, operation_traverse},
                              {Py_tp_clear, operation_clear},
                              {Py_tp_methods, methods},
                              {Py_tp_iter, operation_self},
                              {Py_tp_iternext, operation_next},
                              {Py_am_await, operation_self},
                              {Py_am_send, operation_send},
                              {0, NULL}};
static PyType_Spec spec = {.name = "lunar._native._bus.Operation",
                           .basicsize = sizeof(Operation),
                           .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE |
                                    Py_TPFLAGS_DISALLOW_INSTANTIATION,
                           .slots = slots};

int operation_register(PyObject *module) { return register_type(module, &spec, NULL, &Operation_Type); }
