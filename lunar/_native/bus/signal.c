/* Signal: what a task awaits while its source is not ready.
 *
 * asyncio's tasks accept any object that speaks the future protocol (`_asyncio_future_blocking`, add_done_callback
 * and so on).  A signal carries no value: the awaiting operation looks at its queue again when it is resumed, so
 * nothing has been taken that a cancellation could lose.
 */
#include "bus.h"

PyTypeObject *Signal_Type;

enum { PENDING, FIRED, CANCELLED };

/* One that waits again keeps its place: without that, whoever is served first would always be. */
static Signal **place_for(Waiter *waiter, uint64_t ticket) {
    if (ticket == waiter->tickets)
        return waiter->end;
    Signal **place = &waiter->first;
    while (*place && (*place)->ticket < ticket)
        place = &(*place)->next;
    return place;
}

Signal *signal_new(Waiter *waiter, Source *source, uint64_t ticket) {
    Signal *self = PyObject_GC_New(Signal, Signal_Type);
    if (!self)
        return NULL;
    self->blocking = 1;
    self->state = PENDING;
    self->callback = self->context = NULL;
    Py_INCREF(waiter);
    self->waiter = waiter;
    Py_INCREF(source);
    self->source = (PyObject *)source;
    /* The waiter's list owns one reference while the signal is pending. */
    Py_INCREF(self);
    self->ticket = ticket;
    self->link = place_for(waiter, ticket);
    self->next = *self->link;
    *self->link = self;
    if (self->next)
        self->next->link = &self->next;
    else
        waiter->end = &self->next;
    waiter->pending++;
    if (source->spin_ns > waiter->spin_ns)
        waiter->spin_ns = source->spin_ns;
    source->waiting++;
    source->waiter = waiter;
    PyObject_GC_Track(self);
    return self;
}

bool signal_is_next(const Signal *self) {
    for (const Signal *other = self->waiter->first; other != self; other = other->next)
        if (!other || other->source == self->source)
            return false;
    return true;
}

void signal_unlink(Signal *self) {
    if (!self->link)
        return;
    *self->link = self->next;
    if (self->next)
        self->next->link = self->link;
    else
        self->waiter->end = self->link;
    self->next = NULL;
    self->link = NULL;
    if (--self->waiter->pending == 0)
        self->waiter->spin_ns = 0;
    source_end_wait((Source *)self->source);
    Py_DECREF(self);
}

/* A waiter lets go of its loop when that closes; a task may still be there to be cancelled. */
static bool has_loop(Signal *self) {
    if (!self->waiter->loop)
        PyErr_SetString(PyExc_RuntimeError, "Event loop is closed"); /* in asyncio's words */
    return self->waiter->loop;
}

static int schedule(Signal *self) {
    if (!self->callback)
        return 0;
    if (!has_loop(self))
        return -1;
    PyObject *call_soon = PyObject_GetAttrString(self->waiter->loop, "call_soon");
    PyObject *args = call_soon ? PyTuple_Pack(2, self->callback, self) : NULL;
    PyObject *kwargs = args && self->context ? Py_BuildValue("{sO}", "context", self->context) : NULL;
    PyObject *handle = args && (kwargs || !self->context) ? PyObject_Call(call_soon, args, kwargs) : NULL;
    Py_XDECREF(kwargs);
    Py_XDECREF(args);
    Py_XDECREF(call_soon);
    Py_CLEAR(self->callback);
    Py_CLEAR(self->context);
    Py_XDECREF(handle);
    return handle ? 0 : -1;
}

int signal_fire(Signal *self) {
    if (self->state != PENDING)
        return 0;
    self->state = FIRED;
    Py_INCREF(self);
    signal_unlink(self);
    int result = schedule(self);
    Py_DECREF(self);
    return result;
}

static PyObject *signal_cancel(Signal *self, PyObject *Py_UNUSED(args), PyObject *Py_UNUSED(kwargs)) {
    if (self->state != PENDING)
        Py_RETURN_FALSE;
    self->state = CANCELLED;
    Py_INCREF(self);
    signal_unlink(self);
    int result = schedule(self);
    Py_DECREF(self);
    if (result < 0)
        return NULL;
    Py_RETURN_TRUE;
}

static PyObject *signal_result(Signal *self, PyObject *Py_UNUSED(ignored)) {
    if (self->state == FIRED)
        Py_RETURN_NONE;
    PyObject *exceptions = PyImport_ImportModule("asyncio.exceptions");
    PyObject *error =
        exceptions ? PyObject_GetAttrString(exceptions, self->state == CANCELLED ? "CancelledError" : "InvalidStateError")
                   : NULL;
    Py_XDECREF(exceptions);
    if (error) {
        PyErr_SetNone(error);
        Py_DECREF(error);
    }
    return NULL;
}

static PyObject *signal_add_done_callback(Signal *self, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"fn", "context", NULL};
    PyObject *callback, *context = NULL;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|$O", names, &callback, &context))
        return NULL;
    if (self->callback) {
        PyErr_SetString(PyExc_RuntimeError, "a signal is awaited by one task only");
        return NULL;
    }
    Py_INCREF(callback);
    self->callback = callback;
    if (context && context != Py_None) {
        Py_INCREF(context);
        self->context = context;
    }
    if (self->state != PENDING && schedule(self) < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *signal_remove_done_callback(Signal *self, PyObject *callback) {
    if (self->callback != callback)
        return PyLong_FromLong(0);
    Py_CLEAR(self->callback);
    Py_CLEAR(self->context);
    return PyLong_FromLong(1);
}

static PyObject *signal_get_loop(Signal *self, PyObject *Py_UNUSED(ignored)) {
    if (!has_loop(self))
        return NULL;
    Py_INCREF(self->waiter->loop);
    return self->waiter->loop;
}

static PyObject *signal_done(Signal *self, PyObject *Py_UNUSED(ignored)) {
    return PyBool_FromLong(self->state != PENDING);
}

static PyObject *signal_cancelled(Signal *self, PyObject *Py_UNUSED(ignored)) {
    return PyBool_FromLong(self->state == CANCELLED);
}

static int signal_traverse(Signal *self, visitproc visit, void *arg) {
    Py_VISIT(self->waiter);
    Py_VISIT(self->source);
    Py_VISIT(self->callback);
    Py_VISIT(self->context);
    Py_VISIT(Py_TYPE(self));
    return 0;
}

static int signal_clear(Signal *self) {
    Py_CLEAR(self->callback);
    Py_CLEAR(self->context);
    return 0;
}

static void signal_dealloc(Signal *self) {
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    signal_clear(self);
    Py_XDECREF(self->source);
    Py_XDECREF(self->waiter);
    PyObject_GC_Del(self);
    Py_DECREF(type);
}

static PyMemberDef members[] = {{"_asyncio_future_blocking", T_BOOL, offsetof(Signal, blocking), 0, NULL}, {NULL}};
static PyMethodDef methods[] = {
    {"cancel", (PyCFunction)(void (*)(void))signal_cancel, METH_VARARGS | METH_KEYWORDS, NULL},
    {"result", (PyCFunction)signal_result, METH_NOARGS, NULL},
    {"add_done_callback", (PyCFunction)(void (*)(void))signal_add_done_callback, METH_VARARGS | METH_KEYWORDS, NULL},
    {"remove_done_callback", (PyCFunction)signal_remove_done_callback, METH_O, NULL},
    {"get_loop", (PyCFunction)signal_get_loop, METH_NOARGS, NULL},
    {"done", (PyCFunction)signal_done, METH_NOARGS, NULL},
    {"cancelled", (PyCFunction)signal_cancelled, METH_NOARGS, NULL},
    {NULL}};
static PyType_Slot slots[] = {{Py_tp_dealloc, signal_dealloc}, {Py_tp_traverse, signal_traverse},
                              {Py_tp_clear, signal_clear},     {Py_tp_methods, methods},
                              {Py_tp_members, members},        {0, NULL}};
static PyType_Spec spec = {.name = "lunar._native._bus.Signal",
                           .basicsize = sizeof(Signal),
                           .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE |
                                    Py_TPFLAGS_DISALLOW_INSTANTIATION,
                           .slots = slots};

int signal_register(PyObject *module) { return register_type(module, &spec, NULL, &Signal_Type); }
