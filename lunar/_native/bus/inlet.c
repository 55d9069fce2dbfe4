/* Inlet: where what comes from another host is laid into the queues of this process's subscriptions.
 *
 * While it is shut nothing is taken.  What is no sample of its type is dropped (`check`).  What its owner has to know
 * (there was no room; more was dropped before the engine; the newest of what was published before has come) it is told
 * once for each, by `noted`.
 */
#include "bus.h"

static PyTypeObject *Inlet_Type;

enum { FULL = 1, DROPPED = 2, NEWEST = 3 };

typedef struct {
    PyObject_HEAD
    Writer *writer; /* NULL: shut for good, or not opened yet */
    PyObject *noted, *check;
    char is_open;
    unsigned long long newest, dropped;
} Inlet;

/* A chunk in which a sample is put together. */
typedef struct {
    Writer *writer;
    lunar_chunk *chunk;
} Memory;

static PyObject *inlet_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"noted", NULL};
    PyObject *noted;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O", names, &noted))
        return NULL;
    Inlet *self = PyObject_GC_New(Inlet, type);
    if (!self)
        return NULL;
    memset((char *)self + sizeof(PyObject), 0, sizeof *self - sizeof(PyObject));
    Py_INCREF(noted);
    self->noted = noted;
    PyObject_GC_Track(self);
    return (PyObject *)self;
}

static int note(Inlet *self, int what) {
    PyObject *result = PyObject_CallFunction(self->noted, "i", what);
    Py_XDECREF(result);
    return result ? 0 : -1;
}

/* Is it a sample of its type?  -1 exception. */
static int passes(Inlet *self, const lunar_sample_view *sample) {
    if (!self->check || self->check == Py_None)
        return 1;
    PyObject *bytes = PyMemoryView_FromMemory((char *)sample->bytes, (Py_ssize_t)sample->size_bytes, PyBUF_READ);
    if (!bytes)
        return -1;
    PyObject *check = self->check; /* another may take its place */
    Py_INCREF(check);
    PyObject *result = PyObject_CallFunctionObjArgs(check, bytes, NULL);
    Py_DECREF(check);
    Py_DECREF(bytes);
    int passed = result ? PyObject_IsTrue(result) : -1;
    Py_XDECREF(result);
    return passed;
}

/* 1 to be relayed, 0 no room, -1 exception, 2 to be dropped. */
static int admit(Inlet *self, const lunar_sample_view *sample) {
    if (!self->is_open || !self->writer)
        return 0;
    if (sample->sequence <= self->writer->sequence)
        return 2; /* it came before */
    int passed = passes(self, sample);
    if (passed <= 0)
        return passed ? -1 : 2;
    return self->is_open && self->writer ? 1 : 0;
}

static uint64_t monotonic_ns(int64_t wall_ns) {
    int64_t time_ns = wall_ns - (int64_t)wall_offset_ns();
    return time_ns > 0 ? (uint64_t)time_ns : 1;
}

/* `before`: the number of the sample that was relayed before. */
static int relayed(Inlet *self, int outcome, const lunar_sample_view *sample, uint64_t before) {
    if (outcome == FAILED)
        return -1;
    if (outcome == WOULD_BLOCK)
        return note(self, FULL);
    if (sample->dropped > self->dropped) {
        self->dropped = sample->dropped;
        if (note(self, DROPPED) < 0)
            return -1;
    }
    /* Or a later one, if the newest itself was none that could be relayed. */
    return before < self->newest && sample->sequence >= self->newest && note(self, NEWEST) < 0 ? -1 : 1;
}

static int deliver(PyObject *object, const lunar_sample_view *sample) {
    Inlet *self = (Inlet *)object;
    int admitted = admit(self, sample);
    if (admitted != 1)
        return admitted == 2 ? 1 : admitted;
    Writer *writer = self->writer;
    uint64_t before = writer->sequence;
    Py_INCREF(writer);
    int outcome = writer_relay(writer, sample->bytes, sample->size_bytes, sample->sequence,
                               monotonic_ns(sample->source_time_ns));
    Py_DECREF(writer);
    return relayed(self, outcome, sample, before);
}

/* deliver(parcel) -> False if it was not taken. */
static PyObject *inlet_deliver(Inlet *self, PyObject *argument) {
    if (!PyObject_TypeCheck(argument, Parcel_Type)) {
        PyErr_SetString(PyExc_TypeError, "not a Parcel");
        return NULL;
    }
    Parcel *parcel = (Parcel *)argument;
    Py_buffer view;
    if (PyObject_GetBuffer(parcel->payload, &view, PyBUF_SIMPLE) < 0)
        return NULL;
    lunar_sample_view sample = {.bytes = view.buf,
                                .size_bytes = (size_t)view.len,
                                .sequence = parcel->sequence,
                                .dropped = parcel->dropped,
                                .source_time_ns = parcel->source_time_ns};
    int outcome = deliver((PyObject *)self, &sample);
    PyBuffer_Release(&view);
    return outcome < 0 ? NULL : PyBool_FromLong(outcome);
}

/* Reassembly ------------------------------------------------------------------------------------------------ */

static void abandon(void *pointer) {
    Memory *memory = pointer;
    writer_release_chunk(memory->writer, memory->chunk);
    memory->writer->loans--;
    if (memory->writer->closing)
        writer_finish_close(memory->writer);
    Py_DECREF(memory->writer);
    PyMem_Free(memory);
}

static void *begin(PyObject *object, size_t size_bytes, void **pointer, bool *failed) {
    Inlet *self = (Inlet *)object;
    *failed = false;
    if (!self->is_open || !self->writer || !source_is_open(&self->writer->source))
        return NULL;
    Writer *writer = self->writer;
    Memory *memory = PyMem_Malloc(sizeof *memory);
    if (!memory) {
        *failed = true;
        PyErr_NoMemory();
        return NULL;
    }
    Py_INCREF(writer);
    writer->loans++; /* growing lets others run; nobody may unmap the pool meanwhile, nor until it is let go of */
    int outcome;
    lunar_chunk *chunk = writer_allocate(writer, size_bytes, &outcome);
    if (!chunk) {
        *failed = outcome == FAILED;
        writer->loans--;
        if (writer->closing)
            writer_finish_close(writer);
        Py_DECREF(writer);
        PyMem_Free(memory);
        return NULL;
    }
    *memory = (Memory){writer, chunk};
    *pointer = memory;
    return chunk->address;
}

static int commit(PyObject *object, void *pointer, const lunar_sample_view *view) {
    Inlet *self = (Inlet *)object;
    Memory *memory = pointer;
    lunar_sample_view sample = *view;
    sample.bytes = memory->chunk->address;
    int admitted = admit(self, &sample);
    if (admitted == 2) {
        abandon(memory);
        return 1;
    }
    if (admitted != 1)
        return admitted;
    if (self->writer != memory->writer) { /* it was parked meanwhile: the subscriptions' queues are others */
        int taken = deliver(object, &sample);
        if (taken == 1)
            abandon(memory);
        return taken;
    }
    uint64_t before = memory->writer->sequence;
    memory->chunk->references++; /* for the samples; ours goes with the memory */
    int outcome = writer_relay_chunk(memory->writer, memory->chunk, (uint32_t)sample.size_bytes, sample.sequence,
                                     monotonic_ns(sample.source_time_ns));
    if (outcome != DONE)
        writer_release_chunk(memory->writer, memory->chunk);
    outcome = relayed(self, outcome, &sample, before);
    if (outcome == 1)
        abandon(memory);
    return outcome;
}

/* The type --------------------------------------------------------------------------------------------------- */

static PyObject *get_writer(Inlet *self, void *Py_UNUSED(closure)) {
    PyObject *writer = self->writer ? (PyObject *)self->writer : Py_None;
    Py_INCREF(writer);
    return writer;
}

static int set_writer(Inlet *self, PyObject *value, void *Py_UNUSED(closure)) {
    bool is_writer = value && PyObject_TypeCheck(value, Writer_Type);
    if (!is_writer && value != Py_None) {
        PyErr_SetString(PyExc_TypeError, "a Writer or None");
        return -1;
    }
    if (is_writer)
        Py_INCREF(value);
    Py_XSETREF(self->writer, is_writer ? (Writer *)value : NULL);
    return 0;
}

static int inlet_traverse(Inlet *self, visitproc visit, void *arg) {
    Py_VISIT(self->writer);
    Py_VISIT(self->noted);
    Py_VISIT(self->check);
    Py_VISIT(Py_TYPE(self));
    return 0;
}

static int inlet_clear(Inlet *self) {
    self->is_open = 0;
    Py_CLEAR(self->writer);
    Py_CLEAR(self->check);
    return 0;
}

static void inlet_dealloc(Inlet *self) {
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    inlet_clear(self);
    Py_DECREF(self->noted);
    PyObject_GC_Del(self);
    Py_DECREF(type);
}

static PyMemberDef members[] = {
    {"is_open", T_BOOL, offsetof(Inlet, is_open), 0, "Whether it takes anything."},
    {"newest", T_ULONGLONG, offsetof(Inlet, newest), 0, "Number of the newest that was published before the stream began."},
    {"dropped", T_ULONGLONG, offsetof(Inlet, dropped), 0, "How many were dropped before they came to the engine."},
    {"check", T_OBJECT, offsetof(Inlet, check), 0, "Is called with the bytes; what it returns false for is dropped."},
    {NULL}};
static PyGetSetDef properties[] = {
    {"writer", (getter)get_writer, (setter)set_writer, "What lays samples into the queues.", NULL}, {NULL}};
static PyMethodDef methods[] = {
    {"deliver", (PyCFunction)inlet_deliver, METH_O, "Takes a parcel; False if there is no room, or it is not open."}, {NULL}};
static PyType_Slot slots[] = {{Py_tp_new, inlet_new},         {Py_tp_dealloc, inlet_dealloc}, {Py_tp_traverse, inlet_traverse},
                              {Py_tp_clear, inlet_clear},     {Py_tp_methods, methods},       {Py_tp_members, members},
                              {Py_tp_getset, properties},     {0, NULL}};
static PyType_Spec spec = {.name = "lunar._native._bus.Inlet",
                           .basicsize = sizeof(Inlet),
                           .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
                           .slots = slots};

static lunar_bus_api api = {.version = LUNAR_ENGINE_API_VERSION,
                            .take = outlet_take_view,
                            .deliver = deliver,
                            .begin = begin,
                            .commit = commit,
                            .abandon = abandon};

int inlet_register(PyObject *module) {
    if (register_type(module, &spec, NULL, &Inlet_Type) || PyModule_AddIntConstant(module, "INLET_FULL", FULL) ||
        PyModule_AddIntConstant(module, "INLET_DROPPED", DROPPED) ||
        PyModule_AddIntConstant(module, "INLET_NEWEST", NEWEST))
        return -1;
    PyObject *capsule = PyCapsule_New(&api, LUNAR_BUS_CAPSULE, NULL);
    if (!capsule || PyModule_AddObject(module, "engine_api", capsule) < 0) {
        Py_XDECREF(capsule);
        return -1;
    }
    return 0;
}
