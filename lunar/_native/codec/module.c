/* Module `lunar._native._codec`: registers the types; encoding, viewing and verifying whole messages. */
#include "draft.h"

PyObject *FieldError, *VerificationError;

int codec_register_type(PyObject *module, PyType_Spec *spec, PyTypeObject **slot) {
    PyObject *type = PyType_FromSpec(spec);
    if (!type)
        return -1;
    *slot = (PyTypeObject *)type; /* the module lives as long as the process */
    Py_INCREF(type);
    if (PyModule_AddObject(module, strrchr(spec->name, '.') + 1, type) < 0) {
        Py_DECREF(type);
        return -1;
    }
    return 0;
}

static Message *message_argument(PyObject *object) {
    if (PyObject_TypeCheck(object, Message_Type))
        return (Message *)object;
    PyErr_SetString(PyExc_TypeError, "a message is needed");
    return NULL;
}

/* A plan whose filling failed, or that the collector took apart, has no messages. */
Plan *usable(PyObject *plan) {
    if (PyObject_TypeCheck(plan, Plan_Type) && ((Plan *)plan)->cls)
        return (Plan *)plan;
    PyErr_SetString(PyExc_TypeError, "a Plan is needed that has its class");
    return NULL;
}

static PyObject *encode(PyObject *Py_UNUSED(module), PyObject *object) {
    Message *message = message_argument(object);
    Draft made;
    if (!message || draft(message, false, &made) < 0)
        return NULL;
    if (made.complete)
        return PyBytes_FromStringAndSize((const char *)made.bytes, (Py_ssize_t)made.size);
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)made.size);
    if (bytes && write_at(message, false, (uint8_t *)PyBytes_AsString(bytes), made.size) < 0)
        Py_CLEAR(bytes);
    return bytes;
}

static PyObject *write_into(PyObject *Py_UNUSED(module), PyObject *args) {
    PyObject *object, *buffer;
    Py_ssize_t offset;
    Draft made;
    if (!PyArg_ParseTuple(args, "O!On", Message_Type, &object, &buffer, &offset))
        return NULL;
    Py_buffer view;
    if (PyObject_GetBuffer(buffer, &view, PyBUF_WRITABLE) < 0)
        return NULL;
    PyObject *result = NULL;
    if (draft((Message *)object, false, &made) == 0) {
        uint64_t size = made.size;
        if (offset < 0 || offset > view.len || size > (uint64_t)(view.len - offset))
            PyErr_Format(PyExc_ValueError, "%llu bytes do not fit into a buffer of %zd at offset %zd",
                         (unsigned long long)size, view.len, offset);
        else if (put((Message *)object, &made, (uint8_t *)view.buf + offset, size) == 0)
            result = PyLong_FromUnsignedLongLong(size);
    }
    PyBuffer_Release(&view);
    return result;
}

/* Where the message itself lies: the root table, or the struct that is its one field. */
int root_of(const Plan *plan, const Memory *memory, uint64_t *at) {
    if (!within(memory, 0, 4)) {
        refuse_bytes(plan, "the buffer is too short");
        return -1;
    }
    *at = load_u32(memory->bytes);
    if (!plan->is_struct)
        return 0;
    int found = find_field(plan, memory, *at, 0, plan->size, at);
    if (!found)
        refuse_bytes(plan, "the struct is absent");
    return found > 0 ? 0 : -1;
}

static PyObject *view_root(Plan *plan, PyObject *exporter, bool verify) {
    Memory *memory = memory_of(exporter);
    if (!memory)
        return NULL;
    Message *message = NULL;
    uint64_t at;
    if ((!verify || verify_message(plan, memory) == 0) && root_of(plan, memory, &at) == 0)
        message = message_view(plan, memory, at);
    Py_DECREF(memory);
    return (PyObject *)message;
}

/* What is to be walked over as a whole, in Python: nothing in it is shared, and nobody changes it. */
static PyObject *detached(PyObject *Py_UNUSED(module), PyObject *object) {
    Message *message = message_argument(object);
    uint64_t budget = UNLIMITED;
    if (!message)
        return NULL;
    if (!message->values && !message->memory->owned)
        return (PyObject *)message_copied(message, &budget);
    Py_INCREF(message);
    return (PyObject *)message;
}

static PyObject *view(PyObject *Py_UNUSED(module), PyObject *args) {
    PyObject *plan, *exporter;
    int verify;
    if (!PyArg_ParseTuple(args, "O!Op", Plan_Type, &plan, &exporter, &verify))
        return NULL;
    return usable(plan) ? view_root((Plan *)plan, exporter, verify) : NULL;
}

static PyObject *encoder(PyObject *Py_UNUSED(module), PyObject *plan) { return encoder_of(plan); }

/* Decoders: callables that turn a sample's memory into a message. */
static PyObject *decode_trusting(PyObject *plan, PyObject *exporter) {
    return usable(plan) ? view_root((Plan *)plan, exporter, false) : NULL;
}
static PyObject *decode_verifying(PyObject *plan, PyObject *exporter) {
    return usable(plan) ? view_root((Plan *)plan, exporter, true) : NULL;
}
static PyMethodDef decoders[] = {{"decode", decode_trusting, METH_O, NULL},
                                 {"decode_verified", decode_verifying, METH_O, NULL}};

static PyObject *decoder(PyObject *Py_UNUSED(module), PyObject *args) {
    PyObject *plan;
    int verify;
    if (!PyArg_ParseTuple(args, "O!p", Plan_Type, &plan, &verify))
        return NULL;
    if (!usable(plan))
        return NULL;
    return PyCFunction_NewEx(&decoders[verify ? 1 : 0], plan, NULL);
}

static PyMethodDef functions[] = {
    {"encode", encode, METH_O, "The bytes of a message."},
    {"write", write_into, METH_VARARGS, "(message, buffer, offset): write it there; the bytes written."},
    {"view", view, METH_VARARGS, "(plan, buffer, verify): the message that lies in a buffer."},
    {"detached", detached, METH_O, "The message if nobody else can change it, or a copy of it."},
    {"encoder", encoder, METH_O, "A capsule for a Writer, which then encodes into its own memory."},
    {"decoder", decoder, METH_VARARGS, "(plan, verify): a callable from a buffer to the message in it."},
    {NULL}};

static int take_errors(void) {
    PyObject *errors = PyImport_ImportModule("lunar.errors");
    if (!errors)
        return -1;
    FieldError = PyObject_GetAttrString(errors, "FieldError");
    VerificationError = PyObject_GetAttrString(errors, "VerificationError");
    Py_DECREF(errors);
    return FieldError && VerificationError ? 0 : -1;
}

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_codec", "The FlatBuffers codec; see lunar.messages.", -1, functions, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__codec(void) {
    PyObject *module = PyModule_Create(&definition);
    if (module && (take_errors() || plan_register(module) || memory_register(module) || elements_register(module) ||
                   message_register(module)))
        Py_CLEAR(module);
    return module;
}
