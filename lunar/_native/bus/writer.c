/* Writer: a publisher's side as a type; publishing.c is how it publishes. */
#include "bus.h"

PyTypeObject *Writer_Type;

static PyObject *writer_publish_method(Writer *self, PyObject *message) {
    return operation_new(&self->source, PUBLISH, message, 0);
}

static PyObject *writer_publish_nowait(Writer *self, PyObject *message) {
    int outcome = writer_publish(self, message);
    if (outcome == WOULD_BLOCK)
        PyErr_SetString(WouldBlock, "a reliable keep_all subscription has no room; statistics() says which");
    if (outcome != DONE)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *as_list(PyObject *messages) {
    if (!PyList_Check(messages))
        return PySequence_List(messages);
    Py_INCREF(messages);
    return messages;
}

static PyObject *writer_publish_many_method(Writer *self, PyObject *argument) {
    PyObject *messages = as_list(argument);
    if (!messages)
        return NULL;
    Py_ssize_t done = writer_publish_many(self, messages, 0);
    Py_DECREF(messages);
    return done < 0 ? NULL : PyLong_FromSsize_t(done);
}

static PyObject *writer_publish_all(Writer *self, PyObject *argument) {
    PyObject *messages = as_list(argument);
    if (!messages)
        return NULL;
    PyObject *operation = operation_new(&self->source, PUBLISH_ALL, messages, 0);
    Py_DECREF(messages);
    return operation;
}

/* Bytes are loaned by their size, messages of a class by their fields. */
static PyObject *writer_loan(Writer *self, PyObject *const *args, Py_ssize_t count, PyObject *names) {
    if (self->encoder && count == 0)
        return loan_make_message(self, args, names);
    if (self->encoder || count != 1 || names) {
        PyErr_SetString(PyExc_TypeError, self->encoder ? "loan() takes the fields of the message by their names"
                                                       : "loan() takes the size in bytes, and nothing else");
        return NULL;
    }
    Py_ssize_t size_bytes = PyNumber_AsSsize_t(args[0], PyExc_OverflowError);
    return size_bytes == -1 && PyErr_Occurred() ? NULL : loan_make(self, size_bytes);
}

static PyObject *writer_publish_blocking(Writer *self, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"message", "timeout_s", NULL};
    PyObject *message, *timeout_s = Py_None;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|O", names, &message, &timeout_s))
        return NULL;
    return source_run_blocking(&self->source, PUBLISH, message, 0, timeout_s);
}

/* _attach(match, replay) -> the sequence number before the first sample it will get. */
static PyObject *writer_attach(Writer *self, PyObject *args) {
    WriterMatch *match;
    unsigned int history;
    if (!PyArg_ParseTuple(args, "O!I", WriterMatch_Type, &match, &history))
        return NULL;
    if (writer_is_closed(self))
        return NULL;
    if (self->count == self->capacity) {
        Py_ssize_t capacity = self->capacity ? 2 * self->capacity : 4;
        WriterMatch **grown = PyMem_Realloc(self->matches, (size_t)capacity * sizeof *grown);
        if (!grown)
            return PyErr_NoMemory();
        self->matches = grown;
        self->capacity = capacity;
    }
    Py_INCREF(match);
    match->open = 1;
    self->matches[self->count++] = match;
    if (history > match->queue.depth)
        history = match->queue.depth;
    uint64_t before = self->sequence - (self->history_count < history ? self->history_count : history);
    writer_replay(self, self->count - 1, history);
    lunar_queue_show(&match->queue);
    if (self->source.waiting) /* whoever waits for room waits for this one, too */
        writer_set_waiting(self, self->source.waiter->index, 1);
    return PyLong_FromUnsignedLongLong(before);
}

static PyObject *writer_detach(Writer *self, PyObject *argument) {
    for (Py_ssize_t i = 0; i < self->count; i++)
        if ((PyObject *)self->matches[i] == argument) {
            writer_drop_match(self, i);
            break;
        }
    Py_RETURN_NONE;
}

/* _add_segment(fd, size_bytes, size_class) -> index; maps it, the descriptor stays the caller's. */
static PyObject *writer_add_segment(Writer *self, PyObject *args) {
    int fd;
    Py_ssize_t size_bytes;
    unsigned int size_class;
    if (!PyArg_ParseTuple(args, "inI", &fd, &size_bytes, &size_class))
        return NULL;
    if (size_class >= LUNAR_POOL_CLASSES || size_bytes <= 0) {
        PyErr_SetString(PyExc_ValueError, "no such size class");
        return NULL;
    }
    void *address = NULL;
    if (writer_is_closed(self) || raise_errno(lunar_memory_map(fd, (size_t)size_bytes, 1, 0, &address), "map a segment"))
        return NULL;
    int index = lunar_pool_add_segment(&self->pool, address, (size_t)size_bytes, size_class);
    if (index < 0)
        lunar_memory_unmap(address, (size_t)size_bytes);
    return raise_errno(index, "add a segment to the pool") ? NULL : PyLong_FromLong(index);
}

static PyObject *writer_reported(Writer *self, PyObject *Py_UNUSED(ignored)) {
    self->lost_reported = 0;
    Py_RETURN_NONE;
}

static PyObject *writer_next_segment_bytes(Writer *self, PyObject *argument) {
    unsigned long size_class = PyLong_AsUnsignedLong(argument);
    if (PyErr_Occurred())
        return NULL;
    if (size_class >= LUNAR_POOL_CLASSES) {
        PyErr_SetString(PyExc_ValueError, "no such size class");
        return NULL;
    }
    return PyLong_FromSize_t(lunar_pool_next_segment_bytes(&self->pool, (uint32_t)size_class));
}

/* Manual liveliness: publishing or asserting stamps every match. */
static PyObject *writer_assert_alive(Writer *self, PyObject *Py_UNUSED(ignored)) {
    uint64_t time_ns = now_ns();
    if (writer_is_closed(self))
        return NULL;
    for (Py_ssize_t i = 0; i < self->count; i++)
        __atomic_store_n(&self->matches[i]->queue.shared->alive_ns, time_ns, __ATOMIC_RELAXED);
    self->newest_ns = time_ns;
    Py_RETURN_NONE;
}

void writer_finish_close(Writer *self) {
    if (self->loans == 0) {
        lunar_pool_close(&self->pool);
        self->closing = 0;
    }
}

static void close_all(Writer *self) {
    self->source.closed = 1;
    while (self->count)
        writer_drop_match(self, self->count - 1);
    self->history_depth = self->history_count = 0;
    PyMem_Free(self->history);
    self->history = NULL;
    self->closing = 1;
}

static PyObject *writer_close(Writer *self, PyObject *Py_UNUSED(ignored)) {
    close_all(self);
    writer_finish_close(self); /* or, with a loan out, when that is over */
    Py_CLEAR(self->source.spare);
    Py_CLEAR(self->on_fault);
    Py_CLEAR(self->on_grow);
    Py_CLEAR(self->on_lost);
    Py_RETURN_NONE;
}

static int writer_init(Writer *self, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"encode",   "spin_ns", "history_depth", "largest_bytes",
                            "on_fault", "on_grow", "on_lost",       NULL};
    PyObject *encode, *on_fault, *on_grow, *on_lost;
    unsigned long long spin_ns;
    unsigned int history_depth;
    Py_ssize_t largest_bytes;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OKInOOO", names, &encode, &spin_ns, &history_depth, &largest_bytes,
                                     &on_fault, &on_grow, &on_lost))
        return -1;
    self->largest_bytes = (size_t)largest_bytes < LUNAR_MAX_PAYLOAD_BYTES ? (size_t)largest_bytes : LUNAR_MAX_PAYLOAD_BYTES;
    if (history_depth && !(self->history = PyMem_Calloc(history_depth, sizeof *self->history))) {
        PyErr_NoMemory();
        return -1;
    }
    self->history_depth = history_depth;
    self->source.forks = forks_so_far;
    self->source.spin_ns = spin_ns;
    if (encode != Py_None) {
        if (PyCapsule_CheckExact(encode) && !(self->encoder = PyCapsule_GetPointer(encode, LUNAR_ENCODER)))
            return -1;
        Py_INCREF(encode);
        Py_XSETREF(self->encode, encode);
    }
    Py_INCREF(on_fault);
    Py_XSETREF(self->on_fault, on_fault);
    Py_INCREF(on_grow);
    Py_XSETREF(self->on_grow, on_grow);
    Py_INCREF(on_lost);
    Py_XSETREF(self->on_lost, on_lost);
    return 0;
}

static int writer_traverse(Writer *self, visitproc visit, void *arg) {
    Py_VISIT(self->encode);
    Py_VISIT(self->on_fault);
    Py_VISIT(self->on_grow);
    Py_VISIT(self->on_lost);
    Py_VISIT(self->source.spare);
    Py_VISIT(Py_TYPE(self));
    return 0;
}

static int writer_clear(Writer *self) {
    self->encoder = NULL;
    Py_CLEAR(self->encode);
    Py_CLEAR(self->on_fault);
    Py_CLEAR(self->on_grow);
    Py_CLEAR(self->on_lost);
    while (self->faulted) {
        WriterMatch *match = self->faulted;
        self->faulted = match->next_faulted;
        Py_DECREF(match);
    }
    Py_CLEAR(self->source.spare);
    return 0;
}

static void writer_dealloc(Writer *self) {
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    writer_clear(self);
    close_all(self);
    lunar_pool_close(&self->pool); /* a loan keeps its writer, so none is out */
    PyMem_Free(self->matches);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

static PyMemberDef members[] = {
    {"_sequence", T_ULONGLONG, offsetof(Writer, sequence), 0, NULL},
    {"_closed", T_INT, offsetof(Writer, source.closed), READONLY, NULL},
    {"_published", T_ULONGLONG, offsetof(Writer, published), READONLY, NULL},
    {"_published_bytes", T_ULONGLONG, offsetof(Writer, published_bytes), READONLY, NULL},
    {"_waits", T_ULONGLONG, offsetof(Writer, blocked), READONLY, NULL},
    {"_lost", T_ULONGLONG, offsetof(Writer, lost), READONLY, NULL},
    {"_newest_ns", T_ULONGLONG, offsetof(Writer, newest_ns), READONLY, NULL},
    {"_pool_bytes", T_PYSSIZET, offsetof(Writer, pool.size_bytes), READONLY, NULL},
    {NULL}};
static PyMethodDef methods[] = {
    {"__class_getitem__", (PyCFunction)Py_GenericAlias, METH_O | METH_CLASS, NULL},
    {"publish", (PyCFunction)writer_publish_method, METH_O, "Await until the message is published."},
    {"publish_nowait", (PyCFunction)writer_publish_nowait, METH_O, "Publish now, or raise WouldBlock."},
    {"publish_blocking", (PyCFunction)(void (*)(void))writer_publish_blocking, METH_VARARGS | METH_KEYWORDS,
     "Publish from a thread without a loop, waiting for room for at most timeout_s."},
    {"publish_many", (PyCFunction)writer_publish_many_method, METH_O,
     "Publish a burst without waiting; how many were accepted, from the first."},
    {"publish_all", (PyCFunction)writer_publish_all, METH_O, "Await until every message is published."},
    {"loan", (PyCFunction)(void (*)(void))writer_loan, METH_FASTCALL | METH_KEYWORDS,
     "loan(size_bytes): lend a piece of the publisher's memory, to be filled in place and published without a copy.\n\n"
     "As a context manager it gives a writable memoryview of `size_bytes`, whose content is undefined. Leaving the block\n"
     "publishes it; an exception discards it. `with` raises WouldBlock where `async with` waits. Do not write through a\n"
     "view kept beyond the block: subscriptions may be reading. Entering raises ResourceExhausted if it is larger than the\n"
     "pool may become or the pool is full, and ClosedError if the publisher is closed.\n\n"
     "loan(**fields), of a publisher of messages of a class: lend a message of these values; see MessageLoan. Of a vector\n"
     "of scalars also its length will do. Raises FieldError for a value that is not what its field holds."},
    {"_attach", (PyCFunction)writer_attach, METH_VARARGS, NULL},
    {"_detach", (PyCFunction)writer_detach, METH_O, NULL},
    {"_add_segment", (PyCFunction)writer_add_segment, METH_VARARGS, NULL},
    {"_next_segment_bytes", (PyCFunction)writer_next_segment_bytes, METH_O, NULL},
    {"_assert_alive", (PyCFunction)writer_assert_alive, METH_NOARGS, NULL},
    {"_reported", (PyCFunction)writer_reported, METH_NOARGS, NULL},
    {"_close", (PyCFunction)writer_close, METH_NOARGS, NULL},
    {NULL}};
static PyType_Slot slots[] = {{Py_tp_init, writer_init},         {Py_tp_dealloc, writer_dealloc},
                              {Py_tp_traverse, writer_traverse}, {Py_tp_clear, writer_clear},
                              {Py_tp_methods, methods},          {Py_tp_members, members},
                              {0, NULL}};
static PyType_Spec spec = {.name = "lunar._native._bus.Writer",
                           .basicsize = sizeof(Writer),
                           .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
                           .slots = slots};

int writer_register(PyObject *module) {
    return register_type(module, &spec, NULL, &Writer_Type);
}
