/* Sample: memory of the library's, whose uses it counts.  It exports what comes after the CDR header, read-only; a view
 * of it keeps it. */
#include "cdr.h"

PyTypeObject *Sample_Type;

typedef struct {
    PyObject_HEAD
    Serdata *data; /* a reference */
    Iovec place;   /* of what it holds, once somebody has asked; then `data` is what it belongs to */
    unsigned long long writer;
    long long timestamp_ns;
    unsigned int state;
    char is_data;
} Sample;

PyObject *sample_own(Serdata *data) {
    Sample *self = PyObject_New(Sample, Sample_Type);
    if (!self) {
        cyclone.unref(data);
        return NULL;
    }
    memset((char *)self + sizeof(PyObject), 0, sizeof *self - sizeof(PyObject));
    self->data = data;
    self->is_data = 1;
    return (PyObject *)self;
}

PyObject *sample_taken(Serdata *data, const SampleInfo *info) {
    Sample *self = (Sample *)sample_own(data);
    if (!self)
        return NULL;
    self->writer = info->publication_handle;
    self->timestamp_ns = info->source_timestamp;
    self->state = info->instance_state;
    self->is_data = info->valid_data;
    return (PyObject *)self;
}

Serdata *sample_data(PyObject *sample) {
    if (Py_TYPE(sample) == Sample_Type)
        return ((Sample *)sample)->data;
    PyErr_SetString(PyExc_TypeError, "not a Sample");
    return NULL;
}

static void sample_dealloc(Sample *self) {
    PyTypeObject *type = Py_TYPE(self);
    if (self->place.iov_base)
        cyclone.to_ser_unref(self->data, &self->place);
    cyclone.unref(self->data);
    PyObject_Free(self);
    Py_DECREF(type);
}

static int sample_getbuffer(Sample *self, Py_buffer *view, int flags) {
    if (!self->place.iov_base) {
        size_t size = cyclone.size(self->data);
        if (size < CDR_HEADER_BYTES) {
            PyErr_SetString(PyExc_BufferError, "a sample without a header");
            return -1;
        }
        /* It adds a reference, to the very same sample. */
        Serdata *referred = cyclone.to_ser_ref(self->data, 0, size, &self->place);
        if (referred != self->data) {
            PyErr_SetString(PyExc_BufferError, "a sample that is another one");
            return -1;
        }
    }
    char *content = (char *)self->place.iov_base + CDR_HEADER_BYTES;
    return PyBuffer_FillInfo(view, (PyObject *)self, content, (Py_ssize_t)self->place.iov_len - CDR_HEADER_BYTES, 1, flags);
}

static PyMemberDef members[] = {
    {"writer", T_ULONGLONG, offsetof(Sample, writer), READONLY, "Handle of the writer in this process."},
    {"state", T_UINT, offsetof(Sample, state), READONLY, "Of its instance."},
    {"is_data", T_BOOL, offsetof(Sample, is_data), READONLY, "It is more than a key."},
    {"timestamp_ns", T_LONGLONG, offsetof(Sample, timestamp_ns), READONLY, "When it was written, by its writer's clock."},
    {NULL}};
static PyType_Slot slots[] = {
    {Py_tp_dealloc, sample_dealloc}, {Py_tp_members, members}, {Py_bf_getbuffer, sample_getbuffer}, {0, NULL}};
static PyType_Spec spec = {.name = "lunar_dds._cdr.Sample",
                           .basicsize = sizeof(Sample),
                           .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
                           .slots = slots};

int sample_register(PyObject *module) { return add_type(module, &spec, &Sample_Type); }
