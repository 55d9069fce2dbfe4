/* Mapping: shared memory as an object.  SegmentTable: a publisher's segments, as one process maps them. */
#include "bus.h"

PyTypeObject *Mapping_Type, *SegmentTable_Type;

static PyObject *mapping_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"fd", "size_bytes", "writable", "received", NULL};
    int fd, writable, received;
    Py_ssize_t size_bytes;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "inpp", names, &fd, &size_bytes, &writable, &received))
        return NULL;
    int error = size_bytes <= 0 ? -EINVAL : 0;
    if (!error && received)
        error = lunar_memory_check(fd, (size_t)size_bytes);
    void *address = NULL;
    if (!error)
        error = lunar_memory_map(fd, (size_t)size_bytes, writable, received, &address);
    if (raise_errno(error, "map shared memory"))
        return NULL;
    Mapping *self = PyObject_New(Mapping, type);
    if (!self) {
        lunar_memory_unmap(address, (size_t)size_bytes);
        return NULL;
    }
    self->address = address;
    self->size_bytes = (size_t)size_bytes;
    self->writable = writable;
    return (PyObject *)self;
}

static void mapping_dealloc(Mapping *self) {
    PyTypeObject *type = Py_TYPE(self);
    lunar_memory_unmap(self->address, self->size_bytes);
    PyObject_Free(self);
    Py_DECREF(type);
}

/* The view keeps the mapping; for control pages and tests, never on the path of a message. */
static int mapping_getbuffer(Mapping *self, Py_buffer *view, int flags) {
    return PyBuffer_FillInfo(view, (PyObject *)self, self->address, (Py_ssize_t)self->size_bytes, !self->writable,
                             flags);
}

static PyMemberDef mapping_members[] = {{"size_bytes", T_PYSSIZET, offsetof(Mapping, size_bytes), READONLY, NULL},
                                        {NULL}};
static PyType_Slot mapping_slots[] = {{Py_tp_new, mapping_new},
                                      {Py_tp_dealloc, mapping_dealloc},
                                      {Py_tp_members, mapping_members},
                                      {Py_bf_getbuffer, mapping_getbuffer},
                                      {0, NULL}};
static PyType_Spec mapping_spec = {.name = "lunar._native._bus.Mapping",
                                   .basicsize = sizeof(Mapping),
                                   .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
                                   .slots = mapping_slots};

static PyObject *table_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    if (PyTuple_Size(args) || (kwargs && PyDict_Size(kwargs))) {
        PyErr_SetString(PyExc_TypeError, "SegmentTable takes no arguments");
        return NULL;
    }
    SegmentTable *self = PyObject_New(SegmentTable, type);
    if (self) {
        self->segments = NULL;
        self->count = 0;
    }
    return (PyObject *)self;
}

static void table_dealloc(SegmentTable *self) {
    PyTypeObject *type = Py_TYPE(self);
    for (uint32_t i = 0; i < self->count; i++)
        Py_XDECREF(self->segments[i]);
    PyMem_Free(self->segments);
    PyObject_Free(self);
    Py_DECREF(type);
}

static PyObject *table_add(SegmentTable *self, PyObject *args) {
    unsigned int index;
    Mapping *mapping;
    if (!PyArg_ParseTuple(args, "IO!", &index, Mapping_Type, &mapping))
        return NULL;
    if (index >= LUNAR_MAX_SEGMENTS || (index < self->count && self->segments[index])) {
        raise_errno(-EPROTO, "add a segment that is out of range or already there");
        return NULL;
    }
    if (index >= self->count) {
        Mapping **grown = PyMem_Realloc(self->segments, (index + 1) * sizeof *grown);
        if (!grown)
            return PyErr_NoMemory();
        for (uint32_t i = self->count; i <= index; i++)
            grown[i] = NULL;
        self->segments = grown;
        self->count = index + 1;
    }
    Py_INCREF(mapping);
    self->segments[index] = mapping;
    Py_RETURN_NONE;
}

static PyMethodDef table_methods[] = {
    {"add", (PyCFunction)table_add, METH_VARARGS, "add(index, mapping): a segment has arrived."}, {NULL}};
static PyType_Slot table_slots[] = {
    {Py_tp_new, table_new}, {Py_tp_dealloc, table_dealloc}, {Py_tp_methods, table_methods}, {0, NULL}};
static PyType_Spec table_spec = {.name = "lunar._native._bus.SegmentTable",
                                 .basicsize = sizeof(SegmentTable),
                                 .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
                                 .slots = table_slots};

int mapping_register(PyObject *module) {
    return register_type(module, &mapping_spec, NULL, &Mapping_Type) ||
           register_type(module, &table_spec, NULL, &SegmentTable_Type);
}
