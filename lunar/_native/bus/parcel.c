/* Parcel: a sample on its way between hosts.  Outlet: takes a publisher's samples off a queue as parcels. */
#include "bus.h"

PyTypeObject *Parcel_Type, *Outlet_Type;

/* Parcel --------------------------------------------------------------------------------------------------- */

static PyObject *parcel_make(PyTypeObject *type, uint64_t sequence, int64_t time_ns, uint64_t dropped, PyObject *payload) {
    Parcel *self = PyObject_New(Parcel, type);
    if (!self)
        return NULL;
    self->sequence = sequence;
    self->source_time_ns = time_ns;
    self->dropped = dropped;
    Py_INCREF(payload);
    self->payload = payload;
    return (PyObject *)self;
}

static PyObject *parcel_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"sequence_number", "source_time_ns", "dropped", "payload", NULL};
    unsigned long long sequence, dropped;
    long long time_ns;
    PyObject *payload;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "KLKO", names, &sequence, &time_ns, &dropped, &payload))
        return NULL;
    return parcel_make(type, sequence, time_ns, dropped, payload);
}

static void parcel_dealloc(Parcel *self) {
    PyTypeObject *type = Py_TYPE(self);
    Py_DECREF(self->payload);
    PyObject_Free(self);
    Py_DECREF(type);
}

static PyObject *parcel_repr(Parcel *self) {
    return PyUnicode_FromFormat("Parcel(sequence_number=%llu, source_time_ns=%lld, dropped=%llu, payload=%R)",
                                self->sequence, self->source_time_ns, self->dropped, self->payload);
}

static PyMemberDef parcel_members[] = {
    {"sequence_number", T_ULONGLONG, offsetof(Parcel, sequence), READONLY,
     "Counts the publisher's messages, from 1; grows within a stream, with gaps where samples were dropped before they "
     "came to the engine."},
    {"source_time_ns", T_LONGLONG, offsetof(Parcel, source_time_ns), READONLY,
     "When it was published; wall clock, nanoseconds since the epoch."},
    {"dropped", T_ULONGLONG, offsetof(Parcel, dropped), READONLY,
     "How many samples of this stream were dropped before they came to the engine, so far."},
    {"payload", T_OBJECT_EX, offsetof(Parcel, payload), READONLY, "A contiguous buffer of bytes."},
    {NULL}};
static PyType_Slot parcel_slots[] = {{Py_tp_new, parcel_new},
                                     {Py_tp_dealloc, parcel_dealloc},
                                     {Py_tp_repr, parcel_repr},
                                     {Py_tp_members, parcel_members},
                                     {0, NULL}};
static PyType_Spec parcel_spec = {.name = "lunar._native._bus.Parcel",
                                  .basicsize = sizeof(Parcel),
                                  .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
                                  .slots = parcel_slots};

/* Outlet --------------------------------------------------------------------------------------------------- */

typedef struct {
    PyObject_HEAD
    Reader *reader;
    unsigned long long last_sequence, dropped;
} Outlet;

static PyObject *outlet_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"reader", "last_sequence", NULL};
    Reader *reader;
    unsigned long long last_sequence;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O!K", names, Reader_Type, &reader, &last_sequence))
        return NULL;
    Outlet *self = PyObject_GC_New(Outlet, type);
    if (!self)
        return NULL;
    Py_INCREF(reader);
    self->reader = reader;
    self->last_sequence = last_sequence;
    self->dropped = 0;
    PyObject_GC_Track(self);
    return (PyObject *)self;
}

/* The next sample, counted; NULL if there is none, or an exception. */
static Sample *take_next(Outlet *self) {
    if (!source_is_open(&self->reader->source)) {
        source_refuse(&self->reader->source);
        return NULL;
    }
    Sample *sample = reader_take(self->reader, now_ns());
    if (sample) {
        self->dropped += sample->sequence - self->last_sequence - 1;
        self->last_sequence = sample->sequence;
    }
    return sample;
}

static PyObject *outlet_take(Outlet *self, PyObject *Py_UNUSED(ignored)) {
    Sample *sample = take_next(self);
    if (!sample) {
        if (PyErr_Occurred())
            return NULL;
        Py_RETURN_NONE;
    }
    int64_t time_ns = (int64_t)(sample->source_time_ns + wall_offset_ns());
    PyObject *parcel = parcel_make(Parcel_Type, sample->sequence, time_ns, self->dropped, (PyObject *)sample);
    Py_DECREF(sample);
    return parcel;
}

int outlet_take_view(PyObject *outlet, lunar_sample_view *view, PyObject **keeps) {
    if (!PyObject_TypeCheck(outlet, Outlet_Type)) {
        PyErr_SetString(PyExc_TypeError, "not an Outlet");
        return -1;
    }
    Outlet *self = (Outlet *)outlet;
    Sample *sample = take_next(self);
    if (!sample)
        return PyErr_Occurred() ? -1 : 0;
    *view = (lunar_sample_view){.bytes = sample->address,
                                .size_bytes = sample->size_bytes,
                                .sequence = sample->sequence,
                                .dropped = self->dropped,
                                .source_time_ns = (int64_t)(sample->source_time_ns + wall_offset_ns())};
    *keeps = (PyObject *)sample;
    return 1;
}

static int outlet_traverse(Outlet *self, visitproc visit, void *arg) {
    Py_VISIT(self->reader);
    Py_VISIT(Py_TYPE(self));
    return 0;
}

static int outlet_clear(Outlet *Py_UNUSED(self)) { return 0; } /* the reader breaks the cycle */

static void outlet_dealloc(Outlet *self) {
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    Py_DECREF(self->reader);
    PyObject_GC_Del(self);
    Py_DECREF(type);
}

static PyMemberDef outlet_members[] = {
    {"last_sequence", T_ULONGLONG, offsetof(Outlet, last_sequence), READONLY, "Of what was taken last."},
    {"dropped", T_ULONGLONG, offsetof(Outlet, dropped), READONLY, "How many were dropped before they could be taken."},
    {NULL}};
static PyMethodDef outlet_methods[] = {
    {"take", (PyCFunction)outlet_take, METH_NOARGS, "take() -> the next parcel, or None if there is none."}, {NULL}};
static PyType_Slot outlet_slots[] = {{Py_tp_new, outlet_new},           {Py_tp_dealloc, outlet_dealloc},
                                     {Py_tp_traverse, outlet_traverse}, {Py_tp_clear, outlet_clear},
                                     {Py_tp_members, outlet_members},   {Py_tp_methods, outlet_methods},
                                     {0, NULL}};
static PyType_Spec outlet_spec = {.name = "lunar._native._bus.Outlet",
                                  .basicsize = sizeof(Outlet),
                                  .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
                                  .slots = outlet_slots};

int parcel_register(PyObject *module) {
    return register_type(module, &parcel_spec, NULL, &Parcel_Type) ||
           register_type(module, &outlet_spec, NULL, &Outlet_Type);
}
