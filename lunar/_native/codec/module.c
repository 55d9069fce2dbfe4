/* Module `lunar._native._codec`: registers the types; encoding, viewing and verifying whole messages. */
#include "codec.h"
#include "encoder.h"

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
static Plan *usable(PyObject *plan) {
    if (PyObject_TypeCheck(plan, Plan_Type) && ((Plan *)plan)->cls)
        return (Plan *)plan;
    PyErr_SetString(PyExc_TypeError, "a Plan is needed that has its class");
    return NULL;
}

static int measure(Message *message, bool reserve, uint64_t *size) {
    Target target = {.reserve = reserve, .budget = UNLIMITED};
    int result = write_message(&target, message);
    *size = target.at;
    return result;
}

/* Most messages are small, and looking at every field twice takes as long as writing them: so they are first written into
 * memory that is at hand. If that was too little they have been measured at least. A loan's are not: what its user fills
 * would be copied too. */
#define DRAFT_BYTES 1024

typedef struct {
    uint8_t bytes[DRAFT_BYTES];
    uint64_t size;
    bool complete;
} Draft;

static int draft(Message *message, Draft *made) {
    Target target = {.out = made->bytes, .size = DRAFT_BYTES, .draft = true, .budget = UNLIMITED};
    int result = write_message(&target, message);
    made->size = target.at;
    made->complete = result == 0 && target.out;
    return result;
}

static int write_at(Message *message, bool reserve, uint8_t *to, uint64_t size) {
    Target target = {.out = to, .size = size, .reserve = reserve, .budget = UNLIMITED};
    if (write_message(&target, message) < 0)
        return -1;
    if (target.at == size)
        return 0;
    PyErr_SetString(VerificationError, "the message changed while it was written");
    return -1;
}

/* What was drafted, or else the message itself. */
static int put(Message *message, bool reserve, const Draft *made, uint8_t *to, uint64_t size) {
    if (!made->complete)
        return write_at(message, reserve, to, size);
    memcpy(to, made->bytes, size);
    return 0;
}

static PyObject *encode(PyObject *Py_UNUSED(module), PyObject *object) {
    Message *message = message_argument(object);
    Draft made;
    if (!message || draft(message, &made) < 0)
        return NULL;
    if (made.complete)
        return PyBytes_FromStringAndSize((const char *)made.bytes, (Py_ssize_t)made.size);
    PyObject *bytes = PyBytes_FromStringAndSize(NULL, (Py_ssize_t)made.size);
    if (bytes && write_at(message, false, (uint8_t *)PyBytes_AsString(bytes), made.size) < 0)
        Py_CLEAR(bytes);
    return bytes;
}

static PyObject *size_of(PyObject *Py_UNUSED(module), PyObject *args) {
    PyObject *object;
    int reserve;
    uint64_t size;
    if (!PyArg_ParseTuple(args, "O!p", Message_Type, &object, &reserve) ||
        measure((Message *)object, reserve, &size) < 0)
        return NULL;
    return PyLong_FromUnsignedLongLong(size);
}

static PyObject *write_into(PyObject *Py_UNUSED(module), PyObject *args) {
    PyObject *object, *buffer;
    Py_ssize_t offset;
    int reserve;
    Draft made;
    made.complete = false; /* and nothing else: zeroes would cost more than most messages */
    if (!PyArg_ParseTuple(args, "O!Onp", Message_Type, &object, &buffer, &offset, &reserve))
        return NULL;
    Py_buffer view;
    if (PyObject_GetBuffer(buffer, &view, PyBUF_WRITABLE) < 0)
        return NULL;
    PyObject *result = NULL;
    if ((reserve ? measure((Message *)object, true, &made.size) : draft((Message *)object, &made)) == 0) {
        uint64_t size = made.size;
        if (offset < 0 || offset > view.len || size > (uint64_t)(view.len - offset))
            PyErr_Format(PyExc_ValueError, "%llu bytes do not fit into a buffer of %zd at offset %zd",
                         (unsigned long long)size, view.len, offset);
        else if (put((Message *)object, reserve, &made, (uint8_t *)view.buf + offset, size) == 0)
            result = PyLong_FromUnsignedLongLong(size);
    }
    PyBuffer_Release(&view);
    return result;
}

/* Where the message itself lies: the root table, or the struct that is its one field. */
static int root_of(const Plan *plan, const Memory *memory, uint64_t *at) {
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

static PyObject *view_root(Plan *plan, PyObject *exporter, bool writable, bool verify) {
    Memory *memory = memory_of(exporter, writable);
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

/* After a loan is over its message is as read-only as a received one. */
static PyObject *freeze(PyObject *Py_UNUSED(module), PyObject *object) {
    Message *message = message_argument(object);
    if (!message)
        return NULL;
    if (message->memory)
        message->memory->writable = false;
    Py_RETURN_NONE;
}

static PyObject *view(PyObject *Py_UNUSED(module), PyObject *args) {
    PyObject *plan, *exporter;
    int writable, verify;
    if (!PyArg_ParseTuple(args, "O!Opp", Plan_Type, &plan, &exporter, &writable, &verify))
        return NULL;
    return usable(plan) ? view_root((Plan *)plan, exporter, writable, verify) : NULL;
}

/* What a Writer of the bus is given: it encodes into its own memory, see encoder.h. A message is always measured before it
 * is written, but others may be measured in between. */
typedef struct {
    Plan *plan;
    PyObject *drafted; /* whose draft it is; never followed, since it may be gone */
    bool busy;         /* a value's own code may publish something while it is measured */
    Draft draft;
} Context;

static Py_ssize_t encoder_measure(void *opaque, PyObject *message) {
    Context *context = opaque;
    Plan *plan = context->plan;
    if (!PyObject_TypeCheck(message, Message_Type) || ((Message *)message)->plan != plan) {
        PyObject *name = PyUnicode_FromString("(message)");
        PyObject *error =
            name ? PyObject_CallFunctionObjArgs(FieldError, plan->name, name, plan->name, message, NULL) : NULL;
        if (error)
            PyErr_SetObject(FieldError, error);
        Py_XDECREF(name);
        Py_XDECREF(error);
        return -1;
    }
    if (context->busy) {
        uint64_t size;
        return measure((Message *)message, false, &size) < 0 ? -1 : (Py_ssize_t)size;
    }
    context->busy = true;
    int result = draft((Message *)message, &context->draft);
    context->busy = false;
    context->drafted = context->draft.complete ? message : NULL;
    return result < 0 ? -1 : (Py_ssize_t)context->draft.size;
}

static int encoder_write(void *opaque, PyObject *message, void *to, Py_ssize_t size) {
    Context *context = opaque;
    if (context->busy || context->drafted != message || context->draft.size != (uint64_t)size)
        return write_at((Message *)message, false, to, (uint64_t)size);
    context->drafted = NULL;
    memcpy(to, context->draft.bytes, (size_t)size);
    return 0;
}

static void encoder_free(PyObject *capsule) {
    lunar_encoder *encoder = PyCapsule_GetPointer(capsule, LUNAR_ENCODER);
    Context *context = encoder->context;
    Py_DECREF((PyObject *)context->plan);
    PyMem_Free(context);
    PyMem_Free(encoder);
}

static PyObject *encoder(PyObject *Py_UNUSED(module), PyObject *plan) {
    if (!usable(plan))
        return NULL;
    lunar_encoder *made = PyMem_Malloc(sizeof *made);
    Context *context = PyMem_Calloc(1, sizeof *context);
    PyObject *capsule = NULL;
    if (!made || !context)
        PyErr_NoMemory();
    else if ((capsule = PyCapsule_New(made, LUNAR_ENCODER, encoder_free))) {
        context->plan = (Plan *)plan;
        *made = (lunar_encoder){encoder_measure, encoder_write, context};
        Py_INCREF(plan);
        return capsule;
    }
    PyMem_Free(made);
    PyMem_Free(context);
    return NULL;
}

/* Decoders: callables that turn a sample's memory into a message. */
static PyObject *decode_trusting(PyObject *plan, PyObject *exporter) {
    return usable(plan) ? view_root((Plan *)plan, exporter, false, false) : NULL;
}
static PyObject *decode_verifying(PyObject *plan, PyObject *exporter) {
    return usable(plan) ? view_root((Plan *)plan, exporter, false, true) : NULL;
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

/* The field of which a loan is given only the length, or NULL. */
static const FieldPlan *counted_field(const Plan *plan, PyObject *name, PyObject *value) {
    PyObject *place = PyDict_GetItem(plan->index, name);
    const FieldPlan *field = place ? &plan->fields[PyLong_AsSize_t(place)] : NULL;
    bool is_count = PyIndex_Check(value) && !PyBool_Check(value) && !PySequence_Check(value);
    return is_count && field && field->kind == SCALARS ? field : NULL;
}

static PyObject *checked_count(const Plan *plan, const FieldPlan *field, PyObject *value) {
    PyObject *number = PyNumber_Index(value);
    unsigned long long count = number ? PyLong_AsUnsignedLongLong(number) : 0;
    if (!PyErr_Occurred() && (!field->exactly || count == field->exactly) &&
        (field->multiple < 2 || count % field->multiple == 0) && count <= MAX_BYTES)
        return number;
    Py_XDECREF(number);
    PyErr_Clear();
    return refuse_value(plan, field, value, "or a possible number of elements");
}

/* Of a struct nothing is kept: its arrays are there in any case. */
static int set_count(Message *message, const FieldPlan *field, PyObject *value) {
    PyObject *count = checked_count(message->plan, field, value);
    if (!count)
        return -1;
    if (message->values) {
        PyObject **place = &message->values[field - message->plan->fields], *old = *place;
        *place = count;
        count = old;
    }
    Py_XDECREF(count);
    return 0;
}

/* A message of which some vectors are only lengths: `size` and `write` with reserve make room for them. */
static PyObject *reservation(PyObject *Py_UNUSED(module), PyObject *args) {
    PyObject *given, *fields, *name, *value;
    if (!PyArg_ParseTuple(args, "O!O!", Plan_Type, &given, &PyDict_Type, &fields) || !usable(given))
        return NULL;
    const Plan *plan = (Plan *)given;
    PyObject *lengths = PyDict_New(), *others = PyDict_New(), *empty = PyTuple_New(0), *message = NULL;
    Py_ssize_t at = 0;
    int failed = !lengths || !others || !empty;
    while (!failed && PyDict_Next(fields, &at, &name, &value))
        failed = PyDict_SetItem(counted_field(plan, name, value) ? lengths : others, name, value);
    if (!failed && !PyErr_Occurred())
        message = PyObject_Call(plan->cls, empty, others);
    if (message && (!PyObject_TypeCheck(message, Message_Type) || ((Message *)message)->plan != plan ||
                    !((Message *)message)->values != plan->is_struct)) {
        PyErr_Format(PyExc_TypeError, "the class of %U makes something else", plan->name);
        Py_CLEAR(message);
    }
    for (at = 0; message && PyDict_Next(lengths, &at, &name, &value);)
        if (set_count((Message *)message, counted_field(plan, name, value), value) < 0)
            Py_CLEAR(message);
    Py_XDECREF(lengths);
    Py_XDECREF(others);
    Py_XDECREF(empty);
    return message;
}

static PyMethodDef functions[] = {
    {"encode", encode, METH_O, "The bytes of a message."},
    {"size", size_of, METH_VARARGS, "(message, reserve): bytes that `write` will need."},
    {"write", write_into, METH_VARARGS, "(message, buffer, offset, reserve): write it there; the bytes written."},
    {"view", view, METH_VARARGS, "(plan, buffer, writable, verify): the message that lies in a buffer."},
    {"detached", detached, METH_O, "The message if nobody else can change it, or a copy of it."},
    {"freeze", freeze, METH_O, "Let nobody write to the memory of this message any more."},
    {"encoder", encoder, METH_O, "A capsule for a Writer, which then encodes into its own memory."},
    {"decoder", decoder, METH_VARARGS, "(plan, verify): a callable from a buffer to the message in it."},
    {"reservation", reservation, METH_VARARGS, "(plan, fields): a message whose vectors may be mere lengths."},
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
