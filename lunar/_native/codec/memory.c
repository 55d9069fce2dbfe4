/* Memory: what messages look at, kept alive by every view. */
#include "codec.h"

PyTypeObject *Memory_Type;
static PyTypeObject *Slice_Type;

/* A part of a memory as a buffer, for NumPy. */
typedef struct {
    PyObject_HEAD
    Memory *memory;
    uint64_t at, size;
    bool writable;
} Slice;

Memory *memory_of(PyObject *exporter) {
    Memory *self = PyObject_GC_New(Memory, Memory_Type);
    if (!self)
        return NULL;
    self->owned = NULL;
    if (PyObject_GetBuffer(exporter, &self->buffer, PyBUF_SIMPLE) < 0) {
        self->buffer.obj = NULL;
        Py_DECREF(self);
        return NULL;
    }
    if (PyType_GetFlags(Py_TYPE(exporter)) & Py_TPFLAGS_HAVE_GC) /* it may mention a message of its bytes */
        PyObject_GC_Track(self);
    self->bytes = self->buffer.buf;
    self->size = (uint64_t)self->buffer.len;
    self->writable = false;
    if (self->size >= MAX_BYTES) {
        PyErr_Format(VerificationError, "%zd bytes: a FlatBuffer has less than 2 GiB", self->buffer.len);
        Py_DECREF(self);
        return NULL;
    }
    return self;
}

Memory *memory_lent(Py_buffer *buffer) {
    Memory *self = PyObject_GC_New(Memory, Memory_Type);
    if (!self) {
        PyBuffer_Release(buffer);
        return NULL;
    }
    self->owned = NULL;
    self->buffer = *buffer;
    self->bytes = buffer->buf;
    self->size = (uint64_t)buffer->len;
    self->writable = true;
    PyObject_GC_Track(self);
    return self;
}

Memory *memory_new(uint64_t size) {
    Memory *self = PyObject_GC_New(Memory, Memory_Type);
    if (!self)
        return NULL;
    self->buffer.obj = NULL;
    self->owned = PyMem_Calloc(1, size ? size : 1);
    self->bytes = self->owned;
    self->size = size;
    self->writable = true;
    if (!self->owned) {
        Py_DECREF(self);
        return (Memory *)PyErr_NoMemory();
    }
    return self;
}

Memory *memory_copy(const uint8_t *bytes, uint64_t size) {
    Memory *self = memory_new(size);
    if (self)
        memcpy(self->owned, bytes, size);
    return self;
}

static void memory_dealloc(Memory *self) {
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    if (self->owned)
        PyMem_Free(self->owned);
    else if (self->buffer.obj)
        PyBuffer_Release(&self->buffer);
    PyObject_GC_Del(self);
    Py_DECREF(type);
}

/* Never cleared: whoever still looks would look at nothing. A circle through an exporter is broken there. */
static int memory_traverse(Memory *self, visitproc visit, void *arg) {
    Py_VISIT(self->buffer.obj);
    Py_VISIT((PyObject *)Py_TYPE(self));
    return 0;
}

PyObject *memory_slice(Memory *memory, uint64_t at, uint64_t size, bool writable) {
    Slice *self = PyObject_GC_New(Slice, Slice_Type);
    if (!self)
        return NULL;
    Py_INCREF(memory);
    self->memory = memory;
    self->at = at;
    self->size = size;
    self->writable = writable;
    PyObject_GC_Track(self);
    return (PyObject *)self;
}

static int slice_getbuffer(Slice *self, Py_buffer *view, int flags) {
    return PyBuffer_FillInfo(view, (PyObject *)self, (void *)(self->memory->bytes + self->at), (Py_ssize_t)self->size,
                             !self->writable, flags);
}

static void slice_dealloc(Slice *self) {
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    Py_DECREF(self->memory);
    PyObject_GC_Del(self);
    Py_DECREF(type);
}

static int slice_traverse(Slice *self, visitproc visit, void *arg) {
    Py_VISIT((PyObject *)self->memory);
    Py_VISIT((PyObject *)Py_TYPE(self));
    return 0;
}

static PyType_Slot memory_slots[] = {
    {Py_tp_dealloc, memory_dealloc}, {Py_tp_traverse, memory_traverse}, {0, NULL}};
static PyType_Spec memory_spec = {.name = "lunar._native._codec.Memory",
                                  .basicsize = sizeof(Memory),
                                  .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE |
                                           Py_TPFLAGS_DISALLOW_INSTANTIATION,
                                  .slots = memory_slots};
static PyType_Slot slice_slots[] = {
    {Py_tp_dealloc, slice_dealloc}, {Py_tp_traverse, slice_traverse}, {Py_bf_getbuffer, slice_getbuffer}, {0, NULL}};
static PyType_Spec slice_spec = {.name = "lunar._native._codec.Slice",
                                 .basicsize = sizeof(Slice),
                                 .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE |
                                          Py_TPFLAGS_DISALLOW_INSTANTIATION,
                                 .slots = slice_slots};

int memory_register(PyObject *module) {
    return codec_register_type(module, &memory_spec, &Memory_Type) ||
           codec_register_type(module, &slice_spec, &Slice_Type);
}
