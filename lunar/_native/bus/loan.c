/* Loan: a writable piece of the publisher's memory, filled in place and then published without a copy.
 *
 * A view that the user keeps beyond the block (a NumPy array, say) keeps the chunk from being used again, so a late
 * write can spoil only the message it belonged to.
 */
#include "bus.h"

PyTypeObject *Loan_Type;

typedef struct {
    PyObject_HEAD
    Writer *writer;
    lunar_chunk *chunk; /* one reference is ours until the last view is gone */
    Py_ssize_t size_bytes;
    Py_ssize_t exports;
    PyObject *view; /* a weak reference: the view keeps the loan, and nothing would ever end that circle */
    int over; /* published or discarded */
} Loan;

static PyObject *loan_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"writer", "size_bytes", NULL};
    Writer *writer;
    Py_ssize_t size_bytes;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O!n", names, Writer_Type, &writer, &size_bytes))
        return NULL;
    return type == Loan_Type ? loan_make(writer, size_bytes) : NULL; /* it cannot be subclassed */
}

PyObject *loan_make(Writer *writer, Py_ssize_t size_bytes) {
    if (size_bytes < 0) {
        PyErr_SetString(PyExc_ValueError, "size_bytes must not be negative");
        return NULL;
    }
    Loan *self = PyObject_GC_New(Loan, Loan_Type);
    if (!self)
        return NULL;
    Py_INCREF(writer);
    self->writer = writer;
    self->chunk = NULL;
    self->size_bytes = size_bytes;
    self->exports = 0;
    self->view = NULL;
    self->over = 0;
    PyObject_GC_Track(self);
    return (PyObject *)self;
}

static void give_back(Loan *self) {
    if (!self->chunk || self->exports)
        return;
    writer_release_chunk(self->writer, self->chunk);
    self->chunk = NULL;
    self->writer->loans--;
    if (self->writer->closing)
        writer_finish_close(self->writer);
}

static int loan_getbuffer(Loan *self, Py_buffer *view, int flags) {
    if (!self->chunk || self->over) {
        view->obj = NULL;
        PyErr_SetString(PyExc_BufferError, "the loan is not open");
        return -1;
    }
    int result = PyBuffer_FillInfo(view, (PyObject *)self, self->chunk->address, self->size_bytes, 0, flags);
    if (result == 0)
        self->exports++;
    return result;
}

static void loan_releasebuffer(Loan *self, Py_buffer *Py_UNUSED(view)) {
    self->exports--;
    if (self->over)
        give_back(self);
}

PyObject *loan_open(PyObject *object) {
    Loan *self = (Loan *)object;
    if (self->chunk || self->over) {
        PyErr_SetString(LunarError, "a loan is used once");
        return NULL;
    }
    int outcome = writer_has_room(self->writer); /* before the user fills it, rather than after */
    if (outcome == WOULD_BLOCK)
        PyErr_SetString(WouldBlock, "a reliable keep_all subscription has no room; use `async with`, which waits");
    if (outcome != DONE)
        return NULL;
    self->writer->loans++;
    self->chunk = writer_allocate(self->writer, (size_t)self->size_bytes, &outcome);
    if (!self->chunk) {
        self->writer->loans--;
        if (self->writer->closing)
            writer_finish_close(self->writer);
        if (outcome == WOULD_BLOCK)
            PyErr_SetString(WouldBlock, "every chunk of the publisher's pool is in use");
        return NULL;
    }
    PyObject *view = PyMemoryView_FromObject(object);
    if (!view || !(self->view = PyWeakref_NewRef(view, NULL))) {
        self->over = 1;
        Py_CLEAR(view); /* gives the chunk back if there was a view */
        give_back(self);
    }
    return view;
}

static void finish(Loan *self) {
    self->over = 1;
    PyObject *view = self->view ? PyWeakref_GetObject(self->view) : Py_None;
    Py_INCREF(view);
    Py_CLEAR(self->view);
    if (view != Py_None) {
        PyObject *error[3];
        PyErr_Fetch(&error[0], &error[1], &error[2]);
        PyObject *released = PyObject_CallMethod(view, "release", NULL);
        if (!released)
            PyErr_Clear(); /* something still looks at it; see the top of this file */
        Py_XDECREF(released);
        PyErr_Restore(error[0], error[1], error[2]);
    }
    Py_DECREF(view);
    give_back(self);
}

int loan_publish(PyObject *object) {
    Loan *self = (Loan *)object;
    if (!self->chunk || self->over) {
        PyErr_SetString(LunarError, "the loan is not open");
        return FAILED;
    }
    self->chunk->references++; /* for the messages; ours stays until the views are gone */
    int outcome = writer_publish_chunk(self->writer, self->chunk, (uint32_t)self->size_bytes);
    if (outcome == DONE)
        finish(self);
    else
        writer_release_chunk(self->writer, self->chunk);
    return outcome;
}

static PyObject *loan_enter(PyObject *self, PyObject *Py_UNUSED(ignored)) { return loan_open(self); }

static PyObject *loan_exit(Loan *self, PyObject *args) {
    PyObject *kind, *value, *traceback;
    if (!PyArg_ParseTuple(args, "OOO", &kind, &value, &traceback))
        return NULL;
    if (kind == Py_None) {
        int outcome = loan_publish((PyObject *)self);
        if (outcome == WOULD_BLOCK)
            PyErr_SetString(WouldBlock, "a reliable keep_all subscription has no room; use `async with`, which waits");
        if (outcome != DONE) {
            finish(self);
            return NULL;
        }
    } else {
        finish(self);
    }
    Py_RETURN_FALSE;
}

static PyObject *loan_aenter(Loan *self, PyObject *Py_UNUSED(ignored)) {
    return operation_new(&self->writer->source, OPEN_LOAN, (PyObject *)self, 0);
}

static PyObject *loan_aexit(Loan *self, PyObject *args) {
    PyObject *kind, *value, *traceback;
    if (!PyArg_ParseTuple(args, "OOO", &kind, &value, &traceback))
        return NULL;
    if (kind == Py_None)
        return operation_new(&self->writer->source, PUBLISH_LOAN, (PyObject *)self, 0);
    finish(self);
    return operation_new(&self->writer->source, NOTHING_TO_DO, NULL, 0);
}

void loan_discard(PyObject *object) {
    Loan *self = (Loan *)object;
    if (!self->over)
        finish(self);
}

/* A loan and its view hold each other until the block is left; who never leaves it needs the collector. */
static int loan_traverse(Loan *self, visitproc visit, void *arg) {
    Py_VISIT(self->writer);
    Py_VISIT(self->view);
    Py_VISIT(Py_TYPE(self));
    return 0;
}

static int loan_clear(Loan *self) {
    self->over = 1;
    Py_CLEAR(self->view);
    return 0;
}

static void loan_dealloc(Loan *self) {
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    loan_clear(self);
    give_back(self);
    Py_DECREF(self->writer);
    PyObject_GC_Del(self);
    Py_DECREF(type);
}

static PyMethodDef methods[] = {{"__enter__", (PyCFunction)loan_enter, METH_NOARGS, NULL},
                                {"__exit__", (PyCFunction)loan_exit, METH_VARARGS, NULL},
                                {"__aenter__", (PyCFunction)loan_aenter, METH_NOARGS, NULL},
                                {"__aexit__", (PyCFunction)loan_aexit, METH_VARARGS, NULL},
                                {NULL}};
static PyType_Slot slots[] = {{Py_tp_new, loan_new},
                              {Py_tp_dealloc, loan_dealloc},
                              {Py_tp_traverse, loan_traverse},
                              {Py_tp_clear, loan_clear},
                              {Py_tp_methods, methods},
                              {Py_bf_getbuffer, loan_getbuffer},
                              {Py_bf_releasebuffer, loan_releasebuffer},
                              {0, NULL}};
static PyType_Spec spec = {.name = "lunar._native._bus.Loan",
                           .basicsize = sizeof(Loan),
                           .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
                           .slots = slots};

int loan_register(PyObject *module) { return register_type(module, &spec, NULL, &Loan_Type); }
