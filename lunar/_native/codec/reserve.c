/* Reservations: what a loan begins with, a message of which some vectors are only lengths. */
#include "codec.h"

/* Is only the length of it given? */
static bool is_count(const FieldPlan *field, PyObject *value) {
    return field->kind == SCALARS && PyIndex_Check(value) && !PyBool_Check(value) && !PySequence_Check(value);
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

/* Can anybody change what this will be written as? */
static bool is_settled(const FieldPlan *field, PyObject *kept) {
    return !kept || field->kind == SCALAR || field->kind == STRING ||
           (field->kind == SCALARS && PyBytes_CheckExact(kept));
}

/* Nobody else ever sees the message, so there need be neither a call nor a dict. */
static Message *made_here(Plan *plan, PyObject *const *values, PyObject *names, bool *settled) {
    Message *message = message_blank(plan);
    Py_ssize_t count = message && names ? PyTuple_Size(names) : 0;
    *settled = true;
    for (Py_ssize_t i = 0; message && i < count; i++) {
        const FieldPlan *field = field_named(plan, (uint32_t)i, PyTuple_GetItem(names, i), values[i]);
        bool counted = field && is_count(field, values[i]);
        if (!field || (counted ? set_count(message, field, values[i]) : set_field(message, field, values[i])) < 0) {
            Py_CLEAR(message);
        } else if (message->values) {
            *settled &= !counted && is_settled(field, message->values[field - plan->fields]);
        }
    }
    return message;
}

static const FieldPlan *counted_field(const Plan *plan, PyObject *name, PyObject *value) {
    PyObject *place = PyDict_GetItem(plan->index, name);
    const FieldPlan *field = place ? &plan->fields[PyLong_AsSize_t(place)] : NULL;
    return field && is_count(field, value) ? field : NULL;
}

static Message *checked_message(const Plan *plan, PyObject *made) {
    if (!made || (PyObject_TypeCheck(made, Message_Type) && ((Message *)made)->plan == plan &&
                  !((Message *)made)->values == plan->is_struct))
        return (Message *)made;
    PyErr_Format(PyExc_TypeError, "the class of %U makes something else", plan->name);
    Py_DECREF(made);
    return NULL;
}

static Message *made_by_class(const Plan *plan, PyObject *const *values, PyObject *names) {
    PyObject *others = PyDict_New(), *empty = PyTuple_New(0);
    Py_ssize_t count = names ? PyTuple_Size(names) : 0;
    int failed = !others || !empty;
    for (Py_ssize_t i = 0; !failed && i < count; i++)
        if (!counted_field(plan, PyTuple_GetItem(names, i), values[i]))
            failed = PyDict_SetItem(others, PyTuple_GetItem(names, i), values[i]);
    Message *message = failed ? NULL : checked_message(plan, PyObject_Call(plan->cls, empty, others));
    for (Py_ssize_t i = 0; message && i < count; i++) {
        const FieldPlan *field = counted_field(plan, PyTuple_GetItem(names, i), values[i]);
        if (field && set_count(message, field, values[i]) < 0)
            Py_CLEAR(message);
    }
    Py_XDECREF(others);
    Py_XDECREF(empty);
    return message;
}

Message *reservation(Plan *plan, PyObject *const *values, PyObject *names, bool *settled) {
    if (!usable((PyObject *)plan))
        return NULL;
    if (class_is_plain(plan))
        return made_here(plan, values, names, settled);
    *settled = false; /* its own code may keep the message */
    return made_by_class(plan, values, names);
}
