#include "encoder.h"

#include "draft.h"

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
    int result = draft((Message *)message, false, &context->draft);
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

/* Loans ------------------------------------------------------------------------------------------------------ */

/* Either bytes, where nothing can change any more what they were made of, or the message. */
static PyObject *encoder_reserve(void *opaque, PyObject *const *values, PyObject *names, Py_ssize_t *size) {
    Context *context = opaque;
    Draft made;
    bool settled;
    Message *message = reservation(context->plan, values, names, &settled);
    if (!message)
        return NULL;
    made.complete = false;
    int result = settled ? draft(message, true, &made) : measure(message, true, &made.size);
    *size = (Py_ssize_t)made.size;
    PyObject *reserved = (PyObject *)message;
    if (result < 0 || made.complete) {
        reserved = result < 0 ? NULL : PyBytes_FromStringAndSize((const char *)made.bytes, *size);
        Py_DECREF(message);
    }
    return reserved;
}

static int fill(PyObject *reserved, uint8_t *to, uint64_t room) {
    uint64_t size;
    if (PyBytes_CheckExact(reserved)) {
        memcpy(to, PyBytes_AsString(reserved), room);
        return 0;
    }
    if (measure((Message *)reserved, true, &size) < 0)
        return -1;
    if (size <= room)
        return write_at((Message *)reserved, true, to, size);
    PyErr_Format(PyExc_ValueError, "%llu bytes do not fit into a buffer of %llu: the message grew since it was lent",
                 (unsigned long long)size, (unsigned long long)room);
    return -1;
}

static PyObject *encoder_lend(void *opaque, PyObject *reserved, Py_buffer *buffer, void **lent) {
    Plan *plan = ((Context *)opaque)->plan;
    Memory *memory = memory_lent(buffer);
    Message *message = NULL;
    uint64_t at;
    if (memory && fill(reserved, buffer->buf, memory->size) == 0 && root_of(plan, memory, &at) == 0)
        message = message_view(plan, memory, at);
    *lent = message ? memory : NULL;
    Py_XDECREF(memory);
    return (PyObject *)message;
}

static void encoder_freeze(void *lent) { ((Memory *)lent)->writable = false; }

/* The capsule ------------------------------------------------------------------------------------------------ */

static void encoder_free(PyObject *capsule) {
    lunar_encoder *encoder = PyCapsule_GetPointer(capsule, LUNAR_ENCODER);
    Context *context = encoder->context;
    Py_DECREF((PyObject *)context->plan);
    PyMem_Free(context);
    PyMem_Free(encoder);
}

PyObject *encoder_of(PyObject *plan) {
    if (!usable(plan))
        return NULL;
    lunar_encoder *made = PyMem_Malloc(sizeof *made);
    Context *context = PyMem_Calloc(1, sizeof *context);
    PyObject *capsule = NULL;
    if (!made || !context)
        PyErr_NoMemory();
    else if ((capsule = PyCapsule_New(made, LUNAR_ENCODER, encoder_free))) {
        context->plan = (Plan *)plan;
        *made = (lunar_encoder){encoder_measure, encoder_write, encoder_reserve, encoder_lend, encoder_freeze, context};
        Py_INCREF(plan);
        return capsule;
    }
    PyMem_Free(made);
    PyMem_Free(context);
    return NULL;
}
