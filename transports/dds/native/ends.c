/* Writer and Reader: samples to the library and from it. */
#include "cdr.h"

#define NO_ROOM (-10) /* DDS_RETCODE_TIMEOUT */
#define MOST_AT_ONCE 64
#define LONG_BYTES (64 * 1024) /* from here on others may run while it is copied */

enum { KEY = 1, DATA = 2 };
enum { DISPOSE_AND_UNREGISTER = 3 };

typedef struct {
    PyObject_HEAD
    int32_t entity;
    const struct Sertype *type;
} Writer;

typedef struct {
    PyObject_HEAD
    int32_t entity;
} Reader;

static PyTypeObject *Writer_Type, *Reader_Type;

/* The library's error as an exception, NULL. */
static PyObject *refuse(int code, const char *doing) {
    PyObject *nothing = fail ? PyObject_CallFunction(fail, "is", code, doing) : NULL;
    Py_XDECREF(nothing);
    if (!PyErr_Occurred())
        PyErr_Format(PyExc_SystemError, "%s: %d", doing, code);
    return NULL;
}

static PyObject *is_bound(PyObject *self) {
    if (!cyclone.takecdr)
        PyErr_SetString(PyExc_RuntimeError, "the library is not loaded");
    return cyclone.takecdr ? self : NULL;
}

static PyObject *writer_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"entity", "sertype", NULL};
    int entity;
    PyObject *sertype;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "iO", names, &entity, &sertype) || !is_bound(Py_None))
        return NULL;
    void *address = PyLong_AsVoidPtr(sertype);
    if (PyErr_Occurred())
        return NULL;
    Writer *self = PyObject_New(Writer, type);
    if (!self)
        return NULL;
    self->entity = entity;
    self->type = address;
    return (PyObject *)self;
}

static void dealloc(PyObject *self) {
    PyTypeObject *type = Py_TYPE(self);
    PyObject_Free(self);
    Py_DECREF(type);
}

/* A copy of what the parts hold, one after another. */
static PyObject *make(const Writer *self, int kind, const Iovec *parts, size_t count) {
    size_t size = 0;
    for (size_t i = 0; i < count; i++)
        size += parts[i].iov_len;
    if (size > UINT32_MAX) {
        PyErr_Format(ResourceExhausted, "a DDS sample of %zu bytes is too large", size);
        return NULL;
    }
    Serdata *data;
    if (size < LONG_BYTES) {
        data = cyclone.from_ser_iov(self->type, kind, count, parts, size);
    } else {
        Py_BEGIN_ALLOW_THREADS;
        data = cyclone.from_ser_iov(self->type, kind, count, parts, size);
        Py_END_ALLOW_THREADS;
    }
    if (!data) {
        PyErr_Format(ResourceExhausted, "no memory for a DDS sample of %zu bytes", size);
        return NULL;
    }
    data->statusinfo = kind == KEY ? DISPOSE_AND_UNREGISTER : 0;
    return sample_own(data);
}

static PyObject *writer_prepare(Writer *self, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"head", "payload", "withdraws", NULL};
    static char cdr_little_endian[CDR_HEADER_BYTES] = {0, 1, 0, 0};
    Py_buffer head, payload = {0};
    int withdraws = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "y*|y*$p", names, &head, &payload, &withdraws))
        return NULL;
    Iovec parts[] = {{cdr_little_endian, sizeof cdr_little_endian},
                     {head.buf, (size_t)head.len},
                     {payload.buf, payload.obj ? (size_t)payload.len : 0}};
    PyObject *sample = make(self, withdraws ? KEY : DATA, parts, 3);
    PyBuffer_Release(&head);
    if (payload.obj)
        PyBuffer_Release(&payload);
    return sample;
}

static PyObject *writer_frame(Writer *self, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"kind", "publisher", "payload", "session", "sequence", "time_ns", "dropped", "extra", "audience", NULL};
    FrameHead head = {0};
    Py_buffer publisher, payload = {0}, audience = {0};
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "by*|y*$IKLKKy*", names, &head.kind, &publisher, &payload, &head.session,
                                     &head.sequence, &head.time_ns, &head.dropped, &head.extra, &audience))
        return NULL;
    PyObject *sample = NULL;
    if (publisher.len != 16 || (audience.obj && audience.len % 16) || (payload.obj && payload.len > UINT32_MAX / 2)) {
        PyErr_SetString(PyExc_ValueError, "an id is 16 bytes, and a payload less than 2 GiB");
    } else {
        char space[MOST_HEAD_BYTES];
        head.publisher = publisher.buf;
        size_t head_bytes = frame_begin(space, &head, audience.obj ? (uint32_t)audience.len : 0);
        uint32_t payload_bytes = payload.obj ? (uint32_t)payload.len : 0;
        Iovec parts[] = {{space, head_bytes},
                         {audience.buf, audience.obj ? (size_t)audience.len : 0},
                         {&payload_bytes, sizeof payload_bytes},
                         {payload.buf, payload_bytes}};
        sample = make(self, DATA, parts, 4);
    }
    PyBuffer_Release(&publisher);
    if (payload.obj)
        PyBuffer_Release(&payload);
    if (audience.obj)
        PyBuffer_Release(&audience);
    return sample;
}

static PyObject *writer_write(Writer *self, PyObject *args) {
    PyObject *sample;
    long long timestamp_ns;
    if (!PyArg_ParseTuple(args, "OL", &sample, &timestamp_ns))
        return NULL;
    Serdata *data = sample_data(sample);
    if (!data)
        return NULL;
    Serdata *given = cyclone.ref(data); /* the call consumes one */
    given->timestamp = timestamp_ns;
    int32_t code;
    Py_BEGIN_ALLOW_THREADS;
    code = cyclone.forwardcdr(self->entity, given);
    Py_END_ALLOW_THREADS;
    return code >= 0 || code == NO_ROOM ? PyBool_FromLong(code >= 0) : refuse(code, "write a DDS sample");
}

static PyObject *reader_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"entity", NULL};
    int entity;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "i", names, &entity) || !is_bound(Py_None))
        return NULL;
    Reader *self = PyObject_New(Reader, type);
    if (self)
        self->entity = entity;
    return (PyObject *)self;
}

static PyObject *reader_take(Reader *self, PyObject *argument) {
    long most = PyLong_AsLong(argument);
    if (most == -1 && PyErr_Occurred())
        return NULL;
    if (most < 1 || most > MOST_AT_ONCE)
        most = MOST_AT_ONCE;
    Serdata *taken[MOST_AT_ONCE];
    SampleInfo infos[MOST_AT_ONCE];
    int32_t count = cyclone.takecdr(self->entity, taken, (uint32_t)most, infos, 0);
    if (count < 0)
        return refuse(count, "take DDS samples");
    PyObject *list = PyList_New(count);
    for (int32_t i = 0; i < count; i++) {
        PyObject *sample = list ? sample_taken(taken[i], &infos[i]) : NULL;
        if (!list)
            cyclone.unref(taken[i]);
        else if (!sample)
            Py_CLEAR(list);
        else
            PyList_SetItem(list, i, sample);
    }
    return list;
}

static PyMethodDef writer_methods[] = {
    {"prepare", (PyCFunction)(void (*)(void))writer_prepare, METH_VARARGS | METH_KEYWORDS,
     "prepare(head, payload=b'', *, withdraws=False) -> Sample, a copy of both; of a key alone, whose instance ends."},
    {"frame", (PyCFunction)(void (*)(void))writer_frame, METH_VARARGS | METH_KEYWORDS,
     "frame(kind, publisher, payload=b'', *, session=0, sequence=0, time_ns=0, dropped=0, extra=0, audience=b'') -> Sample."},
    {"write", (PyCFunction)writer_write, METH_VARARGS,
     "write(sample, timestamp_ns) -> False if there is no room now. The sample may be written again."},
    {NULL}};
static PyType_Slot writer_slots[] = {
    {Py_tp_new, writer_new}, {Py_tp_dealloc, dealloc}, {Py_tp_methods, writer_methods}, {0, NULL}};
static PyType_Spec writer_spec = {.name = "lunar_dds._cdr.Writer",
                                  .basicsize = sizeof(Writer),
                                  .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
                                  .slots = writer_slots};
static PyMethodDef reader_methods[] = {
    {"take", (PyCFunction)reader_take, METH_O, "take(most) -> at most so many samples (64)."}, {NULL}};
static PyType_Slot reader_slots[] = {
    {Py_tp_new, reader_new}, {Py_tp_dealloc, dealloc}, {Py_tp_methods, reader_methods}, {0, NULL}};
static PyType_Spec reader_spec = {.name = "lunar_dds._cdr.Reader",
                                  .basicsize = sizeof(Reader),
                                  .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
                                  .slots = reader_slots};

int ends_register(PyObject *module) {
    return add_type(module, &writer_spec, &Writer_Type) || add_type(module, &reader_spec, &Reader_Type);
}
