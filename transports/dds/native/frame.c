/* Frame: what a sample of the type lunar::Parcel holds; frames.py says what that means.
 *
 * A header of 56 octets, little-endian (kind, 3 octets of nothing, session, publisher, sequence, time, dropped, extra),
 * then two sequences of octets, each after its length: the audience (ids of 16) and the payload.
 */
#include "cdr.h"

PyTypeObject *Frame_Type;

#define ID_BYTES 16
#define HEADER_BYTES 56
#define LENGTH_BYTES 4
#define FIRST_KIND 1
#define LAST_KIND 8
#define SHARED 1

typedef struct {
    PyObject_HEAD
    Py_buffer content; /* of whoever holds it, kept */
    unsigned char kind;
    unsigned int session;
    unsigned long long sequence, dropped, extra;
    long long time_ns;
    Py_ssize_t audience_bytes, payload_bytes;
    PyObject *publisher;
} Frame;

/* Little-endian, as all that this is built for. */
#define PUT(into, value)                                                                                          \
    do {                                                                                                          \
        memcpy(into, &(value), sizeof(value));                                                                    \
        (into) += sizeof(value);                                                                                  \
    } while (0)
#define GET(from, value)                                                                                          \
    do {                                                                                                          \
        memcpy(&(value), from, sizeof(value));                                                                    \
        (from) += sizeof(value);                                                                                  \
    } while (0)

size_t frame_begin(char *into, const FrameHead *head, uint32_t audience_bytes) {
    static const char cdr_little_endian[CDR_HEADER_BYTES] = {0, 1, 0, 0};
    char *at = into;
    PUT(at, cdr_little_endian);
    memset(at, 0, 4);
    *at = (char)head->kind;
    at += 4;
    PUT(at, head->session);
    memcpy(at, head->publisher, ID_BYTES);
    at += ID_BYTES;
    PUT(at, head->sequence);
    PUT(at, head->time_ns);
    PUT(at, head->dropped);
    PUT(at, head->extra);
    PUT(at, audience_bytes);
    return (size_t)(at - into);
}

static const char *payload_of(const Frame *self) {
    return (const char *)self->content.buf + HEADER_BYTES + LENGTH_BYTES + self->audience_bytes + LENGTH_BYTES;
}

/* Take the content apart: 0, or -1 with PeerFault. */
static int read_content(Frame *self) {
    const char *at = self->content.buf;
    Py_ssize_t left = self->content.len - HEADER_BYTES - 2 * LENGTH_BYTES;
    if (left < 0) {
        PyErr_Format(PeerFault, "it sent a DDS sample of %zd bytes", self->content.len);
        return -1;
    }
    self->kind = (unsigned char)*at;
    at += 4;
    GET(at, self->session);
    const char *publisher = at;
    at += ID_BYTES;
    GET(at, self->sequence);
    GET(at, self->time_ns);
    GET(at, self->dropped);
    GET(at, self->extra);
    uint32_t audience_bytes, payload_bytes;
    GET(at, audience_bytes);
    if (audience_bytes % ID_BYTES || audience_bytes > left || self->kind < FIRST_KIND || self->kind > LAST_KIND) {
        PyErr_Format(PeerFault, "it sent a DDS sample of kind %d with an audience of %u bytes", self->kind, audience_bytes);
        return -1;
    }
    at += audience_bytes;
    GET(at, payload_bytes);
    if (payload_bytes > left - audience_bytes) {
        PyErr_Format(PeerFault, "it sent a DDS sample whose payload of %u bytes is cut off", payload_bytes);
        return -1;
    }
    self->audience_bytes = audience_bytes;
    self->payload_bytes = payload_bytes;
    self->publisher = PyBytes_FromStringAndSize(publisher, ID_BYTES);
    return self->publisher ? 0 : -1;
}

static PyObject *parse(PyObject *Py_UNUSED(module), PyObject *content) {
    Frame *self = PyObject_New(Frame, Frame_Type);
    if (!self)
        return NULL;
    memset((char *)self + sizeof(PyObject), 0, sizeof *self - sizeof(PyObject));
    if (PyObject_GetBuffer(content, &self->content, PyBUF_SIMPLE) < 0 || read_content(self) < 0) {
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

static void frame_dealloc(Frame *self) {
    PyTypeObject *type = Py_TYPE(self);
    Py_XDECREF(self->publisher);
    if (self->content.obj)
        PyBuffer_Release(&self->content);
    PyObject_Free(self);
    Py_DECREF(type);
}

static int frame_getbuffer(Frame *self, Py_buffer *view, int flags) {
    return PyBuffer_FillInfo(view, (PyObject *)self, (void *)payload_of(self), self->payload_bytes, 1, flags);
}

static PyObject *frame_is_for(Frame *self, PyObject *participant) {
    if (!PyBytes_Check(participant) || PyBytes_Size(participant) != ID_BYTES) {
        PyErr_SetString(PyExc_TypeError, "an id is 16 bytes");
        return NULL;
    }
    const char *id = PyBytes_AsString(participant);
    const char *audience = (const char *)self->content.buf + HEADER_BYTES + LENGTH_BYTES;
    bool named = false;
    for (Py_ssize_t at = 0; at < self->audience_bytes && !named; at += ID_BYTES)
        named = memcmp(audience + at, id, ID_BYTES) == 0;
    return PyBool_FromLong(named != (self->kind == SHARED));
}

static PyMemberDef members[] = {
    {"kind", T_UBYTE, offsetof(Frame, kind), READONLY, NULL},
    {"session", T_UINT, offsetof(Frame, session), READONLY, NULL},
    {"publisher", T_OBJECT_EX, offsetof(Frame, publisher), READONLY, NULL},
    {"sequence", T_ULONGLONG, offsetof(Frame, sequence), READONLY, NULL},
    {"time_ns", T_LONGLONG, offsetof(Frame, time_ns), READONLY, NULL},
    {"dropped", T_ULONGLONG, offsetof(Frame, dropped), READONLY, NULL},
    {"extra", T_ULONGLONG, offsetof(Frame, extra), READONLY, NULL},
    {"payload_bytes", T_PYSSIZET, offsetof(Frame, payload_bytes), READONLY, NULL},
    {NULL}};
static PyMethodDef methods[] = {
    {"is_for", (PyCFunction)frame_is_for, METH_O, "is_for(participant) -> whether that process is meant."}, {NULL}};
static PyType_Slot slots[] = {{Py_tp_dealloc, frame_dealloc},
                              {Py_tp_members, members},
                              {Py_tp_methods, methods},
                              {Py_bf_getbuffer, frame_getbuffer},
                              {0, NULL}};
static PyType_Spec spec = {.name = "lunar_dds._cdr.Frame",
                           .basicsize = sizeof(Frame),
                           .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
                           .slots = slots};
/* head(...): a sample up to its payload, without the CDR header. */
static PyObject *head_of(PyObject *Py_UNUSED(module), PyObject *args, PyObject *kwargs) {
    static char *names[] = {"kind", "publisher", "payload_bytes", "session", "sequence", "time_ns", "dropped", "extra", "audience", NULL};
    FrameHead head = {0};
    unsigned int payload_bytes = 0;
    Py_buffer publisher, audience = {0};
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "by*|I$IKLKKy*", names, &head.kind, &publisher, &payload_bytes,
                                     &head.session, &head.sequence, &head.time_ns, &head.dropped, &head.extra, &audience))
        return NULL;
    PyObject *made = NULL;
    Py_ssize_t audience_bytes = audience.obj ? audience.len : 0;
    if (publisher.len != ID_BYTES) {
        PyErr_SetString(PyExc_ValueError, "an id is 16 bytes");
    } else {
        char space[MOST_HEAD_BYTES];
        head.publisher = publisher.buf;
        size_t begun = frame_begin(space, &head, (uint32_t)audience_bytes) - CDR_HEADER_BYTES;
        made = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)begun + audience_bytes + LENGTH_BYTES);
        char *into = made ? PyBytes_AsString(made) : NULL;
        if (into) {
            memcpy(into, space + CDR_HEADER_BYTES, begun);
            if (audience_bytes)
                memcpy(into + begun, audience.buf, (size_t)audience_bytes);
            memcpy(into + begun + audience_bytes, &payload_bytes, LENGTH_BYTES);
        }
    }
    PyBuffer_Release(&publisher);
    if (audience.obj)
        PyBuffer_Release(&audience);
    return made;
}

static PyMethodDef functions[] = {
    {"head", (PyCFunction)(void (*)(void))head_of, METH_VARARGS | METH_KEYWORDS,
     "head(kind, publisher, payload_bytes=0, *, session=0, ...) -> a sample up to its payload."},
    {"parse", parse, METH_O, "parse(content) -> Frame: takes a sample apart, or raises PeerFault if it is none of ours."},
    {NULL}};

int frame_register(PyObject *module) {
    return add_type(module, &spec, &Frame_Type) || PyModule_AddFunctions(module, functions);
}
