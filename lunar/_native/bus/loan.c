/* Loan: a writable piece of the publisher's memory, filled in place and then published without a copy.
 *
 * A view that the user keeps beyond the block (a NumPy array, say) keeps the chunk from being used again, so a late
 * write can spoil only the message it belonged to.
 */
#include "bus.h"

PyTypeObject *Loan_Type, *MessageLoan_Type;

typedef struct {
    PyObject_HEAD
    Writer *writer;
    lunar_chunk *chunk; /* one reference is ours until the last view is gone */
    Py_ssize_t size_bytes;
    Py_ssize_t exports;
    PyObject *view; /* a weak reference: the view keeps the loan, and nothing would ever end that circle */
    int over; /* published or discarded */
    /* Of a MessageLoan, else NULL. */
    PyObject *encode; /* the capsule that the encoder is in */
    const lunar_encoder *encoder;
    PyObject *reserved; /* until it is written */
    void *lent;         /* to be frozen; only while exports > 0, as our message, which holds the export, holds us */
} Loan;

static PyObject *loan_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"writer", "size_bytes", NULL};
    Writer *writer;
    Py_ssize_t size_bytes;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O!n", names, Writer_Type, &writer, &size_bytes))
        return NULL;
    return type == Loan_Type ? loan_make(writer, size_bytes) : NULL; /* it cannot be subclassed */
}

static Loan *make(PyTypeObject *type, Writer *writer, Py_ssize_t size_bytes) {
    Loan *self = PyObject_GC_New(Loan, type);
    if (!self)
        return NULL;
    Py_INCREF(writer);
    self->writer = writer;
    self->chunk = NULL;
    self->size_bytes = size_bytes;
    self->exports = 0;
    self->view = NULL;
    self->over = 0;
    self->encode = self->reserved = NULL;
    self->encoder = NULL;
    self->lent = NULL;
    PyObject_GC_Track(self);
    return self;
}

PyObject *loan_make(Writer *writer, Py_ssize_t size_bytes) {
    if (size_bytes >= 0)
        return (PyObject *)make(Loan_Type, writer, size_bytes);
    PyErr_SetString(PyExc_ValueError, "size_bytes must not be negative");
    return NULL;
}

PyObject *loan_make_message(Writer *writer, PyObject *const *values, PyObject *names) {
    const lunar_encoder *encoder = writer->encoder;
    PyObject *encode = writer->encode; /* the values' own code may run, so the encoder is kept */
    Py_INCREF(encode);
    Py_ssize_t size_bytes = 0;
    PyObject *reserved = encoder->reserve(encoder->context, values, names, &size_bytes);
    Loan *self = reserved ? make(MessageLoan_Type, writer, size_bytes) : NULL;
    if (!self) {
        Py_XDECREF(reserved);
        Py_DECREF(encode);
        return NULL;
    }
    self->encode = encode;
    self->encoder = encoder;
    self->reserved = reserved;
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
    self->lent = NULL;
    if (self->over)
        give_back(self);
}

static void finish(Loan *self);

/* A chunk to be filled: DONE, WOULD_BLOCK and why, FAILED. */
static int take_chunk(Loan *self, const char **why) {
    if (self->chunk || self->over) {
        PyErr_SetString(LunarError, "a loan is used once");
        return FAILED;
    }
    *why = "a reliable keep_all subscription has no room; use `async with`, which waits";
    int outcome = writer_has_room(self->writer); /* before the user fills it, rather than after */
    if (outcome != DONE)
        return outcome;
    *why = "every chunk of the publisher's pool is in use";
    self->writer->loans++;
    lunar_chunk *chunk = writer_allocate(self->writer, (size_t)self->size_bytes, &outcome);
    if (chunk && !self->chunk && !self->over) {
        self->chunk = chunk;
        return DONE;
    }
    if (chunk) { /* while the pool grew, somebody else has entered this loan */
        writer_release_chunk(self->writer, chunk);
        PyErr_SetString(LunarError, "a loan is used once");
        outcome = FAILED;
    }
    self->writer->loans--;
    if (self->writer->closing)
        writer_finish_close(self->writer);
    return outcome;
}

static PyObject *open_view(Loan *self) {
    PyObject *view = PyMemoryView_FromObject((PyObject *)self);
    if (view && (self->view = PyWeakref_NewRef(view, NULL)))
        return view;
    self->over = 1;
    Py_XDECREF(view); /* gives the chunk back if there was a view */
    give_back(self);
    return NULL;
}

/* The message holds the export, and so this loan. */
static PyObject *open_message(Loan *self) {
    Py_buffer memory;
    PyObject *reserved = self->reserved;
    self->reserved = NULL;
    if (PyBuffer_FillInfo(&memory, (PyObject *)self, self->chunk->address, self->size_bytes, 0, PyBUF_WRITABLE) < 0) {
        Py_DECREF(reserved);
        finish(self);
        return NULL;
    }
    self->exports++;
    void *lent;
    PyObject *message = self->encoder->lend(self->encoder->context, reserved, &memory, &lent);
    Py_DECREF(reserved);
    if (message && self->over) { /* the values' own code has left the block */
        PyErr_SetString(LunarError, "the loan is not open");
        self->encoder->freeze(lent);
        Py_CLEAR(message);
    }
    if (message)
        self->lent = lent;
    else
        finish(self);
    return message;
}

int loan_open(PyObject *object, PyObject **value, const char **why) {
    Loan *self = (Loan *)object;
    *value = NULL;
    int outcome = take_chunk(self, why);
    if (outcome != DONE)
        return outcome;
    *value = self->encode ? open_message(self) : open_view(self);
    return *value ? DONE : FAILED;
}

static void freeze(Loan *self) {
    if (self->lent)
        self->encoder->freeze(self->lent);
    self->lent = NULL;
}

static void finish(Loan *self) {
    self->over = 1;
    freeze(self);
    Py_CLEAR(self->reserved);
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

static PyObject *loan_enter(PyObject *self, PyObject *Py_UNUSED(ignored)) {
    PyObject *value;
    const char *why;
    if (loan_open(self, &value, &why) == WOULD_BLOCK)
        PyErr_SetString(WouldBlock, why);
    return value;
}

/* Is there no exception? -1: that was not asked. */
static int left_well(PyObject *const *args, Py_ssize_t count) {
    if (count == 3)
        return args[0] == Py_None;
    PyErr_Format(PyExc_TypeError, "leaving a block takes 3 arguments, %zd were given", count);
    return -1;
}

static PyObject *loan_exit(Loan *self, PyObject *const *args, Py_ssize_t count) {
    int well = left_well(args, count);
    if (well < 0)
        return NULL;
    freeze(self);
    if (well) {
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

static PyObject *loan_aexit(Loan *self, PyObject *const *args, Py_ssize_t count) {
    int well = left_well(args, count);
    if (well < 0)
        return NULL;
    freeze(self);
    if (well)
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
    Py_VISIT(self->encode);
    Py_VISIT(self->reserved);
    Py_VISIT(Py_TYPE(self));
    return 0;
}

static int loan_clear(Loan *self) {
    self->over = 1;
    self->lent = NULL; /* what freezes it goes, too */
    Py_CLEAR(self->view);
    Py_CLEAR(self->reserved);
    self->encoder = NULL;
    Py_CLEAR(self->encode);
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
                                {"__exit__", (PyCFunction)(void (*)(void))loan_exit, METH_FASTCALL, NULL},
                                {"__aenter__", (PyCFunction)loan_aenter, METH_NOARGS, NULL},
                                {"__aexit__", (PyCFunction)(void (*)(void))loan_aexit, METH_FASTCALL, NULL},
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

/* As a Loan, but what it lends is a message, and nobody sees the bytes. */
static PyMethodDef message_methods[] = {
    {"__class_getitem__", (PyCFunction)Py_GenericAlias, METH_O | METH_CLASS, NULL},
    {"__enter__", (PyCFunction)loan_enter, METH_NOARGS, NULL},
    {"__exit__", (PyCFunction)(void (*)(void))loan_exit, METH_FASTCALL, NULL},
    {"__aenter__", (PyCFunction)loan_aenter, METH_NOARGS, NULL},
    {"__aexit__", (PyCFunction)(void (*)(void))loan_aexit, METH_FASTCALL, NULL},
    {NULL}};
static PyType_Slot message_slots[] = {
    {Py_tp_doc, "Yields a message in the publisher's memory; leaving the block publishes it, an exception discards it.\n\n"
                "Made by `Publisher.loan`. Scalars and structs can be set in the block, and vectors of scalars filled through\n"
                "their arrays or set to as many others; what has no fixed size (strings, nested tables, lists) has to be given\n"
                "when the loan is made. A vector given as a number has that many elements, of any value until they are filled.\n"
                "After the block the message is read-only; an array that was taken from it is not, and keeps its memory from\n"
                "being used again. Use it with `with`, which raises WouldBlock where it would have to wait, or `async with`,\n"
                "which waits."},
    {Py_tp_dealloc, loan_dealloc},
    {Py_tp_traverse, loan_traverse},
    {Py_tp_clear, loan_clear},
    {Py_tp_methods, message_methods},
    {Py_bf_releasebuffer, loan_releasebuffer},
    {0, NULL}};
static PyType_Spec message_spec = {.name = "lunar._native._bus.MessageLoan",
                                   .basicsize = sizeof(Loan),
                                   .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE |
                                            Py_TPFLAGS_DISALLOW_INSTANTIATION,
                                   .slots = message_slots};

int loan_register(PyObject *module) {
    return register_type(module, &spec, NULL, &Loan_Type) ||
           register_type(module, &message_spec, NULL, &MessageLoan_Type);
}
