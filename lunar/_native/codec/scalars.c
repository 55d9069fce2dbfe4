/* Scalars: between Python's numbers and their bits. */
#include <math.h>

#include "codec.h"

#define MAX_REMEMBERED 4096

const uint8_t scalar_sizes[] = {1, 1, 1, 2, 2, 4, 4, 8, 8, 4, 8};

uint64_t scalar_load(uint8_t base, const uint8_t *from) {
    uint64_t bits = 0;
    memcpy(&bits, from, scalar_sizes[base]); /* little-endian, as the format and every machine that we run on */
    return bits;
}

void scalar_store(uint8_t base, uint8_t *to, uint64_t bits) { memcpy(to, &bits, scalar_sizes[base]); }

static int64_t sign_extend(uint8_t base, uint64_t bits) {
    switch (base) {
    case INT8:
        return (int8_t)bits;
    case INT16:
        return (int16_t)bits;
    case INT32:
        return (int32_t)bits;
    default:
        return (int64_t)bits;
    }
}

static PyObject *number_object(uint8_t base, uint64_t bits) {
    switch (base) {
    case BOOL:
        return PyBool_FromLong((uint8_t)bits != 0);
    case FLOAT32: {
        uint32_t narrow = (uint32_t)bits;
        float value;
        memcpy(&value, &narrow, 4);
        return PyFloat_FromDouble(value);
    }
    case FLOAT64: {
        double value;
        memcpy(&value, &bits, 8);
        return PyFloat_FromDouble(value);
    }
    case UINT8:
    case UINT16:
    case UINT32:
    case UINT64:
        return PyLong_FromUnsignedLongLong(bits);
    default:
        return PyLong_FromLongLong(sign_extend(base, bits));
    }
}

/* An IntFlag remembers every combination that it made. A peer chooses them, so there is an end to that. */
static void forget(const FieldPlan *field, PyObject *number) {
    PyObject *made = PyObject_GetAttrString(field->enum_class, "_value2member_map_");
    if (made && PyDict_Check(made) && PyDict_Size(made) > PyDict_Size(field->enum_members) + MAX_REMEMBERED)
        PyDict_DelItem(made, number);
    Py_XDECREF(made);
    PyErr_Clear();
}

PyObject *scalar_object(const FieldPlan *field, uint64_t bits) {
    PyObject *number = number_object(field->base, bits);
    if (!number || !field->enum_members)
        return number;
    PyObject *member = PyDict_GetItemWithError(field->enum_members, number);
    if (member) {
        Py_INCREF(member);
        Py_DECREF(number);
        return member;
    }
    if (PyErr_Occurred()) {
        Py_DECREF(number);
        return NULL;
    }
    /* A value of a newer schema, or flags together: an IntFlag takes them, an IntEnum does not. */
    member = PyObject_CallFunctionObjArgs(field->enum_class, number, NULL);
    if (member) {
        forget(field, number);
        Py_DECREF(number);
        return member;
    }
    if (!PyErr_ExceptionMatches(PyExc_ValueError)) {
        Py_DECREF(number);
        return NULL;
    }
    PyErr_Clear();
    return number;
}

static int float_bits(const Plan *plan, const FieldPlan *field, PyObject *value, uint64_t *bits) {
    double number = PyFloat_AsDouble(value);
    if (number == -1.0 && PyErr_Occurred()) {
        if (PyErr_ExceptionMatches(PyExc_TypeError) || PyErr_ExceptionMatches(PyExc_OverflowError)) {
            PyErr_Clear();
            refuse_value(plan, field, value, NULL);
        }
        return -1;
    }
    if (field->base == FLOAT64) {
        memcpy(bits, &number, 8);
        return 0;
    }
    float narrow = (float)number;
    if (isinf(narrow) && !isinf(number)) {
        refuse_value(plan, field, value, NULL);
        return -1;
    }
    *bits = 0;
    memcpy(bits, &narrow, 4);
    return 0;
}

static bool in_range(uint8_t base, int64_t value) {
    switch (base) {
    case BOOL:
        return value == 0 || value == 1;
    case INT8:
        return value >= INT8_MIN && value <= INT8_MAX;
    case UINT8:
        return value >= 0 && value <= UINT8_MAX;
    case INT16:
        return value >= INT16_MIN && value <= INT16_MAX;
    case UINT16:
        return value >= 0 && value <= UINT16_MAX;
    case INT32:
        return value >= INT32_MIN && value <= INT32_MAX;
    case UINT32:
        return value >= 0 && value <= UINT32_MAX;
    case UINT64:
        return value >= 0;
    default:
        return true;
    }
}

/* NumPy's bool is no index. */
static bool is_foreign_bool(PyObject *value) {
    PyObject *name = PyType_GetQualName(Py_TYPE(value));
    bool found = name && (PyUnicode_CompareWithASCIIString(name, "bool") == 0 ||
                          PyUnicode_CompareWithASCIIString(name, "bool_") == 0);
    Py_XDECREF(name);
    PyErr_Clear();
    return found;
}

static int integer_bits(const Plan *plan, const FieldPlan *field, PyObject *value, uint64_t *bits) {
    if (field->base == BOOL && !PyLong_Check(value) && is_foreign_bool(value)) {
        int truth = PyObject_IsTrue(value);
        *bits = (uint64_t)truth;
        return truth < 0 ? -1 : 0;
    }
    PyObject *number = PyIndex_Check(value) ? PyNumber_Index(value) : NULL;
    if (!number) {
        if (PyErr_Occurred() && !PyErr_ExceptionMatches(PyExc_TypeError))
            return -1;
        PyErr_Clear(); /* an array of several numbers, for instance */
        refuse_value(plan, field, value, NULL);
        return -1;
    }
    int overflow;
    int64_t wide = PyLong_AsLongLongAndOverflow(number, &overflow);
    bool fits = !overflow && in_range(field->base, wide);
    if (overflow > 0 && field->base == UINT64) {
        wide = (int64_t)PyLong_AsUnsignedLongLong(number);
        fits = !PyErr_Occurred();
        PyErr_Clear();
    }
    Py_DECREF(number);
    if (!fits) {
        refuse_value(plan, field, value, NULL);
        return -1;
    }
    *bits = (uint64_t)wide;
    if (scalar_sizes[field->base] < 8)
        *bits &= ((uint64_t)1 << 8 * scalar_sizes[field->base]) - 1;
    return 0;
}

int scalar_bits(const Plan *plan, const FieldPlan *field, PyObject *value, uint64_t *bits) {
    if (field->base >= FLOAT32)
        return float_bits(plan, field, value, bits);
    return integer_bits(plan, field, value, bits);
}

bool scalar_format_fits(const char *format, Py_ssize_t item_bytes, uint8_t base) {
    if (item_bytes != scalar_sizes[base])
        return false;
    if (!format)
        return base == UINT8;
    if (*format == '<' || *format == '=' || *format == '@')
        format++;
    if (!format[0] || format[1])
        return false;
    switch (base) {
    case BOOL:
        return *format == '?';
    case UINT8:
        return *format == 'B' || *format == 'c';
    case FLOAT32:
        return *format == 'f';
    case FLOAT64:
        return *format == 'd';
    case UINT16:
    case UINT32:
    case UINT64:
        return strchr("HILQN", *format) != NULL;
    default:
        return strchr("bhilqn", *format) != NULL;
    }
}
